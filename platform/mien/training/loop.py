"""The one training loop: every family, alone or on any number of workers.

It is given its data, its place among the workers, and a function to report to; it owns the order of things: resume,
epoch, validation, history, checkpoint, stop, test, model, DONE. Rank 0 alone writes.
"""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mien import telemetry
from mien.data.dataset import Dataset
from mien.data.disturb import Change
from mien.data.feed import Feed
from mien.data.parents import parent_columns
from mien.data.splits import Split
from mien.errors import DamagedError
from mien.experiment import Experiment
from mien.families import FAMILIES, losses
from mien.families.contract import Learner, NotFiniteError, Task
from mien.families.files import hand_over, written
from mien.results.conditions import write_conditions
from mien.results.history import CLOCKED, validation
from mien.results.metrics import evaluate
from mien.results.predictions import Predicted, write_predictions
from mien.results.run import Checkpoint, Run
from mien.training import policy
from mien.training.card import write_card
from mien.training.conditions import predict_conditions
from mien.training.diverged import diverged
from mien.training.memory import memory_explained
from mien.training.model_folder import temperature_of, write_model
from mien.training.place import HERE, Place
from mien.training.setup import write_setup
from mien.training.split_csv import write_split_csv

Rows = NDArray[np.int64]


def train_run(
    run: Run,
    experiment: Experiment,
    dataset: Dataset,
    split: Split,
    *,
    parents: tuple[Run, ...] = (),
    place: Place = HERE,
    report: Callable[[dict[str, Any]], None] = lambda record: None,
) -> dict[str, Any]:
    """Train one model on one split, or go on where a killed run stopped; returns the run's metrics.

    parents: the runs of the same fold whose predictions it reads, in the order of experiment.parents. report: called by
    every rank after every epoch with that epoch's record, once the epoch is safe on disk. Raises LeakError before
    anything is trained, should a subject or a copy of a clip stand on two sides, or a parent have another split;
    TrainingError where a loss is not finite or memory runs out.
    """
    if run.is_done:
        dataset.check(split, experiment.protocol)
        return run.metrics()
    with memory_explained(run, experiment):
        return _trained(run, experiment, dataset, split, parents, place, report)


def _trained(
    run: Run,
    experiment: Experiment,
    dataset: Dataset,
    split: Split,
    parents: tuple[Run, ...],
    place: Place,
    report: Callable[[dict[str, Any]], None],
) -> dict[str, Any]:
    training = Training(run, experiment, dataset, split, parents=parents, place=place, keep=True)
    for record in training.epochs(save_every_s=experiment.execution.save_every_s):
        report(record)
    epoch = policy.best_epoch(training.history)
    best = run.checkpoint(epoch)
    if best is None:
        raise DamagedError(
            f"{run.checkpoint_folder(epoch)}: damaged since it was written, and it is the best checkpoint; run the "
            "same again, which goes on from an earlier one"
        )
    hand_over(best.files, training.learner.load)
    rows = {"validation": training.validation, "test": split.test}
    sides = {side: training.predict(rows[side]) for side in rows if len(rows[side])}
    family = FAMILIES[experiment.model.family]
    asked = experiment.execution.conditions and len(split.test)
    conditions = predict_conditions(training, family, split.test) if asked else {}
    truth = dataset.target.truth
    result = {
        "best_epoch": best.epoch,
        "stopped": training.stopped or "fitted in one pass",
        **{side: evaluate(dataset.target.spec, truth[rows[side]], values) for side, values in sides.items()},
        "epochs": [{key: record[key] for key in record if key not in CLOCKED} for record in training.history],
    }
    if place.group.rank == 0:
        predicted = {side: _predicted(dataset, rows[side], values) for side, values in sides.items()}
        temperature = temperature_of(dataset.target.spec, predicted.get("validation"))
        write_model(
            run, experiment, training.dataset, training.task, training.feed, training.learner, parents, temperature
        )
        write_predictions(run, dataset.target.spec, predicted)
        write_split_csv(run, dataset, split)
        if conditions:
            write_conditions(run, dataset.target.spec, [dataset.clip_ids[row] for row in split.test], conditions)
        run.write_metrics(result)
        if len(split.test):  # a finalist of a search is not tested, and goes nowhere
            write_card(run, experiment, dataset)
        run.finish()
    return result


