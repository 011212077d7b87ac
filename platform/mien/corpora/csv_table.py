"""A table that a user made, as text: read leniently, refused with file, line, column and remedy."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Sequence
from dataclasses import dataclass

from mien.errors import CorpusError
from mien.folder import Folder


@dataclass(frozen=True, slots=True)
class CsvRow:
    """Cells by column name, blanks stripped. line: where it begins in the file, the header being line 1."""

    line: int
    cells: dict[str, str]


@dataclass(frozen=True, slots=True)
class CsvTable:
    """Rows of text with named columns. path: as it was asked for, a path or s3:// URI. noun: what a line is called."""

    path: str
    columns: tuple[str, ...]
    rows: tuple[CsvRow, ...]
    noun: str = "line"

    def fault(self, row: CsvRow, column: str, what: str) -> CorpusError:
        """The error for one cell: file, line and column before what is wrong with it."""
        return CorpusError(f"{self.path}, {self.noun} {row.line}, column {column}: {what}")

    def text(self, row: CsvRow, column: str) -> str:
        """A cell that must not be empty."""
        if not row.cells[column]:
            raise self.fault(row, column, "is empty: fill it in, or remove the line")
        return row.cells[column]

    def number(self, row: CsvRow, column: str) -> float | None:
        """A finite number; None for an empty cell or a column that the table lacks."""
        text = row.cells.get(column, "")
        if not text:
            return None
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not math.isfinite(value):
            raise self.fault(row, column, f"{text!r} is not a number: correct it, or leave the cell empty")
        return value


def read_csv(path: str, broken: list[tuple[int, str]] | None = None) -> CsvTable:
    """A table of UTF-8 text whose fields are apart by commas, semicolons or tabs, whichever the header has.

    Blanks around names and cells are removed, empty lines left out. Raises CorpusError: no such file, unreadable, no
    header, no rows, a column without a name or with that of another, a row of another length than the header; given
    broken, such a row is put there, as its line and what is wrong with it, and the table may be left without rows.
    """
    try:
        text = read_bytes(path).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise CorpusError(f"{path}: is not UTF-8 text ({error.reason}): save it as CSV in UTF-8") from None
    header = text.lstrip().partition("\n")[0]
    delimiter = max(",;\t", key=header.count)
    lines = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, skipinitialspace=True)
    columns: tuple[str, ...] = ()
    rows: list[CsvRow] = []
    begins = 1
    try:
        for cells in lines:
            stripped = tuple(cell.strip() for cell in cells)
            if not columns and any(stripped):
                # pandas writes its index so
                columns = ("index", *stripped[1:]) if broken is not None and not stripped[0] else stripped
                check_header(path, columns)
            elif any(stripped):
                if len(stripped) != len(columns):
                    found = f"{len(stripped)} fields, expected {len(columns)} ({', '.join(columns)})"
                    if broken is None:
                        raise CorpusError(f"{path}, line {begins}: {found}: complete the line, or remove it")
                    broken.append((begins, f"{found}: complete the line, or remove it"))
                else:
                    rows.append(CsvRow(begins, dict(zip(columns, stripped))))
            begins = lines.line_num + 1
    except csv.Error as error:
        raise CorpusError(f"{path}, line {begins}: {error}: correct the line") from None
    if not (rows or broken):
        raise CorpusError(f"{path}: has no rows: give a table with a header and at least one line below it")
    return CsvTable(path, columns, tuple(rows))


def read_bytes(path: str) -> bytes:
    """The bytes of a file that a user named, a path or s3:// URI. Raises CorpusError where it cannot be read."""
    folder, _, name = path.rpartition("/")
    try:
        return Folder(folder or ("/" if path.startswith("/") else ".")).read_bytes(name)
    except FileNotFoundError:
        raise CorpusError(f"{path}: no such file: check the path") from None
    except OSError as error:
        raise CorpusError(f"{path}: cannot be read ({error.strerror or error}): check its permissions") from None


def check_header(path: str, columns: Sequence[str]) -> None:
    """Raises CorpusError for a column without a name, or with that of another."""
    for place, column in enumerate(columns):
        if not column:
            raise CorpusError(f"{path}, line 1: column {place + 1} has no name: name it, or remove it")
        if column in columns[:place]:
            raise CorpusError(f"{path}, line 1: two columns are called {column!r}: rename one of them")


def beside(table: str, path: str) -> str:
    """A path as a table states it: absolute or a URI as it stands, else from the folder of the table."""
    if "://" in path or path.startswith("/"):
        return path
    folder, slash, _ = table.rpartition("/")
    return f"{folder}{slash}{path}"
