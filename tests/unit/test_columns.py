"""Columns: the same frames in memory and memory-mapped, and files that are built once per node, whole or not at all."""

from __future__ import annotations

import pickle
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from mien.corpora.clip import Clip, Label, Reject
from mien.data import mapped_table
from mien.data.columns import Column, InMemory, Mapped
from mien.data.mapped_table import MappedTable, cache_folder, source_of
from mien.errors import FolderError, StoreError
from mien.features.spec import FeatureSpec, Frames
from mien.features.store import FeatureStore, Row
from mien.features.store.rows import encoded

NUMBERS = FeatureSpec(name="voice", version=1, modality="audio", shape=(7,), hop_s=0.1)
MAPS = FeatureSpec(name="map", version=1, modality="eeg", shape=(3, 5), hop_s=0.1)
PICTURES = FeatureSpec(name="faces", version=1, modality="video", shape=(11, 13, 3), codec="jpeg", hop_s=0.1)
SPECS = [NUMBERS, MAPS, PICTURES]
CORPORA = ("a", "b")
N_CLIPS = 23  # of each corpus


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MIEN_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "columns"


def frames(number: int, spec: FeatureSpec, salt: int = 0) -> Frames:
    """Of 1 to 6 frames, every fourth invalid and zero."""
    n_frames = 1 + number % 6
    rng = np.random.default_rng((number, spec.dim, salt))
    valid = np.arange(number, number + n_frames) % 4 != 0
    if spec.is_numeric:
        values = rng.normal(size=(n_frames, *spec.shape)).astype(np.float32)
    else:
        values = rng.integers(0, 256, (n_frames, *spec.shape), np.uint8)
    values[~valid] = 0
    return Frames(values, valid)


def prepare(store: FeatureStore, spec: FeatureSpec, salt: int = 0, n_parts: int = 3) -> None:
    """Both corpora, their clips dealt to parts."""
    for corpus in CORPORA:
        ids = [f"{corpus}/{i:02}" for i in range(N_CLIPS)]
        labels = (Label(source="intended", emotion="fear"),)
        clips = [Clip(id=i, corpus=corpus, subject=f"{corpus}/s", media={}, labels=labels) for i in ids]
        store.write_clips(corpus, clips, [])
        folder = store.feature_folder(corpus, spec)
        folder.reopen(fresh=True)
        rows = [
            Row(clip_id, f"{i:064x}", 0.5 * i, None if i % 2 else i + 1.0, encoded(one, spec), one.valid)
            for i, clip_id in enumerate(ids)
            for one in [frames(i, spec, salt)]
        ]
        for part in range(n_parts):
            some = rows[part::n_parts]
            folder.write([row.clip_id for row in some], some, [])
        folder.finish(set(ids))


@pytest.fixture
def store(tmp_path: Path) -> FeatureStore:
    return FeatureStore(tmp_path / "store")


def clip_ids() -> list[str]:
    """Of both corpora in turn, and one that no corpus has."""
    return [*(f"{corpus}/{i:02}" for i in range(N_CLIPS) for corpus in reversed(CORPORA)), "a/unknown"]


def mapped(store: FeatureStore, spec: FeatureSpec) -> Mapped:
    return Mapped(spec, [source_of(store, corpus, spec) for corpus in CORPORA], clip_ids())


def in_memory(store: FeatureStore, spec: FeatureSpec) -> InMemory:
    return InMemory.of_tables(spec, [store.load(corpus, spec) for corpus in CORPORA], clip_ids())


def assert_equal(one: Column, other: Column) -> None:
    assert one.spec == other.spec
    np.testing.assert_array_equal(one.lengths, other.lengths)
    for row in range(len(one.lengths)):
        a, b = one[row], other[row]
        assert len(a.valid) == one.lengths[row]
        assert (a.values.dtype, a.values.shape) == (b.values.dtype, b.values.shape)
        assert np.asarray(a.values).tobytes() == np.asarray(b.values).tobytes()
        np.testing.assert_array_equal(a.valid, b.valid)


