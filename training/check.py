"""Checks a data set before hours are spent on it: pictures, labels, classes, and pictures that stand in two splits.

Each finding has a kind; what to say and do about it stands in app/texts.yaml under ``check``. No file, however broken,
stops the others from being checked.
"""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from training.yolo import Box, DataSet, RowError, label_path, parse_row
from vision.detector import CLUSTER
from vision.photo import PhotoError, open_photo

Level = Literal["error", "warning"]
# What must be put right before training is an error: it teaches something wrong, is dropped unseen, or flatters the
# figures. A warning may be meant.
KINDS: dict[str, Level] = {
    "names_missing": "error",
    "names_unknown": "error",
    "names_order": "error",
    "no_pictures": "error",
    "unreadable_image": "error",
    "unreadable_label": "error",
    "malformed": "error",
    "unknown_class": "error",
    "inverted": "error",
    "outside": "error",
    "same_picture": "error",
    "alike": "warning",
    "twice": "warning",
    "no_label": "warning",
    "empty_label": "warning",
    "orphan_label": "warning",
    "repeated_row": "warning",
    "tiny": "warning",
    "no_cluster": "warning",
    "never_trained": "warning",
}
TINY = 7  # pixels; nobody can name a smaller lamp, and the renderer leaves such ones out
WHOLE = 800  # pixels; a picture larger than this is a photo, in which the cluster ought to be labelled too
HASH = 16  # the perceptual hash has HASH x HASH bits
ALIKE = 10  # bits; a photo saved again or made smaller differs by fewer, another photo of the same car by far more
FLAT = 4.0  # grey levels; a picture with less contrast than this has no hash worth comparing


@dataclass(frozen=True)
class Finding:
    """Something about one place. ``values`` fill the sentence."""

    kind: str
    where: str = ""
    line: int = 0
    values: dict[str, str] = field(default_factory=dict)

    @property
    def level(self) -> Level:
        """Whether it must be put right."""
        return KINDS[self.kind]

    def to_json(self) -> dict[str, Any]:
        """As ``--json`` prints it."""
        return {"kind": self.kind, "level": self.level, "where": self.where, "line": self.line, **self.values}


@dataclass
class Report:
    """Everything found; how many pictures and boxes there are."""

    findings: list[Finding] = field(default_factory=list)
    pictures: dict[str, int] = field(default_factory=dict)
    boxes: dict[str, Counter[str]] = field(default_factory=dict)

    @property
    def must_fix(self) -> bool:
        """Whether training would be wrong."""
        return any(f.level == "error" for f in self.findings)

    def by_kind(self) -> dict[str, list[Finding]]:
        """Errors first, in the order of KINDS."""
        groups: dict[str, list[Finding]] = {kind: [] for kind in KINDS}
        for finding in self.findings:
            groups[finding.kind].append(finding)
        ordered = sorted(KINDS, key=lambda kind: KINDS[kind] != "error")
        return {kind: groups[kind] for kind in ordered if groups[kind]}


@dataclass(frozen=True)
class _Seen:
    """What one picture is recognised by."""

    split: str
    path: Path
    digest: str
    bits: NDArray[np.bool_] | None


def check(data: DataSet, contract: Sequence[str], progress: Callable[[Iterable[Any]], Iterable[Any]] = iter) -> Report:
    """Look at every picture and label of ``data``.

    Args:
        data: the data set.
        contract: the classes of the model in their order.
        progress: wraps the list of pictures, to show how far it is.
    """
    report = Report(findings=_names(data.names, contract))
    report.findings += [Finding("no_pictures", s) for s in ("train", "val") if not data.splits.get(s)]
    seen: list[_Seen] = []
    pairs = [(split, path) for split, paths in data.splits.items() for path in paths]
    for split, paths in data.splits.items():
        report.pictures[split] = len(paths)
        report.boxes[split] = Counter()
    for split, path in progress(pairs):
        size = (0, 0)
        try:
            rgb = open_photo(path).rgb
            size = rgb.shape[1], rgb.shape[0]
            seen.append(_Seen(split, path, hashlib.sha256(path.read_bytes()).hexdigest(), bits(rgb)))
        except PhotoError as error:
            values = {"zh": error.text.zh, "en": error.text.en}
            report.findings.append(Finding("unreadable_image", str(path), values=values))
        except Exception as error:  # whatever a decoder throws at one picture must not hide the others
            values = {"zh": type(error).__name__, "en": type(error).__name__}
            report.findings.append(Finding("unreadable_image", str(path), values=values))
        findings, labels = _labels(path, data.names, size)
        report.findings += findings
        report.boxes[split].update(labels)
    report.findings += _orphans(data) + _same(seen) + _alike(seen) + _untrained(report, data.names)
    return report


