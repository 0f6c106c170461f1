"""Number plates: what reads like one, what the real reader finds on drawn and real photos, and what is left of them."""

from __future__ import annotations

import io
import math
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont

from vision.photo import open_photo
from vision.plates import FILL, FoundText, TextFinder, cover, find_plates, load_finder, may_be_plate, reads_like_plate

BLUE, GREEN, YELLOW, WHITE, BLACK = (16, 60, 160), (120, 210, 150), (240, 200, 30), (245, 245, 245), (15, 15, 15)


class FakeFinder:
    """Finds what it was told."""

    def __init__(self, *lines: FoundText) -> None:
        self.lines = lines

    def find(self, rgb: np.ndarray) -> tuple[FoundText, ...]:
        return self.lines


@pytest.fixture(scope="module")
def finder() -> TextFinder:
    return load_finder()


@pytest.fixture(scope="module")
def font_file() -> bytes:
    """A font with every province: that of the report."""
    import pymupdf

    return pymupdf.Font("cjk").buffer


def street(width: int, height: int) -> Image.Image:
    """A road and a dark car's body, with the noise of a camera."""
    noise = np.random.default_rng(3).normal(0, 5, (height, width, 1))
    ground = np.linspace(150, 90, height)[:, None, None] + noise
    rgb = np.repeat(ground, 3, axis=2).clip(0, 255).astype(np.uint8)
    image = Image.fromarray(rgb)
    ImageDraw.Draw(image).rectangle((width * 0.2, height * 0.3, width * 0.8, height * 0.8), fill=(48, 52, 60))
    return image


def with_plate(
    image: Image.Image, text: str, at: tuple[int, int], wide: int, ground, ink, font: bytes, turn: float = 0.0
) -> tuple[float, float, float, float]:
    """Draws a plate, and says where its signs are."""
    size = 4 * wide, round(4 * wide * 0.32)
    plate = Image.new("RGB", size, ground)
    draw = ImageDraw.Draw(plate)
    draw.rectangle((8, 8, size[0] - 9, size[1] - 9), outline=ink, width=8)
    face = ImageFont.truetype(io.BytesIO(font), round(size[1] * 0.62))
    length = draw.textlength(text, face)
    if length > size[0] * 0.9:
        face = ImageFont.truetype(io.BytesIO(font), round(size[1] * 0.62 * size[0] * 0.9 / length))
    draw.text((size[0] / 2, size[1] / 2), text, ink, face, anchor="mm")
    mask = Image.new("L", size, 255)
    plate, mask = (picture.rotate(turn, Image.Resampling.BICUBIC, expand=True) for picture in (plate, mask))
    size = plate.width // 4, plate.height // 4
    image.paste(plate.resize(size, Image.Resampling.LANCZOS), at, mask.resize(size))
    return at[0] + 0.06 * size[0], at[1] + 0.2 * size[1], at[0] + 0.94 * size[0], at[1] + 0.8 * size[1]


def share_hidden(box, boxes, size: tuple[int, int]) -> float:
    hidden = np.zeros(size[::-1], bool)
    for x1, y1, x2, y2 in boxes:
        hidden[int(y1) : math.ceil(y2), int(x1) : math.ceil(x2)] = True
    x1, y1, x2, y2 = (round(v) for v in box)
    return float(hidden[y1:y2, x1:x2].mean())


@pytest.mark.parametrize(
    "text",
    [
        "京A12345", "沪A·D0123", "粤B 88888", "浙AD12345", "京AF00001", "苏E·9K88警", "沪AOI2B4", "粤Z1234港",
        "京Ａ１２３４５", "WO15 OVJ", "DK10 BGV", "DKIO BGV", "6POR207", "M:JE 4598", "GA.06.E.1743", "MH02-BG-8357",
        "VHV=826", "04150M55", "AML 1", "AMLI", "JONSIBAL", "SGO", "京A", "MH 14", "BT 4551", "IND MH02BG3357",
    ],
)  # fmt: skip
def test_what_reads_like_a_plate(text: str) -> None:
    assert reads_like_plate(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "中国平安",
        "alamy stock photo",
        "www.shutterstock.com",
        "Lamborghini",
        "gettyimages",
        "a",
        "7",
        "GO",
        "小心地滑",
    ],
)
def test_what_does_not(text: str) -> None:
    assert not reads_like_plate(text)


