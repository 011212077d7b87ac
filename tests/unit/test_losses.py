"""Losses against the formula written out, row by row and class by class."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import log_loss
from sklearn.utils.class_weight import compute_class_weight

from mien.errors import ExperimentError
from mien.families.losses import class_weights, cross_entropy, focal_loss, smooth_labels


def drawn(seed: int, n: int = 13, k: int = 7) -> tuple[np.ndarray, np.ndarray]:
    """Soft targets and probabilities, some of them exactly 0 or 1."""
    rng = np.random.default_rng(seed)
    target, probabilities = rng.dirichlet(np.ones(k), n), rng.dirichlet(np.full(k, 0.2), n)
    probabilities[0] = np.eye(k)[3]
    return target, probabilities


def written_out(y: np.ndarray, p: np.ndarray, gamma: float, alpha: np.ndarray, epsilon: float) -> list[float]:
    losses = []
    for row in range(len(y)):
        loss = 0.0
        for k in range(y.shape[1]):
            clipped = min(max(p[row, k], epsilon), 1 - epsilon)
            loss -= y[row, k] * alpha[k] * (1 - clipped) ** gamma * math.log(clipped)
        losses.append(loss)
    return losses


@given(seed=st.integers(0, 99), gamma=st.sampled_from([0.0, 0.5, 2.0, 5.0]), weighted=st.booleans())
def test_focal_loss_is_its_formula(seed: int, gamma: float, weighted: bool) -> None:
    target, probabilities = drawn(seed)
    alpha = np.random.default_rng(seed).uniform(0, 3, 7) if weighted else None
    expected = written_out(target, probabilities, gamma, np.ones(7) if alpha is None else alpha, 1e-7)
    np.testing.assert_allclose(focal_loss(target, probabilities, gamma, alpha), expected, rtol=1e-12)


def test_gamma_0_is_cross_entropy_as_scikit_learn_has_it() -> None:
    rng = np.random.default_rng(1)
    truth, p = rng.integers(0, 5, 101), rng.dirichlet(np.ones(5), 101)
    target = np.eye(5)[truth]
    np.testing.assert_allclose(cross_entropy(target, p), focal_loss(target, p, gamma=0.0), rtol=0)
    np.testing.assert_allclose(cross_entropy(target, p).mean(), log_loss(truth, p, labels=range(5)), rtol=1e-6)


def test_what_is_certain_and_right_costs_nothing_and_what_is_wrong_stays_finite() -> None:
    target = np.eye(6)
    for gamma in (0.0, 2.0):
        assert focal_loss(target, target, gamma).max() < 2e-7
        wrong = focal_loss(target, np.roll(target, 1, axis=1), gamma)
        np.testing.assert_allclose(wrong, -math.log(1e-7), rtol=1e-6)


def test_focal_turns_easy_rows_down_by_its_power() -> None:
    target, p = np.array([[1.0, 0.0]]), np.array([[0.9, 0.1]])
    np.testing.assert_allclose(focal_loss(target, p, 2.0) / cross_entropy(target, p), 0.01, rtol=1e-12)


def test_alpha_weighs_the_class_of_the_truth() -> None:
    target, p = np.eye(3), np.full((3, 3), 1 / 3)
    ratio = focal_loss(target, p, 2.0, [1.0, 2.0, 0.0]) / focal_loss(target, p, 2.0)
    np.testing.assert_allclose(ratio, [1, 2, 0])


def test_float32_stays_float32() -> None:
    target, p = np.eye(3, dtype=np.float32), np.full((3, 3), 1 / 3, np.float32)
    assert focal_loss(target, p, 2.0, np.ones(3, np.float32)).dtype == np.float32


def test_balanced_weights_are_scikit_learns_up_to_scale() -> None:
    truth = np.repeat([0, 1, 2, 4], [31, 7, 2, 11])
    weights = class_weights(truth, 6, "balanced")
    occurs = [0, 1, 2, 4]
    expected = compute_class_weight("balanced", classes=np.array(occurs), y=truth)
    np.testing.assert_allclose(weights[occurs], expected / expected.mean(), rtol=1e-6)
    assert weights.dtype == np.float32
    assert weights[[3, 5]].tolist() == [1, 1], "a class that does not occur weighs as the mean"


def test_weights_none_and_given() -> None:
    assert class_weights([0, 1], 3, "none").tolist() == [1, 1, 1]
    assert class_weights([0, 1], 3, (1.0, 0.5, 2.0)).tolist() == [1, 0.5, 2]
    with pytest.raises(ExperimentError, match="2 weights for 3 classes: give one for each"):
        class_weights([0, 1], 3, (1.0, 0.5))


def test_smoothing_keeps_sums_and_is_identity_at_0() -> None:
    target, _ = drawn(3)
    np.testing.assert_array_equal(smooth_labels(target, 0.0), target)
    np.testing.assert_allclose(smooth_labels(target, 0.3).sum(axis=1), 1)
    np.testing.assert_allclose(smooth_labels(np.eye(4), 0.2), np.eye(4) * 0.8 + 0.05)
