"""The catalogue of warning lights and the rules for lamps that mean more together, read from YAML.

``knowledge/lights/*.yaml`` and ``knowledge/rules.yaml`` are written for a mechanic's eyes and hands; the models below
are their schema. Every text exists in Chinese and English. Whatever breaks the schema is refused with the file, the
entry and the field named.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from pathlib import Path
from typing import Literal, get_args

from pydantic import Field, model_validator

from knowledge.datafile import CatalogueError, Entry, parse, read_mapping
from knowledge.text import Text
from vision.detections import COLORS, Color

Urgency = Literal["stop", "soon", "first", "ok"]
URGENCIES: tuple[Urgency, ...] = get_args(Urgency)  # worst first
FOLDER = Path(__file__).parent

# The ids are a contract with whoever measures or reads our output; their order is the order of the model's classes.
LIGHT_IDS: tuple[str, ...] = tuple(
    """check_engine oil_pressure oil_level coolant_temp coolant_level battery_charge brake_system parking_brake
    brake_wear auto_hold abs airbag airbag_off seat_belt power_steering stability_control stability_off tpms
    transmission immobilizer master_warning glow_plug dpf adblue bulb_failure service ev_fault low_fuel washer_fluid
    door_open hood_open trunk_open collision_warning lane_departure awd start_stop high_beam low_beam front_fog
    rear_fog position_lights turn_signal hazard cruise_control eco ready frost other""".split()
)


class Meaning(Entry):
    """What a lamp means in one colour.

    ``drive`` answers "may I drive?" in one sentence; ``now`` are the steps to take, in order; ``within`` says how soon
    (needed where urgency is "soon"); ``if_stays`` what it means if the lamp stays on (needed where it is "first").
    """

    meaning: Text
    urgency: Urgency
    drive: Text
    now: tuple[Text, ...] = Field(min_length=1)
    causes: tuple[Text, ...] = ()
    checks: tuple[Text, ...] = ()
    questions: tuple[str, ...] = ()
    within: Text | None = None
    if_stays: Text | None = None

    @model_validator(mode="after")
    def _complete(self) -> Meaning:
        if self.urgency == "soon" and self.within is None:
            raise ValueError("urgency 'soon' needs 'within': how soon")
        if self.urgency == "first" and self.if_stays is None:
            raise ValueError("urgency 'first' needs 'if_stays': what it means if the lamp stays on")
        return self


class Light(Entry):
    """One tell-tale: ``meanings`` by colour, with "any" for colours that have no entry of their own."""

    id: str
    name: Text
    looks: Text
    usual_color: Color
    meanings: Mapping[Color | Literal["any"], Meaning] = Field(min_length=1)

    @model_validator(mode="after")
    def _red_is_never_ok(self) -> Light:
        if "red" in self.meanings and self.meanings["red"].urgency == "ok":
            raise ValueError("a red lamp is never 'ok'")
        return self

    def meaning(self, color: Color | None) -> Meaning:
        """The entry of a colour, else "any", else the worst there is."""
        if color is not None and color in self.meanings:
            return self.meanings[color]
        if "any" in self.meanings:
            return self.meanings["any"]
        return min(self.meanings.values(), key=lambda m: URGENCIES.index(m.urgency))


class Answer(Entry):
    """One answer to a question. ``urgency`` replaces that of the lamp or rule that asked; ``then`` are steps."""

    text: Text
    urgency: Urgency | None = None
    then: tuple[Text, ...] = ()


class Question(Entry):
    """What a photo cannot show. ``assumed`` is the answer taken while nobody answers: always a safe one."""

    id: str
    text: Text
    answers: Mapping[str, Answer] = Field(min_length=2)
    assumed: str

    @model_validator(mode="after")
    def _assumed_exists(self) -> Question:
        if self.assumed not in self.answers:
            raise ValueError(f"'assumed' must be one of {sorted(self.answers)}, got {self.assumed!r}")
        return self

    @property
    def choices(self) -> dict[str, Text]:
        """The answers as people read them."""
        return {key: answer.text for key, answer in self.answers.items()}


class Rule(Entry):
    """Lamps that mean more together.

    It holds when all of ``lights`` are lit and at least ``at_least`` of ``any_of`` ("*" there: any lamps at all).
    ``colors`` narrows a lamp to one colour. With ``replaces``, its advice stands instead of that of its lamps where a
    question's answer lowers the urgency (the bulb check).
    """

    id: str
    name: Text
    lights: tuple[str, ...] = ()
    any_of: tuple[str, ...] = ()
    at_least: int = 0
    colors: Mapping[str, Color] = Field(default_factory=dict)
    meaning: Text
    urgency: Urgency
    drive: Text
    now: tuple[Text, ...] = Field(min_length=1)
    question: str | None = None
    replaces: bool = False
    within: Text | None = None

    @model_validator(mode="after")
    def _says_when(self) -> Rule:
        if not self.lights and not (self.any_of and self.at_least):
            raise ValueError("a rule needs 'lights', or 'any_of' with 'at_least'")
        if self.urgency == "soon" and self.within is None:
            raise ValueError("urgency 'soon' needs 'within': how soon")
        return self


class Catalogue(Entry):
    """All lights in the order of LIGHT_IDS, the rules in file order, and the questions by id."""

    lights: Mapping[str, Light]
    rules: tuple[Rule, ...]
    questions: Mapping[str, Question]

    @model_validator(mode="after")
    def _names_exist(self) -> Catalogue:
        for light in self.lights.values():
            for color, meaning in light.meanings.items():
                if unknown := set(meaning.questions) - set(self.questions):
                    raise ValueError(f"light {light.id} ({color}) asks unknown questions {sorted(unknown)}")
        for rule in self.rules:
            named = {*rule.lights, *rule.any_of, *rule.colors} - {"*"}
            if unknown := named - set(self.lights):
                raise ValueError(f"rule {rule.id} names unknown lights {sorted(unknown)}")
            if rule.question is not None and rule.question not in self.questions:
                raise ValueError(f"rule {rule.id} asks the unknown question {rule.question!r}")
        return self


def read_catalogue(folder: Path) -> Catalogue:
    """Read ``lights/*.yaml`` and ``rules.yaml`` in ``folder``.

    Raises:
        CatalogueError: naming the first file, entry and field that breaks the schema.
    """
    lights: dict[str, Light] = {}
    for path in sorted((folder / "lights").glob("*.yaml")):
        for key, entry in read_mapping(path).items():
            if key in lights:
                raise CatalogueError(
                    zh=f"{path.name} 里的 {key} 重复了, 请删掉一个。",
                    en=f"{path.name}: {key} stands twice: remove one.",
                )
            content = {"id": key, **entry} if isinstance(entry, dict) else entry
            lights[key] = parse(Light, content, f"{path.name} {key}")
    if missing := [i for i in LIGHT_IDS if i not in lights]:
        raise CatalogueError(
            zh=f"目录里缺少这些灯: {', '.join(missing)}。",
            en=f"The catalogue lacks these lights: {', '.join(missing)}.",
        )
    rules = read_mapping(folder / "rules.yaml")
    questions = {
        key: parse(Question, {"id": key, **entry}, f"rules.yaml {key}")
        for key, entry in (rules.get("questions") or {}).items()
    }
    listed = tuple(
        parse(Rule, {"id": key, **entry}, f"rules.yaml {key}") for key, entry in (rules.get("rules") or {}).items()
    )
    # New lamps that a shop adds come after the fixed ones.
    ordered = {i: lights[i] for i in (*LIGHT_IDS, *sorted(set(lights) - set(LIGHT_IDS)))}
    whole: Catalogue = parse(Catalogue, {"lights": ordered, "rules": listed, "questions": questions}, "catalogue")
    return whole


@functools.cache
def load_catalogue() -> Catalogue:
    """The catalogue that yangche ships, read once."""
    return read_catalogue(FOLDER)


__all__ = [
    "COLORS", "FOLDER", "LIGHT_IDS", "URGENCIES", "Answer", "Catalogue", "CatalogueError", "Light", "Meaning",
    "Question", "Rule", "Urgency", "load_catalogue", "read_catalogue",
]  # fmt: skip
