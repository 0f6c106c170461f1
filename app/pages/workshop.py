"""The technician's page, in Gradio: search as one types, confirm in one click, write a job down, look a code up, files.

It is built once for each language, so that every label is simply there. Who may open it is decided before it is reached
(`app.serving.server`); who acts is read from the session of the request, never from the page.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

from app.advisor import Advisor
from app.pages import fragments
from app.texts import say
from knowledge.answers import Answer, answer
from knowledge.archive import Archive
from knowledge.case import read_case, words
from knowledge.catalogue import load_catalogue
from knowledge.confirmation import VERDICT_TEXT, VERDICTS, Verdict, new_confirmation
from knowledge.ids import new_id
from knowledge.search import Hit
from knowledge.text import Lang, UserError

SHOWN_GROUPS, SHOWN_CASES = 6, 3
_QUIET: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden"}
# The fields of a new case, in the order in which a technician fills them in; those that take more than a line.
ROWS = (
    ("symptom",), ("brand", "series"), ("model_year", "engine"), ("mileage_km", "codes"), ("cause",), ("fix",),
    ("parts",), ("labour_hours", "shop"), ("outcome",),
)  # fmt: skip
FIELDS = [name for row in ROWS for name in row]
LONG = frozenset({"symptom", "cause", "fix"})

log = logging.getLogger(__name__)

Who = Callable[[Any], str]
"""The name of the user whose session a request bears."""


class Desk:
    """What the page does, apart from Gradio's wiring."""

    def __init__(self, advisor: Advisor, lang: Lang) -> None:
        self.advisor, self.lang = advisor, lang

    @property
    def archive(self) -> Archive:
        """The archive that is searched."""
        return Archive(self.advisor.searcher.store)

    def search(self, query: str, brand: str, series: str, code: str, light: str | None) -> Answer | str:
        """The answer, or the HTML of what to show instead."""
        if not (query.strip() or code.strip() or light):
            return fragments.quiet(say("workshop.empty", self.lang))
        try:
            return answer(
                self.advisor.searcher, query, k=20, brand=brand or None, series=series or None, code=code or None,
                light=light or None,
            )  # fmt: skip
        except UserError as error:
            return fragments.error(error.text.in_(self.lang))

    def confirm(self, who: str, case_id: str, verdict: Verdict) -> str:
        """Note one report; the HTML of the receipt."""
        try:
            self.advisor.searcher.store.confirm([new_confirmation(case_id, verdict, who)])
        except UserError as error:
            return fragments.error(error.text.in_(self.lang))
        said = VERDICT_TEXT[verdict].in_(self.lang)
        return fragments.good(say("workshop.confirmed", self.lang, case_id=case_id, verdict=said, who=who))

    def add(self, who: str, lights: list[str], values: list[str]) -> tuple[bool, str]:
        """Write a case; whether that worked, and the HTML of the receipt."""
        row: dict[str, Any] = dict(zip(FIELDS, values, strict=True))
        try:
            case = read_case({**row, "lights": lights, "case_id": new_id(), "entered_by": who})
            self.archive.add(case, who)
        except UserError as error:
            return False, fragments.error(error.text.in_(self.lang))
        return True, fragments.good(say("workshop.added", self.lang, case_id=case.case_id))

    def seen(self, data: bytes | None) -> tuple[dict[str, Any], str]:
        """What a photo of the dashboard tells of a case, and the HTML that says so."""
        from knowledge.lexical import fault_codes
        from vision.photo import open_photo

        try:
            photo = open_photo(data or b"")
            with self.advisor.turns.photo():
                diagnosis = self.advisor.diagnose(photo, name="")
        except UserError as error:
            return {}, fragments.error(error.text.in_(self.lang))
        lights = list(dict.fromkeys(lamp.light.id for lamp in diagnosis.lamps))
        codes = fault_codes(" ".join(message.text for message in diagnosis.messages))
        told = {"lights": lights, "codes": ", ".join(codes), "mileage_km": str(diagnosis.mileage_km or "")}
        return told, fragments.good(say("workshop.seen", self.lang, lamps=len(lights)))

    def look_up(self, code: str, make: str) -> str:
        """The HTML of a fault code's meaning."""
        from app.commands.codes import code_lines
        from knowledge.codes import lookup

        if not code.strip():
            return fragments.quiet(say("workshop.code_empty", self.lang))
        try:
            found = lookup(code, make or None)
        except UserError as error:
            return fragments.error(error.text.in_(self.lang))
        return fragments.lines(code_lines(found, self.lang))

    def take_in(self, who: str, path: str | None) -> str:
        """Import a file; the HTML of the report with every refused row."""
        if not path:
            return ""
        try:
            report = self.archive.import_file(Path(path), author=who)
        except UserError as error:
            return fragments.error(error.text.in_(self.lang))
        counts = {"taken": report.taken, "updated": report.updated, "unchanged": report.unchanged}
        told = [say("cli.imported", self.lang, **counts, refused=len(report.refused))]
        if report.masked:
            told.append(say("cli.masked", self.lang, rows=report.masked))
        refused = [say("cli.refused", self.lang, line=r.line, reason=r.reason.in_(self.lang)) for r in report.refused]
        return fragments.good(" ".join(told)) + fragments.lines(refused)

    def opened(self, hit: Hit) -> str:
        """The HTML of a case with its history and what people reported."""
        store = self.advisor.searcher.store
        reports = store.confirmations([hit.case.case_id]).get(hit.case.case_id, [])
        return fragments.case(hit.case, store.history(hit.case.case_id), reports, [w.text for w in hit.why], self.lang)


