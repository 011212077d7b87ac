"""Trials, and the directory of a search, readable without ray, torch and tensorflow.

    <storage>/<experiment>/                        a search
        search.json  data.json  chosen.json        what is asked; the data; the winner of each fold
        fold-0/<signature>/                        a trial: one configuration, trained on the fold's training side
            trial.json  history.jsonl  checkpoints/
            inner-1/                               a Run: the same, validated by another part of that side (finalists)
        <signature>/seed-0/fold-0/                 a Series and its Runs: a winner trained again, and tested
        report.html  analysis.json  trials.csv  *.png

A trial never sees the fold's test subjects. Trials of one configuration are one trial, so asking again resumes.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from typing import TYPE_CHECKING, Any, Literal

from mien.errors import ExperimentError, MienError
from mien.experiment import Experiment
from mien.experiment.search import Search
from mien.experiment.target import TargetSpec
from mien.folder import Folder, damaged, sha256, shaped, undamaged
from mien.results.history import is_number, kept_record
from mien.results.metrics import Metric, metric_named
from mien.results.run import HISTORY, Run, Series, declared, numbers, target_in
from mien.results.shapes import Chosen, SearchData

if TYPE_CHECKING:
    import pandas as pd

TRIAL = "trial.json"
CHOSEN, DECLARED = "chosen", "as declared"  # variants that every search tests
State = Literal["running", "done", "pruned", "failed"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Trial:
    """One configuration in one fold.

    number: in the order drawn, from 0. point: path to value. score: of the epoch that would be kept
    (`history.kept_record`), None where it has none; epoch: which one. n_epochs, seconds: trained in all. reason: why it
    ended, in words. started_s, ended_s: seconds since 1970; ended_s is None while it runs. attempts: times that it was
    begun or taken up again. inner_score: of a finalist, mean score over the inner splits of the fold, its own among
    them. history_sha256: of the records of its epochs, once it has ended; "" before, and as an older mien wrote it.
    """

    fold: int
    number: int
    signature: str
    point: dict[str, Any]
    state: State = "running"
    reason: str = ""
    score: float | None = None
    epoch: int = 0
    n_epochs: int = 0
    seconds: float = 0.0
    started_s: float = 0.0
    ended_s: float | None = None
    attempts: int = 1
    inner_score: float | None = None
    history_sha256: str = ""


@dataclass(frozen=True)
class SearchFolder:
    """Where a search lies."""

    folder: Folder
    search: Search

    @classmethod
    def create(cls, search: Search) -> SearchFolder:
        """The folder of a search in its storage; one that is there is taken up again.

        Raises ExperimentError, with the difference, where the same name stands for another search.
        """
        folder = Folder(search.experiment.execution.storage) / search.experiment.name
        if folder.exists("search.json"):
            check_same(declared(Search, folder.read_json("search.json"), folder), search, folder.uri)
        folder.make().sweep()
        folder.write_json("search.json", search.to_json(), sealed=True)
        return cls(folder, search)

    @classmethod
    def open(cls, uri: str) -> SearchFolder:
        """The search at a path; MienError where there is none."""
        folder = Folder(uri)
        if not folder.exists("search.json"):
            raise MienError(f"{folder}: no search here; give the folder that `mien search` printed")
        return cls(folder, declared(Search, folder.read_json("search.json"), folder))

    @property
    def metric(self) -> Metric:
        """The score that trials compete by, and its direction."""
        return metric_named(self.search.experiment.target.primary)

    @property
    def storage(self) -> Folder:
        """Where it lies now."""
        return Folder(self.folder.uri.rsplit("/", 1)[0])

    @property
    def data(self) -> dict[str, Any]:
        """What was read, as in a Series, and `folds`: names of the folds that are searched, by number."""
        data: dict[str, Any] = self.folder.read_json("data.json", SearchData)
        return data

    @property
    def target(self) -> TargetSpec:
        """What its models predict."""
        return target_in(self.folder)

    def run(self, fold: int, signature: str) -> Run:
        """Where a trial's history and checkpoints lie."""
        return Run(self.folder / f"fold-{fold}" / signature, self.search.seed, fold)

    def inner_run(self, fold: int, signature: str, part: int) -> Run:
        """Where a finalist lies as trained on an inner split; the first, 0, is the trial itself."""
        return Run(self.run(fold, signature).folder / f"inner-{part}", self.search.seed, fold)

    def trials(self, fold: int | None = None) -> list[Trial]:
        """Those begun, by fold and number."""
        there = [run.folder for run in self._runs(fold) if run.folder.exists(TRIAL)]
        found = [(read_trial(folder), folder) for folder in there]
        own = [trial for trial, folder in found if trial.signature == folder.name]  # and no copy of one, "(copy)"
        current = [self._with_history(trial) if trial.state == "running" else trial for trial in own]
        return sorted(current, key=lambda trial: (trial.fold, trial.number))

    def _with_history(self, trial: Trial) -> Trial:
        """An unfinished trial as far as it has got: its record is written when it begins and when it ends."""
        history = self.history(trial)
        kept = kept_record(history, keep_of(self.search, trial.point))
        return replace(
            trial,
            score=kept["score"] if kept else None,
            epoch=kept["epoch"] if kept else 0,
            n_epochs=len(history),
            seconds=round(sum(record["seconds"] for record in history), 3),
        )

    def history(self, trial: Trial) -> list[dict[str, Any]]:
        """Its records, one per epoch (`mien.results.history`). Raises DamagedError where it ended, and its record says
        another thing of its score."""
        run = self.run(trial.fold, trial.signature)
        history = run.history()
        if trial.state in ("done", "pruned"):
            own = history[: trial.n_epochs]  # a group of workers may have gone on past the trial's end
            kept = kept_record(own, keep_of(self.search, trial.point))
            reached = (kept["score"], kept["epoch"] if is_number(kept["score"]) else 0) if kept else (None, 0)
            if len(own) != trial.n_epochs or reached != (trial.score, trial.epoch):
                raise damaged(run.folder.path(TRIAL), f"its score is not that of {HISTORY}")
            if trial.history_sha256 not in ("", _hash(own)):
                raise damaged(run.folder.path(HISTORY), f"not as it was when {TRIAL} was written")
        return history

    def write_trial(self, trial: Trial, **changes: Any) -> Trial:
        """Write its record with these changes; that of one that ends holds the hash of its history."""
        changed = replace(trial, **changes)
        if changed.state in ("done", "pruned") and not changed.history_sha256:
            records = self.run(trial.fold, trial.signature).history()[: changed.n_epochs]
            changed = replace(changed, history_sha256=_hash(records))
        self.run(trial.fold, trial.signature).folder.write_json(TRIAL, asdict(changed), sealed=True)
        return changed

    def finalists(self, fold: int) -> list[Trial]:
        """The best of a fold's trials by its validation subjects alone, as many as are to compete once more."""
        trials = {trial.signature: trial for trial in self.trials(fold)}
        by_score = self.ranked([replace(trial, inner_score=None) for trial in trials.values()])
        return [trials[trial.signature] for trial in by_score[: self.search.finalists]]

    def winner(self, fold: int) -> Trial | None:
        """The best of a fold's trials; pruned and failed ones never win."""
        return next(iter(self.ranked(self.trials(fold))), None)

    def ranked(self, trials: Sequence[Trial]) -> list[Trial]:
        """Those that trained to their end, by the experiment's score; see `ranked`."""
        return ranked(trials, self.metric)

    @property
    def chosen(self) -> dict[str, Any]:
        """What is trained again and tested; empty before the search is over.

        {"variants": {name: {"question": path or "", "value": ..., "signatures": {fold: signature}}}, "seeds": [...]}.
        Variants are "chosen" (the winners), "as declared" (the experiment untouched) and "<path> = <value>".
        signatures name the Series, below this folder, whose run of that fold counts.
        """
        return self.folder.read_json("chosen.json", Chosen) if self.folder.exists("chosen.json") else {}

    def series(self, signature: str) -> Series:
        folder = self.folder / signature
        return Series(folder, declared(Experiment, folder.read_json("experiment.json"), folder))

    def frame(self) -> pd.DataFrame:
        """A row per trial: fold, number, state, score, epoch, n_epochs, seconds, reason, and a column for each path."""
        import pandas as pd

        rows = []
        for trial in self.trials():
            fields = asdict(trial)
            del fields["history_sha256"]
            rows.append(fields | fields.pop("point"))
        return pd.DataFrame(rows)

    def _runs(self, fold: int | None) -> Iterator[Run]:
        for number in numbers(self.folder, "fold-") if fold is None else [fold]:
            for signature in (self.folder / f"fold-{number}").names():
                yield self.run(number, signature)


