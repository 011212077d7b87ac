"""mien demo: a finished run live, as a page for a browser. Heavy imports stand inside."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, arg

from mien.cli.terminal import ERR
from mien.errors import MienError, above_0


def demo(
    run: Annotated[str, Positional, arg(metavar="RUN")],
    window: int = 30,
    source: Path | None = None,
    camera: int | None = None,
    host: str = "127.0.0.1",
    port: int = 8000,
    width: int = 800,
    height: int = 600,
) -> None:
    """Show a finished run live: a page for the browser, with its camera and microphone, until Ctrl-C.

    Open the address that it prints. Nothing is stored; a recording is kept by the page, for you to save.

    Args:
        run: Folder or s3:// URI of a finished run, <experiment>/<signature>/seed-<n>/fold-<k>.
        window: Frames that a prediction is of, of the feature that has the fewest a second: 30 at 10 Hz are 3 s.
        source: Play this file in real time instead, to each client from its beginning.
        camera: Use this camera of the machine that serves instead of the browser's: 0 for /dev/video0.
        host: Address to listen on. Browsers give a camera to pages of this machine (127.0.0.1) or over https only.
        port: 0 for a free one.
        width: Of the panel on the page, in pixels, where the browser's window has room for it.
        height: As width.
    """
    above_0("window", window)
    above_0("width", width)
    above_0("height", height)
    if source is not None and camera is not None:
        raise MienError("--source and --camera: give one of them")

    from mien.predict.demo.engine import Engine
    from mien.predict.demo.server import LOOPBACK, DemoServer, address_of, listening
    from mien.predict.demo.server import run as serve
    from mien.predict.demo.sources import CameraSource, FileSource
    from mien.predict.recogniser import load_run

    with ExitStack() as stack:
        listener = stack.enter_context(listening(host, port))
        played = None if source is None else FileSource(source)
        seen = None if camera is None else stack.enter_context(CameraSource(camera))
        ERR.print("loading the model and its extractors ...", markup=False)
        engine = stack.enter_context(Engine(stack.enter_context(load_run(run)), window))
        server = DemoServer(engine, played or seen, host=host, size=(width, height))
        for note in engine.notes():
            ERR.print(f"note: {note['text']}", markup=False, soft_wrap=True)
        if host not in LOOPBACK and played is None and seen is None:
            port = listener.getsockname()[1]
            ERR.print(
                "note: browsers give camera and microphone to pages of their own machine, or over https: elsewhere, "
                f"open a tunnel (ssh -L {port}:127.0.0.1:{port} HOST) or put a server with https before this one",
                markup=False,
                soft_wrap=True,
            )
        ERR.print("open this in a browser; Ctrl-C ends it:", markup=False)
        print(address_of(server, listener), flush=True)
        serve(server, listener)
