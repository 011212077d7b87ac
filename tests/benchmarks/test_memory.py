"""The promise that a worker's memory does not grow with the corpus, while preparing and while training. `make bench`
runs it and prints what it measured."""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from conftest import ROOT
from many_clips import write_many
from mien.connection import search_path
from mien.corpora.clip import Clip, Label
from mien.data.dataset import read_dataset
from mien.experiment import ClassesConfig, DataConfig
from mien.features.spec import FeatureSpec
from mien.features.store import FeatureStore, Row

pytestmark = [pytest.mark.bench, pytest.mark.ray, pytest.mark.slow]

FEW, MANY = 100, 10_000
GROWTH = 1.1
CLIP_BYTES = 35 * 88 * 4
JOB = """
import json, sys
from mien import corpora
from mien.features.prepare.worker import peak_bytes
from mien.features.prepare import prepare
root, store, feature = sys.argv[1:]
corpora.CORPORA["many"] = "many_clips"
prepared = prepare("many", root, store, [feature], workers=1)
(done,) = prepared.features
print(json.dumps([done.n_rows, done.worker_peak_bytes, peak_bytes()]))
"""


def peaks(folder: Path, n_clips: int, feature: str) -> tuple[int, int]:
    """Largest resident bytes of the one worker, and of the process that asked, which is a new one."""
    folder.mkdir()
    write_many(folder / "corpus", n_clips)
    command = [sys.executable, "-c", JOB, str(folder / "corpus"), str(folder / "store"), feature]
    environment = os.environ | {"PYTHONPATH": search_path()}
    answer = subprocess.run(command, env=environment, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True).stdout
    n_rows, worker_bytes, driver_bytes = json.loads(answer)
    assert n_rows == n_clips
    return worker_bytes, driver_bytes


@pytest.mark.parametrize("feature", ["tiny_extractors:Loudness", "egemaps"])
def test_a_worker_needs_no_more_for_10_000_clips_than_for_100(tmp_path, capsys, feature):
    few, few_driver = peaks(tmp_path / "few", FEW, feature)
    many, many_driver = peaks(tmp_path / "many", MANY, feature)
    with capsys.disabled():
        print(
            f"\n{feature}, {FEW:,} and {MANY:,} clips: worker {few / 1e6:.1f} and {many / 1e6:.1f} MB "
            f"({many / few - 1:+.1%}), driver {few_driver / 1e6:.1f} and {many_driver / 1e6:.1f} MB"
        )
    assert many <= GROWTH * few


# What a worker does, once it is sent the dataset: it is fed an epoch, or trains one, validates and tests.
HEAD = """
import pickle, sys, tempfile, threading, time
import numpy as np
from mien.data.feed import Feed
from mien.experiment import AugmentConfig, DataConfig, Experiment, MlpConfig, TrainingConfig

def resident():
    lines = open("/proc/self/status").read().splitlines()
    found = dict(line.split(":", 1) for line in lines)
    return int(found["RssAnon"].split()[0]) * 1024

dataset = pickle.load(open(sys.argv[1], "rb"))
experiment = Experiment(
    name="memory", data=DataConfig(corpora=("many",), features=("voice",)), augment=AugmentConfig(kind="none"),
    model=MlpConfig(), training=TrainingConfig(epochs=1),
)
peak, n = 0, 0
"""
FED = (
    HEAD
    + """
feed = Feed(experiment, dataset, np.arange(len(dataset)), 0)
for batch in feed.training(1):
    peak, n = max(peak, resident()), n + len(batch.rows)
print(peak, n)
"""
)
TRAINED = (
    HEAD
    + """
from mien.data.splits import Split
from mien.folder import Folder
from mien.results.run import Run
from mien.training.loop import train_run

def look():
    global peak
    while True:
        peak = max(peak, resident())
        time.sleep(0.02)

threading.Thread(target=look, daemon=True).start()
subjects = np.array(dataset.subjects)
train, validation, test = (np.flatnonzero(subjects == f"many/{name}") for name in ("train", "validation", "test"))
with tempfile.TemporaryDirectory() as folder:
    train_run(Run(Folder(folder), 0, 0), experiment, dataset, Split(0, "memory", train, validation, test))
print(peak, len(dataset))
"""
)


