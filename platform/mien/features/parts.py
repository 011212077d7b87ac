"""Parts: the Parquet files of one feature of one corpus, written by many processes and read by any reader.

    part-<hash>.parquet     clips that have a row: clip_id, content, n_frames, values, valid
    rejects-<hash>.parquet  clips of the same batch that have none, and why; merged into rejects.parquet at
    the end MANIFEST.json           written last; a feature without one is not finished

The hash is that of the batch's clip ids, so a batch that is done twice overwrites itself. A clip may still
come twice when a process outlives the job that it belonged to; `finish` keeps the first.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from mien import __version__
from mien.corpora.clip import Reject, rejects_to_table
from mien.errors import DamagedError, StoreError
from mien.features.spec import FeatureSpec, Frames
from mien.folder import Folder, to_parquet

FORMAT = 1  # of the store's layout; raised when an older mien could misread what a newer one writes
SPEC_KEY = b"mien.feature_spec"
MANIFEST = "MANIFEST.json"
REJECTS = "rejects.parquet"
WORK = ".work.json"

_INDEX = ["clip_id", "content", "n_frames"]
_READERS = 8  # parts read at a time: enough to hide the latency of S3


class Row(NamedTuple):
    """Features of one clip. content: SHA-256 of the medium that they were extracted from."""

    clip_id: str
    content: str
    frames: Frames


class Entry(NamedTuple):
    """A row without its values, and the part that holds it."""

    clip_id: str
    content: str
    n_frames: int
    part: str


@dataclass(frozen=True, slots=True)
class FeatureTable:
    """One feature of all clips that have it, sorted by clip id; read-only.

    content: SHA-256 of each clip's medium, equal for byte-identical ones. Clip i has the frames offsets[i] to
    offsets[i + 1] of values, (sum T, D) float32, and valid, (sum T,).
    """

    spec: FeatureSpec
    clip_ids: list[str]
    content: list[str]
    offsets: NDArray[np.int64]
    values: NDArray[np.float32]
    valid: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.clip_ids)

    def frames(self, row: int) -> Frames:
        """Frames of one clip: views, nothing is copied."""
        frames = slice(self.offsets[row], self.offsets[row + 1])
        return Frames(self.values[frames], self.valid[frames])


@dataclass(frozen=True, slots=True)
class Parts:
    """The folder of one feature of one corpus; it can be sent to another process."""

    folder: Folder
    spec: FeatureSpec

    @property
    def attempts(self) -> Folder:
        """Where workers keep what they are at while a job runs; hidden from readers, see
        `mien.features.worker`."""
        return self.folder / ".attempts"

    # ---------------------------------------------------------------- writing

    def write(self, batch: Sequence[str], rows: Sequence[Row], rejects: Sequence[Reject]) -> None:
        """Write what became of one batch of clips, given by their ids. Raises StoreError when it cannot be
        written."""
        name = hash_ids(batch)[:16]
        with writing(self.folder):
            if rows:
                self.folder.write_bytes(f"part-{name}.parquet", to_parquet(_to_table(rows, self.spec)))
            if rejects:
                self.folder.write_bytes(f"rejects-{name}.parquet", to_parquet(rejects_to_table(rejects)))

    def reopen(
        self, *, retry_rejects: bool = False, fresh: bool = False, retry: Collection[str] = frozenset()
    ) -> set[str]:
        """Make ready for more and return the ids of the clips that are done: all with a row or a reject.

        Until `finish`, nobody reads it as finished. A part that cannot be read is removed: its clips are not
        done. retry_rejects: forget the rejects; retry: those of these clips. fresh: forget everything, for media whose
        bytes have changed.
        """
        with writing(self.folder):
            if fresh:
                self.folder.remove()
                return set()
            self.folder.remove(MANIFEST)
            self.attempts.remove()
            done = set()
            parts = self._names("part-")
            with ThreadPoolExecutor(_READERS) as pool:
                for part, ids in zip(parts, pool.map(self._ids_or_none, parts)):
                    if ids is None:
                        self.folder.remove(part)
                    else:
                        done |= ids
            for name in self._names("rejects"):
                if retry_rejects:
                    self.folder.remove(name)
                    continue
                rejects = read_rejects(self.folder, name)
                kept = [reject for reject in rejects if reject.id not in retry]
                if len(kept) < len(rejects):
                    self.folder.write_bytes(name, to_parquet(rejects_to_table(kept)))
                done |= {reject.id for reject in kept}
        return done

    def rejected(self, reason: str) -> set[str]:
        """Ids of the clips that were rejected for this reason, finished or not."""
        manifest = self.manifest()
        if manifest is not None and reason not in manifest["reasons"]:
            return set()
        names = self._names("rejects")
        return {r.id for name in names for r in read_rejects(self.folder, name) if r.reason == reason}

    def finish(self, clip_ids: Collection[str]) -> dict[str, Any]:
        """Prove that each clip has one row or one reject, and write the MANIFEST, which is returned.

        Rows and rejects of other clips (gone from the corpus since) do not count. Raises StoreError naming a
        clip that has neither.
        """
        with writing(self.folder):
            self._keep_first()
            parts = self._names("part-")
            all_entries = self.entries(parts)
            entries = [entry for entry in all_entries if entry.clip_id in clip_ids]
            seen = {entry.clip_id for entry in entries}
            found = {reject.id: reject for name in self._names("rejects") for reject in read_rejects(self.folder, name)}
            rejects = [found[clip_id] for clip_id in sorted(found.keys() & set(clip_ids) - seen)]
            missing = set(clip_ids) - seen - found.keys()
            if missing:
                raise StoreError(
                    f"{self.folder}: {len(missing)} clips have neither row nor reject, such as {min(missing)}"
                )
            rejects_file = to_parquet(rejects_to_table(rejects))
            self.folder.write_bytes(REJECTS, rejects_file)
            for name in self._names("rejects-"):
                self.folder.remove(name)
            n_rows = Counter(entry.part for entry in all_entries)
            manifest = {
                "format": FORMAT,
                "mien": __version__,
                "spec": self.spec.to_json(),
                "clip_ids_sha256": hash_ids(clip_ids),
                "n_clips": len(clip_ids),
                "n_rows": len(entries),
                "n_rejects": len(rejects),
                "reasons": dict(Counter(reject.reason for reject in rejects).most_common()),
                "n_frames": sum(entry.n_frames for entry in entries),
                "fingerprint": _fingerprint(self.spec, entries),
                "rejects_sha256": sha256(rejects_file),
                "parts": [
                    {"name": part, "n_rows": n_rows[part], "sha256": digest}
                    for part, digest in zip(parts, self._hashes(parts))
                ],
            }
            self.attempts.remove()
            self.folder.write_json(MANIFEST, manifest)
        return manifest

    def note_work(self, note: dict[str, Any]) -> None:
        """Add what a job took to the others'; hidden from readers, and no part of what was finished."""
        with writing(self.folder):
            self.folder.write_json(WORK, [*self.work(), note])

    def work(self) -> list[dict[str, Any]]:
        """What each job that extracted something took, in their order."""
        return self.folder.read_json(WORK) if self.folder.exists(WORK) else []

    def _keep_first(self) -> None:
        """Rewrite the parts that repeat clips of the parts before them."""
        seen: set[str] = set()
        parts = self._names("part-")
        with ThreadPoolExecutor(_READERS) as pool:
            for part, entries in zip(parts, pool.map(self._index, parts)):
                ids = {entry.clip_id for entry in entries}
                if ids & seen:
                    rows = [row for row in self._rows(part) if row.clip_id not in seen]
                    self.write([row.clip_id for row in rows], rows, [])
                    self.folder.remove(part)
                seen |= ids

    def _ids_or_none(self, part: str) -> set[str] | None:
        """Clips of a part, None where it cannot be read."""
        try:
            return {entry.clip_id for entry in self._index(part)}
        except StoreError:
            return None

    def _hashes(self, parts: Sequence[str]) -> Iterator[str]:
        with ThreadPoolExecutor(_READERS) as pool:
            yield from pool.map(lambda part: sha256(self.folder.read_bytes(part)), parts)

    # ---------------------------------------------------------------- reading

    def manifest(self) -> dict[str, Any] | None:
        """What was finished, None where nothing is. Raises StoreError for one of another format."""
        return read_manifest(self.folder) if self.folder.exists(MANIFEST) else None

    def entries(self, parts: Iterable[str]) -> list[Entry]:
        """The rows of these parts without their values, sorted by clip id. Raises StoreError for a damaged
        part."""
        with ThreadPoolExecutor(_READERS) as pool:
            return sorted(entry for part in pool.map(self._index, parts) for entry in part)

    def load(self, parts: Iterable[str], clip_ids: Collection[str]) -> FeatureTable:
        """The rows of these clips in memory: one copy, from each part straight to where it stays.

        Raises StoreError for a part that is missing or damaged.
        """
        entries = [entry for entry in self.entries(parts) if entry.clip_id in clip_ids]
        offsets = np.cumsum([0, *(entry.n_frames for entry in entries)], dtype=np.int64)
        starts = dict(zip((entry.clip_id for entry in entries), offsets.tolist()))
        values = np.empty((offsets[-1], self.spec.dim), np.float32)
        valid = np.empty(offsets[-1], np.bool_)

        def fill(part: str) -> None:
            for row in self._rows(part):
                if row.clip_id in starts:
                    frames = slice(starts[row.clip_id], starts[row.clip_id] + len(row.frames.valid))
                    values[frames], valid[frames] = row.frames

        with ThreadPoolExecutor(_READERS) as pool:
            list(pool.map(fill, sorted({entry.part for entry in entries})))
        values.flags.writeable = valid.flags.writeable = False
        return FeatureTable(
            spec=self.spec,
            clip_ids=[entry.clip_id for entry in entries],
            content=[entry.content for entry in entries],
            offsets=offsets,
            values=values,
            valid=valid,
        )

    def _names(self, prefix: str) -> list[str]:
        return [name for name in self.folder.names() if name.startswith(prefix)]

    def _index(self, part: str) -> list[Entry]:
        columns = self._read(part, _INDEX).select(_INDEX).to_pydict().values()
        return [Entry(clip_id, content, n_frames, part) for clip_id, content, n_frames in zip(*columns)]

    def _rows(self, part: str) -> Iterator[Row]:
        table = self._read(part).combine_chunks()
        column = {name: table.column(name).chunk(0) for name in table.column_names}
        values = column["values"].flatten().flatten().to_numpy().reshape(-1, self.spec.dim)
        valid = column["valid"].flatten().to_numpy(zero_copy_only=False)
        ends = np.cumsum(column["n_frames"].to_numpy())
        for clip_id, content, start, end in zip(
            column["clip_id"].to_pylist(), column["content"].to_pylist(), [0, *ends], ends
        ):
            yield Row(clip_id, content, Frames(values[start:end], valid[start:end]))

    def _read(self, part: str, columns: list[str] | None = None) -> pa.Table:
        return _read_table(self.folder, part, columns)


