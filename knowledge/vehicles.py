"""Brands and series however they are written: 帕萨特 is Passat, VW is 大众 is Volkswagen, 奔驰GL级 is GL-Class.

Keys are for comparing, names for showing. The key of a brand or series that ``vehicles.csv`` knows is always the same;
any other name is its own key, without capitals, blanks and hyphens. The key of a series bears its brand's key only
where its name alone may mean another car (宝马x5) or says too little (标致408).

``find_vehicle`` looks for a car in what an owner writes. It would rather find none than a wrong one: a name that is
also an ordinary word (阳光, Focus), and one of few signs (3系, X5, 408), counts only beside a brand or a model year.
"""

from __future__ import annotations

import re
import unicodedata
from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise

from knowledge.text import Text
from knowledge.vehicle_table import NAMED, SKIPPED, Name, loose_key, plain_key, vehicle_table

_ORIGIN = re.compile(r"\((?:进口|海外|国产|imported|import|overseas)\)|进口")
_DECORATED = re.compile(r"^(?:全新一代|全新|新款|老款|新一代|新|老)?(.+?)(?:三厢|两厢|轿车)?$")
_KIND = re.compile(r"^(?:(?:19|20)?\d\d年?款)|(?:(?:(?:19|20)?\d\d年?款)|(?<!\d)\d\.\d(?:t|l|tsi)?)+$")
_BRAND_ENDING = re.compile(r"(?<=..)(?:汽车集团|集团汽车|汽车公司|汽车|品牌|轿车|牌|auto|motors?)$")


@dataclass(frozen=True)
class Vehicle:
    """A car as far as a text names it: keys of brand and series, and the model year."""

    brand: str = ""
    series: str = ""
    year: int | None = None


ANY = Vehicle()
"""A car of which nothing is known."""


@lru_cache(maxsize=4096)
def brand_key(name: str) -> str:
    """The key of a brand: 上汽大众, VW and Volkswagen have one. An unknown name is its own key, an empty one too."""
    plain = plain_key(name)
    brands = vehicle_table().brands
    for key in (loose_key(plain), loose_key(_ORIGIN.sub("", plain)), loose_key(_BRAND_ENDING.sub("", plain))):
        if key in brands:
            return brands[key]
    return plain


@lru_cache(maxsize=16384)
def series_key(name: str, brand: str = "") -> str:
    """The key of a series: 宝马3系, BMW 3 Series and, with or without the brand, 3系 have one; "" for an empty name.

    Args:
        name: the series however written, with or without its brand before it.
        brand: the brand however written, if it is known; tells X5 of 宝马 from X5 of 北京汽车.
    """
    plain = plain_key(name)
    owner = brand_key(brand) if brand else ""
    seen: set[str] = set()
    while plain not in seen:  # what is left of an unknown name without its brand may begin with a brand again
        seen.add(plain)
        for form in _forms(plain):
            if (found := _known_series(form, owner)) is not None:
                return found.series
        plain = _without_brand(plain, owner)
    return plain


def _forms(plain: str) -> Iterator[str]:
    """A name, and what it may be a decorated form of: (进口), 2015款, 1.8T, 新, 三厢."""
    yield loose_key(plain)
    native = _KIND.sub("", _ORIGIN.sub("", plain))
    yield loose_key(native)
    if (bare := _DECORATED.match(native)) is not None:
        yield loose_key(bare[1])


def _known_series(form: str, owner: str) -> Name | None:
    table = vehicle_table()
    if (owner, form) in table.of_brand:
        return table.of_brand[owner, form]
    found = table.meaning(form)
    if found is not None and owner in ("", found.brand):
        return found
    for brand, rest in _split(form):
        inner = _DECORATED.match(rest)
        for name in (rest, inner[1] if inner else rest):
            if (brand, name) in table.of_brand:
                return table.of_brand[brand, name]
    # Against the brand only a name that is sure is believed: 长安 for a car that is sold as 长安欧尚 now.
    return found if found is not None and found.alone else None


def _split(form: str) -> Iterator[tuple[str, str]]:
    """A brand that a name begins with and the rest, the longest brand first."""
    brands = vehicle_table().brands
    for length in range(min(len(form) - 1, 24), 1, -1):
        if form[:length] in brands:
            yield brands[form[:length]], form[length:]


