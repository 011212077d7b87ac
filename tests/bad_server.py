"""A web server of this machine that does what servers do to long downloads: a script of answers for each path."""

from __future__ import annotations

import socket
import struct
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Answer = Callable[["Handler", bytes], None]


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: BadServer

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        self.server.asked.append((path, self.headers.get("Range"), self.headers.get("If-Range")))
        if path not in self.server.files:
            self.say(404, b"no such file")
            return
        script = self.server.scripts[path]
        answer = script.pop(0) if script else ok
        answer(self, self.server.files[path])

    def say(self, status: int, body: bytes, **headers: str) -> None:
        """The body goes out as it is, whatever length the headers state."""
        self.send_response(status)
        headers = {"Content_Length": str(len(body)), **headers}
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(body)

    def first(self, data: bytes) -> int:
        """Where the range that was asked for begins; 0 where none was, or where the file is another by now."""
        asked, version = self.headers.get("Range"), self.headers.get("If-Range")
        if not asked or (version and version != self.server.etag):
            return 0
        return int(asked.removeprefix("bytes=").partition("-")[0])

    def break_off(self, *, reset: bool) -> None:
        """A connection that is closed, or reset as by a router that forgot it: what was on its way is lost then."""
        self.wfile.flush()
        self.close_connection = True
        if reset:
            time.sleep(0.05)  # until the client has read some
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    def log_message(self, *_: object) -> None:
        pass


class BadServer(ThreadingHTTPServer):
    """files: path to bytes; scripts: path to what is answered, one after the other, and then `ok`; asked: path, Range
    and If-Range of each request."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.files: dict[str, bytes] = {}
        self.scripts: dict[str, list[Answer]] = defaultdict(list)
        self.asked: list[tuple[str, str | None, str | None]] = []
        self.etag = '"v1"'

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.server_port}{path}"

    def add(self, path: str, data: bytes, *script: Answer) -> str:
        """Its URL."""
        self.files[path] = data
        self.scripts[path] = list(script)
        return self.url(path)

    def shutdown_request(self, request: Any) -> None:
        """Without a farewell: where `break_off` asked for it, closing resets the connection."""
        self.close_request(request)

    def handle_error(self, *_: object) -> None:  # a client that went away
        pass


@contextmanager
def bad_server() -> Iterator[BadServer]:
    server = BadServer()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()


# ------------------------------------------------------------------ answers


def ok(handler: Handler, data: bytes) -> None:
    """What a server should do: ranges, an ETag, and 416 beyond the end."""
    first = handler.first(data)
    etag = {"ETag": handler.server.etag}
    if not first:
        handler.say(200, data, **etag)
    elif first >= len(data):
        handler.say(416, b"", Content_Range=f"bytes */{len(data)}", **etag)
    else:
        span = f"bytes {first}-{len(data) - 1}/{len(data)}"
        handler.say(206, data[first:], Content_Range=span, **etag)


def breaks_after(n_bytes: int, *, reset: bool = False) -> Answer:
    """As `ok`, but the connection ends after so many bytes."""

    def answer(handler: Handler, data: bytes) -> None:
        first = handler.first(data)
        handler.send_response(206 if first else 200)
        handler.send_header("Content-Length", str(len(data) - first))
        if first:
            handler.send_header("Content-Range", f"bytes {first}-{len(data) - 1}/{len(data)}")
        if handler.server.etag:
            handler.send_header("ETag", handler.server.etag)
        handler.end_headers()
        handler.wfile.write(data[first : first + n_bytes])
        handler.break_off(reset=reset)

    return answer


def states(n_bytes: int) -> Answer:
    """All of the data, with a length that is a lie; no ranges."""

    def answer(handler: Handler, data: bytes) -> None:
        handler.close_connection = True
        handler.say(200, data, Content_Length=str(n_bytes), ETag=handler.server.etag)

    return answer


def ignores_ranges(handler: Handler, data: bytes) -> None:
    handler.say(200, data)


def another_range(handler: Handler, data: bytes) -> None:
    """206, but from the first byte on, whatever was asked for."""
    handler.say(206, data, Content_Range=f"bytes 0-{len(data) - 1}/{len(data)}")


def wrong_byte(handler: Handler, data: bytes) -> None:
    ok(handler, bytes([data[0] ^ 1]) + data[1:])


def fails(status: int, **headers: str) -> Answer:
    return lambda handler, data: handler.say(status, b"not now", **headers)


def redirects(to: str) -> Answer:
    return lambda handler, data: handler.say(302, b"", Location=to)


def page(handler: Handler, data: bytes) -> None:
    handler.say(200, b"<html>please log in</html>", Content_Type="text/html; charset=utf-8")


def without_length(handler: Handler, data: bytes) -> None:
    """Chunked, as servers send what they make as they go."""
    handler.send_response(200)
    handler.send_header("Transfer-Encoding", "chunked")
    handler.end_headers()
    for start in range(0, len(data), 100_000):
        chunk = data[start : start + 100_000]
        handler.wfile.write(b"%x\r\n%s\r\n" % (len(chunk), chunk))
    handler.wfile.write(b"0\r\n\r\n")
