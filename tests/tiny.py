"""A tiny dataset in memory, for what is trained and needs no store."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np

from mien.corpora.clip import Clip, Label
from mien.data.dataset import Dataset
from mien.experiment import (
    AugmentConfig,
    DataConfig,
    ExecutionConfig,
    Experiment,
    LstmAttentionConfig,
    ProtocolConfig,
    TrainingConfig,
)
from mien.experiment.search import Search
from mien.features.parts import Row
from mien.features.spec import FeatureSpec, Frames
from mien.features.store import FeatureStore


def dataset(n_clips: int = 41, seed: int = 0, missing: bool = True) -> Dataset:
    """Separable clips of prime lengths: class k raises column k; a voice, a face, and one row a clip."""
    rng = np.random.default_rng(seed)
    truth = np.arange(n_clips) % 3
    specs = {
        "voice": FeatureSpec(name="voice", version=1, dim=7, hop_s=0.1, columns=tuple("abcdefg")),
        "face": FeatureSpec(name="face", version=1, dim=5, hop_s=0.2, columns=tuple("abcde")),
        "row": FeatureSpec(name="row", version=1, dim=3, hop_s=None, columns=tuple("abc")),
    }
    lengths = {"voice": (5, 23), "face": (3, 13), "row": (1, 2)}
    frames: dict[str, list[Frames]] = {name: [] for name in specs}
    for i, label in enumerate(truth):
        for name, spec in specs.items():
            values = rng.normal(size=(rng.integers(*lengths[name]), spec.dim)).astype(np.float32) * 0.3
            values[:, label] += 2
            if missing and name == "face" and i % 7 == 0:
                values = values[:0]
            frames[name].append(Frames(values, np.ones(len(values), bool)))
    return Dataset(
        clip_ids=[f"c/{i}" for i in range(n_clips)],
        subjects=[f"c/s{i % 5}" for i in range(n_clips)],
        corpora=["c"] * n_clips,
        contents=[str(i) for i in range(n_clips)],
        classes=("anger", "fear", "neutral"),
        truth=truth,
        targets=np.eye(3, dtype=np.float32)[truth],
        specs=specs,
        frames=frames,
        left_out={},
        fingerprints={},
        synthetic={"c": True},
    )


def write_store(uri: str, n_clips: int = 41, seed: int = 0) -> None:
    """The same clips as a store with one corpus, "ravdess"."""
    data = dataset(n_clips, seed)
    clips = [
        Clip(
            id=clip_id,
            corpus="ravdess",
            subject=subject,
            media={},
            labels=(Label(source="intended", own="", emotion=data.classes[truth]),),
            attributes={"channel": "speech"},
            synthetic=True,
        )
        for clip_id, subject, truth in zip(data.clip_ids, data.subjects, data.truth)
    ]
    store = FeatureStore(uri)
    store.write_clips("ravdess", clips, [])
    for name, spec in data.specs.items():
        parts = store.parts("ravdess", spec)
        rows = [
            Row(
                clip.id,
                content,
                frames if len(frames.valid) else Frames(np.zeros((1, spec.dim), np.float32), np.zeros(1, bool)),
            )
            for clip, content, frames in zip(clips, data.contents, data.frames[name])
        ]
        parts.reopen()
        parts.write(data.clip_ids, rows, [])
        parts.finish(set(data.clip_ids))


SEARCH = Search(
    experiment=Experiment(
        name="tiny-search",
        data=DataConfig(corpora=("ravdess",), audio=("voice",), video=("face",)),
        protocol=ProtocolConfig(folds=2),
        augment=AugmentConfig(kind="none"),
        # Nothing drawn inside the model: each worker would draw its own.
        model=LstmAttentionConfig(
            step_s=0.0, lstm_units=4, row_units=3, dense_units=5, dropout=0.0, row_dropout=0.0, input_noise=0.0
        ),
        training=TrainingConfig(epochs=6, patience=6, batch_size=8, average=0.0),
    ),
    # With the lowest rate nothing is learnt, with 0.03 the classes are told apart in a few epochs.
    space={"training.learning_rate": "1e-6 | 0.001 | 0.01 | 0.03", "loss.gamma": "0 | 2"},
    questions={"loss.kind": "cross-entropy | focal"},
    method="grid",
    trials=8,
    grace_epochs=2,
)


def search(
    place: Path,
    *,
    storage: str = "",
    only_folds: tuple[int, ...] = (),
    parallel: int = 2,
    workers: int = 0,
    **changes,
) -> Search:
    """SEARCH in a place with a `store`, and what is to be different. storage: by default `runs` in that place."""
    execution = ExecutionConfig(
        store=str(place / "store"),
        storage=storage or str(place / "runs"),
        only_folds=only_folds,
        parallel=parallel,
        workers=workers,
    )
    experiment = dataclasses.replace(SEARCH.experiment, execution=execution)
    return dataclasses.replace(SEARCH, experiment=experiment, **changes)