class Training:
    """A model on its way through the epochs of one run. Built, it stands where the run's newest whole checkpoint is.

    keep: whether the epoch that the run is tested with is saved in any case; a checkpoint that lacks it, because it was
    damaged since, is then none to go on from. train, validation: rows that it learns from, and that choose its best
    epoch (none where the experiment keeps the last one). history: records of the epochs so far.
    """

    def __init__(
        self,
        run: Run,
        experiment: Experiment,
        dataset: Dataset,
        split: Split,
        *,
        parents: tuple[Run, ...] = (),
        place: Place = HERE,
        keep: bool = False,
    ) -> None:
        dataset.check(split, experiment.protocol)
        self.train, self.validation = sides(experiment, split)
        if parents:  # it may learn from what they predicted without having learned from it, and from nothing else
            columns, self.train = parent_columns(
                parents, split, dataset.clip_ids, dataset.columns, learns=experiment.learns
            )
            dataset = dataclasses.replace(dataset, columns={**dataset.columns, **columns})
        self._run, self._place, self._keep = run, place, keep
        self.experiment, self.dataset = experiment, dataset
        self._family = FAMILIES[experiment.model.family]
        group = place.group
        self.feed = Feed(experiment, dataset, self.train, run.seed, rank=group.rank, world=group.world)
        self.task = Task(
            model=experiment.model,
            training=experiment.training,
            loss=experiment.loss,
            inputs={name: column.spec for name, column in dataset.columns.items()},
            target=dataset.target.spec,
            class_weights=_class_weights(experiment, dataset, self.train),
            seed=run.seed,
            group=group,
        )
        self.learner = self._family.build(self.task)
        self.history = resume(run, self.learner, keep=keep)
        if group.rank == 0:
            run.folder.sweep(below=True)
            write_setup(run, experiment, dataset, split, group)

    @property
    def stopped(self) -> str | None:
        """Why there is no further epoch, in words; None while there is one."""
        return policy.stop_reason(self.history, self.experiment.training)

    def epochs(self, *, save_every_s: float = 0.0) -> Iterator[dict[str, Any]]:
        """The record of each further epoch, once it is safe on disk.

        save_every_s: seconds between two checkpoints; what is killed in between is trained again. Once a node is about
        to be taken away, every epoch is saved. keep: save in any case the epoch that the run will be tested with.
        """
        saved_s = time.monotonic()
        while self._goes_on:
            epoch = len(self.history) + 1
            record = self._one_epoch(epoch)
            self.history = [*self.history, record]
            leaving = self._place.leaving()
            if self._place.group.rank == 0:
                if leaving or time.monotonic() - saved_s >= save_every_s or (self._keep and self._is_kept(epoch)):
                    self._save(epoch)
                    saved_s = time.monotonic()
                self._run.write_history(self.history)
                self._show(record)
            yield record

    def predict(self, rows: Rows, change: Change | None = None) -> NDArray[np.float32]:
        """(len(rows), K) in the order of rows, which are sorted; the same on every rank: each fills its own rows, the
        sum is the whole. change: see `Feed.plain`."""
        own = self.learner.predict(self.feed.plain(rows, change))
        values = np.zeros((len(rows), len(self.task.target.names)), np.float32)
        values[np.searchsorted(rows, own.rows)] = own.values
        return self._place.group.sum(values)

    def _one_epoch(self, epoch: int) -> dict[str, Any]:
        """Train, validate, and the record of both."""
        config = self.experiment.training
        start_s, waited_s = time.perf_counter(), self.feed.waited_s
        rate = _Rate(lambda share: policy.learning_rate(config, (epoch - 1 + share) / config.epochs))
        trained = {"loss": math.nan, "n_samples": 0}  # of a fixed rule
        if len(self.train):
            try:
                trained = self.learner.train_epoch(self.feed.training(epoch), epoch=epoch, rate=rate)
            except NotFiniteError as error:
                raise diverged(self._run, self.experiment, self.dataset, self.feed, epoch, error) from None
        train_s, waited_s = time.perf_counter() - start_s, self.feed.waited_s - waited_s
        rows = self.validation
        truth, predicted = (self.dataset.target.truth[rows], self.predict(rows)) if len(rows) else (None, None)
        scores = validation(self.task.target, self.experiment.loss, truth, predicted)
        return {
            "epoch": epoch,
            "learning_rate": rate.last,
            "train_loss": trained["loss"] if math.isfinite(trained["loss"]) else None,
            "n_samples": trained["n_samples"],
            **scores,
            "seconds": round(time.perf_counter() - start_s, 4),
            "data_s": round(waited_s, 4),
            "samples_per_s": round(trained["n_samples"] / train_s, 2),
        }

    def _save(self, epoch: int) -> None:
        start_s = time.monotonic()
        checkpoint = Checkpoint(epoch, written(self.learner.save), {"history": self.history})
        self._run.save_checkpoint(checkpoint, best_epoch=policy.best_epoch(self.history))
        labels = {"experiment": self.experiment.name}
        telemetry.add("mien_checkpoint_seconds_total", time.monotonic() - start_s, **labels)
        telemetry.add("mien_checkpoints_total", 1, **labels)

    def _show(self, record: Mapping[str, Any]) -> None:
        """Shows an epoch where Prometheus sees it."""
        name = self.experiment.name
        for counter, key in (("samples", "n_samples"), ("epoch_seconds", "seconds"), ("data_wait_seconds", "data_s")):
            telemetry.add(f"mien_{counter}_total", record[key], experiment=name)
        labels = {"experiment": name, "run": self._run.label}
        telemetry.put("mien_epoch", record["epoch"], **labels)
        telemetry.put("mien_train_loss", record["train_loss"], **labels)
        telemetry.put("mien_validation_score", record["score"], **labels, score=self.task.target.primary)

    @property
    def _goes_on(self) -> bool:
        is_iterative = self._family.is_iterative and self.experiment.learns
        return self.stopped is None and (is_iterative or not self.history)

    def _is_kept(self, epoch: int) -> bool:
        """Whether this epoch, just trained, may be the one that the run is tested with."""
        return not self._goes_on if not len(self.validation) else policy.best_epoch(self.history) == epoch


