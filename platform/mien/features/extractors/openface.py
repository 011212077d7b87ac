"""Action units that OpenFace wrote to CSV, as features: per frame, or one row for the whole clip.

OpenFace 2 (Baltrušaitis et al. 2018) estimates 35 facial action units: 17 intensities in [0, 5] (AU01_r) and
18 presences, 0 or 1 (AU01_c). Its CSV files differ by version and by program: names and fields with or
without blanks after the comma, with `face_id` (FeatureExtraction of several faces) or without, `;` instead
of `,`, with `timestamp`, `confidence` and `success` or with nothing but the units. All of these are read, by
column name.

A medium of this kind is the path of such a file, or `<table>.csv#<clip>` for one row of a table with one row per clip
and a column that names it (clip_id, file or clip).
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from functools import lru_cache
from typing import ClassVar, NamedTuple

import numpy as np
from numpy.typing import NDArray

from mien.corpora.clip_names import COLUMNS
from mien.errors import MediaError
from mien.features.spec import FeatureSpec, Frames, Kind
from mien.folder import Folder

_INTENSITIES = (1, 2, 4, 5, 6, 7, 9, 10, 12, 14, 15, 17, 20, 23, 25, 26, 45)
_PRESENCES = (1, 2, 4, 5, 6, 7, 9, 10, 12, 14, 15, 17, 20, 23, 25, 26, 28, 45)
ACTION_UNITS = tuple(f"AU{u:02}_r" for u in _INTENSITIES) + tuple(f"AU{u:02}_c" for u in _PRESENCES)
HOP_S = 1001 / 30_000  # NTSC video: the rate of RAVDESS, and the one assumed where a file has no timestamps
LONGEST_GAP_S = 600.0  # one wrong digit in a timestamp can ask for years of frames
MIN_CONFIDENCE = 0.5  # below it, OpenFace itself says that it more likely lost the face than not


class Track(NamedTuple):
    """Action units of one face as a file has them. times_s: (N,), ascending; frames: (N, 35)."""

    times_s: NDArray[np.floating]
    frames: Frames


@dataclass(frozen=True, kw_only=True)
class ActionUnits:
    """Extractor that reads a CSV of OpenFace; its signal is the path (see the module)."""

    spec: FeatureSpec
    medium: ClassVar[str] = "openface"
    kind: ClassVar[Kind] = "table"
    rate_hz: ClassVar[float] = 0.0
    is_heavy: ClassVar[bool] = False

    def __call__(self, signal: str, rate_hz: float) -> Frames:
        """Frames of one file, at the constant rate of the spec or as one mean row.

        Frames at a constant rate take the row nearest in time, and are masked where none lies within one
        frame. A file without any usable row is all masked. Raises MediaError for a file that cannot be read
        as such.
        """
        path, _, row = signal.partition("#")
        if self.spec.hop_s is None:
            return _mean(read_openface(path).frames) if not row else read_row(path, row)
        if row:
            raise MediaError("bad-table", f"{signal}: one row for a clip has no frames; use openface-clip")
        return _at_constant_rate(read_openface(path), self.spec.hop_s)


@dataclass(frozen=True, kw_only=True, slots=True)
class OpenFaceSettings:
    """35 action units that OpenFace wrote to CSV, 29.97 a second."""

    def build(self) -> ActionUnits:
        return ActionUnits(spec=_spec("openface", HOP_S))


@dataclass(frozen=True, kw_only=True, slots=True)
class OpenFaceClipSettings:
    """35 action units that OpenFace wrote to CSV, averaged over the usable frames of the clip: one row."""

    def build(self) -> ActionUnits:
        return ActionUnits(spec=_spec("openface-clip", None))


def _spec(name: str, hop_s: float | None) -> FeatureSpec:
    return FeatureSpec(
        name=name,
        version=1,
        modality="video",
        shape=(len(ACTION_UNITS),),
        hop_s=hop_s,
        columns=ACTION_UNITS,
        settings={"min_confidence": MIN_CONFIDENCE},
    )


def read_openface(path: str) -> Track:
    """The action units of one face, as the file has them.

    Masked (zeros, not valid): rows that OpenFace marks as failed, below MIN_CONFIDENCE, or without a number.
    Of several faces, the one that is in most rows (of equals, the lower face_id). Without timestamps, rows
    are HOP_S apart. Raises MediaError: missing, unreadable, empty, truncated (a row that stops), bad-table
    (text where a number belongs), missing-columns, bad-times (timestamps that do not ascend, or ten minutes
    without a row of anybody).
    """
    names, rows = _read_csv(path)
    try:
        table = np.array([[float(field or "nan") for field in row] for row in rows])
    except ValueError as error:
        raise MediaError("bad-table", f"{path}: {error}") from error
    columns = dict(zip(names, table.T))
    keep = np.ones(len(table), dtype=bool)
    if "face_id" in columns:
        ids, counts = np.unique(columns["face_id"], return_counts=True)
        keep = columns["face_id"] == ids[counts.argmax()]
    values = table[keep][:, [names.index(unit) for unit in ACTION_UNITS]]
    valid = np.isfinite(values).all(axis=1)
    if "success" in columns:
        valid &= columns["success"][keep] > 0
    if "confidence" in columns:
        valid &= columns["confidence"][keep] >= MIN_CONFIDENCE
    times_s = columns["timestamp"][keep] if "timestamp" in columns else np.arange(len(values)) * HOP_S
    gaps_s = np.diff(np.sort(columns.get("timestamp", times_s)), prepend=0.0)
    if not (np.diff(times_s, prepend=0.0) >= 0).all() or not (gaps_s <= LONGEST_GAP_S).all():
        raise MediaError("bad-times", f"{path}: its timestamps fall, jump or are no numbers; run OpenFace again")
    return Track(times_s, _masked(values, valid))


def read_row(path: str, clip: str) -> Frames:
    """One clip's row of a table; the table is read once in a process."""
    rows = _clip_table(path)
    if clip not in rows:
        raise MediaError("missing", f"{path}: has no row for clip {clip}")
    try:
        values = np.array([[float(rows[clip][unit] or "nan") for unit in ACTION_UNITS]])
    except ValueError as error:
        raise MediaError("bad-table", f"{path}, clip {clip}: {error}") from error
    return _masked(values, np.isfinite(values).all(axis=1))


