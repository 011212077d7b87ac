"""A table that a user made, as text: read leniently, refused with file, line, column and remedy.

It is read as a whole, by the process that starts everything, and each cell becomes an object. So there are bounds to
what is taken for a table; a damaged or wrong file beyond them is refused before memory is taken for it.
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain

from mien.errors import CorpusError
from mien.folder import Folder

MOST_BYTES = 2**30
MOST_CELLS = 2**26  # four million lines of a dozen columns: some 7 GB as objects
MOST_COLUMNS = 2**14  # the largest feature set of openSMILE has 6,373
_MOST_LINE = 2**22  # characters
_CELLS_OF_ROW = 4  # that a row weighs more than its cells
_SHOWN_COLUMNS = 20


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
    broken, such a row is put there, as its line and what is wrong with it, and the table may be left without rows. A
    file beyond the bounds above is refused, too.
    """
    columns: tuple[str, ...] = ()
    rows: list[CsvRow] = []
    begins = 1
    n_rows = 0
    text = _Lines(path, read_bytes(path), newline="")
    try:
        first = list(_until_text(text))
        delimiter = max(",;\t", key=first[-1].count) if first else ","
        lines = csv.reader(chain(first, text), delimiter=delimiter, skipinitialspace=True)
        for cells in lines:
            text.begin()
            stripped = tuple(cell.strip() for cell in cells)
            if not columns and any(stripped):
                # pandas writes its index so
                columns = ("index", *stripped[1:]) if broken is not None and not stripped[0] else stripped
                check_header(path, columns)
            elif any(stripped):
                n_rows += 1
                check_cells(path, n_rows, len(columns))
                if len(stripped) != len(columns):
                    shown = ", ".join((*columns[:_SHOWN_COLUMNS], *(["..."] if len(columns) > _SHOWN_COLUMNS else [])))
                    found = f"{len(stripped)} fields, expected {len(columns)} ({shown})"
                    if broken is None:
                        raise CorpusError(f"{path}, line {begins}: {found}: complete the line, or remove it")
                    broken.append((begins, f"{found}: complete the line, or remove it"))
                else:
                    rows.append(CsvRow(begins, dict(zip(columns, stripped))))
            begins = lines.line_num + 1
    except csv.Error as error:
        raise CorpusError(f"{path}, line {begins}: {error}: correct the line") from None
    except UnicodeDecodeError as error:
        raise CorpusError(f"{path}: is not UTF-8 text ({error.reason}): save it as CSV in UTF-8") from None
    if not (rows or broken):
        raise CorpusError(f"{path}: has no rows: give a table with a header and at least one line below it")
    return CsvTable(path, columns, tuple(rows))


class _Lines:
    """The lines of a text of which none, and no row that goes over several, has more than _MOST_LINE characters.

    newline: as of `open`. Raises CorpusError for a longer one, UnicodeDecodeError for what is not UTF-8.
    """

    def __init__(self, path: str, data: bytes, newline: str) -> None:
        self._path = path
        # Decoded as it is read: as one text, lines and all, it would take many times its bytes.
        self._text = io.TextIOWrapper(io.BytesIO(data), "utf-8-sig", newline=newline)
        self._line = self._row = 0

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        line = self._text.readline(_MOST_LINE + 1)
        if not line:
            raise StopIteration
        self._line += 1
        self._row += len(line)
        if self._row > _MOST_LINE:
            raise CorpusError(
                f"{self._path}, line {self._line}: goes on for more than {_MOST_LINE} characters, as no row of a table "
                "does: check that the file is the one that is meant"
            )
        return line

    def begin(self) -> None:
        """A row is complete; the next one begins."""
        self._row = 0


def lines_of(path: str, data: bytes) -> Iterator[str]:
    """The lines of a text whose rows are lines, with the bound of a table on each."""
    lines = _Lines(path, data, newline="\n")
    for line in lines:
        lines.begin()
        yield line


def _until_text(lines: Iterator[str]) -> Iterator[str]:
    """The lines until the first that holds more than blanks, which is the header."""
    for line in lines:
        yield line
        if line.strip():
            return


def check_cells(path: str, n_rows: int, n_columns: int) -> None:
    """Raises CorpusError for more than is read as a table."""
    if n_columns > MOST_COLUMNS or n_rows * (n_columns + _CELLS_OF_ROW) > MOST_CELLS:
        raise CorpusError(
            f"{path}: more rows or columns than are read at once ({n_rows} of {n_columns}): cut it into several "
            "tables, or leave columns out"
        )


def read_bytes(path: str) -> bytes:
    """The bytes of a file that a user named, a path or s3:// URI. Raises CorpusError where it cannot be read, or has
    more than MOST_BYTES."""
    folder, _, name = path.rpartition("/")
    try:
        place = Folder(folder or ("/" if path.startswith("/") else "."))
        if (n_bytes := place.size(name) or 0) > MOST_BYTES:
            raise CorpusError(
                f"{path}: {n_bytes} bytes, more than the {MOST_BYTES} that are read as a table: check that the file is "
                "the one that is meant, or cut it into several tables"
            )
        return place.read_bytes(name)
    except FileNotFoundError:
        raise CorpusError(f"{path}: no such file: check the path") from None
    except OSError as error:
        raise CorpusError(f"{path}: cannot be read ({error.strerror or error}): check its permissions") from None


def check_header(path: str, columns: Sequence[str]) -> None:
    """Raises CorpusError for a column without a name, or with that of another."""
    check_cells(path, 0, len(columns))
    seen = set()
    for place, column in enumerate(columns, start=1):
        if not column:
            raise CorpusError(f"{path}, line 1: column {place} has no name: name it, or remove it")
        if column in seen:
            raise CorpusError(f"{path}, line 1: two columns are called {column!r}: rename one of them")
        seen.add(column)


def beside(table: str, path: str) -> str:
    """A path as a table states it: absolute or a URI as it stands, else from the folder of the table."""
    if "://" in path or path.startswith("/"):
        return path
    folder, slash, _ = table.rpartition("/")
    return f"{folder}{slash}{path}"
