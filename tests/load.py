"""Many owners at once: ``python -m tests.load [--owners 50] [--seconds 120]``; a table for the README.

Each owner opens the page, uploads a photo as the browser does (upload, then an event in Gradio's queue, then its
stream), reads the answer for a while, and comes again. The server is a process of its own, so its memory is its own.
Exit status 1 if anything failed besides the deliberate "too many photos are waiting".
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import re
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import psutil

from app.pages.web import SAMPLE
from app.texts import say
from knowledge.text import LANGS

PAUSE_S = (5.0, 25.0)  # between two photos of one owner: walking round the car, reading the answer
ANSWERED = re.compile(r"data-level=\\*\"(?:stop|soon|first|ok|unsure)")
BUSY = [say("ops.busy", lang) for lang in LANGS]


@dataclass
class Told:
    """What happened."""

    seconds: dict[str, list[float]] = field(default_factory=dict)
    failures: Counter[str] = field(default_factory=Counter)
    busy: int = 0
    memory: list[tuple[float, float]] = field(default_factory=list)  # seconds, MB

    def took(self, what: str, begun: float) -> None:
        self.seconds.setdefault(what, []).append(time.perf_counter() - begun)


def _look_event(config: dict[str, Any]) -> tuple[int, list[Any]]:
    """The number of the event that looks at an upload, and what the page hands it besides the upload."""
    props = {one["id"]: one["props"] for one in config["components"]}
    upload = next(number for number, one in props.items() if one.get("elem_id") == "yc-upload")
    event = next(one for one in config["dependencies"] if one["inputs"][:1] == [upload] and len(one["outputs"]) > 10)
    given = [props[number].get("value", props[number].get("default_value")) for number in event["inputs"][1:]]
    return event["id"], given


async def _owner(client: httpx.AsyncClient, told: Told, end: float, photo: bytes) -> None:
    await asyncio.sleep(random.uniform(0, min(10.0, (end - time.monotonic()) / 2)))
    while time.monotonic() < end:
        try:
            await _once(client, told, photo)
        except Exception as error:
            told.failures[f"{type(error).__name__}: {str(error)[:80]}"] += 1
        await asyncio.sleep(random.uniform(*PAUSE_S))


async def _once(client: httpx.AsyncClient, told: Told, photo: bytes) -> None:
    begun = time.perf_counter()
    page = await client.get("/")
    page.raise_for_status()
    told.took("page", begun)
    config = json.loads(re.search(r"window\.gradio_config = (\{.*?\});</script>", page.text, re.S)[1])  # type: ignore[index]
    event, given = _look_event(config)
    session = f"{random.getrandbits(60):x}"

    begun = time.perf_counter()
    sent = await client.post("/gradio_api/upload", files={"files": ("photo.jpg", photo, "image/jpeg")})
    sent.raise_for_status()
    told.took("upload", begun)
    file = {"path": sent.json()[0], "orig_name": "photo.jpg", "size": len(photo), "mime_type": "image/jpeg",
            "meta": {"_type": "gradio.FileData"}}  # fmt: skip
    data = [[file], *given]
    joined = await client.post(
        "/gradio_api/queue/join", json={"data": data, "fn_index": event, "session_hash": session, "trigger_id": None}
    )
    joined.raise_for_status()
    first, whole = None, ""
    async with client.stream("GET", "/gradio_api/queue/data", params={"session_hash": session}) as stream:
        async for line in stream.aiter_lines():
            if first is None and ANSWERED.search(line):
                first = True
                told.took("first answer", begun)
            if '"process_completed"' in line:
                whole = line
                break
    if any(words in whole for words in BUSY):
        told.busy += 1
        return
    if not first or '"success":true' not in whole.replace(" ", ""):
        raise RuntimeError(f"no answer: {whole[:60]}")
    told.took("whole answer", begun)


async def _run(address: str, owners: int, seconds: float, pid: int) -> Told:
    told, photo, process = Told(), SAMPLE.read_bytes(), psutil.Process(pid)
    limits = httpx.Limits(max_connections=None)
    async with httpx.AsyncClient(base_url=address, timeout=120, limits=limits) as client:
        await _once(client, Told(), photo)  # the models are loaded before anything is measured
        begun = time.monotonic()
        end = begun + seconds
        working = [asyncio.create_task(_owner(client, told, end, photo)) for _ in range(owners)]
        while not all(task.done() for task in working):
            told.memory.append((time.monotonic() - begun, process.memory_info().rss / 1e6))
            await asyncio.wait(working, timeout=min(5.0, seconds / 8))
        told.memory.append((time.monotonic() - begun, process.memory_info().rss / 1e6))
    return told


def _report(told: Told, owners: int, seconds: float) -> str:
    lines = [f"{owners} owners, {seconds:.0f} s", "", "| | n | p50 (s) | p95 (s) |", "|---|---|---|---|"]
    for what, took in told.seconds.items():
        p95 = statistics.quantiles(took, n=20)[-1] if len(took) > 1 else took[0]
        lines.append(f"| {what} | {len(took)} | {statistics.median(took):.2f} | {p95:.2f} |")
    lines += [f"| told that the server is busy | {told.busy} | | |", f"| failures | {told.failures.total()} | | |"]
    lines += [f"  {count} x {what}" for what, count in told.failures.most_common()]
    step = max(1, len(told.memory) // 8)
    lines.append("memory (MB): " + ", ".join(f"{at:.0f} s {mb:.0f}" for at, mb in told.memory[::step]))
    lines.append(f"memory at the end {told.memory[-1][1]:.0f} MB, highest {max(mb for _, mb in told.memory):.0f} MB")
    return "\n".join(lines)


def main() -> None:
    """Run it and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--owners", type=int, default=50)
    parser.add_argument("--seconds", type=float, default=120)
    given = parser.parse_args()
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with tempfile.TemporaryDirectory() as home:
        unhindered = {f"YANGCHE_{name}_PER_MINUTE": "1000000" for name in ("UPLOADS", "EVENTS", "DIAGNOSES")}
        env = {**os.environ, **unhindered, "YANGCHE_HOME": home, "YANGCHE_PORT": str(port)}
        command = [sys.executable, "-c", "from app.cli import main; main()", "web"]
        with subprocess.Popen(command, env=env, cwd=Path(__file__).parents[1], stdout=subprocess.PIPE) as server:
            try:
                assert server.stdout is not None
                server.stdout.readline()  # it says that the page is open
                told = asyncio.run(_run(f"http://127.0.0.1:{port}", given.owners, given.seconds, server.pid))
            finally:
                server.terminate()
    print(_report(told, given.owners, given.seconds))
    sys.exit(1 if told.failures or not told.seconds.get("whole answer") else 0)


if __name__ == "__main__":
    main()
