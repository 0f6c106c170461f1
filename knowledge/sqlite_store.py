"""Cases in one SQLite file."""

from __future__ import annotations

import sqlite3
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from knowledge.case import Case
from knowledge.store import Outcome, Stored, StoreError, check_distinct, now

BUSY_MS = 30_000  # how long a writer waits for another process
PAGE = 2_000  # cases read at a time
SQL_VARIABLES = 500  # well below every SQLite's limit for one statement


def m001_create_tables(db: sqlite3.Connection) -> None:
    """Cases, their history, the batches, and small settings."""
    for statement in (
        """CREATE TABLE cases (
            number INTEGER PRIMARY KEY, case_id VARCHAR(200) NOT NULL UNIQUE, body TEXT NOT NULL,
            revision INTEGER NOT NULL, author VARCHAR(200) NOT NULL, at VARCHAR(40) NOT NULL,
            deleted INTEGER NOT NULL DEFAULT 0)""",
        "CREATE INDEX cases_by_revision ON cases (revision, number)",
        """CREATE TABLE case_history (
            number INTEGER NOT NULL, body TEXT NOT NULL, revision INTEGER NOT NULL, author VARCHAR(200) NOT NULL,
            at VARCHAR(40) NOT NULL, deleted INTEGER NOT NULL, PRIMARY KEY (number, revision))""",
        """CREATE TABLE batches (
            revision INTEGER PRIMARY KEY, stamp VARCHAR(40) NOT NULL, author VARCHAR(200) NOT NULL,
            at VARCHAR(40) NOT NULL)""",
        "CREATE TABLE notes (name VARCHAR(100) PRIMARY KEY, value TEXT NOT NULL)",
    ):
        db.execute(statement)


MIGRATIONS: tuple[Callable[[sqlite3.Connection], None], ...] = (m001_create_tables,)

_COLUMNS = "number, body, revision, author, at, deleted"


def _stored(row: tuple[int, str, int, str, str, int]) -> Stored:
    number, body, revision, author, at, deleted = row
    return Stored(number, Case.model_validate_json(body), revision, author, at, bool(deleted))


