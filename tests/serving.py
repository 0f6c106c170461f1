"""A real server for tests and commands: as `yangche web` runs it, on a free port, with settings of its own."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import uvicorn

from app.advisor import Advisor
from app.serving.server import configured, create_app
from app.settings import Settings


def settings_of(home: Path, **changes: Any) -> Settings:
    """The defaults, with what a test needs otherwise."""
    return replace(Settings.read({"YANGCHE_HOME": str(home)}), **changes)


@contextmanager
def operated(home: Path, **changes: Any) -> Iterator[str]:
    """The server in a thread; its address."""
    settings = settings_of(home, **changes)
    with socket.create_server(("127.0.0.1", 0)) as listening:
        config = configured(create_app(Advisor.open(home), settings), settings)
        config.timeout_graceful_shutdown = 1
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
        thread.start()
        deadline = time.monotonic() + 60
        while not server.started:
            assert thread.is_alive()
            assert time.monotonic() < deadline
            time.sleep(0.02)
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
        server.should_exit = True
        thread.join(20)
