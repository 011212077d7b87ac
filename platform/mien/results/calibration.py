"""Metrics of probabilities: NLL, Brier score, ECE and AURC, the diagrams behind them, and temperature scaling.

Arguments are those of `mien.results.scoring`, of classes. All formulas: docs/reference/metrics.md.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mien.results import uncertainty
from mien.results.scoring import Floats, Ints, Metric, checked_rows, is_defined, ratio, score, sums_by_group

N_BINS = 15  # Guo et al. 2017
SMALLEST_PROBABILITY = 1e-7  # about what float32 can tell from 0; bounds the NLL at 16.1
TEMPERATURES = (0.1, 10.0)  # clips that are all right, or all wrong, would have it at 0, or without end


def nll(truth: ArrayLike, probabilities: ArrayLike) -> float:
    """Negative log-likelihood of the truth in nats, in [0, 16.1]; ln K for guessing evenly.

    -1/N Σ ln p(truth), with p no smaller than 1e-7.

    >>> round(nll([0, 1], [[0.5, 0.5], [0.5, 0.5]]), 6)
    0.693147
    """
    return score(NLL, truth, probabilities)


def brier(truth: ArrayLike, probabilities: ArrayLike) -> float:
    """Brier score summed over classes, in [0, 2]; 1 - 1/K for guessing evenly.

    1/N Σ_i Σ_k (p_ik - y_ik)², Brier 1950. With two classes it is twice the one-column form.

    >>> brier([0, 1], [[1.0, 0.0], [1.0, 0.0]])
    1.0
    """
    return score(BRIER, truth, probabilities)


def ece(truth: ArrayLike, probabilities: ArrayLike) -> float:
    """Expected calibration error: how far confidence is from accuracy, in [0, 1].

    Σ_b n_b/N |accuracy_b - confidence_b| over 15 bins of equal width on the largest probability, Guo et al.
    2017. Biased upwards where bins hold few rows: compare models on the same rows only.

    >>> round(ece([0, 1], [[0.8, 0.2], [0.8, 0.2]]), 6)
    0.3
    """
    return score(ECE, truth, probabilities)


def aurc(truth: ArrayLike, probabilities: ArrayLike) -> float:
    """Area under the risk-coverage curve, in [0, 1]; 1 - accuracy for a confidence that says nothing.

    1/N Σ_n risk of the n most confident rows, Geifman et al. 2019.

    >>> aurc([0, 0], [[0.9, 0.1], [0.4, 0.6]])
    0.25
    """
    risk = risk_coverage(truth, probabilities)["risk"]
    return float(risk.mean()) if len(risk) else math.nan


def reliability(truth: ArrayLike, probabilities: ArrayLike) -> dict[str, NDArray[Any]]:
    """The diagram behind the ECE: mean confidence, accuracy and count of rows of each of 15 bins, (15,) each.

    Bins are of equal width from 0 to 1 on the largest probability; the means of an empty one are NaN.

    >>> reliability([0, 1], [[0.8, 0.2], [0.8, 0.2]])["accuracy"][11].item()
    0.5
    """
    truth, probabilities = checked_rows(truth, probabilities)
    n, confidence, right = _bins(truth, probabilities, np.zeros(len(truth), np.int64), 1)[0].T
    return {"confidence": ratio(confidence, n), "accuracy": ratio(right, n), "count": n.astype(np.int64)}


def risk_coverage(truth: ArrayLike, probabilities: ArrayLike) -> dict[str, Floats]:
    """The error that is left when the model may decline the rows that it is least sure of, (N,) each.

    coverage: share of rows answered, surest first, by the largest probability. risk: share of those that is
    wrong. El-Yaniv & Wiener 2010. Rows of equal confidence count with their mean error, so that their order
    does not matter.

    >>> risk_coverage([0, 0], [[0.9, 0.1], [0.4, 0.6]])["risk"].tolist()
    [0.0, 0.5]
    """
    truth, probabilities = checked_rows(truth, probabilities)
    if not is_defined(probabilities):
        n = len(truth)
        return {"coverage": np.arange(1, n + 1) / max(n, 1), "risk": np.full(n, math.nan)}
    return uncertainty.risk_coverage(-probabilities.max(axis=1), probabilities.argmax(axis=1) != truth)


def at_temperature(probabilities: ArrayLike, temperature: float) -> Floats:
    """The same probabilities, (N, K), less sure where the temperature is above 1 and surer below.

    p_k^(1/T) / Σ_j p_j^(1/T), Guo et al. 2017: the softmax of logits divided by T, which may be taken from
    probabilities as their logarithms, because a softmax forgets what all logits of a row have in common. No class
    chosen changes. A probability counts as 1e-7 at least. Raises ValueError where the temperature is not above 0.

    >>> at_temperature([[0.8, 0.2]], 2.0).round(4).tolist()
    [[0.6667, 0.3333]]
    """
    if not temperature > 0:
        raise ValueError(f"temperature {temperature}: must be above 0")
    return _softmax(_logits(probabilities) / temperature)


def fit_temperature(truth: ArrayLike, probabilities: ArrayLike) -> float | None:
    """The temperature at which the NLL of held-out clips is least, within 0.1 to 10, Guo et al. 2017.

    None where there is none: no rows, or a probability that is not finite. The NLL is convex in 1/T, so the least one
    found is the least there is.

    >>> round(fit_temperature([0, 0, 0, 1], [[0.9, 0.1]] * 4), 3)  # sure by 9:1, and right by 3:1
    2.0
    """
    from scipy.optimize import minimize_scalar

    truth, probabilities = checked_rows(truth, probabilities)
    if not is_defined(probabilities):
        return None
    logits, rows = _logits(probabilities), np.arange(len(truth))

    def loss(log_temperature: float) -> float:
        scaled = logits / math.exp(log_temperature)
        return float(np.mean(np.log(np.exp(scaled).sum(axis=1)) - scaled[rows, truth]))

    low, high = map(math.log, TEMPERATURES)
    return math.exp(minimize_scalar(loss, bounds=(low, high), method="bounded", options={"xatol": 1e-6}).x)


def _logits(probabilities: ArrayLike) -> Floats:
    """(N, K) of which these are the softmax, the largest of each row 0."""
    logs = np.log(np.clip(np.asarray(probabilities, np.float64), SMALLEST_PROBABILITY, 1))
    return logs - logs.max(axis=1, keepdims=True)


def _softmax(logits: Floats) -> Floats:
    exponents = np.exp(logits)
    return exponents / exponents.sum(axis=1, keepdims=True)


def _nll_sums(truth: Ints, probabilities: NDArray[Any], group: Ints, n_groups: int) -> Floats:
    p = probabilities[np.arange(len(truth)), truth]
    return sums_by_group(group, n_groups, -np.log(np.clip(p, SMALLEST_PROBABILITY, 1)), None)


def _brier_sums(truth: Ints, probabilities: NDArray[Any], group: Ints, n_groups: int) -> Floats:
    p = probabilities[np.arange(len(truth)), truth]
    return sums_by_group(group, n_groups, (probabilities**2).sum(axis=1) - 2 * p + 1, None)


def _mean(sums: Floats) -> Floats:
    return ratio(sums[..., 0], sums[..., 1])


def _bins(truth: Ints, probabilities: NDArray[Any], group: Ints, n_groups: int) -> Floats:
    """(n_groups, B, 3): rows, sum of confidence and number right in the bin (b/B, (b+1)/B]."""
    confidence = probabilities.max(axis=1)
    right = probabilities.argmax(axis=1) == truth
    cell = group * N_BINS + np.clip(np.ceil(confidence * N_BINS).astype(np.int64) - 1, 0, N_BINS - 1)
    return sums_by_group(cell, n_groups * N_BINS, None, confidence, right).reshape(n_groups, N_BINS, 3)


def _ece(bins: Floats) -> Floats:
    return ratio(np.abs(bins[..., 1] - bins[..., 2]).sum(axis=-1), bins[..., 0].sum(axis=-1))


def _corrected_ece(bins: Floats) -> float:
    """The ECE less what chance adds to it, of (n, B, 3) bins of n groups; not below 0.

    A gap g between confidence and accuracy that is known up to an error s is counted as |g + noise|, whose mean is that
    of a folded normal and larger than |g|: so much is taken off each bin's, Σ_b 2|g_b| - E|g_b + s_b·z|. The idea is
    that of Kumar, Liang & Ma 2019, whose s_b is that of independent rows; here it is the jackknife's over groups.
    """
    n = len(bins)
    total = bins.sum(axis=0)
    without = total - bins
    gaps = (total[:, 1] - total[:, 2]) / total[:, 0].sum()
    gaps_without = ratio(without[..., 1] - without[..., 2], without[..., 0].sum(axis=-1, keepdims=True))
    errors = np.sqrt((n - 1) * gaps_without.var(axis=0))
    noisy = errors > 0
    size, error = np.abs(gaps[noisy]), errors[noisy]
    erf = np.vectorize(math.erf, otypes=[float])(size / error / math.sqrt(2))
    folded = error * math.sqrt(2 / math.pi) * np.exp(-((size / error) ** 2) / 2) + size * erf
    return max(0.0, float(np.abs(gaps).sum() - (folded - size).sum()))


def _overconfidence(bins: Floats) -> Floats:
    return ratio((bins[..., 1] - bins[..., 2]).sum(axis=-1), bins[..., 0].sum(axis=-1))


NLL = Metric(_nll_sums, _mean, "NLL", higher_is_better=False, best=0.0, worst=-math.log(SMALLEST_PROBABILITY))
BRIER = Metric(_brier_sums, _mean, "Brier score", higher_is_better=False, best=0.0, worst=2.0)
ECE = Metric(_bins, _ece, "ECE", higher_is_better=False, best=0.0, worst=1.0, corrected=_corrected_ece)
# Which way the ECE errs: mean confidence minus accuracy. No score, because 0 is best: it chooses nothing and is not in
# METRICS.
OVERCONFIDENCE = Metric(_bins, _overconfidence, "Overconfidence", higher_is_better=False, best=-1.0, worst=1.0)