@contextmanager
def writing(folder: Folder) -> Iterator[None]:
    """Turns the failures of a disk or bucket (full, read-only, forbidden) into one StoreError with the
    remedy."""
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error).splitlines()[0]
        raise StoreError(
            f"cannot write to {folder}: {reason}. Make room or give permission, and run the same command again: "
            "it goes on where it stopped"
        ) from error


def read_manifest(folder: Folder) -> dict[str, Any]:
    """The MANIFEST of a folder. Raises StoreError where another format of the store wrote it."""
    manifest = folder.read_json(MANIFEST)
    if manifest["format"] != FORMAT:
        raise StoreError(
            f"{folder} was written by mien {manifest['mien']} in format {manifest['format']} of the store, this mien "
            f"{__version__} reads format {FORMAT}: use that mien, or prepare into a new store"
        )
    return manifest


def read_rejects(folder: Folder, name: str) -> list[Reject]:
    """The rejects of one file. Raises StoreError where it is missing or damaged."""
    return [Reject(**row) for row in _read_table(folder, name).to_pylist()]


def _read_table(folder: Folder, name: str, columns: list[str] | None = None) -> pa.Table:
    try:
        return folder.read_table(name, columns)
    except (OSError, DamagedError) as error:
        raise StoreError(
            f"{folder.path(name)} is missing or damaged: delete {folder.path(MANIFEST)} and run mien prepare again, "
            "it extracts what is lost"
        ) from error


