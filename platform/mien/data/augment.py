"""Augmentation: copies of training clips, stretched and made noisier, modalities in step or deliberately not.

Everything is drawn from (seed, epoch, clip id, number of the copy) alone: the same on every machine, in any
order, on any number of workers. Features are standardised columns when they come here, so a noise level of
0.01 is a hundredth of a column's standard deviation. A feature without a valid frame passes through: it is missing.

docs/explanation/augmentation.md says where each rule comes from and why some differ from their source.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from mien.data.batches import uniform
from mien.features.spec import Frames

if TYPE_CHECKING:
    from mien.experiment import AugmentConfig

SHORTEST_STRETCHED = 5  # frames, system S0
SHORTEST_TEMPO = 10  # frames, system S1
AUDIO_KINDS = ("noise", "pitch", "tempo", "all")  # system S1, one drawn for each copy
PREDICTION = "prediction"  # the modality of what a parent run predicted of the clip as it is


def rng_for(seed: int, epoch: int, clip_id: str, copy: int) -> np.random.Generator:
    """The generator of one copy (1, 2, ...) of one clip in one epoch."""
    return _generator(seed, epoch, clip_id, copy)


def n_copies(keys: NDArray[np.uint64], seed: int, epoch: int, config: AugmentConfig) -> NDArray[np.int64]:
    """(N,) how many augmented copies of each clip an epoch has: they are number 1, 2, ...; the original is number 0.

    keys: `mien.data.batches.clip_keys`. A factor of 2.5 has one slot for a copy and, in half of the epochs, a second
    one; config.probability is the chance that a slot is used.
    """
    found = np.zeros(len(keys), np.int64)
    if config.kind in ("none", "pixels"):
        return found
    n_whole, part = divmod(config.factor - 1, 1)
    n_slots = int(n_whole) + (uniform(keys, 0, seed, epoch, "copies") < part)
    for slot in range(1, math.ceil(config.factor - 1) + 1):
        found += (slot <= n_slots) & (uniform(keys, slot, seed, epoch, "copies") < config.probability)
    return found


def augment(
    frames: Mapping[str, Frames],
    *,
    modalities: Mapping[str, str],
    config: AugmentConfig,
    rng: np.random.Generator,
) -> dict[str, Frames]:
    """One augmented copy of a clip's features. The originals are not touched; what is not changed is shared.

    modalities: feature to its modality; those of "prediction" stay as they are. sync stretches all features by one
    factor and adds noise of one level; independent draws both for each modality; audio changes the audio features, all
    by the same draw, and nothing else. Features of one modality stay in step whatever the kind. Pictures are stretched
    and never made noisier; pixels changes them, by one draw for all, and nothing else.
    """
    if config.kind == "none":
        return dict(frames)
    if config.kind == "pixels":
        return _repainted(frames, config, rng)
    there: dict[str, list[str]] = {modality: [] for modality in modalities.values()}
    for name, modality in modalities.items():
        if frames[name].valid.any():
            there[modality].append(name)
    if config.kind == "audio":
        return {**frames, **_audio({name: frames[name] for name in there.get("audio", ())}, config, rng)}

    # The reference is drawn first, as in S0, where the video level is the audio level times the ratio of their spreads;
    # it is drawn where it is missing as well, so the others are stretched as they would be with it.
    others = sorted(there.keys() - {config.reference, PREDICTION})
    reference = _spread(frames[name] for name in there.get(config.reference, ()))
    result = dict(frames)
    for modality in (config.reference, *others):
        if modality == config.reference or config.kind == "independent":
            factor, level = rng.uniform(*config.stretch), rng.uniform(*config.noise)
        names = there.get(modality, ())
        # Where nothing varies in the reference, or there is none, there is no ratio and the level counts as it is.
        is_scaled = modality != config.reference and reference
        scale = _spread(frames[name] for name in names) / reference if is_scaled else 1.0
        for name in names:
            result[name] = _noisy(_stretched(frames[name], factor), level * scale, rng)
    return result


# ------------------------------------------------------------------ sync and independent


def _stretched(frames: Frames, factor: float) -> Frames:
    """The same span of time in max(5, int(T · factor)) frames, by linear interpolation.

    One row is a statistic of the whole clip and has no time to stretch. The bound of 5 never lengthens: a
    shorter sequence keeps its frames. First frames stay first and last stay last, so modalities of different
    rates go on covering the same span. The mask is resampled by nearest neighbour, and between a valid and an
    invalid frame the nearer is taken: nothing bleeds.
    """
    n = len(frames.valid)
    n_new = max(min(SHORTEST_STRETCHED, n), int(n * factor))
    if n <= 1 or n_new == n:
        return frames
    position = np.linspace(0, n - 1, n_new)
    low = np.minimum(position.astype(np.int64), n - 2)
    weight = (position - low).astype(np.float32)
    if frames.valid.all():
        valid = np.ones(n_new, bool)
    else:
        nearer = weight > 0.5
        valid = frames.valid[low + nearer]
        weight = np.where(frames.valid[low] & frames.valid[low + 1], weight, nearer).astype(np.float32)
    if not _is_numeric(frames):
        return Frames(frames.values[low + (weight > 0.5)], valid)
    start = frames.values[low]
    return Frames(start + _per_frame(weight, start) * (frames.values[low + 1] - start), valid)


def _noisy(frames: Frames, level: float, rng: np.random.Generator) -> Frames:
    """With Gaussian noise of that standard deviation on the valid frames; pictures as they are."""
    if not _is_numeric(frames):
        return frames
    noise = rng.standard_normal(frames.values.shape, dtype=np.float32)
    noise *= _per_frame(np.where(frames.valid, np.float32(level), np.float32(0)), noise)
    noise += frames.values
    return Frames(noise, frames.valid)


def _spread(features: Iterable[Frames]) -> float:
    """Standard deviation of all valid numbers of some features together; 0 for none."""
    n, total, squares = 0, 0.0, 0.0
    for frames in filter(_is_numeric, features):
        values = frames.values[frames.valid].ravel()
        n += values.size
        total += float(values.sum())
        squares += float(values @ values)
    return math.sqrt(max(0.0, squares / n - (total / n) ** 2)) if n else 0.0


# ------------------------------------------------------------------ pixels


def _repainted(frames: Mapping[str, Frames], config: AugmentConfig, rng: np.random.Generator) -> dict[str, Frames]:
    """The pictures mirrored or not, their values times one factor, their distance to their mean times another (Howard
    2013, arXiv:1312.5402, has these three). Masked pictures stay black."""
    mirrored = rng.random() < config.flip
    brightness, contrast = rng.uniform(*config.brightness), rng.uniform(*config.contrast)
    changed = dict(frames)
    for name, one in frames.items():
        if not _is_numeric(one) and one.valid.any():
            pictures = np.array(one.values)
            seen = pictures[one.valid].astype(np.float32) * np.float32(brightness)
            mean = seen.mean(dtype=np.float64)
            seen = (seen - np.float32(mean)) * np.float32(contrast) + np.float32(mean)
            pictures[one.valid] = np.clip(np.rint(seen), 0, 255).astype(np.uint8)
            changed[name] = Frames(pictures[:, :, ::-1] if mirrored else pictures, one.valid)
    return changed


# ------------------------------------------------------------------ audio


def _audio(heard: Mapping[str, Frames], config: AugmentConfig, rng: np.random.Generator) -> dict[str, Frames]:
    """Each of the features by one draw of kind, level, pitch and tempo, so that they stay in step."""
    kind = AUDIO_KINDS[rng.integers(len(AUDIO_KINDS))]
    changed = dict(heard)
    if kind in ("noise", "all"):
        level = rng.uniform(*config.audio_noise)
        changed = {name: _noisy(frames, level, rng) for name, frames in changed.items()}
    if kind in ("pitch", "all"):
        pitch = np.float32(rng.uniform(*config.audio_pitch))
        changed = {name: _scaled(frames, pitch) for name, frames in changed.items()}
    if kind in ("tempo", "all"):
        tempo = rng.uniform(*config.audio_tempo)
        changed = {name: _resampled(frames, tempo) for name, frames in changed.items()}
    return changed


def _scaled(frames: Frames, factor: np.float32) -> Frames:
    return Frames(frames.values * factor, frames.valid) if _is_numeric(frames) else frames


def _resampled(frames: Frames, factor: float) -> Frames:
    """max(10, int(T · factor)) frames by Fourier resampling; one row, and what is too short already, stay.

    A Fourier series takes a sequence for one turn of a circle and rings where the end does not meet the
    start, so the line from the first frame to the last is taken out before and put back after. Invalid frames
    are filled from the nearest valid one before, and are zero again after. Of pictures the nearest are taken.
    """
    n = len(frames.valid)
    n_new = max(min(SHORTEST_TEMPO, n), int(n * factor))
    if n <= 1 or n_new == n:
        return frames
    new = np.arange(n_new) * (n / n_new)
    nearest = np.minimum(np.rint(new).astype(np.int64), n - 1)
    valid = frames.valid[nearest]
    if not _is_numeric(frames):
        return Frames(frames.values[nearest], valid)
    from scipy.signal import resample

    old = np.arange(n)
    known = np.flatnonzero(frames.valid)
    right = np.searchsorted(known, old)
    before, after = known[np.maximum(right - 1, 0)], known[np.minimum(right, len(known) - 1)]
    values = frames.values[np.where(np.abs(old - before) < np.abs(after - old), before, after)]

    line = (values[-1] - values[0]) / np.float32(n - 1)
    level = values - values[0] - line * _per_frame(old.astype(np.float32), values)
    warped = resample(level, n_new, axis=0) + values[0] + line * _per_frame(new.astype(np.float32), values)
    return Frames(np.where(_per_frame(valid, values), warped, np.float32(0)), valid)


def _per_frame(numbers: NDArray[Any], values: NDArray[Any]) -> NDArray[Any]:
    """(T,) numbers, to be broadcast over frames of any shape. values: (T', *shape)."""
    return numbers.reshape(-1, *[1] * (values.ndim - 1))


def _generator(*parts: Any) -> np.random.Generator:
    """From a hash that is the same in every process; Python's own is not."""
    digest = hashlib.sha256("\0".join(map(str, parts)).encode()).digest()
    return np.random.default_rng(int.from_bytes(digest[:16], "big"))


def _is_numeric(frames: Frames) -> bool:
    """Whether frames are numbers; pictures are bytes."""
    return frames.values.dtype != np.uint8
