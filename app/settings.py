"""Where yangche writes, which language it speaks, the limits of the page: environment variables and their defaults."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from knowledge.text import Lang

# A phone's photo has 2 to 12 MB; the same limit as for any photo that yangche opens.
MAX_UPLOAD_BYTES = 64 * 2**20
# How many photos may wait for the one that is being looked at, before the page asks to come back later.
MAX_WAITING = 32


@dataclass(frozen=True)
class Settings:
    """What the environment may change.

    Attributes:
        home: the folder for everything that yangche writes (``YANGCHE_HOME``).
        lang: the language of the command line: ``YANGCHE_LANG``, else the first of ``LC_ALL``, ``LC_MESSAGES`` and
            ``LANG`` that is set; Chinese unless that says English.
        host: the address that the page is served on (``YANGCHE_HOST``).
        port: its port (``YANGCHE_PORT``).
        encoder: another sentence encoder than the one that ships, by its name on a model hub or its folder
            (``YANGCHE_ENCODER``, such as BAAI/bge-small-zh-v1.5; needs sentence-transformers).
        region: whose playbook tells what to do after an accident (``YANGCHE_REGION``; china, international).
    """

    home: Path
    lang: Lang
    host: str
    port: int
    region: str
    encoder: str

    @classmethod
    def read(cls, env: Mapping[str, str] | None = None) -> Settings:
        """From ``env`` (default: the process's environment)."""
        env = os.environ if env is None else env
        port = env.get("YANGCHE_PORT", "")
        return cls(
            home=_home(env.get("YANGCHE_HOME", "")),
            lang=_lang(env),
            host=env.get("YANGCHE_HOST") or "127.0.0.1",
            port=int(port) if port.isdecimal() else 7860,
            region=env.get("YANGCHE_REGION") or "china",
            encoder=env.get("YANGCHE_ENCODER", ""),
        )


def _home(named: str) -> Path:
    if named:
        return Path(named).expanduser()
    import platformdirs

    return platformdirs.user_data_path("yangche", appauthor=False)


def _lang(env: Mapping[str, str]) -> Lang:
    for name in ("YANGCHE_LANG", "LC_ALL", "LC_MESSAGES", "LANG"):
        if value := env.get(name):
            return "en" if value.lower().startswith("en") else "zh"
    return "zh"
