"""The recipe in training/README.md for a new kind of light, followed to the letter in a copy of the repository."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from knowledge.catalogue import LIGHT_IDS
from models import current_folder, read_manifest
from tests.commands import ROOT, yangche
from training.served import SERVED, PromotionError

for needed in ("ultralytics", "resvg_py", "cv2"):
    pytest.importorskip(needed, reason="the train extra is not installed")

GLYPH = """<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 100 100">
<path d="M20 80V30a20 20 0 0 1 40 0v10m0 0 20 20m-20-20-20 20" fill="none" stroke="#fff" stroke-width="10"/>
</svg>
"""
ENTRY = """
tow_hook:
  name: {zh: "拖车钩未锁", en: "Tow hook unlocked"}
  looks: {zh: "一个钩子", en: "A hook"}
  usual_color: amber
  meanings:
    any:
      meaning: {zh: "拖车钩没有锁住。", en: "The tow hook is not locked."}
      urgency: first
      drive: {zh: "锁好再走。", en: "Lock it first."}
      now:
        - {zh: "下车锁好拖车钩。", en: "Get out and lock the tow hook."}
      if_stays: {zh: "锁好还亮：开关坏了。", en: "Still lit: its switch is faulty."}
"""

# Draws clusters that show nothing but the new lamp until one is lit.
LIT = """
import numpy as np
from training.cluster import draw_cluster
rng = np.random.default_rng(0)
lamps = next(lamps for _ in range(50) if (lamps := draw_cluster(rng, ["tow_hook"]).lamps))
print(*sorted({f"{lamp.label} {lamp.color}" for lamp in lamps}))
"""


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """What the recipe touches and needs; never the repository that the tests run in."""
    copy = tmp_path / "yangche"
    skipped = shutil.ignore_patterns("__pycache__", "encoder", "starter*")
    for name in ("app", "knowledge", "models", "training", "vision"):
        shutil.copytree(ROOT / name, copy / name, ignore=skipped)
    return copy


def test_a_made_up_lamp_goes_all_the_way(repository: Path, tmp_path: Path) -> None:
    home, data, run = tmp_path / "home", tmp_path / "data", tmp_path / "run"

    def done(*arguments: object) -> str:
        ran = yangche(*arguments, home=home, cwd=repository)
        assert ran.status == 0, ran.err + ran.out
        return ran.out

    # 1. What it means.
    with (repository / "knowledge" / "lights" / "safety_body.yaml").open("a", encoding="utf-8") as file:
        file.write(ENTRY)
    assert f"{len(LIGHT_IDS) + 1} lights" in done("catalogue", "check")
    # Forgetting the rest is told before anything is rendered.
    early = yangche("train", "render", "--out", data, "--frames", 1, "--val", 1, home=home, cwd=repository)
    assert early.status == 1
    assert "training/glyphs: tow_hook" in early.err
    assert "LAMP_COLORS: tow_hook" in early.err
    assert not data.exists()
    # 2. What it looks like, 3. in which colours.
    (repository / "training" / "glyphs" / "tow_hook.svg").write_text(GLYPH)
    lamps = repository / "training" / "lamps.py"
    colors = "LAMP_COLORS: dict[str, dict[str, float]] = {\n"
    assert colors in lamps.read_text(encoding="utf-8")
    lamps.write_text(
        lamps.read_text(encoding="utf-8").replace(colors, f'{colors}    "tow_hook": {{"amber": 1.0}},\n'),
        encoding="utf-8",
    )
    # 4. Render, check, train, export.
    done("train", "render", "--out", data, "--frames", 2, "--val", 1, "--tiles", 1, "--workers", 1)
    done("train", "check", data)
    lit = subprocess.run([sys.executable, "-c", LIT], cwd=repository, capture_output=True, text=True, check=True)
    assert lit.stdout.strip() == "tow_hook amber"
    done("train", "lights", "--data", data, "--out", run, "--time", 0.002, "--batch", 2, "--device", "cpu")
    done("export", "lights", "--run", run)
    # The class is there, after those of the contract and before the cluster, and the model runs.
    manifest = read_manifest(run / "model")
    assert manifest.classes == [*LIGHT_IDS, "tow_hook", "cluster"]
    assert manifest.colors["tow_hook"] == ["amber"]
    assert manifest.naming is None, "the second stage does not know the new lamp"
    assert "Not measured yet" in (run / "model" / "README.md").read_text()
    assert (run / "results.png").is_file()
    assert (run / "BoxPR_curve.png").is_file()
    assert (run / "confusion_matrix.png").is_file()
    # It may be served where the catalogue knows it, and nowhere else.
    done("models", "promote", run, "--gate", data, "--force", "a test", "--json")
    assert current_folder("lights", home).parent == home / "models" / "lights"
    with pytest.raises(PromotionError, match="tow_hook"):
        SERVED["lights"].check(manifest)
    assert json.loads((run / "run.json").read_text())["rendered"] is True


def test_training_goes_on_after_it_ended_and_is_told_apart(tmp_path: Path) -> None:
    """`--resume` of a run that ended by itself starts a new one from its last weights; of none, it says so."""
    home, data, run = tmp_path / "home", tmp_path / "data", tmp_path / "run"
    none = yangche("train", "lights", "--resume", "--out", run, home=home)
    assert (none.status, none.err.count("\n")) == (1, 1)
    assert "last.pt" in none.err
    yangche("train", "render", "--out", data, "--frames", 2, "--val", 1, "--tiles", 1, "--workers", 1, home=home)
    options = ("--out", run, "--time", 0.001, "--batch", 2, "--device", "cpu")
    assert yangche("train", "lights", "--data", data, *options, home=home).status == 0
    again = yangche("train", "lights", "--resume", *options, home=home, lang="zh")
    assert again.status == 0, again.err
    assert (tmp_path / "run-2" / "weights" / "best.pt").is_file()
    assert "run-2" in again.err


def test_without_data_it_says_how_to_get_some(tmp_path: Path) -> None:
    ran = yangche("train", "lights", home=tmp_path, lang="zh")
    assert ran.status == 2
    assert "yangche train render" in ran.err


def test_a_missing_extra_is_answered_with_its_command(tmp_path: Path) -> None:
    """As on a machine that only serves: torch and ultralytics cannot be imported."""
    hide = (
        "import sys; sys.modules.update(torch=None, ultralytics=None, cv2=None, resvg_py=None); "
        "sys.argv = ['yangche', *sys.argv[1:]]; from app.cli import main; main()"
    )
    for arguments in (("train", "lights", "--data", "x"), ("train", "render"), ("export", "lights", "--run", tmp_path)):
        (tmp_path / "weights").mkdir(exist_ok=True)
        (tmp_path / "weights" / "best.pt").touch()
        ran = subprocess.run(
            [sys.executable, "-c", hide, *arguments, "--lang", "en"],
            cwd=ROOT, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert ran.returncode == 1, ran.stderr
        assert ran.stderr.count("\n") == 1
        assert 'python -m pip install "' in ran.stderr
        assert '"ultralytics>=' in ran.stderr
    served = subprocess.run(
        [sys.executable, "-c", hide, "evaluate", "lights", "--data", "none.json"],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert "none.json" in served.stderr, "measuring needs no more than serving"
