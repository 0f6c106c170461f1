"""Cases: what a row may look like, what a store promises, and files that people bring."""

from __future__ import annotations

import dataclasses
import json
import sqlite3
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import sqlalchemy as sa
from openpyxl import Workbook, load_workbook
from sqlalchemy.dialects import postgresql

from knowledge import sql_store
from knowledge.archive import (
    Archive,
    ArchiveError,
    Case,
    CaseStore,
    ImportReport,
    MemoryCaseStore,
    SqlCaseStore,
    StoreError,
    words,
)
from knowledge.case import COLUMNS, RowError, read_case
from knowledge.text import Text

STARTER = [
    {"case_id": "S-0001", "source": "starter", "lights": ["oil_pressure"], "fix": {"zh": "换机油泵", "en": "Oil pump"}},
    {"case_id": "S-0002", "source": "starter", "codes": ["P0420"], "fix": {"zh": "换三元催化", "en": "Catalyst"}},
    {"case_id": "S-0003", "source": "starter", "fix": {"zh": "换节温器", "en": "New thermostat"}},
]


@pytest.fixture
def starter(tmp_path: Path) -> Path:
    path = tmp_path / "starter.jsonl"
    path.write_text("\n".join(json.dumps(row) for row in STARTER), encoding="utf-8")
    return path


@pytest.fixture(params=["sqlite", "memory"])
def store(request, tmp_path: Path):
    made: CaseStore = SqlCaseStore(tmp_path / "a.sqlite") if request.param == "sqlite" else MemoryCaseStore()
    yield made
    made.close()


@pytest.fixture
def archive(tmp_path: Path) -> Archive:
    return Archive.init(tmp_path / "home", empty=True)


def case(case_id: str = "A", fix: str = "换火花塞", **fields) -> Case:
    return read_case({"case_id": case_id, "fix": fix, **fields})


def write(path: Path, content: str | bytes) -> Path:
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def test_every_field_of_a_case_has_column_names():
    assert set(COLUMNS) == set(Case.model_fields)
    names = [name for aliases in COLUMNS.values() for name in aliases]
    assert len(names) == len(set(names))


@pytest.mark.parametrize(
    ("field", "raw", "value"),
    [
        ("model_year", "2015", 2015),
        ("model_year", "２０１５款", 2015),
        ("model_year", "15款", 2015),
        ("model_year", 2015.0, 2015),
        ("model_year", None, None),
        ("model_year", " ", None),
        ("mileage_km", "12,000", 12_000),
        ("mileage_km", "12万", 120_000),
        ("mileage_km", "约8.5万公里", 85_000),
        ("mileage_km", "12000km", 12_000),
        ("mileage_km", "80k", 80_000),
        ("mileage_km", "80k km", 80_000),
        ("mileage_km", "100 miles", 161),
        ("mileage_km", 0, 0),
        ("lights", "abs、check-engine;tpms oil_pressure,,ABS", ("abs", "check_engine", "tpms", "oil_pressure")),
        ("lights", ["abs", "tpms"], ("abs", "tpms")),
        ("codes", "p0420，Ｐ０３００", ("P0420", "P0300")),
        ("series", 3008.0, "3008"),
        ("brand", "  大众 \n 汽车 ", "大众 汽车"),
        ("symptom", {"zh": "熄火", "en": "stalls"}, Text(zh="熄火", en="stalls")),
        ("symptom", {"zh": "熄火"}, "熄火"),
        ("parts", ["泵", "垫"], "泵\n垫"),
        ("outcome", "好\x07了", "好 了"),
    ],
)
def test_values_are_understood(field, raw, value):
    assert getattr(case(**{field: raw}), field) == value


@pytest.mark.parametrize(
    "row",
    [
        {},
        {"fix": "  "},
        {"fix": {"zh": "", "en": ""}},
        {"fix": "x", "model_year": "去年"},
        {"fix": "x", "model_year": "20150"},
        {"fix": "x", "model_year": "1234"},
        {"fix": "x", "mileage_km": "很多"},
        {"fix": "x", "mileage_km": "-5"},
        {"fix": "x", "mileage_km": "9" * 30},
        {"fix": "x", "mileage_km": True},
        {"fix": "x\0y"},
        {"fix": "x\ud800y"},
        {"fix": "坏\ufffd"},
        {"fix": "x" * 20_001},
        {"fix": "x", "case_id": "c" * 201},
        {"fix": {"zh": "x", "fr": "y"}},
        {"fix": "x", "lights": {"a": 1}},
        {"fix": "x", "lights": ",".join(map(str, range(99)))},
        {"fix": "x", "brand": ["大众"]},
    ],
)
def test_bad_rows_are_refused_in_both_languages(row):
    with pytest.raises(RowError) as refused:
        read_case(row)
    assert refused.value.text.zh != refused.value.text.en


