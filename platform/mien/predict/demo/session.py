"""Session: one client, from its first message to its last.

Four tasks: one takes what comes and keeps the latest of it, one looks at pictures, one listens, one predicts. None
waits for another longer than for one answer, and nothing is queued: what comes while a task is busy takes the place of
what came before. So a slow machine predicts less often, and never late.

It sends JSON objects:

    hello       what is predicted, of what, and what must be known before it is read
    prediction  values (one for each name, null where nothing can be said), face and voice as they are now, and of which
                picture it is ("picture", "taken_ms": as the page numbered it)
    ended       the file that the server plays is over
    failed      nothing more can be predicted, and why
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing
from typing import Any, Protocol

import numpy as np

from mien.errors import MediaError, MienError
from mien.features.spec import Frames
from mien.predict.demo.engine import Engine
from mien.predict.demo.protocol import (
    BROKEN,
    GARBAGE,
    Heard,
    Inputs,
    Limits,
    Message,
    Pause,
    Picture,
    ProtocolError,
    Seen,
    Sound,
    parsed,
    picture_message,
)
from mien.predict.demo.window import LEVEL_S, SILENCE_DB, STALE_S, SoundBuffer

MOST_HZ = 10.0  # predictions a second
EARLY = 0.8  # of the time between two predictions, after which the next may come: pictures keep time loosely
SEND_S = 10.0  # that a client may take to accept a message


class Client(Protocol):
    """The other end of a connection. `receive` gives None when it is gone."""

    async def receive(self) -> bytes | str | None: ...

    async def send_json(self, value: dict[str, Any]) -> None: ...

    async def send_bytes(self, data: bytes) -> None: ...


class Source(Protocol):
    """A file or a camera of the server's own. kind: "file" or "camera"."""

    kind: str

    def play(self, is_paused: Callable[[], bool]) -> AsyncIterator[Message]:
        """Inputs first, then pictures and sound as they come, in real time. Raises MienError where it breaks off."""


