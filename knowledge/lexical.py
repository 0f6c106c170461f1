"""Finding by words: the tokenizer that knows Chinese, fault codes and part numbers, and BM25 that can grow.

BM25 is bm25s over all cases; cases that came or changed since then are scored one by one with the same formula and the
same statistics, so that a new case is found without computing everything anew.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from knowledge.text import Lang

if TYPE_CHECKING:
    import bm25s

# BM25 (Robertson and Zaragoza 2009) in the form of Lucene: idf * tf / (tf + k1 * (1 - b + b * length / mean length)).
# b near 1: a long chat is a worse answer than a short one with the same words. Chosen on the questions for measuring.
K1, B = 1.2, 0.9

_CJK = "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
_RUNS = re.compile(rf"[{_CJK}]+|[a-z0-9]+(?:[.\-][a-z0-9]+)*")
_CHINESE = re.compile(f"[{_CJK}]")
# SAE J2012: system letter, 0-3, three hexadecimal digits; ISO 15031-6 adds a failure type byte (-00).
_CODE = re.compile(r"(?<![a-z0-9])([pbcu])[\s\-]?([0-3][0-9a-f]{3})(?:[\s\-][0-9a-f]{2})?(?![a-z0-9])")
_PART = re.compile(r"(?=[^\s]*\d)[a-z0-9]+(?:[\-.][a-z0-9]+)*")

# Characters that carry no meaning alone or with each other (的, 了, 吗 ...).
_EMPTY_ZH = frozenset(
    "的了是我你他她它有在和就也都还又吗呢吧啊呀哦么请问这那个一不会要想去来到说看把被给让对能可以没什怎为样谢您们"
)
# What askers say around the fault.
_FILLER_ZH = re.compile(
    "请问|谢谢|多谢|麻烦|师傅|大师|老师|专家|您好|你好|怎么回事|什么原因|什么问题|什么情况|怎么办|怎么解决|如何解决|为什么|为啥|"
    "是不是|有没有|怎么|什么|我的车|我的|这个|那个|就是|然后|现在|今天|一个|一下|的话|需要|可以|知道|感觉"
)
_EMPTY_EN = frozenset(
    "a about after all am an and any are as at be been before being but by can could did do does for from get got had "
    "has have he her his how i if in into is it its just me my no not of off on or our out over please she should so "
    "some than that the their them then there these they this to up us very was we were what when where which while "
    "who why will with would you your".split()
)


def normalise(text: str) -> str:
    """NFKC (full-width to half-width, circled digits to digits) and lower case."""
    return unicodedata.normalize("NFKC", text).lower()


def language_of(text: str) -> Lang:
    """zh if at least every tenth letter is Chinese (a Chinese character says about as much as three Latin letters)."""
    chinese = len(_CHINESE.findall(text))
    return "zh" if chinese * 10 >= sum(c.isalpha() for c in text) and chinese else "en"


def fault_codes(text: str) -> tuple[str, ...]:
    """The fault codes in ``text``, as P0420: also from "p 0420", "Ｐ０４２０" and "P0420-00"."""
    return tuple(dict.fromkeys((a + b).upper() for a, b in _CODE.findall(normalise(text))))


def part_numbers(text: str) -> tuple[str, ...]:
    """What looks like a part number: at least seven letters and digits, three of them digits; without its hyphens."""
    found = (re.sub(r"[\-.]", "", match) for match in _PART.findall(normalise(text)))
    return tuple(dict.fromkeys(p.upper() for p in found if len(p) >= 7 and sum(c.isdigit() for c in p) >= 3))


@lru_cache(maxsize=50_000)
def stem(word: str) -> str:
    """An English word without its commonest endings: leaks, leaking, leaked are one. Words with digits stay."""
    if len(word) <= 3 or any(c.isdigit() for c in word):
        return word
    for ending in ("ings", "ing", "edly", "ed", "ies", "es", "s", "ly", "er", "e"):
        if word.endswith(ending) and len(word) - len(ending) >= 3 and not word.endswith("ss"):
            return word[: -len(ending)]
    return word


def tokenize(text: str) -> list[str]:
    """Tokens for BM25: Chinese character pairs and single characters, stemmed English words, numbers, fault codes.

    Words that say nothing are left out, unless nothing else is there.
    """
    plain = normalise(text)
    tokens = [f"{a}{b}" for a, b in _CODE.findall(plain)]
    plain = _CODE.sub(" ", plain)
    full = [token for run in _RUNS.findall(_FILLER_ZH.sub(" ", plain)) for token in _of_run(run, keep=False)]
    return tokens + full or [token for run in _RUNS.findall(plain) for token in _of_run(run, keep=True)]


def _of_run(run: str, keep: bool) -> list[str]:
    if not _CHINESE.match(run):
        words = re.split(r"[.\-]", run)
        whole = [run.replace("-", "")] if "-" in run else [run] if len(words) > 1 else []  # 1.5t; 06h-905-110
        return whole + [stem(w) for w in words if keep or w not in _EMPTY_EN]
    pairs = [run[i : i + 2] for i in range(len(run) - 1)]
    if keep:
        return pairs + list(run)
    return [p for p in pairs if not _EMPTY_ZH.issuperset(p)] + [c for c in run if c not in _EMPTY_ZH]


class Lexical:
    """BM25 over cases that have a number each; grows, forgets and changes without being rebuilt."""

    def __init__(self, documents: Iterable[tuple[int, Sequence[str]]] = ()) -> None:
        """Index ``documents``: (number, tokens)."""
        numbers, tokens = [], []
        for number, document in documents:
            numbers.append(number)
            tokens.append(list(document))
        self._numbers: NDArray[np.int64] = np.array(numbers, np.int64)
        self._alive = np.ones(len(numbers), dtype=bool)
        self._place = {number: place for place, number in enumerate(numbers)}
        self._mean = sum(map(len, tokens)) / max(1, len(tokens)) or 1.0
        self._base: bm25s.BM25 | None = None
        self._vocabulary: dict[str, int] = {}
        self._spread: NDArray[np.int64] = np.zeros(0, np.int64)  # in how many documents each token stands
        if tokens:
            self._build(tokens)
        self._late: dict[int, Counter[str]] = {}
        self._late_spread: Counter[str] = Counter()

    def _build(self, tokens: list[list[str]]) -> None:
        import bm25s
        from bm25s.tokenization import Tokenized

        vocabulary: dict[str, int] = {}
        ids = [[vocabulary.setdefault(token, len(vocabulary)) for token in document] for document in tokens]
        vocabulary.setdefault("", len(vocabulary))  # bm25s wants a token for empty documents
        self._base = bm25s.BM25(k1=K1, b=B, method="lucene", backend="numpy", csc_backend="numpy", auto_compile=False)
        self._base.index(Tokenized(ids=ids, vocab=vocabulary), show_progress=False)
        self._vocabulary = vocabulary
        self._spread = np.diff(self._base.scores["indptr"])

    def __len__(self) -> int:
        return int(self._alive.sum()) + len(self._late)

    @property
    def late(self) -> int:
        """Documents that came after the last build; when they are many, build anew."""
        return len(self._late)

    def put(self, number: int, tokens: Sequence[str]) -> None:
        """Add a document, or change the one with this number."""
        self.remove(number)
        self._late[number] = Counter(tokens)
        self._late_spread.update(self._late[number].keys())

    def remove(self, number: int) -> None:
        """Forget a document, if it is there."""
        if (place := self._place.get(number)) is not None:
            self._alive[place] = False
        if (late := self._late.pop(number, None)) is not None:
            self._late_spread.subtract(late.keys())

    def weight(self, token: str) -> float:
        """How much a token tells (idf): rare ones more; a token that stands nowhere counts as the rarest."""
        total = len(self._numbers) + len(self._late)
        place = self._vocabulary.get(token)
        spread = (int(self._spread[place]) if place is not None else 0) + self._late_spread[token]
        return float(np.log1p((total - spread + 0.5) / (spread + 0.5)))

    def scores(self, tokens: Iterable[str]) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """(numbers, scores) of all documents; a score is the share of the query's information in them, 0..1."""
        query = list(dict.fromkeys(tokens))
        weights = {token: self.weight(token) for token in query}
        whole = sum(weights.values()) or 1.0
        base = np.zeros(len(self._numbers), np.float32)
        known = [self._vocabulary[t] for t in query if t in self._vocabulary]
        if self._base is not None and known:
            base = self._base.get_scores_from_ids(known)[: len(self._numbers)]
        late = np.array([self._score(document, weights) for document in self._late.values()], np.float32)
        numbers = np.concatenate([self._numbers[self._alive], np.fromiter(self._late, np.int64, len(self._late))])
        return numbers, np.clip(np.concatenate([base[self._alive], late]) / whole, 0, 1)

    def _score(self, document: Counter[str], weights: Mapping[str, float]) -> float:
        norm = K1 * (1 - B + B * document.total() / self._mean)
        return sum(w * document[t] / (document[t] + norm) for t, w in weights.items() if t in document)
