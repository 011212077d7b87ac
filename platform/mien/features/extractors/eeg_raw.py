"""The EEG itself, for models that learn their own filters: windows of all channels at one rate."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from mien.errors import ExperimentError
from mien.features.extractors.eeg_signal import BIOSEMI_32, THRESHOLD_UV, Cleaning, Reference
from mien.features.extractors.sensors import cut, resampled, window_starts
from mien.features.spec import FeatureSpec, Frames, Kind, Signals


@dataclass(frozen=True, kw_only=True, slots=True)
class EegRawSettings:
    """Windows of filtered, re-referenced and resampled EEG in uV: frames of channels by samples."""

    channels: tuple[str, ...] = BIOSEMI_32
    """Channels by name, in the order of the rows of a frame."""
    resample_hz: float = 128.0
    """Samples per second of a frame."""
    window_s: float = 1.0
    """Length of a window; with resample_hz, a whole number of samples."""
    hop_s: float = 1.0
    """From one window to the next."""
    high_hz: float = 49.0
    """What is as fast or faster is filtered out: mains, much of the muscles. Below 0.8 of it all is kept."""
    reference: Reference = "average"
    """average of all channels, or none: as recorded."""
    threshold_uv: float = THRESHOLD_UV
    """A window in which more than a quarter of the channels exceed this is masked."""

    def build(self) -> EegRaw:
        n_samples = self.window_s * self.resample_hz
        if n_samples < 1 or abs(n_samples - round(n_samples)) > 1e-6 or self.hop_s <= 0 or self.high_hz <= 1:
            raise ExperimentError(
                f"window_s {self.window_s:g} times resample_hz {self.resample_hz:g} must be a whole number of samples, "
                f"hop_s {self.hop_s:g} above 0, high_hz {self.high_hz:g} above 1"
            )
        cleaning = Cleaning(channels=self.channels, reference=self.reference, threshold_uv=self.threshold_uv)
        spec = FeatureSpec(
            name="eeg-raw",
            version=1,
            modality="eeg",
            shape=(len(self.channels), round(n_samples)),
            hop_s=self.hop_s,
            offset_s=self.window_s / 2,
            settings={
                **cleaning.to_json(),
                "resample_hz": self.resample_hz,
                "window_s": self.window_s,
                "high_hz": self.high_hz,
            },
        )
        return EegRaw(spec=spec, cleaning=cleaning, resample_hz=self.resample_hz, high_hz=self.high_hz)


@dataclass(frozen=True, kw_only=True)
class EegRaw:
    """Extractor of windows (channels, samples). A clip shorter than one window gives one masked frame.

    The low-pass is a Chebyshev of type II and eighth order, run forwards and backwards: from high_hz on, less than a
    ten-thousandth of the power is left. Resampling takes out what half of resample_hz cannot hold.
    """

    spec: FeatureSpec
    cleaning: Cleaning
    resample_hz: float
    high_hz: float
    medium: ClassVar[str] = "eeg"
    kind: ClassVar[Kind] = "signals"
    rate_hz: ClassVar[float] = 0.0
    is_heavy: ClassVar[bool] = False

    def __call__(self, signal: Signals, rate_hz: float) -> Frames:
        assert self.spec.hop_s is not None
        n_samples = self.spec.shape[1]
        if len(signal.values) / signal.rate_hz < n_samples / self.resample_hz:
            return Frames(np.zeros((1, *self.spec.shape), np.float32), np.zeros(1, np.bool_))
        from scipy.signal import cheby2, sosfiltfilt

        eeg = self.cleaning(signal)
        values = eeg.values
        if self.high_hz < eeg.rate_hz / 2:
            sections = cheby2(8, 20, self.high_hz, fs=eeg.rate_hz, output="sos")
            values = sosfiltfilt(sections, values, axis=1)
        eeg = eeg._replace(values=resampled(values, eeg.rate_hz, self.resample_hz), rate_hz=self.resample_hz)
        starts, length = window_starts(
            eeg.values.shape[1], self.resample_hz, n_samples / self.resample_hz, self.spec.hop_s
        )
        valid = self.cleaning.good_windows(eeg, starts, length)
        frames = np.where(valid[:, None, None], cut(eeg.values, starts, length), 0.0)
        return Frames(frames.astype(np.float32), valid)
