"""SVC on whole-clip features: the baseline beside every report, alone or as a late fusion of several.

openSMILE functionals under a support vector machine are the yardstick of the field since Schuller et al. 2009
(INTERSPEECH Emotion Challenge). Inputs are standardised columns; a sequence is reduced to mean and standard
deviation over its valid frames.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

import joblib
import numpy as np
from numpy.typing import NDArray
from sklearn.metrics.pairwise import rbf_kernel
from sklearn.svm import SVC

from mien.data.batches import Batch
from mien.errors import ExperimentError
from mien.experiment import SvcConfig
from mien.families import Predictions, Task

FLOOR = 1e-6  # keeps one member's certainty of "impossible" from silencing all others in a product


class _Fitted(NamedTuple):
    """A fitted member: its training rows, the width of its kernel, and the machine over both."""

    rows: NDArray[np.float64]
    gamma: float
    machine: Any


class Svc:
    """One SVC a member; with several, their probabilities are multiplied and scaled to sum to 1 again."""

    def __init__(self, task: Task) -> None:
        if not isinstance(task.experiment.model, SvcConfig):
            raise TypeError(f"Svc is built from a SvcConfig, not {type(task.experiment.model).__name__}")
        self._c = task.experiment.model.c
        self._task = task
        self._members = [member.split("+") for member in task.experiment.model.members] or [list(task.specs)]
        unknown = {name for member in self._members for name in member} - task.specs.keys()
        if unknown:
            raise ExperimentError(
                f"model.members names {', '.join(sorted(unknown))}: not among the features {', '.join(task.specs)}"
            )
        self._fitted: list[_Fitted] = []

    def train_epoch(self, batches: Iterable[Batch], *, epoch: int, learning_rate: float) -> dict[str, float]:
        """Fits on all rows at once; epoch and learning_rate mean nothing to it."""
        rows, truth, _ = self._collect(batches)
        counts = np.bincount(truth, minlength=len(self._task.classes))
        weights = self._task.class_weights / (self._task.class_weights @ counts / len(truth))
        self._fitted = [
            self._fit(np.hstack([rows[name] for name in member]), truth, dict(enumerate(weights)))
            for member in self._members
        ]
        probabilities = self._probabilities(rows)
        loss = -np.log(np.maximum(probabilities[np.arange(len(truth)), truth], FLOOR)).mean()
        return {"loss": float(loss), "n_samples": len(truth)}

    def predict(self, batches: Iterable[Batch]) -> Predictions:
        rows, _, indices = self._collect(batches)
        return Predictions(self._probabilities(rows).astype(np.float32), indices)

    def save(self, folder: Path) -> None:
        joblib.dump(self._fitted, folder / "svc.joblib")

    def load(self, folder: Path) -> None:
        self._fitted = joblib.load(folder / "svc.joblib")

    def export(self, folder: Path) -> None:
        joblib.dump(self._fitted, folder / "model_best.joblib")

    def _fit(self, rows: NDArray[np.float64], truth: NDArray[np.int64], weights: dict[int, float]) -> _Fitted:
        """The kernel is computed once by BLAS: the same machine as SVC(kernel="rbf", gamma="scale"), sooner.

        Probabilities are LIBSVM's, Platt's sigmoid for each pair of classes and then Wu, Lin & Weng 2004. scikit-learn
        means to drop them in 1.11 for one sigmoid a class, which made a late fusion worse (docs/lab-log.md).
        """
        gamma = 1.0 / (rows.shape[1] * max(rows.var(), FLOOR))
        machine = SVC(C=self._c, kernel="precomputed", class_weight=weights, probability=True, random_state=0)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)
            return _Fitted(rows, gamma, machine.fit(rbf_kernel(rows, gamma=gamma), truth))

    def _probabilities(self, rows: dict[str, NDArray[np.float64]]) -> NDArray[np.float64]:
        """(N, K); a class that the training rows lack has probability 0."""
        log_product = np.zeros((len(next(iter(rows.values()))), len(self._task.classes)))
        for member, fitted in zip(self._members, self._fitted):
            own = np.hstack([rows[name] for name in member])
            probabilities = np.zeros_like(log_product)
            kernel = rbf_kernel(own, fitted.rows, gamma=fitted.gamma)
            probabilities[:, fitted.machine.classes_] = fitted.machine.predict_proba(kernel)
            log_product += np.log(np.maximum(probabilities, FLOOR))
        product = np.exp(log_product - log_product.max(axis=1, keepdims=True))
        return product / product.sum(axis=1, keepdims=True)

    def _collect(
        self, batches: Iterable[Batch]
    ) -> tuple[dict[str, NDArray[np.float64]], NDArray[np.int64], NDArray[np.int64]]:
        """All rows that are not fillers: feature name to (N, D') pooled, class (N,), index into the dataset (N,)."""
        pooled: dict[str, list[NDArray[np.float64]]] = {name: [] for name in self._task.specs}
        truth, indices = [], []
        for batch in batches:
            real = batch.rows >= 0
            for name, spec in self._task.specs.items():
                mean, spread = _moments(batch.values[name][real], batch.masks[name][real])
                pooled[name].append(mean if spec.hop_s is None else np.hstack([mean, spread]))
            truth.append(batch.targets[real].argmax(axis=1))
            indices.append(batch.rows[real])
        rows = {name: np.concatenate(parts) for name, parts in pooled.items()}
        return rows, np.concatenate(truth), np.concatenate(indices)


def _moments(values: NDArray[np.float32], mask: NDArray[np.bool_]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean and standard deviation over valid frames, (b, T, D) to (b, D) each; zeros where nothing is valid."""
    weights = mask[..., None].astype(np.float64)
    count = np.maximum(weights.sum(axis=1), 1.0)
    mean = (values * weights).sum(axis=1) / count
    return mean, np.sqrt((np.square(values - mean[:, None]) * weights).sum(axis=1) / count)
