"""Pictures of the face, cut out of a film: what pixel models read. Stored as JPEG.

The face is that of `mien.features.extractors.face_track`; the cut is a square around its box, upright as the film is.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from mien.errors import ExperimentError
from mien.features.extractors.face_track import Box, Picture, TrackSettings
from mien.features.spec import FeatureSpec, Frames, Kind, Look


@dataclass(frozen=True, kw_only=True, slots=True)
class FramesSettings:
    """Pictures of the largest steady face, as JPEG."""

    rate_hz: float = 25.0
    """Pictures per second."""
    size_px: int = 112
    """Width and height of a picture."""
    margin: float = 0.2
    """How far the picture reaches beyond the face's box on each side, as a share of the box's longer side."""
    quality: int = 92
    """Of the JPEG, from 1 to 95; colours are never thinned out (4:4:4)."""
    detect_every_s: float = 1.0
    """Seconds between runs of the whole face detector."""
    detect_height_px: int = 144
    """Height of the copy of the picture that the detector sees, of which a face must fill at least 20 pixels."""

    def build(self) -> FaceFrames:
        if self.rate_hz <= 0 or not 8 <= self.size_px <= 1024 or not 0 <= self.margin <= 2:
            raise ExperimentError(
                f"rate_hz {self.rate_hz:g} must be above 0, size_px {self.size_px} in 8..1024, margin "
                f"{self.margin:g} in 0..2"
            )
        if not 1 <= self.quality <= 95:
            raise ExperimentError(f"quality {self.quality}: must be in 1..95")
        track = TrackSettings(detect_every_s=self.detect_every_s, detect_height_px=self.detect_height_px)
        spec = FeatureSpec(
            name="frames",
            version=1,
            modality="video",
            shape=(self.size_px, self.size_px, 3),
            codec="jpeg",
            hop_s=1 / self.rate_hz,
            settings={"margin": self.margin, "quality": self.quality, "subsampling": "4:4:4", **track.to_json()},
        )
        return FaceFrames(spec=spec, rate_hz=self.rate_hz, track=track)


@dataclass(frozen=True, kw_only=True)
class FaceFrames:
    """Extractor of one picture of the face per picture of the film; zeros and masked where there is no face."""

    spec: FeatureSpec
    rate_hz: float
    track: TrackSettings
    medium: ClassVar[str] = "video"
    kind: ClassVar[Kind] = "faces"
    is_heavy: ClassVar[bool] = True

    def __call__(self, signal: Iterable[tuple[Picture, Box | None]], rate_hz: float) -> Frames:
        """Frames (T, size_px, size_px, 3) uint8 of pictures with the box of the face in them, at the rate of the
        spec."""
        if rate_hz != self.rate_hz:
            raise ValueError(f"frames wants faces at {self.rate_hz:g} Hz, not {rate_hz:g} Hz")
        size_px, margin = self.spec.shape[0], self.spec.settings["margin"]
        nothing = np.zeros(self.spec.shape, np.uint8)
        pictures: list[Picture] = []
        valid: list[bool] = []
        for picture, box in signal:
            valid.append(box is not None)
            pictures.append(nothing if box is None else cut(picture, box, margin, size_px))
        return Frames(np.array(pictures, np.uint8).reshape(-1, *self.spec.shape), np.array(valid, dtype=bool))

    @contextmanager
    def live(self) -> Iterator[Look]:
        size_px, margin = self.spec.shape[0], self.spec.settings["margin"]
        yield lambda picture, box, time_s: None if box is None else cut(picture, box, margin, size_px)


def cut(picture: Picture, box: Box, margin: float, size_px: int) -> NDArray[np.uint8]:
    """(size_px, size_px, 3) of the square around a box, to a fraction of a pixel; black beyond the picture's edge."""
    from PIL import Image

    side = float((box[2:] - box[:2]).max()) * (1 + 2 * margin)
    centre = (box[:2] + box[2:]).astype(np.float64) / 2
    first = centre - side / 2
    left, top = np.floor(first).astype(int).tolist()
    right, bottom = np.ceil(first + side).astype(int).tolist()
    region = Image.fromarray(picture).crop((left, top, right, bottom))
    x, y = (first - (left, top)).tolist()
    within = (x, y, min(x + side, region.width), min(y + side, region.height))
    return np.asarray(region.resize((size_px, size_px), Image.Resampling.BILINEAR, box=within, reducing_gap=3.0))
