"""Media files to signals, by kind: the only room that touches codecs.

Time 0 is the start of the file, for all its streams: sound and picture of one file share a clock. Paths are local or
`s3://` URIs. `decode` gives the signal of one medium as an extractor of its kind wants it; `extract` gives several
extractors theirs from one pass over the file.

What cannot be used raises `MediaError`, whose `reason` is one of these and becomes the reject's:

    missing            no such file
    unreadable         no permission, a folder, a store that does not answer
    empty              no bytes, or a header with nothing after it
    not-media          no format that is known here (a text file called .wav)
    truncated          cut off: see `mien.features.media.truncation`
    bad-header         a header that claims what no recording has, or what its bytes cannot hold
    too-large          a stretch that would take more memory, decoded, than a clip may
    no-audio-stream    a medium without sound, where sound was asked for
    no-video-stream    a medium without pictures, where pictures were asked for
    no-track           a channel or stream that the file does not have
    span-beyond-end    the stretch that was asked for lies (to more than a tenth) after the end of the file
    bad-times          pictures, or the first sound, more than ten minutes after what was before: damaged time stamps;
                       sensor samples at uneven times
    silent             sound whose samples are all the same: a dead microphone, a file of zeros
    opposite-phase     channels that cancel each other when they are averaged: a cable with two wires swapped
    out-of-range       samples far beyond full scale: floats that were not divided by 32768
    not-finite         samples that are NaN or infinite
    no-spans           a stretch was asked of a table (OpenFace), which stands for its clip as a whole
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from mien.corpora.clip import Medium
from mien.features.media.faces import decode_faces
from mien.features.media.pictures import decode_pictures
from mien.features.media.signals import decode_signals
from mien.features.media.sound import decode_sound
from mien.features.media.source import content_hash
from mien.features.media.tables import decode_table
from mien.features.media.truncation import MOST_BYTES
from mien.features.spec import Kind

__all__ = ["DECODERS", "content_hash", "decode"]

DECODERS: dict[Kind, Callable[[Medium, float, int], Any]] = {
    "sound": decode_sound,
    "pictures": decode_pictures,
    "faces": decode_faces,
    "signals": decode_signals,
    "table": decode_table,
}


def decode(kind: Kind, medium: Medium, rate_hz: float, most_bytes: int = MOST_BYTES) -> Any:
    """The signal of a medium as an extractor of this kind wants it (see `mien.features.spec.Extractor`).

    rate_hz: of sound, pictures and faces; signals keep their own. most_bytes: memory that it may take, of pictures and
    faces one of them. Pictures and faces raise MediaError while they are read.
    """
    return DECODERS[kind](medium, rate_hz, most_bytes)
