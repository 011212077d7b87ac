"""How time and memory grow with the corpus: a synthetic clip table through importer, store, splits and manifest, and
what a training of it takes on each node.

Steps run in processes of their own, whose memory is limited and whose peak is read after each. Nothing is
decoded: the clips have no media. In the bookkeeping of the driver, which is what a bigger cluster does not make faster,
a row of the feature is one number; in training it is as large as `egemaps` of a clip of RAVDESS.
"""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import product
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Event, Lock, Thread
from time import perf_counter
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from mien.connection import search_path
from mien.corpora.clip import MEDIUM_TYPE, Clip, Label, Medium, Reject, clips_to_table
from mien.data.batches import Examples, clip_keys, training_order
from mien.data.columns import Mapped
from mien.data.dataset import Dataset, read_dataset
from mien.data.leaks import check_leak
from mien.data.mapped_table import source_of
from mien.data.splits import make_splits
from mien.errors import MienError
from mien.experiment import ClassesConfig, DataConfig, ProtocolConfig
from mien.features.prepare.tasks import largest_part, tasks_left
from mien.features.prepare.worker import peak_bytes
from mien.features.spec import FeatureSpec
from mien.features.store import FeatureStore, Row

CLIPS_OF_A_SUBJECT = 100
CORPUS = "many"
_EMOTIONS = ("neutral", "happiness", "sadness", "anger", "fear", "disgust")
_FRAMES = (27, 89)  # of a clip of RAVDESS, `egemaps`
_BATCH = 32
_N_BATCHES = 1000
_LOOK_S = 0.1  # between two looks at the memory
_REJECT_EVERY = 1000  # of the clips; the others have a row


# Those of one process.
BOOKKEEPING = (("clip table",), ("splits",), ("parts", "what is missing", "manifest"), ("keys", "order of an epoch"))
TRAINING = (("store", "dataset of the driver", "sent to a worker"), ("store", "joining", "1,000 batches"))


@dataclass(frozen=True, slots=True)
class Step:
    """One step at one size. peak_bytes: largest resident memory of the process while it ran. own_bytes: of that, at the
    end, what the system cannot take back as it can the pages of files. n_bytes: how much was written or sent, 0 where
    nothing is. error: what stopped it, "" where nothing did."""

    n_clips: int
    name: str
    seconds: float
    peak_bytes: int
    own_bytes: int
    n_bytes: int = 0
    error: str = ""


def scale(
    sizes: Sequence[int], *, limit_gb: float, folder: Path | None = None, training: bool = False
) -> Iterator[Step]:
    """The steps at each size, as they end. Linux only."""
    for n_clips, steps in product(sizes, TRAINING if training else BOOKKEEPING):
        with TemporaryDirectory(dir=folder) as store:
            command = [sys.executable, "-c", _MEASURE, json.dumps([n_clips, steps, limit_gb, store])]
            environment = os.environ | {"PYTHONPATH": search_path(), "MIEN_CACHE": f"{store}/of-node"}
            with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as process:
                assert process.stdout
                for line in process.stdout:
                    yield Step(**json.loads(line))
        if process.returncode:
            raise MienError(f"{n_clips} clips, {' or '.join(steps)}: the measurement died: see its traceback above")


_MEASURE = """
import json, sys
from mien.bench.scale import measure_here
measure_here(*json.loads(sys.argv[1]))
"""


def measure_here(n_clips: int, names: Sequence[str], limit_gb: float, folder: str) -> None:
    """Measure some steps in this process, which must be a fresh one; a Step as a line of JSON each.

    It ends when it holds more than limit_gb. (The kernel's own limits count what allocators only reserve.)
    """
    told = Lock()

    def tell(name: str, start_s: float, n_bytes: int = 0, error: str = "") -> None:
        with told:
            step = Step(n_clips, name, perf_counter() - start_s, peak_bytes(), _own_bytes(), n_bytes, error)
            print(json.dumps(asdict(step)), flush=True)
            if error:
                os._exit(0)

    def watch(name: str, start_s: float, ended: Event) -> None:
        while not ended.wait(_LOOK_S):
            if _own_bytes() > limit_gb * 1e9:
                tell(name, start_s, error=f"out of {limit_gb:g} GB")

    store = FeatureStore(folder)
    steps = {**_bookkeeping(store, n_clips), **_training(store, n_clips)}
    for name in names:
        _forget_peak()
        start_s, ended = perf_counter(), Event()
        watcher = Thread(target=watch, args=(name, start_s, ended), daemon=True)
        watcher.start()
        n_bytes = steps[name]()
        ended.set()
        watcher.join()
        tell(name, start_s, n_bytes or 0)


