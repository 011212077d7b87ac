"""Which of the instance types that cluster.yaml names a region has, and whether they are what it declares.

Ray asks EC2 for the CPUs of all types at once and goes on without any where one of them is not offered, or where EC2 is
too busy to answer; what it then keeps has no worker with a CPU, and nothing ever scales. So cluster.yaml declares the
numbers, and this looks whether they are right.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from mien.cluster.aws.cluster_file import Kind

# Families to take instead, the best first: as many CPUs at the same size, x86, and no less memory or GPUs for each.
INSTEAD = {
    "r7i": ("r6i", "r7a", "r5"),
    "c7i": ("c6i", "c7a", "m6i", "c5"),
    "g6": ("g5", "g4dn"),
}


@dataclass(frozen=True, slots=True)
class Machine:
    """An instance type. memory_mib: MiB. architectures: by EC2's names."""

    n_cpus: int
    n_gpus: int
    memory_mib: int
    architectures: frozenset[str]


def offered(ec2: Any, names: Iterable[str]) -> dict[str, Machine]:
    """Those of the instance types that the client's region has. Raises botocore's ClientError."""
    wanted = [{"Name": "instance-type", "Values": sorted(set(names))}]
    pages = ec2.get_paginator("describe_instance_type_offerings").paginate(LocationType="region", Filters=wanted)
    there = sorted({offer["InstanceType"] for page in pages for offer in page["InstanceTypeOfferings"]})
    if not there:
        return {}
    pages = ec2.get_paginator("describe_instance_types").paginate(InstanceTypes=there)
    return {type_["InstanceType"]: _machine(type_) for page in pages for type_ in page["InstanceTypes"]}


def named(kinds: Mapping[str, Kind]) -> set[str]:
    """All instance types that may be launched, and those that may be taken instead."""
    declared = {launch.instance_type for kind in kinds.values() for launch in kind.launches}
    return declared.union(*map(_instead, declared))


def wrong(
    kinds: Mapping[str, Kind], head: str, region: str, found: Mapping[str, Machine]
) -> Iterator[tuple[bool, str]]:
    """What does not fit: (whether it has to be mended, a sentence with the remedy). found: what `offered` answered for
    `named`. Types with a GPU and those that are kept at 0 nodes can be done without."""
    for name, kind in kinds.items():
        declared = kind.launches[0].instance_type
        if declared not in found:
            can_do_without = bool(kind.n_gpus) or not kind.n_max
            yield (
                not can_do_without,
                _not_offered(name, declared, region, found, spared=bool(kind.n_gpus and kind.n_max)),
            )
            continue
        machine = found[declared]
        for resource, said, n in (("CPU", kind.n_cpus, machine.n_cpus), ("GPU", kind.n_gpus, machine.n_gpus)):
            if said != n and name != head:
                yield (
                    True,
                    f"{name}: resources say {resource}: {said:g}, and {declared} has {n}: declare {resource}: {n}",
                )
        for other in dict.fromkeys(launch.instance_type for launch in kind.launches[1:] if launch[0] != declared):
            if other not in found:
                yield False, f"provider.fallbacks.{name}: {other} is not offered in {region}: leave it out"
            elif why := _does_not_replace(found[other], machine):
                yield True, f"provider.fallbacks.{name}: {other} cannot stand in for {declared}: {why}"


def _not_offered(name: str, declared: str, region: str, found: Mapping[str, Machine], *, spared: bool) -> str:
    there = [other for other in _instead(declared) if other in found]
    remedy = f"take {' or '.join(there)}" if there else "name another (aws ec2 describe-instance-type-offerings)"
    return f"{name}: {declared} is not offered in {region}: {remedy}{', or set max_workers: 0 there' if spared else ''}"


def _instead(instance_type: str) -> list[str]:
    """
    >>> _instead("g6.2xlarge")
    ['g5.2xlarge', 'g4dn.2xlarge']
    """
    family, _, size = instance_type.partition(".")
    return [f"{other}.{size}" for other in INSTEAD.get(family, ())]


def _does_not_replace(other: Machine, machine: Machine) -> str:
    if (other.n_cpus, other.n_gpus) != (machine.n_cpus, machine.n_gpus):
        return f"it has {other.n_cpus} CPUs and {other.n_gpus} GPUs, not {machine.n_cpus} and {machine.n_gpus}"
    if other.memory_mib < machine.memory_mib:
        return f"it has {other.memory_mib / 1024:g} GiB of memory, not {machine.memory_mib / 1024:g}"
    if not other.architectures & machine.architectures:
        return f"its processor is {', '.join(other.architectures)}, and the image is not made for it"
    return ""


def _machine(described: Mapping[str, Any]) -> Machine:
    return Machine(
        n_cpus=described["VCpuInfo"]["DefaultVCpus"],
        n_gpus=sum(gpu["Count"] for gpu in described.get("GpuInfo", {}).get("Gpus", [])),
        memory_mib=described["MemoryInfo"]["SizeInMiB"],
        architectures=frozenset(described["ProcessorInfo"]["SupportedArchitectures"]),
    )