def build(advisor: Advisor, who: Who, lang: Lang, head: str) -> Any:  # noqa: ANN401 - gradio.Blocks, which is untyped
    """The page in one language; ``head``: the HTML of its top line (name, language, log out)."""
    import gradio as gr

    desk = Desk(advisor, lang)
    lamps = [(light.name.in_(lang), light.id) for light in load_catalogue().lights.values()]
    with gr.Blocks(title=say("workshop.title", lang), analytics_enabled=False, delete_cache=(60, 120)) as blocks:
        gr.HTML(head, elem_id="yc-head")
        with gr.Tabs():
            with gr.Tab(say("workshop.search", lang)):
                _search(blocks, desk, who, lamps)
            with gr.Tab(say("workshop.new", lang)):
                _new(desk, who, lamps)
            with gr.Tab(say("workshop.codes", lang)):
                _codes(desk)
            with gr.Tab(say("workshop.files", lang)):
                _files(desk, who)
    return blocks.queue(api_open=False, max_size=64)


def _search(blocks: Any, desk: Desk, who: Who, lamps: list[tuple[str, str]]) -> None:  # noqa: ANN401
    import gradio as gr

    lang = desk.lang
    query = gr.Textbox(
        label=say("workshop.query", lang),
        placeholder=say("workshop.query_hint", lang),
        elem_id="yc-query",
        autofocus=True,
    )
    with gr.Row():
        brand = gr.Textbox(label=say("field.brand", lang), min_width=120)
        series = gr.Textbox(label=say("field.series", lang), min_width=120)
        code = gr.Textbox(label=say("field.codes", lang), min_width=120)
        light = gr.Dropdown([("", ""), *lamps], value="", label=say("field.lights", lang), min_width=160)
    receipt = gr.HTML(elem_id="yc-receipt")
    asked = [query, brand, series, code, light]

    def noting(case_id: str, verdict: Verdict) -> Callable[[Any], str]:
        def note(request: gr.Request) -> str:
            return desk.confirm(who(request), case_id, verdict)

        note.__annotations__["request"] = gr.Request  # a name otherwise, where Gradio looks for the class
        return note

    def results(*given: Any) -> None:  # noqa: ANN401 - the fields' values
        found = desk.search(*given)
        if isinstance(found, str):
            gr.HTML(found)
            return
        gr.HTML(fragments.found(found, lang))
        for group in found.groups[:SHOWN_GROUPS]:
            gr.HTML(fragments.group(group, lang))
            for hit in group.hits[:SHOWN_CASES]:
                with gr.Accordion(words(hit.case.symptom, lang) or words(hit.case.fix, lang), open=False):
                    gr.HTML(desk.opened(hit))
                    with gr.Row():
                        for verdict in VERDICTS:
                            button = gr.Button(VERDICT_TEXT[verdict].in_(lang), size="sm")
                            button.click(noting(hit.case.case_id, verdict), None, receipt, **_QUIET)

    triggers = [blocks.load, *(field.change for field in asked)]
    gr.render(inputs=asked, triggers=triggers, trigger_mode="always_last", show_progress="hidden")(results)


def _new(desk: Desk, who: Who, lamps: list[tuple[str, str]]) -> None:
    import gradio as gr

    lang = desk.lang
    photo = gr.UploadButton(say("workshop.photo", lang), file_types=["image", ".heic", ".heif"], type="binary")
    told = gr.HTML(elem_id="yc-told")
    worn = gr.Dropdown(lamps, multiselect=True, label=say("field.lights", lang))
    boxes: dict[str, Any] = {}
    for row in ROWS:
        with gr.Row():
            for name in row:
                label, lines = say(f"field.{name}", lang), 2 if name in LONG else 1
                boxes[name] = gr.Textbox(label=label, lines=lines, elem_id=f"yc-new-{name}", min_width=130)
    save = gr.Button(say("workshop.save", lang), variant="primary", elem_id="yc-save")

    def fill(data: bytes | None) -> tuple[Any, ...]:
        known, sentence = desk.seen(data)
        return (sentence, *(known.get(name, gr.skip()) for name in ("lights", "codes", "mileage_km")))

    def keep(request: gr.Request, lights: list[str], *values: str) -> tuple[Any, ...]:
        done, sentence = desk.add(who(request), lights or [], list(values))
        cleared: Any = [] if done else gr.skip()
        return (sentence, cleared, *("" if done else gr.skip() for _ in values))

    keep.__annotations__["request"] = gr.Request
    photo.upload(fill, [photo], [told, worn, boxes["codes"], boxes["mileage_km"]], **_QUIET)
    save.click(keep, [worn, *boxes.values()], [told, worn, *boxes.values()], **_QUIET)


def _files(desk: Desk, who: Who) -> None:
    import gradio as gr

    gr.HTML(fragments.exports(desk.lang))
    kinds = [".jsonl", ".csv", ".xlsx"]
    file = gr.File(label=say("workshop.import", desk.lang), file_types=kinds, type="filepath")
    report = gr.HTML(elem_id="yc-report")

    def take_in(request: gr.Request, path: str | None) -> str:
        return desk.take_in(who(request), path)

    take_in.__annotations__["request"] = gr.Request
    file.upload(take_in, [file], report, **_QUIET)


def _codes(desk: Desk) -> None:
    import gradio as gr

    with gr.Row():
        asked = gr.Textbox(label=say("field.codes", desk.lang), placeholder="P0420", elem_id="yc-code")
        make = gr.Textbox(label=say("field.brand", desk.lang))
    meaning = gr.HTML(desk.look_up("", ""), elem_id="yc-meaning")
    for field in (asked, make):
        field.change(desk.look_up, [asked, make], meaning, trigger_mode="always_last", **_QUIET)
