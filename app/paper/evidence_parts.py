"""What an evidence package is made of besides photos: its words, names for its files, the place that a photo holds."""

from __future__ import annotations

import errno
import io
import math
import os
import re
import unicodedata
from functools import cache
from pathlib import Path, PurePosixPath

from knowledge.text import Lang, Text, UserError

LONGEST_NAME = 120
"""Bytes of a file name: some systems stop at 255, and a number may be added."""


class EvidenceError(UserError):
    """The package cannot be made so. ``text`` says what is wrong and what to do."""


# --- words ---------------------------------------------------------------------------------------------------------


@cache
def texts() -> dict[str, Text]:
    """All words by id, such as ``report.title``."""
    import yaml

    rows = yaml.safe_load((Path(__file__).parent / "evidence.yaml").read_text("utf-8"))
    return {f"{group}.{key}": Text(**words) for group, entries in rows.items() for key, words in entries.items()}


def word(key: str, lang: Lang, **values: object) -> str:
    """The words ``key`` of evidence.yaml in ``lang``, with ``{name}`` places filled in."""
    words = texts()[key].in_(lang)
    return words.format(**values) if values else words


def evidence_error(key: str, **values: object) -> EvidenceError:
    """The sentence ``key`` of evidence.yaml as an error."""
    values = {name: clean(str(value)) for name, value in values.items()}
    return EvidenceError(word(key, "zh", **values), word(key, "en", **values))


def clean(text: str) -> str:
    """``text`` as it can be printed: line ends kept; no other control signs, nor those that turn the reading around."""
    text = text.replace("\r\n", "\n").replace("\r", "\n").replace("\t", "    ")
    text = text.encode("utf-8", "replace").decode("utf-8")  # half a surrogate pair, from a file name that is no UTF-8
    return "".join(char for char in text if char == "\n" or unicodedata.category(char) not in ("Cc", "Cf", "Co"))


def check_out(out: Path) -> None:
    """See that a file can be made there, before there is work to be lost.

    Raises:
        EvidenceError: if it is a folder, or in none.
    """
    if out.is_dir() or not out.parent.is_dir():
        reason = os.strerror(errno.EISDIR if out.is_dir() else errno.ENOENT)
        raise evidence_error("error.cannot_write", path=out, reason=reason)


# --- names ---------------------------------------------------------------------------------------------------------

_PHOTO = re.compile(r"\.(jpe?g|png|webp|hei[cf]|gif|bmp|tiff?)", re.IGNORECASE)
_STARTS = {b"\xff\xd8": ".jpg", b"\x89P": ".png", b"RI": ".webp", b"GI": ".gif", b"BM": ".bmp", b"II": ".tif"}
_STARTS |= {b"MM": ".tif"}
_DEVICE = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.IGNORECASE)  # what Windows takes for one


class Names:
    """Names of photos that no system stumbles over, each given once."""

    def __init__(self) -> None:
        self.taken: set[str] = set()

    def take(self, given: str, data: bytes) -> str:
        """``given`` made safe for the file ``data``; a second file of that name, whatever its case, gets a number."""
        stem, suffix = _safe(given, data)
        name, count = stem + suffix, 2
        while name.casefold() in self.taken:
            name, count = f"{stem}-{count}{suffix}", count + 1
        self.taken.add(name.casefold())
        return name


def _safe(given: str, data: bytes) -> tuple[str, str]:
    """Stem and suffix of a name without folders and reserved signs, and with the suffix of a photo."""
    name = unicodedata.normalize("NFC", clean(re.split(r"[/\\]", given)[-1]).replace("\n", " "))
    path = PurePosixPath(re.sub(r'[<>:"|?*]', "_", name).strip("._- ") or "photo")
    stem, suffix = (path.stem, path.suffix) if _PHOTO.fullmatch(path.suffix) else (path.name, "")
    if not suffix:  # a photo called photo.exe must not be opened as a program
        suffix = _STARTS.get(data[:2], ".heic")
    stem = stem.encode()[:LONGEST_NAME].decode("utf-8", "ignore").rstrip("._- ") or "photo"
    return f"_{stem}" if _DEVICE.fullmatch(stem) else stem, suffix


# --- the place -----------------------------------------------------------------------------------------------------


def photo_position(data: bytes) -> tuple[float, float] | None:
    """Latitude and longitude stored in a photo, in degrees; None where there are none that make sense."""
    from vision.photo import _file_class

    reader = _file_class(data)
    if reader is None:
        return None
    try:
        gps = reader(io.BytesIO(data)).getexif().get_ifd(0x8825)  # EXIF 2.32, 4.6.6: 1 to 4 are latitude, longitude
        latitude, longitude = (
            math.fsum(float(part) / 60**power for power, part in enumerate(gps[tag])) for tag in (2, 4)
        )
        latitude *= -1 if str(gps[1]).upper().startswith("S") else 1
        longitude *= -1 if str(gps[3]).upper().startswith("W") else 1
    except Exception:  # as in vision.photo: hostile bytes raise anything, and a damaged EXIF block must not cost more
        return None
    there = abs(latitude) <= 90 and abs(longitude) <= 180 and (latitude, longitude) != (0, 0)  # 0, 0: never set
    return (latitude, longitude) if there else None


def degrees(latitude: float, longitude: float) -> str:
    """A position for people."""
    north, east = "N" if latitude >= 0 else "S", "E" if longitude >= 0 else "W"
    return f"{abs(latitude):.5f}° {north}, {abs(longitude):.5f}° {east}"
