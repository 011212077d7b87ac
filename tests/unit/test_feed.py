"""Feed: what a run is fed, made ahead in a thread that changes nothing and never stays behind."""

from __future__ import annotations

import dataclasses
import itertools
import threading
import time
from collections.abc import Iterator

import numpy as np
import pytest

import tiny
from mien.data import feed as feed_module
from mien.data.batches import Batch
from mien.data.dataset import Dataset
from mien.data.feed import Feed, ahead
from mien.experiment import AugmentConfig, DataConfig, Experiment, TrainingConfig
from mien.features.spec import Frames

FEATURES = ("voice", "face", "row")
PLAIN = Experiment(
    name="feed",
    data=DataConfig(corpora=("c",), features=FEATURES),
    augment=AugmentConfig(kind="none"),
    training=TrainingConfig(batch_size=7),
)
SYNC = dataclasses.replace(PLAIN, augment=AugmentConfig(kind="sync", factor=2.5, probability=0.9))
TRAIN = np.arange(0, 41, 2)


def assert_same(one: Batch, other: Batch) -> None:
    for name in FEATURES:
        np.testing.assert_array_equal(one.values[name], other.values[name])
        np.testing.assert_array_equal(one.masks[name], other.masks[name])
    for field in ("targets", "target_mask", "weights", "total_weight", "rows", "progress"):
        np.testing.assert_array_equal(getattr(one, field), getattr(other, field))


@pytest.mark.parametrize("experiment", [PLAIN, SYNC], ids=["plain", "sync"])
def test_a_thread_changes_no_bit(experiment, monkeypatch):
    data = tiny.dataset()
    threaded = [*Feed(experiment, data, TRAIN, 3).training(2), *Feed(experiment, data, TRAIN, 3).plain(np.arange(9))]
    monkeypatch.setattr(feed_module, "ahead", lambda items, n, on_wait: items)
    alone = [*Feed(experiment, data, TRAIN, 3).training(2), *Feed(experiment, data, TRAIN, 3).plain(np.arange(9))]
    assert len(threaded) == len(alone) > 3
    for one, other in zip(threaded, alone):
        assert_same(one, other)


def test_training_is_of_the_training_rows_with_their_copies():
    data = tiny.dataset()
    rows = [batch.rows[batch.rows >= 0] for batch in Feed(SYNC, data, TRAIN, 3).training(1)]
    counts = np.bincount(np.concatenate(rows), minlength=41)
    assert set(np.flatnonzero(counts)) == set(TRAIN.tolist())
    assert counts.max() == 3
    assert 1.9 < counts[TRAIN].mean() < 2.8  # 2.5 and less what a probability of 0.9 leaves out
    plain = [batch.rows[batch.rows >= 0] for batch in Feed(PLAIN, data, TRAIN, 3).training(1)]
    assert sorted(np.concatenate(plain)) == TRAIN.tolist()


def test_what_is_predicted_comes_once_in_order_and_never_augmented():
    data = tiny.dataset()
    feed, rows = Feed(SYNC, data, TRAIN, 3), np.array([1, 3, 4, 40])
    (batch,) = feed.plain(rows)
    assert batch.rows[:4].tolist() == rows.tolist()
    for number, row in enumerate(rows):
        expected = feed.normaliser({"voice": data.columns["voice"][row]}, "")["voice"]
        np.testing.assert_array_equal(batch.values["voice"][number, : len(expected.valid)], expected.values)


def changed(data: Dataset, rows: np.ndarray) -> Dataset:
    """With other frames in these rows."""
    columns = {}
    for name, column in data.columns.items():
        frames = [column[i] for i in range(len(data))]
        for row in rows:
            frames[row] = Frames(frames[row].values * 17 + 5, frames[row].valid)
        columns[name] = type(column)(column.spec, frames)
    return dataclasses.replace(data, columns=columns)


def test_the_normaliser_knows_the_training_rows_alone():
    data, others = tiny.dataset(), np.setdiff1d(np.arange(41), TRAIN)
    before = Feed(PLAIN, data, TRAIN, 3).normaliser.to_arrays()
    after = Feed(PLAIN, changed(data, others), TRAIN, 3).normaliser.to_arrays()
    for name, array in before.items():
        np.testing.assert_array_equal(array, after[name])
    fewer = Feed(PLAIN, changed(data, TRAIN[:1]), TRAIN, 3).normaliser.to_arrays()
    assert not np.array_equal(before["voice.mean"], fewer["voice.mean"])
    batches = list(Feed(PLAIN, data, TRAIN, 3).training(1))
    values = np.concatenate([batch.values["voice"][batch.masks["voice"]] for batch in batches])
    np.testing.assert_allclose(values.mean(axis=0), 0, atol=1e-5)
    np.testing.assert_allclose(values.std(axis=0), 1, atol=1e-4)


