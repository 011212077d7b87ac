"""The sliding window of a live session: to the model it is a clip that ends now."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mien.features.spec import FeatureSpec, Frames
from mien.predict.demo.window import HeardRows, SeenRows, SoundBuffer, window_seconds

RATE_HZ = 1000.0


def spec(hop_s: float | None = 0.1, modality: str = "video") -> FeatureSpec:
    return FeatureSpec(name="x", version=1, modality=modality, shape=(2,), hop_s=hop_s)


def row(value: float) -> np.ndarray:
    return np.full(2, value, np.float32)


def test_frames_are_those_of_the_slowest_feature():
    assert window_seconds([spec(0.1), spec(0.04)], 30) == pytest.approx(3.0)
    assert window_seconds([spec(0.2), spec(None)], 30) == pytest.approx(6.0)
    assert window_seconds([spec(None)], 30) == pytest.approx(3.0), "a tenth of a second where there are no frames"


# ---------------------------------------------------------------------- seen


def test_rows_that_come_in_time_are_the_window():
    seen = SeenRows(spec(), 0.5)
    for n in range(12):
        seen.add(n / 10, row(n))
    frames = seen.frames(1.1)
    assert frames.values[:, 0].tolist() == [7, 8, 9, 10, 11]
    assert frames.valid.all()


def test_a_slow_machine_shows_a_row_for_as_long_as_there_is_no_newer_one():
    seen = SeenRows(spec(), 0.5)
    for time_s in (0.0, 0.3, 0.6):
        seen.add(time_s, row(10 * time_s))
    assert seen.frames(0.6).values[:, 0] == pytest.approx([0, 3, 3, 3, 6])


def test_rows_a_little_out_of_time_are_none_twice():
    seen = SeenRows(spec(), 0.5)
    for n, late_s in enumerate((0.0, 0.02, -0.01, 0.02, 0.0, -0.02)):
        seen.add(n / 10 + late_s, row(n))
    assert seen.frames(0.48).values[:, 0].tolist() == [1, 2, 3, 4, 5]


def test_what_has_not_been_is_masked_at_the_end():
    seen = SeenRows(spec(), 0.5)
    seen.add(5.0, row(1))
    seen.add(5.1, row(2))
    frames = seen.frames(5.1)
    assert frames.valid.tolist() == [True, True, False, False, False]
    assert frames.values[:, 0].tolist() == [1, 2, 0, 0, 0]
    assert not SeenRows(spec(), 0.5).frames(9.0).valid.any()


def test_no_face_is_masked_where_it_was():
    seen = SeenRows(spec(), 0.3)
    for n, value in enumerate((row(1), None, row(3))):
        seen.add(n / 10, value)
    assert seen.frames(0.2).valid.tolist() == [True, False, True]
    assert seen.frames(0.2).values[1].tolist() == [0, 0]


def test_what_was_seen_long_ago_stands_for_nothing():
    seen = SeenRows(spec(), 0.5)
    seen.add(0.0, row(1))
    seen.add(1.6, row(2))
    frames = seen.frames(1.6)
    assert frames.values[frames.valid, 0].tolist() == [2], "1.2 to 1.5 s show what is more than a second old"


def test_it_does_not_grow():
    seen = SeenRows(spec(), 0.5)
    for n in range(10_000):
        seen.add(n / 10, row(n))
    assert len(seen._rows) < 30


# ---------------------------------------------------------------------- heard


@given(st.lists(st.integers(0, 300), max_size=30))
def test_a_buffer_holds_the_newest_samples(pieces):
    buffer = SoundBuffer(RATE_HZ, 0.2)
    everything = np.arange(sum(pieces), dtype=np.float32)
    at = 0
    for n in pieces:
        buffer.add(everything[at : at + n])
        at += n
    assert buffer.n == len(everything)
    np.testing.assert_array_equal(buffer.stretch(buffer.first, buffer.n), everything[buffer.first :])
    assert buffer.n - buffer.first == min(len(everything), 200)


def test_a_level_is_in_decibels_of_full_scale():
    buffer = SoundBuffer(RATE_HZ, 1.0)
    assert buffer.level_db(0.3) == -100
    buffer.add(np.ones(500, np.float32))
    assert buffer.level_db(0.3) == pytest.approx(0)
    buffer.add(np.full(300, 0.1, np.float32))
    assert buffer.level_db(0.3) == pytest.approx(-20, abs=0.01)


def means(stretch: np.ndarray, context: int, hop: int) -> Frames:
    """As an extractor of windows of 300 samples with a context of 400 gives rows: the mean of each window."""
    starts = range(0, len(stretch) - 300 + 1, hop)
    values = np.array([[stretch[s : s + 300].mean()] * 2 for s in starts], np.float32)
    return Frames(values, np.ones(len(values), bool))


@pytest.mark.parametrize("piece", [40, 100, 170, 333])
def test_with_a_context_each_row_is_made_once_and_is_that_of_the_whole(piece):
    """Rows of windows of 0.3 s, with 0.1 s before them: as of one pass over all of it, whatever pieces it comes in."""
    rng = np.random.default_rng(0)
    sound = rng.normal(size=3000).astype(np.float32)
    buffer = SoundBuffer(RATE_HZ, 2.0)
    rows = HeardRows(spec(0.1, "audio"), RATE_HZ, 1.0, n_rows=8, context_s=0.4, n_context=2)
    n_extracted = 0
    for at in range(0, len(sound), piece):
        buffer.add(sound[at : at + piece])
        stretch = rows.wanted(buffer)
        if stretch is not None:
            rows.take(means(stretch, 400, 100))
            n_extracted += len(stretch)
    n_rows = (3000 - 400) // 100 + 1
    expected = np.array([sound[100 * (i + 1) : 100 * (i + 1) + 300].mean() for i in range(n_rows)], np.float32)[-8:]
    np.testing.assert_allclose(rows.frames().values[:, 0], expected, rtol=1e-6)
    assert rows.frames().valid.all()
    assert n_extracted < 400 * n_rows + 100


def test_a_slow_machine_leaves_out_what_has_left_the_window():
    buffer = SoundBuffer(RATE_HZ, 2.0)
    rows = HeardRows(spec(0.1, "audio"), RATE_HZ, 1.0, n_rows=8, context_s=0.4, n_context=2)
    buffer.add(np.zeros(500, np.float32))
    stretch = rows.wanted(buffer)
    rows.take(means(stretch, 400, 100))
    buffer.add(np.ones(9000, np.float32))
    stretch = rows.wanted(buffer)
    assert len(stretch) == 1000, "no more than the window is made up for"
    rows.take(means(stretch, 400, 100))
    assert rows.wanted(buffer) is None
    assert (rows.frames().values[-6:] == 1).all()


def test_without_a_context_the_whole_window_is_heard_anew():
    buffer = SoundBuffer(RATE_HZ, 3.0)
    rows = HeardRows(spec(None, "audio"), RATE_HZ, 1.0, n_rows=1, context_s=None)
    buffer.add(np.zeros(250, np.float32))
    assert len(rows.wanted(buffer)) == 250, "a short clip at first"
    rows.take(None)
    assert not rows.frames().valid.any(), "an extractor for which it is too short"
    buffer.add(np.zeros(20, np.float32))
    assert rows.wanted(buffer) is None, "not for every piece"
    buffer.add(np.ones(2000, np.float32))
    stretch = rows.wanted(buffer)
    assert len(stretch) == 1000 and stretch.min() == 1
    rows.take(Frames(row(4)[None], np.ones(1, bool)))
    assert rows.frames().values.tolist() == [[4, 4]]
    rows.clear()
    assert not rows.frames().valid.any()


def test_fewer_rows_than_a_window_holds_are_masked_at_the_end():
    rows = HeardRows(spec(0.1, "audio"), RATE_HZ, 1.0, n_rows=4, context_s=0.4, n_context=1)
    rows.take(Frames(np.array([[1, 1], [2, 2]], np.float32), np.ones(2, bool)))
    assert rows.frames().values[:, 0].tolist() == [1, 2, 0, 0]
    assert rows.frames().valid.tolist() == [True, True, False, False]
