"""The part of the owner's page that takes "this is wrong": findings judged, missed things drawn, a photo if they agree.

The photo of a report is the whole one, since lamps need its pixels. It stays in the owner's browser (box_editor.js)
until they agree and send: keeping every upload on the server for an hour, in case its owner reports something, would
break the promise that it is deleted within minutes, and take up to 64 MiB for each.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Mapping
from functools import cached_property
from html import escape
from typing import TYPE_CHECKING, Any, get_args

from app.api.access import ApiError, Buckets, address_of
from app.pages import fragments
from app.pages.box_editor import boxes_html
from app.records.correction import (
    MAX_BOXES,
    MAX_COMMENT,
    Kind,
    Marked,
    Report,
    Seen,
    Severity,
    Shares,
    Wrong,
    correction_error,
    fit_to_keep,
)
from app.records.corrections import BURST, PER_S, Corrections
from app.texts import say
from knowledge.text import Lang, Text, UserError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from app.advisor import Advisor
    from app.diagnosis import Diagnosis
    from app.pages.sitting import Answer, Sitting

MODELS: Mapping[str, tuple[str, ...]] = {
    "dashboard": ("lights", "whole"), "accident": ("scenes", "damage", "whole"), "other": ("lights", "scenes", "whole")
}  # fmt: skip
KINDS: tuple[Kind, ...] = get_args(Kind)
SEVERITIES: tuple[Severity, ...] = get_args(Severity)
AS_TOLD = ""

log = logging.getLogger(__name__)


class WrongDesk:
    """The events of this part of the page, apart from Gradio's wiring."""

    def __init__(self, advisor: Advisor) -> None:
        self.advisor = advisor
        self.bucket = Buckets(BURST, PER_S)

    @cached_property
    def corrections(self) -> Corrections:
        """The queue, opened with the first report."""
        return Corrections.open(self.advisor.home)

    def send(
        self, answer: Answer, drawn: str, given: Mapping[str, Any], photo: bytes | None, consent: bool, lang: Lang
    ) -> str:  # fmt: skip
        """Put a report into the queue; the sentence that says so.

        Args:
            answer: the photo that the page shows.
            drawn: what the editor told, as JSON.
            given: ``kind_should``, ``severity_should`` and ``comment``.
            photo: the whole photo as it was uploaded, if the browser still had it.
            consent: whether the owner agreed that the photo is kept.
            lang: of the sentence.

        Raises:
            CorrectionError: if nothing is said to be wrong, or too many reports wait.
        """
        told = _told(drawn, key_of(answer))
        report = report_of(answer.diagnosis, self.advisor, lang).model_copy(
            update={
                **told,
                **{key: given.get(key) or None for key in ("kind_should", "severity_should")},
                "comment": str(given.get("comment") or "")[:MAX_COMMENT],
            }
        )
        if not report.says_something:  # before the work at the photo
            raise correction_error("wrong.empty")
        kept = self._photo(answer, photo) if consent else None
        correction_id = self.corrections.add(report, kept)
        return say("wrong.sent" if kept is None else "wrong.sent_photo", lang, id=correction_id[-8:])

    def _photo(self, answer: Answer, data: bytes | None) -> NDArray[np.uint8] | None:
        """The whole photo, if what came is that one, else the page's smaller copy."""
        from vision.photo import open_photo

        diagnosis, rgb = answer.diagnosis, None
        if data:
            try:
                photo = open_photo(data)
            except UserError:
                photo = None
            if photo is not None and (photo.width, photo.height) == (diagnosis.width, diagnosis.height):
                rgb = photo.rgb
        if rgb is None:
            rgb = open_photo(answer.small).rgb
        return fit_to_keep(rgb, diagnosis.kind, self.advisor)


