"""The one training loop: every family, local or on any number of workers.

It is given its data, its place among the workers, and a function to report to; it owns the order of things: resume,
epoch, validation, history, checkpoint, stop, test, DONE. Rank 0 alone writes.
"""

from __future__ import annotations

import importlib.metadata
import math
import os
import platform
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

import mien
from mien import telemetry
from mien.data import augment
from mien.data.batches import Batch, Example, make_batches, plain_order, training_order
from mien.data.dataset import Dataset
from mien.data.normalise import fit_normaliser
from mien.data.splits import Split, check_leak
from mien.experiment import Experiment
from mien.families import FAMILIES, Learner, Task, losses
from mien.features.spec import Frames
from mien.results import metrics
from mien.results.machine import instance_type
from mien.results.run import Checkpoint, Run
from mien.training import policy

PREDICTION_BATCH = 64


@dataclass(frozen=True, slots=True)
class Place:
    """Which worker this is. sum: an array's element-wise sum over all workers. leaving: whether a node of one of them
    is about to be taken away; all ask equally often and hear the same."""

    rank: int = 0
    world: int = 1
    sum: Callable[[NDArray[np.float32]], NDArray[np.float32]] = lambda array: array
    leaving: Callable[[], bool] = lambda: False


def train_run(
    run: Run,
    experiment: Experiment,
    dataset: Dataset,
    split: Split,
    *,
    place: Place = Place(),
    report: Callable[[dict[str, Any]], None] = lambda record: None,
) -> dict[str, Any]:
    """Train one model on one split, or go on where a killed run stopped; returns the run's metrics.

    report: called by every rank after every epoch with that epoch's record, once the epoch is safe on disk.
    Raises LeakError before anything is trained, should a subject or a copy of a clip stand on two sides.
    """
    if run.is_done:
        check_split(split, dataset, experiment)
        return run.metrics()
    training = Training(run, experiment, dataset, split, place=place)
    for record in training.epochs(save_every_s=experiment.execution.save_every_s, keep=True):
        report(record)
    best = run.checkpoint(policy.best_epoch(training.history))
    if best is None:
        named = f"epoch {policy.best_epoch(training.history)}"
        raise RuntimeError(f"{run.folder}: the best checkpoint, {named}, is gone or damaged")
    _load(training.learner, best)
    rows = {"validation": training.validation, "test": split.test}
    sides = {side: training.probabilities(rows[side]) for side in rows if len(rows[side])}
    result = {
        "best_epoch": best.epoch,
        "stopped": training.stopped or "fitted in one pass",
        **{
            side: metrics.classification_metrics(dataset.truth[rows[side]], probabilities, dataset.classes)
            for side, probabilities in sides.items()
        },
    }
    if place.rank == 0:
        for name, content in _saved(training.learner, export=True).items():
            run.folder.write_bytes(name, content)
        run.write_predictions(_prediction_table(dataset, split, sides))
        run.write_metrics(result)
        run.finish()
    return result


def check_split(split: Split, dataset: Dataset, experiment: Experiment) -> None:
    """Raises LeakError should a subject or a copy of a clip stand on two sides."""
    check_leak(
        split,
        clip_ids=dataset.clip_ids,
        subjects=dataset.subjects,
        contents=dataset.contents,
        protocol=experiment.protocol,
    )


