"""What the body's sensors say, each tested first: heart beats, skin conductance, breathing, temperature.

Sensors are found by name; each setting lists names, of which the first that the recording has is taken. "A-B" is the
difference of two electrodes: MAHNOB-HCI has its ECG on EXG1 (right shoulder), EXG2 (left shoulder) and EXG3 (left
abdomen), each against the amplifier's own reference, and EXG3-EXG1 is Einthoven's lead II.

neurokit2 (Makowski et al. 2021) cleans the ECG and finds its beats. It raises errors for a sensor that stands still and
gives numbers for noise, so its input and its output are both tested here. A sensor is absent, which is an outcome and
no error, when

- the recording lacks it, or it stands still;
- ECG: it lasts less than 10 s or has less than 100 Hz; fewer than 5 beats; a tenth of the intervals outside 30 to 220
  beats a minute; long intervals more than 2.2 times the short ones (95th and 5th percentile); or beats that resemble
  their mean by a correlation below 0.66 (Orphanidou et al. 2015, who ask for 40 to 180 a minute);
- breathing: it lasts less than 10 s; fewer than 4 breaths; a fifth of them outside 4 to 40 a minute; or breaths that
  resemble their mean, on one length, by a correlation below 0.75 (Charlton et al. 2021);
- skin conductance: a tenth of it outside 0.05 to 60 uS (Kleckner et al. 2018);
- temperature: a tenth of it outside 15 to 42 degC.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from mien.errors import ExperimentError, MediaError
from mien.features.extractors.sensors import Samples, places, plain_name, plain_unit, resampled, unit_of
from mien.features.spec import Signals

ECG = ("ECG", "EKG", "EXG3-EXG1", "EXG2-EXG1", "EXG1")
GSR = ("GSR1", "GSR", "EDA", "SC")
RESP = ("Resp", "RSP", "Respiration")
TEMP = ("Temp", "SKT", "Temperature")
SHORTEST_S = 10.0  # of beats and breaths: below it there are too few to tell them from noise

_OHM = {"ohm": 1.0, "ω": 1.0, "kohm": 1e3, "kω": 1e3, "mohm": 1e6, "mω": 1e6}  # nobody's skin has milliohms
_TO_US = {"us": 1.0, "usiemens": 1.0, "umho": 1.0, "ns": 1e-3, "ms": 1e3, "s": 1e6}
# 0 degC in the unit, and how many of it are one degree Celsius.
_TO_CELSIUS = {
    **dict.fromkeys(("degc", "c", "°c", "degreec", "degreecelsius", "celsius"), (0.0, 1.0)),
    **dict.fromkeys(("k", "kelvin"), (273.15, 1.0)),
    **dict.fromkeys(("degf", "f", "°f", "degreef", "fahrenheit"), (32.0, 1.8)),
}
_GSR_US = (0.05, 60.0)
_TEMP_C = (15.0, 42.0)
_LOWEST_ECG_HZ = 100.0


class Body(NamedTuple):
    """What was found in one recording; None where a sensor is absent.

    beats_s: times of the heart beats. gsr_us: skin conductance in uS, resp: the breathing belt in its own unit, its
    median taken away, temp_c: skin temperature in degC, each (n,) at the rate that was asked for. breaths_s: times at
    which breaths end; None too where the belt moves, but not as people breathe. length_s: of the recording.
    """

    length_s: float
    beats_s: Samples | None
    gsr_us: Samples | None
    resp: Samples | None
    breaths_s: Samples | None
    temp_c: Samples | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Sensors:
    """Which channels are which sensor, and at what rate the slow ones are wanted."""

    ecg: tuple[str, ...] = ECG
    gsr: tuple[str, ...] = GSR
    resp: tuple[str, ...] = RESP
    temp: tuple[str, ...] = TEMP
    gsr_unit: str = ""
    temp_unit: str = ""
    slow_hz: float = 32.0

    def __post_init__(self) -> None:
        if not self.ecg + self.gsr + self.resp + self.temp:
            raise ExperimentError("ecg, gsr, resp, temp: name the channels of at least one sensor")
        for setting, said, known in (
            ("gsr_unit", self.gsr_unit, {**_OHM, **_TO_US}),
            ("temp_unit", self.temp_unit, _TO_CELSIUS),
        ):
            if said and plain_unit(said) not in known:
                raise ExperimentError(f"{setting} {said!r}: is none of {', '.join(known)}")
        if self.slow_hz < 8:
            raise ExperimentError(
                f"a rate of {self.slow_hz:g} Hz: use at least 8, or breaths and skin responses are lost"
            )

    def to_json(self) -> dict[str, Any]:
        """What of it changes the numbers, for a spec."""
        return {
            **{key: list(value) if isinstance(value, tuple) else value for key, value in asdict(self).items()},
            "neurokit2": version("neurokit2"),
        }

    def __call__(self, signal: Signals) -> Body:
        """Raises MediaError "missing-channels" where the recording has none of the sensors, "unknown-unit"."""
        ecg, gsr, resp, temp = (channel(signal, names) for names in (self.ecg, self.gsr, self.resp, self.temp))
        if not (ecg or gsr or resp or temp):
            raise MediaError(
                "missing-channels",
                f"it has none of the sensors that were asked for, but {' '.join(signal.names[:8])}; name your own by "
                "ecg, gsr, resp and temp",
            )
        rate_hz = signal.rate_hz
        gsr_us = within(moving(gsr and conductance_us(gsr, self.gsr_unit)), _GSR_US)
        temp_c = within(moving(temp and celsius(temp, self.temp_unit)), _TEMP_C)
        wave, belt = moving(ecg and ecg.values), moving(resp and resp.values - np.median(resp.values))
        slow = [None if v is None else resampled(v, rate_hz, self.slow_hz) for v in (gsr_us, belt, temp_c)]
        return Body(
            length_s=len(signal.values) / rate_hz,
            beats_s=None if wave is None else beats(wave, rate_hz),
            gsr_us=slow[0],
            resp=slow[1],
            breaths_s=None if slow[1] is None else breaths(slow[1], self.slow_hz),
            temp_c=slow[2],
        )


class Channel(NamedTuple):
    """values: (N,) in the unit of the file. unit: as `unit_of` writes it."""

    name: str
    values: Samples
    unit: str


def channel(signal: Signals, names: Sequence[str]) -> Channel | None:
    """The first of these names that the recording has, a channel or the difference of two."""
    present = places(signal)
    for name in names:
        parts = [name] if plain_name(name) in present else name.split("-", 1)
        if all(plain_name(part) in present for part in parts):
            first, *second = (present[plain_name(part)] for part in parts)
            values = signal.values[:, first].astype(np.float64)
            for column in second:
                values -= signal.values[:, column]
            return Channel(name, values, unit_of(signal, first))
    return None


def conductance_us(found: Channel, said: str) -> Samples:
    """Skin conductance in uS; of a resistance, its inverse. said: the unit, where not the header's."""
    unit = plain_unit(said) or found.unit
    if unit in _OHM:
        ohm = found.values * _OHM[unit]
        return np.divide(1e6, ohm, out=np.zeros_like(ohm), where=ohm > 0)
    if unit in _TO_US:
        return found.values * _TO_US[unit]
    raise MediaError(
        "unknown-unit",
        f"channel {found.name}: its unit is {unit!r}, neither of resistance (Ohm, kOhm, MOhm) nor of conductance (uS, "
        "nS); say it by gsr_unit, or leave the sensor out",
    )


