"""Ledger: the trials of one fold of a search, drawn, followed and written down."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import time
from collections.abc import Callable, Mapping
from typing import Any

from mien.errors import ExperimentError
from mien.experiment.effects import setting, without_effect
from mien.experiment.space import Distribution, Point
from mien.results.history import Record
from mien.results.search_folder import SearchFolder, Trial
from mien.training.search.sampler import Sampler
from mien.training.search.tune import trial_experiment

REDRAWS = 200  # draws without a new point after which a space counts as used up


class Ledger:
    """The trials of one fold, each under its signature."""

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
        if record["failed"]:
            return "failed", record["failed"]
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
        number = 1 + max((trial.number for trial in self._trials.values()), default=-1)  # records may have been deleted
        trial = Trial(fold=self._fold, number=number, signature=signature, point=dict(point), started_s=_now())
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

    def _signature(self, point: Point) -> str:
        """Points that differ only in what has no effect are one trial."""
        try:
            inert = without_effect(trial_experiment(self._folder.search, point))
        except ExperimentError:  # the trial will fail, and say so
            inert = {}
        decides = {path: value for path, value in point.items() if setting(path) not in inert}
        text = json.dumps([decides, dict(self._fingerprints)], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:8]


def _reached(record: Record) -> dict[str, Any]:
    return {
        "score": record["score"] if record["has_score"] else None,
        "epoch": record["best_epoch"],
        "n_epochs": record["epoch"],
        "seconds": record["seconds"],
    }


def _now() -> float:
    return round(time.time(), 3)
