"""What text on the cluster means: lamps that are words, messages of screens, the odometer. Pure functions.

``knowledge/words.yaml`` holds the words and phrases. The rules here are careful on purpose: a word counts as a lamp
only if all of it was read and it is lit in a colour that the lamp has; a message names a light only if a whole phrase
stands in it; a number is the odometer only if nothing speaks for another meaning.
"""

from __future__ import annotations

import functools
import itertools
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import Field, model_validator

from knowledge.catalogue import FOLDER, LIGHT_IDS
from knowledge.datafile import Entry, parse, read_mapping
from knowledge.phrases import Phrase, chinese_in, fold, has_chinese, same_word, words_in
from vision.detections import Color, Detection, Detections, iou

if TYPE_CHECKING:
    from vision.reading import TextLine

Box = tuple[float, float, float, float]  # x1, y1, x2, y2 in pixels of the photo


LEAST_SURE = 0.7  # confidence of a lamp word or a message that names a light
LEAST_SURE_SHORT = 0.9  # of a lamp word of three letters or fewer
LEAST_SURE_UNKNOWN = 0.8  # of a message that names none
STOP = "master_warning"  # whose messages are those that say: stop
MISREAD = 0.85  # what a lamp word keeps of its confidence if letters were mended


class LampWords(Entry):
    """The whole words of one lamp, and the colours in which they are one."""

    colors: tuple[Color, ...] = Field(min_length=1)
    words: tuple[str, ...] = Field(min_length=1)


class Phrases(Entry):
    """Phrases in both languages."""

    zh: tuple[str, ...] = ()
    en: tuple[str, ...] = ()

    def all(self) -> tuple[Phrase, ...]:
        """Both languages' phrases, ready to be looked for."""
        return tuple(Phrase(pattern) for pattern in (*self.zh, *self.en))


class Furniture(Entry):
    """What dials always show: Chinese parts of text, English words with spaces between."""

    zh: tuple[str, ...]
    en: str

    @functools.cached_property
    def words(self) -> frozenset[str]:
        """The English words, in capitals."""
        return frozenset(fold(self.en).split())


class MileageWords(Entry):
    """Units by the unit that they stand for, and labels that do or don't belong to an odometer."""

    units: Mapping[str, tuple[str, ...]]
    odometer: tuple[str, ...]
    not_odometer: tuple[str, ...]


class Words(Entry):
    """``words.yaml``. Lights are named by the ids of the catalogue."""

    lamps: Mapping[str, LampWords]
    printed: tuple[str, ...]
    messages: Mapping[str, Phrases]
    not_a_fault: Phrases
    furniture: Furniture
    mileage: MileageWords

    @model_validator(mode="after")
    def _no_doubt(self) -> Words:
        if unknown := {*self.lamps, *self.messages} - set(LIGHT_IDS):
            raise ValueError(f"unknown lights {sorted(unknown)}")
        count = Counter(word for lamp in self.lamps.values() for word in lamp.words)
        if STOP not in self.messages:
            raise ValueError(f"messages must hold {STOP}: what says that the car must be stopped")
        if twice := sorted(word for word, times in count.items() if times > 1):
            raise ValueError(f"these words stand for more than one lamp: {twice}")
        return self

    @functools.cached_property
    def fault_phrases(self) -> tuple[tuple[str, Phrase], ...]:
        """Light id and phrase."""
        return tuple((light, phrase) for light, phrases in self.messages.items() for phrase in phrases.all())

    @functools.cached_property
    def fine_phrases(self) -> tuple[Phrase, ...]:
        """What says that nothing is wrong."""
        return self.not_a_fault.all()


def read_words(path: Path) -> Words:
    """Read a file like ``words.yaml``.

    Raises:
        CatalogueError: naming the first field that breaks the schema.
    """
    whole: Words = parse(Words, read_mapping(path), path.name)
    return whole


@functools.cache
def load_words() -> Words:
    """The words that yangche ships, read once."""
    return read_words(FOLDER / "words.yaml")


@dataclass(frozen=True)
class Message:
    """A message of a screen, word for word.

    ``light`` is what it names, None if it names no light of the catalogue. ``stop``: it says itself that the car must
    be stopped, whatever else it names.
    """

    text: str
    box: Box
    confidence: float
    light: str | None = None
    color: Color | None = None
    stop: bool = False


@dataclass(frozen=True, eq=False)
class Reading:
    """What the text of one photo says.

    Attributes:
        lamps: lamps that are words, with colour; boxes tight around all lines of the word.
        messages: messages from top to bottom.
        mileage_km: the odometer in kilometres, None if it wasn't read with certainty.
        lines: all text that was read.
    """

    lamps: Detections = field(default_factory=Detections.empty)
    messages: tuple[Message, ...] = ()
    mileage_km: int | None = None
    lines: tuple[TextLine, ...] = ()


