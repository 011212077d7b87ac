"""Normaliser: standardised columns, fitted on rows that may be looked at.

"train": mean and spread over the frames of the training clips. "speaker": each speaker's own mean and spread, over
all of that speaker's clips and without labels, as in a recogniser that has listened to a person for a while;
transductive, and named so in each report. Pictures are left as they are, and so is what parents predicted.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from mien.data.columns import Column
from mien.features.spec import Frames

LARGEST = 6.0  # standard deviations; openSMILE's ratios have tails of hundreds that would drown a batch
SMALLEST_SPREAD = 1e-6  # a column that does not vary carries nothing and must not be blown up
EVERYBODY = ""  # the group of those who are in none of their own


class Moments(NamedTuple):
    """mean, spread: of one feature of one group of clips, the shape of one frame each, float32."""

    mean: NDArray[np.float32]
    spread: NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Normaliser:
    """moments: feature that is standardised to group (EVERYBODY, or a subject) to its moments. `__call__` is pure."""

    moments: Mapping[str, Mapping[str, Moments]]

    def __call__(self, frames: Mapping[str, Frames], subject: str = EVERYBODY) -> dict[str, Frames]:
        """The features of one clip: those with moments standardised, clipped to ±6, and zero where invalid.

        subject: who it is; somebody without moments of their own is standardised like everybody else.
        """
        return {name: self._standardised(name, one, subject) for name, one in frames.items()}

    def _standardised(self, name: str, frames: Frames, subject: str) -> Frames:
        of_group = self.moments.get(name)
        if of_group is None:
            return frames
        mean, spread = of_group.get(subject, of_group[EVERYBODY])
        values = (frames.values - mean) / spread
        np.clip(values, -LARGEST, LARGEST, out=values)
        values[~frames.valid] = 0.0
        return Frames(values, frames.valid)

    def knowing(self, columns: Mapping[str, Column], subjects: Sequence[str], people: Collection[str]) -> Normaliser:
        """One that also has the moments of these people, of all their rows; those whom it knows stay as they are.

        subjects: of each row of the columns. Of a feature without a column, and of a person with a single valid frame,
        nothing is added.
        """
        moments: dict[str, Mapping[str, Moments]] = {}
        for name, of_group in self.moments.items():
            new = set(people) - of_group.keys()
            sums = {person: _Sums(of_group[EVERYBODY].mean.shape) for person in new if name in columns}
            for row, subject in enumerate(subjects):
                if subject in sums:
                    sums[subject].add(*_part(columns[name][row]))
            moments[name] = {**of_group, **{person: own.moments() for person, own in sums.items() if own.count > 1}}
        return Normaliser(moments)

    def to_arrays(self) -> dict[str, NDArray[Any]]:
        """For a file of arrays (npz): of each feature its groups (G,), and mean and spread, (G, *shape)."""
        arrays: dict[str, NDArray[Any]] = {}
        for name, of_group in self.moments.items():
            arrays[f"{name}.groups"] = np.array(list(of_group))
            arrays[f"{name}.mean"] = np.stack([moments.mean for moments in of_group.values()])
            arrays[f"{name}.spread"] = np.stack([moments.spread for moments in of_group.values()])
        return arrays

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]]) -> Normaliser:
        """What `to_arrays` gave."""
        names = [key.removesuffix(".groups") for key in arrays if key.endswith(".groups")]
        return cls(
            {
                name: dict(
                    zip(
                        arrays[f"{name}.groups"].tolist(),
                        map(Moments, arrays[f"{name}.mean"], arrays[f"{name}.spread"]),
                    )
                )
                for name in names
            }
        )


def fit_normaliser(
    columns: Mapping[str, Column], subjects: Sequence[str], train: NDArray[np.int64], *, by_speaker: bool
) -> Normaliser:
    """From the training rows; by_speaker adds each speaker's own, from all rows of that speaker.

    A speaker with a single valid frame is standardised like everybody else. Each row is read once.
    """
    rows = range(len(subjects)) if by_speaker else np.sort(train).tolist()
    trains = set(train.tolist())
    return Normaliser(
        {
            name: _of_groups(column, subjects, rows, trains, by_speaker)
            for name, column in columns.items()
            if column.spec.is_numeric and column.spec.modality != "prediction"
        }
    )


def _of_groups(
    column: Column, subjects: Sequence[str], rows: Sequence[int], trains: set[int], by_speaker: bool
) -> dict[str, Moments]:
    sums = {EVERYBODY: _Sums(column.spec.shape)}
    for row in rows:
        part = _part(column[row])
        if row in trains:
            sums[EVERYBODY].add(*part)
        if by_speaker:
            sums.setdefault(subjects[row], _Sums(column.spec.shape)).add(*part)
    return {group: own.moments() for group, own in sums.items() if group == EVERYBODY or own.count > 1}


def _part(frames: Frames) -> tuple[int, NDArray[np.float64], NDArray[np.float64]]:
    """Number, sum and sum of squares of a clip's valid frames."""
    values = frames.values[frames.valid].astype(np.float64)
    return len(values), values.sum(axis=0), np.square(values).sum(axis=0)


class _Sums:
    """Sums over valid frames, clip by clip in float64: memory of one clip, whatever the corpus."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        self.count, self.total, self.squares = 0, np.zeros(shape), np.zeros(shape)

    def add(self, count: int, total: NDArray[np.float64], squares: NDArray[np.float64]) -> None:
        self.count += count
        self.total += total
        self.squares += squares

    def moments(self) -> Moments:
        """Mean and population standard deviation."""
        mean = self.total / max(self.count, 1)
        spread = np.sqrt(np.maximum(self.squares / max(self.count, 1) - mean**2, 0.0))
        spread[spread < SMALLEST_SPREAD * np.maximum(1.0, np.abs(mean))] = 1.0
        return Moments(mean.astype(np.float32), spread.astype(np.float32))
