"""A RAVDESS of a few short real wav files, in the published layout, for tests of what happens to files."""

from __future__ import annotations

from itertools import product
from pathlib import Path

import numpy as np
import soundfile

RATE_HZ = 16_000


def write_corpus(root: Path, n_clips: int, *, first: int = 0) -> list[str]:
    """Clips number first to first + n_clips of a fixed list, each of another length and sound; returns their
    ids."""
    names = [
        f"03-01-{emotion:02}-01-{statement:02}-{repetition:02}-{actor:02}"
        for actor, emotion, statement, repetition in product(range(1, 25), range(1, 9), (1, 2), (1, 2))
    ]
    for number, name in enumerate(names[first : first + n_clips], start=first):
        folder = root / f"Actor_{name[-2:]}"
        folder.mkdir(parents=True, exist_ok=True)
        noise = np.random.default_rng(number).normal(0, 0.1, 2000 + 97 * (number % 31))
        soundfile.write(folder / f"{name}.wav", noise, RATE_HZ)
    return [f"ravdess/{name[3:]}" for name in names[first : first + n_clips]]


def wav_of(root: Path, clip_id: str) -> Path:
    """The file of a clip that `write_corpus` wrote."""
    stem = f"03-{clip_id.removeprefix('ravdess/')}"
    return root / f"Actor_{stem[-2:]}" / f"{stem}.wav"
