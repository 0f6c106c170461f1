"""Finding words and phrases in text that a machine has read, with the mistakes that it makes."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

_LOOK_ALIKE = ("0OQD", "1IL", "2Z", "4A", "5S", "6G", "8B", "7T")
_CJK = r"\u3400-\u9fff"
_GAP_WORDS = 4  # what "*" spans in English, in words
_GAP_SIGNS = 6  # and in Chinese, in characters
_RUN_TOGETHER = 12  # letters from which on a word may be several whose spaces were lost


def fold(text: str) -> str:
    """Capitals, full-width letters made ordinary ones."""
    return unicodedata.normalize("NFKC", text).upper()


def words_in(text: str) -> tuple[str, ...]:
    """The Latin words and numbers, in capitals."""
    return tuple(re.findall(r"[A-Z0-9]+", fold(text)))


def chinese_in(text: str) -> str:
    """The text in capitals without spaces and punctuation."""
    return re.sub(rf"[^A-Z0-9{_CJK}]", "", fold(text))


def has_chinese(text: str) -> bool:
    """Whether a Chinese character is in it."""
    return re.search(f"[{_CJK}]", text) is not None


def same_word(read: str, meant: str) -> bool:
    """Whether ``read`` is ``meant``, perhaps misread. Both in capitals.

    Digits for the letters that look like them (8RAKE) may stand anywhere, but one at most in a word of three letters
    and none in a shorter one. Words of five letters and more may differ in one letter that is not the first: LIGHT is
    not RIGHT. What was read as digits alone never becomes a word.
    """
    if read == meant:
        return True
    if len(meant) <= 2 or read.isdigit():
        return False
    if len(read) == len(meant):
        wrong = [(a, b) for a, b in zip(read, meant, strict=True) if a != b]
        if all(_look_alike(a, b) for a, b in wrong) and len(wrong) <= (1 if len(meant) == 3 else len(meant) // 2):
            return True
    return len(meant) >= 5 and (read[:1] == meant[0] or _look_alike(read[:1], meant[0])) and _one_edit(read, meant)


def _look_alike(a: str, b: str) -> bool:
    """Whether a digit was taken for a letter or the reverse. Two letters are two letters, but for I and L."""
    pair = {a, b}
    if not any(sign.isdigit() for sign in pair) and pair != {"I", "L"}:
        return False
    return any(pair <= set(group) for group in _LOOK_ALIKE)


def _one_edit(a: str, b: str) -> bool:
    """Whether one letter changed, added or left out makes ``a`` into ``b``, look-alikes beside it not counted."""
    if abs(len(a) - len(b)) > 1:
        return False
    if len(a) == len(b):
        return sum(x != y and not _look_alike(x, y) for x, y in zip(a, b, strict=True)) <= 1
    short, long = sorted((a, b), key=len)
    return any(long[:i] + long[i + 1 :] == short for i in range(len(long)))


@dataclass(frozen=True)
class Phrase:
    """A phrase of ``words.yaml``: a space parts words, "a/b" is a or b, "*" is a short gap."""

    pattern: str

    @cached_property
    def _parts(self) -> tuple[tuple[str, ...], ...]:
        """The alternatives of each word; an empty tuple is a gap."""
        return tuple(() if part == "*" else tuple(fold(part).split("/")) for part in self.pattern.split())

    @cached_property
    def _run(self) -> re.Pattern[str]:
        """For text without spaces."""
        gap = _GAP_SIGNS if has_chinese(self.pattern) else 5 * _GAP_WORDS
        return re.compile("".join(f"(?:{'|'.join(part)})" if part else f".{{0,{gap}}}?" for part in self._parts))

    def weight_in(self, text: str) -> int:
        """How much of ``text`` the phrase explains, in letters (a Chinese character counts for two); 0: not in it."""
        if has_chinese(self.pattern):
            found = self._run.search(chinese_in(text))
            return 2 * self._letters(found.group()) if found else 0
        read = words_in(text)
        weight = max((self._weight_at(read, 0, start) for start in range(len(read))), default=0)
        if not weight and any(len(word) >= _RUN_TOGETHER for word in read):
            found = self._run.search("".join(read))
            weight = self._letters(found.group()) if found and self._letters(found.group()) >= 9 else 0
        return weight

    def _letters(self, found: str) -> int:
        """Letters of the phrase itself; what fills a gap counts for nothing."""
        return min(len(found), sum(max(map(len, part)) for part in self._parts if part))

    def _weight_at(self, read: Sequence[str], part: int, at: int) -> int:
        """The weight of the parts from ``part`` on if they stand at word ``at``; 0 if they don't."""
        if part == len(self._parts):
            return 0
        last = part == len(self._parts) - 1
        if not self._parts[part]:
            gaps = range(at, min(at + _GAP_WORDS, len(read)) + 1)
            return max((self._weight_at(read, part + 1, later) for later in gaps), default=0)
        if at >= len(read):
            return 0
        meant = next((word for word in self._parts[part] if same_word(read[at], word)), None)
        if meant is None:
            return 0
        rest = 0 if last else self._weight_at(read, part + 1, at + 1)
        return len(meant) + rest if last or rest else 0
