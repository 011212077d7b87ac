"""Fetch: a corpus from the places that its list names into one folder, again and again until all of it is there.

The folder is the cache: what lies there as it was loaded is not loaded again, and `mien prepare` reads it where it is.
"""

from __future__ import annotations

import shutil
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from mien.corpora.fetch.archive import SUFFIX, into, unpack
from mien.corpora.fetch.ledger import Entry, Ledger, alone
from mien.corpora.fetch.sources import PART, Source, check, chosen, of_bucket, of_corpus, of_list
from mien.corpora.fetch.transfer import Bucket, Loaded, Origin, Refused, Web, differs, download, hashes
from mien.errors import CorpusError, above_0
from mien.folder import Folder

__all__ = ["Fetched", "Source", "chosen", "fetch", "of_bucket", "of_corpus", "of_list"]

TRIES = 8  # failures in a row, none of which brought a byte


class Fetched(NamedTuple):
    """Files loaded now, and their bytes; files that were here already; files unpacked now; and of each that could not
    be had the reason, by path."""

    n_loaded: int
    n_bytes: int
    n_same: int
    n_unpacked: int
    failed: dict[str, str]


class _Stopped(Exception):
    """Another file ended the fetch, or a person did."""


def fetch(
    sources: Sequence[Source],
    root: str,
    *,
    unpack: bool = True,
    keep_archives: bool = False,
    read: bool = False,
    at_once: int = 4,
    tries: int = TRIES,
    on_bytes: Callable[[str, int, int | None], None] = lambda path, n_here, n_whole: None,
    on_file: Callable[[int, int], None] = lambda n_done, n_files: None,
    wait: Callable[[float], None] | None = None,
) -> Fetched:
    """Load what is missing below root, a folder of this machine.

    unpack: zip archives, each into a folder of its name. keep_archives: beside what came out of them. read: compare
    what is here by hash, not by size and time. at_once: files at a time. tries: failures in a row, none of which
    brought a byte, until a file is given up. on_bytes: called with the path, its bytes here, and those of the whole
    file where they are known; on_file: with files done and files to do. Both are called from several threads. wait:
    sleeps so many seconds before the next try; to replace in tests.

    A file that cannot be had is in `failed`, and the others are loaded. Raises CorpusError for a root or a list that is
    none, BucketError where S3 refuses, and OSError where the disk does not take it: then, and after Ctrl-C, the same
    call goes on where this one stopped.
    """
    above_0("at_once", at_once)
    above_0("tries", tries)
    if "://" in root:
        raise CorpusError(f"root {root}: fetch loads into a folder of this machine; from there, aws s3 sync")
    check(sources, "sources")
    folder = Folder(root)
    with alone(folder.make()):
        job = _Job(folder, unpack, keep_archives, read, tries, on_bytes, wait)
        job.has_room_for(sources)
        return job.run(sources, at_once, on_file)


class _Job:
    """One fetch into one root."""

    def __init__(
        self,
        root: Folder,
        unpacks: bool,
        keeps_archives: bool,
        reads: bool,
        tries: int,
        on_bytes: Callable[[str, int, int | None], None],
        wait: Callable[[float], None] | None,
    ) -> None:
        self._root, self._ledger = Path(root.uri), Ledger(root)
        self._unpacks, self._keeps_archives, self._reads = unpacks, keeps_archives, reads
        self._tries, self._on_bytes, self._wait = tries, on_bytes, wait or self._sleep
        self._stop = threading.Event()
        self._web, self._bucket = Web(), Bucket()

    def has_room_for(self, sources: Sequence[Source]) -> None:
        """Raises CorpusError where the disk is smaller than what is missing, as far as sizes are published."""
        missing = [s for s in sources if not self._ledger.get(s) and not (self._root / s.path).exists()]
        n_bytes = sum((s.n_bytes or 0) - _size(self._root / f"{s.path}{PART}") for s in missing if s.n_bytes)
        n_free = shutil.disk_usage(self._root).free
        if n_bytes > n_free:
            raise CorpusError(
                f"root {self._root}: {n_bytes / 1e9:.1f} GB are missing, and there is room for {n_free / 1e9:.1f} GB; "
                "make room, or fetch a part of the files by --only"
            )

    def run(self, sources: Sequence[Source], at_once: int, on_file: Callable[[int, int], None]) -> Fetched:
        fetched = Fetched(0, 0, 0, 0, {})
        pool = ThreadPoolExecutor(at_once)
        on_file(0, len(sources))
        try:
            files = {pool.submit(self._one, source): source for source in sources}
            for n_done, done in enumerate(as_completed(files), start=1):
                try:
                    loaded, n_unpacked = done.result()
                    fetched = fetched._replace(
                        n_loaded=fetched.n_loaded + (loaded is not None),
                        n_bytes=fetched.n_bytes + (loaded.n_bytes if loaded else 0),
                        n_same=fetched.n_same + (loaded is None and not n_unpacked),
                        n_unpacked=fetched.n_unpacked + n_unpacked,
                    )
                except (Refused, FileExistsError, NotADirectoryError, IsADirectoryError) as error:
                    fetched.failed[files[done].path] = str(error)
                on_file(n_done, len(files))
        finally:
            self._stop.set()  # a thread that waits for a server sees it with the next bytes, and is not waited for
            pool.shutdown(wait=False, cancel_futures=True)
            self._ledger.write()
        return fetched

    def _one(self, source: Source) -> tuple[Loaded | None, int]:
        """What was loaded, None where it was here; and the number of files that were unpacked."""
        self._go_on()
        target, loaded = self._root / source.path, None
        unpacks = self._unpacks and source.path.lower().endswith(SUFFIX)
        entry = self._ledger.get(source)
        if entry and unpacks and self._ledger.is_unpacked(entry, read=self._reads):
            return None, 0
        if entry and not self._ledger.is_whole(source.path, entry, read=self._reads):
            entry = None
        if entry is None:
            found = self._found(source, target)
            if found is None:
                found = loaded = download(
                    source,
                    target,
                    self._origin(source),
                    tries=self._tries,
                    wait=self._wait,
                    on_bytes=lambda n_here, n_whole: self._heard(source.path, n_here, n_whole),
                )
            entry = Entry(source.public_url, *found, target.stat().st_mtime_ns)
            self._ledger.put(source.path, entry)
        if not unpacks:
            return loaded, 0
        members = unpack(target, self._root / into(source.path), self._go_on)
        unpacked = {f"{into(source.path)}/{name}": member for name, member in members.items()}
        self._ledger.put(source.path, replace(entry, unpacked=unpacked))
        if not self._keeps_archives:
            self._ledger.write()  # first: what is neither here nor noted would be loaded again
            target.unlink()
        return loaded, len(members)

    def _found(self, source: Source, target: Path) -> Loaded | None:
        """A file that somebody put here, or that was whole when a fetch was killed, and is what was published."""
        if not (source.sha256 or source.md5) or not target.is_file():
            return None
        found = hashes(target, md5=source.md5 is not None)
        return None if differs(source, found) else found

    def _origin(self, source: Source) -> Origin:
        return self._bucket if source.url.startswith("s3://") else self._web

    def _heard(self, path: str, n_here: int, n_whole: int | None) -> None:
        self._go_on()
        self._on_bytes(path, n_here, n_whole)

    def _sleep(self, seconds: float) -> None:
        self._stop.wait(seconds)
        self._go_on()

    def _go_on(self) -> None:
        if self._stop.is_set():
            raise _Stopped


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0
