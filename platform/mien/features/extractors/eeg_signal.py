"""EEG made fit for features: channels by name, drift taken out, bad channels filled in, one reference.

What mne takes for EEG is not asked: it calls every sensor of a BDF file EEG. A channel is EEG when its name is one of
those that the settings name, and nothing else of the file enters the filter or the reference.

1. uV, by the header's unit; no unit is taken for uV.
2. High-pass from 0.5 Hz: Butterworth of fourth order, run forwards and backwards (scipy), so that nothing is delayed.
   It sees the clip's stretch of the recording and nothing before or after it, which is continued by its mirror image:
   the first and the last second or so are less sure.
3. Bad channels: those that the recording lacks; those that stand still; those much louder than the others (the
   deviation criterion of PREP, Bigdely-Shamlo et al. 2015) or ten times quieter. Levels are taken from the quartiles,
   so that a short jerk makes no channel bad. Bad ones are interpolated by spherical splines (Perrin et al. 1989, by
   mne). More than a quarter: nothing of the clip is valid.
4. Average reference, over all channels that were named.
5. A window is bad when more than a quarter of its channels exceed the threshold or stand still. A quarter, because an
   eye blink fills the four frontal channels of 32, and films make people blink. Eye movements and muscles are not taken
   out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cache
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from mien.errors import ExperimentError, MediaError
from mien.features.extractors.sensors import Samples, places, plain_name, scale
from mien.features.spec import Signals

Reference = Literal["average", "none"]

# The 32 of BioSemi's cap, in the order of MAHNOB-HCI and DEAP (Geneva).
_LEFT = "Fp1 AF3 F3 F7 FC5 FC1 C3 T7 CP5 CP1 P3 P7 PO3 O1"
_REST = "Oz Pz Fp2 AF4 Fz F4 F8 FC6 FC2 Cz C4 T8 CP6 CP2 P4 P8 PO4 O2"
BIOSEMI_32 = (*_LEFT.split(), *_REST.split())
LOW_HZ = 0.5
MOST_BAD = 0.25  # of the channels
THRESHOLD_UV = 150.0
# Contiguous, so that each frequency counts once, and below the mains of either continent; otherwise those of SEED
# (Zheng and Lu 2015: 1-3, 4-7, 8-13, 14-30, 31-50 Hz). From the first frequency up to, not including, the second.
BANDS = {"delta": (1.0, 4.0), "theta": (4.0, 8.0), "alpha": (8.0, 14.0), "beta": (14.0, 31.0), "gamma": (31.0, 45.0)}

_TO_UV = {"": 1.0, "uv": 1.0, "nv": 1e-3, "mv": 1e3, "v": 1e6}
_FLAT_UV = 0.05  # below the noise of any amplifier
_FEWEST_TO_COMPARE = 8  # channels: of fewer, none is called the odd one out
_QUIET = 0.1  # of the median level
_LOUD = 5.0  # robust standard deviations of the levels above their median: PREP's
_LEAST_DEVIATION = 0.2  # of the median level, so that among channels that are alike twice the level is still good


class Eeg(NamedTuple):
    """EEG that was cleaned.

    values: (C, N) uV, in the order of the settings. is_bad: (C,), channels that were filled in. moves: (C, M) whether a
    sample as it was recorded, at recorded_hz, differs from the one before; True where the channel was filled in.
    is_usable: False where too many channels are bad.
    """

    values: Samples
    rate_hz: float
    is_bad: NDArray[np.bool_]
    moves: NDArray[np.bool_]
    recorded_hz: float

    @property
    def is_usable(self) -> bool:
        return float(self.is_bad.mean()) <= MOST_BAD


@dataclass(frozen=True, kw_only=True, slots=True)
class Cleaning:
    """How EEG is made fit for features; the module says what is done."""

    channels: tuple[str, ...] = BIOSEMI_32
    reference: Reference = "average"
    threshold_uv: float = THRESHOLD_UV

    def __post_init__(self) -> None:
        if len({plain_name(name) for name in self.channels}) != len(self.channels) or not self.channels:
            raise ExperimentError(f"channels {' '.join(self.channels)!r}: name at least one, and none twice")
        if self.reference == "average" and len(self.channels) < 2:
            raise ExperimentError("reference 'average': of one channel nothing would be left; use 'none'")
        if self.threshold_uv <= 0:
            raise ExperimentError(f"threshold_uv {self.threshold_uv:g}: must be above 0")

    def to_json(self) -> dict[str, Any]:
        """What of it changes the numbers, for a spec."""
        return {**asdict(self), "channels": list(self.channels), "low_hz": LOW_HZ}

    def __call__(self, signal: Signals) -> Eeg:
        """The channels of one recording. Raises MediaError "missing-channels" where more than a quarter are lacking,
        "unknown-unit", and "low-rate" where the recording does not reach the highest band."""
        if signal.rate_hz < 2 * BANDS["gamma"][1]:
            raise MediaError("low-rate", f"EEG at {signal.rate_hz:g} Hz; its bands need {2 * BANDS['gamma'][1]:g} Hz")
        columns = self._columns(signal)
        values = np.zeros((len(self.channels), len(signal.values)))
        for row, column in enumerate(columns):
            if column is not None:
                values[row] = signal.values[:, column] * scale(signal, column, _TO_UV, "uV")
        moves = np.diff(values, prepend=values[:, :1]) != 0
        values = high_passed(values, signal.rate_hz)
        is_bad = np.array([column is None for column in columns])
        is_bad |= bad_channels(values, is_bad, self.reference)
        if 0 < is_bad.mean() <= MOST_BAD:
            self._fill_in(values, is_bad)
        if self.reference == "average":
            values -= values.mean(axis=0)
        return Eeg(values, signal.rate_hz, is_bad, moves | is_bad[:, None], signal.rate_hz)

    def good_windows(self, eeg: Eeg, starts: NDArray[np.int64], length: int) -> NDArray[np.bool_]:
        """(T,) which windows are not bad (5. of the module)."""
        good = np.zeros(len(starts), np.bool_)
        recorded = eeg.recorded_hz / eeg.rate_hz
        for number, start in enumerate(starts):
            window = eeg.values[:, start : start + length]
            is_loud = np.maximum(window.max(axis=1), -window.min(axis=1)) > self.threshold_uv
            # Neither the filter, which rings on, nor the reference, which moves, leaves a still channel still.
            moves = eeg.moves[:, round(start * recorded) + 1 : round((start + length) * recorded)].any(axis=1)
            good[number] = (is_loud | ~moves).mean() <= MOST_BAD
        return good & eeg.is_usable

    def _columns(self, signal: Signals) -> list[int | None]:
        """Of each channel, None where the recording lacks it."""
        present = places(signal)
        columns = [present.get(plain_name(name)) for name in self.channels]
        lacking = [name for name, column in zip(self.channels, columns) if column is None]
        if len(lacking) > MOST_BAD * len(columns):
            raise MediaError(
                "missing-channels",
                f"EEG: {len(lacking)} of {len(columns)} channels are lacking ({' '.join(lacking[:5])} ...), at most a "
                f"quarter can be interpolated; it has {' '.join(signal.names[:8])} ...: name your own by channels",
            )
        return columns

    def _fill_in(self, values: Samples, is_bad: NDArray[np.bool_]) -> None:
        """Interpolates the bad rows in place."""
        import mne

        montage = _montage()
        known = [montage.get(plain_name(name)) for name in self.channels]
        for name, place, bad in zip(self.channels, known, is_bad):
            if bad and place is None:
                raise MediaError(
                    "missing-channels", f"EEG: {name} is bad or lacking, and has no known place on the head"
                )
        rows = [row for row, place in enumerate(known) if place is not None]
        info = mne.create_info([known[row] for row in rows], 1000.0, "eeg")  # no rate enters the interpolation
        raw = mne.io.RawArray(values[rows], info, verbose="error")
        raw.set_montage("colin27_1005", verbose="error")
        raw.info["bads"] = [known[row] for row in rows if is_bad[row]]
        raw.interpolate_bads(method={"eeg": "spline"}, origin=(0.0, 0.0, 0.04), verbose="error")
        values[is_bad] = raw.get_data()[[row for row, place in enumerate(rows) if is_bad[place]]]


@cache
def _montage() -> dict[str, str]:
    """mne's names of the places of the 10-05 system, by plain name."""
    import mne

    return {plain_name(name): name for name in mne.channels.make_standard_montage("colin27_1005").ch_names}


