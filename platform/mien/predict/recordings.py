"""Recordings that a user names, as clips: files, folders, globs and tables, in the order in which they were given.

A file is a clip by itself, and serves as what its suffix says: a film has sound and pictures. What belongs together (a
voice recorded apart from its picture) is said by a table, as is a stretch of a file, who speaks, and what was felt: see
`mien.corpora.table`. Nothing is opened here but tables.
"""

from __future__ import annotations

import glob
import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from operator import attrgetter
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from mien.corpora.clip import Clip, Medium, Reject
from mien.corpora.remote import import_clips
from mien.corpora.table import SUFFIXES, TABLE_SUFFIXES, Settings
from mien.corpora.table.clips import SERVES
from mien.corpora.table.roots import NAMES
from mien.corpora.tree import UNKNOWN_SUFFIX, find_media, is_marked, printable, problem_of
from mien.errors import MienError
from mien.experiment.protocol import UNKNOWN
from mien.folder import Folder

CORPUS = "predict"
NOBODY = f"{CORPUS}/{UNKNOWN}"

_TITLE = "a folder of recordings"
_KNOWN = "sound, video or signals by suffix, a folder of them, or a table (.csv, .tsv, .parquet, .jsonl)"


@dataclass(frozen=True, slots=True)
class Recordings:
    """Clips by name, and what became none. A clip's id is the file as it was given, or its name in a table."""

    clips: dict[str, Clip] = field(default_factory=dict)
    rejects: list[Reject] = field(default_factory=list)


def read_recordings(files: Sequence[str | os.PathLike[str]], settings: Settings | None = None) -> Recordings:
    """The clips of files, folders, globs and tables.

    settings: how tables are read. Raises MienError for a file that is not there, a glob that nothing matches, a folder
    without a recording and a table that cannot be used at all; what is wrong with one file or line among others is a
    reject.
    """
    if not files:
        raise MienError("files: none is named; give recordings, folders, globs or a table")
    found = Recordings()
    seen: set[str] = set()
    words = [os.fspath(file) for file in files]
    for word in words:
        for place in places(word):
            _add(place, found, seen, settings or Settings())
    if not found.clips:
        first = f"; the first: {found.rejects[0].detail}" if found.rejects else ""
        raise MienError(f"{', '.join(words)}: no recording that can be used{first}")
    return found


def places(word: str) -> list[str]:
    """What a word names: itself, or what matches it. Raises MienError where that is nothing."""
    if "://" in word or Path(word).expanduser().exists():
        return [word]
    if not glob.has_magic(word):
        raise MienError(f"{word}: no such file: check the path")
    matching = sorted(glob.glob(str(Path(word).expanduser()), recursive=True))  # noqa: PTH207 - Path has none of /x/**
    if not matching:
        raise MienError(f"{word}: matches no file: check the pattern (** goes into folders)")
    return matching


def _add(place: str, found: Recordings, seen: set[str], settings: Settings) -> None:
    suffix = PurePosixPath(place).suffix.lower()
    if "://" in place:
        if suffix in TABLE_SUFFIXES:
            _add_table(place, found, settings)
        elif suffix:
            _add_file(place, place, found, seen)
        else:
            names = [name for name in Folder(place).files() if PurePosixPath(name).suffix.lower() in SUFFIXES]
            if not names:
                raise MienError(f"{place}: no recording below it; give {_KNOWN}")
            for name in sorted(names):
                _add_file(f"{place.rstrip('/')}/{name}", f"{place.rstrip('/')}/{name}", found, seen)
        return
    path = Path(place).expanduser()
    if path.is_dir():
        if any((path / name).is_file() for name in (*NAMES, "db.yaml")):
            _add_table(place, found, settings)
            return
        for file in sorted(find_media(path, SUFFIXES, _TITLE, f"give {_KNOWN}"), key=attrgetter("path")):
            if file.problem and file.problem[0] == UNKNOWN_SUFFIX:
                continue  # in a folder that is named as a whole, what else lies there is not meant
            if file.problem:
                _reject(found, printable(file.path), *file.problem)
            else:
                _add_file(str(file.path), str(file.path.absolute()), found, seen, synthetic=file.synthetic)
    elif suffix in TABLE_SUFFIXES:
        _add_table(place, found, settings)
    elif problem := problem_of(path, path.stat()):
        _reject(found, place, *problem)
    else:
        _add_file(place, str(path.absolute()), found, seen, synthetic=is_marked(path.absolute()))


