"""Sound to spectra: log-mel energies, MFCC, level and shape of the spectrum, rhythm. By numpy alone.

The numbers are librosa's (McFee et al. 2015), which is the second opinion of the tests. It is not called here: its
import costs a worker 2 s of CPU and its first spectrogram another 1 s, since it loads numba, and this takes a few
milliseconds a clip.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import ClassVar, Literal, get_args

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from mien.errors import ExperimentError, MediaError
from mien.features.extractors.pooling import mean_rows, rows_of
from mien.features.spec import FeatureSpec, Frames, Kind

Group = Literal["mel", "mfcc", "descriptors", "rhythm"]
GROUPS: tuple[Group, ...] = get_args(Group)

RATE_HZ = 16_000
STEP_S = 0.01
STEP = round(STEP_S * RATE_HZ)
SHORTEST_FFT = 512  # points: bins of 31 Hz, of which each of 64 mel bands has one
SILENCE = 1e-10  # power that is called silence: -100 dB re full scale
ROLLOFF = 0.85  # share of the magnitude that lies below the roll-off
BLOCK = 128  # frames at a time: what they need stays in the cache of a core, which halves the time

TEMPOGRAM = 400  # frames of onset strength that are compared with each other: 4 s
# Three to an octave, from 2 s (30 beats a minute) to 0.12 s (eight syllables a second).
LAGS = tuple(round(200 / 2 ** (third / 3)) for third in range(13))

Floats = NDArray[np.floating]


@dataclass(frozen=True, kw_only=True, slots=True)
class LogMelSettings:
    """Log-mel energies, MFCC, level and shape of the spectrum, and rhythm: 95 numbers every 0.04 s.

    They are computed every 0.01 s; a row has their means.
    """

    groups: tuple[Group, ...] = GROUPS
    """Which of them: mel (in dB), mfcc, descriptors (RMS level, zero-crossing rate, spectral centroid and roll-off),
    rhythm (onset strength, tempogram)."""
    n_mels: int = 64
    """Bands from 0 to 8000 Hz. MFCC and onset strength are made from them too."""
    n_mfcc: int = 13
    """Coefficients, the first of which is the level."""
    window_s: float = 0.025
    """Length of the sound that a spectrum is of."""
    hop_s: float = 0.04
    """From one row to the next, a multiple of 0.01 s. 25 rows a second are as many as a film has pictures; 0.01 keeps
    every spectrum."""

    def build(self) -> LogMel:
        if not self.groups:
            raise ExperimentError(f"groups: name at least one of {', '.join(GROUPS)}")
        try:
            n_steps = rows_of(self.hop_s, STEP_S)
        except ValueError as error:
            raise ExperimentError(str(error)) from None
        if not STEP_S <= self.window_s <= 1:
            raise ExperimentError(f"window_s {self.window_s:g}: must be in {STEP_S:g}..1")
        if not 1 <= self.n_mfcc <= self.n_mels:
            raise ExperimentError(f"n_mfcc {self.n_mfcc}, n_mels {self.n_mels}: must be in 1..n_mels, and at least 1")
        if not mel_filters(self.n_mels, n_fft(self.window_s)).any(axis=0).all():
            raise ExperimentError(
                f"n_mels {self.n_mels}: some bands would be narrower than the bins of a spectrum of "
                f"window_s {self.window_s:g}; use fewer bands or a longer window"
            )
        groups = [group for group in GROUPS if group in self.groups]
        columns = tuple(name for group in groups for name in column_names(group, self.n_mels, self.n_mfcc))
        spec = FeatureSpec(
            name="logmel",
            version=1,
            modality="audio",
            shape=(len(columns),),
            hop_s=self.hop_s,
            offset_s=(self.window_s + (n_steps - 1) * STEP_S) / 2,
            columns=columns,
            settings={"groups": groups, "n_mels": self.n_mels, "n_mfcc": self.n_mfcc, "window_s": self.window_s},
        )
        return LogMel(spec=spec, n_steps=n_steps)


@dataclass(frozen=True, kw_only=True)
class LogMel:
    """Extractor of spectra. n_steps: spectra whose mean is a row.

    A window lies within the sound, nothing is added at its ends; what is left at the end, less than a row and a window,
    is not heard. Where there is less than one row, it is one over the whole clip. Silence is heard: its level is -100
    dB and its shape 0.
    """

    spec: FeatureSpec
    n_steps: int
    medium: ClassVar[str] = "audio"
    kind: ClassVar[Kind] = "sound"
    rate_hz: ClassVar[float] = float(RATE_HZ)
    is_heavy: ClassVar[bool] = False

    def __call__(self, signal: NDArray[np.float32], rate_hz: float) -> Frames:
        """Frames of (N,) float32 in [-1, 1] at 16 kHz; less than one window raises MediaError "too-short"."""
        if rate_hz != self.rate_hz:
            raise ValueError(f"logmel wants sound at {self.rate_hz:g} Hz, not {rate_hz:g} Hz")
        groups, window_s = self.spec.settings["groups"], self.spec.settings["window_s"]
        if len(signal) < round(window_s * rate_hz):
            raise MediaError("too-short", f"{len(signal) / rate_hz:.3f} s of sound; logmel needs {window_s:g} s")
        mel_db, described = spectra(signal, window_s, self.spec.settings["n_mels"])
        made: dict[str, Callable[[], Floats]] = {
            "mel": lambda: mel_db,
            "mfcc": lambda: mel_db @ dct(self.spec.settings["n_mels"])[:, : self.spec.settings["n_mfcc"]],
            "descriptors": lambda: described,
            "rhythm": lambda: rhythm(mel_db),
        }
        values = np.concatenate([mean_rows(made[group](), self.n_steps) for group in groups], axis=1)
        return Frames(values.astype(np.float32), np.ones(len(values), dtype=bool))


def column_names(group: Group, n_mels: int, n_mfcc: int) -> list[str]:
    """Names of the columns of a group, with their units."""
    return {
        "mel": [f"mel_{band:03}_db" for band in range(n_mels)],
        "mfcc": [f"mfcc_{number:02}" for number in range(n_mfcc)],
        "descriptors": ["rms_db", "zero_crossing_rate", "centroid_hz", "rolloff_hz"],
        "rhythm": ["onset_strength", *(f"tempogram_{lag * STEP_S:.2f}s" for lag in LAGS)],
    }[group]


def n_fft(window_s: float) -> int:
    """Points of the Fourier transform of a window: a power of two."""
    return max(SHORTEST_FFT, 1 << (round(window_s * RATE_HZ) - 1).bit_length())


def spectra(sound: NDArray[np.float32], window_s: float, n_mels: int) -> tuple[Floats, Floats]:
    """Every 0.01 s: mel energies in dB (T, n_mels), and RMS level in dB re full scale, zero crossings per sample,
    spectral centroid and 85 % roll-off in Hz (T, 4)."""
    length, points = round(window_s * RATE_HZ), n_fft(window_s)
    filters, taper = mel_filters(n_mels, points), hann(length).astype(np.float32)
    bins_hz = np.arange(points // 2 + 1, dtype=np.float32) * (RATE_HZ / points)
    windows = sliding_window_view(sound, length)[::STEP]
    is_negative = sliding_window_view(sound < 0, length)[::STEP]
    mel_db, described = [], []
    for first in range(0, len(windows), BLOCK):
        some = windows[first : first + BLOCK]
        magnitude = np.abs(np.fft.rfft(some * taper, points))
        mel_db.append(decibels(magnitude**2 @ filters))
        signs = is_negative[first : first + BLOCK]
        below = np.cumsum(magnitude, axis=1)
        total = below[:, -1]
        described.append(
            np.stack(
                [
                    decibels(np.einsum("ti,ti->t", some, some) / length),
                    np.count_nonzero(signs[:, 1:] != signs[:, :-1], axis=1) / length,
                    magnitude @ bins_hz / np.where(total > 0, total, 1),
                    bins_hz[np.argmax(below >= ROLLOFF * total[:, None], axis=1)],
                ],
                axis=1,
            )
        )
    return np.concatenate(mel_db), np.concatenate(described)


def rhythm(mel_db: Floats) -> Floats:
    """(T, 14) from mel energies (T, n_mels): onset strength in dB per 0.01 s and the tempogram at LAGS, in [0, 1].

    Onset strength is the mean over the bands of what they rose by (Böck & Widmer 2013, without their maximum filter).
    The tempogram is the autocorrelation of 4 s of it around each frame, of which lag 0 is 1 (Grosche et al. 2010).
    """
    rises = np.maximum(np.diff(mel_db, axis=0, prepend=mel_db[:1]), 0)
    onsets = rises.mean(axis=1, dtype=np.float64)
    taper = hann(TEMPOGRAM)
    padded = np.pad(onsets, TEMPOGRAM // 2, mode="linear_ramp")

    def correlation(lag: int) -> Floats:
        kernel = taper[: TEMPOGRAM - lag] * taper[lag:]
        return np.correlate(padded[: len(padded) - lag] * padded[lag:], kernel, mode="valid")[: len(onsets)]

    energy = correlation(0)
    similar = np.stack([correlation(lag) for lag in LAGS], axis=1) / np.where(energy > 0, energy, 1)[:, None]
    return np.column_stack([onsets, similar])


def decibels(power: Floats) -> Floats:
    """Power in dB re full scale, at least -100."""
    return 10 * np.log10(np.maximum(power, SILENCE))


@cache
def hann(length: int) -> NDArray[np.float64]:
    """Periodic Hann window."""
    return 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(length) / length)


@cache
def mel_filters(n_mels: int, points: int) -> NDArray[np.float32]:
    """(points // 2 + 1, n_mels) triangles of equal area, evenly spaced in mel from 0 to half of the rate.

    Mel as in Slaney's Auditory Toolbox (1998), librosa's default: linear up to 1000 Hz, 15 mel, then logarithmic.
    """
    knee_hz, knee_mel, log_step = 1000.0, 15.0, np.log(6.4) / 27
    mels = np.linspace(0, knee_mel + np.log(RATE_HZ / 2 / knee_hz) / log_step, n_mels + 2)
    edges_hz = np.where(mels < knee_mel, mels * knee_hz / knee_mel, knee_hz * np.exp(log_step * (mels - knee_mel)))
    lower, centre, upper = edges_hz[:-2], edges_hz[1:-1], edges_hz[2:]
    bins_hz = np.arange(points // 2 + 1)[:, None] * (RATE_HZ / points)
    triangles = np.minimum((bins_hz - lower) / (centre - lower), (upper - bins_hz) / (upper - centre))
    return (np.maximum(triangles, 0) * 2 / (upper - lower)).astype(np.float32)


@cache
def dct(n: int) -> NDArray[np.float32]:
    """(n, n) orthonormal DCT-II: column k is coefficient k."""
    k = np.arange(n)
    basis = np.sqrt(2 / n) * np.cos(np.pi * k * (2 * k[:, None] + 1) / (2 * n))
    basis[:, 0] /= np.sqrt(2)
    return basis.astype(np.float32)
