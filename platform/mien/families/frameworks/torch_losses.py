"""The losses of `mien.families.losses` as torch computes them, for one rank's part of a batch."""

from __future__ import annotations

from collections.abc import Sequence

from mien.families.contract import Task
from mien.families.frameworks.torch import summed
from mien.families.losses import EPSILON, SMALLEST_SPREAD

# isort: split
import torch
from torch import Tensor


class Loss:
    """What a task's model is trained by."""

    def __init__(self, task: Task) -> None:
        self._config, self._world = task.loss, task.group.world
        self._class_weights = torch.tensor(task.class_weights, device=task.group.device)

    def share(
        self,
        outputs: Sequence[Tensor],
        head_weights: Sequence[float],
        targets: Tensor,
        mask: Tensor,
        weights: Tensor,
        total_weight: float,
    ) -> Tensor:
        """This rank's share of the loss of a global batch: the sum of all ranks' shares is the loss, and the sum of
        their gradients its gradient.

        outputs: of each head (b, K), logits or predicted dimensions. head_weights: what each head's loss counts.
        targets, mask: (b, K). weights: (b,). total_weight: sum of the weights of all ranks.
        """
        rows = self._entropy if self._config.kind in ("focal", "cross-entropy") else self._squared_error
        losses = [weight * rows(targets, output, mask) for weight, output in zip(head_weights, outputs)]
        loss = (weights * torch.stack(losses).sum(dim=0)).sum() / total_weight
        if self._config.kind != "ccc":
            return loss
        disagreement = self._concordance(outputs, head_weights, targets, mask & (weights > 0)[:, None])
        return self._config.mse * loss + (1 - self._config.mse) * disagreement

    def _entropy(self, targets: Tensor, logits: Tensor, mask: Tensor) -> Tensor:
        """(b,): focal loss, or cross-entropy."""
        config = self._config
        targets = targets * (1 - config.label_smoothing) + config.label_smoothing / targets.shape[-1]
        probabilities = logits.softmax(dim=-1).clamp(EPSILON, 1 - EPSILON)
        terms = -targets * probabilities.log() * self._class_weights
        if config.kind == "focal":
            terms = terms * (1 - probabilities) ** config.gamma
        return terms.sum(dim=-1)

    @staticmethod
    def _squared_error(targets: Tensor, predictions: Tensor, mask: Tensor) -> Tensor:
        """(b,): squared error, its mean over what was rated."""
        squares = mask * (predictions - targets).square()
        return squares.sum(dim=-1) / mask.sum(dim=-1).clamp(min=1)

    def _concordance(
        self, outputs: Sequence[Tensor], head_weights: Sequence[float], targets: Tensor, mask: Tensor
    ) -> Tensor:
        """1 - CCC of the whole batch, whose moments are sums over all ranks. It is no sum over rows, so each rank
        computes all of it, and its own rows' gradient alone; its value is divided among the ranks."""
        own = torch.stack([_moments(targets, predictions, mask) for predictions in outputs])
        n, t, p, tt, pp, tp = (own + (summed(own, self._world) - own.detach())).unbind(dim=1)  # each (heads, K)
        is_rated = n > 0
        n = n.clamp(min=1)
        mean_t, mean_p = t / n, p / n
        spread = (tt / n + pp / n - 2 * mean_t * mean_p).clamp(min=SMALLEST_SPREAD)
        correlation = 2 * (tp / n - mean_t * mean_p) / spread
        losses = (is_rated * (1 - correlation)).sum(dim=-1) / is_rated.sum(dim=-1).clamp(min=1)  # (heads,)
        loss = (torch.tensor(head_weights, device=losses.device) * losses).sum()
        others = 1 - 1 / self._world
        return loss - others * loss.detach()


def _moments(targets: Tensor, predictions: Tensor, mask: Tensor) -> Tensor:
    """(6, K): see `mien.families.losses.concordance_moments`."""
    terms = (torch.ones_like(targets), targets, predictions, targets**2, predictions**2, targets * predictions)
    return torch.stack([(mask * term).sum(dim=0) for term in terms])
