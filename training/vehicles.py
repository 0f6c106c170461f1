"""Makes ``knowledge/vehicles.csv``: a table of brands and series, and the names that ``vehicle_aliases.yaml`` adds.

    python -m training.vehicles --facts FACTS.csv --out knowledge/vehicles.csv

FACTS.csv has the columns brand_zh, brand_en, model_zh, model_en. Its English is believed only where it can be: where
it is spelt as the Chinese name is, or is the Chinese name's pinyin. All else was translated word by word (元素 as
element) and is nobody's name for the car; the Chinese name is shown instead, until somebody adds the right one.
"""

from __future__ import annotations

import argparse
import csv
import re
import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from knowledge.datafile import Entry, parse, read_mapping
from knowledge.vehicle_table import COLUMNS, LISTED, NAMED, TUNED, loose_key, plain_key

ALIASES = Path(__file__).parents[1] / "knowledge" / "vehicle_aliases.yaml"

_HANZI = "\u3400-\u4dbf\u4e00-\u9fff"
_ORIGIN = re.compile(r"\s*\((?:进口|海外|import|imported|overseas)\)", re.IGNORECASE)
_STUDY = re.compile("概念|concept|vision", re.IGNORECASE)
_SYLLABLE = (
    "(?:zh|ch|sh|[bpmfdtnlgkhjqxrzcsyw])?"
    "(?:iang|iong|uang|iao|ian|ing|ang|eng|ong|uai|uan|ai|ei|ao|ou|an|en|er|ia|ie|iu|in|ua|uo|ui|un|ue|ve|a|o|e|i|u|v)"
)
# What stands behind the name of a car to tell one of its kinds, and how it reads in English.
_KINDS = {
    "经典": "Classic",
    "新能源": "New Energy",
    "纯电动": "EV",
    "纯电": "EV",
    "插电混动": "PHEV",
    "旅行车": "Wagon",
}
# Latin parts of a name that name a kind and not the car.
_KIND_WORDS = frozenset(
    "ev phev plus pro mini suv mpv cross gt coupe max sport turbo hybrid dmi dm recharge amg srt cc sportback".split()
)


class Aliases(Entry):
    """The content of ``vehicle_aliases.yaml``; what its parts are stands there."""

    brands: dict[str, tuple[str, ...]]
    series: dict[str, dict[str, tuple[str, ...]]]
    ordinary: frozenset[str]
    alone: frozenset[str]
    tuners: frozenset[str]
    dropped: frozenset[str]


@dataclass
class Car:
    """A brand (no series), or a series of a brand."""

    zh: str
    en: str = ""
    names: list[str] = field(default_factory=list)
    curated: bool = False

    def all_names(self) -> list[str]:
        """Every name it has."""
        return [name for name in (self.zh, self.en, *self.names) if name]


def read_aliases(path: Path = ALIASES) -> Aliases:
    """The names that people added.

    Raises:
        CatalogueError: if the file cannot be read or breaks the schema.
    """
    content: Aliases = parse(Aliases, _as_text(read_mapping(path)), path.name)
    return content


def _as_text(value: Any) -> Any:  # noqa: ANN401 - 500 is a number in YAML and a car here
    if isinstance(value, dict):
        return {str(key): _as_text(inner) for key, inner in value.items()}
    return [_as_text(inner) for inner in value] if isinstance(value, list) else str(value)


def build(facts: Iterable[Mapping[str, str]], aliases: Aliases) -> list[dict[str, str]]:
    """The rows of ``vehicles.csv``.

    Raises:
        ValueError: if ``aliases`` give one name to two brands, or to two series of a brand.
    """
    brands, cars = _collect(facts, aliases)
    for brand, mine in cars.items():
        _name_in_english(brands[brand], mine)
        _merge(brand, mine)
    _check_brands(brands)
    ordinary = {loose_key(name) for name in aliases.ordinary}
    alone = {loose_key(name) for name in aliases.alone}
    bearers = _bearers(cars, aliases.tuners)
    rows = []
    for brand, mine in sorted(cars.items(), key=lambda item: plain_key(item[0])):
        common = brand in aliases.brands
        key = plain_key(brand)
        sure = [n for n in brands[brand].all_names() if common and loose_key(n) not in ordinary and len(n) > 1]
        rows.append(_row(key, "", brands[brand], sure, _rank(brand, common, aliases.tuners)))
        for car in sorted(mine.values(), key=lambda car: plain_key(car.zh)):
            name = plain_key(car.zh)
            short = len(name) <= 2 and not re.fullmatch(f"[{_HANZI}]{{2}}", name)
            shared = brand in aliases.tuners or bearers[loose_key(name)] != {(brand, car.zh)}
            series = key + name if short or name.isdigit() or shared else name
            sure = [n for n in car.all_names() if common and _stands_alone(n, car.curated, ordinary, alone)]
            rows.append(_row(key, series, car, sure, _rank(brand, car.curated, aliases.tuners)))
    return rows


