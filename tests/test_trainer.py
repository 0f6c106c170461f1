"""From an owner's "this is wrong" to a trainer's data set, in Chromium; and who is let in."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from PIL import Image
from playwright.sync_api import Locator, Page, expect

from app.records.accounts import Accounts
from app.records.corrections import Corrections
from app.records.dataset_export import model_classes, pictures, write_coco, write_yolo
from app.texts import say
from knowledge.text import Lang
from tests.pages import PASSWORD, SCREENS, ask_sample, upload
from tests.serving import operated
from tests.test_corrections import coco_faults
from training.yolo import DataSet, read_labels

SAMPLE = Path(__file__).parents[1] / "app" / "sample.jpg"
LARGE = (3000, 1688)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("trainer-home")


@pytest.fixture(scope="module")
def address(home: Path) -> Iterator[str]:
    accounts = Accounts.open(home)
    for role in ("technician", "trainer", "admin"):
        accounts.add(role, PASSWORD, role)
    with operated(home) as url:
        yield url


@pytest.fixture
def queue(home: Path) -> Corrections:
    return Corrections(home / "corrections")


def drag(page: Page, on: Locator, start: tuple[float, float], end: tuple[float, float]) -> None:
    """With the mouse, from one place of an element to another, in shares of it."""
    on.scroll_into_view_if_needed()
    box = on.bounding_box()
    page.mouse.move(box["x"] + start[0] * box["width"], box["y"] + start[1] * box["height"])
    page.mouse.down()
    page.mouse.move(box["x"] + end[0] * box["width"], box["y"] + end[1] * box["height"], steps=5)
    page.mouse.up()


def value(page: Page) -> list[dict[str, object]]:
    return page.locator("#yc-editor yc-boxes").evaluate("editor => editor.value.boxes")


def report(page: Page, lang: Lang) -> None:
    """Draw a box, say what it is, and what a finding really is."""
    page.locator("#yc-wrong button.label-wrap").click()
    page.locator("#yc-wrong .yb-image").wait_for()
    drag(page, page.locator("#yc-wrong .yb-sheet"), (0.30, 0.30), (0.36, 0.38))
    page.locator("#yc-wrong .yb-rows:not(.yb-found) select").select_option("oil_pressure")
    page.locator("#yc-wrong .yb-found select").first.select_option("nothing")
    page.locator("#yc-wrong-comment textarea").fill("红灯没认出来" if lang == "zh" else "missed a red lamp")


@pytest.mark.parametrize(("lang", "screen"), [("zh", "phone"), ("en", "desktop")])
def test_a_missed_lamp_gets_into_the_data_set(visit, queue: Corrections, tmp_path: Path, lang: Lang, screen: str):
    taken = tmp_path / "IMG.jpg"
    with Image.open(SAMPLE) as image:
        turned = image.resize(LARGE) if lang == "zh" else image.resize(LARGE).point(lambda v: v // 2)
        turned.save(taken, quality=90)
    page = visit("/", lang, screen)
    page.get_by_role("button", name=say("page.upload", lang)).wait_for()
    upload(page, taken)
    page.locator(".yc-banner").wait_for()
    page.locator("#yc-reading").wait_for(state="hidden")
    report(page, lang)
    assert page.evaluate("document.documentElement.scrollWidth") <= SCREENS[screen][0]
    consent = page.locator("#yc-wrong-consent input")
    expect(consent).not_to_be_checked()
    consent.check()
    page.locator("#yc-wrong-send").click()
    page.locator("#yc-wrong-receipt .yc-good").wait_for()
    newest = queue.reports("open")[-1]
    assert (newest.width, newest.height) == LARGE  # not the smaller copy that the page shows
    assert [box.label for box in newest.report.missed] == ["oil_pressure"]
    assert newest.report.wrong[0].really == "nothing"
    assert newest.report.models["lights"] == "shipped"
    expect(consent).not_to_be_checked()

    page = visit("/trainer/" + ("en/" if lang == "en" else ""), lang, screen, "trainer")
    page.locator("#yc-queue label", has_text=say("trainer.photo_word", lang)).last.click()
    page.locator("#yc-editor .yb-box").first.wait_for()
    page.wait_for_function(f"document.querySelector('#yc-editor yc-boxes')?.dataset.key === '{newest.id}'")
    proposed = value(page)
    assert [box["label"] for box in proposed].count("oil_pressure") == 1
    assert len(proposed) == len(newest.report.seen) + 1

    sheet = page.locator("#yc-editor .yb-sheet")
    page.wait_for_function(
        "document.querySelector('#yc-editor yc-boxes').shadowRoot.querySelector('img').naturalWidth > 0"
    )
    drag(page, sheet, (0.05, 0.05), (0.12, 0.15))  # drawn, and named by a part of the name
    field = page.locator("#yc-editor .yb-rows input").last
    expect(page.locator("#yc-editor .yb-unnamed")).to_have_count(1)
    page.locator("#yc-accept").click()
    page.locator("#yc-decided .yc-error").wait_for()  # a box without a class is not taken
    field.fill(say_light("coolant_temp", lang))
    field.press("Tab")
    drag(page, sheet, (0.08, 0.10), (0.18, 0.20))  # moved
    moved = value(page)[-1]
    assert moved["label"] == "coolant_temp"
    assert moved["box"] == pytest.approx([0.15, 0.15, 0.22, 0.25], abs=0.02)

    last = page.locator("#yc-editor .yb-box").last  # with the keyboard: moved, made larger; the first one deleted
    last.focus()
    for key in ("ArrowRight", "ArrowRight", "Shift+ArrowDown"):
        page.keyboard.press(key)
    nudged = value(page)[-1]["box"]
    assert nudged == pytest.approx(
        [a + b for a, b in zip(moved["box"], (0.004, 0, 0.004, 0.002), strict=True)], abs=1e-6
    )
    gone = value(page)[0]
    page.locator("#yc-editor .yb-box").first.focus()
    page.keyboard.press("Delete")
    assert gone not in value(page)
    wanted = value(page)
    page.locator("#yc-accept").click()
    page.locator("#yc-decided .yc-good").wait_for()
    kept = queue.get(newest.id)
    assert kept.state == "accepted"
    assert queue.history(newest.id)[-1].by == "trainer"
    assert [(b.label, b.box) for b in kept.truth.boxes] == [
        (b["label"], pytest.approx(b["box"], abs=1e-5)) for b in wanted
    ]

    given, classes = pictures(queue, "lights", queue.folder.parent), model_classes("lights", queue.folder.parent)
    if len(given) < 2:
        return  # the other language's run comes with the second photo
    data = DataSet.read(write_yolo(tmp_path / "yolo", given, classes))
    (picture,) = (p for split in ("train", "val") for p in data.split(split) if p.stem == newest.id)
    rows = read_labels(picture, data.names)
    assert [(label, box) for label, box in rows] == [(b["label"], pytest.approx(b["box"], abs=1e-4)) for b in wanted]
    write_coco(tmp_path / "coco", given, classes)
    assert coco_faults(tmp_path / "coco") == []
    page.get_by_role("tab", name=say("trainer.data", lang)).click()
    page.locator("#yc-data .yc-table").wait_for()
    with page.expect_download() as download:
        page.locator("#yc-data a", has_text="YOLO").click()
    assert download.value.suggested_filename == "yangche-lights-yolo.zip"


def say_light(light: str, lang: Lang) -> str:
    from app.pages.box_editor import name_of

    return name_of(light, lang)


def test_without_consent_no_photo_leaves_the_page(visit, queue: Corrections):
    page = visit("/", "en")
    page.get_by_role("button", name=say("page.sample", "en")).wait_for()
    ask_sample(page, "en")
    before, sent = len(queue.reports()), []
    page.locator("#yc-wrong button.label-wrap").click()
    page.locator("#yc-wrong-send").click()
    page.locator("#yc-wrong-receipt .yc-error").wait_for()  # nothing was said to be wrong
    assert len(queue.reports()) == before
    page.on("request", lambda request: sent.append(request.url))
    drag(page, page.locator("#yc-wrong .yb-sheet"), (0.4, 0.4), (0.5, 0.5))
    page.locator("#yc-wrong-send").click()
    page.locator("#yc-wrong-receipt .yc-good").wait_for()
    assert not [url for url in sent if "upload" in url]
    newest = queue.reports("open")[-1]
    assert (newest.photo, newest.width) == (False, 0)
    assert queue.photo(newest.id) is None
    expect(page.locator("#yc-wrong .yb-box")).to_have_count(0)  # what was sent is not sent again by a second press


def test_what_was_drawn_survives_another_language_and_goes_with_its_photo(visit):
    page = visit("/", "zh")
    page.get_by_role("button", name=say("page.sample", "zh")).wait_for()
    ask_sample(page, "zh")
    page.locator("#yc-wrong button.label-wrap").click()
    page.locator("#yc-wrong .yb-image").wait_for()
    drag(page, page.locator("#yc-wrong .yb-sheet"), (0.4, 0.4), (0.5, 0.5))
    page.locator("#yc-language").get_by_text("English").click()
    page.locator("#yc-wrong button.label-wrap", has_text=say("wrong.title", "en")).wait_for()
    page.locator("#yc-wrong .yb-bar button", has_text=say("boxes.add", "en")).wait_for()
    expect(page.locator("#yc-wrong .yb-box")).to_have_count(1)
    upload(page, SAMPLE.with_name("accident.jpg"))
    page.locator(".yc-part, .yc-card[data-label=fire]").first.wait_for()
    page.locator("#yc-reading").wait_for(state="hidden")
    page.wait_for_timeout(500)
    expect(page.locator("#yc-wrong .yb-box")).to_have_count(0)


def test_reject_deletes_and_goes_on(visit, queue: Corrections):
    from app.records.correction import Marked, Report
    from vision.photo import open_photo

    box = Marked(label="abs", box=(0.1, 0.1, 0.2, 0.2))
    mine = queue.add(Report(missed=(box,), comment="<img src=x onerror=alert(1)>"), open_photo(SAMPLE).rgb)
    waiting = len(queue.reports("open"))
    page = visit("/trainer/en/", "en", "desktop", "trainer")
    page.locator("#yc-queue label").first.wait_for()
    expect(page.locator("#yc-queue label")).to_have_count(waiting)
    page.locator("#yc-queue label").last.click()
    page.locator("#yc-details blockquote", has_text="onerror").wait_for()  # as text, not as a picture
    page.locator("#yc-reject").click()
    page.locator("#yc-decided .yc-good").wait_for()
    assert (queue.get(mine).state, queue.photo(mine)) == ("rejected", None)
    expect(page.locator("#yc-queue label")).to_have_count(waiting - 1)


def test_strangers_and_technicians_are_kept_out(address: str, queue: Corrections):
    from app.records.correction import Report
    from vision.photo import open_photo

    one = queue.add(Report(comment="x"), open_photo(SAMPLE).rgb)
    asked = httpx.get(f"{address}/trainer/en/", headers={"accept": "text/html"})
    assert (asked.status_code, asked.headers["location"]) == (303, "/login?lang=en&next=/trainer")
    closed = ["/trainer/gradio_api/queue/join", "/trainer/en/gradio_api/queue/join", "/trainer/gradio_api/upload"]
    routes = [f"/api/v1/corrections/{one}/photo", "/api/v1/corrections", "/api/v1/corrections/export"]
    technician = httpx.Client(base_url=address)
    assert technician.post("/api/v1/login", json={"name": "technician", "password": PASSWORD}).status_code == 200
    trainer = httpx.Client(base_url=address)
    assert trainer.post("/api/v1/login", json={"name": "trainer", "password": PASSWORD}).status_code == 200
    for path in closed:
        assert httpx.post(f"{address}{path}").status_code == 401
        assert technician.post(path, headers={"origin": address}).status_code == 403
    for path in ["/trainer/", *routes]:
        assert httpx.get(f"{address}{path}").status_code == 401
        assert technician.get(path).status_code == 403
    assert trainer.get(routes[0]).headers["content-type"] == "image/jpeg"
    for path in (
        f"/corrections/photos/{one}.jpg",
        f"/gradio_api/file={queue.photo(one)}",
        f"/trainer/gradio_api/file={queue.photo(one)}",
    ):
        assert trainer.get(path).status_code in {401, 403, 404}
        assert httpx.get(f"{address}{path}").status_code in {401, 403, 404}


@pytest.mark.parametrize(
    ("role", "asked", "lands"),
    [
        ("trainer", "/trainer/", "/trainer/"),
        ("admin", "/trainer/", "/trainer/"),
        ("admin", "/workshop/en/", "/workshop/en/"),
        ("technician", "/trainer/", "/workshop/"),
        ("trainer", "/workshop/", "/trainer/"),
        ("trainer", "/login?next=https://evil.example", "/trainer/"),
    ],
)
def test_a_login_leads_where_one_may(visit, address: str, role: str, asked: str, lands: str):
    lang: Lang = "en" if "/en/" in asked else "zh"
    page = visit(asked, lang, "desktop", role)
    page.wait_for_url(f"{address}{lands}")
