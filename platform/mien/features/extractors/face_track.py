"""The face of a film: found by MTCNN, followed by its last stage, on a clock of its own. No description of it.

MTCNN (Zhang et al. 2016) is a cascade: P-net scans the picture at all scales and costs nearly all of the time, R-net
sorts out, O-net looks at one candidate, says whether it is a face and corrects its box. So the whole cascade runs only
now and then, on a small copy of the picture; in between the last box is shown to O-net, which corrects it in 1 to 2 ms
and says when the face is gone.

The track has TRACK_HZ points a second, whatever the rates of the extractors that read it, so that the face is the same
for all of them; between two points the box is interpolated.

Runs on as many threads as torch is allowed: a program that fills the cores with processes calls
`torch.set_num_threads(1)` in each.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mien.errors import ExperimentError

TRACK_HZ = 10.0
SMALLEST_FACE_PX = 20  # on the copy that the detector sees
# Probability at which a face is taken up, and below which a followed one is looked for anew. As in
# facenet-pytorch's choice by size.
SURE = 0.9
FACE = 0.7  # probability at which O-net confirms what was found; MTCNN's own threshold
MUCH_LARGER = 2.0  # ratio of areas at which another face takes over from the one that is followed
SAME_FACE_IOU = 0.3
SEARCH_EVERY_S = 0.2  # while no face is in sight

Picture = NDArray[np.uint8]
Box = NDArray[np.float32]  # (4,) left, top, right, bottom in pixels


@dataclass(frozen=True, kw_only=True, slots=True)
class TrackSettings:
    """How a face is followed. Extractors with equal ones share a track."""

    detect_every_s: float = 1.0
    """Seconds between runs of the whole detector."""
    detect_height_px: int = 144
    """Height of the copy of the picture that the detector sees, of which a face must fill at least 20 pixels."""

    def __post_init__(self) -> None:
        if self.detect_every_s <= 0 or self.detect_height_px < 60:
            raise ExperimentError(
                f"detect_every_s {self.detect_every_s} must be above 0, detect_height_px {self.detect_height_px} at "
                "least 60"
            )

    def to_json(self) -> dict[str, Any]:
        """What of the track changes the numbers, for a spec."""
        return {**asdict(self), "track_hz": TRACK_HZ}


class FaceTrack:
    """The track of one film: pictures at TRACK_HZ in, boxes at any time out.

    The detector runs every detect_every_s, at once when the face is lost or in doubt, and every SEARCH_EVERY_S while
    there is none. Of several faces the largest is taken, and kept while it is there, unless another one is MUCH_LARGER:
    two people of one size must not make the track jump to and fro.
    """

    def __init__(self, settings: TrackSettings) -> None:
        self._height_px = settings.detect_height_px
        self._every, self._search_every = (
            max(1, round(s * TRACK_HZ)) for s in (settings.detect_every_s, SEARCH_EVERY_S)
        )
        self._next_detection = self._n_points = 0
        self.boxes: list[Box | None] = []

    def follow(self, picture: Picture) -> Box | None:
        """The box of the face in the next picture of the track, None where there is none."""
        index = self._n_points
        self._n_points += 1
        box = self.boxes[-1] if self.boxes else None
        if box is not None:
            box, probability = refine(picture, box)
            if probability < SURE:  # gone, or turning away
                self._next_detection = index
        if index >= self._next_detection:
            box = _choose(detect(picture, self._height_px), box)
            if box is not None:
                box, probability = refine(picture, box)
                box = box if probability >= FACE else None
            self._next_detection = index + (self._search_every if box is None else self._every)
        self.boxes.append(box)
        return box

    def skip(self, n: int) -> None:
        """n points of the track go by unseen: a live one keeps its time, however slow the machine is."""
        self._n_points += n

    def is_known(self, time_s: float) -> bool:
        """Whether the track has both points around this time."""
        return math.ceil(_point(time_s)) < len(self.boxes)

    def box(self, time_s: float) -> Box | None:
        """The box at a time: of the point that stands there, or interpolated between the two around it where both show
        one face; else of the nearer one. After the last point, that of the last."""
        point = _point(time_s)
        before = min(math.floor(point), len(self.boxes) - 1)
        after = min(before + 1, len(self.boxes) - 1)
        share = min(max(point - before, 0.0), 1.0)
        first, second = self.boxes[before], self.boxes[after]
        if share == 0:
            return first
        if first is not None and second is not None and iou(first[None], second)[0] >= SAME_FACE_IOU:
            return (first + np.float32(share) * (second - first)).astype(np.float32)
        return first if share < 0.5 else second


def track_faces(
    pictures: Iterable[Picture], settings: TrackSettings | None = None
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Boxes (T, 4) of pictures at TRACK_HZ (left, top, right, bottom in pixels; zeros where there is none) and valid
    (T,)."""
    track = FaceTrack(settings or TrackSettings())
    boxes = [track.follow(picture) for picture in pictures]
    valid = np.array([box is not None for box in boxes], dtype=bool)
    filled = [np.zeros(4, np.float32) if box is None else box for box in boxes]
    return np.array(filled, np.float32).reshape(-1, 4), valid


