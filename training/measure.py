"""Measures the models of accident photos as they are served, and writes the figures into their manifests and cards.

python -m training.measure boxes scenes --data ../shared/data/accidents/scenes
python -m training.measure boxes damage --data ../shared/data/accidents/damage
python -m training.measure whole --accidents ../shared/data/accidents --dashboards ../shared/data/lights-dev/photos
python -m training.measure sheet scenes --data ../shared/data/accidents/scenes --out work/sheets

The thresholds are chosen on the validation photos (the confidence at which F1 is highest), so figures at them flatter.
"""

from __future__ import annotations

import shlex
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from models import SHIPPED, read_manifest
from training.card import write_manifest
from training.evaluate import Pair, Seen, look, match, measure, read_samples, worst
from training.served import SERVED
from training.whole import UNKNOWN, Example, examples, figures
from vision.detections import Detection
from vision.whole import KINDS

app = typer.Typer(help=__doc__, no_args_is_help=True, add_completion=False)

# The means that the product is held to; other classes stand in the tables beside them.
AIMED_AT = {"scenes": ("accident_vehicle", "vehicle", "fire"), "damage": ("scratch", "dent", "broken_part")}
UNMEASURED = 0.6  # of a class that no validation photo shows, such as smoke: a false one calls the fire brigade
LEAST_SURE, MOST_SURE = 0.2, 0.7  # no threshold outside these, whatever few validation photos say
SPLIT = Annotated[str, typer.Option(help="Split of data.yaml")]


def best_threshold(pairs: Sequence[Pair], label: str) -> tuple[float, float]:
    """The confidence at which F1 of one class is highest, within bounds, and F1 there."""
    hits = sorted(
        ((p.found.confidence, p.truth is not None) for p in pairs if p.found and p.found.label == label), reverse=True
    )
    positives = sum(p.truth is not None and p.truth.label == label for p in pairs)
    best, right = (LEAST_SURE, 0.0), 0
    for n, (confidence, hit) in enumerate(hits, start=1):
        right += hit
        f1 = 2 * right / (n + positives)
        if confidence >= LEAST_SURE and f1 > best[1]:
            best = confidence, f1
    return min(MOST_SURE, round(best[0] - 0.005, 2)), best[1]


@app.command()
def boxes(
    name: Annotated[str, typer.Argument(help="scenes or damage")],
    data: Annotated[Path, typer.Option(help="data.yaml or its folder")],
    split: SPLIT = "val",
    baseline: Annotated[str, typer.Option(help="mAP50 of a plain run, and what it was")] = "",
    folder: Annotated[Path | None, typer.Option(help="Model folder; default models/NAME")] = None,
    write: Annotated[bool, typer.Option(help="Put thresholds and figures into the manifest and card")] = True,
) -> None:
    """mAP50 by class, thresholds, and what happens at them."""
    place = folder or SHIPPED / name
    manifest = read_manifest(place)
    seen, _ = look(SERVED[name].open(place), read_samples(data, split))
    pairs = list(match(seen, True))
    found = {label: best_threshold(pairs, label) for label in manifest.classes}
    labelled = Counter(p.truth.label for p in pairs if p.truth)
    thresholds = {k: v if labelled[k] else UNMEASURED for k, (v, _) in found.items()}
    thresholds["default"] = manifest.thresholds["default"]
    result = measure(seen, lambda label: thresholds.get(label, thresholds["default"]))
    rows = []
    for label, (ap, count) in result["per_class"].items():
        sure = [d for d in pairs if d.found and d.found.label == label and d.found.confidence >= thresholds[label]]
        right = sum(d.truth is not None for d in sure)
        rows.append([label, ap, count, thresholds[label], right / count, right / len(sure) if sure else 0.0])
    aimed = [row[1] for row in rows if row[0] in AIMED_AT[name]]
    rows.append([f"mean of {', '.join(AIMED_AT[name])}", float(np.mean(aimed)), "", "", "", ""])
    if baseline:
        rows.append([baseline, "", "", "", "", ""])
    part = {
        "title": f"Measured on {len(seen)} validation photos",
        "note": "AP50 with all-point interpolation. The same photos chose the moment to stop training and the "
        "thresholds, so expect less on others.",
        "command": "python -m training.measure " + shlex.join(sys.argv[1:]),
        "head": ["class", "AP50", "boxes", "threshold", "recall there", "precision there"],
        "rows": rows,
    }
    for row in rows:
        typer.echo("  ".join(f"{v:.3f}" if isinstance(v, float) else str(v) for v in row))
    if write:
        kept = [p for p in manifest.figures.get("parts", []) if not p["title"].startswith("Measured on")]
        update: dict[str, Any] = {"thresholds": thresholds, "figures": {**manifest.figures, "parts": [part, *kept]}}
        write_manifest(place, manifest.model_copy(update=update))


