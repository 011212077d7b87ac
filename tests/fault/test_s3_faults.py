"""S3 that throttles, fails, breaks off and trickles: nothing lost, nothing doubled, and an outage is one sentence.

What is behind the proxy is a moto server of this machine, and it is asked without the proxy what came of it.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import boto3
import pyarrow as pa
import pytest

import tiny
from factories import series_directory
from mien.cli.main import main
from mien.errors import BucketError
from mien.experiment import DataConfig, ExecutionConfig, Experiment, LossConfig, ProtocolConfig, SvmConfig
from mien.features import media
from mien.features.media import sound, source
from mien.features.prepare import prepare
from mien.features.store import FeatureStore
from mien.folder import Folder
from mien.results.pull import pull
from mien.results.run import Series
from mien.training.launch import launch
from s3_proxy import KINDS, FaultyS3, faulty_s3
from tiny_corpus import wav_of, write_corpus
from tiny_extractors import SoundExtractor
from tiny_media import heard, tone, write_wav

pytestmark = [pytest.mark.slow, pytest.mark.fault]

LOUDNESS = "tiny_extractors:Loudness"
SPEC = SoundExtractor().spec
SECRETS = {"AWS_SECRET_ACCESS_KEY": "SECRETKEY7f3a", "AWS_SESSION_TOKEN": "SESSIONTOKEN9c1e"}
OUTAGES = ("throttled", "error", "reset-before")


@pytest.fixture
def faulty(s3: str, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Iterator[FaultyS3]:
    """The bucket of `s3`, from now on through a proxy."""
    with faulty_s3(os.environ["AWS_ENDPOINT_URL"], **getattr(request, "param", {"most": 0})) as proxy:
        monkeypatch.setenv("AWS_ENDPOINT_URL", proxy.endpoint)
        for name, value in SECRETS.items():
            monkeypatch.setenv(name, value)
        yield proxy


def objects(proxy: FaultyS3, prefix: str) -> dict[str, bytes]:
    """What the bucket really holds: name below the prefix to bytes; the marks of folders are left out."""
    client = boto3.client("s3", endpoint_url=f"http://{proxy.host}")
    pages = client.get_paginator("list_objects_v2").paginate(Bucket="bucket", Prefix=f"{prefix}/")
    keys = [item["Key"] for page in pages for item in page.get("Contents", []) if not item["Key"].endswith("/")]
    return {
        key.removeprefix(f"{prefix}/"): client.get_object(Bucket="bucket", Key=key)["Body"].read()
        for key in sorted(keys)
    }


def uploads(proxy: FaultyS3) -> list[Any]:
    """Multipart uploads that nobody ended: they cost, and are seen by none."""
    client = boto3.client("s3", endpoint_url=f"http://{proxy.host}")
    return client.list_multipart_uploads(Bucket="bucket").get("Uploads", [])


def refused(prefix: str, call: Any, *given: Any, **options: Any) -> str:
    """The one sentence of a BucketError."""
    with pytest.raises(BucketError) as error:
        call(*given, **options)
    said = str(error.value)
    assert said.startswith(f"s3://bucket/{prefix}".rstrip("/")) and "S3 does not answer (" in said and "\n" not in said
    assert said.endswith("check the network, the region and AWS_ENDPOINT_URL, and run the same again")
    return said


# ------------------------------------------------------------------ a folder


@pytest.mark.parametrize("faulty", [{"seed": seed, "every": 3, "most": 24} for seed in (1, 2)], indirect=True)
def test_a_folder_holds_what_was_written_and_nothing_else(faulty: FaultyS3) -> None:
    """Sixteen at once, as `runs pull` does it; half of the files are written twice, a quarter is removed."""
    folder = Folder(f"s3://bucket/folder{faulty.endpoint[-5:]}")
    table = pa.table({"n": pa.array(range(1009))})

    def bytes_of(number: int) -> bytes:
        return bytes([number]) * (1, 997, 70_001)[number % 3]

    def work(number: int) -> None:
        name = f"deep/{number:02}.bin"
        if number % 2:
            folder.write_bytes(name, b"old")
        folder.write_bytes(name, bytes_of(number))
        assert folder.exists(name) and not folder.exists(f"{name}x")
        assert folder.read_bytes(name) == bytes_of(number)
        if number % 4 == 3:
            folder.remove(name)

    with ThreadPoolExecutor(16) as pool:
        list(pool.map(work, range(24)))
    folder.write_table("deep/table.parquet", table)
    folder.write_json("deep/sealed.json", {"a": 1}, sealed=True)
    assert folder.read_table("deep/table.parquet").equals(table)
    assert folder.read_json("deep/sealed.json")["a"] == 1
    kept = {f"deep/{number:02}.bin": bytes_of(number) for number in range(24) if number % 4 != 3}
    assert list(folder.files()) == sorted([*kept, "deep/sealed.json", "deep/table.parquet"])
    found = objects(faulty, folder.uri.removeprefix("s3://bucket/"))
    assert {name: data for name, data in found.items() if name.endswith(".bin")} == kept
    assert {kind for kind, _, _ in faulty.faults} == set(KINDS) and len(faulty.faults) >= 12
    folder.remove()
    assert objects(faulty, folder.uri.removeprefix("s3://bucket/")) == {}


@pytest.mark.parametrize("faulty", [{"every": 2, "most": 9}], indirect=True)
def test_a_large_file_is_written_in_parts_and_read_as_one(faulty: FaultyS3) -> None:
    data = os.urandom(24 * 2**20 + 7)
    folder = Folder("s3://bucket/large")
    folder.write_bytes("a.bin", data)
    assert folder.read_bytes("a.bin") == data
    assert objects(faulty, "large") == {"a.bin": data} and uploads(faulty) == []
    assert faulty.faults
    faulty.n_requests = 0
    folder.read_bytes("a.bin")
    assert faulty.n_requests <= 4, "a request for each 256 kB"


@pytest.mark.parametrize("kind", OUTAGES)
def test_an_outage_is_a_sentence_after_as_many_tries_as_aws_max_attempts_says(faulty, monkeypatch, kind) -> None:
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "2")
    folder = Folder("s3://bucket/outage")
    folder.write_bytes("a", b"a")
    faulty.for_ever = kind
    calls = [(folder.write_bytes, "b", b"b"), (folder.read_bytes, "a"), (folder.files,), (folder.remove, "a")]
    with ThreadPoolExecutor(len(calls)) as pool:
        faulty.n_requests = 0
        said = list(pool.map(lambda one: refused("outage", *one), calls))
    # curl itself asks again where a connection that it kept is gone.
    assert 2 * len(calls) <= faulty.n_requests <= 3 * len(calls) and all("; 2 tries)" in one for one in said)
    faulty.for_ever = None
    assert objects(faulty, "outage") == {"a": b"a"}


def test_the_number_of_tries_has_a_default(monkeypatch: pytest.MonkeyPatch) -> None:
    from mien import bucket

    monkeypatch.delenv("AWS_MAX_ATTEMPTS", raising=False)
    assert bucket._attempts() == bucket.ATTEMPTS == 8
    for said, attempts in (("3", 3), ("0", 1), ("many", 8), ("", 8)):
        monkeypatch.setenv("AWS_MAX_ATTEMPTS", said)
        assert bucket._attempts() == attempts


def test_an_error_that_is_longer_than_the_file_is_no_end(faulty: FaultyS3, monkeypatch: pytest.MonkeyPatch) -> None:
    """Arrow has a buffer of one byte for it then, and AWS's client takes that for a fault of its own."""
    folder = Folder("s3://bucket/short")
    folder.write_bytes("a", b"a")
    real, n_gets = faulty.fault, 0

    def twice(command: str, path: str) -> str | None:
        nonlocal n_gets
        n_gets += command == "GET"
        return "throttled" if command == "GET" and n_gets <= 2 else real(command, path)

    monkeypatch.setattr(faulty, "fault", twice)
    assert folder.read_bytes("a") == b"a" and n_gets == 3
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "2")
    n_gets = -9
    refused("short", folder.read_bytes, "a")
    assert n_gets == -7


