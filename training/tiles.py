"""Turns a person's own labelled photos into pictures to train on: tiles at the scale of the close look, small wholes.

A phone's photo is 4000 pixels wide and a lamp in it 40; made to fit 640 pixels, as the trainer would do, it is gone.
So photos are enlarged or reduced as ``vision.detector`` does it, and cut. Where nobody labelled the instrument cluster,
the present model says where it is: a whole photo without it would teach that there is none.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from PIL import Image

from training.yolo import Box, DataSet, label_path, read_labels
from vision.detector import CLUSTER, Rgb, letterbox
from vision.photo import PhotoError, open_photo

WHOLE = 800  # pixels; what is not larger is a tile already
MIN_SIDE = 7  # pixels in a tile
MIN_SIDE_WHOLE = 11
OVERLAP = 96  # pixels; wider than a lamp, so that each is whole in some tile
VISIBLE = 0.4  # share of a lamp that a tile must show for it to be labelled there
ClusterFinder = Callable[[Rgb], Box | None]
Labels = list[tuple[str, Box]]


@dataclass(frozen=True)
class Cut:
    """Pixels of a tile, and of the cluster's long side in the detector's close look."""

    side: int
    view_width: int


def are_photos(data: DataSet) -> bool:
    """Whether any picture is larger than a tile."""
    return any(max(_size(path)) > WHOLE for paths in data.splits.values() for path in paths)


def _size(path: Path) -> tuple[int, int]:
    try:
        with Image.open(path) as image:
            return image.size
    except Exception:  # Ultralytics replaces Image.open with one that fails in ways of its own
        return 0, 0


def digests(data: DataSet, split: str = "train") -> list[str]:
    """Checksums of the pictures of a split: by them a gate knows photos that were trained on."""
    return sorted({hashlib.sha256(p.read_bytes()).hexdigest() for p in data.splits.get(split, ()) if p.is_file()})


def cut_photos(
    data: DataSet,
    out: Path,
    cut: Cut,
    find_cluster: ClusterFinder,
    progress: Callable[[Iterable[Any]], Iterable[Any]] = iter,
) -> Path:
    """Write the data set of tiles to ``out`` and return its data.yaml. Pictures that can't be opened are left out."""
    for kind in ("images", "labels"):
        shutil.rmtree(out / kind, ignore_errors=True)
    jobs = [(split, n, path) for split, paths in data.splits.items() for n, path in enumerate(paths)]
    for split, n, path in progress(jobs):
        images, labels = out / "images" / split, out / "labels" / split
        images.mkdir(parents=True, exist_ok=True)
        labels.mkdir(parents=True, exist_ok=True)
        name = f"{n:05d}-{path.stem}"
        size = _size(path)
        if 0 < max(size) <= WHOLE:
            shutil.copyfile(path, images / (name + path.suffix))
            if label_path(path).is_file():
                shutil.copyfile(label_path(path), labels / f"{name}.txt")
            continue
        try:
            rgb = open_photo(path).rgb
        except PhotoError:
            continue
        for k, (tile, rows) in enumerate(pieces(rgb, read_labels(path, data.names), cut, find_cluster)):
            Image.fromarray(tile).save(images / f"{name}-{k}.jpg", quality=94)
            (labels / f"{name}-{k}.txt").write_text(_rows(rows, data.names, cut.side), encoding="utf-8")
    return write_yaml(data, out / "data.yaml", {split: f"images/{split}" for split in data.splits}, out)


def write_yaml(data: DataSet, file: Path, splits: dict[str, Any], root: Path) -> Path:
    """A data.yaml that Ultralytics reads in the same way from wherever it is started."""
    content = {"path": str(root.resolve()), **splits, "names": dict(enumerate(data.names))}
    file.write_text(yaml.safe_dump(content, sort_keys=False, allow_unicode=True), encoding="utf-8")
    return file


