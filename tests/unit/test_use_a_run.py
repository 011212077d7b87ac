"""A finished run on a machine without its store and corpus predicts what it predicted when it was tested."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from conftest import ROOT
from mien.corpora.clip import Clip, Label, Medium
from mien.errors import ExperimentError, MediaError, MienError
from mien.experiment import DataConfig, ExecutionConfig, Experiment, LossConfig, ProtocolConfig, SvmConfig
from mien.features.host import ExtractorHost
from mien.features.recipe import ExtractorRecipe
from mien.features.store import FeatureStore
from mien.features.store.rows import Row
from mien.folder import Folder
from mien.predict.recogniser import load_run
from mien.training.launch import launch
from tiny_media import write_wav

EMOTIONS = ("anger", "fear", "neutral")
RECIPE = ExtractorRecipe("tiny_extractors:Loudness")
N_SUBJECTS, N_TAKES = 6, 5


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    """media/ with wavs whose loudness is the emotion; runs/ and models/ trained on them; the store is gone."""
    folder = tmp_path_factory.mktemp("used")
    rng = np.random.default_rng(0)
    (folder / "media").mkdir()
    clips = []
    for subject in range(N_SUBJECTS):
        for take in range(N_TAKES):
            for k, emotion in enumerate(EMOTIONS):
                name = f"{subject}-{take}-{emotion}"
                sound = rng.normal(size=4800 + 160 * take).astype(np.float32) * np.float32(0.05 * (k + 1))
                write_wav(folder / "media" / f"{name}.wav", sound.clip(-1, 1), 16_000)
                clips.append(
                    Clip(
                        id=f"own/{name}",
                        corpus="own",
                        subject=f"own/{subject}",
                        media={"audio": Medium(path=str(folder / "media" / f"{name}.wav"))},
                        labels=(Label(source="intended", emotion=emotion),),
                    )
                )
    store = FeatureStore(folder / "store")
    store.write_clips("own", clips, [])
    with ExtractorHost({"loudness": RECIPE}) as host:
        description = host.descriptions["loudness"]
        feature = store.feature_folder("own", description.spec)
        feature.reopen()
        found = {clip.id: host.frames(clip.media)["loudness"] for clip in clips}
    rows = [Row(id, f"{n:064x}", 0.0, None, one.values, one.valid) for n, (id, one) in enumerate(found.items())]
    feature.write(list(found), rows, [])
    feature.finish(set(found), {"name": RECIPE.name, "settings": {}, "medium": "audio"})
    series = launch(
        Experiment(
            name="used",
            data=DataConfig(corpora=("own",), features=("loudness",), only={}),
            protocol=ProtocolConfig(folds=2),
            loss=LossConfig(kind="cross-entropy"),
            model=SvmConfig(),
            execution=ExecutionConfig(store=str(folder / "store"), storage=str(folder / "runs"), baseline=False),
        )
    )
    shutil.copytree(series.run(0, 0).folder.uri, folder / "copied" / "run")
    shutil.rmtree(folder / "store")
    shutil.rmtree(folder / "runs")
    return folder


def predicted(place: Path) -> pd.DataFrame:
    table = pd.read_parquet(place / "copied" / "run" / "predictions.parquet").set_index("clip_id")
    table.columns = [name.removeprefix("p_") for name in table.columns]
    return table


@pytest.mark.slow
def test_it_predicts_from_media_what_it_predicted_when_it_was_tested(place):
    with load_run(place / "copied" / "run") as recogniser:
        assert set(recogniser.names) == set(predicted(place).columns) - {"subject", "corpus", "side", "truth"}
        for clip_id, row in list(predicted(place).iterrows())[::7]:
            found = recogniser(audio=place / "media" / f"{clip_id.removeprefix('own/')}.wav")
            assert found == pytest.approx({name: row[name] for name in recogniser.names}, abs=1e-6)
            assert sum(found.values()) == pytest.approx(1, abs=1e-5)


@pytest.mark.slow
def test_many_clips_at_once_are_the_same_as_one_by_one(place):
    with load_run(place / "copied" / "run") as recogniser:
        files = sorted((place / "media").iterdir())[:7]
        clips = [recogniser.frames({"audio": file}) for file in files]
        together = recogniser.predict(clips)
        alone = np.concatenate([recogniser.predict([clip]) for clip in clips])
    assert together.shape == (7, 6), "of the six classes of the vocabulary"
    np.testing.assert_allclose(together, alone, atol=1e-6)
    assert len(np.unique(together.argmax(axis=1))) > 1
    assert recogniser.predict([]).shape == (0, 6)


@pytest.mark.slow
def test_the_public_face_does_it_in_a_process_that_knows_nothing_else(place):
    file = next((place / "media").iterdir())
    code = (
        f"import json, mien; print(json.dumps(mien.load_run({str(place / 'copied' / 'run')!r})(audio={str(file)!r})))"
    )
    environment = {"PYTHONPATH": f"{ROOT / 'platform'}:{ROOT / 'tests'}"}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, cwd="/")
    assert done.returncode == 0, done.stderr
    with load_run(place / "copied" / "run") as recogniser:
        assert json.loads(done.stdout) == pytest.approx(recogniser(audio=file), abs=1e-6)


@pytest.mark.slow
def test_what_cannot_be_used_is_a_sentence(place, tmp_path):
    with pytest.raises(MienError, match="no finished run here"):
        load_run(tmp_path)
    with load_run(place / "copied" / "run") as recogniser:
        with pytest.raises(MediaError, match="no such file"):
            recogniser(audio=place / "media" / "nobody.wav")
        with pytest.raises(ExperimentError, match="media video: this run reads audio"):
            recogniser(video=place / "media" / "x.mp4")
        clip = recogniser.frames({"audio": next((place / "media").iterdir())})
        short = {"loudness": clip["loudness"]._replace(values=clip["loudness"].values[:, :2])}
        with pytest.raises(ExperimentError, match="trained on frames of"):
            recogniser.predict([short])


@pytest.mark.slow
@pytest.mark.parametrize("change", [{"format": 99}, {"inputs": 3}, {"target": {}}])
def test_a_recipe_of_another_kind_is_named(place, tmp_path, change):
    shutil.copytree(place / "copied" / "run", tmp_path / "run")
    model = Folder(tmp_path / "run" / "model")
    model.write_json("recipe.json", {**model.read_json("recipe.json"), **change})
    with pytest.raises(MienError, match=r"recipe\.json"):
        load_run(tmp_path / "run")


def test_nothing_in_a_run_is_a_pickle(place):
    for path in (place / "copied" / "run").rglob("*"):
        assert path.suffix not in (".pkl", ".pickle", ".joblib", ".pt", ".keras")
        if path.suffix == ".npz":
            with np.load(path, allow_pickle=False) as arrays:
                assert all(arrays[name].dtype != object for name in arrays.files)
