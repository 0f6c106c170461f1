"""Workshops near a place, from a CSV that the operator loads: who is close, open, and does what is needed.

- Coordinates are taken as given. Phones and GPS give WGS-84, Chinese maps GCJ-02, which lies some hundred metres off
  inside mainland China: the table and the place that is asked for should be of the same kind. Nothing is converted.
- Distances are great-circle distances (haversine) on a sphere of WGS-84's mean radius, not ways on roads.
- Opening hours that are not understood are shown as they are written, and whether the shop is open stays unknown.
  Public holidays are not known here.
"""

from __future__ import annotations

import csv
import io
import math
import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote

from knowledge import tables
from knowledge.opening_hours import is_open, week_of
from knowledge.text import LANGS, Lang, Text, UserError

EARTH_KM = 6371.0088
"""Mean radius (2a + b) / 3 of the WGS-84 ellipsoid, a = 6378.137 km and b = 6356.7523142 km (NIMA TR8350.2)."""
LONGEST = 300  # characters of a cell
# The columns: their names in the template, zh and en, then others that count.
COLUMNS: Mapping[str, tuple[str, ...]] = {
    "name": ("名称", "name", "店名", "门店", "shop", "workshop"),
    "address": ("地址", "address"),
    "latitude": ("纬度", "latitude", "lat"),
    "longitude": ("经度", "longitude", "lon", "lng", "long"),
    "phone": ("电话", "phone", "手机", "联系电话", "telephone", "tel"),
    "services": ("服务", "services", "项目", "服务项目", "service"),
    "hours": ("营业时间", "hours", "opening_hours", "时间"),
}
NEEDED = ("name", "latitude", "longitude")
EXAMPLE = Text(zh="示例汽修（请改成您的门店）", en="Example Garage (put your shop here)")
_EXAMPLES = (
    (
        *(EXAMPLE.zh, "示例路 1 号", "31.2304", "121.4737", "021-12345678"),
        *("换机油、刹车、轮胎", "周一至周六 8:30-17:30; 周日休息"),
    ),
    (
        *(EXAMPLE.en, "1 Example Road", "51.5072", "-0.1276", "+44 20 7946 0000"),
        *("oil; brakes; tyres", "Mo-Fr 08:00-18:00; Sa 09:00-13:00"),
    ),
)


class Refusal(NamedTuple):
    """A row that could not be taken. ``line`` counts from 1, as editors do."""

    line: int
    reason: Text


@dataclass(frozen=True)
class Shop:
    """One workshop, its words as the operator wrote them."""

    name: str
    latitude: float
    longitude: float
    address: str = ""
    phone: str = ""
    services: tuple[str, ...] = ()
    hours: str = ""

    def open_at(self, when: datetime) -> bool | None:
        """Whether it is open at ``when``, in the shop's own time; None where its hours are not understood."""
        week = week_of(self.hours)
        return None if week is None else is_open(week, when)

    def offers(self, service: str) -> bool:
        """Whether ``service`` is among its services, or part of one of them."""
        return any(_plain(service) in _plain(own) for own in self.services)

    def km_from(self, latitude: float, longitude: float) -> float:
        """How far it is, as the crow flies."""
        return distance_km(latitude, longitude, self.latitude, self.longitude)

    @property
    def map_link(self) -> str:
        """A geo: URI (RFC 5870); the part behind ``?`` makes Android's maps put a pin with the name there."""
        place = f"{self.latitude:.6f},{self.longitude:.6f}"
        return f"geo:{place}?q={place}({quote(self.name, safe='')})"

    @property
    def tel_link(self) -> str | None:
        """A tel: URI (RFC 3966) of the first number: its digits, and the + of a country code, which it needs."""
        number = _number(self.phone)
        return f"tel:{number}" if number else None


class Near(NamedTuple):
    """A shop and how far it is."""

    shop: Shop
    km: float


def distance_km(latitude: float, longitude: float, latitude_2: float, longitude_2: float) -> float:
    """Great-circle distance between two places in degrees (haversine)."""
    one, two = math.radians(latitude), math.radians(latitude_2)
    across = math.radians(longitude_2 - longitude)
    half = math.sin((two - one) / 2) ** 2 + math.cos(one) * math.cos(two) * math.sin(across / 2) ** 2
    return 2 * EARTH_KM * math.asin(math.sqrt(min(1.0, half)))


