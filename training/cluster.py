"""Draws one instrument cluster with lamps lit and unlit; ``training.camera`` makes a photo of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.random import Generator

from training.glyphs import Mask, drawings, lamp_mask, silhouettes, words
from training.instruments import RGB, Canvas, Lamp, Layer, dial, gauge, needle, scaled, screen
from training.lamps import FREQUENT, LAMP_COLORS, emission

WIDTH = 1600  # canvas width in pixels; lamps are 22 to 76 of them high


@dataclass
class Cluster:
    """Two layers of linear light, the lit lamps, and which pixels belong to the cluster (uint8, 0 or 255)."""

    reflect: Layer
    glow: Layer
    lamps: list[Lamp]
    shape: Mask
    digital: bool = False


def _slots(c: Canvas, size: float, count: int, rng: Generator) -> list[tuple[float, float]]:
    """Centres of ``count`` lamps: in rows and small groups on pixels where nothing is drawn yet."""
    found: list[tuple[float, float]] = []
    free = cv2.erode(255 - c.busy, np.ones((int(size), int(size * 1.1)), np.uint8))
    ys, xs = np.nonzero(free[::6, ::6])
    if not len(xs):
        return found

    def fits(x: float, y: float) -> bool:
        inside = 0 <= x < free.shape[1] and 0 <= y < free.shape[0] and free[int(y), int(x)]
        return bool(inside) and all(abs(x - a) > size or abs(y - b) > size * 0.8 for a, b in found)

    for _ in range(60):
        i = int(rng.integers(len(xs)))
        x, y = float(xs[i] * 6), float(ys[i] * 6)
        pitch = size * float(rng.uniform(1.05, 1.9))
        dx, dy = (pitch, 0.0) if rng.random() < 0.75 else (0.0, pitch)
        for _ in range(int(rng.integers(1, 8))):
            if len(found) >= count or not fits(x, y):
                break
            found.append((x, y))
            x, y = x + dx, y + dy
    return found


def _lamps(c: Canvas, labels: Sequence[str], rng: Generator, digital: bool) -> None:
    """Fill the free places with lamps; some are lit, some only visible as grey plastic, some are decoys."""
    size = float(np.exp(rng.uniform(np.log(26), np.log(66))))
    slots = _slots(c, size * 1.35, int(rng.integers(10, 44)), rng)
    weights = np.array([3.0 if name in FREQUENT else 1.0 for name in labels])
    order = rng.choice(len(labels), size=len(labels), replace=False, p=weights / weights.sum())
    lit_share = float(rng.choice([0.15, 0.4, 0.7, 0.95], p=[0.2, 0.25, 0.3, 0.25]))
    decoys = drawings().get("distractor", [])
    power = float(np.exp(rng.uniform(np.log(0.5), np.log(5))))
    for n, (x, y) in enumerate(slots):
        if decoys and rng.random() < 0.06:
            c.stamp(decoys[int(rng.integers(len(decoys)))], x, y, size * 0.8, c.ink, scaled(c.light, rng.uniform(0, 1)))
            continue
        label = labels[order[n % len(order)]]
        mask, is_text = lamp_mask(label, rng)
        lines = 1 if mask.shape[1] > 1.8 * mask.shape[0] else 2
        height = size * float(rng.uniform(0.85, 1.15)) * (0.5 * lines if is_text else 1.0)
        height = min(height, 2.6 * size * mask.shape[0] / mask.shape[1])
        if rng.random() > lit_share:
            grey = float(np.clip(c.reflect[int(y), int(x)].mean() + rng.normal(0, 0.03), 0, 1))
            c.stamp(mask, x, y, height, (grey, grey, grey), None)
            continue
        _light(c, label, mask, (x, y), height, power * float(rng.uniform(0.7, 1.4)), rng, digital)


def _light(
    c: Canvas,
    label: str,
    mask: Mask,
    at: tuple[float, float],
    height: float,
    power: float,
    rng: Generator,
    digital: bool,
) -> None:
    """Switch one lamp on."""
    if label == "door_open" and silhouettes() and rng.random() < 0.25:
        _car_with_open_doors(c, at, height * float(rng.uniform(1.2, 2.6)), power, rng)
        return
    if (placed := c.place(mask, at[0], at[1], height)) is None:
        return
    small, where = placed
    choices = LAMP_COLORS[label]
    color = str(rng.choice(list(choices), p=np.array(list(choices.values())) / sum(choices.values())))
    power = min(power, 2.0) if digital else power
    if color == "white":
        power = min(power, 1.5)
    c.glow[where] = np.maximum(c.glow[where], small[..., None] * emission(color, rng) * power)
    # Light leaks through the plastic around the pictogram.
    if not digital and rng.random() < 0.4:
        c.glow[where] += emission(color, rng) * power * float(rng.uniform(0.005, 0.05))
    _note(c, label, color, small, where)


def _car_with_open_doors(c: Canvas, at: tuple[float, float], height: float, power: float, rng: Generator) -> None:
    """A white car that is always lit, and beside it the doors that are open, in red: one lamp, as on many screens."""
    cars = silhouettes()
    car = cars[int(rng.integers(len(cars)))]
    h, w = car.shape
    wide = np.zeros((h, int(w * 2.2)), np.uint8)
    x0 = (wide.shape[1] - w) // 2
    doors = wide.copy()
    wide[:, x0 : x0 + w] = car
    thick, reach = max(5, h // 18), w * float(rng.uniform(0.3, 0.5))
    for left, y in [(bool(s), v) for s in rng.permutation(2) for v in (0.42, 0.62)][: int(rng.integers(1, 5))]:
        hinge = (x0 if left else x0 + w, int(h * y))
        tip = (int(hinge[0] - reach if left else hinge[0] + reach), int(hinge[1] + reach * rng.uniform(0.2, 0.9)))
        cv2.line(doors, hinge, tip, 255, thick, cv2.LINE_AA)
    placed, marks = c.place(wide, *at, height), c.place(doors, *at, height)
    if placed is None or marks is None:
        return
    small, where = placed
    red = "red" if rng.random() < 0.85 else "amber"
    c.glow[where] = np.maximum(c.glow[where], small[..., None] * emission("white", rng) * min(power, 0.9))
    c.glow[where] = np.maximum(c.glow[where], marks[0][..., None] * emission(red, rng) * min(power, 2.0))
    _note(c, "door_open", red, np.maximum(small, marks[0]), where)


def _note(c: Canvas, label: str, color: str, small: Layer, where: tuple[slice, slice]) -> None:
    """Write a lamp that was lit into the labels, with the outline of what glows."""
    lit = (small > 0.35).astype(np.uint8)
    contours, _ = cv2.findContours(lit, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    if not contours:
        return
    y0, x0 = where[0].start, where[1].start
    hull = cv2.convexHull(np.vstack(contours)).reshape(-1, 2).astype(np.float32)
    # Contours run through pixel centres: half a pixel outwards is the edge.
    center = hull.mean(axis=0)
    hull = hull + 0.5 + 0.5 * np.sign(hull - center) + np.array([x0, y0], np.float32)
    c.lamps.append((Lamp(label, color, hull), (small > 0.35).astype(np.uint8), (y0, x0)))


def _message(c: Canvas, labels: Sequence[str], rng: Generator) -> None:
    """A message window of a screen: a large pictogram, words in its colour below or beside it."""
    known = [name for name in _MESSAGES if name in labels]
    if not known:
        return
    label = str(rng.choice(known))
    size = float(rng.uniform(45, 110))
    slots = _slots(c, size * 2.2, 1, rng)
    if not slots:
        return
    x, y = slots[0]
    if rng.random() < 0.5:  # the window's own ground and frame
        r, half = (0.3, 0.35, 0.4), int(size * 1.05)
        cv2.rectangle(c.glow, (int(x) - half, int(y) - half), (int(x) + half, int(y) + half), (0.01, 0.02, 0.05), -1)
        if rng.random() < 0.5:
            cv2.rectangle(c.glow, (int(x) - half, int(y) - half), (int(x) + half, int(y) + half), r, 2)
    mask = drawings()[label][int(rng.integers(len(drawings()[label])))]
    # Most of these are yellow whatever the lamp's own colour; the words are in white or the pictogram's colour.
    before = len(c.lamps)
    _light(c, label, mask, (x, y - size * 0.3), size * 0.75, float(rng.uniform(0.5, 1.5)), rng, digital=True)
    if len(c.lamps) > before:
        text = words(_MESSAGES[label][int(rng.integers(len(_MESSAGES[label])))], rng, 40)
        tint = scaled((0.9, 0.95, 1.0), 0.8) if rng.random() < 0.5 else (0.9, 0.5, 0.05)
        tall = min(size * 0.28 * (1 + text.shape[0] // 60), 1.9 * size * text.shape[0] / text.shape[1])
        c.stamp(text, x, y + size * 0.45, tall, None, tint)
    c.busy[max(0, int(y - size)) : int(y + size), max(0, int(x - size)) : int(x + size)] = 255


_MESSAGES: dict[str, tuple[str, ...]] = {
    "low_fuel": ("LOW FUEL", "Please refuel", "Fuel level low"),
    "airbag": ("Front left|malfunction", "Restraint system|Service required"),
    "door_open": ("Door open", "Driver door|open"),
    "tpms": ("Check tyre pressure", "Tyre pressure low"),
    "check_engine": ("Check engine", "Engine fault|Service now"),
    "brake_system": ("Brake fluid low", "Brake system problem|See your dealer"),
    "service": ("Service due", "Service in|300 km"),
    "washer_fluid": ("Washer fluid low",),
    "battery_charge": ("Battery not|charging",),
    "oil_pressure": ("Oil pressure low|Stop engine",),
    "coolant_temp": ("Engine too hot", "Coolant temperature|high"),
    "power_steering": ("Steering assist|fault",),
    "transmission": ("Gearbox fault", "Transmission|too hot"),
    "immobilizer": ("Key not detected", "No key in|the car"),
    "ev_fault": ("EV system fault", "Hybrid system|problem"),
}


def _outline(h: int, w: int, rng: Generator) -> Mask:
    """The cluster's own shape: a box with round corners, an arch, or one bump per dial."""
    shape = np.zeros((h, w), np.uint8)
    kind = int(rng.integers(3))
    if kind == 0:
        r = int(rng.integers(10, 90))
        cv2.rectangle(shape, (r, 0), (w - r, h), 255, -1)
        cv2.rectangle(shape, (0, r), (w, h - r), 255, -1)
        for x in (r, w - r):
            for y in (r, h - r):
                cv2.circle(shape, (x, y), r, 255, -1)
    elif kind == 1:
        cv2.ellipse(shape, (w // 2, int(h * 0.62)), (w // 2, int(h * 0.62)), 0, 180, 360, 255, -1)
        cv2.rectangle(shape, (0, int(h * 0.61)), (w, int(h * 0.9)), 255, -1)
        cv2.ellipse(shape, (w // 2, int(h * 0.9)), (w // 2, int(h * 0.1)), 0, 0, 180, 255, -1)
    else:
        for middle in (0.22, 0.5, 0.78):
            cv2.circle(shape, (int(w * middle), h // 2), int(min(h * 0.5, w * 0.23)), 255, -1)
        cv2.rectangle(shape, (int(w * 0.1), int(h * 0.2)), (int(w * 0.9), int(h * 0.85)), 255, -1)
    return shape


def draw_cluster(rng: Generator, labels: Sequence[str] = tuple(LAMP_COLORS)) -> Cluster:
    """One random cluster, WIDTH pixels wide, showing lamps out of ``labels``."""
    w, h = WIDTH, int(rng.integers(520, 860))
    digital = bool(rng.random() < 0.22)
    base = float(
        rng.choice([rng.uniform(0.003, 0.03), rng.uniform(0.03, 0.12), rng.uniform(0.12, 0.3)], p=[0.55, 0.3, 0.15])
    )
    base = base * 0.3 if digital else base
    tint = 1 + rng.normal(0, 0.06, 3) + (np.array([0, 0.1, 0.5]) if rng.random() < 0.15 else 0)
    reflect = np.ones((h, w, 3), np.float32) * (base * tint).astype(np.float32)
    if rng.random() < 0.3:  # brushed metal or fine plastic grain
        grain = rng.normal(0, 1, (h, w // (1 if rng.random() < 0.5 else 24) + 1)).astype(np.float32)
        reflect *= np.clip(1 + 0.25 * cv2.resize(grain, (w, h), interpolation=cv2.INTER_LINEAR), 0.3, 2)[..., None]
    c = Canvas(reflect, np.zeros_like(reflect), np.zeros((h, w), np.uint8), rng)
    ink = float(rng.uniform(0.3, 0.85))
    c.ink = (ink, ink, ink)
    hues: list[RGB] = [(1, 1, 1), (0.8, 0.9, 1.0), (1, 0.03, 0.02), (1, 0.35, 0.05), (0.1, 0.3, 1), (0.2, 1, 0.4)]
    hue = hues[int(rng.choice(6, p=[0.42, 0.16, 0.18, 0.11, 0.09, 0.04]))]
    c.light = scaled(
        hue, float(np.exp(rng.uniform(np.log(0.02), np.log(1.3)))) if not digital else rng.uniform(0.4, 1.2)
    )
    if digital and rng.random() < 0.6:
        ramp = np.linspace(0, rng.uniform(0.02, 0.3), h, dtype=np.float32)[:, None, None]
        c.glow += ramp * np.array([0.1, 0.25, 1.0], np.float32)
    layout = int(rng.integers(4))
    big = min(h * 0.46, 330) * float(rng.uniform(0.8, 1.0))
    dials = {
        0: [(w * 0.25, h * 0.52, big), (w * 0.75, h * 0.52, big)],
        1: [(w * 0.5, h * 0.52, big), (w * 0.16, h * 0.6, big * 0.62), (w * 0.84, h * 0.6, big * 0.62)],
        2: [(w * 0.5, h * 0.52, big)],
        3: [
            (w * 0.28, h * 0.5, big * 0.85),
            (w * 0.72, h * 0.5, big * 0.85),
            (w * 0.08, h * 0.7, big * 0.3),
            (w * 0.92, h * 0.7, big * 0.3),
        ],
    }[layout]
    for x, y, r in dials:
        dial(c, x, y, r, rng, digital)
        if rng.random() < 0.35:
            gauge(c, x + rng.uniform(-0.3, 0.3) * r, y + r * 0.5, r * 0.25, rng)
    if layout in (0, 3) and rng.random() < 0.85:
        sw, sh = float(rng.uniform(120, 300)), float(rng.uniform(120, 380))
        screen(c, w / 2 - sw / 2, h * float(rng.uniform(0.4, 0.6)) - sh / 2, sw, min(sh, h * 0.6), rng)
    elif rng.random() < 0.8:
        screen(
            c,
            w / 2 - 110,
            h * float(rng.uniform(0.62, 0.75)),
            float(rng.uniform(140, 260)),
            float(rng.uniform(40, 90)),
            rng,
        )
    if rng.random() < 0.5:
        gauge(c, w * float(rng.uniform(0.1, 0.9)), h * float(rng.uniform(0.2, 0.8)), float(rng.uniform(35, 80)), rng)
    shape = _outline(h, w, rng)
    c.busy[cv2.erode(shape, np.ones((25, 25), np.uint8)) == 0] = 255
    if rng.random() < (0.5 if digital else 0.2):
        _message(c, labels, rng)
    _lamps(c, labels, rng, digital)
    for x, y, r in dials:
        if rng.random() < (0.25 if digital else 0.95):
            needle(c, x, y, r, rng)
    return Cluster(c.reflect, c.glow, [lamp for lamp, _, _ in c.lamps], shape, digital)


def draw_board(
    rng: Generator,
    labels: Sequence[str] = tuple(LAMP_COLORS),
    pitch: float = 86,
    draw: Callable[[str, Generator], tuple[Mask, bool]] = lamp_mask,
) -> Cluster:
    """A board full of lit lamps, every label equally likely: many lamps for the price of one photo.

    No car looks like that, so it teaches the naming of crops, not where lamps are. ``draw`` gives a lamp's drawing and
    whether it is a word; other makers' drawings test what was learnt from ours.
    """
    w, h = WIDTH, 800
    reflect = np.ones((h, w, 3), np.float32) * float(np.exp(rng.uniform(np.log(0.004), np.log(0.35))))
    reflect *= 1 + rng.normal(0, 0.08, 3).astype(np.float32)
    c = Canvas(reflect, np.zeros_like(reflect), np.zeros((h, w), np.uint8), rng)
    digital = bool(rng.random() < 0.25)
    size = float(np.exp(rng.uniform(np.log(24), np.log(58))))
    power = float(np.exp(rng.uniform(np.log(0.4), np.log(12))))
    for y in np.arange(pitch * 0.7, h - pitch * 0.5, pitch):
        for x in np.arange(pitch * 0.7, w - pitch * 0.5, pitch):
            label = labels[int(rng.integers(len(labels)))]
            mask, is_text = draw(label, rng)
            lines = 1 if mask.shape[1] > 1.8 * mask.shape[0] else 2
            height = size * float(rng.uniform(0.85, 1.15)) * (0.5 * lines if is_text else 1.0)
            height = min(height, 0.95 * pitch * mask.shape[0] / mask.shape[1], 0.95 * pitch)
            if rng.random() < 0.3:  # something beside it: a ring, a tick, another patch of plastic
                p = (int(x + rng.normal(0, pitch * 0.5)), int(y + rng.normal(0, pitch * 0.5)))
                tone = float(rng.uniform(0, 0.6))
                cv2.circle(c.reflect, p, int(rng.uniform(15, 90)), (tone, tone, tone), int(rng.choice([2, 4, -1])))
            at = (float(x + rng.normal(0, 3)), float(y + rng.normal(0, 3)))
            _light(c, label, mask, at, height, power * float(rng.uniform(0.6, 1.6)), rng, digital)
    for _ in range(int(rng.integers(0, 5))):
        needle(c, float(rng.uniform(0, w)), float(rng.uniform(0, h)), float(rng.uniform(150, 400)), rng)
    return Cluster(c.reflect, c.glow, [lamp for lamp, _, _ in c.lamps], np.full((h, w), 255, np.uint8), digital)
