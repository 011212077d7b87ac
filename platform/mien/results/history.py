"""The history of a run: a record per epoch, and the one rule of which epoch is best.

A record holds epoch (from 1), learning_rate (of the last step), train_loss, n_samples, seconds, data_s, samples_per_s,
and what `validation` returns: score and score_name (the target's primary metric on the validation clips),
validation_loss, validation_<metric> for each metric of the target's kind, and of classes validation_confusion. None
stands for what is not defined, and everywhere where there was no validation clip. Because nothing else is remembered, a
resumed run decides exactly as an uninterrupted one.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from mien.experiment.loss import LossConfig
from mien.experiment.target import TargetSpec
from mien.results.classification import confusion
from mien.results.json_values import Json, as_json
from mien.results.metrics import METRICS, metric_named, score
from mien.results.scoring import is_defined

Record = Mapping[str, Any]
History = Sequence[Record]

CLOCKED = ("seconds", "data_s", "samples_per_s")  # what is another number each time


def validation(target: TargetSpec, loss: LossConfig, truth: ArrayLike | None, prediction: ArrayLike | None) -> Json:
    """What a record says of the validation clips. truth, prediction: as in `mien.results.scoring`; None: no clips.

    validation_loss: of classes the NLL, in nats; of dimensions 1 - CCC where that is the loss, else the mean squared
    error over all ratings. validation_confusion: of classes K lists of K counts, a row per true class.
    """
    metrics = METRICS[target.kind]
    counts = None
    if truth is None or prediction is None:
        scores = dict.fromkeys(metrics, math.nan)
    else:
        scores = {name: score(metric, truth, prediction) for name, metric in metrics.items()}
        if target.kind == "classes" and is_defined(np.asarray(prediction)):
            counts = confusion(truth, prediction)
    if target.kind == "classes":
        validation_loss = scores["nll"]
    else:
        validation_loss = 1 - scores["ccc"] if loss.kind == "ccc" else _mean_square(truth, prediction)
    record: Json = {"score": scores[target.primary], "score_name": target.primary, "validation_loss": validation_loss}
    record |= {f"validation_{name}": value for name, value in scores.items()}
    return as_json(record | ({"validation_confusion": counts} if target.kind == "classes" else {}))


def best_record(history: History) -> Record | None:
    """The record of the best score; of equals the one of the lower validation_loss, of those again the first.

    Better is higher or lower as its metric is. An epoch without a score never wins; None where none has one.

    >>> same = {"score_name": "rmse", "validation_loss": 1.0}
    >>> best_record([{"epoch": 1, "score": 0.4, **same}, {"epoch": 2, "score": 0.3, **same}])["epoch"]
    2
    """
    scored = [record for record in history if is_number(record["score"])]
    return min(scored, key=_rank, default=None)


def kept_record(history: History, keep: str) -> Record | None:
    """The record of the epoch that a run is tested with, and that a trial competes by. None before the first epoch.

    keep: "best", the best one, or the last where no epoch has a score; or "last".
    """
    last = history[-1] if history else None
    return last if keep == "last" else best_record(history) or last


def _mean_square(truth: ArrayLike | None, prediction: ArrayLike | None) -> float:
    if truth is None or prediction is None:
        return math.nan
    rated = ~np.isnan(truth)
    off = np.asarray(truth, np.float64)[rated] - np.asarray(prediction, np.float64)[rated]
    return float(np.mean(off**2)) if off.size else math.nan


def _rank(record: Record) -> tuple[float, float, int]:
    """The best first."""
    loss = record["validation_loss"]
    return (
        -metric_named(record["score_name"]).key(record["score"]),
        loss if is_number(loss) else math.inf,
        record["epoch"],
    )


def is_number(value: float | None) -> bool:
    """Whether a score is one: None and NaN are none."""
    return value is not None and math.isfinite(value)
