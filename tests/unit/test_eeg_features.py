"""EEG: powers by formula and by mne, connectivity by mne, channels by name, what bad channels and windows become."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from mien.corpora.clip import Medium
from mien.errors import ExperimentError, MediaError
from mien.features import extractors, media
from mien.features.extractors.eeg_signal import BANDS, BIOSEMI_32, Cleaning, bad_channels
from mien.features.extractors.sensors import plain_name
from mien.features.media.shared import extract
from mien.features.spec import Frames, Signals
from mien.features.store.rows import Row, from_table, to_table

RATE_HZ = 256.0
PAIR: dict[str, Any] = {"channels": ["Fp1", "Cz"], "reference": "none"}


def recording(
    values: NDArray[np.floating], names: tuple[str, ...] = BIOSEMI_32, unit: str = "uV", rate_hz: float = RATE_HZ
) -> Signals:
    return Signals(values.astype(np.float32), names, (unit,) * len(names), rate_hz)


def field(seconds: float = 10.0, seed: int = 0) -> NDArray[np.float64]:
    """(N, 32) uV as a head gives them: few sources deep inside, each with a fall-off of its own, over 1/f noise."""
    import mne

    places = mne.channels.make_standard_montage("colin27_1005").get_positions()["ch_pos"]
    at = np.array([places[name] for name in BIOSEMI_32])
    rng = np.random.default_rng(seed)
    n = round(seconds * RATE_HZ)
    sources = rng.uniform(-0.05, 0.05, (12, 3)) + at.mean(axis=0)
    gains = 1 / (np.linalg.norm(at[:, None] - sources, axis=2) ** 2 + 0.05**2)
    return 10 * (pink(rng, n, 12) @ (gains / gains.mean()).T) / np.sqrt(12) + rng.normal(0, 0.5, (n, 32))


def pink(rng: np.random.Generator, n: int, n_columns: int) -> NDArray[np.float64]:
    spectrum = (
        np.fft.rfft(rng.normal(size=(n, n_columns)), axis=0) / np.sqrt(np.maximum(np.arange(n // 2 + 1), 1))[:, None]
    )
    values = np.fft.irfft(spectrum, n, axis=0)
    return values / values.std(axis=0)


def waves(hz: float, amplitude_uv: float, seconds: float = 10.0, phase: float = 0.0) -> NDArray[np.float64]:
    return amplitude_uv * np.sin(2 * np.pi * hz * np.arange(round(seconds * RATE_HZ)) / RATE_HZ + phase)


def column(frames: Frames, extractor: Any, name: str) -> NDArray[np.float32]:
    return frames.values[:, extractor.spec.columns.index(name)]


# ---------------------------------------------------------------------- bands


@pytest.mark.parametrize(("band", "hz"), [("delta", 2), ("theta", 6), ("alpha", 10), ("beta", 20), ("gamma", 40)])
def test_a_sine_has_half_its_amplitude_squared_in_its_band(band: str, hz: float) -> None:
    """On an offset and beside a weaker sine of another band; both edges of the recording are left out."""
    other = 16.0 if band != "beta" else 5.0
    values = np.column_stack([waves(hz, 20) + waves(other, 2) + 30_000, waves(other, 2) + 7])
    extractor = extractors.build("eeg-bands", measure="power", **PAIR)
    frames = extractor(recording(values, ("Fp1", "Cz")), RATE_HZ)
    assert frames.values.shape == (9, 10)
    assert frames.valid.all()
    np.testing.assert_allclose(column(frames, extractor, f"Fp1_{band}")[2:-2], np.log(200), atol=2e-3)
    others = [column(frames, extractor, f"Fp1_{name}")[2:-2].max() for name in BANDS if name != band]
    assert max(others) < np.log(2.01)
    assert (column(frames, extractor, f"Cz_{band}")[2:-2] < np.log(0.01)).all()


def test_white_noise_has_the_entropy_of_its_share() -> None:
    """0.5 ln(2 pi e sigma²) with sigma² = the noise's variance times the band's share of all frequencies."""
    values = np.random.default_rng(1).normal(0, 12, (round(300 * RATE_HZ), 2))
    frames = {
        measure: extractors.build("eeg-bands", measure=measure, **PAIR)(recording(values, ("Fp1", "Cz")), RATE_HZ)
        for measure in ("entropy", "power")
    }
    powers = np.exp(frames["power"].values).mean(axis=0)
    expected = [144 * (high - low) / (RATE_HZ / 2) for low, high in BANDS.values()]
    np.testing.assert_allclose(powers, expected * 2, rtol=0.06)
    entropies = 0.5 * np.log(2 * np.pi * np.e * np.exp(frames["power"].values.astype(np.float64)))
    np.testing.assert_allclose(frames["entropy"].values, entropies, rtol=1e-5)


@pytest.mark.slow
def test_bands_are_those_of_mne_and_near_a_filter_bank() -> None:
    """mne's Welch of one window each, on what the cleaning gives, to single precision; and the variance within each
    window of a band-pass, which leaks over its edges, to a quarter of a nat in the mean."""
    import mne
    from scipy.signal import butter, sosfiltfilt

    given = recording(field(20))
    extractor = extractors.build("eeg-bands")
    values = extractor(given, RATE_HZ).values.reshape(19, 32, 5)
    cleaned = Cleaning()(given).values
    starts = np.arange(19) * 256
    windows = np.stack([cleaned[:, s : s + 512] for s in starts])
    density, hz = mne.time_frequency.psd_array_welch(
        windows, RATE_HZ, 0, 128, n_fft=512, n_per_seg=512, window="hann", verbose="error"
    )
    for number, (low, high) in enumerate(BANDS.values()):
        power = density[..., (hz >= low) & (hz < high)].sum(axis=-1) * 0.5
        np.testing.assert_allclose(values[..., number], 0.5 * np.log(2 * np.pi * np.e * power), rtol=1e-5, atol=1e-5)
        sections = butter(4, (low, high), "bandpass", fs=RATE_HZ, output="sos")
        filtered = sosfiltfilt(sections, cleaned, axis=1)
        variance = np.stack([filtered[:, s : s + 512].var(axis=1) for s in starts])
        bank = 0.5 * np.log(2 * np.pi * np.e * variance)
        assert abs((values[..., number] - bank).mean()) < 0.25
        assert np.corrcoef(values[..., number].ravel(), bank.ravel())[0, 1] > (0.8 if number else 0.6)


def test_alpha_rises_when_the_eyes_are_closed(real_data: Path) -> None:
    share = {}
    for eyes in ("eeg_ec", "eeg_eo"):
        given = media.decode("signals", Medium(path=str(real_data / "physio" / f"{eyes}.txt")), 0.0)
        extractor = extractors.build("eeg-bands", channels=["EEG"], reference="none", threshold_uv=1e6, measure="power")
        powers = np.exp(extractor(given, given.rate_hz).values.astype(np.float64)).mean(axis=0)
        share[eyes] = powers[2] / powers.sum()
    assert share["eeg_ec"] > 1.5 * share["eeg_eo"]


# ---------------------------------------------------------------------- connectivity


@pytest.mark.slow
@pytest.mark.parametrize(("method", "theirs"), [("coherence", "coh"), ("plv", "plv"), ("wpli", "wpli")])
def test_connectivity_is_that_of_mne(method: str, theirs: str) -> None:
    from mne_connectivity import spectral_connectivity_epochs

    given = recording(field(12))
    extractor = extractors.build("eeg-connectivity", method=method)
    frames = extractor(given, RATE_HZ)
    assert frames.valid.all()
    cleaned = Cleaning()(given).values
    epochs = np.stack([cleaned[:, s : s + 512] for s in range(0, cleaned.shape[1] - 511, 256)])
    bands = [band for name, band in BANDS.items() if name != "delta"]
    found = spectral_connectivity_epochs(
        epochs,
        method=theirs,
        mode="fourier",
        sfreq=RATE_HZ,
        fmin=tuple(low for low, _ in bands),
        fmax=tuple(high - 0.5 for _, high in bands),  # theirs is included
        faverage=True,
        verbose="error",
    )
    matrix = found.get_data("dense")[np.tril_indices(32, -1)]
    np.testing.assert_allclose(frames.values.reshape(496, 4), matrix, atol=2e-6)
    assert matrix.std() > 0.02


@pytest.mark.parametrize(
    ("method", "at_once", "late", "alone"),
    [("coherence", (0.97, 1), (0.97, 1), (0, 0.3)), ("plv", (0.97, 1), (0.97, 1), (0, 0.3)), ("wpli", (0, 0.6), (0.97, 1), (0, 0.6))],
)  # fmt: skip
def test_what_goes_together(
    method: str, at_once: tuple[float, float], late: tuple[float, float], alone: tuple[float, float]
) -> None:
    """A rhythm of two channels at once, of a third a quarter of a wave later, of a fourth by itself."""
    rng = np.random.default_rng(5)
    n = round(60 * RATE_HZ)
    spectrum = np.fft.rfft(rng.normal(size=(n, 2)), axis=0)
    hz = np.fft.rfftfreq(n, 1 / RATE_HZ)[:, None]
    spectrum[(hz[:, 0] < 8) | (hz[:, 0] >= 14)] = 0
    rhythm, other = 100 * np.fft.irfft(spectrum, n, axis=0).T
    later = 100 * np.fft.irfft(spectrum[:, 0] * np.exp(-0.5j * np.pi), n)
    values = np.column_stack([rhythm, rhythm, later, other]) + rng.normal(0, 0.3, (n, 4))
    extractor = extractors.build(
        "eeg-connectivity", channels=["C3", "Cz", "C4", "Oz"], reference="none", method=method, threshold_uv=1e5
    )
    frames = extractor(recording(values, ("C3", "Cz", "C4", "Oz")), RATE_HZ)
    for pair, (low, high) in (("Cz-C3", at_once), ("C4-C3", late), ("Oz-C3", alone)):
        assert low <= column(frames, extractor, f"{pair}_alpha")[0] <= high + 1e-6, pair


def test_connectivity_leaves_bad_windows_out_and_wants_four_good_ones() -> None:
    values = field(12)
    spoilt = values.copy()
    spoilt[round(5.2 * RATE_HZ) : round(5.4 * RATE_HZ), :20] += 900 * waves(10, 1, 0.2, 1)[: round(5.4 * RATE_HZ) - round(5.2 * RATE_HZ), None]  # fmt: skip
    extractor = extractors.build("eeg-connectivity", method="plv", threshold_uv=200)
    clean, found = (extractor(recording(v), RATE_HZ) for v in (values, spoilt))
    everything = extractors.build("eeg-connectivity", method="plv", threshold_uv=1e6)(recording(spoilt), RATE_HZ)
    assert found.valid.all()
    assert np.abs(found.values - clean.values).mean() < 0.7 * np.abs(everything.values - clean.values).mean()
    strict = extractors.build("eeg-connectivity", threshold_uv=1.0)(recording(values), RATE_HZ)
    assert not strict.valid.any()
    assert not strict.values.any()


# ---------------------------------------------------------------------- the signal itself


def test_raw_keeps_waves_in_time_and_drops_the_mains() -> None:
    values = np.column_stack([waves(10, 20) + waves(50, 30) + 5000, waves(30, 10)])
    frames = extractors.build("eeg-raw", **PAIR)(recording(values, ("Fp1", "Cz")), RATE_HZ)
    assert frames.values.shape == (10, 2, 128)
    times_s = np.arange(10 * 128) / 128
    signal = frames.values.transpose(1, 0, 2).reshape(2, -1)
    middle = slice(2 * 128, 8 * 128)
    np.testing.assert_allclose(signal[0, middle], 20 * np.sin(2 * np.pi * 10 * times_s)[middle], atol=0.9)
    np.testing.assert_allclose(signal[1, middle], 10 * np.sin(2 * np.pi * 30 * times_s)[middle], atol=0.2)


def test_windows_of_channels_by_samples_go_through_the_store() -> None:
    extractor = extractors.build("eeg-raw", hop_s=0.5)
    frames = extractor(recording(field(5)), RATE_HZ)
    assert frames.values.shape == (9, 32, 128)
    row = Row("a", "content", 0.0, None, frames.values, frames.valid)
    (found,) = from_table(to_table([row], extractor.spec), extractor.spec)
    np.testing.assert_array_equal(found.values, frames.values)


@pytest.mark.slow
def test_a_real_recording_of_biosemi(real_data: Path) -> None:
    """72 channels at 2048 Hz, of which 32 are asked for; in uV they are those that mne reads, referenced by mne."""
    import mne

    path = str(real_data / "physio" / "test.bdf")
    given = media.decode("signals", Medium(path=path), 0.0)
    frames = extractors.build("eeg-raw")(given, given.rate_hz)
    assert frames.values.shape == (1, 32, 128)
    assert frames.valid.all()
    raw = (
        mne.io.read_raw_bdf(path, preload=True, verbose="error")
        .pick(list(BIOSEMI_32))
        .reorder_channels(list(BIOSEMI_32))
    )
    bad = Cleaning()(given).is_bad
    raw.set_eeg_reference("average", verbose="error").filter(1, 40, verbose="error").resample(128, verbose="error")
    theirs = 1e6 * raw.get_data()[~bad]
    ours = frames.values[0][~bad]
    agreement = [np.corrcoef(one[16:-16], other[16:-16])[0, 1] for one, other in zip(ours, theirs)]
    assert np.median(agreement) > 0.8
    assert 0.5 < np.median(ours.std(axis=1) / theirs.std(axis=1)) < 2


# ---------------------------------------------------------------------- channels


def test_channels_are_known_by_name_whatever_else_is_recorded() -> None:
    """Names with numbers, in capitals, old ones; in another order and unit; beside sensors that would drown them."""
    values = field(4)
    extractor = extractors.build("eeg-bands")
    expected = extractor(recording(values), RATE_HZ).values
    rng = np.random.default_rng(7)
    order = rng.permutation(32)
    old = {"T7": "T3", "T8": "T4", "P7": "T5", "P8": "T6"}
    names = tuple(f"{k + 1}{old.get(BIOSEMI_32[c], BIOSEMI_32[c]).upper()}" for k, c in enumerate(order))
    others = rng.normal(0, 1e6, (len(values), 4))
    given = Signals(
        np.column_stack([others[:, :2], values[:, order] / 1000, others[:, 2:]]).astype(np.float32),
        ("EXG1", "Status", *names, "GSR1", "Temp"),
        ("uV", "Boolean", *["mV"] * 32, "Ohm", "degC"),
        RATE_HZ,
    )
    np.testing.assert_allclose(extractor(given, RATE_HZ).values, expected, atol=1e-4)


@pytest.mark.parametrize(
    ("name", "plain"),
    [("1Fp1", "fp1"), ("EEG Fp1-REF", "fp1"), ("Fc5.", "fc5"), ("T5", "p7"), ("EXG3-EXG1", "exg3-exg1"), (" CZ ", "cz"), ("EEG", "eeg")],
)  # fmt: skip
def test_plain_names(name: str, plain: str) -> None:
    assert plain_name(name) == plain


@pytest.mark.parametrize("what", ["lacking", "flat", "loud", "quiet"])
def test_a_bad_channel_is_filled_in_from_its_neighbours(what: str) -> None:
    values = field(10)
    broken, names = values.copy(), BIOSEMI_32
    at = BIOSEMI_32.index("C3")
    if what == "lacking":
        broken, names = np.delete(values, at, axis=1), tuple(name for name in BIOSEMI_32 if name != "C3")
    elif what == "flat":
        broken[:, at] = 25_000
    else:
        broken[:, at] = np.random.default_rng(3).normal(0, 400 if what == "loud" else 0.2, len(values))
    whole, found = (Cleaning()(given) for given in (recording(values), recording(broken, names)))
    assert not whole.is_bad.any()
    assert np.flatnonzero(found.is_bad).tolist() == [at]
    assert np.corrcoef(whole.values[at], found.values[at])[0, 1] > 0.9
    assert np.abs(found.values[at + 1] - whole.values[at + 1]).max() < 3  # by the reference alone
    frames = extractors.build("eeg-bands")(recording(broken, names), RATE_HZ)
    assert frames.valid.all()


def test_too_many_bad_channels_leave_nothing() -> None:
    values = field(4)
    values[:, :9] = 3.0
    for name in ("eeg-bands", "eeg-raw", "eeg-connectivity"):
        frames = extractors.build(name)(recording(values), RATE_HZ)
        assert not frames.valid.any()
        assert not frames.values.any()
    with pytest.raises(MediaError, match="9 of 32 channels are lacking.*Fp1.*name your own") as error:
        extractors.build("eeg-bands")(recording(field(4)[:, 9:], BIOSEMI_32[9:]), RATE_HZ)
    assert error.value.reason == "missing-channels"


def test_a_hum_that_all_channels_share_hides_no_bad_one() -> None:
    values = field(10)
    values[:, 4] = np.random.default_rng(3).normal(0, 200, len(values))
    hum = 3000 * waves(50, 1)[:, None]
    nothing = np.zeros(32, np.bool_)
    assert np.flatnonzero(bad_channels((values + hum).T, nothing, "average")).tolist() == [4]


def test_a_loud_window_is_masked_and_a_blink_is_not() -> None:
    values = field(10)
    jerk = 2000 * np.hanning(100)
    values[2 * 256 + 50 : 2 * 256 + 150, :12] += jerk[:, None]
    blink = 400 * np.hanning(100)
    values[7 * 256 + 50 : 7 * 256 + 150, [0, 1, 16, 17]] += blink[:, None]
    frames = extractors.build("eeg-raw", threshold_uv=200)(recording(values), RATE_HZ)
    assert not frames.valid[2]
    assert frames.valid[5:].all()
    assert not frames.values[2].any()


@pytest.mark.parametrize("n_channels", [10, 32])
def test_a_recording_that_stops_is_masked_from_there_on(n_channels: int) -> None:
    """Of which a few stop, too: an average reference would give those something that moves."""
    values = field(10)
    values[6 * 256 :, :n_channels] = values[6 * 256, :n_channels]
    frames = extractors.build("eeg-raw")(recording(values), RATE_HZ)
    assert frames.valid[:5].all()
    assert not frames.valid[6:].any()


@pytest.mark.slow
def test_one_recording_serves_all_five(tmp_path: Path) -> None:
    """A stretch of a BDF file: EEG and body are told apart by the names of its channels."""
    import edfio

    eeg = 25_000 + field(14)
    times_s = np.arange(len(eeg)) / RATE_HZ
    beat = 1000 * np.exp(-(((times_s * 1.25) % 1 - 0.5) ** 2) / 0.0005)
    channels = {name: ("uV", eeg[:, k]) for k, name in enumerate(BIOSEMI_32)}
    channels |= {"EXG1": ("uV", 0 * beat), "EXG3": ("uV", beat), "GSR1": ("Ohm", 3e5 - 1e3 * times_s)}
    channels |= {"Resp": ("uV", 900 * np.sin(np.pi * times_s)), "Temp": ("degC", 31 + 0.01 * times_s)}
    path = tmp_path / "trial.bdf"
    signals = [
        edfio.BdfSignal(v, RATE_HZ, label=name, physical_dimension=unit, physical_range=(-5e5, 5e5))
        for name, (unit, v) in channels.items()
    ]
    edfio.Bdf(signals, data_record_duration=1).write(path)
    names = ("eeg-bands", "eeg-connectivity", "eeg-raw", "physio", "physio-raw")
    stretch = Medium(path=str(path), start_s=1.0, end_s=13.0)
    bands, connectivity, raw, physio, curves = extract(stretch, [extractors.build(name) for name in names])
    assert [len(frames.values) for frames in (bands, connectivity, raw, physio, curves)] == [11, 1, 12, 1, 384]
    for frames in (bands, connectivity, raw, physio, curves):
        assert frames.valid.all()
    assert physio.values[0, 1] == pytest.approx(75, abs=0.5)
    np.testing.assert_allclose(raw.values.mean(axis=1), 0, atol=1e-3)  # of the average reference
    assert (
        np.corrcoef(raw.values[5, 22], eeg[6 * 256 : 7 * 256 : 2, 22] - eeg[6 * 256 : 7 * 256 : 2].mean(axis=1))[0, 1]
        > 0.8
    )


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        (recording(np.zeros((1000, 32)), unit="furlong"), "unknown-unit"),
        (recording(np.zeros((1000, 32)), rate_hz=64.0), "low-rate"),
        (recording(np.zeros((1000, 2)), ("EXG1", "GSR1")), "missing-channels"),
    ],
)
def test_what_is_no_eeg_gives_its_reason(given: Signals, reason: str) -> None:
    with pytest.raises(MediaError) as error:
        extractors.build("eeg-bands")(given, given.rate_hz)
    assert error.value.reason == reason


def test_a_bad_channel_without_a_place_on_the_head_cannot_be_filled_in() -> None:
    names = (*BIOSEMI_32[:31], "MyOwn")
    values = field(4)
    values[:, 31] = 0
    extractor = extractors.build("eeg-bands", channels=list(names))
    with pytest.raises(MediaError, match="MyOwn.*no known place"):
        extractor(recording(values, names), RATE_HZ)


@pytest.mark.parametrize(
    ("name", "settings", "message"),
    [
        ("eeg-bands", {"channels": []}, "channels"),
        ("eeg-bands", {"channels": ["Cz", "cz"]}, "channels.*twice"),
        ("eeg-bands", {"channels": ["Cz"]}, "reference"),
        ("eeg-bands", {"window_s": 0.5}, "window_s"),
        ("eeg-connectivity", {"channels": ["Cz"], "reference": "none"}, "channels"),
        ("eeg-raw", {"window_s": 0.01}, "window_s.*resample_hz"),
        ("eeg-raw", {"threshold_uv": 0.0}, "threshold_uv"),
    ],
)
def test_settings_that_make_no_sense_are_named(name: str, settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ExperimentError, match=f"{name}.*{message}"):
        extractors.build(name, **settings)
