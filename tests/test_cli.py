"""The command line as a user runs it: real model, real archive."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest
from PIL import Image

from app import cli
from app.advisor import Advisor

SAMPLE = Path(cli.__file__).parent / "sample.jpg"
LINE_KEYS = ["photo", "kind", "findings", "severity", "verdict", "advice", "fixes", "messages", "mileage_km", "error"]


class Ran(NamedTuple):
    status: int
    out: str
    err: str

    @property
    def lines(self) -> list[dict]:
        return [json.loads(line) for line in self.out.splitlines()]


@pytest.fixture
def yangche(home, monkeypatch, capfd) -> Callable[..., Ran]:
    """Runs the command in this process, in Chinese unless the environment or an option says otherwise."""
    for name in ("LC_ALL", "LC_MESSAGES", "LANG", "YANGCHE_LANG"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("COLUMNS", "100")

    def run(*arguments: object) -> Ran:
        monkeypatch.setattr(sys, "argv", ["yangche", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        out, err = capfd.readouterr()
        return Ran(int(ended.value.code or 0), out, err)

    return run


def test_json_holds_one_line_a_photo_and_nothing_else(yangche, tmp_path):
    text, empty, folder = tmp_path / "text.jpg", tmp_path / "empty.png", tmp_path / "folder"
    text.write_text("no photo")
    empty.touch()
    folder.mkdir()
    photos = [text, SAMPLE, folder, empty, tmp_path / "missing.jpg", SAMPLE]
    ran = yangche("diagnose", *photos, "--json")
    assert ran.status == 1
    assert [line["photo"] for line in ran.lines] == [str(photo) for photo in photos]
    assert all(list(line) == LINE_KEYS for line in ran.lines)
    for line, photo in zip(ran.lines, photos, strict=True):
        if photo == SAMPLE:
            assert line["error"] is None
            assert line["kind"] == "dashboard"
            assert line["findings"]
        else:
            assert line == {**line, "kind": "other", "verdict": "unsure", "advice": [line["error"]], "findings": []}
            assert line["error"].count("。") == 1
            assert "\n" not in line["error"]


def test_confidence_lists_more_and_decides_nothing(yangche):
    (plain,) = yangche("diagnose", SAMPLE, "--json").lines
    (more,) = yangche("diagnose", SAMPLE, "--json", "--confidence", "0.01").lines
    assert len(more["findings"]) >= len(plain["findings"])
    assert all(finding["confidence"] >= 0.01 for finding in more["findings"])
    assert {**more, "findings": None} == {**plain, "findings": None}


@pytest.mark.parametrize("wrong", ["-0.1", "1.5", "nan"])
def test_a_confidence_outside_its_range_is_refused(yangche, wrong):
    ran = yangche("diagnose", SAMPLE, "--confidence", wrong)
    assert (ran.status, ran.out) == (2, "")
    assert wrong in ran.err


def test_the_report_reads_well(yangche, tmp_path):
    ran = yangche("diagnose", SAMPLE, "--out", tmp_path / "out", "--lang", "en")
    assert ran.status == 0
    assert "What to do now" in ran.out
    assert "Lamps seen" in ran.out
    picture = tmp_path / "out" / "sample-annotated.jpg"
    assert str(picture) in ran.out.replace("\n", "")
    with Image.open(picture) as image:
        assert image.format == "JPEG"


def test_photos_of_one_name_keep_both_pictures(yangche, tmp_path):
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        shutil.copyfile(SAMPLE, tmp_path / folder / "IMG_0001.jpg")
    ran = yangche("diagnose", tmp_path / "a/IMG_0001.jpg", tmp_path / "b/IMG_0001.jpg", "--out", tmp_path / "out")
    assert ran.status == 0
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "IMG_0001-2-annotated.jpg",
        "IMG_0001-annotated.jpg",
    ]


def test_a_folder_that_cannot_be_written_is_one_sentence(yangche, tmp_path):
    (tmp_path / "out").write_text("a file")
    ran = yangche("diagnose", SAMPLE, "--out", tmp_path / "out")
    assert ran.status == 1
    assert len(ran.err.strip().splitlines()) == 1


@pytest.mark.parametrize(
    ("variables", "lang"),
    [
        ({}, "zh"),
        ({"LANG": "en_GB.UTF-8"}, "en"),
        ({"LANG": "zh_CN.UTF-8"}, "zh"),
        ({"LANG": "C.UTF-8"}, "zh"),
        ({"LANG": "en_GB.UTF-8", "LC_ALL": "zh_CN.UTF-8"}, "zh"),
        ({"LANG": "zh_CN.UTF-8", "YANGCHE_LANG": "en"}, "en"),
    ],
)
def test_the_environment_chooses_the_language(yangche, monkeypatch, variables, lang):
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert ("找不到" if lang == "zh" else "There is no") in yangche("search", "--queries", "missing.jsonl").err


def test_an_answer_is_taken(yangche):
    (line,) = yangche("diagnose", SAMPLE, "--json").lines
    questions = Advisor.open().diagnose(SAMPLE).verdict.questions
    assert questions, "the sample should show a lamp that raises a question"
    changed = []
    for answer in questions[0].answers:
        (answered,) = yangche("diagnose", SAMPLE, "--json", "--answer", f"{questions[0].id}={answer}").lines
        changed.append(answered["advice"] != line["advice"])
    assert any(changed)


@pytest.mark.parametrize("wrong", ["nonsense", "no_such_question=yes", "={}"])
def test_an_unknown_answer_is_refused(yangche, wrong):
    ran = yangche("diagnose", SAMPLE, "--json", "--answer", wrong)
    assert (ran.status, ran.out) == (2, "")
    assert len(ran.err.strip().splitlines()) == 1


def test_one_photo_that_breaks_the_program_does_not_stop_the_others(yangche, monkeypatch):
    diagnose = Advisor.diagnose

    def breaks_once(self, *arguments, **options):
        monkeypatch.setattr(Advisor, "diagnose", diagnose)
        raise ZeroDivisionError

    monkeypatch.setattr(Advisor, "diagnose", breaks_once)
    ran = yangche("diagnose", SAMPLE, SAMPLE, "--json")
    assert ran.status == 1
    assert [line["error"] is None for line in ran.lines] == [False, True]
    assert "Traceback" not in ran.err


def test_ctrl_c_ends_without_a_traceback(yangche, monkeypatch):
    def interrupted(*_arguments, **_options):
        raise KeyboardInterrupt

    monkeypatch.setattr(Advisor, "diagnose", interrupted)
    ran = yangche("diagnose", SAMPLE)
    assert ran.status == 130
    assert "Traceback" not in ran.err


def test_search_one_query(yangche):
    ran = yangche("search", "engine overheats in traffic", "--json", "-k", "3", "--light", "coolant_temp")
    assert ran.status == 0
    (line,) = ran.lines
    assert line["query"] == "engine overheats in traffic"
    scores = [hit["score"] for hit in line["hits"]]
    assert len(scores) == 3
    assert scores == sorted(scores, reverse=True)
    assert all(isinstance(hit["case_id"], str) and hit["fix"] for hit in line["hits"])


def test_search_a_file_of_queries(yangche, tmp_path):
    file = tmp_path / "queries.jsonl"
    rows = [{"query_id": "a", "query": "水温高"}, {"query_id": "b", "query": "P0420"}]
    file.write_text("\n".join(json.dumps(row) for row in rows) + "\n\n", "utf-8")
    ran = yangche("search", "--queries", file, "--json")
    assert [line["query_id"] for line in ran.lines] == ["a", "b"]
    assert all(len(line["hits"]) == 10 for line in ran.lines)
    readable = yangche("search", "水温高")
    assert readable.status == 0
    assert "词语相符：水温" in readable.out


def test_one_bad_query_does_not_stop_the_others(yangche, tmp_path):
    file = tmp_path / "queries.jsonl"
    file.write_text('{"query_id": "a", "query": "  "}\n{"query_id": "b", "query": "P0420"}\n', "utf-8")
    ran = yangche("search", "--queries", file, "--json")
    assert ran.status == 1
    assert [(line["query_id"], bool(line["hits"])) for line in ran.lines] == [("a", False), ("b", True)]
    assert ran.err.strip()


@pytest.mark.parametrize(
    "arguments", [[], ["words", "--queries", "file.jsonl"], ["--queries", "missing.jsonl"], ["words", "-k", "0"]]
)
def test_a_search_that_makes_no_sense_is_refused(yangche, arguments):
    ran = yangche("search", *arguments)
    assert ran.status in {1, 2}
    assert ran.out == ""
    assert "Traceback" not in ran.err


def test_the_archive_from_empty_to_export(yangche, tmp_path):
    assert yangche("archive", "init", "--empty").status == 0
    assert yangche("archive", "stats", "--json").lines[0]["cases"] == 0
    file = tmp_path / "cases.csv"
    file.write_text("case_id,symptom,fix\nX-1,漏油,换油底壳垫片\nX-2,no fix,\nX-3,oil leak,new gasket\n", "utf-8")
    (report,) = yangche("archive", "import", file, "--json", "--lang", "en").lines
    assert {**report, "refused": [row["line"] for row in report["refused"]]} == {
        "taken": 2,
        "updated": 0,
        "unchanged": 0,
        "refused": [3],
        "masked": 0,
        "alike": [],
    }
    again = yangche("archive", "import", file)
    assert "未变 2 行" in again.out
    assert "第 3 行" in again.out
    assert yangche("archive", "export", tmp_path / "all.jsonl").status == 0
    kept = [json.loads(line) for line in (tmp_path / "all.jsonl").read_text("utf-8").splitlines()]
    assert {row["case_id"] for row in kept} == {"X-1", "X-3"}
    (found,) = yangche("search", "漏油", "--json").lines
    assert found["hits"][0]["case_id"] == "X-1"


def test_a_file_that_cannot_be_imported_is_one_sentence(yangche, tmp_path):
    ran = yangche("archive", "import", tmp_path / "missing.csv")
    assert ran.status == 1
    assert len(ran.err.strip().splitlines()) == 1


def test_errors_speak_the_language_that_was_asked_for(yangche, tmp_path):
    assert "missing.csv" in yangche("archive", "import", tmp_path / "missing.csv", "--lang", "en").err
    assert yangche("archive", "import", tmp_path / "missing.csv", "--lang", "en").err.isascii()
    assert not yangche("archive", "import", tmp_path / "missing.csv").err.isascii()


def test_a_new_home_holds_the_starter_cases(yangche):
    assert yangche("archive", "stats", "--json").lines[0]["cases"] >= 80


def test_the_catalogue_is_sound(yangche):
    assert yangche("catalogue", "check").status == 0


def test_bench_tells_all_figures(yangche):
    ran = yangche("bench", "--json", "--cases", "50")
    assert ran.status == 0, ran.err
    (figures,) = ran.lines
    assert set(figures) == {"diagnose", "search", "start_s", "peak_rss_mb"}
    assert figures["diagnose"]["p50_ms"] >= figures["diagnose"]["model_p50_ms"] > 0
    assert figures["search"]["cases"] == 50
    assert figures["search"]["p50_ms"] > 0
    assert figures["start_s"] > 0
    assert figures["peak_rss_mb"] > 50


@pytest.mark.parametrize(
    "command", [[], ["diagnose"], ["search"], ["archive"], ["archive", "import"], ["web"], ["bench"]]
)
def test_help_is_there(yangche, command):
    ran = yangche(*command, "--help")
    assert ran.status == 0
    assert "--help" in ran.out


def test_an_unknown_option_is_a_usage_error(yangche):
    ran = yangche("diagnose", SAMPLE, "--no-such-option")
    assert ran.status == 2
    assert "Traceback" not in ran.err
