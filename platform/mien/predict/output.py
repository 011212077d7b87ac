"""What was predicted, as a file: .csv, .parquet, .json or .jsonl, with the same columns (see `Predicted`).

CSV and Parquet hold a row per file, and a second file <name>.track<suffix> a row per window. JSON holds all of it in
one object, JSON lines an object per file; both have the windows of a file in it, as "track".
"""

from __future__ import annotations

import io
import json
import math
from collections import defaultdict
from collections.abc import Sequence
from pathlib import PurePosixPath
from typing import Any

import pyarrow as pa

from mien.errors import MienError
from mien.folder import Folder, absolute, to_parquet
from mien.predict.files import Predicted
from mien.predict.recordings import places

SUFFIXES = (".csv", ".json", ".jsonl", ".parquet")


def check_output(path: str, inputs: Sequence[str], *, overwrite: bool, with_track: bool) -> None:
    """Raises MienError where the answers cannot be written there, or an input is not there, before anything is done."""
    suffix = PurePosixPath(path).suffix.lower()
    if suffix not in SUFFIXES:
        raise MienError(f"out {path}: {suffix or 'no suffix'} is no format of answers; give {', '.join(SUFFIXES)}")
    if absolute(path) in {absolute(place) for one in inputs for place in places(one)}:
        raise MienError(f"out {path}: is one of the files to predict; give another name")
    for written in (path, *([_track_path(path)] if with_track and suffix in (".csv", ".parquet") else [])):
        folder, name = _place(written)
        if not overwrite and folder.exists(name):
            raise MienError(f"out {written}: is there already; give another name, or overwrite it with --overwrite")


def write_output(predicted: Predicted, path: str) -> list[str]:
    """Writes the answers, whole or not at all, and returns the paths of the files that they are in."""
    suffix = PurePosixPath(path).suffix.lower()
    if suffix in (".csv", ".parquet"):
        tables = {path: predicted.files}
        if predicted.track is not None:
            tables[_track_path(path)] = predicted.track
        files = {
            name: _as_csv(one) if suffix == ".csv" else _as_parquet(one, predicted) for name, one in tables.items()
        }
    elif suffix == ".json":
        files = {path: json.dumps(document(predicted), indent=2).encode() + b"\n"}
    else:
        files = {path: "".join(f"{json.dumps(row)}\n" for row in _rows(predicted)).encode()}
    for name, data in files.items():
        folder, last = _place(name)
        folder.write_bytes(last, data)
    return list(files)


def document(predicted: Predicted) -> dict[str, Any]:
    """All of it as JSON values; what is not known is null."""
    return {**_about(predicted), "files": _rows(predicted)}


def _about(predicted: Predicted) -> dict[str, Any]:
    return {
        "run": predicted.run,
        "target": {"kind": predicted.target.kind, "names": list(predicted.target.names)},
        "members": predicted.n_members,
        "dropout": predicted.n_draws,
        "calibrated": predicted.is_calibrated,
        "notes": list(predicted.notes),
        "n_files": len(predicted.files),
        "n_rejects": predicted.n_rejects,
        "reasons": predicted.reasons,
        "scores": predicted.scores,
    }


def _rows(predicted: Predicted) -> list[dict[str, Any]]:
    """A row per file, with its windows."""
    rows = list(map(_plain, predicted.files.to_pylist()))
    if predicted.track is not None:
        tracks: dict[str, list[dict[str, Any]]] = defaultdict(list)
        for window in predicted.track.to_pylist():
            tracks[window.pop("clip")].append(_plain(window))
        for row in rows:
            row["track"] = tracks[row["clip"]]
    return rows


def _plain(row: dict[str, Any]) -> dict[str, Any]:
    return {name: None if isinstance(value, float) and math.isnan(value) else value for name, value in row.items()}


def _as_csv(table: pa.Table) -> bytes:
    from pyarrow import csv

    data = io.BytesIO()
    csv.write_csv(_without_nan(table), data)
    return data.getvalue()


def _as_parquet(table: pa.Table, predicted: Predicted) -> bytes:
    return to_parquet(_without_nan(table).replace_schema_metadata({"mien.predicted": json.dumps(_about(predicted))}))


def _without_nan(table: pa.Table) -> pa.Table:
    """A number that is not known is no value, rather than NaN."""
    import pyarrow.compute as pc

    for place, column in enumerate(table.schema):
        if pa.types.is_floating(column.type):
            values = table.column(place)
            known = pc.if_else(pc.is_nan(values), pa.scalar(None, column.type), values)
            table = table.set_column(place, column, known)
    return table


def _track_path(path: str) -> str:
    stem, dot, suffix = path.rpartition(".")
    return f"{stem}.track{dot}{suffix}"


def _place(path: str) -> tuple[Folder, str]:
    folder, slash, name = path.rpartition("/")
    return Folder(folder or slash or "."), name
