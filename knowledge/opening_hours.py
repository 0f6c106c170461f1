"""Opening hours as shops write them, in Chinese or English, read or left alone; never guessed."""

from __future__ import annotations

import re
import unicodedata
from datetime import datetime
from functools import lru_cache
from itertools import pairwise

Spans = tuple[tuple[int, int], ...]
"""From and to, in minutes from 0:00; an end beyond `DAY` lies in the next day."""
Week = tuple[Spans, ...]
"""The spans of each day, Monday first."""
DAY = 24 * 60
NIGHT = 16 * 60
"""A span over midnight is at most this long: 9:00-6:00 means six in the evening."""

_DAYS = r"(?:mon|tues|wednes|thurs|fri|satur|sun)day|mon|tues?|weds?|thu(?:rs?)?|fri|sat|sun|mo|tu|we|th|fr|sa|su"
_TOKENS = re.compile(
    rf"""(?P<all_day>(?:全天)?24\s*小时|全天|24\s*/\s*7|24\s*h(?:ours?|rs?)?\b)
    |(?P<closed>休息|不营业|关门|休业|(?:closed|off)\b)
    |(?P<every>每天|每日|(?:daily|every\s?day)\b)|(?P<workdays>工作日|weekdays\b)|(?P<weekend>周末|weekends?\b)
    |(?:周|星期|礼拜)(?P<zh>[一二三四五六日天])|(?P<en>{_DAYS})s?\b\.?
    |(?:(?P<half>上午|早上|早|下午|晚上|晚)\s*)?(?P<hour>\d{{1,2}})
      (?::(?P<minute>\d\d)|[点时](?P<zh_minute>半|\d\d)?分?|(?=\s*[ap]m))(?!\d)\s*(?P<noon>am\b|pm\b)?
    |(?P<to>[-\u2010-\u2015~至到]|to\b)|(?P<comma>[,、&和]|and\b)|(?P<end>[;。\n])|(?P<bare>[一二三四五六日天])
    |(?P<skip>[^\S\n]+|(?<!\d):|营业时间|营业|服务|opening\s+hours\b|open\b)""",
    re.VERBOSE,
)
_ZH, _EN = "一二三四五六日", ("mo", "tu", "we", "th", "fr", "sa", "su")
_GROUPS = {"every": range(7), "workdays": range(5), "weekend": range(5, 7)}


class _UnclearError(Exception):
    """Hours that can be read in no way, or in more than one."""


def is_open(week: Week, when: datetime) -> bool:
    """Whether ``when`` lies in one of the spans, or in what is left of the night before."""
    minute = when.hour * 60 + when.minute
    today, yesterday = week[when.weekday()], week[when.weekday() - 1]
    return any(start <= minute < end for start, end in today) or any(minute < end - DAY for _, end in yesterday)


@lru_cache(maxsize=4096)
def week_of(hours: str) -> Week | None:
    """The week that ``hours`` tell; None where any part of them is not understood.

    A day that is not named while others are is closed, as in OpenStreetMap's ``opening_hours``. Public holidays are
    not known, so hours that speak of them are not understood.
    """
    try:
        return _Hours(hours).week()
    except _UnclearError:
        return None


