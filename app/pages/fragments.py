"""The HTML of one answer. Every word is escaped here: case texts come from files that anybody may have written."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterable, Sequence
from html import escape
from typing import TYPE_CHECKING

from app.advisor import Diagnosis, Lamp
from app.scene import Part, SceneAnswer, hours_of
from app.texts import say
from knowledge.archive import words
from knowledge.text import Lang, Text

if TYPE_CHECKING:
    from PIL import Image

    from knowledge.answers import Answer, Group
    from knowledge.archive import Case, Stored
    from knowledge.confirmation import Confirmation
    from knowledge.estimate import WorkItem
    from knowledge.search import Hit

# Of similar past fixes: how many ways of mending stand there, and how many cases for each.
SHOWN_GROUPS, SHOWN_CASES = 5, 3
# Drawn beside the words, so that nobody has to tell red from green. Strokes on a 24 x 24 grid.
SIGNS = {
    "stop": "M8 2h8l6 6v8l-6 6H8l-6-6V8z M7 12h10",
    "soon": "M14 6a5 5 0 0 1 6-4l-3 3 2 2 3-3a5 5 0 0 1-7 6L7 20a2 2 0 0 1-3-3l10-8z",
    "first": "M12 3 22 21H2z M12 10v5 M12 18v.5",
    "ok": "M4 13l5 5L20 6",
    "unsure": "M8 8a4 4 0 1 1 6 3.5c-1.5 1-2 1.5-2 3.5 M12 19v.5",
}


def header(lang: Lang) -> str:
    """The product's name."""
    return f"<h1>{_t('page.name', lang)}</h1>"


def tagline(lang: Lang) -> str:
    """What the product does."""
    return f"<p>{_t('page.tagline', lang)}</p>"


def tips(lang: Lang) -> str:
    """How to take a photo that can be read, and what becomes of it."""
    items = "".join(f"<li>{_t(f'page.tip_{n}', lang)}</li>" for n in ("one", "two", "three"))
    return (
        f'<section class="yc-tips"><h2>{_t("page.tips_title", lang)}</h2><ul>{items}</ul>'
        f'<p class="yc-quiet">{_t("page.privacy", lang)}</p></section>'
    )


def working(lang: Lang) -> str:
    """What stands there while a photo is looked at."""
    return f'<p class="yc-working" role="status"><span class="yc-dot"></span>{_t("page.working", lang)}</p>'


def reading(lang: Lang, left: int = 1) -> str:
    """What stands there while the words on the cluster are read, or further photos are looked at."""
    line = say("page.left", lang, count=left) if left > 1 else say("page.reading", lang)
    return f'<p class="yc-working" role="status"><span class="yc-dot"></span>{escape(line)}</p>'


def error(sentence: str) -> str:
    """One sentence: what is wrong and what to do."""
    return f'<p class="yc-error" role="alert">{escape(sentence)}</p>'


def errors(sentences: Iterable[Text], lang: Lang) -> str:
    """One sentence for each photo that could not be answered."""
    return "".join(error(sentence.in_(lang)) for sentence in sentences)


def banner(diagnosis: Diagnosis, lang: Lang) -> str:
    """The verdict in colour, sign and words."""
    level = diagnosis.verdict.level
    return (
        f'<section class="yc-banner yc-{level}" role="status" data-level="{level}">'
        f'<svg class="yc-sign" viewBox="0 0 24 24" aria-hidden="true"><path d="{SIGNS[level]}"/></svg>'
        f"<div><h2>{_t(f'level.{level}', lang)}</h2><p>{_w(diagnosis.verdict.headline, lang)}</p></div></section>"
    )


def picture(image: Image.Image, lang: Lang) -> str:
    """The annotated photo, inside the page itself: no address leads to it."""
    buffer = io.BytesIO()
    image.convert("RGB").save(buffer, "JPEG", quality=85)
    data = base64.b64encode(buffer.getvalue()).decode()
    return f'<img class="yc-photo" alt="{_t("page.annotated", lang)}" src="data:image/jpeg;base64,{data}">'


