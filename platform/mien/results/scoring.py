"""Metric and score: a metric is a function of sums over rows, so that a group of rows is summed up only once.

A row is a clip, or a clip as one of several seeds predicted it. Of classes, truth is the class index of each row, (N,)
integers, and a prediction is (N, K) probabilities that sum to 1; metrics that only look at the class chosen (the
likeliest; the first of equals) also take it as (N,) indices. Of dimensions, truth and prediction are (N, K) numbers,
and truth is NaN where a dimension was not rated.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


class Metric(NamedTuple):
    """A score, and what it is called.

    sums: (truth, prediction, group, n_groups) to (n_groups, ...), to be added up over groups. value: the score of such
    sums, vectorised over leading axes. label: its name for people. best, worst: its ends; of an error without an upper
    end, that of the worst prediction on the scale of the truth, [-1, 1]. corrected: of a score that few rows bias,
    what it would be of many; of the sums of (n, ...) groups that are drawn as wholes.
    """

    sums: Callable[..., NDArray[Any]]
    value: Callable[[NDArray[Any]], Floats]
    label: str
    higher_is_better: bool
    best: float
    worst: float
    corrected: Callable[[NDArray[Any]], float] | None = None

    def is_better(self, one: float, other: float) -> bool:
        """Whether one score is strictly better than another; NaN is never better, and anything is better than NaN."""
        return self.key(one) > self.key(other)

    def key(self, value: float | None) -> float:
        """What scores are sorted by, the best highest; None and NaN come last."""
        if value is None or math.isnan(value):
            return -math.inf
        return value if self.higher_is_better else -value


def score(metric: Metric, truth: ArrayLike, prediction: ArrayLike) -> float:
    """A metric of some rows; NaN where it is not defined: no rows, or a prediction that is not finite."""
    truth, prediction = checked_rows(truth, prediction)
    if not is_defined(prediction):
        return math.nan
    sums = metric.sums(truth, prediction, np.zeros(len(truth), np.int64), 1)
    return float(metric.value(sums)[0])


def checked_rows(truth: ArrayLike, prediction: ArrayLike) -> tuple[NDArray[Any], NDArray[Any]]:
    """Both as arrays; ValueError where they do not fit each other."""
    t, p = np.asarray(truth), np.asarray(prediction)
    if t.ndim == 2:
        if t.shape != p.shape:
            raise ValueError(f"truth {t.shape} and prediction {p.shape}: expected (N, K) and (N, K)")
        return t.astype(np.float64), p.astype(np.float64)
    if t.ndim != 1 or p.ndim not in (1, 2) or len(t) != len(p):
        raise ValueError(f"truth {t.shape} and prediction {p.shape}: expected (N,) and (N,) or (N, K)")
    n_classes = p.shape[1] if p.ndim == 2 else math.inf
    if t.size and not 0 <= t.min() <= t.max() < n_classes:
        raise ValueError(f"truth holds classes {t.min()} to {t.max()} of {n_classes}: expected indices from 0")
    if p.ndim == 2 and is_defined(p):
        total = p.sum(axis=1)
        row = np.abs(total - 1).argmax()
        if abs(total[row] - 1) > 1e-3:
            raise ValueError(f"probabilities of row {row} sum to {total[row]:.4g}: are they logits?")
    return t.astype(np.int64), p


def is_defined(prediction: NDArray[Any]) -> bool:
    """Are there rows, and are all their numbers finite?"""
    return bool(len(prediction) and np.isfinite(prediction).all())


def sums_by_group(group: Ints, n_groups: int, *columns: Any) -> Floats:
    """(n_groups, len(columns)): each column summed up within each group; None counts rows."""
    return np.stack([np.bincount(group, column, n_groups) for column in columns], axis=-1)


def ratio(above: Any, below: Any) -> Floats:
    """Quotient; NaN where it is 0/0."""
    with np.errstate(invalid="ignore"):
        return np.true_divide(above, below)


def mean_defined(values: Floats) -> Floats:
    """Mean over the last axis of what is not NaN."""
    defined = ~np.isnan(values)
    return ratio(np.where(defined, values, 0).sum(axis=-1), defined.sum(axis=-1))
