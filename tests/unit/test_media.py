"""Media are decoded at the rate, to the span and on the clock that was asked for."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray

from mien.corpora.clip import Medium
from mien.errors import MediaError
from mien.features import media
from mien.features.media import source
from mien.features.spec import Kind
from tiny_media import GREY_STEP, add_sleeve, heard, numbers, seen, tone, write_movie, write_streams, write_wav


def loudest_hz(sound: NDArray[np.float32], rate_hz: float) -> float:
    spectrum = np.abs(np.fft.rfft(sound * np.hanning(len(sound))))
    return float(np.fft.rfftfreq(len(sound), 1 / rate_hz)[spectrum.argmax()])


@pytest.mark.parametrize("source_hz", [8_000, 16_000, 44_100, 48_000, 96_000])
def test_sound_of_any_rate_keeps_pitch_level_and_length(tmp_path: Path, source_hz: int) -> None:
    path = write_wav(tmp_path / "tone.wav", tone(1.003, source_hz), source_hz)
    sound = heard(path, 16_000)
    assert sound.dtype == np.float32
    assert len(sound) == round(round(1.003 * source_hz) * 16_000 / source_hz)
    assert loudest_hz(sound, 16_000) == pytest.approx(220, abs=1)
    assert np.abs(sound[1000:-1000]).max() == pytest.approx(0.5, rel=0.01)


def test_stereo_is_mixed_by_its_mean(tmp_path: Path) -> None:
    left, right = tone(0.5, 16_000, 200), tone(0.5, 16_000, 333)
    path = write_wav(tmp_path / "stereo.wav", np.column_stack([left, right]), 16_000, "FLOAT")
    np.testing.assert_allclose(heard(path, 16_000), (left + right) / 2, atol=1e-7)


def test_a_track_is_a_channel_of_a_sound(tmp_path: Path) -> None:
    channels = np.column_stack([tone(0.5, 16_000, hz) for hz in (200, 333, 500)])
    path = write_wav(tmp_path / "three.wav", channels, 16_000, "FLOAT")
    for track in range(3):
        np.testing.assert_array_equal(heard(path, 16_000, track=track), channels[:, track])
    np.testing.assert_array_equal(heard(path, 16_000, track=1, start_s=0.1, end_s=0.2), channels[1600:3200, 1])
    with pytest.raises(MediaError, match="track 3 was asked, it has 3 channels") as error:
        heard(path, 16_000, track=3)
    assert error.value.reason == "no-track"


def test_a_track_is_a_channel_of_a_container_with_one_sound(tmp_path: Path) -> None:
    path = tmp_path / "stereo.ogg"
    soundfile.write(path, np.column_stack([tone(1.0, 16_000, hz) for hz in (200, 333)]), 16_000)
    assert [loudest_hz(heard(path, 16_000, track=k), 16_000) for k in range(2)] == pytest.approx([200, 333], abs=2)
    with pytest.raises(MediaError, match="track 2 was asked, it has 2 channels") as error:
        heard(path, 16_000, track=2)
    assert error.value.reason == "no-track"


def test_a_track_is_a_stream_of_a_container_of_several(tmp_path: Path) -> None:
    path = tmp_path / "two.mkv"
    write_streams(path, sounds=[tone(1.0, 16_000, 200), tone(1.0, 16_000, 333)], greys=[40, 120])
    assert [loudest_hz(heard(path, 16_000, track=k), 16_000) for k in range(2)] == pytest.approx([200, 333], abs=2)
    np.testing.assert_array_equal(heard(path, 16_000), heard(path, 16_000, track=0))
    assert [round(float(next(seen(path, 5.0, track=k)).mean())) for k in range(2)] == pytest.approx([40, 120], abs=2)
    for kind in ("sound", "pictures"):
        with pytest.raises(MediaError, match="track 2 was asked, it has 2") as error:
            list(media.decode(kind, Medium(path=str(path), track=2), 16_000))
        assert error.value.reason == "no-track"


@pytest.mark.parametrize("name", ["tone.flac", "tone.mp3", "tone.mp4", "tone.flv", "tone.mkv"])
def test_every_container_gives_the_sound_that_went_in(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    if name == "tone.flac":
        soundfile.write(path, tone(2.0, 44_100), 44_100)
    else:
        write_movie(path, video=None, audio="aac" if name in ("tone.mp4", "tone.mkv") else "libmp3lame")
    sound = heard(path, 16_000)
    # Codecs pad to whole frames of about 1000 samples; flv and mkv do not say how much.
    assert len(sound) / 16_000 == pytest.approx(2.0, abs=0.06)
    assert loudest_hz(sound, 16_000) == pytest.approx(220, abs=1)


def test_a_span_is_cut_to_the_sample(tmp_path: Path) -> None:
    sound = tone(1.0, 16_000) + np.linspace(0, 0.1, 16_000, dtype=np.float32)
    path = write_wav(tmp_path / "a.wav", sound, 16_000, "FLOAT")
    cut = heard(path, 16_000, start_s=0.25, end_s=0.501)
    np.testing.assert_array_equal(cut, sound[4000:8016])
    np.testing.assert_array_equal(heard(path, 16_000, start_s=0.9), sound[14_400:])


def test_a_span_of_a_container_is_that_stretch_of_the_whole(tmp_path: Path) -> None:
    path = write_movie(tmp_path / "a.mp4", 3.0, rate_hz=16_000)
    whole = heard(path, 16_000)
    cut = heard(path, 16_000, start_s=1.5, end_s=2.25)
    np.testing.assert_array_equal(cut, whole[24_000:36_000])


def test_sound_that_starts_after_the_pictures_stays_in_step(tmp_path: Path) -> None:
    path = write_movie(tmp_path / "late.mkv", 2.0, audio="flac", sound_starts_s=0.5)
    sound = heard(path, 44_100)
    assert np.flatnonzero(sound)[0] == pytest.approx(0.5 * 44_100, abs=50)
    assert len(sound) == pytest.approx(2.5 * 44_100, abs=50)


@pytest.mark.parametrize("rate_hz", [5.0, 10.0, 25.0, 29.97, 60.0])
def test_pictures_come_at_a_constant_rate(tmp_path: Path, rate_hz: float) -> None:
    path = write_movie(tmp_path / "a.mp4", 2.0, frame_hz=25, audio=None)
    shown = numbers(list(seen(path, rate_hz)))
    newest = [int(np.floor(k / rate_hz * 25 + 1e-6)) for k in range(int(np.ceil(2.0 * rate_hz)))]
    assert shown == newest


def test_a_variable_frame_rate_keeps_its_timing(tmp_path: Path) -> None:
    times_s = [0.0, 0.04, 0.08, 0.5, 0.54, 1.2, 1.9]
    path = write_movie(tmp_path / "vfr.mkv", frame_times_s=times_s, audio=None)
    shown = numbers(list(seen(path, 10.0)))
    newest = [sum(time_s <= k / 10 for time_s in times_s) - 1 for k in range(20)]
    assert shown[:20] == newest


def test_a_span_of_pictures_is_that_stretch_of_the_whole(tmp_path: Path) -> None:
    path = write_movie(tmp_path / "a.mp4", 2.0)
    whole = numbers(list(seen(path, 25.0)))
    assert numbers(list(seen(path, 25.0, start_s=1.2, end_s=1.6))) == whole[30:40]


def test_a_film_from_a_telephone_held_upright_stands_upright(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    write_movie(path, 0.4, size=(192, 128), audio=None)
    one, minus_one = (0x10000).to_bytes(4, "big"), (-0x10000).to_bytes(4, "big", signed=True)
    zero, last = bytes(4), (0x40000000).to_bytes(4, "big")
    upright = one + zero * 3 + one + zero * 3 + last
    turned = zero + one + zero + minus_one + zero * 4 + last  # by 90 degrees, as telephones write it
    data = path.read_bytes()
    at = data.index(upright, data.index(b"tkhd"))
    path.write_bytes(data[:at] + turned + data[at + 36 :])
    assert next(seen(path, 5.0)).shape == (192, 128, 3)


def test_a_sleeve_picture_is_not_a_video(tmp_path: Path) -> None:
    path = add_sleeve(write_movie(tmp_path / "a.mp3", video=None, audio="libmp3lame"))
    with pytest.raises(MediaError) as error:
        next(seen(path, 5.0))
    assert error.value.reason == "no-video-stream"
    assert len(heard(path, 16_000)) == pytest.approx(32_000, rel=0.01)


def test_a_table_is_its_path_and_stands_for_a_whole_clip() -> None:
    assert media.decode("table", Medium(path="table.csv#clip"), 0.0) == "table.csv#clip"
    for part in ({"start_s": 1.0}, {"end_s": 1.0}, {"track": 0}):
        with pytest.raises(MediaError) as error:
            media.decode("table", Medium(path="table.csv", **part), 0.0)
        assert error.value.reason == "no-spans"


def test_there_is_a_decoder_for_each_kind() -> None:
    assert set(media.DECODERS) == set(get_args(Kind))


def test_the_hash_is_of_the_bytes(tmp_path: Path) -> None:
    path = write_wav(tmp_path / "a.wav", tone(0.2, 16_000), 16_000)
    assert media.content_hash(path) == hashlib.sha256(Path(path).read_bytes()).hexdigest()


def test_a_file_is_read_once_for_its_hash_and_again_when_it_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[str] = []
    opened = source.opened
    monkeypatch.setattr(source, "opened", lambda path: read.append(path) or opened(path))
    path = write_wav(tmp_path / "a.wav", tone(0.2, 16_000), 16_000)
    assert len({media.content_hash(path) for _ in range(200)}) == len(read) == 1
    before = media.content_hash(path)
    write_wav(tmp_path / "a.wav", tone(0.3, 16_000), 16_000)
    assert media.content_hash(path) != before
    assert len(read) == 2


def test_the_hash_of_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(MediaError) as error:
        media.content_hash(str(tmp_path / "gone.wav"))
    assert error.value.reason == "missing"


def test_grey_numbers_are_told_apart() -> None:
    assert numbers([np.full((2, 2, 3), k * GREY_STEP, np.uint8) for k in range(50)]) == list(range(50))


def test_the_real_clip_without_a_sound_track(real_data: Path) -> None:
    clip = str(real_data / "ravdess/video/Actor_19/01-01-08-02-01-01-19.mp4")
    with pytest.raises(MediaError) as error:
        heard(clip, 16_000)
    assert error.value.reason == "no-audio-stream"
    assert len(list(seen(clip, 10.0))) == 41  # 122 frames at 29.97 Hz
    sound = heard(real_data / "ravdess/speech_16k/Actor_19/03-01-08-02-01-01-19.flac", 16_000)
    assert len(sound) / 16_000 == pytest.approx(122 / 29.97, abs=0.067)


def test_real_meeting_sound_and_stereo_originals(real_data: Path) -> None:
    meeting = heard(real_data / "ami/audio/trn00.flac", 16_000)
    assert len(meeting) / 16_000 == pytest.approx(30.0, abs=0.01)
    originals = sorted((real_data / "ravdess/original_48k/Actor_01").glob("*.wav"))
    channels = {soundfile.info(path).channels for path in originals}
    assert channels == {1, 2}
    for path in originals:
        published = heard(path, 16_000)
        resampled = heard(real_data / f"ravdess/speech_16k/Actor_01/{path.stem}.flac", 16_000)
        assert abs(len(published) - len(resampled)) <= 1
        n = min(len(published), len(resampled))
        assert np.corrcoef(published[:n], resampled[:n])[0, 1] > 0.99
