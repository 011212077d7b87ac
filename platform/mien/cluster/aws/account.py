"""What an AWS account needs before `ray up cluster.yaml`, made where it is missing.

Asked again it finds everything and makes nothing. Nothing is ever deleted, with one exception: a rule of the cluster's
security group that lets others in by SSH.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from mien.cluster.aws.declaration import Declaration
from mien.cluster.aws.offers import named, offered, wrong
from mien.cluster.aws.policy import policy
from mien.cluster.aws.quotas import quotas, stuck
from mien.cluster.aws.refusals import AccountError, found, said_by_aws

TOKEN = Path("~/.ray/auth_token")
OWNER = "ray-cluster-name"  # the tag by which Ray knows its nodes, and we what is the cluster's
POLICY = "mien"  # name of the inline policy of each role
ABORT_RULE = {
    "ID": "mien-abort-unfinished-uploads",
    "Status": "Enabled",
    "Filter": {"Prefix": ""},
    "AbortIncompleteMultipartUpload": {"DaysAfterInitiation": 7},
}
# Who a rule of a security group lets in, and by what they are named.
SOURCES = {
    "IpRanges": "CidrIp",
    "Ipv6Ranges": "CidrIpv6",
    "PrefixListIds": "PrefixListId",
    "UserIdGroupPairs": "GroupId",
}
NOT_PUBLIC = dict.fromkeys(("BlockPublicAcls", "IgnorePublicAcls", "BlockPublicPolicy", "RestrictPublicBuckets"), True)
N_TRIES = 8  # of a call that AWS throttles or fails, with waits of up to 20 s between them
ENCRYPTED = {"Rules": [{"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "AES256"}}]}


class Account:
    """The account that the credentials of this machine lead to, in the region of the cluster.

    tell: takes a line for each thing that was found or made. dry_run: make nothing, say what would be made. Raises
    AccountError where there are no valid credentials.
    """

    def __init__(self, cluster: Declaration, *, tell: Callable[[str], None] = print, dry_run: bool = False) -> None:
        import boto3
        from botocore.config import Config
        from botocore.session import get_session

        self.cluster = cluster
        self.n_made = 0
        self._tell, self._dry_run = tell, dry_run
        with said_by_aws():
            patient = get_session()
            patient.set_default_client_config(Config(retries={"mode": "standard", "total_max_attempts": N_TRIES}))
            self.session = boto3.Session(botocore_session=patient, region_name=cluster.region)
            me = self.session.client("sts").get_caller_identity()
        self.id: str = me["Account"]
        self._partition = me["Arn"].split(":")[1]
        tell(f"account {self.id} as {me['Arn'].rsplit(':', 1)[1]}, {cluster.region}")

    # ------------------------------------------------------------------ all of it

    def set_up(self) -> None:
        """Bucket, roles, the spot service's role, security group and token. Raises AccountError: for what cannot work,
        before anything is made, and for a quota in which no node fits once all is, since raising it takes days."""
        with said_by_aws():
            short = self._machines()
            self._key_pair()
            self._bucket()
            for name, document in ((self.cluster.worker, "worker"), (self.cluster.head, "head")):
                self._role(name, self.policy(document))
            self._spot_role()
            self._group()
        self._token()
        if short:
            raise AccountError("; ".join(short))

    def policy(self, name: str) -> dict[str, Any]:
        """A document of policies/ with the names of this account and cluster in it."""
        return policy(name, self.cluster, account=self.id, partition=self._partition)

    # ------------------------------------------------------------------ parts

    def _ensure(self, what: str, there: bool, make: Callable[[], object], *, changes: bool = False) -> object:
        """One line, and the making where it is not there; returns what was made. changes: something else is there."""
        if there:
            self._tell(f"found       {what}")
            return None
        made = None if self._dry_run else make()
        self.n_made += 1
        verb = ("would change" if changes else "would make") if self._dry_run else ("changed" if changes else "made")
        self._tell(f"{verb:<11} {what}")
        return made

    def _machines(self) -> list[str]:
        """The instance types and the quotas; answers with the node types that no quota has room for."""
        kinds, region = self.cluster.kinds, self.cluster.region
        found = offered(self.session.client("ec2"), named(kinds))
        complaints = list(wrong(kinds, self.cluster.head_kind, region, found))
        for said in (said for must_be, said in complaints if not must_be):
            self._tell(f"! {said}")
        if to_mend := [said for must_be, said in complaints if must_be]:
            raise AccountError("cluster.yaml: " + "; ".join(to_mend))
        limits = quotas(self.session, self.cluster.cluster, kinds, found)
        for quota in limits.values():
            self._tell(str(quota))
        return [f"no node of {name} can start: {quota}" for name, quota in stuck(kinds, found, limits)]

    def _key_pair(self) -> None:
        """Ray takes a key pair of the user only where EC2 and ~/.ssh have it both; else it would make another."""
        if (name := self.cluster.key_name) is None:
            return
        private = Path("~/.ssh").expanduser() / f"{name}.pem"
        ec2 = self.session.client("ec2")
        there = found(ec2.describe_key_pairs, "InvalidKeyPair.NotFound", KeyNames=[name]) is not None
        if there and not private.exists():
            raise AccountError(
                f"key pair {name}: EC2 has it, but not {private} this machine: copy its private half there"
            )
        if private.exists() and not there:
            raise AccountError(
                f"key pair {name}: {private} is here, but {self.cluster.region} knows none of this name: import its "
                f"public half (aws ec2 import-key-pair --key-name {name} "
                f"--public-key-material fileb://...), or leave key_pair out of cluster.yaml"
            )
        self._tell(f"{'found      ' if there else 'Ray makes  '} key pair {name}")

    def _bucket(self) -> None:
        s3, name, region = self.session.client("s3"), self.cluster.bucket, self.cluster.region
        self._ensure(f"bucket {name}", self._bucket_is_ours(s3), lambda: self._make_bucket(s3))
        named: dict[str, Any] = {"Bucket": name, "ExpectedBucketOwner": self.id}

        block = found(s3.get_public_access_block, "NoSuchPublicAccessBlockConfiguration", "NoSuchBucket", **named)
        self._ensure(
            "public access blocked",
            (block or {}).get("PublicAccessBlockConfiguration") == NOT_PUBLIC,
            lambda: s3.put_public_access_block(PublicAccessBlockConfiguration=NOT_PUBLIC, **named),
        )
        key = found(s3.get_bucket_encryption, "ServerSideEncryptionConfigurationNotFoundError", "NoSuchBucket", **named)
        self._ensure(
            "objects encrypted",
            key is not None,
            lambda: s3.put_bucket_encryption(ServerSideEncryptionConfiguration=ENCRYPTED, **named),
        )
        life = found(s3.get_bucket_lifecycle_configuration, "NoSuchLifecycleConfiguration", "NoSuchBucket", **named)
        rules = (life or {}).get("Rules", [])
        self._ensure(
            "unfinished uploads dropped after 7 days",
            any("AbortIncompleteMultipartUpload" in rule for rule in rules),
            lambda: s3.put_bucket_lifecycle_configuration(
                LifecycleConfiguration={"Rules": [*rules, ABORT_RULE]}, **named
            ),
        )
        if not self._dry_run:
            probe = {**named, "Key": ".mien-setup"}
            s3.put_object(Body=b"", **probe)
            s3.delete_object(**probe)
            self._tell(f"wrote       to s3://{name} in {region}, and deleted it")

    def _bucket_is_ours(self, s3: Any) -> bool:
        from botocore.exceptions import ClientError

        name, region = self.cluster.bucket, self.cluster.region
        try:
            head = s3.head_bucket(Bucket=name, ExpectedBucketOwner=self.id)
        except ClientError as error:
            status = error.response["ResponseMetadata"]["HTTPStatusCode"]
            there = error.response["ResponseMetadata"]["HTTPHeaders"].get("x-amz-bucket-region")
            if status == 403:
                raise AccountError(
                    f"bucket {name}: it is not of account {self.id}, or your user may not see it; bucket names are "
                    "shared by all of AWS: if this one is not yours fill in another"
                ) from error
            if status == 301:
                raise AccountError(_elsewhere(name, str(there), region)) from error
            if status == 404:
                return False
            raise
        there = head.get("BucketRegion") or s3.get_bucket_location(Bucket=name)["LocationConstraint"] or "us-east-1"
        if there != region:
            raise AccountError(_elsewhere(name, there, region))
        return True

    def _make_bucket(self, s3: Any) -> None:
        place: dict[str, Any] = {"CreateBucketConfiguration": {"LocationConstraint": self.cluster.region}}
        s3.create_bucket(Bucket=self.cluster.bucket, **({} if self.cluster.region == "us-east-1" else place))

    def _role(self, name: str, policy: Mapping[str, Any]) -> None:
        """A role that instances of EC2 take on, its one inline policy, and the instance profile of the same name."""
        iam = self.session.client("iam")
        absent = "NoSuchEntity"
        role = found(iam.get_role, absent, RoleName=name)
        self._check_owner(f"role {name}", role["Role"].get("Tags", []) if role else [], "IamInstanceProfile")
        self._ensure(
            f"role {name}",
            role is not None,
            lambda: iam.create_role(
                RoleName=name,
                AssumeRolePolicyDocument=json.dumps(self.policy("trust")),
                Description="What the nodes of a mien cluster may do",
                Tags=self._tags,
            ),
        )
        inline = found(iam.get_role_policy, absent, RoleName=name, PolicyName=POLICY)
        self._ensure(
            f"policy of {name}",
            inline is not None and inline["PolicyDocument"] == policy,
            lambda: iam.put_role_policy(RoleName=name, PolicyName=POLICY, PolicyDocument=json.dumps(policy)),
            changes=inline is not None,
        )
        profile = found(iam.get_instance_profile, absent, InstanceProfileName=name)
        self._ensure(
            f"instance profile {name}",
            profile is not None,
            lambda: iam.create_instance_profile(InstanceProfileName=name),
        )
        held = [role["RoleName"] for role in profile["InstanceProfile"]["Roles"]] if profile else []
        if held not in ([], [name]):
            raise AccountError(
                f"instance profile {name} holds the role {held[0]}: give cluster.yaml another name for it"
            )
        self._ensure(
            f"role {name} in its instance profile",
            held == [name],
            lambda: iam.add_role_to_instance_profile(InstanceProfileName=name, RoleName=name),
        )

    @property
    def _tags(self) -> list[dict[str, str]]:
        return [{"Key": OWNER, "Value": self.cluster.cluster}, {"Key": "project", "Value": "mien"}]

    def _check_owner(self, what: str, tags: list[dict[str, str]], field: str) -> None:
        """Two clusters with one role or group would take each other's rights away."""
        owner = next((tag["Value"] for tag in tags if tag["Key"] == OWNER), self.cluster.cluster)
        if owner != self.cluster.cluster:
            raise AccountError(
                f"{what} is of the cluster {owner}, and this is {self.cluster.cluster}: give {field} in cluster.yaml "
                "another name"
            )

    def _spot_role(self) -> None:
        """EC2 makes this role by itself for spot requests from the console, not for those of an API."""
        iam = self.session.client("iam")
        pages = iam.get_paginator("list_roles").paginate(PathPrefix="/aws-service-role/spot.amazonaws.com/")
        self._ensure(
            "role of the spot service",
            any(page["Roles"] for page in pages),
            lambda: iam.create_service_linked_role(AWSServiceName="spot.amazonaws.com"),
        )

    def _group(self) -> None:
        """The security group, in the network that Ray will choose; Ray keeps the rules of a group that has some."""
        ec2, name = self.session.client("ec2"), self.cluster.group
        vpc = self._vpc(ec2)
        where = [{"Name": "group-name", "Values": [name]}, {"Name": "vpc-id", "Values": [vpc]}]
        held = ec2.describe_security_groups(Filters=where)["SecurityGroups"]
        made = self._ensure(f"security group {name} in {vpc}", bool(held), partial(self._make_group, ec2, vpc))
        new = {"GroupId": made, "IpPermissions": [], "Tags": self._tags}
        group: dict[str, Any] = held[0] if held else new
        self._check_owner(f"security group {name}", group.get("Tags", []), "provider.security_group.GroupName")
        if held:  # the head may launch nodes into a group of this tag alone
            is_ours = any(tag["Key"] == OWNER for tag in group.get("Tags", []))
            tag = partial(ec2.create_tags, Resources=[group["GroupId"]], Tags=self._tags)
            self._ensure(f"tag {OWNER} of it", is_ours, tag)
        rules, named = group["IpPermissions"], {"GroupId": group["GroupId"]}
        ssh_from = self.cluster.ssh_from
        for network, rule in _ssh_from_others(rules, ssh_from, named["GroupId"]):
            revoke = partial(ec2.revoke_security_group_ingress, IpPermissions=[rule], **named)
            self._ensure(f"no SSH from {network}", False, revoke)
        peers = {"IpProtocol": "-1", "UserIdGroupPairs": [named]}
        ssh = {"IpProtocol": "tcp", "FromPort": 22, "ToPort": 22, "IpRanges": [{"CidrIp": ssh_from}]}
        self._ensure(
            "all traffic between its members",
            any(
                rule["IpProtocol"] == "-1" and named["GroupId"] == pair["GroupId"]
                for rule in rules
                for pair in rule["UserIdGroupPairs"]
            ),
            partial(ec2.authorize_security_group_ingress, IpPermissions=[peers], **named),
        )
        self._ensure(
            f"SSH from {ssh_from}",
            any(_is_ssh(rule) and ssh_from in [block["CidrIp"] for block in rule["IpRanges"]] for rule in rules),
            partial(ec2.authorize_security_group_ingress, IpPermissions=[ssh], **named),
        )

    def _make_group(self, ec2: Any, vpc: str) -> str:
        """Its id. A new group is not everywhere at once: what names it would be refused."""
        made = ec2.create_security_group(
            GroupName=self.cluster.group,
            VpcId=vpc,
            Description="mien: SSH from one network, and all traffic between the nodes of the cluster",
            TagSpecifications=[{"ResourceType": "security-group", "Tags": self._tags}],
        )
        ec2.get_waiter("security_group_exists").wait(GroupIds=[made["GroupId"]])
        return str(made["GroupId"])

    def _vpc(self, ec2: Any) -> str:
        """The network whose subnet comes first for Ray: public, available, in the last availability zone."""
        public = [{"Name": "state", "Values": ["available"]}, {"Name": "map-public-ip-on-launch", "Values": ["true"]}]
        subnets = ec2.describe_subnets(Filters=public)["Subnets"]
        if not subnets:
            raise AccountError(
                f"{self.cluster.region} has no subnet with public addresses: aws ec2 create-default-vpc --region "
                f"{self.cluster.region}, as an administrator, makes the usual ones"
            )
        return str(max(subnets, key=lambda subnet: subnet["AvailabilityZone"])["VpcId"])

    def _token(self) -> None:
        """What every node and client shows to Ray; a file of this user alone, which `ray up` copies to the nodes."""
        file = TOKEN.expanduser()
        there = file.is_file() and bool(file.read_text().strip())
        self._ensure(f"token {file}", there, partial(_generate_token, file))
        if there:
            private = file.stat().st_mode & 0o077 == 0
            self._ensure("token for you alone to read", private, partial(file.chmod, 0o600))


