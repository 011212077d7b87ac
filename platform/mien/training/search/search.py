"""search: which configuration wins, and what the winner is worth on people by whom nothing was chosen.

In each fold of the protocol, trials train on the fold's training subjects and compete on its validation subjects. The
winner alone is trained again, with several seeds, and tested: no choice ever saw a test subject. Where there are
finalists, they compete once more, on all subjects of the training side in turn. What is on disk is
the state (`mien.results.search_folder`), so asking again goes on: finished trials count and teach the sampler,
unfinished ones are taken up from their checkpoints, and the pruner is told all that it had been told.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from mien import connection as cluster
from mien.data.dataset import Dataset, read_dataset
from mien.data.splits import Split
from mien.errors import ExperimentError
from mien.experiment import ExecutionConfig, Experiment
from mien.experiment.search import Search
from mien.experiment.space import Choice, Distribution, read_space, with_point
from mien.families import FAMILIES
from mien.features.store import FeatureStore
from mien.folder import absolute
from mien.results.run import Run
from mien.results.search_folder import CHOSEN, DECLARED, SearchFolder, Trial, keep_of, scored
from mien.training.launch import Job, OnEpoch, Record, open_series, train_jobs
from mien.training.search.sampler import Sampler
from mien.training.search.tune import NO_SCORE, run_trials, trial_experiment

REDRAWS = 200  # draws without a new point after which a space counts as used up


class Progress(NamedTuple):
    """Called while a search runs; each may be left as it is.

    on_fold: before the trials of a fold. on_trial: when one begins, after each epoch, and when it ends. on_finals,
    on_confirm: how many runs are to do on inner splits, and to be tested; on_epoch, on_final and on_run: those.
    """

    on_fold: Callable[[SearchFolder, Split], None] = lambda folder, split: None
    on_trial: Callable[[Trial], None] = lambda trial: None
    on_warning: Callable[[str], None] = lambda text: None
    on_finals: Callable[[int], None] = lambda n_runs: None
    on_final: Callable[[Run], None] = lambda run: None
    on_confirm: Callable[[int], None] = lambda n_runs: None
    on_epoch: OnEpoch = lambda run, record: None
    on_run: Callable[[Run, Record], None] = lambda run, metrics: None


def search(asked: Search, progress: Progress = Progress()) -> SearchFolder:  # noqa: B008 - a tuple
    """Run a search, or what is missing of it; `mien.results.report.report_search` reads the folder that it returns.

    Raises ExperimentError, StoreError or LeakError before anything is trained.
    """
    experiment = asked.experiment
    space = read_space(experiment, asked.space)
    questions = _questions(asked)
    _check(asked, space)
    dataset = read_dataset(FeatureStore(experiment.execution.store), experiment.data)
    splits = _splits(dataset, experiment)
    folder = SearchFolder.create(asked)
    _write_data(folder, dataset, splits)
    execution = experiment.execution
    with cluster.connected(workers=execution.parallel * max(1, execution.workers)) as ray_cluster:
        import ray

        parallel = _concurrency(asked, ray_cluster, progress.on_warning)
        shared = ray.put(dataset)
        for split in splits:
            progress.on_fold(folder, split)
            ledger = Ledger(folder, split.fold, space, dataset.fingerprints, progress.on_trial)
            if ledger.n_missing > 0:
                run_trials(folder, split, shared, ledger, n_trials=ledger.n_missing, parallel=parallel)
        again = dataclasses.replace(
            execution, only_folds=(), baseline=False, parallel=1 if execution.workers else parallel
        )
        _cross_validate(folder, splits, dataset, again, progress)
        _confirm(folder, questions, splits, dataset, again, progress)
    return folder


def load(path: str) -> Any:
    """The trials of a search as a pandas DataFrame, a row each; see SearchFolder.frame. Starts no Ray."""
    return SearchFolder.open(path).frame()


def _questions(asked: Search) -> dict[str, Choice]:
    found: dict[str, Choice] = {}
    if asked.questions:
        for path, distribution in read_space(asked.experiment, asked.questions, "questions").items():
            if not isinstance(distribution, Choice):
                raise ExperimentError(f"questions {path!r}: give the values to compare, such as 'none | sync'")
            found[path] = distribution
    return found


def _check(asked: Search, space: Mapping[str, Distribution]) -> None:
    family = asked.experiment.model.family
    if not FAMILIES[family].iterative:
        raise ExperimentError(
            f"{family} is fitted in one pass and reports no validation UAR to search by: search an iterative family"
        )
    ranges = [path for path, distribution in space.items() if not isinstance(distribution, Choice)]
    if asked.method == "grid" and ranges:
        raise ExperimentError(f"method grid combines lists, and {', '.join(ranges)} is a range: list its values with |")


def _splits(dataset: Dataset, experiment: Experiment) -> list[Split]:
    """The folds that are searched."""
    splits = dataset.splits(experiment.protocol)
    only = experiment.execution.only_folds
    unknown = set(only) - {split.fold for split in splits}
    if unknown:
        raise ExperimentError(f"execution.only_folds names {sorted(unknown)}: there are folds 0 to {len(splits) - 1}")
    return [split for split in splits if not only or split.fold in only]


def _write_data(folder: SearchFolder, dataset: Dataset, splits: Sequence[Split]) -> None:
    """data.json; ExperimentError where the trials that are there were trained on other features."""
    data = {
        **dataset.summary(),
        "store": absolute(folder.search.experiment.execution.store),
        "label_source": folder.search.experiment.data.label_source,
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
    folder.folder.write_json("data.json", data)


def _concurrency(asked: Search, ray_cluster: cluster.Cluster, warn: Callable[[str], None]) -> int:
    """Trials at a time. Those of several workers would wait for each other for ever where not all of one fit."""
    execution = asked.experiment.execution
    workers = max(1, execution.workers)
    fit = ray_cluster.n_cpus // workers
    if not fit:
        raise ExperimentError(
            f"a trial of {workers} workers needs {workers} CPUs and the cluster has {ray_cluster.n_cpus}: "
            "give it fewer workers, or a larger cluster"
        )
    if execution.parallel > fit:
        warn(f"{execution.parallel} trials at a time do not fit {ray_cluster.n_cpus} CPUs: {fit} at a time")
    return min(execution.parallel, fit)


# ---------------------------------------------------------------------- trials


class Ledger:
    """The trials of one fold: drawn, told, and written down, each under its signature."""

    def __init__(
        self,
        folder: SearchFolder,
        fold: int,
        space: Mapping[str, Distribution],
        fingerprints: Mapping[str, str],
        on_trial: Callable[[Trial], None],
    ) -> None:
        self._folder, self._fold = folder, fold
        self._fingerprints, self._on_trial = fingerprints, on_trial
        earlier = folder.trials(fold)
        self._trials = {trial.signature: trial for trial in earlier}
        self._sampler = Sampler(folder.search, space, earlier)
        self._running: dict[str, tuple[str, int]] = {}  # Tune's name of a trial to signature and the sampler's number
        minutes = folder.search.minutes
        self._end_s = _now() + 60 * minutes if minutes else float("inf")

    @property
    def n_missing(self) -> int:
        """Trials that are still to end."""
        return self._folder.search.trials - sum(trial.state != "running" for trial in self._trials.values())

    def begin(self, trial_id: str) -> dict[str, Any] | None:
        """The next point that was not tried before; one that the experiment refuses becomes a failed trial."""
        for _ in range(REDRAWS):
            if (drawn := self._sampler.draw()) is None:
                return None
            number, point = drawn
            signature = self._signature(point)
            if self._take(signature, point):
                self._running[trial_id] = signature, number
                return {"signature": signature, "point": point}
            self._sampler.end(number, "failed", None)
        return None

    def saw(self, trial_id: str, record: Record) -> None:
        """Not written: the trial's own history has it."""
        signature, number = self._running[trial_id]
        self._trials[signature] = dataclasses.replace(self._trials[signature], **_reached(record))
        self._sampler.report(number, record["score"], record["epoch"])
        self._on_trial(self._trials[signature])

    def end(self, trial_id: str, record: Record | None, *, has_failed: bool) -> None:
        signature, number = self._running.pop(trial_id)
        reached = _reached(record) if record else {}
        state, reason = self._ending(record, has_failed)
        trial = self._write(self._trials[signature], state=state, reason=reason, ended_s=_now(), **reached)
        self._sampler.end(number, trial.state, trial.score)

    def _ending(self, record: Record | None, has_failed: bool) -> tuple[str, str]:
        """State and reason of a trial that ended with this record."""
        if has_failed:
            return "failed", f"its process died, or it raised an error, {self._folder.search.retries + 1} times"
        if record is None:
            return "running", "stopped before its first epoch"
        if record["diverged"]:
            return "failed", record["ended"]
        if record["ended"]:
            return "done", record["ended"]
        if _now() >= self._end_s:
            return "running", f"the time was up after epoch {record['epoch']}"
        return "pruned", f"not good enough at epoch {record['epoch']}"

    def _take(self, signature: str, point: Mapping[str, Any]) -> bool:
        """Whether the point is to be trained now: new and possible, or left unfinished by an earlier attempt."""
        known = self._trials.get(signature)
        if known is not None:
            if known.state != "running" or any(signature == taken for taken, _ in self._running.values()):
                return False
            self._write(known, attempts=known.attempts + 1, reason="", ended_s=None)
            return True
        trial = Trial(
            fold=self._fold, number=len(self._trials), signature=signature, point=dict(point), started_s=_now()
        )
        try:
            trial_experiment(self._folder.search, point)
        except ExperimentError as error:
            self._write(trial, state="failed", reason=str(error), ended_s=_now())
            return False
        self._write(trial)
        return True

    def _write(self, trial: Trial, **changes: Any) -> Trial:
        written = self._trials[trial.signature] = self._folder.write_trial(trial, **changes)
        self._on_trial(written)
        return written

    def _signature(self, point: Mapping[str, Any]) -> str:
        text = json.dumps([dict(point), dict(self._fingerprints)], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:8]


