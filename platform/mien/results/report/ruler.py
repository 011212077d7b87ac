"""Ruler: the headline's score on its scale, beside the baseline's and a guess, as places along a line."""

from __future__ import annotations

import math
from collections.abc import Sequence

from mien.results.json_values import Json
from mien.results.metrics import Metric, metric_named
from mien.results.report.page import digits


def ruler(summary: Json, guess_label: str) -> Json | None:
    """Places in percent of the line: {"dot", "band": (left, width) or None, "ticks": [(place, kind, label)], "ends"}.

    None where the score is not defined. The line goes from 0 to the best score, from the worst one where something
    below 0 stands on it; of errors from 0 to a little more than the largest.
    """
    name = summary["score_name"]
    metric, test, base = metric_named(name), summary["test"][name], summary["baseline"]
    if test["value"] is None:
        return None
    ticks = [(summary["guess"], "", guess_label)] if summary["guess"] is not None else []
    if base and base[name]["value"] is not None:
        ticks.insert(0, (base[name]["value"], "baseline", "baseline"))
    values = [v for v in (test["value"], test["low"], test["high"], *(tick[0] for tick in ticks)) if v is not None]
    left, right = ends(metric, values)

    def place(value: float) -> float:
        return 100 * (min(max(value, left), right) - left) / (right - left)

    band = None
    if test["low"] is not None:
        band = place(test["low"]), place(test["high"]) - place(test["low"])
    return {
        "dot": place(test["value"]),
        "band": band,
        "ticks": [(place(value), kind, f"{label} {digits(value)}") for value, kind, label in ticks],
        "ends": (f"{left:g}".replace("-", "−"), f"{right:g}"),
    }


def ends(metric: Metric, values: Sequence[float]) -> tuple[float, float]:
    """Of the axis of a score: 0, or the worst score where a value is below 0, and the best; of errors 0 and a little
    more than the largest."""
    if not metric.higher_is_better:
        return 0.0, max(0.1, math.ceil(10 * max(values)) / 10)
    return (metric.worst if min(values) < 0 else 0.0), metric.best
