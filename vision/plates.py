"""Finds what may be number plates, and paints over what must not be seen.

There is no detector of plates here: text is looked for, and every line that reads like a plate counts as one, and so
does every line that has a plate's shape and cannot be read. It errs on the side of hiding: a shop sign that is painted
over does no harm. What is painted over is gone: it gets one colour, always the same, so that nothing can be worked out
from it, as can be from blur and mosaic.
"""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

if TYPE_CHECKING:
    from vision.reading import RapidReader

Rgb = NDArray[np.uint8]
Box = tuple[float, float, float, float]  # x1, y1, x2, y2 in pixels of the photo
Shape = Sequence[float] | Sequence[Sequence[float]]
"""x1, y1, x2, y2 of a rectangle, or at least three points of a polygon; in pixels of the photo."""

FILL = (122, 126, 132)
SMALL, LARGE = 640, 1280
"""Long sides, in pixels, that the whole photo is looked at in: a plate close by is seen in the small one, one farther
off in the large one."""
MOST_ENLARGED = 4.0
FINE = 3520
"""Long side that larger photos are looked at in besides, tile by tile: text is found from about 80 pixels of a
plate's width on. With 2400 a quarter fewer of the small plates are found."""
OVERLAP = 160
"""Pixels that tiles share, so that a plate on the edge is whole in one of them."""
MARGIN = (0.5, 0.2)
"""How far beyond a line of text is painted over, as a share of its height: sideways (an end may be overlooked), and up
and down."""

PROVINCES = frozenset("京津沪渝冀豫云辽黑湘皖鲁新苏浙赣鄂桂甘晋蒙陕吉闽贵粤青藏川宁琼使领港澳学警挂试临电")
LENGTHS = range(4, 11)
LONGEST = 14
"""Signs of a line whose words are looked at one by one: beside a plate's number may stand where it is from."""
LARGEST, LARGE_SHARE = 0.3, 0.06
"""Share of the photo that a plate fills at most, and from which on it must be read with some certainty: what is large
and cannot be read is no text, as a rule."""
TINY_SHARE = 0.004
"""Below this share even a single sign, which elsewhere is a pattern as a rule, may be what is left of a plate."""
LEAST_CONFIDENCE, LEAST_CONFIDENCE_LARGE = 0.35, 0.6
READ = 0.8
"""From this confidence on, what a line says is believed, and one that says no plate is left alone."""
LEAST_SCORE = 0.6
ASPECTS = (1.3, 9.0)


@dataclass(frozen=True)
class FoundText:
    """A line of text that was found.

    Attributes:
        text: what it says, as far as it could be read.
        box: x1, y1, x2, y2 in pixels of the photo.
        confidence: how surely it was read.
        score: how sure it is that there is text at all.
        aspect: its long side over its short side, however it is turned.
    """

    text: str
    box: Box
    confidence: float
    score: float = 1.0
    aspect: float = 4.0


class TextFinder(Protocol):
    """Anything that finds text everywhere in a photo."""

    def find(self, rgb: Rgb) -> Sequence[FoundText]:
        """All lines of text in an upright uint8 RGB photo of shape (H, W, 3); one may be found several times."""
        ...


def find_plates(rgb: Rgb, finder: TextFinder) -> tuple[Box, ...]:
    """Boxes, with a margin, of all that may be number plates; those that lie on each other become one."""
    height, width = rgb.shape[:2]
    boxes = []
    for line in finder.find(rgb):
        x1, y1, x2, y2 = line.box
        if may_be_plate(line, (x2 - x1) * (y2 - y1) / (width * height)):
            short = min(x2 - x1, y2 - y1)
            across, down = (MARGIN[0], MARGIN[1]) if x2 - x1 >= y2 - y1 else (MARGIN[1], MARGIN[0])
            boxes.append(
                (
                    max(0.0, x1 - across * short),
                    max(0.0, y1 - down * short),
                    min(float(width), x2 + across * short),
                    min(float(height), y2 + down * short),
                )
            )
    return _joined(boxes)


