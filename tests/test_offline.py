"""Nothing is fetched from outside, on any page, in any state; and no page breaks its own content security policy."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.pages import STATES, furnished, opened
from tests.serving import operated


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    home: Path = tmp_path_factory.mktemp("offline-home")
    furnished(home)
    with operated(home, uploads_per_minute=10**6, events_per_minute=10**6) as url:
        yield url


@pytest.mark.parametrize("name", STATES)
def test_no_request_leaves_and_no_rule_is_broken(browser, address, name):
    outside, complaints = [], []

    def watch(page) -> None:
        page.on("request", lambda r: None if r.url.startswith((address, "data:", "blob:")) else outside.append(r.url))
        page.on("console", lambda m: complaints.append(m.text) if "Content Security" in m.text else None)
        page.on("pageerror", lambda error: complaints.append(str(error)))

    with opened(browser, address, name, "en" if list(STATES).index(name) % 2 else "zh", watch=watch) as page:
        page.wait_for_timeout(300)
    assert outside == []
    assert complaints == []


@pytest.mark.parametrize("path", ["/", "/login"])
def test_the_html_loads_nothing_from_elsewhere(address, path):
    """The names of fonts, analytics and pictures that Gradio's template may bring along."""
    html = httpx.get(address + path).text
    for tag in re.findall(r"<(?:script|link|img|iframe)[^>]*>", html):
        assert not re.search(r"(?:src|href)=[\"'](?:https?:)?//", tag), tag
    assert '"analytics_enabled":true' not in html.replace(" ", "")
    assert not re.search(r"fonts\.googleapis|cdnjs|jsdelivr|unpkg|gstatic", html)


def test_another_host_would_be_seen(browser, address):
    """The policy holds: whoever put an outside picture into a page would find it blocked, and the console says so."""
    complaints = []

    def watch(page) -> None:
        page.on("console", lambda m: complaints.append(m.text) if "Content Security" in m.text else None)

    with opened(browser, address, "owner", "en", watch=watch) as page:
        page.evaluate("document.body.append(Object.assign(new Image(), {src: 'http://127.0.0.2:1/x.png'}))")
        for _ in range(40):
            page.wait_for_timeout(500)
            if complaints:
                break
    assert complaints
