"""What a cluster left in its account that still costs money."""

from __future__ import annotations

from dataclasses import dataclass

from mien.cluster.aws.account import Account
from mien.cluster.aws.refusals import said_by_aws

# "shutting-down" is not: it is not paid for, ends by itself, and `ray down` returns while nodes are in it.
OPEN_STATES = ["pending", "running", "stopping", "stopped"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Leftover:
    """An instance, or a disk that belongs to none. since: when it was launched or made, UTC."""

    id: str
    kind: str
    state: str
    since: str

    def command(self, region: str) -> str:
        """What ends it."""
        if self.id.startswith("i-"):
            return f"aws ec2 terminate-instances --region {region} --instance-ids {self.id}"
        return f"aws ec2 delete-volume --region {region} --volume-id {self.id}"


def leftovers(account: Account) -> list[Leftover]:
    """Those with the cluster's tag, oldest first. Raises AccountError."""
    mine = {"Name": "tag:ray-cluster-name", "Values": [account.cluster.cluster]}
    found = []
    with said_by_aws():
        ec2 = account.session.client("ec2")
        states = {"Name": "instance-state-name", "Values": OPEN_STATES}
        for page in ec2.get_paginator("describe_instances").paginate(Filters=[mine, states]):
            for instance in (i for reservation in page["Reservations"] for i in reservation["Instances"]):
                tags = {tag["Key"]: tag["Value"] for tag in instance["Tags"]}
                found.append(
                    Leftover(
                        id=instance["InstanceId"],
                        kind=f"{tags.get('ray-user-node-type', 'node')} {instance['InstanceType']}",
                        state=instance["State"]["Name"],
                        since=f"{instance['LaunchTime']:%Y-%m-%d %H:%M}",
                    )
                )
        loose = {"Name": "status", "Values": ["available"]}
        for page in ec2.get_paginator("describe_volumes").paginate(Filters=[mine, loose]):
            for volume in page["Volumes"]:
                since = f"{volume['CreateTime']:%Y-%m-%d %H:%M}"
                kind = f"disk {volume['Size']} GiB"
                found.append(Leftover(id=volume["VolumeId"], kind=kind, state=volume["State"], since=since))
    return sorted(found, key=lambda leftover: leftover.since)
