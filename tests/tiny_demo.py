"""A demo's server in a thread of a test, and a client that speaks its protocol."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Thread
from typing import Any

from websockets.sync.client import ClientConnection, connect

from mien.predict.demo.engine import Engine
from mien.predict.demo.server import DemoServer, address_of, listening, web_server
from mien.predict.demo.session import Source

PATIENCE_S = 120.0  # of a test on a machine where others work; none is measured by it


class Demo:
    """A server that serves. url: of the page, with the token."""

    def __init__(self, server: DemoServer, url: str) -> None:
        self.server, self.url = server, url
        self.origin, _, query = url.partition("/?")
        self.socket_url = f"{self.origin.replace('http', 'ws', 1)}/live?{query}"

    def client(self, **options: Any) -> ClientConnection:
        return connect(
            self.socket_url, **{"origin": self.origin, "open_timeout": PATIENCE_S, "ping_timeout": None, **options}
        )


@contextmanager
def served(engine: Engine, source: Source | None = None) -> Iterator[Demo]:
    server = DemoServer(engine, source)
    with listening("127.0.0.1", 0) as listener:
        web = web_server(server.app)
        thread = Thread(target=web.run, kwargs={"sockets": [listener]}, daemon=True)
        thread.start()
        try:
            yield Demo(server, address_of(server, listener))
        finally:
            web.should_exit = True
            thread.join(PATIENCE_S)


def told(client: ClientConnection, is_it: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
    """The first JSON message of which this holds."""
    end_s = time.monotonic() + PATIENCE_S
    while time.monotonic() < end_s:
        message = client.recv(timeout=PATIENCE_S)
        if isinstance(message, str) and is_it(value := json.loads(message)):
            return value
    raise AssertionError("it never came")
