"""What AWS is to be asked for and what it would allow, without an AWS and without moto."""

from __future__ import annotations

import json
import logging
import os
import re
import subprocess
from collections.abc import Iterator
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from aws_account import filled
from conftest import ROOT
from iam import Request, allowed, as_list, may_assume
from mien.cluster.aws.declaration import Declaration
from mien.cluster.aws.policy import policy
from mien.errors import MienError

CLUSTER: dict[str, Any] = yaml.safe_load((ROOT / "cluster.yaml").read_text())

# ---------------------------------------------------------------------- what Ray makes of the file


def test_ray_reads_the_file_in_silence(caplog):
    """Its autoscaler does so every five seconds."""
    from ray.autoscaler._private.util import prepare_config

    import mien.cluster.aws.provider  # noqa: F401

    with caplog.at_level(logging.WARNING):
        for _ in range(2):
            prepare_config(CLUSTER)
    assert not caplog.messages


def test_each_worker_declares_what_it_has():
    """Where EC2 does not answer Ray's question for it, this is all that the autoscaler knows."""
    kinds = {name: kind["resources"] for name, kind in CLUSTER["available_node_types"].items()}
    assert kinds.pop("head") == {"CPU": 0}
    assert all(resources["CPU"] > 0 for resources in kinds.values())
    assert [name for name, resources in kinds.items() if resources.get("GPU")] == ["gpu", "gpu-on-demand"]


# ---------------------------------------------------------------------- what starts on a node


def started(commands: list[str], home: Path) -> list[str]:
    """What a node's start commands call, each with what of the environment matters, by programs that only note it."""
    programs = home / "mien" / ".venv" / "bin"
    programs.mkdir(parents=True, exist_ok=True)
    notes = home / "notes"
    notes.write_text("")
    for name in ("ray", "python"):
        script = f'echo "$PYTHONPATH $RAY_AUTH_MODE $RAY_USAGE_STATS_ENABLED {name} $*" >>{notes}; sleep 0.2\n'
        (programs / name).write_text(f"#!/bin/sh\n{script}")
        (programs / name).chmod(0o755)
    environment = {"HOME": str(home), "PATH": os.environ["PATH"], "RAY_HEAD_IP": "10.0.0.1"}
    for command in commands:
        subprocess.run(["bash", "-c", command], env=environment, check=True, timeout=60)
    wanted = len([command for command in commands if "ray" in command or "python" in command])
    for _ in range(100):  # the last of them goes on by itself
        if len(notes.read_text().splitlines()) >= wanted:
            break
        subprocess.run(["sleep", "0.05"], check=True)
    return notes.read_text().splitlines()


def test_a_head_starts_ray_that_finds_the_provider_and_sends_nothing_home(tmp_path):
    stop, start = started(CLUSTER["head_start_ray_commands"], tmp_path)
    assert stop.endswith("ray stop")
    assert start.startswith(f"{tmp_path}/mien/platform token 0 ray start --head ")
    assert "--dashboard-host=127.0.0.1" in start
    assert "--autoscaling-config=~/ray_bootstrap_config.yaml" in start  # Ray expands it


def test_a_worker_starts_ray_and_listens_for_the_notice_of_ec2(tmp_path):
    stop, start, spot = started(CLUSTER["worker_start_ray_commands"], tmp_path)
    assert stop.endswith("ray stop")
    assert start.startswith(" token 0 ray start --address=10.0.0.1:6379 ")
    assert spot.startswith(f"{tmp_path}/mien/platform token") and spot.endswith("python -m mien.cluster.aws.spot")


def test_upgrades_do_not_come_between(tmp_path):
    """The first command of a node's set-up, with a systemd that notes what it is told and fails."""
    programs = tmp_path / "bin"
    programs.mkdir()
    (programs / "sudo").write_text(f'#!/bin/sh\necho "$*" >{tmp_path}/told; exit 1\n')
    (programs / "sudo").chmod(0o755)
    environment = {"PATH": f"{programs}:{os.environ['PATH']}"}
    subprocess.run(["bash", "-ec", CLUSTER["setup_commands"][0]], env=environment, check=True)
    told = (tmp_path / "told").read_text()
    assert told.startswith("systemctl mask --runtime --now ")
    assert {"unattended-upgrades.service", "apt-daily-upgrade.timer", "apt-daily.timer"} <= set(told.split())


