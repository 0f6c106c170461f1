"""What trainers accepted, as a data set: YOLO (Ultralytics, CVAT) or COCO (CVAT, Label Studio).

The layouts are those that CVAT documents for "Ultralytics YOLO Detection 1.0" and "COCO 1.0"; Label Studio takes the
COCO files. A photo's checksum decides whether it is for training or validation, wherever it is exported.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import zipfile
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import yaml

from app.records.correction import Kind, Marked, classes_of, correction_error
from app.records.corrections import Corrections

Form = Literal["yolo", "coco"]
FORMS: tuple[Form, ...] = get_args(Form)
Model = Literal["lights", "scenes", "damage"]
MODELS: tuple[Model, ...] = get_args(Model)
Split = Literal["train", "val"]
SPLITS: tuple[Split, ...] = get_args(Split)

VAL_SHARE = 0.2
# The photos that each model looks at.
KINDS: Mapping[Model, Kind] = {"lights": "dashboard", "scenes": "accident", "damage": "accident"}
README = """This data set was exported by yangche from photos that owners gave for training and trainers checked.

yolo: data.yaml, images/<split>, labels/<split>
  yangche train check data.yaml --model MODEL;  yangche train MODEL --data data.yaml
  CVAT: a project with these labels, Import dataset, "Ultralytics YOLO Detection 1.0", this ZIP
coco: annotations/instances_<split>.json, images/<split>
  CVAT: Import dataset, "COCO 1.0", this ZIP
  Label Studio: label-studio-converter import coco -i annotations/instances_train.json -o tasks.json
"""


@dataclass(frozen=True)
class Picture:
    """One photo with its boxes (shares of it) of the classes that one model knows. ``width``, ``height`` in pixels."""

    id: str
    path: Path
    sha256: str
    width: int
    height: int
    boxes: tuple[Marked, ...]

    @property
    def name(self) -> str:
        """Its file's name in the data set."""
        return f"{self.id}.jpg"


def model_classes(model: Model, home: Path) -> tuple[str, ...]:
    """The classes of a model in the order of their numbers; of lights those of the catalogue, which may have new ones.

    Raises:
        ModelError: if the model that is served can't be read.
    """
    if model == "lights":
        return classes_of("dashboard")
    from models import current_folder, read_manifest

    return tuple(read_manifest(current_folder(model, home)).classes)


def pictures(corrections: Corrections, model: Model, home: Path) -> list[Picture]:
    """The accepted photos that ``model`` is trained on, in the order of their ids.

    The same photo sent twice counts once; the later decision stands.
    """
    known = set(model_classes(model, home))
    found: dict[str, tuple[str, Picture]] = {}
    for one in corrections.accepted():
        path = corrections.photo(one.id)
        if path is None or one.truth is None or one.truth.kind != KINDS[model]:
            continue
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        boxes = tuple(box for box in one.truth.boxes if box.label in known)
        picture = Picture(one.id, path, digest, one.width, one.height, boxes)
        if digest not in found or found[digest][0] <= one.decided_at:
            found[digest] = (one.decided_at, picture)
    return sorted((picture for _, picture in found.values()), key=lambda picture: picture.id)


def split(given: Sequence[Picture]) -> dict[Split, list[Picture]]:
    """One in five for validation, chosen by the photos' checksums; a small set gets its lowest checksum, so that none
    of the two parts is empty.

    Raises:
        CorrectionError: if there are fewer than two photos.
    """
    if len(given) < 2:
        raise correction_error("trainer.too_few", count=len(given))
    shares = {picture.id: int(picture.sha256[:8], 16) / 16**8 for picture in given}
    ordered = sorted(shares, key=lambda key: shares[key])
    val = {key for key in ordered if shares[key] < VAL_SHARE} or {ordered[0]}
    val -= {ordered[-1]}  # all of them below: the last one is left for training
    return {
        "train": [picture for picture in given if picture.id not in val],
        "val": [picture for picture in given if picture.id in val],
    }


def balance(given: Iterable[Picture]) -> Counter[str]:
    """How many boxes there are of each class."""
    return Counter(box.label for picture in given for box in picture.boxes)


