"""Reading and writing tables of cases: .jsonl, .csv and .xlsx, as people's programs write them."""

from __future__ import annotations

import csv
import io
import json
import os
import tempfile
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from knowledge.case import BILINGUAL, COLUMNS, Case, RowError, column_of
from knowledge.text import Text, UserError

MAX_BYTES = 512 * 2**20  # of a file, and of what a compressed one may unfold to
MAX_LINE = 2**20  # characters of one line of .jsonl, of one cell of .csv

Cell = str | int | float | None


class ArchiveError(UserError):
    """A file that can't be imported or exported as a whole."""


@dataclass(frozen=True)
class Row:
    """One row of a file: field -> raw value, or why it can't be taken. ``line`` counts from 1, as editors do."""

    line: int
    values: Mapping[str, Any]
    refused: Text | None = None
    ignored: tuple[str, ...] = ()  # columns that yangche has no use for


def read_rows(path: Path) -> Iterator[Row]:
    """The rows of a table, the reader chosen by the file's ending.

    Raises:
        ArchiveError: if there is no such file, it is empty, or it is no table of cases at all. It may come only after
            the first rows, so collect all rows before acting on them.
    """
    suffix = path.suffix.lower()
    reader: Callable[[Path, bytes], Iterator[Row]] | None = _READERS.get(suffix)
    if reader is None:
        raise ArchiveError(
            f"不认识 {path.name} 的文件类型，请用 .jsonl、.csv 或 .xlsx。",
            f"{path.name} has no known file type; please use .jsonl, .csv or .xlsx.",
        )
    return reader(path, content_of(path))


def content_of(path: Path) -> bytes:
    """The bytes of a file.

    Raises:
        ArchiveError: if it is a folder, or cannot be read.
    """
    if path.is_dir():
        raise ArchiveError(f"{path} 是文件夹，请给出文件。", f"{path} is a folder; please name a file.")
    try:
        size = path.stat().st_size
        if size > MAX_BYTES:
            raise ArchiveError(
                f"{path.name} 太大（上限 {MAX_BYTES >> 20} MiB），请分成几个文件。",
                f"{path.name} is too large (limit {MAX_BYTES >> 20} MiB); please split it.",
            )
        data = path.read_bytes()
    except FileNotFoundError:
        raise ArchiveError(
            f"找不到文件 {path}，请检查路径。", f"There is no file {path}; please check the path."
        ) from None
    except (OSError, ValueError) as error:
        raise ArchiveError(f"无法读取 {path}，请检查权限。", f"Can't read {path}; please check its rights.") from error
    if not data.strip(b"\xef\xbb\xbf\xff\xfe \t\r\n\0"):
        raise ArchiveError(f"{path.name} 是空的。", f"{path.name} is empty.")
    return data


def decoded(data: bytes) -> str:
    """Text in UTF-8 (with or without BOM), UTF-16 with BOM, or GB18030 (what Excel writes in China).

    Bytes that don't fit become U+FFFD, so that only their rows are refused. A file counts as GB18030 only if UTF-8
    fails on most of what is not ASCII: one damaged letter must not turn a whole UTF-8 file into other characters.
    """
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        return data.decode("utf-16", errors="replace")
    text = data.decode("utf-8-sig", errors="replace")
    damaged = text.count("\ufffd")
    if damaged and damaged > sum(c > "\x7f" for c in text) / 2:
        return data.decode("gb18030", errors="replace")
    return text


def _jsonl(path: Path, data: bytes) -> Iterator[Row]:
    del path
    for number, line in enumerate(decoded(data).split("\n"), start=1):
        if line.strip():
            yield _json_row(number, line)


def _json_row(number: int, line: str) -> Row:
    if len(line) > MAX_LINE:
        return _refused(number, "这一行太长。", "This line is too long.")
    try:
        values = json.loads(line)
    except (ValueError, RecursionError):
        return _refused(number, "这一行不是有效的 JSON。", "This line is no valid JSON.")
    if not isinstance(values, dict):
        return _refused(number, "这一行不是 JSON 对象。", "This line is no JSON object.")
    fields: dict[str, Any] = {}
    ignored = []
    for name, value in values.items():
        column = column_of(name)
        if column is None:
            ignored.append(name)
        elif "".join(column) in fields:
            return _refused(number, f"{column[0]} 出现了两次。", f"{column[0]} stands here twice.")
        else:
            fields["".join(column)] = value
    return Row(number, fields, ignored=tuple(ignored))


