"""Reports to keep and to share: drawers, routes, and an owner's way from photo to link to its end in Chromium."""

from __future__ import annotations

import base64
import http.client
import io
import re
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pymupdf
import pytest
from PIL import Image
from playwright.sync_api import expect

from app.advisor import Advisor
from app.pages.report_page import Link, ReportDesk
from app.pages.shared_page import PAGE, PDF
from app.pages.sitting import Page, Sitting
from app.records import cabinet as cabinets
from app.records.cabinet import Cabinet, new_token
from app.texts import say
from knowledge.text import LANGS, Lang, UserError
from tests.pages import LOCALES, SCREENS
from tests.serving import operated
from tests.test_answer_pdf import CAMERA, PHOTOS, photo_with_position


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("sharing-home")


@pytest.fixture(scope="module")
def address(home: Path) -> Iterator[str]:
    with operated(home) as url:
        yield url


@pytest.fixture(scope="module")
def desk(home: Path) -> ReportDesk:
    return ReportDesk(Page(Advisor.open(home)), Cabinet(home / "packages"))


@pytest.fixture(scope="module")
def sitting(desk: ReportDesk) -> Sitting:
    return Sitting.of([desk.page.read(desk.page.look(photo_with_position(PHOTOS["dashboard"])))])


@pytest.fixture
def link(desk: ReportDesk, sitting: Sitting) -> Link:
    return desk.share(sitting, "zh")


def status(address: str, path: str, method: str = "GET") -> tuple[int, bytes]:
    """The answer to a path that is sent as it stands: clients tidy paths up, attackers do not."""
    where = urlsplit(address)
    connection = http.client.HTTPConnection(where.hostname, where.port, timeout=30)
    connection.putrequest(method, path, skip_accept_encoding=True)
    connection.endheaders()
    answer = connection.getresponse()
    try:
        return answer.status, answer.read()
    finally:
        connection.close()


# --- drawers


def test_a_drawer_lives_as_long_as_it_was_opened_for(tmp_path, monkeypatch):
    cabinet = Cabinet(tmp_path / "packages")
    short, long = cabinet.open_drawer(), cabinet.open_drawer(time.time() + 7 * 86400)
    for drawer in (short, long):
        (drawer / PDF).write_bytes(b"%PDF")
    now = time.time()
    monkeypatch.setattr(cabinets.time, "time", lambda: now + cabinets.LIFE + 60)
    assert cabinet.file(short.name, PDF) is None
    assert cabinet.file(long.name, PDF) == long / PDF
    cabinet.sweep()
    assert [drawer.name for drawer in cabinet.folder.iterdir()] == [long.name]
    monkeypatch.setattr(cabinets.time, "time", lambda: now + 7 * 86400 + 60)
    assert cabinet.file(long.name, PDF) is None
    cabinet.sweep()
    assert list(cabinet.folder.iterdir()) == []


def test_only_the_key_ends_a_drawer(tmp_path):
    cabinet = Cabinet(tmp_path / "packages")
    key = new_token()
    drawer, other = cabinet.open_drawer(time.time() + 99, key), cabinet.open_drawer()
    for wrong in ("", "x", drawer.name, new_token(), key[:-1], "钥匙"):
        assert not cabinet.end(drawer.name, wrong)
    assert not cabinet.end(other.name, "")  # it has no key
    assert key not in "".join(file.read_text() for file in drawer.iterdir())
    assert cabinet.end(drawer.name, key)
    assert not drawer.exists()
    assert not cabinet.end(drawer.name, key)
    assert other.exists()


@pytest.mark.parametrize("token", ["", ".", "..", "../packages", "*" * 43, "a" * 43, "/etc", "\0" * 43, "中" * 43])
def test_a_token_is_no_path(tmp_path, token):
    cabinet = Cabinet(tmp_path / "packages")
    cabinet.open_drawer()
    (tmp_path / PDF).write_bytes(b"%PDF")
    (cabinet.folder / PDF).write_bytes(b"%PDF")
    assert cabinet.file(token, PDF) is None
    assert not cabinet.end(token, "")


def test_a_full_disk_is_told(tmp_path, monkeypatch):
    monkeypatch.setattr(cabinets, "KEEP_FREE", 2**60)
    with pytest.raises(UserError) as told:
        Cabinet(tmp_path / "packages").open_drawer()
    assert told.value.text.zh == say("keep.full", "zh")


def test_the_server_empties_drawers_though_nobody_comes(tmp_path, monkeypatch):
    monkeypatch.setattr(cabinets, "SWEEP", 0.2)
    cabinet = Cabinet(tmp_path / "packages")
    (cabinet.open_drawer(time.time() - 1) / PDF).write_bytes(b"%PDF")
    later, kept = cabinet.open_drawer(time.time() + 5), cabinet.open_drawer()
    with operated(tmp_path):
        deadline = time.monotonic() + 60
        while len(left := list(cabinet.folder.iterdir())) > 1:
            assert time.monotonic() < deadline, left
            time.sleep(0.1)
    assert left == [kept]
    assert not later.exists()


