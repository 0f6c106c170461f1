"""The verdict: from the lamps that were seen to one level and ordered advice. Pure, and where safety is decided.

The principles, each a property that tests/test_verdict.py checks:

- The worst finding wins: stop, soon, first, ok. "unsure" beats "ok", and never hides a worse level: that level stays
  and the doubt is said beside it.
- Nothing red is ever "ok", whatever the catalogue or an answer says: it counts as "first" at least.
- A lamp in a colour for which the catalogue has no entry is doubtful. Green or blue can't be a washed-out warning, so
  such a lamp is a doubt only; amber and white can (a red lamp overexposed by a phone), so it also counts as the worst
  that the lamp can mean, unless that is "ok". In red some unknown warning is lit: it counts as "soon" at least, and
  never for less than a red lamp of the entry ``other``.
- "ok" needs a lamp recognised with confidence, no doubtful lamp that might be worse than "ok", and no problem.
- An unanswered question counts as its assumed answer.
- Only an answer really given lets a rule with ``replaces`` (the bulb check) explain its lamps, and only those that the
  rule names: "*" names none, so an overheated engine is never explained away by it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType

from knowledge import advice
from knowledge.advice import PROBLEMS, Asked, Doubt, Level, Problem, Reason
from knowledge.catalogue import URGENCIES, Catalogue, Light, Meaning, Rule, Urgency
from knowledge.text import Text, UserError
from vision.detections import Color

OTHER = "other"  # the entry for a lamp that has none of its own
NO_ANSWERS: Mapping[str, str] = MappingProxyType({})
_Key = tuple[str, Color | None]  # a lamp: label and colour


class AnswerError(UserError):
    """An answer to a question that does not exist, or an answer that the question does not offer."""


@dataclass(frozen=True)
class Finding:
    """One lamp as a detector saw it; ``confidence`` in 0..1."""

    label: str
    color: Color | None
    confidence: float


@dataclass(frozen=True)
class Verdict:
    """The answer to one photo.

    Attributes:
        reasons: every lamp and rule that counts, worst first; a rule stands before lamps of its urgency.
        advice: what to say, line by line: headline, what it is and what to do, how soon or what it means if the lamp
            stays, doubts and what to photograph instead. Each line can be read alone, none stands twice.
        questions: those still open, of the worst first.
        problems: what kept the photo from being answered (better).
    """

    level: Level
    headline: Text
    reasons: tuple[Reason, ...]
    advice: tuple[Text, ...]
    questions: tuple[Asked, ...]
    problems: tuple[Problem, ...]


def judge(
    findings: Sequence[Finding],
    doubtful: Sequence[Finding],
    problems: Collection[Problem],
    catalogue: Catalogue,
    answers: Mapping[str, str] = NO_ANSWERS,
) -> Verdict:
    """Weigh what was seen in one photo.

    Args:
        findings: lamps at or above the product's thresholds. A label that the catalogue lacks counts as ``other``.
        doubtful: lamps seen below the thresholds; they can turn "ok" into "unsure" and are said, nothing else.
        problems: what is wrong with the photo.
        catalogue: must hold the light ``other``.
        answers: question id -> answer id; those to questions that nobody asks here are of no effect.

    Raises:
        AnswerError: if a question or an answer is not in the catalogue.
    """
    _check(answers, catalogue)
    findings = _distinct(findings)
    lamps: list[Reason] = []
    doubts: list[Doubt] = []
    for found in findings:
        lamp = _lamp(found, catalogue, answers)
        odd = _is_odd(found, catalogue)
        if odd:
            doubts.append(Doubt(lamp.name, lamp.urgency, odd))
        if not odd or (lamp.urgency != "ok" and found.color not in ("green", "blue")):
            lamps.append(lamp)
    reasons = _together(lamps, catalogue, answers)
    seen = {(found.label, found.color) for found in findings}
    for found in _distinct(doubtful):
        # An answer may be about another lamp, so it makes no doubt milder.
        lamp = _lamp(found, catalogue, NO_ANSWERS)
        odd = _is_odd(found, catalogue)
        if (found.label, found.color) not in seen and (lamp.urgency != "ok" or odd):
            doubts.append(Doubt(lamp.name, lamp.urgency, odd))

    raised = {"low_confidence": bool(doubts), "nothing_found": not findings}
    troubles = tuple(problem for problem in PROBLEMS if problem in problems or raised.get(problem))
    level: Level = reasons[0].urgency if reasons else "ok"
    if level == "ok" and (troubles or not lamps):
        level = "unsure"
    return Verdict(
        level=level,
        headline=advice.HEADLINES[level],
        reasons=reasons,
        advice=advice.lines(level, reasons, doubts, troubles),
        questions=tuple({question.id: question for reason in reasons for question in reason.questions}.values()),
        problems=troubles,
    )


def _key(lamp: Reason) -> _Key:
    return lamp.id, lamp.color


def _check(answers: Mapping[str, str], catalogue: Catalogue) -> None:
    for key, answer in answers.items():
        question = catalogue.questions.get(key)
        if question is None:
            known = ", ".join(catalogue.questions)
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


def _distinct(findings: Iterable[Finding]) -> list[Finding]:
    """One finding, the surest, for each label and colour; in an order that does not depend on that of the input."""
    best: dict[_Key, Finding] = {}
    for found in sorted(findings, key=lambda f: (-f.confidence, f.label, f.color or "")):
        best.setdefault((found.label, found.color), found)
    return list(best.values())


def _worst(*urgencies: Urgency) -> Urgency:
    return min(urgencies, key=URGENCIES.index)


def _light(label: str, catalogue: Catalogue) -> Light:
    return catalogue.lights.get(label, catalogue.lights[OTHER])


def _is_red(label: str, color: Color | None, catalogue: Catalogue) -> bool:
    """A lamp whose colour was not seen is taken for its usual one."""
    return (color or _light(label, catalogue).usual_color) == "red"


def _is_odd(found: Finding, catalogue: Catalogue) -> bool:
    """Whether the catalogue says nothing of this lamp in this colour; an "any" that is "ok" says nothing of red."""
    meanings = _light(found.label, catalogue).meanings
    if found.color is None or found.color in meanings:
        return False
    return "any" not in meanings or (found.color == "red" and meanings["any"].urgency == "ok")


def _name(found: Finding, catalogue: Catalogue) -> Text:
    name = _light(found.label, catalogue).name
    if found.color is not None and _is_odd(found, catalogue):
        return advice.fill(advice.ODD_NAME, name=name, color=advice.COLOR_NAMES[found.color])
    return name


def _lamp(found: Finding, catalogue: Catalogue, answers: Mapping[str, str]) -> Reason:
    """What one lamp counts as by itself."""
    entry = _light(found.label, catalogue).meaning(found.color)
    floor: Urgency = "first" if _is_red(found.label, found.color, catalogue) else "ok"
    if found.color == "red" and _is_odd(found, catalogue):
        floor = "soon"
        unknown = catalogue.lights[OTHER].meaning("red")
        if _worst(entry.urgency, unknown.urgency) != entry.urgency:
            entry = unknown
    name = _name(found, catalogue)
    alone = Reason("light", found.label, found.color, entry.urgency, name, entry.meaning, entry.drive, ())
    return _asked(alone, entry, entry.questions, floor, catalogue, answers)


def _asked(
    reason: Reason,
    entry: Meaning | Rule,
    asks: Iterable[str],
    floor: Urgency,
    catalogue: Catalogue,
    answers: Mapping[str, str],
) -> Reason:
    """The reason after its questions were answered, or their answers assumed; no milder than ``floor``.

    Steps and the driving sentence were written for the entry's own urgency: where that has changed, those of the
    answer or general ones stand instead.
    """
    questions = [catalogue.questions[key] for key in asks]
    taken = [question.answers[answers.get(question.id, question.assumed)] for question in questions]
    said = [answer.urgency for answer in taken if answer.urgency is not None]
    urgency = _worst(floor, *(said or [entry.urgency]))
    steps = tuple(step for answer in taken for step in answer.then)
    drive = entry.drive
    if urgency == entry.urgency:
        steps += entry.now
    else:
        drive = advice.DRIVE[urgency]
        steps = steps or ((advice.STEP[urgency],) if _milder(entry.urgency, urgency) else entry.now)
    stays = entry.if_stays if isinstance(entry, Meaning) else None
    return replace(
        reason,
        urgency=urgency,
        drive=drive,
        now=steps,
        within=(entry.within or advice.WITHIN) if urgency == "soon" else None,
        if_stays=(stays or advice.IF_STAYS) if urgency == "first" else None,
        questions=tuple(question for question in questions if question.id not in answers),
    )


def _together(lamps: Sequence[Reason], catalogue: Catalogue, answers: Mapping[str, str]) -> tuple[Reason, ...]:
    """The lamps, and the rules that hold for them, worst first."""
    holding: list[tuple[Reason, list[Reason]]] = []  # rules and the lamps that they name
    excused: dict[_Key, Reason] = {}  # lamp -> the rule whose answer explains it
    for rule in catalogue.rules:
        if not rule.replaces or rule.question not in answers:
            continue
        lit = _named(rule, lamps, catalogue) or []
        reason = _weigh(rule, lit, catalogue, answers)
        if _milder(reason.urgency, rule.urgency) and any(_key(lamp) not in excused for lamp in lit):
            holding.append((reason, lit))
            excused = {_key(lamp): reason for lamp in lit} | excused
    # What is explained is no fault, so it makes no other rule hold.
    faults = [lamp for lamp in lamps if _key(lamp) not in excused]
    explaining = {rule.id for rule, _ in holding}
    for rule in catalogue.rules:
        named = _named(rule, faults, catalogue)
        if named is not None and rule.id not in explaining:
            holding.append((_weigh(rule, named, catalogue, answers), named))

    weighed: list[Reason] = []
    for lamp in lamps:
        excuse = excused.get(_key(lamp))
        if excuse is not None and _milder(excuse.urgency, lamp.urgency):
            weighed.append(_excuse(lamp, excuse, catalogue))
        else:
            above = [rule.id for rule, named in holding if lamp in named and not _milder(rule.urgency, lamp.urgency)]
            weighed.append(replace(lamp, part_of=above[0] if above else None))
    return tuple(sorted([*(rule for rule, _ in holding), *weighed], key=lambda r: URGENCIES.index(r.urgency)))


def _named(rule: Rule, lamps: Sequence[Reason], catalogue: Catalogue) -> list[Reason] | None:
    """The lit lamps that a rule names; None if it does not hold for ``lamps``."""
    named = [lamp for lamp in lamps if _names(rule, lamp, catalogue)]
    lit = {lamp.id for lamp in named}
    several = {lamp.id for lamp in lamps} if "*" in rule.any_of else lit & set(rule.any_of)
    return named if lit.issuperset(rule.lights) and len(several) >= rule.at_least else None


def _weigh(rule: Rule, named: Sequence[Reason], catalogue: Catalogue, answers: Mapping[str, str]) -> Reason:
    """What a rule that holds counts as."""
    ids = tuple(lamp.id for lamp in named)
    alone = Reason("rule", rule.id, None, rule.urgency, rule.name, rule.meaning, rule.drive, (), lights=ids)
    return _asked(alone, rule, [rule.question] if rule.question else [], "ok", catalogue, answers)


def _names(rule: Rule, lamp: Reason, catalogue: Catalogue) -> bool:
    if lamp.id not in rule.lights and lamp.id not in rule.any_of:
        return False
    return rule.colors.get(lamp.id) in (None, lamp.color or catalogue.lights[lamp.id].usual_color)


def _excuse(lamp: Reason, rule: Reason, catalogue: Catalogue) -> Reason:
    """A lamp that a rule explains: it counts for no more than the rule."""
    return replace(
        lamp,
        urgency=_worst(rule.urgency, "first" if _is_red(lamp.id, lamp.color, catalogue) else "ok"),
        drive=advice.fill(advice.PART_OF, rule=rule.name),
        now=(),
        within=None,
        if_stays=None,
        part_of=rule.id,
        questions=(),
    )


def _milder(a: Urgency, b: Urgency) -> bool:
    return URGENCIES.index(a) > URGENCIES.index(b)


__all__ = ["PROBLEMS", "AnswerError", "Asked", "Finding", "Level", "Problem", "Reason", "Verdict", "judge"]
