"""Below a sub-path, behind a proxy: every address stays below it, and only trusted proxies are believed."""

from __future__ import annotations

import asyncio
import contextlib
import grp
import os
import pwd
import re
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from app.advisor import Advisor
from app.api.access import COOKIE, address_of
from app.records.accounts import Accounts
from app.serving.proxy import PROXIED, Forwarded
from app.serving.server import create_app
from app.texts import say
from tests.serving import operated, settings_of

NAME, PASSWORD = "technician", "a-long-password"
SUB = "/yangche"
README = Path(__file__).parents[1] / "app" / "README.md"


class Proxy:
    """A proxy before an application: takes the sub-path off (or leaves it), and says from where the call came."""

    def __init__(self, app: Any, *, cut: bool, tell: bool) -> None:
        self.app, self.cut, self.tell = app, cut, tell

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        assert scope["path"].startswith(f"{SUB}/")
        headers = [*scope["headers"], (b"x-forwarded-for", b"203.0.113.9"), (b"x-forwarded-proto", b"https")]
        if self.tell:
            headers.append((b"x-forwarded-prefix", SUB.encode()))
        path = scope["path"].removeprefix(SUB) if self.cut else scope["path"]
        scope = {**scope, "headers": headers, "path": path, "raw_path": path.encode()}
        await self.app(scope, receive, send)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sub-path-home")
    Accounts.open(folder).add(NAME, PASSWORD, "technician")
    return folder


@pytest.fixture(scope="module")
def apps(home: Path) -> dict[str, Any]:
    return {root: create_app(Advisor.open(home), settings_of(home, root_path=root)) for root in ("", SUB)}


def asked(app: Any, calls: list[tuple[str, str, dict[str, Any]]], peer: str = "127.0.0.1") -> list[httpx.Response]:
    """Answers to calls that follow each other, with their cookies."""

    async def ask() -> list[httpx.Response]:
        transport = httpx.ASGITransport(app, client=(peer, 1234))
        async with httpx.AsyncClient(transport=transport, base_url="https://shop.example") as client:
            return [await client.request(method, SUB + path, **more) for method, path, more in calls]

    return asyncio.run(ask())


HTML = {"headers": {"accept": "text/html", "accept-language": "en"}}
LOGIN = {"json": {"name": NAME, "password": PASSWORD}, "headers": {"origin": "https://shop.example"}}


@pytest.mark.parametrize(
    ("root", "cut", "tell"), [("", True, True), (SUB, True, False), (SUB, False, False), ("", False, True)]
)
def test_every_address_stays_below_the_sub_path(apps, root, cut, tell):
    app = Proxy(apps[root], cut=cut, tell=tell)
    page, stranger, login, entered, workshop, english, document, bare = asked(
        app,
        [
            ("GET", "/", HTML),
            ("GET", "/workshop/", HTML),
            ("GET", "/login", HTML),
            ("POST", "/api/v1/login", LOGIN),
            ("GET", "/workshop/", HTML),
            ("GET", "/workshop/en/", HTML),
            ("GET", "/api/v1/openapi.json", {}),
            ("GET", "/workshop", HTML),
        ],
    )
    assert '"root":"https://shop.example/yangche"' in page.text
    assert (stranger.status_code, stranger.headers["location"]) == (303, "/yangche/login?lang=zh")
    assert 'data-root="/yangche"' in login.text
    assert f'href="{SUB}/"' in login.text
    cookie = entered.headers["set-cookie"]
    assert all(part in cookie for part in (f"Path={SUB};", "Secure", "HttpOnly", "SameSite=strict"))
    assert workshop.status_code == english.status_code == 200
    assert '"root":"https://shop.example/yangche/workshop"' in workshop.text
    assert '"root":"https://shop.example/yangche/workshop/en"' in english.text
    for answer in (page, login, workshop, english):  # nothing points beside the sub-path
        assert not re.search(r'(?:href|src|action)=\\?["\'](?:/(?!yangche|manifest\.json)|http)', answer.text)
    assert document.json()["servers"] == [{"url": "/yangche/api/v1"}]
    assert bare.headers["location"] == "/yangche/workshop/"


