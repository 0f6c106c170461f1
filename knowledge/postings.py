"""Which cases bear a fault code, a part number, a lamp, a brand or a series."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from knowledge.case import BILINGUAL, Case
from knowledge.lexical import fault_codes, normalise, part_numbers
from knowledge.text import Text

KINDS = ("code", "part", "light", "brand", "series")


def both(value: str | Text) -> tuple[str, ...]:
    """The words of a field in every language that it has."""
    return (value.zh, value.en) if isinstance(value, Text) else (value,) if value else ()


def all_words(case: Case) -> list[str]:
    """What a case says, in every language, its vehicle apart."""
    return [words for name in BILINGUAL for words in both(getattr(case, name))]


class Postings:
    """Which cases bear a value: codes, part numbers, lamps, brands, series."""

    def __init__(self) -> None:
        self._of: dict[str, dict[str, set[int]]] = {kind: defaultdict(set) for kind in KINDS}
        self._terms: dict[int, list[tuple[str, str]]] = {}

    def put(self, number: int, case: Case) -> None:
        """Note what a case bears, instead of what it bore."""
        self.remove(number)
        text = " ".join(all_words(case))
        terms = [("code", code) for code in {*case.codes, *fault_codes(" ".join(case.codes)), *fault_codes(text)}]
        terms += [("part", part) for part in part_numbers(" ".join(both(case.parts)))]
        terms += [("light", light) for light in case.lights]
        terms += [("brand", vehicle_key(case.brand)), ("series", vehicle_key(case.series))]
        self._terms[number] = [(kind, value) for kind, value in terms if value]
        for kind, value in self._terms[number]:
            self._of[kind][value].add(number)

    def remove(self, number: int) -> None:
        """Forget a case, if it is there."""
        for kind, value in self._terms.pop(number, ()):
            self._of[kind][value].discard(number)
            if not self._of[kind][value]:
                del self._of[kind][value]

    def count(self, numbers: NDArray[np.int64], kind: str, values: Iterable[str]) -> NDArray[np.int64]:
        """How many of ``values`` each of ``numbers`` bears."""
        found = np.zeros(len(numbers), np.int64)
        for value in values:
            if bearers := self._of[kind].get(value):
                found += np.isin(numbers, np.fromiter(bearers, np.int64, len(bearers)))
        return found

    def borne(self, number: int, kind: str, values: Iterable[str]) -> tuple[str, ...]:
        """Those of ``values`` that the case bears."""
        return tuple(v for v in values if number in self._of[kind].get(v, ()))

    def like(self, kind: str, name: str) -> tuple[str, ...]:
        """The values that name the same brand or series: 奔驰GL级 is GL级."""
        key = vehicle_key(name)
        return tuple(v for v in self._of[kind] if v == key or (min(len(key), len(v)) > 1 and (key in v or v in key)))

    def lights(self, numbers: NDArray[np.int64]) -> NDArray[np.int64]:
        """How many lamps each of ``numbers`` bears."""
        return np.array([sum(kind == "light" for kind, _ in self._terms[n]) for n in numbers.tolist()], np.int64)


def vehicle_key(name: str) -> str:
    """A brand or series without blanks, hyphens and case."""
    return normalise(name).replace(" ", "").replace("-", "")