# ---------------------------------------------------------------------- what IAM would say

REGION, ACCOUNT, OTHER = "eu-central-1", "123456789012", "999999999999"
KEY = f"arn:aws:kms:{REGION}:{ACCOUNT}:key/11111111-2222-3333-4444-555555555555"
TAG = "aws:ResourceTag/ray-cluster-name"


@pytest.fixture
def declared(tmp_path) -> Declaration:
    return Declaration.read(filled(tmp_path))


def statements(name: str, declared: Declaration, **named: str) -> list[dict[str, Any]]:
    return policy(name, declared, account=ACCOUNT, **named)["Statement"]


def ec2(resource: str, *, owner: str = ACCOUNT, region: str = REGION) -> str:
    return f"arn:aws:ec2:{region}:{owner}:{resource}"


def launch_of_a_spot_worker(**otherwise: dict[str, str]) -> dict[str, Request]:
    """What EC2 asks IAM for at one RunInstances of the head, by the kind of each resource that the launch names.

    Service Authorization Reference, "Actions, resources, and condition keys for Amazon EC2", RunInstances; that a spot
    launch names a spot-instances-request is said there as well. otherwise: context that differs, by kind.
    """
    of_instance = {
        "aws:RequestTag/ray-cluster-name": "mien",
        "ec2:MetadataHttpTokens": "required",
        "ec2:InstanceProfile": f"arn:aws:iam::{ACCOUNT}:instance-profile/mien-worker",
        "ec2:InstanceMarketType": "spot",
    }
    context = {"instance": of_instance, "volume": {"ec2:Encrypted": "true"}, "security-group": {TAG: "mien"}}
    arns = {
        "image": ec2("image/ami-1", owner=""),
        "instance": ec2("instance/*"),
        "key-pair": ec2(f"key-pair/ray-autoscaler_{REGION}"),
        "network-interface": ec2("network-interface/*"),
        "security-group": ec2("security-group/sg-1"),
        "snapshot": ec2("snapshot/snap-1", owner=""),
        "spot-instances-request": ec2("spot-instances-request/*"),
        "subnet": ec2("subnet/subnet-1"),
        "volume": ec2("volume/*"),
    }
    return {
        kind: Request("ec2:RunInstances", arn, context.get(kind, {}) | otherwise.get(kind, {}))
        for kind, arn in arns.items()
    }


def images() -> list[str]:
    """Where EC2 looks up the images that cluster.yaml names."""
    of_types = [kind["node_config"]["ImageId"] for kind in CLUSTER["available_node_types"].values()]
    return [f"arn:aws:ssm:{REGION}::parameter{image.removeprefix('resolve:ssm:')}" for image in of_types]


