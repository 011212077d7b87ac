"""prepare under attack: killed again and again, workers that die, disks that are full. Nothing lost, nothing
twice."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
import uuid
from collections import Counter
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
import soundfile

from conftest import ROOT
from mien.connection import search_path
from mien.corpora.clip import Medium
from mien.features.prepare.tasks import ClipTask
from mien.features.prepare.worker import BatchExtractor, Feature
from mien.features.recipe import ExtractorRecipe
from mien.features.store import FeatureStore
from tiny_corpus import wav_of, write_corpus
from tiny_extractors import SoundExtractor

pytestmark = [pytest.mark.ray, pytest.mark.slow, pytest.mark.fault]

SPEC = SoundExtractor().spec
each_engine = pytest.mark.parametrize("engine", ["ray", "processes"])
JOB = """
import json, sys
from mien.errors import MienError
from mien.features.prepare import prepare
root, store, feature, engine = sys.argv[1:]
try:
    prepared = prepare("ravdess", root, store, [json.loads(feature)], workers=2, engine=engine, clip_limit_s=10)
except MienError as error:
    sys.exit(f"{type(error).__name__}: {error}")
print(json.dumps([prepared.n_clips, prepared.features[0].n_rows, prepared.features[0].n_extracted]))
"""


class Job:
    """`prepare` in a process of its own, and whatever it starts: all carry a mark in their environment."""

    def __init__(
        self,
        engine: str,
        root: Path,
        store: Path,
        extractor: str,
        settings: dict | None = None,
        shell: str = "",
    ) -> None:
        feature = json.dumps([f"tiny_extractors:{extractor}", settings or {}])
        self._mark = f"MIEN_TEST_JOB={uuid.uuid4().hex}"
        command = [sys.executable, "-c", JOB, str(root), str(store), feature, engine]
        if shell:
            command = [
                "unshare",
                "--user",
                "--map-root-user",
                "--mount",
                "bash",
                "-ec",
                shell,
                "bash",
                *command,
            ]
        name, value = self._mark.split("=")
        environment = os.environ | {"PYTHONPATH": search_path(), name: value}
        self.process = subprocess.Popen(
            command, env=environment, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )

    def wait(self) -> tuple[int, str, str]:
        out, err = self.process.communicate(timeout=300)
        return self.process.returncode, out, err

    def pids(self) -> list[int]:
        """Its processes that are still there."""
        found = []
        for environment in Path("/proc").glob("[0-9]*/environ"):
            with suppress(OSError):  # gone in the meantime, or somebody else's
                if self._mark.encode() in environment.read_bytes().split(b"\0"):
                    found.append(int(environment.parent.name))
        return found


def parts_of(store: Path) -> list[Path]:
    return sorted((store / "ravdess" / SPEC.folder).glob("part-*.parquet"))


def wait_until(condition, what: str, seconds: float = 120) -> None:
    end_s = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end_s, f"waited {seconds} s for {what}"
        time.sleep(0.05)


def assert_never_killed(root: Path, store: Path, clip_ids: list[str], tmp_path: Path) -> None:
    """Rows, bits and fingerprint are those of one plain loop in this process."""
    plain = FeatureStore(tmp_path / "plain").feature_folder("ravdess", SPEC)
    tasks = [ClipTask(clip_id, {"audio": Medium(path=str(wav_of(root, clip_id)))}, (0,)) for clip_id in clip_ids]
    BatchExtractor([Feature(plain, ExtractorRecipe("tiny_extractors:Loudness"), "audio")])(tasks)
    manifest = plain.finish(set(clip_ids))
    expected = plain.load(manifest, set(clip_ids))
    opened = FeatureStore(store)
    assert [finding for finding in opened.verify("ravdess") if finding.severity == "error"] == []
    table = opened.load("ravdess", SPEC)
    assert table.clip_ids == expected.clip_ids
    np.testing.assert_array_equal(table.values, expected.values)
    np.testing.assert_array_equal(table.offsets, expected.offsets)
    if len(clip_ids) == len(opened.clips("ravdess")):
        assert opened.fingerprint("ravdess", SPEC) == manifest["fingerprint"]


@each_engine
@pytest.mark.skipif(not Path("/proc").is_dir(), reason="finds a job's processes in /proc")
def test_killed_again_and_again_is_as_if_never_killed(engine, tmp_path):
    root, store = tmp_path / "corpus", tmp_path / "store"
    clip_ids = write_corpus(root, 120)
    n_parts = 0
    for _ in range(2):
        job = Job(engine, root, store, "Slow", {"seconds": 0.1})
        wait_until(lambda n=n_parts: len(parts_of(store)) > n, "another part")  # type: ignore[misc]
        job.process.send_signal(signal.SIGKILL)
        job.wait()
        wait_until(lambda job=job: not job.pids(), "its processes to follow their driver")  # type: ignore[misc]
        assert len(parts_of(store)) > n_parts
        assert not (store / "ravdess" / SPEC.folder / "MANIFEST.json").exists()
        n_parts = len(parts_of(store))
    status, out, err = Job(engine, root, store, "Slow", {"seconds": 0.0}).wait()
    assert status == 0, err
    n_clips, n_rows, n_extracted = json.loads(out)
    assert (n_clips, n_rows) == (120, 120)
    assert 0 < n_extracted < 120
    assert_never_killed(root, store, clip_ids, tmp_path)


@each_engine
@pytest.mark.parametrize(("kind", "reason"), [("Deadly", "worker-crashed"), ("Endless", "took-too-long")])
def test_a_clip_that_kills_or_keeps_its_worker_is_left_out_and_all_others_come(engine, kind, reason, tmp_path):
    root, store = tmp_path / "corpus", tmp_path / "store"
    clip_ids = write_corpus(root, 16)
    length = soundfile.info(wav_of(root, clip_ids[5])).frames
    status, out, err = Job(engine, root, store, kind, {"length": length}).wait()
    assert status == 0, err
    assert json.loads(out)[:2] == [16, 15]
    (reject,) = FeatureStore(store).rejects("ravdess", SPEC)
    assert (reject.id, reject.reason) == (clip_ids[5], reason)
    assert_never_killed(root, store, [*clip_ids[:5], *clip_ids[6:]], tmp_path)


def can_mount() -> bool:
    """Whether this user may mount a small disk of his own, in a namespace that nobody else sees."""
    command = ["unshare", "--user", "--map-root-user", "--mount", "mount", "-t", "tmpfs", "none", "/mnt"]
    try:
        return subprocess.run(command, capture_output=True).returncode == 0
    except FileNotFoundError:
        return False


@pytest.mark.skipif(not can_mount(), reason="needs user namespaces, to mount a small disk")
@pytest.mark.parametrize(
    ("engine", "disk", "why"),
    [
        ("ray", "mount -t tmpfs -o size=180k none {disk}", "No space left on device"),
        ("processes", "mount -t tmpfs -o size=180k none {disk}", "No space left on device"),
        ("processes", "mount -t tmpfs -o ro none {disk}", "Read-only file system"),
    ],
    ids=["ray-full", "processes-full", "read-only"],
)
def test_a_disk_that_cannot_be_written_stops_the_job_with_one_line(tmp_path, engine, disk, why):
    root, copied, disk_folder = tmp_path / "corpus", tmp_path / "copied", tmp_path / "disk"
    clip_ids = write_corpus(root, 400)
    disk_folder.mkdir()
    # What lies on the small disk vanishes with its namespace: it is copied out, and the job goes on from the
    # copy.
    shell = (
        f'{disk.format(disk=disk_folder)}; "$@" && status=0 || status=$?; cp -r {disk_folder} {copied}; exit $status'
    )
    job = Job(engine, root, disk_folder / "store", "Loudness", shell=shell)
    status, _, err = job.wait()
    assert status == 1
    (last,) = err.strip().splitlines()
    assert last.startswith(f"StoreError: cannot write to {disk_folder / 'store'}") and why in last
    assert last.endswith("Make room or give permission, and run the same command again: it goes on where it stopped")
    wait_until(lambda: not job.pids(), "its processes to end")

    n_written = len(parts_of(copied / "store"))
    assert bool(n_written) == (why == "No space left on device")
    status, out, err = Job(engine, root, copied / "store", "Loudness").wait()
    assert status == 0, err
    n_clips, n_rows, n_extracted = json.loads(out)
    assert (n_clips, n_rows) == (400, 400)
    assert (n_extracted < 400) == bool(n_written)
    assert_never_killed(root, copied / "store", clip_ids, tmp_path)


# ------------------------------------------------------------------ make soak


@pytest.mark.soak
@pytest.mark.timeout(3600)
@pytest.mark.parametrize(("engine", "n_kills"), [("processes", 90), ("ray", 10)])
@pytest.mark.skipif(not Path("/proc").is_dir(), reason="finds a job's processes in /proc")
def test_a_hundred_kills_at_any_moment_are_as_if_there_were_none(engine, n_kills, tmp_path, capsys):
    """Of the driver or of a process that it started, by SIGKILL, at times drawn by a seed, over one store after
    another."""
    rng = random.Random(engine)
    killed, n_stores, n_ended = Counter[str](), 0, 0
    while killed.total() < n_kills:
        n_stores += 1
        place = tmp_path / f"{n_stores}"
        clip_ids = write_corpus(place / "corpus", 120)
        done = False
        while not done:
            job = Job(engine, place / "corpus", place / "store", "Slow", {"seconds": 0.05})
            while killed.total() < n_kills and job.process.poll() is None:
                try:
                    job.process.wait(timeout=rng.uniform(0, 12 if engine == "ray" else 3))
                except subprocess.TimeoutExpired:
                    others = sorted(set(job.pids()) - {job.process.pid})
                    victim = rng.choice([job.process.pid, *others[-2:]])
                    with suppress(ProcessLookupError):
                        os.kill(victim, signal.SIGKILL)
                        killed["driver" if victim == job.process.pid else "process"] += 1
            status, _, err = job.wait()
            wait_until(lambda job=job: not job.pids(), "its processes to follow their driver")  # type: ignore[misc]
            done = status == 0
            n_ended += status > 0
            assert status in (0, 1, -signal.SIGKILL), err
            assert "Traceback" not in err, err
        assert not FeatureStore(place / "store").rejects("ravdess", SPEC), "no clip was at fault"
        assert_never_killed(place / "corpus", place / "store", clip_ids, place)
    with capsys.disabled():
        print(f"\n{engine}: {dict(killed)} kills over {n_stores} stores, {n_ended} jobs that gave up with a message")
