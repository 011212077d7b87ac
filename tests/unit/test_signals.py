"""Signals of sensors: the values, names, units and rate of the file, of any stretch, whatever its header claims."""

from __future__ import annotations

import tracemalloc
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from mien.corpora.clip import Medium
from mien.errors import MediaError
from mien.features import media
from mien.features.spec import Signals

RATE_HZ = 257


def signals(path: str | Path, **stretch: Any) -> Signals:
    return media.decode("signals", Medium(path=str(path), **stretch), 0.0)


def reason_of(path: Path, **stretch: Any) -> str:
    with pytest.raises(MediaError) as error:
        signals(path, **stretch)
    assert str(path) in str(error.value)
    return error.value.reason


def recorded(seconds: int = 7, n_channels: int = 5) -> NDArray[np.float64]:
    """(N, C), each channel of another size."""
    rng = np.random.default_rng(3)
    return rng.normal(0, 1, (seconds * RATE_HZ, n_channels)) * 10.0 ** np.arange(n_channels)


NAMES = ("Fp1", "EXG1", "GSR1", "Temp", "Resp")
UNITS = ("uV", "uV", "Ohm", "degC", "mV")


def write_bdf(path: Path, values: NDArray[np.float64], rates_hz: Sequence[float] | None = None, bits: int = 24) -> Path:
    """A recording by edfio, as BioSemi's: 24 bits (EDF: 16), a record per second."""
    import edfio

    kinds = {24: (edfio.Bdf, edfio.BdfSignal), 16: (edfio.Edf, edfio.EdfSignal)}[bits]
    channels = [
        kinds[1](
            column,
            rate_hz,
            label=name,
            physical_dimension=unit,
            physical_range=(-100 * 10.0**k, 100 * 10.0**k),
        )
        for k, (column, rate_hz, name, unit) in enumerate(
            zip(values.T, rates_hz or [RATE_HZ] * values.shape[1], NAMES, UNITS)
        )
    ]
    kinds[0](channels, data_record_duration=1).write(path)
    return path


# ---------------------------------------------------------------------- what is in them


@pytest.mark.parametrize("bits", [24, 16])
def test_values_names_units_and_rate_are_those_of_the_file(tmp_path: Path, bits: int) -> None:
    values = recorded()
    found = signals(write_bdf(tmp_path / "a.bdf", values, bits=bits))
    assert (found.names, found.units, found.rate_hz) == (NAMES, UNITS, RATE_HZ)
    assert found.values.dtype == np.float32
    assert found.values.shape == values.shape
    step = 200 / 2**bits * 10.0 ** np.arange(5)  # of one digit
    assert (np.abs(found.values - values) <= 0.51 * step + 1e-6 * np.abs(values)).all()


@pytest.mark.parametrize(
    ("start_s", "end_s"), [(0.0, 1.0), (1.0, 2.0), (0.5, 3.25), (2.9, 2.95), (6.5, None), (6.0, 7.0)]
)
def test_a_stretch_is_that_of_the_whole(tmp_path: Path, start_s: float, end_s: float | None) -> None:
    path = write_bdf(tmp_path / "a.bdf", recorded())
    whole = signals(path).values
    stop = None if end_s is None else round(end_s * RATE_HZ)
    cut = signals(path, start_s=start_s, end_s=end_s).values
    np.testing.assert_array_equal(cut, whole[round(start_s * RATE_HZ) : stop])


def test_a_track_is_one_channel(tmp_path: Path) -> None:
    path = write_bdf(tmp_path / "a.bdf", recorded())
    whole, one = signals(path), signals(path, track=3, start_s=1.0, end_s=2.0)
    assert (one.names, one.units) == (("Temp",), ("degC",))
    np.testing.assert_array_equal(one.values, whole.values[RATE_HZ : 2 * RATE_HZ, 3:4])
    assert reason_of(path, track=5) == "no-track"


def test_slow_channels_are_interpolated_to_the_rate_of_the_fastest(tmp_path: Path) -> None:
    import edfio

    fast, slow = np.sin(np.arange(4 * 64) / 9), np.arange(4 * 16) / 64
    path = tmp_path / "a.edf"
    edfio.Edf([edfio.EdfSignal(fast, 64, label="fast"), edfio.EdfSignal(slow, 16, label="slow")]).write(path)
    found = signals(path)
    assert (found.rate_hz, found.values.shape) == (64, (256, 2))
    np.testing.assert_allclose(found.values[:253, 1], np.arange(253) / 256, atol=1e-4)
    np.testing.assert_allclose(signals(path, start_s=1.5, end_s=2.5).values, found.values[96:160], atol=1e-6)


def test_one_fast_channel_cannot_ask_for_hundreds_of_slow_ones(tmp_path: Path) -> None:
    import edfio

    fast = edfio.EdfSignal(np.sin(np.arange(100_000) / 9), 100_000, label="fast")
    slow = [edfio.EdfSignal(np.array([k, k + 1.0]), 2, label=f"slow {k}") for k in range(200)]
    path = tmp_path / "a.edf"
    edfio.Edf([fast, *slow]).write(path)
    assert reason_of(path) == "bad-header"
    assert signals(path, track=0).values.shape == (100_000, 1)


