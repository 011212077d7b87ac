"""Prices: what a machine, a disk and a gigabyte cost, from a dated table, prices.json. Nothing is fetched."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files

from mien.cluster.aws.cluster_file import PLACEHOLDER, Kind
from mien.errors import MienError

HOURS_OF_A_MONTH = 730.0  # Amazon's own month: 8,760 hours / 12
BASE_MB_S = 125.0  # of a gp3 disk, in its price
ELSEWHERE = "us-east-1"  # where no region is filled in, or no price of it is known


@dataclass(frozen=True, kw_only=True, slots=True)
class Instance:
    """A type of machine in a region. on_demand, spot: US dollars an hour."""

    name: str
    vcpus: int
    memory_gib: float
    on_demand: float
    spot: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Prices:
    """Prices of one region. A month: storage_gb_month (S3 Standard), disk_gb_month and disk_mb_s_month (EBS gp3)."""

    date: str
    region: str
    instances: Mapping[str, Instance]
    storage_gb_month: float
    disk_gb_month: float
    disk_mb_s_month: float
    unchecked: tuple[str, ...] = ()

    def instance(self, name: str) -> Instance:
        """Raises MienError for a type that the table lacks."""
        if name not in self.instances:
            raise MienError(
                f"no price for instance type {name!r} in {self.region}: it has {', '.join(self.instances)}; add it to "
                "platform/mien/cluster/cost/prices.json"
            )
        return self.instances[name]

    def disk_h(self, kind: Kind) -> float:
        """Dollars an hour of a node's disks."""
        faster = max(0.0, kind.disk_mb_s - BASE_MB_S)
        return (kind.disk_gb * self.disk_gb_month + faster * self.disk_mb_s_month) / HOURS_OF_A_MONTH


def load_prices(region: str) -> Prices:
    """The prices of a region; of us-east-1 where it is not in the table, which its name then says."""
    table = json.loads(files("mien.cluster.cost").joinpath("prices.json").read_text())
    found = table["regions"].get(region, table["regions"][ELSEWHERE])
    known = region if region in table["regions"] else ELSEWHERE
    why = "" if region in (known, PLACEHOLDER) else f" (the table has none of {region})"
    return Prices(
        date=table["date"],
        region=known + why,
        instances={
            name: Instance(name=name, **table["instances"][name], on_demand=price["on_demand"], spot=price["spot"])
            for name, price in found["instances"].items()
        },
        **{name: found[name]["price"] for name in ("storage_gb_month", "disk_gb_month", "disk_mb_s_month")},
        unchecked=tuple(
            name for name, price in {**found, **found["instances"]}.items() if price.get("checked") is False
        ),
    )
