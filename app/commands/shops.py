"""`yangche shops`: workshops near a place, from the operator's own table. `add_to` hangs the commands in."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from app.commands.options import JsonOption, LangOption, language_of, print_json, user_error
from app.settings import Settings
from app.texts import say
from knowledge.text import Lang

if TYPE_CHECKING:
    from knowledge.shops import Near, Refusal

TABLE = "shops.csv"
"""The operator's table, in YANGCHE_HOME."""
_FileArgument = Annotated[Path, typer.Argument(metavar="FILE", help="门店表 / A table of shops, .csv.")]


def add_to(app: typer.Typer) -> None:
    """Hang `shops` and its commands into ``app``."""
    shops = typer.Typer(help="附近的修理店 / Workshops nearby.", no_args_is_help=True, rich_markup_mode=None)
    app.add_typer(shops, name="shops")
    shops.command("check")(check)
    shops.command("near", context_settings={"ignore_unknown_options": True})(near)  # -33.9 is a latitude
    shops.command("template")(template)


def check(file: _FileArgument, lang: LangOption = None) -> None:
    """检查门店表。 / Check a table of shops; the exit status is 1 if rows were refused."""
    from knowledge.opening_hours import week_of
    from knowledge.shops import load_shops

    language = language_of(lang)
    shops, refusals = load_shops(file)
    print("\n".join([*_refused(refusals, language), say("shops.checked", language, taken=len(shops))]))
    for shop in shops:
        if shop.hours and week_of(shop.hours) is None:
            print(say("shops.unclear_hours", language, name=shop.name, hours=shop.hours))
    if refusals:
        raise typer.Exit(1)


def near(
    latitude: Annotated[float, typer.Argument(metavar="LAT", help="纬度 / Latitude, such as 31.2304.")],
    longitude: Annotated[float, typer.Argument(metavar="LON", help="经度 / Longitude, such as 121.4737.")],
    service: Annotated[str, typer.Option(help="要做什么，例如换机油 / Only shops that do this.")] = "",
    k: Annotated[int, typer.Option("-k", min=1, max=1000, help="最多几家 / At most so many shops.")] = 5,
    file: Annotated[
        Path | None, typer.Option(metavar="FILE", help="门店表 / The table; default: shops.csv in YANGCHE_HOME.")
    ] = None,
    as_json: JsonOption = False,
    lang: LangOption = None,
) -> None:
    """找最近的修理店。 / The nearest workshops; coordinates of the same kind (WGS-84 or GCJ-02) as in the table."""
    from knowledge.shops import load_shops, nearest

    language = language_of(lang)
    path = file or Settings.read().home / TABLE
    if file is None and not path.exists():
        raise user_error("shops.no_table", path=path)
    shops, refusals = load_shops(path)
    if refusals:
        print(say("shops.some_refused", language, count=len(refusals), path=path), file=sys.stderr)
    found, now = nearest(shops, latitude, longitude, k, service), datetime.now()
    for one in found:
        if as_json:
            print_json(near_json(one, now))
        else:
            print("\n".join(_lines(one, now, language)))
    if not found:
        print(say("shops.none", language), file=sys.stderr)


def template(file: _FileArgument, lang: LangOption = None) -> None:
    """写出门店表的样表。 / Write a table of shops to fill in."""
    from knowledge.shops import write_template

    language = language_of(lang)
    write_template(file, language)
    print(say("shops.template", language, path=file))


def near_json(near: Near, now: datetime) -> dict[str, Any]:
    """A shop for programs; ``open`` is null where its hours are not understood."""
    shop = near.shop
    return {
        "name": shop.name,
        "address": shop.address,
        "latitude": shop.latitude,
        "longitude": shop.longitude,
        "km": round(near.km, 2),
        "phone": shop.phone,
        "tel": shop.tel_link,
        "map": shop.map_link,
        "services": list(shop.services),
        "hours": shop.hours,
        "open": shop.open_at(now),
    }


def _lines(near: Near, now: datetime, lang: Lang) -> Iterator[str]:
    shop = near.shop
    state = {True: "shops.open", False: "shops.closed", None: "shops.open_unknown"}[shop.open_at(now)]
    yield f"{shop.name}  {say('shops.km', lang, km=f'{near.km:.1f}')}  {say(state, lang)}"
    yield from (f"  {line}" for line in (shop.address, shop.hours, "、".join(shop.services), shop.phone) if line)
    yield f"  {shop.map_link}"


def _refused(refusals: Sequence[Refusal], lang: Lang) -> Iterator[str]:
    return (say("cli.refused", lang, line=line, reason=reason.in_(lang)) for line, reason in refusals)
