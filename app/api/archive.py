"""The routes of the API for technicians: cases written, imported, exported, and fixes confirmed."""

from __future__ import annotations

import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from fastapi import APIRouter, Depends, File, Query, UploadFile
from fastapi import Path as InPath
from fastapi.responses import FileResponse
from fastapi.security import APIKeyCookie, HTTPBearer
from starlette.background import BackgroundTask

from app.api.access import COOKIE, TOO_LARGE, Access, ApiError, user_of
from app.api.models import (
    CaseBody,
    CaseRecord,
    ConfirmationBody,
    ErrorAnswer,
    HistoryAnswer,
    ImportAnswer,
    WithdrawnAnswer,
)
from app.records.accounts import User
from app.settings import MAX_UPLOAD_BYTES
from knowledge.case import Case, read_case
from knowledge.confirmation import Confirmation
from knowledge.text import Lang, Text

if TYPE_CHECKING:
    from app.advisor import Advisor
    from knowledge.archive import Archive, ImportReport
    from knowledge.store import Stored

# What the OpenAPI document says about logging in; the check itself is made by the routes' class.
LOGIN_SCHEMES = [
    Depends(HTTPBearer(auto_error=False, description="The token of POST /login.")),
    Depends(APIKeyCookie(name=COOKIE, auto_error=False, description="The cookie of POST /login.")),
]
TYPES = {
    "jsonl": "application/x-ndjson",
    "csv": "text/csv",
    "xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
}
DELETED = Text(
    zh="案例 {case_id} 已被删除，要修改请先恢复。", en="The case {case_id} was deleted here; restore it first."
)
NO_CASE = Text(zh="案例库里没有案例 {case_id}。", en="The archive holds no case {case_id}.")
NO_REPORT = Text(
    zh="没有这次确认，或者已经撤回：{confirmation_id}。",
    en="There is no such report, or it was withdrawn: {confirmation_id}.",
)

Who = Annotated[User, Depends(user_of)]
CaseId = Annotated[str, InPath(min_length=1, max_length=200, description="案例编号 / The case's id.")]
LangQuery = Annotated[Lang, Query(description="回答的语言 / Language of the answer.")]
BothQuery = Annotated[Lang | None, Query(description="一种语言；不写则两种都给 / One language; both if absent.")]


def archive_routes(advisor: Advisor, access: Access) -> APIRouter:
    """The routes for whoever has the role technician, or admin."""
    routes = APIRouter(
        route_class=access.route("technician"),
        tags=["technician"],
        dependencies=LOGIN_SCHEMES,
        responses={status: {"model": ErrorAnswer} for status in (401, 403)},
    )
    _add_tables(routes, advisor)  # before the cases: "export" would be taken for an id
    _add_cases(routes, advisor)
    _add_confirmations(routes, advisor)
    return routes


def _archive(advisor: Advisor) -> Archive:
    from knowledge.archive import Archive

    return Archive(advisor.searcher.store)


def _add_tables(routes: APIRouter, advisor: Advisor) -> None:
    @routes.post(
        "/cases/import",
        response_model=ImportAnswer,
        summary="导入案例 / Import cases",
        responses={413: {"model": ErrorAnswer}},
    )
    def import_cases(
        file: Annotated[UploadFile, File(description=".jsonl .csv .xlsx，最多 64 MiB / at most 64 MiB")],
        who: Who,
        lang: LangQuery = "zh",
    ) -> dict[str, Any]:
        """和 `yangche archive import` 一样：不认的行逐行说明，个人信息遮住，同一文件导两次不变。

        As `yangche archive import`: refused rows are told one by one, personal data is masked, and importing a file
        twice changes nothing.
        """
        if (file.size or 0) > MAX_UPLOAD_BYTES:
            raise ApiError(413, TOO_LARGE)
        archive = _archive(advisor)
        with _folder(advisor) as folder:
            path = folder / _plain_name(file.filename)
            with path.open("wb") as copy:
                shutil.copyfileobj(file.file, copy)
            report = archive.import_file(path, author=who.name)
        return {
            "taken": report.taken,
            "updated": report.updated,
            "unchanged": report.unchanged,
            "refused": [{"line": row.line, "reason": row.reason.in_(lang)} for row in report.refused],
            "masked": report.masked,
            "alike": _alike(advisor, report),
            "ignored": list(report.ignored),
        }

    @routes.get(
        "/cases/export",
        response_class=FileResponse,
        summary="导出案例 / Export cases",
        responses={200: {"content": {kind: {} for kind in TYPES.values()}, "description": "The table."}},
    )
    def export_cases(
        form: Annotated[Literal["jsonl", "csv", "xlsx"], Query(alias="format")] = "jsonl",
    ) -> FileResponse:
        """全部案例，可以再导回来。 / All cases, in a file that import reads back."""
        folder = _new_folder(advisor)
        done = partial(shutil.rmtree, folder, ignore_errors=True)
        try:
            path = folder / f"cases.{form}"
            _archive(advisor).export_file(path)
        except BaseException:
            done()
            raise
        return FileResponse(path, media_type=TYPES[form], filename=path.name, background=BackgroundTask(done))