def sides(experiment: Experiment, split: Split) -> tuple[Rows, Rows]:
    """Rows that train and rows that validate.

    With nothing to stop early or to choose by, there is no reason to learn from fewer people: the validation clips are
    trained on as well. A fixed rule has neither.
    """
    if not experiment.learns:
        return split.train[:0], split.validation[:0]
    if FAMILIES[experiment.model.family].is_iterative and experiment.training.keep == "best":
        return split.train, split.validation
    return np.sort(np.concatenate([split.train, split.validation])), split.validation[:0]


class _Rate:
    """A learning rate by the share of the epoch that is done, which remembers the last one that was asked for."""

    def __init__(self, of: Callable[[float], float]) -> None:
        self._of = of
        self.last = of(0.0)

    def __call__(self, share: float) -> float:
        self.last = self._of(share)
        return self.last


def _class_weights(experiment: Experiment, dataset: Dataset, train: Rows) -> NDArray[np.float32]:
    spec = dataset.target.spec
    if spec.kind != "classes" or not len(train):
        return np.ones(len(spec.names), np.float32)
    return losses.class_weights(dataset.target.truth[train], len(spec.names), experiment.loss.alpha)


def _predicted(dataset: Dataset, rows: Rows, values: NDArray[np.float32]) -> Predicted:
    ids, subjects, corpora = (
        np.array([column[row] for row in rows]) for column in (dataset.clip_ids, dataset.subjects, dataset.corpora)
    )
    return Predicted(ids, subjects, corpora, dataset.target.truth[rows], values.astype(np.float64))


def resume(run: Run, learner: Learner, *, keep: bool) -> list[dict[str, Any]]:
    """Load the newest whole checkpoint; the history up to it. Epochs after it are as if never begun.

    keep: pass over those whose best epoch so far is no longer whole.
    """
    for checkpoint in run.whole_checkpoints():
        history = list(checkpoint.state["history"])
        best = policy.best_epoch(history)
        if keep and best != checkpoint.epoch and run.checkpoint(best) is None:
            continue
        hand_over(checkpoint.files, learner.load)
        return history
    return []
