"""Searches through a real Ray Tune: honest winners, killed and asked again, and what is refused."""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from conftest import ROOT, hears_ctrl_c
from mien.experiment import LstmAttentionConfig
from mien.experiment.search import Search
from mien.folder import Folder
from mien.results.search_folder import SearchFolder
from tiny import search as at
from tiny import write_store

pytestmark = [pytest.mark.ray, pytest.mark.slow]


def start(search: Search, place: Path) -> subprocess.Popen[str]:
    """`mien search` in a process of its own."""
    saved = place / "asked.json"
    saved.write_text(json.dumps(search.to_json()))
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "platform"), "RAY_ADDRESS": "local"}
    command = [sys.executable, "-m", "mien", "search", str(saved)]
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment, preexec_fn=hears_ctrl_c
    )


def finished(process: subprocess.Popen[str], code: int = 0) -> tuple[str, str]:
    out, err = process.communicate(timeout=900)
    assert process.returncode == code, out[-3000:] + err[-6000:]
    return out, err


def folder(place: Path) -> SearchFolder:
    return SearchFolder.open(str(place / "runs" / "tiny-search"))


@pytest.fixture
def place(tmp_path: Path) -> Path:
    write_store(str(tmp_path / "store"))
    return tmp_path


@pytest.mark.torch
@pytest.mark.fault
def test_a_search_that_is_killed_and_asked_again_ends_whole(place):
    """Fold 0 whole, its driver killed in the middle; then the winner's test, and nothing done twice."""
    search = at(place, only_folds=(0,), finalists=2)
    driver = start(search, place)
    deadline_s = time.monotonic() + 300
    while not list((place / "runs" / "tiny-search").glob("**/search.json")) or {"done", "running"} - {
        trial.state for trial in folder(place).trials()
    }:
        assert driver.poll() is None, driver.communicate()[1][-6000:]
        assert time.monotonic() < deadline_s
        time.sleep(0.02)
    driver.send_signal(signal.SIGKILL)
    driver.communicate()
    before = {trial.signature: trial for trial in folder(place).trials()}
    assert any(trial.state == "running" for trial in before.values())

    out, _ = finished(start(search, place))
    found = folder(place)
    trials = found.trials()
    assert [trial.number for trial in trials] == list(range(8))
    assert {trial.state for trial in trials} <= {"done", "pruned"}, [trial.reason for trial in trials]
    for trial in trials:
        earlier = before.get(trial.signature)
        if earlier is not None and earlier.state != "running":
            assert dataclasses.replace(trial, inner_score=None) == earlier, "what was finished stands"
        elif earlier is not None:
            assert trial.attempts == 2
            assert trial.number == earlier.number
        history = found.history(trial)
        assert [record["epoch"] for record in history] == list(range(1, trial.n_epochs + 1))
        assert trial.score == max(record["score"] for record in history)
    assert_honest(found)
    assert "report:" in out
    assert (place / "runs" / "tiny-search" / "report.html").exists()

    started_s = time.time()
    finished(start(search, place))
    assert not [run for run in found.folder.names() if "DONE" in run]
    assert all(trial.ended_s < started_s for trial in folder(place).trials() if trial.ended_s is not None)
    assert folder(place).trials() == trials


def assert_honest(found: SearchFolder) -> None:
    """The winner trained to its end, and is the better of the two best on all subjects but the test's, which no trial
    met; only what was chosen was tested."""
    winner = found.winner(0)
    assert winner is not None
    done = sorted((trial for trial in found.trials(0) if trial.state == "done"), key=lambda trial: -trial.score)
    finalists = [trial for trial in done if trial.inner_score is not None]
    assert len(finalists) == 2
    assert min(trial.score for trial in finalists) >= max(trial.score for trial in done if trial not in finalists)
    assert winner.inner_score == max(trial.inner_score for trial in finalists)
    for trial in finalists:
        runs = [found.inner_run(0, trial.signature, part) for part in (1, 2)]
        assert trial.inner_score == pytest.approx(
            np.mean([trial.score, *(run.metrics()["validation"]["uar"] for run in runs)])
        )
        validated = [run.folder.read_json("split.json") for run in (found.run(0, trial.signature), *runs)]
        people = [subject for sides in validated for subject in sides["validation"]["subjects"]]
        assert len(people) == len(set(people)) == 3
        assert not any(sides["test"]["n_clips"] for sides in validated)
    for trial in found.trials(0):
        sides = found.run(0, trial.signature).folder.read_json("split.json")
        assert sides["test"]["n_clips"] == 0
        assert not found.run(0, trial.signature).folder.exists("predictions.parquet")
    variants = found.chosen["variants"]
    assert set(variants) == {"chosen", "as declared", "loss.kind = cross-entropy", "loss.kind = focal"}
    trained_on = sides["train"]["subjects"] + sides["validation"]["subjects"]
    for variant in variants.values():
        run = found.series(variant["signatures"]["0"]).run(0, 0)
        assert run.is_done
        tested = run.folder.read_json("split.json")["test"]["subjects"]
        assert tested
        assert not set(tested) & set(trained_on)
    chosen = found.series(variants["chosen"]["signatures"]["0"]).experiment
    assert chosen.training.learning_rate == winner.point["training.learning_rate"]
    assert chosen.loss.gamma == winner.point["loss.gamma"]


