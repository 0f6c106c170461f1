"""How the search holds with very many cases, measured on made-up ones.

    python -m training.scale --cases 1000000

prints JSON: for finding by meaning (`knowledge.index`) and by words (`knowledge.lexical`), each in a process of its
own, what building costs, the memory, the time of one search for 300 cases, and how many of the true nearest 10 and 300
the index finds. No encoder and no archive is involved.

    python -m training.scale --cases 1000000 --archive

measures a whole search instead: cases in SQLite, mixed from the clauses of the starter cases, each with a made-up
vector; questions in the words of starter cases, encoded by the shipped encoder; ten hits with their reasons.

The vectors lie as the shipped encoder's do, measured on the starter cases: topics, some of them far commoner than
others, around a direction that all share; pairs of cases have a cosine of 0.3 +- 0.1, the nearest two 0.7; half of the
variance lies in some 50 of the 384 directions. Tokens follow Zipf's law as Chinese characters do (the commonest stands
in every third case), and four in ten belong to the case's topic. Questions are new draws of both.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import re
import resource
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from knowledge.archive import STARTER_CASES, Archive
from knowledge.case import Case, read_case, words
from knowledge.embed import OnnxEmbedder
from knowledge.index import FaissIndex
from knowledge.lexical import Lexical
from knowledge.search import Searcher
from knowledge.tables import check_row, read_rows
from knowledge.text import Lang

Floats = NDArray[np.float32]

DIM = 384
TOPICS = 3000
WANTED = 300  # cases asked for in a search, as `knowledge.search` does
QUESTIONS = 200
PART = 10_000  # cases made at a time
VOCABULARY = 300_000
TOKENS = 40  # of a case, on average
TOPIC_WORDS, TOPIC_SHARE = 60, 0.4
ASKED = (5, 5)  # tokens of a question: of a topic, of the language


class Meanings:
    """Made-up vectors of length 1."""

    def __init__(self, topics: int = TOPICS, dim: int = DIM) -> None:
        random = np.random.default_rng(0)
        variance = 1 / (np.arange(dim) + 6) ** 1.2
        turn = np.linalg.qr(random.normal(size=(dim, dim)))[0]
        self._spread = (np.sqrt(variance / variance.sum())[:, None] * turn).astype(np.float32)
        common = turn[0].astype(np.float32)
        self._topics = 0.55 * common + 0.65 * self._draw(topics, random)
        popularity = 1 / (np.arange(topics) + 10) ** 0.8
        self._popularity = popularity / popularity.sum()

    def _draw(self, count: int, random: np.random.Generator) -> Floats:
        drawn: Floats = random.standard_normal((count, len(self._spread)), np.float32) @ self._spread
        return drawn

    def make(self, count: int, seed: int) -> Floats:
        """Vectors, shape (count, dim)."""
        random = np.random.default_rng(seed)
        topics = self._topics[random.choice(len(self._topics), count, p=self._popularity)]
        distance = random.uniform(0.3, 0.8, (count, 1)).astype(np.float32)
        made = topics + distance * self._draw(count, random)
        unit: Floats = made / np.linalg.norm(made, axis=1, keepdims=True)
        return unit


class Words:
    """Made-up tokens of cases and questions."""

    def __init__(self, topics: int = TOPICS, vocabulary: int = VOCABULARY) -> None:
        random = np.random.default_rng(0)
        share = 1 / (np.arange(vocabulary) + 5)
        self._sums = np.cumsum(share / share.sum())
        self._names = np.array([f"t{rank}" for rank in range(vocabulary)], dtype=object)
        self._topics = random.integers(50, max(51, vocabulary // 15), (topics, TOPIC_WORDS))

    def _language(self, count: int, random: np.random.Generator) -> NDArray[np.int64]:
        return np.minimum(np.searchsorted(self._sums, random.random(count)), len(self._names) - 1)

    def make(self, count: int, seed: int) -> Iterator[list[str]]:
        """The tokens of ``count`` cases."""
        random = np.random.default_rng(seed)
        lengths = np.clip(random.lognormal(np.log(TOKENS), 0.4, count), 4, 400).astype(np.int64)
        ranks = self._language(int(lengths.sum()), random)
        topics = np.repeat(random.integers(0, len(self._topics), count), lengths)
        words = self._topics[topics, (TOPIC_WORDS * random.random(len(ranks)) ** 2).astype(np.int64)]
        tokens = self._names[np.where(random.random(len(ranks)) < TOPIC_SHARE, words, ranks)].tolist()
        start = 0
        for length in lengths.tolist():
            yield tokens[start : start + length]
            start += length

    def ask(self, count: int, seed: int) -> list[list[str]]:
        """The tokens of ``count`` questions."""
        random = np.random.default_rng(seed)
        topics = self._topics[random.integers(0, len(self._topics), count)]
        share = np.diff(np.linspace(0, 1, TOPIC_WORDS + 1) ** 0.5)  # as cases use their topic's words
        own = [random.choice(words, ASKED[0], replace=False, p=share) for words in topics]
        return [self._names[np.concatenate([words, self._language(ASKED[1], random)])].tolist() for words in own]


def measure_meaning(cases: int) -> dict[str, Any]:
    """The figures of `FaissIndex` with ``cases`` vectors."""
    meanings = Meanings()
    questions = meanings.make(QUESTIONS, seed=1)
    exact: tuple[NDArray[np.int64], Floats] = (np.zeros((QUESTIONS, 0), np.int64), np.zeros((QUESTIONS, 0), np.float32))
    index = FaissIndex(DIM)
    index.add(np.zeros(1, np.int64), questions[:1])  # loads FAISS
    index.remove(np.zeros(1, np.int64))
    before, build_s, peak = _rss_mb(), 0.0, 0.0
    for start in range(0, cases, PART):
        numbers = np.arange(start, min(cases, start + PART))
        vectors = meanings.make(len(numbers), seed=2 + start)
        exact = _nearest(exact, numbers, questions @ vectors.T)
        build_s += _seconds(lambda n=numbers, v=vectors: index.add(n, v))  # type: ignore[misc]
        peak = max(peak, _rss_mb())
    found: list[NDArray[np.int64]] = []
    times = _times([lambda q=q: found.append(index.search(q, WANTED)[0]) for q in questions])  # type: ignore[misc]
    recall = {
        f"recall_at_{k}": round(
            statistics.mean(np.isin(a[:k], b[:k]).mean() for a, b in zip(exact[0], found, strict=True)), 4
        )
        for k in (10, min(WANTED, cases))
    }
    figures = {
        "cases": cases,
        "cells": index.cells,
        "probes": index.probes,
        "build_s": round(build_s, 1),
        "rss_mb": round(_rss_mb() - before),
        "rss_peak_mb": round(_peak_mb() - before),
        f"top_{WANTED}": times,
        **recall,
        "replace_one_ms": round(1000 * _seconds(lambda: index.add(np.array([5]), questions[:1])), 2),
    }
    with tempfile.TemporaryDirectory() as folder:
        figures["save_s"] = round(_seconds(lambda: index.save(Path(folder), "made up", 1, "one")), 1)
        figures["file_mb"] = round(sum(path.stat().st_size for path in Path(folder).iterdir()) / 2**20)
        figures["load_s"] = round(_seconds(lambda: FaissIndex.load(Path(folder), "made up", DIM, lambda _: "one")), 1)
    return figures


def measure_words(cases: int) -> dict[str, Any]:
    """The figures of `Lexical` with ``cases`` cases."""
    words = Words()
    made_s = 0.0

    def documents() -> Iterator[tuple[int, list[str]]]:
        nonlocal made_s
        for start in range(0, cases, PART):
            began = time.perf_counter()
            made = list(words.make(min(PART, cases - start), seed=2 + start))
            made_s += time.perf_counter() - began
            yield from enumerate(made, start)

    before = _rss_mb()
    began = time.perf_counter()
    lexical = Lexical(documents())
    build_s = time.perf_counter() - began - made_s
    held = _rss_mb() - before
    questions = words.ask(QUESTIONS, seed=1)
    found: list[NDArray[np.int64]] = []
    top = _times([lambda q=q: found.append(lexical.top(q, WANTED)[0]) for q in questions])  # type: ignore[misc]
    some = np.random.default_rng(3).integers(0, cases, WANTED)
    scores_of = _times([lambda q=q: lexical.scores_of(q, some) for q in questions])  # type: ignore[misc]
    few = questions[:20]
    scores = _times([lambda q=q: lexical.scores(q) for q in few])  # type: ignore[misc]
    agree = []
    for question, numbers in zip(few, found, strict=False):
        ids, all_scores = lexical.scores(question)
        best = np.lexsort((ids, -all_scores))[:WANTED]
        agree.append(np.isin(ids[best[all_scores[best] > 0]], numbers).mean())
    began = time.perf_counter()
    for number, question in enumerate(questions[:100], cases):
        lexical.put(number, question)
    put_s = time.perf_counter() - began
    return {
        "cases": cases,
        "build_s": round(build_s, 1),
        "rss_mb": round(held),
        "rss_peak_mb": round(_peak_mb() - before),
        f"top_{WANTED}": top,
        f"scores_of_{WANTED}": scores_of,
        "scores_of_all": scores,
        "top_agrees_with_scores": round(float(np.mean(agree)), 4),
        "put_one_ms": round(10 * put_s, 3),
    }


class _MadeUp:
    """Vectors out of thin air, but a question takes as long as with the shipped encoder."""

    name, dim = "made up", DIM
    languages: tuple[Lang, ...] = ("zh",)

    def __init__(self) -> None:
        self._meanings, self._shipped, self._made = Meanings(), OnnxEmbedder(), 0
        self.scale = self._shipped.scale

    def encode(self, texts: Sequence[str]) -> Floats:
        """See `knowledge.embed.Embedder`."""
        if len(texts) == 1:
            self._shipped.encode(texts)
        self._made += len(texts)
        return self._meanings.make(len(texts), seed=self._made)


def _starters() -> list[Case]:
    read = (check_row(row, read_case) for row in read_rows(STARTER_CASES))
    return [case for case in read if isinstance(case, Case) and words(case.symptom, "zh") and words(case.fix, "zh")]


def _mixed(cases: int) -> Iterator[list[Case]]:
    """Cases in parts: half of each one's clauses from one starter case, half from any."""
    starters = _starters()
    clauses = [re.findall(r"[^，。；,;.]+", f"{words(c.symptom, 'zh')}，{words(c.cause, 'zh')}") for c in starters]
    fixes = [words(case.fix, "zh") for case in starters]
    every = [clause for own in clauses for clause in own]
    random = np.random.default_rng(4)
    for start in range(0, cases, PART):
        part = []
        for number in range(start, min(cases, start + PART)):
            topic = int(random.integers(len(starters)))
            said = [clauses[topic][int(random.integers(len(clauses[topic])))] for _ in range(3)]
            said += [every[int(random.integers(len(every)))] for _ in range(3)]
            part.append(Case(case_id=f"M-{number}", symptom="，".join(said), fix=fixes[topic]))
        yield part


