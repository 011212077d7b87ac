"""mien cost: what a job will cost on EC2, and what was used. Imports inside: help must load nothing heavy."""

from __future__ import annotations

import inspect
import json as json_
import math
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from tyro.conf import Positional, arg

from mien.cluster.cost.corpora import PUBLISHED
from mien.errors import MienError

if TYPE_CHECKING:
    from mien.cluster.cost.estimate import CorpusSize, Estimate


def cost(
    runs: Annotated[tuple[str, ...], Positional, arg(metavar="RUN")] = (),
    corpus: Annotated[
        str | None, arg(help=f"{', '.join(PUBLISHED)}: its published clips. Else --clips and --mean-seconds.")
    ] = None,
    clips: int | None = None,
    mean_seconds: float | None = None,
    corpus_gb: float | None = None,
    features: tuple[str, ...] | None = None,
    experiment: str | None = None,
    cluster: Path | None = None,
    region: str | None = None,
    prepare_node: str | None = None,
    prepare_nodes: int | None = None,
    train_node: str | None = None,
    train_nodes: int | None = None,
    start_minutes: float = 8.0,
    interruptions: float | None = None,
    months: float = 1.0,
    rates: tuple[Path, ...] = (),
    prices: Path | None = None,
    spot: bool = False,
    node_type: str | None = None,
    json: bool = False,
) -> None:
    """What a job will cost on EC2; of RUNS or stores: what they took. Prices are a dated table, nothing is fetched.

    Args:
        runs: Folders that `mien train` printed, or stores: what they took, instead of an estimate.
        clips: Clips.
        mean_seconds: Their mean length.
        corpus_gb: All media together, for the price of keeping them in S3.
        features: To be extracted; by default egemaps.
        experiment: A script of experiments/, or an experiment.json or search.json: its folds, seeds, epochs, trials.
        cluster: Kinds of nodes, limits and idle time from this file; by default cluster.yaml where there is one.
        region: us-east-1 or eu-central-1; by default the cluster file's, else us-east-1.
        prepare_node: Kind of node of the cluster file, or an instance type, that extracts.
        prepare_nodes: How many; by default as many as the cluster file allows.
        train_node: The same for training; by default the one that extracts.
        train_nodes: How many.
        start_minutes: From asking for a node until it works: boot and set-up.
        interruptions: Of a spot machine, an hour; by default by Amazon's band for its type, which is of calm months.
        months: How long media and features are kept in S3.
        rates: Measured by you: what `mien prepare`, `mien bench extract` or `mien bench train` printed with --json.
        prices: Another table of prices.
        spot: For what was used: price the machines as spot ones.
        node_type: For what was used: the instance type where a run or store does not know it.
        json: Print it as JSON.
    """
    _check_options(locals())
    from dataclasses import asdict

    from mien.cluster.cost.nodes import read_nodes
    from mien.cluster.cost.prices import load_prices

    nodes = read_nodes(cluster)
    table = load_prices(region or nodes.region or "us-east-1", prices, interruptions)
    if runs:
        from mien.cluster.cost.bill import used

        found = used(runs, table, spot=spot, instance_type=node_type)
        if json:
            print(json_.dumps([asdict(row) for row in found], indent=2))
        else:
            _print_used(found, f"prices of {table.date} in {table.region}, {'spot' if spot else 'on demand'}")
        return

    from mien.cluster.cost.estimate import Job, estimate
    from mien.cluster.cost.rates import load_rates
    from mien.experiment.scripts import load_search

    prepare = nodes.fleet(prepare_node, prepare_nodes, table, start_minutes, "--prepare-nodes")
    train = nodes.fleet(train_node or prepare_node, train_nodes, table, start_minutes, "--train-nodes")
    job = Job(
        corpus=_corpus(corpus, clips, mean_seconds, corpus_gb),
        features=("egemaps",) if features is None else features,
        search=load_search(experiment) if experiment else None,
        prepare=prepare,
        train=train,
        head=table.instance(nodes.head.instance_type),
        head_disk_gb=nodes.head.disk_gb,
        months=_not_negative("--months", months),
    )
    found_cost = estimate(job, table, load_rates(rates))
    if json:
        print(json_.dumps({**asdict(found_cost), "total": asdict(found_cost.total)}, indent=2))
    else:
        _print_estimate(found_cost)


# Options that say nothing of what was used, of what is estimated, and of what is estimated without training.
_OF_AN_ESTIMATE = (
    *("corpus", "clips", "mean_seconds", "corpus_gb", "features", "experiment", "prepare_node", "prepare_nodes"),
    *("train_node", "train_nodes", "start_minutes", "interruptions", "months", "rates"),
)
_OF_WHAT_WAS_USED = ("spot", "node_type")
_OF_TRAINING = ("train_node", "train_nodes")


