"""What was done: fixes in both languages become operations; what was not done does not."""

from __future__ import annotations

import json
import re
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from knowledge.operations import MOST, OTHER, Operation, group_key, operations_of
from knowledge.repairs import lexicon, load_repairs
from knowledge.text import LANGS, Text

BOOK = load_repairs()
STARTERS = Path(__file__).parents[1] / "knowledge" / "starter_cases.jsonl"
HAN = re.compile(r"[一-鿿]")
FLOOR = 0.86  # 90 % when this was written

# A fix and what must come out of it, in this order; "" is nothing, and "..." at the end whatever else may follow.
ZH = {
    "更换 1 缸点火线圈和全部四只火花塞": "replace:ignition_coil replace:spark_plug",
    "清洗节气门并做匹配": "clean:throttle_body reset:throttle_body",
    "换了高压包": "replace:ignition_coil",
    "火嘴全换了，故障排除": "replace:spark_plug",
    "电瓶换新": "replace:battery_12v",
    "把发电机皮带换了": "replace:accessory_belt",
    "更换机油泵": "replace:oil_pump",
    "更换燃油泵总成": "replace:fuel_pump",
    "更换机油和机滤": "change_fluid:engine_oil replace:oil_filter",
    "更换水泵，加注防冻液并排空气": "replace:water_pump refill:coolant bleed:coolant",
    "更换节温器和密封圈": "replace:thermostat replace:oil_seal",
    "节温阀坏了，更换": "replace:thermostat",
    "换左前半轴": "replace:drive_shaft",
    "没换节气门，清洗后做了学习": "clean:throttle_body reset:throttle_body",
    "不用换火花塞，清洗喷油嘴即可": "clean:fuel_injector",
    "先更换火花塞，无效；再更换点火线圈，故障排除。": "replace:ignition_coil",
    "更换氧传感器后没有改善，最后更换三元催化，故障灯熄灭": "replace:catalytic_converter",
    "更换了水温传感器，故障依旧。更换线束插头后正常": "replace:connector",
    "建议更换前刹车片": "replace:brake_pads",
    "已清洗节气门，建议下次更换火花塞": "clean:throttle_body ...",
    "需要更换变速箱油": "change_fluid:transmission_fluid",
    "检查后未见异常，不用修": "advice_only:vehicle",
    "属于正常现象，无需处理": "advice_only:vehicle",
    "检查刹车片和刹车盘": "inspect:brake_pads inspect:brake_disc",
    "火花塞换过没有？": "",
    "换过火花塞吗？没换就换一套": "replace:spark_plug",
    "如果清洗不行就更换喷油嘴": "replace:fuel_injector",
    "清洗节气门，如果不行再换怠速电机": "clean:throttle_body replace:idle_valve",
    "紧固蓄电池负极搭铁线": "tighten:ground",
    "修复发动机线束断路处": "repair:wiring",
    "清洁轮速传感器插头": "clean:connector",
    "重新插紧空气流量计插头": "reconnect:connector",
    "四轮定位": "align:wheel_alignment",
    "做动平衡，补足胎压": "balance:wheel_balance refill:tyre_pressure",
    "补胎": "repair:tyre",
    "加氟": "refill:refrigerant",
    "更换压缩机，抽真空加注制冷剂": "replace:ac_compressor refill:refrigerant",
    "更换空调滤芯": "replace:cabin_filter",
    "更换机油机滤、空滤、火花塞": "change_fluid:engine_oil replace:spark_plug ...",
    "清除故障码": "reset:fault_codes",
    "保养灯归零": "reset:service_reminder",
    "刹车油更换并排气": "change_fluid:brake_fluid bleed:brake_fluid",
    "升级发动机控制单元软件": "program:engine_ecu ...",
    "更换变速箱电脑并编程": "replace:transmission_control_unit program:transmission_control_unit",
    "拆除加装的 GPS": "remove:gps_tracker",
    "给电瓶充电": "charge:battery_12v",
    "更换车载充电机": "replace:onboard_charger",
    "更换 DC/DC 变换器": "replace:dcdc_converter",
    "更换电池冷却水泵，加冷却液": "replace:battery_coolant_pump refill:coolant",
    "更换左前轮毂轴承": "replace:wheel_bearing",
    "平衡杆吊杆更换，四轮定位": "replace:stabilizer_link align:wheel_alignment",
    "润滑门锁块": "lubricate:door_lock",
    "调整手刹行程": "adjust:parking_brake",
    "更换或清洗EGR阀": "replace:egr_valve clean:egr_valve",
    "节气门脏了，清洗一下": "clean:throttle_body",
    "之前换过点火线圈，这次更换喷油器": "replace:fuel_injector",
    "别的店换了氧传感器没用，清洗空气流量计后正常": "clean:mass_air_flow_sensor",
    "断开蓄电池负极，更换起动机": "replace:starter_motor",
    "拆下进气歧管清洗，更换歧管垫": "clean:intake_manifold replace:intake_manifold_gasket",
    "更换玻璃升降器，做一键升降学习": "replace:window_regulator reset:window_limits",
    "你好，先检查一下火花塞和点火线圈，要是火花塞间隙大就换一套，不客气": "replace:spark_plug",
    "换 throttle body 并做匹配": "replace:throttle_body reset:throttle_body",
    "机滤更换了，节气门，进气道清洗一下": "clean:throttle_body clean:intake_ports replace:oil_filter",
    "用诊断仪对节气门做基本设定": "reset:throttle_body",
    "未更换任何配件": "",
    "祝您用车愉快": "",
    "": "",
}  # fmt: skip
EN = {
    "Replaced ignition coil and all spark plugs": "replace:ignition_coil replace:spark_plug",
    "Cleaned the throttle body and relearned idle": "clean:throttle_body reset:idle_speed",
    "Throttle body cleaned.": "clean:throttle_body",
    "The alternator was replaced": "replace:alternator",
    "New generator and belt fitted": "replace:alternator replace:accessory_belt",
    "Replace the sway bar links": "replace:stabilizer_link",
    "replaced anti-roll bar link, aligned the wheels": "replace:stabilizer_link align:wheel_alignment",
    "Replaced the oil pump": "replace:oil_pump",
    "Changed the oil and filter": "change_fluid:engine_oil ...",
    "Did not replace the water pump; tightened the hose clamp": "tighten:clamp",
    "We didn't replace the starter, cleaned the battery terminals instead": "clean:battery_clamp",
    "Replacing the oxygen sensor did not help. Replaced the catalyst, fixed it.": "replace:catalytic_converter",
    "Replaced the MAF sensor, no change; then found and repaired a vacuum hose": "repair:vacuum_hose",
    "I would recommend replacing the thermostat": "replace:thermostat",
    "You should check the spark plugs": "inspect:spark_plug",
    "Have you replaced the fuel filter?": "",
    "Cleaned the EGR valve; consider replacing the EGR cooler": "clean:egr_valve replace:egr_cooler",
    "If the regulator is worn, replace the alternator": "replace:alternator",
    "Flush the coolant and refill": "change_fluid:coolant ...",
    "Bleed the brakes": "bleed:brake_fluid",
    "Topped up the power steering fluid": "refill:power_steering_fluid",
    "Replaced brake pads and rotors in pairs": "replace:brake_pads replace:brake_disc",
    "Repaired the wiring harness at the door hinge": "repair:wiring",
    "No repair, normal behaviour": "advice_only:vehicle",
    "Jump started the car": "charge:battery_12v",
    "Replaced the fuse for the fuel pump": "replace:fuse",
    "Replace the wheel speed sensor and clear the code": "replace:wheel_speed_sensor reset:fault_codes",
    "Reset the service light": "reset:service_reminder",
    "Spark plug replacement": "replace:spark_plug",
    "fitted a new timing belt kit with water pump": "replace:timing_belt ...",
    "Software update": "program:ecu_software",
    "Replaced the clutch master cylinder, bled the brakes": "replace:clutch_master_cylinder bleed:brake_fluid",
    "Disconnect the battery, replace the clock spring": "replace:clock_spring",
    "Clean or replace the throttle body": "clean:throttle_body replace:throttle_body",
    "Inflated the tyres": "refill:tyre_pressure",
    "Removed the aftermarket alarm": "remove:aftermarket_alarm",
    "Previously replaced the coil; replaced injector 3": "replace:fuel_injector",
    "Replaced the tie rod ends and did a wheel alignment": "replace:tie_rod_end align:wheel_alignment",
    "Recharged the AC": "refill:refrigerant",
    "no need to replace the battery, charge it": "charge:battery_12v",
    "thank you": "",
}  # fmt: skip
WITH_PARTS = [
    ("Replace the sensor and both hoses, zero it.", "Differential pressure sensor", "replace:dpf_pressure_sensor"),
    ("Replace the relay", "Horn relay", "replace:horn_relay"),
    ("更换传感器", "曲轴位置传感器", "replace:crankshaft_sensor"),
    ("更换真空管", "助力器真空管", "replace:booster_vacuum_hose"),
    ("按手册操作，清码", "节温器 1 只，密封圈", "replace:thermostat"),
    ("清码试车", "无需换件", "reset:fault_codes"),
    ("前刹车片两副", "", "replace:brake_pads"),
    (Text(zh="更换节温器", en="Thermostat replaced"), Text(zh="节温器", en="Thermostat"), "replace:thermostat"),
    ("Replace the pump", Text(zh="水泵", en="Water pump"), "replace:water_pump"),
]


