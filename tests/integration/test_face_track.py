"""The face track: the face that MTCNN would find, on a clock of its own, with boxes at any time."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from mien.corpora.clip import Medium
from mien.features import media
from mien.features.extractors import face_track
from mien.features.extractors.face_track import (
    FACE,
    SAME_FACE_IOU,
    SURE,
    TRACK_HZ,
    TrackSettings,
    iou,
    track_faces,
)
from tiny_faces import FACE_FILMS, Picture, one_torch_thread, scene
from tiny_media import seen

pytestmark = pytest.mark.torch


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    with one_torch_thread():
        yield


def centres(boxes: NDArray[np.float32]) -> NDArray[np.float32]:
    return (boxes[:, :2] + boxes[:, 2:]) / 2


def test_a_moving_face_is_followed_between_detections(monkeypatch: pytest.MonkeyPatch) -> None:
    detections = []
    detect = face_track.detect
    monkeypatch.setattr(face_track, "detect", lambda *given: detections.append(1) or detect(*given))
    film = [scene((20 + 8 * k, 60 + 2 * k, 0.8)) for k in range(25)]
    boxes, valid = track_faces(film)
    assert valid.all()
    assert len(detections) <= 4  # 2.4 s at one a second, and one for doubt
    np.testing.assert_allclose(np.diff(centres(boxes), axis=0).mean(axis=0), [8, 2], atol=0.3)
    from facenet_pytorch import MTCNN

    reference = MTCNN()
    found = np.array([reference.detect(Image.fromarray(picture))[0][0] for picture in film], np.float32)
    assert iou(boxes, found).min() > 0.75


def test_a_face_that_leaves_is_lost_and_found_again() -> None:
    here, gone = scene((100, 50, 0.8)), scene()
    film = [here] * 7 + [gone] * 6 + [here] * 6
    _, valid = track_faces(film)
    assert valid[:7].all()
    assert not valid[7:13].any()
    assert valid[14:].all()  # at most 0.2 s late


def test_of_two_faces_the_larger_and_no_jumping() -> None:
    film = [scene((20, 40, 0.7), (330, 40, 0.95 + 0.05 * (k % 2))) for k in range(12)]
    boxes, valid = track_faces(film, TrackSettings(detect_every_s=0.1))
    assert valid.all()
    assert (centres(boxes)[:, 0] > 320).all()


def test_the_face_that_was_there_is_kept_until_one_is_much_larger() -> None:
    alone, joined = scene((20, 40, 0.7)), scene((20, 40, 0.7), (330, 40, 0.8))
    boxes, _ = track_faces([alone] * 3 + [joined] * 12, TrackSettings(detect_every_s=0.2))
    assert (centres(boxes)[:, 0] < 320).all()
    close_up = scene((20, 40, 0.55), (250, 20, 1.2))
    boxes, _ = track_faces([scene((20, 40, 0.55))] * 3 + [close_up] * 6, TrackSettings(detect_every_s=0.2))
    assert (centres(boxes)[-3:, 0] > 320).all()


@pytest.mark.parametrize("size", [(12, 12), (30, 200), (200, 30)])
def test_tiny_and_narrow_pictures_have_no_face(size: tuple[int, int]) -> None:
    boxes, valid = track_faces([np.zeros((*size, 3), np.uint8)] * 3)
    assert boxes.shape == (3, 4)
    assert not valid.any()


def test_real_faces_agree_with_the_detector_on_each_full_frame(real_data: Path) -> None:
    from facenet_pytorch import MTCNN

    reference = MTCNN()
    overlaps: list[float] = []
    for name in FACE_FILMS:
        film = list(seen(real_data / "faces" / name, TRACK_HZ))[:40]
        boxes, valid = track_faces(film)
        found = [reference.detect(Image.fromarray(picture))[0] for picture in film]
        assert valid.tolist() == [box is not None for box in found]
        both = [(box, f[0].astype(np.float32)) for box, f in zip(boxes, found) if f is not None]
        overlaps += [float(iou(box[None], other)[0]) for box, other in both]
    assert len(overlaps) > 40
    assert np.mean(np.array(overlaps) > 0.7) > 0.95
    assert np.median(overlaps) > 0.85


# ------------------------------------------------------------------ other rates


def followed_at_once(film: list[Picture]) -> list[NDArray[np.float32] | None]:
    """The track in one loop, as it was before extractors shared it: what keeps the numbers of FaceNet where they were."""
    boxes = []
    box, next_detection = None, 0
    for index, picture in enumerate(film):
        if box is not None:
            box, probability = face_track.refine(picture, box)
            if probability < SURE:
                next_detection = index
        if index >= next_detection:
            found = face_track.detect(picture, 144)
            areas = (found[:, 2] - found[:, 0]) * (found[:, 3] - found[:, 1])
            chosen = None
            if len(found):
                chosen = found[areas.argmax()]
                if box is not None:
                    overlaps = iou(found, box)
                    nearest = overlaps.argmax()
                    if overlaps[nearest] >= SAME_FACE_IOU and areas.max() < 2 * areas[nearest]:
                        chosen = found[nearest]
            box = chosen
            if box is not None:
                box, probability = face_track.refine(picture, box)
                box = box if probability >= FACE else None
            next_detection = index + (2 if box is None else 10)
        boxes.append(box)
    return boxes


@pytest.mark.parametrize("name", FACE_FILMS)
def test_faces_at_the_rate_of_the_track_are_its_points_to_the_bit(real_data: Path, name: str) -> None:
    path = real_data / "faces" / name
    expected = followed_at_once(list(seen(path, TRACK_HZ)))
    given = [box for _, box in media.decode("faces", Medium(path=str(path)), TRACK_HZ)]
    assert [box is None for box in given] == [box is None for box in expected]
    for box, other in zip(given, expected):
        np.testing.assert_array_equal(box, other)


@pytest.mark.parametrize("rate_hz", [4.0, 25.0])
def test_pictures_at_any_rate_are_those_of_the_film_each_with_its_box(real_data: Path, rate_hz: float) -> None:
    path = real_data / "faces" / "face_noface.mov"
    boxes, valid = track_faces(seen(path, TRACK_HZ))
    given = list(media.decode("faces", Medium(path=str(path)), rate_hz))
    expected = list(seen(path, rate_hz))
    assert len(given) == len(expected)
    for k, ((picture, box), other) in enumerate(zip(given, expected)):
        np.testing.assert_array_equal(picture, other)
        nearest = min(round(k / rate_hz * TRACK_HZ), len(valid) - 1)
        if valid[max(0, nearest - 1) : nearest + 2].all():
            assert iou(box[None], boxes[nearest])[0] > 0.6
        elif not valid[max(0, nearest - 1) : nearest + 2].any():
            assert box is None
