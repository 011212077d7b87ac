"""Dense layers over mean and spread of each input, in torch: small, and the reference for new torch families.

Each input becomes one row: mean and standard deviation over its valid frames (of a row the row), and a bit that says
whether the clip has it at all; what is missing is zeros. The rows are joined and read by dense layers.
"""

from __future__ import annotations

from collections.abc import Mapping

from mien.experiment import MlpConfig
from mien.families.contract import Task
from mien.families.frameworks.torch_learner import TorchLearner

# isort: split
from torch import Tensor, nn


def learner(task: Task) -> TorchLearner:
    return TorchLearner(task, Mlp)


class Mlp(nn.Module):
    """(b, width) to (b, K): logits or dimensions, as the target is."""

    def __init__(self, task: Task) -> None:
        super().__init__()
        config = task.model
        assert isinstance(config, MlpConfig)
        width = sum(spec.dim * (1 if spec.hop_s is None else 2) for spec in task.inputs.values()) + len(task.inputs)
        layers: list[nn.Module] = []
        for _ in range(config.layers):
            layers += [
                *(nn.Linear(width, config.units), nn.LayerNorm(config.units)),
                *(nn.ReLU(), nn.Dropout(config.dropout)),
            ]
            width = config.units
        self.layers = nn.Sequential(*layers, nn.Linear(width, len(task.target.names)))

    def forward(self, inputs: Mapping[str, Tensor]) -> list[Tensor]:
        return [self.layers(inputs["rows"])]
