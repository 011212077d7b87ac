"""`prepare` beside the plain loops of `mien.bench.extract`: clips a second, and memory against the number of
clips."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter

from mien import corpora
from mien.bench.extract import HOP_S, WINDOW_S, one_pass_loop, plain_window_loop
from mien.connection import search_path
from mien.corpora.clip import Clip
from mien.features.prepare import Engine, prepare
from mien.features.prepare.progress import OnProgress
from mien.features.prepare.worker import peak_bytes

ENGINES: tuple[Engine, ...] = ("processes", "ray")
_FEATURES = [("egemaps", {"window_s": WINDOW_S, "hop_s": HOP_S})]


@dataclass(frozen=True, kw_only=True, slots=True)
class EngineRate:
    """`prepare` by one engine.

    clips_per_s: from the first clip's start to the last one's end, writing included. What comes before is stated
    apart: ray_startup_s, and workers_startup_s until the first has its extractor. total_s: all of it, as a user waits.
    """

    n_workers: int
    clips_per_s: float
    ray_startup_s: float
    workers_startup_s: float
    total_s: float


@dataclass(frozen=True, kw_only=True, slots=True)
class PrepareRate:
    """eGeMAPS windows of the same clips, in clips a second.

    plain: openSMILE once per window; one_pass: mien's extractor; both loops of one process, from file to array.
    engines: `prepare` by the processes of this machine, and by Ray Data.
    """

    n_clips: int
    plain_clips_per_s: float
    one_pass_clips_per_s: float
    engines: dict[Engine, EngineRate]

    def over_plain(self, engine: Engine) -> float:
        """How many times as fast as the loop that calls openSMILE once per window."""
        return self.engines[engine].clips_per_s / self.plain_clips_per_s

    def over_one_pass(self, engine: Engine) -> float:
        """How many times as fast as the one-pass loop on one core."""
        return self.engines[engine].clips_per_s / self.one_pass_clips_per_s


@dataclass(frozen=True, kw_only=True, slots=True)
class PrepareMemory:
    """Largest resident memory of a run, of its fullest worker and of the process that asked."""

    n_clips: int
    worker_bytes: int
    driver_bytes: int


def prepare_rate(
    corpus: str,
    root: str,
    *,
    n_clips: int = 200,
    n_plain: int = 20,
    workers: int | None = None,
    on_progress: OnProgress | None = None,
) -> PrepareRate:
    """Measure all of it in one run, on the first clips of a corpus.

    The one-pass loop runs before and after `prepare`, so that a machine whose speed drifts is the same for
    both. n_plain: clips for the slow loop.
    """
    found = corpora.load(corpus).import_clips(Path(root))
    clips = list(islice((clip for clip in found if isinstance(clip, Clip)), n_clips))
    paths = [clip.media["audio"].path for clip in clips if "audio" in clip.media]
    plain = plain_window_loop(paths[:n_plain])
    before = one_pass_loop(paths)
    engines: dict[Engine, EngineRate] = {}
    for engine in ENGINES:
        with TemporaryDirectory() as store:
            start_s = perf_counter()
            prepared = prepare(
                corpus, root, store, _FEATURES, limit=n_clips, workers=workers, engine=engine, on_progress=on_progress
            )
            total_s = perf_counter() - start_s
        (feature,) = prepared.features
        engines[engine] = EngineRate(
            n_workers=feature.n_workers,
            clips_per_s=feature.n_rows / feature.work_s,
            ray_startup_s=prepared.ray_startup_s,
            workers_startup_s=feature.startup_s,
            total_s=total_s,
        )
    after = one_pass_loop(paths)
    return PrepareRate(
        n_clips=feature.n_rows,
        plain_clips_per_s=plain.n_files / plain.seconds,
        one_pass_clips_per_s=2 * len(paths) / (before.seconds + after.seconds),
        engines=engines,
    )


def prepare_memory(corpus: str, root: str, n_clips: int, *, workers: int | None = None) -> PrepareMemory:
    """Measure one run over the first n_clips, from nothing, in a process of its own."""
    with TemporaryDirectory() as store:
        asked = json.dumps([corpus, root, store, n_clips, workers])
        command = [sys.executable, "-c", _MEASURE, asked]
        environment = os.environ | {"PYTHONPATH": search_path()}
        answer = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True).stdout
    n_done, worker_bytes, driver_bytes = json.loads(answer)
    return PrepareMemory(n_clips=n_done, worker_bytes=worker_bytes, driver_bytes=driver_bytes)


_MEASURE = """
import json, sys
from mien.bench.prepare import measure_here
print(json.dumps(measure_here(*json.loads(sys.argv[1]))))
"""


def measure_here(corpus: str, root: str, store: str, n_clips: int, workers: int | None) -> tuple[int, int, int]:
    """Clips, and peak bytes of the fullest worker and of this process, which must be a fresh one."""
    prepared = prepare(corpus, root, store, _FEATURES, limit=n_clips, workers=workers)
    (feature,) = prepared.features
    return feature.n_extracted, feature.worker_peak_bytes, peak_bytes()