def _without_brand(plain: str, owner: str) -> str:
    """An unknown name without the brand before it."""
    for length in range(min(len(plain) - 1, 24), 1, -1):
        brand = vehicle_table().brands.get(loose_key(plain[:length]))
        together = plain[length - 1].isascii() and plain[length].isascii()  # dsx1 may be a word of its own
        if brand is not None and not (together and brand != owner):
            return plain[length:]
    return plain


def names_of(brand: str) -> Text | None:
    """The names of a brand to show, by its key or however it is written; None if it is unknown."""
    return vehicle_table().shown.get((brand_key(brand), ""))


def names_of_series(series: str, brand: str = "") -> Text | None:
    """The names of a series to show, without its brand, by its key or however it is written; None if it is unknown."""
    key = series_key(series, brand)
    return vehicle_table().shown.get((vehicle_table().brand_of.get(key, ""), key)) if key else None


# --- in free text --------------------------------------------------------------------------------------------------

_HANZI = re.compile("[\u3400-\u4dbf\u4e00-\u9fff]")
_FULL = r"((?:19[7-9]|20[0-3])\d)"
_YEAR = r"((?:19[7-9]|20[0-3])\d|[7-9]\d|[0-2]\d)"
_CALLED = r"\s*(?:年款|年型|款)"  # 2015款 is a model year, 2015年 may be the day of a visit
_APART = r"(?<![\d.\-~/至到])"
_FILLER = (
    r"(?:[\s的()（）]|年?产|出厂|上牌|上户|生产|买|购|新款?|老款?|进口|国产|[手自]动挡?|\d\.\d\s*[tl]?"
    r"|(?:1[0-2]|0?[1-9])月份?(?=的|产|出厂|上牌|上户|生产|买|购))*"
)
_BEFORE = re.compile(rf"{_APART}(?:{_YEAR}(?:{_CALLED}|\s*年)|{_FULL}(?=[\s的])|'(\d\d)(?=\s)){_FILLER}$")
_BEFORE_LATIN = re.compile(r"(?:^|[(（，。]|\b(?:my|a|an|the|his|her|our|old)\s)([0189]\d)\s$")
_AFTER = re.compile(
    rf"[,，]?{_FILLER}(?:{_YEAR}(?:{_CALLED}|\s*年(?=[的产,，。\s)）]|出厂|上牌|上户|购|买|$))"
    rf"|{_FULL}(?![\d.\-~/]|\s*(?:km|公里|千米|转|rpm|元|mile|年|月|块|个|w\b|瓦|cc)))"
)
_STATED = re.compile(rf"{_APART}{_FULL}{_CALLED}")
_STATED_SHORT = re.compile(rf"{_APART}{_YEAR}{_CALLED}(?=[\d的,，。\s]|$)")
_BETWEEN = re.compile(rf"(?<!\d){_YEAR}{_CALLED}|(?<!\d){_FULL}(?!\d)")
_PLAIN_GAP = re.compile(r"[\s\-·/（(]{0,2}")
_GAP = re.compile(
    r"[\s\-·/（(,，、]{0,3}(?:(?:19[7-9]|20[0-3])?\d\d\s*年?款?|新款?|老款?|全新|进口|国产)?[\s\-·的]{0,2}"
)
# After a name of digits: 马自达 3 万公里 and Mazda 3 years are no 马自达3.
_COUNTED = re.compile(
    r"[.,]?\d|\s*(?:[万千百年月日号天点公里个次元块缸档挡速米升座门人台辆度斤种转分秒小时%％]|km|mm|rpm|nm|hp|kw|v\b|"
    r"years?|months?|weeks?|days?|hours?|miles?|times|cyl|door|speed|owners?|k\b|or\b|of\b|more|different|other)"
)
# What may stand behind a name of letters or digits; litres and years are often written on to it: a6l2.0t, h62015款.
_ENDS = re.compile(r"(?![a-z0-9]|\.\d)|[1-6][.·]\d|(?:19|20)\d\d款")
_BRAND_BEFORE_CAR = re.compile(r"\s*(?:牌|轿车|汽车(?!城|行业|工业|站|维修)|品牌)")
# Words in which a name hides; it is passed over there.
_NO_NAME = re.compile(
    r"大众(?:化|点评|传媒|认|消费|口味)|(?:普通|人民|广大|社会)大众|长安街|不吉利|吉利[吗数号不]|[油碳]宝来|迅速腾|高速腾|"
    r"天籁之音|奔驰在"
)

