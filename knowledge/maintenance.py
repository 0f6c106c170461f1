"""What is due on a car: a schedule that shops may edit (``maintenance.yaml``), and the pure reckoning over it.

- An item counts from when it was last done, else from the car's first day, as long as its first interval isn't over.
  After that nobody who was not told knows whether it was done: it is "unknown", never fine.
- Of kilometres and months the sooner decides. Where one of the two isn't known, an item can be overdue or due soon by
  the other, but not fine.
- Months are whole ones. A first registration of which only the year is known counts from January: rather too early.
"""

from __future__ import annotations

import functools
import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Annotated, Literal, Self, get_args

from pydantic import Field, StringConstraints, model_validator

from knowledge.datafile import Entry, parse, read_mapping
from knowledge.odometer import MOST_KM
from knowledge.text import Text, UserError

Drive = Literal["petrol", "diesel", "hybrid", "plug-in", "electric"]
Gearbox = Literal["automatic", "dual_clutch", "manual"]
State = Literal["overdue", "soon", "unknown", "later"]
DRIVES: tuple[Drive, ...] = get_args(Drive)
GEARBOXES: tuple[Gearbox, ...] = get_args(Gearbox)
STATES: tuple[State, ...] = get_args(State)  # in the order of showing
SOON_KM = 1_000
OLDEST = 1950  # the year of a first registration
FILE = "maintenance.yaml"
"""The schedule that ships, beside this module, and the operator's own in YANGCHE_HOME."""
SHIPPED = Path(__file__).parent / FILE


class Interval(Entry):
    """Whichever comes first."""

    km: int | None = Field(default=None, ge=500, le=500_000)
    months: int | None = Field(default=None, ge=1, le=240)

    @model_validator(mode="after")
    def _says_something(self) -> Self:
        if self.km is None and self.months is None:
            raise ValueError("needs 'km' or 'months'")
        return self


class Stage(Entry):
    """Every ``months`` until ``until`` months after the first registration, for good without it; with the car?"""

    months: int = Field(ge=1, le=240)
    until: int | None = Field(default=None, ge=1, le=1_200)
    station: bool = False


class Item(Entry):
    """Something that has to be done again and again; the file explains the fields."""

    id: Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]*$", max_length=40)]
    name: Text
    does: Literal["replace", "check", "renew"]
    drives: tuple[Drive, ...] = Field(min_length=1)
    gearbox: Gearbox | None = None
    every: Interval | None = None
    heavy: Interval | None = None
    calendar: tuple[Stage, ...] = ()
    ahead: int = Field(default=1, ge=0, le=24)
    only_if: Text | None = None
    basis: Text
    left: Text

    @model_validator(mode="after")
    def _one_rhythm(self) -> Self:
        if (self.every is None) == (not self.calendar):
            raise ValueError("needs either 'every' or 'calendar'")
        if self.heavy is not None and self.every is None:
            raise ValueError("has 'heavy' without 'every'")
        ends = [stage.until for stage in self.calendar[:-1]]
        grown = sorted({end for end in ends if end is not None})
        if self.calendar and (ends != grown or self.calendar[-1].until is not None):
            raise ValueError("'until' must grow from stage to stage, and the last stage has none")
        return self

    def interval(self, heavy: bool) -> Interval:
        """How often; only for items without a calendar."""
        assert self.every is not None  # noqa: S101 - the schema says so
        return self.heavy if heavy and self.heavy else self.every

    def dates(self, since: int) -> Iterator[tuple[int, bool]]:
        """The months of the calendar from the first registration on, without end, and whether the car must come."""
        month = 0
        for stage in self.calendar:
            while stage.until is None or month < stage.until:
                month += stage.months
                yield since + month, stage.station


Schedule = Mapping[str, Item]
"""The items by their ids, in the order of the file."""


@functools.lru_cache(maxsize=8)
def _read(path: Path, _stamp: tuple[int, int]) -> Schedule:
    return {id_: _item(id_, content, path.name) for id_, content in read_mapping(path).items()}


def _item(id_: object, content: object, file: str) -> Item:
    fields = {**content, "id": id_} if isinstance(content, dict) else content
    item: Item = parse(Item, fields, f"{file}: {id_}")
    return item


