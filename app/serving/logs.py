"""Logs: with ``YANGCHE_LOG=json`` one JSON line for each request and each diagnosis, on stderr; else only warnings.

What a line never holds: addresses of callers, names, names of photos, words that were searched for, nor any path as it
was asked for (tokens and ids stand in there): instead the route's template.
"""

from __future__ import annotations

import json
import logging
import secrets
import sys
import traceback
from contextvars import ContextVar
from datetime import UTC, datetime
from pathlib import Path

# The id of the request that is being answered; events of a page run outside of one.
REQUEST: ContextVar[str] = ContextVar("yangche_request", default="")
LOG = logging.getLogger("yangche")


def new_request() -> str:
    """An id for a request, now the one of this context."""
    made = secrets.token_hex(8)
    REQUEST.set(made)
    return made


class JsonLines(logging.Formatter):
    """A record as one line: when, how grave, what; the fields that `note` gave; of an exception its kind and places."""

    def format(self, record: logging.LogRecord) -> str:
        """The line. An exception's words are left out: they may repeat what a caller sent."""
        told = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
        }
        given = getattr(record, "told", None)
        if given is None:
            told["message"] = record.getMessage() if record.name.split(".")[0] in OURS else str(record.msg)
            given = {"request": REQUEST.get()} if REQUEST.get() else {}
        line = {**told, **given}
        if record.exc_info and record.exc_info[0] is not None:
            line["error"] = record.exc_info[0].__name__
            frames = traceback.extract_tb(record.exc_info[2])
            line["where"] = [f"{Path(frame.filename).name}:{frame.lineno} {frame.name}" for frame in frames[-8:]]
        return json.dumps(line, ensure_ascii=False)


# Whose messages are written with their values; of other libraries' only the pattern, since values may be a caller's.
OURS = frozenset({"app", "knowledge", "models", "vision", "yangche", "uvicorn"})


def set_up(mode: str) -> None:
    """Begin to write lines, if ``mode`` is ``json``. May be called again."""
    if mode != "json":
        return
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines())
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(logging.WARNING)
    for name in ("uvicorn", "uvicorn.error", "uvicorn.access"):
        logging.getLogger(name).handlers = []
        logging.getLogger(name).propagate = True
    LOG.setLevel(logging.INFO)


def note(event: str, **fields: object) -> None:
    """One line about something that went as it should; nothing unless ``set_up`` was asked for lines."""
    if LOG.isEnabledFor(logging.INFO):
        LOG.info(event, extra={"told": {"event": event, "request": REQUEST.get(), **fields}})
