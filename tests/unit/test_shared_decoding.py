"""Several extractors of one medium: one pass over the file, and each gets what it would get alone."""

from __future__ import annotations

import gc
import threading
import weakref
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from mien.corpora.clip import Medium
from mien.errors import MediaError
from mien.features import media
from mien.features.extractors import face_track
from mien.features.extractors.face_track import TrackSettings
from mien.features.media import faces, pictures, shared, sound
from mien.features.spec import FeatureSpec, Frames
from tiny_media import numbers, tone, write_movie, write_wav

Picture = NDArray[np.uint8]


class Watcher:
    """An extractor that keeps a small copy of all that it is given, as its frames.

    stops_after: how many pictures it reads at most. fails_after: how many it reads before it raises.
    """

    medium = "video"
    is_heavy = False

    def __init__(
        self,
        rate_hz: float,
        kind: str = "pictures",
        *,
        stops_after: int | None = None,
        fails_after: int | None = None,
        track: TrackSettings | None = None,
        look: Callable[[Any], object] = lambda item: None,
    ) -> None:
        self.rate_hz, self.kind = rate_hz, kind
        self.spec = FeatureSpec(name="watcher", version=1, modality="video", shape=(5,), hop_s=1 / rate_hz)
        self._stops_after, self._fails_after, self._look = stops_after, fails_after, look
        if track:
            self.track = track

    def __call__(self, signal: Iterable[Any], rate_hz: float) -> Frames:
        assert rate_hz == self.rate_hz
        rows = []
        for item in signal:
            self._look(item)
            if len(rows) == self._fails_after:
                raise ZeroDivisionError("this extractor fails")
            picture, box = item if self.kind == "faces" else (item, np.zeros(4, np.float32))
            rows.append([picture.astype(np.float64).sum(), *(np.full(4, -1.0) if box is None else box)])
            if len(rows) == self._stops_after:
                break
        return Frames(np.array(rows), np.ones(len(rows), bool))


@pytest.fixture
def film(tmp_path: Path) -> Medium:
    return Medium(path=write_movie(tmp_path / "a.mp4", 2.0, audio=None), start_s=0.2, end_s=1.9)


@pytest.fixture
def moving_face(monkeypatch: pytest.MonkeyPatch) -> None:
    """A detector without torch: the box stands where the grey of the picture says; it is gone in some pictures."""

    def found(picture: Picture, *given: object) -> NDArray[np.float32]:
        left = float(picture.mean())
        return np.array([[left, 10, left + 40, 60]], np.float32)[: int(left) % 32 > 4]

    def refined(picture: Picture, box: NDArray[np.float32]) -> tuple[NDArray[np.float32], float]:
        boxes = found(picture)
        return (boxes[0], 1.0) if len(boxes) else (box, 0.0)

    monkeypatch.setattr(face_track, "detect", found)
    monkeypatch.setattr(face_track, "refine", refined)


