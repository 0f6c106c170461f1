"""Whatever file comes in, the outcome is an upright sRGB photo or one clear sentence."""

from __future__ import annotations

import io
import os
import struct
import subprocess
import sys
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pillow_heif
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image, ImageCms, ImageDraw

from vision.photo import MAX_BYTES, Photo, PhotoError, open_photo

RED, WHITE = (200, 30, 40), (255, 255, 255)


def picture(size: tuple[int, int] = (96, 64)) -> Image.Image:
    """Blue ground, red block at the top left: every turn of it looks different."""
    image = Image.new("RGB", size, (30, 60, 150))
    ImageDraw.Draw(image).rectangle((0, 0, size[0] // 3, size[1] // 4), fill=RED)
    return image


def saved(image: Image.Image, format_: str, **options: object) -> bytes:
    pillow_heif.register_heif_opener()
    file = io.BytesIO()
    image.save(file, format_, **options)
    return file.getvalue()


def close(rgb: np.ndarray, color: tuple[int, ...], by: int = 12) -> bool:
    """Whether a patch inside the block has this colour."""
    return bool(np.abs(rgb[4:12, 4:20].reshape(-1, 3).mean(axis=0) - np.array(color)).max() <= by)


def two_frames(format_: str) -> bytes:
    return saved(picture(), format_, save_all=True, append_images=[Image.new("RGB", (96, 64), "white")])


READABLE: dict[str, Callable[[], bytes]] = {
    "jpeg": lambda: saved(picture(), "JPEG", quality=92),
    "progressive jpeg": lambda: saved(picture(), "JPEG", quality=92, progressive=True),
    "png": lambda: saved(picture(), "PNG"),
    "palette png": lambda: saved(picture().quantize(8), "PNG"),
    "webp": lambda: saved(picture(), "WEBP", quality=92),
    "heic": lambda: saved(picture(), "HEIF", quality=92),
    "bmp": lambda: saved(picture(), "BMP"),
    "tiff": lambda: saved(picture(), "TIFF", compression="tiff_lzw"),
    "animated webp": lambda: two_frames("WEBP"),
    "animated gif": lambda: two_frames("GIF"),
    "animated png": lambda: two_frames("PNG"),
    "multi-picture jpeg": lambda: two_frames("MPO"),
    "rgba png": lambda: saved(picture().convert("RGBA"), "PNG"),
}


@pytest.mark.parametrize("kind", READABLE)
def test_formats(kind: str) -> None:
    photo = open_photo(READABLE[kind]())
    assert (photo.width, photo.height, photo.rgb.dtype) == (96, 64, np.uint8)
    assert close(photo.rgb, RED)
    assert not photo.rgb.flags.writeable


def sixteen_bit(mode: str) -> bytes:
    values = np.full((64, 96), 0x8000, np.uint16)
    return saved(Image.fromarray(values) if mode == "I;16" else Image.fromarray(values.astype(np.int32)), "PNG")


def transparent(mode: str) -> bytes:
    image = Image.new("RGBA", (96, 64), (0, 0, 0, 0))
    if mode == "P":
        return saved(Image.new("P", (96, 64), 0), "PNG", transparency=0)
    return saved(image.convert(mode), "PNG")


@pytest.mark.parametrize(
    ("make", "color"),
    [
        pytest.param(lambda: saved(picture().convert("CMYK"), "JPEG", quality=95), RED, id="cmyk jpeg"),
        pytest.param(lambda: saved(picture().convert("CMYK"), "TIFF"), RED, id="cmyk tiff"),
        pytest.param(lambda: saved(Image.new("L", (96, 64), 90), "JPEG"), (90, 90, 90), id="grey jpeg"),
        pytest.param(lambda: saved(Image.new("1", (96, 64), 1), "PNG"), WHITE, id="1 bit"),
        pytest.param(lambda: sixteen_bit("I;16"), (127, 127, 127), id="16-bit png is scaled, not clipped"),
        pytest.param(
            lambda: saved(Image.fromarray(np.full((64, 96), 0.5, np.float32)), "TIFF"), (127, 127, 127), id="float tiff"
        ),
        pytest.param(
            lambda: saved(Image.fromarray(np.full((64, 96), 40000, np.int32)), "TIFF"),
            (155, 155, 155),
            id="32-bit tiff",
        ),
        pytest.param(lambda: transparent("RGBA"), WHITE, id="rgba over white"),
        pytest.param(lambda: transparent("LA"), WHITE, id="grey with alpha over white"),
        pytest.param(lambda: transparent("P"), WHITE, id="transparent palette over white"),
    ],
)
def test_modes(make: Callable[[], bytes], color: tuple[int, ...]) -> None:
    assert close(open_photo(make()).rgb, color)


STORED = {1: None, 2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}
"""EXIF orientation: the PIL transposition (by its number) that undoes it, as a camera would store the picture."""


@pytest.mark.parametrize("format_", ["JPEG", "PNG", "WEBP", "TIFF", "HEIF"])
@pytest.mark.parametrize("orientation", STORED)
def test_exif_orientation(format_: str, orientation: int) -> None:
    undo = STORED[orientation]
    stored = picture() if undo is None else picture().transpose(Image.Transpose(undo))
    exif = Image.Exif()
    exif[0x0112] = orientation
    photo = open_photo(saved(stored, format_, exif=exif.tobytes()))
    assert (photo.width, photo.height) == (96, 64)
    assert close(photo.rgb, RED, by=20)


@pytest.mark.filterwarnings("ignore:Corrupt EXIF")
def test_damaged_exif_does_not_cost_the_photo() -> None:
    assert close(open_photo(saved(picture(), "JPEG", quality=92, exif=b"Exif\0\0MM\0*\xff\xff\xff\xff")).rgb, RED)


def swapped_profile() -> bytes:
    """A profile by which red means green: sRGB's own with two colorants exchanged, under another name."""
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    name = profile.replace("sRGB".encode("utf-16-be"), "swap".encode("utf-16-be")).replace(b"sRGB", b"swap")
    return name.replace(b"rXYZ", b"xXYZ").replace(b"gXYZ", b"rXYZ").replace(b"xXYZ", b"gXYZ")


def test_color_profile_is_applied() -> None:
    red, green, _ = open_photo(saved(picture(), "PNG", icc_profile=swapped_profile())).rgb[8, 8]
    assert green > 150 > red


@pytest.mark.parametrize("profile", [b"no profile", b"\0" * 200, swapped_profile()[:180]])
def test_useless_color_profile_is_ignored(profile: bytes) -> None:
    assert close(open_photo(saved(picture(), "PNG", icc_profile=profile)).rgb, RED, by=0)


# --- what cannot be opened ---------------------------------------------------------------------------------------


def png_header(width: int, height: int, pixels: bytes = b"") -> bytes:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")


def huge_png() -> bytes:
    """A valid picture of 20000 x 10000 pixels in a few kilobytes."""
    return png_header(20_000, 10_000, zlib.compress(bytes(2501) * 10_000))


def huge_jpeg() -> bytes:
    data = bytearray(saved(picture(), "JPEG"))
    at = data.index(b"\xff\xc0") + 5
    data[at : at + 4] = struct.pack(">HH", 65_000, 65_000)
    return bytes(data)


def huge_gif() -> bytes:
    data = bytearray(saved(picture(), "GIF"))
    data[6:10] = struct.pack("<HH", 65_535, 65_535)
    return bytes(data)


def huge_gif_frame() -> bytes:
    """A small screen whose only frame is gigantic."""
    data = bytearray(saved(picture(), "GIF"))
    at = data.index(b"\x2c\0\0\0\0") + 5
    data[at : at + 4] = struct.pack("<HH", 65_535, 65_535)
    return bytes(data)


def huge_bmp() -> bytes:
    data = bytearray(saved(picture(), "BMP"))
    data[18:26] = struct.pack("<ii", 60_000, 60_000)
    return bytes(data)


def huge_webp() -> bytes:
    data = bytearray(saved(picture(), "WEBP", exif=b"Exif\0\0MM\0*\0\0\0\x08\0\0"))
    at = data.index(b"VP8X") + 12
    data[at : at + 6] = (16_382).to_bytes(3, "little") * 2
    return bytes(data)


def huge_heic() -> bytes:
    data = bytearray(saved(picture(), "HEIF"))
    at = data.index(b"ispe") + 8
    data[at : at + 8] = struct.pack(">II", 30_000, 30_000)
    return bytes(data)


HUGE = [huge_png, huge_jpeg, huge_gif, huge_gif_frame, huge_bmp, huge_webp, huge_heic]

DAMAGED, NO_PHOTO = "is damaged or incomplete", "use a JPEG, PNG, WebP or HEIC photo"
REFUSED: list[tuple[str, Callable[[], bytes], str]] = [
    ("empty.jpg", lambda: b"", "is empty"),
    ("text.jpg", lambda: "写给张师傅：发动机灯亮了。\n".encode(), "is a text file"),
    ("utf16.jpg", lambda: "engine lamp".encode("utf-16"), "is a text file"),
    ("page.jpg", lambda: b"\n<!DOCTYPE html><html></html>", "is a web page"),
    ("drawing.png", lambda: b'<?xml version="1.0"?><svg xmlns="http://www.w3.org/2000/svg"/>', "is an SVG drawing"),
    ("scan.jpg", lambda: b"%PDF-1.7\n%\xe2\xe3", "is a PDF document"),
    ("clip.jpg", lambda: b"\0\0\0\x18ftypmp42\0\0\0\0isommp42" + bytes(64), "is a video"),
    ("clip.mov", lambda: b"\0\0\0\x14ftypqt  \0\0\0\0qt  " + bytes(64), "is a video"),
    ("clip.webm", lambda: b"\x1a\x45\xdf\xa3" + bytes(64), "is a video"),
    ("new.avif", lambda: b"\0\0\0\x1cftypavif\0\0\0\0avifmif1miaf" + bytes(64), "is an AVIF picture"),
    ("noise.jpg", lambda: bytes(range(256)) * 4, NO_PHOTO),
    ("half.jpg", lambda: saved(picture(), "JPEG")[:-300], DAMAGED),
    ("half.png", lambda: saved(picture(), "PNG")[:-60], DAMAGED),
    ("half.webp", lambda: saved(picture(), "WEBP")[:-60], DAMAGED),
    ("half.heic", lambda: saved(picture(), "HEIF")[:-60], DAMAGED),
    ("start.heic", lambda: saved(picture(), "HEIF")[:60], DAMAGED),
    ("start.jpg", lambda: b"\xff\xd8\xff\xe0", DAMAGED),
    ("huge.png", huge_png, "20000×10000 pixels, above the limit of 100 megapixels"),
    ("dot.png", lambda: saved(Image.new("RGB", (1, 1)), "PNG"), "has only 1×1 pixels"),
    ("icon.png", lambda: saved(Image.new("RGB", (31, 400)), "PNG"), "has only 31×400 pixels"),
    ("line.png", lambda: saved(Image.new("RGB", (1, 60_000)), "PNG"), "has only 1×60000 pixels"),
    ("strip.png", lambda: saved(Image.new("RGB", (32, 700)), "PNG"), "far too narrow"),
    ("heavy.jpg", lambda: saved(picture(), "JPEG") + bytes(MAX_BYTES), "is larger than 64 MB"),
]


@pytest.mark.parametrize(("name", "make", "says"), REFUSED, ids=[row[0] for row in REFUSED])
def test_refused_with_one_sentence(name: str, make: Callable[[], bytes], says: str, tmp_path: Path) -> None:
    file = tmp_path / name
    file.write_bytes(make())
    with pytest.raises(PhotoError) as caught:
        open_photo(file)
    text = caught.value.text
    assert text.en.startswith(f"{name} ")
    assert says in text.en
    assert text.zh.startswith(f"{name} ")
    assert text.zh.endswith("。")
    assert text.zh.count("。") == 1
    assert text.en.count(". ") == 0


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="peak memory is read from /proc")
@pytest.mark.parametrize("make", HUGE)
def test_a_hostile_header_costs_no_memory(make: Callable[[], bytes], tmp_path: Path) -> None:
    file = tmp_path / "huge"
    file.write_bytes(make())
    program = (
        "import pathlib, sys\n"
        "from vision.photo import PhotoError, open_photo\n"
        "try: open_photo(sys.argv[1])\n"
        "except PhotoError as error: print(error)\n"
        "status = pathlib.Path('/proc/self/status').read_text()\n"
        "print(int(status.split('VmHWM:')[1].split()[0]) // 1024)\n"
    )
    root = Path(__file__).parents[1]
    done = subprocess.run(
        [sys.executable, "-c", program, str(file)], cwd=root, capture_output=True, text=True, check=True
    )
    sentence, megabytes = done.stdout.splitlines()
    assert "pixels" in sentence or DAMAGED in sentence
    assert int(megabytes) < 200


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda folder: folder, "is a folder"),
        (lambda folder: folder / "gone.jpg", "does not exist"),
        (lambda folder: folder / "gone" / "a.jpg", "does not exist"),
        (lambda folder: "a\0b.jpg", "does not exist"),
        (lambda folder: folder / ("n" * 300), "cannot be read"),
        (lambda folder: "", "is a folder"),
        pytest.param(
            lambda folder: "/dev/zero",
            "is not an ordinary file",
            marks=pytest.mark.skipif(not Path("/dev/zero").exists(), reason="no /dev/zero on this system"),
        ),
    ],
)
def test_paths_that_are_no_photo(make: Callable[[Path], Path | str], says: str, tmp_path: Path) -> None:
    with pytest.raises(PhotoError) as caught:
        open_photo(make(tmp_path))
    assert says in caught.value.text.en


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes on this system")
def test_a_pipe_is_refused_without_waiting_for_a_writer(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.jpg")
    with pytest.raises(PhotoError, match="not an ordinary file"):
        open_photo(tmp_path / "pipe.jpg")


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="the superuser may read everything")
def test_no_permission(tmp_path: Path) -> None:
    file = tmp_path / "locked.jpg"
    file.write_bytes(saved(picture(), "JPEG"))
    file.chmod(0)
    with pytest.raises(PhotoError, match="may not be read"):
        open_photo(file)


