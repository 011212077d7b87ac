"""FeatureStore: the clips and features of every corpus, as Parquet files that any reader can use.

    <store>/
        <corpus>/
            clips.parquet
            rejects.parquet
            MANIFEST.json
            <name>-v<version>-<hash>/    one feature: see `mien.features.store.feature_folder`
                part-<hash>.parquet
                rejects.parquet
                MANIFEST.json

A MANIFEST.json is written last: what has none is not finished, and is never read as if it were. Files are whole or
absent (`mien.folder`). docs/reference/store.md describes it for people who bring their own reader.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from mien import __version__
from mien.corpora import Finding
from mien.corpora.clip import Clip, Reject, clips_from_table, clips_to_table, rejects_to_table
from mien.errors import StoreError, nearest
from mien.features.spec import FeatureSpec
from mien.features.store.feature_folder import FeatureFolder
from mien.features.store.manifest import (
    FORMAT,
    MANIFEST,
    REJECTS,
    hash_ids,
    read_manifest,
    read_rejects,
    sha256,
    writing,
)
from mien.features.store.rows import FeatureTable, Row
from mien.folder import Folder, to_parquet

_CLIPS = "clips.parquet"


class FeatureStore:
    """A store by path or URI (`s3://bucket/prefix`). Nothing is created until something is written."""

    def __init__(self, uri: str | os.PathLike[str]) -> None:
        self.folder = Folder(uri)

    def __repr__(self) -> str:
        return f"FeatureStore({self.folder.uri!r})"

    # ---------------------------------------------------------------- clips

    def corpora(self) -> list[str]:
        """Corpora whose clip table is complete."""
        return [name for name in self.folder.names() if (self.folder / name).exists(MANIFEST)]

    def clips(self, corpus: str) -> list[Clip]:
        """The clip table. Raises StoreError where the store has no such corpus or its table is damaged."""
        return list(clips_from_table(self._clip_table(corpus)))

    def _clip_table(self, corpus: str, columns: list[str] | None = None) -> pa.Table:
        manifest = self._manifest(corpus)
        data = (self.folder / corpus).read_bytes(_CLIPS)
        if sha256(data) != manifest["sha256"][_CLIPS]:
            raise StoreError(f"{self.folder.path(corpus)}/{_CLIPS} is not what its {MANIFEST} says: prepare again")
        return pq.read_table(pa.BufferReader(data), columns=columns)

    def _clip_ids(self, corpus: str) -> set[str]:
        return set(self._clip_table(corpus, ["id"])["id"].to_pylist())

    def import_rejects(self, corpus: str) -> list[Reject]:
        """Files of the corpus that became no clip, and why."""
        self._manifest(corpus)
        return read_rejects(self.folder / corpus, REJECTS)

    def write_clips(self, corpus: str, clips: pa.Table | Iterable[Clip], rejects: Sequence[Reject]) -> None:
        """Replace the clip table of a corpus, given as one or as clips. An equal table is left as it is.

        Raises StoreError for an id that comes twice, and where another format of the store is in the way.
        """
        folder = self.folder / corpus
        table = clips if isinstance(clips, pa.Table) else clips_to_table(clips)
        found = pc.value_counts(table["id"])
        n_times = pc.max(found.field("counts")).as_py()
        if n_times and n_times > 1:
            clip_id = found.field("values")[pc.index(found.field("counts"), n_times).as_py()]
            raise StoreError(f"{corpus}: {n_times} clips have the id {clip_id}; ids must be unique")
        files = {_CLIPS: to_parquet(table), REJECTS: to_parquet(rejects_to_table(rejects))}
        manifest = {
            "format": FORMAT,
            "mien": __version__,
            "corpus": corpus,
            "synthetic": bool(pc.any(table["synthetic"]).as_py()),
            "n_clips": len(table),
            "n_subjects": pc.count_distinct(table["subject"]).as_py(),
            "n_rejects": len(rejects),
            "clip_ids_sha256": hash_ids(table["id"].to_pylist()),
            "sha256": {name: sha256(data) for name, data in files.items()},
        }
        if folder.exists(MANIFEST) and read_manifest(folder)["sha256"] == manifest["sha256"]:
            return
        with writing(folder):
            folder.remove(MANIFEST)
            for name, data in files.items():
                folder.write_bytes(name, data)
            folder.write_json(MANIFEST, manifest)

    # ---------------------------------------------------------------- features

    def feature_folder(self, corpus: str, spec: FeatureSpec) -> FeatureFolder:
        """The files of one feature, finished or not."""
        return FeatureFolder(self.folder / corpus / spec.folder, spec)

    def specs(self, corpus: str) -> list[FeatureSpec]:
        """The finished features, in the order of their folders' names."""
        return [
            FeatureSpec.from_json(read_manifest(folder)["spec"])
            for folder in self._feature_folders(corpus)
            if folder.exists(MANIFEST)
        ]

    def spec(self, corpus: str, name: str) -> FeatureSpec:
        """The spec of a finished feature by its name ("egemaps") or its folder ("egemaps-v1-0a1b2c3d").

        Raises StoreError naming what there is when it is missing, not finished, or one of several.
        """
        specs = self.specs(corpus)
        found = [spec for spec in specs if name in (spec.name, spec.folder)]
        folders = ", ".join(spec.folder for spec in found or specs) or "no feature"
        if len(found) > 1:
            raise StoreError(f"{self.folder.path(corpus)} has {name!r} with several settings: say which of {folders}")
        if not found:
            remedy = _or_prepare(name, [spec.name for spec in specs])
            raise StoreError(f"{self.folder.path(corpus)} has no finished {name!r}, it has {folders}: {remedy}")
        return found[0]

    def is_finished(self, corpus: str, spec: FeatureSpec) -> bool:
        """Whether each clip of the present clip table has a row or a reject, and the MANIFEST that says so."""
        manifest = self.feature_folder(corpus, spec).manifest()
        return manifest is not None and manifest["clip_ids_sha256"] == self._manifest(corpus)["clip_ids_sha256"]

    def load(self, corpus: str, spec: FeatureSpec) -> FeatureTable:
        """One feature of all clips in memory, sorted by clip id.

        Raises StoreError where it is not finished, where clips came or went since, and for damaged parts.
        """
        manifest = self._finished(corpus, spec)
        table = self.feature_folder(corpus, spec).load(manifest, self._clip_ids(corpus))
        self._check_counts(corpus, spec, manifest, len(table), int(table.offsets[-1]))
        return table

    def iterate(self, corpus: str, spec: FeatureSpec) -> Iterator[Row]:
        """The rows of one feature in the order of its parts: one part at a time is in memory.

        Each part is checked against the MANIFEST before its first row is given, and the number of rows and frames after
        the last. Raises StoreError as `load` does.
        """
        manifest = self._finished(corpus, spec)
        folder, clip_ids = self.feature_folder(corpus, spec), self._clip_ids(corpus)
        n_rows = n_frames = 0
        for part in manifest["parts"]:
            for row in folder.rows(part["name"], part["sha256"]):
                if row.clip_id in clip_ids:
                    n_rows, n_frames = n_rows + 1, n_frames + len(row.valid)
                    yield row
        self._check_counts(corpus, spec, manifest, n_rows, n_frames)

    def rejects(self, corpus: str, spec: FeatureSpec) -> list[Reject]:
        """Clips without a row of this feature, and why."""
        self._finished(corpus, spec)
        return read_rejects(self.feature_folder(corpus, spec).folder)

    def fingerprint(self, corpus: str, spec: FeatureSpec) -> str:
        """SHA-256 over the spec and (clip id, content, stretch, frames) of each row: equal for equal features."""
        return str(self._finished(corpus, spec)["fingerprint"])

    def recipe(self, corpus: str, spec: FeatureSpec) -> dict[str, Any] | None:
        """What builds the extractor of a finished feature again, None where it was not recorded.

        {"name": of `mien.features.extractors`, or "module:Settings"; "settings": as they were asked; "medium": the
        entry of `Clip.media` that it read}.
        """
        recipe: dict[str, Any] | None = self._finished(corpus, spec)["recipe"]
        return recipe

    # ---------------------------------------------------------------- verify

    def verify(self, corpus: str) -> list[Finding]:
        """What is wrong with a corpus and its features; empty where rows + rejects == clips, each id once,
        and all files are as they were written."""
        clip_ids = self._clip_ids(corpus)
        return [f for folder in self._feature_folders(corpus) for f in self._findings(corpus, folder, clip_ids)]

    def _findings(self, corpus: str, folder: Folder, clip_ids: set[str]) -> Iterator[Finding]:
        if not folder.exists(MANIFEST):
            yield Finding(severity="warning", what="not finished", path=str(folder), detail=_AGAIN)
            return
        manifest = read_manifest(folder)
        if manifest["clip_ids_sha256"] != hash_ids(clip_ids):
            yield Finding(severity="error", what="clips changed", path=str(folder), detail=_AGAIN)
        written = {part["name"]: part["sha256"] for part in manifest["parts"]} | {REJECTS: manifest["rejects_sha256"]}
        there = {name for name in folder.names() if name != MANIFEST}
        intact = {name for name in there & written.keys() if sha256(folder.read_bytes(name)) == written[name]}
        for name in sorted((written.keys() | there) - intact):
            severity, what = ("error", "damaged") if name in written else ("warning", "unexpected")
            detail = "not as it was written" if name in there & written.keys() else "no reader takes it"
            if name not in there:
                what, detail = "missing", "it was written, and is gone"
            yield Finding(severity=severity, what=what, path=folder.path(name), detail=detail)
        feature = FeatureFolder(folder, FeatureSpec.from_json(manifest["spec"]))
        n_rows = Counter(entry.clip_id for entry in feature.entries(intact - {REJECTS}))
        n_rejects = Counter(reject.id for name in intact & {REJECTS} for reject in read_rejects(folder, name))
        for clip_id in sorted(clip_ids):
            if n_rows[clip_id] + n_rejects[clip_id] != 1:
                detail = f"{clip_id} has {n_rows[clip_id]} rows and {n_rejects[clip_id]} rejects, not one in all"
                yield Finding(severity="error", what="row or reject", path=str(folder), detail=detail)

    # ---------------------------------------------------------------- within

    def _manifest(self, corpus: str) -> dict[str, Any]:
        folder = self.folder / corpus
        if not folder.exists(MANIFEST):
            corpora = self.corpora()
            there = ", ".join(corpora) or "no corpus"
            raise StoreError(f"{self.folder} has no corpus {corpus!r}, it has {there}: {_or_prepare(corpus, corpora)}")
        return read_manifest(folder)

    def _feature_folders(self, corpus: str) -> list[Folder]:
        self._manifest(corpus)
        folder = self.folder / corpus
        return [folder / name for name in folder.names() if not name.endswith((".parquet", ".json"))]

    def _finished(self, corpus: str, spec: FeatureSpec) -> dict[str, Any]:
        feature = self.feature_folder(corpus, spec)
        manifest = feature.manifest()
        if manifest is None:
            raise StoreError(f"{feature.folder} is not finished: {_AGAIN}")
        if not self.is_finished(corpus, spec):
            raise StoreError(f"{feature.folder}: clips came or went since it was finished: {_AGAIN}")
        return manifest

    def _check_counts(
        self, corpus: str, spec: FeatureSpec, manifest: dict[str, Any], n_rows: int, n_frames: int
    ) -> None:
        if (n_rows, n_frames) != (manifest["n_rows"], manifest["n_frames"]):
            raise StoreError(
                f"{self.feature_folder(corpus, spec).folder} has {n_rows} rows of {n_frames} frames, "
                f"{manifest['n_rows']} of {manifest['n_frames']} were written: delete its {MANIFEST} and {_AGAIN}"
            )


_AGAIN = "prepare it again, only what is missing is extracted"


def _or_prepare(name: str, known: Sequence[str]) -> str:
    """The remedy for a corpus or feature that a store lacks."""
    return f"{nearest(name, dict.fromkeys(known))}, or prepare {name}" if known else f"prepare {name} into it"