class _Hours:
    """Reads from left to right: days, then spans, "closed" or "all day"; and again."""

    def __init__(self, hours: str) -> None:
        text = unicodedata.normalize("NFKC", hours).casefold()
        self.tokens: list[re.Match[str]] = []
        at = 0
        while at < len(text):
            found = _TOKENS.match(text, at)
            if found is None:
                raise _UnclearError
            if found["skip"] is None:
                self.tokens.append(found)
            at = found.end()
        self.at = 0

    def week(self) -> Week:
        """What the whole text says."""
        week: dict[int, Spans] = {}
        said: list[frozenset[int]] = []
        while self._more():
            days, spans = self._days(), self._spans()
            if not days and said:  # 8:00-12:00; 13:00-17:00 are of the same days
                days = said[-1]
                spans = _joined(week[min(days)], spans)
            else:
                days = days or frozenset(range(7))
                if any(days & earlier and not days < earlier for earlier in said):
                    raise _UnclearError  # said twice: which of them counts?
                said.append(days)
            week.update(dict.fromkeys(days, spans))
        if not any(week.values()):
            raise _UnclearError
        return tuple(week.get(day, ()) for day in range(7))

    def _more(self) -> bool:
        while self._kind() in ("end", "comma"):
            self.at += 1
        return self.at < len(self.tokens)

    def _kind(self, ahead: int = 0) -> str:
        if self.at + ahead >= len(self.tokens):
            return ""
        token = self.tokens[self.at + ahead]
        return "day" if token["zh"] or token["en"] else "time" if token["hour"] else str(token.lastgroup)

    def _days(self) -> frozenset[int]:
        days: set[int] = set()
        while (kind := self._kind()) in ("day", "bare", *_GROUPS):
            if kind in _GROUPS:
                days.update(_GROUPS[kind])
                self.at += 1
            else:
                first = last = self._day(bare=bool(days))
                if self._kind() == "to":
                    self.at += 1
                    last = self._day(bare=True)
                days.update((first + step) % 7 for step in range((last - first) % 7 + 1))
            if self._kind() == "comma" and self._kind(1) in ("day", "bare", "weekend"):
                self.at += 1
        return frozenset(days)

    def _day(self, *, bare: bool) -> int:
        """The day here; ``bare``: it may lack its 周, as in 周一至五 and 周六日."""
        token = self.tokens[self.at] if self.at < len(self.tokens) else None
        self.at += 1
        if token and (sign := token["zh"] or (token["bare"] if bare else None)):
            return _ZH.index(sign.replace("天", "日"))
        if token and token["en"]:
            return _EN.index(token["en"][:2])
        raise _UnclearError

    def _spans(self) -> Spans:
        if (kind := self._kind()) in ("closed", "all_day"):
            self.at += 1
            return () if kind == "closed" else ((0, DAY),)
        spans: Spans = ()
        while self._kind() == "time":
            if (self._kind(1), self._kind(2)) != ("to", "time"):
                raise _UnclearError
            here = (_span(self.tokens[self.at], self.tokens[self.at + 2]),)
            spans = _joined(spans, here) if spans else here
            self.at += 3
            if self._kind() == "comma" and self._kind(1) == "time":
                self.at += 1
        if not spans:
            raise _UnclearError
        return spans


def _joined(spans: Spans, more: Spans) -> Spans:
    """Spans one after the other; closed and open at once, or two that overlap, are a slip of the pen."""
    both = (*spans, *more)
    if not spans or not more or any(later[0] < earlier[1] for earlier, later in pairwise(both)):
        raise _UnclearError
    return both


def _span(first: re.Match[str], last: re.Match[str]) -> tuple[int, int]:
    """From one time to another, which may lie in the next day: 20:00-02:00."""
    one, two = _half(first), _half(last)
    if bool(one) != bool(two) and not (one == "am" or int(last["hour"]) > 12):  # 8:00-6pm, 下午1点到5点
        raise _UnclearError
    start, end = _minutes(first, one), _minutes(last, two)
    if end > start:
        return start, end
    on_24_hours = one or len(last["hour"]) == 2 or start >= 13 * 60
    if start in (end, DAY) or not on_24_hours or end + DAY - start > NIGHT:
        raise _UnclearError
    return start, end + DAY


def _half(time: re.Match[str]) -> str:
    if time["noon"] or not time["half"]:
        return time["noon"] or ""
    return "am" if time["half"] in ("上午", "早上", "早") else "pm"


def _minutes(time: re.Match[str], half: str) -> int:
    hour = int(time["hour"])
    minute = 30 if time["zh_minute"] == "半" else int(time["minute"] or time["zh_minute"] or 0)
    if time["noon"] and not 1 <= hour <= 12:
        raise _UnclearError
    if half == "pm" and hour < 12:
        hour += 12
    elif half == "am" and hour == 12 and time["noon"]:
        hour = 0
    if minute > 59 or hour * 60 + minute > DAY or (half == "am" and hour > 12):
        raise _UnclearError
    return hour * 60 + minute