def own_peak(folder: Path, n_clips: int, job: str, *, mapped: bool) -> int:
    """Largest bytes of its own that a worker holds during a job on clips of CLIP_BYTES each, pages of mapped files not
    counted: the system takes these back. The worker is sent the dataset as Ray would send it."""
    spec = FeatureSpec(name="voice", version=1, modality="audio", shape=(88,), hop_s=0.1)
    store = FeatureStore(folder / "store")
    ids = [f"many/{i:05}" for i in range(n_clips)]
    labels = (Label(source="intended", emotion="fear"),)
    subjects = [f"many/{('train', 'train', 'train', 'validation', 'test')[n % 5]}" for n in range(n_clips)]
    clips = [Clip(id=i, corpus="many", subject=s, media={}, labels=labels) for i, s in zip(ids, subjects)]
    store.write_clips("many", clips, [])
    part = store.feature_folder("many", spec)
    rng = np.random.default_rng(0)
    for start in range(0, n_clips, 512):
        some = ids[start : start + 512]
        frames = rng.normal(size=(len(some), 35, 88)).astype(np.float32)
        part.write(some, [Row(i, i, 0.0, None, one, np.ones(35, bool)) for i, one in zip(some, frames)], [])
    part.finish(set(ids))
    data = DataConfig(corpora=("many",), features=("voice",))
    (folder / "dataset").write_bytes(pickle.dumps(read_dataset(store, data, ClassesConfig(), mapped=mapped)))
    command = [sys.executable, "-c", job, str(folder / "dataset")]
    environment = os.environ | {"PYTHONPATH": search_path()}
    answer = subprocess.run(command, env=environment, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True).stdout
    peak_bytes, n_fed = map(int, answer.split())
    assert n_fed >= n_clips
    return peak_bytes


@pytest.mark.parametrize("mapped", [True, False], ids=["mapped", "in memory"])
def test_a_worker_that_is_fed_from_a_mapped_file_holds_none_of_its_frames(tmp_path, capsys, monkeypatch, mapped):
    """A clip costs it some hundred bytes for its id, label and place. In memory shows what there is to be seen."""
    monkeypatch.setenv("MIEN_CACHE", str(tmp_path / "cache"))
    few, many = (own_peak(tmp_path / str(n_clips), n_clips, FED, mapped=mapped) for n_clips in (FEW, MANY))
    with capsys.disabled():
        print(
            f"\n{'mapped' if mapped else 'in memory'}, {FEW:,} and {MANY:,} clips of {CLIP_BYTES / 1e3:.1f} kB: worker "
            f"{few / 1e6:.1f} and {many / 1e6:.1f} MB, {(many - few) / (MANY - FEW):.0f} bytes per clip"
        )
    grown, frames = many - few, (MANY - FEW) * CLIP_BYTES
    assert grown < 0.1 * frames if mapped else grown > 0.9 * frames


def test_a_worker_that_trains_needs_no_more_for_10_000_clips_than_for_100(tmp_path, capsys, monkeypatch):
    """torch's mlp, from a mapped file: an epoch, its validation, checkpoint, test, and what a run leaves."""
    monkeypatch.setenv("MIEN_CACHE", str(tmp_path / "cache"))
    few, many = (own_peak(tmp_path / str(n_clips), n_clips, TRAINED, mapped=True) for n_clips in (FEW, MANY))
    with capsys.disabled():
        print(
            f"\ntraining, {FEW:,} and {MANY:,} clips of {CLIP_BYTES / 1e3:.1f} kB: worker {few / 1e6:.1f} and "
            f"{many / 1e6:.1f} MB ({many / few - 1:+.1%}), {(many - few) / (MANY - FEW):.0f} bytes per clip"
        )
    assert many <= GROWTH * few
