"""Reports of mistakes: a real SQLite queue with its photos, the data sets that come of them, and who may call what."""

from __future__ import annotations

import io
import json
import os
import shutil
import sqlite3
import time
import zipfile
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from PIL import Image, ImageDraw, ImageFont

from app.advisor import Advisor
from app.api import routes as api
from app.records import corrections
from app.records.accounts import Accounts
from app.records.correction import CorrectionError, Marked, Report, Seen, Truth, Wrong, fit_to_keep
from app.records.corrections import Corrections
from app.records.dataset_export import model_classes, pictures, split, write_coco, write_yolo, write_zip
from knowledge.store import StoreError
from training.check import check
from training.yolo import DataSet, read_labels
from vision.photo import open_photo

SAMPLE = Path(__file__).parents[1] / "app" / "sample.jpg"
ACCIDENT = SAMPLE.with_name("accident.jpg")
BOX = (0.25, 0.5, 0.3125, 0.5625)
MISSED = Report(missed=(Marked(label="oil_pressure", box=BOX),), comment="漏了一个红灯，电话 13812345678")
LAMP = Truth(boxes=(Marked(label="oil_pressure", box=BOX),))


@pytest.fixture
def queue(tmp_path: Path) -> Corrections:
    return Corrections(tmp_path / "corrections")


