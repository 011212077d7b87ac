"""Batches: which clips meet in which step, padded and masked.

The order is a function of (seed, epoch, clip ids) alone: neither the number of workers nor the layout of the store
changes it. Every rank walks the same global batches and takes each world-th row of them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from mien.data.targets import Target
from mien.features.spec import FeatureSpec, Frames

BUCKET_BATCHES = 16  # clips of similar length are sought among this many batches: little padding, order still random
PAD_FRAMES = 8  # lengths are padded to multiples of this: few shapes for a compiler to see

# splitmix64: Steele, Lea & Flood, "Fast splittable pseudorandom number generators", OOPSLA 2014, figure 16.
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_MIX = (np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB))


class Batch(NamedTuple):
    """One rank's part of a global batch of B examples over W ranks, b = B / W rows.

    values: feature name to (b, T, *shape), float32 and zeros where padded; uint8 for pictures. masks: feature name to
    (b, T) bool, True where there is a valid frame. targets: (b, K) float32. target_mask: (b, K) bool, False where a
    dimension was not rated, and for fillers. weights: (b,) float32, 0 for rows that only fill the last batch.
    total_weight: sum of the weights of the whole global batch. rows: (b,) index into the dataset, -1 for fillers.
    progress: share of the epoch's batches that come before this one, in [0, 1).
    """

    values: dict[str, NDArray[Any]]
    masks: dict[str, NDArray[np.bool_]]
    targets: NDArray[np.float32]
    target_mask: NDArray[np.bool_]
    weights: NDArray[np.float32]
    total_weight: float
    rows: NDArray[np.int64]
    progress: float


@dataclass(frozen=True, slots=True, eq=False)
class Examples:
    """M things to learn from. rows: (M,) int64, their clips in the dataset. copies: (M,) int64, 0 for the clip as it
    is, n for its n-th augmented copy of this epoch."""

    rows: NDArray[np.int64]
    copies: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.rows)

    def take(self, which: NDArray[np.int64] | slice) -> Examples:
        """Some of them, or all in another order."""
        return Examples(self.rows[which], self.copies[which])


def stable_seed(*parts: object) -> int:
    """64 bits from any parts, the same on every machine and in every process (Python's hash() is not)."""
    return int.from_bytes(hashlib.sha256("/".join(map(str, parts)).encode()).digest()[:8], "big")


def clip_keys(clip_ids: Sequence[str]) -> NDArray[np.uint64]:
    """(N,) 64 bits of each id, from which an epoch draws: hashed once per dataset, and not once per epoch."""
    return np.array([stable_seed(clip_id) for clip_id in clip_ids], np.uint64)


def drawn(
    keys: NDArray[np.uint64], number: NDArray[np.int64] | int, seed: int, epoch: int, what: str = "order"
) -> NDArray[np.uint64]:
    """64 bits at random for each of these clips: a function of (what, seed, epoch, clip id, number) alone.

    keys: `clip_keys`. number: of the draw of each clip, from 0. what: draws for two purposes are independent.
    """
    with np.errstate(over="ignore"):  # 64 bits wrap
        bits = _mixed(keys ^ np.uint64(stable_seed(what, seed, epoch)))
        return _mixed(bits + np.asarray(number).astype(np.uint64) * _GOLDEN)


def uniform(
    keys: NDArray[np.uint64], number: NDArray[np.int64] | int, seed: int, epoch: int, what: str
) -> NDArray[np.float64]:
    """(N,) in [0, 1): the highest 53 bits of what is `drawn`, which are what a float64 holds."""
    return np.ldexp((drawn(keys, number, seed, epoch, what) >> np.uint64(11)).astype(np.float64), -53)


def training_order(
    examples: Examples,
    keys: NDArray[np.uint64],
    lengths: NDArray[np.int64],
    *,
    seed: int,
    epoch: int,
    batch_size: int,
) -> list[Examples]:
    """Global batches of one epoch: shuffled, then clips of similar length put together.

    examples may come in any order; the last batch may be short. keys, lengths: (N,), `clip_keys` and frames of the
    dataset's clips.
    """
    draw = drawn(keys[examples.rows], examples.copies, seed, epoch)
    shuffled = np.argsort(draw, kind="stable")
    bucket = np.arange(len(examples)) // (batch_size * BUCKET_BATCHES)
    longest = lengths.max(initial=0)
    by_length = np.argsort(bucket * (longest + 1) + lengths[examples.rows[shuffled]], kind="stable")
    ordered = examples.take(shuffled[by_length])
    n_full = len(ordered) // batch_size
    place = np.random.default_rng(stable_seed("batches", seed, epoch)).permutation(n_full)
    batches = [ordered.take(slice(i * batch_size, (i + 1) * batch_size)) for i in place]
    rest = ordered.take(slice(n_full * batch_size, None))
    return [*batches, rest] if len(rest) else batches


def plain_order(rows: Sequence[int] | NDArray[np.int64], batch_size: int) -> list[Examples]:
    """Global batches for prediction: each row once, in the order given."""
    rows = np.asarray(rows, np.int64)
    examples = Examples(rows, np.zeros_like(rows))
    return [examples.take(slice(i, i + batch_size)) for i in range(0, len(rows), batch_size)]


def make_batches(
    order: Sequence[Examples],
    frames: Callable[[int, int], Mapping[str, Frames]],
    target: Target,
    specs: Mapping[str, FeatureSpec],
    *,
    batch_size: int,
    lengths: Mapping[str, int] | None = None,
    rank: int = 0,
    world: int = 1,
) -> Iterator[Batch]:
    """This rank's padded part of each global batch.

    Every rank gets the same number of batches of the same number of rows, fillers of weight 0 included, so that
    collectives never wait for a rank that has run out. frames: of each feature, for (row, copy). specs: the features,
    in the order in which the model reads them. lengths: of the features that have the same number of frames in every
    batch; others have that of the longest clip.
    """
    n_rows = -(-batch_size // world)
    n_targets = target.values.shape[1]
    filler = 1 / n_targets if target.spec.kind == "classes" else 0  # shares that sum to 1 have a finite loss
    for number, batch in enumerate(order):
        own = batch.take(slice(rank, None, world))
        parts = [frames(row, copy) for row, copy in zip(own.rows.tolist(), own.copies.tolist())]
        padded = {
            name: _padded([part[name] for part in parts], n_rows, spec, (lengths or {}).get(name))
            for name, spec in specs.items()
        }
        rows = np.full(n_rows, -1, np.int64)
        rows[: len(own)] = own.rows
        is_real = rows >= 0
        yield Batch(
            values={name: values for name, (values, _) in padded.items()},
            masks={name: mask for name, (_, mask) in padded.items()},
            targets=np.where(is_real[:, None], target.values[rows], np.float32(filler)),
            target_mask=is_real[:, None] & target.mask[rows],
            weights=is_real.astype(np.float32),
            total_weight=float(len(batch)),
            rows=rows,
            progress=number / len(order),
        )


def _padded(
    parts: list[Frames], n_rows: int, spec: FeatureSpec, n_frames: int | None
) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    """n_frames: of all, None for those of the longest part."""
    if n_frames is None:
        longest = max([1, *(len(part.valid) for part in parts)])
        n_frames = longest if longest == 1 else -(-longest // PAD_FRAMES) * PAD_FRAMES
    values = np.zeros((n_rows, n_frames, *spec.shape), np.float32 if spec.is_numeric else np.uint8)
    mask = np.zeros((n_rows, n_frames), bool)
    for row, part in enumerate(parts):
        values[row, : len(part.valid)] = part.values
        mask[row, : len(part.valid)] = part.valid
    return values, mask


def _mixed(bits: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Each 64 bits to others that look drawn at random, no two to the same: the finaliser of splitmix64."""
    bits = (bits ^ (bits >> np.uint64(30))) * _MIX[0]
    bits = (bits ^ (bits >> np.uint64(27))) * _MIX[1]
    return bits ^ (bits >> np.uint64(31))