def test_the_sub_path_without_a_slash_leads_to_the_page(apps):
    async def ask() -> httpx.Response:
        transport = httpx.ASGITransport(apps[SUB], client=("127.0.0.1", 1))
        async with httpx.AsyncClient(transport=transport, base_url="http://shop.example") as client:
            return await client.get(SUB)

    answer = asyncio.run(ask())
    assert (answer.status_code, answer.headers["location"]) == (308, f"{SUB}/")


@pytest.mark.parametrize(
    "path", ["/workshop/", "/workshop/gradio_api/info", "/workshop/en/config", "/workshop/../workshop/"]
)
def test_the_gate_stands_below_the_sub_path_too(apps, path):
    for root, cut, tell in ((SUB, False, False), ("", True, True)):
        (answer,) = asked(Proxy(apps[root], cut=cut, tell=tell), [("GET", path, {})])
        assert answer.status_code in {401, 404}


def forwarded(peer: str, headers: dict[str, str], trusted: str = "127.0.0.1,10.0.0.0/8") -> dict[str, Any]:
    """The scope that reaches an application."""
    from starlette.requests import Request

    seen: dict[str, Any] = {}

    async def app(scope: dict[str, Any], receive: Any, send: Any) -> None:
        seen.update(scope, address=address_of(Request(scope)))

    scope = {
        "type": "http", "method": "GET", "scheme": "http", "path": "/x", "raw_path": b"/x", "query_string": b"",
        "root_path": "", "client": (peer, 1), "headers": [(k.lower().encode(), v.encode()) for k, v in headers.items()],
    }  # fmt: skip
    asyncio.run(Forwarded(app, trusted)(scope, None, None))  # type: ignore[arg-type]
    return seen


FROM = {
    "X-Forwarded-For": "198.51.100.7",
    "X-Forwarded-Proto": "https",
    "X-Forwarded-Prefix": "/sub",
    "X-Forwarded-Host": "evil.example",
}


def test_only_trusted_proxies_are_believed():
    trusted, stranger = forwarded("10.1.2.3", FROM), forwarded("192.0.2.1", FROM)
    assert (trusted["address"], trusted["scheme"], trusted["root_path"]) == ("198.51.100.7", "https", "/sub")
    assert trusted["path"] == "/sub/x"
    assert (stranger["address"], stranger["scheme"], stranger["root_path"]) == ("192.0.2.1", "http", "")
    for scope in (trusted, stranger):  # nobody inside reads what anybody may have written
        assert scope["headers"] == []
        assert scope[PROXIED]
    assert not forwarded("127.0.0.1", {})[PROXIED]


def test_what_a_caller_adds_before_a_trusted_proxy_does_not_count():
    assert forwarded("127.0.0.1", {"X-Forwarded-For": "1.2.3.4, 198.51.100.7, 10.0.0.5"})["address"] == "198.51.100.7"


@pytest.mark.parametrize("prefix", ["//evil.example", "/a/../b", "evil", "/a\r\nb", "/a?b", "/<script>", "/.."])
def test_a_prefix_that_is_none_is_left_out(prefix):
    assert forwarded("127.0.0.1", {"X-Forwarded-Prefix": prefix})["root_path"] == ""


# --- nginx and Chromium ----------------------------------------------------------------------------------------------


