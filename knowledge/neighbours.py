"""The two ways to hold vectors for searching: `Flat`, exact, and `Cells`, for many.

`Cells` is FAISS's inverted file (IVF): k-means parts the space into cells, a search looks only into the cells nearest
to its vector, and each component is kept in 8 bits. Both hold no more than arrays, and `arrays` gives them away for
writing, so that a file read back is only ever taken as arrays of known sizes, never as objects that describe
themselves.

FAISS runs one search in one thread here: a team of threads gains nothing on so little work, and on a busy machine its
members wait for each other far longer than they compute (10,000 vectors, two busy cores: 100 ms instead of 0.4 ms).
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Protocol, Self

import numpy as np
from numpy.typing import DTypeLike, NDArray

from knowledge.embed import Vectors

Numbers = NDArray[np.int64]
log = logging.getLogger(__name__)

CELLS_MOST = 65_536  # what `Cells` can be asked to have
SAMPLE_MOST = 100_000  # vectors that k-means learns from
PER_CELL = 30  # of them for each cell
ROUNDS = 6  # of k-means: finding the right cells matters, perfect ones don't
TRIALS = 100  # vectors on which the number of cells to look into is chosen
TRIAL_NEAREST = 10
TRIAL_NOISE = 0.75  # a trial is a vector moved by this length, since nobody asks in the very words of a case
RECALL = 0.98  # of the trials' nearest, so that 0.95 holds for other questions, too
READ_MOST = 200_000  # vectors that a search may read on average, whatever the recall
_BLOCK = 20_000  # vectors moved at a time


class Take(Protocol):
    """Reads the next array of a file."""

    def __call__(self, dtype: DTypeLike, *shape: int) -> NDArray[Any]:
        """``shape`` elements. Raises ValueError if there are not as many left."""


@contextmanager
def _few_threads(pieces: int) -> Iterator[None]:
    """FAISS works with no more threads than there are pieces worth one."""
    import faiss

    before = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(max(1, min(pieces, before)))
    try:
        yield
    finally:
        faiss.omp_set_num_threads(before)


class Flat:
    """Exact search: each vector is compared, 4 bytes a component."""

    cells = probes = 0

    def __init__(self, dim: int) -> None:
        import faiss

        self.dim = dim
        self.numbers: Numbers = np.zeros(0, np.int64)
        self._index: Any = faiss.IndexFlatIP(dim)

    def add(self, numbers: Numbers, vectors: Vectors) -> None:
        """Take in vectors, shape (n, dim), under numbers that are not there yet."""
        longer = np.concatenate([self.numbers, np.asarray(numbers, np.int64)])
        self._index.add(np.ascontiguousarray(vectors, np.float32))
        self.numbers = longer

    def remove(self, numbers: Numbers) -> None:
        """Forget those of ``numbers`` that are there."""
        gone = np.flatnonzero(np.isin(self.numbers, numbers))
        if len(gone):
            self._index.remove_ids(gone.astype(np.int64))  # moves the others up, as np.delete does
            self.numbers = np.delete(self.numbers, gone)

    def search(self, vectors: Vectors, k: int) -> tuple[Numbers, Vectors]:
        """The ``k`` nearest of each of ``vectors``, best first; k at most as many as there are. Shapes (n, k)."""
        with _few_threads(len(vectors) // 16):
            scores, places = self._index.search(np.ascontiguousarray(vectors, np.float32), k)
        return self.numbers[places], scores

    exact = search

    def blocks(self) -> Iterator[tuple[Numbers, Vectors]]:
        """All numbers with their vectors, some thousands at a time."""
        import faiss

        held = faiss.rev_swig_ptr(self._index.get_xb(), len(self.numbers) * self.dim).reshape(-1, self.dim)
        for start in range(0, len(self.numbers), _BLOCK):
            yield self.numbers[start : start + _BLOCK], held[start : start + _BLOCK].copy()

    def arrays(self) -> Iterator[NDArray[Any]]:
        """What `read` needs: the numbers, then the vectors."""
        yield self.numbers
        for _, vectors in self.blocks():
            yield vectors

    @staticmethod
    def room(dim: int, count: int) -> int:
        """The bytes of `arrays`."""
        return count * (8 + 4 * dim)

    @classmethod
    def read(cls, dim: int, count: int, take: Take) -> Self:
        """What `arrays` gave away. Raises ValueError if it can't be that."""
        made = cls(dim)
        numbers = take("<i8", count)
        _ascending(numbers)
        for start in range(0, count, _BLOCK):
            part = numbers[start : start + _BLOCK]
            made.add(part, _finite(take("<f4", len(part), dim)))
        return made


