"""Sound: (N,) float32 in [-1, 1], one channel, at the rate that was asked for.

wav and flac by libsndfile, all else by ffmpeg; resampled by soxr. Without a track the channels are averaged; a track is
a channel, or one of the sound streams where a container has several. Where the average holds less than a hundredth of
the channels' power, they cancel each other, and that is refused: which of them would be right is not ours to say.

Encoders and floats overshoot full scale a little, up to twice it, and extractors clip that as PCM would. What is beyond
is on another scale (16-bit steps, percent), and refused: the number to divide by cannot be known for sure.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import IO, TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from mien.corpora.clip import Medium
from mien.errors import MediaError
from mien.features.media.container import Stream, container_of
from mien.features.media.source import opened, size_bytes
from mien.features.media.truncation import (
    MOST_BYTES,
    SOUND_HZ,
    STREAMING_BYTES,
    check_length,
    check_memory,
    check_rate,
    check_samples,
)
from mien.features.media.unpacked import LATE_S, Sink, unpacked

if TYPE_CHECKING:
    import soundfile

_BLOCK = 2**20  # values at a time: what a header claims is never allocated, only what is read
_LOUDEST = 2.0  # re full scale: 6 dB above it
_CANCELLED = 0.01  # share of the channels' power below which their average is none of them

Sound = NDArray[np.float32]


def decode_sound(medium: Medium, rate_hz: float, most_bytes: int = MOST_BYTES) -> Sound:
    """The sound of a medium: (N,) float32, N = round(seconds · rate_hz).

    most_bytes: memory that may be taken for it. The stretch is cut at the source's own rate, to the sample, before it
    is resampled. Sound that begins later than the pictures of its file is preceded by silence.
    """
    path = medium.path
    with opened(path) as file:
        mix = _Mix(medium, rate_hz, most_bytes)
        source_hz = _read_wav_or_flac(mix, file)
        if source_hz is None:
            mix = _Mix(medium, rate_hz, most_bytes)
            source_hz = _read_unpacked(mix, file) or _read_container(mix, file)
    mono = mix.whole()
    if not np.isfinite(mono).all():
        raise MediaError("not-finite", f"{path}: holds samples that are no numbers; write it again as integer PCM")
    if np.ptp(mono) == 0:
        raise MediaError("silent", f"{path}: all samples are equal, nothing was recorded")
    if (peak := max(-mono.min(), mono.max())) > _LOUDEST:
        raise MediaError(
            "out-of-range",
            f"{path}: holds samples of {peak:g}, full scale is 1; floats in 16-bit steps are the usual mistake: divide "
            "them by 32768 and write it again",
        )
    if source_hz == rate_hz:
        return mono
    import soxr

    return np.asarray(soxr.resample(mono, source_hz, rate_hz), dtype=np.float32)


class _Mix:
    """The stretch of a medium as one channel, block by block: its track, or the average of all channels."""

    def __init__(self, medium: Medium, rate_hz: float, most_bytes: int) -> None:
        self.medium = medium
        self._rate_hz, self._most_bytes = rate_hz, most_bytes
        self._parts: list[Sound] = []
        self._n_samples = 0
        self._power = self._power_of_channels = 0.0

    def expect(self, n_samples: int, source_hz: float) -> None:
        """Refuse that so many samples more will be added where they take more memory than they may.

        As they are, joined, and resampled: 4 bytes each.
        """
        n_bytes = 4 * (self._n_samples + n_samples) * (2 + self._rate_hz / source_hz)
        check_memory(self.medium.path, n_bytes, self._most_bytes)

    def add(self, samples: NDArray[np.float32], track: int | None) -> None:
        """A block (N, channels). track: the channel that is wanted, None for their average."""
        if track is None:
            mono = samples.mean(axis=1, dtype=np.float32)
            if samples.shape[1] > 1 and mono.size:
                self._power += float(np.square(mono, dtype=np.float64).sum())
                self._power_of_channels += float(np.square(samples, dtype=np.float64).mean(axis=1).sum())
        elif track >= samples.shape[1]:
            path = self.medium.path
            raise MediaError("no-track", f"{path}: track {track} was asked, it has {samples.shape[1]} channels")
        else:
            mono = samples[:, track].copy()
        self._parts.append(mono)
        self._n_samples += len(mono)

    def whole(self) -> Sound:
        """All blocks, (N,)."""
        if self._power < _CANCELLED * self._power_of_channels:
            raise MediaError(
                "opposite-phase",
                f"{self.medium.path}: its channels cancel each other when they are averaged (a cable with two wires "
                "swapped); write it again with the better one of them, or name that by its track",
            )
        return np.concatenate(self._parts)


def _read_wav_or_flac(mix: _Mix, file: IO[bytes]) -> int | None:
    """Adds the samples by libsndfile, the fast way; returns their rate in Hz, None where ffmpeg must judge."""
    medium, path = mix.medium, mix.medium.path
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
            mix.expect(stop - start, rate_hz)
            sound.seek(start)
            for block in _blocks(sound, stop - start):
                mix.add(block, medium.track)
            return rate_hz
    except soundfile.LibsndfileError:  # a rare codec, or a flac that was cut: ffmpeg reads what is there
        return None


def _blocks(sound: soundfile.SoundFile, n_samples: int) -> Iterator[NDArray[np.float32]]:
    """The next n_samples in blocks (N, channels); fewer where the file ends before."""
    largest = max(1, _BLOCK // sound.channels)
    while n_samples > 0:
        block = sound.read(min(largest, n_samples), dtype="float32", always_2d=True)
        if not len(block):
            return
        n_samples -= len(block)
        yield block


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


def _read_unpacked(mix: _Mix, file: IO[bytes]) -> int | None:
    """Adds the samples of a late stretch from the unpacked file; returns their rate in Hz, None where it is to be
    decoded."""
    medium = mix.medium
    if medium.track is not None or medium.end_s is None or medium.start_s < LATE_S:
        return None
    place = unpacked(
        medium.path, lambda sink: _read_container(_Whole(replace(medium, start_s=0.0, end_s=None), sink), file)
    )
    file.seek(0)
    if place is None:
        return None
    import soundfile

    try:
        with soundfile.SoundFile(str(place)) as sound:
            rate_hz = int(sound.samplerate)
            start, stop = round(medium.start_s * rate_hz), round(medium.end_s * rate_hz)
            if stop > sound.frames:  # whether it is cut off there is for the decoder to say
                return None
            mix.expect(stop - start, rate_hz)
            sound.seek(start)
            for block in _blocks(sound, stop - start):
                mix.add(block, None)
            return rate_hz
    except (OSError, soundfile.LibsndfileError):  # removed in this moment
        return None


class _Whole:
    """All samples of a medium on their way to a sink: what `_read_container` takes for a mix."""

    def __init__(self, medium: Medium, sink: Sink) -> None:
        self.medium, self._sink, self._rate_hz = medium, sink, 0.0

    def expect(self, n_samples: int, source_hz: float) -> None:
        self._rate_hz = source_hz

    def add(self, samples: NDArray[np.float32], track: int | None) -> None:
        self._sink.add(samples, self._rate_hz)


def _read_container(mix: _Mix | _Whole, file: IO[bytes]) -> int:
    """Adds the samples of the stretch, by ffmpeg; returns their rate in Hz.

    Decodes from the start even where the stretch begins late: seeking in mp3 and AAC is not exact to the sample. Only
    what lies in the stretch is kept.
    """
    import av

    medium, path = mix.medium, mix.medium.path
    n_bytes = size_bytes(file)
    with container_of(path, file) as container:
        stream = Stream(medium, container, "audio")
        channel = medium.track if stream.n_streams == 1 else None
        rate_hz = stream.stream.rate
        check_rate(path, rate_hz, SOUND_HZ)
        start = round(medium.start_s * rate_hz)
        stop = None if medium.end_s is None else round(medium.end_s * rate_hz)
        to_float = av.AudioResampler(format="fltp")
        n_decoded = 0
        at: int | None = None  # where the next sample belongs, in samples after the start of the file
        for frame in stream.frames():
            if at is None:  # the first sample may sound after the first picture, or before (encoder delay)
                stream.check_still(0.0, stream.time_s(frame))
                at = round(stream.time_s(frame) * rate_hz)
                late = min(at, at if stop is None else stop) - start
                if late > 0:
                    mix.expect(late, rate_hz)
                    mix.add(np.zeros((late, 1), np.float32), None)
            for part in to_float.resample(frame):
                samples = np.asarray(part.to_ndarray(), np.float32).T
                some = samples[max(0, start - at) : None if stop is None else max(0, stop - at)]
                mix.expect(len(some), rate_hz)
                mix.add(some, channel)
                at += len(samples)
                n_decoded += len(samples)
            check_samples(path, n_decoded, n_bytes)
            if stop is not None and at >= stop:
                break
        if at is None:
            raise MediaError("truncated", f"{path}: not one sample can be decoded; copy it again")
        stream.check_end(at / rate_hz)
    return int(rate_hz)
