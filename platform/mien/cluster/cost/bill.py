"""What was used: hours of machines, and dollars, from what series of runs and stores recorded of themselves.

A run's history holds the seconds of its epochs, its environment.json the machine and the workers; `prepare` notes of
each feature the seconds of its workers. Neither knows what else ran on the machine, so there are two figures: share, as
if all its other cores had been in use by others, and alone, as if none had. Start-up, idling, the head, disks and
requests are in neither: for those, and for the truth, see the bill of your account by the cluster's tags.
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
    """What one thing took. core_hours: of all its workers together. instance: "" where it is not known, and then there
    are no dollars."""

    name: str
    n: int
    core_hours: float
    instance: str
    share_usd: float | None
    alone_usd: float | None


def used(uris: Sequence[str], prices: Prices, *, spot: bool, instance_type: str | None = None) -> list[Used]:
    """What the series and stores at these places took.

    instance_type: of their machines where they do not know it. Raises MienError for a place that is neither, and for a
    machine without a price.
    """
    rows: list[Used] = []
    for uri in uris:
        rows += _used(Folder(uri), prices, spot, instance_type)
    return rows


def _used(folder: Folder, prices: Prices, spot: bool, instance_type: str | None) -> Iterator[Used]:
    if FeatureStore(folder.uri).corpora():
        yield from _store(folder, prices, spot, instance_type)
        return
    for name, runs in _runs(folder):
        by_machine: dict[str, list[Run]] = {}
        for run in runs:
            if run.folder.exists("environment.json"):
                recorded = run.read_json("environment.json", Environment).get("instance_type")
                by_machine.setdefault(recorded or instance_type or "", []).append(run)
        for machine, some in by_machine.items():
            yield _row(name, len(some), [_run_s(run) for run in some], machine, prices, spot)


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


def _run_s(run: Run) -> tuple[float, int]:
    """Seconds of a run's epochs, and how many workers it had."""
    seconds = sum(record["seconds"] for record in run.history())
    return seconds, run.read_json("environment.json", Environment)["workers"]


def _store(folder: Folder, prices: Prices, spot: bool, instance_type: str | None) -> Iterator[Used]:
    store = FeatureStore(folder.uri)
    for corpus in store.corpora():
        for spec in store.specs(corpus):
            notes = store.feature_folder(corpus, spec).work()
            pairs = [(note["work_s"], note["n_workers"]) for note in notes]
            n_clips = sum(note["n_extracted"] for note in notes)
            name = f"{corpus}, {spec.name}, {'clips' if notes else 'prepared before this was recorded'}"
            yield _row(name, n_clips, pairs, instance_type or "", prices, spot)


def _row(name: str, n: int, pairs: Sequence[tuple[float, int]], machine: str, prices: Prices, spot: bool) -> Used:
    core_hours = sum(seconds * n_cores for seconds, n_cores in pairs) / 3600
    share_usd = alone_usd = None
    if machine:
        found = prices.instance(machine)
        per_h = found.spot if spot else found.on_demand
        share_usd = core_hours / found.vcpus * per_h
        alone_usd = sum(seconds * -(-n_cores // found.vcpus) for seconds, n_cores in pairs) / 3600 * per_h
    return Used(name=name, n=n, core_hours=core_hours, instance=machine, share_usd=share_usd, alone_usd=alone_usd)
