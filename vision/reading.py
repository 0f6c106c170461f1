"""Reads text in a photo: the reader seam, its RapidOCR implementation, and a fake for tests.

Lamps that are words, messages on screens and the odometer are text. The reader says what is written where, and in which
colour it is lit; what that means is for `knowledge.words`. Nothing here is loaded before text is really read, and
nothing is ever fetched: the models lie inside the installed package `rapidocr` and are named by path.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from knowledge.text import UserError
from vision.color import lamp_color
from vision.detections import Color

if TYPE_CHECKING:
    from rapidocr import RapidOCR

Rgb = NDArray[np.uint8]
Box = tuple[float, float, float, float]  # x1, y1, x2, y2 in pixels of the photo

SIDE = 1280
"""Long side, in pixels, of the picture in which text is looked for. At 960 the smallest lamp words are lost."""
MOST_PIXELS = 1280 * 760
"""At most this many pixels of it: a photo without a cluster would else take twice as long."""
MOST_ENLARGED = 2.0
MARGIN = (0.12, 0.12)
"""How far beyond the cluster's box text is looked for, as a share of its width and height: lamps stand at the edge."""
MOST_LINES = 24
"""Lines read per photo. The widest come first: single numerals of a dial say nothing."""
MOST_SPOTS = 10
"""Lit spots read beside the lines, where the text detector saw no line; the widest come first here too."""
NARROWEST = 1.3
"""Width over height below which a box holds no word: the shortest lamp words, with their margin, have 1.5."""
LEAST_CONFIDENCE = 0.5


class ReadingError(UserError):
    """Text cannot be read on this machine; everything else still works."""


@dataclass(frozen=True)
class TextLine:
    """One line of text. ``box`` is tight around its glyphs; ``color`` is None where nothing is lit."""

    text: str
    box: Box
    confidence: float
    color: Color | None = None


class TextReader(Protocol):
    """Anything that reads text."""

    def read(self, rgb: Rgb, region: Sequence[float] | None = None, spots: Sequence[Box] = ()) -> tuple[TextLine, ...]:
        """The lines of text in an upright uint8 RGB photo of shape (H, W, 3), from top to bottom.

        Args:
            rgb: the photo.
            region: x1, y1, x2, y2 of the cluster, around which is looked a little further; default: everywhere.
            spots: boxes that may hold a lit word too small to be noticed, such as a detector's weak findings.
        """
        ...


@dataclass
class FakeReader:
    """Says what it was told to say. For tests of what happens after reading."""

    lines: tuple[TextLine, ...] = ()

    def read(self, rgb: Rgb, region: Sequence[float] | None = None, spots: Sequence[Box] = ()) -> tuple[TextLine, ...]:
        """The lines given at construction."""
        return self.lines


