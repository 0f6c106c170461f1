"""Runs `yangche` as its user does: in a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[1]


class Ran(NamedTuple):
    status: int
    out: str
    err: str

    @property
    def json(self) -> dict:
        return json.loads(self.out.splitlines()[-1])


def yangche(*arguments: object, home: Path, cwd: Path = ROOT, lang: str = "en", module: str = "app.cli") -> Ran:
    """The command's exit status and what it printed."""
    env = {**os.environ, "YANGCHE_HOME": str(home), "YANGCHE_LANG": lang, "COLUMNS": "160"}
    done = subprocess.run(
        [sys.executable, "-m", module, *map(str, arguments)],
        cwd=cwd,
        env=env,
        capture_output=True,
        text=True,
        check=False,
    )
    return Ran(done.returncode, done.stdout, done.stderr)
