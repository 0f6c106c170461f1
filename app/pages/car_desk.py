"""What the page does with the owner's own car, apart from its widgets: facts, what is due, what photos showed."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from datetime import date
from html import escape
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from app.commands.maintenance import told, usage
from app.commands.options import user_error
from app.pages import fragments
from app.records.garage import Dossier, Garage, Record, Seen
from app.texts import say
from knowledge.catalogue import load_catalogue
from knowledge.maintenance import (
    Due,
    due,
    load_schedule,
    month_of,
    month_text,
    read_done,
    read_km,
    read_month,
)
from knowledge.text import Lang, UserError
from knowledge.vehicles import ANY, Vehicle

if TYPE_CHECKING:
    from pathlib import Path

    from app.pages.sitting import Answer

LEVELS = {"overdue": "stop", "soon": "soon", "unknown": "unsure", "later": "ok"}
"""The colours of the states."""
Store = Mapping[str, Any]
"""What the browser keeps: ``dossier``, or the ``token`` of one that the server keeps; ``n`` grows with each change."""


def seen_of(answer: Answer, day: date) -> Seen:
    """What is kept of a diagnosis."""
    diagnosis = answer.diagnosis
    return Seen(
        key=hashlib.sha256(answer.small).hexdigest()[:16],
        day=day.isoformat(),
        kind=diagnosis.kind,
        level=diagnosis.verdict.level,
        lamps=tuple(dict.fromkeys(lamp.light.id for lamp in diagnosis.lamps)),
        km=diagnosis.mileage_km,
    )


class CarDesk:
    """The events of this part of the page, apart from Gradio's wiring."""

    def __init__(self, home: Path, garage: Garage) -> None:
        self.home, self.garage = home, garage

    def opened(self, store: Store) -> Dossier:
        """The dossier that a browser's store holds or leads to.

        Raises:
            GarageError: if the server should have it, and has not.
        """
        token = str(store.get("token") or "")
        return self.garage.load(token) if token else Dossier.read(store.get("dossier") or {})

    def vehicle(self, store: Store) -> Vehicle:
        """The car for the search of past fixes; nothing where there is none, or it can't be read just now."""
        try:
            car = self.opened(store).car
        except UserError:
            return ANY
        year = car.since[:4]
        return Vehicle(car.brand, car.series, int(year) if year.isdecimal() else None)

    def kept(self, store: Store, dossier: Dossier) -> dict[str, Any]:
        """The store after a change; what the server keeps is written there.

        Raises:
            GarageError: if that can't be done.
        """
        token = str(store.get("token") or "")
        if token:
            self.garage.save(token, dossier)
        return _store(store, token, dossier)

    def moved(self, store: Store, to_server: bool) -> dict[str, Any]:
        """The store with the dossier moved to the server, or back from it.

        Raises:
            GarageError: if that can't be done.
        """
        token, dossier = str(store.get("token") or ""), self.opened(store)
        if to_server and not token:
            return _store(store, self.garage.save("", dossier), dossier)
        if token and not to_server:
            self.garage.delete(token)
            return _store(store, "", dossier)
        return dict(store)

    def emptied(self, store: Store) -> dict[str, Any]:
        """The store after everything was deleted, here and on the server.

        Raises:
            GarageError: if that can't be done.
        """
        if token := str(store.get("token") or ""):
            self.garage.delete(token)
        return _store(store, "", Dossier())

    def with_facts(self, dossier: Dossier, facts: Mapping[str, Any]) -> Dossier:
        """With what the owner filled in.

        Raises:
            UserError: if something of it can't be read.
        """
        km = str(facts.get("km") or "").strip()
        since = str(facts.get("since") or "").strip()
        if since:
            month, exact = read_month(since)
            since = month_text(month) if exact else str(month // 12)
        changed = {**{key: value or "" for key, value in facts.items()}, "since": since}
        try:
            changed_car = dossier.with_car(
                **{**changed, "heavy": bool(facts.get("heavy")), "km": read_km(km) if km else None}
            )
        except ValidationError as error:
            raise user_error("car.failed") from error
        self.due(changed_car)  # records that the new mileage contradicts are told at once
        return changed_car

    def noted(self, dossier: Dossier, item: str, km: str, month: str) -> Dossier:
        """With an item noted as done then.

        Raises:
            UserError: if nothing was said, or it contradicts what is known of the car.
        """
        if not item or not (km.strip() or month.strip()):
            raise user_error("car.note_what")
        name, done = read_done(f"{item}={km}@{month}", load_schedule(self.home))
        changed = dossier.with_done(name, Record(km=done.km, month=done.month))
        self.due(changed)
        return changed

    def tapped(self, dossier: Dossier, act: str, key: str, lang: Lang) -> tuple[Dossier, str]:
        """What a button inside a list does, and the sentence that says so; ``key``: of the item or photo.

        Raises:
            UserError: if the schedule is broken, or has no such item.
        """
        if act in ("forget", "clear"):
            return dossier.without_seen("" if act == "clear" else key), say("car.removed", lang)
        if act == "restore":
            return dossier.model_copy(update={"absent": ()}), say("car.saved", lang)
        item = load_schedule(self.home).get(key)
        if item is None:
            raise user_error("car.note_what")
        if act == "absent":
            absent = tuple(dict.fromkeys([*dossier.absent, key]))
            return dossier.model_copy(update={"absent": absent}), say("car.hidden", lang, item=item.name.in_(lang))
        record = Record(km=dossier.car.km, month=month_of(date.today())) if act == "done" else None
        sentence = say("car.noted" if record else "car.taken_back", lang, item=item.name.in_(lang))
        return dossier.with_done(key, record), sentence

    def due(self, dossier: Dossier) -> tuple[Due, ...] | None:
        """What is due on the car; None as long as its drive isn't known.

        Raises:
            UserError: if the schedule is broken, or what was told contradicts itself.
        """
        car = dossier.car
        if not car.drive:
            return None
        km = "" if car.km is None else str(car.km)
        known = usage(car.drive, km, car.since, car.gearbox, car.heavy)
        schedule = {id_: item for id_, item in load_schedule(self.home).items() if id_ not in dossier.absent}
        return due(schedule, known, dossier.records, date.today())

    def due_html(self, dossier: Dossier, lang: Lang) -> str:
        """The list of what is due."""
        title = f"<h3>{_t('due', lang)}</h3>"
        try:
            found = self.due(dossier)
        except UserError as error:
            return title + fragments.error(error.text.in_(lang))
        if found is None:
            return title + fragments.quiet(say("car.need_drive", lang))
        rows = {state: [_row(one, lang) for one in found if one.state == state] for state in LEVELS}
        urgent = [*rows["overdue"], *rows["soon"]]
        first = f'<ul class="yc-dues">{"".join(urgent)}</ul>' if urgent else ""
        if not urgent and not rows["unknown"]:
            first = fragments.quiet(say("car.nothing_due", lang))
        folded = "".join(
            f"<details{'' if urgent or state == 'later' else ' open'}>"
            f"<summary>{escape(say(f'car.count_{state}', lang, n=len(rows[state])))}</summary>"
            f'<ul class="yc-dues">{"".join(rows[state])}</ul></details>'
            for state in ("unknown", "later")
            if rows[state]
        )
        hidden = f"<p>{_button('restore', 'all', 'restore', lang, n=len(dossier.absent))}</p>" if dossier.absent else ""
        return title + first + folded + hidden + fragments.quiet(say("upkeep.manual", lang))

    def names(self, dossier: Dossier, lang: Lang) -> list[tuple[str, str]]:
        """The items that can be noted as done, with their ids."""
        try:
            return [(one.item.name.in_(lang), one.item.id) for one in self.due(dossier) or ()]
        except UserError:
            return []


def history_html(dossier: Dossier, lang: Lang) -> str:
    """What photos showed, newest first."""
    title = f"<h3>{_t('history', lang)}</h3>"
    if not dossier.seen:
        return title + fragments.quiet(say("car.no_history", lang))
    lights = load_catalogue().lights
    rows = []
    for photo in dossier.seen:
        level = photo.level if photo.level in fragments.SIGNS else "unsure"
        kind = photo.kind if photo.kind in ("dashboard", "accident") else "other"
        lamps = [lights[lamp].name.in_(lang) for lamp in photo.lamps if lamp in lights]
        km = [say("upkeep.km", lang, km=f"{photo.km:,}")] if photo.km is not None else []
        facts = " · ".join([say(f"car.{kind}", lang), *lamps, *km])
        rows.append(
            f'<li class="yc-due yc-edge-{level}"><p><strong>{escape(photo.day)}</strong> '
            f'<span class="yc-badge yc-{level}">{escape(say(f"level.{level}", lang))}</span></p>'
            f"<p>{escape(facts)}</p>{_button('forget', photo.key, 'remove', lang)}</li>"
        )
    return f'{title}<ul class="yc-dues">{"".join(rows)}</ul><p>{_button("clear", "all", "clear", lang)}</p>'


def _row(one: Due, lang: Lang) -> str:
    """One item: how it stands, when it was last done, what it rests on, and the button that notes it as done."""
    item, level = one.item, LEVELS[one.state]
    last = ""
    if one.last:
        parts = [] if one.last.km is None else [say("upkeep.km", lang, km=f"{one.last.km:,}")]
        parts += [] if one.last.month is None else [month_text(one.last.month)]
        when = escape(say("car.last", lang, when=" · ".join(parts)))
        last = f'<p class="yc-quiet">{when} {_button("undo", item.id, "undo", lang)}</p>'
    # That nothing was noted is what the badge says.
    stands = (
        "" if one.state == "unknown" and one.month is None and not one.last else f"<p>{escape(told(one, lang))}</p>"
    )
    why = say("upkeep.if_left", lang, left=item.left.in_(lang)), say("upkeep.basis", lang, basis=item.basis.in_(lang))
    reasons = "".join(f"<p>{escape(line)}</p>" for line in why)
    if item.only_if:
        reasons += f"<p>{escape(item.only_if.in_(lang))}</p>{_button('absent', item.id, 'absent', lang)}"
    return (
        f'<li class="yc-due yc-edge-{level}" data-item="{escape(item.id)}" data-state="{one.state}">'
        f'<div class="yc-due-head"><p><strong>{escape(item.name.in_(lang))}</strong> '
        f'<span class="yc-badge yc-{level}">{escape(say(f"upkeep.{one.state}", lang))}</span></p>'
        f"{_button('done', item.id, 'today', lang)}</div>{stands}{last}"
        f"<details><summary>{_t('why', lang)}</summary>{reasons}</details></li>"
    )


def _button(act: str, key: str, word: str, lang: Lang, **values: object) -> str:
    words = escape(say(f"car.{word}", lang, **values))
    return f'<button type="button" data-act="{act}" data-key="{escape(key)}">{words}</button>'


def _store(store: Store, token: str, dossier: Dossier) -> dict[str, Any]:
    kept = {} if token else dossier.model_dump(mode="json")
    return {"token": token, "dossier": kept, "n": int(store.get("n") or 0) + 1}


def _t(key: str, lang: Lang) -> str:
    return escape(say(f"car.{key}", lang))
