"""The evidence package of an accident: one ZIP with the original photos, copies fit to be shared, and a report.

Originals go in bit for bit. Copies are drawn anew from pixels alone, so that nothing stored beside the picture can come
along, and what is to be hidden is painted over before a copy is made smaller.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import tempfile
import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from app.paper.evidence_parts import (
    EvidenceError,
    Names,
    check_out,
    clean,
    degrees,
    evidence_error,
    photo_position,
    texts,
)
from knowledge.text import LANGS, Lang, Text, UserError

if TYPE_CHECKING:
    from PIL import Image

    from knowledge.playbook import Line, Playbook, Severity, Step
    from vision.draw import Mark
    from vision.plates import Shape, TextFinder

__all__ = ["Copy", "Evidence", "EvidenceError", "Exhibit", "Package", "Party", "told", "write_package"]

Rgb = NDArray[np.uint8]

SHARED_SIDE = 1440
"""Long side of a copy, in pixels: what messengers send. Plates too small to be found (see vision.plates.FINE) are then
too small to be read, as a rule."""
QUALITY = 88


@dataclass(frozen=True, eq=False)
class Exhibit:
    """One photo.

    Attributes:
        name: the file's name as it was given.
        original: the file, byte for byte.
        marks: the findings to draw, boxes in pixels of the upright photo.
        labels: a line for each number among ``marks``, in the order of the numbers, such as "Dent, 87 % sure"; None
            where no machine looked at the photo.
        shows: ids of the checklist's lines that the photo shows, as the owner chose.
        hide: what the owner wants hidden in the copies, in pixels of the upright photo.
    """

    name: str
    original: bytes
    marks: Sequence[Mark] = ()
    labels: Sequence[str] | None = None
    shows: Sequence[str] = ()
    hide: Sequence[Shape] = ()


@dataclass(frozen=True)
class Party:
    """One side's statement; what is empty becomes a line to write on."""

    name: str = ""
    phone: str = ""
    plate: str = ""
    licence: str = ""
    insurer: str = ""
    policy: str = ""
    account: str = ""


@dataclass(frozen=True, eq=False)
class Evidence:
    """All that is known of one accident.

    Attributes:
        when: with its time zone; None where it was not given.
        place: in the owner's words; None where it was not given.
        place_from_photo: the owner wants the place that a photo holds, where ``place`` was not given.
        checklist: what should have been photographed.
        steps: the advice that stood.
        answers: the questions that the owner answered, each with the answer.

    Raises:
        ValueError: if ``when`` lacks its time zone, or labels and numbers of an exhibit disagree.
    """

    exhibits: Sequence[Exhibit]
    severity: Severity | None = None
    when: datetime | None = None
    place: str | None = None
    place_from_photo: bool = False
    checklist: Sequence[Line] = ()
    steps: Sequence[Step] = ()
    answers: Sequence[tuple[Text, Text]] = ()
    party_a: Party = field(default_factory=Party)
    party_b: Party = field(default_factory=Party)

    def __post_init__(self) -> None:
        if self.when is not None and self.when.tzinfo is None:
            raise ValueError("when needs its time zone")
        for exhibit in self.exhibits:
            numbers = {mark.number for mark in exhibit.marks}
            if exhibit.labels is not None and len(exhibit.labels) != len(numbers):
                raise ValueError(f"{exhibit.name}: {len(exhibit.labels)} labels for {len(numbers)} numbers")

    @property
    def missing(self) -> tuple[Line, ...]:
        """Lines of the checklist that no photo shows."""
        shown = {line for exhibit in self.exhibits for line in exhibit.shows}
        return tuple(line for line in self.checklist if line.id not in shown)


@dataclass(frozen=True, eq=False)
class Copy:
    """What became of one exhibit.

    Attributes:
        number: its place among the exhibits, from 1.
        original: name of the file in ``originals/``; ``file`` is that of its copies.
        plates: how many places were covered since a number plate may be there.
    """

    number: int
    original: str
    file: str
    sha256: str
    shared: bytes
    marked: bytes
    plates: int


