"""`yangche archive` and `yangche code` as a technician uses them: each command in a process of its own."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.commands import Ran, yangche


@pytest.fixture
def run(tmp_path: Path):
    def one(*arguments: object, lang: str = "en") -> Ran:
        return yangche(*arguments, home=tmp_path / "home", lang=lang)

    return one


def test_a_repair_from_photo_to_confirmation(run, tmp_path: Path):
    photo = tmp_path / "diagnosis.json"
    findings = [{"label": "check_engine"}, {"label": "check_engine"}]
    told = {"kind": "dashboard", "findings": findings, "messages": [{"text": "Code P0335"}], "mileage_km": 83000}
    photo.write_text(json.dumps(told), "utf-8")
    added = run(
        "archive", "add", "--from", photo, "--symptom", "热车熄火，凉了又能着", "--brand", "别克", "--fix",
        "更换曲轴位置传感器，车主电话 138-1234-5678", "--hours", "1.5", "--by", "李师傅", "--json",
    )  # fmt: skip
    assert added.status == 0, added.err
    case = added.json
    assert (case["lights"], case["codes"], case["mileage_km"]) == (["check_engine"], ["P0335"], 83000)
    assert (case["labour_hours"], case["entered_by"]) == (1.5, "李师傅")
    assert "1234" not in case["fix"]
    case_id = case["case_id"]
    assert case_id[14] == "7"  # UUIDv7

    found = run("search", "热车开一会就灭火，凉透才打得着", "--json").json
    assert case_id in found["groups"][0]["case_ids"]
    assert "曲轴位置传感器" in found["groups"][0]["title"] or "crankshaft" in found["groups"][0]["title"]

    confirmed = run("archive", "confirm", case_id, "worked", "--by", "王师傅", "--json").json
    again = run("search", "热车开一会就灭火，凉透才打得着").out
    assert "1 confirmed" in again
    edited = run("archive", "add", "--id", case_id, "--outcome", "没有再犯", "--json").json
    assert (edited["outcome"], edited["brand"]) == ("没有再犯", "别克")
    history = run("archive", "history", case_id, "--json").json
    assert [version["case"]["outcome"] for version in history["versions"]] == ["", "没有再犯"]
    assert [report["by"] for report in history["confirmations"]] == ["王师傅"]
    assert "王师傅" in run("archive", "history", case_id).out
    assert run("archive", "withdraw", confirmed["confirmation_id"]).status == 0
    assert run("archive", "withdraw", confirmed["confirmation_id"]).status == 1


def test_import_masks_and_offers_duplicates(run, tmp_path: Path):
    assert run("archive", "template", tmp_path / "t.csv").status == 0
    first = run("archive", "import", tmp_path / "t.csv", "--json").json
    assert (first["taken"], first["refused"]) == (1, [])
    rows = [
        {"case_id": "X", "symptom": "水温高，下大雨后空调也不凉", "fix": "换电子扇，联系 13912345678"},
        {"case_id": "Y", "symptom": "水温高，下大雨后空调也不凉了", "fix": "换电子扇"},
    ]
    (tmp_path / "a.jsonl").write_text("\n".join(map(json.dumps, rows)), "utf-8")
    report = run("archive", "import", tmp_path / "a.jsonl", "--json").json
    assert report["masked"] == 1
    assert [(pair["kept"], pair["other"]) for pair in report["alike"]] == [("X", "Y")]
    assert "archive merge X Y" in run("archive", "duplicates").out
    assert run("archive", "merge", "X", "Y", "--by", "me").status == 0
    assert run("archive", "history", "Y", "--json").json["versions"][-1]["deleted"]
    assert run("archive", "restore", "Y").status == run("archive", "delete", "Y").status == 0

    check = run("archive", "check", "--json").json
    assert check["good"]
    assert check["cases"] == run("archive", "stats", "--json").json["cases"]
    assert run("archive", "backup", tmp_path / "copy.sqlite").status == 0
    assert (tmp_path / "copy.sqlite").stat().st_size > 10_000
    assert run("archive", "rebuild").status == 0


@pytest.mark.parametrize(
    "arguments",
    [
        ("confirm", "no-such", "worked"),
        ("confirm", "S-0001", "perhaps"),
        ("history", "no-such"),
        ("merge", "S-0001", "S-0001"),
        ("add", "--symptom", "no fix"),
        ("add", "--fix", "x", "--from", "no-such.json"),
        ("backup", "/no/such/folder/copy.sqlite"),
        ("template", "a.pdf"),
    ],
)
@pytest.mark.parametrize("lang", ["zh", "en"])
def test_a_mistake_gets_one_sentence(run, arguments: tuple[str, ...], lang: str):
    ran = run("archive", *arguments, lang=lang)
    assert ran.status == 1
    assert len(ran.err.strip().splitlines()) == 1
    assert any("\u4e00" <= sign <= "\u9fff" for sign in ran.err) == (lang == "zh")


def test_a_fault_code_is_looked_up(run):
    told = run("code", "p0420", "--json").json
    assert told["code"] == "P0420"
    asked = run("code", "P1101")
    assert asked.status == 0
    assert "make" in asked.out.lower()
    assert run("code", "hello").status == 1
