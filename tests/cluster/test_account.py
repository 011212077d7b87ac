"""What an AWS account needs for a cluster, against moto: made once, mended, refused in one line where it cannot be."""

from __future__ import annotations

import json
import re
import stat
from pathlib import Path
from types import SimpleNamespace

import boto3
import pytest
from botocore.exceptions import ClientError

from aws_account import ADDRESS, BUCKET, REGION, account_and_home, as_list, client, filled
from mien.cli.main import MISTAKE, main
from mien.cluster.aws.account import Account
from mien.cluster.aws.declaration import Declaration
from mien.cluster.aws.launches import Launch
from mien.cluster.aws.quotas import _counted
from mien.cluster.aws.refusals import said_by_aws
from mien.errors import MienError

pytestmark = pytest.mark.cluster


@pytest.fixture
def aws(tmp_path, monkeypatch):
    """An empty AWS account, a home, and the filled-in file."""
    yield from account_and_home(tmp_path, monkeypatch)


def said(capsys) -> str:
    """The one line on stderr."""
    text = capsys.readouterr().err
    assert text.startswith("mien: ") and text.count("\n") == 1, text
    return text


# ---------------------------------------------------------------------- what the account needs


def state() -> str:
    """All that setup can have made, as text."""
    s3, iam, ec2 = client("s3"), client("iam"), client("ec2")
    roles = {
        name: iam.get_role_policy(RoleName=name, PolicyName="mien")["PolicyDocument"]
        for name in ("mien-head", "mien-worker")
    }
    found = [
        s3.get_public_access_block(Bucket=BUCKET)["PublicAccessBlockConfiguration"],
        s3.get_bucket_encryption(Bucket=BUCKET)["ServerSideEncryptionConfiguration"],
        s3.get_bucket_lifecycle_configuration(Bucket=BUCKET)["Rules"],
        s3.list_objects_v2(Bucket=BUCKET)["KeyCount"],
        roles,
        sorted((role["RoleName"], role["RoleId"]) for role in iam.list_roles()["Roles"]),
        [(p["InstanceProfileId"], p["Roles"][0]["RoleName"]) for p in iam.list_instance_profiles()["InstanceProfiles"]],
        ec2.describe_security_groups()["SecurityGroups"],
        (Path.home() / ".ray" / "auth_token").read_text(),
    ]
    return json.dumps(found, default=str, indent=1)


@pytest.fixture
def no_token(aws):
    (Path.home() / ".ray" / "auth_token").unlink()


def test_setup_makes_what_is_missing_once(aws, no_token, capsys):
    assert main(["cluster", "setup", str(aws)]) == 0
    first = state()
    assert "made 17 things" in capsys.readouterr().out
    assert main(["cluster", "setup", str(aws)]) == 0
    second = capsys.readouterr().out
    assert "nothing was missing" in second and "made  " not in second
    assert state() == first
    token = Path.home() / ".ray" / "auth_token"
    assert stat.S_IMODE(token.stat().st_mode) == 0o600 and len(token.read_text()) >= 32
    rules = json.loads(first)[7]
    (ours,) = [group for group in rules if group["GroupName"] == "mien"]
    open_to = {(block["CidrIp"], rule["FromPort"]) for rule in ours["IpPermissions"] for block in rule["IpRanges"]}
    assert open_to == {(ADDRESS, 22)}


def test_dry_run_makes_nothing(aws, no_token, capsys):
    assert main(["cluster", "setup", str(aws), "--dry-run"]) == 0
    assert "17 things to make; nothing was made" in capsys.readouterr().out
    assert client("s3").list_buckets()["Buckets"] == [] and client("iam").list_roles()["Roles"] == []
    assert not (Path.home() / ".ray" / "auth_token").exists()