@pytest.fixture
def n_passes(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The files that were opened for their pictures, each time."""
    opened: list[str] = []
    for module in (pictures, faces, shared):
        stills = module.stills

        def counted(medium: Medium, *limits: int, stills: Any = stills) -> Iterator[Any]:
            opened.append(medium.path)
            yield from stills(medium, *limits)

        monkeypatch.setattr(module, "stills", counted)
    return opened


def alone(medium: Medium, watcher: Watcher) -> Frames:
    (outcome,) = shared.extract(medium, [watcher])
    assert not isinstance(outcome, Exception), outcome
    return outcome


def same(one: Frames, other: Frames) -> None:
    np.testing.assert_array_equal(one.values, other.values)
    np.testing.assert_array_equal(one.valid, other.valid)


@pytest.mark.slow
def test_pictures_at_several_rates_are_those_of_each_alone_from_one_pass(film: Medium, n_passes: list[str]) -> None:
    rates_hz = (5.0, 25.0, 29.97, 7.0, 60.0)
    expected = [alone(film, Watcher(rate_hz)) for rate_hz in rates_hz]
    n_passes.clear()
    outcomes = shared.extract(film, [Watcher(rate_hz) for rate_hz in rates_hz])
    assert len(n_passes) == 1
    for rate_hz, outcome, other in zip(rates_hz, outcomes, expected):
        same(outcome, other)
        assert len(outcome.valid) == pytest.approx(1.7 * rate_hz, abs=1)


@pytest.mark.usefixtures("moving_face")
def test_faces_and_pictures_are_those_of_each_alone_from_one_pass(film: Medium, n_passes: list[str]) -> None:
    def readers() -> list[Watcher]:
        return [Watcher(10.0, "faces"), Watcher(25.0, "faces"), Watcher(11.0), Watcher(4.0, "faces")]

    expected = [alone(film, reader) for reader in readers()]
    n_passes.clear()
    for outcome, other in zip(shared.extract(film, readers()), expected):
        same(outcome, other)
    assert len(n_passes) == 1
    assert {-1.0} < {row[1] for row in expected[1].values}  # with a face in some and none in others


@pytest.mark.usefixtures("moving_face")
@pytest.mark.parametrize("rate_hz", [25.0, 10.0, 7.0, 60.0])
def test_each_picture_has_the_box_of_its_time(film: Medium, rate_hz: float) -> None:
    """As from a track that is complete before it is asked: no picture is shown before the point after it is known."""
    track = face_track.FaceTrack(TrackSettings())
    for picture in media.decode("pictures", film, face_track.TRACK_HZ):
        track.follow(picture)
    boxes = [box for _, box in media.decode("faces", film, rate_hz)]
    assert len(boxes) == len(list(media.decode("pictures", film, rate_hz)))
    for k, box in enumerate(boxes):
        np.testing.assert_array_equal(box, track.box(k / rate_hz))
    assert sum(box is None for box in boxes) not in (0, len(boxes))


@pytest.mark.usefixtures("moving_face")
def test_alone_is_what_the_decoder_of_its_kind_gives(film: Medium) -> None:
    for kind in ("pictures", "faces"):
        given = Watcher(25.0, kind)(media.decode(kind, film, 25.0), 25.0)
        same(alone(film, Watcher(25.0, kind)), given)


@pytest.mark.usefixtures("moving_face")
def test_one_track_serves_all_rates_and_another_is_made_for_other_settings(
    film: Medium, monkeypatch: pytest.MonkeyPatch
) -> None:
    tracks: list[TrackSettings] = []

    class Counted(face_track.FaceTrack):
        def __init__(self, settings: TrackSettings) -> None:
            tracks.append(settings)
            super().__init__(settings)

    monkeypatch.setattr(faces, "FaceTrack", Counted)
    readers = [Watcher(rate_hz, "faces") for rate_hz in (10.0, 25.0, 5.0)]
    shared.extract(film, readers)
    assert tracks == [TrackSettings()]
    tracks.clear()
    other = TrackSettings(detect_height_px=300)
    shared.extract(film, [*readers, Watcher(10.0, "faces", track=other), Watcher(5.0, "faces", track=other)])
    assert len(tracks) == 2 and set(tracks) == {TrackSettings(), other}


def test_an_exception_of_one_is_its_own(film: Medium) -> None:
    expected = [alone(film, Watcher(rate_hz)) for rate_hz in (5.0, 25.0)]
    first, failed, never, second = shared.extract(
        film, [Watcher(5.0), Watcher(10.0, fails_after=3), Watcher(10.0, fails_after=0), Watcher(25.0)]
    )
    same(first, expected[0])
    same(second, expected[1])
    assert isinstance(failed, ZeroDivisionError) and isinstance(never, ZeroDivisionError)


def test_one_may_stop_early_and_the_file_is_left_when_all_have(film: Medium, monkeypatch: pytest.MonkeyPatch) -> None:
    decoded: list[float] = []
    still = pictures.Still
    monkeypatch.setattr(pictures, "Still", lambda *given: decoded.append(given[2]) or still(*given))
    early, late = shared.extract(film, [Watcher(25.0, stops_after=2), Watcher(25.0, stops_after=7)])
    assert (len(early.valid), len(late.valid)) == (2, 7)
    assert len(decoded) == 7
    same(late, alone(film, Watcher(25.0, stops_after=7)))


def test_an_exception_of_decoding_is_everybodys_who_still_reads(tmp_path: Path) -> None:
    path = tmp_path / "a.flv"
    write_movie(path, 2.0, video="flv1", audio=None)
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 6 // 10])
    medium = Medium(path=str(path))
    early, *others = shared.extract(medium, [Watcher(25.0, stops_after=2), Watcher(5.0), Watcher(25.0)])
    assert isinstance(early, Frames)
    assert [error.reason for error in others] == ["truncated", "truncated"]
    gone = shared.extract(Medium(path=str(tmp_path / "gone.mp4")), [Watcher(5.0), Watcher(10.0, "faces")])
    assert [error.reason for error in gone] == ["missing", "missing"]


def test_an_exception_of_the_track_is_that_of_the_faces(film: Medium, monkeypatch: pytest.MonkeyPatch) -> None:
    def detect(*given: object) -> None:
        raise ImportError("no torch here")

    monkeypatch.setattr(face_track, "detect", detect)
    seen, faced, other = shared.extract(film, [Watcher(5.0), Watcher(10.0, "faces"), Watcher(25.0, "faces")])
    same(seen, alone(film, Watcher(5.0)))
    assert isinstance(faced, ImportError) and isinstance(other, ImportError)


def test_no_thread_and_no_file_is_left_behind(film: Medium) -> None:
    before = threading.active_count()
    for _ in range(3):
        shared.extract(film, [Watcher(5.0), Watcher(25.0, fails_after=1), Watcher(10.0, stops_after=1)])
    assert threading.active_count() == before


def test_what_interrupts_one_interrupts_nothing_else(film: Medium) -> None:
    """sys.exit in an extractor must not leave the decoder waiting for it."""

    def leave(item: object) -> None:
        raise SystemExit

    left, other = shared.extract(film, [Watcher(5.0, look=leave), Watcher(25.0)])
    assert "watcher was ended by SystemExit" in str(left)
    same(other, alone(film, Watcher(25.0)))


@pytest.mark.slow
@pytest.mark.usefixtures("moving_face")
def test_pictures_do_not_pile_up_whatever_the_rates(tmp_path: Path) -> None:
    """With a slow and a fast reader and a face track, a dozen pictures live at a time, however long the film is."""
    medium = Medium(path=write_movie(tmp_path / "a.mp4", 8.0, audio=None))
    alive: weakref.WeakSet[Any] = weakref.WeakSet()
    most = 0
    still = pictures.Still

    class Watched(still):  # type: ignore[misc, valid-type]
        def __init__(self, *given: Any) -> None:
            super().__init__(*given)
            alive.add(self)

    class Counted(np.ndarray):
        pass

    def look(item: Any) -> None:
        nonlocal most
        gc.collect(0)
        most = max(most, sum(1 for one in alive if one._picture is not None), len(live_pictures()))

    pictures_made: list[weakref.ref[Any]] = []

    def live_pictures() -> list[Any]:
        return [one for ref in pictures_made if (one := ref()) is not None]

    rgb = pictures._rgb

    def counted(frame: Any) -> Any:
        picture = rgb(frame).view(Counted)
        pictures_made.append(weakref.ref(picture))
        return picture

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pictures, "Still", Watched)
        patch.setattr(pictures, "_rgb", counted)
        shared.extract(medium, [Watcher(25.0, "faces", look=look), Watcher(5.0, look=look), Watcher(25.0, look=look)])
    assert len(pictures_made) == 200
    assert most <= 12


def test_pictures_are_read_only_and_repeated_ones_the_same_array(film: Medium) -> None:
    def paint(picture: Picture) -> None:
        picture[:] = 0

    for readers in ([Watcher(25.0, look=paint)], [Watcher(25.0, look=paint), Watcher(5.0)]):
        outcome = shared.extract(film, readers)[0]
        assert isinstance(outcome, ValueError) and "read-only" in str(outcome)


class Ear:
    """An extractor of sound: its first sample and its length."""

    medium, kind, is_heavy = "audio", "sound", False
    spec = FeatureSpec(name="ear", version=1, modality="audio", shape=(2,), hop_s=None)

    def __init__(self, rate_hz: float, wicked: bool = False) -> None:
        self.rate_hz, self._wicked = rate_hz, wicked
        self.given: list[Any] = []

    def __call__(self, signal: NDArray[np.float32], rate_hz: float) -> Frames:
        self.given.append(signal)
        if self._wicked:
            signal[:] = 0
        return Frames(np.array([[signal[100], len(signal)]], np.float32), np.ones(1, bool))


def test_sound_is_decoded_once_per_rate_and_nobody_can_change_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    medium = Medium(path=write_wav(tmp_path / "a.wav", tone(0.5, 16_000), 16_000))
    decoded: list[float] = []
    decode_sound = sound.decode_sound
    monkeypatch.setitem(
        media.DECODERS, "sound", lambda m, rate_hz, n: decoded.append(rate_hz) or decode_sound(m, rate_hz)
    )
    ears = [Ear(16_000), Ear(16_000, wicked=True), Ear(8_000), Ear(16_000)]
    first, wicked, low, last = shared.extract(medium, ears)
    assert decoded == [16_000, 8_000]
    assert ears[0].given[0] is ears[3].given[0]
    same(first, last)
    assert isinstance(wicked, ValueError)
    assert low.values[0, 1] == 4_000


def test_one_clip_serves_all_kinds_and_keeps_their_order(tmp_path: Path) -> None:
    medium = Medium(path=write_movie(tmp_path / "a.mp4", 1.0))
    seen, heard, other = shared.extract(medium, [Watcher(5.0), Ear(16_000), Watcher(25.0)])
    assert (len(seen.valid), len(other.valid)) == (5, 25)
    assert heard.values[0, 1] == pytest.approx(16_000, rel=0.07)
    assert shared.extract(medium, []) == []


def test_a_medium_without_sound_has_its_pictures(tmp_path: Path) -> None:
    medium = Medium(path=write_movie(tmp_path / "a.mp4", 1.0, audio=None))
    heard, also_heard, seen = shared.extract(medium, [Ear(16_000), Ear(16_000), Watcher(5.0)])
    assert isinstance(heard, MediaError) and heard.reason == "no-audio-stream"
    assert also_heard is heard
    assert numbers(list(media.decode("pictures", medium, 5.0))) and len(seen.valid) == 5