def _elsewhere(bucket: str, there: str, region: str) -> str:
    return (
        f"bucket {bucket} is in {there}, the cluster in {region}: traffic between regions is slow and paid for; "
        f"set region to {there}, or fill in another bucket"
    )


def _is_ssh(rule: Mapping[str, Any]) -> bool:
    return (rule["IpProtocol"], rule.get("FromPort"), rule.get("ToPort")) == ("tcp", 22, 22)


def _ssh_from_others(
    rules: list[dict[str, Any]], ssh_from: str, members: str | None
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Who else reaches port 22, each with the rule to revoke. members: the group itself, who may."""
    for rule in rules:
        ports = {key: value for key, value in rule.items() if key in ("IpProtocol", "FromPort", "ToPort")}
        if rule["IpProtocol"] not in ("-1", "tcp") or not rule.get("FromPort", 0) <= 22 <= rule.get("ToPort", 65535):
            continue
        for sources, key in SOURCES.items():
            for source in rule.get(sources, []):
                if source[key] != members and not (_is_ssh(rule) and source[key] == ssh_from):
                    named = {name: source[name] for name in (key, "UserId") if name in source}
                    yield source[key], {**ports, sources: [named]}


def _generate_token(file: Path) -> None:
    """By Ray's own command, which makes the file readable for all, and not from what the environment may hold."""
    ours = {name: value for name, value in os.environ.items() if not name.startswith("RAY_AUTH_TOKEN")}
    command = [sys.executable, "-m", "ray.scripts.scripts", "get-auth-token", "--generate"]
    done = subprocess.run(command, env=ours, capture_output=True, text=True)
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no word"])[-1]
        raise AccountError(f"ray get-auth-token --generate: {last}")
    file.chmod(0o600)
