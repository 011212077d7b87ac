"""How long a file is, and late stretches of long compressed sound: the same samples, decoded once."""

from __future__ import annotations

import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from mien.corpora.clip import Medium
from mien.errors import MediaError
from mien.features.media import unpacked
from mien.features.media.length import length_s
from mien.features.media.sound import decode_sound
from tiny_media import add_sleeve, tone, write_movie, write_wav

RATE_HZ = 16_000
pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def own_cache(monkeypatch, tmp_path):
    monkeypatch.setenv("MIEN_CACHE", str(tmp_path / "cache"))
    unpacked._late.clear()


@pytest.mark.parametrize(
    ("name", "how"),
    [
        ("a.mp4", {}),
        ("a.mkv", {"audio": None}),
        ("a.m4a", {"video": None}),
        ("a.mp3", {"video": None, "audio": "libmp3lame"}),
        ("a.ts", {}),
    ],
)
def test_the_length_of_a_container(tmp_path, name, how):
    path = write_movie(tmp_path / name, 3.0, rate_hz=RATE_HZ, **how)
    assert length_s(path) == pytest.approx(3.0, abs=0.15)


def test_the_length_of_others(tmp_path):
    assert length_s(write_wav(tmp_path / "a.wav", tone(1.5, RATE_HZ), RATE_HZ)) == 1.5
    sleeve = add_sleeve(write_movie(tmp_path / "b.mp3", 2.0, video=None, audio="libmp3lame", rate_hz=RATE_HZ))
    assert length_s(sleeve) == pytest.approx(2.0, abs=0.15)
    assert length_s("table.csv#3") is None
    (tmp_path / "c.wav").write_bytes(b"no sound")
    with pytest.raises(MediaError):
        length_s(str(tmp_path / "c.wav"))
    with pytest.raises(MediaError, match="no such file"):
        length_s(str(tmp_path / "nobody.wav"))


@pytest.fixture(scope="module")
def long(tmp_path_factory) -> str:
    """70 s of AAC, each second another tone."""
    path = tmp_path_factory.mktemp("long") / "long.m4a"
    sound = np.concatenate([tone(1.0, RATE_HZ, 200 + 10 * second) for second in range(70)])
    return write_movie(path, video=None, sound=sound, rate_hz=RATE_HZ)


SPANS = ((40.3, 41.3), (68.0, 69.9), (31.0, 31.5), (2.0, 3.0))


def test_late_stretches_are_unpacked_once_and_are_the_same_to_the_bit(long, tmp_path, monkeypatch):
    media = [Medium(path=long, start_s=start, end_s=end) for start, end in SPANS]
    expected = []
    for medium in media:
        unpacked._late.clear()  # the first late stretch of a file is decoded
        expected.append(decode_sound(medium, RATE_HZ))
    assert not (tmp_path / "cache").exists()
    n_made = []
    monkeypatch.setattr(unpacked, "_unpack", lambda *given, real=unpacked._unpack: (n_made.append(1), real(*given)))
    for medium, wanted in zip([*media, *media], [*expected, *expected]):
        np.testing.assert_array_equal(decode_sound(medium, RATE_HZ), wanted)
    assert len(n_made) == 1
    assert len(list((tmp_path / "cache" / "sound").glob("*.rf64"))) == 1
    unpacked.forget(long)
    assert not list((tmp_path / "cache" / "sound").iterdir())


def test_a_stretch_beyond_the_end_is_refused_as_before(long):
    beyond = Medium(path=long, start_s=69.0, end_s=80.0)
    for _ in range(3):
        with pytest.raises(MediaError) as error:
            decode_sound(beyond, RATE_HZ)
        assert error.value.reason == "span-beyond-end"


def test_a_file_that_is_cut_off_gives_what_comes_before_the_cut(tmp_path):
    sound = np.concatenate([tone(1.0, RATE_HZ, 200 + 10 * second) for second in range(60)])
    whole = Path(write_movie(tmp_path / "a.mkv", video=None, sound=sound, rate_hz=RATE_HZ))
    whole.write_bytes(whole.read_bytes()[: whole.stat().st_size * 3 // 4])
    inside = Medium(path=str(whole), start_s=40.0, end_s=41.0)
    alone = decode_sound(inside, RATE_HZ)
    np.testing.assert_array_equal(decode_sound(inside, RATE_HZ), alone)
    with pytest.raises(MediaError):
        decode_sound(Medium(path=str(whole), start_s=55.0, end_s=56.0), RATE_HZ)


def test_without_room_it_is_decoded(long, monkeypatch, tmp_path):
    monkeypatch.setattr(unpacked, "LEAST_FREE_BYTES", 2**62)
    monkeypatch.setattr(unpacked, "_CHECKED_EVERY", 0)
    medium = Medium(path=long, start_s=40.0, end_s=41.0)
    one = decode_sound(medium, RATE_HZ)
    np.testing.assert_array_equal(decode_sound(medium, RATE_HZ), one)
    assert not list((tmp_path / "cache" / "sound").glob("*.rf64")) + list((tmp_path / "cache").rglob("*.partly"))


def test_silence_is_unpacked_too_and_the_oldest_go(tmp_path, monkeypatch):
    sound = np.zeros(40 * RATE_HZ, np.float32)
    sound[-RATE_HZ:] = tone(1.0, RATE_HZ)
    path = write_movie(tmp_path / "a.m4a", video=None, sound=sound, rate_hz=RATE_HZ)
    medium = Medium(path=path, start_s=39.0, end_s=39.9)
    one = decode_sound(medium, RATE_HZ)
    np.testing.assert_array_equal(decode_sound(medium, RATE_HZ), one)
    (kept,) = (tmp_path / "cache" / "sound").glob("*.rf64")
    monkeypatch.setattr(unpacked, "MOST_KEPT_BYTES", kept.stat().st_size)
    other = write_movie(tmp_path / "b.m4a", video=None, sound=sound, rate_hz=RATE_HZ)
    for _ in range(2):
        decode_sound(Medium(path=other, start_s=39.0, end_s=39.9), RATE_HZ)
    assert len(list((tmp_path / "cache" / "sound").glob("*.rf64"))) == 1 and not kept.exists()


def test_a_stretch_takes_the_memory_of_a_stretch(long):
    medium = Medium(path=long, start_s=40.0, end_s=40.5)
    decode_sound(medium, RATE_HZ)
    decode_sound(medium, RATE_HZ)
    tracemalloc.start()
    decode_sound(medium, RATE_HZ)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2**20, "a half second is 32 kB, the file 4.5 MB"