@pytest.mark.tensorflow
def test_ctrl_c_leaves_a_search_that_goes_on_and_a_failing_trial_never_wins(place, s3):
    """SIGINT to the driver; then the rest, in which one configuration diverges in every attempt. All of it in S3, and
    in TensorFlow: the process of the trials trains what was chosen as well."""
    space = {"training.learning_rate": "0.01 | 1e30", "training.clip_norm": "0 | 5"}
    search = at(place, storage=f"{s3}/runs", only_folds=(1,), space=space, trials=4, questions={}, pruner="none")
    model = LstmAttentionConfig(lstm_units=4, row_units=3, dense_units=5)
    search = dataclasses.replace(search, experiment=dataclasses.replace(search.experiment, model=model))
    there = Folder(f"{s3}/runs/tiny-search")
    driver = start(search, place)
    deadline_s = time.monotonic() + 300
    while not there.exists("search.json") or not SearchFolder.open(there.uri).trials():
        assert driver.poll() is None, driver.communicate()[1][-6000:]
        assert time.monotonic() < deadline_s
        time.sleep(0.1)
    driver.send_signal(signal.SIGINT)
    _, err = finished(driver, code=130)
    assert "the same command goes on" in err
    assert "Traceback" not in err
    finished(start(search, place))
    trials = SearchFolder.open(there.uri).trials()
    failed = [trial for trial in trials if trial.state == "failed"]
    assert len(trials) == 4
    assert failed
    assert all("not finite" in trial.reason for trial in failed)
    winner = SearchFolder.open(there.uri).winner(1)
    assert winner is not None
    assert winner.point["training.learning_rate"] == 0.01
    assert there.exists("report.html")


@pytest.mark.torch
def test_a_trial_of_two_workers_is_a_trial_of_one(place, tmp_path_factory):
    """Ray Train inside Ray Tune: the same validation scores as in the trial's own process."""
    other = tmp_path_factory.mktemp("groups")
    write_store(str(other / "store"))
    scores = []
    for where, workers in ((place, 0), (other, 2)):
        # What is declared wins: trained again once.
        few = {"space": {"training.learning_rate": "0.002 | 0.001"}, "trials": 1, "questions": {}, "pruner": "none"}
        finished(start(at(where, only_folds=(0,), parallel=1, workers=workers, **few), where))
        (trial,) = folder(where).trials()
        assert trial.state == "done", trial.reason
        scores.append([record["validation_loss"] for record in folder(where).history(trial)])
    assert scores[1] == pytest.approx(scores[0], abs=1e-5)
    assert_tune_can_read(folder(place))


def assert_tune_can_read(found: SearchFolder) -> None:
    """Ray's own analysis of what Tune left of fold 0."""
    from ray.tune import ExperimentAnalysis

    (left,) = (Path(found.folder.uri) / "tune").glob("tiny-search-fold-0-*")
    analysis = ExperimentAnalysis(str(left), default_metric="score", default_mode="max")
    (trial,) = found.trials()
    assert analysis.best_config == {"signature": trial.signature, "point": trial.point}
    assert analysis.best_result["score"] == pytest.approx(trial.score)
    (row,) = analysis.dataframe().to_dict("records")
    assert (row["epoch"], row["config/signature"]) == (trial.n_epochs, trial.signature)
    (epochs,) = analysis.trial_dataframes.values()
    assert epochs["validation_loss"].tolist() == [record["validation_loss"] for record in found.history(trial)]