def test_setup_mends_what_was_changed(aws, capsys):
    """A policy that somebody widened, lifecycle rules of the user's own, SSH that Ray or a person opened to all."""
    Account(Declaration.read(aws), tell=lambda line: None).set_up()
    everything = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]}
    client("iam").put_role_policy(RoleName="mien-worker", PolicyName="mien", PolicyDocument=json.dumps(everything))
    own = {"ID": "own", "Status": "Enabled", "Filter": {"Prefix": "tmp/"}, "Expiration": {"Days": 1}}
    client("s3").put_bucket_lifecycle_configuration(Bucket=BUCKET, LifecycleConfiguration={"Rules": [own]})
    ec2 = client("ec2")
    (group,) = ec2.describe_security_groups(Filters=[{"Name": "group-name", "Values": ["mien"]}])["SecurityGroups"]
    wide = [
        {"IpProtocol": "tcp", "FromPort": 22, "ToPort": 22, "IpRanges": [{"CidrIp": "0.0.0.0/0"}]},
        {"IpProtocol": "tcp", "FromPort": 0, "ToPort": 1024, "Ipv6Ranges": [{"CidrIpv6": "::/0"}]},
        {"IpProtocol": "tcp", "FromPort": 3000, "ToPort": 3000, "IpRanges": [{"CidrIp": "192.0.2.0/24"}]},
    ]
    ec2.authorize_security_group_ingress(GroupId=group["GroupId"], IpPermissions=wide)
    (Path.home() / ".ray" / "auth_token").chmod(0o644)
    account = Account(Declaration.read(aws))
    account.set_up()
    out = capsys.readouterr().out
    assert account.n_made == 5, out
    for line in (
        "no SSH from 0.0.0.0/0",
        "no SSH from ::/0",
        "unfinished uploads",
        "token for you alone",
    ):
        assert re.search(rf"^made +{line}", out, re.MULTILINE), out
    assert re.search("^changed +policy of mien-worker", out, re.MULTILINE), out
    rules = client("s3").get_bucket_lifecycle_configuration(Bucket=BUCKET)["Rules"]
    assert {rule["ID"] for rule in rules} == {"own", "mien-abort-unfinished-uploads"}
    again = Account(Declaration.read(aws))
    again.set_up()
    assert again.n_made == 0
    (group,) = ec2.describe_security_groups(GroupIds=[group["GroupId"]])["SecurityGroups"]
    blocks = {b["CidrIp"] for rule in group["IpPermissions"] for b in rule["IpRanges"]}
    assert blocks == {ADDRESS, "192.0.2.0/24"}, "a rule that has nothing to do with SSH is the user's own"


def test_a_group_that_somebody_made_becomes_one_that_works_and_is_closed(aws, capsys):
    """No tag, so the head could launch nothing into it; members reach each other at one port; SSH from elsewhere."""
    ec2 = client("ec2")
    vpc = ec2.describe_vpcs()["Vpcs"][0]["VpcId"]
    group, bastion = (
        ec2.create_security_group(GroupName=name, Description="by hand", VpcId=vpc)["GroupId"]
        for name in ("mien", "bastion")
    )
    prefixes = ec2.create_managed_prefix_list(PrefixListName="office", MaxEntries=1, AddressFamily="IPv4")
    ssh = {"IpProtocol": "tcp", "FromPort": 22, "ToPort": 22}
    prefix_list = prefixes["PrefixList"]["PrefixListId"]
    by_hand = [
        {"IpProtocol": "tcp", "FromPort": 80, "ToPort": 80, "UserIdGroupPairs": [{"GroupId": group}]},
        {**ssh, "UserIdGroupPairs": [{"GroupId": bastion}]},
        {**ssh, "PrefixListIds": [{"PrefixListId": prefix_list}]},
    ]
    ec2.authorize_security_group_ingress(GroupId=group, IpPermissions=by_hand)
    assert main(["cluster", "setup", str(aws)]) == 0
    made = re.findall(r"^made +(.*)", capsys.readouterr().out, re.MULTILINE)
    wanted = {"tag ray-cluster-name of it", "all traffic between its members", f"SSH from {ADDRESS}"}
    assert {*wanted, f"no SSH from {bastion}", f"no SSH from {prefix_list}"} <= set(made)
    (found,) = ec2.describe_security_groups(GroupIds=[group])["SecurityGroups"]
    assert {"Key": "ray-cluster-name", "Value": "mien"} in found["Tags"]
    at_22 = [rule for rule in found["IpPermissions"] if rule.get("FromPort") == 22]
    assert [block["CidrIp"] for rule in at_22 for block in rule["IpRanges"]] == [ADDRESS]
    assert not any(rule["UserIdGroupPairs"] or rule["PrefixListIds"] for rule in at_22)
    assert main(["cluster", "setup", str(aws)]) == 0
    assert "nothing was missing" in capsys.readouterr().out


