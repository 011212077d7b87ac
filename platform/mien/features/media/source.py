"""The bytes of a media file, on a disk or in a bucket, and their SHA-256."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import IO, Any

import pyarrow.fs as pafs

from mien.errors import MediaError
from mien.folder import located

FETCHED_WHOLE_BYTES, BLOCK_BYTES = 16 * 2**20, 2**20


@contextmanager
def opened(path: str) -> Iterator[IO[bytes]]:
    """A file for reading, by path or URI; MediaError "missing" or "unreadable"."""
    try:
        system, name = located(path)
        file: Any = system.open_input_file(name)
    except FileNotFoundError as error:
        raise MediaError("missing", f"{path}: no such file") from error
    except (OSError, ValueError) as error:
        raise MediaError("unreadable", f"{path}: cannot be read: {error}") from error
    with file:
        yield _few_requests(file) if "://" in path else file


def content_hash(path: str) -> str:
    """SHA-256 of the bytes of a file, in hex. Read once in a process, and again only if its size or date has changed:
    one recording may hold hundreds of clips."""
    info = _info(path)
    return _hash(path, info.size, info.mtime_ns)


def size_of(path: str) -> int:
    """Bytes of a file; 0 where there is none, which whoever opens it will say."""
    return _info(path).size or 0


@lru_cache(maxsize=65_536)
def _hash(path: str, size_bytes: int | None, changed_ns: int | None) -> str:
    with opened(path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()  # type: ignore[arg-type]


def size_bytes(file: IO[bytes]) -> int:
    """Length of an open file, which is at its start afterwards."""
    size = file.seek(0, 2)
    file.seek(0)
    return size


def _info(path: str) -> pafs.FileInfo:
    try:
        system, name = located(path)
        return system.get_file_info(name)
    except (OSError, ValueError) as error:
        raise MediaError("unreadable", f"{path}: cannot be read: {error}") from error


def _few_requests(file: Any) -> IO[bytes]:
    """An object store answers each read by a request of its own, and decoders read 8 kB at a time: a sound of four
    seconds took 40 of them. A small file is fetched at once, a large one a block at a time."""
    if file.size() <= FETCHED_WHOLE_BYTES:
        return io.BytesIO(file.read())
    return io.BufferedReader(file, BLOCK_BYTES)
