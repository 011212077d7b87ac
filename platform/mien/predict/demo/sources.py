"""Sources of the server's own: a file played in real time, or a camera of its machine."""

from __future__ import annotations

import asyncio
import heapq
import io
import os
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import closing
from pathlib import Path
from types import TracebackType

import numpy as np
from numpy.typing import NDArray

from mien.corpora.clip import Medium
from mien.errors import MediaError, MienError
from mien.features.media import decode
from mien.features.media.pictures import stills
from mien.predict.demo.protocol import Inputs, Message, Picture, Sound

SOUND_HZ = 16_000  # what nearly all extractors hear
PIECE_S = 0.04
WIDEST_PX = 640  # as the page asks the browser's camera for
QUALITY = 90
LATE_S = 0.2  # behind its time, from which on the pictures of a file are left out,
SHOWN_S = 0.5  # but for one every so often


class FileSource:
    """A file with pictures, sound or both. Each client sees it from its beginning."""

    kind = "file"

    def __init__(self, path: str | os.PathLike[str]) -> None:
        """Raises MediaError where it holds neither pictures nor sound that can be read."""
        self._medium = Medium(path=os.fspath(path))
        try:
            self._sound = decode("sound", self._medium, SOUND_HZ)
        except MediaError as error:
            if error.reason not in ("no-audio-stream", "silent"):
                raise
            self._sound = None
        try:
            with closing(stills(self._medium)) as film:
                next(film)
            self._has_pictures = True
        except MediaError as error:
            if error.reason != "no-video-stream" or self._sound is None:
                raise
            self._has_pictures = False

    async def play(self, is_paused: Callable[[], bool]) -> AsyncIterator[Message]:
        yield Inputs(SOUND_HZ if self._sound is not None else 0, self._has_pictures)
        messages = heapq.merge(self._pictures(), self._pieces(), key=lambda timed: timed[0])
        start_s: float | None = None
        shown_s: float | None = None
        while (timed := await asyncio.to_thread(next, messages, None)) is not None:
            at_s, message = timed
            if start_s is None:  # to open a file takes time
                start_s = time.monotonic() - at_s
            while is_paused():
                began_s = time.monotonic()
                await asyncio.sleep(0.05)
                start_s += time.monotonic() - began_s
            late_s = time.monotonic() - start_s - at_s
            if late_s < 0:
                await asyncio.sleep(-late_s)
            if isinstance(message, _Still):
                now_s = time.monotonic()
                if late_s > LATE_S and shown_s is not None and now_s - shown_s < SHOWN_S:
                    continue
                shown_s = now_s
                jpeg = await asyncio.to_thread(as_jpeg, message.picture)
                yield Picture(message.number, 1000 * at_s, jpeg)
            else:
                yield message

    def _pictures(self) -> Iterator[tuple[float, Message | _Still]]:
        at_s = 0.0
        if self._has_pictures:
            for number, still in enumerate(stills(self._medium)):
                yield at_s, _Still(number, still.picture)
                at_s = still.until_s

    def _pieces(self) -> Iterator[tuple[float, Message | _Still]]:
        """Sound is there when it has been: a piece comes at its end."""
        if self._sound is not None:
            length = round(PIECE_S * SOUND_HZ)
            for first in range(0, len(self._sound), length):
                piece = self._sound[first : first + length]
                yield (first + len(piece)) / SOUND_HZ, Sound(piece)


class _Still:
    """A picture of a file before it is encoded."""

    def __init__(self, number: int, picture: NDArray[np.uint8]) -> None:
        self.number, self.picture = number, picture


class CameraSource:
    """A camera of this machine (Video4Linux), seen by all clients at once. As a context it lets the camera go."""

    kind = "camera"

    def __init__(self, number: int) -> None:
        """Raises MienError where there is no such camera, or it cannot be opened."""
        import av

        self._name = f"camera {number}"
        path = Path(f"/dev/video{number}")
        if not path.exists():
            there = ", ".join(sorted(p.name.removeprefix("video") for p in Path("/dev").glob("video*"))) or "none"
            raise MienError(
                f"{self._name}: this machine has no {path} (cameras: {there}); leave it out to use the browser's own, "
                "or play a file by --source"
            )
        try:
            self._container = av.open(str(path), format="v4l2", options={"video_size": "640x480"}, timeout=5.0)
        except (av.error.FFmpegError, ValueError) as error:
            raise MienError(
                f"{self._name}: {path} cannot be opened ({error}); another program may use it, or you may not (group "
                "video)"
            ) from error
        self._latest: Picture | None = None
        self._error: str | None = None
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._read, daemon=True, name="demo-camera")
        self._thread.start()

    def _read(self) -> None:
        try:
            for number, frame in enumerate(self._container.decode(video=0)):
                if self._is_over.is_set():
                    return
                jpeg = as_jpeg(np.asarray(frame.to_ndarray(format="rgb24"), np.uint8))
                self._latest = Picture(number, 1000 * time.monotonic(), jpeg)
        except Exception as error:
            self._error = f"{self._name} was taken away ({error})"
        else:
            self._error = f"{self._name} gives no more pictures"

    async def play(self, is_paused: Callable[[], bool]) -> AsyncIterator[Message]:
        yield Inputs(0, True)
        shown = -1
        while True:
            if self._error is not None:
                raise MienError(self._error)
            latest = self._latest
            if latest is not None and latest.number != shown and not is_paused():
                shown = latest.number
                yield latest
            await asyncio.sleep(0.01)

    def close(self) -> None:
        self._is_over.set()
        self._thread.join(timeout=5.0)
        self._container.close()

    def __enter__(self) -> CameraSource:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def as_jpeg(picture: NDArray[np.uint8]) -> bytes:
    """A picture (H, W, 3) as a JPEG of at most WIDEST_PX."""
    from PIL import Image

    image = Image.fromarray(picture)
    if image.width > WIDEST_PX:
        image = image.resize((WIDEST_PX, round(image.height * WIDEST_PX / image.width)), Image.Resampling.BILINEAR)
    file = io.BytesIO()
    image.save(file, "JPEG", quality=QUALITY)
    return file.getvalue()
