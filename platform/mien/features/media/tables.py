"""Tables that another program wrote (OpenFace, an annotation tool): their extractor reads them, by path.

A row of a table is "<table>#<row>". A table stands for its clip as a whole: a stretch or a track of it is refused.
"""

from __future__ import annotations

from mien.corpora.clip import Medium
from mien.errors import MediaError
from mien.features.media.source import size_of
from mien.features.media.truncation import MOST_BYTES, check_memory

_BYTES_PER_BYTE = 26  # that a table of short numbers takes as lists of text, measured


def decode_table(medium: Medium, rate_hz: float = 0.0, most_bytes: int = MOST_BYTES) -> str:
    """The path, with "#<row>" where it is one row. MediaError "too-large" where the table takes too much memory."""
    if not medium.is_whole or medium.track is not None:
        raise MediaError(
            "no-spans",
            f"{medium.path}: {medium.start_s}..{medium.end_s} s, track {medium.track} was asked of a table, which "
            "stands for its clip as a whole; give each clip a table or a row of its own",
        )
    check_memory(medium.path, _BYTES_PER_BYTE * size_of(medium.path.partition("#")[0]), most_bytes)
    return medium.path
