"""Splits: a partition, no leak, the same for everybody."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections import Counter
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from mien.data.leaks import check_leak
from mien.data.splits import Split, inner_splits, make_splits
from mien.errors import ExperimentError, LeakError
from mien.experiment.official import lists_in, official_folds
from mien.experiment.protocol import ProtocolConfig

GROUPED = ("by-subject", "loso", "leave-one-corpus-out", "by-group")
CROSSED = ProtocolConfig(kind="crossed", group="meeting", folds=3)
KINDS = (*GROUPED, "random-leaky")
NO_PAIRS = np.zeros((0, 2), np.int64)

Clips = dict[str, Any]

# (kind, digest of make_splits, digest of the inner splits of the first three), computed with the code of da67ed0.
DIGESTS = [
    ("by-subject", "0a16612f56d8d5a1", "7cbb7ad1b283435f"),
    ("loso", "ea13cc4b1a354c0f", "28d4957b3aaab8e3"),
    ("leave-one-corpus-out", "41f05fe8606bb80d", "c89f0e44134b7e1d"),
    ("random-leaky", "fd6e393a232232df", "ad5d77d8d487a6c6"),
]

PINNED: dict[str, set[str]] = {
    "by-subject": {f"ravdess/{actor}-{k}" for actor in ("02", "06", "07") for k in range(4)},
    "random-leaky": {
        f"ravdess/{actor}-{k}"
        for actor, taken in {"01": "02", "05": "0", "06": "01", "07": "01"}.items()
        for k in taken
    }
    | {"ravdess/08-0", "ravdess/09-0", "ravdess/10-3", "ravdess/11-3", "ravdess/12-0"},
}


def clips_of(sizes: dict[str, int], n_classes: int = 3) -> Clips:
    """Clips of the subjects named "<corpus>/<person>", so many each, in one group each, of which no two are copies."""
    subjects = [subject for subject, size in sizes.items() for _ in range(size)]
    ids = [f"{subject}-{k}" for subject, size in sizes.items() for k in range(size)]
    return {
        "clip_ids": ids,
        "subjects": subjects,
        "corpora": [subject.split("/")[0] for subject in subjects],
        "copies": list(range(len(ids))),
        "strata": [k % n_classes for k in range(len(ids))],
        "groups": {"meeting": [f"meeting of {subject}" for subject in subjects]},
        "overlaps": NO_PAIRS,
    }


def ravdess_and_cremad() -> Clips:
    """The two corpora by their published shape: 24 x 52 clips (six classes), 91 actors with about 82."""
    actors = {f"ravdess/{a:02d}": 52 for a in range(1, 25)} | {f"cremad/{a}": 82 for a in range(1001, 1092)}
    return clips_of(actors | {"cremad/1019": 81, "cremad/1064": 79}, n_classes=6)


def sides_by_id(splits: list[Split], clips: Clips) -> list[dict[str, str]]:
    """One dict a fold: clip id to the side it stands on."""
    return [
        {clips["clip_ids"][i]: side for side in ("train", "validation", "test") for i in getattr(split, side)}
        for split in splits
    ]


def protocol_of(kind: Any, **settings: Any) -> ProtocolConfig:
    return ProtocolConfig(kind=kind, group="meeting" if kind == "by-group" else "", **settings)


def leak_arguments(clips: Clips) -> dict[str, Any]:
    return {key: clips[key] for key in ("clip_ids", "subjects", "copies", "groups", "overlaps")}


def in_order(clips: Clips, order: list[int]) -> Clips:
    """The same clips in another order."""
    place = np.argsort(order)
    columns = {key: [clips[key][i] for i in order] for key in clips if key not in ("groups", "overlaps")}
    groups = {name: [column[i] for i in order] for name, column in clips["groups"].items()}
    return {**columns, "groups": groups, "overlaps": place[clips["overlaps"]]}


def digest(splits: list[Split], clips: Clips) -> str:
    sides = ("train", "validation", "test")
    found = [[s.name, *([clips["clip_ids"][i] for i in getattr(s, side)] for side in sides)] for s in splits]
    return hashlib.sha256(json.dumps(found).encode()).hexdigest()[:16]


@st.composite
def drawn_clips(draw: st.DrawFn) -> Clips:
    """Three to nine subjects in each of two corpora, one to seven clips each, some recordings given twice, some people
    in one meeting, some clips of one person that overlap."""
    sizes = {
        f"{corpus}/{person}": draw(st.integers(1, 7))
        for corpus in ("a", "b")
        for person in range(draw(st.integers(3, 9)))
    }
    clips = clips_of(sizes)
    n = len(clips["clip_ids"])
    for _ in range(draw(st.integers(0, 2))):
        # Copies stay within a corpus: two corpora with a recording in common cannot be told apart.
        one = draw(st.integers(0, n - 1))
        same_corpus = [i for i in range(n) if clips["corpora"][i] == clips["corpora"][one]]
        clips["copies"][draw(st.sampled_from(same_corpus))] = clips["copies"][one]
    meetings = clips["groups"]["meeting"]
    for _ in range(draw(st.integers(0, 3))):
        meetings[draw(st.integers(0, n - 1))] = meetings[draw(st.integers(0, n - 1))]
    pairs = [(i, i + 1) for i in range(n - 1) if clips["subjects"][i] == clips["subjects"][i + 1]]
    if pairs:
        clips["overlaps"] = np.array(draw(st.lists(st.sampled_from(pairs), max_size=3)), np.int64).reshape(-1, 2)
    return clips


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=40, deadline=None)
@given(clips=drawn_clips(), seed=st.integers(0, 99), share=st.floats(0.05, 0.6), shuffle=st.randoms())
def test_each_split_is_a_partition_without_leak_whatever_the_order(
    kind: Any, clips: Clips, seed: int, share: float, shuffle: Any
) -> None:
    protocol = protocol_of(kind, folds=3, seed=seed, validation=share)
    try:
        splits = make_splits(**clips, protocol=protocol)
    except ExperimentError as error:  # subjects and groups that are joined may become too few
        assert len(set(clips["copies"])) < len(clips["copies"]) or kind == "by-group"
        assert ("group" if kind == "by-group" else "subject") in str(error)
        return

    n = len(clips["clip_ids"])
    tested = np.concatenate([split.test for split in splits])
    assert sorted(tested) == list(range(n)), "each clip is tested exactly once"
    for split in splits:
        sides = (split.train, split.validation, split.test)
        assert sorted(np.concatenate(sides)) == list(range(n))
        for side in sides:
            assert len(side) and side.dtype == np.int64 and list(side) == sorted(side)
        check_leak(split, **leak_arguments(clips), protocol=protocol)
        if kind != "random-leaky":
            people = [{clips["subjects"][i] for i in side} for side in sides]
            assert not (people[0] & people[1] or people[0] & people[2] or people[1] & people[2])
        if kind == "by-group":
            met = [{clips["groups"]["meeting"][i] for i in side} for side in sides]
            assert not (met[0] & met[1] or met[0] & met[2] or met[1] & met[2])

    for split in splits[:2]:
        inner = inner_splits(split, **clips, protocol=protocol)
        learnt = sorted(np.concatenate([split.train, split.validation]))
        assert np.array_equal(inner[0].train, split.train) and np.array_equal(inner[0].validation, split.validation)
        assert sorted(np.concatenate([one.validation for one in inner])) == learnt, "each clip validates exactly once"
        for one in inner:
            assert not len(one.test)
            assert len(one.train) and len(one.validation)
            assert sorted(np.concatenate([one.train, one.validation])) == learnt
            check_leak(one, **leak_arguments(clips), protocol=protocol)

    order = list(range(n))
    shuffle.shuffle(order)
    shuffled = in_order(clips, order)
    again = make_splits(**shuffled, protocol=protocol)
    assert sides_by_id(again, shuffled) == sides_by_id(splits, clips)
    ways = [inner_splits(made[0], **which, protocol=protocol) for made, which in ((splits, clips), (again, shuffled))]
    assert sides_by_id(ways[0], clips) == sides_by_id(ways[1], shuffled)


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_one_seed_one_split_another_seed_another(kind: Any) -> None:
    clips = ravdess_and_cremad()
    a, b, c = (sides_by_id(make_splits(**clips, protocol=protocol_of(kind, seed=seed)), clips) for seed in (1, 1, 2))
    assert a == b
    assert a != c


@pytest.mark.parametrize("kind", ["by-subject", "random-leaky"])
def test_the_split_of_today_is_the_split_of_tomorrow(kind: Any) -> None:
    """Pinned: a change here makes every published figure of an earlier version incomparable."""
    clips = clips_of({f"ravdess/{a:02d}": 4 for a in range(1, 13)})
    split = make_splits(**clips, protocol=ProtocolConfig(kind=kind, folds=4, seed=0))[0]
    names = {clips["clip_ids"][i] for i in split.test}
    assert names == PINNED[kind]


@pytest.mark.parametrize(("kind", "outer", "inner"), DIGESTS)
def test_splits_are_those_of_earlier_versions_bit_for_bit(kind: Any, outer: str, inner: str) -> None:
    clips = ravdess_and_cremad()
    for one, other in ((3, 900), (60, 61), (2000, 4000), (2001, 4000)):
        clips["copies"][one] = clips["copies"][other]
    del clips["groups"], clips["overlaps"]
    protocol = ProtocolConfig(kind=kind, folds=5, seed=3, validation=0.17)
    splits = make_splits(**clips, protocol=protocol)
    assert digest(splits, clips) == outer
    assert digest([i for s in splits[:3] for i in inner_splits(s, **clips, protocol=protocol)], clips) == inner


def test_by_subject_folds_are_level_and_hold_each_corpus() -> None:
    clips = ravdess_and_cremad()
    splits = make_splits(**clips, protocol=ProtocolConfig(folds=5, validation=0.2))
    assert [split.name for split in splits] == [f"fold {k}" for k in range(5)]
    sizes = [len(split.test) for split in splits]
    assert max(sizes) - min(sizes) <= 82, "within one subject of each other"
    for split in splits:
        for side, n_ravdess, n_cremad in (("test", {4, 5}, {18, 19}), ("validation", {3, 4}, {14, 15})):
            people = {clips["subjects"][i] for i in getattr(split, side)}
            corpora = Counter(person.split("/")[0] for person in people)
            assert corpora["ravdess"] in n_ravdess and corpora["cremad"] in n_cremad, (side, corpora)


def test_by_subject_deals_the_largest_first() -> None:
    clips = clips_of({f"a/{k}": 1 for k in range(8)} | {"a/8": 8})
    splits = make_splits(**clips, protocol=ProtocolConfig(folds=3, validation=0.5))
    assert sorted(len(split.test) for split in splits) == [4, 4, 8]


def test_by_subject_without_enough_subjects_of_each_corpus_leaves_no_fold_empty() -> None:
    clips = clips_of({f"{corpus}/{k}": 5 for corpus in "abc" for k in range(2)})
    splits = make_splits(**clips, protocol=ProtocolConfig(folds=6))
    assert [len(split.test) for split in splits] == [5] * 6


def test_validation_falls_on_other_people_in_other_folds() -> None:
    clips = clips_of({f"ravdess/{a:02d}": 4 for a in range(24)})
    splits = make_splits(**clips, protocol=ProtocolConfig(kind="loso"))
    times = Counter(clips["subjects"][i] for split in splits for i in split.validation[::4])
    assert len(times) == 24, "each person validates in some fold"
    assert max(times.values()) < len(splits) / 2, "none validates in most"


def test_loso_and_leave_one_corpus_out_are_named_by_who_is_tested() -> None:
    clips = ravdess_and_cremad()
    loso = make_splits(**clips, protocol=ProtocolConfig(kind="loso"))
    assert len(loso) == 24 + 91
    assert all({clips["subjects"][i] for i in split.test} == {split.name} for split in loso)
    by_corpus = make_splits(**clips, protocol=ProtocolConfig(kind="leave-one-corpus-out"))
    assert [split.name for split in by_corpus] == ["cremad", "ravdess"]
    assert all({clips["corpora"][i] for i in split.test} == {split.name} for split in by_corpus)


def test_random_leaky_is_stratified_and_puts_people_on_both_sides() -> None:
    clips = ravdess_and_cremad()
    strata = np.array(clips["strata"])
    for split in make_splits(**clips, protocol=ProtocolConfig(kind="random-leaky", folds=5)):
        in_test = np.bincount(strata[split.test])
        assert np.all(np.abs(in_test - np.bincount(strata) / 5) < 1), "each stratum to within one clip"
        in_validation = np.bincount(strata[split.validation]) / len(split.validation)
        np.testing.assert_allclose(in_validation, np.bincount(strata) / len(strata), atol=0.002)
        trained = {clips["subjects"][i] for i in split.train}
        assert len({clips["subjects"][i] for i in split.test} & trained) > 100


def test_people_who_share_a_recording_stay_together_in_a_chain() -> None:
    clips = clips_of({f"ravdess/{a:02d}": 4 for a in range(8)})
    copies = clips["copies"]
    copies[4 * 1] = copies[4 * 6]  # 01 with 06, and 03 with 06
    copies[4 * 3 + 1] = copies[4 * 6 + 1]
    splits = make_splits(**clips, protocol=ProtocolConfig(kind="loso"))
    assert len(splits) == 6
    assert "ravdess/01+ravdess/03+ravdess/06" in [split.name for split in splits]


@pytest.mark.parametrize(
    ("clips", "protocol", "message"),
    [
        (clips_of({"a/1": 9}), ProtocolConfig(), "needs as many subjects and has 1"),
        (clips_of({"a/1": 9, "a/2": 9}), ProtocolConfig(folds=2), "fold 0: 1 subject.* or raise"),
        (clips_of({"a/1": 9, "a/2": 9}), ProtocolConfig(kind="loso"), "a/1: 1 subject.* Add subjects$"),
        (clips_of({"a/1": 9}), ProtocolConfig(kind="loso"), "a/1: 0 subject"),
        (clips_of({f"a/{k}": 9 for k in range(4)}), ProtocolConfig(folds=5), "lower protocol.folds"),
        (clips_of({"a/1": 2}), ProtocolConfig(kind="random-leaky"), "needs as many clips and has 2"),
        (clips_of({"a/1": 3, "a/2": 3}), ProtocolConfig(kind="leave-one-corpus-out"), "to data.corpora"),
        (clips_of({}), ProtocolConfig(), "no clips to split"),
    ],
)  # fmt: skip
def test_too_little_to_split_says_what_to_do(clips: Clips, protocol: ProtocolConfig, message: str) -> None:
    with pytest.raises(ExperimentError, match=message):
        make_splits(**clips, protocol=protocol)


def test_an_id_that_occurs_twice_is_named() -> None:
    clips = clips_of({f"a/{k}": 3 for k in range(6)})
    clips["clip_ids"][7] = clips["clip_ids"][2]
    with pytest.raises(ExperimentError, match="a/0-2 occurs twice"):
        make_splits(**clips, protocol=ProtocolConfig())


def test_columns_of_different_lengths_are_refused() -> None:
    clips = clips_of({f"a/{k}": 3 for k in range(6)})
    clips["copies"].pop()
    with pytest.raises(ValueError, match="different lengths"):
        make_splits(**clips, protocol=ProtocolConfig())


# ------------------------------------------------------------------ groups


def meetings_of(members: dict[str, list[str]], n_clips: int = 3) -> Clips:
    """Clips of meetings, so many of each person in each."""
    seats = [(meeting, person) for meeting, people in members.items() for person in people for _ in range(n_clips)]
    return {
        "clip_ids": [f"{person.split('/')[0]}/{k:03d}" for k, (_, person) in enumerate(seats)],
        "subjects": [person for _, person in seats],
        "corpora": [person.split("/")[0] for _, person in seats],
        "copies": list(range(len(seats))),
        "strata": [k % 2 for k in range(len(seats))],
        "groups": {"meeting": [meeting for meeting, _ in seats], "room": ["the same"] * len(seats)},
        "overlaps": NO_PAIRS,
    }


def test_by_group_joins_meetings_that_share_a_person_or_a_recording_in_a_chain() -> None:
    members = {f"ami/{m}": [f"ami/{m}{k}" for k in range(4)] for m in "abcdefg"}
    members["ami/c"][0] = members["ami/a"][1]  # a with c, and c with e: one person each; f with g: one recording
    members["ami/e"][3] = members["ami/c"][2]
    clips = meetings_of(members)
    clips["copies"][-1] = clips["copies"][-13]
    clips["overlaps"] = np.array([[0, 3], [60, 70]])  # within a meeting: no matter
    protocol = ProtocolConfig(kind="by-group", group="meeting", folds=4, validation=0.34)
    splits = make_splits(**clips, protocol=protocol)
    tested = {frozenset(clips["groups"]["meeting"][i] for i in split.test) for split in splits}
    assert tested == {frozenset(f"ami/{m}" for m in unit) for unit in ("ace", "b", "d", "fg")}
    for split in splits:
        check_leak(split, **leak_arguments(clips), protocol=protocol)


def test_by_group_is_dealt_evenly_from_each_corpus() -> None:
    members = {f"{corpus}/{m}": [f"{corpus}/{m}.{k}" for k in range(2)] for corpus in "ab" for m in range(8)}
    clips = meetings_of(members)
    for split in make_splits(**clips, protocol=ProtocolConfig(kind="by-group", group="meeting", folds=4)):
        for side, n_meetings in (("test", 2), ("validation", 1)):
            met = {clips["groups"]["meeting"][i] for i in getattr(split, side)}
            assert Counter(meeting[0] for meeting in met) == {"a": n_meetings, "b": n_meetings}, side


def test_by_group_refuses_stimuli_that_everybody_saw() -> None:
    clips = meetings_of({f"film {f}": [f"mahnob/{k}" for k in range(5)] for f in range(20)} | {"extra": ["mahnob/3"]})
    with pytest.raises(
        ExperimentError, match=r"needs as many groups and has 1 of the 21 .*subject mahnob/3 is in 21\)"
    ):
        make_splits(**clips, protocol=ProtocolConfig(kind="by-group", group="meeting"))


# ------------------------------------------------------------------ people crossed with stimuli


@st.composite
def crossed_clips(draw: st.DrawFn) -> Clips:
    """Six to nine people, each at most of six to nine films, in any order; some recordings given twice."""
    people, films = draw(st.integers(6, 9)), draw(st.integers(6, 9))
    clips = meetings_of({f"film {f}": [f"mahnob/{p}" for p in range(people)] for f in range(films)}, n_clips=1)
    n = len(clips["clip_ids"])
    if draw(st.booleans()):
        clips["copies"][draw(st.integers(0, n - 1))] = clips["copies"][draw(st.integers(0, n - 1))]
    missing = draw(st.sets(st.integers(0, n - 1), max_size=2))
    return in_order(clips, draw(st.permutations([row for row in range(n) if row not in missing])))


@settings(max_examples=20, deadline=None)
@given(clips=crossed_clips(), seed=st.integers(0, 3))
def test_crossed_tests_each_clip_once_and_meets_neither_its_person_nor_its_film(clips: Clips, seed: int) -> None:
    protocol = dataclasses.replace(CROSSED, folds=2, seed=seed)
    try:
        splits = make_splits(**clips, protocol=protocol)
        inner = inner_splits(splits[0], **clips, protocol=protocol)
    except ExperimentError as error:
        assert "Not every subject has a clip of every meeting" in str(error)
        assume(False)
    assert len(splits) == protocol.n_folds == 4
    n = len(clips["clip_ids"])
    assert sorted(np.concatenate([s.test for s in splits])) == list(range(n))
    person, film = np.array(clips["subjects"]), np.array(clips["groups"]["meeting"])
    for split in [*splits, *inner]:
        check_leak(split, **leak_arguments(clips), protocol=protocol)
        sides = [split.train, split.validation, *([split.test] if len(split.test) else [])]
        for column in (person, film):
            seen = [set(column[rows]) for rows in sides]
            assert all(seen) and sum(map(len, seen)) == len(set().union(*seen)), "on two sides, by the test's own count"
        # What no side has is of a person of one side at a film of another, and never of one side alone.
        for row in set(range(n)) - set(np.concatenate(sides).tolist()):
            assert not any(person[row] in person[rows] and film[row] in film[rows] for rows in sides)


def test_the_folds_of_crossed_are_all_pairs_of_a_part_of_the_people_and_a_part_of_the_films() -> None:
    clips = meetings_of({f"film {f:02d}": [f"mahnob/{p:02d}" for p in range(24)] for f in range(20)}, n_clips=1)
    splits = make_splits(**clips, protocol=CROSSED)
    assert [s.name for s in splits][::4] == [
        "fold 0 (subjects 0, groups 0)",
        "fold 4 (subjects 1, groups 1)",
        "fold 8 (subjects 2, groups 2)",
    ]
    by_subject = make_splits(**clips, protocol=ProtocolConfig(folds=3))
    people = np.array(clips["subjects"])
    for number, split in enumerate(splits):
        # The people of a fold are those that by-subject tests with, and 3 or 4 of the 13 films left validate.
        assert set(people[split.test]) == set(people[by_subject[number // 3].test])
        assert len(split.test) in (8 * 7, 8 * 6)
        assert len(split.validation) == 3 * 3
        assert len(split.train) in (13 * 10, 13 * 11)
    # The diagonal alone tests each person and each film once: what --execution.only-folds 0 4 8 trains.
    diagonal = np.concatenate([split.test for split in splits[::4]])
    assert len(set(people[diagonal])) == 24
    assert len({clips["groups"]["meeting"][row] for row in diagonal}) == 20
    assert digest(splits, clips) == digest(make_splits(**clips, protocol=CROSSED), clips) == "4d23d9e1e380c3ab"


def test_crossed_keeps_the_films_of_a_recording_in_one_part() -> None:
    clips = meetings_of({f"film {f}": [f"mahnob/{p}" for p in range(6)] for f in range(6)})
    clips["copies"][0] = clips["copies"][35]  # one recording, of two people at two films
    for split in make_splits(**clips, protocol=CROSSED):
        check_leak(split, **leak_arguments(clips), protocol=CROSSED)
        assert (0 in split.test) == (35 in split.test)


def test_crossed_refuses_what_it_cannot_split() -> None:
    films = {f"film {f}": [f"mahnob/{p}" for p in range(6)] for f in range(6)}
    clips = meetings_of(films)
    with pytest.raises(ExperimentError, match=r"'stimulus' is no group of these clips: choose from meeting"):
        make_splits(**clips, protocol=dataclasses.replace(CROSSED, group="stimulus"))
    with pytest.raises(ExperimentError, match=r"'meeting' is no group of these clips: these clips have none; choose"):
        make_splits(**clips | {"groups": {}}, protocol=CROSSED)
    two = meetings_of(dict(list(films.items())[:2]))
    with pytest.raises(
        ExperimentError, match=r"crossed with protocol.group=meeting .* has 2: lower protocol.folds to 2"
    ):
        make_splits(**two, protocol=CROSSED)
    clips["groups"]["meeting"][3] = ""
    with pytest.raises(ExperimentError, match=r"crossed: mahnob/003 without a meeting. Leave out"):
        make_splits(**clips, protocol=CROSSED)
    # Each person in a meeting of their own: nobody is left who is in the meetings that are left.
    alone = meetings_of({f"m{k}": [f"ami/{k}"] for k in range(9)})
    with pytest.raises(
        ExperimentError, match=r"no clip left to validate on. Not every subject has a clip of every meeting"
    ):
        make_splits(**alone, protocol=CROSSED)
    for wrong in ({"group": ""}, {"kind": "by-subject"}):
        with pytest.raises(ValueError, match="by-group and crossed need a group, the others take none"):
            dataclasses.replace(CROSSED, **wrong)


@pytest.mark.parametrize(
    ("group", "message"),
    [
        ("meting", "protocol.group 'meting' is no group of these clips: the nearest is meeting"),
        ("room", r"protocol.group=room and protocol.folds=5 needs as many groups and has 1: choose protocol.kind"),
    ],
)
def test_by_group_refuses_a_group_that_cannot_be_split_by(group: str, message: str) -> None:
    clips = meetings_of({f"ami/{m}": [f"ami/{m}{k}" for k in range(2)] for m in "abcdefg"})
    with pytest.raises(ExperimentError, match=message):
        make_splits(**clips, protocol=ProtocolConfig(kind="by-group", group=group))
    without = clips | {"groups": {}}
    with pytest.raises(ExperimentError, match="is no group of these clips: these clips have none"):
        make_splits(**without, protocol=ProtocolConfig(kind="by-group", group=group))


def test_by_group_names_the_clips_without_the_group() -> None:
    clips = meetings_of({f"ami/{m}": [f"ami/{m}{k}" for k in range(2)] for m in "abcdefg"})
    clips["groups"]["meeting"][5] = clips["groups"]["meeting"][7] = ""
    with pytest.raises(ExperimentError, match="by-group: ami/005, ami/007 without a meeting. Leave out"):
        make_splits(**clips, protocol=ProtocolConfig(kind="by-group", group="meeting"))


# ------------------------------------------------------------------ stretches of one file


def test_four_speakers_of_one_file_are_four_subjects_and_no_leak() -> None:
    """200 utterances of one mix, none of which overlaps another: no copies, nobody is joined."""
    clips = clips_of({f"ami/{speaker}": 50 for speaker in "ABCD"})
    for protocol in (ProtocolConfig(kind="loso"), ProtocolConfig(kind="random-leaky", folds=3)):
        splits = make_splits(**clips, protocol=protocol)
        for split in splits:
            check_leak(split, **leak_arguments(clips), protocol=protocol)
    assert [s.name for s in make_splits(**clips, protocol=ProtocolConfig(kind="loso"))] == [f"ami/{s}" for s in "ABCD"]


def test_random_leaky_keeps_overlapping_clips_together_in_a_chain() -> None:
    clips = clips_of({f"a/{k}": 7 for k in range(9)})
    clips["overlaps"] = np.array([[40, 3], [3, 61], [5, 20]])
    apart = False
    for seed in range(5):
        protocol = ProtocolConfig(kind="random-leaky", folds=5, seed=seed)
        for split in make_splits(**clips, protocol=protocol):
            side = np.empty(63, int)
            for s, rows in enumerate((split.train, split.validation, split.test)):
                side[rows] = s
            assert side[3] == side[40] == side[61] and side[5] == side[20]
            apart |= bool(side[3] != side[5])
            check_leak(split, **leak_arguments(clips), protocol=protocol)
    assert apart


@pytest.mark.parametrize("kind", ["by-subject", "loso", "leave-one-corpus-out"])
def test_grouped_protocols_refuse_people_who_talk_at_once_and_name_the_way_out(kind: Any) -> None:
    members = {f"ami/{m}": [f"ami/{m}{k}" for k in range(4)] for m in "abcde"}
    clips = meetings_of(members | {"other/x": ["other/1", "other/2"]})
    one, other = 4, 7  # of ami/a1 and ami/a2
    if kind == "leave-one-corpus-out":
        other = len(clips["clip_ids"]) - 5
        clips["groups"]["meeting"][other] = "ami/a"
    clips["overlaps"] = np.array([[one, other], [0, 1]])
    protocol = ProtocolConfig(kind=kind)
    ids = [clips["clip_ids"][row] for row in (one, other)]
    split = next(s for s in make_splits(**clips, protocol=protocol) if (one in s.test) != (other in s.test))
    with pytest.raises(LeakError) as caught:
        check_leak(split, **leak_arguments(clips), protocol=protocol, shared_s=lambda row, other: (3.25, 4.5))
    message = str(caught.value)
    assert f"{ids[0]} and {ids[1]} hold the same 3.25 s to 4.5 s of one file and stand on " in message
    assert message.endswith("Each pair shares a meeting: choose protocol.kind=by-group with protocol.group=meeting")
    assert f"{clips['clip_ids'][0]} and" not in message, "those of one subject are on one side"

    nameless = leak_arguments(clips) | {"groups": {"meeting": [""] * len(clips["clip_ids"])}}
    with pytest.raises(LeakError, match="hold overlapping stretches of one file and.* give both a group"):
        check_leak(split, **nameless, protocol=protocol)


def split_of(train: list[int], validation: list[int], test: list[int]) -> Split:
    return Split(0, "fold 0", *(np.array(side, dtype=np.int64) for side in (train, validation, test)))


SIX = {f"a/{k}": 2 for k in range(6)}
TWO_SIDES = [("train", "validation"), ("train", "test"), ("validation", "test")]


def parted(one: str, other: str) -> Split:
    """Of twelve clips, two per person and one person per side but for a/0, whose two stand on the sides named."""
    rows: dict[str, list[int]] = {"train": [4, 5, 6, 7], "validation": [8, 9], "test": [2, 3, 10, 11]}
    rows[one] = [0, *rows[one]]
    rows[other] = [1, *rows[other]]
    return split_of(*(sorted(rows[side]) for side in ("train", "validation", "test")))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("one", "other"), TWO_SIDES)
def test_check_leak_names_a_clip_on_two_sides(kind: Any, one: str, other: str) -> None:
    clips, split = clips_of(SIX), parted(one, other)
    getattr(split, other)[0] = 0
    with pytest.raises(LeakError, match=f"fold 0 leaks: clip a/0-0 stands on {one} and {other}"):
        check_leak(split, **leak_arguments(clips), protocol=protocol_of(kind))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("one", "other"), TWO_SIDES)
def test_check_leak_names_copies(kind: Any, one: str, other: str) -> None:
    clips, split = clips_of(SIX), parted(one, other)
    clips["subjects"][1], clips["groups"]["meeting"][1] = "a/x", "x"
    check_leak(split, **leak_arguments(clips), protocol=protocol_of(kind))
    clips["copies"][1] = clips["copies"][0]
    with pytest.raises(LeakError, match=f"a/0-0 and a/0-1, copies of each other, stand on {one} and {other}"):
        check_leak(split, **leak_arguments(clips), protocol=protocol_of(kind))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("one", "other"), TWO_SIDES)
def test_check_leak_names_clips_that_overlap(kind: Any, one: str, other: str) -> None:
    clips, split = clips_of(SIX), parted(one, other)
    clips["subjects"][1], clips["groups"]["meeting"][1] = "a/x", "x"
    clips["overlaps"] = np.array([[1, 0]])
    with pytest.raises(LeakError, match=f"a/0-1 and a/0-0 hold overlapping stretches .* on {other} and {one}"):
        check_leak(split, **leak_arguments(clips), protocol=protocol_of(kind))


@pytest.mark.parametrize("kind", GROUPED)
@pytest.mark.parametrize(("one", "other"), TWO_SIDES)
def test_check_leak_names_the_subject(kind: Any, one: str, other: str) -> None:
    clips, split = clips_of(SIX), parted(one, other)
    clips["groups"]["meeting"][1] = "x"
    with pytest.raises(LeakError, match=rf"subject a/0 stands on {one} and {other}\. Keep"):
        check_leak(split, **leak_arguments(clips), protocol=protocol_of(kind))
    check_leak(split, **leak_arguments(clips), protocol=ProtocolConfig(kind="random-leaky"))


@pytest.mark.parametrize(("one", "other"), TWO_SIDES)
def test_check_leak_names_the_group_under_by_group_alone(one: str, other: str) -> None:
    clips, split = clips_of(SIX), parted(one, other)
    clips["subjects"][1] = "a/x"
    with pytest.raises(LeakError, match=rf"meeting meeting of a/0 stands on {one} and {other}\. Keep"):
        check_leak(split, **leak_arguments(clips), protocol=protocol_of("by-group"))
    with pytest.raises(LeakError, match="crossed, .*meeting"):
        check_leak(split, **leak_arguments(clips), protocol=CROSSED)
    check_leak(split, **leak_arguments(clips), protocol=ProtocolConfig())


def test_check_leak_counts_what_it_does_not_name() -> None:
    clips = clips_of(SIX)
    leaky = split_of([0, 2, 4, 6, 8], [10, 11], [1, 3, 5, 7, 9])
    with pytest.raises(LeakError, match=r"subject a/0 stands on train and test; .* and 2 more"):
        check_leak(leaky, **leak_arguments(clips), protocol=ProtocolConfig())


# ------------------------------------------------------------------ splits within a fold


@pytest.mark.parametrize("kind", ["by-subject", "by-group", "random-leaky"])
def test_inner_splits_deal_each_corpus_or_stratum_evenly(kind: Any) -> None:
    """Rare ones as well: a random deal of 33 units, three of them rare, to three parts is even in one of five cases."""
    sizes = {f"a/{k:02d}": 2 for k in range(40)} | {f"b/{k}": 2 for k in range(4)}
    clips = clips_of(sizes)
    clips["strata"] = [int(clip.startswith("b/")) for clip in clips["clip_ids"]]
    for seed in range(5):
        protocol = protocol_of(kind, folds=4, validation=0.25, seed=seed)
        for split in make_splits(**clips, protocol=protocol):
            parts = inner_splits(split, **clips, protocol=protocol)[1:]
            assert len(parts) == 3
            counts = np.array(
                [np.bincount([clips["strata"][i] for i in part.validation], minlength=2) for part in parts]
            )
            n_of_unit = 1 if kind == "random-leaky" else 2
            assert (np.ptp(counts, axis=0) <= n_of_unit).all(), counts


# ------------------------------------------------------------------ official


def official(*lists: str, **settings: Any) -> ProtocolConfig:
    return ProtocolConfig(kind="official", official=official_folds(*lists), **settings)


def fold_of_subject(splits: list[Split], clips: Clips) -> dict[str, int]:
    return {clips["subjects"][row]: split.fold for split in splits for row in split.test}


@pytest.mark.parametrize(
    ("lists", "n_folds"),
    [
        (["hicmae-ravdess"], 6),
        (["emobox-ravdess"], 6),
        (["hicmae-cremad"], 5),
        (["hicmae-ravdess", "hicmae-cremad"], 6),
    ],
)
def test_official_folds_test_whom_their_list_names(lists, n_folds):
    named = {one.split("-")[1] for one in lists}
    clips = clips_of(
        {s: size for s, size in Counter(ravdess_and_cremad()["subjects"]).items() if s.split("/")[0] in named}
    )
    protocol = official(*lists)
    splits = make_splits(**clips, protocol=protocol)
    assert [split.name for split in splits] == [f"fold {fold}" for fold in range(n_folds)]
    assert protocol.n_folds == n_folds
    assert fold_of_subject(splits, clips) == official_folds(*lists)
    assert lists_in(protocol.official) == sorted(lists)
    for split in splits:
        check_leak(split, **leak_arguments(clips), protocol=protocol)
        assert split.validation.size
    assert inner_splits(splits[0], **clips, protocol=protocol)


def test_some_published_folds_as_they_stand():
    """Read from the lists' own files: HiCMAE deals actors in order, EmoBox does not."""
    assert {actor: fold for actor, fold in official_folds("hicmae-ravdess").items() if fold == 1} == {
        f"ravdess/{actor}": 1 for actor in ("05", "06", "07", "08")
    }
    assert {actor for actor, fold in official_folds("emobox-ravdess").items() if fold == 5} == {
        f"ravdess/{actor}" for actor in ("06", "13", "17", "22")
    }
    assert len(official_folds("hicmae-cremad")) == 91