BUCKET_ARN = "arn:aws:s3:::emotion-bucket"
OF_THE_BUCKET = [
    *(Request(f"s3:{name}", BUCKET_ARN) for name in ("GetBucketLocation", "ListBucket", "ListBucketMultipartUploads")),
    *(
        Request(f"s3:{name}", f"{BUCKET_ARN}/store/part")
        for name in ("AbortMultipartUpload", "DeleteObject", "GetObject", "ListMultipartUploadParts", "PutObject")
    ),
]
AT_LAUNCH = {"ec2:CreateAction": "RunInstances"}
TO_EC2 = {"iam:PassedToService": "ec2.amazonaws.com"}
VIA_EC2 = {"kms:ViaService": f"ec2.{REGION}.amazonaws.com"}
NEEDED = {
    "worker": OF_THE_BUCKET,
    "head": [
        *OF_THE_BUCKET,
        *launch_of_a_spot_worker().values(),
        Request("ec2:DescribeInstances", "*", {"aws:RequestedRegion": REGION}),
        *(Request("ec2:CreateTags", ec2(f"{kind}/*"), AT_LAUNCH) for kind in ("instance", "volume")),
        *(Request(f"ec2:{name}", ec2("instance/i-1"), {TAG: "mien"}) for name in ("CreateTags", "TerminateInstances")),
        Request("iam:PassRole", f"arn:aws:iam::{ACCOUNT}:role/mien-worker", TO_EC2),
        *(Request("ssm:GetParameters", arn) for arn in images()),
    ],
    "disks": [
        *(
            Request(f"kms:{name}", KEY, VIA_EC2)
            for name in ("Decrypt", "DescribeKey", "GenerateDataKeyWithoutPlaintext", "ReEncryptFrom", "ReEncryptTo")
        ),
        Request("kms:CreateGrant", KEY, {"kms:GrantIsForAWSResource": "true"}),
    ],
}
OF_OTHERS = [
    Request("s3:GetObject", "arn:aws:s3:::others/x"),
    Request("s3:PutObject", "arn:aws:s3:::emotion-bucket-2/x"),
    Request("s3:ListBucket", "arn:aws:s3:::others"),
    Request("s3:DeleteBucket", BUCKET_ARN),
    Request("iam:PutRolePolicy", f"arn:aws:iam::{ACCOUNT}:role/mien-worker"),
]
ADMIN = f"arn:aws:iam::{ACCOUNT}:instance-profile/admin"
FORBIDDEN = {
    "worker": [*OF_OTHERS, *NEEDED["head"][len(OF_THE_BUCKET) :]],
    "head": [
        *OF_OTHERS,
        Request("ec2:DescribeInstances", "*", {"aws:RequestedRegion": "us-east-1"}),
        launch_of_a_spot_worker(instance={"aws:RequestTag/ray-cluster-name": "two"})["instance"],
        launch_of_a_spot_worker(instance={"ec2:MetadataHttpTokens": "optional"})["instance"],
        launch_of_a_spot_worker(instance={"ec2:InstanceProfile": ADMIN})["instance"],
        launch_of_a_spot_worker(volume={"ec2:Encrypted": "false"})["volume"],
        Request("ec2:RunInstances", ec2("subnet/subnet-1", region="us-east-1")),
        launch_of_a_spot_worker(**{"security-group": {TAG: "two"}})["security-group"],
        Request("ec2:CreateTags", ec2("instance/i-1"), {TAG: "two"}),
        Request("ec2:CreateTags", ec2("volume/vol-1"), {}),
        Request("ec2:TerminateInstances", ec2("instance/i-1"), {TAG: "two"}),
        Request("ec2:TerminateInstances", ec2("instance/i-1")),
        Request("iam:PassRole", f"arn:aws:iam::{ACCOUNT}:role/admin", TO_EC2),
        Request(
            "iam:PassRole", f"arn:aws:iam::{ACCOUNT}:role/mien-worker", {"iam:PassedToService": "lambda.amazonaws.com"}
        ),
        Request("ssm:GetParameters", f"arn:aws:ssm:{REGION}:{ACCOUNT}:parameter/password"),
    ],
    "disks": [
        Request("kms:Decrypt", KEY, {"kms:ViaService": f"s3.{REGION}.amazonaws.com"}),
        Request("kms:CreateGrant", KEY, {"kms:GrantIsForAWSResource": "false"}),
        Request("kms:Decrypt", KEY.replace("1111", "2222"), VIA_EC2),
        Request("kms:ScheduleKeyDeletion", KEY, VIA_EC2),
    ],
}


@pytest.mark.parametrize("name", NEEDED)
def test_a_policy_allows_what_is_needed_and_nothing_that_is_not(declared, name):
    document = statements(name, replace(declared, disk_key=KEY if name == "disks" else ""))
    for request in NEEDED[name]:
        assert allowed(document, request), request
    for request in FORBIDDEN[name]:
        assert not allowed(document, request), request


def without(document: list[dict[str, Any]]) -> Iterator[tuple[str, bool, list[dict[str, Any]]]]:
    """The document with one action or one resource less, and (True) with one condition less."""
    for number, statement in enumerate(document):
        for field in ("Action", "Resource"):
            for one in as_list(statement[field]):
                changed = deepcopy(document)
                changed[number][field] = [other for other in as_list(statement[field]) if other != one]
                yield f"{statement['Sid']} without {one}", False, changed
        for operator, keys in statement.get("Condition", {}).items():
            for key in keys:
                changed = deepcopy(document)
                del changed[number]["Condition"][operator][key]
                yield f"{statement['Sid']} without the condition {key}", True, changed


