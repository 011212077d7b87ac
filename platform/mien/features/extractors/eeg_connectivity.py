"""How the channels of the EEG go together: coherence, phase locking or phase lag of each pair, one row a clip."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from mien.errors import ExperimentError
from mien.features.extractors.eeg_signal import BANDS, BIOSEMI_32, THRESHOLD_UV, Cleaning, Reference, bins_of
from mien.features.extractors.sensors import cut, window_starts
from mien.features.spec import FeatureSpec, Frames, Kind, Signals

Method = Literal["wpli", "coherence", "plv"]

FEWEST_WINDOWS = 4  # of one window everything goes together with everything
_RHYTHMS = {name: band for name, band in BANDS.items() if name != "delta"}  # of delta, a window holds too few waves


@dataclass(frozen=True, kw_only=True, slots=True)
class EegConnectivitySettings:
    """Coherence, phase locking or phase lag of each pair of EEG channels in theta, alpha, beta and gamma: one row."""

    channels: tuple[str, ...] = BIOSEMI_32
    """Channels by name; the columns are their pairs, n (n - 1) / 2 of n channels."""
    method: Method = "wpli"
    """wpli: weighted phase lag index, deaf to what one source sends to two channels at once. coherence: its modulus.
    plv: phase locking value, which amplitudes do not enter."""
    window_s: float = 2.0
    """Length of a window, at least 1 s: four waves of theta."""
    hop_s: float = 1.0
    """From one window to the next."""
    reference: Reference = "average"
    """average of all channels, or none: as recorded."""
    threshold_uv: float = THRESHOLD_UV
    """A window in which more than a quarter of the channels exceed this is left out."""

    def build(self) -> EegConnectivity:
        if self.window_s < 1 or self.hop_s <= 0:
            raise ExperimentError(f"window_s {self.window_s:g} must be at least 1, hop_s {self.hop_s:g} above 0")
        if len(self.channels) < 2:
            raise ExperimentError(f"channels {' '.join(self.channels)!r}: a pair needs two")
        cleaning = Cleaning(channels=self.channels, reference=self.reference, threshold_uv=self.threshold_uv)
        columns = tuple(
            f"{self.channels[one]}-{self.channels[other]}_{band}"
            for one, other in zip(*np.tril_indices(len(self.channels), -1))
            for band in _RHYTHMS
        )
        spec = FeatureSpec(
            name="eeg-connectivity",
            version=1,
            modality="eeg",
            shape=(len(columns),),
            hop_s=None,
            columns=columns,
            settings={
                **cleaning.to_json(),
                "method": self.method,
                "window_s": self.window_s,
                "hop_s": self.hop_s,
                "fewest_windows": FEWEST_WINDOWS,
                "bands_hz": {name: list(band) for name, band in _RHYTHMS.items()},
            },
        )
        return EegConnectivity(
            spec=spec, cleaning=cleaning, method=self.method, window_s=self.window_s, window_hop_s=self.hop_s
        )


@dataclass(frozen=True, kw_only=True)
class EegConnectivity:
    """Extractor of connectivity over the windows of a clip; masked where fewer than FEWEST_WINDOWS are good.

    Each window is tapered (Hann) and transformed. With S the cross spectrum of two channels in one window, and E the
    mean over windows, at each frequency, in [0, 1], and then averaged over the frequencies of the band:

        coherence  |E S| / sqrt(E Sxx · E Syy)
        plv        |E (S / |S|)|                          Lachaux et al. 1999
        wpli       |E Im S| / E |Im S|                    Vinck et al. 2011

    All grow as windows get fewer: of n independent windows, chance alone gives about 1 / sqrt(n).
    """

    spec: FeatureSpec
    cleaning: Cleaning
    method: Method
    window_s: float
    window_hop_s: float
    medium: ClassVar[str] = "eeg"
    kind: ClassVar[Kind] = "signals"
    rate_hz: ClassVar[float] = 0.0
    is_heavy: ClassVar[bool] = False

    def __call__(self, signal: Signals, rate_hz: float) -> Frames:
        starts, length = window_starts(len(signal.values), signal.rate_hz, self.window_s, self.window_hop_s)
        nothing = Frames(np.zeros((1, *self.spec.shape), np.float32), np.zeros(1, np.bool_))
        if len(starts) < FEWEST_WINDOWS:
            return nothing
        eeg = self.cleaning(signal)
        starts = starts[self.cleaning.good_windows(eeg, starts, length)]
        if len(starts) < FEWEST_WINDOWS:
            return nothing
        frequencies_hz = np.fft.rfftfreq(length, 1 / eeg.rate_hz).astype(np.float64)
        taper = np.hanning(length)
        wanted = np.logical_or.reduce([bins_of(band, frequencies_hz) for band in _RHYTHMS.values()])
        spectra = np.empty((wanted.sum(), len(starts), len(eeg.values)), np.complex128)
        for channel, samples in enumerate(eeg.values):
            windows = cut(samples, starts, length)
            windows -= windows.mean(axis=1, keepdims=True)
            spectra[:, :, channel] = np.fft.rfft(windows * taper)[:, wanted].T
        measure = {"coherence": _coherence, "plv": _plv, "wpli": _wpli}[self.method]
        one, other = np.tril_indices(len(eeg.values), -1)
        pairs = np.array([measure(spectrum)[one, other] for spectrum in spectra])
        rows = [pairs[bins_of(band, frequencies_hz[wanted])].mean(axis=0) for band in _RHYTHMS.values()]
        return Frames(np.stack(rows, axis=1).reshape(1, -1).astype(np.float32), np.ones(1, np.bool_))


Spectrum = NDArray[np.complex128]  # (windows, C) of one frequency


def _coherence(spectrum: Spectrum) -> NDArray[np.float64]:
    cross = np.abs(spectrum.T @ spectrum.conj())
    power = np.diag(cross)
    return _ratio(cross, np.sqrt(np.outer(power, power)))


def _plv(spectrum: Spectrum) -> NDArray[np.float64]:
    phase = np.exp(1j * np.angle(spectrum))
    return np.abs(phase.T @ phase.conj()) / len(spectrum)


def _wpli(spectrum: Spectrum) -> NDArray[np.float64]:
    lags = np.imag(spectrum[:, :, None] * spectrum[:, None, :].conj())
    return _ratio(np.abs(lags.sum(axis=0)), np.abs(lags).sum(axis=0))


def _ratio(above: NDArray[np.float64], below: NDArray[np.float64]) -> NDArray[np.float64]:
    """0 where both are."""
    return np.divide(above, below, out=np.zeros_like(above), where=below > 0)
