"""From words to vectors: the `Embedder` seam, the shipped ONNX encoder, and a fake that hashes."""

from __future__ import annotations

import hashlib
import json
import re
import threading
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from knowledge.lexical import language_of, normalise
from knowledge.text import LANGS, Lang, UserError

if TYPE_CHECKING:
    import onnxruntime
    from tokenizers import Tokenizer

ENCODER = Path(__file__).resolve().parents[1] / "models" / "encoder"
MODEL, TOKENIZER = "model.onnx", "tokenizer.json"  # English
SIGNS_MODEL, SIGNS = "chinese.onnx", "chinese.txt"  # Chinese: the network, and its signs, one a line
THREADS = 2

Vectors = NDArray[np.float32]

_RUNS = re.compile(r"[\u3400-\u4dbf\u4e00-\u9fff]+|[a-z0-9]+(?:\.[0-9]+)?")


class EncoderError(UserError):
    """The encoder's files are absent or not the ones that were shipped."""


class Scale(BaseModel):
    """How an encoder's cosines are to be read; measured by ``training.retrieval measure`` and ``relevance``.

    ``share``: the weight of the cosine beside the share of the query's words, 0..1. ``relevant``: the cosine from which
    a case is more than the least bad.
    """

    model_config = ConfigDict(frozen=True)

    share: float = Field(default=0.5, ge=0, le=1)
    relevant: float = Field(default=0.5, ge=0, le=1)


class Embedder(Protocol):
    """Turns texts into vectors whose dot product is their likeness in meaning."""

    @property
    def name(self) -> str:
        """Changes whenever the vectors would: vectors under one name may be compared and kept."""

    @property
    def dim(self) -> int:
        """Length of a vector."""

    @property
    def languages(self) -> tuple[Lang, ...]:
        """The languages that it understands; asked about others, its vectors mean nothing."""

    @property
    def scale(self) -> Mapping[Lang, Scale]:
        """How its cosines are to be read, by the query's language."""

    def encode(self, texts: Sequence[str]) -> Vectors:
        """float32, shape (len(texts), dim), every row of length 1 (or all zeros for a text that says nothing)."""


def signs(text: str) -> list[str]:
    """What the Chinese half reads of a text: its characters, pairs of neighbours, and Latin words and numbers."""
    found: list[str] = []
    for run in _RUNS.findall(normalise(text)):
        if run[0] < "\u3400":
            found.append(run)
        else:
            found += [*run, *(run[i : i + 2] for i in range(len(run) - 1))]
    return found


class _Files(BaseModel):
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    bytes: int = Field(gt=0)


class EncoderManifest(BaseModel):
    """models/encoder/manifest.json, as far as serving reads it."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    name: str
    dim: int = Field(gt=0, le=4096)
    max_tokens: int = Field(gt=0, le=8192)
    languages: tuple[Lang, ...]
    scale: dict[Lang, Scale]
    files: dict[str, _Files]

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if not {MODEL, TOKENIZER} <= set(self.files):
            raise ValueError(f"files must name {MODEL} and {TOKENIZER}, got {sorted(self.files)}")
        if not set(self.languages) <= set(self.scale):
            raise ValueError(f"scale must name {self.languages}")
        if "zh" in self.languages and not {SIGNS_MODEL, SIGNS} <= set(self.files):
            raise ValueError(f"files must name {SIGNS_MODEL} and {SIGNS}, got {sorted(self.files)}")
        return self


class OnnxEmbedder:
    """The sentence encoder that ships; needs onnxruntime and tokenizers only.

    English goes through a small transformer (``training.encoder``), Chinese through a sum of signs
    (``training.chinese``) that was taught to lie in the same space. Only the manifest is read when it is made; each
    is checked and loaded at its first text.
    """

    def __init__(self, folder: Path = ENCODER) -> None:
        """Read the manifest in ``folder``.

        Raises:
            EncoderError: if it is absent or makes no sense. `encode` raises it if another file is absent or altered.
        """
        self._folder = folder
        try:
            self.manifest = EncoderManifest.model_validate_json((folder / "manifest.json").read_bytes())
        except (OSError, ValidationError) as error:
            raise _damaged(folder) from error
        self._lock = threading.Lock()
        self._english: tuple[onnxruntime.InferenceSession, Tokenizer] | None = None
        self._chinese: tuple[onnxruntime.InferenceSession, dict[str, int]] | None = None

    @property
    def name(self) -> str:
        """The manifest's name and the models' checksums: another export is another encoder."""
        models = [self.manifest.files[name].sha256[:12] for name in (MODEL, SIGNS_MODEL) if name in self.manifest.files]
        return f"{self.manifest.name}@{'+'.join(models)}"

    @property
    def dim(self) -> int:
        """See `Embedder`."""
        return self.manifest.dim

    @property
    def languages(self) -> tuple[Lang, ...]:
        """See `Embedder`."""
        return self.manifest.languages

    @property
    def scale(self) -> Mapping[Lang, Scale]:
        """See `Embedder`."""
        return self.manifest.scale

    def _file(self, name: str) -> bytes:
        """The file's content, if it is the one that the manifest tells of."""
        try:
            data = (self._folder / name).read_bytes()
        except OSError as error:
            raise _damaged(self._folder) from error
        if hashlib.sha256(data).hexdigest() != self.manifest.files[name].sha256:
            raise _damaged(self._folder)
        return data

    def encode(self, texts: Sequence[str]) -> Vectors:
        """See `Embedder`. Texts beyond the encoder's length are cut."""
        vectors = np.zeros((len(texts), self.dim), np.float32)
        for row, text in enumerate(texts):
            chinese = "zh" in self.languages and language_of(text) == "zh"
            vectors[row] = self._of_chinese(text) if chinese else self._of_english(text)
        return vectors

    def _of_english(self, text: str) -> Vectors:
        with self._lock:
            if self._english is None:
                from tokenizers import Tokenizer

                from models.session import open_session

                model, words = self._file(MODEL), self._file(TOKENIZER)
                tokenizer = Tokenizer.from_str(words.decode())
                tokenizer.enable_truncation(self.manifest.max_tokens)
                tokenizer.no_padding()
                self._english = open_session(model, THREADS, spinning=False), tokenizer
            session, tokenizer = self._english
        # One text a run: INT8 activations are scaled by the largest value of a run, so in company a vector would depend
        # on its neighbours; and on two cores a batch is no faster.
        ids = np.array([tokenizer.encode(text).ids], np.int64)
        return np.asarray(session.run(["embedding"], {"input_ids": ids, "attention_mask": np.ones_like(ids)})[0][0])

    def _of_chinese(self, text: str) -> Vectors:
        with self._lock:
            if self._chinese is None:
                from models.session import open_session

                known = self._file(SIGNS).decode().splitlines()
                session = open_session(self._file(SIGNS_MODEL), 1, spinning=False)
                self._chinese = session, {sign: i for i, sign in enumerate(known)}
            session, places = self._chinese
        ids = sorted({places[sign] for sign in signs(text) if sign in places})
        if not ids:
            return np.zeros(self.dim, np.float32)
        return np.asarray(session.run(["embedding"], {"ids": np.array(ids, np.int64)})[0])