def _add_cases(routes: APIRouter, advisor: Advisor) -> None:
    missing: dict[int | str, dict[str, Any]] = {404: {"model": ErrorAnswer}}

    @routes.post("/cases", response_model=CaseRecord, status_code=201, summary="记下案例 / Write a case down")
    def add_case(body: CaseBody, user: Who, lang: BothQuery = None) -> dict[str, Any]:
        """写下一个修好的案例，个人信息会遮住；下一次搜索就能找到。

        Write down a finished repair, personal data masked; the next search finds it.
        """
        from knowledge.ids import new_id

        return _record(_write(body, new_id(), user), lang)

    @routes.get(
        "/cases/{case_id:path}/history",
        response_model=HistoryAnswer,
        summary="案例的全部版本 / All versions of a case",
        responses=missing,
    )
    def case_history(case_id: CaseId, lang: BothQuery = None) -> dict[str, Any]:
        """每个版本是谁、什么时候写的，还有大家的确认。 / Who wrote each version when, and people's reports."""
        store = _archive(advisor).store
        versions = store.history(case_id)
        if not versions:
            raise ApiError(404, NO_CASE.filled(case_id=case_id))
        return {
            "case_id": case_id,
            "versions": [_record(version, lang) for version in versions],
            "confirmations": store.confirmations([case_id]).get(case_id, []),
        }

    @routes.get("/cases/{case_id:path}", response_model=CaseRecord, summary="一个案例 / One case", responses=missing)
    def one_case(case_id: CaseId, lang: BothQuery = None) -> dict[str, Any]:
        """案例现在的样子；删除了的也给，`deleted` 为真。 / The case as it stands; a deleted one says so."""
        return _record(_present(case_id), lang)

    @routes.put(
        "/cases/{case_id:path}",
        response_model=CaseRecord,
        summary="改案例 / Change a case",
        responses={**missing, 409: {"model": ErrorAnswer}},
    )
    def change_case(case_id: CaseId, body: CaseBody, user: Who, lang: BothQuery = None) -> dict[str, Any]:
        """整个案例换成新写的，没写的栏目变空；以前的版本留在历史里。

        The whole case is replaced, fields that are absent become empty; the earlier version stays in the history.
        """
        if _present(case_id).deleted:
            raise ApiError(409, DELETED.filled(case_id=case_id))
        return _record(_write(body, case_id, user), lang)

    def _present(case_id: str) -> Stored:
        stored = _archive(advisor).store.get(case_id)
        if stored is None:
            raise ApiError(404, NO_CASE.filled(case_id=case_id))
        return stored

    def _write(body: CaseBody, case_id: str, user: User) -> Stored:
        row = body.row()
        case = read_case({**row, "entered_by": row["entered_by"] or user.name, "case_id": case_id})
        return _present(_archive(advisor).add(case, user.name).case_id)


def _add_confirmations(routes: APIRouter, advisor: Advisor) -> None:
    @routes.post(
        "/confirmations",
        response_model=Confirmation,
        status_code=201,
        summary="确认修法 / Report on a fix",
        responses={404: {"model": ErrorAnswer}},
    )
    def confirm(body: ConfirmationBody, user: Who) -> Confirmation:
        """有效、没解决、方向错；署你的名字。 / It worked, did not help, was a wrong track; under your name."""
        from knowledge.confirmation import new_confirmation
        from knowledge.personal import mask

        store = _archive(advisor).store
        stored = store.get(body.case_id)
        if stored is None or stored.deleted:
            raise ApiError(404, NO_CASE.filled(case_id=body.case_id))
        details = body.model_dump(exclude={"case_id", "verdict"})
        details["note"] = mask(body.note)[0]
        report = new_confirmation(body.case_id, body.verdict, user.name, **details)
        store.confirm([report])
        return report

    @routes.delete(
        "/confirmations/{confirmation_id}",
        response_model=WithdrawnAnswer,
        summary="撤回确认 / Withdraw a report",
        responses={404: {"model": ErrorAnswer}},
    )
    def withdraw(confirmation_id: Annotated[str, InPath(max_length=200)], user: Who) -> dict[str, Any]:
        """留在数据库里，但不再计数。 / It stays in the database, but no longer counts."""
        if not _archive(advisor).store.withdraw(confirmation_id, user.name):
            raise ApiError(404, NO_REPORT.filled(confirmation_id=confirmation_id))
        return {"confirmation_id": confirmation_id, "withdrawn": True}


def _record(stored: Stored, lang: Lang | None) -> dict[str, Any]:
    return {
        "case": _case(stored.case, lang),
        "author": stored.author,
        "at": stored.at,
        "deleted": stored.deleted,
    }


def _case(case: Case, lang: Lang | None) -> dict[str, Any]:
    from app.report import case_json

    return case.model_dump() if lang is None else case_json(case, lang)


def _alike(advisor: Advisor, report: ImportReport) -> list[dict[str, Any]]:
    """New cases that tell nearly the same as another, looked for as on the command line."""
    from app.commands.archive import DUPLICATES_AT_IMPORT
    from knowledge.duplicates import find_duplicates

    if not 0 < len(report.new) <= DUPLICATES_AT_IMPORT:
        return []
    searcher = advisor.searcher
    stored = [searcher.store.get(case_id) for case_id in report.new]
    return [asdict(pair) for pair in find_duplicates(searcher, [s.case for s in stored if s])]


def _new_folder(advisor: Advisor) -> Path:
    """A folder among the page's uploads, whose leftovers are removed when the server starts."""
    parent = advisor.home / "uploads"
    parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    return Path(tempfile.mkdtemp(dir=parent))


@contextmanager
def _folder(advisor: Advisor) -> Iterator[Path]:
    folder = _new_folder(advisor)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _plain_name(name: str | None) -> str:
    """The last part of a file's name as it was sent, fit for any file system."""
    last = Path(re.sub(r"[^\w.\- ]", "_", re.split(r"[\\/]", name or "")[-1]).strip(" ."))
    return f"{last.stem[:60] or 'file'}{last.suffix[:20]}"
