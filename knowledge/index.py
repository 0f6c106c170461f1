"""Finding vectors: the `VectorIndex` seam, FAISS behind it, a brute-force fake, and a cache of single vectors.

Everything here is a cache of the archive. An index file is written whole, named by its checksum, and trusted only if
its side file vouches for it: same encoder, a revision that this very store has had, same size, same checksum, and the
structure that was written. Anything else is passed over and built again from the archive.
"""

from __future__ import annotations

import hashlib
import logging
import sqlite3
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Protocol, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from knowledge.embed import Vectors
from knowledge.tables import write_whole

Numbers = NDArray[np.int64]
log = logging.getLogger(__name__)

SIDE_FILE = "index.json"
FORMAT = 1
_HEADER = 4096  # more bytes than a flat index needs beside its vectors and ids
_ORPHAN_S = 3600  # files that no side file names are cleared away after this long


class VectorIndex(Protocol):
    """Vectors of length 1 under numbers, found by their dot product."""

    def __len__(self) -> int:
        """How many vectors there are."""

    def add(self, numbers: Numbers, vectors: Vectors) -> None:
        """Take in vectors, shape (n, dim); a number that is there already gets the new one."""

    def remove(self, numbers: Numbers) -> None:
        """Forget these numbers; unknown ones don't matter."""

    def search(self, vector: Vectors, k: int) -> tuple[Numbers, Vectors]:
        """The ``k`` nearest (fewer if there are fewer): numbers and dot products, best first. ``vector``: (dim,)."""

    def save(self, folder: Path, embedder: str, revision: int, stamp: str) -> None:
        """Write to ``folder`` for `load`; ``revision`` and ``stamp`` say which state of the store this is."""


def _check(numbers: Numbers, vectors: Vectors, dim: int) -> None:
    if vectors.shape != (len(numbers), dim):
        raise ValueError(f"vectors must have shape ({len(numbers)}, {dim}), got {vectors.shape}")
    if len(np.unique(numbers)) != len(numbers):
        raise ValueError("numbers must differ from each other")
    if not np.isfinite(vectors).all():
        raise ValueError("vectors must be finite")


