"""Units: what a protocol never tears apart, and the fold that tests each.

Grouped protocols (all but random-leaky) keep a subject whole; subjects who share a recording become one unit, because
no split between them could keep that recording on one side. by-group keeps whole groups (meetings, stimuli), joined in
the same way by the subjects and the recordings that they share. crossed has units of two kinds at once, subjects and
groups, and each clip is in one of each kind. random-leaky keeps copies of a clip together, and clips cut from
overlapping stretches of one file, and nothing else: the leak that it is there to show is that of subjects.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from mien.errors import ExperimentError, LeakError, nearest
from mien.experiment.protocol import OF_GROUPS, is_unknown

if TYPE_CHECKING:
    from mien.experiment import ProtocolConfig

Texts = Sequence[str] | NDArray[Any]
Ints = NDArray[np.int64]
Draws = NDArray[np.uint64]

SIDES = ("train", "validation", "test")
# Of the attribute split of a clip.
SIDE_OF = {"train": 0, "dev": 1, "test": 2}
WHO = (
    "who is in which clip is not known, and clips of nobody in particular cannot be split by person; prepare again "
    "with a column subject or --table.subject, or choose protocol.kind=random-leaky, whose scores say nothing of new "
    "people"
)
N_NAMED = 3  # offenders that an error names before it counts the rest


class Units(NamedTuple):
    """U units of N clips.

    of_clip: (N,) the unit of each clip. stratum: (U,) corpus, or stratum of the target, to be spread evenly. draw: (U,)
    number at random, from the seed. fold: (U,) the fold that tests it. names: one per fold. noun: what a unit is.
    or_else: what besides more units would help where there are too few. side: (U,) where each stands, an index of
    `SIDES`, if the corpus itself says so.
    """

    of_clip: Ints
    stratum: Ints
    draw: Draws
    fold: Ints
    names: list[str]
    noun: str
    or_else: str = ""
    side: Ints | None = None


def make_units(
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
) -> list[Units]:
    """The units of a protocol, of subjects and of groups under crossed, else of one kind; arguments as those of
    `mien.data.splits.make_splits`.

    Raises ExperimentError where an id occurs twice, or where there are too few units for the protocol.
    """
    groups = groups or {}
    columns = {"clip_ids": clip_ids, "subjects": subjects, "corpora": corpora, "copies": copies, "strata": strata}
    lengths = {name: len(column) for name, column in {**columns, **groups}.items()}
    if len(set(lengths.values())) != 1:
        raise ValueError(f"clips: columns of different lengths, {lengths}")
    if not len(clip_ids):
        raise ExperimentError("no clips to split: no clip of these corpora has the label and the features asked for")

    # From here on the clips stand in the order of their ids, so the order in which they came changes nothing.
    ids = coded(clip_ids)
    order = np.argsort(ids.code, kind="stable")
    twice = np.flatnonzero(np.bincount(ids.code) > 1)
    if twice.size:
        raise ExperimentError(
            f"clip id {listed(ids.names(twice))} occurs twice: the store is damaged; prepare it again"
        )
    copies, strata = np.asarray(copies)[order], np.asarray(strata)[order]
    if protocol.kind == "random-leaky":
        place = np.empty_like(order)
        place[order] = np.arange(len(order))
        ways = [_clip_units(copies, place[_pairs(overlaps)], strata, protocol)]
    elif protocol.kind in OF_GROUPS:
        if protocol.group not in groups:
            remedy = (
                nearest(protocol.group, groups) if groups else "these clips have none; choose another protocol.kind"
            )
            raise ExperimentError(f"protocol.group {protocol.group!r} is no group of these clips: {remedy}")
        group = coded(groups[protocol.group], order)
        if not group.is_known.all():
            without = [str(clip_ids[row]) for row in np.sort(order[~group.is_known])]
            raise ExperimentError(
                f"{protocol.kind}: {listed(without)} without a {protocol.group}. Leave out the corpora or clips that "
                "have none (data.corpora, data.only), or choose another protocol.group"
            )
        people, places = coded(subjects, order), coded(corpora, order)
        if protocol.kind == "crossed":
            ways = [
                _subject_units(people, places, copies, protocol),
                _group_units(group, None, places, copies, protocol),
            ]
        else:
            ways = [_group_units(group, people, places, copies, protocol)]
    elif protocol.kind == "official" and not protocol.official:
        named = [clip if is_unknown(subject) else subject for clip, subject in zip(clip_ids, subjects)]
        of_corpus = sides_of(clip_ids, sides)[order]
        ways = [_units_of_sides(coded(named, order), coded(corpora, order), copies, of_corpus, protocol)]
    else:
        ways = [_subject_units(coded(subjects, order), coded(corpora, order), copies, protocol)]
    return [units._replace(of_clip=_put_back(units.of_clip, order)) for units in ways]


def _put_back(column: Ints, order: Ints) -> Ints:
    back = np.empty_like(column)
    back[order] = column
    return back


def _subject_units(subject: Coded, corpus: Coded, copies: Ints, protocol: ProtocolConfig) -> Units:
    """Whole subjects; those who share a recording are one unit, named "ravdess/07+ravdess/08"."""
    people, places = subject.names(), corpus.names()
    unit_of_person = _sets(len(people), _links(subject.code, copies))
    unit = unit_of_person[subject.code]
    names = _joined(people, unit_of_person)
    stratum = corpus.code[np.unique(unit, return_index=True)[1]]
    draw = _draws(names, protocol)

    if protocol.kind == "loso":
        return Units(unit, stratum, draw, np.arange(len(names)), names, "subject")

    if protocol.kind == "leave-one-corpus-out":
        fold_of_place = _sets(len(places), _links(corpus.code, unit))
        fold_names = _joined(places, fold_of_place)
        if len(fold_names) < 2:
            raise ExperimentError(
                f"leave-one-corpus-out needs two corpora that share no subject and no recording, and has "
                f"{listed(places)}: add one to data.corpora, or choose protocol.kind=by-subject"
            )
        return Units(unit, stratum, draw, fold_of_place[stratum], fold_names, "subject")

    if protocol.kind == "official":
        fold_of_person = _official(people, protocol.official)
        fold = fold_of_person[np.unique(unit_of_person, return_index=True)[1]]
        parted = np.flatnonzero(fold[unit_of_person] != fold_of_person)
        if parted.size:
            raise ExperimentError(
                f"official: {names[unit_of_person[parted[0]]]} share a recording, and protocol.official has them in "
                "different folds: leave one of them out"
            )
        return Units(unit, stratum, draw, fold, _numbered(int(fold.max()) + 1), "subject")

    if len(names) < protocol.folds:
        nobody = [name for name in names if is_unknown(name)]
        remedy = f"{listed(nobody)}: {WHO}" if nobody else "lower protocol.folds, to 2 at least, or add subjects"
        raise ExperimentError(
            f"{protocol.kind} with protocol.folds={protocol.folds} needs as many subjects and has {len(names)} "
            f"({listed(names)}): {remedy}"
        )
    fold = _lightest(stratum, np.bincount(unit), draw, protocol.folds)
    return Units(unit, stratum, draw, fold, _numbered(protocol.folds), "subject", " or raise protocol.folds")


def _group_units(group: Coded, subject: Coded | None, corpus: Coded, copies: Ints, protocol: ProtocolConfig) -> Units:
    """Whole groups; those that share a recording, or a subject if they are given, are one unit, named
    "ami/ES2002a+ami/ES2002b"."""
    found = group.names()
    links = [_links(group.code, key) for key in (copies, *([subject.code] if subject else []))]
    unit_of_group = _sets(len(found), np.concatenate(links))
    unit = unit_of_group[group.code]
    names = _joined(found, unit_of_group)
    if len(names) < protocol.folds:
        why = ""
        if subject and len(names) < len(found):
            n_of_subject = np.bincount(np.unique(subject.code * len(found) + group.code) // len(found))
            widest = int(n_of_subject.argmax())
            why = (
                f" of the {len(found)} that the clips name, because groups that share a subject or a recording stay "
                f"together (subject {subject.names(np.array([widest]))[0]} is in {n_of_subject[widest]})"
            )
        fewer = f"lower protocol.folds to {len(names)}, or " if len(names) > 1 else ""
        raise ExperimentError(
            f"{protocol.kind} with protocol.group={protocol.group} and protocol.folds={protocol.folds} needs as many "
            f"groups and has {len(names)}{why}: {fewer}choose protocol.kind={'crossed or ' if why else ''}by-subject"
        )
    stratum = corpus.code[np.unique(unit, return_index=True)[1]]
    draw = _draws(names, protocol)
    fold = _lightest(stratum, np.bincount(unit), draw, protocol.folds)
    return Units(unit, stratum, draw, fold, _numbered(protocol.folds), "group", " or raise protocol.folds")


def _clip_units(copies: Ints, overlaps: Ints, strata: Ints, protocol: ProtocolConfig) -> Units:
    """Single clips; copies and those that overlap are one unit, of the stratum of the first."""
    unit = _sets(len(copies), np.concatenate([_links(np.arange(len(copies)), copies), overlaps]))
    first = np.unique(unit, return_index=True)[1]
    if len(first) < protocol.folds:
        raise ExperimentError(
            f"random-leaky with protocol.folds={protocol.folds} needs as many clips and has {len(first)}: "
            "lower protocol.folds, to 2 at least, or add clips"
        )
    stratum = np.unique(strata[first], return_inverse=True)[1]
    # Raw bits: unlike those of `permutation`, they stay the same in all versions of numpy (its NEP 19).
    draw = np.random.PCG64(_number(f"{protocol.seed}:clips")).random_raw(len(first))
    fold = dealt(stratum, draw, protocol.folds)
    return Units(unit, stratum, draw, fold, _numbered(protocol.folds), "clip", " or raise protocol.folds")


def _official(people: Sequence[str], fold_of: Mapping[str, int]) -> Ints:
    """The fold of each person; refused where one is in none, or where a fold would test nobody."""
    unknown = [person for person in people if person not in fold_of]
    if unknown:
        raise ExperimentError(
            f"official: protocol.official has no fold for {listed(unknown)}: choose lists that have, or leave their "
            "corpus out of data.corpora"
        )
    empty = sorted(set(fold_of.values()) - {fold_of[person] for person in people})
    if empty:
        lost = sorted(subject for subject, fold in fold_of.items() if fold == empty[0])
        raise ExperimentError(
            f"official: fold {empty[0]} tests {listed(lost)}, and there is no clip of them: prepare the whole corpus, "
            "or choose another protocol.kind"
        )
    return np.array([fold_of[person] for person in people])


def _units_of_sides(subject: Coded, corpus: Coded, copies: Ints, sides: Texts, protocol: ProtocolConfig) -> Units:
    """Whole subjects where the corpus itself puts them: one fold of train, dev and test, or a fold by its number.

    Who is unknown is a unit by themselves here, and joined only by what they share.
    """
    people = subject.names()
    unit_of_person = _sets(len(people), _links(subject.code, copies))
    unit = unit_of_person[subject.code]
    names = _joined(people, unit_of_person)
    of_unit: dict[int, str] = {}
    for number, side in zip(unit.tolist(), sides):
        if of_unit.setdefault(number, side) != side:
            raise LeakError(
                f"official: {names[number]} stands on {of_unit[number]} and on {side} in the split of the corpus: "
                "correct its column split, or choose protocol.kind=by-subject"
            )
    stated = [of_unit[number] for number in range(len(names))]
    stratum = corpus.code[np.unique(unit, return_index=True)[1]]
    draw = _draws(names, protocol)
    if all(side.isdecimal() for side in stated):
        folds = sorted(set(stated), key=int)
        if len(folds) < 2:
            raise ExperimentError(f"official: all clips are in fold {folds[0]} of the corpus: it takes two at least")
        fold = np.array([folds.index(side) for side in stated])
        return Units(unit, stratum, draw, fold, [f"fold {number}" for number in folds], "subject")
    for side in ("train", "test"):
        if side not in stated:
            raise ExperimentError(f"official: no clip is on the side {side} of the corpus's own split (column split)")
    side_of = np.array([SIDE_OF[side] for side in stated])
    return Units(unit, stratum, draw, np.zeros(len(names), np.int64), ["test"], "subject", side=side_of)


def sides_of(clip_ids: Texts, sides: Texts) -> NDArray[Any]:
    """(N,) "train", "dev" or "test", or the number of a fold, as the corpus itself says.

    Raises ExperimentError where a clip has none of them, or some have sides and others folds.
    """
    known = np.array(list(sides) or [""] * len(clip_ids), dtype=object)
    without = [str(clip) for clip, side in zip(clip_ids, known) if side not in SIDE_OF and not side.isdecimal()]
    if without:
        raise ExperimentError(
            f"official: {listed(without)} of {len(clip_ids)} clips have no side in the attribute split (train, dev, "
            "test, or the number of a fold): name a list with protocol.official, such as hicmae-ravdess, leave their "
            "corpus out of data.corpora, or choose another protocol.kind"
        )
    if len({side.isdecimal() for side in known}) > 1:
        raise ExperimentError(
            "official: the attribute split has sides (train, dev, test) and numbers of folds: use one"
        )
    return known


def _numbered(n_folds: int) -> list[str]:
    return [f"fold {fold}" for fold in range(n_folds)]


def _draws(names: Sequence[str], protocol: ProtocolConfig) -> Draws:
    return np.array([_number(f"{protocol.seed}:{name}") for name in names], dtype=np.uint64)


def _number(text: str) -> int:
    """64 bits that are the same on every machine and in every version of everything."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big")