# A year right beside a name that is also a word.
_CALLED_RIGHT_BEFORE = re.compile(rf"{_APART}{_YEAR}{_CALLED}\s*(?:的|新|老|全新|进口)?\s*$")
_RIGHT_BEFORE = re.compile(rf"{_APART}{_YEAR}\s*年\s*(?:的|产|[手自]动)?\s*$")
_BEFORE_KIND = re.compile(r"\s*(?:\d[.·]\d|轿?车|[手自]动)")
_CALLED_BEHIND = re.compile(rf"\s*{_YEAR}{_CALLED}")
_BESIDE = re.compile(rf"{_APART}(?:{_YEAR}(?:{_CALLED}|\s*年)|{_FULL})\s*的?\s*$")


@dataclass(frozen=True)
class _Mention:
    start: int
    end: int
    brand: str
    series: str
    year: int | None = None


def find_vehicle(text: str) -> Vehicle:
    """The brand, series and model year that a text of an owner names; what it names none of stays empty.

    The first car counts, one with a model year beside it above others.
    """
    shown, lower = _signs_of(text)
    mentions = list(_mentions(shown, lower))
    if not mentions:
        return Vehicle(year=_stated_year(lower, _STATED))
    chosen = next((m for m in mentions if m.year), next((m for m in mentions if m.series), mentions[0]))
    series = chosen.series or next((m.series for m in mentions if m.series and m.brand == chosen.brand), "")
    return Vehicle(chosen.brand, series, chosen.year or _stated_year(lower, _STATED_SHORT))


def _signs_of(text: str) -> tuple[str, str]:
    """The text in ordinary signs, and the same without capitals and accents, sign by sign."""
    shown = unicodedata.normalize("NFKC", text)
    bare = (unicodedata.normalize("NFD", sign)[0] if sign.isalpha() else sign for sign in shown)
    return shown, "".join(sign.lower() if len(sign.lower()) == 1 else sign for sign in bare)


def _mentions(shown: str, lower: str) -> Iterator[_Mention]:
    taken = [match.span() for match in _NO_NAME.finditer(lower)]
    kept = [i for i, sign in enumerate(lower) if not SKIPPED.match(sign)]
    squeezed = "".join(lower[i] for i in kept)
    at = 0
    while at < len(kept):
        if squeezed[at : at + 2] not in vehicle_table().starts and squeezed[at] not in vehicle_table().starts:
            at += 1
            continue
        best = None if any(a <= kept[at] < b for a, b in taken) else _at(shown, lower, kept, squeezed, at)
        if best is None:
            at += 1
            continue
        yield best
        while at < len(kept) and kept[at] < best.end:
            at += 1


def _at(shown: str, lower: str, kept: list[int], squeezed: str, at: int) -> _Mention | None:
    """The car that is named from a place on: a brand with its series, else whatever name is the longest."""
    options: list[tuple[int, _Mention]] = []
    start = kept[at]
    for end, name in _names_at(lower, kept, squeezed, at):
        before = _year_before(lower, start, shown[start].isascii())
        year = before or _full(_AFTER.match(lower, end))
        if name.series:
            if name.alone or (name.rank == NAMED and _sure_by_year(shown, lower, start, end)):
                options.append((end, _Mention(start, end, name.brand, name.series, year)))
        elif behind := _series_behind(lower, kept, squeezed, end, name):
            begin, last, series = behind
            year = before or _full(_BETWEEN.search(lower[end:begin])) or _full(_AFTER.match(lower, last))
            options.append((last + 1, _Mention(start, last, name.brand, series, year)))
        elif name.alone or (
            name.rank == NAMED and (_BRAND_BEFORE_CAR.match(lower, end) or _year_beside(lower, start, end))
        ):
            options.append((end, _Mention(start, end, name.brand, "", year)))
    return max(options, key=lambda option: (option[0], bool(option[1].series)))[1] if options else None


def _names_at(lower: str, kept: list[int], squeezed: str, at: int) -> Iterator[tuple[int, Name]]:
    """All names that begin at a place, with where they end: the one that a name alone means, and brands."""
    table = vehicle_table()
    for length in range(min(table.longest, len(kept) - at), 0, -1):
        names = table.names.get(squeezed[at : at + length])
        if not names:
            continue
        one = table.meaning(squeezed[at : at + length])
        for name in ([one] if one else []) + [n for n in names if not n.series]:
            if _stands(lower, kept[at : at + length], name):
                yield kept[at + length - 1] + 1, name