@contextlib.contextmanager
def nginx(upstream: str, folder: Path) -> Iterator[str]:
    """nginx with the example of app/README.md before ``upstream``; its address."""
    program = shutil.which("nginx", path="/usr/sbin:/usr/bin:/usr/local/sbin:/usr/local/bin")
    if program is None:
        pytest.skip("nginx is not installed (Debian: apt install nginx-light); the other tests ask the same without it")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    example = re.search(r"```nginx\n(.*?)```", README.read_text("utf-8"), re.S)
    assert example is not None
    places = "".join(
        f"{kind}_temp_path {folder}/{kind};\n" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    me, mine = (
        pwd.getpwuid(os.getuid()).pw_name,
        grp.getgrgid(os.getgid()).gr_name,
    )  # else nobody, who may not write here
    (folder / "nginx.conf").write_text(
        f"user {me} {mine}; daemon off; pid {folder}/pid; error_log {folder}/error.log; \n"
        f"worker_processes 1; events {{}}\n"
        f"http {{ access_log off; {places} server {{ listen 127.0.0.1:{port};\n"
        f"{example[1].replace('http://127.0.0.1:7860', upstream)} }} }}\n"
    )
    running = subprocess.Popen([program, "-p", str(folder), "-c", str(folder / "nginx.conf")])
    try:
        deadline = time.monotonic() + 20
        while True:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                break
            assert running.poll() is None, (folder / "error.log").read_text()
            assert time.monotonic() < deadline
            time.sleep(0.05)
        yield f"http://127.0.0.1:{port}"
    finally:
        running.terminate()
        running.wait(10)


def test_owner_and_technician_through_nginx(browser, home, tmp_path):
    with operated(home) as upstream, nginx(upstream, tmp_path) as front:
        assert httpx.get(f"{front}{SUB}/metrics").status_code == 404
        assert httpx.get(front + SUB).headers["location"].endswith(f"{SUB}/")
        context = browser.new_context(locale="en-GB", viewport={"width": 1280, "height": 900})
        page = context.new_page()
        page.set_default_timeout(90_000)
        beside, complaints, failed = [], [], []
        page.on(
            "request",
            lambda r: None if r.url.startswith((f"{front}{SUB}/", "data:", "blob:")) else beside.append(r.url),
        )
        page.on("response", lambda r: failed.append((r.status, r.url)) if r.status >= 400 else None)
        page.on("console", lambda m: complaints.append(m.text) if "Content Security" in m.text else None)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.goto(f"{front}{SUB}/")
        page.get_by_role("button", name=say("page.sample", "en")).wait_for()
        page.locator("input[type=file]").first.set_input_files(README.parent / "sample.jpg")
        page.locator(".yc-banner").wait_for()
        page.locator("#yc-reading").wait_for(state="hidden")

        page.goto(f"{front}{SUB}/workshop/en/")
        assert page.url.startswith(f"{front}{SUB}/login")
        page.fill("input[name=name]", NAME)
        page.fill("input[name=password]", PASSWORD)
        page.click("form button")
        page.wait_for_selector("#yc-query")
        page.locator("#yc-query textarea, #yc-query input").first.fill(
            "stalls when hot, starts again once it has cooled"
        )
        page.wait_for_selector(".yc-group")
        page.get_by_role("tab", name=say("workshop.files", "en")).click()
        export = page.locator("a[download]").first.evaluate("link => link.href")
        assert export.startswith(f"{front}{SUB}/api/v1/cases/export")
        assert page.request.get(export).status == 200
        (cookie,) = (one for one in context.cookies() if one["name"] == COOKIE)
        assert cookie["path"] == SUB
        page.get_by_role("link", name="中文").click()
        page.wait_for_url(f"{front}{SUB}/workshop/")
        assert failed == []
        page.get_by_role("button", name=say("workshop.log_out", "zh")).click()
        page.wait_for_url(f"{front}{SUB}/login?lang=zh")
        assert COOKIE not in {one["name"] for one in context.cookies()}
        context.close()
        assert [url for url in beside if not url.endswith("/manifest.json")] == []
        assert complaints == []
        assert [f for f in failed if "/queue/data" not in f[1]] == []  # the page that was left may ask once more