def test_two_clusters_do_not_take_each_others_rights(aws, capsys):
    assert main(["cluster", "setup", str(aws)]) == 0
    first = state()
    declared = aws.read_text()
    aws.write_text(declared.replace("cluster_name: &cluster mien ", "cluster_name: &cluster two "))
    capsys.readouterr()
    assert main(["cluster", "setup", str(aws)]) == MISTAKE
    assert "role mien-worker is of the cluster mien, and this is two: give IamInstanceProfile" in said(capsys)
    aws.write_text(aws.read_text().replace("{Name: mien-", "{Name: mien-two-"))
    assert main(["cluster", "setup", str(aws)]) == MISTAKE
    assert "security group mien is of the cluster mien, and this is two" in said(capsys)
    aws.write_text(aws.read_text().replace("{GroupName: mien}", "{GroupName: mien-two}"))
    assert main(["cluster", "setup", str(aws)]) == 0
    assert json.loads(state())[4] == json.loads(first)[4], "the roles of the first are as they were"
    aws.write_text(declared.replace(BUCKET, "another-bucket"))
    capsys.readouterr()
    assert main(["cluster", "setup", str(aws)]) == 0
    assert "changed     policy of mien-worker" in capsys.readouterr().out


QUOTAS = {"L-1216C47A": 5.0, "L-34B43A08": 5.0, "L-DB2E81BA": 32.0}  # AWS's defaults for a new account


def with_quotas(account: Account, allowed: dict[str, float]) -> Account:
    """moto knows no quotas of EC2, so the answers are given to botocore; one that is not here may not be read."""

    def answer(params, **_):
        code = json.loads(params["body"])["QuotaCode"]
        if code not in allowed:
            return SimpleNamespace(status_code=400), {
                "Error": {"Code": "AccessDeniedException", "Message": "no"},
                "ResponseMetadata": {"HTTPStatusCode": 400},
            }
        return SimpleNamespace(status_code=200), {"Quota": {"Value": allowed[code]}, "ResponseMetadata": {}}

    account.session.events.register("before-call.service-quotas.GetServiceQuota", answer)
    return account


def test_quotas_of_a_new_account_are_told_before_they_stop_a_launch(aws, capsys):
    """All is made, for AWS takes days to raise them; and then it is said that no worker can come."""
    with pytest.raises(MienError, match="no node of cpu can start: quota All Standard") as refused:
        with_quotas(Account(Declaration.read(aws)), QUOTAS).set_up()
    assert "--quota-code L-34B43A08 --desired-value 128" in str(refused.value)
    on_demand, spot, gpu_on_demand, gpu_spot = [
        line for line in capsys.readouterr().out.splitlines() if line.startswith("quota ")
    ]
    assert (
        "instances: 5 vCPUs, 132 may be asked for: too few for one node" in on_demand
    )  # the head, and what falls back
    assert "5 vCPUs, 128 may be asked for: too few for one node" in spot
    assert "request-service-quota-increase" in spot
    assert gpu_on_demand.endswith("32 vCPUs, 32 may be asked for")  # to which `gpu` falls back
    assert gpu_spot.endswith("not to be read; 32 vCPUs may be asked for")
    assert json.loads(state())[4], "the roles were made"


def test_a_quota_that_others_in_the_account_use_up(aws, capsys):
    """400 vCPUs are enough for all, but 320 of them run already, and are not of this cluster."""
    ec2 = client("ec2")
    image = ec2.describe_images()["Images"][0]["ImageId"]
    named = [{"ResourceType": "instance", "Tags": [{"Key": "ray-cluster-name", "Value": "mien"}]}]
    asked = {"ImageId": image, "InstanceType": "m5.16xlarge"}
    ec2.run_instances(MinCount=5, MaxCount=5, **asked)
    ec2.run_instances(MinCount=1, MaxCount=1, **asked, TagSpecifications=named)
    with_quotas(Account(Declaration.read(aws)), {"L-1216C47A": 400.0}).set_up()
    assert "400 vCPUs, 320 used by others, 132 may be asked for: fewer nodes" in (out := capsys.readouterr().out), out
    assert "--desired-value 452" in out
    with pytest.raises(MienError, match="no node of head can start"):
        with_quotas(Account(Declaration.read(aws)), {"L-1216C47A": 322.0}).set_up()


