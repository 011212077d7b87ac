"""What a person sees while waiting: tables, bars, and plain lines where the output is a log."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

if TYPE_CHECKING:
    from mien.corpora import Verification
    from mien.features.prepare import Prepared, PrepareProgress
    from mien.results.run import Series
    from mien.results.search_folder import SearchFolder, Trial
    from mien.training.launch import Progress as TrainingProgress
    from mien.training.search.search import Progress as SearchProgress

OUT = Console(highlight=False)
ERR = Console(stderr=True, highlight=False)
LOG_EVERY_S = 10.0  # between two lines of progress where there is no terminal to draw a bar on
LOG_EVERY_EPOCHS = 10


def table(columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    """A plain table on stdout."""
    drawn = Table(*columns, box=None, pad_edge=False, header_style="bold")
    for row in rows:
        drawn.add_row(*map(str, row))
    OUT.print(drawn)


@contextmanager
def bar(what: str, *, enabled: bool = True) -> Iterator[Callable[[int, int], None]]:
    """A bar on stderr; yields a function of (done, total). Lines every ten seconds where there is no terminal."""
    if not enabled:
        yield lambda done, total: None
        return
    if not ERR.is_terminal:
        last_s = time.monotonic()

        def log(done: int, total: int) -> None:
            nonlocal last_s
            if time.monotonic() - last_s > LOG_EVERY_S:
                last_s = time.monotonic()
                ERR.print(f"{what}: {done}/{total}")

        yield log
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=ERR) as progress:
        task = progress.add_task(what, total=None)
        yield lambda done, total: progress.update(task, completed=done, total=total)


def verification(found: Verification) -> None:
    """Counts against the published ones, then what was noticed, worst first."""
    table(
        [found.corpus, "found", "published"],
        [[part, n_found, published] for part, (n_found, published) in found.counts.items()],
    )
    order = {"error": 0, "warning": 1, "info": 2}
    for finding in sorted(found.findings, key=lambda finding: order[finding.severity]):
        OUT.print(f"{finding.severity}: {finding.what}: {finding.path} {finding.detail}".rstrip(), markup=False)
    OUT.print("intact" if found.intact else "NOT intact: see the errors above")


@contextmanager
def preparing() -> Iterator[Callable[[PrepareProgress], None]]:
    """How far `prepare` is: a bar per feature in a terminal, lines every ten seconds elsewhere; on stderr."""
    if not ERR.is_terminal:
        last_s: dict[str, float] = {}

        def log(progress: PrepareProgress) -> None:
            is_end = progress.n_done == progress.n_clips
            if is_end or time.monotonic() - last_s.get(progress.feature, -LOG_EVERY_S) >= LOG_EVERY_S:
                last_s[progress.feature] = time.monotonic()
                line = f"{progress.feature}: {progress.n_done}/{progress.n_clips} clips, {_rest(progress)}"
                ERR.print(line, soft_wrap=True, markup=False)

        yield log
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[rest]}"))
    with Progress(*columns, console=ERR) as bars:
        tasks: dict[str, Any] = {}

        def draw(progress: PrepareProgress) -> None:
            if progress.feature not in tasks:
                tasks[progress.feature] = bars.add_task(progress.feature, total=progress.n_clips, rest="")
            bars.update(tasks[progress.feature], completed=progress.n_done, rest=_rest(progress))

        yield draw


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


def prepared(summary: Prepared) -> None:
    """Rows and rejects of each feature, and why clips were rejected."""
    rows = [
        [feature.name, feature.n_rows, feature.n_rejects, feature.n_extracted, feature.folder]
        for feature in summary.features
    ]
    table([summary.corpus, "rows", "rejects", "extracted now", "in " + summary.store], rows)
    if summary.n_import_rejects:
        OUT.print(f"{summary.n_import_rejects} files became no clip: see {summary.corpus}/rejects.parquet")
    for feature in summary.features:
        for reason, n_clips in sorted(feature.reasons.items(), key=lambda item: -item[1]):
            OUT.print(f"{feature.name}: {n_clips} clips rejected: {reason}", markup=False)
        if feature.n_rejects:
            before = feature.n_rejects - feature.n_rejected
            again = f"; {before} are from before, --retry-rejects tries them again" if before > 0 else ""
            OUT.print(f"{feature.name}: see {summary.corpus}/{feature.folder}/rejects.parquet{again}", soft_wrap=True)


def summaries(found: Sequence[Series]) -> None:
    """The headline of each series, side by side."""
    from mien.results.report import summary_rows

    columns = [dict(summary_rows(series)) for series in found]
    names = dict.fromkeys(name for column in columns for name in column)
    table(
        ["", *(series.experiment.name for series in found)],
        [[name, *(escape(column.get(name, "")) for column in columns)] for name in names],
    )


@contextmanager
def training_progress(*, quiet: bool = False) -> Iterator[TrainingProgress]:
    """What `launch` tells while it trains: a bar in a terminal, a line a run in a log."""
    from mien.training.launch import Progress as Told

    if quiet:
        yield Told()
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, TextColumn("{task.fields[last]}"), console=ERR, disable=not ERR.is_terminal) as progress:
        tasks: dict[str, Any] = {}
        begun: set[Any] = set()

        def on_start(series: Series, to_do: int, in_all: int) -> None:
            ERR.print(
                f"{series.experiment.name}: {in_all} runs, {in_all - to_do} of them done; {series.folder}",
                soft_wrap=True,
            )
            tasks["runs"] = progress.add_task(series.experiment.name, total=in_all, completed=in_all - to_do, last="")

        def on_epoch(run: Any, record: Any) -> None:
            if run not in begun and record["epoch"] > 1:
                ERR.print(f"seed {run.seed} fold {run.fold}: goes on at epoch {record['epoch']}", soft_wrap=True)
            begun.add(run)
            line = f"seed {run.seed} fold {run.fold}  {epoch_line(record)}"
            progress.update(tasks["runs"], last=line)
            if not ERR.is_terminal and record["epoch"] % LOG_EVERY_EPOCHS == 0:
                ERR.print(line, soft_wrap=True)

        def on_run(run: Any, metrics: Any) -> None:
            progress.advance(tasks["runs"])
            uar = metrics["test"]["uar"]
            score = "no test clips" if uar is None else f"test UAR {uar:.4f}"
            ERR.print(f"seed {run.seed} fold {run.fold}: {score}; {metrics['stopped']}", soft_wrap=True)

        yield Told(on_start, on_epoch, on_run)


def epoch_line(record: Mapping[str, Any]) -> str:
    """One epoch in one line of a log."""
    loss, uar = (
        "undefined" if record[key] is None else f"{record[key]:.4f}" for key in ("train_loss", "validation_uar")
    )
    return f"epoch {record['epoch']:3d}  loss {loss}  validation UAR {uar}  {record['samples_per_s']:.0f} clips/s"


@contextmanager
def searching(*, quiet: bool = False) -> Iterator[SearchProgress]:
    """What `search` tells: a live table of the fold's trials in a terminal, a line a trial in a log."""
    from rich.live import Live

    from mien.training.search.search import Progress as Told

    if quiet:
        yield Told()
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

        def on_finals(n_runs: int) -> None:
            ERR.print(f"training the finalists on other inner splits: {n_runs} runs to do")

        def on_confirm(n_runs: int) -> None:
            ERR.print(f"testing the winners: {n_runs} runs to do")

        def on_final(run: Any) -> None:
            ERR.print(f"{'/'.join(run.folder.uri.rsplit('/', 3)[1:])}: done")

        def on_run(run: Any, metrics: Any) -> None:
            uar = metrics["test"]["uar"]
            score = "no test clips" if uar is None else f"test UAR {uar:.4f}"
            ERR.print(f"{run.folder.uri.rsplit('/', 3)[1]} seed {run.seed} fold {run.fold}: {score}")

        def on_warning(text: str) -> None:
            ERR.print(f"warning: {text}", soft_wrap=True)

        yield Told(
            on_fold=on_fold,
            on_trial=on_trial,
            on_warning=on_warning,
            on_finals=on_finals,
            on_final=on_final,
            on_confirm=on_confirm,
            on_run=on_run,
        )


