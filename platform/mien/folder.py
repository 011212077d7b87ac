"""Folder: one directory on a local disk or in S3, with writes that are whole or absent.

A path without a scheme is local; `s3://bucket/prefix` goes through `mien.bucket`.
"""

from __future__ import annotations

import fcntl
import hashlib
import io
import json
import os
import re
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import IO, Any, NamedTuple

import pyarrow as pa
import pyarrow.fs as pafs
import pyarrow.parquet as pq

from mien.bucket import asked_again, explained, located
from mien.errors import DamagedError, FolderError

_BLOCK_BYTES = 2**20
SEAL = "seal"  # key of an object in a JSON file: SHA-256 of all the others
MAX_NAME_BYTES = 240  # file systems take 255, of which a temporary name needs ten more
_TEMPORARY = re.compile(r"\..+\.[0-9a-f]{8}")  # what a file is called until it is whole
_FOUND: set[str] = set()  # buckets that were there


class File(NamedTuple):
    """Size in bytes, and when it was written: nanoseconds since 1970."""

    size: int
    mtime_ns: int


def absolute(uri: str) -> str:
    """A place as it is named in any directory; a bucket's as it stands, and nobody is asked for it."""
    return uri.rstrip("/") if "://" in uri else str(Path(uri).expanduser().absolute())


def unfit_as_path(name: str) -> str | None:
    """Why the key of an object cannot be a path below a folder of this machine; None where it can.

    A bucket takes any key, and somebody else may have written it: `..` would lead out of the folder.

    >>> unfit_as_path("first/seed-0/DONE")
    >>> unfit_as_path("../.ssh/authorized_keys")
    "a part of it is '..'"
    """
    for part in name.split("/"):
        if part in ("", ".", ".."):
            return f"a part of it is {part!r}"
        if "\0" in part:
            return "it holds a zero byte"
        if len(part.encode(errors="surrogateescape")) > MAX_NAME_BYTES:
            return f"a part of it is longer than {MAX_NAME_BYTES} bytes"
    return None


