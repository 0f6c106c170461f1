"""What owners made, on disk for a while: each in a drawer whose name nobody can guess, then deleted.

A drawer is a folder. It is there until the time that it was opened for, else an hour after it was last written into.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import logging
import re
import secrets
import shutil
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from app.texts import say
from knowledge.text import UserError

LIFE = 3600  # seconds
TOKEN = 32  # random bytes
SWEEP = 60  # seconds between two looks for drawers whose time is over
KEEP_FREE = 512 * 2**20  # bytes of the disk that owners cannot fill
PACKAGE = "evidence.zip"
# What a drawer holds besides its content: when it ends (seconds since 1970), and the hash of the key that ends it.
_UNTIL, _KEY = ".until", ".key"
_SHAPE = re.compile(r"[A-Za-z0-9_-]{40,50}")

log = logging.getLogger(__name__)


class Cabinet:
    """Drawers below ``folder``; whoever knows a drawer's token may read what is in it, nobody anything else."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def open_drawer(self, until: float | None = None, key: str = "") -> Path:
        """A new, empty drawer; drawers whose time is over are removed.

        Args:
            until: when it ends, in seconds since 1970; default: `LIFE` after it was last written into.
            key: whoever knows it may end the drawer before its time.

        Raises:
            UserError: if the disk is full.
        """
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.sweep()
        if shutil.disk_usage(self.folder).free < KEEP_FREE:
            raise UserError(say("keep.full", "zh"), say("keep.full", "en"))
        drawer = self.folder / new_token()
        drawer.mkdir(mode=0o700)
        if until is not None:
            (drawer / _UNTIL).write_text(str(until), "ascii")
        if key:
            (drawer / _KEY).write_text(_hash(key), "ascii")
        return drawer

    def file(self, token: str, name: str) -> Path | None:
        """The file ``name`` in the drawer that ``token`` names, None where there is none (any more)."""
        drawer = self._drawer(token)
        file = drawer / name if drawer else None
        return file if file and file.is_file() else None

    def package(self, token: str) -> Path | None:
        """The evidence package in the drawer that ``token`` names, None where there is none (any more)."""
        return self.file(token, PACKAGE)

    def end(self, token: str, key: str) -> bool:
        """Remove the drawer that ``token`` names, if ``key`` is its key; whether it was."""
        drawer = self._drawer(token)
        lock = drawer / _KEY if drawer else None
        if drawer is None or lock is None or not lock.is_file():
            return False
        if not hmac.compare_digest(lock.read_text("ascii"), _hash(key)):
            return False
        shutil.rmtree(drawer, ignore_errors=True)
        return True

    def sweep(self) -> None:
        """Remove the drawers whose time is over."""
        for drawer in self.folder.iterdir() if self.folder.is_dir() else ():
            if _over(drawer):
                shutil.rmtree(drawer, ignore_errors=True)

    @asynccontextmanager
    async def tended(self, _: object = None) -> AsyncIterator[None]:
        """A server's life: meanwhile drawers are removed soon after their time, whether anybody comes or not."""

        async def tend() -> None:
            while True:
                try:
                    await asyncio.to_thread(self.sweep)
                except OSError:
                    log.exception("drawers could not be looked through")
                await asyncio.sleep(SWEEP)

        tending = asyncio.create_task(tend())
        try:
            yield
        finally:
            tending.cancel()
            with suppress(asyncio.CancelledError):
                await tending

    def _drawer(self, token: str) -> Path | None:
        """The drawer of that name whose time is not over; a token holds no path and no wildcard."""
        drawer = self.folder / token if _SHAPE.fullmatch(token) else None
        return drawer if drawer and drawer.is_dir() and not _over(drawer) else None


def new_token() -> str:
    """A name or key that nobody can guess, fit for an address."""
    return secrets.token_urlsafe(TOKEN)


def _over(drawer: Path) -> bool:
    """Whether its time is over; also if it is being removed just now."""
    try:
        return time.time() > float((drawer / _UNTIL).read_text("ascii"))
    except (OSError, ValueError):  # none was set, or none can be told: the shorter life
        pass
    try:
        return time.time() > drawer.stat().st_mtime + LIFE
    except OSError:
        return True


def _hash(key: str) -> str:
    return hashlib.sha256(key.encode("utf-8", "replace")).hexdigest()