@pytest.mark.slow
@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: spec.name)
@pytest.mark.parametrize("batch_bytes", [1, 100, 2**24])
def test_mapped_and_in_memory_are_the_same_bit_for_bit(store, spec, batch_bytes, monkeypatch):
    monkeypatch.setattr(mapped_table, "_BATCH_BYTES", batch_bytes)
    prepare(store, spec)
    column = mapped(store, spec)
    assert_equal(column, in_memory(store, spec))
    assert column.lengths.tolist() == [1 + i % 6 for i in range(N_CLIPS) for _ in CORPORA] + [0]
    assert column[46].values.shape == (0, *spec.shape)  # the unknown clip
    if spec.is_numeric:
        np.testing.assert_array_equal(column[9].values, frames(4, spec).values)


def test_hand_made_frames_come_back():
    made = [frames(i, NUMBERS) for i in range(5)]
    column = InMemory(NUMBERS, [*made, None])
    assert column.lengths.tolist() == [1, 2, 3, 4, 5, 0]
    np.testing.assert_array_equal(column[3].values, made[3].values)
    assert column[5].values.shape == (0, 7)


def test_numbers_are_read_without_copying(store):
    prepare(store, NUMBERS)
    column = mapped(store, NUMBERS)
    assert np.shares_memory(column[5].values, column[5].values)
    assert not column[5].values.flags.writeable


@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: spec.name)
def test_a_mapped_column_is_sent_as_a_reference_and_read_again(store, spec, cache):
    prepare(store, spec)
    column = mapped(store, spec)
    column[3]  # numpy has seen some of it
    sent = pickle.dumps(column)
    assert len(sent) < 2500  # 47 ids and places, and none of the frames
    assert_equal(pickle.loads(sent), column)
    for file in cache.iterdir():  # as on another node
        file.unlink()
    assert_equal(pickle.loads(sent), in_memory(store, spec))
    assert len(list(cache.glob("*.arrow"))) == len(CORPORA)


def test_a_feature_without_a_row_is_an_empty_table(store):
    clips = [Clip(id="a/1", corpus="a", subject="a/s", media={})]
    store.write_clips("a", clips, [])
    folder = store.feature_folder("a", NUMBERS)
    folder.reopen()
    folder.write(["a/1"], [], [Reject(id="a/1", path="", stage="extract", reason="too-short", detail="")])
    folder.finish({"a/1"})
    column = Mapped(NUMBERS, [source_of(store, "a", NUMBERS)], ["a/1"])
    assert column.lengths.tolist() == [0]
    assert column[0].values.shape == (0, 7)


def counted(monkeypatch: pytest.MonkeyPatch, seconds: float = 0.0) -> list[str]:
    """The corpora of which a file is built, from now on."""
    built = []
    build = mapped_table._build

    def slow(source) -> None:
        built.append(source.corpus)
        time.sleep(seconds)
        build(source)

    monkeypatch.setattr(mapped_table, "_build", slow)
    return built


