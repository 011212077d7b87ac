"""What was used: hours of cores, and dollars, from what series of runs, searches and stores recorded of themselves.

A run's history holds the seconds of its epochs, its environment.json the machine and the workers; `prepare` notes of
each feature the seconds of its workers. The dollars are for the cores in use, as if others had used the rest of the
machine. Start-up, idling, the head, disks and requests are not in them: for those, and for the truth, see the bill of
your account by the cluster's tags.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from mien.cluster.cost.prices import Prices
from mien.errors import MienError
from mien.features.store import FeatureStore
from mien.folder import Folder
from mien.results.run import Run, Series
from mien.results.search_folder import SearchFolder
from mien.results.shapes import Environment


@dataclass(frozen=True, kw_only=True, slots=True)
class Used:
    """What one thing took. core_hours: of all its workers together. assumed: the machine was not recorded."""

    name: str
    n: int
    core_hours: float
    instance: str
    assumed: bool
    on_demand_usd: float
    spot_usd: float


def used(uris: Sequence[str], prices: Prices, instance_type: str) -> list[Used]:
    """What the series, searches and stores at these places took. instance_type: where they do not know it.

    Raises MienError for a place that is none of these, and for a machine without a price.
    """
    rows = []
    for name, machine, pairs, n in (row for uri in uris for row in _rows(Folder(uri))):
        found = prices.instance(machine or instance_type)
        core_hours = sum(seconds * n_cores for seconds, n_cores in pairs) / 3600
        share = core_hours / found.vcpus
        rows.append(
            Used(
                name=name,
                n=n,
                core_hours=core_hours,
                instance=found.name,
                assumed=not machine,
                on_demand_usd=share * found.on_demand,
                spot_usd=share * found.spot,
            )
        )
    return rows


Row = tuple[str, str, list[tuple[float, int]], int]  # name, machine, seconds and cores, how many


def _rows(folder: Folder) -> Iterator[Row]:
    store = FeatureStore(folder.uri)
    for corpus in (corpora := store.corpora()):
        for spec in store.specs(corpus):
            notes = store.feature_folder(corpus, spec).work()
            pairs = [(note["work_s"], note["n_workers"]) for note in notes]
            name = f"{corpus}, {spec.name}, {'clips' if notes else 'prepared before this was recorded'}"
            yield name, "", pairs, sum(note["n_extracted"] for note in notes)
    for name, runs in () if corpora else _runs(folder):
        by_machine: dict[str, list[tuple[float, int]]] = {}
        for run in (run for run in runs if run.folder.exists("environment.json")):
            environment = run.read_json("environment.json", Environment)
            seconds = sum(record["seconds"] for record in run.history())
            by_machine.setdefault(environment.get("instance_type") or "", []).append((seconds, environment["workers"]))
        yield from ((name, machine, pairs, len(pairs)) for machine, pairs in by_machine.items())


def _runs(folder: Folder) -> Iterator[tuple[str, list[Run]]]:
    """What was trained here: the runs of a series; or the trials of a search, and the runs of its winners."""
    if folder.exists("search.json"):
        search = SearchFolder.open(folder.uri)
        trials = [search.run(trial.fold, trial.signature) for trial in search.trials()]
        yield f"{search.search.experiment.name}, trials", trials
        tested = [Series.open((folder / name).uri) for name in folder.names() if (folder / name).exists("data.json")]
        yield f"{search.search.experiment.name}, runs", [run for series in tested for run in series.runs()]
        return
    try:
        series = Series.open(folder.uri)
    except MienError:
        raise MienError(
            f"{folder}: neither a store nor runs nor a search: give what prepare, train or search printed"
        ) from None
    yield f"{series.experiment.name}, runs", list(series.runs())
