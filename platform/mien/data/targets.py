"""Target: what is learnt of each clip, classes or dimensions, as numbers."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mien.corpora.clip import LABEL_SOURCES, Clip, Label, Rating
from mien.corpora.emotions import class_index, classes_of
from mien.errors import ExperimentError, nearest
from mien.experiment import ClassesConfig, DimensionsConfig, TargetConfig
from mien.experiment.target import TargetSpec

NO_CLASS = " is not among the classes"  # how the reason ends for which an emotion is left out
N_BINS = 5  # of a dimension, for random splits


@dataclass(frozen=True, slots=True)
class Target:
    """The target of N clips.

    truth: what is scored, (N,) int64 class indices or (N, K) float32 ratings in [-1, 1], NaN where it was not rated.
    values: (N, K) float32, what is learnt: one-hot or the raters' shares; ratings, 0 where not rated. mask: (N, K)
    bool, False where not rated; of classes True. strata: (N,) int64, what a random split spreads evenly: the class, or
    a bin of the first dimension. merged: emotion that is no class to how many clips of it are counted as one.
    """

    spec: TargetSpec
    truth: NDArray[np.int64] | NDArray[np.float32]
    values: NDArray[np.float32]
    mask: NDArray[np.bool_]
    strata: NDArray[np.int64]
    merged: dict[str, int] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.values)

    def summary(self) -> dict[str, Any]:
        """What a report says of it, as JSON: clips of each class, or of each dimension its clips, mean and sd."""
        if self.spec.kind == "classes":
            counts = np.bincount(self.truth.astype(np.int64), minlength=len(self.spec.names)).tolist()
            return {"class_counts": dict(zip(self.spec.names, counts)), "merged": self.merged}
        rated = {name: self.truth[self.mask[:, k], k] for k, name in enumerate(self.spec.names)}
        return {
            "ratings": {
                name: {"n_clips": len(own), "mean": float(own.mean()), "sd": float(own.std())}
                for name, own in rated.items()
            }
        }


def target_spec(config: TargetConfig) -> TargetSpec:
    """What a model of this target predicts. Raises ExperimentError naming the field that is wrong."""
    if config.source not in LABEL_SOURCES:
        raise ExperimentError(f"target.source {config.source!r}: {nearest(config.source, LABEL_SOURCES)}")
    if isinstance(config, DimensionsConfig):
        return TargetSpec(config.kind, config.names, config.primary)
    try:
        classes = classes_of(config.vocabulary)
    except ValueError as error:
        raise ExperimentError(f"target.vocabulary {config.vocabulary!r}: {error}") from None
    # What is merged where nothing is said is no mistake of classes of one's own.
    for emotion, counted_as in ({} if config.merge == ClassesConfig().merge else config.merge).items():
        if emotion not in classes and counted_as not in classes:
            raise ExperimentError(
                f"target.merge counts {emotion} as {counted_as!r}, which is no class of {config.vocabulary}: "
                f"choose from {', '.join(classes)}"
            )
    return TargetSpec(config.kind, classes, config.primary)


def reason_without_target(clip: Clip, config: TargetConfig) -> str:
    """Why a clip has no target and is left out, "" where it has one."""
    if isinstance(config, DimensionsConfig):
        if not any(name in _ratings(clip, config.source) for name in config.names):
            return f"no {config.source} rating of {' or '.join(config.names)}"
        return ""
    label = _label(clip, config.source)
    if label is None:
        return f"no {config.source} label"
    if class_index(label.emotion, config.vocabulary, config.merge) is None:
        return f"{label.emotion}{NO_CLASS}"
    return ""


def read_target(clips: Sequence[Clip], config: TargetConfig) -> Target:
    """The target of clips that `reason_without_target` leaves in, in their order.

    Raises ExperimentError naming the field that is wrong, or a dimension that none of the clips was rated for.
    """
    spec = target_spec(config)
    return _dimensions(clips, config, spec) if isinstance(config, DimensionsConfig) else _classes(clips, config, spec)


# ------------------------------------------------------------------ classes


def _classes(clips: Iterable[Clip], config: ClassesConfig, spec: TargetSpec) -> Target:
    labels = [_label(clip, config.source) for clip in clips]
    truth = np.array(
        [class_index(label.emotion if label else None, config.vocabulary, config.merge) for label in labels], np.int64
    )
    values = np.eye(len(spec.names), dtype=np.float32)[truth]
    if config.soft:
        for row, label in enumerate(labels):
            shares = np.zeros(len(spec.names), np.float32)
            for emotion, share in label.votes.items() if label else ():
                index = class_index(emotion, config.vocabulary, config.merge)
                if index is not None:
                    shares[index] += share
            if shares.any():  # without votes for one of the classes the majority's class is what there is
                values[row] = shares / shares.sum()
    merged = Counter(str(label.emotion) for label in labels if label and label.emotion not in spec.names)
    return Target(spec, truth, values, np.ones(values.shape, bool), truth, merged=dict(sorted(merged.items())))


def _label(clip: Clip, source: str) -> Label | None:
    """The one of a source that names an emotion; there may be another, of ratings."""
    return next((label for label in clip.labels if label.source == source and label.emotion is not None), None)


# ------------------------------------------------------------------ dimensions


def _dimensions(clips: Iterable[Clip], config: DimensionsConfig, spec: TargetSpec) -> Target:
    ratings = [_ratings(clip, config.source) for clip in clips]
    rows = [[one[name].normalised if name in one else math.nan for name in spec.names] for one in ratings]
    truth = np.array(rows, np.float32).reshape(-1, len(spec.names))
    mask = ~np.isnan(truth)
    for number in np.flatnonzero(~mask.any(axis=0)) if len(truth) else ():
        known = sorted({rated for one in ratings for rated in one})
        raise ExperimentError(
            f"target.names has {spec.names[number]!r}, and no clip has a rating of it from {config.source}: "
            f"{nearest(spec.names[number], known)}"
        )
    return Target(spec, truth, np.where(mask, truth, np.float32(0)), mask, _bins(truth[:, 0]))


def _bins(values: NDArray[np.float32]) -> NDArray[np.int64]:
    """(N,) which fifth of the values that there are each is in, 0 the lowest; N_BINS where there is none."""
    known = values[~np.isnan(values)]
    edges = np.quantile(known, np.arange(1, N_BINS) / N_BINS) if len(known) else np.zeros(0)
    return np.where(np.isnan(values), N_BINS, np.searchsorted(edges, values, side="right")).astype(np.int64)


def _ratings(clip: Clip, source: str) -> dict[str, Rating]:
    """Dimension to rating, of all labels of a source."""
    return {name: one for label in clip.labels if label.source == source for name, one in label.ratings.items()}
