"""The words of repairs: components, actions and marks from ``repairs.yaml``, and finding them in a text."""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping
from typing import Literal, NamedTuple

from pydantic import Field

from knowledge.catalogue import FOLDER
from knowledge.datafile import Entry, parse, read_mapping
from knowledge.lexical import normalise
from knowledge.text import LANGS, Lang, Text

Kind = Literal["part", "fluid", "routine", "small", "general", "add_on", "state", "trouble"]

_CJK = "\u3400-\u9fff"
_SPACE_AT_LATIN = re.compile(rf"(?<=[{_CJK}]) +(?=[a-z0-9])|(?<=[a-z0-9%℃]) +(?=[{_CJK}])")
_SPACE_ZH = re.compile(rf"(?<=[{_CJK}]) +(?=[{_CJK}])")
_WORD = re.compile(r"[a-z]{3,}")
_RUN = re.compile(r"[a-z0-9]+")
# English verbs that are more often nouns or adjectives, and the words after which they are verbs all the same.
_NOUNS = frozenset("charge change fit set fill flash jump repair fix test check clean code swap torque balance".split())
_DOERS = frozenset("to i we you they he she who then just please shop dealer mechanic staff technician".split())


class _Words(Entry):
    zh: str = ""
    en: str = ""
    done: str = ""  # English past forms

    def of(self, lang: Lang) -> list[str]:
        """The words of one language."""
        return [word for part in (self.zh if lang == "zh" else self.en).split(",") if (word := part.strip())]


class Component(_Words):
    """What can be worked on. The first word of each language is its name, the others are what people also say."""

    zh: str = Field(min_length=1)
    en: str = Field(min_length=1)
    kind: Kind = "part"
    said: Mapping[str, Text] = {}

    @property
    def name(self) -> Text:
        """The name shown."""
        return Text(zh=self.of("zh")[0], en=self.of("en")[0])


class Action(_Words):
    """What can be done; ``said`` with {} for the component, ``weight`` tells which one of several is the main one."""

    said: Text
    weight: float = Field(ge=0, le=1)


class _Idiom(_Words):
    action: str
    component: str


class Repairs(Entry):
    """All that repairs.yaml holds."""

    kinds: Mapping[Kind, float]
    components: Mapping[str, Component]
    actions: Mapping[str, Action]
    idioms: tuple[_Idiom, ...]
    meant: Mapping[str, str]
    only: Mapping[str, frozenset[str]]
    loose: Mapping[Lang, Mapping[str, str | None]]
    marks: Mapping[str, _Words]
    noise: _Words
    spellings: Mapping[str, str]


@functools.cache
def load_repairs() -> Repairs:
    """The content of repairs.yaml.

    Raises:
        CatalogueError: if it breaks the schema.
    """
    repairs: Repairs = parse(Repairs, read_mapping(FOLDER / "repairs.yaml"), "repairs.yaml")
    return repairs


class Token(NamedTuple):
    """One word of a text, and what repairs.yaml says it is."""

    kind: str  # component, loose, verb, step, one of the marks, noise, unknown, number
    value: str = ""  # component id, action; of a loose word what it means otherwise
    component: str = ""  # of an idiom
    done: bool = False
    also: str = ""  # the component that the same word may be (seal)
    start: int = 0
    end: int = 0
    text: str = ""


@functools.lru_cache(maxsize=20_000)
def _singular(word: str) -> str:
    if word.endswith(("ches", "shes", "xes", "sses")):
        return word[:-2]
    if word.endswith("ies") and len(word) > 4:
        return word[:-3] + "y"
    return word[:-1] if word.endswith("s") and not word.endswith(("ss", "us", "is")) else word