def test_a_row_without_id_gets_one_from_its_content():
    one, same, other = (read_case({"fix": fix}) for fix in ("a", " a ", "b"))
    assert one.case_id == same.case_id != other.case_id


class TestStore:
    def test_writes_edits_and_history(self, store: CaseStore):
        assert store.put([case("A"), case("B")], "me") == ["taken", "taken"]
        assert store.put([case("A"), case("B", "换线圈")], "you") == ["unchanged", "updated"]
        assert store.count() == 2
        assert [(s.case.fix, s.author) for s in store.history("B")] == [("换火花塞", "me"), ("换线圈", "you")]
        assert store.history("nobody") == []
        assert store.get("nobody") is None

    def test_revision_and_stamp_tell_batches_apart(self, store: CaseStore):
        assert (store.revision(), store.stamp(0), list(store.changes())) == (0, "", [])
        store.put([case("A"), case("B")], "me")
        first = store.revision()
        store.put([case("A")], "me")
        assert store.revision() == first == 1, "a batch that changes nothing is none"
        store.put([case("C"), case("A", "换线圈")], "me")
        assert [s.case.case_id for s in store.changes(first)] == ["A", "C"]
        assert store.stamp(1)
        assert store.stamp(1) != store.stamp(2)
        assert store.stamp(3) == ""

    def test_deletion_is_marked_and_can_be_undone(self, store: CaseStore):
        store.put([case("A"), case("B")], "me")
        assert store.delete(["A", "nobody"], "me") == 1
        assert store.delete(["A"], "me") == 0
        assert store.count() == 1
        assert store.put([case("A", "anew")], "me") == ["deleted"]
        assert [(s.case.case_id, s.deleted) for s in store.changes(1)] == [("A", True)]
        assert store.restore(["A"], "me") == 1
        assert store.get("A").case == case("A")
        assert [s.deleted for s in store.history("A")] == [False, True, False]

    def test_numbers_stay(self, store: CaseStore):
        store.put([case("A"), case("B")], "me")
        number = store.get("A").number
        store.put([case("A", "other")], "me")
        assert store.by_number([number, 999])[number].case.fix == "other"

    def test_versions_by_others_are_left_alone(self, store: CaseStore):
        store.put([case("A"), case("B")], "starter")
        store.put([case("A", "edited")], "me")
        assert store.put([case("A", "v2"), case("B", "v2")], "starter", replacing=("starter",)) == [
            "unchanged",
            "updated",
        ]

    def test_a_batch_holds_each_id_once(self, store: CaseStore):
        with pytest.raises(ValueError, match="each case_id once"):
            store.put([case("A"), case("A", "other")], "me")
        assert store.count() == 0

    def test_notes(self, store: CaseStore):
        assert store.note("x") == ""
        assert (store.note("x", "1"), store.note("x", "2"), store.note("x")) == ("1", "2", "2")


