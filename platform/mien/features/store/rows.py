"""Row: features of one clip as they lie in a part of the store, and FeatureTable: those of many clips in memory.

A part is a table of nested Arrow lists, which every reader of Parquet knows, and not of a tensor extension type.
Numbers are a list of fixed-size lists of float32, pictures a list of binary, each a whole JPEG file.
"""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from mien.features.spec import FeatureSpec, Frames

SPEC_KEY = b"mien.feature_spec"
INDEX = ["clip_id", "content", "start_s", "end_s", "n_frames"]
CLIPS_OF_A_PICTURE_GROUP = 8  # random access reads a whole row group: 8 clips 656 a second, 64 clips 80 a second
_QUALITY, _SUBSAMPLING = 92, "4:4:4"  # where the spec's settings do not say

Values = NDArray[np.float32] | list[bytes]


class Row(NamedTuple):
    """Features of one clip, and what they were extracted from.

    content: SHA-256 of the file, "<sha>#<row>" for a row of a table, "<sha>#<track>" for one track of a recording.
    start_s, end_s: the stretch of the file, end_s None to its end. values: (T, *shape) float32, or T JPEG files where
    the codec of the spec is jpeg. valid: (T,).
    """

    clip_id: str
    content: str
    start_s: float
    end_s: float | None
    values: Values
    valid: NDArray[np.bool_]


class Entry(NamedTuple):
    """A row without its values, and the part that holds it."""

    clip_id: str
    content: str
    start_s: float
    end_s: float | None
    n_frames: int
    part: str


@dataclass(frozen=True, slots=True)
class FeatureTable:
    """One feature of all clips that have it, sorted by clip id; read-only.

    content, start_s, end_s: of each clip, as in `Row`; all three equal for copies. Clip i has the frames offsets[i] to
    offsets[i + 1] of values, (sum T, *shape) float32 or a list of sum T JPEG files, and of valid, (sum T,).
    """

    spec: FeatureSpec
    clip_ids: list[str]
    content: list[str]
    start_s: list[float]
    end_s: list[float | None]
    offsets: NDArray[np.int64]
    values: Values
    valid: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.clip_ids)

    def frames(self, row: int) -> Frames:
        """Frames of one clip: views of the numbers, or its pictures decoded."""
        frames = slice(self.offsets[row], self.offsets[row + 1])
        return decoded(self.values[frames], self.valid[frames], self.spec)


# ---------------------------------------------------------------- frames


def encoded(frames: Frames, spec: FeatureSpec) -> Values:
    """Frames as a Row holds them.

    JPEG by Pillow at the quality (1 to 95) and subsampling ("4:4:4", "4:2:2" or "4:2:0") of the spec's settings: equal
    pictures give equal bytes with one version of libjpeg.
    """
    if spec.codec == "float32":
        return np.ascontiguousarray(frames.values, np.float32)
    quality = spec.settings.get("quality", _QUALITY)
    subsampling = spec.settings.get("subsampling", _SUBSAMPLING)
    nothing = _black(*spec.shape[:2])
    return [
        _jpeg(picture, quality, subsampling) if is_valid else nothing
        for picture, is_valid in zip(frames.values, frames.valid)
    ]


def decoded(values: Values, valid: NDArray[np.bool_], spec: FeatureSpec) -> Frames:
    """Frames of the values of a Row: (T, *shape), float32, or uint8 RGB where they are pictures."""
    stored = undecoded(values, valid, spec)
    return Frames(np.asarray(stored.values), valid)


def undecoded(values: Values | pa.Array, valid: NDArray[np.bool_], spec: FeatureSpec) -> Frames:
    """The same frames, whose pictures are decoded when they are asked for: see `StoredPictures`."""
    return Frames(values if isinstance(values, np.ndarray) else StoredPictures(values, valid, spec.shape), valid)  # type: ignore[arg-type]


