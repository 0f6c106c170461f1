"""A4 pages that fill from top to bottom, line by line: what reports are set on.

Text is set here rather than by an HTML engine, so that nothing is cut or overlaps however long it is: a line, a picture
or a field is placed only where the page has room for it. The fonts are those inside PyMuPDF: Droid Sans Fallback for
Chinese, Helvetica for English, and its own fallbacks for every other script.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any

from app.paper.evidence_parts import clean, word
from app.report import PIECES
from knowledge.text import Lang

Rgb = tuple[float, float, float]

WIDTH, HEIGHT = 595.0, 842.0  # A4 in points
LEFT, TOP, BOTTOM = 56.0, 56.0, 60.0
RIGHT = WIDTH - LEFT
PICTURE_HEIGHT = 230.0
"""So that two photos with what stands below them fit on a page."""
PICTURE_SIDE = 1400
"""Pixels: 200 a inch on paper."""

INK: Rgb = (0.12, 0.13, 0.16)
SOFT: Rgb = (0.40, 0.43, 0.48)
LINE: Rgb = (0.76, 0.78, 0.82)
PALE: Rgb = (0.945, 0.953, 0.965)
BLUE: Rgb = (0.11, 0.32, 0.52)
WARN: Rgb = (0.70, 0.27, 0.02)
WARM: Rgb = (1.0, 0.955, 0.90)


class Paper:
    """Pages that fill from top to bottom."""

    def __init__(self, lang: Lang) -> None:
        import pymupdf

        self.lang = lang
        self.kit: Any = pymupdf  # half of it has no types
        self.document = self.kit.open()
        regular, bold = ("cjk", "cjk") if lang == "zh" else ("helv", "hebo")
        self.fonts = {False: self.kit.Font(regular), True: self.kit.Font(bold)}
        self.advances: dict[tuple[str, bool], float] = {}
        self.writer: Any = None  # lines in one style that are not on the page yet
        self.style: tuple[Rgb, bool] | None = None
        self.sections: list[tuple[int, str, int]] = []
        self.y = TOP
        self.page = self._page()

    def finished(self, title: str, made: datetime) -> bytes:
        """The PDF, with page numbers."""
        self._flush()
        pages = self.document.page_count
        for number in range(pages):
            self.page = self.document[number]
            self._put(LEFT, HEIGHT - 34, title, 8.5, SOFT)
            self._put(RIGHT, HEIGHT - 34, word("report.footer", self.lang, page=number + 1, pages=pages), 8.5, SOFT, -1)
            self._flush()
        self.document.set_toc([list(section) for section in self.sections])
        stamp = made.astimezone(UTC).strftime("D:%Y%m%d%H%M%SZ")
        self.document.set_metadata({"title": title, "creator": "yangche", "creationDate": stamp, "modDate": stamp})
        self.document.subset_fonts()
        data: bytes = self.document.tobytes(garbage=3, deflate=True, no_new_id=True)
        return data

    # --- blocks

    def heading(self, title: str, *, page: bool = False) -> None:
        """A section's title; ``page``: on a new page."""
        if page and self.y > TOP:
            self._turn()
        self.gap(14)
        self.room(90)  # a title alone at the foot of a page is of no use
        self.sections.append((1, title, self.document.page_count))
        self.text(title, size=14, bold=True, color=BLUE)
        self.page.draw_line((LEFT, self.y + 2), (RIGHT, self.y + 2), color=LINE, width=0.8)
        self.y += 9

    def text(self, text: str, *, size: float = 10.5, color: Rgb = INK, bold: bool = False, indent: float = 0.0) -> None:
        """A paragraph, over as many pages as it takes."""
        lines = self.wrapped(text, RIGHT - LEFT - indent, size, bold)
        self.room(min(len(lines), 3) * leading(size))  # no line alone at the foot of a page
        for line in lines:
            self.room(leading(size))
            self._put(LEFT + indent, self.y + size, line, size, color, bold=bold)
            self.y += leading(size)

    def listed(self, rows: Iterable[tuple[str, str]]) -> None:
        """Paragraphs, each behind its number."""
        for number, text in rows:
            lines = self.wrapped(text, RIGHT - LEFT - 30, 10.5, False)
            self.room(min(len(lines), 3) * leading(10.5))  # before the number is written
            self._put(LEFT + 22, self.y + 10.5, number, 10.5, BLUE, -1)
            self.text(text, indent=30)
            self.y += 2

    def boxed(self, paragraphs: Sequence[tuple[str, Rgb, bool]], fill: Rgb, *, size: float = 10.0) -> None:
        """Paragraphs of (text, colour, bold) on coloured ground."""
        inset = 9.0
        lines = [
            (line, color, bold)
            for text, color, bold in paragraphs
            for line in self.wrapped(text, RIGHT - LEFT - 2 * inset, size, bold)
        ]
        while lines:
            self.room(2 * inset + min(2, len(lines)) * leading(size))
            count = max(1, int((HEIGHT - BOTTOM - self.y - 2 * inset) / leading(size)))
            here, lines = lines[:count], lines[count:]
            high = 2 * inset + len(here) * leading(size) - 3
            self.page.draw_rect((LEFT, self.y, RIGHT, self.y + high), color=None, fill=fill, radius=5 / high)
            for row, (line, color, bold) in enumerate(here):
                self._put(LEFT + inset, self.y + inset + size - 1 + row * leading(size), line, size, color, bold=bold)
            self.y += high + 7

    def field(self, label: str, value: str, *, line: bool = False) -> None:
        """A label and its value; ``line``: on a line, to be written on where there is no value."""
        start, size = LEFT + 112, 10.5
        lines = self.wrapped(value, RIGHT - start, size, False)
        self.room(leading(size) + (10 if line else 3))
        self.y += 7 if line else 0
        self._put(LEFT, self.y + size, label, size, SOFT)
        for row, text in enumerate(lines):
            if row:
                self.room(leading(size))
            self._put(start, self.y + size, text, size, INK)
            self.y += leading(size)
        if line:
            self.page.draw_line((start, self.y), (RIGHT, self.y), color=LINE, width=0.8)
        self.y += 3

    def ticked(self, text: str, status: str, done: bool) -> None:
        """A line of the checklist."""
        size, side, beside = 10.5, 9.0, 106.0
        lines = self.wrapped(text, RIGHT - LEFT - 18 - beside - 8, size, False)
        right = self.wrapped(status, beside, size, not done)
        self.room(max(len(lines), len(right)) * leading(size))
        x, y = LEFT + 1, self.y + 2.4
        self.page.draw_rect((x, y, x + side, y + side), color=BLUE if done else WARN, width=0.9)
        if done:
            self.page.draw_polyline(
                [(x + 1.8, y + 4.8), (x + 3.8, y + 7), (x + 7.6, y + 1.8)], color=BLUE, width=1.4, lineCap=1, lineJoin=1
            )
        for row, part in enumerate(lines):
            self._put(LEFT + 18, self.y + size + row * leading(size), part, size, INK)
        for row, part in enumerate(right):
            at = self.y + size + row * leading(size)
            self._put(RIGHT - beside, at, part, size, SOFT if done else WARN, bold=not done)
        self.y += max(len(lines), len(right)) * leading(size) + 3

    def picture(self, title: str, jpeg: bytes, below: Sequence[tuple[str, Rgb]]) -> None:
        """A photo under its title (if it has one), with lines of (text, colour) below."""
        from PIL import Image

        size = 9.0
        image = Image.open(io.BytesIO(jpeg), formats=["JPEG"])
        scale = min((RIGHT - LEFT) / image.width, PICTURE_HEIGHT / image.height)
        wide, high = image.width * scale, image.height * scale
        rows = sum(len(self.wrapped(text, RIGHT - LEFT, size, False)) for text, _ in below)
        self.room(min(leading(11) + high + 12 + rows * leading(size), HEIGHT - TOP - BOTTOM))
        if title:
            self.text(title, size=11, bold=True)
        image.thumbnail((PICTURE_SIDE, PICTURE_SIDE), Image.Resampling.LANCZOS)
        file = io.BytesIO()
        image.save(file, "JPEG", quality=85)
        self.page.insert_image((LEFT, self.y + 3, LEFT + wide, self.y + 3 + high), stream=file.getvalue())
        self.y += high + 8
        for text, color in below:
            self.text(text, size=size, color=color)
        self.gap(14)

    def ruled(self, keep: float) -> None:
        """Lines to write on, down to ``keep`` above the foot of the page."""
        while self.y + 26 <= HEIGHT - BOTTOM - keep:
            self.y += 26
            self.page.draw_line((LEFT, self.y), (RIGHT, self.y), color=LINE, width=0.8)

    def signing(self, signature: str, date: str) -> None:
        """Lines for a signature and a date."""
        self.y += 50
        for label, start, end in ((signature, LEFT, LEFT + 290), (date, LEFT + 310, RIGHT)):
            self._put(start, self.y, label, 10.5, SOFT)
            x = start + self.length(label, 10.5, False) + 8
            self.page.draw_line((x, self.y + 3), (end, self.y + 3), color=INK, width=0.8)
        self.y += 20

    def room(self, height: float) -> None:
        """Turn the page unless ``height`` is left on it."""
        if self.y + height > HEIGHT - BOTTOM and self.y > TOP:
            self._turn()

    def gap(self, height: float) -> None:
        """Empty space; none at the top of a page."""
        if self.y > TOP:
            self.y += height

    # --- lines

    def wrapped(self, text: str, width: float, size: float, bold: bool) -> list[str]:
        """``text`` in lines of at most ``width``: broken at blanks and between hanzi, within words if nothing helps."""
        lines: list[str] = []
        for paragraph in clean(text).strip().split("\n"):
            line, used = "", 0.0
            for piece in PIECES.findall(paragraph):
                if line and used + self.length(piece.rstrip(), size, bold) > width:
                    lines.append(line.rstrip())
                    line, used = "", 0.0
                piece = piece if line else piece.lstrip()
                while self.length(piece.rstrip(), size, bold) > width:
                    head = self._fitting(piece, width, size, bold)
                    lines.append(piece[:head])
                    piece = piece[head:]
                line, used = line + piece, used + self.length(piece, size, bold)
            lines.append(line.rstrip())
        return lines

    def length(self, text: str, size: float, bold: bool) -> float:
        """Width of ``text`` in points."""
        return size * sum(self._advance(char, bold) for char in text)

    def _fitting(self, text: str, width: float, size: float, bold: bool) -> int:
        """How many characters of ``text`` fit, at least one."""
        used = 0.0
        for count, char in enumerate(text):
            used += size * self._advance(char, bold)
            if used > width:
                return max(1, count)
        return len(text)

    def _advance(self, char: str, bold: bool) -> float:
        key = (char, bold)
        if key not in self.advances:
            self.advances[key] = float(self.fonts[bold].text_length(char, 1))
        return self.advances[key]

    def _put(self, x: float, y: float, text: str, size: float, color: Rgb, side: int = 1, bold: bool = False) -> None:
        """One line with its baseline at ``y``; ``side`` -1: it ends at ``x``."""
        if not text:
            return
        if (color, bold) != self.style:  # one after the other, so that the PDF can be read aloud and copied from
            self._flush()
            self.writer, self.style = self.kit.TextWriter(self.page.rect), (color, bold)
        start = x if side > 0 else x - self.length(text, size, bold)
        self.writer.append((start, y), text, font=self.fonts[bold], fontsize=size)

    def _turn(self) -> None:
        """Go on at the top of a new page."""
        self._flush()
        self.page, self.y = self._page(), TOP

    def _page(self) -> Any:  # noqa: ANN401 - a pymupdf.Page
        return self.document.new_page(width=WIDTH, height=HEIGHT)

    def _flush(self) -> None:
        if self.style is not None:
            color, bold = self.style
            # The Chinese font has no bold face: its outlines are drawn thicker.
            self.writer.write_text(self.page, color=color, render_mode=2 if bold and self.lang == "zh" else 0)
        self.writer = self.style = None


def leading(size: float) -> float:
    """From one baseline to the next."""
    return 1.5 * size


def moment(when: datetime, lang: Lang) -> str:
    """A time as people read it, with its time zone."""
    zone = when.strftime("%z")
    if lang == "en":
        return f"{when:%Y-%m-%d %H:%M} (UTC{zone[:3]}:{zone[3:5]})"
    return f"{when.year}年{when.month}月{when.day}日 {when:%H:%M}（UTC{zone[:3]}:{zone[3:5]}）"
