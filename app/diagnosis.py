"""What the Advisor answers: one photo's diagnosis, and the lamps as people read them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal

from knowledge.catalogue import Catalogue, Light
from knowledge.text import Lang, Text, UserError
from knowledge.vehicles import ANY, Vehicle
from knowledge.verdict import OTHER, Level, Problem, Verdict
from vision.detections import Color, Detection, Detections

if TYPE_CHECKING:
    from app.scene import SceneAnswer
    from knowledge.search import Hit
    from knowledge.words import Message
    from vision.draw import Mark
    from vision.photo import Quality

Kind = Literal["dashboard", "accident", "other"]
Box = tuple[float, float, float, float]
WORST_FIRST: tuple[Level, ...] = ("stop", "soon", "first", "unsure", "ok")


@dataclass(frozen=True)
class Lamp:
    """One numbered line of an answer: a light in one colour, at one or more places (two turn signals).

    ``urgency`` is "unsure" where the verdict doubts the lamp, for one that is lit in a colour that it never has.
    """

    number: int
    light: Light
    color: Color | None
    confidence: float
    boxes: tuple[Box, ...]
    urgency: Level
    meaning: Text
    drive: Text
    causes: tuple[Text, ...]
    checks: tuple[Text, ...]

    @property
    def percent(self) -> int:
        """The confidence as people read it: nothing read off a photo is certain."""
        return min(99, round(100 * self.confidence))


@dataclass(frozen=True, eq=False)
class Diagnosis:
    """One photo, answered.

    Attributes:
        photo: the photo's name as it was given.
        cluster: box of the instrument cluster, None where none was seen.
        seen: every lamp down to the lowest confidence that was asked for, words among them once text was read.
        findings: lamps at or above the product's thresholds. Boxes in pixels of the upright photo.
        doubtful: lamps seen, but below their threshold.
        told: lights that messages name, in their usual colour; they count for the verdict like lamps.
        listed: what the JSON lists: ``findings``, or everything down to the confidence that was asked for.
        lamps: the findings as people read them, numbered, worst first.
        problems: what keeps the photo from being answered well.
        answers: question id -> answer id, as the driver gave them.
        messages: what stands on the screens, word for word.
        mileage_km: the odometer, None where it was not read with certainty.
        text_read: whether text was looked for.
        floor: the confidence down to which everything was asked for, if so.
        no_text: why text could not be read, if so.
        fixes: similar past fixes, best first (`app.similar` has more, by what was done).
        no_fixes: why the archive could not be asked, if so.
        scene: what an accident shows and what to do; there if ``kind`` is "accident".
        vehicle: the car, as far as its owner told it; fixes of such cars are grouped first.
        timings: milliseconds per step.
    """

    photo: str
    kind: Kind
    width: int
    height: int
    cluster: Box | None
    seen: Detections
    findings: Detections
    doubtful: Detections
    listed: Detections
    lamps: tuple[Lamp, ...]
    quality: Quality
    problems: tuple[Problem, ...]
    verdict: Verdict
    told: Detections = field(default_factory=Detections.empty)
    messages: tuple[Message, ...] = ()
    mileage_km: int | None = None
    text_read: bool = False
    floor: float | None = None
    no_text: Text | None = None
    answers: Mapping[str, str] = field(default_factory=dict)
    fixes: tuple[Hit, ...] = ()
    no_fixes: Text | None = None
    scene: SceneAnswer | None = None
    vehicle: Vehicle = ANY
    timings: Mapping[str, float] = field(default_factory=dict)

    def to_json(self, lang: Lang = "zh") -> dict[str, Any]:
        """The diagnosis as the JSON contract spells it."""
        return {
            "photo": self.photo,
            "kind": self.kind,
            "findings": [found.to_json() for found in self.listed],
            "severity": self.scene.severity if self.scene else None,
            "verdict": self.verdict.level,
            "advice": [line.in_(lang) for line in self.verdict.advice],
            "fixes": [{"case_id": hit.case.case_id, "score": round(float(hit.score), 4)} for hit in self.fixes],
            "messages": [
                {"text": message.text, "label": message.light, "box": [round(v, 1) for v in message.box]}
                for message in self.messages
            ],
            "mileage_km": self.mileage_km,
            **(self.scene.to_json(lang) if self.scene else {}),
            "error": None,
        }


def error_json(photo: str, error: UserError, lang: Lang = "zh") -> dict[str, Any]:
    """The line for a photo that gives no diagnosis."""
    sentence = error.text.in_(lang)
    return {
        "photo": photo,
        "kind": "other",
        "findings": [],
        "severity": None,
        "verdict": "unsure",
        "advice": [sentence],
        "fixes": [],
        "messages": [],
        "mileage_km": None,
        "error": sentence,
    }


def group_lamps(findings: Detections, verdict: Verdict, catalogue: Catalogue) -> tuple[Lamp, ...]:
    """Findings of one light in one colour become one lamp; the worst come first, then the surest."""
    groups: dict[tuple[str, Color | None], list[Detection]] = {}
    for found in findings:
        groups.setdefault((found.label, found.color), []).append(found)
    reasons = {(reason.id, reason.color): reason for reason in verdict.reasons if reason.kind == "light"}
    lamps = []
    for (label, color), places in groups.items():
        light = catalogue.lights.get(label, catalogue.lights[OTHER])
        usual = light.meaning(color)
        # A lamp that the verdict only doubts, such as one in a colour that it never has, has no reason.
        reason = reasons.get((label, color))
        lamps.append(
            Lamp(
                number=0,
                light=light,
                color=color,
                confidence=max(place.confidence for place in places),
                boxes=tuple(place.box for place in places),
                urgency=reason.urgency if reason else "unsure",
                meaning=reason.meaning if reason else usual.meaning,
                drive=reason.drive if reason else usual.drive,
                causes=usual.causes,
                checks=usual.checks,
            )
        )
    lamps.sort(key=lambda lamp: (WORST_FIRST.index(lamp.urgency), -lamp.confidence))
    return tuple(replace(lamp, number=number) for number, lamp in enumerate(lamps, start=1))


def marks_of(diagnosis: Diagnosis, lang: Lang, scale: float = 1.0) -> list[Mark]:
    """What to draw on the photo, numbered as the lamps or the parts of the scene; ``scale``: of a smaller copy."""
    from vision.draw import Mark

    lamps = [(lamp.number, lamp.light.name, lamp.urgency, lamp.boxes) for lamp in diagnosis.lamps]
    scene = diagnosis.scene
    parts = [(part.number, part.name, part.urgency, part.boxes) for part in scene.parts] if scene else []
    return [
        Mark((b[0] * scale, b[1] * scale, b[2] * scale, b[3] * scale), number, name.in_(lang), urgency)
        for number, name, urgency, boxes in [*lamps, *parts]
        for b in boxes
    ]