def measure_archive(cases: int) -> dict[str, Any]:
    """The figures of a whole `Searcher` over an archive with ``cases`` cases."""
    before = _rss_mb()
    with tempfile.TemporaryDirectory() as folder:
        store = Archive.init(Path(folder), empty=True).store
        write_s = sum(_seconds(lambda p=part: store.put(p, "scale")) for part in _mixed(cases))  # type: ignore[misc]
        searcher = Searcher(store, _MadeUp(), Path(folder) / "cache")
        build_s = _seconds(searcher.refresh)
        questions = [words(case.symptom, "zh") for case in _starters()]
        times = _times([lambda q=q: searcher.search(q) for q in questions])  # type: ignore[misc]
        file_mb = sum(path.stat().st_size for path in Path(folder).rglob("*") if path.is_file()) / 2**20
        searcher.close()
    return {
        "cases": cases,
        "write_s": round(write_s, 1),
        "build_s": round(build_s, 1),
        "rss_mb": round(_rss_mb() - before),
        "rss_peak_mb": round(_peak_mb() - before),
        "files_mb": round(file_mb),
        "search": times,
    }


def _nearest(
    best: tuple[NDArray[np.int64], Floats], numbers: NDArray[np.int64], scores: Floats
) -> tuple[NDArray[np.int64], Floats]:
    """The best WANTED of ``best`` and the new ones, row by row, best first."""
    all_scores = np.concatenate([best[1], scores], axis=1)
    all_numbers = np.concatenate([best[0], np.broadcast_to(numbers, scores.shape)], axis=1)
    order = np.argsort(-all_scores, axis=1)[:, :WANTED]
    return np.take_along_axis(all_numbers, order, 1), np.take_along_axis(all_scores, order, 1)


