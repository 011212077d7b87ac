"""What is said while nodes are on their way."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest

from mien import connection
from mien.capacity import room
from mien.errors import ExperimentError
from mien.experiment import ExecutionConfig
from mien.training.waits import check_can_come, missing

HEAD = {"Alive": True, "Resources": {"memory": 1e9}, "Labels": {"ray.io/node-group": "head"}}
CPU = {"Alive": True, "Resources": {"CPU": 16.0}, "Labels": {"ray.io/node-group": "cpu"}}
DECLARED = """
head_node_type: head
available_node_types:
  head: {resources: {CPU: 0}}
  cpu: {max_workers: 8, resources: {CPU: 16}}
  cpu-96: {max_workers: 0, resources: {CPU: 96}}
  gpu: {max_workers: 4, resources: {CPU: 8, GPU: 1}}
"""


@pytest.fixture
def cluster(monkeypatch, tmp_path):
    """A head without CPUs, as Ray tells of it, and what `ray up` has left in its home."""
    import ray

    told: dict[str, Any] = {"nodes": [HEAD], "there": {"CPU": 0.0}, "free": {}}
    monkeypatch.setattr(ray, "nodes", lambda: told["nodes"])
    monkeypatch.setattr(ray, "cluster_resources", lambda: told["there"])
    monkeypatch.setattr(ray, "available_resources", lambda: told["free"])
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "ray_bootstrap_config.yaml").write_text(DECLARED)
    return told


def test_what_the_cluster_has_and_may_start(cluster):
    assert missing(ExecutionConfig(), 4) == (
        "waiting for 4 workers of 1 CPU: the cluster has 0 CPU; it may start 8 x cpu, 4 x gpu"
    )
    assert missing(ExecutionConfig(gpu=True, gpu_share=0.25), 1) == (
        "waiting for 1 worker of 1 CPU and 0.25 GPU: the cluster has 0 CPU and 0 GPU; it may start 4 x gpu"
    )
    cluster |= {"nodes": [HEAD, CPU], "there": {"CPU": 16.0}, "free": {"CPU": 2.0}}
    assert room({"CPU": 16.0}) == "the cluster has 16 CPU, 2 of them free; it may start 7 x cpu"
    cluster["nodes"] = [CPU | {"Labels": {}}]
    assert room({"CPU": 4.0}) == "the cluster has 16 CPU, 2 of them free", "nobody launched it: it does not grow"


def test_a_program_beside_the_head_knows_that_there_is_an_autoscaler(cluster, tmp_path):
    (tmp_path / "ray_bootstrap_config.yaml").unlink()
    assert room({"CPU": 4.0}) == "the cluster has 0 CPU; its autoscaler may start more"
    check_can_come(ExecutionConfig(cpus_per_worker=1000), 1000)


def test_what_can_never_come_is_refused_and_what_may_come_is_waited_for(cluster, tmp_path):
    check_can_come(ExecutionConfig(), 8 * 16 + 4 * 8)
    check_can_come(ExecutionConfig(gpu=True, gpu_share=0.25), 16)
    with pytest.raises(
        ExperimentError, match="161 workers of 1 CPU do not fit .* its autoscaler can start too few more"
    ):
        check_can_come(ExecutionConfig(), 161)
    with pytest.raises(ExperimentError, match="a worker needs 17 CPU, the largest node has 16, and no autoscaler"):
        check_can_come(ExecutionConfig(cpus_per_worker=17), 1)
    (tmp_path / "ray_bootstrap_config.yaml").write_text(DECLARED.replace("max_workers: 4", "max_workers: 0"))
    with pytest.raises(ExperimentError, match="execution.gpu: a worker needs 1 GPU, no node has one"):
        check_can_come(ExecutionConfig(gpu=True), 1)  # and not that it needs a CPU, which may come
    (tmp_path / "ray_bootstrap_config.yaml").write_text(DECLARED)
    cluster["nodes"] = [HEAD, CPU]
    check_can_come(ExecutionConfig(), 8 * 16 + 4 * 8)
    cluster["nodes"] = [CPU | {"Labels": {}}]
    with pytest.raises(ExperimentError, match="17 workers of 1 CPU do not fit .* no autoscaler can start more"):
        check_can_come(ExecutionConfig(), 17)
    with pytest.raises(ExperimentError, match="execution.gpu: a worker needs 1 GPU, no node has one"):
        check_can_come(ExecutionConfig(gpu=True), 1)


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
