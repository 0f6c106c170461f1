"""Serving stays light: a small machine answers without torch, at run time and in what gets installed."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tomllib
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parents[1]
HEAVY = {"torch", "torchvision", "ultralytics", "transformers", "sentence_transformers", "cv2", "resvg_py", "training"}
# Heavy distributions, as package indexes spell them.
HEAVY_PACKAGES = {"torch", "torchvision", "ultralytics", "transformers", "sentence-transformers", "opencv-python"}


def loaded_after(code: str, home: Path) -> set[str]:
    """Top-level modules that a fresh process holds after ``code``."""
    tell = "\nimport json, sys\nprint(json.dumps(sorted({name.split('.')[0] for name in sys.modules})))"
    done = subprocess.run(
        [sys.executable, "-c", code + tell],
        cwd=ROOT,
        env={**os.environ, "YANGCHE_HOME": str(home)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return set(json.loads(done.stdout.splitlines()[-1]))


@pytest.mark.parametrize(
    "code",
    [
        "import app.cli, app.advisor",
        "import app.server, app.web, app.bench, app.report",
        "from app.advisor import Advisor; Advisor.open().diagnose('app/sample.jpg')",
        "from app.advisor import Advisor; Advisor.open().searcher.search('engine overheats 水温高')",
        "from app.advisor import Advisor; from app.server import create_app; create_app(Advisor.open())",
    ],
)
def test_nothing_heavy_is_loaded(code, tmp_path):
    assert loaded_after(code, tmp_path) & HEAVY == set()


def test_importing_the_command_line_does_no_work(tmp_path):
    lazy = {"gradio", "onnxruntime", "faiss", "pillow_heif", "uvicorn", "PIL"}
    assert loaded_after("import app.cli", tmp_path) & lazy == set()
    assert list(tmp_path.iterdir()) == []


def closure(requirements: list[str]) -> set[str]:
    """All distributions that ``requirements`` bring along here, extras asked for included."""
    found: set[str] = set()
    todo = [Requirement(line) for line in requirements]
    done: set[tuple[str, frozenset[str]]] = set()
    while todo:
        requirement = todo.pop()
        name = re.sub(r"[-_.]+", "-", requirement.name).lower()
        if (name, frozenset(requirement.extras)) in done:
            continue
        done.add((name, frozenset(requirement.extras)))
        found.add(name)
        for line in metadata.requires(name) or []:
            needed = Requirement(line)
            extras = [*requirement.extras, ""]
            if needed.marker is None or any(needed.marker.evaluate({"extra": extra}) for extra in extras):
                todo.append(needed)
    return found


def test_the_core_install_brings_no_torch():
    core = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["dependencies"]
    installed = closure(core)
    assert "gradio" in installed  # the walk does walk
    assert installed & HEAVY_PACKAGES == set()
    assert not [name for name in installed if name.startswith(("nvidia-", "cuda-"))]
