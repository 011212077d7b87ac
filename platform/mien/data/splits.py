"""Splits: which clips train, which validate, which test.

A pure function of the clips and the protocol: nothing is stored, and the order in which the clips come changes nothing,
so the same clips give everybody the same split. What a protocol never tears apart is in `mien.data.units`; whether a
split keeps its promise is checked, however it was made, by `mien.data.leaks`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from mien.data.units import WHO, Ints, Texts, Units, dealt, make_units, proportional
from mien.errors import ExperimentError
from mien.experiment.protocol import is_unknown

if TYPE_CHECKING:
    from mien.experiment import ProtocolConfig

TRAIN, VALIDATION, TEST = range(3)


@dataclass(frozen=True, slots=True, eq=False)
class Split:
    """One fold: the sorted positions, among the clips, of those that train, validate and test; crossed leaves some out.

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
    groups in the same way; groups that share a subject or a recording count as one. crossed deals the subjects to
    protocol.folds parts as by-subject does, and the groups to as many; fold i * folds + j tests subjects of part i in
    groups of part j, and learns from other subjects in other groups: a clip trains, validates or tests where its
    subject and its group both do, and is left out of the fold where they differ. official takes protocol.official as
    it is, or the sides or folds that the corpus itself states. random-leaky deals clips at random, the same share of
    each stratum to each fold. The rest of a fold trains, but for protocol.validation of its units
    (crossed: of its subjects and of its groups), drawn evenly from the corpora (random-leaky: strata).

    copies: (N,) the same number for clips of the same content. strata: (N,) class or bin of the target. groups: name of
    a group to the group of each clip, "" where it has none. overlaps: (M, 2) pairs of rows, clips that hold overlapping
    stretches of one file. sides: where the corpus itself puts each clip, as
    `mien.data.units.sides_of` takes it. All others (N,), in any order of the clips.

    Raises ExperimentError where an id occurs twice, a group is not known, there are too few subjects, groups or
    corpora, or, under crossed, too few subjects have clips of the same groups.
    """
    ways = make_units(
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
    splits = []
    for fold, parts in enumerate(product(*(range(len(units.names)) for units in ways))):
        name = ways[0].names[fold] if len(ways) == 1 else _crossed_name(fold, ways, parts)
        side_of_way = [
            _sides(units, part, f"{protocol.kind}, {name}", protocol)[units.of_clip] for units, part in zip(ways, parts)
        ]
        split = Split(fold, name, *(np.flatnonzero(_agreed(side_of_way, side)) for side in (TRAIN, VALIDATION, TEST)))
        for side, rows in (("train", split.train), ("validate", split.validation), ("test", split.test)):
            if not len(rows):  # only where not every person is in every group
                raise ExperimentError(f"{protocol.kind}, {name}: no clip left to {side} on. {_sparse(protocol)}")
        splits.append(split)
    return splits


def _sides(units: Units, fold: int, where: str, protocol: ProtocolConfig) -> Ints:
    """(U,) the side of each unit in the fold that tests the units of this number."""
    side = np.where(units.fold == fold, TEST, TRAIN) if units.side is None else units.side.copy()
    rest = np.flatnonzero(side == TRAIN)
    if len(rest) < 2 and not (side == VALIDATION).any():
        if any(is_unknown(name) for name in units.names):
            raise ExperimentError(f"{where}: {WHO}")
        raise ExperimentError(
            f"{where}: {len(rest)} {units.noun}(s) left to train and to validate on, and "
            f"it takes one for each. Add {units.noun}s{units.or_else}"
        )
    # Shifted by a fold's worth from fold to fold (uint64 wraps), so validation falls on others each time.
    draw = units.draw[rest] + np.uint64(fold * 2**64 // len(units.names))
    if not (side == VALIDATION).any():
        side[rest[proportional(units.stratum[rest], draw, protocol.validation)]] = VALIDATION
    return side


def _agreed(side_of_way: Sequence[Ints], side: int) -> NDArray[np.bool_]:
    """(N,) the clips that stand on this side by every way in which they are divided."""
    return np.all([sides == side for sides in side_of_way], axis=0)


def _crossed_name(fold: int, ways: Sequence[Units], parts: Sequence[int]) -> str:
    """As "fold 4 (subjects 1, groups 1)"."""
    return f"fold {fold} ({', '.join(f'{units.noun}s {part}' for units, part in zip(ways, parts))})"


def _sparse(protocol: ProtocolConfig) -> str:
    """What helps where the people that are left share no clip with the groups that are left."""
    return (
        f"Not every subject has a clip of every {protocol.group}: lower protocol.folds, to 2 at least, raise "
        "protocol.validation, or choose protocol.kind=by-group or by-subject"
    )


def inner_splits(split: Split, *, protocol: ProtocolConfig, **columns: Any) -> list[Split]:
    """Cross-validation within a fold: splits in which each clip that trains or validates there validates once; under
    crossed, each part of the people once, with one part of the groups.

    The first is the fold's own, the others deal what it trains with to 1 / protocol.validation - 1 parts of whole
    units, evenly from each corpus (random-leaky: stratum). None has a test side. protocol, columns: as make_splits was
    given them.
    """
    ways = make_units(**columns, protocol=protocol)
    trains = [np.unique(units.of_clip[split.train]) for units in ways]
    n_parts = min(n_inner_splits(protocol) - 1, *map(len, trains))
    parts = []  # of each clip, by each way: 0 validates in the first, -1 is in none
    for units, train in zip(ways, trains):
        part = np.full(len(units.stratum), -1)
        part[units.of_clip[split.validation]] = 0
        part[train] = 1 + dealt(units.stratum[train], units.draw[train], n_parts)
        parts.append(part[units.of_clip])
    is_in = np.all([part >= 0 for part in parts], axis=0)
    inner = []
    for number in range(n_parts + 1):
        name = f"{split.name}, inner {number}"
        train = np.flatnonzero(is_in & np.all([part != number for part in parts], axis=0))
        validation = np.flatnonzero(np.all([part == number for part in parts], axis=0))
        if not (len(train) and len(validation)):
            raise ExperimentError(f"{protocol.kind}, {name}: no clip left to learn from. {_sparse(protocol)}")
        inner.append(Split(split.fold, name, train, validation, split.test[:0]))
    return inner


def n_inner_splits(protocol: ProtocolConfig) -> int:
    """How many there are of a fold, where it has units enough."""
    return max(2, round(1 / protocol.validation))