def _names(names: Sequence[str], contract: Sequence[str]) -> list[Finding]:
    values = {"expected": ", ".join(contract)}
    found = []
    if missing := [name for name in contract if name not in names]:
        found.append(Finding("names_missing", values={**values, "names": ", ".join(missing)}))
    if unknown := [name for name in names if name not in contract]:
        found.append(Finding("names_unknown", values={**values, "names": ", ".join(unknown)}))
    if not found and tuple(names) != tuple(contract):
        wrong = next(i for i, (a, b) in enumerate(zip(names, contract, strict=False)) if a != b or i + 1 == len(names))
        found.append(Finding("names_order", values={**values, "names": f"{wrong}: {names[wrong]}"}))
    return found


def _labels(picture: Path, names: Sequence[str], size: tuple[int, int]) -> tuple[list[Finding], list[str]]:
    """What is wrong with the labels of one picture, and the classes of the sound rows."""
    path = label_path(picture)
    if not path.is_file():
        return [Finding("no_label", str(picture))], []
    try:
        rows = path.read_bytes().decode("utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError):
        return [Finding("unreadable_label", str(path))], []
    findings: list[Finding] = []
    boxes: list[tuple[int, Box]] = []
    for number, row in enumerate(rows, start=1):
        if not row.strip():
            continue
        try:
            found = parse_row(row, len(names))
        except RowError as error:
            findings.append(Finding(error.kind, str(path), number, {"row": row.strip()[:60]}))
            continue
        if found in boxes:
            findings.append(Finding("repeated_row", str(path), number))
        boxes.append(found)
        w, h = ((found[1][i + 2] - found[1][i]) * size[i] for i in (0, 1))
        if size != (0, 0) and min(w, h) < TINY:
            findings.append(Finding("tiny", str(path), number, {"size": f"{w:.0f} x {h:.0f}"}))
    labels = [names[number] for number, _ in boxes]
    if not labels and not findings:
        findings.append(Finding("empty_label", str(path)))
    if labels and CLUSTER in names and CLUSTER not in labels and max(size) > WHOLE:
        findings.append(Finding("no_cluster", str(path)))
    return findings, labels


def _orphans(data: DataSet) -> list[Finding]:
    """Label files beside those in use that belong to no picture."""
    used = {label_path(path) for paths in data.splits.values() for path in paths}
    folders = {path.parent for path in used if path.parent.is_dir() and "labels" in path.parts}
    texts = {path for folder in folders for path in folder.glob("*.txt") if path.name != "classes.txt"}
    return [Finding("orphan_label", str(path)) for path in sorted(texts - used)]


def _same(seen: Sequence[_Seen]) -> list[Finding]:
    """Pictures with the same content, byte for byte."""
    groups: dict[str, list[_Seen]] = defaultdict(list)
    for one in seen:
        groups[one.digest].append(one)
    findings = []
    for first, *others in groups.values():
        for other in others:
            kind = "twice" if other.split == first.split else "same_picture"
            findings.append(Finding(kind, str(other.path), values={"other": str(first.path)}))
    return findings


def bits(rgb: NDArray[np.uint8]) -> NDArray[np.bool_] | None:
    """A perceptual hash: whether each part of the picture is brighter than its right neighbour."""
    grey = Image.fromarray(rgb).convert("L").resize((HASH + 1, HASH), Image.Resampling.BOX)
    values = np.asarray(grey, np.int16)
    return None if values.std() < FLAT else np.asarray(values[:, 1:] > values[:, :-1]).ravel()


def _alike(seen: Sequence[_Seen]) -> list[Finding]:
    """Pictures of different splits that look the same: saved again, made smaller, or the next frame of a film."""
    known = [(one, one.bits) for one in seen if one.bits is not None]
    if not known:
        return []
    all_bits = np.stack([b for _, b in known])
    splits = np.array([one.split for one, _ in known])
    findings = []
    for i, (one, own) in enumerate(known):
        rest = np.flatnonzero(splits[:i] != one.split)
        if not len(rest):
            continue
        distance = (all_bits[rest] != own).sum(axis=1)
        nearest = rest[int(distance.argmin())]
        if distance.min() <= ALIKE and known[nearest][0].digest != one.digest:
            findings.append(Finding("alike", str(one.path), values={"other": str(known[nearest][0].path)}))
    return findings


def _untrained(report: Report, names: Sequence[str]) -> list[Finding]:
    train = report.boxes.get("train", Counter())
    later = sum((c for split, c in report.boxes.items() if split != "train"), Counter[str]())
    missing = [name for name in names if later[name] and not train[name]]
    return [Finding("never_trained", values={"names": ", ".join(missing)})] if missing else []
