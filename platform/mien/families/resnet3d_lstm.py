"""3D ResNet and LSTM over pictures of a face (system S4), in torch.

Pictures (b, T, H, W, 3) -> 3D ResNet, whose mean over space keeps time -> BiLSTM -> mean over valid steps -> dense,
ReLU, dropout -> K. A picture without a face is masked. Unlike the original, no statistic is of a whole batch: with a
few clips per worker it would say little, and another number of workers would learn another model.
"""

from __future__ import annotations

import io
from collections.abc import Mapping

from mien.errors import ExperimentError, MienError
from mien.experiment import Resnet3dLstmConfig
from mien.families.contract import Task
from mien.families.frameworks.torch_layers import BiLstm, masked_mean
from mien.families.frameworks.torch_learner import TorchLearner
from mien.families.resnet3d import Resnet3d
from mien.features.extractors.weights import read_weights

# isort: split
import torch
from torch import Tensor, nn

# Of Kinetics-400, by which torchvision's video networks expect their pictures.
MEAN, SPREAD = (0.43216, 0.394666, 0.37645), (0.22803, 0.22145, 0.216989)


def learner(task: Task) -> TorchLearner:
    config = _config(task)
    if len(task.inputs) != 1:
        raise ExperimentError(f"resnet3d_lstm reads one feature of pictures, not {', '.join(task.inputs)}: name one")
    return TorchLearner(
        task,
        Resnet3dLstm,
        initialise=lambda model: load_weights(model, config) if config.weights else None,
        is_mixed=config.precision == "mixed",
    )


class Resnet3dLstm(nn.Module):
    """The arrays of `reading.pictures` to (b, K): logits or dimensions, as the target is."""

    mean: Tensor
    spread: Tensor

    def __init__(self, task: Task) -> None:
        super().__init__()
        config = _config(task)
        self.resnet = Resnet3d(config.blocks, config.width, config.norm, config.time_stride)
        self.lstm = BiLstm(self.resnet.width, config.lstm_units)
        self.head = nn.Sequential(
            nn.Linear(2 * config.lstm_units, config.dense_units),
            nn.ReLU(),
            nn.Dropout(config.dropout),
            nn.Linear(config.dense_units, len(task.target.names)),
        )
        self.register_buffer("mean", 255 * torch.tensor(MEAN), persistent=False)
        self.register_buffer("spread", 255 * torch.tensor(SPREAD), persistent=False)
        if task.group.device.startswith("cuda"):
            self.to(memory_format=torch.channels_last_3d)
            if config.compiled:
                self.resnet.compile()

    def forward(self, inputs: Mapping[str, Tensor]) -> list[Tensor]:
        pictures = (inputs["pictures"].float() - self.mean) / self.spread
        steps, mask = self.resnet(pictures.permute(0, 4, 1, 2, 3), inputs["mask"])
        return [self.head(masked_mean(self.lstm(steps, mask), mask))]


def load_weights(model: nn.Module, config: Resnet3dLstmConfig) -> None:
    """The weights of torchvision's r3d_18 into the ResNet of a model. Nothing that is read is executed.

    Raises MienError where they cannot be had, or are of another network.
    """
    data, _ = read_weights(config.weights, config.weights_sha256 or None)
    try:
        arrays = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
        kept = {name: array for name, array in arrays.items() if not name.startswith("fc.")}
        model.get_submodule("resnet").load_state_dict(kept)
    except Exception as error:
        raise MienError(
            f"model.weights {config.weights}: not a state dict of torchvision's r3d_18 ({error}): give its file"
        ) from error


def _config(task: Task) -> Resnet3dLstmConfig:
    if not isinstance(task.model, Resnet3dLstmConfig):
        raise TypeError(f"resnet3d_lstm is built from a Resnet3dLstmConfig, not {type(task.model).__name__}")
    return task.model
