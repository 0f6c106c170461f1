"""Makes ``knowledge/dtc/codes.tsv``: what fault codes mean, in our own words, Chinese and English.

The facts come from Wal33D/dtc-database (MIT licence): terse English definitions by code and maker. Facts carry over,
wording doesn't: each definition is taken apart by the grammar in ``knowledge/dtc/terms/*.yaml`` into component,
position and what is wrong, and said anew in both languages. A definition that the grammar does not wholly understand
is left out, rather than half translated.

    python -m training.codes --db dtc_codes.db --out knowledge/dtc/codes.tsv
"""

from __future__ import annotations

import argparse
import functools
import re
import sqlite3
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from knowledge.codes import FOLDER, kind_of, load_makes
from knowledge.datafile import CatalogueError, read_mapping
from knowledge.text import Text, UserError

TERMS = FOLDER / "terms"
# No meaning at all: codes without a definition of their own, and such as belong to the maker.
NOTHING = re.compile(r"reserved|manufacturer controlled|^[PBCU][0-3][0-9A-F]{3}\W*$", re.IGNORECASE)
BARE = {"": "", "high": "高", "low": "低"}  # in a frame that says itself what is too high or too low
_TOKEN = re.compile(r"[()/,]|[^\s()/,]+")
_BANK = re.compile(r"[,(]?\s*\bBank (\d(?:/\d)?)\b(?: or Single Sensor)?(?:,? ?Sensor ([\dA-D])\b(?![/\d]))?\)?")
_ALONE = re.compile(r" or Single Sensor\b")
_CYLINDER = re.compile(r"\bCylinder (?:No\.? ?|#)?(\d\d?)\b")
_TWICE = re.compile("(监测|控制|信号|温度|制冷剂|传感器|压力)\\1")  # where two entries end and begin alike
_SENSOR = re.compile("(?:传感器|开关)(?: ?[A-Z0-9]+)?$")
_TWO = re.compile(r"\d  \d")
_NUMBER = re.compile(r"[A-Z]|\d{1,4}")
# Between Chinese and Latin letters or digits stands a space.
_GLUE = re.compile(r"(?<=[\u4e00-\u9fff])(?=[A-Za-z0-9])|(?<=[A-Za-z0-9])(?=[\u4e00-\u9fff])")
_HAN = re.compile(r"[\u4e00-\u9fff]")


class Said(NamedTuple):
    """A part of a definition: the thing and what is wrong with it, each in Chinese and English; "" where not said."""

    thing: tuple[str, str]
    wrong: tuple[str, str]

    def whole(self) -> tuple[str, str]:
        """Both together, as they stand inside a longer sentence."""
        zh, en = (f"{thing} {wrong}" for thing, wrong in zip(self.thing, self.wrong, strict=True))
        return _chinese(zh), en.strip()


class Word(NamedTuple):
    """An entry of the glossary. ``wrong``: it says what is wrong, and does not name a thing."""

    zh: str
    en: str
    wrong: bool


_MARKS: dict[tuple[str, ...], Word] = {("/",): Word("/", "/", False), ("-",): Word("，", ",", False)}
Frame = tuple[re.Pattern[str], str, str]  # a form of sentences, and how it is said in Chinese and English


class Terms(NamedTuple):
    """The grammar, as ``patterns.yaml`` explains it.

    ``words`` by their tokens in lower case; ``longest``: the number of tokens of the longest.
    """

    fixes: Sequence[tuple[re.Pattern[str], str]]
    first: Sequence[Frame]
    frames: Sequence[Frame]
    words: dict[tuple[str, ...], Word]
    longest: int


