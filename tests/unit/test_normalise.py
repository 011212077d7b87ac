"""Normaliser: what it may look at, and what it makes of columns that do not vary."""

from __future__ import annotations

import numpy as np

from mien.data.normalise import LARGEST, fit_normaliser
from mien.features.spec import Frames


def clips(n: int = 13, dim: int = 3) -> list[Frames]:
    rng = np.random.default_rng(0)
    lengths = rng.integers(2, 11, n)
    return [Frames(rng.normal(5, 3, (t, dim)).astype(np.float32), np.ones(t, bool)) for t in lengths]


def test_training_rows_come_out_standardised():
    frames, train = clips(), np.arange(7)
    normaliser = fit_normaliser(frames, ["s"] * 13, train, by_speaker=False)
    out = np.concatenate([normaliser(frames[i], "s").values for i in train])
    raw = np.concatenate([frames[i].values for i in train])
    np.testing.assert_allclose(out, (raw - raw.mean(0)) / raw.std(0), atol=1e-4)


def test_rows_outside_training_do_not_count():
    frames, train = clips(), np.arange(7)
    before = fit_normaliser(frames, ["s"] * 13, train, by_speaker=False).mean[""].copy()
    frames[11].values[:] = 1e6
    np.testing.assert_array_equal(fit_normaliser(frames, ["s"] * 13, train, by_speaker=False).mean[""], before)


def test_a_speaker_is_standardised_by_all_of_their_own_clips():
    frames = clips()
    subjects = ["a" if i < 7 else "b" for i in range(13)]
    normaliser = fit_normaliser(frames, subjects, np.arange(7), by_speaker=True)
    out = np.concatenate([normaliser(frames[i], "b").values for i in range(7, 13)])
    np.testing.assert_allclose(out.mean(0), 0, atol=1e-5)
    np.testing.assert_allclose(out.std(0), 1, atol=1e-4)


def test_invalid_frames_neither_count_nor_come_out():
    frames = clips()
    frames[0].values[0] = 1e9
    frames[0].valid[0] = False
    out = fit_normaliser(frames, ["s"] * 13, np.arange(13), by_speaker=False)(frames[0], "s")
    assert not out.values[0].any()
    assert np.abs(out.values).max() < LARGEST


def test_a_constant_column_becomes_zero_and_tails_are_clipped():
    frames = clips()
    for one in frames:
        one.values[:, 1] = 0.1
    normaliser = fit_normaliser(frames, ["s"] * 13, np.arange(13), by_speaker=False)
    assert np.abs(normaliser(frames[3], "s").values[:, 1]).max() < 1e-5
    far = Frames(np.full((1, 3), 1e9, np.float32), np.ones(1, bool))
    assert normaliser(far, "s").values.max() == LARGEST


def test_input_is_not_changed():
    frames = clips()
    before = frames[2].values.copy()
    fit_normaliser(frames, ["s"] * 13, np.arange(13), by_speaker=False)(frames[2], "s")
    np.testing.assert_array_equal(frames[2].values, before)
