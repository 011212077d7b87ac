"""Parents: the predictions of finished runs, as inputs of another one.

A run may build on others (a late fusion, a meta-classifier). In each fold it learns only from what its parents
predicted of clips that they had not learned from: their validation clips. The other out-of-fold predictions, those of
the other folds, come from models that have seen this fold's test people, and would carry their labels into what is
tested on them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mien.data.columns import Column, InMemory
from mien.data.splits import SIDES, Split
from mien.errors import ExperimentError, LeakError
from mien.experiment import Experiment
from mien.experiment.target import TargetSpec
from mien.features.spec import FeatureSpec, Frames
from mien.results.predictions import read_predictions
from mien.results.run import Run


def split_record(split: Split, clip_ids: Sequence[str], subjects: Sequence[str]) -> dict[str, Any]:
    """A split as split.json of a run: of each side its clips, by number and by a hash of their ids, and its
    subjects."""
    return {
        "name": split.name,
        **{
            side: {
                "n_clips": len(rows),
                "clip_ids_sha256": _hash([clip_ids[row] for row in rows]),
                "subjects": sorted({subjects[row] for row in rows}),
            }
            for side in SIDES
            for rows in [getattr(split, side)]
        },
    }


def parent_columns(
    parents: Sequence[Run], split: Split, clip_ids: Sequence[str]
) -> tuple[dict[str, Column], NDArray[np.int64]]:
    """A column per parent, named as its experiment, and the rows that may be learned from.

    parents: a finished run each, of the fold of the split. Each row of a column is one frame: the parent's class
    probabilities, or its dimensions; clips that it was trained on have none. Raises LeakError where a parent was
    trained on another split, ExperimentError where it held no clips back to validate on.
    """
    columns: dict[str, Column] = {}
    trains = split.validation
    for run in parents:
        experiment = Experiment.from_json(run.folder.read_json("experiment.json"), run.folder.path("experiment.json"))
        name = experiment.name
        if name in columns:
            raise ExperimentError(f"parents: two are called {name}: name one of them otherwise")
        _check_split(run, name, split, clip_ids)
        target = TargetSpec(**run.folder.read_json("model/recipe.json")["target"])
        validated = read_predictions(run, target, "validation")
        if not len(validated.clip_ids):
            raise ExperimentError(
                f"parents: {name} was trained on its validation clips too, so it predicted none that it had not "
                "learned from: train it with training.keep best"
            )
        tested = read_predictions(run, target, "test")
        values = {
            str(clip_id): row.astype(np.float32)
            for side in (validated, tested)
            for clip_id, row in zip(side.clip_ids, side.values)
        }
        spec = FeatureSpec(
            name=name,
            version=1,
            modality="prediction",
            shape=(len(target.names),),
            hop_s=None,
            columns=tuple(target.names),
        )
        columns[name] = InMemory(spec, [_frame(values.get(clip_id)) for clip_id in clip_ids])
    return columns, trains


def _frame(values: NDArray[np.float32] | None) -> Frames | None:
    return None if values is None else Frames(values[None], np.ones(1, bool))


def _check_split(run: Run, name: str, split: Split, clip_ids: Sequence[str]) -> None:
    there = run.folder.read_json("split.json")
    for side in SIDES:
        if there[side]["clip_ids_sha256"] != _hash([clip_ids[row] for row in getattr(split, side)]):
            raise LeakError(
                f"parents: {name} has another {side} side in {split.name}: it may have learned from what is tested "
                "here. Give both the same corpora, target, protocol and missing clips"
            )


def _hash(clip_ids: Sequence[str]) -> str:
    return hashlib.sha256("\n".join(sorted(clip_ids)).encode()).hexdigest()
