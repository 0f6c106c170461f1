"""Fits how detector and namer become one confidence that means something, and measures what it means.

python -m training.calibrate --labels ../shared/data/lights-dev/labels.json --rendered 60

A confidence of 0.8 should be right eight times in ten. Rendered photos alone would make it too sure of real ones, so
labelled real photos (never used for training) count more; the printed figures of the real photos are those of a fit
that left the photo in question out.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from numpy.typing import NDArray

from vision.color import lamp_color
from vision.detector import DEFAULT_FOLDER, Fusion, OnnxDetector, Rgb, iou_matrix
from vision.naming import NONE

app = typer.Typer(help=__doc__, add_completion=False)

REAL_WEIGHT = 20.0  # what a place in a real photo counts against one in a rendered photo
LEAST_ODD = -2.5  # what a colour may take away: a colour is misread now and then, and the doubt must stay visible
STIFFNESS = 0.05  # of the ridge that keeps the fit of few photos from extremes


@dataclass(frozen=True)
class Truth:
    """A labelled photo: boxes (n, 4) in pixels, class ids, and which of them count neither for nor against."""

    name: str
    rgb: Rgb
    boxes: NDArray[np.float32]
    labels: tuple[str, ...]
    ignored: NDArray[np.bool_]


@dataclass(frozen=True)
class Places:
    """Proposals of one photo: ``inputs`` (n, 4) are 1, logits of detector and namer, odd colour; ``right`` (n,)."""

    name: str
    inputs: NDArray[np.float64]
    right: NDArray[np.bool_]


def labelled(labels: Path) -> Iterator[Truth]:
    """The photos of a ``labels.json`` with its ``photos`` folder beside it."""
    from vision.photo import open_photo

    for name, row in json.loads(labels.read_text(encoding="utf-8")).items():
        lamps = row["lights"]
        yield Truth(
            name,
            open_photo(labels.parent / "photos" / name).rgb,
            np.array([lamp["box"] for lamp in lamps], np.float32).reshape(-1, 4),
            tuple(lamp["class"] for lamp in lamps),
            np.array([bool(lamp.get("ignore")) or lamp["class"] == "other" for lamp in lamps], bool),
        )


def rendered(count: int, seed: int = 90210) -> Iterator[Truth]:
    """Rendered photos that no training has seen, if their seed is no training's."""
    from training.camera import take_photo
    from training.cluster import draw_cluster

    for n in range(count):
        rng = np.random.default_rng([seed, n])
        shot = take_photo(draw_cluster(rng), rng)
        boxes = np.array([lamp.xyxy for lamp in shot.lamps], np.float32).reshape(-1, 4)
        yield Truth(f"rendered {n}", shot.rgb, boxes, tuple(b.label for b in shot.lamps), np.zeros(len(boxes), bool))


def measured(detector: OnnxDetector, truth: Truth, fusion: Fusion) -> Places:
    """The inputs of the fit for one photo, with ``fusion`` only choosing the class."""
    namer = detector.namer
    if namer is None:
        raise typer.BadParameter("the model has no namer, so there is nothing to fuse")
    _, places, _ = detector.propose(truth.rgb)
    boxes = [tuple(box) for box in places.boxes.tolist()]
    named = namer.name(truth.rgb, boxes)
    columns = [namer.classes.index(name) if name in namer.classes else -1 for name in detector.classes]
    by_name = np.where(np.array(columns) >= 0, named[:, columns], 0)
    shares = fusion.shares(places.scores, by_name)
    labels = shares.argmax(axis=1)
    lit, sure = fusion.logits(places.scores, shares, named[:, namer.classes.index(NONE)])
    overlap = iou_matrix(places.boxes, truth.boxes) if len(truth.boxes) else np.zeros((len(boxes), 0), np.float32)
    inputs, right = [], []
    taken: set[int] = set()
    for i, label in enumerate(labels):
        name = detector.classes[label]
        near = np.flatnonzero(overlap[i] >= 0.3)
        if truth.ignored[near].any() or name == "other":
            continue
        hits = [j for j in np.flatnonzero(overlap[i] >= 0.5) if truth.labels[j] == name and j not in taken]
        taken.update(int(j) for j in hits[:1])
        color = lamp_color(truth.rgb, boxes[i])
        odd = color is not None and name in detector.colors and color not in detector.colors[name]
        inputs.append([1.0, float(lit[i]), float(sure[i]), float(odd)])
        right.append(bool(hits))
    return Places(truth.name, np.array(inputs).reshape(-1, 4), np.array(right, bool))


