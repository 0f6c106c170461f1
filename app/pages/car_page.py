"""The part of the page about the owner's own car: its facts, what is due on it, and what photos showed before.

What the browser keeps stands in its localStorage; each event gets it, and gives back what it is to be from then on.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import date
from typing import TYPE_CHECKING, Any

from app.pages import fragments
from app.pages.car_desk import CarDesk, Store, history_html, seen_of
from app.records.garage import Dossier, GoneError, Seen
from app.texts import say
from knowledge.maintenance import DRIVES, GEARBOXES
from knowledge.text import Lang, UserError

if TYPE_CHECKING:
    from app.pages.sitting import Sitting

STORAGE = "yangche-car"
"""The name in the browser's localStorage."""
FACTS = ("brand", "series", "since", "km", "drive", "gearbox", "plate", "heavy")
CHOICES: Mapping[str, tuple[str, ...]] = {"drive": DRIVES, "gearbox": GEARBOXES}
LIGHT = {"concurrency_id": "light", "concurrency_limit": 8}
"""These events look at no photo, and never wait for one."""
# A tap on a button inside one of our lists tells which one it was.
TAPS = """element.addEventListener('click', event => {
  const button = event.target.closest('button[data-key]');
  if (button) trigger('click', {act: button.dataset.act, key: button.dataset.key}); });"""

Change = Callable[..., tuple[Dossier, str]]
"""Makes the dossier that is to be kept, and the sentence that says what was done."""