def nearest(shops: Iterable[Shop], latitude: float, longitude: float, k: int, service: str = "") -> tuple[Near, ...]:
    """The ``k`` nearest shops, nearest first; with ``service`` only those that say they do it.

    Raises:
        UserError: if the place is none on earth.
    """
    if not (abs(latitude) <= 90 and abs(longitude) <= 180):  # not for NaN either
        raise UserError(
            "纬度应在 -90 到 90 之间，经度应在 -180 到 180 之间，请先写纬度再写经度。",
            "A latitude lies between -90 and 90, a longitude between -180 and 180: give the latitude first.",
        )
    found = [Near(shop, shop.km_from(latitude, longitude)) for shop in shops if not service or shop.offers(service)]
    return tuple(sorted(found, key=lambda near: near.km)[: max(0, k)])


# --- the table -----------------------------------------------------------------------------------------------------


def load_shops(path: Path) -> tuple[tuple[Shop, ...], tuple[Refusal, ...]]:
    """The shops of a CSV in UTF-8, UTF-16 or GB18030, and the rows that could not be taken.

    Raises:
        UserError: if the file cannot be read, or is no table of shops at all.
    """
    rows = _rows(tables.decoded(tables.content_of(path)))
    columns = _columns(next(rows, (1, []))[1], path.name)
    shops: dict[Shop, int] = {}
    refusals = []
    for line, cells in rows:
        taken = _shop(cells, columns)
        if isinstance(taken, Shop) and taken in shops:
            taken = _text("第 {line} 行已经有这家店。", "This shop stands in line {line} already.", line=shops[taken])
        if isinstance(taken, Shop):
            shops[taken] = line
        else:
            refusals.append(Refusal(line, taken))
    return tuple(shops), tuple(refusals)


def write_template(path: Path, lang: Lang = "zh") -> None:
    """Write a table to fill in, with one example row, which is refused until it is changed.

    Raises:
        UserError: if there is such a file already, or it cannot be written.
    """
    if path.exists():
        raise UserError(f"{path} 已经有了，请换一个文件名。", f"{path} is there already; choose another name.")
    if path.suffix.lower() != ".csv":
        raise UserError(f"{path.name} 应以 .csv 结尾。", f"The name {path.name} must end in .csv.")
    side = LANGS.index(lang)
    tables.write_table([[names[side] for names in COLUMNS.values()], _EXAMPLES[side]], path)


def _rows(text: str) -> Iterator[tuple[int, list[str] | None]]:
    """Lines that hold something, each with its number; None for one that is no row of a table."""
    text = text.lstrip("\ufeff")
    head = text.lstrip("\r\n \t").split("\n", 1)[0]
    separator = max(",;\t", key=head.count)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator)
    while True:
        line = reader.line_num + 1
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error:
            yield line, None
            continue
        if any(cell.strip() for cell in cells):
            yield line, cells


def _columns(cells: Sequence[str] | None, file: str) -> list[str]:
    known = {_plain(name): column for column, names in COLUMNS.items() for name in names}
    columns = [known.get(_plain(cell).replace(" ", "_"), "") for cell in cells or ()]
    if missing := [column for column in NEEDED if column not in columns]:
        zh = "、".join(COLUMNS[column][0] for column in missing)
        raise UserError(
            f"{file} 第一行缺少列名：{zh}。样表：yangche shops template 文件.csv",
            f"The first row of {file} lacks: {', '.join(missing)}. For an example: yangche shops template FILE.csv",
        )
    if twice := [column for column in COLUMNS if columns.count(column) > 1]:
        raise UserError(
            f"{file} 里有两列都是{COLUMNS[twice[0]][0]}，请删去一列。",
            f"{file} has two columns for {twice[0]}; please remove one.",
        )
    return columns