class Session:
    """One client."""

    def __init__(self, client: Client, engine: Engine, source: Source | None = None) -> None:
        """source: where pictures and sound come from; None: from the client."""
        self._client, self._engine, self._source = client, engine, source
        self._watcher = engine.watcher()
        self._seen, self._heard = engine.seen_rows(), engine.heard_rows()
        self._sounds: dict[float, SoundBuffer] = {}
        self._resamplers: dict[float, Any] = {}
        self._inputs = Inputs(0, False)
        self._picture: tuple[float, Picture] | None = None  # the latest, until it is looked at
        self._looked: tuple[float, Picture] | None = None
        self._box: list[float] | None = None
        self._has_face = False
        self._picture_at_s = self._sound_at_s = -STALE_S  # when the last of them came
        self._picture_came, self._sound_came, self._news = asyncio.Event(), asyncio.Event(), asyncio.Event()
        self._is_paused = False
        self._n_pictures = self._n_looked = 0
        self._took_ms = {"look": 0.0, "hear": 0.0, "predict": 0.0}

    async def run(self) -> None:
        """Until the client is gone. Raises ProtocolError where it does not keep to the protocol, MienError where the
        extractors have ended; then everything is freed as well."""
        tasks = [self._receive(), self._predict()]
        tasks += [self._watch()] if self._engine.seen else []
        tasks += [self._listen()] if self._engine.heard else []
        tasks += [self._play()] if self._source else []
        running = [asyncio.create_task(task) for task in tasks]
        try:
            await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in running:
                task.cancel()
            ended = await asyncio.gather(*running, return_exceptions=True)
            self._engine.forget(self._watcher)
        for error in ended:
            if isinstance(error, Exception):
                raise error

    # ------------------------------------------------------------------ what comes

    async def _receive(self) -> None:
        limits = Limits()
        while (message := await self._client.receive()) is not None:
            limits.spend(len(message), time.monotonic())
            read = parsed(message)
            if isinstance(read, Pause):
                self._is_paused = read.is_paused
            elif self._source is None:
                self._take(read)
            else:
                raise ProtocolError(GARBAGE, f"the server plays a {self._source.kind} of its own: send no media")

    async def _play(self) -> None:
        assert self._source is not None
        async with aclosing(self._source.play(lambda: self._is_paused)) as played:  # type: ignore[type-var]
            async for message in played:
                self._take(message)
                if isinstance(message, Picture):
                    await self._send_bytes(picture_message(*message))
        await self._send({"type": "ended"})
        await asyncio.Event().wait()  # the client decides when to go

    def _take(self, message: Message) -> None:
        if isinstance(message, Inputs):
            self._change(message)
        elif isinstance(message, Picture):
            if not self._inputs.has_pictures:
                raise ProtocolError(GARBAGE, "a picture, where inputs named no camera")
            self._n_pictures += 1
            self._picture_at_s = time.monotonic()
            self._picture = self._picture_at_s, message
            self._picture_came.set()
        elif isinstance(message, Sound):
            if not self._inputs.sound_hz:
                raise ProtocolError(GARBAGE, "sound, where inputs named no microphone")
            self._sound_at_s = time.monotonic()
            for rate_hz, sound in self._sounds.items():
                sound.add(self._resampled(message.samples, rate_hz))
            self._sound_came.set()

    def _change(self, inputs: Inputs) -> None:
        """A camera or a microphone came or went: what it gave is forgotten."""
        if inputs.has_pictures != self._inputs.has_pictures:
            for seen in self._seen.values():
                seen.clear()
            self._picture = self._looked = self._box = None
            self._has_face = False
        if inputs.sound_hz != self._inputs.sound_hz:
            for heard in self._heard.values():
                heard.clear()
            keep_s = self._engine.window_s + 2.0
            rates = set(self._engine.sound_hz.values()) if inputs.sound_hz else set()
            self._sounds = {rate_hz: SoundBuffer(rate_hz, keep_s) for rate_hz in rates}
            self._resamplers = {rate_hz: resampler(inputs.sound_hz, rate_hz) for rate_hz in rates}
        self._inputs = inputs
        self._news.set()

    def _resampled(self, samples: Any, rate_hz: float) -> Any:
        stream = self._resamplers[rate_hz]
        return samples if stream is None else stream.resample_chunk(samples)

    # ------------------------------------------------------------------ what is made of it

    async def _watch(self) -> None:
        while True:
            await self._picture_came.wait()
            self._picture_came.clear()
            if self._picture is None:
                continue
            at_s, picture = self._picture
            began_s = time.perf_counter()
            try:
                sight = await self._engine.look(self._watcher, picture.jpeg, at_s)
            except MediaError as error:
                raise ProtocolError(GARBAGE, str(error)) from None
            self._took_ms["look"] = 1000 * (time.perf_counter() - began_s)
            if not self._inputs.has_pictures:  # it went while it was looked at
                continue
            self._n_looked += 1
            for name, row in sight.rows.items():
                self._seen[name].add(at_s, row)
            self._looked = at_s, picture
            self._box = None if sight.box is None else [round(float(side), 4) for side in sight.box]
            if sight.rows:
                self._has_face = any(row is not None for row in sight.rows.values())
                self._news.set()

    async def _listen(self) -> None:
        while True:
            await self._sound_came.wait()
            self._sound_came.clear()
            for name, rows in self._heard.items():
                sound = self._sounds.get(self._engine.sound_hz[name])
                stretch = rows.wanted(sound) if sound is not None else None
                if stretch is None:
                    continue
                began_s = time.perf_counter()
                frames = await self._engine.hear(name, stretch)
                self._took_ms["hear"] = 1000 * (time.perf_counter() - began_s)
                if sound is not self._sounds.get(self._engine.sound_hz[name]):
                    continue  # another microphone, or none, by now
                rows.take(frames)
                if self._seen_state() not in ("face", "no-face"):  # else pictures give the beat
                    self._news.set()

    async def _predict(self) -> None:
        await self._send(self.hello())
        last_s = 0.0
        while True:
            await _within(self._news.wait(), STALE_S)  # now and then anyway: that nothing comes must be shown
            self._news.clear()
            wait_s = last_s + EARLY / MOST_HZ - time.monotonic()
            if wait_s > 0:
                await asyncio.sleep(wait_s)
                self._news.clear()
            last_s = time.monotonic()
            if not self._is_paused:
                await self._send(await self._prediction())

    async def _prediction(self) -> dict[str, Any]:
        seen, heard = self._seen_state(), self._heard_state()
        looked, clip, why = self._looked, self._clip(), ""
        has = {
            "face": any(clip[name].valid.any() for name in self._seen),
            "voice": any(clip[name].valid.any() for name in self._heard),
        }
        needed = [what for what, names in (("face", self._seen), ("voice", self._heard)) if names]
        values = None
        if not any(has.values()) or (not self._engine.can_miss and not all(has[what] for what in needed)):
            why = f"no {' and no '.join(what for what in needed if not has[what])}"
        else:
            began_s = time.perf_counter()
            values = [round(value, 5) for value in await self._engine.predict(clip)]
            self._took_ms["predict"] = 1000 * (time.perf_counter() - began_s)
        level_db = min((sound.level_db(LEVEL_S) for sound in self._sounds.values()), default=None)
        return {
            "type": "prediction",
            "values": values,
            "why": why,
            "of": [what for what in needed if has[what]] if values else [],
            "face": {"state": seen, "box": self._box if seen == "face" else None},
            "voice": {"state": heard, "level_db": None if level_db is None else round(level_db, 1)},
            "picture": looked[1].number if looked else None,
            "taken_ms": looked[1].taken_ms if looked else None,
            "pictures": {"received": self._n_pictures, "looked_at": self._n_looked},
            "took_ms": {name: round(ms, 1) for name, ms in self._took_ms.items()},
        }

    def _clip(self) -> dict[str, Frames]:
        """The window as the features of a clip. What was not seen or heard is masked, silence too: nobody spoke."""
        now_s = self._looked[0] if self._looked else time.monotonic()
        clip = {name: rows.frames(now_s) for name, rows in self._seen.items()}
        if self._seen_state() in ("off", "waiting"):
            clip = {name: _masked(frames) for name, frames in clip.items()}
        is_heard = self._heard_state() == "sound"
        for name, rows in self._heard.items():
            clip[name] = rows.frames() if is_heard else _masked(rows.frames())
        return clip

    def _seen_state(self) -> Seen:
        if not self._seen:
            return "unused"
        if not self._inputs.has_pictures:
            return "off"
        if self._looked is None or time.monotonic() - self._picture_at_s > STALE_S:
            return "waiting"
        return "face" if self._has_face else "no-face"

    def _heard_state(self) -> Heard:
        """Of the whole window, since a pause between two words is no silence."""
        if not self._heard:
            return "unused"
        if not self._inputs.sound_hz:
            return "off"
        if time.monotonic() - self._sound_at_s > STALE_S:
            return "waiting"
        window_s = self._engine.window_s
        is_silent = all(sound.level_db(window_s) < SILENCE_DB for sound in self._sounds.values())
        return "silence" if is_silent else "sound"

    # ------------------------------------------------------------------ what goes

    def hello(self) -> dict[str, Any]:
        engine = self._engine
        target = engine.recogniser.recipe.target
        return {
            "type": "hello",
            "kind": target.kind,
            "names": list(target.names),
            "family": engine.recogniser.recipe.model.family,
            "window_s": round(engine.window_s, 3),
            "n_frames": engine.n_frames,
            "picture_hz": engine.picture_hz,
            "features": {"face": engine.seen, "voice": engine.heard},
            "source": self._source.kind if self._source else "browser",
            "can_miss": engine.can_miss,
            "notes": engine.notes(),
        }

    async def _send(self, value: dict[str, Any]) -> None:
        async with asyncio.timeout(SEND_S):
            await self._client.send_json(value)

    async def _send_bytes(self, data: bytes) -> None:
        async with asyncio.timeout(SEND_S):
            await self._client.send_bytes(data)


async def serve(client: Client, engine: Engine, source: Source | None) -> tuple[int, str]:
    """Serves one client to its end; the code and reason to close with."""
    session = Session(client, engine, source)
    try:
        await session.run()
    except ProtocolError as error:
        return error.code, str(error)
    except TimeoutError:
        return BROKEN, "took no message for ten seconds"
    except MienError as error:
        text = str(error)
        await _within(client.send_json({"type": "failed", "why": text}), 1.0)
        return BROKEN, text
    return 1000, ""


async def _within(waiting: Any, seconds: float) -> None:
    """Waits for it, and no longer than that. (asyncio.wait_for of Python 3.11 loses a cancellation now and then.)"""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await waiting


def _masked(frames: Frames) -> Frames:
    return Frames(np.zeros_like(frames.values), np.zeros_like(frames.valid))


def resampler(from_hz: float, to_hz: float) -> Any:
    """A streaming resampler, as `mien.features.media.sound` resamples files; None where the rates are the same."""
    if from_hz == to_hz:
        return None
    import soxr

    return soxr.ResampleStream(from_hz, to_hz, 1, dtype="float32")
