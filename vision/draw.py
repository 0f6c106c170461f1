"""Drawing findings on the photo: a frame around each lamp and a tag with its number and short name.

Urgency shows in colour and, for those who do not tell the colours apart, in the shape of the number's badge: octagon
(stop), diamond (soon), square (first), circle (ok), circle and dashed frame (unsure). Everything has a dark edge, so
that it reads on any ground.

The font is a subset of Noto Sans SC; NotoSansSC-LICENSE.txt says how it was made and under which licence it stands.
"""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

Level = Literal["stop", "soon", "first", "ok", "unsure"]
Rect = tuple[float, float, float, float]
Point = tuple[float, float]
Rgb = tuple[int, int, int]

MAX_SIDE = 2048
MIN_SIDE = 640
"""Smaller photos are enlarged, or the captions would cover them."""

_FONT = Path(__file__).with_name("NotoSansSC-subset.otf")
_RANK: tuple[Level, ...] = ("stop", "soon", "first", "ok", "unsure")
_COLORS: dict[Level, Rgb] = {
    "stop": (236, 54, 48),
    "soon": (255, 176, 0),
    "first": (72, 149, 255),
    "ok": (46, 182, 106),
    "unsure": (176, 184, 192),
}
_INK: Rgb = (16, 18, 22)
_PAPER: Rgb = (255, 255, 255)


@dataclass(frozen=True)
class Mark:
    """One finding to draw.

    Attributes:
        box: x1, y1, x2, y2 in pixels of the photo.
        number: the same as in the list that stands beside the picture.
        caption: short name, in one language.
        urgency: decides colour and shape.
    """

    box: Rect
    number: int
    caption: str
    urgency: Level


def annotate(rgb: NDArray[np.uint8], marks: Sequence[Mark]) -> Image.Image:
    """A copy of the photo (uint8, (h, w, 3)) with the marks on it.

    The picture that comes back is the photo's size only between `MIN_SIDE` and `MAX_SIDE` on the long side: smaller
    photos come back enlarged, larger ones reduced. Tags keep off lamps and each other; one that must stand apart is
    joined to its lamp by a line, and where captions find no room only the number is drawn.
    """
    height, width = rgb.shape[:2]
    scale = min(max(max(height, width), MIN_SIDE), MAX_SIDE) / max(height, width)
    image = Image.fromarray(np.ascontiguousarray(rgb))
    if scale != 1:
        size = (max(1, round(width * scale)), max(1, round(height * scale)))
        image = image.resize(size, Image.Resampling.LANCZOS, reducing_gap=2)
    pen = _Pen(image)
    ordered = sorted(marks, key=lambda m: (_RANK.index(m.urgency), m.number))
    frames = [pen.frame_of(mark, scale) for mark in ordered]
    tags = _placed(ordered, frames, pen)
    for mark, frame in reversed(list(zip(ordered, frames, strict=True))):
        pen.frame(frame, mark.urgency)
    for mark, frame, tag in zip(ordered, frames, tags, strict=True):
        pen.leader(frame, tag.rect, mark.urgency)
    for mark, tag in reversed(list(zip(ordered, tags, strict=True))):
        pen.tag(tag, mark)
    return image


# --- where the tags go -------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Tag:
    rect: Rect
    caption: str  # "" where only the number has room


def _placed(marks: Sequence[Mark], frames: Sequence[Rect], pen: _Pen) -> list[_Tag]:
    """A place for each tag, the most urgent first: the nearest one that covers no lamp, no tag and no leader.

    Once all have one, each may move again: a place that looked good before may now block another's view.
    """
    tags: dict[int, _Tag] = {}
    lamps = [_grown(frame, 1.5 * pen.line) for frame in frames]
    for _ in range(3):
        for i, (mark, frame) in enumerate(zip(marks, frames, strict=True)):
            others = [(frames[k], tag.rect) for k, tag in tags.items() if k != i]
            obstacles = lamps[:i] + lamps[i + 1 :] + [_grown(rect, pen.gap / 2) for _, rect in others]
            lines = [(x - 1, y - 1, x + 1, y + 1) for pair in others for x, y in _steps(*_nearest(*pair))]
            text = pen.fitted(mark.caption)
            rect, free = _best_place(frame, pen.tag_size(mark.number, text), obstacles, lines, pen)
            if text and not free:
                text = ""
                rect, free = _best_place(frame, pen.tag_size(mark.number, text), obstacles, lines, pen)
            tags[i] = _Tag(rect, text)
    return [tags[i] for i in range(len(marks))]


