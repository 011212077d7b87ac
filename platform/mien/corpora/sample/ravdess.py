"""A synthetic RAVDESS: sound, pictures with sound and pictures without, in the published folders."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from pathlib import Path

from mien.corpora.emotions import RAVDESS_CODES
from mien.corpora.sample.face import act
from mien.corpora.sample.performance import Performance, Person, Take, choose
from mien.corpora.sample.raters import write_ratings
from mien.corpora.sample.recording import FRAME_RATE_HZ, copy_pictures, write_mp4, write_wav
from mien.corpora.sample.voice import VOICE_RATE_HZ, speak

N_SUBJECTS = 24


def takes(n_subjects: int, n_per_emotion: int, seed: int) -> list[Take]:
    found = []
    for actor in range(1, n_subjects + 1):
        person = Person(seed, f"ravdess {actor}", "male" if actor % 2 else "female")
        for code, (_, emotion) in RAVDESS_CODES.items():
            intensities = ("01",) if emotion == "neutral" else ("01", "02")
            variants = list(product(intensities, ("01", "02"), ("01", "02")))
            for intensity, statement, repetition in choose(variants, n_per_emotion, person, emotion):
                name = f"01-{code}-{intensity}-{statement}-{repetition}-{actor:02d}"
                strength = 0.8 if intensity == "01" else 1.15
                n_syllables = 6 if statement == "01" else 7
                found.append(Take(f"ravdess/{name}", name, Performance(person, name, emotion, strength, n_syllables)))
    return found


def record(root: Path, take: Take) -> None:
    actor = f"Actor_{take.stem[-2:]}"
    audio, video = root / "Audio_Speech_Actors_01-24" / actor, root / f"Video_Speech_{actor}" / actor
    audio.mkdir(parents=True, exist_ok=True)
    video.mkdir(parents=True, exist_ok=True)
    sound, pictures = speak(take.performance, VOICE_RATE_HZ), list(act(take.performance, float(FRAME_RATE_HZ)))
    write_wav(audio / f"03-{take.stem}.wav", sound, VOICE_RATE_HZ)
    write_mp4(video / f"01-{take.stem}.mp4", pictures, sound, VOICE_RATE_HZ)
    copy_pictures(video / f"01-{take.stem}.mp4", video / f"02-{take.stem}.mp4")


def tabulate(root: Path, takes: Sequence[Take]) -> None:
    """RAVDESS publishes no table; the ratings are the sample's own."""
    write_ratings(root, takes)
