"""Fewer rows than an extractor makes: means of so many."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def mean_rows(values: NDArray[np.floating], n: int) -> NDArray[np.floating]:
    """(T // n, D) means of n rows each. The rest at the end is left out, unless it is all there is: then its mean.

    >>> mean_rows(np.array([[1.0], [3.0], [4.0], [6.0], [9.0]]), 2).tolist()
    [[2.0], [5.0]]
    >>> mean_rows(np.array([[1.0], [3.0]]), 4).tolist()
    [[2.0]]
    """
    if len(values) < n:
        return values.mean(axis=0, keepdims=True)
    return values[: len(values) // n * n].reshape(-1, n, values.shape[1]).mean(axis=1)


def rows_of(hop_s: float, step_s: float) -> int:
    """How many rows, one every step_s, make one every hop_s. ValueError where that is no whole number.

    >>> rows_of(0.04, 0.01)
    4
    """
    n = round(hop_s / step_s)
    if n < 1 or abs(hop_s - n * step_s) > 1e-9:
        raise ValueError(f"hop_s {hop_s:g}: use a multiple of {step_s:g} s")
    return n
