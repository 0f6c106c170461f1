"""Killing the program at random moments of imports and index writes loses no case that was acknowledged.

``make test`` kills a few times; ``make kill-test`` kills 60 times.
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from knowledge.search import Searcher
from knowledge.upkeep import check

ROOT = Path(__file__).parents[1]
KILLS = int(os.environ.get("YANGCHE_KILLS", "6"))

# Imports file after file, says so when each is acknowledged, confirms a case of each, and writes the index each time.
WORKER = """
import json, sys
from pathlib import Path
from knowledge.confirmation import new_confirmation
from knowledge.search import Searcher
from knowledge.archive import Archive
home, start = Path(sys.argv[1]), int(sys.argv[2])
searcher = Searcher.open(home)
archive = Archive(searcher.store)
print("ready", flush=True)
for batch in range(start, start + 10_000):
    ids = [f"K-{batch}-{i}" for i in range(25)]
    table = home / "batch.jsonl"
    fixes = ["更换火花塞", "清洗节气门", "更换水泵", "new brake pads", "紧固搭铁线"]
    rows = [{"case_id": i, "symptom": f"抖动 {i}", "fix": fixes[n % 5] + i} for n, i in enumerate(ids)]
    table.write_text("".join(json.dumps(row) + chr(10) for row in rows), "utf-8")
    assert archive.import_file(table).taken == len(ids)
    print(json.dumps({"cases": ids}), flush=True)
    report = new_confirmation(ids[0], "worked", "tester")
    searcher.store.confirm([report])
    print(json.dumps({"confirmed": report.confirmation_id}), flush=True)
    searcher.refresh()
    searcher.save()
"""


def work_until_killed(home: Path, start: int, seconds: float) -> list[str]:
    """What one worker acknowledged before SIGKILL met it."""
    worker = subprocess.Popen(
        [sys.executable, "-c", WORKER, str(home), str(start)], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    assert worker.stdout is not None
    assert worker.stdout.readline() == "ready\n"
    time.sleep(seconds)
    worker.send_signal(signal.SIGKILL)
    said = worker.stdout.read().splitlines()
    assert worker.wait(timeout=60) == -signal.SIGKILL
    return [line for line in said if line.endswith("}")]  # the last line may have been cut


@pytest.mark.skipif(os.name != "posix", reason="SIGKILL is a thing of POSIX systems")
def test_no_acknowledged_case_is_lost(tmp_path: Path) -> None:
    chance = random.Random(20261125)
    cases: set[str] = set()
    confirmed: set[str] = set()
    for kill in range(KILLS):
        for line in work_until_killed(tmp_path, kill * 10_000, chance.uniform(0.02, 0.7)):
            told = json.loads(line)
            cases.update(told.get("cases", ()))
            confirmed.update([told["confirmed"]] if "confirmed" in told else ())
        searcher = Searcher.open(tmp_path)  # the next start works
        assert cases <= {s.case.case_id for s in searcher.store.changes()}
        kept = {c.confirmation_id for reports in searcher.store.confirmations().values() for c in reports}
        assert confirmed <= kept
        health = check(searcher)
        assert health.good, health.problems
        if cases:
            some = chance.choice(sorted(cases))
            assert some in [hit.case.case_id for hit in searcher.search(f"抖动 {some}", k=3)]
        searcher.close()
    assert len(cases) >= KILLS  # or nothing was ever interrupted
