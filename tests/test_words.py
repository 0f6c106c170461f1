"""What text means: lamp words, messages, mileage, and what is none of these."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from knowledge.catalogue import FOLDER, load_catalogue
from knowledge.datafile import CatalogueError
from knowledge.phrases import Phrase, same_word
from knowledge.words import lamp_word, light_named, load_words, merge, read_words, understand
from vision.detections import Detection, Detections
from vision.reading import TextLine

BOX = (100.0, 100.0, 160.0, 120.0)


def line(text: str, x: float = 100, y: float = 100, color=None, sure: float = 0.99, high: float = 20) -> TextLine:
    return TextLine(text, (x, y, x + 0.6 * high * len(text), y + high), sure, color)


def test_every_word_names_a_light_in_a_colour_that_the_catalogue_explains() -> None:
    lights = load_catalogue().lights
    words = load_words()
    assert {*words.lamps, *words.messages} <= set(lights)
    for light, lamp in words.lamps.items():
        for word in lamp.words:
            assert lamp_word(word) == (light, True)


@pytest.mark.parametrize(
    ("read", "meant", "same"),
    [
        ("8RAKE", "BRAKE", True), ("BRAKI", "BRAKE", True), ("BRAE", "BRAKE", True), ("EP5", "EPS", True),
        ("EPB", "EPS", False), ("A85", "ABS", False), ("485", "ABS", False), ("011", "OIL", False), ("TO", "TC", False),
        ("7C", "TC", False), ("RIGHT", "LIGHT", False), ("HO1D", "HOLD", True), ("HOOD", "HOLD", False),
        ("88888", "BRAKE", False), ("IO", "10", False), ("", "BRAKE", False), ("PROBIEM", "PROBLEM", True),
    ],
)  # fmt: skip
def test_misread_words(read: str, meant: str, same: bool) -> None:
    assert same_word(read, meant) is same


@settings(deadline=None)
@given(st.text("0123456789 .,:-/", max_size=8))
def test_numerals_are_never_a_lamp(text: str) -> None:
    reading = understand([line(text, color="red")])
    assert len(reading.lamps) == 0
    assert reading.messages == ()


@pytest.mark.parametrize(
    ("text", "color", "light"),
    [
        ("BRAKE", "red", "brake_system"), ("8RAKE", "red", "brake_system"), ("BRAKE", "white", None),
        ("BRAKE", None, None), ("BRAKE", "green", None), ("READY", "green", "ready"), ("READY", "white", None),
        ("EPS", "amber", "power_steering"), ("ABS", "amber", "abs"), ("CHECK ENGINE", "amber", "check_engine"),
        ("制动", "red", "brake_system"), ("VSA OFF", "amber", "stability_off"), ("ECO", "green", "eco"),
        ("A/T OIL TEMP", "amber", "transmission"), ("FUEL", "amber", None), ("TEMP", "red", None),
        ("MIST", "amber", None),
        ("OFF", "amber", None), ("AIRBAGS ARE FUN", "red", None), ("4WD", "green", "awd"),
    ],
)  # fmt: skip
def test_a_word_is_a_lamp_only_in_the_colours_of_the_lamp(text: str, color, light: str | None) -> None:
    assert [lamp.label for lamp in understand([line(text, color=color)]).lamps] == ([light] if light else [])


def test_an_unsure_word_is_no_lamp() -> None:
    assert len(understand([line("BRAKE", color="red", sure=0.6)]).lamps) == 0
    assert len(understand([line("ABS", color="amber", sure=0.8)]).lamps) == 0


def test_stacked_lines_are_one_lamp_and_stacked_lamps_are_two() -> None:
    soon = [line("SERVICE", 100, 100, "amber"), line("ENGINE", 106, 126, "amber"), line("SOON", 112, 152, "amber")]
    (lamp,) = understand(soon).lamps
    assert lamp.label == "check_engine"
    assert lamp.box == (100, 100, 184, 172)
    two = understand([line("BRAKE", 100, 100, "red"), line("ABS", 106, 126, "amber")]).lamps
    assert sorted(two.labels) == ["abs", "brake_system"]


def test_the_first_word_of_a_message_is_no_lamp() -> None:
    reading = understand([line("BRAKE", 100, 100, "red"), line("SYSTEM PROBLEM", 100, 126, "red")])
    assert len(reading.lamps) == 0
    assert [message.light for message in reading.messages] == ["brake_system"]


def test_print_on_a_dial_lit_in_the_colour_of_a_lamp_is_none() -> None:
    dial = [line(str(n), 100 + n * 3, 400, "red") for n in (20, 40, 60, 80, 100)]
    assert len(understand([*dial, line("OIL", color="red")]).lamps) == 0
    assert understand([*dial, line("BRAKE", color="red")]).lamps.labels == ("brake_system",)


@pytest.mark.parametrize(
    ("text", "light"),
    [
        ("Brake system problem. See your dealer.", "brake_system"), ("Brakesystemproblem", "brake_system"),
        ("Brake systen probIem", "brake_system"), ("请检查发动机", "check_engine"), ("制动液液位低", "brake_system"),
        ("电子驻车制动故障", "parking_brake"), ("请松开手刹", "parking_brake"),
        ("Release parking brake", "parking_brake"),
        ("Check engine oil level", "oil_level"), ("Engine oil pressure low. Stop engine", "oil_pressure"),
        ("发动机机油压力过低", "oil_pressure"), ("发动机过热 请停车", "coolant_temp"),
        ("冷却液温度过高", "coolant_temp"),
        ("Engine overheating", "coolant_temp"), ("LOW FUEL", "low_fuel"), ("请尽快加油", "low_fuel"),
        ("右前轮胎压力低", "tpms"), ("Tire pressure low", "tpms"), ("Tire pressure", None), ("胎压正常", None),
        ("动力电池过热 请安全停车", "ev_fault"), ("Hybrid system malfunction", "ev_fault"),
        ("混合动力系统故障", "ev_fault"),
        ("12V蓄电池电量低", "battery_charge"), ("Charging system fault", "battery_charge"), ("左前门未关", "door_open"),
        ("后备箱未关", "trunk_open"), ("行李厢盖打开", "trunk_open"), ("请系好安全带", "seat_belt"),
        ("保养到期", "service"),
        ("未检测到钥匙", "immobilizer"), ("Lane assist not available", "lane_departure"), ("ABS故障", "abs"),
        ("四轮驱动系统故障", "awd"), ("转向助力系统故障", "power_steering"), ("变速箱过热", "transmission"),
        ("All systems OK", None), ("Not Ready to Drive", None), ("Front Left Malfunction Service Required", None),
        ("Oil temp 90", None), ("可行驶里程 320km", None),
    ],
)  # fmt: skip
def test_the_light_that_a_message_names(text: str, light: str | None) -> None:
    assert light_named(text) == light


@pytest.mark.parametrize(
    "text",
    ["120", "km/h", "x1000rpm", "12:30", "+18.5℃", "TRIP A 96.4", "P R N D", "Average fuel economy", "平均油耗 7.8",
     "总里程 12345km", "Normal Recuperation", "% POWER", "HYBRID", "247mi MAX247mi", "200二", "READY"],
)  # fmt: skip
def test_furniture_is_no_message(text: str) -> None:
    assert understand([line(text, color="white")]).messages == ()


def test_messages_keep_their_lines_and_say_when_to_stop() -> None:
    lines = [line("变速箱过热", 100, 100, "white"), line("请立即停车", 100, 130, "white"), line("0", 300, 100)]
    (message,) = understand(lines).messages
    assert (message.text, message.light, message.stop) == ("变速箱过热请立即停车", "transmission", True)
    two = understand([line("ABS fault", 100, 100), line("Tire pressure low", 100, 130)]).messages
    assert [message.light for message in two] == ["abs", "tpms"]
    (unknown,) = understand([line("Front Left", 100, 100), line("Malfunction", 100, 130)]).messages
    assert (unknown.text, unknown.light, unknown.stop) == ("Front Left Malfunction", None, False)


@pytest.mark.parametrize(
    ("lines", "km"),
    [
        ([line("22436km")], 22436),
        ([line("22,436 km")], 22436),
        ([line("000820miles")], 1320),
        ([line("总里程 356 公里")], 356),
        ([line("ODO", 100, 100), line("51155", 160, 100)], 51155),
        ([line("Total", 100, 80), line("17431km", 100, 105), line("Temp", 300, 80), line("+30.5℃", 300, 105)], 17431),
        ([line("44.4km", 100, 80), line("22436km", 100, 105), line("Range", 300, 80), line("349km", 300, 105)], 22436),
        ([line("13557")], 13557),
        ([line("41259m")], 41259),
        ([line("13557", 100, 100), line("mph", 400, 100)], 21818),
        ([line("13557", 100, 100), line("mph", 400, 100), line("km/h", 400, 130)], 13557),
        ([line("17989", 100, 100), line("km", 165, 106, high=12)], 17989),
        ([line("7989", 100, 100), line("km", 155, 106, high=12)], None),
        ([line("067301")], 67301),
        ([line("06730")], None),
        ([line("7989")], None),
        ([line("120km/h")], None),
        ([line("9616.0km")], None),
        ([line("TRIP 12345 km")], None),
        ([line("Range", 100, 80), line("1349km", 100, 105)], None),
        ([line("续航 1349km")], None),
        ([line("距下次保养 10000km")], None),
        ([line("100120")], None),
        ([line("120 140")], None),
        ([line("80100")], None),
        ([line("18.8.2014")], None),
        ([line("11:53:20")], None),
        ([line("22436km", sure=0.6)], None),
        ([line("22436km", 100, 100), line("33436km", 100, 300)], None),
        ([], None),
    ],
)
def test_mileage(lines: list[TextLine], km: int | None) -> None:
    assert understand(lines).mileage_km == km


@settings(deadline=None)
@given(st.lists(st.tuples(st.text(max_size=24), st.integers(0, 900), st.integers(0, 600)), max_size=6))
def test_any_text_is_understood_somehow(texts) -> None:
    reading = understand([line(text or "x", x, y, "amber") for text, x, y in texts])
    assert reading.mileage_km is None or reading.mileage_km > 0


def found(label: str, box, confidence: float = 0.8, color="red") -> Detections:
    return Detections.of([Detection(label, box, confidence, color)])


@pytest.mark.parametrize(
    ("seen", "word", "label", "box"),
    [
        pytest.param(("brake_system", (100, 100, 140, 120)), ("brake_system", (98, 122, 142, 134)), "brake_system",
                     (98, 100, 142, 134), id="just under its pictogram"),
        pytest.param(("brake_system", (98, 100, 142, 134)), ("brake_system", (99, 122, 141, 133)), "brake_system",
                     (98, 100, 142, 134), id="inside the finding"),
        pytest.param(("low_fuel", (635, 299, 684, 352)), ("low_fuel", (613, 382, 690, 403)), "low_fuel",
                     (635, 299, 684, 352), id="a caption further below"),
        pytest.param(("parking_brake", (100, 100, 140, 120)), ("brake_system", (98, 122, 142, 134)), "brake_system",
                     (98, 100, 142, 134), id="BRAKE under a ringed P"),
        pytest.param(("collision_warning", (844, 282, 867, 293)), ("power_steering", (844, 282, 868, 293)),
                     "power_steering", (844, 282, 868, 293), id="another name for the same place"),
    ],
)  # fmt: skip
def test_a_word_and_its_pictogram_are_one_lamp(seen, word, label: str, box) -> None:
    (lamp,) = merge(found(*seen), found(*word, confidence=0.95))
    assert (lamp.label, lamp.box, lamp.confidence) == (label, box, pytest.approx(0.95))


@pytest.mark.parametrize(
    ("seen", "word"),
    [
        pytest.param(("brake_system", (100, 100, 140, 120)), ("brake_system", (300, 122, 344, 134)), id="elsewhere"),
        pytest.param(("abs", (100, 100, 140, 120)), ("brake_system", (98, 122, 142, 134)), id="another lamp above"),
        pytest.param(("brake_system", (100, 100, 140, 120)), ("parking_brake", (98, 122, 142, 134)), id="PARK"),
    ],
)
def test_what_stays_two_lamps(seen, word) -> None:
    assert len(merge(found(*seen), found(*word))) == 2


def test_phrases_have_gaps_and_alternatives() -> None:
    phrase = Phrase("brake/brakes * low")
    assert phrase.weight_in("Brake fluid is low") == len("BRAKELOW")
    assert phrase.weight_in("brakes one two three four five low") == 0
    assert Phrase("轮胎 * 低").weight_in("轮胎 压力 低!") == 6


@pytest.mark.parametrize(
    ("change", "mention"),
    [
        ({"lamps": {"brakes": {"colors": ["red"], "words": ["BRAKE"]}}}, "brakes"),
        ({"lamps": {"abs": {"colors": ["pink"], "words": ["ABS"]}}}, "colors"),
        ({"lamps": {"abs": {"colors": ["red"], "words": ["X"]}, "tpms": {"colors": ["red"], "words": ["X"]}}}, "X"),
        ({"messages": {}}, "master_warning"),
        ({"extra": 1}, "extra"),
    ],
)
def test_a_wrong_file_is_refused_and_the_place_named(tmp_path: Path, change, mention: str) -> None:
    content = yaml.safe_load((FOLDER / "words.yaml").read_text("utf-8"))
    path = tmp_path / "words.yaml"
    path.write_text(yaml.safe_dump({**content, **change}), "utf-8")
    with pytest.raises(CatalogueError) as caught:
        read_words(path)
    assert mention in caught.value.text.en
    assert "words.yaml" in caught.value.text.zh


def test_broken_yaml_is_refused(tmp_path: Path) -> None:
    (tmp_path / "words.yaml").write_text("lamps: [", "utf-8")
    with pytest.raises(CatalogueError):
        read_words(tmp_path / "words.yaml")
