"""An accident, answered: what was seen on the photo, and what to do by the playbook of the region."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, cast, get_args

from app.texts import say
from knowledge.estimate import Estimate, Rates, estimate
from knowledge.playbook import Playbook, Scene, SceneAdvice, Severity, advise
from knowledge.text import LANGS, Lang, Text
from knowledge.verdict import Level, Verdict
from vision.detections import Detection, Detections

if TYPE_CHECKING:
    from app.diagnosis import Box
    from vision.whole import Whole

# A severity less probable than this is not relied on: the playbook then takes the safe branch.
SURE_OF_SEVERITY = 0.5
# Marked as grave as what is seen there may be; the banner alone says whether the car may be driven.
GRAVITY: Mapping[str, Level] = {
    "fire": "stop", "smoke": "stop", "accident_vehicle": "stop", "broken_part": "soon", "broken_glass": "soon",
    "broken_lamp": "soon", "dent": "first", "scratch": "first",
}  # fmt: skip
BYSTANDER = "vehicle"  # counted, not marked: it is no damage
# Damage beside every vehicle that was seen this surely is a mark on the road or a reflection: on 437 street photos that
# takes away 40 of 112 boxes of damage, on 225 photos of damage 1 of 145 right ones.
SURELY_A_VEHICLE = 0.5
ON_A_VEHICLE = frozenset({"scratch", "dent", "broken_part", "broken_glass", "broken_lamp"})
Thing = Literal[
    "fire", "smoke", "accident_vehicle", "broken_glass", "broken_part", "broken_lamp", "dent", "scratch", "vehicle"
]
THINGS: tuple[Thing, ...] = get_args(Thing)  # gravest first


@dataclass(frozen=True)
class Part:
    """One numbered line of an accident's answer: one kind of thing, at one or more places."""

    number: int
    label: str
    name: Text
    confidence: float
    boxes: tuple[Box, ...]
    urgency: Level

    @property
    def percent(self) -> int:
        """The confidence as people read it: nothing read off a photo is certain."""
        return min(99, round(100 * self.confidence))


@dataclass(frozen=True)
class SceneAnswer:
    """What an accident photo shows, and what follows.

    Attributes:
        parts: what was found, gravest first; ``vehicles``: how many other vehicles are in the picture.
        severity: the most probable one, ``severity_share`` how probable.
        advice: of the playbook ``playbook``.
        work: what repairing the damage that is seen would take.
    """

    parts: tuple[Part, ...]
    vehicles: int
    severity: Severity
    severity_share: float
    playbook: Playbook
    advice: SceneAdvice
    work: Estimate

    @property
    def relied_severity(self) -> Severity | None:
        """The severity, if it is sure enough to act on."""
        return self.severity if self.severity_share >= SURE_OF_SEVERITY else None

    def remarks(self, lang: Lang) -> list[str]:
        """How severe it looks and how sure that is; other vehicles; what the severity does not know."""
        share = min(99, round(100 * self.severity_share))
        key = "scene.severity" if self.relied_severity else "scene.severity_unsure"
        lines = [say(key, lang, severity=say(f"severity.{self.severity}", lang), percent=share)]
        if self.vehicles:
            lines.append(say("scene.vehicles", lang, count=self.vehicles))
        return lines

    def to_json(self, lang: Lang) -> dict[str, Any]:
        """What the JSON of an accident says besides that of any photo."""
        advice = self.advice
        return {
            "severity_confidence": round(self.severity_share, 4),
            "region": self.playbook.id,
            "steps": [
                {
                    "id": step.id,
                    "text": step.text.in_(lang),
                    "urgency": step.urgency,
                    "sources": [source.in_(lang) for source in self.playbook.basis(step)],
                }
                for step in advice.steps
            ],
            "questions": [
                {
                    "id": question.id,
                    "text": question.text.in_(lang),
                    "answers": {key: words.in_(lang) for key, words in question.choices.items()},
                }
                for question in advice.questions
            ],
            "photograph": [line.text.in_(lang) for line in advice.photograph],
            "never": [line.text.in_(lang) for line in advice.never],
            "work": work_json(self.work, lang),
        }


