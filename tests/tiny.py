"""A tiny dataset in memory, for what is trained and needs no store."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from mien.corpora.clip import Clip, Label, Rating
from mien.data.batches import Batch, make_batches, plain_order
from mien.data.columns import InMemory
from mien.data.contents import Contents
from mien.data.dataset import Dataset
from mien.data.targets import Target
from mien.experiment import (
    AugmentConfig,
    DataConfig,
    ExecutionConfig,
    Experiment,
    MlpConfig,
    ProtocolConfig,
    TrainingConfig,
)
from mien.experiment.search import Search
from mien.experiment.target import TargetSpec
from mien.features.spec import FeatureSpec, Frames
from mien.features.store import FeatureStore, Row

CLASSES = ("anger", "fear", "neutral")
DIMENSIONS = ("valence", "arousal")
PLACES = np.array([[-0.6, 0.7], [-0.2, -0.6], [0.6, 0.1]], np.float32)  # of the classes, by valence and arousal
SPECS = {
    "voice": FeatureSpec(name="voice", version=1, modality="audio", shape=(7,), hop_s=0.1, columns=tuple("abcdefg")),
    "face": FeatureSpec(name="face", version=1, modality="video", shape=(5,), hop_s=0.2, columns=tuple("abcde")),
    "row": FeatureSpec(name="row", version=1, modality="audio", shape=(3,), hop_s=None, columns=tuple("abc")),
}
FILM = FeatureSpec(name="film", version=1, modality="video", shape=(8, 8, 3), codec="jpeg", hop_s=0.04)
N_FRAMES = {"voice": (5, 23), "face": (3, 13), "row": (1, 2)}


def dataset(n_clips: int = 41, seed: int = 0, missing: bool = True, kind: str = "classes") -> Dataset:
    """Separable clips of prime lengths: class k raises column k of a voice, of a face, and of one row per clip.

    missing: every seventh clip lacks the face. kind: what is learnt, classes, or dimensions that a clip's class decides
    but for some noise; then every eleventh clip lacks the rating of arousal.
    """
    rng = np.random.default_rng(seed)
    truth = np.arange(n_clips) % 3
    frames: dict[str, list[Frames | None]] = {name: [] for name in SPECS}
    for i, label in enumerate(truth):
        for name, spec in SPECS.items():
            values = rng.normal(size=(rng.integers(*N_FRAMES[name]), spec.dim)).astype(np.float32) * 0.3
            values[:, label] += 2
            is_missing = missing and name == "face" and i % 7 == 0
            frames[name].append(None if is_missing else Frames(values, np.ones(len(values), bool)))
    return Dataset(
        clip_ids=[f"c/{i:03}" for i in range(n_clips)],
        subjects=[f"c/s{i % 5}" for i in range(n_clips)],
        corpora=["c"] * n_clips,
        groups={"stimulus": [f"c/t{i % 4}" for i in range(n_clips)]},
        contents=Contents.of(
            n_clips, range(n_clips), [f"{i:064x}" for i in range(n_clips)], [0.0] * n_clips, [None] * n_clips
        ),
        target=classes(truth) if kind == "classes" else dimensions(truth, rng),
        columns={name: InMemory(spec, frames[name]) for name, spec in SPECS.items()},
        synthetic={"c": True},
    )


def film(data: Dataset, seed: int = 0) -> InMemory:
    """Pictures of its clips, a column to add to it: class k is bright in colour k; of 3 to 10 pictures one is dark."""
    rng = np.random.default_rng(seed)
    frames = []
    for label in np.arange(len(data)) % 3:
        pictures = rng.integers(0, 120, (rng.integers(3, 11), *FILM.shape)).astype(np.uint8)
        pictures[..., label] += 120
        valid = np.arange(len(pictures)) != 1
        pictures[~valid] = 0
        frames.append(Frames(pictures, valid))
    return InMemory(FILM, frames)


def classes(truth: np.ndarray) -> Target:
    """The target of three classes, by their indices."""
    values = np.eye(3, dtype=np.float32)[truth]
    return Target(TargetSpec("classes", CLASSES, "uar"), truth, values, np.ones(values.shape, bool), truth)


def dimensions(truth: np.ndarray, rng: np.random.Generator) -> Target:
    """The target of two dimensions, by classes that stand for places among them."""
    rated = PLACES[truth] + rng.uniform(-0.1, 0.1, (len(truth), 2)).astype(np.float32)
    mask = np.ones(rated.shape, bool)
    mask[10::11, 1] = False
    spec = TargetSpec("dimensions", DIMENSIONS, "ccc")
    return Target(spec, np.where(mask, rated, np.float32(np.nan)), np.where(mask, rated, np.float32(0)), mask, truth)


def batches(data: Dataset, batch_size: int = 8, rank: int = 0, world: int = 1) -> Iterator[Batch]:
    """All clips as they are, in their order."""
    return make_batches(
        plain_order(range(len(data)), batch_size),
        lambda row, copy: {name: column[row] for name, column in data.columns.items()},
        data.target,
        data.specs,
        batch_size=batch_size,
        rank=rank,
        world=world,
    )


def write_store(uri: str, n_clips: int = 41, seed: int = 0) -> None:
    """The same clips as a store with one corpus, "ravdess": their intended emotion, and annotated ratings."""
    data, rated = dataset(n_clips, seed), dataset(n_clips, seed, kind="dimensions").target
    store = FeatureStore(uri)
    clips = [
        Clip(
            id=clip_id,
            corpus="ravdess",
            subject=subject,
            media={},
            labels=(
                Label(source="intended", emotion=CLASSES[data.target.truth[i]]),
                Label(source="annotated", ratings=ratings(rated, i)),
            ),
            groups={name: groups[i] for name, groups in data.groups.items()},
            attributes={"channel": "speech"},
            synthetic=True,
        )
        for i, (clip_id, subject) in enumerate(zip(data.clip_ids, data.subjects))
    ]
    store.write_clips("ravdess", clips, [])
    for name, column in data.columns.items():
        nothing = Frames(np.zeros((1, column.spec.dim), np.float32), np.zeros(1, bool))
        frames = [column[i] if column.lengths[i] else nothing for i in range(n_clips)]
        rows = [Row(clip_id, f"{i:064x}", 0.0, None, *frames[i]) for i, clip_id in enumerate(data.clip_ids)]
        folder = store.feature_folder("ravdess", column.spec)
        folder.reopen()
        folder.write(data.clip_ids, rows, [])
        folder.finish(data.clip_ids, {"name": f"tiny:{name}", "settings": {}, "medium": column.spec.modality})


def ratings(target: Target, row: int) -> dict[str, Rating]:
    """Of one clip, on a scale of -1 to 1."""
    return {
        name: Rating(value=float(target.values[row, k]), low=-1, high=1)
        for k, name in enumerate(DIMENSIONS)
        if target.mask[row, k]
    }


SEARCH = Search(
    experiment=Experiment(
        name="tiny-search",
        data=DataConfig(corpora=("ravdess",), features=("voice", "face")),
        protocol=ProtocolConfig(folds=2),
        augment=AugmentConfig(kind="none"),
        model=MlpConfig(units=13, dropout=0.0),  # nothing drawn inside: each worker would draw its own
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