def _best_place(
    frame: Rect, size: Point, obstacles: Sequence[Rect], lines: Sequence[Rect], pen: _Pen
) -> tuple[Rect, bool]:
    """The best rectangle of ``size`` near ``frame``, and whether it is free of obstacles."""
    width, height = size
    x1, y1, x2, y2 = frame
    gap = 1.2 * pen.gap
    steps = height * np.array([0, 0.35, 0.7, 1.1, 1.6, 2.2, 3, 4, 5.5, 7])
    tops = [(y1 + y2 - height) / 2, *(y1 - gap - height - steps), *(y2 + gap + steps)]
    lefts = [(x1 + x2 - width) / 2, x1, x2 - width, *(x2 + gap + steps), *(x1 - gap - width - steps)]
    spots = np.array([(left, top) for top in tops for left in lefts])
    edge = 2 * pen.line
    spots = spots.clip(edge, np.maximum(edge, [pen.width - edge - width, pen.height - edge - height]))
    rects = np.hstack([spots, spots + np.array(size)])
    covered = _overlap(rects, [*obstacles, frame])
    beside = (rects[:, 1] < y2) & (rects[:, 3] > y1) | (rects[:, 0] < x2) & (rects[:, 2] > x1)
    cost = 1000 * covered / (width * height) + _apart(rects, frame) / height + 3 * (_overlap(rects, lines) > 0)
    cost += 0.5 * ~beside  # off a corner it is harder to see what belongs together
    cost += 0.3 * (spots[:, 1] > y2)  # above is where the eye looks first
    nearest = rects[[int(np.argmin(cost))]]
    rivals = cost <= cost.min() + 4 * _crossings(frame, nearest, obstacles)[0]  # the rest cannot win
    cost[rivals] += 4 * _crossings(frame, rects[rivals], obstacles)
    cost[~rivals] = np.inf
    best = int(np.argmin(cost))
    left, top, right, bottom = (float(v) for v in rects[best])
    return (left, top, right, bottom), bool(covered[best] < 1)


def _overlap(rects: NDArray[np.float64], others: Sequence[Rect]) -> NDArray[np.float64]:
    """For each of n rectangles, the area (pixels) that the others cover."""
    if not others:
        return np.zeros(len(rects))
    a, b = rects[:, None], np.array(others)[None]
    sides = np.minimum(a[..., 2:], b[..., 2:]) - np.maximum(a[..., :2], b[..., :2])
    area: NDArray[np.float64] = sides.clip(0).prod(axis=2).sum(axis=1)
    return area


def _apart(rects: NDArray[np.float64], frame: Rect) -> NDArray[np.float64]:
    """Distance of each rectangle from ``frame``, 0 where they touch."""
    lows = np.array(frame[:2]) - rects[:, 2:]
    highs = rects[:, :2] - np.array(frame[2:])
    distance: NDArray[np.float64] = np.hypot(*np.maximum(np.maximum(lows, highs), 0).T)
    return distance


def _crossings(frame: Rect, rects: NDArray[np.float64], obstacles: Sequence[Rect]) -> NDArray[np.int64]:
    """For each rectangle, how many other lamps and tags a leader from ``frame`` to it would run over."""
    if not obstacles:
        return np.zeros(len(rects), np.int64)
    own, others = np.array(frame), np.array(obstacles)
    low, high = np.maximum(own[:2], rects[:, :2]), np.minimum(own[2:], rects[:, 2:])
    shared = (low + high) / 2
    start = np.where(low <= high, shared, np.where(rects[:, :2] > own[2:], own[2:], own[:2]))
    end = np.where(low <= high, shared, np.where(rects[:, :2] > own[2:], rects[:, :2], rects[:, 2:]))
    points = start + (end - start) * np.linspace(0, 1, 10)[:, None, None]
    inside = (points[..., None, :] > others[:, :2]) & (points[..., None, :] < others[:, 2:])
    count: NDArray[np.int64] = inside.all(axis=3).any(axis=0).sum(axis=1)
    return count


def _nearest(a: Rect, b: Rect) -> tuple[Point, Point]:
    """The points of two rectangles that lie closest together."""

    def along(a1: float, a2: float, b1: float, b2: float) -> tuple[float, float]:
        if a2 < b1:
            return a2, b1
        if b2 < a1:
            return a1, b2
        shared = (max(a1, b1) + min(a2, b2)) / 2
        return shared, shared

    ax, bx = along(a[0], a[2], b[0], b[2])
    ay, by = along(a[1], a[3], b[1], b[3])
    return (ax, ay), (bx, by)


def _steps(start: Point, end: Point) -> list[Point]:
    """Ten points on the way, ends included."""
    return [(start[0] + (end[0] - start[0]) * t / 9, start[1] + (end[1] - start[1]) * t / 9) for t in range(10)]


