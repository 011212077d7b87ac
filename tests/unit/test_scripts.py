"""What a script of experiments/ declares, read as `mien train` and `mien search` read it."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from conftest import ROOT
from mien.errors import MienError
from mien.experiment import Experiment
from mien.experiment.search import Search
from mien.experiment.space import read_space
from mien.scripts import load_experiment, load_search

SCRIPTS = sorted(
    path
    for path in (ROOT / "experiments").glob("*.py")
    if "EXPERIMENT" in path.read_text() or "SEARCH" in path.read_text()
)


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.stem)
def test_every_script_declares_what_can_be_run(path: Path, monkeypatch: pytest.MonkeyPatch):
    """Also those that build on another script, which lies in the same folder."""
    monkeypatch.setattr(sys, "path", [entry for entry in sys.path if Path(entry) != ROOT / "experiments"])
    for name in ("sync_aug", "ravdess_units"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    search = load_search(str(path))
    if search.space:
        read_space(search.experiment, search.space)
        read_space(search.experiment, search.questions, "questions")
    else:
        assert search == Search(experiment=load_experiment(str(path)))
    assert str(ROOT / "experiments") not in sys.path


def test_json_of_an_earlier_run_or_search_is_a_script(tmp_path: Path):
    experiment = Experiment(name="tiny")
    search = Search(experiment=experiment, space={"loss.gamma": "0 .. 4"})
    for name, value in (("experiment", experiment), ("search", search)):
        (tmp_path / f"{name}.json").write_text(json.dumps(value.to_json()))
    assert load_experiment(str(tmp_path / "experiment.json")) == experiment
    assert load_search(str(tmp_path / "search.json")) == search
    assert load_search(str(tmp_path / "experiment.json")) == Search(experiment=experiment)


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("gone.py", None, "no such experiment"),
        ("empty.py", "x = 1", "defines no EXPERIMENT"),
        ("broken.json", "{", "not JSON"),
        ("other.txt", "", "neither a Python script nor a .json file"),
    ],
)
def test_what_is_no_script_is_refused(tmp_path: Path, name: str, text: str | None, message: str):
    if text is not None:
        (tmp_path / name).write_text(text)
    with pytest.raises(MienError, match=message):
        load_search(str(tmp_path / name))
