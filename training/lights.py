"""Makes the detector of warning lights: render a data set, fine-tune a COCO-pretrained YOLO, export it to ONNX.

python -m training.lights render --out work/lights --frames 1500 --backgrounds ../shared/data/accidents/scenes
python -m training.lights train --data work/lights/data.yaml --weights ../shared/weights/yolo26n-coco.pt
python -m training.lights export --run work/runs/lights --data "..." --command "..."
"""

from __future__ import annotations

import json
import math
import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from models import Manifest, sha256_of
from training.card import model_card
from training.lamps import LAMP_COLORS
from vision.detector import CLUSTER, DEFAULT_FOLDER

app = typer.Typer(help=__doc__, no_args_is_help=True, add_completion=False)

# What the trainer may change about a picture. Symbols are not mirror-symmetric, so no flips; colour carries meaning,
# so hue hardly moves. Mosaic would put half a cluster beside half a street, which no photo shows.
AUGMENTATION: dict[str, Any] = {
    "fliplr": 0.0, "flipud": 0.0, "hsv_h": 0.006, "hsv_s": 0.35, "hsv_v": 0.3, "degrees": 2.0, "translate": 0.08,
    "scale": 0.3, "mosaic": 0.0, "mixup": 0.0, "erasing": 0.0,
}  # fmt: skip


def light_classes() -> tuple[str, ...]:
    """The catalogue's ids in their fixed order, with the pseudo class for the cluster last."""
    from knowledge.catalogue import load_catalogue

    return (*load_catalogue().lights, CLUSTER)


def _photos(folders: list[Path]) -> tuple[Path, ...]:
    kinds = {".jpg", ".jpeg", ".png", ".webp"}
    return tuple(sorted(p for f in folders for p in f.rglob("*") if p.suffix.lower() in kinds))


@app.command()
def render(
    out: Annotated[Path, typer.Option(help="Folder of the data set")],
    frames: Annotated[int, typer.Option(help="Rendered photos for training")] = 1500,
    val: Annotated[int, typer.Option(help="Rendered photos for validation")] = 60,
    tiles: Annotated[int, typer.Option(help="640-pixel tiles cut from each")] = 3,
    backgrounds: Annotated[list[Path] | None, typer.Option(help="Folders of real photos without clusters")] = None,
    seed: int = 1,
    workers: int = 2,
) -> None:
    """Write a data set of rendered clusters."""
    from training.dataset import Plan, write

    photos = _photos(backgrounds or [])
    cut = len(photos) // 10  # validation sees other real photos than training
    for split, count, part, start in (("val", val, photos[:cut], seed + 1000), ("train", frames, photos[cut:], seed)):
        data = write(Plan(out, split, count, tiles, start, light_classes(), part), workers)
    typer.echo(data)


def _cosine(hours: float, floor: float = 0.02, warmup: float = 0.02) -> Callable[[Any], None]:
    """A callback that lowers the learning rate along a cosine over the time given.

    Ultralytics steps its own schedule once an epoch, which is too coarse for runs of one or two long epochs.
    """

    def at_batch(trainer: Any) -> None:  # noqa: ANN401 - ultralytics' trainer has no public type
        done = min(1.0, (time.time() - trainer.train_time_start) / (hours * 3600))
        factor = min(1.0, done / warmup + 0.05) * (floor + (1 - floor) * 0.5 * (1 + math.cos(math.pi * done)))
        for group in trainer.optimizer.param_groups:
            group["lr"] = group["initial_lr"] * factor

    return at_batch


@app.command()
def sample(
    out: Annotated[Path, typer.Option(help="Picture to write")] = Path("app/sample.jpg"),
    seed: int = 200,
    show: Annotated[str, typer.Option(help="Ids of the lamps that may appear, with commas")] = (
        "check_engine,tpms,seat_belt,battery_charge,abs,parking_brake,low_fuel,position_lights,high_beam"
    ),
) -> None:
    """Render one photo, such as the sample that yangche ships."""
    import numpy as np
    from PIL import Image

    from training.camera import take_photo
    from training.cluster import draw_cluster

    rng = np.random.default_rng(seed)
    shot = take_photo(draw_cluster(rng, show.split(",")), rng)
    Image.fromarray(shot.rgb).save(out, quality=92)
    for lamp in shot.lamps:
        typer.echo(f"{lamp.label} {lamp.color} {[round(v) for v in lamp.xyxy]}")


