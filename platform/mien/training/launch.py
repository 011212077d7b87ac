"""From an Experiment to its Series of runs: read, split, train every (seed, fold) that is not done.

Asking again for the same experiment trains only what is missing, and goes on in the middle of a run that was killed.
"""

from __future__ import annotations

import dataclasses
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from threading import Event, Thread
from typing import Any, NamedTuple

from mien import connection as cluster
from mien.data.dataset import Dataset, read_dataset
from mien.data.splits import Split
from mien.errors import ExperimentError
from mien.experiment import AugmentConfig, ExecutionConfig, Experiment, LossConfig, SvcConfig, TrainingConfig
from mien.families import FAMILIES
from mien.features.store import FeatureStore
from mien.folder import absolute
from mien.results.run import Run, Series
from mien.training.loop import Place, train_run

Record = Mapping[str, Any]
# Ray Train 2.60 takes one report of its workers at a look, and looks every 2 s: shorter epochs would take as long.
WAITS = {"RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "0.25"}
# It plans a group with the nodes that it saw up to 20 s ago, draining ones among them: where one of them is gone by
# now, it would wait a minute before it plans anew.
ELASTIC_WAITS = {**WAITS, "RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S": "20"}
FOLLOW_S = 1.0  # between two looks at the history of a run that is trained elsewhere


class Progress(NamedTuple):
    """Called while a series is trained; each may be left as it is. on_start: runs to do, runs in all."""

    on_start: Callable[[Series, int, int], None] = lambda series, to_do, in_all: None
    on_epoch: Callable[[Run, Record], None] = lambda run, record: None
    on_run: Callable[[Run, Record], None] = lambda run, metrics: None


def launch(experiment: Experiment, progress: Progress = Progress()) -> Series:  # noqa: B008 - a tuple
    """Train an experiment, and the SVC baseline on the same clips, features and folds beside it.

    Raises StoreError, ExperimentError or LeakError before anything is trained.
    """
    dataset = read_dataset(FeatureStore(experiment.execution.store), experiment.data)
    splits = dataset.splits(experiment.protocol)
    series = _train_series(experiment, dataset, splits, progress)
    if experiment.execution.baseline and experiment.model.family != "svc":
        baseline = _train_series(svc_baseline(experiment), dataset, splits, progress)
        series.folder.write_json(
            "baseline.json", {"experiment": baseline.experiment.name, "signature": baseline.signature}
        )
    return series


def svc_baseline(experiment: Experiment) -> Experiment:
    """What a model has to beat: a support vector machine for each feature, their probabilities multiplied.

    Same data and protocol, one seed, no augmentation. A single one on all features is too easy to beat where a wide
    feature carries little (docs/lab-log.md).
    """
    return dataclasses.replace(
        experiment,
        name=f"{experiment.name}-svc",
        question=f"What do support vector machines reach on the features and folds of {experiment.name}?",
        augment=AugmentConfig(kind="none"),
        loss=LossConfig(kind="cross-entropy", label_smoothing=0.0),
        model=SvcConfig(c=3.0, members=experiment.data.features),
        training=TrainingConfig(epochs=1),
        execution=dataclasses.replace(experiment.execution, seeds=(0,), workers=0, min_workers=0, gpu=False),
    )


def _train_series(experiment: Experiment, dataset: Dataset, splits: list[Split], progress: Progress) -> Series:
    execution = experiment.execution
    family = FAMILIES[experiment.model.family]
    if execution.parallel > 1 and execution.workers:
        raise ExperimentError("parallel runs need workers 0: a group of workers fills the machine by itself")
    if execution.workers and family.framework == "sklearn":
        raise ExperimentError(f"{experiment.model.family} is fitted in one process: set execution.workers to 0")
    unknown = set(execution.only_folds) - {split.fold for split in splits}
    if unknown:
        raise ExperimentError(f"execution.only_folds names {sorted(unknown)}: there are folds 0 to {len(splits) - 1}")
    series = open_series(experiment, dataset)
    asked = [split for split in splits if not execution.only_folds or split.fold in execution.only_folds]
    jobs = [Job(series.run(seed, split.fold), experiment, split) for seed in execution.seeds for split in asked]
    to_do = [job for job in jobs if not job.run.is_done]
    progress.on_start(series, len(to_do), len(jobs))
    for run, metrics in train_jobs(to_do, dataset, execution, progress.on_epoch):
        progress.on_run(run, metrics)
    return series


def open_series(experiment: Experiment, dataset: Dataset) -> Series:
    """The series of an experiment on these clips, begun or taken up again."""
    series = Series.create(experiment, experiment.signature(dataset.fingerprints))
    read = {"store": absolute(experiment.execution.store), "label_source": experiment.data.label_source}
    series.folder.write_json("data.json", {**dataset.summary(), **read})
    return series


class Job(NamedTuple):
    """A run to be trained: of which experiment, on which split."""

    run: Run
    experiment: Experiment
    split: Split


Trained = Iterator[tuple[Run, Record]]
OnEpoch = Callable[[Run, Record], None]


def train_jobs(jobs: Sequence[Job], dataset: Dataset, execution: ExecutionConfig, on_epoch: OnEpoch) -> Trained:
    """Train runs on one dataset, at the scale of `execution`; yields each with its metrics as it ends."""
    if not jobs:
        return iter(())
    train = _train_in_groups if execution.workers else _train_in_parallel if execution.parallel > 1 else _train_here
    return train(jobs, dataset, execution, on_epoch)


def _train_here(jobs: Sequence[Job], dataset: Dataset, execution: ExecutionConfig, on_epoch: OnEpoch) -> Trained:
    """One after the other in this process."""
    for run, experiment, split in jobs:
        report = lambda record, run=run: on_epoch(run, record)  # noqa: E731
        yield run, train_run(run, experiment, dataset, split, report=report)


def _train_in_parallel(jobs: Sequence[Job], dataset: Dataset, execution: ExecutionConfig, on_epoch: OnEpoch) -> Trained:
    """Several at a time, each in a Ray worker with one core; the dataset lies once in each node's shared memory."""
    import ray

    with cluster.connected(workers=execution.parallel):
        shared = ray.put(dataset)
        remote = ray.remote(num_cpus=1, num_gpus=float(execution.gpu), max_retries=2)(train_run)
        waiting = list(jobs)
        running: dict[Any, Follower] = {}
        while waiting or running:
            while waiting and len(running) < execution.parallel:
                run, experiment, split = waiting.pop(0)
                named = remote.options(name=f"train {experiment.name}/{run.label}")
                running[named.remote(run, experiment, shared, split)] = Follower(run, on_epoch)
            ended, _ = ray.wait(list(running), timeout=FOLLOW_S)
            for follower in running.values():
                follower.tell()
            for done in ended:
                yield running.pop(done).run, ray.get(done)


def _train_in_groups(jobs: Sequence[Job], dataset: Dataset, execution: ExecutionConfig, on_epoch: OnEpoch) -> Trained:
    """One after the other, each data-parallel over a Ray Train worker group."""
    import ray

    with cluster.connected(workers=execution.workers):
        shared = ray.put(dataset)
        for job in jobs:
            with Follower(job.run, on_epoch):
                fit_group(job, shared, execution)
            yield job.run, job.run.metrics()


def fit_group(job: Job, shared: Any, execution: ExecutionConfig, train: Callable[..., Any] = train_run) -> None:
    """Train one run over a group of workers. shared: reference to the dataset. train: what each worker does, called
    as `train_run` is. Raises ExperimentError where the group failed more often than it may."""
    from ray.train import FailureConfig, RunConfig, ScalingConfig

    run = job.run
    elastic = bool(execution.min_workers) and execution.min_workers < execution.workers
    trainer = _trainer(FAMILIES[job.experiment.model.family].framework)(
        _worker,
        # A reference in a list is handed on; one on its own Ray would replace by the dataset.
        train_loop_config={"job": job, "dataset": [shared], "train": train},
        scaling_config=ScalingConfig(
            num_workers=(execution.min_workers, execution.workers) if elastic else execution.workers,  # type: ignore[arg-type]
            use_gpu=execution.gpu,
        ),
        # A fresh name: Ray would silently take up its own state of a run of the same name, and ours is in Run.
        run_config=RunConfig(
            name=f"{job.experiment.name}-{run.label.replace('/', '-')}-{time.time_ns()}",
            storage_path=(run.folder / "ray").uri,
            failure_config=FailureConfig(max_failures=execution.max_failures),
        ),
    )
    waits = {name: os.environ.get(name, wait_s) for name, wait_s in (ELASTIC_WAITS if elastic else WAITS).items()}
    with cluster.environment(**waits), _explained(run):
        trainer.fit()
    (run.folder / "ray").remove()


def _worker(config: dict[str, Any]) -> None:
    """What each worker of a group executes."""
    import ray
    import ray.train

    context = ray.train.get_context()
    world = context.get_world_size()
    run, experiment, split = config["job"]
    place = Place(
        context.get_world_rank(),
        world,
        _sum_arrays(experiment) if world > 1 else Place().sum,
        # What `mien.cluster.aws.spot` told Ray; the workers agree on the answer, so it is a barrier too.
        leaving=lambda: ray.train.get_preemption_info() is not None,
    )
    dataset = ray.get(config["dataset"][0])
    config["train"](run, experiment, dataset, split, place=place, report=ray.train.report)


def _sum_arrays(experiment: Experiment) -> Any:
    """The framework's sum over all workers."""
    if FAMILIES[experiment.model.family].framework == "tensorflow":
        from mien.families.frameworks import tensorflow

        return tensorflow.sum_arrays
    raise ExperimentError(f"{experiment.model.family}: no collective for {FAMILIES[experiment.model.family].framework}")


def _trainer(framework: str) -> Any:
    if framework == "tensorflow":
        from ray.train.tensorflow import TensorflowTrainer

        return TensorflowTrainer
    from ray.train.torch import TorchTrainer

    return TorchTrainer


class Follower:
    """Tells each epoch of a run that is trained elsewhere, once, as its record lands in the run's history.

    What workers print stays in Ray's logs; the history is in the storage that driver and workers share. As a context it
    follows by a thread.
    """

    def __init__(self, run: Run, on_epoch: OnEpoch) -> None:
        self.run = run
        self._on_epoch = on_epoch
        self._n_told = len(run.history())  # those of an earlier attempt were told then
        self._left = Event()

    def tell(self) -> None:
        history = self.run.history()
        for record in history[self._n_told :]:
            self._on_epoch(self.run, record)
        self._n_told = max(self._n_told, len(history))

    def __enter__(self) -> None:
        self._thread = Thread(target=self._follow, daemon=True)
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._left.set()
        self._thread.join()

    def _follow(self) -> None:
        while not self._left.wait(FOLLOW_S):
            self.tell()
        self.tell()


@contextmanager
def _explained(run: Run) -> Iterator[None]:
    """A failed worker group as one sentence; what was trained so far is kept."""
    from ray.train import TrainingFailedError

    try:
        yield
    except TrainingFailedError as error:
        raise ExperimentError(f"{run.folder}: {error}; the same command goes on from its last epoch") from error
