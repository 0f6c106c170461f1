"""The owner's page, in Gradio: photos in, annotated photo and advice out, questions that change the advice at once."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

from app.advisor import Advisor
from app.pages import fragments
from app.pages.car_desk import CarDesk, Store
from app.pages.car_page import CarSection
from app.pages.evidence_page import EvidenceDesk
from app.pages.evidence_page import Section as EvidenceSection
from app.pages.nearby_page import NearbySection
from app.pages.report_page import ReportDesk, ReportSection
from app.pages.section import Section
from app.pages.sitting import QUESTIONS, Page, Sitting, Step
from app.pages.wrong_page import WrongDesk, WrongSection
from app.records.cabinet import Cabinet
from app.records.garage import Garage
from app.texts import say
from knowledge.text import LANGS, Lang

SAMPLE = Path(__file__).parents[1] / "sample.jpg"
# Seconds after which an upload is deleted, and after which an answer is forgotten whose page was left alone.
UPLOAD_LIFE = 120
ANSWER_LIFE = 3600
# Events of one kind that are under way at once. Photos wait for their turn in the advisor's line, not in Gradio's.
OWNERS = 8
MAX_EVENTS = 400  # that wait


def build(advisor: Advisor, cabinet: Cabinet) -> Any:  # noqa: ANN401 - gradio.Blocks, which is untyped
    """The page as ``gradio.Blocks``; ``cabinet`` keeps evidence packages for their download."""
    import gradio as gr

    with gr.Blocks(
        title=say("page.title", "zh"), analytics_enabled=False, delete_cache=(UPLOAD_LIFE // 2, UPLOAD_LIFE)
    ) as blocks:
        view = _View(advisor, cabinet)
        view.wire(blocks)
    return blocks.queue(api_open=False, max_size=MAX_EVENTS)


class _View:
    """The widgets in their places, and what each event shows in them."""

    def __init__(self, advisor: Advisor, cabinet: Cabinet) -> None:
        import gradio as gr

        self.page = Page(advisor)
        self.state = gr.State(None, time_to_live=ANSWER_LIFE)
        self._top()
        self.status = gr.HTML(elem_id="yc-status", visible=False)
        self.tips = gr.HTML(fragments.tips("zh"), elem_id="yc-tips")
        with gr.Column(visible=False) as self.result:
            self._answer()
            self.sections: list[Section] = [
                ReportSection(ReportDesk(self.page, cabinet)),
                EvidenceSection(EvidenceDesk(advisor, cabinet)),
                WrongSection(WrongDesk(advisor)),
            ]
        # What stands there without a photo, too.
        self.car = CarSection(CarDesk(advisor.home, Garage.open(advisor.home)))
        self.sections += [self.car, NearbySection(advisor.home)]

    def _top(self) -> None:
        import gradio as gr

        with gr.Row(elem_id="yc-top"):
            self.header = gr.HTML(fragments.header("zh"), elem_id="yc-header")
            self.language = gr.Radio(
                [("中文", "zh"), ("English", "en")],
                value="zh",
                show_label=False,
                container=False,
                elem_id="yc-language",
                interactive=True,
            )
        self.tagline = gr.HTML(fragments.tagline("zh"), elem_id="yc-tagline")
        with gr.Row():
            self.upload = gr.UploadButton(
                say("page.upload", "zh"),
                file_count="multiple",
                file_types=["image", ".heic", ".heif"],
                type="binary",
                variant="primary",
                elem_id="yc-upload",
                scale=3,
                min_width=220,
            )
            self.sample = gr.Button(say("page.sample", "zh"), elem_id="yc-sample", scale=1, min_width=160)

    def _answer(self) -> None:
        import gradio as gr

        self.photos = gr.Radio([], visible=False, interactive=True, elem_id="yc-photos")
        self.parts = {"banner": gr.HTML(elem_id="yc-banner")}
        self.reading = gr.HTML(elem_id="yc-reading", visible=False)
        with gr.Row():
            with gr.Column(min_width=320):
                self.parts["picture"] = gr.HTML(elem_id="yc-picture")
            with gr.Column(min_width=320):
                self.parts["steps"] = gr.HTML(elem_id="yc-steps")
                self.radios = [
                    gr.Radio([], visible=False, interactive=True, elem_classes="yc-question") for _ in range(QUESTIONS)
                ]
        for name in ("cards", "fixes", "limits"):
            self.parts[name] = gr.HTML(elem_id=f"yc-{name}")

    def shown(self, step: Step, lang: Lang) -> dict[Any, Any]:
        """Everything that hangs on the photos. Questions may be answered once nothing more follows by itself."""
        import gradio as gr

        sitting, settled = step.sitting, not step.left
        html = self.page.shown(sitting, lang) if sitting else {}
        return {
            self.state: sitting,
            self.status: gr.update(value=fragments.errors(step.refused, lang), visible=bool(step.refused)),
            self.reading: gr.update(value=fragments.reading(lang, step.left), visible=not settled),
            self.result: gr.update(visible=sitting is not None),
            self.photos: gr.update(**self.page.photos(sitting, lang), interactive=settled),
            self.upload: gr.update(label=say("page.another" if sitting else "page.upload", lang), value=None),
            self.tips: gr.update(value=fragments.tips(lang), visible=sitting is None),
            **{part: html.get(name, "") for name, part in self.parts.items()},
            **{
                radio: gr.update(**self.page.question(sitting, slot, lang), interactive=settled)
                for slot, radio in enumerate(self.radios)
            },
            **{widget: value for one in self.sections for widget, value in one.shown(sitting, lang).items()},
        }

    def spoken(self, lang: Lang) -> dict[Any, Any]:
        """The words that hang on no photo."""
        import gradio as gr

        return {
            **{widget: value for one in self.sections for widget, value in one.spoken(lang).items()},
            self.header: fragments.header(lang),
            self.tagline: fragments.tagline(lang),
            self.language: gr.update(value=lang, label=say("page.language", lang)),
            self.sample: say("page.sample", lang),
        }

    def settled(self, sitting: Sitting | None, lang: Lang) -> dict[Any, Any]:
        """The page when nothing more follows by itself."""
        return self.shown(Step(sitting, (), 0), lang)

    async def look(
        self, photos: Sequence[bytes] | None, lang: Lang, car: Store | None = None
    ) -> AsyncIterator[dict[Any, Any]]:
        """Photos are looked at one after the other, and shown as soon as anything is known. ``car``: whose they are."""
        async for step in self.page.look_at_all(photos or [b""], self.car.desk.vehicle(car or {})):
            yield self.shown(step, lang)

    async def look_at_sample(self, lang: Lang) -> AsyncIterator[dict[Any, Any]]:
        """The sample photo instead of an upload."""
        async for shown in self.look([SAMPLE.read_bytes()], lang):
            yield shown

    def answer(self, slot: int, choice: str, sitting: Sitting | None, lang: Lang) -> dict[Any, Any]:
        """A question was answered."""
        if sitting is None or slot >= len(sitting.answer.asked):
            return self.settled(None, lang)
        return self.settled(sitting.put(sitting.answer.asked[slot], choice, self.page.advisor), lang)

    def choose(self, chosen: int | None, sitting: Sitting | None, lang: Lang) -> dict[Any, Any]:
        """Another photo is to be shown."""
        return self.settled(sitting and sitting.choose(chosen or 0), lang)

    def speak(self, lang: Lang, sitting: Sitting | None) -> dict[Any, Any]:
        """The other language was chosen."""
        return {**self.spoken(lang), **self.settled(sitting, lang)}

    def greet(self, accept_language: str) -> dict[Any, Any]:
        """The browser's language. It must not touch the answer: a photo may be quicker than this greeting."""
        import gradio as gr

        lang = preferred(accept_language)
        return {
            **self.spoken(lang),
            self.upload: gr.update(label=say("page.upload", lang)),
            self.tips: gr.update(value=fragments.tips(lang)),
        }

    def work(self, lang: Lang) -> dict[Any, Any]:
        """What stands there from the moment that a photo is on its way."""
        import gradio as gr

        return {
            self.status: gr.update(value=fragments.working(lang), visible=True),
            self.result: gr.update(visible=False),
            self.tips: gr.update(visible=False),
        }

    def wire(self, blocks: Any) -> None:  # noqa: ANN401 - gradio.Blocks, which is untyped
        """Hang in the events."""
        import gradio as gr

        quiet: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden"}
        # The events that need no detector never wait for it.
        detecting: dict[str, Any] = {"concurrency_limit": OWNERS, "concurrency_id": "detect", **quiet}
        looking: dict[str, Any] = {"concurrency_limit": None, **quiet}  # the advisor's turns are the limit
        light: dict[str, Any] = {"concurrency_limit": 8, "concurrency_id": "light", **quiet}
        words = [self.header, self.tagline, self.language, self.sample]
        words += [widget for one in self.sections for widget in one.words]
        everything = [self.state, self.status, self.reading, self.result, self.photos, self.upload, self.tips]
        everything += [*self.parts.values(), *self.radios]
        everything += [widget for one in self.sections for widget in one.changing]

        def greet(request: gr.Request) -> dict[Any, Any]:
            return self.greet(request.headers.get("accept-language", ""))

        # "from __future__ import annotations" leaves names where Gradio looks for the class.
        greet.__annotations__["request"] = gr.Request

        working: dict[str, Any] = {"fn": self.work, "outputs": [self.status, self.result, self.tips], "queue": False}
        for button, event, given in (
            (self.upload.upload, self.look, [self.upload, self.language, self.car.store]),
            (self.sample.click, self.look_at_sample, [self.language]),
        ):
            button(inputs=[self.language], **working, **quiet).then(event, given, everything, **looking)
        asking = [self.state, self.language]
        for slot, radio in enumerate(self.radios):
            radio.input(partial(self.answer, slot), [radio, *asking], everything, **light)
        self.photos.input(self.choose, [self.photos, *asking], everything, **light)
        for one in self.sections:
            one.wire(self.language, self.state, {**detecting, "show_progress": "minimal"})
        speaking = list(dict.fromkeys([*words, *everything]))
        self.language.input(self.speak, [self.language, self.state], speaking, **light)
        self.language.change(None, [self.language], None, js=_set_language(), **quiet)
        blocks.load(greet, None, [*words, self.upload, self.tips], **light)


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
