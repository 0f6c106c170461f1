"""The shipped catalogue keeps its promises, and broken data files are refused with the place named."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from pydantic import BaseModel

from knowledge.catalogue import LIGHT_IDS, Catalogue, load_catalogue, read_catalogue
from knowledge.datafile import CatalogueError
from knowledge.text import Text
from knowledge.verdict import Finding, judge

SHIPPED = load_catalogue()
CHINESE = re.compile(r"[一-鿿]")


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
            yield from texts(value, f"{where}.{index}")


def test_every_light_is_there_in_order() -> None:
    assert tuple(SHIPPED.lights)[: len(LIGHT_IDS)] == LIGHT_IDS
    assert all(key == light.id for key, light in SHIPPED.lights.items())


def test_ids_are_those_of_the_contract(shared: Path) -> None:
    page = (shared / "docs" / "light-classes.md").read_text(encoding="utf-8")
    assert tuple(re.findall(r"^([a-z_]+):", page, flags=re.MULTILINE)) == LIGHT_IDS


@pytest.mark.parametrize("key", LIGHT_IDS)
def test_red_is_never_ok(key: str) -> None:
    light = SHIPPED.lights[key]
    assert "red" not in light.meanings or light.meanings["red"].urgency != "ok"
    usual = light.meaning(light.usual_color)
    assert light.usual_color != "red" or usual.urgency != "ok"


def test_all_texts_are_in_both_languages() -> None:
    everything = list(texts(SHIPPED))
    assert len(everything) > 1000
    assert [where for where, text in everything if not CHINESE.search(text.zh)] == []
    assert [where for where, text in everything if CHINESE.search(text.en)] == []
    assert [where for where, text in everything if text.zh == text.en] == []


def test_every_question_is_asked_by_something() -> None:
    asked = {
        key for light in SHIPPED.lights.values() for meaning in light.meanings.values() for key in meaning.questions
    }
    asked |= {rule.question for rule in SHIPPED.rules if rule.question}
    assert asked == set(SHIPPED.questions)


# One row a rule: the lamps that make it hold.
RULES = {
    "bulb_check": "red oil_pressure, red battery_charge, amber check_engine",
    "many_lamps": "amber check_engine, amber tpms, amber glow_plug, red airbag, amber bulb_failure, amber adblue",
    "belt": "red battery_charge, red coolant_temp",
    "steering_voltage": "red battery_charge, amber power_steering",
    "brake_force": "red brake_system, amber abs",
    "brake_worn_out": "red brake_system, amber brake_wear",
    "coolant_lost": "amber coolant_level, red coolant_temp",
    "coolant_going": "amber coolant_level, amber coolant_temp",
    "oil_gone": "red oil_pressure, amber oil_level",
    "ev_low_voltage": "amber ev_fault, red battery_charge",
    "wheel_speed": "amber abs, amber stability_control",
    "tyres_and_abs": "amber abs, amber tpms",
    "engine_stops_stability": "amber check_engine, amber stability_control",
    "gearbox_limp": "amber check_engine, amber transmission",
    "under_seat_plug": "red airbag, red seat_belt",
}


def holding(lamps: str) -> tuple[list[str], str]:
    """The rules that hold for these lamps, and the level."""
    pairs = [pair.split() for pair in lamps.split(",")]
    judged = judge([Finding(label, color, 0.9) for color, label in pairs], [], [], SHIPPED)  # type: ignore[arg-type]
    return [reason.id for reason in judged.reasons if reason.kind == "rule"], judged.level


def test_every_rule_has_its_row() -> None:
    assert set(RULES) == {rule.id for rule in SHIPPED.rules}
    assert len(RULES) >= 8


@pytest.mark.parametrize("key", RULES)
def test_rule_holds_for_its_lamps_and_not_for_fewer(key: str) -> None:
    rule = next(rule for rule in SHIPPED.rules if rule.id == key)
    hit, level = holding(RULES[key])
    assert hit == [key]
    assert level == rule.urgency or level == "stop"
    one_less = RULES[key].rsplit(", ", 1)[0]
    assert key not in holding(one_less)[0]


# --- broken files ---------------------------------------------------------------------------------------------------

DOOR = """
door_open:
  name: {zh: 车门, en: Door}
  looks: {zh: 车, en: A car}
  usual_color: red
  meanings:
    red:
      meaning: {zh: 车门没关, en: A door is open}
      urgency: first
      drive: {zh: 先关门, en: Close it first}
      now: [{zh: 关门, en: Close it}]
      if_stays: {zh: 开关坏了, en: The switch is faulty}
"""


RULES_FILE = """
questions:
  engine_running:
    text: {zh: 发动机在转吗, en: Is the engine running}
    answers:
      "yes": {text: {zh: 在转, en: "Yes"}}
      "no": {text: {zh: 没转, en: "No"}, urgency: first}
    assumed: "yes"
