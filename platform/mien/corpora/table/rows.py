"""The tables of somebody's own recordings, in whichever form they are: rows of text with named columns.

CSV (.csv, .tsv), Parquet (.parquet) and JSON lines (.jsonl). What is wrong with a line is noted beside its number; what
is wrong with the whole table is a CorpusError.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from mien.corpora.csv_table import (
    MOST_BYTES,
    CsvRow,
    CsvTable,
    check_cells,
    check_header,
    lines_of,
    read_bytes,
    read_csv,
)
from mien.corpora.ratings import Scale
from mien.errors import CorpusError

SUFFIXES = (".csv", ".tsv", ".parquet", ".jsonl")
# Folders and words of a column `split`, and the side that they mean.
SIDES = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("dev", "devel", "development", "val", "valid", "validation"), "dev"),
    **dict.fromkeys(("test", "testing", "eval"), "test"),
}

# What pandas and Arrow write for a cell without a value.
_NOTHING = frozenset(("nan", "NaN", "NaT", "<NA>"))


@dataclass(frozen=True, kw_only=True, slots=True)
class Rows:
    """One table. base: where its relative paths start. prefix: before the names of its clips. broken:
    lines that are no rows, and why. strays: paths that are no rows, each with the reason
    of its reject and a sentence. scales: of ratings, as the table's header states them.
    """

    table: CsvTable
    base: str
    prefix: str = ""
    broken: list[tuple[int, str]] = field(default_factory=list)
    strays: list[tuple[str, str, str]] = field(default_factory=list)
    scales: dict[str, Scale] = field(default_factory=dict)

    @property
    def n_lines(self) -> int:
        """What must be accounted for."""
        return len(self.table.rows) + len(self.broken) + len(self.strays)

    def with_table(self, table: CsvTable) -> Rows:
        """The same lines, with other columns."""
        return replace(self, table=table)


def read_table(path: Path, base: Path) -> Rows:
    """One table. base: where its relative paths start. Raises CorpusError where it cannot be read."""
    readers: dict[str, Callable[[Path], tuple[CsvTable, list[tuple[int, str]]]]] = {
        ".parquet": _read_parquet,
        ".jsonl": _read_json_lines,
    }
    table, broken = readers.get(path.suffix.lower(), _read_csv)(path)
    return Rows(table=table, base=str(base), broken=broken)


def _read_csv(path: Path) -> tuple[CsvTable, list[tuple[int, str]]]:
    broken: list[tuple[int, str]] = []
    table = read_csv(str(path), broken)
    rows = (CsvRow(row.line, {name: present(cell) for name, cell in row.cells.items()}) for row in table.rows)
    return replace(table, rows=tuple(rows)), broken


def _read_parquet(path: Path) -> tuple[CsvTable, list[tuple[int, str]]]:
    data = read_bytes(str(path))
    try:
        file = pq.ParquetFile(pa.BufferReader(data), page_checksum_verification=True)
        _check_claims(path, file.metadata)
        table = file.read()
        if table.nbytes > MOST_BYTES:  # few bytes of a file may be many equal texts
            raise CorpusError(f"{path}: {table.nbytes} bytes of values, more than are read: cut it into several tables")
        table.validate(full=True)
        columns = {name: _cells(path, name, table.column(place)) for place, name in enumerate(table.column_names)}
    except (pa.ArrowException, ValueError, ArithmeticError, OSError) as error:
        why = (str(error).splitlines() or [type(error).__name__])[0]
        raise CorpusError(f"{path}: cannot be read as Parquet ({why}): write it again") from None
    check_header(str(path), [name.strip() for name in table.column_names])
    names = [name.strip() for name in columns]
    if not (names and table.num_rows):
        raise CorpusError(f"{path}: has no rows: give a table with at least one")
    rows = zip(*columns.values(), strict=True)
    found = tuple(CsvRow(number, dict(zip(names, cells))) for number, cells in enumerate(rows, start=1))
    return CsvTable(str(path), tuple(names), found, "row"), []


def _check_claims(path: Path, metadata: pq.FileMetaData) -> None:
    """Raises CorpusError where a footer claims more than is read, before memory is taken for it."""
    groups = [metadata.row_group(number) for number in range(metadata.num_row_groups)]
    n_rows = max(metadata.num_rows, sum(group.num_rows for group in groups))
    check_cells(str(path), n_rows, metadata.num_columns)
    if (n_bytes := sum(group.total_byte_size for group in groups)) > MOST_BYTES:
        raise CorpusError(f"{path}: {n_bytes} bytes of values, more than are read: cut it into several tables")


def _cells(path: Path, name: str, column: pa.ChunkedArray) -> list[str]:
    kind = column.type
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
        column = column.cast(kind)
    if pa.types.is_nested(kind) or pa.types.is_binary(kind) or pa.types.is_large_binary(kind):
        raise CorpusError(f"{path}, column {name}: holds {kind}, which is no text or number: take the column out")
    if pa.types.is_duration(kind):
        scale = {"s": 1.0, "ms": 1e3, "us": 1e6, "ns": 1e9}[kind.unit]
        return ["" if value is None else repr(value / scale) for value in column.cast(pa.int64()).to_pylist()]
    return [text_of(value) for value in column.to_pylist()]


def _read_json_lines(path: Path) -> tuple[CsvTable, list[tuple[int, str]]]:
    rows: list[CsvRow] = []
    broken: list[tuple[int, str]] = []
    names: dict[str, None] = {}
    try:
        for line, one in enumerate(lines_of(str(path), read_bytes(str(path))), start=1):
            if not one.strip():
                continue
            try:
                cells = _object(one)
                names |= dict.fromkeys(cells)
                rows.append(CsvRow(line, cells))
            except (ValueError, RecursionError) as error:
                why = str(error).splitlines()[0] if not isinstance(error, UnicodeError) else "holds half a character"
                broken.append((line, f"is no JSON object of texts and numbers ({why}): correct the line, or remove it"))
            check_cells(str(path), len(rows) + len(broken), len(names))
    except UnicodeDecodeError as error:
        raise CorpusError(f"{path}: is not UTF-8 text ({error.reason}): write it again") from None
    if not (rows or broken):
        raise CorpusError(f"{path}: has no rows: give a table with at least one")
    if not rows:
        raise CorpusError(f"{path}: none of its lines is a JSON object: the first {broken[0][1]}")
    columns = tuple(names)
    check_header(str(path), columns)
    full = tuple(CsvRow(row.line, {name: row.cells.get(name, "") for name in columns}) for row in rows)
    return CsvTable(str(path), columns, full), broken


def _object(line: str) -> dict[str, str]:
    """The cells of one line; ValueError where it is no object of texts and numbers, or holds half a character."""
    value = json.loads(line)
    if not isinstance(value, dict):
        raise ValueError("is no object")
    cells = {key.strip(): text_of(cell) for key, cell in value.items()}
    "".join((*cells, *cells.values())).encode()
    return cells


def text_of(value: Any) -> str:
    """A cell as a CSV would have it; ValueError for what is no text, number, date or truth.

    >>> text_of(7.0), text_of(0.25), text_of(None), text_of(float("nan")), text_of(True)
    ('7', '0.25', '', '', 'true')
    """
    if value is None:
        return ""
    if isinstance(value, str):
        return present(value.strip())
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):  # a column of whole numbers with gaps: pandas makes floats of it
        return (
            "" if math.isnan(value) else str(int(value)) if value.is_integer() and abs(value) < 2**53 else repr(value)
        )
    if isinstance(value, int | Decimal):
        return str(value)
    if hasattr(value, "isoformat"):
        return str(value.isoformat())
    raise ValueError(f"a {type(value).__name__} stands in a cell")


def present(cell: str) -> str:
    """A cell, empty where it says that there is no value."""
    return "" if cell in _NOTHING else cell
