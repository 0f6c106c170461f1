"""Finding by words: the tokenizer that knows Chinese, fault codes and part numbers, and BM25 that can grow.

The cases stand in one large block of arrays (`knowledge.bm25`). Those that came or changed since it was built are
scored one by one with the same formula and the same statistics, and put into blocks of their own once they are some
hundreds, so that a new case is found at once, without computing everything anew.
"""

from __future__ import annotations

import math
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence, Set
from functools import lru_cache

import numpy as np

from knowledge.bm25 import Block, Floats, Numbers
from knowledge.text import Lang

# BM25 (Robertson and Zaragoza 2009) in the form of Lucene: idf * tf / (tf + k1 * (1 - b + b * length / mean length)).
# b near 1: a long chat is a worse answer than a short one with the same words. Chosen on the questions for measuring.
K1, B = 1.2, 0.9
LATE_MOST = 500  # documents scored one by one: 1 ms

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


def shared_words(weights: Mapping[str, float], held: Set[str], most: int = 5) -> tuple[str, ...]:
    """The tokens of the query that a case holds, the most telling first; neighbouring pairs joined again."""
    shared: list[tuple[str, float]] = []
    previous = ""
    for token, weight in weights.items():
        pair = len(token) == 2 and not token.isascii()
        if token not in held or (len(token) == 1 and not token.isascii()):
            previous = ""
        elif pair and previous and previous[-1] == token[0]:
            joined, sum_of_weights = shared.pop()
            shared.append((joined + token[1], sum_of_weights + weight))
            previous = token
        else:
            shared.append((token, weight))
            previous = token if pair else ""
    shared.sort(key=lambda pair: -pair[1])
    return tuple(dict.fromkeys(word for word, _ in shared))[:most]


