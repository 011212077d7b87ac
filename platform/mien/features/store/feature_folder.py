"""FeatureFolder: the files of one feature of one corpus, written by many processes and read by any reader.

    part-<hash>.parquet       clips that have a row: clip_id, content, start_s, end_s, n_frames, values, valid
    rejects-<hash>.parquet    clips of the same batch that have none, and why; until the end
    rejects.parquet           all of these, merged at the end
    MANIFEST.json             written last; a feature without one is not finished

The hash is that of the batch's clip ids, so a batch that is done twice overwrites itself. A clip may still come twice
when a process outlives the job that it belonged to; `finish` keeps the first.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from mien import __version__
from mien.corpora.clip import Reject, rejects_to_table
from mien.errors import StoreError
from mien.features.spec import FeatureSpec
from mien.features.store.manifest import (
    FORMAT,
    MANIFEST,
    REJECTS,
    FeatureManifest,
    altered,
    hash_ids,
    lost,
    read_feature_manifest,
    read_rejects,
    read_table,
    writing,
)
from mien.features.store.rows import (
    CLIPS_OF_A_PICTURE_GROUP,
    INDEX,
    Entry,
    FeatureTable,
    Row,
    Values,
    fingerprint,
    from_table,
    to_table,
)
from mien.folder import Folder, sha256, to_parquet

WORK = ".work.json"

_READERS = 8  # parts read at a time: enough to hide the latency of S3


@dataclass(frozen=True, slots=True)
class FeatureFolder:
    """The folder of one feature of one corpus; it can be sent to another process."""

    folder: Folder
    spec: FeatureSpec

    @property
    def attempts(self) -> Folder:
        """Where workers note what they are at while a job runs, hidden from readers: see `mien.features.prepare`."""
        return self.folder / ".attempts"

    # ---------------------------------------------------------------- writing

    def write(self, batch: Iterable[str], rows: Sequence[Row], rejects: Sequence[Reject]) -> str:
        """Write what became of one batch of clips, given by their ids; the name of its part.

        Raises StoreError when it cannot be written.
        """
        name = hash_ids(batch)[:16]
        row_group = CLIPS_OF_A_PICTURE_GROUP if self.spec.codec == "jpeg" else None
        with writing(self.folder):
            if rows:
                self.folder.write_bytes(f"part-{name}.parquet", to_parquet(to_table(rows, self.spec), row_group))
            if rejects:
                self.folder.write_bytes(f"rejects-{name}.parquet", to_parquet(rejects_to_table(rejects)))
        return f"part-{name}.parquet"

    def reopen(
        self, *, retry_rejects: bool = False, fresh: bool = False, retry: Collection[str] = frozenset()
    ) -> set[str]:
        """Make ready for more and return the ids of the clips that are done: all with a row or a reject.

        Until `finish`, no reader takes it for finished. A part that cannot be read is removed: its clips are not done.
        retry_rejects: forget the rejects; retry: those of these clips. fresh: forget everything, for media whose
        bytes have changed.
        """
        with writing(self.folder):
            self.folder.remove(MANIFEST)  # first: a job that is killed from here on leaves what is not finished
            if fresh:
                self.folder.remove()
                return set()
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

    def damaged(self, manifest: FeatureManifest) -> dict[str, str]:
        """Files that are not as the MANIFEST says, by name, with what is wrong: "missing", "damaged", or "unexpected"
        where no reader takes it."""
        written = {part["name"]: part["sha256"] for part in manifest["parts"]} | {REJECTS: manifest["rejects_sha256"]}
        there = [name for name in self.folder.names() if name != MANIFEST]
        with ThreadPoolExecutor(_READERS) as pool:
            both = sorted(written.keys() & set(there))
            same = pool.map(lambda name: sha256(self.folder.read_bytes(name)) == written[name], both)
            found = {name: "damaged" for name, is_same in zip(both, same) if not is_same}
        found |= dict.fromkeys(written.keys() - set(there), "missing")
        return found | {name: "unexpected" for name in there if name not in written}

    def rejected(self, reason: str) -> set[str]:
        """Ids of the clips that were rejected for this reason, finished or not."""
        manifest = self.manifest()
        if manifest is not None and reason not in manifest["reasons"]:
            return set()
        names = self._names("rejects")
        return {r.id for name in names for r in read_rejects(self.folder, name) if r.reason == reason}

    def finish(self, clip_ids: Collection[str], recipe: Mapping[str, Any] | None = None) -> FeatureManifest:
        """Prove that each clip has one row or one reject, and write the MANIFEST, which is returned.

        Rows and rejects of other clips (gone from the corpus since) do not count. recipe: what the extractor was built
        from: {"name", "settings", "medium"}, None where it is not known. Raises StoreError naming a clip that has
        neither row nor reject.
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
            for name in self._names("rejects-"):  # only now: until it is written, they are the only ones that know
                self.folder.remove(name)
            n_rows = Counter(entry.part for entry in all_entries)
            manifest: FeatureManifest = {
                "format": FORMAT,
                "mien": __version__,
                "spec": self.spec.to_json(),
                "recipe": None if recipe is None else dict(recipe),
                "clip_ids_sha256": hash_ids(clip_ids),
                "n_clips": len(clip_ids),
                "n_rows": len(entries),
                "n_rejects": len(rejects),
                "reasons": dict(Counter(reject.reason for reject in rejects).most_common()),
                "n_frames": sum(entry.n_frames for entry in entries),
                "fingerprint": fingerprint(self.spec, entries),
                "rejects_sha256": sha256(rejects_file),
                "parts": [
                    {"name": part, "n_rows": n_rows[part], "sha256": digest}
                    for part, digest in zip(parts, self._hashes(parts))
                ],
            }
            self.attempts.remove()
            self.folder.write_json(MANIFEST, manifest, sealed=True)
        return manifest

    def note_work(self, note: dict[str, Any]) -> None:
        """Add what a job took to the others'; hidden from readers, and no part of what was finished."""
        with writing(self.folder):
            self.folder.write_json(WORK, [*self.work(), note])

    def work(self) -> list[dict[str, Any]]:
        """What each job that extracted something took, in their order."""
        return self.folder.read_json(WORK) if self.folder.exists(WORK) else []

    def _keep_first(self) -> None:
        """Rewrite the parts that repeat clips of the parts before them: first what stays, then the old one goes."""
        seen: set[str] = set()
        written: set[str] = set()
        parts = self._names("part-")
        with ThreadPoolExecutor(_READERS) as pool:
            for part, entries in zip(parts, pool.map(self._index, parts)):
                ids = {entry.clip_id for entry in entries}
                # A job that was killed here may have left the rewritten part beside the old one, under this very name.
                if ids & seen and part not in written:
                    rows = [row for row in self.rows(part) if row.clip_id not in seen]
                    written |= {self.write([row.clip_id for row in rows], rows, [])}
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

    def manifest(self) -> FeatureManifest | None:
        """What was finished, None where nothing is. Raises StoreError for another format, or one changed since."""
        if not self.folder.exists(MANIFEST):
            return None
        manifest = read_feature_manifest(self.folder)
        if manifest["spec"] != self.spec.to_json():
            raise altered(self.folder, "its spec is another")
        return manifest

    def entries(self, parts: Iterable[str]) -> list[Entry]:
        """The rows of these parts without their values, sorted by clip id. Raises StoreError for a damaged part."""
        with ThreadPoolExecutor(_READERS) as pool:
            found = [entry for part in pool.map(self._index, parts) for entry in part]
        return sorted(found, key=lambda entry: (entry.clip_id, entry.part))

    def rows(self, part: str, digest: str | None = None) -> Iterator[Row]:
        """The rows of a part, one row group in memory at a time.

        digest: the SHA-256 that it must have. Raises StoreError for a part that is missing, damaged or another.
        """
        try:
            data = self.folder.read_bytes(part)
            if digest is not None and sha256(data) != digest:
                raise lost(self.folder, part)
            file = pq.ParquetFile(pa.BufferReader(data))
            for group in range(file.num_row_groups):
                yield from from_table(file.read_row_group(group), self.spec)
        except (OSError, KeyError, ValueError, pa.ArrowException) as error:
            raise lost(self.folder, part) from error

    def load(self, manifest: FeatureManifest, clip_ids: Collection[str]) -> FeatureTable:
        """The rows of these clips in memory: one copy, from each part straight to where it stays.

        manifest: what `finish` returned; other parts than its own (of a process that was late) are not read. Raises
        StoreError for a part that is missing or is not what was written.
        """
        digests = {part["name"]: part["sha256"] for part in manifest["parts"]}
        entries = [entry for entry in self.entries(digests) if entry.clip_id in clip_ids]
        offsets = np.cumsum([0, *(entry.n_frames for entry in entries)], dtype=np.int64)
        starts = dict(zip((entry.clip_id for entry in entries), offsets.tolist()))
        valid = np.empty(offsets[-1], np.bool_)
        pictures: list[bytes] = []
        numbers: NDArray[np.float32] = np.empty((0, *self.spec.shape), np.float32)
        if self.spec.codec == "jpeg":
            pictures = [b""] * int(offsets[-1])
        else:
            numbers = np.empty((offsets[-1], *self.spec.shape), np.float32)
        values: Values = pictures if self.spec.codec == "jpeg" else numbers

        def fill(part: str) -> None:
            for row in self.rows(part, digests[part]):
                if row.clip_id in starts:
                    frames = slice(starts[row.clip_id], starts[row.clip_id] + len(row.valid))
                    values[frames], valid[frames] = row.values, row.valid

        with ThreadPoolExecutor(_READERS) as pool:
            list(pool.map(fill, sorted({entry.part for entry in entries})))
        numbers.flags.writeable = valid.flags.writeable = False
        return FeatureTable(
            spec=self.spec,
            clip_ids=[entry.clip_id for entry in entries],
            content=[entry.content for entry in entries],
            start_s=[entry.start_s for entry in entries],
            end_s=[entry.end_s for entry in entries],
            offsets=offsets,
            values=values,
            valid=valid,
        )

    def _names(self, prefix: str) -> list[str]:
        return [name for name in self.folder.names() if name.startswith(prefix)]

    def _index(self, part: str) -> list[Entry]:
        try:
            table = read_table(self.folder, part, INDEX).select(INDEX)
        except KeyError as error:  # of another format
            raise lost(self.folder, part) from error
        columns = table.to_pydict().values()
        return [
            Entry(clip_id, content, start_s, end_s, n, part) for clip_id, content, start_s, end_s, n in zip(*columns)
        ]
