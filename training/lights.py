"""Makes the detector of warning lights: render a data set, fine-tune a COCO-pretrained YOLO, export it to ONNX.

python -m training.lights render --out work/lights --frames 1500 --backgrounds ../shared/data/accidents/scenes
python -m training.lights train --data work/lights/data.yaml --weights ../shared/weights/yolov8n-coco.pt
python -m training.lights export --run work/runs/lights
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Annotated, Any

import typer

from models import Manifest, sha256_of
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


@app.command()
def train(
    data: Annotated[Path, typer.Option(help="data.yaml")],
    weights: Annotated[Path, typer.Option(help="Where to start from (.pt)")],
    out: Annotated[Path, typer.Option(help="Run folder")] = Path("work/runs/lights"),
    epochs: int = 10,
    hours: Annotated[float | None, typer.Option(help="Stop after so many hours instead")] = None,
    batch: int = 16,
    device: str = "cpu",
    lr0: float = 0.01,
    resume: bool = False,
) -> None:
    """Fine-tune. A run that was cut off goes on with --resume."""
    from ultralytics import YOLO, settings

    settings.update({"sync": False})  # nothing about a run leaves the machine
    if resume:
        YOLO(out / "weights" / "last.pt").train(resume=True)
        return
    YOLO(weights).train(
        data=str(data), epochs=epochs, time=hours, batch=batch, device=device, imgsz=640, optimizer="SGD", lr0=lr0,
        lrf=0.02, cos_lr=True, warmup_epochs=0.3, project=str(out.parent.resolve()), name=out.name, exist_ok=True,
        amp=device != "cpu", workers=2, plots=True, deterministic=False, **AUGMENTATION,
    )  # fmt: skip


@app.command()
def export(
    run: Annotated[Path, typer.Option(help="Run folder of train")],
    to: Annotated[Path, typer.Option(help="Model folder")] = DEFAULT_FOLDER,
    view_width: int = 1600,
    overlap: int = 96,
) -> None:
    """Write model.onnx, model.pt and manifest.json; ``evaluate`` fills in the figures."""
    import torch
    from ultralytics import YOLO

    best = run / "weights" / "best.pt"
    model = YOLO(best)
    made = Path(model.export(format="onnx", imgsz=640, opset=17, simplify=True, dynamic=False, device="cpu"))
    to.mkdir(parents=True, exist_ok=True)
    shutil.move(made, to / "model.onnx")
    shutil.copy(best, to / "model.pt")
    old = to / "manifest.json"
    thresholds = json.loads(old.read_text())["thresholds"] if old.is_file() else {"default": 0.25}
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
        training={"args": _arguments(run), "torch": torch.__version__},
        figures={},
    )
    old.write_text(manifest.model_dump_json(indent=2) + "\n", encoding="utf-8")


def _arguments(run: Path) -> dict[str, Any]:
    """What the run was started with, without this machine's paths."""
    import yaml

    args = yaml.safe_load((run / "args.yaml").read_text(encoding="utf-8"))
    kept = ("epochs", "time", "batch", "imgsz", "optimizer", "lr0", "lrf", "seed", *AUGMENTATION)
    return {"model": Path(args["model"]).name, **{k: args[k] for k in kept}}


if __name__ == "__main__":
    app()
