"""Cases and confirmations in a SQL database: SQLite in one file. All statements are portable SQL (SQLAlchemy Core)."""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from knowledge.case import Case
from knowledge.confirmation import Confirmation
from knowledge.sqlite_file import Migration, SqliteFile
from knowledge.store import Outcome, Stored, StoreError, check_distinct, no_such_case, now
from knowledge.text import Text

PAGE = 2_000  # cases read at a time
SQL_VARIABLES = 500  # well below every database's limit for one statement

META = sa.MetaData()


def _version_columns() -> tuple[sa.Column[Any], ...]:
    """What a present and an earlier version of a case have in common."""
    return (
        sa.Column("body", sa.Text, nullable=False),
        sa.Column("author", sa.String(200), nullable=False),
        sa.Column("at", sa.String(40), nullable=False),
    )


CASES = sa.Table(
    "cases", META,
    sa.Column("number", sa.Integer, primary_key=True),
    sa.Column("case_id", sa.String(200), nullable=False, unique=True),
    *_version_columns(), sa.Column("revision", sa.Integer, nullable=False),
    sa.Column("deleted", sa.Integer, nullable=False, server_default="0"),
    sa.Index("cases_by_revision", "revision", "number"),
)  # fmt: skip
HISTORY = sa.Table(
    "case_history", META,
    sa.Column("number", sa.Integer, primary_key=True, autoincrement=False), *_version_columns(),
    sa.Column("revision", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("deleted", sa.Integer, nullable=False),
)  # fmt: skip
BATCHES = sa.Table(
    "batches", META,
    sa.Column("revision", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("stamp", sa.String(40), nullable=False), sa.Column("author", sa.String(200), nullable=False),
    sa.Column("at", sa.String(40), nullable=False),
)  # fmt: skip
NOTES = sa.Table(
    "notes", META, sa.Column("name", sa.String(100), primary_key=True), sa.Column("value", sa.Text, nullable=False)
)
CONFIRMATIONS = sa.Table(
    "confirmations", META,
    sa.Column("confirmation_id", sa.String(200), primary_key=True),
    sa.Column("case_id", sa.String(200), nullable=False, index=True), sa.Column("body", sa.Text, nullable=False),
    sa.Column("at", sa.String(40), nullable=False),
    sa.Column("withdrawn_by", sa.String(200)), sa.Column("withdrawn_at", sa.String(40)),
)  # fmt: skip

_STORED = (CASES.c.number, CASES.c.body, CASES.c.revision, CASES.c.author, CASES.c.at, CASES.c.deleted)
_EARLIER = tuple(HISTORY.c[column.name] for column in _STORED)


def m001_create_tables(db: sa.Connection) -> None:
    """Cases, their history, the batches, and small settings."""
    META.create_all(db, tables=[CASES, HISTORY, BATCHES, NOTES])


def m002_confirmations(db: sa.Connection) -> None:
    """What people report about a case."""
    META.create_all(db, tables=[CONFIRMATIONS])


MIGRATIONS: tuple[Migration, ...] = (m001_create_tables, m002_confirmations)


def _stored(row: Sequence[Any]) -> Stored:
    number, body, revision, author, at, deleted = row
    return Stored(number, Case.model_validate_json(body), revision, author, at, bool(deleted))


class SqlCaseStore:
    """A `CaseStore` in SQLite. Writers take turns, in this process and between processes; readers never wait."""

    def __init__(self, path: Path) -> None:
        """Open or create the file and bring its tables up to date.

        Raises:
            StoreError: if that can't be done; the sentence says why.
        """
        self.path = path
        self._file = SqliteFile(path, Text(zh="案例库", en="archive"), StoreError)
        self._file.migrate(MIGRATIONS)
        self._reading, self._writing = self._file.reading, self._file.writing

    def revision(self) -> int:
        """See `CaseStore`."""
        with self._reading() as db:
            return int(db.execute(sa.select(_LAST_REVISION)).scalar_one())

    def stamp(self, revision: int) -> str:
        """See `CaseStore`."""
        with self._reading() as db:
            found = db.execute(sa.select(BATCHES.c.stamp).where(BATCHES.c.revision == revision)).scalar()
        return str(found or "")

    def put(self, cases: Sequence[Case], author: str, replacing: Sequence[str] | None = None) -> list[Outcome]:
        """See `CaseStore`."""
        check_distinct(cases)
        outcomes: list[Outcome] = []
        with self._writing() as db:
            batch = _Batch(db, author)
            for case in cases:
                body = case.body()
                row = batch.present(case.case_id)
                if row is None:
                    batch.insert(case.case_id, body)
                    outcomes.append("taken")
                elif row.deleted:
                    outcomes.append("deleted")
                elif row.body == body or (replacing is not None and row.author not in replacing):
                    outcomes.append("unchanged")
                else:
                    batch.change(row, body=body, deleted=0)
                    outcomes.append("updated")
        return outcomes

    def delete(self, case_ids: Sequence[str], author: str) -> int:
        """See `CaseStore`."""
        return self._mark(case_ids, author, deleted=1)

    def restore(self, case_ids: Sequence[str], author: str) -> int:
        """See `CaseStore`."""
        return self._mark(case_ids, author, deleted=0)

    def _mark(self, case_ids: Sequence[str], author: str, deleted: int) -> int:
        marked = 0
        with self._writing() as db:
            batch = _Batch(db, author)
            for case_id in case_ids:
                row = batch.present(case_id)
                if row is not None and row.deleted != deleted:
                    batch.change(row, body=row.body, deleted=deleted)
                    marked += 1
        return marked

    def get(self, case_id: str) -> Stored | None:
        """See `CaseStore`."""
        with self._reading() as db:
            row = db.execute(sa.select(*_STORED).where(CASES.c.case_id == case_id)).first()
        return _stored(row) if row else None

    def by_number(self, numbers: Sequence[int]) -> dict[int, Stored]:
        """See `CaseStore`."""
        found: dict[int, Stored] = {}
        for start in range(0, len(numbers), SQL_VARIABLES):
            part = [int(n) for n in numbers[start : start + SQL_VARIABLES]]
            with self._reading() as db:
                rows = db.execute(sa.select(*_STORED).where(CASES.c.number.in_(part))).all()
            found.update((row.number, _stored(row)) for row in rows)
        return found

    def changes(self, since: int = 0) -> Iterator[Stored]:
        """See `CaseStore`."""
        revision, number = since, 2**62
        while True:
            later = sa.or_(CASES.c.revision > revision, sa.and_(CASES.c.revision == revision, CASES.c.number > number))
            page = sa.select(*_STORED).where(later).order_by(CASES.c.revision, CASES.c.number).limit(PAGE)
            with self._reading() as db:
                rows = db.execute(page).all()
            yield from map(_stored, rows)
            if len(rows) < PAGE:
                return
            revision, number = rows[-1].revision, rows[-1].number

    def history(self, case_id: str) -> list[Stored]:
        """See `CaseStore`."""
        with self._reading() as db:
            row = db.execute(sa.select(*_STORED).where(CASES.c.case_id == case_id)).first()
            if row is None:
                return []
            mine = sa.select(*_EARLIER).where(HISTORY.c.number == row.number).order_by(HISTORY.c.revision)
            earlier = db.execute(mine).all()
        return [_stored(r) for r in (*earlier, row)]

    def count(self) -> int:
        """See `CaseStore`."""
        with self._reading() as db:
            return int(db.execute(sa.select(sa.func.count()).where(CASES.c.deleted == 0)).scalar_one())

    def confirm(self, confirmations: Sequence[Confirmation]) -> int:
        """See `CaseStore`."""
        new = 0
        with self._writing() as db:
            for one in confirmations:
                here = sa.select(CASES.c.number).where(CASES.c.case_id == one.case_id, CASES.c.deleted == 0)
                if db.execute(here).first() is None:
                    raise no_such_case(one.case_id)
                known = sa.select(CONFIRMATIONS.c.at).where(CONFIRMATIONS.c.confirmation_id == one.confirmation_id)
                if db.execute(known).first() is None:
                    row = {"confirmation_id": one.confirmation_id, "case_id": one.case_id, "at": one.at}
                    db.execute(sa.insert(CONFIRMATIONS).values(**row, body=one.body()))
                    new += 1
        return new

    def withdraw(self, confirmation_id: str, by: str) -> bool:
        """See `CaseStore`."""
        standing = sa.and_(CONFIRMATIONS.c.confirmation_id == confirmation_id, CONFIRMATIONS.c.withdrawn_at.is_(None))
        with self._writing() as db:
            done = db.execute(sa.update(CONFIRMATIONS).where(standing).values(withdrawn_by=by, withdrawn_at=now()))
        return bool(done.rowcount)

    def confirmations(self, case_ids: Sequence[str] | None = None) -> dict[str, list[Confirmation]]:
        """See `CaseStore`."""
        wanted = sa.select(CONFIRMATIONS.c.case_id, CONFIRMATIONS.c.body).where(CONFIRMATIONS.c.withdrawn_at.is_(None))
        wanted = wanted.order_by(CONFIRMATIONS.c.at, CONFIRMATIONS.c.confirmation_id)
        found: dict[str, list[Confirmation]] = {}
        parts = [None] if case_ids is None else [
            case_ids[start : start + SQL_VARIABLES] for start in range(0, len(case_ids), SQL_VARIABLES)
        ]  # fmt: skip
        for part in parts:
            with self._reading() as db:
                rows = db.execute(wanted if part is None else wanted.where(CONFIRMATIONS.c.case_id.in_(part))).all()
            for row in rows:
                found.setdefault(row.case_id, []).append(Confirmation.model_validate_json(row.body))
        return found

    def note(self, name: str, value: str | None = None) -> str:
        """See `CaseStore`."""
        if value is not None:
            with self._writing() as db:
                db.execute(sa.delete(NOTES).where(NOTES.c.name == name))
                db.execute(sa.insert(NOTES).values(name=name, value=value))
            return value
        with self._reading() as db:
            found = db.execute(sa.select(NOTES.c.value).where(NOTES.c.name == name)).scalar()
        return str(found or "")

    def backup(self, path: Path) -> None:
        """Write a whole, consistent copy of the database to ``path``, while others go on writing.

        Raises:
            StoreError: if the copy can't be made.
        """
        with self._file.driver() as driver:
            driver.execute("VACUUM INTO ?", (str(path),))

    def damage(self) -> str:
        """What the database itself finds wrong in its file; "" if nothing."""
        with self._reading() as db:
            found = db.exec_driver_sql("PRAGMA integrity_check").scalars().all()
        return "" if found == ["ok"] else "; ".join(map(str, found[:3]))

    def close(self) -> None:
        """See `CaseStore`."""
        self._file.close()


_LAST_REVISION = sa.func.coalesce(sa.func.max(BATCHES.c.revision), 0)


class _Batch:
    """The writes of one transaction; the revision is drawn at the first of them, so that no change means no batch."""

    def __init__(self, db: sa.Connection, author: str) -> None:
        self._db, self._author, self._at, self._revision = db, author, now(), 0

    def _drawn(self) -> int:
        if not self._revision:
            self._revision = self._db.execute(sa.select(_LAST_REVISION)).scalar_one() + 1
            row = {"revision": self._revision, "stamp": uuid.uuid4().hex, "author": self._author, "at": self._at}
            self._db.execute(sa.insert(BATCHES).values(**row))
        return self._revision

    def present(self, case_id: str) -> Any:  # noqa: ANN401 - a row, or None
        return self._db.execute(sa.select(*_STORED).where(CASES.c.case_id == case_id)).first()

    def insert(self, case_id: str, body: str) -> None:
        row = {"case_id": case_id, "body": body, "revision": self._drawn(), "author": self._author, "at": self._at}
        self._db.execute(sa.insert(CASES).values(**row))

    def change(self, row: sa.Row[Any], body: str, deleted: int) -> None:
        """Move the version ``row`` to the history and write the new one."""
        revision = self._drawn()
        self._db.execute(sa.insert(HISTORY).values(**row._mapping))
        new = {"body": body, "revision": revision, "author": self._author, "at": self._at, "deleted": deleted}
        self._db.execute(sa.update(CASES).where(CASES.c.number == row.number).values(**new))
