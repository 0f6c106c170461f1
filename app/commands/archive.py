"""`yangche archive`: the shop's memory on the command line. `add_to` hangs the commands into a command line."""

from __future__ import annotations

import getpass
import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from app.commands.options import JsonOption, LangOption, console, fail, language_of, print_json
from app.settings import Settings
from app.texts import say
from knowledge.text import Lang

if TYPE_CHECKING:
    from knowledge.archive import Archive, Case, ImportReport
    from knowledge.confirmation import Confirmation
    from knowledge.search import Searcher
    from knowledge.store import Stored

ByOption = Annotated[str | None, typer.Option("--by", help="谁 / Who; default: the user of this computer.")]
FileArgument = Annotated[Path, typer.Argument(metavar="FILE", help=".jsonl .csv .xlsx")]
KeepOption = Annotated[
    bool,
    typer.Option("--keep-personal", help="不遮电话、车架号、车牌 / Don't mask phone numbers, VINs, plates."),
]
DUPLICATES_AT_IMPORT = 300  # new cases up to which an import looks for near-duplicates by itself; more take minutes


def add_to(app: typer.Typer) -> None:
    """Hang `archive` and its commands into ``app``."""
    archive = typer.Typer(help="维修案例库 / The archive of past fixes.", no_args_is_help=True, rich_markup_mode=None)
    app.add_typer(archive, name="archive")
    for name, command in (
        ("init", init), ("import", import_), ("export", export), ("template", template), ("add", add),
        ("confirm", confirm), ("withdraw", withdraw), ("history", history), ("delete", delete), ("restore", restore),
        ("duplicates", duplicates), ("merge", merge), ("stats", stats), ("check", check), ("rebuild", rebuild),
        ("backup", backup),
    ):  # fmt: skip
        archive.command(name)(command)


def _archive() -> Archive:
    from knowledge.archive import Archive

    return Archive.open(Settings.read().home)


def _searcher() -> Searcher:
    from knowledge.embed import open_embedder
    from knowledge.search import Searcher

    settings = Settings.read()
    return Searcher.open(settings.home, open_embedder(settings.encoder))


def _who(by: str | None) -> str:
    if by and by.strip():
        return " ".join(by.split())
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's user may have no name
        return "cli"


def init(
    empty: Annotated[bool, typer.Option("--empty", help="不放入门案例 / Without the starter cases.")] = False,
    lang: LangOption = None,
) -> None:
    """建立案例库。 / Set the archive up."""
    from knowledge.archive import Archive

    home = Settings.read().home
    cases = Archive.init(home, empty=empty).stats()["cases"]
    print(say("cli.archive_ready", language_of(lang), cases=cases, home=home))


def import_(
    file: FileArgument, keep_personal: KeepOption = False, as_json: JsonOption = False, lang: LangOption = None
) -> None:
    """导入案例。 / Import cases; refused rows are told with their line and reason."""
    language = language_of(lang)
    report = _archive().import_file(file, keep_personal)
    refused = [{"line": row.line, "reason": row.reason.in_(language)} for row in report.refused]
    if report.ignored:
        print(say("cli.ignored", language, columns=", ".join(report.ignored)), file=sys.stderr)
    pairs = _alike(report)
    counts = {"taken": report.taken, "updated": report.updated, "unchanged": report.unchanged}
    if as_json:
        print_json({**counts, "refused": refused, "masked": report.masked, "alike": pairs})
        return
    for row in refused:
        print(say("cli.refused", language, **row))
    print(say("cli.imported", language, **counts, refused=len(refused)))
    if report.masked:
        print(say("cli.masked", language, rows=report.masked))
    _print_pairs(pairs, language)
    if len(report.new) > DUPLICATES_AT_IMPORT:
        print(say("cli.look_for_alike", language))


def _alike(report: ImportReport) -> list[dict[str, Any]]:
    if not 0 < len(report.new) <= DUPLICATES_AT_IMPORT:
        return []
    from knowledge.duplicates import find_duplicates

    searcher = _searcher()
    stored = [searcher.store.get(case_id) for case_id in report.new]
    return [asdict(pair) for pair in find_duplicates(searcher, [s.case for s in stored if s])]