def read_schedule(path: Path) -> Schedule:
    """The schedule of one file.

    Raises:
        CatalogueError: if it can't be read, or breaks the schema: one sentence with the line, or the item and field.
    """
    try:
        stat = path.stat()
    except OSError as error:
        raise UserError(
            f"找不到文件 {path.name}，请检查文件名。", f"There is no file {path.name}; check the name."
        ) from error
    return _read(path, (stat.st_mtime_ns, stat.st_size))


def load_schedule(home: Path) -> Schedule:
    """The operator's own schedule where there is one in ``home``, else the one that ships; read anew once it changed.

    Raises:
        CatalogueError: see `read_schedule`.
    """
    own = home / FILE
    return read_schedule(own if own.is_file() else SHIPPED)


# --- months and records ----------------------------------------------------------------------------------------------


def month_of(day: date) -> int:
    """A month as one number, so that months can be counted."""
    return day.year * 12 + day.month - 1


def month_text(month: int) -> str:
    """Such as 2026-02."""
    return f"{month // 12:04}-{month % 12 + 1:02}"


def read_month(text: str) -> tuple[int, bool]:
    """A month, and whether it was named: 2020-05, 2020.5, 2020年5月, 2020-05-17; 2020 alone counts from January.

    Raises:
        UserError: if it is neither a month nor a year.
    """
    plain = unicodedata.normalize("NFKC", text).strip()
    found = re.fullmatch(r"(\d{4})(?:\s*[-./年]\s*(?:(\d{1,2})(?:\s*[-./月]\s*(?:\d{1,2}日?)?)?)?)?", plain, re.ASCII)
    year, month = (int(found[1]), int(found[2] or 1)) if found else (0, 0)
    if found is None or not (OLDEST <= year <= 2199 and 1 <= month <= 12):
        raise UserError(
            f"看不懂日期“{text[:20]}”，请写成 2020-05 或 2020。",
            f"Cannot read the date “{text[:20]}”: write it like 2020-05 or 2020.",
        )
    return year * 12 + month - 1, found[2] is not None


@dataclass(frozen=True)
class Done:
    """When something was last done, as far as that is known: odometer in km, month as `month_of` counts."""

    km: int | None = None
    month: int | None = None


def read_done(text: str, schedule: Mapping[str, Item]) -> tuple[str, Done]:
    """An item and when it was last done: ``oil=55000@2026-02``, ``oil=55000`` or ``oil=@2026-02``.

    Raises:
        UserError: if there is no such item, or the rest can't be read.
    """
    name, equals, when = (part.strip() for part in text.partition("="))
    km, _, month = (part.strip() for part in when.partition("@"))
    if not equals or not (km or month):
        raise UserError(
            f"“{text[:40]}”要写成“项目=公里数@年月”，例如 oil=55000@2026-02。",
            f"“{text[:40]}” must read ITEM=KM@MONTH, such as oil=55000@2026-02.",
        )
    if name not in schedule:
        known = ", ".join(schedule)
        raise UserError(
            f"没有“{name[:40]}”这个保养项目，可用的有：{known}。",
            f"There is no item “{name[:40]}”; known are: {known}.",
        )
    at, named = read_month(month) if month else (None, True)
    if not named:
        raise UserError(
            f"“{text[:40]}”要写明月份，例如 2026-02。", f"“{text[:40]}” must name the month, such as 2026-02."
        )
    return name, Done(read_km(km) if km else None, at)


def read_km(text: str) -> int:
    """An odometer in kilometres: 62000, 62,000, 6.2万.

    Raises:
        UserError: if it is none.
    """
    plain = re.sub(r"[\s,']|公里|千米|km", "", unicodedata.normalize("NFKC", text).casefold())
    found = re.fullmatch(r"(\d{1,9}(?:\.\d{1,4})?)(万?)", plain, re.ASCII)
    km = round(float(found[1]) * (10_000 if found[2] else 1)) if found else -1
    if not 0 <= km <= MOST_KM:
        raise UserError(
            f"看不懂里程“{text[:20]}”，请写公里数，例如 62000。",
            f"Cannot read the mileage “{text[:20]}”: write kilometres, such as 62000.",
        )
    return km


# --- reckoning -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Usage:
    """A car as far as its maintenance goes; what isn't known is None.

    ``since``: month of the first registration, as `month_of` counts; ``since_exact``: not only its year was told.
    """

    drive: Drive
    km: int | None = None
    since: int | None = None
    since_exact: bool = True
    gearbox: Gearbox | None = None
    heavy: bool = False


