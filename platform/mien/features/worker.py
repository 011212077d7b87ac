"""Extraction: what a worker does with one batch of clips. Decode, extract, write the part; knows no Ray.

Every clip ends as a row or as a reject with its reason. A store that cannot be written is no fault of a clip:
it raises StoreError, which stops the job.
"""

from __future__ import annotations

import re
import resource
import sys
import time
import traceback
from collections import Counter
from collections.abc import Sequence
from functools import cached_property, lru_cache
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from mien.corpora.clip import Reject, Span
from mien.errors import ExperimentError, MediaError, MienError
from mien.features import extractors, media
from mien.features.parts import Parts, Row, hash_ids, writing
from mien.features.spec import Extractor, FeatureSpec, Frames

_DEADLY = 2  # processes that a clip may kill before it is left out
_TRACEBACK_CHARACTERS = 2000  # of its tail, where the cause is


class Task(NamedTuple):
    """What a worker must know of a clip. path: None where the clip lacks the medium."""

    clip_id: str
    path: str | None
    span: Span


class Outcome(NamedTuple):
    """What became of a clip. reason: of its reject, "" for a row. Times are seconds since 1970; peak_bytes is
    the largest resident memory that the process has ever had."""

    clip_id: str
    reason: str
    started_s: float
    ended_s: float
    peak_bytes: int


class PartExtractor:
    """One extractor, built once and held to one thread; each call turns a batch into a part of the store."""

    def __init__(self, parts: Parts, name: str, settings: dict[str, Any]) -> None:
        self._parts = parts
        self._name = name
        self._settings = settings

    @cached_property
    def _extractor(self) -> Extractor:
        """Built by the first batch, whose journal then stands: a process that dies here is counted too."""
        extractor = build(self._name, self._settings)
        _use_one_thread()
        if extractor.spec != self._parts.spec:
            raise ExperimentError(
                f"features {self._name!r}: this worker has {extractor.spec.folder}, the job was started for "
                f"{self._parts.spec.folder}: give all machines the same mien and the same weights"
            )
        return extractor

    def __call__(self, batch: Sequence[Task]) -> list[Outcome]:
        """Write the batch's rows and rejects; in the order given. Raises StoreError where that is not
        possible."""
        ids = [task.clip_id for task in batch]
        journal = _Journal(self._parts, ids)
        extractor = self._extractor
        rows: list[Row] = []
        rejects: list[Reject] = []
        outcomes = []
        for task in batch:
            started_s = time.time()
            journal.begin(task.clip_id)
            if journal.is_deadly(task.clip_id):
                detail = f"{task.path}: killed {_DEADLY} processes that tried to extract {self._parts.spec.name}"
                result: Row | Reject = _reject(task, "worker-crashed", detail)
            else:
                result = self._extract(extractor, task)
            rows += [result] if isinstance(result, Row) else []
            rejects += [result] if isinstance(result, Reject) else []
            reason = result.reason if isinstance(result, Reject) else ""
            outcomes.append(Outcome(task.clip_id, reason, started_s, time.time(), peak_bytes()))
        journal.begin("")
        self._parts.write(ids, rows, rejects)
        journal.end()
        return outcomes

    def _extract(self, extractor: Extractor, task: Task) -> Row | Reject:
        medium, rate_hz = extractor.medium, extractor.rate_hz
        if task.path is None:
            return _reject(task, f"no-{medium}", f"{task.clip_id} has no {medium}")
        try:
            signal = media.decode_for(medium, task.path, rate_hz, task.span)
            frames = extractor(signal, rate_hz)
            content = content_of(task.path)
        except MediaError as error:
            return _reject(task, error.reason, str(error))
        except Exception as error:
            tail = "".join(traceback.format_exception(error))[-_TRACEBACK_CHARACTERS:]
            return _reject(task, "unexpected-error", tail)
        reason, detail = _flaw(frames, self._parts.spec)
        return _reject(task, reason, detail) if reason else Row(task.clip_id, content, frames)


def build(name: str, settings: dict[str, Any]) -> Extractor:
    """An extractor of `mien.features.extractors`, or of your own as "module:factory"."""
    module, _, factory = name.partition(":")
    return getattr(import_module(module), factory)(**settings) if factory else extractors.build(name, **settings)


