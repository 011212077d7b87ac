"""LSTM with temporal attention (system S1), in Keras 3 on TensorFlow.

Each sequence: Conv1D (what is heard only, if asked for) -> BiLSTM -> attention over time. Each whole-clip row: a dense
layer, and one over all narrow rows together, since what is heard and seen explains each other. The vectors are joined
by a dense head; each also predicts by itself, and such experts may be multiplied in. Unlike the original, the attention
has no bias per time step, which could not take clips of other lengths, and padding and unseen frames are masked before
its softmax; an input that is missing altogether contributes a zero vector.
"""

from __future__ import annotations

import weakref
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

# First: it decides which Keras this process uses.
from mien.families.frameworks import tensorflow as framework

# isort: split
import keras
import numpy as np
import tensorflow as tf
from keras import layers, ops

from mien.data.batches import Batch, stable_seed
from mien.errors import ExperimentError
from mien.experiment import Experiment, LstmAttentionConfig
from mien.families import Predictions, Task
from mien.families.losses import EPSILON
from mien.features.spec import FeatureSpec

JOINT = "joint"
FARTHEST = -1e9  # logit of a masked frame: its share of a float32 softmax is exactly 0
WIDE_ROW, WIDE_ROW_DROPOUT = 1000, 0.5  # ComParE's 6,373 columns say much the same several times over


class LstmAttention:
    """The learner: a graph with this run's weights in it. Learners that live at a time never share one; a new one
    takes over the graph of one that is gone, since tracing takes longer than many an epoch."""

    def __init__(self, task: Task) -> None:
        if not isinstance(task.experiment.model, LstmAttentionConfig):
            raise TypeError(f"not a configuration of LstmAttention: {task.experiment.model}")
        framework.configure()
        self._seed = task.seed
        key = repr([task.experiment.to_json() | {"execution": None}, task.specs, task.classes])
        if key not in _idle:
            _idle.clear()  # of another experiment: no longer wanted
        graphs = _idle.setdefault(key, [])
        self._graph = graphs.pop() if graphs else _Graph(task)
        weakref.finalize(self, graphs.append, self._graph)
        self._graph.reset(task)

    def train_epoch(self, batches: Iterable[Batch], *, epoch: int, learning_rate: float) -> dict[str, float]:
        self._graph.optimizer.learning_rate.assign(learning_rate)
        self._graph.reseed("dropout", self._seed, epoch, framework.place()[0])
        loss, n_samples = 0.0, 0.0
        for batch in batches:
            mean = self._graph.train_step(model_inputs(batch), batch.targets, batch.weights, batch.total_weight)
            loss += mean * batch.total_weight
            n_samples += batch.total_weight
        return {"loss": float(loss) / n_samples, "n_samples": int(n_samples)}

    def predict(self, batches: Iterable[Batch]) -> Predictions:
        probabilities, rows = [], []
        with self._graph.averaged():
            for batch in batches:
                real = batch.rows >= 0
                probabilities.append(self._graph.predict_step(model_inputs(batch)).numpy()[real])
                rows.append(batch.rows[real])
        return Predictions(np.concatenate(probabilities), np.concatenate(rows))

    def save(self, folder: Path) -> None:
        arrays = {f"{i:04d}": variable.numpy() for i, variable in enumerate(self._graph.variables())}
        np.savez(folder / "learner.npz", **arrays)

    def load(self, folder: Path) -> None:
        with np.load(folder / "learner.npz") as arrays:
            for i, variable in enumerate(self._graph.variables()):
                variable.assign(arrays[f"{i:04d}"])

    def export(self, folder: Path) -> None:
        with self._graph.averaged():
            self._graph.model.save(folder / "model_best.keras")


