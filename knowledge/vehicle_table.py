"""The table of brands and series, ``vehicles.csv``, and how names are compared.

The file is made by ``python -m training.vehicles``; what people correct stands in ``vehicle_aliases.yaml``.
"""

from __future__ import annotations

import csv
import re
import unicodedata
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from pathlib import Path

from knowledge.lexical import normalise
from knowledge.text import Text

PATH = Path(__file__).with_name("vehicles.csv")
COLUMNS = ("brand", "series", "zh", "en", "names", "alone", "rank")
"""Keys of brand and series (empty for a brand's own row), the names to show, further names, those of all names that
are a car even when nothing beside them says so (both parted by ``|``), and the rank: if several cars bear a name, it
means the one that ranks highest."""
TUNED, LISTED, NAMED = range(3)
"""Ranks: what tuners make of other brands' cars, any car, one that ``vehicle_aliases.yaml`` names."""

_DASHES = re.compile(r"[\s\-\u2010-\u2015\u2212]+")
_SIGNS = re.compile("[·•・‧.'’‘`!,]+")
SKIPPED = re.compile(r"[\s\-\u2010-\u2015\u2212·•・‧.'’]")


def plain_key(name: str) -> str:
    """A name without blanks, hyphens and case."""
    key = name
    while (shorter := _DASHES.sub("", normalise(key))) != key:
        key = shorter
    return key


def loose_key(name: str) -> str:
    """A name without punctuation and accents besides; what names are compared by, never a key of ours."""
    key = _SIGNS.sub("", plain_key(name))
    letters = unicodedata.normalize("NFD", key)
    return key if letters == key else "".join(sign for sign in letters if not unicodedata.combining(sign))


@dataclass(frozen=True)
class Name:
    """A name and what it means."""

    written: str
    brand: str
    series: str
    alone: bool = False
    rank: int = LISTED

    @cached_property
    def gaps(self) -> frozenset[int]:
        """Where a blank, hyphen or dot stands in it, counted in its other signs."""
        parts = [loose_key(part) for part in re.split(r"[\s\-·•.]+", normalise(self.written))]
        return frozenset(sum(map(len, parts[: i + 1])) for i in range(len(parts) - 1))

    @cached_property
    def parted(self) -> frozenset[int]:
        """Where a blank stands between letters, which may not be left out: Model S is not models."""
        blanks = re.finditer(r"(?<=[A-Za-z])\s(?=[A-Za-z])", self.written)
        return frozenset(len(loose_key(self.written[: blank.end()])) for blank in blanks)


@dataclass
class Table:
    """All brands and series.

    Attributes:
        shown: (key of a brand, key of its series or "") -> the names to show.
        brands: loose key of a brand's name -> its key.
        of_brand: (key of a brand, loose key of a series' name) -> what it means.
        names: loose key of any name -> what it may mean.
        brand_of: key of a series -> key of its brand.
        starts: what names begin with, two signs.
        longest: signs of the longest name.
    """

    shown: dict[tuple[str, str], Text] = field(default_factory=dict)
    brands: dict[str, str] = field(default_factory=dict)
    of_brand: dict[tuple[str, str], Name] = field(default_factory=dict)
    names: dict[str, list[Name]] = field(default_factory=lambda: defaultdict(list))
    brand_of: dict[str, str] = field(default_factory=dict)
    starts: set[str] = field(default_factory=set)
    longest: int = 0

    def put(self, row: Mapping[str, str]) -> None:
        """Note a row of the file."""
        brand, series = row["brand"], row["series"]
        self.shown[brand, series] = Text(zh=row["zh"], en=row["en"])
        if series:
            self.brand_of[series] = brand
        alone = set(row["alone"].split("|"))
        for name in dict.fromkeys((row["zh"], row["en"], *filter(None, row["names"].split("|")), series)):
            key = loose_key(name)
            means = Name(name, brand, series, name in alone, int(row["rank"]))
            if not key or (series and self.of_brand.setdefault((brand, key), means) is not means):
                continue
            if not series:
                self.brands[key] = brand
            self.names[key].append(means)
            self.starts.add(key[:2])
            self.longest = max(self.longest, len(key))

    def meaning(self, name: str) -> Name | None:
        """The one series that a name alone means, by its loose key."""
        found = [known for known in self.names.get(name, ()) if known.series]
        highest = [known for known in found if known.rank == max(other.rank for other in found)]
        return highest[0] if len(highest) == 1 else None


@lru_cache(maxsize=1)
def vehicle_table() -> Table:
    """The whole table, read once."""
    table = Table()
    with PATH.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            table.put(row)
    return table
