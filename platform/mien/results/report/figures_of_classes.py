"""Figures of a target of classes: confusion, reliability, risk and coverage."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from mien.results.report.figures import BLUE, CELL, INK, MUTED, ORANGE, PAPER, figure_of_rows, grid

if TYPE_CHECKING:
    from matplotlib.figure import Figure

DARK_CELL = 0.68  # share from which PAPER reads better on a cell of the confusion matrix than INK


def confusion_matrix(counts: NDArray[Any], classes: Sequence[str]) -> Figure:
    """Share of each true class that was called each class, with counts; rows without clips stay empty."""
    from matplotlib.patches import Rectangle

    n = len(classes)
    rows = counts.sum(axis=1, keepdims=True)
    shares = np.divide(counts, rows, out=np.zeros(counts.shape), where=rows > 0)
    large, small = (10.5, 8.5) if n <= 6 else (8.5, 7)
    with figure_of_rows(4.6) as (figure, (axes,)):
        axes.set(xlim=(-0.5, n - 0.5), ylim=(n - 0.5, -0.5), aspect="equal")
        for truth, called in np.ndindex(n, n):
            share, count = shares[truth, called], int(counts[truth, called])
            corner = (called - 0.48, truth - 0.48)
            axes.add_patch(Rectangle(corner, 0.96, 0.96, facecolor=CELL, alpha=0.04 + 0.92 * share, linewidth=0))
            if not rows[truth, 0]:
                continue
            colour = PAPER if share >= DARK_CELL else INK if count else MUTED
            for text, below, size in ((f"{share:.0%}", -0.1, large), (f"{count:,}", 0.24, small)):
                written = axes.text(called, truth + below, text, ha="center", va="center", size=size, color=colour)
                written.set_in_layout(False)  # it lies within its cell: measuring it takes most of the time
        axes.set_xticks(range(n), classes, rotation=35, ha="right", rotation_mode="anchor")
        axes.set_yticks(range(n), classes)
        axes.set(xlabel="Predicted", ylabel="True")
        axes.tick_params(length=0)
        axes.spines[:].set_visible(False)
        return figure


def confusion_by_epoch(panels: Mapping[str, NDArray[Any]], classes: Sequence[str]) -> Figure:
    """Small confusion matrices, up to four, two in a row: title to counts. Only the recalls are written."""
    from matplotlib.collections import PatchCollection
    from matplotlib.colors import to_rgba
    from matplotlib.patches import Rectangle

    n, n_rows = len(classes), (len(panels) + 1) // 2
    cells = [Rectangle((called - 0.48, truth - 0.48), 0.96, 0.96) for truth, called in np.ndindex(n, n)]
    with grid(0.5 + 2.35 * n_rows, n_rows, min(2, len(panels)), sharex=True, sharey=True) as (figure, rows):
        places = [axes for row in rows for axes in row]
        for axes, (title, counts) in zip(places, panels.items(), strict=False):
            of_class = counts.sum(axis=1, keepdims=True)
            shares = np.divide(counts, of_class, out=np.zeros(counts.shape), where=of_class > 0)
            colours = [to_rgba(CELL, 0.04 + 0.92 * share) for share in shares.ravel()]
            axes.set(xlim=(-0.5, n - 0.5), ylim=(n - 0.5, -0.5), aspect="equal", title=title)
            axes.add_collection(PatchCollection(cells, facecolors=colours, linewidths=0))
            for k in np.flatnonzero(of_class[:, 0]):
                share = shares[k, k]
                colour = PAPER if share >= DARK_CELL else INK
                written = axes.text(k, k, f"{share:.0%}", ha="center", va="center", size=7.5, color=colour)
                written.set_in_layout(False)
            axes.set_xticks(range(n), classes, rotation=35, ha="right", rotation_mode="anchor")
            axes.set_yticks(range(n), classes)
            axes.tick_params(length=0, labelsize=8)
            axes.spines[:].set_visible(False)
        for axes in places[len(panels) :]:
            axes.set_axis_off()
        for axes in places[max(0, len(panels) - 2) : len(panels)]:  # the lowest of each column
            axes.tick_params(labelbottom=True)
        return figure


def reliability(panels: Mapping[str, Mapping[str, NDArray[Any]]]) -> Figure:
    """Accuracy against confidence; the area of a dot is the number of predictions in its bin. panels: title to bins."""
    with grid(4.0 if len(panels) == 1 else 2.9, 1, len(panels), sharey=True) as (figure, rows):
        for (title, bins), axes in zip(panels.items(), rows[0], strict=True):
            filled = bins["count"] > 0
            axes.plot([0, 1], [0, 1], color=MUTED, linewidth=1, linestyle=(0, (4, 3)))
            axes.text(0.98, 0.03, "over-confident", ha="right", color=MUTED, size=9)
            axes.text(0.02, 0.93, "under-confident", color=MUTED, size=9)
            confidence, accuracy = bins["confidence"][filled], bins["accuracy"][filled]
            axes.plot(confidence, accuracy, color=BLUE, linewidth=1.2)
            sizes = (200 if len(panels) == 1 else 120) * bins["count"][filled] / bins["count"].max()
            axes.scatter(confidence, accuracy, sizes, color=BLUE, clip_on=False)
            axes.set(xlim=(0, 1), ylim=(0, 1), aspect="equal", xlabel="Confidence", title=title)
            axes.grid()
        rows[0, 0].set(ylabel="Accuracy")
        return figure


def risk_coverage(curves: Mapping[str, Mapping[str, NDArray[Any]]]) -> Figure:
    """Error among the clips answered, against the share answered; the first curve is the model."""
    with figure_of_rows(3.6) as (figure, (axes,)):
        for (label, curve), colour, dashes in zip(curves.items(), (BLUE, ORANGE), ("-", "--"), strict=False):
            # Of a few clips any error is possible: the curve starts where 20 clips are answered.
            kept = np.unique(np.linspace(min(19, len(curve["risk"]) - 1), len(curve["risk"]) - 1, 200).astype(int))
            axes.plot(curve["coverage"][kept], curve["risk"][kept], dashes, color=colour, label=label, linewidth=1.6)
        axes.set(xlim=(0, 1), xlabel="Coverage: share of clips answered, surest first", ylabel="Error among them")
        axes.set_ylim(bottom=0)
        axes.grid(axis="y")
        if len(curves) > 1:
            axes.legend(loc="upper left")
        return figure
