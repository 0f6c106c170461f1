"""The drawings of lamps: our SVG pictograms and lamps that are words, as masks of what glows.

One SVG file per class in ``training/glyphs``; its drawings stand side by side in cells of 100 x 100 units, so opening
the file in any editor shows all of them in a row. To teach a new lamp, add such a file.
"""

from __future__ import annotations

import functools
import io
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import resvg_py
from numpy.random import Generator
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from training.lamps import CAPTIONS, WORDS

Mask = NDArray[np.uint8]

FOLDER = Path(__file__).parent / "glyphs"
CELL = 192  # pixels a cell is rasterised at; lamps are drawn smaller than this


def tight(mask: Mask) -> Mask:
    """The mask without its dark margins."""
    ys, xs = np.nonzero(mask > 40)
    if not len(xs):
        raise ValueError("the drawing holds nothing that glows")
    return np.ascontiguousarray(mask[ys.min() : ys.max() + 1, xs.min() : xs.max() + 1])


def rasterise(svg: str) -> list[Mask]:
    """The drawings in an SVG text whose viewBox is (100 n) x 100, as tight uint8 masks of at most CELL pixels."""
    png = resvg_py.svg_to_bytes(svg_string=svg, height=CELL, skip_system_fonts=True)
    rgba = np.asarray(Image.open(io.BytesIO(bytes(png))).convert("RGBA"), np.float32)
    lit = (rgba[..., :3].mean(axis=2) * rgba[..., 3] / 255).astype(np.uint8)
    cells = round(lit.shape[1] / CELL)
    return [tight(lit[:, i * CELL : (i + 1) * CELL]) for i in range(cells)]


@functools.cache
def drawings(folder: Path = FOLDER) -> dict[str, list[Mask]]:
    """All drawings by class id (and ``distractor``: things on a cluster that are no tell-tales)."""
    return {path.stem: rasterise(path.read_text(encoding="utf-8")) for path in sorted(folder.glob("*.svg"))}


@functools.cache
def silhouettes(path: Path = FOLDER.parent / "silhouettes.svg") -> list[Mask]:
    """Cars seen from above with their doors closed; open doors are drawn beside them."""
    return rasterise(path.read_text(encoding="utf-8"))


# Known to hold Latin letters; a machine's other fonts may be symbols only.
_FAMILIES = (
    "DejaVuSans-",
    "DejaVuSans.",
    "DejaVuSansCondensed",
    "LiberationSans",
    "Roboto",
    "OpenSans",
    "Arial",
    "NotoSans-",
)


@functools.cache
def font_files() -> tuple[Path, ...]:
    """Upright or oblique sans fonts of this machine; matplotlib (which ultralytics brings) always carries one."""
    from matplotlib import font_manager

    own = Path(font_manager.__file__).parent / "mpl-data" / "fonts" / "ttf"
    found = [Path(p) for p in font_manager.findSystemFonts()] + sorted(own.glob("DejaVuSans*.ttf"))
    sans = {p.name: p for p in found if p.suffix == ".ttf" and p.name.startswith(_FAMILIES)}
    return tuple(sans[name] for name in sorted(sans))


@functools.lru_cache(maxsize=64)
def _font(path: Path, size: int) -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(str(path), size)


def words(text: str, rng: Generator, size: int = 72, bold: bool | None = None) -> Mask:
    """A text ("|" breaks lines) as a tight mask, in a random sans font, sometimes squeezed or spaced."""
    files = font_files()
    if bold is not None:
        files = tuple(f for f in files if ("Bold" in f.name) == bold) or files
    font = _font(files[rng.integers(len(files))], size)
    lines = text.split("|")
    image = Image.new("L", (int(size * 0.9 * max(map(len, lines))) + 2 * size, int(size * 1.4 * len(lines)) + size))
    ImageDraw.Draw(image).multiline_text(
        (size // 2, size // 2),
        "\n".join(lines),
        fill=255,
        font=font,
        align="center",
        spacing=int(size * rng.uniform(0.0, 0.2)),
        stroke_width=int(rng.integers(0, 3)),
    )
    mask = tight(np.asarray(image))
    squeeze = rng.uniform(0.7, 1.2)
    return np.asarray(
        cv2.resize(mask, (max(4, int(mask.shape[1] * squeeze)), mask.shape[0]), interpolation=cv2.INTER_AREA)
    )


def _stack(top: Mask, bottom: Mask, rng: Generator) -> Mask:
    """``bottom`` centred under ``top`` with a small gap."""
    width = int(top.shape[1] * rng.uniform(0.9, 1.25))
    bottom = cv2.resize(
        bottom, (width, max(4, int(top.shape[0] * rng.uniform(0.28, 0.42)))), interpolation=cv2.INTER_AREA
    )
    gap = int(top.shape[0] * rng.uniform(0.06, 0.16))
    out = np.zeros((top.shape[0] + gap + bottom.shape[0], max(top.shape[1], width)), np.uint8)
    for part, y in ((top, 0), (bottom, top.shape[0] + gap)):
        x = (out.shape[1] - part.shape[1]) // 2
        out[y : y + part.shape[0], x : x + part.shape[1]] = part
    return out


def lamp_mask(label: str, rng: Generator, folder: Path = FOLDER) -> tuple[Mask, bool]:
    """One random drawing of a lamp and whether it is a word: about CELL pixels high, thinner or bolder at random.

    Turn signals are drawn pointing left and mirrored half of the time; nothing else is ever mirrored, since the
    symbols of ISO 2575 are not symmetric.
    """
    pictures: Sequence[Mask] = drawings(folder).get(label, ())
    texts = WORDS.get(label, ())
    if not pictures and not texts:
        raise ValueError(f"no drawing of {label!r}: add {folder / (label + '.svg')}")
    if not pictures or (texts and rng.random() < 0.22):
        return words(texts[rng.integers(len(texts))], rng, bold=bool(rng.random() < 0.7)), True
    mask = pictures[int(rng.integers(len(pictures)))]
    if label == "turn_signal" and rng.random() < 0.5:
        mask = np.ascontiguousarray(mask[:, ::-1])
    if rng.random() < 0.5:  # stroke width differs from maker to maker
        k = int(rng.integers(2, 6))
        kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (k, k))
        padded = cv2.copyMakeBorder(mask, 6, 6, 6, 6, cv2.BORDER_CONSTANT)
        changed = cv2.dilate(padded, kernel) if rng.random() < 0.6 else cv2.erode(padded, kernel)
        if (changed > 40).sum() > 0.5 * (mask > 40).sum():
            mask = tight(np.asarray(changed, np.uint8))
    # Some drawings carry their word already: those are higher than wide.
    if label in CAPTIONS and mask.shape[0] < 1.1 * mask.shape[1] and rng.random() < 0.2:
        captions = CAPTIONS[label]
        mask = _stack(mask, words(captions[rng.integers(len(captions))], rng, bold=True), rng)
    return mask, False
