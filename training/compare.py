"""Compares one look with two: what the detector alone, the namer alone and both together make of the same photos.

python -m training.compare --labels ../shared/data/lights-dev/labels.json --rendered 40

Rendered photos say nothing about real ones; they stand in the table to show how wide that gap is.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer

from models import read_manifest
from training.calibrate import Truth as Photo
from training.calibrate import labelled, rendered
from training.card import write_manifest
from training.evaluate import Seen, Truth, measure
from vision.detector import DEFAULT_FOLDER, OnnxDetector

app = typer.Typer(help=__doc__, add_completion=False)

SHOWN = ("mAP50", "found_AP50", "recall", "precision")


def _seen(detector: OnnxDetector, photos: Iterable[Photo]) -> list[Seen]:
    return [
        Seen(
            Path(photo.name),
            tuple(
                Truth(label, (box[0], box[1], box[2], box[3]), None, bool(ignored))
                for label, box, ignored in zip(photo.labels, photo.boxes.tolist(), photo.ignored, strict=True)
            ),
            tuple(detector.detect(photo.rgb, 0.01)),
        )
        for photo in photos
    ]


def systems(both: OnnxDetector) -> dict[str, OnnxDetector]:
    """The ways to use the same two models."""
    ways = {
        "one stage: the detector names": replace(both, namer=None),
        "two stages: the classifier names": replace(both, fusion=replace(both.fusion, prior=0.0)),
        "hybrid: both name": replace(both, fusion=replace(both.fusion, prior=0.5)),
    }
    shipped = [way for way, one in ways.items() if one.namer and one.fusion == both.fusion]
    return {way + (" (shipped)" if way in shipped else ""): one for way, one in ways.items()}


def table(both: OnnxDetector, sets: Mapping[str, Sequence[Photo]]) -> list[dict[str, Any]]:
    """A row for each way and set of photos."""
    rows = []
    for name, detector in systems(both).items():
        for source, photos in sets.items():
            figures = measure(_seen(detector, photos), detector.threshold)
            rows.append({"way": name, "photos": source, **{key: round(figures[key] or 0.0, 3) for key in SHOWN}})
    return rows


@app.command()
def main(
    labels: Annotated[Path, typer.Option(help="labels.json of real photos")],
    rendered_photos: Annotated[int, typer.Option("--rendered", help="Rendered photos")] = 40,
    folder: Annotated[Path, typer.Option(help="Model folder; the table goes into its manifest")] = DEFAULT_FOLDER,
) -> None:
    """Print the table, and write it into the manifest."""
    both = OnnxDetector.load(folder)
    sets = {"real": list(labelled(labels)), "rendered": list(rendered(rendered_photos, seed=60606))}
    rows = table(both, sets)
    for row in rows:
        typer.echo(json.dumps(row))
    manifest = read_manifest(folder)
    manifest = manifest.model_copy(update={"figures": {**manifest.figures, "compared": rows}})
    write_manifest(folder, manifest)


if __name__ == "__main__":
    app()
