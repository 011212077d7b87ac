"""What page and server say to each other over one WebSocket, and how much of it.

Binary messages carry what is seen and heard, either way; the rest is JSON. Numbers are little-endian.

    byte 0       1 for a picture, 2 for sound (mono, 16 bits, at the rate that "inputs" named)
    bytes 4-7    uint32, a number that the sender gives it
    bytes 8-15   float64, when it was taken, in ms on a clock of the sender's own
    bytes 16-    a JPEG, or the samples

From the page: {"type": "inputs", "sound_hz": 48000, "pictures": true} first and whenever a camera or microphone comes
or goes (sound_hz 0: none), and {"type": "pause", "paused": true}. From the server: "hello", "prediction", "ended" and
"failed", see `mien.predict.demo.session`.

What does not keep to this ends the connection, with a code of RFC 6455 and a sentence.
"""

from __future__ import annotations

import json
import math
import struct
from dataclasses import dataclass, field
from typing import Literal, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

GARBAGE, TOO_MUCH, TOO_MANY, BROKEN = 1003, 1008, 1013, 1011  # close codes

HEADER = struct.Struct("<B3xId")
PICTURE, SOUND = 1, 2
MOST_BYTES = 512 * 1024  # of one message: a 1080p JPEG has less
SOUND_HZ = (8_000, 192_000)
MOST_SOUND_S = 1.0  # in one message
MESSAGES_PER_S, BYTES_PER_S = 120.0, 4 * 2**20  # 25 pictures and 50 pieces of sound a second are 75
BURST_S = 3.0  # that a stalled connection may catch up with


class ProtocolError(Exception):
    """code: of the closing message. The text is its reason, at most 123 bytes of it are sent."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(reason)
        self.code = code


class Picture(NamedTuple):
    number: int
    taken_ms: float
    jpeg: bytes


class Sound(NamedTuple):
    """samples: (N,) float32 in [-1, 1]."""

    samples: NDArray[np.float32]


class Inputs(NamedTuple):
    """sound_hz: 0 where there is no microphone. has_pictures: whether there is a camera."""

    sound_hz: int
    has_pictures: bool


class Pause(NamedTuple):
    is_paused: bool


Message: TypeAlias = Picture | Sound | Inputs | Pause


def parsed(message: bytes | str) -> Message:
    """One message of a page. Raises ProtocolError."""
    return _parsed_text(message) if isinstance(message, str) else _parsed_bytes(message)


def _parsed_bytes(message: bytes) -> Picture | Sound:
    if len(message) <= HEADER.size:
        raise ProtocolError(
            GARBAGE, f"a binary message of {len(message)} bytes: it begins with {HEADER.size} of header"
        )
    kind, number, taken_ms = HEADER.unpack_from(message)
    body = message[HEADER.size :]
    if not math.isfinite(taken_ms):
        raise ProtocolError(GARBAGE, "a time that is no number")
    if kind == PICTURE:
        if body[:2] != b"\xff\xd8":
            raise ProtocolError(GARBAGE, "a picture that is no JPEG")
        return Picture(number, taken_ms, body)
    if kind == SOUND:
        if len(body) % 2 or len(body) > 2 * SOUND_HZ[1] * MOST_SOUND_S:
            raise ProtocolError(GARBAGE, f"sound of {len(body)} bytes: 2 a sample, at most {MOST_SOUND_S:g} s")
        return Sound(np.frombuffer(body, "<i2").astype(np.float32) / np.float32(32768))
    raise ProtocolError(GARBAGE, f"a binary message of kind {kind}: 1 is a picture, 2 sound")


def _parsed_text(message: str) -> Inputs | Pause:
    try:
        value = json.loads(message)
    except (ValueError, RecursionError):
        raise ProtocolError(GARBAGE, "a text message that is no JSON") from None
    match value:
        case {"type": "inputs", "sound_hz": int(sound_hz), "pictures": bool(has_pictures)} if (
            sound_hz == 0 or SOUND_HZ[0] <= sound_hz <= SOUND_HZ[1]
        ):
            return Inputs(int(sound_hz), has_pictures)
        case {"type": "pause", "paused": bool(is_paused)}:
            return Pause(is_paused)
    raise ProtocolError(GARBAGE, "a text message that is neither inputs nor pause")


def picture_message(number: int, taken_ms: float, jpeg: bytes) -> bytes:
    """A picture, as either side sends it."""
    return HEADER.pack(PICTURE, number, taken_ms) + jpeg


def sound_message(number: int, taken_ms: float, samples: NDArray[np.float32]) -> bytes:
    """(N,) float32 in [-1, 1], as the page sends it."""
    return (
        HEADER.pack(SOUND, number, taken_ms) + np.clip(np.rint(samples * 32768), -32768, 32767).astype("<i2").tobytes()
    )


@dataclass(slots=True)
class Limits:
    """How much one client may send: a bucket of messages and one of bytes, which fill with time (token buckets)."""

    messages: float = field(default=MESSAGES_PER_S * BURST_S)
    bytes: float = field(default=BYTES_PER_S * BURST_S)
    _at_s: float | None = None

    def spend(self, n_bytes: int, now_s: float) -> None:
        """One message. Raises ProtocolError where it is too much."""
        passed_s = 0.0 if self._at_s is None else max(now_s - self._at_s, 0.0)
        self._at_s = now_s
        self.messages = min(self.messages + passed_s * MESSAGES_PER_S, MESSAGES_PER_S * BURST_S) - 1
        self.bytes = min(self.bytes + passed_s * BYTES_PER_S, BYTES_PER_S * BURST_S) - n_bytes
        if self.messages < 0:
            raise ProtocolError(TOO_MUCH, f"more than {MESSAGES_PER_S:g} messages a second")
        if self.bytes < 0:
            raise ProtocolError(TOO_MUCH, f"more than {BYTES_PER_S / 2**20:g} MiB a second")


Seen: TypeAlias = Literal["unused", "off", "waiting", "face", "no-face"]
Heard: TypeAlias = Literal["unused", "off", "waiting", "sound", "silence"]
