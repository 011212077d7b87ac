"""What a table says that clips show, held against what was predicted of them."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mien.corpora.clip import Clip, Label
from mien.corpora.emotions import class_index
from mien.experiment import ClassesConfig
from mien.experiment.protocol import is_unknown
from mien.experiment.target import TargetSpec
from mien.results.intervals import Scored, subject_interval
from mien.results.metrics import METRICS, evaluate

MERGE = ClassesConfig().merge  # calm is counted as neutral where the model has no class calm


def truth_of(clip: Clip, target: TargetSpec) -> NDArray[np.float64] | int | None:
    """The index of the class that a clip is labelled with, or its (K,) ratings in [-1, 1], NaN where it has none; None
    where it has no label that this target can be scored against."""
    if target.kind == "classes":
        emotion = _emotion(clip)
        return None if emotion is None else class_index(emotion, ",".join(target.names), MERGE)
    ratings = {name: one.normalised for label in clip.labels for name, one in label.ratings.items()}
    values = np.array([ratings.get(name, math.nan) for name in target.names])
    return None if np.isnan(values).all() else values


def unknown_words(clips: Sequence[Clip], target: TargetSpec) -> Counter[str]:
    """Emotions of the labels that are no class of the target, with the number of clips."""
    if target.kind != "classes":
        return Counter()
    words = (emotion for clip in clips if (emotion := _emotion(clip)) and truth_of(clip, target) is None)
    return Counter(words)


def scores(
    truths: Sequence[NDArray[np.float64] | int | None],
    values: NDArray[np.floating[Any]],
    subjects: Sequence[str],
    target: TargetSpec,
) -> dict[str, Any] | None:
    """All metrics of the clips that have a label and an answer, with the interval of the main one over people.

    truths: of N clips, as `truth_of` gives them. values: (N, K), NaN where there is no answer. None where no clip has
    both. interval: [low, high] at 95 %, None where fewer than two people are named.
    """
    rows = [row for row, truth in enumerate(truths) if truth is not None and np.isfinite(values[row]).all()]
    if not rows:
        return None
    truth = np.array([truths[row] for row in rows])
    found = evaluate(target, truth, values[rows])
    people = [subjects[row] for row in rows]
    interval = None
    if len({person for person in people if not is_unknown(person)}) > 1 and not any(map(is_unknown, people)):
        low, high = subject_interval(Scored(truth, values[rows], people), METRICS[target.kind][target.primary])
        interval = None if math.isnan(low) else [low, high]
    return {"primary": target.primary, "interval": interval, "n_subjects": len(set(people)), **found}


def _emotion(clip: Clip) -> str | None:
    labels: list[Label] = [label for label in clip.labels if label.emotion is not None]
    return labels[0].emotion if labels else None
