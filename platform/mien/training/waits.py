"""What training waits for: whether the workers that were asked for can ever come, and which of them are missing now."""

from __future__ import annotations

from mien.connection import room
from mien.errors import ExperimentError
from mien.experiment import ExecutionConfig


def demand(execution: ExecutionConfig) -> dict[str, float]:
    """What one worker reserves of a node, by Ray's names of resources."""
    return {"CPU": float(execution.cpus_per_worker)} | ({"GPU": execution.gpu_share} if execution.gpu else {})


def check_can_come(execution: ExecutionConfig, n_workers: int) -> None:
    """Raises ExperimentError where the cluster in use will never have room for one worker: its nodes have not, and no
    autoscaler could start one that has. Elastic groups and parallel runs go on with fewer workers than n_workers."""
    import ray

    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    startable = ray._private.state.state.get_max_resources_from_cluster_config() or {}
    for name, amount in demand(execution).items():
        largest = max([node.get(name, 0.0) for node in nodes], default=0.0)
        if largest >= amount or startable.get(name, 0) >= amount:
            continue
        asked = "execution.gpu" if name == "GPU" else f"execution.cpus_per_worker {execution.cpus_per_worker}"
        has = f"the largest node has {largest:g}" if largest else "no node has one"
        raise ExperimentError(
            f"{asked}: a worker needs {amount:g} {name}, {has}, and no autoscaler can start one that has: "
            f"{'train without it, or on a cluster with GPUs' if name == 'GPU' else 'ask for fewer'}"
        )
    if not startable and not _fits(execution, nodes, n_workers):
        raise ExperimentError(
            f"{n_workers} workers of {_named(execution)} do not fit the {len(nodes)} node(s) of the cluster, and no "
            "autoscaler can start more: ask for fewer workers, or a larger cluster"
        )


def _fits(execution: ExecutionConfig, nodes: list[dict[str, float]], n_workers: int) -> bool:
    asked = demand(execution)
    return sum(int(min(node.get(name, 0.0) // amount for name, amount in asked.items())) for node in nodes) >= n_workers


def missing(execution: ExecutionConfig, n_workers: int) -> str:
    """One line on what is waited for: workers, what the cluster has for them, and what it may start."""
    workers = f"{n_workers} worker{'s' * (n_workers > 1)}"
    return f"waiting for {workers} of {_named(execution)}: {room(demand(execution))}"


def _named(execution: ExecutionConfig) -> str:
    return " and ".join(f"{amount:g} {name}" for name, amount in demand(execution).items())
