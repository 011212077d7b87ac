"""predictions.parquet of a run: what the model predicted of its validation and test clips. Its columns are known here
alone.

    clip_id, subject, corpus    string
    side                        string: validation or test
    of classes                  truth: int64, the class index; p_<class>: float, the probabilities, a column per class
    of dimensions               truth_<name>: float, null where it was not rated; predicted_<name>: float
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from mien.errors import MienError
from mien.experiment.target import TargetSpec
from mien.results.run import Run
from mien.results.scoring import Floats

Texts = NDArray[np.str_]
SIDES = ("validation", "test")


class Predicted(NamedTuple):
    """One side of one run, N clips. truth: (N,) int64 class indices, or (N, K) ratings, NaN where not rated. values:
    (N, K) probabilities of the classes, or predictions of the dimensions."""

    clip_ids: Texts
    subjects: Texts
    corpora: Texts
    truth: NDArray[Any]
    values: Floats


def write_predictions(run: Run, target: TargetSpec, sides: Mapping[str, Predicted]) -> None:
    """Write what a run predicted: side ("validation", "test") to its clips. values in the order of target.names."""
    run.write_predictions(pa.concat_tables([_table(target, side, predicted) for side, predicted in sides.items()]))


def read_predictions(run: Run, target: TargetSpec, side: str) -> Predicted:
    """One side of a finished run, sorted by clip; no rows where that side has no clip.

    Raises MienError where the columns are not those of the target.
    """
    table = run.predictions()
    truths, values = _columns(target)
    lacking = {"clip_id", "subject", "corpus", "side", *truths, *values} - set(table.column_names)
    if lacking:
        raise MienError(
            f"{run.folder}: predictions.parquet lacks {', '.join(sorted(lacking))}; delete this folder and train again"
        )
    rows = np.flatnonzero(_texts(table, "side") == side)
    rows = rows[np.argsort(_texts(table, "clip_id")[rows], kind="stable")]
    truth = _numbers(table, truths)[rows]
    return Predicted(
        clip_ids=_texts(table, "clip_id")[rows],
        subjects=_texts(table, "subject")[rows],
        corpora=_texts(table, "corpus")[rows],
        truth=truth[:, 0].astype(np.int64) if target.kind == "classes" else truth,
        values=_numbers(table, values)[rows],
    )


def _columns(target: TargetSpec) -> tuple[list[str], list[str]]:
    """Names of the columns of the truth, and of what was predicted, in the order of target.names."""
    if target.kind == "classes":
        return ["truth"], [f"p_{name}" for name in target.names]
    return [f"truth_{name}" for name in target.names], [f"predicted_{name}" for name in target.names]


def _table(target: TargetSpec, side: str, predicted: Predicted) -> pa.Table:
    truths, values = _columns(target)
    n = len(predicted.clip_ids)
    truth = np.asarray(predicted.truth)
    if len(predicted.values) != n or len(truth) != n or predicted.values.shape[1] != len(values):
        raise ValueError(
            f"predictions {predicted.values.shape} and truth {truth.shape} of {n} clips of the {side} side"
        )
    columns: dict[str, Any] = {
        "clip_id": pa.array(predicted.clip_ids, pa.string()),
        "subject": pa.array(predicted.subjects, pa.string()),
        "corpus": pa.array(predicted.corpora, pa.string()),
        "side": pa.array([side] * n, pa.string()),
    }
    if target.kind == "classes":
        columns["truth"] = pa.array(truth, pa.int64())
    else:
        columns |= {name: pa.array(truth[:, k], from_pandas=True) for k, name in enumerate(truths)}  # NaN: null
    columns |= {name: pa.array(predicted.values[:, k]) for k, name in enumerate(values)}
    return pa.table(columns)


def _texts(table: pa.Table, name: str) -> Texts:
    return np.array(table.column(name).to_pylist(), str)  # to_numpy imports pandas, and is no faster


def _numbers(table: pa.Table, names: Sequence[str]) -> Floats:
    """(N, len(names)); null is NaN."""
    return np.stack([np.array(table.column(name).to_pylist(), np.float64) for name in names], axis=1)
