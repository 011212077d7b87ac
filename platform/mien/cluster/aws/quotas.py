"""How many vCPUs an account may run at once and runs already, against what cluster.yaml may ask for.

EC2 counts vCPUs by family and by market. A new account has 5 for standard spot instances and none for GPUs ("Spot
Instance quotas", Amazon EC2 User Guide), which is less than one node of mien; raising them takes hours to days.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from mien.cluster.aws.cluster_file import Kind
from mien.cluster.aws.launches import Launch
from mien.cluster.aws.offers import Machine, offered

STANDARD, ACCELERATED = tuple("acdhimrtz"), ("g", "gr", "vt")  # letters before the number of a generation
CODES = {  # (with a GPU of the families G and VT, spot) -> code and name in the service quotas of EC2
    (False, False): ("L-1216C47A", "Running On-Demand Standard (A, C, D, H, I, M, R, T, Z) instances"),
    (False, True): ("L-34B43A08", "All Standard (A, C, D, H, I, M, R, T, Z) Spot Instance Requests"),
    (True, False): ("L-DB2E81BA", "Running On-Demand G and VT instances"),
    (True, True): ("L-3819A6DF", "All G and VT Spot Instance Requests"),
}
Counted = tuple[bool, bool]  # a key of CODES


@dataclass(frozen=True, kw_only=True, slots=True)
class Quota:
    """vCPUs of one quota: allowed, None where the account does not tell; used by what is not of this cluster; of one
    node of the largest type; of all."""

    code: str
    name: str
    region: str
    n_allowed: float | None
    n_used: int
    n_one: int
    n_all: int

    @property
    def n_free(self) -> float:
        """For this cluster."""
        return float("inf") if self.n_allowed is None else self.n_allowed - self.n_used

    def __str__(self) -> str:
        """What a person has to know of it."""
        if self.n_allowed is None:
            return f"quota {self.name}: not to be read; {self.n_all} vCPUs may be asked for"
        used = f", {self.n_used} used by others" if self.n_used else ""
        said = f"quota {self.name}: {self.n_allowed:g} vCPUs{used}, {self.n_all} may be asked for"
        if self.n_free >= self.n_all:
            return said
        short = "too few for one node" if self.n_free < self.n_one else "fewer nodes will come"
        return (
            f"{said}: {short}; ask AWS: aws service-quotas request-service-quota-increase --region {self.region} "
            f"--service-code ec2 --quota-code {self.code} --desired-value {self.n_all + self.n_used}"
        )


def quotas(
    session: Any, cluster: str, kinds: Mapping[str, Kind], machines: Mapping[str, Machine]
) -> dict[Counted, Quota]:
    """Those that the node types count against; families outside standard, G and VT are left out.

    cluster: its nodes are not counted as used. machines: what the region offers. Raises botocore's ClientError.
    """
    from botocore.exceptions import ClientError

    client = session.client("service-quotas")
    used: Counter[Counted] | None = None
    found = {}
    for counted, (code, name) in CODES.items():
        sizes = [(kind.n_max, n_cpus) for kind in kinds.values() if (n_cpus := _largest(kind, counted, machines))]
        if not sizes:
            continue
        try:
            n_allowed = client.get_service_quota(ServiceCode="ec2", QuotaCode=code)["Quota"]["Value"]
        except ClientError:
            n_allowed = None  # a right that setup can do without
        if n_allowed is not None and used is None:
            used = _used(session.client("ec2"), cluster)
        found[counted] = Quota(
            code=code,
            name=name,
            region=session.region_name,
            n_allowed=n_allowed,
            n_used=used[counted] if used else 0,
            n_one=max(n_cpus for _, n_cpus in sizes),
            n_all=sum(n_max * n_cpus for n_max, n_cpus in sizes),
        )
    return found


def stuck(
    kinds: Mapping[str, Kind], machines: Mapping[str, Machine], found: Mapping[Counted, Quota]
) -> Iterator[tuple[str, Quota]]:
    """Node types of which not one node fits into a quota, each with that quota. GPUs can be done without."""
    for name, kind in kinds.items():
        tried = [
            (_counted(launch), machines[launch.instance_type]) for launch in kind.launches if launch[0] in machines
        ]
        if not kind.n_max or kind.n_gpus or not tried or any(counted is None for counted, _ in tried):
            continue
        short = [found[counted] for counted, machine in tried if counted and found[counted].n_free < machine.n_cpus]
        if len(short) == len(tried):
            yield name, short[0]


def _largest(kind: Kind, counted: Counted, machines: Mapping[str, Machine]) -> int:
    """vCPUs of its largest machine that counts there; 0 where none does."""
    if not kind.n_max:
        return 0
    counts = [launch.instance_type for launch in kind.launches if _counted(launch) == counted]
    return max((machines[name].n_cpus for name in counts if name in machines), default=0)


def _used(ec2: Any, cluster: str) -> Counter[Counted]:
    """vCPUs of what runs in the account and is not of the cluster."""
    n_of: Counter[tuple[str, Counted]] = Counter()
    alive = [{"Name": "instance-state-name", "Values": ["pending", "running"]}]
    for page in ec2.get_paginator("describe_instances").paginate(Filters=alive):
        for instance in (i for reservation in page["Reservations"] for i in reservation["Instances"]):
            launch = Launch(instance["InstanceType"], instance.get("InstanceLifecycle") == "spot")
            ours = {"Key": "ray-cluster-name", "Value": cluster} in instance.get("Tags", [])
            if (counted := _counted(launch)) and not ours:
                n_of[launch.instance_type, counted] += 1
    machines = offered(ec2, {name for name, _ in n_of}) if n_of else {}
    used: Counter[Counted] = Counter()
    for (name, counted), n in n_of.items():
        used[counted] += n * machines[name].n_cpus if name in machines else 0
    return used


def _counted(launch: Launch) -> Counted | None:
    """Against which quota: "c" of c7i.4xlarge is standard, "trn" of trn1.2xlarge is in neither list."""
    family = re.split(r"[^a-z]", launch.instance_type)[0]
    return (family in ACCELERATED, launch.spot) if family in (*STANDARD, *ACCELERATED) else None