rules:
  belt:
    name: {zh: 皮带, en: Belt}
    lights: [battery_charge, coolant_temp]
    meaning: {zh: 皮带断了, en: The belt is gone}
    urgency: stop
    drive: {zh: 不能开, en: Do not drive}
    now: [{zh: 熄火, en: Switch off}]
    question: engine_running
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Small data files that are whole, with the door in a file of its own, ready to be broken."""
    (tmp_path / "lights").mkdir()
    others = "".join(DOOR.replace("door_open", key) for key in LIGHT_IDS if key != "door_open")
    (tmp_path / "lights" / "all.yaml").write_text(others, encoding="utf-8")
    (tmp_path / "lights" / "doors.yaml").write_text(DOOR, encoding="utf-8")
    (tmp_path / "rules.yaml").write_text(RULES_FILE, encoding="utf-8")
    return tmp_path


def test_whole_files_are_read(folder: Path) -> None:
    catalogue = read_catalogue(folder)
    assert isinstance(catalogue, Catalogue)
    assert tuple(catalogue.lights) == LIGHT_IDS
    assert catalogue.rules[0].question == "engine_running"


@pytest.mark.parametrize(
    ("old", "new", "named"),
    [
        ("{zh: 先关门, en: Close it first}", "{en: Close it first}", ["doors.yaml", "door_open", "drive.zh"]),
        ("{zh: 先关门, en: Close it first}", "{zh: 先关门, en: ''}", ["doors.yaml", "door_open", "drive.en"]),
        ("urgency: first", "urgency: first\n      mood: calm", ["doors.yaml", "door_open", "mood"]),
        ("urgency: first", "urgency: later", ["doors.yaml", "door_open", "urgency"]),
        ("urgency: first", "urgency: ok", ["doors.yaml", "door_open"]),
        ("urgency: first", "urgency: soon", ["doors.yaml", "door_open", "within"]),
        ("    red:", "    purple:", ["doors.yaml", "door_open", "purple"]),
        ("usual_color: red", "", ["doors.yaml", "door_open", "usual_color"]),
        ("urgency: first", "urgency: first\n      questions: [who]", ["door_open", "who"]),
        ("door_open:", "airbag:", ["airbag", "doors.yaml"]),
        ("door_open:", "door_ajar:", ["door_open"]),
        ("{zh: 车门, en: Door}", '{zh: "车门, en: Door}', ["doors.yaml"]),
        (DOOR, "door_open: [", ["doors.yaml"]),
        (DOOR, "- door_open", ["doors.yaml"]),
        (DOOR, "door_open: open", ["doors.yaml", "door_open"]),
    ],
)
def test_broken_light_is_refused_with_its_place(folder: Path, old: str, new: str, named: list[str]) -> None:
    path = folder / "lights" / "doors.yaml"
    assert old in DOOR
    path.write_text(DOOR.replace(old, new, 1), encoding="utf-8")
    refused(folder, named)


@pytest.mark.parametrize(
    ("part", "key", "change", "named"),
    [
        ("rules", "belt", {"lights": ["battery_charge", "belt"]}, ["belt", "rule"]),
        ("rules", "belt", {"question": "who"}, ["belt", "who"]),
        ("rules", "belt", {"name": {"zh": "皮带"}}, ["rules.yaml", "belt", "name.en"]),
        ("rules", "belt", {"mood": "calm"}, ["rules.yaml", "belt", "mood"]),
        ("rules", "belt", {"lights": []}, ["rules.yaml", "belt"]),
        ("questions", "engine_running", {"assumed": "perhaps"}, ["rules.yaml", "engine_running", "perhaps"]),
        ("questions", "engine_running", {"answers": {}}, ["rules.yaml", "engine_running", "answers"]),
    ],
)
def test_broken_rule_is_refused_with_its_place(
    folder: Path, part: str, key: str, change: dict, named: list[str]
) -> None:
    path = folder / "rules.yaml"
    content = yaml.safe_load(path.read_text(encoding="utf-8"))
    content[part][key].update(change)
    path.write_text(yaml.safe_dump(content, allow_unicode=True), encoding="utf-8")
    refused(folder, named)


@pytest.mark.parametrize("content", ["rules: [", "- rules", ""])
def test_unreadable_rules_are_refused(folder: Path, content: str) -> None:
    (folder / "rules.yaml").write_text(content, encoding="utf-8")
    refused(folder, ["rules.yaml"])


def test_missing_rules_are_refused(folder: Path) -> None:
    (folder / "rules.yaml").unlink()
    refused(folder, ["rules.yaml"])


def refused(folder: Path, named: list[str]) -> None:
    with pytest.raises(CatalogueError) as caught:
        read_catalogue(folder)
    message = caught.value.text
    assert CHINESE.search(message.zh)
    for part in named:
        assert part in message.zh or part == "rule"
        assert part in message.en