# ------------------------------------------------------------------ things that are joined


def _links(thing: Ints, key: Ints) -> Ints:
    """(M, 2) pairs of things that share a key, enough of them to join all that do. thing, key: (N,)."""
    n_things = int(thing.max()) + 1
    code, member = np.divmod(np.unique(np.unique(key, return_inverse=True)[1] * n_things + thing), n_things)
    same = code[1:] == code[:-1]
    return np.stack([member[:-1][same], member[1:][same]], axis=1)


def _sets(n_things: int, links: Ints) -> Ints:
    """(n_things,) number of the set that each falls into when those linked are one, in a chain if need be.

    Sets are numbered by their first member.
    """
    if not len(links):
        return np.arange(n_things)
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    graph = coo_array((np.ones(len(links), np.bool_), (links[:, 0], links[:, 1])), shape=(n_things, n_things))
    label = connected_components(graph, directed=False)[1]
    first = np.unique(label, return_index=True)[1]  # scipy's labels have an order that it does not promise
    return np.argsort(np.argsort(first))[label]


def _joined(names: Sequence[str], set_of: Ints) -> list[str]:
    """Name of each set: those of its members, in order, with a plus."""
    members: list[list[str]] = [[] for _ in range(set_of.max() + 1)]
    for name, number in zip(names, set_of.tolist()):
        members[number].append(name)
    return ["+".join(name) for name in members]


