"""A real performance whose video has no sound: the mp4 and the separate recording are one clip with both features."""

from __future__ import annotations

import numpy as np
import pytest

from mien.features.prepare import prepare
from mien.features.store import FeatureStore

pytestmark = [pytest.mark.ray, pytest.mark.slow]


def test_silent_video_and_its_sound_are_one_clip(real_data, tmp_path):
    folder = tmp_path / "ravdess" / "Actor_19"
    folder.mkdir(parents=True)
    for path in (
        "video/Actor_19/01-01-08-02-01-01-19.mp4",
        "speech_16k/Actor_19/03-01-08-02-01-01-19.flac",
    ):
        source = real_data / "ravdess" / path
        (folder / source.name).symlink_to(source)
    summary = prepare(
        "ravdess",
        tmp_path / "ravdess",
        tmp_path / "store",
        ["egemaps", ("facenet", {"weights": "random"})],
        workers=1,
    )
    assert [(f.n_rows, f.n_rejects) for f in summary.features] == [(1, 0), (1, 0)]
    store = FeatureStore(tmp_path / "store")
    heard, seen = (store.load("ravdess", store.spec("ravdess", name)).frames(0) for name in ("egemaps", "facenet"))
    assert heard.valid.all()
    assert seen.valid.mean() > 0.9
    # The video goes on for up to a second after the last window of sound begins.
    assert abs(len(seen.valid) / 10 - (len(heard.valid) / 10 + 0.9)) < 0.3
    assert np.isfinite(seen.values).all()
