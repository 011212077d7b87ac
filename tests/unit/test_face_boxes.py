"""Boxes between the points of a face track, without a detector."""

from __future__ import annotations

import numpy as np

from mien.features.extractors.face_track import FaceTrack, TrackSettings


def track_of(*boxes: list[float] | None) -> FaceTrack:
    track = FaceTrack(TrackSettings())
    track.boxes = [None if box is None else np.array(box, np.float32) for box in boxes]
    return track


def test_between_two_points_the_box_is_on_its_way() -> None:
    track = track_of([10, 20, 110, 140], [20, 24, 120, 144], [22, 20, 122, 140])
    for time_s, left, top in [
        (0.0, 10, 20),
        (0.04, 14, 21.6),
        (0.1, 20, 24),
        (0.15, 21, 22),
        (0.2, 22, 20),
        (9.0, 22, 20),
    ]:
        np.testing.assert_allclose(track.box(time_s)[:2], [left, top], rtol=1e-6)
    np.testing.assert_array_equal(track.box(0.3 - 0.2), track.boxes[1])  # 0.09999999999999998


def test_a_box_is_never_between_two_faces_nor_half_there() -> None:
    jump = track_of([10, 20, 110, 140], [310, 20, 410, 140])
    np.testing.assert_array_equal(jump.box(0.04), jump.boxes[0])
    np.testing.assert_array_equal(jump.box(0.06), jump.boxes[1])
    gone = track_of([10, 20, 110, 140], None)
    np.testing.assert_array_equal(gone.box(0.04), gone.boxes[0])
    assert gone.box(0.06) is None


def test_a_picture_waits_until_the_point_after_it_is_known() -> None:
    track = track_of(*[[10.0, 20.0, 110.0, 140.0]] * 3)  # at 0, 0.1 and 0.2 s
    assert [track.is_known(time_s) for time_s in (0.0, 0.04, 0.2, 0.2 + 1e-9, 0.21)] == [True, True, True, True, False]
