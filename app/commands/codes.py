"""`yangche code`: what a fault code means, what to check, may I drive. `add_to` hangs it into a command line."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from app.commands.options import JsonOption, LangOption, language_of, print_json
from app.texts import say
from knowledge.text import Lang, Text

if TYPE_CHECKING:
    from knowledge.codes import CodeAnswer


def add_to(app: typer.Typer) -> None:
    """Hang the command into ``app``."""

    @app.command("code")
    def code(
        code: Annotated[str, typer.Argument(metavar="CODE", help="故障码 / Fault code, such as P0420 or C0031-11.")],
        make: Annotated[
            str | None, typer.Option(help="品牌，厂家自定的码要用 / The car's make, for a maker's own codes.")
        ] = None,
        as_json: JsonOption = False,
        lang: LangOption = None,
    ) -> None:
        """查故障码：含义、原因、先查什么、还能不能开。 / A fault code: meaning, causes, checks, may I drive."""
        from knowledge.codes import lookup

        language = language_of(lang)
        answer = lookup(code, make)
        if as_json:
            print_json(code_json(answer, language))
        else:
            print("\n".join(code_lines(answer, language)))


def code_json(answer: CodeAnswer, lang: Lang) -> dict[str, Any]:
    """The answer with its words in ``lang``; the fields are those of `knowledge.codes.CodeAnswer`."""
    fields = {name: getattr(answer, name) for name in answer.__dataclass_fields__}
    return {name: _spoken(value, lang) for name, value in fields.items()}


def _spoken(value: object, lang: Lang) -> object:
    if isinstance(value, tuple):
        return [_spoken(part, lang) for part in value]
    return value.in_(lang) if isinstance(value, Text) else value


def code_lines(answer: CodeAnswer, lang: Lang) -> Iterator[str]:
    """The answer as a person reads it in a terminal."""
    yield f"{answer.code}  {answer.meaning.in_(lang)}"
    yield f"  {say('codes.system', lang, system=answer.system.in_(lang))}"
    if answer.failure is not None:
        yield f"  {say('codes.failure', lang, failure=answer.failure.in_(lang))}"
    yield from (f"  {note.in_(lang)}" for note in answer.notes)
    if answer.question is not None:
        known = ("、" if lang == "zh" else ", ").join(make.in_(lang) for make in answer.makes)
        yield f"  {answer.question.in_(lang)} {say('codes.make_hint', lang, code=answer.code)}"
        yield f"  {say('codes.makes', lang, makes=known) if known else say('codes.no_makes', lang)}"
    yield ""
    yield f"{say('codes.drive', lang)}  [{say(f'codes.{answer.urgency}', lang)}]"
    yield f"  {answer.drive.in_(lang)}"
    if answer.within is not None:
        yield f"  {say('codes.within', lang, within=answer.within.in_(lang))}"
    if answer.stop_if is not None:
        yield f"  {say('codes.stop_if', lang, stop_if=answer.stop_if.in_(lang))}"
    yield from _listed(say("codes.causes", lang), answer.causes, lang, numbered=False)
    yield from _listed(say("codes.checks", lang), answer.checks, lang, numbered=True)
    yield ""
    yield answer.source.in_(lang)


def _listed(title: str, lines: Sequence[Text], lang: Lang, *, numbered: bool) -> Iterator[str]:
    yield ""
    yield title
    for number, line in enumerate(lines, start=1):
        yield f"  {f'{number}.' if numbered else '-'} {line.in_(lang)}"
