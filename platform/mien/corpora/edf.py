"""EDF and BDF: the header and any stretch of the samples of a recording of sensors.

European Data Format (Kemp et al. 1992) with 16-bit samples, and BioSemi's with 24: 256 bytes of text about the
recording, 256 about each signal, then data records of equal length, each with so many samples of each signal in turn.
BioSemi's Status channel is 24 bits, not an amount: it is given as it is, whatever range its header states (the low 16
bits are the triggers).

Read here and not by mne, which loses units (degC, Ohm), calls every sensor EEG and wants a local file. Importers read
triggers (`read_triggers`), `mien.features.media.signals` decodes the rest.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import IO

import numpy as np
from numpy.typing import NDArray

from mien.errors import MediaError

MAGICS = (b"0       ", b"\xffBIOSEMI")
STATUS = "Status"
_MOST_SIGNALS = 4096
_MOST_RECORDS = 1_000_000  # 11 days in records of a second
_MOST_TRIGGER_BYTES = 2**26  # of the Status channel: a day at 256 Hz, three hours at 2048 Hz


@dataclass(frozen=True, kw_only=True, slots=True)
class EdfHeader:
    """What an EDF or BDF file states of itself.

    sample_bytes: 2 (EDF) or 3 (BDF). header_bytes: where the data begin. n_records: None where the recorder did not
    know. record_s: length of a record. names, units, n_samples (per record), gains and offsets (physical value = gain ·
    sample + offset): one per signal. is_text: whether a signal is annotations, not samples.
    """

    sample_bytes: int
    header_bytes: int
    n_records: int | None
    record_s: float
    names: tuple[str, ...]
    units: tuple[str, ...]
    n_samples: tuple[int, ...]
    gains: tuple[float, ...]
    offsets: tuple[float, ...]
    is_text: tuple[bool, ...]

    @property
    def record_bytes(self) -> int:
        """Bytes of one data record."""
        return self.sample_bytes * sum(self.n_samples)

    def rate_hz(self, signal: int) -> float:
        """Samples per second of a signal."""
        return self.n_samples[signal] / self.record_s


def read_header(path: str, file: IO[bytes]) -> EdfHeader:
    """The header of an open EDF or BDF file; MediaError "truncated" or "bad-header" where it is none."""
    head = file.read(256)
    if len(head) < 256:
        raise MediaError("truncated", f"{path}: begins well but was cut off; copy it again")
    sample_bytes = 3 if head[:1] == b"\xff" else 2
    if _text(head[192:236])[:5] in ("EDF+D", "BDF+D"):
        raise MediaError("bad-times", f"{path}: a recording with gaps (EDF+D); export it as continuous")
    try:
        header_bytes, n_records = int(head[184:192]), int(head[236:244])
        record_s, n_signals = float(head[244:252]), int(head[252:256])
    except ValueError as error:
        raise MediaError("bad-header", f"{path}: its header has text where a number belongs: {error}") from error
    if not 0 < n_signals <= _MOST_SIGNALS or header_bytes != 256 * (n_signals + 1) or not 0 < record_s < 1e6:
        raise MediaError(
            "bad-header",
            f"{path}: its header claims {n_signals} signals in {header_bytes} bytes, records of {record_s:g} s",
        )
    about = file.read(256 * n_signals)
    if len(about) < 256 * n_signals:
        raise MediaError("truncated", f"{path}: was cut off within its header; copy it again")
    widths = (16, 80, 8, 8, 8, 8, 8, 80, 8, 32)  # name, sensor, unit, physical and digital limits, filter, samples, -
    columns, at = [], 0
    for width in widths:
        columns.append([_text(about[at + i * width : at + (i + 1) * width]) for i in range(n_signals)])
        at += width * n_signals
    names, _, units, *limits, _, n_samples, _ = columns
    try:
        low, high, lowest, highest = (np.array(column, np.float64) for column in limits)
        counts = tuple(int(text) for text in n_samples)
    except ValueError as error:
        raise MediaError("bad-header", f"{path}: its header has text where a number belongs: {error}") from error
    is_text = tuple(name in ("EDF Annotations", "BDF Annotations") for name in names)
    is_flat = (highest <= lowest) | (high == low) | ~np.isfinite(low) | ~np.isfinite(high)
    if min(counts) < 1 or is_flat[~np.array(is_text)].any():
        raise MediaError("bad-header", f"{path}: its header claims signals without samples or without a range")
    with np.errstate(divide="ignore", invalid="ignore"):
        gains = (high - low) / (highest - lowest)
    offsets = low - gains * lowest
    is_status = np.array([name == STATUS and sample_bytes == 3 for name in names])
    gains[is_status], offsets[is_status] = 1.0, 0.0
    return EdfHeader(
        sample_bytes=sample_bytes,
        header_bytes=header_bytes,
        n_records=n_records if n_records >= 0 else None,
        record_s=record_s,
        names=tuple(names),
        units=tuple(units),
        n_samples=counts,
        gains=tuple(gains.tolist()),
        offsets=tuple(offsets.tolist()),
        is_text=is_text,
    )


def read_records(file: IO[bytes], header: EdfHeader, first: int, last: int) -> NDArray[np.uint8]:
    """Data records first..last-1 as bytes (records, record_bytes); fewer where the file ends before."""
    file.seek(header.header_bytes + first * header.record_bytes)
    data = file.read((last - first) * header.record_bytes)
    whole = len(data) // header.record_bytes
    return np.frombuffer(data, np.uint8, whole * header.record_bytes).reshape(whole, header.record_bytes)


def samples_of(records: NDArray[np.uint8], header: EdfHeader, signal: int) -> NDArray[np.float32]:
    """The samples (N,) of one signal of these records, in its units."""
    width = header.sample_bytes
    start = width * sum(header.n_samples[:signal])
    octets = records[:, start : start + width * header.n_samples[signal]].reshape(-1, width)
    digital = octets[:, -1].astype(np.int8).astype(np.int32)  # the last byte has the sign
    for place in range(width - 2, -1, -1):
        digital = digital << 8 | octets[:, place]
    return (digital * header.gains[signal] + header.offsets[signal]).astype(np.float32)


def read_triggers(path: str, file: IO[bytes], header: EdfHeader, n_records: int) -> list[int]:
    """Samples of the Status channel at which its triggers rise; empty where there is no such channel.

    As mne's find_events counts them: the first sample is none, and neither is a fall. Of each of the n_records records
    only this channel's bytes are read. MediaError "bad-header" for more records or triggers than a recording
    has.
    """
    if STATUS not in header.names:
        return []
    signal = header.names.index(STATUS)
    width, n_samples = header.sample_bytes, header.n_samples[signal]
    if n_records > _MOST_RECORDS or n_records * width * n_samples > _MOST_TRIGGER_BYTES:
        raise MediaError(
            "bad-header",
            f"{path}: its header claims {n_records} records of {header.record_s:g} s, each with {n_samples} samples of "
            f"{STATUS}",
        )
    start = header.header_bytes + width * sum(header.n_samples[:signal])
    parts = []
    for record in range(n_records):
        file.seek(start + record * header.record_bytes)
        parts.append(file.read(width * n_samples))
    octets = np.frombuffer(b"".join(parts), np.uint8)
    octets = octets[: len(octets) // width * width].reshape(-1, width)
    words = (
        octets[:, 0] | octets[:, 1].astype(np.uint16) << 8
    )  # the third byte is BioSemi's own: speed, battery, electrodes out of range
    return (np.flatnonzero(words[1:] > words[:-1]) + 1).tolist()


def _text(field: bytes) -> str:
    """Text of a header, stripped; micro and degree signs come in latin-1."""
    return field.decode("latin-1").replace("\0", " ").strip()
