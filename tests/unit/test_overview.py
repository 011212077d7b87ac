"""mien --help by task, and what a shell completes."""

from __future__ import annotations

import shlex
import subprocess

import pytest

from mien.cli.main import GROUPS, commands_for, main
from mien.cli.overview import EXAMPLES, TASKS, completion, overview


def test_every_command_stands_under_one_task():
    named = [name for names in TASKS.values() for name in names]
    assert len(set(named)) == len(named)
    assert {name.split()[0] for name in commands_for([])} <= set(named)
    said = overview("About.", commands_for([]), GROUPS)
    assert "Further:" not in said and max(map(len, said.splitlines())) < 85
    assert "Further:\n  new" in overview("About.", {"new": test_every_command_stands_under_one_task}, {})


def test_the_examples_are_commands():
    for example, _ in EXAMPLES:
        words = shlex.split(example)
        assert words[0] == "mien" and words[1] in commands_for([])


def completed(words: list[str]) -> list[str]:
    script = completion("bash", {"train": ["--seeds", "--json"], "runs list": ["--json"], "runs pull": []}, ["runs"])
    ask = f'COMP_WORDS=({" ".join(map(shlex.quote, ["mien", *words]))}); COMP_CWORD={len(words)}; _mien; echo "${{COMPREPLY[@]}}"'
    done = subprocess.run(["bash", "-c", f"{script}\n{ask}"], capture_output=True, text=True, check=True)
    return done.stdout.split()


@pytest.mark.parametrize(
    ("words", "wanted"),
    [
        (["tr"], ["train"]),
        ([""], ["train", "runs", "--help", "--version"]),
        (["runs", ""], ["list", "pull"]),
        (["train", "x.py", "--s"], ["--seeds"]),
        (["runs", "list", "--"], ["--json"]),
        (["train", "x"], []),
    ],
)
def test_a_shell_completes_commands_and_options_and_leaves_files_alone(words, wanted):
    assert completed(words) == wanted


@pytest.mark.slow
def test_the_command_prints_a_script_that_a_shell_takes(capsys):
    assert main(["--print-completion", "bash"]) == 0
    script = capsys.readouterr().out
    subprocess.run(["bash", "-n"], input=script, text=True, check=True)
    assert "--clip-limit-mb" in script and "leftovers" in script
    assert main(["--print-completion", "fish"]) == 2
    assert "choose from bash, zsh" in capsys.readouterr().err
