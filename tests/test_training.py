"""The renderer and the way from pictures to a shipped model; needs the train extra."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

cv2 = pytest.importorskip("cv2", reason="the train extra is not installed")
pytest.importorskip("resvg_py", reason="the train extra is not installed")

from knowledge.catalogue import LIGHT_IDS  # noqa: E402
from models import read_manifest  # noqa: E402
from training.camera import take_photo  # noqa: E402
from training.card import model_card  # noqa: E402
from training.cluster import draw_cluster  # noqa: E402
from training.dataset import TILE, Plan, tile_of, whole_of, write  # noqa: E402
from training.glyphs import CELL, FOLDER, drawings, lamp_mask, rasterise  # noqa: E402
from training.lamps import LAMP_COLORS, WORDS, emission  # noqa: E402
from training.lights import export, light_classes, train  # noqa: E402
from vision.detections import COLORS  # noqa: E402
from vision.detector import CLUSTER, DEFAULT_FOLDER, OnnxDetector  # noqa: E402

# The lamps that owners meet most, for which makers' drawings differ most.
FREQUENT = (
    "brake_system seat_belt door_open check_engine oil_pressure battery_charge airbag abs stability_control tpms "
    "coolant_temp power_steering parking_brake immobilizer high_beam low_beam front_fog rear_fog turn_signal"
).split()


@pytest.mark.parametrize("label", LIGHT_IDS)
def test_every_light_can_be_drawn(label: str) -> None:
    rng = np.random.default_rng(0)
    for _ in range(5):
        mask, _ = lamp_mask(label, rng)
        assert mask.dtype == np.uint8
        assert min(mask.shape) >= 4
        assert (mask > 200).any()
    assert set(LAMP_COLORS[label]) <= set(COLORS)


@pytest.mark.parametrize("label", FREQUENT)
def test_frequent_lights_have_three_different_drawings(label: str) -> None:
    masks = [cv2.resize(m, (32, 32), interpolation=cv2.INTER_AREA).astype(int) for m in drawings()[label]]
    assert len(masks) >= 3
    differences = [np.abs(a - b).mean() for i, a in enumerate(masks) for b in masks[:i]]
    assert min(differences) > 2


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.svg")), ids=lambda p: p.stem)
def test_drawings_stay_in_their_cells(path: Path) -> None:
    masks = rasterise(path.read_text(encoding="utf-8"))
    assert masks
    assert all(max(m.shape) <= 0.97 * CELL for m in masks), "a drawing runs over the edge of its cell"


def test_no_word_belongs_to_two_lights() -> None:
    words = [word for texts in WORDS.values() for word in set(texts)]
    assert len(words) == len(set(words))


@pytest.mark.parametrize("color", COLORS)
def test_lamps_shine_in_their_colour(color: str) -> None:
    rng = np.random.default_rng(1)
    strongest = {"red": 0, "amber": 0, "green": 1, "blue": 2}
    for _ in range(50):
        rgb = emission(color, rng)
        if color == "white":
            assert rgb.min() > 0.7
        else:
            assert rgb.argmax() == strongest[color]
        if color == "amber":
            assert rgb[1] > 0.2 > rgb[2]


def test_the_same_seed_draws_the_same_photo() -> None:
    shots = []
    for _ in range(2):
        rng = np.random.default_rng(5)
        shots.append(take_photo(draw_cluster(rng), rng))
    assert np.array_equal(shots[0].rgb, shots[1].rgb)
    assert shots[0].lamps == shots[1].lamps


def test_boxes_lie_around_what_glows() -> None:
    """Inside a lamp's box more light comes out than around it, in nearly every lamp of twenty photos."""
    inside_wins = total = 0
    for seed in range(20):
        rng = np.random.default_rng(seed)
        shot = take_photo(draw_cluster(rng, ["check_engine", "oil_pressure", "high_beam"]), rng)
        h, w = shot.rgb.shape[:2]
        peak = shot.rgb.max(axis=2).astype(float)
        for lamp in shot.lamps:
            x1, y1, x2, y2 = (round(v) for v in lamp.xyxy)
            assert 0 <= lamp.xyxy[0] < lamp.xyxy[2] <= w
            assert 0 <= lamp.xyxy[1] < lamp.xyxy[3] <= h
            inner = np.percentile(peak[y1:y2, x1:x2], 80)
            ring = peak[max(0, y1 - 6) : y2 + 6, max(0, x1 - 6) : x2 + 6]
            inside_wins += inner > np.median(ring)
            total += 1
    assert total > 40
    assert inside_wins / total > 0.9


def test_tiles_and_whole_views_keep_boxes_inside() -> None:
    rng = np.random.default_rng(3)
    shot = take_photo(draw_cluster(rng), rng)
    for rgb, boxes in (tile_of(shot, rng), whole_of(shot)):
        assert rgb.shape == (TILE, TILE, 3)
        for box in boxes:
            assert 0 <= box.xyxy[0] < box.xyxy[2] <= TILE + 1e-6
            assert 0 <= box.xyxy[1] < box.xyxy[3] <= TILE + 1e-6
    assert CLUSTER in [b.label for b in whole_of(shot)[1]]


def test_from_rendering_to_a_loaded_model(tmp_path: Path) -> None:
    """Render, train for some seconds, export, load: every step of the pipeline that ships the model."""
    pytest.importorskip("ultralytics", reason="the train extra is not installed")
    plan = Plan(tmp_path / "data", "val", 1, 1, 1, light_classes())
    write(plan, workers=1)
    data = write(Plan(tmp_path / "data", "train", 3, 2, 2, light_classes()), workers=1)
    run = tmp_path / "runs" / "tiny"
    train(data=data, weights=DEFAULT_FOLDER / "model.pt", out=run, hours=10 / 3600, batch=2)
    export(run=run, data="four renders", command="this test", to=tmp_path / "lights")
    detector = OnnxDetector.load(tmp_path / "lights")
    assert detector.classes == light_classes()
    detector.detect(np.full((480, 640, 3), 90, np.uint8))


def test_the_card_is_the_one_the_manifest_makes() -> None:
    manifest = read_manifest(DEFAULT_FOLDER)
    assert (DEFAULT_FOLDER / "README.md").read_text(encoding="utf-8") == model_card(manifest)
    assert 0 <= manifest.figures["real_photos"]["mAP50"] <= 1
