"""Where yangche stands for those who call it: behind which proxy, below which sub-path, at which address they are."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from starlette._utils import get_route_path

from app.settings import SUB_PATH

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Asgi = Callable[[Message, Receive, Send], Awaitable[None]]

# What proxies add. Gradio would believe them whoever sent them; inside of `Forwarded` nobody sees them any more.
_ADDED = (b"x-forwarded-", b"x-gradio-server", b"forwarded")
PROXIED = "yangche.proxied"  # in the scope: whether any of them came along


def inner_path(scope: Message) -> str:
    """The path below the sub-path, as the routes see it: whoever decides by a path must look at this one."""
    return str(get_route_path(scope))


def root_of(scope: Message) -> str:
    """The sub-path that yangche is served under, without a slash at its end; mostly empty."""
    return str(scope.get("app_root_path", scope.get("root_path", "")))


class Forwarded:
    """Takes over from trusted proxies who calls, by which scheme and below which sub-path.

    ``trusted``: addresses and networks, with commas between them. ``root_path``: the sub-path where no
    ``X-Forwarded-Prefix`` tells another. The proxy may cut the sub-path off or leave it.
    """

    def __init__(self, app: Asgi, trusted: str = "", root_path: str = "") -> None:
        from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

        self.app, self.root_path = app, root_path
        self._proxies = ProxyHeadersMiddleware(self._below, trusted_hosts=trusted)  # type: ignore[arg-type]

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Pass the call on as it was before the proxy."""
        if scope["type"] not in ("http", "websocket"):
            await self.app(scope, receive, send)
            return
        root = self.root_path
        client = scope.get("client")
        if client and client[0] in self._proxies.trusted_hosts:
            told = next((value for name, value in scope["headers"] if name == b"x-forwarded-prefix"), b"")
            prefix = told.decode("latin-1").strip().rstrip("/")
            root = prefix if SUB_PATH.fullmatch(prefix) else root
        await self._proxies({**scope, "root_path": root}, receive, send)  # type: ignore[arg-type]

    async def _below(self, scope: Message, receive: Receive, send: Send) -> None:
        root, path = scope["root_path"], scope["path"]
        kept = [(name, value) for name, value in scope["headers"] if not name.startswith(_ADDED)]
        scope = {**scope, "headers": kept, PROXIED: len(kept) < len(scope["headers"])}
        if root and path == root:
            await send({"type": "http.response.start", "status": 308, "headers": [(b"location", f"{root}/".encode())]})
            await send({"type": "http.response.body", "body": b""})
            return
        if root and not path.startswith(f"{root}/"):
            raw = scope.get("raw_path") or path.encode()
            scope = {**scope, "path": root + path, "raw_path": root.encode() + raw}
        await self.app(scope, receive, send)
