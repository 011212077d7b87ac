"""Disturb: the inputs of a clip hidden, or with noise on them, to see what a finished model makes of that."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mien.data.batches import stable_seed
from mien.data.columns import absent
from mien.features.spec import FeatureSpec, Frames

PREDICTION = "prediction"  # the modality of what a parent predicted

Change = Callable[[int, Mapping[str, Frames]], Mapping[str, Frames]]  # row of the dataset and its frames to others


def modalities_of(specs: Mapping[str, FeatureSpec]) -> dict[str, tuple[str, ...]]:
    """What can be hidden to its features, in the order of the inputs: each modality, and each parent by itself."""
    found: dict[str, list[str]] = {}
    for name, spec in specs.items():
        found.setdefault(name if spec.modality == PREDICTION else spec.modality, []).append(name)
    return {modality: tuple(names) for modality, names in found.items()}


def hidden(frames: Mapping[str, Frames], names: Collection[str], specs: Mapping[str, FeatureSpec]) -> dict[str, Frames]:
    """The features of a clip as if it lacked those of these names."""
    return {name: absent(specs[name]) if name in names else one for name, one in frames.items()}


def takes_noise(spec: FeatureSpec) -> bool:
    """Whether a feature can be made noisy: what parents predicted is not."""
    return spec.modality != PREDICTION


def noisy(
    frames: Mapping[str, Frames], level: float, specs: Mapping[str, FeatureSpec], *parts: object
) -> dict[str, Frames]:
    """The standardised features of a clip with Gaussian noise on their valid frames.

    level: standard deviation of the noise, in spreads of each column; of pictures, in that of the clip's own pixels.
    parts: what the draw is made of, such as seed and clip id; it is the same for every level, so that two of them
    differ in nothing else.
    """
    return {
        name: _noisy(one, level, np.random.default_rng(stable_seed("noise", *parts, name)))
        if takes_noise(specs[name]) and one.valid.any()
        else one
        for name, one in frames.items()
    }


def _noisy(frames: Frames, level: float, rng: np.random.Generator) -> Frames:
    values: NDArray[Any] = np.asarray(frames.values)
    noise = level * rng.standard_normal(values.shape, dtype=np.float32)
    noise *= frames.valid.reshape(-1, *[1] * (values.ndim - 1))
    if values.dtype != np.uint8:
        return Frames((values + noise).astype(np.float32), frames.valid)
    noise *= np.float32(values[frames.valid].std())
    return Frames(np.clip(np.rint(values + noise), 0, 255).astype(np.uint8), frames.valid)