@pytest.mark.slow
def test_workers_of_a_node_build_it_once(store, monkeypatch):
    prepare(store, NUMBERS)
    built, columns = counted(monkeypatch, 0.2), []
    threads = [threading.Thread(target=lambda: columns.append(mapped(store, NUMBERS))) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(built) == ["a", "b"]
    for column in columns:
        assert_equal(column, in_memory(store, NUMBERS))
    assert len(columns) == 5


def test_what_is_there_is_not_built_again(store, monkeypatch):
    prepare(store, NUMBERS)
    mapped(store, NUMBERS)
    built = counted(monkeypatch)
    mapped(store, NUMBERS)
    assert built == []


@pytest.mark.parametrize("damage", ["cut", "empty", "another"])
def test_a_file_that_is_not_whole_is_built_again(store, cache, damage, monkeypatch):
    prepare(store, NUMBERS)
    mapped(store, NUMBERS)
    file = next(cache.glob("*.arrow"))
    data = file.read_bytes()
    if damage == "another":
        (other,) = [path for path in cache.glob("*.arrow") if path != file]
        data = other.read_bytes()
    file.unlink()
    file.write_bytes({"cut": data[: len(data) // 2], "empty": b"", "another": data}[damage])
    built = counted(monkeypatch)
    assert_equal(mapped(store, NUMBERS), in_memory(store, NUMBERS))
    assert len(built) == 1


def test_a_build_that_fails_leaves_nothing(store, cache, monkeypatch):
    prepare(store, NUMBERS)
    whole = FeatureStore.iterate

    def half(self: FeatureStore, corpus: str, spec: FeatureSpec) -> Iterator[Row]:
        rows = whole(self, corpus, spec)
        for _ in range(11):
            yield next(rows)
        raise StoreError("a part is gone")

    with monkeypatch.context() as patch:
        patch.setattr(FeatureStore, "iterate", half)
        patch.setattr(mapped_table, "_BATCH_BYTES", 100)
        with pytest.raises(StoreError, match="a part is gone"):
            mapped(store, NUMBERS)
    assert [path.suffix for path in cache.iterdir()] == [".lock"]
    assert_equal(mapped(store, NUMBERS), in_memory(store, NUMBERS))


def test_a_feature_that_was_prepared_afresh_is_not_served_from_the_old_file(store):
    """The fingerprint names clips and lengths, which are the same."""
    prepare(store, NUMBERS)
    before, fingerprint = mapped(store, NUMBERS), store.fingerprint("a", NUMBERS)
    prepare(store, NUMBERS, salt=1)
    assert store.fingerprint("a", NUMBERS) == fingerprint
    after = mapped(store, NUMBERS)
    assert_equal(after, in_memory(store, NUMBERS))
    assert before[5].values.tobytes() != after[5].values.tobytes()


def test_a_reference_to_what_the_store_no_longer_has_is_refused(store, cache):
    prepare(store, NUMBERS)
    sent = pickle.dumps(mapped(store, NUMBERS))
    prepare(store, NUMBERS, salt=1)
    for file in cache.iterdir():
        file.unlink()
    with pytest.raises(StoreError, match="voice was prepared again since the dataset was read; start again"):
        pickle.loads(sent)[0]


def test_a_node_that_does_not_reach_the_store_says_so(store, cache, tmp_path):
    prepare(store, NUMBERS)
    sent = pickle.dumps(mapped(store, NUMBERS))
    for file in cache.iterdir():
        file.unlink()
    (tmp_path / "store").rename(tmp_path / "elsewhere")
    with pytest.raises(StoreError, match=r"store: not there on .*; give a store that every node reaches"):
        pickle.loads(sent)[0]


def test_a_cache_that_cannot_be_written_names_the_remedy(store, tmp_path, monkeypatch):
    prepare(store, NUMBERS)
    (tmp_path / "file").touch()
    monkeypatch.setenv("MIEN_CACHE", str(tmp_path / "file"))
    with pytest.raises(FolderError, match="set MIEN_CACHE to a folder with room"):
        mapped(store, NUMBERS)


def test_a_full_disk_leaves_nothing_and_names_the_remedy(store, cache, monkeypatch):
    prepare(store, NUMBERS)

    def full(number: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("os.fsync", full)
        with pytest.raises(FolderError, match=r"No space left on device.*MIEN_CACHE"):
            mapped(store, NUMBERS)
    assert [path.suffix for path in cache.iterdir()] == [".lock"]


def test_the_cache_is_in_the_home_where_nothing_else_is_said(monkeypatch):
    monkeypatch.delenv("MIEN_CACHE")
    assert cache_folder() == Path.home() / ".cache" / "mien" / "columns"


def test_a_table_knows_where_each_row_comes_from(store):
    prepare(store, NUMBERS)
    source = source_of(store, "a", NUMBERS)
    mapped(store, NUMBERS)
    table, loaded = MappedTable(source.path, NUMBERS), store.load("a", NUMBERS)
    rows = sorted(zip(*(table.column(name) for name in ("clip_id", "content", "start_s", "end_s"))))
    assert rows == list(zip(loaded.clip_ids, loaded.content, loaded.start_s, loaded.end_s))
    assert rows[1][2:] == (0.5, None)
