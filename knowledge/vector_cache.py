"""Vectors by the text that they stand for, so that building an index anew costs no encoding."""

from __future__ import annotations

import hashlib
import logging
import sqlite3
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np

from knowledge.embed import Vectors

log = logging.getLogger(__name__)


class VectorCache:
    """Vectors by the text that they stand for, so that building an index anew costs no encoding.

    A SQLite file of its own, apart from the cases: it needs no backup, and if it is damaged it is thrown away.
    """

    def __init__(self, path: Path, embedder: str, dim: int) -> None:
        self._path, self._embedder, self._dim = path, embedder, dim
        self._lock = threading.Lock()
        self._db = self._open()

    def _open(self) -> sqlite3.Connection:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        try:
            return self._connect()
        except sqlite3.DatabaseError as error:
            if isinstance(error, sqlite3.OperationalError) and "locked" in str(error):
                raise
            log.warning("The cache of vectors %s is damaged and begins anew: %s", self._path, error)
            for suffix in ("", "-wal", "-shm"):
                Path(f"{self._path}{suffix}").unlink(missing_ok=True)
            return self._connect()

    def _connect(self) -> sqlite3.Connection:
        db = sqlite3.connect(self._path, timeout=30, isolation_level=None, check_same_thread=False)
        try:
            db.execute("PRAGMA synchronous=NORMAL")
            columns = "embedder TEXT, text TEXT, vector BLOB, PRIMARY KEY (embedder, text)"
            db.execute(f"CREATE TABLE IF NOT EXISTS vectors ({columns})")
            db.execute("SELECT embedder, text, vector FROM vectors LIMIT 1").fetchall()
        except BaseException:
            db.close()
            raise
        return db

    @staticmethod
    def key(text: str) -> str:
        """The name of a text."""
        return hashlib.sha256(text.encode()).hexdigest()

    def get(self, keys: Sequence[str]) -> dict[str, Vectors]:
        """The vectors that are known among ``keys``."""
        found: dict[str, Vectors] = {}
        for start in range(0, len(keys), 500):
            part = keys[start : start + 500]
            marks = ", ".join("?" * len(part))
            sql = f"SELECT text, vector FROM vectors WHERE embedder = ? AND text IN ({marks})"  # noqa: S608
            with self._lock, suppress(sqlite3.DatabaseError):
                for key, blob in self._db.execute(sql, (self._embedder, *part)):
                    vector = np.frombuffer(blob, np.float32) if len(blob) == 4 * self._dim else np.zeros(1, np.float32)
                    # A damaged vector must not be searched with: only one of length 1 is believed.
                    if abs(float(np.linalg.norm(vector.astype(np.float64))) - 1) < 1e-2:
                        found[key] = vector
        return found

    def put(self, vectors: Mapping[str, Vectors]) -> None:
        """Keep vectors; failing to (a full disk, say) only costs time later."""
        rows = [(self._embedder, key, np.asarray(v, np.float32).tobytes()) for key, v in vectors.items()]
        with self._lock:
            try:
                self._db.execute("BEGIN IMMEDIATE")
                self._db.executemany("DELETE FROM vectors WHERE embedder = ? AND text = ?", [row[:2] for row in rows])
                self._db.executemany("INSERT INTO vectors (embedder, text, vector) VALUES (?, ?, ?)", rows)
                self._db.execute("COMMIT")
            except sqlite3.DatabaseError as error:
                log.warning("Vectors were not kept in %s: %s", self._path, error)
                with suppress(sqlite3.DatabaseError):
                    self._db.execute("ROLLBACK")

    def close(self) -> None:
        """Let go of the file."""
        with self._lock:
            self._db.close()