@functools.cache
def load_terms(folder: Path = TERMS) -> Terms:
    """The grammar in ``folder``: ``patterns.yaml`` and the words in the files beside it.

    Raises:
        CatalogueError: naming the file and the entry that is wrong.
    """
    parts: dict[str, dict[str, Any]] = {"fixes": {}, "first": {}, "frames": {}, "states": {}}
    words: dict[tuple[str, ...], Word] = {}
    for path in sorted(folder.glob("*.yaml")):
        for key, said in read_mapping(path).items():
            if key in parts and not parts[key].keys() & said.keys():
                parts[key] |= said
            elif key in parts or (tokens := _tokens(str(key))) in words:
                raise CatalogueError(
                    zh=f"{path.name} 里的 {key} 重复了, 请删掉一个。",
                    en=f"{path.name}: {key} stands twice: remove one.",
                )
            else:
                words[tokens] = _word(key, said, wrong=False)
    words |= {_tokens(key): _word(key, said, wrong=True) for key, said in parts["states"].items()}
    return Terms(
        fixes=[(re.compile(pattern), instead) for pattern, instead in parts["fixes"].items()],
        first=_frames(parts["first"]),
        frames=_frames(parts["frames"]),
        words=words,
        longest=max(map(len, words)),
    )


def _frames(entries: dict[str, list[str]]) -> list[Frame]:
    return [(re.compile(pattern, re.IGNORECASE), zh, en) for pattern, (zh, en) in entries.items()]


def _word(key: object, said: object, *, wrong: bool) -> Word:
    pair = [said, _lower(key)] if isinstance(said, str) and isinstance(key, str) else said
    if not (isinstance(pair, list) and len(pair) == 2 and all(isinstance(part, str) for part in pair)):
        raise CatalogueError(
            zh=f"词 {key} 要写成“中文”或“[中文, 英文]”, 注意 On、Off 要加引号。",
            en=f"Word {key}: give it Chinese, or [Chinese, English]; put On and Off in quotes.",
        )
    return Word(pair[0], pair[1], wrong)


def _lower(phrase: str) -> str:
    """Lower case but for abbreviations such as EGR, NOx and A/C."""
    return re.sub(r"(?<![A-Za-z])[A-Z][a-z]+(?![A-Za-z])", lambda word: word[0].lower(), phrase)


def _tokens(phrase: str) -> tuple[str, ...]:
    return tuple(_TOKEN.findall(phrase.lower()))


def meaning(definition: str) -> Text | None:
    """A definition in our own words; None where the grammar does not wholly understand it."""
    terms = load_terms()
    for pattern, instead in terms.fixes:
        definition = pattern.sub(instead, definition)
    definition = " ".join(definition.split())
    rest, place = _placed(definition)
    said = _framed(definition, terms.first, terms)
    place = ("", "") if said else place
    said = said or _said(rest.strip(" -,"), terms)
    if said is None:
        return None
    thing, wrong = said
    if not any(thing):
        thing = ("", "engine") if place != ("", "") else thing
    if not any(wrong):
        wrong = ("故障", "fault")
    if wrong[0] in ("过低", "过高") and _SENSOR.search(thing[0]):  # its signal is meant, not the thing itself
        wrong = (f"信号{wrong[0]}", f"signal {wrong[1]}")
    where = f"，{place[1]}" if place[1] else ""
    en = ": ".join(part for part in ((thing[1] + where.replace("，", ", ")).strip(" ,"), wrong[1]) if part)
    zh = _chinese(f"{place[0]}{thing[0]} {wrong[0]}")
    if lettered := re.search(r"sensor [A-D]$", place[1]):
        zh += f"（传感器 {lettered[0][-1]}）"
    if zh.endswith("电路"):
        zh, en = f"{zh}故障", f"{en} fault"
    if not _HAN.search(zh):
        return None
    en = re.sub(r"\s+", " ", en).strip()
    return Text(zh=zh, en=en[0].upper() + en[1:])


