"""Target: what is learnt of each clip, classes or dimensions, as numbers."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mien.experiment.target import TargetSpec


@dataclass(frozen=True, slots=True)
class Target:
    """The target of N clips.

    truth: what is scored, (N,) int64 class indices or (N, K) float32 ratings in [-1, 1], NaN where it was not rated.
    values: (N, K) float32, what is learnt: one-hot or the raters' shares; ratings, 0 where not rated. mask: (N, K)
    bool, False where not rated; of classes True. strata: (N,) int64, what a random split spreads evenly: the class, or
    a bin of the first dimension.
    """

    spec: TargetSpec
    truth: NDArray[np.int64] | NDArray[np.float32]
    values: NDArray[np.float32]
    mask: NDArray[np.bool_]
    strata: NDArray[np.int64]
