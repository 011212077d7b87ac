"""A run that was exported predicts as it did, without its framework, and what was changed in it is named."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from conftest import ROOT
from mien.errors import DamagedError, MienError
from mien.experiment import DataConfig, DimensionsConfig, ExecutionConfig, Experiment, ProtocolConfig, SvmConfig
from mien.features.spec import Frames
from mien.predict.export import export
from mien.predict.recogniser import load_run
from mien.training.launch import launch
from tiny import SPECS, write_store

EXPERIMENT = Experiment(
    name="exported",
    data=DataConfig(corpora=("ravdess",), features=("voice", "face", "row")),
    protocol=ProtocolConfig(folds=2),
    model=SvmConfig(members=("voice+row", "face")),
)


pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    """store/ and runs/ of classes and of dimensions."""
    folder = tmp_path_factory.mktemp("exported")
    write_store(str(folder / "store"))
    execution = ExecutionConfig(store=str(folder / "store"), storage=str(folder / "runs"))
    launch(dataclasses.replace(EXPERIMENT, execution=execution))
    rated = DimensionsConfig(source="annotated")
    launch(dataclasses.replace(EXPERIMENT, name="rated", target=rated, execution=execution))
    return folder


def run_of(place: Path, name: str = "exported") -> str:
    return str(next((place / "runs" / name).glob("*/seed-0/fold-0")))


@pytest.fixture(scope="module")
def exported(place) -> Path:
    export(run_of(place), str(place / "out"), store=str(place / "store"))
    return place / "out"


def clips(n: int = 5) -> list[dict[str, Frames]]:
    rng = np.random.default_rng(1)
    made = []
    for i in range(n):
        one = {}
        for name, spec in SPECS.items():
            length = 1 if spec.hop_s is None else 3 + i
            one[name] = Frames(rng.normal(size=(length, spec.dim)).astype(np.float32), np.ones(length, bool))
        made.append(one)
    del made[0]["face"]
    return made


@pytest.mark.parametrize("name", ["exported", "rated"])
def test_it_predicts_what_the_run_predicts(place, name, tmp_path):
    found = export(run_of(place, name), str(tmp_path / "out"))
    with load_run(run_of(place, name)) as run, load_run(found.folder.uri) as other:
        np.testing.assert_allclose(other.predict(clips()), run.predict(clips()), atol=1e-5)
    assert found.measured[""]["largest_difference"] < 1e-5


def test_it_is_scored_on_the_test_clips(place, exported):
    measured = json.loads((exported / "export.json").read_text())["measured"]["test"]
    tested = json.loads((Path(run_of(place)) / "metrics.json").read_text())["test"]
    assert measured["score"] == "uar" and measured["run"] == pytest.approx(tested["uar"])
    assert measured["n_clips"] == tested["n"]
    assert measured["largest_difference"] < 1e-5
    assert f"{tested['uar']:.4f} of the run" in (exported / "README.md").read_text()


def test_no_framework_is_imported_to_use_it(exported):
    code = f"""
        import sys
        from mien.predict.recogniser import load_run
        load_run({str(exported)!r}).predict([dict()])
        print([name for name in ("torch", "tensorflow", "sklearn", "ray") if name in sys.modules])
    """
    done = subprocess.run(
        [sys.executable, "-c", "\n".join(line.strip() for line in code.splitlines())],
        capture_output=True,
        text=True,
        env={"PYTHONPATH": str(ROOT / "platform"), "PATH": ""},
    )
    assert done.stdout.strip() == "[]", done.stderr


def test_its_example_runs_by_itself(exported):
    done = subprocess.run([sys.executable, str(exported / "example.py")], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    printed = [json.loads(line.replace("'", '"')) for line in done.stdout.splitlines()]
    assert [sum(one.values()) for one in printed] == pytest.approx([1, 1, 1], abs=0.01)
    assert {"anger", "fear", "neutral"} <= printed[0].keys()


@pytest.mark.parametrize("file", ["model.onnx", "recipe.json", "normaliser.npz", "export.json"])
@pytest.mark.parametrize("how", ["flipped", "gone"])
def test_what_was_changed_is_named(exported, tmp_path, file, how):
    copy = tmp_path / "copy"
    copy.mkdir()
    for path in exported.iterdir():
        (copy / path.name).write_bytes(path.read_bytes())
    if how == "gone":
        (copy / file).unlink()
        if file == "export.json":
            with pytest.raises(MienError, match="no finished run here"):
                load_run(copy)
            return
    else:
        data = bytearray((copy / file).read_bytes())
        data[len(data) // 2] ^= 4
        (copy / file).write_bytes(bytes(data))
    with pytest.raises(DamagedError, match=file):
        load_run(copy)


def test_what_cannot_be_exported_says_why(place, exported, tmp_path):
    with pytest.raises(MienError, match="no finished run"):
        export(str(place / "runs"), str(tmp_path / "out"))
    with pytest.raises(MienError, match="has something in it already"):
        export(run_of(place), str(exported))
    with pytest.raises(MienError, match="int8: the support vectors"):
        export(run_of(place), str(tmp_path / "out"), int8=True)
    assert not (tmp_path / "out").exists()
