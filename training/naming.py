"""Makes the classifier that names lamps in crops: render crops, train, export.

python -m training.naming crops --out work/naming --frames 900 --boards 400 --backgrounds PHOTOS
python -m training.naming train --data work/naming --out work/runs/naming --hours 0.5
python -m training.naming export --run work/runs/naming

The crops come from whole rendered clusters at the places that the detector proposes, so that the classifier meets what
it will meet in service: lamps with the detector's loose boxes, and everything that the detector takes for a lamp.
"""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import cv2
import numpy as np
import typer
from numpy.random import Generator
from numpy.typing import NDArray

from training.camera import Box, Image8, Shot, take_photo
from training.cluster import draw_board, draw_cluster
from training.glyphs import tight
from training.lamps import LAMP_COLORS
from vision.detector import DEFAULT_FOLDER, OnnxDetector, iou_matrix
from vision.naming import CONTEXT, NONE, crop

if TYPE_CHECKING:
    from training.glyphs import Mask

app = typer.Typer(help=__doc__, no_args_is_help=True, add_completion=False)

CLASSES: tuple[str, ...] = (*LAMP_COLORS, NONE)
STORED = 80  # pixels a stored crop is wide
ROOM = 1.3  # how much wider a stored crop is than one in service: room to shift and scale
MIN_SIDE = 8  # pixels; a smaller lamp is not given as an example
NEGATIVES = 12  # crops of nothing kept from one picture


def _jittered(xyxy: Sequence[float], rng: Generator) -> tuple[float, float, float, float]:
    """A box as loose as the detector's are."""
    w, h = xyxy[2] - xyxy[0], xyxy[3] - xyxy[1]
    d = rng.normal(0, 0.05, 4) * [w, h, w, h]
    return (xyxy[0] + d[0], xyxy[1] + d[1], xyxy[2] + d[2], xyxy[3] + d[3])


def crops_of(
    rgb: Image8, lamps: Sequence[Box], places: NDArray[np.float32], rng: Generator
) -> Iterator[tuple[Image8, str]]:
    """Crops with their class: each lamp once, and each place (n, 4) that clearly holds a lamp or clearly holds none."""
    truth = np.array([lamp.xyxy for lamp in lamps], np.float32).reshape(-1, 4)
    for lamp in lamps:
        x1, y1, x2, y2 = lamp.xyxy
        if min(x2 - x1, y2 - y1) >= MIN_SIDE:
            yield crop(rgb, _jittered(lamp.xyxy, rng), STORED, CONTEXT * ROOM), lamp.label
    overlap = iou_matrix(places, truth) if len(truth) and len(places) else np.zeros((len(places), 1), np.float32)
    nothing = 0
    for box, row in zip(places.tolist(), overlap, strict=True):
        if row.max() >= 0.5:
            lamp = lamps[int(row.argmax())]
            if min(box[2] - box[0], box[3] - box[1]) >= MIN_SIDE:
                yield crop(rgb, tuple(box), STORED, CONTEXT * ROOM), lamp.label
        elif row.max() < 0.15 and nothing < NEGATIVES:
            nothing += 1
            yield crop(rgb, tuple(box), STORED, CONTEXT * ROOM), NONE


def _random_places(shot: Image8, rng: Generator, count: int) -> NDArray[np.float32]:
    h, w = shot.shape[:2]
    side = np.exp(rng.uniform(np.log(12), np.log(90), count))
    x, y = rng.uniform(0, w - 20, count), rng.uniform(0, h - 20, count)
    return np.stack([x, y, x + side, y + side * rng.uniform(0.4, 1.4, count)], axis=1).astype(np.float32)


def _photo(path: Path) -> Image8 | None:
    bgr = cv2.imread(str(path), cv2.IMREAD_COLOR)
    return None if bgr is None else np.ascontiguousarray(bgr[..., ::-1], np.uint8)


