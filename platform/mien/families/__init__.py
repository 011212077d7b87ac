"""The model families: what each needs, and where its learner is found. Learners are imported only when built.

A learner takes and returns numpy, and knows neither Ray nor files of a run, so that it works alike in a test, in a
worker of Ray Train, in a demo and on a bare GPU machine.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Literal, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from mien.data.batches import Batch
from mien.experiment import Experiment, LstmAttentionConfig, ModelConfig, SvcConfig
from mien.features.spec import FeatureSpec


class Predictions(NamedTuple):
    """probabilities: (N, K) float32, rows sum to 1. rows: (N,) index into the dataset."""

    probabilities: NDArray[np.float32]
    rows: NDArray[np.int64]


class Learner(Protocol):
    """A model and its optimiser."""

    def train_epoch(self, batches: Iterable[Batch], *, epoch: int, learning_rate: float) -> dict[str, float]:
        """One pass. Returns at least {"loss": mean over the examples of all ranks}."""

    def predict(self, batches: Iterable[Batch]) -> Predictions:
        """This rank's rows in the order of the batches, fillers left out."""

    def save(self, folder: Path) -> None:
        """All that `load` needs to go on bit for bit: weights and the optimiser's state."""

    def load(self, folder: Path) -> None: ...

    def export(self, folder: Path) -> None:
        """The model alone, as `model_best.*`, in its framework's own format."""


@dataclass(frozen=True, slots=True)
class Task:
    """What a learner is built for. specs: its inputs, audio first. class_weights: (K,), see `losses.class_weights`."""

    experiment: Experiment
    specs: Mapping[str, FeatureSpec]
    classes: tuple[str, ...]
    class_weights: NDArray[np.float32]
    seed: int


@dataclass(frozen=True, slots=True)
class Family:
    """framework: the package that its learner imports. iterative: False where one pass fits the model, so that there
    is nothing to stop early and the validation clips are trained on as well."""

    config: type[ModelConfig]
    framework: Literal["tensorflow", "torch", "sklearn"]
    iterative: bool
    learner: str

    def build(self, task: Task) -> Learner:
        module, _, name = self.learner.partition(":")
        return getattr(import_module(module), name)(task)


FAMILIES: dict[str, Family] = {
    "lstm_attention": Family(LstmAttentionConfig, "tensorflow", True, "mien.families.lstm_attention:LstmAttention"),
    "svc": Family(SvcConfig, "sklearn", False, "mien.families.svc:Svc"),
}