def _add_file(name: str, path: str, found: Recordings, seen: set[str], *, synthetic: bool = False) -> None:
    """name: as the user knows it. path: absolute."""
    if path in seen:
        return
    seen.add(path)
    suffix = PurePosixPath(path).suffix.lower()
    if suffix not in SERVES:
        what = f"{suffix} is no format of sound, video or signals" if suffix else "has no suffix"
        _reject(found, name, UNKNOWN_SUFFIX, f"{what} that is known here: rename or convert it")
        return
    media = {medium: Medium(path=path) for medium in SERVES[suffix]}
    clip = Clip(id=_unique(name, found.clips), corpus=CORPUS, subject=NOBODY, media=media, synthetic=synthetic)
    found.clips[clip.id] = clip


def _add_table(place: str, found: Recordings, settings: Settings) -> None:
    prefix = f"{settings.name}/"
    for record in import_clips("table", place, settings):
        if isinstance(record, Reject):
            found.rejects.append(replace(record, id=record.id.removeprefix(prefix)))
        else:
            name = _unique(record.id.removeprefix(prefix), found.clips)
            found.clips[name] = replace(record, id=name, corpus=CORPUS)


def _unique(name: str, taken: Iterable[str]) -> str:
    """The name, with a number where two tables use it."""
    free, number = name, 1
    while free in taken:
        number += 1
        free = f"{name} ({number})"
    return free


def _reject(found: Recordings, name: str, reason: str, detail: str) -> None:
    found.rejects.append(Reject(id=name, path=name, stage="import", reason=reason, detail=f"{name}: {detail}"))


# ---------------------------------------------------------------------- windows


class Part(NamedTuple):
    """A clip that is predicted: a file or a window of one. of: the clip that it is of."""

    clip: Clip
    of: str
    start_s: float
    end_s: float


SMALLEST_SHARE = 0.5  # of a window: what is left at the end and is shorter belongs to none


def windows(
    clip: Clip, window_s: float, hop_s: float, length: Callable[[str], float | None]
) -> list[tuple[float, float, Clip]]:
    """A clip cut into windows on its own clock, each a clip of its own: start and end in seconds, and the clip.

    Window k starts at k · hop_s. What is left after the last whole window becomes one more, which ends where the
    longest medium ends, if it is at least half as long. A clip shorter than a window is one. length: seconds of a file,
    None where it has none (a table, which stands for its clip as a whole). A medium that is over, or has not begun, is
    missing from a window.
    """
    spans: dict[str, tuple[float, float]] = {}  # of each medium on the clip's clock
    for name, medium in clip.media.items():
        ends_s = medium.end_s if medium.end_s is not None else length(medium.path)
        if ends_s is not None and ends_s > medium.start_s:
            spans[name] = (medium.offset_s, medium.offset_s + ends_s - medium.start_s)
    if not spans:
        return [(0.0, 0.0, clip)]
    end_s = max(end for _, end in spans.values())
    n_windows = 1 + int(max(0.0, end_s - window_s) / hop_s + 1e-9)
    covered_s = (n_windows - 1) * hop_s + window_s
    if covered_s < end_s - 1e-9 and end_s - n_windows * hop_s >= SMALLEST_SHARE * window_s:
        n_windows += 1
    found = []
    for k in range(n_windows):
        start, stop = k * hop_s, min(k * hop_s + window_s, end_s)
        media = {name: medium for name, medium in clip.media.items() if name not in spans}
        for name, (begins, over) in spans.items():
            first, last = max(start, begins), min(stop, over)
            if last > first:
                medium = clip.media[name]
                media[name] = replace(
                    medium,
                    start_s=medium.start_s + first - medium.offset_s,
                    end_s=medium.start_s + last - medium.offset_s,
                    offset_s=first - start,
                )
        found.append((start, stop, replace(clip, id=f"{clip.id} {start:.3f}-{stop:.3f}", media=media)))
    return found
