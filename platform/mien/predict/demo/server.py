"""The web server of a demo: its page, one WebSocket a client, and recordings as Parquet.

It listens on this machine alone, unless it is told otherwise, and every address that does something needs the token
that is printed with it. A browser says which page opens a socket, and only our own may. What people show and say is
held for the length of a window, in memory, and nowhere else.
"""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import secrets
import socket
from importlib.resources import files
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, HTTPConnection, Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect

from mien.errors import MienError
from mien.predict.demo.engine import Engine
from mien.predict.demo.protocol import MOST_BYTES, TOO_MANY
from mien.predict.demo.session import Source, serve

LOOPBACK = ("127.0.0.1", "localhost", "::1")
MOST_CLIENTS = 8
MOST_RECORD_BYTES = 64 * 2**20  # of a recording sent to become Parquet: ten hours at 10 predictions a second
MOST_REASON = 120  # bytes of a closing message: RFC 6455 allows 123
TYPES = {"html": "text/html", "css": "text/css", "js": "text/javascript", "svg": "image/svg+xml"}


class DemoServer:
    """The application of one engine. token: what every address needs."""

    def __init__(
        self,
        engine: Engine,
        source: Source | None = None,
        *,
        host: str = "127.0.0.1",
        size: tuple[int, int] = (800, 600),
    ) -> None:
        """size: width and height of the page's panel in CSS pixels, where the window has room for it."""
        self.engine, self.source, self.host, self.size = engine, source, host, size
        self.token = secrets.token_urlsafe(16)
        self._n_clients = 0
        self._page = {
            one.name: one.read_bytes()
            for one in files("mien.predict.demo").joinpath("page").iterdir()
            if one.name.rpartition(".")[2] in TYPES
        }
        self.app = Starlette(
            routes=[
                Route("/", self._index),
                Route("/page/{name}", self._file),
                Route("/record.parquet", self._parquet, methods=["POST"]),
                WebSocketRoute("/live", self._live),
            ]
        )

    # ------------------------------------------------------------------ pages

    async def _index(self, request: Request) -> Response:
        if not self._is_host_ours(request):
            return self._answer(request, "no such host here", 421)
        if not self._has_token(request):
            return self._answer(request, "Open the address that mien demo printed: its token is missing here.", 403)
        width, height = self.size
        text = self._page["index.html"].decode().replace("{width}", str(width)).replace("{height}", str(height))
        return self._answer(request, text.encode(), kind="html")

    async def _file(self, request: Request) -> Response:
        name = request.path_params["name"]
        if name not in self._page or name == "index.html":
            return self._answer(request, "no such page", 404)
        return self._answer(request, self._page[name], kind=name.rpartition(".")[2])

    async def _parquet(self, request: Request) -> Response:
        if not (self._is_host_ours(request) and self._is_own_page(request) and self._has_token(request)):
            return self._answer(request, "not from this page", 403)
        body = bytearray()
        try:
            async for part in request.stream():
                body += part
                if len(body) > MOST_RECORD_BYTES:
                    return self._answer(request, "a recording of more than 64 MB", 413)
            data = await asyncio.to_thread(parquet_of, bytes(body))
        except ClientDisconnect:
            return Response(status_code=400)
        except ValueError as error:
            return self._answer(request, f"no recording: {error}", 400)
        return self._answer(request, data, kind="parquet")

    def _answer(self, request: Request, content: bytes | str, status: int = 200, kind: str = "") -> Response:
        headers = {
            "Cache-Control": "no-store",
            "Content-Security-Policy": (
                "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; worker-src 'self'; "
                f"connect-src 'self' ws://{request.url.netloc} wss://{request.url.netloc}; "
                "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
            ),
            "Cross-Origin-Opener-Policy": "same-origin",
            "Cross-Origin-Resource-Policy": "same-origin",
            "Permissions-Policy": "camera=(self), microphone=(self), geolocation=()",
            "Referrer-Policy": "no-referrer",
            "X-Content-Type-Options": "nosniff",
        }
        if isinstance(content, str):
            return PlainTextResponse(content, status, headers)
        return Response(content, status, headers, TYPES.get(kind, "application/octet-stream"))

    # ------------------------------------------------------------------ sockets

    async def _live(self, socket: WebSocket) -> None:
        if not (self._is_host_ours(socket) and self._is_own_page(socket) and self._has_token(socket)):
            await socket.close(1008, "not from this page")  # before it is accepted: the answer is 403
            return
        if self._n_clients >= MOST_CLIENTS:
            await socket.accept()
            await socket.close(TOO_MANY, f"{MOST_CLIENTS} clients are here already: try again later")
            return
        self._n_clients += 1
        try:
            await socket.accept()
            code, reason = await serve(_Client(socket), self.engine, self.source)
            with contextlib.suppress(RuntimeError, WebSocketDisconnect):  # it is gone already
                await socket.close(code, _short(reason))
        except WebSocketDisconnect:
            pass
        finally:
            self._n_clients -= 1

    def _has_token(self, connection: HTTPConnection) -> bool:
        return secrets.compare_digest(connection.query_params.get("token", "").encode(), self.token.encode())

    def _is_host_ours(self, connection: HTTPConnection) -> bool:
        """A name that leads here by a foreign DNS (rebinding) is not; where all may call, the token decides."""
        return self.host not in LOOPBACK or connection.url.hostname in LOOPBACK

    def _is_own_page(self, connection: HTTPConnection) -> bool:
        """Whether the page that asks is of this very host and port."""
        origin = connection.headers.get("origin", "")
        return origin.partition("://")[2] == connection.headers.get("host", "?")