def high_passed(values: Samples, rate_hz: float) -> Samples:
    """(C, N) without what is slower than LOW_HZ.

    At its ends a recording goes on as its mirror image, in time only: mirrored in height too, as is scipy's default,
    the last sample, which may be a blink, would become a step.
    """
    from scipy.signal import butter, sosfiltfilt

    sections = butter(4, LOW_HZ, "highpass", fs=rate_hz, output="sos")
    centred = values - values.mean(axis=1, keepdims=True)
    n_mirrored = min(values.shape[1] - 1, round(2 / LOW_HZ * rate_hz))
    return sosfiltfilt(sections, centred, axis=1, padtype="even", padlen=max(0, n_mirrored))


def bad_channels(values: Samples, is_lacking: NDArray[np.bool_], reference: Reference) -> NDArray[np.bool_]:
    """(C,) which channels are lacking, stand still, or are much louder or quieter than the others.

    With an average reference, the median over the channels is taken away before it is asked which is loud: BioSemi's
    channels are recorded without a reference and share a hum that would hide it. Not before it is asked which is quiet:
    a dead channel would then hold the median of the others.
    """
    levels = spread(values)
    is_bad = is_lacking | (levels < _FLAT_UV)
    others = ~is_bad
    if others.sum() < _FEWEST_TO_COMPARE:
        return is_bad
    is_bad |= levels < _QUIET * np.median(levels[others])
    if reference == "average":
        levels = spread(values - np.median(values[others], axis=0))
    low, centre, high = np.percentile(levels[others], [25, 50, 75])
    return is_bad | (levels - centre > _LOUD * max(0.7413 * (high - low), _LEAST_DEVIATION * centre))


def spread(values: Samples) -> Samples:
    """Robust standard deviation of each row: 0.7413 times the range of the middle half."""
    low, high = np.percentile(values, [25, 75], axis=1)
    return 0.7413 * (high - low)


def bins_of(band: Sequence[float], frequencies_hz: Samples) -> NDArray[np.bool_]:
    """Which frequencies lie in a band: from its first to below its second."""
    return (frequencies_hz >= band[0] - 1e-9) & (frequencies_hz < band[1] - 1e-9)