@pytest.mark.parametrize(
    ("instance_type", "counted"),
    [("c7i.4xlarge", (False, True)), ("trn1.2xlarge", None), ("g6e.xlarge", (True, True)), ("mac2.metal", None)],
)
def test_a_type_counts_against_the_quota_of_its_own_family(instance_type, counted):
    assert _counted(Launch(instance_type, True)) == counted


# ---------------------------------------------------------------------- machines


def test_a_type_that_there_is_not(aws, capsys):
    aws.write_text(aws.read_text().replace("c7i.4xlarge", "c7x.4xlarge"))
    assert main(["cluster", "setup", str(aws)]) == MISTAKE
    assert "cpu: c7x.4xlarge is not offered in eu-central-1: name another" in said(capsys)


@pytest.mark.parametrize(
    ("region", "to_mend", "told"),
    [  # by moto's copy of what EC2 offers where
        ("eu-west-1", "", "gpu: g6.2xlarge is not offered in eu-west-1: take g5.2xlarge or g4dn.2xlarge, or set"),
        ("ap-southeast-1", "", "take g4dn.2xlarge, or set max_workers: 0 there"),
        ("il-central-1", "head: r7i.xlarge is not offered in il-central-1: take r6i.xlarge or r5.xlarge", "gpu: g6."),
        (
            "me-south-1",
            "cpu: c7i.4xlarge is not offered in me-south-1: take c6i.4xlarge",
            "cpu-96: c7i.24xlarge is not",
        ),
        (
            "eu-central-2",
            "take r6i.xlarge",
            "provider.fallbacks.cpu: c6i.4xlarge is not offered in eu-central-2: leave",
        ),
    ],
)
def test_a_region_without_a_type_says_what_to_take(tmp_path, monkeypatch, capsys, region, to_mend, told):
    for aws in account_and_home(tmp_path, monkeypatch):
        file = filled(tmp_path, region=region)
        assert main(["cluster", "setup", str(file)]) == (MISTAKE if to_mend else 0)
        out = capsys.readouterr()
        assert f"! {told}" in out.out or told in out.out, out.out
        assert to_mend in out.err and out.err.count("\n") == bool(to_mend)
        made = boto3.client("s3", region_name=region).list_buckets()["Buckets"]
        assert not made if to_mend else made, "nothing is made for a cluster that cannot work"
        assert aws.exists()


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        (
            "resources: {CPU: 16}",
            "resources: {CPU: 8}",
            "cpu: resources say CPU: 8, and c7i.4xlarge has 16: declare CPU",
        ),
        ("resources: {CPU: 16}", "resources: {}", "cpu: resources say CPU: 0, and c7i.4xlarge has 16"),
        ("resources: {CPU: 8, GPU: 1}", "resources: {CPU: 8}", "gpu: resources say GPU: 0, and g6.2xlarge has 1"),
        (
            "cpu: [c6i.4xlarge",
            "cpu: [c6i.8xlarge",
            "fallbacks.cpu: c6i.8xlarge cannot stand in for c7i.4xlarge: it has 32",
        ),
        ("cpu: [c6i.4xlarge", "cpu: [c7g.4xlarge", "its processor is arm64, and the image is not made for it"),
        ("gpu: [g5.2xlarge", "gpu: [c6i.2xlarge", "it has 8 CPUs and 0 GPUs, not 8 and 1"),
        ("gpu: [g5.2xlarge", "head: [c6i.xlarge", "it has 8 GiB of memory, not 32"),
    ],
)
def test_numbers_and_fallbacks_that_are_wrong(aws, capsys, old, new, words):
    assert old in aws.read_text()
    aws.write_text(aws.read_text().replace(old, new))
    assert main(["cluster", "setup", str(aws)]) == MISTAKE
    assert words in said(capsys)