def report_of(diagnosis: Diagnosis, advisor: Advisor, lang: Lang) -> Report:
    """What was answered, in the form of a report that says nothing yet."""
    seen = [
        Seen(label=label, box=box, number=number, color=color, confidence=round(confidence, 4))
        for number, label, color, confidence, boxes in _numbered(diagnosis)
        for box in (_shares(box, diagnosis.width, diagnosis.height) for box in boxes)
        if box is not None
    ]
    if diagnosis.cluster is not None:
        from vision.detector import CLUSTER

        if (box := _shares(diagnosis.cluster, diagnosis.width, diagnosis.height)) is not None:
            seen.append(Seen(label=CLUSTER, box=box, number=0, color=None, confidence=1.0))
    return Report(
        wrong=(),
        missed=(),
        comment="",
        kind=diagnosis.kind,
        verdict=diagnosis.verdict.level,
        severity=diagnosis.scene.severity if diagnosis.scene else None,
        models={name: _version(name, advisor) for name in MODELS[diagnosis.kind]},
        seen=tuple(seen[:MAX_BOXES]),
        lang=lang,
    )


def _numbered(diagnosis: Diagnosis) -> list[tuple[int, str, str | None, float, tuple[Any, ...]]]:
    """Number, class, colour, confidence and boxes of each line of the answer, but for what only words told."""
    told = {(d.label, d.color) for d in diagnosis.told}
    lamps = [
        (lamp.number, lamp.light.id, lamp.color, lamp.confidence, lamp.boxes)
        for lamp in diagnosis.lamps
        if (lamp.light.id, lamp.color) not in told
    ]
    parts = diagnosis.scene.parts if diagnosis.scene else ()
    return [*lamps, *((part.number, part.label, None, part.confidence, part.boxes) for part in parts)]


def _shares(box: Any, width: int, height: int) -> Shares | None:  # noqa: ANN401 - four numbers
    x1, y1, x2, y2 = (min(1.0, max(0.0, float(v) / side)) for v, side in zip(box, (width, height) * 2, strict=True))
    return (x1, y1, x2, y2) if x1 < x2 and y1 < y2 else None


def _version(name: str, advisor: Advisor) -> str:
    from models.versions import Versions

    try:
        return Versions(name, advisor.home).served
    except UserError:
        return "?"


def key_of(answer: Answer) -> str:
    """What tells the photo of an editor from others."""
    return hashlib.sha256(answer.small).hexdigest()[:16]


def _told(drawn: str, key: str) -> dict[str, Any]:
    """What the editor told; nothing if it is about another photo, or no sense can be made of it."""
    try:
        content = json.loads(drawn or "{}")
        if not isinstance(content, dict) or content.get("key") != key:
            return {}
        wrong = tuple(Wrong.model_validate(one) for one in content.get("wrong", ())[:MAX_BOXES])
        missed = tuple(Marked.model_validate(one) for one in content.get("missed", ())[:MAX_BOXES])
    except (ValueError, TypeError, AttributeError, KeyError):  # pydantic's errors are ValueErrors
        return {}
    return {"wrong": wrong, "missed": missed}


