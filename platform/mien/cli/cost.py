"""mien cost: what a job will cost on EC2, and what was used. Imports inside: help must load nothing heavy."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, arg

from mien.errors import MienError


def cost(
    used: Annotated[tuple[str, ...], Positional, arg(metavar="RUNS")] = (),
    corpus: str | None = None,
    features: tuple[str, ...] = ("egemaps",),
    experiment: str | None = None,
    cluster: Path = Path("cluster.yaml"),
    json: bool = False,
) -> None:
    """What a job will cost on EC2; of RUNS or stores: what they took. Prices are a dated table, nothing is fetched.

    Args:
        used: Folders that `mien train` or `mien search` printed, or stores: what they took, instead of an estimate.
        corpus: ravdess, cremad, ami, mahnob in full; or CLIPSxSECONDS, say 100000x3.7.
        features: To be extracted.
        experiment: A script of experiments/, or an experiment.json or search.json: its folds, seeds, epochs, trials.
        cluster: Node types, limits and idle time from this file.
        json: Print it as JSON.
    """
    from dataclasses import asdict

    from mien.cli.terminal import OUT, print_json, table
    from mien.cluster.aws.cluster_file import read_cluster_file
    from mien.cluster.cost import bill
    from mien.cluster.cost.estimate import NOT_COUNTED, estimate, worker
    from mien.cluster.cost.prices import load_prices
    from mien.cluster.cost.rates import load_rates
    from mien.experiment.scripts import load_search

    if bool(used) == bool(corpus):
        raise MienError("say what: --corpus ravdess for what a job will cost, or RUNS and stores for what they took")
    declared = read_cluster_file(cluster)
    prices = load_prices(declared.provider.region)
    if used:
        rows = bill.used(used, prices, worker(declared).instance_type)
        if json:
            print_json([asdict(row) for row in rows])
            return
        columns = ["", "n", "core hours", "machine", "on demand, $", "spot, $"]
        cells = [
            [row.name, row.n, f"{row.core_hours:.3f}", row.instance + ", assumed" * row.assumed, *_usd(row, 4)]
            for row in rows
        ]
        notes = [f"prices of {prices.date} in {prices.region}", f"the share of the cores in use; {NOT_COUNTED}, idling"]
    else:
        search = load_search(experiment) if experiment else None
        stages, notes = estimate(str(corpus), features, search, declared, prices, load_rates())
        low, high = (sum(getattr(stage, side) for stage in stages) for side in ("low_usd", "high_usd"))
        if json:
            told = {"stages": [asdict(stage) for stage in stages], "low_usd": low, "high_usd": high, "notes": notes}
            print_json(told)
            return
        columns = ["stage", "machines", "hours", "on demand, $", "spot, $"]
        cells = [[stage.name, stage.nodes, f"{stage.hours:,.2f}", *_usd(stage, 2)] for stage in stages]
        notes = [f"all of it on demand: between ${low:,.2f} and ${high:,.2f}", *notes]
    table(columns, cells)
    for note in notes:
        OUT.print(f"- {note}", markup=False, soft_wrap=True)


def _usd(row: object, digits: int) -> list[str]:
    return [f"{getattr(row, market):,.{digits}f}" for market in ("on_demand_usd", "spot_usd")]
