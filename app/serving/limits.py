"""What one caller may ask of the server: calls a minute, bytes, and its patience."""

from __future__ import annotations

import asyncio
import re
from typing import TYPE_CHECKING, Any

from starlette.exceptions import HTTPException

from app.serving.proxy import Asgi, Message, Receive, Send, inner_path
from app.settings import Settings
from app.texts import say
from knowledge.text import LANGS, Lang

if TYPE_CHECKING:
    from uvicorn.protocols.http.h11_impl import H11Protocol

MAX_EVENT_BYTES = 2 * 2**20  # of an event of a page: words and drawn boxes; photos are uploaded before it
OVERHEAD = 2**20  # bytes of a form besides its files
UPLOAD_BURST, EVENT_BURST = 40, 200
_ROUTE = re.compile(r"/gradio_api/(upload|queue/join|run/[\w-]+)/?$")


class Limits:
    """Refuses uploads and events that are too large, too many or too slow, with a sentence that the page shows."""

    def __init__(self, app: Asgi, settings: Settings) -> None:
        from app.api.access import Buckets

        self.app, self.slow_s = app, settings.slow_s
        self.largest = settings.upload_total_mb * 2**20 + OVERHEAD
        self._uploads = Buckets(UPLOAD_BURST, settings.uploads_per_minute / 60)
        self._events = Buckets(EVENT_BURST, settings.events_per_minute / 60)

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Answer 413, 429 or pass the call on; a body that stands still ends in 408."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        route = _ROUTE.search(inner_path(scope)) if scope["method"] == "POST" else None
        if route is None:
            await self.app(scope, self._patient(receive, None), send)
            return
        upload = route[1] == "upload"
        if why := self._refusal(scope, upload):
            await _refuse(scope, send, *why, plain=upload)
            return
        largest = self.largest if upload else MAX_EVENT_BYTES
        await self.app(scope, self._patient(receive, largest), send if upload else _told(scope, send))

    def _refusal(self, scope: Message, upload: bool) -> tuple[int, str] | None:
        from starlette.requests import Request

        from app.api.access import ApiError, address_of

        try:
            (self._uploads if upload else self._events).take(address_of(Request(scope)))
        except ApiError:
            return 429, "ops.too_often"
        said = next((value for name, value in scope["headers"] if name == b"content-length"), b"")
        largest = self.largest if upload else MAX_EVENT_BYTES
        if said.isdigit() and (len(said) > 15 or int(said) > largest):
            return 413, "ops.too_large"
        return None

    def _patient(self, receive: Receive, largest: int | None) -> Receive:
        came, whole = 0, False

        async def counted() -> Message:
            nonlocal came, whole
            if whole:  # what follows is that the caller goes away, whenever that may be
                return await receive()
            try:
                message = await asyncio.wait_for(receive(), self.slow_s)
            except TimeoutError:
                raise HTTPException(408) from None
            came += len(message.get("body", b""))
            whole = not message.get("more_body", False)
            if largest is not None and came > largest:
                raise HTTPException(413)
            return message

        return counted


def _told(scope: Message, send: Send) -> Send:
    """Gradio's own "queue is full" (503) in our words: the page shows the words of a 429, but not those of a 503."""
    full = False

    async def sent(message: Message) -> None:
        nonlocal full
        if message["type"] == "http.response.start" and message["status"] == 503:
            full = True
            await _refuse(scope, send, 429, "ops.busy", plain=False)
        elif not full:
            await send(message)

    return sent


async def _refuse(scope: Message, send: Send, status: int, key: str, *, plain: bool) -> None:
    from starlette.responses import JSONResponse, PlainTextResponse

    words = say(key, lang_of(scope))
    answer = PlainTextResponse(words, status) if plain else JSONResponse({"detail": words}, status)
    if status == 429:
        answer.headers["Retry-After"] = "60"

    async def nothing() -> Message:
        return {"type": "http.disconnect"}

    await answer(scope, nothing, send)


def lang_of(scope: Message) -> Lang:
    """The language that the caller's browser asks for first."""
    from app.pages.web import preferred

    accepted = next((value for name, value in scope["headers"] if name == b"accept-language"), b"")
    found = preferred(accepted.decode("latin-1"))
    return found if found in LANGS else "zh"


def patient(head_s: float) -> type[H11Protocol]:
    """uvicorn's HTTP protocol, which further cuts off whoever takes more than ``head_s`` seconds for a request's head.

    uvicorn itself waits for ever for it: a few thousand connections that say nothing would take all that there are.
    """
    import h11
    from uvicorn.protocols.http.h11_impl import H11Protocol

    class Patient(H11Protocol):
        _late: asyncio.TimerHandle | None = None

        def connection_made(self, transport: Any) -> None:  # noqa: ANN401 - asyncio.Transport
            super().connection_made(transport)
            self._watch()

        def data_received(self, data: bytes) -> None:
            super().data_received(data)
            self._watch()

        def connection_lost(self, exc: Exception | None) -> None:
            super().connection_lost(exc)
            self._stop()

        def _watch(self) -> None:
            if self.conn.their_state is not h11.IDLE:
                self._stop()
            elif self._late is None:
                self._late = self.loop.call_later(head_s, self._cut_off)

        def _stop(self) -> None:
            if self._late is not None:
                self._late.cancel()
                self._late = None

        def _cut_off(self) -> None:
            self._late = None
            if self.conn.their_state is h11.IDLE and not self.transport.is_closing():
                self.transport.close()

    return Patient
