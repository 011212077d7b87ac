"""Augmentation of the training split, as a property of the experiment and not of a model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

AugmentKind = Literal["none", "audio", "sync", "independent", "pixels"]
Bounds = tuple[float, float]


@dataclass(frozen=True, kw_only=True, slots=True)
class AugmentConfig:
    """Copies that join the originals in each epoch (pixels: in their place), drawn afresh from (seed, epoch, clip id).

    Levels are in units of the standardised features: 0.01 is a hundredth of a column's standard deviation.
    """

    __pydantic_config__ = {"extra": "forbid"}  # noqa: RUF012

    kind: AugmentKind = "sync"
    """none; audio: one of noise, pitch, tempo or all of them on the audio features alone, the same draw for all of
    them; sync: one stretch and one noise level for all modalities; independent: the operations of sync, drawn for each
    modality apart (its control); pixels: pictures are mirrored, brighter or darker, of more or less contrast, one draw
    for all pictures of a clip. pixels adds no copies: each clip is drawn anew in each epoch."""
    factor: float = 2.0
    """Size of the augmented set over the original, before probability thins the copies: 2 adds one copy per clip."""
    probability: float = 0.8
    """Chance that a copy of a clip is made at all."""
    stretch: Bounds = (0.9, 1.1)
    """sync, independent: new length over old."""
    noise: Bounds = (0.001, 0.01)
    """sync, independent: standard deviation of the noise on the reference modality; on each other modality, times the
    ratio of its spread to the reference's."""
    reference: str = "audio"
    """sync, independent: the modality that the noise level is drawn for."""
    audio_noise: Bounds = (0.005, 0.02)
    """audio: standard deviation of the noise."""
    audio_pitch: Bounds = (0.9, 1.1)
    """audio: factor on the features."""
    audio_tempo: Bounds = (0.9, 1.1)
    """audio: new length over old, resampled by Fourier."""
    flip: float = 0.5
    """pixels: chance that left and right change places."""
    brightness: Bounds = (0.8, 1.2)
    """pixels: factor on all values."""
    contrast: Bounds = (0.8, 1.2)
    """pixels: factor on the distance to the mean of the clip's pictures."""

    def __post_init__(self) -> None:
        if self.factor < 1:
            raise ValueError(f"augment.factor is {self.factor}: at least 1 (1 adds nothing)")
        if not 0 <= self.probability <= 1:
            raise ValueError(f"augment.probability is {self.probability}: a chance between 0 and 1")
        if not 0 <= self.flip <= 1:
            raise ValueError(f"augment.flip is {self.flip}: a chance between 0 and 1")
        for name in ("stretch", "noise", "audio_noise", "audio_pitch", "audio_tempo", "brightness", "contrast"):
            low, high = getattr(self, name)
            if not 0 <= low <= high:
                raise ValueError(f"augment.{name} is {low}..{high}: give the lower bound first, neither below 0")
        for name in ("stretch", "audio_tempo"):
            if getattr(self, name)[0] <= 0:
                raise ValueError(f"augment.{name} starts at 0: a length cannot shrink to nothing")
