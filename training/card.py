"""Writes a detector's model card from its manifest, so that card and manifest can never disagree."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from models import Manifest, NamingPart

_CARD = """# {name}: lit warning lights in a photo of an instrument cluster

Generated from `manifest.json` by `python -m training.lights record` or `yangche models promote`; change that, not this
file.

| | |
|---|---|
| file | `{file}` (sha256 `{sha256}`), trained weights `{weights}` |
| task | {lights} tell-tales by class, and the cluster itself, as boxes |
| input | float32 (1, 3, height, width), multiples of 32, RGB in 0..1, padded with grey 114 |
| use | a first look at the whole photo at {side} pixels, then one at the cluster, brought to {view_width} pixels |
{naming}| thresholds | {thresholds} |
| licence | {licence} |

## Training

{training}
{taught}
{pictures}

{measured}
{more}
## Limits

- The figures come from few photos and carry wide margins. A photo of a kind that is not among them may do worse.
- Lamps smaller than about 10 pixels, behind reflections, or half hidden are missed. Words as lamps (BRAKE, EPS) are
  read by `vision/reading.py` besides, not by these models.
- A lamp that it does not see is not proof that none is lit: the verdict never says "ok" because nothing was found.
"""

_NAMING = "| second stage | `{file}` (sha256 `{sha256}`) names each place from a crop of {side} pixels |\n"

_RENDERED = """\
The pictures are rendered (`training/cluster.py`, `training/camera.py`): our own glyphs on drawn clusters, photographed
as a phone would. Real photos without clusters stand behind and beside them, so that ordinary streets and lamps are
known too. No photo of a lit cluster was used for training."""

_OWN = """The pictures are a user's own labelled photos, cut as the detector looks at them (`training/tiles.py`)."""

_MEASURED = """## Measured on real photos

{photos} photos of {source}, {lamps} counted lamps, none used for training:

    {command}

| figure | value |
|---|---|
{figures}

| class | AP50 | lamps |
|---|---|---|
{classes}"""

_UNMEASURED = """## Not measured yet

`yangche evaluate lights --data DATA --model FOLDER` measures it, `yangche models promote` compares it."""

_FIGURES = (
    "mAP50", "found_AP50", "recall@0.25", "precision@0.25", "red_recall@0.25", "red_photos_called_ok",
    "recall", "precision", "red_recall", "critical_recall", "ece",
)  # fmt: skip


def _value(value: Any) -> str:  # noqa: ANN401 - whatever the score holds
    if isinstance(value, float):
        return f"{value:.3f}"
    return str(len(value)) if isinstance(value, list) else str(value)


def _measured(manifest: Manifest) -> str:
    score = manifest.figures.get("real_photos")
    if score is None:
        return _UNMEASURED
    rows = [f"| {key} | {_value(score[key])} |" for key in _FIGURES if score.get(key) is not None]
    rows += [
        f"| {key} on rendered validation tiles (says nothing about real photos) | {_value(v)} |"
        for key, v in manifest.figures.get("rendered", {}).items()
    ]
    return _MEASURED.format(
        photos=score["photos"],
        lamps=score.get("lamps", score.get("objects")),
        source=manifest.figures["source"],
        command=manifest.figures["command"].replace("\n", "\n    "),
        figures="\n".join(rows),
        classes="\n".join(f"| {name} | {ap:.3f} | {n} |" for name, (ap, n) in score["per_class"].items()),
    )


def _taught(naming: NamingPart | None) -> str:
    """What the classifier of crops was trained on."""
    if naming is None:
        return ""
    lines = [f"- {key}: {value}" for key, value in naming.training.items()]
    return "\nThe classifier of crops:\n\n" + "\n".join(lines) + "\n"


def _table(head: tuple[str, ...], rows: Iterable[tuple[Any, ...]]) -> str:
    lines = [head, ("---",) * len(head), *rows]
    return "\n".join("| " + " | ".join(_value(cell) for cell in line) + " |" for line in lines)


def _more(figures: dict[str, Any]) -> str:
    """What else was measured: each part stands only where its command has been run."""
    parts = []
    rows: list[tuple[Any, ...]]
    if at := figures.get("at_thresholds"):
        rows = [(key, value) for key, value in at.items() if value is not None]
        parts.append("## At the product's thresholds\n\nThe same photos.\n\n" + _table(("figure", "value"), rows))
    if errors := figures.get("errors"):
        rows = [(e["photo"], e["lamp"], e["said"], "-" if e["confidence"] is None else e["confidence"]) for e in errors]
        parts.append(
            "## Remaining errors\n\n`-` as the lamp is a false alarm, `-` as what was said is a miss.\n\n"
            + _table(("photo", "lamp", "said", "confidence"), rows)
        )
    if compared := figures.get("compared"):
        keys = tuple(key for key in compared[0] if key not in ("way", "photos"))
        rows = [(row["way"], row["photos"], *(row[key] for key in keys)) for row in compared]
        parts.append(
            "## One stage or two\n\n`python -m training.compare`, without the reading of words. Rendered photos say "
            "nothing about real ones.\n\n" + _table(("way", "photos", *keys), rows)
        )
    if drawings := figures.get("drawings"):
        parts.append(
            "## Drawings of other makers\n\n`python -m training.naming icons ICONS`: of "
            f"{drawings['crops']} rendered lamps in drawings that nothing was trained on, the classifier alone names "
            f"{drawings['right']:.3f} right."
        )
    if reliable := figures.get("reliability"):
        rows = [(f"{r['from']} to {r['to']}", r["findings"], r["confidence"], r["right"]) for r in reliable["rows"]]
        parts.append(
            "## What a confidence means\n\n`python -m training.calibrate`; a fit without it judged each photo; "
            f"expected calibration error {reliable['ece']}.\n\n"
            + _table(("confidence", "findings", "mean confidence", "share right"), rows)
        )
    if int8 := figures.get("int8"):
        parts.append("## INT8\n\n" + int8)
    return "\n" + "\n\n".join(parts) + "\n" if parts else ""


