"""Tested: what the finished runs of a Series predicted of their test clips, folds pooled, seeds apart."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from mien.errors import MienError
from mien.experiment.target import TargetSpec
from mien.folder import Folder
from mien.results.intervals import Scored
from mien.results.metrics import METRICS, Metric
from mien.results.predictions import Predicted, Texts, read_predictions
from mien.results.run import Run, Series
from mien.results.scoring import Floats


class Missing(NamedTuple):
    """A run that does not count, and why."""

    seed: int
    fold: int
    reason: str


@dataclass(frozen=True, slots=True, eq=False)
class Tested:
    """Test clips of S seeds that finished the same folds: N clips sorted by id, each tested once per seed.

    truth: (N,) class indices or (N, K) ratings. values: (S, N, K), what was predicted. missing: runs that were asked
    for and do not count. unused: finished runs of seeds that lack a fold, left out because their clips would weigh more
    than those of the others.
    """

    target: TargetSpec
    seeds: tuple[int, ...]
    folds: tuple[int, ...]
    clip_ids: Texts
    subjects: Texts
    truth: NDArray[Any]
    values: Floats
    missing: tuple[Missing, ...]
    unused: tuple[Run, ...]

    @property
    def n_subjects(self) -> int:
        return len(np.unique(self.subjects))

    @property
    def primary(self) -> Metric:
        """The metric that heads its report."""
        return METRICS[self.target.kind][self.target.primary]

    def all_seeds(self) -> Scored:
        """Each clip once per seed: a score of these rows is the mean over seeds, or nearly so (docs/reference)."""
        n_seeds = len(self.seeds)
        return Scored(
            np.concatenate([self.truth] * n_seeds),
            self.values.reshape(-1, self.values.shape[2]),
            np.tile(self.subjects, n_seeds),
        )

    def of_seed(self, seed: int) -> Scored:
        return Scored(self.truth, self.values[self.seeds.index(seed)], self.subjects)

    def ensemble(self) -> Scored:
        """The seeds as one model: mean of what they predicted."""
        return Scored(self.truth, self.values.mean(axis=0), self.subjects)

    def at(self, positions: NDArray[np.integer]) -> Tested:
        """The same of some clips only."""
        return replace(
            self,
            clip_ids=self.clip_ids[positions],
            subjects=self.subjects[positions],
            truth=self.truth[positions],
            values=self.values[:, positions],
        )


def on_shared_clips(a: Tested, b: Tested) -> tuple[Tested, Tested]:
    """Both, of the clips that both were tested on; of none where they share none."""
    _, in_a, in_b = np.intersect1d(a.clip_ids, b.clip_ids, assume_unique=True, return_indices=True)
    return a.at(in_a), b.at(in_b)


def read_tested(series: Series) -> Tested:
    """The test clips of all seeds that finished as many folds as any seed did.

    Raises MienError where no run is finished yet, or where two runs contradict each other; DamagedError as
    `read_test_sides` does.
    """
    target = series.target
    on_disk = {(run.seed, run.fold) for run in series.runs()}
    asked = {(seed, fold) for seed in series.experiment.execution.seeds for fold in _folds_asked(series)}
    runs = {key: series.run(*key) for key in sorted(asked | on_disk)}
    tested, missing = read_test_sides(runs, target)
    if not tested:
        raise MienError(
            f"{series.folder}: no finished run to report on; `mien train {series.folder}/experiment.json` goes on"
        )
    folds_of = {seed: tuple(fold for s, fold in tested if s == seed) for seed, _ in tested}
    folds = max(folds_of.values(), key=len)
    seeds = tuple(seed for seed in folds_of if folds_of[seed] == folds)
    unused = tuple(runs[key] for key in tested if key[0] not in seeds)
    return replace(stack(series.folder, target, tested, seeds, folds), missing=missing, unused=unused)


def read_test_sides(
    runs: Mapping[tuple[int, int], Run], target: TargetSpec
) -> tuple[dict[tuple[int, int], Predicted], tuple[Missing, ...]]:
    """The test side of each run by seed and fold, and those that do not count. Raises DamagedError for a finished run
    whose files are not what was written: leaving it out would give other numbers than before."""
    missing: list[Missing] = []
    tested: dict[tuple[int, int], Predicted] = {}
    for (seed, fold), run in runs.items():
        reason = why_missing(run)
        if not reason:
            predicted = read_predictions(run, target, "test")
            if np.isfinite(predicted.values).all():
                tested[seed, fold] = predicted
            else:
                reason = "diverged: it predicts what is not a number"
        if reason:
            missing.append(Missing(seed, fold, reason))
    return tested, tuple(missing)


def stack(
    folder: Folder,
    target: TargetSpec,
    tested: Mapping[tuple[int, int], Predicted],
    seeds: tuple[int, ...],
    folds: tuple[int, ...],
) -> Tested:
    """Folds pooled, seeds stacked; all of these must be there. folder: named where two of them contradict."""
    pooled = [_pool(folder, [tested[seed, fold] for fold in folds]) for seed in seeds]
    first = pooled[0]
    for seed, other in zip(seeds, pooled, strict=True):
        if not (np.array_equal(other.clip_ids, first.clip_ids) and is_same_truth(other.truth, first.truth)):
            raise MienError(
                f"{folder}: seeds {seeds[0]} and {seed} were tested on different clips, though their "
                "folds are the same; delete the older of the two seed folders and train again"
            )
    return Tested(
        target=target,
        seeds=seeds,
        folds=folds,
        clip_ids=first.clip_ids,
        subjects=first.subjects,
        truth=first.truth,
        values=np.stack([p.values for p in pooled]),
        missing=(),
        unused=(),
    )


def is_same_truth(one: NDArray[Any], other: NDArray[Any]) -> bool:
    """Whether two truths are equal, missing ratings in the same places."""
    return np.array_equal(one, other, equal_nan=one.dtype.kind == "f")


def n_relabelled(one: Tested, other: Tested) -> int:
    """Clips whose truth is not the same in both, which hold the same clips."""
    differs = (one.truth != other.truth) & ~(np.isnan(one.truth) & np.isnan(other.truth))
    return int(np.sum(differs.reshape(len(differs), -1).any(axis=1)))


def why_missing(run: Run) -> str | None:
    """Why a run on disk cannot be read yet; None where it can."""
    if not run.is_done:
        if not run.folder.names():
            return "not started"
        n_epochs = len(run.history())
        return f"not finished: stopped after epoch {n_epochs}" if n_epochs else "not finished: no epoch done"
    return None


def _folds_asked(series: Series) -> range | tuple[int, ...]:
    """The folds that an experiment asks for. Under loso the clips decide how many; those on disk must do."""
    experiment = series.experiment
    if experiment.execution.only_folds:
        return experiment.execution.only_folds
    if experiment.protocol.kind == "leave-one-corpus-out":
        return range(len(experiment.data.corpora))
    return range(experiment.protocol.n_folds or 0)


def _pool(folder: Folder, folds: list[Predicted]) -> Predicted:
    """Folds one after the other, sorted by clip."""
    clip_ids = np.concatenate([fold.clip_ids for fold in folds])
    order = np.argsort(clip_ids, kind="stable")
    twice = np.flatnonzero(clip_ids[order][1:] == clip_ids[order][:-1])
    if twice.size:
        raise MienError(
            f"{folder}: {clip_ids[order][twice[0]]} is tested in two folds; delete the seed-* folders there and train "
            "again"
        )
    return Predicted(*(np.concatenate(column)[order] for column in zip(*folds, strict=True)))
