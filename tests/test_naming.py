"""Naming crops: the geometry that training and service share, and the shipped classifier."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from vision.detector import OnnxDetector
from vision.naming import NONE, FakeNamer, OnnxNamer, crop


@pytest.fixture(scope="module")
def namer() -> OnnxNamer:
    found = OnnxDetector.load().namer
    assert found is not None
    return found


def test_a_crop_shows_the_box_in_its_middle() -> None:
    rgb = np.zeros((200, 300, 3), np.uint8)
    rgb[80:100, 140:180] = 255
    out = crop(rgb, (140, 80, 180, 100), 64, context=2.0)
    ys, xs = np.nonzero(out[..., 0] > 127)
    assert out.shape == (64, 64, 3)
    assert (xs.min(), xs.max() + 1) == pytest.approx((16, 48), abs=1)
    assert (ys.min(), ys.max() + 1) == pytest.approx((24, 40), abs=1)


@pytest.mark.parametrize("box", [(-20, -10, 15, 20), (290, 190, 330, 240), (0, 0, 300, 200), (5, 5, 5.5, 5.5)])
def test_a_crop_at_the_edge_repeats_the_border(box: tuple[float, float, float, float]) -> None:
    out = crop(np.full((200, 300, 3), 77, np.uint8), box, 64)
    assert out.shape == (64, 64, 3)
    assert (out == 77).all()


def test_the_fake_says_what_it_was_told() -> None:
    fake = FakeNamer({"abs": 0.9, NONE: 0.1}, ("abs", "tpms", NONE))
    assert fake.name(np.zeros((9, 9, 3), np.uint8), [(0, 0, 5, 5)] * 2) == pytest.approx(
        np.array([[0.9, 0, 0.1]] * 2, np.float32)
    )


def test_probabilities_add_up_and_plain_plastic_is_no_lamp(namer: OnnxNamer) -> None:
    plastic = np.full((120, 120, 3), 40, np.uint8)
    probabilities = namer.name(plastic, [(40, 40, 70, 70), (10, 10, 30, 25)])
    assert probabilities.shape == (2, len(namer.classes))
    assert probabilities.sum(axis=1) == pytest.approx(1, abs=1e-4)
    assert (probabilities[:, namer.classes.index(NONE)] > 0.5).all()


def test_no_boxes_give_no_rows(namer: OnnxNamer) -> None:
    assert namer.name(np.zeros((9, 9, 3), np.uint8), []).shape == (0, len(namer.classes))


def test_weights_and_onnx_agree(namer: OnnxNamer) -> None:
    torch = pytest.importorskip("torch", reason="the train extra is not installed")
    from models import read_manifest
    from training.naming_net import NamingNet, predict
    from vision.detector import DEFAULT_FOLDER

    part = read_manifest(DEFAULT_FOLDER).naming
    assert part is not None
    net = NamingNet(len(part.classes))
    net.load_state_dict(torch.load(DEFAULT_FOLDER / part.weights, weights_only=True)["weights"])
    detector = OnnxDetector.load()
    rgb = np.asarray(Image.open(DEFAULT_FOLDER.parents[1] / "app" / "sample.jpg").convert("RGB"))
    boxes = [tuple(box) for box in detector.propose(rgb)[1].boxes.tolist()]
    theirs = predict(net, np.stack([crop(rgb, box, part.side) for box in boxes]))
    ours = namer.name(rgb, boxes)
    assert len(boxes) >= 5
    assert (ours.argmax(axis=1) == theirs.argmax(axis=1)).mean() >= 0.9  # the file is INT8
    assert np.abs(ours - theirs).mean() < 0.005
