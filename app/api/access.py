"""Who may call which route of the API, how often, and with how large a body; and every refusal as one sentence."""

from __future__ import annotations

import ipaddress
import logging
import threading
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Coroutine, MutableMapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from fastapi.routing import APIRoute
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException

from app.records.accounts import Accounts, AccountsError, LoginError, Role, Session, TooManyTries, User
from app.serving.turns import Busy
from knowledge.store import StoreError
from knowledge.text import Text, UserError

COOKIE = "yangche_session"
# Calls per address: so many at once, then so many a second.
DIAGNOSE_BURST = 20  # how many a second: a setting
LOGIN_BURST, LOGIN_PER_S = 10, 0.2
ADDRESSES = 10_000  # that are remembered at a time
MAX_JSON_BYTES = 2**20
SAFE = frozenset({"GET", "HEAD", "OPTIONS"})

NO_LOGIN = Text(zh="请先登录。", en="Please log in first.")
NO_ROLE = Text(zh="你的账户没有这项权限，请找管理员。", en="Your account may not do this; please ask an admin.")
NOT_FROM_HERE = Text(
    zh="这个请求不是从本站页面发出的，已拒绝；程序调用请用 Authorization: Bearer 令牌。",
    en="This request did not come from a page of this server and was refused; programs use Authorization: Bearer.",
)
TOO_OFTEN = Text(zh="请求太频繁，请过一会儿再试。", en="Too many requests; please try again in a moment.")
TOO_LARGE = Text(zh="上传的内容太大，请分开上传。", en="What was sent is too large; please send it in parts.")
BROKEN = Text(
    zh="请求的内容读不懂，请按接口说明发送。", en="The request can't be read; send it as the API document says."
)
NOT_HERE = Text(zh="没有这个地址。", en="There is nothing at this address.")
FAILED = Text(
    zh="服务器出错了，请再试一次；一直这样请看服务器日志。", en="The server failed; try again, and look into its log."
)
UNAVAILABLE = Text(
    zh="数据暂时读写不了，请稍后再试；一直这样请看服务器日志。",
    en="The data can't be read or written for now; try again later, or look into the server's log.",
)
NOT_SO = Text(zh="这个地址不接受这种请求。", en="This address takes no requests of this kind.")
INVALID = Text(zh="请求里的 {what} 不对，请按接口说明改正。", en="{what} in the request is wrong: {why}.")

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Asgi = Callable[[Message, Receive, Send], Awaitable[None]]

log = logging.getLogger(__name__)


class ApiError(Exception):
    """A refusal with its status."""

    def __init__(self, status: int, text: Text, headers: dict[str, str] | None = None) -> None:
        super().__init__(text.en)
        self.status, self.text, self.headers = status, text, headers


