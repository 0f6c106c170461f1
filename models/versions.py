"""The versions of a model on one machine: which is served, put a new one in its place, go back.

``YANGCHE_HOME/models/<name>/<version>/`` holds one version: every file of the model folder it came from, and
``promotion.json``, which says why it was promoted. ``current.json`` beside them is the only thing that changes, in one
rename: a power cut leaves the old model or the new one, never half of one.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from knowledge.tables import write_whole
from models import POINTER, SHIPPED, ModelError, named_files, read_manifest, sha256_of

SHIPPED_VERSION = "shipped"  # the name of the model that yangche brings along
RECORD = "promotion.json"


@dataclass(frozen=True)
class Version:
    """One version. ``record``: content of its promotion.json, empty for the shipped one."""

    name: str
    folder: Path
    served: bool
    record: dict[str, Any]


class Versions:
    """The versions of the model ``model`` in ``home``."""

    def __init__(self, model: str, home: Path) -> None:
        self.model = model
        self.folder = home / "models" / model

    def all(self) -> list[Version]:
        """The shipped version and those kept here, oldest first."""
        served = self.served
        found = [Version(SHIPPED_VERSION, SHIPPED / self.model, served == SHIPPED_VERSION, {})]
        kept = sorted(p for p in self.folder.glob("[!.]*") if p.is_dir())
        return found + [Version(p.name, p, p.name == served, _record(p)) for p in kept]

    @property
    def served(self) -> str:
        """The name of the version that is served."""
        stack = self._pointer()["stack"]
        return stack[-1] if stack else SHIPPED_VERSION

    def folder_of(self, version: str) -> Path:
        """Where a version lies."""
        return SHIPPED / self.model if version == SHIPPED_VERSION else self.folder / version

    def add(self, source: Path, record: dict[str, Any]) -> str:
        """Copy the model in ``source`` here, whole, and serve it from now on. Returns the version's name.

        Raises:
            ModelError: if a file that the manifest names is absent or another one, or the folder can't be written.
        """
        check_files(source)
        with self._writable(), self._alone():
            pointer = self._pointer()
            digest = _identity(source)
            known = sorted(p.name for p in self.folder.glob(f"*-{digest}"))
            version = known[0] if known else f"{datetime.now(UTC):%Y%m%d}-{digest}"
            if not _whole(self.folder / version):
                shutil.rmtree(self.folder / version, ignore_errors=True)
                self._copy(source, version)
            write_json(self.folder / version / RECORD, record)
            pointer["stack"] = [v for v in pointer["stack"] if v != version] + [version]
            self._write(pointer, what="promote", version=version, reason=record.get("forced"))
        return version

    def back(self) -> str:
        """Serve the version before the present one; returns its name.

        Versions that are gone or damaged are stepped over. A pointer that can't be read leads to the shipped model.

        Raises:
            ModelError: if the shipped model is served already.
        """
        with self._writable(), self._alone():
            try:
                pointer = self._pointer()
            except ModelError:
                pointer = {"stack": [], "events": []}
            else:
                if not pointer["stack"]:
                    raise ModelError(
                        zh="现在用的就是自带的模型, 没有更早的版本可以退回。",
                        en="The shipped model is served already: there is nothing to go back to.",
                    )
                pointer["stack"].pop()
                while pointer["stack"] and not _whole(self.folder / pointer["stack"][-1]):
                    pointer["stack"].pop()
            version = pointer["stack"][-1] if pointer["stack"] else SHIPPED_VERSION
            self._write(pointer, what="rollback", version=version, reason=None)
        return version

    def _pointer(self) -> dict[str, Any]:
        path = self.folder / POINTER
        try:
            content = json.loads(path.read_bytes())
            stack, events = list(content["stack"]), list(content.get("events", []))
            if not all(isinstance(version, str) for version in stack):
                raise TypeError(stack)
        except FileNotFoundError:
            return {"stack": [], "events": []}
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise ModelError(
                zh=f"读不了 {path}, 请运行 yangche models rollback 回到自带的模型。",
                en=f"{path} cannot be read: return to the shipped model with `yangche models rollback`.",
            ) from error
        return {"stack": stack, "events": events}

    def _write(self, pointer: dict[str, Any], **event: str | None) -> None:
        pointer["events"].append({"at": datetime.now(UTC).isoformat(timespec="seconds"), **event})
        write_json(self.folder / POINTER, pointer)

    def _copy(self, source: Path, version: str) -> None:
        """Every file of the folder, on disk before it gets its name."""
        incoming = Path(tempfile.mkdtemp(prefix=".incoming-", dir=self.folder))
        try:
            for path in sorted(p for p in source.iterdir() if p.is_file() and not p.name.startswith(".")):
                shutil.copyfile(path, incoming / path.name)
                _sync(incoming / path.name)
            check_files(incoming)
            _sync(incoming)
            incoming.chmod(0o755)
            incoming.rename(self.folder / version)
        except BaseException:
            shutil.rmtree(incoming, ignore_errors=True)
            raise
        _sync(self.folder)

    @contextmanager
    def _writable(self) -> Iterator[None]:
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            yield
        except OSError as error:
            reason = error.strerror or type(error).__name__
            raise ModelError(
                zh=f"写不进 {self.folder} ({reason}), 请检查磁盘空间和权限, 或改用别的 YANGCHE_HOME。",
                en=f"{self.folder} cannot be written ({reason}): check space and rights, or name another YANGCHE_HOME.",
            ) from error

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """One promotion at a time; the lock goes with the process that held it."""
        with (self.folder / ".lock").open("w") as lock:
            with suppress(ImportError):  # Windows has no fcntl; there the rename alone must do
                import fcntl

                fcntl.flock(lock, fcntl.LOCK_EX)
            yield


def check_files(folder: Path) -> None:
    """Compare the files of a model folder with the checksums in its manifest.

    Raises:
        ModelError: naming the file that is absent or another one.
    """
    read_manifest(folder)
    for name, digest in named_files(json.loads((folder / "manifest.json").read_bytes())).items():
        path = folder / name
        if not path.is_file() or sha256_of(path) != digest:
            raise ModelError(
                zh=f"{path} 不在或与清单不符, 请重新导出这个模型。",
                en=f"{path} is missing or not the one that its manifest describes: export the model again.",
            )


def write_json(path: Path, content: dict[str, Any]) -> None:
    """Write a file so that it is there whole or not at all, also after a power cut."""
    write_whole(path, (json.dumps(content, ensure_ascii=False, indent=2) + "\n").encode())


def _sync(path: Path) -> None:
    if path.is_dir() and os.name != "posix":  # Windows can't open a folder
        return
    handle = os.open(path, os.O_RDONLY if os.name == "posix" else os.O_RDWR)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _identity(folder: Path) -> str:
    """Eight digits that stand for the model and its settings, whatever has been measured of it."""
    content = json.loads((folder / "manifest.json").read_bytes())
    settings = json.dumps({k: v for k, v in content.items() if k != "figures"}, sort_keys=True)
    return hashlib.sha256(settings.encode()).hexdigest()[:8]


def _whole(folder: Path) -> bool:
    try:
        check_files(folder)
    except ModelError:
        return False
    return True


def _record(folder: Path) -> dict[str, Any]:
    try:
        content = json.loads((folder / RECORD).read_bytes())
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}
