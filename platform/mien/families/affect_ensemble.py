"""Fusion of EEG, face, body and any other input (system S3), in torch: early, hybrid and late.

early   all inputs side by side on one clock -> convolutions -> BiLSTM -> attention over time -> dense
hybrid  a network for each input (`sensor_networks`) -> attention over their vectors -> dense
late    predictions of parents, trained alone: weighted, by a linear meta-classifier, or with equal weights; nothing
        else is read

A late fusion learns from what its parents predicted of clips that they had not learned from (`mien.data.parents`); of
equal weights it learns nothing, and is as it was built. A missing input is masked; its parent has no vote, and the
weights of the others are as they are to each other.
"""

from __future__ import annotations

from collections.abc import Mapping

from mien.errors import ExperimentError
from mien.experiment import AffectEnsembleConfig
from mien.families.contract import Task
from mien.families.frameworks.torch_layers import AttentionPool, BiLstm, ModalityDropout
from mien.families.frameworks.torch_learner import TorchLearner
from mien.families.losses import EPSILON
from mien.families.sensor_networks import Convolutions, network

# isort: split
import torch
from torch import Tensor, nn

PREDICTION = "prediction"  # the modality of what a parent predicted


def learner(task: Task) -> TorchLearner:
    config = _config(task)
    _check_inputs(task, config)
    if config.fusion == "late":
        return TorchLearner(task, Late)
    if config.fusion == "early":
        return TorchLearner(task, Early)
    n_own = len(task.inputs) if len(task.inputs) > 1 and config.auxiliary else 0
    return TorchLearner(task, Hybrid, head_weights=[1.0] + [config.auxiliary] * n_own)


def _check_inputs(task: Task, config: AffectEnsembleConfig) -> None:
    are_parents = [spec.modality == PREDICTION for spec in task.inputs.values()]
    if config.fusion == "late" and not all(are_parents):
        raise ExperimentError("model.fusion late reads parents alone: name them, and leave data.features empty")
    if config.fusion != "late" and any(are_parents):
        raise ExperimentError(f"model.fusion {config.fusion} reads no parents: leave them out, or take fusion late")
    pictures = [name for name, spec in task.inputs.items() if not spec.is_numeric]
    if config.fusion == "early" and pictures:
        raise ExperimentError(f"model.fusion early cannot lay {pictures[0]}, pictures, beside numbers: take hybrid")


class Early(nn.Module):
    """One network over all inputs side by side."""

    def __init__(self, task: Task) -> None:
        super().__init__()
        config = _config(task)
        width = sum(spec.dim + 1 for spec in task.inputs.values())
        self.convolutions = Convolutions(width, config.units, config.kernel)
        self.lstm = BiLstm(config.units, config.units // 2)
        self.pool = AttentionPool(config.units)
        self.head = nn.Sequential(nn.Dropout(config.dropout), nn.Linear(config.units, len(task.target.names)))

    def forward(self, inputs: Mapping[str, Tensor]) -> list[Tensor]:
        x, mask = inputs["steps"], inputs["mask"]
        return [self.head(self.pool(self.lstm(self.convolutions(x, mask), mask), mask))]


class Hybrid(nn.Module):
    """A network for each input and attention over their vectors. Heads: the joint one, and each input's own."""

    def __init__(self, task: Task) -> None:
        super().__init__()
        config, n_targets = _config(task), len(task.target.names)
        self._names = list(task.inputs)
        self.networks = nn.ModuleList(
            network(spec, config.units, config.kernel, config.dropout) for spec in task.inputs.values()
        )
        self.hide = ModalityDropout(config.modality_dropout)
        self.place = nn.Parameter(torch.randn(len(self._names), config.units) * 0.02)
        self.attention = nn.TransformerEncoderLayer(
            config.units, 4, 2 * config.units, config.dropout, batch_first=True, norm_first=True
        )
        self.pool = AttentionPool(config.units)
        self.head = nn.Sequential(nn.Dropout(config.dropout), nn.Linear(config.units, n_targets))
        several = len(self._names) > 1
        self.own = nn.ModuleList(
            nn.Linear(config.units, n_targets) for _ in self._names if several and config.auxiliary
        )

    def forward(self, inputs: Mapping[str, Tensor]) -> list[Tensor]:
        masks = self.hide([inputs[f"mask/{name}"] for name in self._names])
        vectors = torch.stack(
            [net(inputs[f"values/{name}"], mask) for name, mask, net in zip(self._names, masks, self.networks)], dim=1
        )
        own = [head(vectors[:, i]) for i, head in enumerate(self.own)]
        there = torch.stack([mask.any(dim=1) for mask in masks], dim=1)
        # Of what is missing the learnt vector is a key as well: attention is never over nothing.
        mixed = self.attention(vectors + self.place)
        return [self.head(self.pool(mixed, there)), *own]


class Late(nn.Module):
    """The predictions of parents to (b, K): logits or dimensions."""

    def __init__(self, task: Task) -> None:
        super().__init__()
        config, n_targets = _config(task), len(task.target.names)
        self._names, self._is_of_classes = list(task.inputs), task.target.kind == "classes"
        self.meta: nn.Linear | None = None
        if config.late != "meta":
            self.weights = nn.Parameter(torch.zeros(len(self._names)))
            self.sharpness = nn.Parameter(torch.zeros(()))
        else:
            self.meta = nn.Linear(sum(spec.dim for spec in task.inputs.values()) + len(self._names), n_targets)

    def forward(self, inputs: Mapping[str, Tensor]) -> list[Tensor]:
        votes = [self._vote(inputs[f"values/{name}"][:, 0]) for name in self._names]
        there = torch.stack([inputs[f"mask/{name}"].any(dim=1) for name in self._names], dim=1)
        votes = [vote * there[:, i, None] for i, vote in enumerate(votes)]
        if self.meta is not None:
            return [self.meta(torch.cat([*votes, there.float()], dim=1))]
        shares = there * self.weights.exp()
        shares = shares / shares.sum(dim=1, keepdim=True).clamp(min=EPSILON)
        mean = sum(share[:, None] * vote for share, vote in zip(shares.unbind(dim=1), votes))
        return [mean * self.sharpness.exp()]

    def _vote(self, predicted: Tensor) -> Tensor:
        """Log-probabilities about their mean, which a softmax does not see; dimensions as they are."""
        if not self._is_of_classes:
            return predicted
        logs = predicted.clamp(min=EPSILON).log()
        return logs - logs.mean(dim=-1, keepdim=True)


def _config(task: Task) -> AffectEnsembleConfig:
    if not isinstance(task.model, AffectEnsembleConfig):
        raise TypeError(f"affect_ensemble is built from an AffectEnsembleConfig, not {type(task.model).__name__}")
    return task.model
