"""The trainer's page, in Gradio: reports of mistakes, the data set that comes of them, trainings and versions.

It is built once for each language. Who may open it is decided before it is reached (`app.pages.login`); who acts is
read from the session of the request, never from the page.
"""

from __future__ import annotations

import json
import logging
from typing import Any, get_args

from pydantic import ValidationError

from app.pages import fragments, trainer_parts
from app.pages.trainer_training import Room, TrainingTab, Who
from app.records.correction import MAX_COMMENT, Kind, Marked, Severity, Truth, correction_error
from app.records.corrections import STATES, Correction, State
from app.records.dataset_export import MODELS, Model, model_classes, pictures
from app.texts import say
from knowledge.text import Lang, UserError

KINDS: tuple[Kind, ...] = get_args(Kind)
SEVERITIES: tuple[Severity, ...] = get_args(Severity)
LISTED = 50  # reports in the list
NO_SEVERITY = ""
_QUIET: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden"}

log = logging.getLogger(__name__)


class Desk:
    """The events of the page in one language, apart from Gradio's wiring."""

    def __init__(self, room: Room, lang: Lang) -> None:
        self.room, self.lang = room, lang

    def say(self, key: str, **values: object) -> str:
        """Words of this page."""
        return say(f"trainer.{key}", self.lang, **values)

    def found(self, correction_id: str | None) -> Correction:
        """The report that is chosen.

        Raises:
            CorrectionError: if none is, or it is gone.
        """
        if not correction_id:
            raise correction_error("trainer.choose")
        one = self.room.corrections.get(correction_id)
        if one is None:
            raise correction_error("trainer.no_report")
        return one

    def accept(self, correction_id: str | None, drawn: str, kind: Kind, severity: str, note: str, who: str) -> str:
        """Keep the boxes that were drawn as the truth; the sentence that says so.

        Raises:
            CorrectionError: if they can't be taken.
        """
        one = self.found(correction_id)
        boxes: tuple[Marked, ...] = ()
        if one.photo:
            try:
                told = json.loads(drawn)
                if told["key"] != one.id:
                    raise ValueError("another photo's boxes")
                boxes = tuple(Marked.model_validate(box) for box in told["boxes"])
            except (ValueError, TypeError, KeyError):
                raise correction_error("trainer.choose") from None
        truth = Truth(kind=kind, severity=severity if severity in SEVERITIES else None, boxes=boxes)
        self.room.corrections.decide(one.id, "accepted", who, truth, note)
        return self.say("accepted", id=one.id[-8:], count=len(boxes))

    def reject(self, correction_id: str | None, note: str, who: str) -> str:
        """Send a report away, and delete its photo; the sentence that says so.

        Raises:
            CorrectionError: if it is gone.
        """
        one = self.found(correction_id)
        self.room.corrections.decide(one.id, "rejected", who, None, note)
        return self.say("rejected", id=one.id[-8:])

    def data_set(self, model: Model) -> str:
        """The HTML of the data set of a model."""
        given, classes = pictures(self.room.corrections, model, self.room.home), model_classes(model, self.room.home)
        return trainer_parts.data_set(given, classes, model, self.lang)


def build(room: Room, who: Who, lang: Lang, head: str) -> Any:  # noqa: ANN401 - gradio.Blocks, which is untyped
    """The page in one language; ``head``: the HTML of its top line (name, language, log out)."""
    import gradio as gr

    desk = Desk(room, lang)
    with gr.Blocks(title=desk.say("title"), analytics_enabled=False, delete_cache=(60, 120)) as blocks:
        gr.HTML(head, elem_id="yc-head")
        with gr.Tabs():
            with gr.Tab(desk.say("queue")):
                _queue(blocks, desk, who)
            with gr.Tab(desk.say("data")) as tab:
                _data(desk, tab)
            with gr.Tab(desk.say("training")):
                TrainingTab(desk.room, lang, models_of(lang)).wire(blocks, who)
    return blocks.queue(api_open=False, max_size=64)


