"""A new model is served only if it is better; the way there is atomic, and there is a way back."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from models import POINTER, SHIPPED, ModelError, current_folder, named_files, read_manifest, sha256_of
from models.versions import SHIPPED_VERSION, Versions
from tests.commands import yangche
from training.promote import PromotionError, compare, promote
from training.served import SERVED
from vision.detector import CLUSTER, OnnxDetector

LIGHTS = SHIPPED / "lights"
SAMPLE = SHIPPED.parent / "app" / "sample.jpg"


def changed(folder: Path, **settings: Any) -> Path:
    """A copy of the shipped model, some of its manifest's settings others."""
    shutil.copytree(LIGHTS, folder)
    path = folder / "manifest.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "figures": {}, **settings}))
    return folder


@pytest.fixture
def good(tmp_path: Path) -> Path:
    return changed(tmp_path / "good", licence="AGPL-3.0-or-later, ours")


@pytest.fixture
def bad(tmp_path: Path) -> Path:
    """A model that finds nothing, for it looks at the cluster far too small."""
    return changed(tmp_path / "bad", view_width=64)


@pytest.fixture
def versions(tmp_path: Path) -> Versions:
    return Versions("lights", tmp_path / "home")


def current(versions: Versions) -> Path:
    return current_folder("lights", versions.folder.parents[1])


def test_the_shipped_model_is_served_until_another_is_promoted(versions: Versions, good: Path) -> None:
    assert current(versions) == LIGHTS
    assert [v.name for v in versions.all()] == [SHIPPED_VERSION]
    assert not versions.folder.exists()
    name = versions.add(good, {"gate": "here"})
    assert current(versions) == versions.folder / name
    assert [(v.name, v.served, v.record) for v in versions.all()] == [
        (SHIPPED_VERSION, False, {}),
        (name, True, {"gate": "here"}),
    ]


def test_every_file_of_the_folder_is_kept(versions: Versions, good: Path) -> None:
    (good / "notes.txt").write_text("how it was made")
    kept = versions.folder / versions.add(good, {})
    for path in good.iterdir():
        assert sha256_of(kept / path.name) == sha256_of(path), path.name
    assert OnnxDetector.load(kept).classes == OnnxDetector.load(LIGHTS).classes


def test_a_second_model_named_in_the_manifest_is_checked_too(tmp_path: Path) -> None:
    content = {"file": "a", "sha256": "1", "w": "b", "w_sha256": "2", "naming": {"file": "c", "sha256": "3"}, "x": [1]}
    assert named_files(content) == {"a": "1", "b": "2", "c": "3"}
    assert named_files([content]) == {}


def test_back_and_back_again(versions: Versions, good: Path, bad: Path) -> None:
    first, second = versions.add(good, {}), versions.add(bad, {})
    assert first != second
    assert versions.back() == first
    assert versions.back() == SHIPPED_VERSION
    assert current(versions) == LIGHTS
    with pytest.raises(ModelError):
        versions.back()
    events = json.loads((versions.folder / POINTER).read_text())["events"]
    assert [event["what"] for event in events] == ["promote", "promote", "rollback", "rollback"]


def test_the_same_model_is_kept_once(versions: Versions, good: Path, bad: Path) -> None:
    first, second = versions.add(good, {"gate": "one"}), versions.add(bad, {})
    assert versions.add(good, {"gate": "two"}) == first
    records = {version.name: version.record for version in versions.all()}
    assert records == {SHIPPED_VERSION: {}, first: {"gate": "two"}, second: {}}
    assert versions.back() == second


def test_a_damaged_model_is_not_taken(versions: Versions, good: Path) -> None:
    (good / "model.pt").write_bytes(b"something else")
    with pytest.raises(ModelError, match=r"model\.pt"):
        versions.add(good, {})
    (good / "manifest.json").write_text("{")
    with pytest.raises(ModelError, match="export this model again"):
        versions.add(good, {})
    assert current(versions) == LIGHTS


