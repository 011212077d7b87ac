"""Damage of every kind in a finished run: the numbers stay, or one error names the file, and what it advises mends it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

import tiny
from breaking import flip
from factories import rewrite
from mien.cli.main import main
from mien.errors import DamagedError
from mien.experiment import DataConfig, ExecutionConfig, Experiment, LossConfig, ProtocolConfig, SvmConfig
from mien.folder import Folder
from mien.predict.recogniser import load_run
from mien.results.report.conditions import read_as_tested
from mien.results.report.summary import summarise
from mien.results.report.tested import read_tested
from mien.results.run import Run, Series
from mien.results.verify import verify
from mien.training.launch import launch

pytestmark = pytest.mark.slow

RUN = "seed-0/fold-1"
CLIPS = tiny.dataset(7)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A place with a store, and a finished series of support vector machines on it."""
    place = tmp_path_factory.mktemp("whole")
    tiny.write_store(str(place / "store"))
    trained(place)
    return place


def trained(place: Path, store: Path | None = None) -> Series:
    """Asked for, or asked for again."""
    return launch(
        Experiment(
            name="damaged",
            data=DataConfig(corpora=("ravdess",), features=("row",)),
            protocol=ProtocolConfig(folds=2),
            loss=LossConfig(kind="cross-entropy"),
            model=SvmConfig(),
            execution=ExecutionConfig(
                store=str((store or place) / "store"), storage=str(place / "runs"), baseline=False
            ),
        )
    )


@pytest.fixture
def place(whole: Path, tmp_path: Path) -> Path:
    shutil.copytree(whole / "runs", tmp_path / "runs")
    return tmp_path


def run_of(place: Path) -> Path:
    (folder,) = (place / "runs" / "damaged").iterdir()
    return folder / RUN


def numbers(place: Path) -> Any:
    """All that reports and comparisons are made of, and what the model predicts."""
    series = Series.open(str(run_of(place)))
    summary = summarise(series, read_tested(series), None)
    assert not summary["incomplete"], "a run that is left out gives other numbers"
    runs = list(series.runs())
    read = [
        (run.metrics(), run.history(), run.predictions().to_pylist(), run.read_json("environment.json")) for run in runs
    ]
    asked = {c: one.values.tolist() for c, one in read_as_tested(series, read_tested(series)).items()}
    with load_run(run_of(place)) as recogniser:
        clips = [{"row": CLIPS.columns["row"][i]} for i in range(len(CLIPS))]
        return summary, read, asked, recogniser.predict(clips).tobytes()


@pytest.fixture(scope="module")
def reference(whole: Path) -> Any:
    return numbers(whole)


