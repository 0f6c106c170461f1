"""The colour of a lit lamp, from its pixels.

A lamp adds its light to what the place would look like without it. So everything is reckoned in linear light, with the
surroundings taken off: what remains is the emission, and its hue is the lamp's, in sunlight (a washed-out pink is a
weak red on bright ground) as at night. An overexposed lamp has a white or yellow core that says nothing, because the
sensor clips one channel after the other; there the halo decides, whose pixels are not clipped.
"""

from __future__ import annotations

import colorsys
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vision.detections import Color

Box = Sequence[float]

_SAMPLE = 48
"""Long side, in samples, to which the box is thinned out: more pixels change nothing but the time."""
_MIN_CHROMA = 0.04
"""Least coloured emission, in linear light of 0..1, that counts as lit. The weakest real lamp measured has 0.3."""
_MIN_WHITE = 0.2
"""Least emission of a white lamp: grey print on a dial stays below."""


def lamp_color(rgb: NDArray[np.uint8], box: Box) -> Color | None:
    """Colour of the lit lamp in ``box``, None if no lit pixel decides.

    Right for 52 of 53 lamps of 18 real photos (on which its thresholds were set), and for 51 to 52 when these are made
    darker, noisier, warmer, colder or smaller, or the boxes are off by a fifth. The miss: a car drawn in white whose
    open door alone is red. With 1.8 times the light, two more are burnt out. White on coloured screens may be taken for
    green or blue.

    Args:
        rgb: the whole photo, uint8, (h, w, 3), sRGB. The surroundings of the box are needed too.
        box: x1, y1, x2, y2 in its pixels; what lies outside the photo is ignored.
    """
    light = _emission(rgb, box)
    if light is None:
        return None
    core = light.core()
    if light.peak < max(_MIN_CHROMA, 0.25 * light.strength) or core is None:
        return "white" if light.is_white else None
    halo = light.mean(~light.whitish, 0.12, 0.45)
    pale = 0.7 if core[0] == 1 else 0.5  # a red lamp burnt out in sunlight is pale too; a white one leans to blue
    if core.min() > pale and (halo is None or halo.min() > 0.4):
        return "white" if light.is_white else None
    return _named(core, halo)


def lamp_colors(rgb: NDArray[np.uint8], boxes: Iterable[Box]) -> tuple[Color | None, ...]:
    """`lamp_color` of each box."""
    return tuple(lamp_color(rgb, box) for box in boxes)


@dataclass(frozen=True)
class _Emission:
    """What the pixels in and around a box send out beyond their surroundings; n pixels.

    Attributes:
        pixel: float32, (n, 3), linear light.
        emission: float32, (n, 3), linear light, below 0 where the ground is brighter.
        chroma: float32, (n,): how much of it is colour, and colour that the pixel itself shows.
        in_box: bool, (n,): in the box, not the halo around it.
        peak: the chroma that the most coloured twentieth of the box reaches.
        strength: the emission of the brightest pixels in the box.
        is_white: whether these shine, and white.
    """

    pixel: NDArray[np.float32]
    emission: NDArray[np.float32]
    chroma: NDArray[np.float32]
    in_box: NDArray[np.bool_]
    peak: float
    strength: float
    is_white: bool

    @property
    def whitish(self) -> NDArray[np.bool_]:
        """Needles, print and reflections, which are no part of a coloured halo."""
        return np.asarray(self.emission.min(axis=1) > 0.6 * self.emission.max(axis=1))

    def core(self) -> NDArray[np.float32] | None:
        """Mean light, strongest channel 1, of the most coloured pixels in the box."""
        core = self.mean(self.in_box, 0.45, 9)
        if core is not None and core.min() < -0.05:
            # Darker than the ground in one channel: the drawing replaces the ground, as on a screen, and adds nothing.
            return self.mean(self.in_box, 0.45, 9, of=self.pixel)
        return core

    def mean(
        self, where: NDArray[np.bool_], low: float, high: float, of: NDArray[np.float32] | None = None
    ) -> NDArray[np.float32] | None:
        """Mean emission, strongest channel 1, of the pixels with ``low`` to ``high`` times the peak's chroma."""
        chosen = where & (self.chroma >= low * self.peak) & (self.chroma < high * self.peak)
        chosen &= self.emission.max(axis=1) > 0
        if chosen.sum() < 3:
            return None
        mean: NDArray[np.float32] = (self.emission if of is None else of)[chosen].mean(axis=0)
        mean /= mean.max()
        return mean