class Folder:
    """A directory by path or URI. Nothing is created until something is written."""

    def __init__(self, uri: str | os.PathLike[str]) -> None:
        text = os.fspath(uri)
        self.is_local = "://" not in text
        if not re.match(r"s3://[\w.-]+(/|$)", text) and re.match(r"\w+:/", text):  # a Path makes s3:/ of s3://
            raise FolderError(f"{text}: neither a path nor a bucket; give a folder, or s3://bucket/prefix")
        self.uri = absolute(text)
        if self.is_local:
            self._fs: pafs.FileSystem = pafs.LocalFileSystem()
            self._root = self.uri
        else:
            with explained(self.uri):  # the bucket's region is asked for
                self._fs, self._root = located(self.uri)

    def __truediv__(self, name: str) -> Folder:
        return Folder(f"{self.uri}/{name}")

    def __repr__(self) -> str:
        return f"Folder({self.uri!r})"

    def __str__(self) -> str:
        return self.uri

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Folder) and other.uri == self.uri

    def __hash__(self) -> int:
        return hash(self.uri)

    def __reduce__(self) -> tuple[type[Folder], tuple[str]]:
        return Folder, (self.uri,)

    @property
    def name(self) -> str:
        """What it is called in the folder above it."""
        return self.uri.rsplit("/", 1)[-1]

    def path(self, name: str = "") -> str:
        """The path of a file in it as a person or pandas would write it."""
        return f"{self.uri}/{name}" if name else self.uri

    def make(self) -> Folder:
        """Made where it is not there, for places that a user named. Raises FolderError where it cannot be."""
        if self.is_local:
            try:
                Path(self._root).mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise FolderError(
                    f"{self.uri}: cannot be made a folder ({error.strerror}); choose another place"
                ) from None
        return self

    def exists(self, name: str = "") -> bool:
        with explained(self.uri):
            found = self._fs.get_file_info(self._full(name)).type != pafs.FileType.NotFound
        if not found:
            self._check_bucket()
        return found

    def names(self) -> list[str]:
        """Names of the files and folders directly in it, sorted; empty if it does not exist.

        Files still being written (their names start with a dot) are left out.
        """
        found = sorted(info.base_name for info in self._infos(recursive=False))
        if not found:
            self._check_bucket()
        return found

    def folders(self) -> list[str]:
        """Names of the folders directly in it, sorted; empty if it does not exist."""
        found = self._infos(recursive=False)
        if not found:
            self._check_bucket()
        return sorted(info.base_name for info in found if info.type == pafs.FileType.Directory)

    def files(self) -> dict[str, File]:
        """Those in it and below, by name ("a/b.json"), sorted; empty if it does not exist."""
        found = [info for info in self._infos(recursive=True) if info.is_file]
        if not found:
            self._check_bucket()
        below = len(self._root) + 1
        return {i.path[below:]: File(i.size, i.mtime_ns) for i in sorted(found, key=lambda i: i.path)}

    def modified_s(self, name: str) -> float | None:
        """When a file in it was last written, in seconds since 1970; None where it does not exist."""
        with explained(self.uri):
            info = self._fs.get_file_info(self._full(name))
        return info.mtime_ns / 1e9 if info.is_file else None

    def size(self, name: str) -> int | None:
        """Bytes of a file in it; None where there is none."""
        with explained(self.uri):
            info = self._fs.get_file_info(self._full(name))
        return int(info.size) if info.is_file else None

    def read_bytes(self, name: str) -> bytes:
        # As a file: of a stream pyarrow reads 256 kB at a time, by a request each.
        with explained(self.uri), self._fs.open_input_file(self._full(name)) as file:
            return asked_again(lambda: bytes(file.read()))

    @contextmanager
    def opened(self, name: str) -> Iterator[IO[bytes]]:
        """A file in it, to be read from any place: a bucket is asked for a megabyte at a time."""
        with explained(self.uri), self._fs.open_input_file(self._full(name)) as file:
            yield io.BufferedReader(file, _BLOCK_BYTES)

    def write_bytes(self, name: str, data: bytes) -> None:
        """Write one file so that a reader sees the old one, the new one, and never a part.

        Local: a temporary name, flushed to the disk, then renamed. S3: an object appears when it is complete.
        """
        if not self.is_local:
            with explained(self.uri), self._fs.open_output_stream(self._full(name)) as stream:
                stream.write(data)
            return
        target = Path(self._full(name))
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary = target.with_name(f".{target.name}.{uuid.uuid4().hex[:8]}")
        try:
            with temporary.open("wb") as file:
                with suppress(OSError):  # a file system without locks
                    fcntl.flock(file, fcntl.LOCK_EX)  # until it has its name: `sweep` takes it for alive
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
                temporary.replace(target)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise

    def read_text(self, name: str) -> str:
        return self.read_bytes(name).decode()

    def write_text(self, name: str, text: str) -> None:
        self.write_bytes(name, text.encode())

    def read_json(self, name: str, shape: Any = Any) -> Any:
        """shape: the type that it must be of, as pydantic knows types. Raises DamagedError where it is no JSON, of
        another shape, or not what it was sealed with."""
        with undamaged(self.path(name)):
            return shaped(_unsealed(json.loads(self.read_bytes(name))), shape)

    def write_json(self, name: str, value: Any, *, sealed: bool = False) -> None:
        """Indented, keys in the order given, NaN refused: other tools must be able to read it.

        sealed: an object ends with the SHA-256 of its values, for files that no other file has the hash of.
        """
        if sealed:
            value = {**value, SEAL: _seal(value)}
        self.write_text(name, json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n")

    def read_table(self, name: str, columns: list[str] | None = None) -> pa.Table:
        """Raises DamagedError where it is no Parquet."""
        with undamaged(self.path(name)):
            return table_of(self.read_bytes(name), columns)

    def write_table(self, name: str, table: pa.Table) -> None:
        self.write_bytes(name, to_parquet(table))

    def remove(self, name: str = "") -> None:
        """Delete a file, or a folder with all that is in it; no complaint if it is not there."""
        with explained(self.uri):
            info = self._fs.get_file_info(self._full(name))
            if info.type == pafs.FileType.Directory:
                self._fs.delete_dir(self._full(name))
            elif info.type == pafs.FileType.File:
                self._fs.delete_file(self._full(name))

    def sweep(self, *, below: bool = False) -> None:
        """Delete what writers that were killed have left directly in it, or below too. A bucket keeps no such thing.

        Whoever still writes holds a lock on its file; one of the last minute may be about to.
        """
        root = Path(self._root)
        if not self.is_local or not root.is_dir():
            return
        for path in root.rglob(".*") if below else root.glob(".*"):
            if not _TEMPORARY.fullmatch(path.name):
                continue
            with suppress(OSError), path.open("rb") as file:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if time.time() - path.stat().st_mtime > 60:
                    path.unlink()

    def _infos(self, *, recursive: bool) -> list[pafs.FileInfo]:
        """Of what is in it and not hidden. Raises FolderError where it is a file, or may not be looked into."""
        selector = pafs.FileSelector(self._root, allow_not_found=True, recursive=recursive)
        try:
            with explained(self.uri):
                return [info for info in self._fs.get_file_info(selector) if not info.base_name.startswith(".")]
        except NotADirectoryError:
            raise FolderError(f"{self.uri}: is a file; give a folder") from None
        except PermissionError as error:
            raise FolderError(f"{self.uri}: cannot be listed ({error.strerror}); check its permissions") from None

    def _full(self, name: str) -> str:
        return f"{self._root}/{name}" if name else self._root

    def _check_bucket(self) -> None:
        """Raises BucketError where there is no such bucket: to S3 that is an empty folder."""
        bucket = self._root.split("/")[0]
        if self.is_local or bucket in _FOUND:
            return
        with explained(self.uri):
            if self._fs.get_file_info(bucket).type == pafs.FileType.NotFound:
                raise OSError(f"Bucket '{bucket}' not found")
        _FOUND.add(bucket)


@contextmanager
def undamaged(path: str) -> Iterator[None]:
    """What a reader finds wrong in a file, and that there is none, as one DamagedError. Other errors of the system stay
    as they are."""
    try:
        yield
    except FileNotFoundError as error:
        raise damaged(path, "it is gone") from error
    except (ValueError, OSError, pa.ArrowException) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise
        raise damaged(path, str(error).splitlines()[0]) from error


def damaged(path: str, why: str) -> DamagedError:
    """The error of a file that is not what was written. Its remedy holds for all that a training or search wrote."""
    return DamagedError(
        f"{path}: damaged ({why}); copy it here again, or delete it, of a finished run or trial with its folder, and "
        "run the same again"
    )


def shaped(value: Any, shape: Any) -> Any:
    """A value of JSON as it is. shape: the type that it must be of; ValueError names the first place where it is not.

    >>> shaped({"epoch": "7"}, dict[str, int])
    Traceback (most recent call last):
    ValueError: epoch: Input should be a valid integer
    """
    from pydantic import ValidationError

    try:
        _adapter(shape).validate_json(json.dumps(value), strict=True)  # where an object may be a dataclass
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"]))
        raise ValueError(f"{place}: {first['msg']}" if place else first["msg"]) from None
    return value


@cache
def _adapter(shape: Any) -> Any:
    from pydantic import TypeAdapter

    return TypeAdapter(shape)


def sha256(data: bytes) -> str:
    """SHA-256 in hex."""
    return hashlib.sha256(data).hexdigest()


def _seal(value: Any) -> str:
    return sha256(json.dumps(value, sort_keys=True).encode())


def _unsealed(value: Any) -> Any:
    """JSON without its seal; ValueError where that belongs to other values. What has none is as it is."""
    if not isinstance(value, dict) or SEAL not in value:
        return value
    rest = {key: item for key, item in value.items() if key != SEAL}
    if _seal(rest) != value[SEAL]:
        raise ValueError("not as it was sealed: somebody or something changed it")
    return rest


def table_of(data: bytes, columns: list[str] | None = None) -> pa.Table:
    """What a Parquet file of these bytes holds. (`pq.read_table` imports pandas: half a second of CPU.)"""
    return pq.ParquetFile(pa.BufferReader(data)).read(columns)


def to_parquet(table: pa.Table, row_group: int | None = None) -> bytes:
    """The bytes of a Parquet file; equal tables give equal bytes. row_group: at most so many rows in each.

    Without dictionaries: features hardly repeat, so they cost a third more bytes, 45 MB of memory and 7 times the
    time (a part of 64 clips of 35 x 89).
    """
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, compression="zstd", use_dictionary=False, row_group_size=row_group)
    return sink.getvalue().to_pybytes()
