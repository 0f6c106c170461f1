"""The training tab of the trainer's page: start a training, watch it, compare, promote, go back."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import Any

from app.advisor import Advisor
from app.pages import fragments, trainer_parts
from app.records.correction import correction_error
from app.records.corrections import Corrections
from app.records.dataset_export import Model
from app.records.jobs import Job, Jobs, lacking
from app.texts import say
from knowledge.text import Lang, UserError

TICK = 2.0  # seconds between two looks at a running job
SHORT = 0.05  # hours that stand there to begin with
_QUIET: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden"}

Who = Callable[[Any], str]
"""The name of the user whose session a request bears."""


class Room:
    """What both languages' pages work on: the queue, the jobs, and the advisor that serves the models."""

    def __init__(self, advisor: Advisor) -> None:
        self.advisor, self.home = advisor, advisor.home
        self.jobs = Jobs(advisor.home, self._ended)

    @cached_property
    def corrections(self) -> Corrections:
        """The queue, opened when it is first needed."""
        return Corrections.open(self.home)

    def _ended(self, job: Job) -> None:
        if job.kind == "promote" and job.state == "done":
            self.advisor.load_anew()

    def back(self, model: Model) -> str:
        """Serve the version before; its name.

        Raises:
            ModelError: if there is none.
        """
        from models.versions import Versions

        version = Versions(model, self.home).back()
        self.advisor.load_anew()
        return version

    def latest(self, model: Model, *, done: bool = False) -> Job | None:
        """The last job about a model, or its last training that ended well."""
        fitting = (job for job in self.jobs.all() if job.model == model)
        return next((job for job in fitting if not done or (job.kind == "train" and job.state == "done")), None)

    def card(self, model: Model) -> str:
        """The card of the model that is served, in Markdown."""
        from models import current_folder

        try:
            return (current_folder(model, self.home) / "README.md").read_text("utf-8")
        except (UserError, OSError):
            return ""


