"""A clip's frames as one row: mean and spread over what is valid, for families that read no sequences."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mien.data.batches import Batch
from mien.features.spec import FeatureSpec


def pooled(batch: Batch, inputs: Mapping[str, FeatureSpec]) -> dict[str, NDArray[np.float64]]:
    """Feature name to (b, D'): of a sequence mean and standard deviation, D' = 2 D; of a row the row.

    A missing input is zeros.
    """
    rows = {}
    for name, spec in inputs.items():
        mean, spread = _moments(batch.values[name], batch.masks[name])
        rows[name] = mean if spec.hop_s is None else np.hstack([mean, spread])
    return rows


def _moments(values: NDArray[Any], mask: NDArray[np.bool_]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean and standard deviation over valid frames, (b, T, D) to (b, D) each; zeros where nothing is valid."""
    weights = mask[..., None].astype(np.float64)
    count = np.maximum(weights.sum(axis=1), 1.0)
    mean = (values * weights).sum(axis=1) / count
    return mean, np.sqrt((np.square(values - mean[:, None]) * weights).sum(axis=1) / count)
