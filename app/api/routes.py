"""The REST API below /api/v1: what owners and technicians do on the command line, for other programs.

Here stand the routes for everybody and `mount`; those for technicians stand in ``api_archive.py``.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any

from fastapi import APIRouter, Depends, FastAPI, File, Form, Query, Request, Response, UploadFile
from fastapi import Path as InPath
from starlette.concurrency import run_in_threadpool

from app.api import access as api_access
from app.api.access import COOKIE, Access, ApiError, BodyLimit, Buckets, address_of, login_of, session_of
from app.api.archive import LOGIN_SCHEMES, archive_routes
from app.api.corrections import correction_routes
from app.api.models import (
    CodeAnswerBody,
    DiagnoseAnswer,
    ErrorAnswer,
    HealthAnswer,
    LoginAnswer,
    LoginBody,
    Me,
    SearchAnswer,
)
from app.api.owner import owner_routes
from app.records.accounts import SESSION_S, Accounts, Session
from app.serving.proxy import root_of
from app.settings import MAX_UPLOAD_BYTES, Settings
from app.texts import say
from knowledge.text import Lang, Text, UserError

if TYPE_CHECKING:
    from app.advisor import Advisor

PREFIX = "/api/v1"
MAX_PHOTOS = 10
OVERHEAD = 2**20  # bytes of a form besides its files
MODELS = ("lights", "scenes", "damage", "whole", "encoder")
TOO_MANY_PHOTOS = Text(
    zh=f"照片太多，一次最多 {MAX_PHOTOS} 张。", en=f"Too many photos: at most {MAX_PHOTOS} at a time."
)
PHOTO_TOO_LARGE = Text(zh="照片太大，每张最多 {mb} MiB。", en="A photo is too large: at most {mb} MiB each.")
NO_ANSWERS = Text(
    zh='answers 应是 JSON 对象，例如 {"问题": "答案"}。',
    en='answers must be a JSON object such as {"question": "answer"}.',
)
ABOUT = """拍照诊断、查维修案例、记案例、确认修法、查故障码。出错时回答 `{"error": {"zh": ..., "en": ...}}`。
技师的接口先 `POST /login`，再带上会话 cookie，或 `Authorization: Bearer 令牌`。

