"""Importance: how much of the spread of the trials' scores each field of the space explains, and how sure that is."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from mien.experiment.space import Choice, Distribution, Range, as_optuna, optuna_value
from mien.results.scoring import Floats

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution

FEWEST_TRIALS = 10
N_REFITS = 20
N_TREES = 16  # of one forest; 20 forests on 20 resamples are the ensemble
LEVEL = 0.9
SEED = 0


class Importance(NamedTuple):
    """Share of the scores' variance that a field explains alone, in [0, 1], fANOVA (Hutter et al. 2014).

    value: mean over the refits; low, high: the middle 90 % of them. chance: what the same fit gives to this field in 95
    of 100 cases when the scores are dealt out at random: a value below it cannot be told from chance. None: not asked.
    """

    path: str
    value: float
    low: float
    high: float
    chance: float | None


def importances(
    points: Sequence[Mapping[str, Any]],
    scores: Sequence[float],
    space: Mapping[str, Distribution],
    *,
    n_refits: int = N_REFITS,
    with_chance: bool = True,
) -> list[Importance]:
    """The most important first; empty where the trials are fewer than FEWEST_TRIALS or all score the same.

    Each refit takes another resample of the trials, with replacement, and another seed of the forest: its range holds
    what both leave open. Ranges on a logarithmic scale are read on that scale.
    """
    values = np.asarray(scores, dtype=float)
    if len(values) < FEWEST_TRIALS or np.ptp(values) == 0:
        return []
    rng = np.random.default_rng(SEED)
    flat = {path: _flat(distribution) for path, distribution in space.items()}
    rows = [{path: optuna_value(flat[path], _on_flat(space[path], point[path])) for path in space} for point in points]
    distributions = {path: as_optuna(distribution) for path, distribution in flat.items()}
    found, by_chance = [], []
    for seed in range(n_refits):
        drawn = rng.integers(len(values), size=len(values))
        found.append(_fanova([rows[i] for i in drawn], values[drawn], distributions, seed))
        if with_chance:
            shuffled = rng.permutation(values)[drawn]
            by_chance.append(_fanova([rows[i] for i in drawn], shuffled, distributions, seed))
    tail = (1 - LEVEL) / 2
    ranked: list[Importance] = []
    for i, path in enumerate(space):
        refits = np.array([row[i] for row in found])
        if np.isfinite(refits).any():
            low, high = np.nanquantile(refits, [tail, 1 - tail])
            chance = float(np.nanquantile([row[i] for row in by_chance], 0.95)) if with_chance else None
            ranked.append(Importance(path, float(np.nanmean(refits)), float(low), float(high), chance))
    return sorted(ranked, key=lambda importance: -importance.value)


def encoded(distribution: Distribution, value: Any) -> float:
    """A value as a number on the scale of its distribution: the logarithm, or the place in a choice."""
    if isinstance(distribution, Choice):
        return distribution.values.index(value)
    return math.log10(value) if distribution.is_log else float(value)


def _flat(distribution: Distribution) -> Distribution:
    """The distribution as fANOVA reads it: it knows no logarithm, and cuts a range anywhere."""
    if isinstance(distribution, Choice):
        return distribution
    low, high = (encoded(distribution, end) for end in (distribution.low, distribution.high))
    return Range(low, high, is_log=False, is_integer=False)


def _on_flat(distribution: Distribution, value: Any) -> Any:
    """A value on the scale of `_flat`."""
    return value if isinstance(distribution, Choice) else encoded(distribution, value)


def _fanova(
    rows: Sequence[Mapping[str, Any]],
    scores: Floats,
    distributions: Mapping[str, BaseDistribution],
    seed: int,
) -> list[float]:
    """One fit, in the order of distributions; NaN where all scores drawn are the same."""
    import optuna
    from optuna.trial import create_trial

    if np.ptp(scores) == 0:
        return [math.nan] * len(distributions)
    level = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)  # "a new study is created", 40 times
    try:
        study = optuna.create_study()
        study.add_trials(
            [
                create_trial(params=dict(row), distributions=dict(distributions), value=float(score))
                for row, score in zip(rows, scores, strict=True)
            ]
        )
        evaluator = optuna.importance.FanovaImportanceEvaluator(n_trees=N_TREES, seed=seed)
        shares = evaluator.evaluate(study)
    finally:
        optuna.logging.set_verbosity(level)
    return [float(shares[path]) for path in distributions]
