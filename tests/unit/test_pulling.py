"""Results out of a bucket, and what is said when the bucket does not give them."""

from __future__ import annotations

import json
import os

import boto3
import pytest

from factories import series_directory
from mien.bucket import explained
from mien.cli.main import main
from mien.errors import BucketError
from mien.folder import Folder
from mien.results.pull import pull
from mien.results.report import report
from mien.results.run import Checkpoint, Series

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def storage(s3, tmp_path_factory) -> Folder:
    """Two series in S3, with checkpoints and what Ray leaves there; the first is reported."""
    here = tmp_path_factory.mktemp("here")
    first = series_directory(here, name="first", folds=2, baseline_skill=0.8)
    series_directory(here, name="second", folds=2)
    first.run(0, 0).save_checkpoint(Checkpoint(3, {"weights": b"1" * 1000}, {"history": []}), best_epoch=3)
    (first.run(0, 0).folder / "ray").write_text("state.json", "{}")
    first.run(0, 1).folder.write_text("report.html", "")  # one run's page will do
    report(first)
    there = Folder(f"{s3}/runs")
    for path in sorted(here.rglob("*")):
        if path.is_file():
            there.write_bytes(str(path.relative_to(here)), path.read_bytes())
    return there


def test_a_pulled_report_is_the_one_of_the_bucket(storage, tmp_path):
    pulled = pull(storage, Folder(tmp_path), only="first")
    assert pulled.n_copied > 20 and pulled.n_same == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["first", "first-svm"]
    series, there = Series.open(str(tmp_path / "first")), Series.open((storage / "first").uri)
    page = there.folder.read_bytes("report.html")
    assert series.folder.read_bytes("report.html") == page
    report(series)
    assert series.folder.read_json("metrics.json")["test"] == there.folder.read_json("metrics.json")["test"]
    assert not {"checkpoints", "ray"} & {folder for name in series.folder.files() for folder in name.split("/")}
    pull(storage, Folder(tmp_path), only="first", checkpoints=True)
    assert series.run(0, 0).latest_checkpoint() == there.run(0, 0).latest_checkpoint() is not None


def test_asked_again_it_copies_what_changed_and_nothing_else(storage, tmp_path, capsys):
    assert main(["runs", "pull", storage.uri, str(tmp_path), "--json"]) == 0
    n_files = json.loads(capsys.readouterr().out)["n_copied"]
    assert main(["runs", "pull", storage.uri, str(tmp_path), "--json"]) == 0
    again = json.loads(capsys.readouterr().out)
    assert (again["n_copied"], again["n_same"]) == (0, n_files)
    name = f"second/{(storage / 'second').names()[0]}/data.json"
    storage.write_bytes(name, storage.read_bytes(name))  # the same size, at another time
    lost = next(tmp_path.rglob("predictions.parquet"))
    lost.unlink()
    assert pull(storage, Folder(tmp_path)).n_copied == 2
    assert lost.exists()


def test_a_key_that_is_no_path_here_is_left_and_named(s3, tmp_path, capsys):
    """A listing that somebody else controls: nothing is written outside, and the rest comes."""
    storage, target = Folder(f"{s3}/odd"), tmp_path / "deep" / "runs"
    keys = [
        "a/../../../outside.txt",
        "/lead.txt",
        "a//b.txt",
        "a/./c.txt",
        f"a/{'x' * 300}",
        "f",
        "f/g.txt",
        "a/ok.txt",
    ]
    for key in keys:
        boto3.client("s3").put_object(Bucket="bucket", Key=f"odd/{key}", Body=b"1")
    assert main(["runs", "pull", storage.uri, str(target), "--json"]) == 0
    said = capsys.readouterr()
    left = json.loads(said.out)["left"]
    refused = {*keys[:5]}
    assert refused <= left.keys() and len(left) == 6
    assert {"f", "f/g.txt"} & left.keys(), "one of them is a file where the other needs a folder"
    assert all(repr(key) in said.err for key in left)
    found = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()}
    assert found - {"deep/runs/f", "deep/runs/f/g.txt"} == {"deep/runs/a/ok.txt"}


def test_broken_off_it_leaves_no_run_that_looks_finished(storage, tmp_path, monkeypatch):
    read, n_read = Folder.read_bytes, 0

    def breaks(folder: Folder, name: str) -> bytes:
        nonlocal n_read
        n_read += 1
        if folder == storage and n_read > 30:
            raise BucketError("gone")
        return read(folder, name)

    monkeypatch.setattr(Folder, "read_bytes", breaks)
    with pytest.raises(BucketError):
        pull(storage, Folder(tmp_path))
    assert list(tmp_path.rglob("metrics.json")) and not list(tmp_path.rglob("DONE"))
    monkeypatch.undo()
    assert pull(storage, Folder(tmp_path)).n_same > 0
    assert len(list(tmp_path.rglob("DONE"))) == 6


