"""What a script of experiments/ declares, read as `mien train` and `mien search` read it."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

import pytest

from conftest import ROOT
from mien.errors import MienError
from mien.experiment import Experiment
from mien.experiment.scripts import load_experiment, load_search
from mien.experiment.search import Search
from mien.experiment.space import Choice, check_effects, read_space
from mien.families import FAMILIES

SCRIPTS = sorted(
    path
    for path in (ROOT / "experiments").glob("*.py")
    if re.search(r"^(EXPERIMENT|SEARCH) = ", path.read_text(), re.MULTILINE)
)


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.stem)
def test_every_script_declares_what_can_be_run(path: Path, monkeypatch: pytest.MonkeyPatch):
    """Also those that build on another script, which lies in the same folder."""
    monkeypatch.setattr(sys, "path", [entry for entry in sys.path if Path(entry) != ROOT / "experiments"])
    for script in SCRIPTS:
        monkeypatch.delitem(sys.modules, script.stem, raising=False)
    search = load_search(str(path))
    if search.space:
        space = read_space(search.experiment, search.space)
        check_effects(search.experiment, space)
        questions = read_space(search.experiment, search.questions, "questions")
        check_effects(search.experiment, questions, "questions", beside=space)
        assert all(isinstance(question, Choice) for question in questions.values())
        assert search.experiment.name == path.stem.replace("_", "-")
    else:
        assert search == Search(experiment=load_experiment(str(path)))
    assert str(ROOT / "experiments") not in sys.path


def test_each_system_has_a_search():
    """Of its augmentation, its loss, its width and its schedule. mlp is no system; svm is fitted in one pass."""
    pages: dict[str, set[str]] = {}
    for path in SCRIPTS:
        search = load_search(str(path))
        if search.space:
            pages.setdefault(search.experiment.model.family, set()).update(
                field.split(".")[0] for field in search.space
            )
    assert set(pages) == set(FAMILIES) - {"mlp", "svm"}
    assert all(searched == {"augment", "loss", "model", "training"} for searched in pages.values())


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
        ("broken.json", "{", r"broken\.json: not JSON"),
        ("wrong.json", '{"name": "x", "loss": {"gama": 1}}', r"wrong\.json: not an experiment: loss\.gama"),
        (
            "wrong.json",
            '{"experiment": {"name": "x"}, "space": {}, "trials": 0}',
            r"wrong\.json: not a search: .*trials is 0",
        ),
        (
            "value.py",
            "from mien.experiment import *\n\nTrainingConfig(epochs=0)",
            "value.py, line 3: training.epochs is 0",
        ),
        ("field.py", "from mien.experiment import *\nTrainingConfig(epoch=1)", "field.py, line 2: .*'epoch'"),
        ("gone.py", "import no_such_module", "gone.py, line 1: No module named 'no_such_module'"),
        ("name.py", "x = y", "name.py, line 1: name 'y' is not defined"),
        ("cut.py", "x = (", "cut.py: is no Python"),
        ("other.txt", "", "neither a Python script nor a .json file"),
    ],
)
def test_what_is_no_script_is_refused(tmp_path: Path, name: str, text: str | None, message: str):
    if text is not None:
        (tmp_path / name).write_text(text)
    with pytest.raises(MienError, match=message):
        load_search(str(tmp_path / name))


@pytest.mark.parametrize("name", ["search.py", "search.json"])
def test_a_search_is_no_experiment_to_train(tmp_path: Path, name: str):
    search = Search(experiment=Experiment(name="tiny"), space={"loss.gamma": "0 .. 4"})
    script = "from mien.experiment import *\nfrom mien.experiment.search import *\nSEARCH = Search(experiment=Experiment(name='x'))"
    (tmp_path / name).write_text(script if name.endswith(".py") else json.dumps(search.to_json()))
    with pytest.raises(MienError, match=f"{name}: .* a search; give it to `mien search`"):
        load_experiment(str(tmp_path / name))
