"""The command line: one parser for all commands. Each command is a function, whose docstring is its help.

Heavy imports stand inside the commands: `mien --help` loads neither ray nor a framework.
"""

from __future__ import annotations

import atexit
import errno
import os
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, NoReturn

import tyro

from mien.cli.bench import (
    bench_extract,
    bench_live,
    bench_predict,
    bench_prepare,
    bench_search,
    bench_svc,
    bench_train,
)
from mien.cli.bench_scale import bench_envelope, bench_scale
from mien.cli.cluster import cluster_doctor, cluster_leftovers, cluster_setup
from mien.cli.corpora import corpora, fetch, sample, verify_command
from mien.cli.cost import cost
from mien.cli.demo import demo
from mien.cli.doctor import doctor
from mien.cli.experiments import search_command, train_command
from mien.cli.export import export
from mien.cli.features import prepare_command
from mien.cli.flags import with_flags
from mien.cli.mistakes import no_such_command, options_of, refused
from mien.cli.overview import completion, overview
from mien.cli.predict import predict_command
from mien.cli.results import compare, report, runs_list, runs_pull, runs_verify
from mien.cli.store import store_verify
from mien.errors import MienError
from mien.experiment import Experiment
from mien.experiment.search import Search

MISTAKE, OURS, INTERRUPTED = 2, 1, 130  # exit codes: the user's hand, our fault, Ctrl-C
# What a disk refuses is no fault of ours.
MACHINE = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM)

Command = Callable[..., None]


def main(argv: Sequence[str]) -> int:
    """The exit code of a command line."""
    words = list(argv)
    return _guarded(lambda: _dispatch(words), words)


def run(declared: Experiment | Search, argv: Sequence[str] | None = None, *, prog: str | None = None) -> None:
    """What a script of experiments/ does: overrides from the command line, train or search, report; then exit."""
    command = search_command(declared) if isinstance(declared, Search) else train_command(declared)
    leave(script(command, sys.argv[1:] if argv is None else argv, prog=prog))


def script(command: Command, argv: Sequence[str], *, prog: str | None = None) -> int:
    """The exit code of a script with one command, whose parameters are its options."""
    words = list(argv)
    return _guarded(lambda: _parsed({"": command}, words, prog or sys.argv[0], ""), words)


def leave(code: int) -> NoReturn:
    """Ends the process with this code.

    Ctrl-C leaves threads of Ray behind in the midst of their work, and the interpreter's own end then met a SIGSEGV now
    and then: after it, what has registered to be closed is closed, and the rest is left to the system.
    """
    if code == INTERRUPTED:
        atexit._run_exitfuncs()
        with suppress(OSError):  # its reader is gone
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)
    sys.exit(code)


def _dispatch(words: list[str]) -> None:
    if words == ["--version"]:
        import mien

        print(f"mien {mien.__version__}")
        return
    if words[:1] in ([], ["--help"], ["-h"]):
        print(overview(DESCRIPTION, commands_for([]), GROUPS))
        raise SystemExit
    if words[0] == "--print-completion":
        options = {name: options_of(command) for name, command in commands_for([]).items()}
        print(completion(" ".join(words[1:]), options, list(GROUPS)))
        return
    commands, prog, description = COMMANDS, "mien", DESCRIPTION
    if words[0] in GROUPS:
        group, *words = words
        prog, description = f"mien {group}", GROUPS[group]
        commands = {name.split()[1]: command for name, command in COMMANDS.items() if name.startswith(f"{group} ")}
    elif words[0] not in commands:
        commands = commands_for(words)
    if words and not words[0].startswith("-") and words[0] not in commands:
        raise no_such_command(words[0], [*commands, *GROUPS] if prog == "mien" else commands, prog)
    _parsed(commands, words or ["--help"], prog, description)


def _parsed(commands: dict[str, Command], words: list[str], prog: str, description: str) -> None:
    """Calls the command that the words name, with what they say of it."""
    config = (tyro.conf.AvoidSubcommands,)
    name = next(iter(words), "") if "" not in commands else ""
    called = f"{prog} {name}".strip()
    try:
        with tyro._errors.on_parse_error(lambda event: refused(event, called, commands[name])):
            if name in commands and not name.startswith("-"):
                # By itself, not as one of all: tyro would build the parsers of all to tell of an option of one.
                tyro.cli(commands[name], prog=called, args=words[bool(name) :], config=config)
            else:
                tyro.extras.subcommand_cli_from_dict(
                    commands, prog=prog, description=description, args=words, config=config
                )
    except ValueError as error:  # raised by a dataclass whose fields have no group of their own: execution
        raise MienError(f"{error}; see {called} --help") from None


def _guarded(command: Callable[[], None], words: Sequence[str]) -> int:
    """Runs a command; a user's mistake becomes one line on stderr, with the flags of the arguments that it names."""
    try:
        command()
        return 0
    except MienError as error:
        print(f"mien: {with_flags(str(error), words)}", file=sys.stderr)
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


DESCRIPTION = (
    "Experiments in multimodal emotion recognition, from a laptop to a cluster. `mien --version` prints the version."
)
GROUPS = {  # of commands, whose names have two words
    "bench": "Ratios against plain loops, on this machine, in one run; and a model of many nodes.",
    "cluster": "A cluster on EC2: its account, whether its nodes are fit to work, and what is left of it.",
    "runs": "What a storage holds of series and searches, whether it is what was written, and a copy of it.",
    "store": "Whether the features that a store holds are what was written.",
}
COMMANDS: dict[str, Command] = {
    **{command.__name__: command for command in (corpora, sample, fetch, report, compare, demo, export, cost, doctor)},
    "bench envelope": bench_envelope,
    "bench extract": bench_extract,
    "bench live": bench_live,
    "bench predict": bench_predict,
    "bench prepare": bench_prepare,
    "bench search": bench_search,
    "bench train": bench_train,
    "bench scale": bench_scale,
    "bench svc": bench_svc,
    "cluster doctor": cluster_doctor,
    "cluster setup": cluster_setup,
    "cluster leftovers": cluster_leftovers,
    "runs list": runs_list,
    "runs pull": runs_pull,
    "runs verify": runs_verify,
    "store verify": store_verify,
}
# Commands whose options depend on their own words: the fields of an experiment, the settings of features and corpora.
MADE: dict[str, Callable[[list[str]], Command]] = {
    "verify": verify_command,
    "prepare": prepare_command,
    "predict": predict_command,
    "train": lambda words: train_command(words),
    "search": lambda words: search_command(words),
}
ORDER = (
    *("corpora", "sample", "fetch", "verify", "prepare", "store", "train", "search"),
    *("report", "compare", "predict", "demo", "export", "runs", "cluster", "cost"),
)


def commands_for(words: Sequence[str]) -> dict[str, Command]:
    """All commands by name, in the order in which they are used; those that depend on their words made for these."""
    mine = list(words[1:])
    made = {name: make(mine if words[:1] == [name] else []) for name, make in MADE.items()}
    every: dict[str, Any] = {**COMMANDS, **made}
    first = {name: number for number, name in enumerate(ORDER)}
    return dict(sorted(every.items(), key=lambda item: first.get(item[0].split()[0], len(first))))