class Lexical:
    """BM25 over cases that have a number each; grows, forgets and changes without being rebuilt.

    Memory: 8 bytes for each different token of each case, and some 100 for each token of the vocabulary.
    """

    def __init__(self, documents: Iterable[tuple[int, Sequence[str]]] = (), late_most: int = LATE_MOST) -> None:
        """Index ``documents``: (number, tokens), each number once; they are read one at a time.

        ``late_most``: above so many later documents these get a block of their own.
        """
        self._late_most = late_most
        self._vocabulary: dict[str, int] = {}
        self._late: dict[int, Counter[str]] = {}
        self._late_spread: Counter[str] = Counter()
        self._blocks: list[Block] = []
        block, self._mean = Block.build(((n, Counter(tokens)) for n, tokens in documents), self._id, K1, B)
        if len(block):
            self._blocks.append(block)

    def _id(self, token: str) -> int:
        return self._vocabulary.setdefault(token, len(self._vocabulary))

    def __len__(self) -> int:
        return sum(block.living for block in self._blocks) + len(self._late)

    @property
    def late(self) -> int:
        """Documents that came after the last build: no slower, but their lengths are compared with the mean of then."""
        return sum(block.living for block in self._blocks[1:]) + len(self._late)

    def put(self, number: int, tokens: Sequence[str]) -> None:
        """Add a document, or change the one with this number."""
        self.remove(number)
        self._late[number] = Counter(tokens)
        self._late_spread.update(self._late[number].keys())
        if len(self._late) > self._late_most:
            self._settle()

    def _settle(self) -> None:
        """Give the late documents a block; blocks of like size become one, so that they stay few."""
        block, own = Block.build(self._late.items(), self._id, K1, B, self._mean if self._blocks else 0)
        if not self._blocks:
            self._mean = own
        blocks = [*self._blocks, block]
        while len(blocks) > 1 and 2 * blocks[-1].living >= blocks[-2].living:
            blocks[-2:] = [Block.merged(blocks[-2:])]
        self._blocks, self._late, self._late_spread = blocks, {}, Counter()

    def remove(self, number: int) -> None:
        """Forget a document, if it is there."""
        if (late := self._late.pop(number, None)) is not None:
            self._late_spread.subtract(late.keys())
        else:
            any(block.remove(number) for block in self._blocks)

    def weight(self, token: str) -> float:
        """How much a token tells (idf): rare ones more; a token that stands nowhere counts as the rarest."""
        total = sum(map(len, self._blocks)) + len(self._late)
        spread = self._late_spread[token]
        if (known := self._vocabulary.get(token)) is not None:
            spread += sum(block.spread(known) for block in self._blocks)
        return math.log1p((total - spread + 0.5) / (spread + 0.5))

    def weights(self, tokens: Iterable[str]) -> dict[str, float]:
        """The `weight` of each different token, in their order."""
        return {token: self.weight(token) for token in dict.fromkeys(tokens)}

    def _asked(self, tokens: Iterable[str]) -> tuple[dict[str, float], dict[int, float], float]:
        """The weights by token, and by the id of those in the blocks, and their sum."""
        weights = self.weights(tokens)
        known = {self._vocabulary[t]: w for t, w in weights.items() if t in self._vocabulary}
        return weights, known, sum(weights.values()) or 1.0

    def scores(self, tokens: Iterable[str]) -> tuple[Numbers, Floats]:
        """(numbers, scores) of all documents; a score is the share of the query's information in them, 0..1."""
        weights, known, whole = self._asked(tokens)
        scores = [block.scores(known)[block.alive] for block in self._blocks]
        late = np.array([self._score(document, weights) for document in self._late.values()], np.float32)
        numbers = [block.numbers[block.alive] for block in self._blocks]
        numbers.append(np.fromiter(self._late, np.int64, len(self._late)))
        return np.concatenate(numbers), np.clip(np.concatenate([*scores, late]) / np.float32(whole), 0, 1)

    def top(self, tokens: Iterable[str], k: int) -> tuple[Numbers, Floats]:
        """(numbers, scores) of the ``k`` best, best first, by number where scores are equal.

        There are fewer if fewer hold any of ``tokens``. The same as the best of `scores`, without reading through all
        documents (`Block.top`).
        """
        weights, known, whole = self._asked(tokens)
        if k < 1:
            return np.zeros(0, np.int64), np.zeros(0, np.float32)
        found = [block.top(known, k) for block in self._blocks]
        late = {n: s for n, document in self._late.items() if (s := self._score(document, weights)) > 0}
        found.append((np.fromiter(late, np.int64, len(late)), np.fromiter(late.values(), np.float32, len(late))))
        numbers, scores = (np.concatenate(part) for part in zip(*found, strict=True))
        best = np.lexsort((numbers, -scores))[:k]
        return numbers[best], np.clip(scores[best] / np.float32(whole), 0, 1)

    def scores_of(self, tokens: Iterable[str], numbers: Numbers) -> Floats:
        """The scores of ``numbers``, in their order; 0 for those that are not there."""
        weights, known, whole = self._asked(tokens)
        found = np.zeros(len(numbers), np.float32)
        for block in self._blocks:
            found += block.scores_of(known, numbers)  # a number is alive in one block at most
        for place, number in enumerate(numbers.tolist()):
            if (document := self._late.get(number)) is not None:
                found[place] = self._score(document, weights)
        return np.asarray(np.clip(found / np.float32(whole), 0, 1))

    def holding(self, tokens: Sequence[str], numbers: Numbers) -> list[set[str]]:
        """Which of ``tokens`` each of ``numbers`` holds, in the order of ``numbers``."""
        known = [token for token in tokens if token in self._vocabulary]
        held = np.zeros((len(numbers), len(known)), bool)
        for block in self._blocks:
            held |= block.holding([self._vocabulary[token] for token in known], numbers)
        return [
            set(tokens) & late.keys() if (late := self._late.get(number)) is not None
            else {token for token, here in zip(known, row, strict=True) if here}
            for number, row in zip(numbers.tolist(), held.tolist(), strict=True)
        ]  # fmt: skip

    def _score(self, document: Counter[str], weights: Mapping[str, float]) -> float:
        norm = K1 * (1 - B + B * document.total() / self._mean)
        return sum(w * document[t] / (document[t] + norm) for t, w in weights.items() if t in document)
