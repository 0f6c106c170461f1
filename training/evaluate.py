"""Measures what is served: a detector with all its looks and thresholds, on whole photos with known lamps or damage.

mAP50 and the matching are those of the releases' own score program: all-point interpolation, a finding per lamp, IoU of
0.5 or more, "other" and lamps marked ignore count neither for nor against.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from knowledge.catalogue import load_catalogue
from training.yolo import DataError, DataSet, read_labels
from vision.detections import Detection, iou
from vision.detector import CLUSTER, Detector
from vision.photo import PhotoError, open_photo

IOU = 0.5
IGNORED_IOU = 0.3  # a finding that touches an ignored lamp this much is no false alarm
FLOOR = 0.01  # findings below do not count at all
RELIABLE_FROM = 0.1  # below this the product does not even doubt
OTHER = "other"
# Of a scene, as red lamps of a dashboard.
CRITICAL = frozenset({"accident_vehicle", "fire", "smoke", "broken_part", "broken_glass"})

Box = tuple[float, float, float, float]


@dataclass(frozen=True)
class Truth:
    """One labelled lamp. ``color`` is the labelled one, else the usual one of its class."""

    label: str
    box: Box
    color: str | None
    ignore: bool = False

    @property
    def critical(self) -> bool:
        """Whether missing it may lead somebody into danger."""
        return self.color == "red" or self.label in CRITICAL

    @property
    def counts(self) -> bool:
        """Whether missing it is a fault."""
        return not self.ignore and self.label not in (OTHER, CLUSTER)


@dataclass(frozen=True)
class Sample:
    """One photo with everything that is lit in it. ``boxes01``: whether boxes are in 0..1 instead of pixels."""

    path: Path
    truths: tuple[Truth, ...]
    boxes01: bool = False


@dataclass(frozen=True)
class Seen:
    """What the detector found in one sample, beside the truth; boxes in pixels."""

    path: Path
    truths: tuple[Truth, ...]
    found: tuple[Detection, ...]


@dataclass(frozen=True)
class Pair:
    """A finding with the lamp it is, a false alarm (``truth`` None), or a missed lamp (``found`` None)."""

    seen: Seen
    found: Detection | None
    truth: Truth | None


@dataclass
class Report:
    """The figures, and what they came from. ``unread``: photos that could not be opened."""

    figures: dict[str, Any]
    seen: list[Seen] = field(default_factory=list)
    unread: dict[str, PhotoError] = field(default_factory=dict)


def read_samples(data: Path, split: str = "val") -> list[Sample]:
    """Labelled photos from a data.yaml (or its folder), or from a file as lights-dev/labels.json.

    Raises:
        DataError: if there are none, or the file is neither.
    """
    return _from_json(data) if data.suffix.lower() == ".json" else _from_yolo(data, split)


def _usual_color(label: str) -> str | None:
    light = load_catalogue().lights.get(label)
    return light.usual_color if light else None


def _from_yolo(data: Path, split: str) -> list[Sample]:
    dataset = DataSet.read(data)
    return [
        Sample(
            path, tuple(Truth(label, box, _usual_color(label)) for label, box in read_labels(path, dataset.names)), True
        )
        for path in dataset.split(split)
    ]


def _from_json(data: Path) -> list[Sample]:
    """``{photo: {"lights": [{"class", "color", "box", "ignore"}]}}``; photos beside it or in ``photos/``."""
    folder = data.parent / "photos" if (data.parent / "photos").is_dir() else data.parent
    try:
        rows = json.loads(data.read_text(encoding="utf-8"))
        samples = [
            Sample(
                folder / name,
                tuple(
                    Truth(
                        lamp["class"],
                        _box(lamp["box"]),
                        lamp.get("color") or _usual_color(lamp["class"]),
                        bool(lamp.get("ignore")),
                    )
                    for lamp in row["lights"]
                ),
            )
            for name, row in rows.items()
            if not row.get("exclude")
        ]
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(
            zh=f'{data} 不是标注文件, 应形如 {{"照片.jpg": {{"lights": [{{"class", "box"}}]}}}}。',
            en=f'{data} holds no labels: it should look like {{"photo.jpg": {{"lights": [{{"class", "box"}}]}}}}.',
        ) from error
    if not samples:
        raise DataError(zh=f"{data} 里一张照片也没有。", en=f"{data} lists no photo: add some.")
    return samples


def _box(values: Sequence[float]) -> Box:
    x1, y1, x2, y2 = (float(v) for v in values)
    return x1, y1, x2, y2


def look(
    detector: Detector, samples: Sequence[Sample], progress: Callable[[Iterable[Any]], Iterable[Any]] = iter
) -> tuple[list[Seen], dict[str, PhotoError]]:
    """Run the detector on every photo; those that cannot be opened come back with the reason."""
    seen: list[Seen] = []
    unread: dict[str, PhotoError] = {}
    for sample in progress(samples):
        try:
            photo = open_photo(sample.path)
        except PhotoError as error:
            unread[str(sample.path)] = error
            continue
        scale = (photo.width, photo.height) * 2 if sample.boxes01 else (1, 1, 1, 1)
        truths = tuple(
            Truth(t.label, _box([v * s for v, s in zip(t.box, scale, strict=True)]), t.color, t.ignore)
            for t in sample.truths
        )
        seen.append(Seen(sample.path, truths, tuple(detector.detect(photo.rgb, FLOOR))))
    return seen, unread


def match(seen: Iterable[Seen], with_class: bool, keep: Callable[[Detection], bool] = lambda _: True) -> Iterator[Pair]:
    """Pair findings with lamps, the surest finding first."""
    for one in seen:
        taken: set[int] = set()
        for found in sorted(one.found, key=lambda d: -d.confidence):
            if found.label == CLUSTER or not keep(found):
                continue
            best, best_iou, near_ignored = None, IOU, False
            for i, truth in enumerate(one.truths):
                overlap = iou(found.box, truth.box)
                if not truth.counts:
                    near_ignored |= truth.label != CLUSTER and overlap >= IGNORED_IOU
                elif i not in taken and (not with_class or truth.label == found.label) and overlap >= best_iou:
                    best, best_iou = i, overlap
            if best is not None:
                taken.add(best)
                yield Pair(one, found, one.truths[best])
            elif not near_ignored and found.label != OTHER:
                yield Pair(one, found, None)
        for i, truth in enumerate(one.truths):
            if i not in taken and truth.counts:
                yield Pair(one, None, truth)


def average_precision(hits: Iterable[tuple[float, bool]], positives: int) -> float:
    """Area under the precision-recall curve, every point of it; ``hits``: (confidence, whether it is right)."""
    precisions, recalls, right = [], [], 0
    for n, (_, hit) in enumerate(sorted(hits, key=lambda h: -h[0]), start=1):
        right += hit
        precisions.append(right / n)
        recalls.append(right / positives)
    for i in range(len(precisions) - 2, -1, -1):
        precisions[i] = max(precisions[i], precisions[i + 1])
    area, last = 0.0, 0.0
    for precision, recall in zip(precisions, recalls, strict=True):
        area += precision * (recall - last)
        last = recall
    return area


def _per_class(seen: Sequence[Seen], with_class: bool) -> dict[str, tuple[float, int]]:
    """AP50 and number of lamps by class; under "any" if classes do not matter."""
    hits: dict[str, list[tuple[float, bool]]] = defaultdict(list)
    positives: Counter[str] = Counter()
    for pair in match(seen, with_class):
        key = (pair.truth.label if pair.truth else pair.found.label if pair.found else "") if with_class else "any"
        positives[key] += pair.truth is not None
        if pair.found:
            hits[key].append((pair.found.confidence, pair.truth is not None))
    return {key: (average_precision(hits[key], n), n) for key, n in sorted(positives.items()) if n}


def _share(part: float, whole: int) -> float | None:
    """None where there is nothing to take a share of, which is not the same as none of it."""
    return part / whole if whole else None


def reliability(pairs: Iterable[Pair], bins: int = 10) -> tuple[list[dict[str, Any]], float | None]:
    """How often findings of a confidence are right, by tenths, and the expected calibration error.

    A model whose findings at 0.8 are right four times in five has an error of 0.
    """
    groups: dict[int, list[tuple[float, bool]]] = defaultdict(list)
    for pair in pairs:
        if pair.found and pair.found.confidence >= RELIABLE_FROM:
            index = min(bins - 1, int(pair.found.confidence * bins + 1e-9))
            groups[index].append((pair.found.confidence, pair.truth is not None))
    total = sum(map(len, groups.values()))
    rows, error = [], 0.0
    for index, group in sorted(groups.items()):
        confidence = sum(c for c, _ in group) / len(group)
        precision = sum(hit for _, hit in group) / len(group)
        error += abs(confidence - precision) * len(group) / total
        rows.append({"from": index / bins, "findings": len(group), "confidence": confidence, "precision": precision})
    return rows, error if total else None


def confusion(seen: Sequence[Seen], keep: Callable[[Detection], bool]) -> dict[str, dict[str, Any]]:
    """By class, at the thresholds: named right, missed, taken for another, false alarms."""
    table: dict[str, dict[str, Any]] = {}

    def row(label: str) -> dict[str, Any]:
        return table.setdefault(label, {"objects": 0, "right": 0, "missed": 0, "taken_for": {}, "false_alarms": 0})

    for pair in match(seen, with_class=False, keep=keep):
        if pair.truth is None:
            if pair.found:
                row(pair.found.label)["false_alarms"] += 1
            continue
        entry = row(pair.truth.label)
        entry["objects"] += 1
        if pair.found is None:
            entry["missed"] += 1
        elif pair.found.label == pair.truth.label:
            entry["right"] += 1
        else:
            others = entry["taken_for"]
            others[pair.found.label] = others.get(pair.found.label, 0) + 1
    return dict(sorted(table.items()))


def measure(seen: Sequence[Seen], threshold: Callable[[str], float]) -> dict[str, Any]:
    """All figures of what was seen."""

    def believed(found: Detection) -> bool:
        return found.confidence >= threshold(found.label)

    per_class, anything = _per_class(seen, True), _per_class(seen, False)
    at = list(match(seen, True, believed))
    right = sum(1 for p in at if p.found and p.truth)
    critical = [p.found is not None for p in at if p.truth and p.truth.critical]
    bins, error = reliability(match(seen, True))
    clusters = [(one, t) for one in seen for t in one.truths if t.label == CLUSTER]
    framed = sum(any(d.label == CLUSTER and iou(d.box, t.box) >= IOU for d in one.found) for one, t in clusters)
    return {
        "photos": len(seen),
        "objects": sum(n for _, n in per_class.values()),
        "critical": len(critical),
        "mAP50": _share(sum(ap for ap, _ in per_class.values()), len(per_class)),
        "found_AP50": anything["any"][0] if anything.get("any") else None,
        "recall": _share(right, sum(1 for p in at if p.truth)),
        "precision": _share(right, sum(1 for p in at if p.found)),
        "critical_recall": _share(sum(critical), len(critical)),
        "cluster_found": _share(framed, len(clusters)),
        "ece": error,
        "per_class": {key: [round(ap, 3), n] for key, (ap, n) in per_class.items()},
        "reliability": bins,
        "confusion": confusion(seen, believed),
    }


def errors_in(labels: Path, predictions: Path, threshold: Callable[[str], float]) -> dict[str, Any]:
    """What ``yangche diagnose --json`` got wrong at the product's thresholds, and its figures there.

    Raises:
        DataError: if the labels cannot be read.
    """
    found: dict[str, tuple[Detection, ...]] = {}
    for line in predictions.read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        found[Path(row["photo"]).name] = tuple(
            Detection(f["label"], _box(f["box"]), f["confidence"], f["color"]) for f in row["findings"]
        )
    seen = [Seen(s.path, s.truths, found.get(s.path.name, ())) for s in read_samples(labels)]
    figures = measure(seen, threshold)
    errors = []
    for pair in match(seen, with_class=False, keep=lambda d: d.confidence >= threshold(d.label)):
        row = {"photo": pair.seen.path.name}
        if pair.truth is None and pair.found is not None:
            errors.append({**row, "lamp": "-", "said": pair.found.label, "confidence": round(pair.found.confidence, 2)})
        elif pair.truth is not None and pair.found is None:
            errors.append({**row, "lamp": pair.truth.label, "said": "-", "confidence": None})
        elif pair.truth is not None and pair.found is not None and pair.truth.label != pair.found.label:
            said, sure = pair.found.label, round(pair.found.confidence, 2)
            errors.append({**row, "lamp": pair.truth.label, "said": said, "confidence": sure})
    served = {key: figures[key] for key in ("recall", "precision", "critical_recall")}
    return {"errors": errors, "at_thresholds": served}


def evaluate(
    detector: Detector, samples: Sequence[Sample], progress: Callable[[Iterable[Any]], Iterable[Any]] = iter
) -> Report:
    """Look at every sample and measure.

    Raises:
        DataError: if no photo could be opened.
    """
    seen, unread = look(detector, samples, progress)
    if not seen:
        first = next(iter(unread.values()), None)
        raise DataError(
            zh=f"一张照片也打不开: {first.text.zh if first else '-'}",
            en=f"Not one photo could be opened: {first.text.en if first else '-'}",
        )
    return Report(measure(seen, detector.threshold), seen, unread)


def worst(seen: Sequence[Seen], threshold: Callable[[str], float], most: int = 12) -> list[list[Pair]]:
    """The photos with most misses and false alarms, worst first, with all their pairs; a critical miss counts twice."""

    def believed(found: Detection) -> bool:
        return found.confidence >= threshold(found.label)

    scored = []
    for one in seen:
        pairs = list(match([one], True, believed))
        missed = sum(2 if p.truth.critical else 1 for p in pairs if p.truth and not p.found)
        false = sum(1 for p in pairs if p.found and not p.truth)
        if missed + false:
            scored.append((missed + false, pairs))
    return [pairs for _, pairs in sorted(scored, key=lambda row: -row[0])[:most]]