def may_be_plate(line: FoundText, share: float) -> bool:
    """Whether a line that fills this share of the photo may be a number plate."""
    if share > LARGEST or line.aspect > ASPECTS[1]:
        return False
    least = LEAST_CONFIDENCE_LARGE if share > LARGE_SHARE else LEAST_CONFIDENCE
    if line.confidence >= least and reads_like_plate(line.text):
        return True
    if share > LARGE_SHARE or line.confidence >= READ:
        return False
    signs = len(_signs(line.text))
    return line.score >= LEAST_SCORE and line.aspect >= ASPECTS[0] and signs >= (1 if share < TINY_SHARE else 2)


def reads_like_plate(text: str) -> bool:
    """Whether ``text`` could stand on a number plate, of China or elsewhere, whole or in part.

    Digits and letters are taken for each other so often (0 and O, 1 and I, 8 and B) that capitals alone count as well.
    """
    words = text.split() if len(_signs(text)) <= LONGEST else []
    return any(_like_plate(_signs(part)) for part in (text, *words))


def _like_plate(signs: str) -> bool:
    if len(signs) >= 2 and signs[0] in PROVINCES and signs[1].isascii() and signs[1].isalpha():
        return len(signs) <= max(LENGTHS)
    if signs.isascii() and signs.isalpha():
        return 3 <= len(signs) <= 9 and signs.isupper()
    return len(signs) in (3, *LENGTHS) and any(sign.isdigit() for sign in signs)


def _signs(text: str) -> str:
    """The letters, digits and hanzi of ``text``; full-width ones made plain, dots and blanks gone."""
    return "".join(sign for sign in unicodedata.normalize("NFKC", text) if sign.isalnum())


def _joined(boxes: Sequence[Box]) -> tuple[Box, ...]:
    """Boxes that overlap much become one that holds both."""
    kept: list[Box] = []
    for box in sorted(boxes, key=_area, reverse=True):
        for i, other in enumerate(kept):
            both = max(0.0, min(box[2], other[2]) - max(box[0], other[0]))
            both *= max(0.0, min(box[3], other[3]) - max(box[1], other[1]))
            if both >= 0.5 * _area(box):
                kept[i] = (
                    min(box[0], other[0]),
                    min(box[1], other[1]),
                    max(box[2], other[2]),
                    max(box[3], other[3]),
                )
                break
        else:
            kept.append(box)
    return tuple(kept)


def _area(box: Box) -> float:
    return (box[2] - box[0]) * (box[3] - box[1])


# --- painting over -------------------------------------------------------------------------------------------------


def cover(rgb: Rgb, shapes: Sequence[Shape]) -> Rgb:
    """A copy of the photo with the shapes painted over, in a colour that does not depend on what was there.

    Raises:
        ValueError: if a shape is neither 4 numbers nor at least 3 points, or a number is not finite.
    """
    image = Image.fromarray(np.ascontiguousarray(rgb))
    draw = ImageDraw.Draw(image)
    limit = 4 * max(image.size)  # far outside is outside: larger numbers are too much for the drawing
    for shape in shapes:
        points = [(min(max(x, -limit), limit), min(max(y, -limit), limit)) for x, y in _corners(shape)]
        draw.polygon(points, fill=FILL)
    return np.asarray(image)


