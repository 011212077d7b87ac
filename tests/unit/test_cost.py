"""What mien cost computes, against numbers worked out by hand, a simulation, and Ray's own autoscaler."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from conftest import ROOT
from mien.cli.main import main
from mien.cluster.cost.autoscaling import finished_s, nodes_up
from mien.cluster.cost.bill import used
from mien.cluster.cost.estimate import CorpusSize, Fleet, Job, estimate
from mien.cluster.cost.interruptions import spot_loss
from mien.cluster.cost.nodes import read_nodes
from mien.cluster.cost.prices import Instance, Prices, load_prices
from mien.cluster.cost.rates import PrepareRate, Rates, load_rates
from mien.errors import MienError
from mien.experiment import AugmentConfig, DataConfig, ExecutionConfig, Experiment, ProtocolConfig, TrainingConfig
from mien.experiment.search import Search
from mien.features.spec import FeatureSpec
from mien.features.store import FeatureStore
from mien.results import machine
from mien.results.run import Series

# ------------------------------------------------------------------ interruptions


def simulated_h(rng: np.random.Generator, work_h: float, rate: float, checkpoint_h: float, restart_h: float) -> float:
    """One job, hour by hour as the model says: segments, losses, waits that may be interrupted as well."""
    now = 0.0
    for _ in range(round(work_h / checkpoint_h)):
        needed = checkpoint_h
        while (until_loss := rng.exponential(1 / rate)) < needed:
            now += until_loss
            needed = restart_h + checkpoint_h
        now += needed
    return now


@pytest.mark.parametrize(
    ("rate", "checkpoint_h", "restart_h"), [(0.05, 0.5, 0.1), (0.5, 1.0, 0.25), (1.0, 0.25, 0.5), (0.01, 4.0, 0.1)]
)
def test_the_closed_form_is_the_mean_of_simulated_jobs(rate, checkpoint_h, restart_h):
    rng = np.random.default_rng(0)
    hours = [simulated_h(rng, 8.0, rate, checkpoint_h, restart_h) for _ in range(4000)]
    loss = spot_loss(8.0, rate_per_h=rate, checkpoint_h=checkpoint_h, restart_h=restart_h)
    error = np.std(hours) / np.sqrt(len(hours))
    assert loss.stretch > 1
    assert abs(8.0 * loss.stretch - np.mean(hours)) < 4 * error


def test_machines_that_need_each_other_are_lost_more_often():
    arguments: dict[str, Any] = {"rate_per_h": 0.01, "checkpoint_h": 0.5, "restart_h": 0.1}
    assert spot_loss(8.0, **{**arguments, "rate_per_h": 0.0}).stretch == 1
    with pytest.raises(MienError, match="nothing is ever done on spot"):
        spot_loss(8.0, **{**arguments, "rate_per_h": 1e4})


# ------------------------------------------------------------------ autoscaling


def test_nodes_come_up_as_rays_own_autoscaler_launches_them():
    """Its rule in the loop; states and times are ours."""
    from ray.autoscaler.v2.instance_manager.reconciler import Reconciler
    from ray.core.generated.instance_manager_pb2 import Instance as RayInstance

    def instances(n: int, status: Any) -> list[Any]:
        history = [RayInstance.StatusHistory(instance_status=RayInstance.QUEUED, timestamp_ns=1)]
        return [RayInstance(instance_type="cpu", status=status, status_history=history) for _ in range(n)]

    for n_nodes, speed in ((40, 1.0), (150, 0.1), (120, 100.0)):
        up: list[float] = []
        now_s = 0.0
        while len(up) < n_nodes:
            launched = Reconciler._compute_to_launch(
                queued_instances=instances(n_nodes - len(up), RayInstance.QUEUED),
                requested_instances=[],
                running_instances=instances(sum(at_s <= now_s for at_s in up), RayInstance.RAY_RUNNING),
                upscaling_speed=speed,
                max_concurrent_launches=10,
            )
            up += [now_s + 60.0] * len(launched["cpu"])
            now_s += 5.0
        assert nodes_up(n_nodes, start_s=60.0, upscaling_speed=speed).tolist() == up


def test_work_is_done_by_those_who_are_there():
    assert finished_s(np.array([0.0, 10.0]), 5.0) == 5.0  # before the second comes
    assert finished_s(np.array([0.0, 10.0]), 30.0) == 20.0  # 10 s alone, 10 s together
    assert finished_s(np.array([3.0]), 4.0) == 7.0


# ------------------------------------------------------------------ estimate

MACHINE = Instance(
    name="m", vcpus=4, memory_gib=8, gpus=0, on_demand=1.0, spot=0.25, interruptions_per_h=0.0,
)  # fmt: skip
PRICES = Prices(
    date="2026-01-01",
    region="r",
    instances={"m": MACHINE},
    storage_gb_month=0.02,
    put_per_1000=0.005,
    get_per_1000=0.0004,
    disk_gb_month=0.73,  # a thousandth of a dollar an hour
    unchecked=(),
)
RATES = Rates(
    machine="here", uncertainty=2.0, prepare={"egemaps": PrepareRate(clips_per_s=2.0, clip_s=4.0, bytes_per_clip=1e4)},
    samples_per_s=10.0, pruned_share=0.5,
)  # fmt: skip
FLEET = Fleet(instance=MACHINE, n_nodes=1, start_minutes=6.0, idle_minutes=12.0, upscaling_speed=1.0, disk_gb=10.0)
JOB = Job(
    corpus=CorpusSize(n_clips=28_800, clip_s=8.0, n_files=28_800, n_gb=100.0),
    features=("egemaps",),
    search=None,
    prepare=FLEET,
    train=FLEET,
    head=replace(MACHINE, on_demand=0.5),
    head_disk_gb=0.0,
)


def by_name(job: Job, prices: Prices = PRICES) -> dict[str, Any]:
    return {stage.name: stage for stage in estimate(job, prices, RATES).stages}


def test_extraction_by_hand():
    """28,800 clips, twice as long as those of the rate: 1 s of a core each, 2 h of four cores."""
    stages = by_name(JOB)
    prepare = stages["prepare egemaps"]
    assert prepare.hours == pytest.approx(0.1 + 2.0)
    assert prepare.node_hours == pytest.approx(0.1 + 2.0 + 0.2)
    assert prepare.on_demand_usd == pytest.approx(2.3)
    assert (prepare.low_usd, prepare.high_usd) == (pytest.approx(1.3), pytest.approx(4.3))
    assert prepare.spot_usd == pytest.approx(2.3 * 0.25)
    assert prepare.lost_usd == 0
    assert stages["head"].on_demand_usd == pytest.approx(2.1 * 0.5)
    assert stages["disks"].on_demand_usd == pytest.approx(2.3 * 10 * 0.001)
    # 100 GB of media and 0.576 of features, of clips twice as long; a put per file and three per part of 64; five gets per clip
    requests = (28_800 + 3 * 450) * 0.005e-3 + 5 * 28_800 * 0.0004e-3
    assert stages["S3"].on_demand_usd == pytest.approx(100.576 * 0.02 + requests)
    total = estimate(JOB, PRICES, RATES).total
    assert total.on_demand_usd == pytest.approx(sum(stage.on_demand_usd for stage in stages.values()))


def test_interruptions_stretch_the_work_and_its_price():
    lossy = replace(JOB, prepare=replace(FLEET, instance=replace(MACHINE, interruptions_per_h=0.5)))
    stage = by_name(lossy)["prepare egemaps"]
    stretch = spot_loss(2.0, rate_per_h=0.5, checkpoint_h=64 / 3600, restart_h=0.1).stretch
    assert stage.spot_hours == pytest.approx(0.1 + 2.0 * stretch)
    assert stage.spot_usd == pytest.approx((2.3 + 2.0 * (stretch - 1)) * 0.25)
    assert stage.lost_usd == pytest.approx(2.0 * (stretch - 1) * 0.25)
    assert stage.interruptions == pytest.approx(0.5 * 2.0 * stretch)
    assert stage.on_demand_usd == pytest.approx(2.3)


EXPERIMENT = Experiment(
    name="e",
    data=DataConfig(corpora=("ravdess",)),
    protocol=ProtocolConfig(folds=4, validation=0.25),
    augment=AugmentConfig(kind="sync", factor=3.0, probability=0.5),
    training=TrainingConfig(epochs=10),
    execution=ExecutionConfig(seeds=(0, 1), baseline=False),
)


def test_training_by_hand():
    """8 runs of 10 epochs of 1,600 x 3/4 x 3/4 clips and as many copies: 1,800 samples, 30 minutes of a core each."""
    job = replace(
        JOB,
        corpus=replace(JOB.corpus, n_clips=1600),
        features=(),
        search=Search(experiment=EXPERIMENT),
        train=replace(FLEET, start_minutes=0.0),
    )
    stage = by_name(job)["train, 8 runs"]
    assert stage.hours == pytest.approx(2 * 0.5)  # four at a time
    assert job.search
    protocol = ProtocolConfig(kind="crossed", group="stimulus", folds=2, validation=0.25)
    crossed = replace(job.search, experiment=replace(EXPERIMENT, protocol=protocol))
    stage = by_name(replace(job, search=crossed))["train, 8 runs"]  # two parts each way: 1,600 x 1/2 x 1/2 x 3/4 x 3/4
    assert stage.hours == pytest.approx(2 * 0.125)
    searched = replace(job, search=Search(experiment=EXPERIMENT, space={"loss.gamma": "0 .. 4"}, trials=2,
                                          questions={"loss.kind": "cross-entropy | focal"}))  # fmt: skip
    stages = by_name(searched)
    assert stages["search, 8 runs"].hours == pytest.approx(2 * 0.25)  # the pruner leaves half of it
    assert stages["train, 24 runs"].hours == pytest.approx(6 * 0.5)  # winner, declared, the other answer
    assert stages["train, 24 runs"].node_hours == pytest.approx(3.0 + 0.2)
    assert searched.search
    finals = by_name(replace(searched, search=replace(searched.search, finalists=2)))
    assert finals["finalists, 24 runs"].hours == pytest.approx(6 * 0.5)  # two in four folds, on three other splits


def test_more_machines_than_there_is_work_for_are_not_paid():
    many = by_name(replace(JOB, prepare=replace(FLEET, n_nodes=1000)))["prepare egemaps"]
    assert 0.1 < many.hours < 0.3
    assert many.node_hours < 0.7 * 1000 * (many.hours + 0.2)  # the rest had not been asked for when it was done


# ------------------------------------------------------------------ tables


def test_the_table_of_prices_has_what_the_cluster_file_names():
    for region in ("us-east-1", "eu-central-1"):
        prices = load_prices(region)
        nodes = read_nodes()
        for kind in (nodes.head, *nodes.workers.values()):
            assert prices.instance(kind.instance_type).spot < prices.instance(kind.instance_type).on_demand
        share = 1 - np.exp(-prices.instance("g6.2xlarge").interruptions_per_h * 730)
        assert share == pytest.approx(0.15)  # the upper end of 10-15%


def test_a_measurement_of_ones_own_replaces_the_rate(tmp_path):
    told = {"features": [{"name": "egemaps", "n_extracted": 100, "work_s": 10.0, "n_workers": 4}]}
    (tmp_path / "prepare.json").write_text(json.dumps(told))
    (tmp_path / "train.json").write_text(
        json.dumps({"clips": 5, "cores": 8, "clips/s, mien": 400.0, "start-up of mien, s": 3.0})
    )
    rates = load_rates([tmp_path / "prepare.json", tmp_path / "train.json"])
    assert rates.prepare["egemaps"] == PrepareRate(clips_per_s=2.5)
    assert "facenet" in rates.prepare
    assert (rates.samples_per_s, rates.run_startup_s) == (50.0, 3.0)


# ------------------------------------------------------------------ the command line

CLUSTER = """
cluster_name: mien
max_workers: 6
provider: {type: aws, region: eu-central-1}
idle_timeout_minutes: 3
head_node_type: head
available_node_types:
  head: {node_config: {InstanceType: r7i.xlarge}}
  big: {max_workers: 0, node_config: {InstanceType: c7i.24xlarge}}
  cpu:
    max_workers: 5
    node_config: {InstanceType: c7i.4xlarge, BlockDeviceMappings: [{Ebs: {VolumeSize: 150}}]}