def _work(job: tuple[Path, str, int, int, tuple[Path, ...], int, tuple[str, ...]]) -> int:
    """One worker's share, written as one shard; ``kind`` is cluster, board or photo."""
    out, kind, start, count, photos, seed, labels = job
    cv2.setNumThreads(1)
    detector = OnnxDetector.load(threads=1)
    around = [p for path in photos[:40] if (p := _photo(path)) is not None] if kind != "photo" else []
    images: list[Image8] = []
    names: list[str] = []
    for n in range(start, start + count):
        rng = np.random.default_rng([seed, n])
        lamps: Sequence[Box] = ()
        if kind == "photo":
            rgb = _photo(photos[n % len(photos)])
            if rgb is None:
                continue
            places = np.concatenate([detector.propose(rgb)[1].boxes, _random_places(rgb, rng, 4)])
        else:
            shot = _shot(kind, rng, around, labels)
            rgb, lamps = shot.rgb, shot.lamps
            found = detector.propose(rgb)[1].boxes if kind == "cluster" else np.zeros((0, 4), np.float32)
            places = np.concatenate([found, _random_places(rgb, rng, 2 if kind == "cluster" else 0)])
        for image, name in crops_of(rgb, lamps, places, rng):
            images.append(image)
            names.append(name)
    if images:
        np.save(out / f"{kind}-{start:06d}.images.npy", np.stack(images))
        np.save(out / f"{kind}-{start:06d}.labels.npy", np.array([CLASSES.index(name) for name in names], np.int16))
    return len(images)


def _shot(kind: str, rng: Generator, around: Sequence[Image8], labels: Sequence[str]) -> Shot:
    if kind == "board":
        return take_photo(draw_board(rng, labels), rng, around[:1] if rng.random() < 0.2 else ())
    return take_photo(draw_cluster(rng, labels), rng, around)


@app.command()
def crops(
    out: Annotated[Path, typer.Option(help="Folder to write to")],
    frames: Annotated[int, typer.Option(help="Rendered clusters")] = 900,
    boards: Annotated[int, typer.Option(help="Rendered boards full of lamps")] = 400,
    photos: Annotated[int, typer.Option(help="Real photos without clusters: all that they hold is none")] = 600,
    backgrounds: Annotated[list[Path] | None, typer.Option(help="Folders of real photos without clusters")] = None,
    seed: int = 1,
    workers: int = 2,
    share: Annotated[int, typer.Option(help="Pictures in one shard")] = 50,
) -> None:
    """Render, and write crops with their classes."""
    from training.lights import _photos

    out.mkdir(parents=True, exist_ok=True)
    found = _photos(backgrounds or [])
    found = tuple(found[i] for i in np.random.default_rng(seed).permutation(len(found)))
    jobs = []
    for kind, total in (("cluster", frames), ("board", boards), ("photo", min(photos, len(found)))):
        for start in range(0, total, share):
            jobs.append((out, kind, start, min(share, total - start), found, seed, tuple(LAMP_COLORS)))
    order = np.random.default_rng(seed).permutation(len(jobs))  # so that a stopped run holds some of each kind
    with ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn")) as pool:
        total = sum(pool.map(_work, [jobs[i] for i in order]))
    typer.echo(f"{total} crops in {out}")


