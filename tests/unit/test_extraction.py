"""What a worker makes of one batch: each clip a row or a reject with its reason, whatever happens to it."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
from threadpoolctl import threadpool_limits

from conftest import ROOT
from mien.connection import search_path
from mien.corpora.clip import Reject, Span
from mien.errors import ExperimentError, MienError
from mien.features import media
from mien.features.parts import REJECTS, Parts, read_rejects
from mien.features.spec import FeatureSpec
from mien.features.worker import PartExtractor, Task, build, content_of, describe, tasks_from_table, tasks_to_table
from mien.folder import Folder
from tiny_corpus import wav_of, write_corpus
from tiny_extractors import Loudness


def parts_in(tmp_path: Path, spec: FeatureSpec | None = None) -> Parts:
    return Parts(Folder(tmp_path / "parts"), spec or Loudness().spec)


def extract(parts: Parts, factory: str, tasks: list[Task], **settings: object) -> list[str]:
    """Reasons of the clips in order, "" for a row."""
    return [outcome.reason for outcome in PartExtractor(parts, f"tiny_extractors:{factory}", dict(settings))(tasks)]


def tasks_of(root: Path, n_clips: int) -> list[Task]:
    return [Task(clip_id, str(wav_of(root, clip_id)), Span()) for clip_id in write_corpus(root, n_clips)]


def rejects_of(parts: Parts, tasks: list[Task]) -> dict[str, Reject]:
    parts.finish({task.clip_id for task in tasks})
    return {reject.id: reject for reject in read_rejects(parts.folder, REJECTS)}


def test_rows_are_what_the_extractor_gives_for_the_decoded_sound(tmp_path):
    tasks = tasks_of(tmp_path, 5)
    parts = parts_in(tmp_path)
    assert extract(parts, "loudness", tasks) == [""] * 5
    parts.finish({task.clip_id for task in tasks})
    table = parts.load([name for name in parts.folder.names() if name.startswith("part-")], {t.clip_id for t in tasks})
    for row, clip_id in enumerate(table.clip_ids):
        path = wav_of(tmp_path, clip_id)
        samples = soundfile.read(path, dtype="float32")[0]
        windows = samples[: len(samples) // 160 * 160].reshape(-1, 160)
        np.testing.assert_allclose(table.frames(row).values[:, 1], np.abs(windows).max(axis=1), rtol=1e-6)
        assert table.content[row] == hashlib.sha256(path.read_bytes()).hexdigest()


def test_a_span_is_cut_out(tmp_path):
    (task,) = tasks_of(tmp_path, 1)
    parts = parts_in(tmp_path)
    extract(parts, "loudness", [task._replace(span=Span(start_s=0.02, end_s=0.07))])
    assert parts.finish({task.clip_id})["n_frames"] == 5


def test_bad_media_become_rejects_and_the_others_come_through(tmp_path):
    tasks = tasks_of(tmp_path, 6)
    Path(tasks[0].path).write_bytes(b"")
    Path(tasks[1].path).write_text("this is no sound")
    Path(tasks[2].path).unlink()
    tasks[3] = tasks[3]._replace(path=None)
    parts = parts_in(tmp_path)
    reasons = extract(parts, "loudness", tasks)
    assert [bool(reason) for reason in reasons] == [True, True, True, True, False, False]
    assert reasons[2:4] == ["missing", "no-audio"]
    rejects = rejects_of(parts, tasks)
    assert {clip_id: reject.reason for clip_id, reject in rejects.items()} == {
        task.clip_id: reason for task, reason in zip(tasks, reasons) if reason
    }
    for task in tasks[:3]:
        reject = rejects[task.clip_id]
        assert (reject.path, reject.stage) == (task.path, "extract")
        assert task.path in reject.detail


def test_an_unexpected_error_carries_the_tail_of_its_traceback(tmp_path):
    tasks = tasks_of(tmp_path, 2)
    parts = parts_in(tmp_path)
    assert extract(parts, "faulty", tasks) == ["unexpected-error"] * 2
    detail = rejects_of(parts, tasks)[tasks[0].clip_id].detail
    assert "tiny_extractors.py" in detail and detail.endswith("KeyError: 'no such key'\n")


@pytest.mark.parametrize(
    ("kind", "reason", "detail"),
    [
        ("shape", "bad-frames", "loudness gave (5, 2) and (5,), expected (T, 3) and (T,)"),
        ("empty", "no-frames", "loudness gave no frames"),
        ("nan", "not-finite", "loudness gave values that are no numbers in largest"),
    ],
)
def test_frames_that_break_their_spec_become_rejects(tmp_path, kind, reason, detail):
    tasks = tasks_of(tmp_path, 1)
    parts = parts_in(tmp_path)
    assert extract(parts, "flawed", tasks, kind=kind) == [reason]
    assert rejects_of(parts, tasks)[tasks[0].clip_id].detail == detail


def test_a_worker_with_another_version_refuses(tmp_path):
    parts = parts_in(tmp_path, FeatureSpec(name="loudness", version=2, dim=1, hop_s=None, columns=("x",)))
    with pytest.raises(ExperimentError, match="this worker has loudness-v1.*, the job was started for loudness-v2"):
        extract(parts, "loudness", tasks_of(tmp_path, 1))


def test_the_extractor_is_built_once_and_held_to_one_thread(tmp_path):
    tasks = tasks_of(tmp_path, 4)
    parts = parts_in(tmp_path, build("tiny_extractors:worker", {}).spec)
    extractor = PartExtractor(parts, "tiny_extractors:worker", {})
    with threadpool_limits(2):
        extractor(tasks[:2])
        extractor(tasks[2:])
    parts.finish({task.clip_id for task in tasks})
    table = parts.load([name for name in parts.folder.names() if name.startswith("part-")], {t.clip_id for t in tasks})
    assert sorted(table.values[:, 1].tolist()) == [1, 2, 3, 4]
    assert set(table.values[:, 2]) == {1}  # threads


# ---------------------------------------------------------------------- a clip that kills its process

ATTEMPT = """
import json, sys
from mien.features.worker import PartExtractor, Task
from mien.features.parts import Parts
from mien.corpora.clip import Span
from mien.folder import Folder
from tiny_extractors import Loudness
folder, factory, settings, *clips = sys.argv[1:]
tasks = [Task(*clip.split("="), Span()) for clip in clips]
PartExtractor(Parts(Folder(folder), Loudness().spec), f"tiny_extractors:{factory}", json.loads(settings))(tasks)
"""


def attempt(parts: Parts, tasks: list[Task], factory: str, **settings: object) -> int:
    """One process that extracts the batch; its exit status."""
    clips = [f"{task.clip_id}={task.path}" for task in tasks]
    command = [sys.executable, "-c", ATTEMPT, parts.folder.uri, factory, json.dumps(settings), *clips]
    return subprocess.run(command, env={"PYTHONPATH": search_path()}, cwd=ROOT).returncode


def test_a_clip_that_kills_its_processes_is_left_out_and_no_other(tmp_path):
    tasks = tasks_of(tmp_path, 5)
    parts = parts_in(tmp_path)
    length = soundfile.info(tasks[2].path).frames
    assert [attempt(parts, tasks, "deadly", length=length) for _ in range(4)] == [1, 1, 1, 0]
    rejects = rejects_of(parts, tasks)
    assert {clip_id: reject.reason for clip_id, reject in rejects.items()} == {tasks[2].clip_id: "worker-crashed"}
    assert rejects[tasks[2].clip_id].detail == f"{tasks[2].path}: killed 2 processes that tried to extract loudness"
    assert not parts.attempts.exists()


def test_a_process_that_something_else_killed_accuses_no_clip(tmp_path):
    tasks = tasks_of(tmp_path, 3)
    parts = parts_in(tmp_path)
    assert attempt(parts, tasks, "deadly", length=soundfile.info(tasks[0].path).frames) == 1
    assert parts.attempts.names()
    assert attempt(parts, tasks, "loudness") == 0
    assert not parts.attempts.names()
    assert rejects_of(parts, tasks) == {}


def test_a_job_that_was_killed_from_outside_accuses_nobody(tmp_path):
    tasks = tasks_of(tmp_path, 2)
    parts = parts_in(tmp_path)
    for _ in range(4):  # jobs, each killed while it was at the first clip
        parts.reopen()
        assert attempt(parts, tasks, "deadly", length=soundfile.info(tasks[0].path).frames) == 1
    parts.reopen()
    assert attempt(parts, tasks, "loudness") == 0
    assert rejects_of(parts, tasks) == {}


def test_processes_that_die_between_clips_end_the_job(tmp_path):
    tasks = tasks_of(tmp_path, 2)
    parts = parts_in(tmp_path)
    assert [attempt(parts, tasks, "stillborn") for _ in range(3)] == [1, 1, 1]
    with pytest.raises(MienError, match="were killed 3 times between clips; most likely memory ran out"):
        extract(parts, "loudness", tasks)


# ---------------------------------------------------------------------- names, content, tables


def test_a_row_of_a_table_is_its_own_content(tmp_path):
    table = tmp_path / "table.csv"
    table.write_text("clip,AU01_r\na,1\nb,2\n")
    assert content_of(f"{table}#a") != content_of(f"{table}#b")
    assert content_of(f"{table}#a") == f"{media.content_hash(str(table))}#a"


def test_an_extractor_is_described_and_a_mistake_becomes_a_sentence():
    spec = Loudness().spec
    assert describe("tiny_extractors:loudness", {}) == {"spec": spec.to_json(), "medium": "audio"}
    assert describe("nonsense", {})["error"].startswith("unknown features 'nonsense': choose from egemaps")


def test_a_batch_survives_the_way_through_arrow():
    tasks = [Task("a", "a.wav", Span(start_s=1.5, end_s=2.5)), Task("b", None, Span())]
    assert tasks_from_table(tasks_to_table(tasks)) == tasks
    assert tasks_from_table(tasks_to_table(tasks[1:])) == tasks[1:]
