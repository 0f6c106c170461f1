"""The detector seam: letterbox, decoding, merging, fusion, and the shipped model itself."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from models import ModelError, read_manifest, sha256_of
from vision.detections import Detection
from vision.detector import CLUSTER, DEFAULT_FOLDER, Fusion, OnnxDetector, Proposals, decode, letterbox, merge

SAMPLE = Path(__file__).parents[1] / "app" / "sample.jpg"


@pytest.fixture(scope="module")
def detector() -> OnnxDetector:
    return OnnxDetector.load()


@pytest.fixture(scope="module")
def sample() -> np.ndarray:
    return np.asarray(Image.open(SAMPLE).convert("RGB"))


@pytest.mark.parametrize("size", [(1280, 720), (720, 1280), (100, 90), (4000, 3000), (641, 640), (1, 5000)])
def test_letterbox_keeps_proportions_and_can_be_undone(size: tuple[int, int]) -> None:
    w, h = size
    out, scale, (left, top) = letterbox(np.full((h, w, 3), 7, np.uint8), (640, 640))
    assert out.shape == (640, 640, 3)
    inner = (out == 7).all(axis=2)
    ys, xs = np.nonzero(inner)
    assert (xs.min(), ys.min()) == (left, top)
    assert abs((xs.max() + 1 - left) - w * scale) <= 1
    assert abs((ys.max() + 1 - top) - h * scale) <= 1
    assert (out[~inner] == 114).all()


@pytest.mark.parametrize("size", [(1280, 720), (720, 1280), (333, 777)])
def test_letterbox_lies_where_ultralytics_puts_it(size: tuple[int, int]) -> None:
    augment = pytest.importorskip("ultralytics.data.augment", reason="the train extra is not installed")
    rgb = np.random.default_rng(0).integers(0, 255, (size[1], size[0], 3), np.uint8)
    rgb = np.asarray(Image.fromarray(rgb).resize((8, 8)).resize(size, Image.Resampling.BICUBIC))  # smooth
    theirs = augment.LetterBox((640, 640), auto=False)(image=rgb)
    ours, _, _ = letterbox(rgb, (640, 640))
    assert (ours == 114).all(axis=2).sum() == (theirs == 114).all(axis=2).sum()
    assert np.abs(ours.astype(int) - theirs.astype(int)).mean() < 1.0


@pytest.mark.parametrize(
    ("boxes", "scores", "left"),
    [
        ([(0, 0, 10, 10), (1, 0, 11, 10)], [(0.9, 0), (0.8, 0.1)], [(0.9, 0.1)]),
        ([(0, 0, 10, 10), (1, 0, 11, 10)], [(0.3, 0), (0, 0.6)], [(0.3, 0.6)]),  # one lamp taken for two classes
        ([(0, 0, 10, 10), (5, 0, 15, 10)], [(0.9, 0), (0, 0.8)], [(0.9, 0), (0, 0.8)]),
        ([(0, 0, 10, 10), (20, 0, 30, 10)], [(0.2, 0), (0.9, 0)], [(0.9, 0), (0.2, 0)]),
        ([], [], []),
    ],
)
def test_merge_leaves_one_proposal_a_place(boxes: list, scores: list, left: list) -> None:
    found = Proposals(np.array(boxes, np.float32).reshape(-1, 4), np.array(scores, np.float32).reshape(-1, 2))
    merged = merge(found)
    assert np.allclose(merged.scores, np.array(left, np.float32).reshape(-1, 2))
    assert (np.diff(merged.lit) <= 0).all()


def fused(scores: tuple, named: tuple, none: float) -> tuple[np.ndarray, np.ndarray]:
    """Labels and confidences of one place."""
    row = np.array([scores], np.float32)
    shares = Fusion().shares(row, np.array([named], np.float32))
    return Fusion().of(row, shares, np.array([none], np.float32))


@pytest.mark.parametrize(
    ("scores", "named", "none", "label"),
    [
        ((0.9, 0.0), (0.9, 0.1), 0.0, 0),  # both agree
        ((0.5, 0.4), (0.1, 0.9), 0.0, 1),  # the namer knows better
        ((0.8, 0.0), (0.4, 0.5), 0.1, 1),  # the detector only finds
    ],
)
def test_fusion_chooses_the_class(scores: tuple, named: tuple, none: float, label: int) -> None:
    labels, sure = fused(scores, named, none)
    assert labels.tolist() == [label]
    assert 0 < sure[0] < 1


def test_a_place_that_the_namer_calls_nothing_loses_its_confidence() -> None:
    lamp = fused((0.9, 0.0), (0.99, 0.0), 0.01)[1]
    nothing = fused((0.9, 0.0), (0.01, 0.0), 0.99)[1]
    assert nothing[0] < 0.5 < lamp[0]


@pytest.mark.parametrize(("second", "doubts"), [(0.45, 1), (0.05, 0)])
def test_a_name_nearly_as_good_stays_as_a_doubt(detector: OnnxDetector, second: float, doubts: int) -> None:
    """A ringed ! taken for a ringed P: the other reading is listed below its threshold."""
    assert detector.namer is not None
    places = Proposals(np.array([[10, 10, 40, 40]], np.float32), np.zeros((1, len(detector.classes)), np.float32))
    places.scores[0, detector.classes.index("parking_brake")] = 0.5
    places.scores[0, detector.classes.index("brake_system")] = 0.45
    named = np.zeros((1, len(detector.namer.classes)), np.float32)
    named[0, detector.namer.classes.index("parking_brake")] = 0.98 - second
    named[0, detector.namer.classes.index("brake_system")] = second
    first, *rest = detector._named(places, named)
    assert first.label == "parking_brake"
    assert [d.label for d in rest] == ["brake_system"] * doubts
    assert all(d.confidence < detector.threshold(d.label) for d in rest)


def test_an_odd_colour_leaves_a_doubt() -> None:
    assert 0.1 < Fusion(odd=-1.5).doubted(0.8) < 0.6


def test_decode_reads_the_exported_layout() -> None:
    raw = np.zeros((4 + 3, 5), np.float32)
    raw[:, 2] = [100, 50, 20, 10, 0.1, 0.7, 0.2]
    raw[:, 4] = [100, 50, -20, 10, 0.9, 0, 0]  # an impossible box is dropped, not shown
    found = decode(raw, 0.25)
    assert found.boxes.tolist() == [[90, 45, 110, 55]]
    assert found.scores[0] == pytest.approx([0.1, 0.7, 0.2])


def test_the_sample_is_read(detector: OnnxDetector, sample: np.ndarray) -> None:
    found = detector.detect(sample, floor=0.25)
    assert CLUSTER in found.labels
    h, w = sample.shape[:2]
    for d in found:
        assert 0 <= d.box[0] < d.box[2] <= w
        assert 0 <= d.box[1] < d.box[3] <= h


def test_a_picture_without_a_cluster_shows_no_lamps(detector: OnnxDetector) -> None:
    sky = np.linspace(90, 220, 480, dtype=np.uint8)[:, None, None].repeat(640, 1).repeat(3, 2)
    assert not len(detector.detect(sky, floor=0.25))


@pytest.mark.parametrize(
    ("label", "rgb", "least", "most"),
    [
        ("coolant_temp", (255, 30, 30), 0.9, 0.9),  # the lamp
        ("coolant_temp", (255, 255, 255), 0.0, 0.2),  # the pictogram beside the gauge
        ("abs", (255, 255, 255), 0.2, 0.8),  # never lit in white, yet perhaps washed out
    ],
)
def test_white_pictograms_of_gauges_are_hardly_lamps(
    detector: OnnxDetector, label: str, rgb: tuple[int, int, int], least: float, most: float
) -> None:
    photo = np.full((200, 200, 3), 15, np.uint8)
    photo[90:110, 90:112] = rgb
    found = detector._colored(photo, Detection(label, (90, 90, 112, 110), 0.9))
    assert least <= found.confidence <= most + 1e-6


def test_without_a_namer_the_detector_names_alone(detector: OnnxDetector, sample: np.ndarray) -> None:
    alone = replace(detector, namer=None).detect(sample, floor=0.25)
    assert CLUSTER in alone.labels
    assert len(alone) > 1


@pytest.mark.parametrize("size", [(33, 40), (3000, 40), (640, 640), (1600, 2400)])
def test_any_size_is_taken(detector: OnnxDetector, size: tuple[int, int]) -> None:
    detector.detect(np.full((size[1], size[0], 3), 120, np.uint8))


def test_the_floor_is_kept(detector: OnnxDetector, sample: np.ndarray) -> None:
    low, high = detector.detect(sample, 0.01), detector.detect(sample, 0.9)
    assert low.confidence.min() < 0.9 <= high.confidence.min()
    assert len(low) > len(high)


def test_manifest_belongs_to_the_files() -> None:
    manifest = read_manifest(DEFAULT_FOLDER)
    assert sha256_of(DEFAULT_FOLDER / manifest.file) == manifest.sha256
    assert sha256_of(DEFAULT_FOLDER / manifest.weights) == manifest.weights_sha256


@pytest.mark.parametrize("harm", ["missing", "changed", "no manifest", "broken manifest"])
def test_a_damaged_model_is_refused(harm: str, tmp_path: Path) -> None:
    folder = tmp_path / "lights"
    folder.mkdir()
    for name in ("manifest.json", "model.onnx", "naming.onnx"):
        (folder / name).write_bytes((DEFAULT_FOLDER / name).read_bytes())
    if harm == "missing":
        (folder / "model.onnx").unlink()
    elif harm == "changed":
        content = bytearray((folder / "model.onnx").read_bytes())
        content[len(content) // 2] ^= 1
        (folder / "model.onnx").write_bytes(content)
    elif harm == "no manifest":
        (folder / "manifest.json").unlink()
    else:
        (folder / "manifest.json").write_text('{"name": "lights"}')
    with pytest.raises(ModelError):
        OnnxDetector.load(folder)


def test_pt_and_onnx_agree(detector: OnnxDetector, sample: np.ndarray) -> None:
    """The exported model gives what the trained one gives, on the same letterboxed photo."""
    torch = pytest.importorskip("torch", reason="the train extra is not installed")
    from ultralytics import YOLO

    tile, _, _ = letterbox(sample, (detector.side, detector.side))
    model = YOLO(DEFAULT_FOLDER / read_manifest(DEFAULT_FOLDER).weights).model.float().eval()
    model.model[-1].export = True
    with torch.no_grad():
        out = model(torch.from_numpy(tile.transpose(2, 0, 1)[None].astype(np.float32) / 255))
    theirs = (out[0] if isinstance(out, tuple | list) else out)[0].numpy()
    ours, _ = detector.run(tile)
    assert ours.shape == theirs.shape
    assert np.abs(ours[4:] - theirs[4:]).max() < 1e-3  # probabilities
    sure = theirs[4:].max(axis=0) > 0.05
    assert sure.any()
    assert np.abs(ours[:4, sure] - theirs[:4, sure]).max() < 0.1  # pixels
