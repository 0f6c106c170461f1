"""Every setting of yangche: one table, read from environment variables and from one file.

``YANGCHE_PORT=8000`` in the environment, or ``port = 8000`` in the file; the environment wins. The file is the one that
``YANGCHE_SETTINGS`` names, else ``settings.toml`` in ``YANGCHE_HOME``. A new setting is one line in `Settings`, and one
in ``app/README.md`` (a test compares them).
"""

# ruff: noqa: RUF009 - `_set` makes a field
from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from knowledge.text import Lang, Text, UserError

# A phone's photo has 2 to 12 MB; the same limit as for any photo that yangche opens.
MAX_UPLOAD_BYTES = 64 * 2**20
# How many callers may wait for the photos that are being looked at, before others are asked to come back later.
MAX_WAITING = 64
# Photos that are worked on at once: a large one must not hold up everybody else's.
AT_ONCE = 2

PREFIX = "YANGCHE_"
FILE = "settings.toml"
# Variables that other parts read for themselves: the file of settings, and figures of tests.
ELSEWHERE = frozenset({"YANGCHE_SETTINGS", "YANGCHE_KILLS"})

Reader = Callable[[Any], Any]
"""Makes a setting of what was written; raises ValueError with what it should be, as ``Text``."""


def _text(written: Any) -> str:  # noqa: ANN401 - whatever stands in the file
    if not isinstance(written, str):
        raise ValueError(Text(zh="一段文字", en="a text"))
    return written.strip()


def _number(low: int, high: int) -> Reader:
    def read(written: Any) -> int:  # noqa: ANN401
        told = str(written).strip()
        if isinstance(written, bool) or not re.fullmatch(r"\d{1,9}", told) or not low <= int(told) <= high:
            raise ValueError(Text(zh=f"{low} 到 {high} 的整数", en=f"a whole number from {low} to {high}"))
        return int(told)

    return read


def _one_of(*known: str) -> Reader:
    def read(written: Any) -> str:  # noqa: ANN401
        if written not in known:
            raise ValueError(Text(zh=f"{'、'.join(known)} 之一", en=f"one of {', '.join(known)}"))
        return str(written)

    return read


def _sub_path(written: Any) -> str:  # noqa: ANN401
    told = _text(written).rstrip("/")
    if told and not SUB_PATH.fullmatch(told):
        raise ValueError(Text(zh="/yangche 这样的路径", en="a path such as /yangche"))
    return told


def _addresses(written: Any) -> str:  # noqa: ANN401
    import ipaddress

    told = _text(",".join(written) if isinstance(written, list) else written)
    for part in filter(None, (part.strip() for part in told.split(","))):
        try:
            ipaddress.ip_network(part, strict=False)
        except ValueError:
            expected = Text(zh="用逗号分开的 IP 地址或网段", en="IP addresses or networks, with commas between them")
            raise ValueError(expected) from None
    return told


SUB_PATH = re.compile(r"(?:/[A-Za-z0-9_~-][A-Za-z0-9._~-]*)+")


def _set(default: Any, read: Reader = _text) -> Any:  # noqa: ANN401 - what the field's type says
    return field(default=default, metadata={"read": read})


