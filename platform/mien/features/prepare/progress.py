"""PrepareProgress: how far a preparation is. `prepare` draws nothing: its caller does, or does not."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class PrepareProgress:
    """How far one feature is.

    feature: "<corpus>-<name>". n_done: with the clips that were done before. n_rejects: of those that were tried now.
    left_s: None before the first clip.
    """

    feature: str
    n_done: int
    n_clips: int
    n_rejects: int
    clips_per_s: float
    left_s: float | None


OnProgress = Callable[[PrepareProgress], None]