def test_nothing_is_left_behind_by_a_report_that_fails(desk, sitting, monkeypatch):
    before = set(desk.cabinet.folder.iterdir()) if desk.cabinet.folder.exists() else set()
    monkeypatch.setattr(Page, "annotated", lambda *_: 1 / 0)
    for make in (desk.save, desk.share):
        with pytest.raises(UserError) as told:
            make(sitting, "en")
        assert told.value.text.en == say("keep.failed", "en")
        with pytest.raises(UserError):
            make(None, "en")
    assert set(desk.cabinet.folder.iterdir()) == before


# --- what is stored


@pytest.mark.parametrize("photo", PHOTOS)
def test_no_byte_of_a_shared_report_tells_where_the_photo_was_taken(desk, photo):
    original = photo_with_position(PHOTOS[photo])
    drawer = desk.cabinet.folder / desk.share(Sitting.of([desk.page.look(original)]), "zh").token
    assert {file.name for file in drawer.iterdir()} == {PAGE, PDF, ".key", ".until"}
    html = (drawer / PAGE).read_text("utf-8")
    pictures = [base64.b64decode(data) for data in re.findall(r"data:image/jpeg;base64,([\w+/=]+)", html)]
    assert len(pictures) == 1
    assert Image.open(io.BytesIO(pictures[0])).getexif() == {}
    report = pymupdf.open(drawer / PDF)
    streams = [report.xref_stream(number) or b"" for number in range(1, report.xref_length())]
    for held in (html.encode(), (drawer / PDF).read_bytes(), *pictures, *streams):
        assert CAMERA.encode() not in held
        assert b"Exif" not in held
        assert original[-4096:-64] not in held


# --- routes


def test_a_link_opens_a_page_without_scripts(address, desk, sitting, link):
    answer = httpx.get(f"{address}/shared/{link.token}")
    assert answer.status_code == 200
    assert answer.headers["cache-control"] == "no-store"
    assert "noindex" in answer.headers["x-robots-tag"]
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    assert answer.headers["referrer-policy"] == "no-referrer"
    html = answer.text
    assert "<script" not in html
    assert not re.search(r"\son\w+=", html)
    assert link.key not in html
    assert say(f"level.{sitting.diagnosis.verdict.level}", "zh") in html
    assert f"{link.until.month}月{link.until.day}日" in html
    assert say("scene.ask_hint", "zh") not in html
    pdf = httpx.get(f"{address}/shared/{link.token}/{PDF}")
    assert pdf.headers["content-type"] == "application/pdf"
    assert "noindex" in pdf.headers["x-robots-tag"]
    assert pdf.content.startswith(b"%PDF")


def test_what_a_link_says_is_escaped(desk, sitting):
    """Messages are words off a photo, cases come from files: anybody may have written them."""
    from dataclasses import replace

    from knowledge.words import Message

    hostile = '"><script>alert(1)</script>'
    read = Message(text=hostile, box=(0.0, 0.0, 1.0, 1.0), confidence=0.9, light=None)
    answer = replace(sitting.answer, diagnosis=replace(sitting.diagnosis, messages=(read,)))
    token = desk.share(Sitting.of([answer]), "en").token
    html = desk.cabinet.file(token, PAGE).read_text("utf-8")
    assert "<script" not in html
    assert "&lt;script&gt;" in html


@pytest.mark.parametrize(
    "path",
    [
        "/shared/",
        "/shared/..",
        "/shared/../packages",
        "/shared/%2e%2e",
        "/shared/%2e%2e%2fuploads",
        "/shared/..%2f..%2fetc%2fpasswd",
        "/shared/%2e%2e/packages/{token}/page.html",
        "/shared/{token}/.key",
        "/shared/{token}/%2ekey",
        "/shared/{token}%2f.key",
        "/shared/{token}/../{token}/.key",
        "/shared/{token}%00",
        "/shared/{guess}",
        "/shared/{token}a",
        "/shared/{cut}",
        "/shared/{guess}/report.pdf",
        "/report/{guess}",
        "/report/{token}%2f.key",
        "/report/..%2faccounts.sqlite",
        "/evidence/{token}",
        "/gradio_api/file={folder}/{token}/page.html",
    ],
)
def test_guesses_and_tricks_find_nothing(address, desk, link, path):
    words = {"token": link.token, "guess": new_token(), "cut": link.token[:-1], "folder": desk.cabinet.folder}
    code, body = status(address, path.format(**words))
    assert code == 404
    assert (desk.cabinet.folder / link.token / ".key").read_bytes() not in body
    assert b"yc-banner" not in body


