"""Ray's own autoscaler with the node types of cluster.yaml: what is asked for comes up, and nothing else.

The nodes are fake (processes of this machine), the autoscaler is the real one. It runs in namespaces of its own, for
Ray's `AutoscalingCluster` begins and ends with `ray stop`, which would end every Ray of the machine.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest

from alone import run_alone
from conftest import ROOT

pytestmark = [pytest.mark.ray, pytest.mark.cluster, pytest.mark.slow]

LARGEST_CPUS = 2  # a fake node starts a worker process for each CPU that it claims; cpu-96 claims one more
ASKED: dict[str, dict[str, Any]] = {
    "a CPU": {"num_cpus": 1},
    "a GPU": {"num_gpus": 1, "num_cpus": 1},
    "more CPUs than `cpu` has": {"num_cpus": LARGEST_CPUS + 1},
    "a GPU on demand": {"num_gpus": 1, "label_selector": {"market": "on-demand"}},
}
HEAD = "ray.head.default"  # the fake provider knows the head by this name alone


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
            "resources": {
                key: min(n, LARGEST_CPUS + (name == "cpu-96")) for key, n in resources.items() if n or key == "CPU"
            },
            "labels": {**kind.get("labels", {}), "type": name},
            "min_workers": kind.get("min_workers", 0),
            "max_workers": max(1, kind.get("max_workers", 0)),  # those that cluster.yaml keeps at 0 are tried as well
            "priority": kind.get("priority", 0),
            "node_config": {},
        }
    return types


def test_each_kind_of_work_brings_up_its_kind_of_node_and_idle_ones_go(tmp_path):
    (tmp_path / "types.json").write_text(json.dumps(node_types()))
    run_alone(f"exec {sys.executable} {__file__} {tmp_path}", tmp_path / "log", timeout_s=280)
    seen = json.loads((tmp_path / "seen.json").read_text())
    assert seen["at first"] == []
    assert seen["worked on"] == ["cpu", "gpu", "cpu-96", "gpu-on-demand"], "the head did work, or another type"
    for number, what in enumerate(ASKED, start=1):
        assert seen[what] == sorted(seen["worked on"][:number]), f"{what}: no second one, and of no other type"
    assert seen["nothing is asked for"] == []
    assert len(seen["the doctor saw"]) == 2, "the head, and the node that it had asked for"
    assert seen["and missed"] == ["gpu"]
    assert seen["head's CPUs"] == 0
    assert seen["room for a CPU"].startswith("the cluster has 0 CPU; it may start ")
    assert set(seen["room for a CPU"].rpartition("may start ")[2].split(", ")) == {
        "8 x cpu",
        "1 x cpu-96",
        "4 x gpu",
        "1 x gpu-on-demand",
    }
    assert seen["room for a GPU"].endswith("it may start 4 x gpu, 1 x gpu-on-demand")


# ---------------------------------------------------------------------- inside of the namespaces


def main(folder: Path) -> None:
    import time

    import ray
    from ray.cluster_utils import AutoscalingCluster

    from mien.capacity import room
    from mien.cluster.doctor import examine

    class FakeNodes(AutoscalingCluster):
        def _generate_config(self, head_resources: Any, worker_node_types: Any, **_: Any) -> dict[str, Any]:
            # Ray's own template (fake_multi_node/example.yaml) is not in its wheel, so it is an external provider.
            empty = ("setup_commands", "head_setup_commands", "worker_setup_commands", "cluster_synced_files")
            return {
                "cluster_name": "fake",
                "max_workers": 16,
                "idle_timeout_minutes": 0.15,
                "upscaling_speed": 1.0,
                "head_node_type": HEAD,
                "available_node_types": worker_node_types,
                "provider": {
                    "type": "external",
                    "module": "ray.autoscaler._private.fake_multi_node.node_provider.FakeMultiNodeProvider",
                    "launch_multiple": True,
                    "head_node_id": "fffffffffffffffffffffffffffffffffffffffffffffffffff00000",
                    "use_node_id_as_ip": True,
                    "disable_node_updaters": True,
                    "disable_launch_config_check": True,
                },
                "auth": {},
                "file_mounts": {},
                **{key: [] for key in empty},
            }

    os.environ.pop("CUDA_VISIBLE_DEVICES", None)  # it forbids a node to claim GPUs
    types = json.loads((folder / "types.json").read_text())
    seen: dict[str, Any] = {}

    def types_up() -> list[str]:
        """Types of the worker nodes that live."""
        return sorted(node["Labels"]["type"] for node in ray.nodes() if node["Alive"] and "type" in node["Labels"])

    def settled(wanted: list[str], for_s: float, within_s: float = 120) -> list[str]:
        """The types once they are as wanted and stay so; else what they are in the end."""
        end_s, since_s = time.monotonic() + within_s, time.monotonic()
        while time.monotonic() < end_s:
            if types_up() != wanted:
                since_s = time.monotonic()
            elif time.monotonic() - since_s >= for_s:
                break
            time.sleep(0.25)
        return types_up()

    @ray.remote(max_restarts=0)
    class Worker:
        def place(self) -> str:
            own = ray.get_runtime_context().get_node_id()
            return next(node["Labels"].get("type", HEAD) for node in ray.nodes() if node["NodeID"] == own)

    os.environ["RAY_NODE_TYPE_NAME"] = HEAD  # as `ray up` does
    cluster = FakeNodes(dict(types[HEAD]["resources"]), types, autoscaler_v2=True)
    cluster.start()
    ray.init(address="auto", log_to_driver=False)
    (head,) = ray.nodes()
    seen["head's CPUs"] = head["Resources"].get("CPU", 0)
    seen["at first"] = settled([], for_s=5)
    os.environ["HOME"] = str(folder)  # where `ray up` writes what it is told, and mien reads it
    (folder / "ray_bootstrap_config.yaml").write_text(
        json.dumps({"head_node_type": HEAD, "available_node_types": types})
    )
    seen["room for a CPU"], seen["room for a GPU"] = room({"CPU": 1.0}), room({"GPU": 1.0})
    held, seen["worked on"] = [], []
    for what, asked in ASKED.items():
        held.append(Worker.options(**asked).remote())
        seen["worked on"].append(ray.get(held[-1].place.remote(), timeout=90))
        seen[what] = settled(sorted(seen["worked on"]), for_s=4)
    del held
    seen["nothing is asked for"] = settled([], for_s=1)
    found = examine(bring_up=("cpu",), start_s=90)
    seen["the doctor saw"] = sorted({finding.node.split("(")[1][:4] for finding in found})
    seen["and missed"] = [
        finding.check for finding in examine(bring_up=("gpu",), start_s=0.1) if finding.node == "cluster"
    ]
    (folder / "seen.json").write_text(json.dumps(seen))
    print(seen)
    ray.shutdown()
    cluster.shutdown()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
