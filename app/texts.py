"""The words of the command line and the page, from ``texts.yaml``."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from knowledge.text import Lang, Text


@cache
def texts() -> dict[str, Text]:
    """All words by id, such as ``page.upload``."""
    import yaml

    rows = yaml.safe_load((Path(__file__).parent / "texts.yaml").read_text("utf-8"))
    return {f"{group}.{key}": Text(**words) for group, entries in rows.items() for key, words in entries.items()}


def say(key: str, lang: Lang, **values: object) -> str:
    """The words ``key`` in ``lang``, with ``{name}`` places filled in."""
    words = texts()[key].in_(lang)
    return words.format(**values) if values else words