@pytest.mark.parametrize(
    ("line", "share", "hidden"),
    [
        (FoundText("沪A12345", (0, 0, 9, 9), 0.9), 0.02, True),
        (FoundText("沪A12345", (0, 0, 9, 9), 0.4, score=0.4, aspect=1.2), 0.02, True),  # dim
        (FoundText("沪A12345", (0, 0, 9, 9), 0.7, score=0.4, aspect=1.2), 0.2, True),  # close by
        (FoundText("KOT", (0, 0, 9, 9), 0.46), 0.09, False),  # large, and yet hardly read: a pattern
        (FoundText("SOLD 4 ALL", (0, 0, 9, 9), 0.9, aspect=12), 0.02, False),  # a banner
        (FoundText("沪A12345", (0, 0, 9, 9), 0.9), 0.5, False),  # half of the picture is no plate
        (FoundText("~xe%", (0, 0, 9, 9), 0.3), 0.02, True),  # cannot be read: may be one
        (FoundText("~xe%", (0, 0, 9, 9), 0.3, score=0.45), 0.02, False),  # nor is it surely text
        (FoundText("~xe%", (0, 0, 9, 9), 0.3, aspect=1.0), 0.02, False),  # nor has it a plate's shape
        (FoundText("~xe%", (0, 0, 9, 9), 0.3), 0.2, False),  # nor is it of a plate's size
        (FoundText("~x", (0, 0, 9, 9), 0.3), 0.02, False),  # a single sign: a pattern, as a rule
        (FoundText("~x", (0, 0, 9, 9), 0.3), 0.002, True),  # or a plate far off
        (FoundText("alamy stock photo", (0, 0, 9, 9), 0.95), 0.02, False),
    ],
)
def test_what_may_be_one(line: FoundText, share: float, hidden: bool) -> None:
    assert may_be_plate(line, share) is hidden


def test_boxes_grow_stay_inside_and_are_joined() -> None:
    rgb = np.zeros((300, 400, 3), np.uint8)
    found = FakeFinder(
        FoundText("粤B12345", (100, 100, 200, 130), 0.9),
        FoundText("B12345", (120, 101, 201, 131), 0.9),  # the same, seen in another size
        FoundText("沪A12345", (380, 2, 399, 80), 0.9),  # a photo lying on its side
        FoundText("alamy stock photo", (10, 200, 90, 220), 0.99),
    )
    first, second = find_plates(rgb, found)
    assert first == pytest.approx((85, 94, 216, 137))
    assert second == pytest.approx((380 - 0.2 * 19, 0, 400, 80 + 0.5 * 19))


PLATES = [
    ("沪A·12345", 150, BLUE, WHITE, 0),
    ("粤B·D6F88", 150, BLUE, WHITE, 0),
    ("浙AD12345", 160, GREEN, BLACK, 0),  # new energy: eight signs
    ("京N·8K8Q6", 150, BLUE, WHITE, 8),
    ("苏E·12345", 150, YELLOW, BLACK, -6),
    ("WO15 OVJ", 150, YELLOW, BLACK, 0),
    ("S JE 4598", 150, WHITE, BLACK, 5),
    ("MH02BG3357", 160, WHITE, BLACK, 0),
]


