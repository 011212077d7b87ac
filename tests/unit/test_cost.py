"""What mien cost computes, against numbers worked out by hand."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from conftest import ROOT
from mien.cli.main import main
from mien.cluster.aws.cluster_file import ClusterFile
from mien.cluster.cost.bill import used
from mien.cluster.cost.estimate import estimate
from mien.cluster.cost.prices import Instance, Prices, load_prices
from mien.cluster.cost.rates import PrepareRate, Rates
from mien.errors import MienError
from mien.experiment import AugmentConfig, DataConfig, ExecutionConfig, Experiment, ProtocolConfig, TrainingConfig
from mien.experiment.search import Search
from mien.features.spec import FeatureSpec
from mien.features.store import FeatureStore
from mien.results import machine
from mien.results.run import Series

MACHINE = Instance(name="m", vcpus=4, memory_gib=8, on_demand=1.0, spot=0.25)
PRICES = Prices(
    date="2026-01-01",
    region="r",
    instances={"m": MACHINE, "h": replace(MACHINE, name="h", on_demand=0.5)},
    storage_gb_month=0.02,
    disk_gb_month=0.73,  # a thousandth of a dollar an hour
    disk_mb_s_month=0.073,
)
RATES = Rates(
    machine="here",
    uncertainty=2.0,
    prepare={"egemaps": PrepareRate(clips_per_s=2.0, clip_s=4.0, bytes_per_clip=1e4)},
    samples_per_s=10.0,
    pruned_share=0.5,
)
DISK = {"Ebs": {"VolumeSize": 100, "Throughput": 225}}
CLUSTER: dict[str, Any] = {
    "cluster_name": "mien",
    "provider": {"region": "eu-central-1"},
    "idle_timeout_minutes": 12,
    "max_workers": 6,
    "head_node_type": "head",
    "available_node_types": {
        "head": {"node_config": {"InstanceType": "h"}},
        "big": {"max_workers": 0, "node_config": {"InstanceType": "huge"}},
        "gpu": {"resources": {"GPU": 1}, "node_config": {"InstanceType": "g"}},
        "cpu": {"max_workers": 4, "node_config": {"InstanceType": "m", "BlockDeviceMappings": [DISK]}},
    },
}
EXPERIMENT = Experiment(
    name="e",
    data=DataConfig(corpora=("ravdess",)),
    protocol=ProtocolConfig(folds=4, validation=0.25),
    augment=AugmentConfig(kind="sync", factor=3.0, probability=0.5),
    training=TrainingConfig(epochs=10),
    execution=ExecutionConfig(seeds=(0, 1), baseline=False),
)


def by_name(corpus: str, features: tuple[str, ...] = ("egemaps",), search: Search | None = None) -> dict[str, Any]:
    stages, _ = estimate(corpus, features, search, ClusterFile.model_validate(CLUSTER), PRICES, RATES)
    return {stage.name: stage for stage in stages}


def test_preparing_by_hand():
    """28,800 clips of 8 s, one a second and core: 8 core-hours, 2 on the first machine, so it gets a second one."""
    stage = by_name("28800x8")["prepare"]
    assert (stage.nodes, stage.hours) == ("2 x m", pytest.approx(8 / 60 + 1.0))
    node_usd = 0.1 + 0.01  # the disk: 100 GB, and 100 MB/s beyond what is in the price
    paid_h = 8 / 60 + 1.0 + 0.2
    assert stage.on_demand_usd == pytest.approx(paid_h * (2 * (1.0 + node_usd) + 0.5))
    assert stage.spot_usd == pytest.approx(paid_h * (2 * (0.25 + node_usd) + 0.5)), "the head is on demand"
    assert stage.low_usd == pytest.approx((paid_h - 0.5) * (2 * (1.0 + node_usd) + 0.5))
    assert stage.high_usd == pytest.approx((paid_h + 1.0) * (2 * (1.0 + node_usd) + 0.5))
    assert by_name("2880000x8")["prepare"].nodes == "4 x m", "no more than the cluster file allows"
    assert by_name("28800x8")["S3, a month"].on_demand_usd == pytest.approx(28_800 * 2e4 / 1e9 * 0.02)


def test_training_by_hand():
    """8 runs of 10 epochs of 1,600 x 3/4 x 3/4 clips and as many copies: 1,800 samples, 30 minutes of a core each."""
    stage = by_name("1600x8", (), Search(experiment=EXPERIMENT))["train, 8 runs"]
    assert (stage.nodes, stage.hours) == ("1 x m", pytest.approx(8 / 60 + 2 * 0.5))  # four at a time
    searched = Search(
        experiment=EXPERIMENT,
        space={"loss.gamma": "0 .. 4"},
        trials=2,
        questions={"loss.kind": "cross-entropy | focal"},
    )
    stages = by_name("1600x8", (), searched)
    assert stages["search, 8 runs"].hours == pytest.approx(8 / 60 + 2 * 0.25)  # the pruner leaves half of it
    train = stages["train, 24 runs"]  # winner, declared, the other answer
    assert (train.nodes, train.hours) == ("3 x m", pytest.approx(8 / 60 + 2 * 0.5))
    finals = by_name("1600x8", (), replace(searched, finalists=2))
    assert "finalists, 24 runs" in finals  # two in four folds, on three other splits
    protocol = ProtocolConfig(kind="crossed", group="stimulus", folds=2, validation=0.25)
    crossed = Search(experiment=replace(EXPERIMENT, protocol=protocol))
    stage = by_name("1600x8", (), crossed)["train, 8 runs"]  # two parts each way: 1,600 x 1/2 x 1/2 x 3/4 x 3/4
    assert stage.hours == pytest.approx(8 / 60 + 2 * 0.125)


def test_features_that_a_disk_cannot_hold_are_told():
    """20 kB a clip; of 100 GB, 20 are the system's."""

    def told(n_clips: int) -> str:
        cluster = ClusterFile.model_validate(CLUSTER)
        return " ".join(
            estimate(f"{n_clips}x8", ("egemaps",), Search(experiment=EXPERIMENT), cluster, PRICES, RATES)[1]
        )

    assert "will not work" not in told(3_900_000)
    assert "training will not work on m: a copy of all features lies on each machine's disk, 82 GB" in told(4_100_000)


