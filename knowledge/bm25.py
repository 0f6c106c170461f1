"""BM25 over one block of documents: arrays, built once. `knowledge.lexical` puts blocks together.

A document's score is the sum, over the query's tokens, of the token's weight times its part in the document, between 0
and 1. The parts are computed here; the weights (idf) belong to all blocks together and come with the query.

The best k of a million documents are found without reading all that the query's commonest words stand in (MaxScore,
Turtle and Flood 1995): rare words come first, and once k documents have more than all words still to come could give,
no further document can get among them; the common words are then only looked up in those that still can.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

Numbers = NDArray[np.int64]
Floats = NDArray[np.float32]
Rows = NDArray[np.int32]  # a block's own count, from 0

READ_MOST = 2_000_000  # entries of lists read in full; beyond, new documents are no longer looked for
KEPT = 20  # times k: documents that are scored to the end when that happens
LONG = 50_000  # a list that is longer isn't looked through for the k best so far
LOOKING_UP = 12  # times as long as reading the next entry
SLACK = 1e-5  # what rounding may take from a sum


@dataclass(frozen=True)
class _List:
    """Where a token of the query stands: rows, ascending, and its part there; its weight, and the most it can give."""

    rows: Rows
    parts: Floats
    weight: float
    most: float


class Block:
    """Documents in rows, with one ascending list of rows for each token."""

    def __init__(
        self,
        numbers: Numbers,
        tokens: NDArray[np.int32],
        starts: Numbers,
        rows: Rows,
        parts: Floats,
    ) -> None:
        """See `build`.

        Args:
            numbers: shape (documents,), what each row is called.
            tokens: shape (lists,), ascending.
            starts: shape (lists + 1,), where each token's list begins in ``rows`` and ``parts``.
            rows: shape (entries,).
            parts: shape (entries,), 0..1.
        """
        self.numbers = numbers
        self.alive = np.ones(len(numbers), bool)
        self.living = len(numbers)
        self._tokens, self._starts, self._rows, self._parts = tokens, starts, rows, parts
        self._peaks = np.maximum.reduceat(parts, starts[:-1]) if len(rows) else np.zeros(0, np.float32)
        ascending = bool((numbers[1:] > numbers[:-1]).all())
        self._order = None if ascending else np.argsort(numbers, kind="stable")
        self._sorted = numbers if self._order is None else numbers[self._order]

    @classmethod
    def build(
        cls,
        documents: Iterable[tuple[int, Mapping[str, int]]],
        name: Callable[[str], int],
        k1: float,
        b: float,
        mean: float = 0,
    ) -> tuple[Self, float]:
        """A block, and the mean length of its documents in tokens.

        Args:
            documents: (number, how often each token stands there); each number once.
            name: a token's id.
            k1: how soon a token that stands there again adds nothing.
            b: how much long documents are marked down, 0..1.
            mean: length to compare with; their own mean if it is 0.
        """
        numbers, ids, times, lengths, spreads = array("q"), array("i"), array("H"), array("i"), array("i")
        for number, counts in documents:
            numbers.append(number)
            ids.extend(map(name, counts))
            times.extend(counts.values() if max(counts.values(), default=0) < 65_536 else _capped(counts))
            lengths.append(sum(counts.values()))
            spreads.append(len(counts))
        own = sum(lengths) / max(1, len(lengths)) or 1.0
        spread = np.asarray(spreads, np.int32)
        length = np.asarray(lengths, np.float32) / np.float32(mean or own)
        keys = _keys(np.asarray(ids, np.int32))
        parts = np.asarray(times, np.float32)
        del ids, times  # a million documents have no memory to spare
        parts /= parts + np.repeat(np.float32(k1) * (1 - np.float32(b) + np.float32(b) * length), spread)
        rows = np.repeat(np.arange(len(numbers), dtype=np.int32), spread)
        return cls(np.array(numbers, np.int64), *_by_token(keys, rows, parts)), own

    def __len__(self) -> int:
        return len(self.numbers)

    @classmethod
    def merged(cls, blocks: Sequence[Block]) -> Self:
        """One block of the documents that are alive in ``blocks``, in the same order."""
        numbers, tokens, rows, parts, before = [], [], [], [], 0
        for block in blocks:
            place = np.cumsum(block.alive, dtype=np.int32) + np.int32(before - 1)
            kept = block.alive[block._rows]
            numbers.append(block.numbers[block.alive])
            tokens.append(np.repeat(block._tokens, np.diff(block._starts))[kept])
            rows.append(place[block._rows[kept]])
            parts.append(block._parts[kept])
            before += block.living
        lists = _by_token(_keys(np.concatenate(tokens)), np.concatenate(rows), np.concatenate(parts))
        return cls(np.concatenate(numbers), *lists)

    def remove(self, number: int) -> bool:
        """Forget a document; whether it was there."""
        place = int(np.searchsorted(self._sorted, number))
        if place == len(self._sorted) or self._sorted[place] != number:
            return False
        row = place if self._order is None else int(self._order[place])
        was = bool(self.alive[row])
        self.alive[row] = False
        self.living -= was
        return was

    def spread(self, token: int) -> int:
        """In how many documents a token stands, those removed since the building included."""
        place = self._place(token)
        return 0 if place is None else int(self._starts[place + 1] - self._starts[place])

    def _place(self, token: int) -> int | None:
        place = int(self._tokens.searchsorted(self._tokens.dtype.type(token)))  # as another type, all would be copied
        return place if place < len(self._tokens) and self._tokens[place] == token else None

    def _lists(self, weights: Mapping[int, float]) -> Iterator[_List]:
        for token, weight in weights.items():
            if (place := self._place(token)) is not None:
                part = slice(int(self._starts[place]), int(self._starts[place + 1]))
                most = weight * float(self._peaks[place])
                yield _List(self._rows[part], self._parts[part], weight, most)

    def scores(self, weights: Mapping[int, float]) -> Floats:
        """The score of each row, shape (documents,). ``weights``: of each token of the query."""
        sums = np.zeros(len(self), np.float32)
        for one in self._lists(weights):
            sums[one.rows] += np.float32(one.weight) * one.parts
        return sums

    def scores_of(self, weights: Mapping[int, float], numbers: Numbers) -> Floats:
        """The scores of ``numbers``, in their order; 0 for unknown ones."""
        found = np.zeros(len(numbers), np.float32)
        there, wanted = self._rows_of(numbers)
        for one in self._lists(weights):
            hit, at = _common(one.rows, wanted)
            found[there[hit]] += np.float32(one.weight) * one.parts[at]
        return found

    def holding(self, tokens: Sequence[int], numbers: Numbers) -> NDArray[np.bool_]:
        """Which of ``numbers`` hold which of ``tokens``, shape (numbers, tokens); unknown ones hold none."""
        held = np.zeros((len(numbers), len(tokens)), bool)
        there, wanted = self._rows_of(numbers)
        for column, token in enumerate(tokens):
            for one in self._lists({token: 1.0}):
                hit, _ = _common(one.rows, wanted)
                held[there[hit], column] = True
        return held

    def _rows_of(self, numbers: Numbers) -> tuple[NDArray[np.intp], Rows]:
        """The places in ``numbers`` of those that are alive here, and their rows."""
        if not len(self):
            return np.zeros(0, np.intp), np.zeros(0, np.int32)
        places = np.minimum(np.searchsorted(self._sorted, numbers), len(self) - 1)
        there = np.flatnonzero(self._sorted[places] == numbers)
        rows = places[there] if self._order is None else self._order[places[there]]
        there, rows = there[self.alive[rows]], rows[self.alive[rows]]
        order = np.argsort(rows)  # looking up in ascending order is several times as fast
        return there[order], rows[order].astype(np.int32)

    def top(self, weights: Mapping[int, float], k: int) -> tuple[Numbers, Floats]:
        """The ``k`` best documents that hold any of the tokens (more if several are as good as the last), in no order.

        Exact unless the query's words stand in more than READ_MOST documents taken together: then those that hold only
        the commonest of its words may be missed.
        """
        lists = sorted(self._lists(weights), key=lambda one: len(one.rows))
        sums = np.zeros(len(self), np.float32)
        left = sum(one.most for one in lists)
        least = 0.0  # k documents have at least that
        read, done = 0, 0
        best = np.zeros(0, np.int32)  # good ones
        for one in lists:
            if left < least * (1 - SLACK) or (read and read + len(one.rows) > READ_MOST):
                break
            sums[one.rows] += np.float32(one.weight) * one.parts
            read, done, left = read + len(one.rows), done + 1, left - one.most
            if len(one.rows) <= LONG or len(best) < k:
                new = _largest(sums, one.rows[self.alive[one.rows]], k)
                best = _largest(sums, np.union1d(best, new), k)
            if len(best) >= k:
                least = max(least, float(sums[best].min()))
        able = sums > 0 if least <= left else sums >= (least - left) * (1 - SLACK)
        chosen: Rows = np.flatnonzero(able & self.alive).astype(np.int32)
        if done < len(lists) and left >= least:  # READ_MOST
            chosen = _largest(sums, chosen, KEPT * k)
            chosen.sort()
        for one in lists[done:]:
            if len(chosen) * LOOKING_UP > len(one.rows):
                sums[one.rows] += np.float32(one.weight) * one.parts
            else:
                hit, at = _common(one.rows, chosen)
                sums[chosen[hit]] += np.float32(one.weight) * one.parts[at]
            left -= one.most
            if len(chosen) > 2 * k:
                got = sums[chosen]
                least = max(least, float(np.partition(got, len(got) - k)[len(got) - k]))
                chosen = chosen[got >= (least - left) * (1 - SLACK)]
        if len(chosen) > k:
            got = sums[chosen]
            chosen = chosen[got >= np.partition(got, len(got) - k)[len(got) - k]]
        return self.numbers[chosen], sums[chosen]


def _capped(counts: Mapping[str, int]) -> list[int]:
    return [min(times, 65_535) for times in counts.values()]


def _keys(tokens: NDArray[np.int32]) -> Numbers:
    """Each entry's token and place as one number: sorting it takes far less time and room than np.lexsort."""
    keys = np.empty(len(tokens), "<i8")
    keys.view("<i4")[1::2] = tokens
    keys.view("<u4")[::2] = np.arange(len(tokens), dtype="<u4")
    return keys