@pytest.mark.parametrize("name", ["C1 trigger _C_Section_2.wav", "größe.wav", "a#b?c%20d.wav"])
def test_a_key_may_hold_any_character(s3: str, tmp_path: Path, name: str) -> None:
    write_wav(tmp_path / "a.wav", tone(0.3, 16_000), 16_000)
    folder = Folder(f"{s3}/a folder of ours")
    folder.write_bytes(name, (tmp_path / "a.wav").read_bytes())
    assert len(heard(folder.path(name), 16_000)) == 4800
    assert list(folder.files()) == [name]
    folder.remove(name)


# ------------------------------------------------------------------ media


def test_a_decoder_does_not_take_an_outage_for_the_end_of_a_file(faulty, tmp_path, monkeypatch) -> None:
    """Of a long recording, which is fetched a block at a time: libsndfile reads nothing and is content."""
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    monkeypatch.setattr(source, "FETCHED_WHOLE_BYTES", 0)
    monkeypatch.setattr(source, "BLOCK_BYTES", 10_000)
    write_wav(tmp_path / "long.wav", tone(4.0, 16_000), 16_000)
    Folder("s3://bucket/media").write_bytes("long.wav", (tmp_path / "long.wav").read_bytes())
    uri = "s3://bucket/media/long.wav"
    assert len(heard(uri, 16_000)) == 64_000
    real, n_reads = source._Blocks.readinto, 0

    def breaks(blocks: Any, buffer: Any) -> int:
        nonlocal n_reads
        n_reads += 1
        faulty.for_ever = "error" if n_reads > 4 else None
        return real(blocks, buffer)

    monkeypatch.setattr(source._Blocks, "readinto", breaks)
    refused("media/long.wav", heard, uri, 16_000)
    faulty.for_ever = "throttled"
    refused("media/long.wav", media.content_hash, uri)


