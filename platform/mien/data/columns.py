"""Column: one feature of N clips. Where its frames lie is its own business: no reader of it knows."""

from __future__ import annotations

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
