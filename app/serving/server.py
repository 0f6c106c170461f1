"""The server: FastAPI with the page at "/", uploads that nobody can reach, and nothing fetched from outside."""

from __future__ import annotations

import atexit
import logging
import os
import re
import shutil
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

from starlette.requests import Request

from app.advisor import Advisor
from app.api import routes as api
from app.api.access import ApiError, check_origin
from app.pages import box_editor, shared_page
from app.pages.login import GATED, Gate, head, login_page, login_policy, user_of
from app.pages.trainer import build as build_trainer
from app.pages.trainer_training import Room
from app.pages.web import build, preferred
from app.pages.workshop import build as build_workshop
from app.records.accounts import Accounts
from app.records.cabinet import Cabinet
from app.serving import logs
from app.serving.limits import Limits, lang_of, patient
from app.serving.metrics import PATH as METRICS
from app.serving.metrics import Metrics, Watch
from app.serving.proxy import Asgi, Forwarded, Message, Receive, Send, inner_path, root_of
from app.serving.turns import Turns
from app.settings import MAX_UPLOAD_BYTES, Settings
from app.texts import say
from knowledge.text import LANGS, Lang, UserError

if TYPE_CHECKING:
    import uvicorn
    from fastapi import FastAPI

# Of Gradio's own routes, those that the pages need. The others hand out files, fetch addresses or tell of the server.
OPEN = re.compile(
    r"/gradio_api/(upload|upload_progress|queue/join|queue/data|run/[\w-]+|heartbeat/[\w-]+|reset|cancel|info"
    r"|startup-events|theme\.css)/?"
)
CLOSED = ("/openapi.json", "/monitoring", "/custom_component", "/svelte", "/deep_link", "/token")
# What a page may load: nothing from elsewhere. Gradio needs scripts and styles inside the page, and compiles functions.
POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:; media-src 'self' data: blob:; font-src 'self' data:; connect-src 'self' data: blob:; "
    "worker-src 'self' blob:; object-src 'none'; base-uri 'self'; form-action 'self'; frame-ancestors 'none'"
)
STRICT = {
    b"x-content-type-options": b"nosniff",
    b"referrer-policy": b"no-referrer",
    b"x-frame-options": b"DENY",
    b"cross-origin-opener-policy": b"same-origin",
    b"cross-origin-resource-policy": b"same-origin",
    b"permissions-policy": b"geolocation=(self), camera=(self), microphone=(), payment=(), usb=()",
    b"content-security-policy": POLICY.encode(),
}
# Seconds after which the upload folder of a server that ended badly is removed.
ABANDONED = 24 * 3600


