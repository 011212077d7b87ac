"""Which clips, and which features of them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from mien.experiment.pairs import Pairs


@dataclass(frozen=True, kw_only=True, slots=True)
class DataConfig:
    """What the model reads."""

    __pydantic_config__ = {"extra": "forbid"}  # noqa: RUF012

    corpora: tuple[str, ...] = ("ravdess", "cremad")
    """Corpora of the store to read, together."""
    features: tuple[str, ...] = ("egemaps", "facenet")
    """The model's inputs: features in the store (mien prepare --features), of any modality, each a sequence of frames
    or one row per clip."""
    only: Pairs = field(default_factory=lambda: {"channel": "speech"})
    """Attributes that a clip must have where its corpus states them, such as RAVDESS' channel: speech or
    song. Empty: all clips."""
    missing: Literal["mask", "drop"] = "mask"
    """A clip without one of the features: kept with that input masked, or left out."""
    normalise: Literal["train", "speaker"] = "train"
    """Standardise each column over the training clips; or over each speaker's own clips, without their labels
    (transductive: it needs several clips of a test speaker at once, and the report says so)."""
    pictures: int = 0
    """Pictures of each clip that the model sees, of inputs that are pictures (frames); 0: all of them. A shorter clip
    is padded. In training others are drawn in each epoch."""
    picture_step: int = 0
    """From one of them to the next, in pictures of the input: 1 for neighbours; 0 spreads them evenly over the clip."""

    def __post_init__(self) -> None:
        if not self.corpora:
            raise ValueError("data.corpora is empty: name at least one corpus")
        if len(set(self.features)) != len(self.features):
            raise ValueError(f"data.features names one twice: {', '.join(self.features)}")
        for name in ("pictures", "picture_step"):
            if getattr(self, name) < 0:
                raise ValueError(f"data.{name} is {getattr(self, name)}: 0 or more")