def pieces(rgb: Rgb, labels: Labels, cut: Cut, find_cluster: ClusterFinder) -> list[tuple[Rgb, Labels]]:
    """The pictures that the detector would look at, each ``cut.side`` square, with boxes in its pixels.

    ``labels``: boxes in 0..1 of the photo.
    """
    h, w = rgb.shape[:2]
    boxes: Labels = [(name, (b[0] * w, b[1] * h, b[2] * w, b[3] * h)) for name, b in labels]
    lamps = [(name, box) for name, box in boxes if name != CLUSTER]
    cluster = next((box for name, box in boxes if name == CLUSTER), None)
    if cluster is None and lamps:
        cluster = find_cluster(rgb)
        boxes += [(CLUSTER, cluster)] if cluster else []
    found: list[tuple[Rgb, Labels]] = []
    if cluster or not lamps:
        whole, scale, (dx, dy) = letterbox(rgb, (cut.side, cut.side))
        small = [(n, (a * scale + dx, b * scale + dy, c * scale + dx, d * scale + dy)) for n, (a, b, c, d) in boxes]
        found.append((whole, [(n, b) for n, b in small if min(b[2] - b[0], b[3] - b[1]) >= MIN_SIDE_WHOLE]))
    x1, y1, x2, y2 = _around(cluster, w, h) if cluster else (0, 0, w, h)
    scale = cut.view_width / max(x2 - x1, y2 - y1)
    size = max(1, round((x2 - x1) * scale)), max(1, round((y2 - y1) * scale))
    view = Image.fromarray(rgb[y1:y2, x1:x2]).resize(size, Image.Resampling.BILINEAR)
    near = [(n, ((a - x1) * scale, (b - y1) * scale, (c - x1) * scale, (d - y1) * scale)) for n, (a, b, c, d) in lamps]
    for window in windows(*size, cut.side):
        tile, factor, (dx, dy) = letterbox(_array(view.crop(window)), (cut.side, cut.side))
        inside = [(n, part) for n, box in near if (part := _inside(box, window))]
        found.append((tile, [(n, (a * factor + dx, b * factor + dy, c * factor + dx, d * factor + dy))
                             for n, (a, b, c, d) in inside]))  # fmt: skip
    return found


def windows(w: int, h: int, side: int) -> list[tuple[int, int, int, int]]:
    """Windows of at most ``side`` x ``side`` pixels that cover w x h, neighbours sharing at least OVERLAP."""

    def starts(length: int) -> list[int]:
        if length <= side:
            return [0]
        count = -(-(length - OVERLAP) // (side - OVERLAP))
        return [round(i * (length - side) / (count - 1)) for i in range(count)]

    return [(x, y, min(x + side, w), min(y + side, h)) for y in starts(h) for x in starts(w)]


def _array(image: Image.Image) -> Rgb:
    import numpy as np

    return np.asarray(image, np.uint8)


def _around(box: Box, w: int, h: int) -> tuple[int, int, int, int]:
    """The cluster with the margins that the detector adds."""
    mx, my = 0.08 * (box[2] - box[0]), 0.15 * (box[3] - box[1])
    return max(0, int(box[0] - mx)), max(0, int(box[1] - my)), min(w, int(box[2] + mx)), min(h, int(box[3] + my))


def _inside(box: Box, window: tuple[int, int, int, int]) -> Box | None:
    """The part of a lamp that a window shows, in its pixels, or None if that is too little."""
    a, b = max(box[0], window[0]), max(box[1], window[1])
    c, d = min(box[2], window[2]), min(box[3], window[3])
    if min(c - a, d - b) < MIN_SIDE or (c - a) * (d - b) < VISIBLE * (box[2] - box[0]) * (box[3] - box[1]):
        return None
    return a - window[0], b - window[1], c - window[0], d - window[1]


def _rows(labels: Labels, names: Sequence[str], side: int) -> str:
    rows = []
    for name, (x1, y1, x2, y2) in labels:
        values = ((x1 + x2) / 2 / side, (y1 + y2) / 2 / side, (x2 - x1) / side, (y2 - y1) / side)
        rows.append(f"{names.index(name)} " + " ".join(f"{v:.6f}" for v in values))
    return "\n".join(rows)