def _times(acts: Sequence[Callable[[], object]]) -> dict[str, float]:
    """Milliseconds of each act after the first, by the clock and by the processor: others may keep it busy."""
    clock, processor = [], []
    for act in acts:
        began, busy = time.perf_counter(), time.thread_time()
        act()
        processor.append(1000 * (time.thread_time() - busy))
        clock.append(1000 * (time.perf_counter() - began))
    clock, processor = clock[1:], processor[1:]
    return {
        "p50_ms": round(statistics.median(clock), 2),
        "p95_ms": round(float(np.quantile(clock, 0.95)), 2),
        "processor_p50_ms": round(statistics.median(processor), 2),
        "processor_p95_ms": round(float(np.quantile(processor, 0.95)), 2),
    }


def _seconds(act: Callable[[], object]) -> float:
    began = time.perf_counter()
    act()
    return time.perf_counter() - began


def _peak_mb() -> float:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 2**20 if sys.platform == "darwin" else peak / 2**10  # macOS counts bytes, Linux KiB


def _rss_mb() -> float:
    """Memory in use now; where the system doesn't tell, the peak."""
    try:
        return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize() / 2**20
    except OSError:
        return _peak_mb()


def measure(cases: int) -> dict[str, Any]:
    """All figures; each half in a fresh process, so that its memory is its own."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn"), max_tasks_per_child=1) as pool:
        return {
            "meaning": pool.submit(measure_meaning, cases).result(),
            "words": pool.submit(measure_words, cases).result(),
        }


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line."""
    assert __doc__  # noqa: S101 - it stands above
    parser = argparse.ArgumentParser(prog="python -m training.scale", description=__doc__.split("\n", 1)[0])
    parser.add_argument("--cases", type=int, default=10_000, help="how many cases to make up")
    parser.add_argument("--archive", action="store_true", help="a whole search over an archive in SQLite")
    asked = parser.parse_args(arguments)
    if asked.cases < 1:
        parser.error("--cases must be at least 1")
    print(json.dumps((measure_archive if asked.archive else measure)(asked.cases), indent=2))


if __name__ == "__main__":
    main()
