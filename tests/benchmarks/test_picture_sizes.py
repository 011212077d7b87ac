"""Pictures of faces for docs/explanation/features.md and docs/benchmarks.md: what an hour takes in a store, and how many
clips a second one reader decodes. One thread, CPU seconds."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from mien.corpora.clip import Medium
from mien.data.columns import InMemory
from mien.data.pictures import CENTRE, PictureChoice
from mien.features import extractors
from mien.features.media import decode
from mien.features.spec import Frames
from mien.features.store.rows import encoded
from tiny_faces import one_torch_thread

pytestmark = [pytest.mark.bench, pytest.mark.torch]

FILMS = ("ravdess/video/Actor_19/01-01-08-02-01-01-19.mp4", "faces/WolfgangLanger_Pexels.mp4")
N_PICTURES = 48
N_CLIPS = 8882  # of RAVDESS' speech and CREMA-D


@pytest.mark.parametrize("film", FILMS)
@pytest.mark.parametrize("size_px", [112, 224])
def test_pictures_of_a_film(real_data: Path, size_px: int, film: str, capsys: pytest.CaptureFixture[str]) -> None:
    import torch
    import torchvision

    extractor = extractors.build("frames", size_px=size_px)
    with one_torch_thread():
        frames = extractor(decode("faces", Medium(path=str(real_data / film)), 25.0), 25.0)
        files = encoded(frames, extractor.spec)
        seen = [len(file) for file, is_valid in zip(files, frames.valid) if is_valid]
        column = InMemory(extractor.spec, [Frames(files, frames.valid)])
        choice = PictureChoice(n=N_PICTURES)
        which = choice.positions(len(files), CENTRE)
        jpegs = [torch.frombuffer(bytearray(files[k]), dtype=torch.uint8) for k in which]
        whole = _clips_per_s(lambda: np.asarray(column[0].values))
        ours = _clips_per_s(lambda: np.asarray(choice({"": column[0]}, {"": extractor.spec})[""].values))
        theirs = _clips_per_s(lambda: torch.stack(torchvision.io.decode_jpeg(jpegs)))
    kb = np.mean(seen) / 1e3
    with capsys.disabled():
        print(
            f"\n{Path(film).stem}, {size_px} px: {kb:.2f} kB a picture, {kb * 25 * 3600 / 1e6:.2f} GB an hour at 25 Hz, "
            f"{kb * N_PICTURES * N_CLIPS / 1e6:.1f} GB for {N_PICTURES} of {N_CLIPS} clips; {ours:.0f} clips/s of "
            f"{N_PICTURES} by Pillow, {theirs:.0f} by torchvision, {whole:.1f} of all {len(files)} by Pillow"
        )
    assert ours > whole


def _clips_per_s(read: Callable[[], object], rounds: int = 5) -> float:
    """Of the quickest round."""
    read()
    seconds = []
    for _ in range(rounds):
        start = time.process_time()
        read()
        seconds.append(time.process_time() - start)
    return 1 / min(seconds)
