"""A tiny series of finished runs that anyone can use: loudness tells the emotion, and the store that it learned from is
gone."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np

from mien.corpora.clip import Clip, Label, Medium, Rating
from mien.experiment import (
    DataConfig,
    DimensionsConfig,
    ExecutionConfig,
    Experiment,
    LossConfig,
    ProtocolConfig,
    SvmConfig,
)
from mien.features.host import ExtractorHost
from mien.features.recipe import ExtractorRecipe
from mien.features.store import FeatureStore
from mien.features.store.rows import Row
from mien.training.launch import launch
from tiny_media import write_wav

EMOTIONS = ("anger", "fear", "neutral")
RATE_HZ = 16_000
N_SUBJECTS, N_TAKES = 6, 3


def noise(emotion: int, seed: int, seconds: float = 0.3) -> np.ndarray:
    """(N,) as loud as the emotion is, by its number."""
    sound = np.random.default_rng(seed).normal(size=round(seconds * RATE_HZ)).astype(np.float32)
    return (sound * np.float32(0.05 * (emotion + 1))).clip(-1, 1)


def write_series(folder: Path, *, recipe: str = "tiny_extractors:Loudness", dimensions: bool = False, **data) -> Path:
    """media/ with wavs whose loudness is the emotion, and runs/ of two folds trained on them; returns the series."""
    (folder / "media").mkdir(parents=True)
    clips = []
    for subject in range(N_SUBJECTS):
        for take in range(N_TAKES):
            for k, emotion in enumerate(EMOTIONS):
                name = f"{subject}-{take}-{emotion}"
                path = write_wav(folder / "media" / f"{name}.wav", noise(k, len(clips), 0.3 + 0.01 * take), RATE_HZ)
                ratings = {
                    "arousal": Rating(value=1.0 - k, low=-1, high=1),
                    "valence": Rating(value=0.1 * k, low=-1, high=1),
                }
                clips.append(
                    Clip(
                        id=f"own/{name}",
                        corpus="own",
                        subject=f"own/{subject}",
                        media={"audio": Medium(path=path)},
                        labels=(Label(source="intended", emotion=emotion, ratings=ratings),),
                    )
                )
    store = FeatureStore(folder / "store")
    store.write_clips("own", clips, [])
    asked = ExtractorRecipe(recipe)
    with ExtractorHost({"loudness": asked}) as host:
        feature = store.feature_folder("own", host.descriptions["loudness"].spec)
        feature.reopen()
        found = {clip.id: host.frames(clip.media)["loudness"] for clip in clips}
    rows = [Row(id, f"{n:064x}", 0.0, None, one.values, one.valid) for n, (id, one) in enumerate(found.items())]
    feature.write(list(found), rows, [])
    feature.finish(set(found), {"name": recipe, "settings": {}, "medium": "audio"})
    target = {"target": DimensionsConfig(source="intended", names=("arousal", "valence"))} if dimensions else {}
    series = launch(
        Experiment(
            name="tiny",
            data=DataConfig(corpora=("own",), features=("loudness",), only={}, **data),
            protocol=ProtocolConfig(folds=2),
            loss=LossConfig() if dimensions else LossConfig(kind="cross-entropy"),
            model=SvmConfig(),
            execution=ExecutionConfig(store=str(folder / "store"), storage=str(folder / "runs"), baseline=False),
            **target,
        )
    )
    shutil.rmtree(folder / "store")
    return Path(series.folder.uri)