def _refused(line: int, zh: str, en: str) -> Row:
    return Row(line, {}, Text(zh=zh, en=en))


class _Header:
    """Which cell of a row holds which field."""

    def __init__(self, names: Sequence[Any], file: str) -> None:
        self.fields: dict[int, str] = {}
        ignored = []
        for index, name in enumerate(names):
            text = "" if name is None else str(name).strip()
            column = column_of(text)
            if column is None:
                ignored += [text] if text else []
            elif "".join(column) in self.fields.values():
                raise ArchiveError(
                    f"{file} 里有两列都是 {column[0]}，请删去一列。",
                    f"{file} has two columns for {column[0]}; please remove one.",
                )
            else:
                self.fields[index] = "".join(column)
        if "fix" not in self.fields.values():
            raise ArchiveError(
                f"{file} 第一行没有 fix（维修方法）这一列，请加上列名。",
                f"The first row of {file} names no column fix; please add the column names.",
            )
        self.width, self.ignored = len(names), tuple(ignored)

    def row(self, line: int, cells: Sequence[Any]) -> Row:
        values = {field: cells[index] for index, field in self.fields.items() if index < len(cells)}
        return Row(line, values, ignored=self.ignored)


def _csv(path: Path, data: bytes) -> Iterator[Row]:
    csv.field_size_limit(MAX_LINE)
    text = decoded(data)
    lines = text.lstrip("\r\n").split("\n", 1)[0]
    separator = max(",;\t", key=lines.count)  # Excel writes semicolons where the comma is the decimal sign
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator)
    header: _Header | None = None
    while True:
        line = reader.line_num + 1
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error:
            if header is None:
                raise ArchiveError(f"{path.name} 不是 CSV 表格。", f"{path.name} is no CSV table.") from None
            yield _refused(line, "这一行太长或引号不成对。", "This line is too long or a quotation mark is missing.")
            continue
        if not any(cell.strip() for cell in cells):
            continue
        if header is None:
            header = _Header(cells, path.name)
        elif len(cells) != header.width:
            yield _refused(
                line,
                f"这一行有 {len(cells)} 格，应有 {header.width} 格。",
                f"This row has {len(cells)} cells instead of {header.width}.",
            )
        else:
            yield header.row(line, [_unguarded(cell) for cell in cells])


def _xlsx(path: Path, data: bytes) -> Iterator[Row]:
    from openpyxl import load_workbook

    broken = ArchiveError(
        f"{path.name} 不是 Excel 表格，或设有密码，请另存为 .xlsx 后再试。",
        f"{path.name} is no Excel table, or has a password; please save it as .xlsx again.",
    )
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as packed:
            unfolded = sum(entry.file_size for entry in packed.infolist())
        if unfolded > MAX_BYTES:
            raise ArchiveError(f"{path.name} 展开后太大。", f"{path.name} unfolds to more than can be read.")
        book = load_workbook(io.BytesIO(data), read_only=True, data_only=True)
        sheet = book.worksheets[0]
        header: _Header | None = None
        for line, cells in enumerate(sheet.iter_rows(values_only=True), start=1):
            if all(cell is None or not str(cell).strip() for cell in cells):
                continue
            if header is None:
                header = _Header(cells, path.name)
            else:
                yield header.row(line, cells)
    except (UserError, GeneratorExit):
        raise
    except Exception as error:  # openpyxl lets errors of zip, XML and its own through, of no common kind
        raise broken from error


_READERS: Mapping[str, Callable[[Path, bytes], Iterator[Row]]] = {
    ".jsonl": _jsonl,
    ".ndjson": _jsonl,
    ".csv": _csv,
    ".xlsx": _xlsx,
}


def write_rows(cases: Iterable[Case], path: Path) -> int:
    """Write cases as a table that `read_rows` reads back without loss; how many. The file appears whole or not at all.

    Raises:
        ArchiveError: if the ending is unknown or the file can't be written.
    """
    rows = list(cases)
    if path.suffix.lower() in _TABLES:
        columns = _columns(rows)
        write_table([columns, *(_cells(case, columns) for case in rows)], path)
    else:
        lines = (json.dumps(json.loads(case.body()), ensure_ascii=False) + "\n" for case in rows)
        _write(path, "".join(lines).encode())
    return len(rows)


