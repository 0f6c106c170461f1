"""What the API takes and gives, field by field; the OpenAPI document is made from this."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from app.records.accounts import MAX_PASSWORD, Role
from knowledge.case import MAX_ITEMS, MAX_SHORT, MAX_TEXT
from knowledge.confirmation import Confirmation, Verdict
from knowledge.text import Text

Short = Annotated[str, StringConstraints(max_length=MAX_SHORT)]
Long = Annotated[str, StringConstraints(max_length=MAX_TEXT)]
CASE_EXAMPLE: dict[str, Any] = {
    "brand": "大众", "series": "帕萨特", "model_year": 2015, "engine": "1.8T", "mileage_km": "12万",
    "symptom": "冷车怠速抖，热车好一些", "lights": ["check_engine"], "codes": ["P0300", "P0171"],
    "cause": "进气歧管垫老化", "fix": "更换进气歧管垫", "parts": "进气歧管垫", "labour_hours": 1.5,
    "outcome": "试车三天正常", "shop": "城东店",
}  # fmt: skip


class Sentence(BaseModel):
    """One sentence in both languages."""

    zh: str
    en: str


class ErrorAnswer(BaseModel):
    """Every refusal: what is wrong and what to do."""

    model_config = ConfigDict(
        json_schema_extra={"example": {"error": {"zh": "请先登录。", "en": "Please log in first."}}}
    )

    error: Sentence


class Open(BaseModel):
    """An answer that may gain fields."""

    model_config = ConfigDict(extra="allow")


class Finding(Open):
    """Something seen in a photo. ``box``: left, top, right, bottom in pixels of the upright photo."""

    label: str = Field(examples=["oil_pressure"])
    box: list[float] = Field(min_length=4, max_length=4)
    confidence: float
    color: str | None = None


class MessageFound(Open):
    """What stands on a screen, word for word, and the light that it names."""

    text: str
    label: str | None
    box: list[float]


class SimilarFix(Open):
    """A past fix of a car like this; see /cases/{case_id}."""

    case_id: str
    score: float


class PhotoAnswer(Open):
    """One photo, answered; or why it could not be, in ``error``. A photo of an accident has more fields."""

    photo: str = Field(description="The file's name, as it was sent.")
    kind: Literal["dashboard", "accident", "other"]
    findings: list[Finding]
    severity: str | None = Field(description="Of an accident: minor, moderate or severe.")
    verdict: Literal["stop", "soon", "first", "ok", "unsure"]
    advice: list[str] = Field(description="What to do now, the most urgent first.")
    fixes: list[SimilarFix]
    messages: list[MessageFound]
    mileage_km: int | None
    error: str | None


class DiagnoseAnswer(BaseModel):
    """One answer a photo, in the order in which they were sent."""

    photos: list[PhotoAnswer]


class CaseAnswer(Open):
    """A past repair. Words of yangche's own cases come in the language asked for, or in both where none was."""

    case_id: str
    brand: str = ""
    series: str = ""
    model_year: int | None = None
    engine: str = ""
    vin: str = ""
    mileage_km: int | None = None
    symptom: str | Text = ""
    lights: list[str] = []
    codes: list[str] = []
    diagnosis: str | Text = ""
    cause: str | Text = ""
    fix: str | Text
    parts: str | Text = ""
    labour_hours: float | None = None
    outcome: str | Text = ""
    entered_by: str = ""
    shop: str = ""
    source: str = ""


class HitAnswer(CaseAnswer):
    """A case that was found, and why."""

    score: float = Field(description="0 to 1; it ranks, no more.")
    relevant: bool = Field(description="False for the merely least bad.")
    why: list[str]


class GroupAnswer(Open):
    """The cases in which the same thing was done, and how often people reported that it helped."""

    operation: str | None
    title: str
    cases: int
    worked: int
    did_not_help: int
    wrong_track: int
    starter_only: bool
    case_ids: list[str]


class SearchAnswer(Open):
    """Past fixes: best first, and grouped by what was done."""

    hits: list[HitAnswer]
    groups: list[GroupAnswer]
    warnings: list[str]
    nothing: str | None = Field(description="Says so where the archive has nothing like it.")


