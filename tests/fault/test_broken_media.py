"""Broken media, made by cutting, zeroing and renaming real ones: named rejects, or read as far as they go."""

from __future__ import annotations

import os
import struct
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile

from mien.corpora.clip import Medium
from mien.errors import MediaError
from mien.features import extractors, media
from tiny_media import add_sleeve, heard, tone, voice, write_movie, write_wav

pytestmark = pytest.mark.fault


def decode(path: Path, kind: str = "sound", **stretch: float) -> int:
    signal = media.decode(kind, Medium(path=str(path), **stretch), 16_000 if kind == "sound" else 10.0)
    return len(signal) if kind == "sound" else len(list(signal))


def reason_of(path: Path, kind: str = "sound", **stretch: float) -> str:
    with pytest.raises(MediaError) as error:
        decode(path, kind, **stretch)
    assert str(path) in str(error.value)
    return error.value.reason


def cut(path: Path, share: float) -> Path:
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])
    return path


def wav(path: Path) -> Path:
    return Path(write_wav(path.with_suffix(".wav"), tone(2.0, 16_000), 16_000))


def flac(path: Path) -> Path:
    soundfile.write(path.with_suffix(".flac"), voice(2.0), 16_000)
    return path.with_suffix(".flac")


def mp3(path: Path) -> Path:
    return Path(write_movie(path.with_suffix(".mp3"), video=None, audio="libmp3lame"))


def mp3_with_sleeve(path: Path) -> Path:
    return Path(add_sleeve(str(mp3(path))))


def mp4(path: Path) -> Path:
    return Path(write_movie(path.with_suffix(".mp4")))


def streamable_mp4(path: Path) -> Path:
    return Path(write_movie(path.with_suffix(".mp4"), options={"movflags": "faststart"}))


def flv(path: Path) -> Path:
    return Path(write_movie(path.with_suffix(".flv"), video="flv1", audio="libmp3lame"))


def avi(path: Path) -> Path:
    return Path(write_movie(path.with_suffix(".avi"), video="mpeg4", audio="pcm_s16le"))


SOUNDS = [wav, flac, mp3, mp3_with_sleeve, mp4, streamable_mp4, flv, avi]
FILMS = [mp4, streamable_mp4, flv, avi]


@pytest.mark.parametrize("write", SOUNDS)
@pytest.mark.parametrize("share", [0.8, 0.6])
def test_half_a_sound_is_not_taken_for_a_whole(tmp_path: Path, write: Callable[[Path], Path], share: float) -> None:
    assert reason_of(cut(write(tmp_path / "a"), share)) == "truncated"


@pytest.mark.parametrize("write", FILMS)
@pytest.mark.parametrize("share", [0.8, 0.6])
def test_half_a_film_is_not_taken_for_a_whole(tmp_path: Path, write: Callable[[Path], Path], share: float) -> None:
    assert reason_of(cut(write(tmp_path / "a"), share), "pictures") == "truncated"


@pytest.mark.parametrize("write", [wav, mp3, streamable_mp4, flv, avi])
def test_a_lost_tail_is_let_go(tmp_path: Path, write: Callable[[Path], Path]) -> None:
    assert decode(cut(write(tmp_path / "a"), 0.97)) >= 0.9 * 2.0 * 16_000


@pytest.mark.parametrize("write", SOUNDS)
def test_next_to_nothing_is_a_reject(tmp_path: Path, write: Callable[[Path], Path]) -> None:
    path = write(tmp_path / "a")
    path.write_bytes(path.read_bytes()[:40])
    assert reason_of(path) in ("truncated", "empty")


@pytest.mark.parametrize("kind", ["sound", "pictures"])
@pytest.mark.parametrize("name", ["a.wav", "a.mp4", "a.flv"])
def test_no_bytes(tmp_path: Path, name: str, kind: str) -> None:
    (tmp_path / name).touch()
    assert reason_of(tmp_path / name, kind) == "empty"


def test_a_wav_header_without_sound(tmp_path: Path) -> None:
    path = wav(tmp_path / "a")
    path.write_bytes(path.read_bytes()[:44])
    assert reason_of(path) == "empty"


