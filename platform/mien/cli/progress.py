"""What a person sees while long work goes on: prepare, train, search."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from rich.table import Table

from mien.cli.terminal import ERR, Bars, left

if TYPE_CHECKING:
    from mien.features.prepare import PrepareProgress
    from mien.results.run import Run, Series
    from mien.results.search_folder import SearchFolder, Trial
    from mien.training.launch import TrainingEvents
    from mien.training.search.events import SearchEvents

SHOWN_TRIALS = 15


@contextmanager
def preparing(*, enabled: bool = True) -> Iterator[Callable[[PrepareProgress], None]]:
    """How far `prepare` is with each feature."""
    with Bars(enabled=enabled) as bars:
        yield lambda progress: bars.update(progress.feature, progress.n_done, progress.n_clips, rest_of(progress))


def rest_of(progress: PrepareProgress) -> str:
    """
    >>> from mien.features.prepare import PrepareProgress
    >>> rest_of(PrepareProgress(feature="f", n_done=1, n_clips=9, n_rejects=0, clips_per_s=0.5, left_s=16.0))
    'clips, 0 rejects, 0.5 clips/s, 0:00:16 left'
    """
    if progress.left_s is None:
        return "clips, starting workers"
    return f"clips, {progress.n_rejects} rejects, {progress.clips_per_s:.1f} clips/s, {left(progress.left_s)}"


LARGE_BYTES = 10_000_000  # a file that gets a bar of its own while it is loaded


@contextmanager
def loading(*, enabled: bool = True) -> Iterator[_Loading]:
    """How far a download is: files and bytes of all, and each large file that is loaded now."""
    with Bars(enabled=enabled) as bars:
        yield _Loading(bars)


class _Loading:
    """Called from several threads."""

    def __init__(self, bars: Bars) -> None:
        self._bars, self._lock = bars, threading.Lock()
        self._start_s = time.monotonic()
        self._here: dict[str, int] = {}  # bytes of the files that are loaded now
        self._n_new = 0
        self._n_done, self._n_files = 0, 0

    def on_bytes(self, path: str, n_here: int, n_whole: int | None) -> None:
        with self._lock:
            self._n_new += max(0, n_here - self._here.get(path, n_here))
            self._here[path] = n_here
            if n_whole is not None and n_whole >= LARGE_BYTES:
                n_mb = -(-n_whole // 10**6)
                self._bars.update(path, n_mb if n_here >= n_whole else min(n_here // 10**6, n_mb - 1), n_mb, "MB")
                if n_here >= n_whole:
                    self._bars.remove(path)
            if self._n_files:
                self._show()

    def on_file(self, n_done: int, n_files: int) -> None:
        with self._lock:
            self._n_done, self._n_files = n_done, n_files
            self._show()

    def _show(self) -> None:
        per_s = self._n_new / max(1e-3, time.monotonic() - self._start_s)
        rest = f"files, {self._n_new / 1e6:.0f} MB loaded, {per_s / 1e6:.1f} MB/s"
        self._bars.update("files", self._n_done, self._n_files, rest)


@contextmanager
def training_events(*, quiet: bool = False, verbose: bool = False) -> Iterator[TrainingEvents]:
    """Shows what `launch` reports: a bar of epochs in a terminal, a line every ten seconds in a log; a line per run.

    verbose: a line per epoch.
    """
    from mien.training.launch import TrainingEvents

    if quiet:
        yield TrainingEvents()
        return
    with Bars() as bars:
        shown = _Epochs(bars)

        def on_epoch(run: Run, record: Mapping[str, Any]) -> None:
            if shown.has_begun(run) and record["epoch"] > 1:
                bars.line(f"{_named(run)}: goes on at epoch {record['epoch']}")
            shown.epoch(run, record)
            if verbose:
                bars.line(f"{_named(run)}  {epoch_line(record)}")

        def on_run(run: Run, metrics: Mapping[str, Any]) -> None:
            shown.end(run)
            bars.line(f"{_named(run)}: {test_line(metrics)}; {metrics['stopped']}")

        yield TrainingEvents(shown.start, bars.line, on_epoch, on_run)


class _Epochs:
    """The bar of a series: epochs done of those that its runs may have. One that stops early counts as all of its."""

    def __init__(self, bars: Bars) -> None:
        self._bars = bars

    def start(self, series: Series, n_to_do: int, n_runs: int) -> None:
        from mien.families import FAMILIES

        experiment = series.experiment
        self._name, self._n_runs, self._n_done = experiment.name, n_runs, n_runs - n_to_do
        self._is_iterative = FAMILIES[experiment.model.family].is_iterative
        self._of_run = experiment.training.epochs if self._is_iterative else 1
        self._epoch: dict[Run, int] = {}  # of the runs that are trained now
        self._score = ""
        self._bars.line(f"{self._name}: {n_runs} runs, {self._n_done} of them done; {series.folder}")
        if n_to_do:
            self._start_s, self._n_before = time.monotonic(), self._n_epochs
            self._show()

    def has_begun(self, run: Run) -> bool:
        """Whether this is the first that is heard of a run."""
        return run not in self._epoch

    def epoch(self, run: Run, record: Mapping[str, Any]) -> None:
        if run not in self._epoch:  # what an earlier attempt trained took none of this one's time
            self._n_before += record["epoch"] - 1
        self._epoch[run] = record["epoch"]
        self._score = f", {_label(record)} {_digits(record['score'])}" if record["score"] is not None else ""
        self._show()

    def end(self, run: Run) -> None:
        self._epoch.pop(run, None)
        self._n_done += 1
        self._show()

    @property
    def _n_epochs(self) -> int:
        return self._n_done * self._of_run + sum(self._epoch.values())

    def _show(self) -> None:
        n_now, n_all = self._n_epochs, self._n_runs * self._of_run
        n_new = n_now - self._n_before
        rest = "runs"
        if self._is_iterative:
            rest = f"epochs, run {min(self._n_done + 1, self._n_runs)}/{self._n_runs}{self._score}"
        if n_new > 0:
            rest += f", {left((time.monotonic() - self._start_s) / n_new * (n_all - n_now))}"
        self._bars.update(self._name, n_now, n_all, rest)


def _named(run: Run) -> str:
    return f"seed {run.seed} fold {run.fold}"


def epoch_line(record: Mapping[str, Any]) -> str:
    """One epoch in one line of a log."""
    loss, score = _digits(record["train_loss"]), _digits(record["score"])
    return (
        f"epoch {record['epoch']:3d}  loss {loss}  validation {_label(record)} {score}  "
        f"{record['samples_per_s']:.0f} clips/s"
    )


def _label(record: Mapping[str, Any]) -> str:
    from mien.results.metrics import metric_named

    return metric_named(record["score_name"]).label


def _digits(value: float | None) -> str:
    return "undefined" if value is None else f"{value:.4f}"


def test_line(metrics: Mapping[str, Any]) -> str:
    """The test score of a run in words."""
    from mien.results.metrics import METRICS

    scores = metrics.get("test", {})
    for of_kind in METRICS.values():  # the first of a kind is what it is known by
        name, metric = next(iter(of_kind.items()))
        if scores.get(name) is not None:
            return f"test {metric.label} {scores[name]:.4f}"
    return "no test clips"


@contextmanager
def search_events(*, quiet: bool = False) -> Iterator[SearchEvents]:
    """Shows what `search` reports: a live table of the fold's trials in a terminal, a line per trial in a log."""
    from rich.live import Live

    from mien.training.search.events import SearchEvents

    if quiet:
        yield SearchEvents()
        return
    trials: dict[str, Trial] = {}
    with Live(console=ERR, auto_refresh=False, transient=False) as live:

        def on_fold(folder: SearchFolder, split: Any) -> None:
            trials.clear()
            trials.update({trial.signature: trial for trial in folder.trials(split.fold)})
            asked = folder.search
            n_left = asked.trials - sum(trial.state != "running" for trial in trials.values())
            left = f"{max(0, n_left)} of {asked.trials} trials to do"
            ERR.print(f"{asked.experiment.name}, {split.name}: {left}; {folder.folder}", soft_wrap=True)

        def on_trial(trial: Trial) -> None:
            trials[trial.signature] = trial
            if ERR.is_terminal:
                live.update(_trial_table(list(trials.values())), refresh=True)
            elif trial.state != "running":
                ERR.print(_trial_line(trial), soft_wrap=True, markup=False)

        def on_final(run: Any) -> None:
            ERR.print(f"{'/'.join(run.folder.uri.rsplit('/', 3)[1:])}: done")

        def on_run(run: Any, metrics: Mapping[str, Any]) -> None:
            where = run.folder.uri.rsplit("/", 3)[1]
            ERR.print(f"{where} seed {run.seed} fold {run.fold}: {test_line(metrics)}")

        yield SearchEvents(
            on_fold=on_fold,
            on_trial=on_trial,
            on_warning=lambda text: ERR.print(f"warning: {text}", soft_wrap=True),
            on_finals=lambda n: ERR.print(f"training the finalists on other inner splits: {n} runs to do"),
            on_final=on_final,
            on_confirm=lambda n: ERR.print(f"testing the winners: {n} runs to do"),
            on_run=on_run,
        )


def _trial_table(trials: Sequence[Trial]) -> Table:
    """Those that run first, then the others in the order in which they were drawn, newest first."""
    drawn = Table("trial", "state", "epochs", "score", "point", box=None, pad_edge=False, header_style="bold")
    order = sorted(trials, key=lambda trial: (trial.state != "running", -trial.number))
    for trial in order[:SHOWN_TRIALS]:
        drawn.add_row(str(trial.number), trial.state, str(trial.n_epochs), trial_score(trial), trial_point(trial))
    if len(trials) > SHOWN_TRIALS:
        drawn.caption = f"and {len(trials) - SHOWN_TRIALS} more"
    return drawn


def _trial_line(trial: Trial) -> str:
    score = f"validation score {trial_score(trial)}"
    return f"trial {trial.number} {trial.state}: {score}; {trial.reason}; {trial_point(trial)}"


def trial_score(trial: Trial) -> str:
    return "none" if trial.score is None else f"{trial.score:.4f}"


def trial_point(trial: Trial) -> str:
    """Values of a point, numbers to three digits."""
    return ", ".join(f"{k}={v:.3g}" if isinstance(v, float) else f"{k}={v}" for k, v in trial.point.items())
