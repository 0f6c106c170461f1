"""One search over the archive: by words, by meaning, by fault code, for a vehicle."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Self

import numpy as np
from numpy.typing import NDArray

from knowledge.archive import Archive
from knowledge.case import Case, case_words, in_every_language
from knowledge.dense import Dense, Progress
from knowledge.embed import Embedder, OnnxEmbedder
from knowledge.lexical import Lexical, fault_codes, language_of, part_numbers, shared_words, tokenize
from knowledge.postings import Postings
from knowledge.store import CaseStore, Stored
from knowledge.text import Text, UserError, listed
from knowledge.vehicles import ANY, Vehicle

Floats = NDArray[np.float32]

POOL = 300  # neighbours in meaning, and best by words, that are looked at
ALL = 20_000  # archives up to this size are scored whole, larger ones only where words, meaning or marks point
# How far a match closes the gap to a full score. Vehicle and lamp prefer, they don't exclude: what worked on a sister
# model is worth seeing.
BOOST = {"brand": 0.10, "series": 0.15, "light": 0.30}
EXACT = 0.9  # a case with the very code or part number scores above this, all others below
CLEAR_MEANING = 0.45  # a cosine from which likeness in meaning is given as a reason
# The share of a query's words from which a hit is more than the least bad; for its meaning see `Scale.relevant`.
RELEVANT_WORDS = 0.3
LATE = 0.5  # share of cases new to the word index after which it is built anew
MAX_QUERY = 4_000  # characters; more describes no fault

ReasonKind = Literal["code", "part", "words", "meaning", "vehicle", "light"]
_REASONS: Mapping[ReasonKind, Text] = {
    "code": Text(zh="故障码相同：{what}", en="same fault code: {what}"),
    "part": Text(zh="零件号相同：{what}", en="same part number: {what}"),
    "words": Text(zh="词语相符：{what}", en="same words: {what}"),
    "meaning": Text(zh="意思相近", en="similar meaning"),
    "vehicle": Text(zh="同类车辆：{what}", en="same vehicle: {what}"),
    "light": Text(zh="相同的灯：{what}", en="same lamp: {what}"),
}


class QueryError(UserError):
    """A query that can't be searched for."""


@dataclass(frozen=True)
class Reason:
    """Why a case was found."""

    kind: ReasonKind
    what: tuple[str, ...] = ()

    @property
    def text(self) -> Text:
        """The reason in words."""
        words = _REASONS[self.kind]
        return Text(zh=words.zh.format(what=listed(self.what, "zh")), en=words.en.format(what=listed(self.what, "en")))


@dataclass(frozen=True)
class Hit:
    """A case that was found. ``score`` lies in 0..1 and falls along the list.

    ``relevant`` is False for the merely least bad: no code or part in common, too few words, too little meaning.
    """

    case: Case
    score: float
    why: tuple[Reason, ...] = ()
    relevant: bool = True


@dataclass(frozen=True)
class Wanted:
    """What besides the words of a query decides: codes and parts surface, vehicle and lamps are preferred."""

    brand: str = ""
    series: str = ""
    lights: tuple[str, ...] = ()
    codes: tuple[str, ...] = ()
    parts: tuple[str, ...] = ()


@dataclass(frozen=True)
class Found:
    """What a search looks at, in arrays of one length. ``score``: words and meaning together; ``meaning``: cosines."""

    numbers: NDArray[np.int64]
    score: Floats
    words: Floats
    meaning: Floats
    enough_meaning: float = 1.0  # from which on a hit is relevant


def _code(code: str | None) -> tuple[str, ...]:
    """A fault code that was given as such; one of another form than P0420 counts as it stands."""
    return fault_codes(code or "") or ((code.strip().upper(),) if code and code.strip() else ())


def _tokens(case: Case) -> list[str]:
    """What BM25 knows of a case: vehicle, codes, and its words in every language."""
    return tokenize(" \n ".join([case.brand, case.series, " ".join(case.codes), case_words(case)]))


def _names_in_catalogue(lights: Iterable[str]) -> dict[str, Text]:
    from knowledge.catalogue import load_catalogue

    catalogue = load_catalogue()
    return {light: catalogue.lights[light].name for light in lights if light in catalogue.lights}


