"""The losses of `mien.families.losses` as TensorFlow computes them, for one rank's part of a batch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mien.families.contract import Task
from mien.families.frameworks.tensorflow import Sum
from mien.families.losses import EPSILON, SMALLEST_SPREAD

# isort: split
import tensorflow as tf


class Loss:
    """What a task's model is trained by.

    class_weights: (K,), a variable where it is to change without tracing again.
    """

    def __init__(self, task: Task, class_weights: Any, total: Sum) -> None:
        self._config, self._class_weights, self._sum = task.loss, class_weights, total

    def share(
        self, outputs: Sequence[Any], head_weights: Sequence[float], targets: Any, mask: Any, weights: Any, total: Any
    ) -> Any:
        """This rank's share of the loss of a global batch: the sum of all ranks' shares is the loss, and the sum of
        their gradients its gradient.

        outputs: of each head (b, K), logits or predicted dimensions. head_weights: what each head's loss counts.
        targets, mask: (b, K). weights: (b,). total: sum of the weights of all ranks.
        """
        rows = self._entropy if self._config.kind in ("focal", "cross-entropy") else self._squared_error
        loss = head_weights[0] * rows(targets, outputs[0], mask)
        for weight, output in zip(head_weights[1:], outputs[1:]):
            loss += weight * rows(targets, output, mask)
        loss = tf.reduce_sum(weights * loss) / total
        if self._config.kind != "ccc":
            return loss
        disagreement = self._concordance(outputs, head_weights, targets, mask & (weights > 0)[:, None])
        return self._config.mse * loss + (1 - self._config.mse) * disagreement

    def _entropy(self, targets: Any, logits: Any, mask: Any) -> Any:
        """(b,): focal loss, or cross-entropy."""
        config = self._config
        targets = targets * (1 - config.label_smoothing) + config.label_smoothing / targets.shape[-1]
        probabilities = tf.clip_by_value(tf.nn.softmax(logits), EPSILON, 1 - EPSILON)
        terms = -targets * tf.math.log(probabilities) * self._class_weights
        if config.kind == "focal":
            terms *= (1 - probabilities) ** config.gamma
        return tf.reduce_sum(terms, axis=-1)

    @staticmethod
    def _squared_error(targets: Any, predictions: Any, mask: Any) -> Any:
        """(b,): squared error, its mean over what was rated."""
        rated = tf.cast(mask, tf.float32)
        squares = rated * tf.square(predictions - targets)
        return tf.reduce_sum(squares, axis=-1) / tf.maximum(tf.reduce_sum(rated, axis=-1), 1)

    def _concordance(self, outputs: Sequence[Any], head_weights: Sequence[float], targets: Any, mask: Any) -> Any:
        """1 - CCC of the whole batch, whose moments are sums over all ranks. It is no sum over rows, so each rank
        computes all of it, and its own rows' gradient alone; its value is divided among the ranks."""
        rated = tf.cast(mask, tf.float32)
        own = tf.stack([_moments(targets, predictions, rated) for predictions in outputs])
        [summed] = self._sum([tf.stop_gradient(own)])
        n, t, p, tt, pp, tp = tf.unstack(own + tf.stop_gradient(summed - own), axis=1)  # each (heads, K)
        is_rated = tf.cast(n > 0, tf.float32)
        n = tf.maximum(n, 1)
        mean_t, mean_p = t / n, p / n
        spread = tf.maximum(tt / n + pp / n - 2 * mean_t * mean_p, SMALLEST_SPREAD)
        correlation = 2 * (tp / n - mean_t * mean_p) / spread
        n_rated = tf.reduce_sum(is_rated, axis=-1)
        losses = tf.math.divide_no_nan(tf.reduce_sum(is_rated * (1 - correlation), axis=-1), n_rated)  # (heads,)
        loss = tf.reduce_sum(tf.constant(head_weights, tf.float32) * losses)
        others = 1 - 1 / self._sum.world
        return loss - others * tf.stop_gradient(loss)


def _moments(targets: Any, predictions: Any, rated: Any) -> Any:
    """(6, K): see `mien.families.losses.concordance_moments`."""
    terms = (tf.ones_like(targets), targets, predictions, targets**2, predictions**2, targets * predictions)
    return tf.stack([tf.reduce_sum(rated * term, axis=0) for term in terms])
