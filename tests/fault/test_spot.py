"""A spot notice: a fake metadata service on loopback, the real sidecar, a real cluster of several nodes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

from alone import run_alone
from conftest import ROOT
from mien.cluster.aws import spot
from mien.experiment import (
    AugmentConfig,
    DataConfig,
    ExecutionConfig,
    Experiment,
    MlpConfig,
    ProtocolConfig,
    TrainingConfig,
)
from mien.folder import Folder
from mien.results.run import Run
from tiny import dataset

pytestmark = pytest.mark.fault


PATHS = ":".join(map(str, (ROOT / "platform", ROOT / "tests", Path(__file__).parent)))


class Imds(ThreadingHTTPServer):
    """The instance metadata service: nothing without a token, 404 until there is a notice."""

    def __init__(self, port: int = 0) -> None:
        super().__init__(("127.0.0.1", port), Imds.Handler)
        self.notice: dict[str, str] | None = None
        self.rebalance: dict[str, str] | None = None
        self.broken: list[tuple[int, bytes]] = []  # answers to give first, whatever is asked
        self.tokens: set[str] = set()
        self.n_tokens = self.n_questions = 0
        self.endpoint = f"http://127.0.0.1:{self.server_port}"

    def give_notice(self, in_s: float) -> float:
        """Time of `time.time` at which the instance goes."""
        leaves = datetime.now(UTC) + timedelta(seconds=in_s)
        self.notice = {"action": "terminate", "time": f"{leaves:%Y-%m-%dT%H:%M:%SZ}"}
        return leaves.timestamp()

    class Handler(BaseHTTPRequestHandler):
        server: Imds

        def log_message(self, *_: object) -> None:
            pass

        def answer(self, status: int, body: bytes = b"") -> None:
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def do_PUT(self) -> None:
            if self.path != "/latest/api/token" or not self.headers.get("X-aws-ec2-metadata-token-ttl-seconds"):
                return self.answer(400)
            self.server.n_tokens += 1
            token = f"token-{self.server.n_tokens}"
            self.server.tokens.add(token)
            return self.answer(200, token.encode())

        def do_GET(self) -> None:
            if self.headers.get("X-aws-ec2-metadata-token") not in self.server.tokens:
                return self.answer(401)
            self.server.n_questions += 1
            if self.server.broken:
                return self.answer(*self.server.broken.pop())
            paths = {
                "/latest/meta-data/spot/instance-action": self.server.notice,
                "/latest/meta-data/events/recommendations/rebalance": self.server.rebalance,
            }
            found = paths.get(self.path)
            return self.answer(404) if found is None else self.answer(200, json.dumps(found).encode())


@pytest.fixture
def imds() -> Iterator[Imds]:
    server = Imds()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


@contextmanager
def sidecar(endpoint: str, *words: str) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-m", "mien.cluster.aws.spot", "--poll-s", "0.1", *words]
    environment = {
        **os.environ,
        "PYTHONPATH": str(ROOT / "platform"),
        "AWS_EC2_METADATA_SERVICE_ENDPOINT": endpoint,
        "http_proxy": "http://127.0.0.1:9",  # nobody there
        "PYTHONUNBUFFERED": "1",
    }
    process = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def wait_until(condition, what: str, seconds: float = 300) -> None:
    end_s = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end_s, f"waited {seconds} s for {what}"
        time.sleep(0.02)


# ---------------------------------------------------------------------- the sidecar


def test_where_there_is_no_metadata_service_it_says_so_and_ends_well():
    with sidecar("http://127.0.0.1:9") as process:
        _, said = process.communicate(timeout=30)
    assert process.returncode == 0
    assert "not on EC2" in said


def test_it_goes_on_through_errors_and_takes_a_new_token_when_the_old_one_runs_out(imds, monkeypatch, caplog):
    caplog.set_level("INFO")
    drained: list[dict[str, str]] = []

    def drain(notice: dict[str, str], node: list[str]) -> bool:
        drained.append(notice)
        return len(drained) > 1  # Ray did not answer the first time

    monkeypatch.setattr(spot, "drain", drain)
    watcher = threading.Thread(target=spot.watch, args=(spot.Metadata(imds.endpoint), [], 0.01), daemon=True)
    watcher.start()
    wait_until(lambda: "waiting" in caplog.text, "the first answer", 10)
    for trouble in ([(500, b"")], [(200, b"<html>")]):
        imds.broken = trouble
        n_before = imds.n_questions
        wait_until(lambda n=n_before: imds.n_questions > n + 2, "further questions", 10)
    imds.tokens.clear()
    wait_until(lambda: imds.n_tokens == 2, "a new token", 10)
    imds.rebalance = {"noticeTime": "2026-01-31T23:57:00Z"}
    wait_until(lambda: "expects to need" in caplog.text, "the advice in the log", 10)
    assert watcher.is_alive() and not drained, "a recommendation is no notice"
    imds.give_notice(120)
    watcher.join(10)
    assert not watcher.is_alive()
    assert [notice["action"] for notice in drained] == ["terminate"] * 2
    assert caplog.text.count("did not answer") == 2
    assert imds.n_tokens == 2, "a token is for six hours, not for a question"


@pytest.mark.ray
@pytest.mark.slow
def test_it_finds_the_ray_of_its_machine_and_has_its_token(tmp_path):
    """As cluster.yaml starts it: told neither address nor node. A drained node without work ends by itself."""
    script = """
        ray start --head --num-cpus=1 --include-dashboard=false
        python -c "import test_spot; test_spot.serve_a_notice(8999)" &
        until (exec 3<>/dev/tcp/127.0.0.1/8999) 2>/dev/null; do sleep 0.1; done
        timeout 60 python -m mien.cluster.aws.spot --poll-s 0.5
        for _ in $(seq 100); do pgrep -x raylet || exit 0; sleep 0.2; done
        exit 1
        """
    endpoint = "http://127.0.0.1:8999"
    token = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": "0123456789abcdef" * 4}
    log = tmp_path / "log"
    run_alone(script, log, timeout_s=200, AWS_EC2_METADATA_SERVICE_ENDPOINT=endpoint, **token)
    assert "drained" in log.read_text()


def serve_a_notice(port: int) -> None:
    server = Imds(port)
    server.give_notice(120)
    server.serve_forever()


# ---------------------------------------------------------------------- nodes that go

EPOCHS = 20
EPOCH_S = 1.0  # with two workers: 20 of them take longer than the notice, on a quick machine too
KILLED_AFTER = 4
EXPERIMENT = Experiment(
    name="spot",
    data=DataConfig(features=("voice", "row", "face")),
    protocol=ProtocolConfig(folds=2),
    augment=AugmentConfig(kind="sync"),
    model=MlpConfig(units=13, dropout=0.0),  # nothing drawn inside: each worker would draw its own
    # No checkpoint by the clock, and none because an epoch is the best: whatever is saved, the notice caused.
    training=TrainingConfig(epochs=EPOCHS, patience=EPOCHS, batch_size=8, keep="last"),
    execution=ExecutionConfig(save_every_s=3600, workers=2, min_workers=1, max_failures=0),
)


def counted(run, experiment, data, split, *, parents, place, report):
    """`train_run` in slow motion; each epoch that is trained leaves a line."""
    from mien.training.loop import train_run

    def count(record: dict) -> None:
        if place.group.rank == 0:
            with Path(run.folder.uri, "trained.txt").open("a") as file:
                print(record["epoch"], place.group.world, file=file)
        time.sleep(EPOCH_S if place.group.world > 1 else 0)
        report(record)

    return train_run(run, experiment, data, split, parents=parents, place=place, report=count)


def train_here(folder: str) -> None:
    """What the driver does."""
    import ray

    from mien.connection import connected
    from mien.training.group import fit_group
    from mien.training.run_job import RunJob

    data = dataset()
    job = RunJob(Run(Folder(folder), 0, 0), EXPERIMENT, data.splits(EXPERIMENT.protocol)[0])
    with connected():
        fit_group(job, ray.put(data), EXPERIMENT.execution, train=counted)


def start(code: str, address: str) -> subprocess.Popen[str]:
    environment = {
        **os.environ,
        "PYTHONPATH": PATHS,
        "RAY_ADDRESS": address,
        "RAY_TRAIN_PREEMPTION_POLL_INTERVAL_S": "0.5",
    }
    command = [sys.executable, "-c", textwrap.dedent(code)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment)


def ended(driver: subprocess.Popen[str]) -> str:
    output, _ = driver.communicate(timeout=300)
    assert driver.returncode == 0, output[-6000:]
    return output


def trained(folder: Path) -> list[tuple[int, int]]:
    """Epoch and number of workers, in the order in which they were trained."""
    file = folder / "trained.txt"
    return [tuple(map(int, line.split())) for line in file.read_text().splitlines()] if file.exists() else []


@contextmanager
def cluster(n_nodes: int):
    """A head that runs no work, and nodes of one CPU, on which the modules of these tests can be imported."""
    from ray.cluster_utils import Cluster

    from mien.connection import environment

    with environment(PYTHONPATH=PATHS):
        nodes = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
        workers = [nodes.add_node(num_cpus=1) for _ in range(n_nodes)]
    try:
        yield nodes, workers
    finally:
        nodes.shutdown()


@pytest.fixture(scope="module")
def alone(tmp_path_factory) -> Run:
    """The run that nothing disturbs, in one process."""
    from mien.training.loop import train_run

    run = Run(Folder(tmp_path_factory.mktemp("alone")), 0, 0)
    train_run(run, EXPERIMENT, dataset(), dataset().splits(EXPERIMENT.protocol)[0])
    return run


@pytest.mark.ray
@pytest.mark.cluster
@pytest.mark.slow
@pytest.mark.torch
def test_training_saves_upon_the_notice_and_goes_on_with_the_other_node(tmp_path, imds, alone):
    """Two nodes with a worker each; one of them is announced to go, and goes for good."""
    with cluster(2) as (nodes, workers):
        lost = workers[1]
        driver = start(f"import test_spot; test_spot.train_here({str(tmp_path)!r})", nodes.address)
        with sidecar(imds.endpoint, "--address", nodes.address, "--node-id", lost.node_id) as process:
            wait_until(lambda: len(trained(tmp_path)) >= KILLED_AFTER or driver.poll() is not None, "epochs")
            assert not (tmp_path / "checkpoints").exists()
            leaves_s = imds.give_notice(in_s=8)
            assert process.wait(60) == 0
            assert f"terminate this spot instance at {imds.notice['time']}" in process.stderr.read()
            wait_until(lambda: time.time() > leaves_s, "the end of the notice")
        n_before = len(trained(tmp_path))
        nodes.remove_node(lost, allow_graceful=False)
        ended(driver)
    assert_same_result(Run(Folder(tmp_path), 0, 0), alone)
    worlds = [n_workers for _, n_workers in trained(tmp_path)]
    assert worlds[0] == 2 and worlds[-1] == 1
    n_repeated = len(worlds) - EPOCHS
    print(f"{n_before} epochs when the node went, {n_repeated} of them repeated")
    assert n_repeated <= 1 < KILLED_AFTER <= n_before


@pytest.mark.torch
def test_without_the_notice_all_that_was_not_saved_is_trained_again(tmp_path, alone):
    """The same settings, killed: what the notice is good for."""
    from mien.training.loop import train_run

    run, epochs = Run(Folder(tmp_path), 0, 0), []

    def until(last_epoch: int):
        def stop(record: dict) -> None:
            epochs.append(record["epoch"])
            if record["epoch"] == last_epoch:
                raise KeyboardInterrupt

        return stop

    arguments = run, EXPERIMENT, dataset(), dataset().splits(EXPERIMENT.protocol)[0]
    with pytest.raises(KeyboardInterrupt):
        train_run(*arguments, report=until(KILLED_AFTER))
    train_run(*arguments, report=until(EPOCHS + 1))
    assert len(epochs) - EPOCHS == KILLED_AFTER
    assert_same_result(run, alone)


def assert_same_result(run: Run, whole: Run) -> None:
    assert [record["epoch"] for record in run.history()] == list(range(1, EPOCHS + 1))
    losses, expected = ([record["train_loss"] for record in r.history()] for r in (run, whole))
    np.testing.assert_allclose(losses, expected, atol=1e-5)
    assert run.metrics()["test"]["uar"] == pytest.approx(whole.metrics()["test"]["uar"], abs=1e-5)


@pytest.mark.ray
@pytest.mark.cluster
@pytest.mark.slow
def test_prepare_on_a_node_that_is_drained_and_goes_loses_nothing_and_repeats_little(tmp_path, imds):
    from mien.features.store import FeatureStore
    from tiny_corpus import write_corpus

    write_corpus(tmp_path / "corpus", 160)
    log = tmp_path / "extracted.txt"
    code = f"""
        from mien.features.prepare import prepare
        feature = ("tiny_extractors:Counted", {{"log": {str(log)!r}, "seconds": 0.2}})
        print(prepare("ravdess", {str(tmp_path / "corpus")!r}, {str(tmp_path / "store")!r}, [feature], workers=2))
        """
    with cluster(2) as (nodes, workers):
        driver = start(code, nodes.address)
        with sidecar(imds.endpoint, "--address", nodes.address, "--node-id", workers[1].node_id) as process:
            wait_until(lambda: log.exists() or driver.poll() is not None, "the first clip")
            leaves_s = imds.give_notice(in_s=8)
            assert process.wait(60) == 0
            wait_until(lambda: time.time() > leaves_s, "the end of the notice")
        assert driver.poll() is None, "it was done before the node went"
        nodes.remove_node(workers[1], allow_graceful=False)
        ended(driver)
    assert 160 <= len(log.read_text().splitlines()) <= 160 + 64  # at most the part that the node was at
    store = FeatureStore(str(tmp_path / "store"))
    spec = store.spec("ravdess", "loudness")
    assert not [finding for finding in store.verify("ravdess") if finding.severity == "error"]
    assert len(store.load("ravdess", spec)) + len(store.rejects("ravdess", spec)) == len(store.clips("ravdess")) == 160
