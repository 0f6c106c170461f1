"""Makes the detectors of accident scenes and of damage: gather the data sets, fine-tune a COCO-pretrained YOLO, export.

python -m training.scenes smoke --accidents ../shared/data/accidents --out work/smoke
python -m training.scenes train smoke --data work/smoke --weights ../shared/weights/yolov8n-coco.pt --hours 0.15
python -m training.scenes scenes --accidents ../shared/data/accidents --smoke-model work/runs/smoke/weights/best.pt \
    --out work/scenes
python -m training.scenes train scenes --data work/scenes --weights ../shared/weights/yolov8n-coco.pt --hours 1
python -m training.scenes train damage --data ../shared/data/accidents/damage \
    --weights ../shared/weights/yolov8n-coco.pt --hours 1.3
python -m training.scenes export scenes --run work/runs/scenes --data "..." --command "..."

The set of scenes boxes no smoke, and that of fires boxes no cars. So a model of smoke alone is trained first; what it
finds in the scenes with confidence becomes labels there, and both sets together then train one model.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
import yaml

from models import SHIPPED
from training.check import bits
from training.pipeline import Recipe, fit, train_extra
from training.pipeline import export as export_run
from training.yolo import Box, DataSet, read_labels
from vision.detections import iou
from vision.photo import open_photo

app = typer.Typer(help=__doc__, no_args_is_help=True, add_completion=False)

SCENES = ("accident_vehicle", "vehicle", "fire", "smoke")
DAMAGE = ("scratch", "dent", "broken_part", "broken_glass", "broken_lamp")
_LIGHT: dict[str, Any] = {"hsv_h": 0.015, "hsv_s": 0.5, "hsv_v": 0.4, "fliplr": 0.5, "flipud": 0.0, "mixup": 0.0}
# YOLOv8n learns more from the same hour than YOLO26n here. Rare mosaics, meant to keep small damage large, did worse.
RECIPES = {
    "smoke": Recipe("smoke", ("fire", "smoke"), {**_LIGHT, "mosaic": 1.0, "close_mosaic": 1}, 320, 320),
    "scenes": Recipe(
        "scenes", SCENES,
        {**_LIGHT, "degrees": 5.0, "translate": 0.15, "scale": 0.5, "mosaic": 1.0, "close_mosaic": 5, "erasing": 0.0},
        side=512, view_width=512, train_side=416,
    ),
    "damage": Recipe(
        "damage", DAMAGE,
        {**_LIGHT, "degrees": 5.0, "translate": 0.15, "scale": 0.5, "mosaic": 1.0, "close_mosaic": 5, "erasing": 0.0},
        side=640, view_width=640,  # a second look at 1088 pixels found no more scratches and lost larger parts
    ),
}  # fmt: skip
SURE_OF_SMOKE = 0.45  # what the model of smoke finds this surely becomes a label
FIRE_THERE = 0.5  # the scenes call a burning car with its smoke fire: smoke that overlaps it this much is no new label
APART = 40  # bits of a perceptual hash; frames of one film differ by fewer


@app.command("smoke")
def gather_smoke(
    accidents: Annotated[Path, typer.Option(help="Folder of the accident sets")],
    out: Annotated[Path, typer.Option(help="Folder of the data set")],
) -> None:
    """The set of fires without the many frames that are nearly the same."""
    data = DataSet.read(accidents / "fire_smoke")
    for split in ("train", "val"):
        chosen = distinct(data.split(split)) if split == "train" else data.split(split)
        write_split(out, split, ((path, read_labels(path, data.names)) for path in chosen), ("fire", "smoke"))
    typer.echo(write_yaml_file(out, ("fire", "smoke")))


@app.command("scenes")
def gather_scenes(
    accidents: Annotated[Path, typer.Option(help="Folder of the accident sets")],
    smoke_model: Annotated[Path, typer.Option(help="Weights of the model of smoke (.pt)")],
    out: Annotated[Path, typer.Option(help="Folder of the data set")],
) -> None:
    """The scenes, with smoke labelled by the model of smoke, and the distinct pictures of fires."""
    with train_extra():
        from ultralytics import YOLO
    scenes, fires, model = DataSet.read(accidents / "scenes"), DataSet.read(accidents / "fire_smoke"), YOLO(smoke_model)
    for split in ("train", "val"):

        def labelled(split: str = split) -> Iterator[tuple[Path, list[tuple[str, Box]]]]:
            for path in scenes.split(split):
                rows = read_labels(path, scenes.names)
                if split == "train":  # the validation labels stay as they were given
                    rows += _smoke(model, path, [box for label, box in rows if label == "fire"])
                yield path, rows
            for path in distinct(fires.split(split)) if split == "train" else ():
                yield path, read_labels(path, fires.names)

        write_split(out, split, labelled(), SCENES)
    typer.echo(write_yaml_file(out, SCENES))


def _smoke(model: Any, path: Path, fires: list[Box]) -> list[tuple[str, Box]]:  # noqa: ANN401 - ultralytics has no types
    result = model.predict(path, imgsz=320, conf=SURE_OF_SMOKE, verbose=False)[0].boxes
    found = zip(result.cls.tolist(), result.xyxyn.tolist(), strict=True)
    boxes: list[Box] = [(b[0], b[1], b[2], b[3]) for number, b in found if model.names[int(number)] == "smoke"]
    return [("smoke", box) for box in boxes if all(iou(box, fire) < FIRE_THERE for fire in fires)]


def distinct(paths: Iterable[Path]) -> list[Path]:
    """The pictures without those that look like an earlier one."""
    kept: list[Path] = []
    hashes: list[Any] = []
    for path in paths:
        own = bits(open_photo(path).rgb)
        if own is None or (hashes and int((np.stack(hashes) != own).sum(axis=1).min()) < APART):
            continue
        hashes.append(own)
        kept.append(path)
    return kept


def write_split(
    out: Path, split: str, pictures: Iterable[tuple[Path, list[tuple[str, Box]]]], names: tuple[str, ...]
) -> None:
    """Links to the pictures, and their labels, in Ultralytics' layout."""
    images, labels = out / "images" / split, out / "labels" / split
    images.mkdir(parents=True, exist_ok=True)
    labels.mkdir(parents=True, exist_ok=True)
    for path, rows in pictures:
        name = f"{path.parents[2].name}-{path.name}"
        link = images / name
        link.unlink(missing_ok=True)
        link.symlink_to(path.resolve())
        lines = [
            f"{names.index(label)} {(b[0] + b[2]) / 2:.6f} {(b[1] + b[3]) / 2:.6f} {b[2] - b[0]:.6f} {b[3] - b[1]:.6f}"
            for label, b in rows
        ]
        (labels / name).with_suffix(".txt").write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


