"""Clips made of noise, of the shapes that a family reads: what it computes does not depend on what they hold."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from mien.corpora.emotions import VOCABULARIES
from mien.data.columns import Column, InMemory
from mien.data.contents import Contents
from mien.data.dataset import Dataset
from mien.data.targets import Target
from mien.experiment import (
    AffectEnsembleConfig,
    AugmentConfig,
    AvTransformerConfig,
    DataConfig,
    Experiment,
    LossConfig,
    LstmAttentionConfig,
    MlpConfig,
    ModelConfig,
    Resnet3dLstmConfig,
    TrainingConfig,
)
from mien.experiment.target import TargetSpec
from mien.features.spec import FeatureSpec, Frames
from mien.features.store.rows import encoded

N_SUBJECTS = 10
CLASSES = VOCABULARIES["common6"]


class Reads(NamedTuple):
    """What a family is measured with. frames: by feature, how many a clip has. batch_size: of its experiment."""

    model: ModelConfig
    frames: dict[str, int]
    batch_size: int = 32
    pictures: int = 0


VOICE = FeatureSpec(name="egemaps", version=1, modality="audio", shape=(88,), hop_s=0.1)
MEL = FeatureSpec(name="logmel", version=1, modality="audio", shape=(64,), hop_s=0.04)
FACE = FeatureSpec(name="facenet", version=1, modality="video", shape=(512,), hop_s=0.1)
EEG = FeatureSpec(name="eeg-bands", version=1, modality="eeg", shape=(174,), hop_s=1.0)
BODY = FeatureSpec(name="physio", version=1, modality="physio", shape=(30,), hop_s=None)
SIGNALS = FeatureSpec(name="physio-raw", version=1, modality="physio", shape=(4,), hop_s=0.25)
PICTURES = FeatureSpec(name="frames", version=1, modality="video", shape=(112, 112, 3), codec="jpeg", hop_s=0.04)
SPECS = {spec.name: spec for spec in (VOICE, MEL, FACE, EEG, BODY, SIGNALS, PICTURES)}

# Models as they are, but for resnet3d_lstm: a step of R3D-18 takes a core more than a minute.
FAMILIES = {
    "lstm_attention": Reads(LstmAttentionConfig(), {"egemaps": 35, "facenet": 35}),
    "mlp": Reads(MlpConfig(), {"egemaps": 35, "facenet": 35}),
    "av_transformer": Reads(AvTransformerConfig(), {"logmel": 88, "facenet": 35}),
    "affect_ensemble": Reads(
        AffectEnsembleConfig(), {"eeg-bands": 80, "physio": 1, "physio-raw": 320, "facenet": 80}, batch_size=16
    ),
    "resnet3d_lstm": Reads(Resnet3dLstmConfig(blocks=(1, 1), width=16), {"frames": 60}, batch_size=8, pictures=16),
}


def clips_for(family: str, n_clips: int, seed: int = 0) -> tuple[Experiment, Dataset]:
    """An experiment of a family, and clips for it: of N_SUBJECTS people and six classes, lengths a fifth apart."""
    reads, rng = FAMILIES[family], np.random.default_rng(seed)
    columns: dict[str, Column] = {}
    for name, n_frames in reads.frames.items():
        spec = SPECS[name]
        lengths = rng.integers(max(1, round(0.8 * n_frames)), round(1.2 * n_frames) + 1, n_clips)
        columns[name] = InMemory(spec, [_frames(spec, int(length), rng) for length in lengths])
    truth = np.arange(n_clips) % len(CLASSES)
    values = np.eye(len(CLASSES), dtype=np.float32)[truth]
    dataset = Dataset(
        clip_ids=[f"bench/{i:06}" for i in range(n_clips)],
        subjects=[f"bench/{i % N_SUBJECTS}" for i in range(n_clips)],
        corpora=["bench"] * n_clips,
        groups={},
        contents=Contents.of(
            n_clips, range(n_clips), [f"{i:064x}" for i in range(n_clips)], [0.0] * n_clips, [None] * n_clips
        ),
        target=Target(TargetSpec("classes", CLASSES, "uar"), truth, values, np.ones(values.shape, bool), truth),
        columns=columns,
        synthetic={"bench": True},
    )
    experiment = Experiment(
        name=f"bench-{family}".replace("_", "-"),
        data=DataConfig(corpora=("bench",), features=tuple(columns), pictures=reads.pictures, missing="drop"),
        augment=AugmentConfig(kind="none"),
        loss=LossConfig(kind="cross-entropy"),
        model=reads.model,
        training=TrainingConfig(batch_size=reads.batch_size),
    )
    return experiment, dataset


def _frames(spec: FeatureSpec, length: int, rng: np.random.Generator) -> Frames:
    valid = np.ones(length, bool)
    if spec.is_numeric:
        return Frames(rng.normal(size=(length, *spec.shape)).astype(np.float32), valid)
    # As large as a JPEG of a face: flat colours in blocks, which noise by pixel would not be.
    blocks = rng.integers(0, 256, (length, 14, 14, 3), np.uint8)
    pictures = blocks.repeat(spec.shape[0] // 14, axis=1).repeat(spec.shape[1] // 14, axis=2)
    return Frames(encoded(Frames(pictures, valid), spec), valid)  # type: ignore[arg-type]
