"""The hyper-parameters of each model family. The `family` field is the key into `mien.families.FAMILIES`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, kw_only=True, slots=True)
class LstmAttentionConfig:
    """Conv1D -> BiLSTM -> temporal attention for each input, concatenated, then a dense head (system S1)."""

    __pydantic_config__ = {"extra": "forbid"}  # noqa: RUF012

    family: Literal["lstm_attention"] = "lstm_attention"
    conv_filters: int = 64
    """Filters of the Conv1D before the BiLSTM of what is heard; 0 leaves it out."""
    conv_kernel: int = 3
    lstm_units: int = 64
    """Units of the LSTM in each direction."""
    row_units: int = 128
    """Units of the dense layer that reads an input of one row a clip instead of a sequence."""
    dense_units: int = 128
    dropout: float = 0.5
    input_noise: float = 0.0
    """Standard deviation of Gaussian noise on standardised inputs while training."""
    norm: Literal["layer", "batch", "none"] = "layer"
    """Normalisation of the head. batch uses each worker's own part of the batch."""

    def __post_init__(self) -> None:
        if not 0 <= self.dropout < 1:
            raise ValueError(f"model.dropout is {self.dropout}: from 0 to below 1")
        for name in ("conv_kernel", "lstm_units", "row_units", "dense_units"):
            if getattr(self, name) < 1:
                raise ValueError(f"model.{name} is {getattr(self, name)}: at least 1")


@dataclass(frozen=True, kw_only=True, slots=True)
class SvcConfig:
    """Support vector machine (RBF) on one row a clip: the baseline that a deep model must beat.

    Sequences are reduced to mean and standard deviation over their valid frames.
    """

    __pydantic_config__ = {"extra": "forbid"}  # noqa: RUF012

    family: Literal["svc"] = "svc"
    c: float = 1.0
    """Penalty C; the width of the kernel is scikit-learn's "scale"."""
    members: tuple[tuple[str, ...], ...] = ()
    """Late fusion: one SVC for each group of features, their probabilities multiplied. Empty: one SVC on all."""

    def __post_init__(self) -> None:
        if self.c <= 0:
            raise ValueError(f"model.c is {self.c}: above 0")


ModelConfig = LstmAttentionConfig | SvcConfig
