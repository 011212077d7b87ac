"""The plain loop of Keras: `model.fit` on a list of batches."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Sequence
from typing import Any

from mien.data.batches import Batch
from mien.families.contract import Task

Clock = Callable[[], float]
Between = Callable[[], None]
Epochs = list[tuple[float, float]]


def train(task: Task, batches: Sequence[Batch], n_rounds: int, between: Between, clock: Clock) -> Epochs:
    """Seconds, and those by the clock, of each epoch of `model.fit` on a list of batches. between: called before each
    but the first."""
    from mien.families import lstm_attention

    # isort: split
    import keras
    import tensorflow as tf

    built = lstm_attention.build_model(task)
    model = keras.Model(built.input, list(built.output.values()))  # compile takes no names with a plus sign
    loss = (
        keras.losses.CategoricalCrossentropy(from_logits=True)
        if task.target.kind == "classes"
        else keras.losses.MeanSquaredError()
    )
    training = task.training
    model.compile(
        keras.optimizers.AdamW(
            training.learning_rate, weight_decay=training.weight_decay, global_clipnorm=training.clip_norm or None
        ),
        loss=[loss for _ in model.outputs],
    )
    n_heads = len(model.outputs)
    given = [(lstm_attention.model_inputs(b), (b.targets,) * n_heads, (b.weights,) * n_heads) for b in batches]
    seconds: Epochs = []
    starts: Epochs = []

    def ended(epoch: int, logs: Any) -> None:
        start_s, start_cpu_s = starts[-1]
        seconds.append((time.perf_counter() - start_s, clock() - start_cpu_s))
        if len(seconds) <= n_rounds:
            between()

    # Of a bare generator fit takes the shape of the first batches for that of all, and their lengths differ.
    signature = (
        {name: tf.TensorSpec((None, None, *array.shape[2:]), array.dtype) for name, array in given[0][0].items()},
        (tf.TensorSpec((None, len(task.target.names)), tf.float32),) * n_heads,
        (tf.TensorSpec((None,), tf.float32),) * n_heads,
    )
    model.fit(
        tf.data.Dataset.from_generator(lambda: itertools.cycle(given), output_signature=signature),
        steps_per_epoch=len(given),
        epochs=n_rounds + 1,
        verbose=0,
        callbacks=[
            keras.callbacks.LambdaCallback(
                on_epoch_begin=lambda epoch, logs: starts.append((time.perf_counter(), clock())), on_epoch_end=ended
            )
        ],
    )
    return seconds
