"""A corpus of as many clips as one likes: one short sound under many names, found as the corpus "many"."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from mien.corpora.clip import Clip, Medium
from tiny_media import voice, write_wav

SECONDS = 0.3
SUFFIXES = (".wav",)


def write_many(root: Path, n_clips: int) -> None:
    """Hard links to one file: 10,000 clips are as many directory entries, and 10 kB."""
    first = root / "00000.wav"
    root.mkdir()
    write_wav(first, voice(SECONDS), 16_000)
    for number in range(1, n_clips):
        os.link(first, root / f"{number:05}.wav")


def import_clips(root: Path, settings: None = None) -> Iterator[Clip]:
    for path in sorted(root.glob("*.wav")):
        yield Clip(id=f"many/{path.stem}", corpus="many", subject="many/0", media={"audio": Medium(path=str(path))})