@pytest.mark.parametrize("kind", ["sound", "pictures"])
def test_a_text_called_wav(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "a.wav"
    path.write_text("404: the file that you asked for is not here\n" * 50)
    assert reason_of(path, kind) == "not-media"


@pytest.mark.parametrize("stated_bytes", [0, 0x7FFFF000, 0xFFFFFFFF])
def test_a_wav_whose_header_knows_no_length_is_read_to_its_end(tmp_path: Path, stated_bytes: int) -> None:
    path = wav(tmp_path / "a")
    data = bytearray(path.read_bytes())
    assert data[36:40] == b"data"
    data[40:44] = struct.pack("<I", stated_bytes)
    path.write_bytes(data)
    np.testing.assert_allclose(heard(path, 16_000), tone(2.0, 16_000), atol=1e-4)


@pytest.mark.parametrize(("factor", "is_refused"), [(1.05, False), (1.5, True)])
def test_a_wav_that_is_shorter_than_it_says(tmp_path: Path, factor: float, is_refused: bool) -> None:
    path = wav(tmp_path / "a")
    data = bytearray(path.read_bytes())
    data[40:44] = struct.pack("<I", int(64_000 * factor))
    path.write_bytes(data)
    if is_refused:
        assert reason_of(path) == "truncated"
    else:
        assert decode(path) == 32_000


def test_a_time_stamp_far_off_does_not_ask_for_days_of_one_picture(tmp_path: Path) -> None:
    times_s = [0.0, 0.04, 0.08]
    assert decode(Path(write_movie(tmp_path / "a.mkv", frame_times_s=[*times_s, 20.0])), "pictures") >= 200
    assert reason_of(Path(write_movie(tmp_path / "b.mkv", frame_times_s=[*times_s, 1e6])), "pictures") == "bad-times"


def test_a_sound_that_begins_days_late_is_not_led_in_by_silence(tmp_path: Path) -> None:
    late = Path(write_movie(tmp_path / "a.mkv", sound_starts_s=1e6))
    assert reason_of(late, "sound") == "bad-times"


@pytest.mark.parametrize("ticks", [1, 10_000_000])
def test_an_mp4_whose_header_lies_about_its_length(tmp_path: Path, ticks: int) -> None:
    """The table of samples counts, not the sum in the header of the film."""
    path = mp4(tmp_path / "a")
    data = bytearray(path.read_bytes())
    at = data.index(b"mvhd") + 4 + 4 + 4 + 4 + 4  # version and flags, created, modified, time scale
    data[at : at + 4] = struct.pack(">I", ticks)
    path.write_bytes(data)
    assert decode(path) == pytest.approx(32_000, rel=0.03)
    assert decode(path, "pictures") == 20


@pytest.mark.parametrize("rate_hz", [0, 1, 999, 2_000_000, 0xFFFFFFFF])
def test_a_rate_that_no_sound_has_is_not_resampled(tmp_path: Path, rate_hz: int) -> None:
    """At 1 Hz, a minute would become 16,000 times as long."""
    path = wav(tmp_path / "a")
    data = bytearray(path.read_bytes())
    data[24:28] = struct.pack("<I", rate_hz)
    path.write_bytes(data)
    assert reason_of(path) in ("bad-header", "not-media", "truncated")
    if 0 < rate_hz < 2**31:
        assert reason_of(path) == "bad-header"


@pytest.mark.parametrize(("n_samples", "reason"), [(2**24, "truncated"), (2**36 - 1, "bad-header")])
def test_a_flac_that_claims_what_its_bytes_cannot_hold(tmp_path: Path, n_samples: int, reason: str) -> None:
    path = flac(tmp_path / "a")
    data = bytearray(path.read_bytes())
    stated = int.from_bytes(data[18:26], "big")  # of STREAMINFO: 20 bits of rate, 8 of format, 36 of samples
    data[18:26] = (stated >> 36 << 36 | n_samples).to_bytes(8, "big")
    path.write_bytes(data)
    tracemalloc.start()
    assert reason_of(path) == reason
    _, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak_bytes < 16 * 2**20


def test_digital_silence_of_an_hour_is_within_what_bytes_can_hold(tmp_path: Path) -> None:
    """The densest that encoders write: a dead stretch within a recording must not be taken for a damaged header."""
    quiet = np.zeros(3600 * 8_000, np.float32)
    quiet[-8_000:] = tone(1.0, 8_000)
    soundfile.write(tmp_path / "a.flac", quiet, 8_000)
    assert decode(tmp_path / "a.flac") == 3600 * 16_000


def test_pictures_larger_than_any_camera_are_not_made(tmp_path: Path) -> None:
    path = mp4(tmp_path / "a")
    data = bytearray(path.read_bytes())
    for box, offset in ((b"avc1", 28), (b"tkhd", 80)):  # of the sample's description, and of the track (16.16)
        at = data.index(box) + offset
        size = struct.pack(">HH", 60_000, 60_000) if box == b"avc1" else struct.pack(">HHHH", 60_000, 0, 60_000, 0)
        data[at : at + len(size)] = size
    path.write_bytes(data)
    try:
        assert decode(path, "pictures") == 20  # the codec's own header has the right size
    except MediaError as error:
        assert error.reason in ("bad-header", "truncated", "not-media")


@pytest.mark.parametrize("size", [(8_200, 8_200), (65_000, 1_200)])
def test_a_header_that_states_huge_pictures_is_refused(tmp_path: Path, size: tuple[int, int]) -> None:
    """An avi of a codec that states no size of its own: a picture would take 200 MB, a film of them all there is."""
    path = Path(write_movie(tmp_path / "a.avi", 0.2, video="ffvhuff", audio=None))
    assert decode(path, "pictures") == 2
    data = bytearray(path.read_bytes())
    at = data.index(b"strf") + 8 + 4  # the chunk's name and size, the size of BITMAPINFOHEADER
    data[at : at + 8] = struct.pack("<ii", *size)
    path.write_bytes(data)
    assert reason_of(path, "pictures") == "bad-header"


def test_a_sound_that_takes_too_much_memory_is_refused_before_it_is_decoded(tmp_path: Path) -> None:
    """A file of 60 kB is eight minutes of sound, and of an hour only a stretch is asked."""
    soundfile.write(tmp_path / "a.flac", np.zeros(480 * 8_000, np.float32), 8_000)
    film = write_movie(tmp_path / "a.mp4", seconds=4.0)
    for path, too_few_mb in ((tmp_path / "a.flac", 58), (Path(film), 1)):
        medium = Medium(path=str(path))
        tracemalloc.start()
        with pytest.raises(MediaError) as error:
            media.decode("sound", medium, 16_000, most_bytes=2**20 * too_few_mb)
        assert tracemalloc.get_traced_memory()[1] < 8 * 2**20
        tracemalloc.stop()
        assert error.value.reason == "too-large"
        assert str(error.value).startswith(f"{path}: takes more memory to decode than the {too_few_mb} MB that a clip ")
    stretch = Medium(path=str(tmp_path / "a.flac"), start_s=1.0, end_s=2.0)
    with pytest.raises(MediaError) as error:
        media.decode("sound", stretch, 16_000, most_bytes=2**20)
    assert error.value.reason == "silent"  # it was decoded


@pytest.mark.parametrize("kind", ["pictures", "faces"])
def test_a_picture_that_takes_too_much_memory_is_not_made(tmp_path: Path, kind: str) -> None:
    film = Medium(path=str(write_movie(tmp_path / "a.mp4", size=(640, 480), audio=None)))
    assert len(next(iter(media.decode("pictures", film, 10.0, most_bytes=3 * 640 * 480)))) == 480
    with pytest.raises(MediaError) as error:
        list(media.decode(kind, film, 10.0, most_bytes=3 * 640 * 480 - 1))
    assert error.value.reason == "too-large"


def test_a_table_that_takes_too_much_memory_is_not_read(tmp_path: Path) -> None:
    table = tmp_path / "a.csv"
    table.write_text("clip,AU01_r\n" + "a,1\n" * 10_000)
    medium = Medium(path=f"{table}#a")
    assert media.decode("table", medium, 0.0) == medium.path
    with pytest.raises(MediaError) as error:
        media.decode("table", medium, 0.0, most_bytes=2**19)
    assert error.value.reason == "too-large"


def test_many_channels_are_decoded_in_small_blocks(tmp_path: Path) -> None:
    """A header can claim a thousand channels; a block of each would take gigabytes."""
    sound = np.tile(tone(0.2, 8_000)[:, None], (1, 1000))
    soundfile.write(tmp_path / "a.wav", np.tile(sound, (10, 1)), 8_000, subtype="PCM_U8")
    tracemalloc.start()
    assert decode(tmp_path / "a.wav") == 32_000
    assert tracemalloc.get_traced_memory()[1] < 32 * 2**20
    tracemalloc.stop()


@pytest.mark.parametrize("gain", [1.0, 0.9])
def test_channels_of_opposite_phase_are_not_called_silent(tmp_path: Path, gain: float) -> None:
    sound = voice(1.0)
    path = Path(write_wav(tmp_path / "a.wav", np.stack([sound, -gain * sound], axis=1), 16_000))
    assert reason_of(path) == "opposite-phase"
    np.testing.assert_allclose(media.decode("sound", Medium(path=str(path), track=0), 16_000), sound, atol=1e-4)


def test_channels_that_heard_different_things_are_averaged(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).normal(0, 0.1, (16_000, 8)).astype(np.float32)
    np.testing.assert_allclose(
        heard(Path(write_wav(tmp_path / "a.wav", noise, 16_000)), 16_000), noise.mean(axis=1), atol=1e-4
    )
    noise[:, 1:] = 0  # one microphone of eight was plugged in
    assert decode(Path(write_wav(tmp_path / "b.wav", noise, 16_000))) == 16_000


@pytest.mark.parametrize("scale", [32_768.0, 100.0, 2**31])
def test_floats_of_another_scale_are_not_clipped_to_a_row(tmp_path: Path, scale: float) -> None:
    path = Path(write_wav(tmp_path / "a.wav", np.float32(scale) * voice(1.0), 16_000, "FLOAT"))
    assert reason_of(path) == "out-of-range"


def test_floats_that_overshoot_a_little_are_kept(tmp_path: Path) -> None:
    sound = 3.9 * tone(1.0, 16_000)
    np.testing.assert_array_equal(heard(Path(write_wav(tmp_path / "a.wav", sound, 16_000, "FLOAT")), 16_000), sound)


def test_digital_silence(tmp_path: Path) -> None:
    path = Path(write_wav(tmp_path / "a.wav", np.zeros(32_000, np.float32), 16_000))
    assert reason_of(path) == "silent"


def test_samples_that_are_no_numbers(tmp_path: Path) -> None:
    sound = tone(1.0, 16_000)
    sound[100] = np.nan
    assert reason_of(Path(write_wav(tmp_path / "a.wav", sound, 16_000, "FLOAT"))) == "not-finite"


def test_a_stream_that_is_not_there(tmp_path: Path) -> None:
    silent_film = Path(write_movie(tmp_path / "a.mp4", audio=None))
    assert reason_of(silent_film, "sound") == "no-audio-stream"
    assert decode(silent_film, "pictures") == 20
    assert reason_of(wav(tmp_path / "b"), "pictures") == "no-video-stream"


def test_a_file_that_is_not_there_or_is_a_folder(tmp_path: Path) -> None:
    assert reason_of(tmp_path / "gone.wav") == "missing"
    assert reason_of(tmp_path) == "unreadable"


def test_a_file_that_may_not_be_read(tmp_path: Path) -> None:
    path = wav(tmp_path / "a")
    path.chmod(0)
    user = os.geteuid()
    if user == 0:  # root may read everything: be somebody else for a moment
        os.seteuid(65_534)
    try:
        assert reason_of(path) == "unreadable"
    finally:
        os.seteuid(user)


@pytest.mark.parametrize("write", [wav, mp4])
@pytest.mark.parametrize("span", [{"start_s": 5.0}, {"start_s": 1.0, "end_s": 4.0}])
def test_a_span_after_the_end(tmp_path: Path, write: Callable[[Path], Path], span: dict[str, float]) -> None:
    path = write(tmp_path / "a")
    assert reason_of(path, "sound", **span) == "span-beyond-end"
    if write is mp4:
        assert reason_of(path, "pictures", **span) == "span-beyond-end"


@pytest.mark.parametrize("name", ["egemaps", "egemaps-clip", "compare-clip"])
def test_a_twentieth_of_a_second_is_too_short(tmp_path: Path, name: str) -> None:
    path = write_wav(tmp_path / "a.wav", tone(0.05, 16_000), 16_000)
    with pytest.raises(MediaError) as error:
        extractors.build(name)(heard(path, 16_000), 16_000)
    assert error.value.reason == "too-short"


@pytest.mark.parametrize("rate_hz", [8_000, 96_000])
def test_odd_rates_and_stereo_come_through(tmp_path: Path, rate_hz: int) -> None:
    sound = np.column_stack([voice(1.5, rate_hz)] * 2)
    path = write_wav(tmp_path / "a.wav", sound, rate_hz)
    frames = extractors.build("egemaps")(heard(path, 16_000), 16_000)
    assert frames.values.shape == (6, 89)
    assert np.isfinite(frames.values).all()
