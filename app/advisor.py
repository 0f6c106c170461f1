"""The Advisor: one object that turns a photo into a diagnosis; the command line, the page and the tests all call it."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from app.diagnosis import Box, Diagnosis, Lamp, error_json, group_lamps
from app.settings import Settings
from knowledge.catalogue import Catalogue, load_catalogue
from knowledge.text import Lang, Text, UserError
from knowledge.verdict import Finding, Problem, Verdict, judge
from vision.detections import Color, Detection, Detections, iou

if TYPE_CHECKING:
    from PIL import Image

    from knowledge.search import Hit, Searcher
    from knowledge.words import Message
    from vision.photo import Photo, Quality
    from vision.reading import TextReader

__all__ = ["Advisor", "Diagnosis", "Lamp", "LampDetector", "error_json"]

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
# Weak findings wider than high may be words: so many of them are read on their own.
SPOTS = 6
SPOT_FROM = 0.04
# Findings below this are mere possibilities: they are listed if asked for, and a word is never joined to them.
MERE = 0.1
# What a message that says "stop" counts as, whatever else it names.
STOP_LIGHT = "master_warning"


class LampDetector(Protocol):
    """What the Advisor needs of a detector."""

    def detect(self, rgb: Rgb, floor: float = 0.01) -> Detections:
        """Lamps (and the pseudo label "cluster") with confidence >= ``floor``; boxes in pixels of ``rgb``."""
        ...

    def threshold(self, label: str) -> float:
        """The confidence from which on the product believes a finding of ``label``."""
        ...


class Advisor:
    """Opens photos, looks for lamps, judges, and finds similar fixes. Every part is loaded when it is first needed.

    Safe to share between threads.
    """

    def __init__(self, home: Path, detector: LampDetector | None = None, reader: TextReader | None = None) -> None:
        self.home = home
        self._detector = detector
        self._reader = reader
        self._searcher: Searcher | None = None
        self._lock = threading.Lock()

    @classmethod
    def open(
        cls, home: Path | None = None, *, detector: LampDetector | None = None, reader: TextReader | None = None
    ) -> Advisor:
        """An advisor that writes into ``home`` (default: ``YANGCHE_HOME``, else the user's data folder)."""
        return cls(home or Settings.read().home, detector, reader)

    @property
    def catalogue(self) -> Catalogue:
        """The lights, rules and questions."""
        return load_catalogue()

    @property
    def detector(self) -> LampDetector:
        """The detector that was given, else the one promoted in ``home``, else the one in ``models/``."""
        with self._lock:
            if self._detector is None:
                from models import current_folder
                from vision.detector import OnnxDetector

                self._detector = OnnxDetector.load(current_folder("lights", self.home))
            return self._detector

    @property
    def reader(self) -> TextReader:
        """The reader that was given, else RapidOCR.

        Raises:
            ReadingError: if it can't be loaded on this machine.
        """
        with self._lock:
            if self._reader is None:
                from vision.reading import RapidReader

                self._reader = RapidReader.load()
            return self._reader

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
        text: bool = False,
    ) -> Diagnosis:
        """Look at one photo.

        Args:
            source: a path, a file's bytes, or a photo that is open already.
            answers: question id -> answer id; unknown ones are ignored.
            confidence: list everything down to this confidence; the verdict is not touched by it.
            name: what to call the photo; default: the path as given.
            text: read what is written on the cluster too, which takes three times as long (see ``read``).

        Raises:
            PhotoError: if the photo can't be read.
        """
        from vision.photo import Photo, measure_quality, open_photo

        clock = _Clock()
        photo = source if isinstance(source, Photo) else open_photo(source)
        quality = measure_quality(photo.rgb)
        clock.tick("open")
        seen, cluster = self._look(photo.rgb, confidence)
        clock.tick("detect")
        seen = self._colored(photo.rgb, seen)
        clock.tick("color")
        concluded = self._concluded(seen, Detections.empty(), quality, cluster, answers or {}, confidence)
        clock.tick("advice")
        diagnosis = Diagnosis(
            photo=name if name is not None else str(source) if isinstance(source, Path | str) else photo.name,
            width=photo.width,
            height=photo.height,
            cluster=cluster,
            quality=quality,
            floor=confidence,
            timings=clock.done(),
            **concluded,
        )
        return self.read(diagnosis, photo.rgb) if text else diagnosis

    def read(self, diagnosis: Diagnosis, rgb: Rgb) -> Diagnosis:
        """The same photo with what is written on its cluster: lamps that are words, messages, the odometer.

        Only where a cluster was seen. A reader that can't be loaded is no error: ``no_text`` says why.
        """
        from knowledge.words import merge, understand

        if diagnosis.cluster is None:
            return replace(diagnosis, text_read=True)
        clock = _Clock()
        wide = [d.box for d in diagnosis.seen if d.confidence >= SPOT_FROM and _is_wide(d.box)]
        try:
            reading = understand(self.reader.read(rgb, diagnosis.cluster, wide[:SPOTS]))
        except UserError as error:
            return replace(diagnosis, no_text=error.text)
        clock.tick("text")
        mere = diagnosis.seen.where(diagnosis.seen.confidence < MERE)
        words = merge(diagnosis.seen.above(MERE), reading.lamps)
        seen = words + mere.where([all(iou(d.box, word.box) < SAME_PLACE for word in reading.lamps) for d in mere])
        concluded = self._concluded(
            seen, self._told(reading.messages), diagnosis.quality, diagnosis.cluster, diagnosis.answers, diagnosis.floor
        )
        return replace(
            diagnosis,
            messages=reading.messages,
            mileage_km=reading.mileage_km,
            text_read=True,
            timings={**diagnosis.timings, **clock.done("text")},
            **concluded,
        )

    def rejudge(self, diagnosis: Diagnosis, answers: Mapping[str, str]) -> Diagnosis:
        """The same photo with other answers; nothing is detected anew."""
        both = diagnosis.findings + diagnosis.told
        verdict, known = self._judge(both, diagnosis.doubtful, diagnosis.problems, answers)
        return replace(diagnosis, verdict=verdict, answers=known, lamps=group_lamps(both, verdict, self.catalogue))

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

    def _concluded(
        self,
        seen: Detections,
        told: Detections,
        quality: Quality,
        cluster: Box | None,
        answers: Mapping[str, str],
        floor: float | None,
    ) -> dict[str, Any]:
        """Those fields of a diagnosis that follow from what was seen and read."""
        sure = np.array([d.confidence >= self.detector.threshold(d.label) for d in seen], bool)
        findings = seen.where(sure)
        told = told.where([d.label not in findings.labels for d in told])
        both = findings + told
        doubtful = self._doubts(both, seen.where(~sure))
        problems = _problems(quality, both, doubtful, cluster is not None)
        verdict, known = self._judge(both, doubtful, problems, answers)
        lamps = group_lamps(both, verdict, self.catalogue)
        fixes, no_fixes = self._similar(lamps)
        return {
            "kind": "dashboard" if cluster or len(both) else "other",
            "seen": seen,
            "findings": findings,
            "told": told,
            "doubtful": doubtful,
            "listed": findings if floor is None else seen.above(floor),
            "lamps": lamps,
            "problems": problems,
            "verdict": verdict,
            "answers": known,
            "fixes": fixes,
            "no_fixes": no_fixes,
        }

    def _told(self, messages: Sequence[Message]) -> Detections:
        """Lights that messages name, each in its usual colour: the words of a message may have any."""
        told = []
        for message in messages:
            if message.light is not None:
                color = self.catalogue.lights[message.light].usual_color
                told.append(Detection(message.light, message.box, message.confidence, color))
            if message.stop:
                told.append(Detection(STOP_LIGHT, message.box, message.confidence, "red"))
        return Detections.of(told)

    def _look(self, rgb: Rgb, confidence: float | None) -> tuple[Detections, Box | None]:
        """All lamps that may matter, and the box of the instrument cluster if one was seen."""
        thresholds = [self.detector.threshold(label) for label in self.catalogue.lights]
        floor = min([DOUBTFUL * min(thresholds), *([] if confidence is None else [confidence])])
        seen = self.detector.detect(rgb, floor=max(floor, 0.001))
        clusters = [d.box for d in seen if d.label == CLUSTER and d.confidence >= self.detector.threshold(CLUSTER)]
        return seen.where([label != CLUSTER for label in seen.labels]), clusters[0] if clusters else None

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
                iou(doubt.box, sure.box) >= SAME_PLACE and sure.confidence >= SURER * doubt.confidence
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


def _is_wide(box: Box) -> bool:
    return box[2] - box[0] >= 1.2 * (box[3] - box[1])


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


class _Clock:
    """Milliseconds per step."""

    def __init__(self) -> None:
        self._start = self._last = time.perf_counter()
        self._steps: dict[str, float] = {}

    def tick(self, step: str) -> None:
        now = time.perf_counter()
        self._steps[step] = 1000 * (now - self._last)
        self._last = now

    def done(self, total: str = "total") -> dict[str, float]:
        return {**self._steps, total: 1000 * (time.perf_counter() - self._start)}