def ranked(trials: Sequence[Trial], metric: Metric) -> list[Trial]:
    """Those that trained to their end, the best first, of equals the first begun; a score that is NaN is none.

    Finalists come before the others: what they reached was measured on more people.
    """
    done = [trial for trial in trials if trial.state == "done" and is_number(trial.score)]
    return sorted(done, key=lambda trial: (trial.inner_score is None, -metric.key(rank_score(trial)), trial.number))


def rank_score(trial: Trial) -> float | None:
    """What a trial competes with: its mean over the inner splits, or its score where there is one only."""
    return trial.score if trial.inner_score is None else trial.inner_score


def read_trial(folder: Folder) -> Trial:
    """The trial of a folder, which is named after it. Raises DamagedError where its record is not what was written."""
    path = folder.path(TRIAL)
    record = folder.read_json(TRIAL, dict[str, Any])
    if record.keys() - {field.name for field in fields(Trial)}:
        raise MienError(
            f"{path}: has other fields than a trial has now, so an older mien wrote it; give the search another name, "
            "or delete its folder"
        )
    with undamaged(path):
        return Trial(**shaped(record, Trial))


def _hash(records: list[dict[str, Any]]) -> str:
    return sha256(json.dumps(records, sort_keys=True).encode())


def keep_of(search: Search, point: Mapping[str, Any]) -> str:
    """Which epoch of a configuration is kept when it is trained to be tested: "best" or "last"."""
    return str(point.get("training.keep", search.experiment.training.keep))


# More of the same, wider or elsewhere, is the same search: what is done stands.
MAY_CHANGE = ("trials", "finalists", "minutes", "retries", "questions", "mlflow")


def check_same(before: Search, now: Search, where: str) -> None:
    """Raises ExperimentError that names each field in which two searches of one name differ."""
    old, new = _content(before), _content(now)
    differing = [
        f"{key}: {old.get(key, 'absent')} there, {new.get(key, 'absent')} now"
        for key in {**old, **new}
        if old.get(key) != new.get(key)
    ]
    if differing:
        raise ExperimentError(
            f"{where} holds another search of this name ({'; '.join(differing)}); give this one another "
            "--name, or delete that folder"
        )


def _content(search: Search) -> dict[str, Any]:
    """What a search is, field by field."""
    whole = search.to_json()
    experiment = {key: value for key, value in whole.pop("experiment").items() if key not in ("question", "execution")}
    flat: dict[str, Any] = {}
    for name, value in {**{key: value for key, value in whole.items() if key not in MAY_CHANGE}, **experiment}.items():
        flat |= {f"{name}.{key}": item for key, item in value.items()} if isinstance(value, dict) else {name: value}
    return flat
