"""MANIFEST.json, which is written last: what has none is not finished, and is never read as if it were."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import pyarrow as pa

from mien import __version__
from mien.corpora.clip import Reject
from mien.errors import DamagedError, StoreError
from mien.folder import Folder

FORMAT = 2  # of the store's layout; raised when an older mien could misread what a newer one writes
MANIFEST = "MANIFEST.json"
REJECTS = "rejects.parquet"


def read_manifest(folder: Folder) -> dict[str, Any]:
    """The MANIFEST of a folder. Raises StoreError where another format of the store wrote it."""
    manifest: dict[str, Any] = folder.read_json(MANIFEST)
    if manifest["format"] != FORMAT:
        raise StoreError(
            f"{folder} is in format {manifest['format']} of the store, written by mien {manifest['mien']}; this mien "
            f"{__version__} reads format {FORMAT}: prepare into a new store"
        )
    return manifest


def read_rejects(folder: Folder, name: str = REJECTS) -> list[Reject]:
    """The rejects of one file. Raises StoreError where it is missing or damaged."""
    return [Reject(**row) for row in read_table(folder, name).to_pylist()]


def read_table(folder: Folder, name: str, columns: list[str] | None = None) -> pa.Table:
    """A Parquet file of the store. Raises StoreError with the remedy where it is missing or damaged."""
    try:
        return folder.read_table(name, columns)
    except (OSError, DamagedError) as error:
        raise lost(folder, name) from error


def lost(folder: Folder, name: str) -> StoreError:
    """The error of a file of a feature that is gone or is not what was written."""
    return StoreError(
        f"{folder.path(name)} is missing or damaged: delete {folder.path(MANIFEST)} and prepare again, only what is "
        "lost is extracted"
    )


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


def sha256(data: bytes) -> str:
    """SHA-256 in hex."""
    return hashlib.sha256(data).hexdigest()


def hash_ids(clip_ids: Iterable[str]) -> str:
    """SHA-256 of a set of clip ids, in hex, whatever their order."""
    return sha256("\n".join(sorted(clip_ids)).encode())
