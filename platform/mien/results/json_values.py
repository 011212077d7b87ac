"""JSON of results: Python numbers and lists all the way down, null for what is not defined."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

Json = dict[str, Any]


def as_json(value: Any) -> Any:
    """The same with Python scalars for numpy's, lists for arrays and tuples, None for what is not finite.

    >>> as_json({"uar": np.float64(0.5), "recall": np.array([1.0, np.nan]), "names": ("a", "b")})
    {'uar': 0.5, 'recall': [1.0, None], 'names': ['a', 'b']}
    """
    if isinstance(value, Mapping):
        return {key: as_json(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [as_json(item) for item in value]
    if isinstance(value, np.ndarray | np.generic):
        return as_json(value.tolist())
    return None if isinstance(value, float) and not math.isfinite(value) else value
