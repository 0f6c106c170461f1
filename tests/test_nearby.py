"""Workshops nearby: on a phone in Chromium, with and without the right to its position; and over the API."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from urllib.parse import unquote

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from playwright.sync_api import Page, expect

from app.advisor import Advisor
from app.api import routes as api
from app.pages.nearby_page import cards, near, place_of, services_of, shops_of
from app.records.accounts import Accounts
from app.texts import say
from knowledge.shops import Shop, nearest
from knowledge.text import LANGS, Lang, UserError
from tests.pages import SCREENS, Visit
from tests.serving import operated

TABLE = """名称,地址,纬度,经度,电话,服务,营业时间
老王汽修,中山路 18 号,31.2304,121.4737,021-63281234,换机油、刹车,周一至周日 0:00-24:00
远店,外环路 200 号,31.4000,121.6000,13800001234,救援、轮胎,24小时
看心情小店,弄堂里,31.2400,121.4900,,轮胎、钣金,看心情
"""
HERE = {"latitude": 31.23456789, "longitude": 121.48765432}
OWNERS_PLACE = ("31.2345", "31.2346", "121.4876", "121.4877")


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("nearby-home")
    (folder / "shops.csv").write_text(TABLE, "utf-8")
    return folder


@pytest.fixture(scope="module")
def address(home: Path) -> Iterator[str]:
    with operated(home) as url:
        yield url


@pytest.fixture
def owner(visit: Visit) -> Visit:
    """A phone with the workshops' part unfolded."""

    def come(lang: Lang = "zh", url: str = "", **more: object) -> Page:
        page = visit(url, lang, "phone", **more)
        page.get_by_role("button", name=say("page.sample", lang)).wait_for()
        page.locator("#yc-nearby > button.label-wrap").click()
        page.locator("#yc-nearby-intro .yc-quiet").first.wait_for()
        return page

    return come


def names(page: Page) -> list[str]:
    return page.locator(".yc-shops h4").all_inner_texts()


@pytest.mark.parametrize("lang", LANGS)
def test_with_the_phones_position(owner, home: Path, lang: Lang):
    page = owner(lang, geolocation=HERE, permissions=["geolocation"])
    expect(page.locator(".yc-shops")).to_have_count(0)  # nobody is asked for the position without a tap
    page.locator("#yc-locate").click()
    page.locator(".yc-shops").wait_for()
    assert names(page) == ["看心情小店", "老王汽修", "远店"]
    states = [say(f"shops.{state}", lang) for state in ("open_unknown", "open", "open")]
    assert page.locator(".yc-shops .yc-badge").all_inner_texts() == states
    links = [unquote(a.get_attribute("href")) for a in page.locator(".yc-shops a").all()]
    assert "tel:02163281234" in links
    assert any(link.startswith("geo:31.230400,121.473700") for link in links)
    assert any(link.startswith("https://maps.apple.com/?ll=31.230400,121.473700") for link in links)
    assert any(link.startswith("https://uri.amap.com/marker?position=121.473700,31.230400") for link in links)
    assert not [link for link in links if any(part in link for part in OWNERS_PLACE)]
    assert page.evaluate("document.documentElement.scrollWidth") <= SCREENS["phone"][0]

    page.locator("#yc-service input").first.click()
    page.get_by_role("option", name="轮胎").click()
    page.locator(".yc-shops h4", has_text="老王汽修").wait_for(state="detached")
    assert names(page) == ["看心情小店", "远店"]  # at the same place
    page.locator("#yc-open-only input").check()
    page.locator(".yc-shops h4", has_text="看心情小店").wait_for(state="detached")
    assert names(page) == ["远店"]

    held = page.content() + "".join(page.evaluate("Object.values({...localStorage, ...sessionStorage})"))
    assert not [part for part in OWNERS_PLACE if part in held]
    kept = b"".join(path.read_bytes() for path in home.rglob("*") if path.is_file())
    assert not [part for part in OWNERS_PLACE if part.encode() in kept]


def test_refused_and_typed_instead(owner):
    page = owner("zh", permissions=[])
    page.locator("#yc-locate").click()
    page.locator("#yc-shops .yc-error").get_by_text(say("nearby.denied", "zh")).wait_for()
    typed = page.locator("#yc-place input, #yc-place textarea").first
    typed.fill("没有坐标")
    page.locator("#yc-place-search").click()
    page.locator("#yc-shops .yc-error").get_by_text(say("nearby.no_place", "zh")).wait_for()
    typed.fill("121.60，31.40")  # the longitude first, as Amap writes it
    typed.press("Enter")
    page.locator(".yc-shops").wait_for()
    assert names(page)[0] == "远店"
    page.locator("#yc-language").get_by_text("English").click()
    page.locator(".yc-shops").get_by_text(say("nearby.map", "en")).first.wait_for()
    assert names(page)[0] == "远店"


def test_over_plain_http_the_browser_tells_no_position(owner, address: str):
    page = owner("en", geolocation=HERE, permissions=["geolocation"])
    page.evaluate("Object.defineProperty(window, 'isSecureContext', {value: false})")
    page.locator("#yc-locate").click()
    page.locator("#yc-shops .yc-error").get_by_text(say("nearby.insecure", "en")).wait_for()


