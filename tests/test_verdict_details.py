"""Finer points of the verdict and its advice, on a catalogue small enough to see through."""

from __future__ import annotations

import pytest

from knowledge.advice import HEADLINES, PROBLEM_TEXTS
from knowledge.catalogue import Catalogue
from knowledge.verdict import PROBLEMS, AnswerError, Finding, Problem, Verdict, judge
from vision.detections import COLORS, Color


def text(words: str) -> dict[str, str]:
    return {"zh": f"中文 {words}", "en": words}


def entry(urgency: str, words: str = "", **more: object) -> dict[str, object]:
    """A meaning with every field that its urgency needs."""
    needed = {"within": text(f"{words} soon")} if urgency == "soon" else {}
    needed |= {"if_stays": text(f"{words} stays")} if urgency == "first" else {}
    lines = {"meaning": text(f"{words} meaning"), "drive": text(f"{words} drive"), "now": [text(f"{words} now")]}
    return {**lines, "urgency": urgency, **needed, **more}


def light(key: str, color: str, **meanings: dict[str, object]) -> dict[str, object]:
    return {"id": key, "name": text(key), "looks": text("looks"), "usual_color": color, "meanings": meanings}


def small(*rules: dict[str, object]) -> Catalogue:
    """Lamps: oil (stop), fan (soon, asks "rattles"), door (first), beam (blue: ok), torch (any: ok), other."""
    entries = [
        light("oil", "red", red=entry("stop", "oil")),
        light("fan", "amber", any=entry("soon", "fan", questions=["rattles"])),
        light("door", "red", any=entry("first", "door")),
        light("beam", "blue", blue=entry("ok", "beam"), white=entry("ok", "beam")),
        light("torch", "white", any=entry("ok", "torch")),
        light("other", "amber", red=entry("soon", "unknown red"), any=entry("soon", "unknown")),
    ]
    no = {"text": text("no"), "urgency": "ok", "then": [text("it rests")]}
    yes = {"text": text("yes"), "urgency": "stop"}
    rattles = {"id": "rattles", "text": text("Rattling?"), "assumed": "unknown"}
    running = {"id": "running", "text": text("Running?"), "assumed": "yes"}
    off = {"text": text("no"), "urgency": "first", "then": [text("start it")]}
    return Catalogue.model_validate(
        {
            "lights": {one["id"]: one for one in entries},
            "rules": rules,
            "questions": {
                "rattles": {**rattles, "answers": {"yes": yes, "no": no, "unknown": {"text": text("unknown")}}},
                "running": {**running, "answers": {"yes": {"text": text("yes")}, "no": off}},
            },
        }
    )


def rule(key: str, urgency: str = "stop", **more: object) -> dict[str, object]:
    return {"id": key, "name": text(key), **entry(urgency, key), **more}


def lamps(words: str) -> list[Finding]:
    """ "red oil, - fan": a red oil lamp and a fan lamp of unseen colour."""
    colors: dict[str, Color | None] = {**{color: color for color in COLORS}, "-": None}
    return [Finding(label, colors[color], 0.5) for color, label in (pair.split() for pair in words.split(",") if pair)]


def verdict(seen: str, doubts: str = "", problems: str = "", answers: str = "", *, of: Catalogue) -> Verdict:
    chosen: list[Problem] = [problem for problem in PROBLEMS if problem in problems.split()]
    return judge(lamps(seen), lamps(doubts), chosen, of, dict(pair.split("=") for pair in answers.split(", ") if pair))


def english(judged: Verdict) -> list[str]:
    return [line.en for line in judged.advice]


def test_full_advice_of_one_lamp() -> None:
    assert english(verdict("amber fan", of=small())) == [
        HEADLINES["soon"].en, "fan: fan meaning. fan drive.", "fan now", "fan: how soon? fan soon.",
    ]  # fmt: skip
    assert english(verdict("red door", of=small()))[-1] == "door: door stays."


def test_milder_lamps_are_said_shortly() -> None:
    judged = verdict("red oil, amber fan, red door, blue beam", of=small())
    assert english(judged) == [
        HEADLINES["stop"].en, "oil: oil meaning. oil drive.", "oil now", "fan: fan drive.", "door: door drive.",
        "beam: normal indications.",
    ]  # fmt: skip
    assert [reason.id for reason in judged.reasons] == ["oil", "fan", "door", "beam"]