def test_names_in_messages_are_fit_to_print(tmp_path: Path) -> None:
    strange = os.fsdecode(b"a\nb\xff.jpg")
    with pytest.raises(PhotoError) as caught:
        open_photo(tmp_path / strange)
    assert caught.value.text.en.startswith("a?b?.jpg does not exist")
    with pytest.raises(PhotoError) as caught:
        open_photo(b"", name="n" * 500)
    assert len(caught.value.text.en) < 200


def test_bytes_without_a_name() -> None:
    with pytest.raises(PhotoError) as caught:
        open_photo(b"")
    assert caught.value.text.en.startswith("This photo is empty")
    assert caught.value.text.zh.startswith("这张照片是空文件")


def test_path_name_and_bytes(tmp_path: Path) -> None:
    file = tmp_path / "仪表盘.jpg"
    file.write_bytes(saved(picture(), "JPEG"))
    from_path, from_text, from_bytes = open_photo(file), open_photo(str(file)), open_photo(file.read_bytes(), "x.jpg")
    assert (from_path.name, from_text.name, from_bytes.name) == ("仪表盘.jpg", "仪表盘.jpg", "x.jpg")
    assert (from_path.rgb == from_bytes.rgb).all()


@pytest.mark.parametrize("rgb", [np.zeros((4, 4), np.uint8), np.zeros((4, 4, 4), np.uint8), np.zeros((4, 4, 3))])
def test_photo_checks_its_pixels(rgb: np.ndarray) -> None:
    with pytest.raises(ValueError, match="rgb must be uint8"):
        Photo(rgb)


