"""What owners say was seen wrongly: a queue for trainers, and the photos that owners gave along.

The reports stand in ``YANGCHE_HOME/corrections/queue.sqlite``, the photos beside it in ``photos/``, each under an id
that tells nothing. Every decision is kept: a later one stands beside the earlier, never in its place.
"""

from __future__ import annotations

import hashlib
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

import sqlalchemy as sa

from app.records.correction import MAX_COMMENT, Report, Truth, check_classes, correction_error
from knowledge.ids import new_id
from knowledge.sqlite_file import Migration, SqliteFile
from knowledge.store import StoreError, now
from knowledge.tables import write_whole
from knowledge.text import Text

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

State = Literal["open", "accepted", "rejected"]
STATES: tuple[State, ...] = get_args(State)

# Reports of one address: so many at once, then so many a second.
BURST, PER_S = 10, 1 / 60
MAX_OPEN = 1000  # reports that wait; with a photo each that is about two gigabytes
MAX_SIDE = 4096  # pixels of the photo that is kept: what a phone's camera gives, so lamps keep their pixels
QUALITY = 92
EXPORTS = ".export-"  # what the names of folders begin with that exports are made in
ORPHANED = timedelta(days=1)  # a photo without a report is that of a report that never was finished


@dataclass(frozen=True)
class Decision:
    """Who decided what, and when (ISO 8601, UTC). ``truth``: there if it was accepted."""

    at: str
    by: str
    state: State
    note: str
    truth: Truth | None


@dataclass(frozen=True)
class Correction:
    """A report in the queue. ``photo``: whether there is one (still), ``width`` and ``height`` its pixels, else 0."""

    id: str
    at: str
    state: State
    report: Report
    photo: bool
    width: int
    height: int
    decided_by: str = ""
    decided_at: str = ""
    truth: Truth | None = None


META = sa.MetaData()
QUEUE = sa.Table(
    "corrections", META,
    sa.Column("number", sa.Integer, primary_key=True),
    sa.Column("correction_id", sa.String(60), nullable=False, unique=True),
    sa.Column("at", sa.String(40), nullable=False), sa.Column("state", sa.String(20), nullable=False, index=True),
    sa.Column("report", sa.Text, nullable=False), sa.Column("photo_sha256", sa.String(64)),
    sa.Column("width", sa.Integer, nullable=False), sa.Column("height", sa.Integer, nullable=False),
)  # fmt: skip
DECISIONS = sa.Table(
    "decisions", META,
    sa.Column("number", sa.Integer, primary_key=True),
    sa.Column("correction_id", sa.String(60), nullable=False, index=True),
    sa.Column("at", sa.String(40), nullable=False), sa.Column("by", sa.String(200), nullable=False),
    sa.Column("state", sa.String(20), nullable=False), sa.Column("note", sa.Text, nullable=False),
    sa.Column("truth", sa.Text),
)  # fmt: skip


def m001_create_tables(db: sa.Connection) -> None:
    """Reports and decisions."""
    META.create_all(db, tables=[QUEUE, DECISIONS])


MIGRATIONS: tuple[Migration, ...] = (m001_create_tables,)


