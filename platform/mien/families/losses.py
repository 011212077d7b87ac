"""Losses in plain numpy: the reference that each framework's own is tested against.

Of classes: focal loss and cross-entropy. Of dimensions: squared error and 1 - CCC, over the ratings that there are.
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mien.errors import ExperimentError

EPSILON = 1e-7  # system S1; about what float32 can tell from 0 and from 1
SMALLEST_SPREAD = 1e-6  # of truth and prediction together; below it float32 sums say nothing of a correlation


def focal_loss(
    target: ArrayLike,
    probabilities: ArrayLike,
    gamma: float = 2.0,
    alpha: ArrayLike | None = None,
    epsilon: float = EPSILON,
) -> NDArray[np.floating[Any]]:
    """Focal loss of each row in nats, (N,), 0 or more.

    -Σ_k y_k α_k (1 - p_k)^γ ln p_k, Lin et al. 2017 (equation 5; there y is one-hot), with p kept within
    [epsilon, 1 - epsilon]. gamma turns down the rows that are already right: at p = 0.9 and gamma 2 a row
    counts a hundredth of what cross-entropy makes of it.

    target: (N, K), one-hot or soft, rows sum to 1. alpha: (K,) weight of each class, None for 1.

    >>> focal_loss([[1, 0]], [[0.5, 0.5]], gamma=2).round(6).tolist()
    [0.173287]
    """
    p = np.clip(probabilities, epsilon, 1 - epsilon)
    weights = 1.0 if alpha is None else np.asarray(alpha)
    return -np.sum(np.asarray(target) * weights * (1 - p) ** gamma * np.log(p), axis=1)


def cross_entropy(
    target: ArrayLike, probabilities: ArrayLike, alpha: ArrayLike | None = None, epsilon: float = EPSILON
) -> NDArray[np.floating[Any]]:
    """Cross-entropy of each row in nats, (N,): the focal loss of gamma 0.

    >>> cross_entropy([[1, 0]], [[0.5, 0.5]]).round(6).tolist()
    [0.693147]
    """
    return focal_loss(target, probabilities, gamma=0.0, alpha=alpha, epsilon=epsilon)


def squared_error(target: ArrayLike, prediction: ArrayLike, mask: ArrayLike) -> NDArray[np.floating[Any]]:
    """Squared error of each row, (N,): its mean over the dimensions that were rated, 0 where none was.

    target, prediction: (N, K). mask: (N, K), False where a dimension was not rated.

    >>> squared_error([[1.0, 0.0]], [[0.5, 9.0]], [[True, False]]).tolist()
    [0.25]
    """
    rated = np.asarray(mask)
    squares = np.where(rated, np.square(np.subtract(prediction, target)), 0)
    return squares.sum(axis=1) / np.maximum(rated.sum(axis=1), 1)


def concordance_moments(target: ArrayLike, prediction: ArrayLike, mask: ArrayLike) -> NDArray[np.floating[Any]]:
    """Sums over the rows of a batch from which `concordance_loss` follows, (6, K): of 1, t, p, t², p², t p.

    Sums of the parts of a batch add up to those of the batch, so that two workers have the loss of one.

    target, prediction: (N, K). mask: (N, K), False where a dimension was not rated and in rows that fill a batch.

    >>> concordance_moments([[1.0], [3.0]], [[2.0], [4.0]], [[True], [True]])[:, 0].tolist()
    [2.0, 4.0, 6.0, 10.0, 20.0, 14.0]
    """
    t, p, rated = np.asarray(target), np.asarray(prediction), np.asarray(mask)
    return np.stack([np.where(rated, term, 0).sum(axis=0) for term in (np.ones_like(t), t, p, t * t, p * p, t * p)])


def concordance_loss(moments: ArrayLike) -> float:
    """1 - concordance correlation (Lin 1989), its mean over the dimensions that have ratings; in [0, 2].

    2 cov(t, p) / (var t + var p + (mean t - mean p)²), population moments. A dimension in which neither varies, as in
    a batch of one row, has correlation 0. 0 where nothing was rated. moments: (6, K), of `concordance_moments`.

    >>> rated = np.ones((3, 1), bool)
    >>> round(concordance_loss(concordance_moments([[0.0], [1.0], [2.0]], [[0.0], [1.0], [1.0]], rated)), 6)
    0.333333
    """
    n, t, p, tt, pp, tp = np.asarray(moments)
    has_ratings = n > 0
    if not has_ratings.any():
        return 0.0
    n = np.maximum(n, 1)
    mean_t, mean_p = t / n, p / n
    spread = np.maximum(tt / n + pp / n - 2 * mean_t * mean_p, SMALLEST_SPREAD)
    correlation = 2 * (tp / n - mean_t * mean_p) / spread
    return float(1 - correlation[has_ratings].mean())


def class_weights(
    truth: ArrayLike, n_classes: int, alpha: Literal["none", "balanced"] | tuple[float, ...]
) -> NDArray[np.float32]:
    """Weight of each class, (K,), from the class indices of the training rows.

    none: 1 each. balanced: inverse frequency, scaled to mean 1 over the classes that occur; one that does not
    occur has no frequency and weighs 1. A tuple is taken as it is; ExperimentError if it is not K numbers.

    >>> class_weights([0, 0, 0, 1], 2, "balanced").tolist()
    [0.5, 1.5]
    """
    if alpha == "none":
        return np.ones(n_classes, np.float32)
    if alpha == "balanced":
        counts = np.bincount(np.asarray(truth, np.int64), minlength=n_classes)
        occurs = counts > 0
        weights = np.ones(n_classes)
        weights[occurs] = 1 / counts[occurs]
        weights[occurs] /= weights[occurs].mean()
        return weights.astype(np.float32)
    if len(alpha) != n_classes:
        raise ExperimentError(f"loss.alpha has {len(alpha)} weights for {n_classes} classes: give one for each")
    return np.array(alpha, np.float32)


def smooth_labels(target: NDArray[Any], smoothing: float) -> NDArray[Any]:
    """(1 - smoothing) · target + smoothing / K, Szegedy et al. 2016: rows still sum to 1.

    >>> smooth_labels(np.array([[1.0, 0.0]]), 0.2).tolist()
    [[0.9, 0.1]]
    """
    return (1 - smoothing) * target + smoothing / target.shape[1]