def _series_behind(lower: str, kept: list[int], squeezed: str, end: int, brand: Name) -> tuple[int, int, str] | None:
    """The series of a brand that follows its name: where it begins, where it ends, its key."""
    table = vehicle_table()
    # Without a year between first: 标致2008 is a car and no year.
    for begin in sorted({gap.end() for gap in (_GAP.match(lower, end), _PLAIN_GAP.match(lower, end)) if gap}):
        at = bisect_left(kept, begin)
        for length in range(min(table.longest, len(kept) - at), 0, -1):
            name = table.of_brand.get((brand.brand, squeezed[at : at + length]))
            places = kept[at : at + length]
            if name is None or places[0] != begin or not _stands(lower, places, name):
                continue
            if _says_enough(lower, squeezed[at : at + length], places, end):
                return begin, places[-1] + 1, name.series
    return None


def _says_enough(lower: str, name: str, places: list[int], end: int) -> bool:
    """Whether a short name behind a brand is one: not a number of something, not a letter of the next word."""
    together = places[0] == end
    if name.isdigit():
        close = together or (places[0] == end + 1 and (len(name) > 1 or lower[end - 1].isascii()))
        return close and not _COUNTED.match(lower, places[-1] + 1)
    return len(name) > 1 or together


def _stands(lower: str, places: list[int], name: Name) -> bool:
    """Whether a name stands there as words of its own, with blanks and hyphens only where it may have them."""
    first, last = places[0], places[-1]
    if _is_latin(lower, first) and (_is_latin(lower, first - 1) or lower[max(0, first - 1) : first] == "."):
        return False
    if _is_latin(lower, last) and not _ENDS.match(lower, last + 1):
        return False
    for count, (one, other) in enumerate(pairwise(places), start=1):
        if other == one + 1:
            if count in name.parted:
                return False
            continue
        alike = _kind(lower[one]) == _kind(lower[other])
        between = lower[one + 1 : other]
        if count not in name.gaps and (alike or len(between) > 1 or between == "."):
            return False
        if len(between) > 2 or "\n" in between:
            return False
    return True


def _is_latin(lower: str, at: int) -> bool:
    return 0 <= at < len(lower) and lower[at].isascii() and lower[at].isalnum()


def _kind(sign: str) -> str:
    return "hanzi" if _HANZI.match(sign) else "digit" if sign.isdigit() else "letter"


def _sure_by_year(shown: str, lower: str, start: int, end: int) -> bool:
    """Whether a name that is also a word counts because a year stands beside it: 12款阳光, 2012 Focus.

    2018年发现 is what somebody found, and 2015年元旦 a holiday; a number beside a year is never a car.
    """
    written = shown[start:end]
    if written[0].isascii():
        return not written.isdigit() and not written.islower() and _year_beside(lower, start, end)
    head = lower[max(0, start - 14) : start]
    called = _CALLED_RIGHT_BEFORE.search(head) or _CALLED_BEHIND.match(lower, end)
    near = _RIGHT_BEFORE.search(head) and _BEFORE_KIND.match(lower, end)
    return len(written) > 1 and bool(called or near)


def _year_beside(lower: str, start: int, end: int) -> bool:
    """Whether a year stands right beside a name."""
    head = lower[max(0, start - 12) : start]
    return _BESIDE.search(head) is not None or _CALLED_BEHIND.match(lower, end) is not None


def _full(found: re.Match[str] | None) -> int | None:
    """The year that a pattern found, in four digits."""
    if found is None:
        return None
    year = next(filter(None, found.groups()))
    return int(year) if len(year) == 4 else int(year) + (2000 if int(year) < 70 else 1900)


def _year_before(lower: str, start: int, latin: bool) -> int | None:
    head = lower[max(0, start - 30) : start]
    return _full(_BEFORE.search(head) or (_BEFORE_LATIN.search(head) if latin else None))


def _stated_year(lower: str, pattern: re.Pattern[str]) -> int | None:
    """A model year that is called one (2015款), wherever it stands; None if there are several."""
    years = {_full(found) for found in pattern.finditer(lower)}
    return years.pop() if len(years) == 1 else None
