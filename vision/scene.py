"""Finds crashed vehicles, fire, smoke and damage in a photo: YOLO models in ONNX, each looking at its own sizes.

Two models, since the labels they learnt from mean different things by "everything is boxed" (models/scenes/README.md).
Unlike lamps, these things overlap (a dent lies on a crashed car), so only boxes of one class rule each other out.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from vision.detections import Detection, Detections
from vision.detector import STRIDE, Proposals, Rgb, decode, iou_matrix, letterbox, run_yolo

if TYPE_CHECKING:
    import onnxruntime

SAME = 0.6  # two boxes of one class that overlap more than this are one thing
MOST = 100  # findings in one photo and class


@dataclass
class Eye:
    """One model, and the long sides (pixels) that it looks at the photo in."""

    session: onnxruntime.InferenceSession
    classes: tuple[str, ...]
    sides: tuple[int, ...]

    def look(self, rgb: Rgb, floor: float) -> tuple[list[Detection], float]:
        """Everything found with confidence >= ``floor``, in pixels of the photo; and the milliseconds taken."""
        found, spent = [], 0.0
        for side in self.sides:
            view, scale, (left, top) = letterbox(rgb, _fitting(rgb, side))
            raw, milliseconds = run_yolo(self.session, view)
            spent += milliseconds
            seen = decode(raw, floor)
            boxes = (seen.boxes - np.array([left, top, left, top], np.float32)) / np.float32(scale)
            found.append(Proposals(boxes.clip(0, [rgb.shape[1], rgb.shape[0]] * 2).astype(np.float32), seen.scores))
        boxes = np.concatenate([part.boxes for part in found])
        scores = np.concatenate([part.scores for part in found])
        return [
            one for i, name in enumerate(self.classes) for one in _distinct(boxes, scores[:, i], name, floor)
        ], spent


@dataclass
class SceneDetector:
    """All models of a scene together; a ``vision.detector.Detector``."""

    eyes: tuple[Eye, ...]
    thresholds: Mapping[str, float]
    classes: tuple[str, ...]  # all labels that any of the models knows
    session_ms: deque[float] = field(default_factory=lambda: deque(maxlen=10_000))  # one figure a photo

    @classmethod
    def load(cls, *folders: Path, threads: int = 2) -> SceneDetector:
        """From model folders with ``manifest.json``.

        Raises:
            ModelError: if the files are absent or not the ones that the manifests were written for.
        """
        from models import read_manifest
        from models.session import open_session

        eyes: list[Eye] = []
        thresholds: dict[str, float] = {}
        for folder in folders:
            manifest = read_manifest(folder)
            sides = tuple(dict.fromkeys((manifest.side, manifest.view_width)))
            eyes.append(Eye(open_session(manifest.verified(), threads), tuple(manifest.classes), sides))
            default = manifest.thresholds["default"]
            thresholds |= {name: manifest.thresholds.get(name, default) for name in manifest.classes}
        return cls(tuple(eyes), thresholds, tuple(name for eye in eyes for name in eye.classes))

    def threshold(self, label: str) -> float:
        """As ``Detector.threshold``."""
        return self.thresholds[label]

    def detect(self, rgb: Rgb, floor: float = 0.01) -> Detections:
        """As ``Detector.detect``; what is found has no colour."""
        looks = [eye.look(rgb, floor) for eye in self.eyes]
        self.session_ms.append(sum(spent for _, spent in looks))
        return Detections.of(sorted((one for found, _ in looks for one in found), key=lambda d: -d.confidence))


def _fitting(rgb: Rgb, side: int) -> tuple[int, int]:
    """Width and height in multiples of 32, ``side`` long, with little more than the photo in them."""
    height, width = rgb.shape[:2]
    scale = side / max(width, height)
    return _up(width * scale), _up(height * scale)


def _up(pixels: float) -> int:
    return max(1, -(-round(pixels) // STRIDE)) * STRIDE


def _distinct(boxes: NDArray[np.float32], scores: NDArray[np.float32], name: str, floor: float) -> Sequence[Detection]:
    """The boxes of one class, surest first, without those that overlap a surer one."""
    chosen = np.flatnonzero(scores >= floor)
    chosen = chosen[np.argsort(-scores[chosen], kind="stable")]
    overlap = iou_matrix(boxes[chosen], boxes[chosen]) > SAME
    free = np.ones(len(chosen), bool)
    kept: list[Detection] = []
    for i, index in enumerate(chosen):
        if free[i] and len(kept) < MOST:
            x1, y1, x2, y2 = boxes[index].tolist()
            if x2 - x1 >= 1 and y2 - y1 >= 1:
                kept.append(Detection(name, (x1, y1, x2, y2), float(scores[index])))
            free &= ~overlap[i]
    return kept