class Cells:
    """Search in the nearest cells only, 1 byte a component: nearly all of the true neighbours, at once."""

    def __init__(self, dim: int, centres: Vectors, ranges: Vectors, probes: int) -> None:
        """Empty cells around ``centres``, shape (cells, dim).

        Args:
            dim: components of a vector.
            centres: the cells' centres.
            ranges: least value and width of each component, shape (2 * dim,), which the 8 bits divide.
            probes: how many cells a search looks into.
        """
        import faiss

        self.dim, self.cells, self.probes = dim, len(centres), probes
        self.numbers: Numbers = np.zeros(0, np.int64)  # in ascending order
        self._index: Any = _empty(dim, self.cells)
        self._index.quantizer.add(np.ascontiguousarray(centres, np.float32))
        faiss.copy_array_to_vector(np.ascontiguousarray(ranges, np.float32), self._index.sq.trained)
        self._index.is_trained = True
        self._centres, self._ranges = centres, ranges

    @property
    def room_for(self) -> int:
        """With more vectors, more cells would be better: four times as many as these were made for."""
        return self.cells**2 // 4 if self.cells < CELLS_MOST else sys.maxsize

    @classmethod
    def of(cls, source: Flat | Cells) -> Self:
        """Everything in ``source``, which stays as it is, in cells that suit so many: of some hundred vectors."""
        import faiss

        count, dim = len(source.numbers), source.dim
        cells = min(CELLS_MOST, count, round(4 * count**0.5))
        random = np.random.default_rng(0)
        sample = _sample(source, random.choice(count, min(count, SAMPLE_MOST, PER_CELL * cells), replace=False))
        teacher = _empty(dim, cells)
        teacher.cp.spherical, teacher.cp.niter, teacher.cp.seed = True, ROUNDS, 1
        teacher.cp.min_points_per_centroid, teacher.cp.max_points_per_centroid = 1, PER_CELL
        with _few_threads(cells // 256):
            teacher.train(sample)
        quantizer: Any = faiss.downcast_index(teacher.quantizer)
        centres = faiss.rev_swig_ptr(quantizer.get_xb(), cells * dim).reshape(cells, dim).copy()
        ranges = faiss.vector_to_array(teacher.sq.trained)
        made = cls(dim, centres, ranges, 1)
        with _few_threads(cells // 256):
            for numbers, vectors in source.blocks():
                made._index.add_with_ids(vectors, numbers)
        made.numbers = np.sort(source.numbers)
        made._choose(source, sample[:TRIALS], random)
        return made

    def _choose(self, source: Flat | Cells, trials: Vectors, random: np.random.Generator) -> None:
        """Look into as many cells as it takes to find what an exact search in ``source`` finds."""
        nearest = min(TRIAL_NEAREST, len(source.numbers))
        noise = random.standard_normal(trials.shape, np.float32)
        moved = trials + TRIAL_NOISE * noise / np.linalg.norm(noise, axis=1, keepdims=True)
        wanted, _ = source.exact(moved, nearest)
        most = max(1, min(self.cells, self.cells * READ_MOST // len(self.numbers)))
        self.probes, recall = min(4, most), 0.0
        while True:
            found, _ = self.search(moved, nearest)
            recall = float(np.mean([np.isin(a, b).mean() for a, b in zip(wanted, found, strict=True)]))
            if recall >= RECALL or self.probes == most:
                break
            self.probes = min(most, self.probes + max(1, self.probes // 3))
        said = (len(self.numbers), self.cells, self.probes, recall, TRIAL_NEAREST)
        log.info("%d vectors in %d cells; a search looks into %d and finds %.3f of the nearest %d", *said)

    def add(self, numbers: Numbers, vectors: Vectors) -> None:
        """Take in vectors, shape (n, dim), under numbers that are not there yet."""
        new = np.sort(np.asarray(numbers, np.int64))
        longer = np.insert(self.numbers, np.searchsorted(self.numbers, new), new)
        with _few_threads(len(numbers) // 256):
            self._index.add_with_ids(np.ascontiguousarray(vectors, np.float32), np.ascontiguousarray(numbers, np.int64))
        self.numbers = longer

    def remove(self, numbers: Numbers) -> None:
        """Forget those of ``numbers`` that are there."""
        gone = numbers[held(self.numbers, numbers)]
        if len(gone):  # FAISS reads all numbers for it
            with _few_threads(1):
                self._index.remove_ids(np.ascontiguousarray(gone, np.int64))
            self.numbers = np.delete(self.numbers, np.searchsorted(self.numbers, gone))

    def search(self, vectors: Vectors, k: int) -> tuple[Numbers, Vectors]:
        """Like `Flat.search`; a few of the true nearest may be others."""
        # So many cells that there should be twice as many vectors in them as are wanted.
        return self._search(vectors, k, max(self.probes, -(-2 * k * self.cells // max(1, len(self.numbers)))))

    def exact(self, vectors: Vectors, k: int) -> tuple[Numbers, Vectors]:
        """The same from all cells."""
        return self._search(vectors, k, self.cells)

    def _search(self, vectors: Vectors, k: int, probes: int) -> tuple[Numbers, Vectors]:
        vectors = np.ascontiguousarray(vectors, np.float32)
        while True:
            self._index.nprobe = min(probes, self.cells)
            with _few_threads(len(vectors) // 16):
                scores, numbers = self._index.search(vectors, k)
            if probes >= self.cells or (numbers >= 0).all():  # -1: too few in these cells
                return numbers, scores
            probes *= 4

    def _lists(self) -> Iterator[tuple[Numbers, NDArray[np.uint8]]]:
        import faiss

        lists = self._index.invlists
        for cell in range(self.cells):
            if size := lists.list_size(cell):
                numbers = faiss.rev_swig_ptr(lists.get_ids(cell), size)
                yield numbers, faiss.rev_swig_ptr(lists.get_codes(cell), size * self.dim).reshape(size, self.dim)

    def blocks(self) -> Iterator[tuple[Numbers, Vectors]]:
        """All numbers with their vectors as 8 bits remember them, a cell at a time."""
        for numbers, codes in self._lists():
            yield numbers.copy(), self._index.sq.decode(codes)

    def arrays(self) -> Iterator[NDArray[Any]]:
        """What `read` needs: the cells' sizes, centres and ranges, then the numbers and then the codes of each cell."""
        sizes = [self._index.invlists.list_size(cell) for cell in range(self.cells)]
        yield np.array(sizes, np.int64)
        yield self._centres
        yield self._ranges
        for numbers, _ in self._lists():
            yield numbers
        for _, codes in self._lists():
            yield codes

    @staticmethod
    def room(dim: int, count: int, cells: int) -> int:
        """The bytes of `arrays`."""
        return cells * (8 + 4 * dim) + 8 * dim + count * (8 + dim)

    @classmethod
    def read(cls, dim: int, count: int, cells: int, probes: int, take: Take) -> Self:
        """What `arrays` gave away. Raises ValueError if it can't be that."""
        import faiss

        if not 1 <= probes <= cells <= CELLS_MOST:
            raise ValueError(f"it has {cells} cells and looks into {probes}")
        sizes = take("<i8", cells)
        if (sizes < 0).any() or (sizes > count).any() or sizes.sum() != count:
            raise ValueError("the sizes of its cells are wrong")
        made = cls(dim, _finite(take("<f4", cells, dim)), _finite(take("<f4", 2 * dim)), probes)
        numbers = take("<i8", count)
        made.numbers = _ascending(numbers)
        start = 0
        for cell, size in enumerate(sizes.tolist()):
            if size:
                codes, part = take("u1", size, dim), numbers[start : start + size]
                made._index.invlists.add_entries(cell, size, faiss.swig_ptr(part), faiss.swig_ptr(codes))
            start += size
        made._index.ntotal = count
        return made


def held(numbers: Numbers, asked: Numbers) -> NDArray[np.bool_]:
    """Which of ``asked`` are among ``numbers``, which ascend."""
    if not len(numbers):
        return np.zeros(len(asked), bool)
    places = np.minimum(np.searchsorted(numbers, asked), len(numbers) - 1)
    return np.asarray(numbers[places] == asked)


def _empty(dim: int, cells: int) -> Any:  # noqa: ANN401 - faiss has no types
    import faiss

    # Not by_residual: the codes then stand for the vectors themselves, whatever the cells are.
    kind, metric = faiss.ScalarQuantizer.QT_8bit, faiss.METRIC_INNER_PRODUCT
    return faiss.IndexIVFScalarQuantizer(faiss.IndexFlatIP(dim), dim, cells, kind, metric, False)


def _sample(source: Flat | Cells, places: NDArray[np.int64]) -> Vectors:
    """The vectors at ``places`` of `blocks`, in an order of their own."""
    places, found, start = np.sort(places), [], 0
    for numbers, vectors in source.blocks():
        inside = places[np.searchsorted(places, start) : np.searchsorted(places, start + len(numbers))]
        found.append(vectors[inside - start])
        start += len(numbers)
    return np.random.default_rng(1).permutation(np.concatenate(found))


def _ascending(numbers: Numbers) -> Numbers:
    """``numbers`` in order. Raises ValueError unless they differ and none is below 0."""
    ordered = np.sort(numbers)
    if len(ordered) and (ordered[0] < 0 or (ordered[1:] == ordered[:-1]).any()):
        raise ValueError("its vectors' numbers are wrong")
    return ordered


def _finite(values: Vectors) -> Vectors:
    if not np.isfinite(values).all():
        raise ValueError("its vectors are no numbers")
    return values
