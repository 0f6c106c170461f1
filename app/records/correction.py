"""One report of what was seen wrongly: the owner's words, the trainer's decision, the photo that goes along."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from app.texts import say
from knowledge.text import LANGS, UserError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from app.advisor import Advisor

Kind = Literal["dashboard", "accident", "other"]
Severity = Literal["minor", "moderate", "severe"]
Shares = tuple[float, float, float, float]
"""Left, top, right, bottom, each as a share (0 to 1) of the upright photo."""

MAX_BOXES = 200  # in one photo
MAX_COMMENT = 1000
NOTHING = "nothing"  # what a finding really is, if there is nothing at all


class CorrectionError(UserError):
    """A report or a decision that can't be taken as it is."""


class Marked(BaseModel):
    """A box with its class; ``box``: left, top, right, bottom as shares (0 to 1) of the upright photo.

    ``label`` is empty where nobody said what it is.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    label: str = Field("", max_length=60, examples=["oil_pressure"])
    box: Shares = Field(examples=[(0.41, 0.52, 0.45, 0.57)])

    @field_validator("box")
    @classmethod
    def _is_box(cls, box: Shares) -> Shares:
        x1, y1, x2, y2 = box
        if not (0 <= x1 < x2 <= 1 and 0 <= y1 < y2 <= 1):  # NaN fails too
            raise ValueError("a box is left, top, right, bottom in 0..1 with left < right and top < bottom")
        return tuple(round(v, 6) for v in box)  # type: ignore[return-value]


class Seen(Marked):
    """A finding of the model; ``number``: as the owner saw it on the page."""

    number: int = Field(0, ge=0, le=10_000)
    color: str | None = Field(None, max_length=20)
    confidence: float = Field(1.0, ge=0, le=1)


class Wrong(BaseModel):
    """A finding that is wrong, by its class and colour.

    ``really``: what it is, "nothing" if there is nothing, None if the owner can't say.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    label: str = Field(min_length=1, max_length=60, examples=["oil_pressure"])
    color: str | None = Field(None, max_length=20, examples=["red"])
    really: str | None = Field(None, max_length=60, examples=["coolant_temp", NOTHING])


class Report(BaseModel):
    """What was answered, and what is wrong with it.

    ``models``: name and version of each model that looked; ``seen``: what they saw; ``kind_should`` and
    ``severity_should``: what these really are.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: Kind = "dashboard"
    verdict: str = Field("", max_length=20)
    severity: Severity | None = None
    models: Mapping[str, str] = Field(default_factory=dict, max_length=10)
    seen: tuple[Seen, ...] = Field((), max_length=MAX_BOXES)
    wrong: tuple[Wrong, ...] = Field((), max_length=MAX_BOXES)
    missed: tuple[Marked, ...] = Field((), max_length=MAX_BOXES)
    kind_should: Kind | None = None
    severity_should: Severity | None = None
    comment: str = Field("", max_length=MAX_COMMENT)
    lang: Literal["zh", "en"] = "zh"

    @property
    def says_something(self) -> bool:
        """Whether anything is said to be wrong."""
        return bool(self.wrong or self.missed or self.kind_should or self.severity_should or self.comment.strip())


class Truth(BaseModel):
    """The photo as a trainer left it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: Kind = "dashboard"
    severity: Severity | None = None
    boxes: tuple[Marked, ...] = Field((), max_length=MAX_BOXES)


def classes_of(kind: Kind) -> tuple[str, ...]:
    """What boxes of a photo of this kind may be called: lights and the cluster around them, or things of a scene."""
    from app.scene import THINGS
    from knowledge.catalogue import load_catalogue
    from vision.detector import CLUSTER

    return {"dashboard": (*load_catalogue().lights, CLUSTER), "accident": tuple(THINGS), "other": ()}[kind]


def check_classes(truth: Truth) -> None:
    """See that every box has a class that photos of its kind may have.

    Raises:
        CorrectionError: if one has none, or another.
    """
    if any(not box.label for box in truth.boxes):
        raise correction_error("trainer.unnamed")
    known = classes_of(truth.kind)
    if unknown := sorted({box.label for box in truth.boxes if box.label not in known}):
        raise correction_error("trainer.unknown_class", names=", ".join(unknown)[:200])


def fit_to_keep(rgb: NDArray[np.uint8], kind: Kind, advisor: Advisor) -> NDArray[np.uint8] | None:
    """The photo as it may be kept: plates painted over, except on dashboards, which show none.

    Takes seconds, in a turn of its own at the models; None where plates can't be looked for on this machine.
    """
    from vision.plates import RapidTextFinder, cover, find_plates
    from vision.reading import RapidReader

    if kind == "dashboard":
        return rgb
    try:
        reader = advisor.reader
    except UserError:
        return None
    if not isinstance(reader, RapidReader):
        return None
    with advisor.turns.photo():
        return cover(rgb, find_plates(rgb, RapidTextFinder(reader)))


def correction_error(key: str, **values: object) -> CorrectionError:
    """The sentence ``key`` of texts.yaml as an error."""
    zh, en = (say(key, lang, **values) for lang in LANGS)
    return CorrectionError(zh, en)