@dataclass(frozen=True, eq=False)
class Package:
    """What was written: where, what is still missing, and why no plates were searched for, if so."""

    path: Path
    copies: tuple[Copy, ...]
    missing: tuple[Line, ...]
    no_plates: Text | None


def told(answers: Mapping[str, str], playbook: Playbook) -> tuple[tuple[Text, Text], ...]:
    """Question id -> answer id as the words that ``Evidence.answers`` takes."""
    return tuple(
        (question.text, question.answers[answers[key]])
        for key, question in playbook.questions.items()
        if answers.get(key) in question.answers
    )


def write_package(
    evidence: Evidence,
    out: Path,
    lang: Lang = "zh",
    *,
    finder: Callable[[], TextFinder] | None = None,
    made: datetime | None = None,
) -> Package:
    """Write the package; the same evidence made at the same time gives the same bytes.

    Args:
        out: where the ZIP goes; it appears there whole or not at all.
        lang: the language of the report.
        finder: loads what finds the text of plates; default: RapidOCR. Where that fails the copies are made all the
            same, and the report says that plates were not searched for.
        made: the time to stamp on it; default: now.

    Raises:
        PhotoError: if a photo can't be read.
        EvidenceError: if there is no photo, a checklist line is unknown, or ``out`` can't be written.
    """

    from app.paper.evidence_pdf import report_pdf
    from vision.plates import find_plates, load_finder

    check_out(out)
    _check(evidence)
    looking, no_plates = None, None
    try:
        looking = (finder or load_finder)()
    except UserError as error:
        no_plates = error.text
    names = Names()
    copies = tuple(
        _copied(exhibit, number, names, lambda rgb: find_plates(rgb, looking) if looking else ())
        for number, exhibit in enumerate(evidence.exhibits, start=1)
    )
    made = made or datetime.now().astimezone()
    place = _place(evidence)
    report = report_pdf(evidence, copies, place, lang, made=made, plates_searched=looking is not None)
    files = {f"originals/{copy.original}": e.original for e, copy in zip(evidence.exhibits, copies, strict=True)}
    files |= {f"shared/{copy.file}": copy.shared for copy in copies}
    files |= {f"marked/{copy.file}": copy.marked for copy in copies}
    files |= {"report.pdf": report, "README.txt": _readme(looking is not None)}
    files["manifest.json"] = _manifest(evidence, copies, place, made, lang, looking is not None)
    sums = "".join(f"{hashlib.sha256(data).hexdigest()}  {name}\n" for name, data in files.items())
    _write(out, {**files, "SHA256SUMS": sums.encode()}, made)
    return Package(out, copies, evidence.missing, no_plates)


def _check(evidence: Evidence) -> None:
    if not evidence.exhibits:
        raise evidence_error("error.no_photo")
    known = [line.id for line in evidence.checklist]
    for exhibit in evidence.exhibits:
        for line in exhibit.shows:
            if line not in known:
                key = "error.unknown_line" if known else "error.unknown_line_none"
                raise evidence_error(key, photo=exhibit.name, line=line, known=", ".join(known))


def _copied(exhibit: Exhibit, number: int, names: Names, plates: Callable[[Rgb], Sequence[Shape]]) -> Copy:
    from PIL import Image

    from vision.draw import annotate
    from vision.photo import open_photo
    from vision.plates import cover

    photo = open_photo(exhibit.original, exhibit.name)
    try:
        rgb = cover(photo.rgb, exhibit.hide)
    except ValueError as wrong:
        raise evidence_error("error.bad_hide", photo=exhibit.name) from wrong
    found = plates(rgb)
    rgb = cover(rgb, found)
    return Copy(
        number=number,
        original=names.take(exhibit.name, exhibit.original),
        file=f"photo-{number:02}.jpg",  # a given name may say who, where or when
        sha256=hashlib.sha256(exhibit.original).hexdigest(),
        shared=_jpeg(Image.fromarray(rgb)),
        marked=_jpeg(annotate(rgb, exhibit.marks)),
        plates=len(found),
    )