class StoredPictures:
    """T pictures as JPEG files, of which an array is made when numpy asks for one: np.asarray(pictures), or x[:] =
    pictures.

    pictures[which], by a slice, a mask or positions, chooses some of them, in that order, and decodes none. files: T
    JPEG files; where valid, (T,), is False there is nothing to see, and the array has zeros.
    """

    dtype = np.dtype(np.uint8)

    def __init__(self, files: Sequence[bytes] | pa.Array, valid: NDArray[np.bool_], shape: tuple[int, ...]) -> None:
        self._files, self._valid, self._shape = files, valid, shape
        self._chosen = np.arange(len(valid))

    @property
    def shape(self) -> tuple[int, ...]:
        """(T, H, W, 3)."""
        return (len(self._chosen), *self._shape)

    def __len__(self) -> int:
        return len(self._chosen)

    def __getitem__(self, which: slice | NDArray[Any]) -> StoredPictures:
        some = StoredPictures(self._files, self._valid, self._shape)
        some._chosen = self._chosen[which]
        return some

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[np.uint8]:
        pictures = np.zeros(self.shape, np.uint8)
        for number in np.unique(self._chosen[self._valid[self._chosen]]).tolist():  # a repeated one is decoded once
            file = self._files[number]
            pictures[self._chosen == number] = decode_jpeg(file if isinstance(file, bytes) else file.as_py())
        return pictures if dtype is None else pictures.astype(dtype, copy=False)


def decode_jpeg(data: bytes) -> NDArray[np.uint8]:
    """One picture, (H, W, 3) RGB."""
    from PIL import Image

    with Image.open(io.BytesIO(data)) as picture:
        return np.asarray(picture.convert("RGB"))


def _jpeg(picture: NDArray[np.uint8], quality: int, subsampling: str) -> bytes:
    from PIL import Image

    file = io.BytesIO()
    Image.fromarray(picture).save(file, "JPEG", quality=quality, subsampling=subsampling)
    return file.getvalue()


@cache
def _black(height: int, width: int) -> bytes:
    """A frame in which there is nothing to see, for readers who decode it all the same."""
    return _jpeg(np.zeros((height, width, 3), np.uint8), 50, "4:2:0")


# ---------------------------------------------------------------- Arrow


def to_table(rows: Sequence[Row], spec: FeatureSpec) -> pa.Table:
    """The table of a part."""
    lengths = [len(row.valid) for row in rows]
    offsets = pa.array(np.cumsum([0, *lengths]), pa.int32())
    if spec.codec == "jpeg":
        flat: pa.Array = pa.array([picture for row in rows for picture in row.values], pa.binary())
    else:
        numbers = np.concatenate([np.asarray(row.values, np.float32).reshape(-1) for row in rows])
        flat = pa.FixedSizeListArray.from_arrays(pa.array(numbers, pa.float32()), spec.dim)
    valid = pa.array(np.concatenate([row.valid for row in rows]), pa.bool_())
    return pa.table(
        {
            "clip_id": pa.array([row.clip_id for row in rows], pa.string()),
            "content": pa.array([row.content for row in rows], pa.string()),
            "start_s": pa.array([row.start_s for row in rows], pa.float64()),
            "end_s": pa.array([row.end_s for row in rows], pa.float64()),
            "n_frames": pa.array(lengths, pa.int32()),
            "values": pa.ListArray.from_arrays(offsets, flat),
            "valid": pa.ListArray.from_arrays(offsets, valid),
        },
        metadata={SPEC_KEY: json.dumps(spec.to_json()).encode()},
    )


def from_table(table: pa.Table, spec: FeatureSpec) -> Iterator[Row]:
    """The rows of a table that `to_table` made. Raises KeyError for a column that is not there."""
    columns: dict[str, Any] = {name: table[name].combine_chunks() for name in (*INDEX, "values", "valid")}
    values = columns["values"].flatten()
    if spec.codec == "float32":
        values = values.flatten().to_numpy().reshape(-1, *spec.shape)
    valid = columns["valid"].flatten().to_numpy(zero_copy_only=False)
    ends = np.cumsum(columns["n_frames"].to_numpy(), dtype=np.int64)
    index = zip(*(columns[name].to_pylist() for name in INDEX))
    for (clip_id, content, start_s, end_s, n_frames), end in zip(index, ends.tolist()):
        some = values[end - n_frames : end]
        some = some.to_pylist() if spec.codec == "jpeg" else some
        yield Row(clip_id, content, start_s, end_s, some, valid[end - n_frames : end])


def fingerprint(spec: FeatureSpec, entries: Iterable[Entry]) -> str:
    """SHA-256 of the JSON of [spec, [[clip id, content, start, end, frames], ...]], which is never whole in memory."""
    digest = hashlib.sha256(f"[{json.dumps(spec.to_json(), sort_keys=True)}, [".encode())
    for number, entry in enumerate(sorted(entries, key=lambda entry: entry.clip_id)):
        row = json.dumps(entry[:-1])
        digest.update(f", {row}".encode() if number else row.encode())
    digest.update(b"]]")
    return digest.hexdigest()
