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
HEAVY = {"torch", "torchvision", "ultralytics", "transformers", "sentence_transformers", "resvg_py", "training"}
# What reading text needs: it may be installed, and is loaded when a photo's text is read, not before.
FOR_TEXT = {"rapidocr", "cv2", "shapely", "omegaconf", "requests"}
# Heavy distributions, as package indexes spell them. OpenCV comes with rapidocr, in the edition that needs no screen.
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
        "import app.serving.server, app.pages.web, app.bench, app.report",
        "from app.advisor import Advisor; Advisor.open().diagnose('app/sample.jpg')",
        "from app.advisor import Advisor; Advisor.open().searcher.search('engine overheats 水温高')",
        "from app.advisor import Advisor; from app.serving.server import create_app; create_app(Advisor.open())",
    ],
)
def test_nothing_heavy_is_loaded(code, tmp_path):
    assert loaded_after(code, tmp_path) & HEAVY == set()


@pytest.mark.parametrize(
    "code",
    [
        "import app.cli, app.advisor, app.serving.server, app.pages.web, app.bench, app.report",
        "import vision.reading, knowledge.words; knowledge.words.understand(vision.reading.FakeReader().read(None))",
        "from vision.detector import OnnxDetector; OnnxDetector.load()",
    ],
)
def test_what_reads_text_is_loaded_only_to_read(code, tmp_path):
    assert loaded_after(code, tmp_path) & FOR_TEXT == set()


def test_reading_text_loads_nothing_else_that_is_heavy(tmp_path):
    loaded = loaded_after("from vision.reading import RapidReader; RapidReader.load()", tmp_path)
    assert loaded & HEAVY == set()
    assert "cv2" in loaded


def test_no_part_keeps_or_sends_reports(tmp_path):
    """onnxruntime's reports over the network first land in a file below the user's home, which shows them."""
    home, yangche = tmp_path / "user", tmp_path / "yangche"
    home.mkdir()
    code = (
        "from app.advisor import Advisor; a = Advisor.open(); a.diagnose('app/sample.jpg', text=True);"
        "a.searcher.search('engine overheats')"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env={**os.environ, "HOME": str(home), "XDG_CACHE_HOME": str(home), "YANGCHE_HOME": str(yangche)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert list(home.iterdir()) == []


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
