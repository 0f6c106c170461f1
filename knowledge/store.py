"""Where cases are kept: the `CaseStore` seam, and a fake in memory (SQL is in sql_store.py).

Every write is one batch: all of it or nothing, durable when the call returns. A batch raises the store's revision by
one and stamps the cases that it touched with it, so whoever holds something derived from the cases (an index, another
process) asks for what changed since the revision that it knows. Nothing is overwritten silently: the earlier version
of a case goes to the history, and a deleted case is only marked.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal, Protocol

from knowledge.case import Case
from knowledge.confirmation import Confirmation, ConfirmationError
from knowledge.text import UserError

Outcome = Literal["taken", "updated", "unchanged", "deleted"]


class StoreError(UserError):
    """The archive's file can't be opened, read or written."""


@dataclass(frozen=True)
class Stored:
    """A case as it stands in the store. ``number`` is its permanent row number, ``author`` who wrote this version."""

    number: int
    case: Case
    revision: int
    author: str
    at: str
    deleted: bool = False


class CaseStore(Protocol):
    """What the archive and the search need of a store. Safe to call from several threads."""

    def revision(self) -> int:
        """Number of the last batch; 0 when nothing was ever written."""

    def stamp(self, revision: int) -> str:
        """A value that only this batch of this store bears; "" for an unknown revision."""

    def put(self, cases: Sequence[Case], author: str, replacing: Sequence[str] | None = None) -> list[Outcome]:
        """Write a batch; one outcome a case.

        A case that stands there already with the same content is "unchanged", a deleted one stays "deleted".
        ``replacing``: only versions by these authors are updated, others count as "unchanged".

        Raises:
            ValueError: if two cases of the batch bear the same id.
        """

    def delete(self, case_ids: Sequence[str], author: str) -> int:
        """Mark cases as deleted; how many there were."""

    def restore(self, case_ids: Sequence[str], author: str) -> int:
        """Take the mark away again; how many bore it."""

    def get(self, case_id: str) -> Stored | None:
        """The case under this id, deleted or not."""

    def by_number(self, numbers: Sequence[int]) -> dict[int, Stored]:
        """The cases under these row numbers."""

    def changes(self, since: int = 0) -> Iterator[Stored]:
        """All cases touched after revision ``since``, deleted ones too, in the order of their last change."""

    def history(self, case_id: str) -> list[Stored]:
        """Every version of a case, oldest first, the present one last."""

    def count(self) -> int:
        """Cases that are not deleted."""

    def confirm(self, confirmations: Sequence[Confirmation]) -> int:
        """Write reports, all or none; how many were new. One that stands there already changes nothing.

        Raises:
            ConfirmationError: if a report speaks of a case that is not here.
        """

    def withdraw(self, confirmation_id: str, by: str) -> bool:
        """Mark a report as withdrawn; whether it stood there and counted."""

    def confirmations(self, case_ids: Sequence[str] | None = None) -> dict[str, list[Confirmation]]:
        """The reports that count, by case, oldest first; of all cases if none are named."""

    def note(self, name: str, value: str | None = None) -> str:
        """Read a small setting ("" if absent), after writing ``value`` if given."""

    def close(self) -> None:
        """Let go of files."""


def check_distinct(cases: Sequence[Case]) -> None:
    """Raise ValueError if two cases bear the same id."""
    ids = [case.case_id for case in cases]
    if len(set(ids)) < len(ids):
        raise ValueError(f"a batch must hold each case_id once, got {sorted(i for i in set(ids) if ids.count(i) > 1)}")


def no_such_case(case_id: str) -> ConfirmationError:
    """The sentence for a report about a case that is not here."""
    return ConfirmationError(f"案例库里没有案例 {case_id}。", f"The archive holds no case {case_id}.")


def now() -> str:
    """The time in UTC as ISO 8601, to the millisecond."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")


