"""`yangche maintenance`: what is due on a car, from a schedule that shops may edit. `add_to` hangs the commands in."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from app.commands.options import JsonOption, LangOption, language_of, print_json, user_error
from app.settings import Settings
from app.texts import say
from knowledge.text import Lang

if TYPE_CHECKING:
    from knowledge.maintenance import Due, Usage

_FileArgument = Annotated[Path, typer.Argument(metavar="FILE", help="保养项目表 / A schedule, .yaml.")]


def add_to(app: typer.Typer) -> None:
    """Hang `maintenance` and its commands into ``app``."""
    maintenance = typer.Typer(help="该做的保养 / What is due on a car.", no_args_is_help=True, rich_markup_mode=None)
    app.add_typer(maintenance, name="maintenance")
    maintenance.command("due")(due)
    maintenance.command("template")(template)
    maintenance.command("check")(check)


def due(
    drive: Annotated[str, typer.Option(help="动力 / Drive: petrol, diesel, hybrid, plug-in, electric.")],
    km: Annotated[str, typer.Option(help="里程，公里 / Odometer in kilometres.")] = "",
    since: Annotated[
        str, typer.Option(metavar="MONTH", help="首次上牌，如 2020-05 或 2020 / First registration.")
    ] = "",
    done: Annotated[
        list[str] | None,
        typer.Option(metavar="ITEM=KM@MONTH", help="上次做的，如 oil=55000@2026-02，可多次 / Last done; repeatable."),
    ] = None,
    gearbox: Annotated[str, typer.Option(help="变速箱 / Gearbox: automatic, dual_clutch, manual.")] = "",
    heavy: Annotated[
        bool, typer.Option("--heavy", help="短途、拥堵、多尘、山路、营运 / Short trips, jams, dust, mountains, taxi.")
    ] = False,
    as_json: JsonOption = False,
    lang: LangOption = None,
) -> None:
    """列出该做的保养，超期的在前。 / What is due, overdue things first."""
    from knowledge.maintenance import due as reckon
    from knowledge.maintenance import load_schedule, read_done

    language = language_of(lang)
    schedule = load_schedule(Settings.read().home)
    records = dict(read_done(text, schedule) for text in done or ())
    found = reckon(schedule, usage(drive, km, since, gearbox, heavy), records, date.today())
    if as_json:
        for one in found:
            print_json(due_json(one, language))
    else:
        print("\n".join(_lines(found, language)))


def template(file: _FileArgument, lang: LangOption = None) -> None:
    """写出保养项目表，改好后放到 YANGCHE_HOME/maintenance.yaml。 / Write the schedule, to be edited."""
    from knowledge.maintenance import SHIPPED

    if file.exists():
        raise user_error("upkeep.exists", path=file)
    try:
        file.write_text(SHIPPED.read_text("utf-8"), "utf-8")
    except OSError as error:
        raise user_error("upkeep.cannot_write", path=file, error=error.strerror or type(error).__name__) from error
    print(say("upkeep.template", language_of(lang), path=file))


def check(file: _FileArgument, lang: LangOption = None) -> None:
    """检查改过的保养项目表。 / Check an edited schedule."""
    from knowledge.maintenance import read_schedule

    print(say("upkeep.checked", language_of(lang), items=len(read_schedule(file))))


def usage(drive: str, km: str = "", since: str = "", gearbox: str = "", heavy: bool = False) -> Usage:
    """A car as people tell it.

    Raises:
        UserError: if there is no such drive or gearbox, or mileage or month can't be read.
    """
    from knowledge.maintenance import DRIVES, GEARBOXES, Usage, read_km, read_month

    chosen = next((one for one in DRIVES if one == drive), None)
    box = next((one for one in GEARBOXES if one == gearbox), None)
    if chosen is None:
        raise user_error("upkeep.no_drive", given=drive[:40], known=", ".join(DRIVES))
    if gearbox and box is None:
        raise user_error("upkeep.no_gearbox", given=gearbox[:40], known=", ".join(GEARBOXES))
    month, exact = read_month(since) if since.strip() else (None, True)
    return Usage(chosen, read_km(km) if km.strip() else None, month, exact, box, heavy)


def due_json(one: Due, lang: Lang) -> dict[str, Any]:
    """An item for programs; null is what doesn't count or isn't known."""
    from knowledge.maintenance import month_text

    item, last = one.item, one.last
    return {
        "item": item.id,
        "name": item.name.in_(lang),
        "does": item.does,
        "state": one.state,
        "km_left": one.km_left,
        "months_left": one.months_left,
        "due_month": None if one.month is None else month_text(one.month),
        "station": one.station,
        "last_km": last.km if last else None,
        "last_month": month_text(last.month) if last and last.month is not None else None,
        "told": told(one, lang),
        "only_if": item.only_if.in_(lang) if item.only_if else None,
        "basis": item.basis.in_(lang),
        "left": item.left.in_(lang),
    }


def told(one: Due, lang: Lang) -> str:
    """How an item stands, in words."""
    from knowledge.maintenance import month_text

    if one.month is not None:
        key = {"overdue": "was", "soon": "by", "later": "by", "unknown": "maybe"}[one.state]
        sentence = say(f"upkeep.calendar_{key}", lang, month=month_text(one.month))
        return sentence + say("upkeep.with_car" if one.station else "upkeep.without_car", lang)
    if one.state == "unknown":
        left = _left(one, lang, beyond=False)
        return say("upkeep.at_latest", lang, left=left) if one.last and left else say("upkeep.no_record", lang)
    if one.state == "overdue":
        return say("upkeep.beyond", lang, left=_left(one, lang, beyond=True))
    both = one.km_left is not None and one.months_left is not None
    return say("upkeep.left" if both else "upkeep.left_one", lang, left=_left(one, lang, beyond=False))


def _left(one: Due, lang: Lang, beyond: bool) -> str:
    """The kilometres and months that are left, or by which it is ``beyond``."""
    parts = []
    if one.km_left is not None and (one.km_left < 0) == beyond:
        parts.append(say("upkeep.km", lang, km=f"{abs(one.km_left):,}"))
    if one.months_left is not None and (one.months_left < 0) == beyond:
        parts.append(
            say("upkeep.months" if abs(one.months_left) != 1 else "upkeep.month", lang, n=abs(one.months_left))
        )
    between = say("upkeep.and" if beyond else "upkeep.or", lang)
    return (between if lang == "zh" else f" {between} ").join(parts)


def _lines(found: Sequence[Due], lang: Lang) -> Iterator[str]:
    for one in found:
        yield f"{say(f'upkeep.{one.state}', lang)}  {one.item.name.in_(lang)} ({one.item.id})  {told(one, lang)}"
        yield from (f"  {text.in_(lang)}" for text in (one.item.only_if,) if text)
        if one.state in ("overdue", "soon"):
            yield f"  {one.item.left.in_(lang)}"
    yield say("upkeep.manual", lang)
