"""The work that damage in a photo usually takes, in hours; and prices, but only from a shop's own rates.

``knowledge/operations.yaml`` holds the operations, their hours (rules of thumb) and what is said about them.

- Size in the picture is not size on the car, so boxes are counted and never measured.
- Several boxes may lie on one panel or on one each: the lower end counts one, the upper end each by itself.
- No severity means any: the range without one holds those with one.
- No price where a figure of the shop is missing, and then no sum of prices either.
"""

from __future__ import annotations

import csv
import functools
import io
import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, NamedTuple, get_args

from pydantic import Field, model_validator

from knowledge import tables
from knowledge.catalogue import FOLDER
from knowledge.datafile import Entry, parse, read_mapping
from knowledge.playbook import SEVERITIES, Severity
from knowledge.text import LANGS, Lang, Text, UserError

DamageLabel = Literal["scratch", "dent", "broken_part", "broken_glass", "broken_lamp"]
NOTES = frozenset(
    """nothing severe unknown size several no_prices prices no_figure usual mixed shop every no_table cells
    operation twice number hours currency no_currency""".split()
)
ALL = "every"  # the row of a shop's table for operations without figures of their own
MAX_HOURS = 200.0  # of one operation; more is a slip of the pen
# The columns of a shop's table: their names in the template, zh and en, then others that count.
_COLUMNS: Mapping[str, tuple[str, ...]] = {
    "operation": ("项目", "operation", "作业", "维修项目"),
    "low": ("最少工时", "hours_low", "工时下限"),
    "high": ("最多工时", "hours_high", "工时上限"),
    "rate": ("工时单价", "rate_per_hour", "每工时单价"),
    "paint": ("每面漆料费", "paint_material_per_panel", "漆料费", "paint_material"),
    "currency": ("币种", "currency", "货币"),
}
_NUMBER = re.compile(r"\d{1,7}([.,]\d{1,2})?", re.ASCII)  # no thousands separators: 1,200 might be 1.2
_CURRENCY = re.compile(r"[^\W\d_]{1,5}|[¥$€£]")


class Range(NamedTuple):
    """From ``low`` to ``high``, of hours or of money."""

    low: float
    high: float


class Operation(Entry):
    """One kind of work on one panel, part or pane. ``fitted``: work on top where the car has such a device."""

    name: Text
    hours: Range
    covers: Text
    when: Text
    paints: bool = False
    fitted: tuple[str, ...] = ()
    not_minor: bool = False


class Kind(Entry):
    """One kind of damage; ``operations`` from light to heavy. ``behind_more``: unless the damage is minor."""

    name: Text
    most: int = Field(ge=1, le=20)
    look: tuple[Text, ...] = Field(min_length=1)
    operations: tuple[str, ...] = Field(min_length=1)
    behind: tuple[Text, ...] = Field(min_length=1)
    behind_more: tuple[Text, ...] = ()


class Operations(Entry):
    """All that operations.yaml holds."""

    operations: Mapping[str, Operation]
    damages: Mapping[DamageLabel, Kind]
    notes: Mapping[str, Text]

    @model_validator(mode="after")
    def _fits_together(self) -> Operations:
        if odd := {*get_args(DamageLabel), *NOTES} ^ {*self.damages, *self.notes}:
            raise ValueError(f"damages or notes are missing or unknown: {sorted(odd)}")
        for key, work in self.operations.items():
            if not 0 < work.hours.low <= work.hours.high <= MAX_HOURS:
                raise ValueError(f"operations.{key}.hours: two numbers above 0, the lower first, up to {MAX_HOURS:g}")
            if unknown := set(work.fitted) - set(self.operations):
                raise ValueError(f"operations.{key}.fitted: there is no {sorted(unknown)}")
        for label, kind in self.damages.items():
            if unknown := set(kind.operations) - set(self.operations):
                raise ValueError(f"damages.{label}.operations: there is no {sorted(unknown)}")
            if all(self.operations[key].not_minor for key in kind.operations):
                raise ValueError(f"damages.{label}.operations: none is for minor damage")
        return self


@dataclass(frozen=True)
class Work:
    """One operation for one box. The upper ends include ``fitted``, as some cars need that too."""

    id: str
    operation: Operation
    fitted: tuple[Text, ...]
    hours: Range
    basis: Text
    price: Range | None