class TestSqlite:
    def test_is_durable(self, tmp_path: Path):
        store = SqlCaseStore(tmp_path / "a.sqlite")
        with store._writing() as db:
            assert db.exec_driver_sql("PRAGMA journal_mode").scalar() == "wal"
            assert db.exec_driver_sql("PRAGMA synchronous").scalar() == 2  # FULL

    def test_a_failing_batch_leaves_nothing(self, tmp_path: Path, monkeypatch):
        store = SqlCaseStore(tmp_path / "a.sqlite")
        cases = [case("A"), case("B")]
        monkeypatch.setattr(Case, "body", lambda self: 1 / 0 if self.case_id == "B" else self.model_dump_json())
        with pytest.raises(ZeroDivisionError):
            store.put(cases, "me")
        assert (store.count(), store.revision()) == (0, 0)
        monkeypatch.undo()
        assert store.put(cases, "me") == ["taken", "taken"]

    def test_changes_come_in_pages(self, tmp_path: Path, monkeypatch):
        monkeypatch.setattr("knowledge.sql_store.PAGE", 3)
        store = SqlCaseStore(tmp_path / "a.sqlite")
        for start in (0, 5):
            store.put([case(f"C{i}") for i in range(start, start + 5)], "me")
        assert [s.case.case_id for s in store.changes()] == [f"C{i}" for i in range(10)]
        assert [s.case.case_id for s in store.changes(1)] == [f"C{i}" for i in range(5, 10)]

    def test_threads_write_at_once(self, tmp_path: Path):
        store = SqlCaseStore(tmp_path / "a.sqlite")

        def work(name: int) -> None:
            for i in range(10):
                store.put([case(f"{name}-{i}")], str(name))
                assert store.count() > 0

        threads = [threading.Thread(target=work, args=(n,)) for n in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert store.count() == store.revision() == 60

    def test_two_processes_set_up_and_write_at_once(self, tmp_path: Path):
        code = (
            "import sys; from pathlib import Path; from knowledge.archive import SqlCaseStore;"
            "from knowledge.case import read_case;"
            "s = SqlCaseStore(Path(sys.argv[1]));"
            "[s.put([read_case({'case_id': f'{sys.argv[2]}-{i}', 'fix': 'x'})], 'p') for i in range(25)]"
        )
        arguments = [sys.executable, "-c", code, str(tmp_path / "a.sqlite")]
        both = [subprocess.Popen([*arguments, name], cwd=Path(__file__).parents[1]) for name in "ab"]
        assert [process.wait(timeout=120) for process in both] == [0, 0]
        store = SqlCaseStore(tmp_path / "a.sqlite")
        assert store.count() == store.revision() == 50

    @pytest.mark.parametrize(
        "content", [b"not a database at all, only words" * 50, b"SQLite format 3\0" + b"\xff" * 5000]
    )
    def test_a_damaged_file_is_told(self, tmp_path: Path, content: bytes):
        with pytest.raises(StoreError) as error:
            SqlCaseStore(write(tmp_path / "a.sqlite", content))
        assert "a.sqlite" in error.value.text.zh

    def test_a_newer_file_is_told(self, tmp_path: Path):
        SqlCaseStore(tmp_path / "a.sqlite").close()
        db = sqlite3.connect(tmp_path / "a.sqlite")
        db.execute("INSERT INTO schema_version VALUES (999, 'future', '')")
        db.commit()
        db.close()
        with pytest.raises(StoreError, match="newer yangche"):
            SqlCaseStore(tmp_path / "a.sqlite")

    def test_a_file_in_the_way_is_told(self, tmp_path: Path):
        write(tmp_path / "home", "a file")
        with pytest.raises(StoreError):
            SqlCaseStore(tmp_path / "home" / "a.sqlite")


def test_tables_and_statements_are_portable_sql():
    """The same definitions must make sense to the engine that larger archives will stand on."""
    dialect = postgresql.dialect()
    for table in sql_store.META.sorted_tables:
        assert "CREATE TABLE" in str(sa.schema.CreateTable(table).compile(dialect=dialect))
        for index in table.indexes:
            assert "CREATE INDEX" in str(sa.schema.CreateIndex(index).compile(dialect=dialect))
    query = sa.select(*sql_store._STORED).where(sql_store.CASES.c.number.in_([1, 2])).limit(3)
    assert "LIMIT" in str(query.compile(dialect=dialect))


class TestStarter:
    def test_comes_with_a_new_archive_once(self, tmp_path: Path, starter: Path):
        for _ in range(2):
            archive = Archive.open(tmp_path / "home", starter)
            assert archive.stats() == {
                "cases": 3, "starter": 3, "own": 0, "deleted": 0, "confirmations": 0, "revision": 1
            }  # fmt: skip
            archive.close()

    def test_empty_stays_empty_and_keeps_the_shops_cases(self, tmp_path: Path, starter: Path):
        archive = Archive.open(tmp_path / "home", starter)
        archive.add(case("own"), "me")
        archive.close()
        Archive.init(tmp_path / "home", empty=True).close()
        archive = Archive.open(tmp_path / "home", starter)
        assert (archive.stats()["cases"], archive.stats()["own"]) == (1, 1)
        archive.close()
        archive = Archive.init(tmp_path / "home", starter=starter)
        assert (archive.stats()["cases"], archive.stats()["own"]) == (4, 1)

    def test_a_new_release_corrects_what_nobody_edited(self, tmp_path: Path, starter: Path):
        archive = Archive.open(tmp_path / "home", starter)
        archive.add(case("S-0001", "ours"), "me")
        archive.delete(["S-0003"], "me")
        rows = [{**row, "fix": f"v2 {row['case_id']}"} for row in STARTER] + [{"case_id": "S-0004", "fix": "new"}]
        write(starter, "\n".join(map(json.dumps, rows)))
        archive = Archive.open(tmp_path / "home", starter)
        fixes = {s.case.case_id: s.case.fix for s in archive.store.changes() if not s.deleted}
        assert fixes == {"S-0001": "ours", "S-0002": "v2 S-0002", "S-0004": "new"}

    def test_the_shipped_file_is_whole(self, tmp_path: Path):
        archive = Archive.open(tmp_path / "home")
        cases = [s.case for s in archive.store.changes()]
        assert len(cases) >= 80
        for starter_case in cases:
            assert starter_case.source == "starter"
            assert isinstance(starter_case.fix, Text)
            assert isinstance(starter_case.symptom, Text)
            assert words(starter_case.fix, "zh") != words(starter_case.fix, "en")


JSONL = [
    {
        "case_id": "A",
        "fix": "换节气门",
        "lights": ["check_engine"],
        "codes": "P2101",
        "model_year": "2015",
        "colour": 1,
    },
    {"fix": "清洗喷油嘴", "brand": "大众"},
]


class TestImport:
    def test_twice_changes_nothing(self, archive: Archive, tmp_path: Path):
        path = write(tmp_path / "a.jsonl", "\n".join(json.dumps(row) for row in [*JSONL, JSONL[1]]))
        first = archive.import_file(path)
        assert dataclasses.replace(first, new=()) == ImportReport(2, 0, 1, (), ("colour",))
        assert len(first.new) == 2
        revision = archive.store.revision()
        assert archive.import_file(path) == ImportReport(0, 0, 3, (), ("colour",))
        assert archive.store.revision() == revision
        assert archive.store.get("A").case.codes == ("P2101",)

    def test_updates_keep_the_earlier_version(self, archive: Archive, tmp_path: Path):
        for fix in ("old", "new"):
            report = archive.import_file(write(tmp_path / "a.jsonl", json.dumps({"case_id": "A", "fix": fix})))
        assert (report.taken, report.updated) == (0, 1)
        assert [s.case.fix for s in archive.store.history("A")] == ["old", "new"]

    def test_bad_lines_of_jsonl_stop_nothing(self, archive: Archive, tmp_path: Path):
        lines = [
            json.dumps(JSONL[0]).encode(),
            b"{broken",
            b"[1, 2]",
            b"",
            b'{"symptom": "no fix"}',
            b'{"fix": "x", "model_year": "soon"}',
            b'{"fix": "bad \xff byte in a file of UTF-8: \xe5\x8f\x91\xe5\x8a\xa8\xe6\x9c\xba"}',
            b'{"fix": "nul \\u0000"}',
            b"[" * 100_000,
            b'{"fix": "x", "mileage_km": ' + b"9" * 5000 + b"}",
            b'{"case_id": "A", "fix": "another A"}',
            b'{"fix": "' + b"y" * 2**20 + b'"}',
            '{"维修方法": "换机油", "repair": "twice"}'.encode(),
            '{"维修方法": "换机油"}'.encode(),
        ]
        report = archive.import_file(write(tmp_path / "a.jsonl", b"\r\n".join(lines)))
        assert (report.taken, report.updated, report.unchanged) == (2, 0, 0)
        assert [refusal.line for refusal in report.refused] == [2, 3, 5, 6, 7, 8, 9, 10, 11, 12, 13]

    @pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "gb18030", "utf-16"])
    @pytest.mark.parametrize("separator", [",", ";", "\t"])
    def test_csv_of_many_kinds(self, archive: Archive, tmp_path: Path, encoding: str, separator: str):
        rows = [
            ["编号", "品牌", "年款", "故障灯", "维修方法"],
            ["K1", "大众", "2015", '"abs、tpms"', '"换传感器\r\n再标定"'],
        ]
        text = "\r\n".join(separator.join(row) for row in rows) + "\r\n"
        report = archive.import_file(write(tmp_path / "a.CSV", text.encode(encoding)))
        assert (report.taken, report.refused) == (1, ())
        taken = archive.store.get("K1").case
        assert (taken.brand, taken.model_year, taken.lights) == ("大众", 2015, ("abs", "tpms"))
        assert taken.fix.split() == ["换传感器", "再标定"]

    def test_bad_rows_of_csv_stop_nothing(self, archive: Archive, tmp_path: Path):
        text = (
            'case_id,fix,notes\nA,"line one\nline two",n\nB,too few\n\nC,too,many,cells\nD,,n\n'
            f"E,{'x' * 21_000},n\nF,{'x' * 2**21},n\nG,good,n\nH,nul\0,n\nA,other,n\n"
        )
        report = archive.import_file(write(tmp_path / "a.csv", text))
        assert report.taken == 2
        assert report.ignored == ("notes",)
        assert [refusal.line for refusal in report.refused] == [4, 6, 7, 8, 9, 11, 12]

    def test_one_damaged_byte_does_not_change_the_rest(self, archive: Archive, tmp_path: Path):
        text = "case_id,fix\nA,更换火花塞\nB,换#垫\nC,更换机油滤清器\n".encode().replace(b"#", b"\xff")
        report = archive.import_file(write(tmp_path / "a.csv", text))
        assert (report.taken, [r.line for r in report.refused]) == (2, [3])
        assert archive.store.get("C").case.fix == "更换机油滤清器"

    def test_xlsx(self, archive: Archive, tmp_path: Path):
        book = Workbook()
        for row in (
            ["case_id", "series", "model_year", "mileage_km", "fix", None],
            [17, 3008, 2015, 12000.0, "换水泵", "beyond"],
            [None] * 6,
            ["B", None, "soon", None, "x", None],
            ["C", None, None, None, None, None],
        ):
            book.active.append(row)
        book.save(tmp_path / "a.xlsx")
        report = archive.import_file(tmp_path / "a.xlsx")
        assert (report.taken, [r.line for r in report.refused]) == (1, [4, 5])
        taken = archive.store.get("17").case
        assert (taken.series, taken.model_year, taken.mileage_km) == ("3008", 2015, 12_000)

    @pytest.mark.parametrize(
        ("name", "content"),
        [
            ("absent.csv", None),
            ("a.pdf", b"x"),
            ("noending", b"x"),
            ("empty.csv", b""),
            ("empty.jsonl", b"\xef\xbb\xbf \r\n\n"),
            ("empty.xlsx", b""),
            ("words.xlsx", b"only words"),
            ("zip.xlsx", b"PK\x05\x06" + b"\0" * 18),
            ("nofix.csv", b"case_id,brand\nA,VW\n"),
            ("twice.csv", b"fix,repair\na,b\n"),
            ("header.csv", b"case_id,fix\n"),
            ("long.csv", b"f" * 2**21),
        ],
    )
    def test_hopeless_files_get_one_sentence(self, archive: Archive, tmp_path: Path, name: str, content):
        path = tmp_path / name
        if content is not None:
            path.write_bytes(content)
        with pytest.raises(ArchiveError) as error:
            archive.import_file(path)
        assert name in error.value.text.zh
        assert name in error.value.text.en
        assert archive.store.count() == 0

    def test_a_folder_and_a_deleted_case(self, archive: Archive, tmp_path: Path):
        (tmp_path / "f.csv").mkdir()
        with pytest.raises(ArchiveError):
            archive.import_file(tmp_path / "f.csv")
        path = write(tmp_path / "a.jsonl", json.dumps(JSONL[0]))
        archive.import_file(path)
        archive.delete(["A"], "me")
        report = archive.import_file(path)
        assert [(r.line, "deleted" in r.reason.en) for r in report.refused] == [(1, True)]


