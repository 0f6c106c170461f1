"""The REST API over HTTP: the real advisor, a real archive and real accounts below it."""

from __future__ import annotations

import itertools
import json
import logging
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import hypothesis
import pytest
import schemathesis
from fastapi import FastAPI
from fastapi.testclient import TestClient
from schemathesis.checks import not_a_server_error

from app.advisor import Advisor
from app.api import access as api_access
from app.api import archive as api_archive
from app.api import routes as api
from app.api.access import COOKIE
from app.pages.web import SAMPLE
from app.records import accounts as accounts_
from app.records.accounts import Accounts
from app.serving.turns import Busy, Turns
from app.settings import AT_ONCE, MAX_WAITING

PASSWORD = "correct horse"
V1 = "/api/v1"
CASE = {"brand": "大众", "symptom": "冷车怠速抖，电话 13812345678", "fix": "更换进气歧管垫", "mileage_km": "12万"}
TECHNICIAN_ROUTES = [
    ("POST", "/cases"),
    ("GET", "/cases/S-0001"),
    ("GET", "/cases/S-0001/history"),
    ("PUT", "/cases/S-0001"),
    ("POST", "/cases/import"),
    ("GET", "/cases/export"),
    ("POST", "/confirmations"),
    ("DELETE", "/confirmations/x"),
]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FastAPI]:
    """The API in an application; calls come as fast as they like, and passwords are hashed with little effort."""
    from argon2 import PasswordHasher

    quick = PasswordHasher(time_cost=1, memory_cost=64, parallelism=1)
    home = tmp_path_factory.mktemp("api-home")
    patch = pytest.MonkeyPatch()
    patch.setenv("YANGCHE_HOME", str(home))
    patch.setattr(accounts_, "_hasher", lambda: quick)
    patch.setattr(api_access, "DIAGNOSE_BURST", 10**6)
    patch.setattr(api_access, "LOGIN_BURST", 10**6)
    accounts = Accounts.open(home)
    for role in accounts_.ROLES:
        accounts.add(role, PASSWORD, role)
    app = FastAPI(openapi_url=None)
    app.state.accounts, app.state.advisor = accounts, Advisor.open(home)
    api.mount(app, app.state.advisor, accounts)
    yield app
    patch.undo()


@pytest.fixture(autouse=True)
def no_old_failures(site: FastAPI) -> None:
    with site.state.accounts._writing() as db:
        db.execute(accounts_.TRIES.delete())


@pytest.fixture
def client(site: FastAPI) -> Iterator[TestClient]:
    with TestClient(site, base_url="http://testserver/api/v1", raise_server_exceptions=False) as made:
        yield made


def bearer(client: TestClient, role: str = "technician") -> dict[str, str]:
    answer = client.post("login", json={"name": role, "password": PASSWORD})
    assert answer.status_code == 200
    client.cookies.clear()
    return {"Authorization": f"Bearer {answer.json()['token']}"}


def error_of(answer) -> dict[str, str]:
    told = answer.json()
    assert set(told) == {"error"}
    assert set(told["error"]) == {"zh", "en"}
    return told["error"]


# --- who may what ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("method", "path"), TECHNICIAN_ROUTES)
def test_technician_routes_are_closed_to_others(client, method, path):
    unknown = {"Authorization": "Bearer nonsense"}
    for headers, status in ((None, 401), (unknown, 401), (bearer(client, "trainer"), 403)):
        answer = client.request(method, path.lstrip("/"), headers=headers)
        assert answer.status_code == status, answer.text
        error_of(answer)
    for role in ("technician", "admin"):
        assert client.request(method, path.lstrip("/"), headers=bearer(client, role)).status_code not in {401, 403}


def test_the_list_of_technician_routes_is_whole(site):
    """A route that somebody adds must be public on purpose."""
    public = {"/diagnose", "/search", "/codes/{code}", "/health", "/login", "/shops", "/maintenance"}
    document = TestClient(site).get(f"{V1}/openapi.json").json()
    guarded = {
        (method.upper(), path.replace("{case_id}", "S-0001").replace("{confirmation_id}", "x"))
        for path, methods in document["paths"].items()
        for method in methods
        if path not in public | {"/logout", "/me"} and not path.startswith("/corrections")  # tests/test_corrections.py
    }
    assert guarded == set(TECHNICIAN_ROUTES)


