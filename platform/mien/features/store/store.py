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
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mien import __version__
from mien.corpora.clip import Clip, Reject, clips_from_table, clips_to_table, rejects_to_table
from mien.errors import Finding, StoreError, nearest
from mien.features.spec import FeatureSpec
from mien.features.store.feature_folder import FeatureFolder
from mien.features.store.manifest import (
    FORMAT,
    MANIFEST,
    REJECTS,
    AlteredError,
    CorpusManifest,
    FeatureManifest,
    altered,
    hash_ids,
    mend_remedy,
    read_corpus_manifest,
    read_feature_manifest,
    read_rejects,
    take_out,
    writing,
)
from mien.features.store.rows import Entry, FeatureTable, Row, fingerprint
from mien.folder import Folder, sha256, table_of, to_parquet

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
        folder = self.folder / corpus
        data = folder.read_bytes(_CLIPS) if folder.exists(_CLIPS) else b""
        if sha256(data) != manifest["sha256"].get(_CLIPS):
            raise StoreError(f"{folder.path(_CLIPS)} is missing or damaged: prepare again, which writes it anew")
        return table_of(data, columns)

    def _clip_ids(self, corpus: str) -> set[str]:
        return set(self._clip_table(corpus, ["id"])["id"].to_pylist())

    def import_rejects(self, corpus: str) -> list[Reject]:
        """Files of the corpus that became no clip, and why."""
        recorded = self._manifest(corpus)["sha256"].get(REJECTS, "")
        return read_rejects(self.folder / corpus, recorded=recorded)

    def write_clips(self, corpus: str, clips: pa.Table | Iterable[Clip], rejects: Sequence[Reject]) -> None:
        """Replace the clip table of a corpus, given as one or as clips. An equal table is left as it is, a damaged one
        is written anew.

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
        if self._is_written(folder, manifest["sha256"]):
            return
        with writing(folder):
            folder.remove(MANIFEST)
            for name, data in files.items():
                folder.write_bytes(name, data)
            folder.write_json(MANIFEST, manifest, sealed=True)

    def _is_written(self, folder: Folder, digests: Mapping[str, str]) -> bool:
        """Whether the files are there with these digests. Raises StoreError where the store is of another format."""
        try:
            if not folder.exists(MANIFEST) or read_corpus_manifest(folder)["sha256"] != digests:
                return False
        except AlteredError:
            return False
        return all(_is_intact(folder, name, digest) for name, digest in digests.items())

    # ---------------------------------------------------------------- features

    def feature_folder(self, corpus: str, spec: FeatureSpec) -> FeatureFolder:
        """The files of one feature, finished or not."""
        return FeatureFolder(self.folder / corpus / spec.folder, spec)

    def specs(self, corpus: str) -> list[FeatureSpec]:
        """The finished features, in the order of their folders' names."""
        self._manifest(corpus)
        return [found[0].spec for folder in self.feature_folders(corpus) if (found := _opened(folder))]

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
        folder = self.feature_folder(corpus, spec)
        table = folder.load(manifest, self._clip_ids(corpus))
        n_frames = np.diff(table.offsets).tolist()
        rows = zip(table.clip_ids, table.content, table.start_s, table.end_s, n_frames)
        _check_rows(folder, manifest, [Entry(*row, "") for row in rows])
        return table

    def iterate(self, corpus: str, spec: FeatureSpec) -> Iterator[Row]:
        """The rows of one feature in the order of its parts: one part at a time is in memory.

        Each part is checked against the MANIFEST before its first row is given, and all rows after the last. Raises
        StoreError as `load` does.
        """
        manifest = self._finished(corpus, spec)
        folder, clip_ids = self.feature_folder(corpus, spec), self._clip_ids(corpus)
        entries = []
        for part in manifest["parts"]:
            for row in folder.rows(part["name"], part["sha256"]):
                if row.clip_id in clip_ids:
                    entries.append(Entry(row.clip_id, row.content, row.start_s, row.end_s, len(row.valid), ""))
                    yield row
        _check_rows(folder, manifest, entries)

    def rejects(self, corpus: str, spec: FeatureSpec) -> list[Reject]:
        """Clips without a row of this feature, and why."""
        recorded = self._finished(corpus, spec)["rejects_sha256"]
        return read_rejects(self.feature_folder(corpus, spec).folder, recorded=recorded)

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
        return [*self._table_findings(corpus), *self._all_findings(corpus)]

    def mend(self, corpus: str) -> list[str]:
        """Takes out what `verify` finds damaged, and returns its paths: `prepare` then extracts or writes it anew.

        Of a MANIFEST that was changed nothing can be believed: all that it speaks of goes.
        """
        gone = []
        is_damaged = any(True for _ in self._table_findings(corpus))
        clip_ids = set() if is_damaged else self._clip_ids(corpus)
        for folder in self.feature_folders(corpus):
            try:
                found = _opened(folder)
            except AlteredError:
                gone += take_out(folder, folder.names())
                continue
            if found:
                feature, manifest = found
                damaged = feature.damaged(manifest)
                if set(damaged.values()) - {"unexpected"} or _miscounted(feature, manifest, clip_ids):
                    gone += take_out(folder, damaged)
        if is_damaged:
            gone += take_out(self.folder / corpus, (_CLIPS, REJECTS))
        return gone

    def _table_findings(self, corpus: str) -> Iterator[Finding]:
        folder = self.folder / corpus
        try:
            manifest = self._manifest(corpus)
        except AlteredError as error:
            yield Finding(severity="error", what="altered", path=folder.path(MANIFEST), detail=str(error))
            return
        for name in (_CLIPS, REJECTS):
            if not _is_intact(folder, name, manifest["sha256"].get(name)):
                detail = "not as it was written" if folder.exists(name) else "it was written, and is gone"
                yield Finding(severity="error", what="damaged", path=folder.path(name), detail=detail)

    def _all_findings(self, corpus: str) -> Iterator[Finding]:
        try:
            clip_ids = self._clip_ids(corpus)
        except StoreError:  # told by the findings of the table
            return
        for folder in self.feature_folders(corpus):
            try:
                found = _opened(folder)
            except AlteredError as error:
                yield Finding(severity="error", what="altered", path=folder.path(MANIFEST), detail=str(error))
                continue
            if found:
                yield from _findings(*found, clip_ids)
            else:
                yield Finding(severity="warning", what="not finished", path=str(folder), detail=_AGAIN)

    # ---------------------------------------------------------------- within

    def _manifest(self, corpus: str) -> CorpusManifest:
        folder = self.folder / corpus
        if not folder.exists(MANIFEST):
            corpora = self.corpora()
            there = ", ".join(corpora) or "no corpus"
            raise StoreError(f"{self.folder} has no corpus {corpus!r}, it has {there}: {_or_prepare(corpus, corpora)}")
        return read_corpus_manifest(folder)

    def feature_folders(self, corpus: str) -> list[Folder]:
        """The folders of a corpus's features, finished or not."""
        folder = self.folder / corpus
        return [folder / name for name in folder.names() if not name.endswith((".parquet", ".json"))]

    def _finished(self, corpus: str, spec: FeatureSpec) -> FeatureManifest:
        feature = self.feature_folder(corpus, spec)
        manifest = feature.manifest()
        if manifest is None:
            raise StoreError(f"{feature.folder} is not finished: {_AGAIN}")
        if not self.is_finished(corpus, spec):
            raise StoreError(f"{feature.folder}: clips came or went since it was finished: {_AGAIN}")
        return manifest


