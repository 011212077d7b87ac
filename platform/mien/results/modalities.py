"""Modalities: what each is worth to a model that reads several, and whether they know different things.

Formulas and sources: docs/reference/metrics.md.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import combinations
from math import comb
from typing import Any, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from mien.results.scoring import Floats

Value = TypeVar("Value", float, Floats)


class Overlap(NamedTuple):
    """Two modalities, each alone, on the same rows: shares that sum to 1."""

    both: float
    only_one: float
    only_other: float
    neither: float

    @property
    def oracle(self) -> float:
        """Share that is right where somebody knew, row by row, which of the two to believe."""
        return 1 - self.neither


def subsets(names: Iterable[str]) -> Iterator[frozenset[str]]:
    """All 2^n of them, the empty one first.

    >>> [sorted(subset) for subset in subsets("ab")]
    [[], ['a'], ['b'], ['a', 'b']]
    """
    ordered = list(names)
    for size in range(len(ordered) + 1):
        yield from map(frozenset, combinations(ordered, size))


def shapley(worth: Mapping[frozenset[str], Value]) -> dict[str, Value]:
    """What each name adds, averaged over all orders in which they might be added one by one (Shapley 1953): they sum to
    the worth of all less that of none.

    worth: of every subset, numbers, or arrays of them that are added up one by one. Raises ValueError where one is
    missing.

    >>> shapley({frozenset(): 0.0, frozenset("a"): 1.0, frozenset("b"): 2.0, frozenset("ab"): 4.0})
    {'a': 1.5, 'b': 2.5}
    """
    names = sorted(frozenset[str]().union(*worth))
    missing = next((subset for subset in subsets(names) if subset not in worth), None)
    if missing is not None:
        raise ValueError(
            f"worth of {'+'.join(sorted(missing)) or 'nothing'} is missing: all {2 ** len(names)} are needed"
        )
    return {
        name: sum(  # type: ignore[misc]  # of at least one subset
            (worth[subset | {name}] - worth[subset]) / (len(names) * comb(len(names) - 1, len(subset)))
            for subset in subsets(other for other in names if other != name)
        )
        for name in names
    }


def overlap(one: NDArray[np.bool_], other: NDArray[np.bool_]) -> Overlap:
    """Of two modalities that are right or wrong about the same rows.

    >>> overlap(np.array([True, True, False, False]), np.array([True, False, True, False])).oracle
    0.75
    """
    shares: list[Any] = [(one & other), (one & ~other), (~one & other), (~one & ~other)]
    return Overlap(*(float(share.mean()) for share in shares))


def right(truth: NDArray[np.int64], probabilities: Floats) -> NDArray[np.bool_]:
    """(N,) whether the likeliest class, the first of equals, is the true one."""
    return probabilities.argmax(axis=1) == truth


def errors(truth: Floats, prediction: Floats) -> Floats:
    """(N,) absolute error of each row, its mean over the dimensions that were rated; NaN of a row without a rating."""
    rated = ~np.isnan(truth)
    with np.errstate(invalid="ignore"):
        return np.where(rated, np.abs(truth - prediction), 0).sum(axis=1) / rated.sum(axis=1)