class _Graph:
    """Model, optimiser, and the two steps as TensorFlow traced them."""

    def __init__(self, task: Task) -> None:
        self._experiment: Experiment = task.experiment
        self._sum = framework.Sum()
        training = task.experiment.training
        self.model = build_model(task)
        self._experts: tuple[str, ...] = task.experiment.model.experts
        unknown = set(self._experts) - set(self.model.output)
        if unknown:
            raise ExperimentError(
                f"model.experts names {', '.join(sorted(unknown))}: there are {', '.join(sorted(self.model.output))}"
            )
        self._weights = self.model.trainable_variables
        self._class_weights = tf.Variable(task.class_weights, trainable=False)
        self.optimizer = keras.optimizers.AdamW(
            training.learning_rate,
            weight_decay=training.weight_decay,
            global_clipnorm=training.clip_norm or None,
        )
        self.optimizer.build(self._weights)
        self._average = [tf.Variable(weight.value, trainable=False) for weight in self._weights]
        inputs: dict[str, Any] = {}  # any number of rows and frames: one trace serves all batches
        for name, spec in task.specs.items():
            inputs[_values(name)] = tf.TensorSpec((None, None, spec.dim), tf.float32)
            inputs[_mask(name)] = tf.TensorSpec((None, None), tf.bool)
        targets = tf.TensorSpec((None, len(task.classes)), tf.float32)
        weights, total = tf.TensorSpec((None,), tf.float32), tf.TensorSpec((), tf.float32)
        self.train_step = tf.function(self._step, input_signature=[inputs, targets, weights, total])
        self.predict_step = tf.function(self._probabilities, input_signature=[inputs])

    def reset(self, task: Task) -> None:
        """As new: initial weights by the seed, an optimiser that has seen nothing."""
        keras.utils.set_random_seed(stable_seed("weights", task.seed) % 2**32)
        self.model.set_weights(keras.models.clone_model(self.model).get_weights())
        for variable in self.optimizer.variables:
            variable.assign(np.zeros(variable.shape, variable.dtype))
        for average, weight in zip(self._average, self._weights):
            average.assign(weight)
        self._class_weights.assign(task.class_weights)

    def reseed(self, *parts: object) -> None:
        """Dropout and noise depend on (seed, epoch, rank), not on what was drawn before: a resumed run repeats."""
        for i, layer in enumerate(self.model.layers):
            if hasattr(layer, "seed_generator"):
                state = stable_seed(*parts, i) % 2**32
                layer.seed_generator.state.assign(np.array([state, 0], np.uint32))

    def variables(self) -> list[Any]:
        """All that a checkpoint holds, in a fixed order."""
        return [*self.model.weights, *self._average, *self.optimizer.variables]

    @contextmanager
    def averaged(self) -> Iterator[None]:
        """The moving average in the model's place, and the live weights back afterwards."""
        live = [weight.numpy() for weight in self._weights]
        if self._experiment.training.average:
            for weight, average in zip(self._weights, self._average):
                weight.assign(average)
        try:
            yield
        finally:
            for weight, value in zip(self._weights, live):
                weight.assign(value)

    def _step(self, inputs: dict[str, Any], targets: Any, weights: Any, total_weight: Any) -> Any:
        """One step on the global batch; returns its mean loss."""
        with tf.GradientTape() as tape:
            logits = self.model(inputs, training=True)
            loss = self.loss(targets, logits[JOINT])
            for name, single in logits.items():
                if name != JOINT:
                    loss += self._experiment.model.auxiliary * self.loss(targets, single)
            loss = tf.reduce_sum(weights * loss) / total_weight
        total, *gradients = self._sum([loss, *tape.gradient(loss, self._weights)])
        self.optimizer.apply_gradients(zip(gradients, self._weights))
        # Short memory at first, so that the initial weights are soon forgotten.
        step = tf.cast(self.optimizer.iterations, tf.float32)
        decay = tf.minimum(self._experiment.training.average, (1 + step) / (10 + step))
        for average, weight in zip(self._average, self._weights):
            average.assign(decay * average + (1 - decay) * weight)
        return total

    def _probabilities(self, inputs: dict[str, Any]) -> Any:
        """Product of the experts (Hinton 2002), as the softmax of their mean log-probability."""
        logits = self.model(inputs, training=False)
        chosen = [tf.nn.log_softmax(logits[name]) for name in (JOINT, *self._experts)]
        return tf.nn.softmax(tf.add_n(chosen) / len(chosen))

    def loss(self, targets: Any, logits: Any) -> Any:
        """(b,) of `mien.families.losses.focal_loss`, against which a test holds it."""
        config = self._experiment.loss
        targets = targets * (1 - config.label_smoothing) + config.label_smoothing / targets.shape[-1]
        probabilities = tf.clip_by_value(tf.nn.softmax(logits), EPSILON, 1 - EPSILON)
        terms = -targets * tf.math.log(probabilities) * self._class_weights
        if config.kind == "focal":
            terms *= (1 - probabilities) ** config.gamma
        return tf.reduce_sum(terms, axis=-1)