def test_list_says_what_there_is(storage, capsys):
    assert main(["runs", "list", storage.uri, "--json"]) == 0
    listed = json.loads(capsys.readouterr().out)
    assert [(r["experiment"], r["done"]) for r in listed] == [
        ("first", "2 runs"),
        ("first-svm", "2 runs"),
        ("second", "2 runs"),
    ]
    assert 0 < listed[0]["score"] <= 1 and listed[2]["score"] is None
    assert listed[0]["score_name"] == "uar"
    assert main(["runs", "list", storage.uri]) == 0
    assert listed[0]["signature"] in capsys.readouterr().out


# ------------------------------------------------------------------ what S3 refuses


@pytest.fixture
def locked(storage, monkeypatch) -> str:
    """The same bucket, for somebody whom IAM allows nothing."""
    import boto3
    from moto.core.responses import settings

    iam = boto3.client("iam", endpoint_url=os.environ["AWS_ENDPOINT_URL"])
    name = f"nobody-{os.urandom(4).hex()}"
    iam.create_user(UserName=name)
    key = iam.create_access_key(UserName=name)["AccessKey"]
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", key["AccessKeyId"])
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", key["SecretAccessKey"])
    monkeypatch.setattr(settings, "INITIAL_NO_AUTH_ACTION_COUNT", 0)
    return storage.uri


def said(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    """The one line on stderr of a command that the user can mend."""
    assert main(list(words)) == 2
    line = capsys.readouterr().err.strip()
    assert line.startswith("mien: ") and "\n" not in line, line
    return line


def commands(storage: str) -> list[list[str]]:
    train = ["train", "experiments/svc_baselines.py", "--store", storage, "--storage", storage]
    return [["runs", "pull", storage], ["runs", "list", storage], ["report", f"{storage}/first"], train]


@pytest.mark.parametrize("number", range(4))
def test_a_bucket_that_is_not_there(s3, capsys, number):
    line = said(capsys, *commands("s3://no-such-bucket/runs")[number])
    assert "there is no bucket no-such-bucket: check its name, or make it" in line


@pytest.mark.parametrize("number", range(4))
def test_access_denied(locked, capsys, number):
    line = said(capsys, *commands(locked)[number])
    assert "access denied" in line and "s3:ListBucket" in line
    assert "for the AWS identity in use" in line


@pytest.fixture
def preparing(tmp_path) -> list[str]:
    from tiny_corpus import write_corpus

    write_corpus(tmp_path, 2)
    return ["prepare", "ravdess", str(tmp_path), "--features", "tiny_extractors:Loudness", "--store"]


def test_prepare_into_a_bucket_that_is_not_there(s3, capsys, preparing):
    assert "there is no bucket no-such-bucket" in said(capsys, *preparing, "s3://no-such-bucket/store")


def test_prepare_into_a_bucket_that_is_locked(locked, capsys, preparing):
    assert "access denied" in said(capsys, *preparing, locked)


def test_keys_that_aws_does_not_know(storage, monkeypatch, capsys):
    from moto.core.responses import settings

    monkeypatch.setattr(settings, "INITIAL_NO_AUTH_ACTION_COUNT", 0)
    line = said(capsys, "runs", "list", storage.uri)
    assert "AWS does not accept these credentials" in line and "AWS_PROFILE" in line


def test_nobody_is_logged_in(monkeypatch, tmp_path):
    """moto breaks at a request without a signature: as Arrow words what AWS answers to one."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    with pytest.raises(BucketError, match="no AWS credentials were found, log in first"), explained("s3://b/p"):
        raise OSError("When listing: AWS Error ACCESS_DENIED during ListObjectsV2 operation: Access Denied.")


def test_nobody_answers(storage, monkeypatch, capsys):
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    assert "S3 does not answer" in said(capsys, "runs", "list", "s3://another/runs")


@pytest.mark.parametrize(
    ("arrow", "line"),
    [
        ("When listing: AWS Error UNKNOWN (HTTP status 301) during ListObjectsV2 operation: ", "in another region"),
        ("Bucket 'b' not found", "there is no bucket b"),
        ("When writing: AWS Error SOMETHING_NEW during PutObject operation: Odd. (Request ID: 7)", "SOMETHING_NEW"),
    ],
)
def test_what_only_aws_itself_answers(arrow, line):
    """moto knows neither other regions nor new errors: as Arrow words them."""
    with pytest.raises(BucketError, match=line), explained("s3://b/p"):
        raise OSError(arrow)


def test_a_storage_without_runs(s3, capsys, tmp_path):
    assert "no runs here" in said(capsys, "runs", "pull", f"{s3}/empty")
    assert "holds first, first-svm, second" in said(capsys, "runs", "pull", f"{s3}/runs", "--only", "third")
    assert "give a folder, or s3://bucket/prefix" in said(capsys, "runs", "list", "s4://bucket")
    assert "into a folder of this machine" in said(capsys, "runs", "pull", f"{s3}/runs", f"{s3}/other")
