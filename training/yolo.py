"""Data sets in Ultralytics' own layout (data.yaml, images/, labels/), read without Ultralytics, as it would do it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from knowledge.text import UserError

SPLITS = ("train", "val", "test")
IMAGES = frozenset(".avif .bmp .dng .heic .heif .jp2 .jpeg .jpg .mpo .png .tif .tiff .webp".split())
Box = tuple[float, float, float, float]


class DataError(UserError):
    """A data set that cannot be read at all."""


class RowError(ValueError):
    """A label row that breaks the format. ``kind`` is one of malformed, unknown_class, outside, inverted."""

    def __init__(self, kind: str) -> None:
        super().__init__(kind)
        self.kind = kind


@dataclass(frozen=True)
class DataSet:
    """``names``: classes in the order of their numbers; ``splits``: pictures by split, sorted."""

    file: Path
    names: tuple[str, ...]
    splits: dict[str, tuple[Path, ...]]

    @classmethod
    def read(cls, file: Path) -> DataSet:
        """From a data.yaml, or the folder that holds one.

        Raises:
            DataError: if it cannot be read, names no classes, or names folders that are not there.
        """
        file = file / "data.yaml" if file.is_dir() else file
        content = _content(file)
        root = _root(file, content)
        splits: dict[str, tuple[Path, ...]] = {}
        for split in SPLITS:
            given = content.get(split) or (content.get("validation") if split == "val" else None)
            if given:
                parts = given if isinstance(given, list) else [given]
                splits[split] = tuple(sorted({p for part in parts for p in _pictures(file, root, str(part))}))
        return cls(file, _names(file, content), splits)

    def split(self, name: str) -> tuple[Path, ...]:
        """The pictures of one split.

        Raises:
            DataError: if there are none.
        """
        if pictures := self.splits.get(name, ()):
            return pictures
        known = ", ".join(key for key, value in self.splits.items() if value) or "-"
        raise DataError(
            zh=f"{self.file} 的 {name} 里没有图片, 有图片的是: {known}。",
            en=f"The split {name} of {self.file} holds no pictures; those that do: {known}.",
        )


def _content(file: Path) -> dict[str, Any]:
    try:
        content = yaml.safe_load(file.read_text(encoding="utf-8-sig"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise DataError(
            zh=f"读不了 {file}, 请给出一个 Ultralytics 格式的 data.yaml。",
            en=f"{file} cannot be read: give a data.yaml in Ultralytics' format.",
        ) from error
    if not isinstance(content, dict) or not any(key in content for key in (*SPLITS, "validation")):
        raise DataError(
            zh=f"{file} 里没有 train 和 val, 请写上图片所在的文件夹。",
            en=f"{file} has no train and val: name the folders that hold the pictures.",
        )
    return content


def _names(file: Path, content: dict[str, Any]) -> tuple[str, ...]:
    names = content.get("names")
    if isinstance(names, dict):
        try:
            names = [names[i] for i in range(len(names))]
        except KeyError:
            names = None
    if not isinstance(names, list) or not names:
        raise DataError(
            zh=f"{file} 的 names 不对, 请按 0、1、2 … 的顺序写出全部类别。",
            en=f"names in {file} is wrong: list all classes, numbered 0, 1, 2 and so on.",
        )
    return tuple(str(name) for name in names)


def _root(file: Path, content: dict[str, Any]) -> Path:
    """Ultralytics takes a relative path from where it was started; beside the file is where people mean it."""
    named = Path(str(content.get("path") or "."))
    beside = file.parent / named
    return beside if beside.exists() else named


def _pictures(file: Path, root: Path, part: str) -> list[Path]:
    place = root / part
    if not place.exists() and part.startswith("../"):  # as exported by Roboflow
        place = root / part[3:]
    if place.is_dir():
        return [p.absolute() for p in place.rglob("*") if p.suffix.lower() in IMAGES]
    if place.is_file():
        lines = place.read_text(encoding="utf-8", errors="replace").split("\n")
        rows = [row for line in lines if (row := line.strip())]
        return [(place.parent / row if row.startswith("./") else Path(row)).absolute() for row in rows]
    raise DataError(
        zh=f"{file} 里写的 {place} 不存在, 请改正路径。",
        en=f"{place}, which {file} names, does not exist: correct the path.",
    )


def label_path(picture: Path) -> Path:
    """Where the labels of a picture lie: the last folder ``images`` becomes ``labels``."""
    parts = list(picture.parts)
    for i in range(len(parts) - 2, -1, -1):
        if parts[i] == "images":
            parts[i] = "labels"
            break
    return Path(*parts).with_suffix(".txt")


def parse_row(row: str, classes: int) -> tuple[int, Box]:
    """Class number and (x1, y1, x2, y2) in 0..1 of one row: a box, or a polygon, which becomes its box.

    Raises:
        RowError: saying what is wrong.
    """
    try:
        values = [float(v) for v in row.split()]
    except ValueError:
        raise RowError("malformed") from None
    polygon = len(values) >= 7 and len(values) % 2 == 1
    if (len(values) != 5 and not polygon) or not all(map(math.isfinite, values)) or values[0] % 1:
        raise RowError("malformed")
    number, points = int(values[0]), values[1:]
    if not 0 <= number < classes:
        raise RowError("unknown_class")
    if polygon:
        box = min(points[::2]), min(points[1::2]), max(points[::2]), max(points[1::2])
    else:
        x, y, w, h = points
        box = x - w / 2, y - h / 2, x + w / 2, y + h / 2
    if box[2] <= box[0] or box[3] <= box[1]:
        raise RowError("inverted")
    if min(box) < -_ROUNDING or max(box) > 1 + _ROUNDING:
        raise RowError("outside")
    x1, y1, x2, y2 = (min(1.0, max(0.0, v)) for v in box)
    return number, (x1, y1, x2, y2)


_ROUNDING = 0.002  # label tools round to three digits


def read_labels(picture: Path, names: Sequence[str]) -> list[tuple[str, Box]]:
    """Class and box (in 0..1) of every sound row; none if there is no label file. ``check`` tells of the others."""
    try:
        text = label_path(picture).read_text(encoding="utf-8-sig", errors="replace")
    except OSError:
        return []
    found = []
    for row in text.splitlines():
        try:
            number, box = parse_row(row, len(names))
        except RowError:
            continue
        found.append((names[number], box))
    return found
