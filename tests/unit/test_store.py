"""The store: round trips, what is refused, and that other readers can use it."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from collections.abc import Collection, Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from conftest import ROOT
from factories import rewrite
from mien import __version__
from mien.corpora import clip as records
from mien.corpora.clip import Clip, Label, Medium, Rating, Reject, clips_to_table
from mien.errors import StoreError
from mien.features.spec import FeatureSpec, Frames
from mien.features.store import FeatureStore, Row
from mien.features.store.manifest import MANIFEST
from mien.features.store.rows import encoded, from_table, to_table
from mien.folder import to_parquet

SPEC = FeatureSpec(
    name="tiny",
    version=3,
    modality="audio",
    shape=(5,),
    hop_s=0.1,
    columns=tuple("abcde"),
    settings={"window_s": 1.0},
)
PICTURES = FeatureSpec(name="faces", version=1, modality="video", shape=(11, 13, 3), codec="jpeg", hop_s=0.1)


def clip(number: int, **changes: object) -> Clip:
    fields = {
        "id": f"ravdess/{number:03}",
        "corpus": "ravdess",
        "subject": f"ravdess/{number % 3:02}",
        "media": {"audio": Medium(path=f"{number}.wav", start_s=0.5, end_s=2.0, offset_s=0.25, track=1)},
        "labels": (
            Label(source="intended", own="angry", emotion="anger", votes={"anger": 1.0}),
            Label(source="annotated", ratings={"valence": Rating(value=2.0, low=1.0, high=9.0, n_raters=3)}),
        ),
        "groups": {"meeting": f"ravdess/{number % 2}"},
        "attributes": {"channel": "speech"},
        "synthetic": True,
    }
    return Clip(**(fields | changes))  # type: ignore[arg-type]


def row(number: int, n_frames: int | None = None) -> Row:
    rng = np.random.default_rng(number)
    n_frames = n_frames or 1 + number % 7
    values = rng.normal(size=(n_frames, SPEC.dim)).astype(np.float32)
    end_s = None if number % 2 else number + 2.5
    return Row(f"ravdess/{number:03}", f"{number:064x}", float(number), end_s, values, rng.random(n_frames) < 0.7)


def pictures(number: int) -> Frames:
    """Smooth ones, which JPEG keeps: 3 to 6 frames, of which the second shows nothing."""
    rng = np.random.default_rng(number)
    n_frames = 3 + number % 4
    ramp = np.linspace(0, 1, 13)[None, None, :, None] * rng.uniform(50, 200, (n_frames, 1, 1, 3)) + np.zeros(
        (1, 11, 1, 1)
    )
    valid = np.arange(n_frames) != 1
    return Frames(np.where(valid[:, None, None, None], ramp, 0).astype(np.uint8), valid)


def picture_row(number: int) -> Row:
    frames = pictures(number)
    return Row(f"ravdess/{number:03}", f"{number:064x}", 0.0, None, encoded(frames, PICTURES), frames.valid)


def reject(number: int, reason: str = "empty") -> Reject:
    return Reject(id=f"ravdess/{number:03}", path=f"{number}.wav", stage="extract", reason=reason, detail="cut")


def store_of(
    folder: Path, n_clips: int, batches: Sequence[list[int]] = (), rejected: Collection[int] = ()
) -> FeatureStore:
    """A store with a clip table, and with the parts of these batches of clip numbers."""
    store = FeatureStore(folder)
    store.write_clips("ravdess", [clip(number) for number in range(n_clips)], [])
    for batch in batches:
        store.feature_folder("ravdess", SPEC).write(
            [row(number).clip_id for number in batch],
            [row(number) for number in batch if number not in rejected],
            [reject(number) for number in batch if number in rejected],
        )
    return store


def finish(store: FeatureStore) -> dict:
    return store.feature_folder("ravdess", SPEC).finish({clip.id for clip in store.clips("ravdess")})


def assert_holds(store: FeatureStore, numbers: list[int]) -> None:
    """The store has these rows, in the order of their ids, bit by bit."""
    table = store.load("ravdess", SPEC)
    assert table.clip_ids == [f"ravdess/{number:03}" for number in sorted(numbers)]
    assert table.content == [f"{number:064x}" for number in sorted(numbers)]
    for index, number in enumerate(sorted(numbers)):
        assert (table.start_s[index], table.end_s[index]) == row(number)[2:4]
        np.testing.assert_array_equal(table.frames(index).values, row(number).values)
        np.testing.assert_array_equal(table.frames(index).valid, row(number).valid)
    rows = list(store.iterate("ravdess", SPEC))
    assert sorted(one.clip_id for one in rows) == table.clip_ids
    for one in rows:
        index = table.clip_ids.index(one.clip_id)
        assert one[:4] == (table.clip_ids[index], table.content[index], table.start_s[index], table.end_s[index])
        np.testing.assert_array_equal(one.values, table.frames(index).values)
        np.testing.assert_array_equal(one.valid, table.frames(index).valid)


# ---------------------------------------------------------------------- clips


def test_clips_and_rejects_come_back(tmp_path):
    clips = [clip(1), clip(2, labels=(), media={}, groups={}, synthetic=False)]
    rejects = [Reject(id="x.wav", path="x.wav", stage="import", reason="bad-name", detail="2 fields, expected 7")]
    store = FeatureStore(tmp_path)
    store.write_clips("ravdess", clips, rejects)
    assert store.corpora() == ["ravdess"]
    assert store.clips("ravdess") == clips
    assert store.import_rejects("ravdess") == rejects
    manifest = json.loads((tmp_path / "ravdess" / MANIFEST).read_text())
    assert (manifest["n_clips"], manifest["n_subjects"], manifest["n_rejects"]) == (2, 2, 1)
    assert manifest["synthetic"] is True


def test_an_equal_clip_table_is_not_written_again(tmp_path):
    store = store_of(tmp_path, 3)
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "ravdess").iterdir()}
    store_of(tmp_path, 3)
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "ravdess").iterdir()} == before
    store.write_clips("ravdess", [clip(0)], [])
    assert len(store.clips("ravdess")) == 1


@pytest.mark.parametrize(
    "change",
    [
        {"labels": (Label(source="intended", own="angry", emotion="fear"),)},
        {"groups": {"meeting": "ravdess/9"}},
        {"media": {"audio": Medium(path="1.wav", start_s=0.5, end_s=1.75)}},
        {"media": {"audio": Medium(path="moved/1.wav", start_s=0.5, end_s=2.0)}},
        {"attributes": {"channel": "song"}},
        {"subject": "ravdess/44"},
    ],
    ids=["labels", "groups", "stretch", "path", "attributes", "subject"],
)
def test_a_clip_table_with_the_same_ids_is_written_again_when_anything_else_changed(tmp_path, change):
    store = store_of(tmp_path, 3)
    clips = [clip(0), clip(1, **change), clip(2)]
    store.write_clips("ravdess", clips, [])
    assert FeatureStore(tmp_path).clips("ravdess") == clips


def test_a_clip_table_is_written_again_when_only_the_rejects_changed(tmp_path):
    store = store_of(tmp_path, 3)
    rejects = [Reject(id="x.wav", path="x.wav", stage="import", reason="bad-name", detail="2 fields, expected 7")]
    store.write_clips("ravdess", [clip(number) for number in range(3)], rejects)
    assert store.import_rejects("ravdess") == rejects


def test_an_id_that_comes_twice_is_refused_before_anything_is_written(tmp_path):
    with pytest.raises(StoreError, match="2 clips have the id ravdess/001; ids must be unique"):
        FeatureStore(tmp_path).write_clips("ravdess", [clip(1), clip(1)], [])
    assert not list(tmp_path.iterdir())


def test_a_clip_table_that_is_not_what_was_written_is_refused(tmp_path):
    store = store_of(tmp_path, 3)
    other = store_of(tmp_path / "other", 4)
    (tmp_path / "ravdess" / "clips.parquet").write_bytes(other.folder.read_bytes("ravdess/clips.parquet"))
    with pytest.raises(StoreError, match=r"clips\.parquet is missing or damaged: prepare again, which writes it anew"):
        store.clips("ravdess")


def test_a_missing_corpus_is_named_with_what_there_is(tmp_path):
    store = store_of(tmp_path, 1)
    with pytest.raises(
        StoreError, match="has no corpus 'cremad', it has ravdess: choose from ravdess, or prepare cremad"
    ):
        store.clips("cremad")
    with pytest.raises(
        StoreError, match="has no corpus 'ravdes', it has ravdess: the nearest is ravdess, or prepare ravdes"
    ):
        store.clips("ravdes")
    with pytest.raises(StoreError, match="has no corpus 'ravdess', it has no corpus: prepare ravdess into it"):
        FeatureStore(tmp_path / "nothing").clips("ravdess")


# ---------------------------------------------------------------------- features


@pytest.mark.slow
@settings(max_examples=12, deadline=None)
@given(
    st.permutations(range(11)),
    st.sets(st.integers(1, 10), max_size=4),
    st.sets(st.integers(0, 10), max_size=5),
)
def test_any_cut_into_parts_gives_the_same_table(tmp_path_factory, order, cuts, rejected):
    edges = [0, *sorted(cuts), 11]
    batches = [list(order[start:end]) for start, end in pairwise(edges)]
    store = store_of(tmp_path_factory.mktemp("store"), 11, batches, rejected)
    manifest = finish(store)
    assert (manifest["n_rows"], manifest["n_rejects"]) == (11 - len(rejected), len(rejected))
    assert_holds(store, [number for number in range(11) if number not in rejected])
    assert {r.id for r in store.rejects("ravdess", SPEC)} == {reject(number).id for number in rejected}
    assert store.verify("ravdess") == []
    whole = store_of(tmp_path_factory.mktemp("whole"), 11, [list(range(11))], rejected)
    assert manifest["fingerprint"] == finish(whole)["fingerprint"] == store.fingerprint("ravdess", SPEC)


def test_values_are_read_only_and_frames_are_views(tmp_path):
    store = store_of(tmp_path, 3, [[0, 1, 2]])
    finish(store)
    table = store.load("ravdess", SPEC)
    assert np.shares_memory(table.frames(1).values, table.values)
    assert (table.values.dtype, table.offsets.dtype, len(table)) == (np.float32, np.int64, 3)
    with pytest.raises(ValueError, match="read-only"):
        table.frames(1).values[:] = 0


@pytest.mark.parametrize(
    "change",
    [
        lambda rows: (SPEC, [rows[0]._replace(content="f" * 64), rows[1]]),
        lambda rows: (SPEC, [rows[0]._replace(start_s=0.125), rows[1]]),
        lambda rows: (SPEC, [rows[0], rows[1]._replace(end_s=7.0)]),
        lambda rows: (SPEC, [row(0, n_frames=9), rows[1]]),
        lambda rows: (SPEC, rows[:1]),
        lambda rows: (replace(SPEC, settings={"window_s": 2.0}), rows),
    ],
    ids=["content", "start", "end", "frames", "fewer rows", "settings"],
)
def test_the_fingerprint_follows_every_part_of_a_features_identity(tmp_path, change):
    def fingerprint(folder: Path, spec: FeatureSpec, rows: list[Row]) -> str:
        parts = FeatureStore(folder).feature_folder("ravdess", spec)
        parts.write([row.clip_id for row in rows], rows, [])
        return parts.finish({row.clip_id for row in rows})["fingerprint"]

    rows = [row(0), row(1)]
    assert fingerprint(tmp_path / "a", SPEC, rows) != fingerprint(tmp_path / "b", *change(rows))
    assert fingerprint(tmp_path / "c", SPEC, rows) == fingerprint(tmp_path / "d", SPEC, rows[::-1])


def test_what_is_not_finished_is_never_read(tmp_path):
    store = store_of(tmp_path, 3, [[0, 1, 2]])
    assert store.specs("ravdess") == []
    with pytest.raises(StoreError, match="has no finished 'tiny', it has no feature: prepare tiny into it"):
        store.spec("ravdess", "tiny")
    for read in (store.load, store.fingerprint, store.recipe, lambda *feature: next(store.iterate(*feature))):
        with pytest.raises(StoreError, match="is not finished: prepare it again, only what is missing is extracted"):
            read("ravdess", SPEC)
    finish(store)
    assert store.spec("ravdess", "tiny") == store.spec("ravdess", SPEC.folder) == SPEC
    with pytest.raises(StoreError, match="no finished 'tini', it has tiny-v3-.*: the nearest is tiny, or prepare tini"):
        store.spec("ravdess", "tini")
    store.feature_folder("ravdess", SPEC).reopen()
    with pytest.raises(StoreError, match="is not finished"):
        store.fingerprint("ravdess", SPEC)


def test_one_name_with_two_settings_must_be_said_in_full(tmp_path):
    store = store_of(tmp_path, 1, [[0]])
    finish(store)
    other = replace(SPEC, settings={"window_s": 2.0})
    store.feature_folder("ravdess", other).write(["ravdess/000"], [row(0)], [])
    store.feature_folder("ravdess", other).finish({"ravdess/000"})
    with pytest.raises(StoreError, match=f"several settings: say which of .*{other.folder}"):
        store.spec("ravdess", "tiny")
    assert store.spec("ravdess", other.folder) == other


def test_a_clip_with_neither_row_nor_reject_is_named(tmp_path):
    store = store_of(tmp_path, 4, [[0, 2]], rejected={2})
    with pytest.raises(StoreError, match="2 clips have neither row nor reject, such as ravdess/001"):
        finish(store)
    assert not store.is_finished("ravdess", SPEC)


def test_clips_that_come_and_go(tmp_path):
    store = store_of(tmp_path, 3, [[0, 1, 2]])
    finish(store)
    store.write_clips("ravdess", [clip(1), clip(2), clip(3)], [])
    with pytest.raises(StoreError, match="clips came or went since it was finished: prepare it again"):
        store.load("ravdess", SPEC)
    parts = store.feature_folder("ravdess", SPEC)
    assert parts.reopen() == {"ravdess/000", "ravdess/001", "ravdess/002"}
    parts.write(["ravdess/003"], [row(3)], [])
    assert finish(store)["n_rows"] == 3
    assert_holds(store, [1, 2, 3])
    assert store.verify("ravdess") == []
    store_of(tmp_path, 3)
    finish(store)
    assert_holds(store, [0, 1, 2])


def test_a_batch_that_is_done_twice_overwrites_itself(tmp_path):
    store = store_of(tmp_path, 3, [[0, 1, 2], [2, 1, 0]], rejected={1})
    assert len(list((tmp_path / "ravdess" / SPEC.folder).glob("part-*.parquet"))) == 1
    assert finish(store)["n_rows"] == 2


def test_rows_of_a_process_that_outlived_its_job_are_kept_once(tmp_path):
    store = store_of(tmp_path, 5, [[0, 1, 2], [1, 2, 3], [4, 3], [2, 1]])
    assert finish(store)["n_rows"] == 5
    assert_holds(store, [0, 1, 2, 3, 4])
    assert store.verify("ravdess") == []
    # And one that comes after the end is seen, but not read.
    store_of(tmp_path, 5, [[0, 4]])
    assert_holds(store, [0, 1, 2, 3, 4])
    (finding,) = store.verify("ravdess")
    assert (finding.severity, finding.what) == ("warning", "unexpected")


def test_a_row_beats_a_reject_of_an_earlier_attempt(tmp_path):
    store = store_of(tmp_path, 2, [[0, 1]], rejected={0, 1})
    store_of(tmp_path, 2, [[1]])
    manifest = finish(store)
    assert (manifest["n_rows"], manifest["n_rejects"], manifest["reasons"]) == (1, 1, {"empty": 1})
    assert [r.id for r in store.rejects("ravdess", SPEC)] == ["ravdess/000"]


def test_reopening_says_what_is_done(tmp_path):
    store = store_of(tmp_path, 5, [[0, 1], [2, 3]], rejected={1})
    parts = store.feature_folder("ravdess", SPEC)
    assert parts.reopen() == {f"ravdess/{number:03}" for number in range(4)}
    assert parts.reopen(retry_rejects=True) == {f"ravdess/{number:03}" for number in (0, 2, 3)}
    assert parts.reopen() == {f"ravdess/{number:03}" for number in (0, 2, 3)}
    assert parts.reopen(fresh=True) == set()
    assert not (tmp_path / "ravdess" / SPEC.folder).exists()


def test_a_torn_part_is_not_done(tmp_path):
    store = store_of(tmp_path, 4, [[0, 1], [2, 3]])
    torn = max((tmp_path / "ravdess" / SPEC.folder).glob("part-*.parquet"))
    torn.write_bytes(torn.read_bytes()[:-100])
    assert len(store.feature_folder("ravdess", SPEC).reopen()) == 2
    assert not torn.exists()


def test_rejects_survive_the_merge_being_interrupted(tmp_path):
    store = store_of(tmp_path, 2, [[0, 1]], rejected={1})
    finish(store)
    store_of(tmp_path, 2, [[0, 1]], rejected={1})  # as if the small file had not been removed yet
    assert finish(store)["n_rejects"] == 1


# ---------------------------------------------------------------------- damage


def damaged_store(tmp_path: Path) -> tuple[FeatureStore, Path]:
    store = store_of(tmp_path, 6, [[0, 1, 2], [3, 4, 5]], rejected={5})
    finish(store)
    return store, max((tmp_path / "ravdess" / SPEC.folder).glob("part-*.parquet"))


def test_verify_finds_a_changed_byte(tmp_path):
    store, part = damaged_store(tmp_path)
    data = bytearray(part.read_bytes())
    data[len(data) // 2] ^= 1
    part.write_bytes(data)
    found = store.verify("ravdess")
    assert found[0].what == "damaged" and found[0].path == str(part)
    assert {finding.what for finding in found[1:]} == {"row or reject"}


def test_a_missing_part_is_found_and_not_loaded(tmp_path):
    store, part = damaged_store(tmp_path)
    part.unlink()
    with pytest.raises(StoreError, match=f"{part.name} is missing or damaged: `mien store verify STORE --mend`"):
        store.load("ravdess", SPEC)
    with pytest.raises(StoreError, match=f"{part.name} is missing or damaged"):
        list(store.iterate("ravdess", SPEC))
    assert store.verify("ravdess")[0].what == "missing"
    (part.parent / MANIFEST).unlink()
    assert [finding.what for finding in store.verify("ravdess")] == ["not finished"]


def test_a_truncated_part_is_not_loaded(tmp_path):
    store, part = damaged_store(tmp_path)
    part.write_bytes(part.read_bytes()[:200])
    with pytest.raises(StoreError, match="is missing or damaged"):
        store.load("ravdess", SPEC)


def test_parts_that_lost_rows_are_not_loaded(tmp_path):
    store, part = damaged_store(tmp_path)
    manifest = json.loads((part.parent / MANIFEST).read_text())
    manifest["parts"] = [entry for entry in manifest["parts"] if entry["name"] != part.name]
    rewrite(part.parent / MANIFEST, parts=manifest["parts"])
    for read in (store.load, lambda *feature: list(store.iterate(*feature))):
        with pytest.raises(StoreError, match="has [23] rows of .* frames, 5 of .* were written: `mien store verify"):
            read("ravdess", SPEC)


def test_a_changed_value_is_not_read(tmp_path):
    """Parquet would give it back without complaint."""
    store, part = damaged_store(tmp_path)
    table = pq.read_table(part)
    first, *others = from_table(table, SPEC)
    rows = [first._replace(values=first.values + np.float32(1e-3)), *others]
    part.write_bytes(to_parquet(to_table(rows, SPEC)))
    assert pq.read_table(part, columns=["clip_id", "n_frames"]).equals(table.select(["clip_id", "n_frames"]))
    for read in (store.load, lambda *feature: list(store.iterate(*feature))):
        with pytest.raises(StoreError, match=f"{part.name} is missing or damaged"):
            read("ravdess", SPEC)


@pytest.mark.parametrize("folder", ["ravdess", f"ravdess/{SPEC.folder}"])
def test_a_store_of_another_format_is_refused_with_the_remedy(tmp_path, folder):
    store, _ = damaged_store(tmp_path)
    rewrite(tmp_path / folder / MANIFEST, format=99, mien="7.0")
    with pytest.raises(StoreError) as error:
        store.load("ravdess", SPEC)
    assert str(error.value) == (
        f"{tmp_path / folder} is in format 99 of the store, written by mien 7.0; this mien {__version__} reads format 2: "
        "prepare into a new store"
    )


def test_the_clip_table_of_another_format_is_not_overwritten(tmp_path):
    store = store_of(tmp_path, 1)
    rewrite(tmp_path / "ravdess" / MANIFEST, format=99)
    with pytest.raises(StoreError, match="in format 99"):
        store.write_clips("ravdess", [clip(0), clip(1)], [])


def test_a_store_that_cannot_be_written_says_so_in_one_line(tmp_path):
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(StoreError) as error:
        store_of(tmp_path / "file", 1)
    assert str(error.value).startswith(f"cannot write to {tmp_path / 'file' / 'ravdess'}: Not a directory. Make room")
    assert "\n" not in str(error.value)


# ---------------------------------------------------------------------- other readers

READER = """
import sys
sys.modules["ray"] = None  # importing it would fail
import glob, json
import numpy, pandas, pyarrow.parquet
folder = sys.argv[1]
frame = pandas.concat(pandas.read_parquet(path) for path in sorted(glob.glob(folder + "/part-*.parquet")))
frame = frame.set_index("clip_id").sort_index()
assert list(frame.columns) == ["content", "start_s", "end_s", "n_frames", "values", "valid"], frame.columns
values = numpy.stack(frame.loc["ravdess/004", "values"])
schema = pyarrow.parquet.read_schema(sorted(glob.glob(folder + "/part-*.parquet"))[0])
spec = json.loads(schema.metadata[b"mien.feature_spec"])
clips = pandas.read_parquet(folder + "/../clips.parquet")
rejects = pandas.read_parquet(folder + "/rejects.parquet")
print(json.dumps([values.tolist(), frame.loc["ravdess/004", "valid"].tolist(), spec["columns"], str(schema.field("values").type),
                  frame["n_frames"].tolist(), clips["id"].tolist(), rejects["reason"].tolist()]))
