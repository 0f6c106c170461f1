"""The owner's page, in Gradio: photo in, annotated photo and advice out, questions that change the advice at once."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from app import fragments
from app.advisor import Advisor, Diagnosis
from app.cabinet import Cabinet
from app.evidence_page import EvidenceDesk, Section
from app.settings import MAX_WAITING
from app.texts import say
from knowledge.text import LANGS, Lang, UserError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

SAMPLE = Path(__file__).parent / "sample.jpg"
# Long side of the photo on the page: enough to read every mark on a large screen, and a fifth of a megabyte.
SHOWN_SIDE = 1600
# Radio groups that stand ready; a photo that raises more questions shows the most urgent ones.
QUESTIONS = 12
# Seconds after which an upload is deleted, and after which an answer is forgotten whose page was left alone.
UPLOAD_LIFE = 120
ANSWER_LIFE = 3600
# The choice that takes an answer back, and the catalogue's own answers that say as much.
NOT_ANSWERED = ""
UNDECIDED = ("not_sure", "not_checked")

log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Answer:
    """What one open page remembers: the diagnosis, a small copy of the photo, and the questions that were put."""

    diagnosis: Diagnosis
    small: bytes
    asked: tuple[str, ...]
    # The whole photo, as long as its words are still to be read.
    unread: NDArray[np.uint8] | None = None

    def put(self, question: str, answer: str, advisor: Advisor) -> Answer:
        """With one question answered (or, by an empty answer, taken back)."""
        answers = {key: value for key, value in self.diagnosis.answers.items() if key != question}
        if answer != NOT_ANSWERED:
            answers[question] = answer
        diagnosis = advisor.rejudge(self.diagnosis, answers)
        return replace(self, diagnosis=diagnosis, asked=_asked(self.asked, diagnosis))


class Page:
    """The events of the page, apart from Gradio's wiring."""

    def __init__(self, advisor: Advisor) -> None:
        self.advisor = advisor

    def look(self, data: bytes | None) -> Answer | UserError:
        """Diagnose an upload. Whatever goes wrong becomes one sentence."""
        from vision.photo import open_photo

        try:
            if not data:
                raise _say_error("page.no_photo")
            photo = open_photo(data)
            diagnosis = self.advisor.diagnose(photo, name="")
            return Answer(diagnosis, _small_jpeg(photo.rgb), _asked((), diagnosis), photo.rgb)
        except UserError as error:
            return error
        except Exception:  # the page must answer whatever a photo does
            log.exception("a photo could not be worked through")
            return _say_error("page.failed")

    def read(self, answer: Answer) -> Answer:
        """With the words on the cluster; what was seen stands even if they cannot be read."""
        if answer.unread is None:
            return answer
        try:
            diagnosis = self.advisor.read(answer.diagnosis, answer.unread)
        except Exception:  # the lamps' advice must stay whatever the words do
            log.exception("the words of a photo could not be read")
            return replace(answer, unread=None)
        return replace(answer, diagnosis=diagnosis, asked=_asked(answer.asked, diagnosis), unread=None)

    def shown(self, answer: Answer, lang: Lang) -> dict[str, str]:
        """The HTML of each part of the answer."""
        return {**self.told(answer.diagnosis, lang), "picture": self.picture(answer, lang)}

    def told(self, diagnosis: Diagnosis, lang: Lang) -> dict[str, str]:
        """The parts of the answer that are words."""
        return {
            "banner": fragments.banner(diagnosis, lang),
            "steps": fragments.steps(diagnosis, lang),
            "cards": fragments.cards(diagnosis, lang),
            "fixes": fragments.fixes(diagnosis.fixes, diagnosis.no_fixes, lang),
            "limits": fragments.limits(lang),
        }

    def picture(self, answer: Answer, lang: Lang) -> str:
        """The annotated photo."""
        import numpy as np
        from PIL import Image

        with Image.open(io.BytesIO(answer.small)) as small:
            rgb = np.asarray(small.convert("RGB"))
        return fragments.picture(self.advisor.annotate(answer.diagnosis, rgb, lang), lang)

    def question(self, answer: Answer | None, slot: int, lang: Lang) -> dict[str, Any]:
        """The radio group number ``slot``: its words, or nothing."""
        if answer is None or slot >= len(answer.asked):
            return {"visible": False, "value": None}
        question = self.advisor.questions[answer.asked[slot]]
        choices = [(words.in_(lang), key) for key, words in question.choices.items()]
        unanswered = question.assumed
        if unanswered not in UNDECIDED:
            unanswered = NOT_ANSWERED
            choices.append((say("page.skip", lang), NOT_ANSWERED))
        return {
            "visible": True,
            "label": question.text.in_(lang),
            "choices": choices,
            "value": answer.diagnosis.answers.get(question.id, unanswered),
        }


