"""Intervals of metrics over subjects, and the difference of two models over the same subjects.

Each subject is summed up once (`mien.results.scoring`), and a resample of subjects is one row of a matrix product.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from mien.errors import ExperimentError
from mien.results.scoring import Floats, Metric, checked_rows, is_defined, score


class Scored(NamedTuple):
    """What a model predicted of some clips, N rows; several seeds may stand in it, each with all its rows. truth and
    prediction as in `mien.results.scoring`."""

    truth: ArrayLike
    prediction: ArrayLike
    subjects: ArrayLike


class Difference(NamedTuple):
    """Score of a minus score of b, its interval, and the two-sided p-value of there being none. Of a metric whose lower
    values are the better ones, a negative difference is in favour of a."""

    value: float
    low: float
    high: float
    p_value: float


def subject_bootstrap(
    scored: Scored,
    metric: Metric,
    n_resamples: int = 1000,
    seed: int = 0,
    level: float = 0.95,
) -> tuple[float, float]:
    """Interval of a metric, had other people of the same kind been tested: (low, high).

    Cluster bootstrap, percentile interval: as many subjects as there are, drawn with replacement, each with
    all rows (Davison & Hinkley 1997, section 3.8; Field & Welsh 2007). An interval over clips would be too
    narrow, because the clips of one person are alike. With one subject there is nothing to tell from: NaN.

    level: the share of such intervals that should hold the true value.
    """
    scores = _resampled(scored, metric, n_resamples, seed)
    return _interval(scores, level)


def paired_subject_bootstrap(
    a: Scored, b: Scored, metric: Metric, n_resamples: int = 10_000, seed: int = 0, level: float = 0.95
) -> Difference:
    """Difference of two models on the same clips, over the same resamples of subjects.

    Pairing takes out how hard each person is, so it sees differences that two intervals side by side hide.
    The p-value is twice the share of resamples on the rarer side of 0, the sample itself counted in: where it
    is below 1 - level, the interval leaves out 0. It is never below 2 / (n_resamples + 1).

    Raises ExperimentError where a and b were not tested on the same subjects. With one subject: NaN.
    """
    apart = np.setxor1d(a.subjects, b.subjects)
    if apart.size:
        raise ExperimentError(
            f"two models tested on different people ({', '.join(map(str, apart[:3]))} by one of them only) "
            "cannot be paired: compare runs of the same data and the same protocol"
        )
    value = score(metric, a.truth, a.prediction) - score(metric, b.truth, b.prediction)
    scores = _resampled(a, metric, n_resamples, seed) - _resampled(b, metric, n_resamples, seed)
    if np.isnan(scores).any():
        return Difference(value, math.nan, math.nan, math.nan)
    rarer = min(np.sum(scores <= 0), np.sum(scores >= 0))
    p_value = min(1.0, 2 * float(rarer + 1) / (n_resamples + 1))
    return Difference(value, *_interval(scores, level), p_value)


def holm(p_values: Sequence[float]) -> list[float]:
    """p-values of several comparisons, adjusted so that all hold together (Holm 1979); NaN stays, and counts for none.

    >>> holm([0.01, 0.04, 0.03])
    [0.03, 0.06, 0.06]
    """
    adjusted = [math.nan] * len(p_values)
    ordered = sorted((i for i, p in enumerate(p_values) if not math.isnan(p)), key=lambda i: p_values[i])
    largest = 0.0
    for rank, i in enumerate(ordered):
        largest = max(largest, min(1.0, p_values[i] * (len(ordered) - rank)))
        adjusted[i] = largest
    return adjusted


def _resampled(model: Scored, metric: Metric, n_resamples: int, seed: int) -> Floats:
    """(n_resamples,) scores; the same seed draws the same subjects for every model tested on them."""
    truth, prediction = checked_rows(model.truth, model.prediction)
    people, person = np.unique(model.subjects, return_inverse=True)
    if len(person) != len(truth):
        raise ValueError(f"{len(person)} subjects for {len(truth)} rows")
    n = len(people)
    if n < 2 or not is_defined(prediction):
        return np.full(n_resamples, math.nan)
    sums = metric.sums(truth, prediction, person, n).astype(np.float64)
    times = np.random.default_rng(seed).multinomial(n, np.full(n, 1 / n), n_resamples)
    return metric.value((times @ sums.reshape(n, -1)).reshape(n_resamples, *sums.shape[1:]))


def _interval(scores: Floats, level: float) -> tuple[float, float]:
    low, high = np.quantile(scores, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)
