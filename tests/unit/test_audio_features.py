"""openSMILE: windows of the right frames, near to one call per window; low-level frames; on the right clock."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import opensmile
import pytest
from numpy.typing import NDArray

from mien.errors import ExperimentError, MediaError
from mien.features import extractors
from mien.features.extractors.opensmile import SHORTEST_S
from tiny_media import heard, tone, voice

RATE_HZ = 16_000
FUNCTIONALS = opensmile.Smile(opensmile.FeatureSet.eGeMAPSv02, opensmile.FeatureLevel.Functionals)
FRAMES = opensmile.Smile(opensmile.FeatureSet.eGeMAPSv02, opensmile.FeatureLevel.LowLevelDescriptors)


def sixteen_bit(sound: NDArray[np.float32]) -> NDArray[np.float32]:
    """On the grid of 16 bits, where opensmile.Smile (which truncates) and we (who round) read the same."""
    return (np.rint(sound * 32768) / 32768).astype(np.float32)


def window_by_window(sound: NDArray[np.float32]) -> NDArray[np.float32]:
    starts = range(0, len(sound) - RATE_HZ + 1, RATE_HZ // 10)
    return np.concatenate([FUNCTIONALS.process_signal(sound[s : s + RATE_HZ], RATE_HZ).to_numpy() for s in starts])


def test_each_window_is_the_functionals_of_its_own_95_frames() -> None:
    """The low-level frames of the whole sound, summed up by numpy, give the same: window k has frames
    10k..10k+94.

    95 frames of 60 ms, 10 ms apart, span 1.00 s. openSMILE writes single precision, hence rtol.
    """
    sound = sixteen_bit(voice(3.0))
    extractor = extractors.build("egemaps")
    columns = extractor.spec.columns
    values = extractor(sound, RATE_HZ).values
    frames = FRAMES.process_signal(sound, RATE_HZ)
    assert len(values) == 21

    def column(name: str) -> NDArray[np.float32]:
        return values[:, columns.index(name)]

    def windows(name: str) -> list[NDArray[np.float64]]:
        track = frames[name].to_numpy(np.float64)
        return [track[10 * k : 10 * k + 95] for k in range(len(values))]

    def same(name: str, expected: list[float]) -> None:
        np.testing.assert_allclose(column(name), expected, rtol=2e-4, atol=1e-5, err_msg=name)

    loudness = windows("Loudness_sma3")
    same("loudness_sma3_amean", [w.mean() for w in loudness])
    same("loudness_sma3_stddevNorm", [w.std() / w.mean() for w in loudness])
    same("loudness_sma3_percentile50.0", [np.percentile(w, 50) for w in loudness])
    for name in ("spectralFlux_sma3", "mfcc1_sma3", "mfcc4_sma3"):
        same(f"{name}_amean", [w.mean() for w in windows(name)])
    pitch = [w[w > 0] for w in windows("F0semitoneFrom27.5Hz_sma3nz")]
    assert all(len(w) > 20 for w in pitch)
    same("F0semitoneFrom27.5Hz_sma3nz_amean", [w.mean() for w in pitch])
    same("F0semitoneFrom27.5Hz_sma3nz_percentile80.0", [np.percentile(w, 80) for w in pitch])


@pytest.mark.parametrize("length_s", [1.0, 1.05, 1.1, 1.23, 2.0, 2.37])
def test_there_are_as_many_windows_as_fit(length_s: float) -> None:
    frames = extractors.build("egemaps")(voice(length_s), RATE_HZ)
    assert frames.values.shape == (int((length_s - 1.0) / 0.1 + 1e-9) + 1, 89)
    assert frames.valid.all()


@pytest.mark.slow
def test_one_pass_is_near_to_one_call_a_window(real_data: Path) -> None:
    """Not equal: a call that hears one window only has other frames and another pitch path at its edges.

    In standard deviations of each functional over all windows, half of them differ by under 0.15 for every
    functional and by under 0.02 for the median one; three functionals in four correlate above 0.85. A call that
    starts 10 ms later differs as much (docs/explanation/features.md has the table).
    """
    paths = sorted((real_data / "ravdess/speech_16k").glob("Actor_0[1-4]/*.flac"))[::80]
    sounds = [heard(path, RATE_HZ) for path in paths]
    one_pass = [extractors.build("egemaps")(sound, RATE_HZ).values[:, :88] for sound in sounds]
    calls = [window_by_window(sound) for sound in sounds]
    assert [len(values) for values in one_pass] == [len(values) for values in calls]
    ours, theirs = np.concatenate(one_pass), np.concatenate(calls)
    spread = theirs.std(axis=0)
    difference = np.median(np.abs(ours - theirs), axis=0) / spread
    assert difference.max() < 0.15
    assert np.median(difference) < 0.02
    correlation = [np.corrcoef(a, b)[0, 1] for a, b in zip(ours.T, theirs.T)]
    assert np.quantile(correlation, 0.25) > 0.85


def test_the_energy_is_that_of_the_window_in_db() -> None:
    energy = extractors.build("egemaps")(np.concatenate([tone(2.0, RATE_HZ), np.zeros(32_000, np.float32)]), RATE_HZ)
    column = energy.values[:, -1]
    assert column[0] == pytest.approx(10 * np.log10(0.5**2 / 2), abs=1e-3)
    assert column[15] == pytest.approx(10 * np.log10(0.5**2 / 4), abs=1e-2)  # half of it silent
    assert column[-1] == pytest.approx(-100)


@pytest.mark.parametrize("seconds", [SHORTEST_S, 0.3, 0.99])
def test_less_than_a_window_is_one_row_over_the_whole_clip(seconds: float) -> None:
    sound = sixteen_bit(voice(seconds))
    row = extractors.build("egemaps")(sound, RATE_HZ).values
    assert row.shape == (1, 89)
    np.testing.assert_array_equal(row[:, :88], extractors.build("egemaps-clip")(sound, RATE_HZ).values)
    assert row[0, -1] == pytest.approx(10 * np.log10(np.mean(np.square(sound, dtype=np.float64))), abs=1e-4)


def test_less_than_the_shortest_is_a_reject() -> None:
    with pytest.raises(MediaError) as error:
        extractors.build("egemaps")(tone(SHORTEST_S - 0.01, RATE_HZ), RATE_HZ)
    assert error.value.reason == "too-short"


@pytest.mark.parametrize(
    ("name", "feature_set"),
    [("egemaps-clip", opensmile.FeatureSet.eGeMAPSv02), ("compare-clip", opensmile.FeatureSet.ComParE_2016)],
)
def test_a_clip_is_what_opensmile_says_it_is(name: str, feature_set: opensmile.FeatureSet) -> None:
    sound = sixteen_bit(voice(2.0))
    smile = opensmile.Smile(feature_set, opensmile.FeatureLevel.Functionals)
    extractor = extractors.build(name)
    np.testing.assert_array_equal(extractor(sound, RATE_HZ).values, smile.process_signal(sound, RATE_HZ).to_numpy())
    assert list(extractor.spec.columns) == smile.feature_names


def test_low_level_frames_are_what_opensmile_says_they_are() -> None:
    sound = sixteen_bit(voice(2.0))
    extractor = extractors.build("egemaps-lld")
    frames = extractor(sound, RATE_HZ)
    np.testing.assert_array_equal(frames.values, FRAMES.process_signal(sound, RATE_HZ).to_numpy())
    assert list(extractor.spec.columns) == FRAMES.feature_names
    assert frames.values.shape == (196, 25)  # of 60 ms every 10 ms


def test_low_level_frames_of_a_buzz_of_200_hz_stand_where_it_sounds() -> None:
    """Pitch in semitones above 27.5 Hz, and the middle of the rows that hear the buzz, which sounds from 0.5 to 1.5 s."""
    times_s = np.arange(2 * RATE_HZ) / RATE_HZ
    buzz = 0.25 * sum(np.sin(2 * np.pi * 200 * n * times_s) / n for n in range(1, 8))
    buzz[(times_s < 0.5) | (times_s >= 1.5)] = 0
    extractor = extractors.build("egemaps-lld")
    values = extractor(buzz.astype(np.float32), RATE_HZ).values
    columns = extractor.spec.columns
    pitch = values[:, columns.index("F0semitoneFrom27.5Hz_sma3nz")]
    loudness = values[:, columns.index("Loudness_sma3")]
    assert np.median(pitch[pitch > 0]) == pytest.approx(12 * np.log2(200 / 27.5), abs=0.05)
    for sounding in (pitch > 0, loudness > loudness.max() / 100):
        rows = np.flatnonzero(sounding)
        middle_s = (rows[0] + rows[-1]) / 2 * extractor.spec.hop_s + extractor.spec.offset_s
        assert middle_s == pytest.approx(1.0, abs=0.011)  # one clock for frames of 60 ms and of 20 ms


def test_full_scale_does_not_wrap_around() -> None:
    """+1.0 has no place in 16 bits; opensmile.Smile turns it into -1.0, which sounds as a crack."""
    loud = np.sign(tone(1.0, RATE_HZ))
    nearly = loud * np.float32(32767 / 32768)
    frames = [extractors.build("egemaps-clip")(sound, RATE_HZ).values for sound in (loud, nearly)]
    np.testing.assert_allclose(frames[0], frames[1], rtol=0.01, atol=0.05)


def test_other_windows() -> None:
    extractor = extractors.build("egemaps", window_s=0.5, hop_s=0.25)
    assert extractor(voice(2.0), RATE_HZ).values.shape == (7, 89)
    assert (extractor.spec.hop_s, extractor.spec.offset_s) == (0.25, 0.25)
    assert extractor.spec.folder != extractors.build("egemaps").spec.folder


@pytest.mark.parametrize(("window_s", "hop_s"), [(0.05, 0.1), (1.0, 0.0), (1.0, 0.015), (1.004, 0.1)])
def test_windows_off_the_grid_are_refused(window_s: float, hop_s: float) -> None:
    with pytest.raises(ExperimentError, match=r"0\.01 s"):
        extractors.build("egemaps", window_s=window_s, hop_s=hop_s)


def test_sound_at_another_rate_is_refused() -> None:
    with pytest.raises(ValueError, match="16000 Hz"):
        extractors.build("egemaps")(voice(1.0), 8_000)
