"""Parents: the predictions of finished runs, as inputs of another one.

A run may build on others (a late fusion, a meta-classifier). In each fold it learns only from what its parents
predicted of clips that they had not learned from: their validation clips. The other out-of-fold predictions, those of
the other folds, come from models that have seen this fold's test people, and would carry their labels into what is
tested on them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mien.data.columns import Column, InMemory
from mien.data.splits import Split
from mien.data.units import SIDES
from mien.errors import DamagedError, ExperimentError, LeakError
from mien.experiment import Experiment
from mien.features.spec import FeatureSpec, Frames
from mien.results.predictions import SIDES as PREDICTED
from mien.results.predictions import read_predictions
from mien.results.run import Run, declared, target_spec
from mien.results.shapes import Targeted


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
    parents: Sequence[Run],
    split: Split,
    clip_ids: Sequence[str],
    taken: Collection[str] = (),
    *,
    learns: bool = True,
) -> tuple[dict[str, Column], NDArray[np.int64]]:
    """A column per parent, named as its experiment, and the rows that may be learned from.

    parents: a finished run each, of the fold of the split. taken: names of other inputs; a parent whose experiment is
    called like one of them, or like another parent, has its signature in its name, and its seed where that is the same
    too. learns: False where the child is a fixed rule, which needs no clips to learn from. A row of a column is one
    frame, the parent's class probabilities or its dimensions; clips that it was trained on have none.

    Raises LeakError where a parent was trained on another split, ExperimentError where it held no clips back to
    validate on, DamagedError where it lacks predictions.
    """
    names = [_experiment(run).name for run in parents]
    series = [f"{name}-{run.label.split('/')[0]}" for name, run in zip(names, parents)]
    columns: dict[str, Column] = {}
    for run, name in zip(parents, names):
        signature = run.label.split("/")[0]
        _check_split(run, name, split, clip_ids)
        target = target_spec(run.read_json("model/recipe.json", Targeted)["target"])
        values: dict[str, NDArray[np.float32]] = {}
        for side in PREDICTED:
            predicted = read_predictions(run, target, side)
            if side == "validation" and not len(predicted.clip_ids):
                if not learns:
                    continue
                raise ExperimentError(
                    f"parents: {name} was trained on its validation clips too, so there are none to learn from that it "
                    "had not learned from: take one that is trained in epochs, with training.keep best"
                )
            of_side = dict(zip(predicted.clip_ids.tolist(), predicted.values.astype(np.float32)))
            if sorted(of_side) != sorted(clip_ids[row] for row in getattr(split, side)):
                raise DamagedError(f"{run.folder}: predictions.parquet is not of its {side} clips; train it again")
            values |= of_side
        called = f"{name}-{signature}" if names.count(name) > 1 or name in taken else name
        spec = FeatureSpec(
            name=f"{called}-seed-{run.seed}" if series.count(f"{name}-{signature}") > 1 else called,
            version=1,
            modality="prediction",
            shape=(len(target.names),),
            hop_s=None,
            columns=tuple(f"p_{one}" for one in target.names) if target.kind == "classes" else target.names,
            settings={"parent": f"{name}/{signature}"},
        )
        columns[spec.name] = InMemory(spec, [_frame(values.get(clip_id)) for clip_id in clip_ids])
    return columns, split.validation if learns else split.validation[:0]


def _experiment(run: Run) -> Experiment:
    return declared(Experiment, run.read_json("experiment.json"), run.folder)


def _frame(values: NDArray[np.float32] | None) -> Frames | None:
    return None if values is None else Frames(values[None], np.ones(1, bool))


def _check_split(run: Run, name: str, split: Split, clip_ids: Sequence[str]) -> None:
    there = run.split
    for side in SIDES:
        if there[side].get("clip_ids_sha256") != _hash([clip_ids[row] for row in getattr(split, side)]):
            raise LeakError(
                f"parents: {name} has other {side} clips in {split.name}, so it may have learned from what is tested "
                "here: give both the same data.corpora, data.only, target and protocol, and features that the same "
                "clips have"
            )


def _hash(clip_ids: Sequence[str]) -> str:
    return hashlib.sha256("\n".join(sorted(clip_ids)).encode()).hexdigest()
