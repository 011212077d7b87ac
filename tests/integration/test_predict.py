"""Media of `mien sample`, a run trained on them, and mien predict: the answers are those of the run's own test."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from conftest import ROOT
from mien.corpora.sample.write import write_sample
from mien.experiment import DataConfig, ExecutionConfig, Experiment, LossConfig, ProtocolConfig, SvmConfig
from mien.features.prepare import prepare
from mien.features.store import FeatureStore
from mien.folder import Folder
from mien.training.launch import launch

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    """ravdess/ of synthetic people; runs/ trained on voice and brightness; pairs.csv of its clips; no store any more."""
    folder = tmp_path_factory.mktemp("predict")
    write_sample(folder, ("ravdess",), 4, 1, 0)
    prepare("ravdess", folder / "ravdess", folder / "store", ["egemaps-clip", "tiny_extractors:Brightness"])
    launch(
        Experiment(
            name="pairs",
            data=DataConfig(corpora=("ravdess",), features=("egemaps-clip", "brightness")),
            protocol=ProtocolConfig(folds=2),
            loss=LossConfig(kind="cross-entropy"),
            model=SvmConfig(),
            execution=ExecutionConfig(store=str(folder / "store"), storage=str(folder / "runs"), baseline=False),
        )
    )
    lines = ["clip_id,audio,video,subject,emotion"]
    for clip in FeatureStore(folder / "store").clips("ravdess"):
        audio, video = (clip.media[name].path if name in clip.media else "" for name in ("audio", "video"))
        lines.append(f"{clip.id},{audio},{video},{clip.subject},{clip.labels[0].emotion}")
    (folder / "pairs.csv").write_text("\n".join(lines) + "\n")
    (folder / "store").rename(folder / "gone")
    return folder


def mien(place: Path, *words: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {
        "PYTHONPATH": f"{ROOT / 'platform'}:{ROOT / 'tests'}",
        "MIEN_CACHE": str(place / "cache"),
    }
    command = [sys.executable, "-m", "mien", "predict", *words]
    return subprocess.run(command, env=environment, capture_output=True, text=True, cwd=place)


def test_pairs_of_a_table_are_answered_as_when_the_run_was_tested(place):
    run = next((place / "runs" / "pairs").iterdir()) / "seed-0" / "fold-0"
    done = mien(place, str(run), "pairs.csv", "--out", "answers.parquet")
    assert done.returncode == 0, done.stderr
    assert "synthetic recordings" in done.stderr
    tested = pd.read_parquet(run / "predictions.parquet").set_index("clip_id")
    tested = tested[tested["side"] == "test"]
    found = pd.read_parquet(place / "answers.parquet").set_index("clip").loc[tested.index]
    columns = [name for name in tested.columns if name.startswith("p_")]
    assert len(tested) > 10 and found["reject"].isna().all()
    np.testing.assert_allclose(found[columns].to_numpy(), tested[columns].to_numpy(), atol=1e-6)
    assert set(found["used"]) == {"audio, video"} and (found["subject"] == tested["subject"]).all()


def test_films_give_sound_and_pictures_and_windows_go_on_one_clock(place):
    series = str(next((place / "runs" / "pairs").iterdir()))
    films = sorted(str(path) for path in (place / "ravdess").rglob("01-*.mp4"))[:2]
    silent = next(str(path) for path in (place / "ravdess").rglob("02-*.mp4"))
    done = mien(place, series, *films, silent, "--window", "0.6", "--hop", "0.3", "--json")
    assert done.returncode == 0, done.stderr
    answers = {row["clip"]: row for row in json.loads(done.stdout)["files"]}
    assert [answers[film]["used"] for film in films] == ["audio, video"] * 2
    assert answers[silent]["used"] == "video" and answers[silent]["missing"] == "egemaps-clip: no-audio-stream"
    for row in answers.values():
        assert [window["start_s"] for window in row["track"]] == pytest.approx(0.3 * np.arange(len(row["track"])))
        assert row["p_anger"] == pytest.approx(np.mean([window["p_anger"] for window in row["track"]]), abs=1e-6)
        assert row["epistemic"] >= 0


def test_recordings_a_table_and_the_run_itself_may_lie_in_s3(place, s3):
    """A film of a folder there and one of a table there are answered as both are from a disk."""
    bucket = Folder(f"{s3}/predict")
    series = next((place / "runs" / "pairs").iterdir())
    for file in series.rglob("*"):
        if file.is_file():
            bucket.write_bytes(f"run/{file.relative_to(series)}", file.read_bytes())
    one, other = sorted((place / "ravdess").rglob("01-*.mp4"))[:2]
    bucket.write_bytes(f"films/{one.name}", one.read_bytes())
    bucket.write_bytes(f"others/{other.name}", other.read_bytes())
    bucket.write_bytes("clips.csv", f"file\n{bucket.path(f'others/{other.name}')}\n".encode())
    local = mien(place, str(series), str(one), str(other), "--json")
    remote = mien(place, *map(bucket.path, ("run", "films", "clips.csv")), "--json")
    assert (local.returncode, remote.returncode) == (0, 0), local.stderr + remote.stderr
    answers = json.loads(remote.stdout)["files"]
    assert answers[0]["clip"] == bucket.path(f"films/{one.name}")
    columns = ("p_anger", "p_happiness", "used", "missing")
    assert [[row[name] for name in columns] for row in answers] == [
        [row[name] for name in columns] for row in json.loads(local.stdout)["files"]
    ]
