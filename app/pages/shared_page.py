"""The page behind a share link: an answer as static HTML without scripts, and the routes that hand out reports."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING

from app.pages import fragments
from app.paper.answer_pdf import answered
from app.paper.evidence_paper import moment
from app.paper.evidence_parts import word
from app.texts import say
from knowledge.text import LANGS, Lang

if TYPE_CHECKING:
    from fastapi import FastAPI

    from app.pages.sitting import Answer, Page, Sitting
    from app.records.cabinet import Cabinet

PAGE, PDF = "page.html", "report.pdf"  # files in a drawer
HEADERS = {
    "Cache-Control": "no-store",
    "X-Robots-Tag": "noindex, nofollow, noarchive",
    "Content-Security-Policy": (
        "default-src 'none'; img-src data:; style-src 'unsafe-inline'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
}

# What Gradio gives the owner's page; the look itself stands in app/pages/page.css.
_STYLE = """
:root {
  color-scheme: light dark; --body-text-color: #1f2430; --body-text-color-subdued: #565d69;
  --background-fill-secondary: #f7f8fa; --border-color-primary: #dfe2e8;
}
@media (prefers-color-scheme: dark) {
  :root {
    --body-text-color: #eceef2; --body-text-color-subdued: #b5bac4;
    --background-fill-secondary: #22252c; --border-color-primary: #3b404a;
  }
  body { background: #16181d; } a { color: #9cc4f5; }
}
body {
  color: var(--body-text-color); box-sizing: border-box; line-height: 1.5; margin: 0; padding: 16px;
  font-family: system-ui, "PingFang SC", "Microsoft YaHei", "Noto Sans CJK SC", sans-serif;
}
h1 { font-size: 1.4rem; margin: 0 0 4px; }
main > section, main > img, main > p { margin: 0 0 16px; }
"""


def shared_html(sitting: Sitting, page: Page, lang: Lang, *, made: datetime, until: datetime, pdf: str) -> str:
    """The whole page; ``pdf``: the address of the PDF, seen from the page's own."""
    line = say("keep.made", lang, when=moment(made, lang), until=moment(until, lang))
    several = len(sitting.answers) > 1
    photos = "".join(_photo(answer, page, lang, several) for answer in sitting.answers)
    return _document(
        say("keep.report_title", lang),
        f"<h1>{escape(say('keep.report_title', lang))}</h1><p class='yc-quiet'>{escape(line)}</p>"
        f"<p><a class='yc-download' href='{escape(pdf)}'>{escape(say('keep.pdf', lang))}</a></p>"
        f"{photos}{fragments.limits(lang)}",
        lang,
        (Path(__file__).parent / "page.css").read_text("utf-8"),
    )


def gone_html() -> str:
    """What a link opens whose time is over; whose language it was, nobody knows any more."""
    lines = "".join(f"<p lang='{lang}'>{escape(say('keep.gone', lang))}</p>" for lang in LANGS)
    return _document(say("page.name", "zh"), f"<h1>{escape(say('page.name', 'zh'))}</h1>{lines}", "zh")


def mount(app: FastAPI, cabinet: Cabinet) -> None:
    """The routes of reports: each is found by whoever knows its unguessable name, and by nobody else."""
    from fastapi.responses import FileResponse, HTMLResponse, Response
    from starlette.requests import Request

    def pdf_or_gone(token: str, how: str) -> Response:
        file = cabinet.file(token, PDF)
        if file is None:
            return HTMLResponse(gone_html(), 404, HEADERS)
        return FileResponse(
            file, headers=HEADERS, media_type="application/pdf", filename="yangche.pdf", content_disposition_type=how
        )

    @app.get("/report/{token}")
    def saved(token: str) -> Response:
        """The PDF that was saved."""
        return pdf_or_gone(token, "attachment")

    @app.get("/shared/{token}/report.pdf")
    def shared_pdf(token: str) -> Response:
        """The PDF of a share link."""
        return pdf_or_gone(token, "inline")

    @app.get("/shared/{token}")
    def shared(token: str) -> Response:
        """The page of a share link."""
        file = cabinet.file(token, PAGE)
        return HTMLResponse(file.read_text("utf-8") if file else gone_html(), 200 if file else 404, HEADERS)

    # A name otherwise, where FastAPI looks for the class.
    def end(token: str, request: Request) -> Response:
        """End a share link: the files are deleted at once."""
        return Response(status_code=204 if cabinet.end(token, request.headers.get("x-end", "")) else 404)

    end.__annotations__["request"] = Request
    app.post("/shared/{token}/end")(end)


def _photo(answer: Answer, page: Page, lang: Lang, several: bool) -> str:
    """All about one photo, as the owner's page shows it."""
    told = page.told(answer.diagnosis, lang)
    title = f"<h2>{escape(say('page.photo_number', lang, number=answer.number))}</h2>" if several else ""
    steps = fragments.steps(answer.diagnosis, lang, asking=False)
    given = _given([(q.in_(lang), a.in_(lang)) for q, a in answered(answer, page.advisor.questions)], lang)
    parts = (title, told["banner"], page.picture(answer, lang), steps, given, told["cards"], told["fixes"])
    return "".join(parts)


def _given(answers: Sequence[tuple[str, str]], lang: Lang) -> str:
    if not answers:
        return ""
    rows = "".join(f"<li>{escape(question)}<br><strong>{escape(answer)}</strong></li>" for question, answer in answers)
    return f"<section class='yc-written'><h2>{escape(word('section.answers', lang))}</h2><ul>{rows}</ul></section>"


def _document(title: str, inside: str, lang: Lang, look: str = "") -> str:
    return (
        f'<!doctype html><html lang="{"zh-CN" if lang == "zh" else "en"}"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<meta name="robots" content="noindex, nofollow, noarchive"><meta name="referrer" content="no-referrer">'
        f"<title>{escape(title)}</title><style>{look}{_STYLE}</style></head>"
        f'<body class="gradio-container"><main>{inside}</main></body></html>'
    )
