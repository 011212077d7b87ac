"""What the columns of a table of clips mean, by their names: one schema for all tables."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from mien.corpora.csv_table import CsvRow, CsvTable, check_header
from mien.corpora.ratings import Scale, scale_of
from mien.errors import CorpusError, nearest

# Names that other people's tables use for the same: nkululeko, audformat, Hugging Face.
ALIASES: dict[str, tuple[str, ...]] = {
    "file": ("file", "file_name", "path"),
    "subject": ("subject", "speaker"),
    "start": ("start", "start_s"),
    "end": ("end", "end_s"),
    "emotion": ("emotion",),
    "annotator": ("annotator", "rater"),
    "split": ("split",),
    "sex": ("sex", "gender"),
    "age": ("age",),
    "clip_id": ("clip_id",),
}
MEDIA = ("audio", "video", "eeg", "ecg", "eda", "resp", "emg", "physio", "gaze", "openface")
_NOUNS = {"file": "files", "subject": "the subject", "emotion": "the emotion"}


@dataclass(frozen=True, kw_only=True, slots=True)
class Columns:
    """Columns of one table. of: what a column means (a key of `ALIASES`) to its name. media: medium to column, but for
    `file`. ratings: dimension to its column and scale. groups: columns. attributes: name to
    column."""

    of: Mapping[str, str]
    media: Mapping[str, str]
    ratings: Mapping[str, tuple[str, Scale]]
    groups: tuple[str, ...]
    attributes: Mapping[str, str]

    def cell(self, row: CsvRow, meaning: str) -> str:
        """What a row says of it, empty where the table has no such column."""
        return row.cells[self.of[meaning]] if meaning in self.of else ""


def renamed(table: CsvTable, names: Mapping[str, str]) -> CsvTable:
    """The table with other names of columns. Raises CorpusError for a column that it does not have."""
    if not names:
        return table
    for old in names:
        if old not in table.columns:
            raise CorpusError(f"table.rename {old!r}: {table.path} has no such column: {nearest(old, table.columns)}")
    columns = tuple(names.get(column, column) for column in table.columns)
    check_header(table.path, columns)
    rows = tuple(CsvRow(row.line, dict(zip(columns, row.cells.values()))) for row in table.rows)
    return replace(table, columns=columns, rows=rows)


def read_columns(
    table: CsvTable,
    *,
    media: Sequence[str],
    groups: Sequence[str],
    ratings: Sequence[str],
    scale: tuple[float, float] | None,
    scales: Mapping[str, Scale],
) -> Columns:
    """The columns of a table. media, groups, ratings: names that are such. scale: of ratings whose scale the table does
    not state; scales: those that its header does.

    Raises CorpusError where no column names files, two mean the same, or a rating has no scale.
    """
    of: dict[str, str] = {}
    taken: dict[str, str] = {}
    for column in table.columns:
        small = column.lower()
        meaning = next((key for key, names in ALIASES.items() if small in names), small)
        if meaning in taken and (meaning in ALIASES or meaning in (*media, *groups, *ratings)):
            raise CorpusError(
                f"{table.path}: the columns {taken[meaning]} and {column} both say {_NOUNS.get(meaning, meaning)}: "
                f"rename one of them, for example with --table.rename {column}=other_{small}"
            )
        taken[meaning] = column
        if meaning in ALIASES:
            of[meaning] = column
    by_small = {column.lower(): column for column in table.columns if column not in of.values()}
    of_media = {name: by_small[name] for name in media if name in by_small}
    if "file" not in of and not of_media:
        raise CorpusError(_without_files(table, media))
    dimensions = [name for name in ratings if name in by_small and any(row.cells[by_small[name]] for row in table.rows)]
    found = {name: (by_small[name], scales.get(name) or _scale(table, by_small[name], scale)) for name in dimensions}
    ends = {f"{name}_{end}" for name in ratings for end in ("low", "high")} | ({"low", "high"} if dimensions else set())
    of_groups = tuple(by_small[name] for name in groups if name in by_small)
    used = {*of.values(), *of_media.values(), *of_groups, *(by_small.get(name, "") for name in (*ratings, *ends))}
    kept = {name: of[name] for name in ("split", "sex", "age") if name in of}
    return Columns(
        of=of,
        media=of_media,
        ratings=found,
        groups=of_groups,
        attributes=kept | {column: column for column in table.columns if column not in used},
    )


def _scale(table: CsvTable, column: str, scale: tuple[float, float] | None) -> Scale:
    if any(name in table.columns for name in ("low", "high", f"{column}_low", f"{column}_high")):
        return scale_of(table, column)
    if scale is None:
        raise CorpusError(
            f"{table.path}, column {column}: its scale is not stated: add columns low and high, or give --table.scale "
            "with its lowest and its highest value"
        )
    return Scale(*scale)


def _without_files(table: CsvTable, media: Sequence[str]) -> str:
    known = [*ALIASES["file"], *media]
    like = [
        (column, close[0]) for column in table.columns if (close := difflib.get_close_matches(column.lower(), known, 1))
    ]
    remedy = (
        f"the nearest is {like[0][0]}: --table.rename {like[0][0]}={like[0][1]}"
        if like
        else (f"rename one with --table.rename {table.columns[0]}=file, or add one (file, {', '.join(media)})")
    )
    columns = ", ".join(table.columns[:20]) + (", ..." if len(table.columns) > 20 else "")
    return f"{table.path}: no column names files; its columns are {columns}; {remedy}"
