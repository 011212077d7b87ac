"""Temperature scaling, held against logits that a test made itself."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest

from mien.experiment import MlpConfig, TrainingConfig
from mien.experiment.loss import LossConfig
from mien.experiment.target import TargetSpec
from mien.families.recipe import ModelRecipe
from mien.results.calibration import TEMPERATURES, at_temperature, fit_temperature, nll


def softmax(logits: np.ndarray) -> np.ndarray:
    return np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)


def calibrated(n: int = 20_000) -> tuple[np.ndarray, np.ndarray]:
    """Logits, and classes that come as often as the logits say."""
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(n, 4))
    return logits, (softmax(logits).cumsum(axis=1) > rng.random((n, 1))).argmax(axis=1)


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.5])
def test_logits_that_were_multiplied_give_the_factor_back(temperature):
    logits, truth = calibrated()
    assert fit_temperature(truth, softmax(logits * temperature)) == pytest.approx(temperature, rel=0.05)


def test_by_hand():
    """Sure by 9:1 and right by 3:1: ln 9 / T = ln 3, so T is 2, and 0.9 becomes 3/4."""
    p = np.array([[0.9, 0.1]] * 4)
    assert fit_temperature([0, 0, 0, 1], p) == pytest.approx(2, rel=1e-5)
    np.testing.assert_allclose(at_temperature(p, 2.0), [[0.75, 0.25]] * 4, rtol=1e-12)
    np.testing.assert_allclose(at_temperature([[0.5, 0.3, 0.2]], 0.5), [[25 / 38, 9 / 38, 4 / 38]], rtol=1e-12)


def test_it_is_the_least_nll_of_all_and_chooses_the_same_classes():
    logits, truth = calibrated(300)
    p = softmax(logits * 3)
    found = fit_temperature(truth, p)
    tried = np.geomspace(0.2, 9, 200)
    assert nll(truth, at_temperature(p, found)) <= min(nll(truth, at_temperature(p, t)) for t in tried) + 1e-9
    np.testing.assert_array_equal(at_temperature(p, found).argmax(axis=1), p.argmax(axis=1))


def test_it_stays_within_bounds_and_is_none_where_nothing_can_be_told():
    low, high = TEMPERATURES
    assert fit_temperature([0, 0], [[0.9, 0.1], [0.8, 0.2]]) == pytest.approx(low, rel=1e-4)  # all right
    assert fit_temperature([1, 1], [[0.9, 0.1], [0.8, 0.2]]) == pytest.approx(high, rel=1e-4)  # all wrong
    sure = fit_temperature([0, 1, 0], [[1.0, 0.0], [0.0, 1.0], [0.0, 1.0]])
    assert low <= sure <= high
    assert fit_temperature([], np.zeros((0, 3))) is None
    assert fit_temperature([0, 1], [[0.5, 0.5], [np.nan, np.nan]]) is None
    with pytest.raises(ValueError, match="temperature 0: must be above 0"):
        at_temperature([[0.5, 0.5]], 0)


def test_a_model_keeps_its_temperature_and_older_ones_have_none():
    recipe = ModelRecipe(
        model=MlpConfig(),
        training=TrainingConfig(),
        loss=LossConfig(),
        seed=0,
        target=TargetSpec("classes", ("anger", "fear"), "uar"),
        inputs={},
        extractors={},
        normalise="train",
        is_synthetic=False,
        temperature=1.25,
    )
    written = json.loads(json.dumps(recipe.to_json()))
    assert written["temperature"] == 1.25
    assert ModelRecipe.from_json(written) == recipe
    del written["temperature"]
    assert ModelRecipe.from_json(written) == dataclasses.replace(recipe, temperature=None)