@pytest.mark.parametrize(
    ("answer", "urgency", "lines"),
    [
        ("", "soon", ["fan: fan meaning. fan drive.", "fan now", "fan: how soon? fan soon."]),
        ("rattles=yes", "stop", ["fan: fan meaning. Do not drive on now.", "Stop in a safe place"]),
        ("rattles=no", "ok", ["fan: fan meaning. It does not stop you from driving.", "it rests"]),
    ],
)
def test_an_answer_replaces_urgency_and_steps(answer: str, urgency: str, lines: list[str]) -> None:
    """What an entry says about driving is not repeated once an answer has changed its urgency."""
    judged = verdict("amber fan", answers=answer, of=small())
    assert judged.level == urgency
    assert len(judged.advice) == len(lines) + 1
    assert all(line.startswith(start) for line, start in zip(english(judged)[1:], lines, strict=True))
    assert [question.id for question in judged.questions] == ([] if answer else ["rattles"])


def test_red_stays_first_when_an_answer_says_ok() -> None:
    judged = verdict("red fan", answers="rattles=no", of=small())
    assert judged.level == "first"
    assert "taken" not in " ".join(english(judged))
    assert judged.reasons[0].if_stays is not None


def test_white_may_be_red_washed_out_but_green_is_not() -> None:
    assert verdict("white oil", of=small()).level == "stop"
    assert verdict("amber oil", of=small()).level == "stop"
    assert verdict("green oil", of=small()).level == "unsure"
    assert verdict("green oil, red door", of=small()).level == "first"
    # a calm lamp in a wrong colour is not spoken of as calm
    judged = verdict("amber beam", of=small())
    assert (judged.level, judged.reasons) == ("unsure", ())
    assert not any("beam meaning" in line for line in english(judged))


@pytest.mark.parametrize("seen", ["red beam", "red torch"])
def test_unknown_red_counts_as_the_catalogues_unknown_red_lamp(seen: str) -> None:
    judged = verdict(seen, of=small())
    assert judged.level == "soon"
    assert judged.problems == ("low_confidence",)
    assert any("but lit red: unknown red meaning" in line for line in english(judged))
    assert any("colour and symbol do not match" in line for line in english(judged))


def test_doubts_are_said_beside_a_level() -> None:
    judged = verdict("red door", "red oil, blue beam", of=small())
    assert judged.level == "first"
    assert judged.problems == ("low_confidence",)
    assert english(judged)[-2].startswith("oil may be lit as well")
    assert "must not be driven" in english(judged)[-1]


def test_doubts_come_first_when_unsure() -> None:
    judged = verdict("blue beam", "red oil", "blurred", of=small())
    assert english(judged)[1] == PROBLEM_TEXTS["blurred"].en
    assert english(judged)[2].startswith("oil may be lit as well")
    assert judged.problems == ("blurred", "low_confidence")


def test_nothing_found_is_no_all_clear() -> None:
    judged = verdict("", "", "no_cluster", of=small())
    assert judged.problems == ("no_cluster", "nothing_found")
    assert set(judged.advice) == {HEADLINES["unsure"], PROBLEM_TEXTS["no_cluster"], PROBLEM_TEXTS["nothing_found"]}


def test_one_reason_for_the_same_lamp_twice() -> None:
    assert len(verdict("green oil, blue beam, blue beam", of=small()).reasons) == 1


CHECK = {"lights": ["oil", "fan"], "any_of": ["torch"], "question": "running", "replaces": True}