@pytest.mark.parametrize(("fix", "expected"), [*ZH.items(), *EN.items()])
def test_the_operations_of_a_fix(fix: str, expected: str) -> None:
    found = [operation.key for operation in operations_of(fix)]
    wanted = expected.removesuffix("...").split()
    assert found[: len(wanted)] == wanted
    assert expected.endswith("...") or len(found) == len(wanted)


@pytest.mark.parametrize(("fix", "parts", "main"), WITH_PARTS)
def test_the_parts_column_tells_which_one(fix: str | Text, parts: str | Text, main: str) -> None:
    assert group_key(operations_of(fix, parts)) == main


def test_the_table_is_long_enough() -> None:
    assert len(ZH) >= 50
    assert len(EN) >= 40


# --- what repairs.yaml must hold ------------------------------------------------------------------------------------


def test_there_are_components_enough_each_with_both_languages() -> None:
    assert len(BOOK.components) >= 260
    for key, component in BOOK.components.items():
        assert re.fullmatch(r"[a-z0-9_]+", key)
        assert HAN.search(component.name.zh) or component.name.zh.isupper(), key  # GPS, DC/DC
        assert not HAN.search(component.en), key
        assert component.name.zh == component.name.zh.strip()


def test_no_name_belongs_to_two_components() -> None:
    owners: dict[str, set[str]] = {}
    for key, component in BOOK.components.items():
        for lang in LANGS:
            for name in component.of(lang):
                owners.setdefault(lexicon().plain(name), set()).add(key)
    assert {name: keys for name, keys in owners.items() if len(keys) > 1} == {}


