"""prepare: raw media -> features in the store, over as many processes and machines as Ray has.

Ray Data streams batches of clips to a pool of actors, one core each. An actor decodes, extracts and writes
its own part of the store (`mien.features.worker`) and sends back only what became of each clip. So nothing large
passes through the driver, no actor holds more than one batch, and whatever is killed wherever, the parts that
were written stand: asking again extracts what is missing.
"""

from __future__ import annotations

import json
import logging
import math
import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, redirect_stdout
from dataclasses import dataclass, replace
from pathlib import PurePath
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from mien import connection as cluster
from mien import telemetry
from mien.corpora import named
from mien.corpora.clip import Clip, Reject, clips_to_table
from mien.corpora.remote import import_clips
from mien.errors import CorpusError, ExperimentError, MienError
from mien.features.extractors import EXTRACTORS
from mien.features.parts import Parts
from mien.features.progress import Progress, Report, drawn
from mien.features.spec import FeatureSpec
from mien.features.store import FeatureStore
from mien.features.worker import Outcome, PartExtractor, tasks_from_table

# Clips of one part: what is lost when a process is killed, and how often progress is seen. Sound takes about
# 50 ms a clip, a face track seconds.
_LARGEST_PART = {"video": 8}
_LARGEST_PART_ELSE = 64
# More of a corpus that would have more parts than this, up to 16 times: the driver hands out each of them, and reads it
# again at the end; a killed process loses a minute or two.
_MANY_PARTS, _LARGER_AT_MOST = 10_000, 16
_SMALLEST_PART = 4  # the last parts are small, so that no worker waits long for another


@dataclass(frozen=True, kw_only=True, slots=True)
class PreparedFeature:
    """What `prepare` did for one feature.

    n_rows + n_rejects are all clips of the corpus, n_extracted those that were tried now, by n_workers; n_rejected of
    these were rejected. startup_s: from asking for actors until the first clip. work_s: from the first clip's start to
    the last one's end. worker_peak_bytes: the largest resident memory that any worker ever had.
    """

    name: str
    folder: str
    n_rows: int
    n_rejects: int
    reasons: dict[str, int]
    n_extracted: int
    n_rejected: int
    n_workers: int
    startup_s: float
    work_s: float
    worker_peak_bytes: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Prepared:
    """What `prepare` did. n_import_rejects: files that became no clip. ray_startup_s: 0 where Ray was not needed."""

    corpus: str
    store: str
    n_clips: int
    n_import_rejects: int
    ray_startup_s: float
    features: tuple[PreparedFeature, ...]


class _Job(NamedTuple):
    """One feature to extract: where it goes, the medium it reads, and how a worker builds its extractor."""

    parts: Parts
    medium: str
    name: str
    settings: dict[str, Any]


