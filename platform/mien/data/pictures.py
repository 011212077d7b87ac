"""PictureChoice: which pictures of a clip a model sees.

A second of a face has 25 pictures that hardly differ, and a network for pictures takes a fixed number of them: so many
are chosen, before any is decoded. In training another choice is drawn for each epoch, from (seed, epoch, clip id,
number of the copy) alone, so that neither the number of workers nor the order changes it; to predict it is always the
one in the middle.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mien.data.batches import uniform
from mien.features.spec import FeatureSpec, Frames

CENTRE = 0.5  # the phase of what a model predicts from


@dataclass(frozen=True, kw_only=True, slots=True)
class PictureChoice:
    """n: pictures of each clip; 0 for all of them. step: from one to the next; 0 spreads them over the clip."""

    n: int = 0
    step: int = 0

    def positions(self, n_frames: int, phase: float) -> NDArray[np.int64]:
        """Those chosen of the pictures of a clip, ascending: n of them, or as many as there are.

        phase: in [0, 1), where in its room the choice lies. Spread, the clip is cut into n parts of equal length and
        the same place is taken of each, as in Wang et al., "Temporal segment networks" (ECCV 2016), but with one place
        for all, so that the time from one picture to the next stays the same. With a step, the n pictures lie
        somewhere between the start of the clip and its end.

        >>> PictureChoice(n=4).positions(12, CENTRE)
        array([ 1,  4,  7, 10])
        >>> PictureChoice(n=4, step=2).positions(12, CENTRE)
        array([3, 5, 7, 9])
        """
        if not self.n:
            return np.arange(n_frames)
        if not self.step:
            n_parts = min(self.n, n_frames)
            phase = min(phase, 1 - 1e-9)  # next to 1, the sum with a large number would be rounded up
            return ((np.arange(n_parts) + phase) * (n_frames / max(n_parts, 1))).astype(np.int64)
        n_starts = max(n_frames - (self.n - 1) * self.step, 1)
        start = min(int(phase * n_starts), n_starts - 1)
        return np.arange(start, n_frames, self.step)[: self.n]

    def __call__(
        self, frames: Mapping[str, Frames], specs: Mapping[str, FeatureSpec], phase: float = CENTRE
    ) -> dict[str, Frames]:
        """The features of a clip, with those chosen of the pictures; those of two features at one rate stay in step."""
        chosen = dict(frames)
        for name in self.lengths(specs):
            which = self.positions(len(frames[name].valid), phase)
            chosen[name] = Frames(frames[name].values[which], frames[name].valid[which])
        return chosen

    def lengths(self, specs: Mapping[str, FeatureSpec]) -> dict[str, int]:
        """The features that it chooses from, and how many pictures each has in a batch: a shorter clip is padded."""
        return {name: self.n for name, spec in specs.items() if self.n and not spec.is_numeric}


def drawn_phase(key: np.uint64, copy: int, seed: int, epoch: int) -> float:
    """In [0, 1), for one copy (0 for the clip as it is) of one clip in one epoch. key: the clip's, of `clip_keys`."""
    return float(uniform(np.array([key]), copy, seed, epoch, "pictures")[0])
