"""Metrics in plain numpy. All formulas: docs/reference/metrics.md; their intervals: intervals.py.

truth is the class index of each row, (N,) integers. A prediction is (N, K) probabilities, a row a clip, that
sum to 1; metrics that only look at the class chosen (the likeliest; the first of equals) also take it as (N,)
indices. A metric that is not defined is NaN, never a guess: no rows, or a probability that is not finite
because the model diverged.

Every metric that has an interval is a function of sums over rows (METRICS), so that a group of rows is summed up
once however often it is drawn.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

N_BINS = 15  # Guo et al. 2017
N_COVERAGES = 20
SMALLEST_PROBABILITY = 1e-7  # about what float32 can tell from 0; bounds the NLL at 16.1


# ------------------------------------------------------------------ classification


def uar(truth: ArrayLike, prediction: ArrayLike) -> float:
    """Unweighted average recall, the usual score of the field, in [0, 1]; chance is 1/K.

    1/K Σ_k tp_k / (tp_k + fn_k), Schuller et al. 2009; elsewhere balanced accuracy or UA. The mean is over
    the classes that occur in truth: a class without rows has no recall.

    >>> uar([0, 0, 0, 1], [0, 0, 1, 1])
    0.8333333333333333
    """
    return score("uar", truth, prediction)


def wa(truth: ArrayLike, prediction: ArrayLike) -> float:
    """Weighted accuracy: share of rows that are right, in [0, 1]; elsewhere accuracy or WAR.

    >>> wa([0, 0, 0, 1], [0, 0, 1, 1])
    0.75
    """
    return score("wa", truth, prediction)


def macro_f1(truth: ArrayLike, prediction: ArrayLike) -> float:
    """Mean of the F1 of the classes that occur in truth, in [0, 1].

    F1_k = 2 tp_k / (2 tp_k + fp_k + fn_k); the mean of F1s and not the F1 of means, Opitz & Burst 2019.

    >>> macro_f1([0, 0, 0, 1], [0, 0, 1, 1])
    0.7333333333333334
    """
    return score("macro_f1", truth, prediction)


def nll(truth: ArrayLike, probabilities: ArrayLike) -> float:
    """Negative log-likelihood of the truth in nats, in [0, 16.1]; ln K for guessing evenly.

    -1/N Σ ln p(truth), with p no smaller than 1e-7.

    >>> round(nll([0, 1], [[0.5, 0.5], [0.5, 0.5]]), 6)
    0.693147
    """
    return score("nll", truth, probabilities)


def brier(truth: ArrayLike, probabilities: ArrayLike) -> float:
    """Brier score summed over classes, in [0, 2]; 1 - 1/K for guessing evenly.

    1/N Σ_i Σ_k (p_ik - y_ik)², Brier 1950. With two classes it is twice the one-column form.

    >>> brier([0, 1], [[1.0, 0.0], [1.0, 0.0]])
    1.0
    """
    return score("brier", truth, probabilities)


def ece(truth: ArrayLike, probabilities: ArrayLike) -> float:
    """Expected calibration error: how far confidence is from accuracy, in [0, 1].

    Σ_b n_b/N |accuracy_b - confidence_b| over 15 bins of equal width on the largest probability, Guo et al.
    2017. Biased upwards where bins hold few rows: compare models on the same rows only.

    >>> round(ece([0, 1], [[0.8, 0.2], [0.8, 0.2]]), 6)
    0.3
    """
    return score("ece", truth, probabilities)


def aurc(truth: ArrayLike, probabilities: ArrayLike) -> float:
    """Area under the risk-coverage curve, in [0, 1]; 1 - accuracy for a confidence that says nothing.

    1/N Σ_n risk of the n most confident rows, Geifman et al. 2019.

    >>> aurc([0, 0], [[0.9, 0.1], [0.4, 0.6]])
    0.25
    """
    risk = risk_coverage(truth, probabilities)["risk"]
    return float(risk.mean()) if len(risk) else math.nan


def confusion(truth: ArrayLike, prediction: ArrayLike, n_classes: int | None = None) -> Ints:
    """(K, K) counts: the row is the truth, the column the prediction.

    n_classes: K, where a prediction by indices may leave out the last ones. ValueError where a probability is
    not finite: a count cannot be NaN.

    >>> confusion([0, 0, 1], [0, 1, 1]).tolist()
    [[1, 1], [0, 1]]
    """
    truth, prediction = checked_rows(truth, prediction)
    if not np.isfinite(prediction).all():
        raise ValueError("confusion of probabilities that are not finite: the model diverged")
    return _counts(truth, prediction, np.zeros(len(truth), np.int64), 1, n_classes)[0]


def per_class(truth: ArrayLike, prediction: ArrayLike, n_classes: int | None = None) -> dict[str, NDArray[Any]]:
    """precision tp/(tp+fp), recall tp/(tp+fn), f1 and support (number of rows) of each class, (K,) each.

    NaN: the recall of a class without rows, the precision of one never predicted, the f1 of one with neither.

    >>> per_class([0, 0, 1], [0, 1, 1])["recall"].tolist()
    [0.5, 1.0]
    """
    counts = confusion(truth, prediction, n_classes)
    hits, rows, columns = np.diagonal(counts), counts.sum(axis=1), counts.sum(axis=0)
    return {
        "precision": _ratio(hits, columns),
        "recall": _ratio(hits, rows),
        "f1": _ratio(2 * hits, rows + columns),
        "support": rows,
    }


def reliability(truth: ArrayLike, probabilities: ArrayLike) -> dict[str, NDArray[Any]]:
    """The diagram behind the ECE: mean confidence, accuracy and count of rows of each of 15 bins, (15,) each.

    Bins are of equal width from 0 to 1 on the largest probability; the means of an empty one are NaN.

    >>> reliability([0, 1], [[0.8, 0.2], [0.8, 0.2]])["accuracy"][11].item()
    0.5
    """
    truth, probabilities = checked_rows(truth, probabilities)
    n, confidence, right = _bins(truth, probabilities, np.zeros(len(truth), np.int64), 1)[0].T
    return {"confidence": _ratio(confidence, n), "accuracy": _ratio(right, n), "count": n.astype(np.int64)}


def risk_coverage(truth: ArrayLike, probabilities: ArrayLike) -> dict[str, Floats]:
    """The error that is left when the model may decline the rows that it is least sure of, (N,) each.

    coverage: share of rows answered, surest first, by the largest probability. risk: share of those that is
    wrong. El-Yaniv & Wiener 2010. Rows of equal confidence count with their mean error, so that their order
    does not matter.

    >>> risk_coverage([0, 0], [[0.9, 0.1], [0.4, 0.6]])["risk"].tolist()
    [0.0, 0.5]
    """
    truth, probabilities = checked_rows(truth, probabilities)
    answered = np.arange(1, len(truth) + 1)
    if not is_defined(probabilities):
        return {"coverage": answered / max(len(truth), 1), "risk": np.full(len(truth), math.nan)}
    wrong = probabilities.argmax(axis=1) != truth
    levels, level = np.unique(-probabilities.max(axis=1), return_inverse=True)
    n_equal = np.bincount(level, minlength=len(levels))
    error = np.bincount(level, wrong, len(levels)) / n_equal
    return {"coverage": answered / len(truth), "risk": np.cumsum(np.repeat(error, n_equal)) / answered}


def classification_metrics(truth: ArrayLike, probabilities: ArrayLike, classes: Sequence[str]) -> dict[str, Any]:
    """All of the above as JSON values: Python numbers and lists, None for what is not defined.

    classes: name of each column. n_undefined: rows with a probability that is not finite; where there is one,
    everything else is None. risk_coverage: read off at 20 even coverages.
    """
    truth, probabilities = checked_rows(truth, probabilities)
    if probabilities.ndim != 2 or probabilities.shape[1] != len(classes):
        raise ValueError(f"probabilities {probabilities.shape} for the classes {', '.join(classes)}")
    n = len(truth)
    n_undefined = int(np.sum(~np.isfinite(probabilities).all(axis=1)))
    result: dict[str, Any] = {"n": n, "n_undefined": n_undefined}
    for metric in (uar, wa, macro_f1, nll, brier, ece, aurc):
        result[metric.__name__] = metric(truth, probabilities)
    if n_undefined:
        result |= dict.fromkeys(("per_class", "confusion", "reliability", "risk_coverage"))
        return _as_json(result)
    by_class = per_class(truth, probabilities)
    result["per_class"] = {
        name: {what: values[k] for what, values in by_class.items()} for k, name in enumerate(classes)
    }
    result["confusion"] = confusion(truth, probabilities)
    result["reliability"] = reliability(truth, probabilities)
    answered = np.ceil(np.arange(1, N_COVERAGES + 1) / N_COVERAGES * n).astype(int) if n else np.array([], int)
    curve = risk_coverage(truth, probabilities)
    result["risk_coverage"] = {what: values[answered - 1] for what, values in curve.items()}
    return _as_json(result)


# ------------------------------------------------------------------ sums over rows, and scores of sums


def _counts(truth: Ints, prediction: NDArray[Any], group: Ints, n_groups: int, n_classes: int | None = None) -> Ints:
    """(n_groups, K, K) confusion of each group."""
    if prediction.ndim == 2:
        k = prediction.shape[1]
        prediction = prediction.argmax(axis=1)
    else:
        k = n_classes or int(max(truth.max(initial=0), prediction.max(initial=0))) + 1
    cell = (group * k + truth) * k + prediction
    return np.bincount(cell, minlength=n_groups * k * k).reshape(n_groups, k, k)


def _uar(counts: NDArray[Any]) -> Floats:
    return _mean_defined(_ratio(_diagonal(counts), counts.sum(axis=-1)))


def _wa(counts: NDArray[Any]) -> Floats:
    return _ratio(_diagonal(counts).sum(axis=-1), counts.sum(axis=(-2, -1)))


def _macro_f1(counts: NDArray[Any]) -> Floats:
    rows, columns = counts.sum(axis=-1), counts.sum(axis=-2)
    return _mean_defined(np.where(rows > 0, _ratio(2 * _diagonal(counts), rows + columns), math.nan))


def _nll_sums(truth: Ints, probabilities: NDArray[Any], group: Ints, n_groups: int) -> Floats:
    p = probabilities[np.arange(len(truth)), truth]
    return _sum_and_count(-np.log(np.clip(p, SMALLEST_PROBABILITY, 1)), group, n_groups)


def _brier_sums(truth: Ints, probabilities: NDArray[Any], group: Ints, n_groups: int) -> Floats:
    p = probabilities[np.arange(len(truth)), truth]
    return _sum_and_count((probabilities**2).sum(axis=1) - 2 * p + 1, group, n_groups)


def _sum_and_count(value: NDArray[Any], group: Ints, n_groups: int) -> Floats:
    return np.stack([np.bincount(group, weight, n_groups) for weight in (value, None)], axis=-1)


def _mean(sums: Floats) -> Floats:
    return _ratio(sums[..., 0], sums[..., 1])


def _bins(truth: Ints, probabilities: NDArray[Any], group: Ints, n_groups: int) -> Floats:
    """(n_groups, B, 3): rows, sum of confidence and number right in the bin (b/B, (b+1)/B]."""
    confidence = probabilities.max(axis=1)
    right = probabilities.argmax(axis=1) == truth
    cell = group * N_BINS + np.clip(np.ceil(confidence * N_BINS).astype(np.int64) - 1, 0, N_BINS - 1)
    n = np.bincount(cell, minlength=n_groups * N_BINS)
    sums = [n, *(np.bincount(cell, weight, n_groups * N_BINS) for weight in (confidence, right))]
    return np.stack(sums, axis=-1).reshape(n_groups, N_BINS, 3)


def _ece(bins: Floats) -> Floats:
    return _ratio(np.abs(bins[..., 1] - bins[..., 2]).sum(axis=-1), bins[..., 0].sum(axis=-1))


class Metric(NamedTuple):
    """sums: (truth, prediction, group, n_groups) to (n_groups, ...), to be added up over groups. value: the
    score of such sums, vectorised over leading axes."""

    sums: Callable[..., NDArray[Any]]
    value: Callable[[NDArray[Any]], Floats]


METRICS: dict[str, Metric] = {
    "uar": Metric(_counts, _uar),
    "wa": Metric(_counts, _wa),
    "macro_f1": Metric(_counts, _macro_f1),
    "nll": Metric(_nll_sums, _mean),
    "brier": Metric(_brier_sums, _mean),
    "ece": Metric(_bins, _ece),
}


def score(metric: str, truth: ArrayLike, prediction: ArrayLike) -> float:
    """A metric by its key of METRICS; NaN where it is not defined."""
    truth, prediction = checked_rows(truth, prediction)
    if not is_defined(prediction):
        return math.nan
    sums = METRICS[metric].sums(truth, prediction, np.zeros(len(truth), np.int64), 1)
    return float(METRICS[metric].value(sums)[0])


# ------------------------------------------------------------------ small print


def checked_rows(truth: ArrayLike, prediction: ArrayLike) -> tuple[Ints, NDArray[Any]]:
    """Both as arrays; ValueError where they do not fit each other."""
    t, p = np.asarray(truth), np.asarray(prediction)
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


def _diagonal(counts: NDArray[Any]) -> NDArray[Any]:
    return np.diagonal(counts, axis1=-2, axis2=-1)


def _ratio(above: Any, below: Any) -> Floats:
    """Quotient; NaN where it is 0/0."""
    with np.errstate(invalid="ignore"):
        return np.true_divide(above, below)


def _mean_defined(values: Floats) -> Floats:
    """Mean over the last axis of what is not NaN."""
    defined = ~np.isnan(values)
    return _ratio(np.where(defined, values, 0).sum(axis=-1), defined.sum(axis=-1))


def _as_json(value: Any) -> Any:
    """Python scalars all the way down, NaN as None."""
    if isinstance(value, dict):
        return {key: _as_json(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_as_json(item) for item in value]
    if isinstance(value, np.ndarray | np.generic):
        return _as_json(value.tolist())
    return None if isinstance(value, float) and math.isnan(value) else value
