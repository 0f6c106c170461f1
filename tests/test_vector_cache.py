"""The cache of vectors: what it keeps, and files that must not be believed."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import numpy as np
import pytest

from knowledge.vector_cache import VectorCache

DIM = 16


def unit() -> np.ndarray:
    vector = np.random.default_rng(0).normal(size=DIM).astype(np.float32)
    return vector / np.linalg.norm(vector)


def test_keeps_by_encoder(tmp_path: Path):
    cache = VectorCache(tmp_path / "v.sqlite", "one", DIM)
    vector = unit()
    cache.put({"a": vector})
    cache.put({"a": vector})
    assert (cache.get(["a", "b"])["a"] == vector).all()
    assert VectorCache(tmp_path / "v.sqlite", "two", DIM).get(["a"]) == {}


@pytest.mark.parametrize("blob", [b"", b"x" * 4 * DIM, np.full(DIM, np.nan, np.float32).tobytes()])
def test_believes_no_damaged_vector(tmp_path: Path, blob: bytes):
    cache = VectorCache(tmp_path / "v.sqlite", "one", DIM)
    cache._db.execute("INSERT INTO vectors VALUES ('one', 'a', ?)", (blob,))
    assert cache.get(["a"]) == {}


@pytest.mark.parametrize("content", [b"words " * 999, b"SQLite format 3\0" + b"\xff" * 5000])
def test_damaged_file_begins_anew(tmp_path: Path, content: bytes):
    (tmp_path / "v.sqlite").write_bytes(content)
    cache = VectorCache(tmp_path / "v.sqlite", "one", DIM)
    cache.put({"a": unit()})
    assert "a" in cache.get(["a"])


def test_of_another_make_begins_anew(tmp_path: Path):
    db = sqlite3.connect(tmp_path / "v.sqlite")
    db.execute("CREATE TABLE vectors (something TEXT)")
    db.close()
    cache = VectorCache(tmp_path / "v.sqlite", "one", DIM)
    cache.put({"a": unit()})
    assert "a" in cache.get(["a"])
