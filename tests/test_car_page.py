""" "My car" in Chromium at the size of a phone: filled in, still there, kept on the server on request, deleted."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from app.advisor import Advisor
from app.pages.car_desk import CarDesk, history_html
from app.pages.sitting import Page as SittingPage
from app.pages.web import SAMPLE
from app.records.garage import DATABASE, Dossier, Garage
from app.texts import say
from knowledge.archive import Archive
from knowledge.case import read_case
from knowledge.text import LANGS, Lang, UserError
from knowledge.vehicles import Vehicle
from tests.pages import SCREENS, Visit, ask_sample
from tests.serving import operated

PLATE = "沪A12345"


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("car-home")


@pytest.fixture(scope="module")
def address(home: Path) -> Iterator[str]:
    with operated(home) as url:
        yield url


@pytest.fixture
def owner(visit: Visit) -> Visit:
    """A new owner's phone with the car's part unfolded."""

    def come(lang: Lang = "zh") -> Page:
        page = visit(lang=lang, screen="phone")
        open_car(page, lang)
        return page

    return come


def open_car(page: Page, lang: Lang = "zh") -> None:
    page.get_by_role("button", name=say("page.sample", lang)).wait_for()
    page.locator("#yc-car > button.label-wrap").click()
    page.locator("#yc-car-where .yc-quiet").wait_for()  # what is kept was read


def field(page: Page, name: str):
    return page.locator(f"#{name} input, #{name} textarea").first


def said(page: Page, sentence: str) -> None:
    page.locator("#yc-car-status").get_by_text(sentence).wait_for()


def fill(page: Page, lang: Lang = "zh", km: str = "62000") -> None:
    for name, value in {"brand": "大众", "series": "帕萨特", "since": "2020-05", "km": km, "plate": PLATE}.items():
        field(page, f"yc-car-{name}").fill(value)
    page.locator("#yc-car-drive input").first.click()
    page.get_by_role("option", name=say("car.petrol", lang)).click()
    page.locator("#yc-car-save").click()
    said(page, say("car.saved", lang))


def state_of(page: Page, item: str) -> str | None:
    return page.locator(f'#yc-due [data-item="{item}"]').get_attribute("data-state")


def wait_for_state(page: Page, item: str, state: str) -> None:
    page.locator(f'#yc-due [data-item="{item}"][data-state="{state}"]').wait_for(state="attached")


@pytest.mark.parametrize("lang", ["zh", "en"])
def test_filled_in_reloaded_still_there_and_never_on_the_server(owner, home: Path, lang: Lang):
    page = owner(lang)
    expect(page.locator("#yc-due").get_by_text(say("car.need_drive", lang))).to_be_visible()
    fill(page, lang)
    wait_for_state(page, "oil", "unknown")
    page.locator('#yc-due button[data-act="done"][data-key="oil"]').click()  # one tap: today, at 62,000 km
    wait_for_state(page, "oil", "later")
    assert "10,000" in (page.locator('#yc-due [data-item="oil"]').text_content() or "")
    assert page.evaluate("document.documentElement.scrollWidth") <= SCREENS["phone"][0]

    page.reload()
    open_car(page, lang)
    wait_for_state(page, "oil", "later")
    expect(field(page, "yc-car-brand")).to_have_value("大众")
    expect(field(page, "yc-car-km")).to_have_value("62000")
    expect(field(page, "yc-car-plate")).to_have_value(PLATE)
    expect(field(page, "yc-car-drive")).to_have_value(say("car.petrol", lang))
    assert not (home / DATABASE).exists()

    page.locator("#yc-car-delete").click()
    page.locator("#yc-car-sure").click()
    said(page, say("car.deleted", lang))
    expect(field(page, "yc-car-plate")).to_have_value("")
    page.reload()
    open_car(page, lang)
    expect(field(page, "yc-car-brand")).to_have_value("")
    expect(page.locator("#yc-due").get_by_text(say("car.need_drive", lang))).to_be_visible()


def test_kept_on_the_server_for_this_browser_alone(owner, home: Path):
    page = owner()
    fill(page)
    page.locator("#yc-car-server input").check()
    said(page, say("car.moved_in", "zh"))
    with sqlite3.connect(home / DATABASE) as db:
        ((key, body),) = db.execute("SELECT token_sha256, body FROM cars").fetchall()
    assert json.loads(body)["car"]["plate"] == PLATE
    page.reload()
    open_car(page)
    page.locator("#yc-car-where").get_by_text(say("car.in_server", "zh")[:8]).wait_for()
    expect(field(page, "yc-car-plate")).to_have_value(PLATE)
    expect(page.locator("#yc-car-server input")).to_be_checked()

    stranger = owner()
    expect(field(stranger, "yc-car-plate")).to_have_value("")
    assert PLATE not in stranger.content()
    assert stranger.request.get(f"{page.url}api/v1/cars/{key}").status == 404

    page.locator('#yc-due button[data-key="oil"]').first.click()
    said(page, say("car.noted", "zh", item="机油和机油滤芯"))
    page.locator("#yc-car-delete").click()
    page.locator("#yc-car-sure").click()
    said(page, say("car.deleted", "zh"))
    assert PLATE.encode() not in b"".join(path.read_bytes() for path in home.glob(f"{DATABASE}*"))
    with sqlite3.connect(home / DATABASE) as db:
        assert db.execute("SELECT count(*) FROM cars").fetchone() == (0,)


def test_moved_back_and_a_car_that_the_server_lost(owner, home: Path):
    page = owner()
    fill(page)
    page.locator("#yc-car-server input").check()
    said(page, say("car.moved_in", "zh"))
    page.locator("#yc-car-server input").uncheck()
    said(page, say("car.moved_out", "zh"))
    page.reload()
    open_car(page)
    expect(field(page, "yc-car-plate")).to_have_value(PLATE)
    page.locator("#yc-car-server input").check()
    said(page, say("car.moved_in", "zh"))
    with sqlite3.connect(home / DATABASE) as db:
        assert db.execute("DELETE FROM cars").rowcount == 1
    page.reload()
    open_car(page)
    page.locator("#yc-car-status .yc-error").wait_for()
    fill(page)  # and it goes on, in the browser
    page.locator("#yc-car-where").get_by_text(say("car.in_browser", "zh")).wait_for()


def test_a_diagnosis_is_noted_by_one_tap_and_then_by_itself(owner):
    page = owner()
    fill(page)
    expect(page.locator("#yc-car-add")).not_to_be_visible()
    ask_sample(page, "zh")
    page.locator("#yc-car-add").click()
    said(page, say("car.added", "zh"))
    entries = page.locator("#yc-car-history .yc-due")
    entries.first.wait_for()
    expect(entries).to_have_count(1)
    level = page.locator(".yc-banner").get_attribute("data-level")
    assert say(f"level.{level}", "zh") in entries.inner_text()
    page.locator("#yc-car-add").click()  # the same photo again
    page.wait_for_timeout(1500)
    expect(entries).to_have_count(1)

    page.locator("#yc-car-history button[data-act=forget]").click()
    page.locator("#yc-car-history").get_by_text(say("car.no_history", "zh")).wait_for()
    page.locator("#yc-car-keep input").check()
    said(page, say("car.saved", "zh"))
    page.reload()
    open_car(page)
    expect(page.locator("#yc-car-keep input")).to_be_checked()
    ask_sample(page, "zh")
    entries.first.wait_for()
    page.reload()
    open_car(page)
    entries.first.wait_for()
    expect(entries).to_have_count(1)
    assert "data:image" not in page.locator("#yc-car").inner_html()


def test_what_cannot_be_read_is_told_and_nothing_is_kept(owner):
    page = owner()
    fill(page)
    page.locator('#yc-due button[data-key="oil"]').first.click()
    wait_for_state(page, "oil", "later")
    for km, part in (("much", "看不懂里程"), ("50000", "62000 公里")):
        field(page, "yc-car-km").fill(km)
        page.locator("#yc-car-save").click()
        page.locator("#yc-car-status .yc-error").get_by_text(part).wait_for()
    page.reload()
    open_car(page)
    expect(field(page, "yc-car-km")).to_have_value("62000")


def test_what_was_done_earlier_is_noted(owner):
    page = owner()
    fill(page)
    wait_for_state(page, "brake_fluid", "unknown")
    page.locator("#yc-earlier > button.label-wrap").click()
    page.locator("#yc-done-item input").first.click()
    page.get_by_role("option", name="刹车油").click()
    field(page, "yc-done-month").fill("2021-02")
    page.locator("#yc-done-note").click()
    wait_for_state(page, "brake_fluid", "overdue")
    page.locator('#yc-due [data-item="brake_fluid"] button[data-act="undo"]').click()
    wait_for_state(page, "brake_fluid", "unknown")
    page.locator('#yc-due [data-item="timing_belt"] summary').click()
    page.locator('#yc-due button[data-act="absent"][data-key="timing_belt"]').click()
    page.locator('#yc-due [data-item="timing_belt"]').wait_for(state="detached")
    page.locator('#yc-due button[data-act="restore"]').click()
    wait_for_state(page, "timing_belt", "unknown")


# --- apart from the browser ------------------------------------------------------------------------------------------


@pytest.fixture
def desk(tmp_path: Path) -> CarDesk:
    return CarDesk(tmp_path, Garage(tmp_path / DATABASE, 730))


def test_a_tap_that_no_button_of_ours_sends_is_refused(desk: CarDesk):
    for key in ("nonsense", "x" * 10_000, "<b>"):
        with pytest.raises(UserError):
            desk.tapped(Dossier(), "done", key, "zh")


def test_hostile_words_stay_words(desk: CarDesk):
    """The browser's own memory may hold anything."""
    hostile = "<img src=x onerror=1>"
    photo = {"key": hostile, "day": "2026-11-25", "kind": hostile[:20], "level": hostile[:20], "lamps": [hostile]}
    car = {"drive": "petrol", "brand": hostile, "gearbox": hostile[:20]}
    store = {"dossier": {"car": car, "seen": [photo], "absent": [hostile], "done": {hostile: {"km": 1}}}}
    dossier = desk.opened(store)
    assert dossier.seen  # it was taken
    for lang in LANGS:
        assert "<img" not in history_html(dossier, lang) + desk.due_html(dossier, lang)


