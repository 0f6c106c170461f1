"""Writes a data set of rendered clusters in Ultralytics' own layout (data.yaml, images/, labels/).

Three kinds of pictures, as the detector meets them: tiles cut at full resolution (lamps), whole photos made small
(where is the cluster), and real photos without any cluster (nothing to find, though much of it glows).
"""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import yaml
from numpy.random import Generator

from training.camera import Box, Image8, Shot, take_photo
from training.cluster import draw_cluster
from training.glyphs import drawings
from training.lamps import WORDS
from vision.detector import letterbox

TILE = 640
MIN_SIDE = 7  # pixels; a lamp smaller than this cannot be named by anyone
MIN_SIDE_WHOLE = 11


@dataclass(frozen=True)
class Plan:
    """What to write: ``frames`` rendered photos with ``tiles`` tiles each, in split ``split`` of ``folder``."""

    folder: Path
    split: str
    frames: int
    tiles: int
    seed: int
    classes: tuple[str, ...]
    backgrounds: tuple[Path, ...] = ()


def _yolo(boxes: Iterable[Box], classes: Sequence[str], w: int, h: int) -> str:
    rows = []
    for box in boxes:
        x1, y1, x2, y2 = box.xyxy
        values = ((x1 + x2) / 2 / w, (y1 + y2) / 2 / h, (x2 - x1) / w, (y2 - y1) / h)
        rows.append(f"{classes.index(box.label)} " + " ".join(f"{v:.6f}" for v in values))
    return "\n".join(rows)


def _write(plan: Plan, name: str, rgb: Image8, boxes: Iterable[Box]) -> None:
    image = plan.folder / "images" / plan.split / f"{name}.jpg"
    label = plan.folder / "labels" / plan.split / f"{name}.txt"
    cv2.imwrite(str(image), np.ascontiguousarray(rgb[..., ::-1]), [cv2.IMWRITE_JPEG_QUALITY, 94])
    label.write_text(_yolo(boxes, plan.classes, rgb.shape[1], rgb.shape[0]), encoding="utf-8")


def _inside(box: Box, x: int, y: int) -> Box | None:
    """The part of a lamp that a tile at (x, y) shows, or None if that is too little."""
    x1, y1, x2, y2 = box.xyxy
    a, b, c, d = max(x1 - x, 0.0), max(y1 - y, 0.0), min(x2 - x, float(TILE)), min(y2 - y, float(TILE))
    if min(c - a, d - b) < MIN_SIDE or (c - a) * (d - b) < 0.4 * (x2 - x1) * (y2 - y1):
        return None
    return Box(box.label, box.color, (a, b, c, d))


def tile_of(shot: Shot, rng: Generator) -> tuple[Image8, list[Box]]:
    """A TILE x TILE part of a photo, mostly one that shows lamps."""
    h, w = shot.rgb.shape[:2]
    if shot.lamps and rng.random() < 0.9:
        x1, y1, x2, y2 = shot.lamps[int(rng.integers(len(shot.lamps)))].xyxy
        x, y = (x1 + x2) / 2 - rng.uniform(0.05, 0.95) * TILE, (y1 + y2) / 2 - rng.uniform(0.05, 0.95) * TILE
    else:
        x, y = rng.uniform(0, w - TILE), rng.uniform(0, h - TILE)
    x, y = int(np.clip(x, 0, w - TILE)), int(np.clip(y, 0, h - TILE))
    boxes = [part for lamp in shot.lamps if (part := _inside(lamp, x, y))]
    return shot.rgb[y : y + TILE, x : x + TILE], boxes


def whole_of(shot: Shot) -> tuple[Image8, list[Box]]:
    """The whole photo letterboxed to TILE x TILE, as the detector's first look sees it."""
    rgb, scale, (dx, dy) = letterbox(shot.rgb, (TILE, TILE))
    boxes = []
    for box in (shot.cluster, *shot.lamps):
        x1, y1, x2, y2 = (v * scale + d for v, d in zip(box.xyxy, (dx, dy, dx, dy), strict=True))
        if min(x2 - x1, y2 - y1) >= MIN_SIDE_WHOLE:
            boxes.append(Box(box.label, box.color, (x1, y1, x2, y2)))
    return rgb, boxes


def _photo(path: Path) -> Image8 | None:
    bgr = cv2.imread(str(path), cv2.IMREAD_COLOR)
    return None if bgr is None else np.ascontiguousarray(bgr[..., ::-1], np.uint8)


def _frames(plan: Plan, numbers: Sequence[int]) -> int:
    cv2.setNumThreads(1)
    lamps = [name for name in plan.classes if name in drawings() or name in WORDS]
    chosen = np.random.default_rng(plan.seed).permutation(len(plan.backgrounds))[:60]
    photos = [p for i in chosen if (p := _photo(plan.backgrounds[i])) is not None]
    for n in numbers:
        rng = np.random.default_rng([plan.seed, n])
        shot = take_photo(draw_cluster(rng, lamps), rng, photos)
        for k in range(plan.tiles):
            _write(plan, f"f{n:05d}-{k}", *tile_of(shot, rng))
        if n % 3 == 0:
            _write(plan, f"f{n:05d}-w", *whole_of(shot))
    return len(numbers)


def _empty(plan: Plan, rng: Generator) -> None:
    """Real photos without a cluster: made small, and cut at full size."""
    for path in plan.backgrounds[: plan.frames // 4]:
        if (rgb := _photo(path)) is None:
            continue
        if rng.random() < 0.5:
            rgb = letterbox(rgb, (TILE, TILE))[0]
        else:
            k = TILE / min(rgb.shape[:2]) * float(rng.uniform(1.0, 1.6))
            rgb = np.asarray(cv2.resize(rgb, None, fx=max(k, 1.0), fy=max(k, 1.0)), np.uint8)
            y, x = (int(rng.integers(0, n - TILE + 1)) for n in rgb.shape[:2])
            rgb = rgb[y : y + TILE, x : x + TILE]
        _write(plan, f"e-{path.stem}", rgb, ())


def write(plan: Plan, workers: int = 2) -> Path:
    """Render and write one split; returns the path of data.yaml. The same plan writes the same pictures."""
    for kind in ("images", "labels"):
        (plan.folder / kind / plan.split).mkdir(parents=True, exist_ok=True)
    _empty(plan, np.random.default_rng(plan.seed))
    parts = [list(range(i, plan.frames, workers)) for i in range(workers)]
    with ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn")) as pool:
        for job in [pool.submit(_frames, plan, part) for part in parts]:
            job.result()
    data = plan.folder / "data.yaml"
    content = {
        "path": str(plan.folder.resolve()),
        "train": "images/train",
        "val": "images/val",
        "names": dict(enumerate(plan.classes)),
    }
    data.write_text(yaml.safe_dump(content, sort_keys=False), encoding="utf-8")
    return data
