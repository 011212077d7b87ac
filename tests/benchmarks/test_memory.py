"""The promise that a worker's memory does not grow with the corpus. `make bench` runs it and prints what it measured."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from conftest import ROOT
from many_clips import write_many
from mien.connection import search_path

pytestmark = [pytest.mark.bench, pytest.mark.ray, pytest.mark.slow]

FEW, MANY = 100, 10_000
GROWTH = 1.1
JOB = """
import json, sys
from mien import corpora
from mien.features.worker import peak_bytes
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


@pytest.mark.parametrize("feature", ["tiny_extractors:loudness", "egemaps"])
def test_a_worker_needs_no_more_for_10_000_clips_than_for_100(tmp_path, capsys, feature):
    few, few_driver = peaks(tmp_path / "few", FEW, feature)
    many, many_driver = peaks(tmp_path / "many", MANY, feature)
    with capsys.disabled():
        print(
            f"\n{feature}, {FEW:,} and {MANY:,} clips: worker {few / 1e6:.1f} and {many / 1e6:.1f} MB "
            f"({many / few - 1:+.1%}), driver {few_driver / 1e6:.1f} and {many_driver / 1e6:.1f} MB"
        )
    assert many <= GROWTH * few
