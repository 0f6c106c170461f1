"""Finds lit lamps in a photo: the detector seam, its onnxruntime implementation, and a fake for tests.

Lamps are small (11 to 45 pixels in a phone photo), so there are three looks: at the whole photo made small, to find
the instrument cluster; at the cluster alone, enlarged, to find places where a lamp may be lit; and at each of these
places in the photo's own resolution, to name it (``vision.naming``).
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
from vision.naming import NONE, OnnxNamer

if TYPE_CHECKING:
    import onnxruntime

CLUSTER = "cluster"  # pseudo class: the instrument cluster itself, never a finding for people
PAD = 114  # Ultralytics' letterbox grey
DEFAULT_FOLDER = Path(__file__).resolve().parents[1] / "models" / "lights"

FLOOR = 0.002  # proposals that the detector gives less than this are not looked at
MOST = 32  # places in one photo that are named, the surest ones
SECOND = 0.35  # a second name this probable against the first is said as a doubt
# Their pictograms stand beside a gauge, always lit and mostly white: in white they are hardly ever the lamp.
GAUGES = frozenset({"coolant_temp", "low_fuel"})
STRIDE = 32  # the model's input sides are multiples of it
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


def iou_matrix(a: NDArray[np.float32], b: NDArray[np.float32]) -> NDArray[np.float32]:
    """Intersection over union of boxes (n, 4) and (m, 4), shape (n, m)."""
    low = np.maximum(a[:, None, :2], b[None, :, :2])
    high = np.minimum(a[:, None, 2:], b[None, :, 2:])
    inter = np.clip(high - low, 0, None).prod(axis=2)
    area_a, area_b = (a[:, 2:] - a[:, :2]).prod(axis=1), (b[:, 2:] - b[:, :2]).prod(axis=1)
    return np.asarray(inter / np.maximum(area_a[:, None] + area_b[None] - inter, 1e-9), np.float32)


@dataclass(frozen=True)
class Proposals:
    """Places where a lamp may be lit: ``boxes`` (n, 4) in pixels, ``scores`` (n, classes), a probability per class."""

    boxes: NDArray[np.float32]
    scores: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.boxes)

    def take(self, chosen: NDArray[np.generic]) -> Proposals:
        """Those with the given indices, or for which a mask is true."""
        return Proposals(self.boxes[chosen], self.scores[chosen])

    @property
    def lit(self) -> NDArray[np.float32]:
        """How sure it is that something is lit there, whatever it is, shape (n,)."""
        return np.asarray(self.scores.max(axis=1), np.float32) if len(self) else np.zeros(0, np.float32)


def merge(found: Proposals, most: int = 1000, iou: float = 0.5) -> Proposals:
    """One proposal a place, at most ``most``, surest first: those that overlap a surer one give it their scores.

    Two lamps never share a place, but the model may take one for two classes.
    """
    order = np.argsort(-found.lit, kind="stable")
    boxes, scores = found.boxes[order], found.scores[order].copy()
    overlap = iou_matrix(boxes, boxes) > iou
    free = np.ones(len(order), bool)
    kept = []
    for i in range(len(order)):
        if not free[i]:
            continue
        same = overlap[i] & free
        scores[i] = scores[same].max(axis=0)
        free &= ~overlap[i]
        kept.append(i)
    return Proposals(boxes[kept[:most]], scores[kept[:most]])


@dataclass
class OnnxDetector:
    """A YOLO head exported to ONNX, run by onnxruntime on the CPU, and a classifier for what it finds.

    The model takes float32 (1, 3, height, width), multiples of 32, RGB in 0..1, and gives (1, 4 + classes, anchors):
    centre x, centre y, width, height in input pixels, then one probability per class.
    """

    session: onnxruntime.InferenceSession
    classes: tuple[str, ...]
    thresholds: Mapping[str, float]
    side: int
    view_width: int
    colors: Mapping[str, Sequence[str]] = field(default_factory=dict)
    namer: OnnxNamer | None = None
    fusion: Fusion = field(default_factory=lambda: Fusion())
    session_ms: deque[float] = field(default_factory=lambda: deque(maxlen=10_000))  # one figure a photo

    @classmethod
    def load(cls, folder: Path | None = None, threads: int = 2) -> OnnxDetector:
        """From a model folder with ``manifest.json``.

        Raises:
            ModelError: if the files are absent or not the ones that the manifest was written for.
        """
        from models import read_manifest
        from models.session import open_session

        manifest = read_manifest(folder or DEFAULT_FOLDER)
        session = open_session(manifest.verified(), threads)
        namer = None
        if manifest.naming is not None:
            part = manifest.naming
            namer = OnnxNamer.load(manifest.verified(part.file), part.classes, part.side, threads)
        return cls(
            session=session,
            classes=tuple(manifest.classes),
            thresholds=manifest.thresholds,
            side=manifest.side,
            view_width=manifest.view_width,
            colors=manifest.colors,
            namer=namer,
            fusion=Fusion(**manifest.fusion),
        )

    def threshold(self, label: str) -> float:
        """As ``Detector.threshold``."""
        return self.thresholds.get(label, self.thresholds["default"])

    def detect(self, rgb: Rgb, floor: float = 0.01) -> Detections:
        """As ``Detector.detect``. Appends the milliseconds spent inside onnxruntime to ``session_ms``."""
        cluster, places, spent = self.propose(rgb)
        named = None
        if self.namer is not None and len(places):
            named, milliseconds = self.namer.timed(rgb, [tuple(box) for box in places.boxes.tolist()])
            spent += milliseconds
        self.session_ms.append(spent)
        lamps = self._named(places, named)
        found = [*([cluster] if cluster else []), *(self._colored(rgb, d) for d in lamps)]
        return Detections.of([d for d in found if d.confidence >= floor])

    def propose(self, rgb: Rgb, most: int = MOST) -> tuple[Detection | None, Proposals, float]:
        """The cluster, the places where a lamp may be lit, and the milliseconds spent inside onnxruntime."""
        h, w = rgb.shape[:2]
        small, scale, offset = letterbox(rgb, (self.side, self.side))
        first, spent = self._look(small)
        first = self._moved(first, scale, offset, (0, 0, w, h))
        cluster = self._cluster(first)
        region = self._region(cluster, w, h)
        close, more = self._close_up(rgb, region)
        # Of the first look's lamps only those count that the close look could not see; its boxes are coarse.
        middle = (first.boxes[:, :2] + first.boxes[:, 2:]) / 2
        outside = (middle < region[:2]).any(axis=1) | (middle > region[2:]).any(axis=1)
        lamps = np.array([name != CLUSTER for name in self.classes])
        both = Proposals(
            np.concatenate([close.boxes, first.boxes[outside]]), np.concatenate([close.scores, first.scores[outside]])
        )
        both = Proposals(both.boxes, both.scores * lamps)
        return cluster, merge(both.take(np.argsort(-both.lit)[: 8 * most]), most), spent + more

    def _named(self, places: Proposals, named: NDArray[np.float32] | None) -> list[Detection]:
        if not len(places):
            return []
        if named is None or self.namer is None:
            labels, confidence, second = places.scores.argmax(axis=1), places.lit, []
        else:
            columns = [self.namer.classes.index(name) if name in self.namer.classes else -1 for name in self.classes]
            by_name = np.where(np.array(columns) >= 0, named[:, columns], 0)
            share = self.fusion.shares(places.scores, by_name)
            none = named[:, self.namer.classes.index(NONE)]
            labels, confidence = self.fusion.of(places.scores, share, none)
            second = self._second_readings(places, share, labels, confidence)
        boxes = [tuple(box) for box in places.boxes.tolist()]
        first = zip(labels, boxes, confidence, strict=True)
        return [*(Detection(self.classes[label], box, float(sure)) for label, box, sure in first), *second]

    def _second_readings(
        self,
        places: Proposals,
        share: NDArray[np.float32],
        labels: NDArray[np.intp],
        confidence: NDArray[np.float32],
    ) -> list[Detection]:
        """The next best name of lamps that could nearly as well be another one: doubts, always below the threshold.

        A ringed ! that is taken for a ringed P must leave a doubt.
        """
        rows = np.arange(len(labels))
        rest = share.copy()
        rest[rows, labels] = 0
        other = rest.argmax(axis=1)
        ratio = rest[rows, other] / np.maximum(share[rows, labels], 1e-6)
        found = []
        for i in np.flatnonzero(ratio >= SECOND):
            x1, y1, x2, y2 = places.boxes[i].tolist()
            name = self.classes[other[i]]
            sure = min(float(confidence[i] * ratio[i]), 0.99 * self.threshold(name))
            found.append(Detection(name, (x1, y1, x2, y2), sure))
        return found

    def _colored(self, rgb: Rgb, found: Detection) -> Detection:
        """The finding with the colour of its pixels; less sure if such a lamp is never lit in that colour.

        The white pump beside a fuel gauge and the blue glow of a dial are no lamps.
        """
        if found.confidence < COLOR_FROM:
            return found
        color = lamp_color(rgb, found.box)
        usual = self.colors.get(found.label)
        if color is None or usual is None or color in usual:
            return replace(found, color=color)
        sure = self.fusion.doubted(found.confidence)
        if color == "white" and found.label in GAUGES:
            sure = self.fusion.doubted(sure)
        return replace(found, color=color, confidence=sure)

    def _cluster(self, first: Proposals) -> Detection | None:
        """The surest cluster of the first look."""
        if CLUSTER not in self.classes or not len(first):
            return None
        sure = first.scores[:, self.classes.index(CLUSTER)]
        best = int(sure.argmax())
        x1, y1, x2, y2 = first.boxes[best].tolist()
        return Detection(CLUSTER, (x1, y1, x2, y2), float(sure[best]))

    @staticmethod
    def _region(cluster: Detection | None, w: int, h: int) -> Window:
        """Where to look closely: around the cluster if one was seen, else everywhere."""
        if cluster is None or cluster.confidence < 0.4:
            return 0, 0, w, h
        x1, y1, x2, y2 = cluster.box
        mx, my = 0.08 * (x2 - x1), 0.15 * (y2 - y1)
        return max(0, int(x1 - mx)), max(0, int(y1 - my)), min(w, int(x2 + mx)), min(h, int(y2 + my))

    def _close_up(self, rgb: Rgb, region: Window) -> tuple[Proposals, float]:
        """The model on a region of the photo, brought to ``view_width``; boxes in pixels of the photo."""
        x1, y1, x2, y2 = region
        w, h = x2 - x1, y2 - y1
        # No higher than a square, so that an upright photo without a cluster costs no more than others.
        scale = self.view_width / max(w, h)
        size = max(1, round(w * scale)), max(1, round(h * scale))
        fitted = -(-size[0] // STRIDE) * STRIDE, -(-size[1] // STRIDE) * STRIDE
        view = np.full((fitted[1], fitted[0], 3), PAD, np.uint8)
        inner = Image.fromarray(np.ascontiguousarray(rgb[y1:y2, x1:x2])).resize(size, Image.Resampling.BILINEAR)
        view[: size[1], : size[0]] = np.asarray(inner)
        found, milliseconds = self._look(view)
        return self._moved(found, scale, (0, 0), region), milliseconds

    @staticmethod
    def _moved(found: Proposals, scale: float, offset: tuple[int, int], region: Window) -> Proposals:
        """From pixels of a model input to pixels of the photo, clipped to the region it shows."""
        x1, y1, x2, y2 = region
        boxes = (found.boxes - np.array([*offset, *offset], np.float32)) / np.float32(scale)
        boxes = (boxes + np.array([x1, y1, x1, y1], np.float32)).clip([x1, y1, x1, y1], [x2, y2, x2, y2])
        seen = (boxes[:, 2:] - boxes[:, :2] >= 2).all(axis=1)
        return Proposals(boxes[seen].astype(np.float32), found.scores[seen])

    def _look(self, view: Rgb) -> tuple[Proposals, float]:
        raw, milliseconds = self.run(view)
        return decode(raw), milliseconds

    def run(self, view: Rgb) -> tuple[NDArray[np.float32], float]:
        """The bare model on one picture with sides that are multiples of 32: raw output, and milliseconds taken."""
        return run_yolo(self.session, view)


@dataclass(frozen=True)
class Fusion:
    """How what the detector and the namer say becomes one confidence, fitted by ``training.calibrate``.

    The class is the one for which log(namer) + ``prior`` x log(detector's share) is highest; 0 where the detector only
    finds and the namer names, which measured best. Then logit = bias + lit * logit(detector) + named * logit(class)
    + odd, the last only for a lamp in a colour that it never has: not so much that the doubt becomes invisible.
    """

    bias: float = 0.0
    lit: float = 0.5
    named: float = 0.5
    odd: float = -1.5
    prior: float = 0.0

    def doubted(self, confidence: float) -> float:
        """What a colour that a lamp never has leaves of its confidence."""
        logit = float(_logit(np.array([confidence], np.float32))[0]) + self.odd
        return float(1 / (1 + np.exp(-logit)))

    def shares(self, scores: NDArray[np.float32], named: NDArray[np.float32]) -> NDArray[np.float32]:
        """How probable each class is if a lamp is lit, by detector and namer: (n, classes), rows add up to 1."""
        seen = scores / np.maximum(scores.sum(axis=1, keepdims=True), 1e-6)
        weight = (named + 1e-3) * (seen + 0.02) ** self.prior
        return np.asarray(weight / weight.sum(axis=1, keepdims=True), np.float32)

    def of(
        self, scores: NDArray[np.float32], shares: NDArray[np.float32], none: NDArray[np.float32]
    ) -> tuple[NDArray[np.intp], NDArray[np.float32]]:
        """Class indices (n,) and confidences (n,).

        From the detector's (n, classes), ``shares`` and the namer's probability (n,) that nothing is lit there.
        """
        lit, named = self.logits(scores, shares, none)
        logit = self.bias + self.lit * lit + self.named * named
        return shares.argmax(axis=1), np.asarray(1 / (1 + np.exp(-logit)), np.float32)

    @staticmethod
    def logits(
        scores: NDArray[np.float32], shares: NDArray[np.float32], none: NDArray[np.float32]
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """The two that count, (n,) each: that something is lit, and that it is the class chosen."""
        return _logit(scores.max(axis=1)), _logit(shares.max(axis=1) * (1 - none))


def _logit(p: NDArray[np.float32]) -> NDArray[np.float32]:
    p = np.clip(p, 1e-4, 1 - 1e-4)
    return np.asarray(np.log(p / (1 - p)), np.float32)


def run_yolo(session: onnxruntime.InferenceSession, view: Rgb) -> tuple[NDArray[np.float32], float]:
    """An exported YOLO on one picture (sides: multiples of 32): (4 + classes, anchors), and milliseconds taken."""
    tensor = np.ascontiguousarray(view.transpose(2, 0, 1)[None], np.float32) / np.float32(255)
    started = time.perf_counter()
    (out,) = session.run(None, {session.get_inputs()[0].name: tensor})
    return np.asarray(out[0], np.float32), (time.perf_counter() - started) * 1000


def decode(raw: NDArray[np.float32], floor: float = FLOOR, most: int = 600) -> Proposals:
    """The exported head's (4 + classes, anchors) as proposals in input pixels, surest first, not yet merged."""
    best = raw[4:].max(axis=0)
    picked = np.flatnonzero(best >= floor)
    picked = picked[np.argsort(-best[picked])][:most]
    cx, cy, w, h = raw[:4, picked]
    boxes = np.stack([cx - w / 2, cy - h / 2, cx + w / 2, cy + h / 2], axis=1)
    sane = np.isfinite(boxes).all(axis=1) & (boxes[:, 2:] > boxes[:, :2] + 0.5).all(axis=1)
    return Proposals(boxes[sane].astype(np.float32), raw[4:, picked].T[sane].clip(0, 1).astype(np.float32))