class Training:
    """A model on its way through the epochs of one run. Built, it stands where the run's newest whole checkpoint is.

    validation: rows that it is validated on, none where the experiment keeps the last epoch. history: records of the
    epochs so far.
    """

    def __init__(
        self, run: Run, experiment: Experiment, dataset: Dataset, split: Split, *, place: Place = Place()
    ) -> None:
        check_split(split, dataset, experiment)
        self._run, self._config, self._dataset, self._place = run, experiment.training, dataset, place
        self._name = experiment.name
        self._family = FAMILIES[experiment.model.family]
        # With nothing to stop early or to choose by, there is no reason to learn from fewer people.
        validates = self._family.iterative and experiment.training.keep == "best"
        train = split.train if validates else np.sort(np.concatenate([split.train, split.validation]))
        self.validation = split.validation if validates else split.validation[:0]
        self._feed = Feed(experiment, dataset, train, run.seed, place)
        weights = losses.class_weights(dataset.truth[train], len(dataset.classes), experiment.loss.alpha)
        self.learner = self._family.build(Task(experiment, dataset.specs, dataset.classes, weights, run.seed))
        self.history = _resume(run, self.learner)
        if place.rank == 0:
            _write_setup(run, experiment, dataset, split, place)

    @property
    def stopped(self) -> str | None:
        """Why there is no further epoch, in words; None while there is one."""
        return policy.stop_reason(self.history, self._config)

    def epochs(self, *, save_every_s: float = 0.0, keep: bool = False) -> Iterator[dict[str, Any]]:
        """The record of each further epoch, once it is safe on disk.

        save_every_s: seconds between two checkpoints; what is killed in between is trained again. Once a node is about
        to be taken away, every epoch is saved. keep: save in any case the epoch that the run will be tested with.
        """
        saved_s = time.monotonic()
        while self._goes_on:
            epoch = len(self.history) + 1
            rate = policy.learning_rate(self._config, epoch)
            record = _one_epoch(epoch, self.learner, self._feed, self.validation, rate, self._dataset)
            self.history = [*self.history, record]
            leaving = self._place.leaving()
            if self._place.rank == 0:
                if leaving or time.monotonic() - saved_s >= save_every_s or (keep and self._is_kept(epoch)):
                    self._save(epoch)
                    saved_s = time.monotonic()
                self._run.write_history(self.history)
                self._tell(record)
            yield record

    def _save(self, epoch: int) -> None:
        start_s = time.monotonic()
        checkpoint = Checkpoint(epoch, _saved(self.learner), {"history": self.history})
        self._run.save_checkpoint(checkpoint, best_epoch=policy.best_epoch(self.history))
        telemetry.add("mien_checkpoint_seconds_total", time.monotonic() - start_s, experiment=self._name)
        telemetry.add("mien_checkpoints_total", 1, experiment=self._name)

    def _tell(self, record: Mapping[str, Any]) -> None:
        """Show an epoch where Prometheus sees it."""
        for name, key in (("samples", "n_samples"), ("epoch_seconds", "seconds"), ("data_wait_seconds", "data_s")):
            telemetry.add(f"mien_{name}_total", record[key], experiment=self._name)
        labels = {"experiment": self._name, "run": self._run.label}
        for name in ("epoch", "train_loss", "validation_uar"):
            telemetry.put(f"mien_{name}", record[name], **labels)

    @property
    def _goes_on(self) -> bool:
        return self.stopped is None and (self._family.iterative or not self.history)

    def _is_kept(self, epoch: int) -> bool:
        """Whether this epoch, just trained, may be the one that the run is tested with."""
        return not self._goes_on if not len(self.validation) else policy.best_epoch(self.history) == epoch

    def probabilities(self, rows: NDArray[np.int64]) -> NDArray[np.float32]:
        """(len(rows), K) in the order of rows, the same on every rank."""
        return _probabilities(self.learner, self._feed, rows)


class Feed:
    """Batches of a dataset for one run: standardised, augmented while training, and this rank's part only."""

    def __init__(
        self, experiment: Experiment, dataset: Dataset, train: NDArray[np.int64], seed: int, place: Place
    ) -> None:
        self.place = place
        self._experiment = experiment
        self._dataset = dataset
        self._train = train
        self._seed = seed
        self._lengths = dataset.lengths()
        self._dims = {name: spec.dim for name, spec in dataset.specs.items()}
        by_speaker = experiment.data.normalise == "speaker"
        self._normalisers = {
            name: fit_normaliser(frames, dataset.subjects, train, by_speaker=by_speaker)
            for name, frames in dataset.frames.items()
        }

    def training(self, epoch: int) -> Iterator[Batch]:
        """One epoch of originals and augmented copies."""
        config, clip_ids = self._experiment.augment, self._dataset.clip_ids
        examples = [Example(int(row), 0) for row in self._train]
        examples += [
            Example(int(row), copy)
            for row in self._train
            for copy in augment.copies(clip_ids[row], self._seed, epoch, config)
        ]
        size = self._experiment.training.batch_size
        order = training_order(examples, clip_ids, self._lengths, seed=self._seed, epoch=epoch, batch_size=size)
        return self._batches(order, size, epoch)

    def plain(self, rows: NDArray[np.int64]) -> Iterator[Batch]:
        """Each row once, as it is."""
        return self._batches(plain_order(rows.tolist(), PREDICTION_BATCH), PREDICTION_BATCH, 0)

    def _batches(self, order: Sequence[Sequence[Example]], batch_size: int, epoch: int) -> Iterator[Batch]:
        return make_batches(
            order,
            lambda example: self._frames(example, epoch),
            self._dataset.targets,
            self._dims,
            batch_size=batch_size,
            rank=self.place.rank,
            world=self.place.world,
        )

    def _frames(self, example: Example, epoch: int) -> Mapping[str, Frames]:
        dataset, data = self._dataset, self._experiment.data
        subject = dataset.subjects[example.row]
        frames = {name: self._normalisers[name](clips[example.row], subject) for name, clips in dataset.frames.items()}
        if not example.copy:
            return frames
        rng = augment.rng_for(self._seed, epoch, dataset.clip_ids[example.row], example.copy)
        return augment.augment(frames, audio=data.audio, video=data.video, config=self._experiment.augment, rng=rng)


