"""Training and measuring of the models of accident photos: data sets, figures, thresholds, the gate."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from models import SHIPPED, read_manifest
from tests.commands import yangche
from training import scenes, whole
from training.card import model_card
from training.evaluate import Pair, Seen, Truth
from training.measure import LEAST_SURE, best_threshold
from training.promote import compare
from training.served import SERVED, PromotionError
from training.whole import UNKNOWN, Example, examples_in, figures
from training.yolo import DataError, DataSet, read_labels
from vision.detections import Detection
from vision.whole import KINDS, SEVERITIES

BOX = (10.0, 10.0, 50.0, 50.0)
NAMES = ("scenes", "damage", "whole")


def picture(path: Path, seed: int, size: tuple[int, int] = (320, 240)) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    cells = rng.integers(0, 255, (size[1] // 20, size[0] // 20, 3), np.uint8)
    Image.fromarray(np.kron(cells, np.ones((20, 20, 1), np.uint8))).save(path, quality=95)
    return path


@pytest.fixture
def sorted_photos(tmp_path: Path) -> Path:
    """Photos in folders by class, as a trainer would keep them."""
    for n, name in enumerate((*KINDS, *SEVERITIES)):
        for k in range(2):
            picture(tmp_path / "train" / name / f"{k}.jpg", 10 * n + k)
        picture(tmp_path / "val" / name / "9.jpg", 100 + n)
    return tmp_path


def test_photos_in_folders_are_read(sorted_photos):
    found = examples_in(sorted_photos, "train")
    assert len(found) == 12
    assert {KINDS[e.kind] for e in found if e.severity != UNKNOWN} == {"accident"}
    with pytest.raises(DataError, match="dashboard"):
        examples_in(sorted_photos, "nothing")


def test_a_photo_that_resembles_a_validation_photo_is_not_trained_on(sorted_photos, tmp_path):
    with Image.open(sorted_photos / "val" / "other" / "9.jpg") as same:
        same.resize((640, 480)).save(sorted_photos / "train" / "other" / "again.jpg", quality=70)
    whole.store(sorted_photos, tmp_path / "out")
    kept = np.load(tmp_path / "out" / "train.npz")
    assert not any("again" in path for path in kept["path"])
    assert kept["images"].shape == (12, whole.STORED, whole.STORED, 3)


def test_figures_of_kinds_and_severities():
    rows = [
        (Example(Path("a"), 1, 0, "severity"), "accident", "minor"),
        (Example(Path("b"), 1, 2, "severity"), "accident", "moderate"),
        (Example(Path("c"), 1, UNKNOWN, "damaged_or_not"), "accident", "minor"),
        (Example(Path("d"), 2, UNKNOWN, "damaged_or_not"), "accident", "minor"),
        (Example(Path("e"), 2, UNKNOWN, "damaged_or_not"), "other", None),
        (Example(Path("f"), 0, UNKNOWN, "dashboards"), "other", None),
    ]
    made = figures(rows)
    assert made["kind_accuracy"] == pytest.approx(4 / 6)
    assert made["critical_recall"] == 1
    assert made["severity_accuracy"] == 0.5
    assert made["damaged_balanced_accuracy"] == pytest.approx((1 + 0.5) / 2)
    assert made["by_source"]["dashboards"] == [0, 1]
    missed = figures([(Example(Path("g"), 1, 2, "severity"), "other", None)])  # no severity, since no accident was seen
    assert missed["severity_accuracy"] == 0
    assert missed["severity_confusion"] == {"severe as none": 1}
    assert figures(rows[-1:])["damaged_balanced_accuracy"] is None


def test_the_threshold_is_where_f1_is_best():
    seen = Seen(Path("a.jpg"), (), ())
    truth = Truth("fire", BOX, None)

    def pair(confidence: float | None, right: bool) -> Pair:
        return Pair(seen, None if confidence is None else Detection("fire", BOX, confidence), truth if right else None)

    pairs = [pair(0.9, True), pair(0.6, True), pair(0.5, False), pair(0.4, False), pair(None, True)]
    threshold, f1 = best_threshold(pairs, "fire")
    assert 0.5 < threshold <= 0.6
    assert f1 == pytest.approx(2 * 2 / (2 + 3))
    assert best_threshold(pairs, "smoke")[0] == LEAST_SURE - 0.005 or best_threshold(pairs, "smoke")[1] == 0


def test_frames_that_look_alike_count_once(tmp_path):
    first, other = picture(tmp_path / "a.jpg", 1), picture(tmp_path / "c.jpg", 2)
    with Image.open(first) as same:
        same.point(lambda v: min(255, v + 6)).save(tmp_path / "b.jpg")
    assert scenes.distinct([first, tmp_path / "b.jpg", other]) == [first, other]


def test_a_split_is_written_as_ultralytics_reads_it(tmp_path):
    photo = picture(tmp_path / "set" / "images" / "train" / "x.jpg", 3)
    scenes.write_split(tmp_path / "out", "train", [(photo, [("fire", (0.1, 0.2, 0.5, 0.6))])], scenes.SCENES)
    scenes.write_split(tmp_path / "out", "val", [], scenes.SCENES)
    data = DataSet.read(scenes.write_yaml_file(tmp_path / "out", scenes.SCENES))
    (written,) = data.split("train")
    ((label, box),) = read_labels(written, data.names)
    assert label == "fire"
    assert box == pytest.approx((0.1, 0.2, 0.5, 0.6))


@pytest.mark.parametrize("name", NAMES)
def test_the_shipped_models_know_their_classes_and_agree_with_their_cards(name):
    manifest = read_manifest(SHIPPED / name)
    SERVED[name].check(manifest)
    assert (SHIPPED / name / "README.md").read_text(encoding="utf-8") == model_card(manifest)
    with pytest.raises(PromotionError, match=manifest.classes[0]):
        SERVED[name].check(manifest.model_copy(update={"classes": manifest.classes[1:]}))
    with pytest.raises(PromotionError, match="warp"):
        SERVED[name].check(manifest.model_copy(update={"classes": [*manifest.classes, "warp"]}))


def test_the_gate_speaks_of_what_the_model_is_for():
    present = {"photos": 40, "objects": 40, "critical": 20, "critical_recall": 0.9, "kind_accuracy": 0.9,
               "damaged_balanced_accuracy": 0.9, "severity_accuracy": 0.7}  # fmt: skip
    worse = compare(present, {**present, "critical_recall": 0.8, "kind_accuracy": 0.95}, served=SERVED["whole"])
    assert [text.en for text in worse.against] == ["It finds fewer of the photos of accidents: 0.900 -> 0.800."]
    assert not compare(present, {**present, "kind_accuracy": 0.95}, served=SERVED["whole"]).against
    assert json.dumps(worse.to_json())


def test_the_commands(sorted_photos, tmp_path):
    told = yangche("evaluate", "whole", "--data", sorted_photos, "--json", home=tmp_path / "home")
    assert told.status == 0, told.err
    assert told.json["photos"] == 6
    assert yangche("models", "list", "--model", "nothing", home=tmp_path / "home").status == 2
    assert yangche("models", "list", "--model", "scenes", home=tmp_path / "home").status == 0
    assert yangche("train", "check", tmp_path, "--model", "whole", home=tmp_path / "home").status == 2
    refused = yangche("models", "promote", SHIPPED / "whole", "--model", "whole", "--gate", sorted_photos,
                      home=tmp_path / "home")  # fmt: skip
    assert refused.status == 1  # the same model is no better
    assert "kind_accuracy" in refused.err


def test_training_the_whole_photo_goes_from_photos_to_a_model(sorted_photos, tmp_path):
    """Seconds only: that it runs, starts from the present model, exports, and can be served."""
    run = tmp_path / "run"
    ran = yangche("train", "whole", "--data", sorted_photos, "--out", run, "--time", "0.002", home=tmp_path / "home")
    assert ran.status == 0, ran.err
    made = yangche("export", "whole", "--run", run, "--to", tmp_path / "model", home=tmp_path / "home")
    assert made.status == 0, made.err
    measured = yangche("evaluate", "whole", "--data", sorted_photos, "--model", tmp_path / "model", "--json",
                       home=tmp_path / "home")  # fmt: skip
    assert measured.json["photos"] == 6
