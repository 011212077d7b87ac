"""Who acts in a synthetic corpus, and what: the script that voice and face both follow.

One clock serves both: the syllables that carry the sound open the mouth, and the moment at which the emotion
is strongest is the same in pitch, loudness and expression. People differ in build and habits, a performance
blends its emotion with a second one, and strength varies: the emotion can be learned but not read off.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TypeVar

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Variant = TypeVar("Variant", bound=tuple[str, ...])

# Syllables per second over a neutral speaker's 5.
TEMPO: dict[str, tuple[float]] = {
    "neutral": (1.0,),
    "calm": (0.9,),
    "happiness": (1.1,),
    "sadness": (0.8,),
    "anger": (1.15,),
    "fear": (1.3,),
    "disgust": (0.85,),
    "surprise": (1.15,),
}
SYLLABLES_PER_S = 5.0
SILENCE_S = 0.15  # before and after the sentence
DURATION_S = (1.2, 2.4)


def randomness(seed: int, *words: object) -> np.random.Generator:
    """The generator of one named thing: it depends on the seed and the name, not on what was drawn before."""
    return np.random.default_rng([seed, zlib.crc32(repr(words).encode())])


@dataclass(frozen=True)
class Person:
    """A speaker with a build and habits of their own, all drawn from (seed, name).

    sex: "male" or "female"; it sets the pitch of the voice and the length of the vocal tract.
    """

    seed: int
    name: str
    sex: str

    def draw(self, what: str, n: int = 1) -> Floats:
        """n standard normal numbers, clipped to two deviations, that stay the same for this person."""
        return np.clip(randomness(self.seed, self.name, what).standard_normal(n), -2, 2)


@dataclass(frozen=True)
class Performance:
    """One sentence said by one person in one emotion. strength: 1 is a clear, ordinary expression."""

    person: Person
    name: str
    emotion: str
    strength: float
    n_syllables: int

    @cached_property
    def random(self) -> Floats:
        """Numbers in 0..1 that are this performance's own: its timing and its blend."""
        return randomness(self.person.seed, self.person.name, self.name).random(6)

    @cached_property
    def duration_s(self) -> float:
        tempo = self.blend(TEMPO, spread=(0.06,))[0] * (0.92 + 0.16 * self.random[0])
        return float(np.clip(self.n_syllables / (SYLLABLES_PER_S * tempo) + 2 * SILENCE_S, *DURATION_S))

    @cached_property
    def peak_s(self) -> float:
        """When the emotion is strongest."""
        return self.duration_s * float(0.3 + 0.45 * self.random[1])

    @cached_property
    def syllables_s(self) -> Floats:
        """The middle of each syllable."""
        spacing_s = (self.duration_s - 2 * SILENCE_S) / self.n_syllables
        return SILENCE_S + spacing_s * (np.arange(self.n_syllables, dtype=np.float64) + 0.5)

    def blend(self, manners: Mapping[str, Sequence[float]], spread: Sequence[float]) -> Floats:
        """What a table of manners (emotion to numbers) means for this performance.

        The neutral row, moved towards the emotion's and a little towards a random other's by the strength;
        spread is the standard deviation of the person's own way of showing this emotion.
        """
        neutral = np.asarray(manners["neutral"], np.float64)
        others = sorted(manners.keys() - {self.emotion})
        other = others[int(self.random[2] * len(others))]
        share = 0.35 * self.random[3]
        target = (1 - share) * np.asarray(manners[self.emotion]) + share * np.asarray(manners[other])
        habit = self.person.draw(f"{self.emotion} {'|'.join(map(str, neutral))}", len(neutral)) * spread
        strength = self.strength * (0.75 + 0.5 * self.random[4])
        return np.asarray(neutral + strength * (target - neutral) + habit, np.float64)

    def expressed(self, time_s: Floats) -> Floats:
        """Share of the emotion that shows at each time, 0.35 to 1."""
        return 0.35 + 0.65 * np.exp(-(((time_s - self.peak_s) / (0.28 * self.duration_s)) ** 2))

    def voicing(self, time_s: Floats) -> Floats:
        """Syllable envelope, 0 to 1: loudness of the voice and opening of the mouth."""
        spacing_s = self.syllables_s[1] - self.syllables_s[0]
        distance = np.abs(time_s[:, None] - self.syllables_s[None, :]) / spacing_s
        return np.max(np.cos(np.pi * np.clip(distance / 1.25, 0, 0.5)) ** 1.5, axis=1)


@dataclass(frozen=True)
class Take:
    """A performance and the name that it is filed under. clip_id: of the clip that an importer makes of it."""

    clip_id: str
    stem: str
    performance: Performance


def choose(variants: Sequence[Variant], n: int, person: Person, emotion: str) -> list[Variant]:
    """n of the variants (all where there are fewer), by the person and the emotion, in their own order."""
    order = randomness(person.seed, person.name, emotion, "variants").permutation(len(variants))
    return [variants[index] for index in sorted(order[:n])]
