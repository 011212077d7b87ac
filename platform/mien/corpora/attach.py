"""Attach to clips what their corpus does not hold: more media, or ratings by observers.

One mechanism for all: a source names clips (see `mien.corpora.clip_names`), and a clip gets what stands under its name.
A source of media is one of

    a table with a path      columns `clip_id` or `file`, `path`, and if wanted `start_s`, `end_s`, `offset_s`, `track`
                             (`mien.corpora.clip.Medium`); a relative path starts at the folder of the table
    a table without a path   its rows are the media, one per clip: "<table>#<name of the clip in it>"
    a folder of files        searched in depth, named by clip; FOLDER/*.csv takes those files only

and the medium called `ratings` is a table of ratings (`mien.corpora.ratings`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from fnmatch import fnmatch
from pathlib import PurePosixPath

from mien.corpora.clip import Clip, Medium, Reject
from mien.corpora.clip_names import ClipNames, name_column
from mien.corpora.csv_table import CsvRow, CsvTable, beside, read_csv
from mien.corpora.ratings import RatingTable, read_ratings
from mien.errors import CorpusError
from mien.folder import Folder

RATINGS = "ratings"

_COLUMNS = ("path", "start_s", "end_s", "offset_s", "track")
# OpenFace writes .csv, .hog, .avi and .txt files into one folder; its extractor reads the first.
_USUAL_PATTERN = {"openface": "*.csv"}


def attach(records: Iterable[Clip | Reject], medium: str, source: str) -> Iterator[Clip | Reject]:
    """The records in their order, each clip with the medium that stands under its name in the source.

    A clip that the source does not name stays as it is; rejects pass. After the last record, one reject per reason
    counts the names that were not used: "unknown-clip" (no such clip was imported), "bad-name" (not a file name of the
    corpus), "duplicate" (a second file or row of one clip; the first by name was used), "no-rating" (only empty
    cells). The source is read at once, the records are as they are asked for.

    Raises CorpusError for a source that cannot be read (with file, line, column and remedy), where none of its names
    means a clip or one means several, and for a clip that has the medium already.
    """
    if medium == RATINGS:
        table = read_ratings(source)
        return _with_ratings(records, ClipNames(source, table.names), table)
    is_table = PurePosixPath(source).suffix.lower() == ".csv" and "*" not in source
    media = _media_of_table(read_csv(source)) if is_table else _media_of_folder(source, _USUAL_PATTERN.get(medium, "*"))
    return _with_media(records, ClipNames(source, media), medium, media)


def _with_media(
    records: Iterable[Clip | Reject], names: ClipNames, medium: str, media: Mapping[str, Medium]
) -> Iterator[Clip | Reject]:
    for record in records:
        if isinstance(record, Reject) or not (found := names.of(record)):
            yield record
            continue
        if medium in record.media:
            raise CorpusError(f"medium {medium!r}: {record.id} has one of this name already: choose another name")
        names.spare(found[1:])
        yield replace(record, media={**record.media, medium: media[found[0]]})
    yield from names.rejects()


def _with_ratings(records: Iterable[Clip | Reject], names: ClipNames, table: RatingTable) -> Iterator[Clip | Reject]:
    unrated: list[str] = []
    for record in records:
        if isinstance(record, Reject) or not (found := names.of(record)):
            yield record
            continue
        unrated += [] if any(table.given[name] for name in found) else [record.id]
        yield table.rated(record, found)
    yield from names.rejects()
    if unrated:
        detail = f"{table.path}: {len(unrated)} clips are named and have no rating, such as {unrated[0]}"
        yield Reject(id=table.path, path=table.path, stage="attach", reason="no-rating", detail=detail)


def _media_of_table(table: CsvTable) -> dict[str, Medium]:
    """Name to medium: what the columns say, or the row itself where they say no path."""
    column = name_column(table)
    has_path = "path" in table.columns
    if has_path and (unknown := [name for name in table.columns if name not in (column, *_COLUMNS)]):
        known = ", ".join((column, *_COLUMNS))
        raise CorpusError(f"{table.path}, line 1: unknown column {', '.join(unknown)}: rename or remove it ({known})")
    lines: dict[str, int] = {}
    media: dict[str, Medium] = {}
    for row in table.rows:
        name = table.text(row, column)
        if name in media:
            raise table.fault(row, column, f"{name} stands on line {lines[name]} as well: remove one of the two lines")
        lines[name] = row.line
        media[name] = _medium(table, row) if has_path else Medium(path=f"{table.path}#{name}")
    return media


def _medium(table: CsvTable, row: CsvRow) -> Medium:
    track = table.number(row, "track")
    if track is not None and (track < 0 or track % 1):
        raise table.fault(row, "track", f"{row.cells['track']!r} is not a whole number of 0 or more: correct it")
    try:
        return Medium(
            path=beside(table.path, table.text(row, "path")),
            start_s=table.number(row, "start_s") or 0.0,
            end_s=table.number(row, "end_s"),
            offset_s=table.number(row, "offset_s") or 0.0,
            track=None if track is None else int(track),
        )
    except ValueError as error:
        raise table.fault(row, "start_s", f"{error}: correct the line") from None


def _media_of_folder(source: str, pattern: str) -> dict[str, Medium]:
    """Path within the folder to medium."""
    if "*" in PurePosixPath(source).name:
        source, _, pattern = source.rpartition("/")
    folder = Folder(source or ".")
    files = [name for name in folder.files() if fnmatch(PurePosixPath(name).name, pattern)]
    if not files:
        raise CorpusError(f"{source}: holds no {pattern} file: give a folder of files named by clip, or a CSV table")
    first_of: dict[str, PurePosixPath] = {}
    for file in map(PurePosixPath, files):
        first = first_of.setdefault(file.stem, file)
        if first.suffix != file.suffix:
            remedy = f"say which are meant, for example {folder.path(f'*{first.suffix}')}"
            raise CorpusError(f"{source}: {first} and {file} are files of one name: {remedy}")
    return {name: Medium(path=folder.path(name)) for name in files}
