"""Finds lit lamps in a photo: the detector seam, its onnxruntime implementation, and a fake for tests.

Lamps are small (11 to 45 pixels in a phone photo), so the detector looks twice: once at the whole photo made small,
to find the instrument cluster, then at the cluster at high resolution, in overlapping tiles where it is large.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from vision.color import lamp_color
from vision.detections import Detection, Detections

if TYPE_CHECKING:
    import onnxruntime

CLUSTER = "cluster"  # pseudo class: the instrument cluster itself, never a finding for people
PAD = 114  # Ultralytics' letterbox grey
DEFAULT_FOLDER = Path(__file__).resolve().parents[1] / "models" / "lights"

# What a colour that a lamp never has leaves of its confidence. Not nothing: a doubt must stay visible.
ODD_COLOR = 0.3
COLOR_FROM = 0.08  # below this nothing looks at a finding's colour, and measuring it takes a millisecond

Rgb = NDArray[np.uint8]
Window = tuple[int, int, int, int]  # x1, y1, x2, y2 in pixels of the photo


class Detector(Protocol):
    """Anything that finds lamps."""

    classes: tuple[str, ...]
    thresholds: Mapping[str, float]

    def detect(self, rgb: Rgb, floor: float = 0.01) -> Detections:
        """Findings with confidence >= ``floor`` in an upright uint8 RGB photo of shape (H, W, 3).

        The pseudo class CLUSTER may be among them.
        """
        ...

    def threshold(self, label: str) -> float:
        """The product's threshold for a class: at or above it a finding counts."""
        ...


@dataclass
class FakeDetector:
    """Says what it was told to say. For tests of what happens after detection."""

    detections: Detections
    thresholds: Mapping[str, float] = field(default_factory=lambda: {"default": 0.25})
    classes: tuple[str, ...] = ()

    def detect(self, rgb: Rgb, floor: float = 0.01) -> Detections:
        """The detections given at construction."""
        return self.detections.above(floor)

    def threshold(self, label: str) -> float:
        """As ``Detector.threshold``."""
        return self.thresholds.get(label, self.thresholds["default"])


def letterbox(rgb: Rgb, size: tuple[int, int]) -> tuple[Rgb, float, tuple[int, int]]:
    """Fit a picture into ``size`` (width, height) with its proportions kept, grey around it.

    Training uses this same function for its small whole pictures. Returns the picture, the scale, and the (left, top)
    offset in pixels: x_out = x_in * scale + left.
    """
    h, w = rgb.shape[:2]
    scale = min(size[0] / w, size[1] / h)
    new = max(1, round(w * scale)), max(1, round(h * scale))
    inner = rgb if new == (w, h) else np.asarray(Image.fromarray(rgb).resize(new, Image.Resampling.BILINEAR))
    left, top = (size[0] - new[0]) // 2, (size[1] - new[1]) // 2
    out = np.full((size[1], size[0], 3), PAD, np.uint8)
    out[top : top + new[1], left : left + new[0]] = inner
    return out, scale, (left, top)


