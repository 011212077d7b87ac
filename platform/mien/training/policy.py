"""When to stop and how fast to learn: pure functions of a run's history.

Because nothing else is remembered, a resumed run decides exactly as an uninterrupted one. Which epoch is the best is
decided in `mien.results.history`, for runs and trials alike.
"""

from __future__ import annotations

import math

from mien.experiment import TrainingConfig
from mien.results.history import History, best_record

START, END = (
    25.0,
    1e4,
)  # one-cycle begins at the largest rate / 25, ends at that / 10,000: as torch's OneCycleLR


def learning_rate(config: TrainingConfig, progress: float) -> float:
    """Learning rate of a step. progress: share of all epochs that is done before it, in [0, 1].

    >>> config = TrainingConfig(learning_rate=1.0)
    >>> [round(learning_rate(config, progress), 2) for progress in (0, 0.5, 1)]
    [1.0, 0.5, 0.0]
    >>> config = TrainingConfig(learning_rate=1.0, schedule="one-cycle", warmup=0.2)
    >>> [round(learning_rate(config, progress), 2) for progress in (0, 0.1, 0.2, 0.6, 1)]
    [0.04, 0.52, 1.0, 0.5, 0.0]
    """
    largest = config.learning_rate
    if config.schedule == "constant":
        return largest
    if config.schedule == "cosine":
        return _cosine(largest, 0.0, progress)
    if progress < config.warmup:
        return _cosine(largest / START, largest, progress / config.warmup)
    return _cosine(largest, largest / START / END, (progress - config.warmup) / (1 - config.warmup))


def _cosine(start: float, end: float, share: float) -> float:
    """Half a cosine from start to end."""
    return end + (start - end) * 0.5 * (1 + math.cos(math.pi * min(share, 1.0)))


def best_epoch(history: History) -> int:
    """Epoch of the best validation score; the last where none has a score, 0 before the first."""
    best = best_record(history)
    return int(best["epoch"]) if best else int(history[-1]["epoch"]) if history else 0


def stop_reason(history: History, config: TrainingConfig) -> str | None:
    """Why no further epoch is due; None while one is.

    >>> record = {"epoch": 1, "score": 0.5, "score_name": "uar", "validation_loss": 1.0}
    >>> stop_reason([record], TrainingConfig(epochs=1))
    'all 1 epochs done'
    """
    if not history:
        return None
    last = int(history[-1]["epoch"])
    if last >= config.epochs:
        return f"all {config.epochs} epochs done"
    if last - best_epoch(history) >= config.patience:
        return f"no better validation score for {config.patience} epochs"
    return None
