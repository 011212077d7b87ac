"""The full size of each corpus, as published, and what each feature of it costs at the rates that were measured."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mien.cluster.cost.rates import Rates

# Which medium each feature reads; those of pictures and those by large networks lie in parts of few clips.
OF_MEDIUM: dict[str, tuple[str, ...]] = {
    "audio": ("egemaps", "egemaps-clip", "egemaps-lld", "compare-clip", "logmel", "speech-encoder"),
    "video": ("facenet", "image-encoder", "frames", "blendshapes"),
    "openface": ("openface", "openface-clip"),
    "eeg": ("eeg-bands", "eeg-connectivity", "eeg-raw"),
    "physio": ("physio", "physio-raw"),
}
HEAVY = (*OF_MEDIUM["video"], "speech-encoder")


@dataclass(frozen=True, kw_only=True, slots=True)
class Published:
    """A corpus. clip_s: mean length; n_files, n_gb: of all media; None where it is not published."""

    clip_s: float | None
    n_files: int
    n_gb: float | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Whole:
    """A corpus, or a part of it, that is extracted whole. media: that it has. source: of the numbers, in words."""

    n_clips: int
    clip_s: float
    media: tuple[str, ...]
    source: str


# What --corpus means to `mien cost`. RAVDESS' speech was measured, song is taken to be as long, and the size is the
# published one; CREMA-D's length is about what is published, its size the sum of the published ones. Of MAHNOB-HCI
# neither is published where we could read it: who asks must say.
PUBLISHED: dict[str, Published] = {
    "ravdess": Published(clip_s=3.70, n_files=7356, n_gb=24.8),
    "cremad": Published(clip_s=2.54, n_files=3 * 7442, n_gb=3.7),
    "mahnob": Published(clip_s=None, n_files=2 * 527, n_gb=None),
}
# The columns of the table. Where no length is published, one is assumed, and the source says so.
_FACE_AND_VOICE = ("audio", "video", "openface")
WHOLE: dict[str, Whole] = {
    "RAVDESS, speech": Whole(
        n_clips=1440, clip_s=3.70, media=_FACE_AND_VOICE, source="1,440 clips of 3.70 s, measured"
    ),
    "RAVDESS, song": Whole(
        n_clips=1012, clip_s=4.7, media=_FACE_AND_VOICE, source="1,012 clips; that they last 4.7 s is assumed"
    ),
    "CREMA-D": Whole(n_clips=7442, clip_s=2.54, media=_FACE_AND_VOICE, source="7,442 clips of 2.54 s"),
    "AMI": Whole(
        n_clips=144_000,
        clip_s=10.0,
        media=_FACE_AND_VOICE,
        source="100 hours of four people, assumed to be extracted whole, in windows of 10 s that do not overlap",
    ),
    "MAHNOB-HCI": Whole(
        n_clips=527,
        clip_s=81.0,
        media=(*_FACE_AND_VOICE, "eeg", "physio"),
        source="527 trials of 30 to 120 s; that they last 81 s in the mean is assumed",
    ),
}


@dataclass(frozen=True, slots=True)
class CorpusCost:
    """core_hours: of the core that the rate was measured on. n_gb: of the store."""

    corpus: str
    feature: str
    core_hours: float
    n_gb: float


def costs(rates: Rates) -> Iterator[CorpusCost]:
    """Of each corpus and each feature that it has the medium for and that has a rate."""
    for corpus, size in WHOLE.items():
        for feature in (feature for medium in size.media for feature in OF_MEDIUM[medium]):
            if feature in rates.prepare:
                rate = rates.prepare[feature]
                yield CorpusCost(
                    corpus,
                    feature,
                    size.n_clips * rate.core_s(size.clip_s) / 3600,
                    size.n_clips * rate.n_bytes(size.clip_s) / 1e9,
                )


def is_heavy(feature: str) -> bool:
    """Whether parts of the store hold few clips of it, alone and with others beside it."""
    return feature in HEAVY


def medium_of(feature: str) -> str:
    """Which medium it reads; of one that is not mien's, sound."""
    return next((medium for medium, features in OF_MEDIUM.items() if feature in features), "audio")
