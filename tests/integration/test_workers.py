"""Data-parallel training with real Ray Train workers: two workers learn what one learns."""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from conftest import ROOT
from heads import workers_of
from mien.experiment import (
    AugmentConfig,
    DataConfig,
    ExecutionConfig,
    Experiment,
    LstmAttentionConfig,
    MlpConfig,
    ProtocolConfig,
    TrainingConfig,
)
from mien.folder import Folder
from mien.results.run import Run
from mien.training.loop import train_run
from tiny import dataset

pytestmark = [pytest.mark.ray, pytest.mark.slow]

# Nothing drawn inside the model: each worker would draw its own.
MODELS = {
    "lstm_attention": LstmAttentionConfig(
        step_s=0.0, lstm_units=5, row_units=3, dense_units=7, dropout=0.0, row_dropout=0.0, input_noise=0.0
    ),
    "mlp": MlpConfig(units=13, dropout=0.0),
}
EXPERIMENTS = {
    family: Experiment(
        name="workers",
        data=DataConfig(features=("voice", "row", "face")),
        protocol=ProtocolConfig(folds=2),
        augment=AugmentConfig(kind="sync"),
        model=model,
        training=TrainingConfig(epochs=3, patience=3, batch_size=8),
    )
    for family, model in MODELS.items()
}
each_family = pytest.mark.parametrize(
    "family",
    [pytest.param("lstm_attention", marks=pytest.mark.tensorflow), pytest.param("mlp", marks=pytest.mark.torch)],
)


def start(family: str, folder: Path, workers: int, address: str = "local", **execution) -> subprocess.Popen[str]:
    """A driver, in a process of its own; Ray's workers are real."""
    return driver(f"launch_here({family!r}, {str(folder)!r}, {workers}, {execution!r})", address)


def driver(call: str, address: str = "local") -> subprocess.Popen[str]:
    """A process that calls a function of this file."""
    paths = ":".join(map(str, [ROOT / "platform", ROOT / "tests", Path(__file__).parent]))
    return subprocess.Popen(
        [sys.executable, "-c", f"import test_workers; test_workers.{call}"],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, "PYTHONPATH": paths, "RAY_ADDRESS": address},
    )


def finished(driver: subprocess.Popen[str], folder: Path) -> Run:
    """Its run, once the driver has ended well; each epoch was told once, in order."""
    output, _ = driver.communicate(timeout=600)
    assert driver.returncode == 0, output[-6000:]
    assert [line for line in output.splitlines() if line.startswith("epoch ")] == ["epoch 1", "epoch 2", "epoch 3"]
    return Run(Folder(folder), seed=0, fold=0)


def train(family: str, folder: Path, workers: int) -> Run:
    return finished(start(family, folder, workers), folder)


def wait_for_an_epoch(driver: subprocess.Popen[str], folder: Path) -> None:
    deadline_s = time.monotonic() + 480
    while not (folder / "checkpoints" / "epoch-0001" / "MANIFEST.json").exists():
        assert driver.poll() is None, driver.stdout and driver.stdout.read()[-6000:]
        assert time.monotonic() < deadline_s
        time.sleep(0.02)


def launch_here(family: str, folder: str, workers: int, execution: dict) -> None:
    from mien.training import launch
    from mien.training.run_job import RunJob

    data, experiment = dataset(), EXPERIMENTS[family]
    split = data.splits(experiment.protocol)[0]

    def told(run: Run, record: dict) -> None:
        print("epoch", record["epoch"], flush=True)

    job = RunJob(Run(Folder(folder), 0, 0), experiment, split)
    for _ in launch.train_jobs([job], data, ExecutionConfig(workers=workers, **execution), told):
        pass


def losses(run: Run) -> list[list[float]]:
    return [[record["train_loss"], record["validation_loss"]] for record in run.history()]


@pytest.fixture(scope="module")
def alone(tmp_path_factory) -> Callable[[str], Run]:
    """The run of a family in one process."""
    return cache(lambda family: train(family, tmp_path_factory.mktemp("alone"), 0))


@pytest.mark.torch
def test_one_worker_of_a_group_is_the_local_mode(tmp_path, alone):
    one = train("mlp", tmp_path, 1)
    np.testing.assert_allclose(losses(one), losses(alone("mlp")), rtol=1e-6)


@each_family
def test_two_workers_learn_what_one_learns(family, tmp_path, alone):
    # 1e-5: the sum of a batch's gradients is taken in another order.
    together, one = train(family, tmp_path, 2), alone(family)
    np.testing.assert_allclose(losses(together), losses(one), atol=1e-5)
    assert json.loads(together.folder.read_text("environment.json"))["workers"] == 2
    assert together.predictions().num_rows == one.predictions().num_rows