"""


def test_the_command_reads_the_cluster_file_and_says_of_what_day_its_prices_are(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Path("cluster.yaml").write_text(CLUSTER)
    assert main(["cost", "--corpus", "ravdess", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    (prepare,) = [stage for stage in told["stages"] if stage["name"] == "prepare egemaps"]
    assert prepare["nodes"] == "5 x c7i.4xlarge"
    Path("small.yaml").write_text(CLUSTER.replace("max_workers: 6", "max_workers: 3"))
    assert main(["cost", "--corpus", "ravdess", "--json", "--cluster", "small.yaml"]) == 0
    assert '"nodes": "3 x c7i.4xlarge"' in capsys.readouterr().out, "the cluster's own lid"
    assert 0 < told["total"]["spot_usd"] < told["total"]["on_demand_usd"]
    assert main(["cost", "--corpus", "ravdess"]) == 0
    shown = capsys.readouterr().out
    assert "2026-11-21" in shown and "eu-central-1" in shown and "nothing was fetched" in shown


@pytest.mark.parametrize(
    ("words", "names"),
    [
        (["--corpus", "ravdess", "--prepare-node", "c7i.huge"], ("c7i.huge", "--prices")),
        (["--corpus", "ravdess", "--region", "mars-1"], ("mars-1", "--region", "us-east-1")),
        (["--corpus", "ravdess", "--interruptions", "1000"], ("1000 interruptions", "--interruptions")),
        (["--corpus", "ravdess", "--prepare-nodes", "-3"], ("--prepare-nodes -3",)),
        (["--clips", "-5", "--mean-seconds", "3"], ("--clips -5",)),
        (["--clips", "5", "--mean-seconds", "nan"], ("--mean-seconds nan",)),
        (["--clips", "5"], ("--mean-seconds",)),
        (["--clips", "5", "--mean-seconds", "inf"], ("--mean-seconds inf",)),
        (["--corpus", "ravdess", "--clips", "0"], ("--clips 0",)),
        (["--corpus", "ravdess", "--mean-seconds", "0"], ("--mean-seconds 0",)),
        (["--corpus", "ravdess", "--corpus-gb", "inf"], ("--corpus-gb inf",)),
        (["--corpus", "ravdess", "--months", "inf"], ("--months inf",)),
        (["--corpus", "ravdess", "--start-minutes", "inf"], ("--start-minutes inf",)),
        (["--corpus", "ravdess", "--spot"], ("--spot is of what was used",)),
        (["--corpus", "ravdess", "--node-type", "c7i.4xlarge"], ("--node-type is of what was used",)),
        (["--corpus", "ravdess", "--train-nodes", "2"], ("--train-nodes trains nothing without --experiment",)),
        (["--corpus", "ravdess", "--train-node", "cpu"], ("--train-node trains nothing without --experiment",)),
        (["runs", "--corpus", "ravdess"], ("--corpus is of an estimate", "runs")),
        (["runs", "--clips", "5"], ("--clips is of an estimate",)),
        (["runs", "--features", "egemaps"], ("--features is of an estimate",)),
        (["runs", "--experiment", "x.py"], ("--experiment is of an estimate",)),
        (["runs", "--rates", "x.json"], ("--rates is of an estimate",)),
        (["--corpus", "atlantis"], ("atlantis",)),
        (["--corpus", "mahnob"], ("--corpus mahnob", "--mean-seconds", "--corpus-gb")),
        (["--corpus", "mahnob", "--mean-seconds", "80"], ("--corpus-gb",)),
        (["--corpus", "ravdess", "--months", "-1"], ("--months -1",)),
        (["--corpus", "ravdess", "--interruptions", "-1"], ("--interruptions -1",)),
        (["--corpus", "ravdess", "--features", "aura"], ("aura", "--rates")),
        (["--corpus", "ravdess", "--rates", "none.json"], ("none.json",)),
        (["--corpus", "ravdess", "--prices", "broken.json"], ("broken.json", "regions")),
        (["--corpus", "ravdess", "--cluster", "broken.json"], ("broken.json", "cluster")),
        (["nowhere"], ("nowhere",)),
    ],
)
def test_bad_input_is_named(words, names, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Path("broken.json").write_text("{}")
    assert main(["cost", *words]) == 2
    told = capsys.readouterr().err
    assert told.startswith("mien: ") and told.count("\n") == 1
    for name in names:
        assert name in told


def test_features_that_the_experiment_reads_and_nobody_extracts_are_told(capsys):
    experiment = str(ROOT / "experiments" / "sync_aug.py")
    asking = ["cost", "--corpus", "ravdess", "--experiment", experiment, "--features"]
    assert main([*asking, "facenet"]) == 0
    assert "sync-aug reads egemaps as well, which --features leaves out: not counted" in capsys.readouterr().out
    assert main([*asking, "egemaps", "facenet"]) == 0
    assert "leaves out" not in capsys.readouterr().out


# ------------------------------------------------------------------ what was used


def test_what_a_series_took(tmp_path):
    series = Series.create(replace(EXPERIMENT, execution=ExecutionConfig(storage=str(tmp_path))), "00000000")
    series.folder.write_json("data.json", {})
    for fold, (seconds, instance_type) in enumerate([(1800.0, "c7i.4xlarge"), (5400.0, "c7i.4xlarge"), (60.0, None)]):
        run = series.run(0, fold)
        run.folder.write_json("environment.json", {"workers": 2, "instance_type": instance_type})
        scores = {"score": 0.5, "score_name": "uar", "validation_loss": 1.0, "train_loss": 1.0}
        run.write_history([{"epoch": epoch, "seconds": seconds / 2, **scores} for epoch in (1, 2)])
    prices = load_prices("us-east-1")
    known, unknown = used([str(tmp_path / "e")], prices, spot=False)
    assert (known.n, known.core_hours, known.instance) == (2, pytest.approx(4.0), "c7i.4xlarge")
    assert known.share_usd == pytest.approx(4.0 / 16 * 0.714)
    assert known.alone_usd == pytest.approx(2.0 * 0.714)
    assert (unknown.instance, unknown.share_usd) == ("", None)
    _, told = used([str(tmp_path / "e")], prices, spot=True, instance_type="g5.xlarge")
    assert told.alone_usd == pytest.approx(60 / 3600 * 0.4423)


def test_what_a_store_took(tmp_path):
    store = FeatureStore(tmp_path)
    store.write_clips("ravdess", [], [])
    spec = FeatureSpec(name="one", version=1, modality="audio", shape=(1,), hop_s=None)
    folder = store.feature_folder("ravdess", spec)
    for work_s in (1800.0, 3600.0):  # a job, and another that went on
        folder.note_work({"n_extracted": 10, "n_workers": 32, "startup_s": 1.0, "work_s": work_s})
    folder.finish([])
    assert not store.verify("ravdess")
    (row,) = used([str(tmp_path)], load_prices("us-east-1"), spot=False, instance_type="c7i.4xlarge")
    assert (row.n, row.core_hours) == (20, pytest.approx(48.0))
    assert row.share_usd == row.alone_usd == pytest.approx(3.0 * 0.714)
    with pytest.raises(MienError, match="m99"):
        used([str(tmp_path)], load_prices("us-east-1"), spot=False, instance_type="m99")


def test_a_machine_of_amazon_knows_its_type(tmp_path, monkeypatch):
    monkeypatch.setattr(machine, "_DMI", tmp_path)
    assert machine.instance_type() is None
    (tmp_path / "product_name").write_text("c7i.4xlarge\n")
    (tmp_path / "sys_vendor").write_text("Amazon EC2\n")
    assert machine.instance_type() == "c7i.4xlarge"
    (tmp_path / "sys_vendor").write_text("QEMU\n")
    assert machine.instance_type() is None
