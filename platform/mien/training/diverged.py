"""A loss that is not finite, in one sentence: which batch, which clips, and what to try."""

from __future__ import annotations

import math

import numpy as np

from mien.data.dataset import Dataset
from mien.data.feed import Feed
from mien.errors import DivergedError
from mien.experiment import Experiment
from mien.families.contract import NotFiniteError
from mien.features.spec import Frames
from mien.results.run import Run

N_NAMED = 32  # clips of a batch that a message names


def diverged(
    run: Run, experiment: Experiment, dataset: Dataset, feed: Feed, epoch: int, error: NotFiniteError
) -> DivergedError:
    """What a NotFiniteError of an epoch stands for; the same on every rank, each of which makes the whole batch again.

    Inputs that are not finite are told apart from a model that diverged on finite ones.
    """
    order = feed.order(epoch)
    number = round(error.batch.progress * len(order))
    examples = order[number]
    what = "gradient" if math.isfinite(error.loss) else "loss"
    value = "" if math.isfinite(error.loss) else f" ({error.loss})"
    reason = f"the {what} of epoch {epoch}, batch {number + 1} of {len(order)}, is not finite{value}"
    where, clips = str(run.folder), [dataset.clip_ids[row] for row in examples.rows]
    broken = {
        name
        for row, copy in zip(examples.rows.tolist(), examples.copies.tolist())
        for name, frames in feed.frames(row, copy, epoch).items()
        if dataset.specs[name].is_numeric and not _is_finite(frames)
    }
    if broken:
        # One clip may be the cause of many: columns are standardised over all of them.
        causes = {name: _not_finite(dataset, name) or clips for name in dataset.columns if name in broken}
        told = ", and ".join(f"{name} of {_named(some)}" for name, some in causes.items())
        return DivergedError(
            where, reason, f"inputs are not finite: {told}; prepare these features again, or leave these clips out"
        )
    training = experiment.training
    clip_norm = f"lower training.clip_norm ({training.clip_norm:g})" if training.clip_norm else "set training.clip_norm"
    return DivergedError(
        where,
        reason,
        f"all inputs are finite, so the model diverged: lower training.learning_rate ({training.learning_rate:g}), "
        f"{clip_norm}, or look at the clips of this batch: {_named(clips)}",
    )


def _is_finite(frames: Frames) -> bool:
    return bool(np.isfinite(frames.values[frames.valid]).all())


def _not_finite(dataset: Dataset, name: str) -> list[str]:
    """The clips whose frames of a feature are not finite, as they are stored."""
    column = dataset.columns[name]
    return [clip for row, clip in enumerate(dataset.clip_ids) if not _is_finite(column[row])]


def _named(clip_ids: list[str]) -> str:
    """
    >>> _named(["a", "b", "a"])
    'a, b'
    """
    clips = list(dict.fromkeys(clip_ids))  # a clip and its copies once
    rest = f" and {len(clips) - N_NAMED} more" if len(clips) > N_NAMED else ""
    return ", ".join(clips[:N_NAMED]) + rest
