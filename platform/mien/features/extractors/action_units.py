"""Action units of the face by their numbers in FACS, whatever program saw them.

The Facial Action Coding System (Ekman & Friesen 1978; Ekman, Friesen & Hager 2002) describes what a face does by
numbered units, about one per muscle. Two extractors give them: `openface` (intensities and presences that OpenFace
estimated) and `blendshapes` with columns "facs" (MediaPipe's blendshapes that move as the unit does).

A blendshape is no measurement of a unit. It is the weight in [0, 1] of a shape that an artist drew (ARKit's 52), fitted
to landmarks of the face; nobody has coded faces by FACS and calibrated it. So these columns are never called
intensities, have names of their own (AU12, beside OpenFace's AU12_r), and are not to be mixed with OpenFace's in one
column.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

# Unit to the blendshapes that move as it does, by the descriptions of Apple (ARFaceAnchor.BlendShapeLocation) and the
# reading of them by M. Ozel, "ARKit to FACS cheat sheet", melindaozel.com/arkit-to-facs-cheat-sheet. Units of which
# ARKit has no shape (11, 13, 23, 25, 27) are not there, shapes that are no unit (mouthLeft, mouthClose) neither.
BLENDSHAPES_OF: dict[int, tuple[str, ...]] = {
    1: ("browInnerUp",),  # inner brow raiser
    2: ("browOuterUpLeft", "browOuterUpRight"),  # outer brow raiser
    4: ("browDownLeft", "browDownRight"),  # brow lowerer
    5: ("eyeWideLeft", "eyeWideRight"),  # upper lid raiser
    6: ("cheekSquintLeft", "cheekSquintRight"),  # cheek raiser
    7: ("eyeSquintLeft", "eyeSquintRight"),  # lid tightener
    9: ("noseSneerLeft", "noseSneerRight"),  # nose wrinkler
    10: ("mouthUpperUpLeft", "mouthUpperUpRight"),  # upper lip raiser
    12: ("mouthSmileLeft", "mouthSmileRight"),  # lip corner puller
    14: ("mouthDimpleLeft", "mouthDimpleRight"),  # dimpler
    15: ("mouthFrownLeft", "mouthFrownRight"),  # lip corner depressor
    16: ("mouthLowerDownLeft", "mouthLowerDownRight"),  # lower lip depressor
    17: ("mouthShrugLower",),  # chin raiser
    18: ("mouthPucker",),  # lip pucker
    20: ("mouthStretchLeft", "mouthStretchRight"),  # lip stretcher
    22: ("mouthFunnel",),  # lip funneler
    24: ("mouthPressLeft", "mouthPressRight"),  # lip presser
    26: ("jawOpen",),  # jaw drop
    28: ("mouthRollLower", "mouthRollUpper"),  # lip suck
    34: ("cheekPuff",),  # cheek puff
    45: ("eyeBlinkLeft", "eyeBlinkRight"),  # blink
}
UNITS_OF_BLENDSHAPES = tuple(f"AU{unit:02}" for unit in BLENDSHAPES_OF)


def units_of_blendshapes(values: NDArray[np.float32], names: Sequence[str]) -> NDArray[np.float32]:
    """(T, 21) in [0, 1], UNITS_OF_BLENDSHAPES: of the blendshapes of each unit the mean, of left and right mostly.

    values: (T, D) blendshapes in [0, 1] of these names.
    """
    place = {name: number for number, name in enumerate(names)}
    columns = [values[:, [place[name] for name in shapes]].mean(axis=1) for shapes in BLENDSHAPES_OF.values()]
    return np.stack(columns, axis=1).astype(np.float32)
