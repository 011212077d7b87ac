"""conditions.parquet of a run: what its model predicts of its test clips when inputs are hidden, when there is noise on
them, and when dropout is drawn. Its columns are known here alone.

    hidden                      string: the modalities or parents that are hidden, joined by "+"; "" for none
    noise                       float: standard deviation of the noise on the standardised inputs, 0 for none
    draws                       int: draws of Monte Carlo dropout, of which the mean stands here; 0 for none
    clip_id                     string: one of the test clips of predictions.parquet
    of classes                  p_<class>: float; draw_entropy: float, mean entropy of the draws in nats, null without
    of dimensions               predicted_<name>: float; draw_variance_<name>: float, variance of the draws, or null

With all modalities hidden no model is asked: those rows hold the prior, the shares of the classes among the clips that
the run was trained on, or the mean of their ratings.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from mien.errors import MienError
from mien.experiment.target import TargetSpec
from mien.results import done
from mien.results.predictions import Texts
from mien.results.run import Run
from mien.results.scoring import Floats

CONDITIONS = done.CONDITIONS
BETWEEN = "+"  # names of what is hidden


class Condition(NamedTuple):
    """What is other than in predictions.parquet. hidden: in the order of the model's inputs."""

    hidden: tuple[str, ...] = ()
    noise: float = 0.0
    draws: int = 0


class Conditioned(NamedTuple):
    """What N clips are predicted to be under one condition. values: (N, K), as predictions are. within: (N, J), None
    without draws: of classes the mean entropy of the draws, J = 1; of dimensions the variance between draws, J = K."""

    values: Floats
    within: Floats | None = None


def write_conditions(
    run: Run, target: TargetSpec, clip_ids: Sequence[str], found: Mapping[Condition, Conditioned]
) -> None:
    """Write what a run predicted of these clips, in their order."""
    tables = [_table(target, condition, clip_ids, one) for condition, one in found.items()]
    run.folder.write_table(CONDITIONS, pa.concat_tables(tables))


def read_conditions(run: Run, target: TargetSpec) -> tuple[Texts, dict[Condition, Conditioned]] | None:
    """The test clips of a finished run, sorted, and what it predicted of them under each condition; None where it was
    not asked, or by an older mien.

    Raises DamagedError where the file is not what was written, MienError where its columns are not those of the target.
    """
    if CONDITIONS not in done.recorded(run.folder) and not run.folder.exists(CONDITIONS):
        return None
    table = run.table(CONDITIONS)
    values, within = _columns(target)
    lacking = {"hidden", "noise", "draws", "clip_id", *values, *within} - set(table.column_names)
    if lacking:
        raise MienError(
            f"{run.folder}: {CONDITIONS} lacks {', '.join(sorted(lacking))}; delete this folder and train again"
        )
    rows: dict[Condition, list[int]] = {}
    for row, (hidden, noise, draws) in enumerate(
        zip(*(table.column(c).to_pylist() for c in ("hidden", "noise", "draws")))
    ):
        rows.setdefault(Condition(tuple(filter(None, hidden.split(BETWEEN))), noise, draws), []).append(row)
    ids = np.array(table.column("clip_id").to_pylist(), str)
    numbers = {name: np.array(table.column(name).to_pylist(), np.float64) for name in (*values, *within)}
    found, clip_ids = {}, None
    for condition, own in rows.items():
        order = np.array(own)[np.argsort(ids[own], kind="stable")]
        clip_ids = ids[order] if clip_ids is None else clip_ids
        if not np.array_equal(ids[order], clip_ids):
            raise MienError(f"{run.folder}: {CONDITIONS} holds other clips in {condition}; train it again")
        found[condition] = Conditioned(
            np.stack([numbers[name][order] for name in values], axis=1),
            np.stack([numbers[name][order] for name in within], axis=1) if condition.draws else None,
        )
    return None if clip_ids is None else (clip_ids, found)


def _columns(target: TargetSpec) -> tuple[list[str], list[str]]:
    """Names of the columns of what was predicted, and of what the draws differ by."""
    if target.kind == "classes":
        return [f"p_{name}" for name in target.names], ["draw_entropy"]
    return [f"predicted_{name}" for name in target.names], [f"draw_variance_{name}" for name in target.names]


def _table(target: TargetSpec, condition: Condition, clip_ids: Sequence[str], one: Conditioned) -> pa.Table:
    values, within = _columns(target)
    n = len(clip_ids)
    if one.values.shape != (n, len(values)) or (one.within is not None and one.within.shape != (n, len(within))):
        raise ValueError(f"{condition}: predictions {one.values.shape} of {n} clips and {', '.join(target.names)}")
    columns: dict[str, Any] = {
        "hidden": pa.array([BETWEEN.join(condition.hidden)] * n, pa.string()),
        "noise": pa.array([condition.noise] * n, pa.float64()),
        "draws": pa.array([condition.draws] * n, pa.int32()),
        "clip_id": pa.array(clip_ids, pa.string()),
    }
    columns |= {name: pa.array(one.values[:, k].astype(np.float32)) for k, name in enumerate(values)}
    for j, name in enumerate(within):
        numbers = [None] * n if one.within is None else one.within[:, j].astype(np.float32)
        columns[name] = pa.array(numbers, pa.float32())
    return pa.table(columns)