def test_a_link_is_ended_by_its_key_alone_and_at_once(address, desk, link):
    where = f"{address}/shared/{link.token}"
    for headers in ({}, {"x-end": ""}, {"x-end": link.token}, {"x-end": new_token()}):
        assert httpx.post(f"{where}/end", headers=headers).status_code == 404
    assert httpx.get(f"{where}/end").status_code in (404, 405)
    assert httpx.get(where).status_code == 200
    assert httpx.post(f"{where}/end", headers={"x-end": link.key}).status_code == 204
    assert not (desk.cabinet.folder / link.token).exists()
    for path in (where, f"{where}/{PDF}"):
        gone = httpx.get(path)
        assert gone.status_code == 404
        assert all(say("keep.gone", lang) in gone.text for lang in LANGS)


def test_a_link_whose_time_is_over_opens_nothing(address, desk, link):
    (desk.cabinet.folder / link.token / ".until").write_text(str(time.time() - 1))
    gone = httpx.get(f"{address}/shared/{link.token}")
    assert gone.status_code == 404
    assert say("keep.gone", "zh") in gone.text
    assert httpx.post(f"{address}/shared/{link.token}/end", headers={"x-end": link.key}).status_code == 404


def test_days_are_a_setting(monkeypatch, desk, sitting):
    monkeypatch.setenv("YANGCHE_SHARE_DAYS", "2")
    shorter = ReportDesk(desk.page, desk.cabinet).share(sitting, "en")
    assert 1.9 < (shorter.until.timestamp() - time.time()) / 86400 < 2.1


# --- the owner's way


@pytest.mark.parametrize(("lang", "screen"), list(zip(LANGS, reversed(SCREENS), strict=True)))
def test_from_photo_to_pdf_to_link_to_its_end(browser, address, home, tmp_path, lang: Lang, screen: str):
    width, height = SCREENS[screen]
    complaints: list[str] = []
    context = browser.new_context(viewport={"width": width, "height": height}, locale=LOCALES[lang])
    page = context.new_page()
    page.set_default_timeout(90_000)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.goto(address)
    page.get_by_text(say("page.tagline", lang)).wait_for()
    photo = tmp_path / "IMG_1.jpg"
    photo.write_bytes(photo_with_position(PHOTOS["dashboard"]))
    page.locator("input[type=file]").first.set_input_files(photo)
    page.locator(".yc-written").wait_for()
    page.locator("#yc-reading").wait_for(state="hidden")
    level = page.locator(".yc-banner h2").inner_text()

    with page.expect_download() as download:  # one click, no second
        page.locator("#yc-save-report").click()
    download.value.save_as(tmp_path / "saved.pdf")
    words = "".join(one.get_text() for one in pymupdf.open(tmp_path / "saved.pdf"))
    assert level in words

    page.locator("#yc-share").click()
    field = page.locator(".yc-link input")
    field.wait_for()
    page.wait_for_function("() => document.querySelector('.yc-link input').value.startsWith('http')")
    shared = field.input_value()
    assert re.fullmatch(re.escape(address) + r"/shared/[\w-]{43}", shared)
    assert page.evaluate("document.documentElement.scrollWidth") <= width

    page.evaluate("Object.defineProperty(navigator, 'clipboard', {value: undefined, configurable: true})")  # no https
    page.locator(".yc-copy").click()
    assert page.evaluate("getSelection().toString() || document.activeElement.value") == shared

    stranger = browser.new_context(viewport={"width": width, "height": height}, java_script_enabled=False)
    seen = stranger.new_page()
    asked: list[str] = []
    seen.on("request", lambda request: asked.append(request.url))
    assert seen.goto(shared).status == 200
    expect(seen.locator(".yc-banner h2")).to_have_text(level)
    assert seen.locator("img.yc-photo").bounding_box()["width"] > 300
    assert [url for url in asked if not url.startswith((address, "data:"))] == []
    href = seen.locator("a.yc-download").get_attribute("href")
    pdf = stranger.request.get(f"{address}/shared/{href}")
    assert pdf.body().startswith(b"%PDF")

    page.locator("#yc-language").get_by_text("English" if lang == "zh" else "中文").click()
    other: Lang = "en" if lang == "zh" else "zh"
    page.get_by_role("button", name=say("keep.end", other)).click()
    page.get_by_text(say("keep.ended", other)).wait_for()
    assert seen.reload().status == 404
    assert say("keep.gone", lang) in seen.content()
    assert not (home / "packages" / shared.rsplit("/", 1)[1]).exists()
    assert complaints == []
    stranger.close()
    context.close()
