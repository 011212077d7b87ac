"""The kinds of nodes of a cluster file, as far as they cost money."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from mien.ec2.cost import Fleet
from mien.ec2.prices import Prices
from mien.errors import MienError

CLUSTER_FILE = Path("cluster.yaml")
TO_FILL_IN = "FILL-IN"


class Kind(NamedTuple):
    """A kind of nodes. most: how many of it there may be at a time."""

    instance_type: str
    most: int
    disk_gb: float


_HEAD, _WORKER = Kind("r7i.xlarge", 1, 100.0), Kind("c7i.4xlarge", 8, 150.0)  # as in mien's cluster.yaml


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
        allowed = [worker for worker, kind in self.workers.items() if kind.most]
        name = name or (allowed or [_WORKER.instance_type])[0]
        kind = self.workers.get(name, Kind(name, 1, self.head.disk_gb))
        n_nodes = max(1, kind.most) if n_nodes is None else n_nodes
        if n_nodes < 1:
            raise MienError(f"{option} {n_nodes}: at least 1 machine of {name}")
        if not start_minutes >= 0:
            raise MienError(f"--start-minutes {start_minutes}: 0 or more")
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

    Raises MienError for a file that is no cluster's.
    """
    if file is None and not CLUSTER_FILE.is_file():
        return Nodes()
    import yaml

    file = file or CLUSTER_FILE
    try:
        told = yaml.safe_load(file.read_text())
        kinds = {name: _kind(kind) for name, kind in told["available_node_types"].items()}
        head = kinds.pop(told["head_node_type"])
        region = told["provider"].get("region")
        return Nodes(
            region=None if region == TO_FILL_IN else region,
            head=head,
            workers=kinds,
            idle_minutes=float(told.get("idle_timeout_minutes", 5)),
            upscaling_speed=float(told.get("upscaling_speed", 1.0)),
        )
    except (OSError, yaml.YAMLError, KeyError, TypeError, AttributeError, ValueError) as error:
        what = f"lacks {error}" if isinstance(error, KeyError) else str(error).splitlines()[0]
        raise MienError(f"--cluster {file}: no cluster file ({what}); give one like mien's cluster.yaml") from None


def _kind(declared: Any) -> Kind:
    node = declared["node_config"]
    disk_gb = sum(float(disk["Ebs"]["VolumeSize"]) for disk in node.get("BlockDeviceMappings", ()))
    return Kind(node["InstanceType"], int(declared.get("max_workers", 0)), disk_gb)
