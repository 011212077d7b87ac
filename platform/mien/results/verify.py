"""verify: whether what trainings and searches left below a folder is what they wrote. Reads every file once.

A finished run is held against the hashes of its DONE, a checkpoint against those of its manifest, a trial against its
own history, and a series against its finished runs and its signature. What `mien report` draws is not looked at.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, NamedTuple

from mien.errors import DamagedError, Finding, MienError
from mien.experiment import Experiment
from mien.experiment.experiment import NOT_LEARNT
from mien.folder import Folder
from mien.results.clips import CLIPS, read_clips
from mien.results.done import DONE, MODEL, read, recorded
from mien.results.run import HISTORY, Run, Series, declared
from mien.results.search_folder import TRIAL, SearchFolder, read_trial
from mien.results.shapes import Metrics

SEARCH = "search.json"


class Verified(NamedTuple):
    """Runs and trials that were looked at, and what was noticed."""

    n_runs: int
    findings: list[Finding]

    @property
    def n_errors(self) -> int:
        return sum(finding.severity == "error" for finding in self.findings)


def verify(folder: Folder, progress: Callable[[int, int], None] = lambda done, total: None) -> Verified:
    """What is wrong with the runs below a folder: a run, a series, a search, or a storage of many.

    Raises MienError where there is none, BucketError where S3 refuses.
    """
    names = list(folder.files())
    runs = _folders_of(names, DONE, "split.json", HISTORY, TRIAL)
    if not runs:
        raise MienError(f"{folder}: no runs here; give a run, or what was given to --storage")
    searches = _folders_of(names, SEARCH)
    series = _folders_of(names, "data.json") - searches
    of_runs = (re.fullmatch(r"(?:(.*)/)?seed-\d+/fold-\d+", name) for name in runs)
    series |= {match[1] or "" for match in of_runs if match}
    found: list[Finding] = []
    for name in sorted(searches):
        found += _of_search(_below(folder, name))
    for name in sorted(series):
        found += _of_series(_below(folder, name))
    for number, name in enumerate(sorted(runs)):
        found += _of_run(_below(folder, name), _names_below(names, name))
        progress(number + 1, len(runs))
    return Verified(len(runs), found)


def _of_run(folder: Folder, names: list[str]) -> Iterator[Finding]:
    run = Run(folder, 0, 0)
    yield from _of_checkpoints(run)
    if not run.is_done:
        yield from _tried(folder.path(HISTORY), run.history)
        if TRIAL not in names:
            yield Finding(
                severity="warning", what="not finished", path=str(folder), detail="the same command goes on with it"
            )
        return
    try:
        hashes = recorded(folder)
    except DamagedError as error:
        yield _damaged(folder.path(DONE), error)
        return
    if not hashes:
        detail = "an older mien finished it, so all that is known is that its files can be read"
        yield Finding(severity="info", what="no hashes were recorded", path=str(folder), detail=detail)
        readers = {HISTORY: run.history, "metrics.json": run.metrics, "predictions.parquet": run.predictions}
        for name, reader in readers.items():
            yield from _tried(folder.path(name), reader)
        yield from _tried(folder.path("split.json"), lambda: run.split)
        return
    for name in hashes:
        yield from _tried(folder.path(name), partial(read, folder, name))
    for name in names:
        if name.startswith(f"{MODEL}/") and name not in hashes:
            yield _unexpected(folder.path(name))


def _of_checkpoints(run: Run) -> Iterator[Finding]:
    folder = run.folder / "checkpoints"
    own = {run.checkpoint_folder(epoch).name: epoch for epoch in run.checkpoint_epochs()}
    for name in folder.names():
        if name not in own:
            yield _unexpected(folder.path(name))
        elif run.checkpoint(own[name]) is None:
            detail = "passed over; what it held is trained again where the run is not finished"
            yield Finding(severity="warning", what="torn checkpoint", path=folder.path(name), detail=detail)


def _of_series(folder: Folder) -> Iterator[Finding]:
    path = folder.path("experiment.json")
    try:
        series = Series(folder, declared(Experiment, folder.read_json("experiment.json"), folder))
    except MienError as error:
        yield _damaged(path, error)
        return
    of_data = list(_tried(folder.path("data.json"), lambda: series.target))
    yield from of_data
    if not of_data:
        yield from _tried(folder.path(CLIPS), lambda: read_clips(series))
    yield from _tried(folder.path("baseline.json"), lambda: series.baseline_named)
    if folder.exists("metrics.json"):
        yield from _tried(folder.path("metrics.json"), lambda: folder.read_json("metrics.json", Metrics))
    for run in series.runs():
        if run.is_done and (trained := _experiment(run)) is not None:
            if _learnt(trained) != _learnt(series.experiment):
                detail = f"other settings than those of {run.label}; copy it here again, or run the same again"
                yield Finding(severity="error", what="altered", path=path, detail=detail)
            break
    is_signature = re.fullmatch("[0-9a-f]{8}", series.signature)
    if not of_data and is_signature and series.experiment.signature(series.data["fingerprints"]) != series.signature:
        detail = "its settings and features have another signature: somebody changed them, or another mien wrote it"
        yield Finding(severity="warning", what="other signature", path=str(folder), detail=detail)


def _of_search(folder: Folder) -> Iterator[Finding]:
    path = folder.path(SEARCH)
    try:
        search = SearchFolder.open(folder.uri)
    except MienError as error:
        yield _damaged(path, error)
        return
    yield from _tried(folder.path("data.json"), lambda: (search.data, search.target))
    yield from _tried(folder.path("chosen.json"), lambda: search.chosen)
    for name in folder.files():
        if re.fullmatch(rf"fold-\d+/[^/]+/{TRIAL}", name):
            yield from _of_trial(search, folder / name.removesuffix(f"/{TRIAL}"))


def _of_trial(search: SearchFolder, folder: Folder) -> Iterator[Finding]:
    path = folder.path(TRIAL)
    try:
        trial = read_trial(folder)
        if trial.signature != folder.name:
            yield _unexpected(str(folder))
        else:
            search.history(trial)
    except MienError as error:
        if str(error).startswith(path):  # of its history is told with the run that it is
            yield _damaged(path, error)


def _tried(path: str, reader: Callable[[], Any]) -> Iterator[Finding]:
    """What a reader says of a file that is not what was written."""
    try:
        reader()
    except MienError as error:
        yield _damaged(path, error)


def _damaged(path: str, error: MienError) -> Finding:
    return Finding(severity="error", what="damaged", path=path, detail=str(error).removeprefix(f"{path}: "))


def _unexpected(path: str) -> Finding:
    return Finding(severity="warning", what="unexpected", path=path, detail="no reader takes it")


def _experiment(run: Run) -> Experiment | None:
    """What a run was trained by; None where that is damaged, which is told with the run."""
    try:
        return declared(Experiment, run.read_json("experiment.json"), run.folder)
    except MienError:
        return None


def _learnt(experiment: Experiment) -> dict[str, Any]:
    return {key: value for key, value in experiment.to_json().items() if key not in NOT_LEARNT}


def _folders_of(names: list[str], *files: str) -> set[str]:
    """Of these names the folders, from where they begin on, that hold one of the files; "" is that place itself."""
    return {folder for name in names for folder, _, file in [name.rpartition("/")] if file in files}


def _names_below(names: list[str], folder: str) -> list[str]:
    return [name.removeprefix(f"{folder}/") for name in names if not folder or name.startswith(f"{folder}/")]


def _below(folder: Folder, name: str) -> Folder:
    return folder / name if name else folder