def throttling(n_times: int):
    """A handler by which EC2 refuses so many requests, and how many it saw."""
    from botocore.awsrequest import AWSResponse

    error = "<Error><Code>RequestLimitExceeded</Code><Message>Request limit exceeded.</Message></Error>"
    body = f"<Response><Errors>{error}</Errors><RequestID>0</RequestID></Response>".encode()
    seen: list[str] = []

    def answer(request, **_):
        seen.append(request.url)
        if len(seen) > n_times:
            return None
        return AWSResponse(request.url, 503, {}, SimpleNamespace(stream=lambda: iter([body]), read=lambda: body))

    return answer, seen


@pytest.mark.parametrize("operation", ["DescribeInstanceTypes", "DescribeInstanceTypeOfferings"])
def test_a_throttled_description_is_asked_for_again_and_then_said(aws, monkeypatch, operation):
    monkeypatch.setattr("botocore.endpoint.time.sleep", lambda seconds: None)
    for n_times, answered in ((6, True), (99, False)):
        account = Account(Declaration.read(aws), tell=lambda line: None)
        answer, seen = throttling(n_times)
        account.session.events.register_first(f"before-send.ec2.{operation}", answer)
        if answered:
            account.set_up()
            assert len(seen) > n_times
        else:
            with pytest.raises(MienError, match=f"AWS refused {operation}: RequestLimitExceeded.*in some minutes"):
                account.set_up()
            assert len(seen) == 8


# ---------------------------------------------------------------------- policies


@pytest.fixture
def policies(aws):
    account = Account(Declaration.read(aws), tell=lambda line: None)
    return {name: account.policy(name)["Statement"] for name in ("head", "worker")}


def test_policies_allow_the_bucket_and_the_nodes_of_the_cluster_only(policies):
    bucket = f"arn:aws:s3:::{BUCKET}"
    for name, statements in policies.items():
        for statement in statements:
            for action in as_list(statement["Action"]):
                assert "*" not in action, f"{name}: {action}"
            for resource in as_list(statement["Resource"]):
                assert "$" not in resource
                if resource == "*":  # EC2 knows no smaller resource for this one
                    assert statement["Action"] == "ec2:DescribeInstances"
                elif resource.startswith("arn:aws:s3"):
                    assert resource in (bucket, f"{bucket}/*")
                else:
                    assert REGION in resource or "iam::123456789012:role/mien-worker" in resource
    assert {action.split(":")[0] for s in policies["worker"] for action in as_list(s["Action"])} == {"s3"}
    by_sid = {statement["Sid"]: statement for statement in policies["head"]}
    assert by_sid["GiveWorkersTheirRole"]["Resource"] == "arn:aws:iam::123456789012:role/mien-worker"
    assert by_sid["GiveWorkersTheirRole"]["Condition"] == {"StringEquals": {"iam:PassedToService": "ec2.amazonaws.com"}}
    for sid in ("TagAndEndNodesOfThisCluster", "InTheGroupOfThisCluster"):
        assert by_sid[sid]["Condition"] == {"StringEquals": {"aws:ResourceTag/ray-cluster-name": "mien"}}
    for statements in policies.values():
        assert len(json.dumps(statements)) < 10_240, "IAM takes no longer inline policies of a role"


def test_a_worker_may_use_the_bucket_and_nothing_else(aws, monkeypatch):
    """moto enforces actions and resources of S3, not conditions."""
    from moto.core import set_initial_no_auth_action_count

    Account(Declaration.read(aws), tell=lambda line: None).set_up()
    client("s3").create_bucket(Bucket="others", CreateBucketConfiguration={"LocationConstraint": REGION})
    role = client("iam").get_role(RoleName="mien-worker")["Role"]["Arn"]
    keys = client("sts").assume_role(RoleArn=role, RoleSessionName="node")["Credentials"]
    node = boto3.Session(keys["AccessKeyId"], keys["SecretAccessKey"], keys["SessionToken"], region_name=REGION)
    s3, ec2 = node.client("s3"), node.client("ec2")

    @set_initial_no_auth_action_count(0)
    def as_worker():
        s3.put_object(Bucket=BUCKET, Key="store/part", Body=b"1")
        assert s3.get_object(Bucket=BUCKET, Key="store/part")["Body"].read() == b"1"
        s3.list_objects_v2(Bucket=BUCKET)
        s3.delete_object(Bucket=BUCKET, Key="store/part")
        for forbidden in (
            lambda: s3.put_object(Bucket="others", Key="x", Body=b""),
            lambda: s3.get_object(Bucket="others", Key="x"),
            lambda: s3.delete_bucket(Bucket=BUCKET),
            lambda: ec2.describe_instances(),
        ):
            with pytest.raises(ClientError, match="AccessDenied|UnauthorizedOperation"):
                forbidden()

    as_worker()


