"""The Advisor: one object that turns a photo into a diagnosis; the command line, the page and the tests all call it."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from app.settings import Settings
from knowledge.catalogue import Catalogue, Light, load_catalogue
from knowledge.text import Lang, Text, UserError
from knowledge.verdict import OTHER, Finding, Level, Problem, Verdict, judge
from vision.detections import Color, Detection, Detections

if TYPE_CHECKING:
    from PIL import Image

    from knowledge.search import Hit, Searcher
    from vision.photo import Photo, Quality

Kind = Literal["dashboard", "accident", "other"]
Rgb = NDArray[np.uint8]

# The detector's pseudo label for the instrument cluster itself; it is no finding.
CLUSTER = "cluster"
# A lamp seen at 40 % of its threshold or more is a doubt: it can turn an "ok" into "unsure", and does nothing else.
DOUBTFUL = 0.4
# A doubt that lies on a lamp three times as sure is a second name for the same pictogram, not a second lamp.
SAME_PLACE = 0.6
SURER = 3.0
# How many past fixes stand beside an answer.
FIXES = 5
WORST_FIRST: tuple[Level, ...] = ("stop", "soon", "first", "unsure", "ok")


class LampDetector(Protocol):
    """What the Advisor needs of a detector."""

    def detect(self, rgb: Rgb, floor: float = 0.01) -> Detections:
        """Lamps (and the pseudo label "cluster") with confidence >= ``floor``; boxes in pixels of ``rgb``."""
        ...

    def threshold(self, label: str) -> float:
        """The confidence from which on the product believes a finding of ``label``."""
        ...


@dataclass(frozen=True)
class Lamp:
    """One numbered line of an answer: a light in one colour, at one or more places (two turn signals).

    ``urgency`` is "unsure" where the verdict doubts the lamp, for one that is lit in a colour that it never has.
    """

    number: int
    light: Light
    color: Color | None
    confidence: float
    boxes: tuple[tuple[float, float, float, float], ...]
    urgency: Level
    meaning: Text
    drive: Text
    causes: tuple[Text, ...]
    checks: tuple[Text, ...]


@dataclass(frozen=True, eq=False)
class Diagnosis:
    """One photo, answered.

    Attributes:
        photo: the photo's name as it was given.
        findings: lamps at or above the product's thresholds; what the verdict rests on. Boxes in pixels of the
            upright photo.
        doubtful: lamps seen, but below their threshold.
        listed: what the JSON lists: ``findings``, or everything down to the confidence that was asked for.
        lamps: the findings as people read them, numbered, worst first.
        problems: what keeps the photo from being answered well.
        answers: question id -> answer id, as the driver gave them.
        fixes: similar past fixes, best first.
        no_fixes: why the archive could not be asked, if so.
        timings: milliseconds per step.
    """

    photo: str
    kind: Kind
    width: int
    height: int
    findings: Detections
    doubtful: Detections
    listed: Detections
    lamps: tuple[Lamp, ...]
    quality: Quality
    problems: tuple[Problem, ...]
    verdict: Verdict
    answers: Mapping[str, str] = field(default_factory=dict)
    fixes: tuple[Hit, ...] = ()
    no_fixes: Text | None = None
    timings: Mapping[str, float] = field(default_factory=dict)

    def to_json(self, lang: Lang = "zh") -> dict[str, Any]:
        """The diagnosis as the JSON contract spells it."""
        return {
            "photo": self.photo,
            "kind": self.kind,
            "findings": [found.to_json() for found in self.listed],
            "severity": None,  # only an accident has one
            "verdict": self.verdict.level,
            "advice": [line.in_(lang) for line in self.verdict.advice],
            "fixes": [{"case_id": hit.case.case_id, "score": round(float(hit.score), 4)} for hit in self.fixes],
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
        "error": sentence,
    }


class Advisor:
    """Opens photos, looks for lamps, judges, and finds similar fixes. Every part is loaded when it is first needed.

    Safe to share between threads.
    """

    def __init__(self, home: Path, detector: LampDetector | None = None) -> None:
        self.home = home
        self._detector = detector
        self._searcher: Searcher | None = None
        self._lock = threading.Lock()

    @classmethod
    def open(cls, home: Path | None = None, *, detector: LampDetector | None = None) -> Advisor:
        """An advisor that writes into ``home`` (default: ``YANGCHE_HOME``, else the user's data folder)."""
        return cls(home or Settings.read().home, detector)

    @property
    def catalogue(self) -> Catalogue:
        """The lights, rules and questions."""
        return load_catalogue()

    @property
    def detector(self) -> LampDetector:
        """The detector that was given, else the one in ``models/``."""
        with self._lock:
            if self._detector is None:
                from vision.detector import OnnxDetector

                self._detector = OnnxDetector.load()
            return self._detector

    @property
    def searcher(self) -> Searcher:
        """Search over the archive in ``home``, which is set up if it is not there."""
        with self._lock:
            if self._searcher is None:
                from knowledge.search import Searcher

                self._searcher = Searcher.open(self.home)
            return self._searcher

    def diagnose(
        self,
        source: Path | str | bytes | Photo,
        *,
        answers: Mapping[str, str] | None = None,
        confidence: float | None = None,
        name: str | None = None,
    ) -> Diagnosis:
        """Look at one photo.

        Args:
            source: a path, a file's bytes, or a photo that is open already.
            answers: question id -> answer id; unknown ones are ignored.
            confidence: list everything down to this confidence; the verdict is not touched by it.
            name: what to call the photo; default: the path as given.

        Raises:
            PhotoError: if the photo can't be read.
        """
        from vision.photo import Photo, measure_quality, open_photo

        clock = _Clock()
        photo = source if isinstance(source, Photo) else open_photo(source)
        quality = measure_quality(photo.rgb)
        clock.tick("open")
        everything, cluster = self._look(photo.rgb, confidence)
        clock.tick("detect")
        everything = self._colored(photo.rgb, everything)
        sure = np.array([d.confidence >= self.detector.threshold(d.label) for d in everything], bool)
        findings = everything.where(sure)
        doubtful = self._doubts(findings, everything.where(~sure))
        clock.tick("color")
        problems = _problems(quality, findings, doubtful, cluster)
        verdict, known = self._judge(findings, doubtful, problems, answers or {})
        lamps = _lamps(findings, verdict, self.catalogue)
        clock.tick("verdict")
        fixes, no_fixes = self._similar(lamps)
        clock.tick("search")
        return Diagnosis(
            photo=name if name is not None else str(source) if isinstance(source, Path | str) else photo.name,
            kind="dashboard" if cluster or len(findings) else "other",
            width=photo.width,
            height=photo.height,
            findings=findings,
            doubtful=doubtful,
            listed=findings if confidence is None else everything.above(confidence),
            lamps=lamps,
            quality=quality,
            problems=problems,
            verdict=verdict,
            answers=known,
            fixes=fixes,
            no_fixes=no_fixes,
            timings=clock.done(),
        )

    def rejudge(self, diagnosis: Diagnosis, answers: Mapping[str, str]) -> Diagnosis:
        """The same photo with other answers; nothing is detected anew."""
        verdict, known = self._judge(diagnosis.findings, diagnosis.doubtful, diagnosis.problems, answers)
        lamps = _lamps(diagnosis.findings, verdict, self.catalogue)
        return replace(diagnosis, verdict=verdict, answers=known, lamps=lamps)

    def annotate(self, diagnosis: Diagnosis, rgb: Rgb, lang: Lang = "zh") -> Image.Image:
        """The photo with its findings drawn in, numbered as in ``diagnosis.lamps``.

        ``rgb`` may be a smaller copy of the photo: boxes are scaled to it.
        """
        from vision.draw import Mark, annotate

        scale = rgb.shape[1] / diagnosis.width
        marks = [
            Mark(
                box=(box[0] * scale, box[1] * scale, box[2] * scale, box[3] * scale),
                number=lamp.number,
                caption=lamp.light.name.in_(lang),
                urgency=lamp.urgency,
            )
            for lamp in diagnosis.lamps
            for box in lamp.boxes
        ]
        return annotate(rgb, marks)

    def _look(self, rgb: Rgb, confidence: float | None) -> tuple[Detections, bool]:
        """All lamps that may matter, and whether an instrument cluster was seen."""
        thresholds = [self.detector.threshold(label) for label in self.catalogue.lights]
        floor = min([DOUBTFUL * min(thresholds), *([] if confidence is None else [confidence])])
        seen = self.detector.detect(rgb, floor=max(floor, 0.001))
        is_cluster = np.array([label == CLUSTER for label in seen.labels], bool)
        sure = seen.confidence >= self.detector.threshold(CLUSTER)
        return seen.where(~is_cluster), bool((is_cluster & sure).any())

    def _colored(self, rgb: Rgb, seen: Detections) -> Detections:
        """Each lamp with the colour that the pixels show, else the colour that it usually has."""
        from vision.color import lamp_color

        def color(found: Detection) -> Color | None:
            measured = found.color or lamp_color(rgb, found.box)
            light = self.catalogue.lights.get(found.label)
            return measured or (light.usual_color if light else None)

        return Detections.of([replace(found, color=color(found)) for found in seen])

    def _doubts(self, findings: Detections, weaker: Detections) -> Detections:
        def counts(doubt: Detection) -> bool:
            if doubt.confidence < DOUBTFUL * self.detector.threshold(doubt.label):
                return False
            return not any(
                _iou(doubt.box, sure.box) >= SAME_PLACE and sure.confidence >= SURER * doubt.confidence
                for sure in findings
            )

        return weaker.where([counts(doubt) for doubt in weaker])

    def _judge(
        self, findings: Detections, doubtful: Detections, problems: tuple[Problem, ...], answers: Mapping[str, str]
    ) -> tuple[Verdict, dict[str, str]]:
        """The verdict, and those of the answers that the catalogue knows."""
        questions = self.catalogue.questions
        known = {
            key: answer for key, answer in answers.items() if key in questions and answer in questions[key].answers
        }
        return judge(_as_findings(findings), _as_findings(doubtful), problems, self.catalogue, known), known

    def _similar(self, lamps: Sequence[Lamp]) -> tuple[tuple[Hit, ...], Text | None]:
        """Past fixes of cars with the same worst lamps; and why there are none, if so.

        An open door beside a red oil lamp must not crowd out the fixes for the oil lamp.

        An archive that can't be opened must not keep the advice from anybody.
        """
        worst = lamps[0].urgency if lamps else "ok"  # lamps stand worst first
        lights = list(dict.fromkeys(lamp.light.id for lamp in lamps if lamp.urgency == worst != "ok"))
        if not lights:
            return (), None
        names = {light: self.catalogue.lights[light].name for light in lights}
        try:
            return tuple(self.searcher.search_for_diagnosis(lights, k=FIXES, names=names)), None
        except UserError as error:
            return (), error.text


def _as_findings(seen: Detections) -> list[Finding]:
    return [Finding(found.label, found.color, found.confidence) for found in seen]


def _problems(quality: Quality, findings: Detections, doubtful: Detections, cluster: bool) -> tuple[Problem, ...]:
    """What keeps this photo from being answered well.

    Without a cluster around it even a lamp read with confidence says little: others may be lit beside it, or it may be
    no lamp at all, such as a light in the street.
    """
    problems: list[Problem] = []
    if quality.blurred:
        problems.append("blurred")
    if quality.dark:
        problems.append("dark")
    if quality.overexposed:
        problems.append("overexposed")
    if quality.small:
        problems.append("small")
    if not cluster:
        problems.append("no_cluster")
    elif not len(findings):
        problems.append("low_confidence" if len(doubtful) else "nothing_found")
    return tuple(problems)


def _lamps(findings: Detections, verdict: Verdict, catalogue: Catalogue) -> tuple[Lamp, ...]:
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


def _iou(a: Sequence[float], b: Sequence[float]) -> float:
    """Intersection over union of two boxes."""
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    if width <= 0 or height <= 0:
        return 0.0
    both = width * height
    return both / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - both)


class _Clock:
    """Milliseconds per step."""

    def __init__(self) -> None:
        self._start = self._last = time.perf_counter()
        self._steps: dict[str, float] = {}

    def tick(self, step: str) -> None:
        now = time.perf_counter()
        self._steps[step] = 1000 * (now - self._last)
        self._last = now

    def done(self) -> dict[str, float]:
        return {**self._steps, "total": 1000 * (time.perf_counter() - self._start)}
