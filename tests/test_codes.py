"""Fault codes: how they are read, what the table says, what is advised, and what is honestly not known."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from functools import cache
from typing import get_args

import pytest
import typer
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from app.commands.codes import add_to, code_json, code_lines
from knowledge import catalogue, codes
from knowledge.catalogue import URGENCIES
from knowledge.codes import FOLDER, kind_of, load_families, load_index, load_makes, lookup, meanings, parse_code
from knowledge.lexical import fault_codes
from knowledge.text import LANGS, Text, UserError
from training.codes import main as generate
from training.codes import meaning as compose
from training.codes import rows

CHINESE = re.compile(r"[一-鿿]")
# Latin letters that may stand in Chinese: abbreviations that mechanics say, and single letters or pairs of them.
ABBREVIATIONS = frozenset("""EGR NOx ABS SCR PCV CAN DC AC HC VVT VTEC VIN OCV DISA EEPROM RAM ROM CP PP V2X""".split())
FAMILIES = {
    f"{path.stem}.{key}": family
    for path in sorted((FOLDER / "families").glob("*.yaml"))
    for key, family in load_families(path.stem).items()
}


@cache
def table() -> list[list[str]]:
    return [line.split("\t") for line in (FOLDER / "codes.tsv").read_text("utf-8").strip().split("\n")]


# --- reading a code ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "code", "failure"),
    [
        ("P0420", "P0420", None),
        ("p 0420", "P0420", None),
        ("Ｐ０４２０", "P0420", None),
        (" p0420\n", "P0420", None),
        ("P-0420", "P0420", None),
        ("PO42O", "P0420", None),  # the letter O for zero
        ("P0420-00", "P0420", "00"),
        ("P0420 00", "P0420", "00"),
        ("c0031-1c", "C0031", "1C"),
        ("U010087", "U0100", "87"),
        ("U0100:87", "U0100", "87"),
        ("p0a80", "P0A80", None),
    ],
)
def test_a_code_is_read_as_people_write_it(given, code, failure) -> None:
    assert parse_code(given) == (code, failure)
    assert lookup(given).code == code


@pytest.mark.parametrize(
    "given",
    ["hello", "", " ", "P04", "P4120", "X0420", "P0G20", "P0420-0", "P0420 P0171", "故障码", "0420", "P04200", "\x00"],
)
def test_what_is_no_code_gets_one_sentence_that_shows_what_a_code_looks_like(given) -> None:
    with pytest.raises(UserError) as caught:
        lookup(given)
    for lang in LANGS:
        words = caught.value.text.in_(lang)
        assert "P0420" in words
        assert "\n" not in words


@pytest.mark.parametrize("given", ["p 0420", "Ｐ０４２０", "P0420-00"])
def test_search_and_look_up_read_codes_alike(given) -> None:
    assert fault_codes(given) == (parse_code(given)[0],)


@pytest.mark.parametrize(
    ("kind", "examples"),
    [
        ("generic", "P0000 P0420 P2BBB P3400 P3FFF B0001 C0001 U0100 U3000"),
        ("make_specific", "P1000 P1FFF P3000 P33FF B1000 B2FFF C1234 C2000 U1000 U2FFF"),
        ("reserved", "B3000 B3FFF C3000"),
    ],
)
def test_whose_code_it_is_by_the_standard(kind, examples) -> None:
    assert {kind_of(code) for code in examples.split()} == {kind}


@pytest.mark.parametrize(
    ("given", "zh", "en"),
    [
        ("C0031-11", "对地短路", "short to ground"),
        ("C0031-13", "断路", "open"),
        ("B0010-1B", "电阻", "resistance"),
        ("U0100-87", "报文缺失", "message missing"),
        ("P0420-00", "没有更细", "no further"),
        ("C0031-1", None, None),
        ("C0031-2E", "信号", "signal"),  # not listed: its group
        ("C0031-F0", "", ""),  # neither
    ],
)
def test_failure_type(given, zh, en) -> None:
    if zh is None:
        with pytest.raises(UserError):
            lookup(given)
        return
    failure = lookup(given).failure
    assert (failure is None) == (not zh)
    assert failure is None or (zh in failure.zh and en in failure.en)


# --- what a code means and what to do ---------------------------------------------------------------------------------

SAYS = [
    # code, part of the car, urgency, words in Chinese, words in English
    ("P0011", "燃油", "soon", "凸轮轴 提前", "camshaft advanced"),
    ("P0016", "燃油", "soon", "曲轴 凸轮轴 第1列", "crankshaft camshaft bank"),
    ("P0031", "燃油", "soon", "第1列1号 氧传感器 加热 电压过低", "oxygen heater too low"),
    ("P0087", "燃油", "soon", "油轨 过低", "rail pressure too low"),
    ("P0093", "燃油", "stop", "燃油 泄漏", "fuel leak"),
    ("P0101", "燃油", "soon", "空气流量计", "air flow sensor"),
    ("P0113", "燃油", "ok", "进气温度 电压过高", "intake air temperature too high"),
    ("P0118", "燃油", "soon", "冷却液温度传感器 电压过高", "coolant temperature sensor too high"),
    ("P0128", "燃油", "soon", "节温器", "thermostat"),
    ("P0171", "燃油", "soon", "第1列 混合气过稀", "mixture bank too lean"),
    ("P0172", "燃油", "soon", "混合气过浓", "too rich"),
    ("P0201", "燃油", "soon", "1缸 喷油器", "injector cylinder 1"),
    ("P0217", "燃油", "stop", "冷却液温度过高", "coolant too hot"),
    ("P0218", "燃油", "stop", "变速器油 温度过高", "transmission fluid too hot"),
    ("P0234", "燃油", "soon", "增压压力过高", "boost too high"),
    ("P0299", "燃油", "soon", "增压压力不足", "boost too low"),
    ("P0300", "点火", "soon", "多缸 失火", "misfire"),
    ("P0301", "点火", "soon", "1缸失火", "cylinder 1 misfire"),
    ("P0312", "点火", "soon", "12缸失火", "cylinder 12 misfire"),
    ("P030A", "点火", "soon", "点火A", "ignition A"),  # no cylinder ten's neighbour, though it sorts among them
    ("P0327", "点火", "soon", "爆震传感器", "knock sensor"),
    ("P0335", "点火", "soon", "曲轴位置传感器", "crankshaft position sensor"),
    ("P0340", "点火", "soon", "凸轮轴位置传感器", "camshaft position sensor"),
    ("P0351", "点火", "soon", "点火线圈", "ignition coil"),
    ("P0401", "排放", "soon", "EGR 流量不足", "EGR too little flow"),
    ("P0420", "排放", "soon", "三元催化 效率过低", "catalytic converter efficiency"),
    ("P0442", "排放", "ok", "蒸发 小泄漏", "small leak"),
    ("P0457", "排放", "first", "油箱盖", "fuel cap"),
    ("P0500", "车速", "soon", "车速传感器", "vehicle speed sensor"),
    ("P0520", "车速", "first", "机油压力传感器", "oil pressure sensor"),
    ("P0522", "车速", "first", "机油压力 信号过低", "oil pressure signal too low"),
    ("P0524", "车速", "stop", "机油压力过低", "oil pressure too low"),
    ("P0562", "车速", "soon", "系统电压过低", "voltage too low"),
    ("P0563", "车速", "soon", "系统电压过高", "voltage too high"),
    ("P0606", "控制模块", "soon", "处理器", "processor"),
    ("P0700", "变速器", "soon", "变速器控制系统", "transmission control system"),
    ("P0730", "变速器", "soon", "传动比", "ratio"),
    ("P0741", "变速器", "soon", "变矩器锁止", "torque converter clutch"),
    ("P0750", "变速器", "soon", "换挡电磁阀A", "shift solenoid A"),
    ("P0893", "变速器", "stop", "同时挂入多个挡位", "several gears"),
    ("P0A0D", "混动", "stop", "高压互锁", "interlock"),
    ("P0A3C", "混动", "stop", "逆变器温度过高", "inverter too hot"),
    ("P0A7E", "混动", "stop", "动力电池包 温度过高", "traction battery too hot"),
    ("P0A80", "混动", "soon", "动力电池包需要更换", "traction battery replaced"),
    ("P0AA1", "混动", "stop", "接触器 粘连", "contactor stuck closed"),
    ("P0AA6", "混动", "stop", "绝缘故障", "insulation fault"),
    ("P2106", "燃油", "stop", "节气门 限制功率", "throttle power limited"),
    ("P2135", "燃油", "soon", "踏板 不一致", "pedal do not agree"),
    ("P2463", "排放", "soon", "颗粒捕集器 碳烟", "particulate filter soot"),
    ("P20EE", "燃油", "soon", "SCR 效率过低", "SCR efficiency"),
    ("P3497", "停缸", "soon", "停缸", "deactivation"),
    ("B0001", "约束", "soon", "驾驶员正面气囊 第1级", "driver frontal airbag stage 1"),
    ("B0010", "约束", "soon", "乘客正面气囊", "passenger frontal airbag"),
    ("C0021", "制动", "stop", "制动助力器", "brake booster"),
    ("C0031", "制动", "soon", "左前轮速传感器", "left front wheel speed"),
    ("C0035", "制动", "soon", "右前轮速", "right front wheel speed"),
    ("C0049", "制动", "stop", "制动液液位", "brake fluid level"),
    ("C0051", "制动", "soon", "方向盘", "steering"),
    ("U0001", "总线", "soon", "CAN总线", "CAN bus"),
    ("U0100", "通信", "soon", "与发动机控制模块 失去通信", "no communication engine control module"),
    ("U0121", "通信", "soon", "ABS 失去通信", "no communication ABS"),
    ("U0401", "数据", "soon", "发动机控制模块 无效数据", "invalid data engine control module"),
]


@pytest.mark.parametrize(("code", "system", "urgency", "zh", "en"), SAYS)
def test_a_shared_code(code, system, urgency, zh, en) -> None:
    answer = lookup(code)
    assert (answer.kind, answer.known, answer.urgency, answer.question) == ("generic", True, urgency, None)
    assert system in answer.system.zh
    said = answer.meaning.zh.replace(" ", "")
    assert [word for word in zh.split() if word not in said] == []
    said = answer.meaning.en.lower()
    assert [word for word in en.lower().split() if word not in said] == []
    assert code not in answer.meaning.zh
    assert lookup(code, "没听说过的牌子") == answer  # the make is of no matter


def test_a_flashing_lamp_with_a_misfire_means_stop() -> None:
    for code in ("P0300", "P0304", "P0312", "P0351"):
        answer = lookup(code)
        assert answer.stop_if is not None
        assert "闪" in answer.stop_if.zh + answer.drive.zh
        assert "flash" in answer.stop_if.en


def test_what_can_hurt_is_never_ok() -> None:
    """Over the whole table: oil pressure, overheating, brakes, steering, airbags, high voltage, leaking fuel."""
    danger = re.compile(
        r"机油压力|冷却液温度过高|过热|制动(?!灯|踏板开关)|转向|气囊|安全带|绝缘|互锁|接触器|轮速|燃油系统有|失火|油门|踏板位置|节气门"
    )
    for code, _, zh, en in table():
        urgency = FAMILIES[codes._family_of(code, en)].urgency
        if danger.search(zh):
            assert urgency != "ok", (code, zh)


@pytest.mark.parametrize(
    ("words", "urgencies"),
    [
        (r"oil pressure: too low$", {"stop"}),
        (r"engine coolant: too hot|engine: too hot", {"stop"}),
        (r"insulation (fault|warning)", {"stop"}),
        (r"contactor.*stuck", {"stop"}),
        (r"^brake hydraulic", {"stop"}),
        (r"steering", {"soon", "stop"}),
        (r"brake (booster|pressure|pedal|fluid)", {"soon", "stop"}),
        (r"airbag|pretensioner|crash sensor", {"soon"}),
        (r"wheel speed", {"soon"}),
        (r"oil pressure sensor", {"first", "soon"}),  # "soon": no communication with it
    ],
)
def test_urgency_over_the_whole_table(words, urgencies) -> None:
    found = [(code, en) for code, _, _, en in table() if re.search(words, en.lower())]
    assert found
    for code, en in found:
        assert FAMILIES[codes._family_of(code, en)].urgency in urgencies, (code, en)


# --- a maker's own codes ----------------------------------------------------------------------------------------------


def test_a_makers_code_asks_for_the_make_and_names_those_that_are_known() -> None:
    answer = lookup("P1130")
    assert (answer.kind, answer.known, answer.make) == ("make_specific", False, None)
    assert answer.question is not None
    assert "品牌" in answer.question.zh
    assert {"大众", "福特"} <= {name[:2] for name in (make.zh for make in answer.makes)}
    assert lookup("P1FFF").makes == ()


@pytest.mark.parametrize(
    "make", ["大众", "一汽-大众", "上汽大众", "奥迪", "vw", "Volkswagen", "VOLKSWAGEN Golf", " Audi ", "大众汽车"]
)
def test_with_the_make_it_is_told(make) -> None:
    answer = lookup("P1130", make)
    assert answer.known
    assert answer.question is None
    assert answer.make == load_makes()["vw"].name
    assert "混合气过稀" in answer.meaning.zh
    assert answer.family == "fuel.lean"
    assert any("大众" in note.zh and "年款" in note.zh for note in answer.notes)


def test_makers_mean_different_things_by_one_code() -> None:
    assert len({lookup("P1130", make).meaning for make in ("大众", "福特", "丰田")}) == 3


@pytest.mark.parametrize(
    ("code", "make"), [("P1130", "比亚迪"), ("P1FFF", "大众"), ("B1234", "吉利"), ("U1000", "日产")]
)
def test_what_is_not_known_is_said(code, make) -> None:
    answer = lookup(code, make)
    assert not answer.known
    assert answer.question is None
    assert any("维修资料" in note.zh and code in note.zh for note in answer.notes)
    assert any("not in the table" in note.en for note in answer.notes)
    assert code in answer.meaning.zh
    assert answer.causes
    assert answer.urgency != "ok"


@pytest.mark.parametrize(
    ("code", "system"), [("P0FFF", "动力系统"), ("P2999", "变速器"), ("C0FFF", "底盘"), ("U0BBB", "网络")]
)
def test_an_unknown_shared_code_still_tells_the_part_of_the_car(code, system) -> None:
    answer = lookup(code)
    assert (answer.kind, answer.known) == ("generic", False)
    assert system in answer.meaning.zh
    assert "表里没有" in answer.meaning.zh
    assert "not in the table" in answer.meaning.en


def test_reserved_numbers() -> None:
    assert lookup("C3000").kind == "reserved"
    assert "保留" in lookup("C3000").meaning.zh
    assert lookup("B3A00").kind == "generic"  # in use since


def test_older_use_of_chassis_codes_is_told() -> None:
    assert any("左前" in note.zh for note in lookup("C0035").notes)


# --- anything at all --------------------------------------------------------------------------------------------------

hexadecimal = st.text("0123456789ABCDEF", min_size=3, max_size=3)
well_formed = st.builds("{}{}{}".format, st.sampled_from("PBCU"), st.sampled_from("0123"), hexadecimal)
makes = st.none() | st.text(max_size=12) | st.sampled_from(["大众", "bmw", "丰田"])


@settings(max_examples=300, deadline=None)
@given(st.text(max_size=12) | well_formed | st.text("PBCU0123456789AF -:", max_size=9), makes)
def test_any_text_is_answered_or_refused(text, make) -> None:
    error: UserError | None = None
    try:
        answer = lookup(text, make)
    except UserError as caught:
        error = caught
    if error is None:
        assert re.fullmatch("[PBCU][0-3][0-9A-F]{3}", answer.code)
        check_complete(answer)
    else:
        assert all(line.strip() and line.isprintable() for line in (error.text.zh, error.text.en))


@settings(max_examples=300, deadline=None)
@given(well_formed, makes)
def test_every_code_has_a_whole_answer(code, make) -> None:
    check_complete(lookup(code, make))


def check_complete(answer: codes.CodeAnswer) -> None:
    assert answer.urgency in URGENCIES
    assert (answer.within is not None) == (answer.urgency == "soon")
    assert answer.known or answer.code in answer.meaning.zh
    assert answer.question is None or (answer.kind == "make_specific" and not answer.known)
    assert len(answer.causes) >= 3
    assert len(answer.checks) >= 2
    for lang in LANGS:
        assert all(line.isprintable() for line in code_lines(answer, lang))
        assert json.dumps(code_json(answer, lang), ensure_ascii=False)


# --- the data ---------------------------------------------------------------------------------------------------------


def test_urgencies_are_those_of_the_product() -> None:
    assert get_args(codes.Urgency) == get_args(catalogue.Urgency)


def test_families_are_at_least_45_complete_and_in_use() -> None:
    index = load_index()
    named = {rule.family for rule in index.picks} | set(index.fallback.values())
    assert named == set(FAMILIES)
    assert len(FAMILIES) >= 45
    for key, family in FAMILIES.items():
        texts = [family.name, family.drive, *family.causes, *family.checks]
        texts += [text for text in (family.within, family.stop_if) if text]
        for text in texts:
            assert CHINESE.search(text.zh), (key, text)
            assert not CHINESE.search(text.en), (key, text)
            assert (len(text.zh) <= 80, len(text.en) <= 260) == (True, True), (key, text)
            assert not re.search(r"[,;!?]|[a-z]{4,}", re.sub(r"READY", "", text.zh)), (key, text)
        assert family.urgency != "stop" or family.stop_if is None, key
        assert len(set(family.causes)) == len(family.causes)


def test_every_shared_code_finds_a_family_of_its_own() -> None:
    index, general = load_index(), 0
    shared = [(code, en) for code, make, _, en in table() if not make]
    for code, en in shared:
        general += codes._family_of(code, en) == index.fallback[code[0]]
    assert general / len(shared) < 0.01


def test_the_table_is_sorted_small_and_has_both_languages() -> None:
    assert (FOLDER / "codes.tsv").stat().st_size < 2_500_000
    lines = table()
    assert [line[:2] for line in lines] == sorted(line[:2] for line in lines)
    assert len({(code, make) for code, make, _, _ in lines}) == len(lines)
    for code, make, zh, en in lines:
        assert parse_code(code) == (code, None)
        assert (make == "") == (kind_of(code) != "make_specific"), code
        assert make == "" or make in load_makes()
        assert CHINESE.search(zh), code
        assert not CHINESE.search(en), code
        foreign = set(re.findall(r"[A-Za-z][A-Za-z0-9]+", zh)) - ABBREVIATIONS
        assert not foreign, (code, zh)
        assert not re.search(r"\s\s|过过|阀阀|(监测|控制|信号|温度)\1|混动/电动蓄电池", zh), (code, zh)
        assert not re.search(r" ,|\s\s|:$|: .*: ", en), (code, en)


def test_a_look_up_agrees_with_the_table_line_by_line() -> None:
    for code, make, zh, en in table()[::97]:
        assert meanings(code)[make] == Text(zh=zh, en=en)
    assert meanings("P0FFF") == {}


def test_a_look_up_brings_no_heavy_libraries() -> None:
    script = (
        "import sys; from knowledge.codes import lookup; lookup('P0420'); print({'numpy', 'torch'} & {*sys.modules})"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


# --- how meanings are made --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("definition", "zh", "en"),
    [
        ("HO2S Heater Control Circuit Low Bank 1 Sensor 2", "第 1 列 2 号氧传感器加热器控制电路电压过低",
         "Oxygen sensor heater control, bank 1 sensor 2: circuit voltage too low"),
        ("Mass or Volume Air Flow Sensor A Circuit Range/Performance", "空气流量计 A 电路信号超出范围或性能不良",
         "Air flow sensor A: circuit signal out of range or implausible"),
        ("Cylinder 3 Injector “A” Circuit/Open", "3 缸喷油器 A 电路故障或断路",
         "Injector A, cylinder 3: circuit fault or open circuit"),
        ("Lost Communication With ECM/PCM A", "与发动机控制模块 A 失去通信",
         "No communication with the engine control module A"),
        ("Hybrid/EV Battery Positive Contactor Circuit Stuck Closed", "动力电池正极接触器粘连，断不开",
         "Traction battery positive contactor: stuck closed, cannot open"),
        ("Fan 1 Control Circuit", "风扇 1 控制电路故障", "Fan 1 control circuit: fault"),
        ("Flux Capacitor Circuit Low", None, None),  # an unknown part: nothing, not half a translation
        ("Circuit Low Fan", None, None),  # what is wrong stands before the part
        ("A faulty wheel speed sensor, reluctor issues", None, None),
    ],
)  # fmt: skip
def test_a_definition_is_said_anew_or_not_at_all(definition, zh, en) -> None:
    assert compose(definition) == (zh and Text(zh=zh, en=en))


def test_only_usable_definitions_enter_the_table() -> None:
    found, missed = rows(
        [
            ("P0420", "GENERIC", "Catalyst System Efficiency Below Threshold Bank 1"),
            ("P0420", "AUDI", "Defective Catalytic Converter"),  # shared codes come from the shared list alone
            ("P1457", "GENERIC", "Unable To Pull Vacuum In Tank"),  # a maker's code without a maker
            ("P1111", "INFINITI", "Fan Circuit Low"),  # a list that copies another's
            ("P1111", "BUICK", "Fan Circuit High"),
            ("P1111", "GM", "Fan Circuit Low"),  # the first source of a maker wins
            ("P0001", "GENERIC", "Manufacturer Controlled DTC"),
            ("P0002", "GENERIC", "Zorblax"),
        ]
    )
    assert [(row.code, row.make) for row in found] == [("P0420", ""), ("P1111", "gm")]
    assert found[1].text.zh == "风扇电路电压过低"
    assert missed == [("P0002", "", "Zorblax")]


def test_the_shipped_table_is_what_the_generator_makes(shared, tmp_path, capsys) -> None:
    out = tmp_path / "codes.tsv"
    assert generate(["--db", str(shared / "data/codes/dtc_codes_mit.db"), "--out", str(out)]) is None
    assert out.read_bytes() == (FOLDER / "codes.tsv").read_bytes()
    assert "100.0%" in capsys.readouterr().out.splitlines()[0]


def test_what_is_no_database_is_told(tmp_path) -> None:
    (tmp_path / "x.db").write_bytes(b"nothing")
    assert "no database" in generate(["--db", str(tmp_path / "x.db"), "--out", str(tmp_path / "out.tsv")])


# --- the command ------------------------------------------------------------------------------------------------------


@pytest.fixture
def command() -> typer.Typer:
    app = typer.Typer()
    add_to(app)
    app.callback()(lambda: None)  # so that the only command keeps its name
    return app


def test_command_tells_a_person(command, home) -> None:
    done = CliRunner().invoke(command, ["code", "p 0420", "--lang", "zh"])
    assert done.exit_code == 0
    for words in ("P0420", "三元催化", "还能开吗", "常见原因", "先查什么", "Wal33D"):
        assert words in done.output
    english = CliRunner().invoke(command, ["code", "P0420", "--lang", "en"]).output
    assert not CHINESE.search(english)


def test_command_asks_for_the_make(command, home) -> None:
    assert "--make" in CliRunner().invoke(command, ["code", "P1130", "--lang", "en"]).output
    assert "documents" in CliRunner().invoke(command, ["code", "P1FFF", "--lang", "en"]).output
    told = CliRunner().invoke(command, ["code", "P1130", "--make", "大众", "--lang", "zh"]).output
    assert "混合气过稀" in told


def test_command_prints_json(command, home) -> None:
    done = CliRunner().invoke(command, ["code", "C0031-11", "--json", "--lang", "en"])
    found = json.loads(done.output)
    assert (found["code"], found["urgency"], found["known"]) == ("C0031", "soon", True)
    assert found["failure"] == "circuit short to ground"
    assert isinstance(found["causes"], list)
    assert set(found) == set(codes.CodeAnswer.__dataclass_fields__)


def test_command_leaves_a_mistake_to_the_command_line(command, home) -> None:
    assert isinstance(CliRunner().invoke(command, ["code", "hello"]).exception, UserError)