def _by_token(keys: Numbers, rows: Rows, parts: Floats) -> tuple[NDArray[np.int32], Numbers, Rows, Floats]:
    """``tokens``, ``starts``, ``rows``, ``parts`` of a block.

    ``keys``: see `_keys`; they are sorted where they lie. ``rows`` must ascend for each token.
    """
    keys.sort()
    order, tokens = keys.view("<u4")[::2], keys.view("<i4")[1::2]
    firsts = np.flatnonzero(tokens[1:] != tokens[:-1]) + 1
    starts = np.concatenate([[0], firsts, [len(tokens)]]) if len(tokens) else np.zeros(1, np.int64)
    return tokens[starts[:-1]].astype(np.int32), starts.astype(np.int64), rows[order], parts[order]


def _common(rows: Rows, wanted: Rows) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Which of ``wanted`` are in ``rows``, and where; both ascend."""
    places = np.minimum(np.searchsorted(rows, wanted), len(rows) - 1)
    hit = np.flatnonzero(rows[places] == wanted)
    return hit, places[hit]


def _largest(sums: Floats, rows: Rows, k: int) -> Rows:
    """Those ``k`` of ``rows`` whose sums are largest."""
    if len(rows) <= k:
        return rows
    return rows[np.argpartition(sums[rows], len(rows) - k)[len(rows) - k :]]
