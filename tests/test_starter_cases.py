"""The starter cases: well formed, in both languages, and enough of them for every lamp that means a fault."""

from __future__ import annotations

import json
import re
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from knowledge.case import BILINGUAL, STARTER, read_case
from knowledge.text import Text

FILE = Path(__file__).parents[1] / "knowledge" / "starter_cases.jsonl"
FIELDS = {
    "case_id", "brand", "series", "model_year", "mileage_km", "symptom", "lights", "codes",
    "diagnosis", "fix", "parts", "outcome", "source",
}  # fmt: skip
FAULT_LAMPS = """
    check_engine oil_pressure oil_level coolant_temp coolant_level battery_charge brake_system parking_brake brake_wear
    auto_hold abs airbag seat_belt power_steering stability_control tpms transmission immobilizer master_warning
    glow_plug dpf adblue bulb_failure service ev_fault low_fuel washer_fluid door_open hood_open trunk_open
    collision_warning lane_departure awd start_stop cruise_control hazard
""".split()
OTHER_LAMPS = """
    airbag_off stability_off high_beam low_beam front_fog rear_fog position_lights turn_signal eco ready frost other
""".split()
CODE = re.compile(r"[PCBU][0-3][0-9A-F]{3}")  # SAE J2012: system letter, then 0-3, then three hexadecimal digits
HAN = re.compile(r"[\u4e00-\u9fff]")

Row = dict[str, Any]


@pytest.fixture(scope="module")
def rows() -> list[Row]:
    return [json.loads(line) for line in FILE.read_text(encoding="utf-8").splitlines()]


def test_at_least_300_rows_with_unique_ids(rows: list[Row]) -> None:
    ids = [row["case_id"] for row in rows]
    assert len(rows) >= 300
    assert len(set(ids)) == len(ids)
    assert all(re.fullmatch(r"S-\d{4}", case_id) for case_id in ids)


def test_every_row_has_the_same_fields_and_types(rows: list[Row]) -> None:
    for row in rows:
        assert set(row) == FIELDS, row["case_id"]
        assert row["source"] == STARTER, row["case_id"]
        assert isinstance(row["brand"], str), row["case_id"]
        assert isinstance(row["series"], str), row["case_id"]
        assert row["model_year"] is None or 1980 <= row["model_year"] <= 2100, row["case_id"]
        assert row["mileage_km"] is None or 0 < row["mileage_km"] < 1_000_000, row["case_id"]


def test_every_row_becomes_a_bilingual_case(rows: list[Row]) -> None:
    for row in rows:
        case = read_case(row)
        for field in FIELDS & set(BILINGUAL):
            assert isinstance(getattr(case, field), Text), (row["case_id"], field)


def test_chinese_is_chinese_and_english_is_english(rows: list[Row]) -> None:
    for row in rows:
        for field in FIELDS & set(BILINGUAL):
            zh, en = row[field]["zh"], row[field]["en"]
            assert HAN.search(zh), (row["case_id"], field)
            assert not HAN.search(en), (row["case_id"], field)
            assert re.search(r"[A-Za-z]", en), (row["case_id"], field)
            assert "\ufffd" not in zh + en, (row["case_id"], field)


def test_lamps_and_codes_are_known(rows: list[Row]) -> None:
    lamps = set(FAULT_LAMPS) | set(OTHER_LAMPS)
    for row in rows:
        assert set(row["lights"]) <= lamps, row["case_id"]
        assert len(set(row["lights"])) == len(row["lights"]), row["case_id"]
        assert len(set(row["codes"])) == len(row["codes"]), row["case_id"]
        assert all(CODE.fullmatch(code) for code in row["codes"]), row["case_id"]


def test_codes_in_the_text_stand_in_the_code_list(rows: list[Row]) -> None:
    """A code that the diagnosis finds must be findable by the code search too."""
    for row in rows:
        written = {code for lang in ("zh", "en") for code in CODE.findall(row["diagnosis"][lang])}
        spared = {"P0016", "P0302"}  # named only as absent, or as what the fault became after a swap
        assert written - spared <= set(row["codes"]), row["case_id"]


def test_every_fault_lamp_is_in_at_least_two_cases(rows: list[Row]) -> None:
    count = Counter(lamp for row in rows for lamp in row["lights"])
    assert [lamp for lamp in FAULT_LAMPS if count[lamp] < 2] == []


@pytest.mark.parametrize("lang", ["zh", "en"])
def test_no_symptom_or_fix_stands_twice(rows: list[Row], lang: str) -> None:
    for field in ("symptom", "diagnosis", "fix"):
        twice = [text for text, n in Counter(row[field][lang] for row in rows).items() if n > 1]
        assert twice == [], field
