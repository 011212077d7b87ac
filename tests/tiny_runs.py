"""Finished runs of real learners, trained in a second: each class is louder and higher, faces are noise."""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from mien.data.batches import make_batches, plain_order
from mien.data.normalise import EVERYBODY, Moments, Normaliser
from mien.data.targets import Target
from mien.experiment import LossConfig, ModelConfig, SvmConfig, TrainingConfig
from mien.experiment.target import TargetSpec
from mien.families import FAMILIES
from mien.families.files import written
from mien.families.recipe import NORMALISER, RECIPE, ModelRecipe
from mien.features.recipe import ExtractorRecipe
from mien.features.spec import Extractor, Frames
from mien.folder import Folder
from mien.results.done import MODEL, write_done
from tiny_media import voice

CLASSES = ("anger", "happiness", "neutral", "sadness")


def tiny_run(
    folder: Path,
    features: Mapping[str, Mapping[str, Any]],
    *,
    model: ModelConfig | None = None,
    names: tuple[str, ...] = CLASSES,
    kind: str = "classes",
) -> Path:
    """A finished run in a folder. features: feature to its settings, of sound or of pictures. Extractors of sound are run
    here, those of pictures are only built: random weights load no torch."""
    rng = np.random.default_rng(0)
    recipes = {name: ExtractorRecipe(name, settings) for name, settings in features.items()}
    extractors: dict[str, Extractor] = {name: recipe.build() for name, recipe in recipes.items()}
    specs = {name: one.spec for name, one in extractors.items()}
    target = TargetSpec(kind, names, "uar" if kind == "classes" else "ccc")
    model = model or SvmConfig()
    recipe = ModelRecipe(
        model=model,
        training=TrainingConfig(),
        loss=LossConfig(kind="cross-entropy" if kind == "classes" else "mse"),
        seed=0,
        target=target,
        inputs=specs,
        extractors={
            name: {"name": name, "settings": dict(features[name]), "medium": one.medium}
            for name, one in extractors.items()
        },
        normalise="train",
        is_synthetic=True,
    )
    learner = FAMILIES[model.family].build(recipe.task())
    n = 6 * len(names)
    truth = np.arange(n) % len(names)
    values = np.eye(len(names), dtype=np.float32)[truth] if kind == "classes" else rng.uniform(-1, 1, (n, len(names)))
    data = Target(target, truth.astype(np.float32), values.astype(np.float32), np.ones_like(values, bool), truth)

    clips = [{name: _learnt_from(one, int(label), rng) for name, one in extractors.items()} for label in truth]
    normaliser = Normaliser({name: {EVERYBODY: _moments([clip[name] for clip in clips])} for name in specs})
    order = plain_order(range(n), n)
    batches = list(make_batches(order, lambda row, copy: normaliser(clips[row]), data, specs, batch_size=n))
    learner.train_epoch(batches, epoch=1, rate=lambda progress: 1e-3)
    run = Folder(folder).make()
    made = run / MODEL
    for name, content in written(learner.export).items():
        made.write_bytes(name, content)
    arrays = io.BytesIO()
    np.savez(arrays, **normaliser.to_arrays())
    made.write_bytes(NORMALISER, arrays.getvalue())
    made.write_json(RECIPE, recipe.to_json())
    write_done(run)
    return folder


def _learnt_from(extractor: Extractor, label: int, rng: np.random.Generator) -> Frames:
    """The features of a clip of a class."""
    if extractor.kind != "sound":  # rows of length 1, as those of FaceNet are
        rows = rng.normal(size=(3, *extractor.spec.shape)).astype(np.float32)
        return Frames(rows / np.linalg.norm(rows, axis=1, keepdims=True), np.ones(3, bool))
    speed, loudness = 0.85 * 1.12**label * rng.uniform(0.95, 1.05), 0.06 * 2.5**label * rng.uniform(0.6, 1.6)
    spoken = voice(3.5, round(extractor.rate_hz))
    first, n = rng.integers(len(spoken) // 4), round(1.4 * extractor.rate_hz)
    sound = np.interp(first + speed * np.arange(n), np.arange(len(spoken)), spoken)
    sound = loudness * sound + rng.normal(0, rng.uniform(0.0003, 0.003), n)
    return extractor(sound.clip(-1, 1).astype(np.float32), extractor.rate_hz)


def _moments(clips: list[Frames]) -> Moments:
    rows = np.concatenate([clip.values for clip in clips])
    return Moments(rows.mean(axis=0), np.maximum(rows.std(axis=0), 1e-3))
