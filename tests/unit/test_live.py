"""Extractors at work on one picture after the other give what they give of a film."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from mien.errors import MediaError
from mien.features import extractors
from mien.features.extractors.face_track import FaceTrack, TrackSettings
from mien.features.live import Eyes, LiveExtractors, LiveTrack, opened_jpeg, refusal
from tiny_extractors import Brightness, SoundExtractor
from tiny_faces import one_torch_thread, scene

BEGAN_S = 71_234.5  # a clock that began long ago


def jpeg(picture: np.ndarray, **options) -> bytes:
    file = io.BytesIO()
    Image.fromarray(picture).save(file, "JPEG", quality=95, **options)
    return file.getvalue()


def walk(n: int) -> list[np.ndarray]:
    """A face that walks through a picture, and is not there for a while."""
    return [scene() if 12 <= k < 15 else scene((40 + 9 * k, 40, 0.8)) for k in range(n)]


@pytest.mark.torch
@pytest.mark.slow
def test_a_row_is_that_of_the_film():
    """Up to rounding: the boxes of a track at its own points are those of the film, and a face is alone in its batch."""
    facenet = extractors.build("facenet", weights="random")
    pictures = walk(20)
    track = FaceTrack(TrackSettings())
    with one_torch_thread():
        film = facenet([(picture, track.follow(picture)) for picture in pictures], 10.0)
        eyes = Eyes({"facenet": facenet})
        sights = [eyes.look(picture, BEGAN_S + k / 10) for k, picture in enumerate(pictures)]
    assert [sight.rows["facenet"] is not None for sight in sights] == film.valid.tolist()
    assert not film.valid.all() and film.valid.sum() > 10
    for sight, values in zip(sights, film.values):
        if sight.box is not None:
            np.testing.assert_allclose(sight.rows["facenet"], values, atol=1e-5)
            assert (sight.box >= -0.1).all() and (sight.box <= 1.1).all(), "shares of the picture"


@pytest.mark.torch
@pytest.mark.slow
def test_a_slow_machine_follows_a_face_once_a_picture_and_keeps_time(monkeypatch):
    followed = []
    follow = FaceTrack.follow
    monkeypatch.setattr(FaceTrack, "follow", lambda track, picture: followed.append(0) or follow(track, picture))
    live = LiveTrack(TrackSettings())
    with one_torch_thread():
        for k, picture in enumerate(walk(8)):
            assert live.see(picture, BEGAN_S + 0.4 * k) is not None
        assert live.see(scene((40, 40, 0.8)), BEGAN_S + 60) is not None, "after a gap it is looked for anew"
    assert len(followed) == 9
    assert len(live._track.boxes) == 1, "of hours no more is kept"


def test_a_row_is_made_when_it_is_due():
    """A camera of 25 pictures a second, features at 10 and 5 Hz; cameras keep time loosely."""
    rng = np.random.default_rng(0)
    looked: dict[str, list[float]] = {"often": [], "seldom": []}

    class Watching:
        kind, medium = "pictures", "video"
        spec = extractors.build("tiny_extractors:Brightness").spec

        def __init__(self, name: str, rate_hz: float) -> None:
            self.name, self.rate_hz = name, rate_hz

        def live(self):
            from contextlib import nullcontext

            return nullcontext(lambda picture, box, time_s: looked[self.name].append(time_s))

    eyes = Eyes({"often": Watching("often", 10.0), "seldom": Watching("seldom", 5.0)})
    for k in range(250):
        eyes.look(np.zeros((4, 4, 3), np.uint8), BEGAN_S + k / 25 + rng.uniform(0, 0.005))
    assert len(looked["often"]) == pytest.approx(100, abs=2)
    assert len(looked["seldom"]) == pytest.approx(50, abs=2)
    assert np.diff(looked["often"]).min() > 0.06


@pytest.mark.slow
def test_a_landmarker_says_of_pictures_what_it_says_of_the_film(landmarker_task):
    shapes = extractors.build("blendshapes", model=str(landmarker_task))
    pictures = walk(6)
    film = shapes(pictures, 10.0)
    live = LiveExtractors({"blendshapes": shapes})
    rows = [live.look(1, jpeg(picture), k / 10).rows["blendshapes"] for k, picture in enumerate(pictures)]
    assert film.valid.all()
    np.testing.assert_allclose(np.stack(rows), film.values, atol=0.1)  # a JPEG lies between
    live.forget(1)
    live.forget(1)


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "no JPEG"),
        (b"\xff\xd8\xff", "no JPEG"),
        (jpeg(scene())[:2000], "no JPEG"),
        (b"\x89PNG\r\n\x1a\n" + bytes(100), "no JPEG"),
        (jpeg(np.zeros((1100, 1930, 3), np.uint8)), "at most 1920 x 1080"),
    ],
)
def test_what_is_no_picture_is_a_sentence(data, said):
    with pytest.raises(MediaError, match=said):
        opened_jpeg(data)


def test_a_grey_picture_is_one():
    file = io.BytesIO()
    Image.new("L", (32, 16), 100).save(file, "JPEG")
    assert opened_jpeg(file.getvalue()).shape == (16, 32, 3)


def test_what_cannot_work_live_says_why():
    assert not refusal(SoundExtractor())
    assert "live()" in refusal(Brightness().build())
    assert "sensors" in refusal(extractors.build("eeg-raw"))
    assert "another program" in refusal(extractors.build("openface"))
    for name in ("egemaps", "egemaps-clip", "egemaps-lld", "compare-clip", "logmel", "frames"):
        assert not refusal(extractors.build(name)), name
    assert not refusal(extractors.build("facenet", weights="random"))


def test_sound_that_is_too_short_has_no_frames():
    live = LiveExtractors({"egemaps": extractors.build("egemaps")})
    assert live.hear("egemaps", np.zeros(100, np.float32)) is None
    assert live.facts()["egemaps"].context_s == pytest.approx(1.2)
