"""Playbooks: what to do beside a damaged car, read from YAML, one file a region; and the pure engine over them.

``knowledge/playbooks/*.yaml`` hold everything that differs from place to place: questions, steps in the order of doing,
sources. The principles, each a property that tests/test_playbook.py checks:

- No answer is a value of its own, ``unknown``: whatever an answer could demand or forbid stands then as well, and
  whatever some answer would forbid to do is not permitted.
- Where the photo and the owner contradict each other (fire), the fact counts as unknown.
- The overall urgency is the worst of the steps that stand.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from pydantic import BeforeValidator, Field, StringConstraints, ValidationInfo, field_validator, model_validator

from knowledge.advice import Level
from knowledge.datafile import CatalogueError, Entry, parse, read_mapping
from knowledge.text import Text
from knowledge.verdict import NO_ANSWERS, AnswerError

Label = Literal[
    "accident_vehicle", "vehicle", "fire", "smoke", "scratch", "dent", "broken_part", "broken_glass", "broken_lamp"
]
Severity = Literal["minor", "moderate", "severe"]
LABELS: tuple[Label, ...] = get_args(Label)
SEVERITIES: tuple[Severity, ...] = get_args(Severity)
LEVELS: tuple[Level, ...] = ("stop", "soon", "first", "unsure", "ok")  # worst first
UNKNOWN = "unknown"  # the value of a question that nobody answered, and of a severity that the photo did not show
UNASKED = "unasked"  # the value of a question that makes no sense here
FOLDER = Path(__file__).parent / "playbooks"
DEFAULT_REGION = "china"


class PlaybookError(CatalogueError):
    """A playbook that breaks the schema; says which file, entry and field."""


def _alternatives(value: object) -> object:
    return [value] if isinstance(value, dict) else value


_Id = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]*$")]
_Clause = Mapping[str, bool | tuple[str, ...]]
When = Annotated[tuple[_Clause, ...], Field(min_length=1), BeforeValidator(_alternatives)]
"""One of these must hold; each holds if all its parts do. A part: a question, ``seen`` or ``severity`` with the values
that fit, or a named condition with true or false."""


class Law(Entry):
    """A legal text; ``file`` is its name among the texts, ``dated`` the version that was read."""

    id: _Id
    name: Text
    file: str
    dated: str


class Source(Entry):
    """Why a step is right: an article, with ``words`` quoted from it, or what ``practice`` says.

    ``note`` of an article: how far it goes, where its words are about something close by.
    """

    id: _Id
    law: str | None = None
    article: int | None = Field(default=None, ge=1, le=999)
    words: str | None = Field(default=None, min_length=4)
    note: Text | None = None
    practice: Text | None = None

    @model_validator(mode="after")
    def _one_kind(self) -> Source:
        legal = (self.law, self.article, self.words)
        if self.practice is None and None in legal:
            raise ValueError("needs 'law', 'article' and 'words', or 'practice'")
        if self.practice is not None and any(part is not None for part in (*legal, self.note)):
            raise ValueError("is either an article or 'practice', not both")
        return self


class PlaybookQuestion(Entry):
    """What a photo cannot show. ``shown``: labels that answer it; ``asks``: where it is asked, everywhere if left out.

    ``asks`` may look at the photo and at earlier questions only.
    """

    id: _Id
    text: Text
    answers: Mapping[_Id, Text] = Field(min_length=2)
    shown: Mapping[Label, str] = Field(default_factory=dict)
    asks: When | None = None

    @model_validator(mode="after")
    def _answers_exist(self) -> PlaybookQuestion:
        if UNKNOWN in self.answers or UNASKED in self.answers:
            raise ValueError(f"{UNKNOWN!r} and {UNASKED!r} are no answers: leave them out")
        if wrong := set(self.shown.values()) - set(self.answers):
            raise ValueError(f"'shown' names unknown answers {sorted(wrong)}")
        return self

    @property
    def choices(self) -> Mapping[str, Text]:
        """The answers as people read them."""
        return self.answers

    @property
    def assumed(self) -> None:
        """No answer is taken in place of a missing one: "unknown" is a value of its own."""
        return None


class Line(Entry):
    """Something to photograph."""

    id: _Id
    text: Text
    when: When | None = None


class Ban(Line):
    """Something never to be done."""

    source: tuple[str, ...] = Field(min_length=1)


class Step(Ban):
    """Something to do. ``permits``: it allows something, and stands only where nothing speaks against it.

    ``covers``: steps whose whole content this one says too, for when an answer is missing.
    """

    urgency: Level | None = None
    permits: bool = False
    covers: tuple[str, ...] = ()


class Playbook(Entry):
    """All that one region's file holds. ``steps`` are in the order of doing."""

    id: str
    name: Text
    headlines: Mapping[Level, Text]
    laws: Mapping[str, Law]
    sources: Mapping[str, Source]
    questions: Mapping[str, PlaybookQuestion]
    conditions: Mapping[str, When]
    steps: tuple[Step, ...]
    photograph: tuple[Line, ...]
    never: tuple[Ban, ...]

    @field_validator("steps", "photograph", "never")
    @classmethod
    def _ids_once(cls, lines: tuple[Line, ...], info: ValidationInfo) -> tuple[Line, ...]:
        ids = [line.id for line in lines]
        if twice := sorted({i for i in ids if ids.count(i) > 1}):
            raise ValueError(f"{info.field_name}: {twice} stand twice")
        return lines

    @model_validator(mode="after")
    def _names_exist(self) -> Playbook:
        if missing := set(LEVELS) - set(self.headlines):
            raise ValueError(f"headlines: {sorted(missing)} are missing")
        for source in self.sources.values():
            if source.law is not None and source.law not in self.laws:
                raise ValueError(f"source {source.id}: unknown law {source.law!r}")
        for line in (*self.steps, *self.never):
            if unknown := set(line.source) - set(self.sources):
                raise ValueError(f"{line.id}: unknown sources {sorted(unknown)}")
        known = {step.id for step in self.steps}
        for step in self.steps:
            if unknown := set(step.covers) - known:
                raise ValueError(f"{step.id} covers unknown steps {sorted(unknown)}")
        self._conditions_are_sound()
        return self

    def _conditions_are_sound(self) -> None:
        values: dict[str, set[str]] = {"seen": set(LABELS), "severity": {*SEVERITIES, UNKNOWN}}
        for question in self.questions.values():
            if question.id in values:
                raise ValueError(f"question {question.id}: the name is taken")
            _check(question.asks, values, set(), f"question {question.id}")
            values[question.id] = {*question.answers, UNKNOWN}
        named: set[str] = set()
        for name, when in self.conditions.items():
            if name in values:
                raise ValueError(f"condition {name}: the name is taken")
            _check(when, values, named, f"condition {name}")
            named.add(name)
        for line in (*self.steps, *self.photograph, *self.never):
            _check(line.when, values, named, line.id)

    def basis(self, line: Ban) -> tuple[Text, ...]:
        """The sources of a step or ban, said for people, each once."""
        return tuple(dict.fromkeys(self._said(self.sources[key]) for key in line.source))

    def _said(self, source: Source) -> Text:
        if source.practice is not None:
            return Text(zh=f"惯例：{source.practice.zh}", en=f"Common practice: {source.practice.en}")
        law, article = self.laws[source.law or ""], source.article or 0
        note = source.note
        return Text(
            zh=f"《{law.name.zh}》（{law.dated}）{article_name(article)}" + (f"；{note.zh}" if note else ""),
            en=f"{law.name.en} ({law.dated}), article {article}" + (f"; {note.en}" if note else ""),
        )


