"""Which clips of a store an experiment reads, and what it says of a corpus that gives none."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

import tiny
from mien.data.dataset import read_dataset
from mien.errors import ExperimentError
from mien.experiment import DataConfig
from mien.features.store import FeatureStore

DATA = DataConfig(corpora=("cremad", "ravdess"), audio=("voice",), video=())


def store_of_two(folder: Path, n_clips: int = 7, **changes: object) -> FeatureStore:
    """Of "cremad" as many clips, changed so, in the tables of "ravdess"."""
    tiny.write_store(str(folder / "store"))
    store = FeatureStore(folder / "store")
    spec = store.spec("ravdess", "voice")
    clips = [replace(clip, corpus="cremad", **changes) for clip in store.clips("ravdess")[:n_clips]]  # type: ignore[arg-type]
    store.write_clips("cremad", clips, [])
    source, parts = store.parts("ravdess", spec), store.parts("cremad", spec)
    for name in source.folder.names():
        if name.startswith("part-"):
            parts.folder.write_bytes(name, source.folder.read_bytes(name))
    parts.finish({clip.id for clip in clips})
    return store


def test_two_corpora_are_read_together_and_what_is_left_out_is_counted(tmp_path: Path) -> None:
    store = store_of_two(tmp_path)
    clips = store.clips("cremad")
    store.write_clips("cremad", [replace(clips[0], labels=()), *clips[1:]], [])
    dataset = read_dataset(store, DATA)
    assert {corpus: dataset.corpora.count(corpus) for corpus in ("cremad", "ravdess")} == {"cremad": 6, "ravdess": 41}
    assert dataset.left_out == {"no intended label": 1}


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"n_clips": 0}, "the store holds none"),
        ({"labels": ()}, "7 clips: no intended label"),
        ({"attributes": {"channel": "song"}}, "7 clips: channel is not speech"),
    ],
)
def test_a_corpus_that_gives_no_clip_is_refused_with_the_reasons(
    tmp_path: Path, changes: dict[str, object], why: str
) -> None:
    store = store_of_two(tmp_path, **changes)  # type: ignore[arg-type]
    with pytest.raises(ExperimentError) as error:
        read_dataset(store, DATA)
    assert str(error.value).startswith(f"no clip is left of cremad ({why}); ")
    assert len(read_dataset(store, replace(DATA, corpora=("ravdess",)))) == 41


def test_the_last_of_several_corpora_is_missed_as_the_first_is(tmp_path: Path) -> None:
    store = store_of_two(tmp_path)
    store.write_clips("ravdess", [replace(clip, labels=()) for clip in store.clips("ravdess")], [])
    with pytest.raises(ExperimentError, match=r"no clip is left of ravdess \(41 clips: no intended label\)"):
        read_dataset(store, DATA)