def test_nothing_hides_the_name_of_a_component() -> None:
    """A name must be read as that component, or else as what is said of it (四轮定位 is work by itself)."""
    for key, component in BOOK.components.items():
        for name in (component.name.zh, component.name.en):
            found = lexicon().tokens(lexicon().plain(name))
            assert len(found) == 1, name
            assert found[0].component == key or (found[0].kind, found[0].value) == ("component", key), name


def test_actions_idioms_and_rules_name_what_exists() -> None:
    known = {f"{action} {component}" for action in BOOK.actions for component in BOOK.components}
    assert {f"{idiom.action} {idiom.component}" for idiom in BOOK.idioms} <= known
    assert {*BOOK.meant, *BOOK.meant.values()} <= known
    assert set(BOOK.only) <= set(BOOK.actions)
    assert {default for words in BOOK.loose.values() for default in words.values() if default} <= set(BOOK.components)
    for key, action in BOOK.actions.items():
        assert key == "advice_only" or (action.zh and action.en), key
        assert "{}" in action.said.zh, key
        assert "{}" in action.said.en, key
    for key, component in BOOK.components.items():
        assert set(component.said) <= set(BOOK.actions), key


def test_the_text_of_every_operation_is_in_both_languages() -> None:
    for action in BOOK.actions:
        for component in BOOK.components:
            text = Operation(action, component).text
            assert HAN.search(text.zh), text
            assert not HAN.search(text.en), text
            assert "{" not in text.zh + text.en, text


def test_how_an_operation_reads() -> None:
    assert Operation("clean", "throttle_body").text == Text(zh="清洗节气门", en="throttle body cleaned")
    assert Operation("replace", "ignition_coil").text == Text(zh="更换点火线圈", en="ignition coil replaced")
    assert Operation("reset", "fault_codes").text == Text(zh="清除故障码", en="fault codes cleared")
    assert Operation("clean", "throttle_body").key == "clean:throttle_body"


# --- groups and long texts ------------------------------------------------------------------------------------------


def test_cases_group_by_the_main_operation() -> None:
    fixes = ["清洗节气门", "节气门清洗并匹配", "cleaned the throttle body", "更换火花塞", "祝您用车愉快"]
    groups = Counter(group_key(operations_of(fix)) for fix in fixes)
    assert groups == {"clean:throttle_body": 3, "replace:spark_plug": 1, OTHER: 1}


def test_the_conclusion_of_a_dialogue_counts_most() -> None:
    talk = "你好，先检查一下火花塞，不行就换一套火花塞。" * 6
    assert group_key(operations_of(f"{talk}\n建议清洗节气门并做匹配")) == "clean:throttle_body"


def test_both_languages_of_a_fix_count_together() -> None:
    fix = Text(zh="更换节气门，清洗进气道", en="Throttle body replaced, intake ports cleaned")
    assert [operation.key for operation in operations_of(fix)] == ["replace:throttle_body", "clean:intake_ports"]


def test_starter_cases_agree_between_the_languages(capsys: pytest.CaptureFixture[str]) -> None:
    rows = [json.loads(line) for line in STARTERS.read_text(encoding="utf-8").splitlines()]
    agree = 0
    for row in rows:
        zh, en = (operations_of(row["fix"][lang], row["parts"][lang]) for lang in LANGS)
        agree += bool(zh and en and zh[0].component == en[0].component)
    with capsys.disabled():
        print(f"\nmain component agrees between zh and en in {agree} of {len(rows)} starter cases")
    assert agree >= FLOOR * len(rows)


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=80), st.lists(st.sampled_from(sorted(lexicon().words)), max_size=12), st.booleans())
def test_whatever_is_written_is_read(text: str, words: list[str], spaced: bool) -> None:
    fix = text + (" " if spaced else "").join(words)
    for found in (operations_of(fix, text), operations_of("更换", fix)):
        assert len(found) <= MOST
        assert len(set(found)) == len(found)
        assert all(operation.action in BOOK.actions and operation.component in BOOK.components for operation in found)
