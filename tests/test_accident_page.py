"""An accident on the page: a real Chromium, the real models, a real package."""

from __future__ import annotations

import io
import os
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import expect

from app.pages.evidence_page import hidden_boxes
from app.records.cabinet import LIFE, Cabinet
from app.texts import say
from knowledge.text import LANGS
from tests.pages import LOCALES, SCREENS
from tests.serving import operated

ACCIDENT = Path(__file__).resolve().parents[1] / "app" / "accident.jpg"


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with operated(tmp_path_factory.mktemp("accident-home")) as url:
        yield url


def opened(browser, address: str, lang: str, screen: str):
    width, height = SCREENS[screen]
    context = browser.new_context(viewport={"width": width, "height": height}, locale=LOCALES[lang])
    page = context.new_page()
    page.set_default_timeout(90_000)
    page.goto(address)
    page.locator("#yc-upload").wait_for()
    page.get_by_text(say("page.tagline", lang)).wait_for()
    page.locator("input[type=file]").first.set_input_files(ACCIDENT)
    page.locator(".yc-banner").wait_for()
    return page


@pytest.mark.parametrize(("lang", "screen"), list(zip(LANGS, SCREENS, strict=True)))
def test_an_accident_is_answered_and_packed(browser, address, tmp_path, lang, screen):
    page = opened(browser, address, lang, screen)
    assert page.locator(".yc-banner").get_attribute("data-level") == "stop"
    expect(page.locator(".yc-card[data-label=fire]")).to_have_count(1)
    assert page.evaluate("document.documentElement.scrollWidth") <= SCREENS[screen][0]
    steps = page.locator(".yc-steps ol > li")
    before = steps.all_inner_texts()
    assert page.locator(".yc-source").count() > len(before)  # each step says what it rests on

    question = page.locator(".yc-question:visible").first
    question.locator("label:has(input)").first.click()
    page.wait_for_function("old => document.querySelectorAll('.yc-steps ol > li').length !== old", arg=len(before))
    assert steps.all_inner_texts() != before

    page.locator("#yc-evidence button").first.click()
    page.locator("#yc-evidence input[type=file]").set_input_files(ACCIDENT)
    shown = page.locator(".yc-hide img")
    shown.wait_for()
    page.wait_for_timeout(500)
    shown.scroll_into_view_if_needed()
    box = shown.bounding_box()
    page.mouse.move(box["x"] + 0.3 * box["width"], box["y"] + 0.3 * box["height"])
    page.mouse.down()
    page.mouse.move(box["x"] + 0.6 * box["width"], box["y"] + 0.6 * box["height"], steps=4)
    page.mouse.up()
    page.wait_for_timeout(500)
    page.get_by_label(say("evidence.place", lang), exact=True).fill("延安高架 Yan'an Rd")
    page.locator("#yc-evidence-make").click()
    link = page.locator(".yc-download")
    link.wait_for()
    with page.expect_download() as download:
        link.click()
    download.value.save_as(tmp_path / "evidence.zip")
    with zipfile.ZipFile(tmp_path / "evidence.zip") as package:
        assert package.read("originals/accident.jpg") == ACCIDENT.read_bytes()
        copy = np.asarray(Image.open(io.BytesIO(package.read("shared/photo-01.jpg"))).convert("RGB"), np.int16)
        assert package.read("report.pdf").startswith(b"%PDF")
    height, width = copy.shape[:2]
    hidden = copy[int(0.35 * height) : int(0.55 * height), int(0.35 * width) : int(0.55 * width)]
    assert hidden.std(axis=(0, 1)).max() < 6  # one colour: nothing can be worked out from it
    page.context.close()


def test_nobody_finds_a_package_by_guessing(browser, address):
    page = browser.new_page()
    for token in ("x", "..%2Fuploads", "%2E%2E%2Fuploads", "a" * 43, "%00", "evidence.zip"):
        assert page.request.get(f"{address}/evidence/{token}").status == 404, token
    page.close()


def test_drawers_are_emptied_after_their_time(tmp_path):
    cabinet = Cabinet(tmp_path / "packages")
    first = cabinet.open_drawer()
    (first / "evidence.zip").write_bytes(b"PK")
    assert cabinet.package(first.name) == first / "evidence.zip"
    assert len(first.name) > 40
    old = time.time() - LIFE - 60
    os.utime(first, (old, old))
    assert cabinet.package(first.name) is None
    second = cabinet.open_drawer()
    assert not first.exists()
    assert cabinet.package(second.name) is None


@pytest.mark.parametrize(
    ("drawn", "boxes"),
    [
        ("", {}),
        ("not json", {}),
        ("[]", {}),
        ('{"1": [[0.1, 0.2, 0.3, 0.4]]}', {1: [[0.1, 0.2, 0.3, 0.4]]}),
        ('{"1": [[0.3, 0.2, 0.1, 0.4], [0, 0, 2, 1], ["a", 0, 1, 1], [0, 0, 1]], "x": [[0, 0, 1, 1]], "2": 5}', {}),
    ],
)
def test_what_was_drawn_is_read_with_care(drawn, boxes):
    assert hidden_boxes(drawn) == boxes
