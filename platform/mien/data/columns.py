"""Column: one feature of N clips. Where its frames lie is its own business: no reader of it knows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from mien.features.spec import FeatureSpec, Frames


class Column(Protocol):
    """One feature of N clips.

    lengths: (N,) frames of each clip, 0 where it lacks the feature. column[row]: its frames, decoded where the codec
    asks for it; (0, *shape) where it lacks the feature. A column can be sent to another process.
    """

    spec: FeatureSpec
    lengths: NDArray[np.int64]

    def __getitem__(self, row: int) -> Frames: ...


class InMemory:
    """A column whose frames are there: views of a store's table, or made by hand."""

    def __init__(self, spec: FeatureSpec, frames: Sequence[Frames | None]) -> None:
        """frames: of each clip, None where it lacks the feature."""
        self.spec = spec
        self.lengths = np.array([0 if one is None else len(one.valid) for one in frames], np.int64)
        self._frames = frames

    def __getitem__(self, row: int) -> Frames:
        return self._frames[row] or absent(self.spec)


def absent(spec: FeatureSpec) -> Frames:
    """The frames of a clip that lacks a feature: none."""
    return Frames(np.zeros((0, *spec.shape), np.float32 if spec.is_numeric else np.uint8), np.zeros(0, bool))