SHOWN_TRIALS = 15
ENDED = ("done", "pruned", "failed")


def _trial_table(trials: Sequence[Trial]) -> Table:
    """Those that run first, then the best of the others."""
    drawn = Table("trial", "state", "epochs", "UAR", "point", box=None, pad_edge=False, header_style="bold")
    order = sorted(trials, key=lambda trial: (trial.state != "running", -(trial.score or 0)))
    for trial in order[:SHOWN_TRIALS]:
        drawn.add_row(str(trial.number), trial.state, str(trial.n_epochs), _score(trial), _point(trial))
    if len(trials) > SHOWN_TRIALS:
        drawn.caption = f"and {len(trials) - SHOWN_TRIALS} more"
    return drawn


def _trial_line(trial: Trial) -> str:
    return f"trial {trial.number} {trial.state}: validation UAR {_score(trial)}; {trial.reason}; {_point(trial)}"


def _score(trial: Trial) -> str:
    return "none" if trial.score is None else f"{trial.score:.4f}"


def _point(trial: Trial) -> str:
    """Values of a point, numbers to three digits."""
    return ", ".join(f"{k}={v:.3g}" if isinstance(v, float) else f"{k}={v}" for k, v in trial.point.items())


def searched(folder: SearchFolder) -> None:
    """A search that was reported: the winner of each fold, by its validation subjects, and what the test says."""
    from mien.results.report import search_rows
    from mien.results.search_folder import rank_score

    rows, won = [], {}
    for fold, name in folder.data["folds"].items():
        trials = folder.trials(int(fold))
        winner = won[name] = folder.winner(int(fold))
        rows.append([name, *(sum(trial.state == state for trial in trials) for state in ENDED)])
        rows[-1] += ["none", ""] if winner is None else [winner.number, f"{rank_score(winner):.4f}"]
    table(["fold", *ENDED, "winner", "its validation UAR (best of all, so optimistic)"], rows)
    for name, winner in won.items():
        if winner is not None:
            OUT.print(f"{name}, trial {winner.number}: {_point(winner)}", soft_wrap=True, markup=False)
    for name, said in search_rows(folder.folder.read_json("analysis.json")):
        OUT.print(f"{name}: {said}", soft_wrap=True, markup=False)