def celsius(found: Channel, said: str) -> Samples:
    """Temperature in degC. said: the unit, where not the header's."""
    unit = plain_unit(said) or found.unit
    if unit not in _TO_CELSIUS:
        raise MediaError(
            "unknown-unit",
            f"channel {found.name}: its unit is {unit!r}, none of degC, K and degF; say it by temp_unit, or leave the "
            "sensor out",
        )
    zero, per_degree = _TO_CELSIUS[unit]
    return (found.values - zero) / per_degree


def moving(values: Samples | None) -> Samples | None:
    """The values, none where they stand still."""
    return None if values is None or np.ptp(values) == 0 else values


def within(values: Samples | None, limits: tuple[float, float]) -> Samples | None:
    """The values, none where a tenth of them lie outside; the few that do are brought to the limits."""
    if values is None or ((values < limits[0]) | (values > limits[1])).mean() > 0.1:
        return None
    return np.clip(values, *limits)


def beats(ecg: Samples, rate_hz: float) -> Samples | None:
    """Times in s of the R peaks of an ECG, which may be upside down; None where it is not believed to be one."""
    if len(ecg) < SHORTEST_S * rate_hz or rate_hz < _LOWEST_ECG_HZ:
        return None
    import neurokit2

    cleaned = neurokit2.ecg_clean(ecg, sampling_rate=rate_hz)
    low, high = np.percentile(cleaned, [0.5, 99.5])
    cleaned = cleaned if high >= -low else -cleaned  # electrodes the other way round: R would be a valley
    peaks = np.asarray(neurokit2.ecg_peaks(cleaned, sampling_rate=rate_hz)[1]["ECG_R_Peaks"], np.int64)
    # Between the beats of a slow heart it takes noise for beats, of a fiftieth of their height and less.
    peaks = peaks[cleaned[peaks] > 0.3 * np.median(cleaned[peaks])] if len(peaks) else peaks
    if len(peaks) < 5:
        return None
    intervals_s = np.diff(peaks) / rate_hz
    short_s, long_s = np.percentile(intervals_s, [5, 95])
    if possible(intervals_s).mean() < 0.9 or long_s > 2.2 * short_s:
        return None
    half = int(np.median(intervals_s) * rate_hz / 2)
    shapes = [cleaned[peak - half : peak + half] for peak in peaks if half <= peak < len(cleaned) - half]
    return peaks / rate_hz if resemblance(shapes) >= 0.66 else None