def test_folds_of_a_file_are_kept_in_the_experiment(tmp_path):
    clips = clips_of({f"mine/{person}": 3 for person in "abcd"})
    file = tmp_path / "folds.csv"
    file.write_text("fold,subject,remark\n0,mine/a,\n1,mine/b,x\n1, mine/c,\n0,mine/d,\n")
    protocol = official(str(file))
    file.unlink()
    splits = make_splits(**clips, protocol=protocol)
    assert fold_of_subject(splits, clips) == {"mine/a": 0, "mine/b": 1, "mine/c": 1, "mine/d": 0}
    assert lists_in(protocol.official) == []


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("subject,fold\nmine/a,0\nmine/a,1\n", "line 3: mine/a is in fold 1 and in fold 0"),
        ("subject,fold\nmine/a,one\n", "line 2: give a subject"),
        ("person,fold\nmine/a,0\n", "must name the columns subject and fold"),
        ("subject,fold\nmine/a,1\nmine/b,2\n", r"has the folds \[1, 2\]"),
        ("subject,fold\nmine/a,0\nmine/b,0\n", r"has the folds \[0\]"),
        ("subject,fold\n", "names no subject"),
    ],
)
def test_a_file_that_holds_no_folds_is_refused(tmp_path, text, message):
    file = tmp_path / "folds.csv"
    file.write_text(text)
    with pytest.raises(ValueError, match=message):
        official(str(file))


