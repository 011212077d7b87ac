"""What is learnt: classes of emotion, or dimensions such as valence and arousal, and the score that chooses."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from mien.experiment.pairs import Pairs


@dataclass(frozen=True, kw_only=True, slots=True)
class ClassesConfig:
    """One class per clip."""

    __pydantic_config__ = {"extra": "forbid"}  # noqa: RUF012

    kind: Literal["classes"] = "classes"
    source: str = "intended"
    """Whose label is learnt and scored: intended, perceived-voice, perceived-face, perceived-both, self-report,
    annotated, proxy."""
    vocabulary: str = "common6"
    """The classes. common6: anger, disgust, fear, happiness, neutral, sadness. ravdess8: these, calm and surprise.
    mahnob9: common6, surprise, amusement and anxiety. Or words of your own, with commas: angry,happy,sad."""
    merge: Pairs = field(default_factory=lambda: {"calm": "neutral"})
    """Emotions that the vocabulary lacks, and the class that each is counted as; an emotion that is neither is left
    out."""
    soft: bool = False
    """Learn the raters' shares of votes instead of one class, where the label has votes (CREMA-D's perceived ones).
    What is scored stays the majority's class."""
    primary: Literal["uar", "wa", "macro_f1"] = "uar"
    """The validation score that chooses epochs and trials."""


@dataclass(frozen=True, kw_only=True, slots=True)
class DimensionsConfig:
    """Ratings per clip, each normalised from its own scale to [-1, 1]."""

    __pydantic_config__ = {"extra": "forbid"}  # noqa: RUF012

    kind: Literal["dimensions"] = "dimensions"
    source: str = "annotated"
    """Whose rating is learnt and scored: annotated, self-report, perceived-both, ..."""
    names: tuple[str, ...] = ("valence", "arousal")
    """The dimensions, as the labels' ratings name them. A clip that lacks one of them is learnt by the others."""
    primary: Literal["ccc", "pearson", "rmse", "mae"] = "ccc"
    """The validation score that chooses epochs and trials: its mean over the dimensions."""

    def __post_init__(self) -> None:
        if not self.names or len(set(self.names)) != len(self.names):
            raise ValueError(f"target.names is {self.names}: name each dimension once, and at least one")


TargetConfig = ClassesConfig | DimensionsConfig


@dataclass(frozen=True, slots=True)
class TargetSpec:
    """What a model predicts. names: K classes, or K dimensions. primary: the score that chooses epochs and trials, a
    key of `mien.results.metrics.METRICS[kind]`."""

    kind: Literal["classes", "dimensions"]
    names: tuple[str, ...]
    primary: str
