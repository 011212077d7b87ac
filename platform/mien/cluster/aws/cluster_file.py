"""cluster.yaml as mien reads it: what of it an AWS account has to know, and what costs money. Ray reads the rest."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from pydantic import (
    BaseModel,
    Field,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    StringConstraints,
    ValidationError,
    field_validator,
)

from mien.cluster.aws.launches import Launch, launches
from mien.errors import MienError

CLUSTER_FILE = Path("cluster.yaml")
PLACEHOLDER = "FILL-IN"
Name = Annotated[str, StringConstraints(min_length=1)]


class ClusterFileError(MienError):
    """A cluster file that is missing, or is none."""


class _Named(BaseModel):
    Name: Name


class _Market(BaseModel):
    MarketType: Name


class _Ebs(BaseModel):
    VolumeSize: PositiveFloat
    Throughput: PositiveFloat = 125.0
    KmsKeyId: Name | None = None


class _Disk(BaseModel):
    Ebs: _Ebs


class _NodeConfig(BaseModel):
    InstanceType: Name
    IamInstanceProfile: _Named | None = None
    InstanceMarketOptions: _Market | None = None
    BlockDeviceMappings: tuple[_Disk, ...] = ()


class _NodeType(BaseModel):
    node_config: _NodeConfig
    max_workers: NonNegativeInt | None = None
    resources: dict[str, NonNegativeFloat] = {}


class _Group(BaseModel):
    GroupName: Name


class _KeyPair(BaseModel):
    key_name: Name


class _Provider(BaseModel):
    region: Name
    fallbacks: dict[Name, tuple[Name, ...]] = {}
    on_demand_fallback: None = None
    security_group: _Group | None = None
    key_pair: _KeyPair | None = None

    @field_validator("on_demand_fallback", mode="before")
    @classmethod
    def _is_another_now(cls, value: Any) -> Any:
        if value is not None:
            raise ValueError("write fallbacks: {gpu: [on-demand]} instead, and module: ....provider.FallbackProvider")
        return value


class _Metadata(BaseModel):
    bucket: Name
    ssh_from: Name


@dataclass(frozen=True, kw_only=True, slots=True)
class Kind:
    """A node type. launches: what EC2 is asked for, in this order. n_max: nodes of it at the most. n_cpus, n_gpus: as
    declared. disk_mb_s: of the fastest disk. disk_keys: KMS keys that its disks name. profile: its instance profile."""

    launches: tuple[Launch, ...]
    n_max: int
    disk_gb: float
    disk_mb_s: float = 125.0
    disk_keys: frozenset[str] = frozenset()
    n_cpus: float = 0
    n_gpus: float = 0
    profile: str | None = None

    @property
    def instance_type(self) -> str:
        """The one that is asked for first."""
        return self.launches[0].instance_type


class ClusterFile(BaseModel):
    """Defaults are Ray's."""

    cluster_name: Name
    provider: _Provider
    metadata: _Metadata | None = None
    max_workers: NonNegativeInt = 2
    head_node_type: Name
    available_node_types: dict[str, _NodeType] = Field(min_length=1)
    idle_timeout_minutes: PositiveFloat = 5.0
    upscaling_speed: float = Field(default=1.0, ge=0)

    def kinds(self) -> dict[str, Kind]:
        """The node types by name."""
        return {name: self._kind(name, declared) for name, declared in self.available_node_types.items()}

    def _kind(self, name: str, declared: _NodeType) -> Kind:
        node = declared.node_config
        lid = self.max_workers if declared.max_workers is None else min(declared.max_workers, self.max_workers)
        spot = node.InstanceMarketOptions is not None and node.InstanceMarketOptions.MarketType == "spot"
        return Kind(
            launches=tuple(launches(Launch(node.InstanceType, spot), self.provider.fallbacks.get(name, ()))),
            n_max=1 if name == self.head_node_type else lid,
            disk_gb=sum(disk.Ebs.VolumeSize for disk in node.BlockDeviceMappings),
            disk_mb_s=max((disk.Ebs.Throughput for disk in node.BlockDeviceMappings), default=125.0),
            disk_keys=frozenset(disk.Ebs.KmsKeyId for disk in node.BlockDeviceMappings if disk.Ebs.KmsKeyId),
            n_cpus=declared.resources.get("CPU", 0),
            n_gpus=declared.resources.get("GPU", 0),
            profile=node.IamInstanceProfile.Name if node.IamInstanceProfile else None,
        )


def read_cluster_file(path: Path) -> ClusterFile:
    """Raises ClusterFileError, which names what is wrong in it."""
    try:
        found = ClusterFile.model_validate(_parsed(path))
    except ValidationError as error:
        wrong = "; ".join(_said(one) for one in error.errors())
        raise ClusterFileError(f"{path}: {wrong}; compare it with the cluster.yaml of mien") from None
    types = ", ".join(found.available_node_types)
    for name in (found.head_node_type, *found.provider.fallbacks):
        if name not in found.available_node_types:
            option = "head_node_type" if name == found.head_node_type else "provider.fallbacks"
            raise ClusterFileError(f"{path}: {option}: no node type {name}; there are {types}")
    return found


def _said(error: Any) -> str:
    where = ".".join(map(str, error["loc"])) or "the whole"
    if error["type"] == "missing":
        return f"{where} is missing"
    said = re.sub(" or instance of .*|^Value error, ", "", error["msg"])  # pydantic would name a class of ours
    return f"{where}: {said}"


def _parsed(path: Path) -> Any:
    import yaml

    try:
        return yaml.safe_load(path.read_text())
    except OSError as error:
        raise ClusterFileError(f"{path}: {error.strerror}; name the cluster.yaml, or go to its folder") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ClusterFileError(f"{path} is no YAML: {' '.join(str(error).split())}") from error
