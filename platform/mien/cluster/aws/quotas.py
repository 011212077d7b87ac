"""How many vCPUs an account may run at once, against what cluster.yaml may ask for.

EC2 counts vCPUs by family and by market. A new account has 5 for standard spot instances and none for GPUs ("Spot
Instance quotas", Amazon EC2 User Guide), which is less than one node of mien; raising them takes hours to days.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from mien.cluster.aws.cluster_file import Kind

STANDARD, ACCELERATED = tuple("acdhimrtz"), ("g", "gr", "vt")  # letters before the number of a generation
CODES = {  # (with a GPU of the families G and VT, spot) -> code and name in the service quotas of EC2
    (False, False): ("L-1216C47A", "Running On-Demand Standard (A, C, D, H, I, M, R, T, Z) instances"),
    (False, True): ("L-34B43A08", "All Standard (A, C, D, H, I, M, R, T, Z) Spot Instance Requests"),
    (True, False): ("L-DB2E81BA", "Running On-Demand G and VT instances"),
    (True, True): ("L-3819A6DF", "All G and VT Spot Instance Requests"),
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Quota:
    """vCPUs of one quota: allowed, None where the account does not tell; of one node of the largest type; of all."""

    code: str
    name: str
    n_allowed: float | None
    n_one: int
    n_all: int

    def line(self, region: str) -> str:
        """What a person has to know of it."""
        if self.n_allowed is None:
            return f"quota {self.name}: not to be read; {self.n_all} vCPUs may be asked for"
        said = f"quota {self.name}: {self.n_allowed:g} vCPUs, {self.n_all} may be asked for"
        if self.n_allowed >= self.n_all:
            return said
        short = "too few for one node" if self.n_allowed < self.n_one else "fewer nodes will come"
        return (
            f"{said}: {short}; ask AWS: aws service-quotas request-service-quota-increase --region {region} "
            f"--service-code ec2 --quota-code {self.code} --desired-value {self.n_all}"
        )


def quotas(session: Any, kinds: Sequence[Kind]) -> Iterator[Quota]:
    """Those that the node types count against; families outside standard, G and VT are left out.

    Raises botocore's ClientError, also for an instance type that the region does not have.
    """
    from botocore.exceptions import ClientError

    names = sorted({kind.instance_type for kind in kinds})
    described = session.client("ec2").describe_instance_types(InstanceTypes=names)["InstanceTypes"]
    n_vcpus = {type_["InstanceType"]: type_["VCpuInfo"]["DefaultVCpus"] for type_ in described}
    client = session.client("service-quotas")
    for (gpu, spot), (code, name) in CODES.items():
        counted = [
            kind
            for kind in kinds
            if kind.n_max and _family(kind) in (ACCELERATED if gpu else STANDARD) and spot in kind.markets
        ]
        if not counted:
            continue
        try:
            answer = client.get_service_quota(ServiceCode="ec2", QuotaCode=code)
            n_allowed = answer["Quota"]["Value"]
        except ClientError:
            n_allowed = None  # a right that setup can do without
        yield Quota(
            code=code,
            name=name,
            n_allowed=n_allowed,
            n_one=max(n_vcpus[kind.instance_type] for kind in counted),
            n_all=sum(kind.n_max * n_vcpus[kind.instance_type] for kind in counted),
        )


def _family(kind: Kind) -> str:
    """ "c" of c7i.4xlarge, "trn" of trn1.2xlarge."""
    return re.split(r"[^a-z]", kind.instance_type)[0]
