"""AMI and MAHNOB-HCI as a new user types them: sample, prepare, train, report, and what the report says of them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from conftest import REAL_DATA, ROOT
from mien.cli.main import main
from mien.corpora.sample.write import write_sample

pytestmark = pytest.mark.slow

SCRIPT = str(ROOT / "experiments/dimensions.py")
LANDMARKER = REAL_DATA / "weights" / "face_landmarker_v2_with_blendshapes.task"
FACE_RATE_HZ = 2.0


def say(*words: str) -> None:
    assert main(words) == 0


def prepare(place: Path, corpus: str, root: Path, features: Sequence[str], *words: str) -> dict[str, list[Any]]:
    """Rows of each feature without their values, by clip. Every clip is a row or a reject, and nothing else is."""
    store = place / "store"
    say("prepare", corpus, str(root), "--store", str(store), "--features", *features, "--engine", "processes", *words)
    ids = pq.read_table(store / corpus / "clips.parquet", columns=["id"])["id"].to_pylist()
    found = {}
    for feature in features:
        (folder,) = (store / corpus).glob(f"{feature}-v*")
        table = pq.ParquetDataset(list(folder.glob("part-*.parquet"))).read(
            columns=["clip_id", "start_s", "end_s", "n_frames"]
        )
        rejects = pq.read_table(folder / "rejects.parquet")["id"].to_pylist()
        assert sorted(table["clip_id"].to_pylist() + rejects) == sorted(ids)
        found[feature] = table.sort_by("clip_id").to_pylist()
    return found


def train(place: Path, features: Sequence[str], *words: str) -> tuple[dict[str, Any], str]:
    """metrics.json and the page of a series of experiments/dimensions.py."""
    storage = place / "runs"
    before = set(storage.glob("dimensions/*"))
    say(
        *("train", SCRIPT, "--store", str(place / "store"), "--storage", str(storage), "--no-baseline", "--quiet"),
        *("--data.features", *features, "--model.members", *(features if len(features) > 1 else ()), *words),
    )
    (series,) = set(storage.glob("dimensions/*")) - before
    return json.loads((series / "metrics.json").read_text()), (series / "report.html").read_text()


def correlations(metrics: dict[str, Any]) -> dict[str, float]:
    """Of what was predicted of unseen people with what they said, by dimension."""
    return {name: scores["pearson"]["value"] for name, scores in metrics["per_dimension"].items()}


def test_mahnob_brain_body_and_face_tell_what_was_felt_and_more_together(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = write_sample(tmp_path, ["mahnob"], n_subjects=3, n_per_emotion=1)["mahnob"]
    face = ["blendshapes"] if LANDMARKER.is_file() else []  # no package brings its weights
    settings = ["--blendshapes.model", str(LANDMARKER), "--blendshapes.rate-hz", str(FACE_RATE_HZ)] if face else []
    features = ["eeg-bands", "physio", *face]
    rows = prepare(tmp_path, "mahnob", root, features, "--quiet", *settings)
    for clips in zip(*rows.values()):
        # One clock: each sensor starts elsewhere in its own file, and all last as long; windows of 2 s, each second.
        (span_s,) = {round(clip["end_s"] - clip["start_s"], 6) for clip in clips}
        assert 9 <= span_s <= 12
        n_frames = dict(zip(features, (clip["n_frames"] for clip in clips)))
        assert n_frames["eeg-bands"] == int(span_s - 2) + 1
        assert n_frames["physio"] == 1
        assert not face or abs(n_frames["blendshapes"] - FACE_RATE_HZ * span_s) <= 1

    loso = ("--protocol.kind", "loso")
    found = {feature: correlations(train(tmp_path, [feature], *loso)[0]) for feature in features}
    metrics, page = train(tmp_path, features, *loso)
    together = correlations(metrics)
    assert min(found["eeg-bands"].values()) > 0.3  # chance is 0, with a standard error of 0.2
    assert found["physio"]["arousal"] > 0.2
    if face:
        assert found["blendshapes"]["valence"] > 0.5
        best = max(sum(each.values()) for each in found.values())
        assert sum(together.values()) > best
    assert metrics["protocol"] == "loso"
    assert metrics["label_source"] == "self-report"
    assert "self-report" in page
    assert "synthetic" in {caveat["kind"] for caveat in metrics["caveats"]}

    # Everybody saw the same films: they cannot be parted without a person on both sides, and no number of folds helps.
    capsys.readouterr()
    words = ("--store", str(tmp_path / "store"), "--data.features", "physio", "--model.members")
    assert main(["train", SCRIPT, *words, "--protocol.kind", "by-group", "--protocol.group", "stimulus"]) == 2
    said = capsys.readouterr().err
    assert "share a subject" in said
    assert said.strip().endswith("choose protocol.kind=crossed or by-subject")
    assert "lower protocol.folds" not in said


def test_ami_is_split_by_meeting_and_says_who_met(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = write_sample(tmp_path, ["ami"], n_subjects=9, n_per_emotion=1)["ami"]
    features = ["egemaps-clip", "logmel"]
    prepare(tmp_path, "ami", root, features)
    assert "--ami.ratings takes a table" in " ".join(capsys.readouterr().err.split())
    rows = prepare(tmp_path, "ami", root, features, "--ami.ratings", str(root / "ratings.csv"))
    assert "AMI publishes none" not in capsys.readouterr().err
    assert all(clip["n_frames"] == 1 for clip in rows["egemaps-clip"])
    words = ("--data.corpora", "ami", "--target.source", "annotated", "--protocol.folds", "3")
    metrics, page = train(
        tmp_path, ["egemaps-clip"], *words, "--protocol.kind", "by-group", "--protocol.group", "meeting"
    )
    assert (metrics["group"], metrics["n_subjects"], metrics["n_subjects_on_both_sides"]) == ("meeting", 9, 0)
    assert min(correlations(metrics).values()) > 0.3
    assert "by-group" in page and "meeting" in page
    metrics, page = train(tmp_path, ["egemaps-clip"], *words)
    assert "People who met may stand on both sides" in page
