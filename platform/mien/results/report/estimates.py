"""Estimates: scores with their intervals over subjects, differences of two models, and what these allow to say."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from mien.results.intervals import MOST_FLIPPED, N_FLIPS, Scored, holm, subject_difference, subject_interval
from mien.results.json_values import Json, as_json
from mien.results.metrics import Metric, score

ALPHA = 0.05
# With fewer, all differences of one sign still give p = 2 / 2^5 = 0.0625: nothing can be shown.
FEWEST_SUBJECTS = 6

# How intervals are made, for metrics.json.
INTERVAL: Json = {
    "level": 1 - ALPHA,
    "over": "subjects",
    "method": "jackknife, t",
    "p_values": "sign flips",
    "n_flips": N_FLIPS,
    "all_flips_up_to": MOST_FLIPPED,
}

Standing = Literal["clear", "hint", "open", "few", "untold"]


def estimate(scored: Scored, metric: Metric) -> Json:
    """value, low and high of one metric."""
    low, high = subject_interval(scored, metric)
    return {"value": score(metric, scored.truth, scored.prediction), "low": low, "high": high}


def difference(mine: Scored, theirs: Scored, metric: Metric) -> Json:
    """Mine minus theirs on the same clips: value, low, high, p_value, n_subjects."""
    return as_json(subject_difference(mine, theirs, metric)._asdict())


def correct(family: Sequence[Json]) -> None:
    """Give each difference of a family its p_adjusted, so that all of them hold together (Holm)."""
    p_values = [math.nan if one["p_value"] is None else one["p_value"] for one in family]
    for one, p_adjusted in zip(family, holm(p_values), strict=True):
        one["p_adjusted"] = as_json(p_adjusted)


def standing(difference: Mapping[str, Any]) -> Standing:
    """What a difference allows to say.

    clear: its interval leaves out 0, and p_adjusted is below 0.05. hint: the interval alone. open: it holds 0.
    few: fewer than six subjects, who can show nothing. untold: no interval: one subject, or subjects all alike.

    >>> standing({"low": 0.01, "high": 0.05, "p_adjusted": 0.0625, "n_subjects": 5})
    'few'
    """
    if difference["low"] is None:
        return "untold"
    if difference["n_subjects"] < FEWEST_SUBJECTS:
        return "few"
    if difference["low"] <= 0 <= difference["high"]:
        return "open"
    return "clear" if difference["p_adjusted"] < ALPHA else "hint"


def least_p(n_subjects: int) -> float:
    """The smallest p that the sign-flip test can give.

    >>> least_p(5)
    0.0625
    """
    return 2 / 2**n_subjects


def gain(difference: Mapping[str, Any], metric: Metric) -> Json:
    """A difference turned so that more is better: of errors its negative, the ends of the interval swapped.

    >>> from mien.results.metrics import METRICS
    >>> gain({"value": -0.2, "low": -0.3, "high": 0.1, "p_value": 0.2}, METRICS["dimensions"]["rmse"])
    {'value': 0.2, 'low': -0.1, 'high': 0.3, 'p_value': 0.2}
    """
    if metric.higher_is_better:
        return dict(difference)
    value, low, high = (None if difference[k] is None else -difference[k] for k in ("value", "low", "high"))
    return {**difference, "value": value, "low": high, "high": low}


def with_interval(scored: Mapping[str, float | None], *, signed: bool = False) -> str:
    """A score and its interval as text.

    >>> with_interval({"value": 0.61234, "low": 0.55, "high": 0.671}), with_interval({"value": None})
    ('0.612 [0.550, 0.671]', 'not defined')
    """
    if scored["value"] is None:
        return "not defined"
    sign = "+" if signed else ""
    if scored["low"] is None or scored["high"] is None:
        return f"{scored['value']:{sign}.3f} [no interval]"
    return f"{scored['value']:{sign}.3f} [{scored['low']:{sign}.3f}, {scored['high']:{sign}.3f}]"
