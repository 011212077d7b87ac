"""Raters of a synthetic corpus: valence and arousal of each performance, on a scale from 1 to 9.

What they rate is what voice and face show: an emotion's place in the plane of valence and arousal, blended and scaled
by the very numbers that blend and scale pitch, loudness and expression. Each rater has a bias and makes errors.
"""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from mien.corpora.sample.performance import Performance, Take, randomness

TABLE = "ratings.csv"
DIMENSIONS = ("valence", "arousal")
RATERS = ("r1", "r2", "r3")
LOW, HIGH = 1, 9  # of the self-assessment manikin, Bradley & Lang 1994
BIAS, ERROR = 0.3, 0.7  # standard deviations in points of that scale

# Pleasure and arousal in [-1, 1] of "happy", "sad", "angry", "fearful", "disgusted", "surprised" and, for calm,
# "relaxed"; mean ratings of the terms by Russell & Mehrabian 1977, J. Research in Personality 11: 273-294. Neutral is
# the middle by definition.
PROTOTYPES: dict[str, tuple[float, float]] = {
    "neutral": (0.0, 0.0),
    "calm": (0.68, -0.46),
    "happiness": (0.81, 0.51),
    "sadness": (-0.63, -0.27),
    "anger": (-0.51, 0.59),
    "fear": (-0.64, 0.60),
    "disgust": (-0.60, 0.35),
    "surprise": (0.40, 0.67),
}


def shown(performance: Performance) -> tuple[float, float]:
    """Valence and arousal that voice and face of a performance show, about -1 to 1: what a flawless rater would see."""
    valence, arousal = performance.blend(PROTOTYPES, spread=(0.0, 0.0))
    return float(valence), float(arousal)


def rate(performance: Performance, rater: str) -> tuple[int, int]:
    """One rater's valence and arousal, whole points from `LOW` to `HIGH`."""
    bias = randomness(performance.person.seed, rater, "bias").standard_normal(2)
    error = randomness(performance.person.seed, performance.person.name, performance.name, rater).standard_normal(2)
    middle, half = (HIGH + LOW) / 2, (HIGH - LOW) / 2
    points = middle + half * np.array(shown(performance)) + BIAS * bias + ERROR * error
    valence, arousal = np.clip(np.rint(points), LOW, HIGH).astype(int).tolist()
    return valence, arousal


def write_ratings(root: Path, takes: Sequence[Take]) -> None:
    """The table of ratings, as `mien.corpora.ratings` reads it: one line per clip and rater."""
    with (root / TABLE).open("w", newline="") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(["clip_id", "rater", "source", "low", "high", *DIMENSIONS])
        for take in sorted(takes, key=lambda take: take.clip_id):
            for rater in RATERS:
                writer.writerow([take.clip_id, rater, "annotated", LOW, HIGH, *rate(take.performance, rater)])
