"""A corpus in S3, imported from its listing: no medium is read as a whole, and the importers know of folders only.

For as long as the import lasts a temporary folder stands for the bucket: an empty file of the same length for each
medium, which takes no room on the disk, and the tables as they are. Where an importer needs some bytes of a medium,
such as the triggers in a recording of sensors, those stand at their place in the empty file (`EXCERPTS`, see
`mien.corpora.Corpus`).
"""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory
from typing import IO, Any

from mien.corpora import CORPORA, load
from mien.corpora.clip import Clip, Reject
from mien.corpora.csv_table import MOST_BYTES
from mien.corpora.tree import SYNTHETIC_MARKER, is_noticed
from mien.errors import CorpusError, MediaError
from mien.folder import Folder, unfit_as_path

# Requests that wait for the network at the same time.
_N_THREADS = 16


def import_clips(corpus: str, root: str | os.PathLike[str], settings: Any = None) -> Iterator[Clip | Reject]:
    """What the importer of a corpus finds in root, a folder or `s3://bucket/prefix`; of a table also the table.

    settings: the corpus's own `Settings`, None for the usual ones. Raises CorpusError as the importer does and for
    settings that are not the corpus's, and BucketError for a bucket that cannot be listed.
    """
    module = load(corpus)
    expected = getattr(module, "Settings", None)
    if settings is not None and not (expected and isinstance(settings, expected)):
        wanted = f"give a {CORPORA[corpus]}.Settings" if expected else f"{corpus} has none; leave them out"
        raise CorpusError(f"settings {settings!r} are not those of corpus {corpus}: {wanted}")
    text = os.fspath(root)
    if "://" not in text:
        yield from module.import_clips(Path(text), settings)
        return
    is_file = text.lower().endswith(tuple(getattr(module, "ROOT_SUFFIXES", ())))
    text, _, name = text.rpartition("/") if is_file else (text, "", "")
    folder = Folder(text)
    with TemporaryDirectory(prefix="mien-") as temporary:
        # By its own name, which may mean something: a folder of MAHNOB-HCI is called by the number of its session.
        stand_in = Path(temporary).resolve() / ("root" if unfit_as_path(folder.name) else folder.name)
        stand_in.mkdir()
        yield from _stand_in(folder, stand_in, getattr(module, "TABLE_SUFFIXES", ()), getattr(module, "EXCERPTS", {}))
        here, there = str(stand_in), folder.uri
        try:
            for found in module.import_clips(stand_in / name, settings):
                if isinstance(found, Reject):
                    parts = {part: getattr(found, part).replace(here, there) for part in ("id", "path", "detail")}
                    yield replace(found, **parts)
                else:
                    media = found.media.items()
                    moved = {name: replace(medium, path=medium.path.replace(here, there)) for name, medium in media}
                    yield replace(found, media=moved)
        except CorpusError as error:
            raise CorpusError(str(error).replace(here, there)) from error


def _stand_in(
    folder: Folder,
    stand_in: Path,
    table_suffixes: Sequence[str],
    excerpts: Mapping[str, Callable[[str, Any], object]],
) -> Iterator[Reject]:
    """Makes what stands for the bucket; yields a reject for each key that is no path here."""
    to_fetch = []
    for name, file in folder.files().items():
        path = PurePosixPath(name)
        suffix = path.suffix.lower()
        is_read = suffix in (*table_suffixes, *excerpts)
        if not (is_read or is_noticed(path) or path.name == SYNTHETIC_MARKER):
            continue
        target = stand_in / path
        why = unfit_as_path(name)
        try:
            if why is None:
                target.parent.mkdir(parents=True, exist_ok=True)
                with target.open("wb") as empty:
                    empty.truncate(file.size)
                if suffix in excerpts or (is_read and file.size <= MOST_BYTES):  # a larger table is refused by its size
                    to_fetch.append(name)
        except (NotADirectoryError, IsADirectoryError, FileExistsError):
            why = "it needs a folder where another key is a file, or the other way"
        if why:
            yield Reject(
                id=name, path=folder.path(name), stage="import", reason="bad-name", detail=f"{name}: {why}: rename it"
            )

    def fetch(name: str) -> None:
        read = excerpts.get(PurePosixPath(name).suffix.lower())
        if read is None:
            (stand_in / name).write_bytes(folder.read_bytes(name))
            return
        with folder.opened(name) as source, (stand_in / name).open("r+b") as copy, suppress(MediaError):
            read(folder.path(name), _Copied(source, copy))

    with ThreadPoolExecutor(_N_THREADS) as pool:
        list(pool.map(fetch, to_fetch))
    scheme, _, place = folder.uri.partition("://")
    bucket, *prefixes = place.split("/")
    # No medium of a sample lies deeper than two folders within its root, and what is further up may be closed to us.
    for depth in range(len(prefixes) - 1, max(-1, len(prefixes) - 3), -1):
        above = Folder(f"{scheme}://{'/'.join([bucket, *prefixes[:depth]])}")
        if above.exists(SYNTHETIC_MARKER):
            (stand_in / SYNTHETIC_MARKER).touch()
            return


class _Copied(io.RawIOBase):
    """A file for reading, of which each byte that is read is written to its place in a copy."""

    def __init__(self, source: IO[bytes], copy: IO[bytes]) -> None:
        self._source, self._copy = source, copy

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = 0) -> int:
        return self._source.seek(offset, whence)

    def readinto(self, buffer: Any) -> int:
        start = self._source.tell()
        data = self._source.read(len(buffer))
        buffer[: len(data)] = data
        self._copy.seek(start)
        return self._copy.write(data)
