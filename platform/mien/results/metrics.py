"""The metrics by kind of target, and all of them together as JSON. All formulas: docs/reference/metrics.md.

A metric that is not defined is NaN, never a guess: no rows, or a prediction that is not finite because the model
diverged. Every metric here is a function of sums over rows (`mien.results.scoring`), which is what its interval is made
of (`mien.results.intervals`).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mien.experiment.target import TargetSpec
from mien.results import agreement, calibration, classification
from mien.results.json_values import Json, as_json
from mien.results.scoring import Metric, checked_rows, score

__all__ = ["METRICS", "Metric", "evaluate", "metric_named", "score"]

METRICS: dict[str, dict[str, Metric]] = {
    "classes": {
        "uar": classification.UAR,
        "wa": classification.WA,
        "macro_f1": classification.MACRO_F1,
        "nll": calibration.NLL,
        "brier": calibration.BRIER,
        "ece": calibration.ECE,
    },
    "dimensions": {
        "ccc": agreement.CCC,
        "pearson": agreement.PEARSON,
        "rmse": agreement.RMSE,
        "mae": agreement.MAE,
    },
}
N_COVERAGES = 20


def metric_named(name: str) -> Metric:
    """A metric by its key, which is of one kind only. KeyError where there is none.

    >>> metric_named("rmse").higher_is_better
    False
    """
    return {key: metric for metrics in METRICS.values() for key, metric in metrics.items()}[name]


def evaluate(target: TargetSpec, truth: ArrayLike, prediction: ArrayLike) -> Json:
    """All metrics of a target's kind as JSON values: Python numbers and lists, None for what is not defined.

    truth, prediction: as in `mien.results.scoring`, (N, K) predictions in the order of target.names. n: rows.
    n_undefined: rows with a prediction that is not finite; where there is one, everything else is None.

    Of classes also per_class, confusion, aurc, reliability and risk_coverage (read off at 20 even coverages). Of
    dimensions per_dimension: the metrics of each alone, and n_rated, the rows where it was rated.
    """
    truth, prediction = checked_rows(truth, prediction)
    if prediction.ndim != 2 or prediction.shape[1] != len(target.names):
        raise ValueError(f"predictions {prediction.shape} of {', '.join(target.names)}")
    n_undefined = int(np.sum(~np.isfinite(prediction).all(axis=1)))
    scores = {name: score(metric, truth, prediction) for name, metric in METRICS[target.kind].items()}
    parts = {"classes": _of_classes, "dimensions": _of_dimensions}[target.kind]
    return as_json({"n": len(truth), "n_undefined": n_undefined, **scores, **parts(target, truth, prediction)})


def _of_classes(target: TargetSpec, truth: NDArray[Any], probabilities: NDArray[Any]) -> Json:
    result: Json = {"aurc": calibration.aurc(truth, probabilities)}
    if not np.isfinite(probabilities).all():
        return result | dict.fromkeys(("per_class", "confusion", "reliability", "risk_coverage"))
    by_class = classification.per_class(truth, probabilities)
    result["per_class"] = {
        name: {what: values[k] for what, values in by_class.items()} for k, name in enumerate(target.names)
    }
    result["confusion"] = classification.confusion(truth, probabilities)
    result["reliability"] = calibration.reliability(truth, probabilities)
    n = len(truth)
    answered = np.ceil(np.arange(1, N_COVERAGES + 1) / N_COVERAGES * n).astype(int) if n else np.array([], int)
    curve = calibration.risk_coverage(truth, probabilities)
    result["risk_coverage"] = {what: values[answered - 1] for what, values in curve.items()}
    return result


def _of_dimensions(target: TargetSpec, truth: NDArray[Any], prediction: NDArray[Any]) -> Json:
    if not np.isfinite(prediction).all():
        return {"per_dimension": None}
    return {
        "per_dimension": {
            name: {
                key: score(metric, truth[:, [k]], prediction[:, [k]]) for key, metric in METRICS["dimensions"].items()
            }
            | {"n_rated": int(np.sum(~np.isnan(truth[:, k])))}
            for k, name in enumerate(target.names)
        }
    }
