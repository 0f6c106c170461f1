"""Accessibility: axe-core finds nothing serious on any page, light or dark; all is reached with the keyboard alone."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from app.texts import say
from tests.pages import STATES, furnished, opened
from tests.serving import operated

GRAVE = {"serious", "critical"}


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    home: Path = tmp_path_factory.mktemp("axe-home")
    furnished(home)
    with operated(home, uploads_per_minute=10**6, events_per_minute=10**6) as url:
        yield url


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("name", STATES)
def test_axe_finds_nothing_serious(browser, address, name, dark):
    from axe_playwright_python.sync_playwright import Axe

    lang = "en" if dark else "zh"
    with opened(browser, address, name, lang, screen="phone" if dark else "desktop", dark=dark) as page:
        assert page.evaluate("document.documentElement.lang").startswith(lang)
        found = Axe().run(page).response["violations"]
    told = [
        f"{one['id']}: {node['html'][:160]} ({node['failureSummary'].splitlines()[-1][:160]})"
        for one in found
        if one["impact"] in GRAVE
        for node in one["nodes"]
    ]
    assert told == []


def test_the_keyboard_alone_is_enough(browser, address):
    """Tab reaches language, upload, sample and every question, in this order, and shows where it is."""
    with opened(browser, address, "owner", "en") as page:
        seen: list[str] = []
        for _ in range(12):
            page.keyboard.press("Tab")
            at = page.evaluate(
                """() => { const at = document.activeElement, box = at.closest('#yc-language') || at;
                   const shown = e => { const s = getComputedStyle(e);
                     return (s.outlineStyle !== 'none' && parseFloat(s.outlineWidth) > 0) || s.boxShadow !== 'none'; };
                   const near = [at, at.parentElement, at.closest('label')].filter(Boolean);
                   return [box.id || at.tagName, near.some(shown)]; }"""
            )
            seen.append(at[0])
            assert at[1] or at[0] == "BODY", f"{at[0]} does not show its focus"
        places = [seen.index(wanted) for wanted in ("yc-language", "yc-upload", "yc-sample")]
        assert places == sorted(places), seen
        page.locator("#yc-sample").focus()
        page.keyboard.press("Enter")
        page.locator(".yc-banner").wait_for()
        page.locator("#yc-reading").wait_for(state="hidden")
        radio = page.locator(".yc-question input:enabled").first
        radio.focus()
        chosen = "[...document.querySelectorAll('.yc-question input')].map(input => input.checked).join()"
        before = page.evaluate(chosen)
        page.keyboard.press("Space")
        page.wait_for_function(f"before => {chosen} !== before", arg=before)
        page.locator("#yc-language input").first.focus()
        page.keyboard.press("Space")
        page.get_by_role("heading", name=say("part.lamps", "zh")).wait_for()
        assert page.evaluate("document.documentElement.lang") == "zh-CN"


def test_nothing_moves_for_whoever_asked_for_that(browser, address):
    with opened(browser, address, "owner", "en") as page:  # with reduced motion
        page.evaluate("document.querySelector('#yc-tips').innerHTML = '<span class=\"yc-dot\"></span>'")
        assert page.locator(".yc-dot").evaluate("dot => getComputedStyle(dot).animationName") == "none"
