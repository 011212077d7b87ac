"""Uncertainty against numbers worked out by hand, and against scikit-learn and scipy."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import roc_auc_score

from mien.results import uncertainty
from mien.results.intervals import Scored, jackknifed, subject_interval
from mien.results.metrics import METRICS


def test_members_that_agree_leave_aleatoric_uncertainty_alone():
    p = np.array([[0.5, 0.5], [0.9, 0.1]])
    of = uncertainty.of_classes(np.stack([p, p, p]))
    assert of.total == pytest.approx([math.log(2), -0.9 * math.log(0.9) - 0.1 * math.log(0.1)])
    np.testing.assert_allclose(of.aleatoric, of.total)
    np.testing.assert_allclose(of.epistemic, 0, atol=1e-12)


def test_members_that_are_sure_of_other_classes_leave_epistemic_uncertainty_alone():
    of = uncertainty.of_classes(np.array([[[1.0, 0.0]], [[0.0, 1.0]]]))
    assert [part.item() for part in of] == pytest.approx([math.log(2), 0.0, math.log(2)])


def test_the_parts_are_the_total_and_the_mutual_information_of_class_and_member():
    members = np.random.default_rng(0).dirichlet(np.ones(4), (5, 31))
    of = uncertainty.of_classes(members)
    np.testing.assert_allclose(of.aleatoric + of.epistemic, of.total)
    mean = members.mean(axis=0)
    divergence = stats.entropy(members, mean[None], axis=-1).mean(axis=0)  # mean KL(p_m || mean)
    np.testing.assert_allclose(of.epistemic, divergence)
    again = uncertainty.of_means(mean, stats.entropy(members, axis=-1).mean(axis=0))
    np.testing.assert_allclose(again.epistemic, of.epistemic)


def test_of_dimensions_the_variances_add_up():
    truth = np.array([[1.0, 0.0], [0.0, np.nan]])
    residual = uncertainty.residual_variance(truth, np.array([[0.5, 0.3], [0.1, 9.0]]))
    assert residual == pytest.approx([(0.25 + 0.01) / 2, 0.09])
    of = uncertainty.of_dimensions(np.array([[0.04, 0.0]]), residual)
    assert of.total[0] == pytest.approx([0.04 + 0.13, 0.09])
    assert np.isnan(uncertainty.residual_variance(truth[1:], truth[1:] + 0.1)[1])


def test_auroc_and_rank_correlation_are_those_of_scikit_learn_and_scipy():
    rng = np.random.default_rng(1)
    unsure = rng.integers(0, 7, 83) / 7  # with ties
    wrong = rng.random(83) < 0.2 + 0.5 * unsure
    assert uncertainty.auroc(unsure, wrong) == pytest.approx(roc_auc_score(wrong, unsure))
    size = np.abs(rng.normal(size=83)) * (1 + unsure)
    assert uncertainty.spearman(unsure, size) == pytest.approx(stats.spearmanr(unsure, size).statistic)
    assert math.isnan(uncertainty.auroc(unsure, np.zeros(83)))
    assert math.isnan(uncertainty.spearman(np.ones(5), np.arange(5)))


def test_the_jackknife_of_any_number_is_that_of_a_metric():
    """Written out for the accuracy, which is a function of sums and has an interval of its own."""
    rng = np.random.default_rng(2)
    truth, subjects = rng.integers(0, 3, 60), np.repeat(list("abcdef"), 10)
    called = np.where(rng.random(60) < 0.6, truth, (truth + 1) % 3)
    value, *ends = jackknifed(lambda rows: float((called[rows] == truth[rows]).mean()), subjects)
    assert value == pytest.approx((called == truth).mean())
    assert ends == pytest.approx(subject_interval(Scored(truth, called, subjects), METRICS["classes"]["wa"]))
