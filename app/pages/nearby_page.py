"""The part of the page with workshops nearby, from the operator's own table.

Where the owner is stays in the page: its script hands the position over with each search, and the answer clears what
the server remembers of the page's fields. No link bears it, nothing logs it.
"""

from __future__ import annotations

import functools
import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from app.commands.options import user_error
from app.commands.shops import TABLE
from app.pages import fragments
from app.texts import say
from knowledge.shops import Near, Refusal, Shop, load_shops, nearest
from knowledge.text import Lang, UserError

if TYPE_CHECKING:
    from app.pages.sitting import Sitting

SHOWN = 10  # shops
LIGHT = {"concurrency_id": "light", "concurrency_limit": 8}
_DEGREES = r"([+-]?\d{1,3}(?:\.\d{1,15})?)\s*°?\s*([NSEW]?)"
REFUSALS = ("denied", "insecure", "unavailable")
"""What the script says in place of a position; each has its sentence."""


@functools.lru_cache(maxsize=4)
def _read(path: Path, _stamp: tuple[int, int]) -> tuple[tuple[Shop, ...], tuple[Refusal, ...]]:
    return load_shops(path)


def shops_of(home: Path) -> tuple[Shop, ...] | None:
    """The shops of the operator's table, read anew once it changed; None where there is no table.

    Raises:
        UserError: if the table can't be read.
    """
    path = home / TABLE
    try:
        stat = path.stat()
    except OSError:
        return None
    return _read(path, (stat.st_mtime_ns, stat.st_size))[0]


def services_of(shops: Iterable[Shop]) -> list[str]:
    """What the shops offer, in the order in which the table first names it."""
    return list(dict.fromkeys(service for shop in shops for service in shop.services))


def near(
    shops: Sequence[Shop], place: tuple[float, float], now: datetime, k: int = SHOWN, service: str = "",
    open_only: bool = False,
) -> tuple[Near, ...]:  # fmt: skip
    """The ``k`` nearest shops; with ``open_only`` those only whose hours say that they are open.

    Raises:
        UserError: if the place is none on earth.
    """
    wanted = (shop for shop in shops if not open_only or shop.open_at(now))
    return nearest(wanted, *place, k, service)


def place_of(text: str) -> tuple[float, float]:
    """Latitude and longitude as a map app or a person writes them: "31.23,121.47", "31.23° N, 121.47° E".

    Where only that makes a place on earth the longitude may come first, as some Chinese maps write it.

    Raises:
        UserError: if it is no such pair.
    """
    plain = unicodedata.normalize("NFKC", text).replace("\u2212", "-").upper().strip("()[] \t")
    found = re.fullmatch(rf"{_DEGREES}\s*[,;、\s]\s*{_DEGREES}", plain, re.ASCII)
    if found is None:
        raise user_error("nearby.no_place")
    one, other = (float(found[n]) * (-1 if found[n + 1] in ("S", "W") else 1) for n in (1, 3))
    named = found[2] in ("E", "W") or found[4] in ("N", "S")
    if named or (90 < abs(one) <= 180 and abs(other) <= 90):
        one, other = other, one
    if not (abs(one) <= 90 and abs(other) <= 180):
        raise user_error("nearby.no_place")
    return one, other


def cards(found: Sequence[Near], now: datetime, lang: Lang) -> str:
    """The shops that were found, nearest first."""
    if not found:
        return fragments.quiet(say("nearby.none", lang))
    return f'<div class="yc-cards yc-shops">{"".join(_card(one, now, lang) for one in found)}</div>'


def _card(one: Near, now: datetime, lang: Lang) -> str:
    shop = one.shop
    key, level = {True: ("open", "ok"), False: ("closed", "unsure"), None: ("open_unknown", "first")}[shop.open_at(now)]
    lines = "".join(f"<p>{escape(line)}</p>" for line in (shop.address, shop.hours, "、".join(shop.services)) if line)
    call = ""
    if shop.tel_link:
        words = escape(say("nearby.call", lang, phone=shop.phone))
        call = f'<a class="yc-call" href="{escape(shop.tel_link)}">{words}</a>'
    # iPhones open no geo: links. All of them name the shop, none the owner; the phone's own app takes them over.
    place = f"{shop.latitude:.6f},{shop.longitude:.6f}"
    apple = "https://maps.apple.com/?" + urlencode({"ll": place, "q": shop.name})
    other_way = f"{shop.longitude:.6f},{shop.latitude:.6f}"
    amap = "https://uri.amap.com/marker?" + urlencode({"position": other_way, "name": shop.name})
    maps = "".join(
        f'<a href="{escape(link)}" rel="noreferrer noopener"{target}>{escape(say(f"nearby.{word}", lang))}</a>'
        for word, link, target in (
            ("map", shop.map_link, ""),
            ("amap", amap, ' target="_blank"'),
            ("apple", apple, ' target="_blank"'),
        )
    )
    return (
        f'<article class="yc-card yc-edge-{level}"><h4>{escape(shop.name)}</h4>'
        f'<p><span class="yc-badge yc-{level}">{escape(say(f"shops.{key}", lang))}</span> '
        f'<span class="yc-quiet">{escape(say("shops.km", lang, km=f"{one.km:.1f}"))}</span></p>'
        f'{lines}<p class="yc-links">{call}{maps}</p></article>'
    )