# ------------------------------------------------------------------ prepare


@pytest.fixture(scope="module")
def root(s3: str, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, list[str]]:
    """A corpus in the bucket, whose fourth clip is no sound; and its clip ids."""
    here = tmp_path_factory.mktemp("root")
    clip_ids = write_corpus(here, 16)
    wav_of(here, clip_ids[3]).write_bytes(b"this is no sound")
    for path in here.rglob("*.wav"):
        Folder(f"{s3}/root").write_bytes(str(path.relative_to(here)), path.read_bytes())
    return f"{s3}/root", clip_ids


@pytest.fixture
def whole(root: tuple[str, list[str]], s3: str, in_this_process: None) -> str:
    """The store of that corpus, from an S3 without faults; from then on `prepare` is quick, in this process."""
    if not FeatureStore(f"{s3}/whole").corpora():
        prepare("ravdess", root[0], f"{s3}/whole", [LOUDNESS], engine="processes")
    return "whole"


def comparable(held: dict[str, bytes]) -> dict[str, bytes]:
    """Parts, clips and rejects; a MANIFEST says when it was written."""
    return {name: data for name, data in held.items() if name.endswith(".parquet")}


@pytest.mark.parametrize("faulty", [{"seed": 3, "every": 4, "most": 6}], indirect=True)
def test_prepare_from_s3_to_s3_ends_as_without_faults(root, whole, faulty, monkeypatch, tmp_path) -> None:
    """By processes of their own, as a user has them."""
    from mien.features import prepare as room
    from mien.features.prepare.processes import stream_by_processes

    monkeypatch.setattr(room, "stream_by_processes", stream_by_processes)
    uri, clip_ids = root
    monkeypatch.setenv("MIEN_CACHE", str(tmp_path / "cache"))
    prepared = prepare("ravdess", uri, "s3://bucket/faulty", [LOUDNESS], engine="processes", workers=2)
    (feature,) = prepared.features
    assert (feature.n_rows, feature.n_rejects) == (15, 1)
    assert len({kind for kind, _, _ in faulty.faults}) >= 5
    held = objects(faulty, "faulty")
    assert comparable(held) == comparable(objects(faulty, whole)) and len(comparable(held)) >= 4
    store = FeatureStore("s3://bucket/faulty")
    assert {reject.id: reject.reason for reject in store.rejects("ravdess", SPEC)} == {clip_ids[3]: "not-media"}
    assert list(store.load("ravdess", SPEC).clip_ids) == sorted(set(clip_ids) - {clip_ids[3]})
    assert not [name for name in held if "/.attempts/" in name and not name.endswith("/")]
    written = [*held.items(), *((str(path), path.read_bytes()) for path in tmp_path.rglob("*") if path.is_file())]
    assert_no_secret(written)


