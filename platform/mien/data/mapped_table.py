"""MappedTable: one feature of one corpus in a memory-mapped file of this node, built once from the store.

    $MIEN_CACHE/columns, or ~/.cache/mien/columns
        <feature>-<digest>.arrow    Arrow IPC, the columns of the store's parts; the digest is of their bytes
        <feature>-<digest>.lock     held by the process that builds it; it stays, empty

A file is whole or absent, and any of them may be deleted at any time: the next reader builds it again. Processes that
read the same file share its memory, which the system takes back when it needs it.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import socket
import uuid
from bisect import bisect_right
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from mien.errors import FolderError, StoreError
from mien.features.spec import FeatureSpec, Frames
from mien.features.store import FeatureStore, Row
from mien.features.store.rows import to_table, undecoded

_BATCH_BYTES = 16 * 2**20  # of values in one record batch: what building holds in memory, a few times over
_DIGEST = b"mien.digest"


class Source(NamedTuple):
    """Where a table's rows come from. digest: of all that is written in the store for this feature; see `source_of`."""

    store: str
    corpus: str
    spec: FeatureSpec
    digest: str

    @property
    def path(self) -> Path:
        """The file on this node."""
        return cache_folder() / f"{self.spec.folder}-{self.digest[:16]}.arrow"


def source_of(store: FeatureStore, corpus: str, spec: FeatureSpec) -> Source:
    """Of a finished feature. The fingerprint alone would not do: it names the rows, and not the bytes of their frames,
    which may differ after the feature was prepared afresh."""
    fingerprint = store.fingerprint(corpus, spec)
    manifest = store.feature_folder(corpus, spec).manifest()
    parts = sorted(part["sha256"] for part in manifest["parts"]) if manifest else []
    digest = hashlib.sha256(json.dumps([fingerprint, parts]).encode()).hexdigest()
    return Source(store.folder.uri, corpus, spec, digest)


def cache_folder() -> Path:
    """Where this node keeps such files."""
    home = os.environ.get("MIEN_CACHE") or Path.home() / ".cache" / "mien"
    return Path(home) / "columns"


def mapped_table(source: Source) -> MappedTable:
    """The table of a source, whose file is built where this node has none; one process builds, the others wait.

    Raises StoreError where the store no longer holds what the source names, FolderError where the file cannot be
    written.
    """
    table = _opened(source)
    if table is not None:
        return table
    with _building(source.path):
        table = _opened(source)  # another process has built it while this one waited
        if table is None:
            _build(source)
            table = _opened(source)
    if table is None:
        raise FolderError(f"{source.path}: was written and cannot be read; set MIEN_CACHE to a folder on a sound disk")
    return table


class MappedTable:
    """The rows of one feature of one corpus, in no particular order. lengths: (N,) frames of each."""

    def __init__(self, path: Path, spec: FeatureSpec) -> None:
        """Raises pa.ArrowInvalid where the file is no such table."""
        reader = pa.ipc.open_file(pa.memory_map(str(path)))
        self.digest = reader.schema.metadata[_DIGEST].decode()
        self._spec = spec
        self._batches = [_MappedBatch(reader.get_batch(i), spec) for i in range(reader.num_record_batches)]
        self._first = np.cumsum([0, *(len(batch) for batch in self._batches)]).tolist()
        self.lengths = np.concatenate([[], *(batch.lengths for batch in self._batches)]).astype(np.int64)

    def column(self, name: str) -> list[Any]:
        """clip_id, content, start_s or end_s of each row."""
        return [value for batch in self._batches for value in batch.column(name).to_pylist()]

    def rows_of(self, clip_ids: pa.Array) -> NDArray[np.int64]:
        """Row of each of these clips, -1 where there is none."""
        import pyarrow.compute as pc

        own = pa.chunked_array([batch.column("clip_id") for batch in self._batches], pa.string())
        return pc.fill_null(pc.index_in(clip_ids, value_set=own), -1).to_numpy().astype(np.int64)

    def frames(self, row: int) -> Frames:
        """Frames of one row: views of the file, whose pictures are decoded when they are asked for."""
        number = bisect_right(self._first, row) - 1
        return self._batches[number].frames(row - self._first[number])


class _MappedBatch:
    """A record batch; numpy sees it when it is first asked for."""

    def __init__(self, batch: pa.RecordBatch, spec: FeatureSpec) -> None:
        self._batch, self._spec = batch, spec

    def __len__(self) -> int:
        return self._batch.num_rows

    def column(self, name: str) -> pa.Array:
        return self._batch.column(name)

    @property
    def lengths(self) -> NDArray[np.int32]:
        return self.column("n_frames").to_numpy()

    def frames(self, row: int) -> Frames:
        start, end = self._offsets[row], self._offsets[row + 1]
        values = self._values[start:end]
        valid = self._valid[start:end].to_numpy(zero_copy_only=False)
        return undecoded(values, valid, self._spec)

    @cached_property
    def _offsets(self) -> NDArray[np.int32]:
        return self.column("values").offsets.to_numpy()

    @cached_property
    def _values(self) -> NDArray[np.float32] | pa.Array:
        values = self.column("values").values
        return values.values.to_numpy().reshape(-1, *self._spec.shape) if self._spec.is_numeric else values

    @cached_property
    def _valid(self) -> pa.Array:
        return self.column("valid").values


def _opened(source: Source) -> MappedTable | None:
    """None where there is no such file, or it is cut, or another."""
    try:
        table = MappedTable(source.path, source.spec)
    except (OSError, KeyError, TypeError, pa.ArrowException):
        return None
    return table if table.digest == source.digest else None


@contextmanager
def _building(path: Path) -> Iterator[None]:
    """Alone on this node. The lock goes with its process, however that ends."""
    with _writable(path.parent):
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = path.with_suffix(".lock").open("w")
    with lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _build(source: Source) -> None:
    store = FeatureStore(source.store)
    if not store.folder.names():
        raise StoreError(
            f"{store.folder}: not there on {socket.gethostname()}, where its features are needed; give a store that "
            "every node reaches, s3://bucket/prefix or a folder on a shared disk"
        )
    if source_of(store, source.corpus, source.spec) != source:
        raise StoreError(
            f"{store.folder.path(source.corpus)}: {source.spec.name} was prepared again since the dataset was read; "
            "start again"
        )
    path = source.path
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}")
    metadata = {_DIGEST: source.digest.encode()}
    batches = _in_batches(store.iterate(source.corpus, source.spec))
    tables = (to_table(rows, source.spec).replace_schema_metadata(metadata) for rows in batches)
    first = next(tables, pa.table({}).replace_schema_metadata(metadata))  # a feature may have no rows, only rejects
    try:
        with _writable(path.parent), temporary.open("wb") as file:
            with pa.ipc.new_file(file, first.schema) as writer:
                for table in chain([first], tables):
                    writer.write_table(table)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def _in_batches(rows: Iterable[Row]) -> Iterator[list[Row]]:
    some: list[Row] = []
    n_bytes = 0
    for row in rows:
        some.append(row)
        n_bytes += row.values.nbytes if isinstance(row.values, np.ndarray) else sum(map(len, row.values))
        if n_bytes >= _BATCH_BYTES:
            yield some
            some, n_bytes = [], 0
    if some:
        yield some


@contextmanager
def _writable(folder: Path) -> Iterator[None]:
    """What a disk refuses (full, read-only) as one FolderError with the remedy."""
    try:
        yield
    except OSError as error:
        raise FolderError(
            f"{folder}: cannot be written to ({error.strerror or error}); make room there, or set MIEN_CACHE to a "
            "folder with room for the features"
        ) from error
