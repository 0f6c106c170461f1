"""A part of the owner's page: its widgets, their words, and what they show of the photos that were looked at."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from knowledge.text import Lang

if TYPE_CHECKING:
    from app.pages.sitting import Sitting


class Section(Protocol):
    """Made inside ``gradio.Blocks``, where its widgets shall stand; `app.pages.web` asks it for the rest."""

    @property
    def words(self) -> Sequence[Any]:
        """The widgets whose words change with the language."""

    def spoken(self, lang: Lang) -> Mapping[Any, Any]:
        """The words of ``words``; nothing that depends on a photo."""

    @property
    def changing(self) -> Sequence[Any]:
        """The widgets that change with what was seen and answered."""

    def shown(self, sitting: Sitting | None, lang: Lang) -> Mapping[Any, Any]:
        """What ``changing`` show; None: no photo was looked at yet."""

    def wire(self, language: Any, state: Any, options: Mapping[str, Any]) -> None:  # noqa: ANN401 - gradio is untyped
        """Hang in its own events, each with ``options``. ``state`` holds the ``Sitting``, or None."""
