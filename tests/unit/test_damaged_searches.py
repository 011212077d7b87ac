"""Damage of every kind in the folder of a search: what was found stays, or one error names the file and the remedy."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from breaking import flip
from factories import rewrite, search_directory
from mien.cli.main import main
from mien.errors import DamagedError, MienError
from mien.experiment.space import read_space
from mien.folder import Folder
from mien.results.report.search.ablation import read_variants
from mien.results.search_folder import SearchFolder
from mien.results.verify import verify
from mien.training.search.ledger import Ledger

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("whole")
    search_directory(place, n_subjects=6, folds=2, n_trials=3, seeds=(0,), epochs=4)
    return place


@pytest.fixture
def place(whole: Path, tmp_path: Path) -> Path:
    shutil.copytree(whole, tmp_path / "runs")
    return tmp_path / "runs"


def found(place: Path) -> Any:
    """All that the report of a search is made of."""
    folder = SearchFolder.open(str(place / "search"))
    trials = folder.trials()
    tested, missing = read_variants(folder)
    values = {name: one.values.tobytes() for name, one in tested.items()}
    return trials, [folder.history(one) for one in trials], folder.data, folder.target, folder.chosen, values, missing


@pytest.fixture(scope="module")
def reference(whole: Path) -> Any:
    return found(whole)


def without(name: str) -> Callable[[Path], Any]:
    def change(path: Path) -> None:
        lines = [json.loads(line) for line in path.read_text().splitlines()] if path.suffix == ".jsonl" else []
        value = lines[-1] if lines else json.loads(path.read_text())
        del value[name]
        path.write_text("\n".join(map(json.dumps, lines)) if lines else json.dumps(value))

    return change


DAMAGE: dict[str, Callable[[Path], Any]] = {
    "cut": lambda path: path.write_bytes(path.read_bytes()[:-20]),
    "emptied": lambda path: path.write_bytes(b""),
    "{}": lambda path: path.write_text("{}"),
    "[]": lambda path: path.write_text("[]"),
    "gone": Path.unlink,
}
FILES = {
    "search.json": "experiment",
    "data.json": "folds",
    "chosen.json": "seeds",
    "trial.json": "signature",
    "history.jsonl": "score",
}


def file_of(place: Path, name: str) -> Path:
    if name not in ("trial.json", "history.jsonl"):
        return place / "search" / name
    trial = SearchFolder.open(str(place / "search")).ranked(SearchFolder.open(str(place / "search")).trials(0))[0]
    return place / "search" / "fold-0" / trial.signature / name


@pytest.mark.parametrize("damage", [*DAMAGE, "a key less"])
@pytest.mark.parametrize("name", FILES)
def test_a_damaged_file_of_a_search_is_one_error(name: str, damage: str, place: Path, reference: Any) -> None:
    path = file_of(place, name)
    before = path.read_bytes()
    (without(FILES[name]) if damage == "a key less" else DAMAGE[damage])(path)
    if damage == "gone" and name == "search.json":
        with pytest.raises(MienError, match="no search here"):
            found(place)
    elif damage == "gone" and name in ("chosen.json", "trial.json"):  # a search that is not over, a trial not begun
        assert found(place) != reference
    else:
        with pytest.raises(
            DamagedError, match="copy it here again, or delete it, of a finished run or trial with its folder"
        ):
            found(place)
        assert verify(Folder(place)).n_errors
    path.write_bytes(before)
    assert found(place) == reference and not verify(Folder(place)).findings


@pytest.mark.parametrize(
    ("name", "before", "after"),
    [
        ("search.json", '"trials": 3', '"trials": 4'),
        ("data.json", '"n_subjects": 6', '"n_subjects": 7'),
        ("chosen.json", '"question": ""', '"question": "x"'),
        ("trial.json", '"reason": "', '"reason": "x'),
        ("history.jsonl", '"seconds": ', '"seconds": 1'),
    ],
)
def test_a_value_that_was_changed_is_noticed(name: str, before: str, after: str, place: Path) -> None:
    """Though the file can be read, and no score is touched."""
    path = file_of(place, name)
    assert before in path.read_text()
    path.write_text(path.read_text().replace(before, after, 1))
    with pytest.raises(DamagedError, match=rf"{name}: damaged"):
        found(place)


@pytest.mark.soak
@pytest.mark.parametrize("name", FILES)
def test_of_forty_flipped_bits_of_any_file_none_gives_other_numbers(name: str, place: Path, reference: Any) -> None:
    path = file_of(place, name)
    data = path.read_bytes()
    for seed in range(40):
        flip(path, seed)
        with suppress(MienError):
            assert found(place) == reference
        path.write_bytes(data)


def test_a_score_that_its_history_does_not_have_is_not_believed(place: Path) -> None:
    """It would choose another winner."""
    path = file_of(place, "trial.json")
    for changes in ({"score": 2.0}, {"epoch": 1}, {"n_epochs": 99}):
        before = path.read_text()
        rewrite(path, **changes)
        with pytest.raises(DamagedError, match=r"trial\.json: damaged \(its score is not that of history\.jsonl\)"):
            found(place)
        assert [one.path for one in verify(Folder(place)).findings] == [str(path)]
        path.write_text(before)


def test_a_copy_of_a_trial_or_fold_is_passed_over(
    place: Path, reference: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    trial = file_of(place, "trial.json").parent
    for original in (trial, trial.parent):
        shutil.copytree(original, f"{original} (copy)")
    assert found(place) == reference
    assert main(["runs", "list", str(place)]) == 0
    assert {(one.severity, one.what) for one in verify(Folder(place)).findings} == {("warning", "unexpected")}


def test_a_trial_whose_folder_was_deleted_is_drawn_again_under_a_number_of_its_own(place: Path) -> None:
    folder = SearchFolder.open(str(place / "search"))
    first = folder.trials(0)[0]
    shutil.rmtree(folder.run(0, first.signature).folder.uri)
    space = read_space(folder.search.experiment, folder.search.space)
    ledger = Ledger(folder, 0, space, folder.data["fingerprints"], lambda trial: None)
    assert ledger.n_missing == 1
    assert ledger.begin("tune's name") is not None
    assert [trial.number for trial in folder.trials(0)] == [1, 2, 3]