@app.command()
def train(
    data: Annotated[Path, typer.Option(help="data.yaml")],
    weights: Annotated[Path, typer.Option(help="Where to start from (.pt)")],
    out: Annotated[Path, typer.Option(help="Run folder")] = Path("work/runs/lights"),
    hours: Annotated[float, typer.Option(help="How long to train")] = 1.0,
    batch: int = 8,
    lr0: Annotated[float, typer.Option(help="Peak learning rate of AdamW")] = 0.001,
    device: Annotated[str, typer.Option(help="cpu, 0, 0,1 ...")] = "cpu",
) -> None:
    """Fine-tune for a given time. To go on after a run, start the next one from its ``weights/last.pt``."""
    import torch
    from ultralytics import YOLO, settings

    settings.update({"sync": False})  # nothing about a run leaves the machine
    model = YOLO(weights)
    # Ultralytics leaves one core free, which is half of a small machine.
    model.add_callback("on_train_start", lambda _: torch.set_num_threads(os.cpu_count() or 1))
    model.add_callback("on_train_batch_start", _cosine(hours))
    model.train(
        data=str(data), epochs=1000, time=hours, batch=batch, nbs=batch, device=device, imgsz=640, optimizer="AdamW",
        lr0=lr0, warmup_epochs=0, project=str(out.parent.resolve()), name=out.name, exist_ok=True,
        amp=device != "cpu", workers=2, plots=True, deterministic=False, **AUGMENTATION,
    )  # fmt: skip


@app.command()
def export(
    run: Annotated[Path, typer.Option(help="Run folder of train")],
    data: Annotated[str, typer.Option(help="What it was trained on: pictures, sources, licences")],
    command: Annotated[str, typer.Option(help="The commands that made and trained on it")],
    to: Annotated[Path, typer.Option(help="Model folder")] = DEFAULT_FOLDER,
    view_width: int = 1920,
    overlap: int = 96,
) -> None:
    """Write model.onnx, model.pt and manifest.json; ``record`` fills in the figures."""
    import torch
    from ultralytics import YOLO

    best = run / "weights" / "best.pt"
    model = YOLO(best)
    made = Path(model.export(format="onnx", imgsz=640, opset=17, simplify=True, dynamic=False, device="cpu"))
    to.mkdir(parents=True, exist_ok=True)
    shutil.move(made, to / "model.onnx")
    shutil.copy(best, to / "model.pt")
    old = to / "manifest.json"
    thresholds = json.loads(old.read_text())["thresholds"] if old.is_file() else {"default": 0.3}
    manifest = Manifest(
        name="lights",
        file="model.onnx",
        sha256=sha256_of(to / "model.onnx"),
        weights="model.pt",
        weights_sha256=sha256_of(to / "model.pt"),
        licence="AGPL-3.0-or-later",
        classes=[model.names[i] for i in range(len(model.names))],
        side=640,
        view_width=view_width,
        overlap=overlap,
        thresholds=thresholds,
        colors={key: [c for c, p in lit.items() if p >= 0.04] for key, lit in LAMP_COLORS.items() if key != "other"},
        training={"data": data, "command": command, "args": _arguments(run), "torch": torch.__version__},
        figures={},
    )
    old.write_text(manifest.model_dump_json(indent=2) + "\n", encoding="utf-8")


@app.command()
def record(
    score: Annotated[Path, typer.Option(help="Output of score_lights.py --json")],
    source: Annotated[str, typer.Option(help="Which photos these were")],
    command: Annotated[str, typer.Option(help="The command that made the figures")],
    folder: Annotated[Path, typer.Option(help="Model folder")] = DEFAULT_FOLDER,
) -> None:
    """Write measured figures into the manifest, and the model card from it."""
    path = folder / "manifest.json"
    manifest = Manifest.model_validate_json(path.read_text(encoding="utf-8"))
    figures = {**manifest.figures, "source": source, "command": command, "real_photos": json.loads(score.read_text())}
    manifest = manifest.model_copy(update={"figures": figures})
    path.write_text(manifest.model_dump_json(indent=2) + "\n", encoding="utf-8")
    (folder / "README.md").write_text(model_card(manifest), encoding="utf-8")


def _arguments(run: Path) -> dict[str, Any]:
    """What the run was started with, without this machine's paths."""
    import yaml

    args = yaml.safe_load((run / "args.yaml").read_text(encoding="utf-8"))
    kept = ("time", "batch", "imgsz", "optimizer", "lr0", "seed", *AUGMENTATION)
    return {"model": Path(args["model"]).name, **{k: args[k] for k in kept}}


if __name__ == "__main__":
    app()
