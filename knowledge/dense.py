"""Finding by meaning: a vector index that keeps step with the store.

A case has one vector for each language that it speaks and the encoder understands: what a starter case says in Chinese
lies elsewhere than what it says in English, and a question should find either.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from knowledge.case import Case
from knowledge.embed import Embedder, Vectors
from knowledge.index import FaissIndex, Numbers
from knowledge.lexical import language_of
from knowledge.store import CaseStore
from knowledge.text import LANGS, Lang, Text
from knowledge.vector_cache import VectorCache

log = logging.getLogger(__name__)

Progress = Callable[[int], None]  # told how many texts were encoded so far
PART = 256  # texts encoded and kept at a time: what an interrupted first build doesn't lose
SAVE_SHARE, SAVE_LEAST = 0.05, 50  # the index is written again after this share, and this number, of changes

# What the encoder reads of a case, the most telling first, since long texts are cut.
_FIELDS = ("symptom", "cause", "diagnosis", "fix", "outcome", "parts")
_ALIKE = 0.99  # cosine of a vector in the index with the same text encoded again


def texts_of(case: Case, languages: Sequence[Lang]) -> dict[Lang, str]:
    """The words of a case in each of the ``languages`` in which it says anything."""
    found: dict[Lang, list[str]] = {}
    for name in _FIELDS:
        value: str | Text = getattr(case, name)
        if isinstance(value, Text):
            for lang in languages:
                found.setdefault(lang, []).append(value.in_(lang))
        elif value and (lang := language_of(value)) in languages:
            found.setdefault(lang, []).append(value)
    return {lang: "\n".join(parts) for lang, parts in found.items()}


def _key(number: int, lang: Lang) -> int:
    """Under which number the index holds the vector of a case in a language."""
    return number * len(LANGS) + LANGS.index(lang)


class Dense:
    """The vectors of all cases that have words which the encoder understands."""

    def __init__(self, store: CaseStore, embedder: Embedder, cache: Path) -> None:
        """Load the index kept in the folder ``cache``, if it is to be trusted. `refresh` does the rest."""
        self._store, self._embedder, self._folder = store, embedder, cache
        self._cache = VectorCache(cache / "vectors.sqlite", embedder.name, embedder.dim)
        self._index = FaissIndex(embedder.dim)
        self._revision = 0
        self._stamp = ""
        self._unsaved = 0
        loaded = FaissIndex.load(cache, embedder.name, embedder.dim, store.stamp)
        if loaded is not None:
            self._index, self._revision = loaded
            self._stamp = store.stamp(self._revision)

    def __len__(self) -> int:
        return len(self._index)

    def stands_at(self, revision: int, stamp: str) -> bool:
        """Whether everything up to this state of the store is known, and nothing later."""
        return (revision, stamp) == (self._revision, self._stamp)

    def refresh(self, progress: Progress | None = None) -> None:
        """Catch up with the store: what this or another process wrote since the last time."""
        latest = self._store.revision()
        if latest == self._revision and self._stamp == self._store.stamp(latest):
            return
        if self._store.stamp(self._revision) != self._stamp:  # another file was put in its place
            self._index, self._revision = FaissIndex(self._embedder.dim), 0
        gone: list[int] = []
        waiting: dict[int, str] = {}
        done = 0
        for stored in self._store.changes(self._revision):
            texts = {} if stored.deleted else texts_of(stored.case, self._embedder.languages)
            latest = max(latest, stored.revision)
            gone += [_key(stored.number, lang) for lang in LANGS if lang not in texts]
            waiting.update((_key(stored.number, lang), text) for lang, text in texts.items())
            if len(waiting) >= PART:
                self._take(waiting)
                done += len(waiting)
                waiting = {}
                if progress is not None:
                    progress(done)
        self._take(waiting)
        self._index.remove(np.array(gone, np.int64))
        self._revision, self._stamp = latest, self._store.stamp(latest)
        self._unsaved += done + len(waiting) + len(gone)
        if self._unsaved >= max(SAVE_LEAST, SAVE_SHARE * len(self)):
            self.save()

    def _take(self, texts: dict[int, str]) -> None:
        if not texts:
            return
        keys = {number: VectorCache.key(text) for number, text in texts.items()}
        known = self._cache.get(list(keys.values()))
        new = {keys[n]: text for n, text in texts.items() if keys[n] not in known}
        if new:
            made = dict(zip(new, self._embedder.encode(list(new.values())), strict=True))
            self._cache.put(made)
            known |= made
        self._index.add(np.fromiter(texts, np.int64, len(texts)), np.stack([known[keys[n]] for n in texts]))

    def save(self) -> None:
        """Write the index, so that the next start needn't build it; a full disk only costs time later."""
        try:
            self._index.save(self._folder, self._embedder.name, self._revision, self._stamp)
            self._unsaved = 0
        except OSError as error:
            log.warning("The search index was not kept in %s: %s", self._folder, error)

    def search(self, query: str, k: int) -> tuple[Numbers, Vectors]:
        """The ``k`` cases nearest in meaning: numbers and cosines, best first."""
        keys, cosines = self._index.search(self._embedder.encode([query])[0], k * len(LANGS))
        numbers, first = np.unique(keys // len(LANGS), return_index=True)  # the first of a case is its nearest
        best = np.argsort(first)[:k]
        return numbers[best], cosines[first[best]]

    def without(self, numbers: Numbers) -> NDArray[np.bool_]:
        """Which of ``numbers`` have no vector."""
        held = [self._index.holds(numbers * len(LANGS) + i) for i in range(len(LANGS))]
        return np.asarray(~np.logical_or.reduce(held))

    def compare(self, sample: int) -> int:
        """How many cases differ between index and store: vectors absent or too many, and wrong among a ``sample``."""
        wanted: dict[int, str] = {}
        for stored in self._store.changes():
            if not stored.deleted:
                texts = texts_of(stored.case, self._embedder.languages)
                wanted.update((_key(stored.number, lang), text) for lang, text in texts.items())
        here = set(self._index.numbers().tolist())
        wrong = {key // len(LANGS) for key in here ^ set(wanted)}
        both = sorted(here & set(wanted))
        for key in both[:: max(1, len(both) // sample)]:
            vector = self._embedder.encode([wanted[key]])[0]
            near, cosines = self._index.search(vector, 20)
            found = cosines[near == key]
            # A text of the same vector may have crowded it out: then its like stands at the top.
            if not (len(found) and found[0] >= _ALIKE) and not (len(cosines) and cosines[-1] >= _ALIKE):
                wrong.add(key // len(LANGS))
        return len(wrong)

    def close(self) -> None:
        """Let go of the cache's file."""
        self._cache.close()
