"""Data files that people edit (YAML): read, checked against a schema, and what breaks it said in one sentence."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from knowledge.text import UserError

_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # the same in C, three times as fast, where it was built in


class CatalogueError(UserError):
    """A data file that breaks the schema; says which file, entry and field."""


class Entry(BaseModel):
    """Part of a data file: never changed once read, and no field that the schema does not know."""

    model_config = ConfigDict(frozen=True, extra="forbid")


def read_mapping(path: Path) -> dict[str, Any]:
    """The content of a file that maps ids to entries.

    Raises:
        CatalogueError: naming the line where it cannot be read.
    """
    try:
        content = yaml.load(path.read_text(encoding="utf-8"), Loader=_LOADER)  # noqa: S506 - both are safe loaders
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        where = getattr(error, "problem_mark", None)
        line = where.line + 1 if where else 1
        raise CatalogueError(
            zh=f"{path.name} 第 {line} 行附近读不了, 请检查缩进和引号。",
            en=f"{path.name} cannot be read near line {line}: check indentation and quotes.",
        ) from error
    if not isinstance(content, dict):
        raise CatalogueError(
            zh=f"{path.name} 应是「编号: 内容」的列表, 请对照其他文件。",
            en=f"{path.name} must map ids to entries: compare it with the other files.",
        )
    return content


def parse(model: type[Entry], content: object, where: str) -> Any:  # noqa: ANN401 - the model's own type
    """``content`` as ``model``.

    Raises:
        CatalogueError: naming ``where`` and the first field that breaks the schema.
    """
    try:
        return model.model_validate(content)
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"]) or "-"
        raise CatalogueError(
            zh=f"{where} 的 {field} 不对: {first['msg']}。请改正后再试。",
            en=f"{where}: {field} is wrong ({first['msg']}): correct it and try again.",
        ) from error
