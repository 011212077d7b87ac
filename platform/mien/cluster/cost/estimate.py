"""What a job will cost: hours and dollars by stage, on demand and on spot machines, before anything is started.

    extraction of a feature = clips / (clips a second of one core x cores), for each feature after the other
    training of a run       = start-up + epochs x samples / (samples a second of one core); a run a core
    search                  = trials x folds runs, less what the pruner saves, then the runs that are tested

Machines come up as `mien.cluster.cost.autoscaling` says, are paid for from their start until idle_minutes after their
work, and on spot take longer by `mien.cluster.cost.interruptions`. The head is on demand in both columns, for as long
as all of it takes.

Cores are taken as equal to the core that the rates were measured on, which is the estimate's largest error: low and
high are a factor of `Rates.uncertainty` away from it, in the work, not in the start-up.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields, replace

import numpy as np

from mien.cluster.cost.autoscaling import finished_s, nodes_up
from mien.cluster.cost.corpora import is_heavy, medium_of
from mien.cluster.cost.interruptions import spot_loss
from mien.cluster.cost.prices import HOURS_OF_A_MONTH, Instance, Prices
from mien.cluster.cost.rates import Rates
from mien.cluster.cost.requests import GETS_OF_A_CLIP, PUTS_OF_A_PART
from mien.data.splits import n_inner_splits
from mien.errors import MienError
from mien.experiment import Experiment
from mien.experiment.search import Search
from mien.features.prepare.tasks import largest_part

OBJECT_STORE_SHARE = 0.3  # of a machine's memory, by Ray's default


@dataclass(frozen=True, kw_only=True, slots=True)
class Fleet:
    """Machines of one kind that work on a stage, which come, and go when they had nothing to do for idle_minutes."""

    instance: Instance
    n_nodes: int
    start_minutes: float
    idle_minutes: float
    upscaling_speed: float
    disk_gb: float


@dataclass(frozen=True, kw_only=True, slots=True)
class CorpusSize:
    """n_files: media files, each of them uploaded by one request. n_gb: of all of them."""

    n_clips: int
    clip_s: float
    n_files: int
    n_gb: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Job:
    """What is asked. search: with an empty space, its experiment alone is trained; None: nothing is. months:
    how long media and features stay in S3."""

    corpus: CorpusSize
    features: tuple[str, ...]
    search: Search | None
    prepare: Fleet
    train: Fleet
    head: Instance
    head_disk_gb: float
    months: float = 1.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Stage:
    """A row of the estimate. hours: of the clock; node_hours: that are paid for, start and idling included. The spot
    columns hold what interruptions add, which is stated apart in lost_usd. low, high: dollars on demand."""

    name: str
    nodes: str
    hours: float = 0.0
    node_hours: float = 0.0
    on_demand_usd: float = 0.0
    low_usd: float = 0.0
    high_usd: float = 0.0
    spot_hours: float = 0.0
    spot_node_hours: float = 0.0
    spot_usd: float = 0.0
    lost_usd: float = 0.0
    interruptions: float = 0.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Estimate:
    """stages, in the order of the job. notes: what it leaves out or takes for granted, for this job."""

    stages: tuple[Stage, ...]
    notes: tuple[str, ...]

    @property
    def total(self) -> Stage:
        """All stages together."""
        numbers = [field.name for field in fields(Stage) if field.name not in ("name", "nodes")]
        return Stage(
            name="all", nodes="", **{name: sum(getattr(stage, name) for stage in self.stages) for name in numbers}
        )


def estimate(job: Job, prices: Prices, rates: Rates) -> Estimate:
    """The cost of a job. Raises MienError for a feature or a family without a rate."""
    preparing, training = list(_prepare(job, rates)), list(_train(job, rates))
    working = [*preparing, *training]
    disks = _disks([(job.prepare, preparing), (job.train, training)], prices)
    stages = (_storage(job, prices, rates), *working, disks, _head(working, job, prices, rates))
    return Estimate(stages=stages, notes=tuple(_notes(job, prices, rates)))


# ------------------------------------------------------------------ stages


def _prepare(job: Job, rates: Rates) -> Iterator[Stage]:
    """Each feature after the other, on all cores; the machines start before the first and idle after the last."""
    corpus, fleet = job.corpus, job.prepare
    for number, feature in enumerate(job.features):
        if feature not in rates.prepare:
            known = ", ".join(rates.prepare)
            raise MienError(
                f"no rate for feature {feature!r}, there are {known}: run `mien prepare --features {feature} "
                "--limit 200 --json` on your clips and give its output as --rates"
            )
        clip_s = rates.prepare[feature].core_s(corpus.clip_s)
        part_h = _part_size(feature, corpus.n_clips) * clip_s / 3600
        yield _working(
            f"prepare {feature}",
            fleet,
            corpus.n_clips * clip_s / fleet.instance.vcpus,
            rates.uncertainty,
            delay_s=rates.actors_startup_s,
            checkpoint_h=part_h,
            is_first=number == 0,
            is_last=number == len(job.features) - 1,
        )


def _train(job: Job, rates: Rates) -> Iterator[Stage]:
    """Runs of one core each, as many at a time as there are cores."""
    if job.search is None:
        return
    search, fleet = job.search, job.train
    experiment = search.experiment
    if experiment.model.family != "lstm_attention" or rates.samples_per_s is None:
        raise MienError(
            f"no rate for training {experiment.model.family}: `mien bench train` measures lstm_attention; leave "
            "--experiment out to estimate extraction alone"
        )
    n_folds = _n_folds(experiment)
    run_s = _run_s(experiment, job.corpus.n_clips, rates)
    epoch_h = run_s / experiment.training.epochs / 3600
    stages: list[tuple[str, int, float]] = []
    n_runs = n_folds * len(experiment.execution.seeds)
    if search.space:
        share = rates.pruned_share if search.pruner != "none" else 1.0
        stages.append((f"search, {search.trials * n_folds} runs", search.trials * n_folds, run_s * share))
        if search.finalists > 1:  # on the other inner splits of the fold
            n_finals = search.finalists * n_folds * (n_inner_splits(experiment.protocol) - 1)
            stages.append((f"finalists, {n_finals} runs", n_finals, run_s))
        n_answers = sum(len(values.split("|")) - 1 for values in search.questions.values())
        n_runs *= 2 + n_answers  # the winner, the experiment as declared, and the other answers to each question
    stages.append((f"train, {n_runs} runs", n_runs, run_s))
    for number, (name, n, seconds) in enumerate(stages):
        n_at_a_time = min(n, fleet.n_nodes * fleet.instance.vcpus)
        n_nodes = -(-n_at_a_time // fleet.instance.vcpus)
        waves = -(-n // n_at_a_time)
        yield _working(
            name,
            replace(fleet, n_nodes=n_nodes),
            waves * seconds * n_nodes,
            rates.uncertainty,
            checkpoint_h=epoch_h,
            is_first=number == 0,
            is_last=number == len(stages) - 1,
        )


def _n_folds(experiment: Experiment) -> int:
    protocol, execution = experiment.protocol, experiment.execution
    if protocol.n_folds is None:
        raise MienError(
            f"{protocol.kind}: its folds are known when the clips are; set protocol.kind by-subject to estimate"
        )
    return len(execution.only_folds) or protocol.n_folds


def _run_s(experiment: Experiment, n_clips: int, rates: Rates) -> float:
    protocol, training = experiment.protocol, experiment.training
    ways, parts = (2, protocol.folds) if protocol.kind == "crossed" else (1, protocol.n_folds or protocol.folds)
    share = (1 - 1 / parts) ** ways
    if training.keep == "best":
        share *= (1 - protocol.validation) ** ways
    augment = experiment.augment
    copies = 0.0 if augment.kind == "none" else (augment.factor - 1) * augment.probability
    assert rates.samples_per_s
    return rates.run_startup_s + training.epochs * n_clips * share * (1 + copies) / rates.samples_per_s


def _working(
    name: str,
    fleet: Fleet,
    node_s: float,
    uncertainty: float,
    *,
    delay_s: float = 0.0,
    checkpoint_h: float,
    is_first: bool,
    is_last: bool,
) -> Stage:
    """A stage of node_s seconds of one machine's work, which each begins delay_s after it is there."""
    machine = fleet.instance
    start_s = 60 * fleet.start_minutes if is_first else 0.0
    launched_s = np.zeros(fleet.n_nodes)
    if is_first:
        launched_s = nodes_up(fleet.n_nodes, start_s=start_s, upscaling_speed=fleet.upscaling_speed) - start_s
    up_s = launched_s + start_s + delay_s

    def paid(work_s: float) -> tuple[float, float]:
        """Hours of the clock and of machines."""
        end_s = finished_s(up_s, work_s)
        stay_s = end_s + (60 * fleet.idle_minutes if is_last else 0)
        return end_s / 3600, float((stay_s - launched_s[launched_s < end_s]).sum()) / 3600

    loss = spot_loss(
        node_s / 3600 / fleet.n_nodes,
        rate_per_h=machine.interruptions_per_h,
        checkpoint_h=checkpoint_h,
        restart_h=fleet.start_minutes / 60,
    )
    hours, node_hours = paid(node_s)
    spot_hours, spot_node_hours = paid(node_s * loss.stretch)
    return Stage(
        name=name,
        nodes=f"{fleet.n_nodes} x {machine.name}",
        hours=hours,
        node_hours=node_hours,
        on_demand_usd=node_hours * machine.on_demand,
        low_usd=paid(node_s / uncertainty)[1] * machine.on_demand,
        high_usd=paid(node_s * uncertainty)[1] * machine.on_demand,
        spot_hours=spot_hours,
        spot_usd=spot_node_hours * machine.spot,
        spot_node_hours=spot_node_hours,
        lost_usd=(spot_node_hours - node_hours) * machine.spot,
        interruptions=loss.interruptions * fleet.n_nodes,
    )