def _queue(blocks: Any, desk: Desk, who: Who) -> None:  # noqa: ANN401
    import gradio as gr

    lang = desk.lang
    states = [(desk.say(f"state_{one}", count="").strip(), one) for one in STATES]
    state = gr.Radio(states, value=STATES[0], label=desk.say("state"), elem_id="yc-states")
    listed = gr.Radio([], label=desk.say("report"), elem_id="yc-queue")
    receipt = gr.HTML(elem_id="yc-decided")
    with gr.Column(visible=False) as whole:
        details = gr.HTML(elem_id="yc-details")
        editor = gr.HTML(elem_id="yc-editor")
        with gr.Row():
            kind = gr.Dropdown(
                [(say(f"wrong.kind_{one}", lang), one) for one in KINDS], label=desk.say("kind"), elem_id="yc-kind"
            )
            severity = gr.Dropdown(
                [(desk.say("no_severity"), NO_SEVERITY), *((say(f"severity.{one}", lang), one) for one in SEVERITIES)],
                value=NO_SEVERITY, label=desk.say("severity"),
            )  # fmt: skip
        note = gr.Textbox(label=desk.say("note"), max_length=MAX_COMMENT)
        with gr.Row():
            accept = gr.Button(desk.say("accept"), variant="primary", elem_id="yc-accept")
            reject = gr.Button(desk.say("reject"), elem_id="yc-reject")
    drawn = gr.Textbox(visible=False)  # the browser fills it in: see ycBoxes in box_editor.js
    opened = [whole, details, editor, kind, severity, note]
    everything = [state, listed, receipt, *opened]

    def shown(one: Correction | None) -> dict[Any, Any]:
        if one is None:
            return {whole: gr.update(visible=False), details: "", editor: ""}
        report = one.report
        really: Kind = one.truth.kind if one.truth else report.kind_should or report.kind
        harm = one.truth.severity if one.truth else report.severity_should or report.severity
        return {
            whole: gr.update(visible=True),
            details: trainer_parts.details(one, desk.room.corrections.history(one.id), lang),
            editor: trainer_parts.editor(one, really, lang),
            kind: really,
            severity: harm or NO_SEVERITY,
            note: "",
        }

    def listing(wanted: State, told: str = "") -> dict[Any, Any]:
        counts = desk.room.corrections.counts()
        choices = trainer_parts.choices(desk.room.corrections, wanted, lang, LISTED)
        first = choices[0][1] if choices else None
        empty = "" if choices else fragments.quiet(desk.say("none"))
        return {
            state: gr.update(choices=[(desk.say(f"state_{one}", count=counts[one]), one) for one in STATES]),
            listed: gr.update(choices=choices, value=first, visible=bool(choices)),
            receipt: told + empty,
            **shown(desk.room.corrections.get(first) if first else None),
        }

    def refresh(wanted: State) -> dict[Any, Any]:
        return listing(wanted)

    def choose(correction_id: str | None) -> dict[Any, Any]:
        one = desk.room.corrections.get(correction_id) if correction_id else None
        return {receipt: "", **shown(one)}

    def look_again(correction_id: str | None, really: Kind) -> str:
        one = desk.room.corrections.get(correction_id) if correction_id else None
        return trainer_parts.editor(one, really, lang) if one else ""

    def decide(request: gr.Request, wanted: State, correction_id: str | None, given: str, *rest: Any) -> dict[Any, Any]:  # noqa: ANN401
        really, harm, words = rest
        try:
            told = desk.accept(correction_id, given, really, harm, words or "", who(request))
        except (UserError, ValidationError) as error:
            return {receipt: _refused(error, lang)}
        return listing(wanted, fragments.good(told))

    def send_away(request: gr.Request, wanted: State, correction_id: str | None, words: str) -> dict[Any, Any]:
        try:
            told = desk.reject(correction_id, words or "", who(request))
        except UserError as error:
            return {receipt: _refused(error, lang)}
        return listing(wanted, fragments.good(told))

    for function in (decide, send_away):
        function.__annotations__["request"] = gr.Request  # a name otherwise, where Gradio looks for the class
    blocks.load(refresh, [state], everything, **_QUIET)
    state.input(refresh, [state], everything, **_QUIET)
    listed.input(choose, [listed], [receipt, *opened], **_QUIET)
    kind.input(look_again, [listed, kind], editor, **_QUIET)
    boxes = "(...given) => { given[2] = window.ycBoxes(); return given; }"
    accept.click(decide, [state, listed, drawn, kind, severity, note], everything, js=boxes, **_QUIET)
    reject.click(send_away, [state, listed, note], everything, **_QUIET)


def _refused(error: Exception, lang: Lang) -> str:
    text = error.text.in_(lang) if isinstance(error, UserError) else say("trainer.choose", lang)
    return fragments.error(text)


def models_of(lang: Lang) -> Any:  # noqa: ANN401 - gradio.Radio
    """The choice of a model."""
    import gradio as gr

    names = [(say(f"trainer.model_{one}", lang), one) for one in MODELS]
    return gr.Radio(names, value=MODELS[0], label=say("trainer.model", lang))


def _data(desk: Desk, tab: Any) -> None:  # noqa: ANN401
    import gradio as gr

    model = models_of(desk.lang)
    shown = gr.HTML(elem_id="yc-data")

    def look(chosen: Model) -> str:
        try:
            return desk.data_set(chosen)
        except UserError as error:
            return fragments.error(error.text.in_(desk.lang))

    model.input(look, [model], shown, **_QUIET)
    tab.select(look, [model], shown, **_QUIET)
