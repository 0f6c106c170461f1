"""Draws flames and smoke onto a photo of undamaged cars: the sample of an accident that yangche ships.

python -m training.flames PHOTO --place 0.79,0.46 --size 0.2 --out app/accident.jpg

No model is trained on such pictures, and no figure comes from them: they only show what an answer looks like.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import cv2
import numpy as np
import typer
from numpy.random import Generator
from numpy.typing import NDArray

Layer = NDArray[np.float32]


def noise(shape: tuple[int, int], cell: float, rng: Generator, octaves: int = 5) -> Layer:
    """Smooth noise in 0..1 of shape (height, width): value noise, each octave half the size and weight of the last."""
    total, weight = np.zeros(shape, np.float32), 0.0
    for octave in range(octaves):
        size = max(2.0, cell / 2**octave)
        grid = rng.random((int(shape[0] / size) + 3, int(shape[1] / size) + 3)).astype(np.float32)
        total += cv2.resize(grid, (shape[1], shape[0]), interpolation=cv2.INTER_CUBIC) / 2**octave
        weight += 1 / 2**octave
    return np.asarray(np.clip(total / np.float32(weight), 0, 1), np.float32)


def _plume(
    shape: tuple[int, int], foot: tuple[float, float], height: float, width: float, lean: float, rng: Generator
) -> Layer:
    """How much of a plume is at each pixel (0..1): wide at half its height, ragged, leaning with the wind."""
    y, x = np.mgrid[: shape[0], : shape[1]].astype(np.float32)
    up = (foot[1] - y) / np.float32(height)
    ragged = (noise(shape, width * 0.7, rng) - 0.5) * 2
    axis = np.float32(foot[0]) + np.float32(lean * height) * up.clip(0) ** 1.4 + ragged * np.float32(width * 0.5)
    half = np.float32(width) * (0.35 + 0.5 * np.sin(np.pi * up.clip(0, 1) ** 0.6))
    inside = 1 - np.abs(x - axis) / np.maximum(half, 1)
    fade = np.clip(1.15 - up, 0, 1) * np.clip(up * 8 + 0.6, 0, 1)
    return np.asarray(np.clip(inside * 1.6, 0, 1) * fade, np.float32)


def burn(rgb: NDArray[np.uint8], foot: tuple[float, float], size: float, rng: Generator) -> NDArray[np.uint8]:
    """The photo (H, W, 3) with a fire of about ``size`` pixels in width at ``foot`` (x, y)."""
    shape = (rgb.shape[0], rgb.shape[1])
    out = rgb.astype(np.float32)
    smoke = _plume(shape, (foot[0], foot[1] - 0.3 * size), 2.6 * size, 1.1 * size, -0.25, rng)
    grey = 25 + 90 * noise(shape, size * 0.35, rng)
    veil = (0.93 * np.clip(smoke * (0.45 + noise(shape, size * 0.3, rng)), 0, 1))[..., None]
    out = np.asarray(out * (1 - veil) + grey[..., None] * veil, np.float32)
    y, x = np.mgrid[: shape[0], : shape[1]].astype(np.float32)
    glow = np.exp(-(((x - foot[0]) / (1.3 * size)) ** 2 + ((y - foot[1]) / (0.9 * size)) ** 2))[..., None]
    out = np.asarray(out * (1 - 0.25 * glow) + np.array([255, 130, 30], np.float32) * 0.35 * glow, np.float32)
    heat: Layer = np.zeros(shape, np.float32)
    for _ in range(7):
        at = foot[0] + float(rng.uniform(-0.45, 0.45)) * size
        tall = float(rng.uniform(0.5, 1.15)) * size
        one = _plume(shape, (at, foot[1]), tall, 0.3 * size, float(rng.uniform(-0.3, 0.2)), rng)
        heat = np.asarray(np.maximum(heat, one), np.float32)
    heat = np.asarray(np.clip(heat * (0.55 + 0.75 * noise(shape, size * 0.12, rng)), 0, 1), np.float32)
    ramp = np.array([[90, 10, 0], [220, 60, 5], [255, 140, 20], [255, 215, 90], [255, 250, 215]], np.float32)
    stops = np.linspace(0, 1, len(ramp))
    flame = np.stack([np.interp(heat, stops, ramp[:, c]) for c in range(3)], axis=2)
    cover = np.clip(heat * 2.4 - 0.25, 0, 1)[..., None]
    out = np.asarray(out * (1 - cover) + flame * cover, np.float32)
    return np.asarray(np.clip(cv2.GaussianBlur(out, (0, 0), 0.7), 0, 255), np.uint8)


def main(
    photo: Annotated[Path, typer.Argument(help="A photo of cars that may be shipped")],
    place: Annotated[str, typer.Option(help="Where the fire stands: x,y as shares of the picture")] = "0.5,0.5",
    size: Annotated[float, typer.Option(help="Width of the fire as a share of the picture's")] = 0.2,
    out: Path = Path("app/accident.jpg"),
    seed: int = 3,
) -> None:
    """Write the picture."""
    from PIL import Image

    from vision.photo import open_photo

    rgb = open_photo(photo).rgb
    across, down = (float(v) for v in place.split(","))
    foot = (across * rgb.shape[1], down * rgb.shape[0])
    Image.fromarray(burn(rgb, foot, size * rgb.shape[1], np.random.default_rng(seed))).save(out, quality=90)


if __name__ == "__main__":
    typer.run(main)
