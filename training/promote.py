"""A new model takes the present one's place only if it does better on photos that neither was trained on."""

from __future__ import annotations

import hashlib
import json
import shlex
import shutil
import sys
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from knowledge.text import Text
from models import Manifest, current_folder, read_manifest
from models.versions import Versions
from training.card import write_figures
from training.pipeline import export, read_note
from training.served import SERVED, Progress, PromotionError, Served

__all__ = ["Comparison", "PromotionError", "compare", "export_run", "gate", "leaked", "model_folder", "promote"]

FEW = 30  # a gate with fewer boxes (or photos) decides by chance


@dataclass(frozen=True)
class Comparison:
    """The present model and the new one on the same photos. ``against``: why the new one may not take its place."""

    present: dict[str, Any]
    new: dict[str, Any]
    against: tuple[Text, ...]
    warnings: tuple[Text, ...] = ()
    served: Served = SERVED["lights"]

    def to_json(self) -> dict[str, Any]:
        """As it is printed and kept beside the promoted model."""
        kept = ("photos", "objects", "critical", *self.served.compared)
        return {
            "present": {key: self.present[key] for key in kept},
            "new": {key: self.new[key] for key in kept},
            "against": [text.model_dump() for text in self.against],
            "warnings": [text.model_dump() for text in self.warnings],
        }


def model_folder(given: Path, home: Path, served: Served = SERVED["lights"]) -> Path:
    """The model folder that is meant: the given one, or RUN/model, exported from a run's best weights if need be.

    Raises:
        PromotionError: if it is neither a model folder nor a run.
    """
    if (given / "manifest.json").is_file():
        return given
    best, made = given / "weights" / "best.pt", given / "model" / "manifest.json"
    if served.recipe is None and (given / "last.pt").is_file():
        from training.whole import export as export_whole

        export_whole(given, given / "model")
        return given / "model"
    if not best.is_file():
        raise PromotionError(
            zh=f"{given} 既不是模型文件夹 (没有 manifest.json), 也不是训练的运行文件夹 (没有 weights/best.pt)。",
            en=f"{given} is neither a model folder (manifest.json) nor the run of a training (weights/best.pt).",
        )
    if not made.is_file() or made.stat().st_mtime < best.stat().st_mtime:
        export_run(given, given / "model", home, served)
    return given / "model"


def export_run(run: Path, to: Path, home: Path, served: Served = SERVED["lights"]) -> Manifest:
    """Export a run. Thresholds and the second stage, which a training of the detector leaves alone, come from the
    present model."""
    if served.recipe is None:
        raise ValueError(f"{served.name} is not trained by Ultralytics")
    note = read_note(run)
    pictures = ", ".join(f"{n} {split}" for split, n in note.get("pictures", {}).items())
    present = read_manifest(current_folder(served.name, home))
    with redirect_stdout(sys.stderr):  # what Ultralytics has to say must not get between our lines of JSON
        made = export(
            served.recipe(),
            run,
            to,
            data=f"{note.get('data', 'unknown')} ({pictures or 'unknown'} pictures)",
            command=str(note.get("command", "unknown")),
            thresholds=present.thresholds,
            rendered=bool(note.get("rendered", False)),
        )
    # The second stage knows the present classes only; it would call a new lamp by an old name.
    if present.naming is not None and set(made.classes) <= set(present.classes):
        for name in (present.naming.file, present.naming.weights):
            shutil.copyfile(present.folder / name, to / name)
        made = made.model_copy(update={"naming": present.naming, "fusion": present.fusion})
        (to / "manifest.json").write_text(made.model_dump_json(indent=2) + "\n", encoding="utf-8")
    return made


def leaked(photos: Sequence[Path], folder: Path) -> list[Path]:
    """Photos of the gate that the model was trained on, as far as its run is known."""
    trained = set(read_note(folder).get("train_sha256", ()))
    if not trained:
        return []
    present = [path for path in photos if path.is_file()]
    return [path for path in present if hashlib.sha256(path.read_bytes()).hexdigest() in trained]


