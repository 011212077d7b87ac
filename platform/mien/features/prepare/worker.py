"""BatchExtractor: what a worker does with one batch of clips. Decode, extract, write the parts; knows no Ray.

Each clip ends as a row or as a reject with its reason, of each feature that it lacked. A store that cannot be written,
or a bucket that does not give a medium, is no fault of a clip: StoreError and BucketError stop the job.
"""

from __future__ import annotations

import re
import resource
import sys
import time
import traceback
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from mien import connection
from mien.corpora.clip import Medium, Reject
from mien.errors import BucketError, ExperimentError, MediaError
from mien.features.media.shared import extract
from mien.features.prepare.content import content_of
from mien.features.prepare.journal import DEADLY, Journal
from mien.features.prepare.tasks import ClipTask
from mien.features.prepare.watch import ClipLimits, Watch
from mien.features.recipe import ExtractorRecipe
from mien.features.spec import Extractor, FeatureSpec, Frames
from mien.features.store import FeatureFolder, Row
from mien.features.store.rows import encoded

_TRACEBACK_CHARACTERS = 2000  # of its tail, where the cause is


class Feature(NamedTuple):
    """One feature that a job extracts: where it goes, what builds its extractor, and the medium that this reads."""

    folder: FeatureFolder
    recipe: ExtractorRecipe
    medium: str


class ClipOutcome(NamedTuple):
    """What became of one feature of a clip.

    feature: its number in the job. reason: of its reject, "" for a row. started_s, ended_s: when its medium was read,
    seconds since 1970. busy_s: the seconds of that, shared among the features that were extracted together. peak_bytes:
    the largest resident memory that the process has ever had.
    """

    clip_id: str
    feature: int
    reason: str
    started_s: float
    ended_s: float
    busy_s: float
    peak_bytes: int


class BatchExtractor:
    """The extractors of a job, each built once and held to one thread; each call writes a batch to the store.

    A clip that goes beyond its limits takes this process with it, and is a reject when its batch is repeated.
    """

    def __init__(self, features: Sequence[Feature], limits: ClipLimits | None = None) -> None:
        self._features = features
        self._limits = limits or ClipLimits()
        self._watch = Watch(self._limits, connection.search_path())
        self._extractors: dict[int, Extractor] = {}

    @property
    def n_features(self) -> int:
        """How many features the job extracts."""
        return len(self._features)

    def __call__(self, batch: Sequence[ClipTask]) -> list[ClipOutcome]:
        """Write the batch's rows and rejects, of each feature whole or not at all; outcomes in the order given.

        Raises StoreError where that is not possible, and BucketError where S3 does not give a medium.
        """
        wanted = sorted({number for task in batch for number in task.todo})
        # It lies with the first feature of the job, which is not finished as long as a batch is at work.
        journal = Journal(self._features[0].folder.attempts, [task.clip_id for task in batch])
        for number in wanted:  # the journal stands: a process that dies here is counted too
            self._extractor(number)
        results: dict[int, list[Row | Reject]] = defaultdict(list)
        outcomes = []
        for task in batch:
            for numbers in self._together(task, journal):
                started_s = time.time()
                for number, result in zip(numbers, self._results(task, numbers, journal)):
                    results[number].append(result)
                    reason = result.reason if isinstance(result, Reject) else ""
                    outcomes.append(ClipOutcome(task.clip_id, number, reason, started_s, 0.0, 0.0, 0))
                ended_s, peak = time.time(), peak_bytes()
                for i in range(len(outcomes) - len(numbers), len(outcomes)):
                    busy_s = (ended_s - started_s) / len(numbers)
                    outcomes[i] = outcomes[i]._replace(ended_s=ended_s, busy_s=busy_s, peak_bytes=peak)
        journal.begin("")
        for number in wanted:
            ids = [task.clip_id for task in batch if number in task.todo]
            rows = [result for result in results[number] if isinstance(result, Row)]
            rejects = [result for result in results[number] if isinstance(result, Reject)]
            self._features[number].folder.write(ids, rows, rejects)
        journal.end()
        return outcomes

    def _extractor(self, number: int) -> Extractor:
        if number not in self._extractors:
            feature = self._features[number]
            extractor = feature.recipe.build()
            _use_one_thread()
            if extractor.spec != feature.folder.spec:
                raise ExperimentError(
                    f"features {feature.recipe.name!r}: this worker has {extractor.spec.folder}, the job was started "
                    f"for {feature.folder.spec.folder}: give all machines the same mien and the same weights"
                )
            self._extractors[number] = extractor
        return self._extractors[number]

    def _together(self, task: ClipTask, journal: Journal) -> Iterator[list[int]]:
        """The features of a clip that it lacks, by what is extracted in one go: those of one medium.

        One by one where a process died before, so that the feature that killed it is known.
        """
        by_medium: dict[str, list[int]] = defaultdict(list)
        for number in task.todo:
            by_medium[self._features[number].medium].append(number)
        for numbers in by_medium.values():
            yield from ([number] for number in numbers) if journal.is_careful else (numbers,)

    def _results(self, task: ClipTask, numbers: Sequence[int], journal: Journal) -> list[Row | Reject]:
        """Row or reject of features that read one medium."""
        name = self._features[numbers[0]].medium
        medium = task.media.get(name)
        if medium is None:
            return [_reject(task.clip_id, "", f"no-{name}", f"{task.clip_id} has no {name}") for _ in numbers]
        spec = self._features[numbers[0]].folder.spec
        what = f"{task.clip_id} {spec.folder}" if len(numbers) == 1 else ""
        journal.begin(what)
        if reason := journal.verdict(what):
            detail = f"{medium.path}: {self._explained(reason).format(spec.name)}"
            return [_reject(task.clip_id, medium.path, reason, detail)]
        extractors = [self._extractor(number) for number in numbers]
        with self._watch.clip(self._features[0].folder.attempts.uri, journal.name, what):
            contents: dict[bool, str] = {}
            return [
                _result(task.clip_id, medium, extractor, extracted, contents)
                for extractor, extracted in zip(extractors, extract(medium, extractors, self._limits.memory_bytes))
            ]

    def _explained(self, reason: str) -> str:
        """A reason of the journal in words, with a place for the name of the feature."""
        time_s, memory_mb = self._limits.time_s, self._limits.memory_bytes // 2**20
        return {
            "took-too-long": f"{{}} took longer than {time_s:g} s of it; cut it into stretches, or raise clip_limit_s",
            "too-large": f"{{}} took more than {memory_mb} MB for it; cut it into stretches, or raise clip_limit_mb",
            "worker-crashed": f"killed {DEADLY} processes that tried to extract {{}}",
        }[reason]


