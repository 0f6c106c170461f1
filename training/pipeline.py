"""From a data set to a model folder, the same for every detector: train, go on after an interruption, export.

What differs between models is a ``Recipe``; ``training.lights`` holds that of the warning lights.
"""

from __future__ import annotations

import json
import math
import os
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any

import yaml

from knowledge.text import UserError
from models import Manifest, sha256_of
from training.tiles import digests, write_yaml
from training.yolo import DataSet

RUN_FILE = "run.json"  # in the run folder and beside the exported model: what was done, on which pictures


class TrainingError(UserError):
    """Training that cannot start, or a run that cannot be used."""


@dataclass(frozen=True)
class Recipe:
    """What one kind of detector needs.

    ``classes``: in the order of their numbers; ``augmentation``: what the trainer may change about a picture;
    ``side``, ``view_width``: how the detector looks; ``train_side``: pixels of the pictures in training, if not
    ``side``; ``colors``: those that each class is ever lit in.
    """

    name: str
    classes: tuple[str, ...]
    augmentation: Mapping[str, Any]
    side: int = 640
    view_width: int = 1536
    train_side: int | None = None
    colors: Mapping[str, list[str]] = field(default_factory=dict)


@contextmanager
def train_extra() -> Iterator[None]:
    """Around imports of training libraries: answers a missing one with the command that installs it.

    Raises:
        TrainingError: with the exact command.
    """
    os.environ.setdefault("YOLO_AUTOINSTALL", "false")  # Ultralytics would install packages unasked
    try:
        yield
    except ModuleNotFoundError as error:
        command = f"python -m pip install {' '.join(extra_requirements())}"
        raise TrainingError(
            zh=f"训练部分还没有安装 (缺少 {error.name}), 请运行: {command}",
            en=f"The training parts are not installed ({error.name} is missing); run: {command}",
        ) from error


def extra_requirements(extra: str = "train") -> list[str]:
    """What the extra brings along, from the installed package's own metadata, quoted for a shell."""
    found = []
    for line in metadata.requires("yangche") or []:
        requirement, _, marker = line.partition(";")
        if extra in marker.replace("'", '"').split('"'):
            found.append(f'"{requirement.strip()}"')
    return found


def cosine(hours: float, floor: float = 0.02, warmup: float = 0.02) -> Callable[[Any], None]:
    """A callback that lowers the learning rate along a cosine over the time given.

    Ultralytics steps its own schedule once an epoch, which is too coarse for runs of one or two long epochs.
    """

    def at_batch(trainer: Any) -> None:  # noqa: ANN401 - ultralytics' trainer has no public type
        done = min(1.0, (time.time() - trainer.train_time_start) / (hours * 3600))
        factor = min(1.0, done / warmup + 0.05) * (floor + (1 - floor) * 0.5 * (1 + math.cos(math.pi * done)))
        for group in trainer.optimizer.param_groups:
            group["lr"] = group["initial_lr"] * factor

    return at_batch


def fit(
    recipe: Recipe,
    data: Path,
    weights: Path,
    out: Path,
    *,
    hours: float,
    batch: int = 8,
    lr0: float = 0.001,
    device: str = "",
    threads: int = 0,
    note: Mapping[str, Any] | None = None,
) -> Path:
    """Fine-tune for a given time; returns the run folder, in Ultralytics' own layout.

    ``device``: as Ultralytics spells it; "" takes a GPU if there is one. ``threads``: of the CPU, 0 takes all; one a
    process is best where several run. ``note`` is kept in the run's ``run.json``.
    """
    with train_extra():
        from ultralytics import YOLO
    out.mkdir(parents=True, exist_ok=True)
    dataset = DataSet.read(data)
    data = write_yaml(dataset, out / "data.yaml", _lists(dataset, out), out)
    _write_note(out, recipe, dataset, note or {})
    chosen = _device(device)
    try:
        model = YOLO(weights)
    except (OSError, RuntimeError) as error:
        raise _no_weights(weights) from error
    _prepare(model, hours, threads)
    half_on_cpu(chosen)
    model.train(
        data=str(data), epochs=1000, time=hours, batch=batch, nbs=batch, device=chosen,
        imgsz=recipe.train_side or recipe.side,
        optimizer="AdamW", lr0=lr0, warmup_epochs=0, project=str(out.parent.resolve()), name=out.name, exist_ok=True,
        amp=chosen not in ("cpu", "mps"), workers=2, plots=True, deterministic=False, **recipe.augmentation,
    )  # fmt: skip
    return out


def resume(run: Path, hours: float, device: str = "") -> Path | None:
    """Go on with a run that was interrupted: same settings, optimiser and epoch, ``hours`` from now.

    Returns None if the run ended by itself: there is no optimiser to go on with, and a new run has to start from its
    ``weights/last.pt``.

    Raises:
        TrainingError: if the run never got to a checkpoint.
    """
    with train_extra():
        import torch
        from ultralytics import YOLO
    last = run / "weights" / "last.pt"
    if not last.is_file():
        raise TrainingError(
            zh=f"{run} 里还没有 weights/last.pt (第一轮没跑完), 请不带 --resume 重新开始。",
            en=f"{run} has no weights/last.pt yet (its first epoch never ended): start again without --resume.",
        )
    checkpoint = torch.load(last, map_location="cpu", weights_only=False)
    epochs = (checkpoint.get("train_args") or {}).get("epochs", 0)
    if checkpoint.get("optimizer") is None or not 0 < checkpoint.get("epoch", -1) + 1 < epochs:
        return None
    model = YOLO(last)
    _prepare(model, hours)
    model.train(
        resume=True, data=str(run / "data.yaml"), time=hours, device=_device(device), save_dir=str(run.resolve())
    )
    return run