def describe(name: str, settings: dict[str, Any]) -> dict[str, Any]:
    """{"spec", "medium"} of an extractor as JSON, or {"error"} with the sentence for the user."""
    try:
        extractor = build(name, settings)
    except MienError as error:
        return {"error": str(error)}
    return {"spec": extractor.spec.to_json(), "medium": extractor.medium}


def content_of(path: str) -> str:
    """What makes two media the same: SHA-256 of a file's bytes, and for a row of a table ("file#row") the
    row."""
    file, _, row = path.partition("#")
    return f"{_table_content(file)}#{row}" if row else media.content_hash(file)


@lru_cache(maxsize=4)
def _table_content(file: str) -> str:
    return media.content_hash(file)


class _Journal:
    """What a batch was doing, in a file that outlives the process.

    A codec may take its process with it; Ray then starts another one and repeats the batch. The first attempt
    only notes that it began. From the second on each clip is named before it is touched, which costs a write
    a clip, so that the one that kills process after process is known and left out. The driver removes the
    journals when it starts: a job that was killed from outside accuses nobody.
    """

    def __init__(self, parts: Parts, ids: Sequence[str]) -> None:
        self._folder = parts.attempts
        self._name = f"{hash_ids(ids)[:16]}.json"
        self._is_careful = self._folder.exists(self._name)
        self._killed: Counter[str] = Counter()
        if self._is_careful:
            before = self._folder.read_json(self._name)
            self._killed = Counter(before["killed"])
            self._killed[before["running"]] += 1
            if self._killed[""] > _DEADLY:
                raise MienError(
                    f"{parts.folder}: processes of a worker were killed {self._killed['']} times between clips; "
                    "most likely memory ran out: use fewer workers"
                )
        self._note("")

    def begin(self, clip_id: str) -> None:
        if self._is_careful:
            self._note(clip_id)

    def end(self) -> None:
        self._folder.remove(self._name)

    def is_deadly(self, clip_id: str) -> bool:
        return self._killed[clip_id] >= _DEADLY

    def _note(self, running: str) -> None:
        with writing(self._folder):
            self._folder.write_json(self._name, {"running": running, "killed": self._killed})


def _flaw(frames: Frames, spec: FeatureSpec) -> tuple[str, str]:
    """Reason and detail where frames are not what the spec promises, else two empty strings."""
    values, valid = frames
    if values.ndim != 2 or values.shape[1] != spec.dim or valid.shape != values.shape[:1]:
        return (
            "bad-frames",
            f"{spec.name} gave {values.shape} and {valid.shape}, expected (T, {spec.dim}) and (T,)",
        )
    if not len(values):
        return "no-frames", f"{spec.name} gave no frames"
    if not np.isfinite(values).all():
        columns = [spec.columns[i] for i in np.flatnonzero(~np.isfinite(values).all(axis=0))[:5]]
        return "not-finite", f"{spec.name} gave values that are no numbers in {', '.join(columns)}"
    return "", ""


def _reject(task: Task, reason: str, detail: str) -> Reject:
    return Reject(id=task.clip_id, path=task.path or "", stage="extract", reason=reason, detail=detail)


def _use_one_thread() -> None:
    """Processes fill the cores: threads beside them only get in each other's way."""
    from threadpoolctl import threadpool_limits

    threadpool_limits(1)
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(1)


def peak_bytes() -> int:
    """Largest resident memory that this process has had."""
    status = Path("/proc/self/status")
    if status.exists():  # Linux; its getrusage may give the peak of the process that started this one
        return 1024 * int(re.findall(r"VmHWM:\s+(\d+) kB", status.read_text())[0])
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else 1024 * peak


def tasks_to_table(tasks: Sequence[Task]) -> pa.Table:
    """A batch as Ray Data carries it."""
    return pa.table(
        {
            "clip_id": pa.array([task.clip_id for task in tasks], pa.string()),
            "path": pa.array([task.path for task in tasks], pa.string()),
            "start_s": pa.array([task.span.start_s for task in tasks], pa.float64()),
            "end_s": pa.array([task.span.end_s for task in tasks], pa.float64()),
        }
    )


def tasks_from_table(table: pa.Table) -> list[Task]:
    """The batch of a table that `tasks_to_table` made."""
    return [
        Task(row["clip_id"], row["path"], Span(start_s=row["start_s"], end_s=row["end_s"])) for row in table.to_pylist()
    ]
