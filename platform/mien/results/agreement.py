"""Metrics of dimensions: how far predictions agree with ratings. All formulas: docs/reference/metrics.md.

`ccc`, `pearson`, `rmse` and `mae` take two series of numbers, (N,) each. As metrics (`CCC`, ...) they take (N, K), K
dimensions, and are the mean over those that were rated at all: a dimension without a rating has no score, and one whose
score is not defined (a constant prediction has no correlation) leaves the mean undefined as well.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mien.results.scoring import Floats, Ints, Metric, ratio, score, sums_by_group

_N, _T, _P, _TT, _PP, _TP, _OFF, _SQUARE, _ABSOLUTE = range(9)  # the last axis of the sums
_CONSTANT = 1e-18, 1e-12  # a variance up to this, or to this share of the mean square, is what rounding leaves


def ccc(truth: ArrayLike, prediction: ArrayLike) -> float:
    """Concordance correlation of two series, in [-1, 1].

    2 cov(t, p) / (var t + var p + (mean t - mean p)²), Lin 1989, population moments. A constant prediction of
    a truth that varies has 0. NaN where both are constant and equal, or shorter than 2.

    >>> round(ccc([0, 1, 2], [0, 1, 1]), 6)
    0.666667
    """
    return score(CCC, *_columns(truth, prediction))


def pearson(truth: ArrayLike, prediction: ArrayLike) -> float:
    """Pearson's correlation, cov(t, p) / (sd t · sd p), in [-1, 1]; NaN if one is constant or shorter than 2.

    >>> round(pearson([0, 1, 2], [0, 1, 1]), 6)
    0.866025
    """
    return score(PEARSON, *_columns(truth, prediction))


def rmse(truth: ArrayLike, prediction: ArrayLike) -> float:
    """Root of the mean squared error, in units of the truth, 0 or more.

    >>> rmse([0, 0], [3, 3])
    3.0
    """
    return score(RMSE, *_columns(truth, prediction))


def mae(truth: ArrayLike, prediction: ArrayLike) -> float:
    """Mean absolute error, in units of the truth, 0 or more.

    >>> mae([0, 0], [1, 3])
    2.0
    """
    return score(MAE, *_columns(truth, prediction))


def _columns(truth: ArrayLike, prediction: ArrayLike) -> tuple[Floats, Floats]:
    """Two series as (N, 1)."""
    t, p = np.asarray(truth, np.float64), np.asarray(prediction, np.float64)
    if t.ndim != 1 or t.shape != p.shape:
        raise ValueError(f"truth {t.shape} and prediction {p.shape}: expected two series of one length")
    return t[:, None], p[:, None]


def _moments(truth: Floats, prediction: Floats, group: Ints, n_groups: int) -> Floats:
    """(n_groups, K, 9): n, Σt, Σp, Σt², Σp², Σtp, Σ(t-p), Σ(t-p)², Σ|t-p| of each dimension's rated rows.

    The first six are about the means of all rows, so that nothing is lost where a mean is large beside its spread.
    """
    by_dimension = []
    for t, p in zip(truth.T, prediction.T, strict=True):
        rated = ~np.isnan(t)
        t, p = t[rated], p[rated]
        off = t - p
        t, p = (x - (x.mean() if len(x) else 0.0) for x in (t, p))
        columns = (None, t, p, t * t, p * p, t * p, off, off * off, np.abs(off))
        by_dimension.append(sums_by_group(group[rated], n_groups, *columns))
    return np.stack(by_dimension, axis=1)


def _ccc(moments: Floats) -> Floats:
    var_t, var_p, covariance = _second_moments(moments)
    off = ratio(moments[..., _OFF], moments[..., _N])
    return _mean_rated(_of_two_or_more(ratio(2 * covariance, var_t + var_p + off**2), moments), moments)


def _pearson(moments: Floats) -> Floats:
    var_t, var_p, covariance = _second_moments(moments)
    found = ratio(covariance, np.sqrt(var_t * var_p))
    found = np.where((var_t > 0) & (var_p > 0), found, np.nan)
    return _mean_rated(_of_two_or_more(found, moments), moments)


def _rmse(moments: Floats) -> Floats:
    return _mean_rated(np.sqrt(ratio(moments[..., _SQUARE], moments[..., _N])), moments)


def _mae(moments: Floats) -> Floats:
    return _mean_rated(ratio(moments[..., _ABSOLUTE], moments[..., _N]), moments)


def _second_moments(moments: Floats) -> tuple[Floats, Floats, Floats]:
    """Variances of truth and prediction, and their covariance; a variance that is no more than rounding is 0."""
    n, mean_t, mean_p = (ratio(moments[..., i], moments[..., _N]) for i in (_N, _T, _P))
    variances = []
    for square, mean in ((moments[..., _TT], mean_t), (moments[..., _PP], mean_p)):
        mean_square = ratio(square, moments[..., _N])
        variance = mean_square - mean**2
        least, share = _CONSTANT
        variances.append(np.where(variance > least + share * mean_square, variance, 0.0))
    covariance = ratio(moments[..., _TP], moments[..., _N]) - mean_t * mean_p
    is_constant = (variances[0] == 0) | (variances[1] == 0)
    return variances[0], variances[1], np.where(is_constant & ~np.isnan(n), 0.0, covariance)


def _of_two_or_more(values: Floats, moments: Floats) -> Floats:
    return np.where(moments[..., _N] >= 2, values, np.nan)


def _mean_rated(values: Floats, moments: Floats) -> Floats:
    """(...,) of (..., K): mean over the dimensions that have a rating."""
    rated: NDArray[np.bool_] = moments[..., _N] > 0
    return ratio(np.where(rated, values, 0).sum(axis=-1), rated.sum(axis=-1))


CCC = Metric(_moments, _ccc, "CCC", higher_is_better=True, best=1.0, worst=-1.0)
PEARSON = Metric(_moments, _pearson, "Pearson's r", higher_is_better=True, best=1.0, worst=-1.0)
RMSE = Metric(_moments, _rmse, "RMSE", higher_is_better=False, best=0.0, worst=2.0)
MAE = Metric(_moments, _mae, "MAE", higher_is_better=False, best=0.0, worst=2.0)