class Lexicon:
    """All words of repairs.yaml, found by their beginning, the longest first."""

    def __init__(self, repairs: Repairs) -> None:
        self.repairs = repairs
        self.words: dict[str, Token] = {}
        for lang in LANGS:
            self._fill(repairs, lang)
        heads: dict[str, set[int]] = {}
        for word in self.words:
            heads.setdefault(self._head(word, 0), set()).add(len(word))
        self._lengths = {head: sorted(lengths, reverse=True) for head, lengths in heads.items()}
        self.ends: dict[str, set[str]] = {}  # "pump" -> the components whose names end with it
        for word, token in self.words.items():
            if token.kind == "component":
                for start in range(1, len(word)):
                    if (tail := word[start:]) in self.words and (not tail.isascii() or word[start - 1] == " "):
                        self.ends.setdefault(tail, set()).add(token.value)

    def _fill(self, repairs: Repairs, lang: Lang) -> None:
        groups: list[tuple[Token, list[str]]] = []
        groups += [(Token("verb", i.action, i.component), i.of(lang)) for i in repairs.idioms]
        groups.append((Token("noise"), repairs.noise.of(lang)))
        groups += [(Token(mark), words.of(lang)) for mark, words in repairs.marks.items() if mark != "step"]
        for key, action in repairs.actions.items():
            groups.append((Token("verb", key), action.of(lang)))
            if lang == "en":
                groups.append((Token("verb", key, done=True), action.model_copy(update={"en": action.done}).of(lang)))
        groups.append((Token("step"), repairs.marks["step"].of(lang)))
        groups += [(Token("component", key), component.of(lang)) for key, component in repairs.components.items()]
        groups += [(Token("loose", default or ""), [word]) for word, default in repairs.loose[lang].items()]
        for token, words in groups:
            for word in map(self.plain, words):
                known = self.words.setdefault(word, token)
                if known.kind in ("verb", "step") and not known.component and token.kind in ("component", "loose"):
                    self.words[word] = known._replace(also=token.kind + " " + token.value)

    def is_loose(self, token: Token) -> bool:
        """Whether it names no certain part."""
        return token.kind == "loose" or self.repairs.components[token.value].kind in ("general", "small")

    def plain(self, text: str) -> str:
        """The one form in which words are compared: lower case, singular, no hyphens, no spaces at Chinese."""
        text = re.sub(r"['’`]", "", normalise(text)).replace("-", " ").replace("_", " ")
        text = re.sub(r"[^\S\n]+", " ", text)
        text = _WORD.sub(lambda match: self._spelled(match[0]), text)
        return _SPACE_ZH.sub(",", _SPACE_AT_LATIN.sub("", text)).strip()

    def _spelled(self, word: str) -> str:
        return self.repairs.spellings.get(word) or self.repairs.spellings.get(word := _singular(word), word)

    @staticmethod
    def _head(text: str, at: int) -> str:
        return run[0] if (run := _RUN.match(text, at)) else text[at]

    def tokens(self, text: str) -> list[Token]:
        """The words of one piece, the longest that fits at each place; what is unknown is told as unknown."""
        found: list[Token] = []
        at, end = 0, len(text)
        while at < end:
            if text[at] == " ":
                at += 1
                continue
            head = self._head(text, at)
            token, stop = Token("number" if head.isdigit() else "unknown"), at + len(head)
            for length in self._lengths.get(head, ()):
                tail = at + length
                known = self.words.get(text[at:tail])
                if known and not (tail < end and text[tail - 1].isascii() and _RUN.match(text, tail)):
                    token, stop = known, tail
                    break
            found.append(Token(*token[:5], at, stop, text[at:stop]))
            at = stop
        return self._decided(found)

    @staticmethod
    def _decided(tokens: list[Token]) -> list[Token]:
        """Whether a word that may be either ("seal") is the verb or the thing."""
        for at, token in enumerate(tokens):
            before = tokens[at - 1].kind if at else ""
            if token.also:
                after = tokens[at + 1].kind if at + 1 < len(tokens) else ""
                opens = before in ("", "join", "verb", "step", "not", "advice")
                if not (opens and after in ("det", "component", "loose", "number", "join")):
                    kind, _, value = token.also.partition(" ")
                    tokens[at] = token._replace(kind=kind, value=value, done=False)
            elif token.text in _NOUNS and before in ("det", "unknown", "skip") and tokens[at - 1].text not in _DOERS:
                tokens[at] = token._replace(kind="noise")  # the charge, engine torque
        return tokens


@functools.cache
def lexicon() -> Lexicon:
    """The lexicon of repairs.yaml, built once."""
    return Lexicon(load_repairs())
