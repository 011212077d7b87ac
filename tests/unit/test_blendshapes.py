"""Blendshapes of MediaPipe: the numbers of its own interface, clip by clip, private and without TensorFlow."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from mien.errors import ExperimentError, MienError
from mien.features import extractors
from mien.features.extractors.action_units import BLENDSHAPES_OF, UNITS_OF_BLENDSHAPES
from mien.features.extractors.blendshapes import BLENDSHAPES, import_mediapipe, landmarker
from tiny_faces import FACE

pytestmark = pytest.mark.slow  # mediapipe takes its time to load

RATE_HZ = 25.0


@pytest.fixture(scope="module")
def model(landmarker_task: Path) -> str:
    return str(landmarker_task)


@pytest.fixture(scope="module")
def extractor(model: str) -> Any:
    return extractors.build("blendshapes", model=model, rate_hz=RATE_HZ)


def portrait(opening_px: float = 0.0) -> NDArray[np.uint8]:
    """The astronaut, whose mouth is opened by so many pixels: her lower lip and chin moved down, darkness between."""
    picture = FACE.copy()
    if opening_px:
        mouth, lip = 152, round(opening_px)
        picture[mouth + lip :, 60:210] = FACE[mouth : 260 - lip, 60:210]
        picture[mouth : mouth + lip, 60:210] = FACE[mouth : mouth + 1, 60:210]
        canvas = Image.fromarray(picture)
        ImageDraw.Draw(canvas).ellipse((116, mouth - 2, 154, mouth + lip), fill=(60, 20, 20))
        picture = np.asarray(canvas)
    return picture


def test_it_gives_what_mediapipes_own_interface_gives(extractor: Any, model: str) -> None:
    """Second opinion: the loop of MediaPipe's guide, with its options as they come."""
    pictures = [portrait(opening) for opening in (0, 0, 3, 9, 15, 15, 6, 0)] + [np.zeros_like(FACE)] * 3
    import_mediapipe()
    import mediapipe
    from mediapipe.tasks.python import BaseOptions, vision

    options = vision.FaceLandmarkerOptions(
        base_options=BaseOptions(model_asset_path=model),
        running_mode=vision.RunningMode.VIDEO,
        output_face_blendshapes=True,
    )
    rows: list[dict[str, float]] = []
    with vision.FaceLandmarker.create_from_options(options) as plain:
        for number, picture in enumerate(pictures):
            image = mediapipe.Image(image_format=mediapipe.ImageFormat.SRGB, data=picture)
            found = plain.detect_for_video(image, number * 40).face_blendshapes
            rows.append({shape.category_name: shape.score for shape in found[0]} if found else {})
    values, valid = extractor(pictures, RATE_HZ)
    assert valid.tolist() == [bool(row) for row in rows]
    assert valid[:8].all()
    assert not valid[-1]
    for name, column in zip(BLENDSHAPES, values.T):
        np.testing.assert_array_equal(column, np.array([row.get(name, 0.0) for row in rows], np.float32), err_msg=name)


def test_the_jaw_opens_as_the_mouth_does_and_the_smile_is_seen(extractor: Any) -> None:
    openings = np.array([0, 0, 4, 8, 12, 16, 20, 16, 12, 8, 4, 0, 0], float)
    values, valid = extractor([portrait(opening) for opening in openings], RATE_HZ)
    assert valid.all()
    shape = dict(zip(BLENDSHAPES, values.T))
    assert np.corrcoef(shape["jawOpen"], openings)[0, 1] > 0.8
    assert min(shape["mouthSmileLeft"][0], shape["mouthSmileRight"][0]) > 0.5
    assert max(shape["mouthFrownLeft"][0], shape["mouthFrownRight"][0]) < 0.1


def test_units_of_facs_are_means_of_their_blendshapes(extractor: Any, model: str) -> None:
    pictures = [portrait(opening) for opening in (0, 6, 12)]
    shapes = dict(zip(BLENDSHAPES, extractor(pictures, RATE_HZ).values.T))
    facs = extractors.build("blendshapes", model=model, rate_hz=RATE_HZ, columns="facs")
    assert facs.spec.columns == UNITS_OF_BLENDSHAPES
    assert facs.spec.folder != extractor.spec.folder
    units = dict(zip(UNITS_OF_BLENDSHAPES, facs(pictures, RATE_HZ).values.T))
    np.testing.assert_array_equal(units["AU26"], shapes["jawOpen"])
    np.testing.assert_allclose(units["AU12"], (shapes["mouthSmileLeft"] + shapes["mouthSmileRight"]) / 2, rtol=1e-6)
    assert not {name for shapes in BLENDSHAPES_OF.values() for name in shapes} - set(BLENDSHAPES)


def test_the_face_before_leaves_no_trace_in_the_next_clip(extractor: Any) -> None:
    alone = extractor([portrait()] * 3, RATE_HZ).values
    extractor([np.roll(portrait(20), 40, axis=1)] * 5, RATE_HZ)
    np.testing.assert_array_equal(extractor([portrait()] * 3, RATE_HZ).values, alone)


def test_its_landmarkers_trust_no_server(model: str) -> None:
    """mediapipe#6291: it sends figures of its use unless its TLS connections fail."""
    import_mediapipe()
    from mediapipe.tasks.python import BaseOptions

    assert Path(os.fsdecode(BaseOptions().to_ctypes().ca_bundle_path)).stat().st_size > 0
    made: list[bytes] = []
    usual = BaseOptions.to_ctypes
    with pytest.MonkeyPatch.context() as patch:
        # What the C library is given, seen where MediaPipe makes it and after the landmarker's own changed it.
        patch.setattr(BaseOptions, "to_ctypes", lambda self: made.append(options := usual(self)) or options)
        with landmarker(Path(model).read_bytes()):
            pass
    assert [options.ca_bundle_path for options in made] == [os.devnull.encode()]


def test_it_loads_no_tensorflow_and_is_silent(model: str) -> None:
    program = (
        "import sys, numpy as np; from mien.features import extractors; from tiny_faces import FACE\n"
        f"made = extractors.build('blendshapes', model={model!r})\n"
        "assert made([FACE] * 2, 10.0).valid.all(); assert 'tensorflow' not in sys.modules"
    )
    path = os.pathsep.join(str(Path(__file__).parents[2] / name) for name in ("platform", "tests"))
    done = subprocess.run(
        [sys.executable, "-c", program], env=os.environ | {"PYTHONPATH": path}, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""


def test_other_files_and_rates_are_refused_in_one_sentence(model: str, tmp_path: Path) -> None:
    other = tmp_path / "other.task"
    other.write_bytes(b"no model")
    for path in (str(other), str(Path(model).with_name("blaze_face_short_range.tflite"))):
        with pytest.raises(MienError, match=f"{path}: not a Face Landmarker with blendshapes .*set blendshapes.model"):
            extractors.build("blendshapes", model=path)
    with pytest.raises(MienError, match=r"absent\.task: cannot be read .*set blendshapes.model"):
        extractors.build("blendshapes", model=str(tmp_path / "absent.task"))
    with pytest.raises(MienError, match="SHA-256 is 64184e.*set blendshapes.model"):
        extractors.build("blendshapes", model=model, sha256="0" * 64)
    for rate_hz in (0.0, 1000.0):
        with pytest.raises(ExperimentError, match="rate_hz"):
            extractors.build("blendshapes", model=model, rate_hz=rate_hz)
