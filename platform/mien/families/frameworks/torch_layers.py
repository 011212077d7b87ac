"""Layers of several torch families. Each takes a mask (b, T) beside its frames, and what is masked changes nothing."""

from __future__ import annotations

from mien.families.frameworks import torch as _  # noqa: F401 - it looks for the other framework first

# isort: split
import torch
from torch import Tensor, nn


class BiLstm(nn.Module):
    """LSTMs in both directions, (b, T, D) to (b, T, 2 units).

    The backward one reads the frames from the last valid one to the first, gathered in that order: padding does not
    reach it, as it would in `nn.LSTM(bidirectional=True)`, and unlike packed sequences it can be exported. A masked
    frame between valid ones is read as zeros.
    """

    def __init__(self, width: int, units: int) -> None:
        super().__init__()
        self.forwards = nn.LSTM(width, units, batch_first=True)
        self.backwards = nn.LSTM(width, units, batch_first=True)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        x = x * mask[..., None]
        order = from_the_end(mask)
        later = self.backwards(_taken(x, order))[0]
        return torch.cat([self.forwards(x)[0], _taken(later, order)], dim=-1) * mask[..., None]


def from_the_end(mask: Tensor) -> Tensor:
    """(b, T): which frame to take at each step to read from the last valid one back to the first; then the rest.

    It is its own inverse.
    """
    steps = torch.arange(mask.shape[1], device=mask.device).expand(mask.shape)
    n = (mask * (steps + 1)).amax(dim=1, keepdim=True)
    return torch.where(steps < n, n - 1 - steps, steps)


def _taken(x: Tensor, order: Tensor) -> Tensor:
    return torch.gather(x, 1, order[..., None].expand(x.shape))


class AttentionPool(nn.Module):
    """Weighted sum over time, (b, T, D) to (b, D): weights by v·tanh(x W + b) (Bahdanau et al. 2015).

    A learnt vector is among the frames of each clip: where all are masked, it is the sum.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.nothing = nn.Parameter(torch.zeros(width))
        self.score = nn.Sequential(nn.Linear(width, width), nn.Tanh(), nn.Linear(width, 1, bias=False))

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        x = torch.cat([self.nothing.expand(x.shape[0], 1, -1), x], dim=1)
        mask = torch.cat([torch.ones_like(mask[:, :1]), mask], dim=1)
        scores = self.score(x)[..., 0].masked_fill(~mask, float("-inf"))
        return (scores.softmax(dim=1)[..., None] * x).sum(dim=1)


def masked_mean(x: Tensor, mask: Tensor) -> Tensor:
    """(b, T, D) to (b, D): the mean over valid frames, zeros where there is none."""
    return (x * mask[..., None]).sum(dim=1) / mask.sum(dim=1, keepdim=True).clamp(min=1)


class ModalityDropout(nn.Module):
    """While training, some inputs of some clips are hidden, never all that a clip has; masks (b, T) to masks."""

    def __init__(self, probability: float) -> None:
        super().__init__()
        self.probability = probability

    def forward(self, masks: list[Tensor]) -> list[Tensor]:
        if not self.training or not self.probability or len(masks) < 2:
            return masks
        has = torch.stack([mask.any(dim=1) for mask in masks], dim=1)
        keeps = torch.rand(has.shape, device=has.device) >= self.probability
        keeps = keeps | ~(keeps & has).any(dim=1, keepdim=True)
        return [mask & keeps[:, i, None] for i, mask in enumerate(masks)]
