"""What a fault code means, what to check, and whether the car may be driven: from tables alone, offline.

The structure of a code (SAE J2012, ISO 15031-6) says whether its meaning is shared by all makers or a maker's own, and
which part of the car it concerns. Meanings stand in ``dtc/codes.tsv``, in our own words; its facts come from
Wal33D/dtc-database (see ``dtc/README.md``). Causes, checks and driving are written by families, in ``dtc/families``.
A meaning that is not in the table is never guessed: the answer says so.
"""

from __future__ import annotations

import functools
import re
import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pydantic import Field, model_validator

from knowledge.datafile import CatalogueError, Entry, parse, read_mapping
from knowledge.text import Text, UserError

Kind = Literal["generic", "make_specific", "reserved"]
# The same as knowledge.catalogue.Urgency, which would bring numpy along; a test holds the two together.
Urgency = Literal["stop", "soon", "first", "ok"]
FOLDER = Path(__file__).parent / "dtc"
SOURCE = Text(
    zh="含义的事实取自 Wal33D/dtc-database（MIT 许可），未经厂家核对；编号结构按 SAE J2012。"
    "原因、检查和能不能开是经验，以厂家维修手册为准。",
    en="The facts of the meaning come from Wal33D/dtc-database (MIT licence), not checked by makers; the structure "
    "follows SAE J2012. Causes, checks and driving are experience: the maker's repair manual has the last word.",
)

# Letter, 0 to 3, three hexadecimal digits; the failure type byte behind it with or without a mark. A letter O among
# the digits is a slip for zero.
_CODE = re.compile(r"([PBCU])[\s\-_.:]*([0-3O][0-9A-FO]{3})(?:[\s\-_.:/]*([0-9A-FO]{2}))?")
_LETTERS = {"P": "powertrain", "B": "body", "C": "chassis", "U": "network"}
# What stands around a brand's name: joint ventures and words for "car".
_AROUND = re.compile(r"^(?:一汽|上汽|广汽|东风|长安|北京|华晨|悦达|进口)+(?=.)|(?:牌|汽车|车)+$")
_UNKNOWN = Text(
    zh="表里没有 {code} 的准确含义；按编号，它属于{system}。",
    en="The exact meaning of {code} is not in the table; by its number it belongs to: {system}.",
)
_RESERVED = Text(
    zh="{code} 在标准里是保留号，没有公开的含义；按编号，它属于{system}。",
    en="{code} is reserved in the standard, without a public meaning; by its number it belongs to: {system}.",
)
_OWN = Text(
    zh="{code} 是厂家自定的码，各家含义不同；按编号，它一般属于{system}。",
    en="{code} is a maker's own code and means different things on different cars; by its number it usually belongs "
    "to: {system}.",
)
_NOT_LISTED = Text(
    zh="表里没有{make}对 {code} 的定义，请查厂家的维修资料。",
    en="What {make} means by {code} is not in the table: look it up in the maker's documents.",
)
_VARIES = Text(
    zh="这是{make}的定义；年款、车型不同可能有出入，以厂家维修手册为准。",
    en="This is the definition of {make}; it may differ by model and year: the maker's repair manual has the last "
    "word.",
)
_ASK = Text(zh="是什么品牌的车？", en="Which make is the car?")


@dataclass(frozen=True)
class CodeAnswer:
    """What is known about one code.

    Attributes:
        code: normalised, such as P0420, without the failure type.
        kind: whose code it is by SAE J2012: shared by all makers, a maker's own, or reserved by the standard.
        known: whether ``meaning`` is the code's own; otherwise it only tells the part of the car, and says so.
        system: the part of the car, by the code's number.
        failure: what the failure type byte behind the code says (C0031-11: "11"), if there was one.
        family: id of the family that ``urgency`` to ``checks`` are taken from, such as "exhaust.catalyst".
        urgency: stop, soon, first or ok, as for lamps. ``drive``: may I drive; ``within``: how soon (with "soon");
            ``stop_if``: what calls for stopping at once.
        checks: in order, cheap ones first.
        notes: remarks, such as where bank 1 is, and what is not known.
        make: the maker that the meaning is of (a maker's own codes).
        question: asked where the maker is needed. ``makes``: those that the table knows the code for.
        source: where all this comes from.
    """

    code: str
    kind: Kind
    known: bool
    meaning: Text
    system: Text
    failure: Text | None
    family: str
    urgency: Urgency
    drive: Text
    within: Text | None
    stop_if: Text | None
    causes: tuple[Text, ...]
    checks: tuple[Text, ...]
    notes: tuple[Text, ...] = ()
    make: Text | None = None
    question: Text | None = None
    makes: tuple[Text, ...] = ()
    source: Text = SOURCE


