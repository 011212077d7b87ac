"""prepare: raw media -> features in the store, over the cores of this machine or as many machines as Ray has.

Ray Data streams batches of clips to a pool of actors, one core each; on one machine and without a cluster, processes of
mien's own do the same and start sooner. A worker decodes each medium once for all the extractors that read it,
extracts, and writes its own parts of the store (`mien.features.prepare.worker`); only what became of each clip comes
back. So nothing large passes through the driver, no worker holds more than one batch, and whatever is killed wherever,
the parts that were written stand: asking again extracts what is missing.
"""

from __future__ import annotations

import os
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext, redirect_stdout
from dataclasses import dataclass
from pathlib import PurePath
from threading import Event
from typing import Any, Literal, NamedTuple, get_args

import pyarrow as pa

from mien import connection
from mien.capacity import room
from mien.corpora import load, name_of, named
from mien.corpora.clip import Clip, Reject, clips_to_table
from mien.corpora.remote import import_clips
from mien.errors import CorpusError, ExperimentError, MienError
from mien.experiment.protocol import is_unknown
from mien.features.extractors import EXTRACTORS
from mien.features.host import ExtractorHost
from mien.features.prepare.processes import stream_by_processes
from mien.features.prepare.progress import OnProgress, PrepareProgress
from mien.features.prepare.stream import stream
from mien.features.prepare.tally import Tally
from mien.features.prepare.tasks import batches, have_medium, largest_part, n_left, tasks_left
from mien.features.prepare.watch import ClipLimits
from mien.features.prepare.worker import Feature
from mien.features.recipe import Description, ExtractorRecipe
from mien.features.spec import FeatureSpec
from mien.features.store import FeatureFolder, FeatureStore

__all__ = ["Engine", "PrepareProgress", "Prepared", "PreparedFeature", "prepare", "prepare_clips"]

Engine = Literal["auto", "ray", "processes"]
# More clips than this take Ray Data: that is hours of work, which its dashboard shows, and which Ray's memory monitor
# guards.
RAY_FROM_CLIPS = 100_000


