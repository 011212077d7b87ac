"""Training beside a plain Keras loop: the same model, the same batches, already padded and in memory.

mien's side is `train_run` as `mien train` calls it: order, standardisation, padding and averaging of weights included,
augmentation left out, since the plain loop has none. Validation and checkpoints are timed on neither side.
"""

from __future__ import annotations

import dataclasses
import itertools
import statistics
import tempfile
import time
from dataclasses import dataclass

import numpy as np

from mien.data.dataset import Dataset, read_dataset
from mien.data.feed import Feed
from mien.data.splits import Split
from mien.experiment import AugmentConfig, Experiment, LossConfig, TrainingConfig
from mien.families.contract import Task
from mien.features.store import FeatureStore
from mien.folder import Folder
from mien.results.run import Run
from mien.training.loop import train_run

EPOCHS = 12  # the first is left out on both sides: TensorFlow traces in it


@dataclass(frozen=True, kw_only=True)
class TrainTiming:
    """samples_per_s: median over epochs. startup_s: from nothing to the end of the first epoch, less one epoch."""

    n_clips: int
    plain_samples_per_s: float
    mien_samples_per_s: float
    plain_startup_s: float
    mien_startup_s: float

    @property
    def ratio(self) -> float:
        """mien over plain; 1 costs nothing."""
        return self.mien_samples_per_s / self.plain_samples_per_s


def training(experiment: Experiment) -> TrainTiming:
    """Time both on four fifths of the clips of an experiment; its store must be prepared."""
    experiment = dataclasses.replace(
        experiment,
        augment=AugmentConfig(kind="none"),
        loss=LossConfig(kind="cross-entropy", alpha="none"),
        training=dataclasses.replace(experiment.training, epochs=EPOCHS, patience=EPOCHS),
    )
    dataset = read_dataset(FeatureStore(experiment.execution.store), experiment.data, experiment.target)
    subjects = sorted(set(dataset.subjects))
    held_out = set(subjects[: max(2, len(subjects) // 5)])
    side = np.array([subject in held_out for subject in dataset.subjects])
    test = np.flatnonzero(side)
    first = np.array([dataset.subjects[row] == subjects[0] for row in test])
    split = Split(0, "bench", np.flatnonzero(~side), test[first], test[~first])
    ours_s, ours_startup_s = _ours(experiment, dataset, split)
    plain_s, plain_startup_s = _plain(experiment, dataset, split)
    return TrainTiming(
        n_clips=len(split.train),
        plain_samples_per_s=len(split.train) / plain_s,
        mien_samples_per_s=len(split.train) / ours_s,
        plain_startup_s=plain_startup_s,
        mien_startup_s=ours_startup_s,
    )


def _ours(experiment: Experiment, dataset: Dataset, split: Split) -> tuple[float, float]:
    """Seconds of an epoch (median), and of the start."""
    start_s = time.perf_counter()
    epoch_ends_s: list[float] = []
    with tempfile.TemporaryDirectory() as folder:
        run = Run(Folder(folder), seed=0, fold=0)
        train_run(
            run,
            experiment,
            dataset,
            split,
            report=lambda record: epoch_ends_s.append(time.perf_counter() - start_s),
        )
        rates = [record["samples_per_s"] for record in run.history()[1:]]
    epoch_s = len(split.train) / statistics.median(rates)
    return epoch_s, epoch_ends_s[0] - epoch_s


def _plain(experiment: Experiment, dataset: Dataset, split: Split) -> tuple[float, float]:
    """The same by `model.fit` on a list of batches."""
    start_s = time.perf_counter()
    import keras

    from mien.families import lstm_attention

    training: TrainingConfig = experiment.training
    target = dataset.target.spec
    weights = np.ones(len(target.names), np.float32)
    task = Task(experiment.model, experiment.training, experiment.loss, dataset.specs, target, weights, 0)
    built = lstm_attention.build_model(task)
    model = keras.Model(built.input, list(built.output.values()))  # compile takes no names with a plus sign
    model.compile(
        keras.optimizers.AdamW(
            training.learning_rate, weight_decay=training.weight_decay, global_clipnorm=training.clip_norm
        ),
        loss=[keras.losses.CategoricalCrossentropy(from_logits=True) for _ in model.outputs],
    )
    feed = Feed(experiment, dataset, split.train, 0)
    n_heads = len(model.outputs)
    batches = [
        (lstm_attention.model_inputs(b), (b.targets,) * n_heads, (b.weights,) * n_heads) for b in feed.training(1)
    ]
    seconds: list[float] = []
    clock = keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: seconds.append(time.perf_counter()))
    ready_s = time.perf_counter()
    model.fit(
        (batch for batch in itertools.cycle(batches)),  # fit takes generators, not iterators
        steps_per_epoch=len(batches),
        epochs=EPOCHS,
        verbose=0,
        callbacks=[clock],
    )
    seconds = np.diff([ready_s, *seconds]).tolist()
    median_s = statistics.median(seconds[1:])
    return median_s, ready_s - start_s + seconds[0] - median_s