def _one_epoch(
    epoch: int, learner: Learner, feed: Feed, validation: NDArray[np.int64], learning_rate: float, dataset: Dataset
) -> dict[str, Any]:
    """Train, validate, and the record of both."""
    start_s = time.perf_counter()
    batches = _Awaited(feed.training(epoch))
    trained = learner.train_epoch(batches, epoch=epoch, learning_rate=learning_rate)
    train_s = time.perf_counter() - start_s
    scores = dict.fromkeys(("validation_loss", "validation_uar", "validation_wa"))
    if len(validation):
        truth, probabilities = dataset.truth[validation], _probabilities(learner, feed, validation)
        scores = {
            "validation_loss": _or_none(metrics.nll(truth, probabilities)),
            "validation_uar": _or_none(metrics.uar(truth, probabilities)),
            "validation_wa": _or_none(metrics.wa(truth, probabilities)),
        }
    return {
        "epoch": epoch,
        "learning_rate": learning_rate,
        "train_loss": _or_none(trained["loss"]),
        "n_samples": trained["n_samples"],
        **scores,
        "seconds": round(time.perf_counter() - start_s, 4),
        "data_s": round(batches.seconds, 4),
        "samples_per_s": round(trained["n_samples"] / train_s, 2),
    }


class _Awaited:
    """An iterator that knows how many seconds were spent waiting for it."""

    def __init__(self, batches: Iterator[Batch]) -> None:
        self._batches = batches
        self.seconds = 0.0

    def __iter__(self) -> Iterator[Batch]:
        return self

    def __next__(self) -> Batch:
        start_s = time.perf_counter()
        try:
            return next(self._batches)
        finally:
            self.seconds += time.perf_counter() - start_s


def _or_none(value: float) -> float | None:
    """JSON has no NaN, and a score that could not be computed must not look like one."""
    return None if math.isnan(value) else value


def _probabilities(learner: Learner, feed: Feed, rows: NDArray[np.int64]) -> NDArray[np.float32]:
    """(len(rows), K) in the order of rows, sorted, on every rank: each fills its own rows, the sum is the whole."""
    own = learner.predict(feed.plain(rows))
    probabilities = np.zeros((len(rows), own.probabilities.shape[1]), np.float32)
    probabilities[np.searchsorted(rows, own.rows)] = own.probabilities
    return feed.place.sum(probabilities)


def _resume(run: Run, learner: Learner) -> list[dict[str, Any]]:
    """Load the newest whole checkpoint; the history up to it. Epochs after it are as if never begun."""
    checkpoint = run.latest_checkpoint()
    if checkpoint is None:
        return []
    _load(learner, checkpoint)
    return list(checkpoint.state["history"])


def _load(learner: Learner, checkpoint: Checkpoint) -> None:
    with tempfile.TemporaryDirectory() as folder:
        for name, content in checkpoint.files.items():
            (Path(folder) / name).write_bytes(content)
        learner.load(Path(folder))


def _saved(learner: Learner, *, export: bool = False) -> dict[str, bytes]:
    with tempfile.TemporaryDirectory() as folder:
        (learner.export if export else learner.save)(Path(folder))
        return {path.name: path.read_bytes() for path in sorted(Path(folder).iterdir())}


def _write_setup(run: Run, experiment: Experiment, dataset: Dataset, split: Split, place: Place) -> None:
    run.folder.write_json("experiment.json", experiment.to_json())
    sides = {
        side: {
            "n_clips": len(rows),
            "subjects": sorted({dataset.subjects[row] for row in rows}),
        }
        for side, rows in (("train", split.train), ("validation", split.validation), ("test", split.test))
    }
    run.folder.write_json("split.json", {"name": split.name, **sides})
    framework = FAMILIES[experiment.model.family].framework
    package = {"sklearn": "scikit-learn"}.get(framework, framework)
    run.folder.write_json(
        "environment.json",
        {
            "mien": mien.__version__,
            "python": platform.python_version(),
            "numpy": np.__version__,
            "ray": importlib.metadata.version("ray"),
            framework: importlib.metadata.version(package),
            "machine": platform.machine(),
            "instance_type": instance_type(),
            "cpus": os.cpu_count(),
            "workers": place.world,
        },
    )


def _prediction_table(dataset: Dataset, split: Split, sides: Mapping[str, NDArray[np.float32]]) -> pa.Table:
    tables = []
    for side, probabilities in sides.items():
        rows = getattr(split, side)
        columns: dict[str, Any] = {
            "clip_id": [dataset.clip_ids[row] for row in rows],
            "subject": [dataset.subjects[row] for row in rows],
            "corpus": [dataset.corpora[row] for row in rows],
            "side": [side] * len(rows),
            "truth": dataset.truth[rows],
        }
        columns |= {f"p_{name}": probabilities[:, i] for i, name in enumerate(dataset.classes)}
        tables.append(pa.table(columns))
    return pa.concat_tables(tables)
