"""Sensors alone, then fused early, late and in the middle: the whole experiment on a tiny store."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest

import affect_fusion
from mien.experiment import AffectEnsembleConfig, ClassesConfig, DataConfig, ExecutionConfig, LossConfig, ProtocolConfig
from mien.predict.export import export
from mien.predict.recogniser import load_run
from mien.results.run import Series
from tiny import dataset, write_store

pytestmark = [pytest.mark.torch, pytest.mark.slow]


def test_every_fusion_is_trained_on_the_same_folds_and_compared(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_store(str(tmp_path / "store"))
    monkeypatch.setattr(affect_fusion, "SENSORS", {"voice": ("voice", "row"), "face": ("face",)})
    base = dataclasses.replace(
        affect_fusion.HYBRID,
        data=DataConfig(corpora=("ravdess",), features=("voice", "row", "face")),
        target=ClassesConfig(vocabulary="anger,fear,neutral", source="intended"),
        protocol=ProtocolConfig(folds=2),
        loss=LossConfig(),
        model=AffectEnsembleConfig(units=12, kernel=3, step_s=0.2),
        training=dataclasses.replace(affect_fusion.HYBRID.training, epochs=12, batch_size=8, learning_rate=0.01),
        execution=ExecutionConfig(store=str(tmp_path / "store"), storage=str(tmp_path / "runs"), baseline=False),
    )
    # All of them have the same clips: a clip without a face has a face that is masked.
    page = affect_fusion.compare_fusions(base)
    compared = {one["label"]: one for one in json.loads(Path(page).with_suffix(".json").read_text())["series"]}
    names = ["voice", "face", "late-weighted", "late-meta", "early", "hybrid"]
    assert list(compared) == [f"affect-{name}" for name in names]
    scores = {name: compared[f"affect-{name}"]["test"]["uar"]["value"] for name in names}
    assert min(scores.values()) > 0.6, scores
    assert max(scores["late-weighted"], scores["early"], scores["hybrid"]) > 0.9, scores

    analysed = {
        name: Series.open(str(tmp_path / "runs" / f"affect-{name}")).folder.read_json("metrics.json")["modalities"]
        for name in names
    }
    assert analysed["face"] is None, "one modality has no subsets"
    late, hybrid = analysed["late-weighted"], analysed["hybrid"]
    assert (late["by"], late["names"]) == ("parents", ["affect-voice", "affect-face"])
    assert (hybrid["by"], hybrid["names"], hybrid["modality_dropout"]) == ("masks", ["audio", "video"], 0.2)
    (run,) = (tmp_path / "runs" / "affect-late-weighted").glob("*/seed-0/fold-0")
    with load_run(run) as recogniser:  # has no dropout of its own: its parents draw
        data = dataset()
        clips = [{name: column[row] for name, column in data.columns.items()} for row in range(7)]
        plain, one, again, two = (recogniser.predict(clips, dropout=seed) for seed in (None, 1, 1, 2))
    np.testing.assert_array_equal(one, again)
    assert np.abs(one - two).max() > 1e-3 < np.abs(one - plain).max()
    exported = export(str(run), str(tmp_path / "exported"), store=str(tmp_path / "store"))
    assert exported.measured["test"]["run"] == exported.measured["test"]["export"]
    assert exported.measured["test"]["largest_difference"] < 1e-4