def test_a_broken_schedule_is_told_in_place_of_the_list(desk: CarDesk):
    (desk.home / "maintenance.yaml").write_text("oil: {name: 5}", "utf-8")
    dossier = Dossier().with_car(drive="petrol")
    html = desk.due_html(dossier, "zh")
    assert "yc-error" in html
    assert "maintenance.yaml" in html
    assert str(desk.home) not in html
    assert desk.names(dossier, "zh") == []


def test_past_fixes_of_such_a_car_come_first(tmp_path: Path):
    """The brand however it is written. Lamps count for more than the car, the car for more than words."""
    lamps = {"丰田": ["oil_pressure"], "大众": ["oil_pressure"], "本田": ["oil_pressure", "abs", "airbag"]}
    archive = Archive.open(tmp_path)
    for brand, lights in lamps.items():
        archive.add(read_case({"case_id": brand, "brand": brand, "lights": lights, "fix": "更换机油泵"}), "technician")
    advisor = Advisor.open(tmp_path)
    desk = CarDesk(tmp_path, Garage.open(tmp_path))

    def order(brand: str) -> list[str]:
        vehicle = desk.vehicle({"dossier": {"car": {"brand": brand}}})
        hits = advisor.searcher.search_for_diagnosis(["oil_pressure"], k=100, vehicle=vehicle)
        return [hit.case.case_id for hit in hits if hit.case.case_id in lamps]

    assert order("VW") == ["大众", "丰田", "本田"]
    assert order("Toyota") == ["丰田", "大众", "本田"]
    assert order("Honda")[-1] == "本田"


def test_the_page_searches_for_the_owners_car(tmp_path: Path):
    """From the browser's store to the groups under the answer, and through the words that are read later."""
    page = SittingPage(Advisor.open(tmp_path))
    answer = page.read(page.look(SAMPLE.read_bytes(), Vehicle("大众", "帕萨特")))
    assert answer.diagnosis.vehicle == Vehicle("大众", "帕萨特")
    assert answer.diagnosis.to_json() == page.read(page.look(SAMPLE.read_bytes())).diagnosis.to_json()
    question = answer.asked[0]
    choice = next(iter(page.advisor.questions[question].choices))
    assert answer.put(question, choice, page.advisor).diagnosis.vehicle == Vehicle("大众", "帕萨特")