def icon_crops(icons: Path, boards: int, seed: int = 7) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Crops of lamps drawn by others: folders of PNG masks by class, without those whose licence lets us train on them.

    Returns images (n, STORED, STORED, 3) and class numbers (n,).
    """
    import csv

    with (icons / "manifest.csv").open(encoding="utf-8") as rows:
        kept = [row for row in csv.DictReader(rows) if "Apache" not in row["licence"]]
    masks: dict[str, list[Mask]] = {}
    for row in kept:
        grey = cv2.imread(str(icons / row["file"]), cv2.IMREAD_GRAYSCALE)
        if grey is not None and row["class"] in CLASSES and (grey > 40).any():
            masks.setdefault(row["class"], []).append(tight(np.asarray(grey, np.uint8)))
    images, labels = [], []
    for n in range(boards):
        rng = np.random.default_rng([seed, n])

        def draw(label: str, rng: Generator) -> tuple[Mask, bool]:
            return masks[label][int(rng.integers(len(masks[label])))], False

        shot = take_photo(draw_board(rng, tuple(masks), draw=draw), rng)
        for image, name in crops_of(shot.rgb, shot.lamps, np.zeros((0, 4), np.float32), rng):
            images.append(image)
            labels.append(CLASSES.index(name))
    return np.stack(images), np.array(labels, np.int64)


@app.command()
def train(
    data: Annotated[Path, typer.Option(help="Folder of crops")],
    out: Annotated[Path, typer.Option(help="Run folder")] = Path("work/runs/naming"),
    hours: Annotated[float, typer.Option(help="How long to train")] = 0.5,
    batch: int = 128,
    lr: Annotated[float, typer.Option(help="Peak learning rate of AdamW")] = 0.003,
    device: Annotated[str, typer.Option(help="cpu, cuda, cuda:1 ...")] = "cpu",
    start: Annotated[Path | None, typer.Option(help="last.pt of an earlier run to go on from")] = None,
) -> None:
    """Train for a given time; last.pt is written every minute."""
    from training.naming_net import fit

    fit(data, out, hours, batch, lr, device, start)


@app.command()
def export(
    run: Annotated[Path, typer.Option(help="Run folder of train")],
    to: Annotated[Path, typer.Option(help="Model folder of the detector")] = DEFAULT_FOLDER,
    data: Annotated[str, typer.Option(help="What it was trained on")] = "",
    command: Annotated[str, typer.Option(help="The commands that made and trained on it")] = "",
) -> None:
    """Write naming.onnx and naming.pt beside a detector, and name them in its manifest."""
    import shutil

    from models import NamingPart, read_manifest, sha256_of
    from training.card import write_manifest
    from training.naming_net import SIDE, write_onnx

    onnx_file, weights = to / "naming.onnx", to / "naming.pt"
    seen = write_onnx(run / "last.pt", onnx_file)
    shutil.copy(run / "last.pt", weights)
    part = NamingPart(
        file=onnx_file.name,
        sha256=sha256_of(onnx_file),
        weights=weights.name,
        weights_sha256=sha256_of(weights),
        classes=list(CLASSES),
        side=SIDE,
        training={"data": data, "command": command, "seen": seen},
    )
    write_manifest(to, read_manifest(to).model_copy(update={"naming": part}))


@app.command()
def icons(
    folder: Annotated[Path, typer.Argument(help="Folder with manifest.csv and drawings by class")],
    model: Annotated[Path, typer.Option(help="Model folder; the figure goes into its manifest")] = DEFAULT_FOLDER,
    boards: int = 6,
) -> None:
    """How many lamps drawn by others, which nothing was trained on, the classifier names right on rendered boards."""
    from models import read_manifest
    from training.card import write_manifest
    from training.naming_net import plain

    namer = OnnxDetector.load(model).namer
    if namer is None:
        raise typer.BadParameter(f"{model} has no classifier of crops")
    images, labels = icon_crops(folder, boards)
    tensor = plain(images).transpose(0, 3, 1, 2).astype(np.float32) / np.float32(255)
    (logits,) = namer.session.run(None, {namer.session.get_inputs()[0].name: tensor})
    right = float((logits.argmax(axis=1) == labels).mean())
    typer.echo(f"{right:.3f} of {len(labels)}")
    manifest = read_manifest(model)
    drawings = {"right": round(right, 3), "crops": len(labels)}
    write_manifest(model, manifest.model_copy(update={"figures": {**manifest.figures, "drawings": drawings}}))


if __name__ == "__main__":
    app()