@dataclass
class RapidReader:
    """RapidOCR (PP-OCR's small models) run by onnxruntime on the CPU. Safe to share between threads."""

    engine: RapidOCR
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @classmethod
    def load(cls, threads: int = 2) -> RapidReader:
        """With the models inside the installed package.

        Raises:
            ReadingError: if the package, its models or OpenCV can't be loaded here.
        """
        from models.session import keep_quiet

        keep_quiet()
        try:
            import rapidocr

            models = Path(str(rapidocr.__file__)).parent / "models"
            params: dict[str, Any] = {
                # Named by path, for otherwise a model that is missing would be fetched.
                "Det.model_path": str(_only(models, "*_det_*.onnx")),
                "Rec.model_path": str(_only(models, "*_rec_*.onnx")),
                "Global.log_level": "critical",
                "Global.use_cls": False,  # text in an upright photo stands upright
                "Global.max_side_len": 2 * SIDE,
                "Det.limit_type": "max",
                "Det.limit_side_len": SIDE,
                "Det.box_thresh": 0.4,
                # Batches are padded to at least this width: most lines of a dial are short.
                "Rec.rec_img_shape": [3, 48, 96],
                "EngineConfig.onnxruntime.intra_op_num_threads": threads,
            }
            engine = rapidocr.RapidOCR(params=params)
            # Loaded now, so that a broken installation shows here and not in the middle of a photo.
            engine.recognize_txt([np.zeros((48, 96, 3), np.uint8)])
        except ModuleNotFoundError as error:
            raise ReadingError(
                zh=f"读不了仪表上的文字，因为没有装 {error.name}：请运行 pip install rapidocr；其他功能照常。",
                en=f"Text on the cluster can't be read, since {error.name} is not installed: run 'pip install "
                "rapidocr'; everything else works without it.",
            ) from error
        except (ImportError, OSError) as error:
            # Typically the other OpenCV, on a machine without a screen: it wants libGL.so.1.
            raise ReadingError(
                zh=f"读不了仪表上的文字，因为文字识别加载失败（{_first_line(error)}）：请运行 "
                "pip install --force-reinstall opencv-python-headless rapidocr；其他功能照常。",
                en=f"Text on the cluster can't be read, since its reader doesn't load ({_first_line(error)}): run "
                "'pip install --force-reinstall opencv-python-headless rapidocr'; everything else works without it.",
            ) from error
        return cls(engine)

    def read(self, rgb: Rgb, region: Sequence[float] | None = None, spots: Sequence[Box] = ()) -> tuple[TextLine, ...]:
        """As ``TextReader.read``."""
        where = _inside(_widened(region) if region else (0, 0, rgb.shape[1], rgb.shape[0]), rgb)
        x1, y1, x2, y2 = where
        if x2 - x1 < 16 or y2 - y1 < 16:
            return ()
        bgr = np.ascontiguousarray(rgb[..., ::-1])
        with self._lock:
            quads = self._find(rgb[y1:y2, x1:x2]) + np.array([x1, y1], np.float32)
            widest = sorted((quad for quad in quads if _aspect(quad) >= NARROWEST), key=_aspect, reverse=True)
            found = np.array(widest[:MOST_LINES], np.float32).reshape(-1, 4, 2)
            boxes: list[Box] = [(*q.min(axis=0).tolist(), *q.max(axis=0).tolist()) for q in found]
            lines = self._recognize(rgb, self.engine.crop_text_regions(bgr, found), boxes)
            # A second reading of what the text detector overlooks: lit words that bloom, and the thin last digit of an
            # odometer.
            strips = [strip for spot in [*spots, *_lit_spots(rgb, where)] for strip in _strips(rgb, spot)]
            numbers = [line for line in lines if 4 <= _digits(line.text) <= 6 and not set(line.text) & set(".:")]
            places = [_longer(line) for line in numbers] + _unread(strips, lines)[:MOST_SPOTS]
            edges = [_inside(box, rgb) for box in places]
            crops = [np.ascontiguousarray(bgr[b:d, a:c]) for a, b, c, d in edges]
            again = self._recognize(rgb, crops, [(float(a), float(b), float(c), float(d)) for a, b, c, d in edges])
            lines = lines + [line for line in again if _is_news(line, lines)]
        return tuple(sorted(_once(lines), key=lambda line: (line.box[1], line.box[0])))

    def _recognize(self, rgb: Rgb, crops: Sequence[Rgb], boxes: Sequence[Box]) -> list[TextLine]:
        """The text in BGR cuttings of the photo that stood in these boxes."""
        if not crops:
            return []
        read = self.engine.recognize_txt(list(crops))
        lines = []
        for text, confidence, box in zip(read.txts or (), read.scores or (), boxes, strict=True):
            if text.strip() and confidence >= LEAST_CONFIDENCE:
                tight = tighten(rgb, box)
                lines.append(TextLine(text.strip(), tight, float(confidence), lamp_color(rgb, tight)))
        return lines

    def _find(self, view: Rgb) -> NDArray[np.float32]:
        """Where text is, as corners (n, 4, 2) in pixels of ``view``."""
        h, w = view.shape[:2]
        scale = min(SIDE / max(h, w), math.sqrt(MOST_PIXELS / (h * w)), MOST_ENLARGED)
        size = max(32, round(w * scale)), max(32, round(h * scale))
        shown = np.asarray(Image.fromarray(view).resize(size, Image.Resampling.BICUBIC))
        seen = self.engine(np.ascontiguousarray(shown[..., ::-1]), use_det=True, use_cls=False, use_rec=False)
        boxes = getattr(seen, "boxes", None)
        if boxes is None:
            return np.zeros((0, 4, 2), np.float32)
        return np.asarray(boxes, np.float32) * np.array([w / size[0], h / size[1]], np.float32)


