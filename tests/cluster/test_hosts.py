"""`ray up`, `ray job submit` and `ray down` with what cluster.yaml declares, over SSH, on hosts of this machine.

A head and two workers of one CPU, an S3, and the user's laptop, from which everything is done. In the middle of the job
one worker is lost, as a spot node is.
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import hosts
import pytest
import yaml

from conftest import ROOT

MISSING = hosts.missing()
pytestmark = [
    pytest.mark.ray,
    pytest.mark.cluster,
    pytest.mark.slow,
    pytest.mark.skipif(bool(MISSING), reason=str(MISSING)),
]

CLUSTER = yaml.safe_load((ROOT / "cluster.yaml").read_text())
WORKERS = ("worker-1", "worker-2")
LOST = WORKERS[1]
S3 = {
    "AWS_ENDPOINT_URL": "http://s3:5000",
    "AWS_ACCESS_KEY_ID": "test",
    "AWS_SECRET_ACCESS_KEY": "test",
    "AWS_DEFAULT_REGION": "us-east-1",
}
# Sooner than Ray's defaults, for the test's sake: that a silent node is lost, that Train no longer waits for it to take
# part again, and that a node without a head ends.
SOONER = {
    "RAY_health_check_period_ms": "1000",
    "RAY_health_check_timeout_ms": "3000",
    "RAY_health_check_failure_threshold": "3",
    "RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S": "10",
    "RAY_gcs_rpc_server_reconnect_timeout_s": "15",
}
ONE_THREAD = {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": "", "RAY_USAGE_STATS_ENABLED": "0"}
JOB = ("python", "tests/cluster/prepare_and_train.py")
SYSTEMS = ("sync_aug", "attention_focal", "va_transformer", "affect_ensemble", "video_full")
LOSES_A_HOST = "va_transformer"


def local_variant(cluster: dict[str, Any], head: str, workers: list[str]) -> dict[str, Any]:
    """cluster.yaml for hosts that are there already: what it mounts, sets up and starts is left as it is.

    Ray's local provider knows neither kinds of nodes nor their number; `as_node_type` gives a host what Ray would take
    from its kind.
    """
    of_aws = {"metadata", "provider", "auth", "available_node_types", "head_node_type", "max_workers"}
    return {name: value for name, value in cluster.items() if name not in of_aws} | {
        "provider": {"type": "local", "head_ip": head, "worker_ips": workers},
        "auth": {"ssh_user": "root", "ssh_private_key": "~/.ssh/hosts.pem"},
    }


def as_node_type(name: str, **resources: int) -> dict[str, str]:
    """The variables by which Ray hands resources and labels of a kind of node to `ray start`."""
    declared = CLUSTER["available_node_types"][name]
    return {
        "RAY_OVERRIDE_RESOURCES": json.dumps(declared["resources"] | resources),
        "RAY_OVERRIDE_LABELS": json.dumps(declared["labels"]),
    }


def bake(host: hosts.Host) -> None:
    """This Python as the one that node_setup.sh would install: an image that has it, by the script's own stamp."""
    venv = host.home / "mien" / ".venv"
    venv.mkdir(parents=True)
    for path in Path(sys.prefix).iterdir():
        (venv / path.name).symlink_to(path)
    lock = (ROOT / "requirements.lock").read_bytes()
    (venv / ".installed.sha256").write_text(hashlib.sha256(lock).hexdigest())


@pytest.fixture(scope="module")
def shared(tmp_path_factory) -> Path:
    """A folder that all hosts see, as they would a shared file system."""
    return tmp_path_factory.mktemp("shared")


@pytest.fixture(scope="module")
def machines(tmp_path_factory, shared) -> Iterator[dict[str, hosts.Host]]:
    """The hosts, without a Ray as yet."""
    on_all = S3 | SOONER | ONE_THREAD
    servers = {"head": as_node_type("head") | on_all}
    servers |= {name: as_node_type("cpu", CPU=1) | on_all for name in WORKERS}
    typed = S3 | ONE_THREAD | {"RAY_AUTH_MODE": "token", "PATH": f"{Path(sys.prefix) / 'bin'}:/usr/bin:/bin:/usr/sbin"}
    with hosts.network(
        tmp_path_factory.mktemp("network") / "hosts",
        servers,
        ("laptop", "s3"),
        folders=(ROOT, shared),
        environment=typed,
    ) as found:
        for name in servers:
            bake(found[name])
        laptop = found["laptop"]
        (laptop.home / ".ray").mkdir()
        (laptop.home / ".ray" / "auth_token").write_text(secrets.token_hex(32))
        variant = local_variant(CLUSTER, found["head"].address, [found[name].address for name in WORKERS])
        (laptop.home / "local.yaml").write_text(yaml.safe_dump(variant))
        with running(found["s3"], "python", "-m", "moto.server", "-H", "0.0.0.0", "-p", "5000"):
            wait_for(lambda: not laptop.run("curl", "-sfX", "PUT", "http://s3:5000/bucket").returncode, 60)
            yield found