def sided(sides: dict[str, str], size: int = 3) -> Clips:
    """Clips of subjects, each where the corpus itself puts it."""
    clips = clips_of(dict.fromkeys(sides, size))
    return {**clips, "sides": [sides[subject] for subject in clips["subjects"]]}


OWN = ProtocolConfig(kind="official")


def subjects_of(clips: Clips, rows: Any) -> set[str]:
    return {clips["subjects"][row] for row in rows}


def test_official_without_a_list_is_the_split_of_the_corpus():
    clips = sided({"own/a": "train", "own/b": "train", "own/c": "dev", "own/d": "test"})
    (split,) = make_splits(**clips, protocol=OWN)
    assert subjects_of(clips, split.train) == {"own/a", "own/b"}
    assert subjects_of(clips, split.validation) == {"own/c"}
    assert subjects_of(clips, split.test) == {"own/d"}
    assert len({*split.train, *split.validation, *split.test}) == len(clips["clip_ids"])
    assert [len(inner.test) for inner in inner_splits(split, **clips, protocol=OWN)] == [0, 0, 0]


def test_a_split_of_the_corpus_without_dev_draws_who_validates():
    clips = sided({**{f"own/{n}": "train" for n in range(5)}, "own/t": "test"})
    (split,) = make_splits(**clips, protocol=OWN)
    assert subjects_of(clips, split.test) == {"own/t"}
    assert len(subjects_of(clips, split.validation)) == 1
    assert not subjects_of(clips, split.validation) & subjects_of(clips, split.train)


