"""Metrics of the class chosen: UAR, WA, macro-F1, and the confusion matrix behind them.

Arguments are those of `mien.results.scoring`. All formulas: docs/reference/metrics.md.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mien.results.scoring import Floats, Ints, Metric, checked_rows, mean_defined, ratio, score


def uar(truth: ArrayLike, prediction: ArrayLike) -> float:
    """Unweighted average recall, the usual score of the field, in [0, 1]; chance is 1/K.

    1/K Σ_k tp_k / (tp_k + fn_k), Schuller et al. 2009; elsewhere balanced accuracy or UA. The mean is over
    the classes that occur in truth: a class without rows has no recall.

    >>> uar([0, 0, 0, 1], [0, 0, 1, 1])
    0.8333333333333333
    """
    return score(UAR, truth, prediction)


def wa(truth: ArrayLike, prediction: ArrayLike) -> float:
    """Weighted accuracy: share of rows that are right, in [0, 1]; elsewhere accuracy or WAR.

    >>> wa([0, 0, 0, 1], [0, 0, 1, 1])
    0.75
    """
    return score(WA, truth, prediction)


def macro_f1(truth: ArrayLike, prediction: ArrayLike) -> float:
    """Mean of the F1 of the classes that occur in truth, in [0, 1].

    F1_k = 2 tp_k / (2 tp_k + fp_k + fn_k); the mean of F1s and not the F1 of means, Opitz & Burst 2019.

    >>> macro_f1([0, 0, 0, 1], [0, 0, 1, 1])
    0.7333333333333334
    """
    return score(MACRO_F1, truth, prediction)


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
        "precision": ratio(hits, columns),
        "recall": ratio(hits, rows),
        "f1": ratio(2 * hits, rows + columns),
        "support": rows,
    }


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
    return mean_defined(ratio(_diagonal(counts), counts.sum(axis=-1)))


def _wa(counts: NDArray[Any]) -> Floats:
    return ratio(_diagonal(counts).sum(axis=-1), counts.sum(axis=(-2, -1)))


def _macro_f1(counts: NDArray[Any]) -> Floats:
    rows, columns = counts.sum(axis=-1), counts.sum(axis=-2)
    return mean_defined(np.where(rows > 0, ratio(2 * _diagonal(counts), rows + columns), math.nan))


def _diagonal(counts: NDArray[Any]) -> NDArray[Any]:
    return np.diagonal(counts, axis1=-2, axis2=-1)


UAR = Metric(_counts, _uar, "UAR", higher_is_better=True, best=1.0, worst=0.0)
WA = Metric(_counts, _wa, "Accuracy (WA)", higher_is_better=True, best=1.0, worst=0.0)
MACRO_F1 = Metric(_counts, _macro_f1, "Macro-F1", higher_is_better=True, best=1.0, worst=0.0)
