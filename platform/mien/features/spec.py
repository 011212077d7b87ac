"""FeatureSpec, Frames and Extractor: what an extractor promises and what it returns."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

Codec = Literal["float32", "jpeg"]
Kind = Literal["sound", "pictures", "faces", "signals", "table"]
# (picture, box of the face or None, seconds) -> the row (*shape,), or None where there is nothing to see
Look = Callable[[NDArray[np.uint8], NDArray[np.float32] | None, float], NDArray[Any] | None]


class Frames(NamedTuple):
    """Features of one clip. values: (T, *shape), float32 and finite everywhere; uint8 RGB (T, H, W, 3) where the codec
    is jpeg. valid: (T,) bool, False where there was nothing to see or hear (silence is heard; no face is not seen):
    such rows are zeros and are masked."""

    values: NDArray[Any]
    valid: NDArray[np.bool_]


class Signals(NamedTuple):
    """What sensors recorded: EEG, ECG, skin conductance, ...

    values: (N, C) float32, finite, in the units of the file. names, units: C each, as the file's header has them; ""
    where it gives no unit. rate_hz: of all channels.
    """

    values: NDArray[np.float32]
    names: tuple[str, ...]
    units: tuple[str, ...]
    rate_hz: float


@dataclass(frozen=True, kw_only=True, slots=True)
class FeatureSpec:
    """The identity of one kind of features: same spec, same numbers.

    modality: what it is a feature of: "audio", "video", "eeg", "physio", or "prediction" (of a parent run). shape: of
    one frame, (D,) for numbers, (H, W, 3) for pictures. codec: how a frame lies in the store. hop_s: seconds from one
    frame to the next; None where one row stands for the whole clip. offset_s: time of the centre of frame 0 after the
    start of its medium, so that modalities can be laid on one clock. columns: D names, or none. settings: everything
    else that changes the numbers (window, weights' checksum), JSON values only.
    """

    name: str
    version: int
    modality: str
    shape: tuple[int, ...]
    codec: Codec = "float32"
    hop_s: float | None
    offset_s: float = 0.0
    columns: tuple[str, ...] = ()
    settings: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.columns and (len(self.columns),) != self.shape:
            raise ValueError(f"feature {self.name!r}: {len(self.columns)} column names for frames of {self.shape}")
        if self.codec == "jpeg" and self.shape[2:] != (3,):
            raise ValueError(f"feature {self.name!r}: jpeg holds (H, W, 3) and not {self.shape}")

    @property
    def dim(self) -> int:
        """Numbers per frame."""
        return int(np.prod(self.shape))

    @property
    def is_numeric(self) -> bool:
        """Whether frames are numbers, which can be standardised, stretched and made noisier; pictures are not."""
        return self.codec == "float32"

    @property
    def folder(self) -> str:
        """Name of its folder in a store: `<name>-v<version>-<hash of its settings>`."""
        settings = [self.modality, self.shape, self.codec, self.hop_s, self.offset_s, self.columns, self.settings]
        text = json.dumps(settings, sort_keys=True, default=dict)
        return f"{self.name}-v{self.version}-{hashlib.sha256(text.encode()).hexdigest()[:8]}"

    def to_json(self) -> dict[str, Any]:
        return {
            **asdict(self),
            "shape": list(self.shape),
            "columns": list(self.columns),
            "settings": dict(self.settings),
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> FeatureSpec:
        return cls(**{**value, "shape": tuple(value["shape"]), "columns": tuple(value["columns"])})


class Extractor(Protocol):
    """Turns one decoded medium into frames. Deterministic, and the same for one clip as in a batch.

    medium: which entry of `Clip.media` it reads. kind: how that is decoded, which is what the signal is:

        sound     (N,) float32 in [-1, 1], one channel, at rate_hz
        pictures  iterator of (H, W, 3) uint8 RGB at rate_hz
        faces     iterator of (picture, box) at rate_hz; box is (4,) float32 left, top, right, bottom in pixels, or None
        signals   `Signals` at the rate of the file's header, which is given as rate_hz
        table     the path of the file, "<table>#<row>" for a row of one

    rate_hz: the rate at which it wants the signal; 0 for signals and tables. is_heavy: takes seconds per clip, not
    milliseconds, so that a part of the store holds few clips. An extractor of faces may have `track`, the
    `TrackSettings` of the track that it reads; those with equal ones share it.

    To work live (`mien.features.live`), an extractor of pictures or faces has `live()`, a context manager that gives
    its `Look`, a function of one picture after the other. One of sound hears the latest stretch as a clip; it may have
    `context_s`, the seconds of sound up to the end of a row that its numbers depend on, if they are few.

    A signal may be shared with other extractors, so its arrays are read-only. What an extractor cannot use (too short
    a sound) raises MediaError, whose reason becomes the reject's.
    """

    spec: FeatureSpec
    medium: str
    kind: Kind
    rate_hz: float
    is_heavy: bool

    def __call__(self, signal: Any, rate_hz: float) -> Frames: ...


class Settings(Protocol):
    """What of an extractor can be chosen: a frozen dataclass with a docstring per field, which is its page of help and
    is recorded in the MANIFEST as asked. `mien.features.extractors.EXTRACTORS` names one for each extractor."""

    def build(self) -> Extractor:
        """Raises MienError where the settings do not fit each other or the weights cannot be had."""
