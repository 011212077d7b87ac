"""The contract of a model family: what it is built for, what it takes and what it returns.

A learner takes and returns numpy, and knows neither Ray nor files of a run, so that it works alike in a test, in a
worker of Ray Train, in a demo and on a bare GPU machine.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any, Literal, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from mien.data.batches import Batch
from mien.experiment import LossConfig, ModelConfig, TrainingConfig
from mien.experiment.target import TargetSpec
from mien.features.spec import FeatureSpec

Framework = Literal["tensorflow", "torch", "sklearn"]
Reads = Literal["row", "sequence", "pictures"]
Rate = Callable[[float], float]


class Predictions(NamedTuple):
    """values: (N, K) float32; of classes probabilities, rows sum to 1; of dimensions their predictions, in about
    [-1, 1]. rows: (N,) index into the dataset."""

    values: NDArray[np.float32]
    rows: NDArray[np.int64]


class NotFiniteError(Exception):
    """The loss of a batch, or its gradient, is NaN or infinite. batch: this rank's part of it. loss: of all ranks."""

    def __init__(self, batch: Batch, loss: float) -> None:
        super().__init__(batch, loss)
        self.batch, self.loss = batch, loss


class Predictor(Protocol):
    """A model that predicts."""

    def predict(self, batches: Iterable[Batch], *, dropout: int | None = None) -> Predictions:
        """This rank's rows in the order of the batches, fillers left out.

        dropout: the seed of one draw of Monte Carlo dropout (Gal & Ghahramani 2016): the model predicts with its
        dropout as in training, and all else as ever. The same batches on the same rank give the same draw; in other
        company, or on another rank, a clip is given another one. None: nothing is dropped. Raises ExperimentError for a
        model without dropout.
        """


class Learner(Predictor, Protocol):
    """A model and its optimiser."""

    def train_epoch(self, batches: Iterable[Batch], *, epoch: int, rate: Rate) -> dict[str, float]:
        """One pass. epoch: from 1. rate: share of this epoch that is done, in [0, 1) (`Batch.progress`), to the
        learning rate of the step. Returns at least {"loss", "n_samples"}: the mean over the examples of all ranks, and
        how many they are. Raises NotFiniteError at the first batch whose loss or gradient, summed over the ranks, is
        not finite: so all ranks raise it at the same batch."""

    def save(self, folder: Path) -> None:
        """Writes all that `load` needs to go on bit for bit: weights and the optimiser's state."""

    def load(self, folder: Path) -> None:
        """Reads what `save` wrote. Executes nothing that is read."""

    def export(self, folder: Path) -> None:
        """Writes the model alone, as it predicts: its arrays, in files that `restore` reads."""

    def restore(self, folder: Path) -> None:
        """Reads what `export` wrote: it predicts the same, and cannot go on training. Executes nothing that is read."""

    def to_onnx(self) -> bytes:
        """The model alone, as it predicts, as a graph of ONNX (`mien.families.frameworks.onnx`)."""


@dataclass(frozen=True, slots=True)
class Group:
    """This worker's place in a group that trains one model: its rank of world, an element-wise sum of a float32 array
    over all ranks (every rank calls it equally often, with the same shapes), and the device that it computes on.

    `mien.families.frameworks` makes one from the worker group of Ray Train; without one, a learner is alone.
    """

    rank: int = 0
    world: int = 1
    sum: Callable[[NDArray[np.float32]], NDArray[np.float32]] = lambda array: array
    device: str = "cpu"


ALONE = Group()


@dataclass(frozen=True, slots=True)
class Task:
    """What a learner is built for. inputs: name to spec, in the order of the experiment's features. class_weights: (K,)
    float32, ones where the target is of dimensions; see `mien.families.losses.class_weights`."""

    model: ModelConfig
    training: TrainingConfig
    loss: LossConfig
    inputs: Mapping[str, FeatureSpec]
    target: TargetSpec
    class_weights: NDArray[np.float32]
    seed: int
    group: Group = field(default_factory=Group)


@dataclass(frozen=True, kw_only=True, slots=True)
class Family:
    """A model family and what it can do; a launch is refused where the experiment asks for more.

    config: its page of hyper-parameters. framework: the package that its learner imports. learner: "module:Class",
    built with a Task. is_iterative: False where one pass fits the model, so that there is nothing to stop early and the
    validation clips are trained on as well. targets: kinds of target that it learns. reads: kinds of input that it
    reads. reading: the function of `mien.families.reading` by which the model is given a batch. needs: modalities that
    must be among the inputs. can_miss: whether an input may be missing from a clip. has_dropout: whether it can predict
    with dropout.
    """

    config: type[ModelConfig]
    framework: Framework
    learner: str
    is_iterative: bool = True
    targets: tuple[str, ...] = ("classes", "dimensions")
    reads: tuple[Reads, ...] = ("row", "sequence")
    reading: str = "frames"
    needs: tuple[str, ...] = ()
    can_miss: bool = True
    has_dropout: bool = True

    def build(self, task: Task) -> Learner:
        module, _, name = self.learner.partition(":")
        return getattr(import_module(module), name)(task)

    def read(self, batch: Batch, task: Task) -> dict[str, NDArray[Any]]:
        """What the model is given of a batch, by name."""
        return getattr(import_module("mien.families.reading"), self.reading)(batch, task)