def possible(intervals_s: Samples) -> NDArray[np.bool_]:
    """Which intervals between beats a human heart can have: 30 to 220 a minute."""
    return (intervals_s >= 60 / 220) & (intervals_s <= 60 / 30)


def breaths(resp: Samples, rate_hz: float) -> Samples | None:
    """Times in s at which breaths were fullest; None where it is not believed to be breathing.

    The belt between 0.05 and 3 Hz (Khodadad et al. 2018); a breath is a peak that stands above its surroundings by the
    standard deviation or more, about a third of a sine's height.
    """
    if len(resp) < SHORTEST_S * rate_hz:
        return None
    from scipy.signal import butter, find_peaks, sosfiltfilt

    cleaned = sosfiltfilt(butter(2, (0.05, 3), "bandpass", fs=rate_hz, output="sos"), resp - resp.mean())
    peaks = find_peaks(cleaned, prominence=cleaned.std())[0]
    if len(peaks) < 4:
        return None
    lengths_s = np.diff(peaks) / rate_hz
    if ((lengths_s >= 60 / 40) & (lengths_s <= 60 / 4)).mean() < 0.8:
        return None
    times = np.arange(len(cleaned))
    shapes = [np.interp(np.linspace(first, last, 50), times, cleaned) for first, last in pairwise(peaks)]
    return peaks / rate_hz if resemblance(shapes) >= 0.75 else None


def resemblance(shapes: Sequence[Samples]) -> float:
    """Mean correlation of shapes of one length with their mean; 0 where one of them is a line."""
    if not shapes:
        return 0.0
    centred = np.array(shapes)
    centred -= centred.mean(axis=1, keepdims=True)
    mean = centred.mean(axis=0)
    lengths = np.linalg.norm(centred, axis=1) * np.linalg.norm(mean)
    return float((centred @ mean / lengths).mean()) if lengths.all() else 0.0