# ---------------------------------------------------------------------- mistakes


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"region": "FILL-IN"}, "region still to be filled in"),
        ({"region": "eu-centrall-1"}, "region eu-centrall-1: AWS has none of this name; did you mean eu-central-1"),
        ({"region": "frankfurt"}, "one is eu-central-1, not a zone"),
        ({"ssh_from": "0.0.0.0/0"}, "would open SSH on every node to 4,294,967,296 addresses"),
        ({"ssh_from": "my laptop"}, "is no IPv4 network"),
        ({"bucket": "Not A Bucket"}, "Invalid bucket name: give 3 to 63 small letters"),
        ({"bucket": "s3://emotion/corpora"}, "Invalid bucket name: give a bucket, without a folder"),
        ({"bucket": ""}, "metadata.bucket: Input should be a valid string"),
    ],
)
def test_values_that_cannot_be_meant(aws, tmp_path, capsys, values, words):
    assert main(["cluster", "setup", str(filled(tmp_path, **values))]) == MISTAKE
    assert words in said(capsys)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a: [", "is no YAML"),
        ("cluster_name: mien", "provider is missing"),
        ("", "the whole: Input should be a valid dictionary"),
        ("- a", "the whole: Input should be a valid dictionary"),
        (None, "No such file or directory; name the cluster.yaml"),
    ],
)
def test_files_that_are_no_cluster(tmp_path, capsys, text, words):
    file = tmp_path / "other.yaml"
    if text is not None:
        file.write_text(text)
    assert main(["cluster", "setup", str(file)]) == MISTAKE
    assert words in said(capsys)


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("  # key_pair: {key_name: my-key}", "  key_pair: my-key", "provider.key_pair: Input should be a valid dict"),
        ("max_workers: 16 ", "max_workers: eight ", "max_workers: Input should be a valid integer"),
        ("    gpu: [g5.2xlarge", "    gpus: [g5.2xlarge", "provider.fallbacks: no node type gpus; there are head"),
        (
            "  fallbacks:",
            "  on_demand_fallback: [gpu]\n  fallbacks:",
            "on_demand_fallback: write fallbacks: {gpu: [on-dem",
        ),
        ("head_node_type: head", "head_node_type: main", "head_node_type: no node type main; there are head, cpu"),
    ],
)
def test_fields_that_are_wrong(aws, capsys, old, new, words):
    assert old in aws.read_text()
    aws.write_text(aws.read_text().replace(old, new))
    assert main(["cluster", "setup", str(aws)]) == MISTAKE
    assert words in said(capsys)


def test_workers_without_a_profile_of_their_own(aws, capsys):
    aws.write_text(aws.read_text().replace("{Name: mien-worker}", "{Name: mien-head}"))
    assert main(["cluster", "setup", str(aws)]) == MISTAKE
    assert "one for the head and one, another, for all workers; found mien-head and mien-head" in said(capsys)


def test_missing_credentials(aws, monkeypatch, capsys):
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    assert main(["cluster", "setup", str(aws)]) == MISTAKE
    assert "no AWS credentials" in said(capsys)
    monkeypatch.setenv("AWS_PROFILE", "nobody")
    assert main(["cluster", "setup", str(aws)]) == MISTAKE
    assert "AWS_PROFILE: The config profile (nobody) could not be found: name another" in said(capsys)


