"""Finished runs of real learners that learned next to nothing: what a demo or an export can load, in a second."""

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

CLASSES = ("anger", "happiness", "neutral", "sadness")


def tiny_run(
    folder: Path,
    features: Mapping[str, Mapping[str, Any]],
    *,
    model: ModelConfig | None = None,
    names: tuple[str, ...] = CLASSES,
    kind: str = "classes",
) -> Path:
    """A finished run in a folder, of a model that learned from noise. features: feature to its settings. The extractors
    are built here: those of faces load torch."""
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
    n = 12 * len(names)
    truth = np.arange(n) % len(names)
    values = np.eye(len(names), dtype=np.float32)[truth] if kind == "classes" else rng.uniform(-1, 1, (n, len(names)))
    data = Target(target, truth.astype(np.float32), values.astype(np.float32), np.ones_like(values, bool), truth)

    def frames(row: int, copy: int) -> dict[str, Frames]:
        found = {}
        for name, spec in specs.items():
            some = rng.normal(size=(3 if spec.hop_s else 1, *spec.shape)).astype(np.float32)
            some[:, truth[row] :: len(names)] += 0.5
            found[name] = Frames(some, np.ones(len(some), bool))
        return found

    batches = list(make_batches(plain_order(range(n), n), frames, data, specs, batch_size=n))
    learner.train_epoch(batches, epoch=1, rate=lambda progress: 1e-3)
    run = Folder(folder).make()
    made = run / MODEL
    for name, content in written(learner.export).items():
        made.write_bytes(name, content)
    moments = {name: {EVERYBODY: Moments(*_moments(one))} for name, one in extractors.items()}
    arrays = io.BytesIO()
    np.savez(arrays, **Normaliser(moments).to_arrays())
    made.write_bytes(NORMALISER, arrays.getvalue())
    made.write_json(RECIPE, recipe.to_json())
    write_done(run)
    return folder


def _moments(extractor: Extractor) -> tuple[np.ndarray, np.ndarray]:
    """Mean and spread that are near those of the feature: those of noise at two levels, or of rows of length 1."""
    if extractor.kind != "sound":
        return np.zeros(extractor.spec.shape, np.float32), np.full(extractor.spec.shape, 0.05, np.float32)
    noise = np.random.default_rng(0).normal(0, 1, 32_000).astype(np.float32) * np.linspace(0.005, 0.1, 32_000).astype(
        np.float32
    )
    values = extractor(noise, extractor.rate_hz).values
    return values.mean(axis=0), np.maximum(values.std(axis=0), 1e-3)
