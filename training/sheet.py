"""The contact sheet of the worst photos: what is lit, what was found, and what went wrong, at a glance."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from training.evaluate import Box, Pair
from vision.photo import open_photo

CELL = (640, 400)
COLUMNS = 2
# Right, missed, false alarm: distinct for those who don't tell red from green, too.
RIGHT, MISSED, FALSE = (60, 200, 110), (255, 70, 60), (240, 80, 255)
_FONT = Path(__file__).resolve().parents[1] / "vision" / "NotoSansSC-subset.otf"


def contact_sheet(photos: Sequence[Sequence[Pair]], legend: str) -> Image.Image:
    """Each photo cut to where its lamps are: found lamps in green, missed ones in red, false alarms in purple."""
    rows = -(-len(photos) // COLUMNS)
    sheet = Image.new("RGB", (COLUMNS * CELL[0], 30 + rows * CELL[1]), (24, 26, 30))
    ImageDraw.Draw(sheet).text((8, 6), legend, font=_font(16), fill=(235, 235, 235))
    for i, pairs in enumerate(photos):
        sheet.paste(_cell(pairs), (i % COLUMNS * CELL[0], 30 + i // COLUMNS * CELL[1]))
    return sheet


def _cell(pairs: Sequence[Pair]) -> Image.Image:
    photo = open_photo(pairs[0].seen.path)
    boxes = [part.box for pair in pairs for part in (pair.truth, pair.found) if part]
    x1, y1 = (min(b[i] for b in boxes) for i in (0, 1))
    x2, y2 = (max(b[i] for b in boxes) for i in (2, 3))
    margin = 0.12 * max(x2 - x1, y2 - y1) + 40
    window = max(0, x1 - margin), max(0, y1 - margin), min(photo.width, x2 + margin), min(photo.height, y2 + margin)
    scale = min(CELL[0] / (window[2] - window[0]), (CELL[1] - 22) / (window[3] - window[1]))
    size = max(1, int((window[2] - window[0]) * scale)), max(1, int((window[3] - window[1]) * scale))
    cell = Image.new("RGB", CELL, (24, 26, 30))
    cell.paste(Image.fromarray(photo.rgb).resize(size, Image.Resampling.BILINEAR, box=window), (0, 22))
    pen = ImageDraw.Draw(cell)
    pen.text((4, 3), photo.name, font=_font(13), fill=(235, 235, 235))
    for pair in pairs:
        box, color, caption = _drawn(pair)
        origin = window[0], window[1]
        left, top, right, bottom = ((v - origin[i % 2]) * scale + (0, 22)[i % 2] for i, v in enumerate(box))
        pen.rectangle((left - 2, top - 2, right + 2, bottom + 2), outline=color, width=2)
        y = bottom + 3 if pair.truth is None else top - 17  # so that two names for one lamp can both be read
        left = min(left, CELL[0] - pen.textlength(caption, font=_font(12)) - 2)
        pen.text((left, y), caption, font=_font(12), fill=color, stroke_width=2, stroke_fill=(0, 0, 0))
    return cell


def _drawn(pair: Pair) -> tuple[Box, tuple[int, int, int], str]:
    """Where, in which colour, under which words."""
    if pair.found and pair.truth:
        return pair.found.box, RIGHT, ""
    if pair.found:
        return pair.found.box, FALSE, f"{pair.found.label} {pair.found.confidence:.2f}"
    assert pair.truth is not None  # noqa: S101 - a pair holds one of the two
    return pair.truth.box, MISSED, pair.truth.label


def _font(size: int) -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(str(_FONT), size)
