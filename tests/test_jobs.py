"""Trainings in the background: real ones, very short; found again, cancelled, marked when they broke off."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from app.advisor import Advisor
from app.pages.trainer_parts import comparison
from app.pages.trainer_training import Room
from app.pages.wrong_page import report_of
from app.records import jobs
from app.records.correction import CorrectionError, Marked, Report, Truth
from app.records.corrections import Corrections
from app.records.jobs import Job, Jobs
from models.versions import SHIPPED_VERSION, Versions
from vision.photo import open_photo

SAMPLE = Path(__file__).parents[1] / "app" / "sample.jpg"
SHORT = 0.003  # hours
PATIENCE = 400  # seconds for a whole training on a busy machine


@pytest.fixture
def queue(home: Path) -> Corrections:
    """Two accepted photos, with what the model saw on the sample as the truth."""
    photo, queue = open_photo(SAMPLE), Corrections(home / "corrections")
    seen = report_of(Advisor.open(home).diagnose(photo), Advisor.open(home), "zh").seen
    boxes = tuple(Marked(label=one.label, box=one.box) for one in seen)
    for shade in (1, 2):
        one = queue.add(Report(comment="x"), (photo.rgb // shade).astype(np.uint8))
        queue.decide(one, "accepted", "trainer", Truth(boxes=boxes))
    return queue


def until(true: Callable[[], bool], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.2)


def gone(job: Job) -> bool:
    return jobs._born(job.pid) != job.born


def test_one_at_a_time_found_again_and_cancelled(home: Path, queue: Corrections):
    here = Jobs(home)
    started = here.train("lights", SHORT, "trainer", queue, device="cpu")
    with pytest.raises(CorrectionError):
        here.train("lights", SHORT, "trainer", queue)
    until(lambda: here.get(started.id).step == "train")
    restarted = Jobs(home)  # a server that knows nothing of the process but what the folder says
    found = restarted.current()
    assert (found.id, found.by, found.state) == (started.id, "trainer", "running")
    assert not gone(found)
    assert os.getpriority(os.PRIO_PROCESS, found.pid) >= jobs.NICE
    restarted.cancel(found.id)
    assert gone(found)
    assert here.get(started.id).state == "cancelled"
    assert restarted.current() is None
    with pytest.raises(CorrectionError):
        restarted.promote(here.get(started.id), "trainer")


def test_a_job_whose_process_is_gone_is_marked(home: Path, queue: Corrections):
    here = Jobs(home)
    started = here.train("lights", SHORT, "trainer", queue, device="cpu")
    until(lambda: bool(here.get(started.id).pid))
    running = here.get(started.id)
    os.killpg(running.pid, signal.SIGKILL)  # as a power cut would
    until(lambda: Jobs(home).get(started.id).state == "ended")
    other = jobs.replace(running, born="1")  # another process may have got its number
    jobs.write(here.folder / other.id, jobs.replace(other, pid=os.getpid()))
    assert Jobs(home).get(started.id).state == "ended"


def test_what_cannot_be_trained_is_told(home: Path, monkeypatch):
    here, empty = Jobs(home), Corrections(home / "corrections")
    with pytest.raises(CorrectionError, match="two"):
        here.train("damage", SHORT, "trainer", empty)
    for hours in (0, 1000, float("nan")):
        with pytest.raises(CorrectionError):
            here.train("lights", hours, "trainer", empty)
    assert here.all() == []
    monkeypatch.setattr(jobs, "lacking", lambda: True)
    with pytest.raises(CorrectionError, match="pip install"):
        here.train("lights", SHORT, "trainer", empty)


def test_a_training_is_compared_promoted_and_taken_back(home: Path, queue: Corrections):
    advisor = Advisor.open(home)
    before = advisor.detector
    room = Room(advisor)
    started = room.jobs.train("lights", SHORT, "trainer", queue, device="cpu")
    until(lambda: room.jobs.current() is None, PATIENCE)
    done = room.jobs.get(started.id)
    log = room.jobs.log(done)
    assert done.state == "done", log
    assert any("mAP50" in line for line in log)
    assert {"present", "new", "against", "warnings"} <= set(done.result)
    shown = comparison(done.result, "zh")
    assert "mAP50" in shown
    assert f"{done.result['present']['mAP50']:.3f}" in shown

    promoted = room.jobs.promote(done, "trainer", "a test of the way there")
    until(lambda: room.jobs.current() is None, PATIENCE)
    told = room.jobs.get(promoted.id)
    assert told.state == "done", room.jobs.log(told)
    versions = Versions("lights", home)
    assert versions.served == told.result["promoted"] != SHIPPED_VERSION
    until(lambda: advisor.detector is not before)  # without a restart
    assert versions.all()[-1].record["gate"].startswith(str(home))
    assert room.back("lights") == SHIPPED_VERSION


def test_the_log_is_plain_text_of_the_last_lines(home: Path):
    here = Jobs(home)
    job = Job("1", "train", "lights", "trainer", "", pid=os.getpid(), born=jobs._born(os.getpid()))
    (here.folder / "1").mkdir(parents=True)
    jobs.write(here.folder / "1", job)
    bar = "\r".join(f"\x1b[K epoch {n}%" for n in range(100))
    (here.folder / "1" / jobs.LOG).write_text("first\n" * 100_000 + f"\x1b[34mblue\x1b[0m\n{bar}\n\n", "utf-8")
    assert here.log(job, 2) == ["blue", " epoch 99%"]
    assert here.log(jobs.replace(job, id="2")) == []