def _bookkeeping(store: FeatureStore, n_clips: int) -> dict[str, Callable[[], int | None]]:
    """What the driver does before anything is trained; and the order of an epoch, which each process makes."""
    keys: list[NDArray[np.uint64]] = []  # made once a run
    lengths = np.random.default_rng(0).integers(16, 48, n_clips)
    examples = Examples(np.arange(n_clips), np.zeros(n_clips, np.int64))

    def order() -> None:
        training_order(examples, keys[0], lengths, seed=0, epoch=1, batch_size=_BATCH)

    return {
        "clip table": lambda: _write_clips(store, n_clips),
        "splits": lambda: _split(n_clips),
        "parts": lambda: _write_parts(store, _number(), n_clips),
        "what is missing": lambda: _missing(store, n_clips),
        "manifest": lambda: _finish(store, _number(), n_clips),
        "keys": lambda: keys.append(clip_keys(_names(n_clips))),
        "order of an epoch": order,
    }


def _training(store: FeatureStore, n_clips: int) -> dict[str, Callable[[], int | None]]:
    """What training takes of the driver, and of a node that joins, which has nothing of the store yet."""
    held: list[Dataset | Mapped] = []

    def written() -> int:
        _write_clips(store, n_clips)
        _write_parts(store, _numbers(), n_clips)
        _finish(store, _numbers(), n_clips)
        folder = Path(str(store.feature_folder(CORPUS, _numbers()).folder))
        return sum(path.stat().st_size for path in folder.rglob("*.parquet"))

    def read() -> None:
        data = DataConfig(corpora=(CORPUS,), features=(_numbers().name,))
        held.append(read_dataset(store, data, ClassesConfig(), mapped=True))

    def sent() -> int:
        return len(pickle.dumps(held[-1], protocol=5))

    def joined() -> int:
        source = source_of(store, CORPUS, _numbers())
        held.append(Mapped(_numbers(), [source], _names(n_clips)))
        return source.path.stat().st_size

    def batches() -> None:
        column = held[-1]
        assert isinstance(column, Mapped)
        rows = np.random.default_rng(0).integers(0, n_clips, (_N_BATCHES, _BATCH))
        for batch in rows.tolist():
            for row in batch:
                column[row].values.sum()

    return {
        "store": written,
        "dataset of the driver": read,
        "sent to a worker": sent,
        "joining": joined,
        "1,000 batches": batches,
    }


def _own_bytes() -> int:
    """Resident memory that is not a file's (proc(5), RssAnon)."""
    status = Path("/proc/self/status").read_text()
    return 1024 * int(next(line.split()[1] for line in status.splitlines() if line.startswith("RssAnon")))


def _forget_peak() -> None:
    """Let the kernel begin anew with the largest resident memory of this process (proc(5), clear_refs)."""
    Path("/proc/self/clear_refs").write_text("5")


class _Idle:
    """Stands for `ExtractFeatures`: it takes a batch of tasks and tells at once that all is done."""

    def __call__(self, batch: pa.Table) -> pa.Table:
        return pa.table({"clip_id": batch["clip_id"]})


def batches_per_s(n_batches: int, *, workers: int = 2, clips_of_a_batch: int = 64) -> float:
    """Batches a second that one driver hands to workers who do nothing with them, and takes back.

    As `mien.features.prepare` does it, from the first that comes back to the last; with the workers on the same cores,
    so a driver on a machine of its own is faster.
    """
    import ray.data

    from mien import connection as cluster

    names = _names(n_batches * clips_of_a_batch)
    clips = pa.table({"clip_id": names, "path": names, "start_s": np.zeros(len(names)), "end_s": np.ones(len(names))})
    with cluster.connected(workers=workers):
        batches = [clips[start : start + clips_of_a_batch] for start in range(0, len(names), clips_of_a_batch)]
        dataset = ray.data.from_arrow(batches)
        dataset.context.enable_progress_bars = False
        told = dataset.map_batches(
            _Idle,
            batch_size=None,
            batch_format="pyarrow",
            num_cpus=1,
            compute=ray.data.ActorPoolStrategy(size=workers, max_tasks_in_flight_per_actor=2),
        )
        tables = iter(told.iter_batches(batch_size=None, batch_format="pyarrow", prefetch_batches=0))
        next(tables)
        start_s = perf_counter()
        n_told = sum(1 for _ in tables)
        return n_told / (perf_counter() - start_s)