def _print_pairs(pairs: list[dict[str, Any]], lang: Lang) -> None:
    for pair in pairs:
        print(say("cli.alike", lang, **{**pair, "likeness": round(100 * pair["likeness"])}))


def export(file: FileArgument, lang: LangOption = None) -> None:
    """导出案例。 / Write all cases to a file that import reads back."""
    cases = _archive().export_file(file)
    print(say("cli.exported", language_of(lang), cases=cases, path=file))


def template(file: FileArgument, lang: LangOption = None) -> None:
    """写出导入用的样表。 / Write an example file for import, with every column."""
    from knowledge.archive import Archive

    Archive.write_template(file)
    print(say("cli.template", language_of(lang), path=file))


def add(
    fix: Annotated[str | None, typer.Option(help="怎么修好的；不写就问 / What mended it; asked for if absent.")] = None,
    symptom: Annotated[str | None, typer.Option(help="车主的原话 / The owner's words.")] = None,
    cause: Annotated[str | None, typer.Option(help="原因 / The cause.")] = None,
    diagnosis: Annotated[str | None, typer.Option(help="检查过程 / The steps of diagnosis.")] = None,
    parts: Annotated[str | None, typer.Option(help="配件 / Parts.")] = None,
    outcome: Annotated[str | None, typer.Option(help="结果 / The outcome.")] = None,
    brand: Annotated[str | None, typer.Option(help="品牌 / Brand.")] = None,
    series: Annotated[str | None, typer.Option(help="车系 / Series.")] = None,
    model_year: Annotated[str | None, typer.Option("--year", help="年款 / Model year.")] = None,
    engine: Annotated[str | None, typer.Option(help="发动机 / Engine.")] = None,
    mileage: Annotated[str | None, typer.Option(help="里程 / Mileage, such as 12万 or 120000.")] = None,
    codes: Annotated[str | None, typer.Option(help="故障码 / Fault codes.")] = None,
    lights: Annotated[str | None, typer.Option(help="亮的灯 / Lit lamps.")] = None,
    hours: Annotated[str | None, typer.Option(help="工时 / Hours of labour.")] = None,
    shop: Annotated[str | None, typer.Option(help="门店 / Shop.")] = None,
    case_id: Annotated[str | None, typer.Option("--id", help="改已有案例 / Change the case of this id.")] = None,
    from_diagnosis: Annotated[
        Path | None,
        typer.Option("--from", metavar="FILE", help="diagnose --json 的输出 / Output of diagnose --json: fills in."),
    ] = None,
    by: ByOption = None,
    keep_personal: KeepOption = False,
    as_json: JsonOption = False,
    lang: LangOption = None,
) -> None:
    """记下一个修好的案例。 / Write down a finished repair; the next search finds it."""
    from knowledge.case import read_case
    from knowledge.ids import new_id

    language = language_of(lang)
    given = {
        "fix": fix, "symptom": symptom, "cause": cause, "diagnosis": diagnosis, "parts": parts, "outcome": outcome,
        "brand": brand, "series": series, "model_year": model_year, "engine": engine, "mileage_km": mileage,
        "codes": codes, "lights": lights, "labour_hours": hours, "shop": shop,
    }  # fmt: skip
    row: dict[str, Any] = _from_diagnosis(from_diagnosis, language) if from_diagnosis else {}
    archive = _archive()
    if case_id is not None and (stored := archive.store.get(case_id)) is not None:
        row = {**stored.case.model_dump(exclude_defaults=True), **row}
    row.update({name: value for name, value in given.items() if value is not None})
    if not row.get("fix") and sys.stdin.isatty():
        for name in ("symptom", "cause", "fix"):
            if not row.get(name):
                row[name] = typer.prompt(say(f"cli.ask_{name}", language), default="", show_default=False)
    who = _who(by)
    case = archive.add(read_case({"entered_by": who, **row, "case_id": case_id or new_id()}), who, keep_personal)
    if as_json:
        print_json(_case_json(case, language))
    else:
        print(say("cli.added", language, case_id=case.case_id))


