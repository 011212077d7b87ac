"""A corpus in S3, imported from its listing: no medium is read, and the importers know of folders only.

For as long as the import lasts a temporary folder stands for the bucket: an empty file of the same length for each
medium, which takes no room on the disk, and the tables as they are.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory

from mien.corpora import load
from mien.corpora.clip import Clip, Reject
from mien.corpora.tree import MEDIA_SUFFIXES, SYNTHETIC_MARKER
from mien.errors import CorpusError
from mien.folder import Folder

TABLE_SUFFIX = ".csv"


def import_clips(corpus: str, root: str | os.PathLike[str]) -> Iterator[Clip | Reject]:
    """What the importer of a corpus finds below root, a folder or `s3://bucket/prefix`.

    Raises CorpusError as the importer does, and BucketError for a bucket that cannot be listed.
    """
    text = os.fspath(root)
    if "://" not in text:
        yield from load(corpus).import_clips(Path(text))
        return
    folder = Folder(text)
    with TemporaryDirectory(prefix="mien-") as temporary:
        stand_in = Path(temporary).resolve() / "root"
        stand_in.mkdir()
        _stand_in(folder, stand_in)
        here, there = str(stand_in), folder.uri
        try:
            for found in load(corpus).import_clips(stand_in):
                if isinstance(found, Reject):
                    yield replace(found, path=found.path.replace(here, there))
                else:
                    yield replace(found, media={kind: path.replace(here, there) for kind, path in found.media.items()})
        except CorpusError as error:
            raise CorpusError(str(error).replace(here, there)) from error


def _stand_in(folder: Folder, stand_in: Path) -> None:
    for name, file in folder.files().items():
        path = PurePosixPath(name)
        if ".." in path.parts:  # S3 allows it in a key; here it would lead out
            continue
        suffix, is_mark = path.suffix.lower(), path.name == SYNTHETIC_MARKER
        if suffix not in (*MEDIA_SUFFIXES, TABLE_SUFFIX) and not is_mark:
            continue
        target = stand_in / path
        target.parent.mkdir(parents=True, exist_ok=True)
        if suffix == TABLE_SUFFIX:
            target.write_bytes(folder.read_bytes(name))
            continue
        with target.open("wb") as empty:
            empty.truncate(file.size)
    scheme, _, place = folder.uri.partition("://")
    bucket, *prefixes = place.split("/")
    # No medium of a sample lies deeper than two folders within its root, and what is further up may be closed to us.
    for depth in range(len(prefixes) - 1, max(-1, len(prefixes) - 3), -1):
        above = Folder(f"{scheme}://{'/'.join([bucket, *prefixes[:depth]])}")
        if above.exists(SYNTHETIC_MARKER):
            (stand_in / SYNTHETIC_MARKER).touch()
            return
