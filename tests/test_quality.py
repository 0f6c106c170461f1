"""Which photos are too blurred, dark, burnt out or small to be judged."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFilter

from vision.photo import open_photo
from vision.quality import measure_quality


def drawn_cluster() -> Image.Image:
    """A dial with ticks and numerals, and two lamps, 1280 x 720."""
    image = Image.new("RGB", (1280, 720), (25, 25, 28))
    draw = ImageDraw.Draw(image)
    for x in (340, 940):
        draw.ellipse((x - 220, 140, x + 220, 580), outline="white", width=5)
        for i in range(12):
            draw.line((x - 180 + i * 30, 300, x - 180 + i * 30, 330), fill="white", width=4)
            draw.text((x - 190 + i * 30, 340), str(i * 20), fill="white", font_size=16)
    draw.rectangle((620, 200, 650, 225), outline=(255, 40, 40), width=4)
    draw.ellipse((620, 300, 650, 330), outline=(255, 180, 0), width=4)
    return image


def faults(image: Image.Image) -> set[str]:
    quality = measure_quality(np.asarray(image))
    return {fault for fault in ("blurred", "dark", "overexposed", "small") if getattr(quality, fault)}


def times(factor: float) -> Callable[[Image.Image], Image.Image]:
    return lambda image: image.point(lambda level: min(255, int(level * factor)))


def shaken(image: Image.Image) -> Image.Image:
    """Moved 30 px sideways during the exposure."""
    rows = np.pad(np.asarray(image, np.float32), ((0, 0), (30, 0), (0, 0)), mode="edge").cumsum(axis=1)
    return Image.fromarray(((rows[:, 30:] - rows[:, :-30]) / 30).clip(0, 255).astype(np.uint8))


def grainy(image: Image.Image) -> Image.Image:
    noise = np.random.default_rng(0).normal(0, 8, (image.height, image.width, 3))
    return Image.fromarray((np.asarray(image) + noise).clip(0, 255).astype(np.uint8))


def out_of_focus(image: Image.Image) -> Image.Image:
    return image.filter(ImageFilter.GaussianBlur(5 * max(image.size) / 1280))


ALTERED = [
    pytest.param(lambda image: image, set(), id="as it is"),
    pytest.param(lambda image: image.resize((image.width * 2, image.height * 2)), set(), id="twice the size"),
    pytest.param(lambda image: image.resize((image.width // 2, image.height // 2)), set(), id="half the size"),
    pytest.param(lambda image: image.transpose(Image.Transpose.ROTATE_90), set(), id="portrait"),
    pytest.param(grainy, set(), id="grainy"),
    pytest.param(out_of_focus, {"blurred"}, id="out of focus"),
    pytest.param(lambda image: grainy(out_of_focus(image)), {"blurred"}, id="out of focus and grainy"),
    pytest.param(shaken, {"blurred"}, id="shaken"),
    pytest.param(times(0.15), {"dark"}, id="nearly black"),
    pytest.param(lambda image: image.resize((300, 169)), {"small"}, id="thumbnail"),
]


@pytest.mark.parametrize(("alter", "expected"), ALTERED)
def test_quality(alter: Callable[[Image.Image], Image.Image], expected: set[str]) -> None:
    assert faults(alter(drawn_cluster())) == expected


def test_quality_of_a_burnt_out_photo() -> None:
    assert "overexposed" in faults(times(10)(drawn_cluster()))


def test_quality_of_the_real_photos(shared: Path) -> None:
    photos = sorted((shared / "data" / "lights-dev" / "photos").iterdir())
    for file in photos:
        image = Image.fromarray(open_photo(file).rgb)
        assert faults(image) == set(), file.name
        assert "blurred" in faults(out_of_focus(image)), file.name
        assert faults(times(0.15)(image)) == {"dark"}, file.name


def test_night_with_one_small_lamp_is_not_dark() -> None:
    image = Image.new("RGB", (1280, 720), (3, 3, 4))
    ImageDraw.Draw(image).ellipse((700, 300, 720, 320), outline=(235, 20, 20), width=3)
    assert "dark" not in faults(image)


@pytest.mark.parametrize("size", [(32, 32), (33, 640), (640, 33), (1, 1), (3, 2)])
def test_quality_of_odd_sizes(size: tuple[int, int]) -> None:
    assert "small" in faults(Image.new("RGB", size, "gray"))