@pytest.fixture(scope="module")
def drawn(finder: TextFinder, font_file: bytes):
    """All of them in one picture, which is looked at once: where their signs are, and what was found."""
    image = street(1000, 750)
    signs = {
        row[0]: with_plate(image, row[0], (120 + 300 * (n % 3), 110 + 200 * (n // 3)), *row[1:4], font_file, row[4])
        for n, row in enumerate(PLATES)
    }
    return signs, find_plates(np.asarray(image), finder), image.size


@pytest.mark.parametrize("text", [row[0] for row in PLATES])
def test_drawn_plates_are_found(drawn, text) -> None:
    signs, boxes, size = drawn
    assert share_hidden(signs[text], boxes, size) > 0.95


def test_not_much_else_is_hidden(drawn) -> None:
    _, boxes, size = drawn
    assert share_hidden((0, 0, *size), boxes, size) < 0.25  # the plates themselves are 0.08


def test_a_plate_far_off_in_a_large_photo_is_found(finder, font_file) -> None:
    """80 of 2400 pixels: in a copy of 1440 it can still be read."""
    image = street(2400, 480)
    signs = with_plate(image, "沪A·12345", (1180, 210), 80, BLUE, WHITE, font_file)
    assert share_hidden(signs, find_plates(np.asarray(image), finder), image.size) > 0.95


def test_nothing_is_hidden_where_nothing_is_written(finder) -> None:
    assert find_plates(np.asarray(street(640, 480)), finder) == ()


# Photos on which a plate can be read by eye, and where (x1, y1, x2, y2).
REAL = [
    ("severity/val/moderate/5078c7d74e6e.jpg", (105, 125, 152, 149)),
    ("severity/train/moderate/951bb6d4f178.jpg", (49, 83, 130, 106)),
    ("damaged_or_not/train/undamaged/1dec8a97fe6c.jpg", (7, 128, 76, 168)),
    ("severity/val/moderate/4c5a7a094738.jpg", (112, 183, 196, 200)),
    ("damaged_or_not/val/undamaged/d4b3222d913d.jpg", (144, 91, 195, 114)),
    ("severity/val/moderate/c1af02826ca1.jpg", (98, 101, 156, 136)),
    ("severity/train/minor/b9a7cd75dedc.jpg", (124, 0, 178, 37)),
    ("damaged_or_not/val/undamaged/99a74231af43.jpg", (20, 110, 68, 127)),
    ("scenes/images/val/0b0cfc19fef1.jpg", (262, 198, 300, 238)),
]  # fmt: skip


@pytest.mark.parametrize(("name", "box"), REAL, ids=[row[0].rpartition("/")[2][:24] for row in REAL])
def test_real_plates_are_hidden(shared: Path, finder, name: str, box) -> None:
    rgb = open_photo(shared / "data" / "accidents" / name).rgb
    assert share_hidden(box, find_plates(rgb, finder), (rgb.shape[1], rgb.shape[0])) > 0.85


# --- painting over -------------------------------------------------------------------------------------------------


def test_what_is_painted_over_is_gone_and_the_rest_is_not() -> None:
    rgb = np.random.default_rng(1).integers(0, 255, (200, 300, 3), np.uint8)
    other = rgb.copy()
    other[50:80, 100:180] = 255 - other[50:80, 100:180]
    box = (100, 50, 180, 80)
    hidden = cover(rgb, [box])
    assert (hidden[50:81, 100:181] == FILL).all()
    assert np.array_equal(hidden, cover(other, [box]))  # so nothing about it can be worked out from the copy
    outside = np.ones(rgb.shape[:2], bool)
    outside[47:84, 97:184] = False
    assert np.array_equal(hidden[outside], rgb[outside])
    assert not np.array_equal(hidden, rgb)
    assert rgb[60, 120].tolist() != list(FILL)  # the photo itself is left alone


def test_polygons_and_shapes_over_the_edge() -> None:
    rgb = np.zeros((100, 100, 3), np.uint8)
    hidden = cover(rgb, [[(10, 10), (60, 10), (10, 60)], (90, 90, 1e9, 1e9), (40, 95, 30, 80)])
    assert (hidden[15, 15] == FILL).all()
    assert (hidden[55, 55] == 0).all()
    assert (hidden[99, 99] == FILL).all()
    assert (hidden[90, 35] == FILL).all()  # corners in another order


@pytest.mark.parametrize("shape", [(1, 2, 3), [(1, 2), (3, 4)], (1, 2, 3, math.nan), "box!", [(1, 2, 3)] * 3, [1, [2]]])
def test_what_is_no_shape(shape) -> None:
    with pytest.raises(ValueError, match=r"shape|finite|rectangle"):
        cover(np.zeros((50, 50, 3), np.uint8), [shape])
