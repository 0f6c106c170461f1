"""Measuring whether a photo is good enough to judge: focus, light, size. A few milliseconds for 12 megapixels."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageChops

_APART = 6
"""Pixels, at a long side of 640, that the blur of a usable photo does not reach across."""


@dataclass(frozen=True)
class Quality:
    """Whether a photo can be judged. Every property that is true is a reason to ask for another one.

    The thresholds were set on 18 real phone photos of clusters and on altered copies of them; each property says what
    the two had.

    Attributes:
        sharpness: how much of the contrast of its strongest edges lies within 1/640 of the long side, noise taken off.
            0 for a blank wall, about 0.2 to 0.6 for a photo in focus.
        brightness: the level, 0..255, that only the brightest 0.01 % of the pixels pass in their brightest channel.
        washed_out: share of pixels, 0..1, that are white in all channels.
        short_side: pixels.
    """

    sharpness: float
    brightness: float
    washed_out: float
    short_side: int

    @property
    def blurred(self) -> bool:
        """Out of focus or shaken beyond use.

        Real photos 0.22 to 0.56; dimmed to 40 % with noise added 0.14 and more. Gaussian blur of 3 px per 1280 px of
        width leaves 0.07 at most, 4 px 0.04, motion of 25 px 0.06. Of 18 copies with 2 px one counts as blurred.
        """
        return self.sharpness < 0.07

    @property
    def dark(self) -> bool:
        """Not even the lamps are bright. A night photo with one small lit lamp is not dark: that lamp is bright.

        Real photos 255, copies with a fifth of the light 51.
        """
        return self.brightness < 64

    @property
    def overexposed(self) -> bool:
        """Much of it is burnt out. Real photos 0.07 at most; copies with 6 times the light 0.23 to 0.96."""
        return self.washed_out > 0.4

    @property
    def small(self) -> bool:
        """Lamps are about 1/40 of a photo's width: below 320 px on the short side too few pixels are left of them."""
        return self.short_side < 320


def measure_quality(rgb: NDArray[np.uint8]) -> Quality:
    """Measure sharpness and light of a photo (uint8, (h, w, 3)).

    Sharpness is measured at a long side of 640 px: there one pixel of focus error in a 12-megapixel photo does not
    matter, as it does not for reading lamps. It is the 99.8th percentile of the absolute second difference of luminance
    between neighbours, over the same between pixels six apart, which blur of a few pixels leaves alone; so the contrast
    of the scene, and whether edges or fine lines make it, hardly matters. Of four directions the worst counts, so that
    a photo shaken in one direction is blurred. 4.6 times the median is taken off, which is what the same percentile of
    Gaussian noise would be; without that, noise would pass for detail.
    """
    height, width = rgb.shape[:2]
    step = max(1, round(max(height, width) / 1280))
    # Skipping whole rows before Pillow sees them makes 12 megapixels three times faster than a full reduction.
    sample = Image.fromarray(np.ascontiguousarray(rgb[::step])).reduce((step, 1))
    red, green, blue = sample.split()
    brightest = ImageChops.lighter(ImageChops.lighter(red, green), blue).histogram()
    dimmest = ImageChops.darker(ImageChops.darker(red, green), blue).histogram()
    pixels = sample.width * sample.height
    return Quality(
        sharpness=_sharpness(sample.convert("L")),
        brightness=float(np.searchsorted(np.cumsum(brightest), 0.9999 * pixels)),
        washed_out=sum(dimmest[250:]) / pixels,
        short_side=min(height, width),
    )


def _sharpness(luma: Image.Image) -> float:
    scale = 640 / max(luma.size)
    if scale < 1:
        size = (max(1, round(luma.width * scale)), max(1, round(luma.height * scale)))
        luma = luma.resize(size, Image.Resampling.BILINEAR)
    if min(luma.size) <= 2 * _APART:
        return 0.0
    y = np.asarray(luma, dtype=np.int16)
    near = min(_above_noise(_bends(y, dx, dy, 1)) for dx, dy in ((1, 0), (0, 1), (1, 1), (1, -1)))
    far = max(_percentiles(_bends(y, dx, dy, _APART), 0.998)[0] for dx, dy in ((1, 0), (0, 1)))
    return max(0.0, near) / max(far, 40.0)  # below 40 levels the picture is a plain surface, and its noise no detail


def _bends(y: NDArray[np.int16], dx: int, dy: int, apart: int) -> NDArray[np.int16]:
    """Absolute second differences along a direction."""
    height, width = y.shape

    def shifted(by: int) -> NDArray[np.int16]:
        top, left = apart + by * dy, apart + by * dx
        return y[top : top + height - 2 * apart, left : left + width - 2 * apart]

    bends: NDArray[np.int16] = np.abs(shifted(apart) + shifted(-apart) - 2 * shifted(0))
    return bends


def _above_noise(bends: NDArray[np.int16]) -> float:
    """99.8th percentile less that of Gaussian noise with the same median (3.09 / 0.674 = 4.6 times the median)."""
    median, high = _percentiles(bends, 0.5, 0.998)
    return high - 4.6 * median


def _percentiles(values: NDArray[np.int16], *shares: float) -> list[float]:
    """By counting, several times faster than `numpy.percentile` for small integers."""
    return [float(v) for v in np.searchsorted(np.bincount(values.ravel()).cumsum(), np.array(shares) * values.size)]