class SqliteCaseStore:
    """Cases in one SQLite file (WAL, synchronous=FULL: a batch that was acknowledged survives a power cut).

    Two connections, each behind a lock: one writes, one reads, so that a long import doesn't keep a search waiting.
    Several processes may hold the same file; a writer takes the write lock at the start of its batch and waits up to
    30 s for another's.
    """

    def __init__(self, path: Path) -> None:
        """Open or create the file and bring its tables up to date.

        Raises:
            StoreError: if that can't be done; the sentence says why.
        """
        self.path = path
        self._locks = {False: threading.RLock(), True: threading.RLock()}
        with self._told():
            path.parent.mkdir(parents=True, exist_ok=True)
            self._connections = {write: self._connect() for write in (False, True)}
            self._migrate()

    def _connect(self) -> sqlite3.Connection:
        db = sqlite3.connect(self.path, timeout=BUSY_MS / 1000, isolation_level=None, check_same_thread=False)
        for attempt in range(50):
            # Two processes that turn a new file to WAL at once: SQLite refuses one of them without waiting.
            try:
                db.execute("PRAGMA journal_mode=WAL")
                break
            except sqlite3.OperationalError as error:
                if "locked" not in str(error) or attempt == 49:
                    raise
                time.sleep(0.1)
        db.execute("PRAGMA synchronous=FULL")
        db.execute("PRAGMA trusted_schema=OFF")  # the file may come from elsewhere
        return db

    def _migrate(self) -> None:
        with self._writing() as db:
            db.execute("CREATE TABLE IF NOT EXISTS schema_version (version INTEGER PRIMARY KEY, name TEXT, at TEXT)")
            (version,) = db.execute("SELECT COALESCE(MAX(version), 0) FROM schema_version").fetchone()
            if version > len(MIGRATIONS):
                raise StoreError(
                    f"案例库 {self.path} 是更新版本的养车建立的，请先升级养车。",
                    f"The archive {self.path} was made by a newer yangche; please update yangche first.",
                )
            for number, migration in enumerate(MIGRATIONS[version:], start=version + 1):
                migration(db)
                db.execute("INSERT INTO schema_version VALUES (?, ?, ?)", (number, migration.__name__, now()))

    @contextmanager
    def _told(self) -> Iterator[None]:
        """Database errors as one sentence for people."""
        try:
            yield
        except sqlite3.OperationalError as error:
            if "locked" in str(error) or "busy" in str(error):
                raise StoreError(
                    f"案例库 {self.path} 正被另一个程序写入，请稍后再试。",
                    f"Another program is writing to the archive {self.path}; please try again in a moment.",
                ) from error
            raise StoreError(
                f"案例库 {self.path} 无法读写（{error}），请检查磁盘空间和文件夹权限。",
                f"Can't read or write the archive {self.path} ({error}); check the disk space and the folder's rights.",
            ) from error
        except sqlite3.DatabaseError as error:
            raise StoreError(
                f"案例库 {self.path} 已损坏或不是案例库（{error}），请从备份恢复，或把它移走后重新开始。",
                f"The archive {self.path} is damaged or no archive ({error}); restore a backup, or move it away to "
                "start anew.",
            ) from error
        except OSError as error:
            raise StoreError(
                f"案例库所在的文件夹 {self.path.parent} 无法使用，请检查权限。",
                f"Can't use the archive's folder {self.path.parent}; check its rights.",
            ) from error

    @contextmanager
    def _reading(self) -> Iterator[sqlite3.Connection]:
        with self._locks[False], self._told():
            yield self._connections[False]

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        """A transaction: committed at the end, rolled back on any error."""
        with self._locks[True], self._told():
            db = self._connections[True]
            db.execute("BEGIN IMMEDIATE")
            try:
                yield db
            except BaseException:
                db.execute("ROLLBACK")
                raise
            db.execute("COMMIT")

    def revision(self) -> int:
        """See `CaseStore`."""
        with self._reading() as db:
            return int(db.execute("SELECT COALESCE(MAX(revision), 0) FROM batches").fetchone()[0])

    def stamp(self, revision: int) -> str:
        """See `CaseStore`."""
        with self._reading() as db:
            row = db.execute("SELECT stamp FROM batches WHERE revision = ?", (revision,)).fetchone()
        return str(row[0]) if row else ""

    def put(self, cases: Sequence[Case], author: str, replacing: Sequence[str] | None = None) -> list[Outcome]:
        """See `CaseStore`."""
        check_distinct(cases)
        outcomes: list[Outcome] = []
        with self._writing() as db:
            batch = _Batch(db, author)
            for case in cases:
                body = case.body()
                row = db.execute(f"SELECT {_COLUMNS} FROM cases WHERE case_id = ?", (case.case_id,)).fetchone()  # noqa: S608
                if row is None:
                    batch.insert(case.case_id, body)
                    outcomes.append("taken")
                elif row[5]:
                    outcomes.append("deleted")
                elif row[1] == body or (replacing is not None and row[3] not in replacing):
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
                row = db.execute(f"SELECT {_COLUMNS} FROM cases WHERE case_id = ?", (case_id,)).fetchone()  # noqa: S608
                if row is not None and row[5] != deleted:
                    batch.change(row, body=row[1], deleted=deleted)
                    marked += 1
        return marked

    def get(self, case_id: str) -> Stored | None:
        """See `CaseStore`."""
        with self._reading() as db:
            row = db.execute(f"SELECT {_COLUMNS} FROM cases WHERE case_id = ?", (case_id,)).fetchone()  # noqa: S608
        return _stored(row) if row else None

    def by_number(self, numbers: Sequence[int]) -> dict[int, Stored]:
        """See `CaseStore`."""
        found: dict[int, Stored] = {}
        for start in range(0, len(numbers), SQL_VARIABLES):
            part = [int(n) for n in numbers[start : start + SQL_VARIABLES]]
            marks = ", ".join("?" * len(part))
            with self._reading() as db:
                rows = db.execute(f"SELECT {_COLUMNS} FROM cases WHERE number IN ({marks})", part).fetchall()  # noqa: S608
            found.update((row[0], _stored(row)) for row in rows)
        return found

    def changes(self, since: int = 0) -> Iterator[Stored]:
        """See `CaseStore`."""
        revision, number = since, 2**62
        while True:
            with self._reading() as db:
                rows = db.execute(
                    f"SELECT {_COLUMNS} FROM cases WHERE revision > ? OR (revision = ? AND number > ?) "  # noqa: S608
                    "ORDER BY revision, number LIMIT ?",
                    (revision, revision, number, PAGE),
                ).fetchall()
            yield from map(_stored, rows)
            if len(rows) < PAGE:
                return
            revision, number = rows[-1][2], rows[-1][0]

    def history(self, case_id: str) -> list[Stored]:
        """See `CaseStore`."""
        with self._reading() as db:
            row = db.execute(f"SELECT {_COLUMNS} FROM cases WHERE case_id = ?", (case_id,)).fetchone()  # noqa: S608
            if row is None:
                return []
            earlier = db.execute(
                f"SELECT {_COLUMNS} FROM case_history WHERE number = ? ORDER BY revision",  # noqa: S608
                (row[0],),
            ).fetchall()
        return [_stored(r) for r in (*earlier, row)]

    def count(self) -> int:
        """See `CaseStore`."""
        with self._reading() as db:
            return int(db.execute("SELECT COUNT(*) FROM cases WHERE deleted = 0").fetchone()[0])

    def note(self, name: str, value: str | None = None) -> str:
        """See `CaseStore`."""
        if value is not None:
            with self._writing() as db:
                db.execute("DELETE FROM notes WHERE name = ?", (name,))
                db.execute("INSERT INTO notes (name, value) VALUES (?, ?)", (name, value))
            return value
        with self._reading() as db:
            row = db.execute("SELECT value FROM notes WHERE name = ?", (name,)).fetchone()
        return str(row[0]) if row else ""

    def close(self) -> None:
        """See `CaseStore`."""
        for write, connection in self._connections.items():
            with self._locks[write]:
                connection.close()


