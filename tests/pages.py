"""Every page in every state that is worth a look: one table for pictures, accessibility and the offline test."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import httpx

from app.records.accounts import Accounts
from app.texts import say
from knowledge.text import Lang

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

APP = Path(__file__).parents[1] / "app"
PASSWORD = "a-long-password"
LOCALES: dict[Lang, str] = {"zh": "zh-CN", "en": "en-GB"}
SCREENS = {"phone": (390, 844), "desktop": (1280, 900)}
FAULT = {"zh": "热车熄火，凉了又能着", "en": "stalls when hot, starts again once it has cooled"}

# Where two lamps stand on the sample photo, as shares of its sides.
ABS, ENGINE = (0.758, 0.845, 0.783, 0.866), (0.706, 0.833, 0.738, 0.877)

Act = Callable[["Page", Lang], None]
"""Brings an open page into the state that is looked at."""


@dataclass(frozen=True)
class State:
    """A page and what is done on it. ``path``: its address in Chinese; ``role``: who must be logged in."""

    path: str
    act: Act
    role: str = ""

    def address(self, lang: Lang) -> str:
        """The path in ``lang``; the owner's page speaks the browser's language."""
        if self.path == "/login":
            return f"/login?lang={lang}"
        return f"{self.path}en/" if self.role and lang == "en" else self.path


def _empty(page: Page, lang: Lang) -> None:
    page.get_by_role("button", name=say("page.sample", lang)).wait_for()


def _answered(page: Page, lang: Lang, photo: str = "sample.jpg") -> None:
    _empty(page, lang)
    page.locator("input[type=file]").first.set_input_files(APP / photo)
    page.locator(".yc-banner").wait_for()
    page.locator("#yc-reading").wait_for(state="hidden")
    page.wait_for_timeout(700)  # the photo and what opens settle


def _accident(page: Page, lang: Lang) -> None:
    _answered(page, lang, "accident.jpg")


def _opened(*parts: str, act: Act) -> Act:
    """After ``act``, with these folded parts unfolded."""

    def done(page: Page, lang: Lang) -> None:
        act(page, lang)
        for part in parts:
            page.locator(f"{part} > button.label-wrap").click()
        page.wait_for_timeout(700)

    return done


def _shared(page: Page, lang: Lang) -> None:
    _answered(page, lang)
    page.locator("#yc-share").click()
    link = page.locator("#yc-links a[href*='shared/']").first
    link.wait_for()
    page.goto(link.evaluate("link => link.href"))


def _kept(page: Page, lang: Lang) -> None:
    _answered(page, lang)
    page.locator("#yc-share").click()
    page.locator("#yc-links a").first.wait_for()


def _login(page: Page, lang: Lang) -> None:
    page.locator("form button").wait_for()


def _tab(key: str, wait: str = "") -> Act:
    def done(page: Page, lang: Lang) -> None:
        page.get_by_role("tab", name=say(key, lang), exact=True).click()
        if wait:
            page.locator(wait).first.wait_for()
        page.wait_for_timeout(500)

    return done


def _searched(page: Page, lang: Lang) -> None:
    page.wait_for_selector("#yc-query")
    page.locator("#yc-query textarea, #yc-query input").first.fill(FAULT[lang])
    page.wait_for_selector(".yc-group")
    page.locator("button.label-wrap").first.click()
    page.wait_for_timeout(500)


def _code(page: Page, lang: Lang) -> None:
    _tab("workshop.codes")(page, lang)
    page.locator("#yc-code textarea, #yc-code input").first.fill("P0420")
    page.locator("#yc-meaning .yc-line").first.wait_for()


STATES: dict[str, State] = {
    "owner": State("/", _empty),
    "owner-answered": State("/", _answered),
    "owner-accident": State("/", _accident),
    "owner-wrong": State("/", _opened("#yc-wrong", act=_answered)),
    "owner-kept": State("/", _kept),
    "owner-evidence": State("/", _opened("#yc-evidence", act=_accident)),
    "owner-car": State("/", _opened("#yc-car", act=_empty)),
    "owner-nearby": State("/", _opened("#yc-nearby", act=_empty)),
    "shared": State("/", _shared),
    "login": State("/login", _login),
    "workshop-search": State("/workshop/", _searched, "technician"),
    "workshop-new": State("/workshop/", _tab("workshop.new", "#yc-save"), "technician"),
    "workshop-codes": State("/workshop/", _code, "technician"),
    "workshop-files": State("/workshop/", _tab("workshop.files"), "technician"),
    "trainer-queue": State("/trainer/", _tab("trainer.queue"), "trainer"),
    "trainer-data": State("/trainer/", _tab("trainer.data"), "trainer"),
    "trainer-training": State("/trainer/", _tab("trainer.training"), "trainer"),
}


def furnished(home: Path) -> None:
    """Somebody for each page behind the login, and an owner's report for the trainer."""
    from app.records.correction import Marked, Report, Seen
    from app.records.corrections import Corrections
    from vision.photo import open_photo

    accounts = Accounts.open(home)
    for role in ("technician", "trainer"):
        accounts.add(role, PASSWORD, role)
    accounts.close()
    seen = Seen(label="abs", box=ABS, number=1, color="amber", confidence=0.9)
    told = Report(seen=(seen,), missed=(Marked(label="check_engine", box=ENGINE),), comment="发动机灯没认出来")
    Corrections(home / "corrections").add(told, open_photo(APP / "sample.jpg").rgb)