def _corners(shape: Shape) -> list[tuple[float, float]]:
    try:
        numbers = np.asarray(shape, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise ValueError(f"not a shape: {shape!r}") from error
    if not np.isfinite(numbers).all():
        raise ValueError(f"not finite: {shape!r}")
    if numbers.shape == (4,):
        left, right = math.floor(min(numbers[0], numbers[2])), math.ceil(max(numbers[0], numbers[2]))
        top, bottom = math.floor(min(numbers[1], numbers[3])), math.ceil(max(numbers[1], numbers[3]))
        return [(left, top), (right, top), (right, bottom), (left, bottom)]
    if numbers.ndim == 2 and len(numbers) >= 3 and numbers.shape[1] == 2:
        return [(float(x), float(y)) for x, y in numbers]
    raise ValueError(f"neither a rectangle nor a polygon: {shape!r}")


# --- finding text --------------------------------------------------------------------------------------------------


def load_finder() -> TextFinder:
    """RapidOCR.

    Raises:
        ReadingError: if it can't be loaded on this machine.
    """
    from vision.reading import RapidReader

    return RapidTextFinder(RapidReader.load())


@dataclass
class RapidTextFinder:
    """Finds text with the engine of a `RapidReader`, at several sizes."""

    reader: RapidReader

    def find(self, rgb: Rgb) -> Sequence[FoundText]:
        """As ``TextFinder.find``."""
        found: list[FoundText] = []
        for view, (left, top), scale in _views(rgb):
            found += [
                FoundText(
                    line.text,
                    (
                        left + line.box[0] / scale,
                        top + line.box[1] / scale,
                        left + line.box[2] / scale,
                        top + line.box[3] / scale,
                    ),
                    line.confidence,
                    line.score,
                    line.aspect,
                )
                for line in self._read(view)
            ]
        return found

    def _read(self, view: Rgb) -> Iterator[FoundText]:
        bgr = np.ascontiguousarray(view[..., ::-1])
        with self.reader._lock:
            seen = self.reader.engine(bgr, use_det=True, use_cls=False, use_rec=False)
            boxes = getattr(seen, "boxes", None)
            if boxes is None or not len(boxes):
                return
            quads = np.asarray(boxes, np.float32)
            read = self.reader.engine.recognize_txt(list(self.reader.engine.crop_text_regions(bgr, quads)))
        for quad, score, text, confidence in zip(quads, seen.scores, read.txts or (), read.scores or (), strict=True):
            x1, y1 = (float(v) for v in quad.min(axis=0))
            x2, y2 = (float(v) for v in quad.max(axis=0))
            sides = sorted(max(1.0, math.dist(quad[i], quad[i + 1])) for i in (0, 1))
            yield FoundText(text, (x1, y1, x2, y2), float(confidence), float(score), sides[1] / sides[0])


def _views(rgb: Rgb) -> Iterator[tuple[Rgb, tuple[float, float], float]]:
    """Pictures to look for text in, each with where it starts in the photo and its pixels per pixel of the photo."""
    height, width = rgb.shape[:2]
    side = max(height, width)
    for wanted in (SMALL, LARGE):
        scale = min(wanted / side, MOST_ENLARGED)
        yield _resized(rgb, scale), (0.0, 0.0), scale
    if side <= LARGE:
        return
    scale = FINE / side  # a photo of 2000 pixels is enlarged: it pays, as for smaller ones
    fine = _resized(rgb, scale)
    for top, bottom in _tiles(fine.shape[0]):
        for left, right in _tiles(fine.shape[1]):
            yield fine[top:bottom, left:right], (left / scale, top / scale), scale


def _tiles(length: int) -> list[tuple[int, int]]:
    """Pieces no longer than the largest picture that is looked at whole."""
    count = max(1, math.ceil((length - OVERLAP) / (LARGE - OVERLAP)))
    size = math.ceil((length + (count - 1) * OVERLAP) / count)
    starts = [min(i * (size - OVERLAP), length - size) for i in range(count)]
    return [(start, start + size) for start in starts]


def _resized(rgb: Rgb, scale: float) -> Rgb:
    size = max(32, round(rgb.shape[1] * scale)), max(32, round(rgb.shape[0] * scale))
    return np.asarray(Image.fromarray(rgb).resize(size, Image.Resampling.BICUBIC, reducing_gap=3))