def steps(diagnosis: Diagnosis, lang: Lang, *, asking: bool = True) -> str:
    """What to do now, in order; ``asking``: questions stand below."""
    lines = [line for line in diagnosis.verdict.advice if line != diagnosis.verdict.headline]
    if not lines:
        return ""
    if diagnosis.scene is not None:
        return scene_steps(diagnosis.scene, lang, asking=asking)
    return f'<section class="yc-steps"><h2>{_t("part.steps", lang)}</h2>{_list(lines, lang, "ol")}</section>'


def scene_steps(scene: SceneAnswer, lang: Lang, *, asking: bool = True) -> str:
    """What to do at an accident, each step with what it rests on; what never to do; what to photograph."""
    hint = f'<p class="yc-quiet">{_t("scene.ask_hint", lang)}</p>' if asking else ""
    book, advice = scene.playbook, scene.advice
    items = "".join(
        f'<li class="yc-edge-{step.urgency or "none"}">{_w(step.text, lang)}{_sources(book.basis(step), lang)}</li>'
        for step in advice.steps
    )
    parts = [
        f"<h2>{_t('part.steps', lang)}</h2>{hint}<ol>{items}</ol>"
        f'<p class="yc-quiet">{escape(say("scene.region", lang, name=book.name.in_(lang)))}</p>'
    ]
    if advice.photograph:
        parts.append(f"<h2>{_t('scene.photograph', lang)}</h2>{_list([p.text for p in advice.photograph], lang, 'ul')}")
    if advice.never:
        bans = "".join(f"<li>{_w(ban.text, lang)}{_sources(book.basis(ban), lang)}</li>" for ban in advice.never)
        parts.append(f'<details class="yc-never"><summary>{_t("scene.never", lang)}</summary><ul>{bans}</ul></details>')
    return f'<section class="yc-steps">{"".join(parts)}</section>'


def _sources(sources: Sequence[Text], lang: Lang) -> str:
    lines = "".join(f"<li>{_w(source, lang)}</li>" for source in sources)
    return f'<details class="yc-source"><summary>{_t("scene.sources", lang)}</summary><ul>{lines}</ul></details>'


def scene_cards(scene: SceneAnswer, lang: Lang) -> str:
    """One card for each kind of thing that was seen, with the work that it may take."""
    work: dict[str, WorkItem] = {item.label: item for item in scene.work.items}
    inside = "".join(_part(part, work.get(part.label), lang) for part in scene.parts)
    remarks = "".join(f"<p>{escape(line)}</p>" for line in scene.remarks(lang))
    seen = (
        f'<div class="yc-cards">{inside}</div>'
        if inside
        else f'<p class="yc-quiet">{_t("scene.nothing_marked", lang)}</p>'
    )
    notes = ""
    if work:
        total = scene.work.hours
        line = (
            f"<p><strong>{escape(say('scene.total', lang, hours=hours_of(total, lang)))}</strong></p>" if total else ""
        )
        notes = (
            f'<section class="yc-work"><h2>{_t("scene.work", lang)}</h2>{line}'
            f"{_list(scene.work.notes, lang, 'ul')}</section>"
        )
    return f"<section><h2>{_t('scene.seen', lang)}</h2>{remarks}{seen}</section>{notes}"


def _part(part: Part, work: WorkItem | None, lang: Lang) -> str:
    details = ""
    if work is not None:
        choices = "".join(
            f"<li><strong>{_w(choice.operation.name, lang)}</strong> {escape(hours_of(choice.hours, lang))}<br>"
            f'{_w(choice.operation.when, lang)} <span class="yc-quiet">{_w(choice.basis, lang)}</span></li>'
            for choice in work.choices
        )
        hours = escape(hours_of(work.hours, lang))
        details = (
            f"<details><summary>{_t('scene.work', lang)}: {hours}</summary><ul>{choices}</ul>"
            f"<h4>{_t('scene.look', lang)}</h4>{_list(work.look, lang, 'ul')}"
            f"<h4>{_t('scene.behind', lang)}</h4>{_list(work.behind, lang, 'ul')}</details>"
        )
    places, certain = say("scene.places", lang, count=len(part.boxes)), say("part.certain", lang, percent=part.percent)
    return (
        f'<article class="yc-card yc-edge-{part.urgency}" data-label="{escape(part.label)}">'
        f'<h3><span class="yc-number yc-{part.urgency}">{part.number}</span> {_w(part.name, lang)}</h3>'
        f'<p class="yc-quiet">{escape(places)} · {escape(certain)}</p>{details}</article>'
    )


