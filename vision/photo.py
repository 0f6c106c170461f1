"""Opening a photo safely.

Whatever comes in - a path somebody typed, the bytes of an upload - the outcome is a `Photo` or a `PhotoError` whose
one sentence says what is wrong and what to do; no other exception leaves `open_photo`.

Pillow's file classes are used directly instead of `Image.open`: the first bytes decide which one, so that only the
formats named here are ever parsed, and Pillow's process-wide settings (registered formats, bomb limit) stay untouched.
"""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from knowledge.text import UserError
from vision.quality import Quality, measure_quality

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Photo", "PhotoError", "Quality", "measure_quality", "open_photo"]

MAX_PIXELS = 100_000_000
"""Largest photo that is decoded; phones make up to 50 (some 108 or 200) megapixels, by default 12."""
MAX_BYTES = 64 * 1024 * 1024
MIN_SIDE = 32
"""No tell-tale can be read in fewer pixels, and the detector's stride is 32."""
MAX_ASPECT = 20
"""Long side over short side. Panoramas reach 10; beyond 20 it is no picture of a dashboard."""

_FORMATS_ZH = "JPEG、PNG、WebP 或 HEIC 格式的照片"
_FORMATS_EN = "a JPEG, PNG, WebP or HEIC photo"


class PhotoError(UserError):
    """This photo cannot be used. ``text`` names it and says why and what to do instead."""


@dataclass(frozen=True, eq=False)
class Photo:
    """A decoded photo.

    Attributes:
        rgb: uint8, shape (height, width, 3), sRGB, upright (EXIF orientation applied), read-only.
        name: what to call it before people: the file's name, or "" for bytes without one.

    Raises:
        ValueError: if ``rgb`` has another type or shape.
    """

    rgb: NDArray[np.uint8]
    name: str = ""

    def __post_init__(self) -> None:
        if self.rgb.dtype != np.uint8 or self.rgb.ndim != 3 or self.rgb.shape[2] != 3:
            raise ValueError(f"rgb must be uint8 of shape (h, w, 3), got {self.rgb.dtype} {self.rgb.shape}")

    @property
    def width(self) -> int:
        """Pixels."""
        return int(self.rgb.shape[1])

    @property
    def height(self) -> int:
        """Pixels."""
        return int(self.rgb.shape[0])


def open_photo(source: Path | str | bytes, name: str | None = None) -> Photo:
    """Read, check and decode a photo.

    JPEG (also CMYK, grey and the multi-picture files of phones), PNG, WebP, HEIC, BMP, GIF and TIFF; of several frames
    the first. Size limits (`MAX_BYTES`, `MAX_PIXELS`) are checked before anything is decoded. Transparency is laid over
    white, 16-bit values are scaled, an embedded colour profile is converted to sRGB, EXIF orientation is applied.

    Args:
        source: path of a file, or the bytes of one.
        name: what to call it in messages; by default the file's name.

    Raises:
        PhotoError: whatever is wrong with it.
    """
    if isinstance(source, bytes):
        shown = _printable(name or "")
        data = source
    else:
        shown = _printable(Path(source).name if name is None else name) or _printable(str(source))
        data = _read(Path(source), shown)
    if not data:
        raise _error(
            shown, "是空文件（0 字节），可能没有传完，请重新传一次", "is empty (0 bytes): send or copy it again"
        )
    if len(data) > MAX_BYTES:
        raise _too_many_bytes(shown)
    return Photo(_decode(data, shown), shown)


# --- reading -----------------------------------------------------------------------------------------------------


def _error(name: str, zh: str, en: str) -> PhotoError:
    """The sentence "<name> <zh>。" / "<name> <en>.", about "this photo" when it has no name."""
    return PhotoError(f"{name} {zh}。" if name else f"这张照片{zh}。", f"{name or 'This photo'} {en}.")


def _printable(name: str) -> str:
    """``name`` fit for a message: valid Unicode, on one line, not endless."""
    name = name.encode("utf-8", "replace").decode("utf-8")
    name = "".join(c if c.isprintable() else "?" for c in name)
    return name if len(name) <= 80 else f"{name[:40]}…{name[-36:]}"


def _too_many_bytes(name: str) -> PhotoError:
    limit = MAX_BYTES // 1024 // 1024
    return _error(
        name,
        f"超过 {limit} MB，请换一张小一些的照片，用手机默认设置拍的即可",
        f"is larger than {limit} MB: send a smaller one, as a phone takes it by default",
    )