class Corrections:
    """The queue below ``folder``. Safe to use from several threads and processes."""

    def __init__(self, folder: Path, keep_days: int = 180) -> None:
        """Open or create it. ``keep_days``: how long a report waits for a decision before it is deleted.

        Raises:
            StoreError: if that can't be done; the sentence says why.
        """
        self.folder, self.photos, self.keep_days = folder, folder / "photos", keep_days
        self.path = folder / "queue.sqlite"
        self._file = SqliteFile(self.path, Text(zh="反馈队列", en="queue of reports"), StoreError)
        self._file.migrate(MIGRATIONS)
        self._reading, self._writing = self._file.reading, self._file.writing
        with self._file.told():
            self.photos.mkdir(parents=True, exist_ok=True, mode=0o700)
            folder.chmod(0o700)
        self.tidy()

    @classmethod
    def open(cls, home: Path) -> Corrections:
        """The queue in the folder ``home``; how long reports are kept, the settings say."""
        from app.settings import Settings

        return cls(home / "corrections", Settings.read().correction_days)

    def add(self, report: Report, photo: NDArray[np.uint8] | None = None) -> str:
        """Put a report into the queue; returns its id.

        Args:
            report: phone numbers and the like in its comment are masked before it is written.
            photo: uint8 RGB, (height, width, 3), upright, only if the owner agreed. Drawn anew from its pixels, so
                that nothing stored beside the picture comes along.

        Raises:
            CorrectionError: if the report says nothing, or too many wait.
            StoreError: if it can't be written.
        """
        from knowledge.personal import mask

        if not report.says_something:
            raise correction_error("wrong.empty")
        self.tidy()
        report = report.model_copy(update={"comment": mask(report.comment.strip(), report.lang)[0]})
        correction_id = new_id()
        data, width, height = _jpeg(photo) if photo is not None else (b"", 0, 0)
        row = {
            "correction_id": correction_id, "at": now(), "state": "open", "report": report.model_dump_json(),
            "photo_sha256": hashlib.sha256(data).hexdigest() if data else None, "width": width, "height": height,
        }  # fmt: skip
        with self._writing() as db:
            if self._count(db, "open") >= MAX_OPEN:
                raise correction_error("wrong.full")
            if data:  # first the photo: a report never names one that isn't there
                write_whole(self._photo(correction_id), data)
            db.execute(sa.insert(QUEUE).values(**row))
        return correction_id

    def get(self, correction_id: str) -> Correction | None:
        """One report, None where there is none of this id."""
        with self._reading() as db:
            row = db.execute(sa.select(QUEUE).where(QUEUE.c.correction_id == correction_id)).first()
            return self._corrections(db, [row])[0] if row else None

    def reports(self, state: State | None = None, limit: int = 100, offset: int = 0) -> list[Correction]:
        """Reports in this state (or in any), those that wait longest first."""
        wanted = sa.select(QUEUE).order_by(QUEUE.c.number).limit(limit).offset(offset)
        if state is not None:
            wanted = wanted.where(QUEUE.c.state == state)
        with self._reading() as db:
            return self._corrections(db, db.execute(wanted).all())

    def accepted(self) -> Iterator[Correction]:
        """All that were accepted and have their photo, oldest first."""
        offset, page = 0, 200
        while rows := self.reports("accepted", page, offset):
            yield from (one for one in rows if one.photo)
            offset += page

    def counts(self) -> dict[State, int]:
        """How many reports are in each state."""
        with self._reading() as db:
            return {state: self._count(db, state) for state in STATES}

    def history(self, correction_id: str) -> Sequence[Decision]:
        """All decisions on a report, oldest first."""
        with self._reading() as db:
            mine = sa.select(DECISIONS).where(DECISIONS.c.correction_id == correction_id).order_by(DECISIONS.c.number)
            return [_decision(row) for row in db.execute(mine).all()]

    def photo(self, correction_id: str) -> Path | None:
        """The JPEG of a report, None where it has none."""
        found = self.get(correction_id)
        return self._photo(found.id) if found is not None and found.photo else None

    def decide(
        self, correction_id: str, state: Literal["accepted", "rejected"], by: str, truth: Truth | None = None,
        note: str = "",
    ) -> Correction:  # fmt: skip
        """Accept a report, with the photo's truth, or reject it, whereupon its photo is deleted.

        Raises:
            CorrectionError: if there is no such report, a box has no class, or it was rejected and its photo is gone.
        """
        if state == "accepted" and truth is None:
            raise ValueError("what is accepted has a truth")
        if truth is not None:
            check_classes(truth)
        row: dict[str, Any] = {"correction_id": correction_id, "at": now(), "by": by, "state": state}
        row |= {"note": note.strip()[:MAX_COMMENT], "truth": None}
        if state == "accepted" and truth is not None:
            row["truth"] = truth.model_dump_json()
        with self._writing() as db:
            mine = QUEUE.c.correction_id == correction_id
            before = db.execute(sa.select(QUEUE.c.state).where(mine)).first()
            if before is None:
                raise correction_error("trainer.no_report")
            if before.state == "rejected" and state == "accepted":
                raise correction_error("trainer.photo_gone")
            db.execute(sa.insert(DECISIONS).values(**row))
            values = {"state": state} | ({"photo_sha256": None} if state == "rejected" else {})
            db.execute(sa.update(QUEUE).where(mine).values(**values))
        if state == "rejected":
            with self._file.told():
                self._photo(correction_id).unlink(missing_ok=True)
        decided = self.get(correction_id)
        assert decided is not None  # noqa: S101 - it was there, and rows that were decided on stay
        return decided

    def tidy(self) -> None:
        """Delete reports that waited too long, with their photos, and photos that belong to no report."""
        limit = (datetime.now(UTC) - timedelta(days=self.keep_days)).isoformat(timespec="milliseconds")
        old = sa.and_(QUEUE.c.state == "open", QUEUE.c.at < limit)
        with self._writing() as db:
            db.execute(sa.delete(QUEUE).where(old))
            known = sa.select(QUEUE.c.correction_id).where(QUEUE.c.photo_sha256.is_not(None))
            kept = set(db.execute(known).scalars())
        with self._file.told():
            for path in self.photos.iterdir():
                written = datetime.fromtimestamp(path.stat().st_mtime, UTC)
                if path.stem not in kept and datetime.now(UTC) - written > ORPHANED:
                    path.unlink(missing_ok=True)
            for folder in self.folder.glob(f"{EXPORTS}*"):  # of a server that ended in the middle of one
                if datetime.now(UTC) - datetime.fromtimestamp(folder.stat().st_mtime, UTC) > ORPHANED:
                    shutil.rmtree(folder, ignore_errors=True)

    def new_folder(self) -> Path:
        """An empty folder beside the photos, to make an export in; whoever asked for it removes it."""
        return Path(tempfile.mkdtemp(prefix=EXPORTS, dir=self.folder))

    def close(self) -> None:
        """Let go of the file."""
        self._file.close()

    def _photo(self, correction_id: str) -> Path:
        return self.photos / f"{correction_id}.jpg"

    def _count(self, db: sa.Connection, state: State) -> int:
        return int(db.execute(sa.select(sa.func.count()).where(QUEUE.c.state == state)).scalar_one())

    def _corrections(self, db: sa.Connection, rows: Sequence[sa.Row[Any]]) -> list[Correction]:
        ids = [row.correction_id for row in rows if row.state != "open"]
        made = sa.select(DECISIONS).where(DECISIONS.c.correction_id.in_(ids)).order_by(DECISIONS.c.number)
        last = {row.correction_id: _decision(row) for row in db.execute(made).all()} if ids else {}
        return [_correction(row, last.get(row.correction_id)) for row in rows]


def _decision(row: Any) -> Decision:  # noqa: ANN401 - a row of DECISIONS
    return Decision(row.at, row.by, row.state, row.note, Truth.model_validate_json(row.truth) if row.truth else None)


def _correction(row: Any, last: Decision | None) -> Correction:  # noqa: ANN401 - a row of QUEUE
    report = Report.model_validate_json(row.report)
    made = Correction(row.correction_id, row.at, row.state, report, bool(row.photo_sha256), row.width, row.height)
    if last is None:
        return made
    return Correction(**{**vars(made), "decided_by": last.by, "decided_at": last.at, "truth": last.truth})


def _jpeg(rgb: NDArray[np.uint8]) -> tuple[bytes, int, int]:
    """The photo as a JPEG without metadata, and its size."""
    import io

    from PIL import Image

    image = Image.fromarray(rgb)
    image.thumbnail((MAX_SIDE, MAX_SIDE), reducing_gap=3.0)
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=QUALITY)
    return buffer.getvalue(), image.width, image.height
