"""Shared fixtures: where the material for measuring lies, and a home for whatever a test makes yangche write."""

from __future__ import annotations

from pathlib import Path

import pytest

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
