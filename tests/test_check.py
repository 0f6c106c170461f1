"""`yangche train check`: every fault of a data set is found, told with its remedy, and stops nothing else."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

from app.texts import texts
from tests.commands import yangche
from training.check import KINDS, check
from training.yolo import DataError, DataSet, RowError, label_path, parse_row, read_labels

NAMES = ("red_lamp", "amber_lamp", "cluster")


def picture(seed: int, size: tuple[int, int] = (320, 240)) -> Image.Image:
    """A picture with large shapes in it, the same for the same seed."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 255, (6, 8, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize(size, Image.Resampling.BICUBIC)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A sound data set: three pictures to train on, two to validate, all labelled."""
    for split, seeds in (("train", (1, 2, 3)), ("val", (4, 5))):
        for kind in ("images", "labels"):
            (tmp_path / kind / split).mkdir(parents=True)
        for seed in seeds:
            picture(seed).save(tmp_path / "images" / split / f"{seed}.png")
            rows = "0 0.5 0.5 0.2 0.2\n1 0.3 0.3 0.1 0.1\n2 0.5 0.5 0.9 0.9\n"
            (tmp_path / "labels" / split / f"{seed}.txt").write_text(rows)
    content = {"path": ".", "train": "images/train", "val": "images/val", "names": list(NAMES)}
    (tmp_path / "data.yaml").write_text(yaml.safe_dump(content))
    return tmp_path


def kinds(folder: Path, contract: tuple[str, ...] = NAMES) -> dict[str, int]:
    report = check(DataSet.read(folder), contract)
    assert report.must_fix == any(f.level == "error" for f in report.findings)
    return {kind: len(found) for kind, found in report.by_kind().items()}


def test_a_sound_set_has_no_findings(folder: Path) -> None:
    report = check(DataSet.read(folder / "data.yaml"), NAMES)
    assert report.findings == []
    assert report.pictures == {"train": 3, "val": 2}
    assert report.boxes["train"] == {"red_lamp": 3, "amber_lamp": 3, "cluster": 3}


@pytest.mark.parametrize(
    ("row", "kind"),
    [
        ("0 0.5 0.5 0.2", "malformed"),
        ("0 0.5 0.5 0.2 0.2 0.9", "malformed"),
        ("zero 0.5 0.5 0.2 0.2", "malformed"),
        ("0.5 0.5 0.5 0.2 0.2", "malformed"),
        ("0 nan 0.5 0.2 0.2", "malformed"),
        ("0 inf 0.5 0.2 0.2", "malformed"),
        ("3 0.5 0.5 0.2 0.2", "unknown_class"),
        ("-1 0.5 0.5 0.2 0.2", "unknown_class"),
        ("0 0.5 0.5 -0.2 0.2", "inverted"),
        ("0 0.5 0.5 0.2 0", "inverted"),
        ("0 0.05 0.5 0.2 0.2", "outside"),
        ("0 160 120 20 20", "outside"),
        ("0 0.1 0.1 0.9 0.1 1.4 0.9", "outside"),
        ("0 0.5 0.5 0.01 0.01", "tiny"),
        ("0 0.5 0.5 0.2 0.2", "repeated_row"),
    ],
)
def test_bad_rows(folder: Path, row: str, kind: str) -> None:
    path = folder / "labels" / "train" / "2.txt"
    path.write_text(path.read_text() + row + "\n")
    (finding,) = check(DataSet.read(folder), NAMES).findings
    assert (finding.kind, finding.where, finding.line) == (kind, str(path), 4)


def test_rows_that_are_right() -> None:
    assert parse_row("1 0.5 0.5 0.5 0.5", 3) == (1, (0.25, 0.25, 0.75, 0.75))
    assert parse_row("1.0 0.1 0.2 0.3 0.2 0.3 0.6 0.1 0.6", 3) == (1, (0.1, 0.2, 0.3, 0.6))  # a polygon
    assert parse_row("0 0.5 0.5 1.001 1", 3)[1] == (0.0, 0.0, 1.0, 1.0)  # rounded by a label tool
    with pytest.raises(RowError):
        parse_row("", 3)


def test_broken_files_stop_nothing(folder: Path) -> None:
    """A truncated picture, a text, an empty file, a folder, and labels that are no text, all at once."""
    train = folder / "images" / "train"
    (train / "1.png").write_bytes((train / "1.png").read_bytes()[:300])
    (train / "text.jpg").write_text("no picture")
    (train / "empty.jpg").touch()
    (train / "folder.jpg").mkdir()
    (folder / "labels" / "train" / "3.txt").write_bytes(b"\xff\xfe\x00\x80")
    found = kinds(folder)
    assert found["unreadable_image"] == 4
    assert found["unreadable_label"] == 1
    assert found["no_label"] == 3


def test_labels_and_pictures_that_miss_each_other(folder: Path) -> None:
    (folder / "labels" / "train" / "1.txt").unlink()
    (folder / "labels" / "train" / "2.txt").write_text("\n")
    (folder / "labels" / "val" / "gone.txt").write_text("0 0.5 0.5 0.2 0.2\n")
    assert kinds(folder) == {"no_label": 1, "empty_label": 1, "orphan_label": 1}


