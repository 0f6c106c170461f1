"""The PDF of an answer, read back: real model, real archive, both languages, a dashboard and an accident."""

from __future__ import annotations

import io
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pymupdf
import pytest
from PIL import Image

from app.advisor import Advisor
from app.pages.fragments import SHOWN_GROUPS, fixes
from app.pages.sitting import Page, Sitting
from app.paper.answer_pdf import COLORS, answer_pdf, answered
from app.paper.evidence_paper import BOTTOM, HEIGHT, WIDTH
from app.similar import FIXES, fix_groups
from app.texts import say
from knowledge.confirmation import new_confirmation
from knowledge.text import LANGS, Lang

APP = Path(__file__).resolve().parents[1] / "app"
PHOTOS = {"dashboard": APP / "sample.jpg", "accident": APP / "accident.jpg"}
MADE = datetime(2026, 11, 25, 8, 30, tzinfo=timezone(timedelta(hours=8)))
ABOVE_FOOTER = (0, 0, WIDTH, HEIGHT - BOTTOM)
CAMERA = "Secret Camera Works"


def photo_with_position(path: Path) -> bytes:
    """The photo as a phone would have written it: with camera, time and position."""
    with Image.open(path) as image:
        exif = image.getexif()
        exif[0x010F] = CAMERA
        exif.get_ifd(0x8825).update({1: "N", 2: (31.0, 14.0, 1.2), 3: "E", 4: (121.0, 29.0, 3.4), 29: "2026:11:25"})
        file = io.BytesIO()
        image.convert("RGB").save(file, "JPEG", quality=95, exif=exif)
    assert Image.open(io.BytesIO(file.getvalue())).getexif().get_ifd(0x8825)[1] == "N"
    return file.getvalue()


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Page:
    return Page(Advisor.open(tmp_path_factory.mktemp("pdf-home")))


@pytest.fixture(scope="module", params=PHOTOS)
def sitting(page: Page, request: pytest.FixtureRequest) -> Sitting:
    """A photo that was looked at and read, with one question answered."""
    answer = page.read(page.look(photo_with_position(PHOTOS[request.param])))
    sitting = Sitting.of([answer])
    question = answer.asked[0]
    return sitting.put(question, next(iter(page.advisor.questions[question].choices)), page.advisor)


def made_pdf(sitting: Sitting, page: Page, lang: Lang) -> bytes:
    return answer_pdf(sitting, page, lang, made=MADE)


def opened(data: bytes) -> tuple[pymupdf.Document, str]:
    """The document, and its words without blanks and footers, since lines break anywhere."""
    document = pymupdf.open(stream=data)
    return document, squeezed("".join(page.get_text(clip=ABOVE_FOOTER) for page in document))


def squeezed(words: str) -> str:
    return "".join(words.split())


@pytest.mark.parametrize("lang", LANGS)
def test_everything_on_the_page_stands_in_the_pdf(sitting: Sitting, page: Page, lang: Lang):
    document, words = opened(made_pdf(sitting, page, lang))
    diagnosis = sitting.diagnosis
    told = [say(f"level.{diagnosis.verdict.level}", lang), say("part.limits", lang)]
    told += [line.in_(lang) for line in diagnosis.verdict.advice]
    told += [text.in_(lang) for pair in answered(sitting.answer, page.advisor.questions) for text in pair]
    told += [lamp.light.name.in_(lang) for lamp in diagnosis.lamps]
    told += [line.in_(lang) for lamp in diagnosis.lamps for line in (lamp.meaning, lamp.drive, *lamp.causes)]
    if diagnosis.scene:
        told += [part.name.in_(lang) for part in diagnosis.scene.parts] + diagnosis.scene.remarks(lang)
        told += [line.text.in_(lang) for line in diagnosis.scene.advice.never]
    else:
        assert diagnosis.mileage_km
        told += [say("part.mileage", lang, km=diagnosis.mileage_km)]
    groups = fix_groups(page.advisor, diagnosis)
    assert bool(groups) == (diagnosis.kind == "dashboard")
    for group in groups[:SHOWN_GROUPS]:
        told += [group.title.in_(lang), group.counts.in_(lang)]
    assert len(told) > 20
    for line in told:
        assert squeezed(line) in words, line
    assert squeezed(say("keep.report_title", lang)) in words
    assert ("2026年11月25日" if lang == "zh" else "2026-11-25") in words
    fills = {tuple(round(v, 2) for v in drawn["fill"]) for drawn in document[0].get_drawings() if drawn["fill"]}
    assert tuple(round(v, 2) for v in COLORS[diagnosis.verdict.level]) in fills


@pytest.mark.parametrize("lang", LANGS)
def test_the_annotated_picture_goes_in_and_no_metadata(sitting: Sitting, page: Page, lang: Lang):
    data = made_pdf(sitting, page, lang)
    document, words = opened(data)
    pictures = [document.extract_image(image[0])["image"] for one in document for image in one.get_images()]
    assert len(pictures) == len(sitting.answers)
    assert Image.open(io.BytesIO(pictures[0])).getexif() == {}
    for held in (data, *(document.xref_stream(n) or b"" for n in range(1, document.xref_length()))):
        assert CAMERA.encode() not in held
        assert b"Exif" not in held
    assert "31" not in document.metadata["title"]
    assert CAMERA not in words + str(document.metadata) + (document.get_xml_metadata() or "")


def test_several_photos_stand_one_after_the_other(page: Page):
    answers = [replace(page.look(file.read_bytes()), number=n) for n, file in enumerate(PHOTOS.values(), start=1)]
    document, _ = opened(made_pdf(Sitting.of(answers), page, "zh"))
    titles = [title for _, title, _ in document.get_toc()]
    assert [title for title in titles if title in ("第 1 张", "第 2 张")] == ["第 1 张", "第 2 张"]


def test_a_report_that_a_fix_worked_is_counted(tmp_path: Path):
    advisor = Advisor.open(tmp_path)
    before = advisor.diagnose(PHOTOS["dashboard"])
    group = fix_groups(advisor, before)[0]
    assert len(group.hits) > 1  # grouped, not one by one
    for hit in group.hits[:2]:
        advisor.searcher.store.confirm([new_confirmation(hit.case.case_id, "worked", "李师傅")])
    after = advisor.diagnose(PHOTOS["dashboard"])
    html = fixes(fix_groups(advisor, after), after.no_fixes, "zh")
    assert f"{len(group.hits)} 例，2 次确认有效" in html
    assert "相似度" not in html
    assert html.count("<details>") == SHOWN_GROUPS
    assert after.to_json()["fixes"] == before.to_json()["fixes"]  # the contract knows nothing of groups
    assert [set(row) for row in after.to_json()["fixes"]] == [{"case_id", "score"}] * FIXES
