"""The store: round trips, what is refused, and that other readers can use it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Collection, Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from conftest import ROOT
from mien.corpora import clip as records
from mien.corpora.clip import Clip, Label, Reject, Span, clips_to_table
from mien.errors import StoreError
from mien.features.parts import MANIFEST, Row
from mien.features.prepare import tasks_left
from mien.features.spec import FeatureSpec, Frames
from mien.features.store import FeatureStore
from mien.features.worker import Task, tasks_from_table, tasks_to_table

SPEC = FeatureSpec(name="tiny", version=3, dim=5, hop_s=0.1, columns=tuple("abcde"), settings={"window_s": 1.0})


def clip(number: int, **changes: object) -> Clip:
    fields = {
        "id": f"ravdess/{number:03}",
        "corpus": "ravdess",
        "subject": f"ravdess/{number % 3:02}",
        "media": {"audio": f"{number}.wav"},
        "labels": (Label(source="intended", own="angry", emotion="anger", votes={"anger": 1.0}),),
        "span": Span(start_s=0.5, end_s=2.0),
        "attributes": {"channel": "speech"},
        "synthetic": True,
    }
    return Clip(**(fields | changes))  # type: ignore[arg-type]


def row(number: int, n_frames: int | None = None) -> Row:
    rng = np.random.default_rng(number)
    n_frames = n_frames or 1 + number % 7
    frames = Frames(rng.normal(size=(n_frames, SPEC.dim)).astype(np.float32), rng.random(n_frames) < 0.7)
    return Row(f"ravdess/{number:03}", f"{number:064x}", frames)


def reject(number: int, reason: str = "empty") -> Reject:
    return Reject(id=f"ravdess/{number:03}", path=f"{number}.wav", stage="extract", reason=reason, detail="cut")


def store_of(
    folder: Path, n_clips: int, batches: Sequence[list[int]] = (), rejected: Collection[int] = ()
) -> FeatureStore:
    """A store with a clip table, and with the parts of these batches of clip numbers."""
    store = FeatureStore(folder)
    store.write_clips("ravdess", [clip(number) for number in range(n_clips)], [])
    for batch in batches:
        store.parts("ravdess", SPEC).write(
            [row(number).clip_id for number in batch],
            [row(number) for number in batch if number not in rejected],
            [reject(number) for number in batch if number in rejected],
        )
    return store


def finish(store: FeatureStore) -> dict:
    return store.parts("ravdess", SPEC).finish({clip.id for clip in store.clips("ravdess")})


def assert_holds(store: FeatureStore, numbers: list[int]) -> None:
    """The store has these rows, in the order of their ids, bit by bit."""
    table = store.load("ravdess", SPEC)
    assert table.clip_ids == [f"ravdess/{number:03}" for number in sorted(numbers)]
    assert table.content == [f"{number:064x}" for number in sorted(numbers)]
    for index, number in enumerate(sorted(numbers)):
        np.testing.assert_array_equal(table.frames(index).values, row(number).frames.values)
        np.testing.assert_array_equal(table.frames(index).valid, row(number).frames.valid)


# ---------------------------------------------------------------------- clips


def test_clips_and_rejects_come_back(tmp_path):
    clips = [clip(1), clip(2, labels=(), media={}, span=Span(), synthetic=False)]
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


def test_an_id_that_comes_twice_is_refused_before_anything_is_written(tmp_path):
    with pytest.raises(StoreError, match="2 clips have the id ravdess/001; ids must be unique"):
        FeatureStore(tmp_path).write_clips("ravdess", [clip(1), clip(1)], [])
    assert not list(tmp_path.iterdir())


def test_a_clip_table_that_is_not_what_was_written_is_refused(tmp_path):
    store = store_of(tmp_path, 3)
    other = store_of(tmp_path / "other", 4)
    (tmp_path / "ravdess" / "clips.parquet").write_bytes(other.folder.read_bytes("ravdess/clips.parquet"))
    with pytest.raises(
        StoreError, match=r"clips\.parquet is not what its MANIFEST\.json says: run mien prepare ravdess"
    ):
        store.clips("ravdess")


def test_a_missing_corpus_is_named_with_what_there_is(tmp_path):
    store = store_of(tmp_path, 1)
    with pytest.raises(StoreError, match="has no corpus 'cremad', it has ravdess: run mien prepare cremad ROOT"):
        store.clips("cremad")
    with pytest.raises(StoreError, match="has no corpus 'ravdes', it has ravdess: the nearest is ravdess"):
        store.clips("ravdes")
    with pytest.raises(StoreError, match="has no corpus 'atlantis', it has ravdess: choose from ravdess, cremad"):
        store.clips("atlantis")
    with pytest.raises(StoreError, match="has no corpus 'ravdess', it has no corpus"):
        FeatureStore(tmp_path / "nothing").clips("ravdess")


# ---------------------------------------------------------------------- features


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
        lambda rows: (SPEC, [row(0, n_frames=9), rows[1]]),
        lambda rows: (SPEC, rows[:1]),
        lambda rows: (replace(SPEC, settings={"window_s": 2.0}), rows),
    ],
    ids=["content", "frames", "fewer rows", "settings"],
)
def test_the_fingerprint_follows_every_part_of_a_features_identity(tmp_path, change):
    def fingerprint(folder: Path, spec: FeatureSpec, rows: list[Row]) -> str:
        parts = FeatureStore(folder).parts("ravdess", spec)
        parts.write([row.clip_id for row in rows], rows, [])
        return parts.finish({row.clip_id for row in rows})["fingerprint"]

    rows = [row(0), row(1)]
    assert fingerprint(tmp_path / "a", SPEC, rows) != fingerprint(tmp_path / "b", *change(rows))
    assert fingerprint(tmp_path / "c", SPEC, rows) == fingerprint(tmp_path / "d", SPEC, rows[::-1])


def test_what_is_not_finished_is_never_read(tmp_path):
    store = store_of(tmp_path, 3, [[0, 1, 2]])
    assert store.specs("ravdess") == []
    own = (
        "choose from egemaps, .*; if it is one of your own, run mien prepare ravdess ROOT .* --features MODULE:FACTORY"
    )
    with pytest.raises(StoreError, match=f"has no finished 'tiny', it has no feature: {own}"):
        store.spec("ravdess", "tiny")
    with pytest.raises(StoreError, match="has no finished 'egemaps', .*: run mien prepare .* --features egemaps"):
        store.spec("ravdess", "egemaps")
    with pytest.raises(StoreError, match="has no finished 'facnet', it has no feature: the nearest is facenet"):
        store.spec("ravdess", "facnet")
    with pytest.raises(StoreError, match="is not finished: run mien prepare ravdess ROOT --store .* --features tiny"):
        store.load("ravdess", SPEC)
    finish(store)
    assert store.spec("ravdess", "tiny") == store.spec("ravdess", SPEC.folder) == SPEC
    store.parts("ravdess", SPEC).reopen()
    with pytest.raises(StoreError, match="is not finished"):
        store.fingerprint("ravdess", SPEC)


def test_one_name_with_two_settings_must_be_said_in_full(tmp_path):
    store = store_of(tmp_path, 1, [[0]])
    finish(store)
    other = replace(SPEC, settings={"window_s": 2.0})
    store.parts("ravdess", other).write(["ravdess/000"], [row(0)], [])
    store.parts("ravdess", other).finish({"ravdess/000"})
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
    with pytest.raises(StoreError, match="clips came or went since it was finished: run mien prepare"):
        store.load("ravdess", SPEC)
    parts = store.parts("ravdess", SPEC)
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
    parts = store.parts("ravdess", SPEC)
    assert parts.reopen() == {f"ravdess/{number:03}" for number in range(4)}
    assert parts.reopen(retry_rejects=True) == {f"ravdess/{number:03}" for number in (0, 2, 3)}
    assert parts.reopen() == {f"ravdess/{number:03}" for number in (0, 2, 3)}
    assert parts.reopen(fresh=True) == set()
    assert not (tmp_path / "ravdess" / SPEC.folder).exists()


def test_a_torn_part_is_not_done(tmp_path):
    store = store_of(tmp_path, 4, [[0, 1], [2, 3]])
    torn = max((tmp_path / "ravdess" / SPEC.folder).glob("part-*.parquet"))
    torn.write_bytes(torn.read_bytes()[:-100])
    assert len(store.parts("ravdess", SPEC).reopen()) == 2
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
    with pytest.raises(
        StoreError, match=f"{part.name} is missing or damaged: delete .*{MANIFEST} and run mien prepare"
    ):
        store.load("ravdess", SPEC)
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
    (part.parent / MANIFEST).write_text(json.dumps(manifest))
    with pytest.raises(StoreError, match="rows, 5 were written"):
        store.load("ravdess", SPEC)


@pytest.mark.parametrize("folder", ["ravdess", f"ravdess/{SPEC.folder}"])
def test_a_store_of_another_format_is_refused_with_the_remedy(tmp_path, folder):
    store, _ = damaged_store(tmp_path)
    manifest = json.loads((tmp_path / folder / MANIFEST).read_text()) | {"format": 99, "mien": "7.0"}
    (tmp_path / folder / MANIFEST).write_text(json.dumps(manifest))
    with pytest.raises(StoreError) as error:
        store.load("ravdess", SPEC)
    assert str(error.value) == (
        f"{tmp_path / folder} was written by mien 7.0 in format 99 of the store, this mien 0.1.0 reads format 1: "
        "use that mien, or prepare into a new store"
    )


def test_the_clip_table_of_another_format_is_not_overwritten(tmp_path):
    store = store_of(tmp_path, 1)
    manifest = json.loads((tmp_path / "ravdess" / MANIFEST).read_text()) | {"format": 99}
    (tmp_path / "ravdess" / MANIFEST).write_text(json.dumps(manifest))
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
assert list(frame.columns) == ["content", "n_frames", "values", "valid"], frame.columns
values = numpy.stack(frame.loc["ravdess/004", "values"])
schema = pyarrow.parquet.read_schema(sorted(glob.glob(folder + "/part-*.parquet"))[0])
spec = json.loads(schema.metadata[b"mien.feature_spec"])
clips = pandas.read_parquet(folder + "/../clips.parquet")
rejects = pandas.read_parquet(folder + "/rejects.parquet")
print(json.dumps([values.tolist(), frame.loc["ravdess/004", "valid"].tolist(), spec["columns"], str(schema.field("values").type),
                  frame["n_frames"].tolist(), clips["id"].tolist(), rejects["reason"].tolist()]))
assert not any(name.startswith(("mien", "ray")) for name, module in sys.modules.items() if module), "needs ours"
"""


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
    np.testing.assert_array_equal(np.array(values, np.float32), row(4).frames.values)
    assert valid == row(4).frames.valid.tolist()
    assert columns == list("abcde")
    assert kind == "list<element: fixed_size_list<element: float>[5]>"
    assert n_frames == [len(row(number).frames.valid) for number in range(5)]
    assert clip_ids == [clip(number).id for number in range(6)]
    assert reasons == ["empty"]


def test_clips_written_in_pieces_are_the_clips(tmp_path, monkeypatch):
    clips = [clip(number, span=Span(), media={} if number == 4 else {"audio": "a"}) for number in range(7)]
    whole = clips_to_table(clips)
    monkeypatch.setattr(records, "_ROWS_AT_A_TIME", 3)
    table = clips_to_table(iter(clips))
    assert table["id"].num_chunks == 3 and table.equals(whole)
    FeatureStore(tmp_path).write_clips("ravdess", table, [])
    assert FeatureStore(tmp_path).clips("ravdess") == clips
    assert not len(clips_to_table([])) and clips_to_table([]).schema == whole.schema


def test_what_is_left_to_do_is_what_workers_must_know():
    clips = [clip(0), clip(1, media={"video": "1.mp4"}), clip(2), clip(3, span=Span())]
    left = tasks_left(clips_to_table(clips), "audio", {"ravdess/002", "gone/1"})
    tasks = [Task(one.id, one.media.get("audio"), one.span) for one in (clips[0], clips[1], clips[3])]
    assert tasks_from_table(left) == tasks
    assert left.schema == tasks_to_table(tasks).schema
    assert not len(tasks_left(clips_to_table([]), "audio", ()))
