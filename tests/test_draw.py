"""Annotated pictures: right size, lamps left visible, tags that do not collide, no missing glyphs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import vision.draw as drawing
from vision.draw import MAX_SIDE, MIN_SIDE, Level, Mark, annotate

LEVELS: list[Level] = ["stop", "soon", "first", "ok", "unsure"]
CAPTIONS = ["机油压力警告灯", "Engine oil pressure", "发动机故障灯", "车门未关", "Seat belt"]


def plain(width: int = 1280, height: int = 720, level: int = 60) -> np.ndarray:
    return np.full((height, width, 3), level, np.uint8)


def five_lamps(scale: float = 1.0) -> list[Mark]:
    boxes = [(x * scale, 300 * scale, (x + 30) * scale, 325 * scale) for x in (200, 246, 600, 900, 1200)]
    return [Mark(box, i + 1, CAPTIONS[i], LEVELS[i]) for i, box in enumerate(boxes)]


def changed(before: np.ndarray, after: Image.Image) -> np.ndarray:
    return (np.asarray(after).astype(int) != before).any(axis=2)


@pytest.mark.parametrize(
    ("width", "height", "expected"),
    [
        (1280, 720, (1280, 720)),
        (720, 1280, (720, 1280)),
        (300, 225, (MIN_SIDE, 480)),
        (4000, 3000, (MAX_SIDE, 1536)),
        (32, 640, (32, 640)),
        (4000, 200, (MAX_SIDE, 102)),
    ],
)
def test_size_of_the_picture(width: int, height: int, expected: tuple[int, int]) -> None:
    marks = five_lamps(width / 1280)
    picture = annotate(plain(width, height), marks)
    assert picture.mode == "RGB"
    assert picture.size == expected
    assert changed(np.full((*expected[::-1], 3), 60), picture).any()


def test_without_marks_it_is_the_photo() -> None:
    rgb = np.random.default_rng(0).integers(0, 255, (720, 1280, 3), np.uint8)
    assert (np.asarray(annotate(rgb, [])) == rgb).all()


def test_the_photo_itself_is_not_touched() -> None:
    rgb = plain()
    rgb.flags.writeable = False
    annotate(rgb, five_lamps())
    assert (rgb == 60).all()


def test_lamps_stay_visible() -> None:
    marks = five_lamps()
    touched = changed(plain(), annotate(plain(), marks))
    for mark in marks:
        x1, y1, x2, y2 = (int(v) for v in mark.box)
        assert not touched[y1:y2, x1:x2].any(), mark
        assert touched[y1 - 12 : y2 + 12, x1 - 12 : x2 + 12].any(), mark


@pytest.mark.parametrize("count", [2, 6, 12])
@pytest.mark.parametrize("pitch", [34, 60])
def test_tags_do_not_collide_and_stay_inside(count: int, pitch: int) -> None:
    """A dense block of lamps in a corner, where room is scarce."""
    marks = [
        Mark(
            (5 + i % 4 * pitch, 5 + i // 4 * pitch, 33 + i % 4 * pitch, 30 + i // 4 * pitch), i + 1, "制动系统", "stop"
        )
        for i in range(count)
    ]
    pen = drawing._Pen(Image.fromarray(plain()))
    frames = [pen.frame_of(mark, 1.0) for mark in marks]
    tags = [tag.rect for tag in drawing._placed(marks, frames, pen)]
    for i, tag in enumerate(tags):
        assert 0 <= tag[0] < tag[2] <= 1280
        assert 0 <= tag[1] < tag[3] <= 720
        others = [*tags[:i], *tags[i + 1 :], *(mark.box for mark in marks)]
        assert drawing._overlap(np.array([tag]), others)[0] == 0


def test_where_captions_find_no_room_the_numbers_stay() -> None:
    marks = [Mark((x, 20, x + 28, 48), x, "很长的名称" * 4, "soon") for x in range(4, 600, 40)]
    pen = drawing._Pen(Image.fromarray(plain(640, 70)))
    tags = drawing._placed(marks, [pen.frame_of(mark, 1.0) for mark in marks], pen)
    assert any(tag.caption == "" for tag in tags)
    assert annotate(plain(640, 70), marks).size == (640, 70)


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("ground", [0, 60, 128, 255])
def test_urgency_color_and_a_dark_edge_on_any_ground(level: Level, ground: int) -> None:
    pixels = np.asarray(annotate(plain(level=ground), [Mark((600, 300, 640, 330), 7, "", level)])).reshape(-1, 3)
    near = np.abs(pixels.astype(int) - drawing._COLORS[level]).max(axis=1) < 6
    assert near.sum() > 150
    if ground > 40:
        assert (pixels.max(axis=1) < 40).sum() > 100


def test_badges_differ_in_shape_not_only_in_color() -> None:
    shapes = set()
    for level in LEVELS[:4]:
        corners = drawing._badge_shape((0, 0, 100, 100), level)
        shapes.add(tuple((round(x), round(y)) for x, y in corners))
    assert len(shapes) == 4


@pytest.mark.parametrize(
    "box",
    [
        (-20, -20, 10, 10),
        (1270, 710, 1300, 740),
        (0, 0, 1280, 720),
        (640, 300, 640, 300),
        (2000, 2000, 2100, 2100),
        (-90, -90, -50, -50),
    ],
)
def test_odd_boxes(box: tuple[float, float, float, float]) -> None:
    assert annotate(plain(), [Mark(box, 1, "机油压力", "stop")]).size == (1280, 720)


@pytest.mark.parametrize(
    ("text", "drawn"),
    [
        ("机油压力警告灯", "机油压力警告灯"),
        ("Immobiliser (key)", "Immobiliser (key)"),
        ("水温 110℃，请停车！", "水温 110℃，请停车！"),
        ("two\nlines\tand  more", "two lines and more"),
        ("ﬁlter ǎ", "filter a"),
        ("火🔥", "火?"),
        ("", ""),
    ],
)
def test_missing_glyphs_are_replaced(text: str, drawn: str) -> None:
    assert drawing._drawable(text) == drawn


def test_the_font_draws_every_character_that_names_may_hold() -> None:
    rows = [bytes([row, cell]) for row in range(0xB0, 0xD8) for cell in range(0xA1, 0xFF)]
    hanzi = "".join(pair.decode("gb2312", "ignore") for pair in rows)
    assert len(hanzi) == 3755
    latin = "".join(chr(c) for c in (*range(0x21, 0x7F), *range(0xA1, 0x100)) if c != 0xAD)
    missing = [c for c in hanzi + latin + "，。、；：？！“”‘’（）《》【】…—～·％＋－／℃" if not drawing._has_glyph(c)]
    assert missing == []


def test_the_names_of_all_lights_can_be_drawn() -> None:
    catalogue = pytest.importorskip("knowledge.catalogue").load_catalogue()
    for light in catalogue.lights.values():
        for name in (light.name.zh, light.name.en):
            assert drawing._drawable(name) == " ".join(name.split())


def test_long_captions_are_cut() -> None:
    pen = drawing._Pen(Image.fromarray(plain()))
    cut = pen.fitted("牵引力控制系统与车身稳定控制系统同时关闭的黄色指示灯，请到维修店检查")
    assert cut.endswith("…")
    assert pen.font.getlength(cut) <= 0.45 * 1280


def test_the_font_comes_with_its_licence() -> None:
    font = Path(drawing.__file__).with_name("NotoSansSC-subset.otf")
    licence = font.with_name("NotoSansSC-LICENSE.txt").read_text(encoding="utf-8")
    assert font.stat().st_size < 1_800_000
    assert "SIL OPEN FONT LICENSE Version 1.1" in licence
    assert "Adobe" in licence
