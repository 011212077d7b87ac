"""Small media files, written by the codecs themselves, with contents that a test can recognise."""

from __future__ import annotations

import io
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import soundfile
from numpy.typing import NDArray
from PIL import Image

from mien.corpora.clip import Medium
from mien.features import media

GREY_STEP = 4  # picture k is a plain grey of k · GREY_STEP


def heard(path: str | Path, rate_hz: float, **stretch: Any) -> NDArray[np.float32]:
    """The sound of a file, or of the stretch or track of it."""
    return media.decode("sound", Medium(path=str(path), **stretch), rate_hz)


def seen(path: str | Path, rate_hz: float, **stretch: Any) -> Iterator[NDArray[np.uint8]]:
    """The pictures of a file, or of the stretch or track of it."""
    return media.decode("pictures", Medium(path=str(path), **stretch), rate_hz)


def tone(seconds: float, rate_hz: int, tone_hz: float = 220.0) -> NDArray[np.float32]:
    """(N,) of a sine at half of full scale."""
    return (0.5 * np.sin(2 * np.pi * tone_hz * np.arange(round(seconds * rate_hz)) / rate_hz)).astype(np.float32)


def voice(seconds: float, rate_hz: int = 16_000) -> NDArray[np.float32]:
    """(N,) of a buzzing, gliding, pulsing sound in which openSMILE finds pitch and formants, and pauses."""
    t = np.arange(round(seconds * rate_hz)) / rate_hz
    pitch_hz = 140 + 40 * np.sin(2 * np.pi * 0.7 * t)
    phase = 2 * np.pi * np.cumsum(pitch_hz) / rate_hz
    harmonics = sum(np.sin(n * phase) / n * np.exp(-(((n * 140 - 700) / 900) ** 2)) for n in range(1, 20))
    loudness = np.clip(np.sin(2 * np.pi * 1.3 * t), 0, None) ** 0.5
    noise = np.random.default_rng(0).normal(0, 0.003, len(t))
    return (0.3 * harmonics / np.abs(harmonics).max() * loudness + noise).astype(np.float32)


def write_wav(path: Path, sound: NDArray[np.float32], rate_hz: int, subtype: str = "PCM_16") -> str:
    soundfile.write(path, sound, rate_hz, format="WAV", subtype=subtype)
    return str(path)


def write_movie(
    path: Path,
    seconds: float = 2.0,
    *,
    frame_times_s: list[float] | None = None,
    frame_hz: int = 25,
    size: tuple[int, int] = (96, 64),
    video: str | None = "libx264",
    audio: str | None = "aac",
    sound: NDArray[np.float32] | None = None,
    rate_hz: int = 44_100,
    sound_starts_s: float = 0.0,
    options: dict[str, str] | None = None,
) -> str:
    """A file with grey pictures, numbered by GREY_STEP, and a tone; either may be None."""
    width, height = size
    clock = Fraction(1, 1000)
    with av.open(str(path), "w", options=options or {}) as container:
        pictures = sounds = None
        if video:
            pictures = container.add_stream(video, rate=frame_hz)
            pictures.width, pictures.height, pictures.pix_fmt = width, height, "yuv420p"
            pictures.codec_context.time_base = clock if video == "libx264" else Fraction(1, frame_hz)
            pictures.gop_size = 12
        if audio:
            sounds = container.add_stream(audio, rate=rate_hz, layout="mono")
        if pictures is not None:
            times_s = frame_times_s or [k / frame_hz for k in range(round(seconds * frame_hz))]
            for k, time_s in enumerate(times_s):
                grey = np.full((height, width, 3), k * GREY_STEP % 256, np.uint8)
                frame = av.VideoFrame.from_ndarray(grey, format="rgb24")
                frame.time_base = pictures.codec_context.time_base
                frame.pts = round(time_s / frame.time_base)
                container.mux(pictures.encode(frame))
            container.mux(pictures.encode())
        if sounds is not None:
            samples = tone(seconds, rate_hz) if sound is None else sound
            pcm = (samples * 32767).astype(np.int16)
            for start in range(0, len(pcm), 1024):
                frame = av.AudioFrame.from_ndarray(pcm[None, start : start + 1024], format="s16", layout="mono")
                frame.sample_rate, frame.time_base = rate_hz, Fraction(1, rate_hz)
                frame.pts = start + round(sound_starts_s * rate_hz)
                container.mux(sounds.encode(frame))
            container.mux(sounds.encode())
    return str(path)


def write_streams(path: Path, *, sounds: list[NDArray[np.float32]], greys: list[int], rate_hz: int = 16_000) -> str:
    """A film of a second with several sound streams and several streams of one grey each."""
    with av.open(str(path), "w") as container:
        films = []
        for _ in greys:
            films.append(container.add_stream("mpeg4", rate=25))
            films[-1].width, films[-1].height, films[-1].pix_fmt = 96, 64, "yuv420p"
        heards = [container.add_stream("flac", rate=rate_hz, layout="mono") for _ in sounds]
        for film, grey in zip(films, greys):
            for k in range(25):
                frame = av.VideoFrame.from_ndarray(np.full((64, 96, 3), grey, np.uint8), format="rgb24")
                frame.time_base, frame.pts = Fraction(1, 25), k
                container.mux(film.encode(frame))
            container.mux(film.encode())
        for stream, sound in zip(heards, sounds):
            pcm = (sound * 32767).astype(np.int16)
            for start in range(0, len(pcm), 1024):
                frame = av.AudioFrame.from_ndarray(pcm[None, start : start + 1024], format="s16", layout="mono")
                frame.sample_rate, frame.time_base, frame.pts = rate_hz, Fraction(1, rate_hz), start
                container.mux(stream.encode(frame))
            container.mux(stream.encode())
    return str(path)


def add_sleeve(path: str) -> str:
    """The same mp3 with a picture in an ID3v2.3 tag in front of it, larger than a reader's first look."""
    picture = io.BytesIO()
    noise = np.random.default_rng(0).integers(0, 256, (160, 160, 3), dtype=np.uint8)
    Image.fromarray(noise).save(picture, "JPEG", quality=95)
    content = b"\0image/jpeg\0\x03\0" + picture.getvalue()
    frame = b"APIC" + len(content).to_bytes(4, "big") + b"\0\0" + content
    seven_bits = bytes(len(frame) >> 7 * place & 0x7F for place in (3, 2, 1, 0))
    file = Path(path)
    file.write_bytes(b"ID3\x03\0\0" + seven_bits + frame + file.read_bytes())
    return path


def numbers(pictures: list[NDArray[np.uint8]]) -> list[int]:
    """Which source frame each picture shows."""
    return [round(float(picture.mean()) / GREY_STEP) for picture in pictures]
