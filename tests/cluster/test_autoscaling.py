"""Ray's own autoscaler with the node types of cluster.yaml: what is asked for comes up, and nothing else.

The nodes are fake (processes of this machine), the autoscaler is the real one. It runs in namespaces of its own, for
Ray's `AutoscalingCluster` begins and ends with `ray stop`, which would end every Ray of the machine.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from conftest import ROOT

pytestmark = [pytest.mark.ray, pytest.mark.cluster, pytest.mark.slow]

ALONE = ["unshare", "--user", "--map-root-user", "--net", "--pid", "--mount", "--fork", "--mount-proc", "--kill-child"]
LARGEST_CPUS = 2  # a fake node starts a worker process for each CPU that it claims
HEAD = "ray.head.default"  # the fake provider knows the head by this name alone


def can_be_alone() -> bool:
    if shutil.which("unshare") is None or shutil.which("ip") is None:
        return False
    return subprocess.run([*ALONE, "mount", "-t", "tmpfs", "none", "/tmp"], capture_output=True).returncode == 0


def node_types() -> dict[str, Any]:
    """Those of cluster.yaml, with the resources that Ray's AWS provider fills in; large machines made small."""
    import yaml
    from moto import mock_aws
    from ray.autoscaler._private.aws.node_provider import AWSNodeProvider

    declared = yaml.safe_load((ROOT / "cluster.yaml").read_text())
    with pytest.MonkeyPatch.context() as patch, mock_aws():
        for name, value in {"ACCESS_KEY_ID": "test", "SECRET_ACCESS_KEY": "test"}.items():
            patch.setenv(f"AWS_{name}", value)
        declared["provider"]["region"] = "us-east-1"
        filled = AWSNodeProvider.fillout_available_node_types_resources(declared)["available_node_types"]
    types = {}
    for name, kind in filled.items():
        resources = {key: kind["resources"].get(key, 0) for key in ("CPU", "GPU")}
        types[HEAD if name == declared["head_node_type"] else name] = {
            "resources": {key: min(n, LARGEST_CPUS) for key, n in resources.items() if n or key == "CPU"},
            "labels": kind.get("labels", {}),
            "min_workers": kind.get("min_workers", 0),
            "max_workers": kind.get("max_workers", 0),
            "node_config": {},
        }
    return types


def test_each_kind_of_work_brings_up_its_kind_of_node_and_idle_ones_go(tmp_path):
    if not can_be_alone():
        pytest.skip("needs unshare with user, network, process and mount namespaces, and ip")
    (tmp_path / "types.json").write_text(json.dumps(node_types()))
    inside = f"mount -t tmpfs none /tmp/ray && ip link set lo up && exec {sys.executable} {__file__} {tmp_path}"
    Path("/tmp/ray").mkdir(exist_ok=True)
    with (tmp_path / "log").open("w") as log:
        done = subprocess.run([*ALONE, "bash", "-ec", inside], stdout=log, stderr=log, timeout=280)
    assert done.returncode == 0, (tmp_path / "log").read_text()[-5000:]
    seen = json.loads((tmp_path / "seen.json").read_text())
    assert seen["at first"] == []
    assert seen["an actor asks for CPUs"] == ["cpu"]
    assert seen["a task asks for a GPU"] == ["cpu", "gpu"], "no second one, and none on demand"
    assert seen["nothing is asked for"] == []
    assert seen["head's CPUs"] == 0
    assert seen["worked on"] == ["cpu", "gpu"], "the head did work"


# ---------------------------------------------------------------------- inside of the namespaces


def main(folder: Path) -> None:
    import time

    import ray
    from ray.cluster_utils import AutoscalingCluster

    class FakeNodes(AutoscalingCluster):
        def _generate_config(self, head_resources: Any, worker_node_types: Any, **_: Any) -> dict[str, Any]:
            # Ray's own template (fake_multi_node/example.yaml) is not in its wheel.
            return {
                "cluster_name": "fake",
                "max_workers": 16,
                "idle_timeout_minutes": 0.15,
                "upscaling_speed": 1.0,
                "head_node_type": HEAD,
                "available_node_types": worker_node_types,
                "provider": {
                    "type": "fake_multinode",
                    "launch_multiple": True,
                    "head_node_id": "fffffffffffffffffffffffffffffffffffffffffffffffffff00000",
                    "use_node_id_as_ip": True,
                    "disable_node_updaters": True,
                    "disable_launch_config_check": True,
                },
                "auth": {},
            }

    types = json.loads((folder / "types.json").read_text())
    seen: dict[str, Any] = {}

    def roles() -> list[str]:
        """Kinds of the worker nodes that live."""
        return sorted(node["Labels"]["role"] for node in ray.nodes() if node["Alive"] and "role" in node["Labels"])

    def settled(wanted: list[str], for_s: float, within_s: float = 120) -> list[str]:
        """The roles once they are as wanted and stay so; else what they are in the end."""
        end_s, since_s = time.monotonic() + within_s, time.monotonic()
        while time.monotonic() < end_s:
            if roles() != wanted:
                since_s = time.monotonic()
            elif time.monotonic() - since_s >= for_s:
                break
            time.sleep(0.25)
        return roles()

    @ray.remote(max_restarts=0)
    class Worker:
        def role(self) -> str:
            return own_role()

    def own_role() -> str:
        own = ray.get_runtime_context().get_node_id()
        return next(node["Labels"].get("role", "head") for node in ray.nodes() if node["NodeID"] == own)

    cluster = FakeNodes(dict(types[HEAD]["resources"]), types, autoscaler_v2=True)
    cluster.start(override_env={"RAY_DASHBOARD_DISABLED": "1"})
    ray.init(address="auto", log_to_driver=False)
    (head,) = ray.nodes()
    seen["head's CPUs"] = head["Resources"].get("CPU", 0)
    seen["at first"] = settled([], for_s=5)
    actor = Worker.options(num_cpus=1).remote()
    seen["worked on"] = [ray.get(actor.role.remote(), timeout=90)]
    seen["an actor asks for CPUs"] = settled(["cpu"], for_s=4)
    task = ray.remote(num_gpus=1, num_cpus=1)(own_role).remote()
    seen["worked on"].append(ray.get(task, timeout=90))
    seen["a task asks for a GPU"] = roles()
    del actor, task
    seen["nothing is asked for"] = settled([], for_s=1)
    (folder / "seen.json").write_text(json.dumps(seen))
    print(seen)
    ray.shutdown()
    cluster.shutdown()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
