"""The routes of the API for "this is wrong": anybody reports, trainers decide and take the data set home."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from functools import cache, partial
from typing import TYPE_CHECKING, Annotated, Any, Literal

from fastapi import APIRouter, Depends, File, Form, Query, UploadFile
from fastapi import Path as InPath
from fastapi.responses import FileResponse
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.background import BackgroundTask

from app.api.access import TOO_LARGE, Access, ApiError, Buckets, user_of
from app.api.archive import LOGIN_SCHEMES
from app.api.models import ErrorAnswer
from app.records.accounts import User
from app.records.correction import MAX_BOXES, MAX_COMMENT, Kind, Marked, Report, Severity, Truth, fit_to_keep
from app.records.corrections import BURST, PER_S, Correction, Corrections, State
from app.records.dataset_export import Form as Layout
from app.records.dataset_export import Model, write_zip
from app.settings import MAX_UPLOAD_BYTES
from app.texts import say
from knowledge.text import Text

if TYPE_CHECKING:
    from app.advisor import Advisor

PATH = "/corrections"
MAX_REPORT = 200_000  # characters
REPORT_EXAMPLE = '{"kind": "dashboard", "missed": [{"label": "oil_pressure", "box": [0.41, 0.52, 0.45, 0.57]}]}'
NONE = Text(zh="没有这条反馈，可能已过期删除。", en="There is no such report; it may have been deleted, being too old.")
NO_PHOTO = Text(zh="这条反馈没有照片。", en="This report has no photo.")

Who = Annotated[User, Depends(user_of)]
CorrectionId = Annotated[str, InPath(min_length=1, max_length=60, description="反馈的编号 / The report's id.")]
Open = Callable[[], Corrections]


class Received(BaseModel):
    """The receipt. ``photo``: whether a photo was kept."""

    correction_id: str
    photo: bool


class DecisionBody(BaseModel):
    """What a trainer decides. ``kind``, ``severity`` and ``boxes`` (all that the photo shows) count if accepted."""

    model_config = ConfigDict(extra="forbid")

    state: Literal["accepted", "rejected"]
    kind: Kind = "dashboard"
    severity: Severity | None = None
    boxes: tuple[Marked, ...] = Field((), max_length=MAX_BOXES)
    note: str = Field("", max_length=MAX_COMMENT)


class DecisionRecord(BaseModel):
    """One decision, with the truth if the report was accepted."""

    at: str
    by: str
    state: State
    note: str
    truth: Truth | None


class CorrectionRecord(BaseModel):
    """A report in the queue. ``width`` and ``height``: pixels of its photo, 0 without one."""

    correction_id: str
    at: str
    state: State
    report: Report
    photo: bool
    width: int
    height: int
    truth: Truth | None
    decisions: list[DecisionRecord] | None = None


def correction_routes(advisor: Advisor, access: Access) -> APIRouter:
    """All routes below /corrections. The queue is opened with the first call."""

    @cache
    def queue() -> Corrections:
        return Corrections.open(advisor.home)

    both = APIRouter()
    both.include_router(_reporting(advisor, access, queue))
    both.include_router(_deciding(advisor, access, queue))
    return both


def _reporting(advisor: Advisor, access: Access, queue: Open) -> APIRouter:
    routes = APIRouter(route_class=access.route(bucket=Buckets(BURST, PER_S)), tags=["owner"])

    @routes.post(
        PATH,
        response_model=Received,
        status_code=201,
        summary="看错了 / This is wrong",
        responses={status: {"model": ErrorAnswer} for status in (413, 429, 503)},
    )
    def report(
        report: Annotated[
            str,
            Form(
                max_length=MAX_REPORT,
                description="看到了什么、哪里错了，JSON / What was seen and what is wrong, as JSON: see `Report`.",
                examples=[REPORT_EXAMPLE],
            ),
        ],
        photo: Annotated[
            UploadFile | None, File(description="整张照片，最多 64 MiB / The whole photo, at most 64 MiB.")
        ] = None,
        consent: Annotated[
            bool, Form(description="车主同意存下照片 / The owner agrees that the photo is kept.")
        ] = False,
    ) -> dict[str, Any]:
        """进训练员的队列。照片要 `consent=true` 才收：去掉拍摄信息，非仪表照片遮住车牌。

        Goes to the trainers' queue. A photo is only taken with `consent=true`; metadata is dropped, and plates are
        covered on all but dashboards.
        """
        from vision.photo import open_photo

        told = _report(report)
        kept = None
        if photo is not None and photo.size:
            if not consent:
                raise ApiError(400, _both("wrong.photo_needs_consent"))
            if photo.size > MAX_UPLOAD_BYTES:
                raise ApiError(413, TOO_LARGE)
            kept = fit_to_keep(open_photo(photo.file.read()).rgb, told.kind, advisor)
        return {"correction_id": queue().add(told, kept), "photo": kept is not None}

    return routes


def _report(given: str) -> Report:
    try:
        return Report.model_validate_json(given)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        why = f"{where}: {first['msg']}".encode("utf-8", "replace").decode()[:200]
        text = _both("wrong.not_json")
        raise ApiError(400, Text(zh=f"{text.zh}（{why}）", en=f"{text.en} ({why})")) from None


def _deciding(advisor: Advisor, access: Access, queue: Open) -> APIRouter:
    routes = APIRouter(
        route_class=access.route("trainer"),
        tags=["trainer"],
        dependencies=LOGIN_SCHEMES,
        responses={status: {"model": ErrorAnswer} for status in (401, 403)},
    )
    missing: dict[int | str, dict[str, Any]] = {404: {"model": ErrorAnswer}}

    def found(correction_id: str) -> Correction:
        one = queue().get(correction_id)
        if one is None:
            raise ApiError(404, NONE)
        return one

    @routes.get(PATH, response_model=list[CorrectionRecord], summary="队列 / The queue")
    def listed(
        state: Annotated[State | None, Query(description="只看这种 / Only those.")] = None,
        limit: Annotated[int, Query(ge=1, le=200)] = 50,
        offset: Annotated[int, Query(ge=0, le=10**6)] = 0,
    ) -> list[dict[str, Any]]:
        """等得最久的在前。 / Those that wait longest first."""
        return [_record(one) for one in queue().reports(state, limit, offset)]

    @routes.get(  # before the reports: "export" would be taken for an id
        f"{PATH}/export",
        response_class=FileResponse,
        summary="下载数据集 / Download the data set",
        responses={200: {"content": {"application/zip": {}}, "description": "A ZIP."}},
    )
    def export(
        layout: Annotated[Layout, Query(alias="format")] = "yolo", model: Annotated[Model, Query()] = "lights"
    ) -> FileResponse:
        """采用的照片和框：YOLO（可训练，可导入 CVAT）或 COCO（CVAT、Label Studio）。

        Accepted photos with their boxes: YOLO (to train on, for CVAT) or COCO (CVAT, Label Studio).
        """
        folder = queue().new_folder()
        done = partial(shutil.rmtree, folder, ignore_errors=True)
        try:
            path = write_zip(queue(), model, layout, advisor.home, folder)
        except BaseException:
            done()
            raise
        headers = {"Cache-Control": "no-store"}
        return FileResponse(path, filename=path.name, headers=headers, background=BackgroundTask(done))

    @routes.get(
        f"{PATH}/{{correction_id}}", response_model=CorrectionRecord, summary="一条反馈 / One report", responses=missing
    )
    def one(correction_id: CorrectionId) -> dict[str, Any]:
        """连同以前的决定。 / With all earlier decisions."""
        record = _record(found(correction_id))
        return {**record, "decisions": [vars(decision) for decision in queue().history(correction_id)]}

    @routes.get(
        f"{PATH}/{{correction_id}}/photo",
        response_class=FileResponse,
        summary="反馈的照片 / The photo of a report",
        responses={**missing, 200: {"content": {"image/jpeg": {}}, "description": "A JPEG."}},
    )
    def photo(correction_id: CorrectionId) -> FileResponse:
        """只给训练员。 / For trainers only."""
        found(correction_id)
        path = queue().photo(correction_id)
        if path is None or not path.is_file():
            raise ApiError(404, NO_PHOTO)
        return FileResponse(path, media_type="image/jpeg", headers={"Cache-Control": "private, no-store"})

    @routes.post(
        f"{PATH}/{{correction_id}}/decision",
        response_model=CorrectionRecord,
        summary="采用或退回 / Accept or reject",
        responses=missing,
    )
    def decide(correction_id: CorrectionId, body: DecisionBody, user: Who) -> dict[str, Any]:
        """采用时框按写的存；退回时删掉照片。以前的决定都留着。

        Accepting keeps the boxes as given; rejecting deletes the photo. Earlier decisions stay in the history.
        """
        found(correction_id)
        truth = Truth(kind=body.kind, severity=body.severity, boxes=body.boxes) if body.state == "accepted" else None
        return _record(queue().decide(correction_id, body.state, user.name, truth, body.note))

    return routes


def _record(one: Correction) -> dict[str, Any]:
    return {**{key: getattr(one, key) for key in CorrectionRecord.model_fields if hasattr(one, key)},
            "correction_id": one.id}  # fmt: skip


def _both(key: str) -> Text:
    return Text(zh=say(key, "zh"), en=say(key, "en"))
