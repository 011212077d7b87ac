"""What is said while nodes are on their way."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest

from mien import connection
from mien.experiment import ExecutionConfig
from mien.training.waits import missing


@pytest.fixture
def cluster(monkeypatch):
    """A cluster of a head without CPUs, whose autoscaler has the node types of cluster.yaml, as Ray tells of it."""
    import ray
    from ray.core.generated.autoscaler_pb2 import ClusterConfig

    kinds = [
        ("head", 1, {"CPU": 0}),
        ("cpu", 8, {"CPU": 16}),
        ("cpu-96", 0, {"CPU": 96}),
        ("gpu", 4, {"CPU": 8, "GPU": 1}),
    ]
    config = ClusterConfig()
    for name, n, resources in kinds:
        kind = config.node_group_configs.add(name=name, max_count=n)
        for resource, amount in resources.items():
            kind.resources[resource] = amount
    told: dict[str, Any] = {"there": {"CPU": 0.0}, "free": {}, "config": config}
    monkeypatch.setattr(ray, "cluster_resources", lambda: told["there"])
    monkeypatch.setattr(ray, "available_resources", lambda: told["free"])
    monkeypatch.setattr(ray._private.state.state, "get_cluster_config", lambda: told["config"])
    return told


def test_what_the_cluster_has_and_may_start(cluster):
    assert missing(ExecutionConfig(), 4) == (
        "waiting for 4 workers of 1 CPU: the cluster has 0 CPU; it may start 8 x cpu, 4 x gpu"
    )
    assert missing(ExecutionConfig(gpu=True), 1) == (
        "waiting for 1 worker of 1 CPU and 1 GPU: the cluster has 0 CPU and 0 GPU; it may start 4 x gpu"
    )
    assert missing(ExecutionConfig(gpu=True, gpu_share=0.25), 1) == (
        "waiting for 1 worker of 1 CPU and 0.25 GPU: the cluster has 0 CPU and 0 GPU; it may start 4 x gpu"
    )
    cluster |= {"there": {"CPU": 16.0}, "free": {"CPU": 2.0}, "config": None}
    assert connection.room({"CPU": 4.0}) == "the cluster has 16 CPU, 2 of them free"


def test_waiting_is_told_until_what_was_waited_for_came(monkeypatch):
    monkeypatch.setattr(connection, "SAY_EVERY_S", 0.01)
    said: list[str] = []
    with connection.waiting(said.append, lambda: "waiting") as came:
        while len(said) < 3:
            came.wait(0.01)
        came.set()
        came.wait(0.05)
        n_said = len(said)
        for _ in range(3):
            came.wait(0.05)
        assert len(said) <= n_said + 1
    assert set(said) == {"waiting"}


def test_a_log_of_a_training_says_a_line_in_ten_seconds(tmp_path, monkeypatch):
    """A hundred epochs of a second each, written to a file."""
    from io import StringIO
    from types import SimpleNamespace

    from rich.console import Console

    from mien.cli import progress, terminal
    from mien.experiment import Experiment, TrainingConfig
    from mien.folder import Folder
    from mien.results.run import Run

    now, written = [100.0], StringIO()
    console = Console(file=written, width=120)
    for module in (progress, terminal):
        monkeypatch.setattr(module, "ERR", console)
        monkeypatch.setattr(module.time, "monotonic", lambda: now[0])
    record = {"train_loss": 1.0, "score": 0.6, "score_name": "uar", "samples_per_s": 9.0}
    series = SimpleNamespace(experiment=Experiment(name="x", training=TrainingConfig(epochs=200)), folder="runs/x")
    with progress.training_events() as told:
        told.on_start(series, 1, 1)
        for epoch in range(1, 101):
            now[0] += 1
            told.on_epoch(Run(Folder(str(tmp_path)), 0, 0), {**record, "epoch": epoch})
    lines = written.getvalue().splitlines()
    assert len(lines) == 2 + 10, "what there is to do, and the bar at the start; then one in ten seconds"
    assert "100/200 epochs, run 1/1, UAR 0.6000, 0:01:40 left" in lines[-1]


@pytest.mark.slow
def test_the_trainer_of_tensorflow_comes_without_a_greeting():
    code = "from mien.training.group import _trainer; print(_trainer('tensorflow').__name__)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=300)
    assert (done.returncode, done.stdout, done.stderr) == (0, "TensorflowTrainer\n", "")
