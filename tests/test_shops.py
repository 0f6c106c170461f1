"""Workshops nearby: tables in the encodings that people save them in, real distances, hours as shops write them."""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from app.commands.shops import add_to
from knowledge.opening_hours import week_of
from knowledge.shops import EXAMPLE, Shop, distance_km, load_shops, nearest, write_template
from knowledge.text import LANGS, UserError

ZH = "名称,地址,纬度,经度,电话,服务,营业时间\n"
GOOD = "老王汽修,南京路1号,31.2304,121.4737,021-6328 1234,换机油、刹车,周一至周六 8:30-17:30; 周日休息\n"
EN = "name;address;latitude;longitude;phone;services;hours\n"
MONDAY = datetime(2026, 1, 5)  # a Monday


def table(tmp_path: Path, text: str, encoding: str = "utf-8") -> Path:
    path = tmp_path / "shops.csv"
    path.write_bytes(text.encode(encoding))
    return path


# --- the table -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "gb18030", "utf-16"])
@pytest.mark.parametrize("ends", ["\n", "\r\n"])
def test_a_table_in_any_encoding(tmp_path, encoding, ends) -> None:
    shops, refusals = load_shops(table(tmp_path, (ZH + GOOD).replace("\n", ends), encoding))
    assert refusals == ()
    hours = "周一至周六 8:30-17:30; 周日休息"
    assert shops == (
        Shop("老王汽修", 31.2304, 121.4737, "南京路1号", "021-6328 1234", ("换机油", "刹车"), hours),
    )  # fmt: skip


def test_english_columns_with_semicolons_and_decimal_commas(tmp_path) -> None:
    shops, refusals = load_shops(table(tmp_path, EN + 'Smith;"1 High St; rear";51,5072;-0,1276;;oil, tyres;24/7\n'))
    assert not refusals
    assert (shops[0].latitude, shops[0].longitude) == (51.5072, -0.1276)
    assert shops[0].address == "1 High St; rear"
    assert shops[0].services == ("oil", "tyres")
    assert shops[0].tel_link is None


def test_only_name_and_place_are_needed(tmp_path) -> None:
    shops, _ = load_shops(table(tmp_path, "lat,lon,name,whatever\n1.5,2.5,A,x\n"))
    assert shops == (Shop("A", 1.5, 2.5),)


@pytest.mark.parametrize(
    ("row", "zh", "en"),
    [
        (",x,31,121,,,", "没有名称", "name is missing"),
        ("A,x,,121,,,", "没有纬度", "latitude is missing"),
        ("A,x,31,,,,", "没有经度", "longitude is missing"),
        ("A,x,north,121,,,", "纬度看不懂：north", "Cannot read the latitude: north"),
        ("A,x,31,1e2,,,", "经度看不懂", "Cannot read the longitude"),
        ("A,x,nan,121,,,", "纬度看不懂", "Cannot read the latitude"),
        ("A,x,121.47,31.23,,,", "写反", "swapped"),
        ("A,x,31,181,,,", "-180 到 180", "-180 and 180"),
        ("A,x,0,0,,,", "没有填", "not filled in"),
        ("A,x,31,121,call me,,", "电话看不懂：call me", "phone number: call me"),
        ("A,x,31,121", "4 格，应有 7 格", "4 cells instead of 7"),
        ("A,x,31,121,,,8:00-12:00,13:00-17:00", "8 格", "quotation marks"),
        ("A" * 301 + ",x,31,121,,,", "名称太长", "name is too long"),
        (f"{EXAMPLE.zh},x,31,121,,,", "示例", "example"),
        (GOOD.strip(), "第 2 行已经有", "in line 2 already"),
    ],
)
def test_a_bad_row_is_named_and_stops_no_other(tmp_path, row, zh, en) -> None:
    shops, refusals = load_shops(table(tmp_path, ZH + GOOD + "\n" + row + "\nB,y,30,120,,,\n"))
    assert [shop.name for shop in shops] == ["老王汽修", "B"]
    ((line, reason),) = refusals
    assert line == 4
    assert zh in reason.zh
    assert en in reason.en


def test_damaged_bytes_cost_one_row(tmp_path) -> None:
    path = tmp_path / "shops.csv"
    path.write_bytes((ZH + GOOD).encode() + "坏".encode()[:2] + ",x,31,121,,,\n好店,x,31,121,,,\n".encode())
    shops, ((line, reason),) = load_shops(path)
    assert [shop.name for shop in shops] == ["老王汽修", "好店"]
    assert line == 3
    assert "UTF-8" in reason.en


