"""One SQLite file as yangche keeps its records: safe against power cuts and other processes, its errors in words."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.exc import DatabaseError, OperationalError

from knowledge.store import now
from knowledge.text import Text, UserError

BUSY_MS = 30_000  # how long a writer waits for another process

META = sa.MetaData()
VERSIONS = sa.Table(
    "schema_version", META,
    sa.Column("version", sa.Integer, primary_key=True, autoincrement=False), sa.Column("name", sa.Text),
    sa.Column("at", sa.Text),
)  # fmt: skip

Migration = Callable[[sa.Connection], None]


def sqlite_engine(path: Path) -> sa.Engine:
    """SQLite in WAL with synchronous=FULL: a batch that was acknowledged survives a power cut."""
    engine = sa.create_engine(
        sa.URL.create("sqlite", database=str(path)),
        poolclass=sa.pool.QueuePool,
        connect_args={"timeout": BUSY_MS / 1000, "check_same_thread": False},
    )

    @sa.event.listens_for(engine, "connect")
    def _set_up(db: Any, _: object) -> None:  # noqa: ANN401 - the driver's own connection
        db.isolation_level = None  # the driver shall not begin transactions by itself
        for attempt in range(50):
            # Two processes that turn a new file to WAL at once: SQLite refuses one of them without waiting.
            try:
                db.execute("PRAGMA journal_mode=WAL")
                break
            except Exception as error:
                if "locked" not in str(error) or attempt == 49:
                    raise
                time.sleep(0.1)
        db.execute("PRAGMA synchronous=FULL")
        db.execute("PRAGMA trusted_schema=OFF")  # the file may come from elsewhere

    @sa.event.listens_for(engine, "begin")
    def _begin(db: sa.Connection) -> None:
        # A writer takes the lock at once: two that began by reading could not both go on to write.
        db.exec_driver_sql("BEGIN IMMEDIATE" if db.get_execution_options().get("writes") else "BEGIN")

    return engine


class SqliteFile:
    """Writers take turns, in this process and between processes; readers never wait."""

    def __init__(self, path: Path, name: Text, error: type[UserError], *, private: bool = False) -> None:
        """Open or create the file; ``private``: for its owner's eyes only.

        Args:
            path: where it lies.
            name: what it holds, for sentences: 案例库, archive.
            error: what is raised whenever it can't be opened, read or written.

        Raises:
            error: if that can't be done; the sentence says why.
        """
        self.path, self._name, self._error = path, name, error
        self._lock = threading.RLock()
        with self.told():
            path.parent.mkdir(parents=True, exist_ok=True)
            if private:
                os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
            self._engine = sqlite_engine(path)
            self._writer = self._engine.execution_options(writes=True)

    def migrate(self, migrations: Sequence[Migration]) -> None:
        """Bring the tables up to date: whatever of ``migrations``, in their order, was not done to this file yet."""
        with self.writing() as db:
            META.create_all(db, tables=[VERSIONS])
            version = db.execute(sa.select(sa.func.coalesce(sa.func.max(VERSIONS.c.version), 0))).scalar_one()
            if version > len(migrations):
                raise self._error(
                    f"{self._name.zh} {self.path} 是更新版本的养车建立的，请先升级养车。",
                    f"The {self._name.en} {self.path} was made by a newer yangche; please update yangche first.",
                )
            for number, migration in enumerate(migrations[version:], start=version + 1):
                migration(db)
                db.execute(sa.insert(VERSIONS).values(version=number, name=migration.__name__, at=now()))

    @contextmanager
    def told(self) -> Iterator[None]:
        """Errors of database and disk as one sentence for people."""
        zh, en = f"{self._name.zh} {self.path}", f"{self._name.en} {self.path}"
        try:
            yield
        except OperationalError as error:
            cause = error.orig
            if "locked" in str(cause) or "busy" in str(cause):
                raise self._error(
                    f"{zh} 正被另一个程序写入，请稍后再试。",
                    f"Another program is writing to the {en}; please try again in a moment.",
                ) from error
            raise self._error(
                f"{zh} 无法读写（{cause}），请检查磁盘空间和文件夹权限。",
                f"Can't read or write the {en} ({cause}); check the disk space and the folder's rights.",
            ) from error
        except DatabaseError as error:
            raise self._error(
                f"{zh} 已损坏或不是{self._name.zh}（{error.orig}），请从备份恢复，或把它移走后重新开始。",
                f"The {en} is damaged or something else ({error.orig}); restore a backup, or move it away to start "
                "anew.",
            ) from error
        except OSError as error:
            raise self._error(
                f"{self._name.zh}所在的文件夹 {self.path.parent} 无法使用，请检查磁盘空间和权限。",
                f"Can't use the folder {self.path.parent} of the {self._name.en}; check the disk space and its rights.",
            ) from error

    @contextmanager
    def reading(self) -> Iterator[sa.Connection]:
        """A consistent view of the file."""
        with self.told(), self._engine.connect() as db:
            yield db

    @contextmanager
    def writing(self) -> Iterator[sa.Connection]:
        """A transaction: committed at the end, rolled back on any error."""
        with self._lock, self.told(), self._writer.begin() as db:
            yield db

    @contextmanager
    def driver(self) -> Iterator[Any]:
        """The driver's own connection, outside any transaction."""
        with self.told(), closing(self._engine.raw_connection()) as borrowed:
            yield borrowed.driver_connection

    def close(self) -> None:
        """Let go of the file."""
        self._engine.dispose()