def prepare(
    corpus: str,
    root: str | os.PathLike[str],
    store: str | os.PathLike[str],
    features: Sequence[str | tuple[str, dict[str, Any]]] = ("egemaps",),
    *,
    openface: str | None = None,
    workers: int | None = None,
    limit: int | None = None,
    retry_rejects: bool = False,
    fresh: bool = False,
    progress: Report | None = None,
) -> Prepared:
    """Import a corpus and extract features of its clips into a store: only what is missing.

    root: a folder, or s3://bucket/prefix that every node can read. features: names of `mien.features.extractors`, or
    "module:factory" of an extractor of your own; with settings, if any. openface: folder or table of OpenFace CSV,
    attached to the clips as the medium "openface". workers: processes, by default one a core. limit: the corpus is
    its first clips only. retry_rejects: try rejected clips again. fresh: extract all anew, for media whose bytes
    have changed under the same name, which is not looked for otherwise. progress: called as parts are done; by
    default a bar on stderr, or a line every ten seconds in a log.

    Raises CorpusError for a root without a clip of the corpus, ExperimentError for a feature that cannot be built,
    StoreError for a store that cannot be written or is of another format, ClusterError where Ray does not answer.
    """
    if not features:
        raise MienError(f"--features: none is named; choose from {', '.join(EXTRACTORS)}")
    if limit is not None and limit < 1:
        raise MienError(f"--limit {limit}: give at least 1, or leave it out for all clips")
    clips, rejects = _import(corpus, root, openface, limit)
    recipes = [(feature, {}) if isinstance(feature, str) else feature for feature in features]
    with ThreadPoolExecutor(max(1, len(recipes))) as pool:
        described = list(pool.map(_describe, recipes))
    for (name, _), (_, medium) in zip(recipes, described):
        if medium == "openface" and not openface:
            raise ExperimentError(f"--features {name}: reads CSV files of OpenFace; say where they are with --openface")
    target = FeatureStore(store)
    target.write_clips(corpus, clips, rejects)
    jobs = [
        _Job(target.parts(corpus, spec), medium, name, settings)
        for (name, settings), (spec, medium) in zip(recipes, described)
    ]
    todo: list[pa.Table] = []
    for job in jobs:
        supplied = _supplied(job, clips)
        is_done = target.is_finished(corpus, job.parts.spec) and not (retry_rejects or fresh or supplied)
        done = None if is_done else job.parts.reopen(retry_rejects=retry_rejects, fresh=fresh, retry=supplied)
        todo.append(tasks_left(clips if done is not None else clips[:0], job.medium, done or ()))
    with ExitStack() as stack:
        stack.enter_context(redirect_stdout(sys.stderr))  # Ray tells of dead workers on stdout, which is the caller's
        ray_cluster = stack.enter_context(cluster.connected(workers=workers)) if any(map(len, todo)) else None
        report = progress or stack.enter_context(drawn())
        prepared = []
        for job, tasks in zip(jobs, todo):
            run = _Run(corpus, job, len(clips), len(clips) - len(tasks), report)
            if len(tasks) and ray_cluster:
                run.extract(tasks, ray_cluster.pool(workers))
                job.parts.note_work(run.work())
            manifest = job.parts.manifest() or job.parts.finish(set(clips["id"].to_pylist()))
            prepared.append(run.summary(manifest))
    return Prepared(
        corpus=corpus,
        store=target.folder.uri,
        n_clips=len(clips),
        n_import_rejects=len(rejects),
        ray_startup_s=ray_cluster.startup_s if ray_cluster else 0.0,
        features=tuple(prepared),
    )


def _import(
    corpus: str, root: str | os.PathLike[str], openface: str | None, limit: int | None
) -> tuple[pa.Table, list[Reject]]:
    """Clip table and rejects of a corpus, with the OpenFace files that belong to them.

    The clips go into the table as they come: as Python objects, ten million of them would take 15 GB.
    """
    tracks: dict[str, str] = {}
    if openface:
        from mien.features.extractors.openface import find_openface

        tracks = find_openface(openface, corpus)
    rejects: list[Reject] = []

    def clips() -> Iterator[Clip]:
        for found in import_clips(corpus, root):
            if isinstance(found, Reject):
                rejects.append(found)
            else:
                track = {"openface": tracks[found.id]} if found.id in tracks else {}
                yield replace(found, media={**found.media, **track}) if track else found

    table = clips_to_table(clips())
    if not len(table):
        raise CorpusError(f"{os.fspath(root)}: {_why_no_clip(corpus, rejects)}")
    return table[:limit], rejects


def _why_no_clip(corpus: str, rejects: Sequence[Reject]) -> str:
    reasons = Counter(reject.reason for reject in rejects)
    if set(reasons) == {"bad-name"}:
        others = " or ".join(sorted(named(PurePath(reject.path).stem for reject in rejects)))
        hint = f"is this {others}?" if others else f"the first is {rejects[0].detail}"
        return f"none of {len(rejects)} files has a name of {corpus}; {hint}"
    counts = ", ".join(f"{n_files} {reason}" for reason, n_files in reasons.most_common())
    first = f", the first is {rejects[0].detail}" if rejects else ""
    return f"none of {len(rejects)} files became a clip of {corpus}: {counts}{first}"


