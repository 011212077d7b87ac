"""The clips that a table or a folder of files names, found by any name that a clip goes by."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from pathlib import PurePosixPath

from mien.corpora import CORPORA, naming
from mien.corpora.clip import Clip, Reject
from mien.corpora.csv_table import CsvTable
from mien.corpora.tree import RECORDINGS
from mien.errors import CorpusError

COLUMNS = ("clip_id", "file", "clip")

_TABLE_SUFFIXES = (".csv", ".tsv")


def name_column(table: CsvTable) -> str:
    """The column that names the clips. Raises CorpusError where there is none, or more than one."""
    found = [column for column in COLUMNS if column in table.columns]
    if len(found) != 1:
        which = f"it has {' and '.join(found)}" if found else f"its columns are {', '.join(table.columns)}"
        raise CorpusError(
            f"{table.path}, line 1: exactly one column must name the clips ({' or '.join(COLUMNS)}); {which}"
        )
    return found[0]


class ClipNames:
    """The names in one source, each handed out to the clip that it means.

    A name is a clip's id, its id without the corpus or its last part, a file name that the corpus itself
    understands, or the name of a file that the clip was imported from; of files folder and suffix do not matter.
    """

    def __init__(self, source: str, names: Iterable[str]) -> None:
        self._source = source
        self._names = sorted(set(names), key=lambda name: (PurePosixPath(name).name, name))
        self._by_key: dict[str, list[str]] = defaultdict(list)
        for name in self._names:
            for key in dict.fromkeys((name, PurePosixPath(name).name, _stem(name))):
                self._by_key[key].append(name)
        self._by_clip_id: dict[str, dict[str, list[str]]] = {}  # one for each corpus that was seen
        self._owners: dict[str, str] = {}
        self._spare: list[str] = []

    def of(self, clip: Clip) -> list[str]:
        """The names that mean this clip, files in the order of their names.

        Raises CorpusError for one that has meant another clip already.
        """
        if clip.corpus not in self._by_clip_id:
            self._by_clip_id[clip.corpus] = self._understood(clip.corpus)
        keys = [clip.id, clip.id.removeprefix(f"{clip.corpus}/"), PurePosixPath(clip.id).name]
        for medium in clip.media.values():
            file = PurePosixPath(medium.path)
            keys += [medium.path, file.name, file.stem]
        meant = {name for key in keys for name in self._by_key.get(key, ())}
        meant.update(self._by_clip_id[clip.corpus].get(clip.id, ()))
        for name in meant:
            if (owner := self._owners.setdefault(name, clip.id)) != clip.id:
                raise CorpusError(f"{self._source}: {name} means {owner} and {clip.id}: name the clips by their ids")
        return sorted(meant, key=lambda name: (PurePosixPath(name).name, name))

    def spare(self, names: Iterable[str]) -> None:
        """Note names that were not needed, because another name of the same clip came first."""
        self._spare += names

    def rejects(self) -> Iterator[Reject]:
        """One reject for each reason why names were not used, with their number and the first of them.

        To be asked when all clips were seen. Raises CorpusError where none of the names meant a clip.
        """
        if not self._by_clip_id:  # there were no clips, which is for the importer to say
            return
        corpora = " or ".join(self._by_clip_id)
        if not self._owners:
            raise CorpusError(
                f"{self._source}: none of its {len(self._names)} names belongs to a clip of {corpora}, the first is "
                f"{self._names[0]}: name clips by their ids, or files as the corpus does"
            )
        unused = [name for name in self._names if name not in self._owners]
        bad = set(self._not_understood(unused))
        explained = {
            "unknown-clip": ([n for n in unused if n not in bad], f"belong to no clip of {corpora} that was imported"),
            "bad-name": ([n for n in unused if n in bad], f"are not names of {corpora}"),
            "duplicate": (self._spare, "are further names of a clip that has one already, and were not used"),
        }
        for reason, (names, why) in explained.items():
            if names:
                some = ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")
                detail = f"{self._source}: {len(names)} of {len(self._names)} names {why}: {some}"
                yield Reject(id=self._source, path=self._source, stage="attach", reason=reason, detail=detail)

    def _understood(self, corpus: str) -> dict[str, list[str]]:
        """Clip id to the names that the corpus itself takes for that clip's."""
        by_clip_id: dict[str, list[str]] = defaultdict(list)
        if clip_id := naming(corpus) if corpus in CORPORA else None:
            for name in self._names:
                try:
                    by_clip_id[clip_id(_stem(name))].append(name)
                except ValueError:
                    continue
        return by_clip_id

    def _not_understood(self, names: Iterable[str]) -> Iterator[str]:
        """Those that no corpus takes for a name of its own, where each of the corpora has a rule for names."""
        if not all(corpus in CORPORA and naming(corpus) for corpus in self._by_clip_id):
            return
        known = {name for by_id in self._by_clip_id.values() for known in by_id.values() for name in known}
        prefixes = tuple(f"{corpus}/" for corpus in self._by_clip_id)
        yield from (name for name in names if name not in known and not name.startswith(prefixes))


def _stem(name: str) -> str:
    """The last part of a path without the suffix of a medium or table; other dots may belong to the name."""
    file = PurePosixPath(name)
    return file.stem if file.suffix.lower() in (*RECORDINGS, *_TABLE_SUFFIXES) else file.name