# --- the data files ---------------------------------------------------------------------------------------------------


class Family(Entry):
    """Causes, checks and driving for codes of one kind."""

    name: Text
    urgency: Urgency
    drive: Text
    within: Text | None = None
    stop_if: Text | None = None
    causes: tuple[Text, ...] = Field(min_length=3, max_length=6)
    checks: tuple[Text, ...] = Field(min_length=2, max_length=5)

    @model_validator(mode="after")
    def _says_how_soon(self) -> Family:
        if (self.urgency == "soon") != (self.within is not None):
            raise ValueError("'within' (how soon) belongs to urgency 'soon', and to no other")
        return self


class Rule(Entry):
    """Which codes: by number, by words in the English meaning, or by both. ``family`` or ``text``: what they get."""

    codes: str = ""
    words: str = ""
    family: str = ""
    text: Text | None = None

    @model_validator(mode="after")
    def _selects(self) -> Rule:
        if not (self.codes or self.words) or bool(self.family) == bool(self.text):
            raise ValueError("give 'codes' or 'words', and one of 'family' and 'text'")
        re.compile(self.words)
        return self

    def fits(self, code: str, meaning: str) -> bool:
        """Whether it is about this code; ``meaning`` in English, "" if not known."""
        spans = [span.partition("-") for span in self.codes.split()]
        if spans and not any(low <= code <= (high or low) for low, _, high in spans):
            return False
        return not self.words or bool(meaning and re.search(self.words, meaning.lower()))


class Index(Entry):
    """``families.yaml``."""

    picks: tuple[Rule, ...]
    fallback: Mapping[str, str]
    notes: tuple[Rule, ...]
    systems: Mapping[str, Text]


class Make(Entry):
    """A maker with its own codes: names in the source of the facts, and brands as owners say them."""

    name: Text
    sources: tuple[str, ...] = Field(min_length=1)
    brands: tuple[str, ...] = Field(min_length=1)


class FailureTypes(Entry):
    """What the failure type byte means: whole, else by its first digit."""

    types: Mapping[str, Text]
    groups: Mapping[str, Text]


@functools.cache
def load_index(path: Path = FOLDER / "families.yaml") -> Index:
    """Which family a code belongs to; a CatalogueError names the entry to mend."""
    whole: Index = parse(Index, read_mapping(path), path.name)
    return whole


@functools.cache
def load_families(name: str) -> Mapping[str, Family]:
    """The families of one file, such as "engine"; a CatalogueError names the entry to mend."""
    path = FOLDER / "families" / f"{name}.yaml"
    return {key: parse(Family, entry, f"{path.name} {key}") for key, entry in read_mapping(path).items()}


@functools.cache
def load_makes() -> Mapping[str, Make]:
    """Makers by id."""
    path = FOLDER / "makes.yaml"
    return {key: parse(Make, entry, f"{path.name} {key}") for key, entry in read_mapping(path).items()}


@functools.cache
def load_failure_types() -> FailureTypes:
    """Failure types."""
    path = FOLDER / "failure_types.yaml"
    whole: FailureTypes = parse(FailureTypes, read_mapping(path), path.name)
    return whole


@functools.cache
def _table() -> bytes:
    path = FOLDER / "codes.tsv"
    try:
        return path.read_bytes()
    except OSError as error:
        raise CatalogueError(
            zh=f"读不了故障码表 {path}，请重新安装。",
            en=f"The table of fault codes {path} cannot be read: install anew.",
        ) from error


def meanings(code: str) -> dict[str, Text]:
    """The table's meanings of a code by maker's id, "" for the one that all share."""
    # Looked for in the bytes as they are: a code is found in well under a millisecond without parsing 11,000 lines.
    table, found = _table(), {}
    start = table.find(f"\n{code}\t".encode())
    while start >= 0 and table.startswith(f"{code}\t".encode(), start + 1):
        end = table.index(b"\n", start + 1)
        _, make, zh, en = table[start + 1 : end].decode().split("\t")
        found[make] = Text(zh=zh, en=en)
        start = end
    return found


# --- codes ------------------------------------------------------------------------------------------------------------


def parse_code(given: str) -> tuple[str, str | None]:
    """A code as people write it, and its failure type byte: "c0031 - 11" gives ("C0031", "11").

    Raises:
        UserError: if it is no fault code.
    """
    text = unicodedata.normalize("NFKC", given).strip().upper()
    match = _CODE.fullmatch(text)
    if match is None:
        shown = _printable(given)[:20]
        raise UserError(
            zh=f"“{shown}”不是故障码：故障码是 P、B、C 或 U 后面跟四位（第一位 0 到 3，其余可含 A 到 F），如 P0420、"
            "U0100、C0031-11。",
            en=f"“{shown}” is no fault code: it looks like P0420, U0100 or C0031-11, that is P, B, C or U and four "
            "characters (the first 0 to 3, the others may be A to F).",
        )
    letter, digits, failure = match.groups()
    return letter + digits.replace("O", "0"), failure.replace("O", "0") if failure else None


