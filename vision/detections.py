"""One type for what any detector saw."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

Color = Literal["red", "amber", "green", "blue", "white"]
COLORS: tuple[Color, ...] = get_args(Color)


def iou(a: Sequence[float], b: Sequence[float]) -> float:
    """Intersection over union of two boxes x1, y1, x2, y2."""
    width, height = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    if width <= 0 or height <= 0:
        return 0.0
    both = width * height
    return both / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - both)


@dataclass(frozen=True)
class Detection:
    """One finding. ``box`` is (x1, y1, x2, y2) in pixels of the upright photo."""

    label: str
    box: tuple[float, float, float, float]
    confidence: float
    color: Color | None = None

    def to_json(self) -> dict[str, Any]:
        """The finding as the JSON contract spells it."""
        return {
            "label": self.label,
            "box": [round(v, 1) for v in self.box],
            "confidence": round(self.confidence, 4),
            "color": self.color,
        }


@dataclass(frozen=True, eq=False)
class Detections:
    """What a detector saw in one photo, best first.

    Attributes:
        boxes: float32, shape (n, 4): x1, y1, x2, y2 in pixels of the upright photo, x1 < x2 and y1 < y2.
        confidence: float32, shape (n,), in 0..1.
        labels: n class ids.
        colors: n lamp colours, None where colour has no meaning or was not measured.

    Raises:
        ValueError: if shapes disagree, a box is inverted or not finite, or a confidence leaves 0..1.
    """

    boxes: NDArray[np.float32]
    confidence: NDArray[np.float32]
    labels: tuple[str, ...]
    colors: tuple[Color | None, ...] = ()

    def __post_init__(self) -> None:
        boxes = np.asarray(self.boxes, dtype=np.float32).reshape(-1, 4) if np.size(self.boxes) == 0 else self.boxes
        boxes = np.asarray(boxes, dtype=np.float32)
        confidence = np.asarray(self.confidence, dtype=np.float32)
        labels = tuple(self.labels)
        n = len(labels)
        colors = tuple(self.colors) or (None,) * n
        if boxes.shape != (n, 4):
            raise ValueError(f"boxes must have shape ({n}, 4) for {n} labels, got {boxes.shape}")
        if confidence.shape != (n,):
            raise ValueError(f"confidence must have shape ({n},) for {n} labels, got {confidence.shape}")
        if len(colors) != n:
            raise ValueError(f"colors must hold {n} entries for {n} labels, got {len(colors)}")
        if unknown := {c for c in colors if c is not None and c not in COLORS}:
            raise ValueError(f"colors must be among {COLORS} or None, got {sorted(unknown)}")
        if not np.isfinite(boxes).all() or (boxes[:, 2:] <= boxes[:, :2]).any():
            raise ValueError("boxes must be finite with x1 < x2 and y1 < y2")
        if not ((confidence >= 0) & (confidence <= 1)).all():  # also refuses NaN
            raise ValueError("confidence must lie in 0..1")
        order = np.argsort(-confidence, kind="stable")
        object.__setattr__(self, "boxes", boxes[order])
        object.__setattr__(self, "confidence", confidence[order])
        object.__setattr__(self, "labels", tuple(labels[i] for i in order))
        object.__setattr__(self, "colors", tuple(colors[i] for i in order))

    @classmethod
    def empty(cls) -> Detections:
        """Nothing seen."""
        return cls(np.zeros((0, 4), np.float32), np.zeros(0, np.float32), ())

    @classmethod
    def of(cls, findings: Sequence[Detection]) -> Detections:
        """From single findings."""
        return cls(
            np.array([f.box for f in findings], np.float32).reshape(-1, 4),
            np.array([f.confidence for f in findings], np.float32),
            tuple(f.label for f in findings),
            tuple(f.color for f in findings),
        )

    def __len__(self) -> int:
        return len(self.labels)

    def __iter__(self) -> Iterator[Detection]:
        for box, confidence, label, color in zip(self.boxes, self.confidence, self.labels, self.colors, strict=True):
            x1, y1, x2, y2 = (float(v) for v in box)
            yield Detection(label, (x1, y1, x2, y2), float(confidence), color)

    def where(self, keep: Sequence[bool] | NDArray[np.bool_]) -> Detections:
        """Those for which ``keep`` (n booleans) is true."""
        return Detections.of([d for d, k in zip(self, keep, strict=True) if k])

    def above(self, threshold: float) -> Detections:
        """Those with confidence >= ``threshold``."""
        return self.where(self.confidence >= threshold)

    def __add__(self, other: Detections) -> Detections:
        return Detections.of([*self, *other])
