"""`mien predict` beside a plain loop of the same extractors and the same model, on the same files."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from time import perf_counter, process_time
from typing import Any

from mien.connection import machine_cpus, search_path
from mien.corpora.clip import Clip
from mien.errors import MienError
from mien.features.media.shared import extract
from mien.features.recipe import ExtractorRecipe
from mien.features.spec import Frames
from mien.predict.ensemble import load_ensemble
from mien.predict.files import predict_files
from mien.predict.recogniser import BATCH
from mien.predict.recordings import read_recordings


@dataclass(frozen=True, kw_only=True, slots=True)
class PredictRate:
    """Clips a second. plain: of one loop in one process. by_workers: of `predict_files` by so many processes, from the
    first clip's start to the last answer. startup_s: before that, of the last one; total_s: all of it.

    plain_cpu_s, cpu_s: CPU seconds of a clip, in the loop and in all processes of `predict_files` with one worker; what
    two clips take, which is starting, is taken off. Other work on the machine hardly changes these."""

    n_clips: int
    plain_clips_per_s: float
    by_workers: dict[int, float]
    plain_cpu_s: float
    cpu_s: float
    startup_s: float
    total_s: float

    def ratio(self, workers: int) -> float:
        """To the plain loop in one process."""
        return self.by_workers[workers] / self.plain_clips_per_s


def predict_rate(run: str, files: Sequence[str], n_clips: int) -> PredictRate:
    """Measures all of it in one run; the plain loop before and after, so that a machine whose speed drifts is the same
    for both. All are warmed up by two clips."""
    ensemble = load_ensemble(run)
    named = list(read_recordings(files).clips.values())[:n_clips]
    paths = [next(iter(clip.media.values())).path for clip in named]
    if len(paths) < 3:
        raise MienError(f"files: {len(paths)} recordings; give at least 3")
    predict_files(ensemble, paths[:2], workers=1)
    few_cpu_s = -_cpu_s()
    predict_files(ensemble, paths[:2], workers=1)
    few_cpu_s += _cpu_s()
    plain = [_plain(run, paths)]
    by_workers: dict[int, float] = {}
    cpu_s: dict[int, float] = {}
    for workers in dict.fromkeys((1, machine_cpus())):
        start_s, cpu_s[workers] = perf_counter(), -_cpu_s()
        predicted = predict_files(ensemble, paths, workers=workers)
        total_s = perf_counter() - start_s
        cpu_s[workers] += _cpu_s()
        if predicted.n_rejects:
            raise MienError(f"{predicted.n_rejects} of the files cannot be used: {predicted.reasons}; leave them out")
        by_workers[workers] = len(paths) / (predicted.work_s + predicted.predict_s)
    plain.append(_plain(run, paths))
    return PredictRate(
        n_clips=len(paths),
        plain_clips_per_s=2 * len(paths) / sum(wall_s for wall_s, _ in plain),
        by_workers=by_workers,
        plain_cpu_s=sum(cpu for _, cpu in plain) / (2 * len(paths)),
        cpu_s=(cpu_s[1] - few_cpu_s) / (len(paths) - 2),
        startup_s=predicted.startup_s,
        total_s=total_s,
    )


def _cpu_s() -> float:
    """Of this process, and of those that it started and that have ended."""
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return process_time() + children.ru_utime + children.ru_stime


def _plain(run: str, paths: Sequence[str]) -> tuple[float, float]:
    """Seconds, and CPU seconds, of the loop in a process of its own."""
    command = [sys.executable, "-c", _MEASURE, json.dumps([run, list(paths)])]
    environment = os.environ | {"PYTHONPATH": search_path(), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    if done.returncode:
        why = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise MienError(f"the plain loop failed: {why}; a run whose extractors need another framework has none")
    wall_s, cpu_s = json.loads(done.stdout.splitlines()[-1])
    return wall_s, cpu_s


_MEASURE = """
import json, sys
from mien.bench.predict import plain_loop
print(json.dumps(plain_loop(*json.loads(sys.argv[1]))))
"""


def plain_loop(run: str, paths: Sequence[str]) -> tuple[float, float]:
    """Seconds and CPU seconds: files decoded and extracted one after the other, and predicted in batches, in this
    process."""
    ensemble = load_ensemble(run)
    built = {
        name: ExtractorRecipe(one["name"], one["settings"]).build() for name, one in ensemble.extractors.items() if one
    }

    def answer(clips: Sequence[Clip]) -> None:
        for start in range(0, len(clips), BATCH):
            given = [_frames(built, clip) for clip in clips[start : start + BATCH]]
            ensemble.samples(given, [""] * len(given))

    clips = list(read_recordings(paths).clips.values())
    answer(clips[:2])
    start_s, start_cpu_s = perf_counter(), process_time()
    answer(clips)
    return perf_counter() - start_s, process_time() - start_cpu_s


def _frames(built: dict[str, Any], clip: Clip) -> dict[str, Frames]:
    found: dict[str, Frames] = {}
    for name, medium in clip.media.items():
        names = [feature for feature, extractor in built.items() if extractor.medium == name]
        for feature, one in zip(names, extract(medium, [built[feature] for feature in names])):
            if isinstance(one, Exception):
                raise one
            found[feature] = one
    return found
