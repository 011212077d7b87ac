"""The loss: of a classifier, or of a model of dimensions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, kw_only=True, slots=True)
class LossConfig:
    """Of classes: focal loss (Lin et al. 2017) or cross-entropy, with weights by class. Of dimensions: mean squared
    error, or 1 - CCC (Lin 1989)."""

    __pydantic_config__ = {"extra": "forbid"}  # noqa: RUF012

    kind: Literal["focal", "cross-entropy", "mse", "ccc"] = "focal"
    """focal, cross-entropy: of classes. mse, ccc: of dimensions."""
    gamma: float = 2.0
    """focal: how strongly easy examples are turned down; 0 is cross-entropy."""
    alpha: Literal["none", "balanced"] | tuple[float, ...] = "balanced"
    """Weight by class: none, balanced (inverse frequency in the training split, mean 1), or one number per class."""
    label_smoothing: float = 0.1
    """Share of the target spread evenly over the classes."""
    mse: float = 0.0
    """ccc: share of the mean squared error in the loss, the rest is 1 - CCC."""

    def __post_init__(self) -> None:
        if self.gamma < 0:
            raise ValueError(f"loss.gamma is {self.gamma}: 0 or more")
        if not 0 <= self.mse < 1:
            raise ValueError(f"loss.mse is {self.mse}: a share from 0 to below 1; the error alone is loss.kind mse")
        if not 0 <= self.label_smoothing < 1:
            raise ValueError(f"loss.label_smoothing is {self.label_smoothing}: a share from 0 to below 1")
        if not isinstance(self.alpha, str) and any(a < 0 for a in self.alpha):
            raise ValueError(f"loss.alpha is {self.alpha}: weights of 0 or more")