def test_a_refused_caller_uploads_nothing(client, monkeypatch):
    monkeypatch.setattr("starlette.requests.Request.form", None)  # whoever read the body would fail
    assert client.post("cases/import", files={"file": ("a.csv", b"fix\nx\n")}).status_code == 401


def test_login_me_logout_with_the_cookie(client):
    came = client.post("login", json={"name": "technician", "password": PASSWORD})
    cookie = came.headers["set-cookie"]
    assert all(part in cookie for part in ("HttpOnly", "SameSite=strict", "Path=/;"))
    assert "Secure" not in cookie
    assert client.get("me").json()["role"] == "technician"
    assert client.post("logout", headers={"Origin": "http://testserver"}).status_code == 204
    assert COOKIE not in client.cookies
    assert client.get("me", headers={"Cookie": f"{COOKIE}={came.json()['token']}"}).status_code == 401


def test_the_cookie_is_secure_over_https(site):
    client = TestClient(site, base_url="https://testserver")
    assert "Secure" in client.post(f"{V1}/login", json={"name": "admin", "password": PASSWORD}).headers["set-cookie"]


@pytest.mark.parametrize(
    ("headers", "allowed"),
    [
        ({"Origin": "http://testserver"}, True),
        ({"Origin": "http://testserver:80"}, True),
        ({"Referer": "http://testserver/page?x=1"}, True),
        ({}, False),
        ({"Origin": "null"}, False),
        ({"Origin": "http://evil.example"}, False),
        ({"Origin": "http://testserver:81"}, False),
        ({"Origin": "http://testserver.evil.example"}, False),
        ({"Origin": "http://[bad", "Referer": "http://testserver/"}, False),
        ({"Referer": "http://evil.example/http://testserver/"}, False),
    ],
)
def test_other_sites_cannot_use_the_cookie(client, headers, allowed):
    client.post("login", json={"name": "technician", "password": PASSWORD})
    answer = client.post("cases", json=CASE, headers=headers)
    assert answer.status_code == (201 if allowed else 403), answer.text
    assert client.get("cases/S-0001", headers=headers).status_code == 200  # reading changes nothing


def test_a_bearer_token_needs_no_origin_and_is_not_made_up_for_by_a_cookie(client):
    headers = bearer(client)
    assert client.post("cases", json=CASE, headers=headers).status_code == 201
    client.post("login", json={"name": "technician", "password": PASSWORD})
    assert client.post("cases", json=CASE, headers={"Authorization": "Bearer nonsense"}).status_code == 401


def test_wrong_logins_look_alike_and_end(client):
    answers = [client.post("login", json={"name": n, "password": "wrong password"}) for n in ("admin", "nobody")]
    assert [a.status_code for a in answers] == [401, 401]
    assert error_of(answers[0]) == error_of(answers[1])
    for _ in range(4):
        client.post("login", json={"name": "admin", "password": "wrong password"})
    refused = client.post("login", json={"name": "admin", "password": PASSWORD})
    assert refused.status_code == 429
    assert int(refused.headers["retry-after"]) > 800
    assert "15" in error_of(refused)["zh"]


def test_too_many_calls_from_one_address(site, monkeypatch):
    monkeypatch.setattr(api_access, "LOGIN_BURST", 2)
    app = FastAPI()
    api.mount(app, site.state.advisor, site.state.accounts)
    client = TestClient(app)
    statuses = [client.post(f"{V1}/login", json={}).status_code for _ in range(3)]
    assert statuses == [422, 422, 429]


def test_buckets_fill_again_and_forget():
    clock = [0.0]
    buckets = api_access.Buckets(2, 0.5, lambda: clock[0])
    for address in ("a", "a", "b"):
        buckets.take(address)
    with pytest.raises(api_access.ApiError):
        buckets.take("a")
    clock[0] = 2.0
    buckets.take("a")
    with pytest.raises(api_access.ApiError):
        buckets.take("a")


# --- what owners ask -------------------------------------------------------------------------------------------------


def test_photos_are_answered_one_by_one(client):
    files = [("photos", ("C:\\my\\a.jpg", SAMPLE.read_bytes())), ("photos", ("b.jpg", b"not a photo"))]
    answer = client.post("diagnose", files=files, data={"lang": "en"})
    good, bad = answer.json()["photos"]
    assert (good["photo"], good["kind"], good["error"]) == ("a.jpg", "dashboard", None)
    assert good["findings"]
    assert good["fixes"]
    assert set(bad) == set(good)
    assert bad["error"]
    assert (bad["photo"], bad["verdict"]) == ("b.jpg", "unsure")


