"""The kinds of nodes of a cluster file, as far as they cost money."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from mien.cluster.aws.cluster_file import CLUSTER_FILE, PLACEHOLDER, Kind, read_cluster_file
from mien.cluster.cost.estimate import Fleet
from mien.cluster.cost.prices import Prices
from mien.errors import MienError

_HEAD = Kind(instance_type="r7i.xlarge", n_max=1, disk_gb=100.0)  # both as in mien's cluster.yaml
_WORKER = Kind(instance_type="c7i.4xlarge", n_max=8, disk_gb=150.0)


@dataclass(frozen=True, kw_only=True, slots=True)
class Nodes:
    """region: None where it is still to be filled in. workers: by name."""

    region: str | None = None
    head: Kind = _HEAD
    workers: Mapping[str, Kind] = field(default_factory=lambda: {"cpu": _WORKER})
    idle_minutes: float = 10.0
    upscaling_speed: float = 1.0

    def fleet(self, name: str | None, n_nodes: int | None, prices: Prices, start_minutes: float, option: str) -> Fleet:
        """Machines of a kind of this cluster, or of an instance type; by default the first kind that may have any."""
        allowed = [worker for worker, kind in self.workers.items() if kind.n_max]
        name = name or (allowed or [_WORKER.instance_type])[0]
        kind = self.workers.get(name, Kind(instance_type=name, n_max=1, disk_gb=self.head.disk_gb))
        n_nodes = max(1, kind.n_max) if n_nodes is None else n_nodes
        if n_nodes < 1:
            raise MienError(f"{option} {n_nodes}: at least 1 machine of {name}")
        if not 0 <= start_minutes < math.inf:
            raise MienError(f"--start-minutes {start_minutes:g}: give 0 or more and a finite number")
        return Fleet(
            instance=prices.instance(kind.instance_type),
            n_nodes=n_nodes,
            disk_gb=kind.disk_gb,
            start_minutes=start_minutes,
            idle_minutes=self.idle_minutes,
            upscaling_speed=self.upscaling_speed,
        )


def read_nodes(file: Path | None = None) -> Nodes:
    """The nodes of a cluster file; without one those of cluster.yaml here, else those that mien's own has.

    Raises ClusterFileError for a file that is no cluster's.
    """
    if file is None and not CLUSTER_FILE.is_file():
        return Nodes()
    told = read_cluster_file(file or CLUSTER_FILE)
    region, kinds = told.provider.region, told.kinds()
    return Nodes(
        region=None if region == PLACEHOLDER else region,
        head=kinds.pop(told.head_node_type),
        workers=kinds,
        idle_minutes=told.idle_timeout_minutes,
        upscaling_speed=told.upscaling_speed,
    )
