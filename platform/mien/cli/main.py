"""The command line. Each command is a function: its annotations and docstring are its help.

Heavy imports stand inside the commands: `mien --help` loads neither ray nor a framework.
"""

from __future__ import annotations

import atexit
import errno
import json
import os
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any, Literal, NoReturn

import tyro

from mien.cli.bench import bench_envelope, bench_prepare, bench_scale, bench_search, bench_svc, bench_train
from mien.cli.cluster import cluster_leftovers, cluster_setup
from mien.cli.cost import cost
from mien.cli.results import cluster_doctor, compare, report, runs_list, runs_pull
from mien.errors import MienError
from mien.experiment import Experiment
from mien.experiment.scripts import load_experiment, load_search
from mien.experiment.search import Search

Positional = tyro.conf.Positional
MISTAKE, OURS, INTERRUPTED = 2, 1, 130  # exit codes: the user's hand, our fault, Ctrl-C
# What a disk refuses is no fault of ours.
MACHINE = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM)


def main(argv: Sequence[str]) -> int:
    """The exit code of a command line."""
    return _guarded(lambda: _dispatch(list(argv)))


def run(declared: Experiment | Search, argv: Sequence[str] | None = None, *, prog: str | None = None) -> None:
    """What a script of experiments/ does: overrides from the command line, train or search, report; then exit."""
    words = list(sys.argv[1:] if argv is None else argv)
    if isinstance(declared, Search):
        leave(_guarded(lambda: _search(declared, words, prog)))
    leave(_guarded(lambda: _train(declared, words, prog)))


def leave(code: int) -> NoReturn:
    """Ends the process with this code.

    Ctrl-C leaves threads of Ray behind in the midst of their work, and the interpreter's own end then met a SIGSEGV now
    and then: after it, whatever wants to be closed is closed, and the rest is left to the system.
    """
    if code == INTERRUPTED:
        atexit._run_exitfuncs()
        with suppress(OSError):  # nobody reads it any more
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)
    sys.exit(code)


def _dispatch(argv: list[str]) -> None:
    if argv[:1] == ["train"] and len(argv) > 1 and not argv[1].startswith("-"):
        _train(load_experiment(argv[1]), argv[2:], f"mien train {argv[1]}")
        return
    if argv[:1] == ["search"] and len(argv) > 1 and not argv[1].startswith("-"):
        _search(load_search(argv[1]), argv[2:], f"mien search {argv[1]}")
        return
    commands, prog, description = COMMANDS, "mien", DESCRIPTION
    if argv and argv[0] in GROUPS:
        prog, description = f"mien {argv[0]}", GROUPS[argv[0]]
        commands = {name.split()[1]: command for name, command in COMMANDS.items() if name.startswith(f"{argv[0]} ")}
        argv = argv[1:]
    if argv == ["--version"]:
        import mien

        print(f"mien {mien.__version__}")
        return
    tyro.extras.subcommand_cli_from_dict(
        commands,
        prog=prog,
        description=description,
        args=argv or ["--help"],
    )