@dataclass(frozen=True)
class WorkItem:
    """One kind of damage, ``count`` boxes of it: ``choices`` from light to heavy, ``look`` says what decides."""

    label: DamageLabel
    name: Text
    count: int
    choices: tuple[Work, ...]
    look: tuple[Text, ...]
    behind: tuple[Text, ...]
    hours: Range
    price: Range | None


@dataclass(frozen=True)
class Estimate:
    """The work for one photo. ``holds``: False where the car has to be measured first. ``notes``: how far it goes."""

    items: tuple[WorkItem, ...]
    hours: Range | None
    price: Range | None
    currency: str | None
    holds: bool
    notes: tuple[Text, ...]


@dataclass
class Rates:
    """A shop's figures: operation -> column -> number. ``problems``: one sentence for each row that was left out."""

    source: str
    currency: str | None = None
    figures: dict[str, dict[str, float]] = field(default_factory=dict)
    problems: list[Text] = field(default_factory=list)

    def hours(self, key: str) -> Range:
        """The shop's hours, else the rule of thumb."""
        own = self.figures.get(key, {})
        return Range(own["low"], own["high"]) if "low" in own else load_operations().operations[key].hours

    def price(self, key: str) -> Range | None:
        """Labour and paint for one panel; None where a figure or the currency is missing."""
        own = {**self.figures.get(ALL, {}), **self.figures.get(key, {})}
        if not load_operations().operations[key].paints:
            own["paint"] = self.figures.get(key, {}).get("paint", 0)
        if self.currency is None or "rate" not in own or "paint" not in own:
            return None
        low, high = self.hours(key)
        return Range(round(low * own["rate"] + own["paint"], 2), round(high * own["rate"] + own["paint"], 2))


def estimate(labels: Iterable[str], severity: Severity | None = None, rates: Rates | None = None) -> Estimate:
    """The usual work for what one photo shows; over several photos the same damage would count twice.

    ``labels``: one for each box, those of no damage to a part are ignored. ``severity``: the worst in the photo.
    """
    book, boxes, shop = load_operations(), list(labels), rates or Rates("")
    items = tuple(_item(label, boxes.count(label), severity, shop) for label in book.damages if label in boxes)
    prices = [item.price for item in items if item.price]
    priced = any(work.price for item in items for work in item.choices)
    said = {
        "nothing": not items,
        "severe": severity == "severe",
        "unknown": severity not in SEVERITIES and bool(items),
        "size": bool(items),
        "several": sum(item.count for item in items) > 1,
        "no_prices": rates is None and bool(items),
        "prices": priced,
        "no_figure": rates is not None and len(prices) < len(items),
    }
    return Estimate(
        items=items,
        hours=_total([item.hours for item in items]) if items else None,
        price=_total(prices) if items and len(prices) == len(items) else None,
        currency=shop.currency if priced else None,
        holds=severity != "severe",
        notes=tuple(book.notes[note].filled(source=shop.source) for note, so in said.items() if so),
    )


def _item(label: DamageLabel, count: int, severity: Severity | None, shop: Rates) -> WorkItem:
    book, minor = load_operations(), severity == "minor"
    kind = book.damages[label]
    works = tuple(_work(key, shop) for key in kind.operations if not (minor and book.operations[key].not_minor))
    prices = [work.price for work in works if work.price]
    hours = _span([work.hours for work in works], min(count, kind.most))
    price = _span(prices, min(count, kind.most)) if len(prices) == len(works) else None
    behind = kind.behind if minor else kind.behind + kind.behind_more
    return WorkItem(label, kind.name, count, works, kind.look, behind, hours, price)


def _work(key: str, shop: Rates) -> Work:
    book = load_operations()
    parts = (key, *book.operations[key].fitted)
    hours = [shop.hours(part) for part in parts]
    prices = [price for part in parts if (price := shop.price(part))]
    own = ["low" in shop.figures.get(part, {}) for part in parts]
    basis = book.notes[("usual", "mixed", "shop")[any(own) + all(own)]].filled(source=shop.source)
    fitted = tuple(book.operations[part].name for part in parts[1:])
    price = Range(prices[0].low, _total(prices).high) if len(prices) == len(parts) else None
    return Work(key, book.operations[key], fitted, Range(hours[0].low, _total(hours).high), basis, price)


