"""What cluster.yaml asks of an AWS account: read, and refused where it cannot work."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from mien.cluster.aws.cluster_file import PLACEHOLDER, ClusterFileError, Kind, read_cluster_file

WIDEST_PREFIX = 8  # of an IPv4 network that may reach the nodes by SSH
BUCKET_NAME = re.compile(
    r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]"
)  # Amazon S3 User Guide, general purpose bucket naming rules
KEY_ARN = re.compile(r"arn:aws[a-z-]*:kms:[a-z0-9-]+:\d{12}:key/[a-z0-9-]+")


@dataclass(frozen=True, kw_only=True, slots=True)
class Declaration:
    """Names that cluster.yaml gives. head, worker: instance profiles, and the roles of the same names. key_name: of
    the SSH key pair, None where Ray is to make one. kinds: the node types by name; head_kind: the head's.
    disk_key: ARN of the KMS key of all disks, empty where it is AWS's own."""

    cluster: str
    region: str
    bucket: str
    ssh_from: str
    group: str
    head: str
    worker: str
    key_name: str | None
    kinds: Mapping[str, Kind]
    head_kind: str
    disk_key: str = ""

    @classmethod
    def read(cls, path: Path) -> Declaration:
        """Raises ClusterFileError for a file that is missing, no cluster, or has a value left to fill in or a bad
        one."""
        said = read_cluster_file(path)
        provider, metadata = said.provider, said.metadata
        if metadata is None or provider.security_group is None:
            lacking = "metadata" if metadata is None else "provider.security_group"
            raise ClusterFileError(f"{path}: {lacking} is missing; compare it with the cluster.yaml of mien")
        values = {"bucket": metadata.bucket, "ssh_from": metadata.ssh_from, "region": provider.region}
        if left := [key for key, value in values.items() if value == PLACEHOLDER]:
            raise ClusterFileError(f"{path}: {', '.join(left)} still to be filled in; the first lines of it say how")
        kinds = said.kinds()
        head = kinds[said.head_node_type].profile
        workers = {kind.profile for name, kind in kinds.items() if name != said.head_node_type}
        if not head or len(workers) != 1 or not all(workers) or head in workers:
            raise ClusterFileError(
                f"{path}: IamInstanceProfile: one for the head and one, another, for all workers; found {head} and "
                f"{', '.join(sorted(str(name) for name in workers)) or 'none'}"
            )
        return cls(
            cluster=said.cluster_name,
            region=_region(path, provider.region),
            bucket=_bucket(path, metadata.bucket),
            ssh_from=_address(path, metadata.ssh_from),
            group=provider.security_group.GroupName,
            head=head,
            worker=str(next(iter(workers))),
            key_name=provider.key_pair.key_name if provider.key_pair else None,
            kinds=kinds,
            head_kind=said.head_node_type,
            disk_key=_disk_key(path, kinds),
        )


def _region(path: Path, name: str) -> str:
    from botocore.loaders import Loader

    partitions = Loader().load_data("endpoints")["partitions"]  # a list that botocore carries
    known = [region for partition in partitions for region in partition["regions"]]
    if name not in known:
        import difflib

        near = difflib.get_close_matches(name, known, 3)
        remedy = f"did you mean {' or '.join(near)}?" if near else "one is eu-central-1, not a zone like eu-central-1a"
        raise ClusterFileError(f"{path}: region {name}: AWS has none of this name; {remedy}")
    return name


def _disk_key(path: Path, kinds: Mapping[str, Kind]) -> str:
    found = sorted({key for kind in kinds.values() for key in kind.disk_keys})
    if not found:
        return ""
    if len(found) > 1 or not KEY_ARN.fullmatch(found[0]):
        raise ClusterFileError(
            f"{path}: KmsKeyId: {', '.join(found)}: give one key for all disks, by its ARN (aws kms describe-key)"
        )
    return found[0]


def _bucket(path: Path, text: str) -> str:
    name = text.removeprefix("s3://").rstrip("/")
    if not BUCKET_NAME.fullmatch(name):
        why = "a bucket, without a folder in it" if "/" in name else "3 to 63 small letters, digits, hyphens and dots"
        raise ClusterFileError(f"{path}: bucket {text}: Invalid bucket name: give {why}")
    return name


def _address(path: Path, text: str) -> str:
    """An IPv4 network as EC2 writes it. Ray reaches its head by IPv4."""
    try:
        network = ipaddress.IPv4Network(text, strict=False)
    except ValueError as error:
        raise ClusterFileError(
            f"{path}: ssh_from: {text} is no IPv4 network; your address and /32: curl https://checkip.amazonaws.com"
        ) from error
    if network.prefixlen < WIDEST_PREFIX:
        raise ClusterFileError(
            f"{path}: ssh_from: {text} would open SSH on every node to {network.num_addresses:,} addresses, and to all "
            "who try passwords and stolen keys on them; give your own address and /32"
        )
    return str(network)
