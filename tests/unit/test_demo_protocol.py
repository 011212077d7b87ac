"""What a page may say to the demo's server, and how much: all else ends the connection with a sentence."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mien.predict.demo.protocol import (
    BURST_S,
    BYTES_PER_S,
    HEADER,
    MESSAGES_PER_S,
    PICTURE,
    SOUND,
    Inputs,
    Limits,
    Pause,
    Picture,
    ProtocolError,
    Sound,
    parsed,
    picture_message,
    sound_message,
)

JPEG = b"\xff\xd8 and the rest"


def test_a_picture_comes_out_as_it_went_in():
    assert parsed(picture_message(7, 1234.5, JPEG)) == Picture(7, 1234.5, JPEG)


def test_the_header_is_as_the_page_writes_it():
    message = picture_message(258, 1.0, JPEG)
    assert message[0] == 1
    assert message[4:8] == bytes([2, 1, 0, 0]), "little-endian"
    assert message[8:16] == np.float64(1.0).tobytes()
    assert message[16:] == JPEG


def test_sound_comes_out_in_16_bits():
    samples = np.array([0.0, 0.5, -1.0, 0.99], np.float32)
    read = parsed(sound_message(1, 0.0, samples))
    assert isinstance(read, Sound)
    np.testing.assert_allclose(read.samples, samples, atol=1 / 32768)


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ({"type": "inputs", "sound_hz": 44100, "pictures": True}, Inputs(44100, True)),
        ({"type": "inputs", "sound_hz": 0, "pictures": False}, Inputs(0, False)),
        ({"type": "pause", "paused": True}, Pause(True)),
    ],
)
def test_a_text_is_read(text, read):
    assert parsed(json.dumps(text)) == read


@pytest.mark.parametrize(
    ("message", "said"),
    [
        (b"", "0 bytes"),
        (b"x" * HEADER.size, "of header"),
        (HEADER.pack(9, 0, 0.0) + b"x", "kind 9"),
        (HEADER.pack(PICTURE, 0, 0.0) + b"GIF89a", "no JPEG"),
        (HEADER.pack(PICTURE, 0, float("nan")) + JPEG, "no number"),
        (HEADER.pack(SOUND, 0, float("inf")) + b"xx", "no number"),
        (HEADER.pack(SOUND, 0, 0.0) + b"xxx", "2 a sample"),
        (HEADER.pack(SOUND, 0, 0.0) + b"xx" * 192_001, "at most 1 s"),
        ("", "no JSON"),
        ("{", "no JSON"),
        ("[" * 100_000, "no JSON"),
        ("null", "neither"),
        ("[]", "neither"),
        ('{"type": "inputs", "sound_hz": 44100}', "neither"),
        ('{"type": "inputs", "sound_hz": 44100.5, "pictures": true}', "neither"),
        ('{"type": "inputs", "sound_hz": 100, "pictures": true}', "neither"),
        ('{"type": "inputs", "sound_hz": true, "pictures": true}', "neither"),
        ('{"type": "inputs", "sound_hz": 1000000000000, "pictures": true}', "neither"),
        ('{"type": "pause", "paused": 1}', "neither"),
    ],
)
def test_garbage_is_refused_with_a_sentence(message, said):
    with pytest.raises(ProtocolError, match=said) as error:
        parsed(message)
    assert error.value.code == 1003
    assert len(str(error.value).encode()) <= 120, "a closing message holds no more"


@given(st.one_of(st.binary(max_size=64), st.text(max_size=64)))
def test_nothing_else_is_raised(message):
    try:
        parsed(message)
    except ProtocolError as error:
        assert str(error)


def test_what_a_page_sends_is_allowed_for_ever():
    limits = Limits()
    for step in range(60 * 75):  # 25 pictures and 50 pieces of sound a second, for a minute
        limits.spend(40_000 if step % 3 == 0 else 3_000, step / 75)


def test_a_stall_may_catch_up():
    limits = Limits()
    limits.spend(1, 0.0)
    for _ in range(round(MESSAGES_PER_S * BURST_S) - 1):
        limits.spend(1, 10.0)


def test_too_many_messages_are_refused():
    limits = Limits()
    with pytest.raises(ProtocolError, match="messages a second") as error:
        for step in range(100_000):
            limits.spend(1, step / (2 * MESSAGES_PER_S))
    assert error.value.code == 1008


def test_too_many_bytes_are_refused():
    limits = Limits()
    with pytest.raises(ProtocolError, match="MiB a second"):
        for step in range(1_000):
            limits.spend(BYTES_PER_S // 4, step / 10)


def test_a_clock_that_goes_back_gives_nothing():
    limits = Limits()
    with pytest.raises(ProtocolError):
        for step in range(100_000):
            limits.spend(1, -float(step))
