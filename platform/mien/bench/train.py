"""Training beside a plain loop of the same framework: the same model, the same batches, decoded, padded and in memory.

mien's side is `Training` as `mien train` runs it: reading, order, standardisation, padding and averaging of weights
included, augmentation left out, since the plain loop has none. The two train an epoch each by turns, so that what else
the machine does falls on both. Validation and checkpoints are timed on neither side.
"""

from __future__ import annotations

import dataclasses
import itertools
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from mien.data.batches import Batch
from mien.data.dataset import Dataset, read_dataset
from mien.data.feed import Feed
from mien.data.splits import Split
from mien.errors import ExperimentError
from mien.experiment import AugmentConfig, Experiment, LossConfig
from mien.families import FAMILIES
from mien.families.contract import Task
from mien.families.files import written
from mien.features.store import FeatureStore
from mien.folder import Folder
from mien.results.run import Checkpoint, Run
from mien.training.loop import Training, resume
from mien.training.place import place_of

Clock = Callable[[], float]
Between = Callable[[], None]
Epochs = list[tuple[float, float]]


@dataclass(frozen=True, kw_only=True)
class TrainTiming:
    """Of each round, the first left out, in which graphs are traced and memory is got. mien_s, plain_s: seconds of an
    epoch; mien_cpu_s, plain_cpu_s: CPU seconds, of torch those of the thread that trains, of TensorFlow, whose threads
    are its own, those of the process, the making of mien's batches included. waited_s: of mien's, those in which the
    learner waited for its batches. startup_s: from nothing to the end of
    the first epoch, less one epoch; the framework is imported in mien's. checkpoint_bytes, checkpoint_s, load_s: of its
    checkpoint, and seconds to write it and to go on from it."""

    framework: str
    n_clips: int
    mien_s: tuple[float, ...]
    plain_s: tuple[float, ...]
    mien_cpu_s: tuple[float, ...]
    plain_cpu_s: tuple[float, ...]
    waited_s: tuple[float, ...]
    mien_startup_s: float
    plain_startup_s: float
    checkpoint_bytes: int
    checkpoint_s: float
    load_s: float

    @property
    def ratio(self) -> float:
        """mien's clips a second over those of the plain loop, the middle of the rounds; 1 costs nothing."""
        return statistics.median(plain_s / mien_s for plain_s, mien_s in zip(self.plain_s, self.mien_s))

    @property
    def cpu_ratio(self) -> float:
        """The same in CPU seconds, which count little of what else the machine does."""
        return statistics.median(plain_s / mien_s for plain_s, mien_s in zip(self.plain_cpu_s, self.mien_cpu_s))

    @property
    def waited_share(self) -> float:
        """Of mien's epochs, the middle of the rounds."""
        return statistics.median(waited_s / mien_s for waited_s, mien_s in zip(self.waited_s, self.mien_s))


def training(experiment: Experiment, dataset: Dataset | None = None, *, n_rounds: int = 9) -> TrainTiming:
    """Time both on four fifths of the people of an experiment. dataset: by default what its store holds."""
    framework = FAMILIES[experiment.model.family].framework
    if framework == "sklearn":
        raise ExperimentError(f"{experiment.model.family} is trained in one pass by scikit-learn alone: mien bench svc")
    n_epochs = n_rounds + 1
    experiment = dataclasses.replace(
        experiment,
        augment=AugmentConfig(kind="none"),
        loss=LossConfig(
            kind="cross-entropy" if experiment.target.kind == "classes" else "mse", alpha="none", label_smoothing=0.0
        ),
        training=dataclasses.replace(experiment.training, epochs=n_epochs, patience=n_epochs, keep="best"),
    )
    if dataset is None:
        dataset = read_dataset(FeatureStore(experiment.execution.store), experiment.data, experiment.target)
    split = _split(dataset)
    start_s = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        run = Run(Folder(folder), seed=0, fold=0)
        ours = Training(run, experiment, dataset, split, place=place_of(experiment))
        epochs = ours.epochs(save_every_s=float("inf"))
        clock = time.process_time if framework == "tensorflow" else time.thread_time
        mien_s, waited_s = [], []
        mien_cpu_s = _timed(ours.learner, clock)

        def one_epoch() -> None:
            record = next(epochs)
            mien_s.append(record["n_samples"] / record["samples_per_s"])
            waited_s.append(record["data_s"])

        one_epoch()
        first_s = time.perf_counter() - start_s
        batches = [_without_fillers(batch) for batch in Feed(experiment, dataset, split.train, 0).training(1)]
        plain = _plain_keras if framework == "tensorflow" else _plain_torch
        start_s = time.perf_counter()
        plain_s, plain_cpu_s = zip(*plain(ours.task, batches, n_rounds, one_epoch, clock))
        plain_startup_s = time.perf_counter() - start_s - sum(mien_s[1:]) - sum(plain_s[1:])
        start_s = time.perf_counter()
        checkpoint = Checkpoint(n_epochs, written(ours.learner.save), {"history": ours.history})
        run.save_checkpoint(checkpoint, best_epoch=n_epochs)
        saved_s = time.perf_counter()
        resume(run, ours.learner, keep=False)
        loaded_s = time.perf_counter()
    return TrainTiming(
        framework=framework,
        n_clips=len(split.train),
        mien_s=tuple(mien_s[1:]),
        plain_s=plain_s[1:],
        mien_cpu_s=tuple(mien_cpu_s[1:]),
        plain_cpu_s=plain_cpu_s[1:],
        waited_s=tuple(waited_s[1:]),
        mien_startup_s=first_s - statistics.median(mien_s[1:]),
        plain_startup_s=plain_startup_s - statistics.median(plain_s[1:]),
        checkpoint_bytes=sum(map(len, checkpoint.files.values())),
        checkpoint_s=saved_s - start_s,
        load_s=loaded_s - saved_s,
    )


