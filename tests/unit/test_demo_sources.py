"""What the server shows instead of the browser's camera: a file in real time, or a camera of its own."""

from __future__ import annotations

import asyncio
import time

import numpy as np
import pytest

from mien.errors import MediaError, MienError
from mien.features.live import opened_jpeg
from mien.predict.demo.protocol import Inputs, Picture, Sound
from mien.predict.demo.sources import SOUND_HZ, CameraSource, FileSource
from tiny_media import GREY_STEP, heard, tone, write_movie, write_wav


def played(source: FileSource, is_paused=lambda: False) -> list:
    async def all_of_it() -> list:
        return [message async for message in source.play(is_paused)]

    return asyncio.run(all_of_it())


@pytest.mark.slow
def test_a_film_is_played_as_it_is_and_not_faster(tmp_path):
    path = write_movie(tmp_path / "a.mp4", 1.0)
    began_s = time.monotonic()
    inputs, *messages = played(FileSource(path))
    assert time.monotonic() - began_s > 0.9, "in real time"
    assert inputs == Inputs(SOUND_HZ, True)
    sound = np.concatenate([message.samples for message in messages if isinstance(message, Sound)])
    np.testing.assert_array_equal(sound, heard(path, SOUND_HZ))
    pictures = [message for message in messages if isinstance(message, Picture)]
    assert 2 <= len(pictures) <= 25, "a slow machine leaves some out"
    for picture in pictures:
        assert picture.taken_ms == pytest.approx(40 * picture.number, abs=1)
        assert opened_jpeg(picture.jpeg).mean() == pytest.approx(GREY_STEP * picture.number, abs=3)


@pytest.mark.slow
def test_a_pause_stops_it(tmp_path):
    source = FileSource(write_wav(tmp_path / "a.wav", tone(0.3, 16_000), 16_000))
    answers = iter([False, False, True, True, True])
    messages = played(source, lambda: next(answers, False))
    assert messages[0] == Inputs(SOUND_HZ, False)
    assert sum(len(message.samples) for message in messages[1:]) == 4800, "and loses nothing"


def test_what_cannot_be_played_is_a_sentence(tmp_path):
    with pytest.raises(MediaError, match="no such file"):
        FileSource(tmp_path / "nothing.mp4")
    (tmp_path / "text.mp4").write_text("no film")
    with pytest.raises(MediaError, match="no format of sound or video"):
        FileSource(tmp_path / "text.mp4")
    assert not FileSource(write_movie(tmp_path / "mute.mp4", 0.3, audio=None))._sound


def test_a_camera_that_is_not_there_is_named():
    with pytest.raises(MienError, match=r"camera 97: this machine has no /dev/video97 .*--source"):
        CameraSource(97)