def _masked(values: NDArray[np.floating], valid: NDArray[np.bool_]) -> Frames:
    return Frames(np.where(valid[:, None], values, 0.0).astype(np.float32), valid)


def _mean(frames: Frames) -> Frames:
    seen = frames.values[frames.valid]
    mean = seen.mean(axis=0, keepdims=True, dtype=np.float64) if len(seen) else np.zeros((1, len(ACTION_UNITS)))
    return _masked(mean, np.array([len(seen) > 0]))


def _at_constant_rate(track: Track, hop_s: float) -> Frames:
    times_s = np.arange(round(track.times_s[-1] / hop_s) + 1) * hop_s
    halfway_s = (track.times_s[1:] + track.times_s[:-1]) / 2
    nearest = np.searchsorted(halfway_s, times_s)
    is_near = np.abs(track.times_s[nearest] - times_s) <= hop_s
    return _masked(track.frames.values[nearest], track.frames.valid[nearest] & is_near)


@lru_cache(maxsize=4)
def _clip_table(path: str) -> dict[str, dict[str, str]]:
    names, rows = _read_csv(path)
    found = [column for column in COLUMNS if column in names]
    if len(found) != 1:
        raise MediaError("missing-columns", f"{path}: exactly one column must name the clips: {' or '.join(COLUMNS)}")
    return {row[names.index(found[0])]: dict(zip(names, row)) for row in rows}


def _read_csv(path: str) -> tuple[list[str], list[list[str]]]:
    """Column names and rows of text, blanks stripped, each row as long as the header."""
    folder, _, name = path.rpartition("/")
    try:
        text = Folder(folder or ".").read_text(name)
    except FileNotFoundError as error:
        raise MediaError("missing", f"{path}: no such file") from error
    except (OSError, UnicodeDecodeError) as error:
        raise MediaError("unreadable", f"{path}: cannot be read: {error}") from error
    lines = [line for line in text.splitlines() if line.strip()]
    if len(lines) < 2:
        raise MediaError("empty", f"{path}: no rows")
    delimiter = ";" if ";" in lines[0] else ","
    rows = [[field.strip() for field in row] for row in csv.reader(lines, delimiter=delimiter)]
    names = rows.pop(0)
    lacking = [column for column in ACTION_UNITS if column not in names]
    if lacking:
        raise MediaError("missing-columns", f"{path}: lacks {', '.join(lacking)}; run OpenFace with -aus")
    for number, row in enumerate(rows, start=2):
        if len(row) != len(names):
            raise MediaError("truncated", f"{path}, line {number}: {len(row)} fields, expected {len(names)}")
    return names, rows
