"""Telemetry: counts and states of a job as Ray exports them to Prometheus, docs/how-to/watch-a-run.md.

Counters only ever grow, and rates are the reader's business (`rate(mien_clips_total[5m])`), as Prometheus advises
(https://prometheus.io/docs/practices/naming/). Ray puts "ray_" before each name. Nothing happens, and ray is not even
imported, in a process that no Ray runs in.
"""

from __future__ import annotations

import sys
from functools import cache
from typing import Any, NamedTuple


class Declared(NamedTuple):
    """kind: Counter or Gauge, of ray.util.metrics."""

    kind: str
    labels: tuple[str, ...]
    meaning: str


# Each combination of labels is a series that Prometheus keeps: a clip or a subject must never be one.
_FEATURE = ("corpus", "feature")
_RUN = ("experiment", "run")  # run: <signature>/seed-<n>/fold-<k>, or fold-<k>/<signature> of a trial
DECLARED = {
    "mien_clips_total": Declared("Counter", _FEATURE, "Clips that ended as a row or as a reject"),
    "mien_rejects_total": Declared("Counter", (*_FEATURE, "reason"), "Clips that ended as a reject, by reason"),
    "mien_extraction_seconds_total": Declared("Counter", _FEATURE, "Seconds that workers spent on those clips"),
    "mien_clips_left": Declared("Gauge", _FEATURE, "Clips of the corpus that are still to do"),
    "mien_samples_total": Declared("Counter", ("experiment",), "Clips trained on, augmented copies included"),
    "mien_epoch_seconds_total": Declared("Counter", ("experiment",), "Seconds of whole epochs, validation included"),
    "mien_data_wait_seconds_total": Declared("Counter", ("experiment",), "Of these, seconds until batches were made"),
    "mien_checkpoint_seconds_total": Declared("Counter", ("experiment",), "Seconds until checkpoints were safe"),
    "mien_checkpoints_total": Declared("Counter", ("experiment",), "Checkpoints written"),
    "mien_epoch": Declared("Gauge", _RUN, "Epochs that a run has trained"),
    "mien_train_loss": Declared("Gauge", _RUN, "Training loss of its last epoch"),
    "mien_validation_score": Declared("Gauge", (*_RUN, "score"), "Validation score of its last epoch, by its name"),
}


def add(name: str, amount: float, **labels: str) -> None:
    """Let a counter grow."""
    if amount > 0 and _is_wanted():
        _metric(name).inc(amount, labels)


def put(name: str, value: float | None, **labels: str) -> None:
    """Set a gauge; None leaves it as it is."""
    if value is not None and _is_wanted():
        _metric(name).set(value, labels)


def _is_wanted() -> bool:
    ray = sys.modules.get("ray")
    return ray is not None and bool(ray.is_initialized())


@cache
def _metric(name: str) -> Any:
    from ray.util import metrics

    declared = DECLARED[name]
    return getattr(metrics, declared.kind)(name, declared.meaning, declared.labels)
