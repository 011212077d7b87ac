"""Splits: which clips train, which validate, which test.

A pure function of the clips and the protocol: nothing is stored, and the order in which the clips come changes nothing,
so the same clips give everybody the same split. What a protocol never tears apart is in `mien.data.units`; whether a
split keeps its promise is checked, however it was made, by `mien.data.leaks`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from mien.data.units import WHO, Ints, Texts, dealt, make_units, proportional
from mien.errors import ExperimentError
from mien.experiment.protocol import is_unknown

if TYPE_CHECKING:
    from mien.experiment import ProtocolConfig

TRAIN, VALIDATION, TEST = range(3)


@dataclass(frozen=True, slots=True, eq=False)
class Split:
    """One fold: the sorted positions, among the clips, of those that train, validate and test.

    name: "fold 0"; under loso the subject ("ravdess/07"), under leave-one-corpus-out the corpus ("cremad").
    """

    fold: int
    name: str
    train: Ints
    validation: Ints
    test: Ints


def make_splits(
    *,
    clip_ids: Texts,
    subjects: Texts,
    corpora: Texts,
    copies: Ints,
    strata: Ints,
    protocol: ProtocolConfig,
    groups: Mapping[str, Texts] | None = None,
    overlaps: Ints | None = None,
    sides: Texts = (),
) -> list[Split]:
    """The folds of a protocol. Each clip is tested in exactly one of them.

    by-subject deals the subjects of each corpus, most clips first, to the lightest fold, so each fold holds people of
    each corpus where there are enough; protocol.seed decides between subjects of as many clips. by-group deals whole
    groups in the same way; groups that share a subject or a recording count as one. official takes protocol.official as
    it is, or the sides or folds that the corpus itself states. random-leaky deals clips at random,
    the same share of each stratum to each fold. The rest of a fold trains, but for protocol.validation of its units,
    drawn evenly from the corpora (random-leaky: strata).

    copies: (N,) the same number for clips of the same content. strata: (N,) class or bin of the target. groups: name of
    a group to the group of each clip, "" where it has none. overlaps: (M, 2) pairs of rows, clips that hold overlapping
    stretches of one file. sides: where the corpus itself puts each clip, as
    `mien.data.units.sides_of` takes it. All others (N,), in any order of the clips.

    Raises ExperimentError where an id occurs twice, a group is not known, or there are too few subjects, groups or
    corpora.
    """
    units = make_units(
        clip_ids=clip_ids,
        subjects=subjects,
        corpora=corpora,
        copies=copies,
        strata=strata,
        protocol=protocol,
        groups=groups,
        overlaps=overlaps,
        sides=sides,
    )
    n_folds = len(units.names)
    splits = []
    for fold, name in enumerate(units.names):
        side = np.where(units.fold == fold, TEST, TRAIN) if units.side is None else units.side.copy()
        rest = np.flatnonzero(side == TRAIN)
        if len(rest) < 2 and not (side == VALIDATION).any():
            if any(is_unknown(name) for name in units.names):
                raise ExperimentError(f"{protocol.kind}, {name}: {WHO}")
            raise ExperimentError(
                f"{protocol.kind}, {name}: {len(rest)} {units.noun}(s) left to train and to validate on, and "
                f"it takes one for each. Add {units.noun}s{units.or_else}"
            )
        # Shifted by a fold's worth from fold to fold (uint64 wraps), so validation falls on others each time.
        draw = units.draw[rest] + np.uint64(fold * 2**64 // n_folds)
        if not (side == VALIDATION).any():
            side[rest[proportional(units.stratum[rest], draw, protocol.validation)]] = VALIDATION
        side_of_clip = side[units.of_clip]
        splits.append(Split(fold, name, *(np.flatnonzero(side_of_clip == s) for s in (TRAIN, VALIDATION, TEST))))
    return splits


def inner_splits(split: Split, *, protocol: ProtocolConfig, **columns: Any) -> list[Split]:
    """Cross-validation within a fold: splits in which each clip that trains or validates there validates once.

    The first is the fold's own, the others deal what it trains with to 1 / protocol.validation - 1 parts of whole
    units, evenly from each corpus (random-leaky: stratum). None has a test side. protocol, columns: as make_splits was
    given them.
    """
    units = make_units(**columns, protocol=protocol)
    trains = np.unique(units.of_clip[split.train])
    n_parts = min(n_inner_splits(protocol) - 1, len(trains))
    part_of_unit = np.full(len(units.stratum), -1)
    part_of_unit[trains] = dealt(units.stratum[trains], units.draw[trains], n_parts)
    part = part_of_unit[units.of_clip[split.train]]
    nobody = split.test[:0]
    others = [
        Split(
            split.fold,
            f"{split.name}, inner {number + 1}",
            np.sort(np.concatenate([split.train[part != number], split.validation])),
            split.train[part == number],
            nobody,
        )
        for number in range(n_parts)
    ]
    return [Split(split.fold, f"{split.name}, inner 0", split.train, split.validation, nobody), *others]


def n_inner_splits(protocol: ProtocolConfig) -> int:
    """How many there are of a fold, where it has units enough."""
    return max(2, round(1 / protocol.validation))
