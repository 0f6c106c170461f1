"""What people report about a past fix after trying it: it worked, it did not help, it was a wrong track."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field

from knowledge.case import MAX_SHORT, MAX_TEXT
from knowledge.text import Text, UserError

Verdict = Literal["worked", "did_not_help", "wrong_track"]
VERDICTS: tuple[Verdict, ...] = get_args(Verdict)
VERDICT_TEXT: dict[Verdict, Text] = {
    "worked": Text(zh="有效", en="worked"),
    "did_not_help": Text(zh="没有解决", en="did not help"),
    "wrong_track": Text(zh="方向错误", en="wrong track"),
}


class ConfirmationError(UserError):
    """A report that can't be taken."""


class Confirmation(BaseModel):
    """One person's report on one case. Never changed; a mistaken one is withdrawn, which leaves it in the store.

    ``at`` is ISO 8601 in UTC; ``brand``, ``series``, ``model_year`` name the car that it was tried on.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    confirmation_id: str = Field(min_length=1, max_length=MAX_SHORT)
    case_id: str = Field(min_length=1, max_length=MAX_SHORT)
    verdict: Verdict
    by: str = Field(min_length=1, max_length=MAX_SHORT)
    at: str = Field(min_length=1, max_length=40)
    shop: str = Field(default="", max_length=MAX_SHORT)
    brand: str = Field(default="", max_length=MAX_SHORT)
    series: str = Field(default="", max_length=MAX_SHORT)
    model_year: int | None = None
    note: str = Field(default="", max_length=MAX_TEXT)

    def body(self) -> str:
        """The record as JSON without its empty fields."""
        return self.model_dump_json(exclude_defaults=True)


def new_confirmation(case_id: str, verdict: str, by: str, **details: Any) -> Confirmation:  # noqa: ANN401
    """A report made now, under a new global id (UUIDv7).

    Raises:
        ConfirmationError: if the verdict is none of `VERDICTS`, or nobody's name stands under it.
    """
    from knowledge.ids import new_id
    from knowledge.store import now

    if verdict not in VERDICTS:
        raise ConfirmationError(
            f"结果只能是 {'、'.join(VERDICTS)} 之一，不能是“{verdict}”。",
            f"The verdict must be one of {', '.join(VERDICTS)}, not {verdict!r}.",
        )
    if not by.strip():
        raise ConfirmationError("请写明是谁确认的。", "Please say who confirms it.")
    fields = {name: value for name, value in details.items() if value}
    return Confirmation(
        confirmation_id=new_id(), case_id=case_id, verdict=verdict, by=" ".join(by.split()), at=now(), **fields
    )


@dataclass(frozen=True)
class Tally:
    """How often a fix was reported to work, not to help, or to be a wrong track."""

    worked: int = 0
    did_not_help: int = 0
    wrong_track: int = 0

    @classmethod
    def of(cls, confirmations: Sequence[Confirmation]) -> Tally:
        """Counted from the records."""
        return cls(*(sum(c.verdict == verdict for c in confirmations) for verdict in VERDICTS))

    def __add__(self, other: Tally) -> Tally:
        return Tally(
            self.worked + other.worked, self.did_not_help + other.did_not_help, self.wrong_track + other.wrong_track
        )
