"""From an Experiment to its Series of runs: read, split, train every (seed, fold) that is not done.

Asking again for the same experiment trains only what is missing, and goes on in the middle of a run that was killed.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing
from typing import Any, NamedTuple, NoReturn

from mien import connection
from mien.data.dataset import Dataset, read_dataset
from mien.data.splits import Split
from mien.errors import ExperimentError, TrainingError
from mien.experiment import ExecutionConfig, Experiment
from mien.features.store.store import FeatureStore
from mien.folder import Folder, absolute
from mien.results.clips import write_clips
from mien.results.history import Record
from mien.results.run import Run, Series
from mien.training.baseline import baseline_of, has_baseline
from mien.training.failures import task_failure
from mien.training.follower import FOLLOW_S, Follower, OnEpoch
from mien.training.group import fit_group
from mien.training.loop import train_run
from mien.training.place import place_of
from mien.training.refusals import check_launch
from mien.training.run_job import RunJob
from mien.training.waits import check_can_come, demand, missing

Trained = Iterator[tuple[Run, Record]]
Ended = Generator[tuple[Run, Record | TrainingError]]


class TrainingEvents(NamedTuple):
    """Called while a series is trained; each may be left as it is. on_start: with the runs to do and the runs in all.
    on_wait: with a line on what is waited for, every ten seconds until workers begin."""

    on_start: Callable[[Series, int, int], None] = lambda series, n_to_do, n_runs: None
    on_wait: Callable[[str], None] = lambda text: None
    on_epoch: OnEpoch = lambda run, record: None
    on_run: Callable[[Run, Record], None] = lambda run, metrics: None


def launch(experiment: Experiment, events: TrainingEvents = TrainingEvents()) -> Series:  # noqa: B008 - a tuple
    """Train an experiment, and the baseline on the same clips, features and folds beside it.

    Raises StoreError, ExperimentError or LeakError before anything is trained.
    """
    dataset = read_for(experiment)
    splits = dataset.splits(experiment.protocol)
    series = _train_series(experiment, dataset, splits, events)
    if experiment.execution.baseline and has_baseline(experiment, dataset.specs):
        baseline = _train_series(baseline_of(experiment), dataset, splits, events)
        series.folder.write_json(
            "baseline.json",
            {"experiment": baseline.experiment.name, "signature": baseline.signature},
            sealed=True,
        )
    return series


def read_for(experiment: Experiment) -> Dataset:
    """The clips that an experiment asks for; memory-mapped where other processes will read them too."""
    execution = experiment.execution
    is_shared = bool(execution.workers) or execution.parallel > 1
    return read_dataset(FeatureStore(execution.store), experiment.data, experiment.target, mapped=is_shared)


def _train_series(experiment: Experiment, dataset: Dataset, splits: list[Split], events: TrainingEvents) -> Series:
    execution = experiment.execution
    if execution.parallel > 1 and execution.workers:
        raise ExperimentError("execution.parallel needs execution.workers 0: a group of workers fills the machine")
    check_launch(experiment, dataset, splits)
    series = open_series(experiment, dataset)
    asked = [split for split in splits if not execution.only_folds or split.fold in execution.only_folds]
    jobs = [
        RunJob(series.run(seed, split.fold), experiment, split, parents_of(series, experiment, seed, split.fold))
        for seed in execution.seeds
        for split in asked
    ]
    to_do = [job for job in jobs if not job.run.is_done]
    events.on_start(series, len(to_do), len(jobs))
    for run, metrics in train_jobs(to_do, dataset, execution, events.on_epoch, events.on_wait):
        events.on_run(run, metrics)
    return series


def open_series(experiment: Experiment, dataset: Dataset) -> Series:
    """The series of an experiment on these clips, begun or taken up again."""
    series = Series.create(experiment, experiment.signature(dataset.fingerprints))
    read = {
        "store": absolute(experiment.execution.store),
        "label_source": experiment.target.source,
        "clips_sha256": write_clips(series.folder, dataset.told()),
    }
    series.folder.write_json("data.json", {**dataset.summary(), **read}, sealed=True)
    return series


def parents_of(series: Series, experiment: Experiment, seed: int, fold: int) -> tuple[Run, ...]:
    """The finished run of each parent of the same fold; of the seed that it names, else of the same seed where it has
    one, else of its first.

    Raises ExperimentError where a parent is not there or not done.
    """
    found = []
    for parent in experiment.parents:
        name, _, named = parent.partition("/seed-")
        folder = Folder(f"{series.storage.uri}/{name}")
        if not folder.exists("experiment.json"):
            raise ExperimentError(f"parents: {folder} is no series; name <experiment>/<signature> of the same storage")
        runs = [run for run in Series.open(folder.uri).runs() if run.fold == fold and run.is_done]
        if named:
            runs = [run for run in runs if str(run.seed) == named]
        if not runs:
            of_seed = f"seed {named}, " if named else ""
            raise ExperimentError(f"parents: {folder} has no finished run of {of_seed}fold {fold}; train it first")
        found.append(next((run for run in runs if run.seed == seed), runs[0]))
    return tuple(found)


def _stop(run: Run, error: TrainingError) -> NoReturn:
    raise error


def train_jobs(
    jobs: Sequence[RunJob],
    dataset: Dataset,
    execution: ExecutionConfig,
    on_epoch: OnEpoch,
    on_wait: Callable[[str], None] = lambda text: None,
    on_failure: Callable[[Run, TrainingError], object] = _stop,
) -> Trained:
    """Train runs on one dataset, at the scale of `execution`; yields each with its metrics as it ends.

    on_failure: called with a run that diverged or lacked memory, and why; it is then passed over. By default the error
    is raised.
    """
    if not jobs:
        return
    train = _train_in_groups if execution.workers else _train_in_parallel if execution.parallel > 1 else _train_here
    with closing(train(jobs, dataset, execution, on_epoch, on_wait)) as ended:
        for run, result in ended:
            if isinstance(result, TrainingError):
                on_failure(run, result)
            else:
                yield run, result


def _train_here(
    jobs: Sequence[RunJob],
    dataset: Dataset,
    execution: ExecutionConfig,
    on_epoch: OnEpoch,
    on_wait: Callable[[str], None],
) -> Ended:
    """One after the other in this process."""
    for run, experiment, split, parents in jobs:
        report = lambda record, run=run: on_epoch(run, record)  # noqa: E731
        place = place_of(experiment)
        try:
            result: Record | TrainingError = train_run(
                run, experiment, dataset, split, parents=parents, place=place, report=report
            )
        except TrainingError as error:
            result = error
        yield run, result


def _train_alone(job: RunJob, dataset: Dataset) -> Record:
    """What each task of parallel runs executes."""
    return train_run(job.run, job.experiment, dataset, job.split, parents=job.parents, place=place_of(job.experiment))


def _train_in_parallel(
    jobs: Sequence[RunJob],
    dataset: Dataset,
    execution: ExecutionConfig,
    on_epoch: OnEpoch,
    on_wait: Callable[[str], None],
) -> Ended:
    """Several at a time, each in a Ray worker of its own."""
    import ray

    n_workers = min(execution.parallel, len(jobs))
    with connection.connected(workers=n_workers):
        check_can_come(execution, 1)
        shared = ray.put(dataset)
        asked = demand(execution)
        remote = ray.remote(num_cpus=asked["CPU"], num_gpus=asked.get("GPU", 0), max_retries=2)(_train_alone)
        waiting = list(jobs)
        running: dict[Any, tuple[RunJob, Follower]] = {}
        while waiting or running:
            while waiting and len(running) < execution.parallel:
                job = waiting.pop(0)
                named = remote.options(name=f"train {job.experiment.name}/{job.run.label}")
                follower = Follower(job.run, on_epoch, on_wait, lambda: missing(execution, n_workers))
                running[named.remote(job, shared)] = job, follower
            ended, _ = ray.wait(list(running), timeout=FOLLOW_S)
            for _, follower in running.values():
                follower.look()
            for done in ended:
                job, _ = running.pop(done)
                try:
                    result = ray.get(done)
                except ray.exceptions.RayError as error:
                    result = task_failure(job.run.folder.uri, job.experiment, error)
                    if not isinstance(result, TrainingError):
                        raise result from error
                yield job.run, result


def _train_in_groups(
    jobs: Sequence[RunJob],
    dataset: Dataset,
    execution: ExecutionConfig,
    on_epoch: OnEpoch,
    on_wait: Callable[[str], None],
) -> Ended:
    """One after the other, each data-parallel over a Ray Train worker group."""
    import ray

    with connection.connected(workers=execution.workers):
        check_can_come(execution, execution.min_workers or execution.workers)
        shared = ray.put(dataset)
        for job in jobs:
            with Follower(job.run, on_epoch, on_wait, lambda: missing(execution, execution.workers)):
                try:
                    fit_group(job, shared, execution)
                except TrainingError as error:
                    result: Record | TrainingError = error
                else:
                    result = job.run.metrics()
            yield job.run, result
