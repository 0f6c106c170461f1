"""Makes the detector of warning lights: render a data set, fine-tune a COCO-pretrained YOLO, export it to ONNX.

python -m training.lights render --out work/lights --frames 1500 --backgrounds ../shared/data/accidents/scenes
python -m training.lights train --data work/lights/data.yaml --weights ../shared/weights/yolo26n-coco.pt
python -m training.lights export --run work/runs/lights --data "..." --command "..."

`yangche train|evaluate|export lights` and `yangche models` do the same for a user's own photos and models.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from models import Manifest
from training.card import write_figures, write_manifest
from training.lamps import LAMP_COLORS, WORDS
from training.pipeline import Recipe, TrainingError, fit, train_extra
from training.pipeline import export as export_run
from vision.detector import CLUSTER, DEFAULT_FOLDER

app = typer.Typer(help=__doc__, no_args_is_help=True, add_completion=False)

# What the trainer may change about a picture. Symbols are not mirror-symmetric, so no flips; colour carries meaning,
# so hue hardly moves. Mosaic would put half a cluster beside half a street, which no photo shows.
AUGMENTATION: dict[str, Any] = {
    "fliplr": 0.0, "flipud": 0.0, "hsv_h": 0.006, "hsv_s": 0.35, "hsv_v": 0.3, "degrees": 2.0, "translate": 0.08,
    "scale": 0.3, "mosaic": 0.0, "mixup": 0.0, "erasing": 0.0,
}  # fmt: skip
RARE = 0.04  # a colour that a lamp is lit in less often than this counts as odd
RENDERED = "rendered.json"  # beside data.yaml: our renderer wrote these pictures


def light_classes() -> tuple[str, ...]:
    """The catalogue's ids in their fixed order, with the pseudo class for the cluster last."""
    from knowledge.catalogue import load_catalogue

    return (*load_catalogue().lights, CLUSTER)


def recipe() -> Recipe:
    """How the detector of warning lights is trained."""
    colors = {key: [c for c, p in lit.items() if p >= RARE] for key, lit in LAMP_COLORS.items() if key != "other"}
    return Recipe("lights", light_classes(), AUGMENTATION, colors=colors)


def _photos(folders: list[Path]) -> tuple[Path, ...]:
    kinds = {".jpg", ".jpeg", ".png", ".webp"}
    return tuple(sorted(p for f in folders for p in f.rglob("*") if p.suffix.lower() in kinds))


def missing_parts() -> dict[str, list[str]]:
    """Lamps of the catalogue that the renderer cannot show yet, by the file that lacks them."""
    from training.glyphs import drawings

    lamps = light_classes()[:-1]
    files = {
        "training/glyphs": [name for name in lamps if name not in drawings() and name not in WORDS],
        "training/lamps.py LAMP_COLORS": [name for name in lamps if name not in LAMP_COLORS],
    }
    return {file: names for file, names in files.items() if names}


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
    with train_extra():
        from training.dataset import Plan, write

    if missing := missing_parts():
        listed = "; ".join(f"{file}: {', '.join(names)}" for file, names in missing.items())
        raise TrainingError(
            zh=f"这些灯还画不出来, 请先补上 ({listed})。",
            en=f"These lamps cannot be drawn yet; first add them to {listed}.",
        )
    photos = _photos(backgrounds or [])
    cut = len(photos) // 10  # validation sees other real photos than training
    for split, count, part, start in (("val", val, photos[:cut], seed + 1000), ("train", frames, photos[cut:], seed)):
        data = write(Plan(out, split, count, tiles, start, light_classes(), part), workers)
    made = {"frames": frames, "val": val, "tiles": tiles, "seed": seed, "backgrounds": len(photos)}
    (out / RENDERED).write_text(json.dumps(made) + "\n", encoding="utf-8")
    typer.echo(data)


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
    fit(recipe(), data, weights, out, hours=hours, batch=batch, lr0=lr0, device=device)


@app.command()
def export(
    run: Annotated[Path, typer.Option(help="Run folder of train")],
    data: Annotated[str, typer.Option(help="What it was trained on: pictures, sources, licences")],
    command: Annotated[str, typer.Option(help="The commands that made and trained on it")],
    to: Annotated[Path, typer.Option(help="Model folder")] = DEFAULT_FOLDER,
) -> None:
    """Write model.onnx, model.pt and manifest.json; ``record`` fills in the figures."""
    old = to / "manifest.json"
    thresholds = json.loads(old.read_text())["thresholds"] if old.is_file() else {"default": 0.3}
    export_run(recipe(), run, to, data=data, command=command, thresholds=thresholds)


@app.command()
def record(
    score: Annotated[Path, typer.Option(help="Output of score_lights.py --json")],
    source: Annotated[str, typer.Option(help="Which photos these were")],
    command: Annotated[str, typer.Option(help="The command that made the figures")],
    labels: Annotated[Path | None, typer.Option(help="labels.json of these photos, for the table of errors")] = None,
    predictions: Annotated[Path | None, typer.Option(help="Output of yangche diagnose --json on them")] = None,
    folder: Annotated[Path, typer.Option(help="Model folder")] = DEFAULT_FOLDER,
) -> None:
    """Write measured figures into the manifest, and the model card from it."""
    write_figures(folder, json.loads(score.read_text(encoding="utf-8")), source, command)
    if labels is not None and predictions is not None:
        from training.evaluate import errors_in

        manifest = Manifest.model_validate_json((folder / "manifest.json").read_text(encoding="utf-8"))
        thresholds = manifest.thresholds
        rows = errors_in(labels, predictions, lambda label: thresholds.get(label, thresholds["default"]))
        write_manifest(folder, manifest.model_copy(update={"figures": {**manifest.figures, **rows}}))


if __name__ == "__main__":
    app()
