"""An inventory: the files of a download compared with those that were published."""

from __future__ import annotations

import csv
import gzip
import hashlib
import struct
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from importlib.resources import files as package_files
from pathlib import Path
from typing import BinaryIO

from mien.corpora import OnFile, Verification
from mien.corpora.tree import SYNTHETIC_MARKER, UNKNOWN_SUFFIX, MediaFile, Misplaced
from mien.errors import Finding


@dataclass(frozen=True, kw_only=True, slots=True)
class Published:
    """What is known of one published file; None where the publisher did not say."""

    part: str
    name: str
    sha256: str | None = None
    n_bytes: int | None = None


def read_facts(name: str) -> list[dict[str, str]]:
    """Rows of a table of published names, sizes and hashes that is part of this package."""
    packed = package_files("mien.corpora").joinpath(name).read_bytes()
    return list(csv.DictReader(gzip.decompress(packed).decode().splitlines()))


def check_files(
    corpus: str,
    root: Path,
    files: Iterable[MediaFile],
    published: Iterable[Published],
    place: Callable[[Path], object],
    on_file: OnFile | None = None,
) -> Verification:
    """Compare files with what was published: names, then sizes or containers, then hashes.

    A part of which nothing is there was not downloaded, which is fine; of a part that is there in pieces each
    missing file is an error. A file is hashed only if it is whole and either its hash is published or another
    file is as long (it may be the same bytes under two names).

    place: raises `Misplaced` where a name or folder is wrong, as for `sort_into_clips`. on_file: called with
    (files hashed, files to hash).
    """
    known = {file.name: file for file in published}
    files = list(files)
    found, findings = _match(files, known, place)
    n_found = Counter(known[name].part for name in found)
    counts = {part: (n_found[part], n) for part, n in Counter(file.part for file in known.values()).items()}
    if n_synthetic := sum(file.synthetic for file in files):
        made = f"{n_synthetic} of {len(files)} files made by `mien sample`"
        detail = f"{made}, as {SYNTHETIC_MARKER} says: not the published corpus"
        findings = [_error("synthetic", detail, root)]
    else:
        findings += _check_parts(root, counts, known.values(), found)
        findings += _check_contents(root, known, found, on_file)
    return Verification(corpus=corpus, root=str(root), counts=counts, findings=tuple(findings))


def _match(
    files: Iterable[MediaFile], known: dict[str, Published], place: Callable[[Path], object]
) -> tuple[dict[str, MediaFile], list[Finding]]:
    """Published name to the file that bears it, and a finding for each file that bears none."""
    found: dict[str, MediaFile] = {}
    findings: list[Finding] = []
    for file in files:
        if file.problem and file.problem[0] == UNKNOWN_SUFFIX:
            what, detail = file.problem
            findings.append(Finding(severity="warning", what=what, path=str(file.path), detail=detail))
            continue
        try:
            place(file.path)
        except Misplaced as error:
            findings.append(_error(*(file.problem or (error.reason, str(error))), file.path))
            continue
        name = file.path.stem + (".wav" if _is_reencoded(file) else file.path.suffix.lower())
        if name not in known:
            findings.append(_error("unexpected", "is not among the published files: remove it", file.path))
        elif name in found:
            detail = f"same recording as {found[name].path}: remove one of them"
            findings.append(_error("duplicate", detail, file.path))
        else:
            found[name] = file
    return found, findings


def _is_reencoded(file: MediaFile) -> bool:
    """Neither corpus publishes FLAC: such a file was packed from the published wav."""
    return file.path.suffix.lower() == ".flac"


def _check_parts(
    root: Path, counts: dict[str, tuple[int, int]], published: Iterable[Published], found: dict[str, MediaFile]
) -> Iterator[Finding]:
    for part, (n_found, n_published) in counts.items():
        if n_found == 0:
            detail = f"{part}: not downloaded (0 of {n_published} files)"
            yield Finding(severity="info", what="not-downloaded", path=str(root), detail=detail)
    for file in published:
        if counts[file.part][0] and file.name not in found:
            yield _error("missing", f"{file.part}: {file.name} is missing: download it again", root)


