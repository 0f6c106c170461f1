"""Lines in a terminal: Chinese breaks between characters, and no line starts with a closing mark."""

from __future__ import annotations

import pytest
from rich.cells import cell_len

from app.report import fold


@pytest.mark.parametrize(
    ("text", "width", "lines"),
    [
        ("", 10, [""]),
        ("short", 10, ["short"]),
        ("two words", 5, ["two", "words"]),
        ("发动机故障", 6, ["发动机", "故障"]),
        ("发动机。故障", 6, ["发动", "机。故", "障"]),
        ("用（P0420）试", 8, ["用", "（P0420）", "试"]),
        ("换 O 型圈", 6, ["换 O", "型圈"]),
        ("unbreakable", 4, ["unbreakable"]),
    ],
)
def test_folding(text, width, lines):
    assert fold(text, width) == lines


@pytest.mark.parametrize("width", range(12, 60, 7))
def test_nothing_is_lost_and_lines_fit(width):
    text = '拆油底壳清洗油泥，更换集滤器和 O 型圈；see "manual" (page 12)。红灯亮着绝不能继续开！'
    lines = fold(text, width)
    assert "".join(lines).replace(" ", "") == text.replace(" ", "")
    assert all(cell_len(line) <= width for line in lines)
    assert not any(line.startswith(tuple("，。；：！？）")) for line in lines)
