"""Figures of a target of dimensions: what was predicted against what was rated, and the agreement of each subject."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from mien.results.report.figures import BLUE, CELL, INK, MUTED, figure_of_rows, grid
from mien.results.scoring import Floats

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MOST_DOTS = 500  # of one panel; beyond, cells
N_CELLS = 28  # along each axis


def predicted_against_rated(truth: Floats, prediction: Floats, names: Sequence[str]) -> Figure:
    """A panel per dimension, with the line on which prediction and rating are equal.

    truth, prediction: (N, K), NaN in truth where it was not rated. Up to 500 clips as dots, more as cells that are the
    deeper the more clips they hold.
    """
    n_columns = min(2, len(names))
    n_rows = math.ceil(len(names) / n_columns)
    with grid(0.4 + (2.25 if n_columns == 2 else 4.0) * n_rows, n_rows, n_columns, sharex=True, sharey=True) as (
        figure,
        rows,
    ):
        panels = [axes for row in rows for axes in row]
        ends = _ends(truth, prediction)
        for axes, name, t, p in zip(panels, names, truth.T, prediction.T, strict=False):
            rated = ~np.isnan(t)
            axes.plot(ends, ends, color=MUTED, linewidth=1, linestyle=(0, (4, 3)))
            if rated.sum() <= MOST_DOTS:
                axes.scatter(t[rated], p[rated], 12, color=BLUE, alpha=0.45, linewidths=0)
            else:
                _draw_cells(axes, t[rated], p[rated], ends)
            axes.set(title=name, xlim=ends, ylim=ends, aspect="equal")
            axes.grid()
        for axes in panels[len(names) :]:
            axes.set_axis_off()
        for axes in panels[max(0, len(names) - n_columns) : len(names)]:  # the lowest of each column
            axes.set(xlabel="Rated")
            axes.tick_params(labelbottom=True)
        for row in rows:
            row[0].set(ylabel="Predicted")
        return figure


def agreement_of_subjects(scores: Mapping[str, Sequence[float]], overall: Mapping[str, float], label: str) -> Figure:
    """A row per dimension, a dot per subject; the line is the score of all subjects together."""
    rng = np.random.default_rng(0)
    with figure_of_rows(0.8 + 0.55 * len(scores)) as (figure, (axes,)):
        for row, (name, values) in enumerate(scores.items()):
            places = row + rng.uniform(-0.22, 0.22, len(values))
            axes.scatter(values, places, 20, color=BLUE, alpha=0.6, linewidths=0)
            axes.plot([overall[name]] * 2, [row - 0.36, row + 0.36], color=INK, linewidth=1.8)
        axes.set_yticks(range(len(scores)), list(scores))
        axes.set(ylim=(len(scores) - 0.4, -0.6), xlabel=f"{label} of each subject's own clips")
        axes.tick_params(axis="y", length=0)
        axes.grid(axis="x")
        axes.spines["left"].set_visible(False)
        return figure


def _ends(truth: Floats, prediction: Floats) -> tuple[float, float]:
    """Of both axes: [-1, 1], or as far as a prediction goes."""
    largest = max(1.0, float(np.nanmax(np.abs([truth, prediction]), initial=0)))
    return -largest * 1.04, largest * 1.04


def _draw_cells(axes: Axes, t: Floats, p: Floats, ends: tuple[float, float]) -> None:
    from matplotlib.patches import Rectangle

    counts, edges, _ = np.histogram2d(t, p, N_CELLS, (ends, ends))
    side = edges[1] - edges[0]
    for i, j in np.argwhere(counts > 0):
        depth = 0.12 + 0.88 * math.sqrt(counts[i, j] / counts.max())
        axes.add_patch(Rectangle((edges[i], edges[j]), side, side, facecolor=CELL, alpha=depth, linewidth=0))