def kind_of(code: str) -> Kind:
    """Whose code it is, by SAE J2012: P0, P2, P34 to P3F, B0, C0, U0 and U3 are shared; B3 and C3 reserved."""
    letter, first, second = code[0], code[1], code[2]
    if letter == "P":
        own = first == "1" or (first == "3" and second < "4")
        return "make_specific" if own else "generic"
    if first == "3":
        return "generic" if letter == "U" else "reserved"
    return "generic" if first == "0" else "make_specific"


def system_of(code: str) -> Text:
    """The part of the car that a code's number tells."""
    systems = load_index().systems
    whole = systems[code[0]]
    part = systems.get(code[:3])
    return whole if part is None else Text(zh=f"{whole.zh}：{part.zh}", en=f"{whole.en}: {part.en}")


def make_of(given: str) -> str | None:
    """The id of a maker by any of its brands, in Chinese or English; None if the table has no codes of it."""
    brands = {_plain(brand): key for key, make in load_makes().items() for brand in make.brands}
    plain = _plain(given)
    first = _plain(re.split(r"[\s/]", given.strip())[0]) if given.strip() else ""
    for name in (plain, _AROUND.sub("", plain), first):
        if name in brands:
            return brands[name]
    return None


def _printable(given: str) -> str:
    """What people gave, fit to be shown: on one line, without control characters."""
    return "".join(c for c in " ".join(given.split()) if c.isprintable())


def _plain(name: str) -> str:
    return re.sub(r"[\s\-·]", "", unicodedata.normalize("NFKC", name)).casefold()


def lookup(code: str, make: str | None = None) -> CodeAnswer:
    """All that the tables say about a code.

    Args:
        code: as people write it: "P0420", "p 0420", "Ｐ０４２０", "C0031-11".
        make: the car's brand, in Chinese or English. Only a maker's own codes need it; without it the answer asks.

    Raises:
        UserError: if ``code`` is no fault code.
    """
    number, failure = parse_code(code)
    kind, table, system = kind_of(number), meanings(number), system_of(number)
    if kind == "reserved" and "" in table:  # newer editions of the standard have begun to use some
        kind = "generic"
    said = _printable(make or "")[:30]
    owner = make_of(said) if kind == "make_specific" and said else None
    meaning = table.get(owner or "") if kind != "make_specific" or owner else None
    english = meaning.en if meaning else ""
    family = _family_of(number, english)
    group, _, name = family.partition(".")
    entry = load_families(group)[name]
    asks = kind == "make_specific" and not said
    return CodeAnswer(
        code=number,
        kind=kind,
        known=meaning is not None,
        meaning=meaning or _structure(number, kind, system),
        system=system,
        failure=_failure(failure),
        family=family,
        urgency=entry.urgency,
        drive=entry.drive,
        within=entry.within,
        stop_if=entry.stop_if,
        causes=entry.causes,
        checks=entry.checks,
        notes=tuple(_notes(number, kind, meaning, owner, said)),
        make=load_makes()[owner].name if owner else None,
        question=_ASK if asks else None,
        makes=tuple(known.name for key, known in load_makes().items() if key in table) if asks else (),
    )


def _structure(code: str, kind: Kind, system: Text) -> Text:
    words = {"generic": _UNKNOWN, "make_specific": _OWN, "reserved": _RESERVED}[kind]
    return Text(zh=words.zh.format(code=code, system=system.zh), en=words.en.format(code=code, system=system.en))


def _failure(byte: str | None) -> Text | None:
    if byte is None:
        return None
    known = load_failure_types()
    return known.types.get(byte) or known.groups.get(byte[0])


def _family_of(code: str, meaning: str) -> str:
    index = load_index()
    return next((rule.family for rule in index.picks if rule.fits(code, meaning)), index.fallback[code[0]])


def _notes(code: str, kind: Kind, meaning: Text | None, owner: str | None, said: str) -> Iterable[Text]:
    if kind == "make_specific" and said:
        name = load_makes()[owner].name if owner else Text(zh=f"“{said}”", en=f"“{said}”")
        words = _NOT_LISTED if meaning is None else _VARIES
        yield Text(zh=words.zh.format(make=name.zh, code=code), en=words.en.format(make=name.en, code=code))
    english = meaning.en if meaning else ""
    yield from (rule.text for rule in load_index().notes if rule.text and rule.fits(code, english))
