"""Figures of what happens to a model when modalities are missing, inputs are noisy, or it may decline to answer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from mien.results.report.figures import BLUE, INK, MUTED, figure_of_rows

if TYPE_CHECKING:
    from matplotlib.figure import Figure

LINES = ((BLUE, "-"), (INK, "--"), (MUTED, ":"), (INK, "-."), (BLUE, ":"))
FEWEST = 20  # clips answered from which a curve is drawn: of fewer any error is possible


def missing(scores: Mapping[int, Sequence[float]], label: str) -> Figure:
    """Scores by the number of modalities that are missing: a dot per subset, the line is their mean."""
    with figure_of_rows(2.9) as (figure, (axes,)):
        for n, values in scores.items():
            axes.scatter([n] * len(values), values, 26, color=BLUE, alpha=0.45, linewidths=0)
        axes.plot(list(scores), [np.mean(values) for values in scores.values()], color=BLUE, linewidth=1.6)
        axes.set_xticks(list(scores))
        axes.set(xlabel="Modalities missing", ylabel=f"Test {label}")
        axes.grid(axis="y")
        return figure


def against_noise(points: Sequence[tuple[float, Mapping[str, Any]]], label: str) -> Figure:
    """A score with its interval at each level of noise, levels evenly apart."""
    places = np.arange(len(points))
    value, low, high = (np.array([score[key] for _, score in points], float) for key in ("value", "low", "high"))
    with figure_of_rows(2.9) as (figure, (axes,)):
        axes.fill_between(places, low, high, color=BLUE, alpha=0.2, linewidth=0)
        axes.plot(places, value, color=BLUE, linewidth=1.6, marker="o", markersize=5)
        axes.set_xticks(places, [f"{level:g}" for level, _ in points])
        axes.set(xlabel="Noise on the inputs, in their standard deviations", ylabel=f"Test {label}")
        axes.grid(axis="y")
        return figure


def risk_by_uncertainty(curves: Mapping[str, Mapping[str, NDArray[Any]]], ylabel: str) -> Figure:
    """What is left of the error against the share of clips answered, one curve for each kind of uncertainty."""
    with figure_of_rows(3.2 + 0.2 * len(curves)) as (figure, (axes,)):
        for (label, curve), (colour, dashes) in zip(curves.items(), LINES, strict=False):
            last = len(curve["risk"]) - 1
            kept = np.unique(np.linspace(min(FEWEST - 1, last), last, 200).astype(int))
            axes.plot(curve["coverage"][kept], curve["risk"][kept], dashes, color=colour, label=label, linewidth=1.6)
        axes.set(xlim=(0, 1), xlabel="Coverage: share of clips answered, surest first", ylabel=ylabel)
        axes.set_ylim(bottom=0)
        axes.grid(axis="y")
        figure.legend(loc="outside upper left")  # a curve that says nothing runs along the top
        return figure
