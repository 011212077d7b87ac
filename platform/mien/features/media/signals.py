"""Signals of sensors: `Signals`, (N, C) float32 in the units of the file, at the rate that it states.

EDF and BDF (`mien.corpora.edf`), and two kinds of text: a CSV with a column time_s and one column per channel,
named "ECG" or "ECG [mV]", at even times; and the "Simple Text Format" of BITalino and biosppy, whose header has the
rate and the labels. A track is one channel; without it, all. Channels of a lower rate than the highest of their
file are interpolated to it (linearly).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import IO

import numpy as np
from numpy.typing import NDArray

from mien.corpora import edf
from mien.corpora.clip import Medium
from mien.errors import MediaError
from mien.features.media.source import opened, size_bytes
from mien.features.media.truncation import MOST_BYTES, SIGNAL_HZ, check_length, check_memory, check_rate
from mien.features.spec import Signals

_SIMPLE_TEXT = b"# Simple Text Format"
_MOST_VALUES_PER_BYTE = 64  # one fast channel can ask for thousands of slow ones at its rate
_BYTES_PER_BYTE_OF_TEXT = 12  # that a text of short numbers takes as lines and as numbers, measured
_UNEVEN = 0.5  # of a step: how far a time of a CSV may lie from its place


def decode_signals(medium: Medium, rate_hz: float = 0.0, most_bytes: int = MOST_BYTES) -> Signals:
    """The channels of a recording of sensors, over the medium's stretch. They keep their own rate: rate_hz is unused.

    most_bytes: memory that may be taken for it; for a text, all of it, whatever the stretch. A channel that stands
    still is given as it is; MediaError "not-finite" where samples of a text are no numbers.
    """
    with opened(medium.path) as file:
        n_bytes = size_bytes(file)
        if n_bytes == 0:
            raise MediaError("empty", f"{medium.path}: 0 bytes; copy it again")
        head = file.read(256)
        file.seek(0)
        if head[:8] in edf.MAGICS:
            return _read_edf(medium, file, n_bytes, most_bytes)
        check_memory(medium.path, _BYTES_PER_BYTE_OF_TEXT * n_bytes, most_bytes)
        if head.startswith(_SIMPLE_TEXT):
            return _read_simple_text(medium, file)
        if b"time_s" in head.partition(b"\n")[0]:
            return _read_csv(medium, file)
    if any(magic.startswith(head) for magic in edf.MAGICS):
        raise MediaError("truncated", f"{medium.path}: was cut off within its header; copy it again")
    raise MediaError("not-media", f"{medium.path}: is neither EDF, BDF, a CSV with a column time_s nor Simple Text")


def _read_edf(medium: Medium, file: IO[bytes], n_bytes: int, most_bytes: int) -> Signals:
    path = medium.path
    header = edf.read_header(path, file)
    for signal, is_text in enumerate(header.is_text):
        if not is_text:
            check_rate(path, header.rate_hz(signal), SIGNAL_HZ)
    n_present = (n_bytes - header.header_bytes) // header.record_bytes
    n_records = n_present if header.n_records is None else header.n_records
    check_length(medium, min(n_present, n_records) * header.record_s, n_records * header.record_s)
    n_present = min(n_present, n_records)
    end_s = n_present * header.record_s
    end_s = end_s if medium.end_s is None else min(medium.end_s, end_s)
    chosen = _chosen(medium, [signal for signal, is_text in enumerate(header.is_text) if not is_text])
    rate_hz = max(header.rate_hz(signal) for signal in chosen)
    first = int(medium.start_s / header.record_s)
    last = min(n_present, int(np.ceil(end_s / header.record_s - 1e-9)))
    start, stop = (round((seconds - first * header.record_s) * rate_hz) for seconds in (medium.start_s, end_s))
    n_read = max(1, (last - first) * header.record_bytes)
    if (stop - start) * len(chosen) > _MOST_VALUES_PER_BYTE * n_read:
        raise MediaError("bad-header", f"{path}: its header claims rates of {rate_hz:g} Hz and far below in one file")
    # The records, the values, and what one channel takes on the way: its digits, its samples, the times between them.
    check_memory(path, n_read + (stop - start) * (4 * len(chosen) + 24), most_bytes)
    records = edf.read_records(file, header, first, last)
    values = np.empty((stop - start, len(chosen)), np.float32)
    for column, signal in enumerate(chosen):
        samples = edf.samples_of(records, header, signal)
        if header.rate_hz(signal) != rate_hz:
            times = np.arange(start, stop) * (header.rate_hz(signal) / rate_hz)
            values[:, column] = np.interp(times, np.arange(len(samples)), samples)
        else:
            values[:, column] = samples[start:stop]
    return Signals(
        values, tuple(header.names[signal] for signal in chosen), tuple(header.units[s] for s in chosen), rate_hz
    )


def _read_simple_text(medium: Medium, file: IO[bytes]) -> Signals:
    text = _decoded(medium, file)
    header = dict(re.findall(r"^# ([^:\n]+):= (.*)$", text, re.MULTILINE))
    try:
        rate_hz = float(header["Sampling Rate (Hz)"])
    except (KeyError, ValueError) as error:
        raise MediaError("bad-header", f"{medium.path}: its header states no sampling rate: {error}") from error
    values = _numbers(medium, [line for line in text.splitlines() if line.strip() and not line.startswith("#")])
    labels = header.get("Labels", "").split()
    names = labels if len(labels) == values.shape[1] else [f"channel {i}" for i in range(values.shape[1])]
    return _stretch(medium, values, names, rate_hz)


def _read_csv(medium: Medium, file: IO[bytes]) -> Signals:
    first, _, rest = _decoded(medium, file).partition("\n")
    names = [name.strip().strip('"') for name in first.split(",")]
    if "time_s" not in names or len(names) < 2:
        raise MediaError("not-media", f"{medium.path}: has no column time_s beside channels, but {', '.join(names)}")
    values = _numbers(medium, [line for line in rest.splitlines() if line.strip()], len(names))
    at = names.index("time_s")
    times_s, values = values[:, at], np.delete(values, at, axis=1)
    if len(times_s) < 2:
        raise MediaError("empty", f"{medium.path}: {len(times_s)} samples; a rate needs two")
    step_s = float(times_s[-1] - times_s[0]) / (len(times_s) - 1)
    even_s = times_s[0] + step_s * np.arange(len(times_s))
    if step_s <= 0 or np.abs(times_s - even_s).max() > _UNEVEN * step_s:
        raise MediaError("bad-times", f"{medium.path}: time_s is not even; resample it to a constant rate")
    return _stretch(medium, values, [name for name in names if name != "time_s"], 1 / step_s)


def _decoded(medium: Medium, file: IO[bytes]) -> str:
    try:
        return file.read().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise MediaError("not-media", f"{medium.path}: is no text: {error}") from error


def _numbers(medium: Medium, lines: Sequence[str], n_columns: int | None = None) -> NDArray[np.float64]:
    """Rows of numbers, separated by commas or blanks; each of as many as the first, or as the header has."""
    if not lines:
        raise MediaError("empty", f"{medium.path}: a header with nothing after it")
    delimiter = "," if "," in lines[0] else None
    try:
        values = np.loadtxt(lines, np.float64, delimiter=delimiter, ndmin=2, comments=None)
    except ValueError as error:
        raise MediaError("truncated", f"{medium.path}: {error}; copy it again") from error
    if n_columns is not None and values.shape[1] != n_columns:
        raise MediaError("truncated", f"{medium.path}: {values.shape[1]} numbers per row, {n_columns} names")
    if not np.isfinite(values).all():
        row = int(np.flatnonzero(~np.isfinite(values).all(axis=1))[0])
        raise MediaError("not-finite", f"{medium.path}: row {row + 1} holds what is no number; fill it or cut it off")
    return values


def _stretch(medium: Medium, values: NDArray[np.float64], names: Sequence[str], rate_hz: float) -> Signals:
    """The medium's stretch and track of samples (N, C) that begin with the file."""
    check_rate(medium.path, rate_hz, SIGNAL_HZ)
    check_length(medium, len(values) / rate_hz, None)
    chosen = _chosen(medium, range(values.shape[1]))
    start = round(medium.start_s * rate_hz)
    stop = len(values) if medium.end_s is None else round(medium.end_s * rate_hz)
    parts = [re.fullmatch(r"(.*?)(?:\s*\[(.*)\])?", names[column]) for column in chosen]
    return Signals(
        values[start:stop, list(chosen)].astype(np.float32),
        tuple(part[1] if part else "" for part in parts),
        tuple((part[2] or "") if part else "" for part in parts),
        rate_hz,
    )


def _chosen(medium: Medium, channels: Sequence[int]) -> Sequence[int]:
    """All channels, or the one that the medium's track names."""
    if medium.track is None and channels:
        return channels
    track = medium.track or 0
    if track >= len(channels):
        raise MediaError("no-track", f"{medium.path}: track {track} was asked, it has {len(channels)} channels")
    return [channels[track]]
