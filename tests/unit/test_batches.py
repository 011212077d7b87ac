"""Batches: an order that nothing but (seed, epoch, clip ids) decides, and padding that is never seen."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mien.data.batches import Example, make_batches, plain_order, stable_seed, training_order
from mien.features.spec import Frames


def order_of(ids: list[str], **keywords) -> list[list[str]]:
    """Batches of clip ids; a clip's length is a function of its id."""
    lengths = np.array([1 + stable_seed(i) % 50 for i in ids])
    examples = [Example(row, copy) for row in range(len(ids)) for copy in (0, 1)]
    batches = training_order(examples, ids, lengths, **{"seed": 1, "epoch": 1, "batch_size": 4, **keywords})
    return [[f"{ids[e.row]}#{e.copy}" for e in batch] for batch in batches]


@given(st.sets(st.text("abcdef", min_size=1, max_size=5), min_size=1, max_size=40), st.randoms())
def test_order_does_not_depend_on_the_order_of_the_clips(ids, random):
    ordered = sorted(ids)
    mixed = list(ordered)
    random.shuffle(mixed)
    assert [sorted(batch) for batch in order_of(ordered)] == [sorted(batch) for batch in order_of(mixed)]


def test_every_example_comes_once_and_only_the_last_batch_is_short():
    ids = [f"c/{i}" for i in range(53)]
    batches = order_of(ids)
    assert sorted(clip for batch in batches for clip in batch) == sorted(f"{i}#{c}" for i in ids for c in (0, 1))
    assert [len(batch) for batch in batches] == [4] * 26 + [2]


def test_seed_and_epoch_change_the_order():
    ids = [f"c/{i}" for i in range(53)]
    assert order_of(ids) == order_of(ids)
    assert order_of(ids, seed=2) != order_of(ids)
    assert order_of(ids, epoch=2) != order_of(ids)


def frames(example: Example) -> dict[str, Frames]:
    n = 3 + example.row
    return {"x": Frames(np.full((n, 5), example.row + 1, np.float32), np.ones(n, bool))}


@pytest.mark.parametrize("world", [1, 2, 3])
def test_ranks_share_each_batch_without_loss(world):
    targets = np.eye(7, dtype=np.float32)
    order = plain_order(range(7), 4)
    per_rank = [
        list(make_batches(order, frames, targets, {"x": 5}, batch_size=4, rank=rank, world=world))
        for rank in range(world)
    ]
    assert {len(batches) for batches in per_rank} == {2}
    assert len({batch.rows.shape for batches in per_rank for batch in batches}) == 1
    seen = sorted(int(r) for batches in per_rank for batch in batches for r in batch.rows if r >= 0)
    assert seen == list(range(7))
    for step in range(2):
        weights = sum(batches[step].weights.sum() for batches in per_rank)
        assert weights == per_rank[0][step].total_weight == (4, 3)[step]


def test_padding_is_zero_and_masked_and_a_filler_weighs_nothing():
    (batch,) = make_batches(
        [[Example(1, 0), Example(4, 0)]], frames, np.eye(7, dtype=np.float32), {"x": 5}, batch_size=3
    )
    assert batch.values["x"].shape == (3, 8, 5)
    assert batch.masks["x"].sum(axis=1).tolist() == [4, 7, 0]
    assert not batch.values["x"][~batch.masks["x"]].any()
    assert batch.weights.tolist() == [1, 1, 0]
    assert batch.rows.tolist() == [1, 4, -1]
    np.testing.assert_allclose(batch.targets.sum(axis=1), 1, rtol=1e-6)


def test_one_row_a_clip_stays_one_row():
    one = lambda example: {"x": Frames(np.ones((1, 5), np.float32), np.ones(1, bool))}  # noqa: E731
    (batch,) = make_batches(plain_order(range(3), 3), one, np.eye(3, dtype=np.float32), {"x": 5}, batch_size=3)
    assert batch.values["x"].shape == (3, 1, 5)