def tile_windows(w: int, h: int, tile: int, overlap: int) -> list[Window]:
    """Windows of at most ``tile`` x ``tile`` pixels that cover w x h, neighbours sharing at least ``overlap``."""

    def starts(length: int) -> list[int]:
        if length <= tile:
            return [0]
        count = -(-(length - overlap) // (tile - overlap))
        return [round(i * (length - tile) / (count - 1)) for i in range(count)]

    return [(x, y, min(x + tile, w), min(y + tile, h)) for y in starts(h) for x in starts(w)]


def _holds(region: Window, found: Detection) -> bool:
    """Whether the middle of a finding lies in a region."""
    x, y = (found.box[0] + found.box[2]) / 2, (found.box[1] + found.box[3]) / 2
    return region[0] <= x <= region[2] and region[1] <= y <= region[3]


def iou_matrix(a: NDArray[np.float32], b: NDArray[np.float32]) -> NDArray[np.float32]:
    """Intersection over union of boxes (n, 4) and (m, 4), shape (n, m)."""
    low = np.maximum(a[:, None, :2], b[None, :, :2])
    high = np.minimum(a[:, None, 2:], b[None, :, 2:])
    inter = np.clip(high - low, 0, None).prod(axis=2)
    area_a, area_b = (a[:, 2:] - a[:, :2]).prod(axis=1), (b[:, 2:] - b[:, :2]).prod(axis=1)
    return np.asarray(inter / np.maximum(area_a[:, None] + area_b[None] - inter, 1e-9), np.float32)


def suppress(found: Detections, iou: float = 0.5, across: float = 0.7) -> Detections:
    """Non-maximum suppression: of boxes that overlap by ``iou`` within a class, or by ``across`` between classes,
    the most confident stays. Two different lamps never share a place, so the second rule costs nothing."""
    if not len(found):
        return found
    overlap = iou_matrix(found.boxes, found.boxes)
    labels = np.array(found.labels)
    keep = np.zeros(len(found), bool)
    for i in range(len(found)):  # best first, as Detections guarantees
        rivals = np.flatnonzero(keep[:i])
        limit = np.where(labels[rivals] == labels[i], iou, across)
        cluster = (labels[rivals] == CLUSTER) != (labels[i] == CLUSTER)
        keep[i] = not ((overlap[i, rivals] > limit) & ~cluster).any()
    return found.where(keep)


@dataclass
class OnnxDetector:
    """A YOLO head exported to ONNX, run by onnxruntime on the CPU.

    The model takes float32 (n, 3, side, side) RGB in 0..1 and gives (n, 4 + classes, anchors): centre x, centre y,
    width, height in input pixels, then one probability per class.
    """

    session: onnxruntime.InferenceSession
    classes: tuple[str, ...]
    thresholds: Mapping[str, float]
    side: int
    view_width: int
    overlap: int = 96
    colors: Mapping[str, Sequence[str]] = field(default_factory=dict)
    session_ms: deque[float] = field(default_factory=lambda: deque(maxlen=10_000))  # one figure a photo

    @classmethod
    def load(cls, folder: Path | None = None, threads: int = 2) -> OnnxDetector:
        """From a model folder with ``manifest.json``.

        Raises:
            ModelError: if the files are absent or not the ones that the manifest was written for.
        """
        import onnxruntime

        from models import read_manifest

        manifest = read_manifest(folder or DEFAULT_FOLDER)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.log_severity_level = 3
        session = onnxruntime.InferenceSession(manifest.verified(), options, providers=["CPUExecutionProvider"])
        return cls(
            session=session,
            classes=tuple(manifest.classes),
            thresholds=manifest.thresholds,
            side=manifest.side,
            view_width=manifest.view_width,
            overlap=manifest.overlap,
            colors=manifest.colors,
        )

    def threshold(self, label: str) -> float:
        """As ``Detector.threshold``."""
        return self.thresholds.get(label, self.thresholds["default"])

    def detect(self, rgb: Rgb, floor: float = 0.01) -> Detections:
        """As ``Detector.detect``. Appends the milliseconds spent inside onnxruntime to ``session_ms``."""
        spent: list[float] = []
        h, w = rgb.shape[:2]
        first = suppress(self._look(rgb, [(0, 0, w, h)], floor, spent))
        clusters = [d for d in first if d.label == CLUSTER]
        region = self._region(clusters, w, h)
        lamps = self._close_up(rgb, region, floor, spent)
        # Of the first look's lamps only those count that the close look could not see; its boxes are coarse.
        outside = [d for d in first if d.label != CLUSTER and not _holds(region, d)]
        self.session_ms.append(sum(spent))
        found = [*clusters[:1], *(self._colored(rgb, d) for d in (*lamps, *outside))]
        return suppress(Detections.of([d for d in found if d.confidence >= floor]))

    def _colored(self, rgb: Rgb, found: Detection) -> Detection:
        """The finding with the colour of its pixels; less sure if such a lamp is never lit in that colour.

        The white pump beside a fuel gauge and the blue glow of a dial are no lamps.
        """
        if found.label == CLUSTER or found.confidence < COLOR_FROM:
            return found
        color = lamp_color(rgb, found.box)
        usual = self.colors.get(found.label)
        known = color is None or usual is None or color in usual
        return replace(found, color=color, confidence=found.confidence * (1 if known else ODD_COLOR))

    @staticmethod
    def _region(clusters: Sequence[Detection], w: int, h: int) -> Window:
        """Where to look closely: around the cluster if one was seen, else everywhere."""
        if not clusters or clusters[0].confidence < 0.4:
            return 0, 0, w, h
        x1, y1, x2, y2 = clusters[0].box
        mx, my = 0.08 * (x2 - x1), 0.15 * (y2 - y1)
        return max(0, int(x1 - mx)), max(0, int(y1 - my)), min(w, int(x2 + mx)), min(h, int(y2 + my))

    def _close_up(self, rgb: Rgb, region: Window, floor: float, spent: list[float]) -> Detections:
        x1, y1, x2, y2 = region
        w, h = x2 - x1, y2 - y1
        scale = self.view_width / max(w, h)
        size = max(1, round(w * scale)), max(1, round(h * scale))
        view = np.asarray(Image.fromarray(rgb[y1:y2, x1:x2]).resize(size, Image.Resampling.BILINEAR))
        windows = tile_windows(size[0], size[1], self.side, self.overlap)
        found = self._look(view, windows, floor, spent)
        if not len(found):
            return found
        found = suppress(found.where([label != CLUSTER for label in found.labels]))
        boxes = found.boxes / np.float32(scale) + np.array([x1, y1, x1, y1], np.float32)
        return Detections(boxes, found.confidence, found.labels, found.colors)

    def _look(self, rgb: Rgb, windows: Sequence[Window], floor: float, spent: list[float]) -> Detections:
        """Run the model on windows of a picture; boxes come back in pixels of that picture."""
        found: list[Detection] = []
        h, w = rgb.shape[:2]
        for x1, y1, x2, y2 in windows:
            tile, scale, (left, top) = letterbox(rgb[y1:y2, x1:x2], (self.side, self.side))
            raw, milliseconds = self.run(tile)
            spent.append(milliseconds)
            for d in decode(raw, self.classes, floor):
                a, b, c, e = ((v - o) / scale for v, o in zip(d.box, (left, top, left, top), strict=True))
                a, b, c, e = max(0.0, a) + x1, max(0.0, b) + y1, min(x2 - x1, c) + x1, min(y2 - y1, e) + y1
                # A box cut by a tile's inner edge is seen whole by the neighbour.
                cut = (a <= x1 + 1 and x1 > 0) or (b <= y1 + 1 and y1 > 0) or (c >= x2 - 1 and x2 < w)
                if cut or (e >= y2 - 1 and y2 < h) or c - a < 2 or e - b < 2:
                    continue
                found.append(Detection(d.label, (a, b, c, e), d.confidence))
        return Detections.of(found)

    def run(self, tile: Rgb) -> tuple[NDArray[np.float32], float]:
        """The bare model on one letterboxed picture: its raw output, and the milliseconds that it took."""
        tensor = np.ascontiguousarray(tile.transpose(2, 0, 1)[None], np.float32) / 255
        started = time.perf_counter()
        (out,) = self.session.run(None, {self.session.get_inputs()[0].name: tensor})
        return np.asarray(out[0], np.float32), (time.perf_counter() - started) * 1000


def decode(raw: NDArray[np.float32], classes: Sequence[str], floor: float, most: int = 300) -> list[Detection]:
    """The exported head's (4 + classes, anchors) as findings in input pixels, best class per anchor, after NMS."""
    scores = raw[4:].max(axis=0)
    picked = np.flatnonzero(scores >= floor)
    picked = picked[np.argsort(-scores[picked])][: 4 * most]
    if not len(picked):
        return []
    cx, cy, w, h = raw[:4, picked]
    boxes = np.stack([cx - w / 2, cy - h / 2, cx + w / 2, cy + h / 2], axis=1)
    sane = np.isfinite(boxes).all(axis=1) & (boxes[:, 2:] > boxes[:, :2] + 0.5).all(axis=1)
    names = tuple(classes[i] for i in raw[4:, picked].argmax(axis=0)[sane])
    found = Detections(boxes[sane], np.clip(scores[picked][sane], 0, 1), names)
    return list(suppress(found))[:most]
