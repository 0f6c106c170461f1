"""Cases that tell of the same repair: found and offered for merging, never merged by themselves."""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from dataclasses import dataclass

from knowledge.case import Case, case_words
from knowledge.confirmation import ConfirmationError
from knowledge.lexical import tokenize
from knowledge.search import Searcher
from knowledge.store import CaseStore, no_such_case

ALIKE = 0.8  # share of common tokens among all tokens of two cases (Jaccard); a retyped case stays above it
CANDIDATES = 5
_NAMESPACE = uuid.UUID("0b6a53a8-6e0c-4f0e-8a8e-0f5a9a4f6d2b")  # of confirmations that follow a merged case


@dataclass(frozen=True)
class Pair:
    """Two cases that may be one. ``likeness`` is the share of words that they have in common, 0..1."""

    kept: str
    other: str
    likeness: float


def find_duplicates(searcher: Searcher, cases: Iterable[Case] | None = None) -> list[Pair]:
    """The pairs among ``cases`` and the rest of the archive (default: all cases) that tell nearly the same."""
    store = searcher.store
    wanted = cases if cases is not None else (s.case for s in store.changes() if not s.deleted)
    pairs: dict[tuple[str, str], Pair] = {}
    for case in wanted:
        own = _tokens(case)
        if not own:
            continue
        for other in searcher.alike(case_words(case), CANDIDATES):
            if other.case_id == case.case_id or _differ(case, other):
                continue
            theirs = _tokens(other)
            likeness = len(own & theirs) / len(own | theirs)
            if likeness >= ALIKE:
                first, second = sorted((case.case_id, other.case_id))
                pairs[first, second] = Pair(first, second, round(likeness, 3))
    return sorted(pairs.values(), key=lambda pair: -pair.likeness)


def _tokens(case: Case) -> set[str]:
    return set(tokenize(case_words(case)))


def _differ(a: Case, b: Case) -> bool:
    """Whether two cases name different cars or codes: then they are two repairs, however alike their words."""
    from knowledge.vehicles import brand_key, series_key

    for one, two in (
        (brand_key(a.brand), brand_key(b.brand)),
        (series_key(a.series, a.brand), series_key(b.series, b.brand)),
        (a.model_year, b.model_year),
        (a.mileage_km, b.mileage_km),
        (a.codes, b.codes),
    ):
        if one and two and one != two:
            return True
    return False


def merge(store: CaseStore, kept: str, other: str, author: str) -> int:
    """Mark ``other`` as deleted and let its confirmations count for ``kept``; how many moved.

    Both stay in the database with their history; restoring ``other`` undoes the deletion.

    Raises:
        ConfirmationError: if a case is not here, or both are the same.
    """
    if kept == other:
        raise ConfirmationError("两个编号相同，无法合并。", "Both ids are the same; nothing to merge.")
    for case_id in (kept, other):
        if (stored := store.get(case_id)) is None or stored.deleted:
            raise no_such_case(case_id)
    theirs = store.confirmations([other]).get(other, [])
    # Under ids made from the old ones, so that a merge which was cut short can simply be done again.
    moved = [
        c.model_copy(update={"case_id": kept, "confirmation_id": str(uuid.uuid5(_NAMESPACE, c.confirmation_id + kept))})
        for c in theirs
    ]
    count = store.confirm(moved)
    store.delete([other], f"{author} -> {kept}"[:200])
    return count
