"""Media files to arrays: the only module that touches codecs.

Sound comes as (N,) float32, mono (mean of the channels), resampled by soxr; pictures as (H, W, 3) uint8 RGB
at a constant rate. Time 0 is the start of the file, for all its streams: sound and picture of one file
share a clock. Paths are local or `s3://` URIs. One thread: processes fill the cores.

What cannot be used raises `MediaError`, whose `reason` is one of these and becomes the reject's:

    missing            no such file
    unreadable         no permission, a folder, a store that does not answer
    empty              no bytes, or a header with nothing after it
    not-media          no format that is known here (a text file called .wav)
    truncated          cut off: see the rule below
    no-audio-stream    a medium without sound, where sound was asked for
    no-video-stream    a medium without pictures, where pictures were asked for
    span-beyond-end    the stretch that was asked for lies (to more than a tenth) after the end of the file
    bad-times          pictures, or the first sound, more than ten minutes after what was before: damaged time stamps
    silent             sound whose samples are all the same: a dead microphone, a file of zeros
    not-finite         float samples that are NaN or infinite
    no-spans           a stretch was asked of a table (OpenFace), which stands for its clip as a whole

Truncation. A header that states a length is believed, and a file that holds less than 90 % of it is refused:
nobody should train on half a sentence without being told. The last tenth is let go, because recorders and
encoders round. A header that states nonsense is not believed, and what is there is decoded: a wav data chunk
of 0 bytes, or of 2 GiB and more that are not there (a recorder that was streaming or was switched off), an
mp3 without the frame count of a Xing header, a transport stream. Damaged packets in between are skipped, as a
player skips them.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, TYPE_CHECKING, Any

import numpy as np
import pyarrow.fs as pafs
from numpy.typing import NDArray

from mien.corpora.clip import Span
from mien.errors import MediaError

if TYPE_CHECKING:
    import av

ENOUGH = 0.9  # share of the stated length that must be there
LONGEST_STILL_S = 600.0  # one flipped bit in a time stamp can ask for days of one picture, or of silence
STREAMING_BYTES = 0x7FFFF000  # sox, ffmpeg and recorders write this or more when they do not know the length
# Containers whose header states a length, by ffmpeg's name of the format; elsewhere ffmpeg only estimates it.
STATES_LENGTH = ("mov", "flv", "avi", "flac", "matroska", "asf")
# First bytes of formats that are surely media: if they cannot be opened, they were cut, not misnamed.
MAGICS = (
    (0, b"RIFF"),
    (0, b"fLaC"),
    (4, b"ftyp"),
    (0, b"FLV"),
    (0, b"ID3"),
    (0, b"OggS"),
    (0, b"\x1aE\xdf\xa3"),
)

_FETCHED_WHOLE_BYTES, _BLOCK_BYTES = 16 * 2**20, 2**20

WHOLE = Span()

Sound = NDArray[np.float32]
Picture = NDArray[np.uint8]


def decode_for(medium: str, path: str, rate_hz: float, span: Span) -> Any:
    """What an extractor of this medium wants as its signal.

    "audio": (N,) float32. "video": iterator of (H, W, 3) uint8, which raises while it is read. Any other
    medium is a table that its extractor reads: the path itself.
    """
    if medium == "audio":
        return decode_audio(path, rate_hz, span)
    if medium == "video":
        return decode_video(path, rate_hz, span)
    if span != WHOLE:
        raise MediaError("no-spans", f"{path}: features of a table stand for whole clips, not for {span}")
    return path


def decode_audio(path: str, rate_hz: float, span: Span = WHOLE) -> Sound:
    """The sound of a file or of a stretch of it: (N,) float32, mono, N = round(seconds · rate_hz).

    The stretch is cut at the source's own rate, to the sample, before it is resampled.
    """
    with _opened(path) as file:
        samples, source_hz = _read_wav_or_flac(path, file, span) or _read_sound(path, file, span)
    mono = samples.mean(axis=1, dtype=np.float32)
    if not np.isfinite(mono).all():
        raise MediaError("not-finite", f"{path}: holds samples that are no numbers; write it again as integer PCM")
    if np.ptp(mono) == 0:
        raise MediaError("silent", f"{path}: all samples are equal, nothing was recorded")
    if source_hz == rate_hz:
        return mono
    import soxr

    return np.asarray(soxr.resample(mono, source_hz, rate_hz), dtype=np.float32)


def decode_video(
    path: str,
    rate_hz: float,
    span: Span = WHOLE,
    max_height_px: int | None = None,
) -> Iterator[Picture]:
    """The pictures of a file or of a stretch of it, at a constant rate, upright: (H, W, 3) uint8 RGB.

    Picture k shows the newest source frame whose time is at most k / rate_hz (before the first frame: the
    first), so frames are repeated or left out where the file has fewer or more, and a variable frame rate
    keeps its timing. A repeated frame is the same array. Pictures taller than max_height_px are scaled down.
    Raises MediaError on the first picture, and for truncation after the last.
    """
    with _opened(path) as file, _container(path, file) as container:
        reader = _Reader(path, container, "video")
        if span.start_s > 0:
            container.seek(int((span.start_s + reader.origin_s) * 1e6))  # to the key frame before it
        # A time stamp is rounded to its clock's tick (1 ms in flv): it may stand up to half a tick late.
        half_tick_s = max(float(reader.stream.time_base) / 2, 1e-6)
        length_s = np.inf if span.end_s is None else span.end_s - span.start_s
        shown: av.VideoFrame | None = None
        picture: Picture | None = None
        n_out, until_s = 0, 0.0
        for frame in reader.frames():
            at_s = reader.time_s(frame) - span.start_s
            reader.check_still(until_s, at_s + reader.duration_s(frame))
            while shown is not None and n_out / rate_hz < min(at_s - half_tick_s, length_s - 1e-6):
                picture = _rgb(shown, max_height_px) if picture is None else picture
                yield picture
                n_out += 1
            if shown is not None and at_s >= length_s:
                return
            shown, picture = frame, None
            until_s = at_s + reader.duration_s(frame)
        if shown is None:
            raise MediaError("truncated", f"{path}: not one picture can be decoded; copy it again")
        reader.check_length(span, until_s + span.start_s)
        while n_out / rate_hz < min(until_s, length_s) - 1e-6:
            picture = _rgb(shown, max_height_px) if picture is None else picture
            yield picture
            n_out += 1


def content_hash(path: str) -> str:
    """SHA-256 of the bytes of a file, in hex, read in pieces."""
    with _opened(path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()  # type: ignore[arg-type]


@contextmanager
def _opened(path: str) -> Iterator[IO[bytes]]:
    try:
        is_uri = "://" in path
        system, name = pafs.FileSystem.from_uri(path) if is_uri else (pafs.LocalFileSystem(), path)
        file: Any = system.open_input_file(name)
    except FileNotFoundError as error:
        raise MediaError("missing", f"{path}: no such file") from error
    except (OSError, ValueError) as error:
        raise MediaError("unreadable", f"{path}: cannot be read: {error}") from error
    with file:
        yield _few_requests(file) if is_uri else file


def _few_requests(file: Any) -> IO[bytes]:
    """An object store answers each read by a request of its own, and decoders read 8 kB at a time: a sound of four
    seconds took 40 of them. A small file is fetched at once, a large one a block at a time."""
    if file.size() <= _FETCHED_WHOLE_BYTES:
        return io.BytesIO(file.read())
    return io.BufferedReader(file, _BLOCK_BYTES)


def _size_bytes(file: IO[bytes]) -> int:
    size = file.seek(0, 2)
    file.seek(0)
    return size


def _read_wav_or_flac(path: str, file: IO[bytes], span: Span) -> tuple[Sound, int] | None:
    """Samples (N, channels) and rate in Hz by libsndfile, the fast way; None where ffmpeg must judge."""
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

    file.seek(0)
    try:
        with soundfile.SoundFile(file) as sound:
            rate_hz, length_s = sound.samplerate, sound.frames / sound.samplerate
            _check_length(path, span, length_s, length_s * stated_share)
            start = round(span.start_s * rate_hz)
            stop = sound.frames if span.end_s is None else min(round(span.end_s * rate_hz), sound.frames)
            sound.seek(start)
            return sound.read(stop - start, dtype="float32", always_2d=True), rate_hz
    except soundfile.LibsndfileError:  # a rare codec, or a flac that was cut: ffmpeg reads what is there
        return None


def _wav_data_bytes(file: IO[bytes]) -> tuple[int, int]:
    """Bytes of sound that a wav header states, and bytes that follow it; (0, 0) without a data chunk."""
    size = _size_bytes(file)
    at = 12
    while at + 8 <= size:
        file.seek(at)
        chunk = file.read(8)
        n_bytes = int.from_bytes(chunk[4:], "little")
        if chunk[:4] == b"data":
            return n_bytes, size - at - 8
        at += 8 + n_bytes + n_bytes % 2  # chunks are padded to even lengths
    return 0, 0


def _read_sound(path: str, file: IO[bytes], span: Span) -> tuple[Sound, int]:
    """Samples (N, channels) of a span and their rate in Hz, by ffmpeg.

    Decodes from the start even where the span begins late: seeking in mp3 and AAC is not exact to the sample.
    """
    import av

    with _container(path, file) as container:
        reader = _Reader(path, container, "audio")
        rate_hz = reader.stream.rate
        start = round(span.start_s * rate_hz)
        stop = None if span.end_s is None else round(span.end_s * rate_hz)
        to_float = av.AudioResampler(format="fltp")
        parts: list[Sound] = []
        lead = n_samples = 0
        for frame in reader.frames():
            if not parts:  # its first sample may sound after the first picture, or before (encoder delay)
                reader.check_still(0.0, reader.time_s(frame))
                lead = n_samples = round(reader.time_s(frame) * rate_hz)
            parts += [np.asarray(part.to_ndarray(), np.float32).T for part in to_float.resample(frame)]
            n_samples += frame.samples
            if stop is not None and n_samples >= stop:
                break
        if not parts:
            raise MediaError("truncated", f"{path}: not one sample can be decoded; copy it again")
        reader.check_length(span, n_samples / rate_hz)
    samples = np.concatenate(parts)
    samples = np.pad(samples, ((lead, 0), (0, 0))) if lead > 0 else samples[-lead:]
    return samples[start:stop], rate_hz


@contextmanager
def _container(path: str, file: IO[bytes]) -> Iterator[av.container.InputContainer]:
    import av

    if _size_bytes(file) == 0:
        raise MediaError("empty", f"{path}: 0 bytes; copy it again")
    head = file.read(16)
    file.seek(0)
    try:
        container = av.open(file, mode="r")
    except (av.error.FFmpegError, UnicodeDecodeError) as error:
        if any(head[at:].startswith(magic) for at, magic in MAGICS):
            raise MediaError("truncated", f"{path}: begins well but was cut off; copy it again") from error
        raise MediaError("not-media", f"{path}: no format of sound or video; is the name right?") from error
    with container:
        if not {stream.type for stream in container.streams} & {"audio", "video"}:
            raise MediaError("truncated", f"{path}: was cut off before its first stream; copy it again")
        yield container


class _Reader:
    """The frames of one stream of a container, on the clock of the file."""

    def __init__(self, path: str, container: av.container.InputContainer, medium: str) -> None:
        import av

        covers = av.stream.Disposition.attached_pic  # the picture on an mp3's sleeve is no video
        streams = [s for s in container.streams if s.type == medium and not s.disposition & covers]
        if not streams:
            raise MediaError(f"no-{medium}-stream", f"{path}: has no {medium} stream")
        self._path, self._container = path, container
        self.stream: Any = streams[0]
        if self.stream.codec_context is None:  # a header that was damaged in the name of the codec
            raise MediaError("not-media", f"{path}: its {medium} is in no format that is known; copy it again")
        self.stream.codec_context.thread_count = 1
        self.origin_s = (container.start_time or 0) / 1e6
        self._reached_s = 0.0  # end of the last packet of any stream

    def frames(self) -> Iterator[Any]:
        """Decoded frames in order of time; damaged packets are skipped."""
        import av

        damage = (av.error.InvalidDataError, av.error.EOFError)
        packets = self._container.demux()
        while True:
            try:
                packet = next(packets, None)
            except (*damage, IndexError):  # PyAV 18 has no place for a stream that damage makes up on the way
                return
            if packet is None:
                return
            if packet.pts is not None:
                end = (packet.pts + (packet.duration or 0)) * packet.time_base
                self._reached_s = max(self._reached_s, float(end) - self.origin_s)
            if packet.stream_index != self.stream.index:
                continue
            try:
                yield from packet.decode()
            except av.error.FFmpegError:  # decoders have names of their own for damage: AAC's is "not permitted"
                continue

    def time_s(self, frame: Any) -> float:
        """When a frame begins, in seconds from the start of the file."""
        ticks = frame.pts if frame.pts is not None else frame.dts or 0
        return float(ticks * frame.time_base) - self.origin_s

    def duration_s(self, frame: Any) -> float:
        """How long a picture is shown; by the average rate where the file does not say."""
        return float(frame.duration * frame.time_base) or float(1 / (self.stream.average_rate or 25))

    def check_still(self, from_s: float, to_s: float) -> None:
        """Raise MediaError where nothing new comes for longer than any recording stands still."""
        if to_s - from_s > LONGEST_STILL_S:
            raise MediaError("bad-times", f"{self._path}: nothing from {from_s:.0f} to {to_s:.0f} s; copy it again")

    def check_length(self, span: Span, decoded_s: float) -> None:
        """Raise MediaError where the file ends long before its header or the span says."""
        name = self._container.format.name.split(",")[0]
        if name not in STATES_LENGTH and not (name == "mp3" and self._counts_frames()):
            stated_s, reached_s = None, decoded_s
        elif self.stream.duration:
            end = (self.stream.start_time or 0) + self.stream.duration
            stated_s, reached_s = float(end * self.stream.time_base) - self.origin_s, decoded_s
        else:  # one length for all streams, some of which may rightly be shorter
            stated_s, reached_s = (self._container.duration or 0) / 1e6, self._reached_s
        _check_length(self._path, span, reached_s, stated_s)

    def _counts_frames(self) -> bool:
        """Whether an mp3 begins with a Xing or Info header, which says how long it is."""
        with _opened(self._path) as file:
            tag = file.read(10)
            if tag[:3] == b"ID3":  # its size is four digits of seven bits
                file.seek(10 + sum(digit << 7 * place for place, digit in enumerate(reversed(tag[6:]))))
            head = file.read(4096)
        return b"Xing" in head or b"Info" in head


def _check_length(path: str, span: Span, reached_s: float, stated_s: float | None) -> None:
    """Refuse a file that stops at less than ENOUGH of what its header states or of what the span asks."""
    if reached_s <= 0:
        raise MediaError("empty", f"{path}: a header with nothing after it")
    if stated_s:
        wanted_s = min(stated_s, span.end_s or stated_s) - span.start_s
        if wanted_s > 0 and reached_s - span.start_s < ENOUGH * wanted_s:
            raise MediaError("truncated", f"{path}: stops at {reached_s:.2f} s of {stated_s:.2f} s; copy it again")
    end_s = span.start_s if span.end_s is None else span.start_s + ENOUGH * (span.end_s - span.start_s)
    if span.start_s >= reached_s or reached_s < end_s:
        raise MediaError(
            "span-beyond-end",
            f"{path}: {span.start_s}..{span.end_s} s was asked, it ends at {reached_s:.2f} s",
        )


def _rgb(frame: av.VideoFrame, max_height_px: int | None) -> Picture:
    """One picture as (H, W, 3) RGB, turned upright as its file says (telephones film sideways)."""
    width, height = frame.width, frame.height
    turned = frame.rotation % 180 == 90
    shown_px = width if turned else height
    if max_height_px is not None and shown_px > max_height_px:
        width, height = (max(2, round(side * max_height_px / shown_px)) for side in (width, height))
    picture = np.asarray(frame.to_ndarray(format="rgb24", width=width, height=height, interpolation="AREA"), np.uint8)
    return np.ascontiguousarray(np.rot90(picture, frame.rotation // 90)) if frame.rotation else picture