def _part_size(feature: str, n_clips: int) -> int:
    return largest_part(is_heavy(feature), n_clips)


def _storage(job: Job, prices: Prices, rates: Rates) -> Stage:
    """S3: media and features for so many months, and the requests."""
    corpus = job.corpus
    found = [rates.prepare[feature] for feature in job.features if feature in rates.prepare]
    n_gb = corpus.n_gb + sum(rate.n_bytes(corpus.clip_s) for rate in found) * corpus.n_clips / 1e9
    n_puts = corpus.n_files + sum(
        PUTS_OF_A_PART * -(-corpus.n_clips // _part_size(feature, corpus.n_clips)) for feature in job.features
    )
    n_gets = GETS_OF_A_CLIP * corpus.n_clips * len({medium_of(feature) for feature in job.features})
    usd = n_gb * prices.storage_gb_month * job.months
    usd += n_puts / 1000 * prices.put_per_1000 + n_gets / 1000 * prices.get_per_1000
    nodes = f"{n_gb:,.0f} GB, {n_puts + n_gets:,} requests"
    return Stage(name="S3", nodes=nodes, on_demand_usd=usd, low_usd=usd, high_usd=usd, spot_usd=usd)


def _disk_usd_per_h(n_gb: float, prices: Prices) -> float:
    return n_gb * prices.disk_gb_month / HOURS_OF_A_MONTH


def _disks(working: Sequence[tuple[Fleet, Sequence[Stage]]], prices: Prices) -> Stage:
    """The machines' disks, as long as the machines are there."""
    usd = spot_usd = 0.0
    for fleet, stages in working:
        per_h = _disk_usd_per_h(fleet.disk_gb, prices)
        usd += sum(stage.node_hours for stage in stages) * per_h
        spot_usd += sum(stage.spot_node_hours for stage in stages) * per_h
    return Stage(name="disks", nodes="gp3", on_demand_usd=usd, low_usd=usd, high_usd=usd, spot_usd=spot_usd)


def _head(working: Sequence[Stage], job: Job, prices: Prices, rates: Rates) -> Stage:
    """The head and its disk, from the first stage to the last."""
    per_h = job.head.on_demand + _disk_usd_per_h(job.head_disk_gb, prices)
    hours, spot_hours = sum(stage.hours for stage in working), sum(stage.spot_hours for stage in working)
    return Stage(
        name="head",
        nodes=f"1 x {job.head.name}",
        node_hours=hours,
        on_demand_usd=hours * per_h,
        low_usd=hours * per_h / rates.uncertainty,
        high_usd=hours * per_h * rates.uncertainty,
        spot_node_hours=spot_hours,
        spot_usd=spot_hours * per_h,
    )


def _notes(job: Job, prices: Prices, rates: Rates) -> Iterator[str]:
    yield f"prices are those of {prices.date}, as the table says, in {prices.region}: nothing was fetched"
    used = {job.head.name, "s3", "ebs_gp3_gb_month"} | ({job.prepare.instance.name} if job.features else set())
    used |= {job.train.instance.name} if job.search else set()
    if unchecked := sorted(used & set(prices.unchecked)):
        yield f"not looked up, only known approximately: {', '.join(unchecked)}"
    yield (
        f"rates were measured on {rates.machine}; cores elsewhere are taken as equal, and low and high are "
        f"{rates.uncertainty:g} times less and more work"
    )
    for fleet in {id(f): f for f in (job.prepare, job.train)}.values():
        if fleet.instance.gpus and ((fleet is job.prepare and job.features) or (fleet is job.train and job.search)):
            yield f"{fleet.instance.name}: only its {fleet.instance.vcpus} cores are counted, no GPU was measured"
    if any(rate.clip_s is None for name, rate in rates.prepare.items() if name in job.features):
        yield "rates without a length of clips are taken as measured on clips of yours"
    n_gb = sum(rates.prepare[name].n_bytes(job.corpus.clip_s) for name in job.features) * job.corpus.n_clips / 1e9
    shared_gb = OBJECT_STORE_SHARE * job.train.instance.memory_gib * 1.074
    if job.search and n_gb > shared_gb:
        yield (
            f"training will not work on {job.train.instance.name}: all features lie in each machine's object store, "
            f"{n_gb:,.0f} GB of these clips, and it has {shared_gb:,.0f} GB"
        )
    if job.search and (lacking := set(job.search.experiment.data.features) - set(job.features)):
        named = ", ".join(sorted(lacking))
        yield f"{job.search.experiment.name} reads {named} as well, which --features leaves out: not counted"
    if job.search and job.search.experiment.execution.baseline:
        yield "the SVC baseline beside an experiment is not counted: its time grows with the square of the clips"
    if job.search and job.search.experiment.execution.workers:
        yield "runs are taken as one core each (workers 0): how groups of workers scale was not measured on EC2"
