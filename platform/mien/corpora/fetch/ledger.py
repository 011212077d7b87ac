"""The ledger of a download, ROOT/.mien-fetch.json: what was loaded, so that the next fetch loads nothing twice."""

from __future__ import annotations

import fcntl
import threading
import time
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from typing_extensions import TypedDict

from mien.corpora.fetch.sources import LEDGER, Source
from mien.errors import CorpusError
from mien.folder import Folder

NAME = f"{LEDGER}.json"
EVERY_S = 20.0  # between two writes of it: a corpus may be 15,000 small files, and writing them takes 0.7 s of CPU
LARGE_BYTES = 2**24  # it is written at once after one of these


@dataclass(frozen=True, slots=True)
class Member:
    """A file that was unpacked: its size in bytes and its CRC-32, as the archive states them."""

    n_bytes: int
    crc32: int


@dataclass(frozen=True, slots=True)
class Entry:
    """A file as it was loaded. unpacked: path below the root to what came out of it; None where nothing did."""

    url: str
    n_bytes: int
    sha256: str
    md5: str | None
    mtime_ns: int
    unpacked: dict[str, Member] | None = None


class _Written(TypedDict):
    format: Literal[1]
    files: dict[str, Entry]


class Ledger:
    """What one root holds, by path. One fetch at a time has it."""

    def __init__(self, root: Folder) -> None:
        self._folder, self._root = root, Path(root.uri)
        self._lock, self._written_s = threading.Lock(), time.monotonic()
        self._entries: dict[str, Entry] = {}
        if root.exists(NAME):
            for path, entry in root.read_json(NAME, _Written)["files"].items():
                members = entry.pop("unpacked")
                unpacked = None if members is None else {name: Member(**one) for name, one in members.items()}
                self._entries[path] = Entry(**entry, unpacked=unpacked)

    def get(self, source: Source) -> Entry | None:
        """What was loaded for a source; None where it was loaded from elsewhere, or is published otherwise by now."""
        entry = self._entries.get(source.path)
        if entry is None or entry.url != source.public_url:
            return None
        asked = ((source.n_bytes, entry.n_bytes), (source.sha256, entry.sha256), (source.md5, entry.md5))
        return entry if all(published in (None, found) for published, found in asked) else None

    def put(self, path: str, entry: Entry) -> None:
        with self._lock:
            self._entries[path] = entry
            is_due = entry.n_bytes >= LARGE_BYTES or time.monotonic() - self._written_s > EVERY_S
        if is_due:
            self.write()

    def write(self) -> None:
        with self._lock:
            files = {path: asdict(entry) for path, entry in sorted(self._entries.items())}
            self._folder.write_json(NAME, {"format": 1, "files": files}, sealed=True)
            self._written_s = time.monotonic()

    def is_whole(self, path: str, entry: Entry, *, read: bool) -> bool:
        """Whether a file lies here as it was loaded: by size and time; by its hash where the time is another, or with
        `read`."""
        try:
            state = (self._root / path).stat()
        except OSError:
            return False
        if state.st_size != entry.n_bytes:
            return False
        if state.st_mtime_ns == entry.mtime_ns and not read:
            return True
        from mien.corpora.fetch.transfer import hashes

        return hashes(self._root / path, md5=False).sha256 == entry.sha256

    def is_unpacked(self, entry: Entry, *, read: bool) -> bool:
        """Whether all that came out of an archive is here: by size, with `read` by CRC-32 too."""
        members = entry.unpacked
        return members is not None and all(is_member(self._root / name, m, read=read) for name, m in members.items())


def is_member(path: Path, member: Member, *, read: bool) -> bool:
    """Whether a file is what an archive holds under its name."""
    try:
        if not path.is_file() or path.stat().st_size != member.n_bytes:
            return False
        return not read or crc32(path) == member.crc32
    except OSError:
        return False


def crc32(path: Path) -> int:
    crc = 0
    with path.open("rb") as file:
        while block := file.read(2**20):
            crc = zlib.crc32(block, crc)
    return crc


@contextmanager
def alone(root: Folder) -> Iterator[None]:
    """Keeps other fetches out of a root. Raises CorpusError where one works there."""
    with (Path(root.uri) / f"{LEDGER}.lock").open("w") as lock:
        try:
            with suppress(NotImplementedError):
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise CorpusError(f"{root}: another fetch works here; wait until it has ended") from None
        except OSError:  # a file system without locks
            pass
        yield
