"""TensorFlow in a worker: threads, determinism, and sums over all workers.

Keras 3 cannot fit under MultiWorkerMirroredStrategy (keras#20585), so each worker holds a plain Keras model and the
gradients are summed by TensorFlow's own collective, started from the TF_CONFIG that Ray Train sets.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from functools import cache
from typing import Any

# Ray Train asks for the frozen tf-keras; the families are written for Keras 3. Before the first import of keras.
os.environ["TF_USE_LEGACY_KERAS"] = "0"
os.environ.setdefault("KERAS_BACKEND", "tensorflow")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")  # its sums depend on the number of threads

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

GROUP_KEY = 1


@cache
def configure(n_threads: int = 1) -> None:
    """Threads and determinism, once a process and before its first operation."""
    tf.config.threading.set_intra_op_parallelism_threads(n_threads)
    tf.config.threading.set_inter_op_parallelism_threads(n_threads)
    tf.config.experimental.enable_op_determinism()


def place() -> tuple[int, int]:
    """(rank, number of workers) by TF_CONFIG; (0, 1) without."""
    config = json.loads(os.environ.get("TF_CONFIG", "{}"))
    workers = config.get("cluster", {}).get("worker", ["alone"])
    return int(config.get("task", {}).get("index", 0)), len(workers)


@cache
def _start_collectives() -> int:
    """Connect the workers; returns their number. The strategy is made for its side effect: it starts the runtime."""
    _, world = place()
    if world > 1:
        tf.distribute.MultiWorkerMirroredStrategy()
    return world


class Sum:
    """Element-wise sums of tensors over all workers, in one collective; the identity with one worker."""

    def __init__(self) -> None:
        self.world = _start_collectives()

    def __call__(self, tensors: Sequence[Any]) -> list[Any]:
        """Usable inside a tf.function. Every worker calls it equally often, with the same shapes."""
        if self.world == 1:
            return list(tensors)
        shapes = [tf.shape(tensor) for tensor in tensors]
        sizes = [tf.size(tensor) for tensor in tensors]
        total_size = tf.add_n(sizes)
        flat = tf.concat([tf.reshape(tensor, [-1]) for tensor in tensors], axis=0)
        total = tf.raw_ops.CollectiveReduceV2(
            input=flat,
            group_size=self.world,
            group_key=GROUP_KEY,
            instance_key=1 + total_size,  # a key stands for one shape: another under it would wait for ever
            ordering_token=[],
            merge_op="Add",
            final_op="Id",
        )
        return [tf.reshape(part, shape) for part, shape in zip(tf.split(total, sizes), shapes)]


def sum_arrays(array: NDArray[Any]) -> NDArray[Any]:
    """Element-wise sum of a float32 array over all workers; every worker calls it with the same shape."""
    return np.asarray(Sum()([tf.constant(array)])[0])
