"""Accident playbooks: the table of situations on the shipped data, the safety as properties, the sources looked up."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel

from knowledge.playbook import (
    FOLDER,
    LABELS,
    LEVELS,
    SEVERITIES,
    UNKNOWN,
    PlaybookError,
    Scene,
    SceneAdvice,
    advise,
    article_name,
    load_playbook,
    read_playbook,
    regions,
)
from knowledge.text import Text
from knowledge.verdict import AnswerError

CHINA = load_playbook()
BOOKS = {region: load_playbook(region) for region in regions()}
CHINESE = re.compile(r"[一-鿿]")
APP = "交管12123"  # a name that English texts keep
TABLE = yaml.safe_load((Path(__file__).parent / "situations.yaml").read_text(encoding="utf-8"))
SITUATIONS: list[dict[str, Any]] = TABLE["situations"]
CALM: dict[str, str] = TABLE["calm"]


def advice_for(situation: dict[str, Any]) -> SceneAdvice:
    scene = Scene(frozenset(situation.get("seen", [])), situation.get("severity"))
    return advise(scene, situation.get("answers", {}), BOOKS[situation.get("region", "china")])


def ids(lines: Any) -> list[str]:
    return [line.id for line in lines]


def said(advice: SceneAdvice, lang: str = "zh") -> str:
    return "\n".join(step.text.in_(lang) for step in advice.steps)


# --- the table ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("situation", SITUATIONS, ids=lambda situation: situation["name"])
def test_situation(situation: dict[str, Any]) -> None:
    advice = advice_for(situation)
    steps = ids(advice.steps)
    assert steps[:3] == situation["first"]
    assert advice.urgency == situation["urgency"]
    assert [step for step in situation.get("later", []) if step not in steps] == []
    assert [step for step in situation.get("not", []) if step in steps] == []


def test_table_is_long_enough_and_reaches_everything() -> None:
    assert len(SITUATIONS) >= 45
    assert len({situation["name"] for situation in SITUATIONS}) == len(SITUATIONS)
    assert {situation["urgency"] for situation in SITUATIONS} == set(LEVELS)
    chinese = [situation for situation in SITUATIONS if situation.get("region", "china") == "china"]
    assert len(chinese) >= 45
    reached = {step for situation in chinese for step in ids(advice_for(situation).steps)}
    assert reached == set(ids(CHINA.steps))
    known = {step for book in BOOKS.values() for step in ids(book.steps)}
    assert {step for row in SITUATIONS for part in ("first", "later", "not") for step in row.get(part, [])} <= known


def test_calm_answers_are_complete() -> None:
    assert set(CALM) == set(CHINA.questions)
    assert advise(Scene(frozenset({"scratch"}), "minor"), CALM, CHINA).questions == ()


# --- properties -----------------------------------------------------------------------------------------------------

scenes = st.builds(
    Scene, st.frozensets(st.sampled_from(LABELS), max_size=4), st.sampled_from([None, *SEVERITIES])
)  # fmt: skip
region_names = st.sampled_from(sorted(BOOKS))


@st.composite
def cases(draw: st.DrawFn) -> tuple[str, Scene, dict[str, str]]:
    """A region, a scene, and answers: mostly the calm ones, some others, some missing."""
    region = draw(region_names)
    answers = {}
    for key, question in BOOKS[region].questions.items():
        kind = draw(st.sampled_from(["calm", "calm", "any", "none"]))
        if kind != "none":
            answers[key] = CALM[key] if kind == "calm" else draw(st.sampled_from(sorted(question.answers)))
    return region, draw(scenes), answers


def permitted(advice: SceneAdvice) -> set[str]:
    return {step.id for step in advice.steps if step.permits}


def demanded(advice: SceneAdvice) -> set[str]:
    return {step.id for step in advice.steps if not step.permits}


def covered(advice: SceneAdvice) -> set[str]:
    return demanded(advice) | {other for step in advice.steps for other in step.covers}


@settings(max_examples=400, deadline=None)
@given(cases())
def test_no_answer_is_never_milder_than_any_answer(case) -> None:
    region, scene, answers = case
    silent = advise(scene, answers, BOOKS[region])
    for question in BOOKS[region].questions.values():
        if silent.facts[question.id] != UNKNOWN or question.id in answers:
            continue
        for answer in question.answers:
            spoken = advise(scene, {**answers, question.id: answer}, BOOKS[region])
            assert LEVELS.index(silent.urgency) <= LEVELS.index(spoken.urgency), (question.id, answer)
            assert demanded(spoken) <= covered(silent), (question.id, answer)
            assert permitted(silent) <= permitted(spoken), (question.id, answer)
            assert set(ids(spoken.never)) <= set(ids(silent.never)), (question.id, answer)
            assert set(ids(spoken.photograph)) <= {*ids(silent.photograph), "own_plate"}, (question.id, answer)


@settings(max_examples=200, deadline=None)
@given(cases(), st.sampled_from(["hurt", "trapped", None]))
def test_hurt_or_unknown_calls_for_help_and_never_settles(case, hurt) -> None:
    _, scene, answers = case
    answers.pop("hurt", None)
    answers.pop("trouble", None)
    advice = advise(scene, {**answers, **({"hurt": hurt} if hurt else {})}, CHINA)
    assert advice.urgency == "stop"
    assert permitted(advice) == set()
    assert {"call_ambulance", "check_people"} & demanded(advice)
    assert {"call_police", "keep_scene"} <= demanded(advice)
    assert {"settle", "move_injured", "leave"} <= set(ids(advice.never))
    for lang in ("zh", "en"):
        assert "120" in said(advice, lang)
        assert "122" in said(advice, lang)
        assert hurt != "trapped" or "119" in said(advice, lang)
    # Before help is called come only leaving the fire, its call, and leaving the motorway.
    before = ids(advice.steps)[: min(ids(advice.steps).index(i) for i in ids(advice.steps) if "120" in said_of(i))]
    out = {"fire_out", "call_fire", "fire_distance", "fire_distance_electric", "behind_barrier", "off_road"}
    assert set(before) <= out


def said_of(step_id: str) -> str:
    return next(step.text.zh for step in CHINA.steps if step.id == step_id)


@settings(max_examples=200, deadline=None)
@given(cases(), st.sampled_from(["yes", "no", None]), st.booleans())
def test_fire_people_first(case, electric, answered) -> None:
    region, scene, answers = case
    answers = {key: answer for key, answer in answers.items() if key not in ("burning", "electric")}
    if electric:
        answers["electric"] = electric
    if answered:
        answers["burning"] = "yes"
    else:
        scene = Scene(scene.labels | {"fire"}, scene.severity)
    advice = advise(scene, answers, BOOKS[region])
    distance = "fire_distance" if electric == "no" else "fire_distance_electric"
    assert ids(advice.steps)[:3] == ["fire_out", "call_fire", distance]
    assert advice.urgency == "stop"
    assert permitted(advice) == set()
    assert advice.photograph == ()
    assert not {"triangle_motorway", "triangle_unknown", "warn_road", "take_photos"} & demanded(advice)
    assert {"go_back", "start"} <= set(ids(advice.never))
    if region == "china":
        assert "119" in advice.steps[1].text.zh


@settings(max_examples=100, deadline=None)
@given(cases())
def test_fire_in_the_photo_is_never_explained_away(case) -> None:
    region, scene, answers = case
    burnt = Scene(scene.labels | {"fire"}, scene.severity)
    advice = advise(burnt, {**answers, "burning": "no"}, BOOKS[region])
    assert advice.facts["burning"] == UNKNOWN
    assert "burning" in ids(advice.questions)
    assert "fire_check" in demanded(advice)
    assert advice.urgency == "stop"
    assert permitted(advice) == set()


@settings(max_examples=200, deadline=None)
@given(cases(), st.sampled_from(["yes", None]))
def test_motorway_or_unknown_behind_the_barrier(case, motorway) -> None:
    region, scene, answers = case
    answers.pop("motorway", None)
    advice = advise(scene, {**answers, **({"motorway": motorway} if motorway else {})}, BOOKS[region])
    steps = ids(advice.steps)
    out = "behind_barrier" if motorway else "off_road"
    assert advice.urgency == "stop"
    assert {out, "call_police"} <= demanded(advice)
    assert steps.index(out) < steps.index("call_police")
    assert "护栏外" in said(advice)
    assert "stay_in_lane" in ids(advice.never)
    assert not {"clear_road", "settle_app", "agreement", "accident_form"} & permitted(advice)
    if advice.facts["burning"] != "yes":
        assert steps.index(out) < steps.index("triangle_motorway" if motorway else "triangle_unknown")
    if region == "china":
        assert "150 米" in said(advice)
        assert "150 m" in said(advice, "en")
        assert "122" in said(advice)


@settings(max_examples=100, deadline=None)
@given(cases())
def test_elsewhere_hazard_lights_and_triangle(case) -> None:
    region, scene, answers = case
    advice = advise(scene, {**answers, "motorway": "no"}, BOOKS[region])
    if advice.facts["burning"] == "yes":
        assert "warn_fire" in demanded(advice)
        return
    warn = next(step for step in advice.steps if step.id == "warn_road")
    assert "双闪" in warn.text.zh
    assert "triangle_motorway" not in ids(advice.steps)
    if region == "china":
        assert "50 到 100 米" in warn.text.zh
        assert "50 to 100 m" in warn.text.en


@settings(max_examples=200, deadline=None)
@given(
    cases(),
    st.sampled_from(
        [
            *(("trouble", a) for a in ("impaired", "no_licence", "no_plate", "on_purpose", "no_insurance", None)),
            *(("other", a) for a in ("left", "absent", "none", None)),
            ("public", "yes"), ("public", None), ("agree", "no"), ("agree", None), ("moves", "no"), ("moves", None),
            *((key, a) for key in ("fluid", "airbag", "wheel") for a in ("yes", None)),
        ]
    ),
)  # fmt: skip
def test_never_settle_privately(case, reason) -> None:
    region, scene, answers = case
    key, answer = reason
    answers.pop(key, None)
    if answer is not None:
        answers[key] = answer
    advice = advise(scene, answers, BOOKS[region])
    assert not {"settle_app", "agreement", "accident_form"} & permitted(advice)
    asked = advice.facts[key] != "unasked"
    if key in ("trouble", "public") or (key == "other" and answer != "none") or (key == "agree" and asked):
        assert "settle" in ids(advice.never)
    if key in ("fluid", "airbag", "wheel", "moves"):
        assert advice.urgency == "stop"
        assert {"tow", "tow_motorway"} & demanded(advice)
        assert "start" in ids(advice.never)
        assert not {"clear_road", "motorway_clear"} & permitted(advice)


@settings(max_examples=200, deadline=None)
@given(cases(), st.sampled_from(LABELS))
def test_seeing_more_is_never_milder(case, label) -> None:
    region, scene, answers = case
    more = Scene(scene.labels | {label}, scene.severity)
    before, after = (advise(seen, answers, BOOKS[region]) for seen in (scene, more))
    assert LEVELS.index(after.urgency) <= LEVELS.index(before.urgency)
    assert permitted(after) <= permitted(before)


@settings(max_examples=200, deadline=None)
@given(cases())
def test_worse_severity_is_never_milder(case) -> None:
    region, scene, answers = case
    levels = [advise(Scene(scene.labels, severity), answers, BOOKS[region]) for severity in SEVERITIES]
    ranks = [LEVELS.index(advice.urgency) for advice in levels]
    assert ranks == sorted(ranks, reverse=True)
    assert levels[-1].urgency == "stop"


@settings(max_examples=200, deadline=None)
@given(cases(), st.randoms(use_true_random=False))
def test_advice_is_pure_and_well_formed(case, random) -> None:
    region, scene, answers = case
    advice = advise(scene, answers, BOOKS[region])
    mixed = dict(random.sample(sorted(answers.items()), len(answers)))
    assert advise(scene, mixed, BOOKS[region]) == advice
    assert advice.headline == BOOKS[region].headlines[advice.urgency]
    assert 3 <= len(advice.steps) <= 25
    assert {"insurer", "see_doctor"} <= demanded(advice)
    assert not (permitted(advice) & {"clear_road", "motorway_clear"} and {"keep_scene", "tow"} & demanded(advice))
    assert not {"call_police", "report_police"} <= demanded(advice)
    assert all(advice.facts[question.id] != "unasked" for question in advice.questions)
    if advice.urgency == "ok":
        assert set(answers) >= {"hurt", "burning", "motorway", "other", "trouble", "public", "moves", "fluid"}


@pytest.mark.parametrize("region", sorted(BOOKS))
def test_without_any_answer_everything_is_asked(region: str) -> None:
    silent = advise(Scene(), {}, BOOKS[region])
    assert ids(silent.questions) == list(BOOKS[region].questions)
    assert set(silent.facts.values()) == {UNKNOWN}
    for key in ("moves", "fluid", "airbag", "wheel"):
        assert key not in ids(advise(Scene(frozenset({"fire"})), {}, BOOKS[region]).questions)


def test_every_answer_changes_the_facts_at_once() -> None:
    scene = Scene(frozenset({"scratch"}), "minor")
    answers: dict[str, str] = {}
    for key, answer in CALM.items():
        assert key in ids(advise(scene, answers).questions)
        answers[key] = answer
        assert key not in ids(advise(scene, answers).questions)
    assert advise(scene, answers).urgency == "first"


# --- words and sources ----------------------------------------------------------------------------------------------


def texts(of: object, where: str = "") -> Iterator[tuple[str, Text]]:
    """Every text below a model, with the place where it stands."""
    if isinstance(of, Text):
        yield where, of
    elif isinstance(of, BaseModel):
        for name in type(of).model_fields:
            yield from texts(getattr(of, name), f"{where}.{name}")
    elif isinstance(of, dict):
        for key, value in of.items():
            yield from texts(value, f"{where}.{key}")
    elif isinstance(of, tuple):
        for index, value in enumerate(of):
            yield from texts(value, f"{where}.{getattr(value, 'id', index)}")


@pytest.mark.parametrize("region", sorted(BOOKS))
def test_all_texts_are_in_both_languages(region: str) -> None:
    everything = list(texts(BOOKS[region]))
    assert len(everything) > 120
    assert [where for where, text in everything if not CHINESE.search(text.zh)] == []
    assert [where for where, text in everything if CHINESE.search(text.en.replace(APP, ""))] == []
    # The numbers that matter are the same in both languages.
    numbers = [
        (where, *(sorted(set(re.findall(r"\d+", text.in_(lang)))) for lang in ("zh", "en")))
        for where, text in everything
    ]
    assert [row for row in numbers if row[1] != row[2]] == []


@pytest.mark.parametrize("region", sorted(BOOKS))
def test_no_entry_is_written_twice(region: str) -> None:
    # YAML silently takes the last of two equal keys.
    section, seen = "", set()
    for line in (FOLDER / f"{region}.yaml").read_text(encoding="utf-8").splitlines():
        if top := re.match(r"([a-z]+):", line):
            section = top[1]
        elif key := re.match(r"  ([a-z_0-9]+):", line):
            assert (section, key[1]) not in seen
            seen.add((section, key[1]))


@pytest.mark.parametrize("region", sorted(BOOKS))
def test_every_source_is_used_and_can_be_said(region: str) -> None:
    book = BOOKS[region]
    lines = [*book.steps, *book.never]
    assert {key for line in lines for key in line.source} == set(book.sources)
    assert {source.law for source in book.sources.values()} - {None} == set(book.laws)
    for line in lines:
        basis = book.basis(line)
        assert 1 <= len(set(basis)) == len(basis) <= len(line.source)
        assert all(text.zh.startswith(("《", "惯例：")) for text in basis)


def test_international_cites_no_law() -> None:
    book = BOOKS["international"]
    assert not book.laws
    everything = " ".join(text.in_(lang) for _, text in texts(book) for lang in ("zh", "en"))
    assert not re.search(r"《|第.{1,4}条|\b(119|120|122|12123)\b", everything)
    assert "112" in everything
    assert "911" in everything


def articles(law: str) -> dict[str, str]:
    """Article name -> its text."""
    parts = re.split(r"^(第[零一二三四五六七八九十百]+条)[\s　]", law, flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


@pytest.mark.parametrize("key", [key for key, source in CHINA.sources.items() if source.law])
def test_every_cited_article_says_so(key: str, shared: Path) -> None:
    source = CHINA.sources[key]
    law = CHINA.laws[source.law or ""]
    text = (shared / "data" / "laws" / law.file).read_text(encoding="utf-8")
    assert law.dated in law.file
    assert law.name.zh in law.file
    assert source.words in articles(text)[article_name(source.article or 0)]
    assert key.startswith(f"{source.law}_{source.article}")


def test_48_hours_is_said_to_be_no_law() -> None:
    insurer = next(step for step in CHINA.steps if step.id == "insurer")
    assert "48" in insurer.text.zh
    assert any("48小时" in text.zh and "不是法律规定" in text.zh for text in CHINA.basis(insurer))


@pytest.mark.parametrize(
    ("number", "name"),
    [(5, "第五条"), (10, "第十条"), (13, "第十三条"), (20, "第二十条"), (70, "第七十条"), (86, "第八十六条"),
     (100, "第一百条"), (101, "第一百零一条"), (110, "第一百一十条"), (124, "第一百二十四条")],
)  # fmt: skip
def test_article_name(number: int, name: str) -> None:
    assert article_name(number) == name


# --- broken data and answers ----------------------------------------------------------------------------------------

STEP = "  - id: insurer\n"
BROKEN = [
    (STEP, STEP + "    colour: red\n", "insurer", "colour"),
    ("source: [ins_21, ctpli_27, p_48h]", "source: []", "insurer", "source"),
    ("source: [ins_21, ctpli_27, p_48h]", "source: [ins_99]", "china.yaml", "ins_99"),
    ("article: 21, words: \"不得", "article: 0, words: \"不得", "rtsl_21", "article"),
    ("{law: ins, article: 61,", "{law: inz, article: 61,", "ins_61", "inz"),
    ("{law: rtsl, article: 17,", "{article: 17,", "rtsl_17", "law"),
    ("agreement\n    when: {may_settle: true}", "agreement\n    when: {may_setle: true}", "agreement", "may_setle"),
    ("when: {hurt: [unknown]}", "when: {hurt: [unknwon]}", "check_people", "unknwon"),
    ("when: {hurt: [unknown]}", "when: {hurtt: [unknown]}", "check_people", "hurtt"),
    ("{motorway: [\"yes\"], can_move: true}", "{motorway: yes, can_move: true}", "motorway_clear", "quotes"),
    ("{motorway: [\"yes\"], can_move: true}", "{motorway: [yes], can_move: true}", "motorway_clear", "motorway"),
    ("covers: [no_insurance]", "covers: [no_insurence]", "check_papers", "no_insurence"),
    ("  - id: tow\n", "  - id: insurer\n", "steps", "insurer"),
    ("shown: {fire: \"yes\", smoke: \"yes\"}", "shown: {fire: \"yep\"}", "burning", "yep"),
    ("shown: {fire: \"yes\", smoke: \"yes\"}", "shown: {flames: \"yes\"}", "burning", "flames"),
    ("asks: {other: [present, unknown]}", "asks: {wheel: [\"no\"]}", "agree", "wheel"),
    ("urgency: unsure", "urgency: maybe", "photo_again", "urgency"),
    ("  unsure: {zh:", "  unsure_: {zh:", "china.yaml", "headlines"),
    (", en: \"Never chase a driver who fled.\"}", "}", "chase", "en"),
    ("steps:\n", "steps: [\n", "china.yaml", "line"),
    ("  can_move: {keep_cars", "  can_move: {may_settle", "can_move", "may_settle"),
]  # fmt: skip


@pytest.mark.parametrize(("old", "new", "entry", "field"), BROKEN)
def test_broken_data_is_refused_with_its_place(old: str, new: str, entry: str, field: str, tmp_path: Path) -> None:
    right = (FOLDER / "china.yaml").read_text(encoding="utf-8")
    assert old in right
    path = tmp_path / "china.yaml"
    path.write_text(right.replace(old, new, 1), encoding="utf-8")
    with pytest.raises(PlaybookError) as error:
        read_playbook(path)
    assert "china.yaml" in error.value.text.zh
    for part in (entry, field):
        assert part in error.value.text.en


def test_regions() -> None:
    assert regions() == ("china", "international")
    assert set(CHINA.questions) == set(BOOKS["international"].questions)
    with pytest.raises(PlaybookError, match="atlantis"):
        load_playbook("atlantis")


@pytest.mark.parametrize(("answers", "named"), [({"weather": "wet"}, "weather"), ({"hurt": "perhaps"}, "perhaps")])
def test_answers_that_nobody_offers_are_refused(answers: dict[str, str], named: str) -> None:
    with pytest.raises(AnswerError, match=named):
        advise(Scene(), answers, CHINA)