def compare(
    present: Mapping[str, Any], new: Mapping[str, Any], leaks: int = 0, served: Served = SERVED["lights"]
) -> Comparison:
    """Weigh two models' figures on the same photos. The new one must do better, and miss nothing critical more."""
    what, main = served.critical, served.main
    against: list[Text] = []
    warnings: list[Text] = []
    if leaks:
        against.append(
            Text(
                zh=f"考核集里有 {leaks} 张照片被用来训练过, 结果不可信; 请换没训练过的照片。",
                en=f"{leaks} photos of the gate were trained on, so it proves nothing: use photos that were not.",
            )
        )
    if not new["critical"]:
        against.append(
            Text(
                zh=f"考核集里没有{what.zh}, 无法确认不会漏得更多; 请加入这样的照片。",
                en=f"The gate shows no {what.en}, so nothing is known about missing them: add photos with some.",
            )
        )
    elif new["critical_recall"] < present["critical_recall"]:
        against.append(
            Text(
                zh=f"{what.zh}找到的比例下降了: {present['critical_recall']:.3f} -> {new['critical_recall']:.3f}。",
                en=f"It finds fewer of the {what.en}: {present['critical_recall']:.3f} -> "
                f"{new['critical_recall']:.3f}.",
            )
        )
    before, after = (round(figures[main] or 0.0, 6) for figures in (present, new))
    better = (new["critical_recall"] or 0.0) > (present["critical_recall"] or 0.0)
    if after < before or (after == before and not better):
        against.append(
            Text(
                zh=f"{main} 没有提高: {before:.3f} -> {after:.3f}。",
                en=f"{main} is no better: {before:.3f} -> {after:.3f}.",
            )
        )
    if new["objects"] < FEW:
        counted = served.counted
        warnings.append(
            Text(
                zh=f"考核集只有 {new['objects']} 个{counted.zh}, 差别可能只是运气; 最好有 {FEW} 个以上。",
                en=f"The gate shows {new['objects']} {counted.en} only, so chance decides: {FEW} or more are better.",
            )
        )
    return Comparison(dict(present), dict(new), tuple(against), tuple(warnings), served)


def gate(
    given: Path, data: Path, split: str, home: Path, progress: Progress = iter, served: Served = SERVED["lights"]
) -> tuple[Path, Comparison]:
    """The model folder that is meant, and how it compares with the present model on the labelled photos of ``data``.

    Raises:
        UserError: if the model or the photos cannot be used at all.
    """
    folder = model_folder(given, home, served)
    served.check(read_manifest(folder))
    present, new = (
        served.measure(place, data, split, progress) for place in (current_folder(served.name, home), folder)
    )
    return folder, compare(present, new, len(leaked(served.photos(data, split), folder)), served)


def promote(folder: Path, comparison: Comparison, gate_name: str, home: Path, reason: str | None = None) -> str:
    """Serve the model in ``folder`` from now on; returns the version's name.

    ``reason``: why it is promoted although something speaks against it; kept with the version.

    Raises:
        PromotionError: if something speaks against it and no reason is given.
    """
    if comparison.against and not reason:
        raise PromotionError(
            zh=" ".join(text.zh for text in comparison.against) + " 没有启用新模型。",
            en=" ".join(text.en for text in comparison.against) + " The new model was not promoted.",
        )
    record = {
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "gate": gate_name,
        "command": shlex.join(sys.argv),
        "from": str(folder),
        "forced": reason,
        **comparison.to_json(),
    }
    with tempfile.TemporaryDirectory(prefix="yangche-promote-") as scratch:
        copy = Path(scratch) / "model"
        shutil.copytree(folder, copy, ignore=lambda _, names: [n for n in names if n.startswith(".")])
        if not json.loads((copy / "manifest.json").read_bytes())["figures"]:
            write_figures(copy, comparison.new, f"the gate {gate_name}", shlex.join(sys.argv))
        return Versions(comparison.served.name, home).add(copy, record)
