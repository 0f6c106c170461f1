"""A new model takes the present one's place only if it does better on photos that neither was trained on."""

from __future__ import annotations

import hashlib
import json
import shlex
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from knowledge.catalogue import LIGHT_IDS, load_catalogue
from knowledge.text import Text, UserError
from models import Manifest, current_folder, read_manifest
from models.versions import Versions
from training.evaluate import Sample, evaluate
from training.lights import recipe, write_figures
from training.pipeline import export, read_note
from vision.detector import CLUSTER, OnnxDetector

COMPARED = ("mAP50", "found_AP50", "recall", "precision", "red_recall", "ece")
FEW_LAMPS = 30  # a gate with fewer decides by chance
Progress = Callable[[Iterable[Any]], Iterable[Any]]


class PromotionError(UserError):
    """A model that cannot be promoted, whatever the reason given."""


@dataclass(frozen=True)
class Comparison:
    """The present model and the new one on the same photos. ``against``: why the new one may not take its place."""

    present: dict[str, Any]
    new: dict[str, Any]
    against: tuple[Text, ...]
    warnings: tuple[Text, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """As it is printed and kept beside the promoted model."""
        kept = ("photos", "lamps", "red_lamps", *COMPARED)
        return {
            "present": {key: self.present[key] for key in kept},
            "new": {key: self.new[key] for key in kept},
            "against": [text.model_dump() for text in self.against],
            "warnings": [text.model_dump() for text in self.warnings],
        }


def model_folder(given: Path, home: Path) -> Path:
    """The model folder that is meant: the given one, or RUN/model, exported from a run's best weights if need be.

    Raises:
        PromotionError: if it is neither a model folder nor a run.
    """
    if (given / "manifest.json").is_file():
        return given
    best, made = given / "weights" / "best.pt", given / "model" / "manifest.json"
    if not best.is_file():
        raise PromotionError(
            zh=f"{given} 既不是模型文件夹 (没有 manifest.json), 也不是训练的运行文件夹 (没有 weights/best.pt)。",
            en=f"{given} is neither a model folder (manifest.json) nor the run of a training (weights/best.pt).",
        )
    if not made.is_file() or made.stat().st_mtime < best.stat().st_mtime:
        export_lights(given, given / "model", home)
    return given / "model"


def export_lights(run: Path, to: Path, home: Path) -> Manifest:
    """Export a run. Thresholds and the second stage, which a training of the detector leaves alone, come from the
    present model."""
    note = read_note(run)
    pictures = ", ".join(f"{n} {split}" for split, n in note.get("pictures", {}).items())
    present = read_manifest(current_folder("lights", home))
    with redirect_stdout(sys.stderr):  # what Ultralytics has to say must not get between our lines of JSON
        made = export(
            recipe(),
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


def check_classes(manifest: Manifest) -> None:
    """Refuse a model that knows fewer lamps than the contract, or such as nobody has written advice for.

    Raises:
        PromotionError: naming them.
    """
    if missing := [name for name in (*LIGHT_IDS, CLUSTER) if name not in manifest.classes]:
        raise PromotionError(
            zh=f"新模型不认识这些灯, 不能启用: {', '.join(missing)}。请用含全部类别的数据训练。",
            en=f"The new model does not know {', '.join(missing)}: train it on data that names all classes.",
        )
    known = load_catalogue().lights
    if unknown := [name for name in manifest.classes if name not in known and name != CLUSTER]:
        raise PromotionError(
            zh=f"目录里没有这些灯的说明: {', '.join(unknown)}。请先写进 knowledge/lights/。",
            en=f"The catalogue says nothing about {', '.join(unknown)}: first write entries in knowledge/lights/.",
        )


def leaked(samples: Sequence[Sample], folder: Path) -> list[Path]:
    """Photos of the gate that the model was trained on, as far as its run is known."""
    trained = set(read_note(folder).get("train_sha256", ()))
    if not trained:
        return []
    present = [s.path for s in samples if s.path.is_file()]
    return [path for path in present if hashlib.sha256(path.read_bytes()).hexdigest() in trained]


def compare(present: Mapping[str, Any], new: Mapping[str, Any], leaks: int = 0) -> Comparison:
    """Weigh two models' figures on the same photos. The new one must find more, and no fewer red lamps."""
    against: list[Text] = []
    warnings: list[Text] = []
    if leaks:
        against.append(
            Text(
                zh=f"考核集里有 {leaks} 张照片被用来训练过, 结果不可信; 请换没训练过的照片。",
                en=f"{leaks} photos of the gate were trained on, so it proves nothing: use photos that were not.",
            )
        )
    if not new["red_lamps"]:
        against.append(
            Text(
                zh="考核集里没有红灯, 无法确认红灯不会漏得更多; 请加入有红灯的照片。",
                en="The gate shows no red lamp, so nothing is known about missing them: add photos with some.",
            )
        )
    elif new["red_recall"] < present["red_recall"]:
        against.append(
            Text(
                zh=f"红灯找到的比例下降了: {present['red_recall']:.3f} -> {new['red_recall']:.3f}。",
                en=f"It finds fewer of the red lamps: {present['red_recall']:.3f} -> {new['red_recall']:.3f}.",
            )
        )
    before, after = (round(figures["mAP50"] or 0.0, 6) for figures in (present, new))
    better_red = (new["red_recall"] or 0.0) > (present["red_recall"] or 0.0)
    if after < before or (after == before and not better_red):
        against.append(
            Text(
                zh=f"mAP50 没有提高: {before:.3f} -> {after:.3f}。",
                en=f"mAP50 is no better: {before:.3f} -> {after:.3f}.",
            )
        )
    if new["lamps"] < FEW_LAMPS:
        warnings.append(
            Text(
                zh=f"考核集只有 {new['lamps']} 盏灯, 差别可能只是运气; 最好有 {FEW_LAMPS} 盏以上。",
                en=f"The gate shows {new['lamps']} lamps only, so chance decides: {FEW_LAMPS} or more are better.",
            )
        )
    return Comparison(dict(present), dict(new), tuple(against), tuple(warnings))


def gate(given: Path, samples: Sequence[Sample], home: Path, progress: Progress = iter) -> tuple[Path, Comparison]:
    """The model folder that is meant, and how it compares with the present model on ``samples``.

    Raises:
        UserError: if the model or the photos cannot be used at all.
    """
    folder = model_folder(given, home)
    check_classes(read_manifest(folder))
    present, new = (
        evaluate(OnnxDetector.load(place), samples, progress).figures
        for place in (current_folder("lights", home), folder)
    )
    return folder, compare(present, new, len(leaked(samples, folder)))


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
        return Versions("lights", home).add(copy, record)
