"""cluster.yaml as mien reads it: what of it an AWS account has to know, and what costs money. Ray reads the rest."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, Field, NonNegativeInt, PositiveFloat, StringConstraints, ValidationError

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


class _Group(BaseModel):
    GroupName: Name


class _KeyPair(BaseModel):
    key_name: Name


class _Provider(BaseModel):
    region: Name
    on_demand_fallback: tuple[Name, ...] = ()
    security_group: _Group | None = None
    key_pair: _KeyPair | None = None


class _Metadata(BaseModel):
    bucket: Name
    ssh_from: Name


@dataclass(frozen=True, kw_only=True, slots=True)
class Kind:
    """A node type. n_max: nodes of it at the most. markets: True for spot, False for on demand, both where the one
    falls back to the other. profile: its instance profile."""

    instance_type: str
    n_max: int
    disk_gb: float
    markets: frozenset[bool] = frozenset({False})
    profile: str | None = None


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
        markets = {node.InstanceMarketOptions is not None and node.InstanceMarketOptions.MarketType == "spot"}
        return Kind(
            instance_type=node.InstanceType,
            n_max=1 if name == self.head_node_type else lid,
            disk_gb=sum(disk.Ebs.VolumeSize for disk in node.BlockDeviceMappings),
            markets=frozenset(markets | ({False} if name in self.provider.on_demand_fallback else set())),
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
    for name in (found.head_node_type, *found.provider.on_demand_fallback):
        if name not in found.available_node_types:
            option = "head_node_type" if name == found.head_node_type else "provider.on_demand_fallback"
            raise ClusterFileError(f"{path}: {option}: no node type {name}; there are {types}")
    return found


def _said(error: Any) -> str:
    where = ".".join(map(str, error["loc"])) or "the whole"
    if error["type"] == "missing":
        return f"{where} is missing"
    return f"{where}: {re.sub(' or instance of .*', '', error['msg'])}"  # pydantic would name a class of ours


def _parsed(path: Path) -> Any:
    import yaml

    try:
        return yaml.safe_load(path.read_text())
    except OSError as error:
        raise ClusterFileError(f"{path}: {error.strerror}; name the cluster.yaml, or go to its folder") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ClusterFileError(f"{path} is no YAML: {' '.join(str(error).split())}") from error
