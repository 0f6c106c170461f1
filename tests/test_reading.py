"""Reading text: RapidOCR itself on drawn clusters and on real photos, what it costs nothing, and how it fails."""

from __future__ import annotations

import builtins
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont

from knowledge.words import understand
from vision.detector import iou_matrix
from vision.photo import open_photo
from vision.reading import FakeReader, RapidReader, ReadingError, TextLine, tighten

ROOT = Path(__file__).resolve().parents[1]
AMBER, RED, GREEN, WHITE = (255, 170, 0), (255, 40, 30), (40, 230, 90), (235, 235, 235)


@pytest.fixture(scope="module")
def reader() -> RapidReader:
    return RapidReader.load()


def font(size: int, chinese: bool = False) -> ImageFont.FreeTypeFont:
    if chinese:
        return ImageFont.truetype(str(ROOT / "vision" / "NotoSansSC-subset.otf"), size)
    face = ImageFont.load_default(size)  # Aileron comes with Pillow
    assert isinstance(face, ImageFont.FreeTypeFont)
    return face


def drawn(*texts: tuple[str, tuple[int, int], int, tuple[int, int, int]], size=(1280, 640)) -> np.ndarray:
    """White-on-black clusters: (text, where, size in pixels, colour)."""
    image = Image.new("RGB", size, (14, 14, 16))
    draw = ImageDraw.Draw(image)
    for text, at, high, color in texts:
        draw.text(at, text, color, font(high, chinese=not text.isascii()))
    return np.asarray(image)


def glyphs(rgb: np.ndarray) -> tuple[int, int, int, int]:
    ys, xs = np.nonzero(rgb.max(axis=2) > 90)
    return int(xs.min()), int(ys.min()), int(xs.max()) + 1, int(ys.max()) + 1


def overlap(a, b) -> float:
    return float(iou_matrix(np.array([a], np.float32), np.array([b], np.float32))[0, 0])


@pytest.mark.parametrize(
    ("text", "color", "light", "named"),
    [
        ("BRAKE", RED, "brake_system", "red"),
        ("ABS", AMBER, "abs", "amber"),
        ("VSA", AMBER, "stability_control", "amber"),
        ("TPMS", AMBER, "tpms", "amber"),
        ("EPS", AMBER, "power_steering", "amber"),
        ("READY", GREEN, "ready", "green"),
        ("HOLD", GREEN, "auto_hold", "green"),
        ("PARK", RED, "parking_brake", "red"),
        ("SERVICE\nENGINE\nSOON", AMBER, "check_engine", "amber"),
        ("STARTER\nSYSTEM", AMBER, "other", "amber"),
    ],
)
@pytest.mark.parametrize("high", [15, 24])
def test_lamps_that_are_words(reader: RapidReader, text: str, color, light: str, named: str, high: int) -> None:
    rgb = drawn((text, (500, 300), high, color))
    (lamp,) = understand(reader.read(rgb)).lamps
    assert (lamp.label, lamp.color) == (light, named)
    assert overlap(lamp.box, glyphs(rgb)) >= 0.5


@pytest.mark.parametrize("text", ["READY", "BRAKE", "FUEL", "TEMP", "ECO", "PARK", "km/h", "OFF"])
def test_printed_words_are_no_lamps(reader: RapidReader, text: str) -> None:
    assert len(understand(reader.read(drawn((text, (500, 300), 22, WHITE)))).lamps) == 0


@pytest.mark.parametrize(
    ("text", "light"),
    [
        ("Brake system problem.\nSee your dealer.", "brake_system"),
        ("Front Left\nMalfunction\nService Required", None),
        ("Not Ready to Drive", None),
        ("请检查发动机", "check_engine"),
        ("制动系统故障", "brake_system"),
    ],
)
def test_messages(reader: RapidReader, text: str, light: str | None) -> None:
    rgb = drawn((text, (460, 260), 26, WHITE), ("120", (800, 200), 22, WHITE), ("km/h", (800, 300), 18, WHITE))
    (message,) = understand(reader.read(rgb)).messages
    assert message.light == light
    assert message.text.replace(" ", "") == text.replace("\n", "").replace(" ", "")