def cards(diagnosis: Diagnosis, lang: Lang) -> str:
    """One card for what lamps mean together, and one for each lamp; or one for each kind of damage."""
    if diagnosis.scene is not None:
        return scene_cards(diagnosis.scene, lang)
    if diagnosis.kind != "dashboard":
        return ""
    rules = [reason for reason in diagnosis.verdict.reasons if reason.kind == "rule"]
    inside = "".join(
        f'<article class="yc-card yc-edge-{rule.urgency}"><h3>{_w(rule.name, lang)}</h3>'
        f'<p class="yc-quiet"><span class="yc-badge yc-{rule.urgency}">{_t(f"urgency.{rule.urgency}", lang)}</span> '
        f"{_t('part.together', lang)}</p><p>{_w(rule.meaning, lang)}</p></article>"
        for rule in rules
    ) + "".join(card(lamp, lang) for lamp in diagnosis.lamps)
    read = written(diagnosis, lang)
    if not inside:
        return f'<p class="yc-quiet">{_t("part.no_lamps", lang)}</p>{read}'
    return f'<section><h2>{_t("part.lamps", lang)}</h2><div class="yc-cards">{inside}</div></section>{read}'


def written(diagnosis: Diagnosis, lang: Lang) -> str:
    """What stands on the screens, the mileage, or why text could not be read."""
    from app.report import message_line

    lines = [escape(message_line(diagnosis, message, lang)) for message in diagnosis.messages]
    if diagnosis.mileage_km is not None:
        lines.append(escape(say("part.mileage", lang, km=diagnosis.mileage_km)))
    if lines:
        items = "".join(f"<li>{line}</li>" for line in lines)
        return f'<section class="yc-written"><h2>{_t("part.messages", lang)}</h2><ul>{items}</ul></section>'
    return f'<p class="yc-quiet">{_w(diagnosis.no_text, lang)}</p>' if diagnosis.no_text else ""


def card(lamp: Lamp, lang: Lang) -> str:
    """One lamp: what it means, whether one may drive, why it may be lit, how that is checked."""
    color = _t(f"color.{lamp.color or 'unknown'}", lang)
    certain = say("part.certain", lang, percent=lamp.percent)
    more = "".join(
        f"<h4>{_t(part, lang)}</h4>{_list(lines, lang, 'ul')}"
        for part, lines in (("part.causes", lamp.causes), ("part.checks", lamp.checks))
        if lines
    )
    details = f"<details><summary>{_t('page.more', lang)}</summary>{more}</details>" if more else ""
    return (
        f'<article class="yc-card yc-edge-{lamp.urgency}" data-label="{escape(lamp.light.id)}">'
        f'<h3><span class="yc-number yc-{lamp.urgency}">{lamp.number}</span> {_w(lamp.light.name, lang)}</h3>'
        f'<p class="yc-quiet"><span class="yc-badge yc-{lamp.urgency}">{_t(f"urgency.{lamp.urgency}", lang)}</span> '
        f"{color} · {escape(certain)}</p>"
        f"<p>{_w(lamp.meaning, lang)}</p>"
        f"<p><strong>{_t('part.drive', lang)}</strong> {_w(lamp.drive, lang)}</p>{details}</article>"
    )


def fixes(groups: Sequence[Group], no_fixes: Text | None, lang: Lang) -> str:
    """Similar past fixes by what was done, or why there are none if something is wrong."""
    if not groups:
        return f'<p class="yc-quiet">{_w(no_fixes, lang)}</p>' if no_fixes else ""
    folded = (
        f"<details><summary>{_counted(group, lang)}</summary>"
        f"{''.join(fix(hit, lang) for hit in group.hits[:SHOWN_CASES])}</details>"
        for group in groups[:SHOWN_GROUPS]
    )
    return f'<section><h2>{_t("part.fixes", lang)}</h2><div class="yc-fixes">{"".join(folded)}</div></section>'


def fix(hit: Hit, lang: Lang) -> str:
    """One past fix."""
    case = hit.case
    vehicle = " ".join(str(part) for part in (case.brand, case.series, case.model_year) if part)
    rows = "".join(
        f"<dt>{_t(part, lang)}</dt><dd>{escape(words(value, lang))}</dd>"
        for part, value in (("part.diagnosis", case.diagnosis), ("part.fix", case.fix))
        if value
    )
    title = words(case.symptom, lang) or words(case.fix, lang)
    return (
        f"<article><h4>{escape(title)}</h4><dl>{rows}</dl>"
        f"<p class='yc-quiet'>{escape(' · '.join(filter(None, (vehicle, case.case_id))))}</p></article>"
    )