def _check_contents(
    root: Path, known: dict[str, Published], found: dict[str, MediaFile], on_file: OnFile | None
) -> Iterator[Finding]:
    whole: dict[str, MediaFile] = {}
    for name, file in found.items():
        n_bytes = known[name].n_bytes
        if file.problem:
            reason, detail = file.problem
            yield _error(reason, detail, file.path)
        elif n_bytes is not None and file.n_bytes != n_bytes:
            yield _error("size", f"{file.n_bytes} bytes, published {n_bytes}: download it again", file.path)
        elif n_bytes is None and (fault := container_fault(file)):
            yield _error("truncated", f"{fault}: download it again", file.path)
        else:
            whole[name] = file

    n_reencoded = sum(_is_reencoded(file) for file in whole.values())
    if n_reencoded:
        detail = f"{n_reencoded} FLAC files are not the published encoding: their hashes cannot be compared"
        yield Finding(severity="info", what="re-encoded", path=str(root), detail=detail)
    n_unhashed = sum(known[name].sha256 is None for name in whole)
    if n_unhashed:
        detail = f"no hash is published for {n_unhashed} files: they were checked for being whole, no more"
        yield Finding(severity="info", what="no-published-hash", path=str(root), detail=detail)
    yield from _check_hashes(known, whole, on_file)


def _check_hashes(
    known: dict[str, Published], whole: dict[str, MediaFile], on_file: OnFile | None
) -> Iterator[Finding]:
    published_as = {file.sha256: file.name for file in known.values() if file.sha256}
    n_of_length = Counter(file.n_bytes for file in whole.values())
    expected = {name: None if _is_reencoded(file) else known[name].sha256 for name, file in whole.items()}
    to_hash = [name for name, file in whole.items() if expected[name] or n_of_length[file.n_bytes] > 1]
    paths_by_hash: dict[str, list[Path]] = defaultdict(list)
    for n_done, name in enumerate(to_hash, start=1):
        path = whole[name].path
        if on_file:
            on_file(n_done, len(to_hash))
        try:
            with path.open("rb") as stream:
                sha256 = hashlib.file_digest(stream, "sha256").hexdigest()
        except OSError as error:
            yield _error("unreadable", f"cannot be read ({error.strerror}): check the disk", path)
            continue
        paths_by_hash[sha256].append(path)
        if expected[name] and sha256 != expected[name]:
            if sha256 in published_as:
                detail = f"holds what was published as {published_as[sha256]}: rename it back"
                yield _error("renamed", detail, path)
            else:
                yield _error("hash", "differs from what was published: download it again", path)
    for first, *others in paths_by_hash.values():
        if others:
            names = ", ".join(path.name for path in others)
            detail = f"byte-identical with {names}: a leak if a split parts them"
            yield Finding(severity="warning", what="byte-identical", path=str(first), detail=detail)


def container_fault(file: MediaFile) -> str | None:
    """What is wrong with the outer structure of a wav, avi, mp4 or flac; None where nothing is.

    A wav or avi states its length in its first eight bytes (RIFF; an avi of more than 1 GB that of its first part); an
    mp4 is a row of boxes with a length each, and useless without its `moov` box (ISO/IEC 14496-12). A FLAC stream does
    not say how long it is.
    """
    suffix = file.path.suffix.lower()
    try:
        with file.path.open("rb") as stream:
            head = stream.read(12)
            if suffix in (".wav", ".avi"):
                if head[:4] != b"RIFF" or head[8:12] != {".wav": b"WAVE", ".avi": b"AVI "}[suffix]:
                    return f"does not begin like {'a wav' if suffix == '.wav' else 'an avi'}"
                n_stated = struct.unpack("<I", head[4:8])[0] + 8
                return f"{file.n_bytes} of {n_stated} bytes" if file.n_bytes < n_stated else None
            if suffix == ".mp4":
                return _mp4_fault(stream, file.n_bytes)
    except OSError as error:
        return f"cannot be read ({error.strerror})"
    return "does not begin like a FLAC stream" if suffix == ".flac" and head[:4] != b"fLaC" else None


def _mp4_fault(stream: BinaryIO, n_bytes: int) -> str | None:
    kinds: list[bytes] = []
    start = 0
    while start < n_bytes:
        stream.seek(start)
        head = stream.read(16)
        if len(head) < 8:
            return "ends within a box header"
        length, kind = struct.unpack(">I4s", head[:8])
        if length == 1 and len(head) == 16:  # 64-bit length follows
            length = struct.unpack(">Q", head[8:])[0]
        if length == 0:  # this box reaches to the end of the file
            length = n_bytes - start
        if not kinds and kind != b"ftyp":
            return "does not begin like an mp4"
        if length < 8 or start + length > n_bytes:
            return f"box {kind.decode('latin-1')!r} is cut short ({n_bytes - start} of {length} bytes)"
        kinds.append(kind)
        start += length
    return None if b"moov" in kinds else "has no index (moov box)"


def _error(what: str, detail: str, path: Path) -> Finding:
    return Finding(severity="error", what=what, path=str(path), detail=detail)
