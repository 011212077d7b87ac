"""mien train and mien search: an experiment and its overrides, trained or searched, and reported."""

from __future__ import annotations

import sys
from collections.abc import Callable, Collection, Sequence
from typing import Annotated, Any

from tyro.conf import Positional, arg

from mien.cli.flags import Quiet, Verbose
from mien.cli.terminal import print_json
from mien.errors import MienError
from mien.experiment import Experiment
from mien.experiment.effects import set_in_vain, setting
from mien.experiment.scripts import load_experiment, load_search
from mien.experiment.search import Search


def train_command(of: Experiment | Sequence[str]) -> Callable[..., None]:
    """`mien train` with the fields of an experiment: one that a script declares, or that of the script that these words
    name."""
    if isinstance(of, Experiment):

        def train_declared(
            experiment: Annotated[Experiment, arg(name="")] = of,
            json: bool = False,
            quiet: Quiet = False,
            verbose: Verbose = False,
        ) -> None:
            _train(experiment, as_json=json, quiet=quiet, verbose=verbose)

        train_declared.__doc__ = (
            f"{of.question}\n\nArgs:\n    json: Print where the series is and its metrics as JSON.\n"
            "    quiet: No progress.\n    verbose: A line per epoch."
        )
        return train_declared
    script = _script(of)
    declared = load_experiment(script) if script else Experiment(name="experiment")

    def train(
        script: Annotated[str, Positional, arg(metavar="SCRIPT")],
        experiment: Annotated[Experiment, arg(name="")] = declared,
        json: bool = False,
        quiet: Quiet = False,
        verbose: Verbose = False,
    ) -> None:
        """Train an experiment and report on it. Every field can be set.

        Args:
            script: A script of experiments/, or the experiment.json of an earlier run.
            json: Print where the series is and its metrics as JSON.
            quiet: No progress.
            verbose: A line per epoch.
        """
        _check_first(script, declared, "train")
        _train(experiment, as_json=json, quiet=quiet, verbose=verbose)

    return train


def search_command(of: Search | Sequence[str]) -> Callable[..., None]:
    """`mien search` with the fields of a search: one that a script declares, or that of the script that these words
    name."""
    if isinstance(of, Search):

        def search_declared(
            asked: Annotated[Search, arg(name="")] = of, json: bool = False, quiet: Quiet = False
        ) -> None:
            _search(asked, as_json=json, quiet=quiet)

        search_declared.__doc__ = (
            f"{of.experiment.question}\n\nArgs:\n    json: Print where the search is and its analysis as JSON.\n"
            "    quiet: No progress."
        )
        return search_declared
    script = _script(of)
    declared = load_search(script) if script else Search(experiment=Experiment(name="experiment"))

    def search(
        script: Annotated[str, Positional, arg(metavar="SCRIPT")],
        asked: Annotated[Search, arg(name="")] = declared,
        json: bool = False,
        quiet: Quiet = False,
    ) -> None:
        """Search fields of an experiment with Ray Tune, nested by subject.

        Args:
            script: A script of experiments/ with a SEARCH or an EXPERIMENT, or the search.json of an earlier search.
            json: Print where the search is and its analysis as JSON.
            quiet: No progress.
        """
        _check_first(script, declared, "search")
        _search(asked, as_json=json, quiet=quiet)

    return search


def _script(words: Sequence[str]) -> str:
    """The first word, unless it is an option: the script stands before its overrides."""
    return words[0] if words and not words[0].startswith("-") else ""


def _check_first(script: str, declared: Any, command: str) -> None:
    """The script's fields are the defaults of all options, so it must be read before they are."""
    name = declared.experiment.name if isinstance(declared, Search) else declared.name
    if name == "experiment":
        raise MienError(f"{script}: give the script first: mien {command} {script} [overrides]")


def _train(experiment: Experiment, *, as_json: bool, quiet: bool, verbose: bool) -> None:
    from mien.cli.progress import training_events
    from mien.cli.summaries import summaries
    from mien.results import report as reports
    from mien.training.launch import launch

    _tell_of_vain_settings(experiment)
    with training_events(quiet=as_json or quiet, verbose=verbose) as events:
        series = launch(experiment, events)
    if (baseline := series.baseline) is not None:
        reports.report(baseline)
    reports.report(series)
    if as_json:
        print_json({"series": series.folder.uri, "metrics": series.folder.read_json("metrics.json")})
        return
    summaries([series] if baseline is None else [series, baseline])
    print(f"report: {series.folder.path('report.html')}")


def _search(asked: Search, *, as_json: bool, quiet: bool) -> None:
    from mien.cli.progress import search_events
    from mien.cli.summaries import searched
    from mien.results import report as reports
    from mien.training.search.search import search

    _tell_of_vain_settings(asked.experiment, searched=asked.space)
    with search_events(quiet=as_json or quiet) as events:
        folder = search(asked, events)
    page, *_ = reports.report_search(folder)
    if as_json:
        print_json({"search": folder.folder.uri, "analysis": folder.folder.read_json("analysis.json")})
        return
    searched(folder)
    print(f"report: {page}")


def _tell_of_vain_settings(experiment: Experiment, searched: Collection[str] = ()) -> None:
    """One line for each setting that somebody has set and that decides nothing; on stderr, as all that is not asked
    for."""
    for path, (value, why) in set_in_vain(experiment).items():
        if path not in map(setting, searched):
            print(f"note: {path} is {value} and has no effect: {why}", file=sys.stderr)
