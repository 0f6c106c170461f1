"""What is counted and written down: every request and photo, and nothing of what anybody sent."""

from __future__ import annotations

import json
import logging
import re
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from app.pages.web import SAMPLE
from app.records.accounts import Accounts
from app.serving import logs
from tests.serving import operated

SECRET = "geheim-9f3a"
PASSWORD = "a-long-password"


@pytest.fixture(scope="module")
def written() -> Iterator[list[str]]:
    """The lines of the log, as YANGCHE_LOG=json writes them."""
    lines: list[str] = []

    class Kept(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            lines.append(logs.JsonLines().format(record))

    root, handler, level = logging.getLogger(), Kept(), logs.LOG.level
    root.addHandler(handler)
    logs.LOG.setLevel(logging.INFO)
    yield lines
    logs.LOG.setLevel(level)
    root.removeHandler(handler)


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory, written: list[str]) -> Iterator[str]:
    home = tmp_path_factory.mktemp("metrics-home")
    Accounts.open(home).add("technician", PASSWORD, "technician")
    with operated(home, metrics_token="token-of-prometheus", uploads_per_minute=10**6) as url:
        yield url


def counted(address: str, name: str, **labels: str) -> float:
    """The sum of a metric's samples that bear these labels."""
    total = 0.0
    for line in httpx.get(f"{address}/metrics").text.splitlines():
        sample = re.fullmatch(r"([a-z_]+)(?:\{(.*)\})? (\S+)", line)
        if sample and sample[1] == name and all(f'{k}="{v}"' in (sample[2] or "") for k, v in labels.items()):
            total += float(sample[3])
    return total


def test_photos_searches_refusals_and_memory_are_counted(address):
    photo = {"photos": ("a.jpg", SAMPLE.read_bytes())}
    assert httpx.post(f"{address}/api/v1/diagnose", files=photo, timeout=120).status_code == 200
    assert httpx.post(f"{address}/api/v1/diagnose", files={"photos": b"none"}, timeout=120).status_code == 200
    assert httpx.get(f"{address}/api/v1/search", params={"q": "P0420"}, timeout=120).status_code == 200
    assert httpx.get(f"{address}/api/v1/me").status_code == 401
    assert counted(address, "yangche_diagnoses_total", kind="dashboard") == 1
    assert counted(address, "yangche_diagnosis_seconds_count", kind="dashboard") == 1
    assert counted(address, "yangche_diagnosis_errors_total", reason="photo") == 1
    assert counted(address, "yangche_search_seconds_count") == 1
    assert counted(address, "yangche_requests_total", route="/api/v1/search", method="GET", status="200") == 1
    assert counted(address, "yangche_refused_total", reason="no_login") == 1
    assert counted(address, "yangche_queue_length") == 0
    assert counted(address, "process_resident_memory_bytes") > 10**8


def test_nothing_that_was_sent_is_written_down_or_becomes_a_label(address, written):
    written.clear()
    answers = [
        httpx.get(f"{address}/evidence/{SECRET}"),
        httpx.get(f"{address}/{SECRET}?{SECRET}=1"),
        httpx.get(f"{address}/shared/{SECRET}"),
        httpx.get(
            f"{address}/api/v1/codes/{SECRET}", headers={"X-Name": SECRET, "Cookie": f"yangche_session={SECRET}"}
        ),
        httpx.get(f"{address}/api/v1/search", params={"q": SECRET, "brand": SECRET}),
        httpx.post(f"{address}/api/v1/login", json={"name": SECRET, "password": SECRET}),
        httpx.post(f"{address}/api/v1/login", content=SECRET, headers={"Content-Type": SECRET}),
        httpx.post(f"{address}/api/v1/diagnose", files={"photos": (f"{SECRET}.jpg", SECRET.encode())}),
        httpx.post(f"{address}/gradio_api/upload", files={"files": (f"{SECRET}.jpg", SECRET.encode())}),
        httpx.post(f"{address}/gradio_api/queue/join", json={"session_hash": SECRET, "data": [SECRET], "fn_index": 0}),
        httpx.post(f"{address}/gradio_api/run/{SECRET}", json={"data": [SECRET]}),
        httpx.get(f"{address}/gradio_api/file={SECRET}"),
        httpx.request(SECRET.upper(), f"{address}/"),
    ]
    deadline = time.monotonic() + 60
    lines: list[str] = []
    while len(lines) < len(answers) and time.monotonic() < deadline:  # a line follows its answer
        lines = [line for line in written if '"event": "request"' in line]
        time.sleep(0.02)
    assert len(lines) == len(answers)
    for line, answer in zip(lines, answers, strict=True):
        told = json.loads(line)
        assert set(told) == {"time", "level", "logger", "event", "request", "route", "method", "status", "ms"}
        assert (told["status"], told["request"]) == (answer.status_code, answer.headers["x-request-id"])
    everything = "\n".join(written) + httpx.get(f"{address}/metrics").text
    assert SECRET.lower() not in everything.lower()
    assert "127.0.0.1" not in "\n".join(written)


def test_a_diagnosis_writes_a_line_with_the_id_of_its_request(address, written):
    written.clear()
    photo = {"photos": ("a.jpg", SAMPLE.read_bytes())}
    answer = httpx.post(f"{address}/api/v1/diagnose", files=photo, timeout=120)
    (line,) = (json.loads(line) for line in written if '"event": "diagnosis"' in line)
    assert (line["kind"], line["request"]) == ("dashboard", answer.headers["x-request-id"])
    assert line["verdict"] == answer.json()["photos"][0]["verdict"]
    assert line["found"] > 0
    assert line["ms"] > 0


def test_an_exceptions_words_stay_out_of_the_log():
    try:
        raise ValueError(SECRET)
    except ValueError:
        record = logging.LogRecord("app.x", logging.ERROR, "x.py", 1, "it failed", None, __import__("sys").exc_info())
    line = json.loads(logs.JsonLines().format(record))
    assert (line["message"], line["error"]) == ("it failed", "ValueError")
    assert any("test_metrics.py" in place for place in line["where"])
    assert SECRET not in json.dumps(line)


def test_figures_are_for_this_machine_or_whoever_bears_the_token(address):
    def status(**headers: str) -> int:
        return httpx.get(f"{address}/metrics", headers={k.replace("_", "-"): v for k, v in headers.items()}).status_code

    assert status() == 200
    assert status(X_Forwarded_For="198.51.100.7") == 404
    assert status(X_Forwarded_For="127.0.0.1") == 404  # whatever a proxy's caller writes
    assert status(Authorization="Bearer wrong") == 404
    assert status(X_Forwarded_For="198.51.100.7", Authorization="Bearer token-of-prometheus") == 200


def test_routes_of_the_page_have_templates(address):
    httpx.get(f"{address}/")
    httpx.get(f"{address}/login")
    for route in ("/", "/login", "/gradio_api/upload"):
        assert counted(address, "yangche_requests_total", route=route) >= 1, route


def test_the_home_of_tests_is_not_told(address, tmp_path: Path):
    assert str(tmp_path.parent) not in httpx.get(f"{address}/metrics").text