@dataclass(frozen=True)
class Scene:
    """What a photo showed. ``severity`` is None where it could not be told, or without a photo."""

    labels: frozenset[str] = frozenset()
    severity: Severity | None = None


@dataclass(frozen=True)
class SceneAdvice:
    """What to do now.

    Attributes:
        urgency: the worst of the steps.
        steps: in the order of doing.
        questions: those that make sense here and are open; one that the photo contradicts is open again.
        photograph: what to take pictures of; empty where taking pictures is dangerous.
        never: what must not be done.
        facts: question id -> answer, "unknown" or "unasked", as they were taken.
    """

    urgency: Level
    headline: Text
    steps: tuple[Step, ...]
    questions: tuple[PlaybookQuestion, ...]
    photograph: tuple[Line, ...]
    never: tuple[Ban, ...]
    facts: Mapping[str, str]


def advise(scene: Scene, answers: Mapping[str, str] = NO_ANSWERS, playbook: Playbook | None = None) -> SceneAdvice:
    """What to do at a scene.

    Args:
        scene: what the photo showed; several photos of one accident: all their labels, the worst severity.
        answers: question id -> answer id; those to questions that make no sense here are of no effect.
        playbook: that of the region; the default region's if left out.

    Raises:
        AnswerError: if a question or an answer is not in the playbook.
    """
    book = playbook or load_playbook()
    _check_answers(answers, book)
    facts: dict[str, str] = {}
    truth: dict[str, bool] = {}

    def holds(when: When | None) -> bool:
        return when is None or any(all(fits(key, wanted) for key, wanted in clause.items()) for clause in when)

    def fits(key: str, wanted: bool | tuple[str, ...]) -> bool:
        if isinstance(wanted, bool):
            return truth[key] is wanted
        if key == "seen":
            return not scene.labels.isdisjoint(wanted)
        return (scene.severity or UNKNOWN if key == "severity" else facts[key]) in wanted

    for question in book.questions.values():
        facts[question.id] = _fact(question, scene, answers) if holds(question.asks) else UNASKED
    for name, when in book.conditions.items():
        truth[name] = holds(when)

    steps = tuple(step for step in book.steps if holds(step.when))
    levels: list[Level] = [step.urgency for step in steps if step.urgency is not None]
    urgency: Level = min(levels, key=LEVELS.index, default="ok")
    return SceneAdvice(
        urgency=urgency,
        headline=book.headlines[urgency],
        steps=steps,
        questions=tuple(
            question
            for question in book.questions.values()
            if facts[question.id] != UNASKED and (facts[question.id] == UNKNOWN or question.id not in answers)
        ),
        photograph=tuple(line for line in book.photograph if holds(line.when)),
        never=tuple(ban for ban in book.never if holds(ban.when)),
        facts=facts,
    )


