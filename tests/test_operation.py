"""How the server stands what callers do: limits, patience, turns, closed doors, strict headers; and its settings."""

from __future__ import annotations

import asyncio
import re
import socket
import threading
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path

import httpx
import pytest

from app.advisor import Advisor
from app.api.access import COOKIE
from app.pages.sitting import Page, Step
from app.pages.web import SAMPLE
from app.records.accounts import Accounts
from app.serving import limits
from app.serving.server import closed
from app.serving.turns import Busy, Turns
from app.settings import Settings
from app.texts import say
from knowledge.text import UserError
from tests.pages import opened
from tests.serving import operated

NAME, PASSWORD = "technician", "a-long-password"
UPLOAD = "/gradio_api/upload"


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("operation-home")
    Accounts.open(folder).add(NAME, PASSWORD, "technician")
    return folder


@pytest.fixture(scope="module")
def address(home: Path) -> Iterator[str]:
    with operated(home, upload_total_mb=1, uploads_per_minute=1, events_per_minute=1, slow_s=2) as url:
        yield url


@pytest.fixture
def visitors() -> str:
    """An address of its own for each test, so that none uses up another's calls."""
    visitors.count = getattr(visitors, "count", 0) + 1  # type: ignore[attr-defined]
    return f"198.51.100.{visitors.count}"  # type: ignore[attr-defined]


# --- settings --------------------------------------------------------------------------------------------------------


def test_every_setting_stands_in_the_readme():
    told = set(re.findall(r"YANGCHE_[A-Z_]+", (Path(limits.__file__).parents[1] / "README.md").read_text("utf-8")))
    assert {f"YANGCHE_{one.name.upper()}" for one in fields(Settings)} - told == set()


def test_the_file_is_read_and_the_environment_wins(tmp_path):
    (tmp_path / "settings.toml").write_text('port = 8001\nregion = "international"\nlang = "en"\n', "utf-8")
    env = {"YANGCHE_HOME": str(tmp_path), "LANG": "zh_CN.UTF-8"}
    read = Settings.read(env)
    assert (read.port, read.region, read.lang, read.home) == (8001, "international", "en", tmp_path)
    assert Settings.read({**env, "YANGCHE_PORT": "8002"}).port == 8002
    other = tmp_path / "other.toml"
    other.write_text("port = 8003\n")
    assert Settings.read({**env, "YANGCHE_SETTINGS": str(other)}).port == 8003


@pytest.mark.parametrize(
    ("env", "toml", "said"),
    [
        ({"YANGCHE_PORT": "eighty"}, "", "YANGCHE_PORT"),
        ({"YANGCHE_PORT": "70000"}, "", "1 to 65535"),
        ({"YANGCHE_LOG": "loud"}, "", "plain, json"),
        ({"YANGCHE_ROOT_PATH": "https://x"}, "", "/yangche"),
        ({"YANGCHE_TRUSTED_PROXIES": "anyone"}, "", "addresses"),
        ({"YANGCHE_SETTINGS": "/no/such.toml"}, "", "/no/such.toml"),
        ({}, "prot = 1", "prot"),
        ({}, "port = true", "settings.toml: port"),
        ({}, "port = ", "no TOML"),
        ({}, 'home = "/x"', "home"),
    ],
)
def test_a_setting_that_cannot_be_used_is_told(tmp_path, env, toml, said):
    (tmp_path / "settings.toml").write_text(toml)
    with pytest.raises(UserError) as caught:
        Settings.read({"YANGCHE_HOME": str(tmp_path), **env})
    assert said in caught.value.text.en
    assert caught.value.text.zh.endswith("。")


# --- turns -----------------------------------------------------------------------------------------------------------


def test_threads_and_coroutines_stand_in_one_line():
    turns, order = Turns(waiting=10, at_once=1), []

    def thread(name: str) -> None:
        with turns.photo():
            order.append(name)

    async def later(name: str) -> None:
        async with turns.photo_later():
            order.append(name)

    async def walk() -> None:
        async with turns.photo_later():
            first = threading.Thread(target=thread, args=("thread",))
            first.start()
            while not turns._line:
                await asyncio.sleep(0.001)
            gone, second = asyncio.create_task(later("gone")), asyncio.create_task(later("coroutine"))
            await asyncio.sleep(0.01)
            gone.cancel()
        await second
        first.join(5)

    asyncio.run(walk())
    assert order == ["thread", "coroutine"]
    assert turns.busy == turns.here == 0


def test_a_turn_granted_to_somebody_who_goes_away_is_given_back():
    turns = Turns(at_once=1)

    async def walk() -> None:
        async def wait() -> None:
            async with turns.photo_later():
                raise AssertionError("it was cancelled")

        async with turns.photo_later():
            waiting = asyncio.create_task(wait())
            await asyncio.sleep(0)
            await asyncio.sleep(0)
        waiting.cancel()  # the turn is its own by now, but it does not know yet
        with pytest.raises(asyncio.CancelledError):
            await waiting

    asyncio.run(walk())
    assert turns.busy == 0