def photo(shade: int = 0) -> np.ndarray:
    """The sample, darker for another photo."""
    return (open_photo(SAMPLE).rgb // (1 + shade)).astype(np.uint8)


def accepted(queue: Corrections, shades: int, truth: Truth = LAMP) -> list[str]:
    ids = [queue.add(MISSED, photo(shade)) for shade in range(shades)]
    for one in ids:
        queue.decide(one, "accepted", "trainer", truth)
    return ids


# --- the queue -------------------------------------------------------------------------------------------------------


def test_a_report_comes_back_as_it_was_told_with_personal_data_masked(queue: Corrections):
    seen = Seen(label="abs", box=BOX, number=1, color="amber", confidence=0.8)
    wrong = Wrong(label="abs", color="amber", really="nothing")
    told = MISSED.model_copy(update={"seen": (seen,), "wrong": (wrong,), "models": {"lights": "shipped"}})
    one = queue.get(queue.add(told))
    assert one is not None
    assert "13812345678" not in one.report.comment
    assert one.report == told.model_copy(update={"comment": one.report.comment})
    assert (one.state, one.photo, one.truth) == ("open", False, None)
    assert b"13812345678" not in b"".join(path.read_bytes() for path in queue.folder.glob("queue.sqlite*"))


def test_a_kept_photo_has_all_pixels_and_no_metadata(queue: Corrections, tmp_path: Path):
    exif = Image.Exif()
    exif[0x010F] = "SecretPhone"
    exif.get_ifd(0x8825).update({1: "N", 2: (31.0, 13.0, 0.0), 3: "E", 4: (121.0, 28.0, 0.0)})
    with Image.open(SAMPLE) as image:
        image.resize((3000, 2000)).save(tmp_path / "gps.jpg", exif=exif, comment=b"SecretPhone")
    one = queue.get(queue.add(MISSED, open_photo(tmp_path / "gps.jpg").rgb))
    path = queue.photo(one.id)
    assert b"SecretPhone" in (tmp_path / "gps.jpg").read_bytes()  # the test does test
    assert b"SecretPhone" not in path.read_bytes()
    with Image.open(path) as kept:
        assert (kept.size, (one.width, one.height)) == ((3000, 2000), (3000, 2000))
        assert not kept.getexif()
    assert path.stat().st_mode & 0o77 == 0 or queue.folder.stat().st_mode & 0o77 == 0


def test_what_says_nothing_is_refused_and_a_full_queue_takes_no_more(queue: Corrections, monkeypatch):
    with pytest.raises(CorrectionError):
        queue.add(Report(comment="   "))
    monkeypatch.setattr(corrections, "MAX_OPEN", 2)
    first, _ = queue.add(MISSED), queue.add(MISSED)
    with pytest.raises(CorrectionError):
        queue.add(MISSED, photo())
    assert list(queue.photos.iterdir()) == []
    queue.decide(first, "rejected", "trainer")
    queue.add(MISSED)


@pytest.mark.parametrize(
    "box", [(0.2, 0.2, 0.2, 0.3), (0.3, 0, 0.2, 1), (-0.1, 0, 1, 1), (0, 0, 1, 1.1), (float("nan"), 0, 1, 1)]
)
def test_a_box_that_is_none_is_refused(box: Any):
    with pytest.raises(ValueError, match="box"):
        Marked(label="abs", box=box)


def test_decisions_stand_beside_each_other_and_rejecting_deletes_the_photo(queue: Corrections):
    one = queue.add(MISSED, photo())
    queue.decide(one, "accepted", "first", LAMP, "good")
    moved = Truth(boxes=(Marked(label="abs", box=BOX),))
    assert queue.decide(one, "accepted", "second", moved).truth == moved
    assert queue.photo(one).is_file()
    again = Corrections(queue.folder)  # as after a restart
    assert [(d.by, d.note, d.truth) for d in again.history(one)] == [("first", "good", LAMP), ("second", "", moved)]
    again.decide(one, "rejected", "second", note="a blurred photo")
    assert again.photo(one) is None
    assert list(again.photos.iterdir()) == []
    assert [d.state for d in again.history(one)] == ["accepted", "accepted", "rejected"]
    with pytest.raises(CorrectionError):
        again.decide(one, "accepted", "second", LAMP)
    assert again.counts() == {"open": 0, "accepted": 0, "rejected": 1}


@pytest.mark.parametrize(
    "truth",
    [
        Truth(boxes=(Marked(box=BOX),)),
        Truth(boxes=(Marked(label="dent", box=BOX),)),
        Truth(kind="accident", boxes=(Marked(label="abs", box=BOX),)),
        Truth(kind="other", boxes=(Marked(label="abs", box=BOX),)),
    ],
)
def test_boxes_need_a_class_that_such_a_photo_may_have(queue: Corrections, truth: Truth):
    one = queue.add(MISSED, photo())
    with pytest.raises(CorrectionError):
        queue.decide(one, "accepted", "trainer", truth)
    assert queue.get(one).state == "open"
    assert queue.history(one) == []


def test_what_waits_too_long_is_deleted_but_not_what_was_decided(queue: Corrections):
    old, kept = queue.add(MISSED, photo()), accepted(queue, 1)[0]
    long_ago = (datetime.now(UTC) - timedelta(days=200)).isoformat(timespec="milliseconds")
    with sqlite3.connect(queue.path) as db:
        db.execute("UPDATE corrections SET at = ?", (long_ago,))
    for path in queue.photos.iterdir():
        os.utime(path, (time.time() - 200 * 86400,) * 2)
    queue.tidy()
    assert queue.get(old) is None
    assert [path.stem for path in queue.photos.iterdir()] == [kept]


def test_a_damaged_or_newer_queue_is_told_in_one_sentence(queue: Corrections, tmp_path: Path):
    with sqlite3.connect(queue.path) as db:
        db.execute("INSERT INTO schema_version VALUES (99, 'later', '')")
    with pytest.raises(StoreError):
        Corrections(queue.folder)
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "queue.sqlite").write_bytes(b"no database at all " * 100)
    with pytest.raises(StoreError):
        Corrections(tmp_path / "bad")


def test_plates_are_covered_except_on_dashboards(tmp_path: Path):
    image = Image.new("RGB", (900, 600), (90, 100, 110))
    draw = ImageDraw.Draw(image)
    draw.rectangle((300, 350, 620, 430), fill=(20, 60, 170))
    font = ImageFont.truetype(str(SAMPLE.parents[1] / "vision" / "NotoSansSC-subset.otf"), 58)
    draw.text((318, 350), "A 7F382K", font=font, fill="white")
    rgb, advisor = np.asarray(image), Advisor.open(tmp_path)
    assert fit_to_keep(rgb, "dashboard", advisor) is rgb
    covered = fit_to_keep(rgb, "accident", advisor)
    assert covered is not None
    assert (covered[370:410, 330:600] == 255).all(axis=2).sum() == 0  # none of the white letters is left
    assert (rgb[370:410, 330:600] == 255).all(axis=2).any()