class NearbySection:
    """The widgets: the position, what is to be done, and the shops."""

    def __init__(self, home: Path) -> None:
        import gradio as gr

        self.home = home
        with gr.Accordion(say("nearby.title", "zh"), open=False, elem_id="yc-nearby") as self.whole:
            self.intro = gr.HTML(elem_id="yc-nearby-intro")
            with gr.Column(visible=False) as self.form:
                self.locate = gr.Button(variant="primary", elem_id="yc-locate")
                with gr.Row():
                    self.typed = gr.Textbox(interactive=True, max_length=60, min_width=180, scale=3, elem_id="yc-place")
                    self.search = gr.Button(min_width=90, scale=1, elem_id="yc-place-search")
                with gr.Row():
                    self.service = gr.Dropdown([("", "")], value="", min_width=160, elem_id="yc-service")
                    self.open_only = gr.Checkbox(False, min_width=140, elem_id="yc-open-only")
            # Carries the position to the server and comes back empty; it is never shown.
            self.place = gr.Textbox("", visible=False)
            self.found = gr.HTML(elem_id="yc-shops")

    @property
    def words(self) -> list[Any]:
        """The widgets whose words change with the language."""
        return [self.whole, self.intro, self.form, self.locate, self.typed, self.search, self.service, self.open_only]

    def spoken(self, lang: Lang) -> dict[Any, Any]:
        """The words of this part in ``lang``, and whether there are shops at all."""
        import gradio as gr

        shops, intro = self._table(lang)
        services = [(say("nearby.any_service", lang), ""), *((one, one) for one in services_of(shops))]
        return {
            self.whole: gr.update(label=say("nearby.title", lang)),
            self.intro: intro,
            self.form: gr.update(visible=bool(shops)),
            self.locate: say("nearby.locate", lang),
            self.search: say("nearby.search", lang),
            self.typed: gr.update(label=say("nearby.typed", lang), placeholder=say("nearby.typed_hint", lang)),
            self.service: gr.update(label=say("nearby.service", lang), choices=services),
            self.open_only: gr.update(label=say("nearby.open_only", lang)),
        }

    @property
    def changing(self) -> list[Any]:
        """Nothing hangs on the photos."""
        return []

    def shown(self, sitting: Sitting | None, lang: Lang) -> dict[Any, Any]:
        """See ``changing``."""
        del sitting, lang
        return {}

    def wire(self, language: Any, state: Any, options: Mapping[str, Any]) -> None:  # noqa: ANN401 - gradio is untyped
        """Hang in the events: each asks the script for the place, and then for the shops around it."""
        del state
        light = {**options, **LIGHT}
        given = [self.place, self.service, self.open_only, language]
        outputs = [self.found, self.place]
        self.locate.click(self._find, given, outputs, js=LOCATE, **light)
        for event in (self.search.click, self.typed.submit):
            event(self._find, given, outputs, js=TYPED, **light)
        for event in (self.service.input, self.open_only.input, language.change):
            event(self._find, given, outputs, js=AGAIN, **light)

    def _find(self, place: str, service: str | None, open_only: bool, lang: Lang) -> tuple[str, str]:
        """The shops around a place, or what to do about it; and nothing in place of the place."""
        shops, _ = self._table(lang)
        if not (shops and place):
            return "", ""
        if place in REFUSALS:
            return fragments.error(say(f"nearby.{place}", lang)), ""
        now = datetime.now()
        try:
            found = near(shops, place_of(place), now, SHOWN, service or "", open_only)
        except UserError as error:
            return fragments.error(error.text.in_(lang)), ""
        return cards(found, now, lang), ""

    def _table(self, lang: Lang) -> tuple[tuple[Shop, ...], str]:
        """The shops, and what stands above them: how the position is dealt with, or why there are none."""
        try:
            shops = shops_of(self.home)
        except UserError:  # which file, and what is wrong with it, is for whoever runs the server: yangche shops check
            return (), fragments.error(say("nearby.unreadable", lang))
        if not shops:
            return (), fragments.quiet(say("nearby.no_table", lang)) + fragments.quiet(
                say("nearby.no_table_operator", lang)
            )
        return shops, fragments.quiet(f"{say('nearby.ask_place', lang)} {say('nearby.privacy', lang)}")


# The place is remembered in the page alone, so that other wishes can be asked for at the same place.
_GIVE = "[window.yangchePlace || '', service, open, lang]"
LOCATE = f"""async (_, service, open, lang) => {{
  window.yangchePlace = await new Promise(tell => {{
    if (!window.isSecureContext || !navigator.geolocation) return tell('insecure');
    navigator.geolocation.getCurrentPosition(
      at => tell(at.coords.latitude.toFixed(4) + ',' + at.coords.longitude.toFixed(4)),
      error => tell(error.code === 1 ? 'denied' : 'unavailable'), {{timeout: 15000, maximumAge: 60000}});
  }});
  return {_GIVE}; }}"""
TYPED = f"""(_, service, open, lang) => {{
  window.yangchePlace = document.querySelector('#yc-place input, #yc-place textarea').value.trim() || '-';
  return {_GIVE}; }}"""
AGAIN = f"(_, service, open, lang) => {_GIVE}"