def _supplied(job: _Job, clips: pa.Table) -> set[str]:
    """Clips that were rejected for want of the medium, which they have now."""
    lacked = job.parts.rejected(f"no-{job.medium}")
    if not lacked:
        return lacked
    tasks = tasks_left(clips, job.medium, ())
    return lacked & set(tasks.filter(pc.is_valid(tasks["path"]))["clip_id"].to_pylist())


def tasks_left(clips: pa.Table, medium: str, done: Collection[str]) -> pa.Table:
    """What workers must know of each clip that is not done, as `mien.features.worker.tasks_to_table` makes it."""
    left = clips.filter(pc.invert(pc.is_in(clips["id"], pa.array(list(done), pa.string()))))
    return pa.table(
        {
            "clip_id": left["id"],
            "path": pc.map_lookup(left["media"], pa.scalar(medium), "first"),
            "start_s": left["start_s"],
            "end_s": left["end_s"],
        }
    )


_DESCRIBE = (
    "import json, sys; from mien.features.worker import describe; print(json.dumps(describe(*json.load(sys.stdin))))"
)


def _describe(recipe: tuple[str, dict[str, Any]]) -> tuple[FeatureSpec, str]:
    """Spec and medium of an extractor, built in a process of its own.

    It may load torch, and this process may have to load TensorFlow after it: the two in one abort.
    """
    name, settings = recipe
    done = subprocess.run(
        [sys.executable, "-c", _DESCRIBE],
        input=json.dumps([name, settings]),
        env=os.environ | {"PYTHONPATH": cluster.search_path()},
        capture_output=True,
        text=True,
    )
    if done.returncode:
        last = (done.stderr.strip().splitlines() or [f"it ended with {done.returncode}"])[-1]
        raise ExperimentError(f"features {name!r} cannot be built: {last}")
    answer = json.loads(done.stdout.strip().splitlines()[-1])
    if "error" in answer:
        raise ExperimentError(answer["error"])
    return FeatureSpec.from_json(answer["spec"]), answer["medium"]


class ExtractFeatures:
    """`PartExtractor` as Ray Data wants it; the dashboard shows it by this name."""

    def __init__(self, parts: Parts, name: str, settings: dict[str, Any]) -> None:
        self._extract = PartExtractor(parts, name, settings)

    def __call__(self, batch: pa.Table) -> pa.Table:
        return pa.Table.from_pylist([outcome._asdict() for outcome in self._extract(tasks_from_table(batch))])


