"""Trainings and promotions that a trainer starts from the page: one at a time, in a process of its own.

A job is a folder ``YANGCHE_HOME/jobs/ID``: ``job.json`` (what it is, its process, how far it is), ``log.txt``, the data
set and the run. The process outlives the page and the server; a server that starts anew finds it again by its number
and the time it was started at. ``python -m app.records.jobs FOLDER`` is that process.
"""

from __future__ import annotations

import importlib.util
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from app.records.correction import CorrectionError, correction_error
from app.records.corrections import Corrections
from app.records.dataset_export import Model, model_classes, pictures, write_yolo
from knowledge.ids import new_id
from knowledge.store import now
from knowledge.tables import write_whole

State = Literal["running", "done", "failed", "cancelled", "ended"]
Step = Literal["start", "train", "compare", "promote"]

KEPT = 10  # jobs whose folders stay; the runs in them are what can be promoted
HOURS = (0.003, 72.0)
STATE, LOG, DATA, RUN = "job.json", "log.txt", "data", "run"
TAIL = 2**16  # bytes of the log that are looked at
PATIENCE = 10.0  # seconds that a cancelled process gets to end by itself
NICE = 15  # owners' photos come first

_CONTROL = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


@dataclass(frozen=True)
class Job:
    """One training or promotion.

    ``pid`` and ``born``: its process, and when that was started, as the system counts; ``step_at``: seconds since 1970;
    ``run_of``: the job whose run a promotion is about; ``reason``: why to promote although something speaks against it;
    ``result``: the comparison with the model that was served, or the version that was promoted.
    """

    id: str
    kind: Literal["train", "promote"]
    model: Model
    by: str
    at: str
    hours: float = 0.0
    state: State = "running"
    step: Step = "start"
    step_at: float = 0.0
    pid: int = 0
    born: str = ""
    run_of: str = ""
    reason: str = ""
    result: Mapping[str, Any] = field(default_factory=dict)

    @property
    def done_share(self) -> float:
        """How much of the training time is over, in 0..1."""
        if self.step == "train" and self.hours:
            return min(1.0, max(0.0, (time.time() - self.step_at) / (self.hours * 3600)))
        return 0.0 if self.step == "start" else 1.0