def import_clips(n_clips: int) -> Iterator[Clip]:
    """What an importer yields: people of 100 clips each, with the fields that a clip of RAVDESS has."""
    for number in range(n_clips):
        subject = f"{CORPUS}/{number // CLIPS_OF_A_SUBJECT:06d}"
        name = f"{subject}-{number % CLIPS_OF_A_SUBJECT:03d}"
        own = _EMOTIONS[number % len(_EMOTIONS)]
        yield Clip(
            id=name,
            corpus=CORPUS,
            subject=subject,
            media={
                "audio": Medium(path=f"s3://bucket/corpora/{name}.wav"),
                "video": Medium(path=f"s3://bucket/corpora/{name}.mp4"),
            },
            labels=(Label(source="intended", own=own, emotion=own),),
            attributes={"channel": "speech", "intensity": "normal", "statement": "s1", "repetition": "1", "sex": "x"},
        )


def _write_clips(store: FeatureStore, n_clips: int) -> None:
    store.write_clips(CORPUS, clips_to_table(import_clips(n_clips)), [])


def _names(n_clips: int) -> list[str]:
    return [f"{CORPUS}/{i // CLIPS_OF_A_SUBJECT:06d}-{i % CLIPS_OF_A_SUBJECT:03d}" for i in range(n_clips)]


def _split(n_clips: int) -> None:
    """Five folds by subject with inner validation, and the check for leaks of each; hashes as long as in a store."""
    ids = _names(n_clips)
    subjects = [name[:-4] for name in ids]
    columns: dict[str, Any] = {"clip_ids": ids, "subjects": subjects, "copies": np.arange(n_clips)}
    protocol = ProtocolConfig(folds=5)
    strata = np.arange(n_clips) % len(_EMOTIONS)
    for split in make_splits(**columns, corpora=[CORPUS] * n_clips, strata=strata, protocol=protocol):
        check_leak(split, **columns, protocol=protocol)


def _number() -> FeatureSpec:
    return FeatureSpec(name="one", version=1, modality="audio", shape=(1,), hop_s=None, columns=("one",))


def _numbers() -> FeatureSpec:
    columns = tuple(f"c{i}" for i in range(_FRAMES[1]))
    return FeatureSpec(name="many", version=1, modality="audio", shape=(_FRAMES[1],), hop_s=0.1, columns=columns)


def _write_parts(store: FeatureStore, spec: FeatureSpec, n_clips: int) -> None:
    """What workers would have written, in parts as large as theirs; noise, which cannot be made smaller."""
    feature = store.feature_folder(CORPUS, spec)
    n_frames = 1 if spec.hop_s is None else _FRAMES[0]
    valid = np.ones(n_frames, np.bool_)
    n_of_a_part = largest_part(False, n_clips)
    rng = np.random.default_rng(0)
    for start in range(0, n_clips, n_of_a_part):
        numbers = range(start, min(start + n_of_a_part, n_clips))
        ids = [f"{CORPUS}/{i // CLIPS_OF_A_SUBJECT:06d}-{i % CLIPS_OF_A_SUBJECT:03d}" for i in numbers]
        rows = [
            Row(ids[i - start], f"{i:064x}", 0.0, None, rng.random((n_frames, *spec.shape), np.float32), valid)
            for i in numbers
            if i % _REJECT_EVERY
        ]
        rejects = [
            Reject(id=ids[i - start], path="", stage="extract", reason="no-audio", detail="no sound")
            for i in numbers
            if not i % _REJECT_EVERY
        ]
        feature.write(ids, rows, rejects)


def _missing(store: FeatureStore, n_clips: int) -> None:
    """What is left to do when all but the last clip were done."""
    ids = _names(n_clips)
    media = pa.array(
        [[("audio", {"path": f"s3://bucket/{name}.wav", "start_s": 0.0})] for name in ids],
        pa.map_(pa.string(), MEDIUM_TYPE),
    )
    left = tasks_left(
        pa.table({"id": ids, "media": media}), ["audio"], [store.feature_folder(CORPUS, _number()).reopen() - {ids[-1]}]
    )
    if left["clip_id"].to_pylist() != [ids[-1]]:
        raise RuntimeError(f"{len(left)} clips are left to do, not one")


def _finish(store: FeatureStore, spec: FeatureSpec, n_clips: int) -> None:
    manifest = store.feature_folder(CORPUS, spec).finish(set(_names(n_clips)))
    if manifest["n_rows"] + manifest["n_rejects"] != n_clips:
        raise RuntimeError(f"{manifest['n_rows']} rows and {manifest['n_rejects']} rejects of {n_clips} clips")