def _emission(rgb: NDArray[np.uint8], box: Box) -> _Emission | None:
    height, width = rgb.shape[:2]
    x1, y1 = max(0, math.floor(box[0])), max(0, math.floor(box[1]))
    x2, y2 = min(width, math.ceil(box[2])), min(height, math.ceil(box[3]))
    if x2 <= x1 or y2 <= y1:
        return None
    size = max(x2 - x1, y2 - y1)
    step = max(1, size // _SAMPLE)
    reach = max(4, round(1.2 * size))
    rows = np.arange(max(0, y1 - reach), min(height, y2 + reach), step)
    columns = np.arange(max(0, x1 - reach), min(width, x2 + reach), step)
    raw = rgb[rows[0] : rows[-1] + 1 : step, columns[0] : columns[-1] + 1 : step]
    light = _LINEAR[raw]
    # Distance to the box, 0 inside it.
    across = np.maximum(np.maximum(x1 - columns, columns - x2 + 1), 0)
    down = np.maximum(np.maximum(y1 - rows, rows - y2 + 1), 0)
    distance = np.maximum(down[:, None], across[None, :])
    around = distance > max(3, 0.7 * size)
    ground = np.median(light[around], axis=0) if around.any() else np.zeros(3, np.float32)
    near = distance <= max(2, 0.25 * size)

    pixel = light[near]
    emission = (pixel - ground).astype(np.float32)
    in_box = distance[near] == 0
    shown = pixel - pixel.mean(axis=1, keepdims=True)
    sent = emission - emission.mean(axis=1, keepdims=True)
    # White on a blue screen "emits" yellow beyond its blue ground but shows none: only colour that is both counts.
    agreement = (shown * sent).sum(axis=1) / (np.linalg.norm(shown, axis=1) * np.linalg.norm(sent, axis=1) + 1e-6)
    chroma = (emission.max(axis=1) - emission.min(axis=1)) * agreement.clip(0, 1)

    strength = emission.max(axis=1)
    brightest = in_box & (strength >= np.percentile(strength[in_box], 85))
    top = float(np.median(strength[brightest]))
    core = np.median(pixel[brightest], axis=0)
    return _Emission(
        pixel,
        emission,
        chroma.astype(np.float32),
        in_box,
        peak=float(np.percentile(chroma[in_box], 95)),
        strength=top,
        is_white=bool(top >= _MIN_WHITE and core.min() >= 0.5 * core.max()),
    )


def _srgb_to_linear() -> NDArray[np.float32]:
    """IEC 61966-2-1, for the 256 levels."""
    level = np.arange(256) / 255
    return np.where(level <= 0.04045, level / 12.92, ((level + 0.055) / 1.055) ** 2.4).astype(np.float32)


_LINEAR = _srgb_to_linear()


def _named(core: NDArray[np.float32], halo: NDArray[np.float32] | None) -> Color:
    """Name an emission (strongest channel 1).

    Red and amber differ by how far green exceeds blue: -0.3 to 0 in real red lamps, 0.2 to 0.8 in amber ones. An
    overexposed red lamp has a yellow core (0.1 to 0.6), but its halo stays at 0.07 or below, with green at 0.25 at
    most; the halo of an amber lamp has 0.09 to 0.6.
    """
    hue = _hue(core)
    if halo is not None and 75 <= hue < 290 and 75 <= _hue(halo) < 290:
        hue = _hue(halo)  # an overexposed blue lamp has a cyan core
    if 75 <= hue < 185:
        return "green"
    if 185 <= hue < 290:
        return "blue"
    if hue >= 290 or core[1] - core[2] < 0.08:
        return "red"
    red_halo = halo is not None and halo[0] == 1 and halo[1] < 0.35 and halo[1] - halo[2] < 0.085
    return "red" if red_halo else "amber"


def _hue(emission: NDArray[np.float32]) -> float:
    """HSV hue in degrees."""
    red, green, blue = (max(float(v), 0.0) for v in emission)
    return 360 * colorsys.rgb_to_hsv(red, green, blue)[0]
