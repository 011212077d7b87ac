"""Conditions: what a trained model makes of its test clips when inputs are missing, noisy, or dropout is drawn.

A pass is one prediction of the test clips, a third of what an epoch over as many costs. With M modalities there are
2^M - 2 passes with some hidden, one for each level of noise, and one for each draw: 27 of two modalities, 31 of three.
Of pictures, where a pass is dear, fewer: 9 of two modalities.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from mien.data import disturb
from mien.data.batches import stable_seed
from mien.families.contract import Family
from mien.features.spec import FeatureSpec, Frames
from mien.results.conditions import Condition, Conditioned
from mien.results.uncertainty import entropy

if TYPE_CHECKING:
    from mien.training.loop import Training

LEVELS, FEW_LEVELS = (0.1, 0.2, 0.5, 1.0, 2.0), (0.5, 2.0)  # of noise
DRAWS, FEW_DRAWS = 20, 5
MOST_MODALITIES = 5  # of which all subsets are asked for: 30 passes; of more, each alone and each left out


def planned(family: Family, specs: Mapping[str, FeatureSpec]) -> list[Condition]:
    """The conditions of a model with these inputs."""
    modalities = tuple(disturb.modalities_of(specs))
    dear = not all(spec.is_numeric for spec in specs.values())
    found = [Condition(hidden=names) for names in _hidden(modalities)] if family.can_miss else []
    if any(map(disturb.takes_noise, specs.values())):
        found += [Condition(noise=level) for level in (FEW_LEVELS if dear else LEVELS)]
    if family.has_dropout:
        found.append(Condition(draws=FEW_DRAWS if dear else DRAWS))
    return found


def predict_conditions(training: Training, family: Family, rows: NDArray[np.int64]) -> dict[Condition, Conditioned]:
    """What a run's model, as it is tested, predicts of these rows under each condition; the same on every rank.

    Draws are left out where no two differ: the model drops nothing.
    """
    modalities = disturb.modalities_of(training.dataset.specs)
    found: dict[Condition, Conditioned] = {}
    for condition in planned(family, training.dataset.specs):
        if condition.draws:
            drawn = _drawn(training, rows, condition.draws)
            found |= {} if drawn is None else {condition: drawn}
        elif len(condition.hidden) == len(modalities):
            found[condition] = Conditioned(np.tile(prior(training), (len(rows), 1)))
        else:
            found[condition] = Conditioned(training.predict(rows, _change(training, condition)).astype(np.float64))
    return found


def prior(training: Training) -> NDArray[np.float64]:
    """(K,) what is known of a clip without looking at it: the share of each class among the clips that were learned
    from, or the mean of their ratings, 0 of a dimension without any. Of a fixed rule, which learns from none, even."""
    target, rows = training.dataset.target, training.train
    if target.spec.kind == "classes":
        n_classes = len(target.spec.names)
        if not len(rows):
            return np.full(n_classes, 1 / n_classes)
        return np.bincount(target.truth[rows].astype(np.int64), minlength=n_classes) / len(rows)
    mask = target.mask[rows]
    totals = np.where(mask, target.values[rows], 0).sum(axis=0, dtype=np.float64)
    return totals / np.maximum(mask.sum(axis=0), 1)


def _hidden(modalities: Sequence[str]) -> Iterator[tuple[str, ...]]:
    """What is hidden: every subset but the empty one, in the order of the inputs; none of a single modality."""
    n = len(modalities)
    if n < 2:
        return
    for size in range(1, n + 1):
        if n <= MOST_MODALITIES or size in (1, n - 1, n):
            yield from combinations(modalities, size)


def _change(training: Training, condition: Condition) -> disturb.Change:
    specs, clip_ids, seed = training.dataset.specs, training.dataset.clip_ids, training.task.seed
    modalities = disturb.modalities_of(specs)
    names = {name for modality in condition.hidden for name in modalities[modality]}

    def change(row: int, frames: Mapping[str, Frames]) -> Mapping[str, Frames]:
        if condition.noise:
            return disturb.noisy(frames, condition.noise, specs, seed, clip_ids[row])
        return disturb.hidden(frames, names, specs)

    return change


def _drawn(training: Training, rows: NDArray[np.int64], n_draws: int) -> Conditioned | None:
    """Mean of the draws, and what they differ by. Each batch is made once and predicted n times."""
    task, is_of_classes = training.task, training.task.target.kind == "classes"
    values = np.zeros((len(rows), len(task.target.names)), np.float32)
    within = np.zeros((len(rows), 1 if is_of_classes else len(task.target.names)), np.float32)
    for number, batch in enumerate(training.feed.plain(rows)):
        seeds = [stable_seed("draw", task.seed, number, draw) for draw in range(n_draws)]
        predicted = [training.learner.predict([batch], dropout=seed) for seed in seeds]
        draws = np.stack([one.values for one in predicted]).astype(np.float64)
        own = np.searchsorted(rows, predicted[0].rows)
        values[own] = draws.mean(axis=0)
        within[own] = entropy(draws).mean(axis=0)[:, None] if is_of_classes else draws.var(axis=0)
        apart = np.array([np.ptp(draws, axis=0).max(initial=0)], np.float32)
        if number == 0 and not task.group.sum(apart)[0]:
            return None
    return Conditioned(*(task.group.sum(array).astype(np.float64) for array in (values, within)))