class Buckets:
    """A token bucket for each address: ``burst`` calls at once, then ``per_s`` a second."""

    def __init__(self, burst: int, per_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        self.burst, self.per_s, self._clock = burst, per_s, clock
        self._levels: OrderedDict[str, tuple[float, float]] = OrderedDict()
        self._lock = threading.Lock()

    def take(self, address: str) -> None:
        """Count one call.

        Raises:
            ApiError: 429 if there were too many.
        """
        now = self._clock()
        with self._lock:
            level, at = self._levels.pop(address, (float(self.burst), now))
            level = min(float(self.burst), level + (now - at) * self.per_s)
            self._levels[address] = (level - 1 if level >= 1 else level, now)
            while len(self._levels) > ADDRESSES:
                self._levels.popitem(last=False)
        if level < 1:
            raise ApiError(429, TOO_OFTEN, {"Retry-After": str(max(1, round((1 - level) / self.per_s)))})


@dataclass(frozen=True)
class Access:
    """What is asked of every call before its body is read."""

    accounts: Accounts

    def session(self, request: Request) -> Session | None:
        """The caller's session. A Bearer token that doesn't count is not made up for by a cookie."""
        token = token_of(request)
        return self.accounts.session(token) if token else None

    def route(self, role: Role | None = None, *, login: bool = False, bucket: Buckets | None = None) -> type[APIRoute]:
        """A class of routes for callers with this role (or with any, if ``login``), at the bucket's pace."""
        access = self

        class Route(APIRoute):
            def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
                handle = super().get_route_handler()

                async def guarded(request: Request) -> Response:
                    check_origin(request)
                    if bucket is not None:
                        bucket.take(address_of(request))
                    session = await run_in_threadpool(access.session, request)
                    if session is None and (login or role):
                        raise ApiError(401, NO_LOGIN, {"WWW-Authenticate": "Bearer"})
                    if session is not None and role is not None and not session.user.may(role):
                        raise ApiError(403, NO_ROLE)
                    request.state.session = session
                    return await handle(request)

                return guarded

        return Route


def session_of(request: Request) -> Session | None:
    """For public routes: the caller's session, if they are logged in."""
    session: Session | None = request.state.session
    return session


def login_of(request: Request) -> Session:
    """For guarded routes: the caller's session."""
    session: Session = request.state.session
    return session


def user_of(request: Request) -> User:
    """For guarded routes: the caller."""
    return login_of(request).user


def token_of(request: Request) -> str | None:
    """The token in the Authorization header, else in the cookie."""
    header = request.headers.get("authorization")
    if header is not None:
        scheme, _, token = header.partition(" ")
        return token.strip() if scheme.lower() == "bearer" else None
    return request.cookies.get(COOKIE)


def check_origin(request: Request) -> None:
    """Keep other sites' pages from using a browser's cookie.

    Raises:
        ApiError: 403 if the call changes something, and its Origin (else its Referer) is another host than this one,
            or there is none although a cookie came along.
    """
    bearer = request.headers.get("authorization", "").lower().startswith("bearer ")
    if request.method in SAFE or bearer:
        return
    origin = request.headers.get("origin") or request.headers.get("referer")
    if origin is None:
        if COOKIE in request.cookies:
            raise ApiError(403, NOT_FROM_HERE)
        return
    try:
        there = urlsplit(origin)
        default = {"http": 80, "https": 443}.get(there.scheme)
        here = urlsplit(f"//{request.headers.get('host', '')}")
        same = default is not None and (there.hostname, there.port or default) == (here.hostname, here.port or default)
    except ValueError:
        same = False
    if not same:
        raise ApiError(403, NOT_FROM_HERE)


def address_of(request: Request) -> str:
    """Where a call comes from; of IPv6 the network, since one household has all of its addresses."""
    host = request.client.host if request.client else "?"
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return host
    if isinstance(address, ipaddress.IPv6Address):
        mapped = address.ipv4_mapped
        return str(mapped or ipaddress.ip_network((address, 64), strict=False))
    return str(address)


class BodyLimit:
    """Refuses bodies above the limit of their path, by what they say and by what really comes."""

    def __init__(self, app: Asgi, limits: dict[str, int]) -> None:
        self.app, self.limits = app, limits

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Answer 413 or pass the call on."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        path = scope["path"].removeprefix(scope.get("root_path", ""))
        limit = self.limits.get(path, MAX_JSON_BYTES)
        said = next((value for name, value in scope["headers"] if name == b"content-length"), b"")
        if said.isdigit() and (len(said) > 15 or int(said) > limit):
            await _answer(413, TOO_LARGE)(scope, receive, send)
            return
        came = 0

        async def counted() -> Message:
            nonlocal came
            message = await receive()
            came += len(message.get("body", b""))
            if came > limit:
                raise HTTPException(413)
            return message

        await self.app(scope, counted, send)


def add_handlers(app: FastAPI) -> None:
    """Make every refusal of ``app`` a sentence in both languages."""
    app.add_exception_handler(ApiError, _told)
    app.add_exception_handler(UserError, _told)
    app.add_exception_handler(HTTPException, _told)
    app.add_exception_handler(RequestValidationError, _told)
    app.add_exception_handler(Exception, _told)


def _told(request: Request, error: Exception) -> JSONResponse:
    del request
    match error:
        case ApiError():
            return _answer(error.status, error.text, error.headers)
        case TooManyTries():
            return _answer(429, error.text, {"Retry-After": str(error.wait_s)})
        case LoginError():
            return _answer(401, error.text)
        case StoreError() | AccountsError():
            log.error("%s", error)
            return _answer(503, UNAVAILABLE, {"Retry-After": "30"})  # the sentence names folders of this machine
        case Busy():
            return _answer(503, error.text, {"Retry-After": "60"})
        case UserError():
            return _answer(400, error.text)
        case RequestValidationError():
            return _answer(422, _invalid(error))
        case HTTPException():
            text = {404: NOT_HERE, 405: NOT_SO, 413: TOO_LARGE}.get(error.status_code, BROKEN)
            return _answer(error.status_code, text, dict(error.headers or {}))
    log.error("a call could not be answered", exc_info=error)
    return _answer(500, FAILED)


def _invalid(error: RequestValidationError) -> Text:
    """The first thing that is wrong. What was sent is not repeated: it may be no text at all."""
    first = error.errors()[0]
    place = first["loc"][1] if len(first["loc"]) > 1 and isinstance(first["loc"][1], str) else first["loc"][0]
    what = str(place).encode("ascii", "replace").decode()[:100] or "body"
    return INVALID.filled(what=what, why=str(first["msg"]).encode("utf-8", "replace").decode()[:200].rstrip("."))


def _answer(status: int, text: Text, headers: dict[str, str] | None = None) -> JSONResponse:
    return JSONResponse({"error": {"zh": text.zh, "en": text.en}}, status, headers)
