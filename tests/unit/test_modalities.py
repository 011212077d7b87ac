"""What modalities are worth, against games that can be worked out by hand."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest

from mien.results import modalities
from mien.results.modalities import shapley, subsets


def test_in_an_additive_game_each_gets_what_it_brings():
    brings = {"eeg": 0.1, "face": 0.3, "voice": -0.05}
    worth = {subset: 0.2 + sum(brings[name] for name in subset) for subset in subsets(brings)}
    assert shapley(worth) == pytest.approx(brings)


def test_what_only_two_can_do_together_is_shared_by_them():
    worth = {subset: float({"a", "b"} <= subset) for subset in subsets("abc")}
    assert shapley(worth) == pytest.approx({"a": 0.5, "b": 0.5, "c": 0.0})


def test_it_is_the_mean_over_all_orders_and_sums_to_the_whole():
    rng = np.random.default_rng(0)
    worth = {subset: rng.random(5) for subset in subsets("abcd")}  # arrays, such as the values of five subjects
    gains = {name: np.zeros(5) for name in "abcd"}
    orders = list(permutations("abcd"))
    for order in orders:
        for place, name in enumerate(order):
            before = frozenset(order[:place])
            gains[name] += (worth[before | {name}] - worth[before]) / len(orders)
    found = shapley(worth)
    for name, gain in gains.items():
        np.testing.assert_allclose(found[name], gain)
    np.testing.assert_allclose(sum(found.values()), worth[frozenset("abcd")] - worth[frozenset()])


def test_a_subset_that_is_missing_is_named():
    worth = {subset: 1.0 for subset in subsets("ab") if subset != {"b"}}
    with pytest.raises(ValueError, match="worth of b is missing: all 4 are needed"):
        shapley(worth)


def test_overlap_of_two_that_are_right_about_other_clips():
    one = np.array([1, 1, 1, 0, 0, 0, 0, 0, 0, 0], bool)
    other = np.array([1, 0, 0, 1, 0, 0, 0, 0, 0, 0], bool)
    found = modalities.overlap(one, other)
    assert found == pytest.approx((0.1, 0.2, 0.1, 0.6))
    assert found.oracle == pytest.approx(np.mean(one | other))


def test_errors_are_the_mean_over_what_was_rated():
    truth = np.array([[1.0, 0.0], [0.5, np.nan], [np.nan, np.nan]])
    found = modalities.errors(truth, np.array([[0.0, 0.5], [0.2, 7.0], [0.0, 0.0]]))
    assert found[:2] == pytest.approx([0.75, 0.3])
    assert np.isnan(found[2])
