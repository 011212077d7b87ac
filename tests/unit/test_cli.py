"""Words of the command line that are none, or half a command."""

from __future__ import annotations

import subprocess
import sys

import pytest

from mien.cli import COMMANDS, GROUPS, main
from mien.cluster import search_path


@pytest.mark.parametrize("group", GROUPS)
@pytest.mark.parametrize("rest", [[], ["--help"]])
def test_a_group_lists_its_commands_and_no_others(capsys, group, rest):
    with pytest.raises(SystemExit) as ended:
        main([group, *rest])
    said = capsys.readouterr().out
    assert not ended.value.code
    listed = {line.split("•")[1].strip() for line in said.splitlines() if "•" in line}
    assert {name for name in COMMANDS if any(line.startswith(name) for line in listed)} == {
        name for name in COMMANDS if name.startswith(f"{group} ")
    }


@pytest.mark.parametrize("words", [["nonsense"], ["runs", "pul", "x"], ["cluster", "nonsense"]])
def test_a_wrong_word_is_a_mistake_of_the_user(capsys, words):
    with pytest.raises(SystemExit) as ended:
        main(words)
    assert ended.value.code == 2
    assert words[-1] in capsys.readouterr().err


FRAGILE = """
import atexit, os, signal, sys
from mien import cli
class Thread:
    def __del__(self):  # as the interpreter ends
        os.kill(os.getpid(), signal.SIGSEGV)
left = Thread()
atexit.register(print, "closed")
def command():
    print("flushed")
    if sys.argv[1:]:
        raise KeyboardInterrupt
cli.leave(cli._guarded(command))
"""


@pytest.mark.parametrize(("words", "code"), [(["interrupt"], 130), ([], -11)])
def test_what_would_crash_the_end_of_the_interpreter_is_not_met_after_ctrl_c(words, code):
    command = [sys.executable, "-c", FRAGILE, *words]
    done = subprocess.run(command, env={"PYTHONPATH": search_path()}, capture_output=True, text=True)
    assert (done.returncode, done.stdout.split()) == (code, ["flushed", "closed"])
    assert done.stderr.startswith("mien: interrupted") == bool(words)