@pytest.mark.parametrize("ending", ["jsonl", "csv", "xlsx"])
def test_export_and_import_lose_nothing(tmp_path: Path, starter: Path, ending: str):
    archive = Archive.open(tmp_path / "one", starter)
    archive.add(
        case("=1+1", "=cmd|'/c calc'!A1", symptom='-抖动\n"引号", 逗号', mileage_km=5, lights="abs,tpms", brand="'+x"),
        "me",
    )
    archive.add(case("gone"), "me")
    archive.delete(["gone"], "me")
    file = tmp_path / f"out.{ending}"
    assert archive.export_file(file) == 4
    if ending == "csv":
        assert file.read_bytes().startswith(b"\xef\xbb\xbf")
        assert ",'=cmd" in file.read_text("utf-8-sig")
    if ending == "xlsx":
        assert "f" not in {cell.data_type for row in load_workbook(file)["cases"].iter_rows() for cell in row}
    other = Archive.init(tmp_path / "two", empty=True)
    assert other.import_file(file).taken == 4
    before = {s.case.case_id: s.case for s in archive.store.changes() if not s.deleted}
    assert {s.case.case_id: s.case for s in other.store.changes()} == before
    assert [p.name for p in tmp_path.glob(".out*")] == []


def test_export_to_nowhere_is_told(archive: Archive, tmp_path: Path):
    for name in ("a.pdf", "no/such/folder/a.csv"):
        with pytest.raises(ArchiveError):
            archive.export_file(tmp_path / name)