class CaseBody(BaseModel):
    """A case as a person writes it down: the columns of an import. Only ``fix`` is required.

    Words may be given in both languages, as ``{"zh": ..., "en": ...}``.
    """

    model_config = ConfigDict(extra="forbid", json_schema_extra={"example": CASE_EXAMPLE})

    brand: Short = ""
    series: Short = ""
    model_year: int | Short | None = None
    engine: Short = ""
    vin: Short = Field(default="", description="All but the end is masked.")
    mileage_km: float | Short | None = Field(default=None, description='Kilometres: 120000, "12万", "80k miles".')
    symptom: Long | Text = ""
    lights: Annotated[list[Short], Field(max_length=MAX_ITEMS)] | Short = []
    codes: Annotated[list[Short], Field(max_length=MAX_ITEMS)] | Short = []
    diagnosis: Long | Text = ""
    cause: Long | Text = ""
    fix: Long | Text
    parts: Long | Text = ""
    labour_hours: float | Short | None = Field(default=None, description='Hours of work: 1.5, "90min".')
    outcome: Long | Text = ""
    entered_by: Short = Field(default="", description="Whom to ask; the caller if nobody is named.")
    shop: Short = ""
    source: Short = ""

    def row(self) -> dict[str, Any]:
        """As `knowledge.case.read_case` takes it."""
        return self.model_dump()


class CaseRecord(BaseModel):
    """A case as it stands in the archive, and who wrote this version when."""

    case: CaseAnswer
    author: str
    at: str
    deleted: bool = False


class HistoryAnswer(BaseModel):
    """Every version of a case, oldest first, and the reports on it that count."""

    case_id: str
    versions: list[CaseRecord]
    confirmations: list[Confirmation]


class RefusedRow(BaseModel):
    """A row that was not taken."""

    line: int
    reason: str


class AlikePair(BaseModel):
    """Two cases that may be one."""

    kept: str
    other: str
    likeness: float


class ImportAnswer(BaseModel):
    """What became of a file's rows, as `yangche archive import --json` tells it."""

    taken: int
    updated: int
    unchanged: int
    refused: list[RefusedRow]
    masked: int = Field(description="Rows in which personal data was masked.")
    alike: list[AlikePair]
    ignored: list[str] = Field(description="Columns that yangche doesn't know.")


class ConfirmationBody(BaseModel):
    """A report on a fix; the caller's name stands under it. Vehicle: the one that it was tried on."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "example": {
                "case_id": "0197…",
                "verdict": "worked",
                "brand": "大众",
                "model_year": 2015,
                "note": "换垫后不抖了",
            }
        },
    )

    case_id: Short = Field(min_length=1)
    verdict: Verdict
    brand: Short = ""
    series: Short = ""
    model_year: int | None = Field(default=None, ge=1900, le=2100)
    shop: Short = ""
    note: Long = Field(default="", description="Personal data in it is masked.")


class WithdrawnAnswer(BaseModel):
    """The report stays in the database, but no longer counts."""

    confirmation_id: str
    withdrawn: bool


class CodeAnswerBody(Open):
    """What the tables say about a fault code, as `yangche code --json` tells it."""

    code: str = Field(examples=["P0420"])
    kind: Literal["generic", "make_specific", "reserved"]
    known: bool
    meaning: str
    system: str
    failure: str | None
    family: str
    urgency: Literal["stop", "soon", "first", "ok"]
    drive: str
    within: str | None
    stop_if: str | None
    causes: list[str]
    checks: list[str]
    notes: list[str]
    make: str | None
    question: str | None
    makes: list[str]
    source: str


class LoginBody(BaseModel):
    """Name and password."""

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"example": {"name": "李师傅", "password": "十个字以上的密码才行"}}
    )

    name: Short
    password: str = Field(max_length=MAX_PASSWORD)


class Me(BaseModel):
    """Who is logged in, and until when (seconds since 1970)."""

    name: str
    role: Role
    expires: float


class LoginAnswer(Me):
    """The session. The token also comes as a cookie; programs send it as ``Authorization: Bearer``."""

    token: str


class HealthAnswer(BaseModel):
    """Whether the archive answers and the models are there."""

    good: bool
    archive: bool
    models: dict[str, bool]
