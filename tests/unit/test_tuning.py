"""Tuning without Ray: what can be said of it in this process."""

from __future__ import annotations

import dataclasses
import os
import signal
from contextlib import suppress

import pytest

from mien.experiment import DimensionsConfig
from mien.training.search.ctrl_c import CtrlC
from mien.training.search.tune import mode_of, summary, trial_experiment
from tiny import SEARCH

HISTORY = [
    {"epoch": epoch, "score": uar, "score_name": "uar", "validation_loss": 1.0, "train_loss": 1.0, "seconds": 1.0}
    for epoch, uar in enumerate((0.4, 0.6, 0.5), start=1)
]


@pytest.mark.parametrize(("keep", "epoch", "score"), [("best", 2, 0.6), ("last", 3, 0.5)])
def test_a_trial_competes_by_the_epoch_that_would_be_kept(keep, epoch, score):
    found = summary(HISTORY, "", "", keep, "max")
    assert (found["score"], found["best_epoch"], found["has_score"]) == (score, epoch, True)


@pytest.mark.parametrize(("mode", "worst"), [("max", -1e9), ("min", 1e9)])
def test_an_epoch_without_a_score_is_the_worst_of_all(mode, worst):
    found = summary([{**HISTORY[0], "score": None}], "", "", "best", mode)
    assert (found["score"], found["has_score"], found["best_epoch"]) == (worst, False, 0)


@pytest.mark.parametrize(("mode", "worst"), [("max", -1e9), ("min", 1e9)])
@pytest.mark.parametrize("history", [[], HISTORY], ids=["in its first epoch", "later"])
def test_a_trial_that_failed_has_ended_and_is_the_worst_of_all(history, mode, worst):
    """Also where its earlier epochs were good, and where there is none."""
    found = summary(history, "", "the loss is not finite", "best", mode)
    assert (found["score"], found["has_score"], found["done"]) == (worst, False, True)
    assert (found["epoch"], found["failed"]) == (len(history), "the loss is not finite")


def test_an_error_is_searched_downwards():
    experiment = SEARCH.experiment
    of_errors = dataclasses.replace(
        experiment, target=DimensionsConfig(primary="rmse"), loss=dataclasses.replace(experiment.loss, kind="mse")
    )
    assert mode_of(SEARCH) == "max"
    assert mode_of(dataclasses.replace(SEARCH, experiment=of_errors)) == "min"


def test_a_trial_that_keeps_its_last_epoch_holds_people_out_and_goes_to_its_end():
    for keep, patience in (("last", 50), ("best", SEARCH.experiment.training.patience)):
        training = trial_experiment(SEARCH, {"training.keep": keep, "training.epochs": 50}).training
        assert (training.keep, training.epochs, training.patience) == ("best", 50, patience)


def test_a_ctrl_c_that_ray_swallows_comes_again():
    before = signal.getsignal(signal.SIGINT)
    ctrl_c = CtrlC()
    with pytest.raises(KeyboardInterrupt), ctrl_c:
        with suppress(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
        with pytest.raises(KeyboardInterrupt):
            ctrl_c.again()
    assert signal.getsignal(signal.SIGINT) is before


def test_without_ctrl_c_nothing_is_raised_and_errors_pass():
    ctrl_c = CtrlC()
    with ctrl_c:
        ctrl_c.again()
    with pytest.raises(ValueError, match="mine"), CtrlC():
        raise ValueError("mine")
