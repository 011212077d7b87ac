"""Which epoch is best: one rule for every run and every trial, whichever way its score runs."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

from mien.experiment import LossConfig
from mien.experiment.target import TargetSpec
from mien.results import agreement, calibration, classification
from mien.results.history import best_record, kept_record, validation

SIX = TargetSpec("classes", ("anger", "disgust", "fear", "happiness", "neutral", "sadness"), "uar")
PLANE = TargetSpec("dimensions", ("valence", "arousal"), "ccc")


def records(scores: list, losses: list | None = None, name: str = "uar") -> list[dict]:
    losses = losses or [1.0] * len(scores)
    return [
        {"epoch": epoch, "score": score, "score_name": name, "validation_loss": loss}
        for epoch, (score, loss) in enumerate(zip(scores, losses, strict=True), start=1)
    ]


@pytest.mark.parametrize(
    ("history", "epoch"),
    [
        (records([0.3, 0.5, 0.4]), 2),
        (records([0.3, 0.5, 0.5], [1.0, 0.9, 0.8]), 3),  # equal: the lower loss
        (records([0.3, 0.5, 0.5], [1.0, 0.8, 0.9]), 2),
        (records([0.3, 0.5, 0.5], [1.0, None, 0.9]), 3),  # a loss that is not defined is the worst
        (records([0.3, 0.5, 0.5], [1.0, 0.9, 0.9]), 2),  # equal in both: the earlier
        (records([None, 0.1, None]), 2),
        (records([math.nan, 0.1, math.nan]), 2),
        (records([0.3, 0.5, 0.4], name="rmse"), 1),  # lower is better
        (records([0.3, 0.3, 0.4], [1.0, 0.9, 0.1], name="mae"), 2),
        (records([-0.2, -0.5, None], name="ccc"), 1),
    ],
)
def test_the_best_epoch(history, epoch):
    assert best_record(history)["epoch"] == epoch
    assert kept_record(history, "best") == best_record(history)


def test_without_a_score_no_epoch_is_best_and_the_last_is_kept():
    history = records([None, None, None])
    assert best_record(history) is None
    assert kept_record(history, "best")["epoch"] == 3
    assert best_record([]) is None and kept_record([], "best") is None and kept_record([], "last") is None


def test_the_last_is_kept_whatever_it_scored():
    assert kept_record(records([0.9, 0.1]), "last")["epoch"] == 2
    assert kept_record(records([0.9, None]), "last")["score"] is None


def test_a_record_of_classes_holds_every_metric_of_its_kind():
    rng = np.random.default_rng(0)
    truth, p = rng.integers(0, 6, 37), rng.dirichlet(np.ones(6), 37)
    found = validation(SIX, LossConfig(), truth, p)
    assert (found["score"], found["score_name"]) == (classification.uar(truth, p), "uar")
    assert found["validation_loss"] == calibration.nll(truth, p)
    assert {name for name in found if name.startswith("validation_")} == {
        *("validation_loss", "validation_uar", "validation_wa", "validation_macro_f1"),
        *("validation_nll", "validation_brier", "validation_ece", "validation_confusion"),
    }
    assert found["validation_confusion"] == classification.confusion(truth, p).tolist()
    assert found["validation_wa"] == classification.wa(truth, p)
    by_wa = validation(TargetSpec("classes", SIX.names, "wa"), LossConfig(), truth, p)
    assert (by_wa["score"], by_wa["score_name"]) == (classification.wa(truth, p), "wa")
    json.dumps(found, allow_nan=False)


def test_a_record_of_dimensions_has_the_loss_that_is_learnt():
    rng = np.random.default_rng(1)
    truth = rng.uniform(-1, 1, (31, 2))
    prediction = truth + 0.5 * rng.standard_normal((31, 2))
    truth[::5, 0] = np.nan
    known = ~np.isnan(truth)
    by_ccc = validation(PLANE, LossConfig(kind="ccc"), truth, prediction)
    by_hand = np.mean([agreement.ccc(truth[known[:, k], k], prediction[known[:, k], k]) for k in (0, 1)])
    assert by_ccc["score"] == pytest.approx(by_hand, rel=1e-12)
    assert by_ccc["validation_loss"] == pytest.approx(1 - by_hand, rel=1e-12)
    by_square = validation(PLANE, LossConfig(kind="mse"), truth, prediction)
    assert by_square["validation_loss"] == pytest.approx(np.mean((truth - prediction)[known] ** 2), rel=1e-12)
    assert by_square["validation_rmse"] == by_ccc["validation_rmse"]


@pytest.mark.parametrize(("target", "loss"), [(SIX, LossConfig()), (PLANE, LossConfig(kind="mse"))])
def test_without_validation_clips_or_with_a_diverged_model_nothing_is_scored(target, loss):
    k = len(target.names)
    truth = np.zeros((7, k)) if target.kind == "dimensions" else np.zeros(7, int)
    for record in (validation(target, loss, None, None), validation(target, loss, truth, np.full((7, k), np.nan))):
        assert record.pop("score_name") == target.primary
        assert set(record.values()) == {None}
