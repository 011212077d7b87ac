"""Batches: an order that nothing but (seed, epoch, clip ids) decides, and padding that is never seen."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mien.data.batches import (
    BUCKET_BATCHES,
    Examples,
    clip_keys,
    make_batches,
    plain_order,
    stable_seed,
    training_order,
)
from mien.data.targets import Target
from mien.experiment.target import TargetSpec
from mien.features.spec import FeatureSpec, Frames

X = {"x": FeatureSpec(name="x", version=1, modality="audio", shape=(5,), hop_s=0.1)}


def length_of(clip_id: str) -> int:
    return 1 + stable_seed(clip_id) % 50


def order_of(ids: list[str], copies: tuple[int, ...] = (0, 1), **keywords: int) -> list[list[tuple[str, int]]]:
    """Batches of (clip id, copy)."""
    examples = Examples(np.tile(np.arange(len(ids)), len(copies)), np.repeat(np.array(copies), len(ids)))
    asked = {"seed": 1, "epoch": 1, "batch_size": 4, **keywords}
    batches = training_order(examples, clip_keys(ids), np.array([length_of(i) for i in ids], np.int64), **asked)
    return [[(ids[row], int(copy)) for row, copy in zip(batch.rows, batch.copies)] for batch in batches]


def mixed(bits: int) -> int:
    """splitmix64's finaliser as in Java's SplittableRandom, on Python's integers."""
    bits = (bits ^ bits >> 30) * 0xBF58476D1CE4E5B9 % 2**64
    bits = (bits ^ bits >> 27) * 0x94D049BB133111EB % 2**64
    return bits ^ bits >> 31


def test_the_order_is_the_one_that_its_words_describe():
    """Written again without numpy: a hash of 64 bits from (seed, epoch, clip id, copy) sorts, then lengths do."""

    def bits(text: str) -> int:
        return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big")

    ids = [f"c/{i}" for i in range(157)]
    examples = [(clip_id, copy) for copy in (0, 1, 2) for clip_id in ids]
    draw = {e: mixed((mixed(bits(e[0]) ^ bits("order/7/3")) + e[1] * 0x9E3779B97F4A7C15) % 2**64) for e in examples}
    shuffled = sorted(examples, key=draw.__getitem__)
    window = 5 * BUCKET_BATCHES
    ordered = [
        example
        for start in range(0, len(shuffled), window)
        for example in sorted(shuffled[start : start + window], key=lambda e: length_of(e[0]))
    ]
    batches = [ordered[i : i + 5] for i in range(0, len(ordered), 5)]
    full, short = batches[:-1], batches[-1]
    places = np.random.default_rng(bits("batches/7/3")).permutation(len(full))
    expected = [*(full[i] for i in places), short]
    assert len(short) == 1
    assert order_of(ids, (0, 1, 2), seed=7, epoch=3, batch_size=5) == expected


@pytest.mark.slow
@settings(deadline=None)
@given(st.sets(st.text("abcdef", min_size=1, max_size=5), min_size=1, max_size=40), st.randoms())
def test_order_does_not_depend_on_the_order_of_the_clips(ids, random):
    ordered = sorted(ids)
    shuffled = list(ordered)
    random.shuffle(shuffled)
    assert order_of(ordered) == order_of(shuffled)


def test_every_example_comes_once_and_only_the_last_batch_is_short():
    ids = [f"c/{i}" for i in range(53)]
    batches = order_of(ids)
    assert sorted(example for batch in batches for example in batch) == sorted((i, c) for i in ids for c in (0, 1))
    assert [len(batch) for batch in batches] == [4] * 26 + [2]


def test_a_batch_holds_clips_of_similar_length():
    ids = [f"c/{i}" for i in range(509)]
    spread = [np.ptp([length_of(clip_id) for clip_id, _ in batch]) for batch in order_of(ids)[:-1]]
    assert np.mean(spread) < 5  # of lengths from 1 to 50; at random it is 30


def test_seed_and_epoch_change_the_order():
    ids = [f"c/{i}" for i in range(53)]
    assert order_of(ids) == order_of(ids)
    assert order_of(ids, seed=2) != order_of(ids)
    assert order_of(ids, epoch=2) != order_of(ids)


def test_the_copies_of_a_clip_are_dealt_apart():
    """Their places are independent: two uniform draws are a third of the range apart."""
    ids = [f"c/{i:04}" for i in range(509)]
    place: dict[tuple[str, int], int] = {}
    batches = order_of(ids)
    for number, batch in enumerate(batches):
        place |= dict.fromkeys(batch, number)
    distance = [abs(place[clip_id, 0] - place[clip_id, 1]) for clip_id in ids]
    np.testing.assert_allclose(np.mean(distance), len(batches) / 3, rtol=0.15)