class Jobs:
    """The jobs of one server. ``on_end`` is called when a job that this server started is over."""

    def __init__(self, home: Path, on_end: Callable[[Job], None] = lambda _: None) -> None:
        self.home, self.folder, self._on_end = home, home / "jobs", on_end
        self._lock = threading.RLock()

    def all(self) -> list[Job]:
        """Every job that is kept, the newest first. One whose process is gone is marked as ended."""
        found = [self._read(path.parent) for path in self.folder.glob(f"*/{STATE}")]
        return sorted((job for job in found if job is not None), key=lambda job: job.id, reverse=True)

    def current(self) -> Job | None:
        """The job that runs."""
        return next((job for job in self.all() if job.state == "running"), None)

    def get(self, job_id: str) -> Job | None:
        """One job, None where there is none."""
        return next((job for job in self.all() if job.id == job_id), None)

    def folder_of(self, job: Job) -> Path:
        """Where its files lie."""
        return self.folder / job.id

    def train(self, model: Model, hours: float, by: str, corrections: Corrections, *, device: str = "") -> Job:
        """Export what was accepted and train on it for ``hours``, then compare with the present model.

        Raises:
            CorrectionError: if training is not installed, another job runs, the time makes no sense, or there are too
                few photos.
        """
        if lacking():
            raise correction_error("trainer.no_extra")
        if not HOURS[0] <= hours <= HOURS[1]:  # NaN fails too
            raise correction_error("trainer.bad_hours", least=HOURS[0], most=HOURS[1])
        job = Job(new_id(), "train", model, by, now(), hours=hours)

        def prepare(folder: Path) -> None:
            write_yolo(folder / DATA, pictures(corrections, model, self.home), model_classes(model, self.home))

        return self._start(job, prepare, {"device": device})

    def promote(self, trained: Job, by: str, reason: str = "") -> Job:
        """Serve the model of a finished training, if it does better on the data set's validation photos.

        ``reason``: promote it all the same; kept with the version.

        Raises:
            CorrectionError: if training is not installed, another job runs, or that training didn't end well.
        """
        if lacking():
            raise correction_error("trainer.no_extra")
        if trained.kind != "train" or trained.state != "done":
            raise correction_error("trainer.not_trained")
        job = Job(new_id(), "promote", trained.model, by, now(), run_of=trained.id, reason=reason.strip())
        return self._start(job, lambda _: None, {})

    def _start(self, job: Job, prepare: Callable[[Path], None], options: Mapping[str, str]) -> Job:
        folder = self.folder / job.id
        with self._lock:
            if self.current() is not None:
                raise correction_error("trainer.busy")
            self._forget_old(job)
            folder.mkdir(parents=True, mode=0o700)
            try:
                prepare(folder)
                write(folder, job)
                with (folder / LOG).open("wb") as log:
                    child = subprocess.Popen(  # noqa: S603 - our own interpreter and module
                        [sys.executable, "-m", "app.records.jobs", str(folder), json.dumps(dict(options))],
                        stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT, start_new_session=True,
                        env={**os.environ, "YANGCHE_HOME": str(self.home), "PYTHONUNBUFFERED": "1"},
                    )  # fmt: skip
            except BaseException:
                shutil.rmtree(folder, ignore_errors=True)
                raise
        threading.Thread(target=self._wait, args=(child, job.id), daemon=True).start()
        return job

    def _wait(self, child: subprocess.Popen[bytes], job_id: str) -> None:
        child.wait()
        with self._lock:
            job = self._stored(self.folder / job_id)
            if job is not None and job.state == "running" and not job.pid:  # it never got so far as to say who it is
                write(self.folder / job_id, replace(job, state="ended"))
        if (job := self.get(job_id)) is not None:
            self._on_end(job)

    def cancel(self, job_id: str) -> None:
        """End a job and all that it started; nothing happens if it is over."""
        deadline = time.monotonic() + PATIENCE
        while (job := self.get(job_id)) and job.state == "running" and not job.pid and time.monotonic() < deadline:
            time.sleep(0.1)  # until it has said which process it is
        if job is None or job.state != "running":
            return
        for sign in (signal.SIGTERM, signal.SIGKILL):
            if _born(job.pid) != job.born:
                break
            with suppress(ProcessLookupError):
                os.killpg(job.pid, sign)
            deadline = time.monotonic() + PATIENCE
            while _born(job.pid) == job.born and time.monotonic() < deadline:
                time.sleep(0.1)
        with self._lock:
            write(self.folder / job.id, replace(self._stored(self.folder / job.id) or job, state="cancelled"))

    def log(self, job: Job, lines: int = 30) -> list[str]:
        """The last lines that a job printed, as plain text; of a progress bar what it says last."""
        try:
            with (self.folder / job.id / LOG).open("rb") as file:
                file.seek(max(0, file.seek(0, os.SEEK_END) - TAIL))
                text = file.read().decode("utf-8", "replace")
        except OSError:
            return []
        told = [_CONTROL.sub("", line).rstrip().rpartition("\r")[2] for line in text.split("\n")]
        return [line for line in told if line.strip()][-lines:]

    def _stored(self, folder: Path) -> Job | None:
        try:
            return Job(**json.loads((folder / STATE).read_bytes()))
        except (OSError, ValueError, TypeError):
            return None

    def _read(self, folder: Path) -> Job | None:
        job = self._stored(folder)
        if job is None or job.state != "running" or not job.pid or _born(job.pid) == job.born:
            return job
        with self._lock:
            job = self._stored(folder)  # it may have ended well between the two looks
            if job is not None and job.state == "running":
                job = replace(job, state="ended")
                write(folder, job)
        return job

    def _forget_old(self, coming: Job) -> None:
        for old in self.all()[KEPT - 1 :]:
            if old.id != coming.run_of:
                shutil.rmtree(self.folder / old.id, ignore_errors=True)