Photos diagnosed, past fixes found, written down and confirmed, fault codes looked up. Every refusal is
`{"error": {"zh": ..., "en": ...}}`. Routes for technicians need `POST /login` first, then its cookie, or its token as
`Authorization: Bearer`. With the cookie, whatever changes something must come from a page of this server (Origin)."""

LangQuery = Annotated[Lang, Query(description="回答的语言 / Language of the answer.")]
ShortQuery = Annotated[str | None, Query(max_length=200)]

log = logging.getLogger(__name__)


def mount(app: FastAPI, advisor: Advisor, accounts: Accounts, settings: Settings | None = None) -> FastAPI:
    """Hang the API into ``app`` below /api/v1, its OpenAPI document at /api/v1/openapi.json; the API's own application.

    To be called before the page is mounted at "/", which would answer everything.
    """
    api = FastAPI(title="养车 yangche", version="1", description=ABOUT, docs_url=None, redoc_url=None)
    settings = settings or Settings.read()
    api.include_router(router(advisor, accounts, settings))
    api_access.add_handlers(api)
    whole_forms = {
        "/diagnose": settings.upload_total_mb * 2**20 + OVERHEAD,
        "/cases/import": MAX_UPLOAD_BYTES + OVERHEAD,
        "/corrections": MAX_UPLOAD_BYTES + OVERHEAD,
    }
    api.add_middleware(BodyLimit, limits=whole_forms)
    app.mount(PREFIX, api)
    return api


def router(advisor: Advisor, accounts: Accounts, settings: Settings | None = None) -> APIRouter:
    """All routes; their paths count from /api/v1, where `mount` puts them."""
    access = Access(accounts)
    routes = APIRouter(responses={422: {"model": ErrorAnswer}, 400: {"model": ErrorAnswer}})
    routes.include_router(_diagnose_route(advisor, access, settings or Settings.read()))
    routes.include_router(_open_routes(advisor, access))
    routes.include_router(owner_routes(advisor.home, access))
    routes.include_router(_login_routes(accounts, access))
    routes.include_router(archive_routes(advisor, access))
    routes.include_router(correction_routes(advisor, access))
    return routes


def _diagnose_route(advisor: Advisor, access: Access, settings: Settings) -> APIRouter:
    bucket = Buckets(api_access.DIAGNOSE_BURST, settings.diagnoses_per_minute / 60)
    routes = APIRouter(route_class=access.route(bucket=bucket), tags=["owner"])

    @routes.post(
        "/diagnose",
        response_model=DiagnoseAnswer,
        summary="看照片，给建议 / Read photos, give advice",
        responses={status: {"model": ErrorAnswer} for status in (413, 429, 503)},
    )
    async def diagnose(
        photos: Annotated[
            list[UploadFile],
            File(description="仪表盘或事故照片，最多 10 张，每张最多 64 MiB / At most 10 photos of at most 64 MiB."),
        ],
        lang: Annotated[Lang, Form(description="回答的语言 / Language of the answer.")] = "zh",
        answers: Annotated[
            str,
            Form(
                description="已回答的问题 / Questions answered: a JSON object.",
                examples=['{"check_engine_flashing": "steady"}'],
            ),
        ] = "{}",
    ) -> dict[str, Any]:
        """每张照片一个回答；一张照片读不了，只在它自己的 `error` 里说明。

        One answer a photo; what is wrong with one is told in its own `error`, the others are answered all the same.
        """
        if len(photos) > MAX_PHOTOS:
            raise ApiError(413, TOO_MANY_PHOTOS)
        largest = min(MAX_UPLOAD_BYTES, settings.upload_mb << 20)
        if any((photo.size or 0) > largest for photo in photos):
            raise ApiError(413, PHOTO_TOO_LARGE.filled(mb=largest >> 20))
        given = _answers(answers, advisor)
        told = []
        with advisor.turns.place():
            for photo in photos:
                async with advisor.turns.photo_later():
                    data = await photo.read()
                    told.append(await run_in_threadpool(_one, advisor, data, _shown_name(photo.filename), lang, given))
        return {"photos": told}

    return routes


def _one(advisor: Advisor, data: bytes, name: str, lang: Lang, answers: Mapping[str, str]) -> dict[str, Any]:
    """A photo's answer, or why there is none."""
    from app.diagnosis import error_json

    try:
        return advisor.diagnose(data, answers=answers, name=name, text=True).to_json(lang)
    except UserError as error:
        return error_json(name, error, lang)
    except Exception:  # one photo must not stop the others
        log.exception("a photo could not be worked through")
        return error_json(name, UserError(say("page.failed", "zh"), say("page.failed", "en")), lang)


def _shown_name(name: str | None) -> str:
    """The last part of the photo's name as it was sent."""
    last = (name or "").replace("\\", "/").rpartition("/")[2]
    return "".join(c for c in last if c.isprintable())[:200]


def _answers(given: str, advisor: Advisor) -> dict[str, str]:
    """The driver's answers; ones that nobody asked for are refused, since they would change nothing."""
    try:
        answers = json.loads(given)
    except (ValueError, RecursionError):
        raise ApiError(400, NO_ANSWERS) from None
    if not isinstance(answers, dict):
        raise ApiError(400, NO_ANSWERS)
    known = advisor.questions
    for question, answer in answers.items():
        if question not in known or not isinstance(answer, str) or answer not in known[question].choices:
            ways = "、".join(known[question].choices) if question in known else "、".join(known)
            text = Text(
                zh=f"没有这个问题或答案，可用的有：{ways}。",
                en=f"There is no such question or answer; known are: {ways}.",
            )
            raise ApiError(400, text)
    return answers