def test_numbers_of_folds_are_tested_in_turn():
    clips = sided({f"own/{n}": str(n % 3) for n in range(9)})
    splits = make_splits(**clips, protocol=OWN)
    assert [split.name for split in splits] == ["fold 0", "fold 1", "fold 2"]
    for number, split in enumerate(splits):
        assert subjects_of(clips, split.test) == {f"own/{n}" for n in range(9) if n % 3 == number}
        assert len({*split.train, *split.validation, *split.test}) == len(clips["clip_ids"])


def test_people_who_are_not_known_stand_where_the_corpus_puts_their_clips_and_nowhere_else():
    clips = clips_of({"own/unknown": 8})
    clips["sides"] = ["train", "dev", "test", "train"] * 2
    (split,) = make_splits(**clips, protocol=OWN)
    assert [len(split.train), len(split.validation), len(split.test)] == [4, 2, 2]
    columns = {name: clips[name] for name in ("clip_ids", "subjects", "groups", "copies", "overlaps")}
    check_leak(split, **columns, protocol=OWN)
    with pytest.raises(LeakError, match="subject own/unknown stands on train and"):
        check_leak(split, **columns, protocol=ProtocolConfig())
    for protocol in (ProtocolConfig(), ProtocolConfig(kind="loso")):
        with pytest.raises(ExperimentError, match="who is in which clip is not known"):
            make_splits(**clips, protocol=protocol)
    both = {**clips_of({"own/unknown": 8, "ravdess/01": 4, "ravdess/02": 4}), "sides": []}
    for split in make_splits(**both, protocol=ProtocolConfig(folds=3)):
        assert len([side for side in (split.train, split.validation, split.test) if 0 in side]) == 1