def _jpeg(image: Image.Image) -> bytes:
    image.thumbnail((SHARED_SIDE, SHARED_SIDE), reducing_gap=3.0)
    file = io.BytesIO()
    image.save(file, "JPEG", quality=QUALITY)
    return file.getvalue()


def _place(evidence: Evidence) -> Text:
    """The place as the report says it: given, from the first photo that holds one if wanted, or not given."""
    given = clean(evidence.place or "").strip()
    if given:
        return Text(zh=given, en=given)
    if not evidence.place_from_photo:
        return texts()["report.not_given"]
    for exhibit in evidence.exhibits:
        if (position := photo_position(exhibit.original)) is not None:
            return texts()["report.from_gps"].filled(place=degrees(*position), photo=clean(exhibit.name))
    return texts()["report.no_gps"]


def _manifest(
    evidence: Evidence, copies: Sequence[Copy], place: Text, made: datetime, lang: Lang, plates_searched: bool
) -> bytes:
    photos = [
        {
            "number": copy.number,
            "given_name": clean(exhibit.name),
            "original": f"originals/{copy.original}",
            "bytes": len(exhibit.original),
            "sha256": copy.sha256,
            "shared": f"shared/{copy.file}",
            "marked": f"marked/{copy.file}",
            "findings": None if exhibit.labels is None else [clean(label) for label in exhibit.labels],
            "shows": list(exhibit.shows),
            "covered": {"plates": copy.plates, "by_owner": len(exhibit.hide)},
        }
        for exhibit, copy in zip(evidence.exhibits, copies, strict=True)
    ]
    content: dict[str, Any] = {
        "format": 1,
        "made": made.isoformat(timespec="seconds"),
        "report_language": lang,
        "when": evidence.when.isoformat() if evidence.when else None,
        "place": place.in_(lang),
        "severity": evidence.severity,
        "plates_searched": plates_searched,
        "photos": photos,
        "checklist": [{"id": line.id, **line.text.model_dump()} for line in evidence.checklist],
        "missing": [line.id for line in evidence.missing],
        "steps": [{"id": step.id, **step.text.model_dump()} for step in evidence.steps],
        "answers": [{"question": q.model_dump(), "answer": a.model_dump()} for q, a in evidence.answers],
    }
    return (json.dumps(content, ensure_ascii=False, indent=1) + "\n").encode()


def _readme(plates_searched: bool) -> bytes:
    """In both languages, whatever the report's: it is for whoever opens the package."""
    parts: list[str] = []
    for lang in LANGS:
        parts += [texts()["readme.text"].in_(lang)]
        parts += [] if plates_searched else [texts()["readme.no_plates"].in_(lang)]
    return ("\n\n".join(parts) + "\n").encode()


def _write(out: Path, files: Mapping[str, bytes], made: datetime) -> None:
    """The ZIP, written beside its place and moved there when it is whole."""
    stamp = made.astimezone(UTC).timetuple()[:6]
    part: Path | None = None
    try:
        with tempfile.NamedTemporaryFile(dir=out.parent, prefix=".evidence-", suffix=".part", delete=False) as file:
            part = Path(file.name)
            with zipfile.ZipFile(file, "w") as package:
                for name, data in files.items():
                    info = zipfile.ZipInfo(name, stamp)
                    info.external_attr = 0o644 << 16
                    # photos are compressed already
                    info.compress_type = zipfile.ZIP_STORED if "/" in name else zipfile.ZIP_DEFLATED
                    package.writestr(info, data)
            file.flush()
            os.fsync(file.fileno())
        part.replace(out)
    except BaseException as caught:
        if part is not None:
            part.unlink(missing_ok=True)
        if isinstance(caught, OSError):
            reason = os.strerror(caught.errno) if caught.errno else type(caught).__name__
            raise evidence_error("error.cannot_write", path=out, reason=reason) from caught
        raise