_PLAIN = """# {name}: {task}

Generated from `manifest.json` by `python -m training.measure` or `yangche models promote`; change that, not this file.

| | |
|---|---|
| file | `{file}` (sha256 `{sha256}`), trained weights `{weights}` |
| classes | {classes} |
| input | {input} |
| thresholds | {thresholds} |
| licence | {licence} |

## Training

{training}

{measured}

## Limits

{limits}
"""

_TASKS = {
    "scenes": "crashed vehicles, other vehicles, fire and smoke in a photo, as boxes",
    "damage": "scratches, dents, broken parts, glass and lamps in a photo, as boxes",
    "whole": "what kind of photo it is (dashboard, accident, other), and how severe the damage",
}
_INPUTS = {
    "scenes": "float32 (1, 3, height, width), multiples of 32, RGB in 0..1; the whole photo, long side {sides} pixels",
    "damage": "float32 (1, 3, height, width), multiples of 32, RGB in 0..1; the whole photo, long side {sides} pixels",
    "whole": "float32 (n, 3, {sides}, {sides}), RGB in 0..1, the whole photo made square; outputs are logits",
}
_LIMITS = {
    "scenes": """\
- Trained on press and street photos: a close-up of one damaged panel may show no "accident_vehicle" at all.
- Dark smoke is often called fire, since the labels call burning vehicles with their smoke fire. Either means: get away.
- Not every vehicle that stands around is found; their number is no count.""",
    "damage": """\
- Small scratches and shallow dents are missed more often than not, and reflections are taken for them.
- What is not found is not undamaged, and what lies behind a panel is in no photo.""",
    "whole": """\
- The severity is a rough class of how the damage looks. It knows nothing of the frame, the axles or the airbags.
- Dashboards in training are rendered; the cluster that the detector of lamps sees decides where this one is unsure.
- A photo of a damaged thing other than a car may count as an accident.""",
}


def _plain_card(manifest: Manifest) -> str:
    told = {key: value for key, value in manifest.training.items() if key not in ("args", "rendered")}
    sides = " and ".join(str(side) for side in dict.fromkeys((manifest.side, manifest.view_width)))
    parts = []
    for part in manifest.figures.get("parts", ()):
        table = _table(tuple(part["head"]), [tuple(row) for row in part["rows"]]) if part.get("rows") else ""
        command = "    " + part["command"].replace("\n", "\n    ") if part.get("command") else ""
        parts.append("\n\n".join(filter(None, (f"## {part['title']}", part.get("note"), command, table))))
    if gate := {k: v for k, v in manifest.figures.get("real_photos", {}).items() if isinstance(v, int | float)}:
        parts.append(f"## On {manifest.figures['source']}\n\n    {manifest.figures['command']}\n\n"
                     + _table(("figure", "value"), gate.items()))  # fmt: skip
    return _PLAIN.format(
        **manifest.model_dump(include={"name", "file", "sha256", "weights", "licence"}),
        task=_TASKS[manifest.name],
        classes=", ".join(manifest.classes),
        input=_INPUTS[manifest.name].format(sides=sides),
        thresholds=", ".join(f"{key} {value}" for key, value in manifest.thresholds.items()),
        training="\n".join(f"- {key}: {_value(value)}" for key, value in told.items()),
        measured="\n\n".join(parts) or f"## Not measured yet\n\n`yangche evaluate {manifest.name}` measures it.",
        limits=_LIMITS[manifest.name],
    )


def write_figures(folder: Path, score: dict[str, Any], source: str, command: str) -> None:
    """Put figures into a model's manifest, and write its card."""
    path = folder / "manifest.json"
    manifest = Manifest.model_validate_json(path.read_text(encoding="utf-8"))
    figures = {**manifest.figures, "source": source, "command": command, "real_photos": score}
    write_manifest(folder, manifest.model_copy(update={"figures": figures}))


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Write a model's manifest, and its card from it, so that both always agree."""
    (folder / "manifest.json").write_text(manifest.model_dump_json(indent=2) + "\n", encoding="utf-8")
    (folder / "README.md").write_text(model_card(manifest), encoding="utf-8")


def model_card(manifest: Manifest) -> str:
    """The card as Markdown."""
    if manifest.name in _TASKS:
        return _plain_card(manifest)
    told = {key: value for key, value in manifest.training.items() if key not in ("args", "rendered")}
    naming = manifest.naming
    return _CARD.format(
        **manifest.model_dump(include={"name", "file", "sha256", "weights", "side", "view_width", "licence"}),
        lights=len(manifest.classes) - 1,
        naming=_NAMING.format(**naming.model_dump(include={"file", "sha256", "side"})) if naming else "",
        thresholds=", ".join(f"{key} {value}" for key, value in manifest.thresholds.items()),
        training="\n".join(f"- {key}: {value}" for key, value in told.items()),
        taught=_taught(naming),
        pictures=_RENDERED if manifest.training.get("rendered", True) else _OWN,
        measured=_measured(manifest),
        more=_more(manifest.figures),
    )
