"""From a detector's lamps to a verdict: which count, which are doubts, what keeps a photo from an answer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

from app.diagnosis import Box
from knowledge.catalogue import Catalogue
from knowledge.verdict import Asked, Finding, Problem, Verdict, judge
from vision.detections import Color, Detection, Detections, iou

if TYPE_CHECKING:
    from knowledge.words import Message
    from vision.photo import Quality

Rgb = NDArray[np.uint8]

# The detector's pseudo label for the instrument cluster itself; it is no finding.
CLUSTER = "cluster"
# A lamp seen at 40 % of its threshold or more is a doubt: it can turn an "ok" into "unsure", and does nothing else.
DOUBTFUL = 0.4
# A doubt that lies on a lamp three times as sure is a second name for the same pictogram, not a second lamp.
SAME_PLACE = 0.6
SURER = 3.0
# Weak findings wider than high may be words: so many of them are read on their own.
SPOTS = 6
SPOT_FROM = 0.04
# Findings below this are mere possibilities: they are listed if asked for, and a word is never joined to them.
MERE = 0.1
# What a message that says "stop" counts as, whatever else it names.
STOP_LIGHT = "master_warning"


class PhotoDetector(Protocol):
    """What the Advisor needs of a detector, be it of lamps or of scenes."""

    def detect(self, rgb: Rgb, floor: float = 0.01) -> Detections:
        """Findings with confidence >= ``floor``, for lamps with the pseudo label "cluster"; boxes in pixels."""
        ...

    def threshold(self, label: str) -> float:
        """The confidence from which on the product believes a finding of ``label``."""
        ...


def look(
    detector: PhotoDetector, catalogue: Catalogue, rgb: Rgb, confidence: float | None
) -> tuple[Detections, Box | None]:
    """All lamps that may matter, and the box of the instrument cluster if one was seen."""
    thresholds = [detector.threshold(label) for label in catalogue.lights]
    floor = min([DOUBTFUL * min(thresholds), *([] if confidence is None else [confidence])])
    seen = detector.detect(rgb, floor=max(floor, 0.001))
    clusters = [d.box for d in seen if d.label == CLUSTER and d.confidence >= detector.threshold(CLUSTER)]
    return seen.where([label != CLUSTER for label in seen.labels]), clusters[0] if clusters else None


def colored(catalogue: Catalogue, rgb: Rgb, seen: Detections) -> Detections:
    """Each lamp with the colour that the pixels show, else the colour that it usually has."""
    from vision.color import lamp_color

    def color(found: Detection) -> Color | None:
        measured = found.color or lamp_color(rgb, found.box)
        light = catalogue.lights.get(found.label)
        return measured or (light.usual_color if light else None)

    return Detections.of([replace(found, color=color(found)) for found in seen])


def doubts(detector: PhotoDetector, findings: Detections, weaker: Detections) -> Detections:
    """Those of the weaker ones that may be lit all the same."""

    def counts(doubt: Detection) -> bool:
        if doubt.confidence < DOUBTFUL * detector.threshold(doubt.label):
            return False
        return not any(
            iou(doubt.box, sure.box) >= SAME_PLACE and sure.confidence >= SURER * doubt.confidence for sure in findings
        )

    return weaker.where([counts(doubt) for doubt in weaker])


def told_by(catalogue: Catalogue, messages: Sequence[Message]) -> Detections:
    """Lights that messages name, each in its usual colour: the words of a message may have any."""
    told = []
    for message in messages:
        if message.light is not None:
            color = catalogue.lights[message.light].usual_color
            told.append(Detection(message.light, message.box, message.confidence, color))
        if message.stop:
            told.append(Detection(STOP_LIGHT, message.box, message.confidence, "red"))
    return Detections.of(told)


def judged(
    catalogue: Catalogue,
    findings: Detections,
    doubtful: Detections,
    problems: tuple[Problem, ...],
    answers: Mapping[str, str],
) -> tuple[Verdict, dict[str, str]]:
    """The verdict, and those of the answers that the catalogue knows."""
    known = known_answers(answers, catalogue.questions)
    return judge(_as_findings(findings), _as_findings(doubtful), problems, catalogue, known), known


def known_answers(answers: Mapping[str, str], questions: Mapping[str, Asked]) -> dict[str, str]:
    """Those of the answers that answer one of the questions."""
    return {key: answer for key, answer in answers.items() if key in questions and answer in questions[key].choices}


def is_wide(box: Box) -> bool:
    """Whether a box may hold a word."""
    return box[2] - box[0] >= 1.2 * (box[3] - box[1])


def _as_findings(seen: Detections) -> list[Finding]:
    return [Finding(found.label, found.color, found.confidence) for found in seen]


def lamp_problems(quality: Quality, findings: Detections, doubtful: Detections, cluster: bool) -> tuple[Problem, ...]:
    """What keeps this photo from being answered well.

    Without a cluster around it even a lamp read with confidence says little: others may be lit beside it, or it may be
    no lamp at all, such as a light in the street.
    """
    problems = photo_problems(quality)
    if not cluster:
        problems.append("no_cluster")
    elif not len(findings):
        problems.append("low_confidence" if len(doubtful) else "nothing_found")
    return tuple(problems)


def photo_problems(quality: Quality) -> list[Problem]:
    """What is wrong with the picture as a picture."""
    said: dict[Problem, bool] = {
        "blurred": quality.blurred,
        "dark": quality.dark,
        "overexposed": quality.overexposed,
        "small": quality.small,
    }
    return [problem for problem, so in said.items() if so]
