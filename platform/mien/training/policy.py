"""When to stop, what to keep, how fast to learn: pure functions of a run's history.

history: one record an epoch, each with "epoch" and "validation_uar" (None where it could not be computed). Because
nothing else is remembered, a resumed run decides exactly as an uninterrupted one.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from mien.experiment import TrainingConfig

History = Sequence[Mapping[str, Any]]


def learning_rate(config: TrainingConfig, epoch: int) -> float:
    """Learning rate of an epoch (1-based).

    >>> config = TrainingConfig(epochs=3, learning_rate=1.0)
    >>> [round(learning_rate(config, epoch), 2) for epoch in (1, 2, 3)]
    [1.0, 0.75, 0.25]
    """
    if config.schedule == "constant":
        return config.learning_rate
    return config.learning_rate * 0.5 * (1 + math.cos(math.pi * (epoch - 1) / config.epochs))


def best_epoch(history: History) -> int:
    """Epoch of the highest validation UAR, the lower validation loss deciding ties, then the earlier epoch.

    An epoch without a score never wins, unless none has one: then the last. 0 before the first epoch.
    """
    scored = [r for r in history if r["validation_uar"] is not None]
    if not scored:
        return int(history[-1]["epoch"]) if history else 0
    return int(max(scored, key=lambda r: (r["validation_uar"], -(r["validation_loss"]), -r["epoch"]))["epoch"])


def stop_reason(history: History, config: TrainingConfig) -> str | None:
    """Why no further epoch is due; None while one is.

    >>> record = {"epoch": 1, "validation_uar": 0.5, "validation_loss": 1.0}
    >>> stop_reason([record], TrainingConfig(epochs=1))
    'all 1 epochs done'
    """
    if not history:
        return None
    last = int(history[-1]["epoch"])
    if last >= config.epochs:
        return f"all {config.epochs} epochs done"
    if last - best_epoch(history) >= config.patience:
        return f"no better validation UAR for {config.patience} epochs"
    return None
