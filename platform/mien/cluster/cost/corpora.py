"""The full size of each corpus, as published, and which medium each feature reads."""

from __future__ import annotations

from dataclasses import dataclass

OF_MEDIUM: dict[str, tuple[str, ...]] = {
    "audio": ("egemaps", "egemaps-clip", "egemaps-lld", "compare-clip", "logmel", "speech-encoder"),
    "video": ("facenet", "image-encoder", "frames", "blendshapes"),
    "openface": ("openface", "openface-clip"),
    "eeg": ("eeg-bands", "eeg-connectivity", "eeg-raw"),
    "physio": ("physio", "physio-raw"),
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Whole:
    """A corpus, or a part of it, that is extracted whole. corpus: its name. media: that it has. source: of the numbers,
    in words."""

    corpus: str
    n_clips: int
    clip_s: float
    media: tuple[str, ...]
    source: str


MEDIA_GB = {"ravdess": 24.8, "cremad": 3.7}  # of all media, as published; of the others it is not, or not read by us
# The columns of the table. Where no length is published, one is assumed, and the source says so.
_FACE_AND_VOICE = ("audio", "video", "openface")
WHOLE: dict[str, Whole] = {
    "RAVDESS, speech": Whole(
        corpus="ravdess", n_clips=1440, clip_s=3.70, media=_FACE_AND_VOICE, source="1,440 clips of 3.70 s, measured"
    ),
    "RAVDESS, song": Whole(
        corpus="ravdess",
        n_clips=1012,
        clip_s=4.7,
        media=_FACE_AND_VOICE,
        source="1,012 clips; that they last 4.7 s is assumed",
    ),
    "CREMA-D": Whole(corpus="cremad", n_clips=7442, clip_s=2.54, media=_FACE_AND_VOICE, source="7,442 clips of 2.54 s"),
    "AMI": Whole(
        corpus="ami",
        n_clips=144_000,
        clip_s=10.0,
        media=_FACE_AND_VOICE,
        source="100 hours of four people, assumed to be extracted whole, in windows of 10 s that do not overlap",
    ),
    "MAHNOB-HCI": Whole(
        corpus="mahnob",
        n_clips=527,
        clip_s=81.0,
        media=(*_FACE_AND_VOICE, "eeg", "physio"),
        source="527 trials of 30 to 120 s; that they last 81 s in the mean is assumed",
    ),
}


def medium_of(feature: str) -> str:
    """Which medium it reads; of one that is not mien's, sound."""
    return next((medium for medium, features in OF_MEDIUM.items() if feature in features), "audio")
