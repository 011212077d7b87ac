"""Extractors of one line each, named to `prepare` as "tiny_extractors:<factory>": real, quick, and some
wicked."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mien.features.spec import FeatureSpec, Frames

RATE_HZ = 16_000.0
WINDOW = 160


class Loudness:
    """Mean, largest and root mean square of each 10 ms: (T, 3)."""

    medium = "audio"
    rate_hz = RATE_HZ

    def __init__(self, name: str = "loudness", before: Callable[[NDArray[np.float32]], object] = lambda signal: None):
        columns = ("mean", "largest", "rms")
        self.spec = FeatureSpec(name=name, version=1, dim=3, hop_s=WINDOW / RATE_HZ, columns=columns)
        self._before = before

    def __call__(self, signal: NDArray[np.float32], rate_hz: float) -> Frames:
        self._before(signal)
        windows = signal[: len(signal) // WINDOW * WINDOW].reshape(-1, WINDOW)
        rms = np.sqrt((windows**2).mean(axis=1))
        values = np.stack([windows.mean(axis=1), np.abs(windows).max(axis=1), rms], axis=1)
        return Frames(values.astype(np.float32), np.ones(len(values), bool))


class Given(Loudness):
    """Whatever a test wants to be extracted."""

    def __init__(self, frames: Frames):
        super().__init__()
        self._frames = frames

    def __call__(self, signal: NDArray[np.float32], rate_hz: float) -> Frames:
        return self._frames


def loudness() -> Loudness:
    return Loudness()


def slow(seconds: float = 0.1) -> Loudness:
    return Loudness(before=lambda signal: time.sleep(seconds))


def deadly(length: int) -> Loudness:
    """Ends the process at a clip of this many samples, as a crashing codec would."""
    return Loudness(before=lambda signal: os._exit(1) if len(signal) == length else None)


def stillborn() -> Loudness:
    """Ends the process that builds it."""
    os._exit(1)


def faulty() -> Loudness:
    """Raises what no extractor should."""
    return Loudness(before=lambda signal: {}["no such key"])


def flawed(kind: str) -> Loudness:
    """Breaks the promise of its spec in one way."""
    values = {
        "shape": np.zeros((5, 2), np.float32),
        "empty": np.zeros((0, 3), np.float32),
        "nan": np.array([[0, np.nan, 0]], np.float32),
    }[kind]
    return Given(Frames(values, np.ones(len(values), bool)))


class Worker(Loudness):
    """What a worker is: its process, and the threads that its numpy may use."""

    def __init__(self) -> None:
        super().__init__(name="worker")
        self._calls = 0

    def __call__(self, signal: NDArray[np.float32], rate_hz: float) -> Frames:
        from threadpoolctl import threadpool_info

        self._calls += 1
        threads = max(pool["num_threads"] for pool in threadpool_info())
        return Frames(np.array([[os.getpid(), self._calls, threads]], np.float32), np.ones(1, bool))


def worker() -> Worker:
    return Worker()


def other_elsewhere() -> Loudness:
    """Another version in Ray's workers than in the process that asks, as on a machine with an older mien."""
    import sys

    extractor = Loudness()
    if "ray" in sys.modules:
        settings: dict[str, Any] = {**extractor.spec.to_json(), "version": 2}
        extractor.spec = FeatureSpec.from_json(settings)
    return extractor


def counted(log: str, seconds: float = 0.0) -> Loudness:
    """Appends a line to a file for each clip, so that a test sees what was extracted again."""

    def note(signal: NDArray[np.float32]) -> None:
        time.sleep(seconds)
        with Path(log).open("a") as file:
            file.write(f"{len(signal)}\n")

    return Loudness(before=note)


class Brightness:
    """Mean of each picture, five a second: (T, 1)."""

    medium = "video"
    rate_hz = 5.0

    def __init__(self) -> None:
        self.spec = FeatureSpec(name="brightness", version=1, dim=1, hop_s=0.2, columns=("mean",))

    def __call__(self, signal: Iterable[NDArray[np.uint8]], rate_hz: float) -> Frames:
        values = np.array([[picture.mean()] for picture in signal], np.float32)
        return Frames(values, np.ones(len(values), bool))


def brightness() -> Brightness:
    return Brightness()
