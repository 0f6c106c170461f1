"""The archive of past repairs: setting it up, importing and exporting, and what people ask of it."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from knowledge.case import COLUMNS, STARTER, Case, read_case, words
from knowledge.personal import mask_case
from knowledge.sql_store import SqlCaseStore
from knowledge.store import CaseStore, MemoryCaseStore, Stored, StoreError
from knowledge.tables import ArchiveError, check_row, read_rows, write_rows, write_table
from knowledge.text import Text

__all__ = [
    "Archive",
    "ArchiveError",
    "Case",
    "CaseStore",
    "ImportReport",
    "MemoryCaseStore",
    "Refusal",
    "SqlCaseStore",
    "StoreError",
    "Stored",
    "words",
]

DATABASE = "archive.sqlite"  # in YANGCHE_HOME
STARTER_CASES = Path(__file__).with_name("starter_cases.jsonl")
_NONE = "none"  # the note of an archive that was set up without the starter cases


@dataclass(frozen=True)
class Refusal:
    """A row that was not taken."""

    line: int
    reason: Text


@dataclass(frozen=True)
class ImportReport:
    """What became of a file's rows.

    ``ignored`` names its columns that yangche doesn't know and didn't keep, ``masked`` counts rows in which personal
    data (phone numbers, VINs, plates ...) was covered, ``new`` holds the ids of the cases taken.
    """

    taken: int = 0
    updated: int = 0
    unchanged: int = 0
    refused: tuple[Refusal, ...] = ()
    ignored: tuple[str, ...] = ()
    masked: int = 0
    new: tuple[str, ...] = ()


class Archive:
    """The past repairs in a store; safe to use from several threads and processes."""

    def __init__(self, store: CaseStore) -> None:
        self.store = store

    @classmethod
    def open(cls, home: Path, starter: Path = STARTER_CASES) -> Archive:
        """The archive in the folder ``home``, set up with the starter cases if it is new.

        A newer release's starter cases are added, and those are corrected that nobody has edited here.

        Raises:
            StoreError: if the folder or the database can't be used.
        """
        archive = cls(SqlCaseStore(home / DATABASE))
        if archive.store.note(STARTER) != _NONE:
            archive._refresh_starter(starter)
        return archive

    @classmethod
    def init(cls, home: Path, empty: bool = False, starter: Path = STARTER_CASES) -> Archive:
        """Set up the archive in ``home``, with or without the starter cases; a shop's own cases always stay.

        Where an archive stands already, ``empty`` takes the starter cases out and its opposite brings them back.
        """
        archive = cls(SqlCaseStore(home / DATABASE))
        if empty:
            archive.store.note(STARTER, _NONE)
            archive.store.delete(archive._starter_ids(), STARTER)
        else:
            archive.store.restore(archive._starter_ids(), STARTER)
            archive.store.note(STARTER, "")
            archive._refresh_starter(starter)
        return archive

    def _starter_ids(self) -> list[str]:
        return [s.case.case_id for s in self.store.changes() if s.author == STARTER]

    def _refresh_starter(self, file: Path) -> None:
        digest = hashlib.sha256(file.read_bytes()).hexdigest()
        if self.store.note(STARTER) == digest:
            return
        cases = []
        for row in read_rows(file):
            case = check_row(row, read_case)
            if isinstance(case, Text):  # a mistake of ours, not of the user's; a test reads the whole file
                raise ValueError(f"{file.name}, line {row.line}: {case.en}")
            cases.append(case)
        self.store.put(cases, STARTER, replacing=(STARTER,))
        self.store.note(STARTER, digest)

    def import_file(self, path: Path, keep_personal: bool = False, author: str = "") -> ImportReport:
        """Take over the cases in a .jsonl, .csv or .xlsx file, in one transaction; durable when this returns.

        Personal data is masked first, unless ``keep_personal``. ``author``: who imports; the file, if nobody is named.

        A row with the case_id of a case here updates it (the earlier version stays in the history); a row that
        changes nothing counts as unchanged. Bad rows are refused one by one. Importing a file twice changes nothing.

        Raises:
            ArchiveError: if the file as a whole can't be read as a table of cases.
            StoreError: if the database can't be written; then no row was taken.
        """
        refused: list[Refusal] = []
        ignored: dict[str, None] = {}
        cases: dict[str, tuple[int, Case]] = {}
        repeated = masked = 0
        for row in read_rows(path):
            ignored.update(dict.fromkeys(row.ignored))
            case = check_row(row, read_case)
            if not (keep_personal or isinstance(case, Text)):
                case, kinds = mask_case(case)
                masked += bool(kinds)
            if isinstance(case, Text):
                refused.append(Refusal(row.line, case))
            elif case.case_id not in cases:
                cases[case.case_id] = (row.line, case)
            elif cases[case.case_id][1] == case:
                repeated += 1
            else:
                # Taking both would make a second import of the file flip between them.
                first = cases[case.case_id][0]
                reason = Text(
                    zh=f"案例编号 {case.case_id} 已在第 {first} 行出现，内容不同。",
                    en=f"The case_id {case.case_id} stands in line {first} already, with other content.",
                )
                refused.append(Refusal(row.line, reason))
        if not (cases or refused):
            raise ArchiveError(f"{path.name} 里没有案例。", f"{path.name} holds no cases.")
        outcomes = self.store.put([case for _, case in cases.values()], author or f"import:{path.name[:150]}")
        for (line, case), outcome in zip(cases.values(), outcomes, strict=True):
            if outcome == "deleted":
                reason = Text(
                    zh=f"案例 {case.case_id} 已被删除，要恢复请先撤销删除。",
                    en=f"The case {case.case_id} was deleted here; restore it first.",
                )
                refused.append(Refusal(line, reason))
        counts = Counter(outcomes)
        return ImportReport(
            counts["taken"],
            counts["updated"],
            counts["unchanged"] + repeated,
            tuple(sorted(refused, key=lambda r: r.line)),
            tuple(ignored),
            masked,
            tuple(case_id for case_id, outcome in zip(cases, outcomes, strict=True) if outcome == "taken"),
        )

    def export_file(self, path: Path) -> int:
        """Write all cases to a .jsonl, .csv or .xlsx file that `import_file` reads back; how many there were.

        Raises:
            ArchiveError: if the ending is unknown or the file can't be written.
        """
        return write_rows((s.case for s in self.store.changes() if not s.deleted), path)

    def add(self, case: Case, author: str, keep_personal: bool = False) -> Case:
        """Write one case, new or edited; the case as it was kept, personal data masked unless ``keep_personal``."""
        kept = case if keep_personal else mask_case(case)[0]
        self.store.put([kept], author)
        return kept

    def delete(self, case_ids: Sequence[str], author: str) -> int:
        """Mark cases as deleted; how many there were. They stay in the database and can be restored."""
        return self.store.delete(case_ids, author)

    @staticmethod
    def write_template(path: Path) -> None:
        """Write an example table for `import_file`: all columns, and one case of yangche's own as the pattern.

        Raises:
            ArchiveError: if the ending is unknown or the file can't be written.
        """
        values = {
            "case_id": "", "brand": "大众", "series": "帕萨特", "model_year": "2015款", "engine": "1.8T", "vin": "",
            "mileage_km": "12万", "symptom": "冷车怠速抖，热车好一些", "lights": "check_engine",
            "codes": "P0300, P0171", "cause": "进气歧管垫老化",
            "diagnosis": "读数据流，怠速进气量偏高；喷烟查出进气歧管垫漏气",
            "fix": "更换进气歧管垫", "parts": "进气歧管垫", "labour_hours": "1.5", "outcome": "试车三天正常",
            "entered_by": "李师傅", "shop": "城东店", "source": "",
        }  # fmt: skip
        write_table([list(COLUMNS), [values[name] for name in COLUMNS]], path)

    def stats(self) -> dict[str, int]:
        """How many cases there are: all, from yangche itself ("starter"), from the shop ("own"), deleted.

        And how many people's reports on them count ("confirmations").
        """
        everything = list(self.store.changes())
        here = [s for s in everything if not s.deleted]
        starter = sum(s.case.source == STARTER for s in here)
        return {
            "cases": len(here),
            "starter": starter,
            "own": len(here) - starter,
            "deleted": len(everything) - len(here),
            "confirmations": sum(map(len, self.store.confirmations().values())),
            "revision": self.store.revision(),
        }

    def close(self) -> None:
        """Let go of the database."""
        self.store.close()