def test_no_more_wait_than_may():
    turns = Turns(waiting=1, at_once=1)
    with turns.place(), turns.place(), pytest.raises(Busy), turns.place():
        pass
    assert (turns.here, turns.refused) == (0, 1)


# --- limits ----------------------------------------------------------------------------------------------------------


def test_a_body_that_is_too_large_is_refused_before_it_is_read(address, visitors):
    """Its head alone is sent: the answer comes all the same."""
    host, port = address.removeprefix("http://").split(":")
    for path, size in ((UPLOAD, 3 * 2**20), ("/gradio_api/queue/join", 3 * 2**20), ("/api/v1/diagnose", 3 * 2**20)):
        with socket.create_connection((host, int(port)), 10) as line:
            head = f"POST {path} HTTP/1.1\r\nHost: x\r\nX-Forwarded-For: {visitors}\r\nContent-Length: {size}\r\n"
            line.sendall(f"{head}Accept-Language: en\r\n\r\n".encode())
            answer = line.recv(4096).decode()
        assert " 413 " in answer.splitlines()[0], answer


def test_a_body_is_counted_whatever_it_says(address, visitors):
    def endless() -> Iterator[bytes]:
        for _ in range(64):
            yield bytes(2**16)

    headers = {"X-Forwarded-For": visitors, "Content-Type": "application/json"}
    assert httpx.post(f"{address}/gradio_api/queue/join", content=endless(), headers=headers).status_code == 413


@pytest.mark.parametrize("lang", ["zh", "en"])
def test_too_many_uploads_of_one_address_get_a_sentence_and_others_go_on(address, visitors, lang):
    def upload(of: str) -> httpx.Response:
        headers = {"X-Forwarded-For": of, "Accept-Language": lang}
        return httpx.post(address + UPLOAD, files={"files": ("a.jpg", b"x")}, headers=headers)

    answers = [upload(visitors) for _ in range(limits.UPLOAD_BURST + 2)]
    assert [answer.status_code for answer in answers] == [200] * limits.UPLOAD_BURST + [429] * 2
    assert answers[-1].text == say("ops.too_often", lang)
    assert int(answers[-1].headers["retry-after"]) > 0
    assert upload("203.0.113.200").status_code == 200


def test_too_many_events_get_a_sentence_where_the_page_looks_for_it(address, visitors):
    headers = {"X-Forwarded-For": visitors, "Accept-Language": "zh"}
    with httpx.Client() as client:
        statuses = {
            client.post(f"{address}/gradio_api/queue/join", json={"data": []}, headers=headers).status_code
            for _ in range(limits.EVENT_BURST + 30)
        }
        answer = client.post(f"{address}/gradio_api/queue/join", json={"data": []}, headers=headers)
    assert 429 in statuses
    assert answer.json() == {"detail": say("ops.too_often", "zh")}


def test_slow_callers_are_cut_off_and_hold_nobody_up(address, visitors):
    host, port = address.removeprefix("http://").split(":")
    slow = [socket.create_connection((host, int(port)), 10) for _ in range(40)]
    for number, line in enumerate(slow):
        if number % 2:  # half say nothing at all, half never come to an end
            line.sendall(b"POST /gradio_api/upload HTTP/1.1\r\nHost: x\r\nX-Slow: ")
    stuck = socket.create_connection((host, int(port)), 10)
    head = f"POST {UPLOAD} HTTP/1.1\r\nHost: x\r\nX-Forwarded-For: {visitors}\r\nContent-Length: 1000\r\n"
    stuck.sendall(f"{head}Content-Type: multipart/form-data; boundary=b\r\n\r\n--b\r\n".encode())
    assert httpx.get(f"{address}/login", timeout=5).status_code == 200
    for line in slow:
        line.settimeout(20)
        assert line.recv(100) == b""
        line.close()
    stuck.settimeout(20)
    assert b" 408 " in stuck.recv(4096)
    stuck.close()


# --- what nobody reaches ---------------------------------------------------------------------------------------------

TRICKS = [
    "/gradio_api/file={path}", "/gradio_api/file%3D{path}", "/gradio_api/file%3d{path}", "/gradio_api/file/{path}",
    "/gradio_api/./file={path}", "/gradio_api/upload/../file={path}", "/gradio_api/upload/%2e%2e/file={path}",
    "//gradio_api/file={path}", "/gradio_api//file={path}", "/gradio_api/%66ile={path}", "/GRADIO_API/file={path}",
    "/static/..%2f..%2f..{path}", "/static/%2e%2e/%2e%2e{path}", "/assets/..%2f..%2f..{path}", "/assets/../..{path}",
    "/evidence/..%2f..{path}", "/evidence/%2e%2e", "/evidence/..", "/shared/..%2f..{path}", "/svelte/..%2f..{path}",
    "/gradio_api/proxy=http://127.0.0.1:1/", "/gradio_api/stream/a/b/c/playlist.m3u8", "/gradio_api/upload",
    "/gradio_api/custom_component/a/client/component/..%2f..{path}", "/custom_component/a/client/component/x",
    "/gradio_api/deep_link?session_hash=a", "/gradio_api/openapi.json", "/gradio_api/token", "/gradio_api/app_id",
    "/monitoring", "/monitoring/summary", "/gradio_api/runs", "/gradio_api/component_server", "/docs", "/uploads",
    "/gradio_api/vibe-code", "/gradio_api/profiling/traces", "/workshop/gradio_api/file={path}",
    "/workshop/en/gradio_api/file={path}", "/workshop/../gradio_api/file={path}", "/workshop%2fgradio_api/file={path}",
]  # fmt: skip