def _pairs(overlaps: Ints | None) -> Ints:
    return np.zeros((0, 2), np.int64) if overlaps is None else np.asarray(overlaps, np.int64).reshape(-1, 2)


# ------------------------------------------------------------------ draws


def _lightest(stratum: Ints, n_clips: Ints, draw: Draws, n_folds: int) -> Ints:
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


def dealt(stratum: Ints, draw: Draws, n_parts: int) -> Ints:
    """Part of each unit, in turn, so that no two parts differ by more than one unit of a stratum."""
    part = np.empty(len(stratum), dtype=np.int64)
    part[np.lexsort((draw, stratum))] = np.arange(len(stratum)) % n_parts
    return part


def proportional(stratum: Ints, draw: Draws, share: float) -> Ints:
    """Positions of a share of the units, at random, as nearly as can be the same share of each stratum.

    At least one, and at least one is left.
    """
    order = np.lexsort((draw, stratum))
    ordered = stratum[order]
    rank = np.arange(len(order)) - np.searchsorted(ordered, ordered)
    quantile = (rank + 0.5) / np.bincount(ordered)[ordered]
    n_drawn = min(max(1, round(share * len(order))), len(order) - 1)
    return order[np.lexsort((draw[order], quantile))[:n_drawn]]


# ------------------------------------------------------------------ texts


class Coded(NamedTuple):
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


def coded(texts: Texts, order: Ints | slice = slice(None)) -> Coded:
    """A column, or its rows in another order."""
    encoded = pa.array(texts, pa.large_string()).dictionary_encode()
    by_name = pc.sort_indices(encoded.dictionary).to_numpy()
    rank = np.empty(len(by_name), np.int64)
    rank[by_name] = np.arange(len(by_name))
    return Coded(rank[encoded.indices.to_numpy()[order]], encoded.dictionary, by_name)


def listed(names: Sequence[str], comma: str = ", ") -> str:
    """The first few, and how many more."""
    more = len(names) - N_NAMED
    return comma.join(map(str, names[:N_NAMED])) + (f" and {more} more" if more > 0 else "")
