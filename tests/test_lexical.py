"""BM25: the best k without reading everything, growth, and agreement with another implementation."""

from __future__ import annotations

from collections import Counter

import bm25s
import numpy as np
import pytest
from bm25s.tokenization import Tokenized
from hypothesis import given
from hypothesis import strategies as st

from knowledge import bm25
from knowledge.case import read_case
from knowledge.lexical import K1, B, Lexical
from knowledge.postings import Postings
from training.scale import Words

COUNT = 2000


@pytest.fixture(scope="module")
def words() -> Words:
    return Words(topics=40, vocabulary=3000)


@pytest.fixture(scope="module")
def documents(words: Words) -> list[list[str]]:
    return list(words.make(COUNT, seed=2))


@pytest.fixture(scope="module")
def lexical(documents: list[list[str]]) -> Lexical:
    return Lexical(enumerate(documents))


def best(lexical: Lexical, tokens: list[str], k: int) -> tuple[np.ndarray, np.ndarray]:
    """What `top` promises, out of `scores`."""
    numbers, scores = lexical.scores(tokens)
    order = np.lexsort((numbers, -scores))[:k]
    order = order[scores[order] > 0]
    return numbers[order], scores[order]


def assert_top(lexical: Lexical, tokens: list[str], k: int) -> None:
    numbers, scores = lexical.top(tokens, k)
    expected, expected_scores = best(lexical, tokens, k)
    assert scores == pytest.approx(expected_scores, abs=1e-6)
    everything = dict(zip(*(a.tolist() for a in lexical.scores(tokens)), strict=True))
    assert [everything[n] for n in numbers.tolist()] == pytest.approx(scores.tolist(), abs=1e-6)
    assert len(set(numbers.tolist())) == len(expected)
    some = np.concatenate([expected[::-1], [10**9]])
    assert lexical.scores_of(tokens, some) == pytest.approx([*expected_scores[::-1], 0], abs=1e-6)


def test_like_bm25s(documents: list[list[str]], lexical: Lexical, words: Words):
    vocabulary: dict[str, int] = {}
    ids = [[vocabulary.setdefault(token, len(vocabulary)) for token in document] for document in documents]
    other = bm25s.BM25(k1=K1, b=B, method="lucene", backend="numpy", csc_backend="numpy", auto_compile=False)
    other.index(Tokenized(ids=ids, vocab=vocabulary), show_progress=False)
    for question in words.ask(20, seed=1):
        tokens = [token for token in dict.fromkeys(question) if token in vocabulary]
        whole = sum(lexical.weight(token) for token in tokens)
        expected = other.get_scores_from_ids([vocabulary[token] for token in tokens])[:COUNT] / whole
        numbers, scores = lexical.scores(tokens)
        assert numbers.tolist() == list(range(COUNT))
        assert scores == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("k", [1, 10, 300, 5000])
def test_top_is_the_best_of_all(lexical: Lexical, words: Words, k: int):
    for question in words.ask(30, seed=1):
        assert_top(lexical, question, k)


@pytest.mark.parametrize("tokens", [[], ["nowhere"], ["t0"], ["t0", "t0", "nowhere"], [f"t{i}" for i in range(300)]])
def test_top_of_odd_queries(lexical: Lexical, tokens: list[str]):
    assert_top(lexical, tokens, 20)
    assert_top(Lexical(), tokens, 20)
    assert lexical.top(tokens, 0)[0].tolist() == []


def test_top_stops_reading_when_nothing_new_can_win(lexical: Lexical, monkeypatch: pytest.MonkeyPatch):
    """The rare word decides; the common one is only looked up."""
    looked_up: list[int] = []
    common = bm25._common

    def noted(rows: np.ndarray, wanted: np.ndarray):
        looked_up.append(len(wanted))
        return common(rows, wanted)

    monkeypatch.setattr(bm25, "_common", noted)
    documents = [["common", "rare", "rare"] if i % 100 == 0 else ["common", "other"] for i in range(5000)]
    made = Lexical(enumerate(documents))
    numbers, _ = made.top(["common", "rare"], 10)
    assert looked_up
    assert max(looked_up) <= 50
    assert (numbers % 100 == 0).all()