def drop_key(path: Path) -> None:
    """Of JSON the last key, of a history the last key of its last record; of other files the last half."""
    data = path.read_bytes()
    try:
        *before, last = data.decode().splitlines() if path.suffix == ".jsonl" else [data.decode()]
        value = json.loads(last)
        value.popitem()
    except ValueError:
        path.write_bytes(data[: len(data) // 2])
    else:
        path.write_text("\n".join([*before, json.dumps(value)]))


DAMAGE: dict[str, Callable[[Path], Any]] = {
    "cut": lambda path: path.write_bytes(path.read_bytes()[:-20]),
    "emptied": lambda path: path.write_bytes(b""),
    "{}": lambda path: path.write_text("{}"),
    "[]": lambda path: path.write_text("[]"),
    "a key less": drop_key,
    "a bit flipped": flip,
    "another bit flipped": lambda path: flip(path, 1),
    "gone": Path.unlink,
}
FILES = (
    *(
        "experiment.json",
        "environment.json",
        "split.json",
        "history.jsonl",
        "predictions.parquet",
        "conditions.parquet",
        "metrics.json",
        "DONE",
    ),
    *("model/recipe.json", "model/normaliser.npz", "model/weights.npz"),
    *("checkpoints/epoch-0001/MANIFEST.json", "checkpoints/epoch-0001/learner.npz"),
)


def test_these_are_all_files_of_a_finished_run(whole: Path) -> None:
    unread = {"split.csv", "model/card.md"}  # by any number
    assert set(Folder(run_of(whole)).files()) == {*FILES, *unread}


def test_a_damaged_file_that_no_number_comes_from_is_found(place: Path) -> None:
    for name in ("split.csv", "model/card.md"):
        flip(run_of(place) / name)
    found = [(finding.severity, Path(finding.path).name) for finding in verify(Folder(place)).findings]
    assert sorted(found) == [("error", "card.md"), ("error", "split.csv")]


@pytest.mark.parametrize("damage", DAMAGE)
@pytest.mark.parametrize("file", FILES)
def test_a_damaged_file_gives_the_same_numbers_or_one_error_with_a_remedy(
    file: str, damage: str, place: Path, whole: Path, reference: Any
) -> None:
    path = run_of(place) / file
    before = path.read_bytes()
    DAMAGE[damage](path)
    if (file, damage) == ("DONE", "gone"):  # without it the run is not finished, whatever else is there
        trained(place, whole)
    try:
        assert numbers(place) == reference
    except DamagedError as error:
        named = str(error)
        assert (
            f"/{RUN}/" in named
            and "copy it here again, or delete it, of a finished run or trial with its folder" in named
        )
        assert file == "DONE" or f"/{file}: damaged (" in named
        assert verify(Folder(place)).n_errors
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(before)  # copied here again
        assert numbers(place) == reference
        DAMAGE[damage](path)
        shutil.rmtree(run_of(place))  # or deleted with its folder, and the same run again
        trained(place, whole)
        of_clock = ("seconds", "data_s", "samples_per_s", "minutes")
        assert without(numbers(place), of_clock) == without(reference, of_clock)
        assert not verify(Folder(place)).findings
    else:
        assert file in ("experiment.json", "DONE") or "checkpoints" in file, (
            "this file is read, and was not held against DONE"
        )
        unseen = (
            ("DONE", "gone"),
            ("checkpoints/epoch-0001/MANIFEST.json", "a key less"),
        )  # that as an older mien wrote it
        assert verify(Folder(place)).findings or (file, damage) in unseen


def without(value: Any, keys: tuple[str, ...]) -> Any:
    if isinstance(value, dict):
        return {key: without(item, keys) for key, item in value.items() if key not in keys}
    return [without(item, keys) for item in value] if isinstance(value, list | tuple) else value


@pytest.mark.parametrize("damage", ["cut", "{}", "[]", "gone"])
@pytest.mark.parametrize("file", [name for name in FILES if name != "DONE" and "checkpoints" not in name])
def test_a_run_of_an_older_mien_ends_in_no_other_error(file: str, damage: str, place: Path, reference: Any) -> None:
    """Its DONE is empty, so that a flipped bit cannot be noticed; that its files can be read is known all the same."""
    (run_of(place) / "DONE").write_text("")
    assert [finding.what for finding in verify(Folder(place)).findings] == ["no hashes were recorded"]
    if damage == "cut":
        assert numbers(place) == reference, "before anything is damaged"
    DAMAGE[damage](run_of(place) / file)
    try:
        numbers(place)
    except DamagedError as error:
        assert f"/{RUN}/{file}" in str(error) or (
            file.startswith("model/") and f"/{RUN}/model: damaged (" in str(error)
        )


def test_forty_flipped_bits_of_predictions_and_weights_are_forty_errors(place: Path) -> None:
    run = Run(Folder(run_of(place)), 0, 1)
    for name, reader in (
        ("predictions.parquet", run.predictions),
        ("model/weights.npz", lambda: load_run(run_of(place))),
    ):
        path = run_of(place) / name
        data = path.read_bytes()
        for seed in range(40):
            flip(path, seed)
            with pytest.raises(DamagedError, match=f"{name}: damaged .not as it was when DONE was written"):
                reader()
        path.write_bytes(data)
        reader()


@pytest.mark.soak
@pytest.mark.parametrize("file", FILES)
def test_of_forty_flipped_bits_of_any_file_none_gives_other_numbers(file: str, place: Path, reference: Any) -> None:
    path = run_of(place) / file
    data = path.read_bytes()
    for seed in range(40):
        flip(path, seed)
        with suppress(DamagedError):
            assert numbers(place) == reference
        assert verify(Folder(place)).findings
        path.write_bytes(data)


def without_key(name: str) -> Callable[[Path], Any]:
    def change(path: Path) -> None:
        value = json.loads(path.read_text())
        del value[name]
        path.write_text(json.dumps(value))

    return change


@pytest.mark.parametrize("damage", ["cut", "emptied", "{}", "[]", "a key less"])
@pytest.mark.parametrize(
    ("file", "key"), [("experiment.json", "name"), ("data.json", "corpora"), ("baseline.json", "signature")]
)
def test_a_damaged_file_of_a_series_is_deleted_and_written_anew(
    file: str, key: str, damage: str, place: Path, whole: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    series = run_of(place).parents[1]
    (series / "baseline.json").write_text(json.dumps({"experiment": "damaged-svm", "signature": "0123abcd"}))
    assert not verify(Folder(place)).findings
    (without_key(key) if damage == "a key less" else DAMAGE[damage])(series / file)
    assert main(["report", str(series)]) == 2
    said = capsys.readouterr().err
    assert f"/{file}: " in said and "copy it here again, or delete it" in said
    with pytest.raises(SystemExit, match="2"):
        main(["runs", "verify", str(place)])
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].endswith("2 runs, NOT intact, 1 errors") and lines[-1].startswith("NOT intact")
    (series / file).unlink()
    trained(place, whole)
    assert main(["runs", "verify", str(place)]) == 0


def test_a_damaged_summary_of_a_series_is_written_anew_by_its_report(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    series = run_of(place).parents[1]
    for run in series.glob("seed-*/fold-*"):
        (run / "report.html").write_text("")  # to draw them takes time
    for text in ("", "{}", "[]", '{"test": []}'):
        (series / "metrics.json").write_text(text)
        assert main(["runs", "list", str(place / "runs")]) == 2
        assert "/metrics.json: damaged (" in capsys.readouterr().err
        assert [finding.path for finding in verify(Folder(place)).findings] == [str(series / "metrics.json")]
    assert main(["report", str(series)]) == 0
    assert main(["runs", "list", str(place / "runs")]) == 0
    assert main(["compare", str(series), str(copied(series)), "--out", str(place / "out")]) == 0
    flip(series / RUN / "predictions.parquet")
    capsys.readouterr()
    for command in (
        ["report", str(series)],
        ["compare", str(series), str(copied(series)), "--out", str(place / "out")],
    ):
        assert main(command) == 2
        assert "/predictions.parquet: damaged (not as it was when DONE was written); copy it" in capsys.readouterr().err


def copied(series: Path) -> Path:
    """The same under another name."""
    there = series.parents[1] / "copied" / series.name
    if not there.exists():
        shutil.copytree(series, there)
    return there


def test_a_series_whose_settings_were_changed_is_noticed(place: Path) -> None:
    path = run_of(place).parents[1] / "experiment.json"
    protocol = json.loads(path.read_text())["protocol"]
    path.write_text(path.read_text().replace('"folds": 2', '"folds": 3'))
    findings = verify(Folder(place)).findings
    assert [(one.severity, one.what) for one in findings] == [("error", "damaged")]
    rewrite(path, protocol=protocol | {"folds": 3})  # without its seal, as an older mien wrote it
    findings = verify(Folder(place)).findings
    assert [(one.severity, one.what) for one in findings] == [("error", "altered"), ("warning", "other signature")]


def test_names_that_a_file_manager_made_are_passed_over_and_told(
    place: Path, reference: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    run = run_of(place)
    for original in (run / "checkpoints" / "epoch-0001", run, run.parent):
        shutil.copytree(original, f"{original} (copy)")
    assert numbers(place) == reference
    assert main(["runs", "list", str(place / "runs")]) == 0
    capsys.readouterr()
    assert main(["runs", "verify", str(place), "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["intact"] and {finding["what"] for finding in answer["findings"]} == {"unexpected"}


def test_of_many_findings_of_a_kind_three_are_printed(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("predictions.parquet", "metrics.json", "split.json", "environment.json", "model/weights.npz"):
        (run_of(place) / name).unlink()
    for words, n_shown in (([], 3), (["--all"], 5)):
        with pytest.raises(SystemExit):
            main(["runs", "verify", str(place), *words])
        said = capsys.readouterr().out
        assert said.count("error: damaged: ") == n_shown + (not words)
        assert ("2 more like these; --all prints them" in said) == (not words)


def test_a_folder_without_runs_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["runs", "verify", str(tmp_path)]) == 2
    assert "no runs here" in capsys.readouterr().err
