"""LSTM with temporal attention (system S1), in Keras 3 on TensorFlow.

Each sequence: Conv1D (of some modalities, if asked for) -> BiLSTM -> attention over time, or another pooling. Each
whole-clip row: a dense layer, and one over all narrow rows together, since what is heard and seen explains each other.
The vectors are joined by a dense head; each also predicts by itself, and such experts may be combined with it. Unlike
the original, the attention has no bias per time step, which could not take clips of other lengths, and padding and
unseen frames are masked before its softmax; an input that is missing altogether contributes a zero vector.
"""

from __future__ import annotations

import dataclasses
import random
import weakref
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any

# First: it decides which Keras this process uses.
from mien.families.frameworks import tensorflow as framework

# isort: split
import keras
import numpy as np
import tensorflow as tf
from keras import layers
from numpy.typing import NDArray

from mien.data.batches import Batch, stable_seed
from mien.errors import ExperimentError
from mien.experiment import LstmAttentionConfig
from mien.families.arrays import CHECKPOINT, WEIGHTS, read_arrays, write_arrays
from mien.families.contract import NotFiniteError, Predictions, Rate, Task
from mien.families.frameworks.tensorflow_losses import Loss
from mien.families.lstm_attention_layers import (
    Attention,
    EveryNth,
    Masked,
    MaskedMax,
    MaskedMean,
    Present,
)
from mien.features.spec import FeatureSpec

JOINT = "joint"
N_KINDS = 4  # of graphs that are kept: an experiment and its variants
WIDE_ROW, WIDE_ROW_DROPOUT = 1000, 0.5  # ComParE's 6,373 columns say much the same several times over


class LstmAttention:
    """The learner: a graph with this run's weights in it, which no other learner uses as long as this one lives."""

    def __init__(self, task: Task) -> None:
        if not isinstance(task.model, LstmAttentionConfig):
            raise TypeError(f"LstmAttention is built from a LstmAttentionConfig, not {type(task.model).__name__}")
        framework.configure()
        self._seed, self._rank = task.seed, task.group.rank
        # As `reading.frames` calls each array, and as the model does.
        self._names = {f"values/{name}": _values(name) for name in task.inputs} | {
            f"mask/{name}": _mask(name) for name in task.inputs
        }
        self._graph = _spare.take(task)
        weakref.finalize(self, _spare.give_back, self._graph)
        self._graph.reset(task)

    def train_epoch(self, batches: Iterable[Batch], *, epoch: int, rate: Rate) -> dict[str, float]:
        self._graph.reseed("dropout", self._seed, epoch, self._rank)
        loss, n_samples = 0.0, 0.0
        for batch in batches:
            self._graph.optimizer.learning_rate.assign(rate(batch.progress))
            mean, is_finite = self._graph.train_step(
                model_inputs(batch), batch.targets, batch.target_mask, batch.weights, batch.total_weight
            )
            if not is_finite:
                raise NotFiniteError(batch, float(mean))
            loss += mean * batch.total_weight
            n_samples += batch.total_weight
        return {"loss": float(loss) / n_samples, "n_samples": int(n_samples)}

    def predict(self, batches: Iterable[Batch], *, dropout: int | None = None) -> Predictions:
        values, rows = [], []
        step = self._graph.predict_step
        if dropout is not None:
            step = self._graph.draw_step
            self._graph.reseed("mc-dropout", dropout, self._rank)
        with self._graph.averaged():
            for batch in batches:
                is_real = batch.rows >= 0
                values.append(step(model_inputs(batch)).numpy()[is_real])
                rows.append(batch.rows[is_real])
        return Predictions(np.concatenate(values), np.concatenate(rows))

    def save(self, folder: Path) -> None:
        write_arrays(folder / CHECKPOINT, _arrays(self._graph.variables()))

    def load(self, folder: Path) -> None:
        _assign(self._graph.variables(), folder / CHECKPOINT)

    def export(self, folder: Path) -> None:
        with self._graph.averaged():
            write_arrays(folder / WEIGHTS, _arrays(self._graph.model.weights))

    def restore(self, folder: Path) -> None:
        _assign(self._graph.model.weights, folder / WEIGHTS)
        self._graph.restart_average()

    def to_onnx(self) -> bytes:
        from mien.families.frameworks.tensorflow_onnx import graph_of

        with self._graph.averaged():
            return graph_of(
                lambda inputs: self._graph.predicted(self._graph.model(inputs, training=False)),
                self._graph.inputs,
                self._names,
            )