@pytest.fixture(scope="module")
def alone(machines, shared) -> dict[str, Any]:
    """What comes of the job's program on the laptop, with a Ray of its own and no network."""
    laptop = machines["laptop"]
    places = str(shared), "/tmp/store", "/tmp/runs"
    done = laptop.run(*JOB, *places, "0", cwd=ROOT, timeout_s=300, PYTHONPATH=str(ROOT / "platform"))
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return result(laptop, "/tmp/runs")


@pytest.fixture(scope="module")
def cluster(machines) -> dict[str, hosts.Host]:
    """The hosts with a Ray over head and workers."""
    laptop = machines["laptop"]
    declared = f"{laptop.environment['HOME']}/local.yaml"
    # With Ray's local provider its newer autoscaler counts the head as a worker, and takes it for ended (2.60).
    older = {"RAY_UP_enable_autoscaler_v2": "0"}
    up = laptop.run("ray", "up", "-y", "--no-config-cache", declared, cwd=ROOT, timeout_s=240, **older)
    assert up.returncode == 0, up.stdout[-6000:] + up.stderr[-3000:]
    wait_for(lambda: all("raylet" in "".join(machines[name].processes()) for name in WORKERS), 180)
    return machines


@pytest.fixture
def dashboard(cluster) -> Iterator[str]:
    """Where the laptop finds the dashboard, which listens on the head's loopback: through a tunnel."""
    laptop = cluster["laptop"]
    with running(laptop, "ray", "dashboard", "local.yaml"):
        wait_for(lambda: not laptop.run("curl", "-s", "http://127.0.0.1:8265").returncode, 60)
        yield "http://127.0.0.1:8265"


def test_nothing_leads_out_of_the_hosts(machines):
    for host in machines.values():
        routes = host.run("ip", "route").stdout.splitlines()
        assert len(routes) == 1 and routes[0].startswith("10.77.0.0/24 dev eth0")
        outside = host.run("ssh", "-o", "BatchMode=yes", "1.1.1.1", "true")
        assert "Network is unreachable" in outside.stderr


def test_a_job_that_loses_a_host_ends_as_on_one_machine(alone, cluster, dashboard, shared):
    laptop = cluster["laptop"]
    job = ["ray", "job", "submit", "--address", dashboard, "--working-dir", "."]
    job += ["--runtime-env", "experiments/runtime_env.yaml", "--", *JOB, str(shared), "s3://bucket/store"]
    log = shared / "job.log"
    with running(laptop, *job, "s3://bucket/runs", "2", cwd=ROOT, log=log) as submitted:
        epoch = "curl -s 'http://s3:5000/bucket?list-type=2&prefix=runs/' | grep -q epoch-0002/MANIFEST.json"
        wait_for(lambda: submitted.poll() is not None or not laptop.run("sh", "-c", epoch).returncode, 240)
        assert submitted.poll() is None, log.read_text()[-6000:]
        for name in WORKERS:
            assert "RayTrainWorker" in "".join(cluster[name].processes()), f"{name} does not train"
        cluster[LOST].cut_off()
        assert submitted.wait(240) == 0, log.read_text()[-6000:]
    found = result(laptop, "s3://bucket/runs")
    assert found["workers"] == 1, "it was over before the host was lost"
    assert found["signature"] == alone["signature"], "the hosts extracted other features"
    assert len(found["losses"]) == len(alone["losses"])
    assert found["losses"] == pytest.approx(alone["losses"], abs=1e-5)
    assert found["scores"] == pytest.approx(alone["scores"], abs=1e-5)


