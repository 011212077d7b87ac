"""The batches of a job to processes of this machine: what `stream` does by Ray Data, without a Ray that has to start.

The same `BatchExtractor`, batches and journals, so the parts of the store are the same bytes. A process that dies is
replaced and its batch tried again; the journal knows which clip killed it. They die with the process that started them.
"""

from __future__ import annotations

import ctypes
import os
import signal
import socket
import subprocess
import sys
import tempfile
import traceback
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import suppress
from multiprocessing.connection import Connection, wait
from typing import Any

import pyarrow as pa

from mien import connection, errors
from mien.errors import MienError
from mien.features.prepare.tasks import ClipTask, tasks_from_table
from mien.features.prepare.watch import ClipLimits
from mien.features.prepare.worker import BatchExtractor, ClipOutcome, Feature

_SERVE = "import sys; from mien.features.prepare.processes import _serve; _serve(int(sys.argv[1]))"
_PR_SET_PDEATHSIG = 1  # linux/prctl.h
_STILLBORN = 3  # processes in a row that may end before they have taken a batch


def stream_by_processes(
    features: Sequence[Feature], batches: Sequence[pa.Table], workers: int, limits: ClipLimits
) -> Iterator[list[ClipOutcome]]:
    """What became of each batch, in the order in which they end. Raises the MienError that stopped a worker."""
    waiting = deque(tasks_from_table(batch) for batch in batches)
    pool: list[_Process] = []
    n_stillborn = 0
    try:
        while waiting or pool:
            while waiting and len(pool) < workers:
                pool.append(_Process(features, limits, waiting.popleft()))
            for ready in wait([process.answers for process in pool]):
                process = next(one for one in pool if one.answers is ready)
                try:
                    kind, answer = process.answers.recv()
                except (EOFError, OSError):
                    pool.remove(process)
                    waiting.appendleft(process.batch)
                    n_stillborn = 0 if process.has_begun else n_stillborn + 1
                    last_line = process.end()
                    if n_stillborn == _STILLBORN:
                        raise MienError(f"a process that should extract does not start: {last_line}") from None
                    continue
                if kind == "begun":
                    process.has_begun, n_stillborn = True, 0
                    continue
                if kind == "error":
                    raise _raised(*answer)
                yield answer
                if waiting:
                    process.give(waiting.popleft())
                else:
                    pool.remove(process)
                    process.end()
    finally:
        for process in pool:
            process.end()


class _Process:
    """A process with a `BatchExtractor`, and the batch that it is at."""

    def __init__(self, features: Sequence[Feature], limits: ClipLimits, batch: list[ClipTask]) -> None:
        self.has_begun = False
        self._said = tempfile.TemporaryFile()  # noqa: SIM115 - a pipe that is not read stops its writer
        here, there = socket.socketpair()
        with there:
            self._process = subprocess.Popen(
                [sys.executable, "-c", _SERVE, str(there.fileno())],
                pass_fds=[there.fileno()],
                env=os.environ | {"PYTHONPATH": connection.search_path(), "OMP_NUM_THREADS": "1"},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,  # codecs print
                stderr=self._said,
            )
        self.answers = Connection(here.detach())
        self._send((list(features), limits))
        self.give(batch)

    def give(self, batch: list[ClipTask]) -> None:
        """The next batch to extract."""
        self.batch = batch
        self._send(batch)

    def end(self) -> str:
        """Ends it, where it has not ended; its exit code and the last line of what it printed."""
        if self._process.poll() is None:
            self._process.kill()
        self.answers.close()
        code = self._process.wait()
        self._said.seek(0)
        lines = self._said.read().decode(errors="replace").strip().splitlines()
        self._said.close()
        return f"exit code {code}, {lines[-1] if lines else 'it printed nothing'}"

    def _send(self, what: Any) -> None:
        with suppress(OSError):  # it is dead, which whoever waits for its answer is told
            self.answers.send(what)


def _raised(name: str, message: str) -> Exception:
    """The error of a worker: a MienError by its own name, else what Python printed of it."""
    return getattr(errors, name, MienError)(message) if name else RuntimeError(message)


def _serve(handle: int) -> None:
    """The other process: what features there are, then batches, until nobody asks any more."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all processes of a terminal; the driver ends this one
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    answers = Connection(handle)
    try:
        extract = BatchExtractor(*answers.recv())
        answers.send(("begun", None))
        while True:
            batch = answers.recv()
            try:
                answer: tuple[str, Any] = ("outcomes", extract(batch))
            except MienError as error:
                answer = ("error", (type(error).__name__, str(error)))
            except Exception:
                answer = ("error", ("", traceback.format_exc()))
            answers.send(answer)
    except (EOFError, OSError):
        return