def _rank(brand: str, curated: bool, tuners: frozenset[str]) -> int:
    return TUNED if brand in tuners else NAMED if curated else LISTED


def _row(brand: str, series: str, car: Car, sure: list[str], rank: int) -> dict[str, str]:
    names = "|".join(dict.fromkeys(n for n in car.names if n not in (car.zh, car.en)))
    alone = "|".join(dict.fromkeys(sure))
    return dict(zip(COLUMNS, (brand, series, car.zh, car.en, names, alone, str(rank)), strict=True))


def _collect(facts: Iterable[Mapping[str, str]], aliases: Aliases) -> tuple[dict[str, Car], dict[str, dict[str, Car]]]:
    """Brands by Chinese name, and their series by loose key."""
    brands = {zh: Car(zh, names[0], [*names[1:], *_parts_of_brand(zh)], True) for zh, names in aliases.brands.items()}
    owner = {loose_key(name): zh for zh, car in brands.items() for name in car.all_names()}
    owner |= {loose_key(zh): zh for zh in brands}
    cars: dict[str, dict[str, Car]] = {zh: {} for zh in brands}
    for brand, series in aliases.series.items():
        for zh, names in series.items():
            if loose_key(zh) in cars[brand]:
                raise ValueError(f"{brand} has {zh} twice")
            cars[brand][loose_key(zh)] = Car(zh, names[0] if names else "", list(names[1:]), True)
    for row in facts:
        written, english = _clean(row["brand_zh"]), _clean(row["brand_en"])
        zh = owner.setdefault(loose_key(written), written)
        if zh not in brands:
            en = english if _believable(written, english) else english.title() if english.isascii() else written
            brands[zh] = Car(zh, en if len(en) > 1 else zh, _parts_of_brand(zh))
        mine = cars.setdefault(zh, {})
        name = _without(_clean(row["model_zh"]), (written, re.sub("汽车$", "", written)))
        if _STUDY.search(row["model_zh"] + row["model_en"]) or f"{zh}/{name}" in aliases.dropped:
            continue
        en = _without(_clean(row["model_en"]), (english, brands[zh].en, *brands[zh].names))
        for other in brands[zh].all_names():  # 传祺GA3 of 广汽传祺 is GA3, if people named that
            name = rest if loose_key(rest := _without(name, (other,))) in mine else name
        car = mine.setdefault(loose_key(name) or name, Car(name))
        if not car.en and _believable(name, en):
            car.en = en
    return brands, cars


def _clean(name: str) -> str:
    return " ".join(_ORIGIN.sub("", unicodedata.normalize("NFKC", name)).split()).strip(" ·")


def _parts_of_brand(zh: str) -> list[str]:
    """SWM斯威汽车 is SWM and 斯威; 吉利汽车 is 吉利."""
    parts = [part.strip() for part in re.split(f"(?<=[{_HANZI}])(?=[A-Za-z])|(?<=[A-Za-z])(?=[{_HANZI}])", zh)]
    short = [re.sub("汽车$", "", part) for part in parts]
    return [part for part in dict.fromkeys([*parts, *short]) if part != zh and len(part) > 1 + part.isascii()]


def _without(name: str, brands: Iterable[str]) -> str:
    """A name without its brand before it; Jeepster keeps it."""
    for brand in brands:
        rest = name[len(brand) :]
        one_word = brand.isascii() and rest[:1].isascii() and rest[:1].isalpha()
        if brand and rest and name.lower().startswith(brand.lower()) and not one_word:
            return rest.strip(" ·-") or name
    return name


def _believable(zh: str, en: str) -> bool:
    """Whether the English is the name itself, or the pinyin of its hanzi beside its other signs."""
    if not en or re.search(f"[{_HANZI}]", en):
        return False
    if loose_key(zh) == loose_key(en):
        return True
    hanzi = re.sub(f"[^{_HANZI}]", "", zh)
    other = re.findall(r"[a-z0-9]+", re.sub(f"[{_HANZI}]", " ", plain_key(zh)))
    spelt = plain_key(en)
    for part in other:
        spelt = spelt.replace(part, "", 1)
    return bool(hanzi) and re.fullmatch(f"(?:{_SYLLABLE}){{{len(hanzi)}}}", re.sub("[^a-z]", "", spelt)) is not None


def _name_in_english(brand: Car, mine: dict[str, Car]) -> None:
    """Give every series an English name: its own, its base's (帕萨特PHEV: Passat PHEV), else the Chinese one."""
    bases = sorted((car for car in mine.values() if car.curated and car.en), key=lambda car: -len(car.zh))
    for car in mine.values():
        if car.en or (car.curated and not re.search(f"[{_HANZI}]", car.zh)):
            car.en = car.en or car.zh
        for base in bases:
            rest = car.zh[len(base.zh) :].strip(" ·")
            if car.curated or not rest or not car.zh.startswith(base.zh) or not re.search(f"[{_HANZI}]", base.zh):
                continue
            if (kind := _KINDS.get(rest, rest)).isascii():
                car.en = f"{base.en} {kind}"
                break
        car.names += _parts_of_series(car, mine)
        car.en = car.en or car.zh


