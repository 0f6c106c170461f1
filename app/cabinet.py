"""Photos and packages of one page, on disk for an hour: each under a name that nobody can guess, then deleted."""

from __future__ import annotations

import secrets
import shutil
import time
from pathlib import Path

LIFE = 3600  # seconds
TOKEN = 32  # random bytes


class Cabinet:
    """Drawers (folders) below ``folder``; whoever knows a drawer's token may read its package, nobody anything else."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def open_drawer(self) -> Path:
        """A new, empty drawer; drawers whose time is over are removed."""
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        for drawer in self.folder.iterdir():
            if time.time() - drawer.stat().st_mtime > LIFE:
                shutil.rmtree(drawer, ignore_errors=True)
        drawer = self.folder / secrets.token_urlsafe(TOKEN)
        drawer.mkdir(mode=0o700)
        return drawer

    def package(self, token: str) -> Path | None:
        """The package in the drawer that ``token`` names, None where there is none (any more)."""
        if not token.replace("-", "").replace("_", "").isalnum():
            return None
        drawer = self.folder / token
        file = drawer / "evidence.zip"
        if not file.is_file() or time.time() - drawer.stat().st_mtime > LIFE:
            return None
        return file
