"""The server: FastAPI with the page at "/", uploads that nobody can reach, and nothing fetched from outside."""

from __future__ import annotations

import atexit
import logging
import os
import shutil
import tempfile
import threading
import time
from collections.abc import Awaitable, Callable, MutableMapping
from contextlib import suppress
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

from starlette.requests import Request

from app import api
from app.accounts import Accounts
from app.advisor import Advisor
from app.cabinet import Cabinet
from app.login import Gate, head, login_page, user_of
from app.settings import MAX_UPLOAD_BYTES
from app.texts import say
from app.web import build, preferred
from app.workshop import build as build_workshop
from knowledge.text import LANGS, Lang, UserError

if TYPE_CHECKING:
    from fastapi import FastAPI

# Routes that hand out files or fetch addresses for the asker; the page needs none of them.
CLOSED = ("/openapi.json", "/file=", "/file/", "/proxy=", "/stream/", "/deep_link", "/run-history", "/runs")
# Seconds after which the upload folder of a server that ended badly is removed.
ABANDONED = 24 * 3600

Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Asgi = Callable[[MutableMapping[str, Any], Receive, Send], Awaitable[None]]


def create_app(advisor: Advisor) -> FastAPI:
    """The whole server: the page, with the routes that it doesn't need closed."""
    os.environ["GRADIO_TEMP_DIR"] = str(_upload_folder(advisor.home))
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
    import gradio as gr
    from fastapi import FastAPI
    from fastapi.responses import FileResponse, HTMLResponse, Response

    system = ("system-ui", "-apple-system", "PingFang SC", "Microsoft YaHei", "Noto Sans CJK SC", "sans-serif")
    theme = gr.themes.Base(
        primary_hue="blue", neutral_hue="slate", font=system, font_mono=("ui-monospace", "monospace")
    ).set(
        button_primary_background_fill="*primary_700",
        button_primary_background_fill_hover="*primary_800",
        button_primary_background_fill_dark="*primary_700",
        body_text_color_subdued="*neutral_600",
        body_text_color_subdued_dark="*neutral_300",
        block_info_text_color="*neutral_600",
        block_label_text_color="*neutral_700",
        block_title_text_color="*neutral_800",
        block_title_text_weight="600",
    )
    cabinet = Cabinet(advisor.home / "packages")
    accounts = Accounts.open(advisor.home)
    outer = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    api.mount(outer, advisor, accounts)

    @outer.get("/login")
    def login(request: Request, lang: str = "") -> HTMLResponse:
        """The login page of technicians."""
        wanted = lang if lang in LANGS else preferred(request.headers.get("accept-language", ""))
        return HTMLResponse(login_page("zh" if wanted == "zh" else "en", request.scope.get("root_path", "")))

    @outer.get("/evidence/{token}")
    def package(token: str) -> Response:
        """The package of whoever knows its unguessable name."""
        file = cabinet.package(token)
        if file is None:
            return Response("not found", 404, media_type="text/plain")
        return FileResponse(file, media_type="application/zip", filename="evidence.zip")

    shared: dict[str, Any] = {
        "theme": theme,
        "css_paths": Path(__file__).parent / "page.css",
        "max_file_size": MAX_UPLOAD_BYTES,
        "show_error": False,
        "ssr_mode": False,
        "pwa": False,
        "mcp_server": False,
        "run_history": False,
        "enable_monitoring": False,
        "footer_links": [],
    }

    def who(request: gr.Request) -> str:
        user = user_of(accounts, request.headers.get("cookie", ""))
        return user.name if user else ""

    # The longer path first: the first that fits answers.
    pages: tuple[tuple[Lang, str], ...] = (("en", "/workshop/en"), ("zh", "/workshop"))
    for lang, path in pages:
        page = build_workshop(advisor, who, lang, head(lang))
        outer = gr.mount_gradio_app(outer, page, path=path, **shared)
    app: FastAPI = gr.mount_gradio_app(outer, build(advisor, cabinet), path="/", **shared)
    app.add_middleware(Gate, accounts=accounts)
    app.add_middleware(Guard)
    return app


class Guard:
    """Closes the routes that hand out files or fetch addresses, and adds the headers that keep browsers strict."""

    def __init__(self, app: Asgi) -> None:
        self.app = app

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        """Answer 404 on a closed route, else pass the request on."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        ours = scope["path"].startswith(f"{api.PREFIX}/")  # ids there may hold anything
        if not ours and any(closed in scope["path"] for closed in CLOSED):
            await send({"type": "http.response.start", "status": 404, "headers": [(b"content-type", b"text/plain")]})
            await send({"type": "http.response.body", "body": b"not found"})
            return

        async def strict(message: MutableMapping[str, Any]) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [
                    *message.get("headers", []),
                    (b"x-content-type-options", b"nosniff"),
                    (b"referrer-policy", b"no-referrer"),
                ]
            await send(message)

        await self.app(scope, receive, strict)


def serve(advisor: Advisor, host: str, port: int, *, on_ready: Callable[[str], None]) -> None:
    """Serve the page until Ctrl-C. ``on_ready`` gets its address once it answers.

    Raises:
        UserError: if the port is taken.
    """
    import socket

    import uvicorn

    shown = "127.0.0.1" if host in {"0.0.0.0", "::"} else host  # noqa: S104 - compared, not bound
    address = f"http://{shown}:{port}"
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        listening = socket.create_server((host, port), family=family)
    except OSError as error:
        values = {"address": address, "reason": os.strerror(error.errno) if error.errno else type(error).__name__}
        raise UserError(say("cli.port_taken", "zh", **values), say("cli.port_taken", "en", **values)) from error

    class Server(uvicorn.Server):
        def handle_exit(self, sig: int, frame: FrameType | None) -> None:
            # An open page keeps a stream to the server for as long as it is open; Ctrl-C must neither wait for that
            # nor report it as an error when it is cut off.
            super().handle_exit(sig, frame)
            self.force_exit = True
            logging.getLogger("uvicorn.error").disabled = True

    server = Server(uvicorn.Config(create_app(advisor), log_level="warning", server_header=False, access_log=False))

    def announce() -> None:
        with suppress(Exception):  # a missing model is told with the first photo, too
            _ = advisor.detector, advisor.searcher, advisor.catalogue
        on_ready(address)

    threading.Thread(target=announce, daemon=True).start()
    server.run(sockets=[listening])


def _upload_folder(home: Path) -> Path:
    """A folder of this server alone for uploads on their way in; those that ended servers left behind are removed."""
    parent = home / "uploads"
    parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    for left in parent.iterdir():
        if time.time() - left.stat().st_mtime > ABANDONED:
            shutil.rmtree(left, ignore_errors=True)
    folder = tempfile.mkdtemp(dir=parent)
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return Path(folder)
