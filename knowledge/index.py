"""Finding vectors: the `VectorIndex` seam, FAISS behind it in a way that suits the size, and a brute-force fake.

Everything here is a cache of the archive. An index file is written whole, named by its checksum, and trusted only if
its side file vouches for it: same encoder, a revision that this very store has had, same size, same checksum, and the
structure that was written. Anything else is passed over and built again from the archive.

Memory for 384 components: 1.5 KB a vector up to `FLAT_MOST`, 0.4 KB above (a million: 0.4 GB, and twice that for the
time of a change from one way to the other).
"""

from __future__ import annotations

import hashlib
import logging
import os
import tempfile
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO, Protocol, Self

import numpy as np
from numpy.typing import DTypeLike, NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from knowledge.embed import Vectors
from knowledge.neighbours import CELLS_MOST, Cells, Flat, Numbers, held
from knowledge.tables import write_whole
from knowledge.vector_cache import VectorCache

__all__ = ["FLAT_MOST", "SIDE_FILE", "BruteForceIndex", "FaissIndex", "Numbers", "VectorCache", "VectorIndex"]
log = logging.getLogger(__name__)

SIDE_FILE = "index.json"
FORMAT = 2
FLAT_MOST = 50_000  # vectors searched exactly: 4 ms and 77 MB for 384 components
_ORPHAN_S = 3600  # files that no side file names are cleared away after this long


class VectorIndex(Protocol):
    """Vectors of length 1 under numbers (0 or more), found by their dot product."""

    def __len__(self) -> int:
        """How many vectors there are."""

    def add(self, numbers: Numbers, vectors: Vectors) -> None:
        """Take in vectors, shape (n, dim); a number that is there already gets the new one."""

    def remove(self, numbers: Numbers) -> None:
        """Forget these numbers; unknown ones don't matter."""

    def search(self, vector: Vectors, k: int) -> tuple[Numbers, Vectors]:
        """The ``k`` nearest (fewer if there are fewer): numbers and dot products, best first. ``vector``: (dim,)."""

    def holds(self, numbers: Numbers) -> NDArray[np.bool_]:
        """Which of ``numbers`` have a vector."""

    def save(self, folder: Path, embedder: str, revision: int, stamp: str) -> None:
        """Write to ``folder`` for `load`; ``revision`` and ``stamp`` say which state of the store this is."""


def _check(numbers: Numbers, vectors: Vectors, dim: int) -> None:
    if vectors.shape != (len(numbers), dim):
        raise ValueError(f"vectors must have shape ({len(numbers)}, {dim}), got {vectors.shape}")
    if len(np.unique(numbers)) != len(numbers):
        raise ValueError("numbers must differ from each other")
    if (np.asarray(numbers) < 0).any():
        raise ValueError("numbers must be 0 or more")
    if not np.isfinite(vectors).all():
        raise ValueError("vectors must be finite")


