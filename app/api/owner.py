"""The API's routes for owners besides photos: workshops nearby, and what is due on a car. Nothing told here is kept."""

from __future__ import annotations

from datetime import date, datetime
from pathlib import Path
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query
from pydantic import BaseModel, ConfigDict, Field

from app.api.access import Access, ApiError
from app.api.models import ErrorAnswer
from app.texts import say
from knowledge.datafile import CatalogueError
from knowledge.maintenance import Drive, Gearbox, State
from knowledge.text import LANGS, Lang, Text, UserError

LangQuery = Annotated[Lang, Query(description="回答的语言 / Language of the answer.")]


class ShopAnswer(BaseModel):
    """A workshop and how far it is, as the crow flies. ``open`` is null where its hours are not understood."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "name": "老王汽修", "address": "示例路 1 号", "latitude": 31.2304, "longitude": 121.4737, "km": 1.2,
                "phone": "021-12345678", "tel": "tel:02112345678", "map": "geo:31.230400,121.473700",
                "services": ["换机油", "刹车"], "hours": "周一至周六 8:30-17:30", "open": True,
            }
        }
    )  # fmt: skip

    name: str
    address: str
    latitude: float
    longitude: float
    km: float
    phone: str
    tel: str | None
    map: str
    services: list[str]
    hours: str
    open: bool | None


class ShopsAnswer(BaseModel):
    """The nearest first."""

    shops: list[ShopAnswer]


class DueAnswer(BaseModel):
    """How one item of maintenance stands; null is what doesn't count or isn't known."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "item": "oil", "name": "机油和机油滤芯", "does": "replace", "state": "later", "km_left": 3000,
                "months_left": 3, "due_month": None, "station": None, "last_km": 55000, "last_month": "2026-02",
                "told": "还有 3,000 公里或 3 个月（先到为准）", "only_if": None, "basis": "惯例：…", "left": "…",
            }
        }
    )  # fmt: skip

    item: str
    name: str
    does: Literal["replace", "check", "renew"]
    state: State = Field(description="unknown: nobody told that it was done.")
    km_left: int | None = Field(description="Negative: so far beyond.")
    months_left: int | None
    due_month: str | None = Field(description="Of what goes by the calendar.")
    station: bool | None = Field(description="Whether the car must come to an inspection station.")
    last_km: int | None
    last_month: str | None
    told: str
    only_if: str | None = Field(description="Which cars have it at all.")
    basis: str
    left: str = Field(description="What happens if it is left.")


class MaintenanceAnswer(BaseModel):
    """Overdue things first, then due soon, unknown, later."""

    due: list[DueAnswer]


def owner_routes(home: Path, access: Access) -> APIRouter:
    """Both routes, for everybody; ``home``: the folder with the operator's tables."""
    routes = APIRouter(route_class=access.route(), tags=["owner"])

    @routes.get(
        "/shops",
        response_model=ShopsAnswer,
        summary="附近门店 / Workshops nearby",
        responses={status: {"model": ErrorAnswer} for status in (404, 503)},
    )
    def shops(
        latitude: Annotated[float, Query(ge=-90, le=90, examples=[31.2304])],
        longitude: Annotated[float, Query(ge=-180, le=180, examples=[121.4737])],
        k: Annotated[int, Query(ge=1, le=100)] = 10,
        service: Annotated[str, Query(max_length=100, examples=["换机油"])] = "",
        open_only: Annotated[bool, Query(description="只要营业中的 / Only those that are open now.")] = False,
    ) -> dict[str, Any]:
        """按直线距离排列；位置不保存。坐标要和门店表同一种（WGS-84 或 GCJ-02）。没有门店表时是 404。

        By distance as the crow flies; the position is not kept. Coordinates of the same kind as in the table. Without
        a table it is a 404.
        """
        from app.commands.shops import near_json
        from app.pages.nearby_page import near, shops_of

        try:
            table = shops_of(home)
        except UserError:
            raise ApiError(503, _both("nearby.unreadable")) from None
        if not table:
            raise ApiError(404, _both("nearby.no_table"))
        now = datetime.now()
        found = near(table, (latitude, longitude), now, k, service, open_only)
        return {"shops": [near_json(one, now) for one in found]}

    @routes.get(
        "/maintenance",
        response_model=MaintenanceAnswer,
        summary="该做的保养 / What is due",
        responses={503: {"model": ErrorAnswer}},
    )
    def maintenance(
        drive: Annotated[Drive, Query(examples=["petrol"])],
        km: Annotated[int | None, Query(ge=0, le=1_500_000, examples=[62000])] = None,
        since: Annotated[
            str, Query(max_length=20, examples=["2020-05"], description="首次上牌 / First registration.")
        ] = "",
        done: Annotated[
            list[Annotated[str, Query(max_length=100)]],
            Query(
                max_length=100,
                examples=[["oil=55000@2026-02"]],
                description="上次做的 / Last done: ITEM=KM@MONTH, ITEM=KM or ITEM=@MONTH; repeatable.",
            ),
        ] = [],  # noqa: B006 - FastAPI copies it
        gearbox: Annotated[Gearbox | None, Query()] = None,
        heavy: Annotated[bool, Query(description="短途、拥堵、多尘、山路、营运 / Severe use.")] = False,
        lang: LangQuery = "zh",
    ) -> dict[str, Any]:
        """按动力、里程、上牌时间和做过的保养推算。没有记录就是 unknown，不会说成没问题。

        Reckoned from drive, mileage, registration and what was done. What nobody told is "unknown", never fine.
        """
        from app.commands.maintenance import due_json, usage
        from knowledge.maintenance import due, load_schedule, read_done

        try:
            schedule = load_schedule(home)
        except CatalogueError as error:  # the operator's file, not the caller's fault
            raise ApiError(503, error.text) from None
        records = dict(read_done(text, schedule) for text in done)
        car = usage(drive, "" if km is None else str(km), since, gearbox or "", heavy)
        return {"due": [due_json(one, lang) for one in due(schedule, car, records, date.today())]}

    return routes


def _both(key: str) -> Text:
    zh, en = (say(key, lang) for lang in LANGS)
    return Text(zh=zh, en=en)