def _arrays(variables: Iterable[Any]) -> dict[str, NDArray[Any]]:
    """By their place: the names that Keras gives depend on what else this process has built."""
    return {f"{i:04d}": variable.numpy() for i, variable in enumerate(variables)}


def _assign(variables: list[Any], path: Path) -> None:
    here = _arrays(variables)
    arrays = read_arrays(path, like=here)
    for name, variable in zip(here, variables):
        variable.assign(arrays[name])


class _Graph:
    """Model, optimiser, and the two steps as TensorFlow traced them, for all tasks of one kind."""

    def __init__(self, task: Task) -> None:
        self.kind = kind_of(task)
        self._config: Any = task.model
        self._is_of_classes = task.target.kind == "classes"
        self._sum = framework.Sum(task.group.world)
        self.model = build_model(task)
        self._experts: tuple[str, ...] = self._config.experts
        unknown = set(self._experts) - set(self.model.output)
        if unknown:
            raise ExperimentError(
                f"model.experts names {', '.join(sorted(unknown))}: there are {', '.join(sorted(self.model.output))}"
            )
        self._weights = self.model.trainable_variables
        self._class_weights = tf.Variable(task.class_weights, trainable=False)
        self._loss = Loss(task, self._class_weights, self._sum)
        self._decay = task.training.average
        self.optimizer = keras.optimizers.AdamW(
            task.training.learning_rate,
            weight_decay=task.training.weight_decay,
            global_clipnorm=task.training.clip_norm or None,
        )
        self.optimizer.build(self._weights)
        self._average = [tf.Variable(weight.value, trainable=False) for weight in self._weights]
        self.inputs: dict[str, Any] = {}  # any number of rows and frames: one trace serves all batches
        for name, spec in task.inputs.items():
            self.inputs[_values(name)] = tf.TensorSpec((None, None, *spec.shape), tf.float32)
            self.inputs[_mask(name)] = tf.TensorSpec((None, None), tf.bool)
        n_targets = len(task.target.names)
        targets, rated = tf.TensorSpec((None, n_targets), tf.float32), tf.TensorSpec((None, n_targets), tf.bool)
        weights, total = tf.TensorSpec((None,), tf.float32), tf.TensorSpec((), tf.float32)
        self.train_step = tf.function(
            self._step, autograph=False, input_signature=[self.inputs, targets, rated, weights, total]
        )
        self.predict_step = tf.function(
            lambda inputs: self.predicted(self.model(inputs, training=False)),
            autograph=False,
            input_signature=[self.inputs],
        )

    @cached_property
    def draw_step(self) -> Any:
        """`predict_step` with dropout; seconds to trace, so it is made where it is asked for.

        Of the same layers. In each call of one it is said whether it trains: those of Keras that are not told do as the
        layer before them, and batch normalisation would learn from what it predicts.
        """

        def called(layer: Any, *args: Any, **kwargs: Any) -> Any:
            return layer(*args, **kwargs | {"training": isinstance(layer, layers.Dropout)})

        drawn = keras.models.clone_model(self.model, clone_function=lambda layer: layer, call_function=called)
        return tf.function(lambda inputs: self.predicted(drawn(inputs)), autograph=False, input_signature=[self.inputs])

    def reset(self, task: Task) -> None:
        """As new: initial weights by the seed, an optimiser that has seen nothing."""
        # Keras 3 draws the seeds of its initialisers from Python's generator. `keras.utils.set_random_seed` would set
        # TensorFlow's too, which forgets all that it has compiled: seconds for each fold and seed.
        before = random.getstate()
        random.seed(stable_seed("weights", task.seed) % 2**32)
        self.model.set_weights(keras.models.clone_model(self.model).get_weights())
        random.setstate(before)
        for variable in self.optimizer.variables:
            variable.assign(np.zeros(variable.shape, variable.dtype))
        self.restart_average()
        self._class_weights.assign(task.class_weights)

    def restart_average(self) -> None:
        """The average is the weights as they are."""
        for average, weight in zip(self._average, self._weights):
            average.assign(weight)

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
        if self._decay:
            for weight, average in zip(self._weights, self._average):
                weight.assign(average)
        try:
            yield
        finally:
            for weight, value in zip(self._weights, live):
                weight.assign(value)

    def _step(self, inputs: Mapping[str, Any], targets: Any, rated: Any, weights: Any, total_weight: Any) -> Any:
        """One step on the global batch; returns its mean loss, and whether that and the gradients are finite."""
        with tf.GradientTape() as tape:
            outputs = self.model(inputs, training=True)
            heads = [outputs[JOINT], *(own for name, own in outputs.items() if name != JOINT)]
            head_weights = [1.0] + [self._config.auxiliary] * (len(heads) - 1)
            loss = self._loss.share(heads, head_weights, targets, rated, weights, total_weight)
        total, *gradients = self._sum([loss, *tape.gradient(loss, self._weights)])
        sums = tf.stack([total, *(tf.reduce_sum(gradient) for gradient in gradients)])
        self.optimizer.apply_gradients(zip(gradients, self._weights))
        # Short memory at first, so that the initial weights are soon forgotten.
        step = tf.cast(self.optimizer.iterations, tf.float32)
        decay = tf.minimum(self._decay, (1 + step) / (10 + step))
        for average, weight in zip(self._average, self._weights):
            average.assign(decay * average + (1 - decay) * weight)
        return total, tf.reduce_all(tf.math.is_finite(sums))

    def predicted(self, outputs: Mapping[str, Any]) -> Any:
        """Of classes the product of the experts (Hinton 2002), as the softmax of their mean log-probability; of
        dimensions the mean of the experts."""
        chosen = [outputs[name] for name in (JOINT, *self._experts)]
        if not self._is_of_classes:
            return tf.add_n(chosen) / len(chosen)
        chosen = [tf.nn.log_softmax(logits) for logits in chosen]
        return tf.nn.softmax(tf.add_n(chosen) / len(chosen))


