"""The media files below a corpus root, sorted into clips: what the importers share.

Nothing is opened here. A corpus of 7,356 files is imported from directory entries alone; whether a file holds
what its name says is found when it is decoded.
"""

from __future__ import annotations

import os
import stat
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath

from mien.corpora.clip import Clip, Reject
from mien.errors import CorpusError

# A corpus that `mien sample` wrote carries this file; clips from anywhere below it are marked synthetic.
SYNTHETIC_MARKER = "SYNTHETIC.json"

# Sound and pictures in other formats than a corpus reads: noticed all the same, so that a re-encoded recording becomes
# a reject that says so.
RECORDINGS = (".wav", ".flac", ".mp4", ".flv", ".mp3", ".avi", ".mov", ".mkv", ".webm", ".m4a", ".aac", ".ogg")

# What lies beside recordings and surely is none. All else (.opus, .wav.part, no suffix) may be one that got lost, and
# becomes a reject.
DOCUMENTS = frozenset(
    [
        ".txt",
        ".md",
        ".rst",
        ".pdf",
        ".doc",
        ".docx",
        ".rtf",
        ".html",
        ".htm",
        ".xml",
        ".json",
        ".yaml",
        ".yml",
        ".csv",
        ".tsv",
        ".xls",
        ".xlsx",
        ".ods",
        ".textgrid",
        ".eaf",
        ".srt",
        ".vtt",
        ".r",
        ".rmd",
        ".rproj",
        ".py",
        ".m",
        ".sh",
        ".ipynb",
        ".png",
        ".jpg",
        ".jpeg",
        ".gif",
        ".bmp",
        ".zip",
        ".tar",
        ".gz",
        ".tgz",
        ".bz2",
        ".xz",
        ".7z",
        ".rar",
        ".md5",
        ".sha1",
        ".sha256",
        ".torrent",
    ]
)
_DOCUMENT_NAMES = ("readme", "license", "licence", "copying", "changelog", "changes", "notice", "md5sums", "sha256sums")
UNKNOWN_SUFFIX = "unknown-suffix"


@dataclass(frozen=True, slots=True)
class MediaFile:
    """A directory entry that is a medium, or may be meant to be one.

    problem: (reason, sentence) where it cannot be used. synthetic: `mien sample` wrote the corpus that it lies in.
    """

    path: Path
    n_bytes: int
    problem: tuple[str, str] | None = None
    synthetic: bool = False


