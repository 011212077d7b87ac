"""3D ResNet (Tran et al. 2018, "R3D"), over clips of pictures with a mask of time, in torch.

Blocks and names are those of torchvision's `r3d_18`, whose Kinetics-400 weights it reads; torchvision's own forward
knows no mask. Padding changes nothing: after each convolution the masked steps are zeros again, as the padding of a
convolution is, and the mask is pooled where time is.
"""

from __future__ import annotations

from typing import Literal

from mien.families.frameworks import torch as _  # noqa: F401 - it looks for the other framework first

# isort: split
from torch import Tensor, nn

Norm = Literal["group", "frozen"]
GROUPS = 32  # Wu & He 2018; fewer where a layer has fewer channels


class Resnet3d(nn.Module):
    """(b, 3, T, H, W) and mask (b, T) to (b, T', 8 width) and mask (b, T'): the mean over space of the last block.

    blocks: in each of up to four stages; (2, 2, 2, 2) is R3D-18. width: channels of the first stage; 64 in R3D. norm:
    group: statistics of each step of each clip; frozen: those that the weights came with, which training leaves alone.
    time_stride: whether stages 2 to 4 halve the steps each, T' = ceil(T / 8); otherwise T' = T.
    """

    def __init__(self, blocks: tuple[int, ...], width: int, norm: Norm, time_stride: bool) -> None:
        super().__init__()
        self.stem = nn.ModuleList([_conv(3, width, (3, 7, 7), (1, 2, 2)), _norm(width, norm)])
        n_in = width
        for stage, n_blocks in enumerate(blocks, start=1):
            n_out = width * 2 ** (stage - 1)
            stride = (1, 1, 1) if stage == 1 else (2 if time_stride else 1, 2, 2)
            layer = nn.ModuleList()
            for number in range(n_blocks):
                layer.append(_Block(n_in, n_out, stride if number == 0 else (1, 1, 1), norm))
                n_in = n_out
            setattr(self, f"layer{stage}", layer)
        self.width = n_in
        self._stages = [f"layer{stage}" for stage in range(1, len(blocks) + 1)]
        for module in self.modules():
            if isinstance(module, nn.Conv3d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, x: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        conv, norm = self.stem
        x = _masked(norm(conv(_masked(x, mask))).relu(), mask)
        for stage in self._stages:
            for block in getattr(self, stage):
                x, mask = block(x, mask)
        return x.mean(dim=(3, 4)).transpose(1, 2), mask


class _Block(nn.Module):
    """Two convolutions beside a short cut (He et al. 2016)."""

    def __init__(self, n_in: int, n_out: int, stride: tuple[int, int, int], norm: Norm) -> None:
        super().__init__()
        self._time_stride = stride[0]
        self.conv1 = nn.ModuleList([_conv(n_in, n_out, (3, 3, 3), stride), _norm(n_out, norm)])
        self.conv2 = nn.ModuleList([_conv(n_out, n_out, (3, 3, 3), (1, 1, 1)), _norm(n_out, norm)])
        self.downsample = nn.ModuleList()
        if stride != (1, 1, 1) or n_in != n_out:
            self.downsample.extend([_conv(n_in, n_out, (1, 1, 1), stride), _norm(n_out, norm)])

    def forward(self, x: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        after = pooled_mask(mask, self._time_stride)
        short = x
        for layer in self.downsample:
            short = layer(short)
        conv, norm = self.conv1
        y = _masked(norm(conv(x)).relu(), after)
        conv, norm = self.conv2
        return _masked((norm(conv(y)) + short).relu(), after), after


class _StepNorm(nn.GroupNorm):
    """Group normalisation of each step by itself: over all steps it would depend on how many are padding."""

    def forward(self, x: Tensor) -> Tensor:
        b, c, t, *space = x.shape
        steps = x.transpose(1, 2).reshape(b * t, c, *space)
        return super().forward(steps).reshape(b, t, c, *space).transpose(1, 2)


class _FrozenNorm(nn.BatchNorm3d):
    """Batch normalisation by the statistics that it has, in training too; scale and offset are learnt."""

    def __init__(self, n: int) -> None:
        super().__init__(n)
        self.train(False)

    def train(self, mode: bool = True) -> _FrozenNorm:
        return super().train(False)


def pooled_mask(mask: Tensor, stride: int) -> Tensor:
    """(b, ceil(T / stride)): a step of the output stands for what lies in the middle of its kernel."""
    return mask[:, ::stride]


def _masked(x: Tensor, mask: Tensor) -> Tensor:
    return x * mask[:, None, :, None, None]


def _conv(n_in: int, n_out: int, kernel: tuple[int, int, int], stride: tuple[int, int, int]) -> nn.Conv3d:
    time, height, width = (k // 2 for k in kernel)
    return nn.Conv3d(n_in, n_out, kernel, stride, (time, height, width), bias=False)


def _norm(n: int, norm: Norm) -> nn.Module:
    if norm == "frozen":
        return _FrozenNorm(n)
    return _StepNorm(next(groups for groups in range(min(GROUPS, n), 0, -1) if n % groups == 0), n)
