"""A diagnosis and search hits as a person reads them in a terminal, and a hit as programs do."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.cells import cell_len
from rich.console import Console, Group
from rich.panel import Panel
from rich.table import Table
from rich.text import Text as Line

from app.advisor import Diagnosis, Lamp
from app.scene import SceneAnswer, hours_of
from app.texts import say
from knowledge.text import Lang, Text

if TYPE_CHECKING:
    from knowledge.answers import Answer
    from knowledge.case import Case
    from knowledge.search import Hit
    from knowledge.words import Message

STYLES = {"stop": "bold white on red", "soon": "bold black on yellow", "first": "bold white on blue"}
STYLES |= {"ok": "bold white on green", "unsure": "bold white on bright_black"}
# What stays on one line: a Chinese character or a word, with the marks before and after it.
_OPEN, _CLOSE = "（《“‘【(", "，。；：！？、）》”’】…)"
_WIDE = "\u2e80-\u9fff\uf900-\ufaff"
PIECES = re.compile(rf"\s*[{_OPEN}]*(?:[{_WIDE}]|[^\s{_WIDE}{_OPEN}{_CLOSE}]+)?[{_CLOSE}]*\s?")
BORDERS = {"stop": "red", "soon": "yellow", "first": "blue", "ok": "green", "unsure": "bright_black"}


def print_diagnosis(console: Console, diagnosis: Diagnosis, lang: Lang, picture: Path | None = None) -> None:
    """The whole answer to one photo."""
    verdict = diagnosis.verdict
    headline = fold(verdict.headline.in_(lang), console.width - 4)
    banner = Group(Line(f" {say(f'level.{verdict.level}', lang)} ", STYLES[verdict.level]), *map(Line, headline))
    console.print(Panel(banner, title=Line(diagnosis.photo), title_align="left", border_style=BORDERS[verdict.level]))
    if diagnosis.scene is not None:
        _scene(console, diagnosis.scene, lang)
    elif diagnosis.kind == "dashboard":
        _lamps(console, diagnosis, lang)
    steps = [line.in_(lang) for line in verdict.advice if line != verdict.headline]
    if steps:
        _section(console, say("part.steps", lang))
        _numbered(console, steps)
    if diagnosis.scene is not None:
        _around(console, diagnosis.scene, lang)
    if verdict.questions:
        _section(console, say("part.questions", lang))
        for question in verdict.questions:
            answers = " / ".join(f"{key} {words.in_(lang)}" for key, words in question.choices.items())
            _lines(console, question.text.in_(lang), 2)
            _lines(console, say("cli.answer_hint", lang, question=question.id, answers=answers), 4, "dim")
    if diagnosis.fixes:
        _section(console, say("part.fixes", lang))
        print_hits(console, diagnosis.fixes, lang, briefly=True)
    if picture is not None:
        console.print()
        console.print(Line(say("cli.annotated", lang, path=picture)), soft_wrap=True)
    console.print()
    _lines(console, say("part.limits", lang), 0, "dim")


def _lamps(console: Console, diagnosis: Diagnosis, lang: Lang) -> None:
    """The lamps, what they mean together, and what stands on the screens."""
    _section(console, say("part.lamps", lang))
    if not diagnosis.lamps:
        _lines(console, say("part.no_lamps", lang), 2)
    for rule in (reason for reason in diagnosis.verdict.reasons if reason.kind == "rule"):
        _lines(console, f"{rule.name.in_(lang)}  {say('part.together', lang)}", 2, "bold")
        _lines(console, rule.meaning.in_(lang), 6)
    for lamp in diagnosis.lamps:
        _lamp(console, lamp, lang)
    if diagnosis.messages:
        _section(console, say("part.messages", lang))
        for message in diagnosis.messages:
            _lines(console, message_line(diagnosis, message, lang), 2)
    if diagnosis.mileage_km is not None:
        _lines(console, say("part.mileage", lang, km=diagnosis.mileage_km), 2)


def _scene(console: Console, scene: SceneAnswer, lang: Lang) -> None:
    """What an accident photo shows, and how severe it looks."""
    _section(console, say("scene.seen", lang))
    for part in scene.parts:
        title = Line.assemble(
            (f" {part.number} ", STYLES[part.urgency]),
            (f" {part.name.in_(lang)}", "bold"),
            f"  {say('scene.places', lang, count=len(part.boxes))} · ",
            (say("part.certain", lang, percent=part.percent), "dim"),
        )
        console.print(Line("  ") + title)
    if not scene.parts:
        _lines(console, say("scene.nothing_marked", lang), 2)
    for line in scene.remarks(lang):
        _lines(console, line, 2)


def _around(console: Console, scene: SceneAnswer, lang: Lang) -> None:
    """What to photograph, what never to do, and the work that the damage usually takes."""
    for title, lines in (("scene.photograph", scene.advice.photograph), ("scene.never", scene.advice.never)):
        if lines:
            _section(console, say(title, lang))
            for line in lines:
                _lines(console, line.text.in_(lang), 4, mark="  - ")
    if scene.work.items:
        _section(console, say("scene.work", lang))
        for item in scene.work.items:
            _lines(console, f"{item.name.in_(lang)}  {hours_of(item.hours, lang)}", 2, "bold")
            for choice in item.choices:
                told = f"{choice.operation.name.in_(lang)}  {hours_of(choice.hours, lang)}"
                _lines(console, f"{told}  {choice.operation.when.in_(lang)}", 6, mark="    - ")
        for note in scene.work.notes:
            _lines(console, note.in_(lang), 2, "dim")


def message_line(diagnosis: Diagnosis, message: Message, lang: Lang) -> str:
    """A message word for word, and the light that it names."""
    name = next((lamp.light.name.in_(lang) for lamp in diagnosis.lamps if lamp.light.id == message.light), None)
    if name is None:
        return f"“{message.text}”"
    about = say("part.names", lang, name=name)
    return f"“{message.text}”（{about}）" if lang == "zh" else f"“{message.text}” ({about})"


def print_hits(
    console: Console, hits: Sequence[Hit], lang: Lang, *, briefly: bool = False, similar: bool = True
) -> None:
    """Past fixes, best first; ``briefly``: without how the fault and the case were found.

    ``similar``: with the score in per cent. A search mixes words and meaning to a score that only ranks; there the
    reasons say more.
    """
    from knowledge.archive import words

    for hit in hits:
        case = hit.case
        title = words(case.symptom, lang) or words(case.fix, lang)
        percent = round(100 * max(0.0, min(1.0, float(hit.score))))
        alike = "  " + say("part.similar", lang, percent=percent) if similar else ""
        origin = say("part.starter", lang) if case.source == "starter" else case.source
        vehicle = " ".join(str(part) for part in (case.brand, case.series, case.model_year) if part)
        why = [] if briefly else [reason.text.in_(lang) for reason in hit.why]
        _lines(console, f"{title}{alike}", 2, "bold")
        if not briefly and (diagnosis := words(case.diagnosis, lang)):
            _lines(console, f"{say('part.diagnosis', lang)}  {diagnosis}", 4)
        _lines(console, f"{say('part.fix', lang)}  {words(case.fix, lang)}", 4)
        _lines(console, " · ".join(filter(None, (case.case_id, vehicle, origin, *why))), 4, "dim")


def case_json(case: Case, lang: Lang) -> dict[str, Any]:
    """A whole case, its words in ``lang``."""
    values = ((name, getattr(case, name)) for name in type(case).model_fields)
    return {name: value.in_(lang) if isinstance(value, Text) else value for name, value in values}


def hit_json(hit: Hit, lang: Lang) -> dict[str, Any]:
    """A hit with the whole case, its words in ``lang``."""
    case = case_json(hit.case, lang)
    told = {"case_id": case.pop("case_id"), "score": round(float(hit.score), 4), "relevant": hit.relevant}
    return {**told, **case, "why": [why.text.in_(lang) for why in hit.why]}


def answer_json(answer: Answer, lang: Lang) -> dict[str, Any]:
    """Hits, groups with their counts, and warnings; ``nothing`` says so where the archive has nothing like it."""
    return {
        "hits": [hit_json(hit, lang) for hit in answer.hits],
        "groups": [
            {
                "operation": group.operation.key if group.operation else None,
                "title": group.title.in_(lang),
                "cases": len(group.hits),
                **asdict(group.tally),
                "starter_only": group.starter,
                "case_ids": [hit.case.case_id for hit in group.hits],
            }
            for group in answer.groups
        ],
        "warnings": [warning.text.in_(lang) for warning in answer.warnings],
        "nothing": answer.nothing.in_(lang) if answer.nothing else None,
    }


def print_answer(console: Console, answer: Answer, lang: Lang, best: int = 2) -> None:
    """Groups with their counts, each with its ``best`` cases; warnings first, since they save a wrong repair."""
    if answer.nothing:
        _lines(console, answer.nothing.in_(lang), 0)
        return
    for warning in answer.warnings:
        _lines(console, warning.text.in_(lang), 0, "bold yellow")
    shown = {hit.case.case_id for hit in answer.hits}
    for group in answer.groups:
        hits = [hit for hit in group.hits if hit.case.case_id in shown]
        if not hits:
            continue
        starter = f"  ({say('part.starter', lang)})" if group.starter else ""
        colon = "：" if lang == "zh" else ": "
        _lines(console, f"{group.title.in_(lang)}{colon}{group.counts.in_(lang)}{starter}", 0, "bold cyan")
        print_hits(console, hits[:best], lang, similar=False)


def print_case(console: Console, case: Case, lang: Lang) -> None:
    """Every field of a case that says something."""
    for name, value in case_json(case, lang).items():
        if value not in ("", None, ()):
            told = ", ".join(value) if isinstance(value, tuple) else value
            _lines(console, f"{say(f'field.{name}', lang)}  {told}", 2)


def print_bench(console: Console, figures: dict[str, Any], lang: Lang) -> None:
    """The figures of ``yangche bench``."""
    table = Table(show_header=False, box=None)
    for label, value in (
        (say("bench.diagnose", lang), f"{figures['diagnose']['p50_ms']:.0f} ms"),
        (say("bench.model", lang), f"{figures['diagnose']['model_p50_ms']:.0f} ms"),
        (say("bench.text", lang), f"{figures['diagnose']['text_p50_ms']:.0f} ms"),
        (say("bench.search", lang, cases=figures["search"]["cases"]), f"{figures['search']['p50_ms']:.1f} ms"),
        (say("bench.start", lang), f"{figures['start_s']:.1f} s"),
        (say("bench.memory", lang), f"{figures['peak_rss_mb']:.0f} MB"),
    ):
        table.add_row(label, value)
    console.print(table)


def _lamp(console: Console, lamp: Lamp, lang: Lang) -> None:
    color = say(f"color.{lamp.color or 'unknown'}", lang)
    title = Line.assemble(
        (f" {lamp.number} ", STYLES[lamp.urgency]),
        (f" {lamp.light.name.in_(lang)}", "bold"),
        f"  {color} · {say(f'urgency.{lamp.urgency}', lang)} · ",
        (say("part.certain", lang, percent=lamp.percent), "dim"),
    )
    console.print(Line("  ") + title)
    _lines(console, lamp.meaning.in_(lang), 6)
    _lines(console, f"{say('part.drive', lang)}  {lamp.drive.in_(lang)}", 6)


def _section(console: Console, title: str) -> None:
    console.print()
    console.print(Line(title, "bold"))


def _numbered(console: Console, lines: Iterable[str]) -> None:
    for number, line in enumerate(lines, start=1):
        _lines(console, line, 5, mark=f"{number:3}. ")


def _lines(console: Console, text: str, by: int, style: str = "", mark: str = "") -> None:
    """``text`` indented by ``by`` cells, ``mark`` before its first line."""
    for number, line in enumerate(fold(text, console.width - by)):
        # Line() keeps rich from reading [brackets] in a case's text as mark-up.
        console.print(Line((mark if number == 0 else "").ljust(by)) + Line(line, style), soft_wrap=True)


def fold(text: str, width: int) -> list[str]:
    """``text`` in lines of at most ``width`` cells, broken at blanks and between Chinese characters.

    Rich itself breaks at blanks alone, which tears Chinese apart. No line starts with a closing mark.
    """
    lines, line = [], ""
    for piece in PIECES.findall(text):
        if line and cell_len(line + piece.rstrip()) > width:
            lines.append(line.rstrip())
            line = ""
        line += piece if line else piece.lstrip()
    return [*lines, line.rstrip()] if line.strip() or not lines else lines
