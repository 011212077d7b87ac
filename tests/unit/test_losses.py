"""Losses against the formula written out, row by row and class by class; the frameworks' against numpy's."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import log_loss
from sklearn.utils.class_weight import compute_class_weight

from mien.errors import ExperimentError
from mien.experiment import LossConfig, MlpConfig, TrainingConfig
from mien.experiment.target import TargetSpec
from mien.families.contract import Task
from mien.families.losses import (
    class_weights,
    concordance_loss,
    concordance_moments,
    cross_entropy,
    focal_loss,
    smooth_labels,
    squared_error,
)


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


# ------------------------------------------------------------------ dimensions


def rated(seed: int, n: int = 13, k: int = 3) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Ratings, predictions that agree in part, and which ratings there are; each dimension has some."""
    rng = np.random.default_rng(seed)
    truth = rng.uniform(-1, 1, (n, k))
    mask = rng.random((n, k)) > 0.3
    mask[:2] = True
    return truth, 0.5 * truth + rng.normal(size=(n, k)) * 0.4, mask


def test_squared_error_is_the_mean_over_what_was_rated() -> None:
    truth, prediction, mask = rated(0)
    mask[5] = False
    for row, error in enumerate(squared_error(truth, prediction, mask)):
        known = [(prediction[row, k] - truth[row, k]) ** 2 for k in range(3) if mask[row, k]]
        np.testing.assert_allclose(error, sum(known) / len(known) if known else 0, rtol=1e-12)


@given(seed=st.integers(0, 99))
def test_concordance_loss_is_one_minus_the_coefficient_of_lin(seed: int) -> None:
    truth, prediction, mask = rated(seed)
    coefficients = []
    for k in range(3):
        t, p = truth[mask[:, k], k], prediction[mask[:, k], k]
        covariance = ((t - t.mean()) * (p - p.mean())).mean()
        coefficients.append(2 * covariance / (t.var() + p.var() + (t.mean() - p.mean()) ** 2))
    loss = concordance_loss(concordance_moments(truth, prediction, mask))
    np.testing.assert_allclose(loss, 1 - np.mean(coefficients), rtol=1e-9)


def test_concordance_of_the_parts_of_a_batch_is_that_of_the_batch() -> None:
    truth, prediction, mask = rated(3)
    parts = [concordance_moments(truth[part], prediction[part], mask[part]) for part in (slice(0, 5), slice(5, 13))]
    whole = concordance_moments(truth, prediction, mask)
    np.testing.assert_allclose(sum(parts), whole, rtol=1e-12)


def test_concordance_at_its_ends() -> None:
    truth, _, mask = rated(4)
    assert abs(concordance_loss(concordance_moments(truth, truth, mask))) < 1e-12
    mirrored = truth - truth.mean(axis=0)
    all_rated = np.ones_like(mask)
    np.testing.assert_allclose(concordance_loss(concordance_moments(mirrored, -mirrored, all_rated)), 2, rtol=1e-12)
    one_row = concordance_moments(truth[:1], truth[:1] + 0.1, all_rated[:1])
    assert concordance_loss(one_row) == 1, "one row has no correlation"
    assert concordance_loss(concordance_moments(truth, truth, ~all_rated)) == 0
    mask[:, 1] = False
    two = concordance_loss(concordance_moments(truth, -truth, mask))
    kept = [0, 2]
    np.testing.assert_allclose(
        two, concordance_loss(concordance_moments(truth[:, kept], -truth[:, kept], mask[:, kept]))
    )


# ------------------------------------------------------------------ the frameworks' own

HEADS = [1.0, 0.3]  # what the loss of each head counts
OF_CLASSES = [LossConfig(label_smoothing=0.0), LossConfig(kind="cross-entropy"), LossConfig(gamma=0.5)]
OF_DIMENSIONS = [LossConfig(kind="mse"), LossConfig(kind="ccc"), LossConfig(kind="ccc", mse=0.3)]


def of_a_batch(loss: LossConfig) -> tuple[Task, list[np.ndarray], np.ndarray, np.ndarray, np.ndarray, float]:
    """A task, outputs of two heads, targets, mask, weights (two fillers) and total weight of a global batch."""
    rng = np.random.default_rng(11)
    outputs = [rng.normal(size=(13, 3)).astype(np.float32) for _ in HEADS]
    if loss in OF_CLASSES:
        spec = TargetSpec("classes", ("a", "b", "c"), "uar")
        targets, mask = rng.dirichlet(np.ones(3), 13).astype(np.float32), np.ones((13, 3), bool)
        outputs = [4 * output for output in outputs]
    else:
        spec = TargetSpec("dimensions", ("a", "b", "c"), "ccc")
        targets, _, mask = rated(11)
        targets = targets.astype(np.float32)
    by_class = np.array([0.5, 1.0, 1.5], np.float32)
    task = Task(MlpConfig(), TrainingConfig(), loss, {}, spec, by_class, 0)
    weights = np.array([1] * 11 + [0] * 2, np.float32)
    return task, outputs, targets, mask, weights, 23.0  # other ranks hold 12 more rows


def by_numpy(loss: LossConfig) -> float:
    task, outputs, targets, mask, weights, total_weight = of_a_batch(loss)

    def one(output: np.ndarray) -> float:
        if loss.kind in ("ccc", "mse"):
            error = (weights * squared_error(targets, output, mask)).sum() / total_weight
            share = loss.mse if loss.kind == "ccc" else 1
            return share * error + (1 - share) * concordance_loss(
                concordance_moments(targets[:11], output[:11], mask[:11])
            )
        probabilities = np.exp(output) / np.exp(output).sum(axis=1, keepdims=True)
        smoothed = smooth_labels(targets, loss.label_smoothing)
        gamma = loss.gamma if loss.kind == "focal" else 0.0
        return (weights * focal_loss(smoothed, probabilities, gamma, task.class_weights)).sum() / total_weight

    return sum(share * one(output) for share, output in zip(HEADS, outputs))


@pytest.mark.tensorflow
@pytest.mark.parametrize("loss", OF_CLASSES + OF_DIMENSIONS, ids=lambda loss: f"{loss.kind}-{loss.gamma}-{loss.mse}")
def test_the_loss_in_tensorflow_is_numpys(loss: LossConfig) -> None:
    from mien.families.frameworks.tensorflow import Sum
    from mien.families.frameworks.tensorflow_losses import Loss

    task, outputs, *rest = of_a_batch(loss)
    found = Loss(task, task.class_weights, Sum(1)).share(outputs, HEADS, *rest)
    np.testing.assert_allclose(float(found), by_numpy(loss), rtol=1e-5)


@pytest.mark.torch
@pytest.mark.parametrize("loss", OF_CLASSES + OF_DIMENSIONS, ids=lambda loss: f"{loss.kind}-{loss.gamma}-{loss.mse}")
def test_the_loss_in_torch_is_numpys(loss: LossConfig) -> None:
    import torch

    from mien.families.frameworks.torch_losses import Loss

    task, outputs, targets, mask, weights, total_weight = of_a_batch(loss)
    tensors = [torch.from_numpy(array) for array in (targets, mask, weights)]
    found = Loss(task).share([torch.from_numpy(output) for output in outputs], HEADS, *tensors, total_weight)
    np.testing.assert_allclose(float(found), by_numpy(loss), rtol=1e-5)
