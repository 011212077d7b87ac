"""Unpacked: the sound of a long compressed recording as plain samples on this node, for who reads many stretches of it.

A stretch of an mp3, or of the AAC of a film, is exact to the sample only where all before it is decoded. So each of the
3,600 stretches of an hour would take half an hour of decoding. From the second late stretch of a file on, it is decoded
once, as a whole and with flat memory; the samples are the same, bit for bit.

    $MIEN_CACHE/sound, or ~/.cache/mien/sound
        <digest>.rf64    float32, all channels; the digest is of the path, the size and the date of the file
        <digest>.lock    held by the process that unpacks

Any of them may be deleted at any time. The oldest go when all together take more than `MOST_KEPT_BYTES`.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import shutil
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mien.errors import MediaError
from mien.features.media.source import stamp

LATE_S = 30.0  # start of a stretch before which nothing is gained
MOST_KEPT_BYTES = 8 * 2**30  # six hours of stereo at 48 kHz
LEAST_FREE_BYTES = 2**30  # of the disk, below which nothing more is unpacked
_CHECKED_EVERY = 2**26

_late: Counter[str] = Counter()  # stretches of each file that this process was asked for


def unpacked(path: str, decode: Callable[[Sink], Any]) -> Path | None:
    """The samples of a file, where they are here or are worth to be made; None where the file is to be decoded.

    decode: gives all blocks of the file to the sink. Where it ends with a MediaError (a file that was cut off), what
    came before it is kept: whoever needs more is to decode, and is told.
    """
    place = _place(path)
    _late[path] += 1
    if place.exists():
        with suppress(OSError):
            os.utime(place)  # the oldest go first
        return place
    if _late[path] < 2:
        return None
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        with place.with_suffix(".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not place.exists():  # another process has unpacked it while this one waited
                _unpack(place, decode)
    except OSError:  # no room for it
        return None
    return place if place.exists() else None


def forget(path: str) -> None:
    """Removes the samples of a file from this node, where they are here."""
    for suffix in (".rf64", ".lock"):
        with suppress(OSError):
            _place(path).with_suffix(suffix).unlink(missing_ok=True)


def _place(path: str) -> Path:
    home = Path(os.environ.get("MIEN_CACHE") or Path.home() / ".cache" / "mien")
    return home / "sound" / f"{hashlib.sha256(repr((path, stamp(path))).encode()).hexdigest()[:16]}.rf64"


def _unpack(place: Path, decode: Callable[[Sink], Any]) -> None:
    partly = place.with_suffix(".partly")
    sink = Sink(partly)
    try:
        with suppress(MediaError):
            decode(sink)
        sink.close()
        if sink.n_samples:
            partly.replace(place)
    finally:
        sink.close()
        partly.unlink(missing_ok=True)
    kept = sorted(place.parent.glob("*.rf64"), key=lambda file: file.stat().st_mtime, reverse=True)
    n_bytes = 0
    for file in kept:
        n_bytes += file.stat().st_size
        if n_bytes > MOST_KEPT_BYTES and file != place:
            file.unlink(missing_ok=True)
            file.with_suffix(".lock").unlink(missing_ok=True)


class Sink:
    """Takes the blocks of a sound, (N, channels) float32, and writes them. n_samples: of each channel, so far."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: Any = None
        self._n_silent = 0  # samples before the first block that is not silent: its channels are not known yet
        self._n_unchecked = 0
        self._rate_hz = 0
        self.n_samples = 0

    def add(self, samples: NDArray[np.float32], rate_hz: float) -> None:
        """The next block. Raises OSError where the disk has no room."""
        self.n_samples += len(samples)
        self._rate_hz = int(rate_hz)
        if self._file is None and not samples.any():
            self._n_silent += len(samples)
            return
        if self._file is None:
            self._open(samples.shape[1])
        self._write(samples)

    def close(self) -> None:
        """The sound is over, or is given up."""
        if self._file is None and self._n_silent:
            self._open(1)
        if self._file is not None:
            self._file.close()

    def _open(self, n_channels: int) -> None:
        import soundfile

        self._file = soundfile.SoundFile(
            str(self._path), "w", self._rate_hz, n_channels, subtype="FLOAT", format="RF64"
        )
        while self._n_silent:
            n = min(self._n_silent, 2**20)
            self._write(np.zeros((n, n_channels), np.float32))
            self._n_silent -= n

    def _write(self, samples: NDArray[np.float32]) -> None:
        self._n_unchecked += samples.nbytes
        if self._n_unchecked > _CHECKED_EVERY:
            self._n_unchecked = 0
            if shutil.disk_usage(self._path.parent).free < LEAST_FREE_BYTES:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self._path))
        self._file.write(np.ascontiguousarray(samples))
