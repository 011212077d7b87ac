"""prepare: what it refuses before anything is started or written, and what it does again; without Ray."""

from __future__ import annotations

from pathlib import Path

import pytest

from mien.errors import CorpusError, MienError
from mien.preprocess import prepare
from mien.store import FeatureStore
from tiny_corpus import write_corpus

LOUDNESS = "tiny_extractors:loudness"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("Actor_01/03-01-05-01-01-01-01.wav", "none of 2 files has a name of cremad; is this ravdess?"),
        ("holiday.avi", "none of 2 files has a name of cremad; the first is holiday.avi: "),
        ("1001_IEO_ANG_HI.wav", "none of 2 files became a clip of cremad: 1 wrong-folder, 1 bad-name, the first is "),
    ],
)
def test_a_root_without_a_clip_of_the_corpus_leaves_the_store_as_it_was(
    tmp_path: Path, name: str, message: str
) -> None:
    for file in (name, "interview.wav"):
        (tmp_path / "root" / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "root" / file).write_bytes(b"x")
    with pytest.raises(CorpusError) as error:
        prepare("cremad", tmp_path / "root", tmp_path / "store", [LOUDNESS])
    assert str(error.value).startswith(f"{tmp_path}/root: {message}")
    assert not FeatureStore(tmp_path / "store").corpora()


@pytest.mark.parametrize("limit", [0, -1])
def test_a_limit_below_one_is_refused(tmp_path: Path, limit: int) -> None:
    write_corpus(tmp_path / "root", 2)
    with pytest.raises(MienError, match=f"^--limit {limit}: give at least 1"):
        prepare("ravdess", tmp_path / "root", tmp_path / "store", [LOUDNESS], limit=limit)
    assert not (tmp_path / "store").exists()
