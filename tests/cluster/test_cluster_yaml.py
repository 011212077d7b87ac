"""cluster.yaml against moto: Ray's schema, `ray up` as far as SSH, and a node of each type."""

from __future__ import annotations

import fnmatch
import json
import re
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml
from botocore.client import BaseClient
from moto.core import DEFAULT_ACCOUNT_ID as ACCOUNT_ID
from moto.ec2.models import ec2_backends
from moto.ec2.models.instances import InstanceState

from aws_account import ADDRESS, REGION, account_and_home, as_list, client, filled, up_to_ssh
from conftest import ROOT
from mien.cli.main import main
from mien.cluster.aws.account import Account
from mien.cluster.aws.declaration import Declaration

pytestmark = pytest.mark.cluster

WORKERS = ("cpu", "cpu-96", "gpu", "gpu-on-demand")
TYPES = {
    "head": "r7i.xlarge",
    "cpu": "c7i.4xlarge",
    "cpu-96": "c7i.24xlarge",
    "gpu": "g6.2xlarge",
    "gpu-on-demand": "g6.2xlarge",
}
SPOT = ("cpu", "cpu-96", "gpu")
ACTIONS = {  # operations of S3 whose action has another name
    "HeadBucket": "s3:ListBucket",
    "GetPublicAccessBlock": "s3:GetBucketPublicAccessBlock",
    "PutPublicAccessBlock": "s3:PutBucketPublicAccessBlock",
    "GetBucketEncryption": "s3:GetEncryptionConfiguration",
    "PutBucketEncryption": "s3:PutEncryptionConfiguration",
    "GetBucketLifecycleConfiguration": "s3:GetLifecycleConfiguration",
    "PutBucketLifecycleConfiguration": "s3:PutLifecycleConfiguration",
}


# ---------------------------------------------------------------------- the file


def test_three_values_are_to_be_filled_in_and_nothing_is_secret():
    text = (ROOT / "cluster.yaml").read_text()
    assert text.count("FILL-IN") == 3
    assert not re.search(r"AKIA[0-9A-Z]{16}|[0-9a-f]{32}|BEGIN .*PRIVATE KEY|0\.0\.0\.0", text)


def test_it_passes_rays_schema_and_keeps_the_dashboard_and_the_token(tmp_path):
    from ray.autoscaler._private.util import prepare_config, validate_config

    config = prepare_config(yaml.safe_load(filled(tmp_path).read_text()))
    validate_config(config)
    starts = [*config["head_start_ray_commands"], *config["worker_start_ray_commands"]]
    rays = [command for command in starts if "ray start" in command]
    assert len(rays) == 2 and all("RAY_AUTH_MODE=token" in command for command in rays)
    assert "--dashboard-host=127.0.0.1" in rays[0] and "--autoscaling-config" in rays[0]
    assert config["file_mounts"]["~/.ray/auth_token"] == "~/.ray/auth_token"
    for command in starts:
        subprocess.run(["bash", "-n", "-c", command], check=True)
    for local in config["file_mounts"].values():
        assert local.startswith("~") or (ROOT / local).exists()


# ---------------------------------------------------------------------- ray up, as far as SSH


@pytest.fixture(scope="module")
def aws_of_module(tmp_path_factory):
    with pytest.MonkeyPatch.context() as monkeypatch:
        yield from account_and_home(tmp_path_factory.mktemp("aws"), monkeypatch)


