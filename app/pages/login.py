"""Who may open the pages of the workshop: a login page, and the gate before everything that lies behind it."""

from __future__ import annotations

import base64
import hashlib
import json
from html import escape
from http.cookies import SimpleCookie
from typing import TYPE_CHECKING
from urllib.parse import quote

from app.api.access import COOKIE
from app.serving.proxy import Asgi, Message, Receive, Send, inner_path, root_of
from app.texts import say
from knowledge.text import LANGS, Lang

if TYPE_CHECKING:
    from app.records.accounts import Accounts, Role, User

# The pages behind the gate, by what their path begins with, and who may open them.
GATED: dict[str, Role] = {"/workshop": "technician", "/trainer": "trainer"}

_STYLE = """
:root {
  color-scheme: light dark;
  font-family: system-ui, "PingFang SC", "Microsoft YaHei", "Noto Sans CJK SC", sans-serif;
}
body { margin: 0; min-height: 100vh; display: grid; place-items: center; background: Canvas; color: CanvasText; }
form { display: grid; gap: 14px; width: min(320px, 86vw); }
h1 { font-size: 1.4rem; margin: 0; }
label { display: grid; gap: 4px; font-size: .95rem; }
input, button { font: inherit; padding: 12px; border-radius: 10px; border: 1px solid #8889; }
input { background: Field; color: FieldText; }
button { background: #1d5fa8; color: #fff; border: 0; }
p { margin: 0; line-height: 1.5; min-height: 1.5em; color: #b3261e; }
@media (prefers-color-scheme: dark) { p { color: #ff8a80; } a { color: #9cc4f5; } }
nav { display: flex; justify-content: space-between; }
"""
_SCRIPT = """
document.querySelector("form").addEventListener("submit", async (event) => {
  event.preventDefault();
  const form = event.target, said = document.querySelector("p"), root = form.dataset.root;
  form.querySelector("button").disabled = true;
  try {
    const answer = await fetch(root + "/api/v1/login", {
      method: "POST", headers: {"Content-Type": "application/json"},
      body: JSON.stringify({name: form.name.value, password: form.password.value}),
    });
    if (answer.ok) {
      const open = JSON.parse(form.dataset.pages)[(await answer.json()).role], wanted = form.dataset.wanted;
      location.href = root + (open.includes(wanted) ? wanted : open[0]) + form.dataset.end;
      return;
    }
    said.textContent = (await answer.json()).error[document.documentElement.lang.slice(0, 2)];
  } finally { form.querySelector("button").disabled = false; }
});
"""


def login_page(lang: Lang, root: str = "", goal: str = "") -> str:
    """The login page; ``root``: the sub-path that a proxy serves yangche under.

    ``goal``: the page in `GATED` that was asked for; whoever may not open it gets to the first that they may.
    """
    from app.records.accounts import ROLES, User

    other: Lang = "en" if lang == "zh" else "zh"

    def word(key: str) -> str:
        return escape(say(f"workshop.{key}", lang))

    pages = {role: [path for path, needed in GATED.items() if User("", role).may(needed)] for role in ROLES}
    asked = f"&next={quote(goal)}" if goal in GATED else ""
    return (
        f'<!doctype html><html lang="{"zh-CN" if lang == "zh" else "en"}"><meta charset="utf-8">'
        f'<meta name="viewport" content="width=device-width, initial-scale=1"><title>{word("login_title")}</title>'
        f"<style>{_STYLE}</style><main>"
        f'<form data-root="{escape(root)}" data-wanted="{escape(goal)}" data-pages="{escape(json.dumps(pages))}" '
        f'data-end="{"/" if lang == "zh" else "/en/"}">'
        f"<h1>{word('login_title')}</h1>"
        f'<label>{word("name")}<input name="name" autocomplete="username" required autofocus></label>'
        f"<label>{word('password')}"
        f'<input name="password" type="password" autocomplete="current-password" required></label>'
        f'<button>{word("log_in")}</button><p role="alert"></p>'
        f'<nav><a href="{escape(root)}/">{word("owner_page")}</a>'
        f'<a href="{escape(root)}/login?lang={other}{escape(asked)}">{"English" if other == "en" else "中文"}</a></nav>'
        f"</form></main><script>{_SCRIPT}</script></html>"
    )


