"""What training waits for: whether the workers that were asked for can ever come, and which of them are missing now."""

from __future__ import annotations

from mien.capacity import nodes, room
from mien.errors import ExperimentError
from mien.experiment import ExecutionConfig


def demand(execution: ExecutionConfig) -> dict[str, float]:
    """What one worker reserves of a node, by Ray's names of resources."""
    return {"CPU": float(execution.cpus_per_worker)} | ({"GPU": execution.gpu_share} if execution.gpu else {})


def check_can_come(execution: ExecutionConfig, n_workers: int) -> None:
    """Raises ExperimentError where the cluster in use will never have room for n_workers: its nodes have not, and its
    autoscaler could not start those that have. n_workers: as few as the job can go on with."""
    found, asked = nodes(), demand(execution)
    most = found.most(asked)
    if most is None:
        return
    if not most:
        for name, amount in asked.items():
            each = [*found.there, *(kind.resources for kind in found.startable or ())]
            largest = max([resources.get(name, 0.0) for resources in each], default=0.0)
            if largest >= amount:
                continue
            said = "execution.gpu" if name == "GPU" else f"execution.cpus_per_worker {execution.cpus_per_worker}"
            has = f"the largest node has {largest:g}" if largest else "no node has one"
            raise ExperimentError(
                f"{said}: a worker needs {amount:g} {name}, {has}, and no autoscaler can start one that has: "
                f"{'train without it, or on a cluster with GPUs' if name == 'GPU' else 'ask for fewer'}"
            )
    if most < n_workers:
        more = "its autoscaler can start too few more" if found.startable else "no autoscaler can start more"
        raise ExperimentError(
            f"{n_workers} workers of {_named(execution)} do not fit the {len(found.there)} node(s) of the cluster, and "
            f"{more}: ask for fewer workers, or a larger cluster"
        )


def missing(execution: ExecutionConfig, n_workers: int) -> str:
    """One line on what is waited for: workers, what the cluster has for them, and what it may start."""
    workers = f"{n_workers} worker{'s' * (n_workers > 1)}"
    return f"waiting for {workers} of {_named(execution)}: {room(demand(execution))}"


def _named(execution: ExecutionConfig) -> str:
    return " and ".join(f"{amount:g} {name}" for name, amount in demand(execution).items())
