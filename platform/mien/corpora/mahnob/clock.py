"""One clock for the media of a MAHNOB-HCI session: 0 is when the stimulus begins.

Cameras, microphone and eye tracker ran through a whole visit and were cut at the same moment, which audBeginSmp states:
the number of the sound's sample is the clock that they share. The sensors have a recording of their own for each trial,
from 30 s before the stimulus to 30 s after it, whose Status channel has a trigger at its start and at its end. So the
two clocks meet at the start of the stimulus:

    sensors         by the first trigger, else 30 s after the start of the file
    what was cut    by the event MovieStart of the gaze table, whose rows state the number of the sound's sample;
                    without it, at the cut

Sources: the loaders of TorchEEG and of bob.db.hci_tagging (Idiap) for the triggers, two loaders for heart rate from
video for the sound's samples. A table of key presses of the experiment has MovieStart at audBeginSmp to two samples.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import IO

from mien.corpora import edf
from mien.errors import MediaError

BESIDE_S = 30.0  # that the sensors were recorded before and after a stimulus
ENOUGH = 0.9  # share of the stated length of a recording that must be there, as for all media
_HEAD_BYTES = 2**20  # of a gaze table: more than a minute of it


@dataclass(frozen=True, kw_only=True, slots=True)
class Recording:
    """What an import must know of a recording of sensors. triggers_s: when its triggers rise."""

    names: tuple[str, ...]
    length_s: float
    triggers_s: tuple[float, ...]

    def stimulus_s(self) -> tuple[float, float, str] | None:
        """Start and end of the stimulus and how they are known: "triggers" or "30 s"; None where they are not."""
        if len(self.triggers_s) >= 2:
            return self.triggers_s[0], self.triggers_s[1], "triggers"
        if self.length_s > 2 * BESIDE_S:
            return BESIDE_S, self.length_s - BESIDE_S, "30 s"
        return None


def read_recording(path: str, file: IO[bytes]) -> Recording:
    """Header and triggers of an open BDF file; MediaError with its reason where it is none, or less than it states."""
    if (magic := file.read(8)) not in edf.MAGICS:
        raise MediaError("not-media", f"{path}: begins with {magic!r}, which is neither BDF nor EDF; copy it again")
    n_bytes = file.seek(0, 2)
    file.seek(0)
    header = edf.read_header(path, file)
    n_present = (n_bytes - header.header_bytes) // header.record_bytes
    n_records = n_present if header.n_records is None else header.n_records
    if n_present < ENOUGH * n_records or not n_present:
        raise MediaError("truncated", f"{path}: holds {n_present} of {n_records} records; copy it again")
    n_present = min(n_present, n_records)
    triggers = edf.read_triggers(path, file, header, n_present)
    return Recording(
        names=header.names,
        length_s=n_present * header.record_s,
        triggers_s=tuple(sample / header.rate_hz(header.names.index(edf.STATUS)) for sample in triggers),
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class GazeClock:
    """When a stimulus began by the eye tracker's clock, and a moment that the sound's clock knows as well."""

    stimulus_ms: float
    anchor_ms: float
    anchor_sample: float

    def stimulus_sample(self, rate_hz: float) -> float:
        """Number of the sound's sample at which the stimulus began."""
        return self.anchor_sample + (self.stimulus_ms - self.anchor_ms) / 1000 * rate_hz


def read_gaze_clock(path: str, file: IO[bytes]) -> GazeClock | None:
    """The clock of an open gaze table (Tobii, tab-separated, some lines of text before its header).

    None where the first minute of it has no MovieStart or no number of a sound's sample.
    """
    columns: list[str] = []
    stimulus_ms: float | None = None
    anchor: tuple[float, float] | None = None
    for line in file.read(_HEAD_BYTES).decode("utf-8-sig", "replace").splitlines():
        cells = [cell.strip() for cell in line.split("\t")]
        if not columns:
            columns = cells if cells[0] == "Timestamp" else []
            continue
        row = dict(zip(columns, cells))
        time_ms, sample = _number(row.get("Timestamp")), _number(row.get("AudioSampleNumber"))
        if time_ms is None:
            continue
        if stimulus_ms is None and row.get("Event") in ("MovieStart", "ImageStart"):
            stimulus_ms = time_ms
        if anchor is None and sample is not None and sample >= 0:  # -1 stands for none
            anchor = time_ms, sample
        if stimulus_ms is not None and anchor is not None:
            return GazeClock(stimulus_ms=stimulus_ms, anchor_ms=anchor[0], anchor_sample=anchor[1])
    return None


def _number(text: str | None) -> float | None:
    try:
        value = float(text or "")
    except ValueError:
        return None
    return value if math.isfinite(value) else None


@dataclass(frozen=True, kw_only=True, slots=True)
class Extent:
    """Where a file lies on the clip's clock: its first sample at from_s, its end at to_s, infinite if not known."""

    from_s: float
    to_s: float
