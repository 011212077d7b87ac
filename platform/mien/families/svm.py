"""Support vector machines on whole-clip features: the baseline beside every report, alone or as a late fusion.

openSMILE functionals under a support vector machine are the yardstick of the field since Schuller et al. 2009
(INTERSPEECH Emotion Challenge). Inputs are standardised columns; a sequence is reduced to mean and standard
deviation over its valid frames.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from mien.data.batches import Batch
from mien.errors import DamagedError, ExperimentError
from mien.experiment import SvmConfig
from mien.families.arrays import CHECKPOINT, WEIGHTS, read_arrays, write_arrays
from mien.families.contract import Predictions, Rate, Task
from mien.families.libsvm import (
    CLASSES_ARRAYS,
    DIMENSION_ARRAYS,
    Floats,
    Machine,
    fit_classes,
    fit_dimension,
    probabilities_by,
    ratings_by,
)
from mien.families.losses import squared_error
from mien.families.pooling import pooled

FLOOR = 1e-6  # keeps one member's certainty of "impossible" from silencing all others in a product


class Collected(NamedTuple):
    """Rows of several batches, fillers left out. inputs: feature name to (N, D'). targets: (N, K). rated: (N, K) bool.
    rows: (N,) index into the dataset."""

    inputs: dict[str, Floats]
    targets: NDArray[np.float32]
    rated: NDArray[np.bool_]
    rows: NDArray[np.int64]


class Svm:
    """Of classes one SVC per member, their probabilities multiplied and scaled to sum to 1 again; of dimensions one SVR
    per member and dimension, their predictions averaged over the members."""

    def __init__(self, task: Task) -> None:
        if not isinstance(task.model, SvmConfig):
            raise TypeError(f"Svm is built from a SvmConfig, not {type(task.model).__name__}")
        self._c = task.model.c
        self._task = task
        self._members = [member.split("+") for member in task.model.members] or [list(task.inputs)]
        unknown = {name for member in self._members for name in member} - task.inputs.keys()
        if unknown:
            raise ExperimentError(
                f"model.members names {', '.join(sorted(unknown))}: not among the features {', '.join(task.inputs)}"
            )
        self._is_of_classes = task.target.kind == "classes"
        self._machines: list[list[Machine]] = []  # of each member: one of classes, or one for each dimension

    def train_epoch(self, batches: Iterable[Batch], *, epoch: int, rate: Rate) -> dict[str, float]:
        """Fits on all rows at once; epoch and rate mean nothing to it."""
        data = self._collect(batches)
        if self._is_of_classes:
            truth = data.targets.argmax(axis=1)
            counts = np.bincount(truth, minlength=len(self._task.target.names))
            weights = self._task.class_weights / (self._task.class_weights @ counts / len(truth))
            by_class = dict(enumerate(weights))
            self._machines = [[fit_classes(rows, truth, self._c, by_class)] for rows in self._by_member(data)]
            right = self._predicted(data)[np.arange(len(truth)), truth]
            loss = -np.log(np.maximum(right, FLOOR)).mean()
        else:
            self._machines = [self._fit_dimensions(rows, data) for rows in self._by_member(data)]
            loss = squared_error(data.targets, self._predicted(data), data.rated).mean()
        return {"loss": float(loss), "n_samples": len(data.rows)}

    def predict(self, batches: Iterable[Batch], *, dropout: int | None = None) -> Predictions:
        if dropout is not None:
            raise ExperimentError("model.family svm has no dropout: predict without it, or take another family")
        data = self._collect(batches)
        return Predictions(self._predicted(data).astype(np.float32), data.rows)

    def save(self, folder: Path) -> None:
        self._write(folder / CHECKPOINT)

    def load(self, folder: Path) -> None:
        self._read(folder / CHECKPOINT)

    def export(self, folder: Path) -> None:
        self._write(folder / WEIGHTS)

    def restore(self, folder: Path) -> None:
        self._read(folder / WEIGHTS)

    def to_onnx(self) -> bytes:
        from mien.families.svm_onnx import graph_of

        members = {f"rows/{'+'.join(member)}": machines for member, machines in zip(self._members, self._machines)}
        return graph_of(members, self._task.target.names, is_of_classes=self._is_of_classes, floor=FLOOR)

    def _write(self, path: Path) -> None:
        write_arrays(
            path,
            {
                f"{member}/{number}/{name}": array
                for member, machines in enumerate(self._machines)
                for number, machine in enumerate(machines)
                for name, array in machine.items()
            },
        )

    def _read(self, path: Path) -> None:
        arrays = read_arrays(path)
        n_machines = 1 if self._is_of_classes else len(self._task.target.names)
        names = CLASSES_ARRAYS if self._is_of_classes else DIMENSION_ARRAYS
        places = [[f"{member}/{number}" for number in range(n_machines)] for member in range(len(self._members))]
        if arrays.keys() != {f"{place}/{name}" for row in places for place in row for name in names}:
            raise DamagedError(f"{path.name}: not the support vector machines of this experiment's target and members")
        self._machines = [[{name: arrays[f"{place}/{name}"] for name in names} for place in row] for row in places]

    def _fit_dimensions(self, rows: Floats, data: Collected) -> list[Machine]:
        unrated = [name for name, rated in zip(self._task.target.names, data.rated.T) if not rated.any()]
        if unrated:
            raise ExperimentError(
                f"no training clip has a rating of {', '.join(unrated)}: leave it out of target.names"
            )
        return [
            fit_dimension(rows[rated], ratings[rated], self._c) for rated, ratings in zip(data.rated.T, data.targets.T)
        ]

    def _predicted(self, data: Collected) -> Floats:
        """(N, K); a class that the training rows lack has probability 0."""
        members = zip(self._by_member(data), self._machines)
        if not self._is_of_classes:
            return np.mean([np.column_stack([ratings_by(m, rows) for m in machines]) for rows, machines in members], 0)
        log_product = np.zeros((len(data.rows), len(self._task.target.names)))
        for rows, [machine] in members:
            probabilities = np.zeros_like(log_product)
            probabilities[:, machine["classes"]] = probabilities_by(machine, rows)
            log_product += np.log(np.maximum(probabilities, FLOOR))
        product = np.exp(log_product - log_product.max(axis=1, keepdims=True))
        return product / product.sum(axis=1, keepdims=True)

    def _by_member(self, data: Collected) -> list[Floats]:
        """The rows that each member reads, (N, its columns)."""
        return [np.hstack([data.inputs[name] for name in member]) for member in self._members]

    def _collect(self, batches: Iterable[Batch]) -> Collected:
        inputs: dict[str, list[Floats]] = {name: [] for name in self._task.inputs}
        targets, rated, rows = [], [], []
        for batch in batches:
            is_real = batch.rows >= 0
            for name, values in pooled(batch, self._task.inputs).items():
                inputs[name].append(values[is_real])
            targets.append(batch.targets[is_real])
            rated.append(batch.target_mask[is_real])
            rows.append(batch.rows[is_real])
        # In the dataset's order: LIBSVM's own cross-validation for probabilities depends on the order of its rows.
        order = np.argsort(np.concatenate(rows), kind="stable")
        columns = {name: np.concatenate(parts)[order] for name, parts in inputs.items()}
        return Collected(
            columns,
            np.concatenate(targets)[order],
            np.concatenate(rated)[order],
            np.concatenate(rows)[order],
        )