def frames(row: int, copy: int) -> dict[str, Frames]:
    n = 3 + row
    return {"x": Frames(np.full((n, 5), row + 1, np.float32), np.ones(n, bool))}


def target(n: int, kind: str = "classes") -> Target:
    """Of dimensions, every third is not rated."""
    values = np.eye(n, dtype=np.float32)
    mask = np.ones((n, n), bool)
    if kind == "dimensions":
        mask.reshape(-1)[::3] = False
    return Target(TargetSpec(kind, tuple(map(str, range(n))), "uar"), np.arange(n), values * mask, mask, np.arange(n))


@pytest.mark.parametrize("world", [1, 2, 3])
def test_ranks_share_each_batch_without_loss(world):
    order = plain_order(range(7), 4)
    per_rank = [
        list(make_batches(order, frames, target(7), X, batch_size=4, rank=rank, world=world)) for rank in range(world)
    ]
    assert {len(batches) for batches in per_rank} == {2}
    assert len({batch.rows.shape for batches in per_rank for batch in batches}) == 1
    seen = sorted(int(r) for batches in per_rank for batch in batches for r in batch.rows if r >= 0)
    assert seen == list(range(7))
    for step in range(2):
        weights = sum(batches[step].weights.sum() for batches in per_rank)
        assert weights == per_rank[0][step].total_weight == (4, 3)[step]


def test_padding_is_zero_and_masked_and_a_filler_weighs_nothing():
    (batch,) = make_batches([Examples(np.array([1, 4]), np.array([0, 0]))], frames, target(7), X, batch_size=3)
    assert batch.values["x"].shape == (3, 8, 5)
    assert batch.masks["x"].sum(axis=1).tolist() == [4, 7, 0]
    assert not batch.values["x"][~batch.masks["x"]].any()
    assert batch.weights.tolist() == [1, 1, 0]
    assert batch.rows.tolist() == [1, 4, -1]
    np.testing.assert_array_equal(batch.targets[:2], np.eye(7)[[1, 4]])
    np.testing.assert_allclose(batch.targets[2], 1 / 7, rtol=1e-6)  # a finite loss, of weight 0
    assert batch.target_mask.tolist() == [[True] * 7, [True] * 7, [False] * 7]


def test_what_was_not_rated_is_masked_and_a_filler_has_no_rating():
    (batch,) = make_batches(plain_order([2, 5], 3), frames, target(7, "dimensions"), X, batch_size=3)
    flat = np.arange(49).reshape(7, 7)
    np.testing.assert_array_equal(batch.target_mask[:2], flat[[2, 5]] % 3 != 0)
    np.testing.assert_array_equal(batch.targets[:2], np.eye(7)[[2, 5]] * (flat[[2, 5]] % 3 != 0))
    assert not batch.target_mask[2].any()
    assert not batch.targets[2].any()


def test_progress_is_the_share_of_the_batches_before():
    batches = list(make_batches(plain_order(range(7), 2), frames, target(7), X, batch_size=2))
    np.testing.assert_allclose([batch.progress for batch in batches], [0, 0.25, 0.5, 0.75], rtol=1e-12)


def test_one_row_per_clip_stays_one_row():
    one = lambda row, copy: {"x": Frames(np.ones((1, 5), np.float32), np.ones(1, bool))}  # noqa: E731
    (batch,) = make_batches(plain_order(range(3), 3), one, target(3), X, batch_size=3)
    assert batch.values["x"].shape == (3, 1, 5)


def test_pictures_stay_uint8():
    spec = FeatureSpec(name="p", version=1, modality="video", shape=(3, 2, 3), codec="jpeg", hop_s=0.1)
    pictures = np.arange(2 * 18, dtype=np.uint8).reshape(2, 3, 2, 3) + 200
    shown = lambda row, copy: {"p": Frames(pictures, np.ones(2, bool))}  # noqa: E731
    (batch,) = make_batches(plain_order([0], 1), shown, target(3), {"p": spec}, batch_size=1)
    assert batch.values["p"].dtype == np.uint8
    np.testing.assert_array_equal(batch.values["p"][0, :2], pictures)
    assert batch.values["p"].shape == (1, 8, 3, 2, 3)
    assert not batch.values["p"][0, 2:].any()


def test_no_rows_give_no_batches():
    assert plain_order([], 4) == []
    nothing = Examples(np.zeros(0, np.int64), np.zeros(0, np.int64))
    assert training_order(nothing, clip_keys([]), np.zeros(0, np.int64), seed=0, epoch=1, batch_size=4) == []