def _guarded(command: Callable[[], None]) -> int:
    """Runs a command; a user's mistake becomes one line on stderr."""
    try:
        command()
        return 0
    except MienError as error:
        print(f"mien: {error}", file=sys.stderr)
        return MISTAKE
    except KeyboardInterrupt:
        print("mien: interrupted; the same command goes on where this one stopped", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:  # `mien corpora | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return OURS
    except OSError as error:
        if error.errno not in MACHINE:
            raise
        where = f"{error.filename}: " if error.filename else ""
        remedy = "make room or give permission, and run the same again"
        print(f"mien: {where}{os.strerror(error.errno)}; {remedy}", file=sys.stderr)
        return MISTAKE


# ---------------------------------------------------------------------- corpora


def corpora(json: bool = False) -> None:
    """What is supported, with licence, access and expected counts.

    Args:
        json: Print it as JSON.
    """
    from dataclasses import asdict

    from mien.corpora import cards as known

    cards = known()
    if json:
        _print_json([asdict(card) for card in cards])
        return
    from mien.cli.terminal import table

    table(
        ["corpus", "clips", "subjects", "labels", "licence", "access"],
        [[c.name, c.n_clips, c.n_subjects, ", ".join(c.label_sources), c.licence, c.access] for c in cards],
    )


def sample(
    directory: Annotated[Path, Positional],
    corpora: tuple[str, ...] = ("ravdess", "cremad"),
    subjects: int = 4,
    seed: int = 0,
) -> None:
    """Write tiny synthetic corpora in the true on-disk layouts, to try everything without a download.

    Args:
        directory: Where; one folder a corpus is made in it.
        corpora: Which.
        subjects: People in each.
        seed: Another seed makes other people and other clips.
    """
    from mien.cli.terminal import bar
    from mien.corpora.sample.write import write_sample

    with bar("synthetic clips") as advance:
        roots = write_sample(directory, corpora=corpora, n_subjects=subjects, seed=seed, on_clip=advance)
    for name, root in roots.items():
        print(f"{name}: {root}")


def verify(corpus: Annotated[str, Positional], root: Annotated[str, Positional], json: bool = False) -> None:
    """Is this download complete and intact? Exits 2 where it is not.

    Args:
        corpus: ravdess or cremad.
        root: Folder of the download.
        json: Print the findings as JSON.
    """
    from mien.cli.terminal import bar, verification
    from mien.corpora import load

    module = load(corpus)
    if "://" in root:
        raise MienError(
            f"{root}: verify reads folders of this machine; copy it here first, for example with aws s3 sync"
        )
    with bar("files read", enabled=not json) as advance:
        found = module.verify(Path(root), on_file=advance)
    if json:
        from dataclasses import asdict

        _print_json({**asdict(found), "intact": found.intact})
    else:
        verification(found)
    if not found.intact:
        raise SystemExit(MISTAKE)


# ---------------------------------------------------------------------- features


def prepare(
    corpus: Annotated[str, Positional],
    root: Annotated[str, Positional],
    store: str = "store",
    features: tuple[str, ...] = ("egemaps",),
    facenet_weights: str | None = None,
    facenet_precision: Literal["float32", "bfloat16"] = "float32",
    openface: str | None = None,
    workers: int | None = None,
    limit: int | None = None,
    retry_rejects: bool = False,
    fresh: bool = False,
    json: bool = False,
) -> None:
    """Raw media to features in the store. Asked again, it extracts only what is missing.

    Args:
        corpus: ravdess or cremad.
        root: Folder of the download, or s3://bucket/prefix.
        store: The feature store: a folder or s3://bucket/prefix.
        features: egemaps, egemaps-clip, compare-clip, facenet, openface, openface-clip.
        facenet_weights: For facenet: a file, URL or s3:// of the VGGFace2 weights, or "random" for trials.
        facenet_precision: bfloat16 takes half the time on CPUs that have it, and moves descriptions a little.
        openface: For openface and openface-clip: a folder of OpenFace CSV files, or one table with a row a clip.
        workers: Processes that extract; by default one for each core.
        limit: Only the first so many clips.
        retry_rejects: Try the clips again that were rejected before. Those that lacked a medium and have it now are
            tried anyway.
        fresh: Extract all clips anew: for files that were replaced under the same names, which is not looked for.
        json: Print the summary as JSON.
    """
    from dataclasses import asdict

    from mien.cli.terminal import prepared, preparing
    from mien.features import prepare as features_prepare

    settings: dict[str, dict[str, Any]] = {name: {} for name in features}
    if "facenet" in settings:
        settings["facenet"] = {"weights": facenet_weights, "precision": facenet_precision}
    with preparing() as on_progress:
        summary = features_prepare.prepare(
            corpus,
            root,
            store,
            features=list(settings.items()),
            attach={"openface": openface} if openface else {},
            workers=workers,
            limit=limit,
            retry_rejects=retry_rejects,
            fresh=fresh,
            on_progress=on_progress,
        )
    if json:
        _print_json(asdict(summary))
    else:
        prepared(summary)
    for feature in summary.features:
        if not feature.n_rows:
            where = f"{summary.store}/{corpus}/{feature.folder}/rejects.parquet"
            raise MienError(f"{feature.name}: all {feature.n_rejects} clips were rejected; {where} says why")


# ---------------------------------------------------------------------- experiments


def train(experiment: Annotated[str, Positional], json: bool = False) -> None:
    """Train an experiment and report on it. Any field can be set: mien train EXPERIMENT --help.

    Args:
        experiment: A script of experiments/, or the experiment.json of an earlier run.
        json: Print where the series is and its metrics as JSON.
    """
    # With an EXPERIMENT, _dispatch has taken over before this is reached; here is where its help comes from.
    raise MienError(f"{experiment}: give the experiment first: mien train EXPERIMENT [overrides]")


def search(experiment: Annotated[str, Positional], json: bool = False) -> None:
    """Search fields of an experiment with Ray Tune, nested by subject. All options: mien search EXPERIMENT --help.

    Args:
        experiment: A script of experiments/ with a SEARCH or an EXPERIMENT, or the search.json of an earlier search.
        json: Print where the search is and its analysis as JSON.
    """
    raise MienError(f"{experiment}: give the experiment first: mien search EXPERIMENT [overrides]")


def _overridden(declared: Any, argv: list[str], prog: str | None, description: str) -> Any:
    """An Experiment or a Search with what the command line says of it."""
    config = (tyro.conf.AvoidSubcommands,)
    description = f"{description} Beside the options below, --json prints the results as JSON.".strip()
    try:
        return tyro.cli(type(declared), default=declared, args=argv, prog=prog, description=description, config=config)
    except ValueError as error:  # of a group without a name, execution: tyro tells those of the others itself
        raise MienError(f"{error}; see --help") from None


def _train(experiment: Experiment, argv: list[str], prog: str | None) -> None:
    as_json = "--json" in argv
    chosen = _overridden(experiment, [word for word in argv if word != "--json"], prog, experiment.question)
    from mien.cli.terminal import summaries, training_progress
    from mien.results import report as reports
    from mien.training.launch import launch

    with training_progress(quiet=as_json) as progress:
        series = launch(chosen, progress)
    if (baseline := series.baseline) is not None:
        reports.report(baseline)
    reports.report(series)
    if as_json:
        _print_json({"series": series.folder.uri, "metrics": series.folder.read_json("metrics.json")})
        return
    summaries([series] if baseline is None else [series, baseline])
    print(f"report: {series.folder.path('report.html')}")


def _search(declared: Search, argv: list[str], prog: str | None) -> None:
    as_json = "--json" in argv
    words = [word for word in argv if word != "--json"]
    asked = _overridden(declared, words, prog, declared.experiment.question)
    from mien.cli.terminal import searched, searching
    from mien.results import report as reports
    from mien.training.search.search import search

    with searching(quiet=as_json) as progress:
        folder = search(asked, progress)
    page, *_ = reports.report_search(folder)
    if as_json:
        _print_json({"search": folder.folder.uri, "analysis": folder.folder.read_json("analysis.json")})
        return
    searched(folder)
    print(f"report: {page}")


# ---------------------------------------------------------------------- all of them


def _print_json(value: Any) -> None:
    print(json.dumps(value, indent=2, default=str))


DESCRIPTION = (
    "Experiments in multimodal emotion recognition, from a laptop to a cluster. `mien --version` prints the version."
)
GROUPS = {  # of commands, whose names have two words
    "bench": "Ratios against plain loops, on this machine, in one run; and a model of many nodes.",
    "cluster": "A cluster on EC2: its account, whether its nodes are fit to work, and what is left of it.",
    "runs": "What a storage holds of series and searches, and a copy of it.",
}
COMMANDS: dict[str, Callable[..., None]] = {
    **{
        command.__name__: command
        for command in (corpora, sample, verify, prepare, train, search, report, compare, cost)
    },
    "bench envelope": bench_envelope,
    "bench prepare": bench_prepare,
    "bench search": bench_search,
    "bench train": bench_train,
    "bench scale": bench_scale,
    "bench svc": bench_svc,
    "cluster doctor": cluster_doctor,
    "runs list": runs_list,
    "runs pull": runs_pull,
    "cluster setup": cluster_setup,
    "cluster leftovers": cluster_leftovers,
}