def test_an_accident_keeps_its_own_fields(client):
    photo = (SAMPLE.parent / "accident.jpg").read_bytes()
    (told,) = client.post("diagnose", files={"photos": ("x.jpg", photo)}).json()["photos"]
    assert told["kind"] == "accident"
    assert told["steps"]
    assert "work" in told


@pytest.mark.parametrize("answers", ["[1]", "{", '{"nothing": "yes"}', '{"nothing": NaN}', "[" * 10**5, "1" * 5000])
def test_answers_that_are_none(client, answers):
    error_of(answer := client.post("diagnose", files={"photos": b"x"}, data={"answers": answers}))
    assert answer.status_code == 400


def test_too_many_and_too_large_photos(client, monkeypatch):
    assert client.post("diagnose", files=[("photos", b"x")] * 11).status_code == 413
    monkeypatch.setattr(api, "MAX_UPLOAD_BYTES", 10)
    assert client.post("diagnose", files={"photos": bytes(11)}).status_code == 413
    monkeypatch.setattr(api_archive, "MAX_UPLOAD_BYTES", 10)
    table = {"file": ("a.csv", b"fix\nsomething\n")}
    assert client.post("cases/import", files=table, headers=bearer(client)).status_code == 413


def test_a_body_is_cut_off_whatever_it_says_of_its_length(client):
    def endless() -> Iterator[bytes]:
        for _ in range(64):
            yield bytes(2**16)

    headers = {**bearer(client), "Content-Type": "application/json"}
    assert client.post("cases", content=bytes(2**20 + 1), headers=headers).status_code == 413
    assert client.post("cases", content=endless(), headers=headers).status_code == 413


def test_a_slow_photo_blocks_no_other_route_and_the_line_has_an_end(client, monkeypatch):
    held, looking = threading.Event(), []

    def slowly(*_: object, **__: object) -> object:
        looking.append(len(looking))
        assert held.wait(30)
        raise RuntimeError("what a photo does")

    monkeypatch.setattr(Advisor, "diagnose", slowly)
    statuses: list[int] = []

    def ask() -> None:
        statuses.append(client.post("diagnose", files={"photos": b"x"}).status_code)

    threads = [threading.Thread(target=ask) for _ in range(MAX_WAITING + AT_ONCE + 2)]
    for thread in threads:
        thread.start()
    deadline = time.monotonic() + 30
    while len(statuses) < 2 and time.monotonic() < deadline:  # two are served, many wait, two are sent away
        time.sleep(0.02)
    assert statuses == [503, 503]
    assert looking == [0, 1]
    busy = client.post("diagnose", files={"photos": b"x"})
    assert (busy.status_code, busy.headers["retry-after"]) == (503, "60")
    assert client.get("search", params={"q": "P0300"}).status_code == 200
    held.set()
    for thread in threads:
        thread.join(30)
    assert statuses.count(200) == MAX_WAITING + AT_ONCE


def test_places_are_given_back():
    turns = Turns(waiting=0, at_once=1)
    for _ in range(3):
        with turns.place(), pytest.raises(Busy), turns.place():
            pass


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ("q=冷车抖&k=3&lang=en", 200),
        ("q=%00P0300%ff%ed%a0%80", 200),
        ("q=x&code=%00&light=%00&brand=%ff", 200),
        ("q=", 400),
        ("q=%00", 400),
        ("q=x&k=0", 422),
        ("q=x&k=1e999", 422),
        (f"q=x&k={'9' * 5000}", 422),
        ("q=x&lang=fr", 422),
        (f"q={'x' * 4001}", 422),
    ],
)
def test_search_takes_whatever_comes(client, query, status):
    answer = client.get(f"search?{query}")
    assert answer.status_code == status, answer.text
    if status != 200:
        error_of(answer)


def test_codes_health_and_the_document(client, site):
    assert client.get("codes/P0420", params={"lang": "en"}).json()["code"] == "P0420"
    assert client.get("codes/C0031-11").json()["failure"]
    assert client.get("codes/hello").status_code == 400
    assert client.get("health").json()["good"] is True
    document = client.get("openapi.json").json()
    assert document["servers"] == [{"url": V1}]
    assert "HTTPValidationError" not in json.dumps(document)
    for path in ("docs", "redoc", "nothing"):
        assert client.get(path).status_code == 404
    assert client.delete("health").status_code == 405


# --- what technicians do ---------------------------------------------------------------------------------------------