def tighten(rgb: Rgb, box: Sequence[float]) -> Box:
    """The box shrunk to the glyphs in it, which a text detector surrounds with a margin.

    Glyphs are what shines beyond the box's own rim, or is darker where the ground is bright. Never shrunk to less than
    a third of either side: then the light is no writing.
    """
    x1, y1, x2, y2 = _inside(box, rgb)
    strength = _strength(rgb[y1:y2, x1:x2])
    if strength is None:
        return float(box[0]), float(box[1]), float(box[2]), float(box[3])
    lit = strength > 0.4 * np.percentile(strength, 97)
    rows = _brightest(lit.sum(axis=1), 0.04 * (x2 - x1))
    lit[: rows[0]] = lit[rows[1] :] = False
    columns = _span(lit.sum(axis=0), 1)
    top, bottom = rows if rows[1] - rows[0] >= (y2 - y1) / 3 else (0, y2 - y1)
    left, right = columns if columns[1] - columns[0] >= (x2 - x1) / 3 else (0, x2 - x1)
    return float(x1 + left), float(y1 + top), float(x1 + right), float(y1 + bottom)


def _strength(patch: Rgb) -> NDArray[np.float32] | None:
    """How far each pixel stands out from the patch's rim, strongest channel; None if the patch is too small."""
    if min(patch.shape[:2]) < 4:
        return None
    light = (patch.astype(np.float32) / 255) ** 2.2
    rim = np.concatenate([light[0], light[-1], light[:, 0], light[:, -1]])
    ground = np.median(rim, axis=0)
    above = (light - ground).max(axis=2)
    below = (ground - light).max(axis=2)
    strength = above if np.percentile(above, 95) >= 0.5 * np.percentile(below, 95) else below
    return np.asarray(strength.clip(0, None), np.float32)


def _span(count: NDArray[Any], least: float) -> tuple[int, int]:
    """From the first to behind the last index with at least ``least``; (0, 0) if there is none."""
    there = np.flatnonzero(count >= least)
    return (int(there[0]), int(there[-1]) + 1) if len(there) else (0, 0)


def _brightest(count: NDArray[Any], least: float) -> tuple[int, int]:
    """The run of indices with more than ``least`` that holds the most: the line of text, not its neighbours' edges."""
    best, most, start = (0, 0), 0.0, 0
    for end in range(len(count) + 1):
        if end == len(count) or count[end] <= least:
            if count[start:end].sum() > most:
                best, most = (start, end), float(count[start:end].sum())
            start = end + 1
    return best


def _lit_spots(rgb: Rgb, region: tuple[int, int, int, int]) -> list[Box]:
    """Coloured lights of a word's size and shape, in pixels of the photo, the most coloured first.

    The text detector overlooks short words that bloom; their colour gives them away.
    """
    import cv2

    x1, y1, x2, y2 = region
    step = max(1, round(max(x2 - x1, y2 - y1) / SIDE))
    view = rgb[y1:y2:step, x1:x2:step]
    high = view.max(axis=2)
    colored = ((high.astype(np.int16) - view.min(axis=2) > 70) & (high > 120)).astype(np.uint8)
    joined = cv2.morphologyEx(colored, cv2.MORPH_CLOSE, np.ones((3, 7), np.uint8))
    _, _, stats, _ = cv2.connectedComponentsWithStats(joined)
    side = max(view.shape[:2])
    spots: list[tuple[float, Box]] = []
    for left, top, width, height, area in stats[1:].tolist():
        shaped = 1.1 * height <= width <= 9 * height and area >= 0.35 * width * height
        if shaped and height >= 6 and 12 <= width <= 0.14 * side:
            a, b = x1 + left * step, y1 + top * step
            spots.append((float(area), (a, b, a + width * step, b + height * step)))
    return [spot for _, spot in sorted(spots, key=lambda s: -s[0])]


def _strips(rgb: Rgb, spot: Box) -> list[Box]:
    """The lines of writing in a lit spot: STARTER above SYSTEM, BRAKE below a pictogram."""
    x1, y1, x2, y2 = _inside((spot[0] - 2, spot[1] - 2, spot[2] + 2, spot[3] + 2), rgb)
    strength = _strength(rgb[y1:y2, x1:x2])
    if strength is None:
        return []
    whole = (0, y2 - y1)
    # A row of E and S is dark between its strokes too, so the whole is read beside its parts; a wide spot is one line.
    rows = [whole] if x2 - x1 > 2.3 * (y2 - y1) else [whole, *_rows(strength.mean(axis=1), 0)]
    strips = [(x1, y1 + top, x2, y1 + end) for top, end in rows if x2 - x1 >= NARROWEST * (end - top)]
    return list(dict.fromkeys((float(a), float(b), float(c), float(d)) for a, b, c, d in strips))


