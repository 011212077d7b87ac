"""Which clips, which features of them, and which of their labels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, kw_only=True, slots=True)
class DataConfig:
    """What the model sees and what it is asked."""

    __pydantic_config__ = {"extra": "forbid"}  # noqa: RUF012

    corpora: tuple[str, ...] = ("ravdess", "cremad")
    """Corpora of the store to read, together."""
    audio: tuple[str, ...] = ("egemaps",)
    """Features heard: names in the store (mien prepare --features). Empty: the model hears nothing."""
    video: tuple[str, ...] = ("facenet",)
    """Features seen, one row a frame or one a clip. Empty: the model sees nothing."""
    label_source: str = "intended"
    """Whose label is learnt and scored: intended, perceived-voice, perceived-face, perceived-both."""
    soft_labels: bool = False
    """Learn the raters' shares of votes instead of one class, where the label source has votes (CREMA-D's perceived
    ones). What is scored stays the majority's class."""
    vocabulary: str = "common6"
    """The classes: common6, ravdess8."""
    calm: Literal["merge", "drop"] = "merge"
    """RAVDESS' calm, where the vocabulary lacks it: counted as neutral, or left out."""
    channel: Literal["speech", "song", "all"] = "speech"
    """Vocal channel, where a corpus tells them apart (RAVDESS)."""
    missing: Literal["mask", "drop"] = "mask"
    """A clip without one of the features: kept with that input masked, or left out."""
    normalise: Literal["train", "speaker"] = "train"
    """Standardise each column over the training clips; or over each speaker's own clips, without their labels
    (transductive: it needs several clips of a test speaker at once, and the report says so)."""

    def __post_init__(self) -> None:
        if not self.corpora:
            raise ValueError("data.corpora is empty: name at least one corpus")
        if not self.features:
            raise ValueError("data.audio and data.video are both empty: name at least one feature")
        if len(set(self.features)) != len(self.features):
            raise ValueError(f"data: a feature is named twice in {', '.join(self.features)}")

    @property
    def features(self) -> tuple[str, ...]:
        """All feature names, audio first."""
        return self.audio + self.video
