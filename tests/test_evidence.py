"""The evidence package: real photos in, a real ZIP and a real PDF out; what is in them and what must not be."""

from __future__ import annotations

import hashlib
import io
import json
import shutil
import subprocess
import zipfile
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import numpy as np
import pillow_heif
import pymupdf
import pytest
import typer
from PIL import Image, ImageDraw
from typer.testing import CliRunner

from app.commands.evidence import Seen, add_to
from app.paper.evidence import Evidence, EvidenceError, Exhibit, Party, told, write_package
from app.paper.evidence_parts import Names, photo_position, texts
from knowledge.playbook import Scene, SceneAdvice, advise, load_playbook
from knowledge.text import LANGS, UserError
from vision.draw import Mark
from vision.photo import PhotoError
from vision.plates import FILL, FoundText
from vision.reading import ReadingError

MADE = datetime(2025, 11, 25, 9, 0, tzinfo=timezone(timedelta(hours=8)))
WHEN = datetime(2025, 11, 25, 8, 30, tzinfo=timezone(timedelta(hours=8)))
SECRET = b"photographed-by-Wang"
ANSWERS = {"hurt": "no", "burning": "no", "other": "present", "agree": "yes"}
MARK = Mark((300, 200, 420, 300), 1, "凹陷", "first")


class Plates:
    """Finds the one plate that the drawn photos hold."""

    def find(self, rgb: np.ndarray) -> Sequence[FoundText]:
        return [FoundText("沪A12345", (100, 400, 220, 440), 0.9)]


class NoPlates:
    def find(self, rgb: np.ndarray) -> Sequence[FoundText]:
        return []


def no_reader() -> NoPlates:
    raise ReadingError("读不了仪表上的文字，因为没有装 rapidocr。", "Text can't be read: rapidocr is not installed.")