def test_pictures_in_two_splits(folder: Path) -> None:
    train, val = folder / "images" / "train", folder / "images" / "val"
    (val / "4.png").write_bytes((train / "1.png").read_bytes())
    picture(2).resize((200, 150)).save(val / "5.png")  # the same photo, smaller
    (train / "again.png").write_bytes((train / "3.png").read_bytes())
    (folder / "labels" / "train" / "again.txt").write_text("0 0.5 0.5 0.2 0.2\n")
    assert kinds(folder) == {"same_picture": 1, "alike": 1, "twice": 1}


def test_a_photo_saved_again_looks_the_same(folder: Path) -> None:
    picture(3).save(folder / "images" / "val" / "5.jpg", quality=40)
    (folder / "images" / "val" / "5.png").unlink()
    assert kinds(folder) == {"alike": 1}


def test_black_pictures_are_not_alike(folder: Path) -> None:
    Image.new("RGB", (320, 240), (2, 2, 2)).save(folder / "images" / "train" / "1.png")
    Image.new("RGB", (320, 240), (3, 3, 3)).save(folder / "images" / "val" / "4.png")
    assert kinds(folder) == {}


@pytest.mark.parametrize(
    ("contract", "kind"),
    [
        ((*NAMES, "one_more"), "names_missing"),
        (NAMES[:2], "names_unknown"),
        ((NAMES[1], NAMES[0], NAMES[2]), "names_order"),
    ],
)
def test_classes_are_those_of_the_model(folder: Path, contract: tuple[str, ...], kind: str) -> None:
    (finding,) = check(DataSet.read(folder), contract).findings
    assert finding.kind == kind
    assert finding.values["expected"] == ", ".join(contract)


def test_whole_photos_need_their_cluster(folder: Path) -> None:
    picture(1, (1600, 1200)).save(folder / "images" / "train" / "1.png")
    (folder / "labels" / "train" / "1.txt").write_text("0 0.5 0.5 0.2 0.2\n")
    assert kinds(folder) == {"no_cluster": 1}


def test_a_class_that_only_validation_shows(folder: Path) -> None:
    for seed in (1, 2, 3):
        (folder / "labels" / "train" / f"{seed}.txt").write_text("0 0.5 0.5 0.2 0.2\n")
    (finding,) = check(DataSet.read(folder), NAMES).findings
    assert (finding.kind, finding.values) == ("never_trained", {"names": "amber_lamp, cluster"})


def test_an_empty_split(folder: Path) -> None:
    for path in (folder / "images" / "val").iterdir():
        path.unlink()
    assert "no_pictures" in kinds(folder)


@pytest.mark.parametrize(
    "content",
    ["", "- a list", "train: images/train", "train: nowhere\nval: nowhere\nnames: [a]", "names: {0: a, 2: b}\ntrain: .",
     "train: [\n"],
)  # fmt: skip
def test_a_data_yaml_that_cannot_be_used(tmp_path: Path, content: str) -> None:
    (tmp_path / "data.yaml").write_text(content)
    with pytest.raises(DataError) as caught:
        DataSet.read(tmp_path)
    assert str(tmp_path) in caught.value.text.zh


def test_lists_of_pictures_and_names_by_number(folder: Path) -> None:
    """The other spellings that Ultralytics reads."""
    (folder / "some.txt").write_text("./images/train/1.png\n\n./images/train/2.png\n")
    content = {"train": "some.txt", "validation": ["images/val"], "names": dict(enumerate(NAMES))}
    (folder / "data.yaml").write_text(yaml.safe_dump(content))
    data = DataSet.read(folder)
    assert data.names == NAMES
    assert [path.name for path in data.split("train")] == ["1.png", "2.png"]
    assert read_labels(data.split("val")[0], NAMES)[0] == ("red_lamp", pytest.approx((0.4, 0.4, 0.6, 0.6)))
    assert label_path(Path("/images/set/images/a/b.c.jpg")) == Path("/images/set/labels/a/b.c.txt")


def test_every_kind_has_its_words() -> None:
    known = texts()
    assert {f"check.{kind}{end}" for kind in KINDS for end in ("", "_do")} <= set(known)


@pytest.mark.parametrize("lang", ["zh", "en"])
def test_the_command_says_what_to_do(folder: Path, tmp_path: Path, lang: str) -> None:
    ran = yangche("train", "check", folder / "data.yaml", home=tmp_path / "home", lang=lang)
    assert ran.status == 1
    assert texts()["check.names_missing_do"].in_(lang) in ran.out
    assert bool(re.search("[一-鿿]", ran.out)) == (lang == "zh")


def test_the_command_as_json(folder: Path, tmp_path: Path) -> None:
    ran = yangche("train", "check", folder, "--json", home=tmp_path / "home")
    assert ran.status == 1
    assert ran.json["pictures"] == {"train": 3, "val": 2}
    assert {f["kind"] for f in ran.json["findings"]} == {"names_missing", "names_unknown"}
    missing = yangche("train", "check", tmp_path / "nowhere.yaml", home=tmp_path / "home")
    assert (missing.status, missing.err.count("\n")) == (1, 1)