def assert_no_secret(files: list[tuple[str, bytes]]) -> None:
    secrets = [value.encode() for value in SECRETS.values()]
    assert files and not [
        name for name, data in files if any(secret in data or secret in name.encode() for secret in secrets)
    ]


def test_an_outage_makes_no_rejects_and_the_same_command_goes_on(root, whole, faulty, monkeypatch) -> None:
    """The clips are whole: it stops, and says why."""
    uri, _ = root
    real, n_opened = source.opened, 0

    def fails(path: str) -> Any:
        nonlocal n_opened
        n_opened += 1
        faulty.for_ever = "throttled" if n_opened > 7 else None
        return real(path)

    with monkeypatch.context() as patch:
        patch.setenv("AWS_MAX_ATTEMPTS", "1")
        for module in (source, sound):
            patch.setattr(module, "opened", fails)
        said = refused("", prepare, "ravdess", uri, "s3://bucket/outage-store", [LOUDNESS], engine="processes")
    assert "/root/Actor_01/" in said and n_opened == 8, "it went on to other clips"
    faulty.for_ever = None
    held = objects(faulty, "outage-store")
    assert not [name for name in held if "loudness" in name and name.endswith(("rejects.parquet", "MANIFEST.json"))]
    prepare("ravdess", uri, "s3://bucket/outage-store", [LOUDNESS], engine="processes")
    assert comparable(objects(faulty, "outage-store")) == comparable(objects(faulty, whole))


# ------------------------------------------------------------------ runs


@pytest.mark.parametrize("faulty", [{"seed": 5, "every": 5, "most": 20}], indirect=True)
def test_runs_written_and_pulled_under_faults_are_the_same(faulty, tmp_path, monkeypatch) -> None:
    here = tmp_path / "here"
    series_directory(here, name="first", n_subjects=4, folds=2)
    files = {str(path.relative_to(here)): path.read_bytes() for path in here.rglob("*") if path.is_file()}
    there = Folder("s3://bucket/runs-under-faults")  # other tests of this process write to runs
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda name: there.write_bytes(name, files[name]), files))
    assert objects(faulty, "runs-under-faults") == files
    n_writing = len(faulty.faults)
    pulled = pull(there, Folder(tmp_path / "pulled"))
    assert (pulled.n_copied, pulled.left) == (len(files), {})
    found = tmp_path / "pulled"
    assert {str(path.relative_to(found)): path.read_bytes() for path in found.rglob("*") if path.is_file()} == files
    assert 0 < n_writing < len(faulty.faults), "faults of writing and of pulling"
    assert pull(there, Folder(found)).n_copied == 0


