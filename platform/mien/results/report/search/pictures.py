"""Pictures of a search: trials in, a matplotlib Figure out; style, PNG and SVG are those of report/figures.py.

Trials of several folds were scored on other people, so where they stand in one picture a score is shown as its distance
from the mean of its fold (Dot.height).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from mien.experiment.space import Choice, Distribution
from mien.results.report.figures import BLUE, INK, MUTED, ORANGE, PAPER, grid
from mien.results.report.search.importance import Importance, encoded
from mien.results.settings import text

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MOST_PANELS = 8
FEWEST_FOR_CONTOURS = 25
SEED = 0


class Dot(NamedTuple):
    """A trial that has a score. height: its score, less the mean of its fold where there are several folds. merit: the
    same turned so that more is better."""

    point: Mapping[str, Any]
    height: float
    merit: float
    is_done: bool
    is_winner: bool


class Curve(NamedTuple):
    """Score by epoch of one trial."""

    values: Sequence[float]
    state: str
    is_winner: bool


class Budget(NamedTuple):
    """Of one fold, a value for each trial that ended, in that order: minutes trained up to then, best score so far."""

    name: str
    minutes: Sequence[float]
    best: Sequence[float]


def importance(pooled: Sequence[Importance], by_fold: Sequence[Mapping[str, float]]) -> Figure:
    """A row per field: mean and range over refits, a small dot per fold, and what chance gives."""
    with grid(0.9 + 0.36 * len(pooled)) as (figure, ((axes,),)):
        for row, field in enumerate(pooled):
            axes.plot([field.low, field.high], [row, row], color=BLUE, linewidth=3, alpha=0.35)
            if field.chance is not None:
                axes.plot([field.chance] * 2, [row - 0.3, row + 0.3], color=INK, linewidth=1.6)
            axes.scatter([field.value], [row], 34, color=BLUE, zorder=3)
            own = [found[field.path] for found in by_fold if field.path in found]
            axes.scatter(own, [row + 0.26] * len(own), 9, color=MUTED, linewidths=0)
        axes.set_yticks(range(len(pooled)), [field.path for field in pooled])
        axes.set(ylim=(len(pooled) - 0.4, -0.6), xlabel="Share of the variance of the scores")
        axes.set_xlim(left=0)
        axes.tick_params(axis="y", length=0)
        axes.grid(axis="x")
        axes.spines["left"].set_visible(False)
        return figure


def parallel(dots: Sequence[Dot], space: Mapping[str, Distribution], label: str) -> Figure:
    """Parallel coordinates, read downwards: a line per trial, an axis per field, the score last.

    The axes lie flat, one below the other: their names and ends stay readable on a phone.
    """
    heights = np.array([dot.height for dot in dots])
    low, high = float(heights.min()), float(heights.max())
    good = float(np.quantile([dot.merit for dot in dots], 2 / 3))
    rng = np.random.default_rng(SEED)
    with grid(0.75 + 0.62 * (len(space) + 1)) as (figure, ((axes,),)):
        for dot in sorted(dots, key=lambda dot: (dot.is_winner, dot.merit)):
            places = [_place(distribution, dot.point[path], rng) for path, distribution in space.items()]
            places.append((dot.height - low) / (high - low) if high > low else 0.5)
            colour, alpha, width = (
                (ORANGE, 1.0, 1.8) if dot.is_winner else (BLUE, 0.55, 1.0) if dot.merit >= good else (MUTED, 0.3, 0.7)
            )
            axes.plot(places, range(len(places)), color=colour, alpha=alpha, linewidth=width)
        for row, (path, distribution) in enumerate(space.items()):
            axes.axhline(row, color=MUTED, linewidth=0.6)
            _name_axis(axes, row, path, _ends(distribution))
        axes.axhline(len(space), color=INK, linewidth=0.9)
        _name_axis(axes, len(space), label, [(0, f"{low:.3f}", "left"), (1, f"{high:.3f}", "right")])
        axes.set(xlim=(-0.02, 1.02), ylim=(len(space) + 0.5, -0.55))
        axes.set_axis_off()
        return figure


def slices(dots: Sequence[Dot], space: Mapping[str, Distribution], label: str) -> Figure:
    """The score against each field: dots are finished trials, crosses pruned ones at the epoch where they stopped."""
    n_rows = math.ceil(len(space) / 2)
    rng = np.random.default_rng(SEED)
    heights = np.array([dot.height for dot in dots])
    is_done, is_winner = (np.array([getattr(dot, name) for dot in dots], bool) for name in ("is_done", "is_winner"))
    finished: dict[str, Any] = {"marker": "o", "s": 20, "linewidths": 0, "alpha": 0.75}
    kinds: list[tuple[Any, dict[str, Any]]] = [  # drawn together: an artist for each dot takes ten times as long
        (~is_done, {"marker": "x", "s": 14, "color": MUTED, "linewidths": 0.8, "zorder": 2}),
        (is_done & ~is_winner, finished | {"color": BLUE, "zorder": 2}),
        (is_done & is_winner, finished | {"color": ORANGE, "zorder": 3}),
    ]
    with grid(0.3 + 1.75 * n_rows, n_rows, 2 if len(space) > 1 else 1, sharey=True) as (figure, rows):
        panels = [axes for row in rows for axes in row]
        for axes, (path, distribution) in zip(panels, space.items(), strict=False):
            x = np.array([encoded(distribution, dot.point[path]) for dot in dots], dtype=float)
            if isinstance(distribution, Choice):
                x += rng.uniform(-0.18, 0.18, len(dots))
            for of_kind, style in kinds:
                axes.scatter(x[of_kind], heights[of_kind], **style)
            axes.set_title(path)
            axes.grid(axis="y")
            axes.set_xlim(_limits(distribution, 0.05))
            _scale(axes, distribution)
        for axes in panels[len(space) :]:
            axes.set_axis_off()
        # One row of panels is lower than the label is long.
        figure.supylabel(label.replace(", ", ",\n") if n_rows == 1 else label, fontsize=10)
        return figure


def contour(dots: Sequence[Dot], x: tuple[str, Distribution], y: tuple[str, Distribution]) -> Figure:
    """The two most important numeric fields: the better the score, the deeper the dot.

    From 25 finished trials on with lines of equal score, smoothed by a Gaussian a sixth of each axis wide.
    """
    done = [dot for dot in dots if dot.is_done]
    places = np.array([[encoded(d, dot.point[path]) for path, d in (x, y)] for dot in done])
    heights = np.array([dot.height for dot in done])
    ranks = np.argsort(np.argsort([dot.merit for dot in done])) / max(1, len(done) - 1)
    with grid(3.9) as (figure, ((axes,),)):
        if len(done) >= FEWEST_FOR_CONTOURS:
            _draw_contours(axes, places, heights, [_limits(d) for _, d in (x, y)])
        colours = [ORANGE if dot.is_winner else BLUE for dot in done]
        axes.scatter(*places.T, 46, c=colours, alpha=0.12 + 0.85 * ranks, linewidths=0, zorder=3)
        axes.set(xlabel=x[0], ylabel=y[0], xlim=_limits(x[1], 0.04), ylim=_limits(y[1], 0.04))
        _scale(axes, x[1])
        _scale(axes, y[1], "y")
        return figure


def curves(folds: Mapping[str, Sequence[Curve]], label: str) -> Figure:
    """Validation score by epoch of all trials, a panel per fold; a cross where one was pruned, the winner bold."""
    from matplotlib.ticker import MaxNLocator

    shown = dict(list(folds.items())[:MOST_PANELS])
    n_rows = math.ceil(len(shown) / 2)
    n_columns = 2 if len(shown) > 1 else 1
    height = 3.0 if n_columns == 1 else 0.5 + 1.75 * n_rows
    with grid(height, n_rows, n_columns, sharex=True, sharey=True) as (figure, rows):
        panels = [axes for row in rows for axes in row]
        for axes, (name, found) in zip(panels, shown.items(), strict=False):
            for curve in sorted(found, key=lambda curve: curve.is_winner):
                epochs = np.arange(1, len(curve.values) + 1)
                colour, alpha, width = (ORANGE, 1.0, 1.8) if curve.is_winner else (BLUE, 0.4, 0.8)
                if curve.state != "done":
                    colour = MUTED
                axes.plot(epochs, curve.values, color=colour, alpha=alpha, linewidth=width)
                if curve.state == "pruned":
                    axes.scatter(epochs[-1:], curve.values[-1:], 18, marker="x", color=INK, linewidths=0.9, zorder=3)
            axes.set_title(name)
            axes.grid(axis="y")
            axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=5))
        for axes in panels[len(shown) :]:
            axes.set_axis_off()
        figure.supxlabel("Epoch", fontsize=10)
        figure.supylabel(f"Validation {label}", fontsize=10)
        return figure


def budget(folds: Sequence[Budget]) -> Figure:
    """Best validation score so far of each fold, by minutes of training and by trials ended; bold the mean."""
    with grid(4.6, 2, 1, sharey=True) as (figure, ((by_time,), (by_number,))):
        for axes, xlabel in ((by_time, "Minutes of training, summed over trials"), (by_number, "Trials ended")):
            series = [
                (np.asarray(f.minutes) if axes is by_time else np.arange(1, len(f.best) + 1), np.asarray(f.best))
                for f in folds
            ]
            for x, best in series:
                axes.step(x, best, where="post", color=BLUE, alpha=0.35 if len(folds) > 1 else 1, linewidth=1.2)
            if len(folds) > 1:
                _draw_mean(axes, series)
            axes.set(xlabel=xlabel, ylabel="Best so far")
            axes.set_xlim(left=0)
            axes.grid(axis="y")
        return figure


# ------------------------------------------------------------------ axes


def _limits(distribution: Distribution, margin: float = 0.0) -> tuple[float, float]:
    """The ends of an axis on its scale."""
    if isinstance(distribution, Choice):
        return -0.5, len(distribution.values) - 0.5
    low, high = encoded(distribution, distribution.low), encoded(distribution, distribution.high)
    return low - margin * (high - low), high + margin * (high - low)


def _place(distribution: Distribution, value: Any, rng: np.random.Generator) -> float:
    """Where a value stands between the ends of its axis, 0 to 1; equal choices a little apart."""
    low, high = _limits(distribution)
    place = (encoded(distribution, value) - low) / (high - low)
    return place + rng.uniform(-0.03, 0.03) if isinstance(distribution, Choice) else place


def _ends(distribution: Distribution) -> list[tuple[float, str, str]]:
    """What stands along an axis: place, text, alignment."""
    if isinstance(distribution, Choice):
        n = len(distribution.values)
        return [((i + 0.5) / n, text(value), "center") for i, value in enumerate(distribution.values)]
    return [(0, f"{distribution.low:g}", "left"), (1, f"{distribution.high:g}", "right")]


def _name_axis(axes: Axes, row: int, name: str, ends: Sequence[tuple[float, str, str]]) -> None:
    box = {"facecolor": PAPER, "alpha": 0.8, "linewidth": 0, "pad": 0.8}  # lines run below the words
    axes.text(0, row - 0.1, name, size=10, va="bottom", color=INK, bbox=box)
    for place, words, side in ends:
        axes.text(place, row + 0.09, words, size=9, ha=side, va="top", color=INK, bbox=box)


def _scale(axes: Axes, distribution: Distribution, which: str = "x") -> None:
    """Ticks of an axis on which values stand encoded."""
    axis = axes.xaxis if which == "x" else axes.yaxis
    if isinstance(distribution, Choice):
        names = [text(value) for value in distribution.values]
        crowded = sum(map(len, names)) > 22
        axis.set_ticks(range(len(names)), names, rotation=30 if crowded else 0, ha="right" if crowded else "center")
        return
    low, high = _limits(distribution)
    if distribution.is_log:
        marks = [m * 10.0**e for e in range(math.floor(low), math.ceil(high) + 1) for m in (1, 3)]
        places = [place for place in map(math.log10, marks) if low - 1e-9 <= place <= high + 1e-9]
        if len(places) > 4:
            places = [place for place in places if abs(place - round(place)) < 1e-9] or places[:4]
        if len(places) < 2:
            places = [low, high]
        axis.set_ticks(places, [f"{10**place:.2g}" for place in places])
    else:
        from matplotlib.ticker import MaxNLocator

        axis.set_major_locator(MaxNLocator(nbins=4, integer=distribution.is_integer))


def _draw_contours(axes: Axes, places: Any, heights: Any, limits: Sequence[tuple[float, float]]) -> None:
    """Lines of equal score: Nadaraya-Watson regression."""
    axis = np.linspace(0, 1, 40)
    spans = np.array([high - low for low, high in limits])
    lows = np.array([low for low, _ in limits])
    mesh = np.stack(np.meshgrid(axis, axis), axis=-1)
    apart = ((mesh[:, :, None] - (places - lows) / spans) ** 2).sum(axis=-1)
    weights = np.exp(-apart / (2 * (1 / 6) ** 2))
    smooth = (weights * heights).sum(axis=-1) / weights.sum(axis=-1)
    if np.ptp(smooth) > 0:
        x, y = (lows[i] + axis * spans[i] for i in range(2))
        lines = axes.contour(x, y, smooth, levels=5, colors=MUTED, linewidths=0.8, alpha=0.8, linestyles="-")
        axes.clabel(lines, fontsize=8, fmt="%.3f")


def _draw_mean(axes: Axes, series: Sequence[tuple[Any, Any]]) -> None:
    """Mean of the steps of all folds, from where each has a score to where the first ends."""
    from_x = max(float(x[0]) for x, _ in series)
    to_x = min(float(x[-1]) for x, _ in series)
    if to_x <= from_x:
        return
    at = np.unique(np.concatenate([x[(x >= from_x) & (x <= to_x)] for x, _ in series]))
    mean = np.mean([best[np.searchsorted(x, at, side="right") - 1] for x, best in series], axis=0)
    axes.step(at, mean, where="post", color=BLUE, linewidth=2)
