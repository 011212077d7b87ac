"""Two workers beside one, and the time from a kill until the run trains again. `make bench` runs it and prints.

One model of each framework would say the same of Ray; the transformer computes long enough for its sums to be hidden.
"""

from __future__ import annotations

import os
import signal
import statistics
import subprocess
import sys
import time
from pathlib import Path

import pytest

from conftest import ROOT
from heads import workers_of
from mien.bench.clips import clips_for
from mien.experiment import ExecutionConfig
from mien.folder import Folder
from mien.results.run import Run
from mien.training.run_job import RunJob

pytestmark = [pytest.mark.bench, pytest.mark.ray, pytest.mark.torch, pytest.mark.slow]

FAMILY = "av_transformer"
N_CLIPS = 160


def train_here(folder: str, workers: int, epochs: int) -> None:
    """What the processes of this file do."""
    import dataclasses

    from mien.training.launch import train_jobs

    experiment, data = clips_for(FAMILY, N_CLIPS)
    experiment = dataclasses.replace(
        experiment, training=dataclasses.replace(experiment.training, epochs=epochs, patience=epochs)
    )
    job = RunJob(Run(Folder(folder), 0, 0), experiment, data.splits(experiment.protocol)[0])
    for _ in train_jobs([job], data, ExecutionConfig(workers=workers, max_failures=3), lambda run, record: None):
        pass


def start(folder: Path, workers: int, epochs: int) -> subprocess.Popen[bytes]:
    paths = ":".join(map(str, [ROOT / "platform", ROOT / "tests", Path(__file__).parent]))
    call = f"import test_training; test_training.train_here({str(folder)!r}, {workers}, {epochs})"
    return subprocess.Popen(
        [sys.executable, "-c", call], env=os.environ | {"PYTHONPATH": paths, "RAY_ADDRESS": "local"}
    )


def history(folder: Path) -> list[dict]:
    return Run(Folder(folder), 0, 0).history()


def wait_for(folder: Path, n_epochs: int, driver: subprocess.Popen[bytes]) -> float:
    """Seconds of the clock when so many epochs are safe on disk."""
    while len(history(folder)) < n_epochs:
        assert driver.poll() is None
        time.sleep(0.02)
    return time.monotonic()


def test_two_workers_beside_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rates = {}
    for workers in (1, 2):
        driver = start(tmp_path / str(workers), workers, epochs=4)
        assert driver.wait() == 0
        rates[workers] = statistics.median(record["samples_per_s"] for record in history(tmp_path / str(workers))[1:])
    ratio = rates[2] / rates[1]
    with capsys.disabled():
        print(
            f"\n{FAMILY}, {N_CLIPS} clips, load {os.getloadavg()[0]:.0f}: {rates[1]:.1f} clips/s by one worker, "
            f"{rates[2]:.1f} by two: {ratio:.2f} times, efficiency {ratio / 2:.2f}"
        )
    assert ratio > 0.8  # no slower, also where others have the second core


@pytest.mark.parametrize("workers", [0, 2], ids=["the process", "one of two workers"])
def test_seconds_from_a_kill_until_it_trains_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], workers: int
) -> None:
    """The process: killed, and the same asked again at once. A worker of a group: Ray starts the group again."""
    driver = start(tmp_path, workers, epochs=6)
    wait_for(tmp_path, 2, driver)
    os.kill(workers_of(driver.pid)[-1] if workers else driver.pid, signal.SIGKILL)
    killed_s = time.monotonic()
    n_before = len(history(tmp_path))
    if not workers:
        driver.wait()
        driver = start(tmp_path, workers, epochs=6)
    again_s = wait_for(tmp_path, n_before + 1, driver) - killed_s
    assert driver.wait() == 0
    records = history(tmp_path)
    assert [record["epoch"] for record in records] == list(range(1, 7))
    epoch_s = statistics.median(record["seconds"] for record in records)
    with capsys.disabled():
        print(
            f"\n{FAMILY}, load {os.getloadavg()[0]:.0f}: {again_s:.1f} s from the kill to the end of the next epoch, of "
            f"which an epoch takes {epoch_s:.1f} s"
        )
