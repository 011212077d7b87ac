"""Tables that another program wrote (OpenFace, an annotation tool): their extractor reads them, by path.

A row of a table is "<table>#<row>". A table stands for its clip as a whole: a stretch or a track of it is refused.
"""

from __future__ import annotations

from mien.corpora.clip import Medium
from mien.errors import MediaError


def decode_table(medium: Medium, rate_hz: float = 0.0) -> str:
    """The path, with "#<row>" where it is one row."""
    if not medium.is_whole or medium.track is not None:
        raise MediaError(
            "no-spans",
            f"{medium.path}: {medium.start_s}..{medium.end_s} s, track {medium.track} was asked of a table, which "
            "stands for its clip as a whole; give each clip a table or a row of its own",
        )
    return medium.path
