"""What the report of an evidence package says, page by page; how it is set is for `app.paper.evidence_paper`."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING

from app.paper.evidence_paper import BLUE, INK, PALE, SOFT, WARM, WARN, Paper, leading, moment
from app.paper.evidence_parts import clean, word
from knowledge.text import Lang, Text

if TYPE_CHECKING:
    from app.paper.evidence import Copy, Evidence, Exhibit, Party

FIELDS = ("name", "phone", "plate", "licence", "insurer", "policy")


def report_pdf(
    evidence: Evidence, copies: Sequence[Copy], place: Text, lang: Lang, *, made: datetime, plates_searched: bool
) -> bytes:
    """The report in one language."""
    paper = Paper(lang)
    _front(paper, evidence, len(copies), place, made, plates_searched)
    _seen(paper, evidence.exhibits)
    if evidence.steps:  # they speak of the list below
        paper.heading(word("section.steps", lang))
        paper.listed((f"{n}.", step.text.in_(lang)) for n, step in enumerate(evidence.steps, start=1))
    _checklist(paper, evidence)
    if evidence.answers:
        paper.heading(word("section.answers", lang))
        for question, answer in evidence.answers:
            paper.room(3 * leading(10))
            paper.text(question.in_(lang), size=9.5, color=SOFT)
            paper.text(answer.in_(lang), indent=14)
            paper.gap(3)
    _photos(paper, evidence, copies)
    _statement(paper, evidence.party_a, word("section.statement_a", lang))
    _statement(paper, evidence.party_b, word("section.statement_b", lang))
    return paper.finished(word("report.title", lang), made)


def _front(paper: Paper, evidence: Evidence, photos: int, place: Text, made: datetime, plates_searched: bool) -> None:
    lang = paper.lang
    paper.text(word("report.title", lang), size=22, bold=True, color=BLUE)
    paper.gap(8)
    paper.boxed([(word("report.machine", lang), INK, False)], PALE)
    if not plates_searched:
        paper.boxed([(word("report.no_plates", lang), WARN, True)], WARM)
    when = moment(evidence.when, lang) if evidence.when else word("report.not_given", lang)
    rows = [
        (word("report.when", lang), when),
        (word("report.place", lang), place.in_(lang)),
        (word("report.severity", lang), word(f"severity.{evidence.severity or 'unknown'}", lang)),
        (word("report.photos_count", lang), word("report.photos_value", lang, count=photos)),
        (word("report.made", lang), moment(made, lang)),
    ]
    for label, value in rows:
        paper.field(label, value)
    if evidence.missing:
        lines = [(word("checklist.missing", lang, count=len(evidence.missing)), WARN, True)]
        lines += [(word("checklist.missing_do", lang), INK, False)]
        lines += [(f"•  {line.text.in_(lang)}", INK, False) for line in evidence.missing]
        paper.gap(8)
        paper.boxed(lines, WARM)


def _seen(paper: Paper, exhibits: Sequence[Exhibit]) -> None:
    paper.heading(word("section.seen", paper.lang))
    for number, exhibit in enumerate(exhibits, start=1):
        paper.room(3 * leading(10))
        paper.text(word("seen.photo", paper.lang, number=number), bold=True)
        _findings(paper, exhibit)
        paper.gap(3)


def _findings(paper: Paper, exhibit: Exhibit) -> None:
    if exhibit.labels:
        numbers = sorted({mark.number for mark in exhibit.marks})
        paper.listed((f"{number}", label) for number, label in zip(numbers, exhibit.labels, strict=True))
    else:
        key = "seen.not_looked" if exhibit.labels is None else "seen.nothing"
        paper.text(word(key, paper.lang), indent=14, color=SOFT)


def _checklist(paper: Paper, evidence: Evidence) -> None:
    lang = paper.lang
    paper.heading(word("section.checklist", lang))
    if not evidence.checklist:
        paper.text(word("checklist.none", lang))
        return
    if not evidence.missing:
        paper.text(word("checklist.complete", lang), color=BLUE, bold=True)
        paper.gap(3)
    for line in evidence.checklist:
        shown = [str(n) for n, exhibit in enumerate(evidence.exhibits, start=1) if line.id in exhibit.shows]
        numbers = ("、" if lang == "zh" else ", ").join(shown)
        status = word("checklist.photos", lang, numbers=numbers) if shown else word("checklist.is_missing", lang)
        paper.ticked(line.text.in_(lang), status, bool(shown))
    paper.text(word("checklist.chosen", lang), size=8.5, color=SOFT)


def _photos(paper: Paper, evidence: Evidence, copies: Sequence[Copy]) -> None:
    lang = paper.lang
    names = {line.id: line.text.in_(lang) for line in evidence.checklist}
    paper.heading(word("section.photos", lang), page=True)
    paper.text(word("photo.note", lang), size=9.5, color=SOFT)
    paper.gap(6)
    for exhibit, copy in zip(evidence.exhibits, copies, strict=True):
        below = [
            (word("photo.original", lang, name=clean(exhibit.name).replace("\n", " ")), INK),
            (word("photo.sha256", lang) + " " + copy.sha256, SOFT),
        ]
        if copy.plates or exhibit.hide:
            below.append((word("photo.covered", lang, plates=copy.plates, hidden=len(exhibit.hide)), SOFT))
        if exhibit.shows:
            shown = "；" if lang == "zh" else "; "
            below.append((word("photo.shows", lang, lines=shown.join(names[i] for i in exhibit.shows)), INK))
        paper.picture(word("seen.photo", lang, number=copy.number), copy.marked, below)


def _statement(paper: Paper, party: Party, title: str) -> None:
    lang = paper.lang
    paper.heading(title, page=True)
    paper.text(word("party.note", lang), size=9.5, color=SOFT)
    paper.gap(8)
    for name in FIELDS:
        paper.field(word(f"party.{name}", lang), getattr(party, name), line=True)
    paper.gap(10)
    paper.room(4 * leading(10))
    paper.text(word("party.account", lang), bold=True)
    paper.gap(2)
    signing = 76.0
    if party.account.strip():
        paper.text(party.account)
    else:
        paper.room(signing + 5 * 26)
        paper.ruled(signing)
    paper.room(signing)
    paper.signing(word("party.signature", lang), word("party.date", lang))
