"""How long and how fast a model is trained."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainingConfig:
    """Epochs, steps and when to stop."""

    __pydantic_config__ = {"extra": "forbid"}  # noqa: RUF012

    epochs: int = 25
    """Epochs at most."""
    patience: int = 10
    """Stop after so many epochs without a better validation score (target.primary)."""
    keep: Literal["best", "last"] = "best"
    """best: the epoch of the best validation score. last: all epochs, no early stopping, so nothing has to be held out
    and the validation clips are trained on as well."""
    batch_size: int = 32
    """Clips per step over all workers together: the same number, the same model, whatever the number of workers."""
    learning_rate: float = 2e-3
    """The largest rate of the schedule."""
    schedule: Literal["constant", "cosine", "one-cycle"] = "cosine"
    """Of each step. cosine: from learning_rate down to 0 over all epochs. one-cycle: up to learning_rate in the first
    part of the training, then down to 0, both as cosines (Smith & Topin 2018)."""
    warmup: float = 0.1
    """one-cycle: share of the training until the largest rate."""
    weight_decay: float = 1e-2
    """AdamW, Loshchilov & Hutter 2019."""
    clip_norm: float = 5.0
    """Largest norm of the gradient of a step; 0 leaves it alone."""
    average: float = 0.98
    """Decay per step of the moving average of the weights, which is validated, tested and kept; 0: no average."""

    def __post_init__(self) -> None:
        for name in ("epochs", "patience", "batch_size"):
            if getattr(self, name) < 1:
                raise ValueError(f"training.{name} is {getattr(self, name)}: at least 1")
        if not 0 < self.warmup < 1:
            raise ValueError(f"training.warmup is {self.warmup}: a share between 0 and 1")
        if not 0 <= self.average < 1:
            raise ValueError(f"training.average is {self.average}: from 0 to below 1")
        if self.learning_rate <= 0:
            raise ValueError(f"training.learning_rate is {self.learning_rate}: above 0")