# --- data sets -------------------------------------------------------------------------------------------------------


def test_yolo_reads_back_and_passes_the_check(queue: Corrections, tmp_path: Path):
    truth = Truth(boxes=(*LAMP.boxes, Marked(label="cluster", box=(0.1, 0.2, 0.9, 0.8))))
    ids = accepted(queue, 3, truth)
    queue.add(MISSED, photo(9))  # nobody decided on it
    classes = model_classes("lights", tmp_path)
    data = DataSet.read(write_yolo(tmp_path / "set", pictures(queue, "lights", tmp_path), classes))
    report = check(data, classes)
    assert not report.must_fix, report.findings
    assert sum(report.boxes.values(), Counter()) == Counter(oil_pressure=3, cluster=3)
    found = {path.stem: read_labels(path, data.names) for path in (*data.split("train"), *data.split("val"))}
    assert set(found) == set(ids)
    for rows in found.values():
        (label, box), _ = rows
        assert label == "oil_pressure"
        assert box == pytest.approx(BOX, abs=1e-5)


@pytest.mark.parametrize("model", ["lights", "scenes", "damage"])
def test_classes_are_numbered_as_in_training(model: Any, tmp_path: Path):
    from training.served import SERVED

    assert model_classes(model, tmp_path) == SERVED[model].recipe().classes


def coco_faults(folder: Path) -> list[str]:
    """What a strict reader would refuse: ids, references, sizes, areas, boxes outside their picture."""
    faults, seen_images, seen_boxes = [], set(), set()
    for file in sorted((folder / "annotations").glob("instances_*.json")):
        content, part = json.loads(file.read_text("utf-8")), file.stem.removeprefix("instances_")
        categories = {one["id"] for one in content["categories"]}
        images = {one["id"]: one for one in content["images"]}
        if len(images) != len(content["images"]) or seen_images & set(images):
            faults.append("an image's id stands twice")
        seen_images |= set(images)
        for image in images.values():
            with Image.open(folder / "images" / part / image["file_name"]) as opened:
                if opened.size != (image["width"], image["height"]):
                    faults.append(f"{image['file_name']} has another size")
        for one in content["annotations"]:
            x, y, w, h = one["bbox"]
            image = images.get(one["image_id"])
            if one["id"] in seen_boxes or one["category_id"] not in categories or image is None:
                faults.append(f"annotation {one['id']}: id, category or image")
                continue
            seen_boxes.add(one["id"])
            if x < 0 or y < 0 or w <= 0 or h <= 0 or x + w > image["width"] + 0.01 or y + h > image["height"] + 0.01:
                faults.append(f"annotation {one['id']}: {one['bbox']} leaves its picture")
            if one["area"] != pytest.approx(w * h, rel=1e-4) or one["iscrowd"] != 0:
                faults.append(f"annotation {one['id']}: area")
    return faults


