"""What cluster.yaml says that an AWS account has to know: read, and refused where it cannot work."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mien.errors import MienError

PLACEHOLDER = "FILL-IN"
WIDEST_PREFIX = 8  # of an IPv4 network that may reach the nodes by SSH


class DeclarationError(MienError):
    """A cluster.yaml that cannot be started as it stands."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Kind:
    """A node type. markets: True for spot, False for on demand, both where the one falls back to the other. n_max:
    nodes of it at the most."""

    instance_type: str
    markets: frozenset[bool]
    n_max: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Declaration:
    """Names that cluster.yaml gives. head, worker: instance profiles, and the roles of the same names. key_name: of
    the SSH key pair, None where Ray is to make one. kinds: the node types by name."""

    cluster: str
    region: str
    bucket: str
    ssh_from: str
    group: str
    head: str
    worker: str
    key_name: str | None
    kinds: Mapping[str, Kind]

    @classmethod
    def read(cls, path: Path) -> Declaration:
        """Raises DeclarationError for a file that is missing, no cluster, or has a value left to fill in or a bad
        one."""
        said = _parsed(path)
        try:
            provider, metadata = said["provider"], said["metadata"]
            profiles = {
                name: kind["node_config"]["IamInstanceProfile"]["Name"]
                for name, kind in said["available_node_types"].items()
            }
            head = profiles.pop(said["head_node_type"])
            kinds = {name: _kind(name, said) for name in said["available_node_types"]}
            values = {key: metadata[key] for key in ("bucket", "ssh_from")} | {"region": provider["region"]}
            group = provider["security_group"]["GroupName"]
            cluster = said["cluster_name"]
        except (KeyError, TypeError, AttributeError) as error:
            raise DeclarationError(f"{path}: {error} is missing; compare it with the cluster.yaml of mien") from error
        left = [key for key, value in values.items() if value == PLACEHOLDER]
        if left:
            raise DeclarationError(f"{path}: {', '.join(left)} still to be filled in; the first lines of it say how")
        if len(set(profiles.values())) != 1 or head in profiles.values():
            raise DeclarationError(
                f"{path}: IamInstanceProfile: one for the head and one, another, for all workers; found {head} and "
                f"{', '.join(sorted(set(profiles.values()))) or 'none'}"
            )
        return cls(
            cluster=cluster,
            region=_region(path, str(values["region"])),
            bucket=str(values["bucket"]).removeprefix("s3://").rstrip("/"),
            ssh_from=_address(path, str(values["ssh_from"])),
            group=group,
            head=head,
            worker=next(iter(profiles.values())),
            key_name=provider.get("key_pair", {}).get("key_name"),
            kinds=kinds,
        )


def _kind(name: str, said: Mapping[str, Any]) -> Kind:
    kind = said["available_node_types"][name]
    markets = {kind["node_config"].get("InstanceMarketOptions", {}).get("MarketType") == "spot"}
    if name in said["provider"].get("on_demand_fallback", ()):
        markets.add(False)
    n_max = 1 if name == said["head_node_type"] else kind.get("max_workers", said["max_workers"])
    return Kind(instance_type=kind["node_config"]["InstanceType"], markets=frozenset(markets), n_max=n_max)


def _parsed(path: Path) -> Mapping[str, Any]:
    import yaml

    try:
        return yaml.safe_load(path.read_text())
    except OSError as error:
        raise DeclarationError(f"{path}: {error.strerror}; name the cluster.yaml, or go to its folder") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise DeclarationError(f"{path} is no YAML: {' '.join(str(error).split())}") from error


def _region(path: Path, name: str) -> str:
    from botocore.loaders import Loader

    partitions = Loader().load_data("endpoints")["partitions"]  # a list that botocore carries
    known = [region for partition in partitions for region in partition["regions"]]
    if name not in known:
        import difflib

        near = difflib.get_close_matches(name, known, 3)
        remedy = f"did you mean {' or '.join(near)}?" if near else "one is eu-central-1, not a zone like eu-central-1a"
        raise DeclarationError(f"{path}: region {name}: AWS has none of this name; {remedy}")
    return name


def _address(path: Path, text: str) -> str:
    """An IPv4 network as EC2 writes it. Ray reaches its head by IPv4."""
    try:
        network = ipaddress.IPv4Network(text, strict=False)
    except ValueError as error:
        raise DeclarationError(
            f"{path}: ssh_from: {text} is no IPv4 network; your address and /32: curl https://checkip.amazonaws.com"
        ) from error
    if network.prefixlen < WIDEST_PREFIX:
        raise DeclarationError(
            f"{path}: ssh_from: {text} would open SSH on every node to {network.num_addresses:,} addresses, and to all "
            "who try passwords and stolen keys on them; give your own address and /32"
        )
    return str(network)
