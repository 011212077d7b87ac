"""FeatureSpec and Frames: what an extractor promises and what it returns."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray


class Frames(NamedTuple):
    """Features of one clip. values: (T, D) float32, finite everywhere. valid: (T,) bool, False where there was
    nothing to see or hear (silence is heard; no face is not seen): such rows are zeros and are masked."""

    values: NDArray[np.float32]
    valid: NDArray[np.bool_]


@dataclass(frozen=True, kw_only=True, slots=True)
class FeatureSpec:
    """The identity of one kind of features: same spec, same numbers.

    dim: D of (T, D). hop_s: seconds from one frame to the next; None where one row stands for the whole clip.
    offset_s: time of the centre of frame 0, so that modalities can be laid on one clock. columns: D names.
    settings: everything else that changes the numbers (window, weights' checksum), JSON values only.
    """

    name: str
    version: int
    dim: int
    hop_s: float | None
    offset_s: float = 0.0
    columns: tuple[str, ...]
    settings: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if len(self.columns) != self.dim:
            raise ValueError(f"feature {self.name!r}: {len(self.columns)} column names for {self.dim} columns")

    @property
    def folder(self) -> str:
        """Name of its folder in a store: `<name>-v<version>-<hash of its settings>`."""
        settings = json.dumps([self.dim, self.hop_s, self.offset_s, self.columns, self.settings], sort_keys=True)
        return f"{self.name}-v{self.version}-{hashlib.sha256(settings.encode()).hexdigest()[:8]}"

    def to_json(self) -> dict[str, Any]:
        return {**asdict(self), "columns": list(self.columns), "settings": dict(self.settings)}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> FeatureSpec:
        return cls(**{**value, "columns": tuple(value["columns"])})


class Extractor(Protocol):
    """Turns one decoded medium into frames. Deterministic, and the same for one clip as in a batch.

    medium: which entry of `Clip.media` it reads. rate_hz: the rate at which it wants the signal.
    Audio signals are (N,) float32 in [-1, 1], mono. Video signals are an iterator of (H, W, 3) uint8 RGB frames.
    """

    spec: FeatureSpec
    medium: str
    rate_hz: float

    def __call__(self, signal: Any, rate_hz: float) -> Frames: ...
