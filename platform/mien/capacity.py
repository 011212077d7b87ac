"""What the cluster in use has, and what its autoscaler may still start.

Ray 2.60 has a place for the node types of a cluster (`get_cluster_config`) which its own autoscaler leaves empty, and
Ray Data would ask for a node of each type that it finds there. So they are read where `ray up` wrote them: on the head,
on which the entrypoints of jobs run. A program elsewhere knows of an autoscaler only that there is one.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

_DECLARED = "~/ray_bootstrap_config.yaml"  # autoscaler/_private/commands.py, Ray 2.60
_NODE_GROUP = "ray.io/node-group"  # a label of nodes that a launcher started: ray up, KubeRay


class NodeType(NamedTuple):
    """One that the autoscaler may start. n_more: beside those that live. resources: of a node, by Ray's names."""

    name: str
    n_more: int
    resources: dict[str, float]


class Nodes(NamedTuple):
    """there: resources of each node that lives. startable: types of which nodes may come; none of a cluster that does
    not grow, None where it grows and its types are not known here."""

    there: list[dict[str, float]]
    startable: list[NodeType] | None

    def most(self, asked: Mapping[str, float]) -> int | None:
        """How often this fits, each time on one node, on all that live or may come; None where that is not known."""
        if self.startable is None:
            return None
        come = sum(kind.n_more * n_fit(kind.resources, asked) for kind in self.startable)
        return come + sum(n_fit(resources, asked) for resources in self.there)


def n_fit(resources: Mapping[str, float], asked: Mapping[str, float]) -> int:
    """How often what is asked for fits a node.

    >>> n_fit({"CPU": 8.0, "GPU": 1.0}, {"CPU": 1.0, "GPU": 0.2}), n_fit({"CPU": 16.0}, {"CPU": 1.0, "GPU": 1.0})
    (5, 0)
    """
    exact = 1e-9  # 1 // 0.2 is 4
    return int(min(resources.get(name, 0.0) / amount + exact for name, amount in asked.items()))


def nodes() -> Nodes:
    """Those of the cluster in use."""
    import ray

    alive = [node for node in ray.nodes() if node["Alive"]]
    groups = Counter(group for node in alive if (group := node.get("Labels", {}).get(_NODE_GROUP)))
    return Nodes([node["Resources"] for node in alive], _declared(groups) if groups else [])


def room(asked: Mapping[str, float]) -> str:
    """What the cluster in use has of these resources, and which nodes with them its autoscaler may start, in words."""
    import ray

    there, free = ray.cluster_resources(), ray.available_resources()
    has = " and ".join(_has(name, there.get(name, 0.0), free.get(name, 0.0)) for name in asked)
    startable = nodes().startable
    if startable is None:
        return f"the cluster has {has}; its autoscaler may start more"
    able = [f"{kind.n_more} x {kind.name}" for kind in startable if n_fit(kind.resources, asked)]
    return f"the cluster has {has}" + (f"; it may start {', '.join(able)}" if able else "")


def _declared(groups: Mapping[str, int]) -> list[NodeType] | None:
    """groups: number of living nodes of each type."""
    path = Path(_DECLARED).expanduser()
    if not path.is_file():
        return None
    import yaml

    config: dict[str, Any] = yaml.safe_load(path.read_text())
    found = [
        NodeType(name, kind.get("max_workers", 0) - groups.get(name, 0), kind.get("resources", {}))
        for name, kind in config["available_node_types"].items()
        if name != config["head_node_type"]
    ]
    return [kind for kind in found if kind.n_more > 0]


def _has(name: str, n_there: float, n_free: float) -> str:
    """
    >>> _has("CPU", 16.0, 2.0), _has("GPU", 0.0, 0.0)
    ('16 CPU, 2 of them free', '0 GPU')
    """
    return f"{n_there:g} {name}" + (f", {n_free:g} of them free" if n_there else "")
