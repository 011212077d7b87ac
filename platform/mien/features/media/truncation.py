"""Which files are refused for being cut off, or for a header that claims what cannot be.

A header that states a length is believed, and a file that holds less than 90 % of it is refused: a model must not be
trained on half a sentence unnoticed. The last tenth is let go, because recorders and encoders round. A header that
does not know the length is not believed, and what is there is decoded: a wav data chunk of 0 bytes, or of 2 GiB and
more that are not there (a recorder that was streaming or was switched off), an mp3 without the frame count of a Xing
header, a transport stream. Damaged packets in between are skipped, as a player skips them.

A rate, a size of pictures or a number of samples is compared with what recordings have and with the bytes that are
there, before memory is taken for it; and so is the memory that all of it would take with what one clip may take.
"""

from __future__ import annotations

from mien.corpora.clip import Medium
from mien.errors import MediaError

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
SOUND_HZ = (1_000, 1_000_000)  # a sound at 1 Hz would be resampled to 16,000 times its size
SIGNAL_HZ = (0.01, 1_000_000)
MOST_PIXELS = 2**26  # of one picture: twice 8K video
MOST_BYTES = 4 * 2**30  # that one decoded clip may take, where nothing else was asked for: 9 hours of sound
# Of one channel: digital silence in flac, the densest that encoders write, has 370 samples per byte.
MOST_SAMPLES_PER_BYTE = 1024


def check_length(medium: Medium, reached_s: float, stated_s: float | None) -> None:
    """Refuse a file that stops at less than ENOUGH of what its header states or of what the stretch asks.

    reached_s: what there is. stated_s: what the header states, None or 0 where it does not.
    """
    path, start_s, end_s = medium.path, medium.start_s, medium.end_s
    if reached_s <= 0:
        raise MediaError("empty", f"{path}: a header with nothing after it")
    if stated_s:
        wanted_s = min(stated_s, end_s or stated_s) - start_s
        if wanted_s > 0 and reached_s - start_s < ENOUGH * wanted_s:
            raise MediaError("truncated", f"{path}: stops at {reached_s:.2f} s of {stated_s:.2f} s; copy it again")
    enough_s = start_s if end_s is None else start_s + ENOUGH * (end_s - start_s)
    if start_s >= reached_s or reached_s < enough_s:
        raise MediaError("span-beyond-end", f"{path}: {start_s}..{end_s} s was asked, it ends at {reached_s:.2f} s")


def check_rate(path: str, rate_hz: float, allowed_hz: tuple[float, float]) -> None:
    """Refuse a rate that no recording has."""
    if not allowed_hz[0] <= rate_hz <= allowed_hz[1]:
        raise MediaError("bad-header", f"{path}: its header claims {rate_hz:g} Hz; copy it again or write it anew")


def check_pixels(path: str, width_px: int, height_px: int) -> None:
    """Refuse pictures larger than any camera's, or without a size."""
    if not 0 < width_px * height_px <= MOST_PIXELS:
        raise MediaError(
            "bad-header", f"{path}: its header claims pictures of no size, or of a huge one; copy it again"
        )


def check_samples(path: str, n_samples: int, n_bytes: int) -> None:
    """Refuse more samples per channel than so many bytes can hold."""
    if n_samples > MOST_SAMPLES_PER_BYTE * n_bytes:
        raise MediaError("bad-header", f"{path}: claims {n_samples} samples in {n_bytes} bytes; copy it again")


def check_memory(path: str, n_bytes: float, most_bytes: int) -> None:
    """Refuse a stretch that takes more memory, decoded, than a clip may."""
    if n_bytes > most_bytes:
        raise MediaError(
            "too-large",
            f"{path}: takes more memory to decode than the {most_bytes / 2**20:g} MB that a clip may take; cut it into "
            "stretches, or raise clip_limit_mb",
        )
