"""Words for people, always in Chinese and English, and the error that carries them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, StringConstraints

Lang = Literal["zh", "en"]
LANGS: tuple[Lang, ...] = ("zh", "en")

_Words = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1)]


class Text(BaseModel):
    """One piece of text for people, in both languages. In data files: ``{zh: ..., en: ...}``."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    zh: _Words
    en: _Words

    def in_(self, lang: Lang) -> str:
        """The words in ``lang``."""
        return self.zh if lang == "zh" else self.en

    def filled(self, **values: Any) -> Text:  # noqa: ANN401 - whatever str.format takes
        """A copy with ``{name}`` places filled in, in both languages."""
        return Text(zh=self.zh.format(**values), en=self.en.format(**values))


def listed(words: Iterable[str], lang: Lang) -> str:
    """Words in one line, parted as ``lang`` parts them."""
    return ("、" if lang == "zh" else ", ").join(words)


class UserError(Exception):
    """Something a person can put right. ``text`` is one sentence: what is wrong and what to do."""

    def __init__(self, zh: str, en: str) -> None:
        super().__init__(en)
        self.text = Text(zh=zh, en=en)
