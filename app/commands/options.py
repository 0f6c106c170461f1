"""What every command shares: the language it speaks, how it prints, how it gives up."""

from __future__ import annotations

import json
import sys
from contextvars import ContextVar
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from app.settings import Settings
from app.texts import say
from knowledge.text import LANGS, Lang, UserError

if TYPE_CHECKING:
    from rich.console import Console


class Language(StrEnum):
    """What --lang takes."""

    zh = "zh"
    en = "en"


_chosen: ContextVar[Language | None] = ContextVar("chosen", default=None)


def speak(chosen: Language | None) -> Language | None:
    """Remembers --lang for sentences that are said outside a command."""
    _chosen.set(chosen)
    return chosen


LangOption = Annotated[
    Language | None,
    typer.Option("--lang", callback=speak, is_eager=True, help="输出语言 / Language of the output."),
]
JsonOption = Annotated[bool, typer.Option("--json", help="每行一个 JSON / One JSON object a line.")]


def spoken() -> Lang:
    """The language that --lang asked for, else the environment's."""
    return language_of(_chosen.get())


def language_of(chosen: Language | None) -> Lang:
    """The language to answer in."""
    return LANGS[LANGS.index(chosen.value)] if chosen else Settings.language()


def console(*, stderr: bool = False) -> Console:
    """Where tables are printed."""
    from rich.console import Console

    return Console(highlight=False, stderr=stderr)


def print_json(line: dict[str, Any]) -> None:
    """One line of JSON."""
    text = json.dumps(line, ensure_ascii=False)
    try:
        text.encode()
    except UnicodeEncodeError:  # a file name that is no UTF-8
        text = json.dumps(line)
    print(text, flush=True)


def user_error(key: str, **values: object) -> UserError:
    """The sentence ``key`` of texts.yaml as an error."""
    return UserError(say(key, "zh", **values), say(key, "en", **values))


def fail(sentence: str, status: int = 1) -> NoReturn:
    """Give up with a sentence."""
    print(sentence, file=sys.stderr)
    raise typer.Exit(status)