def _span(ranges: Sequence[Range], times: int) -> Range:
    return Range(min(r.low for r in ranges), round(max(r.high for r in ranges) * times, 2))


def _total(ranges: Sequence[Range]) -> Range:
    return Range(round(sum(r.low for r in ranges), 2), round(sum(r.high for r in ranges), 2))


def load_rates(path: Path, shop: str | None = None) -> Rates:
    """Read a shop's table, a .csv like `template`, in UTF-8 or GB18030; rows with a mistake are left out.

    Raises:
        UserError: if it cannot be read, or is no such table.
    """
    notes = load_operations().notes
    lines = re.split("\r\n|\r|\n", tables.decoded(tables.content_of(path)))
    start = next((number for number, line in enumerate(lines) if line.strip()), 0)
    separator = max(",;\t", key=lines[start].count)
    known = {name: column for column, names in _COLUMNS.items() for name in names}
    columns = [known.get(_plain(cell.strip('" ')), "") for cell in lines[start].split(separator)]
    if "operation" not in columns or any(columns.count(column) > 1 for column in _COLUMNS):
        raise UserError(**notes["no_table"].filled(file=path.name).model_dump())
    rates = Rates(f"{shop} ({path.name})" if shop else path.name)
    for number, line in enumerate(lines[start + 1 :], start=start + 2):
        if line.strip(f'{separator}" \t') and (wrong := _take(rates, columns, line, separator)):
            rates.problems.append(notes[wrong[0]].filled(file=path.name, line=number, cell=wrong[1][:30]))
    if rates.currency is None and any("rate" in row for row in rates.figures.values()):
        rates.problems.append(notes["no_currency"].filled(file=path.name))
    return rates


def _take(rates: Rates, columns: Sequence[str], line: str, separator: str) -> tuple[str, str] | None:
    """Put a row among the rates; where that cannot be, the note that says why and the cell in question."""
    try:
        cells = [_plain(cell) for cell in next(csv.reader([line], delimiter=separator, strict=True))]
    except csv.Error:
        cells = []
    if len(cells) != len(columns):
        return "cells", line
    row = dict(zip(columns, cells, strict=True))
    named = {ALL: load_operations().notes[ALL], **{key: o.name for key, o in load_operations().operations.items()}}
    names = {_plain(word): key for key, name in named.items() for word in (key, name.zh, name.en)}
    key = names.get(row["operation"])
    if key is None or key in rates.figures:
        return "twice" if key else "operation", row["operation"]
    figures: dict[str, float] = {}
    for column in ("low", "high", "rate", "paint"):
        if cell := row.get(column):
            value = float(cell.replace(",", ".")) if _NUMBER.fullmatch(cell) else -1
            if value < 0 or (column == "rate" and value == 0):  # a rate left at 0 would give prices of 0
                return "number", cell
            figures[column] = value
    low, high = figures.get("low", 0), figures.get("high", 0)
    if {"low", "high"} & set(figures) and (key == ALL or not 0 < low <= high <= MAX_HOURS):
        return "hours", f"{low:g}–{high:g}"
    currency = row.get("currency", "").upper()
    if currency and (not _CURRENCY.fullmatch(currency) or currency != (rates.currency or currency)):
        return "currency", currency
    rates.currency = rates.currency or currency or None
    rates.figures[key] = figures
    return None


def _plain(cell: str) -> str:
    return unicodedata.normalize("NFKC", cell).strip().casefold()


def template(lang: Lang = "zh") -> str:
    """The text of a table to fill in. Save it as "utf-8-sig", or Excel takes it for another code page."""
    book, text = load_operations(), io.StringIO()
    names = [book.notes[ALL], *(operation.name for operation in book.operations.values())]
    csv.writer(text).writerow(column[LANGS.index(lang)] for column in _COLUMNS.values())
    csv.writer(text).writerows([name.in_(lang), *[""] * (len(_COLUMNS) - 1)] for name in names)
    return text.getvalue()


@functools.cache
def load_operations(path: Path = FOLDER / "operations.yaml") -> Operations:
    """The operations that yangche ships, or of another file; a CatalogueError names the entry and field to mend."""
    whole: Operations = parse(Operations, read_mapping(path), path.name)
    return whole