def _from_diagnosis(path: Path, lang: Lang) -> dict[str, Any]:
    """What a line of ``diagnose --json`` knows of a case: lamps, codes, mileage."""
    from knowledge.lexical import fault_codes

    try:
        told = json.loads(path.read_text("utf-8").splitlines()[0])
        labels = [str(found["label"]) for found in told["findings"]]
        messages = " ".join(str(message["text"]) for message in told.get("messages", ()))
    except (OSError, ValueError, KeyError, TypeError, IndexError):
        fail(say("cli.no_diagnosis", lang, path=path))
    lamps = list(dict.fromkeys(labels)) if told.get("kind") == "dashboard" else []
    return {"lights": lamps, "codes": list(fault_codes(messages)), "mileage_km": told.get("mileage_km")}


def _case_json(case: Case, lang: Lang) -> dict[str, Any]:
    from app.report import case_json

    return case_json(case, lang)


def confirm(
    case_id: Annotated[str, typer.Argument(metavar="CASE_ID")],
    verdict: Annotated[str, typer.Argument(metavar="VERDICT", help="worked | did_not_help | wrong_track")],
    by: ByOption = None,
    brand: Annotated[str, typer.Option(help="在哪个车上 / On which car: brand.")] = "",
    series: Annotated[str, typer.Option(help="车系 / Series.")] = "",
    model_year: Annotated[int | None, typer.Option("--year", help="年款 / Model year.")] = None,
    shop: Annotated[str, typer.Option(help="门店 / Shop.")] = "",
    note: Annotated[str, typer.Option(help="备注 / Note.")] = "",
    as_json: JsonOption = False,
    lang: LangOption = None,
) -> None:
    """确认：这个修法有效、没解决、方向错。 / Report on a fix: it worked, did not help, was a wrong track."""
    from knowledge.confirmation import VERDICT_TEXT, new_confirmation
    from knowledge.personal import mask

    language = language_of(lang)
    car = {"brand": brand, "series": series, "model_year": model_year}
    report = new_confirmation(case_id, verdict, _who(by), **car, shop=shop, note=mask(note)[0])
    _archive().store.confirm([report])
    if as_json:
        print_json(report.model_dump())
    else:
        said = VERDICT_TEXT[report.verdict].in_(language)
        print(say("cli.confirmed", language, case_id=case_id, verdict=said, confirmation_id=report.confirmation_id))


def withdraw(
    confirmation_id: Annotated[str, typer.Argument(metavar="CONFIRMATION_ID")],
    by: ByOption = None,
    lang: LangOption = None,
) -> None:
    """撤回一次确认。 / Withdraw a report; it stays in the database, but no longer counts."""
    language = language_of(lang)
    if not _archive().store.withdraw(confirmation_id, _who(by)):
        fail(say("cli.no_confirmation", language, confirmation_id=confirmation_id))
    print(say("cli.withdrawn", language, confirmation_id=confirmation_id))


def history(
    case_id: Annotated[str, typer.Argument(metavar="CASE_ID")], as_json: JsonOption = False, lang: LangOption = None
) -> None:
    """案例的全部版本和确认。 / All versions of a case, and the reports on it."""
    language = language_of(lang)
    store = _archive().store
    versions, reports = store.history(case_id), store.confirmations([case_id]).get(case_id, [])
    if not versions:
        fail(say("cli.no_case", language, case_id=case_id))
    if as_json:
        told = [
            {"author": v.author, "at": v.at, "deleted": v.deleted, "case": _case_json(v.case, language)}
            for v in versions
        ]
        print_json({"case_id": case_id, "versions": told, "confirmations": [r.model_dump() for r in reports]})
    else:
        _print_history(versions, reports, language)


