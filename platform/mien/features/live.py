"""Live: extractors at work while somebody speaks, on one picture after the other and on the latest stretch of sound.

The code is that of `prepare`: the same face track, the same crops and networks, the same openSMILE. Different is what
cannot be the same: the face's box is that of the newest point of its track (the next one lies in the future), and a
network sees one face at a time.
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from contextlib import ExitStack, closing
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from mien.errors import MediaError
from mien.features.extractors.face_track import TRACK_HZ, Box, FaceTrack, Picture, TrackSettings
from mien.features.spec import Extractor, Frames, Kind

MOST_PX = 1920 * 1080  # of a live picture
LOST_S = 1.0  # without a picture, after which a face is looked for as if it had never been seen
EARLY = 0.25  # of the time between two rows, that a picture may come before its time: cameras keep it loosely


class LiveFacts(NamedTuple):
    """What is to be known of an extractor to use it live. context_s: see `mien.features.spec.Extractor`. refusal: why
    it cannot be, "" where it can."""

    kind: Kind
    rate_hz: float
    context_s: float | None
    refusal: str


class Sight(NamedTuple):
    """What one picture showed.

    box: (4,) left, top, right, bottom of the face as shares of the picture's width and height; None where there is
    none, or where no extractor follows one. rows: of each feature that was due, (*shape,); None where there was nothing
    to see.
    """

    box: NDArray[np.float32] | None
    rows: dict[str, NDArray[Any] | None]


class LiveExtractors:
    """Extractors by feature name, for several people at once: each watcher has face tracks of its own."""

    def __init__(self, extractors: Mapping[str, Extractor]) -> None:
        self._extractors = extractors
        self._eyes: dict[int, Eyes] = {}

    def facts(self) -> dict[str, LiveFacts]:
        return {
            name: LiveFacts(one.kind, one.rate_hz, getattr(one, "context_s", None), refusal(one))
            for name, one in self._extractors.items()
        }

    def warm(self) -> None:
        """Load what is loaded with the first picture of a face, so that nobody waits for it."""
        picture, box = np.full((240, 320, 3), 128, np.uint8), np.array([110, 70, 210, 170], np.float32)
        with closing(Eyes(self._extractors)) as eyes:
            eyes.look(picture, 0.0)
            for look in eyes.looks.values():
                look(picture, box, 1.0)

    def hear(self, name: str, sound: NDArray[np.float32]) -> Frames | None:
        """The frames of a stretch of sound (N,) at the extractor's rate; None where it cannot use it (too short)."""
        extractor = self._extractors[name]
        try:
            return extractor(sound, extractor.rate_hz)
        except MediaError:
            return None

    def look(self, watcher: int, jpeg: bytes, time_s: float) -> Sight:
        """What a picture shows, later than the last one of that watcher. MediaError where it is no JPEG."""
        if watcher not in self._eyes:
            self._eyes[watcher] = Eyes(self._extractors)
        return self._eyes[watcher].look(opened_jpeg(jpeg), time_s)

    def forget(self, watcher: int) -> None:
        """Free what is held for a watcher, if anything is."""
        if eyes := self._eyes.pop(watcher, None):
            eyes.close()


class Eyes:
    """The extractors of pictures and faces, as far as one film has been shown to them."""

    def __init__(self, extractors: Mapping[str, Extractor]) -> None:
        self._open = ExitStack()
        self._extractors = {name: one for name, one in extractors.items() if one.kind in ("pictures", "faces")}
        self.looks = {name: self._open.enter_context(one.live()) for name, one in self._extractors.items()}  # type: ignore[attr-defined]
        self._due_s = dict.fromkeys(self._extractors, 0.0)
        followed = {_track(one) for one in self._extractors.values() if one.kind == "faces"}
        self._tracks = {settings: LiveTrack(settings) for settings in followed}

    def look(self, picture: Picture, time_s: float) -> Sight:
        """time_s: on a clock of its own, ascending."""
        boxes = {settings: track.see(picture, time_s) for settings, track in self._tracks.items()}
        rows: dict[str, NDArray[Any] | None] = {}
        for name, extractor in self._extractors.items():
            step_s = 1 / extractor.rate_hz
            if time_s < self._due_s[name] - EARLY * step_s:
                continue
            is_late = time_s > self._due_s[name] + step_s  # or the first: its rows begin here
            self._due_s[name] = (time_s if is_late else self._due_s[name]) + step_s
            box = boxes[_track(extractor)] if extractor.kind == "faces" else None
            rows[name] = _as_stored(self.looks[name](picture, box, time_s), extractor)
        box = next(iter(boxes.values()), None)
        if box is not None:
            height, width = picture.shape[:2]
            box = (box / np.array([width, height, width, height])).astype(np.float32)
        return Sight(box, rows)

    def close(self) -> None:
        self._open.close()


class LiveTrack:
    """A face track that is shown pictures as they come, and has as many points a second as that of a file."""

    def __init__(self, settings: TrackSettings) -> None:
        self._settings = settings
        self._begin(0.0)

    def _begin(self, time_s: float) -> None:
        self._track, self._start_s, self._n_points = FaceTrack(self._settings), time_s, 0

    def see(self, picture: Picture, time_s: float) -> Box | None:
        """The box of the face at the newest point of the track."""
        n_due = int((time_s - self._start_s) * TRACK_HZ + 1e-6) + 1 - self._n_points
        if not self._n_points or n_due > LOST_S * TRACK_HZ:
            self._begin(time_s)
            n_due = 1
        if n_due > 0:
            self._track.skip(n_due - 1)
            self._track.follow(picture)
            self._n_points += n_due
            del self._track.boxes[:-1]  # of hours
        return self._track.boxes[-1]


def refusal(extractor: Extractor) -> str:
    """Why it cannot work live, "" where it can."""
    if extractor.kind == "signals":
        return "it reads sensors, and a camera and a microphone are all that there is"
    if extractor.kind == "table":
        return "it reads what another program made of whole clips"
    if extractor.kind != "sound" and not hasattr(extractor, "live"):
        return "its extractor has no live()"
    return ""


def opened_jpeg(data: bytes) -> Picture:
    """(H, W, 3) uint8 RGB. MediaError where it is no JPEG, a damaged one, or larger than MOST_PX."""
    from PIL import Image

    try:
        with Image.open(io.BytesIO(data), formats=("JPEG",)) as image:
            if image.width * image.height > MOST_PX:
                raise MediaError(
                    "too-large", f"a picture of {image.width} x {image.height}, at most 1920 x 1080 is read"
                )
            return np.asarray(image.convert("RGB"))
    except (OSError, ValueError, SyntaxError) as error:  # what Pillow raises of damage
        raise MediaError("not-media", f"a picture that is no JPEG: {error}") from None


def _track(extractor: Extractor) -> TrackSettings:
    return getattr(extractor, "track", None) or TrackSettings()


def _as_stored(row: NDArray[Any] | None, extractor: Extractor) -> NDArray[Any] | None:
    """As it would come out of the store: a picture has been a JPEG there."""
    if row is None or extractor.spec.is_numeric:
        return row
    from mien.features.store.rows import decoded, encoded

    one = Frames(row[None], np.ones(1, bool))
    return decoded(encoded(one, extractor.spec), one.valid, extractor.spec).values[0]