assert not any(name.startswith(("mien", "ray")) for name, module in sys.modules.items() if module), "needs ours"
"""


@pytest.mark.slow
def test_pandas_reads_it_without_ray_and_without_mien(tmp_path):
    damaged_store(tmp_path)
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        [sys.executable, "-c", READER, str(tmp_path / "ravdess" / SPEC.folder)],
        capture_output=True,
        text=True,
        env=environment,
        cwd=ROOT.parent,
    )
    assert done.returncode == 0, done.stderr
    values, valid, columns, kind, n_frames, clip_ids, reasons = json.loads(done.stdout)
    np.testing.assert_array_equal(np.array(values, np.float32), row(4).values)
    assert valid == row(4).valid.tolist()
    assert columns == list("abcde")
    assert kind == "list<element: fixed_size_list<element: float>[5]>"
    assert n_frames == [len(row(number).valid) for number in range(5)]
    assert clip_ids == [clip(number).id for number in range(6)]
    assert reasons == ["empty"]


def test_clips_written_in_pieces_are_the_clips(tmp_path, monkeypatch):
    clips = [clip(number, media={} if number == 4 else {"audio": Medium(path="a")}) for number in range(7)]
    whole = clips_to_table(clips)
    monkeypatch.setattr(records, "_ROWS_AT_A_TIME", 3)
    table = clips_to_table(iter(clips))
    assert table["id"].num_chunks == 3 and table.equals(whole)
    FeatureStore(tmp_path).write_clips("ravdess", table, [])
    assert FeatureStore(tmp_path).clips("ravdess") == clips
    assert not len(clips_to_table([])) and clips_to_table([]).schema == whole.schema


# ---------------------------------------------------------------------- pictures


def store_of_pictures(tmp_path: Path, n_clips: int) -> FeatureStore:
    store = FeatureStore(tmp_path)
    store.write_clips("ravdess", [clip(number) for number in range(n_clips)], [])
    folder = store.feature_folder("ravdess", PICTURES)
    for batch in (range(0, n_clips, 2), range(1, n_clips, 2)):
        folder.write([f"ravdess/{number:03}" for number in batch], [picture_row(number) for number in batch], [])
    folder.finish({f"ravdess/{number:03}" for number in range(n_clips)})
    return store


def test_pictures_come_back_as_jpeg_keeps_them(tmp_path):
    store = store_of_pictures(tmp_path, 5)
    table = store.load("ravdess", PICTURES)
    for number in range(5):
        frames = table.frames(number)
        expected = pictures(number)
        assert (frames.values.dtype, frames.values.shape) == (np.uint8, expected.values.shape)
        np.testing.assert_array_equal(frames.valid, expected.valid)
        assert not frames.values[1].any()
        # Quality 92 of a smooth ramp: a grey level or two off, and no colour bleeds into its neighbours.
        np.testing.assert_allclose(frames.values.astype(int), expected.values.astype(int), atol=6)
    rows = list(store.iterate("ravdess", PICTURES))
    assert {one.clip_id: one.values for one in rows} == {f"ravdess/{n:03}": picture_row(n).values for n in range(5)}


@pytest.mark.parametrize("settings", [{}, {"quality": 60, "subsampling": "4:2:0"}])
def test_pictures_are_encoded_as_their_settings_say_and_always_alike(settings):
    from PIL import JpegImagePlugin

    spec = replace(PICTURES, settings=settings)
    rng = np.random.default_rng(0)
    noise = Frames(rng.integers(0, 256, (2, *spec.shape), dtype=np.uint8), np.ones(2, bool))
    files = encoded(noise, spec)
    assert files == encoded(noise, spec)
    for file, picture in zip(files, noise.values):
        expected = io.BytesIO()
        Image.fromarray(picture).save(
            expected, "JPEG", quality=settings.get("quality", 92), subsampling=settings.get("subsampling", "4:4:4")
        )
        opened = Image.open(io.BytesIO(file))
        np.testing.assert_array_equal(np.asarray(opened), np.asarray(Image.open(expected)))
        assert JpegImagePlugin.get_sampling(opened) == (2 if settings else 0)


def test_a_row_group_of_pictures_holds_at_most_eight_clips(tmp_path):
    store = store_of_pictures(tmp_path, 37)
    parts = (tmp_path / "ravdess" / PICTURES.folder).glob("part-*")
    (file, _) = sorted(map(pq.ParquetFile, parts), key=lambda part: -part.metadata.num_rows)
    assert [file.metadata.row_group(i).num_rows for i in range(file.num_row_groups)] == [8, 8, 3]
    assert str(file.schema_arrow.field("values").type) == "list<element: binary>"
    assert len(store.load("ravdess", PICTURES)) == 37
    for picture in file.read()["values"][0].as_py():  # any reader can, those without a face too
        assert np.asarray(Image.open(io.BytesIO(picture))).shape == PICTURES.shape


# ---------------------------------------------------------------------- recipe


def test_a_recipe_is_kept_as_it_was_asked(tmp_path):
    store = store_of(tmp_path, 2, [[0, 1]])
    recipe = {"name": "tiny", "settings": {"window_s": 1.0, "weights": None}, "medium": "audio"}
    store.feature_folder("ravdess", SPEC).finish({"ravdess/000", "ravdess/001"}, recipe)
    assert FeatureStore(tmp_path).recipe("ravdess", SPEC) == recipe
    finish(store)
    assert store.recipe("ravdess", SPEC) is None