def _fact(question: PlaybookQuestion, scene: Scene, answers: Mapping[str, str]) -> str:
    """The answer given, or that which the photo shows; unknown if there is none or they contradict each other."""
    said = {answer for label, answer in question.shown.items() if label in scene.labels}
    if question.id in answers:
        said.add(answers[question.id])
    return said.pop() if len(said) == 1 else UNKNOWN


def _check(when: When | None, values: Mapping[str, set[str]], named: Iterable[str], where: str) -> None:
    for key, wanted in (part for clause in when or () for part in clause.items()):
        if isinstance(wanted, bool):
            if key not in named:
                raise ValueError(f"{where}: no condition {key!r} above (and yes, no as answers need quotes)")
        elif key not in values:
            raise ValueError(f"{where}: no question {key!r} above")
        elif unknown := set(wanted) - values[key]:
            raise ValueError(f"{where}: {key} has no {sorted(unknown)}")


def _check_answers(answers: Mapping[str, str], playbook: Playbook) -> None:
    for key, answer in answers.items():
        question = playbook.questions.get(key)
        if question is None:
            known = ", ".join(playbook.questions)
            raise AnswerError(
                zh=f"没有“{key}”这个问题，可以回答的有：{known}。",
                en=f"There is no question {key!r}: those that can be answered are {known}.",
            )
        if answer not in question.answers:
            known = ", ".join(question.answers)
            raise AnswerError(
                zh=f"问题“{key}”没有“{answer}”这个答案，请从中选一个：{known}。",
                en=f"Question {key!r} has no answer {answer!r}: choose one of {known}.",
            )


def article_name(number: int) -> str:
    """第七十条 for 70: how Chinese laws write the number of an article (1 to 999)."""
    digits = "零一二三四五六七八九"
    hundreds, rest = divmod(number, 100)
    tens, ones = divmod(rest, 10)
    words = f"{digits[hundreds]}百" if hundreds else ""
    if tens:
        words += "十" if tens == 1 and not hundreds else f"{digits[tens]}十"
    elif hundreds and ones:
        words += "零"
    return f"第{words}{digits[ones] if ones else ''}条"


def read_playbook(path: Path) -> Playbook:
    """Read one region's file.

    Raises:
        PlaybookError: naming the file and the first entry and field that breaks the schema.
    """
    try:
        return _read_playbook(path)
    except CatalogueError as error:
        raise PlaybookError(zh=error.text.zh, en=error.text.en) from error


def _read_playbook(path: Path) -> Playbook:
    content: dict[str, Any] = {"id": path.stem, **read_mapping(path)}
    for part, model in (("laws", Law), ("sources", Source), ("questions", PlaybookQuestion)):
        entries = content.get(part)
        if isinstance(entries, dict):
            content[part] = {
                key: parse(model, {"id": key, **entry} if isinstance(entry, dict) else entry, f"{path.name} {key}")
                for key, entry in entries.items()
            }
    for part, kind in (("steps", Step), ("photograph", Line), ("never", Ban)):
        entries = content.get(part)
        if isinstance(entries, list):
            content[part] = tuple(
                parse(kind, entry, f"{path.name} {entry.get('id', '?') if isinstance(entry, dict) else part}")
                for entry in entries
            )
    whole: Playbook = parse(Playbook, content, path.name)
    return whole


def regions() -> tuple[str, ...]:
    """The regions that yangche ships a playbook for, the default first."""
    names = sorted(path.stem for path in FOLDER.glob("*.yaml"))
    return tuple(sorted(names, key=lambda name: name != DEFAULT_REGION))


@functools.cache
def load_playbook(region: str = DEFAULT_REGION) -> Playbook:
    """A shipped playbook, read once.

    Raises:
        PlaybookError: if there is none for ``region``.
    """
    if region not in regions():
        known = ", ".join(regions())
        raise PlaybookError(
            zh=f"没有地区“{region}”，请从中选一个：{known}。",
            en=f"There is no region {region!r}: choose one of {known}.",
        )
    return read_playbook(FOLDER / f"{region}.yaml")


__all__ = [
    "DEFAULT_REGION", "LABELS", "LEVELS", "SEVERITIES", "UNASKED", "UNKNOWN", "Ban", "Law", "Line", "Playbook",
    "PlaybookError", "PlaybookQuestion", "Scene", "SceneAdvice", "Source", "Step", "advise", "article_name",
    "load_playbook", "read_playbook", "regions",
]  # fmt: skip
