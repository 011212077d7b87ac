"""TensorFlow in a worker: threads, determinism, and sums over all workers.

Keras 3 cannot fit under MultiWorkerMirroredStrategy (keras#20585), so each worker holds a plain Keras model and the
gradients are summed by TensorFlow's own collective, started from the TF_CONFIG that Ray Train sets.
"""

# ruff: noqa: E402 - the other framework is looked for before this one is imported

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from functools import cache, partial
from typing import Any

from mien.errors import MienError
from mien.families.contract import Group
from mien.families.frameworks import check_alone

check_alone("tensorflow")
# Ray Train asks for the frozen tf-keras; the families are written for Keras 3. Before the first import of keras.
os.environ["TF_USE_LEGACY_KERAS"] = "0"
os.environ.setdefault("KERAS_BACKEND", "tensorflow")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")  # its sums depend on the number of threads

# isort: split
import numpy as np
from numpy.typing import NDArray

from mien.families.frameworks.imports import without, without_native_lines

# Keras imports four packages for what is not used here: 2.5 of its 6 CPU seconds. What absl says before it is
# initialised heeds no log level, and breaks progress bars.
with without("matplotlib", "pandas", "scipy", "sklearn"), without_native_lines():
    import keras  # noqa: F401
    import tensorflow as tf

GROUP_KEY = 1


@cache
def configure(n_threads: int = 1) -> None:
    """Threads and determinism, once per process and before its first operation."""
    tf.config.threading.set_intra_op_parallelism_threads(n_threads)
    tf.config.threading.set_inter_op_parallelism_threads(n_threads)
    tf.config.experimental.enable_op_determinism()


def group(rank: int, world: int) -> Group:
    """This worker's place in the group that TF_CONFIG describes."""
    configure()
    if world > 1:
        _start_collectives(rank, world)
    device = "cuda" if tf.config.list_physical_devices("GPU") else "cpu"
    return Group(rank, world, partial(_sum_array, world), device)


@cache
def _start_collectives(rank: int, world: int) -> None:
    """Connects the workers. The strategy is made for its side effect: it starts the runtime."""
    config = json.loads(os.environ.get("TF_CONFIG", "{}"))
    described = config.get("task", {}).get("index"), len(config.get("cluster", {}).get("worker", []))
    if described != (rank, world):
        raise MienError(
            f"rank {rank} of {world} workers: TF_CONFIG describes {described[0]} of {described[1]}. Start the workers "
            "by Ray's TensorflowTrainer, which sets it"
        )
    tf.distribute.MultiWorkerMirroredStrategy()


class Sum:
    """Element-wise sums of float32 tensors over all workers, in one collective; the identity with one worker.

    world: workers, connected by `group`.
    """

    def __init__(self, world: int) -> None:
        self.world = world

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


def _sum_array(world: int, array: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.asarray(Sum(world)([tf.constant(array)])[0])