def write_table(rows: Sequence[Sequence[Cell]], path: Path) -> None:
    """Write rows, the first of them the column names, to a .csv, .xlsx or .jsonl file.

    Raises:
        ArchiveError: if the ending is unknown or the file can't be written.
    """
    if path.suffix.lower() in _TABLES:
        _write(path, _TABLES[path.suffix.lower()](rows))
    else:
        names, *rest = rows
        lines = (json.dumps(dict(zip(names, row, strict=True)), ensure_ascii=False) + "\n" for row in rest)
        _write(path, "".join(lines).encode())


def _write(path: Path, data: bytes) -> None:
    if path.suffix.lower() not in _READERS:
        raise ArchiveError(
            f"不认识 {path.name} 的文件类型，请用 .jsonl、.csv 或 .xlsx。",
            f"{path.name} has no known file type; please use .jsonl, .csv or .xlsx.",
        )
    try:
        write_whole(path, data)
    except OSError as error:
        raise ArchiveError(
            f"无法写入 {path}，请检查文件夹和权限。", f"Can't write {path}; check the folder and its rights."
        ) from error


def write_whole(path: Path, data: bytes) -> None:
    """Write a file so that it is there whole or not at all, also after a power cut."""
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        Path(name).replace(path)
    except BaseException:
        with suppress(OSError):
            Path(name).unlink()
        raise
    if os.name == "posix":
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)  # the renaming itself
        finally:
            os.close(folder)


def _columns(cases: Sequence[Case]) -> list[str]:
    english = {name for name in BILINGUAL if any(isinstance(getattr(c, name), Text) for c in cases)}
    return [column for name in COLUMNS for column in (name, f"{name}_en") if column == name or name in english]


def _cells(case: Case, columns: Sequence[str]) -> list[Cell]:
    cells: list[Cell] = []
    for column in columns:
        name = column if column in COLUMNS else column.removesuffix("_en")
        value = getattr(case, name)
        if isinstance(value, Text):
            value = value.zh if column == name else value.en
        elif column != name:
            value = ""
        cells.append(", ".join(value) if isinstance(value, tuple) else value)
    return cells


# A cell that begins like a formula would be run by a spreadsheet program; a leading apostrophe makes it text there.
_FORMULA = ("=", "+", "-", "@")


def _guarded(cell: Cell) -> Cell:
    return f"'{cell}" if isinstance(cell, str) and cell.lstrip("'").startswith(_FORMULA) else cell


def _unguarded(cell: str) -> str:
    return cell[1:] if cell.startswith("'") and cell.lstrip("'").startswith(_FORMULA) else cell


def _csv_bytes(rows: Sequence[Sequence[Cell]]) -> bytes:
    text = io.StringIO(newline="")
    csv.writer(text).writerows([_guarded(cell) for cell in row] for row in rows)
    return text.getvalue().encode("utf-8-sig")  # with the BOM, or Excel takes it for the system's code page


def _xlsx_bytes(rows: Sequence[Sequence[Cell]]) -> bytes:
    from openpyxl import Workbook
    from openpyxl.cell import WriteOnlyCell

    book = Workbook(write_only=True)
    sheet = book.create_sheet("cases")
    for row in rows:
        cells = []
        for value in row:
            cell = WriteOnlyCell(sheet, value=value)
            if isinstance(value, str):
                cell.data_type = "s"  # never a formula
            cells.append(cell)
        sheet.append(cells)
    data = io.BytesIO()
    book.save(data)
    return data.getvalue()


_TABLES: Mapping[str, Callable[[Sequence[Sequence[Cell]]], bytes]] = {".csv": _csv_bytes, ".xlsx": _xlsx_bytes}


def check_row(row: Row, read: Callable[[Mapping[str, Any]], Case]) -> Case | Text:
    """The case in ``row``, or the reason why there is none."""
    if row.refused is not None:
        return row.refused
    try:
        return read(row.values)
    except RowError as error:
        return error.text
