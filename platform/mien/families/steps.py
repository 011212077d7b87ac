"""A sequence as steps on the clock: how models of attention read frames of any rate and any number."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from mien.data.batches import Batch
from mien.features.spec import FeatureSpec


class Steps(NamedTuple):
    """values: (b, T, *shape). mask: (b, T), True where valid. times_s: (b, T) of each step's centre."""

    values: NDArray[Any]
    mask: NDArray[np.bool_]
    times_s: NDArray[np.float32]


def steps_of(batch: Batch, inputs: Mapping[str, FeatureSpec], step_s: float, max_steps: int) -> dict[str, Steps]:
    """The steps of each input. What a clip's steps are does not depend on the clips beside it.

    step_s: every n-th frame is read, the nearest to this step; 0 reads all. max_steps: of a clip with more valid frames
    so many are taken, evenly from its first frame to its last valid one.
    """
    found = {}
    for name, spec in inputs.items():
        values, mask = batch.values[name], batch.masks[name]
        stride = max(1, round(step_s / spec.hop_s)) if spec.hop_s else 1
        values, mask = values[:, ::stride], mask[:, ::stride]
        taken = np.broadcast_to(np.arange(mask.shape[1]), mask.shape)
        if mask.shape[1] > max_steps:
            n = np.where(mask.any(axis=1), mask.shape[1] - mask[:, ::-1].argmax(axis=1), 0)[:, None]
            taken = np.arange(max_steps)[None] * np.maximum(n, max_steps) // max_steps
            rows = np.arange(len(mask))[:, None]
            values, mask = values[rows, taken], mask[rows, taken]
        times_s = spec.offset_s + taken * (stride * (spec.hop_s or 0.0))
        found[name] = Steps(values, mask, times_s.astype(np.float32))
    return found