def answer_scene(
    findings: Detections, whole: Whole, answers: Mapping[str, str], playbook: Playbook, rates: Rates | None = None
) -> SceneAnswer:
    """The answer to one photo of an accident; ``answers`` must be ones that the playbook knows."""
    severity = max(whole.severity, key=lambda name: whole.severity[name])
    share, parts = whole.severity[severity], parts_of(findings)
    if burning := [part.confidence for part in parts if part.label == "fire"]:
        severity, share = "severe", max(burning)  # however little of the car is broken yet
    return _answer(
        parts,
        findings.labels.count(BYSTANDER),
        cast(Severity, severity),
        share,
        answers,
        playbook,
        rates,
    )


def answered_anew(scene: SceneAnswer, answers: Mapping[str, str], rates: Rates | None = None) -> SceneAnswer:
    """The same photo with other answers."""
    return _answer(scene.parts, scene.vehicles, scene.severity, scene.severity_share, answers, scene.playbook, rates)


def _answer(
    parts: tuple[Part, ...],
    vehicles: int,
    severity: Severity,
    share: float,
    answers: Mapping[str, str],
    playbook: Playbook,
    rates: Rates | None,
) -> SceneAnswer:
    relied = severity if share >= SURE_OF_SEVERITY else None
    labels = frozenset([*(part.label for part in parts), *([BYSTANDER] if vehicles else [])])
    return SceneAnswer(
        parts=parts,
        vehicles=vehicles,
        severity=severity,
        severity_share=share,
        playbook=playbook,
        advice=advise(Scene(labels, relied), answers, playbook),
        work=estimate([part.label for part in parts for _ in part.boxes], relied, rates),
    )


def on_vehicles(findings: Detections) -> Detections:
    """The findings without damage whose middle lies beside every vehicle; all of them where no vehicle is seen."""
    vehicles = [
        d.box
        for d in findings
        if d.label in (BYSTANDER, "accident_vehicle", "fire") and d.confidence >= SURELY_A_VEHICLE
    ]
    if not vehicles:
        return findings

    def stands(found: Detection) -> bool:
        x, y = (found.box[0] + found.box[2]) / 2, (found.box[1] + found.box[3]) / 2
        return any(x1 <= x <= x2 and y1 <= y <= y2 for x1, y1, x2, y2 in vehicles)

    return findings.where([d.label not in ON_A_VEHICLE or stands(d) for d in findings])


def parts_of(findings: Detections) -> tuple[Part, ...]:
    """Findings of one kind become one part; the gravest come first."""
    groups: dict[str, list[Detection]] = {}
    for found in findings:
        if found.label in GRAVITY:
            groups.setdefault(found.label, []).append(found)
    ordered: Sequence[str] = [thing for thing in THINGS if thing in groups]
    return tuple(
        Part(
            number=number,
            label=label,
            name=name_of(label),
            confidence=max(found.confidence for found in groups[label]),
            boxes=tuple(found.box for found in groups[label]),
            urgency=GRAVITY[label],
        )
        for number, label in enumerate(ordered, start=1)
    )


def hours_of(hours: tuple[float, float], lang: Lang) -> str:
    """A range of hours as people read it."""
    return say("scene.hours", lang, low=f"{hours[0]:g}", high=f"{hours[1]:g}")


def work_json(work: Estimate, lang: Lang) -> dict[str, Any]:
    """The estimate for programs: hours as [low, high]; prices only where a shop's rates give them."""
    return {
        "hours": work.hours,
        "price": work.price,
        "currency": work.currency,
        "holds": work.holds,
        "notes": [note.in_(lang) for note in work.notes],
        "items": [
            {
                "label": item.label,
                "name": item.name.in_(lang),
                "count": item.count,
                "hours": item.hours,
                "price": item.price,
                "look": [line.in_(lang) for line in item.look],
                "behind": [line.in_(lang) for line in item.behind],
                "operations": [
                    {
                        "id": choice.id,
                        "name": choice.operation.name.in_(lang),
                        "when": choice.operation.when.in_(lang),
                        "hours": choice.hours,
                        "basis": choice.basis.in_(lang),
                        "price": choice.price,
                    }
                    for choice in item.choices
                ],
            }
            for item in work.items
        ],
    }


def name_of(label: str) -> Text:
    """What people call a thing."""
    zh, en = (say(f"scene.{label}", lang) for lang in LANGS)
    return Text(zh=zh, en=en)


def verdict_of(scene: SceneAnswer) -> Verdict:
    """The answer in the shape that every photo's answer has."""
    advice = scene.advice
    return Verdict(
        level=advice.urgency,
        headline=advice.headline,
        reasons=(),
        advice=(advice.headline, *(step.text for step in advice.steps)),
        questions=advice.questions,
        problems=(),
    )