def test_top_of_very_much_reading_is_nearly_right(lexical: Lexical, words: Words, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(bm25, "READ_MOST", 1000)
    shares = []
    for question in words.ask(30, seed=1):
        numbers, scores = lexical.top(question, 10)
        shares.append(np.isin(best(lexical, question, 10)[0], numbers).mean())
        assert lexical.scores_of(question, numbers) == pytest.approx(scores, abs=1e-6)
    assert np.mean(shares) > 0.7


def test_equal_scores_go_by_number():
    made = Lexical((n, ["a", "b"]) for n in (5, 9, 2, 7))
    made.put(3, ["a", "b"])
    assert made.top(["a"], 3)[0].tolist() == [2, 3, 5]


def test_grows_changes_and_forgets(documents: list[list[str]], words: Words):
    """Through the late ones, their blocks, and blocks grown together."""
    grown = Lexical(enumerate(documents[:300]), late_most=20)
    live = dict(enumerate(documents[:300]))
    questions = words.ask(5, seed=1)
    random = np.random.default_rng(0)
    for step, document in enumerate(documents[300:1000]):
        number = int(random.integers(0, 900))
        if step % 5 == 4:
            grown.remove(number)
            live.pop(number, None)
        else:
            grown.put(number, document)
            live[number] = document
        assert len(grown) == len(live)
        if step % 70 == 0:
            assert sorted(grown.scores(questions[0])[0].tolist()) == sorted(live)
            for question in questions:
                assert_top(grown, question, 10)
    assert 0 < grown.late < len(grown)
    # Lengths are compared with the mean of the first build, and dead cases still count: nearly as if built now.
    whole = Lexical(live.items())
    for question in questions:
        order = np.argsort(grown.scores(question)[0])
        expected = np.argsort(whole.scores(question)[0])
        now, then = grown.scores(question)[1][order], whole.scores(question)[1][expected]
        assert np.abs(now - then).max() < 0.05


def test_new_and_changed_documents_are_found_at_once():
    made = Lexical([(1, ["pump"]), (2, ["relay"])], late_most=3)
    made.put(9, ["gearbox"])
    assert made.top(["gearbox"], 5)[0].tolist() == [9]
    made.put(1, ["gearbox", "oil"])
    assert made.top(["gearbox"], 5)[0].tolist() == [9, 1]
    assert made.top(["pump"], 5)[0].tolist() == []
    for number in range(20, 30):  # the late ones get a block
        made.put(number, ["door"])
    made.remove(9)
    assert made.top(["gearbox"], 5)[0].tolist() == [1]
    assert made.scores_of(["gearbox"], np.array([9, 1, 2])).tolist()[::2] == [0, 0]
    assert len(made) == 12


def test_growing_from_nothing():
    made = Lexical(late_most=4)
    for number in range(11):
        made.put(number, ["a"] * (1 + number % 3) + ["b"])
    assert_top(made, ["a"], 5)
    assert len(made) == 11
    for number in range(11):
        made.remove(number)
    assert (len(made), made.top(["a"], 5)[0].tolist(), made.scores(["a"])[0].tolist()) == (0, [], [])
    made.put(3, ["a"])
    assert made.top(["a"], 5)[0].tolist() == [3]


def test_documents_without_tokens_and_with_very_many():
    made = Lexical([(1, []), (2, ["a"] * 70_000), (3, ["a", "b"])])
    assert set(made.top(["a"], 5)[0].tolist()) == {2, 3}
    assert made.scores(["a"])[0].tolist() == [1, 2, 3]


@given(
    st.lists(st.lists(st.sampled_from("abcdefg"), max_size=6), max_size=40),
    st.lists(st.sampled_from("abcdefgh"), max_size=5),
    st.integers(1, 12),
    st.sets(st.integers(0, 39)),
)
def test_top_is_the_best_of_any(documents: list[list[str]], tokens: list[str], k: int, gone: set[int]):
    made = Lexical(enumerate(documents[:25]), late_most=6)
    for number, document in enumerate(documents[25:], 25):
        made.put(number, document)
    for number in gone:
        made.remove(number)
    assert_top(made, tokens, k)
    held = [set(tokens) & set(document) if number not in gone else set() for number, document in enumerate(documents)]
    assert made.holding(tokens, np.arange(len(documents) + 1)) == [*held, set()]


def test_merging_keeps_what_is_alive():
    names: dict[str, int] = {}

    def name(token: str) -> int:
        return names.setdefault(token, len(names))

    one, mean = bm25.Block.build([(4, Counter("ab")), (2, Counter("aac"))], name, K1, B)
    other, _ = bm25.Block.build([(9, Counter("bd"))], name, K1, B, mean)
    assert one.remove(2)
    assert not one.remove(2)
    merged = bm25.Block.merged([one, other])
    assert merged.numbers.tolist() == [4, 9]
    weights = {names[token]: 1.0 for token in "abcd"}
    assert merged.scores(weights) == pytest.approx([one.scores(weights)[0], *other.scores(weights)])
    assert merged.spread(names["b"]) == 2
    assert merged.spread(names["c"]) == 0


class TestPostings:
    @pytest.fixture
    def postings(self) -> Postings:
        made = Postings()
        made.put(7, read_case({"fix": "P0420", "lights": ["abs", "check_engine"], "brand": "VW"}))
        made.put(3, read_case({"fix": "x", "codes": ["P0420", "P0300"], "lights": ["abs"], "brand": "v w"}))
        made.put(5, read_case({"fix": "y", "parts": "06H-905-110", "brand": "BMW"}))
        return made

    def test_bearers(self, postings: Postings):
        assert postings.bearers("code", ["P0420"]).tolist() == [3, 7]
        assert postings.bearers("code", ["P0300", "P0420", "P9"]).tolist() == [3, 7]
        assert postings.bearers("part", ["06H905110"]).tolist() == [5]
        assert postings.bearers("light", []).tolist() == postings.bearers("light", ["tpms"]).tolist() == []
        postings.bearers("code", ["P0420"])[:] = 0  # a copy
        postings.put(7, read_case({"fix": "z"}))
        postings.put(8, read_case({"fix": "P0420"}))
        assert postings.bearers("code", ["P0420"]).tolist() == [3, 8]
        postings.remove(3)
        postings.remove(3)
        assert postings.bearers("code", ["P0300"]).tolist() == []

    @pytest.mark.parametrize("few", [0, 1000])
    def test_counts(self, postings: Postings, monkeypatch: pytest.MonkeyPatch, few: int):
        monkeypatch.setattr("knowledge.postings.FEW", few)
        numbers = np.array([5, 3, 7, 99])
        assert postings.count(numbers, "code", ["P0420", "P0300", "P1"]).tolist() == [0, 2, 1, 0]
        assert postings.count(numbers, "light", ["abs"]).tolist() == [0, 1, 1, 0]
        assert postings.lights(numbers).tolist() == [0, 1, 2, 0]
        assert postings.borne(7, "light", ["tpms", "abs"]) == ("abs",)
        assert postings.like("brand", "V-W") == postings.like("brand", "大众") == ("大众",)