def _reached(record: Record) -> dict[str, Any]:
    return {
        "score": None if record["score"] == NO_SCORE else record["score"],
        "epoch": record["best_epoch"],
        "n_epochs": record["epoch"],
        "seconds": record["seconds"],
    }


def _now() -> float:
    return round(time.time(), 3)


# ---------------------------------------------------------------------- finalists, and the winners' tests


def _cross_validate(
    folder: SearchFolder, splits: Sequence[Split], dataset: Dataset, execution: ExecutionConfig, progress: Progress
) -> None:
    """Train the finalists of each fold on its other inner splits, and write down what they reach on all of them.

    One split has few people to validate on, and the best of many trials is the best for those few.
    """
    asked = folder.search
    if asked.finalists == 1:
        return
    finals: list[tuple[Trial, list[Job]]] = []
    for split in splits:
        inner = dataset.inner_splits(split, asked.experiment.protocol)
        for trial in folder.finalists(split.fold):
            experiment = trial_experiment(asked, trial.point)
            runs = [folder.inner_run(split.fold, trial.signature, part) for part in range(1, len(inner))]
            finals.append((trial, [Job(run, experiment, part) for run, part in zip(runs, inner[1:])]))
    to_do = [job for _, jobs in finals for job in jobs if not job.run.is_done]
    if to_do:
        progress.on_finals(len(to_do))
    for run, _ in train_jobs(to_do, dataset, execution, progress.on_epoch):
        progress.on_final(run)
    for trial, jobs in finals:
        keep = keep_of(asked, trial.point)
        reached = [record["validation_uar"] for job in jobs if (record := scored(job.run.history(), keep))]
        is_whole = len(reached) == len(jobs) and trial.score is not None
        folder.write_trial(trial, inner_uar=statistics.fmean([trial.score or 0.0, *reached]) if is_whole else None)