@app.command()
def whole(
    accidents: Annotated[Path, typer.Option(help="Folder of the accident sets")],
    dashboards: Annotated[Path, typer.Option(help="Folder of real photos of dashboards")],
    others: Annotated[list[Path] | None, typer.Option(help="Folders of photos of anything else")] = None,
    write: Annotated[bool, typer.Option(help="Put the figures into the manifest and card")] = True,
) -> None:
    """Kind of photo and severity as ``yangche diagnose`` gives them: with detectors, not the classifier alone."""
    from app.advisor import Advisor
    from training.whole import pictures_in

    advisor = Advisor.open(Path("work") / "measure-home")
    found = [e for e in examples(accidents, "val") if e.source != "damage"]
    damage = [e for e in examples(accidents, "val") if e.source == "damage"]
    found += [Example(p, KINDS.index("dashboard"), UNKNOWN, "dashboards") for p in pictures_in(dashboards)]
    for folder in others or []:
        found += [Example(p, KINDS.index("other"), UNKNOWN, "others") for p in pictures_in(folder)]
    judged = []
    for example in [*found, *damage]:
        diagnosis = advisor.diagnose(example.path)
        judged.append((example, diagnosis.kind, diagnosis.scene.severity if diagnosis.scene else None))
    result = figures(judged)
    rows: list[list[Any]] = [
        ["kind of photo, accuracy", result["kind_accuracy"], result["photos"]],
        ["damaged or not, balanced accuracy", result["damaged_balanced_accuracy"], ""],
        ["severity, accuracy", result["severity_accuracy"], ""],
        *([f"kind, {source}", share, n] for source, (share, n) in result["by_source"].items()),
        *([f"severity {pair}", n, ""] for pair, n in result["severity_confusion"].items()),
    ]
    for row in rows:
        typer.echo("  ".join(f"{v:.3f}" if isinstance(v, float) else str(v) for v in row))
    for example, kind, _ in judged:
        if KINDS[example.kind] != kind:
            typer.echo(f"wrong: {example.source} {example.path} taken for {kind}", err=True)
    if write:
        place = SHIPPED / "whole"
        manifest = read_manifest(place)
        part = {
            "title": "Measured on validation photos, as the product answers",
            "note": "The dashboards are real photos that nothing was trained on.",
            "command": "python -m training.measure " + shlex.join(sys.argv[1:]),
            "head": ["figure", "value", "photos"],
            "rows": rows,
        }
        kept = [p for p in manifest.figures.get("parts", []) if not p["title"].startswith("Measured on")]
        figures_now = {**manifest.figures, "parts": [part, *kept]}
        write_manifest(place, manifest.model_copy(update={"figures": figures_now}))


@app.command()
def sheet(
    name: Annotated[str, typer.Argument(help="scenes or damage")],
    data: Annotated[Path, typer.Option(help="data.yaml or its folder")],
    out: Annotated[Path, typer.Option(help="Folder for random.png and worst.png")],
    split: SPLIT = "val",
    seed: int = 5,
) -> None:
    """Contact sheets of 30 random photos and the 20 worst: right, missed and false boxes."""
    from training.sheet import contact_sheet

    detector = SERVED[name].open(SHIPPED / name)
    seen, _ = look(detector, read_samples(data, split))

    def believed(found: Detection) -> bool:
        return found.confidence >= detector.threshold(found.label)

    def drawn(ones: Sequence[Seen]) -> list[list[Pair]]:
        return [pairs for one in ones if (pairs := list(match([one], True, believed)))]

    picked = np.random.default_rng(seed).permutation(len(seen))[:30]
    out.mkdir(parents=True, exist_ok=True)
    for file, photos in (
        ("random", drawn([seen[i] for i in picked])),
        ("worst", worst(seen, detector.threshold, 20)),
    ):
        contact_sheet(photos, f"{name}: green right, red missed, purple false").save(out / f"{name}-{file}.png")


if __name__ == "__main__":
    app()
