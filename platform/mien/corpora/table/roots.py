"""What somebody's own recordings lie in: a table, or a folder that is as good as one.

A folder holds a table called metadata or clips, in itself or in each of its folders train, dev, test (Hugging Face
AudioFolder and VideoFolder), or is an audformat database, or has one folder per class.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path, PurePath, PurePosixPath

from mien.corpora.csv_table import CsvRow, CsvTable
from mien.corpora.table.audformat import read_database
from mien.corpora.table.rows import SIDES, SUFFIXES, Rows, read_table
from mien.corpora.tree import find_media, printable
from mien.errors import CorpusError

NAMES = tuple(f"{stem}{suffix}" for stem in ("metadata", "clips") for suffix in SUFFIXES)


def read_roots(root: Path, media_suffixes: Sequence[str], tables: Sequence[str] = ()) -> list[Rows]:
    """The tables of a root, a file or a folder. tables: of an audformat database, those wanted.

    Raises CorpusError where there is none, or one cannot be read.
    """
    if root.suffix.lower() in (".yaml", ".yml") and root.is_file():
        root = root.parent
    if not root.is_dir():
        if root.exists() and root.suffix.lower() not in SUFFIXES:
            raise CorpusError(f"{root}: is not a folder, nor a table ({', '.join(SUFFIXES)}): {_REMEDY}")
        if not root.exists():
            raise CorpusError(f"{root}: does not exist: {_REMEDY}")
        return [read_table(root, root.parent)]
    if (root / "db.yaml").is_file():
        return read_database(root, tables)
    if found := _one_of(root):
        return [read_table(found, root)]
    by_side = [(folder, table) for name in SIDES if (table := _one_of(folder := root / name))]
    if by_side:
        return [_of_side(read_table(table, folder), folder.name) for folder, table in by_side]
    return [_read_classes(root, media_suffixes)]


_REMEDY = "give a table of clips, a folder with metadata.csv, an audformat database, or a folder with one per class"


def _one_of(folder: Path) -> Path | None:
    found = [folder / name for name in NAMES if (folder / name).is_file()]
    if len(found) > 1:
        raise CorpusError(f"{folder}: holds {' and '.join(path.name for path in found)}: name the table that is meant")
    return found[0] if found else None


def _of_side(rows: Rows, name: str) -> Rows:
    """The table within a folder train, dev or test: its clips stand on that side, if it says nothing else."""
    table = rows.table
    if "split" not in table.columns:
        filled = tuple(CsvRow(row.line, {**row.cells, "split": name}) for row in table.rows)
        table = replace(table, columns=(*table.columns, "split"), rows=filled)
    return replace(rows, table=table, prefix=f"{name}/")


# ------------------------------------------------------------------ folders of classes


def _read_classes(root: Path, media_suffixes: Sequence[str]) -> Rows:
    """One folder per class, or one per side (train, dev, test) with one per class in each."""
    files = find_media(root, media_suffixes, "a folder with one folder per class", _REMEDY)
    rows: list[CsvRow] = []
    strays: list[tuple[str, str, str]] = []
    for path, problem in sorted((file.path, file.problem) for file in files):
        name, why = _in_class(path.relative_to(root))
        if problem or why:
            strays.append((printable(path), *(problem or why or ("", ""))))
        else:
            rows.append(CsvRow(len(rows) + 1, name))
    columns = ("file", "emotion", "split")
    return Rows(table=CsvTable(str(root), columns, tuple(rows), "file"), base=str(root), strays=strays)


def _in_class(place: PurePath) -> tuple[dict[str, str], tuple[str, str] | None]:
    """File, emotion and split of a path within the root, or why it has none."""
    folders = list(place.parts[:-1])
    side = folders.pop(0) if folders and folders[0] in SIDES else ""
    if not folders:
        return {}, ("wrong-folder", f"{_shown(place)}: lies in no folder of a class: move it into one, or give a table")
    try:
        str(place).encode()
    except UnicodeEncodeError:
        return {}, ("bad-name", f"{_shown(place)}: its name is not UTF-8: rename it")
    return {"file": str(PurePosixPath(place)), "emotion": folders[0], "split": side}, None


def _shown(place: PurePath) -> str:
    return printable(Path(place))
