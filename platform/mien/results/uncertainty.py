"""Uncertainty of a prediction, taken apart: what no model could know of a clip, and what this one does not know.

Members are models of the same clips: the seeds of a fold (a deep ensemble, Lakshminarayanan, Pritzel & Blundell 2017),
or draws of dropout (Gal & Ghahramani 2016). aleatoric: what is left where all members are believed. epistemic: what
they do not agree about. Formulas: docs/reference/metrics.md.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mien.results.scoring import Floats

Bools = NDArray[np.bool_]


class Uncertainty(NamedTuple):
    """total = aleatoric + epistemic, of N clips: of classes (N,) in nats; of dimensions (N, K), variances."""

    total: Floats
    aleatoric: Floats
    epistemic: Floats


def entropy(probabilities: ArrayLike) -> Floats:
    """-Σ p ln p over the last axis, in nats, from 0 to ln K; 0 ln 0 is 0.

    >>> entropy([[0.5, 0.5], [1.0, 0.0]]).round(6).tolist()
    [0.693147, 0.0]
    """
    p = np.asarray(probabilities, np.float64)
    return np.abs(np.sum(p * np.log(np.where(p > 0, p, 1)), axis=-1))  # abs: no -0.0


def of_classes(members: Floats) -> Uncertainty:
    """Of (M, N, K) probabilities of M members: total H(mean p), aleatoric mean H(p), epistemic the difference, which is
    the mutual information of class and member (Depeweg et al. 2018)."""
    return of_means(members.mean(axis=0), entropy(members).mean(axis=0))


def of_means(mean: Floats, mean_entropy: Floats) -> Uncertainty:
    """The same, of the members' mean (N, K) and the mean of their entropies (N,)."""
    total = entropy(mean)
    epistemic = np.maximum(total - mean_entropy, 0)  # below it by rounding alone
    return Uncertainty(total, total - epistemic, epistemic)


def of_dimensions(between: Floats, residual: Floats) -> Uncertainty:
    """Of the variance between members (N, K) and the variance of what is left of the ratings (K,), which is taken for
    the same of every clip: no member says how much it may be off."""
    aleatoric = np.broadcast_to(residual, between.shape)
    return Uncertainty(between + aleatoric, np.array(aleatoric), between)


def residual_variance(truth: ArrayLike, predicted: ArrayLike) -> Floats:
    """(K,) mean squared error of each dimension, of clips that were not learned from; NaN of one that was not rated."""
    t, p = np.asarray(truth, np.float64), np.asarray(predicted, np.float64)
    rated = ~np.isnan(t)
    with np.errstate(invalid="ignore"):
        return np.where(rated, (t - p) ** 2, 0).sum(axis=0) / rated.sum(axis=0)


def auroc(uncertainty: ArrayLike, wrong: ArrayLike) -> float:
    """How well uncertainty tells wrong rows from right ones: the chance that a wrong one is the less sure of the two,
    ties count half (Hanley & McNeil 1982). 0.5 where it says nothing; NaN where all are right, or all are wrong.

    >>> auroc([0.1, 0.2, 0.9, 0.2], [False, False, True, True])
    0.875
    """
    is_wrong = np.asarray(wrong, bool)
    n_wrong = int(is_wrong.sum())
    n_right = len(is_wrong) - n_wrong
    if not n_wrong or not n_right or not np.isfinite(uncertainty).all():
        return math.nan
    below = _ranks(np.asarray(uncertainty, np.float64))[is_wrong].sum() - n_wrong * (n_wrong + 1) / 2
    return float(below / (n_wrong * n_right))


def spearman(one: ArrayLike, other: ArrayLike) -> float:
    """Correlation of ranks, ties with their mean rank; NaN where one does not vary.

    >>> spearman([1, 2, 3], [1, 4, 9])
    1.0
    """
    ranks = [_ranks(np.asarray(values, np.float64)) for values in (one, other)]
    if any(len(rank) < 2 or np.ptp(rank) == 0 for rank in ranks):
        return math.nan
    a, b = (rank - rank.mean() for rank in ranks)
    return float(a @ b / math.sqrt((a @ a) * (b @ b)))


def risk_coverage(uncertainty: ArrayLike, error: ArrayLike) -> dict[str, Floats]:
    """Mean error of the rows answered, surest first, (N,) each: coverage, their share, and risk (El-Yaniv & Wiener
    2010).

    Rows of equal uncertainty count with their mean error, so that their order does not matter.

    >>> risk_coverage([0.1, 0.6], [0, 1])["risk"].tolist()
    [0.0, 0.5]
    """
    error = np.asarray(error, np.float64)
    answered = np.arange(1, len(error) + 1)
    levels, level = np.unique(np.asarray(uncertainty), return_inverse=True)
    n_equal = np.bincount(level, minlength=len(levels))
    mean = np.bincount(level, error, len(levels)) / n_equal
    return {"coverage": answered / max(len(error), 1), "risk": np.cumsum(np.repeat(mean, n_equal)) / answered}


def _ranks(values: Floats) -> Floats:
    """From 1, the mean of their ranks where values are equal."""
    _, level, n_equal = np.unique(values, return_inverse=True, return_counts=True)
    last: NDArray[Any] = np.cumsum(n_equal)
    return (last - (n_equal - 1) / 2)[level]
