"""The network that names crops, what training does to its pictures, and the training loop."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from numpy.random import Generator
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.utils.data import DataLoader, IterableDataset, get_worker_info

from training.lamps import FREQUENT
from training.naming import CLASSES, ROOM, STORED
from vision.naming import NONE

SIDE = 64
NONE_SHARE = 0.25  # of a batch
# Lamps that cars light more often than the other frequent ones: many show the ringed ! while the parking brake is on.
OFTEN = {"brake_system": 4.0, "seat_belt": 3.0}


def _block(inside: int, outside: int, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inside, outside, 3, stride, 1, bias=False), nn.BatchNorm2d(outside), nn.ReLU(inplace=True)
    )


class _Residual(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.one = _block(width, width)
        self.two = nn.Sequential(nn.Conv2d(width, width, 3, 1, 1, bias=False), nn.BatchNorm2d(width))

    def forward(self, x: Tensor) -> Tensor:
        """Add what two convolutions make of x to it."""
        return torch.relu(x + self.two(self.one(x)))


class NamingNet(nn.Module):
    """float32 (n, 3, SIDE, SIDE) RGB in 0..1 to logits (n, classes); 1.1 million parameters, 80 million MACs a crop."""

    def __init__(self, classes: int = len(CLASSES)) -> None:
        super().__init__()
        self.body = nn.Sequential(
            _block(3, 16),
            _block(16, 32, 2), _Residual(32),
            _block(32, 64, 2), _Residual(64),
            _block(64, 128, 2), _Residual(128),
            _block(128, 256, 2),
            nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(0.2),
        )  # fmt: skip
        self.head = nn.Linear(256, classes)

    def forward(self, x: Tensor) -> Tensor:
        """Logits."""
        out: Tensor = self.head(self.body((x - 0.35) * 3.5))
        return out


def augmented(image: NDArray[np.uint8], rng: Generator) -> NDArray[np.uint8]:
    """A stored crop as another phone would have taken it: SIDE pixels wide. Never mirrored, its hue hardly moved."""
    small = int(np.exp(rng.uniform(np.log(26), np.log(SIDE)))) if rng.random() < 0.6 else SIDE
    zoom = small / STORED * ROOM * float(np.exp(rng.normal(0, 0.08)))
    aspect = float(np.exp(rng.normal(0, 0.05)))
    turn = np.deg2rad(rng.normal(0, 3.5))
    m = np.array([[np.cos(turn) * zoom * aspect, -np.sin(turn) * zoom], [np.sin(turn) * zoom, np.cos(turn) * zoom]])
    shift = small / 2 - m @ np.array([STORED / 2, STORED / 2]) + rng.normal(0, 0.03, 2) * small
    out = cv2.warpAffine(
        image, np.column_stack([m, shift]), (small, small), flags=cv2.INTER_AREA, borderMode=cv2.BORDER_REFLECT_101
    )
    if rng.random() < 0.25:
        out = cv2.GaussianBlur(out, (0, 0), float(rng.uniform(0.4, 1.3)))
    x = out.astype(np.float32)
    grey = x.mean(axis=2, keepdims=True)
    x = grey + (x - grey) * float(rng.uniform(0.6, 1.35))
    x *= float(np.exp(rng.normal(0, 0.2))) * (1 + rng.normal(0, 0.05, 3).astype(np.float32))
    if rng.random() < 0.35:  # a veil of light takes contrast away
        x = x * float(rng.uniform(0.45, 1)) + float(rng.uniform(0, 110)) * (1 + rng.normal(0, 0.06, 3))
    if rng.random() < 0.35:
        x += (x - cv2.GaussianBlur(x, (0, 0), 1.2)) * float(rng.uniform(0.3, 1.8))
    if rng.random() < 0.5:
        x += rng.normal(0, float(rng.uniform(1, 9)), x.shape)
    out = x.clip(0, 255).astype(np.uint8)
    if rng.random() < 0.4:
        _, data = cv2.imencode(".jpg", out, [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(35, 92))])
        out = cv2.imdecode(data, cv2.IMREAD_COLOR)
    if rng.random() < 0.04:  # something lies over it
        a, b = rng.integers(0, small, 2), rng.integers(0, small, 2)
        tone = tuple(float(v) for v in rng.uniform(0, 255, 3))
        cv2.line(out, (int(a[0]), int(a[1])), (int(b[0]), int(b[1])), tone, int(rng.integers(1, max(2, small // 9))))
    if small != SIDE:
        out = cv2.resize(out, (SIDE, SIDE), interpolation=cv2.INTER_LINEAR)
    return np.asarray(out, np.uint8)


def plain(images: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Stored crops (n, STORED, STORED, 3) cut to what service shows: (n, SIDE, SIDE, 3)."""
    inner = round(STORED / ROOM)
    start = (STORED - inner) // 2
    cut = images[:, start : start + inner, start : start + inner]
    return np.stack([cv2.resize(image, (SIDE, SIDE), interpolation=cv2.INTER_AREA) for image in cut])


