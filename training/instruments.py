"""The parts of a drawn cluster that are no lamps: dials, gauges, displays, needles, on a canvas of two layers.

What the surface reflects and what shines by itself are kept apart, since a camera treats them differently. Both are
linear light, float32, shape (H, W, 3), RGB.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import cv2
import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from training.glyphs import Mask, drawings, words

Layer = NDArray[np.float32]
RGB = tuple[float, float, float]


@dataclass
class Lamp:
    """A lit tell-tale: ``points`` (n, 2) float32 are pixels of the canvas that its outline runs through."""

    label: str
    color: str
    points: NDArray[np.float32]


@dataclass
class Canvas:
    """Layers under construction; ``busy`` marks pixels that a lamp must not cover."""

    reflect: Layer
    glow: Layer
    busy: Mask
    rng: Generator
    ink: RGB = (0.7, 0.7, 0.7)
    light: RGB = (0.6, 0.6, 0.6)
    lamps: list[tuple[Lamp, Mask, tuple[int, int]]] = field(default_factory=list)

    def place(self, mask: Mask, cx: float, cy: float, height: float) -> tuple[Layer, tuple[slice, slice]] | None:
        """``mask`` resized to ``height`` around a point, as 0..1, with where it lies; None if it leaves the canvas."""
        h = max(3, round(height))
        w = max(3, round(height * mask.shape[1] / mask.shape[0]))
        y, x = round(cy - h / 2), round(cx - w / 2)
        if y < 0 or x < 0 or y + h > self.busy.shape[0] or x + w > self.busy.shape[1]:
            return None
        small = cv2.resize(mask, (w, h), interpolation=cv2.INTER_AREA).astype(np.float32) / 255
        return small, (slice(y, y + h), slice(x, x + w))

    def stamp(self, mask: Mask, cx: float, cy: float, height: float, ink: RGB | None, light: RGB | None) -> None:
        """Print a mask: ``ink`` replaces what is reflected, ``light`` is added to what shines."""
        if (placed := self.place(mask, cx, cy, height)) is None:
            return
        small, at = placed
        if ink is not None:
            self.reflect[at] += small[..., None] * (np.array(ink, np.float32) - self.reflect[at])
        if light is not None:
            self.glow[at] = np.maximum(self.glow[at], small[..., None] * np.array(light, np.float32))
        self.busy[at][small > 0.2] = 255

    def draw(self, mask: Mask, ink: RGB | None, light: RGB | None, busy: bool = True) -> None:
        """Like ``stamp`` for a mask of the whole canvas."""
        x, y, w, h = cv2.boundingRect(mask)
        if not w:
            return
        at = (slice(y, y + h), slice(x, x + w))
        part = mask[at].astype(np.float32)[..., None] / 255
        if ink is not None:
            self.reflect[at] += part * (np.array(ink, np.float32) - self.reflect[at])
        if light is not None:
            self.glow[at] = np.maximum(self.glow[at], part * np.array(light, np.float32))
        if busy:
            self.busy[at][mask[at] > 60] = 255

    def blank(self) -> Mask:
        """An empty mask of the canvas' size."""
        return np.zeros_like(self.busy)


def scaled(rgb: RGB, k: float) -> RGB:
    """A colour ``k`` times as bright."""
    return (rgb[0] * k, rgb[1] * k, rgb[2] * k)


