"""Several extractors from one pass over a medium: pictures are decoded once, and a face is followed once.

An extractor reads pictures from an iterator, at its own pace. So each of several runs in a thread of its own, one at a
time: the decoder gives it one picture and waits until it asks for the next one. No more than one picture per extractor
is held, and each gets, to the bit, what it would get alone.

An exception of an extractor is its own outcome; one of the decoder is raised in each that still reads; one of the face
track in each that reads faces.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from queue import SimpleQueue
from threading import Thread
from typing import Any, NamedTuple

import numpy as np

from mien.corpora.clip import Medium
from mien.features.extractors.face_track import TrackSettings
from mien.features.media import decode
from mien.features.media.faces import Faces, SharedTrack, decode_faces
from mien.features.media.pictures import Pictures, Still, stills
from mien.features.media.truncation import MOST_BYTES
from mien.features.spec import Extractor, Frames, Kind, Signals

Extracted = Frames | Exception


def extract(medium: Medium, extractors: Sequence[Extractor], most_bytes: int = MOST_BYTES) -> list[Extracted]:
    """What each extractor makes of one medium, in their order: its frames, or the exception that it ended with.

    most_bytes: memory that the decoded medium may take, of pictures one of them.
    """
    outcomes: dict[int, Extracted] = {}
    whole: dict[tuple[Kind, float], list[int]] = {}
    on_the_way: list[int] = []
    for index, extractor in enumerate(extractors):
        if extractor.kind in ("pictures", "faces"):
            on_the_way.append(index)
        else:
            whole.setdefault((extractor.kind, extractor.rate_hz), []).append(index)
    for (kind, rate_hz), indices in whole.items():
        signal = _outcome(_decode_read_only, kind, medium, rate_hz, most_bytes)
        for index in indices:
            outcomes[index] = signal if isinstance(signal, Exception) else _run(extractors[index], signal)
    if len(on_the_way) == 1:
        extractor = extractors[on_the_way[0]]
        outcomes[on_the_way[0]] = _run(extractor, _alone(medium, extractor, most_bytes))
    elif on_the_way:
        readers = [extractors[index] for index in on_the_way]
        outcomes.update(zip(on_the_way, _together(medium, readers, most_bytes)))
    return [outcomes[index] for index in range(len(extractors))]


def _decode_read_only(kind: Kind, medium: Medium, rate_hz: float, most_bytes: int) -> Any:
    """The signal, whose array none of those that share it can change for the others."""
    signal = decode(kind, medium, rate_hz, most_bytes)
    values = signal.values if isinstance(signal, Signals) else signal
    if isinstance(values, np.ndarray):
        values.flags.writeable = False
    return signal


def _run(extractor: Extractor, signal: Any) -> Extracted:
    return _outcome(extractor, signal, signal.rate_hz if isinstance(signal, Signals) else extractor.rate_hz)


def _outcome(call: Callable[..., Any], *given: Any) -> Any:
    try:
        return call(*given)
    except Exception as error:
        return error


def _alone(medium: Medium, extractor: Extractor, most_bytes: int) -> Iterator[Any]:
    if extractor.kind == "faces":
        return decode_faces(medium, extractor.rate_hz, most_bytes, _track(extractor))
    return iter(decode(extractor.kind, medium, extractor.rate_hz, most_bytes))


def _track(extractor: Extractor) -> TrackSettings:
    return getattr(extractor, "track", None) or TrackSettings()


def _together(medium: Medium, extractors: Sequence[Extractor], most_bytes: int) -> list[Extracted]:
    """The outcomes of several extractors of pictures or faces, from one pass."""
    wanted = {_track(extractor) for extractor in extractors if extractor.kind == "faces"}
    tracks = {settings: SharedTrack(settings) for settings in wanted}
    readers = [_Reader(e, tracks[_track(e)] if e.kind == "faces" else None) for e in extractors]
    film = stills(medium, most_bytes)
    try:
        for reader in readers:
            reader.start()
        for still in film:
            for track in tracks.values():
                _advance(track, still, [reader for reader in readers if reader.track is track and reader.is_reading])
            for reader in readers:
                reader.show(still)
            if not any(reader.is_reading for reader in readers):
                break
        for reader in readers:
            reader.finish()
    except Exception as error:  # of decoding
        for reader in readers:
            reader.end(error)
    finally:
        film.close()
        for reader in readers:
            reader.end()
    return [reader.outcome for reader in readers]


def _advance(track: SharedTrack, still: Still, readers: Sequence[_Reader]) -> None:
    if not readers:
        return
    try:
        track.advance(still)
    except Exception as error:
        for reader in readers:
            reader.end(error)


class _End(NamedTuple):
    """The last thing that a reader is given. error: what is raised in it, None where the film is over."""

    error: Exception | None


class _Reader:
    """One extractor in a thread of its own, which runs only while the decoder waits for it.

    is_reading: whether it asks for more. outcome: once it does not.
    """

    def __init__(self, extractor: Extractor, track: SharedTrack | None) -> None:
        self._extractor, self.track = extractor, track
        self._feed = Pictures(extractor.rate_hz) if track is None else Faces(extractor.rate_hz, track)
        self._given: SimpleQueue[Any] = SimpleQueue()
        self._asks: SimpleQueue[bool] = SimpleQueue()
        self._thread = Thread(target=self._extract, daemon=True)
        self.is_reading = False
        self.outcome: Extracted = RuntimeError("was not extracted")

    def start(self) -> None:
        self._thread.start()
        self.is_reading = self._asks.get()

    def show(self, still: Still) -> None:
        """Let it read what this source frame gives at its rate."""
        if self.is_reading:
            self._give(self._feed.due(still))

    def finish(self) -> None:
        """The film is over."""
        if self.is_reading:
            self._give(self._feed.rest())
        self.end()

    def end(self, error: Exception | None = None) -> None:
        """Raise the error in it, or end its iterator, and wait for its outcome."""
        if self.is_reading:
            self.is_reading = False
            self._given.put(_End(error))
            self._thread.join()

    def _give(self, items: Iterator[Any]) -> None:
        for item in items:
            self._given.put(item)
            self.is_reading = self._asks.get()
            if not self.is_reading:
                return

    def _items(self) -> Iterator[Any]:
        while True:
            self._asks.put(True)
            item = self._given.get()
            if isinstance(item, _End):
                if item.error is not None:
                    raise item.error
                return
            yield item

    def _extract(self) -> None:
        try:
            self.outcome = _run(self._extractor, self._items())
        except BaseException as error:  # sys.exit in an extractor: the decoder must not wait for it for ever
            self.outcome = RuntimeError(f"{self._extractor.spec.name} was ended by {error!r}")
        finally:
            self._asks.put(False)