def write_yolo(folder: Path, given: Sequence[Picture], classes: Sequence[str]) -> Path:
    """Write the data set into ``folder`` and return its data.yaml.

    Raises:
        CorrectionError: if there are fewer than two photos.
    """
    numbers = {name: number for number, name in enumerate(classes)}
    for part, chosen in split(given).items():
        images, labels = _new(folder / "images" / part), _new(folder / "labels" / part)
        for picture in chosen:
            _copy(picture.path, images / picture.name)
            rows = [f"{numbers[box.label]} {_centred(box)}\n" for box in picture.boxes]
            (labels / f"{picture.id}.txt").write_text("".join(rows), encoding="utf-8")
    # No path: Ultralytics, CVAT and yangche then start from where the file lies.
    content: dict[str, Any] = {**{part: f"images/{part}" for part in SPLITS}, "names": dict(enumerate(classes))}
    file = folder / "data.yaml"
    file.write_text(yaml.safe_dump(content, sort_keys=False, allow_unicode=True), encoding="utf-8")
    return file


def write_coco(folder: Path, given: Sequence[Picture], classes: Sequence[str]) -> list[Path]:
    """Write the data set into ``folder``; its files of annotations. Ids count from 1 over both files together.

    Raises:
        CorrectionError: if there are fewer than two photos.
    """
    written: list[Path] = []
    number, image_id = 0, 0
    _new(folder / "annotations")
    for part, chosen in split(given).items():
        images: list[dict[str, Any]] = []
        annotations: list[dict[str, Any]] = []
        place = _new(folder / "images" / part)
        for picture in chosen:
            image_id += 1
            _copy(picture.path, place / picture.name)
            images.append({"id": image_id, "file_name": picture.name, "width": picture.width, "height": picture.height})
            for box in picture.boxes:
                number += 1
                annotations.append({"id": number, "image_id": image_id, **_coco_box(picture, box, classes)})
        content = {
            "info": {"description": "yangche: checked corrections"},
            "licenses": [],
            "categories": [{"id": n, "name": name, "supercategory": ""} for n, name in enumerate(classes, start=1)],
            "images": images,
            "annotations": annotations,
        }
        file = folder / "annotations" / f"instances_{part}.json"
        file.write_text(json.dumps(content, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
        written.append(file)
    return written


def write_zip(corrections: Corrections, model: Model, form: Form, home: Path, folder: Path) -> Path:
    """The data set of ``model`` as a ZIP in ``folder``, beside the files that it was made from.

    Raises:
        CorrectionError: if there are fewer than two photos.
    """
    content = _new(folder / "content")
    write = write_yolo if form == "yolo" else write_coco
    write(content, pictures(corrections, model, home), model_classes(model, home))
    (content / "README.txt").write_text(README, encoding="utf-8")
    file = folder / f"yangche-{model}-{form}.zip"
    with zipfile.ZipFile(file, "w") as package:
        for path in sorted(p for p in content.rglob("*") if p.is_file()):
            kind = zipfile.ZIP_STORED if path.suffix == ".jpg" else zipfile.ZIP_DEFLATED
            package.write(path, path.relative_to(content).as_posix(), kind)
    return file


def _centred(box: Marked) -> str:
    x1, y1, x2, y2 = box.box
    return " ".join(f"{value:.6f}" for value in ((x1 + x2) / 2, (y1 + y2) / 2, x2 - x1, y2 - y1))


def _coco_box(picture: Picture, box: Marked, classes: Sequence[str]) -> dict[str, Any]:
    x1, y1, x2, y2 = (round(v * side, 2) for v, side in zip(box.box, (picture.width, picture.height) * 2, strict=True))
    width, height = round(x2 - x1, 2), round(y2 - y1, 2)
    return {
        "category_id": classes.index(box.label) + 1,
        "bbox": [x1, y1, width, height],
        "area": round(width * height, 2),
        "segmentation": [],
        "iscrowd": 0,
    }


def _new(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _copy(source: Path, to: Path) -> None:
    """The same bytes; as a second name of the file where the disk allows it."""
    try:
        os.link(source, to)
    except OSError:
        shutil.copyfile(source, to)