def _point(time_s: float) -> float:
    """Place of a time on the track, exact where it stands on a point."""
    point = time_s * TRACK_HZ
    return float(round(point)) if abs(point - round(point)) < 1e-6 else point


def _choose(boxes: NDArray[np.float32], followed: Box | None) -> Box | None:
    """The followed face among those found, the largest if it is not there or much smaller; None if none."""
    if not len(boxes):
        return None
    areas = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    largest = int(areas.argmax())
    if followed is None:
        return boxes[largest]
    overlaps = iou(boxes, followed)
    nearest = int(overlaps.argmax())
    is_kept = overlaps[nearest] >= SAME_FACE_IOU and areas[largest] < MUCH_LARGER * areas[nearest]
    return boxes[nearest if is_kept else largest]


def iou(boxes: NDArray[np.float32], box: NDArray[np.float32]) -> NDArray[np.float32]:
    """Intersection over union in [0, 1] of each of boxes (N, 4) with box, (4,) or (N, 4)."""
    corners = np.minimum(boxes[:, 2:], box[..., 2:]) - np.maximum(boxes[:, :2], box[..., :2])
    common = np.prod(corners.clip(min=0), axis=1)
    areas = [np.prod(b[..., 2:] - b[..., :2], axis=-1) for b in (boxes, box)]
    return np.asarray(common / (areas[0] + areas[1] - common), np.float32)


def detect(picture: Picture, height_px: int) -> NDArray[np.float32]:
    """Boxes (N, 4) of the faces that MTCNN is SURE of, found on a copy of the picture of that height."""
    from PIL import Image

    height, width = picture.shape[:2]
    scale = max(1.0, height / height_px)
    small = Image.fromarray(picture).resize(
        (round(width / scale), round(height / scale)), Image.Resampling.BILINEAR, reducing_gap=2.0
    )
    nothing = np.zeros((0, 4), np.float32)
    if min(small.size) < SMALLEST_FACE_PX:
        return nothing
    boxes, probabilities = _mtcnn().detect(small)
    if boxes is None:
        return nothing
    return np.asarray(boxes, np.float32)[np.asarray(probabilities, np.float32) >= SURE] * np.float32(scale)


def refine(picture: Picture, box: Box) -> tuple[Box, float]:
    """The box as O-net corrects it on this picture, and the probability that there is a face in it.

    As the third stage of facenet-pytorch's `detect_face`: a square around the box, cut off at the picture's
    edge, averaged to 48 x 48 pixels; the corrections are shares of the square's side.
    """
    import torch
    from PIL import Image

    height, width = picture.shape[:2]
    side = (box[2:] - box[:2]).max()
    centre = (box[:2] + box[2:]) / 2
    square = np.concatenate([centre - side / 2, centre + side / 2])
    left, top = np.maximum(square[:2].astype(int) - 1, 0)
    right, bottom = np.minimum(square[2:].astype(int), (width, height))
    if right - left < 2 or bottom - top < 2:
        return box, 0.0
    small = Image.fromarray(picture[top:bottom, left:right]).resize((48, 48), Image.Resampling.BOX)
    pixels = (np.asarray(small, np.float32) - 127.5) * 0.0078125
    with torch.inference_mode():
        shift, _, probability = _mtcnn().onet(torch.from_numpy(pixels).permute(2, 0, 1)[None])
    return (square + shift[0].numpy() * (side + 1)).astype(np.float32), float(probability[0, 1])


@cache
def _mtcnn() -> Any:
    """The detector, one in a process; its weights are part of the facenet-pytorch package."""
    from facenet_pytorch import MTCNN

    return MTCNN(keep_all=True, min_face_size=SMALLEST_FACE_PX, device="cpu")