def test_a_user_without_rights(aws, monkeypatch, capsys):
    """moto enforces policies: a user who may do all in S3, and nothing else."""
    from moto.core import set_initial_no_auth_action_count

    iam = client("iam")
    iam.create_user(UserName="guest")
    all_of_s3 = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "s3:*", "Resource": "*"}]}
    iam.put_user_policy(UserName="guest", PolicyName="s3", PolicyDocument=json.dumps(all_of_s3))
    key = iam.create_access_key(UserName="guest")["AccessKey"]
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", key["AccessKeyId"])
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", key["SecretAccessKey"])

    @set_initial_no_auth_action_count(0)
    def setup():
        return main(["cluster", "setup", str(aws)])

    assert setup() == MISTAKE
    assert (
        "AWS refused DescribeInstanceTypeOfferings: AccessDenied" in (line := said(capsys))
        and "your user lacks this right" in line
    )
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAUNKNOWN000000000")
    assert setup() == MISTAKE
    assert "InvalidClientTokenId" in (line := said(capsys)) and "check the keys" in line


def test_a_user_who_may_not_write(aws, monkeypatch, capsys):
    """Everything but writing objects: found by writing one, before the first job would."""
    from moto.core import set_initial_no_auth_action_count

    Account(Declaration.read(aws), tell=lambda line: None).set_up()
    iam = client("iam")
    iam.create_user(UserName="reader")
    rights = [
        {"Effect": "Allow", "Action": "*", "Resource": "*"},
        {"Effect": "Deny", "Action": "s3:PutObject", "Resource": "*"},
    ]
    iam.put_user_policy(
        UserName="reader", PolicyName="reads", PolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": rights})
    )
    key = iam.create_access_key(UserName="reader")["AccessKey"]
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", key["AccessKeyId"])
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", key["SecretAccessKey"])

    @set_initial_no_auth_action_count(0)
    def setup():
        return main(["cluster", "setup", str(aws)])

    assert setup() == MISTAKE
    assert "AWS refused PutObject: AccessDenied" in said(capsys)


def test_a_bucket_in_another_region(aws, capsys):
    s3 = boto3.client("s3", region_name="us-west-2")
    s3.create_bucket(Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": "us-west-2"})
    assert main(["cluster", "setup", str(aws)]) == MISTAKE
    assert f"bucket {BUCKET} is in us-west-2, the cluster in {REGION}" in said(capsys)


def test_a_bucket_of_others(aws, monkeypatch, capsys):
    monkeypatch.setenv("MOTO_S3_ALLOW_CROSSACCOUNT_ACCESS", "false")
    others = client("sts").assume_role(RoleArn="arn:aws:iam::999999999999:role/owner", RoleSessionName="owner")
    keys = others["Credentials"]
    owner = boto3.Session(keys["AccessKeyId"], keys["SecretAccessKey"], keys["SessionToken"], region_name=REGION)
    owner.client("s3").create_bucket(Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": REGION})
    assert main(["cluster", "setup", str(aws)]) == MISTAKE
    assert f"bucket {BUCKET}: it is not of account 123456789012" in said(capsys)


def test_a_key_pair_of_which_one_half_is_missing(aws, capsys):
    aws.write_text(aws.read_text().replace("  # key_pair: {key_name: my-key}", "  key_pair: {key_name: my-key}"))
    client("ec2").create_key_pair(KeyName="my-key")
    assert main(["cluster", "setup", str(aws)]) == MISTAKE
    assert "key pair my-key: EC2 has it, but not" in said(capsys)
    client("ec2").delete_key_pair(KeyName="my-key")
    private = Path.home() / ".ssh" / "my-key.pem"
    private.parent.mkdir()
    private.write_text("a key")
    assert main(["cluster", "setup", str(aws)]) == MISTAKE
    assert f"{REGION} knows none of this name" in said(capsys)


def test_a_region_without_a_network(aws, capsys):
    ec2 = client("ec2")
    for subnet in ec2.describe_subnets()["Subnets"]:
        ec2.delete_subnet(SubnetId=subnet["SubnetId"])
    assert main(["cluster", "setup", str(aws)]) == MISTAKE
    assert f"{REGION} has no subnet with public addresses: aws ec2 create-default-vpc" in said(capsys)


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("ExpiredToken", "sign in again"),
        ("OptInRequired", "OptInRequired"),
        ("RequestLimitExceeded", "ask again in some minutes"),
    ],
)
def test_what_moto_does_not_raise(code, words):
    refusal = ClientError({"Error": {"Code": code, "Message": "no"}}, "GetCallerIdentity")
    with pytest.raises(MienError, match=words), said_by_aws():
        raise refusal
