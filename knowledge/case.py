"""One past repair, and how a row of somebody's file becomes one."""

from __future__ import annotations

import re
import unicodedata
import uuid
from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, field_validator

from knowledge.text import Lang, Text, UserError

# The names that a column may bear, first the one of the contract. Compared after `_column_key`.
COLUMNS: Mapping[str, tuple[str, ...]] = {
    "case_id": ("case_id", "id", "案例编号", "编号", "案例号"),
    "brand": ("brand", "make", "品牌", "厂牌"),
    "series": ("series", "model", "车系", "车型"),
    "model_year": ("model_year", "year", "年款", "年份", "年型"),
    "engine": ("engine", "发动机", "发动机型号", "排量"),
    "vin": ("vin", "车架号", "车辆识别代号", "识别代号"),
    "mileage_km": ("mileage_km", "mileage", "里程", "里程数", "公里数", "行驶里程"),
    "symptom": ("symptom", "complaint", "症状", "故障现象", "故障描述", "现象"),
    "lights": ("lights", "lamps", "故障灯", "指示灯", "亮灯"),
    "codes": ("codes", "dtc", "fault_codes", "故障码", "故障代码"),
    "diagnosis": ("diagnosis", "诊断", "诊断过程", "检查过程"),
    "cause": ("cause", "root_cause", "故障原因", "原因"),
    "fix": ("fix", "repair", "维修", "维修方法", "维修方案", "解决方法", "处理方法"),
    "parts": ("parts", "配件", "零件", "更换配件"),
    "labour_hours": ("labour_hours", "labor_hours", "hours", "工时", "工时数"),
    "outcome": ("outcome", "result", "结果", "维修结果"),
    "entered_by": ("entered_by", "technician", "录入人", "技师"),
    "shop": ("shop", "workshop", "门店", "修理厂", "店名"),
    "source": ("source", "来源"),
}
BILINGUAL = (
    "symptom",
    "diagnosis",
    "cause",
    "fix",
    "parts",
    "outcome",
)  # may be Text; in tables the English stands in <name>_en
SHORT = ("brand", "series", "engine", "vin", "entered_by", "shop", "source")
STARTER = "starter"  # the source of the cases that come with yangche

MAX_TEXT, MAX_SHORT, MAX_ITEMS = 20_000, 200, 50  # characters, characters, entries of a list
MAX_KM = 5_000_000
MAX_HOURS = 1_000.0
_NAMESPACE = uuid.UUID("b9b0a5ab-6c3a-4c1c-9d5b-3f6d0a5f7c11")  # of the ids derived from content
_DAMAGED = re.compile("[\0\ufffd\ud800-\udfff]")  # U+FFFD stands for bytes that were no text; half of a pair
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")  # control characters but line feed and tabulator


class RowError(UserError):
    """A row that can't be taken; ``text`` is the reason."""


class Case(BaseModel):
    """One past repair. Only ``fix`` and the id are certain to hold something.

    Starter cases hold their words in both languages (`Text`); a case from a shop holds the shop's own words (``str``).
    ``lights`` are ids of the catalogue, ``codes`` fault codes in capitals, ``mileage_km`` kilometres, ``diagnosis`` the
    steps that led to the ``cause``, ``labour_hours`` hours of work. Who wrote which version stands in the store;
    ``entered_by`` is the person whom the case names.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    case_id: str = Field(min_length=1, max_length=MAX_SHORT)
    brand: str = ""
    series: str = ""
    model_year: int | None = None
    engine: str = ""
    vin: str = ""
    mileage_km: int | None = None
    symptom: str | Text = ""
    lights: tuple[str, ...] = ()
    codes: tuple[str, ...] = ()
    diagnosis: str | Text = ""
    cause: str | Text = ""
    fix: str | Text
    parts: str | Text = ""
    labour_hours: float | None = None
    outcome: str | Text = ""
    entered_by: str = ""
    shop: str = ""
    source: str = ""

    @field_validator("fix")
    @classmethod
    def _says_something(cls, fix: str | Text) -> str | Text:
        if not fix:
            raise ValueError("fix must say something")
        return fix

    def body(self) -> str:
        """The case as JSON without its empty fields; equal cases give equal bodies."""
        return self.model_dump_json(exclude_defaults=True)


def words(value: str | Text, lang: Lang) -> str:
    """The words of a field in ``lang``; a shop's own words stand as they are, in whatever language."""
    return value.in_(lang) if isinstance(value, Text) else value