def raw(address: str, path: str, cookie: str = "") -> tuple[int, bytes]:
    """The answer to a path that no client has tidied up."""
    host, port = address.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), 20) as line:
        extra = f"Cookie: {cookie}\r\n" if cookie else ""
        line.sendall(f"GET {path} HTTP/1.1\r\nHost: {host}:{port}\r\nConnection: close\r\n{extra}\r\n".encode())
        got = b"".join(iter(lambda: line.recv(65536), b""))
    return int(got.split(b" ", 2)[1]), got


@pytest.fixture(scope="module")
def login(address: str) -> str:
    answer = httpx.post(f"{address}/api/v1/login", json={"name": NAME, "password": PASSWORD})
    assert answer.status_code == 200, answer.text
    return f"{COOKIE}={answer.json()['token']}"


@pytest.mark.parametrize("trick", TRICKS)
def test_uploads_are_reached_by_nobody(address, login, visitors, trick):
    photo = SAMPLE.read_bytes()
    sent = httpx.post(address + UPLOAD, files={"files": ("mine.jpg", photo)}, headers={"X-Forwarded-For": visitors})
    (stored,) = sent.json()
    assert Path(stored).read_bytes() == photo  # it is there, but nobody gets it
    for cookie in ("", login):
        status, got = raw(address, trick.format(path=stored), cookie)
        assert status in {400, 401, 403, 404, 405, 307, 308}, status
        assert photo[-200:] not in got
        assert str(Path(stored).parent).encode() not in got


def test_only_routes_that_pages_need_are_open():
    assert not closed("/gradio_api/upload")
    assert not closed("/workshop/en/gradio_api/queue/data")
    assert closed("/gradio_api/upload/x")
    assert closed("/gradio_api/run/../file")


def test_another_sites_page_changes_nothing(address, login):
    evil = {"Origin": "https://evil.example", "Cookie": login, "Accept-Language": "en"}
    for path in ("/workshop/gradio_api/queue/join", "/workshop/gradio_api/upload", UPLOAD, "/gradio_api/run/predict"):
        answer = httpx.post(address + path, json={"data": []}, headers=evil)
        assert (answer.status_code, answer.text) == (403, say("ops.not_from_here", "en")), path
    assert httpx.post(f"{address}/api/v1/logout", headers=evil).status_code == 403
    assert httpx.get(f"{address}/api/v1/me", headers={"Cookie": login}).status_code == 200


@pytest.mark.parametrize("path", ["/", "/login", "/workshop/", "/api/v1/health", "/nothing", "/gradio_api/file=/x"])
def test_every_answer_keeps_browsers_strict(address, login, path):
    headers = httpx.get(address + path, headers={"Cookie": login}, timeout=60).headers
    policy = headers["content-security-policy"]
    assert "frame-ancestors 'none'" in policy
    assert not re.search(r"https?:|\*", policy)
    assert headers["x-content-type-options"] == "nosniff"
    assert "geolocation=(self), camera=(self)" in headers["permissions-policy"]
    assert headers["referrer-policy"] == "no-referrer"
    assert len(headers.get_list("content-security-policy")) == 1


# --- what people see of it -------------------------------------------------------------------------------------------


def test_an_owner_who_comes_when_too_many_wait_gets_one_sentence(home):
    page = Page(Advisor.open(home))
    page.advisor.turns = Turns(waiting=0, at_once=1)

    async def steps() -> list[Step]:
        return [step async for step in page.look_at_all([SAMPLE.read_bytes()])]

    with page.advisor.turns.place():
        (step,) = asyncio.run(steps())
    assert (step.sitting, step.left) == (None, 0)
    assert [text.zh for text in step.refused] == [say("ops.busy", "zh")]
    assert asyncio.run(steps())[-1].sitting is not None


WATCH = """(sentence) => new MutationObserver(() => {
  window.toldWhy ||= document.body.innerText.includes(sentence);
}).observe(document.body, {childList: true, subtree: true, characterData: true})"""


@pytest.mark.parametrize("lang", ["zh", "en"])
def test_the_page_shows_why_a_click_was_refused(browser, home, monkeypatch, lang):
    monkeypatch.setattr(limits, "EVENT_BURST", 8)  # what opening the page takes, and a little
    with operated(home, events_per_minute=1) as url, opened(browser, url, "owner", lang) as page:
        page.evaluate(WATCH, say("ops.too_often", lang))  # the sentence goes again by itself
        for _ in range(120):  # while a photo is read, a click asks for nothing
            page.locator("#yc-sample").click()
            page.wait_for_timeout(500)
            if page.evaluate("window.toldWhy"):
                break
        assert page.evaluate("window.toldWhy")
