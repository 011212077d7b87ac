"""How the heart beats, the skin sweats, the chest breathes and warm the skin is: one row a clip."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from mien.errors import ExperimentError
from mien.features.extractors.physio_signal import ECG, GSR, RESP, SHORTEST_S, TEMP, Sensors, possible
from mien.features.extractors.sensors import Samples
from mien.features.spec import FeatureSpec, Frames, Kind, Signals

COLUMNS = (
    "ecg_present",
    "heart_rate_bpm",
    "sdnn_ms",
    "rmssd_ms",
    "pnn50",
    "hf_present",
    "hf_ln_ms2",
    "lf_present",
    "lf_ln_ms2",
    "gsr_present",
    "scl_us",
    "scl_slope_us_per_min",
    "scr_per_min",
    "scr_amplitude_us",
    "resp_present",
    "breaths_per_min",
    "breath_sd_s",
    "temp_present",
    "temp_c",
    "temp_slope_c_per_min",
)
HF_S, LF_S = 60.0, 120.0  # ten waves of the slowest rhythm of each band, about (Task Force 1996)
_HF_HZ, _LF_HZ = (0.15, 0.4), (0.04, 0.15)
_RR_HZ = 4.0  # of the interpolated intervals between beats


@dataclass(frozen=True, kw_only=True, slots=True)
class PhysioSettings:
    """Heart rate and its variability, skin conductance, breathing and skin temperature of the whole clip: one row."""

    ecg: tuple[str, ...] = ECG
    """Names of the ECG, of which the first that is there is taken; "A-B" is a difference. None: left out."""
    gsr: tuple[str, ...] = GSR
    """Names of the skin conductance or resistance."""
    resp: tuple[str, ...] = RESP
    """Names of the breathing belt."""
    temp: tuple[str, ...] = TEMP
    """Names of the skin temperature."""
    gsr_unit: str = ""
    """Unit of the skin's channel where the header has none or a wrong one: uS, nS, Ohm, kOhm or MOhm."""
    temp_unit: str = ""
    """Unit of the temperature where the header has none or a wrong one: degC, K or degF."""
    scr_us: float = 0.05
    """How far the conductance must rise to count as a skin response, in uS."""

    def build(self) -> Physio:
        if self.scr_us <= 0:
            raise ExperimentError(f"scr_us {self.scr_us:g}: must be above 0")
        sensors = Sensors(
            ecg=self.ecg,
            gsr=self.gsr,
            resp=self.resp,
            temp=self.temp,
            gsr_unit=self.gsr_unit,
            temp_unit=self.temp_unit,
        )
        spec = FeatureSpec(
            name="physio",
            version=1,
            modality="physio",
            shape=(len(COLUMNS),),
            hop_s=None,
            columns=COLUMNS,
            settings={**sensors.to_json(), "scr_us": self.scr_us, "shortest_s": SHORTEST_S},
        )
        return Physio(spec=spec, sensors=sensors, scr_us=self.scr_us)


@dataclass(frozen=True, kw_only=True)
class Physio:
    """Extractor of one row over the whole clip: COLUMNS.

    Where a sensor is absent (`mien.features.extractors.physio_signal`) its columns are 0, the `_present` of it too. The
    row is valid when there is at least one sensor and the clip has SHORTEST_S.
    """

    spec: FeatureSpec
    sensors: Sensors
    scr_us: float
    medium: ClassVar[str] = "physio"
    kind: ClassVar[Kind] = "signals"
    rate_hz: ClassVar[float] = 0.0
    is_heavy: ClassVar[bool] = False

    def __call__(self, signal: Signals, rate_hz: float) -> Frames:
        row = dict.fromkeys(COLUMNS, 0.0)
        if len(signal.values) >= SHORTEST_S * signal.rate_hz:
            body = self.sensors(signal)
            slow_hz = self.sensors.slow_hz
            if body.beats_s is not None:
                row |= heart(body.beats_s)
            if body.gsr_us is not None:
                row |= skin(body.gsr_us, slow_hz, self.scr_us)
            if body.breaths_s is not None:
                lengths_s = np.diff(body.breaths_s)
                row |= {
                    "resp_present": 1.0,
                    "breaths_per_min": 60 / float(lengths_s.mean()),
                    "breath_sd_s": float(lengths_s.std(ddof=1)),
                }
            if body.temp_c is not None:
                level, slope = line(body.temp_c, slow_hz)
                row |= {"temp_present": 1.0, "temp_c": level, "temp_slope_c_per_min": slope}
        is_valid = any(row[column] for column in COLUMNS if column.endswith("_present"))
        return Frames(np.array([list(row.values())], np.float32), np.array([is_valid]))


