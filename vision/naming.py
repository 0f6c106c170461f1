"""Names the lamp in a small crop: the second look, at the photo's own resolution. Seam, onnxruntime, and a fake.

The detector finds lit lamps well and mixes up those that look alike at 20 pixels; a small classifier that was trained
on many more drawings of each lamp, and that may say "none of these", names them better.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image

if TYPE_CHECKING:
    import onnxruntime

NONE = "none"  # the class of crops that hold no lit lamp
CONTEXT = 1.6  # the crop's side over the box's longer side: what lies around a lamp tells whether it is one

Rgb = NDArray[np.uint8]
Box = tuple[float, float, float, float]


class Namer(Protocol):
    """Anything that names lamps."""

    classes: tuple[str, ...]  # NONE is one of them

    def name(self, rgb: Rgb, boxes: Sequence[Box]) -> NDArray[np.float32]:
        """Probabilities, shape (len(boxes), len(classes)), each row adding up to 1."""
        ...


@dataclass
class FakeNamer:
    """Says of every box what it was told to say. For tests of what happens after naming."""

    probabilities: Mapping[str, float]
    classes: tuple[str, ...]

    def name(self, rgb: Rgb, boxes: Sequence[Box]) -> NDArray[np.float32]:
        """The probabilities given at construction, for every box."""
        row = np.array([self.probabilities.get(name, 0.0) for name in self.classes], np.float32)
        return np.tile(row, (len(boxes), 1))


def crop(rgb: Rgb, box: Box, side: int, context: float = CONTEXT) -> Rgb:
    """The square around a box's middle, ``context`` times its longer side wide, as uint8 (side, side, 3).

    Training cuts its crops by this same function. Beyond the photo's edges its border pixels are repeated.
    """
    half = max(box[2] - box[0], box[3] - box[1], 2.0) * context / 2
    cx, cy = (box[0] + box[2]) / 2, (box[1] + box[3]) / 2
    left, top = math.floor(cx - half), math.floor(cy - half)
    right, bottom = math.ceil(cx + half), math.ceil(cy + half)
    h, w = rgb.shape[:2]
    rows, columns = np.arange(top, bottom).clip(0, h - 1), np.arange(left, right).clip(0, w - 1)
    if top >= 0 and left >= 0 and bottom <= h and right <= w:
        window = rgb[top:bottom, left:right]
    else:
        window = rgb[rows[:, None], columns[None, :]]
    inner = (cx - half - left, cy - half - top, cx + half - left, cy + half - top)
    image = Image.fromarray(np.ascontiguousarray(window))
    return np.asarray(image.resize((side, side), Image.Resampling.BILINEAR, box=inner))


@dataclass
class OnnxNamer:
    """A convolutional classifier exported to ONNX: float32 (n, 3, side, side) RGB in 0..1 to logits (n, classes)."""

    session: onnxruntime.InferenceSession
    classes: tuple[str, ...]
    side: int

    @classmethod
    def load(cls, model: bytes | Path, classes: Sequence[str], side: int, threads: int = 2) -> OnnxNamer:
        """From an ONNX file or its content, which the caller has verified."""
        from models.session import open_session

        session = open_session(model if isinstance(model, bytes) else str(model), threads)
        return cls(session, tuple(classes), side)

    def name(self, rgb: Rgb, boxes: Sequence[Box]) -> NDArray[np.float32]:
        """As ``Namer.name``."""
        probabilities, _ = self.timed(rgb, boxes)
        return probabilities

    def timed(self, rgb: Rgb, boxes: Sequence[Box]) -> tuple[NDArray[np.float32], float]:
        """As ``name``, with the milliseconds spent inside onnxruntime."""
        if not len(boxes):
            return np.zeros((0, len(self.classes)), np.float32), 0.0
        crops = np.stack([crop(rgb, box, self.side) for box in boxes])
        tensor = np.ascontiguousarray(crops.transpose(0, 3, 1, 2), np.float32) / np.float32(255)
        started = time.perf_counter()
        (logits,) = self.session.run(None, {self.session.get_inputs()[0].name: tensor})
        milliseconds = (time.perf_counter() - started) * 1000
        raised = np.exp(logits - logits.max(axis=1, keepdims=True))
        return np.asarray(raised / raised.sum(axis=1, keepdims=True), np.float32), milliseconds