@dataclass(frozen=True, kw_only=True, slots=True)
class PreparedFeature:
    """What `prepare` did for one feature.

    n_rows + n_rejects are all clips of the corpus, n_extracted those that were tried now, by n_workers; n_rejected of
    these were rejected. startup_s: from asking for actors until the first clip. work_s: from the first clip's start to
    the last one's end; of features that were extracted together, its share. worker_peak_bytes: the largest resident
    memory that any worker ever had.
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
    """What `prepare` did. engine: what extracted, "ray" or "processes"; empty where nothing was left to do.
    n_import_rejects: files that became no clip; import_reasons: of which why. ray_startup_s: 0 where no Ray was
    started."""

    corpus: str
    store: str
    engine: str
    n_clips: int
    n_import_rejects: int
    import_reasons: dict[str, int]
    ray_startup_s: float
    features: tuple[PreparedFeature, ...]


class _Asked(NamedTuple):
    """A feature that was asked for: its files, its extractor, and the ids of the clips that it has; None for all."""

    folder: FeatureFolder
    recipe: ExtractorRecipe
    extractor: Description
    done: set[str] | None


def prepare(
    corpus: str,
    root: str | os.PathLike[str],
    store: str | os.PathLike[str],
    features: Sequence[str | tuple[str, Any]] = ("egemaps",),
    *,
    attach: Mapping[str, str] | None = None,
    settings: Any = None,
    workers: int | None = None,
    limit: int | None = None,
    retry_rejects: bool = False,
    fresh: bool = False,
    engine: Engine = "auto",
    clip_limit_s: float = ClipLimits().time_s,
    clip_limit_mb: int = ClipLimits().memory_bytes // 2**20,
    on_progress: OnProgress | None = None,
    on_note: Callable[[str], None] = lambda text: None,
) -> Prepared:
    """Import a corpus and extract features of its clips into a store: only what is missing, and in one pass.

    root: a folder, a table of clips of your own (corpus "table"), or s3://bucket/prefix that every node can read.
    features: names of `mien.features.extractors`, or "module:Settings" of an extractor of your own; each alone, or
    with its settings as a mapping or as its Settings. attach: name of a medium, or "ratings", to the table or folder
    of files that adds it to the clips, see `mien.corpora.attach`. settings: of the corpus, such as
    `mien.corpora.table.Settings`, None for the usual ones. workers: processes, by default one per core. limit: the
    corpus is its first clips only. retry_rejects: try rejected clips again. fresh: extract all anew, for media whose
    bytes have changed under the same name, which is not looked for otherwise. engine: "ray" for Ray Data, "processes"
    for processes of this machine; "auto" takes Ray Data where a cluster is named (RAY_ADDRESS, a job) or more than
    100,000 clips are left. The parts are the same bytes. clip_limit_s, clip_limit_mb: a clip that takes a worker
    longer than this, or whose decoded signal or extraction takes more memory, is the reject "took-too-long" or
    "too-large"; for that its worker is ended, and its batch is begun again by another. on_progress: called for each
    feature as its parts are done. on_note: called with a line on who extracts, and why, and with what the corpus says
    of its settings. Without them nothing is shown.

    Raises CorpusError for a root without a clip of the corpus, ExperimentError for a feature that cannot be built or
    whose medium no clip has, StoreError for a store that cannot be written or is of another format, ClusterError where
    Ray does not answer.
    """
    _check_asked(features, engine, limit, clip_limit_s, clip_limit_mb)
    clips, rejects = _import(corpus, root, attach or {}, settings)
    if (note := getattr(load(corpus), "note", None)) and "ratings" not in (attach or {}) and (said := note(settings)):
        on_note(said)
    corpus = name_of(corpus, settings)
    if any(map(is_unknown, clips["subject"].unique().to_pylist())):
        on_note(
            f"{corpus}: nothing says who is in which clip, so no score can be claimed for people whom a model has not "
            "met: by-subject is refused, and reports say so"
        )
    return prepare_clips(
        corpus,
        clips,
        rejects,
        store,
        features,
        workers=workers,
        limit=limit,
        retry_rejects=retry_rejects,
        fresh=fresh,
        engine=engine,
        clip_limit_s=clip_limit_s,
        clip_limit_mb=clip_limit_mb,
        on_progress=on_progress,
        on_note=on_note,
    )


def prepare_clips(
    corpus: str,
    clips: pa.Table,
    rejects: Sequence[Reject],
    store: str | os.PathLike[str],
    features: Sequence[str | tuple[str, Any]],
    *,
    specs: Sequence[FeatureSpec] = (),
    workers: int | None = None,
    limit: int | None = None,
    retry_rejects: bool = False,
    fresh: bool = False,
    engine: Engine = "auto",
    clip_limit_s: float = ClipLimits().time_s,
    clip_limit_mb: int = ClipLimits().memory_bytes // 2**20,
    on_progress: OnProgress | None = None,
    on_note: Callable[[str], None] = lambda text: None,
) -> Prepared:
    """What `prepare` does once a corpus is imported.

    corpus: the folder of these clips in the store. clips: their table (`mien.corpora.clip.CLIP_SCHEMA`). rejects: what
    became no clip. specs: what the features must be, in their order, where only these numbers are of use. All else as
    for `prepare`; raises ExperimentError where an extractor of this machine gives other features than the specs say.
    """
    _check_asked(features, engine, limit, clip_limit_s, clip_limit_mb)
    limits = ClipLimits(clip_limit_s, clip_limit_mb * 2**20)
    recipes = [ExtractorRecipe.of(feature) for feature in features]
    with ExtractorHost({str(number): recipe for number, recipe in enumerate(recipes)}) as host:
        descriptions = list(host.descriptions.values())
    for extractor, spec in zip(descriptions, specs):
        extractor.check(spec)
    for recipe, extractor in zip(recipes, descriptions):
        if not len(have_medium(clips, extractor.medium)):
            raise ExperimentError(
                f"features {recipe.name!r}: reads the medium {extractor.medium!r}, which no clip of {corpus} has: "
                "attach a table or a folder of it by that name"
            )
    clips = clips[:limit]
    target = FeatureStore(store)
    target.write_clips(corpus, clips, rejects)
    asked = []
    for recipe, extractor in zip(recipes, descriptions):
        folder = target.feature_folder(corpus, extractor.spec)
        supplied = _supplied(folder, extractor.medium, clips)
        is_done = target.is_finished(corpus, extractor.spec) and not (retry_rejects or fresh or supplied)
        done = None if is_done else folder.reopen(retry_rejects=retry_rejects, fresh=fresh, retry=supplied)
        asked.append(_Asked(folder, recipe, extractor, done))
    job = _Job(corpus, clips, asked, on_progress or (lambda progress: None))
    with redirect_stdout(sys.stderr):  # Ray tells of dead workers on stdout, which is the caller's
        job.run(workers, engine, limits, on_note)
    return Prepared(
        corpus=corpus,
        store=target.folder.uri,
        engine=job.engine,
        n_clips=len(clips),
        n_import_rejects=len(rejects),
        import_reasons=dict(Counter(reject.reason for reject in rejects).most_common()),
        ray_startup_s=job.ray_startup_s,
        features=tuple(job.finish(number) for number in range(len(asked))),
    )


def _check_asked(
    features: Sequence[Any], engine: str, limit: int | None, clip_limit_s: float, clip_limit_mb: int
) -> None:
    if not features:
        raise MienError(f"features: none is named; choose from {', '.join(EXTRACTORS)}")
    if engine not in get_args(Engine):
        raise MienError(f"engine {engine!r}: choose from {', '.join(get_args(Engine))}")
    if limit is not None and limit < 1:
        raise MienError(f"limit {limit}: give at least 1, or leave it out for all clips")
    if clip_limit_s <= 0 or clip_limit_mb < 1:
        raise MienError(f"clip_limit_s {clip_limit_s:g}, clip_limit_mb {clip_limit_mb}: give more than 0")


def _import(
    corpus: str, root: str | os.PathLike[str], attach: Mapping[str, str], settings: Any
) -> tuple[pa.Table, list[Reject]]:
    """Clip table and rejects of a corpus, with the media that are attached to its clips.

    The clips go into the table as they come: as Python objects, ten million of them would take 15 GB.
    """
    records = import_clips(corpus, root, settings)
    if attach:
        from mien.corpora.attach import attach as attached

        for medium, source in attach.items():
            records = attached(records, medium, source)
    rejects: list[Reject] = []

    def clips() -> Iterator[Clip]:
        for record in records:
            if isinstance(record, Reject):
                rejects.append(record)
            else:
                yield record

    table = clips_to_table(clips())
    if not len(table):
        raise CorpusError(f"{os.fspath(root)}: {_why_no_clip(corpus, rejects)}")
    return table, rejects


def _why_no_clip(corpus: str, rejects: Sequence[Reject]) -> str:
    reasons = Counter(reject.reason for reject in rejects)
    if set(reasons) == {"bad-name"}:
        others = " or ".join(sorted(named(PurePath(reject.path).stem for reject in rejects)))
        hint = f"is this {others}?" if others else f"the first is {rejects[0].detail}"
        return f"none of {len(rejects)} files has a name of {corpus}; {hint}"
    counts = ", ".join(f"{n_files} {reason}" for reason, n_files in reasons.most_common())
    first = f", the first is {rejects[0].detail}" if rejects else ""
    return f"none of {len(rejects)} files became a clip of {corpus}: {counts}{first}"


def _supplied(folder: FeatureFolder, medium: str, clips: pa.Table) -> set[str]:
    """Clips that were rejected for want of the medium, which they have now."""
    lacked = folder.rejected(f"no-{medium}")
    return lacked & set(have_medium(clips, medium).to_pylist()) if lacked else lacked


def _chosen(engine: Engine, n_clips: int) -> tuple[str, str]:
    """Who extracts, and why."""
    if engine != "auto":
        return engine, f"engine is {engine}"
    if name := connection.named():
        return "ray", name
    if n_clips > RAY_FROM_CLIPS:
        return "ray", f"more than {RAY_FROM_CLIPS:,} clips"
    return "processes", "no cluster is named"


class _Job:
    """The features that a corpus lacks, extracted in one pass."""

    def __init__(self, corpus: str, clips: pa.Table, asked: Sequence[_Asked], on_progress: OnProgress) -> None:
        self._corpus, self._clips, self._asked, self._on_progress = corpus, clips, asked, on_progress
        self._todo = [number for number, feature in enumerate(asked) if feature.done is not None]
        media = [asked[number].extractor.medium for number in self._todo]
        self._tasks = tasks_left(clips, media, [asked[number].done or () for number in self._todo])
        self._n_left = {number: n_left(self._tasks, i) for i, number in enumerate(self._todo)}
        self._tallies = [
            Tally(corpus, feature.folder.spec.name, len(clips), len(clips) - self._n_left.get(number, 0))
            for number, feature in enumerate(asked)
        ]
        self._asked_s = 0.0
        self._n_workers = 0
        self.engine = ""
        self.ray_startup_s = 0.0

    def run(self, workers: int | None, engine: Engine, limits: ClipLimits, on_note: Callable[[str], None]) -> None:
        """Extract what is left."""
        if not len(self._tasks):
            return
        self.engine, why = _chosen(engine, len(self._tasks))
        with self._room(workers) as n_workers:
            self._asked_s = time.time()
            busy = [number for number in self._todo if self._n_left[number]]
            is_heavy = any(self._asked[number].extractor.is_heavy for number in busy)
            cut = list(batches(self._tasks, n_workers, largest_part(is_heavy, len(self._tasks))))
            self._n_workers = min(n_workers, len(cut))
            who = "Ray Data" if self.engine == "ray" else "this machine"
            on_note(f"{len(self._tasks):,} clips by {self._n_workers} processes of {who}: {why}")
            for number in busy:
                self._on_progress(self._tallies[number].progress())
            features = [
                Feature(self._asked[number].folder, self._asked[number].recipe, self._asked[number].extractor.medium)
                for number in self._todo
            ]
            if self.engine == "ray":
                name = "-".join([self._corpus, *(self._asked[number].folder.spec.name for number in busy)])
                ended = stream(name, features, cut, self._n_workers, limits)
            else:
                ended = stream_by_processes(features, cut, self._n_workers, limits)
            with self._told(on_note) as came:
                for outcomes in ended:
                    came.set()
                    for i, number in enumerate(self._todo):
                        some = [outcome for outcome in outcomes if outcome.feature == i]
                        if some:
                            self._tallies[number].count(some)
                            self._on_progress(self._tallies[number].progress())

    def _told(self, on_note: Callable[[str], None]) -> AbstractContextManager[Event]:
        """Says what a cluster is waited for until the first clips come back."""
        if self.engine == "processes":
            return nullcontext(Event())
        asked = f"waiting for the first clips of {self._n_workers} worker{'s' * (self._n_workers > 1)} of 1 CPU"
        return connection.waiting(on_note, lambda: f"{asked}: {room({'CPU': 1.0})}")

    @contextmanager
    def _room(self, workers: int | None) -> Iterator[int]:
        """For how many workers there is room; with a Ray where that is the engine, of its own where none is in use."""
        if self.engine == "processes":
            yield connection.n_workers(workers, connection.machine_cpus())
            return
        with connection.connected(workers=workers) as cluster:
            self.ray_startup_s = cluster.startup_s
            yield cluster.pool(workers)

    def finish(self, number: int) -> PreparedFeature:
        """Write the MANIFEST of a feature where it has none."""
        folder, recipe, extractor, _ = self._asked[number]
        tally = self._tallies[number]
        work = self._work(tally)
        if tally.n_extracted:
            folder.note_work(work)
        manifest = folder.manifest() or folder.finish(
            set(self._clips["id"].to_pylist()),
            {"name": recipe.name, "settings": dict(extractor.settings), "medium": extractor.medium},
        )
        return PreparedFeature(
            name=folder.spec.name,
            folder=folder.spec.folder,
            n_rows=manifest["n_rows"],
            n_rejects=manifest["n_rejects"],
            reasons=manifest["reasons"],
            n_rejected=tally.n_rejected,
            **work,
            worker_peak_bytes=tally.peak_bytes,
        )

    def _work(self, tally: Tally) -> dict[str, Any]:
        """What a feature took, for `mien cost`: of all seconds its share, so that features can be added up."""
        if not tally.n_extracted:
            return {"n_extracted": 0, "n_workers": 0, "startup_s": 0.0, "work_s": 0.0}
        first_s = min(one.first_s for one in self._tallies)
        last_s = max(one.last_s for one in self._tallies)
        share = tally.busy_s / max(sum(one.busy_s for one in self._tallies), 1e-9)
        return {
            "n_extracted": tally.n_extracted,
            "n_workers": self._n_workers,
            "startup_s": first_s - self._asked_s,
            "work_s": share * (last_s - first_s),
        }
