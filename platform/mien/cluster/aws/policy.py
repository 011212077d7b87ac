"""The policies of policies/, with the names of an account and a cluster in them.

IAM's limits, in characters without white space ("IAM and AWS STS quotas", IAM User Guide): inline policies of a user
2,048, of a group 5,120, of a role 10,240, each for all of them together; a managed policy 6,144.
"""

from __future__ import annotations

import json
from importlib import resources
from string import Template
from typing import Any

from mien.cluster.aws.declaration import Declaration

CHINA = "aws-cn"


def policy(name: str, cluster: Declaration, *, account: str, partition: str = "aws") -> dict[str, Any]:
    """A document: user, head, worker, or trust, which says that EC2 may give a role to its instances. That of the head
    has the rights of disks.json where cluster.yaml names a key of the user's own for the disks.

    partition: aws, aws-cn (China), aws-us-gov, as the ARNs of the account have it.
    """
    text = (resources.files("mien.cluster.aws") / "policies" / f"{name}.json").read_text()
    filled = Template(text).substitute(
        partition=partition,
        account=account,
        region=cluster.region,
        cluster=cluster.cluster,
        bucket=cluster.bucket,
        worker=cluster.worker,
        key=cluster.disk_key,
        dns="amazonaws.com.cn" if partition == CHINA else "amazonaws.com",
    )
    document = json.loads(filled)
    if name == "head" and cluster.disk_key:
        document["Statement"] += policy("disks", cluster, account=account, partition=partition)["Statement"]
    return document
