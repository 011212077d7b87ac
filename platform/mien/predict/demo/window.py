"""The sliding window: what was seen and heard in the last seconds, as the features of one clip.

To the model, each moment of a live session is a clip that ends now. All windows give the same number of rows whatever
they hold, the missing ones masked at the end, as a batch would pad a shorter clip: so a model that is compiled for each
shape is compiled once.
"""

from __future__ import annotations

import math
from collections import deque
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mien.features.spec import FeatureSpec, Frames

USUAL_HOP_S = 0.1  # of a frame, where no feature has frames
STALE_S = 1.0  # after which what was last seen does not stand for what would be seen
SILENCE_DB = -60.0  # re full scale: a quiet room with a cheap microphone has -50
LEVEL_S = 0.3  # over which a level is shown

Sound = NDArray[np.float32]


def window_seconds(specs: list[FeatureSpec], n_frames: int) -> float:
    """How long a window of so many frames is: frames of the feature that has the fewest a second."""
    hops = [spec.hop_s for spec in specs if spec.hop_s is not None]
    return n_frames * max(hops, default=USUAL_HOP_S)


class SeenRows:
    """The newest rows of a feature of pictures. They come when the machine has made them, and are laid on the clock of
    the feature: each moment shows the newest row that is not later, as a film with fewer pictures would."""

    def __init__(self, spec: FeatureSpec, window_s: float) -> None:
        self._spec = spec
        self._hop_s = spec.hop_s or USUAL_HOP_S
        self.n = max(round(window_s / self._hop_s), 1)
        self._rows: deque[tuple[float, NDArray[Any] | None]] = deque()

    def add(self, time_s: float, row: NDArray[Any] | None) -> None:
        """None: there was nothing to see. Times ascend."""
        self._rows.append((time_s, row))
        oldest_s = time_s - self.n * self._hop_s - STALE_S
        while self._rows[0][0] < oldest_s:
            self._rows.popleft()

    def clear(self) -> None:
        self._rows.clear()

    def frames(self, now_s: float) -> Frames:
        """(n, *shape): the rows of the window that ends now, the oldest first; what has not been is masked at the
        end."""
        values = np.zeros((self.n, *self._spec.shape), np.float32 if self._spec.is_numeric else np.uint8)
        valid = np.zeros(self.n, bool)
        at = place = 0
        rows = list(self._rows)
        for back in range(self.n - 1, -1, -1):
            moment_s = now_s - (back - 0.5) * self._hop_s  # cameras keep time loosely
            while at < len(rows) and rows[at][0] <= moment_s:
                at += 1
            if not at:
                continue  # before the first
            taken_s, row = rows[at - 1]
            if row is not None and moment_s - taken_s <= STALE_S:
                values[place], valid[place] = row, True
            place += 1
        return Frames(values, valid)


class SoundBuffer:
    """The last seconds of a sound at one rate; n: samples since it began."""

    def __init__(self, rate_hz: float, keep_s: float) -> None:
        self.rate_hz = rate_hz
        self._samples = np.zeros(math.ceil(keep_s * rate_hz), np.float32)  # sample i stands at i modulo its length
        self.n = 0

    def add(self, samples: Sound) -> None:
        size = len(self._samples)
        if len(samples) > size:
            self.n += len(samples) - size
            samples = samples[-size:]
        at = self.n % size
        first = samples[: size - at]
        self._samples[at : at + len(first)] = first
        self._samples[: len(samples) - len(first)] = samples[len(first) :]
        self.n += len(samples)

    @property
    def first(self) -> int:
        """The oldest sample that is still there."""
        return max(self.n - len(self._samples), 0)

    def stretch(self, first: int, end: int) -> Sound:
        """Samples first..end, which must be there."""
        if not self.first <= first <= end <= self.n:
            raise IndexError(f"samples {first}..{end} of {self.first}..{self.n}")
        return self._samples[np.arange(first, end) % len(self._samples)]

    def level_db(self, seconds: float) -> float:
        """Mean power of the last seconds, in dB re full scale, at least -100; of nothing -100."""
        part = self.stretch(max(self.first, self.n - round(seconds * self.rate_hz)), self.n)
        power = float(np.square(part, dtype=np.float64).mean()) if len(part) else 0.0
        return 10 * math.log10(max(power, 1e-10))


class HeardRows:
    """The newest rows of a feature of sound.

    With a context (see `mien.features.spec.Extractor`) each row is made once, of the stretch that ends with it; without
    one, all rows are made anew of the whole window each time.
    """

    def __init__(
        self,
        spec: FeatureSpec,
        rate_hz: float,
        window_s: float,
        n_rows: int,
        context_s: float | None,
        n_context: int = 1,
    ) -> None:
        """n_rows, n_context: rows that the extractor makes of a window, and of a context."""
        if context_s is not None and context_s > window_s:
            context_s = None
        self._spec, self.n = spec, n_rows
        self._window = round(window_s * rate_hz)
        self._context = None if context_s is None else round(context_s * rate_hz)
        self._hop = round((spec.hop_s or USUAL_HOP_S) * rate_hz)
        self._n_context = n_context
        self.clear()

    def clear(self) -> None:
        self._rows: deque[NDArray[Any]] = deque(maxlen=self.n)
        self._next = 0  # with a context: row i is of the stretch that begins at i hops
        self._end = 0  # without: where the stretch that was last asked for ended

    def wanted(self, sound: SoundBuffer) -> Sound | None:
        """The stretch of which rows should be made now, None where there is nothing new."""
        if self._context is None:
            if sound.n - self._end < min(self._hop, self._window):
                return None
            self._end = sound.n
            return sound.stretch(max(sound.first, sound.n - self._window), sound.n)
        oldest = max(sound.first, sound.n - self._window)
        if self._next * self._hop < oldest:  # the machine was too slow: what is out of the window is left out
            self._next = -(-oldest // self._hop)
        first = self._next * self._hop
        n_new = (sound.n - first - self._context) // self._hop + 1
        if n_new < 1:
            return None
        return sound.stretch(first, first + self._context + (n_new - 1) * self._hop)

    def take(self, frames: Frames | None) -> None:
        """What the extractor made of the stretch that was wanted."""
        if self._context is None:
            self._rows.clear()
            self._rows.extend([] if frames is None else frames.values)
            return
        rows = [] if frames is None else list(frames.values[self._n_context - 1 :])
        self._rows.extend(rows)
        self._next += max(len(rows), 1)

    def frames(self) -> Frames:
        """(n, *shape), the oldest first; what has not been is masked at the end."""
        values, valid = np.zeros((self.n, *self._spec.shape), np.float32), np.zeros(self.n, bool)
        for place, row in enumerate(self._rows):
            values[place], valid[place] = row, True
        return Frames(values, valid)
