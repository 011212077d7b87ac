"""Unpacking: a zip archive into a folder of its name, each file whole or absent, nothing outside and nothing twice."""

from __future__ import annotations

import stat
import uuid
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

from mien.corpora.fetch.ledger import Member, is_member
from mien.corpora.fetch.transfer import Refused
from mien.folder import unfit_as_path

SUFFIX = ".zip"
# Recordings hardly get smaller by deflate, which can blow up 1,032 bytes from one.
MOST_BYTES_PER_BYTE = 100


def into(path: str) -> str:
    """The folder below the root that an archive is unpacked to.

    >>> into("Video_Speech_Actor_01.zip")
    'Video_Speech_Actor_01'
    """
    return path[: -len(SUFFIX)]


def unpack(archive: Path, folder: Path, on_member: Callable[[], None]) -> dict[str, Member]:
    """Name of each file in the archive, from the folder on, to what it is; all of them are there then.

    A file that is there already, with the size and CRC-32 that the archive states, stays as it is: so one that was
    broken off goes on. No more bytes are written than the archive states, and each file has its CRC-32.

    on_member: called before each file; it may raise to stop. Raises Refused for what is no whole zip archive or not a
    safe one; OSError where the disk does not take it.
    """
    try:
        with zipfile.ZipFile(archive) as opened:
            infos = [info for info in opened.infolist() if not info.is_dir()]
            _check(infos, archive)
            for info in infos:
                on_member()
                _extract(opened, info, folder / info.filename)
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, UnicodeDecodeError) as error:
        raise Refused(f"cannot be unpacked ({error}); delete it and run the same again, or --no-unpack") from None
    return {info.filename: Member(info.file_size, info.CRC) for info in infos}


def _check(infos: list[zipfile.ZipInfo], archive: Path) -> None:
    names: set[str] = set()
    for info in infos:
        why = unfit_as_path(info.filename)
        if stat.S_ISLNK(info.external_attr >> 16):
            why = "is a link"
        elif info.flag_bits & 1:
            why = "is encrypted"
        elif info.filename in names:
            why = "is there twice"
        if why:
            raise Refused(f"cannot be unpacked ({info.filename!r}: {why}); unpack it by hand, with --no-unpack")
        names.add(info.filename)
    n_bytes, n_packed = sum(info.file_size for info in infos), archive.stat().st_size
    if n_bytes > MOST_BYTES_PER_BYTE * n_packed:
        raise Refused(f"cannot be unpacked (it states {n_bytes} bytes within {n_packed}); look at it with --no-unpack")


def _extract(archive: zipfile.ZipFile, info: zipfile.ZipInfo, target: Path) -> None:
    if is_member(target, Member(info.file_size, info.CRC), read=True):
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_name(f".{target.name}.{uuid.uuid4().hex[:8]}")
    try:
        with archive.open(info) as packed, temporary.open("wb") as file:
            while block := packed.read(2**20):
                file.write(block)
        temporary.replace(target)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise OSError(error.errno, error.strerror, error.filename or str(target)) from None
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