class _Run:
    """One feature on its way: streams its batches, counts what comes back, reports it."""

    def __init__(self, corpus: str, job: _Job, n_clips: int, n_done: int, report: Report) -> None:
        self._corpus = corpus
        self._name = f"{corpus}-{job.parts.spec.name}"
        self._job = job
        self._n_clips = n_clips
        self._n_before = n_done
        self._report = report
        self._clip_ids: set[str] = set()  # a repeated batch is not counted twice
        self._n_rejects = 0
        self._n_workers = 0
        self._asked_s = 0.0
        self._first_s, self._last_s = math.inf, -math.inf
        self._peak_bytes = 0

    def extract(self, tasks: pa.Table, workers: int) -> None:
        self._asked_s = time.time()
        self._report(self._progress())
        batches = list(_batches(tasks, workers, largest_part(self._job.medium, len(tasks))))
        self._n_workers = min(workers, len(batches))
        for outcomes in _stream(self._name, self._job, batches, self._n_workers):
            self._count([outcome for outcome in outcomes if outcome.clip_id not in self._clip_ids])
            self._report(self._progress())

    def _count(self, outcomes: Sequence[Outcome]) -> None:
        """outcomes: of clips that were not counted yet."""
        self._clip_ids |= {outcome.clip_id for outcome in outcomes}
        reasons = Counter(outcome.reason for outcome in outcomes if outcome.reason)
        self._n_rejects += reasons.total()
        self._first_s = min([self._first_s, *(outcome.started_s for outcome in outcomes)])
        self._last_s = max([self._last_s, *(outcome.ended_s for outcome in outcomes)])
        self._peak_bytes = max([self._peak_bytes, *(outcome.peak_bytes for outcome in outcomes)])
        labels = {"corpus": self._corpus, "feature": self._job.parts.spec.name}
        telemetry.add("mien_clips_total", len(outcomes), **labels)
        telemetry.add("mien_extraction_seconds_total", sum(o.ended_s - o.started_s for o in outcomes), **labels)
        for reason, n in reasons.items():
            telemetry.add("mien_rejects_total", n, reason=reason, **labels)
        telemetry.put("mien_clips_left", self._n_clips - self._n_before - len(self._clip_ids), **labels)

    def work(self) -> dict[str, Any]:
        """What it took, for `mien cost`."""
        is_any = bool(self._clip_ids)
        return {
            "n_extracted": len(self._clip_ids),
            "n_workers": self._n_workers,
            "startup_s": self._first_s - self._asked_s if is_any else 0.0,
            "work_s": self._last_s - self._first_s if is_any else 0.0,
        }

    def summary(self, manifest: dict[str, Any]) -> PreparedFeature:
        return PreparedFeature(
            name=self._job.parts.spec.name,
            folder=self._job.parts.spec.folder,
            n_rows=manifest["n_rows"],
            n_rejects=manifest["n_rejects"],
            reasons=manifest["reasons"],
            n_rejected=self._n_rejects,
            **self.work(),
            worker_peak_bytes=self._peak_bytes,
        )

    def _progress(self) -> Progress:
        clips_per_s, left_s = 0.0, None
        n_extracted = len(self._clip_ids)
        n_done = self._n_before + n_extracted
        if n_extracted:
            clips_per_s = n_extracted / max(self._last_s - self._first_s, 1e-3)
            left_s = (self._n_clips - n_done) / clips_per_s
        return Progress(
            feature=self._name,
            n_done=n_done,
            n_clips=self._n_clips,
            n_rejects=self._n_rejects,
            clips_per_s=clips_per_s,
            left_s=left_s,
        )


def largest_part(medium: str, n_clips: int) -> int:
    """Clips of one part of a feature that reads this medium, when so many are to be extracted."""
    usual = _LARGEST_PART.get(medium, _LARGEST_PART_ELSE)
    return min(_LARGER_AT_MOST * usual, max(usual, -(-n_clips // _MANY_PARTS)))


def _batches(tasks: Any, workers: int, largest: int) -> Iterator[Any]:
    """Cut a table of tasks into batches that shrink towards the end, so that all workers end at about the same time."""
    start = 0
    while start < len(tasks):
        fair = -(-(len(tasks) - start) // (4 * workers))
        size = min(largest, max(fair, _SMALLEST_PART))
        yield tasks[start : start + size]
        start += size


def _stream(name: str, job: _Job, batches: Sequence[pa.Table], workers: int) -> Iterator[list[Outcome]]:
    """What became of each batch, in the order in which they end. Raises the MienError that stopped a worker."""
    import ray.data

    for handler in logging.getLogger("ray.data").handlers:
        if handler.name == "console":  # its own files have all of it
            handler.setLevel(logging.CRITICAL)
    dataset = ray.data.from_arrow(list(batches))
    dataset.context.enable_progress_bars = False
    dataset.context.raise_original_map_exception = True
    dataset.set_name(name)
    outcomes = dataset.map_batches(
        ExtractFeatures,
        fn_constructor_args=(job.parts, job.name, job.settings),
        batch_size=None,  # a block, which is a batch of ours: so a part of the store is the same when it is repeated
        batch_format="pyarrow",
        num_cpus=1,
        compute=ray.data.ActorPoolStrategy(size=workers, max_tasks_in_flight_per_actor=2),
    )
    try:
        tables: Iterable[Any] = outcomes.iter_batches(batch_size=None, batch_format="pyarrow", prefetch_batches=0)
        for table in tables:
            yield [Outcome(**row) for row in table.to_pylist()]
    except ray.exceptions.RayTaskError as error:
        if not isinstance(error.cause, MienError):
            raise
        raise type(error.cause)(str(error.cause).splitlines()[0]) from None  # Ray appends advice of its own
