"""The models. Each folder holds one model, its manifest (what it is, measured how) and its card.

Those that yangche ships lie here; those that were promoted on this machine lie in ``YANGCHE_HOME/models``, and
``current_folder`` says which one is served.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from knowledge.text import UserError

SHIPPED = Path(__file__).parent
# In YANGCHE_HOME/models/<name>: {"stack": [the version promoted first, ..., the one served], "events": [...]}
POINTER = "current.json"


class ModelError(UserError):
    """A model that cannot be used as it is."""


class NamingPart(BaseModel):
    """The classifier of crops that stands beside a detector; ``side``: its input in pixels."""

    model_config = ConfigDict(extra="forbid")

    file: str
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    weights: str
    weights_sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    classes: list[str] = Field(min_length=2)
    side: int = Field(gt=0)
    training: dict[str, Any] = Field(default_factory=dict)


class Manifest(BaseModel):
    """``manifest.json`` of a detector.

    ``side``: pixels that the whole photo is brought to for the first look; ``view_width``: the long side that the
    cluster is brought to for the close look; ``thresholds``: per class, with ``default``; ``colors``: those that each
    class is ever lit in; ``naming``: the classifier of crops, if there is one, and ``fusion``: how what both say
    becomes one confidence (``vision.detector.Fusion``).
    """

    model_config = ConfigDict(extra="forbid")

    name: str
    file: str
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    weights: str
    weights_sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    licence: str
    classes: list[str] = Field(min_length=1)
    side: int = Field(gt=0, multiple_of=32)
    view_width: int = Field(gt=0)
    thresholds: dict[str, float]
    colors: dict[str, list[str]] = Field(default_factory=dict)
    naming: NamingPart | None = None
    fusion: dict[str, float] = Field(default_factory=dict)
    training: dict[str, Any]
    figures: dict[str, Any]
    folder: Path = Field(default=Path(), exclude=True)

    def verified(self, file: str | None = None) -> bytes:
        """The content of the model file (or of another one that the manifest names), its checksum compared.

        Raises:
            ModelError: if the file is absent or another one than the manifest was written for.
        """
        sums = {self.file: self.sha256, self.weights: self.weights_sha256}
        if self.naming is not None:
            sums |= {self.naming.file: self.naming.sha256, self.naming.weights: self.naming.weights_sha256}
        name = file or self.file
        return _verified(self.folder / name, sums[name])


def sha256_of(path: Path) -> str:
    """Hex digest of a file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def named_files(content: object) -> dict[str, str]:
    """The files that a manifest's content names, with their checksums.

    Found by their spelling, at any depth: ``file`` beside ``sha256``, and ``KEY`` beside ``KEY_sha256``. So a folder
    with a second model in it is copied and checked whole, whatever that model is for.
    """
    if not isinstance(content, dict):
        return {}
    pairs = [(content.get(key), content.get("sha256" if key == "file" else f"{key}_sha256")) for key in content]
    found = {name: digest for name, digest in pairs if isinstance(name, str) and isinstance(digest, str)}
    for inner in content.values():
        found |= named_files(inner)
    return found


def _remedy(folder: Path) -> tuple[str, str]:
    """What to do about a broken model: one that was promoted here is not mended by installing yangche again."""
    if folder.is_relative_to(SHIPPED):
        return "请重新安装养车", "install yangche again"
    if (folder.parent / POINTER).is_file():
        return (
            "请运行 yangche models rollback 换回上一个模型",
            "go back to the model before it with `yangche models rollback`",
        )
    return "请重新导出这个模型", "export this model again"


def _verified(path: Path, expected: str) -> bytes:
    zh, en = _remedy(path.parent)
    if not path.is_file():
        raise ModelError(
            zh=f"找不到模型文件 {path.name}, {zh}。",
            en=f"The model file {path.name} is missing: {en}.",
        )
    content = path.read_bytes()
    if hashlib.sha256(content).hexdigest() != expected:
        raise ModelError(
            zh=f"模型文件 {path.name} 与清单不符 (可能损坏), {zh}。",
            en=f"The model file {path.name} is not the one its manifest describes (damaged?): {en}.",
        )
    return content


def read_manifest(folder: Path) -> Manifest:
    """The manifest of the model in ``folder``.

    Raises:
        ModelError: if it is absent or breaks the schema.
    """
    path = folder / "manifest.json"
    try:
        manifest = Manifest.model_validate_json(path.read_bytes())
    except (OSError, ValidationError) as error:
        zh, en = _remedy(folder)
        raise ModelError(
            zh=f"读不了模型清单 {folder.name}/manifest.json, {zh}。",
            en=f"The model manifest {folder.name}/manifest.json cannot be read: {en}.",
        ) from error
    return manifest.model_copy(update={"folder": folder})


def current_folder(name: str, home: Path) -> Path:
    """The folder of the model that is served: the one promoted in ``home`` (YANGCHE_HOME), else the shipped one.

    Raises:
        ModelError: if a model was promoted but cannot be found; nothing is served in its place unasked.
    """
    folder = home / "models" / name
    pointer = folder / POINTER
    try:
        stack = json.loads(pointer.read_bytes())["stack"]
        served = folder / stack[-1] if stack else SHIPPED / name
    except FileNotFoundError:
        return SHIPPED / name
    except (OSError, ValueError, KeyError, TypeError, IndexError) as error:
        raise _lost(pointer) from error
    if not (served / "manifest.json").is_file():
        raise _lost(served)
    return served


def _lost(path: Path) -> ModelError:
    zh, en = _remedy(path)
    return ModelError(zh=f"读不了本机的模型 {path}, {zh}。", en=f"This machine's model {path} cannot be read: {en}.")