class Crops(IterableDataset[tuple[Tensor, int]]):
    """Endless augmented crops, rare classes more often than their share, NONE_SHARE of them of nothing."""

    def __init__(self, folder: Path, seed: int = 0) -> None:
        files = sorted(folder.glob("*.images.npy"))
        if not files:
            raise FileNotFoundError(f"no crops in {folder}: run python -m training.naming crops --out {folder}")
        self.shards = [np.load(path, mmap_mode="r") for path in files]
        labels = [np.load(path.with_name(path.name.replace("images", "labels"))) for path in files]
        self.labels = np.concatenate(labels).astype(np.int64)
        self.ends = np.cumsum([len(part) for part in labels])
        counts = np.bincount(self.labels, minlength=len(CLASSES)).astype(float)
        often = np.array([OFTEN.get(name, 2.0 if name in FREQUENT else 1.0) for name in CLASSES])
        weights = (often / np.sqrt(np.maximum(counts, 1)))[self.labels]
        none = self.labels == CLASSES.index(NONE)
        if none.any() and not none.all():
            weights[~none] *= (1 - NONE_SHARE) / weights[~none].sum()
            weights[none] = NONE_SHARE / none.sum()
        self.share = np.cumsum(weights / weights.sum())
        self.seed = seed

    def image(self, number: int) -> NDArray[np.uint8]:
        """The stored crop with this number."""
        shard = int(np.searchsorted(self.ends, number, side="right"))
        return np.asarray(self.shards[shard][number - (self.ends[shard - 1] if shard else 0)], np.uint8)

    def __iter__(self) -> Iterator[tuple[Tensor, int]]:
        cv2.setNumThreads(1)
        worker = get_worker_info()
        rng = np.random.default_rng([self.seed, worker.id if worker else 0, int(time.time())])
        while True:
            for number in np.searchsorted(self.share, rng.random(1024)).clip(0, len(self.labels) - 1):
                image = augmented(self.image(int(number)), rng)
                yield torch.from_numpy(image.transpose(2, 0, 1).copy()), int(self.labels[number])


def predict(net: nn.Module, images: NDArray[np.uint8], batch: int = 256) -> NDArray[np.float32]:
    """Probabilities (n, classes) of crops (n, SIDE, SIDE, 3)."""
    net.eval()
    device = next(net.parameters()).device
    out = []
    with torch.no_grad():
        for i in range(0, len(images), batch):
            x = torch.from_numpy(images[i : i + batch].transpose(0, 3, 1, 2).copy()).to(device).float() / 255
            out.append(net(x).softmax(1).cpu().numpy())
    return np.concatenate(out)


def fit(
    data: Path,
    run: Path,
    hours: float,
    batch: int,
    lr: float,
    device: str,
    start: Path | None = None,
    seed: int = 0,
) -> NamingNet:
    """Train for a given time, learning rate along a cosine; ``last.pt`` in ``run`` after every minute.

    ``start``: weights to go on from.
    """
    run.mkdir(parents=True, exist_ok=True)
    net = NamingNet()
    if start is not None:
        net.load_state_dict(torch.load(start, map_location="cpu", weights_only=True)["weights"])
    net = net.to(device).to(memory_format=torch.channels_last)
    loader = iter(DataLoader(Crops(data, seed), batch_size=batch, num_workers=1 if device == "cpu" else 8))
    decay = [p for p in net.parameters() if p.ndim > 1]
    rest = [p for p in net.parameters() if p.ndim <= 1]
    optimizer = torch.optim.AdamW([{"params": decay, "weight_decay": 0.02}, {"params": rest, "weight_decay": 0}], lr=lr)
    average = {key: value.detach().clone() for key, value in net.state_dict().items()}
    began = said = time.time()
    seen = 0
    losses: list[float] = []
    while (done := (time.time() - began) / (hours * 3600)) < 1:
        for group in optimizer.param_groups:
            group["lr"] = lr * min(1.0, done / 0.03 + 0.02) * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * done)))
        images, labels = next(loader)
        net.train()
        x = images.to(device).float().div_(255).contiguous(memory_format=torch.channels_last)
        with torch.autocast(device.split(":")[0], torch.bfloat16):
            loss = nn.functional.cross_entropy(net(x).float(), labels.to(device), label_smoothing=0.05)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(net.parameters(), 5.0)
        optimizer.step()
        seen += len(labels)
        losses.append(float(loss.detach()))
        keep = min(0.998, seen / (seen + 20 * batch))
        for key, value in net.state_dict().items():
            if value.dtype.is_floating_point:
                average[key].mul_(keep).add_(value.detach(), alpha=1 - keep)
            else:
                average[key].copy_(value)
        if time.time() - said > 60:
            said = time.time()
            row: dict[str, Any] = {
                "done": round(done, 3),
                "seen": seen,
                "loss": round(float(np.mean(losses[-100:])), 4),
            }
            print(json.dumps(row), flush=True)
            torch.save({"weights": average, **row}, run / "last.pt")
    torch.save({"weights": average, "seen": seen, "hours": hours}, run / "last.pt")
    net.load_state_dict(average)
    return net.eval()


def write_onnx(state: Path, to: Path) -> int:
    """Export trained weights in floating point; returns how many crops they have seen."""
    held = torch.load(state, map_location="cpu", weights_only=True)
    net = NamingNet(len(held["weights"]["head.bias"]))
    net.load_state_dict(held["weights"])
    torch.onnx.export(
        net.eval(), (torch.zeros(2, 3, SIDE, SIDE),), str(to), input_names=["crops"], output_names=["logits"],
        dynamic_axes={"crops": {0: "n"}, "logits": {0: "n"}}, opset_version=17, dynamo=False,
    )  # fmt: skip
    return int(held["seen"])