class _SideFile(BaseModel):
    """index.json: what is in the index file, and of what."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: int
    file: str = Field(pattern=r"^vectors-[0-9a-f]{16}\.faiss$")
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    bytes: int = Field(ge=0)
    embedder: str
    dim: int
    count: int = Field(ge=0)
    revision: int
    stamp: str


class FaissIndex:
    """Exact search with FAISS (IndexFlatIP under an id map)."""

    def __init__(self, dim: int) -> None:
        import faiss

        self.dim = dim
        self._index: Any = faiss.IndexIDMap2(faiss.IndexFlatIP(dim))

    def __len__(self) -> int:
        return int(self._index.ntotal)

    def add(self, numbers: Numbers, vectors: Vectors) -> None:
        """See `VectorIndex`."""
        _check(numbers, vectors, self.dim)
        self.remove(numbers)
        self._index.add_with_ids(np.ascontiguousarray(vectors, np.float32), np.ascontiguousarray(numbers, np.int64))

    def remove(self, numbers: Numbers) -> None:
        """See `VectorIndex`."""
        if len(numbers) and len(self):
            self._index.remove_ids(np.ascontiguousarray(numbers, np.int64))

    def search(self, vector: Vectors, k: int) -> tuple[Numbers, Vectors]:
        """See `VectorIndex`."""
        k = min(k, len(self))
        if k <= 0:
            return np.zeros(0, np.int64), np.zeros(0, np.float32)
        scores, numbers = self._index.search(np.ascontiguousarray(vector, np.float32).reshape(1, self.dim), k)
        return np.asarray(numbers[0], np.int64), np.asarray(scores[0], np.float32)

    def numbers(self) -> Numbers:
        """The numbers that are there."""
        import faiss

        return np.asarray(faiss.vector_to_array(self._index.id_map), np.int64)

    def save(self, folder: Path, embedder: str, revision: int, stamp: str) -> None:
        """See `VectorIndex`.

        Raises:
            OSError: if the folder can't be written.
        """
        import faiss

        folder.mkdir(parents=True, exist_ok=True)
        data = faiss.serialize_index(self._index).tobytes()
        digest = hashlib.sha256(data).hexdigest()
        side = _SideFile(
            format=FORMAT,
            file=f"vectors-{digest[:16]}.faiss",
            sha256=digest,
            bytes=len(data),
            embedder=embedder,
            dim=self.dim,
            count=len(self),
            revision=revision,
            stamp=stamp,
        )
        write_whole(folder / side.file, data)
        write_whole(folder / SIDE_FILE, side.model_dump_json(indent=2).encode())
        _clear(folder, keep=side.file)

    @classmethod
    def load(cls, folder: Path, embedder: str, dim: int, stamp: Callable[[int], str]) -> tuple[Self, int] | None:
        """The saved index and its revision; None, with the reason in the log, if there is none to be trusted.

        ``stamp``: the store's stamp of a revision. It tells an index of another archive, or of a state that was
        lost when a backup was restored.
        """
        try:
            side = _SideFile.model_validate_json((folder / SIDE_FILE).read_bytes())
            room = side.count * (4 * dim + 8)
            if (side.format, side.embedder, side.dim) != (FORMAT, embedder, dim):
                raise ValueError(f"made by {side.embedder} with {side.dim} dimensions, format {side.format}")
            if not side.stamp or side.stamp != stamp(side.revision):
                raise ValueError(f"revision {side.revision} is not of this archive")
            path = folder / side.file
            if not room <= side.bytes <= room + _HEADER or path.stat().st_size != side.bytes:
                raise ValueError("its size is wrong")
            data = path.read_bytes()
            if hashlib.sha256(data).hexdigest() != side.sha256:
                raise ValueError("its checksum is wrong")
            index = cls(dim)
            index._index = _unpacked(data, dim, side.count)
        except FileNotFoundError:
            return None
        except (OSError, ValueError, ValidationError, RuntimeError) as error:
            log.warning("The search index in %s is built anew: %s", folder, error)
            return None
        return index, side.revision


def _unpacked(data: bytes, dim: int, count: int) -> Any:  # noqa: ANN401 - faiss has no types
    """The FAISS index in ``data``. Raises ValueError or RuntimeError if it is not of the kind that `save` writes."""
    import faiss

    index = faiss.deserialize_index(np.frombuffer(data, np.uint8))
    if not isinstance(index, faiss.IndexIDMap2):
        raise ValueError("it is no index of numbered vectors")
    flat = faiss.downcast_index(index.index)
    if not isinstance(flat, faiss.IndexFlat) or flat.metric_type != faiss.METRIC_INNER_PRODUCT:
        raise ValueError("it is no flat index of dot products")
    numbers = faiss.vector_to_array(index.id_map)
    if (flat.d, flat.ntotal, len(numbers), len(np.unique(numbers))) != (dim, count, count, count):
        raise ValueError("its vectors and numbers don't match")
    return index


def _clear(folder: Path, keep: str) -> None:
    """Remove index files that nothing names any more; young ones may be another process's work in progress."""
    for path in folder.glob("*vectors-*"):
        with suppress(OSError):
            if path.name != keep and path.stat().st_mtime < time.time() - _ORPHAN_S:
                path.unlink()


class BruteForceIndex:
    """A fake for tests: a dictionary of vectors, compared one with all. Not saved."""

    def __init__(self, dim: int) -> None:
        self.dim = dim
        self._vectors: dict[int, Vectors] = {}

    def __len__(self) -> int:
        return len(self._vectors)

    def add(self, numbers: Numbers, vectors: Vectors) -> None:
        """See `VectorIndex`."""
        _check(numbers, vectors, self.dim)
        self._vectors.update(zip(numbers.tolist(), vectors, strict=True))

    def remove(self, numbers: Numbers) -> None:
        """See `VectorIndex`."""
        for number in numbers.tolist():
            self._vectors.pop(number, None)

    def search(self, vector: Vectors, k: int) -> tuple[Numbers, Vectors]:
        """See `VectorIndex`."""
        scored = sorted(((float(v @ vector), n) for n, v in self._vectors.items()), key=lambda pair: -pair[0])[:k]
        return np.array([n for _, n in scored], np.int64), np.array([s for s, _ in scored], np.float32)

    def save(self, folder: Path, embedder: str, revision: int, stamp: str) -> None:
        """Nothing: it is made anew each time."""


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