def limits(lang: Lang) -> str:
    """What this advice can't do."""
    return f'<p class="yc-quiet yc-limits">{_t("part.limits", lang)}</p>'


def quiet(sentence: str) -> str:
    """A sentence that stands where something will appear."""
    return f'<p class="yc-quiet">{escape(sentence)}</p>'


def good(sentence: str) -> str:
    """What was done."""
    return f'<p class="yc-good" role="status">{escape(sentence)}</p>'


def lines(told: Iterable[str]) -> str:
    """Lines of text as a program prints them: an empty one parts passages, blanks at the beginning indent."""
    shown = (f'<p class="yc-line" style="--in:{len(t) - len(t.lstrip())}">{escape(t.strip())}</p>' for t in told)
    return f'<div class="yc-lines">{"".join(shown)}</div>'


def found(answer: Answer, lang: Lang) -> str:
    """What stands above the groups of a search: warnings, or that there is nothing like it."""
    if answer.nothing:
        return f'<p class="yc-quiet" role="status">{_w(answer.nothing, lang)}</p>'
    return "".join(f'<p class="yc-warning" role="status">{_w(warning.text, lang)}</p>' for warning in answer.warnings)


def group(one: Group, lang: Lang) -> str:
    """What was done, and how often."""
    return f"<h3 class='yc-group'>{_counted(one, lang)}</h3>"


def _counted(group: Group, lang: Lang) -> str:
    starter = f" · {_t('part.starter', lang)}" if group.starter else ""
    return f"{_w(group.title, lang)} <small>{_w(group.counts, lang)}{starter}</small>"


def case(
    one: Case, versions: Sequence[Stored], reports: Sequence[Confirmation], why: Iterable[Text], lang: Lang
) -> str:
    """A whole case: why it was found, its fields, who wrote what when, and what people reported."""
    from app.report import case_json
    from knowledge.case import STARTER
    from knowledge.catalogue import load_catalogue
    from knowledge.confirmation import VERDICT_TEXT

    lights = load_catalogue().lights
    told = case_json(one, lang)
    told["lights"] = tuple(lights[light].name.in_(lang) if light in lights else light for light in one.lights)
    if one.source == STARTER:
        told["source"] = say("part.starter", lang)
    rows = "".join(
        f"<dt>{_t(f'field.{name}', lang)}</dt><dd>{escape(', '.join(v) if isinstance(v, tuple) else str(v))}</dd>"
        for name, v in told.items()
        if v not in ("", None, ())
    )
    past = [f"{version.at[:16].replace('T', ' ')} {version.author}" for version in versions]
    said = [
        " ".join(filter(None, (report.at[:10], report.by, VERDICT_TEXT[report.verdict].in_(lang), report.note)))
        for report in reports
    ]
    reasons = " · ".join(text.in_(lang) for text in why)
    return (
        f'<p class="yc-quiet">{escape(reasons)}</p><dl class="yc-case">{rows}</dl>'
        f'<p class="yc-quiet">{escape(" · ".join(past))}</p>'
        f"{''.join(f'<p>{escape(line)}</p>' for line in said)}"
    )


def exports(lang: Lang) -> str:
    """Links to the whole archive as a file."""
    up = "../" if lang == "zh" else "../../"  # from /workshop/ or /workshop/en/, below whatever sub-path
    links = " · ".join(
        f'<a href="{up}api/v1/cases/export?format={kind}" download>.{kind}</a>' for kind in ("xlsx", "csv", "jsonl")
    )
    return f"<p>{_t('workshop.export', lang)} {links}</p>"


def _list(lines: Iterable[Text], lang: Lang, tag: str) -> str:
    return f"<{tag}>{''.join(f'<li>{_w(line, lang)}</li>' for line in lines)}</{tag}>"


def _w(text: Text, lang: Lang) -> str:
    return escape(text.in_(lang))


def _t(key: str, lang: Lang) -> str:
    return escape(say(key, lang))