def half_on_cpu(device: str) -> None:
    """Let Ultralytics compute in bfloat16 where the CPU can: it does so on GPUs only, and 1.7 times as fast here.

    Measured on an EPYC with AVX512-BF16. Weights, losses and the validation stay in float32.
    """
    import torch
    from ultralytics.engine import trainer

    if device == "cpu" and getattr(torch.cpu, "_is_avx512_bf16_supported", lambda: False)():
        trainer.autocast = lambda *_, **__: torch.autocast("cpu", torch.bfloat16)


def _prepare(model: Any, hours: float, threads: int = 0) -> None:  # noqa: ANN401 - ultralytics has no types
    import torch
    from ultralytics import settings

    settings.update({"sync": False})  # nothing about a run leaves the machine
    # Ultralytics leaves one core free, which is half of a small machine.
    model.add_callback("on_train_start", lambda _: torch.set_num_threads(threads or os.cpu_count() or 1))
    model.add_callback("on_train_batch_start", cosine(hours))


def _device(named: str) -> str:
    import torch

    return named or ("0" if torch.cuda.is_available() else "cpu")


def _lists(data: DataSet, out: Path) -> dict[str, str]:
    """A list of pictures for each split, written to the run folder: it holds wherever the trainer is started from."""
    for split, paths in data.splits.items():
        (out / f"{split}.txt").write_text("".join(f"{path}\n" for path in paths), encoding="utf-8")
    return {split: f"{split}.txt" for split in data.splits}


def _no_weights(weights: Path) -> TrainingError:
    return TrainingError(
        zh=f"读不了初始权重 {weights}, 请给出一个 .pt 文件, 例如 yolo26n.pt 或现有模型的 model.pt。",
        en=f"The weights {weights} cannot be read: name a .pt file, such as yolo26n.pt or the model.pt of a model.",
    )


def _write_note(out: Path, recipe: Recipe, data: DataSet, note: Mapping[str, Any]) -> None:
    pictures = {split: len(paths) for split, paths in data.splits.items()}
    content = {"recipe": recipe.name, "pictures": pictures, "train_sha256": digests(data), **note}
    (out / RUN_FILE).write_text(json.dumps(content, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")


def read_note(folder: Path) -> dict[str, Any]:
    """What is known of a run, or of the run that a model came from; empty if nothing is."""
    try:
        content = json.loads((folder / RUN_FILE).read_bytes())
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def export(
    recipe: Recipe,
    run: Path,
    to: Path,
    *,
    data: str,
    command: str,
    thresholds: Mapping[str, float],
    rendered: bool = True,
) -> Manifest:
    """Write model.onnx, model.pt and manifest.json into ``to``, from the run's best weights.

    Raises:
        TrainingError: if the run has none.
    """
    best = run / "weights" / "best.pt"
    if not best.is_file():
        raise TrainingError(
            zh=f"{run} 里没有 weights/best.pt, 请给出训练的运行文件夹。",
            en=f"{run} holds no weights/best.pt: name the run folder of a training.",
        )
    with train_extra():
        import torch
        from ultralytics import YOLO
    model = YOLO(best)
    # Any size: the first look is square, the close one as wide as the cluster.
    made = Path(model.export(format="onnx", imgsz=recipe.side, opset=17, simplify=True, dynamic=True, device="cpu"))
    to.mkdir(parents=True, exist_ok=True)
    shutil.move(made, to / "model.onnx")
    shutil.copy(best, to / "model.pt")
    if (run / RUN_FILE).is_file():
        shutil.copy(run / RUN_FILE, to / RUN_FILE)
    training = {"data": data, "command": command, "args": _arguments(recipe, run), "torch": torch.__version__}
    return write_model(
        to,
        recipe.name,
        classes=[model.names[i] for i in range(len(model.names))],
        side=recipe.side,
        view_width=recipe.view_width,
        thresholds=thresholds,
        colors=recipe.colors,
        training=training if rendered else {**training, "rendered": False},
    )


def write_model(
    to: Path,
    name: str,
    *,
    classes: list[str],
    side: int,
    view_width: int,
    thresholds: Mapping[str, float],
    training: dict[str, Any],
    colors: Mapping[str, list[str]] | None = None,
) -> Manifest:
    """Write the manifest of the model.onnx and model.pt that lie in ``to``; nothing is measured yet."""
    manifest = Manifest(
        name=name,
        file="model.onnx",
        sha256=sha256_of(to / "model.onnx"),
        weights="model.pt",
        weights_sha256=sha256_of(to / "model.pt"),
        licence="AGPL-3.0-or-later",
        classes=classes,
        side=side,
        view_width=view_width,
        thresholds=dict(thresholds),
        colors=dict(colors or {}),
        training=training,
        figures={},
    )
    (to / "manifest.json").write_text(manifest.model_dump_json(indent=2) + "\n", encoding="utf-8")
    return manifest


def _arguments(recipe: Recipe, run: Path) -> dict[str, Any]:
    """What the run was started with, without this machine's paths."""
    args = yaml.safe_load((run / "args.yaml").read_text(encoding="utf-8"))
    kept = ("time", "batch", "imgsz", "optimizer", "lr0", "seed", *recipe.augmentation)
    return {"model": Path(args["model"]).name, **{k: args.get(k) for k in kept}}
