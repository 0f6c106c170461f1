"""The index in step with a store."""

from __future__ import annotations

from pathlib import Path

from knowledge.archive import MemoryCaseStore
from knowledge.case import read_case
from knowledge.dense import Dense, texts_of
from knowledge.embed import HashingEmbedder
from knowledge.index import SIDE_FILE


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
        assert texts_of(both, ["en"]) == {"en": "new pump\nfixed it"}
        assert texts_of(both, ["zh", "en"]) == {"zh": "水温高\n换水泵", "en": "new pump\nfixed it"}
        assert texts_of(read_case({"fix": "换水泵"}), ["en"]) == {}

    def test_a_case_in_two_languages_is_found_by_either_and_once(self, tmp_path: Path):
        store = MemoryCaseStore()
        store.put([read_case({"case_id": "A", "fix": {"zh": "换水泵", "en": "new pump"}})], "me")
        dense = Dense(store, HashingEmbedder(), tmp_path)
        assert self.found(dense, store, "换水泵") == self.found(dense, store, "new pump") == ["A"]
        assert len(dense) == 2
        assert dense.compare(10) == 0

    def test_compare_tells_what_differs(self, tmp_path: Path):
        store = MemoryCaseStore()
        self.put(store, A="water pump", B="brake pads", C="spark plugs")
        dense = Dense(store, HashingEmbedder(), tmp_path)
        dense.refresh()
        dense._index.remove(dense._index.numbers()[:1])
        assert dense.compare(10) == 1
        dense._index.add(dense._index.numbers()[:1], HashingEmbedder().encode(["something else"]))
        assert dense.compare(10) == 2