def build(advisor: Advisor, cabinet: Cabinet) -> Any:  # noqa: ANN401 - gradio.Blocks, which is untyped
    """The page as ``gradio.Blocks``; ``cabinet`` keeps evidence packages for their download."""
    import gradio as gr

    page = Page(advisor)
    quiet: dict[str, Any] = {"api_visibility": "private"}
    with gr.Blocks(
        title=say("page.title", "zh"), analytics_enabled=False, delete_cache=(UPLOAD_LIFE // 2, UPLOAD_LIFE)
    ) as blocks:
        state = gr.State(None, time_to_live=ANSWER_LIFE)
        with gr.Row(elem_id="yc-top"):
            header = gr.HTML(fragments.header("zh"), elem_id="yc-header")
            language = gr.Radio(
                [("中文", "zh"), ("English", "en")],
                value="zh",
                show_label=False,
                container=False,
                elem_id="yc-language",
                interactive=True,
            )
        tagline = gr.HTML(fragments.tagline("zh"), elem_id="yc-tagline")
        with gr.Row():
            upload = gr.UploadButton(
                say("page.upload", "zh"),
                file_types=["image", ".heic", ".heif"],
                type="binary",
                variant="primary",
                elem_id="yc-upload",
                scale=3,
                min_width=220,
            )
            sample = gr.Button(say("page.sample", "zh"), elem_id="yc-sample", scale=1, min_width=160)
        status = gr.HTML(elem_id="yc-status", visible=False)
        tips = gr.HTML(fragments.tips("zh"), elem_id="yc-tips")
        with gr.Column(visible=False) as result:
            parts = {"banner": gr.HTML(elem_id="yc-banner")}
            reading = gr.HTML(elem_id="yc-reading", visible=False)
            with gr.Row():
                with gr.Column(min_width=320):
                    parts["picture"] = gr.HTML(elem_id="yc-picture")
                with gr.Column(min_width=320):
                    parts["steps"] = gr.HTML(elem_id="yc-steps")
                    radios = [
                        gr.Radio([], visible=False, interactive=True, elem_classes="yc-question")
                        for _ in range(QUESTIONS)
                    ]
            for name in ("cards", "fixes", "limits"):
                parts[name] = gr.HTML(elem_id=f"yc-{name}")
            evidence = Section(EvidenceDesk(advisor, cabinet))

        static = [header, tagline, language, upload, sample, tips, *evidence.words]
        everything = [state, status, reading, result, upload, tips, *parts.values(), *radios, evidence.whole]

        def answered(outcome: Answer | UserError | None, lang: Lang, settled: bool = True) -> dict[Any, Any]:
            """``settled``: nothing more follows by itself, so that questions may be answered."""
            answer = outcome if isinstance(outcome, Answer) else None
            html = page.shown(answer, lang) if answer else {}
            return {
                state: answer,
                status: gr.update(visible=False)
                if not isinstance(outcome, UserError)
                else gr.update(value=fragments.error(outcome.text.in_(lang)), visible=True),
                result: gr.update(visible=answer is not None),
                upload: gr.update(label=say("page.another" if answer else "page.upload", lang), value=None),
                tips: gr.update(visible=answer is None),
                evidence.whole: gr.update(visible=answer is not None and answer.diagnosis.kind == "accident"),
                **{part: html.get(name, "") for name, part in parts.items()},
                **{
                    radio: gr.update(**page.question(answer, slot, lang), interactive=settled)
                    for slot, radio in enumerate(radios)
                },
            }

        def look(data: bytes | None, lang: Lang) -> Iterator[dict[Any, Any]]:
            """Lamps first; the words on the cluster follow a second later."""
            outcome = page.look(data)
            if not isinstance(outcome, Answer):
                yield answered(outcome, lang)
                return
            # What the page remembers meanwhile must not hold the whole photo: pages are left alone at any moment.
            shown = answered(replace(outcome, unread=None), lang, settled=False)
            yield {**shown, reading: gr.update(value=fragments.reading(lang), visible=True)}
            yield {**answered(page.read(outcome), lang), reading: gr.update(visible=False)}

        def look_at_sample(lang: Lang) -> Iterator[dict[Any, Any]]:
            yield from look(SAMPLE.read_bytes(), lang)

        def answer_question(slot: int, choice: str, answer: Answer | None, lang: Lang) -> dict[Any, Any]:
            if answer is None or slot >= len(answer.asked):
                return answered(None, lang)
            return answered(answer.put(answer.asked[slot], choice, advisor), lang)

        def speak(lang: Lang, answer: Answer | None) -> dict[Any, Any]:
            accident = answer is not None and answer.diagnosis.kind == "accident"
            return {
                **answered(answer, lang),
                **evidence.spoken(lang),
                evidence.whole: gr.update(label=say("evidence.title", lang), visible=accident),
                header: fragments.header(lang),
                tagline: fragments.tagline(lang),
                sample: say("page.sample", lang),
                tips: gr.update(value=fragments.tips(lang), visible=answer is None),
                language: gr.update(value=lang, label=say("page.language", lang)),
            }

        def greet(request: gr.Request) -> dict[Any, Any]:
            """The browser's language. It must not touch the answer: a photo may be quicker than this greeting."""
            lang = preferred(request.headers.get("accept-language", ""))
            return {
                **evidence.spoken(lang),
                header: fragments.header(lang),
                tagline: fragments.tagline(lang),
                language: gr.update(value=lang, label=say("page.language", lang)),
                upload: gr.update(label=say("page.upload", lang)),
                sample: say("page.sample", lang),
                tips: gr.update(value=fragments.tips(lang)),
            }

        # "from __future__ import annotations" leaves names where Gradio looks for the class.
        greet.__annotations__["request"] = gr.Request

        # One photo at a time; the events that need no detector never wait for it.
        detecting: dict[str, Any] = {"concurrency_limit": 1, "concurrency_id": "detect", "show_progress": "hidden"}
        light: dict[str, Any] = {"concurrency_limit": 8, "concurrency_id": "light", "show_progress": "hidden"}
        waiting = {
            "fn": lambda lang: (
                gr.update(value=fragments.working(lang), visible=True),
                gr.update(visible=False),
                gr.update(visible=False),
            ),
            "inputs": [language],
            "outputs": [status, result, tips],
            "queue": False,
            "show_progress": "hidden",
            **quiet,
        }
        upload.upload(**waiting).then(look, [upload, language], everything, **detecting, **quiet)
        sample.click(**waiting).then(look_at_sample, [language], everything, **detecting, **quiet)
        for slot, radio in enumerate(radios):
            radio.input(partial(answer_question, slot), [radio, state, language], everything, **light, **quiet)
        evidence.wire(language, state, {**detecting, "show_progress": "minimal", **quiet})
        spoken = list(dict.fromkeys([*static, *everything]))
        language.input(speak, [language, state], spoken, **light, **quiet)
        language.change(None, [language], None, js=_set_language(), **quiet)
        blocks.load(greet, None, static, **light, **quiet)
    return blocks.queue(api_open=False, max_size=MAX_WAITING)


def _set_language() -> str:
    """JavaScript that tells the browser, and so screen readers, which language the page speaks."""
    titles = json.dumps({lang: say("page.title", lang) for lang in LANGS})
    return (
        "(lang) => { document.documentElement.lang = lang === 'zh' ? 'zh-CN' : 'en';"
        f" document.title = {titles}[lang]; }}"
    )


def preferred(accept_language: str) -> Lang:
    """The language that a browser asks for first; English where it asks for others only, Chinese if it says nothing."""
    wanted: list[tuple[float, str]] = []
    for part in accept_language.split(","):
        tag, _, weight = part.strip().partition(";q=")
        with suppress(ValueError):
            wanted.append((-float(weight or 1), tag.lower()))
    for _, tag in sorted(wanted, key=lambda pair: pair[0]):
        for lang in LANGS:
            if tag.startswith(lang):
                return lang
    return "en" if accept_language.strip(" *") else "zh"


def _asked(before: tuple[str, ...], diagnosis: Diagnosis) -> tuple[str, ...]:
    """The questions of a page in a steady order: those that stand there stay where they are."""
    still_open = [question.id for question in diagnosis.verdict.questions]
    kept = [question for question in before if question in still_open or question in diagnosis.answers]
    return tuple(dict.fromkeys([*kept, *still_open]))[:QUESTIONS]


def _small_jpeg(rgb: NDArray[np.uint8]) -> bytes:
    from PIL import Image

    image = Image.fromarray(rgb)
    image.thumbnail((SHOWN_SIDE, SHOWN_SIDE))
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=90)
    return buffer.getvalue()


def _say_error(key: str, **values: str) -> UserError:
    sentences: Mapping[Lang, str] = {lang: say(key, lang, **values) for lang in LANGS}
    return UserError(sentences["zh"], sentences["en"])
