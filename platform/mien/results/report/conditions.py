"""The test clips of a series as its runs predicted them under each condition, folds pooled, seeds apart."""

from __future__ import annotations

import numpy as np

from mien.errors import MienError
from mien.results.conditions import Condition, Conditioned, read_conditions
from mien.results.intervals import Scored
from mien.results.report.tested import Tested
from mien.results.run import Series

AsTested = dict[Condition, Conditioned]  # values (S, N, K), within (S, N, J) or None, clips in the order of Tested


def read_as_tested(series: Series, tested: Tested) -> AsTested:
    """The conditions that all runs of a series were asked under; none where a run was not asked, or by an older
    mien."""
    by_seed: list[AsTested] = []
    for seed in tested.seeds:
        clip_ids, folds = [], []
        for fold in tested.folds:
            read = read_conditions(series.run(seed, fold), tested.target)
            if read is None:
                return {}
            clip_ids.append(read[0])
            folds.append(read[1])
        order = np.argsort(np.concatenate(clip_ids), kind="stable")
        if not np.array_equal(np.concatenate(clip_ids)[order], tested.clip_ids):
            raise MienError(
                f"{series.folder}: conditions.parquet of seed {seed} is not of its test clips; delete the folder "
                f"seed-{seed} there and train again"
            )
        asked = [condition for condition in folds[0] if all(condition in fold for fold in folds)]
        by_seed.append({condition: _pooled([fold[condition] for fold in folds], order) for condition in asked})
    return {
        condition: _stacked([of_seed[condition] for of_seed in by_seed])
        for condition in by_seed[0]
        if all(condition in of_seed for of_seed in by_seed)
    }


def scored(tested: Tested, one: Conditioned) -> Scored:
    """Each clip once per seed, as `Tested.all_seeds`."""
    n_seeds = len(tested.seeds)
    truth = np.concatenate([tested.truth] * n_seeds)
    return Scored(truth, one.values.reshape(-1, one.values.shape[-1]), np.tile(tested.subjects, n_seeds))


def _pooled(folds: list[Conditioned], order: np.ndarray) -> Conditioned:
    values = np.concatenate([fold.values for fold in folds])[order]
    within = [fold.within for fold in folds if fold.within is not None]
    return Conditioned(values, np.concatenate(within)[order] if within else None)


def _stacked(seeds: list[Conditioned]) -> Conditioned:
    within = [seed.within for seed in seeds if seed.within is not None]
    return Conditioned(np.stack([seed.values for seed in seeds]), np.stack(within) if within else None)
