"""Multimodal transformer (system S2), in torch, for any number of inputs.

Each input is projected to the model's width, told its time (sines and cosines of seconds, so that inputs of different
rates share one clock), and read by an encoder of its own (Vaswani et al. 2017; normalised before each part, Xiong et
al. 2020). A learnt summary stands before each sequence, as in BERT (Devlin et al. 2019). Then each input attends to all
others (cross-modal attention, Tsai et al. 2019), and a dense head reads the summaries.

The summary is a key that is always there: no attention is over nothing, which would be NaN, and of an input that is
missing the summary alone is read. Unlike the original, layers are normalised and not batches, whose statistics depend
on who is in them; and inputs of one row per clip are sequences of one step.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from mien.experiment import AvTransformerConfig
from mien.families.contract import Task
from mien.families.frameworks.torch_layers import ModalityDropout
from mien.families.frameworks.torch_learner import TorchLearner
from mien.features.spec import FeatureSpec

# isort: split
import torch
from torch import Tensor, nn

WIDE_ROW, WIDE_ROW_DROPOUT = 1000, 0.5  # ComParE's 6,373 columns say much the same several times over
SHORTEST_S, LONGEST_S = 0.1, 1000.0  # periods of the waves by which a step knows its time


def learner(task: Task) -> TorchLearner:
    config = _config(task)
    n_own = len(task.inputs) if len(task.inputs) > 1 and config.auxiliary else 0
    return TorchLearner(task, AvTransformer, head_weights=[1.0] + [config.auxiliary] * n_own)


class AvTransformer(nn.Module):
    """The arrays of `reading.steps` to heads of (b, K): the joint one, and each input's own where there are several."""

    def __init__(self, task: Task) -> None:
        super().__init__()
        config = _config(task)
        n_targets = len(task.target.names)
        self._names = list(task.inputs)
        self.hide = ModalityDropout(config.modality_dropout)
        self.encoders = nn.ModuleList(_Encoder(spec, config) for spec in task.inputs.values())
        several = len(self._names) > 1
        self.cross = nn.ModuleList(_Cross(config) for _ in self._names if several and config.cross_layers)
        self.own = nn.ModuleList(
            nn.Linear(config.width, n_targets) for _ in self._names if several and config.auxiliary
        )
        self.head = nn.Sequential(
            nn.Linear(config.width * len(self._names), config.width),
            nn.LayerNorm(config.width),
            nn.GELU(),
            nn.Dropout(config.dropout),
            nn.Linear(config.width, n_targets),
        )

    def forward(self, inputs: Mapping[str, Tensor]) -> list[Tensor]:
        masks = self.hide([inputs[f"mask/{name}"] for name in self._names])
        encoded = [
            encoder(inputs[f"values/{name}"], mask, inputs[f"times_s/{name}"])
            for name, mask, encoder in zip(self._names, masks, self.encoders)
        ]
        own = [head(sequence[:, 0]) for head, (sequence, _) in zip(self.own, encoded)]
        if self.cross:
            crossed = []
            for i, (cross, (sequence, keys)) in enumerate(zip(self.cross, encoded)):
                others = [encoded[j] for j in range(len(encoded)) if j != i]
                crossed.append(cross(sequence, keys, *(torch.cat(parts, dim=1) for parts in zip(*others))))
            summaries = [sequence[:, 0] for sequence in crossed]
        else:
            summaries = [sequence[:, 0] for sequence, _ in encoded]
        return [self.head(torch.cat(summaries, dim=-1)), *own]


class _Encoder(nn.Module):
    """One input (b, T, D) to its summary and steps (b, 1 + T, width), and which of them are there."""

    frequencies: Tensor

    def __init__(self, spec: FeatureSpec, config: AvTransformerConfig) -> None:
        super().__init__()
        is_row = spec.hop_s is None
        dropout = (WIDE_ROW_DROPOUT if spec.dim > WIDE_ROW else config.row_dropout) if is_row else 0.0
        self._noise = config.input_noise
        self.dropout = nn.Dropout(dropout)
        self.project = nn.Linear(spec.dim, config.width)
        self.summary = nn.Parameter(torch.randn(config.width) * 0.02)
        self.norm = nn.LayerNorm(config.width)
        layer = nn.TransformerEncoderLayer(**_layer(config))
        norm = nn.LayerNorm(config.width)
        self.layers = _drawn_anew(nn.TransformerEncoder(layer, config.layers, norm, enable_nested_tensor=False))
        periods_s = torch.logspace(math.log10(SHORTEST_S), math.log10(LONGEST_S), config.width // 2)
        self.register_buffer("frequencies", 2 * torch.pi / periods_s, persistent=False)

    def forward(self, values: Tensor, mask: Tensor, times_s: Tensor) -> tuple[Tensor, Tensor]:
        x = values.flatten(start_dim=2) * mask[..., None]
        if self.training and self._noise:
            x = x + self._noise * torch.randn_like(x)
        angles = times_s[..., None] * self.frequencies
        x = self.norm(self.project(self.dropout(x)) + torch.cat([angles.sin(), angles.cos()], dim=-1))
        x = torch.cat([self.summary.expand(x.shape[0], 1, -1), x], dim=1)
        keys = torch.cat([torch.ones_like(mask[:, :1]), mask], dim=1)
        return self.layers(x, src_key_padding_mask=~keys), keys


class _Cross(nn.Module):
    """Layers in which one input attends to itself and to all others."""

    def __init__(self, config: AvTransformerConfig) -> None:
        super().__init__()
        layer = nn.TransformerDecoderLayer(**_layer(config))
        self.layers = _drawn_anew(nn.TransformerDecoder(layer, config.cross_layers, nn.LayerNorm(config.width)))

    def forward(self, sequence: Tensor, keys: Tensor, others: Tensor, other_keys: Tensor) -> Tensor:
        return self.layers(sequence, others, tgt_key_padding_mask=~keys, memory_key_padding_mask=~other_keys)


def _drawn_anew(layers: nn.Module) -> nn.Module:
    """torch copies one layer, so all of a stack would begin with the same weights; drawn as `nn.Transformer` does."""
    for parameter in layers.parameters():
        if parameter.dim() > 1:
            nn.init.xavier_uniform_(parameter)
    return layers


def _layer(config: AvTransformerConfig) -> dict[str, Any]:
    return {
        "d_model": config.width,
        "nhead": config.heads,
        "dim_feedforward": config.feedforward,
        "dropout": config.dropout,
        "activation": "gelu",
        "batch_first": True,
        "norm_first": True,
    }


def _config(task: Task) -> AvTransformerConfig:
    if not isinstance(task.model, AvTransformerConfig):
        raise TypeError(f"av_transformer is built from an AvTransformerConfig, not {type(task.model).__name__}")
    return task.model