def _confirm(
    folder: SearchFolder,
    questions: Mapping[str, Choice],
    splits: Sequence[Split],
    dataset: Dataset,
    execution: ExecutionConfig,
    progress: Progress,
) -> None:
    """Train and test, on each fold and with several seeds: its winner, the experiment as declared, and its winner with
    each answer to each question. A configuration that is several of these is trained once."""
    asked = folder.search
    variants: dict[str, dict[str, Any]] = {
        CHOSEN: {"question": "", "value": None, "signatures": {}},
        DECLARED: {"question": "", "value": None, "signatures": {}},
    }
    jobs: dict[tuple[str, int, int], Job] = {}
    for split in splits:
        winner = folder.winner(split.fold)
        if winner is None:
            progress.on_warning(f"{split.name}: no trial trained to its end, so there is no winner to test")
            continue
        chosen = with_point(asked.experiment, winner.point)
        wanted = {CHOSEN: chosen, DECLARED: asked.experiment}
        for path, choice in questions.items():
            for value in choice.values:
                name = f"{path} = {value}"
                variants.setdefault(name, {"question": path, "value": value, "signatures": {}})
                wanted[name] = with_point(chosen, {path: value})
        for name, experiment in wanted.items():
            series = open_series(dataclasses.replace(experiment, execution=execution), dataset)
            variants[name]["signatures"][str(split.fold)] = series.signature
            for seed in execution.seeds:
                run = series.run(seed, split.fold)
                jobs[series.signature, seed, split.fold] = Job(run, series.experiment, split)
    to_do = [job for job in jobs.values() if not job.run.is_done]
    progress.on_confirm(len(to_do))
    for run, metrics in train_jobs(to_do, dataset, execution, progress.on_epoch):
        progress.on_run(run, metrics)
    folder.folder.write_json("chosen.json", {"variants": variants, "seeds": list(execution.seeds)})
