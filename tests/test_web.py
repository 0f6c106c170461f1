"""The page in a real Chromium, with the real model: an owner's way through it, in both languages, on both screens."""

from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image
from playwright.sync_api import Page, expect

from app.advisor import Advisor
from app.pages import web
from app.serving import server
from app.texts import say
from knowledge.text import LANGS, Lang
from tests.pages import SCREENS, Visit, ask_sample, upload
from tests.serving import operated

HOSTILE = "\"'><img src=x onerror=alert(1)>.jpg"


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("web-home")


@pytest.fixture(scope="module")
def address(home: Path) -> Iterator[str]:
    with operated(home) as url:
        yield url


@pytest.fixture
def open_page(visit: Visit) -> Visit:
    """Opens the owner's page."""

    def open_it(lang: Lang = "zh", screen: str = "desktop", url: str = "") -> Page:
        page = visit(url, lang, screen)
        page.get_by_role("button", name=say("page.sample", lang)).wait_for()
        return page

    return open_it


@pytest.mark.parametrize("screen", SCREENS)
@pytest.mark.parametrize("lang", LANGS)
def test_the_sample_is_answered(open_page, lang, screen):
    page = open_page(lang, screen)
    assert page.evaluate("document.documentElement.lang").startswith(lang)
    ask_sample(page, lang)
    level = page.locator(".yc-banner").get_attribute("data-level")
    expect(page.locator(".yc-banner h2")).to_have_text(say(f"level.{level}", lang))
    assert page.locator(".yc-steps li").count() >= 1
    assert page.locator(".yc-card[data-label]").count() >= 1
    assert page.locator(".yc-fixes details").count() >= 1
    assert page.locator(".yc-photo").evaluate("image => image.complete && image.naturalWidth > 300")
    assert page.evaluate("document.documentElement.scrollWidth") <= SCREENS[screen][0]


def test_a_hostile_name_and_the_servers_paths_stay_off_the_page(open_page, home, tmp_path):
    photo = tmp_path / HOSTILE
    shutil.copyfile(web.SAMPLE, photo)
    page = open_page("en")
    upload(page, photo)
    page.locator(".yc-banner").wait_for()
    html = page.content()
    assert "onerror" not in html
    assert str(home) not in html
    assert str(web.SAMPLE.parent) not in html


def test_a_file_that_is_no_photo_gets_one_sentence_and_the_page_goes_on(open_page, tmp_path):
    fake = tmp_path / "note.jpg"
    fake.write_text("not a photo")
    page = open_page("zh")
    upload(page, fake)
    alert = page.locator(".yc-error")
    alert.wait_for()
    assert alert.inner_text().endswith("。")
    expect(page.locator(".yc-banner")).to_have_count(0)
    upload(page, web.SAMPLE)
    page.locator(".yc-banner").wait_for()
    expect(alert).to_have_count(0)


def test_heic_from_a_phone_is_answered(open_page, tmp_path):
    import pillow_heif

    photo = tmp_path / "IMG_0001.HEIC"
    with Image.open(web.SAMPLE) as image:
        pillow_heif.from_pillow(image.convert("RGB")).save(photo)
    page = open_page("en", "phone")
    upload(page, photo)
    page.locator(".yc-banner").wait_for()


def test_lamps_stand_there_before_the_words_on_the_screen(open_page, shared, monkeypatch):
    """Words take a second longer; meanwhile the lamps' advice is there, and questions wait."""
    held = threading.Event()
    read = Advisor.read

    def slowly(self, diagnosis, rgb):
        assert held.wait(60)
        return read(self, diagnosis, rgb)

    monkeypatch.setattr(Advisor, "read", slowly)
    page = open_page("en")
    upload(page, shared / "data" / "lights-dev" / "photos" / "p053.webp")
    page.locator(".yc-banner").wait_for()
    expect(page.locator("#yc-reading")).to_have_text(say("page.reading", "en"))
    expect(page.locator(".yc-written")).to_have_count(0)
    assert all(radio.is_disabled() for radio in page.locator(".yc-question input:visible").all())
    held.set()
    page.locator(".yc-written").wait_for()
    assert "Not Ready to Drive" in page.locator(".yc-written").inner_text()
    assert page.locator("#yc-reading").count() == 0 or not page.locator("#yc-reading").is_visible()
    assert page.locator(".yc-question input:enabled").count() >= 1