def _grown(rect: Rect, by: float) -> Rect:
    return rect[0] - by, rect[1] - by, rect[2] + by, rect[3] + by


# --- drawing -----------------------------------------------------------------------------------------------------


class _Pen:
    """Draws on one picture, in sizes that suit it."""

    def __init__(self, image: Image.Image) -> None:
        self.image = image
        self.width, self.height = image.size
        self.em = max(13.0, 0.0185 * max(image.size))  # font size
        self.line = max(1.6, self.em / 9)
        self.gap = self.em * 0.35
        self.badge = self.em * 1.45
        self.font = _font(round(self.em))
        self.digits = _font(round(self.em * 0.9))

    def frame_of(self, mark: Mark, scale: float) -> Rect:
        """Where the frame of a mark runs: outside the lamp, inside the picture, never a mere line."""
        x1, y1, x2, y2 = (v * scale for v in mark.box)
        room = self.line * 2 + 0.08 * max(x2 - x1, y2 - y1)
        edge = self.line
        x1, x2 = max(edge, x1 - room), min(self.width - edge, x2 + room)
        y1, y2 = max(edge, y1 - room), min(self.height - edge, y2 + room)
        least = 4 * self.line
        x1, y1 = min(x1, self.width - edge - least), min(y1, self.height - edge - least)
        return x1, y1, max(x2, x1 + least), max(y2, y1 + least)

    def fitted(self, caption: str) -> str:
        """The caption as the font can draw it, cut to less than half of the picture's width."""
        text = _drawable(caption)
        limit = 0.45 * self.width
        if self.font.getlength(text) <= limit:
            return text
        while text and self.font.getlength(text + "…") > limit:
            text = text[:-1]
        return text.rstrip() + "…" if text else ""

    def tag_size(self, number: int, caption: str) -> Point:
        """Width and height of a tag."""
        badge = self._badge_width(number)
        words = self.font.getlength(caption) + self.em * 0.8 if caption else 0.0
        return badge + words, self.badge

    def frame(self, rect: Rect, level: Level) -> None:
        """The frame around a lamp."""
        radius = min(self.em * 0.35, (rect[2] - rect[0]) / 3, (rect[3] - rect[1]) / 3)
        dash = self.em * 0.5 if level == "unsure" else 0.0
        for color, width in ((_INK, self.line * 2.2), (_COLORS[level], self.line)):
            outline = _rounded(rect, radius)
            self._stroke(outline, width, color, 0.0 if color == _INK else dash)

    def leader(self, frame: Rect, tag: Rect, level: Level) -> None:
        """The line from a lamp to its tag, if they are apart."""
        start, end = _nearest(frame, tag)
        corner = start[0] != end[0] and start[1] != end[1]
        if corner or math.dist(start, end) > self.gap * 2:
            self._stroke([start, end], self.line * 2.2, _INK)
            self._stroke([start, end], self.line, _COLORS[level])

    def tag(self, tag: _Tag, mark: Mark) -> None:
        """Badge with the number, and the caption on dark ground."""
        x1, y1, _, y2 = tag.rect
        color = _COLORS[mark.urgency]
        badge = self._badge_width(mark.number)
        middle = (x1 + badge / 2, (y1 + y2) / 2)
        baseline = middle[1] + 0.36 * self.em  # centres digits and hanzi alike
        radius = self.badge * 0.28
        if tag.caption:
            self._fill(_rounded(_grown(tag.rect, self.line * 0.6), radius), color)
            self._fill(_rounded(tag.rect, radius), _INK)
        shape = _badge_shape((x1, y1, x1 + badge, y2), mark.urgency)
        if not tag.caption:
            self._fill(_scaled(shape, middle, 1 + 2 * self.line / self.badge), _INK)
        self._fill(_scaled(shape, middle, 0.9 if tag.caption else 1), color)
        draw = ImageDraw.Draw(self.image)
        on_badge = _PAPER if mark.urgency == "stop" else _INK
        draw.text((middle[0], baseline - 0.03 * self.em), str(mark.number), on_badge, self.digits, anchor="ms")
        if tag.caption:
            draw.text((x1 + badge + self.em * 0.2, baseline), tag.caption, _PAPER, self.font, anchor="ls")

    def _badge_width(self, number: int) -> float:
        return max(self.badge, self.digits.getlength(str(number)) + self.em * 0.9)

    def _fill(self, points: Sequence[Point], color: Rgb) -> None:
        self._paint(points, 1, color, lambda draw, moved, _: draw.polygon(moved, fill=255))

    def _stroke(self, points: Sequence[Point], width: float, color: Rgb, dash: float = 0.0) -> None:
        pieces = _dashes(points, dash) if dash else [points]

        def paint(draw: ImageDraw.ImageDraw, _: list[Point], place: Callable[[Sequence[Point]], list[Point]]) -> None:
            for piece in pieces:
                draw.line(place(piece), fill=255, width=max(1, round(width * fine)), joint="curve")

        fine = self._fineness(points)
        self._paint(points, width, color, paint)

    def _fineness(self, points: Sequence[Point]) -> int:
        """Sub-pixels per pixel: 4, fewer for large shapes, whose edges need them less and would cost memory."""
        xs, ys = zip(*points, strict=True)
        return 4 if (max(xs) - min(xs)) * (max(ys) - min(ys)) < 400 * 400 else 2

    def _paint(
        self,
        points: Sequence[Point],
        margin: float,
        color: Rgb,
        paint: Callable[[ImageDraw.ImageDraw, list[Point], Callable[[Sequence[Point]], list[Point]]], object],
    ) -> None:
        """Smooth edges: the shape is drawn finer than the picture and reduced."""
        xs, ys = zip(*points, strict=True)
        fine = self._fineness(points)
        left, top = math.floor(min(xs) - margin), math.floor(min(ys) - margin)
        width, height = math.ceil(max(xs) + margin) - left + 1, math.ceil(max(ys) + margin) - top + 1

        def place(path: Sequence[Point]) -> list[Point]:
            return [((x - left) * fine, (y - top) * fine) for x, y in path]

        mask = Image.new("L", (width * fine, height * fine))
        paint(ImageDraw.Draw(mask), place(points), place)
        self.image.paste(color, (left, top), mask.reduce(fine))