def _split(dataset: Dataset) -> Split:
    """Four fifths of the people train, one is tested, the others validate."""
    subjects = sorted(set(dataset.subjects))
    held_out = set(subjects[: max(2, len(subjects) // 5)])
    side = np.array([subject in held_out for subject in dataset.subjects])
    test = np.flatnonzero(side)
    first = np.array([dataset.subjects[row] == subjects[0] for row in test])
    return Split(0, "bench", np.flatnonzero(~side), test[first], test[~first])


def _without_fillers(batch: Batch) -> Batch:
    """A plain loop's last batch is a short one."""
    own = batch.rows >= 0
    return batch._replace(
        values={name: array[own] for name, array in batch.values.items()},
        masks={name: mask[own] for name, mask in batch.masks.items()},
        targets=batch.targets[own],
        target_mask=batch.target_mask[own],
        weights=batch.weights[own],
        rows=batch.rows[own],
    )


def _timed(learner: Any, clock: Clock) -> list[float]:
    """By a clock, how long each epoch of a learner takes from now on."""
    seconds: list[float] = []
    train_epoch = learner.train_epoch

    def timed(*arguments: Any, **options: Any) -> dict[str, float]:
        start_s = clock()
        trained = train_epoch(*arguments, **options)
        seconds.append(clock() - start_s)
        return trained

    learner.train_epoch = timed
    return seconds


def _plain_keras(task: Task, batches: Sequence[Batch], n_rounds: int, between: Between, clock: Clock) -> Epochs:
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


def _plain_torch(task: Task, batches: Sequence[Batch], n_rounds: int, between: Between, clock: Clock) -> Epochs:
    """The same of a loop over arrays: forward, backward, clip, AdamW.

    What a family makes of a batch before its torch module reads it is part of the model.
    """
    import torch
    from torch.nn import functional

    built: Any = FAMILIES[task.model.family].build(task)
    model, head_weights, device = built._model, built._head_weights, task.group.device
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    training = task.training
    optimizer = torch.optim.AdamW(parameters, lr=training.learning_rate, weight_decay=training.weight_decay)

    def loss_of(output: Any, targets: Any) -> Any:
        if task.target.kind == "classes":
            return functional.cross_entropy(output, targets)
        return functional.mse_loss(output, targets)

    seconds = []
    for number in range(n_rounds + 1):
        if number:
            between()
        start_s, start_cpu_s = time.perf_counter(), clock()
        total = 0.0
        model.train()
        for batch in batches:
            inputs = built._read(batch, task)
            heads = model({name: torch.from_numpy(array).to(device) for name, array in inputs.items()})
            wanted = torch.from_numpy(batch.targets).to(device)
            loss = sum(weight * loss_of(head, wanted) for weight, head in zip(head_weights, heads))
            optimizer.zero_grad()
            loss.backward()
            if training.clip_norm:
                torch.nn.utils.clip_grad_norm_(parameters, training.clip_norm)
            optimizer.step()
            total += loss.item()
        seconds.append((time.perf_counter() - start_s, clock() - start_cpu_s))
    return seconds