def _print_history(versions: list[Stored], reports: list[Confirmation], lang: Lang) -> None:
    from app.report import print_case
    from knowledge.confirmation import VERDICT_TEXT

    out = console()
    for version in versions:
        mark = f"  ({say('cli.deleted_version', lang)})" if version.deleted else ""
        out.rule(f"{version.at}  {version.author}{mark}", align="left")
        print_case(out, version.case, lang)
    for report in reports:
        car = " ".join(str(part) for part in (report.brand, report.series, report.model_year) if part)
        told = (report.at, report.by, VERDICT_TEXT[report.verdict].in_(lang), car, report.note, report.confirmation_id)
        out.print(" · ".join(filter(None, told)), markup=False)


def delete(
    case_ids: Annotated[list[str], typer.Argument(metavar="CASE_ID...")], by: ByOption = None, lang: LangOption = None
) -> None:
    """把案例标为删除。 / Mark cases as deleted; they can be restored."""
    print(say("cli.deleted", language_of(lang), cases=_archive().delete(case_ids, _who(by))))


def restore(
    case_ids: Annotated[list[str], typer.Argument(metavar="CASE_ID...")], by: ByOption = None, lang: LangOption = None
) -> None:
    """恢复删除的案例。 / Bring deleted cases back."""
    print(say("cli.restored", language_of(lang), cases=_archive().store.restore(case_ids, _who(by))))


def duplicates(as_json: JsonOption = False, lang: LangOption = None) -> None:
    """找出几乎相同的案例。 / Find cases that tell nearly the same; nothing is changed."""
    from knowledge.duplicates import find_duplicates

    language = language_of(lang)
    pairs = [asdict(pair) for pair in find_duplicates(_searcher())]
    if as_json:
        print_json({"alike": pairs})
    elif pairs:
        _print_pairs(pairs, language)
    else:
        print(say("cli.none_alike", language))


def merge(
    kept: Annotated[str, typer.Argument(metavar="KEEP", help="保留的案例 / The case that stays.")],
    other: Annotated[str, typer.Argument(metavar="OTHER", help="并入的案例 / The case that goes.")],
    by: ByOption = None,
    lang: LangOption = None,
) -> None:
    """合并两个案例，确认一并转过去。 / Merge two cases; the reports on both then count for the one that stays."""
    from knowledge.duplicates import merge as merge_cases

    moved = merge_cases(_archive().store, kept, other, _who(by))
    print(say("cli.merged", language_of(lang), kept=kept, other=other, moved=moved))


def stats(as_json: JsonOption = False, lang: LangOption = None) -> None:
    """案例数量。 / How many cases there are."""
    told = _archive().stats()
    if as_json:
        print_json(told)
    else:
        print(say("cli.cases", language_of(lang), **told))


def check(as_json: JsonOption = False, lang: LangOption = None) -> None:
    """核对索引和数据库。 / Check the index against the database, and both for damage."""
    from knowledge.upkeep import check as check_archive

    language = language_of(lang)
    health = check_archive(_searcher())
    problems = [problem.in_(language) for problem in health.problems]
    counts = {"cases": health.cases, "vectors": health.vectors, "confirmations": health.confirmations}
    if as_json:
        print_json({"good": health.good, **counts, "problems": problems})
    else:
        for problem in problems:
            print(problem)
        print(say("cli.checked" if health.good else "cli.checked_bad", language, **counts))
    if not health.good:
        raise typer.Exit(1)


def rebuild(lang: LangOption = None) -> None:
    """重建搜索索引。 / Make the search index anew from the database."""
    from knowledge.embed import open_embedder
    from knowledge.upkeep import rebuild as rebuild_index

    settings = Settings.read()
    cases = rebuild_index(settings.home, open_embedder(settings.encoder))
    print(say("cli.rebuilt", language_of(lang), cases=cases))


def backup(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="备份文件 / The copy, such as yangche.sqlite.")],
    lang: LangOption = None,
) -> None:
    """备份案例库。 / Write a whole copy of the archive while others go on working."""
    from knowledge.sql_store import SqlCaseStore
    from knowledge.upkeep import backup as write_backup

    store = _archive().store
    assert isinstance(store, SqlCaseStore)  # noqa: S101 - what Archive.open makes
    size = write_backup(store, file)
    print(say("cli.backed_up", language_of(lang), path=file, size=f"{size / 2**20:.1f}"))
