"""Pictures with faces in them, and what tests of faces share. Loads torch only when it is used."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from skimage.data import astronaut

FACE_FILMS = ("WolfgangLanger_Pexels.mp4", "face_noface.mov", "no_face.mp4")  # of ../shared/data/faces
FACE = astronaut()[:260, 80:380]

Picture = NDArray[np.uint8]


@contextmanager
def one_torch_thread() -> Iterator[None]:
    """torch held to one thread, as in a worker."""
    import torch

    n_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(n_threads)


def scene(*faces: tuple[int, int, float], height: int = 360, width: int = 640) -> Picture:
    """A grey wall with the portrait at (left, top), its size times a factor, for each of faces."""
    picture = Image.new("RGB", (width, height), (128, 128, 128))
    for left, top, factor in faces:
        size = (round(FACE.shape[1] * factor), round(FACE.shape[0] * factor))
        picture.paste(Image.fromarray(FACE).resize(size), (left, top))
    return np.asarray(picture)
