"""Pictures of the face: the square around its box, to a fraction of a pixel, from any film."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from mien.errors import ExperimentError
from mien.features import extractors
from mien.features.extractors.frames import cut


def box(left: float, top: float, right: float, bottom: float) -> NDArray[np.float32]:
    return np.array([left, top, right, bottom], np.float32)


@pytest.fixture
def picture() -> NDArray[np.uint8]:
    """(97, 131, 3) of noise, none of it black."""
    return np.random.default_rng(0).integers(1, 256, (97, 131, 3), dtype=np.uint8)


def test_a_square_box_at_its_own_size_is_copied(picture: NDArray[np.uint8]) -> None:
    np.testing.assert_array_equal(cut(picture, box(10, 20, 42, 52), 0.0, 32), picture[20:52, 10:42])


def test_the_margin_is_a_share_of_the_longer_side_on_each_side(picture: NDArray[np.uint8]) -> None:
    # 20 x 32, so a square of 32 around (50, 46), and a quarter of 32 beyond it on each side
    np.testing.assert_array_equal(cut(picture, box(40, 30, 60, 62), 0.25, 48), picture[22:70, 26:74])


def test_it_is_black_beyond_the_edge_of_the_picture(picture: NDArray[np.uint8]) -> None:
    face = cut(picture, box(-10, 70, 30, 110), 0.0, 40)
    np.testing.assert_array_equal(face[:27, 10:], picture[70:97, :30])
    assert not face[:, :10].any()
    assert not face[27:].any()


def test_a_box_outside_of_the_picture_is_all_black(picture: NDArray[np.uint8]) -> None:
    assert not cut(picture, box(500, 500, 540, 540), 0.2, 24).any()


def test_it_follows_a_box_by_fractions_of_a_pixel() -> None:
    ramp = np.repeat(np.arange(0, 240, 2, dtype=np.uint8)[None, :, None], 60, axis=0).repeat(3, axis=2)
    centres = [cut(ramp, box(20 + shift, 10, 60 + shift, 50), 0.0, 40)[20, 20, 0] for shift in (0.0, 0.5, 1.0)]
    assert np.diff(np.array(centres, int)).tolist() == [1, 1]


def test_pictures_without_a_face_are_zeros_and_masked(picture: NDArray[np.uint8]) -> None:
    extractor = extractors.build("frames", size_px=24, margin=0.0)
    seen = (picture, box(10, 20, 34, 44))
    values, valid = extractor([(picture, None), seen, seen, (picture, None)], 25.0)
    assert (values.dtype, values.shape) == (np.uint8, (4, 24, 24, 3))
    assert valid.tolist() == [False, True, True, False]
    np.testing.assert_array_equal(values[1], picture[20:44, 10:34])
    assert not values[~valid].any()
    assert (extractor.spec.codec, extractor.spec.modality, extractor.spec.is_numeric) == ("jpeg", "video", False)


def test_a_film_without_pictures_has_no_frames() -> None:
    values, valid = extractors.build("frames")([], 25.0)
    assert values.shape == (0, 112, 112, 3)
    assert valid.shape == (0,)


def test_another_rate_is_refused(picture: NDArray[np.uint8]) -> None:
    with pytest.raises(ValueError, match="25 Hz, not 10 Hz"):
        extractors.build("frames")([(picture, None)], 10.0)


@pytest.mark.parametrize(
    "settings",
    [{"rate_hz": 0.0}, {"size_px": 4}, {"margin": -0.1}, {"quality": 0}, {"quality": 96}, {"detect_every_s": 0.0}],
)
def test_settings_that_make_no_sense_are_refused(settings: dict[str, float]) -> None:
    with pytest.raises(ExperimentError, match=f"frames.*{next(iter(settings))}"):
        extractors.build("frames", **settings)
