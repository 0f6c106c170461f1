"""Vector indexes: the seam's promises, and files that must not be believed."""

from __future__ import annotations

import hashlib
import json
import sqlite3
from pathlib import Path

import faiss
import numpy as np
import pytest

from knowledge.archive import MemoryCaseStore
from knowledge.case import read_case
from knowledge.dense import Dense, text_of
from knowledge.embed import HashingEmbedder
from knowledge.index import SIDE_FILE, BruteForceIndex, FaissIndex, VectorCache

DIM = 16


def unit(n: int, seed: int = 0) -> np.ndarray:
    vectors = np.random.default_rng(seed).normal(size=(n, DIM)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def stamps(revision: int) -> str:
    return {7: "seven"}.get(revision, "")


@pytest.fixture(params=[FaissIndex, BruteForceIndex])
def index(request):
    return request.param(DIM)


class TestSeam:
    def test_finds_best_first(self, index):
        vectors = unit(50)
        index.add(np.arange(100, 150), vectors)
        numbers, scores = index.search(vectors[7], 5)
        assert numbers[0] == 107
        assert scores[0] == pytest.approx(1, abs=1e-5)
        exact = vectors @ vectors[7]
        assert numbers.tolist() == (100 + np.argsort(-exact)[:5]).tolist()
        assert len(index) == 50

    def test_replaces_and_removes(self, index):
        vectors = unit(3)
        index.add(np.array([1, 2]), vectors[:2])
        index.add(np.array([2]), vectors[2:])
        assert len(index) == 2
        assert index.search(vectors[2], 1)[0].tolist() == [2]
        index.remove(np.array([2, 99]))
        assert index.search(vectors[2], 9)[0].tolist() == [1]

    def test_empty(self, index):
        index.remove(np.array([1]))
        assert [a.tolist() for a in index.search(unit(1)[0], 3)] == [[], []]
        index.add(np.zeros(0, np.int64), np.zeros((0, DIM), np.float32))
        assert len(index) == 0

    @pytest.mark.parametrize(
        ("numbers", "vectors"),
        [([1], np.zeros((1, DIM + 1))), ([1, 2], np.zeros((1, DIM))), ([1, 1], unit(2)), ([1], unit(1) * np.nan)],
    )
    def test_refuses_nonsense(self, index, numbers, vectors):
        with pytest.raises(ValueError, match="must"):
            index.add(np.array(numbers), vectors.astype(np.float32))


class TestFile:
    @pytest.fixture
    def folder(self, tmp_path: Path) -> Path:
        index = FaissIndex(DIM)
        index.add(np.arange(20), unit(20))
        index.save(tmp_path, "encoder", 7, "seven")
        return tmp_path

    def load(self, folder: Path):
        return FaissIndex.load(folder, "encoder", DIM, stamps)

    def test_comes_back(self, folder: Path):
        index, revision = self.load(folder)
        assert (len(index), revision) == (20, 7)
        assert index.search(unit(20)[3], 1)[0].tolist() == [3]
        index.add(np.array([77]), unit(1, seed=9))
        assert index.search(unit(1, seed=9)[0], 1)[0].tolist() == [77]

    def test_absent(self, tmp_path: Path):
        assert self.load(tmp_path / "none") is None

    def test_of_another_encoder_or_archive(self, folder: Path):
        assert FaissIndex.load(folder, "other", DIM, stamps) is None
        assert FaissIndex.load(folder, "encoder", DIM + 1, stamps) is None
        assert FaissIndex.load(folder, "encoder", DIM, lambda revision: "another") is None
        assert FaissIndex.load(folder, "encoder", DIM, lambda revision: "") is None

    @pytest.mark.parametrize("change", ["cut", "longer", "bit", "empty", "gone", "folder"])
    def test_damaged(self, folder: Path, change: str):
        (path,) = folder.glob("*.faiss")
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
            ("file", "x.faiss"),
            ("count", 10**12),
            ("count", -1),
            ("bytes", 5),
            ("format", 2),
        ],
    )
    def test_side_file_hostile(self, folder: Path, field: str, value):
        side = json.loads((folder / SIDE_FILE).read_text())
        (folder / SIDE_FILE).write_text(json.dumps({**side, field: value}))
        assert self.load(folder) is None

    @pytest.mark.parametrize("kind", ["noise", "huge", "unnumbered", "l2", "doubles"])
    def test_well_signed_but_of_another_kind(self, folder: Path, kind: str):
        """Even if the checksum fits, only the structure that is written is taken."""
        (path,) = folder.glob("*.faiss")
        data = bytearray(path.read_bytes())
        if kind == "noise":
            data[:] = np.random.default_rng(0).bytes(len(data))
        elif kind == "huge":  # the count of vectors inside the file
            data[8:16] = (2**60).to_bytes(8, "little")
        else:
            flat = faiss.IndexFlatL2(DIM) if kind == "l2" else faiss.IndexFlatIP(DIM)
            other = flat if kind == "unnumbered" else faiss.IndexIDMap2(flat)
            if kind == "unnumbered":
                other.add(unit(20))
            else:
                other.add_with_ids(unit(20), np.zeros(20, np.int64) if kind == "doubles" else np.arange(20))
            data = bytearray(faiss.serialize_index(other).tobytes())
            data += b"\0" * (20 * (4 * DIM + 8) - len(data))
        path.write_bytes(data)
        side = json.loads((folder / SIDE_FILE).read_text())
        side.update(sha256=hashlib.sha256(data).hexdigest(), bytes=len(data))
        (folder / SIDE_FILE).write_text(json.dumps(side))
        assert self.load(folder) is None


