"""Looks at a photo as a whole: a dashboard, an accident (or damage), or neither; and how severe the damage is."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from vision.detector import Rgb

if TYPE_CHECKING:
    import onnxruntime

KINDS = ("dashboard", "accident", "other")
SEVERITIES = ("minor", "moderate", "severe")


@dataclass(frozen=True)
class Whole:
    """Probabilities that add up to 1: ``kind`` over KINDS, ``severity`` over SEVERITIES (of use for accidents only)."""

    kind: Mapping[str, float]
    severity: Mapping[str, float]


class WholePhoto(Protocol):
    """Anything that can tell what kind of photo it has before it."""

    def judge(self, rgb: Rgb) -> Whole:
        """What an upright uint8 RGB photo of shape (H, W, 3) shows."""
        ...


@dataclass
class FakeWholePhoto:
    """Says what it was told to say. For tests of what follows from it."""

    kind: str = "dashboard"
    severity: str = "moderate"
    sure: float = 0.98

    def judge(self, rgb: Rgb) -> Whole:
        """The kind and severity given at construction, ``sure`` of both."""

        def spread(names: tuple[str, ...], said: str) -> dict[str, float]:
            rest = (1 - self.sure) / (len(names) - 1)
            return {name: self.sure if name == said else rest for name in names}

        return Whole(spread(KINDS, self.kind), spread(SEVERITIES, self.severity))


def squared(rgb: Rgb, side: int) -> Rgb:
    """The whole picture made square, whatever its proportions: nothing at its edge may be lost.

    Large photos are halved first, as Pillow's ``draft`` would: training does the same.
    """
    return np.asarray(Image.fromarray(rgb).resize((side, side), Image.Resampling.BILINEAR, reducing_gap=2.0))


@dataclass
class OnnxWholePhoto:
    """A classifier exported to ONNX: float32 (n, 3, side, side), RGB in 0..1, to two outputs of logits.

    The photo and its mirror image are looked at in one run and averaged.
    """

    session: onnxruntime.InferenceSession
    side: int
    session_ms: deque[float] = field(default_factory=lambda: deque(maxlen=10_000))

    @classmethod
    def load(cls, folder: Path, threads: int = 2) -> OnnxWholePhoto:
        """From a model folder with ``manifest.json``.

        Raises:
            ModelError: if the files are absent or not the ones that the manifest was written for.
        """
        from models import read_manifest
        from models.session import open_session

        manifest = read_manifest(folder)
        return cls(open_session(manifest.verified(), threads), manifest.side)

    def judge(self, rgb: Rgb) -> Whole:
        """As ``WholePhoto.judge``."""
        picture = squared(rgb, self.side).transpose(2, 0, 1).astype(np.float32) / np.float32(255)
        started = time.perf_counter()
        kind, severity = self.session.run(
            ["kind", "severity"], {self.session.get_inputs()[0].name: np.stack([picture, picture[:, :, ::-1]])}
        )
        self.session_ms.append((time.perf_counter() - started) * 1000)
        return Whole(_shares(KINDS, kind), _shares(SEVERITIES, severity))


def _shares(names: tuple[str, ...], logits: NDArray[np.float32]) -> dict[str, float]:
    """Softmax of each row, averaged."""
    raised = np.exp(logits - logits.max(axis=1, keepdims=True))
    shares = (raised / raised.sum(axis=1, keepdims=True)).mean(axis=0)
    return {name: float(share) for name, share in zip(names, shares, strict=True)}
