"""The demo's server: who may talk to it, what it answers, and that it is left as it was by whoever is gone."""

from __future__ import annotations

import asyncio
import io
import json
import socket
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from threading import Event, Thread

import numpy as np
import pyarrow.parquet as pq
import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

from mien.errors import ExperimentError, MienError
from mien.predict.demo.engine import Engine
from mien.predict.demo.protocol import MOST_BYTES, sound_message
from mien.predict.demo.server import MOST_CLIENTS, listening, parquet_of
from mien.predict.demo.session import resampler
from mien.predict.demo.window import SoundBuffer
from mien.predict.recogniser import load_run
from tiny_demo import PATIENCE_S, Demo, served, told
from tiny_media import voice, write_wav
from tiny_runs import tiny_run

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return tiny_run(tmp_path_factory.mktemp("demo") / "run", {"egemaps": {}})


@pytest.fixture(scope="module")
def engine(run):
    with load_run(run) as recogniser, Engine(recogniser) as engine:
        yield engine


@pytest.fixture(scope="module")
def demo(engine):
    with served(engine) as demo:
        yield demo


def fetched(url: str, **headers: str):
    with urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=PATIENCE_S) as answer:
        return dict(answer.headers), answer.read()


def status_of(url: str, data: bytes | None = None, **headers: str) -> int:
    request = urllib.request.Request(url, data, {name.replace("_", "-"): value for name, value in headers.items()})
    try:
        with urllib.request.urlopen(request, timeout=PATIENCE_S) as answer:
            return answer.status
    except urllib.error.HTTPError as error:
        return error.code


def closed_with(client) -> tuple[int, str]:
    with pytest.raises(ConnectionClosed) as error:
        while True:
            client.recv(timeout=PATIENCE_S)
    assert error.value.rcvd is not None, error.value
    return error.value.rcvd.code, error.value.rcvd.reason


# ---------------------------------------------------------------------- who may


def test_the_page_needs_its_token(demo: Demo):
    assert status_of(demo.url) == 200
    assert status_of(demo.origin + "/") == 403
    assert status_of(demo.origin + "/?token=wrong") == 403
    assert status_of(demo.origin + "/?token=%F0%9F%98%80") == 403


def test_the_page_is_all_there_and_asks_nobody_else(demo: Demo):
    headers, page = fetched(demo.url)
    policy = headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert "frame-ancestors 'none'" in policy
    assert headers["cache-control"] == "no-store"
    assert headers["referrer-policy"] == "no-referrer"
    wanted = [part.split('"')[0] for part in page.decode().split('="/')[1:]]
    assert {"page/main.js", "page/style.css"} <= set(wanted)
    for name in [*wanted, "page/worklet.js", "page/link.js"]:
        assert status_of(f"{demo.origin}/{name}") == 200
    everything = page + b"".join(demo.server._page.values())
    assert b"//" not in everything.replace(b"http://www.w3.org/2000/svg", b"").replace(b"//127", b"").replace(
        b"`${scheme}://", b""
    ).replace(b"// ", b"")
    for path in ("/page/index.html", "/page/nothing.js", "/page/../server.py", "/page/..%2fserver.py", "/etc/passwd"):
        assert status_of(demo.origin + path) == 404


def test_a_socket_needs_token_origin_and_host(demo: Demo):
    port = demo.origin.rpartition(":")[2]
    for options in (
        {"origin": "http://elsewhere.example"},
        {"origin": f"http://127.0.0.1:{int(port) + 1}"},
        {"origin": None},
        {"origin": "null"},
    ):
        with pytest.raises(InvalidStatus) as error:
            demo.client(**options)
        assert error.value.response.status_code == 403
    whole, demo.socket_url = demo.socket_url, demo.socket_url[:-1]
    with pytest.raises(InvalidStatus):
        demo.client()
    demo.socket_url = whole
    with demo.client() as client:
        assert told(client, lambda message: message["type"] == "hello")


def test_a_foreign_name_of_this_machine_is_turned_away(demo: Demo):
    """As by DNS rebinding, with which origin and host agree."""
    assert status_of(demo.url, Host="elsewhere.example") == 421
    port = int(demo.origin.rpartition(":")[2])
    url = demo.socket_url.replace("127.0.0.1", "elsewhere.example")
    with pytest.raises(InvalidStatus) as error:
        connect(
            url,
            sock=socket.create_connection(("127.0.0.1", port)),
            origin=f"http://elsewhere.example:{port}",
            open_timeout=PATIENCE_S,
        )
    assert error.value.response.status_code == 403


