"""Engine: the model and the extractors that all clients of a demo share.

Three things work at once, each on one question at a time: the model here in a thread (Keras for some families), the
extractors of pictures and those of sound in a process each (torch for some), since the frameworks cannot meet in one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from functools import partial
from itertools import count
from types import TracebackType
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from mien.errors import ExperimentError, above_0
from mien.families import FAMILIES
from mien.features.host import ExtractorHost
from mien.features.live import LiveFacts, Sight
from mien.features.spec import FeatureSpec, Frames
from mien.predict.demo.window import HeardRows, SeenRows, window_seconds
from mien.predict.recogniser import Recogniser

MEDIA = ("video", "audio")
Answer = TypeVar("Answer")


class Engine:
    """A run, ready to predict live. As a context it ends its processes.

    window_s: how long a window is. seen, heard: the features of pictures and of sound. picture_hz: pictures a second
    that it can use. can_miss: whether the model predicts where an input is missing.
    """

    def __init__(self, recogniser: Recogniser, n_frames: int = 30) -> None:
        """n_frames: of a window. Raises ExperimentError where a feature of the run cannot be had live, and as
        `Recogniser.host` does."""
        above_0("window", n_frames)
        self.recogniser = recogniser
        refuse(self._refused_unbuilt())
        self.specs: dict[str, FeatureSpec] = recogniser.specs
        self.window_s = window_seconds(list(self.specs.values()), n_frames)
        self.n_frames = n_frames
        self.can_miss = FAMILIES[recogniser.recipe.model.family].can_miss
        self._open = ExitStack()
        self._hosts: dict[str, ExtractorHost] = {}
        self._threads: dict[str, ThreadPoolExecutor] = {}
        self._facts: dict[str, LiveFacts] = {}
        self._n_rows: dict[str, tuple[int, int]] = {}
        self._watchers = count()
        try:
            self._start()
        except BaseException:
            self.close()
            raise

    def _start(self) -> None:
        for medium in (*MEDIA, "model"):
            self._threads[medium] = ThreadPoolExecutor(1, thread_name_prefix=f"demo-{medium}")
            self._open.callback(self._threads[medium].shutdown, wait=False, cancel_futures=True)
        for medium in MEDIA:
            features = [name for name, one in self.recogniser.extractors.items() if one and one["medium"] == medium]
            if features:
                self._hosts[medium] = self._open.enter_context(self.recogniser.host(features))
                self._facts |= self._hosts[medium].live("facts")
        refuse({name: facts.refusal for name, facts in self._facts.items() if facts.refusal})
        self.seen = [name for name, facts in self._facts.items() if facts.kind != "sound"]
        self.heard = [name for name, facts in self._facts.items() if facts.kind == "sound"]
        self.picture_hz = max([10.0, *(self._facts[name].rate_hz for name in self.seen)]) if self.seen else 0.0
        for name in self.heard:
            self._n_rows[name] = (
                self._n_rows_of(name, self.window_s),
                self._n_rows_of(name, self._facts[name].context_s),
            )
        clip = {name: rows.frames(0.0) for name, rows in self.seen_rows().items()}
        clip |= {name: rows.frames() for name, rows in self.heard_rows().items()}
        self._threads["model"].submit(self.recogniser.predict, [clip]).result()  # a model is compiled as it is called
        if self.seen:
            self._hosts["video"].live("warm")

    def _refused_unbuilt(self) -> dict[str, str]:
        """Why features cannot be had, of those that are not even built."""
        found = {}
        for name, one in self.recogniser.extractors.items():
            if one is None:
                found[name] = "the store did not say how it was extracted"
            elif one["medium"] not in MEDIA:
                found[name] = f"it reads {one['medium']}, and a camera and a microphone are all that there is"
        return found

    def _n_rows_of(self, name: str, seconds: float | None) -> int:
        """Rows that an extractor makes of so many seconds of sound."""
        if seconds is None:
            return 1
        n_samples = round(seconds * self._facts[name].rate_hz)
        noise = np.random.default_rng(0).normal(0, 0.01, n_samples).astype(np.float32)
        frames = self._hosts["audio"].live("hear", name, noise)
        if frames is None:
            raise ExperimentError(f"window {self.n_frames}: {seconds:g} s of sound are too short for {name}; use more")
        return len(frames.valid)

    def seen_rows(self) -> dict[str, SeenRows]:
        """The windows of a new client, of the features of pictures."""
        return {name: SeenRows(self.specs[name], self.window_s) for name in self.seen}

    def heard_rows(self) -> dict[str, HeardRows]:
        """The windows of a new client, of the features of sound."""
        return {
            name: HeardRows(
                self.specs[name],
                self._facts[name].rate_hz,
                self.window_s,
                self._n_rows[name][0],
                self._facts[name].context_s,
                self._n_rows[name][1],
            )
            for name in self.heard
        }

    @property
    def sound_hz(self) -> dict[str, float]:
        """Feature of sound to the rate at which it hears."""
        return {name: self._facts[name].rate_hz for name in self.heard}

    def watcher(self) -> int:
        """A number for a new client."""
        return next(self._watchers)

    async def look(self, watcher: int, jpeg: bytes, time_s: float) -> Sight:
        """See `LiveExtractors.look`."""
        return await self._work("video", partial(self._hosts["video"].live, "look", watcher, jpeg, time_s))

    async def hear(self, name: str, sound: NDArray[np.float32]) -> Frames | None:
        """See `LiveExtractors.hear`."""
        return await self._work("audio", partial(self._hosts["audio"].live, "hear", name, sound))

    async def predict(self, clip: Mapping[str, Frames]) -> list[float]:
        """What a clip shows, by class or dimension."""
        return (await self._work("model", partial(self.recogniser.predict, [clip])))[0].tolist()

    def forget(self, watcher: int) -> None:
        """Free what is held for a client, once what is at work for it is done."""
        if self.seen:
            self._threads["video"].submit(self._hosts["video"].live, "forget", watcher)

    async def _work(self, who: str, call: Callable[[], Answer]) -> Answer:
        return await asyncio.get_running_loop().run_in_executor(self._threads[who], call)

    def close(self) -> None:
        self._open.close()

    def __enter__(self) -> Engine:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def notes(self) -> list[dict[str, str]]:
        """What somebody must know before reading a prediction: {"kind", "text"}."""
        found = []
        recipe = self.recogniser.recipe
        if any(one.recipe.is_synthetic for one in (self.recogniser, *self.recogniser.parents.values())):
            text = "Learned from synthetic recordings: what it says means nothing about people."
            found.append({"kind": "synthetic", "text": text})
        random = [name for name, spec in self.specs.items() if spec.settings.get("weights") == "random"]
        if random:
            text = f"{', '.join(random)}: a network with random weights, for trials of the machinery."
            found.append({"kind": "random-weights", "text": text})
        if recipe.normalise == "speaker":
            text = "It was trained with each person's own mean and spread; you are standardised like everybody else."
            found.append({"kind": "speaker", "text": text})
        return found


def refuse(refusals: Mapping[str, str]) -> None:
    """Raises ExperimentError where there are any, by feature."""
    if refusals:
        why = "; ".join(f"{name}: {text}" for name, text in refusals.items())
        raise ExperimentError(
            f"this run cannot be shown live: {why}. Train one on features of sound and pictures, or use mien predict"
        )
