"""What the face in a film does, as 52 blendshapes in [0, 1] per picture: MediaPipe's Face Landmarker.

The landmarker finds a face by a detector of its own (BlazeFace), follows it from picture to picture, lays a mesh of 478
points over it and reads the blendshapes of ARKit from the mesh. They can be asked for as action units of FACS: see
`mien.features.extractors.action_units`, also for what they are not.

It has a state (the face that it follows), so each clip gets one of its own; in its mode for single images the same
picture has other numbers, by up to 0.4 (mediapipe#5253), so the mode is in the spec. It has threads of its own, which
cannot be held down: they take turns, and one works at a time.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from mien.errors import ExperimentError, MienError
from mien.features.extractors.action_units import UNITS_OF_BLENDSHAPES, units_of_blendshapes
from mien.features.extractors.weights import read_weights
from mien.features.spec import FeatureSpec, Frames, Kind, Look

_BOTH = (
    *("browDown", "browOuterUp", "cheekSquint", "eyeBlink", "eyeLookDown", "eyeLookIn", "eyeLookOut", "eyeLookUp"),
    *("eyeSquint", "eyeWide", "mouthDimple", "mouthFrown", "mouthLowerDown", "mouthPress", "mouthSmile"),
    *("mouthStretch", "mouthUpperUp", "noseSneer"),
)
_ONE = (
    *("browInnerUp", "cheekPuff", "jawForward", "jawLeft", "jawOpen", "jawRight", "mouthClose", "mouthFunnel"),
    *("mouthLeft", "mouthPucker", "mouthRight", "mouthRollLower", "mouthRollUpper", "mouthShrugLower"),
    "mouthShrugUpper",
)
# In MediaPipe's order, which is that of the alphabet; of ARKit's, tongueOut is not among them.
BLENDSHAPES = ("_neutral", *sorted((*_ONE, *(f"{shape}{side}" for shape in _BOTH for side in ("Left", "Right")))))
# Google's release of the model (Apache 2.0), and its SHA-256
PUBLISHED_URL = (
    "https://storage.googleapis.com/mediapipe-models/face_landmarker/face_landmarker/float16/1/face_landmarker.task"
)
PUBLISHED_SHA256 = "64184e229b263107bc2b804c6625db1341ff2bb731874b0bcc2fe6544e0bc9ff"
REMEDY = f"set blendshapes.model to a file (a path, an s3:// URI or a URL) that was got from {PUBLISHED_URL}"
FASTEST_HZ = 500.0  # its clock has milliseconds, and no two pictures may have one time


@dataclass(frozen=True, kw_only=True, slots=True)
class BlendshapesSettings:
    """52 blendshapes of the face (or 21 action units made of them), by MediaPipe's Face Landmarker."""

    model: str | None = None
    """The landmarker's .task file, with blendshapes in it: a path, s3:// URI or URL; without one, Google's."""
    sha256: str | None = None
    """What the SHA-256 of that file must be, in hex."""
    rate_hz: float = 10.0
    """Pictures per second. The landmarker follows a face from one to the next, and each takes it 8 to 11 ms."""
    columns: Literal["blendshapes", "facs"] = "blendshapes"
    """As they are, in [0, 1]; or as 21 action units of FACS, each the mean of the blendshapes that move as it does."""

    def build(self) -> Blendshapes:
        """Raises MienError for a file that cannot be had or is no such model."""
        if not 0 < self.rate_hz <= FASTEST_HZ:
            raise ExperimentError(f"rate_hz {self.rate_hz:g}: must be above 0 and at most {FASTEST_HZ:g}")
        model, sha256 = self.model, self.sha256
        if model is None:
            model, sha256 = PUBLISHED_URL, sha256 or PUBLISHED_SHA256
        data, found = read_weights(model, sha256, REMEDY)
        if found != PUBLISHED_SHA256:
            _check(data, model)
        columns = BLENDSHAPES if self.columns == "blendshapes" else UNITS_OF_BLENDSHAPES
        spec = FeatureSpec(
            name="blendshapes",
            version=1,
            modality="video",
            shape=(len(columns),),
            hop_s=1 / self.rate_hz,
            columns=columns,
            settings={"weights": found, "mode": "video"},
        )
        return Blendshapes(spec=spec, rate_hz=self.rate_hz, model=model)