@contextmanager
def chromium() -> Iterator[Browser]:
    """The Chromium that CHROMIUM names, else the system's, else Playwright's own."""
    from playwright.sync_api import expect, sync_playwright

    names = (os.environ.get("CHROMIUM", ""), "chromium", "chromium-browser", "google-chrome")
    found = next(filter(None, (shutil.which(name) for name in names if name)), None)
    expect.set_options(timeout=60_000)  # as long as a page waits for an element: a busy machine is no failure
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found, args=["--no-sandbox"])
        yield browser
        browser.close()


Visit = Callable[..., "Page"]
"""See `visitors`."""


@contextmanager
def visitors(browser: Browser, address: str) -> Iterator[Visit]:
    """Browsers of people who know nothing of each other, each opening one address (or a path below ``address``).

    Afterwards no request may have gone to another host, no script have failed, and no dialog have been asked.
    """
    contexts, outside, complaints = [], [], []

    def visit(url: str = "", lang: Lang = "zh", screen: str = "desktop", role: str = "", **more: object) -> Page:
        whole = url if url.startswith("http") else address + url
        here = "{0.scheme}://{0.netloc}/".format(urlsplit(whole))
        width, height = SCREENS[screen]
        context = browser.new_context(viewport={"width": width, "height": height}, locale=LOCALES[lang], **more)
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(60_000)
        page.on("request", lambda r: None if r.url.startswith((here, "data:", "blob:")) else outside.append(r.url))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("dialog", lambda dialog: (complaints.append(dialog.message), dialog.dismiss()))
        page.goto(whole)
        if role:
            log_in(page, role)
        return page

    yield visit
    for context in contexts:
        context.close()
    assert outside == []
    assert complaints == []


def log_in(page: Page, name: str) -> None:
    """Through the login page, on which ``page`` is."""
    page.fill("input[name=name]", name)
    page.fill("input[name=password]", PASSWORD)
    while True:
        with page.expect_response("**/api/v1/login") as answer:
            page.click("form button")
        if answer.value.status != httpx.codes.TOO_MANY_REQUESTS:
            return
        page.wait_for_timeout(2_000)  # one address may log in only so often, and pictures of all pages do it often


def ask_sample(page: Page, lang: str) -> None:
    page.get_by_role("button", name=say("page.sample", lang)).click()
    page.locator(".yc-banner").wait_for()
    page.locator("#yc-reading").wait_for(state="hidden")


def upload(page: Page, path: Path) -> None:
    page.locator("input[type=file]").set_input_files(path)


@contextmanager
def opened(
    browser: Browser, address: str, name: str, lang: Lang, *, screen: str = "desktop", dark: bool = False,
    watch: Callable[[Page], None] = lambda page: None,
) -> Iterator[Page]:  # fmt: skip
    """The page ``name`` in its state; ``watch`` sees it before anything is loaded."""
    state, (width, height) = STATES[name], SCREENS[screen]
    context = browser.new_context(
        viewport={"width": width, "height": height}, locale=LOCALES[lang], color_scheme="dark" if dark else "light",
        is_mobile=screen == "phone", has_touch=screen == "phone", reduced_motion="reduce",
    )  # fmt: skip
    page = context.new_page()
    page.set_default_timeout(90_000)
    watch(page)
    page.goto(address + state.address(lang))
    if state.role:
        log_in(page, state.role)
        page.get_by_role("tab").first.wait_for()
    state.act(page, lang)
    try:
        yield page
    finally:
        context.close()
