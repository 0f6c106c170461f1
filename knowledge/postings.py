"""Which cases bear a fault code, a part number, a lamp, a brand or a series."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from itertools import repeat

import numpy as np
from numpy.typing import NDArray

from knowledge.case import Case, case_words, in_every_language
from knowledge.lexical import fault_codes, part_numbers
from knowledge.vehicles import brand_key, series_key

KINDS = ("code", "part", "light", "brand", "series")
Numbers = NDArray[np.int64]
Term = tuple[str, str]  # kind and value
FEW = 5_000  # numbers that are asked about one by one


class Postings:
    """Which cases bear a value: codes, part numbers, lamps, brands, series.

    Memory: some 600 bytes a case.
    """

    def __init__(self) -> None:
        self._of: dict[str, dict[str, set[int]]] = {kind: defaultdict(set) for kind in KINDS}
        self._terms: dict[int, tuple[Term, ...]] = {}
        self._one: dict[Term, Term] = {}  # each term once, however many cases bear it
        self._lamps: dict[int, int] = {}  # how many, of cases that bear some
        self._arrays: dict[Term, Numbers] = {}  # what `bearers` was asked for, until it changes

    def put(self, number: int, case: Case) -> None:
        """Note what a case bears, instead of what it bore."""
        self.remove(number)
        text = case_words(case)
        terms = [("code", code) for code in {*case.codes, *fault_codes(" ".join(case.codes)), *fault_codes(text)}]
        terms += [("part", part) for part in part_numbers(" ".join(in_every_language(case.parts)))]
        terms += [("light", light) for light in case.lights]
        terms += [("brand", brand_key(case.brand)), ("series", series_key(case.series, case.brand))]
        self._terms[number] = tuple(self._one.setdefault(term, term) for term in terms if term[1])
        for term in self._terms[number]:
            self._of[term[0]][term[1]].add(number)
            self._arrays.pop(term, None)
        if lamps := sum(kind == "light" for kind, _ in self._terms[number]):
            self._lamps[number] = lamps

    def remove(self, number: int) -> None:
        """Forget a case, if it is there."""
        self._lamps.pop(number, None)
        for term in self._terms.pop(number, ()):
            kind, value = term
            self._arrays.pop(term, None)
            self._of[kind][value].discard(number)
            if not self._of[kind][value]:
                del self._of[kind][value]
                self._one.pop(term, None)

    def bearers(self, kind: str, values: Iterable[str]) -> Numbers:
        """The cases that bear any of ``values``: their numbers, ascending, each once."""
        found = [self._array((kind, value)) for value in dict.fromkeys(values) if value in self._of[kind]]
        if len(found) < 2:
            return found[0].copy() if found else np.zeros(0, np.int64)
        joined = np.concatenate(found)
        joined.sort(kind="stable")  # merges what is in order already, far faster than np.unique
        return np.asarray(joined[np.append(True, joined[1:] != joined[:-1])])

    def _array(self, term: Term) -> Numbers:
        """The bearers of one value, ascending."""
        if (known := self._arrays.get(term)) is None:
            bearers = self._of[term[0]][term[1]]
            known = self._arrays[term] = np.sort(np.fromiter(bearers, np.int64, len(bearers)))
        return known

    def count(self, numbers: Numbers, kind: str, values: Iterable[str]) -> NDArray[np.int64]:
        """How many of ``values`` each of ``numbers`` bears. A search for few numbers doesn't read all bearers."""
        found = np.zeros(len(numbers), np.int64)
        few = numbers.tolist() if len(numbers) < FEW else None
        for value in values:
            if not (bearers := self._of[kind].get(value)):
                continue
            if few is not None:
                found += np.fromiter((number in bearers for number in few), bool, len(few))
            else:
                found += np.isin(numbers, self._array((kind, value)))
        return found

    def borne(self, number: int, kind: str, values: Iterable[str]) -> tuple[str, ...]:
        """Those of ``values`` that the case bears."""
        return tuple(v for v in values if number in self._of[kind].get(v, ()))

    def like(self, kind: str, name: str, brand: str = "") -> tuple[str, ...]:
        """The values that name the same brand or series: 帕萨特 is Passat, 奔驰GL级 is GL级."""
        key = brand_key(name) if kind == "brand" else series_key(name, brand)
        return tuple(v for v in self._of[kind] if v == key or (min(len(key), len(v)) > 1 and (key in v or v in key)))

    def lights(self, numbers: NDArray[np.int64]) -> NDArray[np.int64]:
        """How many lamps each of ``numbers`` bears."""
        return np.fromiter(map(self._lamps.get, numbers.tolist(), repeat(0)), np.int64, len(numbers))