@pytest.fixture(scope="module")
def launched(aws_of_module, request):
    """A head by `ray up`, and a worker of each type by the autoscaler's own provider on the head.

    asked: parameters of RunInstances by node type; instances: what EC2 has of them; updater: what `ray up` would do on
    the head next, by SSH; by_user, by_head: actions of AWS that setup and `ray up`, and that the head asked for.
    """
    from ray.autoscaler._private.providers import _get_node_provider
    from ray.autoscaler.v2.instance_manager.config import FileConfigReader
    from ray.autoscaler.v2.instance_manager.node_provider import NodeProviderAdapter

    asked, actions = {}, []

    call = BaseClient._make_api_call

    def remembered(self, operation, params):
        service = self.meta.service_model.service_name
        actions.append(ACTIONS.get(operation, f"{service.replace('-', '')}:{operation}"))
        if operation == "RunInstances":
            tags = {tag["Key"]: tag["Value"] for tag in params["TagSpecifications"][0]["Tags"]}
            asked[tags["ray-user-node-type"]] = {**params, "tags": tags}
        return call(self, operation, params)

    patch = pytest.MonkeyPatch()
    request.addfinalizer(patch.undo)
    patch.setattr(BaseClient, "_make_api_call", remembered)
    Account(Declaration.read(aws_of_module), tell=lambda line: None).set_up()
    updater = up_to_ssh(aws_of_module)
    by_user = set(actions)
    actions.clear()
    on_head = aws_of_module.with_name("ray_bootstrap_config.yaml")
    config = json.loads(updater.bootstrap)
    key = config["auth"]["ssh_private_key"] = str(aws_of_module.with_name("key.pem"))
    Path(key).write_text(Path(updater.auth_config["ssh_private_key"]).read_text())
    on_head.write_text(json.dumps(config))
    provider = _get_node_provider(config["provider"], config["cluster_name"])
    autoscaler = NodeProviderAdapter(provider, FileConfigReader(str(on_head)))
    autoscaler.launch(dict.fromkeys(WORKERS, 1), "request")
    ended_s = time.monotonic() + 60
    while len(nodes := autoscaler.get_non_terminated()) < 1 + len(WORKERS):
        assert time.monotonic() < ended_s and not (errors := autoscaler.poll_errors()), errors
        time.sleep(0.1)
    described = client("ec2").describe_instances(InstanceIds=list(nodes))["Reservations"]
    instances = {nodes[i["InstanceId"]].node_type: i for r in described for i in r["Instances"]}
    provider.set_node_tags(instances["cpu"]["InstanceId"], {"ray-node-status": "up-to-date"})
    by_head = set(actions)
    patch.undo()
    return SimpleNamespace(
        asked=asked,
        instances=instances,
        updater=updater,
        config=config,
        autoscaler=autoscaler,
        by_user=by_user,
        by_head=by_head,
    )


def test_each_type_is_asked_for_as_declared(launched):
    assert set(launched.asked) == set(launched.instances) == {"head", *WORKERS}
    (group,) = client("ec2").describe_security_groups(Filters=[{"Name": "group-name", "Values": ["mien"]}])[
        "SecurityGroups"
    ]
    for kind, asked in launched.asked.items():
        assert asked["InstanceType"] == TYPES[kind]
        assert asked["IamInstanceProfile"] == {"Name": "mien-head" if kind == "head" else "mien-worker"}
        assert asked["MetadataOptions"] == {
            "HttpEndpoint": "enabled",
            "HttpTokens": "required",
            "HttpPutResponseHopLimit": 1,
        }
        assert ("InstanceMarketOptions" in asked) == (kind in SPOT)
        if kind in SPOT:
            assert asked["InstanceMarketOptions"]["MarketType"] == "spot"
            assert asked["InstanceMarketOptions"]["SpotOptions"]["InstanceInterruptionBehavior"] == "terminate"
        (disk,) = asked["BlockDeviceMappings"]
        assert disk["Ebs"]["Encrypted"] and disk["Ebs"]["DeleteOnTermination"] and disk["Ebs"]["VolumeType"] == "gp3"
        assert (disk["Ebs"].get("Throughput") == 500) == (kind != "head"), "workers spill"
        assert asked["SecurityGroupIds"] == [group["GroupId"]] and asked["KeyName"] == f"ray-autoscaler_{REGION}"
        assert asked["tags"]["project"] == "mien" and asked["tags"]["ray-cluster-name"] == "mien"
        volume = {tag["Key"]: tag["Value"] for tag in asked["TagSpecifications"][1]["Tags"]}
        assert volume == {"project": "mien", "ray-cluster-name": "mien"}
        family = "deeplearning" if kind.startswith("gpu") else "canonical/ubuntu/server/24.04"
        assert asked["ImageId"].startswith(f"resolve:ssm:/aws/service/{family}/")


def test_what_ec2_made_of_it(launched):
    ec2 = client("ec2")
    for kind, instance in launched.instances.items():
        assert instance["IamInstanceProfile"]["Arn"].endswith(f"/mien-{'head' if kind == 'head' else 'worker'}")
        assert (instance.get("InstanceLifecycle") == "spot") == (kind in SPOT)
        (disk,) = instance["BlockDeviceMappings"]
        (volume,) = ec2.describe_volumes(VolumeIds=[disk["Ebs"]["VolumeId"]])["Volumes"]
        assert volume["Encrypted"] and volume["Size"] >= 100
        assert {"Key": "ray-cluster-name", "Value": "mien"} in volume["Tags"]