def test_a_case_is_written_changed_and_remembered(client):
    headers = bearer(client)
    made = client.post("cases", json=CASE, headers=headers)
    assert made.status_code == 201
    case = made.json()["case"]
    assert case["case_id"][14] == "7"  # UUIDv7
    assert "13812345678" not in case["symptom"]
    assert (case["entered_by"], case["mileage_km"], made.json()["author"]) == ("technician", 120_000, "technician")
    path = f"cases/{case['case_id']}"
    assert client.get(path, headers=headers).json() == made.json()
    changed = client.put(path, json={**CASE, "fix": "换了火花塞"}, headers=bearer(client, "admin"))
    assert changed.json()["case"]["fix"] == "换了火花塞"
    told = client.get(f"{path}/history", headers=headers).json()
    assert [version["author"] for version in told["versions"]] == ["technician", "admin"]
    assert [version["case"]["fix"] for version in told["versions"]] == ["更换进气歧管垫", "换了火花塞"]


def test_what_get_gives_put_takes_back(client):
    headers = bearer(client)
    case = client.get("cases/S-0001", headers=headers).json()["case"]
    assert set(case["fix"]) == {"zh", "en"}
    body = {name: value for name, value in case.items() if name != "case_id"}
    again = client.put("cases/S-0001", json=body, headers=headers).json()["case"]
    assert again == {**case, "entered_by": case["entered_by"] or "technician"}
    assert isinstance(client.get("cases/S-0001?lang=en", headers=headers).json()["case"]["fix"], str)


def test_unknown_and_deleted_cases(client, site):
    headers = bearer(client)
    for method, path, body in (
        ("GET", "cases/none", None),
        ("GET", "cases/none/history", None),
        ("GET", "cases/%00", None),
        ("PUT", "cases/none", CASE),
        ("POST", "confirmations", {"case_id": "none", "verdict": "worked"}),
        ("DELETE", "confirmations/none", None),
    ):
        error_of(answer := client.request(method, path, json=body, headers=headers))
        assert answer.status_code == 404
    site.state.advisor.searcher.store.delete(["S-0002"], "test")
    assert client.put("cases/S-0002", json=CASE, headers=headers).status_code == 409
    assert client.get("cases/S-0002", headers=headers).json()["deleted"] is True
    report = {"case_id": "S-0002", "verdict": "worked"}
    assert client.post("confirmations", json=report, headers=headers).status_code == 404


@pytest.mark.parametrize(
    "body",
    [
        b"", b"{", b"[]", b"null", b"[" * 10**5, b"\xff", b'{"fix": ""}', b'{"fix": "a\\u0000b"}',
        b'{"fix": "\\ud800"}', b'{"\\ud800": 1, "fix": "x"}', b'{"fix": NaN}', b'{"fix": "x", "labour_hours": NaN}',
        b'{"fix": "x", "labour_hours": 1e999}', b'{"fix": "x", "mileage_km": -Infinity}',
        b'{"fix": "x", "model_year": %s}' % (b"9" * 5000), b'{"fix": "x", "unknown": 1}',
        b'{"fix": {"zh": "x"}}', b'{"fix": "x", "lights": [[]]}',
    ],
)  # fmt: skip
@pytest.mark.parametrize("path", ["cases", "confirmations", "login"])
def test_bodies_that_say_nothing(client, path, body):
    headers = {**bearer(client), "Content-Type": "application/json"}
    answer = client.post(path, content=body, headers=headers)
    assert answer.status_code in {400, 422}, answer.text
    error_of(answer)


@pytest.mark.parametrize("kind", ["multipart/form-data", "multipart/form-data; boundary=x", "text/plain", "x"])
@pytest.mark.parametrize("path", ["diagnose", "cases/import"])
def test_broken_forms(client, path, kind):
    answer = client.post(path, content=b"--x\r\nContent-Dis", headers={**bearer(client), "Content-Type": kind})
    assert answer.status_code in {400, 422}
    error_of(answer)


@pytest.mark.parametrize("form", ["jsonl", "csv", "xlsx"])
def test_what_is_exported_is_imported_back(client, site, form):
    headers = bearer(client)
    table = client.get("cases/export", params={"format": form}, headers=headers)
    report = client.post("cases/import", files={"file": (f"../a.{form}", table.content)}, headers=headers).json()
    assert (report["taken"], report["updated"], report["refused"]) == (0, 0, [])
    assert report["unchanged"] > 300
    assert list((site.state.advisor.home / "uploads").iterdir()) == []