@dataclass(frozen=True, kw_only=True)
class Blendshapes:
    """Extractor of one row per picture. Pictures in which the landmarker finds no face are masked, none is left out."""

    spec: FeatureSpec
    rate_hz: float
    model: str
    medium: ClassVar[str] = "video"
    kind: ClassVar[Kind] = "pictures"
    is_heavy: ClassVar[bool] = True

    def __call__(self, signal: Iterable[NDArray[np.uint8]], rate_hz: float) -> Frames:
        """Frames of pictures at the rate of the spec."""
        if rate_hz != self.rate_hz:
            raise ValueError(f"blendshapes wants pictures at {self.rate_hz:g} Hz, not {rate_hz:g} Hz")
        with self.live() as look:
            rows = [look(picture, None, number / rate_hz) for number, picture in enumerate(signal)]
        values = np.zeros((len(rows), *self.spec.shape), np.float32)
        for number, row in enumerate(rows):
            if row is not None:
                values[number] = row
        return Frames(values, np.array([row is not None for row in rows], dtype=bool))

    @contextmanager
    def live(self) -> Iterator[Look]:
        """With a landmarker that has seen no picture yet."""
        import_mediapipe()
        from mediapipe import Image, ImageFormat

        with landmarker(_model(self.model, self.spec.settings["weights"])) as of_clip:

            def look(picture: NDArray[np.uint8], box: object, time_s: float) -> NDArray[np.float32] | None:
                image = Image(image_format=ImageFormat.SRGB, data=np.ascontiguousarray(picture))
                shapes = of_clip.detect_for_video(image, round(1000 * time_s)).face_blendshapes
                if not shapes:
                    return None
                row = np.array([shape.score for shape in shapes[0]], np.float32)
                if self.spec.columns == UNITS_OF_BLENDSHAPES:
                    return units_of_blendshapes(row[None], BLENDSHAPES)[0]
                return row

            yield look


@contextmanager
def landmarker(model: bytes) -> Iterator[Any]:
    """A Face Landmarker that has seen no picture yet, for the pictures of one film, and says nothing on stderr."""
    import_mediapipe()
    from mediapipe.tasks.python import BaseOptions, vision

    class Private(BaseOptions):
        """From 0.10.35 on, mediapipe sends Google figures of its use when a landmarker is closed, undocumented and
        without a switch (mediapipe#6291). Without a certificate to trust its TLS connection fails, and nothing is
        sent."""

        def to_ctypes(self) -> Any:
            options = super().to_ctypes()
            options.ca_bundle_path = os.devnull.encode()
            return options

    options = vision.FaceLandmarkerOptions(
        base_options=Private(model_asset_buffer=model),
        running_mode=vision.RunningMode.VIDEO,
        output_face_blendshapes=True,
        num_faces=1,
    )
    with _silent_stderr():  # it warns of its own graph, and neither environment nor flags stop it
        made = vision.FaceLandmarker.create_from_options(options)
    try:
        yield made
    finally:
        made.close()


def import_mediapipe() -> None:
    """Load mediapipe without TensorFlow, of which it wants a decorator for documentation: 1 s and not 9 s, 600 MB less,
    and no second framework beside torch in one process."""
    is_hidden = "tensorflow" not in sys.modules
    if is_hidden:
        sys.modules["tensorflow"] = None  # type: ignore[assignment]  # to import it is a ModuleNotFoundError
    try:
        import mediapipe  # noqa: F401
    finally:
        if is_hidden:
            del sys.modules["tensorflow"]


def _check(data: bytes, path: str) -> None:
    """Refuse what is no landmarker with blendshapes, once and not clip by clip."""
    import_mediapipe()
    from mediapipe import Image, ImageFormat

    try:
        with landmarker(data) as of_nothing:
            of_nothing.detect_for_video(Image(image_format=ImageFormat.SRGB, data=np.zeros((64, 64, 3), np.uint8)), 0)
    except Exception as error:
        raise MienError(
            f"{path}: not a Face Landmarker with blendshapes ({str(error).splitlines()[0]}); {REMEDY}"
        ) from error


@cache
def _model(path: str, sha256: str) -> bytes:
    """The file of that checksum, read once in a process."""
    return read_weights(path, sha256)[0]


@contextmanager
def _silent_stderr() -> Iterator[None]:
    """What C++ writes to the standard error of this process is dropped meanwhile."""
    sys.stderr.flush()
    kept = os.dup(2)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)
