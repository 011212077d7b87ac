"""Somebody's own recordings, synthetic: sounds named anyhow in folders by day, and a table that says what they are."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

from mien.corpora.sample.performance import Performance, Person, Take, randomness
from mien.corpora.sample.raters import HIGH, LOW, RATERS, rate
from mien.corpora.sample.recording import write_wav
from mien.corpora.sample.voice import speak

N_SUBJECTS = 60
NAME = "clips.csv"
RATE_HZ = 16_000
DAYS = ("monday", "tuesday")
EMOTIONS = ("anger", "happiness", "neutral", "sadness")
NAMES = ("Anna", "Ben", "Carla", "Dov", "Elif", "Femi", "Greta", "Hugo", "Ines", "Jun")
SPLITS = ("train", "dev", "test")
RECOGNITION = 0.85  # share of an annotator's words that are the performer's


def takes(n_subjects: int, n_per_emotion: int, seed: int) -> list[Take]:
    found = []
    for number in range(n_subjects):
        person = Person(seed, _name(number), "female" if number % 2 == 0 else "male")
        takes_of = [(emotion, one) for one in range(n_per_emotion) for emotion in EMOTIONS]
        for place, (emotion, _) in enumerate(takes_of):
            stem = f"{DAYS[place % len(DAYS)]}/{person.name} {place + 1}"
            found.append(Take(f"table/{stem}", stem, Performance(person, stem, emotion, 1.0, 6)))
    return found


def record(root: Path, take: Take) -> None:
    path = root / f"{take.stem}.wav"
    path.parent.mkdir(parents=True, exist_ok=True)
    write_wav(path, speak(take.performance, RATE_HZ), RATE_HZ)


def tabulate(root: Path, takes: Sequence[Take]) -> None:
    """One line per clip and annotator: a word, and valence and arousal."""
    people = list(dict.fromkeys(take.performance.person.name for take in takes))
    with (root / NAME).open("w", newline="") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(
            [
                "file",
                "speaker",
                "gender",
                "session",
                "split",
                "annotator",
                "emotion",
                "valence",
                "arousal",
                "low",
                "high",
            ]
        )
        for take in takes:
            performance = take.performance
            name, day = performance.person.name, take.stem.partition("/")[0]
            split = SPLITS[people.index(name) % len(SPLITS)]
            about = [f"{take.stem}.wav", name, performance.person.sex, day, split]
            for rater in RATERS:
                writer.writerow([*about, rater, _word(performance, rater), *rate(performance, rater), LOW, HIGH])


def _name(number: int) -> str:
    again = number // len(NAMES)
    return NAMES[number % len(NAMES)] + (f" {again + 1}" if again else "")


def _word(performance: Performance, rater: str) -> str:
    random = randomness(performance.person.seed, performance.person.name, performance.name, rater, "word")
    return performance.emotion if random.random() < RECOGNITION else str(random.choice(EMOTIONS))
