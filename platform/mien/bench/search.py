"""Searching beside a plain loop, the memory of two trials beside that of one, and what stopping early saves.

The plain loop is Optuna's own, in one process: the same points in the same order, the same learner on the same clips,
no Ray and nothing kept. Both run one trial at a time on one core; neither stops a trial early.
"""

from __future__ import annotations

import dataclasses
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from mien import connection as cluster
from mien.data.dataset import Dataset, read_dataset
from mien.data.splits import Split
from mien.experiment.search import Search
from mien.experiment.space import read_space
from mien.features.store import FeatureStore
from mien.folder import Folder
from mien.results.run import Run
from mien.results.search_folder import SearchFolder, Trial
from mien.training.loop import Training
from mien.training.search.search import Ledger
from mien.training.search.tune import run_trials, trial_experiment


@dataclass(frozen=True, kw_only=True)
class SearchTiming:
    """Seconds for the same trials. startup_s: of Ray, and until its first trial began; not part of mien_s."""

    n_trials: int
    plain_s: float
    mien_s: float
    startup_s: float

    @property
    def ratio(self) -> float:
        """mien over plain; 1 costs nothing."""
        return self.mien_s / self.plain_s


@dataclass(frozen=True, kw_only=True)
class TrialMemory:
    """dataset_bytes: of all frames. grown_bytes: by how much the memory that is a process's own grew as it read them
    all, the larger of two processes that did so at the same time."""

    dataset_bytes: int
    grown_bytes: int


@dataclass(frozen=True, kw_only=True)
class Saving:
    """The same points with asha and without: summed seconds of training, best validation UAR."""

    n_trials: int
    seconds: tuple[float, float]
    best: tuple[float, float]


def overhead(asked: Search) -> SearchTiming:
    """Time the trials of the first fold that is asked for, their points drawn at random."""
    asked = dataclasses.replace(asked, method="random", pruner="none")
    first: list[float] = []

    def on_trial(trial: Trial) -> None:
        if trial.n_epochs and not first:
            first.append(time.perf_counter() - trial.seconds)

    start_s = time.perf_counter()
    with tempfile.TemporaryDirectory() as storage:
        trials = _trials(asked, storage, parallel=1, on_trial=on_trial)
        end_s = time.perf_counter()
    dataset, split = _fold(asked)
    plain_s = _plain(asked, [trial.point for trial in trials], dataset, split)
    return SearchTiming(n_trials=len(trials), plain_s=plain_s, mien_s=end_s - first[0], startup_s=first[0] - start_s)


def saving(asked: Search) -> Saving:
    """Run the first fold twice over the same points, drawn at random: stopped early by asha, and not at all."""
    seconds, best = [], []
    for pruner in ("asha", "none"):
        with tempfile.TemporaryDirectory() as storage:
            one = dataclasses.replace(asked, method="random", pruner=pruner)
            trials = _trials(one, storage, parallel=asked.experiment.execution.parallel)
        seconds.append(sum(trial.seconds for trial in trials))
        best.append(max(trial.score or 0.0 for trial in trials if trial.state == "done"))
    return Saving(n_trials=asked.trials, seconds=(seconds[0], seconds[1]), best=(best[0], best[1]))


def _fold(asked: Search) -> tuple[Dataset, Split]:
    """The clips, and the first fold that is asked for."""
    execution = asked.experiment.execution
    dataset = read_dataset(FeatureStore(execution.store), asked.experiment.data, asked.experiment.target, mapped=True)
    return dataset, dataset.splits(asked.experiment.protocol)[(execution.only_folds or (0,))[0]]


def _trials(
    asked: Search, storage: str, *, parallel: int, on_trial: Callable[[Trial], None] = lambda trial: None
) -> list[Trial]:
    """The trials of that fold, on an embedded Ray."""
    execution = dataclasses.replace(asked.experiment.execution, storage=storage, parallel=parallel, workers=0)
    asked = dataclasses.replace(asked, experiment=dataclasses.replace(asked.experiment, execution=execution))
    dataset, split = _fold(asked)
    folder = SearchFolder.create(asked)
    with cluster.connected(workers=parallel):
        import ray

        space = read_space(asked.experiment, asked.space)
        ledger = Ledger(folder, split.fold, space, dataset.fingerprints, on_trial)
        run_trials(folder, split, ray.put(dataset), ledger, n_trials=asked.trials, parallel=parallel)
    return folder.trials(split.fold)


def _plain(asked: Search, points: list[dict[str, Any]], dataset: Dataset, split: Split) -> float:
    """Seconds from the first trial on, TensorFlow already imported."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    held = dataclasses.replace(split, test=split.test[:0])

    def objective(trial: Any) -> float:
        experiment = trial_experiment(asked, points[trial.number])
        with tempfile.TemporaryDirectory() as folder:
            training = Training(Run(Folder(folder), asked.seed, split.fold), experiment, dataset, held)
            scores = [record["score"] for record in training.epochs(save_every_s=float("inf"))]
        return max((score for score in scores if score is not None), default=0.0)

    import mien.families.lstm_attention  # noqa: F401 - the import is start-up, not a trial

    study = optuna.create_study(direction="maximize")
    start_s = time.perf_counter()
    study.optimize(objective, n_trials=len(points))
    return time.perf_counter() - start_s


def trial_memory(asked: Search) -> TrialMemory:
    """What it costs a second process to read the clips that the first one reads."""
    dataset = _fold(asked)[0]
    n_bytes = sum(int(column.lengths.sum()) * column.spec.dim * 4 for column in dataset.columns.values())
    with cluster.connected(workers=2):
        import ray

        @ray.remote(num_cpus=1)
        class Reader:
            """As a trial: gets the dataset, keeps it, and looks at every number."""

            def grown(self, shared: list[Any]) -> int:
                before = own_bytes()
                self.dataset = ray.get(shared[0])
                total = 0.0
                for column in self.dataset.columns.values():
                    for row in range(len(self.dataset)):
                        total += float(np.sum(column[row].values, dtype=np.float64))
                assert np.isfinite(total)
                return own_bytes() - before

        shared = ray.put(dataset)
        readers = [Reader.remote() for _ in range(2)]  # type: ignore[attr-defined]
        grown = ray.get([reader.grown.remote([shared]) for reader in readers])
    return TrialMemory(dataset_bytes=n_bytes, grown_bytes=max(grown))


def own_bytes() -> int:
    """Memory of this process that it shares with no other."""
    import psutil

    return int(psutil.Process().memory_full_info().uss)