def _placed(definition: str) -> tuple[str, tuple[str, str]]:
    """The definition without bank, sensor number and cylinder, and these in Chinese and English."""
    zh = en = ""
    if bank := _BANK.search(definition):
        number, sensor = bank.groups()
        alone = "（或单个传感器）" if _ALONE.search(bank[0]) else ""
        zh = f"第 {number} 列{alone}" + (f" {sensor} 号" if sensor and sensor.isdigit() else "")
        en = f"bank {number}" + (" or single sensor" if alone else "") + (f" sensor {sensor}" if sensor else "")
        definition = f"{definition[: bank.start()].rstrip()} {definition[bank.end() :].lstrip()}"
    if cylinder := _CYLINDER.search(definition):
        zh, en = f"{zh}{cylinder[1]} 缸", f"{en} cylinder {cylinder[1]}".strip()
        definition = f"{definition[: cylinder.start()]} {definition[cylinder.end() :]}"
    return " ".join(definition.split()), (zh, en)


def _said(text: str, terms: Terms) -> Said | None:
    """One of the frames, else word by word."""
    return _framed(text, terms.frames, terms) or _words(_TOKEN.findall(text), terms)


def _framed(text: str, frames: Sequence[Frame], terms: Terms) -> Said | None:
    for pattern, zh, en in frames:
        if match := pattern.fullmatch(text):
            parts = [_part(group or "", terms) for group in match.groups()]
            if None in parts:
                continue
            known = [part for part in parts if part is not None]
            sentence = en.format(*(part[1] for part in known))
            thing, colon, wrong = sentence.partition(": ")
            return Said(("", thing if colon else ""), (_chinese(zh.format(*(p[0] for p in known))), wrong or thing))
    return None


def _part(text: str, terms: Terms) -> tuple[str, str] | None:
    """A group of a frame."""
    if (bare := text.strip().lower()) in BARE:
        return BARE[bare], bare
    rest, place = _placed(text.strip(" -"))
    said = _said(rest, terms)
    if said is None:
        return None
    zh, en = said.whole()
    return _chinese(place[0] + zh), f"{en}, {place[1]}".strip(", ")


def _words(tokens: Sequence[str], terms: Terms) -> Said | None:
    """Word by word, in as few entries as will do: the order is the same in both languages."""
    # best[n]: fewest entries for the first n tokens, and where the last of them begins; of equals, the longest last
    # entry, so that "control circuit low" is "control" and "circuit low".
    best: list[tuple[int, int] | None] = [(0, 0), *([None] * len(tokens))]
    lower = [token.lower() for token in tokens]
    for end in range(1, len(tokens) + 1):
        for start in range(max(0, end - terms.longest), end):
            before = best[start]
            if before is None or not _entry(tokens[start:end], tuple(lower[start:end]), terms):
                continue
            if best[end] is None or before[0] + 1 < best[end][0]:  # type: ignore[index]
                best[end] = (before[0] + 1, start)
    if best[-1] is None:
        return None
    found: list[Word] = []
    end = len(tokens)
    while end:
        _, start = best[end] or (0, 0)
        found.insert(0, _entry(tokens[start:end], tuple(lower[start:end]), terms) or Word("", "", False))
        end = start
    first = next((n for n, word in enumerate(found) if word.wrong), len(found))
    thing, wrong = found[:first], found[first:]
    # A thing behind what is wrong, or two numbers side by side: words in an order that this cannot mend.
    if any(not word.wrong and word.zh not in "/，" for word in wrong) or _TWO.search("".join(w.zh for w in found)):
        return None
    return Said(_joined(thing), _joined(wrong))


def _entry(tokens: Sequence[str], lower: tuple[str, ...], terms: Terms) -> Word | None:
    if word := terms.words.get(lower):
        return word
    if len(tokens) == 1 and _NUMBER.fullmatch(tokens[0]):
        return Word(f" {tokens[0]} ", tokens[0], False)
    return _MARKS.get(lower)


def _joined(words: Iterable[Word]) -> tuple[str, str]:
    zh, en, before = "", "", False
    for word in words:
        # Two things wrong, one after the other, are told apart by a comma.
        comma = before and word.wrong and word.zh[0] not in "，（"
        zh += ("，" if comma else "") + word.zh
        en += (", " if before and word.wrong and word.en[0] not in "(o" else " ") + word.en
        before = word.wrong
    return _chinese(zh), re.sub(r" ?/ ?", "/", en).replace(" ,", ",").strip()