def _result(
    clip_id: str, medium: Medium, extractor: Extractor, extracted: Frames | Exception, contents: dict[bool, str]
) -> Row | Reject:
    """Row or reject of what an extractor made of a medium, or of how it failed.

    contents: of the medium as a table or not, which the first that needs it asks for.
    """
    try:
        if isinstance(extracted, Exception):
            raise extracted
        is_table = extractor.kind == "table"
        contents[is_table] = content = contents.get(is_table) or content_of(medium, is_table=is_table)
        reason, detail = _flaw(extracted, extractor.spec)
        if reason:
            return _reject(clip_id, medium.path, reason, f"{medium.path}: {detail}")
        values = encoded(extracted, extractor.spec)
    except BucketError:  # an outage would make rejects of clips that are whole
        raise
    except MediaError as error:
        detail = str(error) if medium.path in str(error) else f"{medium.path}: {error}"  # extractors know no file
        return _reject(clip_id, medium.path, error.reason, detail)
    except MemoryError:
        detail = f"{medium.path}: {extractor.spec.name} asked for more memory than there is; cut it into stretches"
        return _reject(clip_id, medium.path, "too-large", detail)
    except Exception as error:
        tail = "".join(traceback.format_exception(error))[-_TRACEBACK_CHARACTERS:]
        return _reject(clip_id, medium.path, "unexpected-error", tail)
    return Row(clip_id, content, medium.start_s, medium.end_s, values, extracted.valid)


def _flaw(frames: Frames, spec: FeatureSpec) -> tuple[str, str]:
    """Reason and detail where frames are not what the spec promises, else two empty strings."""
    values, valid = frames
    shape = ", ".join(map(str, spec.shape))
    if values.shape[1:] != spec.shape or valid.shape != values.shape[:1]:
        return "bad-frames", f"{spec.name} gave {values.shape} and {valid.shape}, expected (T, {shape}) and (T,)"
    if not len(values):
        return "no-frames", f"{spec.name} gave no frames"
    if not spec.is_numeric:
        if values.dtype != np.uint8:
            return "bad-frames", f"{spec.name} gave pictures of {values.dtype}, expected uint8"
        return "", ""
    if not np.isfinite(values).all():
        flat = ~np.isfinite(values).reshape(len(values), -1).all(axis=0)
        columns = [spec.columns[i] if spec.columns else str(i) for i in np.flatnonzero(flat)[:5]]
        return "not-finite", f"{spec.name} gave values that are no numbers in {', '.join(columns)}"
    return "", ""


def _reject(clip_id: str, path: str, reason: str, detail: str) -> Reject:
    return Reject(id=clip_id, path=path, stage="extract", reason=reason, detail=detail)


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