def test_an_import_tells_what_became_of_its_rows(client):
    rows = '{"fix": "车主 13812345678 换了泵"}\n{"brand": "VW"}\n{"fix": "x", "colour": 1}\n'
    report = client.post("cases/import?lang=en", files={"file": ("a.jsonl", rows)}, headers=bearer(client)).json()
    assert (report["taken"], report["masked"], report["ignored"]) == (2, 1, ["colour"])
    assert report["refused"] == [{"line": 2, "reason": "The fix is missing."}]
    assert client.post("cases/import", files={"file": ("a.pdf", b"x")}, headers=bearer(client)).status_code == 400


def test_search_confirm_count_withdraw(client):
    headers = bearer(client)

    def groups_of(case_id: str) -> dict:
        found = client.get("search", params={"q": "更换进气歧管垫 冷车怠速抖", "k": 100}).json()
        return next(group for group in found["groups"] if case_id in group["case_ids"])

    case_id = client.post("cases", json=CASE, headers=headers).json()["case"]["case_id"]
    before = groups_of(case_id)["worked"]
    body = {"case_id": case_id, "verdict": "worked", "note": "回访电话 13812345678"}
    report = client.post("confirmations", json=body, headers=headers)
    assert report.status_code == 201
    assert report.json()["by"] == "technician"
    assert "13812345678" not in report.json()["note"]
    assert groups_of(case_id)["worked"] == before + 1
    confirmation = f"confirmations/{report.json()['confirmation_id']}"
    assert client.delete(confirmation, headers=headers).json()["withdrawn"] is True
    assert groups_of(case_id)["worked"] == before
    assert client.delete(confirmation, headers=headers).status_code == 404


def test_only_technicians_see_who_entered_a_case(client):
    headers = bearer(client)
    case_id = client.post("cases", json={**CASE, "fix": "换了独一无二的泵"}, headers=headers).json()["case"]["case_id"]

    def entered_by(asked_by: dict[str, str] | None) -> str:
        hits = client.get("search", params={"q": "独一无二的泵"}, headers=asked_by).json()["hits"]
        return next(hit["entered_by"] for hit in hits if hit["case_id"] == case_id)

    assert entered_by(None) == entered_by(bearer(client, "trainer")) == ""
    assert entered_by(headers) == "technician"


def test_a_broken_archive_is_no_fault_of_the_caller(tmp_path: Path):
    (tmp_path / "archive.sqlite").write_bytes(b"no database, but long enough to be looked at " * 30)
    app = FastAPI()
    api.mount(app, Advisor.open(tmp_path), Accounts.open(tmp_path))
    client = TestClient(app)
    answer = client.get(f"{V1}/search?q=P0300")
    assert answer.status_code == 503
    assert str(tmp_path) not in answer.text
    assert client.get(f"{V1}/health").json()["archive"] is False


# --- whatever the document allows ------------------------------------------------------------------------------------


def test_nothing_that_the_document_allows_makes_the_server_fail(site, monkeypatch):
    """Schemathesis makes calls up from the OpenAPI document, good and bad ones, always the same."""
    monkeypatch.setattr(logging.getLogger("app.api.routes"), "disabled", True)  # photos that are none are no news here
    document = schemathesis.openapi.from_asgi(f"{V1}/openapi.json", site)
    statuses: dict[str, set[int]] = {}
    settings = hypothesis.settings(
        max_examples=15,
        deadline=None,
        derandomize=True,
        database=None,
        suppress_health_check=list(hypothesis.HealthCheck),
    )
    token = site.state.accounts.login("admin", PASSWORD, "schemathesis").token
    operations = [found.ok() for found in document.get_all_operations()]
    for operation, mode in itertools.product(operations, schemathesis.GenerationMode):
        if operation.path == "/logout":  # it would end the session
            continue

        @settings
        @hypothesis.given(case=operation.as_strategy(generation_mode=mode))
        def call(case: schemathesis.Case) -> None:
            answer = case.call_and_validate(checks=[not_a_server_error], headers={"Authorization": f"Bearer {token}"})
            statuses.setdefault(case.operation.label, set()).add(answer.status_code)

        with suppress(hypothesis.errors.Unsatisfiable):  # what takes nothing can't be asked wrongly
            call()
    assert len(statuses) == len(operations) - 1
    assert statuses["POST /cases"] >= {201, 422}
    assert statuses["GET /search"] >= {200, 422}
    assert not any(status in {401, 403} for name, seen in statuses.items() if name != "POST /login" for status in seen)
