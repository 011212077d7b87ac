"""Estimates: scores with their intervals over subjects, and differences of two models, as JSON."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mien.results.intervals import Scored, paired_subject_bootstrap, subject_bootstrap
from mien.results.json_values import Json
from mien.results.metrics import Metric, score


@dataclass(frozen=True, slots=True)
class Bootstrap:
    """How intervals are made. n_resamples: of a score; an interval's end then moves by about 0.001 from one seed to
    another. n_paired: of a difference, whose p-value cannot fall below 2 / (n_paired + 1)."""

    n_resamples: int = 2000
    n_paired: int = 10_000
    seed: int = 0
    level: float = 0.95

    def estimate(self, scored: Scored, metric: Metric) -> Json:
        """value, low and high of one metric."""
        low, high = subject_bootstrap(scored, metric, self.n_resamples, self.seed, self.level)
        return {"value": score(metric, scored.truth, scored.prediction), "low": low, "high": high}

    def difference(self, mine: Scored, theirs: Scored, metric: Metric) -> Json:
        """Mine minus theirs on the same clips, over the same resamples of subjects: value, low, high, p_value."""
        return paired_subject_bootstrap(mine, theirs, metric, self.n_paired, self.seed, self.level)._asdict()

    def to_json(self) -> Json:
        return {
            "level": self.level,
            "over": "subjects",
            "method": "percentile bootstrap",
            "n_resamples": self.n_resamples,
            "n_resamples_of_differences": self.n_paired,
            "seed": self.seed,
        }


BOOTSTRAP = Bootstrap()


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