def write_yaml_file(out: Path, names: tuple[str, ...]) -> Path:
    """data.yaml of a data set that lies in ``out``."""
    file = out / "data.yaml"
    content = {"path": str(out.resolve()), "train": "images/train", "val": "images/val", "names": list(names)}
    file.write_text(yaml.safe_dump(content, sort_keys=False), encoding="utf-8")
    return file


@app.command()
def train(
    name: Annotated[str, typer.Argument(help="smoke, scenes or damage")],
    data: Annotated[Path, typer.Option(help="data.yaml or its folder")],
    weights: Annotated[Path, typer.Option(help="Where to start from (.pt)")],
    out: Annotated[Path | None, typer.Option(help="Run folder; default work/runs/NAME")] = None,
    hours: Annotated[float, typer.Option(help="How long to train")] = 1.0,
    batch: int = 16,
    lr0: Annotated[float, typer.Option(help="Peak learning rate of AdamW")] = 0.001,
    device: Annotated[str, typer.Option(help="cpu, 0, 0,1 ...; default: a GPU if there is one")] = "",
    threads: Annotated[int, typer.Option(help="CPU threads; 0 takes all")] = 0,
) -> None:
    """Fine-tune for a given time. To go on after a run, start the next one from its ``weights/last.pt``."""
    to = out or Path("work/runs") / name
    fit(RECIPES[name], data, weights, to, hours=hours, batch=batch, lr0=lr0, device=device, threads=threads)


@app.command()
def mean(
    runs: Annotated[list[Path], typer.Argument(help="Run folders; each goes on from the one before it")],
    out: Annotated[Path, typer.Option(help="Run folder of the mean")],
) -> None:
    """The mean of several runs' weights: steadier than the last of them ("model soup", Wortsman et al. 2022)."""
    with train_extra():
        import torch
    parts = [torch.load(run / "weights" / "best.pt", map_location="cpu", weights_only=False) for run in runs]
    states = [part["model"].float().state_dict() for part in parts]
    whole = {
        key: torch.stack([state[key] for state in states]).mean(0) if value.is_floating_point() else value
        for key, value in states[0].items()
    }
    parts[0]["model"].load_state_dict(whole)
    parts[0]["model"].half()
    (out / "weights").mkdir(parents=True, exist_ok=True)
    torch.save(parts[0], out / "weights" / "best.pt")
    shutil.copy(runs[-1] / "args.yaml", out / "args.yaml")


@app.command()
def export(
    name: Annotated[str, typer.Argument(help="scenes or damage")],
    run: Annotated[Path, typer.Option(help="Run folder of train")],
    data: Annotated[str, typer.Option(help="What it was trained on: pictures, sources, licences")],
    command: Annotated[str, typer.Option(help="The commands that made and trained on it")],
    to: Annotated[Path | None, typer.Option(help="Model folder; default models/NAME")] = None,
) -> None:
    """Write model.onnx, model.pt and manifest.json; ``training.measure`` fills in thresholds and figures."""
    export_run(RECIPES[name], run, to or SHIPPED / name, data=data, command=command, thresholds={"default": 0.35})


if __name__ == "__main__":
    app()