def _shop(cells: Sequence[str] | None, columns: Sequence[str]) -> Shop | Text:
    """The shop of a row, or why it is none."""
    if cells is None:
        return _text("这一行读不了，可能太长。", "This line cannot be read; it may be too long.")
    if len(cells) != len(columns):
        return _text(
            "这一行有 {got} 格，应有 {want} 格；格里有逗号时要加双引号。",
            "This row has {got} cells instead of {want}; a cell with a comma in it needs quotation marks.",
            got=len(cells),
            want=len(columns),
        )
    row = {column: _cell(cell) for column, cell in zip(columns, cells, strict=True) if column}
    if any("\ufffd" in cell for cell in row.values()):
        return _text("有损坏的字符，请存成 UTF-8。", "Some characters are damaged; save the file as UTF-8.")
    if long := [column for column, cell in row.items() if len(cell) > LONGEST]:
        return _text("{zh}太长。", "{en} is too long.", zh=COLUMNS[long[0]][0], en=long[0])
    if not row["name"]:
        return _text("没有名称。", "The name is missing.")
    if row["name"] in (EXAMPLE.zh, EXAMPLE.en):
        return _text("这是样表的示例，请改成您的门店。", "This is the template's example; put your shop here.")
    place = _place(row["latitude"], row["longitude"])
    if isinstance(place, Text):
        return place
    phone = row.get("phone", "")
    if phone and not _number(phone):
        return _text("电话看不懂：{phone}", "Cannot read the phone number: {phone}", phone=phone[:40])
    services = re.split(r"\s*[、,;|/\n]\s*", unicodedata.normalize("NFKC", row.get("services", "")))
    return Shop(
        name=row["name"],
        latitude=place[0],
        longitude=place[1],
        address=row.get("address", ""),
        phone=phone,
        services=tuple(dict.fromkeys(service for service in services if service)),
        hours=row.get("hours", ""),
    )


def _place(latitude: str, longitude: str) -> tuple[float, float] | Text:
    north, east = _degrees(latitude), _degrees(longitude)
    if north is None or east is None:
        zh, en, cell = ("纬度", "latitude", latitude) if north is None else ("经度", "longitude", longitude)
        if not cell:
            return _text("没有{zh}。", "The {en} is missing.", zh=zh, en=en)
        said = "{zh}看不懂：{cell}（要写成 31.2304 这样）", "Cannot read the {en}: {cell} (write it like 31.2304)"
        return _text(*said, zh=zh, en=en, cell=cell[:40])
    if abs(north) > 90 and abs(north) <= 180 and abs(east) <= 90:
        return _text("经度和纬度好像写反了。", "Latitude and longitude seem to be swapped.")
    if abs(north) > 90 or abs(east) > 180:
        return _text(
            "纬度应在 -90 到 90 之间，经度应在 -180 到 180 之间。",
            "A latitude lies between -90 and 90, a longitude between -180 and 180.",
        )
    if (north, east) == (0, 0):
        return _text("经纬度都是 0，没有填。", "Latitude and longitude are both 0: they were not filled in.")
    return north, east


def _degrees(cell: str) -> float | None:
    plain = unicodedata.normalize("NFKC", cell).replace("\u2212", "-").strip("° ")
    found = re.fullmatch(r"[+-]?\d{1,3}(?:[.,]\d{1,15})?", plain, re.ASCII)
    return float(plain.replace(",", ".")) if found else None


def _number(phone: str) -> str:
    """The first number that can be dialled in a cell, "" if there is none; what follows 转 or ext. is left out."""
    for part in re.split(r"[/;,、|\n]", unicodedata.normalize("NFKC", phone)):
        found = re.search(r"\+?\d[\d\s().\-\u2010-\u2015]*", re.split(r"转|分机|ext|[x#]", part.lower())[0])
        digits = re.sub(r"[^\d+]", "", found[0].replace("(0)", "")) if found else ""
        if 3 <= len(digits.lstrip("+")) <= 15:  # E.164 ends at 15; 110 and 122 are numbers as well
            return digits
    return ""


def _cell(cell: str) -> str:
    """A cell on one line, without the apostrophe that keeps a spreadsheet from running +86... as a formula."""
    line = " ".join("".join(char if char.isprintable() else " " for char in cell).split())
    return line[1:] if line.startswith("'") and line[1:2] in ("=", "+", "-", "@") else line


def _plain(text: str) -> str:
    return unicodedata.normalize("NFKC", text).strip().casefold()


def _text(zh: str, en: str, /, **values: object) -> Text:
    return Text(zh=zh.format(**values), en=en.format(**values))
