"""`mien cluster doctor` on real clusters: what is well, what is not, and what cannot be reached at all."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from conftest import ROOT
from heads import free_port, running_head
from mien import __version__
from mien.cluster import doctor, probe
from mien.cluster.doctor import Case, Node


def mien(*words: str, code: int, **environment: str) -> subprocess.CompletedProcess[str]:
    inherited = {name: value for name, value in os.environ.items() if name not in ("RAY_ADDRESS", "RAY_AUTH_MODE")}
    done = subprocess.run(
        [sys.executable, "-m", "mien", *words],
        capture_output=True,
        text=True,
        env={**inherited, "PYTHONPATH": str(ROOT / "platform"), **environment},
        cwd=ROOT,
        timeout=240,
    )
    assert done.returncode == code, done.stdout[-4000:] + done.stderr[-4000:]
    return done


# ---------------------------------------------------------------------- verdicts

GB = 10**9


@pytest.fixture(scope="module")
def well() -> Case:
    """A node with two GPUs that nothing is wrong with."""
    facts = {
        "python": "3.11.9",
        "packages": {"ray": "2.60.0", "torch": "2.15.0+cu128", "numpy": "2.4.1", "rich": "15.0"},
        "mien": "0.1.0 01234567",
        "auth": "token",
        "disk": {"free": 50 * GB, "total": 100 * GB},
        "shm_bytes": 10 * GB,
        "memory": {"free": 20 * GB, "total": 32 * GB},
        "gpus": {"names": ["NVIDIA L4", "NVIDIA L4"], "torch": 2, "error": None},
        "storage": {"error": None, "skew_s": 0.3},
    }
    here = {**facts, "packages": {"ray": "2.60.0", "torch": "2.15.0", "numpy": "2.4.1"}}
    node = Node("10.0.0.7", False, {"CPU": 8.0, "GPU": 2.0, "object_store_memory": 9.0 * GB}, facts, 0.01)
    return Case(node, facts, here, {"ray": "2.60.0", "torch": "2.15.0", "numpy": "2.4.1", "rich": "15.0"}, False)


def verdicts(case: Case) -> dict[str, tuple[str, str]]:
    """Check to what was found and the remedy, where there is one."""
    found = doctor._examined(replace(case.node, facts=case.facts), case.here, case.lock, case.embedded)
    return {finding.check: (finding.found, finding.remedy) for finding in found if finding.remedy}


def test_a_node_that_is_well_needs_nothing(well):
    assert verdicts(well) == {}


@pytest.mark.parametrize(
    ("check", "changes", "found", "remedy"),
    [
        ("python", {"python": "3.12.1"}, "3.12.1", "here it is 3.11.9"),
        ("mien", {"mien": "0.1.0 76543210"}, "76543210", "--working-dir"),
        ("auth", {"auth": "disabled"}, "disabled", "RAY_AUTH_MODE=token"),
        ("disk", {"disk": {"free": 4 * GB, "total": 50 * GB}}, "4.0 GB of 50.0 GB", "VolumeSize"),
        ("disk", {"disk": {"free": 40 * GB, "total": 1000 * GB}}, "40.0 GB", "Ray cannot spill"),
        ("shm", {"shm_bytes": 2 * GB}, "2.0 GB for 9.0 GB", "/dev/shm"),
        ("memory", {"memory": {"free": GB / 2, "total": 4 * GB}}, "0.5 GB of 4.0 GB", "fewer workers"),
        ("gpu", {"gpus": {"names": None, "torch": None, "error": None}}, "none; Ray offers 2", "--num-gpus"),
        ("gpu", {"gpus": {"names": ["L4"] * 2, "torch": 0, "error": None}}, "torch can use 0", "newer driver"),
        ("gpu", {"gpus": {"names": [], "torch": None, "error": "NVML: no driver"}}, "none", "NVML: no driver: take"),
        ("storage", {"storage": {"error": "s3://b: access denied", "skew_s": None}}, "refused", "access denied"),
        ("storage", {"storage": {"error": None, "skew_s": -40.0}}, "written", "-40 s off S3's clock"),
        ("packages", {"packages": {"ray": "2.60.0", "torch": "2.15.0"}}, "numpy missing (here 2.4.1)", "on both"),
    ],
)
def test_what_is_wrong_is_said_with_its_remedy(well, check, changes, found, remedy):
    said = verdicts(well._replace(facts={**well.facts, **changes}))
    assert found in said[check][0]
    assert remedy in said[check][1]
    assert set(said) <= {check, "locked"}


def test_a_clock_that_is_off_and_a_version_that_is_not_the_locked_one(well):
    assert "-7.0 s" in verdicts(well._replace(node=replace(well.node, skew_s=-7.0)))["clock"][0]
    silent = replace(well.node, error="no answer within 120 s")
    assert verdicts(well._replace(node=silent))["clock"] == (
        "no answer within 120 s",
        "it answered all else and then no more: ask again; ray status",
    )
    said = verdicts(well._replace(lock={**well.lock, "rich": "16.0", "keras": "3.15"}))
    assert said["locked"][0] == "keras missing (3.15), rich 15.0 (16.0)"


def test_the_lock_is_read_for_this_python(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert doctor.read_lock() == {}
    lines = ["Av==1 ; python_full_version < '3.0'", "av==2 ; python_full_version >= '3.0'", "# no", "a_b==3  # why"]
    Path("requirements.lock").write_text("\n".join(lines))
    assert doctor.read_lock() == {"av": "2", "a-b": "3"}


def test_nvidia_smi_is_believed_and_torch_is_asked(tmp_path, monkeypatch):
    """A program of that name, as a machine with two GPUs and no CUDA for torch would have it."""
    tool = tmp_path / "nvidia-smi"
    tool.write_text("#!/bin/sh\nprintf 'NVIDIA L4\\nNVIDIA L4\\n'\n")
    tool.chmod(0o755)
    (tmp_path / "torch.py").write_text("class cuda: device_count = staticmethod(lambda: 0)\n")
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    assert probe.gpus() == {"names": ["NVIDIA L4", "NVIDIA L4"], "torch": 0, "error": None}
    tool.write_text("#!/bin/sh\necho 'NVIDIA-SMI has failed because it could not talk to the driver.'; exit 9\n")
    assert probe.gpus()["error"] == "NVIDIA-SMI has failed because it could not talk to the driver."


# ---------------------------------------------------------------------- clusters


@pytest.fixture(scope="module")
def stale(tmp_path_factory) -> Path:
    """What a node imports that was set up long ago: another numpy by its metadata, and another mien."""
    folder = tmp_path_factory.mktemp("stale")
    shutil.copytree(ROOT / "platform" / "mien", folder / "mien", ignore=shutil.ignore_patterns("__pycache__"))
    with (folder / "mien" / "emotions.py").open("a") as file:
        file.write("# an older line\n")
    (folder / "numpy-1.0.0.dist-info").mkdir()
    (folder / "numpy-1.0.0.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: numpy\nVersion: 1.0.0\n")
    return folder


@pytest.mark.ray
@pytest.mark.cluster
@pytest.mark.slow
def test_each_node_is_asked_and_the_stale_one_is_named(s3, stale, monkeypatch):
    """Head and one node, which imports something else and claims two GPUs; a bucket, and one that is not there."""
    from ray.cluster_utils import Cluster

    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)  # it forbids a node to claim GPUs
    good = str(ROOT / "platform")
    cluster = Cluster()
    try:
        cluster.add_node(num_cpus=0, num_gpus=0, include_dashboard=False, env_vars={"PYTHONPATH": good})
        cluster.add_node(num_cpus=1, num_gpus=2, env_vars={"PYTHONPATH": f"{stale}:{good}"})
        # As in a job, whose environment is its own business.
        words = ["cluster", "doctor", "--address", cluster.address, "--storage"]
        as_job = {"RAY_JOB_CONFIG_JSON_ENV_VAR": "{}", "AWS_ENDPOINT_URL": os.environ["AWS_ENDPOINT_URL"]}
        done = mien(*words, f"{s3}/runs", "--json", code=2, **as_job)
        shown = mien(*words, "s3://no-such-bucket/runs", code=2, **as_job)
    finally:
        cluster.shutdown()
    answer = json.loads(done.stdout)
    assert not answer["fit"]
    found: dict[str, list[dict[str, Any]]] = {}
    for finding in answer["findings"]:
        found.setdefault(finding["check"], []).append(finding)
    for check in ("python", "clock", "shm", "memory", "storage"):
        assert len(found[check]) == 2 and not any(finding["remedy"] for finding in found[check]), found[check]
    for check, said in (("mien", __version__), ("packages", "numpy 1.0.0 (here"), ("gpu", "none; Ray offers 2")):
        on_head, on_node = found[check]
        assert "(head)" in on_head["node"] and not on_head["remedy"], found[check]
        assert said in on_node["found"] and on_node["remedy"], found[check]
    assert "2 nodes" in shown.stdout
    assert "there is no bucket no-such-bucket" in " ".join(shown.stdout.split())


@pytest.mark.ray
@pytest.mark.slow
def test_without_a_cluster_it_looks_at_this_machine(tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "mien", "cluster", "doctor", "--storage", str(tmp_path)],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT / "platform")},
        cwd=ROOT,
        timeout=240,
    )
    assert done.returncode in (0, 2), done.stderr[-3000:]  # how full its disk is, is not ours to say
    assert "1 node" in done.stdout and "written, read, removed" in done.stdout
    assert list(tmp_path.iterdir()) == []


# ---------------------------------------------------------------------- no way in


def test_a_head_that_is_gone():
    done = mien("cluster", "doctor", "--address", f"127.0.0.1:{free_port()}", code=2)
    assert done.stderr.startswith("mien: no Ray answers at '127.0.0.1:")
    assert "is the head still running?" in done.stderr and done.stderr.count("\n") == 1
    done = mien("cluster", "doctor", "--address", "http://127.0.0.1:8265", code=2)
    assert "is the dashboard, which takes jobs" in done.stderr


@pytest.mark.ray
@pytest.mark.cluster
@pytest.mark.slow
def test_another_token_none_and_another_version_are_told_apart(tmp_path):
    """Of a head that demands a token; with the right one there is nothing to say of authentication."""
    with running_head() as head:
        tell_apart(head.gcs, head.environment, tmp_path)


def tell_apart(address: str, environment: dict[str, str], tmp_path: Path) -> None:
    words = ["cluster", "doctor", "--address", address]
    right = {name: environment[name] for name in ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN_PATH")}
    (tmp_path / "other").write_text("f" * 64)
    (tmp_path / "sitecustomize.py").write_text("import ray\nray.__version__ = '2.59.1'\n")
    wrong = (
        right | {"RAY_AUTH_TOKEN_PATH": str(tmp_path / "other")},
        {"RAY_AUTH_MODE": "disabled"},
        right | {"RAY_AUTH_TOKEN_PATH": str(tmp_path / "nowhere")},
        right | {"PYTHONPATH": f"{tmp_path}:{ROOT / 'platform'}"},
    )
    with ThreadPoolExecutor() as pool:  # each mostly waits for Ray to give up
        told = pool.map(lambda variables: mien(*words, code=2, **variables).stderr, wrong)
        other, none, missing, version = told
    for line in (other, none, missing, version):
        assert line.startswith(f"mien: Ray at '{address}': ") and line.count("\n") == 1, line
    assert "another token" in other
    assert "it demands a token: set RAY_AUTH_MODE=token" in none
    assert "nowhere" in missing and "copy ~/.ray/auth_token" in missing
    assert "2.59.1" in version and "2.60." in version
    done = mien(*words, "--json", code=0, **right)
    assert [f["found"] for f in json.loads(done.stdout)["findings"] if f["check"] == "auth"] == ["token"]
