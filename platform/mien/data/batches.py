"""Batches: which clips meet in which step, padded and masked.

The order is a function of (seed, epoch, clip ids) alone: neither the number of workers nor the layout of the store
changes it. Every rank walks the same global batches and takes each world-th row of them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from mien.features.spec import Frames

BUCKET_BATCHES = 16  # clips of similar length are sought among this many batches: little padding, order still random
PAD_FRAMES = 8  # lengths are padded to multiples of this: few shapes for a compiler to see


class Batch(NamedTuple):
    """One rank's part of a global batch of B clips over W ranks, b = B / W rows.

    values: feature name to (b, T, D) float32, zeros where padded. masks: feature name to (b, T) bool, True where
    there is a valid frame. targets: (b, K) float32. weights: (b,) float32, 0 for rows that only fill the last batch.
    total_weight: sum of the weights of the whole global batch. rows: (b,) index into the dataset, -1 for fillers.
    """

    values: dict[str, NDArray[np.float32]]
    masks: dict[str, NDArray[np.bool_]]
    targets: NDArray[np.float32]
    weights: NDArray[np.float32]
    total_weight: float
    rows: NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Example:
    """One thing to learn from: a clip as it is (copy 0), or its n-th augmented copy of this epoch."""

    row: int
    copy: int


def stable_seed(*parts: object) -> int:
    """64 bits from any parts, the same on every machine and in every process (Python's hash() is not)."""
    return int.from_bytes(hashlib.sha256("/".join(map(str, parts)).encode()).digest()[:8], "big")


def training_order(
    examples: Sequence[Example],
    clip_ids: Sequence[str],
    lengths: NDArray[np.int64],
    *,
    seed: int,
    epoch: int,
    batch_size: int,
) -> list[list[Example]]:
    """Global batches of one epoch: shuffled, then clips of like length put together.

    examples may come in any order; the last batch may be short.
    """
    keys = [stable_seed(seed, epoch, clip_ids[e.row], e.copy) for e in examples]
    shuffled = [examples[i] for i in np.argsort(np.array(keys, np.uint64), kind="stable")]
    batches: list[list[Example]] = []
    window = batch_size * BUCKET_BATCHES
    for start in range(0, len(shuffled), window):
        bucket = sorted(shuffled[start : start + window], key=lambda e: int(lengths[e.row]))
        batches += [bucket[i : i + batch_size] for i in range(0, len(bucket), batch_size)]
    full = [batch for batch in batches if len(batch) == batch_size]
    short = [batch for batch in batches if len(batch) < batch_size]
    order = np.random.default_rng(stable_seed("batches", seed, epoch)).permutation(len(full))
    return [full[i] for i in order] + short


def plain_order(rows: Sequence[int], batch_size: int) -> list[list[Example]]:
    """Global batches for prediction: each row once, in the order given."""
    return [[Example(int(r), 0) for r in rows[i : i + batch_size]] for i in range(0, len(rows), batch_size)]


def make_batches(
    order: Sequence[Sequence[Example]],
    frames: Callable[[Example], Mapping[str, Frames]],
    targets: NDArray[np.float32],
    dims: Mapping[str, int],
    *,
    batch_size: int,
    rank: int = 0,
    world: int = 1,
) -> Iterator[Batch]:
    """This rank's padded part of each global batch.

    Every rank gets the same number of batches of the same number of rows, fillers of weight 0 included, so that
    collectives never wait for a rank that has run out. dims: feature name to D.
    """
    n_rows = -(-batch_size // world)
    uniform = np.full(targets.shape[1], 1.0 / targets.shape[1], np.float32)
    for batch in order:
        own = list(batch[rank::world])
        parts = [frames(example) for example in own]
        padded = {name: _pad([part[name] for part in parts], n_rows, dim) for name, dim in dims.items()}
        rows = np.full(n_rows, -1, np.int64)
        rows[: len(own)] = [example.row for example in own]
        yield Batch(
            values={name: values for name, (values, _) in padded.items()},
            masks={name: mask for name, (_, mask) in padded.items()},
            targets=np.where(rows[:, None] >= 0, targets[rows], uniform),
            weights=(rows >= 0).astype(np.float32),
            total_weight=float(len(batch)),
            rows=rows,
        )


def _pad(parts: list[Frames], n_rows: int, dim: int) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    longest = max([1, *(len(part.valid) for part in parts)])
    n_frames = longest if longest == 1 else -(-longest // PAD_FRAMES) * PAD_FRAMES
    values = np.zeros((n_rows, n_frames, dim), np.float32)
    mask = np.zeros((n_rows, n_frames), bool)
    for row, part in enumerate(parts):
        values[row, : len(part.valid)] = part.values
        mask[row, : len(part.valid)] = part.valid
    return values, mask
