"""What the server counts and measures: Prometheus text at /metrics, and the lines of the log.

Labels come from fixed sets alone (routes, verdicts, kinds), never from what a caller sent.
"""

from __future__ import annotations

import secrets
import time
from typing import TYPE_CHECKING

from app.serving import logs
from app.serving.proxy import PROXIED, Asgi, Message, Receive, Send, root_of
from app.settings import Settings
from knowledge.text import UserError

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from app.diagnosis import Diagnosis
    from app.serving.turns import Turns

PATH = "/metrics"
LOCAL = frozenset({"127.0.0.1", "::1"})
# Why a call was refused, by the status that it got.
REASONS = {
    400: "not_readable", 401: "no_login", 403: "not_allowed", 404: "not_there", 405: "no_such_method", 408: "too_slow",
    413: "too_large", 422: "not_readable", 429: "too_often", 503: "busy",
}  # fmt: skip
SECONDS = (0.05, 0.1, 0.25, 0.5, 1, 2, 4, 8, 16, 32)
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


class Metrics:
    """The counters of one server."""

    def __init__(self, turns: Turns) -> None:
        from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector

        self.registry = registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        self._requests = Counter(
            "yangche_requests", "Requests answered.", ["route", "method", "status"], registry=registry
        )
        self._seconds = Histogram(
            "yangche_request_seconds", "Seconds for the answer of a request.", ["route"], registry=registry
        )
        self._refused = Counter("yangche_refused", "Requests refused, by reason.", ["reason"], registry=registry)
        self._diagnoses = Counter(
            "yangche_diagnoses", "Photos diagnosed, by what they show and the verdict before words are read.",
            ["kind", "verdict"], registry=registry,
        )  # fmt: skip
        self._diagnosis_s = Histogram(
            "yangche_diagnosis_seconds", "Seconds for a photo's diagnosis.", ["kind"], buckets=SECONDS,
            registry=registry,
        )  # fmt: skip
        self._failed = Counter(
            "yangche_diagnosis_errors", "Photos without a diagnosis: no photo that can be read, or a failure of ours.",
            ["reason"], registry=registry,
        )  # fmt: skip
        self._searches = Histogram(
            "yangche_search_seconds", "Seconds for a search among past fixes.", registry=registry,
            buckets=(0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1, 2),
        )  # fmt: skip
        for name, about, figure in (
            ("yangche_queue_length", "Callers whose photos are worked on or wait.", lambda: turns.here),
            ("yangche_photos_at_work", "Photos that are being worked on.", lambda: turns.busy),
            ("yangche_busy_refusals", "Callers sent away since too many waited.", lambda: turns.refused),
        ):
            Gauge(name, about, registry=registry).set_function(figure)

    def diagnosed(self, outcome: Diagnosis | Exception) -> None:
        """Count a photo and write its line."""
        if isinstance(outcome, Exception):
            reason = "photo" if isinstance(outcome, UserError) else "failure"
            self._failed.labels(reason).inc()
            logs.note("diagnosis", failed=reason)
            return
        milliseconds = outcome.timings.get("total", 0.0)
        self._diagnoses.labels(outcome.kind, outcome.verdict.level).inc()
        self._diagnosis_s.labels(outcome.kind).observe(milliseconds / 1000)
        found = len(outcome.findings)
        logs.note("diagnosis", kind=outcome.kind, verdict=outcome.verdict.level, found=found, ms=round(milliseconds, 1))

    def searched(self, seconds: float) -> None:
        """Count a search."""
        self._searches.observe(seconds)

    def answered(self, route: str, method: str, status: int, seconds: float) -> None:
        """Count a request."""
        method = method if method in METHODS else "other"
        self._requests.labels(route, method, str(status)).inc()
        self._seconds.labels(route).observe(seconds)
        if status in REASONS:
            self._refused.labels(REASONS[status]).inc()
        logs.note("request", route=route, method=method, status=status, ms=round(1000 * seconds, 1))

    def page(self, request: Request, settings: Settings) -> Response:
        """/metrics, for whoever may read it."""
        from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
        from starlette.responses import PlainTextResponse

        if not may_read(request, settings):
            return PlainTextResponse("not found", 404)
        return PlainTextResponse(generate_latest(self.registry), media_type=CONTENT_TYPE_LATEST)


def may_read(request: Request, settings: Settings) -> bool:
    """This machine, unless the call came through a proxy; whoever bears the token; everybody, if opened."""
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    if settings.metrics_token and scheme.lower() == "bearer":
        return secrets.compare_digest(token.strip().encode(), settings.metrics_token.encode())
    local = request.client is not None and request.client.host in LOCAL and not request.scope.get(PROXIED)
    return settings.metrics == "open" or (settings.metrics == "local" and local)


class Watch:
    """Gives each request an id, counts and times it, and writes its line."""

    def __init__(self, app: Asgi, metrics: Metrics) -> None:
        self.app, self.metrics = app, metrics

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Pass the call on."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        begun, status, request = time.perf_counter(), 500, logs.new_request()
        scope = {**scope}  # routes note in it where they are

        async def seen(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message.get("headers", ()), (b"x-request-id", request.encode())]
            await send(message)

        try:
            await self.app(scope, receive, seen)
        finally:
            self.metrics.answered(template_of(scope), scope["method"], status, time.perf_counter() - begun)


def template_of(scope: Message) -> str:
    """The route's template, such as /api/v1/cases/{case_id}; what no route answered is "none"."""
    path = getattr(scope.get("route"), "path", None)
    if not isinstance(path, str) or "endpoint" not in scope:
        return "none"
    mounted = str(scope.get("root_path", "")).removeprefix(root_of(scope))
    return f"{mounted}{path}" or "/"
