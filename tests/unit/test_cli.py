"""Words of the command line that are none, or half a command."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from conftest import ROOT
from mien.cli import COMMANDS, GROUPS, main

SCRIPT = str(ROOT / "experiments" / "sync_aug.py")


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


def refused(capsys: pytest.CaptureFixture[str], words: Sequence[str], *named: str) -> None:
    """The words end in exit code 2 and one line on stderr that holds all that is named."""
    assert main(words) == 2
    said = capsys.readouterr().err
    assert said.startswith("mien: ") and said.count("\n") == 1, said
    for name in named:
        assert name in said


@pytest.mark.parametrize("command", ["train", "search"])
@pytest.mark.parametrize(
    ("words", "named"),
    [
        (["--seeds"], "execution.seeds is empty"),
        (["--parallel", "0"], "execution.parallel is 0"),
        (["--min-workers", "2"], "execution.min_workers is 2"),
        (["--save-every-s", "-1"], "execution.save_every_s is -1"),
    ],
)
def test_a_wrong_scale_is_refused_by_field_and_value(capsys, command, words, named):
    refused(capsys, [command, SCRIPT, *words], named)