def kind_of(task: Task) -> tuple[Any, ...]:
    """All of a task that a graph is traced for. Tasks that differ only in what is left out, such as seed, learning rate
    and class weights, can use one graph after the other."""
    optimiser = (task.training.weight_decay, task.training.clip_norm, task.training.average)
    loss = dataclasses.replace(task.loss, alpha="none")
    return (task.model, loss, optimiser, tuple(task.inputs.items()), task.target, task.group.world)


class _SpareGraphs:
    """Graphs whose learner is gone, for the next learner of the same kind: tracing takes longer than many an epoch.

    Holds those of the few kinds last asked for, so that a search through many models does not keep them all. They end
    with the process.
    """

    def __init__(self) -> None:
        self._graphs: list[tuple[tuple[Any, ...], list[_Graph]]] = []  # by kind, the one last asked for at the end

    def take(self, task: Task) -> _Graph:
        """One that no learner uses, traced now if there is none. It still holds the weights of its last learner."""
        kind = kind_of(task)
        graphs = self._of(kind) or []
        others = [one for one in self._graphs if one[0] != kind]
        self._graphs = [*others[1 - N_KINDS :], (kind, graphs)]
        return graphs.pop() if graphs else _Graph(task)

    def give_back(self, graph: _Graph) -> None:
        graphs = self._of(graph.kind)
        if graphs is not None:
            graphs.append(graph)

    def _of(self, kind: tuple[Any, ...]) -> list[_Graph] | None:
        return next((graphs for known, graphs in self._graphs if known == kind), None)