def test_without_a_table(owner, tmp_path: Path):
    with operated(tmp_path) as url:
        page = owner("zh", url=url)
        intro = page.locator("#yc-nearby-intro")
        intro.get_by_text(say("nearby.no_table", "zh")).wait_for()
        assert "YANGCHE_HOME/shops.csv" in intro.inner_text()
        expect(page.locator("#yc-locate")).not_to_be_visible()


# --- apart from the browser ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("31.23,121.47", (31.23, 121.47)), (" 31.23， 121.47 ", (31.23, 121.47)), ("121.47,31.23", (31.23, 121.47)),
        ("31.23 121.47", (31.23, 121.47)), ("(31.23, 121.47)", (31.23, 121.47)), ("-33.9,151.2", (-33.9, 151.2)),
        ("33.9° S, 151.2° E", (-33.9, 151.2)), ("151.2E 33.9S", (-33.9, 151.2)), ("−33.9,18.4", (-33.9, 18.4)),
        ("０,０", (0, 0)),
    ],
)  # fmt: skip
def test_places_as_map_apps_write_them(text, place):
    assert place_of(text) == place


@pytest.mark.parametrize("text", ["", "-", "31.23", "a,b", "91,181", "200,100", "1,2,3", "nan,nan", "1e2,3", "<b>,1"])
def test_what_is_no_place(text):
    with pytest.raises(UserError):
        place_of(text)


def test_hostile_shops_stay_words():
    hostile = "<img src=x onerror=1>\"'"
    shop = Shop(hostile, 1, 2, hostile, "110", (hostile,), hostile)
    html = cards(nearest([shop], 1, 2, 1), datetime(2026, 11, 25, 10), "zh")
    assert "<img" not in html
    assert 'onerror=1>"' not in html


def test_the_table_is_read_anew_once_it_changed(tmp_path: Path):
    assert shops_of(tmp_path) is None
    table = tmp_path / "shops.csv"
    table.write_text(TABLE, "utf-8")
    shops = shops_of(tmp_path)
    assert services_of(shops) == ["换机油", "刹车", "救援", "轮胎", "钣金"]
    table.write_text(TABLE.replace("老王", "老李"), "utf-8")
    assert shops_of(tmp_path)[0].name == "老李汽修"
    night = datetime(2026, 11, 25, 3)
    assert [one.shop.name for one in near(shops, (31.4, 121.6), night, open_only=True)] == ["远店", "老王汽修"]


@pytest.fixture
def client(home: Path) -> TestClient:
    app = FastAPI()
    api.mount(app, Advisor.open(home), Accounts.open(home))
    return TestClient(app, base_url="http://testserver/api/v1/", raise_server_exceptions=False)


def test_shops_over_the_api(client: TestClient, caplog):
    caplog.set_level(logging.DEBUG, "app")
    found = client.get("shops", params={**HERE, "k": 2}).json()["shops"]
    assert [one["name"] for one in found] == ["看心情小店", "老王汽修"]
    assert (found[0]["open"], found[1]["open"], found[1]["tel"]) == (None, True, "tel:02163281234")
    (only,) = client.get("shops", params={**HERE, "service": "轮胎", "open_only": True}).json()["shops"]
    assert only["name"] == "远店"
    for params in ({"latitude": 91, "longitude": 0}, {"latitude": "nan", "longitude": 0}, {"latitude": 1}):
        refused = client.get("shops", params=params)
        assert refused.status_code == 422
        assert set(refused.json()["error"]) == set(LANGS)
    assert not [part for part in OWNERS_PLACE if part in caplog.text]


def test_no_table_and_a_broken_one_over_the_api(tmp_path: Path):
    app = FastAPI()
    api.mount(app, Advisor.open(tmp_path), Accounts.open(tmp_path))
    client = TestClient(app, base_url="http://testserver/api/v1/", raise_server_exceptions=False)
    missing = client.get("shops", params=HERE)
    assert (missing.status_code, missing.json()["error"]["zh"]) == (404, say("nearby.no_table", "zh"))
    (tmp_path / "shops.csv").write_text("name\nx\n", "utf-8")
    broken = client.get("shops", params=HERE)
    assert broken.status_code == 503
    assert str(tmp_path) not in broken.text


def test_maintenance_over_the_api(client: TestClient, home: Path):
    told = {"drive": "petrol", "km": 62_000, "since": "2020-05", "done": ["oil=10000@2021-02", "coolant=@2021-03"]}
    answer = client.get("maintenance", params={**told, "lang": "en"})
    assert answer.status_code == 200, answer.text
    due = {one["item"]: one for one in answer.json()["due"]}
    assert (due["oil"]["state"], due["oil"]["km_left"]) == ("overdue", -42_000)
    assert due["coolant"]["state"] == "overdue"
    assert due["spark_plugs"]["state"] == "unknown"
    assert answer.json()["due"][0]["state"] == "overdue"
    for bad, status in (({"drive": "steam"}, 422), ({**told, "done": "x"}, 400), ({**told, "since": "soon"}, 400)):
        refused = client.get("maintenance", params=bad)
        assert refused.status_code == status, refused.text
        assert set(refused.json()["error"]) == set(LANGS)
    own = home / "maintenance.yaml"
    own.write_text("oil: {}", "utf-8")
    try:
        broken = client.get("maintenance", params={"drive": "petrol"})
        assert (broken.status_code, "oil" in broken.json()["error"]["en"]) == (503, True)
    finally:
        own.unlink()