def login_policy() -> str:
    """What the login page may load and run: its own script and style, nothing else."""
    script = base64.b64encode(hashlib.sha256(_SCRIPT.encode()).digest()).decode()
    return (
        f"default-src 'none'; script-src 'sha256-{script}'; style-src 'unsafe-inline'; connect-src 'self'; "
        "img-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    )


def head(lang: Lang, title: str = "workshop.title") -> str:
    """The top line of a page behind the gate: its name, the other language, the owner's page, log out.

    The page stands at /NAME/, in English at /NAME/en/; ways lead from there, below whatever sub-path that is.
    """
    up, other = ("..", "en/") if lang == "zh" else ("../..", "../")
    leave = f"fetch('{up}/api/v1/logout', {{method: 'POST'}}).finally(() => location.href = '{up}/login?lang={lang}')"
    return (
        f"<h1>{escape(say(title, lang))}</h1>"
        f'<nav class="yc-nav"><a href="{other}">{"English" if lang == "zh" else "中文"}</a>'
        f'<a href="{up}/">{escape(say("workshop.owner_page", lang))}</a>'
        f'<button type="button" onclick="{escape(leave)}">{escape(say("workshop.log_out", lang))}</button></nav>'
    )


def user_of(accounts: Accounts, cookies: str) -> User | None:
    """Whose session the ``Cookie`` header bears."""
    jar: SimpleCookie = SimpleCookie()
    try:
        jar.load(cookies)
    except Exception:  # whatever a client sends
        return None
    session = accounts.session(jar[COOKIE].value) if COOKIE in jar else None
    return session.user if session else None


class Gate:
    """Lets only those through to `GATED` pages, and to all that these ask the server, who may open them."""

    def __init__(self, app: Asgi, accounts: Accounts) -> None:
        self.app, self.accounts = app, accounts

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Send strangers to the login page; tell others 403."""
        path = inner_path(scope) if scope["type"] in ("http", "websocket") else ""
        role = next((role for start, role in GATED.items() if path == start or path.startswith(f"{start}/")), None)
        if role is None or scope["type"] not in ("http", "websocket"):
            await self.app(scope, receive, send)
            return
        from starlette.concurrency import run_in_threadpool

        headers = dict(scope.get("headers", ()))
        user = await run_in_threadpool(user_of, self.accounts, headers.get(b"cookie", b"").decode("latin-1"))
        if user is not None and user.may(role):
            if scope["type"] == "http" and path in (*GATED, *(f"{start}/en" for start in GATED)):
                await _go(send, f"{root_of(scope)}{path}/")  # where the page's own addresses begin
            else:
                await self.app(scope, receive, send)
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 4401})
        elif user is None and scope.get("method") == "GET" and b"text/html" in headers.get(b"accept", b""):
            lang: Lang = next((lang for lang in LANGS if path.rstrip("/").endswith(f"/{lang}")), "zh")
            goal = next(start for start in GATED if path == start or path.startswith(f"{start}/"))
            asked = "" if goal == next(iter(GATED)) else f"&next={quote(goal)}"
            await _go(send, f"{root_of(scope)}/login?lang={lang}{asked}")
        else:
            status = 401 if user is None else 403
            await send({"type": "http.response.start", "status": status, "headers": [(b"content-type", b"text/plain")]})
            await send({"type": "http.response.body", "body": b"refused"})


async def _go(send: Send, place: str) -> None:
    await send({"type": "http.response.start", "status": 303, "headers": [(b"location", place.encode())]})
    await send({"type": "http.response.body", "body": b""})