class CarSection:
    """The widgets of the car."""

    def __init__(self, desk: CarDesk) -> None:
        import gradio as gr

        self.desk = desk
        # The "secret" is no secret, it only has to stay the same: the browser's owner may read what is kept there.
        self.store = gr.BrowserState({}, storage_key=STORAGE, secret=STORAGE)
        self.found = gr.State(())
        with gr.Accordion(say("car.title", "zh"), open=False, elem_id="yc-car") as self.whole:
            self.where = gr.HTML(elem_id="yc-car-where")
            self.take_km = gr.Button(visible=False, elem_id="yc-car-take-km")
            self.add = gr.Button(visible=False, elem_id="yc-car-add")
            self.facts = self._facts()
            self.save = gr.Button(variant="primary", elem_id="yc-car-save")
            self.status = gr.HTML(elem_id="yc-car-status")
            self.due = gr.HTML(elem_id="yc-due", js_on_load=TAPS)
            with gr.Accordion(open=False, elem_id="yc-earlier") as self.earlier:
                with gr.Row():
                    self.item = gr.Dropdown([], min_width=140, elem_id="yc-done-item")
                    self.done_km = gr.Textbox(max_length=12, min_width=140, elem_id="yc-done-km")
                    self.done_month = gr.Textbox(
                        max_length=10, min_width=140, placeholder="2026-02", elem_id="yc-done-month"
                    )
                self.note = gr.Button(elem_id="yc-done-note")
            self.history = gr.HTML(elem_id="yc-car-history", js_on_load=TAPS)
            self.keep = gr.Checkbox(False, elem_id="yc-car-keep")
            self.on_server = gr.Checkbox(False, elem_id="yc-car-server")
            self.delete = gr.Button(size="sm", elem_id="yc-car-delete")
            self.sure = gr.Button(visible=False, variant="stop", size="sm", elem_id="yc-car-sure")

    def _facts(self) -> dict[str, Any]:
        import gradio as gr

        facts: dict[str, Any] = {}
        for names in (FACTS[:2], FACTS[2:4], FACTS[4:6], FACTS[6:]):
            with gr.Row():
                for name in names:
                    style = {"min_width": 140, "elem_id": f"yc-car-{name}"}
                    if name in CHOICES:
                        facts[name] = gr.Dropdown(_choices(name, "zh"), value="", **style)
                    elif name == "heavy":
                        facts[name] = gr.Checkbox(False, **style)
                    else:
                        hint = {"since": "2020-05", "km": "62000"}.get(name)
                        facts[name] = gr.Textbox(max_length=60, placeholder=hint, **style)
        return facts

    @property
    def words(self) -> list[Any]:
        """The widgets whose words change with the language; the lists do by an event of their own."""
        buttons = [self.save, self.note, self.delete, self.sure]
        return [self.whole, *self.facts.values(), *buttons, self.earlier, self.item, self.done_km, self.done_month,
                self.keep, self.on_server]  # fmt: skip

    def spoken(self, lang: Lang) -> dict[Any, Any]:
        """The words of this part in ``lang``."""
        import gradio as gr

        more = {name: {"choices": _choices(name, lang)} for name in CHOICES}
        labels = {self.whole: "title", self.earlier: "earlier", self.item: "item", self.done_km: "done_km",
                  self.done_month: "done_month", self.keep: "keep", self.on_server: "on_server"}  # fmt: skip
        values = {self.save: "save", self.note: "note", self.delete: "delete", self.sure: "sure"}
        return {
            **{
                box: gr.update(label=say(f"car.{name}", lang), **more.get(name, {})) for name, box in self.facts.items()
            },
            **{widget: gr.update(label=say(f"car.{key}", lang)) for widget, key in labels.items()},
            **{widget: gr.update(value=say(f"car.{key}", lang)) for widget, key in values.items()},
        }

    @property
    def changing(self) -> list[Any]:
        """What hangs on the photos: what may be noted of them."""
        return [self.found, self.add, self.take_km]

    def shown(self, sitting: Sitting | None, lang: Lang) -> dict[Any, Any]:
        """The photos' diagnoses as they would be noted, and the mileage that was read off one."""
        import gradio as gr

        found = tuple(seen_of(answer, date.today()) for answer in sitting.answers) if sitting else ()
        km = _mileage(found)
        offer = "" if km is None else say("car.take_km", lang, km=f"{km:,}")
        return {
            self.found: found,
            self.add: gr.update(value=say("car.add", lang), visible=bool(found)),
            self.take_km: gr.update(value=offer, visible=km is not None),
        }

    def wire(self, language: Any, state: Any, options: Mapping[str, Any]) -> None:  # noqa: ANN401 - gradio is untyped
        """Hang in the events."""
        import gradio as gr
        from gradio.context import Context

        del state  # ``found`` holds what counts of it
        light = {**options, **LIGHT, "show_progress": "hidden"}
        told = [self.store, self.status]
        asked = [self.store, language]

        def tapped(store: Store, lang: Lang, event: gr.EventData) -> dict[Any, Any]:
            tap = event._data or {}
            return self._changed(
                store, lang, lambda old: self.desk.tapped(old, str(tap.get("act")), str(tap.get("key")), lang)
            )

        tapped.__annotations__["event"] = gr.EventData  # a name otherwise, where Gradio looks for the class
        for box in (self.due, self.history):
            box.click(tapped, asked, told, **light)
        self.save.click(self._save, [*asked, *self.facts.values()], told, **light)
        self.note.click(
            self._note,
            [*asked, self.item, self.done_km, self.done_month],
            [*told, self.done_km, self.done_month],
            **light,
        )
        self.add.click(self._add, [*asked, self.found], told, **light)
        self.found.change(self._add_unasked, [*asked, self.found], told, **light)
        self.take_km.click(self._take_km, [*asked, self.found], [*told, self.facts["km"]], **light)
        self.keep.input(self._keep, [*asked, self.keep], told, **light)
        self.on_server.input(self._move, [*asked, self.on_server], [*told, self.on_server], **light)
        self.delete.click(lambda: (gr.update(visible=False), gr.update(visible=True)), None,
                          [self.delete, self.sure], **light)  # fmt: skip
        filled = [*self.facts.values(), self.keep, self.on_server]
        self.sure.click(self._empty, asked, [*told, self.delete, self.sure, *filled], **light)
        opening = Context.root_block.load
        opening(self._fill, asked, [*told, *filled], **light)
        lists = [self.where, self.due, self.history, self.item]
        # One event for all three, so that of answers under way the last one stands.
        gr.on([opening, self.store.change, language.change], self._lists, asked, lists,
              trigger_mode="always_last", **light)  # fmt: skip

    def _lists(self, store: Store, lang: Lang) -> dict[Any, Any]:
        """All that shows what is kept."""
        import gradio as gr

        try:
            dossier = self.desk.opened(store)
        except UserError:
            dossier = Dossier()  # the event that fills the page in says why
        token, days = bool(store.get("token")), self.desk.garage.days
        return {
            self.where: fragments.quiet(say("car.in_server" if token else "car.in_browser", lang, days=days)),
            self.due: self.desk.due_html(dossier, lang),
            self.history: history_html(dossier, lang),
            self.item: gr.update(choices=self.desk.names(dossier, lang), value=None),
        }

    def _fill(self, store: Store, lang: Lang) -> dict[Any, Any]:
        """What is kept, into the form. A car that the server has no more is forgotten here, too."""
        import gradio as gr

        if not store:  # a quick owner may be filling the form in already
            return {self.status: gr.skip()}
        try:
            return self._form(store, self.desk.opened(store))
        except GoneError as error:
            return {**self._form({}, Dossier()), self.store: {"n": 1}, self.status: _error(error, lang)}
        except UserError as error:
            return {self.status: _error(error, lang)}

    def _form(self, store: Store, dossier: Dossier) -> dict[Any, Any]:
        car = dossier.car.model_dump()
        return {
            **{box: "" if car[name] is None else str(car[name]) for name, box in self.facts.items() if name != "heavy"},
            self.facts["heavy"]: dossier.car.heavy,
            self.keep: dossier.keep,
            self.on_server: bool(store.get("token")),
        }

    def _changed(self, store: Store, lang: Lang, change: Change) -> dict[Any, Any]:
        """Make a change and keep it; what went wrong instead, if so."""
        try:
            dossier, sentence = change(self.desk.opened(store))
            return {self.store: self.desk.kept(store, dossier), self.status: fragments.good(sentence)}
        except UserError as error:
            return {self.status: _error(error, lang)}

    def _save(self, store: Store, lang: Lang, *values: Any) -> dict[Any, Any]:  # noqa: ANN401 - the form's values
        facts = dict(zip(self.facts, values, strict=True))
        return self._changed(store, lang, lambda old: (self.desk.with_facts(old, facts), say("car.saved", lang)))

    def _note(self, store: Store, lang: Lang, item: str | None, km: str, month: str) -> dict[Any, Any]:
        def change(old: Dossier) -> tuple[Dossier, str]:
            new = self.desk.noted(old, item or "", km, month)
            name = next((shown for shown, id_ in self.desk.names(new, lang) if id_ == item), item or "")
            return new, say("car.noted", lang, item=name)

        changed = self._changed(store, lang, change)
        return {**changed, **({self.done_km: "", self.done_month: ""} if self.store in changed else {})}

    def _add(self, store: Store, lang: Lang, found: tuple[Seen, ...]) -> dict[Any, Any]:
        return self._changed(store, lang, lambda old: (old.with_seen(tuple(found)), say("car.added", lang)))

    def _add_unasked(self, store: Store, lang: Lang, found: tuple[Seen, ...]) -> dict[Any, Any]:
        """Note a diagnosis, or what has become of it, where the owner wants all noted."""
        import gradio as gr

        try:
            wanted = bool(found) and self.desk.opened(store).keep
        except UserError:
            wanted = False
        return self._add(store, lang, found) if wanted else {self.status: gr.skip()}

    def _take_km(self, store: Store, lang: Lang, found: tuple[Seen, ...]) -> dict[Any, Any]:
        km = _mileage(found)
        sentence = say("car.km_taken", lang, km=f"{km or 0:,}")
        changed = self._changed(store, lang, lambda old: (old.with_car(km=km), sentence))
        return {**changed, **({self.facts["km"]: str(km)} if self.store in changed else {})}

    def _keep(self, store: Store, lang: Lang, keep: bool) -> dict[Any, Any]:
        return self._changed(
            store, lang, lambda old: (old.model_copy(update={"keep": bool(keep)}), say("car.saved", lang))
        )

    def _move(self, store: Store, lang: Lang, to_server: bool) -> dict[Any, Any]:
        try:
            moved = self.desk.moved(store, to_server)
        except UserError as error:
            return {self.status: _error(error, lang), self.on_server: bool(store.get("token"))}
        sentence = say("car.moved_in" if to_server else "car.moved_out", lang)
        return {self.store: moved, self.status: fragments.good(sentence)}

    def _empty(self, store: Store, lang: Lang) -> dict[Any, Any]:
        import gradio as gr

        asked_again = {self.delete: gr.update(visible=True), self.sure: gr.update(visible=False)}
        try:
            emptied = self.desk.emptied(store)
        except UserError as error:
            return {**asked_again, self.status: _error(error, lang)}
        done = fragments.good(say("car.deleted", lang))
        return {**asked_again, **self._form(emptied, Dossier()), self.store: emptied, self.status: done}


def _choices(fact: str, lang: Lang) -> list[tuple[str, str]]:
    return [(say("car.unsaid", lang), ""), *((say(f"car.{one}", lang), one) for one in CHOICES[fact])]


def _mileage(found: tuple[Seen, ...]) -> int | None:
    """The odometer as the photos show it; the highest, since none runs backwards."""
    return max((photo.km for photo in found if photo.km is not None), default=None)


def _error(error: UserError, lang: Lang) -> str:
    return fragments.error(error.text.in_(lang))