class _Client:
    """A WebSocket as a session sees it."""

    def __init__(self, socket: WebSocket) -> None:
        self._socket = socket

    async def receive(self) -> bytes | str | None:
        message = await self._socket.receive()
        if message["type"] == "websocket.disconnect":
            return None
        return message["text"] if message.get("text") is not None else message["bytes"]

    async def send_json(self, value: dict[str, Any]) -> None:
        await self._socket.send_text(json.dumps(value, separators=(",", ":")))

    async def send_bytes(self, data: bytes) -> None:
        await self._socket.send_bytes(data)


def parquet_of(body: bytes) -> bytes:
    """A recording {"columns": [names], "rows": [[values]]} as a Parquet file. Raises ValueError where it is none."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    value = json.loads(body)
    match value:
        case {"columns": [*columns], "rows": [*rows]} if (
            columns
            and len(set(map(str, columns))) == len(columns)
            and all(isinstance(name, str) for name in columns)
            and all(isinstance(row, list) and len(row) == len(columns) for row in rows)
        ):
            pass
        case _:
            raise ValueError("give columns and rows of as many values")
    try:
        table = pa.table({name: pa.array([row[n] for row in rows]) for n, name in enumerate(columns)})
    except pa.ArrowException as error:
        raise ValueError(f"values of one column are of several kinds: {error}") from None
    file = io.BytesIO()
    pq.write_table(table, file)
    return file.getvalue()


def listening(host: str, port: int) -> socket.socket:
    """A socket that listens; port 0: a free one. Raises MienError where the port or the host is not to be had."""
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    except (OSError, UnicodeError, OverflowError):
        raise MienError(f"host {host}: no such address; give an IP address or a name of this machine") from None
    if not 0 <= port <= 65535:
        raise MienError(f"port {port}: give a number in 0..65535")
    try:
        return socket.create_server(address, family=family)
    except OSError as error:
        raise MienError(f"port {port}: cannot be had on {host} ({error}); give another, or 0 for a free one") from None


def address_of(server: DemoServer, listener: socket.socket) -> str:
    """What to open in a browser."""
    host, port = listener.getsockname()[:2]
    shown = {"0.0.0.0": socket.gethostname(), "::": socket.gethostname()}.get(host, host)
    return f"http://{f'[{shown}]' if ':' in shown else shown}:{port}/?token={server.token}"


def run(server: DemoServer, listener: socket.socket) -> None:
    """Serves until Ctrl-C or SIGTERM."""
    with contextlib.suppress(KeyboardInterrupt):
        web_server(server.app).run(sockets=[listener])


def web_server(app: Starlette) -> uvicorn.Server:
    """With the limits of the protocol; a client that does not answer for half a minute is gone."""
    config = uvicorn.Config(
        app,
        log_level="warning",
        access_log=False,
        lifespan="off",
        server_header=False,
        ws="websockets-sansio",
        ws_max_size=MOST_BYTES,
        ws_max_queue=8,
        ws_ping_interval=10.0,
        ws_ping_timeout=20.0,
        ws_per_message_deflate=False,
        timeout_graceful_shutdown=1,
    )
    return uvicorn.Server(config)


def _short(reason: str) -> str:
    return reason.encode()[:MOST_REASON].decode(errors="ignore")
