"""Training beside a plain loop of the same framework: the same model, the same batches, decoded, padded and in memory.

mien's side is `Training` as `mien train` runs it: reading, order, standardisation, padding and averaging of weights
included, augmentation left out, since the plain loop has none. The two train an epoch each by turns, so that what else
the machine does falls on both. Validation and checkpoints are timed on neither side.
"""

from __future__ import annotations

import dataclasses
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import numpy as np

from mien.data.batches import Batch
from mien.data.dataset import Dataset, read_dataset
from mien.data.feed import Feed
from mien.data.splits import Split
from mien.errors import ExperimentError
from mien.experiment import AugmentConfig, Experiment, LossConfig
from mien.families import FAMILIES
from mien.families.files import written
from mien.features.store import FeatureStore
from mien.folder import Folder
from mien.results.run import Checkpoint, Run
from mien.training.loop import Training, resume
from mien.training.place import place_of

Clock = Callable[[], float]


@dataclass(frozen=True, kw_only=True)
class TrainTiming:
    """Of each round, the first left out, in which graphs are traced and memory is got. mien_s, plain_s: seconds of an
    epoch; mien_cpu_s, plain_cpu_s: CPU seconds, of torch those of the thread that trains, of TensorFlow, whose threads
    are its own, those of the process, the making of mien's batches included. waited_s: of mien's, those in which the
    learner waited for its batches. startup_s: from nothing to the end of
    the first epoch, less one epoch; the framework is imported in mien's. checkpoint_bytes, checkpoint_s, load_s: of its
    checkpoint, and seconds to write it and to go on from it."""

    framework: str
    n_clips: int
    mien_s: tuple[float, ...]
    plain_s: tuple[float, ...]
    mien_cpu_s: tuple[float, ...]
    plain_cpu_s: tuple[float, ...]
    waited_s: tuple[float, ...]
    mien_startup_s: float
    plain_startup_s: float
    checkpoint_bytes: int
    checkpoint_s: float
    load_s: float

    @property
    def ratio(self) -> float:
        """mien's clips a second over those of the plain loop, the middle of the rounds; 1 costs nothing."""
        return statistics.median(plain_s / mien_s for plain_s, mien_s in zip(self.plain_s, self.mien_s))

    @property
    def cpu_ratio(self) -> float:
        """The same in CPU seconds, which count little of what else the machine does."""
        return statistics.median(plain_s / mien_s for plain_s, mien_s in zip(self.plain_cpu_s, self.mien_cpu_s))

    @property
    def waited_share(self) -> float:
        """Of mien's epochs, the middle of the rounds."""
        return statistics.median(waited_s / mien_s for waited_s, mien_s in zip(self.waited_s, self.mien_s))


def training(experiment: Experiment, dataset: Dataset | None = None, *, n_rounds: int = 9) -> TrainTiming:
    """Time both on four fifths of the people of an experiment. dataset: by default what its store holds."""
    framework = FAMILIES[experiment.model.family].framework
    if framework == "sklearn":
        raise ExperimentError(f"{experiment.model.family} is trained in one pass by scikit-learn alone: mien bench svc")
    n_epochs = n_rounds + 1
    experiment = dataclasses.replace(
        experiment,
        augment=AugmentConfig(kind="none"),
        loss=LossConfig(
            kind="cross-entropy" if experiment.target.kind == "classes" else "mse", alpha="none", label_smoothing=0.0
        ),
        training=dataclasses.replace(experiment.training, epochs=n_epochs, patience=n_epochs, keep="best"),
    )
    if dataset is None:
        dataset = read_dataset(FeatureStore(experiment.execution.store), experiment.data, experiment.target)
    split = _split(dataset)
    start_s = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        run = Run(Folder(folder), seed=0, fold=0)
        ours = Training(run, experiment, dataset, split, place=place_of(experiment))
        epochs = ours.epochs(save_every_s=float("inf"))
        clock = time.process_time if framework == "tensorflow" else time.thread_time
        mien_s, waited_s = [], []
        mien_cpu_s = _timed(ours.learner, clock)

        def one_epoch() -> None:
            record = next(epochs)
            mien_s.append(record["n_samples"] / record["samples_per_s"])
            waited_s.append(record["data_s"])

        one_epoch()
        first_s = time.perf_counter() - start_s
        batches = [_without_fillers(batch) for batch in Feed(experiment, dataset, split.train, 0).training(1)]
        plain = import_module(f"mien.bench.plain_{'keras' if framework == 'tensorflow' else 'torch'}").train
        start_s = time.perf_counter()
        plain_s, plain_cpu_s = zip(*plain(ours.task, batches, n_rounds, one_epoch, clock))
        plain_startup_s = time.perf_counter() - start_s - sum(mien_s[1:]) - sum(plain_s[1:])
        start_s = time.perf_counter()
        checkpoint = Checkpoint(n_epochs, written(ours.learner.save), {"history": ours.history})
        run.save_checkpoint(checkpoint, best_epoch=n_epochs)
        saved_s = time.perf_counter()
        resume(run, ours.learner, keep=False)
        loaded_s = time.perf_counter()
    return TrainTiming(
        framework=framework,
        n_clips=len(split.train),
        mien_s=tuple(mien_s[1:]),
        plain_s=plain_s[1:],
        mien_cpu_s=tuple(mien_cpu_s[1:]),
        plain_cpu_s=plain_cpu_s[1:],
        waited_s=tuple(waited_s[1:]),
        mien_startup_s=first_s - statistics.median(mien_s[1:]),
        plain_startup_s=plain_startup_s - statistics.median(plain_s[1:]),
        checkpoint_bytes=sum(map(len, checkpoint.files.values())),
        checkpoint_s=saved_s - start_s,
        load_s=loaded_s - saved_s,
    )


def _split(dataset: Dataset) -> Split:
    """Four fifths of the people train, one is tested, the others validate."""
    subjects = sorted(set(dataset.subjects))
    held_out = set(subjects[: max(2, len(subjects) // 5)])
    side = np.array([subject in held_out for subject in dataset.subjects])
    test = np.flatnonzero(side)
    first = np.array([dataset.subjects[row] == subjects[0] for row in test])
    return Split(0, "bench", np.flatnonzero(~side), test[first], test[~first])


def _without_fillers(batch: Batch) -> Batch:
    """A plain loop's last batch is a short one."""
    own = batch.rows >= 0
    return batch._replace(
        values={name: array[own] for name, array in batch.values.items()},
        masks={name: mask[own] for name, mask in batch.masks.items()},
        targets=batch.targets[own],
        target_mask=batch.target_mask[own],
        weights=batch.weights[own],
        rows=batch.rows[own],
    )


def _timed(learner: Any, clock: Clock) -> list[float]:
    """By a clock, how long each epoch of a learner takes from now on."""
    seconds: list[float] = []
    train_epoch = learner.train_epoch

    def timed(*arguments: Any, **options: Any) -> dict[str, float]:
        start_s = clock()
        trained = train_epoch(*arguments, **options)
        seconds.append(clock() - start_s)
        return trained

    learner.train_epoch = timed
    return seconds