@each_family
@pytest.mark.fault
def test_a_worker_that_dies_is_replaced_and_the_run_ends_the_same(family, tmp_path, alone):
    """SIGKILL to one of two worker processes after the first epoch; Ray Train starts the group again."""
    driver = start(family, tmp_path, 2, max_failures=2)
    wait_for_an_epoch(driver, tmp_path)
    os.kill(workers_of(driver.pid)[-1], signal.SIGKILL)
    run = finished(driver, tmp_path)
    assert [record["epoch"] for record in run.history()] == [1, 2, 3]
    np.testing.assert_allclose(losses(run), losses(alone(family)), atol=1e-5)


def die_late(run, experiment, data, split, *, parents, place, report) -> None:
    """What a worker raises that misses another comes before the other's death is noticed."""
    if place.group.rank == 1:
        time.sleep(3)
        os.kill(os.getpid(), signal.SIGKILL)
    raise RuntimeError("connection reset by peer")


def die_late_here(folder: str) -> None:
    import ray

    from mien.connection import connected
    from mien.training.group import fit_group
    from mien.training.run_job import RunJob

    data, experiment = dataset(), EXPERIMENTS["mlp"]
    job = RunJob(Run(Folder(folder), 0, 0), experiment, data.splits(experiment.protocol)[0])
    with connected():
        fit_group(job, ray.put(data), ExecutionConfig(workers=2), train=die_late)


@pytest.mark.torch
@pytest.mark.fault
def test_a_worker_that_died_is_named_and_not_those_that_miss_it(tmp_path):
    output, _ = driver(f"die_late_here({str(tmp_path)!r})").communicate(timeout=600)
    assert "the worker of rank 1 was killed by the system" in output.splitlines()[-1], output[-6000:]


@pytest.mark.tensorflow
@pytest.mark.fault
@pytest.mark.cluster
def test_with_a_node_gone_for_good_an_elastic_run_goes_on_with_one_worker(tmp_path, alone):
    """Three nodes, one worker on each of two; one of these two nodes is lost after the first epoch."""
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
    try:
        nodes = [cluster.add_node(num_cpus=1) for _ in range(2)]
        driver = start("lstm_attention", tmp_path, 2, cluster.address, min_workers=1, max_failures=5)
        wait_for_an_epoch(driver, tmp_path)
        lost = nodes[1]
        os.kill(workers_of(lost.all_processes["raylet"][0].process.pid)[0], signal.SIGKILL)
        cluster.remove_node(lost, allow_graceful=False)
        run = finished(driver, tmp_path)
    finally:
        cluster.shutdown()
    assert run.folder.read_json("environment.json")["workers"] == 1
    np.testing.assert_allclose(losses(run), losses(alone("lstm_attention")), atol=1e-5)


def diverge_here(folder: str) -> None:
    import ray

    from mien.connection import connected
    from mien.errors import DivergedError
    from mien.training.group import fit_group
    from mien.training.run_job import RunJob

    data, experiment = dataset(), EXPERIMENTS["mlp"]
    training = dataclasses.replace(experiment.training, learning_rate=1e30, schedule="constant", clip_norm=0.0)
    experiment = dataclasses.replace(experiment, training=training)
    job = RunJob(Run(Folder(folder), 0, 0), experiment, data.splits(experiment.protocol)[0])
    with connected():
        try:
            fit_group(job, ray.put(data), ExecutionConfig(workers=2, max_failures=3), train=counted)
        except DivergedError as error:
            print(error)


def counted(run, *arguments, place, **options) -> None:
    """train_run, with a note of each time that a worker begins."""
    with Path(run.folder.path(f"begun-{place.group.rank}")).open("a") as file:
        file.write("x")
    train_run(run, *arguments, place=place, **options)


@pytest.mark.torch
def test_workers_of_a_model_that_diverges_stop_together_and_are_not_started_again(tmp_path):
    output, _ = driver(f"diverge_here({str(tmp_path)!r})").communicate(timeout=600)
    said = output.splitlines()[-1]
    assert f"{tmp_path}: the loss of epoch 1, batch 2 of" in said, output[-6000:]
    clips = said.rpartition(": ")[2].split(", ")
    assert len(clips) > 4, "those of both workers"
    assert [(tmp_path / f"begun-{rank}").read_text() for rank in (0, 1)] == ["x", "x"]