class HubEmbedder:
    """Any encoder that sentence-transformers can load, by its name on a model hub or its folder. Needs that package.

    Its scale is a guess that suits encoders trained contrastively: measure before you rely on "nothing like it".
    """

    languages: tuple[Lang, ...] = LANGS
    scale: Mapping[Lang, Scale] = {"zh": Scale(share=0.6, relevant=0.5), "en": Scale(share=0.8, relevant=0.4)}

    def __init__(self, name: str) -> None:
        """Load it.

        Raises:
            EncoderError: if the package is not installed, or there is no such encoder within reach.
        """
        try:
            from sentence_transformers import SentenceTransformer
        except ImportError as error:
            raise EncoderError(
                f"用编码模型 {name} 需要 sentence-transformers：pip install sentence-transformers。",
                f"The encoder {name} needs sentence-transformers: pip install sentence-transformers.",
            ) from error
        try:
            self._model = SentenceTransformer(name)
        except (OSError, ValueError, RuntimeError) as error:
            raise EncoderError(
                f"取不到编码模型 {name}，请检查名字、文件夹或网络。",
                f"Can't load the encoder {name}; check the name, the folder or the network.",
            ) from error
        self.dim = int(self._model.get_embedding_dimension() or 0)
        self.name = f"{name}@{self.dim}"

    def encode(self, texts: Sequence[str]) -> Vectors:
        """See `Embedder`."""
        made = self._model.encode(list(texts), normalize_embeddings=True, show_progress_bar=False)
        return np.asarray(made, np.float32).reshape(len(texts), self.dim)


def open_embedder(name: str = "") -> Embedder:
    """The encoder that ships, or another one by name (the setting YANGCHE_ENCODER)."""
    return HubEmbedder(name) if name else OnnxEmbedder()


def _damaged(folder: Path) -> EncoderError:
    return EncoderError(
        f"语义编码模型的文件缺失或被改动（{folder}），请重新安装养车。",
        f"The sentence encoder's files are missing or altered ({folder}); please install yangche again.",
    )


class HashingEmbedder:
    """A fake for tests: words and character pairs hashed into ``dim`` places. Knows every language a little."""

    languages: tuple[Lang, ...] = ("zh", "en")
    scale: Mapping[Lang, Scale] = {"zh": Scale(share=0.5, relevant=0.3), "en": Scale(share=0.8, relevant=0.3)}

    def __init__(self, dim: int = 64) -> None:
        self.dim = dim
        self.name = f"hashing-{dim}"
        self.encoded = 0  # texts so far, for tests that count

    def encode(self, texts: Sequence[str]) -> Vectors:
        """See `Embedder`."""
        self.encoded += len(texts)
        vectors = np.zeros((len(texts), self.dim), np.float32)
        for row, text in enumerate(texts):
            units = re.findall(r"[a-z0-9]+", text.lower())
            units += [text[i : i + 2] for i in range(len(text) - 1) if text[i] >= "\u3400"]
            for unit in units:
                code = zlib.crc32(unit.encode())
                vectors[row, code % self.dim] += 1 if code & 2**20 else -1
        lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
        return np.asarray(vectors / np.where(lengths == 0, 1, lengths), np.float32)


def read_manifest(folder: Path) -> dict[str, object]:
    """All that manifest.json says, for a command that adds to it."""
    content: dict[str, object] = json.loads((folder / "manifest.json").read_text("utf-8"))
    return content


def write_manifest(folder: Path, manifest: dict[str, object]) -> None:
    """Write manifest.json beside the encoder's files, with their checksums under "files"."""
    files = {}
    for name in (MODEL, TOKENIZER, SIGNS_MODEL, SIGNS):
        if (folder / name).is_file():
            data = (folder / name).read_bytes()
            files[name] = {"sha256": hashlib.sha256(data).hexdigest(), "bytes": len(data)}
    text = json.dumps({**manifest, "files": files}, ensure_ascii=False, indent=2)
    (folder / "manifest.json").write_text(text + "\n", encoding="utf-8")
