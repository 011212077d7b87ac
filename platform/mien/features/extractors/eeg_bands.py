"""How strong each rhythm of the EEG is: differential entropy or power of five bands, in sliding windows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from mien.errors import ExperimentError
from mien.features.extractors.eeg_signal import BANDS, BIOSEMI_32, THRESHOLD_UV, Cleaning, Reference, bins_of
from mien.features.extractors.sensors import Samples, cut, window_starts
from mien.features.spec import FeatureSpec, Frames, Kind, Signals

Measure = Literal["entropy", "power"]

_LEAST_UV2 = 1e-9  # of a band, before its logarithm


@dataclass(frozen=True, kw_only=True, slots=True)
class EegBandsSettings:
    """Differential entropy or log power of delta, theta, alpha, beta and gamma in each EEG channel, by windows."""

    channels: tuple[str, ...] = BIOSEMI_32
    """Channels by name, in the order of the columns."""
    window_s: float = 2.0
    """Length of a window, at least 1 s: one wave of delta."""
    hop_s: float = 1.0
    """From one window to the next."""
    measure: Measure = "entropy"
    """entropy: differential entropy in nats; power: natural logarithm of uV². Each is a line of the other."""
    reference: Reference = "average"
    """average of all channels, or none: as recorded."""
    threshold_uv: float = THRESHOLD_UV
    """A window in which more than a quarter of the channels exceed this is masked."""

    def build(self) -> EegBands:
        if self.window_s < 1 or self.hop_s <= 0:
            raise ExperimentError(f"window_s {self.window_s:g} must be at least 1, hop_s {self.hop_s:g} above 0")
        cleaning = Cleaning(channels=self.channels, reference=self.reference, threshold_uv=self.threshold_uv)
        columns = tuple(f"{channel}_{band}" for channel in self.channels for band in BANDS)
        spec = FeatureSpec(
            name="eeg-bands",
            version=1,
            modality="eeg",
            shape=(len(columns),),
            hop_s=self.hop_s,
            offset_s=self.window_s / 2,
            columns=columns,
            settings={
                **cleaning.to_json(),
                "window_s": self.window_s,
                "measure": self.measure,
                "bands_hz": {name: list(band) for name, band in BANDS.items()},
            },
        )
        return EegBands(spec=spec, cleaning=cleaning, window_s=self.window_s, measure=self.measure)


@dataclass(frozen=True, kw_only=True)
class EegBands:
    """Extractor of band powers. A clip shorter than one window gives one masked row.

    The power of a band is the integral of the window's spectral density over it: Hann window, mean taken out, two sides
    as one, so that a sine of amplitude a within the band gives a²/2. Differential entropy is that of a Gaussian of
    this power, 0.5 · ln(2 · pi · e · power) (Duan et al. 2013; Zheng and Lu 2015).
    """

    spec: FeatureSpec
    cleaning: Cleaning
    window_s: float
    measure: Measure
    medium: ClassVar[str] = "eeg"
    kind: ClassVar[Kind] = "signals"
    rate_hz: ClassVar[float] = 0.0
    is_heavy: ClassVar[bool] = False

    def __call__(self, signal: Signals, rate_hz: float) -> Frames:
        assert self.spec.hop_s is not None
        starts, length = window_starts(len(signal.values), signal.rate_hz, self.window_s, self.spec.hop_s)
        if not len(starts):
            return Frames(np.zeros((1, *self.spec.shape), np.float32), np.zeros(1, np.bool_))
        eeg = self.cleaning(signal)
        valid = self.cleaning.good_windows(eeg, starts, length)
        logarithms = np.log(np.maximum(_powers(eeg.values, eeg.rate_hz, starts, length), _LEAST_UV2))
        if self.measure == "entropy":
            logarithms = 0.5 * (np.log(2 * np.pi * np.e) + logarithms)
        rows = logarithms.reshape(len(starts), -1)
        return Frames(np.where(valid[:, None], rows, 0.0).astype(np.float32), valid)


def _powers(values: Samples, rate_hz: float, starts: NDArray[np.int64], length: int) -> Samples:
    """(T, C, bands) uV²; a channel at a time, so that an hour's windows are not in memory at once."""
    from scipy.signal import periodogram

    powers = np.empty((len(starts), len(values), len(BANDS)))
    for channel, samples in enumerate(values):
        frequencies_hz, density = periodogram(cut(samples, starts, length), rate_hz, "hann", detrend="constant")
        for number, band in enumerate(BANDS.values()):
            powers[:, channel, number] = density[:, bins_of(band, frequencies_hz)].sum(axis=1) * rate_hz / length
    return powers
