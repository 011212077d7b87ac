"""Support vector machines as plain arrays: scikit-learn fits them, numpy predicts.

So a saved machine predicts with any version of scikit-learn, and nothing that is loaded is executed.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics.pairwise import rbf_kernel
from sklearn.svm import SVC, SVR

Floats = NDArray[np.float64]
Machine = dict[str, NDArray[Any]]  # the arrays below, by name; rows: those that became support vectors
DIMENSION_ARRAYS = ("rows", "gamma", "coefficients", "intercept")
CLASSES_ARRAYS = (*DIMENSION_ARRAYS, "n_support", "classes", "sigmoid_a", "sigmoid_b")
FLOOR = 1e-6  # of a variance


def fit_classes(rows: Floats, truth: NDArray[np.int64], c: float, weights: dict[int, float]) -> Machine:
    """The machine of SVC(kernel="rbf", gamma="scale"); its kernel is computed once by BLAS, which is faster.

    Probabilities are LIBSVM's, Platt's sigmoid for each pair of classes and then Wu, Lin & Weng 2004. scikit-learn
    means to drop them in 1.11 for one sigmoid per class, which made a late fusion worse (docs/lab-log.md).
    """
    gamma = _scale(rows)
    machine = SVC(C=c, kernel="precomputed", class_weight=weights, probability=True, random_state=0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        machine.fit(rbf_kernel(rows, gamma=gamma), truth)
        sigmoids = {"sigmoid_a": machine.probA_, "sigmoid_b": machine.probB_}
    own = {"n_support": machine.n_support_, "classes": machine.classes_}
    return {**_regressor(machine, rows, gamma), **own, **sigmoids}


def fit_dimension(rows: Floats, ratings: Floats, c: float) -> Machine:
    """The machine of SVR(kernel="rbf", gamma="scale")."""
    gamma = _scale(rows)
    return _regressor(SVR(C=c, kernel="precomputed").fit(rbf_kernel(rows, gamma=gamma), ratings), rows, gamma)


def _regressor(machine: Any, rows: Floats, gamma: float) -> Machine:
    return {
        "rows": rows[machine.support_],
        "gamma": np.array(gamma),
        "coefficients": machine.dual_coef_,
        "intercept": machine.intercept_,
    }


def _scale(rows: Floats) -> float:
    return 1.0 / (rows.shape[1] * max(rows.var(), FLOOR))


def ratings_by(machine: Machine, rows: Floats) -> Floats:
    """(N,) what an SVR predicts."""
    return _kernel(machine, rows) @ machine["coefficients"][0] + machine["intercept"]


def probabilities_by(machine: Machine, rows: Floats) -> Floats:
    """(N, classes of the machine) what an SVC predicts: as `svm_predict_probability` of LIBSVM 3.25 does it."""
    n = len(machine["classes"])
    pairs = [(i, j) for i in range(n) for j in range(i + 1, n)]
    # r[i, j]: (N,) probability of class i where it is i or j.
    r = np.zeros((n, n, len(rows)))
    for (i, j), score, a, b in zip(pairs, _scores(machine, rows, pairs), machine["sigmoid_a"], machine["sigmoid_b"]):
        r[i, j] = np.clip(_sigmoid(score * a + b), 1e-7, 1 - 1e-7)
        r[j, i] = 1 - r[i, j]
    return coupled(r)


def _scores(machine: Machine, rows: Floats, pairs: Sequence[tuple[int, int]]) -> list[Floats]:
    """(N,) of each pair of classes, above 0 for the first. Row i of the coefficients weighs the support rows of a class
    k against class i where i < k, and against class i + 1 from there on."""
    kernel, coefficients = _kernel(machine, rows), machine["coefficients"]
    ends = np.cumsum(machine["n_support"])
    own = [slice(end - size, end) for end, size in zip(ends, machine["n_support"])]
    sign = -1.0 if len(own) == 2 else 1.0  # scikit-learn turns the only pair of two classes round
    return [
        sign
        * (
            kernel[:, own[i]] @ coefficients[j - 1, own[i]]
            + kernel[:, own[j]] @ coefficients[i, own[j]]
            + machine["intercept"][pair]
        )
        for pair, (i, j) in enumerate(pairs)
    ]


def _kernel(machine: Machine, rows: Floats) -> Floats:
    if not len(machine["rows"]):  # all ratings lie within the tube, so the intercept is all there is
        return np.zeros((len(rows), 0))
    return rbf_kernel(rows, machine["rows"], gamma=float(machine["gamma"]))


def _sigmoid(x: Floats) -> Floats:
    """1 / (1 + exp(x)), Platt's way round."""
    small = np.exp(-np.abs(x))
    return np.where(x >= 0, small, 1.0) / (1 + small)


def coupled(r: Floats) -> Floats:
    """(N, n) class probabilities that agree best with those of the pairs, r (n, n, N).

    The second method of Wu, Lin & Weng 2004 ("Probability estimates for multi-class classification by pairwise
    coupling", JMLR 5), iterated as far and as exactly as LIBSVM's `multiclass_probability` does.
    """
    n, _, n_rows = r.shape
    q = -r * r.swapaxes(0, 1)
    for t in range(n):
        q[t, t] = sum(np.square(r[j, t]) for j in range(n) if j != t)
    p = np.full((n, n_rows), 1.0 / n)
    is_open = np.arange(n_rows)
    for _ in range(max(100, n)):
        own_q, own_p = q[:, :, is_open], p[:, is_open]
        qp = np.einsum("tjn,jn->tn", own_q, own_p)
        pqp = (own_p * qp).sum(axis=0)
        goes_on = np.abs(qp - pqp).max(axis=0) >= 0.005 / n
        if not goes_on.any():
            break
        is_open, own_q, own_p = is_open[goes_on], own_q[..., goes_on], own_p[..., goes_on]
        qp, pqp = qp[..., goes_on], pqp[goes_on]
        for t in range(n):
            step = (pqp - qp[t]) / own_q[t, t]
            own_p[t] += step
            pqp = (pqp + step * (step * own_q[t, t] + 2 * qp[t])) / (1 + step) ** 2
            qp = (qp + step * own_q[t]) / (1 + step)
            own_p /= 1 + step
        p[:, is_open] = own_p
    return p.T
