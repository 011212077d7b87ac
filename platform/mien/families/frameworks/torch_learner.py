"""TorchLearner: how every torch family is trained, saved and read. A family is a model and what it is fed."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mien.data.batches import Batch
from mien.families import FAMILIES
from mien.families.arrays import CHECKPOINT, WEIGHTS, read_arrays, write_arrays
from mien.families.contract import NotFiniteError, Predictions, Rate, Task
from mien.families.frameworks import torch as framework
from mien.families.frameworks.torch_losses import Loss

# isort: split
import torch
from torch import Tensor, nn


class TorchLearner:
    """A model, its optimiser (AdamW) and the moving average of its weights; a `mien.families.contract.Learner`.

    build: the model of a task. Called with the arrays of its family's reading as tensors it returns its heads, each
    (b, K): logits, or dimensions, as the target is. The first is what it predicts. head_weights: what the loss of each
    head counts. initialise: called with the model before its first epoch, where neither a checkpoint nor an export was
    read. is_mixed: whether it computes in bfloat16 where the device has that.
    """

    def __init__(
        self,
        task: Task,
        build: Callable[[Task], nn.Module],
        *,
        head_weights: Sequence[float] = (1.0,),
        initialise: Callable[[nn.Module], None] | None = None,
        is_mixed: bool = False,
    ) -> None:
        framework.configure()
        self._task, self._read, self._head_weights = task, FAMILIES[task.model.family].read, head_weights
        self._device = torch.device(task.group.device)
        self._initialise, self._is_mixed = initialise, is_mixed and framework.has_bfloat16(task.group.device)
        with framework.seeded("weights", task.seed):
            self._model = build(task).to(self._device)
        self._parameters = [parameter for parameter in self._model.parameters() if parameter.requires_grad]
        self._loss = Loss(task)
        self._optimizer = torch.optim.AdamW(self._parameters, weight_decay=task.training.weight_decay)
        self._average = framework.MovingAverage(self._parameters, task.training.average)

    def train_epoch(self, batches: Iterable[Batch], *, epoch: int, rate: Rate) -> dict[str, float]:
        loss, n_samples = 0.0, 0.0
        if self._initialise:
            self._initialise(self._model)
            self._initialise = None
            self._average.restart()
        self._model.train()
        with framework.seeded("dropout", self._task.seed, epoch, self._task.group.rank):
            for batch in batches:
                loss += self._step(batch, rate(batch.progress)) * batch.total_weight
                n_samples += batch.total_weight
        return {"loss": loss / n_samples, "n_samples": int(n_samples)}

    def predict(self, batches: Iterable[Batch], *, dropout: int | None = None) -> Predictions:
        values, rows = [], []
        self._model.eval()
        if dropout is not None:
            framework.drop_out(self._model)
        drawn = framework.seeded("mc-dropout", dropout, self._task.group.rank)
        with drawn, torch.no_grad(), self._average.applied():
            for batch in batches:
                is_real = batch.rows >= 0
                outputs = self._heads(batch)[0]
                if self._task.target.kind == "classes":
                    outputs = outputs.softmax(dim=-1)
                values.append(outputs.cpu().numpy()[is_real])
                rows.append(batch.rows[is_real])
        return Predictions(np.concatenate(values), np.concatenate(rows))

    def save(self, folder: Path) -> None:
        write_arrays(folder / CHECKPOINT, framework.training_arrays(self._model, self._optimizer, self._average))

    def load(self, folder: Path) -> None:
        state = (self._model, self._optimizer, self._average)
        arrays = read_arrays(folder / CHECKPOINT, like=framework.training_arrays(*state))
        framework.set_training_arrays(*state, arrays)
        self._initialise = None

    def export(self, folder: Path) -> None:
        with self._average.applied():
            write_arrays(folder / WEIGHTS, framework.model_arrays(self._model))

    def restore(self, folder: Path) -> None:
        arrays = read_arrays(folder / WEIGHTS, like=framework.model_arrays(self._model))
        framework.set_model_arrays(self._model, arrays)
        self._average.restart()
        self._initialise = None

    def to_onnx(self) -> bytes:
        from mien.families.frameworks.torch_onnx import graph_of

        with self._average.applied():
            return graph_of(copy.deepcopy(self._model).eval().cpu(), self._task)

    def _step(self, batch: Batch, learning_rate: float) -> float:
        """One step on the global batch; returns its mean loss. NotFiniteError before anything is learnt from it."""
        targets, rated, weights = map(self._tensor, (batch.targets, batch.target_mask, batch.weights))
        heads = self._heads(batch)
        loss = self._loss.share(heads, self._head_weights, targets, rated, weights, batch.total_weight)
        mean, is_finite = framework.sum_gradients(loss, self._parameters, self._task.group.world)
        if not is_finite:
            raise NotFiniteError(batch, mean)
        if self._task.training.clip_norm:
            nn.utils.clip_grad_norm_(self._parameters, self._task.training.clip_norm)
        for parameters in self._optimizer.param_groups:
            parameters["lr"] = learning_rate
        self._optimizer.step()
        self._average.update(int(self._optimizer.state[self._parameters[0]]["step"]))
        return mean

    def _heads(self, batch: Batch) -> Sequence[Tensor]:
        inputs = {name: self._tensor(array) for name, array in self._read(batch, self._task).items()}
        with torch.autocast(self._device.type, torch.bfloat16, enabled=self._is_mixed):
            return [head.float() for head in self._model(inputs)]

    def _tensor(self, array: NDArray[Any]) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(array)).to(self._device)
