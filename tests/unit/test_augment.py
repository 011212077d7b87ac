"""Augmentation: in step where it should be, out of step where it should be, and the same for everybody."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mien.data.augment import augment, n_copies, rng_for
from mien.data.batches import clip_keys
from mien.experiment.augment import AugmentConfig, AugmentKind
from mien.features.spec import Frames

MODALITIES = {"heard": "audio", "seen": "video"}
SYNC = AugmentConfig(kind="sync")
QUIET = AugmentConfig(kind="sync", noise=(0, 0))
STRETCHED_ONLY = dataclasses.replace(QUIET, stretch=(0.5, 2.0))
NOISY_ONLY = AugmentConfig(kind="sync", stretch=(1, 1), noise=(0.001, 0.01))
KINDS: tuple[AugmentKind, ...] = ("sync", "independent", "audio")


def frames(n_frames: int, dim: int, *, seed: int = 0, scale: float = 1.0, invalid: Any = ()) -> Frames:
    valid = np.ones(n_frames, bool)
    valid[list(invalid)] = False
    values = np.random.default_rng(seed).standard_normal((n_frames, dim)).astype(np.float32) * np.float32(scale)
    values[~valid] = 0
    return Frames(values, valid)


def clip(audio: int = 37, video: int = 101) -> dict[str, Frames]:
    """Prime lengths and widths, nothing that a transposition would survive."""
    return {"heard": frames(audio, 13, seed=1), "seen": frames(video, 7, seed=2)}


def augmented(clip: dict[str, Frames], config: AugmentConfig, *, epoch: int = 0, copy: int = 1) -> dict[str, Frames]:
    rng = rng_for(0, epoch, "ravdess/03-01-01-01-01-01-01", copy)
    return augment(clip, modalities=MODALITIES, config=config, rng=rng)


def length(frames: Frames) -> int:
    assert len(frames.values) == len(frames.valid)
    return len(frames.valid)


# ------------------------------------------------------------------ what must not change


def test_factor_1_and_no_noise_is_the_identity() -> None:
    original = {"heard": frames(37, 13, invalid=[0, 5]), "seen": frames(101, 7, invalid=range(90, 101))}
    for kind in KINDS:
        config = AugmentConfig(
            kind=kind,
            stretch=(1, 1),
            noise=(0, 0),
            audio_noise=(0, 0),
            audio_pitch=(1, 1),
            audio_tempo=(1, 1),
        )
        for copy in range(8):
            for name, result in augmented(original, config, copy=copy).items():
                np.testing.assert_array_equal(result.values, original[name].values)
                np.testing.assert_array_equal(result.valid, original[name].valid)


@pytest.mark.parametrize("kind", KINDS)
def test_inputs_are_never_touched(kind: AugmentKind) -> None:
    original = {"heard": frames(37, 13, invalid=[3, 4]), "seen": frames(101, 7, invalid=[0])}
    for values, valid in original.values():
        values.flags.writeable = valid.flags.writeable = False  # as views into a store's buffers are
    before = {name: (f.values.copy(), f.valid.copy()) for name, f in original.items()}
    for copy in range(8):
        augmented(original, AugmentConfig(kind=kind), copy=copy)
    for name, (values, valid) in before.items():
        np.testing.assert_array_equal(original[name].values, values)
        np.testing.assert_array_equal(original[name].valid, valid)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("missing", [frames(0, 13), frames(9, 13, invalid=range(9))])
def test_a_missing_modality_stays_missing_and_the_other_is_augmented(kind: AugmentKind, missing: Frames) -> None:
    config = AugmentConfig(kind=kind, noise=(0.1, 0.1))
    result = augmented({"heard": missing, "seen": frames(101, 7)}, config)
    assert result["heard"] is missing
    if kind != "audio":
        assert not np.array_equal(result["seen"].values, frames(101, 7).values)
        assert np.isfinite(result["seen"].values).all()
    result = augmented({"heard": frames(37, 13), "seen": missing}, config)
    assert result["seen"] is missing
    assert not np.array_equal(result["heard"].values, frames(37, 13).values)


def test_none_does_nothing() -> None:
    untouched = augmented(original := clip(), AugmentConfig(kind="none"))
    assert all(untouched[name] is original[name] for name in original)


@pytest.mark.parametrize("kind", KINDS)
def test_what_a_parent_predicted_of_the_clip_stays_as_it_is(kind: AugmentKind) -> None:
    original = clip() | {"parent": frames(1, 6)}
    modalities = {"parent": "prediction", **MODALITIES}
    for copy in range(8):
        rng = rng_for(0, 1, "c/1", copy)
        result = augment(original, modalities=modalities, config=AugmentConfig(kind=kind), rng=rng)
        assert result["parent"] is original["parent"]
        alone = augment(clip(), modalities=MODALITIES, config=AugmentConfig(kind=kind), rng=rng_for(0, 1, "c/1", copy))
        for name in MODALITIES:
            np.testing.assert_array_equal(result[name].values, alone[name].values)


@pytest.mark.parametrize("kind", KINDS)
def test_values_stay_float32_and_finite_and_invalid_rows_zero(kind: AugmentKind) -> None:
    original = {
        "heard": frames(37, 13, invalid=[0, 1, 17, 36]),
        "seen": frames(101, 7, invalid=range(30, 60)),
    }
    for copy in range(20):
        for values, valid in augmented(original, AugmentConfig(kind=kind), copy=copy).values():
            assert values.dtype == np.float32 and valid.dtype == bool
            assert np.isfinite(values).all() and not values[~valid].any() and values[valid].all()


# ------------------------------------------------------------------ stretch


@settings(deadline=None)
@given(n_audio=st.integers(5, 200), n_video=st.integers(5, 400), copy=st.integers(1, 1000))
def test_sync_keeps_the_ratio_of_lengths_to_a_frame(n_audio: int, n_video: int, copy: int) -> None:
    result = augmented({"heard": frames(n_audio, 3), "seen": frames(n_video, 2)}, STRETCHED_ONLY, copy=copy)
    new_audio, new_video = length(result["heard"]), length(result["seen"])
    # One factor for both lies in [new/old, (new+1)/old), unless the bound of 5 frames held.
    low = max(new_audio / n_audio, new_video / n_video)
    high = min((new_audio + 1) / n_audio, (new_video + 1) / n_video)
    assert low < high + 1e-9 or 5 in (new_audio, new_video)


@pytest.mark.slow
def test_independent_stretches_each_by_its_own_and_as_often_as_sync() -> None:
    independent = dataclasses.replace(STRETCHED_ONLY, kind="independent")
    original = clip(1009, 1013)
    ratios: dict[str, list[tuple[float, float]]] = {"sync": [], "independent": []}
    for copy in range(300):
        for config in (STRETCHED_ONLY, independent):
            result = augmented(original, config, copy=copy)
            ratios[config.kind].append((length(result["heard"]) / 1009, length(result["seen"]) / 1013))
    in_step, apart = (np.array(ratios[kind]) for kind in ("sync", "independent"))
    assert np.abs(in_step[:, 0] - in_step[:, 1]).max() < 2 / 1009
    assert abs(np.corrcoef(apart.T)[0, 1]) < 0.15
    np.testing.assert_allclose(apart.mean(axis=0), 1.25, atol=0.08)  # both uniform on 0.5..2, as under sync


@pytest.mark.slow
@settings(deadline=None)
@given(at=st.floats(0, 1), copy=st.integers(1, 200))
def test_an_event_stays_at_its_moment_in_both_modalities(at: float, copy: int) -> None:
    """A bump at the same share of the clip in sound and face is still at the same share of both."""
    original = {}
    for name, n in (("heard", 41), ("seen", 127)):
        time = np.linspace(0, 1, n)[:, None]
        original[name] = Frames(np.exp(-(((time - at) / 0.1) ** 2)).astype(np.float32), np.ones(n, bool))
    moments = []
    for frame in augmented(original, STRETCHED_ONLY, copy=copy).values():
        moments.append(np.linspace(0, 1, length(frame))[frame.values[:, 0].argmax()])
        half_a_frame = 0.5 / (length(frame) - 1)
        assert abs(moments[-1] - at) <= half_a_frame + 0.5 / 40, "the nearest new frame to the nearest old one"
    assert abs(moments[0] - moments[1]) < 0.06


def test_a_ramp_is_stretched_exactly_from_first_frame_to_last() -> None:
    ramp = Frames(np.linspace(-1, 1, 37, dtype=np.float32)[:, None].repeat(3, axis=1), np.ones(37, bool))
    n_seen = set()
    for copy in range(30):
        result = augmented({"heard": ramp, "seen": frames(5, 2)}, STRETCHED_ONLY, copy=copy)["heard"]
        expected = np.linspace(-1, 1, length(result))
        np.testing.assert_allclose(result.values, expected[:, None].repeat(3, axis=1), atol=1e-6)
        n_seen.add(length(result))
    assert min(n_seen) < 30 and max(n_seen) > 50


def test_lengths_are_those_of_s0_but_never_longer_for_the_bound_alone() -> None:
    def new_length(n: int, factor: float) -> int:
        config = dataclasses.replace(QUIET, stretch=(factor, factor))
        return length(augmented({"heard": frames(n, 3), "seen": frames(7, 2)}, config)["heard"])

    assert new_length(100, 0.9) == 90 and new_length(100, 1.1) == 110
    assert new_length(37, 0.9) == int(37 * 0.9) and new_length(37, 1.1) == int(37 * 1.1)
    assert new_length(6, 0.5) == 5 and new_length(5, 0.5) == 5, "at least five frames"
    assert [new_length(n, 0.5) for n in (1, 2, 3, 4)] == [1, 2, 3, 4], "short ones keep what they have"
    assert new_length(1, 3.0) == 1, "one row stands for the whole clip: it has no length"


def test_invalid_frames_do_not_bleed() -> None:
    """Valid frames are all 1: whatever is valid afterwards must be 1 and not something on the way to 0."""
    invalid = [0, 7, 8, 9, 20, 36]
    ones = Frames(frames(37, 3, invalid=invalid).valid[:, None].repeat(3, axis=1).astype(np.float32),
                  frames(37, 3, invalid=invalid).valid)  # fmt: skip
    for copy in range(50):
        values, valid = augmented({"heard": ones, "seen": frames(5, 2)}, STRETCHED_ONLY, copy=copy)["heard"]
        nearest = np.linspace(0, 36, len(valid))
        settled = np.abs(nearest % 1 - 0.5) > 1e-6  # halfway, either neighbour is the nearest
        np.testing.assert_array_equal(valid[settled], ones.valid[np.rint(nearest).astype(int)][settled])
        np.testing.assert_array_equal(values, valid[:, None].repeat(3, axis=1))


# ------------------------------------------------------------------ noise


def level_of(result: Frames, original: Frames) -> float:
    return float(np.std((result.values - original.values)[original.valid]))


def test_sync_noise_on_video_is_that_on_audio_times_the_ratio_of_spreads() -> None:
    original = {"heard": frames(397, 89, seed=1, scale=2), "seen": frames(401, 97, seed=2, scale=0.5)}
    levels = []
    for copy in range(20):
        result = augmented(original, NOISY_ONLY, copy=copy)
        heard, seen = (level_of(result[name], original[name]) for name in ("heard", "seen"))
        # 35,000 draws know their standard deviation to 0.4 %; two of them, and four standard errors.
        assert seen / heard == pytest.approx(0.25, rel=0.025)
        levels.append(heard)
    assert min(levels) >= 0.00098 and max(levels) <= 0.0102
    assert max(levels) > 2 * min(levels)


def test_independent_noise_has_the_same_ratio_on_average_but_a_level_of_its_own() -> None:
    config = dataclasses.replace(NOISY_ONLY, kind="independent")
    original = {"heard": frames(397, 89, seed=1, scale=2), "seen": frames(401, 97, seed=2, scale=0.5)}
    levels = np.array(
        [
            [level_of(result[name], original[name]) for name in ("heard", "seen")]
            for result in (augmented(original, config, copy=copy) for copy in range(60))
        ]
    )
    assert abs(np.corrcoef(levels.T)[0, 1]) < 0.35
    assert levels[:, 1].mean() / levels[:, 0].mean() == pytest.approx(0.25, rel=0.3)


def test_noise_also_reaches_a_row_that_stands_for_the_clip() -> None:
    original = {"heard": frames(1, 89), "seen": frames(1, 35)}
    result = augmented(original, NOISY_ONLY)
    for name in original:
        assert length(result[name]) == 1 and 0 < level_of(result[name], original[name]) < 0.02


def test_a_constant_sound_leaves_video_the_level_itself() -> None:
    original = {"heard": Frames(np.zeros((37, 13), np.float32), np.ones(37, bool)), "seen": frames(401, 97)}
    assert 0.001 < level_of(augmented(original, NOISY_ONLY)["seen"], original["seen"]) < 0.0102


# ------------------------------------------------------------------ audio


def kinds_of(original: dict[str, Frames], config: AugmentConfig, n: int) -> list[tuple[bool, bool, bool]]:
    """(noise, pitch, tempo) of n copies, told by what they did to a column of ones and one of zeros."""
    found = []
    for copy in range(n):
        values, valid = augmented(original, config, copy=copy)["heard"]
        found.append((bool(values[:, 1].std() > 0), bool(abs(values[:, 0].mean() - 1) > 0.3), len(valid) != 101))
    return found


def test_audio_draws_one_of_four_kinds_and_leaves_the_face_alone() -> None:
    flat = Frames(np.tile(np.array([1, 0], np.float32), (101, 1)), np.ones(101, bool))
    original = {"heard": flat, "seen": frames(101, 7)}
    config = AugmentConfig(kind="audio", audio_pitch=(0.5, 0.6), audio_tempo=(0.8, 0.9), audio_noise=(0.005, 0.02))
    found = kinds_of(original, config, 400)
    expected = {(True, False, False), (False, True, False), (False, False, True), (True, True, True)}
    assert set(found) == expected
    for kind in expected:
        assert 70 <= found.count(kind) <= 130  # a quarter of 400, four standard errors
    assert augmented(original, config)["seen"] is original["seen"]


def test_audio_tempo_is_fourier_resampling_between_its_ends_and_does_not_ring() -> None:
    """A wave on a slope: taken for a circle that does not close, its ends would be far off."""
    from scipy.signal import resample

    time = np.arange(101.0)
    wave = (0.05 * time + np.sin(2 * np.pi * 3 * time / 100))[:, None]
    original = {"heard": Frames(wave.astype(np.float32), np.ones(101, bool)), "seen": frames(5, 2)}
    config = AugmentConfig(kind="audio", audio_tempo=(0.9, 0.9), audio_noise=(0, 0), audio_pitch=(1, 1))
    (tempo,) = {
        values.tobytes(): values
        for values, valid in (augmented(original, config, copy=copy)["heard"] for copy in range(20))
        if len(valid) == 90
    }.values()
    at = np.arange(90) * 101 / 90
    expected = 0.05 * at + np.sin(2 * np.pi * 3 * at / 100)
    assert np.abs(tempo[:, 0] - expected).max() < 0.02
    assert np.abs(resample(wave[:, 0], 90) - expected).max() > 0.2


@pytest.mark.parametrize(("n", "factor", "expected"), [(101, 1.1, 111), (11, 0.5, 10), (7, 0.5, 7), (1, 2, 1)])
def test_audio_tempo_keeps_ten_frames_and_never_lengthens_for_it(n: int, factor: float, expected: int) -> None:
    config = AugmentConfig(kind="audio", audio_tempo=(factor, factor))
    original = {"heard": frames(n, 3), "seen": frames(5, 2)}
    lengths = {length(augmented(original, config, copy=copy)["heard"]) for copy in range(20)}
    assert lengths == {n, expected}


def test_audio_tempo_does_not_let_silence_bleed() -> None:
    valid = np.ones(101, bool)
    valid[[0, 1, 40, 41, 42, 100]] = False
    ones = Frames(valid[:, None].astype(np.float32), valid)
    config = AugmentConfig(kind="audio", audio_tempo=(0.8, 0.8), audio_noise=(0, 0), audio_pitch=(1, 1))
    for copy in range(12):
        values, new_valid = augmented({"heard": ones, "seen": frames(5, 2)}, config, copy=copy)["heard"]
        assert new_valid.mean() == pytest.approx(valid.mean(), abs=0.03)
        np.testing.assert_allclose(values[:, 0], new_valid, atol=1e-6)


# ------------------------------------------------------------------ draws


@pytest.mark.parametrize("kind", KINDS)
def test_a_copy_is_its_seed_epoch_clip_and_number(kind: AugmentKind) -> None:
    config = AugmentConfig(kind=kind)

    def drawn(*key: Any) -> bytes:
        result = augment(clip(), modalities=MODALITIES, config=config, rng=rng_for(*key))
        return b"".join(f.values.tobytes() for f in result.values())

    key = (0, 1, "a/1", 2)
    assert drawn(*key) == drawn(*key)
    others = [(1, 1, "a/1", 2), (0, 2, "a/1", 2), (0, 1, "a/2", 2), (0, 1, "a/1", 3), (0, 11, "a/1", 2)]
    assert len({drawn(*k) for k in (key, *others)}) == 6
    # Parts must not run together: epoch 1 of clip "1/x" is not epoch 11 of clip "/x".
    assert rng_for(0, 1, "1x", 1).random() != rng_for(0, 11, "x", 1).random()


@pytest.mark.slow
def test_draws_are_the_same_in_another_process() -> None:
    code = "from mien.data.augment import rng_for; print(rng_for(3, 5, 'ravdess/x', 1).random())"
    there = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert float(there.stdout) == rng_for(3, 5, "ravdess/x", 1).random()


@pytest.mark.parametrize(
    ("factor", "probability", "most"),
    [(1.0, 0.8, 0), (2.0, 0.8, 1), (2.5, 0.8, 2), (3.0, 1.0, 2), (2.0, 0.0, 0)],
)
def test_copies_number_what_factor_and_probability_say(factor: float, probability: float, most: int) -> None:
    config = AugmentConfig(factor=factor, probability=probability)
    counts = np.concatenate([n_copies(clip_keys([f"clip {k}" for k in range(500)]), 0, e, config) for e in range(4)])
    assert counts.max() == most
    assert np.mean(counts) == pytest.approx((factor - 1) * probability, abs=0.06)  # 2,000 draws, 4 s.e.


def test_two_slots_are_used_independently() -> None:
    """As often as two coins: a quarter of the clips has both copies, a quarter none."""
    config = AugmentConfig(factor=3, probability=0.5)
    counts = np.bincount(n_copies(clip_keys([f"clip {k}" for k in range(2000)]), 0, 1, config))
    np.testing.assert_allclose(counts / 2000, [0.25, 0.5, 0.25], atol=0.04)


def test_copies_are_drawn_afresh_by_seed_and_epoch_and_none_has_none() -> None:
    keys, config = clip_keys([f"clip {k}" for k in range(50)]), AugmentConfig()
    of = [n_copies(keys, seed, epoch, config).tolist() for seed, epoch in ((0, 1), (0, 1), (0, 2), (1, 1))]
    assert of[0] == of[1]
    assert of[0] != of[2]
    assert of[0] != of[3]
    assert n_copies(keys[::-1], 0, 1, config).tolist() == of[0][::-1]
    assert not n_copies(keys, 0, 0, AugmentConfig(kind="none")).any()


# ------------------------------------------------------------------ any number of features and modalities


MANY = {"windows": "audio", "pitch": "audio", "face": "video", "brain": "eeg", "row": "audio"}


def many() -> dict[str, Frames]:
    """Four sequences of one length, so that those in step can be told from those that are not, and a row."""
    sequences = {
        name: frames(101, dim, seed=dim) for name, dim in (("windows", 13), ("pitch", 3), ("face", 7), ("brain", 5))
    }
    return {**sequences, "row": frames(1, 11)}


def lengths(config: AugmentConfig, key: tuple[int, int, str, int]) -> dict[str, int]:
    found = augment(many(), modalities=MANY, config=config, rng=rng_for(*key))
    return {name: length(one) for name, one in found.items()}


@pytest.mark.slow
@settings(deadline=None, max_examples=50)
@given(epoch=st.integers(1, 1000), copy=st.integers(1, 5))
def test_features_of_one_modality_are_stretched_alike_by_every_kind(epoch, copy):
    wide = (0.5, 2.0)
    for kind in KINDS:
        config = AugmentConfig(kind=kind, stretch=wide, audio_tempo=wide)
        found = lengths(config, (0, epoch, "c/1", copy))
        assert found["windows"] == found["pitch"]
        assert found["row"] == 1
        assert kind != "audio" or found["face"] == found["brain"] == 101
        assert kind != "sync" or len({found[name] for name in ("windows", "face", "brain")}) == 1


def test_modalities_are_stretched_apart_by_independent_alone():
    wide = AugmentConfig(kind="independent", stretch=(0.5, 2.0))
    found = [lengths(wide, (0, epoch, "c/1", 1)) for epoch in range(20)]
    for one, other in (("windows", "face"), ("windows", "brain"), ("face", "brain")):
        assert sum(each[one] != each[other] for each in found) > 15


def test_the_noise_level_is_that_of_the_reference_modality():
    """Spreads of 1, 3 and 5: the noise of each modality is the reference's, times its spread over the reference's."""
    spread = {"windows": 1.0, "face": 3.0, "brain": 5.0}
    clip_of = {name: frames(4001, 7, seed=3, scale=spread[name]) for name in spread}
    for reference, name in (("audio", "windows"), ("eeg", "brain")):
        config = dataclasses.replace(NOISY_ONLY, reference=reference, noise=(0.1, 0.1))
        modalities = {one: MANY[one] for one in spread}
        found = augment(clip_of, modalities=modalities, config=config, rng=rng_for(0, 0, "c", 1))
        for one in spread:
            level = (found[one].values - clip_of[one].values).std()
            assert level == pytest.approx(0.1 * spread[one] / spread[name], rel=0.05)


def test_without_the_reference_modality_the_level_counts_as_it_is():
    config = dataclasses.replace(NOISY_ONLY, noise=(0.1, 0.1))
    seen = {"face": frames(4001, 7, scale=3.0)}
    found = augment(seen, modalities={"face": "video"}, config=config, rng=rng_for(0, 0, "c", 1))
    assert (found["face"].values - seen["face"].values).std() == pytest.approx(0.1, rel=0.05)


def test_pictures_are_stretched_by_the_nearest_and_never_made_noisier():
    pictures = Frames(
        np.arange(20, dtype=np.uint8)[:, None, None, None] * np.ones((1, 2, 2, 3), np.uint8), np.ones(20, bool)
    )
    clip_of = {"heard": frames(20, 3), "faces": pictures}
    config = AugmentConfig(kind="sync", stretch=(0.5, 0.5), noise=(1.0, 1.0))
    found = augment(clip_of, modalities={"heard": "audio", "faces": "video"}, config=config, rng=rng_for(0, 0, "c", 1))
    assert found["faces"].values.dtype == np.uint8
    assert length(found["faces"]) == length(found["heard"]) == 10
    shown = found["faces"].values[:, 0, 0, 0]
    np.testing.assert_allclose(shown, np.linspace(0, 19, 10), atol=0.5)


def test_the_audio_kind_changes_all_audio_features_by_one_draw():
    """Noise, pitch and tempo: what one audio feature has been through, all have been through."""
    config = AugmentConfig(kind="audio", audio_noise=(0.5, 0.5), audio_pitch=(4.0, 4.0), audio_tempo=(0.5, 0.5))
    kinds = set()
    for epoch in range(40):
        original = many()
        found = augment(original, modalities=MANY, config=config, rng=rng_for(0, epoch, "c", 1))
        signs = []
        for name in ("windows", "pitch"):
            is_faster = length(found[name]) != 101
            is_raised = found[name].values.std() > 2 * original[name].values.std()
            signs.append((is_faster, is_raised))
        assert signs[0] == signs[1]
        kinds.add(signs[0])
    assert len(kinds) == 4


def test_the_audio_kind_adds_noise_of_one_level_and_raises_by_one_factor_on_all_audio_features():
    """Each drawn anew per copy, from a wide range; two features that each drew their own would differ."""
    config = AugmentConfig(kind="audio", audio_noise=(0.01, 1.0), audio_pitch=(1.0, 9.0), audio_tempo=(1, 1))
    # A column of zeros shows the noise, one of 1000 the pitch.
    heard = {name: frames(2003, 4, scale=0) for name in ("windows", "pitch")}
    for one in heard.values():
        one.values[:, 0] = 1000
    seen = set()
    for copy in range(30):
        rng = rng_for(0, 1, "c", copy)
        found = augment(heard, modalities={name: MANY[name] for name in heard}, config=config, rng=rng)
        factors = [found[name].values[:, 0].mean() / 1000 for name in heard]
        levels = [found[name].values[:, 1:].std() for name in heard]
        assert factors[0] == pytest.approx(factors[1], rel=1e-3)
        assert levels[0] == pytest.approx(levels[1], rel=0.05)  # of 6,009 numbers, five standard errors
        if levels[0]:
            assert not np.array_equal(found["windows"].values[:, 1:], found["pitch"].values[:, 1:]), "noise of its own"
        seen.add((factors[0] > 1.01, levels[0] > 0))
    assert seen == {(False, False), (False, True), (True, False), (True, True)}


@settings(deadline=None, max_examples=50)
@given(epoch=st.integers(1, 1000), missing=st.sets(st.sampled_from(["windows", "pitch", "face", "brain"]), max_size=3))
def test_sync_has_one_factor_whichever_features_are_there(epoch, missing):
    """The reference modality, too, may be missing."""
    config = AugmentConfig(kind="sync", stretch=(0.5, 2.0))
    part = {name: frames(0, 13) if name in missing else one for name, one in many().items()}
    found = augment(part, modalities=MANY, config=config, rng=rng_for(0, epoch, "c/1", 1))
    whole = lengths(config, (0, epoch, "c/1", 1))
    assert {name: length(one) for name, one in found.items()} == {
        name: 0 if name in missing else n for name, n in whole.items()
    }


@pytest.mark.parametrize("kind", KINDS)
def test_the_order_in_which_modalities_are_named_changes_nothing(kind: AugmentKind) -> None:
    """One feature each: those of one modality take their noise in turn."""
    modalities = {"face": "video", "windows": "audio", "brain": "eeg"}
    clip_of = {name: many()[name] for name in modalities}
    for copy in range(8):
        results = [
            augment(clip_of, modalities=dict(way), config=AugmentConfig(kind=kind), rng=rng_for(0, 1, "c/1", copy))
            for way in (modalities.items(), reversed(modalities.items()))
        ]
        for name in modalities:
            np.testing.assert_array_equal(results[0][name].values, results[1][name].values)


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
@settings(deadline=None, max_examples=30)
@given(
    seed=st.integers(0, 9), epoch=st.integers(1, 99), clip_id=st.text(min_size=1, max_size=9), copy=st.integers(1, 3)
)
def test_every_feature_is_a_function_of_seed_epoch_clip_and_copy(kind, seed, epoch, clip_id, copy):
    config = AugmentConfig(kind=kind)

    def drawn(*key: Any) -> dict[str, bytes]:
        found = augment(many(), modalities=MANY, config=config, rng=rng_for(*key))
        for one in found.values():
            assert one.values.dtype == np.float32 and len(one.values) == len(one.valid) and one.valid.all()
        return {name: one.values.tobytes() for name, one in found.items()}

    once = drawn(seed, epoch, clip_id, copy)
    assert once == drawn(seed, epoch, clip_id, copy)
    others = [(seed + 1, epoch, clip_id, copy), (seed, epoch + 1, clip_id, copy), (seed, epoch, clip_id, copy + 1)]
    for key in (*others, (seed, epoch, clip_id + "x", copy)):
        found = drawn(*key)
        if kind != "audio":  # of which two copies may both have drawn tempo alone, which a row has none of
            assert all(found[name] != once[name] for name in MANY)
        else:
            assert all(found[name] == once[name] for name in ("face", "brain"))


def test_pictures_among_the_audio_features_keep_the_tempo_and_are_neither_noisier_nor_brighter():
    """Spectrograms as pictures: frame t shows t."""
    pictures = Frames(
        np.arange(101, dtype=np.uint8)[:, None, None, None] * np.ones((1, 2, 2, 3), np.uint8), np.ones(101, bool)
    )
    clip_of = {"heard": frames(101, 3), "spectrogram": pictures}
    config = AugmentConfig(kind="audio", audio_noise=(1, 1), audio_pitch=(2, 2), audio_tempo=(0.5, 0.5))
    modalities = dict.fromkeys(clip_of, "audio")
    n_frames = set()
    for copy in range(20):
        found = augment(clip_of, modalities=modalities, config=config, rng=rng_for(0, 0, "c", copy))
        assert found["spectrogram"].values.dtype == np.uint8
        n = length(found["spectrogram"])
        assert n == length(found["heard"])
        shown = found["spectrogram"].values[:, 0, 0, 0].astype(float)
        np.testing.assert_allclose(shown, np.arange(n) * 101 / n, atol=0.5001)
        n_frames.add(n)
    assert n_frames == {50, 101}


@pytest.mark.parametrize("kind", KINDS)
def test_frames_of_any_shape_are_treated_as_their_numbers_in_a_row(kind: AugmentKind) -> None:
    """Five channels of three bands, and the same fifteen numbers flat."""
    flat = frames(37, 15, invalid=[3, 4])
    boxed = Frames(flat.values.reshape(37, 5, 3), flat.valid)
    for copy in range(12):
        config = AugmentConfig(kind=kind, stretch=(0.5, 0.9), audio_tempo=(0.5, 0.9))
        results = [
            augment({"x": one}, modalities={"x": "audio"}, config=config, rng=rng_for(0, 0, "c", copy))["x"]
            for one in (flat, boxed)
        ]
        np.testing.assert_array_equal(results[0].valid, results[1].valid)
        assert results[1].values.shape[1:] == (5, 3)
        np.testing.assert_allclose(results[1].values.reshape(-1, 15), results[0].values, rtol=1e-5, atol=1e-6)