def test_ray_leaves_the_security_group_as_setup_made_it(launched):
    groups = client("ec2").describe_security_groups()["SecurityGroups"]
    assert {group["GroupName"] for group in groups} == {"default", "mien"}
    (ours,) = [group for group in groups if group["GroupName"] == "mien"]
    assert [block["CidrIp"] for rule in ours["IpPermissions"] for block in rule["IpRanges"]] == [ADDRESS]
    (peers,) = [rule["UserIdGroupPairs"] for rule in ours["IpPermissions"] if rule["IpProtocol"] == "-1"]
    assert [pair["GroupId"] for pair in peers] == [ours["GroupId"]]


def test_resources_are_those_of_the_types_and_the_head_offers_no_cpu(launched):
    kinds = launched.config["available_node_types"]
    assert launched.updater.node_resources["CPU"] == 0
    assert {kind: kinds[kind]["resources"]["CPU"] for kind in WORKERS} == {
        "cpu": 16,
        "cpu-96": 96,
        "gpu": 8,
        "gpu-on-demand": 8,
    }
    assert [kind for kind in kinds if kinds[kind]["resources"].get("GPU")] == ["gpu", "gpu-on-demand"]
    assert sum(kind["max_workers"] for kind in kinds.values()) <= launched.config["max_workers"]
    assert all(kind["min_workers"] == 0 for kind in kinds.values())


def test_the_head_gets_the_token_and_the_code_by_ssh_only(launched):
    mounts = launched.updater.file_mounts
    assert {"~/.ray/auth_token", "~/mien/requirements.lock", "~/mien/platform"} <= set(mounts)
    assert (Path.home() / ".ray" / "auth_token").read_text() not in launched.updater.bootstrap
    assert launched.updater.setup_commands[-1] == "~/mien/platform/mien/cluster/aws/node_setup.sh"


def allowed(statements: list) -> set[str]:
    return {action for statement in statements for action in as_list(statement["Action"])}


def test_the_policies_allow_what_is_asked_for(launched, aws_of_module):
    account = Account(Declaration.read(aws_of_module), tell=lambda line: None)
    statements = account.policy("head")["Statement"]
    assert launched.by_head == {"ec2:RunInstances", "ec2:DescribeInstances", "ec2:CreateTags"}
    assert launched.by_head | {"ec2:TerminateInstances"} <= allowed(statements)
    assert len(launched.by_user) > 25
    assert launched.by_user - {"sts:GetCallerIdentity"} <= allowed(account.policy("user")["Statement"])
    # RunInstances is allowed for each thing that a launch names, and under the conditions that cluster.yaml meets
    asked = launched.asked["cpu"]
    by_sid = {statement["Sid"]: statement.get("Condition", {}) for statement in statements}
    launching = by_sid["LaunchWorkersOfThisCluster"]
    assert launching["StringEquals"]["aws:RequestTag/ray-cluster-name"] == asked["tags"]["ray-cluster-name"]
    assert launching["StringEquals"]["ec2:MetadataHttpTokens"] == asked["MetadataOptions"]["HttpTokens"]
    assert launching["ArnEquals"]["ec2:InstanceProfile"].endswith(f"/{asked['IamInstanceProfile']['Name']}")
    parameters = next(s["Resource"] for s in statements if s["Sid"] == "ResolveImages")
    for asked in launched.asked.values():
        parameter = f"arn:aws:ssm:{REGION}::parameter{asked['ImageId'].removeprefix('resolve:ssm:')}"
        assert any(fnmatch.fnmatch(parameter, pattern) for pattern in parameters)


def refuse(n_types: int, codes: Sequence[str]):
    """A handler by which EC2 refuses, zone by zone, the first so many of what it is asked for; and that, in order."""
    asked: dict[str, int] = {}

    def answer(params, **_):
        spot = params["body"].get("InstanceMarketOptions.MarketType") == "spot"
        what = f"{params['body']['InstanceType']}, {'spot' if spot else 'on demand'}"
        asked[what] = asked.get(what, 0) + 1
        if len(asked) > n_types:
            return None
        code = codes[min(asked[what], len(codes)) - 1]
        response = SimpleNamespace(status_code=500)
        return response, {"Error": {"Code": code, "Message": "none left"}, "ResponseMetadata": {"HTTPStatusCode": 500}}

    return answer, asked


CPU = ["c7i.4xlarge, spot", "c6i.4xlarge, spot", "m7i.4xlarge, spot", "c7i.4xlarge, on demand"]
NONE_LEFT = ["InsufficientInstanceCapacity"]


