"""The store, killed at its n-th write or remove, for each n: whole or unfinished, and whole when it is asked again."""

from __future__ import annotations

import os
import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mien.corpora.clip import Clip, Label, Medium, Reject
from mien.errors import StoreError
from mien.features.spec import FeatureSpec
from mien.features.store import FeatureFolder, FeatureStore, Row
from mien.folder import Folder, to_parquet

pytestmark = pytest.mark.fault

SPEC = FeatureSpec(name="tiny", version=1, modality="audio", shape=(3,), hop_s=0.1)
RECIPE = {"name": "tiny:Tiny", "settings": {}, "medium": "audio"}
N_CLIPS = 11
REJECTED = {2, 5, 7}


class Killed(BaseException):
    """No handler of errors stops it, as none stops a SIGKILL."""


@contextmanager
def killed_at(n: int | None) -> Iterator[list[str]]:
    """Ends what runs here at its n-th write or remove, counted from 0; yields what was done. None: never.

    The n-th has begun: a write leaves its temporary file, the removal of a folder has taken the first of its files.
    """
    done: list[str] = []
    write, remove = Folder.write_bytes, Folder.remove

    def count(what: str) -> bool:
        done.append(what)
        return len(done) - 1 == n

    def write_bytes(self: Folder, name: str, data: bytes) -> None:
        if count(f"write {name}"):
            target = Path(self.path(name))
            target.parent.mkdir(parents=True, exist_ok=True)
            target.with_name(f".{target.name}.killed").write_bytes(data[: len(data) // 2])
            raise Killed
        write(self, name, data)

    def remove_(self: Folder, name: str = "") -> None:
        if count(f"remove {name}"):
            target = Path(self.path(name))
            if target.is_dir():
                for file in sorted(target.iterdir())[:1]:
                    shutil.rmtree(file) if file.is_dir() else file.unlink()
            raise Killed
        remove(self, name)

    Folder.write_bytes, Folder.remove = write_bytes, remove_  # type: ignore[method-assign]
    try:
        yield done
    finally:
        Folder.write_bytes, Folder.remove = write, remove  # type: ignore[method-assign]


def clip_id(number: int) -> str:
    return f"many/{number:02}"


def clip(number: int, own: str = "calm") -> Clip:
    media = {"audio": Medium(path=f"{number}.wav")}
    labels = (Label(source="intended", own=own, emotion="neutral"),)
    return Clip(id=clip_id(number), corpus="many", subject=f"many/s{number % 3}", media=media, labels=labels)


def row(number: int) -> Row:
    values = np.random.default_rng(number).normal(size=(1 + number % 3, 3)).astype(np.float32)
    return Row(clip_id(number), f"{number:064x}", 0.5, None, values, np.ones(len(values), bool))


def reject(number: int) -> Reject:
    return Reject(id=clip_id(number), path=f"{number}.wav", stage="extract", reason="empty", detail="0 bytes")


def extract(folder: FeatureFolder, numbers: list[int]) -> None:
    """What a worker makes of a batch; each time the same."""
    rows = [row(number) for number in numbers if number not in REJECTED]
    folder.write([clip_id(n) for n in numbers], rows, [reject(n) for n in numbers if n in REJECTED])


def feature_of(place: Path) -> FeatureFolder:
    return FeatureStore(place).feature_folder("many", SPEC)


ALL = {clip_id(number) for number in range(N_CLIPS)}


def ask(place: Path, **options: object) -> list[int]:
    """What `prepare` does with one feature; returns the clips that had to be extracted."""
    store, folder = FeatureStore(place), feature_of(place)
    store.write_clips("many", [clip(number) for number in range(N_CLIPS)], [])
    if store.is_finished("many", SPEC) and not options:
        return []
    done = folder.reopen(**options)  # type: ignore[arg-type]
    left = [number for number in range(N_CLIPS) if clip_id(number) not in done]
    for start in range(0, len(left), 4):
        extract(folder, left[start : start + 4])
    folder.finish(ALL, RECIPE)
    return left


def contents(place: Path) -> tuple[dict[str, bytes], list[str], str]:
    """Rows, rejects and fingerprint of a finished feature, which verifies."""
    store = FeatureStore(place)
    assert [finding for finding in store.verify("many") if finding.severity == "error"] == []
    table = store.load("many", SPEC)
    rows = {one: table.frames(i).values.tobytes() for i, one in enumerate(table.clip_ids)}
    assert store.recipe("many", SPEC) == RECIPE
    return rows, sorted(one.id for one in store.rejects("many", SPEC)), store.fingerprint("many", SPEC)


def finished(place: Path) -> None:
    ask(place)


def half_done(place: Path) -> None:
    FeatureStore(place).write_clips("many", [clip(number) for number in range(N_CLIPS)], [])
    extract(feature_of(place), [0, 1, 2, 3])


def with_late_parts(place: Path) -> None:
    """All clips are done, some twice: by a process that outlived its job, and by one that cut the batches otherwise.
    Rejects of an earlier job are merged, those of a later one are not."""
    finished(place)
    folder = feature_of(place)
    folder.reopen(retry={clip_id(7)})
    for numbers in ([3, 4, 5, 6], [6, 7, 8], [0, 9], [1], [10, 0, 3]):
        extract(folder, numbers)


def with_chained_parts(place: Path) -> None:
    """Parts of which each repeats some clips of others, and alone has some."""
    FeatureStore(place).write_clips("many", [clip(number) for number in range(N_CLIPS)], [])
    for numbers in ([0, 1, 3], [3, 4, 5, 6], [6, 7, 8, 0], [0, 9, 8], [10, 9, 3, 2]):
        extract(feature_of(place), numbers)


SCENARIOS: dict[str, tuple[Callable[[Path], None], Callable[[Path], object], bool]] = {
    # what there was, what is done to it, and whether it may cost a clip that was done
    "a batch is written": (half_done, lambda place: extract(feature_of(place), [4, 5, 6, 7]), False),
    "from nothing": (lambda place: None, ask, False),
    "half of it": (half_done, ask, False),
    "reopened": (finished, lambda place: feature_of(place).reopen(), False),
    "rejects of some clips again": (finished, lambda place: ask(place, retry={clip_id(2), clip_id(5)}), True),
    "all rejects again": (finished, lambda place: ask(place, retry_rejects=True), True),
    "fresh": (finished, lambda place: ask(place, fresh=True), True),
    "chained parts are merged": (with_chained_parts, lambda place: feature_of(place).finish(ALL, RECIPE), False),
    "late parts are merged": (with_late_parts, lambda place: feature_of(place).finish(ALL, RECIPE), False),
}


@pytest.fixture(scope="module")
def never_killed(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, bytes], list[str], str]:
    place = tmp_path_factory.mktemp("whole")
    finished(place)
    found = contents(place)
    assert len(found[0]) == N_CLIPS - len(REJECTED) and found[1] == [clip_id(number) for number in sorted(REJECTED)]
    return found


def done_in(place: Path) -> set[str]:
    """Ids of the clips that have a row or a reject, by other means than those that are tested."""
    found: set[str] = set()
    for file in (place / "many" / SPEC.folder).glob("part-*.parquet"):
        found |= set(pq.read_table(file)["clip_id"].to_pylist())
    for file in (place / "many" / SPEC.folder).glob("rejects*.parquet"):
        found |= set(pq.read_table(file)["id"].to_pylist())
    return found


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_killed_at_each_write_and_remove_it_is_whole_or_unfinished(tmp_path, never_killed, scenario):
    before, work, may_cost = SCENARIOS[scenario]
    (tmp_path / "before").mkdir()
    before(tmp_path / "before")
    shutil.copytree(tmp_path / "before", tmp_path / "counted")
    with killed_at(None) as steps:
        work(tmp_path / "counted")
    assert steps
    for n, step in enumerate(steps):
        place = tmp_path / str(n)
        shutil.copytree(tmp_path / "before", place)
        with pytest.raises(Killed), killed_at(n):
            work(place)
        if not may_cost:
            assert done_in(place) >= done_in(tmp_path / "before"), step
        store = FeatureStore(place)
        if "many" in store.corpora() and store.is_finished("many", SPEC):
            assert contents(place) == never_killed, step
        elif "many" in store.corpora():
            with pytest.raises(StoreError, match="is not finished"):
                store.load("many", SPEC)
        kept = done_in(place) if (place / "many").exists() else set()
        asked = ask(place)
        assert {clip_id(number) for number in asked} == ALL - kept, step  # what is done is not done again
        assert contents(place) == never_killed, step
        assert ask(place) == [], step


@pytest.mark.parametrize("options", [{"fresh": True}, {"retry_rejects": True}], ids=str)
def test_the_same_command_with_its_flags_ends_whole_too(tmp_path, never_killed, options):
    finished(tmp_path / "before")
    shutil.copytree(tmp_path / "before", tmp_path / "counted")
    with killed_at(None) as steps:
        ask(tmp_path / "counted", **options)
    for n, step in enumerate(steps):
        place = tmp_path / str(n)
        shutil.copytree(tmp_path / "before", place)
        with pytest.raises(Killed), killed_at(n):
            ask(place, **options)
        ask(place, **options)
        assert contents(place) == never_killed, step


def test_a_clip_table_that_is_replaced_is_the_old_one_the_new_one_or_none(tmp_path):
    old, new = ([clip(number, own) for number in range(3)] for own in ("calm", "neutral"))
    rejects = [Reject(id="x.wav", path="x.wav", stage="import", reason="bad-name", detail="2 fields")]
    FeatureStore(tmp_path / "before").write_clips("many", old, [])
    shutil.copytree(tmp_path / "before", tmp_path / "counted")
    with killed_at(None) as steps:
        FeatureStore(tmp_path / "counted").write_clips("many", new, rejects)
    assert [step.split()[0] for step in steps] == ["remove", "write", "write", "write"]
    for n in range(len(steps)):
        store = FeatureStore(tmp_path / str(n))
        shutil.copytree(tmp_path / "before", tmp_path / str(n))
        with pytest.raises(Killed), killed_at(n):
            store.write_clips("many", new, rejects)
        if n == 0:
            assert store.clips("many") == old
        else:
            with pytest.raises(StoreError, match="has no corpus 'many'"):
                store.clips("many")
        store.write_clips("many", new, rejects)
        assert store.clips("many") == new and store.import_rejects("many") == rejects


def test_two_writers_of_one_file_do_not_meet(tmp_path, monkeypatch):
    """Each has its temporary file open when the other opens its own: the file is that of one of them, whole."""
    barrier, flushed = threading.Barrier(2, timeout=30), os.fsync
    tables = [to_parquet(pa.table({"id": [text] * n})) for text, n in (("a", 3), ("b", 40_000))]

    def fsync(handle: int) -> None:
        flushed(handle)
        barrier.wait()

    monkeypatch.setattr(os, "fsync", fsync)
    errors: list[BaseException] = []

    def write(data: bytes) -> None:
        try:
            Folder(tmp_path).write_bytes("part.parquet", data)
        except BaseException as error:
            errors.append(error)

    for _ in range(5):
        writers = [threading.Thread(target=write, args=(data,)) for data in tables]
        for writer in writers:
            writer.start()
        for writer in writers:
            writer.join()
        assert errors == []
        assert (tmp_path / "part.parquet").read_bytes() in tables
        assert list(tmp_path.iterdir()) == [tmp_path / "part.parquet"]