def test_an_interrupted_promotion_leaves_the_old_model(
    versions: Versions, good: Path, bad: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever step fails, what was served is served."""
    name = versions.add(good, {})
    for step in ("copyfile", "rename", "replace"):
        with monkeypatch.context() as broken:

            def fail(*_: object) -> None:
                raise OSError(28, "No space left on device")

            broken.setattr(*((shutil, "copyfile") if step == "copyfile" else (Path, step)), fail)
            with pytest.raises(ModelError, match="No space left"):
                versions.add(bad, {})
        assert current(versions) == versions.folder / name
        assert not list(versions.folder.glob(".incoming-*"))
    assert versions.add(bad, {}) != name


def test_a_broken_version_says_how_to_go_back(versions: Versions, good: Path, bad: Path) -> None:
    first, second = versions.add(good, {}), versions.add(bad, {})
    (versions.folder / second / "model.onnx").write_bytes(b"half")
    with pytest.raises(ModelError, match="yangche models rollback"):
        OnnxDetector.load(current(versions))
    shutil.rmtree(versions.folder / second)
    with pytest.raises(ModelError, match="yangche models rollback"):
        current(versions)
    assert versions.back() == first


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"stack": 5}', b'{"stack": [5]}', b"\xff\xfe"])
def test_a_broken_pointer_leads_back_to_the_shipped_model(versions: Versions, good: Path, content: bytes) -> None:
    versions.add(good, {})
    (versions.folder / POINTER).write_bytes(content)
    with pytest.raises(ModelError, match="yangche models rollback"):
        current(versions)
    assert versions.back() == SHIPPED_VERSION
    assert current(versions) == LIGHTS


def test_going_back_steps_over_damaged_versions(versions: Versions, good: Path, bad: Path) -> None:
    first = versions.add(good, {})
    versions.add(bad, {})
    (versions.folder / first / "model.onnx").unlink()
    assert versions.back() == SHIPPED_VERSION


FIGURES = {
    "photos": 20, "objects": 50, "critical": 30, "mAP50": 0.7, "found_AP50": 0.9, "recall": 0.8, "precision": 0.7,
    "critical_recall": 0.8, "ece": 0.1,
}  # fmt: skip


@pytest.mark.parametrize(
    ("new", "leaks", "against"),
    [
        ({"mAP50": 0.71}, 0, []),
        ({"mAP50": 0.9, "critical_recall": 0.79}, 0, ["red"]),
        ({"mAP50": 0.7}, 0, ["mAP50"]),
        ({"mAP50": 0.7, "critical_recall": 0.9}, 0, []),
        ({"mAP50": 0.6, "critical_recall": 0.9}, 0, ["mAP50"]),
        ({"mAP50": 0.6, "critical_recall": 0.7}, 0, ["red", "mAP50"]),
        ({"mAP50": 0.9, "critical": 0, "critical_recall": None}, 0, ["no red lamp"]),
        ({"mAP50": None, "critical_recall": None, "critical": 0}, 0, ["no red lamp", "mAP50"]),
        ({"mAP50": 0.9}, 3, ["trained on"]),
    ],
)
def test_what_speaks_against_a_model(new: dict, leaks: int, against: list[str]) -> None:
    comparison = compare(FIGURES, {**FIGURES, **new}, leaks)
    assert len(comparison.against) == len(against)
    assert all(word in text.en for word, text in zip(against, comparison.against, strict=True))


def test_a_small_gate_is_told() -> None:
    assert compare(FIGURES, {**FIGURES, "objects": 5}).warnings
    assert not compare(FIGURES, FIGURES).warnings


def test_a_model_that_lacks_lamps_is_refused_even_if_forced(good: Path, tmp_path: Path) -> None:
    manifest = read_manifest(good)
    SERVED["lights"].check(manifest)
    with pytest.raises(PromotionError, match="oil_pressure"):
        SERVED["lights"].check(
            manifest.model_copy(update={"classes": [c for c in manifest.classes if c != "oil_pressure"]})
        )
    with pytest.raises(PromotionError, match="warp_drive"):
        SERVED["lights"].check(manifest.model_copy(update={"classes": [*manifest.classes, "warp_drive"]}))


def test_a_reason_is_kept(good: Path, versions: Versions) -> None:
    home = versions.folder.parents[1]
    comparison = compare(FIGURES, {**FIGURES, "mAP50": 0.1, "per_class": {}})
    with pytest.raises(PromotionError):
        promote(good, comparison, "gate", home)
    name = promote(good, comparison, "gate", home, "the camera was changed")
    record = versions.all()[1].record
    assert (record["forced"], record["present"]["mAP50"], record["new"]["mAP50"]) == (
        "the camera was changed",
        0.7,
        0.1,
    )
    assert "0.100" in (versions.folder / name / "README.md").read_text()


@pytest.fixture
def gate(tmp_path: Path) -> Path:
    """The sample photo, labelled with what the shipped model believes, as labels.json; a red lamp among them."""
    detector = OnnxDetector.load(LIGHTS)
    rgb = np.asarray(Image.open(SAMPLE).convert("RGB"))
    sure = [d for d in detector.detect(rgb) if d.label != CLUSTER and d.confidence >= detector.threshold(d.label)]
    lamps = [{"class": d.label, "box": list(d.box), "color": "red"} for d in sure]
    folder = tmp_path / "gate"
    folder.mkdir()
    shutil.copy(SAMPLE, folder / "sample.jpg")
    (folder / "labels.json").write_text(json.dumps({"sample.jpg": {"lights": lamps}}))
    return folder / "labels.json"


def test_the_commands(good: Path, bad: Path, gate: Path, tmp_path: Path) -> None:
    """Refused, forced, replaced by the better one, listed, taken back, and served by `yangche evaluate`."""
    home = tmp_path / "home"
    refused = yangche("models", "promote", bad, "--gate", gate, home=home)
    assert refused.status == 1
    assert "fewer of the red lamps" in refused.err
    assert current_folder("lights", home) == LIGHTS
    forced = yangche("models", "promote", bad, "--gate", gate, "--force", "a test", "--json", home=home)
    assert forced.status == 0, forced.err
    assert forced.json["new"]["mAP50"] < forced.json["present"]["mAP50"]
    better = yangche("models", "promote", good, "--gate", gate, home=home, lang="zh")
    assert better.status == 0, better.err
    assert "已启用" in better.out
    listed = [json.loads(line) for line in yangche("models", "list", "--json", home=home).out.splitlines()]
    assert [v["served"] for v in listed].count(True) == 1
    assert {v["promotion"]["forced"] for v in listed if v["promotion"]} == {"a test", None}
    assert yangche("models", "rollback", home=home).out.startswith(forced.json["promoted"])
    measured = yangche("evaluate", "lights", "--data", gate, "--json", home=home).json
    assert measured["mAP50"] == pytest.approx(forced.json["new"]["mAP50"])
    assert "shipped" in yangche("models", "rollback", home=home).out
    assert yangche("models", "rollback", home=home).status == 1
    assert yangche("models", "list", home=home).status == 0


def test_what_is_no_model_is_refused(gate: Path, tmp_path: Path) -> None:
    ran = yangche("models", "promote", tmp_path, "--gate", gate, home=tmp_path / "home", lang="zh")
    assert (ran.status, ran.err.count("\n")) == (1, 1)
    assert "manifest.json" in ran.err
    reasonless = yangche("models", "promote", tmp_path, "--gate", gate, "--force", " ", home=tmp_path / "home")
    assert reasonless.status == 2
