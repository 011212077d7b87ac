"""What a person sees while long work goes on: prepare, train, search."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from rich.table import Table

from mien.cli.terminal import ERR, Bars

if TYPE_CHECKING:
    from mien.features.prepare import PrepareProgress
    from mien.results.run import Series
    from mien.results.search_folder import SearchFolder, Trial
    from mien.training.launch import TrainingEvents
    from mien.training.search.events import SearchEvents

LOG_EVERY_EPOCHS = 10
SHOWN_TRIALS = 15


@contextmanager
def preparing(*, enabled: bool = True) -> Iterator[Callable[[PrepareProgress], None]]:
    """How far `prepare` is with each feature."""
    with Bars(enabled=enabled) as bars:
        yield lambda progress: bars.update(progress.feature, progress.n_done, progress.n_clips, _rest(progress))


def _rest(progress: PrepareProgress) -> str:
    """
    >>> from mien.features.prepare import PrepareProgress
    >>> _rest(PrepareProgress(feature="f", n_done=1, n_clips=9, n_rejects=0, clips_per_s=0.5, left_s=100_000.4))
    '0 rejects, 0.5 clips/s, 1 day, 3:46:40 left'
    """
    if progress.left_s is None:
        return "starting workers"
    left = timedelta(seconds=round(progress.left_s))
    return f"{progress.n_rejects} rejects, {progress.clips_per_s:.1f} clips/s, {left} left"


@contextmanager
def training_events(*, quiet: bool = False) -> Iterator[TrainingEvents]:
    """Shows what `launch` reports: a bar of runs in a terminal, a line per run in a log."""
    from mien.training.launch import TrainingEvents

    if quiet:
        yield TrainingEvents()
        return
    with Bars() as bars:
        state: dict[str, Any] = {"name": "", "n_done": 0, "n_runs": 0, "last": ""}
        begun: set[Any] = set()

        def show() -> None:
            if state["n_runs"]:
                bars.update(state["name"], state["n_done"], state["n_runs"], state["last"])

        def on_start(series: Series, n_to_do: int, n_runs: int) -> None:
            state.update(name=series.experiment.name, n_done=n_runs - n_to_do, n_runs=n_runs, last="")
            bars.line(f"{series.experiment.name}: {n_runs} runs, {n_runs - n_to_do} of them done; {series.folder}")
            if n_to_do:
                show()

        def on_epoch(run: Any, record: Mapping[str, Any]) -> None:
            if run not in begun and record["epoch"] > 1:
                bars.line(f"seed {run.seed} fold {run.fold}: goes on at epoch {record['epoch']}")
            begun.add(run)
            state["last"] = f"seed {run.seed} fold {run.fold}  {epoch_line(record)}"
            show()
            if not ERR.is_terminal and record["epoch"] % LOG_EVERY_EPOCHS == 0:
                bars.line(state["last"])

        def on_run(run: Any, metrics: Mapping[str, Any]) -> None:
            state["n_done"] += 1
            show()
            bars.line(f"seed {run.seed} fold {run.fold}: {test_line(metrics)}; {metrics['stopped']}")

        yield TrainingEvents(on_start, bars.line, on_epoch, on_run)


def epoch_line(record: Mapping[str, Any]) -> str:
    """One epoch in one line of a log."""
    from mien.results.metrics import metric_named

    label = metric_named(record["score_name"]).label
    loss, score = ("undefined" if record[key] is None else f"{record[key]:.4f}" for key in ("train_loss", "score"))
    return f"epoch {record['epoch']:3d}  loss {loss}  validation {label} {score}  {record['samples_per_s']:.0f} clips/s"


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