def dial(c: Canvas, cx: float, cy: float, r: float, rng: Generator, digital: bool) -> None:
    """Ring, face, ticks and numerals."""
    center = (round(cx), round(cy))
    face, ring, ticks, red = c.blank(), c.blank(), c.blank(), c.blank()
    tint = float(rng.uniform(0.004, 0.1))
    color = (tint, tint, tint) if rng.random() < 0.65 else scaled((rng.random(), rng.random(), 1.0), tint * 1.5)
    cv2.circle(face, center, round(r), 255, -1, cv2.LINE_AA)
    c.draw(face, color if not digital else None, None, busy=False)
    if rng.random() < 0.85:
        cv2.circle(ring, center, round(r), 255, int(rng.integers(2, 14)), cv2.LINE_AA)
        chrome = float(rng.uniform(0.15, 0.8))
        glow = scaled(c.light, rng.uniform(0.3, 1)) if digital or rng.random() < 0.25 else None
        c.draw(ring, (chrome, chrome, chrome * 1.03) if not digital else None, glow)
    if rng.random() < 0.3:  # an inner ring that shines: blue, orange, white
        inner = c.blank()
        cv2.circle(inner, center, round(r * rng.uniform(0.45, 0.7)), 255, int(rng.integers(2, 40)), cv2.LINE_AA)
        hue = [(0.05, 0.1, 1.0), (1.0, 0.3, 0.02), (0.8, 0.8, 0.9), (1, 0.02, 0.02)][int(rng.integers(4))]
        c.draw(inner, None, scaled(hue, rng.uniform(0.05, 0.6)))
    start, sweep = float(rng.uniform(110, 150)), float(rng.uniform(180, 280))
    majors = int(rng.integers(5, 12))
    minor = int(rng.choice([2, 4, 5, 10]))
    for i in range(majors * minor + 1):
        a = np.deg2rad(start + sweep * i / (majors * minor))
        major = i % minor == 0
        r1 = r * (0.80 if major else 0.87)
        p, q = (cx + r1 * np.cos(a), cy + r1 * np.sin(a)), (cx + r * 0.94 * np.cos(a), cy + r * 0.94 * np.sin(a))
        target = red if i > majors * minor * 0.82 and majors < 10 else ticks
        cv2.line(target, (round(p[0]), round(p[1])), (round(q[0]), round(q[1])), 255, 4 if major else 2, cv2.LINE_AA)
    if rng.random() < 0.35:
        cv2.ellipse(red, center, (round(r * 0.9),) * 2, 0, start + sweep * 0.83, start + sweep, 255, int(r * 0.06) + 2)
    c.draw(ticks, c.ink, c.light)
    redink = (0.6, 0.02, 0.03)
    c.draw(red, redink, scaled(redink, rng.uniform(0, 1.4)))
    step = 1 if majors <= 9 else 20
    size = r * float(rng.uniform(0.11, 0.17))
    font_seed = int(rng.integers(1 << 30))
    for i in range(majors + 1):
        a = np.deg2rad(start + sweep * i / majors)
        mask = words(str(i * step), np.random.default_rng(font_seed), size=40)
        c.stamp(mask, cx + r * 0.66 * np.cos(a), cy + r * 0.66 * np.sin(a), size, c.ink, c.light)
    unit = ["km/h", "x1000rpm", "1/min", "mph", "r/min"][int(rng.integers(5))]
    c.stamp(words(unit, rng, 32), cx, cy - r * 0.38, size * 0.6, c.ink, scaled(c.light, 0.8))
    for _ in range(int(rng.integers(0, 3))):  # words that are printed on the dial and are no lamps
        text = _PRINTED[int(rng.integers(len(_PRINTED)))]
        a = float(rng.uniform(0, 2 * np.pi))
        at = (cx + r * 0.45 * np.cos(a), cy + r * 0.45 * np.sin(a))
        c.stamp(words(text, rng, 32), *at, size * float(rng.uniform(0.4, 0.7)), c.ink, scaled(c.light, 0.8))


_PRINTED = ("READY", "OFF", "ECO", "POWER", "CHARGE", "FUEL", "TEMP", "HYBRID", "SPORT", "UNLEADED FUEL ONLY", "P", "D")


def gauge(c: Canvas, cx: float, cy: float, r: float, rng: Generator) -> None:
    """A small fuel or temperature gauge with the pictogram that is always printed there and is no lamp."""
    arc = c.blank()
    start = float(rng.uniform(0, 360))
    cv2.ellipse(arc, (round(cx), round(cy)), (round(r), round(r)), start, 0, float(rng.uniform(80, 160)), 255, 3)
    c.draw(arc, c.ink, c.light)
    ends = ("E", "F") if (fuel := rng.random() < 0.5) else ("C", "H")
    for text, side in zip(ends, (-1, 1), strict=True):
        c.stamp(words(text, rng, 40), cx + side * r * 0.8, cy + r * 0.5, r * 0.28, c.ink, c.light)
    pictures = drawings().get("low_fuel" if fuel else "coolant_temp", [])
    if pictures:
        mask = pictures[int(rng.integers(len(pictures)))]
        c.stamp(mask, cx, cy + r * float(rng.uniform(-0.1, 0.5)), max(16, r * 0.35), c.ink, scaled(c.light, 0.9))


_LCD_TEXT = (
    "0",
    "12:45",
    "37°C",
    "km/h",
    "TRIP A",
    "1/100",
    "ODO",
    "km",
    "AVG",
    "Range",
    "P",
    "D",
    "R",
    "N",
    "S",
    "mph",
)
_MESSAGES = (
    "Not Ready to Drive|Service Required",
    "Brake system problem.|See your dealer.",
    "Check tyre pressure",
    "Average fuel economy|11.5 km/L",
    "Key not detected",
    "Please refuel",
    "Door open",
    "Front Left|Malfunction",
    "Total|17431 km",
    "Press brake pedal",
    "Distance to empty|349 km",
    "Low Washer Fluid",
    "Normal Recuperation",
)


