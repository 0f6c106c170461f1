"""`Detections` checks itself, keeps the best first, and loses nothing on the way."""

from __future__ import annotations

import json

import numpy as np
import pytest

from vision.detections import Color, Detection, Detections, iou

OIL = Detection("oil_pressure", (10.0, 20.0, 30.0, 40.0), 0.9, "red")
ENGINE = Detection("check_engine", (50.0, 20.0, 70.5, 40.25), 0.5, "amber")
OTHER = Detection("other", (0.0, 0.0, 5.0, 5.0), 0.25)


@pytest.mark.parametrize(
    "findings", [[], [OIL], [OIL, ENGINE], [OTHER, ENGINE, OIL], [OIL, OIL]], ids=lambda f: str(len(f))
)
def test_round_trip(findings: list[Detection]) -> None:
    detections = Detections.of(findings)
    back = list(detections)
    assert len(detections) == len(back) == len(findings)
    for found in back:
        (original,) = [f for f in findings if f.label == found.label][:1]
        assert found.box == original.box
        assert found.confidence == pytest.approx(original.confidence)
        assert found.color == original.color
    assert [f.label for f in Detections.of(back)] == [f.label for f in back]


def test_best_first_and_stable() -> None:
    twin = Detection("abs", (1, 1, 2, 2), 0.5, "amber")
    assert [f.label for f in Detections.of([OTHER, ENGINE, twin, OIL])] == [
        "oil_pressure",
        "check_engine",
        "abs",
        "other",
    ]


def test_boxes_and_colors_move_with_their_labels() -> None:
    detections = Detections.of([OTHER, OIL])
    assert detections.labels == ("oil_pressure", "other")
    assert detections.colors == ("red", None)
    assert detections.boxes.tolist() == [[10, 20, 30, 40], [0, 0, 5, 5]]
    assert detections.boxes.dtype == detections.confidence.dtype == np.float32


@pytest.mark.parametrize("boxes", [[], np.zeros((0, 4)), np.zeros(0)])
def test_empty(boxes: object) -> None:
    for detections in (Detections.empty(), Detections(boxes, [], ())):  # type: ignore[arg-type]
        assert len(detections) == 0
        assert detections.boxes.shape == (0, 4)
        assert list(detections) == []
        assert len(detections.above(0.5)) == 0


GOOD = [[10.0, 20.0, 30.0, 40.0]]


@pytest.mark.parametrize(
    ("boxes", "confidence", "labels", "colors", "says"),
    [
        pytest.param([[1, 2, 3]], [0.5], ["a"], (), r"shape \(1, 4\) for 1 labels, got \(1, 3\)", id="three numbers"),
        pytest.param([1, 2, 3, 4], [0.5], ["a"], (), r"shape \(1, 4\)", id="flat box"),
        pytest.param(GOOD, [0.5], ["a", "b"], (), r"shape \(2, 4\) for 2 labels", id="more labels"),
        pytest.param(GOOD, [0.5], [], (), r"shape \(0, 4\)", id="no labels"),
        pytest.param(GOOD, [0.5, 0.6], ["a"], (), r"confidence must have shape \(1,\)", id="more confidences"),
        pytest.param(GOOD, [[0.5]], ["a"], (), r"confidence must have shape \(1,\)", id="nested confidence"),
        pytest.param(GOOD, [0.5], ["a"], ("red", "red"), "colors must hold 1 entries", id="more colours"),
        pytest.param(GOOD, [0.5], ["a"], ("pink",), "colors must be among .* got .'pink'", id="unknown colour"),
        pytest.param([[30, 20, 10, 40]], [0.5], ["a"], (), "x1 < x2", id="inverted box"),
        pytest.param([[10, 20, 30, 20]], [0.5], ["a"], (), "y1 < y2", id="flat as a line"),
        pytest.param([[10, 20, np.nan, 40]], [0.5], ["a"], (), "finite", id="NaN box"),
        pytest.param([[10, 20, np.inf, 40]], [0.5], ["a"], (), "finite", id="infinite box"),
        pytest.param(GOOD, [1.01], ["a"], (), r"0\.\.1", id="confidence above 1"),
        pytest.param(GOOD, [-0.01], ["a"], (), r"0\.\.1", id="confidence below 0"),
        pytest.param(GOOD, [np.nan], ["a"], (), r"0\.\.1", id="NaN confidence"),
    ],
)
def test_refused(boxes: object, confidence: object, labels: list[str], colors: tuple[Color, ...], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        Detections(np.array(boxes, np.float32), np.array(confidence, np.float32), tuple(labels), colors)


@pytest.mark.parametrize(("threshold", "kept"), [(0, 3), (0.25, 3), (0.26, 2), (0.5, 2), (0.9, 1), (0.95, 0), (1, 0)])
def test_above(threshold: float, kept: int) -> None:
    # 0.9 is held as float32; a threshold given in Python meets it all the same
    assert len(Detections.of([OTHER, OIL, ENGINE]).above(threshold)) == kept


def test_where_and_sum() -> None:
    detections = Detections.of([OIL, ENGINE, OTHER])
    assert detections.where([False, True, False]).labels == ("check_engine",)
    assert len(detections.where([False] * 3)) == 0
    assert (Detections.of([OTHER]) + Detections.of([OIL]) + Detections.empty()).labels == ("oil_pressure", "other")
    with pytest.raises(ValueError, match="zip"):
        detections.where([True])


def test_json() -> None:
    assert json.loads(json.dumps(ENGINE.to_json())) == {
        "label": "check_engine",
        "box": [50.0, 20.0, 70.5, 40.2],
        "confidence": 0.5,
        "color": "amber",
    }
    (found,) = Detections.of([Detection("abs", (0.04, 1.26, 2, 3), 0.123456)])
    assert found.to_json() == {"label": "abs", "box": [0.0, 1.3, 2.0, 3.0], "confidence": 0.1235, "color": None}


@pytest.mark.parametrize(
    ("a", "b", "share"),
    [
        ((0, 0, 10, 10), (0, 0, 10, 10), 1.0),
        ((0, 0, 10, 10), (5, 0, 15, 10), 1 / 3),
        ((0, 0, 10, 10), (10, 0, 20, 10), 0.0),
        ((0, 0, 10, 10), (2, 2, 4, 4), 0.04),
    ],
)
def test_iou(a: tuple, b: tuple, share: float) -> None:
    assert iou(a, b) == pytest.approx(share)
