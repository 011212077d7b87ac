"""LSTM with temporal attention (system S1), in Keras 3 on TensorFlow.

Each sequence: Conv1D (what is heard only) -> BiLSTM -> attention over time. Each whole-clip row: a dense layer. The
vectors are joined by a dense head. Unlike the original, the attention has no bias per time step, which could not
take clips of other lengths, and padding and unseen frames are masked before its softmax; an input that is missing
altogether contributes a zero vector.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

# First: it decides which Keras this process uses.
from mien.frameworks import tensorflow as framework

# isort: split
import keras
import numpy as np
import tensorflow as tf
from keras import layers, ops

from mien.batches import Batch, stable_seed
from mien.experiment import LossConfig, LstmAttentionConfig
from mien.families import Predictions, Task
from mien.losses import EPSILON

JOINT = "logits"
FARTHEST = -1e9  # logit of a masked frame: its share of a float32 softmax is exactly 0


class LstmAttention:
    """The learner: model, loss, optimiser and the step that all workers take together."""

    def __init__(self, task: Task) -> None:
        config = task.experiment.model
        if not isinstance(config, LstmAttentionConfig):
            raise TypeError(f"LstmAttention is built from a LstmAttentionConfig, not {type(config).__name__}")
        framework.configure()
        self._sum = framework.Sum()
        self._task = task
        keras.utils.set_random_seed(stable_seed("weights", task.seed) % 2**32)
        self._model = build_model(task, config)
        training = task.experiment.training
        self._optimizer = keras.optimizers.AdamW(
            training.learning_rate,
            weight_decay=training.weight_decay,
            global_clipnorm=training.clip_norm or None,
        )
        self._optimizer.build(self._model.trainable_variables)
        self._auxiliary = config.auxiliary
        signature = self._signature(task)
        self._train_step = tf.function(self._step, input_signature=signature)
        self._predict_step = tf.function(self._probabilities, input_signature=signature[:1])

    def train_epoch(self, batches: Iterable[Batch], *, epoch: int, learning_rate: float) -> dict[str, float]:
        self._optimizer.learning_rate.assign(learning_rate)
        self._reseed(epoch)
        loss, n_samples = 0.0, 0.0
        for batch in batches:
            loss += self._train_step(_inputs(batch), batch.targets, batch.weights, batch.total_weight) * batch.total_weight
            n_samples += batch.total_weight
        return {"loss": float(loss) / n_samples, "n_samples": int(n_samples)}

    def predict(self, batches: Iterable[Batch]) -> Predictions:
        probabilities, rows = [], []
        for batch in batches:
            real = batch.rows >= 0
            probabilities.append(self._predict_step(_inputs(batch)).numpy()[real])
            rows.append(batch.rows[real])
        return Predictions(np.concatenate(probabilities), np.concatenate(rows))

    def save(self, folder: Path) -> None:
        arrays = {f"{i:04d}": variable.numpy() for i, variable in enumerate(self._variables())}
        np.savez(folder / "learner.npz", **arrays)

    def load(self, folder: Path) -> None:
        with np.load(folder / "learner.npz") as arrays:
            for i, variable in enumerate(self._variables()):
                variable.assign(arrays[f"{i:04d}"])

    def export(self, folder: Path) -> None:
        self._model.save(folder / "model_best.keras")

    def _variables(self) -> list[Any]:
        return [*self._model.weights, *self._optimizer.variables]

    def _reseed(self, epoch: int) -> None:
        """Dropout and noise depend on (seed, epoch, rank) and not on what was drawn before: a resumed run repeats."""
        rank, _ = framework.place()
        for i, layer in enumerate(self._model.layers):
            if hasattr(layer, "seed_generator"):
                state = stable_seed("dropout", self._task.seed, epoch, rank, i) % 2**32
                layer.seed_generator.state.assign(np.array([state, 0], np.uint32))

    def _step(self, inputs: dict[str, Any], targets: Any, weights: Any, total_weight: Any) -> Any:
        """One step on the global batch; returns its mean loss."""
        with tf.GradientTape() as tape:
            logits = self._model(inputs, training=True)
            loss = self._loss(targets, logits.pop(JOINT))
            for single in logits.values():
                loss += self._auxiliary * self._loss(targets, single) / len(logits)
            loss = tf.reduce_sum(weights * loss) / total_weight
        gradients = tape.gradient(loss, self._model.trainable_variables)
        total, *gradients = self._sum([loss, *gradients])
        self._optimizer.apply_gradients(zip(gradients, self._model.trainable_variables))
        return total

    def _probabilities(self, inputs: dict[str, Any]) -> Any:
        return tf.nn.softmax(self._model(inputs, training=False)[JOINT])

    def _loss(self, targets: Any, logits: Any) -> Any:
        """(b,) of `mien.losses.focal_loss`, against which a test holds it."""
        config: LossConfig = self._task.experiment.loss
        n_classes = len(self._task.classes)
        targets = targets * (1 - config.label_smoothing) + config.label_smoothing / n_classes
        probabilities = tf.clip_by_value(tf.nn.softmax(logits), EPSILON, 1 - EPSILON)
        terms = -targets * tf.math.log(probabilities) * self._task.class_weights
        if config.kind == "focal":
            terms *= (1 - probabilities) ** config.gamma
        return tf.reduce_sum(terms, axis=-1)

    def _signature(self, task: Task) -> list[Any]:
        """Any number of rows and frames: one graph serves all batches."""
        inputs: dict[str, Any] = {}
        for name, spec in task.specs.items():
            inputs[_values(name)] = tf.TensorSpec((None, None, spec.dim), tf.float32)
            inputs[_mask(name)] = tf.TensorSpec((None, None), tf.bool)
        targets = tf.TensorSpec((None, len(task.classes)), tf.float32)
        return [inputs, targets, tf.TensorSpec((None,), tf.float32), tf.TensorSpec((), tf.float32)]


def build_model(task: Task, config: LstmAttentionConfig) -> keras.Model:
    """Inputs: for each feature its values (b, T, D) and mask (b, T). Outputs: logits (b, K), the joint
    ones and, where there is an auxiliary loss, each input's own."""
    inputs: dict[str, Any] = {}
    vectors: dict[str, Any] = {}
    for name, spec in task.specs.items():
        values = keras.Input((None, spec.dim), name=_values(name))
        mask = keras.Input((None,), dtype="bool", name=_mask(name))
        inputs |= {_values(name): values, _mask(name): mask}
        noisy = layers.GaussianNoise(config.input_noise)(values) if config.input_noise else values
        if spec.hop_s is None:
            vector = _read_row(noisy, mask, config)
        else:
            heard = name in task.experiment.data.audio
            vector = _read_sequence(noisy, mask, config, config.conv_filters if heard else 0)
        vectors[name] = _Present()([layers.Dropout(config.dropout)(vector), mask])
    together = list(vectors.values())
    joint = layers.Concatenate()(together) if len(together) > 1 else together[0]
    joint = layers.Dense(config.dense_units)(joint)
    joint = layers.Dropout(config.dropout)(layers.ReLU()(_normalised(joint, config)))
    logits = layers.Dense(len(task.classes))(joint)
    if not config.auxiliary:
        return keras.Model(inputs, {JOINT: logits})
    single = {f"{name}_logits": layers.Dense(len(task.classes))(vector) for name, vector in vectors.items()}
    return keras.Model(inputs, {JOINT: layers.Add()([logits, *single.values()]), **single})


