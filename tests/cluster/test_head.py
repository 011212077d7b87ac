"""A head as `ray up` starts it, and EC2 by a moto server: work that is asked for has the autoscaler ask for its machine.

What a laptop's Python hides is left out: the head's has every package of the lock and no mien, which it finds by the
PYTHONPATH of cluster.yaml's start command alone. It runs in namespaces of its own, for that command begins with `ray stop`.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from alone import run_alone
from conftest import ROOT

pytestmark = [pytest.mark.ray, pytest.mark.cluster, pytest.mark.slow]

EC2 = "http://127.0.0.1:5000"
# A job's program: what may come is known before anything has, and then it is asked for.
ASKING = """
import ray
from mien.capacity import room
from mien.experiment import ExecutionConfig
from mien.training.waits import check_can_come
ray.init("127.0.0.1:6379", log_to_driver=False)
check_can_come(ExecutionConfig(), 4)
print(room({"CPU": 1.0}), flush=True)
ray.get(ray.remote(num_cpus=1)(lambda: 1).remote())
"""
LOGS = Path("/tmp/ray/session_latest/logs")  # in the namespaces


@pytest.fixture(scope="module")
def head_home(tmp_path_factory) -> Path:
    """A home with ~/mien as a node has it."""
    home = tmp_path_factory.mktemp("head")
    (home / "mien").mkdir()
    (home / "mien" / "platform").symlink_to(ROOT / "platform")
    venv = home / "mien" / ".venv"
    lib = venv / "lib" / f"python3.{sys.version_info[1]}" / "site-packages"
    lib.mkdir(parents=True)
    for path in (Path(sys.prefix) / lib.relative_to(venv)).iterdir():
        if "mien" not in path.name:
            (lib / path.name).symlink_to(path)
    (venv / "bin").mkdir()
    (venv / "bin" / "python").symlink_to(Path(sys.executable).resolve())
    shutil.copy(Path(sys.prefix) / "pyvenv.cfg", venv)
    _, rest = (Path(sys.prefix) / "bin" / "ray").read_text().split("\n", 1)
    (venv / "bin" / "ray").write_text(f"#!{venv / 'bin' / 'python'}\n{rest}")
    (venv / "bin" / "ray").chmod(0o755)
    asking = [venv / "bin" / "python", "-P", "-c", "import ray, mien"]  # -P: not the folder ~/mien
    asked = subprocess.run(asking, capture_output=True, text=True, cwd=home, env={"PATH": "/usr/bin:/bin"})
    assert "No module named 'mien'" in asked.stderr, "this Python has a mien of its own, and would prove nothing"
    return home


def test_work_brings_the_machine_of_its_kind(head_home, tmp_path):
    seen = started(head_home, tmp_path)
    assert seen["machines"] == [["cpu", "c7i.4xlarge", "spot"]], seen["monitor.log"][-3000:]
    assert seen["room"] == "the cluster has 0 CPU; it may start 8 x cpu, 4 x gpu\n"
    assert seen["monitor.log"].count("empty legacy field") <= 2, "once, before the provider is loaded"


def test_without_its_path_the_head_finds_no_provider(head_home, tmp_path):
    """What the test above is worth; and the sign by which the how-to knows it."""
    seen = started(head_home, tmp_path, without=" PYTHONPATH=~/mien/platform")
    assert not seen["machines"]
    assert "No module named 'mien'" in seen["monitor.err"] + seen["monitor.log"]


def started(home: Path, folder: Path, without: str = "") -> dict[str, Any]:
    log = folder / "log"
    run_alone(f"exec {sys.executable} {__file__} {home} {folder} '{without}'", log, timeout_s=300, HOME=str(home))
    return json.loads((folder / "seen.json").read_text())


# ---------------------------------------------------------------------- inside of the namespaces


def main(home: Path, folder: Path, without: str) -> None:
    from aws_account import REGION, client, filled, up_to_ssh
    from mien.cluster.aws.account import Account
    from mien.cluster.aws.declaration import Declaration

    for name in [name for name in os.environ if name.startswith("AWS_")]:
        del os.environ[name]
    os.environ |= {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_ENDPOINT_URL": EC2}
    moto = subprocess.Popen([sys.executable, "-m", "moto.server", "-p", "5000"], stderr=subprocess.DEVNULL)
    until(lambda: answers(5000), 60)
    file = filled(folder)
    Account(Declaration.read(file)).set_up()
    head = up_to_ssh(file)
    config = json.loads(head.bootstrap)
    (home / "ray_bootstrap_config.yaml").write_text(head.bootstrap)
    shutil.copy(Path(head.auth_config["ssh_private_key"]).expanduser(), home / "ray_bootstrap_key.pem")
    of_head = {name: value for name, value in os.environ.items() if name.startswith("AWS_")} | {
        "HOME": str(home),
        "PATH": "/usr/bin:/bin:/usr/sbin:/sbin",
        "RAY_OVERRIDE_RESOURCES": json.dumps(head.node_resources),
        "RAY_OVERRIDE_LABELS": json.dumps(head.node_labels),
        "RAY_raylet_start_wait_time_s": "120",  # a busy machine
    }
    for command in head.ray_start_commands:
        assert not without or without in command or "ray start" not in command
        done = subprocess.run(["bash", "-c", command.replace(without, "")], env=of_head, cwd=home, timeout=180)
        assert not done.returncode, "\n".join(log.read_text()[-2000:] for log in LOGS.glob("*.err"))
    # A process of its own: this one has a Ray that went without a token, to which it sticks. The head offers no CPU.
    with (folder / "work").open("w") as said_of_work:
        work = subprocess.Popen(
            [sys.executable, "-c", ASKING], env=os.environ | {"RAY_AUTH_MODE": "token"}, stdout=said_of_work
        )

    def machines() -> list[list[str]]:
        pages = client("ec2").get_paginator("describe_instances").paginate()
        found = [i for page in pages for reservation in page["Reservations"] for i in reservation["Instances"]]
        kinds = [({tag["Key"]: tag["Value"] for tag in i["Tags"]}["ray-user-node-type"], i) for i in found]
        return [[kind, i["InstanceType"], i.get("InstanceLifecycle", "")] for kind, i in kinds if kind != "head"]

    said = {name: LOGS / name for name in ("monitor.log", "monitor.err")}

    def text(name: str) -> str:
        return said[name].read_text() if said[name].exists() else ""

    until(lambda: machines() or "No module named" in text("monitor.err") + text("monitor.log"), 90)
    if not without:
        time.sleep(11)  # two more looks of the autoscaler: no second machine, and nothing said twice
    seen = {
        "machines": machines(),
        "room": (folder / "work").read_text(),
        "region": config["provider"]["region"],
        **{name: text(name) for name in said},
    }
    assert seen["region"] == REGION
    (folder / "seen.json").write_text(json.dumps(seen))
    print(seen)
    for process in (work, moto):
        process.kill()


def answers(port: int) -> bool:
    import socket

    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def until(so: Any, within_s: float) -> None:
    end_s = time.monotonic() + within_s
    while not so():
        if time.monotonic() > end_s:
            return
        time.sleep(0.5)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3])