def test_the_language_can_be_switched_under_an_answer(open_page):
    page = open_page("zh")
    ask_sample(page, "zh")
    level = page.locator(".yc-banner").get_attribute("data-level")
    page.locator("#yc-language").get_by_text("English").click()
    page.get_by_role("heading", name=say("part.lamps", "en")).wait_for()
    expect(page.locator(".yc-banner h2")).to_have_text(say(f"level.{level}", "en"))
    assert page.evaluate("document.documentElement.lang") == "en"
    assert page.title() == say("page.title", "en")


def test_an_answered_question_changes_the_advice_without_another_look(open_page, address, home, monkeypatch):
    """The sample shows an engine lamp: a flashing one is worse than a steady one."""
    page = open_page("en")
    ask_sample(page, "en")
    questions = page.locator(".yc-question:visible")
    assert questions.count() >= 1
    monkeypatch.setattr(Advisor, "diagnose", None)  # whoever looked again would fail

    seen = set()
    first = questions.first
    for answer in first.locator("label:has(input)").all():
        answer.click()
        for _ in range(20):  # an answer may also change nothing, so it cannot be waited for
            page.wait_for_timeout(500)
            seen.add(page.locator("#yc-banner").inner_text() + page.locator("#yc-steps").inner_text())
            if len(seen) >= 2:
                break
        expect(page.locator(".yc-error")).to_have_count(0)
    assert len(seen) >= 2


@pytest.mark.parametrize(
    "path",
    [
        "/gradio_api/file=/etc/passwd",
        "/gradio_api/file={upload}",
        "/gradio_api/file/{upload}",
        "/gradio_api/file=http://127.0.0.1:1/",
        "/gradio_api/proxy=http://127.0.0.1:1/",
        "/gradio_api/file%3D{upload}",
        "/docs",
    ],
)
def test_no_route_hands_out_files(address, open_page, path):
    page = open_page("en")
    sent = page.request.post(
        f"{address}/gradio_api/upload",
        multipart={"files": {"name": "photo.jpg", "mimeType": "image/jpeg", "buffer": web.SAMPLE.read_bytes()}},
    )
    assert sent.ok
    (stored,) = sent.json()
    assert Path(stored).is_file()
    assert page.request.get(address + path.format(upload=stored)).status == 404


def test_uploads_are_deleted(tmp_path, open_page, monkeypatch):
    monkeypatch.setattr(web, "UPLOAD_LIFE", 10)  # long enough for the photo to be looked at
    with operated(tmp_path) as url:
        page = open_page("zh", url=url)
        upload(page, web.SAMPLE)
        page.locator(".yc-banner").wait_for()
        deadline = time.monotonic() + 120
        while left := [path for path in (tmp_path / "uploads").rglob("*") if path.is_file()]:
            assert time.monotonic() < deadline, left
            time.sleep(0.2)


def test_too_large_an_upload_is_refused(tmp_path, open_page, monkeypatch):
    monkeypatch.setattr(server, "MAX_UPLOAD_BYTES", 10_000)
    with operated(tmp_path) as url:
        page = open_page("zh", url=url)
        photo = {"name": "photo.jpg", "mimeType": "image/jpeg", "buffer": bytes(20_000)}
        assert page.request.post(f"{url}/gradio_api/upload", multipart={"files": photo}).status == 413


@pytest.mark.parametrize(
    ("accepted", "lang"),
    [
        ("", "zh"),
        ("*", "zh"),
        ("zh-CN,zh;q=0.9,en;q=0.8", "zh"),
        ("en-US,en;q=0.9,zh;q=0.5", "en"),
        ("en;q=0.3,zh-TW;q=0.7", "zh"),
        ("fr-FR,fr;q=0.9,en;q=0.4,zh;q=0.2", "en"),
        ("de", "en"),
        ("zh;q=nonsense,en", "en"),
    ],
)
def test_the_browsers_language_comes_first(accepted, lang):
    assert web.preferred(accepted) == lang
