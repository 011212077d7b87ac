"""Channels of a recording of sensors: by name, whatever case or number they carry, and at another rate."""

from __future__ import annotations

import re
from collections.abc import Sequence
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from mien.errors import MediaError
from mien.features.spec import Signals

Samples = NDArray[np.float64]

# Of the 10-20 system, as it was first written (Jasper 1958) and as 10-10 has it since.
_OLD_NAMES = {"t3": "t7", "t4": "t8", "t5": "p7", "t6": "p8"}


def plain_name(name: str) -> str:
    """A channel's name without what recorders add: case, blanks, a number or "EEG" before it, "-REF" or dots after it.

    >>> plain_name("1Fp1"), plain_name("EEG T3-REF"), plain_name("Fc5."), plain_name("EXG3")
    ('fp1', 't7', 'fc5', 'exg3')
    """
    plain = re.sub(r"^\d+(?=[a-z])|^eeg[\s:_]+", "", name.strip().lower())
    plain = re.sub(r"(-ref)?\.*$", "", plain)
    return _OLD_NAMES.get(plain, plain)


def places(signal: Signals) -> dict[str, int]:
    """Column of each channel by its plain name; of two of one name, the first."""
    found: dict[str, int] = {}
    for column, name in enumerate(signal.names):
        found.setdefault(plain_name(name), column)
    return found


def unit_of(signal: Signals, column: int) -> str:
    """The plain unit of a channel, from the header."""
    return plain_unit(signal.units[column])


def plain_unit(unit: str) -> str:
    """A unit in lower case, without blanks and dots, and with u for micro: headers write it as they like.

    >>> plain_unit("\N{MICRO SIGN}V"), plain_unit("deg C"), plain_unit("Ohm")
    ('uv', 'degc', 'ohm')
    """
    plain = re.sub(r"[\s.]", "", unit.lower())
    return plain.replace("\N{MICRO SIGN}", "u").replace("\N{GREEK SMALL LETTER MU}", "u")


def scale(signal: Signals, column: int, units: dict[str, float], wanted: str) -> float:
    """What to multiply a channel by, from the units that are known; MediaError "unknown-unit" for others."""
    unit = unit_of(signal, column)
    if unit not in units:
        raise MediaError(
            "unknown-unit",
            f"channel {signal.names[column]}: its unit is {signal.units[column]!r}, which is none that gives {wanted}; "
            "correct the header of the file",
        )
    return units[unit]


def resampled(values: Samples, rate_hz: float, wanted_hz: float) -> Samples:
    """(C, N) at another rate, by a low-pass without delay (scipy's polyphase filter); the ends go on as the line
    between them, so that a level that is not zero makes no step."""
    if rate_hz == wanted_hz:
        return values
    from scipy.signal import resample_poly

    ratio = Fraction(wanted_hz / rate_hz).limit_denominator(1000)
    return resample_poly(values, ratio.numerator, ratio.denominator, axis=-1, padtype="line")


def window_starts(n_samples: int, rate_hz: float, window_s: float, hop_s: float) -> tuple[NDArray[np.int64], int]:
    """First samples (T,) of the windows that fit, and the samples of one; T is 0 where not one fits."""
    length = round(window_s * rate_hz)
    n_windows = max(0, int((n_samples - length) / (hop_s * rate_hz) + 1e-9) + 1) if n_samples >= length else 0
    return np.round(np.arange(n_windows) * hop_s * rate_hz).astype(np.int64), length


def cut(values: Samples, starts: Sequence[int] | NDArray[np.int64], length: int) -> Samples:
    """Windows (T, ..., length) of samples (..., N)."""
    return np.stack([values[..., start : start + length] for start in starts])
