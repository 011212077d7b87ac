"""Figures of every target: arrays in, a matplotlib Figure out; then PNG for a folder or SVG for a page.

Drawn five inches wide, so that on a phone a point is a pixel and the text stays readable. Colours are
those of Okabe & Ito (2008), told apart by colour-blind readers; a page swaps them for its own by CSS. In the report of
a series blue is the model and orange its baseline; in that of a search blue is a trial and orange a winner.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INK, MUTED, RULE, PAPER = "#1b1f23", "#646c76", "#d9dde2", "#ffffff"
BLUE, ORANGE = "#0072b2", "#d55e00"
CELL = "#00508a"  # a deeper blue: text in INK or PAPER reads on every shade of it
CSS_NAMES = {
    INK: "ink",
    MUTED: "muted",
    RULE: "rule",
    PAPER: "paper",
    BLUE: "blue",
    ORANGE: "orange",
    CELL: "cell",
}

WIDTH_IN = 5.0
PNG_DPI = 160

STYLE: Any = {
    "font.size": 10,
    "axes.titlesize": 10,
    "axes.labelsize": 10,
    "legend.fontsize": 9,
    "xtick.labelsize": 9,
    "ytick.labelsize": 9,
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": MUTED,
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.6,
    "axes.facecolor": "none",
    "axes.axisbelow": True,
    "grid.color": RULE,
    "grid.linewidth": 0.6,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "legend.frameon": False,
    "lines.solid_capstyle": "round",
    "text.parse_math": False,  # a name with two dollars is a name
    "pdf.fonttype": 42,
    "svg.fonttype": "none",
    "svg.hashsalt": "mien",  # same figure, same bytes
}


class Estimate(NamedTuple):
    """A line of a forest plot; low and high are None where there is no interval."""

    label: str
    value: float
    low: float | None
    high: float | None


def learning_curves(histories: Sequence[Sequence[Mapping[str, Any]]], label: str) -> Figure:
    """Loss and validation score by epoch: each run thin, their mean bold as far as all went.

    label: what the score is called. Runs that keep their last epoch hold no clip out to validate on: their training
    loss alone.
    """
    from matplotlib.ticker import MaxNLocator

    validated = any(record["validation_loss"] is not None for history in histories for record in history)
    with figure_of_rows(4.4 if validated else 2.4, rows=2 if validated else 1) as (figure, (loss, *scores)):
        drawn = [(loss, "train_loss", MUTED)]
        for axes in scores:
            drawn += [(loss, "validation_loss", BLUE), (axes, "score", BLUE)]
            axes.set(title=f"Validation {label}")
        for axes, name, colour in drawn:
            curves = [np.array([record[name] for record in h], dtype=float) for h in histories]
            for curve in curves:
                axes.plot(np.arange(1, len(curve) + 1), curve, color=colour, alpha=0.25, linewidth=0.7)
            mean = _mean_curve(curves)
            words = name.split("_")[0].replace("train", "training")
            axes.plot(np.arange(1, len(mean) + 1), mean, color=colour, linewidth=2, label=words)
        loss.set(title="Loss")
        loss.legend(loc="upper right")
        (*scores, loss)[0].set(xlabel="Epoch")
        for axes in (loss, *scores):
            axes.grid(axis="y")
            axes.margins(x=0.01)
            axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        return figure


def fold_strip(
    scores: Mapping[str, Sequence[float]], overall: float, guess: float | None, label: str, ends: tuple[float, float]
) -> Figure:
    """Test score of each run, a row per fold, a dot per seed; the line is the score over all folds, dashes a guess.

    ends: of the axis, those of the whole scale, so that folds look as far apart as they are.
    """
    with figure_of_rows(0.9 + 0.24 * len(scores)) as (figure, (axes,)):
        axes.axvline(overall, color=BLUE, linewidth=1.2)
        if guess is not None:
            axes.axvline(guess, color=MUTED, linewidth=1, linestyle=(0, (4, 3)))
        for row, values in enumerate(scores.values()):
            axes.scatter(values, [row] * len(values), 28, color=BLUE, alpha=0.7, linewidths=0)
        axes.set_yticks(range(len(scores)), scores)
        axes.set(xlim=ends, ylim=(len(scores) - 0.4, -0.6), xlabel=f"Test {label}")
        axes.tick_params(axis="y", length=0)
        axes.grid(axis="both")
        axes.spines["left"].set_visible(False)
        return figure


def forest(estimates: Sequence[Estimate], xlabel: str, *, mark: float | None = None) -> Figure:
    """Values with their intervals, one per line; mark: a value to compare with."""
    with figure_of_rows(0.9 + 0.32 * len(estimates)) as (figure, (axes,)):
        if mark is not None:
            axes.axvline(mark, color=MUTED, linewidth=1, linestyle=(0, (4, 3)))
        for row, estimate in enumerate(estimates):
            if estimate.low is not None and estimate.high is not None:
                axes.plot([estimate.low, estimate.high], [row, row], color=BLUE, linewidth=3, alpha=0.35)
            axes.scatter([estimate.value], [row], 30, color=BLUE, zorder=3)
        axes.set_yticks(range(len(estimates)), [estimate.label for estimate in estimates])
        axes.set(ylim=(len(estimates) - 0.4, -0.6), xlabel=xlabel)
        axes.tick_params(axis="y", length=0)
        axes.grid(axis="x")
        axes.spines["left"].set_visible(False)
        return figure


# ------------------------------------------------------------------ out


def png(figure: Figure) -> bytes:
    """On white, for a folder, a paper or a slide."""
    import matplotlib
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    target = io.BytesIO()
    figure.set(dpi=PNG_DPI, facecolor=PAPER)
    with matplotlib.rc_context(STYLE):
        # What savefig does, but for its rehearsal of the whole drawing, which takes as long again.
        FigureCanvasAgg(figure).print_png(target, metadata={"Software": None})
    figure.set_layout_engine("none")  # laid out once, for PNG and SVG alike
    return target.getvalue()


def pdf(figure: Figure) -> bytes:
    """For a paper: lines and text stay such, and the fonts are in it (TrueType, as journals ask)."""
    import matplotlib
    from matplotlib.backends.backend_pdf import FigureCanvasPdf

    target = io.BytesIO()
    figure.set_facecolor(PAPER)
    with matplotlib.rc_context(STYLE):
        FigureCanvasPdf(figure).print_pdf(target, metadata=dict.fromkeys(("CreationDate", "Creator", "Producer")))
    return target.getvalue()


def svg(figure: Figure) -> str:
    """An <svg> element to stand in a page: its colours are CSS variables of the page, its text is text."""
    import matplotlib
    from matplotlib.backends.backend_svg import FigureCanvasSVG

    target = io.StringIO()
    figure.set_facecolor("none")
    with matplotlib.rc_context(STYLE):
        FigureCanvasSVG(figure).print_svg(target, metadata=dict.fromkeys(("Date", "Creator", "Format", "Type")))
    figure.set_layout_engine("none")
    text = target.getvalue()
    text = re.sub(r"<metadata>.*?</metadata>\s*", "", text[text.index("<svg") :], flags=re.DOTALL)
    text = re.sub(r'<svg [^>]*?viewBox="([^"]*)"[^>]*>', r'<svg viewBox="\1" aria-hidden="true">', text, count=1)
    text = re.sub(r"xlink:href", "href", text)
    return re.sub("|".join(CSS_NAMES), lambda colour: f"var(--{CSS_NAMES[colour[0]]})", text)


@contextmanager
def grid(height_in: float, rows: int = 1, columns: int = 1, **shared: Any) -> Iterator[tuple[Figure, Any]]:
    """A figure in the house style with rows x columns of axes; no pyplot, so nothing is global."""
    import matplotlib
    from matplotlib.figure import Figure

    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(WIDTH_IN, height_in), layout="constrained")
        yield figure, figure.subplots(rows, columns, squeeze=False, **shared)


@contextmanager
def figure_of_rows(height_in: float, rows: int = 1) -> Iterator[tuple[Figure, list[Axes]]]:
    """Axes one below the other."""
    with grid(height_in, rows, sharex=True) as (figure, axes):
        yield figure, list(axes[:, 0])


def _mean_curve(curves: Sequence[NDArray[np.float64]]) -> NDArray[np.float64]:
    """Mean as far as all curves go: beyond, those that trained on are the better ones."""
    n_epochs = min(map(len, curves))
    return np.mean([curve[:n_epochs] for curve in curves], axis=0)