class TrainingTab:
    """The widgets, made inside ``gradio.Blocks`` where they shall stand, and their events."""

    def __init__(self, room: Room, lang: Lang, model: Any) -> None:  # noqa: ANN401 - gradio.Radio
        import gradio as gr

        self.room, self.lang, self.model = room, lang, model
        self.missing = lacking()
        if self.missing:
            gr.HTML(fragments.error(self.say("no_extra")), elem_id="yc-no-extra")
        with gr.Row(visible=not self.missing):
            self.hours = gr.Number(SHORT, label=self.say("hours"), step=0.001, elem_id="yc-hours")
            self.start = gr.Button(self.say("start"), variant="primary", elem_id="yc-start")
        gr.HTML(fragments.quiet(f"{self.say('start_hint')} {self.say('own_only')}"), visible=not self.missing)
        self.told = gr.HTML(elem_id="yc-told")
        self.status = gr.HTML(elem_id="yc-job")
        self.cancel = gr.Button(self.say("cancel"), visible=False, elem_id="yc-cancel")
        self.compared = gr.HTML(elem_id="yc-comparison")
        with gr.Accordion(self.say("log"), open=False, elem_id="yc-logs"):
            self.printed = gr.HTML()
        self.reason = gr.Textbox(label=self.say("reason"), visible=False, elem_id="yc-reason")
        with gr.Row():
            self.promote = gr.Button(self.say("promote"), visible=False, elem_id="yc-promote")
            self.back = gr.Button(self.say("back"), elem_id="yc-back")
        with gr.Column(visible=False) as self.sure:
            self.question = gr.HTML(elem_id="yc-sure")
            with gr.Row():
                self.yes_promote = gr.Button(self.say("confirm_promote"), variant="stop", elem_id="yc-yes-promote")
                self.yes_back = gr.Button(self.say("confirm_back"), variant="stop", elem_id="yc-yes-back")
                self.no = gr.Button(self.say("keep"), elem_id="yc-no")
        self.known = gr.HTML(elem_id="yc-versions")
        with gr.Accordion(self.say("card"), open=False, elem_id="yc-card-of-model"):
            self.card = gr.Markdown(sanitize_html=True, latex_delimiters=[])
        self.timer = gr.Timer(TICK, active=False)

    def say(self, key: str, **values: object) -> str:
        """Words of this page."""
        return say(f"trainer.{key}", self.lang, **values)

    def wire(self, blocks: Any, who: Who) -> None:  # noqa: ANN401 - gradio.Blocks
        """Hang in the events. ``who``: whose request it is."""
        import gradio as gr

        everything = [
            self.status, self.cancel, self.compared, self.printed, self.promote, self.reason, self.timer, self.told,
            self.sure, self.known, self.card,
        ]  # fmt: skip
        asking = [self.sure, self.question, self.yes_promote, self.yes_back]

        def doing(act: Callable[..., str]) -> Callable[..., dict[Any, Any]]:
            def run(request: gr.Request, chosen: Model, *given: Any) -> dict[Any, Any]:  # noqa: ANN401
                try:
                    words = act(who(request), chosen, *given)
                except UserError as error:
                    words = fragments.error(error.text.in_(self.lang))
                return self.settled(chosen, words)

            run.__annotations__["request"] = gr.Request  # a name otherwise, where Gradio looks for the class
            return run

        blocks.load(self.settled, [self.model], everything, **_QUIET)
        self.model.input(self.settled, [self.model], everything, **_QUIET)
        self.timer.tick(self.tick, [self.model], everything, **_QUIET)
        self.start.click(doing(self._begin), [self.model, self.hours], everything, **_QUIET)
        self.cancel.click(doing(self._stop), [self.model], everything, **_QUIET)
        self.promote.click(self._ask_promote, [self.model], asking, **_QUIET)
        self.back.click(self._ask_back, [self.model], asking, **_QUIET)
        self.yes_promote.click(doing(self._promote), [self.model, self.reason], everything, **_QUIET)
        self.yes_back.click(doing(self._go_back), [self.model], everything, **_QUIET)
        self.no.click(lambda: gr.update(visible=False), None, self.sure, **_QUIET)

    def look(self, chosen: Model) -> dict[Any, Any]:
        """How far the running job is, else what came of the last one about this model."""
        import gradio as gr

        running = self.room.jobs.current()
        last = running or self.room.latest(chosen)
        good = self.room.latest(chosen, done=True)
        offered = good is not None and running is None and not self.missing
        printed = self.room.jobs.log(last) if last else ()
        refused = last is not None and last.kind == "promote" and last.state == "failed"
        result = last.result if refused and last else good.result if good else {}
        return {
            self.status: trainer_parts.job(last, self.lang),
            self.cancel: gr.update(visible=running is not None),
            self.compared: trainer_parts.comparison(result, self.lang),
            self.printed: trainer_parts.log(printed),
            self.promote: gr.update(visible=offered),
            self.reason: gr.update(visible=offered and bool(good and good.result.get("against"))),
            self.timer: gr.update(active=running is not None),
        }

    def settled(self, chosen: Model, words: str = "") -> dict[Any, Any]:
        """Everything anew, with ``words`` about what was just done."""
        import gradio as gr

        from models.versions import Versions

        try:
            known = trainer_parts.versions(Versions(chosen, self.room.home).all(), self.lang)
        except UserError as error:
            known = fragments.error(error.text.in_(self.lang))
        fresh = {self.told: words, self.sure: gr.update(visible=False), self.known: known}
        return {**self.look(chosen), **fresh, self.card: self.room.card(chosen)}

    def tick(self, chosen: Model) -> dict[Any, Any]:
        """While a job runs; once more when it is over, since versions may have changed."""
        import gradio as gr

        if self.room.jobs.current() is not None:
            return self.look(chosen)
        return {**self.settled(chosen), self.told: gr.skip(), self.sure: gr.skip()}

    def _begin(self, by: str, chosen: Model, hours: float | None) -> str:
        self.room.jobs.train(chosen, float(hours or 0), by, self.room.corrections)
        return ""

    def _stop(self, _: str, __: Model) -> str:
        if (running := self.room.jobs.current()) is not None:
            self.room.jobs.cancel(running.id)
        return ""

    def _promote(self, by: str, chosen: Model, reason: str | None) -> str:
        good = self.room.latest(chosen, done=True)
        if good is None:
            raise correction_error("trainer.not_trained")
        self.room.jobs.promote(good, by, reason or "")
        return ""

    def _go_back(self, _: str, chosen: Model) -> str:
        return fragments.good(self.say("backed", version=self.room.back(chosen)))

    def _ask_promote(self, chosen: Model) -> dict[Any, Any]:
        return self._ask("promote", chosen)

    def _ask_back(self, chosen: Model) -> dict[Any, Any]:
        return self._ask("back", chosen)

    def _ask(self, which: str, chosen: Model) -> dict[Any, Any]:
        import gradio as gr

        words = self.say(f"sure_{which}", model=self.say(f"model_{chosen}"))
        return {
            self.sure: gr.update(visible=True),
            self.question: f'<p class="yc-warning" role="alert">{words}</p>',
            self.yes_promote: gr.update(visible=which == "promote"),
            self.yes_back: gr.update(visible=which == "back"),
        }
