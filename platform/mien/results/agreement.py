"""Metrics of valence and arousal in plain numpy. All formulas: docs/reference/metrics.md.

truth and prediction are two series of numbers, (N,) each; a metric that is not defined is NaN.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike

from mien.results.metrics import Floats


def ccc(truth: ArrayLike, prediction: ArrayLike) -> float:
    """Concordance correlation of two series, in [-1, 1].

    2 cov(t, p) / (var t + var p + (mean t - mean p)²), Lin 1989, population moments. A constant prediction of
    a truth that varies has 0. NaN where both are constant and equal, or shorter than 2.

    >>> round(ccc([0, 1, 2], [0, 1, 1]), 6)
    0.666667
    """
    t, p = _series(truth, prediction)
    if len(t) < 2:
        return math.nan
    spread = t.var() + p.var() + (t.mean() - p.mean()) ** 2
    return float(2 * _covariance(t, p) / spread) if spread else math.nan


def pearson(truth: ArrayLike, prediction: ArrayLike) -> float:
    """Pearson's correlation, cov(t, p) / (sd t · sd p), in [-1, 1]; NaN if one is constant or shorter than 2.

    >>> round(pearson([0, 1, 2], [0, 1, 1]), 6)
    0.866025
    """
    t, p = _series(truth, prediction)
    if len(t) < 2 or np.ptp(t) == 0 or np.ptp(p) == 0:
        return math.nan
    return float(_covariance(t, p) / (t.std() * p.std()))


def rmse(truth: ArrayLike, prediction: ArrayLike) -> float:
    """Root of the mean squared error, in units of the truth, 0 or more.

    >>> rmse([0, 0], [3, 3])
    3.0
    """
    t, p = _series(truth, prediction)
    return float(np.sqrt(np.mean((t - p) ** 2))) if len(t) else math.nan


def mae(truth: ArrayLike, prediction: ArrayLike) -> float:
    """Mean absolute error, in units of the truth, 0 or more.

    >>> mae([0, 0], [1, 3])
    2.0
    """
    t, p = _series(truth, prediction)
    return float(np.mean(np.abs(t - p))) if len(t) else math.nan


def _series(truth: ArrayLike, prediction: ArrayLike) -> tuple[Floats, Floats]:
    t, p = np.asarray(truth, np.float64), np.asarray(prediction, np.float64)
    if t.ndim != 1 or t.shape != p.shape:
        raise ValueError(f"truth {t.shape} and prediction {p.shape}: expected two series of one length")
    return t, p


def _covariance(t: Floats, p: Floats) -> np.float64:
    return np.mean((t - t.mean()) * (p - p.mean()))
