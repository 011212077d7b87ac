"""The full size of each corpus, as published, and what each feature of it costs at the rates that were measured."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

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
    """A corpus, or a part of it. clip_s: mean length; n_files, n_gb: of all media. None where it is not published.
    media: that it has. source: of the length."""

    n_clips: int | None
    clip_s: float | None
    n_files: int | None
    n_gb: float | None
    media: tuple[str, ...]
    source: str


_FACE_AND_VOICE = ("audio", "video", "openface")
# What --corpus means to `mien cost`. Of all MAHNOB-HCI's media no size is published where we could read it.
PUBLISHED: dict[str, Published] = {
    "ravdess": Published(
        n_clips=2452, clip_s=3.70, n_files=7356, n_gb=24.8, media=_FACE_AND_VOICE, source="speech measured, song taken as long"
    ),
    "cremad": Published(
        n_clips=7442, clip_s=2.54, n_files=3 * 7442, n_gb=3.7, media=_FACE_AND_VOICE, source="published"
    ),
    "mahnob": Published(
        n_clips=527, clip_s=None, n_files=2 * 527, n_gb=None, media=("eeg", "physio", "audio", "video"), source=""
    ),
}
# The rows of the table: whole corpora, and where their length is not published, what is taken for it.
WHOLE: dict[str, Published] = {
    "RAVDESS, speech": Published(
        n_clips=1440, clip_s=3.70, n_files=None, n_gb=None, media=_FACE_AND_VOICE, source="measured: 1,440 clips of 3.70 s"
    ),
    "RAVDESS, song": Published(
        n_clips=1012, clip_s=4.7, n_files=None, n_gb=None, media=_FACE_AND_VOICE, source="1,012 clips, assumed: of 4.7 s"
    ),
    "CREMA-D": Published(
        n_clips=7442, clip_s=2.54, n_files=None, n_gb=None, media=_FACE_AND_VOICE, source="7,442 clips of 2.54 s"
    ),
    "AMI": Published(
        n_clips=144_000, clip_s=10.0, n_files=None, n_gb=None, media=_FACE_AND_VOICE,
        source="100 hours of 4 people, all of it, assumed: in windows of 10 s that do not overlap",
    ),
    "MAHNOB-HCI": Published(
        n_clips=527, clip_s=81.0, n_files=None, n_gb=None, media=("audio", "video", "eeg", "physio"),
        source="527 trials, assumed: of 81 s (films last 35 to 117 s); sound and film too",
    ),
}  # fmt: skip


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
        assert size.n_clips is not None and size.clip_s is not None
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
