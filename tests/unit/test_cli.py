"""Words of the command line that are none, or half a command."""

from __future__ import annotations

import pytest

from mien.cli import COMMANDS, GROUPS, main


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
