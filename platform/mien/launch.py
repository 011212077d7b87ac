"""From an Experiment to its Series of runs: read, split, train every (seed, fold) that is not done.

Asking again for the same experiment trains only what is missing, and goes on in the middle of a run that was killed.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from threading import Event, Thread
from typing import Any, NamedTuple

from mien import cluster
from mien.dataset import Dataset, read_dataset
from mien.errors import ExperimentError
from mien.experiment import AugmentConfig, Experiment, LossConfig, SvcConfig, TrainingConfig
from mien.families import FAMILIES
from mien.runs import Run, Series
from mien.splits import Split
from mien.store import FeatureStore
from mien.training.loop import Place, train_run

Record = Mapping[str, Any]
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
    if execution.workers and family.framework == "sklearn":
        raise ExperimentError(f"{experiment.model.family} is fitted in one process: set execution.workers to 0")
    unknown = set(execution.only_folds) - {split.fold for split in splits}
    if unknown:
        raise ExperimentError(f"execution.only_folds names {sorted(unknown)}: there are folds 0 to {len(splits) - 1}")
    series = Series.create(experiment, experiment.signature(dataset.fingerprints))
    series.folder.write_json("data.json", {**dataset.summary(), "label_source": experiment.data.label_source})
    asked = [split for split in splits if not execution.only_folds or split.fold in execution.only_folds]
    jobs = [(series.run(seed, split.fold), split) for seed in execution.seeds for split in asked]
    to_do = [(run, split) for run, split in jobs if not run.is_done]
    progress.on_start(series, len(to_do), len(jobs))
    train = _train_in_groups if execution.workers else _train_in_parallel if execution.parallel > 1 else _train_here
    for run, metrics in train(to_do, experiment, dataset, progress):
        progress.on_run(run, metrics)
    return series


Jobs = list[tuple[Run, Split]]
Trained = Iterator[tuple[Run, Record]]


def _train_here(jobs: Jobs, experiment: Experiment, dataset: Dataset, progress: Progress) -> Trained:
    """One after the other in this process."""
    for run, split in jobs:
        report = lambda record, run=run: progress.on_epoch(run, record)  # noqa: E731
        yield run, train_run(run, experiment, dataset, split, report=report)


def _train_in_parallel(jobs: Jobs, experiment: Experiment, dataset: Dataset, progress: Progress) -> Trained:
    """Several at a time, each in a Ray worker with one core; the dataset lies once in each node's shared memory."""
    if not jobs:
        return
    import ray

    with cluster.connected(workers=experiment.execution.workers or experiment.execution.parallel):
        shared = ray.put(dataset)
        remote = ray.remote(num_cpus=1, num_gpus=float(experiment.execution.gpu), max_retries=2)(train_run)
        waiting = list(jobs)
        running: dict[Any, tuple[Run, _Follower]] = {}
        while waiting or running:
            while waiting and len(running) < experiment.execution.parallel:
                run, split = waiting.pop(0)
                running[remote.remote(run, experiment, shared, split)] = run, _Follower(run, progress.on_epoch)
            ended, _ = ray.wait(list(running), timeout=FOLLOW_S)
            for _, follower in running.values():
                follower.tell()
            for done in ended:
                run, _ = running.pop(done)
                yield run, ray.get(done)


def _train_in_groups(jobs: Jobs, experiment: Experiment, dataset: Dataset, progress: Progress) -> Trained:
    """One after the other, each data-parallel over a Ray Train worker group."""
    if not jobs:
        return
    import ray
    from ray.train import FailureConfig, RunConfig, ScalingConfig

    execution = experiment.execution
    elastic = bool(execution.min_workers) and execution.min_workers < execution.workers
    with cluster.connected(workers=experiment.execution.workers or experiment.execution.parallel):
        shared = ray.put(dataset)
        for run, split in jobs:
            trainer = _trainer(FAMILIES[experiment.model.family].framework)(
                _worker,
                train_loop_config={"run": run, "experiment": experiment, "dataset": [shared], "split": split},
                scaling_config=ScalingConfig(
                    num_workers=(execution.min_workers, execution.workers) if elastic else execution.workers,  # type: ignore[arg-type]
                    use_gpu=execution.gpu,
                ),
                # A fresh name: Ray would silently take up its own state of a run of the same name, and ours is in Run.
                run_config=RunConfig(
                    name=f"attempt-{time.time_ns()}",
                    storage_path=(run.folder / "ray").uri,
                    failure_config=FailureConfig(max_failures=execution.max_failures),
                ),
            )
            with _explained(run), _Follower(run, progress.on_epoch):
                trainer.fit()
            (run.folder / "ray").remove()
            yield run, run.metrics()


def _worker(config: dict[str, Any]) -> None:
    """What each worker of a group executes."""
    import ray
    import ray.train

    context = ray.train.get_context()
    world = context.get_world_size()
    experiment: Experiment = config["experiment"]
    place = Place(context.get_world_rank(), world, _sum_arrays(experiment) if world > 1 else Place().sum)

    dataset = ray.get(config["dataset"][0])
    train_run(config["run"], experiment, dataset, config["split"], place=place, report=ray.train.report)


def _sum_arrays(experiment: Experiment) -> Any:
    """The framework's sum over all workers."""
    if FAMILIES[experiment.model.family].framework == "tensorflow":
        from mien.frameworks import tensorflow

        return tensorflow.sum_arrays
    raise ExperimentError(f"{experiment.model.family}: no collective for {FAMILIES[experiment.model.family].framework}")


def _trainer(framework: str) -> Any:
    if framework == "tensorflow":
        from ray.train.tensorflow import TensorflowTrainer

        return TensorflowTrainer
    from ray.train.torch import TorchTrainer

    return TorchTrainer


class _Follower:
    """Tells each epoch of a run that is trained elsewhere, once, as its record lands in the run's history.

    What workers print stays in Ray's logs; the history is in the storage that driver and workers share. As a context it
    follows by a thread.
    """

    def __init__(self, run: Run, on_epoch: Callable[[Run, Record], None]) -> None:
        self._run = run
        self._on_epoch = on_epoch
        self._n_told = len(run.history())  # those of an earlier attempt were told then
        self._left = Event()

    def tell(self) -> None:
        history = self._run.history()
        for record in history[self._n_told :]:
            self._on_epoch(self._run, record)
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