def test_annotations_are_no_channel(tmp_path: Path) -> None:
    import edfio

    path = tmp_path / "a.edf"
    channel = edfio.EdfSignal(np.sin(np.arange(640) / 9), 64, label="ECG")
    edfio.Edf([channel], annotations=[edfio.EdfAnnotation(1.0, None, "stimulus")]).write(path)
    assert signals(path).names == ("ECG",)


@pytest.mark.parametrize("name", ["test.bdf", "test_bdf_stim_channel.bdf"])
def test_real_recordings_are_what_mne_reads(real_data: Path, name: str) -> None:
    """mne gives volts for uV; the trigger channel it gives as it is, without BioSemi's status bits."""
    import mne

    path = real_data / "physio" / name
    raw = mne.io.read_raw_bdf(path, preload=True, verbose="error")
    found = signals(path)
    assert list(found.names) == raw.ch_names
    assert found.rate_hz == raw.info["sfreq"]
    assert len(found.values) == raw.n_times
    expected = raw.get_data().T
    for column, (channel, unit) in enumerate(zip(found.names, found.units)):
        given = found.values[:, column].astype(np.float64)
        if channel == "Status":
            np.testing.assert_array_equal(
                given.astype(np.int64) & 0xFFFF, expected[:, column].astype(np.int64) & 0xFFFF
            )
        else:
            assert unit == "uV"
            np.testing.assert_allclose(given / 1e6, expected[:, column], rtol=1e-6, atol=1e-12)


def test_real_text_of_bitalino(real_data: Path) -> None:
    found = signals(real_data / "physio" / "ecg.txt", start_s=1.0, end_s=3.0)
    assert (found.names, found.units, found.rate_hz) == (("ECG",), ("",), 1000.0)
    lines = [line for line in (real_data / "physio/ecg.txt").read_text().splitlines() if not line.startswith("#")]
    np.testing.assert_array_equal(found.values[:, 0], np.array(lines[1000:3000], np.float32))


def write_csv(path: Path, values: NDArray[np.float64], header: str, rate_hz: float = 40.0) -> Path:
    times_s = 0.5 + np.arange(len(values)) / rate_hz
    rows = [",".join(map(repr, [round(t, 6), *row])) for t, row in zip(times_s.tolist(), values.tolist())]
    path.write_text("\n".join([header, *rows]) + "\n")
    return path


def test_a_csv_has_its_rate_in_its_times_and_its_units_in_brackets(tmp_path: Path) -> None:
    values = recorded()[:83, :2]
    path = write_csv(tmp_path / "a.csv", values, "time_s,ECG [mV],Resp")
    found = signals(path)
    assert (found.names, found.units) == (("ECG", "Resp"), ("mV", ""))
    assert found.rate_hz == pytest.approx(40.0, rel=1e-6)
    np.testing.assert_allclose(found.values, values, rtol=1e-6)
    np.testing.assert_array_equal(signals(path, start_s=0.5, end_s=1.0, track=1).values, found.values[20:40, 1:])


# ---------------------------------------------------------------------- what is broken


