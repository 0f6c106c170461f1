"""An answer as a PDF to keep: every photo with its findings, the verdict, what to do, what it rests on, its date."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING

from app.pages.fragments import SHOWN_GROUPS
from app.paper.evidence_paper import BLUE, INK, PALE, SOFT, Paper, Rgb, leading, moment
from app.paper.evidence_parts import word
from app.report import message_line
from app.scene import hours_of
from app.similar import fix_groups
from app.texts import say

if TYPE_CHECKING:
    from app.diagnosis import Diagnosis, Lamp
    from app.pages.sitting import Answer, Page, Sitting
    from app.scene import SceneAnswer
    from knowledge.answers import Group
    from knowledge.estimate import WorkItem
    from knowledge.text import Lang, Text
    from knowledge.verdict import Asked, Level

# The colours of app/pages/page.css, on which white can be read.
COLORS: dict[Level, Rgb] = {
    "stop": (0.702, 0.149, 0.118),
    "soon": (0.604, 0.353, 0.0),
    "first": (0.114, 0.373, 0.659),
    "ok": (0.122, 0.478, 0.239),
    "unsure": (0.361, 0.373, 0.400),
}
WHITE: Rgb = (1.0, 1.0, 1.0)


def answer_pdf(sitting: Sitting, page: Page, lang: Lang, *, made: datetime) -> bytes:
    """The report in one language; of each photo only the annotated picture goes in, drawn anew from pixels.

    Args:
        page: draws the pictures, and knows the words of questions and past fixes.
        made: the time to stamp on it, with its time zone.
    """
    paper = Paper(lang)
    title = say("keep.report_title", lang)
    paper.text(title, size=22, bold=True, color=BLUE)
    paper.gap(6)
    paper.field(word("report.made", lang), moment(made, lang))
    paper.field(word("report.photos_count", lang), word("report.photos_value", lang, count=len(sitting.answers)))
    paper.gap(8)
    paper.boxed([(say("part.limits", lang), INK, False)], PALE)
    for place, answer in enumerate(sitting.answers):
        if len(sitting.answers) > 1:
            paper.heading(say("page.photo_number", lang, number=answer.number), page=place > 0)
        _photo(paper, answer, page)
    return paper.finished(title, made)


def answered(answer: Answer, questions: Mapping[str, Asked]) -> list[tuple[Text, Text]]:
    """The questions that the owner answered, each with the answer, in the order in which they stood there."""
    given = answer.diagnosis.answers
    order = [*(key for key in answer.asked if key in given), *(key for key in given if key not in answer.asked)]
    return [(questions[key].text, questions[key].choices[given[key]]) for key in order if key in questions]


def _photo(paper: Paper, answer: Answer, page: Page) -> None:
    """All about one photo."""
    lang, diagnosis = paper.lang, answer.diagnosis
    verdict, scene = diagnosis.verdict, diagnosis.scene
    paper.gap(4)
    level, headline = say(f"level.{verdict.level}", lang), verdict.headline.in_(lang)
    paper.boxed([(level, WHITE, True), (headline, WHITE, False)], COLORS[verdict.level], size=12)
    file = io.BytesIO()
    page.annotated(answer, lang).convert("RGB").save(file, "JPEG", quality=88)
    paper.picture("", file.getvalue(), ())
    steps = [line.in_(lang) for line in verdict.advice if line != verdict.headline]
    if scene is not None:
        _scene_steps(paper, scene)
    elif steps:
        paper.heading(say("part.steps", lang))
        paper.listed((f"{number}.", step) for number, step in enumerate(steps, start=1))
    _answers(paper, answered(answer, page.advisor.questions))
    if scene is not None:
        _damage(paper, scene)
    elif diagnosis.kind == "dashboard":
        _lamps(paper, diagnosis)
        _written(paper, diagnosis)
    _fixes(paper, fix_groups(page.advisor, diagnosis))


def _scene_steps(paper: Paper, scene: SceneAnswer) -> None:
    """What to do at an accident, each step with what it rests on; what to photograph; what never to do."""
    lang, book, advice = paper.lang, scene.playbook, scene.advice
    joint = "；" if lang == "zh" else "; "
    if advice.steps:
        paper.heading(say("part.steps", lang))
    for number, step in enumerate(advice.steps, start=1):
        paper.listed([(f"{number}.", step.text.in_(lang))])
        if sources := book.basis(step):
            told = joint.join(source.in_(lang) for source in sources)
            paper.text(f"{say('scene.sources', lang)}{_colon(lang)}{told}", size=8, color=SOFT, indent=30)
            paper.gap(3)
    paper.text(say("scene.region", lang, name=book.name.in_(lang)), size=9, color=SOFT)
    _points(paper, "scene.photograph", [line.text for line in advice.photograph])
    _points(paper, "scene.never", [line.text for line in advice.never])


def _answers(paper: Paper, given: Sequence[tuple[Text, Text]]) -> None:
    if not given:
        return
    paper.heading(word("section.answers", paper.lang))
    for question, answer in given:
        paper.room(3 * leading(10))
        paper.text(question.in_(paper.lang), size=9.5, color=SOFT)
        paper.text(answer.in_(paper.lang), indent=14)
        paper.gap(3)


def _damage(paper: Paper, scene: SceneAnswer) -> None:
    """What the photo shows, and the work that it may take."""
    lang = paper.lang
    paper.heading(say("scene.seen", lang))
    for line in scene.remarks(lang):
        paper.text(line)
    work: dict[str, WorkItem] = {item.label: item for item in scene.work.items}
    for part in scene.parts:
        said = (say("scene.places", lang, count=len(part.boxes)), say("part.certain", lang, percent=part.percent))
        _thing(paper, part.number, part.name, part.urgency, " · ".join(said))
        if item := work.get(part.label):
            paper.text(f"{say('scene.work', lang)}  {hours_of(item.hours, lang)}", indent=30)
            for choice in item.choices:
                told = (choice.operation.name.in_(lang), hours_of(choice.hours, lang), choice.operation.when.in_(lang))
                paper.listed([("•", "  ".join(told))])
        paper.gap(4)
    if not scene.parts:
        paper.text(say("scene.nothing_marked", lang))
    if scene.work.items and scene.work.hours:
        paper.text(say("scene.total", lang, hours=hours_of(scene.work.hours, lang)), bold=True)
        for note in scene.work.notes:
            paper.text(note.in_(lang), size=9, color=SOFT)


def _lamps(paper: Paper, diagnosis: Diagnosis) -> None:
    """What lamps mean together, then each lamp."""
    lang = paper.lang
    paper.heading(say("part.lamps", lang))
    if not diagnosis.lamps:
        paper.text(say("part.no_lamps", lang))
    for rule in (reason for reason in diagnosis.verdict.reasons if reason.kind == "rule"):
        paper.text(rule.name.in_(lang), bold=True, color=COLORS[rule.urgency])
        paper.text(say("part.together", lang), size=9, color=SOFT)
        paper.text(rule.meaning.in_(lang))
        paper.gap(6)
    for lamp in diagnosis.lamps:
        _lamp(paper, lamp)


def _lamp(paper: Paper, lamp: Lamp) -> None:
    lang = paper.lang
    said = (
        say(f"urgency.{lamp.urgency}", lang),
        say(f"color.{lamp.color or 'unknown'}", lang),
        say("part.certain", lang, percent=lamp.percent),
    )
    _thing(paper, lamp.number, lamp.light.name, lamp.urgency, " · ".join(said))
    paper.text(lamp.meaning.in_(lang), indent=30)
    paper.text(f"{say('part.drive', lang)}{'：' if lang == 'zh' else '? '}{lamp.drive.in_(lang)}", indent=30)
    for key, lines in (("part.causes", lamp.causes), ("part.checks", lamp.checks)):
        if lines:
            paper.room(4 * leading(10))  # no head alone at the foot of a page
            paper.text(say(key, lang), size=9, color=SOFT, indent=30)
            paper.listed(("•", line.in_(lang)) for line in lines)
    paper.gap(6)


def _thing(paper: Paper, number: int, name: Text, urgency: Level, said: str) -> None:
    """The head of a lamp or a kind of damage: its number as on the picture, its name, how sure that is."""
    paper.room(4 * leading(10.5))
    paper.text(f"{number}   {name.in_(paper.lang)}", size=11.5, bold=True, color=COLORS[urgency], indent=14)
    paper.text(said, size=9, color=SOFT, indent=30)


def _written(paper: Paper, diagnosis: Diagnosis) -> None:
    """What stands on the screens, and the mileage."""
    lang = paper.lang
    lines = [message_line(diagnosis, message, lang) for message in diagnosis.messages]
    if diagnosis.mileage_km is not None:
        lines.append(say("part.mileage", lang, km=diagnosis.mileage_km))
    if lines:
        paper.heading(say("part.messages", lang))
        for line in lines:
            paper.text(line)


def _fixes(paper: Paper, groups: Sequence[Group]) -> None:
    """Similar past fixes by what was done."""
    lang = paper.lang
    if not groups:
        return
    paper.heading(say("part.fixes", lang))
    for group in groups[:SHOWN_GROUPS]:
        counts = group.counts.in_(lang) + (f" · {say('part.starter', lang)}" if group.starter else "")
        paper.listed([("•", f"{group.title.in_(lang)}{_colon(lang)}{counts}")])


def _colon(lang: Lang) -> str:
    return "：" if lang == "zh" else ": "


def _points(paper: Paper, key: str, lines: Sequence[Text]) -> None:
    if lines:
        paper.heading(say(key, paper.lang))
        paper.listed(("•", line.in_(paper.lang)) for line in lines)