class _SideFile(BaseModel):
    """index.json: what is in the index file, and of what."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    format: int
    file: str = Field(pattern=r"^vectors-[0-9a-f]{16}\.index$")
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    bytes: int = Field(ge=0)
    embedder: str
    dim: int = Field(ge=1)
    count: int = Field(ge=0)
    cells: int = Field(ge=0, le=CELLS_MOST)  # 0: flat
    probes: int = Field(ge=0, le=CELLS_MOST)
    revision: int
    stamp: str

    @property
    def room(self) -> int:
        """The bytes that an index of such numbers has."""
        return Cells.room(self.dim, self.count, self.cells) if self.cells else Flat.room(self.dim, self.count)


class FaissIndex:
    """Vectors in FAISS: compared one by one while they are few, in cells when they are many (`knowledge.neighbours`).

    Above ``flat_most`` everything moves into cells, and again into more cells whenever there are four times as many
    vectors as they were made for; what was there before stays in use until the new is complete. Cells remain when
    vectors are removed, until none is left.
    """

    def __init__(self, dim: int, flat_most: int = FLAT_MOST) -> None:
        self.dim, self.flat_most = dim, flat_most
        self._part: Flat | Cells = Flat(dim)

    def __len__(self) -> int:
        return len(self._part.numbers)

    @property
    def cells(self) -> int:
        """The number of cells; 0 while the search is exact."""
        return self._part.cells

    @property
    def probes(self) -> int:
        """How many cells a search looks into."""
        return self._part.probes

    def add(self, numbers: Numbers, vectors: Vectors) -> None:
        """See `VectorIndex`."""
        _check(numbers, vectors, self.dim)
        self.remove(numbers)
        self._part.add(numbers, vectors)
        if len(self) > (self._part.room_for if isinstance(self._part, Cells) else self.flat_most):
            self._part = Cells.of(self._part)

    def remove(self, numbers: Numbers) -> None:
        """See `VectorIndex`."""
        self._part.remove(numbers)
        if not len(self):
            self._part = Flat(self.dim)

    def search(self, vector: Vectors, k: int) -> tuple[Numbers, Vectors]:
        """See `VectorIndex`; exact up to ``flat_most`` vectors, above it one in twenty may be another."""
        k = min(k, len(self))
        if k <= 0:
            return np.zeros(0, np.int64), np.zeros(0, np.float32)
        numbers, scores = self._part.search(vector.reshape(1, self.dim), k)
        return np.asarray(numbers[0], np.int64), np.asarray(scores[0], np.float32)

    def numbers(self) -> Numbers:
        """The numbers that are there."""
        return self._part.numbers

    def holds(self, numbers: Numbers) -> NDArray[np.bool_]:
        """See `VectorIndex`."""
        if isinstance(self._part, Cells):
            return held(self._part.numbers, numbers)
        return np.isin(numbers, self._part.numbers)

    def save(self, folder: Path, embedder: str, revision: int, stamp: str) -> None:
        """See `VectorIndex`.

        Raises:
            OSError: if the folder can't be written.
        """
        folder.mkdir(parents=True, exist_ok=True)
        digest = hashlib.sha256()
        size = 0
        for array in self._part.arrays():
            digest.update(_bytes(array))
            size += array.nbytes
        side = _SideFile(
            format=FORMAT,
            file=f"vectors-{digest.hexdigest()[:16]}.index",
            sha256=digest.hexdigest(),
            bytes=size,
            embedder=embedder,
            dim=self.dim,
            count=len(self),
            cells=self.cells,
            probes=self.probes,
            revision=revision,
            stamp=stamp,
        )
        _write_arrays(folder / side.file, self._part.arrays())
        write_whole(folder / SIDE_FILE, side.model_dump_json(indent=2).encode())
        _clear(folder, keep=side.file)

    @classmethod
    def load(
        cls, folder: Path, embedder: str, dim: int, stamp: Callable[[int], str], flat_most: int = FLAT_MOST
    ) -> tuple[Self, int] | None:
        """The saved index and its revision; None, with the reason in the log, if there is none to be trusted.

        ``stamp``: the store's stamp of a revision. It tells an index of another archive, or of a state that was
        lost when a backup was restored.
        """
        try:
            side = _SideFile.model_validate_json((folder / SIDE_FILE).read_bytes())
            if (side.format, side.embedder, side.dim) != (FORMAT, embedder, dim):
                raise ValueError(f"made by {side.embedder} with {side.dim} dimensions, format {side.format}")
            if not side.stamp or side.stamp != stamp(side.revision):
                raise ValueError(f"revision {side.revision} is not of this archive")
            index = cls(dim, flat_most)
            with (folder / side.file).open("rb") as file:
                index._part = _unpacked(file, side)
        except FileNotFoundError:
            return None
        except (OSError, ValueError, ValidationError) as error:
            log.warning("The search index in %s is built anew: %s", folder, error)
            return None
        return index, side.revision


def _unpacked(file: BinaryIO, side: _SideFile) -> Flat | Cells:
    """What is in an index file. Raises ValueError if it isn't what ``side`` says.

    The file has no structure of its own: arrays of sizes that ``side`` gives and the file's size confirms. So nothing
    in it can make FAISS read or allocate more than that.
    """
    if not side.cells and side.probes:
        raise ValueError("it has no cells to look into")
    if side.bytes != side.room or os.fstat(file.fileno()).st_size != side.bytes:
        raise ValueError("its size is wrong")
    digest = hashlib.sha256()

    def take(dtype: DTypeLike, *shape: int) -> NDArray[Any]:
        array = np.empty(shape, dtype)
        if array.size:
            if file.readinto(_bytes(array)) != array.nbytes:  # type: ignore[attr-defined]  # BufferedReader has it
                raise ValueError("it ends too early")
            digest.update(_bytes(array))
        return array

    if side.cells:
        part: Flat | Cells = Cells.read(side.dim, side.count, side.cells, side.probes, take)
    else:
        part = Flat.read(side.dim, side.count, take)
    if digest.hexdigest() != side.sha256:
        raise ValueError("its checksum is wrong")
    return part


def _bytes(array: NDArray[Any]) -> memoryview:
    return np.ascontiguousarray(array).data.cast("B") if array.size else memoryview(b"")


def _write_arrays(path: Path, arrays: Iterable[NDArray[Any]]) -> None:
    """Like `write_whole`, an array at a time: a small machine has no room for a copy of a million vectors."""
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            for array in arrays:
                file.write(_bytes(array))
            file.flush()
            os.fsync(file.fileno())
        # The side file, written after this one, has the folder synced.
        Path(name).replace(path)
    except BaseException:
        with suppress(OSError):
            Path(name).unlink()
        raise


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

    def holds(self, numbers: Numbers) -> NDArray[np.bool_]:
        """See `VectorIndex`."""
        return np.array([number in self._vectors for number in numbers.tolist()], bool)

    def save(self, folder: Path, embedder: str, revision: int, stamp: str) -> None:
        """Nothing: it is made anew each time."""
