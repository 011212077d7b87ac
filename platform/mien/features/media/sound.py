"""Sound: (N,) float32 in [-1, 1], one channel, at the rate that was asked for.

wav and flac by libsndfile, all else by ffmpeg; resampled by soxr. Without a track the channels are averaged; a track is
a channel, or one of the sound streams where a container has several.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import IO, TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from mien.corpora.clip import Medium
from mien.errors import MediaError
from mien.features.media.container import Stream, container_of
from mien.features.media.source import opened, size_bytes
from mien.features.media.truncation import SOUND_HZ, STREAMING_BYTES, check_length, check_rate, check_samples

if TYPE_CHECKING:
    import soundfile

_BLOCK = 2**20  # samples at a time: what a header claims is never allocated, only what is read

Sound = NDArray[np.float32]


def decode_sound(medium: Medium, rate_hz: float) -> Sound:
    """The sound of a medium: (N,) float32, N = round(seconds · rate_hz).

    The stretch is cut at the source's own rate, to the sample, before it is resampled. Sound that begins later than the
    pictures of its file is preceded by silence.
    """
    path = medium.path
    with opened(path) as file:
        mono, source_hz = _read_wav_or_flac(medium, file) or _read_container(medium, file)
    if not np.isfinite(mono).all():
        raise MediaError("not-finite", f"{path}: holds samples that are no numbers; write it again as integer PCM")
    if np.ptp(mono) == 0:
        raise MediaError("silent", f"{path}: all samples are equal, nothing was recorded")
    if source_hz == rate_hz:
        return mono
    import soxr

    return np.asarray(soxr.resample(mono, source_hz, rate_hz), dtype=np.float32)


def _one_channel(medium: Medium, samples: NDArray[np.float32], track: int | None) -> Sound:
    """(N,) of samples (N, channels)."""
    if track is None:
        return samples.mean(axis=1, dtype=np.float32)
    if track >= samples.shape[1]:
        raise MediaError("no-track", f"{medium.path}: track {track} was asked, it has {samples.shape[1]} channels")
    return samples[:, track].copy()


def _read_wav_or_flac(medium: Medium, file: IO[bytes]) -> tuple[Sound, int] | None:
    """Samples (N,) and rate in Hz by libsndfile, the fast way; None where ffmpeg must judge."""
    path = medium.path
    head = file.read(12)
    is_wav = head[:4] == b"RIFF" and head[8:] == b"WAVE"
    if not is_wav and head[:4] != b"fLaC":
        return None
    stated_share = 1.0  # how much longer than what is there the header says that it is
    if is_wav:
        stated, present = _wav_data_bytes(file)
        if present == 0:
            raise MediaError("empty", f"{path}: a header without sound")
        if stated == 0 or stated >= max(STREAMING_BYTES, present + 1):
            return None
        stated_share = max(1.0, stated / present)
    import soundfile

    n_bytes = size_bytes(file)
    try:
        with soundfile.SoundFile(file) as sound:
            rate_hz, n_samples = sound.samplerate, sound.frames
            check_rate(path, rate_hz, SOUND_HZ)
            check_samples(path, n_samples, n_bytes)
            check_length(medium, n_samples / rate_hz, n_samples / rate_hz * stated_share)
            start = round(medium.start_s * rate_hz)
            stop = n_samples if medium.end_s is None else min(round(medium.end_s * rate_hz), n_samples)
            sound.seek(start)
            return np.concatenate(list(_blocks(medium, sound, stop - start))), rate_hz
    except soundfile.LibsndfileError:  # a rare codec, or a flac that was cut: ffmpeg reads what is there
        return None


def _blocks(medium: Medium, sound: soundfile.SoundFile, n_samples: int) -> Iterator[Sound]:
    """The next n_samples in blocks; fewer where the file ends before."""
    while n_samples > 0:
        block = sound.read(min(_BLOCK, n_samples), dtype="float32", always_2d=True)
        if not len(block):
            return
        n_samples -= len(block)
        yield _one_channel(medium, block, medium.track)


def _wav_data_bytes(file: IO[bytes]) -> tuple[int, int]:
    """Bytes of sound that a wav header states, and bytes that follow it; (0, 0) without a data chunk."""
    size = size_bytes(file)
    at = 12
    while at + 8 <= size:
        file.seek(at)
        chunk = file.read(8)
        n_bytes = int.from_bytes(chunk[4:], "little")
        if chunk[:4] == b"data":
            return n_bytes, size - at - 8
        at += 8 + n_bytes + n_bytes % 2  # chunks are padded to even lengths
    return 0, 0


def _read_container(medium: Medium, file: IO[bytes]) -> tuple[Sound, int]:
    """Samples (N,) of a stretch and their rate in Hz, by ffmpeg.

    Decodes from the start even where the stretch begins late: seeking in mp3 and AAC is not exact to the sample. Only
    what lies in the stretch is kept.
    """
    import av

    path = medium.path
    n_bytes = size_bytes(file)
    with container_of(path, file) as container:
        stream = Stream(medium, container, "audio")
        channel = medium.track if stream.n_streams == 1 else None
        rate_hz = stream.stream.rate
        check_rate(path, rate_hz, SOUND_HZ)
        start = round(medium.start_s * rate_hz)
        stop = None if medium.end_s is None else round(medium.end_s * rate_hz)
        to_float = av.AudioResampler(format="fltp")
        parts: list[Sound] = []
        n_decoded = 0
        at: int | None = None  # where the next sample belongs, in samples after the start of the file
        for frame in stream.frames():
            if at is None:  # the first sample may sound after the first picture, or before (encoder delay)
                stream.check_still(0.0, stream.time_s(frame))
                at = round(stream.time_s(frame) * rate_hz)
                late = min(at, at if stop is None else stop) - start
                parts += [np.zeros(late, np.float32)] if late > 0 else []
            for part in to_float.resample(frame):
                mono = _one_channel(medium, np.asarray(part.to_ndarray(), np.float32).T, channel)
                parts.append(mono[max(0, start - at) : None if stop is None else max(0, stop - at)])
                at += len(mono)
                n_decoded += len(mono)
            check_samples(path, n_decoded, n_bytes)
            if stop is not None and at >= stop:
                break
        if at is None:
            raise MediaError("truncated", f"{path}: not one sample can be decoded; copy it again")
        stream.check_end(at / rate_hz)
    return np.concatenate(parts), rate_hz