# ---------------------------------------------------------------------- what it says


def test_hello_says_what_must_be_known(demo: Demo):
    with demo.client() as client:
        hello = told(client, lambda message: message["type"] == "hello")
    assert hello["names"] == ["anger", "happiness", "neutral", "sadness"]
    assert hello["features"] == {"face": [], "voice": ["egemaps"]}
    assert hello["source"] == "browser"
    assert [note["kind"] for note in hello["notes"]] == ["synthetic"]


@pytest.mark.parametrize("rate_hz", [16_000, 44_100])
def test_what_it_makes_of_a_voice_is_what_the_run_makes_of_the_clip(engine: Engine, tmp_path, rate_hz):
    """The last window of a stream is a clip like any other. The rates of browsers are resampled as those of files."""
    sound = voice(4.0, rate_hz)
    last = write_wav(tmp_path / "last.wav", sound[-round(engine.window_s * rate_hz) :], rate_hz)
    quiet = write_wav(tmp_path / "quiet.wav", sound / 20, rate_hz)
    buffer, resample = SoundBuffer(16_000, 5.0), resampler(rate_hz, 16_000)
    rows = engine.heard_rows()["egemaps"]
    for at in range(0, len(sound), rate_hz // 25):
        piece = sound[at : at + rate_hz // 25]
        buffer.add(piece if resample is None else resample.resample_chunk(piece))
        stretch = rows.wanted(buffer)
        if stretch is not None:
            rows.take(asyncio.run(engine.hear("egemaps", stretch)))
    live = asyncio.run(engine.predict({"egemaps": rows.frames()}))
    expected, other = (list(engine.recogniser(audio=path).values()) for path in (last, quiet))
    np.testing.assert_allclose(live, expected, atol=0.03)
    assert np.abs(np.subtract(other, expected)).max() > 0.2, "it is not what it says of any voice"


@contextmanager
def speaking(client, sound: np.ndarray) -> Iterator[None]:
    """The sound (at 16 kHz) is said to it again and again, in real time."""
    is_over = Event()

    def speak() -> None:
        for n in count():
            at = n * 640 % (len(sound) - 640)
            client.send(sound_message(n, 0.0, sound[at : at + 640]))
            if is_over.wait(0.04):
                return

    thread = Thread(target=speak, daemon=True)
    thread.start()
    try:
        yield
    finally:
        is_over.set()
        thread.join()


def test_silence_and_no_microphone_are_told_and_nothing_is_guessed(demo: Demo):
    with demo.client() as client:
        first = told(client, lambda message: message["type"] == "prediction")
        assert (first["values"], first["voice"]["state"], first["face"]["state"]) == (None, "off", "unused")
        client.send(json.dumps({"type": "inputs", "sound_hz": 16_000, "pictures": False}))
        with speaking(client, np.full(16_000, 1e-5, np.float32)):
            silent = told(client, lambda message: message["voice"]["state"] == "silence")
            assert (silent["values"], silent["why"]) == (None, "no voice")
        with speaking(client, voice(2.0)):
            assert told(client, lambda message: message["values"] is not None)["of"] == ["voice"]
        stalled = told(client, lambda message: message["voice"]["state"] == "waiting")
        assert stalled["values"] is None
        client.send(json.dumps({"type": "inputs", "sound_hz": 0, "pictures": False}))
        gone = told(client, lambda message: message["voice"]["state"] == "off")
        assert gone["values"] is None
        assert gone["voice"]["level_db"] is None


def test_two_clients_are_told_of_their_own(demo: Demo):
    with demo.client() as one, demo.client() as other:
        for client in (one, other):
            client.send(json.dumps({"type": "inputs", "sound_hz": 16_000, "pictures": False}))
        with speaking(one, voice(2.0)):
            assert told(one, lambda message: message["type"] == "prediction" and message["values"])["of"] == ["voice"]
        for _ in range(2):
            assert told(other, lambda message: message["type"] == "prediction")["values"] is None


# ---------------------------------------------------------------------- what it bears


@pytest.mark.parametrize(
    ("messages", "code", "said"),
    [
        ([b"nonsense"], 1003, "header"),
        (["{}"], 1003, "neither inputs nor pause"),
        ([sound_message(0, 0.0, np.zeros(10, np.float32))], 1003, "named no microphone"),
        ([b"x" * (MOST_BYTES + 1)], 1009, ""),
        (["{}" * 10_000], 1003, "no JSON"),
        ([json.dumps({"type": "inputs", "sound_hz": 8_000, "pictures": False})] * 2000, 1008, "messages a second"),
    ],
)
def test_garbage_ends_the_connection_with_a_reason(demo: Demo, messages, code, said):
    with demo.client() as client:
        try:
            for message in messages:
                client.send(message)
        except ConnectionClosed:
            pass
        found, reason = closed_with(client)
    assert found == code
    assert said in reason
    with demo.client() as client:
        assert told(client, lambda message: message["type"] == "hello"), "the next one is served"


def test_one_too_many_is_told_to_come_later(demo: Demo):
    clients = [demo.client() for _ in range(MOST_CLIENTS)]
    try:
        for client in clients:
            told(client, lambda message: message["type"] == "hello")
        with demo.client() as late:
            assert closed_with(late) == (1013, f"{MOST_CLIENTS} clients are here already: try again later")
    finally:
        for client in clients:
            client.close()


def gone(demo: Demo) -> bool:
    end_s = time.monotonic() + PATIENCE_S
    while demo.server._n_clients and time.monotonic() < end_s:
        time.sleep(0.02)
    return not demo.server._n_clients


def test_a_hundred_who_come_and_vanish_leave_nothing(demo: Demo):
    """Some say goodbye, some say something first, some are cut off in the middle."""
    sound = json.dumps({"type": "inputs", "sound_hz": 16_000, "pictures": False})
    for number in range(100):
        client = demo.client()
        if number % 2:
            client.send(sound)
            client.send(sound_message(0, 0.0, voice(0.2)))
        if number % 3:
            client.close()
        else:
            client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")  # close is a reset
            client.socket.close()
        assert number % 10 or gone(demo)
    assert gone(demo)
    with demo.client() as client:
        assert told(client, lambda message: message["type"] == "hello")


# ---------------------------------------------------------------------- recordings


def test_a_recording_becomes_parquet(demo: Demo):
    token = demo.url.rpartition("?")[2]
    body = json.dumps(
        {"columns": ["time", "anger", "face"], "rows": [["a", 0.5, "seen"], ["b", None, "seen"]]}
    ).encode()
    url = f"{demo.origin}/record.parquet?{token}"
    request = urllib.request.Request(url, body, {"Origin": demo.origin})
    with urllib.request.urlopen(request, timeout=PATIENCE_S) as answer:
        table = pq.read_table(io.BytesIO(answer.read()))
    assert table.to_pydict() == {"time": ["a", "b"], "anger": [0.5, None], "face": ["seen", "seen"]}
    assert status_of(url, body, Origin="http://elsewhere.example") == 403
    assert status_of(f"{demo.origin}/record.parquet", body, Origin=demo.origin) == 403
    assert status_of(url, b"{}", Origin=demo.origin) == 400


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"\xff",
        b'{"columns": [], "rows": []}',
        b'{"columns": ["a", "a"], "rows": []}',
        b'{"columns": ["a"], "rows": [[1, 2]]}',
        b'{"columns": ["a"], "rows": [1]}',
        b'{"columns": ["a"], "rows": [[1], ["x"]]}',
        b'{"columns": ["a"], "rows": [[{"b": 1}], [2]]}',
    ],
)
def test_what_is_no_recording_is_refused(body):
    with pytest.raises(ValueError):
        parquet_of(body)


# ---------------------------------------------------------------------- what cannot start


def test_a_port_that_is_in_use_is_named():
    with listening("127.0.0.1", 0) as listener:
        port = listener.getsockname()[1]
        with pytest.raises(MienError, match=rf"port {port}: cannot be had .*in use.*or 0 for a free one"):
            listening("127.0.0.1", port)
    with pytest.raises(MienError, match="host nowhere.invalid: no such address"):
        listening("nowhere.invalid", 0)
    with pytest.raises(MienError, match="port 99999"):
        listening("127.0.0.1", 99999)


def test_a_run_that_cannot_go_live_says_which_features_and_why(tmp_path):
    """Of EEG there is nothing in a browser; what can be had is not shown half."""
    run = tiny_run(tmp_path / "run", {"egemaps-clip": {}, "openface-clip": {}})
    with load_run(run) as recogniser, pytest.raises(ExperimentError, match="openface-clip: it reads openface"):
        Engine(recogniser)


def test_a_window_of_nothing_is_refused(run):
    with load_run(run) as recogniser, pytest.raises(MienError, match="window 0: give more than 0"):
        Engine(recogniser, 0)
