"""What a job will cost, before anything is started: hours and dollars of each stage, on demand and on spot machines.

    prepare  clips x core seconds of each feature, shared by all cores
    train    start-up + epochs x samples / (samples a second of one core); a run a core
    search   trials x folds runs, less what the pruner saves, and then the runs that are tested

Nodes are of the first type of cluster.yaml that may have any and has no GPU: as many as have an hour's work each, no
more than the file allows. They are paid for from their start until they were idle for as long as the file says, with
their disks, and the head, always on demand, as long. Cores are taken as equal to the core that the rates were measured
on, which is the largest error: low and high are a factor of `Rates.uncertainty` away in the work.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from mien.cluster.aws.cluster_file import ClusterFile, ClusterFileError, Kind
from mien.cluster.cost.corpora import MEDIA_GB, WHOLE, Whole
from mien.cluster.cost.prices import Prices
from mien.cluster.cost.rates import Rates
from mien.data.splits import n_inner_splits
from mien.errors import MienError
from mien.experiment import Experiment
from mien.experiment.search import Search

START_H = 8 / 60  # from asking for a node until it works; assumed
WORTH_A_NODE_H = 1.0
SYSTEM_GB = 20.0  # of a node's disk, for the system, its packages and Ray's logs; assumed
NOT_COUNTED = "not counted: spot nodes that are taken away, requests to S3, traffic out of AWS, tax"


@dataclass(frozen=True, kw_only=True, slots=True)
class Stage:
    """A row of the estimate. hours: of the clock. low_usd, high_usd: on demand."""

    name: str
    nodes: str
    hours: float = 0.0
    on_demand_usd: float
    spot_usd: float
    low_usd: float
    high_usd: float


def sizes(corpus: str) -> list[Whole]:
    """The parts of a corpus by its name, or so many clips of so many seconds: "100000x3.7". Raises MienError."""
    found = [whole for whole in WHOLE.values() if whole.corpus == corpus]
    if own := re.fullmatch(r"(\d+)x(\d+(?:\.\d+)?)", corpus):
        n_clips, clip_s = int(own[1]), float(own[2])
        if n_clips and clip_s:
            found = [Whole(corpus="", n_clips=n_clips, clip_s=clip_s, media=(), source=f"{n_clips:,} of {clip_s:g} s")]
    if not found:
        known = ", ".join(dict.fromkeys(whole.corpus for whole in WHOLE.values()))
        raise MienError(f"--corpus {corpus}: give one of {known}, or CLIPSxSECONDS, say 100000x3.7")
    return found


def worker(cluster: ClusterFile) -> Kind:
    """The first node type that may have nodes and has no GPU. Raises ClusterFileError where there is none."""
    kinds = [kind for name, kind in cluster.kinds().items() if name != cluster.head_node_type]
    if not (able := [kind for kind in kinds if kind.n_max and not kind.n_gpus]):
        raise ClusterFileError(
            "max_workers is 0 for all node types without a GPU: raise one, or name another --cluster"
        )
    return able[0]


def estimate(
    corpus: str, features: Sequence[str], search: Search | None, cluster: ClusterFile, prices: Prices, rates: Rates
) -> tuple[list[Stage], list[str]]:
    """The stages of a job, and what is taken for granted. search: with an empty space its experiment alone is trained;
    None: nothing is. Raises MienError for a corpus, a feature, a family or a machine that is not known."""
    if lacking := [feature for feature in features if feature not in rates.prepare]:
        raise MienError(f"no rate for feature {lacking[0]!r}, there are {', '.join(rates.prepare)}")
    parts, kind = sizes(corpus), worker(cluster)
    n_clips = sum(part.n_clips for part in parts)
    each = [(part.n_clips, rates.prepare[feature], part.clip_s) for part in parts for feature in features]
    core_h = sum(n * rate.core_s(clip_s) for n, rate, clip_s in each) / 3600
    stages = []
    if features:
        stages.append(_work("prepare", math.inf, lambda n: core_h / n, kind, cluster, prices, rates))
    for name, n_runs, run_h in _runs(search, n_clips, rates) if search else ():
        waves = lambda n, n_runs=n_runs, run_h=run_h: -(-n_runs // n) * run_h  # noqa: E731
        stages.append(_work(f"{name}, {n_runs} runs", n_runs, waves, kind, cluster, prices, rates))
    stored_gb = sum(n * rate.n_bytes(clip_s) for n, rate, clip_s in each) / 1e9
    n_gb = MEDIA_GB.get(corpus, 0.0) + stored_gb
    usd = dict.fromkeys(("on_demand_usd", "spot_usd", "low_usd", "high_usd"), n_gb * prices.storage_gb_month)
    stages.append(Stage(name="S3, a month", nodes=f"{n_gb:,.0f} GB", **usd))
    used = {kind.instance_type, cluster.kinds()[cluster.head_node_type].instance_type}
    unchecked = [name for name in prices.unchecked if name in used or name not in prices.instances]
    notes = [
        *(part.source for part in parts),
        f"prices are those of {prices.date}, as a table says, in {prices.region}: nothing was fetched",
        *([f"not looked up, only known approximately: {', '.join(unchecked)}"] if unchecked else []),
        f"rates were measured on {rates.machine}; another core may be {rates.uncertainty:g} times slower or faster",
        NOT_COUNTED + ("" if corpus in MEDIA_GB else ", the media themselves in S3"),
        *(_of_training(search, features, stored_gb, kind) if search else ()),
    ]
    return stages, notes


def _work(
    name: str,
    n_tasks: float,
    work_h: Callable[[int], float],
    kind: Kind,
    cluster: ClusterFile,
    prices: Prices,
    rates: Rates,
) -> Stage:
    """A stage of its own. n_tasks: that can go on side by side. work_h: hours on so many cores."""
    machine, head_kind = prices.instance(kind.instance_type), cluster.kinds()[cluster.head_node_type]
    most = int(min(kind.n_max, math.ceil(n_tasks / machine.vcpus) if n_tasks < math.inf else kind.n_max))
    n = next((n for n in range(1, most) if work_h(n * machine.vcpus) <= WORTH_A_NODE_H), most)
    head_usd = prices.instance(head_kind.instance_type).on_demand + prices.disk_h(head_kind)

    def usd(node_usd: float, factor: float = 1.0) -> float:
        hours = START_H + factor * work_h(n * machine.vcpus) + cluster.idle_timeout_minutes / 60
        return hours * (n * (node_usd + prices.disk_h(kind)) + head_usd)

    return Stage(
        name=name,
        nodes=f"{n} x {machine.name}",
        hours=START_H + work_h(n * machine.vcpus),
        on_demand_usd=usd(machine.on_demand),
        spot_usd=usd(machine.spot),
        low_usd=usd(machine.on_demand, 1 / rates.uncertainty),
        high_usd=usd(machine.on_demand, rates.uncertainty),
    )


def _runs(search: Search, n_clips: int, rates: Rates) -> Iterator[tuple[str, int, float]]:
    """What is trained: a name, how many runs, and hours of each."""
    experiment = search.experiment
    if experiment.model.family != "lstm_attention":
        raise MienError(f"no rate for training {experiment.model.family}: leave --experiment out to estimate preparing")
    if experiment.protocol.n_folds is None:
        kind = experiment.protocol.kind
        raise MienError(f"{kind}: its folds are known when the clips are; set protocol.kind by-subject to estimate")
    n_folds = len(experiment.execution.only_folds) or experiment.protocol.n_folds
    run_h, n_runs = _run_h(experiment, n_clips, rates), n_folds * len(experiment.execution.seeds)
    if search.space:
        share = rates.pruned_share if search.pruner != "none" else 1.0
        yield "search", search.trials * n_folds, run_h * share
        if search.finalists > 1:  # on the other inner splits of the fold
            yield "finalists", search.finalists * n_folds * (n_inner_splits(experiment.protocol) - 1), run_h
        n_answers = sum(len(values.split("|")) - 1 for values in search.questions.values())
        n_runs *= 2 + n_answers  # the winner, the experiment as declared, and the other answers to each question
    yield "train", n_runs, run_h


def _run_h(experiment: Experiment, n_clips: int, rates: Rates) -> float:
    protocol, training, augment = experiment.protocol, experiment.training, experiment.augment
    ways, parts = (2, protocol.folds) if protocol.kind == "crossed" else (1, protocol.n_folds or protocol.folds)
    share = (1 - 1 / parts) ** ways
    if training.keep == "best":
        share *= (1 - protocol.validation) ** ways
    copies = 0.0 if augment.kind == "none" else (augment.factor - 1) * augment.probability
    n_samples = training.epochs * n_clips * share * (1 + copies)
    return (rates.run_startup_s + n_samples / rates.samples_per_s) / 3600


def _of_training(search: Search, features: Sequence[str], stored_gb: float, kind: Kind) -> Iterator[str]:
    """What has to be known of a training."""
    experiment, room_gb = search.experiment, kind.disk_gb - SYSTEM_GB
    if stored_gb > room_gb:
        yield (
            f"training will not work on {kind.instance_type}: a copy of all features lies on each machine's disk, "
            f"{stored_gb:,.0f} GB of these clips, and it has room for {max(0, room_gb):,.0f} GB; raise VolumeSize"
        )
    if lacking := sorted(set(experiment.data.features) - set(features)):
        yield f"{experiment.name} reads {', '.join(lacking)} as well, which --features leaves out: not counted"
    if experiment.execution.baseline:
        yield "the SVC baseline beside an experiment is not counted: its time grows with the square of the clips"