def test_speakers_have_a_normaliser_each_where_it_is_asked_for():
    by_speaker = dataclasses.replace(PLAIN, data=dataclasses.replace(PLAIN.data, normalise="speaker"))
    data = tiny.dataset()
    rows = np.array([i for i in range(41) if data.subjects[i] == "c/s3"])
    (batch,) = Feed(by_speaker, data, TRAIN, 3).plain(rows)
    values = batch.values["voice"][batch.masks["voice"]]
    np.testing.assert_allclose(values.mean(axis=0), 0, atol=1e-5)


def learnt(experiment: Experiment, *, seed: int, epoch: int) -> dict[int, bytes]:
    """Row to all that is seen of it, whatever the order."""
    seen: dict[int, list[bytes]] = {}
    for batch in Feed(experiment, tiny.dataset(), TRAIN, seed).training(epoch):
        for i, row in enumerate(batch.rows):
            seen.setdefault(int(row), []).append(batch.values["voice"][i][batch.masks["voice"][i]].tobytes())
    return {row: b"|".join(sorted(parts)) for row, parts in seen.items()}


def test_each_epoch_and_seed_has_copies_of_its_own():
    one = learnt(SYNC, seed=3, epoch=1)
    assert learnt(SYNC, seed=3, epoch=1) == one
    for other in (learnt(SYNC, seed=3, epoch=2), learnt(SYNC, seed=4, epoch=1)):
        assert sum(other[row] != one[row] for row in TRAIN.tolist()) > 0.8 * len(TRAIN)
    assert learnt(PLAIN, seed=3, epoch=1) == learnt(PLAIN, seed=4, epoch=2)


@pytest.mark.parametrize("experiment", [PLAIN, SYNC], ids=["plain", "sync"])
def test_two_ranks_share_each_batch(experiment):
    data = tiny.dataset()
    whole = list(Feed(experiment, data, TRAIN, 3).training(1))
    shards = [Feed(experiment, data, TRAIN, 3, rank=rank, world=2).training(1) for rank in (0, 1)]
    for batch, *parts in zip(whole, *shards, strict=True):
        rows = np.concatenate([part.rows for part in parts])
        assert sorted(rows[rows >= 0]) == sorted(batch.rows[batch.rows >= 0])
        assert {part.total_weight for part in parts} == {batch.total_weight}


# ------------------------------------------------------------------ the thread


def feed_threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "mien-feed"]


def test_items_come_in_order_and_the_thread_ends():
    assert list(ahead(range(101), 2)) == list(range(101))
    assert list(ahead([], 2)) == []
    assert feed_threads() == []


def test_no_more_is_made_ahead_than_asked_for():
    made = []

    def items() -> Iterator[int]:
        for i in range(100):
            made.append(i)
            yield i

    fed = ahead(items(), 2)
    assert made == []  # nor before the first is asked for
    next(fed)
    deadline_s = time.monotonic() + 5
    while len(made) < 4 and time.monotonic() < deadline_s:
        time.sleep(0.01)
    time.sleep(0.1)
    assert made == [0, 1, 2, 3]  # one is out, two wait, and one stands before the full queue
    fed.close()
    assert feed_threads() == []
    assert len(made) <= 5


@pytest.mark.parametrize("n_taken", [1, 3])
def test_a_consumer_that_stops_early_ends_the_thread(n_taken):
    fed = Feed(SYNC, tiny.dataset(), TRAIN, 3).training(1)
    for _ in range(n_taken):
        next(fed)
    assert len(feed_threads()) == 1
    fed.close()
    assert feed_threads() == []


def test_a_consumer_that_fails_ends_the_thread():
    with pytest.raises(ZeroDivisionError):
        for _ in Feed(PLAIN, tiny.dataset(), TRAIN, 3).training(1):
            raise ZeroDivisionError
    deadline_s = time.monotonic() + 5
    while feed_threads() and time.monotonic() < deadline_s:
        time.sleep(0.01)
    assert feed_threads() == []


@pytest.mark.parametrize("n_good", [0, 1, 5])
def test_what_the_thread_raises_is_raised_in_its_turn(n_good):
    def items() -> Iterator[int]:
        yield from range(n_good)
        raise ValueError("a frame cannot be decoded")

    fed, seen = ahead(items(), 2), []
    with pytest.raises(ValueError, match="a frame cannot be decoded") as error:
        for item in fed:
            seen.append(item)
    assert seen == list(range(n_good))
    assert "in items" in "".join(map(str, error.traceback))  # where it happened is not lost
    assert feed_threads() == []


def test_the_seconds_waited_are_counted(monkeypatch):
    """By a clock that goes on by a second whenever it is looked at."""
    clock = itertools.count()
    monkeypatch.setattr(feed_module.time, "perf_counter", lambda: float(next(clock)))
    waited: list[float] = []
    assert len(list(ahead(range(4), 2, waited.append))) == 4
    assert waited == [1.0] * 5  # the end is waited for as well
    feed = Feed(PLAIN, tiny.dataset(), TRAIN, 3)
    assert feed.waited_s == 0
    n_batches = len(list(feed.training(1)))
    assert feed.waited_s == n_batches + 1
    list(feed.plain(TRAIN))
    assert feed.waited_s == n_batches + 1 + 2
