"""What the archive answers to a fault: past fixes grouped by what was done, how often it helped, and what did not.

Grouping is by the main operation of each fix (`knowledge.operations`); how often it helped is counted from people's
confirmations, never guessed from the text.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from knowledge.confirmation import Confirmation, Tally
from knowledge.operations import Operation, operations_of
from knowledge.search import Hit, Searcher
from knowledge.text import Text

POOL = 40  # hits that are grouped: more would count cases that have little to do with the question
OTHER = Text(zh="其他做法", en="other fixes")
NOTHING = Text(
    zh="案例库里没有和这个描述相近的案例。请换个说法，或补充车型、故障码、亮着的灯。",
    en="The archive has nothing like this. Try other words, or add the vehicle, a fault code or a lit lamp.",
)
# How far the reports on a fix move its group in the list: a fix that never helped sinks below an untried one.
_WORKED, _FAILED = 0.5, -1.0
_SLIGHT = ("inspect", "advice_only")  # nobody mended anything


@dataclass(frozen=True)
class Group:
    """The cases in which the same thing was done. ``operation`` is None where the fix's words name none."""

    operation: Operation | None
    hits: tuple[Hit, ...]
    tally: Tally

    @property
    def title(self) -> Text:
        """What was done, such as "throttle body cleaned"."""
        return self.operation.text if self.operation else OTHER

    @property
    def counts(self) -> Text:
        """Sample size first, then what people reported."""
        n, tally = len(self.hits), self.tally
        zh = [f"{n} 例"]
        en = [f"{n} case{'s' if n != 1 else ''}"]
        for count, said_zh, said_en in (
            (tally.worked, "次确认有效", "confirmed"),
            (tally.did_not_help, "次没有解决", "did not help"),
            (tally.wrong_track, "次是错误方向", "a wrong track"),
        ):
            if count:
                zh.append(f"{count} {said_zh}")
                en.append(f"{count} {said_en}")
        return Text(zh="，".join(zh), en=", ".join(en))

    @property
    def starter(self) -> bool:
        """Whether all of its cases are yangche's own starter cases, which no shop has confirmed."""
        from knowledge.case import STARTER

        return all(hit.case.source == STARTER for hit in self.hits)


@dataclass(frozen=True)
class WrongTrack:
    """A fix that people tried for a fault like this in vain."""

    title: Text
    times: int
    case_ids: tuple[str, ...]

    @property
    def text(self) -> Text:
        """The warning in words."""
        return Text(
            zh=f"注意：“{self.title.zh}”被报告为错误方向或没有解决，共 {self.times} 次。",
            en=f"Careful: “{self.title.en}” was reported as a wrong track or no help, {self.times} "
            f"time{'s' if self.times != 1 else ''}.",
        )


@dataclass(frozen=True)
class Answer:
    """``hits`` best first, whether relevant or not; ``groups`` and ``warnings`` speak of the relevant ones only."""

    hits: tuple[Hit, ...]
    groups: tuple[Group, ...]
    warnings: tuple[WrongTrack, ...]

    @property
    def nothing(self) -> Text | None:
        """The sentence for a question that the archive has nothing like."""
        return None if self.groups else NOTHING


def answer(
    searcher: Searcher,
    query: str,
    k: int = 10,
    brand: str | None = None,
    series: str | None = None,
    code: str | None = None,
    light: str | None = None,
) -> Answer:
    """The ``k`` best hits for a fault, and the relevant ones among the best `POOL` grouped by what was done.

    Raises:
        QueryError: as `Searcher.search`.
    """
    hits = searcher.search(query, k=max(k, POOL), brand=brand, series=series, code=code, light=light)
    relevant = [hit for hit in hits[:POOL] if hit.relevant]
    groups = grouped(relevant, searcher.store.confirmations([hit.case.case_id for hit in relevant]))
    return Answer(tuple(hits[:k]), groups, wrong_tracks(groups))


def grouped(hits: Sequence[Hit], confirmations: dict[str, list[Confirmation]]) -> tuple[Group, ...]:
    """The hits by their main operation: the groups that promise most first, within a group the best hit first."""
    members: dict[str, list[Hit]] = {}
    operations: dict[str, Operation | None] = {}
    for hit in hits:
        done = operations_of(hit.case.fix, hit.case.parts)
        key = done[0].key if done else ""
        members.setdefault(key, []).append(hit)
        operations.setdefault(key, done[0] if done else None)
    groups = [
        Group(
            operations[key], tuple(own), Tally.of([c for hit in own for c in confirmations.get(hit.case.case_id, ())])
        )
        for key, own in members.items()
    ]
    return tuple(sorted(groups, key=lambda group: -_promise(group)))


def _tally(hits: Sequence[Hit], confirmations: dict[str, list[Confirmation]]) -> Tally:
    return Tally.of([report for hit in hits for report in confirmations.get(hit.case.case_id, ())])


def _promise(group: Group) -> float:
    """How much speaks for a group: its best hit, then its other hits at falling weight, then people's reports."""
    scores = sorted((hit.score for hit in group.hits), reverse=True)
    evidence = sum(score * 0.3**place for place, score in enumerate(scores))
    reports = group.tally.worked + group.tally.did_not_help + group.tally.wrong_track
    if reports:
        good, bad = group.tally.worked, group.tally.did_not_help + group.tally.wrong_track
        evidence *= 1 + (_WORKED * good + _FAILED * bad) / (reports + 1)
    slight = group.operation is None or group.operation.action in _SLIGHT
    return evidence / 2 if slight else evidence


def wrong_tracks(groups: Sequence[Group]) -> tuple[WrongTrack, ...]:
    """The operations that were reported as wrong tracks, or that failed more often than they helped."""
    warnings = []
    for group in groups:
        failed = group.tally.wrong_track + group.tally.did_not_help
        if group.operation and (group.tally.wrong_track or failed > group.tally.worked):
            ids = tuple(hit.case.case_id for hit in group.hits)
            warnings.append(WrongTrack(group.title, failed, ids))
    return tuple(warnings)
