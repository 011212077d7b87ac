"""Intervals of metrics over subjects, and the difference of two models over the same subjects.

A score of many clips of few people is taken apart into one number per subject, whose mean is the score
(`subject_values`). The interval is Student's t interval of those numbers, the test of a difference flips their signs.
Both were chosen by simulation, against bootstraps: docs/explanation/evaluation.md, tests/benchmarks/test_intervals.py.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mien.errors import ExperimentError
from mien.results.scoring import Floats, Metric, checked_rows, is_defined, score

N_FLIPS = (
    9_999  # draws where not all flips are tried: a p of 0.05 then errs by 0.002 (Winkler et al. 2014, 5,000 or more)
)
MOST_FLIPPED = 12  # subjects up to which all 2^n flips are tried
NO_SPREAD = 1e-9  # subjects whose numbers differ by no more than this do not differ


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
    n_subjects: int


def subject_interval(scored: Scored, metric: Metric, level: float = 0.95) -> tuple[float, float]:
    """Interval of a metric, had other people of the same kind been tested: (low, high), within the metric's ends.

    mean ± t(n - 1) · sd / √n of the n subjects' values: the jackknife over whole subjects (Tukey 1958; Efron &
    Tibshirani 1993, chapter 11) with the quantile of t, which few clusters need (Cameron, Gelbach & Miller 2008). An
    interval over clips would be too narrow, because the clips of one person are alike. The mean is the score, but for a
    metric whose score of few rows is biased (`Metric.corrected`).

    NaN where there is nothing to tell from: one subject, or subjects that do not differ at all (where everybody is
    recognised always, the interval would have no width, and that would be a lie).

    level: the share of such intervals that should hold the true value.
    """
    low, high = t_interval(subject_values(scored, metric), level)
    value = score(metric, scored.truth, scored.prediction)
    ends = metric.best, metric.worst, value  # an error has no upper end of its own
    return max(low, min(ends)), min(high, max(ends))


def subject_difference(a: Scored, b: Scored, metric: Metric, level: float = 0.95) -> Difference:
    """Difference of two models on the same clips, subject by subject.

    Pairing takes out how hard each person is, so it sees differences that two intervals side by side hide. The
    interval is that of `subject_interval`, of the subjects' differences. The p-value is that of the sign-flip test on
    the same numbers (Fisher 1935; Winkler et al. 2014): how often would a sum as large come about if the difference of
    each subject might as well have had the other sign? All 2^n flips up to 12 subjects, beyond that 9,999 drawn by a
    fixed seed.

    Nearly always p < 1 - level where the interval leaves out 0, and not elsewhere. They may disagree where p is close
    to that, and always below six subjects: no p there is below 2 / 2^5 = 0.0625, whatever the interval.

    Raises ExperimentError where a and b were not tested on the same subjects. With one subject: NaN.
    """
    apart = np.setxor1d(a.subjects, b.subjects)
    if apart.size:
        raise ExperimentError(
            f"two models tested on different people ({', '.join(map(str, apart[:3]))} by one of them only) "
            "cannot be paired: compare runs of the same data and the same protocol"
        )
    value = score(metric, a.truth, a.prediction) - score(metric, b.truth, b.prediction)
    values = subject_values(a, metric) - subject_values(b, metric)
    return Difference(value, *t_interval(values, level), sign_flip_p(values), len(values))


def subject_values(scored: Scored, metric: Metric) -> Floats:
    """(n,) numbers, one per subject in the order of their names, whose mean is the score and whose spread is its error.

    score + (n - 1) · (mean of the scores without one subject - score without this one): jackknife pseudo-values, moved
    so that their mean is the score itself. For an accuracy of subjects with as many clips each they are the subjects'
    own accuracies; for a ratio of sums, such as UAR, they say what each subject does to the pooled score, so a subject
    may lack a class. Rows of several seeds of a clip go in together, so seeds do not count as people.

    NaN, all of them, where the score or one without a subject is not defined.
    """
    truth, prediction = checked_rows(scored.truth, scored.prediction)
    people, person = np.unique(scored.subjects, return_inverse=True)
    if len(person) != len(truth):
        raise ValueError(f"{len(person)} subjects for {len(truth)} rows")
    n = len(people)
    if not is_defined(prediction):
        return np.full(n, math.nan)
    return values_of_sums(metric.sums(truth, prediction, person, n).astype(np.float64), metric)


def jackknifed(
    value: Callable[[NDArray[np.bool_]], float], subjects: ArrayLike, level: float = 0.95
) -> tuple[float, float, float]:
    """A number that is no function of sums, such as an AUROC, and its `subject_interval`: (value, low, high).

    value: of those of the N rows that are True.
    """
    people, person = np.unique(subjects, return_inverse=True)
    n = len(people)
    whole = value(np.ones(len(person), bool))
    without = np.array([value(person != i) for i in range(n)]) if n > 1 else np.full(n, math.nan)
    return whole, *t_interval(whole + (n - 1) * (without.mean() - without), level)


def values_of_sums(sums: NDArray[Any], metric: Metric) -> Floats:
    """`subject_values` of the sums of n subjects, (n, ...)."""
    n = len(sums)
    if n < 2:
        return np.full(n, math.nan)
    if metric.corrected is None:
        total = sums.sum(axis=0)
        whole, without = metric.value(total[None])[0], metric.value(total - sums)
    else:
        whole = metric.corrected(sums)
        without = np.array([metric.corrected(np.delete(sums, i, axis=0)) for i in range(n)])
    values: Floats = whole + (n - 1) * (without.mean() - without)
    return values if np.isfinite(values).all() else np.full(n, math.nan)


def sign_flip_p(values: Floats) -> float:
    """Two-sided p-value of a mean of 0: the share of sign flips whose sum is as far from 0; the sample counts as one.

    >>> sign_flip_p(np.array([0.1, 0.2, 0.1, 0.3, 0.2]))
    0.0625
    """
    n = len(values)
    if n < 2 or np.isnan(values).any():
        return math.nan
    found = abs(values.sum()) - NO_SPREAD  # rounding must not part equals
    if n <= MOST_FLIPPED:
        flipped = _all_flips(n) @ values
        return float(np.mean(np.abs(flipped) >= found))
    draws = np.random.default_rng(0)
    as_far = 0
    for n_drawn in (1_000,) * (N_FLIPS // 1_000) + (N_FLIPS % 1_000,):  # a part at a time: subjects may be many
        signs = draws.integers(0, 2, (n_drawn, n), dtype=np.int8) * 2 - 1
        as_far += int(np.sum(np.abs(signs @ values) >= found))
    return (as_far + 1) / (N_FLIPS + 1)


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


def t_interval(values: Floats, level: float = 0.95) -> tuple[float, float]:
    """mean ± t(n - 1) · sd / √n of the values of n subjects; NaN of one, and where they do not differ."""
    n = len(values)
    if n < 2 or np.isnan(values).any() or np.ptp(values) <= NO_SPREAD:
        return math.nan, math.nan
    reach = t_quantile(n - 1, level) * float(np.std(values, ddof=1)) / math.sqrt(n)
    return float(values.mean()) - reach, float(values.mean()) + reach


@cache
def t_quantile(df: int, level: float) -> float:
    """The t with P(|T| < t) = level, of Student's t with df degrees of freedom; scipy is not needed to read results.

    Bisection of the closed form for whole df, Abramowitz & Stegun 1964, 26.7.3 and 26.7.4.

    >>> round(t_quantile(4, 0.95), 4)
    2.7764
    """
    below, above = 0.0, math.pi / 2  # of the angle whose tangent is t / √df
    while (middle := (below + above) / 2) not in (below, above):
        below, above = (middle, above) if _t_within(middle, df) < level else (below, middle)
    return math.sqrt(df) * math.tan(middle)


def _t_within(angle: float, df: int) -> float:
    """P(|T| < √df · tan angle)."""
    sine, cosine = math.sin(angle), math.cos(angle)
    total, term = 0.0, cosine if df % 2 else 1.0
    for power in range(df % 2, df - 1, 2):
        total += term
        term *= cosine**2 * (power + 1) / (power + 2)
    return 2 / math.pi * (angle + sine * total) if df % 2 else sine * total


@cache
def _all_flips(n: int) -> Floats:
    """(2^n, n) of 1 and -1."""
    return np.where(np.arange(2**n)[:, None] >> np.arange(n) & 1, -1.0, 1.0)