def test_coco_is_sound_and_says_the_same_as_yolo(queue: Corrections, tmp_path: Path):
    accepted(queue, 4, Truth(boxes=(*LAMP.boxes, Marked(label="abs", box=(0.0, 0.0, 1.0, 1.0)))))
    given, classes = pictures(queue, "lights", tmp_path), model_classes("lights", tmp_path)
    files = write_coco(tmp_path / "coco", given, classes)
    assert coco_faults(tmp_path / "coco") == []
    data = DataSet.read(write_yolo(tmp_path / "yolo", given, classes))
    for file in files:
        content = json.loads(file.read_text("utf-8"))
        names = {one["id"]: one["name"] for one in content["categories"]}
        sizes = {one["id"]: (one["file_name"], one["width"], one["height"]) for one in content["images"]}
        rows: dict[str, list[tuple[str, Any]]] = {name: [] for name, *_ in sizes.values()}
        for one in content["annotations"]:
            name, width, height = sizes[one["image_id"]]
            x, y, w, h = one["bbox"]
            rows[name].append(
                (
                    names[one["category_id"]],
                    pytest.approx((x / width, y / height, (x + w) / width, (y + h) / height), abs=1e-4),
                )
            )
        for path in data.split(file.stem.removeprefix("instances_")):
            assert read_labels(path, data.names) == rows[path.name]
    broken = json.loads(files[0].read_text("utf-8"))
    broken["annotations"][0]["area"] += 100
    files[0].write_text(json.dumps(broken), "utf-8")
    assert coco_faults(tmp_path / "coco")  # the check can fail


def test_a_photo_stays_on_its_side_whatever_comes_later(queue: Corrections, tmp_path: Path):
    accepted(queue, 8)
    before = split(pictures(queue, "lights", tmp_path))
    assert split(pictures(queue, "lights", tmp_path)) == before
    for shade in range(8, 20):
        queue.decide(queue.add(MISSED, photo(shade)), "accepted", "trainer", LAMP)
    after = split(pictures(queue, "lights", tmp_path))
    assert {p.id for p in before["train"]} & {p.id for p in after["val"]} == set() or len(before["val"]) == 1
    assert len(after["train"]) + len(after["val"]) == 20
    assert after["val"]


def test_one_photo_sent_twice_counts_once_and_one_photo_is_no_data_set(queue: Corrections, tmp_path: Path):
    first, second = queue.add(MISSED, photo()), queue.add(MISSED, photo())
    queue.decide(first, "accepted", "trainer", LAMP)
    queue.decide(second, "accepted", "trainer", Truth())
    (only,) = pictures(queue, "lights", tmp_path)
    assert (only.id, only.boxes) == (second, ())
    with pytest.raises(CorrectionError):
        write_yolo(tmp_path / "set", [only], model_classes("lights", tmp_path))


def test_an_accident_is_for_scenes_and_damage_not_for_lights(queue: Corrections, tmp_path: Path):
    boxes = (Marked(label="dent", box=BOX), Marked(label="fire", box=BOX))
    queue.decide(queue.add(MISSED, photo()), "accepted", "trainer", Truth(kind="accident", boxes=boxes))
    found = {
        m: [b.label for p in pictures(queue, m, tmp_path) for b in p.boxes] for m in ("lights", "scenes", "damage")
    }
    assert found == {"lights": [], "scenes": ["fire"], "damage": ["dent"]}


# --- the API ---------------------------------------------------------------------------------------------------------

PASSWORD = "correct horse"
TRAINER_ROUTES = [("GET", ""), ("GET", "/export"), ("GET", "/x"), ("GET", "/x/photo"), ("POST", "/x/decision")]


@pytest.fixture
def site(home: Path) -> Iterator[TestClient]:
    accounts = Accounts.open(home)
    for role in ("technician", "trainer"):
        accounts.add(role, PASSWORD, role)
    app = FastAPI(openapi_url=None)
    api.mount(app, Advisor.open(home), accounts)
    with TestClient(app, base_url="http://testserver/api/v1") as client:
        yield client


def bearer(site: TestClient, role: str) -> dict[str, str]:
    token = site.post("login", json={"name": role, "password": PASSWORD}).json()["token"]
    site.cookies.clear()
    return {"Authorization": f"Bearer {token}"}


def test_only_trainers_get_at_the_queue(site: TestClient):
    technician, trainer = bearer(site, "technician"), bearer(site, "trainer")
    for method, path in TRAINER_ROUTES:
        assert site.request(method, f"corrections{path}").status_code == 401
        assert site.request(method, f"corrections{path}", headers=technician).status_code == 403
        body = {"state": "rejected"} if method == "POST" else None
        assert site.request(method, f"corrections{path}", headers=trainer, json=body).status_code in {200, 400, 404}