def screen(c: Canvas, x: float, y: float, w: float, h: float, rng: Generator) -> None:
    """A display: LCD with dark digits on a lit ground, or bright digits on a dark one, or a message window."""
    x, y, w, h = (round(v) for v in (x, y, w, h))
    at = (slice(max(0, y), y + h), slice(max(0, x), x + w))
    kind = int(rng.integers(3))
    ground = [(1.0, 0.5, 0.1), (0.6, 0.9, 0.2), (1.0, 0.06, 0.03), (0.7, 0.75, 0.7), (0.2, 0.4, 1.0)][
        int(rng.integers(5))
    ]
    if kind == 0:
        c.glow[at] = np.array(scaled(ground, rng.uniform(0.1, 0.8)), np.float32)
        c.reflect[at] = 0.25
        ink, light = (0.01, 0.01, 0.01), (0.01, 0.01, 0.01)
    else:
        c.reflect[at] *= 0.4
        c.glow[at] += np.array(scaled((0.1, 0.2, 0.9), rng.uniform(0, 0.25)), np.float32)
        ink = (0.02, 0.02, 0.02)
        light = scaled(ground if rng.random() < 0.3 else (0.9, 0.95, 1.0), rng.uniform(0.3, 1.5))
    lines = [
        f"{rng.integers(1, 300000)}",
        *(_LCD_TEXT[int(i)] for i in rng.integers(len(_LCD_TEXT), size=rng.integers(1, 5))),
    ]
    if h > 90 and rng.random() < 0.6:
        lines.append(_MESSAGES[int(rng.integers(len(_MESSAGES)))])
    size = min(h / (len(lines) + 0.5), float(rng.uniform(18, 40)))
    for i, text in enumerate(lines):
        mask = words(text, rng, 40)
        tall = size * (2 if "|" in text else 1)
        fit = min(tall, 0.9 * w * mask.shape[0] / mask.shape[1])
        cy, cx = y + h * (i + 0.6) / (len(lines) + 0.2), x + w * float(rng.uniform(0.4, 0.6))
        if kind == 0 and (placed := c.place(mask, cx, cy, fit)):
            small, where = placed  # dark digits let no light through
            c.glow[where] *= 1 - small[..., None]
        c.stamp(mask, cx, cy, fit, ink, None if kind == 0 else light)
    c.busy[at] = 255


def needle(c: Canvas, cx: float, cy: float, r: float, rng: Generator) -> None:
    """A needle over everything; it hides what it crosses."""
    a = float(rng.uniform(0, 2 * np.pi))
    tip = np.array([cx + r * 0.85 * np.cos(a), cy + r * 0.85 * np.sin(a)])
    side = np.array([-np.sin(a), np.cos(a)]) * float(rng.uniform(3, 7))
    mask = c.blank()
    base = np.array([cx, cy])
    polygon = np.array([base - side, base + side, tip + side * 0.3, tip - side * 0.3]).round().astype(np.int32)
    cv2.fillConvexPoly(mask, polygon, 255, cv2.LINE_AA)
    hub = c.blank()
    cv2.circle(hub, (round(cx), round(cy)), round(r * float(rng.uniform(0.08, 0.2))), 255, -1, cv2.LINE_AA)
    hue: RGB = [(0.7, 0.03, 0.02), (0.8, 0.8, 0.8), (0.8, 0.25, 0.02)][int(rng.integers(3))]
    for part, ink, light in (
        (mask, hue, scaled(hue, rng.uniform(0, 1.5))),
        (hub, (0.03, 0.03, 0.03) if rng.random() < 0.8 else (0.6, 0.6, 0.6), (0.0, 0.0, 0.0)),
    ):
        c.glow *= 1 - part[..., None].astype(np.float32) / 255
        c.draw(part, ink, light)
    covered = np.maximum(mask, hub)
    kept = []
    for lamp, lit, (y0, x0) in c.lamps:
        hidden = covered[y0 : y0 + lit.shape[0], x0 : x0 + lit.shape[1]] > 127
        if not (lit & hidden).any():
            kept.append((lamp, lit, (y0, x0)))
            continue
        rest = (lit.astype(bool) & ~hidden).astype(np.uint8)
        if rest.sum() < 0.45 * lit.sum():
            c.glow[y0 : y0 + lit.shape[0], x0 : x0 + lit.shape[1]] *= 0.02  # too little is left to name it
            continue
        ys, xs = np.nonzero(rest)
        corners = np.array([[xs.min(), ys.min()], [xs.max() + 1, ys.max() + 1]], np.float32)
        box = np.array([[i, j] for i in corners[:, 0] for j in corners[:, 1]], np.float32) + np.array(
            [x0, y0], np.float32
        )
        kept.append((Lamp(lamp.label, lamp.color, box), rest, (y0, x0)))
    c.lamps = kept
