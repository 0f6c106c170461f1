"""The Advisor: one object that turns a photo into a diagnosis; the command line, the page and the tests all call it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from app.diagnosis import Box, Diagnosis, Lamp, error_json, group_lamps, marks_of
from app.lamps import (
    MERE,
    SAME_PLACE,
    SPOT_FROM,
    SPOTS,
    PhotoDetector,
    Rgb,
    colored,
    doubts,
    is_wide,
    judged,
    known_answers,
    lamp_problems,
    look,
    photo_problems,
    told_by,
)
from app.scene import answer_scene, answered_anew, on_vehicles, verdict_of
from app.serving.turns import Turns
from app.settings import Settings
from app.similar import codes_in, similar
from knowledge.catalogue import Catalogue, load_catalogue
from knowledge.playbook import Playbook, load_playbook
from knowledge.text import Lang, UserError
from knowledge.verdict import Asked, Problem, judge
from vision.detections import Detections, iou

if TYPE_CHECKING:
    from PIL import Image

    from knowledge.search import Searcher
    from vision.photo import Photo, Quality
    from vision.reading import TextReader
    from vision.whole import Whole, WholePhoto

__all__ = ["Advisor", "Diagnosis", "Lamp", "PhotoDetector", "error_json"]


# Lamps are looked for from this probability on that the photo shows a dashboard; a cluster that is then seen decides.
PERHAPS_DASHBOARD = 0.05
# A photo that looks like nothing in particular is one of an accident if such a thing is found on it this surely: a car
# parked askew looks crashed more often than a photo without flames looks burning.
GRAVE = {"fire": 0.6, "smoke": 0.6, "accident_vehicle": 0.7}
# From this share of "accident" against "other" on, it counts as an accident: one that is missed leaves an owner without
# help, one too many asks whether anybody is hurt. Kind of photo is best there on the validation photos, too.
ACCIDENT_FROM = 0.35


class Advisor:
    """Opens photos, looks for lamps, judges, and finds similar fixes. Every part is loaded when it is first needed.

    Safe to share between threads.
    """

    def __init__(
        self,
        home: Path,
        detector: PhotoDetector | None = None,
        reader: TextReader | None = None,
        whole: WholePhoto | None = None,
        scenes: PhotoDetector | None = None,
        region: str | None = None,
    ) -> None:
        self.home = home
        self.region = region or Settings.read().region
        self._detector = detector
        self._reader = reader
        self._whole = whole
        self._scenes = scenes
        self._searcher: Searcher | None = None
        self._lock = threading.Lock()
        self.turns = Turns()  # whoever serves many callers takes them before `diagnose` and `read`
        # Told of each diagnosis, or why there is none, and of the seconds of each search.
        self.diagnosed: Callable[[Diagnosis | Exception], None] = lambda outcome: None
        self.searched: Callable[[float], None] = lambda seconds: None

    @classmethod
    def open(
        cls,
        home: Path | None = None,
        *,
        detector: PhotoDetector | None = None,
        reader: TextReader | None = None,
        whole: WholePhoto | None = None,
        scenes: PhotoDetector | None = None,
        region: str | None = None,
    ) -> Advisor:
        """An advisor that writes into ``home`` (default: ``YANGCHE_HOME``, else the user's data folder).

        ``region``: whose playbook tells what to do after an accident (default: ``YANGCHE_REGION``, else China).
        """
        return cls(home or Settings.read().home, detector, reader, whole, scenes, region)

    @property
    def catalogue(self) -> Catalogue:
        """The lights, rules and questions."""
        return load_catalogue()

    @property
    def detector(self) -> PhotoDetector:
        """The detector that was given, else the one promoted in ``home``, else the one in ``models/``."""
        with self._lock:
            if self._detector is None:
                from models import current_folder
                from vision.detector import OnnxDetector

                self._detector = OnnxDetector.load(current_folder("lights", self.home))
            return self._detector

    @property
    def whole(self) -> WholePhoto:
        """The classifier of whole photos that was given, else the one served."""
        with self._lock:
            if self._whole is None:
                from models import current_folder
                from vision.whole import OnnxWholePhoto

                self._whole = OnnxWholePhoto.load(current_folder("whole", self.home))
            return self._whole

    @property
    def scenes(self) -> PhotoDetector:
        """The detector of accidents and damage that was given, else the two models served."""
        with self._lock:
            if self._scenes is None:
                from models import current_folder
                from vision.scene import SceneDetector

                folders = (current_folder(name, self.home) for name in ("scenes", "damage"))
                self._scenes = SceneDetector.load(*folders)
            return self._scenes

    @property
    def playbook(self) -> Playbook:
        """What to do after an accident, in this region."""
        return load_playbook(self.region)

    @property
    def questions(self) -> Mapping[str, Asked]:
        """Everything that may be asked, by id."""
        return {**self.catalogue.questions, **self.playbook.questions}

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
                from app.settings import Settings
                from knowledge.embed import open_embedder
                from knowledge.search import Searcher

                self._searcher = Searcher.open(self.home, open_embedder(Settings.read().encoder))
                self._searcher.searched = lambda seconds: self.searched(seconds)
            return self._searcher

    def load_anew(self) -> None:
        """Load the models again with the next photo: others are served from now on."""
        with self._lock:
            self._detector = self._whole = self._scenes = None

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
        try:
            diagnosis = self._diagnosed(source, answers or {}, confidence, name, text)
        except Exception as error:
            self.diagnosed(error)
            raise
        self.diagnosed(diagnosis)
        return diagnosis

    def _diagnosed(
        self,
        source: Path | str | bytes | Photo,
        given: Mapping[str, str],
        confidence: float | None,
        name: str | None,
        text: bool,
    ) -> Diagnosis:
        from vision.photo import Photo, measure_quality, open_photo

        clock = _Clock()
        photo = source if isinstance(source, Photo) else open_photo(source)
        quality = measure_quality(photo.rgb)
        clock.tick("open")
        whole = self.whole.judge(photo.rgb)
        clock.tick("kind")
        seen, cluster = Detections.empty(), None
        if whole.kind["dashboard"] >= PERHAPS_DASHBOARD:
            seen, cluster = look(self.detector, self.catalogue, photo.rgb, confidence)
            clock.tick("detect")
            seen = colored(self.catalogue, photo.rgb, seen)
            clock.tick("color")
        if cluster or max(whole.kind, key=lambda name: whole.kind[name]) == "dashboard":
            concluded = self._concluded(seen, Detections.empty(), quality, cluster, given, confidence)
        else:
            seen = self._scene(photo.rgb, confidence)
            clock.tick("detect")
            concluded = self._concluded_scene(seen, whole, quality, given, confidence)
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
        wide = [d.box for d in diagnosis.seen if d.confidence >= SPOT_FROM and is_wide(d.box)]
        try:
            reading = understand(self.reader.read(rgb, diagnosis.cluster, wide[:SPOTS]))
        except UserError as error:
            return replace(diagnosis, no_text=error.text)
        clock.tick("text")
        mere = diagnosis.seen.where(diagnosis.seen.confidence < MERE)
        words = merge(diagnosis.seen.above(MERE), reading.lamps)
        seen = words + mere.where([all(iou(d.box, word.box) < SAME_PLACE for word in reading.lamps) for d in mere])
        concluded = self._concluded(
            seen,
            told_by(self.catalogue, reading.messages),
            diagnosis.quality,
            diagnosis.cluster,
            diagnosis.answers,
            diagnosis.floor,
            codes_in(reading.messages),
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
        if diagnosis.scene is not None:
            known = known_answers(answers, self.playbook.questions)
            scene = answered_anew(diagnosis.scene, known)
            return replace(diagnosis, scene=scene, verdict=verdict_of(scene), answers=known)
        both = diagnosis.findings + diagnosis.told
        verdict, known = judged(self.catalogue, both, diagnosis.doubtful, diagnosis.problems, answers)
        return replace(diagnosis, verdict=verdict, answers=known, lamps=group_lamps(both, verdict, self.catalogue))

    def annotate(self, diagnosis: Diagnosis, rgb: Rgb, lang: Lang = "zh") -> Image.Image:
        """The photo with its findings drawn in, numbered as in ``diagnosis.lamps`` or the parts of its scene.

        ``rgb`` may be a smaller copy of the photo: boxes are scaled to it.
        """
        from vision.draw import annotate

        return annotate(rgb, marks_of(diagnosis, lang, rgb.shape[1] / diagnosis.width))

    def _concluded(
        self,
        seen: Detections,
        told: Detections,
        quality: Quality,
        cluster: Box | None,
        answers: Mapping[str, str],
        floor: float | None,
        codes: Sequence[str] = (),
    ) -> dict[str, Any]:
        """Those fields of a diagnosis that follow from what was seen and read."""
        sure = np.array([d.confidence >= self.detector.threshold(d.label) for d in seen], bool)
        findings = seen.where(sure)
        told = told.where([d.label not in findings.labels for d in told])
        both = findings + told
        doubtful = doubts(self.detector, both, seen.where(~sure))
        problems = lamp_problems(quality, both, doubtful, cluster is not None)
        verdict, known = judged(self.catalogue, both, doubtful, problems, answers)
        lamps = group_lamps(both, verdict, self.catalogue)
        return {
            "kind": "dashboard",
            "seen": seen,
            "findings": findings,
            "told": told,
            "doubtful": doubtful,
            "listed": findings if floor is None else seen.above(floor),
            "lamps": lamps,
            "problems": problems,
            "verdict": verdict,
            "answers": known,
            **self._similar(lamps, codes),
        }

    def _scene(self, rgb: Rgb, confidence: float | None) -> Detections:
        """Everything of a scene that counts, or was asked for."""
        floor = 0.05 if confidence is None else confidence
        return self.scenes.detect(rgb, floor=max(floor, 0.001))

    def _concluded_scene(
        self, seen: Detections, whole: Whole, quality: Quality, answers: Mapping[str, str], floor: float | None
    ) -> dict[str, Any]:
        """Those fields of a diagnosis that follow from a photo that shows no dashboard."""
        findings = on_vehicles(seen.where([d.confidence >= self.scenes.threshold(d.label) for d in seen]))
        grave = any(d.confidence >= GRAVE.get(d.label, 2) for d in findings)
        either = whole.kind["accident"] + whole.kind["other"]
        accident = grave or whole.kind["accident"] >= ACCIDENT_FROM * either
        known = known_answers(answers, self.playbook.questions) if accident else {}
        scene = answer_scene(findings, whole, known, self.playbook) if accident else None
        problems: tuple[Problem, ...] = () if scene else (*photo_problems(quality), "no_subject")
        return {
            "kind": "accident" if scene else "other",
            "seen": seen,
            "findings": findings,
            "doubtful": Detections.empty(),
            "listed": findings if floor is None else seen.above(floor),
            "lamps": (),
            "problems": problems,
            "verdict": verdict_of(scene) if scene else judge((), (), problems, self.catalogue),
            "answers": known,
            "scene": scene,
        }

    def _similar(self, lamps: Sequence[Lamp], codes: Sequence[str]) -> dict[str, Any]:
        """Past fixes, or why there are none: an archive that can't be opened must not keep the advice from anybody."""
        try:
            return {"fixes": tuple(similar(self, lamps, codes)), "no_fixes": None}
        except UserError as error:
            return {"fixes": (), "no_fixes": error.text}


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
