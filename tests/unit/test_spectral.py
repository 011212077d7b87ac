"""Spectra of sound: librosa's numbers, the formula's for simple sounds, and rows on the right clock."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from mien.errors import ExperimentError, MediaError
from mien.features import extractors
from mien.features.extractors import spectral
from mien.features.extractors.pooling import mean_rows
from tiny_media import heard, tone, voice

RATE_HZ = 16_000
WINDOW, POINTS, STEP = 400, 512, 160


def columns_of(sound: NDArray[np.float32], **settings: object) -> dict[str, NDArray[np.float32]]:
    extractor = extractors.build("logmel", **settings)
    return dict(zip(extractor.spec.columns, extractor(sound, RATE_HZ).values.T))


def clicks(seconds: float, every_s: float) -> NDArray[np.float32]:
    """Bursts of noise of 20 ms over a faint hiss."""
    rng = np.random.default_rng(0)
    sound = rng.normal(0, 1e-4, round(seconds * RATE_HZ))
    for start in range(0, len(sound), round(every_s * RATE_HZ)):
        sound[start : start + 320] += rng.normal(0, 0.2, len(sound[start : start + 320]))
    return sound.astype(np.float32)


@pytest.mark.slow
def test_they_are_librosa_s() -> None:
    """Each 10 ms frame. librosa puts a window of 400 into the middle of 512 samples: hence the 56 zeros before it."""
    import librosa

    sound = voice(6.0)
    padded = np.pad(sound, (POINTS - WINDOW) // 2)
    stft = librosa.stft(padded, n_fft=POINTS, hop_length=STEP, win_length=WINDOW, center=False)
    magnitude = np.abs(stft)
    power = librosa.feature.melspectrogram(S=magnitude**2, sr=RATE_HZ, n_mels=64)
    mel_db = librosa.power_to_db(power, amin=1e-10, top_db=None)
    onsets = librosa.onset.onset_strength(S=mel_db, sr=RATE_HZ, hop_length=STEP, center=False)
    tempogram = librosa.feature.tempogram(onset_envelope=onsets, sr=RATE_HZ, hop_length=STEP, win_length=400)
    ours = columns_of(sound, hop_s=0.01)
    mel = np.array([ours[f"mel_{band:03}_db"] for band in range(64)])
    np.testing.assert_allclose(mel, mel_db, atol=2e-3)  # float32; where there is next to nothing
    assert np.abs(mel - mel_db).mean() < 1e-4
    mfcc = np.array([ours[f"mfcc_{number:02}"] for number in range(13)])
    np.testing.assert_allclose(mfcc, librosa.feature.mfcc(S=mel_db, n_mfcc=13), atol=2e-3)
    rms = librosa.feature.rms(y=sound, frame_length=WINDOW, hop_length=STEP, center=False)[0]
    np.testing.assert_allclose(ours["rms_db"], librosa.amplitude_to_db(rms, amin=1e-5, top_db=None), atol=1e-4)
    crossings = librosa.feature.zero_crossing_rate(sound, frame_length=WINDOW, hop_length=STEP, center=False)[0]
    np.testing.assert_allclose(ours["zero_crossing_rate"], crossings, atol=1e-7)
    centroid = librosa.feature.spectral_centroid(S=magnitude, sr=RATE_HZ, n_fft=POINTS)[0]
    np.testing.assert_allclose(ours["centroid_hz"], centroid, rtol=1e-4)
    rolloff = librosa.feature.spectral_rolloff(S=magnitude, sr=RATE_HZ, n_fft=POINTS, roll_percent=0.85)[0]
    assert np.mean(ours["rolloff_hz"] == rolloff) > 0.99  # a bin further where the share is 0.85 to the last digit
    np.testing.assert_allclose(ours["rolloff_hz"], rolloff, atol=31.3)
    np.testing.assert_allclose(ours["onset_strength"], onsets, atol=1e-3)
    for lag in spectral.LAGS:
        np.testing.assert_allclose(ours[f"tempogram_{lag / 100:.2f}s"], tempogram[lag], atol=1e-4, err_msg=str(lag))


@pytest.mark.slow
@pytest.mark.parametrize(("n_mels", "points"), [(64, 512), (40, 512), (80, 1024)])
def test_the_bands_are_librosa_s(n_mels: int, points: int) -> None:
    from librosa.filters import mel

    np.testing.assert_allclose(
        spectral.mel_filters(n_mels, points), mel(sr=RATE_HZ, n_fft=points, n_mels=n_mels).T, atol=1e-7
    )


def test_a_tone_of_1000_hz() -> None:
    row = {name: values[10] for name, values in columns_of(tone(1.0, RATE_HZ, 1000.0)).items()}
    assert row["rms_db"] == pytest.approx(20 * np.log10(0.5 / np.sqrt(2)), abs=0.01)
    assert row["zero_crossing_rate"] == pytest.approx(2 * 1000 / RATE_HZ, abs=0.0026)
    assert row["centroid_hz"] == pytest.approx(1000, abs=15)
    assert row["rolloff_hz"] == pytest.approx(1000, abs=70)
    loudest = max((name for name in row if name.startswith("mel")), key=lambda name: row[name])
    centres_hz = np.arange(257) * 31.25 @ spectral.mel_filters(64, 512) / spectral.mel_filters(64, 512).sum(axis=0)
    assert centres_hz[int(loudest[4:7])] == pytest.approx(1000, abs=40)


def test_the_first_coefficient_is_the_level_of_the_bands() -> None:
    columns = columns_of(voice(1.0))
    mel = np.array([values for name, values in columns.items() if name.startswith("mel")])
    np.testing.assert_allclose(columns["mfcc_00"], mel.mean(axis=0) * np.sqrt(64), rtol=1e-5)


def test_the_rhythm_of_two_clicks_a_second() -> None:
    columns = columns_of(clicks(8.0, 0.5))
    middle = {name: values[60:140].mean() for name, values in columns.items() if name.startswith("tempogram")}
    assert middle["tempogram_0.50s"] > 0.7
    assert middle["tempogram_1.00s"] > 0.4  # less of 4 s is compared, the further apart
    assert max(middle["tempogram_0.40s"], middle["tempogram_0.63s"], middle["tempogram_0.79s"]) < 0.2
    onsets = columns_of(clicks(8.0, 0.5), hop_s=0.01)["onset_strength"]
    loud = np.flatnonzero(onsets > onsets.max() / 2)
    assert set(np.diff(loud)) <= {1, 49, 50, 51}


def test_silence_is_as_low_as_it_goes() -> None:
    columns = columns_of(np.zeros(RATE_HZ, np.float32))
    assert columns["rms_db"].max() == columns["mel_000_db"].max() == pytest.approx(-100)
    for name in ("centroid_hz", "rolloff_hz", "zero_crossing_rate", "onset_strength", "tempogram_0.50s"):
        assert not columns[name].any(), name


def test_a_row_is_the_mean_of_its_frames_and_stands_at_their_middle() -> None:
    """Sound begins at 1.0 s: the level first rises in the row that reaches it."""
    sound = np.concatenate([np.zeros(RATE_HZ, np.float32), tone(1.0, RATE_HZ)])
    extractor = extractors.build("logmel")
    fine = extractors.build("logmel", hop_s=0.01)(sound, RATE_HZ).values
    values = extractor(sound, RATE_HZ).values
    np.testing.assert_allclose(values, mean_rows(fine, 4), rtol=1e-6)  # of which the frames were rounded before
    first = np.flatnonzero(values[:, extractor.spec.columns.index("rms_db")] > -99.9)[0]
    centre_s, half_s = first * 0.04 + extractor.spec.offset_s, (0.025 + 3 * 0.01) / 2
    assert centre_s - half_s < 1.0 < centre_s + half_s
    assert centre_s - 0.04 + half_s <= 1.0  # the row before it hears nothing of it


@pytest.mark.parametrize(
    ("n_samples", "hop_s", "n_rows"),
    [(400, 0.01, 1), (400, 0.04, 1), (559, 0.01, 1), (560, 0.01, 2), (16_000, 0.04, 24)],
)
def test_windows_lie_within_the_sound(n_samples: int, hop_s: float, n_rows: int) -> None:
    assert len(extractors.build("logmel", hop_s=hop_s)(voice(1.0)[:n_samples], RATE_HZ).values) == n_rows


def test_less_than_a_window_is_a_reject() -> None:
    with pytest.raises(MediaError) as error:
        extractors.build("logmel")(voice(1.0)[:399], RATE_HZ)
    assert error.value.reason == "too-short"


def test_long_sound_is_taken_in_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = extractors.build("logmel")(voice(2.0), RATE_HZ).values
    monkeypatch.setattr(spectral, "BLOCK", 37)
    np.testing.assert_allclose(extractors.build("logmel")(voice(2.0), RATE_HZ).values, whole, rtol=1e-5, atol=1e-4)


def test_groups_stand_in_one_order_however_they_are_asked_for() -> None:
    one, other = (extractors.build("logmel", groups=groups) for groups in (["rhythm", "mel"], ["mel", "rhythm", "mel"]))
    assert one.spec == other.spec
    assert one.spec.shape == (64 + 14,)
    every = columns_of(voice(2.0))
    for name, values in zip(one.spec.columns, one(voice(2.0), RATE_HZ).values.T):
        np.testing.assert_array_equal(values, every[name])


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"groups": []}, "groups: name at least one of mel, mfcc, descriptors, rhythm"),
        ({"hop_s": 0.025}, "hop_s 0.025: use a multiple of 0.01 s"),
        ({"hop_s": 0.0}, "hop_s 0: use a multiple"),
        ({"window_s": 0.0}, "window_s 0: must be in"),
        ({"n_mfcc": 65}, "n_mfcc 65, n_mels 64"),
        ({"n_mels": 0, "n_mfcc": 0}, "n_mels 0"),
        ({"n_mels": 256}, "n_mels 256: some bands would be narrower.*use fewer bands or a longer window"),
    ],
)
def test_settings_that_make_no_sense_are_refused(settings: dict[str, object], message: str) -> None:
    with pytest.raises(ExperimentError, match=f"logmel.*{message}"):
        extractors.build("logmel", **settings)


def test_sound_at_another_rate_is_refused() -> None:
    with pytest.raises(ValueError, match="16000 Hz"):
        extractors.build("logmel")(voice(1.0), 8_000)


@pytest.mark.slow
def test_nothing_slow_is_imported_for_it() -> None:
    import subprocess
    import sys

    program = (
        "import sys, numpy as np; from mien.features import extractors;"
        "extractors.build('logmel')(np.zeros(16000, np.float32), 16000.0);"
        "print(sorted({'librosa', 'numba', 'scipy', 'torch'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.slow
def test_anger_is_louder_than_calm_in_real_voices(real_data: Path) -> None:
    """RAVDESS names its emotion in the third field: 05 angry, 02 calm. The same actors, sentences and strength."""
    rms_db = {}
    for emotion in ("02", "05"):
        paths = sorted((real_data / "ravdess/speech_16k").glob(f"Actor_0[1-4]/03-01-{emotion}-01-*.flac"))
        sounds = [heard(path, RATE_HZ) for path in paths]
        rms_db[emotion] = np.mean([np.quantile(columns_of(sound)["rms_db"], 0.9) for sound in sounds])
    assert rms_db["05"] > rms_db["02"] + 6
