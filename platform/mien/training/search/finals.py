"""The end of a search: finalists compete once more, and the winners are trained again and tested."""

from __future__ import annotations

import dataclasses
import statistics
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from mien.data.dataset import Dataset
from mien.data.splits import Split
from mien.errors import TrainingError
from mien.experiment import ExecutionConfig
from mien.experiment.space import Choice, with_point
from mien.results.history import kept_record
from mien.results.run import Run
from mien.results.search_folder import CHOSEN, DECLARED, SearchFolder, Trial, keep_of
from mien.training.launch import open_series, parents_of, train_jobs
from mien.training.run_job import RunJob
from mien.training.search.events import SearchEvents
from mien.training.search.tune import trial_experiment


def cross_validate(
    folder: SearchFolder, splits: Sequence[Split], dataset: Dataset, execution: ExecutionConfig, events: SearchEvents
) -> None:
    """Train the finalists of each fold on its other inner splits, and write down what they reach on all of them.

    One split has few people to validate on, and the best of many trials is the best for those few.
    """
    asked = folder.search
    if asked.finalists == 1:
        return
    finals: list[tuple[Trial, list[RunJob]]] = []
    for split in splits:
        inner = dataset.inner_splits(split, asked.experiment.protocol)
        for trial in folder.finalists(split.fold):
            experiment = trial_experiment(asked, trial.point)
            runs = [folder.inner_run(split.fold, trial.signature, part) for part in range(1, len(inner))]
            finals.append((trial, [RunJob(run, experiment, part) for run, part in zip(runs, inner[1:])]))
    to_do = [job for _, jobs in finals for job in jobs if not job.run.is_done]
    if to_do:
        events.on_finals(len(to_do))
    for run, _ in train_jobs(to_do, dataset, execution, events.on_epoch, on_failure=_passed_over(events)):
        events.on_final(run)
    for trial, jobs in finals:
        keep = keep_of(asked, trial.point)
        kept = [kept_record(job.run.history(), keep) for job in jobs if job.run.is_done]
        reached = [record["score"] for record in kept if record and record["score"] is not None]
        is_whole = len(reached) == len(jobs) and trial.score is not None
        folder.write_trial(trial, inner_score=statistics.fmean([trial.score or 0.0, *reached]) if is_whole else None)


def confirm(
    folder: SearchFolder,
    questions: Mapping[str, Choice],
    splits: Sequence[Split],
    dataset: Dataset,
    execution: ExecutionConfig,
    events: SearchEvents,
) -> None:
    """Train and test, on each fold and with several seeds: its winner, the experiment as declared, and its winner with
    each answer to each question. A configuration that is several of these is trained once."""
    asked = folder.search
    variants: dict[str, dict[str, Any]] = {
        CHOSEN: {"question": "", "value": None, "signatures": {}},
        DECLARED: {"question": "", "value": None, "signatures": {}},
    }
    jobs: dict[tuple[str, int, int], RunJob] = {}
    for split in splits:
        winner = folder.winner(split.fold)
        if winner is None:
            events.on_warning(f"{split.name}: no trial trained to its end, so there is no winner to test")
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
                jobs[series.signature, seed, split.fold] = RunJob(
                    run, series.experiment, split, parents_of(series, series.experiment, seed, split.fold)
                )
    to_do = [job for job in jobs.values() if not job.run.is_done]
    events.on_confirm(len(to_do))
    for run, metrics in train_jobs(to_do, dataset, execution, events.on_epoch, on_failure=_passed_over(events)):
        events.on_run(run, metrics)
    folder.folder.write_json("chosen.json", {"variants": variants, "seeds": list(execution.seeds)}, sealed=True)


def _passed_over(events: SearchEvents) -> Callable[[Run, TrainingError], None]:
    """What a run that cannot be trained to its end is to a search: a warning, and a run that the report misses."""
    return lambda run, error: events.on_warning(str(error))