@dataclass(frozen=True)
class Due:
    """How one item stands.

    Attributes:
        km_left: kilometres until it is due, negative beyond; None where they don't count or aren't known. Of an
            "unknown" item it is due then at the latest, if this is positive; it may have been due long before.
        months_left: months until it is due, likewise.
        last: when it was last done, None if that was never told.
        month: the month in which it is due by its calendar.
        station: whether the car itself must be shown then; None for what has no calendar.
        share: how much of the interval is left, for sorting.
    """

    item: Item
    state: State
    km_left: int | None = None
    months_left: int | None = None
    last: Done | None = None
    month: int | None = None
    station: bool | None = None
    share: float = 0.0


def due(schedule: Mapping[str, Item], car: Usage, done: Mapping[str, Done], today: date) -> tuple[Due, ...]:
    """All items that the car may have, overdue ones first, then soon, unknown, later; the most urgent first in each.

    Raises:
        UserError: if a record or the registration lies in the future, or a record beyond the car's mileage.
    """
    now = month_of(today)
    _check(car, {id_: record for id_, record in done.items() if id_ in schedule}, schedule, now)
    fits = (
        item
        for item in schedule.values()
        if car.drive in item.drives and (not item.gearbox or car.gearbox in (None, item.gearbox))
    )
    found = [(_by_calendar if item.calendar else _by_interval)(item, car, done.get(item.id), now) for item in fits]
    return tuple(sorted(found, key=lambda one: (STATES.index(one.state), one.share)))


def _check(car: Usage, done: Mapping[str, Done], schedule: Mapping[str, Item], now: int) -> None:
    if car.since is not None and car.since > now:
        raise UserError(
            "首次上牌的日子在将来，请改正。", "The first registration lies in the future; please correct it."
        )
    for id_, record in done.items():
        name = schedule[id_].name
        if record.km is not None and car.km is not None and record.km > car.km:
            raise UserError(
                f"“{name.zh}”记在 {record.km} 公里，可车现在才 {car.km} 公里，请改正其中一个。",
                f"“{name.en}” was noted at {record.km} km, but the car has {car.km} km; correct one of them.",
            )
        if record.month is not None and record.month > now:
            raise UserError(
                f"“{name.zh}”记的日子在将来，请改正。",
                f"The date noted for “{name.en}” lies in the future; correct it.",
            )


def _by_interval(item: Item, car: Usage, last: Done | None, now: int) -> Due:
    every = item.interval(car.heavy)
    start = last or Done(0, car.since)
    limits = []  # (left, the whole, from where on it is soon) of what counts; left is None where it isn't known
    km_left = months_left = None
    if every.km is not None:
        km_left = None if start.km is None or car.km is None else start.km + every.km - car.km
        limits.append((km_left, every.km, SOON_KM))
    if every.months is not None:
        months_left = None if start.month is None else start.month + every.months - now
        limits.append((months_left, every.months, item.ahead))
    known = [(left, whole, soon) for left, whole, soon in limits if left is not None]
    state: State = "later"
    if any(left < 0 for left, _, _ in known):
        state = "overdue" if last else "unknown"
    elif any(left <= soon for left, _, soon in known):
        state = "soon"
    elif len(known) < len(limits):
        state = "unknown"
    share = 0.0 if state == "unknown" else min(left / whole for left, whole, _ in known)
    return Due(item, state, km_left, months_left, last, share=share)


def _by_calendar(item: Item, car: Usage, last: Done | None, now: int) -> Due:
    if car.since is None or not car.since_exact:
        return Due(item, "unknown", last=last)
    dates = item.dates(car.since)
    if last is None or last.month is None:
        first = next(dates)
        if now <= first[0]:
            month, station, state = *first, _ahead(first[0] - now, item)
        else:  # nobody told whether the dates that are over were kept: the next one of the calendar
            month, station = next(found for found in dates if found[0] >= now)
            state = "unknown"
    else:
        done_in = last.month
        month, station = next(found for found in dates if found[0] - item.ahead > done_in)
        state = _ahead(month - now, item)
    left = month - now
    return Due(item, state, None, left, last, month, station, 0.0 if state == "unknown" else left / 12)


def _ahead(left: int, item: Item) -> State:
    return "overdue" if left < 0 else "soon" if left <= item.ahead else "later"


def heading(found: Iterable[Due]) -> dict[State, int]:
    """How many items stand how."""
    counts: dict[State, int] = dict.fromkeys(STATES, 0)
    for one in found:
        counts[one.state] += 1
    return counts
