"""The car's mileage among the numbers of a cluster."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from knowledge.phrases import fold, has_chinese, same_word, words_in

if TYPE_CHECKING:
    from knowledge.words import MileageWords
    from vision.reading import TextLine

LEAST_SURE = 0.85
KM_PER_MILE = 1.609344
MOST_KM = 1_500_000

_NUMBER = re.compile(r"(?<![\d.,:/+\-])\d[\d.,']*(?![\d:/%°℃])")
_HALF_UNITS = ("K", "M")  # what is left of a small km
_UNIT = re.compile(r"\s*([A-Z\u4e00-\u9fff]+)(/?)")


@dataclass(frozen=True)
class _Candidate:
    """A number that may be the odometer. ``rank``: 3 labelled so, 2 with a unit, 1 bare digits of its length."""

    rank: int
    value: int
    unit: str | None


def mileage_km(lines: Sequence[TextLine], words: MileageWords) -> int | None:
    """The odometer in kilometres.

    Trip meters have decimals or a label, ranges are short or labelled, speeds have another unit. None if nothing is
    left, or several numbers that speak equally for themselves.
    """
    found = [candidate for line in lines for candidate in _candidates(line, lines, words)]
    best = max((candidate.rank for candidate in found), default=0)
    values = {(candidate.value, candidate.unit) for candidate in found if candidate.rank == best}
    if len({value for value, _ in values}) != 1:
        return None
    value = next(iter(values))[0]
    unit = next((unit for _, unit in values if unit), None) or _usual_unit(lines)
    km = value if unit == "km" else round(value * KM_PER_MILE)
    return km if 0 < km <= MOST_KM else None


def _candidates(line: TextLine, lines: Sequence[TextLine], words: MileageWords) -> Iterator[_Candidate]:
    text = fold(line.text).strip()
    if line.confidence < LEAST_SURE:
        return
    labels = [text, *(fold(other.text) for other in lines if other is not line and _labels(other, line))]
    if any(_has(label, words.not_odometer) for label in labels):
        return
    labelled = any(_has(label, words.odometer) for label in labels)
    for number in _NUMBER.finditer(text):
        digits = _whole(number.group())
        if digits is None or len(digits) > 7 or (digits[0] == "0" and len(digits) < 6):
            continue  # odometers with leading zeros have six digits: one was overlooked
        unit, other = _unit_after(text[number.end() :], words)
        if other:
            continue
        if unit is None and number.end() == len(text) and len(digits) >= 5:
            # A shorter number beside its unit may have lost a digit in between: a thin 1 is easily overlooked.
            unit = _unit_beside(line, lines, words)
        if labelled:
            yield _Candidate(3, int(digits), unit)
        elif unit is not None and len(digits) >= 4:
            yield _Candidate(2, int(digits), unit)
        elif (
            5 <= len(digits) <= 6
            and text in (digits, *(digits + half for half in _HALF_UNITS))
            and not _dial_steps(digits)
        ):
            yield _Candidate(1, int(digits), None)


def _whole(number: str) -> str | None:
    """The digits of a whole number, its thousands perhaps parted; None for decimals and dates."""
    number = number.rstrip(".,'")
    if re.fullmatch(r"\d{1,3}([.,'])\d{3}(\1\d{3})*", number) or number.isdigit():
        return re.sub(r"\D", "", number)
    return None


def _unit_after(text: str, words: MileageWords) -> tuple[str | None, bool]:
    """The unit of length that follows a number, and whether something else follows that makes it another quantity."""
    found = _UNIT.match(text)
    if found is None:
        return None, bool(re.match(r"\s*[\d%°℃]", text))
    if found.group() in _HALF_UNITS:
        return None, False
    unit = _unit(found.group(1), words)
    return unit, unit is None or bool(found.group(2))


def _unit(word: str, words: MileageWords) -> str | None:
    for unit, spellings in words.units.items():
        if any(word == fold(one) or (len(one) >= 5 and same_word(word, fold(one))) for one in spellings):
            return unit
    return None


def _unit_beside(line: TextLine, lines: Sequence[TextLine], words: MileageWords) -> str | None:
    """A unit that stands by itself, to the right of a number or just above or below its end."""
    x1, y1, x2, y2 = line.box
    height = y2 - y1
    for other in lines:
        a, b, _, d = other.box
        right = -0.5 * height <= a - x2 <= 1.5 * height and min(d, y2) > max(b, y1)
        atop = a >= (x1 + x2) / 2 and a <= x2 + height and (abs(y1 - d) <= 0.7 * height or abs(b - y2) <= 0.4 * height)
        if (right or atop) and (unit := _unit(fold(other.text).strip(), words)):
            return unit
    return None


def _labels(label: TextLine, line: TextLine) -> bool:
    """Whether ``label`` stands to the left of ``line`` or right above it."""
    a, b = label.box, line.box
    height = b[3] - b[1]
    level = min(a[3], b[3]) - max(a[1], b[1]) >= 0.5 * min(a[3] - a[1], height)
    across = min(a[2], b[2]) - max(a[0], b[0])
    left = level and a[2] <= b[0] + 0.3 * height and b[0] - a[2] <= 6 * height
    above = across >= 0.4 * min(a[2] - a[0], b[2] - b[0]) and -0.4 * height <= b[1] - a[3] <= 1.2 * height
    return left or above


def _has(text: str, labels: Sequence[str]) -> bool:
    read = words_in(text)
    return any(
        fold(label) in text
        if has_chinese(label)
        else any(same_word(word, one) for word in read for one in words_in(label)[:1])
        for label in labels
    )


def _dial_steps(digits: str) -> bool:
    """Whether the digits are numerals of a dial that were read as one: 100 120, 80 100, 140 160."""
    for at in range(2, len(digits) - 1):
        first, second = int(digits[:at]), int(digits[at:])
        if digits[at] != "0" and first % 10 == 0 and second % 10 == 0 and 0 < abs(second - first) <= 40:
            return True
    return False


def _usual_unit(lines: Sequence[TextLine]) -> str:
    """What a number without a unit counts: miles if speed is shown in mph alone."""
    read = "".join("".join(words_in(line.text)) + " " for line in lines)
    return "miles" if "MPH" in read and "KMH" not in read else "km"


__all__ = ["mileage_km"]
