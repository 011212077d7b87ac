"""The body's sensors: beats, breaths and skin responses by formula and by neurokit2, and what is no such thing."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from mien.corpora.clip import Medium
from mien.errors import ExperimentError, MediaError
from mien.features import extractors, media
from mien.features.extractors.physio import COLUMNS, heart, line, skin
from mien.features.extractors.physio_signal import beats, breaths
from mien.features.spec import Signals

RATE_HZ = 256.0
ABSENT = {"ecg_present": 0, "gsr_present": 0, "resp_present": 0, "temp_present": 0}


def recording(rate_hz: float = RATE_HZ, **channels: tuple[str, NDArray[Any]]) -> Signals:
    values = np.column_stack([values for _, values in channels.values()]).astype(np.float32)
    return Signals(values, tuple(channels), tuple(unit for unit, _ in channels.values()), rate_hz)


def row(given: Signals, **settings: Any) -> dict[str, float]:
    frames = extractors.build("physio", **settings)(given, given.rate_hz)
    assert frames.valid.any() or not frames.values.any()
    return dict(zip(COLUMNS, frames.values[0].tolist()))


@cache
def simulated(what: str, seconds: int = 60, rate_hz: float = RATE_HZ, **settings: Any) -> NDArray[np.float64]:
    import neurokit2

    make = getattr(neurokit2, f"{what}_simulate")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return np.asarray(make(duration=seconds, sampling_rate=int(rate_hz), random_state=1, **settings))


def ecg_of(beats_s: Sequence[float] | NDArray[np.float64], seconds: float) -> NDArray[np.float64]:
    """R peaks 20 ms wide at these times, and T waves after them."""
    times_s = np.arange(round(seconds * RATE_HZ)) / RATE_HZ
    waves = ((0.0, 1.0, 0.012), (0.25, 0.2, 0.05))
    return sum(h * np.exp(-(((times_s - at - later) / w) ** 2)) for at in beats_s for later, h, w in waves)


def noise(kind: str, seconds: float, seed: int = 0, rate_hz: float = RATE_HZ) -> NDArray[np.float64]:
    rng, n = np.random.default_rng(seed), round(seconds * rate_hz)
    white = rng.normal(size=n)
    if kind == "mains":
        return np.sin(2 * np.pi * 50 * np.arange(n) / rate_hz + 1) + 0.1 * white
    slope = {"white": 0.0, "pink": 0.5, "brown": 1.0}[kind]
    return np.fft.irfft(np.fft.rfft(white) / np.maximum(np.arange(n // 2 + 1), 1) ** slope, n)


# ---------------------------------------------------------------------- the heart


@pytest.mark.slow
@pytest.mark.parametrize("upright", [True, False])
def test_heart_rate_of_a_simulated_ecg(upright: bool) -> None:
    """As MAHNOB has it: two electrodes against one reference, whose hum and drift only their difference is free of."""
    ecg = 1000 * simulated("ecg", 30, heart_rate=70) * (1 if upright else -1)
    common = 3000 * noise("mains", 30) + 2000 * noise("brown", 30, 1)
    found = row(recording(EXG1=("uV", common), EXG2=("uV", common + ecg / 2), EXG3=("uV", common + ecg)))
    assert found["ecg_present"] == 1
    assert found["heart_rate_bpm"] == pytest.approx(70, abs=1)


@pytest.mark.parametrize("bpm", [40, 75, 150, 190])
def test_heart_rate_by_formula(bpm: int) -> None:
    ecg = ecg_of(np.arange(0.3, 30, 60 / bpm), 30) + 0.02 * noise("white", 30)
    found = row(recording(ECG=("mV", ecg)))
    assert found["heart_rate_bpm"] == pytest.approx(bpm, rel=0.005)
    assert found["rmssd_ms"] < 6  # of one sample, 4 ms


def test_variability_by_formula() -> None:
    intervals_ms = np.random.default_rng(2).normal(850, 40, 90)
    beats_s = 3 + np.cumsum([0.0, *intervals_ms]) / 1000
    found = heart(beats_s)
    steps_ms = np.diff(intervals_ms)
    assert found["heart_rate_bpm"] == pytest.approx(60_000 / intervals_ms.mean())
    assert found["sdnn_ms"] == pytest.approx(np.sqrt(((intervals_ms - intervals_ms.mean()) ** 2).sum() / 89))
    assert found["rmssd_ms"] == pytest.approx(np.sqrt((steps_ms**2).mean()))
    assert found["pnn50"] == pytest.approx((np.abs(steps_ms) > 50).sum() / 89)


def test_variability_by_neurokit() -> None:
    import neurokit2

    beats_s = np.round(np.cumsum(np.random.default_rng(2).normal(0.85, 0.04, 90)), 3)
    theirs = neurokit2.hrv_time(np.round(1000 * beats_s).astype(int), sampling_rate=1000)
    found = heart(beats_s)
    assert found["sdnn_ms"] == pytest.approx(theirs["HRV_SDNN"][0])
    assert found["rmssd_ms"] == pytest.approx(theirs["HRV_RMSSD"][0])
    assert found["pnn50"] * 89 / 90 == pytest.approx(theirs["HRV_pNN50"][0] / 100, rel=1e-3)  # they divide by one more


@pytest.mark.parametrize(("hz", "name", "other"), [(0.25, "hf", "lf"), (0.1, "lf", "hf")])
def test_a_wave_in_the_intervals_has_its_power_in_its_band(hz: float, name: str, other: str) -> None:
    """Intervals of 800 ms that swing by 30 ms: 450 ms², less what a line between beats loses."""
    times_s = [0.0]
    while times_s[-1] < 180:
        times_s.append(times_s[-1] + 0.8 + 0.03 * np.sin(2 * np.pi * hz * times_s[-1]))
    found = heart(np.array(times_s))
    assert found[f"{name}_present"] == 1
    assert np.exp(found[f"{name}_ln_ms2"]) == pytest.approx(450, rel=0.12)
    assert np.exp(found[f"{other}_ln_ms2"]) < 20


@pytest.mark.parametrize(("seconds", "hf", "lf"), [(50, False, False), (61, True, False), (121, True, True)])
def test_slow_rhythms_need_their_time(seconds: int, hf: bool, lf: bool) -> None:
    found = heart(np.arange(0.5, seconds, 0.8) + 0.01 * np.sin(np.arange(0.5, seconds, 0.8)))
    assert ("hf_present" in found, "lf_present" in found) == (hf, lf)


def test_a_missed_beat_and_one_too_many_do_not_count() -> None:
    beats_s = np.cumsum(np.random.default_rng(2).normal(0.85, 0.03, 70))
    expected = heart(beats_s)
    spoilt = np.sort(np.append(np.delete(beats_s, 30), beats_s[50] + 0.4))
    found = heart(spoilt)
    for name in ("heart_rate_bpm", "sdnn_ms", "rmssd_ms"):
        assert found[name] == pytest.approx(expected[name], rel=0.1)


@pytest.mark.slow
def test_real_ecgs_agree_with_the_whole_of_neurokit(real_data: Path) -> None:
    import neurokit2
    import pandas as pd

    table = pd.read_csv(real_data / "physio" / "bio_eventrelated_100hz.csv")
    found = row(recording(100.0, ECG=("mV", table["ECG"]), EDA=("uS", table["EDA"]), RSP=("", table["RSP"])))
    assert (found["ecg_present"], found["gsr_present"], found["resp_present"], found["temp_present"]) == (1, 1, 1, 0)
    signals, _ = neurokit2.bio_process(table["ECG"], table["RSP"], table["EDA"], sampling_rate=100)
    assert found["heart_rate_bpm"] == pytest.approx(signals["ECG_Rate"].mean(), abs=1)
    assert found["breaths_per_min"] == pytest.approx(signals["RSP_Rate"].mean(), abs=1)
    assert found["scl_us"] == pytest.approx(signals["EDA_Tonic"].mean(), rel=0.01)
    theirs = signals["SCR_Amplitude"][signals["SCR_Peaks"] == 1]
    least_us = 0.1 * theirs.max()  # theirs is a share of the largest
    ours = row(recording(100.0, EDA=("uS", table["EDA"])), scr_us=float(least_us))
    assert ours["scr_per_min"] * 2.5 == pytest.approx(len(theirs), abs=1)
    assert ours["scr_amplitude_us"] == pytest.approx(theirs.mean(), rel=0.2)
    assert found["lf_present"] == 1
    medium = Medium(path=str(real_data / "physio" / "ecg.txt"))
    given = media.decode("signals", medium, 0.0)
    whole, _ = neurokit2.ecg_process(given.values[:, 0], sampling_rate=1000)
    assert row(given)["heart_rate_bpm"] == pytest.approx(whole["ECG_Rate"].mean(), abs=1)


@pytest.mark.parametrize("seconds", [10, 60])
@pytest.mark.parametrize("kind", ["white", "pink", "brown", "mains"])
def test_noise_is_no_heart(kind: str, seconds: int) -> None:
    assert [beats(noise(kind, seconds, seed), RATE_HZ) for seed in range(12)] == [None] * 12


def test_what_is_no_heart_is_no_error() -> None:
    """neurokit2 raises some error or other for several of these."""
    times_s = np.arange(20 * 256) / RATE_HZ
    for shape in (
        times_s > 10,
        np.arange(5120) == 2000,
        np.arange(5120) == 5119,
        np.where(times_s > 10, 0, noise("white", 20)),
        np.sign(np.sin(7 * times_s)),
        np.sin(20 * np.pi * times_s),
        np.sin(7.5 * times_s),
        times_s**2,
        1e30 * noise("white", 20),
        1e-30 * noise("white", 20),
    ):
        assert beats(np.asarray(shape, np.float64), RATE_HZ) is None
        assert np.isfinite(list(row(recording(Resp=("uV", shape))).values())).all()


def test_what_is_too_short_too_slow_or_no_sensor_is_absent() -> None:
    ecg = ecg_of(np.arange(0.3, 30, 0.8), 30)
    assert beats(ecg, RATE_HZ) is not None
    assert beats(ecg[: round(9 * RATE_HZ)], RATE_HZ) is None
    assert beats(ecg[::4], RATE_HZ / 4) is None
    assert beats(np.tile([0.0] * 255 + [1.0], 30), RATE_HZ) is not None  # a clock, but alike in all its beats
    given = recording(ECG=("mV", ecg[: round(9 * RATE_HZ)]), GSR1=("uS", 3 + 0 * ecg[: round(9 * RATE_HZ)]))
    frames = extractors.build("physio")(given, RATE_HZ)
    assert not frames.valid.any()


# ---------------------------------------------------------------------- breath, skin, warmth


@pytest.mark.parametrize("per_min", [8, 15, 25])
def test_breaths_of_a_simulated_belt(per_min: int) -> None:
    resp = simulated("rsp", respiratory_rate=per_min)
    found = row(recording(Resp=("uV", 4000 + 900 * resp)))
    assert found["resp_present"] == 1
    assert found["breaths_per_min"] == pytest.approx(per_min, abs=1)


def test_breaths_by_formula() -> None:
    times_s = np.arange(60 * 32) / 32
    found = breaths(np.sin(2 * np.pi * times_s / 4), 32.0)
    assert found is not None
    np.testing.assert_allclose(np.diff(found), 4, atol=0.07)
    np.testing.assert_allclose((found[2:-2] % 4), 1, atol=0.15)  # where the sine is highest


@pytest.mark.parametrize("kind", ["white", "pink", "mains"])
def test_noise_is_no_breath(kind: str) -> None:
    for seconds in (10, 60):
        for seed in range(12):
            assert row(recording(Resp=("uV", noise(kind, seconds, seed))))["resp_present"] == 0


@pytest.mark.parametrize("n_responses", [0, 3, 6])
def test_skin_responses_of_a_simulated_skin(n_responses: int) -> None:
    gsr = (
        5 + simulated("eda", scr_number=n_responses, drift=-0.01, noise=0)
        if n_responses
        else 5 + np.linspace(0, 0.3, 60 * 256)
    )
    gsr = gsr + np.random.default_rng(0).normal(0, 0.002, len(gsr))
    found = row(recording(GSR1=("uS", gsr)))
    assert found["scr_per_min"] == n_responses
    assert (found["scr_amplitude_us"] > 0.05) == (n_responses > 0)
    assert found["scl_us"] == pytest.approx(gsr.mean(), rel=1e-3)


def test_skin_responses_have_their_height() -> None:
    """Two of 0.4 uS on a level of 8, one of 0.03 that does not count."""
    times_s = np.arange(60 * 32) / 32
    gsr = 8 + sum(height * np.exp(-(((times_s - at) / 1.5) ** 2)) for at, height in ((15, 0.4), (40, 0.4), (52, 0.03)))
    found = skin(gsr, 32.0, 0.05)
    assert found["scr_per_min"] == pytest.approx(2)
    assert found["scr_amplitude_us"] == pytest.approx(0.4, rel=0.15)


@pytest.mark.parametrize(("unit", "of_us"), [("Ohm", lambda us: 1e6 / us), ("kOhm", lambda us: 1e3 / us), ("nS", lambda us: 1e3 * us), ("\N{MICRO SIGN}S", lambda us: us)])  # fmt: skip
def test_resistance_and_conductance_are_one(unit: str, of_us: Any) -> None:
    gsr = 6 + 0.5 * np.sin(np.arange(20 * 256) / 900)
    expected, found = row(recording(GSR1=("uS", gsr))), row(recording(GSR1=(unit, of_us(gsr))))
    np.testing.assert_allclose(list(found.values()), list(expected.values()), rtol=1e-4, atol=1e-4)
    said = row(recording(GSR1=("", of_us(gsr))), gsr_unit=unit)
    np.testing.assert_allclose(list(said.values()), list(expected.values()), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("unit", "of_c"), [("degC", lambda c: c), ("deg C", lambda c: c), ("K", lambda c: c + 273.15), ("degF", lambda c: 1.8 * c + 32)])  # fmt: skip
def test_temperature_has_a_level_and_a_slope(unit: str, of_c: Any) -> None:
    minutes = np.arange(60 * 256) / 256 / 60
    found = row(recording(Temp=(unit, of_c(30 + 0.5 * minutes))))
    assert found["temp_c"] == pytest.approx(30.25, abs=0.01)
    assert found["temp_slope_c_per_min"] == pytest.approx(0.5, abs=0.01)
    assert line(np.array([1.0, 2.0, 3.0]), 60.0) == pytest.approx((2.0, 3600.0))


# ---------------------------------------------------------------------- what is not there


def everything(seconds: int = 20) -> dict[str, tuple[str, NDArray[Any]]]:
    times_s = np.arange(round(seconds * RATE_HZ)) / RATE_HZ
    return {
        "EXG1": ("uV", 0 * times_s),
        "EXG3": ("uV", 1000 * ecg_of(np.arange(0.5, seconds, 0.75), seconds)),
        "GSR1": ("Ohm", 2e5 + 1e4 * np.sin(times_s / 4)),
        "Resp": ("uV", 900 * np.sin(2 * np.pi * times_s / 4)),
        "Temp": ("degC", 31 + times_s / 100),
    }


@pytest.mark.parametrize(
    ("channel", "broken", "lost"),
    [
        ("EXG3", 0.0, "ecg"),
        ("GSR1", 2e5, "gsr"),
        ("GSR1", "detached", "gsr"),
        ("Resp", 7.0, "resp"),
        ("Temp", 30.0, "temp"),
        ("Temp", "detached", "temp"),
        ("EXG3", None, "ecg"),
        ("Temp", None, "temp"),
    ],
)
def test_one_sensor_less_is_said_and_the_others_stay(channel: str, broken: Any, lost: str) -> None:
    channels = everything()
    whole = row(recording(**channels))
    assert [whole[name] for name in ABSENT] == [1, 1, 1, 1]
    unit, values = channels.pop(channel)
    if broken == "detached":
        values = {"GSR1": 5e8, "Temp": -20.0}[channel] + np.random.default_rng(0).normal(0, 1, len(values))
    elif broken is not None:
        values = np.full(len(values), broken)
    if broken is not None:
        channels[channel] = (unit, values)
    found = row(recording(**channels))
    assert {name for name in ABSENT if not found[name]} == {f"{lost}_present"}
    groups = np.searchsorted([COLUMNS.index(name) for name in ABSENT], range(len(COLUMNS)), side="right")
    gone = list(ABSENT).index(f"{lost}_present") + 1
    for column, group in zip(COLUMNS, groups):
        assert found[column] == (0 if group == gone else pytest.approx(whole[column])), column


def test_a_sensor_can_be_left_out_and_named() -> None:
    channels = everything()
    channels["my heart"] = channels.pop("EXG3")
    assert row(recording(**channels))["ecg_present"] == 0
    assert row(recording(**channels), ecg=["My Heart"])["heart_rate_bpm"] == pytest.approx(80, abs=1)
    assert row(recording(**channels), temp=[])["temp_present"] == 0


@pytest.mark.parametrize(
    ("given", "reason", "message"),
    [
        ({"Fp1": ("uV", np.zeros(9000))}, "missing-channels", "Fp1.*name your own"),
        ({"GSR1": ("", np.arange(9000.0))}, "unknown-unit", "GSR1.*gsr_unit"),
        ({"Temp": ("uV", np.arange(9000.0))}, "unknown-unit", "Temp.*temp_unit"),
    ],
)
def test_what_cannot_be_read_gives_its_reason(given: dict[str, Any], reason: str, message: str) -> None:
    for name in ("physio", "physio-raw"):
        with pytest.raises(MediaError, match=message) as error:
            extractors.build(name)(recording(**given), RATE_HZ)
        assert error.value.reason == reason


def test_settings_that_make_no_sense_are_named() -> None:
    for name, settings, message in (
        ("physio", {"scr_us": 0.0}, "scr_us"),
        ("physio", {"ecg": [], "gsr": [], "resp": [], "temp": []}, "at least one"),
        ("physio-raw", {"resample_hz": 1.0}, "rate of 1 Hz"),
        ("physio", {"gsr_unit": "furlong"}, "gsr_unit.*furlong.*kohm"),
        ("physio", {"temp_unit": "Ohm"}, "temp_unit.*Ohm.*degc"),
    ):
        with pytest.raises(ExperimentError, match=f"{name}.*{message}"):
            extractors.build(name, **settings)


# ---------------------------------------------------------------------- curves


def test_curves_are_the_sensors_on_one_clock() -> None:
    channels = everything()
    frames = extractors.build("physio-raw")(recording(**channels), RATE_HZ)
    assert frames.values.shape == (640, 8)
    assert frames.valid.all()
    assert (frames.values[:, 4:] == 1).all()
    rate, gsr, resp, temp = frames.values[:, :4].T
    times_s = np.arange(640) / 32
    assert rate.mean() == pytest.approx(80, abs=1)
    np.testing.assert_allclose(gsr, 1e6 / (2e5 + 1e4 * np.sin(times_s / 4)), rtol=2e-3)
    np.testing.assert_allclose(resp[32:-32], 900 * np.sin(2 * np.pi * times_s / 4)[32:-32], atol=3)
    np.testing.assert_allclose(temp, 31 + times_s / 100, atol=2e-3)


def test_a_curve_that_is_not_there_is_zero_and_says_so() -> None:
    channels = everything()
    del channels["EXG3"]
    channels["Temp"] = ("degC", np.full(len(channels["Temp"][1]), 30.0))
    frames = extractors.build("physio-raw")(recording(**channels), RATE_HZ)
    assert frames.valid.all()
    assert not frames.values[:, [0, 3, 4, 7]].any()
    assert (frames.values[:, [5, 6]] == 1).all()
    ecg_alone = extractors.build("physio-raw")(recording(ECG=("mV", everything()["EXG3"][1])), RATE_HZ)
    assert ecg_alone.values.shape == (640, 8)
    assert (ecg_alone.values[:, 0] > 70).all()


def test_heart_rate_is_that_of_the_interval_at_its_middle() -> None:
    """From 60 to 100 a minute; the curve of the last interval is held."""
    beats_s = [0.5]
    while beats_s[-1] < 39:
        beats_s.append(beats_s[-1] + 60 / (60 + beats_s[-1]))
    frames = extractors.build("physio-raw")(recording(ECG=("mV", ecg_of(beats_s, 40))), RATE_HZ)
    times_s = np.arange(len(frames.values)) / 32
    middle = (times_s > 2) & (times_s < 37)
    np.testing.assert_allclose(frames.values[middle, 0], (60 + times_s - 0.4)[middle], atol=1.2)