class Misplaced(ValueError):
    """A file whose name, suffix or folder is not one of the corpus. `reason` is the reject's stable code."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason


def is_noticed(path: PurePath) -> bool:
    """Whether a file becomes part of a clip or a reject: all but documents."""
    if not path.suffix:
        return path.name.lower() not in _DOCUMENT_NAMES
    return path.suffix.lower() not in DOCUMENTS


def find_media(root: Path, suffixes: Sequence[str], title: str, remedy: str) -> list[MediaFile]:
    """Every media file below root, and what may be meant to be one; hidden files and documents are left out.

    suffixes: those that the corpus reads. Sorted by them, then by path, so that of two files for one recording the
    first is the better. Links to folders are followed, each folder once. title, remedy: name of the corpus and how to
    get it. Raises CorpusError where root is no readable folder or holds no media file.
    """
    try:
        if not stat.S_ISDIR(root.stat().st_mode):
            raise CorpusError(f"{root}: is not a folder. {title}: {remedy}")
    except FileNotFoundError:
        raise CorpusError(f"{root}: does not exist. {title}: {remedy}") from None
    except OSError as error:
        raise CorpusError(f"{root}: cannot be reached ({error.strerror}): check its permissions") from None
    if not _may(root, os.R_OK | os.X_OK):
        raise CorpusError(f"{root}: cannot be listed (permission denied): check its permissions")
    preference = {suffix: place for place, suffix in enumerate(suffixes)}

    def order(file: MediaFile) -> tuple[int, Path]:
        return preference.get(file.path.suffix.lower(), len(preference)), file.path

    files = sorted(_walk(root, suffixes, set(), is_marked(root)), key=order)
    if all(file.problem and file.problem[0] == UNKNOWN_SUFFIX for file in files):
        raise CorpusError(f"{root}: no media files below it. {title}: {remedy}")
    return files


def _walk(folder: Path, suffixes: Sequence[str], seen: set[tuple[int, int]], synthetic: bool) -> Iterator[MediaFile]:
    """synthetic: a folder that this one was reached through carries the mark, or one above what was linked to."""
    try:
        state = folder.stat()
        entries = list(os.scandir(folder)) if (state.st_dev, state.st_ino) not in seen else []
    except OSError as error:
        detail = f"folder cannot be listed ({error.strerror}): check its permissions"
        yield MediaFile(folder, 0, ("unreadable", detail))
        return
    seen.add((state.st_dev, state.st_ino))
    synthetic = synthetic or any(entry.name == SYNTHETIC_MARKER for entry in entries)
    for entry in entries:
        if entry.name.startswith("."):  # .DS_Store, and the ._name doubles that macOS writes into archives
            continue
        path = folder / entry.name
        try:
            state = entry.stat()
        except OSError as error:  # a link that leads nowhere may have been a folder of clips
            yield MediaFile(path, 0, ("unreadable", f"cannot be followed ({error.strerror}): check the link"))
            continue
        marked = synthetic or (entry.is_symlink() and is_marked(path))
        is_media = path.suffix.lower() in (*suffixes, *RECORDINGS)
        if stat.S_ISDIR(state.st_mode):
            if is_media:
                detail = "is a folder with the name of a recording: rename it, or put the recording in its place"
                yield MediaFile(path, 0, ("unreadable", detail), marked)
            yield from _walk(path, suffixes, seen, marked)
        elif is_media:
            yield MediaFile(path, state.st_size, problem_of(path, state), marked)
        elif is_noticed(path):
            what = f"{path.suffix} is no format of a recording" if path.suffix else "has no suffix"
            problem = UNKNOWN_SUFFIX, f"{what} that is known here: rename or convert it, or take it away"
            yield MediaFile(path, state.st_size, problem, marked)


def is_marked(path: Path) -> bool:
    """Whether it carries the mark, or a folder above it does, also above what it links to."""
    target = path.resolve()
    folders = (path, *path.parents, target, *target.parents)
    return any(os.access(folder / SYNTHETIC_MARKER, os.F_OK) for folder in folders)  # False, too, in a closed folder


def problem_of(path: Path, state: os.stat_result) -> tuple[str, str] | None:
    """(reason, sentence) where a file cannot be used as a medium; None where it can."""
    if not stat.S_ISREG(state.st_mode):
        return "unreadable", "is not a regular file: remove it"
    if not _may(path, os.R_OK):
        return "unreadable", "permission denied: check its permissions"
    if state.st_size == 0:
        return "empty", "is 0 bytes long: download it again"
    return None


def _may(path: Path, mode: int) -> bool:
    return os.access(path, mode, effective_ids=os.access in os.supports_effective_ids)


def sort_into_clips(
    files: Iterable[MediaFile], root: Path, place: Callable[[Path], tuple[str, str]]
) -> tuple[dict[str, dict[str, str]], set[str], list[Reject]]:
    """Clip id to its files by slot, the ids of synthetic clips, and a reject for each file that fits nowhere.

    place: from a path to its clip id and its slot in that clip (one per kind of recording); raises `Misplaced`. Of two
    usable files for one slot the first is kept.
    """
    slots: dict[str, dict[str, str]] = defaultdict(dict)
    synthetic: set[str] = set()
    rejects: list[Reject] = []
    for file in files:
        try:
            clip_id, slot = place(file.path)
        except Misplaced as error:
            rejects.append(_reject(None, file, root, *(file.problem or (error.reason, str(error)))))
            continue
        if file.problem:
            rejects.append(_reject(clip_id, file, root, *file.problem))
        elif slot in slots[clip_id]:
            kept = Path(slots[clip_id][slot]).relative_to(root)
            detail = f"same recording as {kept}, which is used: remove one of them"
            rejects.append(_reject(clip_id, file, root, "duplicate", detail))
        else:
            slots[clip_id][slot] = str(file.path)
            if file.synthetic:
                synthetic.add(clip_id)
    return {clip_id: found for clip_id, found in slots.items() if found}, synthetic, rejects


def in_order(clips: Iterable[Clip], rejects: Iterable[Reject]) -> Iterator[Clip | Reject]:
    """Clips and rejects by id; a reject of one file of a clip follows the clip."""
    records: list[Clip | Reject] = [*clips, *rejects]
    return iter(sorted(records, key=lambda record: (record.id, isinstance(record, Reject))))


def _reject(clip_id: str | None, file: MediaFile, root: Path, reason: str, detail: str) -> Reject:
    where = printable(file.path.relative_to(root))
    return Reject(
        id=clip_id or where,
        path=printable(file.path),
        stage="import",
        reason=reason,
        detail=f"{where}: {detail}",
    )


def printable(path: Path) -> str:
    """A path as text that Arrow and a terminal take, whatever bytes the file system allowed in the name."""
    return os.fsencode(path).decode("utf-8", "replace")
