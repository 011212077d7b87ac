"""Layers of `mien.families.lstm_attention` that Keras lacks: each takes the mask as an input beside the frames."""

from __future__ import annotations

from typing import Any

# First: it decides which Keras this process uses.
from mien.families.frameworks import tensorflow as _  # noqa: F401

# isort: split
from keras import layers, ops

FARTHEST = -1e9  # logit of a masked frame: its share of a float32 softmax is exactly 0


class Attention(layers.Layer):
    """Weighted sum over time: a = softmax(e) over valid frames, sum of a x; (b, T, D) and mask (b, T) to (b, D).

    e = v·tanh(x W + b) with so many units (Bahdanau et al. 2015); with 0 units e = tanh(x w + b), one number, as system
    S1 has it.
    """

    def __init__(self, units: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.supports_masking = True  # it takes the mask as an input, and leaves no time axis to mask
        self.units = units
        self.hidden = layers.Dense(units or 1, activation="tanh")
        self.score = layers.Dense(1, use_bias=False) if units else layers.Identity()

    def build(self, shapes: Any) -> None:
        self.hidden.build(shapes[0])
        self.score.build((*shapes[0][:-1], self.units or 1))

    def call(self, inputs: Any) -> Any:
        x, mask = inputs
        scores = ops.where(mask[..., None], self.score(self.hidden(x)), FARTHEST)
        return ops.sum(ops.softmax(scores, axis=1) * x, axis=1)

    def compute_mask(self, inputs: Any, previous_mask: Any) -> None:
        return None

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "units": self.units}


class EveryNth(layers.Layer):
    """Frames 0, n, 2n, ... of (b, T, ...)."""

    def __init__(self, n: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.n = n

    def call(self, x: Any) -> Any:
        return x[:, :: self.n]

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "n": self.n}


class Masked(layers.Layer):
    """Zeros where the mask is False: padding must not reach its neighbours through a convolution or through noise."""

    def call(self, inputs: Any) -> Any:
        x, mask = inputs
        return x * ops.cast(mask, x.dtype)[..., None]


class MaskedMean(layers.Layer):
    """Mean over the valid frames, (b, T, D) and mask (b, T) to (b, D); zeros where there are none."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.supports_masking = True

    def call(self, inputs: Any) -> Any:
        x, mask = inputs
        weights = ops.cast(mask, x.dtype)[..., None]
        return ops.sum(x * weights, axis=1) / ops.maximum(ops.sum(weights, axis=1), 1)

    def compute_mask(self, inputs: Any, previous_mask: Any) -> None:
        return None


class MaskedMax(layers.Layer):
    """Largest value of each column over the valid frames, (b, T, D) and mask (b, T) to (b, D); zeros where there are
    none."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.supports_masking = True

    def call(self, inputs: Any) -> Any:
        x, mask = inputs
        largest = ops.max(ops.where(mask[..., None], x, FARTHEST), axis=1)
        return ops.where(ops.any(mask, axis=1, keepdims=True), largest, 0)

    def compute_mask(self, inputs: Any, previous_mask: Any) -> None:
        return None


class Present(layers.Layer):
    """The vector of an input (b, D), or zeros where the clip has no valid frame of it."""

    def call(self, inputs: Any) -> Any:
        vector, mask = inputs
        return vector * ops.cast(ops.any(mask, axis=1, keepdims=True), vector.dtype)