def sha256(data: bytes) -> str:
    """SHA-256 in hex."""
    return hashlib.sha256(data).hexdigest()


def hash_ids(clip_ids: Iterable[str]) -> str:
    """SHA-256 of a set of clip ids, in hex, whatever their order."""
    return sha256("\n".join(sorted(clip_ids)).encode())


def _fingerprint(spec: FeatureSpec, entries: Iterable[Entry]) -> str:
    """SHA-256 of the JSON of [spec, [[clip id, content, frames], ...]], which is never whole in memory."""
    digest = hashlib.sha256(f"[{json.dumps(spec.to_json(), sort_keys=True)}, [".encode())
    for number, entry in enumerate(sorted(entries)):
        row = json.dumps([entry.clip_id, entry.content, entry.n_frames])
        digest.update(f", {row}".encode() if number else row.encode())
    digest.update(b"]]")
    return digest.hexdigest()


def _to_table(rows: Sequence[Row], spec: FeatureSpec) -> pa.Table:
    """Nested Arrow lists, which every reader knows, not one of the tensor extension types."""
    lengths = [len(row.frames.valid) for row in rows]
    offsets = pa.array(np.cumsum([0, *lengths]), pa.int32())
    flat = pa.array(np.concatenate([row.frames.values for row in rows]).reshape(-1), pa.float32())
    valid = pa.array(np.concatenate([row.frames.valid for row in rows]), pa.bool_())
    return pa.table(
        {
            "clip_id": pa.array([row.clip_id for row in rows], pa.string()),
            "content": pa.array([row.content for row in rows], pa.string()),
            "n_frames": pa.array(lengths, pa.int32()),
            "values": pa.ListArray.from_arrays(offsets, pa.FixedSizeListArray.from_arrays(flat, spec.dim)),
            "valid": pa.ListArray.from_arrays(offsets, valid),
        },
        metadata={SPEC_KEY: json.dumps(spec.to_json()).encode()},
    )
