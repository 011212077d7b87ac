"""A proxy on loopback between a client of S3 and a moto server, with faults by a seeded schedule.

It throttles, answers with errors, breaks connections before and after the server has done what was asked, cuts answers
short and sends them slowly. A request that met a fault is let through when it comes again, so a job of many requests
ends, however many faults it meets; `for_ever` breaks every one.
"""

from __future__ import annotations

import http.client
import random
import socket
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

KINDS = ("throttled", "error", "reset-before", "reset-after", "cut", "slow")
_ERRORS = {
    "throttled": (503, "SlowDown", "Please reduce your request rate."),
    "error": (500, "InternalError", "We encountered an internal error. Please try again."),
}
_OF_ONE_HOP = ("connection", "keep-alive", "transfer-encoding", "content-length", "expect")


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: FaultyS3

    def handle_any(self) -> None:
        body = self._body()
        fault = self.server.fault(self.command, self.path)
        if fault in _ERRORS:
            self._refuse(*_ERRORS[fault])
        elif fault == "reset-before":
            self._reset()
        else:
            self._pass_on(body, fault)

    do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = handle_any

    def _body(self) -> bytes:
        if "chunked" not in self.headers.get("Transfer-Encoding", ""):
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        data = b""
        while n_bytes := int(self.rfile.readline().split(b";")[0], 16):
            data += self.rfile.read(n_bytes)
            self.rfile.readline()
        while self.rfile.readline().strip():  # trailers
            pass
        return data

    def _pass_on(self, body: bytes, fault: str | None) -> None:
        there = http.client.HTTPConnection(self.server.host, timeout=30)
        headers = {name: value for name, value in self.headers.items() if name.lower() not in _OF_ONE_HOP}
        there.request(self.command, self.path, body, headers | {"Content-Length": str(len(body))})
        answer = there.getresponse()
        data = answer.read()
        there.close()
        if fault == "reset-after":
            self._reset()
            return
        self.send_response_only(answer.status, answer.reason)
        for name, value in answer.getheaders():
            if name.lower() not in _OF_ONE_HOP:
                self.send_header(name, value)
        is_head = self.command == "HEAD"
        self.send_header("Content-Length", answer.getheader("Content-Length", "0") if is_head else str(len(data)))
        self.end_headers()
        if is_head:
            return
        if fault == "cut":
            self.wfile.write(data[: len(data) // 2])
            self._reset()
        elif fault == "slow":
            for start in range(0, len(data), max(1, len(data) // 4)):
                self.wfile.write(data[start : start + max(1, len(data) // 4)])
                self.wfile.flush()
                time.sleep(0.02)
        else:
            self.wfile.write(data)

    def _refuse(self, status: int, code: str, message: str) -> None:
        data = f"<?xml version='1.0'?><Error><Code>{code}</Code><Message>{message}</Message></Error>".encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    def _reset(self) -> None:
        self.wfile.flush()
        self.close_connection = True
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    def log_message(self, *_: object) -> None:
        pass


class FaultyS3(ThreadingHTTPServer):
    """faults: what was done to which request, in order; for_ever: what is done to every one of them from now on."""

    daemon_threads = True
    request_queue_size = 64

    def __init__(self, endpoint: str, seed: int, every: int, most: int) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.host = urlsplit(endpoint).netloc
        self.faults: list[tuple[str, str, str]] = []
        self.n_requests = 0
        self.for_ever: str | None = None
        self._random, self._every, self._most = random.Random(seed), every, most
        self._lock = threading.Lock()
        self._broken: set[tuple[str, str]] = set()
        self._left: list[str] = []

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def fault(self, command: str, path: str) -> str | None:
        """What is done to a request; None: it is passed on as it is. Of each kind as many as of the others."""
        with self._lock:
            self.n_requests += 1
            if self.for_ever:
                return self.for_ever
            request = command, path
            if request in self._broken:
                self._broken.discard(request)
                return None
            if len(self.faults) >= self._most or self._random.randrange(self._every):
                return None
            if not self._left:
                self._left = self._random.sample(KINDS, len(KINDS))
            kind = self._left.pop()
            self.faults.append((kind, *request))
            if kind != "slow":
                self._broken.add(request)
            return kind

    def shutdown_request(self, request: Any) -> None:
        self.close_request(request)

    def handle_error(self, *_: object) -> None:  # a client that went away
        pass


@contextmanager
def faulty_s3(endpoint: str, *, seed: int = 0, every: int = 3, most: int = 12) -> Iterator[FaultyS3]:
    """A proxy before an S3. every: one request in so many meets a fault; most: faults in all."""
    server = FaultyS3(endpoint, seed, every, most)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