@pytest.mark.parametrize(
    ("text", "said"),
    [("", "empty"), ("name,address\nA,x\n", "latitude, longitude"), ("name,lat,lon,lat\nA,1,2,3\n", "two columns"),
     ("PK\x03\x04\x00\x00", "lacks")],
)  # fmt: skip
def test_what_is_no_table_is_said(tmp_path, text, said) -> None:
    with pytest.raises(UserError, match=said):
        load_shops(table(tmp_path, text))


def test_no_file(tmp_path) -> None:
    with pytest.raises(UserError, match="no file"):
        load_shops(tmp_path / "nowhere.csv")


@pytest.mark.parametrize("lang", LANGS)
def test_the_template_can_be_filled_in(tmp_path, lang) -> None:
    path = tmp_path / "t.csv"
    write_template(path, lang)
    shops, refusals = load_shops(path)
    assert shops == ()  # nobody is sent to an example
    assert "样表" in refusals[0].reason.zh
    path.write_text(path.read_text("utf-8-sig").replace(EXAMPLE.in_(lang), "My shop"), "utf-8")
    (shop,), refusals = load_shops(path)
    assert not refusals
    assert week_of(shop.hours) is not None
    assert shop.tel_link in ("tel:02112345678", "tel:+442079460000")
    with pytest.raises(UserError, match="there already"):
        write_template(path, lang)
    with pytest.raises(UserError, match=r"\.csv"):
        write_template(tmp_path / "t.xlsx", lang)


# --- near ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("places", "km"),
    [
        ((0, 0, 0, 180), 20015.115),  # half way round: pi R
        ((0, 0, 0, 1), 111.195),  # one degree: pi R / 180
        ((0, 179.5, 0, -179.5), 111.195),  # across the date line
        ((90, 0, -90, 77), 20015.115),
        ((31.2304, 121.4737, 31.2304, 121.4737), 0),
        ((36.12, -86.67, 33.94, -118.40), 2886.449),  # Nashville to Los Angeles, the usual example (R = 6371.0088)
    ],
)
def test_distances(places, km) -> None:
    assert distance_km(*places) == pytest.approx(km, abs=0.01)


def test_the_nearest_come_first() -> None:
    far, near, mid = Shop("far", 33, 121), Shop("near", 31.01, 121, services=("更换机油",)), Shop("mid", 32, 121)
    assert [one.shop for one in nearest([far, near, mid], 31, 121, 2)] == [near, mid]
    assert nearest([far, near, mid], 31, 121, 9)[0].km == pytest.approx(1.112, abs=0.001)
    assert [one.shop for one in nearest([far, near, mid], 31, 121, 9, "机油")] == [near]
    assert nearest([far, near, mid], 31, 121, 9, "轮胎") == ()
    assert Shop("A", 0, 1, services=("Oil Change",)).offers("ｏｉｌ")


@pytest.mark.parametrize("place", [(121.47, 31.23), (float("nan"), 1), (1, 200)])
def test_no_place_on_earth(place) -> None:
    with pytest.raises(UserError, match="latitude"):
        nearest([], *place, 1)


@pytest.mark.parametrize(
    ("phone", "link"),
    [
        ("021-6328 1234", "tel:02163281234"), ("+86 138 0000 0000", "tel:+8613800000000"), ("１２２", "tel:122"),
        ("021-63281234转801", "tel:02163281234"), ("(0571) 8888 1234 ext. 5", "tel:057188881234"),
        ("021-63281234 / 13800000000", "tel:02163281234"), ("+44 (0)20 7946 0000", "tel:+442079460000"), ("", None),
    ],
)  # fmt: skip
def test_a_number_to_tap(phone, link) -> None:
    assert Shop("A", 1, 2, phone=phone).tel_link == link


def test_a_map_to_tap() -> None:
    link = Shop("老王(汽修)&1", 31.2304, -121.4737).map_link
    assert link.startswith("geo:31.230400,-121.473700?q=31.230400,-121.473700(%E8")
    assert link.isascii()
    assert link.count("(") == link.count(")") == 1
    assert "&" not in link