class MemoryCaseStore:
    """A fake for tests: the same promises in plain dictionaries, nothing durable."""

    def __init__(self) -> None:
        self._versions: dict[str, list[Stored]] = {}
        self._stamps: list[str] = []
        self._notes: dict[str, str] = {}
        self._confirmed: dict[str, Confirmation] = {}
        self._withdrawn: set[str] = set()

    def _write(self, case: Case, author: str, deleted: bool, revision: int) -> None:
        if revision > len(self._stamps):
            self._stamps.append(uuid.uuid4().hex)
        versions = self._versions.setdefault(case.case_id, [])
        number = versions[0].number if versions else len(self._versions)
        versions.append(Stored(number, case, revision, author, now(), deleted))

    def revision(self) -> int:
        """See `CaseStore`."""
        return len(self._stamps)

    def stamp(self, revision: int) -> str:
        """See `CaseStore`."""
        return self._stamps[revision - 1] if 0 < revision <= len(self._stamps) else ""

    def put(self, cases: Sequence[Case], author: str, replacing: Sequence[str] | None = None) -> list[Outcome]:
        """See `CaseStore`."""
        check_distinct(cases)
        outcomes: list[Outcome] = []
        revision = self.revision() + 1
        for case in cases:
            last = self.get(case.case_id)
            if last is not None and last.deleted:
                outcomes.append("deleted")
            elif last and (last.case == case or (replacing is not None and last.author not in replacing)):
                outcomes.append("unchanged")
            else:
                self._write(case, author, False, revision)
                outcomes.append("updated" if last else "taken")
        return outcomes

    def delete(self, case_ids: Sequence[str], author: str) -> int:
        """See `CaseStore`."""
        return self._mark(case_ids, author, True)

    def restore(self, case_ids: Sequence[str], author: str) -> int:
        """See `CaseStore`."""
        return self._mark(case_ids, author, False)

    def _mark(self, case_ids: Sequence[str], author: str, deleted: bool) -> int:
        revision = self.revision() + 1
        found = [s for s in map(self.get, case_ids) if s is not None and s.deleted != deleted]
        for stored in found:
            self._write(stored.case, author, deleted, revision)
        return len(found)

    def get(self, case_id: str) -> Stored | None:
        """See `CaseStore`."""
        versions = self._versions.get(case_id)
        return versions[-1] if versions else None

    def by_number(self, numbers: Sequence[int]) -> dict[int, Stored]:
        """See `CaseStore`."""
        return {v[-1].number: v[-1] for v in self._versions.values() if v[-1].number in set(numbers)}

    def changes(self, since: int = 0) -> Iterator[Stored]:
        """See `CaseStore`."""
        last = (v[-1] for v in self._versions.values())
        yield from sorted((s for s in last if s.revision > since), key=lambda s: (s.revision, s.number))

    def history(self, case_id: str) -> list[Stored]:
        """See `CaseStore`."""
        return list(self._versions.get(case_id, ()))

    def count(self) -> int:
        """See `CaseStore`."""
        return sum(not v[-1].deleted for v in self._versions.values())

    def confirm(self, confirmations: Sequence[Confirmation]) -> int:
        """See `CaseStore`."""
        for one in confirmations:
            if (stored := self.get(one.case_id)) is None or stored.deleted:
                raise no_such_case(one.case_id)
        new = {one.confirmation_id: one for one in confirmations if one.confirmation_id not in self._confirmed}
        self._confirmed |= new
        return len(new)

    def withdraw(self, confirmation_id: str, by: str) -> bool:
        """See `CaseStore`."""
        known = confirmation_id in self._confirmed and confirmation_id not in self._withdrawn
        self._withdrawn.add(confirmation_id)
        return known

    def confirmations(self, case_ids: Sequence[str] | None = None) -> dict[str, list[Confirmation]]:
        """See `CaseStore`."""
        found: dict[str, list[Confirmation]] = {}
        for one in sorted(self._confirmed.values(), key=lambda c: (c.at, c.confirmation_id)):
            if one.confirmation_id not in self._withdrawn and (case_ids is None or one.case_id in case_ids):
                found.setdefault(one.case_id, []).append(one)
        return found

    def note(self, name: str, value: str | None = None) -> str:
        """See `CaseStore`."""
        if value is not None:
            self._notes[name] = value
        return self._notes.get(name, "")

    def close(self) -> None:
        """See `CaseStore`."""