def _read(path: Path, name: str) -> bytes:
    """The file's bytes, one more than `MAX_BYTES` at most. Devices and pipes are never opened: they may not end."""
    try:
        mode = path.stat().st_mode
        if stat.S_ISDIR(mode):
            raise _error(name, "是文件夹，请选里面的一张照片", "is a folder: name one of the photos in it")
        if not stat.S_ISREG(mode):
            raise _error(name, "不是普通文件，请选一张照片", "is not an ordinary file: name a photo")
        with path.open("rb") as file:
            return file.read(MAX_BYTES + 1)
    except PermissionError as error:
        raise _error(
            name,
            "没有读取权限，请修改文件权限或换一张照片",
            "may not be read: change its permissions or take another photo",
        ) from error
    except (FileNotFoundError, NotADirectoryError, ValueError) as error:  # ValueError: a NUL in the path
        raise _error(name, "不存在，请检查路径和文件名", "does not exist: check the path and the file name") from error
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno else type(error).__name__
        raise _error(
            name,
            f"读取失败（{reason}），请检查路径和存储设备",
            f"cannot be read ({reason}): check path and disk",
        ) from error


# --- what kind of file -------------------------------------------------------------------------------------------

_HEIC_BRANDS = {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs"}


def _file_class(data: bytes) -> Callable[[BytesIO], Image.Image] | None:
    """The Pillow class that reads a file with this beginning, None if it is none of the accepted formats."""
    from PIL import BmpImagePlugin, GifImagePlugin, JpegImagePlugin, PngImagePlugin, TiffImagePlugin, WebPImagePlugin

    if data[4:8] == b"ftyp":
        if not _brands(data) & _HEIC_BRANDS:
            return None
        from pillow_heif import HeifImageFile

        heif: Callable[[BytesIO], Image.Image] = HeifImageFile
        return heif
    if data.startswith(b"RIFF"):
        return WebPImagePlugin.WebPImageFile if data[8:12] == b"WEBP" else None
    by_start: dict[bytes, Callable[[BytesIO], Image.Image]] = {
        b"\xff\xd8\xff": JpegImagePlugin.JpegImageFile,  # of a multi-picture file (MPO) it reads the first
        b"\x89PNG\r\n\x1a\n": PngImagePlugin.PngImageFile,
        b"GIF8": GifImagePlugin.GifImageFile,
        b"BM": BmpImagePlugin.BmpImageFile,
        b"II*\0": TiffImagePlugin.TiffImageFile,
        b"MM\0*": TiffImagePlugin.TiffImageFile,
    }
    return next((reader for start, reader in by_start.items() if data.startswith(start)), None)


def _brands(data: bytes) -> set[bytes]:
    """Major and compatible brands of an ISO base media file (ISO/IEC 14496-12, box ``ftyp``)."""
    end = min(int.from_bytes(data[:4], "big"), 256, len(data))
    return {data[8:12]} | {data[i : i + 4] for i in range(16, end - 3, 4)}


def _not_a_photo(data: bytes, name: str) -> PhotoError:
    """Says what the file is instead of a photo, as far as its beginning tells."""
    head = data[:1024]
    lower = head.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    is_media = data[4:8] == b"ftyp"  # ISO base media: MP4, MOV, 3GP, but also AVIF
    if is_media and _brands(data) & {b"avif", b"avis"}:
        what = ("是 AVIF 图片，暂不支持", "is an AVIF picture, which is not supported")
    elif is_media or head.startswith(b"\x1a\x45\xdf\xa3") or (head[:4] == b"RIFF" and head[8:12] == b"AVI "):
        what = ("是视频，不是照片", "is a video, not a photo")
    elif head.startswith(b"%PDF"):
        what = ("是 PDF 文档，不是照片", "is a PDF document, not a photo")
    elif lower.startswith(b"<svg") or b"<svg" in lower:
        what = ("是 SVG 矢量图，不是照片", "is an SVG drawing, not a photo")
    elif lower.startswith((b"<!doctype html", b"<html")):
        what = ("是网页，不是照片", "is a web page, not a photo")
    elif _is_text(head):
        what = ("是文本文件，不是照片", "is a text file, not a photo")
    else:
        what = ("不是能识别的照片", "is not a photo that can be recognised")
    return _error(name, f"{what[0]}，请改用 {_FORMATS_ZH}", f"{what[1]}: use {_FORMATS_EN}")


def _is_text(head: bytes) -> bool:
    if head.startswith((b"\xff\xfe", b"\xfe\xff")):  # UTF-16
        return True
    return not any(b < 9 or 13 < b < 32 for b in head)


# --- decoding ----------------------------------------------------------------------------------------------------


def _decode(data: bytes, name: str) -> NDArray[np.uint8]:
    """Bytes to upright sRGB pixels.

    Decoders meet hostile bytes here and answer with any exception there is (OSError, SyntaxError, struct.error,
    zlib.error, ...); all of them mean that the file is damaged.
    """
    reader = _file_class(data)
    if reader is None:
        raise _not_a_photo(data, name)
    try:
        image = reader(BytesIO(data))
        _check_size(image.size, name)
        image.load()
        _check_size(image.size, name)  # HEIC and GIF may turn out larger than their headers said
        orientation = _orientation(image)  # after load(): a PNG may carry its EXIF behind the pixels
        return np.asarray(_upright(_to_rgb(image), orientation))
    except PhotoError:
        raise
    except Image.DecompressionBombError as error:
        raise _error(name, "像素过多，请缩小后再试", "has too many pixels: reduce it and try again") from error
    except MemoryError as error:
        raise _error(
            name, "太大，内存不足，请缩小后再试", "does not fit into memory: reduce it and try again"
        ) from error
    except Exception as error:
        raise _error(
            name,
            "已损坏或不完整，请重新传原图或重新拍一张",
            "is damaged or incomplete: send it again or take another",
        ) from error


def _check_size(size: tuple[int, int], name: str) -> None:
    width, height = size
    if width * height > MAX_PIXELS:
        raise _error(
            name,
            f"有 {width}×{height} 像素，超过 {MAX_PIXELS // 10**8} 亿像素的上限，请缩小后再试",
            f"has {width}×{height} pixels, above the limit of {MAX_PIXELS // 10**6} megapixels: reduce it first",
        )
    if min(size) < MIN_SIDE:
        raise _error(
            name,
            f"只有 {width}×{height} 像素，看不清指示灯，请用手机拍的原图",
            f"has only {width}×{height} pixels, too few to show a lamp: use the photo as the phone took it",
        )
    if max(size) > MAX_ASPECT * min(size):
        raise _error(
            name,
            f"尺寸为 {width}×{height}，过于狭长，请正对仪表盘重新拍一张",
            f"is {width}×{height} pixels, far too narrow: take a new photo straight at the dashboard",
        )


_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""EXIF 2.32, tag 0x0112: how the stored picture must be turned. TIFF and HEIC come upright from their decoders."""


def _orientation(image: Image.Image) -> int:
    """1 to 8. A damaged EXIF block must not cost the photo: then 1."""
    try:
        value = image.getexif().get(0x0112, 1)
    except Exception:  # same reason as in _decode
        return 1
    return value if isinstance(value, int) and value in _TURNS else 1


def _upright(image: Image.Image, orientation: int) -> Image.Image:
    turn = _TURNS.get(orientation)
    return image if turn is None else image.transpose(turn)


def _to_rgb(image: Image.Image) -> Image.Image:
    """Any mode to 8-bit sRGB: alpha over white, 16 bits scaled (Pillow's own conversion clips), profile applied."""
    if image.mode.startswith("I") or image.mode == "F":
        return _scaled_to_8_bit(image).convert("RGB")
    if "A" in image.mode or "a" in image.mode or "transparency" in image.info:
        profile = image.info.get("icc_profile")
        image = image.convert("RGBA")
        ground = Image.new("RGB", image.size, "white")
        ground.paste(image, mask=image.getchannel("A"))
        ground.info["icc_profile"] = profile
        image = ground
    return _to_srgb(image)


def _scaled_to_8_bit(image: Image.Image) -> Image.Image:
    """Greyscale of 16 or 32 bits or floats: the range that the values need (8 bits, 16 bits, more) becomes 0..255."""
    values = np.nan_to_num(np.asarray(image).astype(np.float32), posinf=0, neginf=0)
    if image.mode.startswith("I;16"):
        top = 65535.0
    else:
        highest = float(values.max())
        ranges = (1.0, 255.0, 65535.0) if image.mode == "F" else (255.0, 65535.0)
        top = next((limit for limit in ranges if highest <= limit), highest)
    values *= 255 / top
    return Image.fromarray(values.clip(0, 255).astype(np.uint8))


def _to_srgb(image: Image.Image) -> Image.Image:
    """Apply the embedded ICC profile (phones embed Display P3, scanners CMYK ones); one that is no use is ignored."""
    profile = image.info.get("icc_profile")
    if isinstance(profile, bytes) and image.mode in ("RGB", "CMYK"):
        from PIL import ImageCms

        try:
            source = ImageCms.ImageCmsProfile(BytesIO(profile))
            fits = source.profile.xcolor_space.strip() == image.mode
            if fits and "srgb" not in (source.profile.profile_description or "").lower():
                target = ImageCms.createProfile("sRGB")
                converted = ImageCms.profileToProfile(image, source, target, outputMode="RGB")
                if converted is not None:
                    return converted
        except Exception:  # noqa: S110 - same reason as in _decode; without its profile the photo is still a photo
            pass
    return image.convert("RGB")