def understand(lines: Sequence[TextLine], words: Words | None = None) -> Reading:
    """What the lines of one photo mean."""
    from knowledge.odometer import mileage_km

    words = words or load_words()
    tint = _tint(lines, words)
    lamps: list[Detection] = []
    messages: list[Message] = []
    for block in _blocks([line for line in lines if line.confidence >= LEAST_SURE and _has_words(line, words)]):
        lit, rest = _lamps(block, words, tint)
        if rest and light_named(_joined(block), words):
            lit, rest = [], block  # BRAKE on the first line of "BRAKE SYSTEM PROBLEM" is no lamp
        lamps += lit
        messages += _messages(rest, words)
    messages.sort(key=lambda message: (message.box[1], message.box[0]))
    return Reading(Detections.of(lamps), tuple(messages), mileage_km(lines, words.mileage), tuple(lines))


def light_named(text: str, words: Words | None = None) -> str | None:
    """The light that a message names: that of the longest phrase in it; None if there is none or all is fine."""
    words = words or load_words()
    if any(phrase.weight_in(text) for phrase in words.fine_phrases):
        return None
    weights = [(phrase.weight_in(text), light) for light, phrase in words.fault_phrases]
    named = [(weight, light) for weight, light in weights if weight]
    # "Stop safely" says how bad it is; what is bad says more.
    return max(named, key=lambda pair: (pair[1] != STOP, pair[0]))[1] if named else None


def lamp_word(text: str, words: Words | None = None) -> tuple[str, bool] | None:
    """The lamp whose whole word ``text`` is, and whether it was read without a mistake; None if it is none."""
    words = words or load_words()
    read = words_in(text)
    exact = [light for light, lamp in words.lamps.items() for word in lamp.words if _same_text(text, read, word)]
    if exact or has_chinese(text) or not read:
        return (exact[0], True) if exact else None
    near = {
        light
        for light, lamp in words.lamps.items()
        for word in lamp.words
        if len(words_in(word)) == len(read) and all(map(same_word, read, words_in(word)))
    }
    return (near.pop(), False) if len(near) == 1 else None


def merge(found: Detections, words: Detections) -> Detections:
    """The detector's findings and the lamps that are words, each lamp once.

    A word that lies in or just under a pictogram of its light is part of that lamp: one finding, around both where they
    touch. So is BRAKE under a ringed (P), which then is the brake system's. A less sure finding of another light on the
    very place of a word was a misread word.
    """
    kept = list(found)
    for word in words:
        same = [seen for seen in kept if _one_lamp(seen, word)]
        kept = [
            seen
            for seen in kept
            if seen not in same and not (seen.confidence < word.confidence and iou(seen.box, word.box) >= 0.5)
        ]
        box = word.box
        for seen in same:
            near = word.box[1] - seen.box[3] <= 0.35 * (word.box[3] - word.box[1])
            box = _around([box, seen.box]) if near else seen.box
        confidence = max([word.confidence, *(seen.confidence for seen in same)])
        color = next((seen.color for seen in same if seen.color is not None), word.color)
        kept.append(replace(word, box=box, confidence=confidence, color=color))
    return Detections.of(kept)


def _one_lamp(seen: Detection, word: Detection) -> bool:
    family = {"brake_system", "parking_brake"}
    if seen.label != word.label and not ({seen.label, word.label} <= family and word.label == "brake_system"):
        return False
    a, b = seen.box, word.box
    beside = min(a[2], b[2]) - max(a[0], b[0]) >= 0.5 * min(a[2] - a[0], b[2] - b[0])
    gap = b[1] - a[3]
    return beside and b[3] > a[1] and gap <= 0.75 * (a[3] - a[1])


def _around(boxes: Sequence[Box]) -> Box:
    return (
        min(box[0] for box in boxes), min(box[1] for box in boxes),
        max(box[2] for box in boxes), max(box[3] for box in boxes),
    )  # fmt: skip


def _same_text(text: str, read: tuple[str, ...], word: str) -> bool:
    return chinese_in(text) == chinese_in(word) if has_chinese(word) else read == words_in(word)


def _is_number(word: str) -> bool:
    """Mostly digits: 120, 12V, 85F, MAX247MI is none."""
    return sum(sign.isdigit() for sign in word) * 2 >= len(word)


def _has_words(line: TextLine, words: Words) -> bool:
    """Whether a line may be part of a lamp or a message: dial numerals, clocks and units are not."""
    if has_chinese(line.text):
        return True
    units = {"KM", "H", "MPH", "RPM", "MI", "MIN", "R", "C", "F", "L", "AM", "PM", "X1000", "KMH", "KPA", "PSI", "BAR"}
    read = [word for word in words_in(line.text) if not (_is_number(word) and lamp_word(line.text, words) is None)]
    return any(word not in units for word in read) and sum(len(word) for word in read) >= 2


def _tint(lines: Sequence[TextLine], words: Words) -> set[Color]:
    """The colours in which the dial itself is lit, told by its numerals; print in them is no lamp."""
    shown = [line.color for line in lines if not _has_words(line, words)]
    counts = Counter(color for color in shown if color is not None and color != "white")
    return {color for color, count in counts.items() if count >= 3 and count >= 0.4 * len(shown)}