def _read_sequence(values: Any, mask: Any, config: LstmAttentionConfig, conv_filters: int) -> Any:
    x = _Masked()([values, mask])
    if conv_filters:
        x = layers.Conv1D(conv_filters, config.conv_kernel, padding="same", activation="relu")(x)
        x = _Masked()([x, mask])
    x = layers.Bidirectional(layers.LSTM(config.lstm_units, return_sequences=True))(x, mask=mask)
    vector = Attention(config.lstm_units)([x, mask])
    if config.pooling == "attention+statistics":
        vector = layers.Concatenate()([vector, Statistics()([x, mask])])
    return _normalised(vector, config)


def _read_row(values: Any, mask: Any, config: LstmAttentionConfig) -> Any:
    row = layers.GlobalAveragePooling1D()(_Masked()([values, mask]))  # of a single row: the row
    row = layers.Dropout(config.row_dropout)(row) if config.row_dropout else row
    return layers.ReLU()(_normalised(layers.Dense(config.row_units)(row), config))


def _normalised(x: Any, config: LstmAttentionConfig) -> Any:
    kinds = {"layer": layers.LayerNormalization, "batch": layers.BatchNormalization, "none": layers.Identity}
    return kinds[config.norm]()(x)


@keras.saving.register_keras_serializable("mien")
class Attention(layers.Layer):
    """Weighted sum over time: e = v·tanh(x W + b), a = softmax(e) over valid frames, sum of a x (Bahdanau 2015).

    (b, T, D) and mask (b, T) to (b, D).
    """

    def __init__(self, units: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.supports_masking = True  # it takes the mask as an input, and leaves no time axis to mask
        self.units = units
        self.hidden = layers.Dense(units, activation="tanh")
        self.score = layers.Dense(1, use_bias=False)

    def build(self, shapes: Any) -> None:
        self.hidden.build(shapes[0])
        self.score.build((*shapes[0][:-1], self.units))

    def call(self, inputs: Any) -> Any:
        x, mask = inputs
        scores = ops.where(mask[..., None], self.score(self.hidden(x)), FARTHEST)
        return ops.sum(ops.softmax(scores, axis=1) * x, axis=1)

    def compute_mask(self, inputs: Any, previous_mask: Any) -> None:
        return None

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "units": self.units}


@keras.saving.register_keras_serializable("mien")
class Statistics(layers.Layer):
    """Mean and standard deviation over valid frames, (b, T, D) and mask (b, T) to (b, 2D)."""

    def call(self, inputs: Any) -> Any:
        x, mask = inputs
        weights = ops.cast(mask, x.dtype)[..., None]
        count = ops.maximum(ops.sum(weights, axis=1), 1.0)
        mean = ops.sum(x * weights, axis=1) / count
        variance = ops.sum(ops.square(x - mean[:, None]) * weights, axis=1) / count
        return ops.concatenate([mean, ops.sqrt(variance + 1e-5)], axis=-1)


@keras.saving.register_keras_serializable("mien")
class _Masked(layers.Layer):
    """Zeros where the mask is False: padding must not reach its neighbours through a convolution or through noise."""

    def call(self, inputs: Any) -> Any:
        x, mask = inputs
        return x * ops.cast(mask, x.dtype)[..., None]


@keras.saving.register_keras_serializable("mien")
class _Present(layers.Layer):
    """The vector of an input (b, D), or zeros where the clip has no valid frame of it."""

    def call(self, inputs: Any) -> Any:
        vector, mask = inputs
        return vector * ops.cast(ops.any(mask, axis=1, keepdims=True), vector.dtype)


def _inputs(batch: Batch) -> dict[str, Any]:
    return {_values(name): values for name, values in batch.values.items()} | {
        _mask(name): mask for name, mask in batch.masks.items()
    }


def _values(name: str) -> str:
    return f"{name}_values"


def _mask(name: str) -> str:
    return f"{name}_mask"