@pytest.mark.parametrize(
    ("sides", "error", "message"),
    [
        ({"own/a": "train", "own/b": "dev"}, ExperimentError, "no clip is on the side test"),
        ({"own/a": "train", "own/b": "here"}, ExperimentError, "own/b-0, own/b-1, own/b-2 of 6 clips have no side"),
        ({"own/a": "train", "own/b": ""}, ExperimentError, "have no side in the attribute split"),
        ({"own/a": "train", "own/b": "1"}, ExperimentError, "has sides .* and numbers of folds"),
        ({"own/a": "0", "own/b": "0"}, ExperimentError, "all clips are in fold 0"),
        ({"own/a": "train", "own/b": "test"}, ExperimentError, r"1 subject\(s\) left to train and to validate on"),
    ],
)
def test_a_split_of_the_corpus_that_is_none_is_refused(sides, error, message):
    with pytest.raises(error, match=message):
        make_splits(**sided(sides), protocol=OWN)


def test_a_split_of_the_corpus_that_tears_a_person_is_a_leak():
    clips = sided({"own/a": "train", "own/b": "test", "own/c": "train"})
    clips["sides"][0] = "test"
    with pytest.raises(LeakError, match="own/a stands on test and on train in the split of the corpus"):
        make_splits(**clips, protocol=OWN)
    clips = sided({"own/a": "train", "own/b": "test", "own/c": "train"})
    clips["copies"][0] = clips["copies"][3]
    with pytest.raises(LeakError, match=r"own/a\+own/b stands on train and on test"):
        make_splits(**clips, protocol=OWN)


