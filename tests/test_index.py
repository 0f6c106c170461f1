"""Vector indexes: the seam's promises, and files that must not be believed."""

from __future__ import annotations

import hashlib
import json
import logging
from pathlib import Path

import faiss
import numpy as np
import pytest

from knowledge.index import SIDE_FILE, BruteForceIndex, FaissIndex
from knowledge.neighbours import Cells, Flat
from training.scale import Meanings

DIM = 16
BORDER = 500
COUNTS = {"flat": 20, "cells": BORDER + 20}


def unit(n: int, seed: int = 0) -> np.ndarray:
    vectors = np.random.default_rng(seed).normal(size=(n, DIM)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def stamps(revision: int) -> str:
    return {7: "seven"}.get(revision, "")


def many(n: int, seed: int = 0) -> np.ndarray:
    """Vectors in topics, as texts have them."""
    return Meanings(topics=20, dim=DIM).make(n, seed)


@pytest.fixture(params=["flat", "cells", "fake"])
def index(request):
    """Empty, or for cells with others far away from what the tests look for."""
    if request.param == "fake":
        return BruteForceIndex(DIM)
    return FaissIndex(DIM, flat_most=2 if request.param == "cells" else 500)


class TestSeam:
    def test_finds_best_first(self, index):
        vectors = unit(50)
        index.add(np.arange(100, 150), vectors)
        numbers, scores = index.search(vectors[7], 5)
        assert numbers[0] == 107
        assert scores[0] == pytest.approx(1, abs=0.01)
        assert (np.diff(scores) <= 0).all()
        if not getattr(index, "cells", 0):
            exact = vectors @ vectors[7]
            assert numbers.tolist() == (100 + np.argsort(-exact)[:5]).tolist()
        assert len(index) == 50
        assert sorted(index.search(vectors[7], 99)[0].tolist()) == list(range(100, 150))
        assert index.holds(np.array([149, 3, 100, 150])).tolist() == [True, False, True, False]

    def test_replaces_and_removes(self, index):
        vectors = unit(3)
        index.add(np.array([1, 2]), vectors[:2])
        index.add(np.array([2]), vectors[2:])
        assert len(index) == 2
        assert index.search(vectors[2], 1)[0].tolist() == [2]
        index.remove(np.array([2, 99]))
        assert index.search(vectors[2], 9)[0].tolist() == [1]
        assert index.holds(np.array([1, 2])).tolist() == [True, False]
        index.remove(np.array([1]))
        assert (len(index), index.search(vectors[2], 9)[0].tolist()) == (0, [])
        index.add(np.array([2]), vectors[2:])
        assert index.search(vectors[2], 9)[0].tolist() == [2]

    def test_empty(self, index):
        index.remove(np.array([1]))
        assert [a.tolist() for a in index.search(unit(1)[0], 3)] == [[], []]
        index.add(np.zeros(0, np.int64), np.zeros((0, DIM), np.float32))
        assert len(index) == 0

    @pytest.mark.parametrize(
        ("numbers", "vectors"),
        [
            ([1], np.zeros((1, DIM + 1))),
            ([1, 2], np.zeros((1, DIM))),
            ([1, 1], unit(2)),
            ([-1], unit(1)),
            ([1], unit(1) * np.nan),
        ],
    )
    def test_refuses_nonsense(self, index, numbers, vectors):
        with pytest.raises(ValueError, match="must"):
            index.add(np.array(numbers), vectors.astype(np.float32))


def recall(index: FaissIndex, numbers: np.ndarray, vectors: np.ndarray) -> float:
    """Of the true nearest ten of new vectors, the share that is found."""
    found = []
    for question in many(100, seed=5):
        exact = numbers[np.argsort(-(vectors @ question))[:10]]
        found.append(np.isin(exact, index.search(question, 10)[0]).mean())
    return float(np.mean(found))


class TestSize:
    """Exact while there are few, in cells when there are many."""

    def test_the_border(self):
        vectors = many(BORDER + 1)
        index = FaissIndex(DIM, BORDER)
        index.add(np.arange(BORDER), vectors[:-1])
        assert index.cells == 0
        assert recall(index, np.arange(BORDER), vectors[:-1]) == 1
        index.add(np.array([BORDER]), vectors[-1:])
        assert index.cells == 90
        assert 1 <= index.probes <= 90
        assert len(index) == BORDER + 1
        assert recall(index, np.arange(BORDER + 1), vectors) >= 0.95
        assert set(index.search(vectors[0], BORDER + 1)[0].tolist()) == set(range(BORDER + 1))

    def test_more_cells_for_more_vectors(self):
        vectors = many(4000)
        index = FaissIndex(DIM, BORDER)
        for start in range(0, 4000, 250):
            index.add(np.arange(start, start + 250), vectors[start : start + 250])
        assert index.cells > 180
        assert (len(index), index.numbers().tolist()) == (4000, list(range(4000)))
        assert recall(index, np.arange(4000), vectors) >= 0.95

    def test_replaces_and_removes_above_the_border(self):
        vectors, numbers = many(900), 7 * np.arange(900)[::-1]
        index = FaissIndex(DIM, BORDER)
        index.add(numbers, vectors)
        index.remove(numbers[:300])
        index.add(numbers[300:600], many(300, seed=3))
        assert len(index) == 600
        now = np.concatenate([many(300, seed=3), vectors[600:]])
        assert recall(index, numbers[300:], now) >= 0.95
        everything = index.search(vectors[0], 9999)[0]
        assert sorted(everything.tolist()) == sorted(numbers[300:].tolist())

    def test_cells_stay_until_all_is_gone(self):
        index = FaissIndex(DIM, BORDER)
        index.add(np.arange(600), many(600))
        index.remove(np.arange(590))
        assert index.cells
        assert sorted(index.search(many(1)[0], 20)[0].tolist()) == list(range(590, 600))
        index.remove(np.arange(600))
        assert index.cells == 0

    @pytest.mark.parametrize("step", ["of", "_choose"])
    def test_an_interrupted_change_loses_nothing(self, monkeypatch: pytest.MonkeyPatch, step: str):
        vectors = many(601)
        index = FaissIndex(DIM, BORDER)
        index.add(np.arange(400), vectors[:400])

        def interrupt(*_: object) -> None:
            raise KeyboardInterrupt

        monkeypatch.setattr(Cells, step, interrupt)
        with pytest.raises(KeyboardInterrupt):
            index.add(np.arange(400, 600), vectors[400:600])
        assert (index.cells, len(index)) == (0, 600)
        assert recall(index, np.arange(600), vectors[:600]) == 1
        monkeypatch.undo()
        index.add(np.array([600]), vectors[600:])
        assert index.cells
        assert len(index) == 601

    def test_vectors_without_topics_are_said_to_be_hard(self, caplog: pytest.LogCaptureFixture):
        index = FaissIndex(DIM, BORDER)
        with caplog.at_level(logging.INFO, "knowledge"):
            index.add(np.arange(600), unit(600))
        assert "600 vectors in 98 cells" in caplog.text
        assert np.mean([index.search(v, 1)[0][0] == i for i, v in enumerate(unit(600))]) > 0.95

    def test_all_alike(self):
        index = FaissIndex(DIM, BORDER)
        index.add(np.arange(600), np.repeat(unit(1), 600, axis=0))
        assert len(index.search(unit(1)[0], 300)[0]) == 300


class TestFile:
    @pytest.fixture(params=["flat", "cells"])
    def kind(self, request) -> str:
        return request.param

    @pytest.fixture
    def folder(self, tmp_path: Path, kind: str) -> Path:
        index = FaissIndex(DIM, BORDER)
        index.add(np.arange(COUNTS[kind])[::-1], many(COUNTS[kind]))
        index.save(tmp_path, "encoder", 7, "seven")
        return tmp_path

    def load(self, folder: Path):
        return FaissIndex.load(folder, "encoder", DIM, stamps, BORDER)

    def sign(self, folder: Path, data: bytes, **fields: int) -> None:
        """Put ``data`` in the index file's place, with all that vouches for it."""
        (path,) = folder.glob("*.index")
        path.write_bytes(data)
        side = json.loads((folder / SIDE_FILE).read_text())
        side.update(sha256=hashlib.sha256(data).hexdigest(), bytes=len(data), **fields)
        (folder / SIDE_FILE).write_text(json.dumps(side))

    def test_comes_back(self, folder: Path, kind: str):
        index, revision = self.load(folder)
        vectors, numbers = many(COUNTS[kind]), np.arange(COUNTS[kind])[::-1]
        assert (len(index), revision) == (COUNTS[kind], 7)
        assert bool(index.cells) == (kind == "cells")
        assert recall(index, numbers, vectors) >= (1 if kind == "flat" else 0.95)
        original = FaissIndex(DIM, BORDER)
        original.add(numbers, vectors)
        assert index.search(vectors[3], 15)[0].tolist() == original.search(vectors[3], 15)[0].tolist()
        index.add(np.array([7777]), unit(1, seed=9))
        index.remove(np.array([3]))
        assert index.search(unit(1, seed=9)[0], 1)[0].tolist() == [7777]
        assert index.holds(np.array([3, 4, 7777])).tolist() == [False, True, True]
        again = folder / "again"
        index.save(again, "encoder", 7, "seven")
        assert len(self.load(again)[0]) == COUNTS[kind]

    def test_empty_comes_back(self, tmp_path: Path):
        FaissIndex(DIM).save(tmp_path, "encoder", 7, "seven")
        assert len(self.load(tmp_path)[0]) == 0

    def test_grows_after_coming_back(self, folder: Path, kind: str):
        index, _ = self.load(folder)
        index.add(np.arange(1000, 4000), many(3000, seed=4))
        assert index.cells > 180
        assert len(index) == COUNTS[kind] + 3000

    def test_absent(self, tmp_path: Path):
        assert self.load(tmp_path / "none") is None

    def test_of_another_encoder_or_archive(self, folder: Path):
        assert FaissIndex.load(folder, "other", DIM, stamps) is None
        assert FaissIndex.load(folder, "encoder", DIM + 1, stamps) is None
        assert FaissIndex.load(folder, "encoder", DIM, lambda revision: "another") is None
        assert FaissIndex.load(folder, "encoder", DIM, lambda revision: "") is None

    @pytest.mark.parametrize("change", ["cut", "longer", "bit", "empty", "gone", "folder"])
    def test_damaged(self, folder: Path, change: str):
        (path,) = folder.glob("*.index")
        data = bytearray(path.read_bytes())
        path.unlink()
        if change == "bit":
            data[len(data) // 2] ^= 1
        if change == "folder":
            path.mkdir()
        elif change != "gone":
            path.write_bytes({"cut": data[:-9], "longer": data + b"x", "bit": data, "empty": b""}[change])
        assert self.load(folder) is None

    @pytest.mark.parametrize("text", ["", "{", "[]", "{}", "null", "\xff"])
    def test_side_file_damaged(self, folder: Path, text: str):
        (folder / SIDE_FILE).write_text(text, encoding="latin-1")
        assert self.load(folder) is None

    @pytest.mark.parametrize(
        ("field", "value"),
        [
            ("file", "../../etc/passwd"),
            ("file", "x.index"),
            ("count", 10**12),
            ("count", -1),
            ("count", 19),
            ("bytes", 5),
            ("format", 1),
            ("cells", 10**12),
            ("cells", 3),
            ("cells", -1),
            ("probes", -1),
            ("probes", 10**6),
            ("probes", 92),
            ("dim", 0),
            ("sha256", "0" * 64),
        ],
    )
    def test_side_file_hostile(self, folder: Path, kind: str, field: str, value):
        side = json.loads((folder / SIDE_FILE).read_text())
        (folder / SIDE_FILE).write_text(json.dumps({**side, field: value}))
        assert self.load(folder) is None

    @pytest.mark.parametrize("content", ["noise", "flat", "numbered", "cells", "zeros", "ones"])
    def test_well_signed_but_of_another_kind(self, folder: Path, content: str):
        """Even if the checksum fits, only arrays that make sense are taken; FAISS's own files are none."""
        (path,) = folder.glob("*.index")
        size = path.stat().st_size
        flat = faiss.IndexFlatIP(DIM)
        other = {
            "flat": flat,
            "numbered": faiss.IndexIDMap2(faiss.IndexIDMap2(flat)),
            "cells": faiss.IndexIVFFlat(flat, DIM, 4),
        }.get(content)
        if other is not None:
            data = faiss.serialize_index(other).tobytes()
        else:
            data = {"noise": np.random.default_rng(0).bytes(size), "zeros": b"\0" * size}.get(content, b"\xff" * size)
        self.sign(folder, data)
        assert self.load(folder) is None
        self.sign(folder, (data + b"\0" * size)[:size])
        assert self.load(folder) is None

    @pytest.mark.parametrize("what", ["double", "below", "infinite"])
    @pytest.mark.parametrize("kind", ["flat"])
    def test_well_signed_nonsense_in_flat(self, folder: Path, what: str):
        (path,) = folder.glob("*.index")
        data = path.read_bytes()
        numbers, vectors = np.frombuffer(data[:160], np.int64).copy(), np.frombuffer(data[160:], np.float32).copy()
        if what == "infinite":
            vectors[5] = np.inf
        else:
            numbers[5] = numbers[6] if what == "double" else -1
        self.sign(folder, numbers.tobytes() + vectors.tobytes())
        assert self.load(folder) is None

    @pytest.mark.parametrize(
        "what", ["negative", "too_large", "overflow", "too_few", "centre", "range", "double", "below", "moved"]
    )
    @pytest.mark.parametrize("kind", ["cells"])
    def test_well_signed_nonsense_in_cells(self, folder: Path, what: str):
        index, _ = self.load(folder)
        sizes, centres, ranges, *rest = [a.copy() for a in index._part.arrays()]
        numbers = np.concatenate(rest[: len(rest) // 2])
        codes = np.concatenate(rest[len(rest) // 2 :])
        first, second = np.flatnonzero(sizes)[:2]
        if what == "negative":  # the sum stays right
            sizes[second] += sizes[first] + 1
            sizes[first] = -1
        elif what == "too_large":
            sizes[first] = 10**15
        elif what == "overflow":
            sizes[[first, second]] = 2**63 - 1
        elif what == "too_few":
            sizes[first] -= 1
        elif what == "centre":
            centres[1, 2] = np.nan
        elif what == "range":
            ranges[3] = -np.inf
        elif what in ("double", "below"):
            numbers[5] = numbers[6] if what == "double" else -1
        else:  # one byte of room moved from the codes to elsewhere: sizes that disagree with the side file
            codes = codes[:-1]
        self.sign(folder, b"".join(a.tobytes() for a in (sizes, centres, ranges, numbers, codes)))
        assert self.load(folder) is None

    @pytest.mark.parametrize("kind", ["cells"])
    def test_a_flat_file_is_no_cells_and_the_other_way_round(self, folder: Path, tmp_path: Path):
        flat, cells = Flat.room(DIM, 520), Cells.room(DIM, 520, 91)
        self.sign(folder, np.random.default_rng(0).bytes(flat), cells=0, probes=0)
        assert self.load(folder) is None
        self.sign(folder, np.random.default_rng(0).bytes(cells), cells=91, probes=1)
        assert self.load(folder) is None

    def test_nothing_is_left_of_an_interrupted_save(self, folder: Path, monkeypatch: pytest.MonkeyPatch):
        index, _ = self.load(folder)
        index.add(np.array([7777]), unit(1))

        def full(*_: object) -> None:
            raise OSError("no space left on device")

        before = sorted(path.name for path in folder.iterdir())
        monkeypatch.setattr("os.fsync", full)
        with pytest.raises(OSError, match="no space"):
            index.save(folder, "encoder", 7, "seven")
        assert sorted(path.name for path in folder.iterdir()) == before
        monkeypatch.undo()
        assert 7777 not in self.load(folder)[0].numbers()
