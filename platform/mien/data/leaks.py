"""Leaks: whether a split lets a model be tested on what it has seen, however the split was made."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import numpy as np

from mien.data.splits import Split
from mien.data.units import N_NAMED, SIDES, Ints, Texts, coded, listed
from mien.errors import LeakError
from mien.experiment.protocol import OF_GROUPS, is_unknown

if TYPE_CHECKING:
    from mien.experiment import ProtocolConfig


def check_leak(
    split: Split,
    *,
    clip_ids: Texts,
    subjects: Texts,
    copies: Ints,
    protocol: ProtocolConfig,
    groups: Mapping[str, Texts] | None = None,
    overlaps: Ints | None = None,
    shared_s: Callable[[int, int], tuple[float, float]] = lambda row, other: (np.nan, np.nan),
) -> None:
    """Refuse a split that would let a model be tested, or validated, on what it has seen.

    Columns (N,), groups and overlaps as `mien.data.splits.make_splits` takes them. shared_s: from the rows of two clips
    to the start and end, in their file, of what both hold; NaN where not known, inf for the file's end.

    Raises LeakError, naming the offenders, where two of the three sides share a clip, a recording (copies, or
    overlapping stretches of one file) or, unless the protocol is random-leaky, a subject; under by-group and crossed, a
    group.
    """
    groups = groups or {}
    is_of_corpus = protocol.kind == "official" and not protocol.official  # where who is unknown may be on any side
    sides = (split.train, split.validation, split.test)
    rows = np.concatenate(sides)
    side = np.repeat(np.arange(len(SIDES)), [len(s) for s in sides])

    def where(found: Ints) -> str:
        return " and ".join(SIDES[s] for s in side[found])

    def which(texts: Texts, found: Ints) -> str:
        return " and ".join(str(texts[row]) for row in rows[found])

    remedy = "Keep each on one side, as mien.data.splits.make_splits does"
    clips = _on_two_sides(coded(clip_ids, rows).code, side)
    leaks = [f"clip {which(clip_ids, found[:1])} stands on {where(found)}" for found in clips]
    if not leaks:  # a clip that stands on two sides brings its content and its subject with it
        for found in _on_two_sides(np.asarray(copies)[rows], side):
            leaks.append(f"{which(clip_ids, found)}, copies of each other, stand on {where(found)}")
        if protocol.kind != "random-leaky":
            people = _on_two_sides(coded(subjects, rows).code, side)
            leaks += [
                f"subject {which(subjects, found[:1])} stands on {where(found)}"
                for found in people
                if not (is_of_corpus and is_unknown(str(subjects[rows[found[0]]])))
            ]
        if protocol.kind in OF_GROUPS:
            column = groups[protocol.group]
            whole = _on_two_sides(coded(column, rows).code, side)
            leaks += [f"{protocol.group} {which(column, found[:1])} stands on {where(found)}" for found in whole]
    if not leaks and overlaps is not None and len(overlaps):
        side_of_row = np.full(len(clip_ids), -1)
        side_of_row[rows] = side
        at = side_of_row[overlaps]
        parted = np.flatnonzero((at[:, 0] != at[:, 1]) & (at >= 0).all(axis=1))
        for pair in parted:
            one, other = overlaps[pair]
            stretch = _stretch(*shared_s(one, other)) if len(leaks) < N_NAMED else ""
            on = " and ".join(SIDES[s] for s in at[pair])
            leaks.append(f"{clip_ids[one]} and {clip_ids[other]} hold {stretch} and stand on {on}")
        if leaks:
            remedy = _remedy(overlaps[parted], groups)
    if leaks:
        raise LeakError(f"{protocol.kind}, {split.name} leaks: {listed(leaks, '; ')}. {remedy}")


def _on_two_sides(value: Ints, side: Ints) -> list[Ints]:
    """For each value that stands on more than one side, its first row on each."""
    names, code = np.unique(value, return_inverse=True)
    first = np.full((len(names), len(SIDES)), len(code))
    np.minimum.at(first, (code, side), np.arange(len(code)))
    found = first < len(code)
    return [first[i][found[i]] for i in np.flatnonzero(found.sum(axis=1) > 1)]


def _stretch(start_s: float, end_s: float) -> str:
    """
    >>> _stretch(3.25, 4.0)
    'the same 3.25 s to 4 s of one file'
    """
    if np.isnan(start_s) or np.isnan(end_s):
        return "overlapping stretches of one file"
    return f"the same {start_s:g} s to {'the end' if np.isinf(end_s) else f'{end_s:g} s'} of one file"


def _remedy(pairs: Ints, groups: Mapping[str, Texts]) -> str:
    """How clips that overlap stay together: by a group that every such pair shares, if there is one."""
    for name, column in groups.items():
        if all(column[a] and column[a] == column[b] for a, b in pairs):
            return f"Each pair shares a {name}: choose protocol.kind=by-group with protocol.group={name}"
    return (
        "Leave one of each pair out, or give both a group of the same name (Clip.groups) and choose "
        "protocol.kind=by-group"
    )