def scene(seed: int = 1, size: tuple[int, int] = (640, 480)) -> Image.Image:
    """A picture that no two pixels of are alike, with a patch where a plate is."""
    rng = np.random.default_rng(seed)
    small = rng.integers(60, 200, (size[1] // 16, size[0] // 16, 3), np.uint8)
    image = Image.fromarray(small).resize(size, Image.Resampling.BICUBIC)
    ImageDraw.Draw(image).text((110, 405), "A12345", (255, 255, 255), font_size=32)
    return image


def jpeg(image: Image.Image | None = None, orientation: int = 1, gps: bool = True) -> bytes:
    """A photo as a phone makes it: EXIF with the place, a thumbnail, XMP, a comment."""
    image = image or scene()
    exif = Image.Exif()
    exif[0x0112] = orientation
    exif[0x013B] = SECRET.decode()
    if gps:
        exif.get_ifd(0x8825).update({1: "N", 2: (31.0, 14.0, 24.0), 3: "E", 4: (121.0, 29.0, 24.0)})
    file = io.BytesIO()
    xmp = b"<x:xmpmeta xmlns:x='adobe:ns:meta/'>" + SECRET + b"</x:xmpmeta>"
    image.save(file, "JPEG", quality=95, exif=exif.tobytes(), xmp=xmp, comment=SECRET, icc_profile=None)
    assert SECRET in file.getvalue()
    return file.getvalue()


def saved(image: Image.Image, kind: str, **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


@pytest.fixture(scope="module")
def advice() -> SceneAdvice:
    return advise(Scene(frozenset({"dent", "accident_vehicle"}), "moderate"), ANSWERS)


def evidence(*exhibits: Exhibit, advice: SceneAdvice | None = None, **more) -> Evidence:
    if advice is not None:
        more = {"checklist": advice.photograph, "steps": advice.steps, **more}
    return Evidence(exhibits=exhibits or (Exhibit("IMG_1.jpg", jpeg()),), **more)


def packed(tmp_path: Path, given: Evidence, lang="zh", finder=Plates) -> tuple[zipfile.ZipFile, dict[str, bytes]]:
    out = tmp_path / "evidence.zip"
    package = write_package(given, out, lang, finder=finder, made=MADE)
    assert package.path == out
    archive = zipfile.ZipFile(out)
    assert archive.testzip() is None
    return archive, {name: archive.read(name) for name in archive.namelist()}


def pages_of(pdf: bytes) -> list[str]:
    """The text of each page, with no line ends in it."""
    with pymupdf.open(stream=pdf) as document:
        return ["".join(page.get_text().split("\n")) for page in document]


def text_of(pdf: bytes) -> str:
    return "".join(pages_of(pdf))


def rgb_of(data: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(data)))


def is_painted_over(patch: np.ndarray) -> bool:
    """Whether there is one colour, but for what JPEG brings in from the edges."""
    off = np.abs(patch.astype(int) - FILL)
    return bool(off.max() <= 30 and off.mean() <= 3)


# --- the ZIP -------------------------------------------------------------------------------------------------------


def test_what_is_in_it(tmp_path, advice) -> None:
    originals = jpeg(), saved(scene(2), "PNG")
    given = evidence(Exhibit("IMG_1.jpg", originals[0]), Exhibit("b.png", originals[1]), advice=advice)
    archive, files = packed(tmp_path, given)
    assert set(files) == {
        "originals/IMG_1.jpg", "originals/b.png", "shared/photo-01.jpg", "shared/photo-02.jpg", "marked/photo-01.jpg",
        "marked/photo-02.jpg", "report.pdf", "manifest.json", "README.txt", "SHA256SUMS",
    }  # fmt: skip
    assert files["originals/IMG_1.jpg"] == originals[0]
    assert files["originals/b.png"] == originals[1]
    assert list(tmp_path.iterdir()) == [tmp_path / "evidence.zip"]
    assert {info.date_time for info in archive.infolist()} == {(2025, 11, 25, 1, 0, 0)}


def test_names_are_safe_and_given_once(tmp_path) -> None:
    names = [
        "../../etc/x.jpg", "C:\\Users\\wang\\x.JPG", "/abs/x.jpg", "x.jpg", "..", "", "con.jpg", "a\nb\x00.jpg",
        "照片.jpg", "photo.exe", "é" * 300 + ".jpg", "-rf.jpg", "\u202egpj.exe", "\udc80.jpg", 'a<b>:"|?*.jpg',
    ]  # fmt: skip
    _, files = packed(tmp_path, evidence(*(Exhibit(name, jpeg()) for name in names)))
    kept = [name for name in files if name.startswith("originals/")]
    assert len({name.casefold() for name in kept}) == len(names)
    for name in kept:
        plain = name.removeprefix("originals/")
        assert len(plain.encode()) < 200
        assert plain.lower().endswith(".jpg")
        assert not set(plain) & set('/\\<>:"|?*\n\x00\u202e')
        assert plain[0] not in ".-"
    assert kept[:4] == ["originals/x.jpg", "originals/x-2.JPG", "originals/x-3.jpg", "originals/x-4.jpg"]
    assert {"originals/_con.jpg", "originals/照片.jpg", "originals/photo.exe.jpg", "originals/rf.jpg"} <= set(kept)
    names = Names()
    assert names.take("clip.mov", saved(scene(), "PNG")) == "clip.mov.png"


def test_the_sums_are_right(tmp_path) -> None:
    archive, files = packed(tmp_path, evidence(Exhibit("照片 1.jpg", jpeg()), Exhibit("照片 1.jpg", jpeg(scene(2)))))
    lines = files["SHA256SUMS"].decode().splitlines()
    assert {line.split("  ", 1)[1] for line in lines} == set(files) - {"SHA256SUMS"}
    for line in lines:
        digest, name = line.split("  ", 1)
        assert hashlib.sha256(files[name]).hexdigest() == digest
    if tool := shutil.which("sha256sum"):
        archive.extractall(tmp_path / "there")
        command = [tool, "--strict", "-c", "SHA256SUMS"]
        assert subprocess.run(command, cwd=tmp_path / "there", check=False, capture_output=True).returncode == 0
        (tmp_path / "there" / "originals" / "照片 1.jpg").write_bytes(jpeg(scene(3)))
        assert subprocess.run(command, cwd=tmp_path / "there", check=False, capture_output=True).returncode == 1


def test_the_same_evidence_gives_the_same_bytes(tmp_path, advice) -> None:
    given = evidence(advice=advice, when=WHEN, party_a=Party(name="王五"))
    write_package(given, tmp_path / "a.zip", finder=Plates, made=MADE)
    write_package(given, tmp_path / "b.zip", finder=Plates, made=MADE)
    assert (tmp_path / "a.zip").read_bytes() == (tmp_path / "b.zip").read_bytes()


def test_the_manifest(tmp_path, advice) -> None:
    exhibit = Exhibit("IMG_1.jpg", jpeg(), (MARK,), ("凹陷，把握 87%",), shows=("front",), hide=((1, 1, 9, 9),))
    _, files = packed(tmp_path, evidence(exhibit, advice=advice, when=WHEN, severity="severe"))
    manifest = json.loads(files["manifest.json"])
    (photo,) = manifest["photos"]
    assert photo["sha256"] == hashlib.sha256(exhibit.original).hexdigest()
    assert photo["covered"] == {"plates": 1, "by_owner": 1}
    assert photo["findings"] == ["凹陷，把握 87%"]
    assert manifest["when"] == "2025-11-25T08:30:00+08:00"
    assert manifest["severity"] == "severe"
    assert "front" not in manifest["missing"]
    assert "plates" in manifest["missing"]
    assert manifest["plates_searched"] is True
    assert b"12345" not in files["manifest.json"]  # what was covered is told nowhere else


def test_the_readme_is_in_both_languages(tmp_path) -> None:
    readme = packed(tmp_path, evidence())[1]["README.txt"].decode()
    assert "只交给警察和保险公司" in readme
    assert "To others send only shared, marked and report.pdf" in readme
    assert "NOT searched" not in readme


# --- copies --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("folder", ["shared", "marked"])
def test_copies_hold_nothing_but_the_picture(tmp_path, folder) -> None:
    _, files = packed(tmp_path, evidence(Exhibit("a.jpg", jpeg(orientation=6))))
    copy = files[f"{folder}/photo-01.jpg"]
    image = Image.open(io.BytesIO(copy))
    assert not dict(image.getexif())
    assert set(image.info) <= {"jfif", "jfif_version", "jfif_unit", "jfif_density"}
    for trace in (SECRET, b"Exif", b"adobe", b"xmp", b"GPS"):
        assert trace not in copy
    assert b"\xff\xd8" not in copy[2:]  # no thumbnail
    assert SECRET not in files["report.pdf"]


def test_copies_stand_upright_and_are_not_too_large(tmp_path) -> None:
    _, files = packed(tmp_path, evidence(Exhibit("a.jpg", jpeg(scene(size=(2400, 1600)), orientation=6))))
    assert Image.open(io.BytesIO(files["shared/photo-01.jpg"])).size == (960, 1440)


def test_heic_photos(tmp_path) -> None:
    pillow_heif.register_heif_opener()
    original = saved(scene(), "HEIF", exif=Image.open(io.BytesIO(jpeg())).getexif().tobytes())
    assert photo_position(original) == pytest.approx((31.24, 121.49))
    _, files = packed(tmp_path, evidence(Exhibit("IMG_1.HEIC", original)))
    assert files["originals/IMG_1.HEIC"] == original
    assert Image.open(io.BytesIO(files["shared/photo-01.jpg"])).size == (640, 480)
    assert b"Exif" not in files["shared/photo-01.jpg"]


def test_what_is_hidden_is_gone(tmp_path) -> None:
    """Photos that differ under the plate and in what the owner hid give the same copies, bit for bit."""
    image = scene()
    other = image.copy()
    draw = ImageDraw.Draw(other)
    draw.rectangle((102, 402, 218, 438), fill=(250, 250, 0))
    draw.ellipse((310, 60, 350, 100), fill=(0, 0, 250))
    hide = ((300, 50, 360, 110), ((500, 10), (600, 10), (550, 90)))
    copies = []
    for number, picture in enumerate((image, other)):
        folder = tmp_path / str(number)
        folder.mkdir()
        _, files = packed(folder, evidence(Exhibit("a.png", saved(picture, "PNG"), (MARK,), ("凹陷",), hide=hide)))
        copies.append((files["shared/photo-01.jpg"], files["marked/photo-01.jpg"], files["report.pdf"][:0]))
    assert copies[0] == copies[1]
    shared = rgb_of(copies[0][0])
    for patch in (shared[402:438, 102:218], shared[52:108, 302:358], shared[15:40, 545:555]):
        assert is_painted_over(patch)
    assert np.abs(shared[200:300, 40:90].astype(int) - np.asarray(image)[200:300, 40:90]).mean() < 6


def test_marks_are_drawn_into_the_marked_copy_alone(tmp_path) -> None:
    _, files = packed(tmp_path, evidence(Exhibit("a.jpg", jpeg(), (MARK,), ("凹陷",))))
    shared, marked = rgb_of(files["shared/photo-01.jpg"]), rgb_of(files["marked/photo-01.jpg"])
    assert np.abs(shared.astype(int) - marked).max() > 100
    assert np.abs(shared[:150].astype(int) - marked[:150]).mean() < 6
    assert is_painted_over(marked[402:438, 102:218])  # plates are covered there, too


def test_without_a_reader_it_goes_on_and_says_so(tmp_path) -> None:
    out = tmp_path / "e.zip"
    for lang, said in (("zh", "没有查找车牌"), ("en", "Number plates were NOT searched for")):
        package = write_package(evidence(), out, lang, finder=no_reader)
        assert package.no_plates is not None
        files = zipfile.ZipFile(out)
        assert said in text_of(files.read("report.pdf"))
        assert "NOT searched for" in files.read("README.txt").decode()
        assert json.loads(files.read("manifest.json"))["plates_searched"] is False
        assert files.read("shared/photo-01.jpg")


# --- the report ----------------------------------------------------------------------------------------------------


def full(advice: SceneAdvice, lang: str) -> Evidence:
    label = {"zh": "凹陷，左前门，把握 87%", "en": "Dent, front left door, 87 % sure"}[lang]
    seen = Exhibit("IMG_1.jpg", jpeg(), (MARK,), (label,), shows=("front", "contact"), hide=((1, 1, 40, 40),))
    unseen = Exhibit("IMG_2.jpg", jpeg(scene(2)))
    party = Party("王五 Wang", "138 0000 0000", "沪A·12345", "310000199001010000", "平安 Ping An", "P-77", "他变道。")
    book = load_playbook()
    return evidence(
        seen, unseen, advice=advice, when=WHEN, place="世纪大道 1 号 Century Avenue", severity="moderate",
        answers=told(ANSWERS, book), party_a=party,
    )  # fmt: skip


@pytest.mark.parametrize("lang", LANGS)
def test_what_the_report_says(tmp_path, advice, lang) -> None:
    given = full(advice, lang)
    _, files = packed(tmp_path, given, lang)
    report = text_of(files["report.pdf"]).replace(" ", "")

    def says(text: str) -> bool:
        return "".join(text.split()) in report

    words = {key: text.in_(lang) for key, text in texts().items()}
    for key in (
        "report.title", "report.machine", "severity.moderate", "seen.not_looked", "section.steps", "section.answers",
        "party.note", "party.signature", "party.date", "photo.note", "checklist.missing_do",
    ):  # fmt: skip
        assert says(words[key]), key
    assert not says(words["report.no_plates"])
    assert says({"zh": "2025年11月25日 08:30（UTC+08:00）", "en": "2025-11-25 08:30 (UTC+08:00)"}[lang])
    assert says("世纪大道 1 号 Century Avenue")
    assert says(given.exhibits[0].labels[0])
    for exhibit in given.exhibits:
        assert says(exhibit.name)
        assert says(hashlib.sha256(exhibit.original).hexdigest())
    for line in given.checklist:
        assert says(line.text.in_(lang))
    missing = [line for line in given.checklist if line.id not in ("front", "contact")]
    assert list(given.missing) == missing != []
    assert says(words["checklist.missing"].format(count=len(missing)))
    assert report.count(words["checklist.is_missing"].replace(" ", "")) >= len(missing)
    assert all(says("• " + line.text.in_(lang)) for line in missing)
    for step in given.steps:
        assert says(step.text.in_(lang))
    for question, answer in given.answers:
        assert says(question.in_(lang) + answer.in_(lang))
    for value in ("王五 Wang", "138 0000 0000", "沪A·12345", "310000199001010000", "平安 Ping An", "P-77", "他变道。"):
        assert says(value)
    pages = pages_of(files["report.pdf"])
    for number, page in enumerate(pages, start=1):
        assert words["report.footer"].format(page=number, pages=len(pages)) in page


def test_what_is_not_known_is_said_to_be_unknown(tmp_path) -> None:
    _, files = packed(tmp_path, evidence(), "en")
    report = text_of(files["report.pdf"])
    assert "Time of the accidentnot given" in report
    assert "Placenot given" in report
    assert "could not be told" in report
    assert "There is no list for this situation" in report


def test_nothing_is_missing(tmp_path, advice) -> None:
    everything = tuple(line.id for line in advice.photograph)
    _, files = packed(tmp_path, evidence(Exhibit("a.jpg", jpeg(), shows=everything), advice=advice), "en")
    report = text_of(files["report.pdf"])
    assert "Everything on the list was photographed" in report
    assert "MISSING" not in report


LONG = (
    "一二三四五六七八九十，没有空格的很长的一段话。" * 120
    + "\n"
    + "word " * 900
    + "\n"
    + "x" * 3000
    + "\n"
    + "😀ก🚗" * 30
)


@pytest.mark.parametrize("lang", LANGS)
def test_long_texts_and_many_photos_are_neither_cut_nor_laid_over_each_other(tmp_path, advice, lang) -> None:
    sizes = [(640, 480), (480, 640), (640, 200), (200, 640)]
    exhibits = [
        Exhibit(
            f"{n} " + "很长的名字 long name " * 8 + ".jpg",
            jpeg(scene(n, sizes[n % 4])),
            (MARK,),
            ("凹陷 dent " * (60 if n == 3 else 3),),
            shows=[line.id for line in advice.photograph[: n % 3]],
            hide=((1, 1, 30, 30),),
        )
        for n in range(12)
    ]
    party = Party(*["很长 long " * 30] * 6, account=LONG)
    given = evidence(*exhibits, advice=advice, place="上海 Shanghai " * 60, party_a=party, party_b=party)
    _, files = packed(tmp_path, given, lang, NoPlates)
    assert len(files["report.pdf"]) < 12 * 150_000
    report = text_of(files["report.pdf"]).replace(" ", "")
    assert report.count("一二三四五六七八九十") == 2 * 120
    assert report.count("word") == 2 * 900
    assert report.count("x" * 40) > 2 * 3000 / 100
    with pymupdf.open(stream=files["report.pdf"]) as document:
        assert len(document.get_toc()) >= 5
        for page in document:
            check_layout(page)


def check_layout(page: pymupdf.Page) -> None:
    """Lines of text stay on the page, off each other and off pictures."""
    lines = [
        pymupdf.Rect(line["bbox"])
        for block in page.get_text("dict")["blocks"]
        for line in block.get("lines", ())
        if "".join(span["text"] for span in line["spans"]).strip()
    ]
    pictures = [pymupdf.Rect(info["bbox"]) for info in page.get_image_info()]
    assert len(pictures) <= 3
    for box in [*lines, *pictures]:
        assert 40 < box.x0 < box.x1 < 595 - 40
        assert 40 < box.y0 < box.y1 < 842 - 20
    for i, a in enumerate(lines):
        for b in lines[i + 1 :]:
            both = a & b
            assert both.is_empty or both.height < 0.45 * min(a.height, b.height) or both.width < 1, (a, b)
        for picture in pictures:
            assert (a & picture).is_empty or (a & picture).height < 3


def test_the_place_comes_from_a_photo_only_if_asked(tmp_path) -> None:
    photos = Exhibit("a.png", saved(scene(), "PNG")), Exhibit("b.jpg", jpeg())
    assert "31.24" not in text_of(packed(tmp_path, evidence(*photos), "en")[1]["report.pdf"])
    report = text_of(packed(tmp_path, evidence(*photos, place_from_photo=True), "en")[1]["report.pdf"])
    assert "31.24000° N, 121.49000° E (position stored in photo “b.jpg”; not exact)" in report
    report = text_of(packed(tmp_path, evidence(*photos, place_from_photo=True, place="home"), "en")[1]["report.pdf"])
    assert "31.24" not in report
    report = text_of(packed(tmp_path, evidence(photos[0], place_from_photo=True), "en")[1]["report.pdf"])
    assert "no photo holds a position" in report


def test_positions_that_make_no_sense() -> None:
    assert photo_position(jpeg()) == pytest.approx((31.24, 121.49))
    assert photo_position(jpeg(gps=False)) is None
    assert photo_position(b"no photo") is None
    assert photo_position(jpeg()[:60]) is None
    for latitude in ((0, 0, 0), (95, 0, 0)):
        exif = Image.Exif()
        exif.get_ifd(0x8825).update({1: "N", 2: latitude, 3: "E", 4: (0, 0, 0)})
        assert photo_position(saved(scene(), "JPEG", exif=exif.tobytes())) is None


# --- what cannot be ------------------------------------------------------------------------------------------------


def test_bad_evidence_gives_one_sentence_and_leaves_nothing_behind(tmp_path, advice) -> None:
    out = tmp_path / "e.zip"
    good = Exhibit("good.jpg", jpeg())
    cases = [
        (evidence(good, Exhibit("bad.jpg", b"\xff\xd8\xff" + b"x" * 900)), PhotoError, "bad.jpg is damaged"),
        (evidence(Exhibit("film.mp4", b"\0\0\0\x18ftypmp42" + b"x" * 50)), PhotoError, "is a video"),
        (Evidence(exhibits=()), EvidenceError, "holds no photo"),
        (
            evidence(Exhibit("a.jpg", jpeg(), shows=("moon",)), advice=advice),
            EvidenceError,
            "no line “moon”.*front, rear, contact",
        ),
        (evidence(Exhibit("a.jpg", jpeg(), shows=("front",))), EvidenceError, "no list for this situation"),
        (evidence(Exhibit("a.jpg", jpeg(), hide=((1, 2, 3),))), EvidenceError, "An area to hide in photo “a.jpg”"),
    ]
    for given, kind, said in cases:
        with pytest.raises(kind, match=said) as caught:
            write_package(given, out, finder=NoPlates)
        assert isinstance(caught.value, UserError)
        assert caught.value.text.zh
        assert list(tmp_path.iterdir()) == []


def test_an_out_that_cannot_be_written(tmp_path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_text("mine")
    for out in (tmp_path / "folder", tmp_path / "none" / "e.zip", tmp_path / "file" / "e.zip"):
        with pytest.raises(EvidenceError, match="cannot be written to"):
            write_package(evidence(), out, finder=NoPlates)
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["file", "folder"]


def test_a_package_that_is_there_survives_a_failure(tmp_path, monkeypatch) -> None:
    out = tmp_path / "e.zip"
    write_package(evidence(), out, finder=NoPlates, made=MADE)
    before = out.read_bytes()

    def full_disk(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(zipfile.ZipFile, "writestr", full_disk)
    with pytest.raises(EvidenceError, match="No space left on device"):
        write_package(evidence(), out, finder=NoPlates)
    assert out.read_bytes() == before
    assert list(tmp_path.iterdir()) == [out]


def test_what_only_a_programmer_gets_wrong() -> None:
    with pytest.raises(ValueError, match="time zone"):
        evidence(when=datetime(2025, 11, 25))
    with pytest.raises(ValueError, match="0 labels for 1 numbers"):
        evidence(Exhibit("a.jpg", b"", (MARK,), ()))
    assert evidence(when=datetime(2025, 11, 25, tzinfo=UTC)).when


# --- the command ---------------------------------------------------------------------------------------------------


def command(*arguments: object, diagnose=None):
    app = typer.Typer()
    add_to(app, diagnose, NoPlates)
    app.command("other")(lambda: None)  # with one command alone typer leaves its name out
    return CliRunner().invoke(app, ["evidence", *map(str, arguments)])


@pytest.fixture
def photos(tmp_path) -> list[Path]:
    paths = [tmp_path / "one.jpg", tmp_path / "two=2.jpg"]
    for number, path in enumerate(paths):
        path.write_bytes(jpeg(scene(number)))
    return paths


def looks(data: bytes, name: str, lang: str) -> Seen:
    assert data.startswith(b"\xff\xd8")
    return Seen((MARK,), (f"{name}: {lang}",), frozenset({"dent"}), "minor" if name == "one.jpg" else "severe")


def test_the_command(tmp_path, photos, home) -> None:
    out = tmp_path / "out.zip"
    ran = command(
        *photos, "--out", out, "--lang", "en", "--time", "2025-11-25T08:30+08:00", "--place", "Century Avenue",
        "--shows", "one.jpg=front,rear", "--shows", "2=contact", "--hide", "two=2.jpg=10,10,60,60", "--hide",
        "one.jpg=0,0,50,0,0,50", "--answer", "burning=no", "--party-a", "name=Wang", "--party-b", "account=He = wrong",
        diagnose=lambda: looks,
    )  # fmt: skip
    assert ran.exception is None, ran.output
    assert "Evidence package:" in ran.stdout
    assert "Still missing: Both number plates" in ran.stdout
    files = zipfile.ZipFile(out)
    manifest = json.loads(files.read("manifest.json"))
    assert [photo["shows"] for photo in manifest["photos"]] == [["front", "rear"], ["contact"]]
    assert manifest["severity"] == "severe"
    assert manifest["photos"][0]["findings"] == ["one.jpg: en"]
    assert is_painted_over(rgb_of(files.read("shared/photo-02.jpg"))[12:58, 12:58])
    report = text_of(files.read("report.pdf"))
    for said in ("Century Avenue", "2025-11-25 08:30 (UTC+08:00)", "Wang", "He = wrong", "No, none of it"):
        assert said in report


def test_the_command_without_a_machine_that_looks(tmp_path, photos, home) -> None:
    ran = command(photos[0], "--out", tmp_path / "out.zip", "--time", "2025-11-25T08:30")
    assert ran.exception is None
    report = text_of(zipfile.ZipFile(tmp_path / "out.zip").read("report.pdf"))
    assert "没有用机器看这张照片" in report
    assert "2025年11月25日" in report


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--shows", "three.jpg=front"], "not among those given.*1 one.jpg, 2 two=2.jpg"),
        (["--shows", "3=front"], "not among those given"),
        (["--shows", "front"], "--shows takes PHOTO="),
        (["--shows", "1=moon"], "no line “moon”"),
        (["--hide", "1=1,2,3"], "An area to hide in photo “one.jpg”"),
        (["--hide", "1=a,b,c,d"], "An area to hide in photo “one.jpg”"),
        (["--party-a", "shoe=42"], "no field “shoe”.*name, phone, plate"),
        (["--time", "yesterday"], "“yesterday” cannot be read: write it as 2026-11-25T08:30"),
        (["--answer", "hurt=maybe"], "has no answer 'maybe'"),
        (["--region", "moon"], "no region 'moon'"),
        (["--out", "PHOTO"], "would be overwritten"),
    ],
)
def test_options_that_say_nothing_useful(tmp_path, photos, home, options, said) -> None:
    out = tmp_path / "out.zip"
    options = [str(photos[0]) if option == "PHOTO" else option for option in options]
    before = photos[0].read_bytes()
    ran = command(*photos, "--out", out, *options)
    assert isinstance(ran.exception, UserError)
    with pytest.raises(UserError, match=said):
        raise ran.exception
    assert not out.exists()
    assert photos[0].read_bytes() == before


def test_a_photo_that_is_not_there(tmp_path, home) -> None:
    ran = command(tmp_path / "none.jpg", "--out", tmp_path / "out.zip")
    assert isinstance(ran.exception, PhotoError)
    assert list(tmp_path.glob("*.zip")) == []


# --- real photos ---------------------------------------------------------------------------------------------------


def test_real_photos_with_the_real_reader(shared, tmp_path, advice) -> None:
    path = shared / "data" / "accidents" / "severity" / "val" / "moderate" / "5078c7d74e6e.jpg"  # plate LDG 777
    given = evidence(Exhibit(path.name, path.read_bytes()), advice=advice)
    package = write_package(given, tmp_path / "e.zip")
    assert package.no_plates is None
    assert package.copies[0].plates >= 1
    shared_copy = rgb_of(zipfile.ZipFile(tmp_path / "e.zip").read("shared/photo-01.jpg"))
    assert is_painted_over(shared_copy[129:145, 110:147])