def _open_routes(advisor: Advisor, access: Access) -> APIRouter:
    routes = APIRouter(route_class=access.route(), tags=["owner"])

    @routes.get("/search", response_model=SearchAnswer, summary="查维修案例 / Find past fixes")
    def search(
        session: Annotated[Session | None, Depends(session_of)],
        q: Annotated[str, Query(max_length=4000, examples=["冷车打不着火"])] = "",
        k: Annotated[int, Query(ge=1, le=1000)] = 10,
        brand: ShortQuery = None,
        series: ShortQuery = None,
        code: ShortQuery = None,
        light: ShortQuery = None,
        lang: LangQuery = "zh",
    ) -> dict[str, Any]:
        """最像的案例，按做法分组，并数出确认有效的次数。车架号和录入人只给登录的技师看。

        The most similar past fixes, grouped by what was done, with what people reported. Only technicians that are
        logged in see ``vin`` and ``entered_by``.
        """
        from app.report import answer_json
        from knowledge.answers import answer

        found = answer(advisor.searcher, q, k=k, brand=brand, series=series, code=code, light=light)
        told = answer_json(found, lang)
        if session is None or not session.user.may("technician"):
            for hit in told["hits"]:
                hit.update(vin="", entered_by="")
        return told

    @routes.get("/codes/{code:path}", response_model=CodeAnswerBody, summary="查故障码 / Look a fault code up")
    def code_meaning(
        code: Annotated[str, InPath(max_length=40, examples=["P0420"])], make: ShortQuery = None, lang: LangQuery = "zh"
    ) -> dict[str, Any]:
        """含义、常见原因、先查什么、还能不能开。 / Meaning, likely causes, what to check first, may I drive."""
        from app.commands.codes import code_json
        from knowledge.codes import lookup

        return code_json(lookup(code, make), lang)

    @routes.get(
        "/health",
        response_model=HealthAnswer,
        summary="是否正常 / Is all well",
        responses={503: {"model": HealthAnswer}},
        tags=["server"],
    )
    def health(response: Response) -> dict[str, Any]:
        """案例库答不答、模型在不在；不正常时状态码 503。 / Whether archive and models are there; 503 if not."""
        archive, models = _archive_answers(advisor), {name: _model_present(advisor, name) for name in MODELS}
        good = archive and all(models.values())
        response.status_code = 200 if good else 503
        return {"good": good, "archive": archive, "models": models}

    return routes


def _archive_answers(advisor: Advisor) -> bool:
    try:
        advisor.searcher.store.count()
    except UserError:
        return False
    return True


def _model_present(advisor: Advisor, name: str) -> bool:
    from models import current_folder

    try:
        folder = current_folder(name, advisor.home)
        told = json.loads((folder / "manifest.json").read_bytes())
        return (folder / str(told.get("file", "model.onnx"))).is_file()
    except (UserError, OSError, ValueError, AttributeError):
        return False


def _login_routes(accounts: Accounts, access: Access) -> APIRouter:
    bucket = Buckets(api_access.LOGIN_BURST, api_access.LOGIN_PER_S)
    coming = APIRouter(route_class=access.route(bucket=bucket), tags=["login"])
    inside = APIRouter(
        route_class=access.route(login=True),
        tags=["login"],
        dependencies=LOGIN_SCHEMES,
        responses={status: {"model": ErrorAnswer} for status in (401, 403)},
    )

    @coming.post(
        "/login",
        response_model=LoginAnswer,
        summary="登录 / Log in",
        responses={status: {"model": ErrorAnswer} for status in (401, 403, 429)},
    )
    def login(body: LoginBody, request: Request, response: Response) -> dict[str, Any]:
        """会话 12 小时有效。同一用户名错 5 次、同一地址错 20 次，15 分钟内不能再试。

        A session lasts 12 hours. After 5 failures for a name, or 20 from an address, no more tries for 15 minutes.
        """
        session = accounts.login(body.name, body.password, address_of(request))
        secure = request.url.scheme == "https"
        path = root_of(request.scope) or "/"
        response.set_cookie(
            COOKIE, session.token, max_age=SESSION_S, path=path, secure=secure, httponly=True, samesite="strict"
        )
        response.headers["Cache-Control"] = "no-store"
        return {**_me(session), "token": session.token}

    @inside.post("/logout", status_code=204, response_class=Response, summary="退出 / Log out")
    def logout(session: Annotated[Session, Depends(login_of)], request: Request) -> Response:
        """结束这个会话。 / End this session."""
        accounts.logout(session.token)
        response = Response(status_code=204)
        path, secure = root_of(request.scope) or "/", request.url.scheme == "https"
        response.delete_cookie(COOKIE, path=path, secure=secure, httponly=True, samesite="strict")
        return response

    @inside.get("/me", response_model=Me, summary="我是谁 / Who am I")
    def me(session: Annotated[Session, Depends(login_of)]) -> dict[str, Any]:
        """登录的是谁、什么角色、到什么时候。 / Who is logged in, in which role, until when."""
        return _me(session)

    both = APIRouter()
    both.include_router(coming)
    both.include_router(inside)
    return both


def _me(session: Session) -> dict[str, Any]:
    return {"name": session.user.name, "role": session.user.role, "expires": session.expires}
