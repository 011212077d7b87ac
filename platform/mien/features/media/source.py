"""The bytes of a media file, on a disk or in a bucket, and their SHA-256."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import IO, Any

import pyarrow.fs as pafs

from mien.bucket import asked_again, explained, located
from mien.errors import MediaError, MienError

FETCHED_WHOLE_BYTES, BLOCK_BYTES = 16 * 2**20, 2**20


@contextmanager
def opened(path: str) -> Iterator[IO[bytes]]:
    """A file for reading, by path or URI; MediaError "missing" or "unreadable".

    What a bucket refuses, then or on a later read, is no fault of the file: BucketError.
    """
    file: Any
    with _told(path):
        system, name = located(path)
        file = system.open_input_file(name)
    with file:
        if "://" not in path:
            yield file
            return
        with _told(path):
            stream, blocks = _few_requests(file, path)
        try:
            yield stream
        finally:
            if blocks.error is not None:
                raise blocks.error


@contextmanager
def _told(path: str) -> Iterator[None]:
    try:
        with explained(path):
            yield
    except FileNotFoundError as error:
        raise MediaError("missing", f"{path}: no such file") from error
    except (OSError, ValueError) as error:
        raise MediaError("unreadable", f"{path}: cannot be read: {error}") from error


def content_hash(path: str) -> str:
    """SHA-256 of the bytes of a file, in hex. Read once in a process, and again only if its size or date has changed:
    one recording may hold hundreds of clips."""
    info = _info(path)
    return _hash(path, info.size, info.mtime_ns)


def size_of(path: str) -> int:
    """Bytes of a file; 0 where there is none, which whoever opens it will say."""
    return _info(path).size or 0


def stamp(path: str) -> tuple[int, int]:
    """Bytes of a file, and when it was written in nanoseconds since 1970: whether it is another file now. 0 and 0 where
    there is none."""
    info = _info(path)
    return info.size or 0, info.mtime_ns or 0


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
    with _told(path):
        system, name = located(path)
        return system.get_file_info(name)


def _few_requests(file: Any, path: str) -> tuple[IO[bytes], _Blocks]:
    """An object store answers each read by a request of its own, and decoders read 8 kB at a time: a sound of four
    seconds took 40 of them. A small file is fetched at once, a large one a block at a time."""
    blocks = _Blocks(file, path)
    if file.size() <= FETCHED_WHOLE_BYTES:
        return io.BytesIO(asked_again(file.read)), blocks
    return io.BufferedReader(blocks, BLOCK_BYTES), blocks


class _Blocks(io.RawIOBase):
    """An object of a bucket. error: why one of its reads failed; to the decoder, which may be C that hands no error on,
    that is the end of the file."""

    def __init__(self, file: Any, path: str) -> None:
        self._file, self._path = file, path
        self.error: Exception | None = None

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = 0) -> int:
        self._file.seek(offset, whence)
        return int(self._file.tell())

    def tell(self) -> int:
        return int(self._file.tell())

    def readinto(self, buffer: Any) -> int:
        if self.error is None:
            try:
                with _told(self._path):
                    data = asked_again(lambda: self._file.read(len(buffer)))
                buffer[: len(data)] = data
                return len(data)
            except MienError as error:
                self.error = error
        return 0
