"""What a report of dimensions shows: which metrics, tables and figures. `classes` offers the same of classes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from mien.experiment.target import TargetSpec
from mien.results.history import History
from mien.results.intervals import Scored
from mien.results.json_values import Json
from mien.results.metrics import METRICS, score
from mien.results.predictions import Predicted
from mien.results.report import figures_of_dimensions as figures
from mien.results.report.estimates import estimate
from mien.results.report.page import digits
from mien.results.report.tested import Tested
from mien.results.run import Run, Series

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MAIN = ("ccc", "pearson", "rmse", "mae")  # what models are compared by
MORE: tuple[str, ...] = ()
PARTS = "per_dimension"
LACKING = ("No rating of {}", "Scores are means over the other dimensions.")
GUESS = "guessing the mean"
MEASURES = {
    "ccc": "Concordance correlation (CCC)",
    "pearson": "Pearson's correlation",
    "rmse": "Root mean squared error (RMSE)",
    "mae": "Mean absolute error (MAE)",
}
EXPLAINED = (
    "CCC, concordance correlation: 1 where every prediction equals its rating; a wrong mean or spread lowers it, which "
    "Pearson's r forgives. RMSE and MAE: errors on the ratings' scale, which runs from −1 to 1."
)
METRICS_HERE = METRICS["dimensions"]


def measure(target: TargetSpec) -> str:
    """What the headline is, in words."""
    *names, last = target.names
    of = f"mean of {', '.join(names)} and {last}" if names else f"of {last}"
    return f"{MEASURES[target.primary]}, {of}"


def guess(tested: Tested) -> float:
    """The score of predicting the mean of the ratings, whatever the clip; of a correlation 0."""
    truth = tested.truth[:, (~np.isnan(tested.truth)).any(axis=0)]
    centred = truth - np.nanmean(truth, axis=0)
    by_dimension = {
        "rmse": np.sqrt(np.nanmean(centred**2, axis=0)),
        "mae": np.nanmean(np.abs(centred), axis=0),
    }.get(tested.target.primary, np.zeros(1))
    return float(by_dimension.mean()) if truth.size else np.nan


def parts(tested: Tested) -> Json:
    """Each metric with its interval of each dimension alone, over all seeds; n_clips: those that were rated.

    ccc_of_subjects: CCC of each subject's own clips, by subject; NaN where it is not defined.
    """
    scored = tested.all_seeds()
    truth, prediction = np.asarray(scored.truth), np.asarray(scored.prediction)
    rows = {}
    for k, name in enumerate(tested.target.names):
        alone = Scored(truth[:, [k]], prediction[:, [k]], scored.subjects)
        rows[name] = {
            **{key: estimate(alone, metric) for key, metric in METRICS_HERE.items()},
            "n_clips": int(np.sum(~np.isnan(tested.truth[:, k]))),
            "ccc_of_subjects": _ccc_of_subjects(alone),
        }
    return rows


def more_scores(tested: Tested) -> Json:
    return {}


def files(tested: Tested) -> dict[str, Json]:
    """Name to JSON, beside metrics.json, which holds all there is."""
    return {}


def draw(tested: Tested, summary: Json, baseline: Tested | None) -> dict[str, Figure]:
    """Name to figure. Predictions are those of the seeds as one model, so that a clip is one dot."""
    names = tested.target.names
    by_subject = {
        name: [value for value in summary[PARTS][name]["ccc_of_subjects"].values() if value is not None]
        for name in names
    }
    overall = {name: _number(summary[PARTS][name]["ccc"]["value"]) for name in names}
    return {
        "predicted_against_rated_test": figures.predicted_against_rated(
            tested.truth, np.asarray(tested.ensemble().prediction), names
        ),
        "agreement_of_subjects": figures.agreement_of_subjects(by_subject, overall, METRICS_HERE["ccc"].label),
    }


def alts(summary: Json) -> dict[str, str]:
    """What each figure shows, for those who do not see it."""
    rows = summary[PARTS].items()
    agreed = ", ".join(f"{name} {digits(row['ccc']['value'])}" for name, row in rows)
    spread = "; ".join(f"{name} {_span(list(row['ccc_of_subjects'].values()))}" for name, row in rows)
    return {
        "predicted_against_rated_test": f"Predicted against rated, a panel per dimension. CCC: {agreed}.",
        "agreement_of_subjects": f"CCC of each subject's own clips. {spread}.",
    }


def page_values(series: Series, tested: Tested, summary: Json) -> Json:
    """What report_of_dimensions.html shows besides the summary."""
    n_seeds = len(tested.seeds)
    return {
        "part_metrics": [(key, METRICS_HERE[key].label) for key in MAIN],
        "scatter_caption": "Test clips; dashed: prediction equals rating."
        + (f" The prediction of a clip is the mean of {n_seeds} seeds." if n_seeds > 1 else ""),
        "target_caption": "Ratings by dimension, on a scale from −1 to 1.",
        "target_head": ["Dimension", "Clips rated", "Mean", "Standard deviation"],
        "target_rows": [
            (name, f"{row['n_clips']:,}", digits(row["mean"]), digits(row["sd"]))
            for name, row in series.data.get("ratings", {}).items()
        ],
    }


def scaled(run: Run, tested: Predicted) -> Json | None:
    """None: a prediction of a dimension has no confidence."""
    return None


def draw_run(sides: Mapping[str, Predicted], target: TargetSpec, scaled: Json | None) -> dict[str, Figure]:
    """Name to figure, of one run; a side without clips has none."""
    return {
        f"predicted_against_rated_{side}": figures.predicted_against_rated(p.truth, p.values, target.names)
        for side, p in sides.items()
        if len(p.truth)
    }


def draw_history(history: History, target: TargetSpec) -> dict[str, Figure]:
    return {}


def run_files(sides: Mapping[str, Predicted], target: TargetSpec) -> dict[str, Json]:
    return {}


def run_values(tested: Predicted, target: TargetSpec, scaled: Json | None) -> Json:
    """What the page of one run shows of each dimension."""
    head, rows = part_table(tested, target)
    return {
        "shown": "predicted_against_rated_test",
        "shown_alt": "Predicted against rated, test clips.",
        "shown_caption": "Test clips; dashed: prediction equals rating.",
        "part_caption": "Test clips by dimension.",
        "part_head": head,
        "part_rows": rows,
    }


def part_table(tested: Predicted, target: TargetSpec) -> tuple[list[str], list[tuple[Any, ...]]]:
    """Head and rows of a table of the dimensions."""
    rows = [
        (
            name,
            *(digits(_none(score(METRICS_HERE[key], tested.truth[:, [k]], tested.values[:, [k]]))) for key in MAIN),
            int(np.sum(~np.isnan(tested.truth[:, k]))),
        )
        for k, name in enumerate(target.names)
    ]
    return ["Dimension", *(METRICS_HERE[key].label for key in MAIN), "Clips rated"], rows


def both_sure(tested: Predicted, scaled: Json | None) -> str:
    return ""


def _ccc_of_subjects(scored: Scored) -> dict[str, float]:
    truth, prediction, subjects = map(np.asarray, scored)
    return {
        str(subject): score(METRICS_HERE["ccc"], truth[subjects == subject], prediction[subjects == subject])
        for subject in np.unique(subjects)
    }


def _span(values: list[float | None]) -> str:
    known = [value for value in values if value is not None]
    return f"from {digits(min(known))} to {digits(max(known))}" if known else "not defined"


def _number(value: float | None) -> float:
    return np.nan if value is None else value


def _none(value: float) -> float | None:
    return None if np.isnan(value) else value
