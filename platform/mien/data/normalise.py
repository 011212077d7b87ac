"""Normaliser: standardised columns, fitted on rows that may be looked at.

"train": mean and spread over the frames of the training clips. "speaker": each speaker's own mean and spread, over
all of that speaker's clips and without labels, as in a recogniser that has listened to a person for a while;
transductive, and named so in each report.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mien.features.spec import Frames

LARGEST = 6.0  # standard deviations; openSMILE's ratios have tails of hundreds that would drown a batch
SMALLEST_SPREAD = 1e-6  # a column that does not vary carries nothing and must not be blown up


@dataclass(frozen=True, slots=True)
class Normaliser:
    """mean and spread: group ("" for all, or a subject) to (D,) each. `__call__` is pure."""

    mean: Mapping[str, NDArray[np.float32]]
    spread: Mapping[str, NDArray[np.float32]]

    def __call__(self, frames: Frames, subject: str) -> Frames:
        """Standardised, clipped to ±6, zero where invalid. (T, D) in, (T, D) out."""
        group = subject if subject in self.mean else ""
        values = (frames.values - self.mean[group]) / self.spread[group]
        np.clip(values, -LARGEST, LARGEST, out=values)
        values[~frames.valid] = 0.0
        return Frames(values, frames.valid)


def fit_normaliser(
    frames: Sequence[Frames], subjects: Sequence[str], train: NDArray[np.int64], *, by_speaker: bool
) -> Normaliser:
    """From the training rows; by_speaker adds each speaker's own, from all rows of that speaker.

    A speaker with a single valid frame is standardised like everybody else.
    """
    mean, spread = {}, {}
    mean[""], spread[""] = _moments([frames[i] for i in train])
    if by_speaker:
        rows: dict[str, list[Frames]] = {}
        for one, subject in zip(frames, subjects):
            rows.setdefault(subject, []).append(one)
        for subject, own in rows.items():
            if sum(int(one.valid.sum()) for one in own) > 1:
                mean[subject], spread[subject] = _moments(own)
    return Normaliser(mean, spread)


def _moments(frames: Sequence[Frames]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Mean and population standard deviation by column over all valid frames, summed clip by clip in float64."""
    dim = frames[0].values.shape[1]
    count, total, squares = 0, np.zeros(dim), np.zeros(dim)
    for one in frames:
        values = one.values[one.valid].astype(np.float64)
        count += len(values)
        total += values.sum(axis=0)
        squares += np.square(values).sum(axis=0)
    mean = total / max(count, 1)
    spread = np.sqrt(np.maximum(squares / max(count, 1) - mean**2, 0.0))
    spread[spread < SMALLEST_SPREAD * np.maximum(1.0, np.abs(mean))] = 1.0
    return mean.astype(np.float32), spread.astype(np.float32)
