"""The shipped models. Each folder holds one model, its manifest (what it is, measured how) and its card."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from knowledge.text import UserError


class ModelError(UserError):
    """A model that cannot be used as it is."""


class Manifest(BaseModel):
    """``manifest.json`` of a detector.

    ``side``: the model's input in pixels; ``view_width``: the long side that the cluster is brought to for the close
    look; ``overlap``: pixels that neighbouring tiles share; ``thresholds``: per class, with ``default``; ``colors``:
    those that each class is ever lit in.
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
    overlap: int = Field(ge=0)
    thresholds: dict[str, float]
    colors: dict[str, list[str]] = Field(default_factory=dict)
    training: dict[str, Any]
    figures: dict[str, Any]
    folder: Path = Field(default=Path(), exclude=True)

    def verified(self) -> bytes:
        """The model file's content, after its checksum was compared."""
        return _verified(self.folder / self.file, self.sha256)


def sha256_of(path: Path) -> str:
    """Hex digest of a file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _verified(path: Path, expected: str) -> bytes:
    if not path.is_file():
        raise ModelError(
            zh=f"找不到模型文件 {path.name}, 请重新安装养车。",
            en=f"The model file {path.name} is missing: install yangche again.",
        )
    content = path.read_bytes()
    if hashlib.sha256(content).hexdigest() != expected:
        raise ModelError(
            zh=f"模型文件 {path.name} 与清单不符 (可能损坏), 请重新安装养车。",
            en=f"The model file {path.name} is not the one its manifest describes (damaged?): install yangche again.",
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
        raise ModelError(
            zh=f"读不了模型清单 {folder.name}/manifest.json, 请重新安装养车。",
            en=f"The model manifest {folder.name}/manifest.json cannot be read: install yangche again.",
        ) from error
    return manifest.model_copy(update={"folder": folder})