def _check_options(values: dict[str, Any]) -> None:
    """Raises MienError for an option of `cost` that cannot apply beside the others, rather than leave it unheard."""
    defaults = {name: option.default for name, option in inspect.signature(cost).parameters.items()}
    if values["runs"]:
        why = f"is of an estimate, and {values['runs'][0]} was used already; leave one of them out"
        _refuse_given(_OF_AN_ESTIMATE, why, values, defaults)
    else:
        why = "is of what was used; name RUNS or stores with it, or leave it out"
        _refuse_given(_OF_WHAT_WAS_USED, why, values, defaults)
    if values["experiment"] is None:
        _refuse_given(_OF_TRAINING, "trains nothing without --experiment; give one, or leave it out", values, defaults)


def _refuse_given(names: Iterable[str], why: str, values: dict[str, Any], defaults: dict[str, Any]) -> None:
    for name in names:
        if values[name] != defaults[name]:
            raise MienError(f"--{name.replace('_', '-')} {why}")


def _corpus(name: str | None, clips: int | None, mean_s: float | None, n_gb: float | None) -> CorpusSize:
    from mien.cluster.cost.estimate import CorpusSize
    from mien.corpora import cards, load

    n_files = None
    if name is not None:
        load(name)  # an unknown name is refused with the known ones
        card = next((card for card in cards() if card.name == name), None)
        known = PUBLISHED.get(name)
        known_s, n_files, known_gb = (known.clip_s, known.n_files, known.n_gb) if known else (None, None, None)
        clips = card.n_clips if clips is None and card else clips
        mean_s = known_s if mean_s is None else mean_s
        n_gb = known_gb if n_gb is None else n_gb
        lacking = {"--clips": clips, "--mean-seconds": mean_s} | ({"--corpus-gb": n_gb} if known else {})
        if unknown := [option for option, value in lacking.items() if value is None]:
            raise MienError(f"--corpus {name}: not all of its size is published: give {' and '.join(unknown)}")
    if clips is None or mean_s is None:
        raise MienError("say what there is to extract: --corpus ravdess, or --clips 100000 --mean-seconds 3.7")
    if clips < 1:
        raise MienError(f"--clips {clips}: give more than 0")
    if not 0 < mean_s < math.inf:
        raise MienError(f"--mean-seconds {mean_s:g}: give more than 0 and a finite number")
    return CorpusSize(
        n_clips=clips, clip_s=mean_s, n_files=n_files or clips, n_gb=_not_negative("--corpus-gb", n_gb or 0.0)
    )


def _not_negative(option: str, value: float) -> float:
    if not 0 <= value < math.inf:
        raise MienError(f"{option} {value:g}: give 0 or more and a finite number")
    return value


def _print_estimate(found: Estimate) -> None:
    from mien.cli.terminal import OUT, table

    total = found.total
    rows = [
        [
            stage.name,
            stage.nodes,
            _hours(stage.hours),
            f"{stage.on_demand_usd:,.2f}",
            _hours(stage.spot_hours),
            f"{stage.spot_usd:,.2f}",
        ]
        for stage in (*found.stages, total)
    ]
    table(["stage", "machines", "hours", "on demand, $", "hours", "spot, $"], rows)
    lines = [
        f"on demand between ${total.low_usd:,.2f} and ${total.high_usd:,.2f}, as fast or slow as machines may be",
        f"on spot ${total.lost_usd:,.2f} of it are lost to {total.interruptions:,.2g} expected interruptions",
        *found.notes,
    ]
    for line in lines:
        OUT.print(f"- {line}", markup=False, soft_wrap=True)


def _hours(hours: float) -> str:
    return f"{hours:,.2f}" if hours else ""


def _print_used(found: Any, priced: str) -> None:
    from mien.cli.terminal import OUT, table

    def dollars(value: float | None) -> str:
        return "unknown" if value is None else f"{value:,.4f}"

    rows = [
        [
            row.name,
            row.n,
            f"{row.core_hours:.3f}",
            row.instance or "not recorded",
            dollars(row.share_usd),
            dollars(row.alone_usd),
        ]
        for row in found
    ]
    table(["", "n", "core hours", "machine", "its share, $", "alone, $"], rows)
    OUT.print(f"- {priced}, as a table says: nothing was fetched", markup=False, soft_wrap=True)
    OUT.print(
        "- without start-up, idling, head, disks and requests, and without what a killed job had done", markup=False
    )
    if any(row.share_usd is None for row in found):
        OUT.print("- machines that are not recorded have no price: give --node-type c7i.4xlarge", markup=False)