def _opened(folder: Folder) -> tuple[FeatureFolder, FeatureManifest] | None:
    """A feature with its MANIFEST, None where it is not finished. Raises AlteredError for one that was changed."""
    if not folder.exists(MANIFEST):
        return None
    manifest = read_feature_manifest(folder)
    try:
        spec = FeatureSpec.from_json(manifest["spec"])
    except (KeyError, TypeError, ValueError):
        raise altered(folder, "its spec is none") from None
    if spec.folder != folder.name:
        raise altered(folder, "its spec is that of another feature")
    return FeatureFolder(folder, spec), manifest


def _is_intact(folder: Folder, name: str, digest: str | None) -> bool:
    return digest is not None and folder.exists(name) and sha256(folder.read_bytes(name)) == digest


def _miscounted(feature: FeatureFolder, manifest: FeatureManifest, clip_ids: set[str]) -> bool:
    """Whether the rows are others than those of which the MANIFEST speaks. clip_ids: of the clip table."""
    if manifest["clip_ids_sha256"] != hash_ids(clip_ids):
        return False
    entries = feature.entries(part["name"] for part in manifest["parts"])
    try:
        _check_rows(feature, manifest, [entry for entry in entries if entry.clip_id in clip_ids])
    except StoreError:
        return True
    return False


def _check_rows(feature: FeatureFolder, manifest: FeatureManifest, entries: Collection[Entry]) -> None:
    n_frames = sum(entry.n_frames for entry in entries)
    if (len(entries), n_frames) != (manifest["n_rows"], manifest["n_frames"]):
        raise StoreError(
            f"{feature.folder} has {len(entries)} rows of {n_frames} frames, {manifest['n_rows']} of "
            f"{manifest['n_frames']} were written: {mend_remedy(feature.folder)}"
        )
    if fingerprint(feature.spec, entries) != manifest["fingerprint"]:
        raise altered(feature.folder, "its fingerprint is that of other rows")


def _findings(feature: FeatureFolder, manifest: FeatureManifest, clip_ids: set[str]) -> Iterator[Finding]:
    folder = feature.folder
    if manifest["clip_ids_sha256"] != hash_ids(clip_ids):
        yield Finding(severity="error", what="clips changed", path=str(folder), detail=_AGAIN)
    damaged = feature.damaged(manifest)
    details = {
        "damaged": "not as it was written",
        "missing": "it was written, and is gone",
        "unexpected": "no reader takes it",
    }
    for name, what in sorted(damaged.items()):
        severity = "warning" if what == "unexpected" else "error"
        yield Finding(severity=severity, what=what, path=folder.path(name), detail=details[what])
    parts = [part["name"] for part in manifest["parts"] if part["name"] not in damaged]
    entries = feature.entries(parts)
    n_rows = Counter(entry.clip_id for entry in entries)
    rejects = [] if REJECTS in damaged else read_rejects(folder, REJECTS)
    n_rejects = Counter(reject.id for reject in rejects)
    for clip_id in sorted(clip_ids):
        if n_rows[clip_id] + n_rejects[clip_id] != 1:
            detail = f"{clip_id} has {n_rows[clip_id]} rows and {n_rejects[clip_id]} rejects, not one in all"
            yield Finding(severity="error", what="row or reject", path=str(folder), detail=detail)
    if not set(damaged.values()) - {"unexpected"} and manifest["clip_ids_sha256"] == hash_ids(clip_ids):
        try:
            _check_rows(feature, manifest, [entry for entry in entries if entry.clip_id in clip_ids])
        except StoreError as error:
            yield Finding(severity="error", what="altered", path=folder.path(MANIFEST), detail=str(error))


_AGAIN = "prepare it again, only what is missing is extracted"


def _or_prepare(name: str, known: Sequence[str]) -> str:
    """The remedy for a corpus or feature that a store lacks."""
    return f"{nearest(name, dict.fromkeys(known))}, or prepare {name}" if known else f"prepare {name} into it"