_idle: dict[str, list[_Graph]] = {}  # by what they were traced for: anything but seed and fold


def build_model(task: Task) -> keras.Model:
    """Inputs: for each feature its values (b, T, D) and mask (b, T). Outputs: logits (b, K), the joint ones and, where
    there are several vectors and an auxiliary loss, each one's own."""
    config: Any = task.experiment.model
    inputs: dict[str, Any] = {}
    vectors: dict[str, Any] = {}
    narrow: dict[str, Any] = {}
    for name, spec in task.specs.items():
        values = keras.Input((None, spec.dim), name=_values(name))
        mask = keras.Input((None,), dtype="bool", name=_mask(name))
        inputs |= {_values(name): values, _mask(name): mask}
        x = layers.GaussianNoise(config.input_noise)(values) if config.input_noise else values
        if spec.hop_s is None:
            row = layers.GlobalAveragePooling1D()(Masked()([x, mask]))  # of a single row: the row
            if spec.dim <= WIDE_ROW:
                narrow[name] = row
            vector = _read_row(row, config.row_dropout if name in narrow else WIDE_ROW_DROPOUT, config)
        else:
            heard = name in task.experiment.data.audio
            vector = _read_sequence(x, mask, spec, config, config.conv_filters if heard else 0)
        vectors[name] = Present()([vector, mask])
    if len(narrow) > 1:
        vectors["+".join(narrow)] = _read_row(_concatenated(narrow.values()), config.row_dropout, config)
    vectors = {name: layers.Dropout(config.dropout)(vector) for name, vector in vectors.items()}
    several = len(vectors) > 1
    together = _concatenated(vectors.values())
    joint = layers.ReLU()(_normalised(layers.Dense(config.dense_units)(together), config))
    logits = {JOINT: layers.Dense(len(task.classes))(layers.Dropout(config.dropout)(joint))}
    if several and config.auxiliary:
        logits |= {name: layers.Dense(len(task.classes))(vector) for name, vector in vectors.items()}
    return keras.Model(inputs, logits)


def _read_sequence(values: Any, mask: Any, spec: FeatureSpec, config: LstmAttentionConfig, conv_filters: int) -> Any:
    stride = max(1, round(config.step_s / spec.hop_s)) if spec.hop_s else 1
    if stride > 1:
        values, mask = EveryNth(stride)(values), EveryNth(stride)(mask)
    x = Masked()([values, mask])
    if conv_filters:
        x = layers.Conv1D(conv_filters, config.conv_kernel, padding="same", activation="relu")(x)
        x = Masked()([x, mask])
    x = layers.Bidirectional(layers.LSTM(config.lstm_units, return_sequences=True))(x, mask=mask)
    return _normalised(Attention(config.lstm_units)([x, mask]), config)


def _read_row(row: Any, dropout: float, config: LstmAttentionConfig) -> Any:
    row = layers.Dropout(dropout)(row) if dropout else row
    return layers.ReLU()(_normalised(layers.Dense(config.row_units)(row), config))


def _concatenated(tensors: Iterable[Any]) -> Any:
    tensors = list(tensors)
    return layers.Concatenate()(tensors) if len(tensors) > 1 else tensors[0]


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
class EveryNth(layers.Layer):
    """Frames 0, n, 2n, ... of (b, T, ...)."""

    def __init__(self, n: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.n = n

    def call(self, x: Any) -> Any:
        return x[:, :: self.n]

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "n": self.n}


@keras.saving.register_keras_serializable("mien")
class Masked(layers.Layer):
    """Zeros where the mask is False: padding must not reach its neighbours through a convolution or through noise."""

    def call(self, inputs: Any) -> Any:
        x, mask = inputs
        return x * ops.cast(mask, x.dtype)[..., None]


@keras.saving.register_keras_serializable("mien")
class Present(layers.Layer):
    """The vector of an input (b, D), or zeros where the clip has no valid frame of it."""

    def call(self, inputs: Any) -> Any:
        vector, mask = inputs
        return vector * ops.cast(ops.any(mask, axis=1, keepdims=True), vector.dtype)


def model_inputs(batch: Batch) -> dict[str, Any]:
    """A batch as the model takes it."""
    return {_values(name): values for name, values in batch.values.items()} | {
        _mask(name): mask for name, mask in batch.masks.items()
    }


def _values(name: str) -> str:
    return f"{name}_values"


def _mask(name: str) -> str:
    return f"{name}_mask"