_spare = _SpareGraphs()


def build_model(task: Task) -> keras.Model:
    """Inputs: for each feature its values (b, T, D) and mask (b, T). Outputs: (b, K), logits or dimensions as the
    target is; the joint ones and, where there are several vectors and an auxiliary loss, each one's own."""
    config: Any = task.model
    n_targets = len(task.target.names)
    inputs: dict[str, Any] = {}
    vectors: dict[str, Any] = {}
    narrow: dict[str, Any] = {}
    for name, spec in task.inputs.items():
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
            conv_filters = config.conv_filters if spec.modality in config.conv else 0
            vector = _read_sequence(x, mask, spec, config, conv_filters)
        vectors[name] = Present()([vector, mask])
    if len(narrow) > 1:
        vectors["+".join(narrow)] = _read_row(_concatenated(narrow.values()), config.row_dropout, config)
    vectors = {name: layers.Dropout(config.dropout)(vector) for name, vector in vectors.items()}
    several = len(vectors) > 1
    together = _concatenated(vectors.values())
    joint = layers.ReLU()(_normalised(layers.Dense(config.dense_units)(together), config))
    outputs = {JOINT: layers.Dense(n_targets)(layers.Dropout(config.dropout)(joint))}
    if several and config.auxiliary:
        outputs |= {name: layers.Dense(n_targets)(vector) for name, vector in vectors.items()}
    return keras.Model(inputs, outputs)


def _read_sequence(values: Any, mask: Any, spec: FeatureSpec, config: LstmAttentionConfig, conv_filters: int) -> Any:
    stride = max(1, round(config.step_s / spec.hop_s)) if spec.hop_s else 1
    if stride > 1:
        values, mask = EveryNth(stride)(values), EveryNth(stride)(mask)
    x = Masked()([values, mask])
    if conv_filters:
        x = layers.Conv1D(conv_filters, config.conv_kernel, padding="same", activation="relu")(x)
        x = Masked()([x, mask])
    is_last = config.pooling == "last"
    x = layers.Bidirectional(layers.LSTM(config.lstm_units, return_sequences=not is_last))(x, mask=mask)
    return _normalised(x if is_last else _pooling(config)([x, mask]), config)


def _pooling(config: LstmAttentionConfig) -> layers.Layer:
    if config.pooling in ("mean", "max"):
        return MaskedMean() if config.pooling == "mean" else MaskedMax()
    return Attention(config.lstm_units if config.pooling == "attention" else 0)


def _read_row(row: Any, dropout: float, config: LstmAttentionConfig) -> Any:
    row = layers.Dropout(dropout)(row) if dropout else row
    return layers.ReLU()(_normalised(layers.Dense(config.row_units)(row), config))


def _concatenated(tensors: Iterable[Any]) -> Any:
    tensors = list(tensors)
    return layers.Concatenate()(tensors) if len(tensors) > 1 else tensors[0]


def _normalised(x: Any, config: LstmAttentionConfig) -> Any:
    kinds = {"layer": layers.LayerNormalization, "batch": layers.BatchNormalization, "none": layers.Identity}
    return kinds[config.norm]()(x)


def model_inputs(batch: Batch) -> dict[str, Any]:
    """A batch as the model takes it."""
    return {_values(name): values for name, values in batch.values.items()} | {
        _mask(name): mask for name, mask in batch.masks.items()
    }


def _values(name: str) -> str:
    return f"{name}_values"


def _mask(name: str) -> str:
    return f"{name}_mask"
