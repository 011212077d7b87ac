"""Watch: what bounds the time and the memory of one clip, also in C code that does not return.

A worker tells a small process beside it which clip it begins. That one needs no lock of the worker's interpreter: where
a clip takes longer, or more memory, than it may, it notes so in the journal of the batch and ends the worker. Whoever
repeats the batch finds the note and leaves the clip out (`mien.features.prepare.journal`).

This file is also the program of that process, so it imports little; what it needs for a note it imports then.
"""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
import time
import weakref
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

_LOOK_EVERY_S = 0.2  # in which a worker can take a gigabyte or two: the limit of memory is not exact
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


class ClipLimits(NamedTuple):
    """What one clip may take of a worker. time_s: to decode it and to extract what is extracted together.
    memory_bytes: of its decoded signal, and of what the worker grows by meanwhile."""

    time_s: float = 1800.0
    memory_bytes: int = 4 * 2**30


class Watch:
    """The small process beside this one. It ends with this one, or when the watch is dropped."""

    def __init__(self, limits: ClipLimits, search_path: str) -> None:
        self._process = subprocess.Popen(
            # -P: the modules beside this file must not hide those of the standard library
            [sys.executable, "-P", __file__, str(os.getpid()), *map(str, limits)],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            env=os.environ | {"PYTHONPATH": search_path},
            process_group=0,  # Ctrl-C reaches all processes of a terminal; this one follows its worker
        )
        weakref.finalize(self, _end, self._process)

    @contextmanager
    def clip(self, journal: str, name: str, what: str) -> Iterator[None]:
        """What runs inside is at one clip. journal, name: folder and file of the note. what: is blamed in it; with ""
        nothing is, and the batch is repeated with each feature by itself."""
        self._tell(json.dumps([journal, name, what]))
        try:
            yield
        finally:
            self._tell("null")

    def _tell(self, line: str) -> None:
        assert self._process.stdin is not None
        with suppress(OSError):  # it is gone: the clip goes without limits rather than not at all
            os.write(self._process.stdin.fileno(), line.encode() + b"\n")


def _end(process: subprocess.Popen[bytes]) -> None:
    assert process.stdin is not None
    process.stdin.close()
    process.wait()


# ---------------------------------------------------------------------- the other process


def _watch(pid: int, limits: ClipLimits) -> None:
    """Look after the process pid until it closes our stdin."""
    told = b""
    clip: list[str] | None = None  # folder and file of the journal, and what is to be blamed
    until_s, most_bytes = 0.0, 0
    while True:
        if select.select([0], [], [], None if clip is None else _LOOK_EVERY_S)[0]:
            more = os.read(0, 65_536)
            if not more:
                return
            *lines, told = (told + more).split(b"\n")
            if lines:
                clip = json.loads(lines[-1])
                until_s, most_bytes = time.monotonic() + limits.time_s, _own_bytes(pid) + limits.memory_bytes
        if clip is None:
            continue
        if time.monotonic() > until_s:
            reason = "took-too-long"
        elif _own_bytes(pid) > most_bytes:
            reason = "too-large"
        else:
            continue
        os.kill(pid, signal.SIGSTOP)
        if select.select([0], [], [], 0)[0]:  # it has ended in this moment
            os.kill(pid, signal.SIGCONT)
            continue
        try:
            _accuse(clip, reason)
        finally:
            os.kill(pid, signal.SIGKILL)
        return


def _own_bytes(pid: int) -> int:
    """Resident memory of a process, without the files and the shared memory that it maps; 0 where none can tell."""
    try:
        _, resident, shared, *_ = Path(f"/proc/{pid}/statm").read_text().split()
    except OSError:
        return 0
    return (int(resident) - int(shared)) * _PAGE_BYTES


def _accuse(clip: list[str], reason: str) -> None:
    from mien.features.prepare.journal import accuse
    from mien.folder import Folder

    journal, name, what = clip
    accuse(Folder(journal), name, what, reason)


if __name__ == "__main__":
    _watch(int(sys.argv[1]), ClipLimits(float(sys.argv[2]), int(sys.argv[3])))