def test_the_table_of_prices_has_what_the_cluster_file_names():
    from mien.cluster.aws.cluster_file import read_cluster_file

    for region in ("us-east-1", "eu-central-1"):
        prices = load_prices(region)
        for kind in read_cluster_file(ROOT / "cluster.yaml").kinds().values():
            assert prices.instance(kind.instance_type).spot < prices.instance(kind.instance_type).on_demand
    assert load_prices("eu-west-1").region == "us-east-1 (the table has none of eu-west-1)"


@pytest.fixture
def here(tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    Path("cluster.yaml").write_text((ROOT / "cluster.yaml").read_text())
    return tmp_path


def test_the_command_reads_the_cluster_file_and_says_of_what_day_its_prices_are(here, capsys):
    experiment = str(ROOT / "experiments" / "sync_aug.py")
    asking = ["cost", "--corpus", "ravdess", "--experiment", experiment]
    assert main([*asking, "--features", "facenet"]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    for words in (
        "x c7i.4xlarge",
        "2026-11-21",
        "in us-east-1: nothing was fetched",
        "1,440 clips of 3.70 s, measured",
    ):
        assert words in shown
    assert "sync-aug reads egemaps as well, which --features leaves out: not counted" in shown
    assert main([*asking, "--features", "egemaps", "facenet", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert [stage["name"].split(",")[0] for stage in told["stages"]] == ["prepare", "train", "S3"]
    assert 0 < told["low_usd"] < told["high_usd"] and not any("leaves out" in note for note in told["notes"])


@pytest.mark.parametrize(
    ("words", "names"),
    [
        ([], ("--corpus ravdess", "RUNS")),
        (["runs", "--corpus", "ravdess"], ("--corpus ravdess", "RUNS")),
        (["nowhere"], ("nowhere",)),
        (["--corpus", "atlantis"], ("atlantis", "ravdess", "CLIPSxSECONDS")),
        (["--corpus", "ravdess", "--features", "aura"], ("aura", "egemaps")),
        (["--corpus", "ravdess", "--cluster", "broken.yaml"], ("broken.yaml", "cluster_name")),
        (["--corpus", "ravdess", "--cluster", "huge.yaml"], ("c7i.huge", "prices.json")),
        (["--corpus", "ravdess", "--cluster", "zero.yaml"], ("max_workers is 0",)),
    ],
)
def test_bad_input_is_named(here, words, names, capsys):
    Path("broken.yaml").write_text("{}")
    Path("huge.yaml").write_text(Path("cluster.yaml").read_text().replace("c7i.4xlarge", "c7i.huge"))
    Path("zero.yaml").write_text(Path("cluster.yaml").read_text().replace("max_workers: 8", "max_workers: 0"))
    assert main(["cost", *words]) == 2
    told = capsys.readouterr().err
    assert told.startswith("mien: ") and told.count("\n") == 1
    assert all(name in told for name in names), told


def test_what_a_series_took(tmp_path):
    series = Series.create(replace(EXPERIMENT, execution=ExecutionConfig(storage=str(tmp_path))), "00000000")
    series.folder.write_json("data.json", {})
    for fold, (seconds, instance_type) in enumerate([(1800.0, "c7i.4xlarge"), (5400.0, "c7i.4xlarge"), (60.0, None)]):
        run = series.run(0, fold)
        run.folder.write_json("environment.json", {"workers": 2, "instance_type": instance_type})
        scores = {"score": 0.5, "score_name": "uar", "validation_loss": 1.0, "train_loss": 1.0}
        run.write_history([{"epoch": epoch, "seconds": seconds / 2, **scores} for epoch in (1, 2)])
    known, unknown = used([str(tmp_path / "e")], load_prices("us-east-1"), "g5.xlarge")
    assert (known.n, known.core_hours, known.instance) == (2, pytest.approx(4.0), "c7i.4xlarge")
    assert known.on_demand_usd == pytest.approx(4.0 / 16 * 0.714)
    assert (unknown.instance, unknown.assumed, known.assumed) == ("g5.xlarge", True, False)
    assert unknown.spot_usd == pytest.approx(60 * 2 / 3600 / 4 * 0.4423)


def test_what_a_store_took(tmp_path):
    store = FeatureStore(tmp_path)
    store.write_clips("ravdess", [], [])
    spec = FeatureSpec(name="one", version=1, modality="audio", shape=(1,), hop_s=None)
    folder = store.feature_folder("ravdess", spec)
    for work_s in (1800.0, 3600.0):  # a job, and another that went on
        folder.note_work({"n_extracted": 10, "n_workers": 32, "startup_s": 1.0, "work_s": work_s})
    folder.finish([])
    assert not store.verify("ravdess")
    (row,) = used([str(tmp_path)], load_prices("us-east-1"), "c7i.4xlarge")
    assert (row.n, row.core_hours) == (20, pytest.approx(48.0))
    assert row.on_demand_usd == pytest.approx(3.0 * 0.714)
    with pytest.raises(MienError, match="m99"):
        used([str(tmp_path)], load_prices("us-east-1"), "m99")


def test_a_machine_of_amazon_knows_its_type(tmp_path, monkeypatch):
    monkeypatch.setattr(machine, "_DMI", tmp_path)
    assert machine.instance_type() is None
    (tmp_path / "product_name").write_text("c7i.4xlarge\n")
    (tmp_path / "sys_vendor").write_text("Amazon EC2\n")
    assert machine.instance_type() == "c7i.4xlarge"
    (tmp_path / "sys_vendor").write_text("QEMU\n")
    assert machine.instance_type() is None