def test_from_report_to_data_set(site: TestClient, home: Path, tmp_path: Path):
    report = {"missed": [{"label": "oil_pressure", "box": BOX}]}
    trainer = bearer(site, "trainer")
    ids = []
    for shade in (0, 1):
        buffer = io.BytesIO()
        Image.fromarray(photo(shade)).save(buffer, "JPEG")
        files = {"photo": ("IMG.jpg", buffer.getvalue())}
        came = site.post("corrections", data={"report": json.dumps(report), "consent": "true"}, files=files)
        assert came.status_code == 201, came.text
        assert came.json()["photo"] is True
        ids.append(came.json()["correction_id"])
    assert [one["correction_id"] for one in site.get("corrections?state=open", headers=trainer).json()] == ids
    got = site.get(f"corrections/{ids[0]}/photo", headers=trainer)
    assert (got.headers["content-type"], got.headers["cache-control"]) == ("image/jpeg", "private, no-store")
    for one in ids:
        body = {"state": "accepted", "boxes": [{"label": "abs", "box": BOX}], "note": "an ABS lamp"}
        assert site.post(f"corrections/{one}/decision", json=body, headers=trainer).json()["state"] == "accepted"
    assert site.get(f"corrections/{ids[0]}", headers=trainer).json()["decisions"][0]["by"] == "trainer"
    for form in ("yolo", "coco"):
        export = site.get(f"corrections/export?model=lights&format={form}", headers=trainer)
        assert export.headers["content-type"] == "application/zip"
        with zipfile.ZipFile(io.BytesIO(export.content)) as package:
            package.extractall(tmp_path / form)
    data = DataSet.read(tmp_path / "yolo")
    assert [read_labels(p, data.names)[0][0] for s in ("train", "val") for p in data.split(s)] == ["abs", "abs"]
    assert coco_faults(tmp_path / "coco") == []
    assert list((home / "corrections").glob(".export-*")) == []


@pytest.mark.parametrize(
    ("data", "photo", "status"),
    [
        ({"report": "no json"}, False, 400),
        ({"report": '{"missed": [{"box": [0, 0, 2, 2]}]}'}, False, 400),
        ({"report": '{"unheard_of": 1}'}, False, 400),
        ({"report": "{}"}, False, 400),
        ({"report": '{"comment": "x"}'}, True, 400),  # no consent
        ({"report": '{"comment": "x"}', "consent": "true"}, None, 400),  # no photo at all
        ({}, False, 422),
        ({"report": '{"comment": "x"}'}, False, 201),
    ],
)
def test_what_cannot_be_taken_is_told(site: TestClient, home: Path, data: dict[str, str], photo: Any, status: int):
    content = {True: SAMPLE.read_bytes(), None: b"not a photo"}.get(photo)
    files = {"photo": ("a.jpg", content)} if content else None
    answer = site.post("corrections", data=data, files=files)
    assert answer.status_code == status, answer.text
    if status != 201:
        assert set(answer.json()["error"]) == {"zh", "en"}
    assert list((home / "corrections").glob("photos/*")) == []


def test_an_address_may_not_flood_the_queue(site: TestClient):
    told = [
        site.post("corrections", data={"report": '{"comment": "x"}'}).status_code for _ in range(corrections.BURST + 1)
    ]
    assert told == [201] * corrections.BURST + [429]


def test_a_zip_says_how_to_open_it(queue: Corrections, tmp_path: Path):
    accepted(queue, 2)
    (tmp_path / "out").mkdir()
    file = write_zip(queue, "lights", "coco", tmp_path, tmp_path / "out")
    with zipfile.ZipFile(file) as package:
        names = package.namelist()
        assert "CVAT" in package.read("README.txt").decode()
    assert {"annotations/instances_train.json", "annotations/instances_val.json"} <= set(names)
    shutil.rmtree(tmp_path / "out")