def test_half_a_recording_is_not_taken_for_a_whole(tmp_path: Path) -> None:
    path = write_bdf(tmp_path / "a.bdf", recorded(20))
    data = path.read_bytes()
    path.write_bytes(data[: len(data) * 6 // 10])
    assert reason_of(path) == "truncated"
    path.write_bytes(data[: len(data) * 97 // 100])  # a lost tail is let go
    assert len(signals(path).values) == 19 * RATE_HZ
    for n_bytes in (0, 5, 100, 300, 6 * 256):
        path.write_bytes(data[:n_bytes])
        assert reason_of(path) in ("truncated", "empty")


def test_a_recorder_that_was_switched_off_knows_no_length(tmp_path: Path) -> None:
    """n_records is -1 until the recording is closed (EDF specification)."""
    path = write_bdf(tmp_path / "a.bdf", recorded())
    whole = signals(path).values
    with path.open("r+b") as file:
        file.seek(236)
        file.write(b"-1      ")
    np.testing.assert_array_equal(signals(path).values, whole)


@pytest.mark.parametrize("stretch", [{"start_s": 9.0}, {"start_s": 1.0, "end_s": 12.0}])
def test_a_stretch_after_the_end(tmp_path: Path, stretch: dict[str, float]) -> None:
    assert reason_of(write_bdf(tmp_path / "a.bdf", recorded()), **stretch) == "span-beyond-end"
    csv = write_csv(tmp_path / "a.csv", recorded()[:83, :2], "time_s,ECG,Resp")
    assert reason_of(csv, **stretch) == "span-beyond-end"


@pytest.mark.parametrize(
    ("at", "text"),
    [
        (252, b"9999"),  # signals
        (252, b"0   "),
        (252, b"-3  "),
        (184, b"99999999"),  # bytes of the header
        (244, b"0       "),  # seconds of a record
        (244, b"1e-300  "),
        (244, b"nan     "),
        (244, b"inf     "),
        (244, b"one     "),
        (236, b"99999999"),  # records
        (256 + 5 * 216, b"99999999"),  # samples of the first signal in a record
        (256 + 5 * 216, b"0       "),
        (256 + 5 * 216, b"-7      "),
        (256 + 5 * 104, b"nan     "),  # its lowest value
        (256 + 5 * 120, b"8388607 "),  # its lowest sample
    ],
)
def test_what_a_header_claims_is_checked_before_memory_is_taken(tmp_path: Path, at: int, text: bytes) -> None:
    path = write_bdf(tmp_path / "a.bdf", recorded())
    data = bytearray(path.read_bytes())
    data[at : at + len(text)] = text
    path.write_bytes(data)
    tracemalloc.start()
    assert reason_of(path) in ("bad-header", "truncated", "empty")
    _, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak_bytes < 10 * len(data)


@pytest.mark.slow
@settings(max_examples=150, deadline=None)
@given(flips=st.lists(st.tuples(st.integers(0, 1535), st.integers(1, 255)), min_size=1, max_size=8))
def test_any_damaged_header_is_a_recording_or_a_reason(
    tmp_path_factory: pytest.TempPathFactory, flips: list[tuple[int, int]]
) -> None:
    folder = tmp_path_factory.getbasetemp() / "signals"
    folder.mkdir(exist_ok=True)
    whole = folder / "whole.bdf"
    if not whole.exists():
        write_bdf(whole, recorded())
    data = bytearray(whole.read_bytes())
    for at, bits in flips:
        data[at] ^= bits
    broken = folder / "broken.bdf"
    broken.write_bytes(data)
    try:
        found = signals(broken)
    except MediaError:
        return
    assert found.values.nbytes <= 64 * len(data)
    assert np.isfinite(found.values).all()
    assert len(found.names) == len(found.units) == found.values.shape[1]


def test_a_recording_with_gaps_is_refused(tmp_path: Path) -> None:
    path = write_bdf(tmp_path / "a.bdf", recorded())
    with path.open("r+b") as file:
        file.seek(192)
        file.write(b"BDF+D")
    assert reason_of(path) == "bad-times"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("hello there\n", "not-media"),
        ("ECG,Resp\n1,2\n", "not-media"),
        ("time_s\n1\n", "not-media"),
        ("time_s,ECG\n", "empty"),
        ("time_s,ECG\n0.0,1\n", "empty"),
        ("time_s,ECG\n0.0,1\n0.1,high\n0.2,1\n", "truncated"),
        ("time_s,ECG\n0.0,1\n0.1\n0.2,1\n", "truncated"),
        ("time_s,ECG\n0.0,1\n0.1,nan\n0.2,1\n", "not-finite"),
        ("time_s,ECG\n0.0,1\n0.1,1\n5.0,1\n", "bad-times"),
        ("time_s,ECG\n0.2,1\n0.1,1\n0.0,1\n", "bad-times"),
        ("time_s,ECG\n0,1\n1e9,1\n2e9,1\n", "bad-header"),
        ("# Simple Text Format\n# Labels:= ECG\n1\n2\n", "bad-header"),
        ("# Simple Text Format\n# Sampling Rate (Hz):= 0\n1\n2\n", "bad-header"),
        ("# Simple Text Format\n# Sampling Rate (Hz):= 100\n", "empty"),
    ],
)
def test_what_is_no_recording_gives_its_reason(tmp_path: Path, text: str, reason: str) -> None:
    path = tmp_path / "a.csv"
    path.write_text(text)
    assert reason_of(path) == reason


def test_a_sound_is_no_signal_and_a_signal_no_sound(tmp_path: Path) -> None:
    path = write_bdf(tmp_path / "a.bdf", recorded())
    with pytest.raises(MediaError) as error:
        media.decode("sound", Medium(path=str(path)), 16_000)
    assert error.value.reason == "not-media"
    assert reason_of(Path(__file__)) == "not-media"
    assert reason_of(tmp_path / "gone.bdf") == "missing"


def test_signals_that_take_too_much_memory_are_refused_before_they_are_read(tmp_path: Path) -> None:
    text = tmp_path / "a.csv"
    text.write_text("time_s,ECG\n" + "".join(f"{k / 10},1\n" for k in range(100_000)))
    edf = write_bdf(tmp_path / "a.bdf", recorded(seconds=100))
    for path, needed_bytes in ((text, 12 * text.stat().st_size), (edf, edf.stat().st_size)):
        assert len(signals(path).values)
        tracemalloc.start()
        with pytest.raises(MediaError) as error:
            media.decode("signals", Medium(path=str(path)), 0.0, most_bytes=needed_bytes - 1)
        assert tracemalloc.get_traced_memory()[1] < 2**20
        tracemalloc.stop()
        assert error.value.reason == "too-large"
    stretch = Medium(path=str(edf), start_s=50.0, end_s=51.0)
    assert len(media.decode("signals", stretch, 0.0, most_bytes=2**16).values) == RATE_HZ
