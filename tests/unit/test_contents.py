"""Contents: which clips are copies, and which share a part of a file."""

from __future__ import annotations

from itertools import combinations, product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mien.data.contents import Contents

Stretch = tuple[int, str, float, float | None]


def contents(n_clips: int, *stretches: Stretch) -> Contents:
    """(row, hash, start_s, end_s) of each."""
    return Contents.of(n_clips, *([*column] for column in zip(*stretches)))


def pairs(found: np.ndarray) -> set[tuple[int, ...]]:
    return {tuple(sorted(pair)) for pair in found.tolist()}


def test_clips_of_the_same_stretch_are_copies_also_through_others():
    """0 and 2 share nothing but 1; 3 has the same file elsewhere, 4 another one, 5 none."""
    found = contents(
        6,
        (0, "voice a", 0, None),
        (1, "voice a", 0, None),
        (1, "face a", 0, None),
        (2, "face a", 0, None),
        (3, "voice a", 10, 20),
        (4, "voice b", 0, None),
    )
    assert found.copies().tolist() == [0, 0, 0, 1, 2, 3]
    assert found.identical([f"c/{i}" for i in range(6)]) == [["c/0", "c/1", "c/2"]]


def test_many_utterances_of_one_file_are_neither_copies_nor_overlaps():
    """They follow each other without a gap: 0 s is no overlap."""
    found = contents(200, *[(i, "mix", i * 1.5, (i + 1) * 1.5) for i in range(200)])
    assert found.copies().tolist() == list(range(200))
    assert found.overlaps().shape == (0, 2)
    assert found.identical([f"c/{i}" for i in range(200)]) == []


def test_overlapping_stretches_are_pairs_and_copies_are_not():
    found = contents(
        5, (0, "mix", 0, 10), (1, "mix", 9.9, 12), (2, "mix", 9.9, 12), (3, "mix", 11, None), (4, "other", 0, 10)
    )
    assert found.copies().tolist() == [0, 1, 1, 2, 3]
    assert pairs(found.overlaps()) == {(0, 1), (1, 3)}  # 2 is a copy of 1


def test_a_stretch_to_the_end_overlaps_all_that_starts_after_it():
    found = contents(3, (0, "mix", 5, None), (1, "mix", 100, 101), (2, "mix", 0, 5))
    assert pairs(found.overlaps()) == {(0, 1)}


def test_a_long_stretch_overlaps_what_starts_long_after_it():
    """Though another has begun and ended in between."""
    found = contents(4, (0, "mix", 0, 100), (1, "mix", 1, 2), (2, "mix", 50, 51), (3, "mix", 100, 101))
    assert pairs(found.overlaps()) == {(0, 1), (0, 2)}


def test_the_media_of_one_clip_do_not_overlap_each_other():
    assert contents(1, (0, "film", 0, 10), (0, "film", 0.5, 9)).overlaps().shape == (0, 2)


def test_pairs_stay_few_where_everything_overlaps():
    """Half a million of these 1000 clips do, two by two."""
    found = contents(1000, *[(i, "mix", i * 0.001, 100 + i) for i in range(1000)])
    assert len(found.overlaps()) == 999


def test_clips_without_contents_are_alone():
    found = Contents.of(3, [], [], [], [])
    assert found.copies().tolist() == [0, 1, 2]
    assert found.overlaps().shape == (0, 2)


stretches = st.lists(
    st.tuples(
        st.integers(0, 6), st.sampled_from("ab"), st.integers(0, 8), st.one_of(st.none(), st.integers(1, 5))
    ),  # the last is a duration
    min_size=1,
    max_size=12,
)


@pytest.mark.slow
@settings(deadline=None)
@given(stretches, st.lists(st.integers(0, 1), min_size=7, max_size=7))
def test_pairs_and_copies_are_enough_to_find_every_overlap_between_two_sides(drawn, side):
    """Against all pairs of stretches, one by one."""
    rows = [(row, file, start, np.inf if length is None else start + length) for row, file, start, length in drawn]
    found = contents(7, *rows)
    copies = found.copies()
    linked = {pair for pair in combinations(range(7), 2) if copies[pair[0]] == copies[pair[1]]}
    overlapping, same = set(), set()
    for (a, file_a, start_a, end_a), (b, file_b, start_b, end_b) in product(rows, rows):
        if a < b and file_a == file_b:
            if (start_a, end_a) == (start_b, end_b):
                same.add((a, b))
            elif start_a < end_b and start_b < end_a:
                overlapping.add((a, b))
    assert same <= linked
    assert pairs(found.overlaps()) <= overlapping
    assert len(found.overlaps()) < len(rows)

    def crosses(of: set) -> bool:
        return any(side[a] != side[b] for a, b in of)

    assert crosses(overlapping | same) == crosses(pairs(found.overlaps()) | same)


def test_the_stretch_that_two_clips_share_is_named_by_its_seconds_the_longest_first():
    found = contents(
        5,
        (0, "mix", 10, 20),
        (0, "camera", 0, None),
        (1, "mix", 17.5, 30),
        (1, "camera", 30, None),
        (2, "mix", 12, 13.5),
        (3, "mix", 20, 25),
        (4, "other", 10, 20),
    )
    assert found.shared_s(0, 1) == (30, np.inf)
    assert found.shared_s(1, 0) == (30, np.inf)
    assert found.shared_s(0, 2) == (12, 13.5)
    assert found.shared_s(1, 3) == (20, 25)
    for other in (3, 4):
        assert np.isnan(found.shared_s(0, other)).all()