def _rows(profile: NDArray[np.float32], start: int) -> list[tuple[int, int]]:
    """Parts of a profile of light, at least 6 rows each, that darker rows part from each other."""
    best, at = 0.6, 0
    for row in range(6, len(profile) - 6):
        depth = float(profile[row]) / max(min(float(profile[:row].max()), float(profile[row + 1 :].max())), 1e-6)
        if depth < best:
            best, at = depth, row
    if not at:
        return [(start, start + len(profile))]
    return _rows(profile[:at], start) + _rows(profile[at + 1 :], start + at + 1)


def _unread(strips: Sequence[Box], lines: Sequence[TextLine]) -> list[Box]:
    """Strips that neither a sure line nor another strip of the same height covers, the widest first."""
    kept: list[Box] = []
    sure = [line.box for line in lines if line.confidence >= 0.8 and len(line.text) > 2]
    for strip in sorted(strips, key=lambda s: (s[3] - s[1]) / (s[2] - s[0])):
        same = any(_covered(strip, box) > 0.6 and _covered(box, strip) > 0.6 for box in kept)
        if not same and all(_covered(strip, box) < 0.5 for box in sure):
            kept.append(strip)
    return [(x1 - 2, y1 - 1, x2 + 2, y2 + 1) for x1, y1, x2, y2 in kept]


def _longer(line: TextLine) -> Box:
    """The place of a number with room for one more digit at either end."""
    x1, y1, x2, y2 = line.box
    return x1 - 0.9 * (y2 - y1), y1 - 0.15 * (y2 - y1), x2 + 0.9 * (y2 - y1), y2 + 0.15 * (y2 - y1)


def _digits(text: str) -> int:
    return sum(c.isdigit() for c in text)


def _is_news(line: TextLine, known: Sequence[TextLine]) -> bool:
    """Whether a second reading may stand: a word where no sure line is, or a number again with a digit or unit more.

    Numbers that are read in lit spots alone are pictograms.
    """
    for first in known:
        if max(_covered(first.box, line.box), _covered(line.box, first.box)) > 0.3 and first.confidence >= 0.8:
            more = _digits(line.text) - _digits(first.text)
            longer = _digits(first.text) >= 4 and more in (0, 1) and first.text in line.text
            return longer and line.confidence >= 0.85
    return any(c.isalpha() for c in line.text)


def _once(lines: Sequence[TextLine]) -> list[TextLine]:
    """Of lines that lie on each other, the longest of those that are sure, else the surest."""
    kept: list[TextLine] = []
    for line in sorted(lines, key=lambda line: (line.confidence < 0.9, -len(line.text), -line.confidence)):
        if all(_covered(line.box, other.box) < 0.6 and _covered(other.box, line.box) < 0.6 for other in kept):
            kept.append(line)
    return kept


def _covered(box: Box, by: Box) -> float:
    """The share of ``box`` that lies in ``by``."""
    width = min(box[2], by[2]) - max(box[0], by[0])
    height = min(box[3], by[3]) - max(box[1], by[1])
    area = (box[2] - box[0]) * (box[3] - box[1])
    return max(0.0, width) * max(0.0, height) / area if area > 0 else 0.0


def _aspect(quad: NDArray[np.float32]) -> float:
    """Width over height of four corners, clockwise from the top left."""
    width, height = float(np.linalg.norm(quad[1] - quad[0])), float(np.linalg.norm(quad[3] - quad[0]))
    return width / max(height, 1.0)


def _widened(region: Sequence[float]) -> Box:
    x1, y1, x2, y2 = region
    across, down = MARGIN[0] * (x2 - x1), MARGIN[1] * (y2 - y1)
    return x1 - across, y1 - down, x2 + across, y2 + down


def _inside(box: Sequence[float], rgb: Rgb) -> tuple[int, int, int, int]:
    h, w = rgb.shape[:2]
    return max(0, int(box[0])), max(0, int(box[1])), min(w, -int(-box[2] // 1)), min(h, -int(-box[3] // 1))


def _only(folder: Path, pattern: str) -> Path:
    """The model in the package.

    Raises:
        FileNotFoundError: if it isn't there.
    """
    found = sorted(folder.glob(pattern))
    if not found:
        raise FileNotFoundError(f"no {pattern} in {folder.name}")
    return found[0]


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:120]