def create_app(advisor: Advisor, settings: Settings | None = None) -> FastAPI:
    """The whole server: the page, with the routes that it doesn't need closed."""
    settings = settings or Settings.read()
    advisor.turns = Turns(settings.waiting, settings.at_once)
    metrics = Metrics(advisor.turns)
    advisor.diagnosed, advisor.searched = metrics.diagnosed, metrics.searched
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
        link_text_color_dark="*primary_300",
        link_text_color_hover_dark="*primary_200",
        link_text_color_visited_dark="*primary_300",
        block_info_text_color="*neutral_600",
        block_label_text_color="*neutral_700",
        block_title_text_color="*neutral_800",
        block_title_text_weight="600",
    )
    cabinet = Cabinet(advisor.home / "packages")
    accounts = Accounts.open(advisor.home)
    outer = FastAPI(docs_url=None, redoc_url=None, openapi_url=None, lifespan=cabinet.tended)
    api.mount(outer, advisor, accounts, settings)
    shared_page.mount(outer, cabinet)

    @outer.get("/login")
    def login(request: Request, lang: str = "", next: str = "") -> HTMLResponse:  # noqa: A002 - as it is spelt
        """The login page of technicians."""
        wanted = lang if lang in LANGS else preferred(request.headers.get("accept-language", ""))
        goal = next if next in GATED else ""
        page = login_page("zh" if wanted == "zh" else "en", root_of(request.scope), goal)
        return HTMLResponse(page, headers={"content-security-policy": login_policy(), "cache-control": "no-store"})

    @outer.get(METRICS)
    def figures(request: Request) -> Response:
        """What the server counts, for Prometheus."""
        return metrics.page(request, settings)

    @outer.get("/evidence/{token}")
    def package(token: str) -> Response:
        """The package of whoever knows its unguessable name."""
        file = cabinet.package(token)
        if file is None:
            return Response("not found", 404, media_type="text/plain")
        return FileResponse(file, media_type="application/zip", filename="evidence.zip")

    shared: dict[str, Any] = {
        "theme": theme,
        "css_paths": Path(__file__).parents[1] / "pages" / "page.css",
        "head": box_editor.script(),
        "max_file_size": min(MAX_UPLOAD_BYTES, settings.upload_mb << 20),
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
    room = Room(advisor)
    trainers: tuple[tuple[Lang, str], ...] = (("en", "/trainer/en"), ("zh", "/trainer"))
    for lang, path in trainers:
        page = build_trainer(room, who, lang, head(lang, "trainer.title"))
        outer = gr.mount_gradio_app(outer, page, path=path, **shared)
    app: FastAPI = gr.mount_gradio_app(outer, build(advisor, cabinet), path="/", **shared)
    # The last that is added is the first that is asked.
    app.add_middleware(Gate, accounts=accounts)
    app.add_middleware(Limits, settings=settings)
    app.add_middleware(Guard)
    app.add_middleware(Watch, metrics=metrics)
    app.add_middleware(Forwarded, trusted=settings.trusted_proxies, root_path=settings.root_path)
    return app


class Guard:
    """Closes the routes that hand out files or fetch addresses, and adds the headers that keep browsers strict."""

    def __init__(self, app: Asgi) -> None:
        self.app = app

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Answer 404 on a closed route, 403 where another site's page asks to change something, else pass it on."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return

        async def strict(message: Message) -> None:
            if message["type"] == "http.response.start":
                given = {name.lower() for name, _ in message.get("headers", ())}
                added = [(name, value) for name, value in STRICT.items() if name not in given]
                message["headers"] = [*message.get("headers", ()), *added]
            await send(message)

        path = inner_path(scope)
        ours = path.startswith(f"{api.PREFIX}/")  # ids there may hold anything, and it checks the origin by itself
        if ours:
            await self.app(scope, receive, strict)
        elif closed(path):
            await _say(strict, 404, "not found")
        elif not _from_here(scope):
            await _say(strict, 403, say("ops.not_from_here", lang_of(scope)))
        else:
            await self.app(scope, receive, strict)


def closed(path: str) -> bool:
    """Whether nobody gets an answer at this path."""
    if "/gradio_api" in path:
        return OPEN.fullmatch(path[path.index("/gradio_api") :]) is None
    return any(part in path for part in CLOSED)


def _from_here(scope: Message) -> bool:
    try:
        check_origin(Request(scope))
    except ApiError:
        return False
    return True


async def _say(send: Send, status: int, words: str) -> None:
    headers = [(b"content-type", b"text/plain; charset=utf-8")]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": words.encode()})


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

    settings = Settings.read()
    logs.set_up(settings.log)
    server = Server(configured(create_app(advisor, settings), settings))

    def announce() -> None:
        with suppress(Exception):  # a missing model is told with the first photo, too
            _ = advisor.detector, advisor.searcher, advisor.catalogue
        on_ready(address)

    threading.Thread(target=announce, daemon=True).start()
    server.run(sockets=[listening])


def configured(app: Any, settings: Settings) -> uvicorn.Config:  # noqa: ANN401 - any ASGI application
    """How uvicorn serves ``app``."""
    import uvicorn

    return uvicorn.Config(
        app,
        log_level="warning",
        log_config=None if settings.log == "json" else uvicorn.config.LOGGING_CONFIG,
        server_header=False,
        access_log=False,
        proxy_headers=False,  # `Forwarded` reads them
        http=patient(settings.slow_s),
        limit_concurrency=settings.connections,
    )


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
