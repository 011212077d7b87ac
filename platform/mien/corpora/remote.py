"""A corpus in S3, imported from its listing: no medium is read, and the importers know of folders only.

For as long as the import lasts a temporary folder stands for the bucket: an empty file of the same length for each
medium, which takes no room on the disk, and the tables as they are.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory
from typing import Any

from mien.corpora import CORPORA, load
from mien.corpora.clip import Clip, Reject
from mien.corpora.tree import SYNTHETIC_MARKER, is_noticed
from mien.errors import CorpusError
from mien.folder import Folder, unfit_as_path


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
        stand_in = Path(temporary).resolve() / "root"
        stand_in.mkdir()
        yield from _stand_in(folder, stand_in, getattr(module, "TABLE_SUFFIXES", ()))
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


def _stand_in(folder: Folder, stand_in: Path, table_suffixes: Sequence[str]) -> Iterator[Reject]:
    """Makes what stands for the bucket; yields a reject for each key that is no path here."""
    for name, file in folder.files().items():
        path = PurePosixPath(name)
        is_table = path.suffix.lower() in table_suffixes
        if not (is_table or is_noticed(path) or path.name == SYNTHETIC_MARKER):
            continue
        target = stand_in / path
        why = unfit_as_path(name)
        try:
            if why is None:
                target.parent.mkdir(parents=True, exist_ok=True)
                if is_table:
                    target.write_bytes(folder.read_bytes(name))
                    continue
                with target.open("wb") as empty:
                    empty.truncate(file.size)
        except (NotADirectoryError, IsADirectoryError, FileExistsError):
            why = "it needs a folder where another key is a file, or the other way"
        if why:
            yield Reject(
                id=name, path=folder.path(name), stage="import", reason="bad-name", detail=f"{name}: {why}: rename it"
            )
    scheme, _, place = folder.uri.partition("://")
    bucket, *prefixes = place.split("/")
    # No medium of a sample lies deeper than two folders within its root, and what is further up may be closed to us.
    for depth in range(len(prefixes) - 1, max(-1, len(prefixes) - 3), -1):
        above = Folder(f"{scheme}://{'/'.join([bucket, *prefixes[:depth]])}")
        if above.exists(SYNTHETIC_MARKER):
            (stand_in / SYNTHETIC_MARKER).touch()
            return