class _Batch:
    """The writes of one transaction; the revision is drawn at the first of them, so that no change means no batch."""

    def __init__(self, db: sqlite3.Connection, author: str) -> None:
        self._db, self._author, self._at, self._revision = db, author, now(), 0

    def _drawn(self) -> int:
        if not self._revision:
            (last,) = self._db.execute("SELECT COALESCE(MAX(revision), 0) FROM batches").fetchone()
            self._revision = last + 1
            values = (self._revision, uuid.uuid4().hex, self._author, self._at)
            self._db.execute("INSERT INTO batches (revision, stamp, author, at) VALUES (?, ?, ?, ?)", values)
        return self._revision

    def insert(self, case_id: str, body: str) -> None:
        self._db.execute(
            "INSERT INTO cases (case_id, body, revision, author, at) VALUES (?, ?, ?, ?, ?)",
            (case_id, body, self._drawn(), self._author, self._at),
        )

    def change(self, row: tuple[int, str, int, str, str, int], body: str, deleted: int) -> None:
        """Move the version ``row`` to the history and write the new one."""
        revision = self._drawn()
        self._db.execute(f"INSERT INTO case_history ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?)", row)  # noqa: S608
        self._db.execute(
            "UPDATE cases SET body = ?, revision = ?, author = ?, at = ?, deleted = ? WHERE number = ?",
            (body, revision, self._author, self._at, deleted, row[0]),
        )