def in_every_language(value: str | Text) -> tuple[str, ...]:
    """The words of a field in every language that it has."""
    return (value.zh, value.en) if isinstance(value, Text) else (value,) if value else ()


def case_words(case: Case) -> str:
    """All that a case says, in every language, its vehicle apart; passages on lines of their own."""
    return " \n ".join(words for name in BILINGUAL for words in in_every_language(getattr(case, name)))


def column_of(name: str) -> tuple[str, str] | None:
    """Which field a column heading means: (field, "" or "_en"), None if it means none."""
    key = _column_key(name)
    if key.endswith("_en") and key[:-3] in BILINGUAL:
        return key[:-3], "_en"
    return (_FIELD_OF[key], "") if key in _FIELD_OF else None


def read_case(row: Mapping[str, Any]) -> Case:
    """A case from one row: field name -> whatever the file held (text, number, list, {"zh", "en"}).

    A row without case_id gets an id derived from its content (RFC 9562 UUID version 5), so that importing the same
    file again finds the same case instead of a second one.

    Raises:
        RowError: if ``fix`` is missing or any field can't be understood.
    """
    fields: dict[str, Any] = {name: _line(row.get(name), name) for name in SHORT}
    fields["model_year"] = _year(row.get("model_year"))
    fields["mileage_km"] = _mileage(row.get("mileage_km"))
    fields["labour_hours"] = _hours(row.get("labour_hours"))
    fields["lights"] = tuple(dict.fromkeys(v.lower().replace("-", "_") for v in _items(row.get("lights"), "lights")))
    fields["codes"] = tuple(dict.fromkeys(v.upper() for v in _items(row.get("codes"), "codes")))
    for name in BILINGUAL:
        fields[name] = _passage(row.get(name), row.get(f"{name}_en"), name)
    if not fields["fix"]:
        raise RowError("缺少维修方法（fix）。", "The fix is missing.")
    case_id = _line(row.get("case_id"), "case_id")
    if not case_id:
        content = Case(case_id="-", **fields).body()
        case_id = str(uuid.uuid5(_NAMESPACE, content))
    return Case(case_id=case_id, **fields)


def _column_key(name: str) -> str:
    return re.sub(r"[\s\-]+", "_", unicodedata.normalize("NFKC", name).strip().lower())


_FIELD_OF = {_column_key(alias): field for field, aliases in COLUMNS.items() for alias in aliases}


def _text(value: Any, name: str, limit: int = MAX_TEXT) -> str:  # noqa: ANN401 - whatever a file holds
    """``value`` as clean text: None is empty, whole numbers lose a spreadsheet's .0."""
    if value is None:
        return ""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise RowError(f"{name} 应该是文字。", f"{name} must be text.")
    text = str(value)
    if _DAMAGED.search(text):
        raise RowError(f"{name} 含有损坏的字符。", f"{name} holds damaged characters.")
    text = _CONTROL.sub(" ", text).strip()
    if len(text) > limit:
        raise RowError(f"{name} 太长（最多 {limit} 个字符）。", f"{name} is too long (at most {limit} characters).")
    return text


def _line(value: Any, name: str) -> str:  # noqa: ANN401
    return " ".join(_text(value, name, MAX_SHORT).split())


def _passage(value: Any, english: Any, name: str) -> str | Text:  # noqa: ANN401
    """Free words: a string, a list of strings, or {"zh": ..., "en": ...} (in tables: a second column, <name>_en)."""
    if isinstance(value, Mapping):
        if unknown := set(value) - {"zh", "en"}:
            raise RowError(
                f"{name} 只能有 zh 和 en 两种语言，却有 {sorted(map(str, unknown))[0]}。",
                f"{name} may hold zh and en only, but holds {sorted(map(str, unknown))[0]}.",
            )
        value, english = value.get("zh"), value.get("en")
    if isinstance(value, list | tuple):
        value = "\n".join(_text(v, name) for v in value)
    zh, en = _text(value, name), _text(english, name)
    return Text(zh=zh, en=en) if zh and en else zh or en


