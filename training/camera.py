"""Makes a phone photo of a drawn cluster: perspective, light, glare, bloom, blur, noise, exposure, JPEG.

Light is added up linearly; the sensor clips each channel on its own, which is why an overexposed red lamp turns pink
or white in its core and keeps a red halo.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from training.cluster import Cluster
from training.instruments import Layer

Image8 = NDArray[np.uint8]


@dataclass(frozen=True)
class Box:
    """A label of a photo: x1, y1, x2, y2 in pixels, edges clipped to the photo."""

    label: str
    color: str | None
    xyxy: tuple[float, float, float, float]


@dataclass(frozen=True)
class Shot:
    """A rendered photo (uint8, shape (H, W, 3), RGB), its lit lamps, and the box of the cluster itself."""

    rgb: Image8
    lamps: tuple[Box, ...]
    cluster: Box


def _smooth(shape: tuple[int, int], rng: Generator, cells: int, low: float, high: float) -> Layer:
    """A soft random field in low..high, shape (H, W, 1)."""
    small = rng.uniform(low, high, (max(2, cells), max(2, int(cells * 1.6)))).astype(np.float32)
    return np.asarray(cv2.resize(small, shape[::-1], interpolation=cv2.INTER_CUBIC), np.float32)[..., None]


def _homography(w: int, h: int, fw: int, fh: int, rng: Generator) -> NDArray[np.float64]:
    """Canvas to photo: the phone is tilted, turned a little, nearer or farther, not centred."""
    width = fw * float(rng.uniform(0.66, 1.15))
    scale = width / w
    yaw, pitch, roll = rng.normal(0, 0.16), rng.normal(0, 0.18), np.deg2rad(rng.normal(0, 3.0))
    corners = np.array([[-w / 2, -h / 2], [w / 2, -h / 2], [w / 2, h / 2], [-w / 2, h / 2]]) * scale
    depth = 1 + (corners[:, 0] * np.sin(yaw) + corners[:, 1] * np.sin(pitch)) / (1.3 * fw)
    corners = corners * [np.cos(yaw), np.cos(pitch)] / depth[:, None]
    turn = np.array([[np.cos(roll), -np.sin(roll)], [np.sin(roll), np.cos(roll)]])
    corners = corners @ turn.T
    slack_x, slack_y = max(0.0, (fw - np.ptp(corners[:, 0])) / 2), max(0.0, (fh - np.ptp(corners[:, 1])) / 2)
    corners += [fw / 2 + rng.uniform(-1, 1) * (slack_x + 20), fh / 2 + rng.uniform(-1, 1) * (slack_y + 20)]
    source = np.array([[0, 0], [w, 0], [w, h], [0, h]], np.float32)
    return np.asarray(cv2.getPerspectiveTransform(source, corners.astype(np.float32)), np.float64)


def _surroundings(fw: int, fh: int, rng: Generator, backgrounds: Sequence[Image8]) -> Layer:
    """What lies around the cluster: plain trim, or a real photo (cabin, street) out of focus."""
    if len(backgrounds) and rng.random() < 0.5:
        photo = cv2.resize(backgrounds[int(rng.integers(len(backgrounds)))], (fw, fh), interpolation=cv2.INTER_LINEAR)
        linear = (photo.astype(np.float32) / 255) ** 2.2
        if rng.random() < 0.6:
            linear = np.asarray(cv2.GaussianBlur(linear, (0, 0), float(rng.uniform(2, 14))), np.float32)
        return np.asarray(linear * float(rng.uniform(0.3, 1.2)), np.float32)
    tone = rng.uniform(0.01, 0.7) * (1 + rng.normal(0, 0.08, 3))
    field = np.ones((fh, fw, 3), np.float32) * np.clip(tone, 0, 1).astype(np.float32)
    return field * _smooth((fh, fw), rng, 3, 0.5, 1.5)


def _hood(frame: Layer, alpha: Layer, rng: Generator) -> Layer:
    """The dark surround between cluster and trim, with grain."""
    grown = cv2.resize(alpha, None, fx=0.25, fy=0.25, interpolation=cv2.INTER_AREA)
    k = int(rng.integers(8, 60)) | 1
    grown = cv2.dilate(grown, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (k, k)))
    grown = cv2.GaussianBlur(grown, (0, 0), float(rng.uniform(0.6, 4)))
    near = cv2.resize(grown, (frame.shape[1], frame.shape[0]), interpolation=cv2.INTER_LINEAR)[..., None]
    tone = float(rng.uniform(0.003, 0.12))
    plastic = tone * _smooth((frame.shape[0], frame.shape[1]), rng, 4, 0.4, 1.6) * np.ones(3, np.float32)
    return np.asarray(frame * (1 - near) + plastic * near, np.float32)


def _wheel(frame: Layer, rng: Generator) -> NDArray[np.float32]:
    """The steering wheel's rim in front of the cluster, as coverage (H, W, 1); mostly only the picture's edges."""
    h, w = frame.shape[:2]
    mask = np.zeros((h, w), np.uint8)
    for edge in (0, 1):
        if rng.random() < 0.3:
            thick = int(rng.integers(30, 140))
            cy = int(h * (1.35 if edge else -0.35)) + int(rng.integers(-40, 40))
            axes = (int(w * rng.uniform(0.55, 0.8)), int(h * rng.uniform(0.3, 0.42)))
            cv2.ellipse(mask, (int(w * rng.uniform(0.3, 0.7)), cy), axes, 0, 0, 360, 255, thick, cv2.LINE_AA)
    return np.asarray(cv2.GaussianBlur(mask, (0, 0), 2.5), np.float32)[..., None] / np.float32(255)


def _daylight(fw: int, fh: int, rng: Generator) -> Layer:
    """How much light falls on the cluster: dusk to sun, with a hard-edged patch of sun now and then."""
    level = float(np.exp(rng.uniform(np.log(0.03), np.log(1.6))))
    light = level * _smooth((fh, fw), rng, 3, 0.5, 1.5)
    if rng.random() < 0.25:
        patch = np.zeros((fh, fw), np.uint8)
        points = rng.uniform(-0.2, 1.2, (4, 2)) * [fw, fh]
        cv2.fillConvexPoly(patch, cv2.convexHull(points.astype(np.int32)), 255)
        soft = cv2.GaussianBlur(patch, (0, 0), float(rng.uniform(1, 25))).astype(np.float32)[..., None] / 255
        light = light * (1 + soft * float(rng.uniform(1, 4)))
    return np.asarray(light, np.float32)


def _veil(fw: int, fh: int, rng: Generator, backgrounds: Sequence[Image8]) -> Layer:
    """Reflections on the cover glass: a pale haze, streaks, windows, a mirrored photo."""
    out = np.zeros((fh, fw, 3), np.float32)
    if rng.random() < 0.55:
        tint = 1 + rng.normal(0, 0.07, 3)
        strength = float(rng.choice([0.04, 0.15, 0.4], p=[0.5, 0.35, 0.15]))
        out += _smooth((fh, fw), rng, 3, 0.0, strength) * tint.astype(np.float32)
    if rng.random() < 0.35:
        streak = np.zeros((fh // 4, fw // 4), np.uint8)
        for _ in range(int(rng.integers(1, 4))):
            points = rng.uniform(-0.1, 1.1, (4, 2)) * [fw // 4, fh // 4]
            cv2.fillConvexPoly(streak, cv2.convexHull(points.astype(np.int32)), int(rng.integers(60, 255)))
        streak = cv2.GaussianBlur(streak, (0, 0), float(rng.uniform(1, 12)))
        out += cv2.resize(streak, (fw, fh)).astype(np.float32)[..., None] / 255 * float(rng.uniform(0.02, 0.3))
    if len(backgrounds) and rng.random() < 0.25:
        photo = cv2.resize(backgrounds[int(rng.integers(len(backgrounds)))], (fw // 4, fh // 4))
        photo = cv2.GaussianBlur(photo, (0, 0), float(rng.uniform(1, 4)))
        out += (cv2.resize(photo, (fw, fh)).astype(np.float32) / 255) ** 2.2 * float(rng.uniform(0.02, 0.25))
    return np.clip(out, 0, None)


def _bloom(glow: Layer, rng: Generator) -> Layer:
    """Light scattered in lens and cover: a tight and a wide halo, sometimes a smear downwards or upwards."""
    k = float(rng.choice([0.15, 0.5, 1.2], p=[0.4, 0.4, 0.2]))
    half = cv2.resize(glow, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
    out = cv2.GaussianBlur(half, (0, 0), float(rng.uniform(1, 3))) * 0.18 * k
    eighth = cv2.resize(half, None, fx=0.25, fy=0.25, interpolation=cv2.INTER_AREA)
    wide = cv2.GaussianBlur(eighth, (0, 0), float(rng.uniform(1.5, 5))) * 0.22 * k
    if rng.random() < 0.3:
        kernel = np.zeros((61, 1), np.float32)
        kernel[: 30 if rng.random() < 0.5 else 61] = 1 / 61
        wide += cv2.filter2D(eighth, -1, kernel) * 0.5 * k
    if rng.random() < 0.3:  # the hood or the cover glass mirrors the lamps, blurred and some way off
        ghost = cv2.GaussianBlur(eighth, (0, 0), float(rng.uniform(0.5, 3)))
        shift = np.array([[1, 0, rng.uniform(-6, 6)], [0, 1, rng.uniform(5, 25) * rng.choice([-1, 1])]], np.float32)
        wide += cv2.warpAffine(ghost, shift, (ghost.shape[1], ghost.shape[0])) * float(rng.uniform(0.02, 0.15))
    out += cv2.resize(wide, (half.shape[1], half.shape[0]))
    return np.asarray(cv2.resize(out, (glow.shape[1], glow.shape[0])), np.float32)


def _motion(rgb: Layer, rng: Generator) -> Layer:
    n = int(rng.integers(3, 9))
    kernel = np.zeros((n, n), np.float32)
    a = rng.uniform(0, np.pi)
    d = np.array([np.cos(a), np.sin(a)]) * n / 2
    p, q = (n / 2 - d).round().astype(int), (n / 2 + d).round().astype(int)
    cv2.line(kernel, (int(p[0]), int(p[1])), (int(q[0]), int(q[1])), 1.0)
    return np.asarray(cv2.filter2D(rgb, -1, kernel / max(1e-6, kernel.sum())), np.float32)


def _sensor(linear: Layer, rng: Generator) -> Image8:
    """Blur, clipping, tone curve, noise, white balance, sharpening, JPEG."""
    r = rng.random()
    if r < 0.6:
        linear = np.asarray(cv2.GaussianBlur(linear, (0, 0), float(rng.uniform(0.5, 1.6))), np.float32)
    elif r < 0.7:
        linear = np.asarray(cv2.GaussianBlur(linear, (0, 0), float(rng.uniform(1.6, 2.8))), np.float32)
    if rng.random() < 0.12:
        linear = _motion(linear, rng)
    linear = np.asarray(linear * (1 + rng.normal(0, 0.05, 3)), np.float32)
    if rng.random() < 0.4:  # phones compress highlights
        linear = np.asarray(linear * (1 + linear / 9) / (1 + linear), np.float32)
        peak = float(np.percentile(linear[::8, ::8], 99.7))
        linear = np.asarray(linear / max(0.35, peak) if rng.random() < 0.5 else linear * 1.3, np.float32)
    x = np.clip(linear, 0, 1) ** (1 / float(rng.uniform(1.8, 2.4))) * 255
    grain = float(rng.choice([0.8, 3, 8], p=[0.5, 0.35, 0.15]))
    noise = rng.standard_normal((x.shape[0] // 2, x.shape[1] // 2, 3), np.float32) * grain
    noise = cv2.resize(noise, (x.shape[1], x.shape[0]), interpolation=cv2.INTER_LINEAR)
    x += noise
    if rng.random() < 0.45:
        soft = cv2.GaussianBlur(x, (0, 0), float(rng.uniform(0.8, 2)))
        x += (x - soft) * float(rng.uniform(0.3, 1.6))
    rgb = np.clip(x, 0, 255).astype(np.uint8)
    if rng.random() < 0.5:  # a phone photo that a chat program has made smaller, seen larger again
        k = float(rng.uniform(0.5, 0.95))
        small = cv2.resize(rgb, None, fx=k, fy=k, interpolation=cv2.INTER_AREA)
        _, data = cv2.imencode(".jpg", small, [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(45, 96))])
        small = cv2.imdecode(data, cv2.IMREAD_COLOR)
        return np.asarray(cv2.resize(small, (rgb.shape[1], rgb.shape[0]), interpolation=cv2.INTER_LINEAR), np.uint8)
    _, data = cv2.imencode(".jpg", rgb, [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(45, 96))])
    return np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR), np.uint8)


def _clip(points: NDArray[np.float64], fw: int, fh: int, keep: float) -> tuple[float, float, float, float] | None:
    """Bounding box of points inside the photo; None where less than ``keep`` of its area is left."""
    x1, y1 = points.min(axis=0)
    x2, y2 = points.max(axis=0)
    a, b, c, d = max(0.0, x1), max(0.0, y1), min(float(fw), x2), min(float(fh), y2)
    if c - a < 3 or d - b < 3 or (c - a) * (d - b) < keep * (x2 - x1) * (y2 - y1):
        return None
    return float(a), float(b), float(c), float(d)


def take_photo(
    cluster: Cluster, rng: Generator, backgrounds: Sequence[Image8] = (), size: tuple[int, int] | None = None
) -> Shot:
    """A photo of ``cluster``, ``size`` (width, height) pixels (default: 1600 wide, 3:2 to 2:1).

    ``backgrounds`` are RGB photos to see around the cluster and in its glass.
    """
    fw, fh = size or (1600, int(rng.integers(25, 34)) * 32)
    h, w = cluster.shape.shape
    m = _homography(w, h, fw, fh, rng)

    def warp(layer: NDArray[np.generic]) -> Layer:
        return np.asarray(cv2.warpPerspective(layer, m, (fw, fh), flags=cv2.INTER_LINEAR), np.float32)

    alpha = warp(cluster.shape.astype(np.float32) / 255)
    solid = alpha[..., None]
    frame = _surroundings(fw, fh, rng, backgrounds)
    if rng.random() < 0.85:
        frame = _hood(frame, alpha, rng)
    frame = frame * (1 - solid) + warp(cluster.reflect) * solid * _daylight(fw, fh, rng)
    glow = warp(cluster.glow) * solid
    rim = _wheel(frame, rng)
    frame = frame * (1 - rim) + float(rng.uniform(0.005, 0.1)) * rim
    glow = glow * (1 - rim)
    frame = frame + glow + _bloom(glow, rng) + _veil(fw, fh, rng, backgrounds)
    exposure = float(np.exp(rng.uniform(np.log(0.6), np.log(1.8))))
    rgb = _sensor(np.asarray(frame * exposure, np.float32), rng)

    lamps = []
    for lamp in cluster.lamps:
        points = cv2.perspectiveTransform(lamp.points[None].astype(np.float64), m)[0]
        box = _clip(points, fw, fh, 0.4)
        if box is None:
            continue
        x1, y1, x2, y2 = (round(v) for v in box)
        if rim[y1 : y2 + 1, x1 : x2 + 1].mean() > 0.4:
            continue
        lamps.append(Box(lamp.label, lamp.color, box))
    ys, xs = np.nonzero(cluster.shape[::4, ::4])
    outline = cv2.perspectiveTransform((np.stack([xs, ys], 1)[None] * 4.0).astype(np.float64), m)[0]
    whole = _clip(outline, fw, fh, 0.0) or (0.0, 0.0, float(fw), float(fh))
    return Shot(rgb, tuple(lamps), Box("cluster", None, whole))
