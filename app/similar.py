"""Past fixes of cars with the same lamps or fault codes: the best of them, and more of them by what was done."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from knowledge.text import UserError
from knowledge.vehicles import ANY, Vehicle

if TYPE_CHECKING:
    from app.advisor import Advisor
    from app.diagnosis import Diagnosis, Lamp
    from knowledge.answers import Group
    from knowledge.search import Hit
    from knowledge.words import Message

# How many past fixes stand beside an answer.
FIXES = 5


def similar(
    advisor: Advisor, lamps: Sequence[Lamp], codes: Sequence[str], k: int = FIXES, vehicle: Vehicle = ANY
) -> list[Hit]:
    """The ``k`` past fixes that speak most of the worst of ``lamps`` (worst first) or of ``codes``.

    Those of such a ``vehicle`` come before others that speak as much of them.

    An open door beside a red oil lamp must not crowd out the fixes for the oil lamp.

    Raises:
        UserError: if the archive cannot be opened.
    """
    worst = lamps[0].urgency if lamps else "ok"
    lights = list(dict.fromkeys(lamp.light.id for lamp in lamps if lamp.urgency == worst != "ok"))
    if not (lights or codes):
        return []
    names = {light: advisor.catalogue.lights[light].name for light in lights}
    return advisor.searcher.search_for_diagnosis(lights, codes, k=k, names=names, vehicle=vehicle)


def fix_groups(advisor: Advisor, diagnosis: Diagnosis) -> tuple[Group, ...]:
    """What was done to such cars, how often, and what people reported; empty where ``diagnosis`` has no fixes.

    Asked for only where it is shown: it takes ten times as long as the best fixes alone.
    """
    from knowledge.answers import POOL, grouped

    if not diagnosis.fixes:
        return ()
    try:
        hits = similar(advisor, diagnosis.lamps, codes_in(diagnosis.messages), POOL, diagnosis.vehicle)
        return grouped(hits, advisor.searcher.store.confirmations([hit.case.case_id for hit in hits]))
    except UserError:  # the archive went away since; the advice stands
        return ()


def codes_in(messages: Iterable[Message]) -> tuple[str, ...]:
    """The fault codes that stand on the screens."""
    from knowledge.lexical import fault_codes

    return fault_codes(" ".join(message.text for message in messages))