def _blocks(lines: Sequence[TextLine]) -> Iterator[list[TextLine]]:
    """Lines that belong together, in reading order: those near each other, and those near these."""
    todo = list(lines)
    while todo:
        block = [todo.pop(0)]
        for line in block:
            near = [other for other in todo if _near(line.box, other.box)]
            todo = [other for other in todo if other not in near]
            block += near
        yield _in_reading_order(block)


def _near(a: Box, b: Box) -> bool:
    heights = sorted((a[3] - a[1], b[3] - b[1]))
    if heights[1] > 2 * heights[0]:
        return False
    across = min(a[2], b[2]) - max(a[0], b[0])
    down = min(a[3], b[3]) - max(a[1], b[1])
    stacked = across >= 0.4 * min(a[2] - a[0], b[2] - b[0]) and -down <= 1.3 * heights[0]
    return stacked or (down >= 0.6 * heights[0] and -across <= 1.2 * heights[0])


def _in_reading_order(block: Sequence[TextLine]) -> list[TextLine]:
    """Row by row, each from left to right."""
    rows: list[list[TextLine]] = []
    for line in sorted(block, key=lambda line: line.box[1] + line.box[3]):
        middle = (line.box[1] + line.box[3]) / 2
        if rows and middle < rows[-1][0].box[3] - 0.2 * (rows[-1][0].box[3] - rows[-1][0].box[1]):
            rows[-1].append(line)
        else:
            rows.append([line])
    return [line for row in rows for line in sorted(row, key=lambda line: line.box[0])]


def _joined(block: Sequence[TextLine]) -> str:
    texts = [line.text for line in block]
    return ("" if all(has_chinese(text) for text in texts) else " ").join(texts)


def _lamps(block: Sequence[TextLine], words: Words, tint: set[Color]) -> tuple[list[Detection], list[TextLine]]:
    """The lamps in a block, the words of most lines first, and the lines that are none."""
    lamps: list[Detection] = []
    rest: list[TextLine] = []
    start = 0
    while start < len(block):
        for end in range(min(len(block), start + 4), start, -1):
            if lamp := _lamp(block[start:end], words, tint):
                lamps.append(lamp)
                start = end
                break
        else:
            rest.append(block[start])
            start += 1
    return lamps, rest


def _lamp(lines: Sequence[TextLine], words: Words, tint: set[Color]) -> Detection | None:
    """The lamp whose whole word these lines are, if it is lit as the lamp is."""
    text = " ".join(line.text for line in lines)
    word = lamp_word(text, words)
    if word is None:
        return None
    light, exact = word
    colors = {line.color for line in lines}
    color = lines[0].color
    if len(colors) > 1 or color is None or color not in words.lamps[light].colors:
        return None
    if color in tint and fold(text) in words.printed:
        return None
    sure = min(line.confidence for line in lines)
    short = len(chinese_in(text)) <= 3 and not has_chinese(text)
    if sure < (LEAST_SURE_SHORT if short else LEAST_SURE):
        return None
    return Detection(light, _around([line.box for line in lines]), sure * (1 if exact else MISREAD), color)


def _messages(lines: Sequence[TextLine], words: Words) -> list[Message]:
    """The messages in lines that are no lamps: one, or one a light where single lines name several."""
    if not lines:
        return []
    named = [light if light != STOP else None for light in (light_named(line.text, words) for line in lines)]
    whole = light_named(_joined(lines), words)
    if len({light for light in named if light}) < 2:
        return _message(lines, whole, words)
    starts = [0, *[i for i, light in enumerate(named) if light and any(named[:i])], len(lines)]
    parts = [lines[a:b] for a, b in itertools.pairwise(starts)]
    return [message for part in parts for message in _message(part, light_named(_joined(part), words), words)]


def _message(lines: Sequence[TextLine], light: str | None, words: Words) -> list[Message]:
    text = _joined(lines)
    sure = min(line.confidence for line in lines)
    if sure < (LEAST_SURE if light else LEAST_SURE_UNKNOWN) or (light is None and not _says_something(text, words)):
        return []
    colors = Counter(line.color for line in lines)
    stop = any(phrase.weight_in(text) for phrase in words.messages[STOP].all())
    return [Message(text, _around([line.box for line in lines]), sure, light, colors.most_common(1)[0][0], stop)]


def _says_something(text: str, words: Words) -> bool:
    """Whether text that names no light is a message at all, and not the dial's furniture."""
    if has_chinese(text):
        return sum(map(has_chinese, text)) >= 4 and not any(part in chinese_in(text) for part in words.furniture.zh)
    telling = [word for word in words_in(text) if len(word) >= 3 and word not in words.furniture.words]
    telling = [word for word in telling if not _is_number(word)]
    return len(telling) >= 2 and sum(map(len, telling)) >= 8 and lamp_word(text, words) is None