def _rounded(rect: Rect, radius: float) -> list[Point]:
    """Closed outline of a rectangle with round corners."""
    x1, y1, x2, y2 = rect
    corners = ((x2 - radius, y1 + radius, -90), (x2 - radius, y2 - radius, 0), (x1 + radius, y2 - radius, 90))
    points = [
        (cx + radius * math.cos(math.radians(start + step)), cy + radius * math.sin(math.radians(start + step)))
        for cx, cy, start in (*corners, (x1 + radius, y1 + radius, 180))
        for step in range(0, 91, 15)
    ]
    return [*points, points[0]]


def _badge_shape(rect: Rect, level: Level) -> list[Point]:
    x1, y1, x2, y2 = rect
    if level == "first":
        return _rounded(_grown(rect, -0.06 * (y2 - y1)), 0.12 * (y2 - y1))
    sides = {"stop": 8, "soon": 4}.get(level, 40)
    turn = math.pi / 8 if sides == 8 else 0.0
    grow = {8: 1.06, 4: 1.12}.get(sides, 1.0)  # so that all look the same size
    cx, cy, rx, ry = (x1 + x2) / 2, (y1 + y2) / 2, (x2 - x1) / 2 * grow, (y2 - y1) / 2 * grow
    angles = (turn + 2 * math.pi * i / sides for i in range(sides))
    return [(cx + rx * math.cos(a), cy + ry * math.sin(a)) for a in angles]


def _scaled(points: Sequence[Point], middle: Point, by: float) -> list[Point]:
    return [(middle[0] + (x - middle[0]) * by, middle[1] + (y - middle[1]) * by) for x, y in points]


def _dashes(points: Sequence[Point], length: float) -> list[list[Point]]:
    """A path cut into dashes with gaps of the same length."""
    pieces: list[list[Point]] = []
    walked = 0.0
    for start, end in pairwise(points):
        distance = math.dist(start, end)
        at = 0.0
        while at < distance:
            step = min(length - walked % length, distance - at)
            if int(walked / length) % 2 == 0:
                piece = [
                    (start[0] + (end[0] - start[0]) * t / distance, start[1] + (end[1] - start[1]) * t / distance)
                    for t in (at, at + step)
                ]
                pieces.append(piece)
            at += max(step, 1e-3)
            walked += max(step, 1e-3)
    return pieces


# --- letters -----------------------------------------------------------------------------------------------------


@lru_cache(maxsize=16)
def _font(size: int) -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(str(_FONT), size, layout_engine=ImageFont.Layout.BASIC)


@lru_cache(maxsize=4096)
def _has_glyph(char: str) -> bool:
    font = _font(24)
    return char == " " or bytes(font.getmask(char)) != bytes(font.getmask("\uffff"))


def _drawable(text: str) -> str:
    """``text`` on one line, without characters that the font lacks: their plain form, else a question mark."""
    result = ""
    for char in " ".join(text.split()):
        plain = char if _has_glyph(char) else "".join(c for c in unicodedata.normalize("NFKD", char) if _has_glyph(c))
        result += plain or "?"
    return result
