"""Splits: which clips train, which validate, which test.

A pure function of the clips and the protocol: nothing is stored, and the order in which the clips come
changes nothing, so anybody with the same clips gets the same split.

Every protocol has something that it never tears apart, its *units*. Grouped protocols (all but random-leaky)
keep a subject whole; subjects who share a byte-identical recording become one unit, because no split between
them could keep that recording on one side. random-leaky keeps byte-identical clips together and nothing else:
the leak that it is there to show is that of subjects.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from mien.errors import ExperimentError, LeakError

if TYPE_CHECKING:
    from mien.experiment import ProtocolConfig

Texts = Sequence[str] | NDArray[Any]
Ints = NDArray[np.int64]

SIDES = ("train", "validation", "test")
TRAIN, VALIDATION, TEST = range(3)
N_NAMED = 3  # offenders that an error names before it counts the rest


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


class _Codes(NamedTuple):
    """A column of texts as numbers. code: (N,) the place of each among the texts that there are. found, by_name: these,
    and their order.

    Texts of numpy would be as wide as the widest, 256 bytes for a hash: 2.7 GB for the splits of a million clips.
    """

    code: Ints
    found: pa.Array
    by_name: NDArray[np.uint64]

    @property
    def is_known(self) -> NDArray[np.bool_]:
        """(N,) False for the empty text, which is the first by order where there is one."""
        has_empty = len(self.found) > 0 and not self.found[int(self.by_name[0])].as_py()
        return self.code >= int(has_empty)

    def names(self, code: Ints | slice = slice(None)) -> list[str]:
        """The texts, sorted, or some of them by their code."""
        return self.found.take(pa.array(self.by_name[code])).to_pylist()


def _coded(texts: Texts, order: Ints | slice = slice(None)) -> _Codes:
    """A column, or its rows in another order."""
    encoded = pa.array(texts, pa.large_string()).dictionary_encode()
    by_name = pc.sort_indices(encoded.dictionary).to_numpy()
    rank = np.empty(len(by_name), np.int64)
    rank[by_name] = np.arange(len(by_name))
    return _Codes(rank[encoded.indices.to_numpy()[order]], encoded.dictionary, by_name)


class _Units(NamedTuple):
    """What a protocol never tears apart.

    of_clip: (N,) the unit of each clip. stratum: (U,) corpus or class, to be spread evenly. draw: (U,)
    number at random, from the seed. fold: (U,) the fold that tests it. names: one a fold. noun: what a unit
    is. or_else: what besides more units would help where there are too few.
    """

    of_clip: Ints
    stratum: Ints
    draw: NDArray[np.uint64]
    fold: Ints
    names: list[str]
    noun: str
    or_else: str = ""


def make_splits(
    *,
    clip_ids: Texts,
    subjects: Texts,
    corpora: Texts,
    contents: Texts,
    classes: Texts | NDArray[np.integer],
    protocol: ProtocolConfig,
) -> list[Split]:
    """The folds of a protocol. Each clip is tested in exactly one of them.

    by-subject deals the subjects of each corpus, most clips first, to the lightest fold, so each fold holds
    people of each corpus where there are enough; protocol.seed decides between subjects of as many clips.
    random-leaky deals clips at random, the same share of each class to each fold. The rest of a fold trains,
    but for protocol.validation of its units, drawn evenly from the corpora (random-leaky: classes).

    contents: a hash of each clip's bytes, "" where unknown. All arguments (N,), in any order of the clips.
    Raises ExperimentError where an id occurs twice, or where there are too few subjects or corpora.
    """
    columns = {"clip_ids": clip_ids, "subjects": subjects, "corpora": corpora, "contents": contents, "classes": classes}
    units = _units(columns, protocol)
    n_folds = len(units.names)
    splits = []
    for fold, name in enumerate(units.names):
        side = np.where(units.fold == fold, TEST, TRAIN)
        rest = np.flatnonzero(side == TRAIN)
        if len(rest) < 2:
            raise ExperimentError(
                f"{protocol.kind}, {name}: {len(rest)} {units.noun}(s) left to train and to validate on, and "
                f"it takes one for each. Add {units.noun}s{units.or_else}"
            )
        # Shifted by a fold's worth from fold to fold (uint64 wraps), so validation falls on others each time.
        draw = units.draw[rest] + np.uint64(fold * 2**64 // n_folds)
        side[rest[_proportional(units.stratum[rest], draw, protocol.validation)]] = VALIDATION
        side_of_clip = side[units.of_clip]
        splits.append(Split(fold, name, *(np.flatnonzero(side_of_clip == s) for s in (TRAIN, VALIDATION, TEST))))
    return splits


def inner_splits(split: Split, *, protocol: ProtocolConfig, **columns: Any) -> list[Split]:
    """Cross-validation within a fold: splits in which each clip that trains or validates there validates once.

    The first is the fold's own, the others deal what it trains with to 1 / protocol.validation - 1 parts of whole
    units, evenly from each corpus (random-leaky: class). None has a test side. protocol, columns: as make_splits was
    given them.
    """
    units = _units(columns, protocol)
    trains = np.unique(units.of_clip[split.train])
    n_parts = min(n_inner_splits(protocol) - 1, len(trains))
    part_of_unit = np.full(len(units.stratum), -1)
    part_of_unit[trains] = _dealt(units.stratum[trains], units.draw[trains], n_parts)
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


def check_leak(split: Split, *, clip_ids: Texts, subjects: Texts, contents: Texts, protocol: ProtocolConfig) -> None:
    """Refuse a split that would let a model be tested on what it has seen.

    Raises LeakError, naming the offenders, where a clip or a byte-identical recording stands on two of the
    three sides, or a subject, unless the protocol is random-leaky. Columns (N,) as the split was made for.
    """
    sides = (split.train, split.validation, split.test)
    rows = np.concatenate(sides)
    side = np.repeat(np.arange(3), [len(s) for s in sides])
    content = _coded(contents, rows)

    def where(found: Ints) -> str:
        return " and ".join(SIDES[s] for s in side[found])

    def which(texts: Texts, found: Ints) -> str:
        return " and ".join(str(texts[row]) for row in rows[found])

    clips = _on_two_sides(_coded(clip_ids, rows).code, side)
    leaks = [f"clip {which(clip_ids, found[:1])} stands on {where(found)}" for found in clips]
    if not leaks:  # a clip that stands on two sides brings its content and its subject with it
        for found in _on_two_sides(content.code, side, content.is_known):
            leaks.append(f"{which(clip_ids, found)}, the same byte for byte, stand on {where(found)}")
        if protocol.kind != "random-leaky":
            people = _on_two_sides(_coded(subjects, rows).code, side)
            leaks += [f"subject {which(subjects, found[:1])} stands on {where(found)}" for found in people]
    if leaks:
        raise LeakError(
            f"{protocol.kind}, {split.name} leaks: {_listed(leaks, '; ')}. "
            "Keep each on one side, as mien.data.splits.make_splits does"
        )


# ------------------------------------------------------------------ units


def _units(columns: Mapping[str, Any], protocol: ProtocolConfig) -> _Units:
    """Units of a protocol; of_clip in the order of the columns. ExperimentError where an id occurs twice."""
    if len({len(column) for column in columns.values()}) != 1:
        lengths = {name: len(column) for name, column in columns.items()}
        raise ValueError(f"clips: columns of different lengths, {lengths}")
    if not len(columns["clip_ids"]):
        raise ExperimentError("no clips to split: no clip of these corpora has the label and the features asked for")

    # From here on the clips stand in the order of their ids, so the order in which they came changes nothing.
    ids = _coded(columns["clip_ids"])
    order = np.argsort(ids.code, kind="stable")
    twice = np.flatnonzero(np.bincount(ids.code) > 1)
    if twice.size:
        raise ExperimentError(
            f"clip id {_listed(ids.names(twice))} occurs twice: the store is damaged; prepare it again"
        )
    subject, corpus, content = (_coded(columns[name], order) for name in ("subjects", "corpora", "contents"))
    if protocol.kind == "random-leaky":
        units = _clip_units(content, np.asarray(columns["classes"])[order], protocol)
    else:
        units = _subject_units(subject, corpus, content, protocol)
    of_clip = np.empty_like(units.of_clip)
    of_clip[order] = units.of_clip
    return units._replace(of_clip=of_clip)


def _subject_units(subject: _Codes, corpus: _Codes, content: _Codes, protocol: ProtocolConfig) -> _Units:
    """Whole subjects; those who share a recording are one unit, named "ravdess/07+ravdess/08"."""
    people, places = subject.names(), corpus.names()
    unit_of_person = _merged(subject.code, content.code, content.is_known, len(people))
    unit = unit_of_person[subject.code]
    names = _joined(people, unit_of_person)

    stratum = corpus.code[np.unique(unit, return_index=True)[1]]
    draw = np.array([_number(f"{protocol.seed}:{name}") for name in names], dtype=np.uint64)

    if protocol.kind == "loso":
        return _Units(unit, stratum, draw, np.arange(len(names)), names, "subject")

    if protocol.kind == "leave-one-corpus-out":
        fold_of_place = _merged(corpus.code, unit, np.ones(len(unit), bool), len(places))
        fold_names = _joined(places, fold_of_place)
        if len(fold_names) < 2:
            raise ExperimentError(
                f"leave-one-corpus-out needs two corpora that share no subject and no recording, and has "
                f"{_listed(places)}: add one to data.corpora, or choose protocol.kind=by-subject"
            )
        return _Units(unit, stratum, draw, fold_of_place[stratum], fold_names, "subject")

    if len(names) < protocol.folds:
        raise ExperimentError(
            f"by-subject with protocol.folds={protocol.folds} needs as many subjects and has {len(names)} "
            f"({_listed(names)}): lower protocol.folds, to 2 at least, or add subjects"
        )
    fold = _lightest(stratum, np.bincount(unit), draw, protocol.folds)
    return _Units(unit, stratum, draw, fold, _numbered(protocol), "subject", " or raise protocol.folds")


def _clip_units(content: _Codes, class_: NDArray, protocol: ProtocolConfig) -> _Units:
    """Single clips; byte-identical ones are one unit, of the class of the first."""
    _, first, inverse = np.unique(content.code, return_index=True, return_inverse=True)
    stands_for = np.where(content.is_known, first[inverse], np.arange(len(inverse)))
    representative, unit = np.unique(stands_for, return_inverse=True)
    n_units = len(representative)
    if n_units < protocol.folds:
        raise ExperimentError(
            f"random-leaky with protocol.folds={protocol.folds} needs as many clips and has {n_units}: "
            "lower protocol.folds, to 2 at least, or add clips"
        )
    stratum = np.unique(class_[representative], return_inverse=True)[1]
    # Raw bits: unlike those of `permutation`, they stay the same in all versions of numpy (its NEP 19).
    draw = np.random.PCG64(_number(f"{protocol.seed}:clips")).random_raw(n_units)
    fold = _dealt(stratum, draw, protocol.folds)
    return _Units(unit, stratum, draw, fold, _numbered(protocol), "clip", " or raise protocol.folds")


def _numbered(protocol: ProtocolConfig) -> list[str]:
    return [f"fold {fold}" for fold in range(protocol.folds)]


def _joined(names: Sequence[str], set_of: Ints) -> list[str]:
    """Name of each set: those of its members, in order, with a plus."""
    members: list[list[str]] = [[] for _ in range(set_of.max() + 1)]
    for name, number in zip(names, set_of.tolist()):
        members[number].append(name)
    return ["+".join(name) for name in members]


def _merged(group: Ints, key: NDArray, counts: NDArray[np.bool_], n_groups: int) -> Ints:
    """(n_groups,) number of the set that each group falls into when groups that share a key are one.

    group, key, counts: (N,); rows where counts is False bind nothing. Sets are numbered by their first group.
    """
    code = np.unique(key[counts], return_inverse=True)[1]
    pairs = np.unique(code * n_groups + group[counts])
    shared = pairs[1:] // n_groups == pairs[:-1] // n_groups
    links = np.unique((pairs[:-1] % n_groups * n_groups + pairs[1:] % n_groups)[shared])

    root = list(range(n_groups))

    def find(g: int) -> int:
        while root[g] != g:
            root[g] = root[root[g]]
            g = root[g]
        return g

    for a, b in zip((links // n_groups).tolist(), (links % n_groups).tolist()):
        low, high = sorted((find(a), find(b)))
        root[high] = low
    return np.unique([find(g) for g in range(n_groups)], return_inverse=True)[1]


# ------------------------------------------------------------------ draws


def _lightest(stratum: Ints, n_clips: Ints, draw: NDArray[np.uint64], n_folds: int) -> Ints:
    """Fold of each unit: stratum by stratum, largest first, to the fold with least of it, then of everything.

    An empty fold is always the lightest, so none stays empty while there are units.
    """
    fold = np.empty(len(stratum), dtype=np.int64)
    load = np.zeros((stratum.max() + 1, n_folds), dtype=np.int64)
    for unit in np.lexsort((draw, -n_clips, stratum)):
        own = load[stratum[unit]]
        fold[unit] = np.lexsort((load.sum(axis=0), own))[0]
        own[fold[unit]] += n_clips[unit]
    return fold


def _dealt(stratum: Ints, draw: NDArray[np.uint64], n_parts: int) -> Ints:
    """Part of each unit, in turn, so that no two parts differ by more than one unit of a stratum."""
    part = np.empty(len(stratum), dtype=np.int64)
    part[np.lexsort((draw, stratum))] = np.arange(len(stratum)) % n_parts
    return part


def _proportional(stratum: Ints, draw: NDArray[np.uint64], share: float) -> Ints:
    """Positions of a share of the units, at random, as nearly as can be the same share of each stratum.

    At least one, and at least one is left.
    """
    order = np.lexsort((draw, stratum))
    ordered = stratum[order]
    rank = np.arange(len(order)) - np.searchsorted(ordered, ordered)
    quantile = (rank + 0.5) / np.bincount(ordered)[ordered]
    n_drawn = min(max(1, round(share * len(order))), len(order) - 1)
    return order[np.lexsort((draw[order], quantile))[:n_drawn]]


def _number(text: str) -> int:
    """64 bits that are the same on every machine and in every version of everything."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big")


# ------------------------------------------------------------------ leaks


def _on_two_sides(value: NDArray[Any], side: Ints, counts: NDArray[np.bool_] | bool = True) -> list[Ints]:
    """For each value that stands on more than one side, its first row on each; rows may be left out."""
    names, code = np.unique(value, return_inverse=True)
    first = np.full((len(names), len(SIDES)), len(code))
    rows = np.flatnonzero(np.broadcast_to(counts, code.shape))
    np.minimum.at(first, (code[rows], side[rows]), rows)
    found = first < len(code)
    return [first[i][found[i]] for i in np.flatnonzero(found.sum(axis=1) > 1)]


def _listed(names: Sequence[str] | NDArray, comma: str = ", ") -> str:
    """The first few, and how many more."""
    more = len(names) - N_NAMED
    return comma.join(map(str, names[:N_NAMED])) + (f" and {more} more" if more > 0 else "")