@pytest.mark.soak
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("system", SYSTEMS)
def test_a_system_is_a_job_that_goes_on_without_a_host(system, cluster, dashboard, shared):
    """One job after the other on the same hosts: what is trained once one of them is lost, the other trains alone."""
    folder, log = shared / "systems", shared / f"{system}.log"
    job = ["ray", "job", "submit", "--address", dashboard, "--working-dir", "."]
    job += ["--runtime-env", "experiments/runtime_env.yaml", "--", "python", "experiments/quickstart.py", str(folder)]
    job += [system, "--workers", "2", "--min-workers", "1"]
    epochs = "*/seed-0/fold-0/checkpoints/epoch-0003/MANIFEST.json"
    with running(cluster["laptop"], *job, cwd=ROOT, log=log) as submitted:
        if system == LOSES_A_HOST:
            runs = folder / "runs" / system.replace("_", "-")
            wait_for(lambda: submitted.poll() is not None or any(runs.glob(epochs)), 900)
            assert submitted.poll() is None, log.read_text()[-6000:]
            cluster[LOST].cut_off()
        assert submitted.wait(1800) == 0, log.read_text()[-6000:]
    (series,) = (folder / "runs" / system.replace("_", "-")).iterdir()
    assert (series / "report.html").is_file()
    workers = [
        json.loads(path.read_text())["workers"] for path in sorted(series.glob("seed-0/fold-*/environment.json"))
    ]
    print(system, workers)
    assert workers and set(workers) == {1 if SYSTEMS.index(system) >= SYSTEMS.index(LOSES_A_HOST) else 2}


def test_who_has_another_token_is_told_so(alone, cluster, dashboard, shared):
    other = {"RAY_AUTH_TOKEN": secrets.token_hex(32)}
    listed = cluster["laptop"].run("ray", "job", "list", "--address", dashboard, **other)
    assert listed.returncode
    assert "the authentication token is invalid or incorrect" in listed.stderr
    refused = prepare(cluster, shared, **other)
    assert refused.returncode == 2
    assert f"mien: Ray at '{cluster['head'].address}:6379': it has another token: copy" in refused.stderr


def test_ray_down_ends_the_cluster_and_a_head_that_is_gone_is_named(alone, cluster, shared):
    down = cluster["laptop"].run("ray", "down", "-y", "local.yaml", timeout_s=120)
    assert down.returncode == 0, down.stdout[-3000:] + down.stderr[-3000:]

    def left() -> list[str]:
        """On AWS the nodes are ended. Ray's local provider ends the head only: a worker ends itself for want of one, its
        agents a minute later (aiohttp's wait), and its log monitor never (Ray 2.60)."""
        on_worker = cluster[WORKERS[0]].processes()
        return cluster["head"].processes() + [words for words in on_worker if "/raylet/raylet" in words.split()[0]]

    wait_for(lambda: not left(), 90, left)
    gone = prepare(cluster, shared)
    assert gone.returncode == 2
    assert f"mien: no Ray answers at '{cluster['head'].address}:6379': " in gone.stderr
    assert "Connection refused; is the head still running?" in gone.stderr


def prepare(cluster: dict[str, hosts.Host], shared: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """`mien prepare` on the laptop against the cluster's head, of what the laptop has sampled before."""
    environment |= {"PYTHONPATH": str(ROOT / "platform"), "RAY_ADDRESS": f"{cluster['head'].address}:6379"}
    words = "python", "-m", "mien", "prepare", "ravdess", str(shared / "ravdess")
    return cluster["laptop"].run(*words, timeout_s=120, **environment)


def result(laptop: hosts.Host, storage: str) -> dict[str, Any]:
    """What the job's program left in its storage, as the laptop reads it."""
    code = """
import json, sys
from mien.results.run import Run
from mien.folder import Folder
series = Folder(sys.argv[1]) / "hosts"
signature, = series.names()
run = Run(series / signature / "seed-0" / "fold-0", seed=0, fold=0)
assert run.is_done
scores = [value for value in run.metrics()["test"].values() if isinstance(value, float)]
losses = [record["train_loss"] for record in run.history()]
workers = run.folder.read_json("environment.json")["workers"]
print(json.dumps({"signature": signature, "scores": scores, "losses": losses, "workers": workers}))
"""
    done = laptop.run("python", "-c", code, storage, PYTHONPATH=str(ROOT / "platform"))
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@contextmanager
def running(
    host: hosts.Host, *words: str, log: Path | None = None, **options: Any
) -> Iterator[subprocess.Popen[bytes]]:
    """A command that runs on a host meanwhile, and what it starts there."""
    with (log or host.home / "log").open("w") as said:
        command = host.command(*words, **options)
        process = subprocess.Popen(command, stdout=said, stderr=said, start_new_session=True)
    try:
        yield process
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
        process.wait(30)


def wait_for(
    it_is_so: Callable[[], bool], timeout_s: float, why_not: Callable[[], Any] = lambda: "it took too long"
) -> None:
    deadline_s = time.monotonic() + timeout_s
    while not it_is_so():
        assert time.monotonic() < deadline_s, why_not()
        time.sleep(0.2)
