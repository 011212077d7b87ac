"""An audformat database as tables of clips (github.com/audeering/audformat): db.yaml, and db.<table>.csv or .parquet.

audformat reads the header, from YAML that was read safely. The values are read here: audformat prefers the pickle of a
table where there is one, and a pickle of somebody else's may run their code, as may YAML read as audformat reads it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from mien.corpora.csv_table import CsvRow, CsvTable
from mien.corpora.ratings import Scale
from mien.corpora.table.rows import Rows, read_table, text_of
from mien.errors import CorpusError, nearest

_MOST_HEADER_BYTES = 2**22  # half a minute of reading, as the parser that is safe against deep nesting is slow
_LABELS = ("emotion", "valence", "arousal", "dominance")


def read_database(root: Path, wanted: Sequence[str] = ()) -> list[Rows]:
    """The tables that hold emotions or ratings, or those wanted; each row with what other tables of whole files say of
    its file, with the fields of the schemes of its values (a speaker's gender), and with the split of its table.

    Raises CorpusError where the header is none, a table is not there or is kept as a pickle only.
    """
    try:
        return _database(root, _header(root), wanted)
    except (ValueError, KeyError, TypeError, AttributeError, IndexError) as error:  # a header may say anything
        raise CorpusError(f"{root}/db.yaml: does not fit its tables ({error!r}): copy the database again") from None


def _database(root: Path, database: Any, wanted: Sequence[str]) -> list[Rows]:
    names = {name: [*database[name].columns] for name in database.tables}
    for name in wanted:
        if name not in names:
            raise CorpusError(f"table.tables {name!r}: {root} has no such table: {nearest(name, names)}")
    of_labels = [name for name, columns in names.items() if set(columns) & set(_LABELS)]
    chosen = [*wanted] or of_labels
    if not chosen:
        held = ", ".join(f"{name} ({', '.join(columns)})" for name, columns in names.items())
        raise CorpusError(
            f"{root}: no table has a column {' or '.join(_LABELS)}: name those that are meant with "
            f"--table.tables, and rename a column with --table.rename; it has {held or 'no table'}"
        )
    fields = _Fields(root, database)
    facts: dict[str, dict[str, str]] = {}  # of whole files, by the other tables
    for name in names:
        if name not in chosen and database[name].type == "filewise":
            read = _read(root, name)
            for row in read.table.rows:
                facts.setdefault(row.cells.get("file", ""), {}).update(fields.added(database[name], row.cells))
    return [_with_facts(_read(root, name), database, name, fields, facts) for name in chosen]


def _header(root: Path) -> Any:
    path = root / "db.yaml"
    if (n_bytes := path.stat().st_size) > _MOST_HEADER_BYTES:
        raise CorpusError(
            f"{path}: {n_bytes} bytes, more than the {_MOST_HEADER_BYTES} that are read as a header: keep the fields "
            "of schemes in misc tables"
        )
    import audformat
    import yaml

    try:
        return audformat.Database.load_header_from_yaml(yaml.safe_load(path.read_text("utf-8")))
    except Exception as error:  # whatever audformat makes of a header that is none
        why = (str(error).splitlines() or [type(error).__name__])[0]
        raise CorpusError(f"{path}: is no header of an audformat database ({why}): copy it again") from None


def _read(root: Path, name: str) -> Rows:
    for suffix in (".parquet", ".csv"):
        if (path := root / f"db.{name}{suffix}").is_file():
            return read_table(path, root)
    if (root / f"db.{name}.pkl").exists():
        raise CorpusError(f"{root}/db.{name}.pkl: a pickle is not read, it may run code: save the table as csv")
    raise CorpusError(f"{root}/db.{name}.csv: no such file: copy the database again")


def _with_facts(rows: Rows, database: Any, name: str, fields: _Fields, facts: Mapping[str, Mapping[str, str]]) -> Rows:
    declared = database[name]
    split = database.splits[declared.split_id].type if declared.split_id in database.splits else ""
    usual = {"split": split} if split else {}
    found = [
        CsvRow(row.line, {**usual, **facts.get(row.cells.get("file", ""), {}), **fields.added(declared, row.cells)})
        for row in rows.table.rows
    ]
    columns = tuple(dict.fromkeys((*rows.table.columns, *(key for row in found for key in row.cells))))
    full = tuple(CsvRow(row.line, {key: row.cells.get(key, "") for key in columns}) for row in found)
    table = CsvTable(rows.table.path, columns, full, rows.table.noun)
    scales = {}
    for column, one in declared.columns.items():
        scheme = database.schemes.get(one.scheme_id)
        if scheme is not None and scheme.minimum is not None and scheme.maximum is not None:
            scales[column] = Scale(float(scheme.minimum), float(scheme.maximum))
    return replace(rows, table=table, scales=scales)


def _text(value: Any) -> str:
    """A field of a scheme; of several values (a speaker's languages) all."""
    return " | ".join(map(_text, value)) if isinstance(value, list | tuple) else text_of(value)


class _Fields:
    """What schemes say of values: of a speaker the gender and the age."""

    def __init__(self, root: Path, database: Any) -> None:
        self._of_value: dict[str, dict[str, dict[str, str]]] = {}
        for name in database.schemes:
            labels = database.schemes[name].labels
            if isinstance(labels, str):  # of a misc table, whose first column are the values
                table = _read(root, labels).table
                found = {row.cells[table.columns[0]]: dict(row.cells) for row in table.rows}
                for cells in found.values():
                    del cells[table.columns[0]]
            elif isinstance(labels, dict):
                found = {
                    str(value): {str(key): _text(cell) for key, cell in known.items()}
                    for value, known in labels.items()
                    if isinstance(known, dict)
                }
            else:
                continue
            self._of_value[name] = found

    def added(self, declared: Any, cells: Mapping[str, str]) -> dict[str, str]:
        """The cells, with the fields of their values; a field does not replace a column."""
        found: dict[str, str] = {}
        for column, one in declared.columns.items():
            found.update(self._of_value.get(one.scheme_id, {}).get(cells.get(column, ""), {}))
        return {**found, **cells}