def lacking() -> bool:
    """Whether the extra that trains is not installed; nothing of it is loaded."""
    return any(importlib.util.find_spec(name) is None for name in ("torch", "ultralytics"))


def write(folder: Path, job: Job) -> None:
    """Write the state of a job, whole or not at all."""
    write_whole(folder / STATE, json.dumps(asdict(job), ensure_ascii=False).encode())


def _born(pid: int) -> str:
    """When a process was started, as the system tells it; "" if there is none (any more)."""
    try:
        told = Path(f"/proc/{pid}/stat").read_text("utf-8", "replace").rpartition(")")[2].split()
        return "" if told[0] in "ZX" else told[19]  # proc(5): the state is field 3, the start time field 22
    except OSError:
        if Path("/proc/self/stat").exists():
            return ""
    listed = subprocess.run(["ps", "-o", "lstart=", "-p", str(pid)], capture_output=True, text=True, check=False)  # noqa: S603, S607
    return listed.stdout.strip()


# --- the process of a job --------------------------------------------------------------------------------------------


def work(folder: Path, options: Mapping[str, str]) -> None:
    """Do the job in ``folder``; what becomes of it is written there."""
    os.nice(NICE)
    job = Job(**json.loads((folder / STATE).read_bytes()))
    job = replace(job, pid=os.getpid(), born=_born(os.getpid()))
    try:
        job = _train(folder, job, options) if job.kind == "train" else _promote(folder, job)
    except Exception as error:
        print(getattr(error, "text", error), flush=True)
        job = replace(Job(**json.loads((folder / STATE).read_bytes())), state="failed")
        if not isinstance(error, CorrectionError):
            raise
    finally:
        write(folder, job)


def _begin(folder: Path, job: Job, step: Step) -> Job:
    job = replace(job, step=step, step_at=time.time())
    write(folder, job)
    return job


def _train(folder: Path, job: Job, options: Mapping[str, str]) -> Job:
    job, data = _begin(folder, job, "train"), folder / DATA / "data.yaml"
    command = ["train", job.model, "--data", str(data), "--out", str(folder / RUN), "--time", str(job.hours)]
    if device := options.get("device"):
        command += ["--device", device]
    if _command(command):
        return replace(job, state="failed")
    job = _begin(folder, job, "compare")
    from training.promote import gate
    from training.served import SERVED

    _, comparison = gate(folder / RUN, data, "val", _home(), iter, SERVED[job.model])
    told = comparison.to_json()
    print(json.dumps(told, ensure_ascii=False), flush=True)
    return replace(job, state="done", result=told)


def _promote(folder: Path, job: Job) -> Job:
    job, trained = _begin(folder, job, "promote"), folder.parent / job.run_of
    command = ["models", "promote", str(trained / RUN / "model"), "--gate", str(trained / DATA / "data.yaml")]
    command += ["--model", job.model, "--json", *(["--force", job.reason] if job.reason else [])]
    out = folder / "promotion.json"
    failed = _command(command, out)
    told: dict[str, Any] = {}
    with suppress(OSError, ValueError):
        told = json.loads(out.read_bytes())
    return replace(job, state="failed" if failed else "done", result=told)


def _command(command: list[str], out: Path | None = None) -> int:
    """Run ``yangche`` with these words; its exit status. What it prints goes to the log, or to ``out``."""
    run = [sys.executable, "-m", "app.cli", *command]
    if out is None:
        return subprocess.run(run, check=False).returncode  # noqa: S603 - our own interpreter and module
    with out.open("wb") as file:
        return subprocess.run(run, check=False, stdout=file).returncode  # noqa: S603


def _home() -> Path:
    from app.settings import Settings

    return Settings.read().home


if __name__ == "__main__":
    work(Path(sys.argv[1]), json.loads(sys.argv[2]))
