"""Sound and pictures written as the corpora publish them: wav, mp3, mp4 (H.264 + AAC), flv (Sorenson + MP3), avi.

Each file says in its comment tag that it is synthetic. One thread and no time stamps, so that the same input
gives the same bytes with the same FFmpeg.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from av.audio.stream import AudioStream
    from av.container import OutputContainer
    from av.video.stream import VideoStream
    from PIL.Image import Image

Sound = npt.NDArray[np.float32]

COMMENT = "SYNTHETIC: made by mien sample, no real person or corpus"
FRAME_RATE_HZ = Fraction(30000, 1001)
# FLV knows MP3 at 11.025, 22.05 and 44.1 kHz only (Adobe FLV specification 10.1, E.4.2.1).
MP3_RATE_HZ = 44100


def write_wav(path: Path, sound: Sound, rate_hz: int) -> None:
    """16-bit mono wav."""
    import soundfile

    with soundfile.SoundFile(path, "w", samplerate=rate_hz, channels=1, subtype="PCM_16") as stream:
        stream.comment = COMMENT
        stream.write(sound)


def write_mp3(path: Path, sound: Sound, rate_hz: int) -> None:
    """Mono MP3 at 44.1 kHz."""
    with _open(path) as film:
        stream = _sound_stream(film, "libmp3lame", MP3_RATE_HZ)
        _encode_sound(film, stream, sound, rate_hz)


def write_mp4(path: Path, pictures: Sequence[Image], sound: Sound, rate_hz: int) -> None:
    """H.264 at 29.97 frames a second with AAC at the rate of the sound."""
    with _open(path) as film:
        video = _picture_stream(film, "libx264", {"preset": "veryfast", "crf": "27"}, pictures[0].size)
        audio = _sound_stream(film, "aac", rate_hz)
        _encode_pictures(film, video, pictures)
        _encode_sound(film, audio, sound, rate_hz)


def write_flv(path: Path, pictures: Sequence[Image], sound: Sound, rate_hz: int) -> None:
    """Sorenson H.263 (flv1) at 29.97 frames a second with MP3, as CREMA-D has it."""
    with _open(path) as film:
        video = _picture_stream(film, "flv", {"qmin": "4", "qmax": "8"}, pictures[0].size)
        audio = _sound_stream(film, "libmp3lame", MP3_RATE_HZ)
        _encode_pictures(film, video, pictures)
        _encode_sound(film, audio, sound, rate_hz)


def write_avi(
    path: Path, pictures: Iterable[Image], rate_hz: int, *, size_px: tuple[int, int], codec_tag: str = "XVID"
) -> None:
    """MPEG-4 of that width and height without sound. codec_tag: what the file calls its codec, XVID or DX50 (DivX)."""
    import av

    with _open(path) as film:
        stream = film.add_stream("mpeg4", rate=rate_hz, options={"qmin": "3", "qmax": "8"})
        stream.width, stream.height = size_px
        stream.pix_fmt = "yuv420p"
        stream.codec_context.codec_tag = codec_tag
        stream.codec_context.gop_size = 25  # most frames from one key frame to the next, as AMI says of its closeups
        stream.codec_context.thread_count = 1
        shown: Image | None = None
        for number, picture in enumerate(pictures):
            if picture is not shown:  # long stretches of a meeting show one picture
                frame = av.VideoFrame.from_image(picture).reformat(*size_px, format="yuv420p")
                shown = picture
            frame.pts = number
            film.mux(stream.encode(frame))
        film.mux(stream.encode(None))


def copy_pictures(source: Path, target: Path) -> None:
    """The video stream of source, packet by packet, without its sound."""
    import av

    with av.open(str(source)) as film, _open(target) as silent:
        stream = film.streams.video[0]
        copied = silent.add_stream_from_template(stream)
        for packet in film.demux(stream):
            if packet.dts is not None:  # the empty packet that ends the stream has none
                packet.stream = copied
                silent.mux(packet)


def _open(path: Path) -> OutputContainer:
    import av

    film = av.open(str(path), "w", container_options={"fflags": "+bitexact"})
    film.metadata["comment"] = COMMENT
    return film


# All streams of a container must exist before the first packet is written, so making and encoding are apart.
def _picture_stream(
    film: OutputContainer,
    codec: Literal["libx264", "flv", "mpeg4"],
    options: dict[str, str],
    size_px: tuple[int, int],
    rate_hz: Fraction = FRAME_RATE_HZ,
) -> VideoStream:
    stream = film.add_stream(codec, rate=rate_hz, options=options)
    stream.width, stream.height = size_px
    stream.pix_fmt = "yuv420p"
    stream.codec_context.thread_count = 1
    return stream


def _sound_stream(film: OutputContainer, codec: Literal["aac", "libmp3lame"], rate_hz: int) -> AudioStream:
    stream = film.add_stream(codec, rate=rate_hz, layout="mono")
    stream.bit_rate = 96_000
    return stream


def _encode_pictures(film: OutputContainer, stream: VideoStream, pictures: Sequence[Image]) -> None:
    import av

    for picture in pictures:
        film.mux(stream.encode(av.VideoFrame.from_image(picture)))
    film.mux(stream.encode(None))


def _encode_sound(film: OutputContainer, stream: AudioStream, sound: Sound, rate_hz: int) -> None:
    import av

    frame = av.AudioFrame.from_ndarray(sound[None, :], format="fltp", layout="mono")
    frame.sample_rate = rate_hz
    film.mux(stream.encode(frame))
    film.mux(stream.encode(None))