@pytest.mark.parametrize(
    ("more", "seen", "answers", "level", "rules"),
    [
        ({"lights": ["oil", "fan"]}, "red oil, amber fan", "", "stop", ["r"]),
        ({"lights": ["oil", "fan"]}, "amber fan", "", "soon", []),
        ({"lights": ["fan"], "colors": {"fan": "red"}}, "amber fan", "", "soon", []),
        ({"lights": ["fan"], "colors": {"fan": "red"}}, "red fan", "", "stop", ["r"]),
        ({"lights": ["fan"], "colors": {"fan": "amber"}}, "- fan", "", "stop", ["r"]),
        ({"any_of": ["fan", "door", "beam"], "at_least": 2}, "amber fan, red fan", "", "soon", []),
        ({"any_of": ["fan", "door", "beam"], "at_least": 2}, "amber fan, red door", "", "stop", ["r"]),
        ({"any_of": ["*"], "at_least": 3}, "blue beam, amber fan", "", "soon", []),
        ({"any_of": ["*"], "at_least": 3}, "blue beam, amber fan, white torch", "", "stop", ["r"]),
        (CHECK, "red oil, amber fan", "", "stop", ["r"]),
        (CHECK, "red oil, amber fan", "running=yes", "stop", ["r"]),
        (CHECK, "red oil, amber fan", "running=no", "first", ["r"]),
        (CHECK, "red oil, amber fan", "running=no, rattles=yes", "first", ["r"]),
        (CHECK, "red oil, amber fan, red other", "running=no", "soon", ["r"]),
        (CHECK, "red oil", "running=no", "stop", []),
        ({**CHECK, "replaces": False}, "red oil, amber fan", "running=no", "stop", ["r"]),
        # "*" names no lamp, so it explains none away
        ({**CHECK, "lights": [], "any_of": ["*"], "at_least": 2}, "red oil, amber fan", "running=no", "stop", ["r"]),
    ],
)
def test_rules(more: dict[str, object], seen: str, answers: str, level: str, rules: list[str]) -> None:
    judged = verdict(seen, answers=answers, of=small(rule("r", **more)))
    assert judged.level == level
    assert [reason.id for reason in judged.reasons if reason.kind == "rule"] == rules


def test_a_rule_stands_before_its_lamps_and_speaks_for_them() -> None:
    judged = verdict("red oil, amber fan, red door", of=small(rule("r", lights=["oil", "fan"])))
    assert [reason.id for reason in judged.reasons] == ["r", "oil", "fan", "door"]
    assert english(judged)[1:] == ["r: r meaning. r drive.", "r now", "door: door drive."]
    assert [question.id for question in judged.questions] == ["rattles"]


def test_an_explained_lamp_is_not_asked_about_and_starts_no_other_rule() -> None:
    both = small(rule("r", **CHECK), rule("s", lights=["oil", "fan"]))
    assert [reason.id for reason in verdict("red oil, amber fan", of=both).reasons] == ["r", "s", "oil", "fan"]
    judged = verdict("red oil, amber fan", answers="running=no", of=both)
    assert [(reason.id, reason.urgency) for reason in judged.reasons] == [
        ("r", "first"), ("fan", "first"), ("oil", "first"),
    ]  # fmt: skip
    assert english(judged)[1:3] == ["r: r meaning. Do this first, then drive off.", "start it"]
    assert judged.questions == ()


def test_an_explained_lamp_makes_no_other_rule_hold() -> None:
    rules = small(rule("r", **CHECK), rule("s", lights=["oil", "door"]))
    assert [reason.id for reason in verdict("red oil, amber fan, red door", of=rules).reasons][:2] == ["r", "s"]
    judged = verdict("red oil, amber fan, red door", answers="running=no", of=rules)
    assert (judged.level, [reason.id for reason in judged.reasons if reason.kind == "rule"]) == ("first", ["r"])


def test_first_steps_are_said_even_below_something_worse() -> None:
    judged = verdict("red oil, amber fan, red other", answers="running=no", of=small(rule("r", **CHECK)))
    assert english(judged)[-1] == "r: Do this first, then drive off. start it."


@pytest.mark.parametrize(
    ("answers", "named", "offered"), [("weather=rain", "weather", "rattles"), ("rattles=perhaps", "perhaps", "unknown")]
)
def test_unknown_answers_are_refused(answers: str, named: str, offered: str) -> None:
    with pytest.raises(AnswerError) as caught:
        verdict("amber fan", answers=answers, of=small())
    for words in (caught.value.text.zh, caught.value.text.en):
        assert named in words
        assert offered in words