@pytest.mark.parametrize(
    ("kind", "n_types", "codes", "asked"),
    [
        ("cpu", 1, NONE_LEFT, CPU[:2]),
        ("cpu", 3, NONE_LEFT, CPU),
        ("gpu", 2, [*NONE_LEFT, "Unsupported"], ["g6.2xlarge, spot", "g5.2xlarge, spot", "g6.2xlarge, on demand"]),
        ("cpu", 1, ["MaxSpotInstanceCountExceeded"], CPU[:1]),  # a quota is the user's to raise, not to be paid around
        ("cpu", 9, NONE_LEFT, CPU),
        ("cpu-96", 1, NONE_LEFT, ["c7i.24xlarge, spot"]),  # not among the fallbacks
    ],
)
def test_what_ec2_has_not_is_replaced_by_what_is_declared(launched, kind, n_types, codes, asked):
    autoscaler = launched.autoscaler
    events = autoscaler.v1_provider.ec2_fail_fast.meta.client.meta.events
    answer, seen = refuse(n_types, codes)
    before = set(autoscaler.get_non_terminated())
    events.register("before-call.ec2.RunInstances", answer)
    try:
        autoscaler.launch({kind: 1}, f"fallback-{kind}-{n_types}-{codes[-1]}")
        ended_s = time.monotonic() + 60
        while not (errors := autoscaler.poll_errors()) and set(autoscaler.get_non_terminated()) == before:
            assert time.monotonic() < ended_s
            time.sleep(0.1)
    finally:
        events.unregister("before-call.ec2.RunInstances", answer)
    assert list(seen) == asked
    assert all(n > 1 for n in list(seen.values())[:n_types]), "not every availability zone was asked"
    new = set(autoscaler.get_non_terminated()) - before
    if n_types >= len(asked):
        assert not new and codes[-1] in str(errors[0].__cause__)
        return
    (instance,) = client("ec2").describe_instances(InstanceIds=list(new))["Reservations"][0]["Instances"]
    market = "spot" if instance.get("InstanceLifecycle") == "spot" else "on demand"
    assert f"{instance['InstanceType']}, {market}" == asked[-1]
    assert autoscaler.get_non_terminated()[instance["InstanceId"]].node_type == kind


def test_ray_itself_still_does_not_fall_back():
    """When this fails Ray has learned it, and mien.cluster.aws.provider may go: docs/decisions/0012-fallbacks.md."""
    from ray.autoscaler.v2.instance_manager.subscribers.cloud_resource_monitor import CloudResourceMonitor
    from ray.core.generated.instance_manager_pb2 import Instance, InstanceUpdateEvent

    monitor = CloudResourceMonitor()
    monitor.notify([InstanceUpdateEvent(instance_type="gpu", new_instance_status=Instance.ALLOCATION_FAILED)])
    assert monitor.get_recoverable_resource_availabilities() == {}
    monitor.notify([InstanceUpdateEvent(instance_type="gpu", new_instance_status=Instance.ALLOCATION_TIMEOUT)])
    assert monitor.get_recoverable_resource_availabilities() == {"gpu": 0.0}


def test_what_is_left_running_is_named(launched, aws_of_module, capsys):
    provider = launched.autoscaler.v1_provider
    ids = provider.non_terminated_nodes({})
    ec2 = client("ec2")
    disk = ec2.create_volume(
        AvailabilityZone=f"{REGION}a",
        Size=7,
        TagSpecifications=[{"ResourceType": "volume", "Tags": [{"Key": "ray-cluster-name", "Value": "mien"}]}],
    )["VolumeId"]
    with pytest.raises(SystemExit) as ended:
        main(["cluster", "leftovers", str(aws_of_module)])
    assert ended.value.code == 2
    out = capsys.readouterr().out
    assert all(one in out for one in (*ids, disk, "head r7i.xlarge", "cpu-96 c7i.24xlarge"))
    assert all(f"terminate-instances --region {REGION} --instance-ids {one}" in out for one in ids)
    assert f"delete-volume --region {REGION} --volume-id {disk}" in out
    with pytest.raises(SystemExit):
        main(["cluster", "leftovers", str(aws_of_module), "--json"])
    assert {*ids, disk} <= {left["id"] for left in json.loads(capsys.readouterr().out)}
    provider.terminate_nodes(ids)
    ec2.delete_volume(VolumeId=disk)
    # What `ray down` leaves for a minute or so: moto's nodes are terminated at once.
    ec2_backends[ACCOUNT_ID][REGION].get_instance(ids[0])._state = InstanceState("shutting-down", 32)
    assert main(["cluster", "leftovers", str(aws_of_module)]) == 0
    assert f"nothing of cluster mien runs in {REGION}" in capsys.readouterr().out
