"""Turns at the detector: a few photos at once, the others in one line that is never longer than can be served."""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import Future
from contextlib import asynccontextmanager, contextmanager

from app.settings import AT_ONCE, MAX_WAITING
from app.texts import say
from knowledge.text import UserError


class Busy(UserError):  # noqa: N818 - it says what happened
    """Too many callers wait for their photos."""

    def __init__(self) -> None:
        super().__init__(say("ops.busy", "zh"), say("ops.busy", "en"))


class Turns:
    """Photos are worked on ``at_once`` at a time, first come, first served; ``waiting`` callers may wait for theirs.

    One line for the page and the API, for threads and coroutines alike.
    """

    def __init__(self, waiting: int = MAX_WAITING, at_once: int = AT_ONCE) -> None:
        self.waiting, self.at_once = waiting, at_once
        self.refused = 0
        self._here = self._busy = 0
        self._line: deque[Future[None]] = deque()
        self._lock = threading.Lock()

    @property
    def here(self) -> int:
        """Callers that are served or wait."""
        return self._here

    @property
    def busy(self) -> int:
        """Photos that are being worked on."""
        return self._busy

    @contextmanager
    def place(self) -> Iterator[None]:
        """A caller's place, for all of its photos.

        Raises:
            Busy: if ``waiting`` callers wait already.
        """
        with self._lock:
            if self._here >= self.waiting + self.at_once:
                self.refused += 1
                raise Busy
            self._here += 1
        try:
            yield
        finally:
            with self._lock:
                self._here -= 1

    @contextmanager
    def photo(self) -> Iterator[None]:
        """A turn at the detector, for a thread that may wait."""
        self._asked().result()
        try:
            yield
        finally:
            self._left()

    @asynccontextmanager
    async def photo_later(self) -> AsyncIterator[None]:
        """A turn at the detector, for a coroutine: no thread is held by waiting."""
        turn = self._asked()
        try:
            await asyncio.wrap_future(turn)
        except asyncio.CancelledError:
            if not turn.cancel():  # it was granted while the caller went away
                self._left()
            raise
        try:
            yield
        finally:
            self._left()

    def _asked(self) -> Future[None]:
        turn: Future[None] = Future()
        with self._lock:
            if self._busy < self.at_once:
                self._busy += 1
                turn.set_result(None)
            else:
                self._line.append(turn)
        return turn

    def _left(self) -> None:
        with self._lock:
            while self._line:
                turn = self._line.popleft()
                if turn.set_running_or_notify_cancel():
                    turn.set_result(None)
                    return
            self._busy -= 1
