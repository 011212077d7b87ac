"""Feed: the batches of one run, standardised, augmented while training, and made ahead in a thread.

While a learner computes, with Python's lock released, the thread makes the next batches. They are the same, bit for
bit, as without a thread: what is in a batch is a function of (seed, epoch, clip ids).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from queue import Empty, Queue
from threading import Event, Thread
from typing import Generic, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from mien.data import augment
from mien.data.batches import Batch, Examples, clip_keys, make_batches, plain_order, training_order
from mien.data.dataset import Dataset
from mien.data.disturb import Change
from mien.data.normalise import fit_normaliser
from mien.data.pictures import CENTRE, PictureChoice, drawn_phase
from mien.experiment import Experiment
from mien.features.spec import Frames

PREDICTION_BATCH = 64
N_AHEAD = 2  # batches that wait to be asked for: one hides a slow batch, two hide a slow step as well

T = TypeVar("T")


class Feed:
    """What one rank of a run is fed. normaliser: fitted on the training rows. waited_s: seconds that its batches were
    waited for, in all."""

    def __init__(
        self,
        experiment: Experiment,
        dataset: Dataset,
        train: NDArray[np.int64],
        seed: int,
        *,
        rank: int = 0,
        world: int = 1,
    ) -> None:
        """train: rows of the dataset to learn from, sorted. seed: of the run, for order and augmentation."""
        self.waited_s = 0.0
        self.normaliser = fit_normaliser(
            dataset.columns, dataset.subjects, train, by_speaker=experiment.data.normalise == "speaker"
        )
        self._experiment = experiment
        self._dataset = dataset
        self._train = train
        self._seed = seed
        self._rank, self._world = rank, world
        self._choice = PictureChoice(n=experiment.data.pictures, step=experiment.data.picture_step)
        self._keys = clip_keys(dataset.clip_ids)
        self._lengths = dataset.lengths()
        self._modalities = {name: spec.modality for name, spec in dataset.specs.items()}

    def training(self, epoch: int) -> Iterator[Batch]:
        """One epoch, from 1, of originals and augmented copies."""

        def batches() -> Iterator[Batch]:
            yield from self._batches(self.order(epoch), self._experiment.training.batch_size, epoch)

        return ahead(batches(), N_AHEAD, self._wait)

    def order(self, epoch: int) -> list[Examples]:
        """The global batches of an epoch, from 1: those of all ranks together."""
        size = self._experiment.training.batch_size
        return training_order(
            self._examples(epoch), self._keys, self._lengths, seed=self._seed, epoch=epoch, batch_size=size
        )

    def plain(self, rows: NDArray[np.int64], change: Change | None = None) -> Iterator[Batch]:
        """Each row once, as it is. change: what is done to its frames, as the model would see them, before."""
        order = plain_order(rows, PREDICTION_BATCH)
        return ahead(self._batches(order, PREDICTION_BATCH, 0, change), N_AHEAD, self._wait)

    def _examples(self, epoch: int) -> Examples:
        train, config = self._train, self._experiment.augment
        n_copies = augment.n_copies(self._keys[train], self._seed, epoch, config)
        rows = [train, *(train[n_copies >= number] for number in range(1, n_copies.max(initial=0) + 1))]
        numbers = [np.full(len(some), number, np.int64) for number, some in enumerate(rows)]
        return Examples(np.concatenate(rows), np.concatenate(numbers))

    def _batches(
        self, order: list[Examples], batch_size: int, epoch: int, change: Change | None = None
    ) -> Iterator[Batch]:
        def frames(row: int, copy: int) -> Mapping[str, Frames]:
            found = self.frames(row, copy, epoch)
            return change(row, found) if change else found

        return make_batches(
            order,
            frames,
            self._dataset.target,
            self._dataset.specs,
            lengths=self._choice.lengths(self._dataset.specs),
            batch_size=batch_size,
            rank=self._rank,
            world=self._world,
        )

    def frames(self, row: int, copy: int, epoch: int) -> Mapping[str, Frames]:
        """Of one example, by feature; epoch 0 is to predict."""
        dataset = self._dataset
        frames: Mapping[str, Frames] = {name: column[row] for name, column in dataset.columns.items()}
        frames = self.normaliser(frames, dataset.subjects[row])
        if copy:
            frames = self._augmented(frames, row, copy, epoch)
        phase = drawn_phase(self._keys[row], copy, self._seed, epoch) if epoch else CENTRE
        frames = self._choice(frames, dataset.specs, phase)
        if epoch and self._experiment.augment.kind == "pixels":  # after the choice: only what is seen is decoded
            frames = self._augmented(frames, row, copy, epoch)
        return frames

    def _augmented(self, frames: Mapping[str, Frames], row: int, copy: int, epoch: int) -> Mapping[str, Frames]:
        rng = augment.rng_for(self._seed, epoch, self._dataset.clip_ids[row], copy)
        return augment.augment(frames, modalities=self._modalities, config=self._experiment.augment, rng=rng)

    def _wait(self, seconds: float) -> None:
        self.waited_s += seconds


class _Made(NamedTuple, Generic[T]):
    """item: None at the end. error: what was raised instead of an item."""

    item: T | None
    error: BaseException | None


def ahead(items: Iterable[T], n: int, on_wait: Callable[[float], None] = lambda seconds: None) -> Iterator[T]:
    """The same items, made in a thread, of which up to n wait to be asked for; no item is None.

    What the thread raises is raised here, in its turn. The thread starts when the first item is asked for, and ends
    with the items or when no more are asked for. on_wait: called with the seconds that each was waited for.
    """
    made: Queue[_Made[T]] = Queue(n)
    is_over = Event()

    def make() -> None:
        try:
            for item in items:
                made.put(_Made(item, None))
                if is_over.is_set():
                    return
            made.put(_Made(None, None))
        except BaseException as error:  # whatever it is, it is the consumer's to deal with
            made.put(_Made(None, error))

    thread = Thread(target=make, name="mien-feed", daemon=True)
    thread.start()
    try:
        while True:
            start_s = time.perf_counter()
            item, error = made.get()
            on_wait(time.perf_counter() - start_s)
            if error is not None:
                raise error
            if item is None:
                return
            yield item
    finally:
        is_over.set()
        with suppress(Empty):
            while True:
                made.get_nowait()
        thread.join()  # it puts one more at most, and there is room for it