@pytest.mark.parametrize("faulty", [{"seed": 7, "every": 9, "most": 4}], indirect=True)
def test_a_training_with_store_and_runs_in_s3(faulty, tmp_path, monkeypatch) -> None:
    """Its numbers are those of the same training on a disk, and none of its files holds a credential."""
    tiny.write_store(str(tmp_path / "store"))
    for path in (tmp_path / "store").rglob("*"):
        if path.is_file():
            data = path.read_bytes()
            boto3.client("s3", endpoint_url=f"http://{faulty.host}").put_object(
                Bucket="bucket", Key=f"trained/store/{path.relative_to(tmp_path / 'store')}", Body=data
            )
    monkeypatch.setenv("MIEN_CACHE", str(tmp_path / "cache"))

    def trained(place: str) -> Series:
        return launch(
            Experiment(
                name="svm",
                data=DataConfig(corpora=("ravdess",), features=("row",)),
                protocol=ProtocolConfig(folds=2),
                loss=LossConfig(kind="cross-entropy"),
                model=SvmConfig(),
                execution=ExecutionConfig(store=f"{place}/store", storage=f"{place}/runs", baseline=False),
            )
        )

    there, here = trained("s3://bucket/trained"), trained(str(tmp_path))
    assert there.signature == here.signature
    name = "predictions.parquet"
    for fold in (0, 1):
        assert there.run(0, fold).folder.read_bytes(name) == here.run(0, fold).folder.read_bytes(name)
    assert len(faulty.faults) >= 4
    assert_no_secret(
        [
            *objects(faulty, "trained").items(),
            *((str(path), path.read_bytes()) for path in tmp_path.rglob("*") if path.is_file()),
        ]
    )


@pytest.mark.parametrize("words", [["runs", "list"], ["runs", "verify"], ["runs", "pull"]], ids=" ".join)
def test_an_outage_is_told_by_the_commands_in_a_line(faulty, monkeypatch, capsys, tmp_path, words) -> None:
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    monkeypatch.chdir(tmp_path)
    faulty.for_ever = "throttled"
    assert main([*words, "s3://bucket/runs"]) == 2
    said = capsys.readouterr().err
    assert said.startswith("mien: s3://bucket/runs: S3 does not answer (") and said.count("\n") == 1


# ------------------------------------------------------------------ fetch


@pytest.mark.parametrize("faulty", [{"seed": 2, "every": 3, "most": 8}], indirect=True)
def test_a_corpus_is_fetched_from_a_bucket(faulty, tmp_path, capsys) -> None:
    held = {f"Actor_01/{n} ä.wav": os.urandom(1000 * n + 1) for n in range(9)}
    for name, data in held.items():
        boto3.client("s3", endpoint_url=f"http://{faulty.host}").put_object(
            Bucket="bucket", Key=f"mirror/{name}", Body=data
        )
    words = ["fetch", "ravdess", str(tmp_path), "--source", "s3://bucket/mirror", "--json"]
    assert main(words) == 0
    assert json.loads(capsys.readouterr().out)["n_loaded"] == 9 and len(faulty.faults) >= 4
    found = {str(path.relative_to(tmp_path)): path.read_bytes() for path in tmp_path.rglob("*.wav")}
    assert found == held
    assert main(words) == 0
    assert json.loads(capsys.readouterr().out)["n_same"] == 9


def test_a_key_that_is_no_path_is_named_and_the_others_come(s3, tmp_path, capsys) -> None:
    for key in ("odd-keys/../out.wav", "odd-keys/ok.wav"):
        boto3.client("s3").put_object(Bucket="bucket", Key=key, Body=b"1")
    assert main(["fetch", "ravdess", str(tmp_path / "root"), "--source", f"{s3}/odd-keys"]) == 2
    said = capsys.readouterr().err
    assert "warning: ../out.wav: a part of it is '..'" in said and "1 of 2 files could not be had" in said
    assert [path.name for path in tmp_path.rglob("*.wav")] == ["ok.wav"]
