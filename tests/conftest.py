"""Shared fixtures: where the material for measuring lies, and a home for whatever a test makes yangche write."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.pages import Visit, chromium, visitors

if TYPE_CHECKING:
    from playwright.sync_api import Browser

SHARED = Path(__file__).resolve().parents[2] / "shared"


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of real photos and questions; it is not part of the repository."""
    if not SHARED.is_dir():
        pytest.skip(f"{SHARED} is not there: this test measures on material that the repository may not hold")
    return SHARED


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty YANGCHE_HOME."""
    folder = tmp_path / "home"
    monkeypatch.setenv("YANGCHE_HOME", str(folder))
    return folder


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """A real Chromium."""
    with chromium() as browser:
        yield browser


@pytest.fixture
def visit(browser: Browser, address: str) -> Iterator[Visit]:
    """People who open the server at ``address``, a fixture of the module; see `tests.pages.visitors`."""
    with visitors(browser, address) as visit:
        yield visit
