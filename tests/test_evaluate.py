"""Measuring: by hand on small cases, against the releases' own score program, and through the command."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

from knowledge.catalogue import load_catalogue
from tests.commands import yangche
from training.evaluate import (
    Sample,
    Seen,
    Truth,
    average_precision,
    confusion,
    evaluate,
    match,
    measure,
    read_samples,
    reliability,
    worst,
)
from training.yolo import DataError
from vision.detections import Detection, Detections
from vision.detector import FakeDetector, OnnxDetector

SAMPLE = Path(__file__).resolve().parents[1] / "app" / "sample.jpg"
RED = Truth("oil_pressure", (10, 10, 30, 30), "red")
AMBER = Truth("abs", (50, 10, 70, 30), "amber")


def found(label: str, box: tuple[float, float, float, float], confidence: float) -> Detection:
    return Detection(label, box, confidence)


def seen(truths: list[Truth], detections: list[Detection]) -> Seen:
    return Seen(Path("photo.jpg"), tuple(truths), tuple(detections))


def figures(truths: list[Truth], detections: list[Detection], threshold: float = 0.3) -> dict:
    return measure([seen(truths, detections)], lambda _: threshold)


OIL, ABS = found("oil_pressure", RED.box, 0.9), found("abs", AMBER.box, 0.8)


@pytest.mark.parametrize(
    ("detections", "expected"),
    [
        ([OIL, ABS], {"mAP50": 1, "found_AP50": 1, "recall": 1, "precision": 1, "critical_recall": 1}),
        ([], {"mAP50": 0, "found_AP50": 0, "recall": 0, "precision": None, "critical_recall": 0}),
        ([ABS], {"mAP50": 0.5, "recall": 0.5, "precision": 1, "critical_recall": 0}),
        # Found, but under another name: a miss and a false alarm.
        (
            [found("oil_level", RED.box, 0.9), ABS],
            {"mAP50": 0.5, "found_AP50": 1, "precision": 0.5, "critical_recall": 0},
        ),
        # Below the threshold it counts for the curve, not for the product.
        ([found("oil_pressure", RED.box, 0.2), ABS], {"mAP50": 1, "recall": 0.5, "critical_recall": 0}),
        # Two findings of one lamp: the second is a false alarm.
        ([OIL, found("oil_pressure", (11, 10, 31, 30), 0.7), ABS], {"mAP50": 1, "recall": 1, "precision": 2 / 3}),
        # Half a lamp away is another place.
        ([found("oil_pressure", (20, 10, 40, 30), 0.9), ABS], {"mAP50": 0.5, "recall": 0.5, "precision": 0.5}),
    ],
)
def test_figures(detections: list[Detection], expected: dict) -> None:
    result = figures([RED, AMBER], detections)
    assert {key: result[key] for key in expected} == pytest.approx(expected)


def test_what_counts_neither_for_nor_against() -> None:
    truths = [Truth("abs", (10, 10, 30, 30), "amber", ignore=True), Truth("other", (50, 10, 70, 30), "amber")]
    truths.append(Truth("cluster", (0, 0, 100, 100), None))
    detections = [found("abs", (12, 10, 32, 30), 0.9), found("tpms", (50, 10, 70, 30), 0.9)]
    detections += [found("other", (80, 80, 90, 90), 0.9), found("cluster", (0, 0, 98, 100), 0.9)]
    result = figures(truths, detections)
    assert (result["objects"], result["mAP50"], result["precision"]) == (0, None, None)
    assert result["cluster_found"] == 1
    assert result["confusion"] == {}


def test_average_precision_by_hand() -> None:
    assert average_precision([(0.9, True), (0.8, False), (0.7, True)], 2) == pytest.approx(0.5 + 0.5 * 2 / 3)
    assert average_precision([], 3) == 0


def test_confusion_names_what_it_was_taken_for() -> None:
    detections = [found("parking_brake", RED.box, 0.9), found("tpms", (80, 80, 90, 90), 0.5)]
    table = confusion([seen([RED, AMBER], detections)], lambda d: d.confidence >= 0.3)
    assert table["oil_pressure"] == {
        "objects": 1, "right": 0, "missed": 0, "taken_for": {"parking_brake": 1}, "false_alarms": 0,
    }  # fmt: skip
    assert table["abs"]["missed"] == 1
    assert table["tpms"]["false_alarms"] == 1


def test_reliability_of_a_model_that_knows_itself() -> None:
    """Ten findings at 0.8, eight of them right; then the same ten, said with 0.95."""
    for confidence, error in ((0.8, 0.0), (0.95, 0.15)):
        truths = [Truth("abs", (20 * i, 0, 20 * i + 10, 10), "amber") for i in range(8)]
        detections = [found("abs", (20 * i, 0, 20 * i + 10, 10), confidence) for i in range(10)]
        rows, ece = reliability(match([seen(truths, detections)], True))
        assert ece == pytest.approx(error)
        assert [(row["findings"], row["precision"]) for row in rows] == [(10, 0.8)]
    assert reliability([]) == ([], None)


def test_the_worst_photo_comes_first() -> None:
    photos = [seen([RED], [OIL]), seen([AMBER], []), seen([RED], [])]
    assert [pairs[0].seen for pairs in worst(photos, lambda _: 0.3)] == [photos[2], photos[1]]


def test_photos_that_cannot_be_opened_are_told_and_left_out(tmp_path: Path) -> None:
    (tmp_path / "text.jpg").write_text("no photo")
    Image.new("RGB", (100, 100)).save(tmp_path / "good.png")
    detector = FakeDetector(Detections.of([OIL]))
    samples = [Sample(tmp_path / name, (RED,)) for name in ("text.jpg", "good.png", "missing.png")]
    report = evaluate(detector, samples)
    assert report.figures["photos"] == 1
    assert [Path(name).name for name in report.unread] == ["text.jpg", "missing.png"]
    with pytest.raises(DataError):
        evaluate(detector, samples[:1])


def test_the_same_figures_as_the_score_program(shared: Path) -> None:
    """What this measures is what releases are measured by."""
    spec = importlib.util.spec_from_file_location("score_lights", shared / "tools" / "score_lights.py")
    assert spec is not None
    assert spec.loader is not None
    score_lights = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(score_lights)
    path = shared / "data" / "lights-dev" / "labels.json"
    labels = json.loads(path.read_text())
    report = evaluate(OnnxDetector.load(), read_samples(path))
    predictions = {
        one.path.name: [
            {"label": d.label, "box": list(d.box), "confidence": d.confidence}
            for d in one.found
            if d.label != "cluster"
        ]
        for one in report.seen
    }
    expected = score_lights.score(labels, predictions, {})
    ours = measure(report.seen, lambda _: 0.25)
    assert ours["objects"] == expected["lamps"]
    for key in ("photos", "mAP50", "found_AP50"):
        assert ours[key] == pytest.approx(expected[key]), key
    assert ours["critical_recall"] == pytest.approx(expected["red_recall@0.25"])
    for key in ("recall", "precision"):
        assert ours[key] == pytest.approx(expected[f"{key}@0.25"]), key
    assert ours["per_class"] == expected["per_class"]


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    """The sample photo in a data set of whole photos, labelled with what the detector believes, one lamp made up."""
    detector = OnnxDetector.load()
    rgb = np.asarray(Image.open(SAMPLE).convert("RGB"))
    h, w = rgb.shape[:2]
    for kind in ("images", "labels"):
        (tmp_path / "set" / kind / "val").mkdir(parents=True)
    Image.open(SAMPLE).save(tmp_path / "set" / "images" / "val" / "sample.png")
    names = list(detector.classes)
    rows = [f"{names.index('frost')} 0.05 0.05 0.02 0.02"]
    for d in detector.detect(rgb):
        if d.confidence >= detector.threshold(d.label):
            x1, y1, x2, y2 = d.box
            rows.append(
                f"{names.index(d.label)} {(x1 + x2) / 2 / w} {(y1 + y2) / 2 / h} {(x2 - x1) / w} {(y2 - y1) / h}"
            )
    (tmp_path / "set" / "labels" / "val" / "sample.txt").write_text("\n".join(rows))
    (tmp_path / "set" / "data.yaml").write_text(yaml.safe_dump({"val": "images/val", "names": names}))
    return tmp_path / "set"


def test_labels_get_their_usual_colour(dataset: Path) -> None:
    (sample,) = read_samples(dataset)
    lights = load_catalogue().lights
    assert len(sample.truths) > 3
    for truth in sample.truths:
        assert truth.color == (lights[truth.label].usual_color if truth.label in lights else None)


def test_the_command(dataset: Path, tmp_path: Path) -> None:
    out = tmp_path / "report"
    ran = yangche("evaluate", "lights", "--data", dataset, "--out", out, "--json", home=tmp_path / "home")
    assert ran.status == 0, ran.err
    assert ran.out.count("\n") == 1
    assert ran.json == json.loads((out / "report.json").read_text())
    assert ran.json["cluster_found"] == 1
    assert ran.json["precision"] == 1
    assert ran.json["confusion"]["frost"]["missed"] == 1
    assert Image.open(out / "worst.jpg").size[0] == 1280
    told = yangche("evaluate", "lights", "--data", dataset, home=tmp_path / "home", lang="zh")
    assert "要紧的（红灯、事故车、烟火等）找到并叫对的比例" in told.out


@pytest.mark.parametrize("name", ["nothing.yaml", "nothing.json", "broken.json", "list.json", "empty.json"])
def test_data_that_cannot_be_used(tmp_path: Path, name: str) -> None:
    (tmp_path / "broken.json").write_text("{")
    (tmp_path / "list.json").write_text('{"a.jpg": [1, 2]}')
    (tmp_path / "empty.json").write_text("{}")
    with pytest.raises(DataError):
        read_samples(tmp_path / name)