@pytest.mark.parametrize("name", NEEDED)
def test_each_word_of_a_policy_is_needed(declared, name):
    """Without an action or a resource something that is needed is refused, without a condition more is allowed."""
    for what, is_condition, document in without(
        statements(name, replace(declared, disk_key=KEY if name == "disks" else ""))
    ):
        if is_condition:
            assert any(allowed(document, request) for request in FORBIDDEN[name]), what
        else:
            assert not all(allowed(document, request) for request in NEEDED[name]), what


def test_a_key_of_ones_own_for_the_disks_is_lent_by_the_head(tmp_path):
    file = filled(tmp_path)
    plain = file.read_text()
    file.write_text(plain.replace("Encrypted: true", f"Encrypted: true, KmsKeyId: '{KEY}'"))
    declared = Declaration.read(file)
    for request in NEEDED["disks"]:
        assert allowed(statements("head", declared), request) and not allowed(statements("worker", declared), request)
    file.write_text(plain.replace("Encrypted: true", "Encrypted: true, KmsKeyId: alias/disks"))
    with pytest.raises(MienError, match="KmsKeyId: alias/disks: give one key for all disks, by its ARN"):
        Declaration.read(file)


@pytest.mark.parametrize("partition", ["aws", "aws-cn", "aws-us-gov"])
def test_a_role_is_for_instances_of_ec2_alone(declared, partition):
    document = statements("trust", declared, partition=partition)
    dns = "amazonaws.com.cn" if partition == "aws-cn" else "amazonaws.com"
    assert may_assume(document, "Service", f"ec2.{dns}")
    for kind, principal in (
        ("Service", f"lambda.{dns}"),
        ("AWS", f"arn:{partition}:iam::{ACCOUNT}:root"),
        ("AWS", f"arn:{partition}:iam::{OTHER}:user/somebody"),
        ("AWS", "*"),
        ("Federated", "accounts.google.com"),
    ):
        assert not may_assume(document, kind, principal), principal


def test_arns_are_those_of_the_partition(declared):
    document = statements("head", replace(declared, disk_key=KEY.replace(":aws:", ":aws-cn:")), partition="aws-cn")
    resources = [arn for statement in document for arn in as_list(statement["Resource"]) if arn != "*"]
    assert all(arn.startswith("arn:aws-cn:") for arn in resources)
    passing = next(statement for statement in document if statement["Action"] == "iam:PassRole")
    assert passing["Condition"] == {"StringEquals": {"iam:PassedToService": "ec2.amazonaws.com.cn"}}


def test_the_user_may_give_and_make_no_other_roles(declared):
    document = statements("user", declared)
    role = f"arn:aws:iam::{ACCOUNT}:role"
    spot = f"{role}/aws-service-role/spot.amazonaws.com/AWSServiceRoleForEC2Spot"
    for request in (
        Request("iam:PassRole", f"{role}/mien-head", TO_EC2),
        Request("iam:CreateServiceLinkedRole", spot, {"iam:AWSServiceName": "spot.amazonaws.com"}),
        Request("iam:CreateRole", f"{role}/mien-head"),
    ):
        assert allowed(document, request), request
    for request in (
        Request("iam:PassRole", f"{role}/admin", TO_EC2),
        Request("iam:PassRole", f"{role}/mien-head", {"iam:PassedToService": "lambda.amazonaws.com"}),
        Request("iam:CreateServiceLinkedRole", spot, {"iam:AWSServiceName": "ecs.amazonaws.com"}),
        Request("iam:PutRolePolicy", f"{role}/admin"),
        Request("iam:AttachRolePolicy", f"{role}/mien-head"),
        Request("iam:CreateUser", f"arn:aws:iam::{ACCOUNT}:user/mien-2"),
    ):
        assert not allowed(document, request), request


# "IAM and AWS STS quotas", IAM User Guide: characters of all inline policies together, without white space.
INLINE = {"user": 2048, "head": 10_240, "worker": 10_240, "trust": 2048}


@pytest.mark.parametrize("name", INLINE)
def test_iam_takes_a_policy_of_this_length(declared, name):
    """user.json is put into a user by the how-to, where IAM takes the least of all places."""
    longest = replace(declared, bucket="b" * 63, cluster="c" * 60, worker="w" * 60, disk_key=KEY)
    assert len(re.sub(r"\s", "", json.dumps(policy(name, longest, account=ACCOUNT)))) <= INLINE[name]