class Searcher:
    """Searches a store; keeps up with what is added, by itself. Safe to use from several threads."""

    def __init__(self, store: CaseStore, embedder: Embedder, cache: Path) -> None:
        """``cache``: folder for the vector index. Nothing is read or built before the first search."""
        self.store, self._embedder, self._cache = store, embedder, cache
        self._lock = threading.RLock()
        self._lexical = Lexical()
        self._postings = Postings()
        self._dense: Dense | None = None
        self._revision, self._stamp = 0, ""
        self.searched: Callable[[float], None] = lambda seconds: None  # told the seconds of each `search`

    @classmethod
    def open(cls, home: Path, embedder: Embedder | None = None) -> Self:
        """A searcher over the archive in ``home``, which is set up if it is new.

        Raises:
            StoreError: if the archive can't be used.
            EncoderError: if the shipped encoder is damaged.
        """
        return cls(Archive.open(home).store, embedder or OnnxEmbedder(), home / "cache")

    def refresh(self, progress: Progress | None = None) -> None:
        """Take in whatever changed, meaning too. Searching does it by itself; after a large import it takes a while."""
        with self._lock:
            self._refresh_words()
            self._refresh_meaning(progress)

    def _refresh_words(self) -> None:
        revision = self.store.revision()
        if revision == self._revision and self.store.stamp(revision) == self._stamp:
            return
        if self.store.stamp(self._revision) != self._stamp:  # another file was put in its place
            self._revision = 0
        changed = list(self.store.changes(self._revision)) if self._revision else []
        if not self._revision or len(changed) + self._lexical.late > max(200, LATE * len(self._lexical)):
            self._lexical, self._postings = Lexical(), Postings()
            self._lexical = Lexical((s.number, self._noted(s)) for s in self.store.changes() if not s.deleted)
        else:
            for stored in changed:
                if stored.deleted:
                    self._lexical.remove(stored.number)
                    self._postings.remove(stored.number)
                else:
                    self._lexical.put(stored.number, self._noted(stored))
        self._revision, self._stamp = revision, self.store.stamp(revision)

    def _noted(self, stored: Stored) -> list[str]:
        self._postings.put(stored.number, stored.case)
        return _tokens(stored.case)

    def _refresh_meaning(self, progress: Progress | None = None) -> Dense:
        if self._dense is None:
            self._dense = Dense(self.store, self._embedder, self._cache)
        self._dense.refresh(progress)
        return self._dense

    def search(
        self,
        query: str,
        k: int = 10,
        brand: str | None = None,
        series: str | None = None,
        code: str | None = None,
        light: str | None = None,
    ) -> list[Hit]:
        """The ``k`` cases (fewer only if the archive holds fewer) that answer ``query`` best.

        A case with a code or part number of the query (or with ``code``) comes before all others. ``brand``,
        ``series`` and ``light`` raise cases that bear them and exclude none.

        Raises:
            QueryError: if the query says nothing.
        """
        # Through bytes, since half of a surrogate pair (a terminal may hand one over) is no character.
        query = query.encode("utf-8", "replace").decode().replace("\0", " ").strip()[:MAX_QUERY]
        tokens = tokenize(query)
        if not tokens and not (code or light):
            raise QueryError(
                "请描述故障，例如“冷车打不着火”或“P0420”。",
                'Please describe the fault, for example "hard to start when cold" or "P0420".',
            )
        if k < 1:
            raise QueryError("结果数量至少为 1。", "The number of hits must be at least 1.")
        begun = time.perf_counter()
        with self._lock:
            self._refresh_words()
            wanted = Wanted(
                brand=brand or "",
                series=series or "",
                lights=(light.strip().lower().replace("-", "_"),) if light else (),
                codes=tuple(dict.fromkeys((*_code(code), *fault_codes(query)))),
                parts=part_numbers(query),
            )
            found = self._base(query, tokens, wanted, k)
            hits = self._hits(found, self._raised(found.numbers, found.score, wanted), tokens, wanted, k)
        self.searched(time.perf_counter() - begun)
        return hits

    def alike(self, text: str, k: int) -> list[Case]:
        """The ``k`` cases that share most words with ``text``; for telling near-duplicates."""
        with self._lock:
            self._refresh_words()
            numbers, _ = self._lexical.top(tokenize(text[:MAX_QUERY]), k)
            stored = self.store.by_number(numbers.tolist())
        return [stored[n].case for n in numbers.tolist() if n in stored and not stored[n].deleted]

    def compare(self, sample: int) -> tuple[int, int]:
        """(vectors in the index, cases that differ between index and store); see `Dense.compare`."""
        with self._lock:
            dense = self._refresh_meaning()
            return len(dense), dense.compare(sample)

    def save(self) -> None:
        """Write the vector index to the cache."""
        with self._lock:
            self._refresh_meaning().save()

    def by_words(self, query: str) -> tuple[NDArray[np.int64], Floats]:
        """BM25 alone: (numbers, scores) of all cases. For measuring."""
        with self._lock:
            self._refresh_words()
            return self._lexical.scores(tokenize(query))

    def by_meaning(self, query: str, k: int) -> tuple[NDArray[np.int64], Floats]:
        """The encoder alone: (numbers, cosines) of the nearest. For measuring."""
        with self._lock:
            return self._refresh_meaning().search(query, k)

    def _base(self, query: str, tokens: Sequence[str], wanted: Wanted, k: int) -> Found:
        """What is looked at, and how well words and meaning of each answer the query."""
        lang = language_of(query)
        near, cosines, dense = np.zeros(0, np.int64), np.zeros(0, np.float32), None
        if lang in self._embedder.languages and tokens:
            dense = self._dense
            if dense is None or not dense.stands_at(self._revision, self._stamp):
                dense = self._refresh_meaning()
            near, cosines = dense.search(query, POOL)
        numbers, words = self._candidates(tokens, near, wanted, k)
        meaning = np.zeros(len(numbers), np.float32)
        if dense is None or not len(near):
            return Found(numbers, words, words, meaning)
        order = np.argsort(numbers)
        # Whatever isn't among the neighbours is at most as like as the last of them.
        rest = max(0.0, float(cosines[-1])) if len(near) >= POOL else 0.0
        likeness = np.full(len(numbers), rest, np.float32)
        known = np.isin(near, numbers)  # a case may have gone between the two refreshes
        places = order[np.searchsorted(numbers, near[known], sorter=order)]
        likeness[places] = meaning[places] = np.clip(cosines[known], 0, 1)
        scale = self._embedder.scale[lang]
        mixed = scale.share * likeness + (1 - scale.share) * words
        score = np.where(dense.without(numbers), words, mixed).astype(np.float32)
        return Found(numbers, score, words, meaning, scale.relevant)

    def _candidates(
        self, tokens: Sequence[str], near: NDArray[np.int64], wanted: Wanted, k: int
    ) -> tuple[NDArray[np.int64], Floats]:
        """(numbers, scores by words) of the cases that may be hits: all of a small archive."""
        if len(self._lexical) <= ALL:
            return self._lexical.scores(tokens)
        bearers = self._postings.bearers
        marked = [
            bearers("code", wanted.codes), bearers("part", wanted.parts), bearers("light", wanted.lights),
            bearers("series", self._postings.like("series", wanted.series, wanted.brand)),
        ]  # fmt: skip
        if not tokens and wanted.brand:
            marked.append(bearers("brand", self._postings.like("brand", wanted.brand)))
        # At least k, so that a list is only shorter than asked for where the archive is.
        best, _ = self._lexical.top(tokens, max(POOL, k))
        numbers = np.unique(np.concatenate([best, near, *(part[:ALL] for part in marked)]))
        if len(numbers) < k:
            everything, _ = self._lexical.scores(())
            numbers = np.unique(np.concatenate([numbers, everything[:k]]))
        return numbers, self._lexical.scores_of(tokens, numbers)

    def _raised(self, numbers: NDArray[np.int64], score: Floats, wanted: Wanted) -> Floats:
        """``score`` after vehicle, lamps and exact matches had their say; still 0..1."""
        gap = 1 - score
        for kind, values in (
            ("brand", self._postings.like("brand", wanted.brand)),
            ("series", self._postings.like("series", wanted.series, wanted.brand)),
            ("light", wanted.lights),
        ):
            if values:
                gap = gap * (1 - BOOST[kind] * (self._postings.count(numbers, kind, values) > 0))
        score = 1 - gap
        exact = self._postings.count(numbers, "code", wanted.codes) + self._postings.count(
            numbers, "part", wanted.parts
        )
        if not exact.any():
            return score.astype(np.float32)
        # Above EXACT first those that share most codes, then by the rest of the score.
        above = EXACT + (1 - EXACT) * (exact - 1 + score) / exact.max()
        return np.where(exact > 0, above, EXACT * score).astype(np.float32)

    def _hits(self, found: Found, score: Floats, tokens: Sequence[str], wanted: Wanted, k: int) -> list[Hit]:
        among = np.flatnonzero(score >= np.partition(score, -k)[-k]) if len(score) > k else np.arange(len(score))
        best = among[np.lexsort((found.numbers[among], -score[among]))[:k]]
        stored = self.store.by_number([int(found.numbers[i]) for i in best])
        hits, weights = [], self._lexical.weights(tokens)
        for i, held in zip(best, self._lexical.holding(list(weights), found.numbers[best]), strict=True):
            number = int(found.numbers[i])
            if number in stored and not stored[number].deleted:
                words = shared_words(weights, held)
                why = self._why(stored[number], float(found.meaning[i]), words, wanted)
                relevant = (
                    any(reason.kind in ("code", "part", "light") for reason in why)
                    or found.meaning[i] >= found.enough_meaning
                    or found.words[i] >= RELEVANT_WORDS
                )
                hits.append(Hit(stored[number].case, round(float(score[i]), 4), why, bool(relevant)))
        return hits

    def _why(self, stored: Stored, meaning: float, words: tuple[str, ...], wanted: Wanted) -> tuple[Reason, ...]:
        borne = self._postings.borne
        number, case = stored.number, stored.case
        reasons = [
            Reason("code", borne(number, "code", wanted.codes)),
            Reason("part", borne(number, "part", wanted.parts)),
            Reason("light", borne(number, "light", wanted.lights)),
            Reason("words", words),
        ]
        vehicle = [
            name
            for kind, name, asked in (("brand", case.brand, wanted.brand), ("series", case.series, wanted.series))
            if borne(number, kind, self._postings.like(kind, asked, wanted.brand))
        ]
        reasons.append(Reason("vehicle", tuple(vehicle)))
        given = [reason for reason in reasons if reason.what]
        return tuple([*given, Reason("meaning")] if meaning >= CLEAR_MEANING else given)

    def search_for_diagnosis(
        self,
        lights: Sequence[str],
        codes: Sequence[str] = (),
        k: int = 3,
        names: Mapping[str, Text] | None = None,
        vehicle: Vehicle = ANY,
    ) -> list[Hit]:
        """Up to ``k`` fixes of cars that showed the same lamps or codes; none that share neither.

        They are ranked by how well the lamps agree (Jaccard: shared lamps by all lamps of both), equal ones by how
        much they speak of these lamps; those of such a ``vehicle`` are raised. ``names``: by default the catalogue's.
        """
        if not lights and not codes:
            return []
        names = _names_in_catalogue(lights) if names is None else names
        seen = tuple(dict.fromkeys(lights)), tuple(c for code in codes for c in _code(code))
        wanted = Wanted(vehicle.brand, vehicle.series, *seen)
        told = [w for light in wanted.lights if light in names for w in in_every_language(names[light])]
        tokens = tokenize(" \n ".join(told))
        with self._lock:
            self._refresh_words()
            numbers, words = self._lexical.scores(tokens)
            shared = self._postings.count(numbers, "light", wanted.lights)
            exact = self._postings.count(numbers, "code", wanted.codes)
            related = (shared > 0) | (exact > 0)
            numbers, words, shared, exact = numbers[related], words[related], shared[related], exact[related]
            agreement = shared / np.maximum(1, self._postings.lights(numbers) + len(wanted.lights) - shared)
            score = (0.85 * agreement + 0.15 * words).astype(np.float32)
            if vehicle.brand or vehicle.series:  # halved, there is room for the vehicle to outweigh words, not lamps
                score = self._raised(numbers, score / 2, Wanted(vehicle.brand, vehicle.series))
            score = np.where(exact > 0, EXACT + (1 - EXACT) * score, EXACT * score).astype(np.float32)
            found = Found(numbers, score, words, np.zeros(len(numbers), np.float32))
            return self._hits(found, score, tokens, wanted, k)

    def close(self) -> None:
        """Let go of files."""
        with self._lock:
            if self._dense is not None:
                self._dense.close()
            self.store.close()