# --- fuzzing -----------------------------------------------------------------------------------------------------

SEEDS = {
    "jpeg": saved(picture(), "JPEG", exif=b"Exif\0\0MM\0*\0\0\0\x08\0\1\1\x12\0\3\0\0\0\1\0\6\0\0\0\0\0\0"),
    "png": saved(picture(), "PNG", icc_profile=swapped_profile()),
    "webp": saved(picture(), "WEBP"),
    "heic": saved(picture(), "HEIF"),
    "gif": two_frames("GIF"),
    "bmp": saved(picture(), "BMP"),
    "tiff": saved(picture(), "TIFF", compression="tiff_lzw"),
}


@st.composite
def damaged(draw: st.DrawFn, whole: bytes) -> bytes:
    """A file cut short, with bytes changed (mostly near its start, where the headers are) or inserted."""
    data = bytearray(whole)
    places = st.one_of(st.integers(0, min(400, len(data) - 1)), st.integers(0, len(data) - 1))
    for place, value in draw(st.lists(st.tuples(places, st.integers(0, 255)), max_size=8)):
        data[place] = value
    if draw(st.booleans()):
        at = draw(places)
        data[at:at] = draw(st.binary(max_size=16))
    if draw(st.booleans()):
        del data[draw(st.integers(0, len(data))) :]
    return bytes(data)


@pytest.mark.filterwarnings("ignore")  # Pillow warns of odd metadata
@pytest.mark.parametrize("kind", SEEDS)
def test_damaged_bytes_give_a_photo_or_a_photo_error(kind: str) -> None:
    @settings(max_examples=60, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(data=damaged(SEEDS[kind]))
    def check(data: bytes) -> None:
        try:
            photo = open_photo(data)
        except PhotoError:
            return
        assert photo.rgb.shape == (photo.height, photo.width, 3)

    check()
