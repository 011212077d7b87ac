"""Outcomes: what the finished runs of a Series said of their test clips, folds pooled, seeds apart."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from mien.errors import MienError
from mien.folder import Folder
from mien.results.intervals import Scored
from mien.results.metrics import Floats, Ints
from mien.results.run import Run, Series

Texts = NDArray[np.str_]
NEEDED = ("predictions.parquet", "metrics.json", "split.json", "environment.json")  # of a run, for its report


class Missing(NamedTuple):
    """A run that does not count, and why."""

    seed: int
    fold: int
    reason: str


class Predicted(NamedTuple):
    """One side of one run, N clips sorted by id. probabilities: (N, K)."""

    clip_ids: Texts
    subjects: Texts
    truth: Ints
    probabilities: Floats


@dataclass(frozen=True, slots=True, eq=False)
class Outcomes:
    """Test clips of S seeds that finished the same folds: N clips sorted by id, each tested once a seed.

    probabilities: (S, N, K). missing: runs that were asked for and do not count. unused: finished runs of
    seeds that lack a fold, left out because their clips would weigh more than those of the others.
    """

    seeds: tuple[int, ...]
    folds: tuple[int, ...]
    classes: tuple[str, ...]
    clip_ids: Texts
    subjects: Texts
    truth: Ints
    probabilities: Floats
    missing: tuple[Missing, ...]
    unused: tuple[Run, ...]

    @property
    def n_subjects(self) -> int:
        return len(np.unique(self.subjects))

    def all_seeds(self) -> Scored:
        """Each clip once a seed: a score of these rows is the mean over seeds (nearly so for F1 and ECE)."""
        n_seeds = len(self.seeds)
        return Scored(
            np.tile(self.truth, n_seeds),
            self.probabilities.reshape(-1, len(self.classes)),
            np.tile(self.subjects, n_seeds),
        )

    def of_seed(self, seed: int) -> Scored:
        return Scored(self.truth, self.probabilities[self.seeds.index(seed)], self.subjects)

    def ensemble(self) -> Scored:
        """The seeds as one model: mean of their probabilities."""
        return Scored(self.truth, self.probabilities.mean(axis=0), self.subjects)

    def at(self, positions: NDArray[np.integer]) -> Outcomes:
        """The same of some clips only."""
        return replace(
            self,
            clip_ids=self.clip_ids[positions],
            subjects=self.subjects[positions],
            truth=self.truth[positions],
            probabilities=self.probabilities[:, positions],
        )


def on_shared_clips(a: Outcomes, b: Outcomes) -> tuple[Outcomes, Outcomes]:
    """Both, of the clips that both were tested on; of none where they share none."""
    _, in_a, in_b = np.intersect1d(a.clip_ids, b.clip_ids, assume_unique=True, return_indices=True)
    return a.at(in_a), b.at(in_b)


def read_outcomes(series: Series) -> Outcomes:
    """The outcomes of all seeds that finished as many folds as any seed did.

    Raises MienError where no run is finished yet, or where two runs contradict each other.
    """
    classes = tuple(series.data["classes"])
    on_disk = {(run.seed, run.fold) for run in series.runs()}
    asked = {(seed, fold) for seed in series.experiment.execution.seeds for fold in _folds_asked(series)}
    runs = {key: series.run(*key) for key in sorted(asked | on_disk)}
    tested, missing = read_tested(runs, classes)
    if not tested:
        raise MienError(
            f"{series.folder}: no finished run to report on; `mien train {series.folder}/experiment.json` goes on"
        )
    folds_of = {seed: tuple(fold for s, fold in tested if s == seed) for seed, _ in tested}
    folds = max(folds_of.values(), key=len)
    seeds = tuple(seed for seed in folds_of if folds_of[seed] == folds)
    unused = tuple(runs[key] for key in tested if key[0] not in seeds)
    return replace(stack(series.folder, tested, seeds, folds, classes), missing=missing, unused=unused)


def read_tested(
    runs: Mapping[tuple[int, int], Run], classes: tuple[str, ...]
) -> tuple[dict[tuple[int, int], Predicted], tuple[Missing, ...]]:
    """The test side of each run by seed and fold, and those that do not count."""
    missing: list[Missing] = []
    tested: dict[tuple[int, int], Predicted] = {}
    for (seed, fold), run in runs.items():
        reason = why_missing(run)
        if not reason:
            predicted = read_predicted(run, "test", classes)
            if np.isfinite(predicted.probabilities).all():
                tested[seed, fold] = predicted
            else:
                reason = "diverged: it predicts what is not a number"
        if reason:
            missing.append(Missing(seed, fold, reason))
    return tested, tuple(missing)


def stack(
    folder: Folder,
    tested: Mapping[tuple[int, int], Predicted],
    seeds: tuple[int, ...],
    folds: tuple[int, ...],
    classes: tuple[str, ...],
) -> Outcomes:
    """Folds pooled, seeds stacked; all of these must be there. folder: named where two of them contradict."""
    pooled = [_pool(folder, [tested[seed, fold] for fold in folds]) for seed in seeds]
    first = pooled[0]
    for seed, other in zip(seeds, pooled, strict=True):
        if not (np.array_equal(other.clip_ids, first.clip_ids) and np.array_equal(other.truth, first.truth)):
            raise MienError(
                f"{folder}: seeds {seeds[0]} and {seed} were tested on different clips, though their "
                "folds are the same; delete the older of the two seed folders and train again"
            )
    return Outcomes(
        seeds=seeds,
        folds=folds,
        classes=classes,
        clip_ids=first.clip_ids,
        subjects=first.subjects,
        truth=first.truth,
        probabilities=np.stack([p.probabilities for p in pooled]),
        missing=(),
        unused=(),
    )


def read_predicted(run: Run, side: str, classes: tuple[str, ...]) -> Predicted:
    """What a finished run said of its "validation" or "test" clips. MienError if its classes are others."""
    table = run.predictions()
    columns = [f"p_{name}" for name in classes]
    lacking = {"clip_id", "subject", "side", "truth", *columns} - set(table.column_names)
    if lacking:
        raise MienError(
            f"{run.folder}: predictions.parquet lacks {', '.join(sorted(lacking))}; delete this folder and train again"
        )
    rows = np.flatnonzero(_column(table, "side").astype(str) == side)
    rows = rows[np.argsort(_column(table, "clip_id")[rows].astype(str), kind="stable")]
    return Predicted(
        _column(table, "clip_id")[rows].astype(str),
        _column(table, "subject")[rows].astype(str),
        _column(table, "truth")[rows].astype(np.int64),
        np.stack([_column(table, name)[rows] for name in columns], axis=1).astype(np.float64),
    )


def why_missing(run: Run) -> str | None:
    """Why a run on disk cannot be read yet; None where it can."""
    if not run.is_done:
        if not run.folder.names():
            return "not started"
        n_epochs = len(run.history())
        return f"not finished: stopped after epoch {n_epochs}" if n_epochs else "not finished: no epoch done"
    lacking = [name for name in NEEDED if not run.folder.exists(name)]
    return f"damaged: {' and '.join(lacking)} missing" if lacking else None


def _folds_asked(series: Series) -> range | tuple[int, ...]:
    """The folds that an experiment asks for. Under loso the clips decide how many; those on disk must do."""
    experiment = series.experiment
    if experiment.execution.only_folds:
        return experiment.execution.only_folds
    if experiment.protocol.kind == "leave-one-corpus-out":
        return range(len(experiment.data.corpora))
    return range(0 if experiment.protocol.kind == "loso" else experiment.protocol.folds)


def _pool(folder: Folder, folds: list[Predicted]) -> Predicted:
    """Folds one after the other, sorted by clip."""
    clip_ids = np.concatenate([fold.clip_ids for fold in folds])
    order = np.argsort(clip_ids, kind="stable")
    clip_ids = clip_ids[order]
    twice = np.flatnonzero(clip_ids[1:] == clip_ids[:-1])
    if twice.size:
        raise MienError(
            f"{folder}: {clip_ids[twice[0]]} is tested in two folds; delete the seed-* folders there and train again"
        )
    return Predicted(
        clip_ids,
        np.concatenate([fold.subjects for fold in folds])[order],
        np.concatenate([fold.truth for fold in folds])[order],
        np.concatenate([fold.probabilities for fold in folds])[order],
    )


def _column(table: Any, name: str) -> NDArray[Any]:
    return table.column(name).to_numpy(zero_copy_only=False)
