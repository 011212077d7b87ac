"""MANIFEST.json, which is written last: what has none is not finished, and is never read as if it were."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import pyarrow as pa
from pydantic import ConfigDict, with_config
from typing_extensions import TypedDict  # pydantic wants it before Python 3.12

from mien import __version__
from mien.corpora.clip import Reject
from mien.errors import DamagedError, StoreError
from mien.folder import Folder, sha256, shaped, table_of

FORMAT = 2  # of the store's layout; raised when an older mien could misread what a newer one writes
MANIFEST = "MANIFEST.json"
REJECTS = "rejects.parquet"
STRICT = ConfigDict(extra="forbid")


@with_config(STRICT)
class Part(TypedDict):
    """A part of a feature, as it was written."""

    name: str
    n_rows: int
    sha256: str


@with_config(STRICT)
class FeatureManifest(TypedDict):
    """The MANIFEST of a finished feature; see docs/reference/store.md."""

    format: int
    mien: str
    spec: dict[str, Any]
    recipe: dict[str, Any] | None
    clip_ids_sha256: str
    n_clips: int
    n_rows: int
    n_rejects: int
    reasons: dict[str, int]
    n_frames: int
    fingerprint: str
    rejects_sha256: str
    parts: list[Part]


@with_config(STRICT)
class CorpusManifest(TypedDict):
    """The MANIFEST of a clip table."""

    format: int
    mien: str
    corpus: str
    synthetic: bool
    n_clips: int
    n_subjects: int
    n_rejects: int
    clip_ids_sha256: str
    sha256: dict[str, str]


def read_corpus_manifest(folder: Folder) -> CorpusManifest:
    """The MANIFEST of a corpus. Raises StoreError for one of another format, and for one that mien did not write."""
    manifest: CorpusManifest = _read(folder, CorpusManifest)
    return manifest


def read_feature_manifest(folder: Folder) -> FeatureManifest:
    """The MANIFEST of a feature. Raises StoreError for one of another format, and for one that mien did not write."""
    manifest: FeatureManifest = _read(folder, FeatureManifest)
    names = Counter(part["name"] for part in manifest["parts"])
    doubled = [name for name, n_times in names.items() if n_times > 1]
    if doubled:
        raise altered(folder, f"part {doubled[0]} stands in it {names[doubled[0]]} times")
    if manifest["n_rows"] + manifest["n_rejects"] != manifest["n_clips"]:
        raise altered(folder, "rows and rejects are not as many as clips")
    if sum(manifest["reasons"].values()) != manifest["n_rejects"]:
        raise altered(folder, "reasons are not as many as rejects")
    return manifest


def _read(folder: Folder, shape: type) -> Any:
    try:
        manifest = folder.read_json(MANIFEST)
    except DamagedError as error:
        raise altered(folder, "no JSON, or changed since") from error
    if isinstance(manifest, dict) and manifest.get("format", FORMAT) != FORMAT:
        raise StoreError(
            f"{folder} is in format {manifest['format']} of the store, written by mien {manifest.get('mien')}; this "
            f"mien {__version__} reads format {FORMAT}: prepare into a new store"
        )
    try:
        return shaped(manifest, shape)
    except ValueError as error:
        raise altered(folder, str(error)) from None


class AlteredError(StoreError):
    """A MANIFEST that mien did not write so."""


def altered(folder: Folder, why: str) -> AlteredError:
    """The error of a MANIFEST that somebody changed."""
    return AlteredError(f"{folder.path(MANIFEST)} is not what mien wrote ({why}): {mend_remedy(folder)}")


def read_rejects(folder: Folder, name: str = REJECTS, *, recorded: str = "") -> list[Reject]:
    """The rejects of one file. recorded: its SHA-256 by the MANIFEST. Raises StoreError where it is missing or
    damaged."""
    try:
        data = folder.read_bytes(name)
        if recorded and sha256(data) != recorded:
            raise lost(folder, name)
        return [Reject(**row) for row in table_of(data).to_pylist()]
    except (OSError, ValueError, pa.ArrowException) as error:
        raise lost(folder, name) from error


def read_table(folder: Folder, name: str, columns: list[str] | None = None) -> pa.Table:
    """A Parquet file of the store. Raises StoreError with the remedy where it is missing or damaged."""
    try:
        return folder.read_table(name, columns)
    except (OSError, DamagedError) as error:
        raise lost(folder, name) from error


def lost(folder: Folder, name: str) -> StoreError:
    """The error of a file of the store that is gone or is not what was written."""
    return StoreError(f"{folder.path(name)} is missing or damaged: {mend_remedy(folder)}")


def mend_remedy(folder: Folder) -> str:
    """What to do about something damaged in the folder of a corpus or feature."""
    return (
        f"`mien store verify STORE --mend` takes out what is damaged of the store that {folder} lies in; then prepare "
        "again, only what is lost is extracted"
    )


def take_out(folder: Folder, names: Iterable[str]) -> list[str]:
    """Removes these files and the MANIFEST, so that `prepare` makes again what they held; paths of what was there."""
    found = [MANIFEST, *(name for name in names if name != MANIFEST)]  # first: without it nothing is finished
    gone = [folder.path(name) for name in found if folder.exists(name)]
    with writing(folder):
        for name in found:
            folder.remove(name)
    return gone


@contextmanager
def writing(folder: Folder) -> Iterator[None]:
    """Turns the failures of a disk or bucket (full, read-only, forbidden) into one StoreError with the remedy."""
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error).splitlines()[0]
        raise StoreError(
            f"cannot write to {folder}: {reason}. Make room or give permission, and run the same command again: "
            "it goes on where it stopped"
        ) from error


def hash_ids(clip_ids: Iterable[str]) -> str:
    """SHA-256 of a set of clip ids, in hex, whatever their order."""
    return sha256("\n".join(sorted(clip_ids)).encode())