class WrongSection:
    """The widgets: the editor, kind and severity, a comment, the consent, the button."""

    def __init__(self, desk: WrongDesk) -> None:
        import gradio as gr

        self.desk = desk
        with gr.Accordion(say("wrong.title", "zh"), open=False, visible=False, elem_id="yc-wrong") as self.whole:
            self.intro = gr.HTML()
            self.editor = gr.HTML()
            with gr.Row():
                self.kind = gr.Dropdown([AS_TOLD], value=AS_TOLD, min_width=160)
                self.severity = gr.Dropdown([AS_TOLD], value=AS_TOLD, visible=False, min_width=160)
            self.comment = gr.Textbox(max_length=MAX_COMMENT, lines=2, elem_id="yc-wrong-comment")
            self.consent = gr.Checkbox(value=False, elem_id="yc-wrong-consent")
            self.note = gr.HTML()
            self.button = gr.Button(variant="primary", elem_id="yc-wrong-send")
            self.receipt = gr.HTML(elem_id="yc-wrong-receipt")
            # What the browser fills in when the report is sent: see ycReport in box_editor.js.
            self.drawn = gr.Textbox(visible=False)
            self.photo = gr.File(type="binary", visible=False)

    @property
    def words(self) -> list[Any]:
        """The widgets whose words change with the language."""
        return [self.intro, self.kind, self.severity, self.comment, self.consent, self.note, self.button]

    def spoken(self, lang: Lang) -> dict[Any, Any]:
        """The words of this part in ``lang``."""
        import gradio as gr

        def choices(group: str, known: tuple[str, ...]) -> list[tuple[str, str]]:
            first = (say(f"wrong.{group}_right", lang), AS_TOLD)
            words = {one: say(f"wrong.kind_{one}" if group == "kind" else f"severity.{one}", lang) for one in known}
            return [first, *((name, one) for one, name in words.items())]

        return {
            self.intro: f"<p>{escape(say('wrong.intro', lang))}</p>",
            self.kind: gr.update(label=say("wrong.kind", lang), choices=choices("kind", KINDS)),
            self.severity: gr.update(label=say("wrong.severity", lang), choices=choices("severity", SEVERITIES)),
            self.comment: gr.update(label=say("wrong.comment", lang)),
            self.consent: gr.update(label=say("wrong.consent", lang)),
            self.note: fragments.quiet(say("wrong.no_consent", lang)),
            self.button: say("wrong.send", lang),
        }

    @property
    def changing(self) -> list[Any]:
        """What depends on the photo."""
        return [self.whole, self.editor, self.severity]

    def shown(self, sitting: Sitting | None, lang: Lang) -> dict[Any, Any]:
        """The editor of the photo that the page shows; the browser keeps what was drawn on it (by its key)."""
        import gradio as gr

        title = say("wrong.title", lang)
        if sitting is None:
            return {self.whole: gr.update(label=title, visible=False), self.editor: "", self.severity: gr.skip()}
        answer = sitting.answer
        lines = _numbered(answer.diagnosis)
        named = _names(answer.diagnosis, lang)
        html = boxes_html(
            "owner",
            key_of(answer),
            answer.diagnosis.kind,
            lang,
            src="#yc-picture img",
            found=[
                {"number": number, "label": label, "color": color, "name": named[number]}
                for number, label, color, *_ in lines
            ],
            number=answer.number,
        )
        accident = answer.diagnosis.kind == "accident"
        return {
            self.whole: gr.update(label=title, visible=True),
            self.editor: html,
            self.severity: gr.update(visible=accident),
        }

    def wire(self, language: Any, state: Any, options: Mapping[str, Any]) -> None:  # noqa: ANN401 - gradio is untyped
        """Hang in the event. ``state``: what holds the owner's answers."""
        import gradio as gr

        def send(
            request: gr.Request, sitting: Any, lang: Lang, kind: str, severity: str, comment: str,  # noqa: ANN401
            consent: bool, drawn: str, photo: bytes | None,
        ) -> dict[Any, Any]:  # fmt: skip
            try:
                self.desk.bucket.take(address_of(request.request))
                if sitting is None:
                    raise correction_error("wrong.gone")
                given = {"kind_should": kind, "severity_should": severity, "comment": comment}
                told = self.desk.send(sitting.answer, drawn, given, photo, bool(consent), lang)
            except (UserError, ApiError) as error:
                return {self.receipt: fragments.error(error.text.in_(lang))}
            except Exception:  # the page must answer whatever a photo does
                log.exception("a report could not be taken")
                return {self.receipt: fragments.error(say("page.failed", lang))}
            cleared = {self.comment: "", self.consent: False, self.kind: AS_TOLD, self.severity: AS_TOLD}
            return {self.receipt: fragments.good(told), **cleared}

        send.__annotations__["request"] = gr.Request  # a name otherwise, where Gradio looks for the class
        self.button.click(
            send,
            [state, language, self.kind, self.severity, self.comment, self.consent, self.drawn, self.photo],
            [self.receipt, self.comment, self.consent, self.kind, self.severity],
            js="(...given) => window.ycReport(...given)",
            **options,
        ).then(
            None, None, None, api_visibility="private",
            js="() => { if (document.querySelector('#yc-wrong-receipt .yc-good'))"
            " document.querySelector('#yc-wrong yc-boxes')?.reset(); }",
        )  # fmt: skip


def _names(diagnosis: Diagnosis, lang: Lang) -> dict[int, str]:
    names: list[tuple[int, Text]] = [(lamp.number, lamp.light.name) for lamp in diagnosis.lamps]
    names += [(part.number, part.name) for part in (diagnosis.scene.parts if diagnosis.scene else ())]
    return {number: name.in_(lang) for number, name in names}
