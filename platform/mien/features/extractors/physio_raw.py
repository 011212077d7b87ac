"""Heart rate, skin conductance, breathing and skin temperature as curves on one clock."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from mien.features.extractors.physio_signal import ECG, GSR, RESP, TEMP, Sensors
from mien.features.spec import FeatureSpec, Frames, Kind, Signals

COLUMNS = (
    "heart_rate_bpm",
    "gsr_us",
    "resp",
    "temp_c",
    "ecg_present",
    "gsr_present",
    "resp_present",
    "temp_present",
)


@dataclass(frozen=True, kw_only=True, slots=True)
class PhysioRawSettings:
    """Curves of heart rate, skin conductance, breathing and skin temperature, and whether each sensor is there."""

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
    resample_hz: float = 32.0
    """Frames per second, at least 8."""

    def build(self) -> PhysioRaw:
        sensors = Sensors(
            ecg=self.ecg,
            gsr=self.gsr,
            resp=self.resp,
            temp=self.temp,
            gsr_unit=self.gsr_unit,
            temp_unit=self.temp_unit,
            slow_hz=self.resample_hz,
        )
        spec = FeatureSpec(
            name="physio-raw",
            version=1,
            modality="physio",
            shape=(len(COLUMNS),),
            hop_s=1 / self.resample_hz,
            columns=COLUMNS,
            settings=sensors.to_json(),
        )
        return PhysioRaw(spec=spec, sensors=sensors)


@dataclass(frozen=True, kw_only=True)
class PhysioRaw:
    """Extractor of the sensors' curves: COLUMNS at a constant rate.

    heart_rate_bpm: of the interval between two beats, at its middle, and on the line between two; the ECG itself would
    lose its peaks at this rate. resp: in the unit of the file, its median taken away. Where a sensor is absent
    (`mien.features.extractors.physio_signal`), its curve and its `_present` are 0 in all frames; where all are, no
    frame is valid. A belt that moves is present, even where no breaths are found in it.
    """

    spec: FeatureSpec
    sensors: Sensors
    medium: ClassVar[str] = "physio"
    kind: ClassVar[Kind] = "signals"
    rate_hz: ClassVar[float] = 0.0
    is_heavy: ClassVar[bool] = False

    def __call__(self, signal: Signals, rate_hz: float) -> Frames:
        body = self.sensors(signal)
        curves = (body.gsr_us, body.resp, body.temp_c)
        usual = max(1, round(body.length_s * self.sensors.slow_hz))
        n_frames = min((len(curve) for curve in curves if curve is not None), default=usual)
        times_s = np.arange(n_frames) / self.sensors.slow_hz
        values = np.zeros((n_frames, len(COLUMNS)))
        for column, curve in enumerate(curves, start=1):
            if curve is not None:
                values[:, column], values[:, column + 4] = curve, 1.0
        if body.beats_s is not None:
            intervals_s = np.diff(body.beats_s)
            values[:, 0] = np.interp(times_s, (body.beats_s[1:] + body.beats_s[:-1]) / 2, 60 / intervals_s)
            values[:, 4] = 1.0
        return Frames(values.astype(np.float32), (values[:, 4:] > 0).max(axis=1))