def _parts_of_series(car: Car, mine: Mapping[str, Car]) -> list[str]:
    """T-ROC探歌 is T-ROC and 探歌, where no other series of the brand could be meant."""
    native, latin = f"([{_HANZI}]{{2,}})", r"([A-Za-z][A-Za-z\-]{2,})"
    found = re.fullmatch(f"{native}\\s*{latin}|{latin}\\s*{native}", car.zh)
    parts = [part for part in found.groups() if part] if found else []
    if any(loose_key(p) in _KIND_WORDS or loose_key(p) in mine for p in parts):
        return []
    others = [loose_key(other.zh) for other in mine.values() if other is not car]
    return [p for p in parts if not any(loose_key(p) in other for other in others)]


def _merge(brand: str, mine: dict[str, Car]) -> None:
    """Passat beside 帕萨特 with that English name is no car of its own.

    Raises:
        ValueError: if two series of the brand that people named bear one name.
    """
    owner: dict[str, str] = {}
    twice = []
    by_rank = sorted(mine.items(), key=lambda item: (not item[1].curated, not re.search(f"[{_HANZI}]", item[1].zh)))
    for key, car in by_rank:
        for name in map(loose_key, car.all_names() if car.curated or key not in owner else ()):
            first = owner.setdefault(name, key)
            if first != key and car.curated:
                twice.append(f"{car.zh} and {mine[first].zh}: {name}")
    if twice:
        raise ValueError(f"{brand} has two cars of one name: {'; '.join(twice)}")
    for key in [key for key in mine if owner[key] != key]:
        car, into = mine.pop(key), mine[owner[key]]
        into.names += [n for n in car.all_names() if owner.get(loose_key(n), into) in (owner[key], into)]
    for key, car in mine.items():
        car.names = [name for name in car.names if owner.get(loose_key(name), key) == key]
        if owner[loose_key(car.en)] != key:
            car.en = car.zh


def _check_brands(brands: Mapping[str, Car]) -> None:
    owner: dict[str, str] = {}
    for zh, car in sorted(brands.items(), key=lambda item: not item[1].curated):
        for name in map(loose_key, car.all_names()):
            first = owner.setdefault(name, zh)
            if first != zh and car.curated:
                raise ValueError(f"{zh} and {first} are both called {name}")
        car.names = [name for name in car.names if owner[loose_key(name)] == zh]
        if owner[loose_key(car.en)] != zh:
            car.en = zh


def _bearers(cars: Mapping[str, Mapping[str, Car]], tuners: frozenset[str]) -> dict[str, set[tuple[str, str]]]:
    """Who bears a name: (brand, Chinese name) of those with the highest rank among all who do."""
    best: dict[str, tuple[int, set[tuple[str, str]]]] = {}
    for brand, mine in cars.items():
        for car in mine.values():
            rank = _rank(brand, car.curated, tuners)
            for name in map(loose_key, car.all_names()):
                known, who = best.get(name, (-1, set()))
                if rank >= known:
                    best[name] = rank, {(brand, car.zh)} | (who if rank == known else set())
    return {name: who for name, (_, who) in best.items()}


def _stands_alone(name: str, curated: bool, ordinary: set[str], alone: set[str]) -> bool:
    """Whether a name is a car with nothing beside it that says so."""
    key = loose_key(name)
    if key in alone:
        return True
    if key in ordinary:
        return False
    hanzi = len(re.findall(f"[{_HANZI}]", re.sub("系列|[级系代型款]", "", key)))
    letters = len(re.findall("[a-z]", key))
    if hanzi == 0:
        level = re.fullmatch("[a-z]{2,}级", key) is not None
        return level or (curated and key.isalpha() and letters >= 4)
    return hanzi + letters >= 3 or (hanzi == 2 and (curated or len(key) > 2))


def main() -> None:
    """Read the facts, write the table."""
    parser = argparse.ArgumentParser(description="Make the table of brands and series.")
    parser.add_argument("--facts", type=Path, required=True, help="CSV with brand_zh, brand_en, model_zh, model_en")
    parser.add_argument("--out", type=Path, required=True, help="the CSV to write")
    arguments = parser.parse_args()
    with arguments.facts.open(encoding="utf-8-sig", newline="") as file:
        rows = build(csv.DictReader(file), read_aliases())
    with arguments.out.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    brands = sum(not row["series"] for row in rows)
    print(f"{brands} brands, {len(rows) - brands} series, {arguments.out.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main()
