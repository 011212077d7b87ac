"""The quickstart: what it would type is understood, for each system."""

from __future__ import annotations

import re

import pytest

import affect_fusion
import quickstart
from conftest import ROOT
from mien.cli.main import main


@pytest.mark.parametrize("name", quickstart.SYSTEMS)
def test_the_words_of_each_command_are_options_that_it_has(name, tmp_path, capsys):
    sample, *prepares, train = quickstart.commands(tmp_path, name)
    assert sample[0] == "sample"
    assert [step[1] for step in prepares] == list(quickstart.SYSTEMS[name].corpora)
    for step in prepares:
        assert main(step) == 2
        assert "does not exist" in capsys.readouterr().err
    code = affect_fusion.main(train[2:]) if name == "affect_fusion" else main(train)
    said = capsys.readouterr().err
    assert code == 2
    assert "note:" not in said, "a setting that decides nothing"
    assert "has no corpus" in said


def test_every_system_is_a_script_and_the_makefile_names_it():
    makefile = (ROOT / "Makefile").read_text()
    named = re.findall(r"make quickstart SYSTEM=(.+): another system", makefile)[0]
    assert set(re.findall(r"\w+_\w+", named)) | {"sync_aug"} == set(quickstart.SYSTEMS)
    for name in quickstart.SYSTEMS:
        assert (ROOT / "experiments" / f"{name}.py").is_file()
