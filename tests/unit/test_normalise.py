"""Normaliser: what it may look at, and what it makes of columns that do not vary."""

from __future__ import annotations

import io

import numpy as np

from mien.data.columns import InMemory
from mien.data.normalise import LARGEST, Normaliser, fit_normaliser
from mien.features.spec import FeatureSpec, Frames

VOICE = FeatureSpec(name="voice", version=1, modality="audio", shape=(3,), hop_s=0.1)
PICTURES = FeatureSpec(name="pictures", version=1, modality="video", shape=(2, 2, 3), codec="jpeg", hop_s=0.1)
ALL = np.arange(13)


def clips(n: int = 13, dim: int = 3) -> list[Frames]:
    rng = np.random.default_rng(0)
    lengths = rng.integers(2, 11, n)
    return [Frames(rng.normal(5, 3, (t, dim)).astype(np.float32), np.ones(t, bool)) for t in lengths]


def fitted(frames: list[Frames], train: np.ndarray, subjects: list[str] | None = None) -> Normaliser:
    """By speaker where subjects are given."""
    names = subjects or ["s"] * len(frames)
    return fit_normaliser({"voice": InMemory(VOICE, frames)}, names, train, by_speaker=subjects is not None)


def standardised(normaliser: Normaliser, frames: Frames, subject: str = "s") -> Frames:
    return normaliser({"voice": frames}, subject)["voice"]


def test_training_rows_come_out_standardised():
    frames, train = clips(), np.arange(7)
    normaliser = fitted(frames, train)
    out = np.concatenate([standardised(normaliser, frames[i]).values for i in train])
    raw = np.concatenate([frames[i].values for i in train])
    np.testing.assert_allclose(out, (raw - raw.mean(0)) / raw.std(0), atol=1e-4)


def test_rows_outside_training_do_not_count():
    frames, train = clips(), np.arange(7)
    before = fitted(frames, train).to_arrays()
    frames[11].values[:] = 1e6
    for name, array in fitted(frames, train).to_arrays().items():
        np.testing.assert_array_equal(array, before[name])


def test_a_speaker_is_standardised_by_all_of_their_own_clips():
    frames = clips()
    subjects = ["a" if i < 7 else "b" for i in range(13)]
    normaliser = fitted(frames, np.arange(7), subjects)
    out = np.concatenate([standardised(normaliser, frames[i], "b").values for i in range(7, 13)])
    np.testing.assert_allclose(out.mean(0), 0, atol=1e-5)
    np.testing.assert_allclose(out.std(0), 1, atol=1e-4)


def test_a_stranger_and_a_speaker_of_one_frame_are_standardised_like_everybody():
    """By the training rows alone, though the speakers' own moments are read from all rows."""
    frames = clips()
    frames[12] = Frames(frames[12].values[:1], np.ones(1, bool))
    subjects = ["a" if i < 7 else "b" for i in range(12)] + ["c"]
    normaliser, by_train = fitted(frames, np.arange(7), subjects), fitted(frames, np.arange(7))
    for subject in ("c", "a stranger"):
        expected = standardised(by_train, frames[12]).values
        np.testing.assert_array_equal(standardised(normaliser, frames[12], subject).values, expected)


def test_invalid_frames_neither_count_nor_come_out():
    frames = clips()
    frames[0].values[0] = 1e9
    frames[0].valid[0] = False
    out = standardised(fitted(frames, ALL), frames[0])
    assert not out.values[0].any()
    assert np.abs(out.values).max() < LARGEST


def test_a_constant_column_becomes_zero_and_tails_are_clipped():
    frames = clips()
    for one in frames:
        one.values[:, 1] = 0.1
    normaliser = fitted(frames, ALL)
    assert np.abs(standardised(normaliser, frames[3]).values[:, 1]).max() < 1e-5
    far = Frames(np.full((1, 3), 1e9, np.float32), np.ones(1, bool))
    assert standardised(normaliser, far).values.max() == LARGEST


def test_input_is_not_changed():
    frames = clips()
    before = frames[2].values.copy()
    standardised(fitted(frames, ALL), frames[2])
    np.testing.assert_array_equal(frames[2].values, before)


def test_pictures_pass_through():
    pictures = [Frames(np.full((2, 2, 2, 3), i, np.uint8), np.ones(2, bool)) for i in range(13)]
    columns = {"voice": InMemory(VOICE, clips()), "pictures": InMemory(PICTURES, pictures)}
    normaliser = fit_normaliser(columns, ["s"] * 13, ALL, by_speaker=False)
    out = normaliser({"voice": columns["voice"][4], "pictures": pictures[4]}, "s")
    assert out["pictures"] is pictures[4]
    assert abs(out["voice"].values.mean()) < 1.5  # and 5 before
    assert not any(name.startswith("pictures") for name in normaliser.to_arrays())


def test_each_row_is_read_once_and_only_what_is_needed():
    class Counted(InMemory):
        read: list[int] = []  # noqa: RUF012

        def __getitem__(self, row: int) -> Frames:
            self.read.append(row)
            return super().__getitem__(row)

    column = Counted(VOICE, clips())
    fit_normaliser({"voice": column}, ["s"] * 13, np.array([1, 5, 7]), by_speaker=False)
    assert column.read == [1, 5, 7]
    column.read.clear()
    fit_normaliser({"voice": column}, ["a", *["b"] * 12], np.array([1, 5, 7]), by_speaker=True)
    assert column.read == list(range(13))


def test_a_file_of_arrays_holds_all_of_it_and_nothing_to_execute():
    frames = clips()
    subjects = ["a" if i < 7 else "b" for i in range(13)]
    normaliser = fitted(frames, np.arange(5), subjects)
    file = io.BytesIO()
    np.savez(file, **normaliser.to_arrays())
    file.seek(0)
    with np.load(file, allow_pickle=False) as arrays:
        loaded = Normaliser.from_arrays(arrays)
    for subject in ("a", "b", "a stranger"):
        expected = standardised(normaliser, frames[9], subject).values
        np.testing.assert_array_equal(standardised(loaded, frames[9], subject).values, expected)
    assert standardised(loaded, frames[9], "a").values.dtype == np.float32