def fit(places: Sequence[Places], prior: float) -> Fusion:
    """Logistic regression by Newton's method (iteratively reweighted least squares) with a ridge."""
    x = np.concatenate([p.inputs for p in places])
    y = np.concatenate([p.right for p in places]).astype(float)
    weight = np.concatenate([np.full(len(p.right), _weight(p)) for p in places])
    at = np.array([0.0, 0.5, 0.5, -1.5])
    start = at.copy()
    for _ in range(30):
        p = 1 / (1 + np.exp(-x @ at))
        slope = x.T @ (weight * (p - y)) + STIFFNESS * (at - start)
        bend = (x * (weight * p * (1 - p))[:, None]).T @ x + STIFFNESS * np.eye(len(at))
        at = at - np.linalg.solve(bend, slope)
    bias, lit, named, odd = (round(float(v), 4) for v in at)
    return Fusion(bias=bias, lit=lit, named=named, odd=min(max(odd, LEAST_ODD), 0.0), prior=prior)


def _weight(places: Places) -> float:
    return 1.0 if places.name.startswith("rendered ") else REAL_WEIGHT


def confidence(fusion: Fusion, places: Places) -> NDArray[np.float64]:
    """What ``fusion`` says of measured places, shape (n,)."""
    at = np.array([fusion.bias, fusion.lit, fusion.named, fusion.odd])
    return np.asarray(1 / (1 + np.exp(-places.inputs @ at)), np.float64)


def reliability(sure: NDArray[np.float64], right: NDArray[np.bool_], edges: Sequence[float]) -> list[dict[str, Any]]:
    """Per bin of confidence: how many findings, their mean confidence, and the share that is right."""
    rows = []
    for low, high in itertools.pairwise(edges):
        inside = (sure >= low) & (sure < high)
        if inside.any():
            rows.append(
                {
                    "from": low,
                    "to": min(high, 1.0),
                    "findings": int(inside.sum()),
                    "confidence": round(float(sure[inside].mean()), 3),
                    "right": round(float(right[inside].mean()), 3),
                }
            )
    return rows


# How often worse it is to miss a lamp than to see one that is not lit, by what the lamp asks for. A finding counts from
# the confidence at which both errors cost the same: 1 / (1 + worse).
WORSE_TO_MISS: dict[str, float] = {"stop": 4.0, "soon": 3.0, "first": 3.0, "ok": 1.0}


def thresholds() -> dict[str, float]:
    """The confidence from which on each light counts, by what it asks for in its usual colour."""
    from knowledge.catalogue import load_catalogue

    lights = load_catalogue().lights.values()
    asked = {light.id: light.meaning(light.usual_color).urgency for light in lights}
    found = {name: round(1 / (1 + WORSE_TO_MISS[urgency]), 2) for name, urgency in asked.items()}
    return {"default": 0.25, "cluster": 0.3, **found}


EDGES = (0.01, 0.1, 0.25, 0.5, 0.75, 0.9, 1.001)


@app.command()
def main(
    labels: Annotated[Path, typer.Option(help="labels.json of real photos")],
    rendered_photos: Annotated[int, typer.Option("--rendered", help="Rendered photos beside them")] = 60,
    prior: Annotated[float, typer.Option(help="Weight of the detector's own class")] = 0.0,
    folder: Annotated[Path, typer.Option(help="Model folder")] = DEFAULT_FOLDER,
) -> None:
    """Fit, write the result into the manifest, print the reliability on real photos."""
    from models import read_manifest
    from training.card import write_manifest

    detector = OnnxDetector.load(folder)
    choose = Fusion(prior=prior)
    real = [measured(detector, truth, choose) for truth in labelled(labels)]
    drawn = [measured(detector, truth, choose) for truth in rendered(rendered_photos)]
    fusion = fit([*real, *drawn], prior)
    left_out = [confidence(fit([p for p in (*real, *drawn) if p is not one], prior), one) for one in real]
    sure, right = np.concatenate(left_out), np.concatenate([p.right for p in real])
    rows = reliability(sure, right, EDGES)
    error = sum(r["findings"] * abs(r["confidence"] - r["right"]) for r in rows) / max(
        1, sum(r["findings"] for r in rows)
    )
    manifest = read_manifest(folder)
    figures = {**manifest.figures, "reliability": {"rows": rows, "ece": round(float(error), 4)}}
    fields = {name: getattr(fusion, name) for name in ("bias", "lit", "named", "odd", "prior")}
    manifest = manifest.model_copy(update={"fusion": fields, "figures": figures, "thresholds": thresholds()})
    write_manifest(folder, manifest)
    typer.echo(json.dumps({"fusion": fields, "ece": figures["reliability"]["ece"]}))
    for row in rows:
        typer.echo(json.dumps(row))


if __name__ == "__main__":
    app()
