"""search: which configuration wins, and what the winner is worth on people who had no part in the choice.

In each fold of the protocol, trials train on the fold's training subjects and compete on its validation subjects. The
winner alone is trained again, with several seeds, and tested: no choice ever saw a test subject. Where there are
finalists, they compete once more, on all subjects of the training side in turn. What is on disk is
the state (`mien.results.search_folder`), so asking again goes on: finished trials count and teach the sampler,
unfinished ones are taken up from their checkpoints, and the pruner is told all that it had been told.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from mien import connection
from mien.capacity import nodes, room
from mien.data.dataset import Dataset, read_dataset
from mien.data.splits import Split
from mien.errors import ExperimentError
from mien.experiment import Experiment
from mien.experiment.search import Search
from mien.experiment.space import Choice, Distribution, check_effects, read_space
from mien.families import FAMILIES
from mien.features.store.store import FeatureStore
from mien.folder import absolute
from mien.results.search_folder import SearchFolder
from mien.training.refusals import check_launch
from mien.training.search.events import SearchEvents
from mien.training.search.finals import confirm, cross_validate
from mien.training.search.ledger import Ledger
from mien.training.search.tune import run_trials
from mien.training.waits import check_can_come, demand


def search(asked: Search, events: SearchEvents = SearchEvents()) -> SearchFolder:  # noqa: B008 - a tuple
    """Run a search, or what is missing of it; `mien.results.report.report_search` reads the folder that it returns.

    Raises ExperimentError, StoreError or LeakError before anything is trained.
    """
    experiment = asked.experiment
    _check_family(experiment.model.family)
    space = read_space(experiment, asked.space)
    check_effects(experiment, space)
    questions = _questions(asked, space)
    _check_method(asked, space)
    dataset = read_dataset(FeatureStore(experiment.execution.store), experiment.data, experiment.target, mapped=True)
    splits = _splits(dataset, experiment)
    folder = SearchFolder.create(asked)
    _write_data(folder, dataset, splits)
    execution = experiment.execution
    with connection.connected(workers=execution.parallel * max(1, execution.workers)):
        import ray

        parallel = _concurrency(asked, events.on_warning)
        shared = ray.put(dataset)
        for split in splits:
            events.on_fold(folder, split)
            ledger = Ledger(folder, split.fold, space, dataset.fingerprints, events.on_trial)
            if ledger.n_missing > 0:
                run_trials(folder, split, shared, ledger, n_trials=ledger.n_missing, parallel=parallel)
        again = dataclasses.replace(
            execution, only_folds=(), baseline=False, parallel=1 if execution.workers else parallel
        )
        cross_validate(folder, splits, dataset, again, events)
        confirm(folder, questions, splits, dataset, again, events)
    return folder


def load(path: str) -> Any:
    """The trials of a search as a pandas DataFrame, a row each; see SearchFolder.frame. Starts no Ray."""
    return SearchFolder.open(path).frame()


def _questions(asked: Search, space: Mapping[str, Distribution]) -> dict[str, Choice]:
    found: dict[str, Choice] = {}
    if asked.questions:
        read = read_space(asked.experiment, asked.questions, "questions")
        check_effects(asked.experiment, read, "questions", beside=space)
        for path, distribution in read.items():
            if not isinstance(distribution, Choice):
                raise ExperimentError(f"questions {path!r}: give the values to compare, such as 'none | sync'")
            found[path] = distribution
    return found


def _check_family(family: str) -> None:
    if not FAMILIES[family].is_iterative:
        raise ExperimentError(
            f"{family} is fitted in one pass and has no validation score to search by: search an iterative family"
        )


def _check_method(asked: Search, space: Mapping[str, Distribution]) -> None:
    ranges = [path for path, distribution in space.items() if not isinstance(distribution, Choice)]
    if asked.method == "grid" and ranges:
        raise ExperimentError(f"method grid combines lists, and {', '.join(ranges)} is a range: list its values with |")


def _splits(dataset: Dataset, experiment: Experiment) -> list[Split]:
    """The folds that are searched."""
    splits = dataset.splits(experiment.protocol)
    check_launch(experiment, dataset, splits)
    only = experiment.execution.only_folds
    return [split for split in splits if not only or split.fold in only]


def _write_data(folder: SearchFolder, dataset: Dataset, splits: Sequence[Split]) -> None:
    """data.json; ExperimentError where the trials that are there were trained on other features."""
    data = {
        **dataset.summary(),
        "store": absolute(folder.search.experiment.execution.store),
        "label_source": folder.search.experiment.target.source,
        "folds": {str(split.fold): split.name for split in splits},
    }
    if folder.folder.exists("data.json"):
        before = folder.data
        if before["fingerprints"] != data["fingerprints"]:
            raise ExperimentError(
                f"{folder.folder}: the features in the store have changed since this search began; give the new one "
                "another --name, or delete that folder"
            )
        data["folds"] = {**before["folds"], **data["folds"]}
    folder.folder.write_json("data.json", data, sealed=True)


def _concurrency(asked: Search, warn: Callable[[str], None]) -> int:
    """Trials at a time. Those of several workers would wait for each other for ever where not all of one fit."""
    execution = asked.experiment.execution
    n_workers = max(1, execution.workers)
    check_can_come(execution, n_workers)
    most = nodes().most(demand(execution))
    fit = execution.parallel if most is None else most // n_workers
    if execution.parallel > fit:
        warn(f"{execution.parallel} trials at a time do not fit: {room(demand(execution))}. {fit} at a time")
    return min(execution.parallel, fit)