@dataclass(frozen=True)
class Settings:
    """What may be changed. Each has a variable ``YANGCHE_`` + its name in capitals, and its name as key in the file.

    Attributes:
        home: the folder for everything that yangche writes (only from the environment).
        lang: the language of the command line: ``YANGCHE_LANG``, else the file, else the first of ``LC_ALL``,
            ``LC_MESSAGES`` and ``LANG`` that is set; Chinese unless that says English.
        host: the address that the page is served on.
        port: its port.
        region: whose playbook tells what to do after an accident (china, international).
        encoder: another sentence encoder than the one that ships, by its name on a model hub or its folder
            (such as BAAI/bge-small-zh-v1.5; needs sentence-transformers).
        root_path: the sub-path under which a proxy serves yangche (``/yangche``), where the proxy does not say so.
        trusted_proxies: whose X-Forwarded-For, -Proto and -Prefix count.
        log: ``json``: one line for each request and diagnosis on stderr; ``plain``: only warnings, as text.
        metrics: who may read /metrics: ``local`` (this machine), ``open`` (everybody), ``off``.
        metrics_token: whoever bears it (``Authorization: Bearer``) may read /metrics from anywhere.
        upload_mb: the largest photo in MiB.
        upload_total_mb: the largest upload in MiB, all its photos together.
        uploads_per_minute: uploads of one address to the page; a burst of 40 is let through.
        events_per_minute: events of one address on the pages (clicks, keystrokes); a burst of 200 is let through.
        diagnoses_per_minute: calls of /api/v1/diagnose of one address; a burst of 20 is let through.
        waiting: callers that may wait for their photos before others are told that the server is busy.
        at_once: photos that are worked on at once.
        slow_s: seconds for the head of a request, and for each part of its body, before the connection is cut off.
        connections: connections that are held at a time; each open page takes one or two.
        correction_days: days that an owner's report of a mistake waits for a trainer before it is deleted.
        share_days: days for which a report can be opened behind a share link.
        garage_days: days after which a car that its owner keeps on the server is deleted if nobody opened it.
    """

    home: Path = _set(None)
    lang: Lang = _set("zh")
    host: str = _set("127.0.0.1")
    port: int = _set(7860, _number(1, 65535))
    region: str = _set("china")
    encoder: str = _set("")
    root_path: str = _set("", _sub_path)
    trusted_proxies: str = _set("127.0.0.1,::1", _addresses)
    log: str = _set("plain", _one_of("plain", "json"))
    metrics: str = _set("local", _one_of("local", "open", "off"))
    metrics_token: str = _set("")
    upload_mb: int = _set(MAX_UPLOAD_BYTES >> 20, _number(1, MAX_UPLOAD_BYTES >> 20))
    upload_total_mb: int = _set(10 * MAX_UPLOAD_BYTES >> 20, _number(1, 4096))
    uploads_per_minute: int = _set(30, _number(1, 10**6))
    events_per_minute: int = _set(600, _number(1, 10**6))
    diagnoses_per_minute: int = _set(30, _number(1, 10**6))
    waiting: int = _set(MAX_WAITING, _number(0, 1000))
    at_once: int = _set(AT_ONCE, _number(1, 64))
    slow_s: int = _set(30, _number(1, 3600))
    connections: int = _set(1000, _number(10, 100_000))
    correction_days: int = _set(180, _number(1, 3650))
    share_days: int = _set(7, _number(1, 90))
    garage_days: int = _set(730, _number(1, 3650))

    @classmethod
    def language(cls) -> Lang:
        """``lang`` alone, which is there although another setting is wrong: that must be told in some language."""
        try:
            return cls.read().lang
        except UserError:
            return "en" if _lang(os.environ, "YANGCHE_LANG").lower().startswith("en") else "zh"

    @classmethod
    def read(cls, env: Mapping[str, str] | None = None) -> Settings:
        """From ``env`` (default: the process's environment) and the file.

        Raises:
            UserError: if a value cannot be used, the file names a setting that there is not, or is no TOML.
        """
        env = os.environ if env is None else env
        home = _home(env.get("YANGCHE_HOME", ""))
        filed, path = _filed(env, home)
        values: dict[str, Any] = {"home": home}
        if not env.get("YANGCHE_LANG") and "lang" not in filed:
            values["lang"] = _lang(env)
        for one in fields(cls):
            variable = PREFIX + one.name.upper()
            if one.name in values:
                continue
            if written := env.get(variable):
                values[one.name] = _read(one.metadata["read"], written, variable)
            elif one.name in filed:
                values[one.name] = _read(one.metadata["read"], filed[one.name], f"{path.name}: {one.name}")
        if "lang" in values:
            values["lang"] = "en" if values["lang"].lower().startswith("en") else "zh"
        return cls(**values)


def _read(read: Reader, written: Any, where: str) -> Any:  # noqa: ANN401
    try:
        return read(written)
    except ValueError as error:
        expected = error.args[0]
        shown = str(written)[:80]
        raise UserError(
            f"设置 {where} 不能是“{shown}”，要写{expected.zh}。",
            f"The setting {where} cannot be “{shown}”; it must be {expected.en}.",
        ) from None


def _filed(env: Mapping[str, str], home: Path) -> tuple[dict[str, Any], Path]:
    """What stands in the file, and which file that is; nothing where there is none and none was named."""
    import tomllib

    named = env.get("YANGCHE_SETTINGS", "")
    path = Path(named).expanduser() if named else home / FILE
    try:
        filed = tomllib.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        if not named:
            return {}, path
        raise UserError(f"找不到设置文件 {path}。", f"There is no file of settings {path}.") from None
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise UserError(
            f"设置文件 {path} 读不了（{reason}）。", f"The file of settings {path} cannot be read ({reason})."
        ) from error
    except ValueError as error:  # TOMLDecodeError and UnicodeDecodeError tell the place
        raise UserError(
            f"设置文件 {path} 不是 TOML（{error}）。", f"The file of settings {path} is no TOML ({error})."
        ) from error
    known = {one.name for one in fields(Settings)} - {"home"}
    for key in filed:
        if key not in known:
            raise UserError(
                f"设置文件 {path} 里的 {key} 不认识；可用的有：{'、'.join(sorted(known))}。",
                f"{key} in the file of settings {path} is not known; known are: {', '.join(sorted(known))}.",
            )
    return filed, path


def _home(named: str) -> Path:
    if named:
        return Path(named).expanduser()
    import platformdirs

    return platformdirs.user_data_path("yangche", appauthor=False)


def _lang(env: Mapping[str, str], *first: str) -> str:
    for name in (*first, "LC_ALL", "LC_MESSAGES", "LANG"):
        if value := env.get(name):
            return value
    return "zh"
