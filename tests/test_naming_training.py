"""From rendered crops to a served classifier, its calibration and its INT8 version: real, and tiny."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("ultralytics", reason="the train extra is not installed")

from models import read_manifest, sha256_of
from training.calibrate import Places, confidence, fit, reliability, thresholds
from training.camera import take_photo
from training.cluster import draw_board, draw_cluster
from training.naming import CLASSES, STORED, crops, crops_of, export, train
from training.naming_net import SIDE, augmented, plain
from training.quantise import main as quantise
from vision.detector import DEFAULT_FOLDER, Fusion, OnnxDetector
from vision.naming import NONE


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A copy of the shipped model folder."""
    return Path(shutil.copytree(DEFAULT_FOLDER, tmp_path / "lights"))


def test_from_crops_to_a_loaded_namer(tmp_path: Path, folder: Path) -> None:
    data, run = tmp_path / "crops", tmp_path / "run"
    crops(out=data, frames=1, boards=1, photos=0, seed=5, workers=1)
    images = sorted(data.glob("*.images.npy"))
    assert len(images) == 2
    train(data=data, out=run, hours=4 / 3600, batch=8)
    export(run=run, to=folder, data="two renders", command="this test")
    manifest = read_manifest(folder)
    assert manifest.naming is not None
    assert manifest.naming.training["seen"] > 0
    namer = OnnxDetector.load(folder).namer
    assert namer is not None
    assert namer.classes == CLASSES
    assert namer.name(np.zeros((90, 90, 3), np.uint8), [(10, 10, 40, 40)]).sum() == pytest.approx(1, abs=1e-4)


def test_a_board_gives_a_crop_for_every_lamp_and_a_place_beside_it_gives_nothing() -> None:
    rng = np.random.default_rng(3)
    shot = take_photo(draw_board(rng, ["abs", "tpms", "check_engine"]), rng)
    beside = np.array([[0, 0, 12, 12]], np.float32)
    lamps = [lamp for lamp in shot.lamps if lamp.xyxy[0] > 40]
    found = list(crops_of(shot.rgb, lamps, beside, rng))
    assert len(found) > 50
    assert {name for _, name in found} == {"abs", "tpms", "check_engine", NONE}
    assert all(image.shape == (STORED, STORED, 3) for image, _ in found)


def test_the_same_seed_draws_the_same_board() -> None:
    a, b = (draw_board(np.random.default_rng(8), ["abs", "eco"]) for _ in range(2))
    assert np.array_equal(a.glow, b.glow)


def test_open_doors_beside_a_white_car_are_one_lamp() -> None:
    lit = [lamp for seed in range(12) for lamp in draw_cluster(np.random.default_rng(seed), ["door_open"]).lamps]
    assert {lamp.label for lamp in lit} == {"door_open"}
    assert {"red", "amber"} & {lamp.color for lamp in lit}


def test_augmenting_never_mirrors() -> None:
    """A picture that is dark on the left and bright on the right stays so, whatever else happens to it."""
    ramp = np.linspace(20, 230, STORED, dtype=np.uint8)[None, :, None].repeat(STORED, 0).repeat(3, 2)
    for seed in range(60):
        out = augmented(ramp, np.random.default_rng(seed)).astype(float)
        assert out.shape == (SIDE, SIDE, 3)
        assert out[:, : SIDE // 4].mean() < out[:, -SIDE // 4 :].mean()


def test_plain_crops_keep_the_middle() -> None:
    image = np.zeros((1, STORED, STORED, 3), np.uint8)
    image[0, STORED // 2 - 6 : STORED // 2 + 6, STORED // 2 - 6 : STORED // 2 + 6] = 255
    ys, xs = np.nonzero(plain(image)[0, ..., 0] > 127)
    assert abs(ys.mean() - (SIDE - 1) / 2) < 1
    assert abs(xs.mean() - (SIDE - 1) / 2) < 1


def test_the_fit_finds_the_confidences_that_the_places_were_made_with() -> None:
    rng = np.random.default_rng(0)
    true = Fusion(bias=-0.5, lit=0.9, named=0.7, odd=-2.0)
    places = []
    for n in range(40):
        inputs = np.column_stack([np.ones(60), rng.normal(0, 2, (60, 2)), rng.random(60) < 0.2])
        bare = Places(f"photo {n}", inputs, np.zeros(60, bool))
        places.append(Places(bare.name, inputs, rng.random(60) < confidence(true, bare)))
    fitted = fit(places, prior=0.3)
    for name in ("bias", "lit", "named", "odd"):
        assert getattr(fitted, name) == pytest.approx(getattr(true, name), abs=0.25)
    sure = np.concatenate([confidence(fitted, p) for p in places])
    rows = reliability(sure, np.concatenate([p.right for p in places]), (0, 0.25, 0.5, 0.75, 1.001))
    assert all(abs(row["confidence"] - row["right"]) < 0.08 for row in rows)


def test_what_must_not_be_missed_counts_earlier() -> None:
    found = thresholds()
    assert found["oil_pressure"] < found["check_engine"] < found["high_beam"]
    assert set(CLASSES) - {NONE} <= set(found)


@pytest.mark.parametrize("whole", [False, True])
def test_int8_sees_the_sample_much_as_floating_point_does(tmp_path: Path, whole: bool) -> None:
    from PIL import Image

    to = tmp_path / "int8"
    quantise(source=DEFAULT_FOLDER, to=to, detector=whole, shots=2)
    before, after = read_manifest(DEFAULT_FOLDER), read_manifest(to)
    assert sha256_of(to / after.file) == after.sha256
    assert (before.sha256 != after.sha256) == whole
    assert before.naming is not None
    assert after.naming is not None
    assert (to / after.naming.file).stat().st_size < 0.6 * (to / after.naming.weights).stat().st_size
    rgb = np.asarray(Image.open(DEFAULT_FOLDER.parents[1] / "app" / "sample.jpg").convert("RGB"))
    exact, small = (OnnxDetector.load(f).detect(rgb, floor=0.5) for f in (DEFAULT_FOLDER, to))
    assert len(set(exact.labels) & set(small.labels)) >= 0.7 * len(set(exact.labels))
