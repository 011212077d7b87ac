"""Pictures: (H, W, 3) uint8 RGB, upright, at a constant rate.

Picture k shows the newest source frame whose time is at most k / rate_hz (before the first frame: the first), so frames
are repeated or left out where the file has fewer or more, and a variable frame rate keeps its timing. A track is one of
the video streams; without it, the first.
"""

from __future__ import annotations

import math
from collections.abc import Generator, Iterator
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from mien.corpora.clip import Medium
from mien.errors import MediaError
from mien.features.media.container import Stream, container_of
from mien.features.media.source import opened
from mien.features.media.truncation import MOST_BYTES, check_memory, check_pixels

if TYPE_CHECKING:
    import av

Picture = NDArray[np.uint8]


class Still:
    """One source frame and how long it is shown.

    until_s: when the next one takes over, in seconds after the start of the stretch. picture: made on first use, and
    one array for all that read it, so it is read-only.
    """

    def __init__(self, path: str, frame: av.VideoFrame, until_s: float, most_bytes: int) -> None:
        self._path, self._frame, self.until_s, self._most_bytes = path, frame, until_s, most_bytes
        self._picture: Picture | None = None

    @property
    def picture(self) -> Picture:
        if self._picture is None:
            check_pixels(self._path, self._frame.width, self._frame.height)
            check_memory(self._path, 3 * self._frame.width * self._frame.height, self._most_bytes)
            self._picture = _rgb(self._frame)
            self._picture.flags.writeable = False
        return self._picture


class Clock:
    """The moments k / rate_hz, handed out as stills reach them."""

    def __init__(self, rate_hz: float) -> None:
        self.rate_hz = rate_hz
        self._n_out = 0

    def due(self, until_s: float) -> Iterator[int]:
        """Each k that comes before until_s and was not handed out."""
        while self._n_out / self.rate_hz < until_s:
            self._n_out += 1
            yield self._n_out - 1


class Pictures:
    """The pictures of stills at one rate."""

    def __init__(self, rate_hz: float) -> None:
        self._clock = Clock(rate_hz)

    def due(self, still: Still) -> Iterator[Picture]:
        """What this still gives: it once, several times or not at all."""
        for _ in self._clock.due(still.until_s):
            yield still.picture

    def rest(self) -> Iterator[Picture]:
        """What is left after the last still: nothing."""
        return iter(())


def decode_pictures(medium: Medium, rate_hz: float, most_bytes: int = MOST_BYTES) -> Iterator[Picture]:
    """The pictures of a medium at a constant rate. A repeated frame is the same array, which is read-only.

    Raises MediaError on the first picture, and for truncation after the last.
    """
    pictures = Pictures(rate_hz)
    for still in stills(medium, most_bytes):
        yield from pictures.due(still)


def stills(medium: Medium, most_bytes: int = MOST_BYTES) -> Generator[Still, None, None]:
    """The source frames of a medium in order of time, whatever the rate at which they will be read.

    most_bytes: memory that one of them may take.
    """
    path = medium.path
    with opened(path) as file, container_of(path, file) as container:
        stream = Stream(medium, container, "video")
        if medium.start_s > 0:
            container.seek(int((medium.start_s + stream.origin_s) * 1e6))  # to the key frame before it
        # A time stamp is rounded to its clock's tick (1 ms in flv): it may stand up to half a tick late.
        half_tick_s = max(float(stream.stream.time_base) / 2, 1e-6)
        length_s = math.inf if medium.end_s is None else medium.end_s - medium.start_s
        shown: av.VideoFrame | None = None
        until_s = 0.0
        for frame in stream.frames():
            at_s = stream.time_s(frame) - medium.start_s
            stream.check_still(until_s, at_s + stream.duration_s(frame))
            ends_s = min(at_s - half_tick_s, length_s - 1e-6)
            if shown is not None and ends_s > 0:  # not of those between the key frame and the start
                yield Still(path, shown, ends_s, most_bytes)
            if shown is not None and at_s >= length_s:
                return
            shown = frame
            until_s = at_s + stream.duration_s(frame)
        if shown is None:
            raise MediaError("truncated", f"{path}: not one picture can be decoded; copy it again")
        stream.check_end(until_s + medium.start_s)
        yield Still(path, shown, min(until_s, length_s) - 1e-6, most_bytes)


def _rgb(frame: av.VideoFrame) -> Picture:
    """One picture as (H, W, 3) RGB, turned upright as its file says (telephones film sideways)."""
    picture = np.asarray(frame.to_ndarray(format="rgb24", interpolation="AREA"), np.uint8)
    return np.ascontiguousarray(np.rot90(picture, frame.rotation // 90)) if frame.rotation else picture
