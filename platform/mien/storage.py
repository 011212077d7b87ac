"""Folder: one directory on a local disk or in S3, with writes that are whole or absent.

A path without a scheme is local; `s3://bucket/prefix` goes through `pyarrow.fs`, which reads the usual AWS_*
environment variables (AWS_ENDPOINT_URL included, so a moto server serves tests).
"""

from __future__ import annotations

import json
import os
import uuid
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.fs as pafs
import pyarrow.parquet as pq

_OPTIONS = {"s3": "?allow_delayed_open=true"}  # a small object by one request, not the three of a multipart upload


class Folder:
    """A directory by path or URI. Nothing is created until something is written."""

    def __init__(self, uri: str | os.PathLike[str]) -> None:
        text = os.fspath(uri)
        self.is_local = "://" not in text
        if self.is_local:
            self.uri = str(Path(text).expanduser().absolute())
            self._fs: pafs.FileSystem = pafs.LocalFileSystem()
            self._root = self.uri
        else:
            self.uri = text.rstrip("/")
            self._fs, self._root = pafs.FileSystem.from_uri(self.uri + _OPTIONS.get(text.split("://")[0], ""))

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

    def path(self, name: str = "") -> str:
        """The path of a file in it as a person or pandas would write it."""
        return f"{self.uri}/{name}" if name else self.uri

    def exists(self, name: str = "") -> bool:
        return self._fs.get_file_info(self._full(name)).type != pafs.FileType.NotFound

    def names(self) -> list[str]:
        """Names of the files and folders directly in it, sorted; empty if it does not exist.

        Files still being written (their names start with a dot) are left out.
        """
        selector = pafs.FileSelector(self._root, allow_not_found=True)
        return sorted(i.base_name for i in self._fs.get_file_info(selector) if not i.base_name.startswith("."))

    def read_bytes(self, name: str) -> bytes:
        with self._fs.open_input_stream(self._full(name)) as stream:
            return bytes(stream.read())

    def write_bytes(self, name: str, data: bytes) -> None:
        """Write one file so that a reader sees the old one, the new one, and never a part.

        Local: a temporary name, flushed to the disk, then renamed. S3: an object appears when it is complete.
        """
        if not self.is_local:
            with self._fs.open_output_stream(self._full(name)) as stream:
                stream.write(data)
            return
        target = Path(self._full(name))
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary = target.with_name(f".{target.name}.{uuid.uuid4().hex[:8]}")
        try:
            with temporary.open("wb") as file:
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

    def read_json(self, name: str) -> Any:
        return json.loads(self.read_bytes(name))

    def write_json(self, name: str, value: Any) -> None:
        """Indented, keys in the order given, NaN refused: other tools must be able to read it."""
        self.write_text(name, json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n")

    def read_table(self, name: str, columns: list[str] | None = None) -> pa.Table:
        return pq.read_table(self._full(name), columns=columns, filesystem=self._fs)

    def write_table(self, name: str, table: pa.Table) -> None:
        self.write_bytes(name, to_parquet(table))

    def remove(self, name: str = "") -> None:
        """Delete a file, or a folder with all that is in it; no complaint if it is not there."""
        info = self._fs.get_file_info(self._full(name))
        if info.type == pafs.FileType.Directory:
            self._fs.delete_dir(self._full(name))
        elif info.type == pafs.FileType.File:
            self._fs.delete_file(self._full(name))

    def _full(self, name: str) -> str:
        return f"{self._root}/{name}" if name else self._root


def to_parquet(table: pa.Table) -> bytes:
    """The bytes of a Parquet file; equal tables give equal bytes.

    Without dictionaries: features hardly repeat, so they cost a third more bytes, 45 MB of memory and 7 times the
    time (a part of 64 clips of 35 x 89).
    """
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, compression="zstd", use_dictionary=False)
    return sink.getvalue().to_pybytes()