def _items(value: Any, name: str) -> list[str]:  # noqa: ANN401
    """Lamps or codes: a list, or text split at commas, semicolons and blanks."""
    entries: Sequence[Any] = value if isinstance(value, list | tuple) else [value]
    text = ",".join(_text(v, name) for v in entries)
    items = [v for v in re.split(r"[,、，;；|/\s]+", unicodedata.normalize("NFKC", text)) if v]
    if len(items) > MAX_ITEMS or any(len(v) > MAX_SHORT for v in items):
        raise RowError(f"{name} 的条目太多或太长。", f"{name} holds too many or too long entries.")
    return items


def _year(value: Any) -> int | None:  # noqa: ANN401
    """A model year: 2015, "2015", "2015款", "15款", or a date from a spreadsheet."""
    if isinstance(value, date):
        value = value.year
    text = _line(value, "model_year")
    if not text:
        return None
    found = re.fullmatch(r"(\d{4})\s*(?:年款|款|年|年型)?", unicodedata.normalize("NFKC", text))
    if found is None and (found := re.fullmatch(r"(\d{2})\s*(?:年款|款|年)", unicodedata.normalize("NFKC", text))):
        year = int(found[1]) + (2000 if int(found[1]) < 70 else 1900)
    else:
        year = int(found[1]) if found else 0
    if not 1900 <= year <= 2100:
        raise RowError(f"年款看不懂：{text[:40]}。", f"Can't read the model year: {text[:40]}.")
    return year


# What a mileage may be written in -> kilometres.
_UNITS = {"": 1, "km": 1, "公里": 1, "千米": 1, "kilometres": 1, "kilometers": 1, "miles": 1.609344, "mi": 1.609344}


def _mileage(value: Any) -> int | None:  # noqa: ANN401
    """Kilometres: 12000, "12,000 km", "1.2万公里", "80k", "50,000 miles"."""
    text = _line(value, "mileage_km")
    if not text:
        return None
    plain = unicodedata.normalize("NFKC", text).lower().replace(",", "").replace(" ", "")
    found = re.fullmatch(r"[约~]?(\d+(?:\.\d+)?)([万wk]?)多?([a-z公里千米]*)", plain)
    if found is not None and found[2] == "k" and found[3] == "m":  # "12000km" is no 12000 thousand
        found = re.fullmatch(r"[约~]?(\d+(?:\.\d+)?)()(km)", plain)
    if found is None or found[3] not in _UNITS:
        raise RowError(f"里程看不懂：{text[:40]}。", f"Can't read the mileage: {text[:40]}.")
    km = float(found[1]) * {"": 1, "k": 1_000, "万": 10_000, "w": 10_000}[found[2]] * _UNITS[found[3]]
    if km > MAX_KM:
        raise RowError(f"里程太大：{text[:40]}。", f"The mileage is too large: {text[:40]}.")
    return round(km)


def _hours(value: Any) -> float | None:  # noqa: ANN401
    """Hours of labour: 1.5, "1.5", "1,5 h", "2小时", "90min", "90分钟"."""
    text = _line(value, "labour_hours")
    if not text:
        return None
    plain = unicodedata.normalize("NFKC", text).lower().replace(",", ".")
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*(h|hours?|hrs?|小时|个小时|工时|min|minutes?|分钟|分)?\.?", plain)
    if found is None:
        raise RowError(f"工时看不懂：{text[:40]}。", f"Can't read the hours of labour: {text[:40]}.")
    hours = float(found[1]) / (60 if (found[2] or "")[:1] in ("m", "分") else 1)
    if hours > MAX_HOURS:
        raise RowError(f"工时太大：{text[:40]}。", f"The hours of labour are too many: {text[:40]}.")
    return round(hours, 2)
