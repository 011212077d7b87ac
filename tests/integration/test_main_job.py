"""The main job as a user types it: sample -> verify -> prepare -> train -> report -> compare, each a process."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from conftest import ROOT
from mien.folder import Folder

pytestmark = [pytest.mark.tensorflow, pytest.mark.ray, pytest.mark.slow]

SMALL = ["--protocol.folds", "2", "--training.epochs", "2", "--model.lstm-units", "8", "--model.dense-units", "8"]


def mien(*words: str, code: int = 0) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "platform")}
    done = subprocess.run(
        [sys.executable, "-m", "mien", *words], capture_output=True, text=True, env=environment, cwd=ROOT
    )
    assert done.returncode == code, f"mien {' '.join(words)}\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}"
    return done


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    """Synthetic corpora and a store with what is heard in both and seen in one: the other's faces are missing."""
    root = tmp_path_factory.mktemp("main-job")
    mien("sample", str(root / "corpora"), "--subjects", "3")
    for corpus in ("ravdess", "cremad"):
        words = ["prepare", corpus, str(root / "corpora" / corpus), "--store", str(root / "store")]
        done = mien(*words, "--features", "egemaps", "--json")
        (feature,) = json.loads(done.stdout)["features"]
        assert feature["n_rows"] > 0
        assert feature["n_rejects"] == 0
    return root


def train(place: Path, *words: str, code: int = 0) -> subprocess.CompletedProcess[str]:
    return mien(
        "train",
        "experiments/sync_aug.py",
        *("--store", str(place / "store"), "--storage", str(place / "runs")),
        *("--data.features", "egemaps"),
        *(SMALL if code == 0 else ()),
        *words,
        code=code,
    )


def test_verify_says_what_a_sample_lacks(place):
    found = json.loads(mien("verify", "ravdess", str(place / "corpora" / "ravdess"), "--json", code=2).stdout)
    assert not found["intact"]
    assert any(n_found < n_published for n_found, n_published in found["counts"].values())


def test_train_reports_and_asked_again_trains_nothing(place):
    first = json.loads(train(place, "--json").stdout)
    series = Path(first["series"])
    page = (series / "report.html").read_text()
    assert "Synthetic data" in page
    assert "no person on both sides" in page
    for name in ("history.jsonl", "predictions.parquet", "metrics.json", "model/recipe.json", "DONE"):
        assert (series / "seed-0" / "fold-1" / name).exists()
    assert first["metrics"]["baseline"]["uar"]["value"] is not None
    when = (series / "seed-0" / "fold-0" / "DONE").stat().st_mtime_ns
    again = json.loads(train(place, "--json").stdout)
    assert again["series"] == first["series"]
    assert (series / "seed-0" / "fold-0" / "DONE").stat().st_mtime_ns == when


def test_runs_in_parallel_learn_the_same(place):
    one = Path(json.loads(train(place, "--json").stdout)["series"])
    other = Path(
        json.loads(train(place, "--json", "--storage", str(place / "parallel"), "--parallel", "2").stdout)["series"]
    )
    assert other.name == one.name
    for fold in ("fold-0", "fold-1"):
        assert (one / "seed-0" / fold / "predictions.parquet").read_bytes() == (
            other / "seed-0" / fold / "predictions.parquet"
        ).read_bytes()


def test_store_and_runs_in_s3_are_as_on_a_disk(place, s3):
    """Workers of a Ray read the store and write the runs there; the driver reports from there."""
    store = Folder(f"{s3}/store")
    for path in (place / "store").rglob("*.*"):
        store.write_bytes(str(path.relative_to(place / "store")), path.read_bytes())
    words = ["--store", store.uri, "--storage", f"{s3}/runs"]
    there = Folder(json.loads(train(place, *words, "--parallel", "2", "--json").stdout)["series"])
    here = Folder(json.loads(train(place, "--json").stdout)["series"])
    assert there.uri.startswith(f"{s3}/runs/")
    name = "seed-0/fold-1/predictions.parquet"
    assert there.read_bytes(name) == here.read_bytes(name)
    assert there.read_json("metrics.json")["test"] == here.read_json("metrics.json")["test"]
    assert "Synthetic data" in there.read_text("report.html")
    mien("report", there.uri)


def test_compare_states_the_leakage_gap(place, tmp_path):
    honest = json.loads(train(place, "--json").stdout)["series"]
    leaky = json.loads(train(place, "--json", "--protocol.kind", "random-leaky").stdout)["series"]
    mien("compare", honest, leaky, "--out", str(tmp_path))
    assert "leak" in (tmp_path / "compare.html").read_text().lower()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--data.features", "facenet"], "has no finished 'facenet'"),
        (["--data.corpora", "ami"], "no corpus 'ami'"),
        (["--target.source", "rumour"], "choose from intended"),
        (["--target.vocabulary", "common7"], "choose from common6"),
        (["--protocol.folds", "40"], "fold"),
        (["--only-folds", "9"], "there are folds 0 to"),
        (["--model.experts", "facenet"], "model.experts names facenet"),
    ],
)
def test_a_mistake_is_one_line_that_names_it(place, words, message):
    done = train(place, *words, code=2)
    assert message in done.stderr
    assert "Traceback" not in done.stderr
