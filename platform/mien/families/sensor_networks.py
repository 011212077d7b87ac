"""A network for one input, by what it is: convolutions for EEG and faces, a BiLSTM for the body and the voice.

Each turns frames (b, T, *shape) with a mask (b, T) into one vector per clip, (b, units), in torch; masked frames and
padding change nothing, and an input that is missing is a learnt vector.
"""

from __future__ import annotations

import math

from mien.families.frameworks.torch_layers import AttentionPool, BiLstm
from mien.features.spec import FeatureSpec

# isort: split
from torch import Tensor, nn

CONVOLVED = ("eeg", "video")  # modalities whose sequences are read by convolutions, as system S3 has it


def network(spec: FeatureSpec, units: int, kernel: int, dropout: float) -> nn.Module:
    """The network of a feature: frames and mask to (b, units)."""
    if not spec.is_numeric:
        frame: nn.Module = _Pictures(units)
    elif len(spec.shape) == 2:
        frame = _RawEeg(spec.shape[0], spec.shape[1], units)
    else:
        frame = nn.Sequential(nn.Flatten(start_dim=1), nn.Linear(spec.dim, units))
    if spec.hop_s is None:
        over_time: nn.Module = _Row(units)
    elif spec.modality in CONVOLVED:
        over_time = Convolutions(units, units, kernel)
    else:
        over_time = BiLstm(units, units // 2)
    return _Network(frame, over_time, units, dropout)


class _Network(nn.Module):
    """Each frame by itself, then over time, then one vector."""

    def __init__(self, frame: nn.Module, over_time: nn.Module, units: int, dropout: float) -> None:
        super().__init__()
        self.frame, self.over_time = frame, over_time
        self.norm, self.dropout, self.pool = nn.LayerNorm(units), nn.Dropout(dropout), AttentionPool(units)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        b, t = mask.shape
        x = self.frame(x.reshape(b * t, *x.shape[2:])).reshape(b, t, -1)
        x = self.dropout(self.norm(x).relu()) * mask[..., None]
        return self.pool(self.over_time(x, mask), mask)


class _Row(nn.Module):
    """One frame has no time."""

    def __init__(self, units: int) -> None:
        super().__init__()
        self.dense = nn.Linear(units, units)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        return self.dense(x).relu()


class Convolutions(nn.Module):
    """Two convolutions over time, (b, T, D) to (b, T, units), masked again after each."""

    def __init__(self, width: int, units: int, kernel: int) -> None:
        super().__init__()
        self.first = nn.Conv1d(width, units, kernel, padding="same")
        self.second = nn.Conv1d(units, units, kernel, padding="same")
        self.norms = nn.ModuleList(nn.LayerNorm(units) for _ in range(2))

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        x = x * mask[..., None]
        for conv, norm in zip((self.first, self.second), self.norms):
            x = norm(conv(x.transpose(1, 2)).transpose(1, 2)).relu() * mask[..., None]
        return x


class _RawEeg(nn.Module):
    """Windows of C channels and n samples to (b, units): filters over time, then over the channels, as in EEGNet
    (Lawhern et al. 2018)."""

    def __init__(self, n_channels: int, n_samples: int, units: int) -> None:
        super().__init__()
        kernel, n_filters, pool = n_samples // 4 | 1, 8, max(1, n_samples // 16)
        self.layers = nn.Sequential(
            nn.Conv2d(1, n_filters, (1, kernel), padding="same", bias=False),
            nn.Conv2d(n_filters, 2 * n_filters, (n_channels, 1), groups=n_filters, bias=False),
            nn.GroupNorm(1, 2 * n_filters),
            nn.ELU(),
            nn.AvgPool2d((1, pool)),
            nn.Flatten(),
            nn.Linear(2 * n_filters * (n_samples // pool), units),
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x[:, None])


class _Pictures(nn.Module):
    """Pictures (b, H, W, 3) uint8 to (b, units): convolutions that halve the picture, and the mean over space."""

    def __init__(self, units: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        n_in = 3
        for n_out in (16, 32, units):
            layers += [
                nn.Conv2d(n_in, n_out, 3, stride=2, padding=1, bias=False),
                nn.GroupNorm(math.gcd(8, n_out), n_out),
                nn.GELU(),
            ]
            n_in = n_out
        self.layers = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x.permute(0, 3, 1, 2).float() / 127.5 - 1).mean(dim=(2, 3))
