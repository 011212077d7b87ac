"""Dense layers over mean and spread of each input, in torch: small, and the reference for new torch families.

Each input becomes one row: mean and standard deviation over its valid frames (of a row the row), and a bit that says
whether the clip has it at all; what is missing is zeros. The rows are joined and read by dense layers.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np

from mien.data.batches import Batch
from mien.experiment import MlpConfig
from mien.families.arrays import CHECKPOINT, WEIGHTS, read_arrays, write_arrays
from mien.families.contract import Predictions, Rate, Task
from mien.families.frameworks import torch as framework
from mien.families.frameworks.torch_losses import Loss
from mien.families.pooling import pooled

# isort: split
import torch
from torch import Tensor, nn


class Mlp:
    """The learner."""

    def __init__(self, task: Task) -> None:
        if not isinstance(task.model, MlpConfig):
            raise TypeError(f"Mlp is built from a MlpConfig, not {type(task.model).__name__}")
        framework.configure()
        self._task = task
        with framework.seeded("weights", task.seed):
            self._model = build_model(task).to(task.group.device)
        self._parameters = list(self._model.parameters())
        self._loss = Loss(task)
        self._optimizer = torch.optim.AdamW(self._parameters, weight_decay=task.training.weight_decay)
        self._average = framework.MovingAverage(self._parameters, task.training.average)

    def train_epoch(self, batches: Iterable[Batch], *, epoch: int, rate: Rate) -> dict[str, float]:
        loss, n_samples = 0.0, 0.0
        self._model.train()
        with framework.seeded("dropout", self._task.seed, epoch, self._task.group.rank):
            for batch in batches:
                loss += self._step(batch, rate(batch.progress)) * batch.total_weight
                n_samples += batch.total_weight
        return {"loss": loss / n_samples, "n_samples": int(n_samples)}

    def predict(self, batches: Iterable[Batch]) -> Predictions:
        values, rows = [], []
        self._model.eval()
        with torch.no_grad(), self._average.applied():
            for batch in batches:
                is_real = batch.rows >= 0
                outputs = self._model(self._inputs(batch))
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

    def export(self, folder: Path) -> None:
        with self._average.applied():
            write_arrays(folder / WEIGHTS, framework.model_arrays(self._model))

    def restore(self, folder: Path) -> None:
        arrays = read_arrays(folder / WEIGHTS, like=framework.model_arrays(self._model))
        framework.set_model_arrays(self._model, arrays)
        self._average.restart()

    def _step(self, batch: Batch, learning_rate: float) -> float:
        """One step on the global batch; returns its mean loss."""
        targets, rated, weights = map(self._tensor, (batch.targets, batch.target_mask, batch.weights))
        outputs = self._model(self._inputs(batch))
        loss = self._loss.share([outputs], [1.0], targets, rated, weights, batch.total_weight)
        mean = framework.sum_gradients(loss, self._parameters, self._task.group.world)
        if self._task.training.clip_norm:
            nn.utils.clip_grad_norm_(self._parameters, self._task.training.clip_norm)
        for parameters in self._optimizer.param_groups:
            parameters["lr"] = learning_rate
        self._optimizer.step()
        self._average.update(int(self._optimizer.state[self._parameters[0]]["step"]))
        return mean

    def _inputs(self, batch: Batch) -> Tensor:
        """(b, width of the model)."""
        rows = pooled(batch, self._task.inputs)
        present = [mask.any(axis=1, keepdims=True) for mask in batch.masks.values()]
        return self._tensor(np.hstack([*rows.values(), *present]).astype(np.float32))

    def _tensor(self, array: np.ndarray) -> Tensor:
        return torch.from_numpy(array).to(self._task.group.device)


def build_model(task: Task) -> nn.Module:
    """(b, width) to (b, K): logits or dimensions, as the target is."""
    config = task.model
    assert isinstance(config, MlpConfig)
    width = sum(spec.dim * (1 if spec.hop_s is None else 2) for spec in task.inputs.values()) + len(task.inputs)
    layers: list[nn.Module] = []
    for _ in range(config.layers):
        layers += [nn.Linear(width, config.units), nn.LayerNorm(config.units), nn.ReLU(), nn.Dropout(config.dropout)]
        width = config.units
    return nn.Sequential(*layers, nn.Linear(width, len(task.target.names)))
