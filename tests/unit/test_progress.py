"""Progress of a training: epochs are counted, a time is left from the first on, and a terminal of 80 columns holds it."""

from __future__ import annotations

from io import StringIO
from types import SimpleNamespace

import pytest
from rich.console import Console

from mien.cli import progress, terminal
from mien.cli.progress import training_events
from mien.experiment import Experiment, SvmConfig, TrainingConfig
from mien.folder import Folder
from mien.results.run import Run

RECORD = {"train_loss": 1.0, "score": 0.61234, "score_name": "uar", "samples_per_s": 9.0}
ENDED = {"test": {"uar": 0.5}, "stopped": "all 3 epochs done"}


@pytest.fixture
def screen(monkeypatch):
    written = StringIO()
    console = Console(file=written, force_terminal=True, color_system=None, width=80, highlight=False)
    for module in (progress, terminal):
        monkeypatch.setattr(module, "ERR", console)
    return written


def run_of(tmp_path, seed: int, fold: int) -> Run:
    return Run(Folder(str(tmp_path)), seed, fold)


@pytest.mark.parametrize(("stops", "shown"), [(False, "31/180 epochs, run 2/6"), (True, "60/180 epochs, run 3/6")])
def test_the_bar_counts_epochs_and_knows_what_is_left(tmp_path, screen, stops, shown):
    """One run of six is done; another trains its first epoch, and may stop there: then its others will not come."""
    experiment = Experiment(name="ravdess-units", training=TrainingConfig(epochs=30))
    series = SimpleNamespace(experiment=experiment, folder="runs/ravdess-units/0123abcd")
    with training_events() as told:
        told.on_start(series, 5, 6)
        told.on_epoch(run_of(tmp_path, 0, 1), {**RECORD, "epoch": 1})
        if stops:
            told.on_run(run_of(tmp_path, 0, 1), ENDED)
    drawn = screen.getvalue()
    assert f"{shown}, UAR 0.6123, " in drawn and " left" in drawn
    assert "…" not in drawn, "cut off at 80 columns"


def test_a_training_that_goes_on_has_not_trained_what_was_there(tmp_path, screen, monkeypatch):
    """Ten epochs in ten seconds are a second each, though the run stands at 25."""
    now = [100.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    series = SimpleNamespace(experiment=Experiment(name="x", training=TrainingConfig(epochs=40)), folder="runs/x")
    with training_events() as told:
        told.on_start(series, 1, 1)
        for epoch in range(16, 26):
            now[0] += 1
            told.on_epoch(run_of(tmp_path, 0, 0), {**RECORD, "epoch": epoch})
    assert "25/40 epochs, run 1/1, UAR 0.6123, 0:00:15 left" in screen.getvalue()


def test_a_family_of_one_pass_counts_runs(tmp_path, screen):
    series = SimpleNamespace(experiment=Experiment(name="x", model=SvmConfig()), folder="runs/x")
    with training_events() as told:
        told.on_start(series, 6, 6)
        told.on_epoch(run_of(tmp_path, 0, 0), {**RECORD, "epoch": 1, "score": None})
        told.on_run(run_of(tmp_path, 0, 0), ENDED)
    assert "1/6 runs" in screen.getvalue()


def test_verbose_says_each_epoch_and_quiet_nothing(tmp_path, screen):
    series = SimpleNamespace(experiment=Experiment(name="x"), folder="runs/x")
    for settings in ({"verbose": True}, {}, {"quiet": True}):
        screen.truncate(0)
        with training_events(**settings) as told:
            told.on_start(series, 1, 1)
            told.on_epoch(run_of(tmp_path, 0, 0), {**RECORD, "epoch": 1})
        assert ("seed 0 fold 0  epoch   1" in screen.getvalue()) == ("verbose" in settings)
    assert not screen.getvalue().strip("\0")


def test_a_log_says_the_end_once(monkeypatch):
    written = StringIO()
    monkeypatch.setattr(terminal, "ERR", Console(file=written, width=80))
    with terminal.Bars() as bars:
        for n_done in (0, 3, 3):
            bars.update("x", n_done, 3, "runs")
    assert written.getvalue().splitlines() == ["x: 0/3 runs", "x: 3/3 runs"]
