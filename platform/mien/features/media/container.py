"""A container (mp4, mkv, mp3, ...) and one stream of it, by ffmpeg. One thread: processes fill the cores."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, TYPE_CHECKING, Any, Literal

from mien.corpora.clip import Medium
from mien.errors import MediaError
from mien.features.media.source import opened, size_bytes
from mien.features.media.truncation import (
    LONGEST_STILL_S,
    MAGICS,
    MOST_PIXELS,
    STATES_LENGTH,
    check_length,
    check_pixels,
)

if TYPE_CHECKING:
    import av


@contextmanager
def container_of(path: str, file: IO[bytes]) -> Iterator[av.container.InputContainer]:
    """The container in an open file; MediaError "empty", "not-media" or "truncated"."""
    import av

    if size_bytes(file) == 0:
        raise MediaError("empty", f"{path}: 0 bytes; copy it again")
    head = file.read(16)
    file.seek(0)
    try:
        container = av.open(file, mode="r", options={"max_pixels": str(MOST_PIXELS)})
    except (av.error.FFmpegError, UnicodeDecodeError) as error:
        if any(head[at:].startswith(magic) for at, magic in MAGICS):
            raise MediaError("truncated", f"{path}: begins well but was cut off; copy it again") from error
        raise MediaError("not-media", f"{path}: no format of sound or video; is the name right?") from error
    with container:
        if not {stream.type for stream in container.streams} & {"audio", "video"}:
            raise MediaError("truncated", f"{path}: was cut off before its first stream; copy it again")
        yield container


class Stream:
    """The frames of one stream of a container, on the clock of the file.

    n_streams: how many of its type there are. Of several, the medium's track says which; else it is the first.
    """

    def __init__(
        self, medium: Medium, container: av.container.InputContainer, stream_type: Literal["audio", "video"]
    ) -> None:
        import av

        covers = av.stream.Disposition.attached_pic  # the picture on an mp3's sleeve is no video
        streams = [s for s in container.streams if s.type == stream_type and not s.disposition & covers]
        path = medium.path
        if not streams:
            raise MediaError(f"no-{stream_type}-stream", f"{path}: has no {stream_type} stream")
        self.n_streams = len(streams)
        track = medium.track or 0 if stream_type == "video" or self.n_streams > 1 else 0
        if track >= self.n_streams:
            raise MediaError("no-track", f"{path}: track {track} was asked, it has {self.n_streams} of {stream_type}")
        self._medium, self._path, self._container = medium, path, container
        self.stream: Any = streams[track]
        if self.stream.codec_context is None:  # a header that was damaged in the name of the codec
            raise MediaError("not-media", f"{path}: its {stream_type} is in no format that is known; copy it again")
        if stream_type == "video":
            codec: Any = self.stream.codec_context
            check_pixels(path, codec.width, codec.height)  # 0 where ffmpeg itself found it too large
            codec.options = {"max_pixels": str(MOST_PIXELS)}
        self.stream.codec_context.thread_count = 1
        self.origin_s = (container.start_time or 0) / 1e6
        self._reached_s = 0.0  # end of the last packet of any stream

    def frames(self) -> Iterator[Any]:
        """Decoded frames in order of time; damaged packets are skipped."""
        import av

        # The memory that ffmpeg asks for in vain is what a damaged size claims: its packets are small.
        damage = (av.error.InvalidDataError, av.error.EOFError, av.error.MemoryError)
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
            # Damage can make another kind of a stream on the way.
            if packet.stream_index != self.stream.index or packet.stream.type != self.stream.type:
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

    def check_end(self, decoded_s: float) -> None:
        """Raise MediaError where the file ends long before its header or the medium's stretch says."""
        name = self._container.format.name.split(",")[0]
        n_ticks = self.stream.duration or 0
        if name == "avi":  # of one that was cut off, ffmpeg makes the length shorter; the number of frames stays
            n_ticks = max(n_ticks, self.stream.frames)
        if name not in STATES_LENGTH and not (name == "mp3" and self._counts_frames()):
            stated_s, reached_s = None, decoded_s
        elif n_ticks:
            end = (self.stream.start_time or 0) + n_ticks
            stated_s, reached_s = float(end * self.stream.time_base) - self.origin_s, decoded_s
        else:  # one length for all streams, some of which may rightly be shorter
            stated_s, reached_s = (self._container.duration or 0) / 1e6, self._reached_s
        check_length(self._medium, reached_s, stated_s)

    def _counts_frames(self) -> bool:
        """Whether an mp3 begins with a Xing or Info header, which states how long it is."""
        with opened(self._path) as file:
            tag = file.read(10)
            if tag[:3] == b"ID3":  # its size is four digits of seven bits
                file.seek(10 + sum(digit << 7 * place for place, digit in enumerate(reversed(tag[6:]))))
            head = file.read(4096)
        return b"Xing" in head or b"Info" in head
