"""Faces: each picture with the box of the face in it, at any rate, from one track on a clock of its own.

The track (`mien.features.extractors.face_track`) sees pictures at its own rate, whatever the rates of those who read
it. So a picture between two of its points waits for the later one.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator

from mien.corpora.clip import Medium
from mien.features.extractors.face_track import TRACK_HZ, Box, FaceTrack, TrackSettings
from mien.features.media.pictures import Clock, Picture, Still, stills
from mien.features.media.truncation import MOST_BYTES

Seen = tuple[Picture, Box | None]


class SharedTrack:
    """One face track, as far as the stills have been shown to it."""

    def __init__(self, settings: TrackSettings) -> None:
        self.track = FaceTrack(settings)
        self._clock = Clock(TRACK_HZ)

    def advance(self, still: Still) -> None:
        """Follow the face through the moments of the track that this still covers."""
        for _ in self._clock.due(still.until_s):
            self.track.follow(still.picture)


class Faces:
    """Pictures at one rate with the boxes of a shared track."""

    def __init__(self, rate_hz: float, shared: SharedTrack) -> None:
        self._clock = Clock(rate_hz)
        self._track = shared.track
        self._waiting: deque[tuple[float, Picture]] = deque()  # at most those of one still and one step of the track

    def due(self, still: Still) -> Iterator[Seen]:
        """What can be shown once the track has advanced over this still."""
        for k in self._clock.due(still.until_s):
            self._waiting.append((k / self._clock.rate_hz, still.picture))
            while self._waiting and self._track.is_known(self._waiting[0][0]):
                yield self._next()

    def rest(self) -> Iterator[Seen]:
        """What still waits after the last still: it gets the last box."""
        while self._waiting:
            yield self._next()

    def _next(self) -> Seen:
        time_s, picture = self._waiting.popleft()
        return picture, self._track.box(time_s)


def decode_faces(
    medium: Medium, rate_hz: float, most_bytes: int = MOST_BYTES, settings: TrackSettings | None = None
) -> Iterator[Seen]:
    """(picture, box) at a constant rate: picture (H, W, 3) uint8 RGB, box (4,) float32 or None.

    Raises MediaError as `decode_pictures` does.
    """
    shared = SharedTrack(settings or TrackSettings())
    faces = Faces(rate_hz, shared)
    for still in stills(medium, most_bytes):
        shared.advance(still)
        yield from faces.due(still)
    yield from faces.rest()
