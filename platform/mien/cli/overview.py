"""What there is: `mien --help`, by task, and completion for a shell."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Mapping, Sequence

from mien.errors import MienError

WIDTH = 80
USAGE = "usage: mien COMMAND ... [--help]"
# Commands and groups of them, by what a person wants to do.
TASKS: dict[str, tuple[str, ...]] = {
    "Have recordings": ("corpora", "sample", "fetch", "verify"),
    "Make features of them": ("prepare", "store"),
    "Train, and ask what it is worth": ("train", "search", "report", "compare", "runs"),
    "Use a finished run": ("predict", "demo", "export"),
    "Machines, and what they cost": ("doctor", "cluster", "cost", "bench"),
}
EXAMPLES = (
    ("mien sample corpora", "synthetic recordings, to try all of it"),
    ("mien prepare ravdess corpora/ravdess --features egemaps facenet", "features of voice and face"),
    ("mien train experiments/sync_aug.py --seeds 0 1 2", "folds, seeds, report.html"),
    ("mien predict runs/sync-aug/SIGNATURE recordings/ --out a.csv", "what it makes of new files"),
    ("mien doctor", "is this machine fit to work?"),
)
SHELLS = ("bash", "zsh")


def overview(description: str, commands: Mapping[str, Callable[..., None]], groups: Mapping[str, str]) -> str:
    """All commands by task, each with the first sentence of its help; then examples."""
    told = {name: _first_sentence(command.__doc__ or "") for name, command in commands.items() if " " not in name}
    told |= groups
    lines = [USAGE, "", *textwrap.wrap(description, WIDTH)]
    others = tuple(name for name in told if name not in {name for names in TASKS.values() for name in names})
    for task, names in (TASKS | ({"Further": others} if others else {})).items():
        lines += ["", f"{task}:"]
        for name in names:
            if name in told:
                lines += _entry(name, told[name])
    lines += ["", "Examples:"]
    for command, what in EXAMPLES:
        lines += [f"  {command}", f"      {what}"]
    lines += ["", "mien COMMAND --help tells all of one; mien --version; mien --print-completion bash"]
    return "\n".join(lines)


def _entry(name: str, text: str) -> list[str]:
    return textwrap.wrap(text or "...", WIDTH, initial_indent=f"  {name:<10}", subsequent_indent=" " * 12)


def _first_sentence(text: str) -> str:
    """
    >>> _first_sentence("Is this\\n    intact? More.")
    'Is this intact?'
    """
    flat = " ".join(text.partition("\n\n")[0].split())
    ends = [place for mark in (". ", "? ") if (place := flat.find(mark)) >= 0]
    return flat[: min(ends) + 1] if ends else flat


def completion(shell: str, options: Mapping[str, Sequence[str]], groups: Sequence[str]) -> str:
    """A script for a shell to complete commands and their options by; elsewhere it completes files.

    options: of each command ("train", "runs list"). Raises MienError for another shell.
    """
    if shell not in SHELLS:
        raise MienError(f"print-completion {shell or 'without a shell'}: choose from {', '.join(SHELLS)}")
    first = dict.fromkeys([*(name.split()[0] for name in options), *groups])
    any_group = "|".join(groups)
    lines = [
        f"# for this {shell}: source <(mien --print-completion {shell}); for all: that line in ~/.{shell}rc",
        *(["autoload -U +X compinit bashcompinit && compinit && bashcompinit"] if shell == "zsh" else []),
        "_mien() {",
        "  local word=${COMP_WORDS[COMP_CWORD]} command=${COMP_WORDS[1]} words=",
        "  if [ $COMP_CWORD -eq 1 ]; then",
        f"    words='{' '.join([*first, '--help', '--version'])}'",
        "  else",
        f'    case $command in {any_group}) [ $COMP_CWORD -gt 2 ] && command="$command ${{COMP_WORDS[2]}}";; esac',
        "    case $command in",
    ]
    for group in groups:
        lines += [f"      {group}) words='{' '.join(n.split()[1] for n in options if n.startswith(f'{group} '))}';;"]
    lines += [f"      '{name}') case $word in -*) words='{' '.join(own)}';; esac;;" for name, own in options.items()]
    lines += [
        "    esac",
        "  fi",
        '  COMPREPLY=($(compgen -W "$words" -- "$word"))',
        "}",
        "complete -o default -F _mien mien",
    ]
    return "\n".join(lines)
