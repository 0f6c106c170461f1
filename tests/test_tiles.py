"""A person's own photos as the trainer sees them: lamps keep their size, their place and their name."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

from training.check import check
from training.tiles import Cut, are_photos, cut_photos, digests, pieces, windows
from training.yolo import Box, DataSet, read_labels
from vision.detector import CLUSTER, Rgb

NAMES = ("abs", "tpms", CLUSTER)
CUT = Cut(640, 1536)
CLUSTER_BOX: Box = (600, 600, 2600, 1400)
LAMPS: dict[Box, str] = {(700, 700, 740, 730): "abs", (1580, 980, 1640, 1020): "tpms", (2500, 1300, 2540, 1340): "abs"}


def photo() -> Rgb:
    """A dark photo in which each lamp is a bright box, of another colour for each class."""
    rgb = np.full((2000, 3200, 3), 20, np.uint8)
    for (x1, y1, x2, y2), name in LAMPS.items():
        rgb[int(y1) : int(y2), int(x1) : int(x2)] = (255, 60, 60) if name == "abs" else (255, 200, 60)
    return rgb


def shares(box: Box) -> Box:
    return box[0] / 3200, box[1] / 2000, box[2] / 3200, box[3] / 2000


LABELS = [(name, shares(box)) for box, name in LAMPS.items()]


def nowhere(_: Rgb) -> Box | None:
    return None


@pytest.mark.parametrize("cluster", ["labelled", "found", "unknown"])
def test_boxes_lie_on_the_lamps(cluster: str) -> None:
    labels = [*LABELS, (CLUSTER, shares(CLUSTER_BOX))] if cluster == "labelled" else LABELS
    cut = pieces(photo(), labels, CUT, (lambda _: CLUSTER_BOX) if cluster == "found" else nowhere)
    seen = []
    for rgb, boxes in cut:
        assert rgb.shape == (640, 640, 3)
        for name, (x1, y1, x2, y2) in boxes:
            assert 0 <= x1 < x2 <= 640
            assert 0 <= y1 < y2 <= 640
            if name != CLUSTER:
                inner = rgb[round(y1) + 1 : round(y2) - 1, round(x1) + 1 : round(x2) - 1].mean(axis=(0, 1))
                assert inner[0] > 230
                assert (inner[1] > 130) == (name == "tpms")
                seen.append(name)
    assert seen.count("abs") >= 2
    assert seen.count("tpms") >= 1
    # Only where the cluster is known may a small whole photo teach where clusters are.
    assert [name for _, boxes in cut for name, _ in boxes].count(CLUSTER) == (0 if cluster == "unknown" else 1)


def test_lamps_are_as_large_as_in_the_close_look() -> None:
    cut = pieces(photo(), [*LABELS, (CLUSTER, shares(CLUSTER_BOX))], CUT, nowhere)
    widths = [x2 - x1 for _, boxes in cut[1:] for name, (x1, _, x2, _) in boxes if name == "tpms"]
    assert max(widths) == pytest.approx(60 * 1536 / (2000 * 1.16), abs=1)


def test_a_photo_without_lamps_teaches_that_there_are_none() -> None:
    cut = pieces(photo(), [], CUT, nowhere)
    assert len(cut) > 1
    assert all(boxes == [] for _, boxes in cut)


@pytest.mark.parametrize(("w", "h"), [(640, 640), (1536, 700), (300, 200), (1537, 1300)])
def test_windows_cover_everything(w: int, h: int) -> None:
    covered = np.zeros((h, w), bool)
    for x1, y1, x2, y2 in windows(w, h, 640):
        assert max(x2 - x1, y2 - y1) <= 640
        covered[y1:y2, x1:x2] = True
    assert covered.all()


def test_a_data_set_of_photos_becomes_one_of_tiles(tmp_path: Path) -> None:
    for split in ("train", "val"):
        for kind in ("images", "labels"):
            (tmp_path / "own" / kind / split).mkdir(parents=True)
        rgb = photo() if split == "train" else photo()[:, ::-1]
        Image.fromarray(np.ascontiguousarray(rgb)).save(tmp_path / "own" / "images" / split / "p.jpg", quality=95)
        (tmp_path / "own" / "images" / split / "broken.jpg").write_text("no photo")
    Image.new("RGB", (200, 100)).save(tmp_path / "own" / "images" / "train" / "small.png")
    rows = [f"{NAMES.index(n)} {(a + c) / 2} {(b + d) / 2} {c - a} {d - b}" for n, (a, b, c, d) in LABELS]
    (tmp_path / "own" / "labels" / "train" / "p.txt").write_text("\n".join(rows))
    content = {"train": "images/train", "val": "images/val", "names": list(NAMES)}
    (tmp_path / "own" / "data.yaml").write_text(yaml.safe_dump(content))
    own = DataSet.read(tmp_path / "own")
    assert are_photos(own)
    assert len(digests(own)) == 3
    for _ in range(2):  # a second time gives the same, and leaves nothing behind
        tiles = DataSet.read(cut_photos(own, tmp_path / "tiles", CUT, lambda _: CLUSTER_BOX))
        assert not are_photos(tiles)
        assert len(tiles.split("train")) == 1 + 6 + 1  # the whole, its tiles, the small one
    assert {"abs", "tpms", CLUSTER} == {name for path in tiles.split("train") for name, _ in read_labels(path, NAMES)}
    assert [f.kind for f in check(tiles, NAMES).findings if f.level == "error"] == []