def _chinese(text: str) -> str:
    """Spaces only between Chinese and Latin letters or digits."""
    text = re.sub(r"\s+", " ", text).strip()
    text = re.sub(r"(?<=[^\x00-\x7f]) (?=[^\x00-\x7f])", "", text)
    text = re.sub(r" ?/ ?", "/", text)
    text = re.sub(r" ?([，：（）、]) ?", r"\1", text)
    return _GLUE.sub(" ", _TWICE.sub(r"\1", text))


# --- the table ------------------------------------------------------------------------------------------------------


class Row(NamedTuple):
    """One line of the table; ``make`` "" for those that all makers share."""

    code: str
    make: str
    text: Text


def rows(definitions: Iterable[tuple[str, str, str]]) -> tuple[list[Row], list[tuple[str, str, str]]]:
    """The table's lines in order, and the definitions (code, maker, words) that were not understood."""
    ranked = [(source, key) for key, make in load_makes().items() for source in make.sources]
    makes, order = dict(ranked), [source for source, _ in ranked]
    table: dict[tuple[str, str], Row] = {}
    missed: list[tuple[str, str, str]] = []
    for code, maker, words in sorted(definitions, key=lambda d: order.index(d[1]) if d[1] in order else -1):
        shared = kind_of(code) != "make_specific"
        make = "" if shared else makes.get(maker)
        if make is None or shared != (maker == "GENERIC") or NOTHING.search(words) or (code, make) in table:
            continue
        text = meaning(words)
        if text is None:
            missed.append((code, make, words))
        else:
            table[code, make] = Row(code, make, text)
    return sorted(table.values(), key=lambda row: (row.code, row.make)), [
        row for row in missed if (row[0], row[1]) not in table
    ]


def read_definitions(path: Path) -> Iterator[tuple[str, str, str]]:
    """Code, maker and words of every English definition.

    Raises:
        UserError: if the file is no such database.
    """
    try:
        with sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True) as db:
            yield from db.execute(
                "SELECT code, manufacturer, description FROM dtc_definitions WHERE locale = 'en' ORDER BY 1, 2"
            )
    except sqlite3.Error as error:
        raise UserError(
            zh=f"{path} 不是故障码数据库（Wal33D/dtc-database），请换一个文件。",
            en=f"{path} is no database of fault codes (Wal33D/dtc-database): give another file.",
        ) from error


def write(table: Sequence[Row], out: Path) -> None:
    """Code, make, Chinese and English, separated by tabs, in the order of codes and makes."""
    lines = ["\t".join((row.code, row.make, row.text.zh, row.text.en)) for row in table]
    out.write_text("\n".join(["", *lines, ""]), encoding="utf-8", newline="\n")


def main(arguments: Sequence[str] | None = None) -> Any:  # noqa: ANN401 - the exit status, if any
    """Run the command; prints how many definitions were understood."""
    parser = argparse.ArgumentParser(prog="python -m training.codes", description=__doc__.splitlines()[0])
    parser.add_argument("--db", type=Path, required=True, help="dtc_codes.db of Wal33D/dtc-database")
    parser.add_argument("--out", type=Path, required=True, help="the table to write")
    parser.add_argument("--missed", type=Path, help="list what was not understood in this file")
    given = parser.parse_args(arguments)
    try:
        table, missed = rows(read_definitions(given.db))
    except UserError as error:
        return error.text.en
    write(table, given.out)
    for name, own in (("generic", False), ("of makers", True)):
        there, lost = sum(bool(r.make) == own for r in table), sum(bool(r[1]) == own for r in missed)
        print(f"{name}: {there} of {there + lost} understood ({there / max(there + lost, 1):.1%})")
    print(f"{given.out}: {len(table)} lines, {given.out.stat().st_size} bytes")
    if given.missed:
        given.missed.write_text("".join("\t".join(row) + "\n" for row in missed), encoding="utf-8")
    return None


if __name__ == "__main__":
    sys.exit(main())