class TestCache:
    def test_keeps_by_encoder(self, tmp_path: Path):
        cache = VectorCache(tmp_path / "v.sqlite", "one", DIM)
        vector = unit(1)[0]
        cache.put({"a": vector})
        cache.put({"a": vector})
        assert (cache.get(["a", "b"])["a"] == vector).all()
        assert VectorCache(tmp_path / "v.sqlite", "two", DIM).get(["a"]) == {}

    @pytest.mark.parametrize("blob", [b"", b"x" * 4 * DIM, np.full(DIM, np.nan, np.float32).tobytes()])
    def test_believes_no_damaged_vector(self, tmp_path: Path, blob: bytes):
        cache = VectorCache(tmp_path / "v.sqlite", "one", DIM)
        cache._db.execute("INSERT INTO vectors VALUES ('one', 'a', ?)", (blob,))
        assert cache.get(["a"]) == {}

    @pytest.mark.parametrize("content", [b"words " * 999, b"SQLite format 3\0" + b"\xff" * 5000])
    def test_damaged_file_begins_anew(self, tmp_path: Path, content: bytes):
        (tmp_path / "v.sqlite").write_bytes(content)
        cache = VectorCache(tmp_path / "v.sqlite", "one", DIM)
        cache.put({"a": unit(1)[0]})
        assert "a" in cache.get(["a"])

    def test_of_another_make_begins_anew(self, tmp_path: Path):
        db = sqlite3.connect(tmp_path / "v.sqlite")
        db.execute("CREATE TABLE vectors (something TEXT)")
        db.close()
        cache = VectorCache(tmp_path / "v.sqlite", "one", DIM)
        cache.put({"a": unit(1)[0]})
        assert "a" in cache.get(["a"])


class TestDense:
    """The index in step with a store."""

    def put(self, store: MemoryCaseStore, **fixes: str) -> None:
        store.put([read_case({"case_id": i, "fix": fix}) for i, fix in fixes.items()], "me")

    def found(self, dense: Dense, store: MemoryCaseStore, query: str) -> list[str]:
        dense.refresh()
        numbers, _ = dense.search(query, 9)
        stored = store.by_number(numbers.tolist())
        return [stored[n].case.case_id for n in numbers.tolist()]

    def test_follows_and_encodes_only_what_is_new(self, tmp_path: Path):
        store, embedder = MemoryCaseStore(), HashingEmbedder()
        dense = Dense(store, embedder, tmp_path)
        self.put(store, A="water pump", B="brake pads")
        assert self.found(dense, store, "water pump")[0] == "A"
        before = embedder.encoded
        self.put(store, C="fuel relay")
        assert self.found(dense, store, "fuel relay")[0] == "C"
        assert embedder.encoded == before + 2  # the case and the query
        self.put(store, A="fuel relay")
        assert set(self.found(dense, store, "fuel relay")[:2]) == {"A", "C"}
        store.delete(["C"], "me")
        assert self.found(dense, store, "fuel relay") == ["A", "B"]

    def test_starts_again_without_encoding(self, tmp_path: Path):
        store = MemoryCaseStore()
        self.put(store, **{f"C{i}": f"fix number {i}" for i in range(60)})
        first = Dense(store, HashingEmbedder(), tmp_path)
        first.refresh()
        first.close()
        for breaking in (lambda: None, lambda: (tmp_path / SIDE_FILE).unlink()):
            breaking()
            embedder = HashingEmbedder()
            again = Dense(store, embedder, tmp_path)
            again.refresh()
            assert (len(again), embedder.encoded) == (60, 0)
            again.close()

    def test_another_encoder_builds_anew(self, tmp_path: Path):
        store = MemoryCaseStore()
        self.put(store, **{f"C{i}": f"fix number {i}" for i in range(60)})
        Dense(store, HashingEmbedder(), tmp_path).refresh()
        other = HashingEmbedder(32)
        dense = Dense(store, other, tmp_path)
        dense.refresh()
        assert (len(dense), other.encoded) == (60, 60)

    def test_another_archive_builds_anew(self, tmp_path: Path):
        for prefix in ("x", "y"):
            store = MemoryCaseStore()
            self.put(store, **{f"{prefix}{i}": f"{prefix} number {i}" for i in range(60)})
            dense = Dense(store, HashingEmbedder(), tmp_path)
            assert {i[0] for i in self.found(dense, store, f"{prefix} number 7")} == {prefix}
            dense.close()

    def test_a_restored_backup_is_noticed_while_running(self, tmp_path: Path):
        store = MemoryCaseStore()
        dense = Dense(store, HashingEmbedder(), tmp_path)
        self.put(store, A="water pump")
        dense.refresh()
        store._versions.clear()
        store._stamps.clear()
        self.put(store, B="fuel relay")
        assert self.found(dense, store, "relay") == ["B"]

    def test_text_of_only_known_languages(self):
        both = read_case({"fix": {"zh": "换水泵", "en": "new pump"}, "symptom": "水温高", "outcome": "fixed it"})
        assert text_of(both, ["en"]) == "new pump\nfixed it"
        assert text_of(read_case({"fix": "换水泵"}), ["en"]) == ""