def heart(beats_s: Samples) -> dict[str, float]:
    """Rate and variability (Task Force 1996) of beats at these times.

    Intervals that no heart can have, or 30 % from the median of the eleven around them (a beat missed, or one too
    many), are left out, and so are differences to them. sdnn has N - 1 below; pnn50 is a share, in [0, 1]. lf and hf
    are the logarithm of the power of the intervals in ms², interpolated at 4 Hz, in 0.04 to 0.15 and 0.15 to 0.4 Hz.
    """
    from scipy.interpolate import CubicSpline
    from scipy.ndimage import median_filter
    from scipy.signal import welch

    intervals_s = np.diff(beats_s)
    around_s = median_filter(intervals_s, 11, mode="nearest")
    is_normal = possible(intervals_s) & (np.abs(intervals_s / around_s - 1) < 0.3)
    normal_ms = 1000 * intervals_s[is_normal]
    steps_ms = 1000 * np.diff(intervals_s)[is_normal[1:] & is_normal[:-1]]
    if len(normal_ms) < 4 or not len(steps_ms):
        return {}
    found = {
        "ecg_present": 1.0,
        "heart_rate_bpm": 60_000 / float(normal_ms.mean()),
        "sdnn_ms": float(normal_ms.std(ddof=1)),
        "rmssd_ms": float(np.sqrt((steps_ms**2).mean())),
        "pnn50": float((np.abs(steps_ms) > 50 + 1e-6).mean()),  # 50 ms to the bit are not more
    }
    times_s = beats_s[1:][is_normal]
    length_s = float(times_s[-1] - times_s[0])
    grid_s = np.arange(times_s[0], times_s[-1], 1 / _RR_HZ)
    n_samples = min(len(grid_s), round(LF_S * _RR_HZ))
    frequencies_hz, density = welch(
        CubicSpline(times_s, normal_ms)(grid_s), _RR_HZ, nperseg=n_samples, detrend="linear"
    )
    step_hz = _RR_HZ / n_samples
    for name, (low_hz, high_hz), least_s in (("hf", _HF_HZ, HF_S), ("lf", _LF_HZ, LF_S)):
        # The first and the last beat lie within the clip: so its length is a little longer than that of the intervals.
        if length_s >= 0.95 * least_s:
            power = density[(frequencies_hz >= low_hz) & (frequencies_hz < high_hz)].sum() * step_hz
            found |= {f"{name}_present": 1.0, f"{name}_ln_ms2": float(np.log(max(power, 1e-3)))}
    return found


def skin(gsr_us: Samples, rate_hz: float, scr_us: float) -> dict[str, float]:
    """Level, slope, and responses of the skin's conductance (Boucsein 2012).

    A response is a peak of the conductance below 3 Hz that stands scr_us or more above the lowest point of the 5 s
    before it, and of the 5 s after it (its prominence); scr_amplitude_us is their mean, 0 where there is none.
    """
    from scipy.signal import butter, find_peaks, sosfiltfilt

    level, slope = line(gsr_us, rate_hz)
    cleaned = sosfiltfilt(butter(4, 3, fs=rate_hz, output="sos"), gsr_us)
    heights = find_peaks(cleaned, prominence=scr_us, wlen=2 * round(5 * rate_hz) + 1)[1]["prominences"]
    return {
        "gsr_present": 1.0,
        "scl_us": level,
        "scl_slope_us_per_min": slope,
        "scr_per_min": len(heights) / (len(gsr_us) / rate_hz / 60),
        "scr_amplitude_us": float(heights.mean()) if len(heights) else 0.0,
    }


def line(values: Samples, rate_hz: float) -> tuple[float, float]:
    """Mean of samples, and slope per minute of the line through them (least squares)."""
    minutes = (np.arange(len(values)) - (len(values) - 1) / 2) / rate_hz / 60
    return float(values.mean()), float(minutes @ values / (minutes @ minutes))
