"""Extractors of one line each, named to `prepare` as "tiny_extractors:<Settings>": real, quick, and some wicked."""

from __future__ import annotations

import ctypes
import os
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from mien.features.spec import FeatureSpec, Frames, Kind, Signals

RATE_HZ = 16_000.0
WINDOW = 160

Sound = NDArray[np.float32]


class SoundExtractor:
    """Mean, largest and root mean square of each 10 ms: (T, 3). before: called with the sound first."""

    medium: ClassVar[str] = "audio"
    kind: ClassVar[Kind] = "sound"
    rate_hz: ClassVar[float] = RATE_HZ
    is_heavy: ClassVar[bool] = False

    def __init__(
        self, name: str = "loudness", before: Callable[[Sound], object] = lambda sound: None, version: int = 1
    ):
        self.spec = FeatureSpec(
            name=name,
            version=version,
            modality="audio",
            shape=(3,),
            hop_s=WINDOW / RATE_HZ,
            columns=("mean", "largest", "rms"),
        )
        self._before = before

    def __call__(self, signal: Sound, rate_hz: float) -> Frames:
        self._before(signal)
        windows = signal[: len(signal) // WINDOW * WINDOW].reshape(-1, WINDOW)
        rms = np.sqrt((windows**2).mean(axis=1))
        values = np.stack([windows.mean(axis=1), np.abs(windows).max(axis=1), rms], axis=1)
        return Frames(values.astype(np.float32), np.ones(len(values), bool))


@dataclass(frozen=True, kw_only=True)
class Loudness:
    """Loudness in windows of 10 ms."""

    def build(self) -> SoundExtractor:
        return SoundExtractor()


@dataclass(frozen=True, kw_only=True)
class Slow:
    seconds: float = 0.1

    def build(self) -> SoundExtractor:
        return SoundExtractor(before=lambda sound: time.sleep(self.seconds))


@dataclass(frozen=True, kw_only=True)
class Deadly:
    """Ends the process at a clip of this many samples, as a crashing codec would."""

    length: int
    called: str = "loudness"

    def build(self) -> SoundExtractor:
        return SoundExtractor(self.called, before=lambda sound: os._exit(1) if len(sound) == self.length else None)


@dataclass(frozen=True, kw_only=True)
class Endless:
    """Does not return from a clip of this many samples, in C code that keeps the interpreter's lock."""

    length: int
    called: str = "loudness"

    def build(self) -> SoundExtractor:
        sleep = ctypes.PyDLL(None).sleep  # PyDLL, other than CDLL, does not let go of the lock
        return SoundExtractor(self.called, before=lambda sound: sleep(3600) if len(sound) == self.length else None)


@dataclass(frozen=True, kw_only=True)
class Greedy:
    """Takes a gigabyte for a clip of this many samples, and does not return."""

    length: int

    def build(self) -> SoundExtractor:
        def take(sound: Sound) -> None:
            if len(sound) == self.length:
                held = np.ones(2**30, np.uint8)
                time.sleep(3600 + len(held))

        return SoundExtractor(before=take)


@dataclass(frozen=True, kw_only=True)
class Boundless:
    """Asks for more memory than any machine has."""

    def build(self) -> SoundExtractor:
        return SoundExtractor(before=lambda sound: np.ones(2**60, np.uint8))


@dataclass(frozen=True, kw_only=True)
class Stillborn:
    """Ends the process that builds it."""

    def build(self) -> SoundExtractor:
        os._exit(1)


@dataclass(frozen=True, kw_only=True)
class Faulty:
    """Raises what no extractor should."""

    called: str = "loudness"

    def build(self) -> SoundExtractor:
        return SoundExtractor(self.called, before=lambda sound: {}["no such key"])


@dataclass(frozen=True, kw_only=True)
class Flawed:
    """Breaks the promise of its spec in one way."""

    flaw: str

    def build(self) -> SoundExtractor:
        values = {
            "shape": np.zeros((5, 2), np.float32),
            "empty": np.zeros((0, 3), np.float32),
            "nan": np.array([[0, np.nan, 0]], np.float32),
        }[self.flaw]
        return Given(Frames(values, np.ones(len(values), bool)))


class Given(SoundExtractor):
    """What a test wants to be extracted."""

    def __init__(self, frames: Frames):
        super().__init__()
        self._frames = frames

    def __call__(self, signal: Sound, rate_hz: float) -> Frames:
        return self._frames


@dataclass(frozen=True, kw_only=True)
class Worker:
    """What a worker is: its process, and the threads that its numpy may use."""

    def build(self) -> SoundExtractor:
        return WorkerExtractor(name="worker")


class WorkerExtractor(SoundExtractor):
    n_calls = 0

    def __call__(self, signal: Sound, rate_hz: float) -> Frames:
        from threadpoolctl import threadpool_info

        self.n_calls += 1
        threads = max(pool["num_threads"] for pool in threadpool_info())
        return Frames(np.array([[os.getpid(), self.n_calls, threads]], np.float32), np.ones(1, bool))


@dataclass(frozen=True, kw_only=True)
class OtherElsewhere:
    """Another version in the workers than in the process that asks, as on a machine with an older mien."""

    def build(self) -> SoundExtractor:
        return SoundExtractor(version=2 if "mien.features.prepare.worker" in sys.modules else 1)


@dataclass(frozen=True, kw_only=True)
class Counted:
    """Appends a line to a file for each clip, so that a test sees what was extracted again."""

    log: str
    seconds: float = 0.0
    called: str = "loudness"

    def build(self) -> SoundExtractor:
        def note(sound: Sound) -> None:
            time.sleep(self.seconds)
            with Path(self.log).open("a") as file:
                file.write(f"{len(sound)}\n")

        return SoundExtractor(self.called, before=note)


class PictureExtractor:
    """One number per picture: (T, 1)."""

    medium: ClassVar[str] = "video"
    kind: ClassVar[Kind] = "pictures"
    is_heavy: ClassVar[bool] = True

    def __init__(self, name: str, rate_hz: float, measure: Callable[[Any], float]):
        self.rate_hz = rate_hz
        self.spec = FeatureSpec(
            name=name, version=1, modality="video", shape=(1,), hop_s=1 / rate_hz, columns=("value",)
        )
        self._measure = measure

    def __call__(self, signal: Iterable[NDArray[np.uint8]], rate_hz: float) -> Frames:
        values = np.array([[self._measure(picture)] for picture in signal], np.float32)
        return Frames(values, np.ones(len(values), bool))


@dataclass(frozen=True, kw_only=True)
class Brightness:
    """Mean of each picture."""

    rate_hz: float = 5.0
    called: str = "brightness"

    def build(self) -> PictureExtractor:
        return PictureExtractor(self.called, self.rate_hz, np.mean)


@dataclass(frozen=True, kw_only=True)
class Blind:
    """Fails at the third picture."""

    def build(self) -> PictureExtractor:
        seen: list[int] = []

        def measure(picture: Any) -> float:
            seen.append(1)
            return 1.0 if len(seen) % 3 else {}["no such key"]

        return PictureExtractor("blind", 7.0, measure)


@dataclass(frozen=True, kw_only=True)
class Vandal:
    """Writes into the sound that it was given."""

    def build(self) -> SoundExtractor:
        return SoundExtractor("vandal", before=lambda sound: sound.fill(0.5))


class LevelExtractor:
    """Mean of each channel over a recording of sensors, padded with zeros or cut to four: (1, 4)."""

    medium: ClassVar[str] = "sensors"
    kind: ClassVar[Kind] = "signals"
    rate_hz: ClassVar[float] = 0.0
    is_heavy: ClassVar[bool] = False
    spec = FeatureSpec(
        name="levels", version=1, modality="physio", shape=(4,), hop_s=None, columns=("a", "b", "c", "d")
    )

    def __call__(self, signal: Signals, rate_hz: float) -> Frames:
        values = np.zeros((1, 4), np.float32)
        means = signal.values.mean(axis=0)[:4]
        values[0, : len(means)] = means
        return Frames(values, np.ones(1, bool))


@dataclass(frozen=True, kw_only=True)
class Levels:
    """Means of the channels of sensors."""

    def build(self) -> LevelExtractor:
        return LevelExtractor()


@dataclass(frozen=True, kw_only=True)
class Logged:
    """Appends a line to the file TINY_LOG for each clip, and takes TINY_SECONDS for it; its settings say neither, so
    that a run that was trained with it can be used with others."""

    def build(self) -> SoundExtractor:
        def note(sound: Sound) -> None:
            time.sleep(float(os.environ.get("TINY_SECONDS", "0")))
            with Path(os.environ["TINY_LOG"]).open("a") as file:
                file.write(f"{len(sound)}\n")

        return SoundExtractor(before=note)
