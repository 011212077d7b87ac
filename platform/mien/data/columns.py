"""Column: one feature of N clips. Where its frames lie is its own business: no reader of it knows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from mien.data.mapped_table import MappedTable, Source, mapped_table
from mien.features.spec import FeatureSpec, Frames
from mien.features.store import FeatureTable
from mien.features.store.rows import undecoded


class Column(Protocol):
    """One feature of N clips.

    lengths: (N,) frames of each clip, 0 where it lacks the feature. column[row]: its frames; (0, *shape) where it lacks
    the feature. Pictures of a store are decoded when numpy asks for them, so that who reads some of a clip's decodes no
    others (`mien.features.store.rows.StoredPictures`). A column can be sent to another process.
    """

    spec: FeatureSpec
    lengths: NDArray[np.int64]

    def __getitem__(self, row: int) -> Frames: ...


class InMemory:
    """A column whose frames are there: those of tables of the store, or made by hand."""

    def __init__(self, spec: FeatureSpec, frames: Sequence[Frames | None]) -> None:
        """frames: of each clip, None where it lacks the feature. Values may be JPEG files, as in a store's table."""
        self.spec = spec
        self.lengths = np.array([0 if one is None else len(one.valid) for one in frames], np.int64)
        self._frames = frames

    @classmethod
    def of_tables(cls, spec: FeatureSpec, tables: Sequence[FeatureTable], clip_ids: Sequence[str]) -> InMemory:
        """Of these clips, each in one of the tables or in none: views, nothing is copied."""
        frames: dict[str, Frames] = {}
        for table in tables:
            for clip_id, start, end in zip(table.clip_ids, table.offsets.tolist(), table.offsets[1:].tolist()):
                frames[clip_id] = Frames(table.values[start:end], table.valid[start:end])  # type: ignore[arg-type]
        return cls(spec, [frames.get(clip_id) for clip_id in clip_ids])

    def __getitem__(self, row: int) -> Frames:
        frames = self._frames[row]
        return absent(self.spec) if frames is None else undecoded(frames.values, frames.valid, self.spec)


class Mapped:
    """A column whose frames lie in memory-mapped files of this node: see `mien.data.mapped_table`.

    Sent to another process it is a reference, some bytes per clip. On a node without the files it builds them from the
    store, which that node must reach.
    """

    def __init__(self, spec: FeatureSpec, sources: Sequence[Source], clip_ids: Sequence[str]) -> None:
        """sources: the tables that these clips are in, each clip in one of them or in none."""
        self.spec = spec
        self._sources, self._clip_ids = tuple(sources), clip_ids
        self._open()

    def __getitem__(self, row: int) -> Frames:
        if self._tables is None:
            self._open()
        place = self._row[row]
        return absent(self.spec) if place < 0 else self._tables[self._table[row]].frames(place)  # type: ignore[index]

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_tables": None, "_table": None, "_row": None}

    def _open(self) -> None:
        tables = [mapped_table(source) for source in self._sources]
        clip_ids = pa.array(self._clip_ids, pa.string())
        self._row = np.full(len(clip_ids), -1, np.int64)
        self._table = np.zeros(len(clip_ids), np.int16)
        self.lengths = np.zeros(len(clip_ids), np.int64)
        for number, table in enumerate(tables):
            rows = table.rows_of(clip_ids)
            found = rows >= 0
            self._row[found], self._table[found] = rows[found], number
            self.lengths[found] = table.lengths[rows[found]]
        self._tables: list[MappedTable] | None = tables


def absent(spec: FeatureSpec) -> Frames:
    """The frames of a clip that lacks a feature: none."""
    return Frames(np.zeros((0, *spec.shape), np.float32 if spec.is_numeric else np.uint8), np.zeros(0, bool))