# --- hours ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("hours", "day", "time", "is_open"),  # days: 0 is Monday
    [
        ("08:00-18:00", 6, "08:00", True), ("08:00-18:00", 6, "07:59", False), ("08:00-18:00", 0, "18:00", False),
        ("8：00－18：00", 0, "17:59", True), ("营业时间：8点至18点半", 0, "18:29", True),
        ("周一至周六 8:30-17:30; 周日休息", 5, "17:00", True), ("周一至周六 8:30-17:30; 周日休息", 6, "12:00", False),
        ("周一至周六 8:30-17:30", 6, "12:00", False), ("周一至五8:30-17:30，周六日9:00-12:00", 6, "11:00", True),
        ("Mo-Fr 08:00-18:00; Sa 09:00-13:00", 4, "09:00", True),
        ("Mo-Fr 08:00-18:00; Sa 09:00-13:00", 5, "13:00", False),
        ("Mo-Fr 08:00-18:00; Sa 09:00-13:00", 6, "10:00", False),
        ("Mon-Fri: 9:00 am - 5:30 pm, Sat 9am-1pm", 2, "17:29", True),
        ("Mon, Wed and Fri 9:00-17:00", 1, "12:00", False), ("Mon, Wed and Fri 9:00-17:00", 2, "12:00", True),
        ("24小时", 3, "03:00", True), ("24/7", 3, "23:59", True), ("全天24小时营业", 0, "00:00", True),
        ("20:00-02:00", 0, "23:00", True), ("20:00-02:00", 0, "01:59", True), ("20:00-02:00", 0, "02:00", False),
        ("周五 20:00-02:00", 5, "01:00", True), ("周五 20:00-02:00", 4, "01:00", False),
        ("周日 20:00-02:00", 0, "01:00", True),  # Sunday's night goes on into Monday
        ("8:00-12:00, 13:30-17:30", 1, "12:30", False), ("8:00-12:00；13:30-17:30", 1, "14:00", True),
        ("上午8点至12点，下午1点至下午5点半", 1, "17:00", True), ("晚上8点到早上6点", 1, "05:00", True),
        ("周六至周一 10:00-22:00", 0, "10:00", True), ("周六至周一 10:00-22:00", 1, "10:00", False),
        ("每天 8:00-18:00; 周三休息", 2, "10:00", False), ("00:00-24:00", 2, "23:59", True),
    ],
)  # fmt: skip
def test_open_or_not(hours, day, time, is_open) -> None:
    when = datetime.fromisoformat(f"{MONDAY:%Y-%m}-{MONDAY.day + day:02}T{time}")
    assert Shop("A", 1, 2, hours=hours).open_at(when) is is_open


@pytest.mark.parametrize(
    "hours",
    ["", "看心情", "9:00-6:00", "8-18", "9:00-6pm", "下午1点到5点", "Mo-Fr 08:00-18:00; PH off", "节假日休息", "休息",
     "不营业", "25:00-26:00", "8:61-9:00", "8:00", "8:00-17:00, 12:00-13:00", "周日 8:00-12:00; 周日 13:00-17:00",
     "周日休息", "8:00-18:00（午休12:00-13:00）", "夏季 8:00-19:00", "closed Sunday", "八点到六点",
     "10:00-10:00", "24:00-02:00",
     "Mo- 8:00-9:00", "周一至 8:00-9:00", "8:00-18:00 closed", "13am-2pm", "-" * 5000],
)  # fmt: skip
def test_what_is_not_understood_is_not_guessed(hours) -> None:
    assert Shop("A", 1, 2, hours=hours).open_at(MONDAY.replace(hour=10)) is None


# --- the command line ----------------------------------------------------------------------------------------------


def run(*arguments: object):
    app = typer.Typer()
    app.callback()(lambda: None)
    add_to(app)
    return CliRunner().invoke(app, ["shops", *map(str, arguments)])


def test_commands(tmp_path, home) -> None:
    result = run("near", 31.2, 121.4, "--lang", "en")
    assert isinstance(result.exception, UserError)
    assert "shops template" in result.exception.text.zh

    home.mkdir()
    path = home / "shops.csv"
    assert run("template", path, "--lang", "zh").exit_code == 0
    path.write_text(ZH + GOOD + "远店,x,-33.9,151.2,,轮胎,看心情\n,x,1,2,,,\n", "utf-8")

    checked = run("check", path, "--lang", "zh")
    assert checked.exit_code == 1
    assert "第 4 行：没有名称。" in checked.output
    assert "可用的门店：2 家" in checked.output
    assert "远店：营业时间看不懂" in checked.output

    near = run("near", -33.91, 151.21, "--lang", "en")
    assert near.exit_code == 0, near.output
    assert near.stdout.splitlines()[0] == "远店  1.4 km as the crow flies  call to ask whether it is open"
    assert "1 rows were left out" in near.stderr

    lines = run("near", 31.2, 121.4, "--json", "--file", path).stdout.splitlines()
    rows = [json.loads(line) for line in lines]
    assert [row["name"] for row in rows] == ["老王汽修", "远店"]
    assert rows[0]["tel"] == "tel:02163281234"
    assert rows[0]["open"] in (True, False)
    assert rows[1]["open"] is None
    (only,) = run("near", 31.2, 121.4, "--json", "--service", "轮胎").stdout.splitlines()
    assert json.loads(only)["name"] == "远店"
    assert "No such workshop" in run("near", 31.2, 121.4, "--service", "飞机", "--lang", "en").stderr