def test_without_a_list_and_without_sides_official_names_the_remedy():
    with pytest.raises(ExperimentError, match=r"official: .* have no side .* such as hicmae-ravdess"):
        make_splits(**clips_of({"own/a": 2, "own/b": 2}), protocol=OWN)


def test_a_person_of_two_corpora_stays_on_one_side():
    clips = clips_of({f"ravdess/{n}": 4 for n in range(6)})
    clips["corpora"] = ["own" if row % 4 == 3 else "ravdess" for row in range(len(clips["clip_ids"]))]
    for split in make_splits(**clips, protocol=ProtocolConfig(folds=3)):
        sides = [subjects_of(clips, rows) for rows in (split.train, split.validation, split.test)]
        assert sum(map(len, sides)) == 6
    with pytest.raises(ExperimentError, match="two corpora that share no subject"):
        make_splits(**clips, protocol=ProtocolConfig(kind="leave-one-corpus-out"))


def test_official_folds_that_do_not_fit_the_clips_are_refused():
    with pytest.raises(ValueError, match="no published list .*hicmae-ravdess"):
        official("emobox-cremad")
    with pytest.raises(ValueError, match="only official takes a list"):
        ProtocolConfig(official=official_folds("hicmae-ravdess"))
    actors = {f"ravdess/{actor:02d}": 3 for actor in range(1, 25)}
    with pytest.raises(ExperimentError, match="no fold for mine/a"):
        make_splits(**clips_of({**actors, "mine/a": 3}), protocol=official("hicmae-ravdess"))
    with pytest.raises(ExperimentError, match="fold 5 tests ravdess/21, .* no clip of them"):
        few = {actor: n for actor, n in actors.items() if actor < "ravdess/21"}
        make_splits(**clips_of(few), protocol=official("hicmae-ravdess"))
    clips = clips_of(actors)
    clips["copies"][clips["clip_ids"].index("ravdess/24-0")] = clips["copies"][0]
    with pytest.raises(ExperimentError, match=r"ravdess/01\+ravdess/24 share a recording"):
        make_splits(**clips, protocol=official("hicmae-ravdess"))