def test_a_region_is_read_and_its_boxes_are_the_photos(reader: RapidReader) -> None:
    rgb = drawn(("EPS", (900, 420), 22, AMBER), ("ABS", (60, 60), 22, AMBER))
    (line,) = reader.read(rgb, (700, 320, 1200, 600))
    assert line.text == "EPS"
    assert overlap(line.box, glyphs(rgb * (np.arange(1280)[None, :, None] > 600))) >= 0.5


@pytest.mark.parametrize("shape", [(8, 8, 3), (40, 400, 3), (500, 60, 3), (64, 64, 3)])
def test_odd_pictures_without_text(reader: RapidReader, shape) -> None:
    assert reader.read(np.full(shape, 30, np.uint8)) == ()


def test_a_box_is_shrunk_to_its_glyphs() -> None:
    rgb = drawn(("PARK", (100, 100), 24, RED))
    x1, y1, x2, y2 = glyphs(rgb)
    tight = tighten(rgb, (x1 - 9, y1 - 8, x2 + 9, y2 + 8))
    assert overlap(tight, (x1, y1, x2, y2)) >= 0.85


def test_the_fake_says_what_it_was_told() -> None:
    line = TextLine("BRAKE", (1, 2, 30, 12), 0.9, "red")
    assert FakeReader((line,)).read(np.zeros((40, 40, 3), np.uint8)) == (line,)


def test_nothing_is_fetched_and_nothing_is_printed(tmp_path: Path) -> None:
    code = (
        "import socket\n"
        "def no(*a, **k): raise AssertionError('network')\n"
        "socket.socket.connect = socket.getaddrinfo = no\n"
        "import numpy as np\n"
        "from vision.reading import RapidReader\n"
        "RapidReader.load().read(np.zeros((64, 64, 3), np.uint8))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env={**os.environ, "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert list(tmp_path.iterdir()) == []  # onnxruntime keeps what it means to report in a file there


@pytest.mark.parametrize(
    ("error", "mention"),
    [
        (
            ImportError("libGL.so.1: cannot open shared object file: No such file or directory"),
            "opencv-python-headless",
        ),
        (ModuleNotFoundError("No module named 'rapidocr'", name="rapidocr"), "pip install rapidocr"),
        (OSError("no *_det_*.onnx in models"), "opencv-python-headless rapidocr"),
    ],
)
def test_where_it_does_not_load_one_sentence_says_what_to_do(monkeypatch, error: Exception, mention: str) -> None:
    usual = builtins.__import__

    def broken(name, *args, **kwargs):
        if name == "rapidocr":
            raise error
        return usual(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", broken)
    with pytest.raises(ReadingError) as caught:
        RapidReader.load()
    for words in (caught.value.text.zh, caught.value.text.en):
        assert mention in words


REAL = [
    # photo, cluster, odometer in km, lamps, messages with the light that they name
    ("p012.jpg", (190, 110, 1180, 590), 43777, {"brake_system"}, {}),
    ("p015.jpg", (90, 80, 1190, 610), 38613, set(), {"LOW FUEL": "low_fuel"}),
    ("p016.jpg", (123, 124, 1079, 593), 46402, {"power_steering", "brake_system"}, {}),
    ("p021.jpg", (180, 220, 1190, 640), 17431, set(), {}),
    ("p040.jpg", (60, 130, 1440, 760), 1320, {"other"}, {}),
    ("p053.webp", (60, 230, 1540, 1020), None, {"parking_brake"},
     {"Not Ready to Drive": None, "Front Left Malfunction Service Required": None}),
]  # fmt: skip


@pytest.mark.parametrize(("name", "region", "km", "lamps", "messages"), REAL, ids=[row[0] for row in REAL])
def test_real_photos(reader: RapidReader, shared: Path, name: str, region, km, lamps, messages) -> None:
    folder = shared / "data" / "lights-dev"
    rgb = open_photo(folder / "photos" / name).rgb
    labelled = json.loads((folder / "labels.json").read_text("utf-8"))[name]["lights"]
    spots = [tuple(light["box"]) for light in labelled]  # stands for a detector's findings
    reading = understand(reader.read(rgb, region, spots))
    assert reading.mileage_km == km
    assert set(reading.lamps.labels) == lamps
    assert {message.text: message.light for message in reading.messages} == messages
    alone = {"power_steering", "other", "parking_brake"}  # words without a pictogram: their boxes are the labels'
    for lamp in reading.lamps:
        if lamp.label in alone:
            assert max(overlap(lamp.box, light["box"]) for light in labelled if light["class"] == lamp.label) >= 0.5
