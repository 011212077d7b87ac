"""Data-parallel training with real Ray Train workers: two workers learn what one learns."""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import numpy as np
import pytest

from conftest import ROOT
from mien.experiment import (
    AugmentConfig,
    DataConfig,
    ExecutionConfig,
    Experiment,
    LstmAttentionConfig,
    ProtocolConfig,
    TrainingConfig,
)
from mien.runs import Run
from mien.storage import Folder
from tiny import dataset

pytestmark = [pytest.mark.tensorflow, pytest.mark.ray, pytest.mark.slow]

EXPERIMENT = Experiment(
    name="workers",
    data=DataConfig(audio=("voice", "row"), video=("face",)),
    protocol=ProtocolConfig(folds=2),
    augment=AugmentConfig(kind="sync"),
    # Nothing drawn inside the model: each worker would draw its own.
    model=LstmAttentionConfig(
        step_s=0.0, lstm_units=5, row_units=3, dense_units=7, dropout=0.0, row_dropout=0.0, input_noise=0.0
    ),
    training=TrainingConfig(epochs=3, patience=3, batch_size=8),
)


def train(folder: Path, workers: int, **execution) -> Run:
    """In a process of its own, as a driver is; Ray's workers are real."""
    code = textwrap.dedent(
        f"""
        import dataclasses, sys
        sys.path[:0] = [{str(ROOT / "platform")!r}, {str(ROOT / "tests")!r}, {str(Path(__file__).parent)!r}]
        import test_workers
        test_workers.launch_here({str(folder)!r}, {workers}, {execution!r})
        """
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment())
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-6000:]
    return Run(Folder(folder), seed=0, fold=0)


def environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": f"{ROOT / 'platform'}:{ROOT / 'tests'}"}


def launch_here(folder: str, workers: int, execution: dict) -> None:
    from mien import launch

    data = dataset()
    split = data.splits(EXPERIMENT.protocol)[0]
    experiment = dataclasses.replace(EXPERIMENT, execution=ExecutionConfig(workers=workers, **execution))
    train = launch._train_in_groups if workers else launch._train_here
    for _ in train([(Run(Folder(folder), 0, 0), split)], experiment, data, launch.Progress()):
        pass


def losses(run: Run) -> list[list[float]]:
    return [[record["train_loss"], record["validation_loss"]] for record in run.history()]


@pytest.fixture(scope="module")
def alone(tmp_path_factory) -> Run:
    return train(tmp_path_factory.mktemp("alone"), 0)


def test_one_worker_of_a_group_is_the_local_mode(tmp_path, alone):
    np.testing.assert_allclose(losses(train(tmp_path, 1)), losses(alone), rtol=1e-6)


def test_two_workers_learn_what_one_learns(tmp_path, alone):
    # 1e-5: the sum of a batch's gradients is taken in another order.
    together = train(tmp_path, 2)
    np.testing.assert_allclose(losses(together), losses(alone), atol=1e-5)
    assert json.loads(together.folder.read_text("environment.json"))["workers"] == 2
    assert together.predictions().num_rows == alone.predictions().num_rows


@pytest.mark.fault
def test_a_worker_that_dies_is_replaced_and_the_run_ends_the_same(tmp_path, alone):
    """SIGKILL to one of two worker processes after the first epoch; Ray Train starts the group again."""
    code = textwrap.dedent(
        f"""
        import sys
        sys.path[:0] = [{str(ROOT / "platform")!r}, {str(ROOT / "tests")!r}, {str(Path(__file__).parent)!r}]
        import test_workers
        test_workers.launch_here({str(tmp_path)!r}, 2, {{"max_failures": 2}})
        """
    )
    driver = subprocess.Popen(
        [sys.executable, "-c", code],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=environment(),
    )
    deadline_s = time.monotonic() + 480
    while not (tmp_path / "checkpoints" / "epoch-0001" / "MANIFEST.json").exists():
        assert driver.poll() is None, driver.stdout and driver.stdout.read()[-6000:]
        assert time.monotonic() < deadline_s
        time.sleep(0.02)
    victims = workers_of(driver.pid)
    assert victims
    os.kill(victims[-1], signal.SIGKILL)
    output, _ = driver.communicate(timeout=600)
    assert driver.returncode == 0, output[-6000:]
    run = Run(Folder(tmp_path), 0, 0)
    assert [record["epoch"] for record in run.history()] == [1, 2, 3]
    np.testing.assert_allclose(losses(run), losses(alone), atol=1e-5)


def workers_of(pid: int) -> list[int]:
    """Ray Train's worker processes below a driver: they name themselves by their actor's class."""
    import psutil

    return [
        child.pid
        for child in psutil.Process(pid).children(recursive=True)
        if "RayTrainWorker" in " ".join(child.cmdline())
    ]
